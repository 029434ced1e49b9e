// `maxmemory`: what this leader does about keys and values that take more than they may. Writes that take memory are
// refused, or keys are deleted for good, by ordinary changes that go to all leaders. docs/design/0033-maxmemory.md. Part
// of the engine; in its ticks only.
//
// All leaders hold the same keys, and what one of them deletes goes everywhere. So each deletes its share only, of slots
// that are its own among those in reach: else three would delete three times as much as is too much before they have
// heard of each other. A leader that stays above its limit removes all that is too much for it, of its own slots, and then
// any key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "command/remembered.h"
#include "keyspace/keyspace.h"

namespace polyarch::engine {

class Engine;

// Keys that a slice removes, at most; one comes every 10 ms. And a write that finds memory full.
inline constexpr size_t kEvictedASliceMax = 500;
inline constexpr size_t kEvictedAtWriteMax = 16;
// Counters of elements that are cleared with them: each is an effect of its own. Those of a write are part of a slice's;
// a key's are cleared together, so it may be kEvictedCountersMax more.
inline constexpr size_t kCountersASliceMax = 5'000;
inline constexpr size_t kCountersAtWriteMax = 500;
inline constexpr size_t kEvictedCountersMax = 1'000;  // in one key; with more it stays
// So long above its limit, and a leader evicts more than its share: others may be below, their tables are other ones.
inline constexpr int64_t kEvictionPatienceUs = 1'000'000;
// So long, and it evicts whatever there is, be it another one's; until it was below for so long.
inline constexpr int64_t kEvictionOthersUs = 3'000'000;
inline constexpr int64_t kEvictionAloneUs = 10'000'000;
// With others in reach it is begun this part below the limit: what they delete is on its way meanwhile.
inline constexpr size_t kEvictionMargin = 32;
// Out of reach for so long, and others evict what a leader owned.
inline constexpr int64_t kEvictionGoneUs = 5'000'000;

class Eviction final {
 public:
  explicit Eviction(Engine& engine) : engine_(engine) {}

  void SetLimit(const command::MemoryLimit& limit);
  const command::MemoryLimit& limit() const { return limit_; }

  // What is allowed to keys and values in this tick: the rest is taken by what finds them.
  void BeginTick();
  // How long there was more than the limit, in all and by now; as of this tick.
  int64_t exceeded_us() const { return exceeded_us_ + exceeded_now_us(); }
  int64_t exceeded_now_us() const;
  // In a slice of duties: evicts some, if there is too much. Nothing while clients are paused, as in Redis.
  void Slice();
  // A write finds too much. True: nothing may be evicted. What may is, some of it. False while clients are paused.
  bool OutOfMemory();
  // Are bytes that other leaders' removals free to be told?
  bool follows() const { return limit_.bytes != 0 && limit_.evicts(); }
  void NoteFreedByOthers(size_t bytes) { freed_by_others_ += bytes; }
  // So many names for the next checkpoint to delete are too much memory: it had better begin.
  size_t deleted_names_max() const;

  uint64_t evicted() const { return evicted_; }
  // Is memory full, and are writes refused for that?
  bool refuses() const;
  // Which leader evicts keys of this slot, of these: any one that knows the same of them says the same.
  static const std::string& OwnerOf(uint32_t slot, const std::set<std::string>& leaders);
  // Slots of 16,384 that are this leader's.
  size_t own_slots() const { return own_slots_; }
  bool alone() const { return alone_; }

 private:
  struct Candidate {
    uint64_t score = 0;  // the higher, the sooner it goes
    uint8_t db = 0;
    std::string key;
  };

  bool MayWrite() const;
  void SetLine();
  bool paused() const;
  void FollowReach();
  void FollowLimit();
  size_t Used() const;
  // Down to there.
  size_t Target() const;
  // From now on it is counted what is freed. Not at the first look: what others free may have come before that.
  void BeginRound();
  // Is there more for this leader to remove?
  bool Needs();
  // So many keys, and elements with counters.
  void EvictSome(size_t count, size_t counters);
  // Of residue_count(): from there on no more counters are removed.
  size_t ResidueMax() const;
  bool EvictOne();
  bool MayGo(const keyspace::Entry& entry) const;
  bool IsOwn(const keyspace::Entry& entry) const;
  uint64_t ScoreOf(const keyspace::Entry& entry) const;
  // Fills the pool, as Redis does: a few are looked at, and the best of those that were are remembered.
  void Draw();
  void Offer(const keyspace::Entry& entry);
  // True: it has come to the end of one.
  bool Sweep(size_t count);
  bool TakeBest(Candidate& best);
  bool FindSoonest(Candidate& best);
  void Remove(uint8_t db, const std::string& key);
  void Tell();

  Engine& engine_;
  command::MemoryLimit limit_;
  size_t overhead_ = 0;
  std::vector<Candidate> pool_;  // by rising scores
  // The sweep under way: has it found a key that may go, whoever owns it? Without any in a whole one there is none.
  bool sweep_found_ = false;
  bool exhausted_ = false;
  bool failed_ = false;      // this leader was to remove a key, and met none
  int64_t looked_us_ = -1;   // for a write
  size_t counters_left_ = kCountersASliceMax;
  // Where the search for the soonest has come to in this slice, and how many more it may meet in vain.
  keyspace::Keyspace::VolatilePlace soonest_;
  size_t soonest_visits_left_ = 0;

  std::set<std::string> reach_;
  std::map<std::string, int64_t> missed_us_;
  std::vector<bool> own_;  // by slot; empty: all are
  size_t own_slots_ = 16384;
  int64_t next_reach_us_ = 0;

  // What was freed since then, by this leader and by others. Then it is looked at anew.
  int64_t round_us_ = 0;
  size_t freed_ = 0;
  size_t freed_by_others_ = 0;
  int64_t above_since_us_ = -1;
  bool hurries_ = false;  // all that is too much, of its own slots
  bool alone_ = false;    // of any
  int64_t alone_until_us_ = 0;

  int64_t told_us_ = -1;
  uint64_t evicted_ = 0;
  int64_t exceeded_since_us_ = -1;
  int64_t exceeded_us_ = 0;  // before that
};

}  // namespace polyarch::engine
