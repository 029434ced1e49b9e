// `maxmemory`: what this leader does about keys and values that take more than they may. Writes that take memory are
// refused, or keys are deleted for good, by ordinary changes that go to all leaders. docs/design/0033-maxmemory.md. Part
// of the engine; in its ticks only.
//
// All leaders hold the same keys, and what one of them deletes goes everywhere. So each deletes its share only, of slots
// that are its own among those in reach: else three would delete three times as much as is too much before they have
// heard of each other. A leader that stays above its limit helps itself to any key.
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
// So long above its limit, and a leader evicts whatever there is, be it another one's; until it was below for so long.
inline constexpr int64_t kEvictionPatienceUs = 1'000'000;
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
  // In a slice of duties: evicts some, if there is too much.
  void Slice();
  // A write finds too much. True: nothing may be evicted. What may is, some of it.
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
  void FollowReach();
  void FollowLimit();
  size_t Used() const;
  // Down to there.
  size_t Target() const;
  // Is there more for this leader to remove?
  bool Needs();
  size_t EvictSome(size_t count);
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
  // Residue of counters that were evicted, by now; beyond a bound others go instead.
  bool spares_counters_ = false;

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
  bool alone_ = false;
  int64_t alone_until_us_ = 0;

  int64_t told_us_ = -1;
  uint64_t evicted_ = 0;
};

}  // namespace polyarch::engine
