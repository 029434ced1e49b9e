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
  const bool has_base = view.kind != conflict::View::Kind::kNothing;
  if (has_base) shown.value = state.versions[view.index].value;
  if (view.kind == conflict::View::Kind::kUnion) shown.text = conflict::Unite(state.versions);
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
  if (conflict::IsConflict(state.versions)) return true;
  return state.has_live_counter() && state.has_live_version() && !AsNumber(state.versions[0].value);
}

Elements::~Elements() {
  for (Entry* entry : few_)
    Entry::Free(entry);
}

size_t Elements::memory_bytes() const {
  return sizeof *this + few_.capacity() * sizeof(Entry*) + entry_bytes_ +
         (table_ != nullptr ? table_->memory_bytes() : 0) +
         (order_ != nullptr ? order_->memory_bytes() : 0);
}

// ---- finding

Entry** Elements::FindSlot(std::string_view name, uint64_t hash) const {
  if (table_ != nullptr) return table_->Find(hash, name);
  for (Entry* const& entry : few_) {
    if (entry->key() == name) return const_cast<Entry**>(&entry);
  }
  return nullptr;
}

const Entry* Elements::Find(std::string_view name) const {
  Entry** slot = FindSlot(name, table_ != nullptr ? Hash(name) : 0);
  return slot == nullptr ? nullptr : *slot;
}

// ---- counting

double Elements::Score(const Entry& entry, const Viewer& viewer) const {
  if (type_ == crdt::Type::kList) return 0;
  switch (entry.form()) {
    case Form::kValue:
    case Form::kValueTtl:
      return DecodeScore(entry.value());
    case Form::kCounter:
      return static_cast<double>(entry.counter().total);
    case Form::kFat:
      break;
  }
  const crdt::KeyState& state = entry.fat().state;
  const conflict::View view = conflict::Resolve(
      viewer.policy, viewer.policies.default_order(), state.versions, viewer.origins);
  double score = 0;
  if (view.kind == conflict::View::Kind::kValue)
    score = DecodeScore(state.versions[view.index].value);
  if (!state.has_live_counter()) return score;
  const long double sum = crdt::CounterSum(state, viewer.origins).AsReal() + score;
  return static_cast<double>(sum);
}

void Elements::Note(clock::Dot dot) {
  for (clock::Dot& d : newest_) {
    if (d.origin() != dot.origin()) continue;
    d = std::max(d, dot);
    return;
  }
  newest_.push_back(dot);
}

void Elements::Count(Entry* entry, const Viewer& viewer) {
  entry_bytes_ += entry->memory_bytes();
  bool live = true;
  bool shown = true;
  if (entry->form() == Form::kValue) {
    Note(entry->value_part().dot);
  } else {
    ++unplain_;
  }
  if (entry->form() == Form::kFat) {
    const crdt::KeyState& state = entry->fat().state;
    for (const crdt::Version& v : state.versions)
      Note(v.dot);
    live = state.live();
    shown = live && ShowRegister(state, viewer).kind != ShownValue::Kind::kNothing;
    if (HasResidue(state)) {
      entry->set(Entry::kResidue, true);
      residue_.emplace(entry->key());
    }
    // Equal scores, and a member without a value, are no conflict; scores and counters add up. A list
    // has no counters.
    const bool conflict = ordered() ? conflict::CountDistinct(state.versions) > 1
                                    : IsConflict(state);
    entry->set(Entry::kConflict, conflict);
    if (conflict) ++conflicts_;
  }
  entry->set(Entry::kLive, live);
  entry->set(Entry::kShown, shown);
  if (live) ++live_;
  if (!shown) return;
  ++shown_;
  if (order_ != nullptr) order_->Insert(Score(*entry, viewer), entry);
}

