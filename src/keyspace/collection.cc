// The elements of a key, as the keyspace sees them: applying, wiping, looking.
#include <algorithm>
#include <utility>

#include "base/planted.h"
#include "crdt/stream.h"
#include "keyspace/keyspace.h"

namespace polyarch::keyspace {

Elements* Keyspace::FindElements(const KeyRef& ref, crdt::Type type) {
  Entry** slot = Lookup(ref);
  return slot == nullptr ? nullptr : ElementsIn(**slot, type);
}

Elements* Keyspace::ElementsIn(Entry& entry, crdt::Type type) {
  if (entry.form() != Form::kFat) return nullptr;
  for (const auto& elements : entry.fat().elements) {
    if (elements->type() == type) return elements.get();
  }
  return nullptr;
}

Elements& Keyspace::ElementsOf(FatPart& fat, crdt::Type type) {
  for (const auto& elements : fat.elements) {
    if (elements->type() == type) return *elements;
  }
  auto added = std::make_unique<Elements>(type, hash_key_, origins_);
  Elements& elements = *added;
  fat.elements.Add(std::move(added));
  return elements;
}

void Keyspace::ApplyElement(const crdt::Effect& effect,
                            const crdt::Seen& seen,
                            clock::Hlc hlc,
                            const KeyRef& ref,
                            Cause cause) {
  Entry** slot = Lookup(ref);
  if (slot == nullptr || (*slot)->form() != Form::kFat) {
    // Nothing is there to be removed.
    if (effect.kind == crdt::EffectKind::kWipe || effect.kind == crdt::EffectKind::kClean) return;
    Place(ref,
          slot,
          Entry::NewFat(ref.db, ref.key, slot == nullptr ? crdt::KeyState{} : (*slot)->State()));
    slot = Lookup(ref);
  }
  Entry* entry = *slot;
  FatPart& fat = entry->fat();
  CountMemory(entry, false);
  fat.ForgetResidueSince();
  Elements& elements = ElementsOf(fat, effect.type);
  const crdt::ApplyResult result =
      elements.Apply(effect, seen, hlc, ViewerOf(ref, effect.type));
  const bool told = result.concurrent && observer_ != nullptr &&
                    crdt::MayConflict(effect.type, effect.element) &&
                    (cause != Cause::kLocal || effect.kind == crdt::EffectKind::kResolve);
  if (elements.empty()) RetireEmpty(ref, fat);
  fat.Tidy();
  CountMemory(entry, true);
  Settle(ref, slot);
  if (told)
    observer_->VersionsMet(ref.db, ref.key, effect.type, effect.element, seen.dot());
}

void Keyspace::WipeElements(FatPart& fat,
                            const crdt::Effect& effect,
                            const crdt::Seen& seen,
                            const KeyRef& ref) {
  const bool wipes =
      effect.kind == crdt::EffectKind::kWipe || effect.kind == crdt::EffectKind::kFlush ||
      (effect.kind != crdt::EffectKind::kResolve && (effect.flags & crdt::kWipes) != 0);
  if (!wipes || fat.elements.empty() || PLANTED(kWipeSparesElements)) return;
  for (auto& elements : fat.elements) {
    if (!skip_ && elements->WipesAll(seen)) {
      Retire(ref, std::move(elements));
      continue;
    }
    const crdt::Type type = elements->type();
    if (!skip_ && elements->WipesMost(seen)) {
      std::vector<crdt::Element> left = elements->LeftByWipe(seen);
      std::unique_ptr<Elements> rest;
      if (!left.empty()) rest = std::make_unique<Elements>(type, hash_key_, origins_);
      for (crdt::Element& e : left)
        rest->Load(e.name, e, /*own_row=*/false, /*replaces=*/false, ViewerOf(ref, type));
      // Their old rows go with the others': as in Restore. Or they are about to go because of an earlier wipe.
      if (rest != nullptr &&
          (elements->has_rows() || dropped_.count({ref.db, std::string(ref.key), type}) != 0)) {
        rest->MakeBig(ViewerOf(ref, type));
      }
      Retire(ref, std::exchange(elements, std::move(rest)));
      continue;
    }
    elements->Wipe(seen, ViewerOf(ref, type), [&](std::string_view name) {
      return Skips(ref, type, name);
    });
  }
  fat.elements.DropNulls();
  RetireEmpty(ref, fat);
}

void Keyspace::WipeAcross(const crdt::Effect& effect, const crdt::Seen& seen, const KeyRef& ref) {
  Entry** slot = Lookup(ref);
  if (slot == nullptr || (*slot)->form() != Form::kFat || (*slot)->fat().elements.empty()) return;
  CountMemory(*slot, false);
  WipeElements((*slot)->fat(), effect, seen, ref);
  CountMemory(*slot, true);
  Settle(ref, slot);
}

// Each element's own row says whether it reflects this.
void Keyspace::WipeRange(const crdt::Effect& effect, const crdt::Seen& seen, const KeyRef& ref) {
  Elements* elements = FindElements(ref, effect.type);
  if (elements == nullptr) return;
  Entry** slot = Lookup(ref);
  Entry* entry = *slot;
  CountMemory(entry, false);
  entry->fat().ForgetResidueSince();
  elements->WipeRange(effect, seen, ViewerOf(ref, effect.type), [&](std::string_view name) {
    return Skips(ref, effect.type, name);
  });
  RetireEmpty(ref, entry->fat());
  entry->fat().Tidy();
  CountMemory(entry, true);
  Settle(ref, slot);
}

void Keyspace::Retire(const KeyRef& ref, std::unique_ptr<Elements> elements) {
  const bool drops = elements->has_rows() && !beside_ &&
                     dropped_.emplace(ref.db, ref.key, elements->type()).second;
  if (moved_ != nullptr && !elements->empty()) {
    moved_->push_back({std::move(elements), drops});
  } else {
    FreeLater(std::move(elements));
  }
}

void Keyspace::FreeLater(std::unique_ptr<Elements> elements) {
  if (elements->spilled()) gone_.push_back(std::move(elements));
}

bool Keyspace::GoesWhole(const KeyRef& ref, const crdt::Seen& seen) {
  return IsWipedWhole(ref, [&](const Elements& elements) { return elements.WipesMost(seen); });
}

bool Keyspace::GoesWhole(const KeyRef& ref) {
  return IsWipedWhole(
      ref, [](const Elements& elements) { return elements.spilled() && elements.WipesMost(); });
}

bool Keyspace::IsWipedWhole(const KeyRef& ref, base::FunctionRef<bool(const Elements&)> goes) {
  if (skip_) return false;
  Entry** slot = Lookup(ref);
  if (slot == nullptr || (*slot)->form() != Form::kFat) return false;
  const ElementsByType& by_type = (*slot)->fat().elements;
  return !by_type.empty() && std::all_of(by_type.begin(), by_type.end(), [&](const auto& elements) {
    return goes(*elements);
  });
}

void Keyspace::RetireEmpty(const KeyRef& ref, FatPart& fat) {
  for (auto& elements : fat.elements) {
    if (elements->empty()) Retire(ref, std::move(elements));
  }
  fat.elements.DropNulls();
}

bool Keyspace::HoldsSeveralTypes(const KeyRef& ref) const {
  Entry** slot = tables_[ref.db].Find(ref.hash, ref.key);
  if (slot == nullptr || (*slot)->form() != Form::kFat) return false;
  const FatPart& fat = (*slot)->fat();
  const auto live = std::count_if(fat.elements.begin(), fat.elements.end(), [](const auto& elements) {
    return elements->live() > 0;
  });
  return live + (fat.state().Register::live() ? 1 : 0) > 1;
}

bool Keyspace::FreeSome(size_t count) {
  if (gone_.empty()) return false;
  if (!gone_.back()->FreeSome(count)) gone_.pop_back();
  return !gone_.empty();
}

Entry* Keyspace::Build(const KeyRef& ref, crdt::KeyState state) {
  if (state.elements.empty()) return MakeEntry(ref.db, ref.key, std::move(state));
  std::vector<crdt::Element> all = std::move(state.elements);
  state.elements.clear();
  Entry* entry = Entry::NewFat(ref.db, ref.key, std::move(state));
  for (crdt::Element& e : all)
    ElementsOf(entry->fat(), e.type).Load(e.name, e, /*own_row=*/false, /*replaces=*/false, ViewerOf(ref, e.type));
  return entry;
}

std::vector<crdt::Clear> Keyspace::ElementClears(const KeyRef& ref,
                                                 crdt::Type type,
                                                 std::string_view name) {
  const Elements* elements = FindElements(ref, type);
  if (elements == nullptr || !elements->HasLiveCounters()) return {};
  const auto element = elements->Find(name);
  if (!element || element->form() == Form::kValue) return {};
  return crdt::ClearsOf(element->State());
}

std::optional<crdt::NextIncrement> Keyspace::PrepareElementIncrement(
    const KeyRef& ref,
    crdt::Type type,
    std::string_view name,
    clock::OriginIndex origin,
    crdt::At at,
    const crdt::Number& increment) {
  const Elements* elements = FindElements(ref, type);
  const auto element = elements == nullptr ? std::nullopt : elements->Find(name);
  if (!element || element->form() == Form::kValue) return crdt::NextIncrement{at, increment};
  if (element->form() == Form::kCounter) {
    const CounterPart c = element->counter();
    if (c.life.origin() != origin) return crdt::NextIncrement{at, increment};
    const auto total = crdt::Add(crdt::Number::Integer(c.total), increment);
    if (!total) return std::nullopt;
    return crdt::NextIncrement{{c.life.sequence(), c.life_index}, *total};
  }
  return crdt::PrepareIncrement(element->State(), origin, at, increment);
}

crdt::KeyState Keyspace::OwnState(const KeyRef& ref) const {
  Entry** slot = tables_[ref.db].Find(ref.hash, ref.key);
  if (slot == nullptr) return {};
  return (*slot)->form() == Form::kFat ? (*slot)->fat().state() : (*slot)->State();
}

crdt::Register Keyspace::ElementState(const KeyRef& ref, crdt::Type type, std::string_view name) {
  const Elements* elements = FindElements(ref, type);
  const auto element = elements == nullptr ? std::nullopt : elements->Find(name);
  return element ? element->State() : crdt::Register{};
}

bool Keyspace::VisitElements(
    const KeyRef& ref,
    crdt::Type type,
    std::string_view from,
    std::string_view to,
    base::FunctionRef<void(std::string_view name, const ElementView&)> visit) {
  Elements* elements = FindElements(ref, type);
  if (elements == nullptr) return true;
  const Viewer viewer = ViewerOf(ref, type);
  Sync(*elements, viewer);
  // Only what is shown stands in an order.
  if (elements->shown() != elements->size()) return false;
  elements->Walk(
      elements->Rank(0, from, viewer),
      /*reverse=*/false,
      [&](const RankedElement& ranked) {
        if (ranked.element.key() >= to) return false;
        visit(ranked.element.key(), ranked.element);
        return true;
      },
      viewer);
  return true;
}

bool Keyspace::HasElement(const KeyRef& ref, crdt::Type type, std::string_view name) {
  const Elements* elements = FindElements(ref, type);
  const auto element = elements == nullptr ? std::nullopt : elements->Find(name);
  if (!element || element->form() != Form::kFat) return element.has_value();
  const crdt::Register& state = element->fat_state();
  return state.has_live_version() || !state.counters.empty();
}

bool Keyspace::HoldsLiveElement(const KeyRef& ref, crdt::Type type, std::string_view name) {
  if (Keyspace* decided = DecidedOf(ref)) [[unlikely]] {
    return decided->HoldsLiveElement(decided->Ref(ref.db, ref.key), type, name);
  }
  const Elements* elements = FindElements(ref, type);
  const auto element = elements == nullptr ? std::nullopt : elements->Find(name);
  if (!element || (*Lookup(ref))->fat().state().ExpiryTime() < time_ms_) return false;
  return element->form() != Form::kFat || element->fat_state().live();
}

std::vector<Keyspace::ElementWithCounter> Keyspace::ElementsWithCounters(const KeyRef& ref) {
  std::vector<ElementWithCounter> found;
  Entry** slot = Lookup(ref);
  if (slot == nullptr || (*slot)->form() != Form::kFat) return found;
  for (const auto& elements : (*slot)->fat().elements) {
    if (!elements->HasLiveCounters()) continue;
    elements->ForEachUnplain([&](const ElementView& element) {
      AddIfLiveCounter(*elements, element, found);
      return true;
    });
  }
  return found;
}

void Keyspace::AddIfLiveCounter(const Elements& elements,
                                const ElementView& element,
                                std::vector<ElementWithCounter>& found) {
  if (element.form() == Form::kFat && !element.fat_state().has_live_counter()) return;
  found.push_back({elements.type(), std::string(element.key()), crdt::ClearsOf(element.State())});
}

bool Keyspace::NextElementsWithCounters(const KeyRef& ref,
                                        CounterCursor& cursor,
                                        size_t count,
                                        std::vector<ElementWithCounter>& found) {
  Entry** slot = Lookup(ref);
  for (; slot != nullptr && cursor.type <= crdt::kTypeMax; ++cursor.type, cursor.at = 0) {
    const Elements* elements = ElementsIn(**slot, static_cast<crdt::Type>(cursor.type));
    if (elements == nullptr || !elements->HasLiveCounters()) continue;
    cursor.at = elements->ScanUnplain(cursor.at, count, [&](const ElementView& element) {
      AddIfLiveCounter(*elements, element, found);
    });
    if (cursor.at != 0) return true;
    if (found.size() >= count && cursor.type < crdt::kTypeMax) {
      ++cursor.type;
      return true;
    }
  }
  return false;
}

size_t Keyspace::LiveCounters(const KeyRef& ref) {
  Entry** slot = Lookup(ref);
  if (slot == nullptr || (*slot)->form() != Form::kFat) return 0;
  size_t count = 0;
  for (const auto& elements : (*slot)->fat().elements)
    count += elements->live_counters();
  return count;
}

std::vector<std::pair<uint8_t, std::string>> Keyspace::KeysWithCounters(uint8_t db) {
  std::vector<std::pair<uint8_t, std::string>> found;
  for (size_t d = 0; d < crdt::kDatabases; ++d) {
    if (db != crdt::kAllDatabases && db != d) continue;
    const auto number = static_cast<uint8_t>(d);
    if (merge_ != nullptr) MergeDatabase(number);
    tables_[d].WalkUnplain([&](const Entry& entry) {
      bool may = entry.form() == Form::kCounter;
      if (entry.form() == Form::kFat) {
        may = entry.fat().state().has_live_counter() ||
              std::any_of(entry.fat().elements.begin(),
                          entry.fat().elements.end(),
                          [](const auto& elements) { return elements->HasLiveCounters(); });
      }
      if (may) found.emplace_back(number, entry.key());
      return true;
    });
  }
  return found;
}

Viewer Collection::viewer() const {
  return {*policy,
          keyspace->policies_,
          keyspace->origins_,
          keyspace->policy_epoch_,
          key.has_value(),
          key.value_or(std::string_view())};
}

std::optional<ElementView> Collection::Find(std::string_view name) const {
  if (elements == nullptr) return std::nullopt;
  const std::optional<ElementView> element = elements->Find(name);
  return element && element->shown() ? element : std::nullopt;
}

ShownValue Collection::Get(std::string_view name) const {
  const std::optional<ElementView> element = Find(name);
  return element ? Show(*element) : ShownValue{};
}

ShownValue Collection::Show(const ElementView& element) const {
  ShownValue shown;
  switch (element.form()) {
    case Form::kValue:
    case Form::kValueTtl:
      shown.kind = ShownValue::Kind::kValue;
      if (element.has_short_score()) {
        shown.text = LongScore(element.value());
      } else {
        shown.value = element.value();
      }
      break;
    case Form::kCounter:
      shown.kind = ShownValue::Kind::kValue;
      shown.is_integer = true;
      shown.integer = element.counter().total;
      break;
    case Form::kFat:
      shown = ShowRegister(element.fat_state(), viewer(), element.key());
      break;
  }
  return shown;
}

void Collection::ForEach(base::FunctionRef<bool(const ElementView&)> visit) const {
  if (elements == nullptr) return;
  elements->ForEach([&](const ElementView& element) { return !element.shown() || visit(element); });
}

}  // namespace polyarch::keyspace
