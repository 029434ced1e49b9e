// The hash table of one database: extendible hashing (Fagin et al. 1979) over segments of
// cache-line buckets. A lookup touches one bucket line and one entry. A full segment splits alone
// (about 200 entries move), two that are nearly empty become one (54 at most), the directory doubles
// and halves by copying pointers: there is no rehash stall at any size.
//
// A bucket is 7 entry pointers, 7 tags (a byte of the hash; 0: empty slot), and a byte of marks: a
// dirty bit a slot, and whether some entry whose search passes here lies further on. Entries are
// owned by their slot. Slot pointers are valid until the next Insert or Erase.
//
// SCAN walks in the order of the hash's upper 48 bits; splitting and joining keep that order, so a scan
// that began before any number of them still sees every key that stays.
//
// Each segment counts its unplain entries (counters, fat ones): to find the few among many costs a look
// at each segment's head, not at each entry.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "keyspace/entry.h"

namespace polyarch::keyspace {

class Table {
 public:
  using HashOf = std::function<uint64_t(std::string_view)>;

  explicit Table(HashOf hash_of) : hash_of_(std::move(hash_of)) {}
  ~Table();
  Table(Table&& o) noexcept;
  Table& operator=(Table&&) = delete;
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  // The slot that holds the key's entry, or nullptr.
  Entry** Find(uint64_t hash, std::string_view key) const;
  // Adds an entry whose key is not there. Takes ownership. Returns its slot.
  Entry** Insert(uint64_t hash, Entry* entry);
  // Frees the entry and empties the slot.
  void Erase(uint64_t hash, Entry** slot);
  void Erase(Entry** slot) { Erase(hash_of_((*slot)->key()), slot); }
  // Frees the slot's entry, and `entry`, of the same key, stands there. Takes ownership. The mark stays.
  void Replace(uint64_t hash, Entry** slot, Entry* entry);

  // Returns true if the slot was clean.
  static bool MarkDirty(Entry** slot);
  static bool IsDirty(Entry** slot);
  static void Unmark(Entry** slot);

  void PrefetchBucket(uint64_t hash) const;
  void PrefetchEntry(uint64_t hash) const;

  size_t size() const { return size_; }
  // Of these, counters and fat ones.
  size_t unplain() const { return unplain_; }
  // Taken or free.
  size_t slots() const { return segments_ * kBuckets * kSlots; }

  // Visits entries with (hash >> 16) >= cursor in that order, about `count` of them (all with one
  // hash together); returns where to go on, 0 at the end.
  uint64_t Scan(uint64_t cursor, size_t count, const std::function<void(Entry*)>& visit) const;
  static constexpr int kCursorShift = 16;

  // An entry that is `wanted`, drawn by `random`: nearly each with the same probability. Null if so
  // few are there, or wanted, that it is better to look at all.
  Entry* Sample(uint64_t random, base::FunctionRef<bool(Entry*)> wanted) const;

  // Visits every slot; the visitor may Erase or replace the entry of the slot that it is given.
  void ForEachSlot(const std::function<void(Entry**)>& visit);
  void ForEach(const std::function<void(const Entry&)>& visit) const;
  // The same until `visit` says false.
  void Walk(base::FunctionRef<bool(const Entry&)> visit) const;
  // Of the unplain ones only: where there are few, most segments are passed over.
  void WalkUnplain(base::FunctionRef<bool(const Entry&)> visit) const;
  // Visits all unplain entries of whole segments, from the one of `cursor` on, until about `count` were
  // visited; returns where to go on, 0 at the end. One may be met twice, if segments were joined.
  uint64_t ScanUnplain(uint64_t cursor,
                       size_t count,
                       base::FunctionRef<void(const Entry&)> visit) const;
  // Frees about `count` entries of a table that nobody uses any more; false when none is left.
  bool FreeSome(size_t count);

  // Visits dirty slots from segment position `cursor` on, clearing their marks, until about `count`
  // were visited; returns where to go on, 0 when the end was reached.
  uint64_t TakeDirty(uint64_t cursor, size_t count, const std::function<void(Entry*)>& visit);

  size_t memory_bytes() const;

 private:
  static constexpr int kSlots = 7;
  static constexpr int kBuckets = 31;
  static constexpr int kProbeMax = 4;
  static constexpr uint8_t kOverflowed = 0x80;
  static constexpr uint8_t kDirtyBits = 0x7f;
  // Two halves of a hash range become one segment that is a quarter full: far from its next split.
  static constexpr uint32_t kJoinMax = kBuckets * kSlots / 4;
  static constexpr uint32_t kDepthMax = 40;  // a keyed hash does not collide on so many bits by the hundred

  struct alignas(64) Bucket {
    Entry* entries[kSlots];
    uint8_t tags[kSlots];
    uint8_t marks;
  };
  struct alignas(64) Segment {
    uint32_t depth;  // how many leading hash bits all entries here share
    uint32_t count;
    uint64_t prefix;  // those bits, at the top
    uint32_t unplain;  // of `count`
    Bucket buckets[kBuckets];
  };
  static_assert(sizeof(Bucket) == 64 && sizeof(Segment) == 2048);

  static uint8_t TagOf(uint64_t hash) {
    auto tag = static_cast<uint8_t>(hash >> 32);
    return tag == 0 ? uint8_t{1} : tag;
  }
  static int BucketOf(uint64_t hash) {
    return static_cast<int>(((hash & 0xffffffff) * kBuckets) >> 32);
  }
  static Bucket& BucketOfSlot(Entry** slot) {
    return *reinterpret_cast<Bucket*>(reinterpret_cast<uintptr_t>(slot) & ~uintptr_t{63});
  }
  size_t DirectoryIndex(uint64_t hash) const { return depth_ == 0 ? 0 : hash >> (64 - depth_); }
  static Segment* NewSegment(uint32_t depth, uint64_t prefix);
  static Entry** TryInsert(
      Segment& segment, uint64_t hash, Entry* entry, bool dirty, int probe_max);
  static bool IsUnplain(const Entry& entry) { return entry.form() > Form::kValueTtl; }
  // The entries of `from` go to where the bits of their hashes say: below `high`'s prefix to `low`.
  void Move(const Segment& from, Segment& low, Segment& high);
  void Split(uint64_t hash);
  // Joins the segment that covers `hash` with its other half, if both are nearly empty, and so on.
  void Join(uint64_t hash);
  // Puts `segment` wherever the directory says its range.
  void Enter(Segment* segment);
  // The segment that covers `hash`, or nullptr if the table is empty.
  Segment* SegmentOf(uint64_t hash) const {
    return directory_.empty() ? nullptr : directory_[DirectoryIndex(hash)];
  }
  // The first hash beyond the segment; 0 after the last one.
  static uint64_t EndOf(const Segment& segment) {
    return segment.depth == 0 ? 0 : segment.prefix + (uint64_t{1} << (64 - segment.depth));
  }

  HashOf hash_of_;
  uint32_t depth_ = 0;
  std::vector<Segment*> directory_;
  size_t segments_ = 0;
  std::array<uint32_t, kDepthMax + 1> by_depth_{};  // how many segments are of this depth
  size_t size_ = 0;
  size_t unplain_ = 0;
  bool walking_ = false;  // in ForEachSlot: segments stay where they are
};

}  // namespace polyarch::keyspace
