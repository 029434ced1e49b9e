#include "keyspace/change.h"

#include "base/planted.h"

namespace polyarch::keyspace {

namespace {

// Wipes in a flush are gathered into changes of about this many effects and bytes; those of one key's
// elements into changes of so many bytes.
constexpr uint32_t kFlushEffectsMax = 10'000;
constexpr size_t kFlushBytesMax = 4 << 20;

}  // namespace

void Change::OpenIfNeeded() {
  if (open_) return;
  stamp_ = sink_.Open();
  open_ = true;
  next_index_ = 0;
}

crdt::At Change::NextAt() {
  OpenIfNeeded();
  return {stamp_.sequence, next_index_};
}

bool Change::GiveUp() {
  if (next_index_ == 0) {
    sink_.Abandon();
    open_ = false;
  }
  return false;
}

void Change::Emit(crdt::Effect& effect) {
  OpenIfNeeded();
  if (keys_ != nullptr && effect.kind != crdt::EffectKind::kFlush) [[unlikely]]
    keys_->emplace_back(effect.db, effect.key);
  crdt::Seen seen(sink_.applied(), stamp_.origin, {stamp_.sequence, next_index_});
  Kept* moves = nullptr;
  if (before_ != nullptr) [[unlikely]]
    moves = KeepBefore(effect, seen);
  sink_.Add(effect);
  if (moves != nullptr) [[unlikely]]
    keyspace_.KeepMoved(&moves->moved);
  keyspace_.Apply(effect, seen, stamp_.hlc, cause_);
  if (moves != nullptr) [[unlikely]] {
    keyspace_.KeepMoved(nullptr);
    moves->whole = !moves->moved.empty();
  }
  ++next_index_;
  wrote_ = true;
}

void Change::WipeCounterElements(const KeyRef& ref) {
  if (PLANTED(kWipeSparesCounters)) return;
  ClearElements(ref, keyspace_.ElementsWithCounters(ref));
}

void Change::ClearElements(const KeyRef& ref,
                           std::span<const Keyspace::ElementWithCounter> elements) {
  for (const Keyspace::ElementWithCounter& e : elements) {
    crdt::Effect effect{.kind = crdt::EffectKind::kWipe,
                        .db = ref.db,
                        .type = e.type,
                        .key = ref.key,
                        .element = e.name,
                        .key_hash = ref.hash};
    effect.clears = e.clears;
    Emit(effect);
    // A change must fit into a message, however many elements the key has. It may be cut in two here: nothing that is
    // acknowledged is missing, only others may see some elements go before the rest.
    if (!whole_ && bytes() >= kFlushBytesMax) Finish();
  }
}

void Change::Wipe(const KeyRef& ref, uint8_t flags) {
  WipeCounterElements(ref);
  std::vector<crdt::Clear> clears = keyspace_.Clears(ref);
  crdt::Effect effect{
      .kind = crdt::EffectKind::kWipe, .db = ref.db, .key = ref.key, .key_hash = ref.hash};
  effect.flags = flags;
  effect.clears = clears;
  Emit(effect);
}

void Change::Put(const KeyRef& ref, std::string_view value, Ttl ttl, int64_t expire_ms) {
  const bool keeps = ttl == Ttl::kKeep || ttl == Ttl::kPart;
  const Shown old = keeps ? keyspace_.Peek(ref) : Shown{};
  const bool keep = old.exists();
  const bool replaces = !keep || old.kind == Shown::Kind::kCollection ||
                        (ttl == Ttl::kKeep && keyspace_.HoldsSeveralTypes(ref));
  if (replaces) WipeCounterElements(ref);
  std::vector<crdt::Clear> clears = keyspace_.Clears(ref);
  crdt::Effect effect{.kind = crdt::EffectKind::kPut,
                      .db = ref.db,
                      .key = ref.key,
                      .key_hash = ref.hash,
                      .value = value};
  effect.clears = clears;
  if (replaces) effect.flags |= crdt::kWipes;
  if (replaces && keep) effect.flags |= crdt::kKeepExpiry;
  if (ttl == Ttl::kAt) {
    effect.flags |= crdt::kHasExpiry;
    effect.expire_ms = expire_ms;
  } else if (!keep || old.expire_ms == crdt::kNever) {
    // Of a key that shows none, although it may hold expiry versions: a version without TTL, which
    // this one replaces, may outweigh them.
    effect.flags |= crdt::kNeverFlag;
  }
  Emit(effect);
}

void Change::Delete(const KeyRef& ref) {
  WipeCounterElements(ref);
  std::vector<crdt::Clear> clears = keyspace_.Clears(ref);
  crdt::Effect effect{
      .kind = crdt::EffectKind::kWipe, .db = ref.db, .key = ref.key, .key_hash = ref.hash};
  if (ref.db != crdt::kReservedDatabase && !keyspace_.policies().empty() &&
      keyspace_.policies().For(ref.key).DeleteIsVersion() && keyspace_.HasRegisterOrCounter(ref)) {
    effect.kind = crdt::EffectKind::kPut;
    effect.flags = crdt::kWipes | crdt::kAbsent;
  }
  effect.clears = clears;
  Emit(effect);
}

void Change::RemoveExpired(const KeyRef& ref) {
  Wipe(ref, crdt::kKeepExpiry);
}

bool Change::RemoveExpiredPart(const KeyRef& ref, Keyspace::CounterCursor& cursor, size_t count) {
  std::vector<Keyspace::ElementWithCounter> found;
  const bool more = keyspace_.NextElementsWithCounters(ref, cursor, count, found);
  ClearElements(ref, found);
  // Behind the cursor there may be none any more: without counters and other elements it has no expiry to be found by.
  if (more && keyspace_.LiveCounters(ref) > 0) return false;
  RemoveExpired(ref);
  return true;
}

void Change::Evict(const KeyRef& ref) {
  cause_ = Cause::kEvicted;
  Wipe(ref, 0);
  cause_ = Cause::kLocal;
}

bool Change::Increment(const KeyRef& ref, const crdt::Number& by) {
  const bool creates = !keyspace_.Exists(ref);
  std::vector<crdt::Clear> clears;
  crdt::Effect effect{
      .kind = crdt::EffectKind::kIncrement, .db = ref.db, .key = ref.key, .key_hash = ref.hash};
  if (creates && !PLANTED(kCreateWithoutWipe)) {
    // Also when nothing is stored here: another leader may not have removed an old expiry version
    // yet.
    WipeCounterElements(ref);
    effect.flags |= crdt::kWipes;
    clears = keyspace_.Clears(ref);
  }
  const crdt::At at = NextAt();
  crdt::NextIncrement next{at, by};
  if (!creates) {
    auto prepared = keyspace_.PrepareIncrement(ref, stamp_.origin, at, by);
    if (!prepared) return GiveUp();
    next = *prepared;
  }
  effect.life = next.life;
  effect.total = next.total;
  effect.increment = by;
  effect.clears = clears;
  Emit(effect);
  return true;
}

void Change::SetExpiry(const KeyRef& ref, int64_t expire_ms) {
  crdt::Effect effect{
      .kind = crdt::EffectKind::kExpire, .db = ref.db, .key = ref.key, .key_hash = ref.hash};
  effect.expire_ms = expire_ms;
  Emit(effect);
}

void Change::Resolve(const KeyRef& ref,
                     std::string_view value,
                     bool absent,
                     std::span<const clock::Dot> seen,
                     std::span<const crdt::Clear> clears) {
  crdt::Effect effect{.kind = crdt::EffectKind::kResolve,
                      .db = ref.db,
                      .key = ref.key,
                      .key_hash = ref.hash,
                      .value = value};
  effect.flags = absent ? crdt::kAbsent : crdt::kNeverFlag;
  effect.seen = seen;
  effect.clears = clears;
  Emit(effect);
}

void Change::Clean(const KeyRef& ref, std::span<const clock::Dot> seen) {
  crdt::Effect effect{
      .kind = crdt::EffectKind::kClean, .db = ref.db, .key = ref.key, .key_hash = ref.hash};
  effect.seen = seen;
  Emit(effect);
}

void Change::Flush(uint8_t db) {
  // Counters first, one by one: a clear must carry the totals that it saw. The rest goes by one
  // effect.
  size_t bytes = 0;
  for (const auto& [d, key] : keyspace_.KeysWithCounters(db)) {
    KeyRef ref = keyspace_.Ref(d, key);
    const std::vector<crdt::Clear> clears = keyspace_.Clears(ref);
    bytes += key.size() + clears.size() * crdt::kClearBytesMax;
    for (const Keyspace::ElementWithCounter& e : keyspace_.ElementsWithCounters(ref))
      bytes += key.size() + e.name.size() + e.clears.size() * crdt::kClearBytesMax;
    Wipe(ref, 0);
    if (!whole_ && (next_index_ >= kFlushEffectsMax || bytes >= kFlushBytesMax)) {
      Finish();
      bytes = 0;
    }
  }
  crdt::Effect effect{.kind = crdt::EffectKind::kFlush, .db = db};
  Emit(effect);
}

// ---- elements

void Change::CreateIfMissing(const KeyRef& ref) {
  // Also when nothing is stored here: another leader may not have removed an old expiry version yet.
  if (!keyspace_.Exists(ref) && !PLANTED(kCreateWithoutWipe)) Wipe(ref, 0);
}

void Change::PutElement(const KeyRef& ref,
                        crdt::Type type,
                        std::string_view name,
                        std::string_view value) {
  CreateIfMissing(ref);
  const std::vector<crdt::Clear> clears = keyspace_.ElementClears(ref, type, name);
  crdt::Effect effect{.kind = crdt::EffectKind::kPut,
                      .db = ref.db,
                      .type = type,
                      .key = ref.key,
                      .element = name,
                      .key_hash = ref.hash,
                      .value = value};
  effect.clears = clears;
  Emit(effect);
}

void Change::AddElement(const KeyRef& ref,
                        crdt::Type type,
                        std::string_view name,
                        std::string_view value) {
  crdt::Effect effect{.kind = crdt::EffectKind::kPut,
                      .db = ref.db,
                      .type = type,
                      .key = ref.key,
                      .element = name,
                      .key_hash = ref.hash,
                      .value = value};
  Emit(effect);
}

void Change::RemoveElement(const KeyRef& ref, crdt::Type type, std::string_view name) {
  const std::vector<crdt::Clear> clears = keyspace_.ElementClears(ref, type, name);
  crdt::Effect effect{.kind = crdt::EffectKind::kWipe,
                      .db = ref.db,
                      .type = type,
                      .key = ref.key,
                      .element = name,
                      .key_hash = ref.hash};
  if (type == crdt::Type::kHash && ref.db != crdt::kReservedDatabase && !keyspace_.policies().empty() &&
      keyspace_.policies().ForField(ref.key, name).DeleteIsVersion() &&
      keyspace_.HasElement(ref, type, name)) {
    effect.kind = crdt::EffectKind::kPut;
    effect.flags = crdt::kAbsent;
  }
  effect.clears = clears;
  Emit(effect);
}

void Change::RemoveRange(const KeyRef& ref,
                         crdt::Type type,
                         std::string_view from,
                         std::string_view to) {
  crdt::Effect effect{.kind = crdt::EffectKind::kWipeRange,
                      .db = ref.db,
                      .type = type,
                      .key = ref.key,
                      .element = from,
                      .key_hash = ref.hash,
                      .value = to};
  Emit(effect);
}

std::optional<crdt::StreamId> Change::NewStreamId(crdt::StreamId last, uint64_t ms, bool only_ms) {
  OpenIfNeeded();
  const auto id = crdt::NextStreamId(
      last, ms, only_ms, keyspace_.origins().Get(stamp_.origin).incarnation);
  if (!id) GiveUp();
  return id;
}

bool Change::IncrementElement(const KeyRef& ref,
                              crdt::Type type,
                              std::string_view name,
                              const crdt::Number& by) {
  if (keyspace_.Exists(ref)) {
    // Refused before anything is written.
    const crdt::At at = NextAt();
    if (!keyspace_.PrepareElementIncrement(ref, type, name, stamp_.origin, at, by)) return GiveUp();
  } else {
    CreateIfMissing(ref);
  }
  const crdt::At at = NextAt();
  auto next = keyspace_.PrepareElementIncrement(ref, type, name, stamp_.origin, at, by);
  if (!next) return GiveUp();
  crdt::Effect effect{.kind = crdt::EffectKind::kIncrement,
                      .db = ref.db,
                      .type = type,
                      .key = ref.key,
                      .element = name,
                      .key_hash = ref.hash,
                      .life = next->life,
                      .total = next->total,
                      .increment = by};
  Emit(effect);
  return true;
}

void Change::ResolveElement(const KeyRef& ref,
                            crdt::Type type,
                            std::string_view name,
                            std::string_view value,
                            std::span<const clock::Dot> seen,
                            std::span<const crdt::Clear> clears) {
  crdt::Effect effect{.kind = crdt::EffectKind::kResolve,
                      .db = ref.db,
                      .type = type,
                      .key = ref.key,
                      .element = name,
                      .key_hash = ref.hash,
                      .value = value};
  effect.seen = seen;
  effect.clears = clears;
  Emit(effect);
}

void Change::CleanElement(const KeyRef& ref,
                          crdt::Type type,
                          std::string_view name,
                          std::span<const clock::Dot> seen) {
  crdt::Effect effect{.kind = crdt::EffectKind::kClean,
                      .db = ref.db,
                      .type = type,
                      .key = ref.key,
                      .element = name,
                      .key_hash = ref.hash};
  effect.seen = seen;
  Emit(effect);
}

void Change::Finish() {
  if (!open_) return;
  sink_.Close();
  open_ = false;
}

}  // namespace polyarch::keyspace