void Elements::Discount(Entry* entry, const Viewer& viewer) {
  entry_bytes_ -= entry->memory_bytes();
  if (entry->form() != Form::kValue) --unplain_;
  if (entry->has(Entry::kResidue)) residue_.erase(residue_.find(entry->key()));
  if (entry->has(Entry::kConflict)) --conflicts_;
  if (entry->has(Entry::kLive)) --live_;
  if (entry->has(Entry::kShown)) {
    --shown_;
    if (order_ != nullptr) CHECK(order_->Erase(Score(*entry, viewer), entry->key()));
  }
  entry->set(Entry::kResidue, false);
  entry->set(Entry::kConflict, false);
}

void Elements::Sync(const Viewer& viewer) {
  if (epoch_ == viewer.epoch) return;
  epoch_ = viewer.epoch;
  if (unplain_ == 0) return;
  // Scores may have changed, so that nothing can be found in the old order.
  live_ = shown_ = unplain_ = conflicts_ = entry_bytes_ = 0;
  residue_.clear();
  if (order_ != nullptr) order_->clear();
  ForEach([&](const Entry& entry) {
    auto* mine = const_cast<Entry*>(&entry);
    mine->set(Entry::kResidue, false);
    mine->set(Entry::kConflict, false);
    Count(mine, viewer);
    return true;
  });
}

// ---- changing

void Elements::Grow() {
  table_ = std::make_unique<Table>([key = hash_key_](std::string_view name) {
    return base::SipHash13(name, key);
  });
  for (Entry* entry : few_) {
    Table::MarkDirty(table_->Insert(Hash(entry->key()), entry));
    if (entry->has(Entry::kStored) && !has_rows_) inline_.emplace_back(entry->key());
  }
  few_.clear();
  few_.shrink_to_fit();
}

void Elements::Place(
    std::string_view name, uint64_t hash, Entry** slot, Entry* entry, const Viewer& viewer) {
  if (slot != nullptr) {
    Entry* old = *slot;
    if (entry != nullptr) entry->set(Entry::kStored, old->has(Entry::kStored));
    Discount(old, viewer);
    if (entry == nullptr) {
      if (table_ != nullptr) {
        if (old->has(Entry::kStored)) deleted_.emplace(name);
        table_->Erase(slot);
      } else {
        // Until the key's row holds them, those few have rows of their own, and they may become many
        // again before.
        if (has_rows_ && old->has(Entry::kStored)) deleted_.emplace(name);
        Entry::Free(old);
        few_.erase(few_.begin() + (slot - few_.data()));
      }
      return;
    }
    *slot = entry;
    Entry::Free(old);
    if (table_ != nullptr) Table::MarkDirty(slot);
    Count(entry, viewer);
    return;
  }
  if (entry == nullptr) return;
  if (table_ == nullptr && few_.size() >= kSmallMax) {
    Grow();
    hash = Hash(name);
    if (ordered()) {
      order_ = std::make_unique<OrderTree>();
      table_->ForEach([&](const Entry& e) {
        if (IsShown(e)) order_->Insert(Score(e, viewer), const_cast<Entry*>(&e));
      });
    }
  }
  if (!deleted_.empty()) {
    if (auto gone = deleted_.find(name); gone != deleted_.end()) {
      deleted_.erase(gone);
      entry->set(Entry::kStored, true);
    }
  }
  if (table_ != nullptr) {
    Table::MarkDirty(table_->Insert(hash, entry));
  } else {
    few_.push_back(entry);
  }
  Count(entry, viewer);
}

