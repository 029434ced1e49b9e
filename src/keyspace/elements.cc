#include "keyspace/elements.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/number.h"
#include "base/planted.h"

namespace polyarch::keyspace {

namespace {

// What a register shows as a number; nothing if it is no number.
std::optional<crdt::Number> AsNumber(std::string_view value) {
  if (auto integer = base::ParseInt64(value)) return crdt::Number::Integer(*integer);
  if (auto real = base::ParseLongDouble(value)) return crdt::Number::Real(*real);
  return std::nullopt;
}

crdt::KeyState AsKey(crdt::Register state) {
  crdt::KeyState key;
  static_cast<crdt::Register&>(key) = std::move(state);
  return key;
}

// Of an entry that Packed may hold.
bool IsPlain(const Entry& entry) {
  return entry.form() == Form::kCounter ||
         (entry.form() == Form::kValue && !entry.has(Entry::kNever));
}
Packed::Plain PlainOf(const Entry& entry) {
  if (entry.form() == Form::kCounter) {
    const CounterPart& counter = entry.counter();
    return {.value = {reinterpret_cast<const char*>(&counter), sizeof counter},
            .dot = {},
            .hlc = {},
            .counter = true};
  }
  return {.value = entry.value(), .dot = entry.value_part().dot, .hlc = entry.value_part().hlc};
}

Entry* NewEntry(std::string_view name, const Packed::Plain& plain) {
  if (!plain.counter) return Entry::NewValue(0, name, plain.dot, plain.hlc, false, plain.value);
  CounterPart counter;
  std::memcpy(&counter, plain.value.data(), sizeof counter);
  return Entry::NewCounter(0, name, counter);
}

bool Less(const RankedElement& a, double score, std::string_view name) {
  return a.score < score || (a.score == score && a.element.key() < name);
}

}  // namespace

std::string EncodeScore(double score) {
  std::string bytes(sizeof score, '\0');
  std::memcpy(bytes.data(), &score, sizeof score);
  return bytes;
}

double DecodeScore(std::string_view bytes) {
  double score = 0;
  if (bytes.size() != sizeof score) return 0;
  std::memcpy(&score, bytes.data(), sizeof score);
  return std::isnan(score) ? 0 : score;
}

ShownValue ShowRegister(const crdt::Register& state, const Viewer& viewer) {
  ShownValue shown;
  const conflict::View view = conflict::Resolve(
      viewer.policy, viewer.policies.default_order(), state.versions, viewer.origins);
  if (view.kind == conflict::View::Kind::kConflict) {
    shown.kind = ShownValue::Kind::kConflict;
    shown.versions = view.distinct;
    return shown;
  }
  const bool has_base = view.kind == conflict::View::Kind::kValue;
  if (has_base) shown.value = state.versions[view.index].value;
  if (!state.has_live_counter()) {
    if (has_base) shown.kind = ShownValue::Kind::kValue;
    return shown;
  }
  shown.kind = ShownValue::Kind::kValue;
  crdt::Number base = crdt::Number::Integer(0);
  if (has_base) {
    auto number = AsNumber(shown.value);
    if (!number) return shown;  // the increments stay hidden until the next write clears them
    base = *number;
  }
  const crdt::Number sum = crdt::CounterSum(state, viewer.origins);
  // Beyond what a number holds the base does not matter any more.
  crdt::Number total = crdt::Add(base, sum).value_or(sum);
  if (!total.is_real && !total.FitsInt64()) {
    shown.saturated = true;
    total = crdt::Number::Integer(total.integer > 0 ? INT64_MAX : INT64_MIN);
  }
  shown.value = {};
  if (!total.is_real) {
    shown.is_integer = true;
    shown.integer = static_cast<int64_t>(total.integer);
  } else {
    shown.text = base::FormatLongDouble(total.AsReal());
  }
  return shown;
}

bool HasResidue(const crdt::Register& state) {
  if (!state.has_live_version() && !state.versions.empty()) return true;
  return std::any_of(state.counters.begin(), state.counters.end(), [](const crdt::CounterEntry& e) {
    return !e.live();
  });
}

bool IsConflict(const crdt::Register& state) {
  if (conflict::CountDistinct(state.versions) > 1) return true;
  return state.has_live_counter() && state.has_live_version() && !AsNumber(state.versions[0].value);
}

crdt::Register ElementView::State() const {
  if (entry_ != nullptr) return entry_->State();
  crdt::Register state;
  if (form() == Form::kCounter) {
    state.counters.push_back(CounterEntryOf(counter()));
  } else {
    const ValuePart part = value_part();
    state.versions.push_back({.dot = part.dot,
                              .hlc = part.hlc,
                              .never = false,
                              .absent = false,
                              .value = std::string(value())});
  }
  return state;
}

Elements::~Elements() {
  if (rare_ == nullptr) return;
  for (Entry* entry : rare_->few)
    Entry::Free(entry);
}

size_t Elements::memory_bytes() const {
  size_t bytes = sizeof *this + packed_.memory_bytes();
  if (rare_ == nullptr) return bytes;
  bytes += sizeof(Rare) + rare_->few.capacity() * sizeof(Entry*) + rare_->entry_bytes;
  if (rare_->table != nullptr) bytes += rare_->table->memory_bytes();
  if (rare_->order != nullptr) bytes += rare_->order->memory_bytes();
  return bytes;
}

const Elements::Names& Elements::residue() const {
  static const Names kNone;
  return rare_ == nullptr ? kNone : rare_->residue;
}

Elements::Rare& Elements::NeedRare(const Viewer& viewer) {
  if (rare_ == nullptr) {
    rare_ = std::make_unique<Rare>();
    rare_->epoch = viewer.epoch;
  }
  return *rare_;
}

void Elements::TrimRare() {
  if (rare_ != nullptr && rare_->table == nullptr && rare_->few.empty() && rare_->deleted.empty())
    rare_.reset();
}

// ---- finding

Elements::Place Elements::Locate(std::string_view name) const {
  Place place;
  if (spilled()) {
    place.hash = Hash(name);
    place.slot = rare_->table->Find(place.hash, name);
    return place;
  }
  place.at = packed_.Find(name);
  if (place.at != nullptr || rare_ == nullptr) return place;
  for (Entry*& entry : rare_->few) {
    if (entry->key() == name) place.slot = &entry;
  }
  return place;
}

std::optional<ElementView> Elements::ViewOf(const Place& place) const {
  if (place.at != nullptr) return ElementView(packed_, place.at);
  if (place.slot != nullptr) return ElementView(*place.slot);
  return std::nullopt;
}

std::optional<ElementView> Elements::Find(std::string_view name) const {
  return ViewOf(Locate(name));
}

// ---- counting

double Elements::Score(const ElementView& element, const Viewer& viewer) const {
  switch (element.form()) {
    case Form::kValue:
    case Form::kValueTtl:
      return DecodeScore(element.value());
    case Form::kCounter:
      return static_cast<double>(element.counter().total);
    case Form::kFat:
      break;
  }
  const crdt::Register& state = element.fat_state();
  const conflict::View view = conflict::Resolve(
      viewer.policy, viewer.policies.default_order(), state.versions, viewer.origins);
  double score = 0;
  if (view.kind == conflict::View::Kind::kValue)
    score = DecodeScore(state.versions[view.index].value);
  if (!state.has_live_counter()) return score;
  const long double sum = crdt::CounterSum(state, viewer.origins).AsReal() + score;
  return static_cast<double>(sum);
}

void Elements::Rare::Note(clock::Dot dot) {
  for (clock::Dot& d : newest) {
    if (d.origin() != dot.origin()) continue;
    d = std::max(d, dot);
    return;
  }
  newest.push_back(dot);
}

void Elements::Count(Entry* entry, const Viewer& viewer) {
  Rare& rare = *rare_;
  rare.entry_bytes += entry->memory_bytes();
  bool live = true;
  bool shown = true;
  if (entry->form() != Form::kValue) {
    ++rare.unplain;
  } else if (rare.table != nullptr) {
    rare.Note(entry->value_part().dot);
  }
  if (entry->form() == Form::kFat) {
    const crdt::KeyState& state = entry->fat().state();
    if (rare.table != nullptr) {
      for (const crdt::Version& v : state.versions)
        rare.Note(v.dot);
    }
    live = state.live();
    shown = live && ShowRegister(state, viewer).kind != ShownValue::Kind::kNothing;
    if (HasResidue(state)) {
      entry->set(Entry::kResidue, true);
      rare.residue.emplace(entry->key());
    }
    // Equal scores, and a member without a value, are no conflict; scores and counters add up.
    const bool conflict = ordered() ? conflict::CountDistinct(state.versions) > 1
                                    : IsConflict(state);
    entry->set(Entry::kConflict, conflict);
    if (conflict) ++rare.conflicts;
  }
  entry->set(Entry::kLive, live);
  entry->set(Entry::kShown, shown);
  if (live) ++rare.live;
  if (!shown) return;
  ++rare.shown;
  if (rare.order != nullptr) rare.order->Insert(Score(ElementView(entry), viewer), entry);
}

void Elements::Discount(Entry* entry, const Viewer& viewer) {
  Rare& rare = *rare_;
  rare.entry_bytes -= entry->memory_bytes();
  if (entry->form() != Form::kValue) --rare.unplain;
  if (entry->has(Entry::kResidue)) rare.residue.erase(rare.residue.find(entry->key()));
  if (entry->has(Entry::kConflict)) --rare.conflicts;
  if (entry->has(Entry::kLive)) --rare.live;
  if (entry->has(Entry::kShown)) {
    --rare.shown;
    if (rare.order != nullptr)
      CHECK(rare.order->Erase(Score(ElementView(entry), viewer), entry->key()));
  }
  entry->set(Entry::kResidue, false);
  entry->set(Entry::kConflict, false);
}

void Elements::Sync(const Viewer& viewer) {
  // What is packed shows the same under every policy.
  if (rare_ == nullptr || rare_->epoch == viewer.epoch) return;
  Rare& rare = *rare_;
  rare.epoch = viewer.epoch;
  if (rare.unplain == 0) return;
  // Scores may have changed, so that nothing can be found in the old order.
  rare.live = rare.shown = rare.unplain = rare.conflicts = rare.entry_bytes = 0;
  rare.residue.clear();
  if (rare.order != nullptr) rare.order->clear();
  auto count = [&](const Entry& entry) {
    auto* mine = const_cast<Entry*>(&entry);
    mine->set(Entry::kResidue, false);
    mine->set(Entry::kConflict, false);
    Count(mine, viewer);
  };
  if (rare.table != nullptr) {
    rare.table->ForEach(count);
  } else {
    for (Entry* entry : rare.few)
      count(*entry);
  }
}

// ---- changing

void Elements::Grow(const Viewer& viewer) {
  Rare& rare = NeedRare(viewer);
  rare.table = std::make_unique<Table>(
      [key = hash_key_](std::string_view name) { return base::SipHash13(name, *key); });
  if (ordered()) rare.order = std::make_unique<OrderTree>();
  rare.live = rare.shown = rare.unplain = rare.conflicts = rare.entry_bytes = 0;
  rare.residue.clear();
  auto add = [&](Entry* entry) {
    Table::MarkDirty(rare.table->Insert(Hash(entry->key()), entry));
    if (entry->has(Entry::kStored) && !has_rows_) rare.inline_names.emplace_back(entry->key());
    Count(entry, viewer);
  };
  for (const char* at = packed_.begin(); at != packed_.end(); at = Packed::Next(at)) {
    Packed::Plain plain{.value = Packed::ValueOf(at), .dot = {}, .hlc = {}};
    plain.counter = Packed::IsCounter(at);
    if (!plain.counter) {
      plain.dot = packed_.VersionOf(at).dot;
      plain.hlc = packed_.VersionOf(at).hlc;
    }
    Entry* entry = NewEntry(Packed::NameOf(at), plain);
    entry->set(Entry::kStored, Packed::IsStored(at));
    add(entry);
  }
  packed_.Clear();
  for (Entry* entry : rare.few) {
    entry->set(Entry::kResidue, false);
    entry->set(Entry::kConflict, false);
    add(entry);
  }
  rare.few.clear();
  rare.few.shrink_to_fit();
}

bool Elements::TakeDeleted(std::string_view name) {
  if (rare_ == nullptr || rare_->deleted.empty()) return false;
  const auto gone = rare_->deleted.find(name);
  if (gone == rare_->deleted.end()) return false;
  rare_->deleted.erase(gone);
  TrimRare();
  return true;
}

bool Elements::TakeOut(const Place& place, const Viewer& viewer) {
  if (place.at != nullptr) {
    const bool stored = Packed::IsStored(place.at);
    packed_.Erase(place.at);
    return stored;
  }
  Entry* old = *place.slot;
  const bool stored = old->has(Entry::kStored);
  Discount(old, viewer);
  if (rare_->table != nullptr) {
    rare_->table->Erase(place.slot);
  } else {
    Entry::Free(old);
    rare_->few.erase(rare_->few.begin() + (place.slot - rare_->few.data()));
    TrimRare();
  }
  return stored;
}

void Elements::Remove(std::string_view name, const Place& place, const Viewer& viewer) {
  if (place.none()) return;
  // Until the key's row holds them, few that were loaded have rows of their own, and they may become many
  // again before.
  if (TakeOut(place, viewer) && (spilled() || has_rows_)) NeedRare(viewer).deleted.emplace(name);
}

void Elements::Add(std::string_view name, Entry* entry, const Viewer& viewer) {
  if (!spilled() && (size() >= Packed::kElementsMax || (has_few() && rare_->few.size() >= kEntriesMax)))
    Grow(viewer);
  Rare& rare = NeedRare(viewer);
  if (rare.table != nullptr) {
    Table::MarkDirty(rare.table->Insert(Hash(name), entry));
  } else {
    rare.few.push_back(entry);
  }
  Count(entry, viewer);
}

void Elements::SetEntry(std::string_view name,
                        const Place& place,
                        Entry* entry,
                        const Viewer& viewer) {
  if (place.slot == nullptr) {
    entry->set(Entry::kStored, place.none() ? TakeDeleted(name) : TakeOut(place, viewer));
    Add(name, entry, viewer);
    return;
  }
  Entry* old = *place.slot;
  entry->set(Entry::kStored, old->has(Entry::kStored));
  Discount(old, viewer);
  *place.slot = entry;
  Entry::Free(old);
  if (rare_->table != nullptr) Table::MarkDirty(place.slot);
  Count(entry, viewer);
}

void Elements::SetPlain(std::string_view name,
                        const Place& place,
                        Packed::Plain plain,
                        const Viewer& viewer) {
  const bool room = place.at != nullptr || (!spilled() && size() < Packed::kElementsMax);
  if (!room || !Packed::Fits(name, plain)) {
    SetEntry(name, place, NewEntry(name, plain), viewer);
    return;
  }
  const bool stays = place.at != nullptr &&
                     (!ordered() || (!plain.counter && !Packed::IsCounter(place.at) &&
                                     Packed::ValueOf(place.at) == plain.value));
  if (stays) {
    plain.stored = Packed::IsStored(place.at);
    if (packed_.Replace(place.at, plain)) return;
  }
  plain.stored = place.none() ? TakeDeleted(name) : TakeOut(place, viewer);
  if (packed_.Insert(PackedPlace(name, plain), name, plain)) return;
  Entry* entry = NewEntry(name, plain);
  entry->set(Entry::kStored, plain.stored);
  Add(name, entry, viewer);
}

void Elements::Set(std::string_view name,
                   const Place& place,
                   crdt::Register state,
                   const Viewer& viewer) {
  Entry* entry = MakeEntry(0, name, AsKey(std::move(state)));
  if (entry == nullptr) {
    Remove(name, place, viewer);
  } else if (spilled() || !IsPlain(*entry)) {
    SetEntry(name, place, entry, viewer);
  } else {
    SetPlain(name, place, PlainOf(*entry), viewer);
    Entry::Free(entry);
  }
}

void Elements::SetStored(std::string_view name) {
  const Place place = Locate(name);
  if (place.at != nullptr) {
    packed_.SetStored(place.at);
  } else {
    (*place.slot)->set(Entry::kStored, true);
  }
}

crdt::ApplyResult Elements::Apply(const crdt::Effect& effect,
                                  const crdt::Seen& seen,
                                  clock::Hlc hlc,
                                  const Viewer& viewer) {
  using crdt::EffectKind;
  Sync(viewer);
  const std::string_view name = effect.element;
  const Place place = Locate(name);
  const std::optional<ElementView> old = ViewOf(place);
  const bool plain =
      !old || (old->form() == Form::kValue && seen.Covers(old->value_part().dot));
  if (plain && effect.clears.empty()) {
    // Most writes: what stands was seen.
    if (effect.kind == EffectKind::kPut && (effect.flags & crdt::kAbsent) == 0) {
      if (place.slot != nullptr && spilled() && old->value() == effect.value) {
        (*place.slot)->value_part() = {seen.dot(), hlc};
        rare_->Note(seen.dot());
        Table::MarkDirty(place.slot);
      } else {
        SetPlain(name, place, {.value = effect.value, .dot = seen.dot(), .hlc = hlc}, viewer);
      }
      return {.added_version = true, .concurrent = false};
    }
    if (effect.kind == EffectKind::kWipe) {
      Remove(name, place, viewer);
      return {};
    }
  }
  crdt::Register state = old ? old->State() : crdt::Register{};
  const crdt::ApplyResult result = crdt::ApplyToElement(state, effect, seen, hlc);
  Set(name, place, std::move(state), viewer);
  return result;
}

bool Elements::WipesAll(const crdt::Seen& seen) const {
  if (unplain() != 0) return false;
  if (spilled()) {
    return std::all_of(rare_->newest.begin(), rare_->newest.end(), [&](clock::Dot dot) {
      return seen.Covers(dot);
    });
  }
  bool all = true;
  ForEach([&](const ElementView& element) { return all = seen.Covers(element.value_part().dot); });
  return all;
}

void Elements::Wipe(const crdt::Seen& seen, const Viewer& viewer, Keeps keeps) {
  Sync(viewer);
  const crdt::Effect wipe{.kind = crdt::EffectKind::kWipe};
  std::vector<std::string> names;
  ForEach([&](const ElementView& element) {
    // What nothing of was seen stays as it is.
    const bool untouched =
        (element.form() == Form::kCounter && !PLANTED(kWipeClearsUnseen)) ||
        (element.form() == Form::kValue && !seen.Covers(element.value_part().dot));
    if (!untouched && !keeps(element.key())) names.emplace_back(element.key());
    return true;
  });
  for (const std::string& name : names) {
    const Place place = Locate(name);
    crdt::Register state = ViewOf(place)->State();
    crdt::ApplyToElement(state, wipe, seen, {});
    Set(name, place, std::move(state), viewer);
  }
}

void Elements::PurgeCounter(std::string_view name,
                            clock::OriginIndex origin,
                            const Viewer& viewer) {
  Sync(viewer);
  const Place place = Locate(name);
  const std::optional<ElementView> element = ViewOf(place);
  if (!element || element->form() != Form::kFat) return;
  crdt::Register state = element->State();
  std::erase_if(state.counters, [&](const crdt::CounterEntry& e) {
    return e.origin == origin && !e.live();
  });
  Set(name, place, std::move(state), viewer);
}

bool Elements::Load(std::string_view name,
                    crdt::Register state,
                    bool own_row,
                    bool replaces,
                    const Viewer& viewer) {
  Sync(viewer);
  const Place place = Locate(name);
  const bool fresh = place.none();
  if (!fresh && !replaces) return false;
  if (state.empty()) return fresh;
  has_rows_ = has_rows_ || own_row;
  const bool few = !spilled();
  Set(name, place, std::move(state), viewer);
  SetStored(name);
  if (!spilled()) return fresh;
  if (!own_row) {
    // The key's row holds it, although this object would not have written it so.
    rare_->inline_names.emplace_back(name);
    return fresh;
  }
  // What has just been read need not be written.
  if (!few) {
    Table::Unmark(Locate(name).slot);
    return fresh;
  }
  uint64_t cursor = 0;
  do {
    cursor = rare_->table->TakeDirty(cursor, SIZE_MAX, [](Entry*) {});
  } while (cursor != 0);
  return fresh;
}

bool Elements::MergeWith(const Elements* theirs,
                         const clock::VersionVector& mine_vector,
                         const clock::VersionVector& theirs_vector,
                         const Viewer& viewer,
                         Keeps keeps) {
  Sync(viewer);
  // Names first: none of it may go on while the elements change.
  std::vector<std::string> names;
  ForEach([&](const ElementView& element) {
    const auto other = theirs == nullptr ? std::nullopt : theirs->Find(element.key());
    bool same = keeps(element.key());
    if (!same && element.form() == Form::kValue) {
      // Most: both sides have the one version, or only we have it.
      const clock::Dot dot = element.value_part().dot;
      same = !other ? !theirs_vector.Covers(dot)
                    : other->form() == Form::kValue && other->value_part().dot == dot;
    }
    if (!same) names.emplace_back(element.key());
    return true;
  });
  if (theirs != nullptr) {
    theirs->ForEach([&](const ElementView& other) {
      if (!Find(other.key()) && !keeps(other.key())) names.emplace_back(other.key());
      return true;
    });
  }
  bool changed = false;
  for (const std::string& name : names) {
    const Place place = Locate(name);
    const auto other = theirs == nullptr ? std::nullopt : theirs->Find(name);
    const crdt::Register mine = place.none() ? crdt::Register{} : ViewOf(place)->State();
    crdt::Register merged = crdt::MergeElement(
        mine, mine_vector, other ? other->State() : crdt::Register{}, theirs_vector);
    if (merged == mine) continue;
    changed = true;
    Set(name, place, std::move(merged), viewer);
  }
  return changed;
}

// ---- rows

void Elements::NoteInline() {
  for (const char* at = packed_.begin(); at != packed_.end(); at = Packed::Next(at))
    packed_.SetStored(at);
  if (rare_ == nullptr) return;
  for (Entry* entry : rare_->few)
    entry->set(Entry::kStored, true);
}

void Elements::VisitInline(RowVisit visit) {
  for (const std::string& name : rare_->inline_names) {
    const Place place = Locate(name);
    if (place.none()) continue;
    (*place.slot)->set(Entry::kStored, true);
    visit(name, (*place.slot)->State());
  }
  if (!rare_->inline_names.empty()) has_rows_ = true;
  rare_->inline_names.clear();
  rare_->inline_names.shrink_to_fit();
}

bool Elements::VisitDirty(uint64_t& cursor, size_t count, size_t& visited, RowVisit visit) {
  has_rows_ = true;
  Names& deleted = rare_->deleted;
  for (; !deleted.empty() && visited < count; ++visited) {
    visit(*deleted.begin(), crdt::Register{});
    deleted.erase(deleted.begin());
  }
  if (visited >= count) return false;
  cursor = rare_->table->TakeDirty(cursor, count - visited, [&](Entry* entry) {
    entry->set(Entry::kStored, true);
    ++visited;
    visit(entry->key(), entry->State());
  });
  return cursor == 0 && deleted.empty();
}

bool Elements::FreeSome(size_t count) {
  if (rare_ == nullptr) return false;
  if (rare_->order != nullptr && !rare_->order->FreeSome(count)) rare_->order.reset();
  if (rare_->order != nullptr) return true;
  if (rare_->table != nullptr && !rare_->table->FreeSome(count)) rare_->table.reset();
  return rare_->table != nullptr;
}

// ---- looking

void Elements::ForEach(base::FunctionRef<bool(const ElementView&)> visit) const {
  for (const char *at = packed_.begin(), *last = packed_.end(); at != last; at = Packed::Next(at)) {
    if (!visit(ElementView(packed_, at))) return;
  }
  if (rare_ == nullptr) return;
  if (rare_->table != nullptr) {
    rare_->table->Walk([&](const Entry& entry) { return visit(ElementView(&entry)); });
    return;
  }
  for (const Entry* entry : rare_->few) {
    if (!visit(ElementView(entry))) return;
  }
}

void Elements::AppendTo(std::vector<crdt::Element>& out) const {
  const auto first = static_cast<ptrdiff_t>(out.size());
  ForEach([&](const ElementView& from) {
    crdt::Element& element = out.emplace_back();
    static_cast<crdt::Register&>(element) = from.State();
    element.type = type_;
    element.name = from.key();
    return true;
  });
  std::sort(out.begin() + first, out.end(), [](const crdt::Element& a, const crdt::Element& b) {
    return a.name < b.name;
  });
}

uint64_t Elements::Scan(uint64_t cursor,
                        size_t count,
                        base::FunctionRef<void(const ElementView&)> visit) const {
  if (!spilled()) {
    // A cursor of a time when they were many goes on, so that none is missed.
    ForEach([&](const ElementView& element) {
      if (element.shown()) visit(element);
      return true;
    });
    return 0;
  }
  return rare_->table->Scan(cursor, std::max<size_t>(count, 1), [&](Entry* entry) {
    if (entry->has(Entry::kShown)) visit(ElementView(entry));
  });
}

std::optional<ElementView> Elements::Random(uint64_t random) const {
  if (shown() == 0) return std::nullopt;
  if (!spilled()) {
    uint64_t skip = random % shown();
    std::optional<ElementView> found;
    ForEach([&](const ElementView& element) {
      if (element.shown() && skip-- == 0) found = element;
      return !found.has_value();
    });
    return found;
  }
  // From a random place on, one of the next few: not each with quite the same probability.
  constexpr size_t kLookedAt = 24;
  std::vector<const Entry*> found;
  uint64_t cursor = random >> Table::kCursorShift;
  for (int round = 0; round < 3 && found.size() < kLookedAt / 2; ++round) {
    do {
      cursor = rare_->table->Scan(cursor, kLookedAt, [&](Entry* entry) {
        if (entry->has(Entry::kShown)) found.push_back(entry);
      });
    } while (cursor != 0 && found.size() < kLookedAt / 2);
  }
  if (found.empty()) return std::nullopt;
  return ElementView(found[(random & 0xffff) % found.size()]);
}

// ---- order

double Elements::PackedScore(const char* at) const {
  if (Packed::IsCounter(at)) return static_cast<double>(Packed::CounterOf(at).total);
  return DecodeScore(Packed::ValueOf(at));
}

const char* Elements::PackedPlace(std::string_view name, const Packed::Plain& plain) const {
  const char* at = packed_.begin();
  const char* last = packed_.end();
  if (!ordered()) return last;
  double score = 0;
  if (plain.counter) {
    CounterPart counter;
    std::memcpy(&counter, plain.value.data(), sizeof counter);
    score = static_cast<double>(counter.total);
  } else {
    score = DecodeScore(plain.value);
  }
  while (at != last && Less({PackedScore(at), ElementView(packed_, at)}, score, name))
    at = Packed::Next(at);
  return at;
}

std::vector<RankedElement> Elements::SortedFew(const Viewer& viewer) const {
  std::vector<RankedElement> items;
  items.reserve(shown());
  ForEach([&](const ElementView& element) {
    if (element.shown()) items.push_back({Score(element, viewer), element});
    return true;
  });
  std::sort(items.begin(), items.end(), [](const RankedElement& a, const RankedElement& b) {
    return Less(a, b.score, b.element.key());
  });
  return items;
}

size_t Elements::Rank(double score, std::string_view name, const Viewer& viewer) const {
  if (order() != nullptr) return order()->Rank(score, name);
  size_t before = 0;
  ForEach([&](const ElementView& element) {
    if (element.shown() && Less({Score(element, viewer), element}, score, name)) ++before;
    return true;
  });
  return before;
}

size_t Elements::CountBelow(double score, bool inclusive, const Viewer& viewer) const {
  if (order() != nullptr) return order()->CountBelow(score, inclusive);
  size_t below = 0;
  ForEach([&](const ElementView& element) {
    if (!element.shown()) return true;
    const double its = Score(element, viewer);
    if (its < score || (inclusive && its == score)) ++below;
    return true;
  });
  return below;
}

void Elements::Walk(size_t first,
                    bool reverse,
                    base::FunctionRef<bool(const RankedElement&)> visit,
                    const Viewer& viewer) const {
  if (order() != nullptr) {
    order()->Walk(first, reverse, [&](const OrderTree::Item& item) {
      return visit({item.score, ElementView(item.entry)});
    });
    return;
  }
  if (has_few()) {
    const std::vector<RankedElement> items = SortedFew(viewer);
    for (size_t i = first; i < items.size(); reverse ? --i : ++i) {
      if (!visit(items[i]) || (reverse && i == 0)) return;
    }
    return;
  }
  // Packed ones stand in order.
  const char* places[Packed::kElementsMax];
  size_t count = 0;
  for (const char *at = packed_.begin(), *last = packed_.end(); at != last; at = Packed::Next(at)) {
    if (count >= first && !reverse) {
      if (!visit({PackedScore(at), ElementView(packed_, at)})) return;
    }
    places[count++] = at;
  }
  for (size_t i = first; reverse && i < count; --i) {
    if (!visit({PackedScore(places[i]), ElementView(packed_, places[i])}) || i == 0) return;
  }
}

}  // namespace polyarch::keyspace
