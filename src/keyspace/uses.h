// When keys were used last, or how often, as the policies of `maxmemory` ask (Redis's LRU and LFU). Kept beside the
// keys, and only while it is asked for: a cell of four bytes for all keys whose hashes begin alike, so an entry takes no
// byte more. Two keys in one cell count as used when either is: a key may stay that nobody uses, none goes that
// somebody does. docs/design/0033-maxmemory.md.
//
// Knows no time but what it is told. Of a process; nothing of it is replicated or stored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/random.h"

namespace polyarch::keyspace {

class Uses {
 public:
  enum class Kind : uint8_t {
    kTime,   // when last
    kCount,  // how often, as a logarithm that decays
  };
  // Cells, at most: 32 MiB. Beyond so many keys they are shared by more and more.
  static constexpr size_t kCellsMax = size_t{1} << 23;
  static constexpr uint8_t kCountNew = 5;  // of a key that is new, as in Redis

  Uses(Kind kind, int64_t now_ms);

  Kind kind() const { return kind_; }
  // The first one that is told is where it begins, if there was none when it was made: a start sets policies before it
  // knows the time.
  void SetTime(int64_t now_ms) {
    if (since_ms_ == 0) since_ms_ = now_ms;
    now_ms_ = now_ms;
  }
  // As `lfu-log-factor` and `lfu-decay-time` (minutes; 0: it never decays).
  void SetCounting(uint32_t log_factor, uint32_t decay_minutes) {
    log_factor_ = log_factor;
    decay_minutes_ = decay_minutes;
  }
  // The key with this hash is read or written. Several times in a row count once, until NextCommand.
  void Note(uint64_t hash) {
    if (hash == last_ && !fresh_) return;
    last_ = hash;
    fresh_ = false;
    kind_ == Kind::kTime ? NoteTime(CellOf(hash)) : NoteCount(CellOf(hash));
  }
  // The key with this hash is created: kCount, it counts as no less than kCountNew, whatever was known of others, that
  // have gone, in its cell.
  void NoteNew(uint64_t hash);
  void NextCommand() { fresh_ = true; }
  // What somebody else knows of the key with this hash (RESTORE): it was used so long ago, or so often. Of the other
  // kind: nothing changes. It holds for all keys in its cell.
  void SetIdle(uint64_t hash, int64_t idle_ms);
  void SetCount(uint64_t hash, uint8_t count);

  // ---- kTime
  // Since it was used last; nothing is known before `since_ms`: then `known` is false, and it is how long that is ago.
  int64_t IdleMs(uint64_t hash, bool& known) const;
  // ---- kCount: 0 to 255, decayed until now.
  uint8_t Count(uint64_t hash) const { return Decayed(cells_[hash >> shift_]); }

  // Room for about so many keys. What is known of each stays.
  void Fit(size_t keys);
  size_t cells() const { return cells_.size(); }
  size_t memory_bytes() const { return cells_.capacity() * sizeof(uint32_t); }

 private:
  static constexpr int64_t kStepMs = 10;
  uint32_t& CellOf(uint64_t hash) { return cells_[hash >> shift_]; }
  // From 1 on; 0 in a cell: not used yet.
  uint32_t Step() const;
  uint32_t Minute() const;
  void NoteTime(uint32_t& cell) { cell = Step(); }
  void NoteCount(uint32_t& cell);
  uint8_t Decayed(uint32_t cell) const;

  const Kind kind_;
  int64_t since_ms_;  // 0: no time is known yet
  int64_t now_ms_;
  uint32_t log_factor_ = 10;
  uint32_t decay_minutes_ = 1;
  uint64_t last_ = 0;
  bool fresh_ = true;
  base::Random random_{1};  // only how a logarithm is counted: a sequence that is known does no harm
  unsigned shift_;
  std::vector<uint32_t> cells_;
};

}  // namespace polyarch::keyspace