crdt::ApplyResult Elements::Apply(const crdt::Effect& effect,
                                  const crdt::Seen& seen,
                                  clock::Hlc hlc,
                                  const Viewer& viewer) {
  using crdt::EffectKind;
  Sync(viewer);
  const std::string_view name = effect.element;
  const uint64_t hash = table_ != nullptr ? Hash(name) : 0;
  Entry** slot = FindSlot(name, hash);
  Entry* old = slot == nullptr ? nullptr : *slot;
  const bool plain =
      old == nullptr || (old->form() == Form::kValue && seen.Covers(old->value_part().dot));
  if (plain && effect.clears.empty()) {
    // Most writes: what stands was seen.
    if (effect.kind == EffectKind::kPut && (effect.flags & crdt::kAbsent) == 0) {
      if (old != nullptr && old->value() == effect.value) {
        old->value_part() = {seen.dot(), hlc};
        Note(seen.dot());
        if (table_ != nullptr) Table::MarkDirty(slot);
      } else {
        Place(name,
              hash,
              slot,
              Entry::NewValue(0, name, seen.dot(), hlc, false, effect.value),
              viewer);
      }
      return {.added_version = true, .concurrent = false};
    }
    if (effect.kind == EffectKind::kWipe) {
      if (old != nullptr) Place(name, hash, slot, nullptr, viewer);
      return {};
    }
  }
  crdt::Register state = old == nullptr ? crdt::Register{} : old->State();
  const crdt::ApplyResult result = crdt::ApplyToElement(state, effect, seen, hlc);
  Place(name, hash, slot, MakeEntry(0, name, AsKey(std::move(state))), viewer);
  return result;
}

bool Elements::WipesAll(const crdt::Seen& seen) const {
  if (unplain_ != 0) return false;
  return std::all_of(
      newest_.begin(), newest_.end(), [&](clock::Dot dot) { return seen.Covers(dot); });
}

void Elements::Wipe(const crdt::Seen& seen, const Viewer& viewer, Keeps keeps) {
  Sync(viewer);
  const crdt::Effect wipe{.kind = crdt::EffectKind::kWipe};
  std::vector<std::string> names;
  ForEach([&](const Entry& entry) {
    // What nothing of was seen stays as it is.
    const bool untouched =
        (entry.form() == Form::kCounter && !PLANTED(kWipeClearsUnseen)) ||
        (entry.form() == Form::kValue && !seen.Covers(entry.value_part().dot));
    if (!untouched && !keeps(entry.key())) names.emplace_back(entry.key());
    return true;
  });
  for (const std::string& name : names) {
    const uint64_t hash = table_ != nullptr ? Hash(name) : 0;
    Entry** slot = FindSlot(name, hash);
    crdt::Register state = (*slot)->State();
    crdt::ApplyToElement(state, wipe, seen, {});
    Place(name, hash, slot, MakeEntry(0, name, AsKey(std::move(state))), viewer);
  }
}

void Elements::PurgeCounter(std::string_view name,
                            clock::OriginIndex origin,
                            const Viewer& viewer) {
  Sync(viewer);
  const uint64_t hash = table_ != nullptr ? Hash(name) : 0;
  Entry** slot = FindSlot(name, hash);
  if (slot == nullptr || (*slot)->form() != Form::kFat) return;
  crdt::Register state = (*slot)->State();
  std::erase_if(state.counters, [&](const crdt::CounterEntry& e) {
    return e.origin == origin && !e.live();
  });
  Place(name, hash, slot, MakeEntry(0, name, AsKey(std::move(state))), viewer);
}

