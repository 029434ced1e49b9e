#include "engine/eviction.h"

#include <algorithm>

#include "base/hash.h"
#include "command/notify.h"
#include "engine/engine.h"
#include "engine/slot_digest.h"
#include "keyspace/change.h"

namespace polyarch::engine {

namespace {

constexpr size_t kPoolMax = 16;  // as in Redis
constexpr int64_t kReachUs = 200'000;
constexpr int64_t kRoundUs = 1'000'000;
constexpr int64_t kTellUs = 60'000'000;
constexpr size_t kSweepAtWrite = 64;
constexpr size_t kSweepASlice = 2'000;
constexpr size_t kSoonestVisitsMax = 2'000;  // of keys that may not go, a slice

}  // namespace

void Eviction::SetLimit(const command::MemoryLimit& limit) {
  if (limit == limit_) return;
  const bool other = limit.policy != limit_.policy;
  limit_ = limit;
  using Order = command::MemoryLimit::Order;
  keyspace::Keyspace& keys = engine_.keyspace_;
  keys.NoteUsesAs(limit.order == Order::kLru   ? std::optional(keyspace::Uses::Kind::kTime)
                  : limit.order == Order::kLfu ? std::optional(keyspace::Uses::Kind::kCount)
                                               : std::nullopt);
  if (keys.uses() != nullptr) keys.uses()->SetCounting(limit.lfu_log_factor, limit.lfu_decay_minutes);
  if (other) pool_.clear();  // its scores mean something else
  exhausted_ = sweep_found_ = failed_ = false;
  keys.RestartSweep();
  above_since_us_ = -1;
  hurries_ = alone_ = false;
  BeginRound();
  told_us_ = -1;
  soonest_ = {};
  soonest_visits_left_ = kSoonestVisitsMax;
  SetLine();
}

void Eviction::BeginTick() {
  SetLine();
  const bool exceeds = limit_.bytes != 0 && Used() > limit_.bytes;
  if (exceeds == (exceeded_since_us_ >= 0)) return;
  exceeded_us_ += exceeded_now_us();
  exceeded_since_us_ = exceeds ? engine_.now_.mono_us : -1;
}

int64_t Eviction::exceeded_now_us() const {
  return exceeded_since_us_ < 0 ? 0 : engine_.now_.mono_us - exceeded_since_us_;
}

void Eviction::SetLine() {
  keyspace::Keyspace& keys = engine_.keyspace_;
  if (keys.uses() != nullptr) keys.uses()->Fit(keys.stored_keys());
  if (limit_.bytes == 0) return keys.SetMemoryLine(SIZE_MAX);
  overhead_ = keys.compared_overhead_bytes();
  keys.SetMemoryLine(limit_.bytes > overhead_ ? limit_.bytes - overhead_ : 0);
}

size_t Eviction::Used() const {
  return engine_.keyspace_.compared_bytes() + overhead_;
}

bool Eviction::paused() const {
  return engine_.paused_until_us_ >= 0;
}

bool Eviction::refuses() const {
  return limit_.bytes != 0 && !paused() && Used() > limit_.bytes && (!limit_.evicts() || exhausted_);
}

size_t Eviction::ResidueMax() const {
  return std::clamp<size_t>(limit_.bytes / 4096, 1'000, 100'000);
}

size_t Eviction::Target() const {
  return reach_.size() < 2 ? limit_.bytes : limit_.bytes - limit_.bytes / kEvictionMargin;
}

// A name takes some 100 bytes until the checkpoint has deleted its row; they are not part of what is compared, since to
// evict makes more of them.
size_t Eviction::deleted_names_max() const {
  if (limit_.bytes == 0) return SIZE_MAX;
  return std::clamp<size_t>(limit_.bytes / 1024, 10'000, 1'000'000);
}

bool Eviction::MayWrite() const {
  return engine_.may_write() && engine_.status_.ok() && !engine_.replaying_ && !engine_.keyspace_.merging() &&
         !engine_.change_open_;
}

// ---- whose keys

// Rendezvous hashing (Thaler, Ravishankar 1998): when a leader goes, only what it owned has another owner.
const std::string& Eviction::OwnerOf(uint32_t slot, const std::set<std::string>& leaders) {
  const std::string* owner = nullptr;
  uint64_t highest = 0;
  for (const std::string& leader : leaders) {
    const uint64_t weight = base::ContentHash64(leader, slot + 1);
    if (owner == nullptr || weight > highest) {
      owner = &leader;
      highest = weight;
    }
  }
  return *owner;
}

void Eviction::FollowReach() {
  const int64_t now = engine_.now_.mono_us;
  if (now < next_reach_us_) return;
  next_reach_us_ = now + kReachUs;
  const std::string& self = engine_.options_.leader_id;
  std::set<std::string> reach{self};
  for (const auto& [name, member] : engine_.replica_.members()) {
    const auto admitted = engine_.admissions_.find(name);
    if (name == self || (admitted != engine_.admissions_.end() && admitted->second.all_retired())) continue;
    if (engine_.replica_.InReach(name)) {
      missed_us_.erase(name);
      reach.insert(name);
    } else if (now - missed_us_.emplace(name, now).first->second < kEvictionGoneUs && reach_.count(name) != 0) {
      reach.insert(name);  // it may be back in a moment
    }
  }
  if (reach == reach_) return;
  reach_ = std::move(reach);
  pool_.clear();
  own_.clear();
  own_slots_ = kSlots;
  if (reach_.size() < 2) return;
  own_.resize(kSlots);
  own_slots_ = 0;
  for (uint32_t slot = 0; slot < kSlots; ++slot) {
    own_[slot] = OwnerOf(slot, reach_) == self;
    own_slots_ += own_[slot] ? 1 : 0;
  }
}

bool Eviction::IsOwn(const keyspace::Entry& entry) const {
  return alone_ || own_.empty() || own_[base::KeySlot(entry.key())];
}

// ---- whether

void Eviction::BeginRound() {
  round_us_ = engine_.now_.mono_us;
  freed_ = freed_by_others_ = 0;
}

bool Eviction::Needs() {
  const size_t used = Used();
  const size_t target = Target();
  if (used <= target || engine_.now_.mono_us - round_us_ >= kRoundUs) BeginRound();
  if (used <= target) return false;
  if (alone_ || hurries_ || own_.empty()) return true;
  // This leader's part of all that is, or was, too much in this round.
  return freed_ * kSlots < (used - target + freed_ + freed_by_others_) * own_slots_;
}

void Eviction::FollowLimit() {
  const int64_t now = engine_.now_.mono_us;
  if (Used() <= limit_.bytes) {
    above_since_us_ = -1;
    hurries_ = false;
    if (alone_ && now >= alone_until_us_) {
      alone_ = false;
      pool_.clear();
    }
    return;
  }
  if (above_since_us_ < 0) above_since_us_ = now;
  hurries_ = now - above_since_us_ >= kEvictionPatienceUs;
  if (now - above_since_us_ < kEvictionOthersUs) return;
  alone_ = true;
  alone_until_us_ = now + kEvictionAloneUs;
}

void Eviction::Slice() {
  if (limit_.bytes == 0) return;
  if (paused()) {
    // It has not been in vain for so long.
    above_since_us_ = -1;
    hurries_ = false;
    BeginRound();
    return;
  }
  FollowReach();
  FollowLimit();
  counters_left_ = kCountersASliceMax;
  soonest_ = {};
  soonest_visits_left_ = kSoonestVisitsMax;
  if (limit_.evicts() && MayWrite()) {
    failed_ = false;
    if (!exhausted_) EvictSome(kEvictedASliceMax, kCountersASliceMax);
    if (failed_ || (exhausted_ && Used() > Target())) Sweep(kSweepASlice);
  }
  if (above_since_us_ >= 0) Tell();
}

bool Eviction::OutOfMemory() {
  if (paused()) return false;
  if (!limit_.evicts()) return true;
  // A write that is no write now is refused for another reason.
  if (!MayWrite()) return exhausted_;
  // To look for what is not there is no small thing: once a tick will do.
  if (exhausted_ && looked_us_ == engine_.now_.mono_us) return true;
  looked_us_ = engine_.now_.mono_us;
  // What it removes is no doing of the client whose write that is.
  const uint64_t acting = engine_.acting_;
  engine_.acting_ = 0;
  EvictSome(kEvictedAtWriteMax, kCountersAtWriteMax);
  engine_.acting_ = acting;
  return exhausted_ && Used() > limit_.bytes;
}

void Eviction::EvictSome(size_t count, size_t counters) {
  const size_t kept = counters_left_ - std::min(counters_left_, counters);
  for (; count > 0 && counters_left_ > kept && Needs(); --count) {
    if (EvictOne()) continue;
    failed_ = true;
    return;
  }
}

void Eviction::Tell() {
  const int64_t now = engine_.now_.mono_us;
  if (limit_.evicts() && !exhausted_) return;
  if (told_us_ >= 0 && now - told_us_ < kTellUs) return;
  told_us_ = now;
  engine_.Report(2,
                 "keys and values take " + std::to_string(Used() >> 20) + " MiB, more than maxmemory (" +
                     std::to_string(limit_.bytes) + " bytes), and " +
                     (limit_.evicts() ? "no key is left that maxmemory-policy " + limit_.policy + " may evict"
                                      : std::string("maxmemory-policy is noeviction")) +
                     ": writes that take memory are refused; raise maxmemory, delete keys, or set another policy");
}

// ---- which

// Not what leaders have agreed on, nor stocks, which are of that kind; the reserved database is not looked at.
bool Eviction::MayGo(const keyspace::Entry& entry) const {
  if (!engine_.keyspace_.IsShown(entry)) return false;
  if (limit_.with_expiry && entry.indexed_expiry() == crdt::kNever) return false;
  if (engine_.agreed_.in_use() && engine_.agreed_.Keeps(entry.db(), entry.key())) return false;
  if (entry.form() <= keyspace::Form::kValueTtl) return true;
  const keyspace::KeyRef ref = engine_.keyspace_.Ref(entry.db(), entry.key());
  // A counter that is removed leaves something until all members know that; with one away it may take longer than it
  // did. So no more of them than are soon forgotten.
  if (engine_.keyspace_.residue_count() >= ResidueMax() && engine_.keyspace_.MayHoldCounters(ref)) return false;
  // Elements that were incremented are cleared one by one: of very many all would wait for that.
  return engine_.keyspace_.LiveCounters(ref) <= kEvictedCountersMax;
}

uint64_t Eviction::ScoreOf(const keyspace::Entry& entry) const {
  using Order = command::MemoryLimit::Order;
  const keyspace::Keyspace& keys = engine_.keyspace_;
  if (limit_.order == Order::kLru) return static_cast<uint64_t>(keys.IdleMs(entry));
  if (limit_.order == Order::kTtl) return UINT64_MAX - static_cast<uint64_t>(entry.indexed_expiry());
  if (limit_.order == Order::kLfu) return 255U - keys.uses()->Count(keys.HashOf(entry));
  return 0;
}

void Eviction::Offer(const keyspace::Entry& entry) {
  const uint64_t score = ScoreOf(entry);
  if (pool_.size() >= kPoolMax && score <= pool_.front().score) return;
  const bool there = std::any_of(pool_.begin(), pool_.end(), [&](const Candidate& c) {
    return c.db == entry.db() && c.key == entry.key();
  });
  if (there) return;
  if (pool_.size() >= kPoolMax) pool_.erase(pool_.begin());
  const auto at = std::upper_bound(pool_.begin(), pool_.end(), score,
                                   [](uint64_t s, const Candidate& c) { return s < c.score; });
  pool_.insert(at, Candidate{score, entry.db(), std::string(entry.key())});
}

void Eviction::Draw() {
  const size_t samples = limit_.order == command::MemoryLimit::Order::kRandom ? 1 : std::min<size_t>(limit_.samples, 64);
  for (size_t i = 0; i < samples; ++i) {
    const keyspace::Entry* entry = engine_.keyspace_.SampleKey(
        engine_.random_.Next(), [&](const keyspace::Entry& drawn) { return MayGo(drawn) && IsOwn(drawn); });
    if (entry == nullptr) return;
    Offer(*entry);
  }
}

bool Eviction::Sweep(size_t count) {
  const bool ended = engine_.keyspace_.SweepKeys(limit_.with_expiry, count, [&](const keyspace::Entry& entry) {
    if (!MayGo(entry)) return;
    sweep_found_ = true;
    exhausted_ = false;
    if (IsOwn(entry)) Offer(entry);
  });
  if (!ended) return false;
  exhausted_ = !sweep_found_;
  sweep_found_ = false;
  return true;
}

bool Eviction::TakeBest(Candidate& best) {
  keyspace::Keyspace& keys = engine_.keyspace_;
  while (!pool_.empty()) {
    best = std::move(pool_.back());
    pool_.pop_back();
    const keyspace::Entry* entry = keys.StoredAs(keys.Ref(best.db, best.key));
    // It may be gone, or have been used since.
    if (entry != nullptr && MayGo(*entry) && IsOwn(*entry) && ScoreOf(*entry) >= best.score) return true;
  }
  return false;
}

// What may not go is met once a slice. If there is much of that in front, the soonest of those that are drawn goes.
bool Eviction::FindSoonest(Candidate& best) {
  bool found = false;
  if (soonest_visits_left_ == 0) return false;
  engine_.keyspace_.VisitVolatile(soonest_, [&](const keyspace::Entry& entry) {
    found = MayGo(entry) && IsOwn(entry);
    if (found) {
      best = {ScoreOf(entry), entry.db(), std::string(entry.key())};
      return false;
    }
    return --soonest_visits_left_ > 0;
  });
  return found;
}

bool Eviction::EvictOne() {
  Candidate best;
  bool found = limit_.order == command::MemoryLimit::Order::kTtl && FindSoonest(best);
  if (!found) {
    Draw();
    found = TakeBest(best);
  }
  if (!found) {
    // What was found in the one that ends here may have gone since.
    if (Sweep(kSweepAtWrite) && pool_.empty()) Sweep(kSweepAtWrite);
    found = TakeBest(best);
  }
  if (!found) return false;
  exhausted_ = false;
  Remove(best.db, best.key);
  return true;
}

void Eviction::Remove(uint8_t db, const std::string& key) {
  keyspace::Keyspace& keys = engine_.keyspace_;
  const size_t before = keys.memory_bytes();
  {
    const keyspace::KeyRef ref = keys.Ref(db, key);
    counters_left_ -= std::min(counters_left_, keys.LiveCounters(ref));
    keyspace::Change change(engine_, keys);
    change.Evict(ref);
  }
  if (before > keys.memory_bytes()) freed_ += before - keys.memory_bytes();
  ++evicted_;
  if (engine_.notifies()) engine_.Notify(command::kNoticeEvicted, "evicted", db, key);
}

}  // namespace polyarch::engine
