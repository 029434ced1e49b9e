#include "keyspace/change.h"

#include "base/planted.h"

namespace polyarch::keyspace {

namespace {

// Wipes in a flush are gathered into changes of about this many effects and bytes.
constexpr uint32_t kFlushEffectsMax = 10'000;
constexpr size_t kFlushBytesMax = 4 << 20;

}  // namespace

void Change::Emit(crdt::Effect& effect) {
  if (!open_) {
    stamp_ = sink_.Open();
    open_ = true;
    next_index_ = 0;
  }
  crdt::Seen seen(sink_.applied(), stamp_.origin, {stamp_.sequence, next_index_});
  sink_.Add(effect);
  keyspace_.Apply(effect, seen, stamp_.hlc, Cause::kLocal);
  ++next_index_;
  wrote_ = true;
}

void Change::Put(const KeyRef& ref, std::string_view value, Ttl ttl, int64_t expire_ms) {
  std::vector<crdt::Clear> clears = keyspace_.Clears(ref);
  crdt::Effect effect{.kind = crdt::EffectKind::kPut,
                      .db = ref.db,
                      .key = ref.key,
                      .key_hash = ref.hash,
                      .value = value};
  effect.clears = clears;
  const Shown old = ttl == Ttl::kKeep ? keyspace_.Read(ref) : Shown{};
  const bool keep = old.exists();
  if (!keep) effect.flags |= crdt::kWipes;
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
  std::vector<crdt::Clear> clears = keyspace_.Clears(ref);
  crdt::Effect effect{
      .kind = crdt::EffectKind::kWipe, .db = ref.db, .key = ref.key, .key_hash = ref.hash};
  effect.flags = crdt::kKeepExpiry;
  effect.clears = clears;
  Emit(effect);
}

bool Change::Increment(const KeyRef& ref, const crdt::Number& by) {
  const bool creates = !keyspace_.Exists(ref);
  std::vector<crdt::Clear> clears;
  crdt::Effect effect{
      .kind = crdt::EffectKind::kIncrement, .db = ref.db, .key = ref.key, .key_hash = ref.hash};
  if (creates && !PLANTED(kCreateWithoutWipe)) {
    // Also when nothing is stored here: another leader may not have removed an old expiry version
    // yet.
    effect.flags |= crdt::kWipes;
    clears = keyspace_.Clears(ref);
  }
  if (!open_) {
    stamp_ = sink_.Open();
    open_ = true;
    next_index_ = 0;
  }
  const crdt::At at{stamp_.sequence, next_index_};
  crdt::NextIncrement next{at, by};
  if (!creates) {
    auto prepared = keyspace_.PrepareIncrement(ref, stamp_.origin, at, by);
    if (!prepared) {
      if (next_index_ == 0) {
        sink_.Abandon();
        open_ = false;
      }
      return false;
    }
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
  std::vector<std::pair<uint8_t, std::string>> counters;
  keyspace_.ForEach([&](uint8_t d, std::string_view key, const crdt::KeyState& state) {
    if (d == crdt::kReservedDatabase || (db != crdt::kAllDatabases && d != db)) return;
    if (state.has_live_counter()) counters.emplace_back(d, key);
  });
  size_t bytes = 0;
  for (const auto& [d, key] : counters) {
    KeyRef ref = keyspace_.Ref(d, key);
    std::vector<crdt::Clear> clears = keyspace_.Clears(ref);
    crdt::Effect effect{.kind = crdt::EffectKind::kWipe, .db = d, .key = key, .key_hash = ref.hash};
    effect.clears = clears;
    Emit(effect);
    bytes += key.size() + clears.size() * crdt::kClearBytesMax;
    if (next_index_ >= kFlushEffectsMax || bytes >= kFlushBytesMax) {
      Finish();
      bytes = 0;
    }
  }
  crdt::Effect effect{.kind = crdt::EffectKind::kFlush, .db = db};
  Emit(effect);
}

void Change::Finish() {
  if (!open_) return;
  sink_.Close();
  open_ = false;
}

}  // namespace polyarch::keyspace
