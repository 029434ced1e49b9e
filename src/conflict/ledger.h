// The ledger: what a rule decided against, kept, listed and restorable. One per leader, of its own:
// it tells which pairs of concurrent versions met here. Bounded by age and size (oldest go first;
// the newest entry always stays, however big).
//
// An entry is named by its pair of tags (of what was shown and what lost, in either role). Where
// two origins meet again at the same key, the pair of their newer versions supersedes the older
// pair's entry. (By origin, not by leader's name: what a power cut took from a leader but not from
// its peers counts as another's.) Noting the same or an older pair again (replay after a start)
// changes nothing. The ledger does no I/O: the engine takes its dirty entries with each checkpoint
// and gives stored ones back at start.
//
// Promise: every value that a write replaced without having seen it, and that was the last of its
// leader, is in some leader's ledger; never an invented conflict.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/codec.h"
#include "clock/hlc.h"
#include "clock/origin.h"
#include "crdt/effect.h"

namespace polyarch::conflict {

struct LedgerVersion {
  std::string value;
  bool absent = false;
  clock::Origin origin;
  uint64_t sequence = 0;
  clock::Hlc hlc;
  friend bool operator==(const LedgerVersion&, const LedgerVersion&) = default;
};

struct LedgerEntry {
  uint64_t id = 0;  // of this leader only; 0: Note chooses the next one
  int64_t noted_ms = 0;  // the time here when the pair met
  uint8_t db = 0;
  std::string key;
  crdt::Type type = crdt::Type::kString;  // anything else: an element of the key
  std::string element;
  std::string policy;  // as POLICY GET shows it, at that time
  LedgerVersion shown;
  LedgerVersion lost;
  friend bool operator==(const LedgerEntry&, const LedgerEntry&) = default;
};

class Ledger {
 public:
  struct Limits {
    size_t entries_max = 1'000'000;
    size_t bytes_max = 256ULL << 20;
    int64_t age_ms_max = 7LL * 24 * 3600 * 1000;
  };

  explicit Ledger(Limits limits) : limits_(limits) {}

  // Notes a decided pair, under `entry.id` if that is set and higher than all so far, else under the next id.
  // Returns the entry's id, or that of the present entry that has this pair or a newer one of the same
  // origins.
  uint64_t Note(LedgerEntry entry);
  const LedgerEntry* Find(uint64_t id) const;
  // Entries with id > after, oldest first, until `visit` returns false.
  void Visit(uint64_t after, const std::function<bool(const LedgerEntry&)>& visit) const;
  size_t size() const { return entries_.size(); }
  size_t bytes() const { return bytes_; }
  // Drops what is too old.
  void Expire(int64_t now_ms);

  void SetLimits(Limits limits) {
    limits_ = limits;
    Enforce();
  }
  const Limits& limits() const { return limits_; }

  // Persistence: row keys are the id (8 bytes, big-endian); id 0 is the row of the ledger itself
  // (the next id, so that ids are not given again). Each row begins with its format's version.
  // TakeDirty gives the rows written and the keys deleted since the last call; Load takes a stored
  // row (before anything is noted) and is false, with nothing changed, if the row is malformed.
  struct Dirty {
    std::vector<std::pair<std::string, std::string>> rows;
    std::vector<std::string> deleted;
  };
  Dirty TakeDirty();
  bool Load(std::string_view row_key, std::string_view row);
  // A row, of this leader or of another, as an entry without taking it. False if it is malformed
  // or no entry's (id 0).
  static bool Decode(std::string_view row_key, std::string_view row, LedgerEntry& entry);

  // What two ledgers have in common, without sending either: entries lie in buckets by the hash of
  // their pair, and a bucket's digest is the sum of the hashes in it. The hash has no secret key; who
  // contrives a collision keeps an entry from being copied, not from being listed where it was noted.
  static constexpr size_t kBuckets = 1024;
  static constexpr size_t kBucketBitsBytes = kBuckets / 8;
  // (bucket, digest) of those that hold an entry, in order.
  using BucketDigests = std::vector<std::pair<uint16_t, uint64_t>>;
  BucketDigests Buckets() const;
  // The buckets of `theirs` that hold the same pairs here, as kBucketBitsBytes bytes, the lowest bit
  // first; empty if there is none.
  std::string EqualBuckets(const BucketDigests& theirs) const;
  // Does the row hold an entry of one of the buckets `bits`, with an id below `end`?
  static bool RowIsIn(std::string_view row_key, std::string_view row, std::string_view bits, uint64_t end);
  uint64_t next_id() const { return next_id_; }

 private:
  void Insert(LedgerEntry entry);
  void Drop(uint64_t id);
  void Enforce();

  Limits limits_;
  std::map<uint64_t, LedgerEntry> entries_;
  std::unordered_map<std::string, uint64_t> by_pair_;     // db, key, both tags -> id
  std::unordered_map<std::string, uint64_t> by_origins_;  // db, key, both origins -> newest id
  std::map<uint64_t, bool> dirty_;                        // id -> written (false: deleted)
  uint64_t next_id_ = 1;
  uint64_t next_id_stored_ = 1;
  size_t bytes_ = 0;
  std::vector<uint64_t> buckets_;  // digests; empty until the first entry
};

}  // namespace polyarch::conflict