bool Elements::Load(std::string_view name,
                    crdt::Register state,
                    bool own_row,
                    bool replaces,
                    const Viewer& viewer) {
  Sync(viewer);
  const uint64_t hash = table_ != nullptr ? Hash(name) : 0;
  Entry** slot = FindSlot(name, hash);
  const bool fresh = slot == nullptr;
  if (!fresh && !replaces) return false;
  Entry* entry = MakeEntry(0, name, AsKey(std::move(state)));
  if (entry == nullptr) return fresh;
  entry->set(Entry::kStored, true);
  has_rows_ = has_rows_ || own_row;
  const bool few = table_ == nullptr;
  Place(name, hash, slot, entry, viewer);
  if (!own_row || table_ == nullptr) return fresh;
  // What has just been read need not be written.
  if (!few) {
    Table::Unmark(table_->Find(hash, name));
    return fresh;
  }
  uint64_t cursor = 0;
  do {
    cursor = table_->TakeDirty(cursor, SIZE_MAX, [](Entry*) {});
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
  ForEach([&](const Entry& entry) {
    const Entry* other = theirs == nullptr ? nullptr : theirs->Find(entry.key());
    bool same = keeps(entry.key());
    if (!same && entry.form() == Form::kValue) {
      // Most: both sides have the one version, or only we have it.
      const clock::Dot dot = entry.value_part().dot;
      same = other == nullptr
                 ? !theirs_vector.Covers(dot)
                 : other->form() == Form::kValue && other->value_part().dot == dot;
    }
    if (!same) names.emplace_back(entry.key());
    return true;
  });
  if (theirs != nullptr) {
    theirs->ForEach([&](const Entry& other) {
      if (Find(other.key()) == nullptr && !keeps(other.key())) names.emplace_back(other.key());
      return true;
    });
  }
  bool changed = false;
  for (const std::string& name : names) {
    const uint64_t hash = table_ != nullptr ? Hash(name) : 0;
    Entry** slot = FindSlot(name, hash);
    const Entry* other = theirs == nullptr ? nullptr : theirs->Find(name);
    const crdt::Register mine = slot == nullptr ? crdt::Register{} : (*slot)->State();
    crdt::Register merged =
        crdt::MergeElement(mine,
                           mine_vector,
                           other == nullptr ? crdt::Register{} : other->State(),
                           theirs_vector);
    if (merged == mine) continue;
    changed = true;
    Place(name, hash, slot, MakeEntry(0, name, AsKey(std::move(merged))), viewer);
  }
  return changed;
}

// ---- rows

void Elements::NoteInline() {
  for (Entry* entry : few_)
    entry->set(Entry::kStored, true);
}

void Elements::VisitInline(RowVisit visit) {
  for (const std::string& name : inline_) {
    Entry** slot = FindSlot(name, Hash(name));
    if (slot == nullptr) continue;
    (*slot)->set(Entry::kStored, true);
    visit(name, (*slot)->State());
  }
  if (!inline_.empty()) has_rows_ = true;
  inline_.clear();
  inline_.shrink_to_fit();
}

bool Elements::VisitDirty(uint64_t& cursor, size_t count, size_t& visited, RowVisit visit) {
  has_rows_ = true;
  for (; !deleted_.empty() && visited < count; ++visited) {
    visit(*deleted_.begin(), crdt::Register{});
    deleted_.erase(deleted_.begin());
  }
  if (visited >= count) return false;
  cursor = table_->TakeDirty(cursor, count - visited, [&](Entry* entry) {
    entry->set(Entry::kStored, true);
    ++visited;
    visit(entry->key(), entry->State());
  });
  return cursor == 0 && deleted_.empty();
}

bool Elements::FreeSome(size_t count) {
  if (order_ != nullptr && !order_->FreeSome(count)) order_.reset();
  if (order_ != nullptr) return true;
  if (table_ != nullptr && !table_->FreeSome(count)) table_.reset();
  return table_ != nullptr;
}

// ---- looking

void Elements::ForEach(base::FunctionRef<bool(const Entry&)> visit) const {
  if (table_ == nullptr) {
    for (const Entry* entry : few_) {
      if (!visit(*entry)) return;
    }
    return;
  }
  table_->Walk(visit);
}

void Elements::AppendTo(std::vector<crdt::Element>& out) const {
  const auto first = static_cast<ptrdiff_t>(out.size());
  ForEach([&](const Entry& entry) {
    crdt::Element& element = out.emplace_back();
    static_cast<crdt::Register&>(element) = entry.State();
    element.type = type_;
    element.name = entry.key();
    return true;
  });
  std::sort(out.begin() + first, out.end(), [](const crdt::Element& a, const crdt::Element& b) {
    return a.name < b.name;
  });
}

uint64_t Elements::Scan(uint64_t cursor,
                        size_t count,
                        base::FunctionRef<void(const Entry&)> visit) const {
  if (table_ == nullptr) {
    // A cursor of a time when they were many goes on, so that none is missed.
    for (const Entry* entry : few_) {
      if (IsShown(*entry)) visit(*entry);
    }
    return 0;
  }
  return table_->Scan(cursor, std::max<size_t>(count, 1), [&](Entry* entry) {
    if (IsShown(*entry)) visit(*entry);
  });
}

const Entry* Elements::Random(uint64_t random) const {
  if (shown_ == 0) return nullptr;
  if (table_ == nullptr) {
    uint64_t skip = random % shown_;
    for (const Entry* entry : few_) {
      if (IsShown(*entry) && skip-- == 0) return entry;
    }
    return nullptr;
  }
  // From a random place on, one of the next few: not each with quite the same probability.
  constexpr size_t kLookedAt = 24;
  std::vector<const Entry*> found;
  uint64_t cursor = random >> Table::kCursorShift;
  for (int round = 0; round < 3 && found.size() < kLookedAt / 2; ++round) {
    do {
      cursor = table_->Scan(cursor, kLookedAt, [&](Entry* entry) {
        if (IsShown(*entry)) found.push_back(entry);
      });
    } while (cursor != 0 && found.size() < kLookedAt / 2);
  }
  return found.empty() ? nullptr : found[(random & 0xffff) % found.size()];
}

std::vector<OrderTree::Item> Elements::SortedFew(const Viewer& viewer) const {
  std::vector<OrderTree::Item> items;
  items.reserve(few_.size());
  for (Entry* entry : few_) {
    if (IsShown(*entry)) items.push_back({Score(*entry, viewer), entry});
  }
  if (PLANTED(kListByArrival) && type_ == crdt::Type::kList) return items;
  std::sort(items.begin(), items.end(), [](const OrderTree::Item& a, const OrderTree::Item& b) {
    return a.score < b.score || (a.score == b.score && a.entry->key() < b.entry->key());
  });
  return items;
}

const Entry* Elements::At(size_t rank, const Viewer& viewer) const {
  if (rank >= shown_) return nullptr;
  if (order_ != nullptr) return order_->At(rank).entry;
  // The ends, most asked for, need no order.
  if (type_ != crdt::Type::kList || (rank != 0 && rank != shown_ - 1) || PLANTED(kListByArrival))
    return SortedFew(viewer)[rank].entry;
  const Entry* end = nullptr;
  for (const Entry* entry : few_) {
    if (!IsShown(*entry)) continue;
    if (end == nullptr || (entry->key() < end->key()) == (rank == 0)) end = entry;
  }
  return end;
}

size_t Elements::Rank(double score, std::string_view name, const Viewer& viewer) const {
  if (order_ != nullptr) return order_->Rank(score, name);
  size_t before = 0;
  for (const OrderTree::Item& item : SortedFew(viewer)) {
    if (item.score < score || (item.score == score && item.entry->key() < name)) ++before;
  }
  return before;
}

size_t Elements::CountBelow(double score, bool inclusive, const Viewer& viewer) const {
  if (order_ != nullptr) return order_->CountBelow(score, inclusive);
  size_t below = 0;
  for (const Entry* entry : few_) {
    if (!IsShown(*entry)) continue;
    const double its = Score(*entry, viewer);
    if (its < score || (inclusive && its == score)) ++below;
  }
  return below;
}

void Elements::Walk(size_t first,
                    bool reverse,
                    base::FunctionRef<bool(const OrderTree::Item&)> visit,
                    const Viewer& viewer) const {
  if (order_ != nullptr) return order_->Walk(first, reverse, visit);
  const std::vector<OrderTree::Item> items = SortedFew(viewer);
  for (size_t i = first; i < items.size(); reverse ? --i : ++i) {
    if (!visit(items[i]) || (reverse && i == 0)) return;
  }
}

}  // namespace polyarch::keyspace
