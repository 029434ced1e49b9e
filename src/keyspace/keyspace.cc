#include "keyspace/keyspace.h"

#include <algorithm>

#include "base/check.h"
#include "base/number.h"
#include "base/planted.h"
#include "crdt/stream.h"
#include "keyspace/decided.h"

namespace polyarch::keyspace {

std::string_view Shown::Text(char* scratch) const {
  if (!is_integer) return value;
  return {scratch, base::FormatInt64(integer, scratch)};
}

Keyspace::Keyspace(clock::OriginTable& origins,
                   const conflict::PolicyTable& policies,
                   base::SipKey hash_key)
    : origins_(origins), policies_(policies), hash_key_(hash_key) {
  tables_.reserve(crdt::kDatabases + 1);
  for (int db = 0; db <= crdt::kDatabases; ++db) {
    tables_.emplace_back(
        [hash_key](std::string_view key) { return base::SipHash13(key, hash_key); });
  }
  live_.resize(tables_.size());
}

Keyspace::~Keyspace() = default;

void Keyspace::CountMemory(const Entry* entry, bool added) {
  size_t residue = 0;
  if (entry->form() == Form::kFat) {
    for (const auto& elements : entry->fat().elements) residue += elements->residue().size();
  }
  if (added) {
    memory_bytes_ += entry->memory_bytes();
    residue_elements_ += residue;
  } else {
    memory_bytes_ -= std::min(memory_bytes_, entry->memory_bytes());
    residue_elements_ -= std::min(residue_elements_, residue);
  }
}

// A read may be the first look behind a change of policies: what is in an order takes memory, what is not takes none.
void Keyspace::Sync(Elements& elements, const Viewer& viewer) {
  if (elements.InSync(viewer)) [[likely]] return;
  const size_t before = elements.memory_bytes();
  elements.Sync(viewer);
  memory_bytes_ += elements.memory_bytes();
  memory_bytes_ -= std::min(memory_bytes_, before);
}

// ---- reading

const conflict::Policy& Keyspace::PolicyOf(const KeyRef& ref, crdt::Type type) const {
  static const conflict::Policy kPlain;
  if (ref.db == crdt::kReservedDatabase || policies_.empty()) return kPlain;
  return policies_.ForType(ref.key, type);
}

Shown Keyspace::ShowState(const KeyRef& ref, const crdt::KeyState& state) {
  Shown shown;
  shown.expire_ms = state.ExpiryTime();
  if (shown.expire_ms < time_ms_) return {};
  ShownValue value = ShowRegister(state, ViewerOf(ref, crdt::Type::kString));
  if (value.saturated) ++stats_.saturated;
  shown.is_integer = value.is_integer;
  shown.integer = value.integer;
  shown.versions = value.versions;
  switch (value.kind) {
    case ShownValue::Kind::kNothing:
      shown.kind = Shown::Kind::kMissing;
      break;
    case ShownValue::Kind::kConflict:
      shown.kind = Shown::Kind::kConflict;
      break;
    case ShownValue::Kind::kValue:
      shown.kind = Shown::Kind::kValue;
      shown.value = value.value;
      if (!value.text.empty()) {
        scratch_ = std::move(value.text);
        shown.value = scratch_;
      }
      break;
  }
  return shown;
}

std::optional<crdt::Type> Keyspace::ShownType(const KeyRef& ref, const FatPart& fat) {
  std::optional<crdt::Type> only;
  size_t types = 0;
  bool own = false;
  if (fat.state().Register::live() &&
      ShowRegister(fat.state(), ViewerOf(ref, crdt::Type::kString)).kind !=
          ShownValue::Kind::kNothing) {
    only = crdt::Type::kString;
    own = true;
    ++types;
  }
  for (const auto& elements : fat.elements) {
    Sync(*elements, ViewerOf(ref, elements->type()));
    if (elements->shown() == 0) continue;
    only = elements->type();
    ++types;
  }
  if (types < 2) return only;
  // Rare: created as two types at once. The newest of what is shown.
  crdt::KeyState all;
  if (own) all = fat.state();
  for (const auto& elements : fat.elements) {
    if (elements->shown() != 0) elements->AppendTo(all.elements);
  }
  return crdt::NewestType(all, origins_);
}

Shown Keyspace::ShowFat(const KeyRef& ref, const FatPart& fat) {
  if (fat.elements.empty()) return ShowState(ref, fat.state());
  const std::optional<crdt::Type> type = ShownType(ref, fat);
  if (type == crdt::Type::kString) return ShowState(ref, fat.state());
  Shown shown;
  shown.expire_ms = fat.state().ExpiryTime();
  if (!type || shown.expire_ms < time_ms_) return {};
  shown.kind = Shown::Kind::kCollection;
  shown.type = *type;
  return shown;
}

Collection Keyspace::Open(const KeyRef& ref, crdt::Type type) {
  Collection collection = OpenElements(ref, type, /*again=*/false);
  const bool found = collection.status != Collection::Status::kMissing;
  if (counts_uses_ && found) [[unlikely]] uses_->Note(ref.hash);
  NoteLookup(found);
  return collection;
}

Collection Keyspace::OpenAgain(const KeyRef& ref, crdt::Type type) {
  return OpenElements(ref, type, /*again=*/true);
}

Collection Keyspace::OpenElements(const KeyRef& ref, crdt::Type type, bool again) {
  if (Keyspace* decided = DecidedOf(ref)) {
    return decided->OpenElements(decided->Ref(ref.db, ref.key), type, again);
  }
  Collection collection;
  Entry** slot = Lookup(ref);
  if (slot == nullptr) return collection;
  const Shown shown = ShowEntry(ref, **slot);
  if (!shown.exists()) return collection;
  if (!again && (shown.kind != Shown::Kind::kCollection || shown.type != type)) {
    collection.status = Collection::Status::kOtherType;
    return collection;
  }
  collection.elements = ElementsIn(**slot, type);
  if (collection.elements == nullptr) return collection;
  collection.status = Collection::Status::kFound;
  collection.policy = &PolicyOf(ref, type);
  if (HasFieldPolicies(ref, type)) collection.key = (*Lookup(ref))->key();
  collection.keyspace = this;
  collection.expire_ms = shown.expire_ms;
  return collection;
}

void Keyspace::SetTime(int64_t time_ms) {
  time_ms_ = time_ms;
  if (uses_ != nullptr) uses_->SetTime(time_ms);
  if (decided_ != nullptr) decided_->values().SetTime(time_ms);
}

Keyspace* Keyspace::DecidedOf(const KeyRef& ref) const {
  if (decided_ == nullptr || !decided_->Holds(ref.db, ref.key)) [[likely]]
    return nullptr;
  return &decided_->values();
}

Shown Keyspace::Read(const KeyRef& ref) {
  Shown shown = Peek(ref);
  if (counts_uses_ && shown.exists()) [[unlikely]] uses_->Note(ref.hash);
  NoteLookup(shown.exists());
  return shown;
}

Shown Keyspace::Peek(const KeyRef& ref) {
  if (Keyspace* decided = DecidedOf(ref)) [[unlikely]] {
    return decided->Peek(decided->Ref(ref.db, ref.key));
  }
  Entry** slot = Lookup(ref);
  return slot == nullptr ? Shown{} : ShowEntry(ref, **slot);
}

bool Keyspace::HoldsLive(const KeyRef& ref) {
  if (Keyspace* decided = DecidedOf(ref)) [[unlikely]] {
    return decided->HoldsLive(decided->Ref(ref.db, ref.key));
  }
  Entry** slot = Lookup(ref);
  if (slot == nullptr) return false;
  const Entry& entry = **slot;
  switch (entry.form()) {
    case Form::kValue:
    case Form::kCounter:
      return true;
    case Form::kValueTtl:
      return entry.ttl_part().expire_ms >= time_ms_;
    case Form::kFat:
      break;
  }
  return IsLive(entry.fat()) && entry.fat().state().ExpiryTime() >= time_ms_;
}

uint64_t Keyspace::NewestWriteMs(const KeyRef& ref) {
  Entry** slot = Lookup(ref);
  if (slot == nullptr) return 0;
  const Entry& entry = **slot;
  if (entry.form() == Form::kCounter) return entry.counter().hlc.ms();
  if (entry.form() != Form::kFat) return entry.value_part().hlc.ms();
  uint64_t newest = 0;
  auto note = [&](clock::Hlc hlc) { newest = std::max(newest, hlc.ms()); };
  const crdt::KeyState& own = entry.fat().state();
  for (const crdt::Version& v : own.versions) note(v.hlc);
  for (const crdt::CounterEntry& e : own.counters) note(e.hlc);
  for (const crdt::ExpiryVersion& x : own.expiries) note(x.hlc);
  for (const auto& elements : entry.fat().elements) {
    elements->ForEach([&](const ElementView& element) {
      if (element.form() == Form::kCounter) {
        note(element.counter().hlc);
      } else if (element.form() != Form::kFat) {
        note(element.value_part().hlc);
      } else if (const auto tag = crdt::NewestTag(element.fat_state(), origins_)) {
        note(tag->hlc);
      }
      return true;
    });
  }
  return newest;
}

Shown Keyspace::ShowEntry(const KeyRef& ref, const Entry& entry) {
  Shown shown;
  switch (entry.form()) {
    case Form::kValueTtl:
      if (entry.ttl_part().expire_ms < time_ms_) return {};
      shown.expire_ms = entry.ttl_part().expire_ms;
      [[fallthrough]];
    case Form::kValue:
      shown.kind = Shown::Kind::kValue;
      shown.value = entry.value();
      return shown;
    case Form::kCounter:
      shown.kind = Shown::Kind::kValue;
      shown.is_integer = true;
      shown.integer = entry.counter().total;
      return shown;
    case Form::kFat:
      return ShowFat(ref, entry.fat());
  }
  return shown;
}

crdt::KeyState Keyspace::State(const KeyRef& ref) const {
  Entry** slot = tables_[ref.db].Find(ref.hash, ref.key);
  if (merge_ != nullptr) return MergedState(ref, slot == nullptr ? nullptr : *slot);
  return slot == nullptr ? crdt::KeyState{} : (*slot)->State();
}

void Keyspace::VisitOpenConflicts(
    const crdt::KeyState& state,
    base::FunctionRef<void(crdt::Type, std::string_view name, const crdt::Register&)> visit) {
  if (IsConflict(state)) visit(crdt::Type::kString, {}, state);
  for (const crdt::Element& e : state.elements) {
    if (!e.live()) continue;
    const bool ordered = e.type == crdt::Type::kSortedSet || e.type == crdt::Type::kList ||
                         e.type == crdt::Type::kStream;
    if (crdt::MayConflict(e.type, e.name) &&
        (ordered ? conflict::CountDistinct(e.versions) > 1 : IsConflict(e)))
      visit(e.type, e.name, e);
  }
}

bool Keyspace::IsOpenConflict(const crdt::KeyState& state, const clock::OriginTable&) {
  bool open = false;
  VisitOpenConflicts(state, [&](crdt::Type, std::string_view, const crdt::Register&) { open = true; });
  std::optional<crdt::Type> live;
  if (state.Register::live()) live = crdt::Type::kString;
  for (const crdt::Element& e : state.elements) {
    if (!e.live()) continue;
    open = open || (live && *live != e.type);
    live = e.type;
  }
  return open;
}

void Keyspace::WatchConflicts(bool on) {
  watches_conflicts_ = on;
  conflict_changes_.clear();
}

size_t Keyspace::Size(uint8_t db) const {
  size_t size = live_[db];
  if (decided_ == nullptr) return size;
  decided_->ForEach([&](uint8_t of, std::string_view key, bool present) {
    if (of != db) return;
    const KeyRef ref = Ref(db, key);
    Entry** slot = tables_[db].Find(ref.hash, key);
    if (slot != nullptr && (*slot)->has(Entry::kLive)) --size;
    if (present) ++size;
  });
  return size;
}

namespace {

// Cursors of what is decided, which comes behind all else. The table's own do not reach so far.
constexpr uint64_t kDecidedCursor = uint64_t{1} << 63;

}  // namespace

uint64_t Keyspace::ScanDecided(uint8_t db,
                               uint64_t cursor,
                               size_t count,
                               const std::function<void(std::string_view key)>& visit) {
  const uint64_t next = decided_->values().Scan(db, cursor & ~kDecidedCursor, count, visit);
  return next == 0 ? 0 : next | kDecidedCursor;
}

uint64_t Keyspace::Scan(uint8_t db,
                        uint64_t cursor,
                        size_t count,
                        const std::function<void(std::string_view key)>& visit) {
  if (decided_ != nullptr && (cursor & kDecidedCursor) != 0)
    return ScanDecided(db, cursor, count, visit);
  std::vector<std::string> unmerged;  // reading a key may merge it: that replaces its entry
  const uint64_t next = tables_[db].Scan(cursor, std::max<size_t>(count, 1), [&](Entry* entry) {
    if (merge_ != nullptr) [[unlikely]] {
      unmerged.emplace_back(entry->key());
      return;
    }
    const KeyRef ref = Ref(db, entry->key());
    if (DecidedOf(ref) == nullptr && Exists(ref)) visit(entry->key());
  });
  for (const std::string& key : unmerged) {
    const KeyRef ref = Ref(db, key);
    if (DecidedOf(ref) == nullptr && Exists(ref)) visit(key);
  }
  return next == 0 && decided_ != nullptr && decided_->size() != 0 ? kDecidedCursor : next;
}

std::optional<std::string> Keyspace::RandomKey(uint8_t db, uint64_t random) {
  if (decided_ != nullptr) {
    const size_t decided = decided_->values().Size(db);
    if (decided != 0 && random % std::max(Size(db), decided) < decided) {
      auto key = decided_->values().RandomKey(db, random);
      if (key) return key;
    }
  }
  if (live_[db] == 0) return std::nullopt;
  if (merge_ == nullptr) {
    const Entry* entry = tables_[db].Sample(
        random, [&](Entry* drawn) { return Exists(Ref(db, drawn->key())); });
    if (entry != nullptr) return std::string(entry->key());
  }
  // From a random place on, the first visible key; a second look at another place evens out runs of
  // hidden ones. Falls back to a walk from the start.
  uint64_t cursor = random >> Table::kCursorShift;
  for (int round = 0; round < 2; ++round) {
    do {
      std::vector<std::string> found;
      cursor = Scan(db, cursor, 16, [&](std::string_view key) { found.emplace_back(key); });
      if (!found.empty()) return found[random % found.size()];
    } while (cursor != 0);
  }
  return std::nullopt;
}

void Keyspace::ForEach(
    const std::function<void(uint8_t, std::string_view, const crdt::KeyState&)>& visit) const {
  for (size_t db = 0; db < tables_.size(); ++db) {
    tables_[db].ForEach([&](const Entry& entry) {
      if (merge_ != nullptr && !IsMerged(entry)) {
        const auto number = static_cast<uint8_t>(db);
        const crdt::KeyState state = MergedState(Ref(number, entry.key()), &entry);
        if (!state.empty()) visit(number, entry.key(), state);
      } else if (entry.form() == Form::kFat && entry.fat().elements.empty()) {
        visit(static_cast<uint8_t>(db), entry.key(), entry.fat().state());
      } else {
        visit(static_cast<uint8_t>(db), entry.key(), entry.State());
      }
    });
    if (merge_ == nullptr) continue;
    merge_->theirs->tables_[db].ForEach([&](const Entry& entry) {
      const KeyRef ref = Ref(static_cast<uint8_t>(db), entry.key());
      if (tables_[db].Find(ref.hash, ref.key) != nullptr) return;
      const crdt::KeyState state = MergedState(ref, nullptr);
      if (!state.empty()) visit(ref.db, ref.key, state);
    });
  }
}

// ---- indices

void Keyspace::Unindex(Entry* entry) {
  int64_t expiry = entry->indexed_expiry();
  if (expiry != crdt::kNever) expiry_index_.erase({expiry, entry});
  if (entry->has(Entry::kLive)) --live_[entry->db()];
  entry->set(Entry::kLive, false);
}

void Keyspace::Reindex(Entry* entry) {
  const uint8_t db = entry->db();
  if (entry->form() != Form::kFat) {
    if (!entry->has(Entry::kLive)) {
      entry->set(Entry::kLive, true);
      ++live_[db];
    }
    int64_t expiry = entry->indexed_expiry();
    if (expiry != crdt::kNever) expiry_index_.insert({expiry, entry});
    return;
  }
  FatPart& fat = entry->fat();
  const bool live = IsLive(fat);
  if (live != entry->has(Entry::kLive)) {
    entry->set(Entry::kLive, live);
    live_[db] += live ? 1 : -1;
  }
  int64_t expiry = live ? fat.state().ExpiryTime() : crdt::kNever;
  if (expiry != fat.indexed_expiry()) {
    if (fat.indexed_expiry() != crdt::kNever) expiry_index_.erase({fat.indexed_expiry(), entry});
    fat.set_indexed_expiry(expiry);
    if (expiry != crdt::kNever) expiry_index_.insert({expiry, entry});
  }
  auto sync = [&](KeySet& set, Entry::Bit bit, bool wanted) {
    if (wanted == entry->has(bit)) return;
    entry->set(bit, wanted);
    if (wanted) {
      set.emplace(db, entry->key());
    } else {
      set.erase({db, std::string(entry->key())});
    }
  };
  bool residue = HasResidue(fat.state()) || (!live && !fat.state().expiries.empty());
  bool conflict = IsConflict(fat.state());
  size_t types = fat.state().Register::live() ? 1 : 0;
  for (const auto& elements : fat.elements) {
    residue = residue || !elements->residue().empty();
    conflict = conflict || elements->conflicts() > 0;
    if (elements->live() > 0) ++types;
  }
  sync(residue_, Entry::kResidue, residue);
  const bool open = db != crdt::kReservedDatabase && (conflict || types > 1);
  if (watches_conflicts_ && (open || entry->has(Entry::kConflict))) conflict_changes_.emplace(db, entry->key());
  sync(conflicts_, Entry::kConflict, open);
}

bool Keyspace::IsLive(const FatPart& fat) {
  return fat.state().Register::live() ||
         std::any_of(fat.elements.begin(), fat.elements.end(), [](const auto& elements) {
           return elements->live() > 0;
         });
}

void Keyspace::Place(const KeyRef& ref, Entry** slot, Entry* entry) {
  if (slot != nullptr) {
    Entry* old = *slot;
    const bool stored = old->has(Entry::kStored);
    CountMemory(old, false);
    if (old->form() == Form::kFat) {
      for (auto& elements : old->fat().elements)
        Retire(ref, std::move(elements));
      old->fat().elements.clear();
    }
    Unindex(old);
    if (old->has(Entry::kResidue)) residue_.erase({ref.db, std::string(ref.key)});
    if (old->has(Entry::kConflict)) {
      conflicts_.erase({ref.db, std::string(ref.key)});
      if (watches_conflicts_) conflict_changes_.emplace(ref.db, ref.key);
    }
    if (entry == nullptr) {
      if (stored && !beside_) deleted_.emplace(ref.db, ref.key);
      if (Table::IsDirty(slot)) --dirty_count_;
      tables_[ref.db].Erase(ref.hash, slot);
      return;
    }
    entry->set(Entry::kStored, stored);
    tables_[ref.db].Replace(ref.hash, slot, entry);
  } else {
    if (entry == nullptr) return;
    if (!deleted_.empty() && deleted_.erase({ref.db, std::string(ref.key)}) != 0) {
      entry->set(Entry::kStored, true);
    }
    slot = tables_[ref.db].Insert(ref.hash, entry);
  }
  entry->set(Entry::kEpoch, epoch_);
  CountMemory(entry, true);
  Reindex(entry);
  Touched(slot);
}

// ---- changing

bool Keyspace::ApplyFast(const crdt::Effect& effect,
                         const crdt::Seen& seen,
                         clock::Hlc hlc,
                         const KeyRef& ref) {
  using crdt::EffectKind;
  if (!effect.clears.empty()) return false;
  Entry** slot = Lookup(ref);
  Entry* old = slot == nullptr ? nullptr : *slot;
  const bool plain = old != nullptr && old->form() <= Form::kValueTtl;
  if (plain && !seen.Covers(old->value_part().dot)) return false;

  if (effect.kind == EffectKind::kPut) {
    if ((effect.flags & crdt::kAbsent) != 0) return false;
    if (old != nullptr && !plain) return false;
    const bool wipes = (effect.flags & crdt::kWipes) != 0;
    const bool ttl = (effect.flags & crdt::kHasExpiry) != 0;
    if ((effect.flags & crdt::kKeepExpiry) != 0) return false;
    if (!wipes && (old == nullptr || old->form() == Form::kValueTtl)) return false;
    if (ttl && (effect.expire_ms == crdt::kNever || (effect.flags & crdt::kNeverFlag) != 0))
      return false;
    if (old != nullptr && old->form() == Form::kValue && !ttl &&
        old->value_size() == effect.value.size()) {
      old->value_part() = {seen.dot(), hlc};
      old->set(Entry::kNever, (effect.flags & crdt::kNeverFlag) != 0);
      if (!effect.value.empty())
        std::memcpy(old->mutable_value(), effect.value.data(), effect.value.size());
      Touched(slot);
      return true;
    }
    Entry* entry =
        ttl ? Entry::NewValueTtl(ref.db, ref.key, seen.dot(), hlc, effect.expire_ms, effect.value)
            : Entry::NewValue(ref.db,
                              ref.key,
                              seen.dot(),
                              hlc,
                              (effect.flags & crdt::kNeverFlag) != 0,
                              effect.value);
    Place(ref, slot, entry);
    return true;
  }
  if (effect.kind == EffectKind::kIncrement) {
    if (!effect.total.FitsInt64()) return false;
    if (old == nullptr) {
      if (effect.life != seen.at()) return false;
      Place(ref,
            slot,
            Entry::NewCounter(ref.db,
                              ref.key,
                              {seen.dot(),
                               hlc,
                               seen.at().sequence,
                               static_cast<int64_t>(effect.total.integer),
                               effect.life.index,
                               seen.at().index}));
      return true;
    }
    if (old->form() != Form::kCounter || (effect.flags & crdt::kWipes) != 0) return false;
    CounterPart& c = old->counter();
    if (c.life.origin() != seen.origin() ||
        effect.life != crdt::At{c.life.sequence(), c.life_index} ||
        seen.at() <= crdt::At{c.at_sequence, c.at_index}) {
      return false;
    }
    c.at_sequence = seen.at().sequence;
    c.at_index = seen.at().index;
    c.total = static_cast<int64_t>(effect.total.integer);
    c.hlc = hlc;
    Touched(slot);
    return true;
  }
  if (effect.kind == EffectKind::kWipe || effect.kind == EffectKind::kFlush) {
    if (old == nullptr) return true;
    if (!plain || (old->form() == Form::kValueTtl && (effect.flags & crdt::kKeepExpiry) != 0))
      return false;
    Place(ref, slot, nullptr);
    return true;
  }
  return false;
}

void Keyspace::ApplySlow(const crdt::Effect& effect,
                         const crdt::Seen& seen,
                         clock::Hlc hlc,
                         const KeyRef& ref,
                         Cause cause) {
  Entry** slot = Lookup(ref);
  crdt::ApplyResult result;
  if (slot != nullptr && (*slot)->form() == Form::kFat) {
    Entry* entry = *slot;
    CountMemory(entry, false);
    entry->fat().ForgetResidueSince();
    WipeElements(entry->fat(), effect, seen, ref);
    crdt::KeyState& state = entry->fat().mutable_state();
    result = crdt::Apply(state, effect, seen, hlc);
    if (PLANTED(kDropConcurrent) && result.concurrent) {
      std::erase_if(state.versions, [&](const crdt::Version& v) { return v.dot != seen.dot(); });
    }
    entry->fat().Tidy();
    CountMemory(entry, true);
    Settle(ref, slot);
  } else {
    crdt::KeyState state = slot == nullptr ? crdt::KeyState{} : (*slot)->State();
    result = crdt::Apply(state, effect, seen, hlc);
    if (PLANTED(kDropConcurrent) && result.concurrent) {
      std::erase_if(state.versions, [&](const crdt::Version& v) { return v.dot != seen.dot(); });
    }
    Place(ref, slot, MakeEntry(ref.db, ref.key, std::move(state)));
  }
  if (result.concurrent && observer_ != nullptr &&
      (cause != Cause::kLocal || effect.kind == crdt::EffectKind::kResolve)) {
    observer_->VersionsMet(ref.db, ref.key, crdt::Type::kString, {}, seen.dot());
  }
}

void Keyspace::Settle(const KeyRef& ref, Entry** slot) {
  Entry* entry = *slot;
  const crdt::KeyState& state = entry->fat().state();
  // A counter with a base stays fat.
  const bool maybe = entry->fat().elements.empty() &&
                     (state.counters.empty() ? state.versions.size() <= 1
                                             : state.versions.empty() && state.expiries.empty());
  Entry* smaller = maybe ? MakeEntry(ref.db, ref.key, state) : nullptr;
  if (smaller == nullptr && maybe) {
    Place(ref, slot, nullptr);
  } else if (smaller != nullptr && smaller->form() != Form::kFat) {
    Place(ref, slot, smaller);
  } else {
    if (smaller != nullptr) Entry::Free(smaller);
    Reindex(entry);
    Touched(slot);
  }
}

void Keyspace::ApplyFlush(const crdt::Effect& effect,
                          const crdt::Seen& seen,
                          clock::Hlc hlc,
                          Cause cause) {
  for (size_t db = 0; db < crdt::kDatabases; ++db) {
    if (effect.db != crdt::kAllDatabases && effect.db != db) continue;
    if (merge_ != nullptr) MergeDatabase(static_cast<uint8_t>(db));
    tables_[db].ForEachSlot([&](Entry** slot) {
      std::string key((*slot)->key());
      KeyRef ref = Ref(static_cast<uint8_t>(db), key);
      if (Skips(ref, crdt::Type::kString, {})) return WipeAcross(effect, seen, ref);
      if (!ApplyFast(effect, seen, hlc, ref)) ApplySlow(effect, seen, hlc, ref, cause);
      if (observer_ != nullptr) observer_->KeyModified(ref, cause);
    });
  }
}

void Keyspace::Apply(const crdt::Effect& effect,
                     const crdt::Seen& seen,
                     clock::Hlc hlc,
                     Cause cause) {
  if (effect.kind == crdt::EffectKind::kFlush) {
    ApplyFlush(effect, seen, hlc, cause);
    return;
  }
  KeyRef ref{effect.db,
             effect.key,
             effect.key_hash != 0 ? effect.key_hash : base::SipHash13(effect.key, hash_key_)};
  if (effect.kind == crdt::EffectKind::kWipeRange) {
    WipeRange(effect, seen, ref);
    if (observer_ != nullptr) observer_->KeyModified(ref, cause);
    return;
  }
  if (skip_ && skip_(effect.db, effect.key, effect.type, effect.element)) [[unlikely]] {
    if (effect.type == crdt::Type::kString) WipeAcross(effect, seen, ref);
    return;
  }
  bool creates = false;
  if (uses_ != nullptr) [[unlikely]] {
    Entry** slot = Lookup(ref);
    creates = slot == nullptr || !IsShown(**slot);
  }
  if (effect.type != crdt::Type::kString) {
    ApplyElement(effect, seen, hlc, ref, cause);
  } else if (!ApplyFast(effect, seen, hlc, ref)) {
    ApplySlow(effect, seen, hlc, ref, cause);
  }
  // Another leader's write is a use, too; its reads are not known here.
  if (uses_ != nullptr && (cause == Cause::kLocal || cause == Cause::kRemote) && effect.kind != crdt::EffectKind::kClean &&
      (effect.kind != crdt::EffectKind::kWipe || effect.type != crdt::Type::kString)) [[unlikely]] {
    creates ? uses_->NoteNew(ref.hash) : uses_->Note(ref.hash);
  }
  if (observer_ == nullptr) return;
  observer_->KeyModified(ref, effect.kind == crdt::EffectKind::kClean ? Cause::kCleaned : cause);
}

void Keyspace::Restore(const KeyRef& ref, crdt::KeyState state) {
  Place(ref, Lookup(ref), state.empty() ? nullptr : Build(ref, std::move(state)));
  // Those that had rows of their own have them again, together with the dropping of the old ones: whoever reads
  // the store row by row finds each of them somewhere.
  Entry** slot = dropped_.empty() ? nullptr : Lookup(ref);
  if (slot != nullptr && (*slot)->form() == Form::kFat) {
    CountMemory(*slot, false);
    for (auto& elements : (*slot)->fat().elements) {
      if (dropped_.count({ref.db, std::string(ref.key), elements->type()}) != 0)
        elements->MakeBig(ViewerOf(ref, elements->type()));
    }
    CountMemory(*slot, true);
    Reindex(*slot);
  }
  if (observer_ != nullptr) observer_->KeyModified(ref, Cause::kReverted);
}

void Keyspace::PutBack(const KeyRef& ref,
                       crdt::KeyState* own,
                       ElementStates elements,
                       std::vector<Moved> moved) {
  Entry** slot = Lookup(ref);
  if (!moved.empty()) {
    // What stands there now is of the change alone.
    Entry* entry = Entry::NewFat(ref.db, ref.key, own == nullptr ? crdt::KeyState{} : std::move(*own));
    own = nullptr;
    std::vector<crdt::Type> kept_rows;
    for (Moved& m : moved) {
      if (m.drops) kept_rows.push_back(m.elements->type());
      entry->fat().elements.Add(std::move(m.elements));
    }
    Place(ref, slot, entry);
    for (crdt::Type type : kept_rows)
      dropped_.erase({ref.db, std::string(ref.key), type});
  } else if (elements.empty() && (slot == nullptr || (*slot)->form() != Form::kFat ||
                                  (*slot)->fat().elements.empty())) {
    if (own != nullptr) Place(ref, slot, MakeEntry(ref.db, ref.key, std::move(*own)));
    if (observer_ != nullptr) observer_->KeyModified(ref, Cause::kReverted);
    return;
  }
  slot = Lookup(ref);
  if (slot == nullptr || (*slot)->form() != Form::kFat) {
    Place(ref,
          slot,
          Entry::NewFat(ref.db, ref.key, slot == nullptr ? crdt::KeyState{} : (*slot)->State()));
    slot = Lookup(ref);
  }
  Entry* entry = *slot;
  FatPart& fat = entry->fat();
  CountMemory(entry, false);
  fat.ForgetResidueSince();
  if (own != nullptr) fat.mutable_state() = std::move(*own);
  for (auto& [place, state] : elements) {
    const auto& [type, name] = place;
    const Viewer viewer = ViewerOf(ref, type);
    if (state.empty()) {
      ElementsOf(fat, type).Drop(name, viewer);
    } else {
      // It may have no row any more: then it has one together with the key's next.
      ElementsOf(fat, type).Load(name, std::move(state), /*own_row=*/false, /*replaces=*/true, viewer);
      // As in Restore.
      if (!dropped_.empty() && dropped_.count({ref.db, std::string(ref.key), type}) != 0)
        ElementsOf(fat, type).MakeBig(viewer);
    }
  }
  RetireEmpty(ref, fat);
  fat.Tidy();
  CountMemory(entry, true);
  Settle(ref, slot);
  if (observer_ != nullptr) observer_->KeyModified(ref, Cause::kReverted);
}

std::vector<crdt::Clear> Keyspace::Clears(const KeyRef& ref) {
  Entry** slot = Lookup(ref);
  if (slot == nullptr || (*slot)->form() <= Form::kValueTtl) return {};
  if ((*slot)->form() == Form::kCounter) {
    const CounterPart& c = (*slot)->counter();
    return {{c.life.origin(),
             {c.life.sequence(), c.life_index},
             {c.at_sequence, c.at_index},
             crdt::Number::Integer(c.total)}};
  }
  return crdt::ClearsOf((*slot)->fat().state());
}

std::optional<crdt::NextIncrement> Keyspace::PrepareIncrement(const KeyRef& ref,
                                                              clock::OriginIndex origin,
                                                              crdt::At at,
                                                              const crdt::Number& increment) {
  Entry** slot = Lookup(ref);
  if (slot != nullptr && (*slot)->form() == Form::kCounter) {
    const CounterPart& c = (*slot)->counter();
    if (c.life.origin() == origin) {
      auto total = crdt::Add(crdt::Number::Integer(c.total), increment);
      if (!total) return std::nullopt;
      return crdt::NextIncrement{{c.life.sequence(), c.life_index}, *total};
    }
  } else if (slot != nullptr && (*slot)->form() == Form::kFat) {
    return crdt::PrepareIncrement((*slot)->fat().state(), origin, at, increment);
  }
  return crdt::NextIncrement{at, increment};
}

bool Keyspace::MayHoldCounters(const KeyRef& ref) {
  Entry** slot = Lookup(ref);
  if (slot == nullptr || (*slot)->form() <= Form::kValueTtl) return false;
  if ((*slot)->form() == Form::kCounter) return true;
  const FatPart& fat = (*slot)->fat();
  return fat.state().has_live_counter() ||
         std::any_of(fat.elements.begin(), fat.elements.end(), [](const auto& elements) {
           return elements->HasLiveCounters();
         });
}

size_t Keyspace::StoredElements(const KeyRef& ref) {
  Entry** slot = Lookup(ref);
  if (slot == nullptr || (*slot)->form() != Form::kFat) return 0;
  size_t count = 0;
  for (const auto& elements : (*slot)->fat().elements)
    count += elements->size();
  return count;
}

bool Keyspace::HasExpiryVersions(const KeyRef& ref) {
  Entry** slot = Lookup(ref);
  if (slot == nullptr) return false;
  if ((*slot)->form() == Form::kFat) return !(*slot)->fat().state().expiries.empty();
  return (*slot)->form() == Form::kValueTtl;
}

bool Keyspace::HasRegisterOrCounter(const KeyRef& ref) {
  Entry** slot = Lookup(ref);
  if (slot == nullptr) return false;
  if ((*slot)->form() != Form::kFat) return true;
  const crdt::KeyState& state = (*slot)->fat().state();
  return state.has_live_version() || !state.counters.empty();
}

size_t Keyspace::MemoryOf(const KeyRef& ref) {
  if (Keyspace* decided = DecidedOf(ref)) [[unlikely]]
    return decided->MemoryOf(decided->Ref(ref.db, ref.key));
  Entry** slot = Lookup(ref);
  return slot == nullptr ? 0 : sizeof *slot + (*slot)->memory_bytes();
}

// ---- expiry and residue

void Keyspace::VisitExpired(int64_t from_ms,
                            const std::function<bool(const Expired&)>& visit) const {
  for (auto it = expiry_index_.lower_bound({from_ms, nullptr}); it != expiry_index_.end(); ++it) {
    const auto& [instant, entry] = *it;
    if (instant >= time_ms_) return;
    if (entry->db() == crdt::kReservedDatabase) continue;
    clock::OriginIndex winner = clock::kNoOrigin;
    if (entry->form() == Form::kValueTtl) {
      winner = entry->value_part().dot.origin();
    } else {
      for (const crdt::ExpiryVersion& x : entry->fat().state().expiries) {
        if (x.time_ms != instant) continue;
        const clock::OriginIndex origin = x.dot.origin();
        if (winner == clock::kNoOrigin || origins_.Less(winner, origin)) winner = origin;
      }
    }
    if (!visit({entry->db(), entry->key(), instant, winner})) return;
  }
}

void Keyspace::VisitExpiring(int64_t from_ms,
                             int64_t to_ms,
                             base::FunctionRef<void(uint8_t db, std::string_view key)> visit) const {
  for (auto it = expiry_index_.lower_bound({from_ms, nullptr}); it != expiry_index_.end() && it->first < to_ms; ++it)
    visit(it->second->db(), it->second->key());
  if (decided_ != nullptr) decided_->values().VisitExpiring(from_ms, to_ms, visit);
}

int64_t Keyspace::LatestHidden(int64_t before_ms) const {
  auto it = expiry_index_.lower_bound({std::min(time_ms_, before_ms), nullptr});
  return it == expiry_index_.begin() ? -1 : std::prev(it)->first;
}

int64_t Keyspace::EarliestExpiry() const {
  return expiry_index_.empty() ? crdt::kNever : expiry_index_.begin()->first;
}

void Keyspace::PurgeCounter(const KeyRef& ref, clock::OriginIndex origin) {
  Entry** slot = Lookup(ref);
  if (slot == nullptr || (*slot)->form() != Form::kFat) return;
  Entry* entry = *slot;
  CountMemory(entry, false);
  std::erase_if(entry->fat().mutable_state().counters,
                [&](const crdt::CounterEntry& e) { return e.origin == origin && !e.live(); });
  entry->fat().Tidy();
  CountMemory(entry, true);
  Settle(ref, slot);
}

void Keyspace::PurgeElementCounter(const KeyRef& ref,
                                   crdt::Type type,
                                   std::string_view name,
                                   clock::OriginIndex origin) {
  Elements* elements = FindElements(ref, type);
  if (elements == nullptr) return;
  Entry** slot = Lookup(ref);
  Entry* entry = *slot;
  CountMemory(entry, false);
  elements->PurgeCounter(name, origin, ViewerOf(ref, type));
  RetireEmpty(ref, entry->fat());
  CountMemory(entry, true);
  Settle(ref, slot);
}

const crdt::KeyState* Keyspace::Residue(const KeyRef& ref, bool* live) const {
  Entry** slot = tables_[ref.db].Find(ref.hash, ref.key);
  if (slot == nullptr || !(*slot)->has(Entry::kResidue)) return nullptr;
  if (live != nullptr) *live = IsLive((*slot)->fat());
  return &(*slot)->fat().state();
}

void Keyspace::VisitResidue(
    const KeyRef& ref,
    crdt::Type type,
    std::string_view name,
    base::FunctionRef<bool(crdt::Type, std::string_view, const crdt::Register&)> visit) const {
  Entry** slot = tables_[ref.db].Find(ref.hash, ref.key);
  if (slot == nullptr || !(*slot)->has(Entry::kResidue)) return;
  // Types come and go between two parts of a visit.
  std::vector<const Elements*> by_type;
  for (const auto& elements : (*slot)->fat().elements) {
    if (elements->type() >= type) by_type.push_back(elements.get());
  }
  std::sort(by_type.begin(), by_type.end(), [](const Elements* a, const Elements* b) {
    return a->type() < b->type();
  });
  for (const Elements* elements : by_type) {
    const Elements::Names& residue = elements->residue();
    auto it = elements->type() == type ? residue.lower_bound(name) : residue.begin();
    for (; it != residue.end(); ++it) {
      if (!visit(elements->type(), *it, elements->Find(*it)->fat_state())) return;
    }
  }
}

const clock::VersionVector* Keyspace::ResidueSince(
    const KeyRef& ref, const std::shared_ptr<const clock::VersionVector>& now) {
  Entry** slot = tables_[ref.db].Find(ref.hash, ref.key);
  if (slot == nullptr || !(*slot)->has(Entry::kResidue)) return nullptr;
  FatPart& fat = (*slot)->fat();
  if (fat.residue_since() == nullptr) {
    CountMemory(*slot, false);
    fat.set_residue_since(now);
    CountMemory(*slot, true);
    return nullptr;
  }
  return fat.residue_since();
}

base::Digest128 Keyspace::Digest() const {
  base::Digest128 digest;
  ForEach([&](uint8_t db, std::string_view key, const crdt::KeyState& state) {
    std::string canonical = crdt::Canonical(state, origins_);
    if (canonical.empty()) return;
    std::string bytes(1, static_cast<char>(db));
    base::PutBytes(bytes, key);
    bytes += canonical;
    digest += base::ContentHash128(bytes);
  });
  return digest;
}

}  // namespace polyarch::keyspace
