#include "keyspace/table.h"

#include <algorithm>
#include <cstdlib>
#include <emmintrin.h>
#include <new>

#include "base/check.h"
#include "base/random.h"

namespace polyarch::keyspace {

namespace {

constexpr size_t kSegmentsAtOnce = 4096;

// Bits of the slots whose tag is `tag`.
inline unsigned MatchTags(const uint8_t* tags, uint8_t tag) {
  __m128i have = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(tags));
  __m128i want = _mm_set1_epi8(static_cast<char>(tag));
  return static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(have, want))) & 0x7f;
}

}  // namespace

Table::~Table() {
  while (FreeSome(SIZE_MAX)) {
  }
}

Table::Table(Table&& o) noexcept
    : hash_of_(std::move(o.hash_of_)),
      depth_(o.depth_),
      directory_(std::move(o.directory_)),
      segments_(o.segments_),
      by_depth_(o.by_depth_),
      size_(o.size_),
      unplain_(o.unplain_) {
  o.directory_.clear();
  o.depth_ = 0;
  o.segments_ = 0;
  o.by_depth_ = {};
  o.size_ = 0;
  o.unplain_ = 0;
}

Table::Segment* Table::NewSegment(uint32_t depth, uint64_t prefix) {
  void* memory = std::aligned_alloc(64, sizeof(Segment));
  CHECK(memory != nullptr);
  std::memset(memory, 0, sizeof(Segment));
  auto* segment = static_cast<Segment*>(memory);
  segment->depth = depth;
  segment->prefix = prefix;
  return segment;
}

Entry** Table::Find(uint64_t hash, std::string_view key) const {
  Segment* segment = SegmentOf(hash);
  if (segment == nullptr) return nullptr;
  const uint8_t tag = TagOf(hash);
  int b = BucketOf(hash);
  for (int probe = 0; probe < kBuckets; ++probe) {
    Bucket& bucket = segment->buckets[b];
    for (unsigned match = MatchTags(bucket.tags, tag); match != 0; match &= match - 1) {
      int i = __builtin_ctz(match);
      if (bucket.entries[i]->key() == key) return &bucket.entries[i];
    }
    if ((bucket.marks & kOverflowed) == 0) return nullptr;
    if (++b == kBuckets) b = 0;
  }
  return nullptr;
}

Entry** Table::TryInsert(Segment& segment, uint64_t hash, Entry* entry, bool dirty, int probe_max) {
  int home = BucketOf(hash);
  int b = home;
  for (int probe = 0; probe < probe_max; ++probe) {
    Bucket& bucket = segment.buckets[b];
    unsigned free = MatchTags(bucket.tags, 0);
    if (free != 0) {
      int i = __builtin_ctz(free);
      bucket.entries[i] = entry;
      bucket.tags[i] = TagOf(hash);
      if (dirty) bucket.marks = static_cast<uint8_t>(bucket.marks | (1 << i));
      ++segment.count;
      if (IsUnplain(*entry)) ++segment.unplain;
      for (int passed = home; passed != b;) {
        segment.buckets[passed].marks |= kOverflowed;
        if (++passed == kBuckets) passed = 0;
      }
      return &bucket.entries[i];
    }
    if (++b == kBuckets) b = 0;
  }
  return nullptr;
}

Entry** Table::Insert(uint64_t hash, Entry* entry) {
  if (directory_.empty()) {
    directory_.push_back(NewSegment(0, 0));
    segments_ = 1;
    by_depth_[0] = 1;
  }
  while (true) {
    Entry** slot = TryInsert(*SegmentOf(hash), hash, entry, false, kProbeMax);
    if (slot != nullptr) {
      ++size_;
      if (IsUnplain(*entry)) ++unplain_;
      return slot;
    }
    Split(hash);
  }
}

void Table::Move(const Segment& from, Segment& low, Segment& high) {
  for (const Bucket& bucket : from.buckets) {
    for (int i = 0; i < kSlots; ++i) {
      if (bucket.tags[i] != 0) __builtin_prefetch(bucket.entries[i]);
    }
  }
  for (const Bucket& bucket : from.buckets) {
    for (int i = 0; i < kSlots; ++i) {
      if (bucket.tags[i] == 0) continue;
      const uint64_t hash = hash_of_(bucket.entries[i]->key());
      // Without the probe limit: another order of insertion may need a longer probe, and what came
      // out of one segment always fits into one.
      Entry** slot = TryInsert(hash < high.prefix ? low : high,
                               hash,
                               bucket.entries[i],
                               (bucket.marks & (1 << i)) != 0,
                               kBuckets);
      CHECK(slot != nullptr);
    }
  }
}

void Table::Enter(Segment* segment) {
  const size_t width = size_t{1} << (depth_ - segment->depth);
  const size_t first = depth_ == 0 ? 0 : segment->prefix >> (64 - depth_);
  std::fill_n(directory_.begin() + static_cast<ptrdiff_t>(first), width, segment);
  ++by_depth_[segment->depth];
  ++segments_;
}

void Table::Split(uint64_t hash) {
  Segment* old = SegmentOf(hash);
  CHECK(old->depth < kDepthMax);
  if (old->depth == depth_) {
    std::vector<Segment*> doubled;
    doubled.reserve(directory_.size() * 2);
    for (Segment* segment : directory_) {
      doubled.push_back(segment);
      doubled.push_back(segment);
    }
    directory_.swap(doubled);
    ++depth_;
  }
  uint32_t depth = old->depth + 1;
  Segment* low = NewSegment(depth, old->prefix);
  Segment* high = NewSegment(depth, old->prefix | (uint64_t{1} << (64 - depth)));
  Move(*old, *low, *high);
  --by_depth_[old->depth];
  --segments_;
  std::free(old);
  Enter(low);
  Enter(high);
}

void Table::Join(uint64_t hash) {
  for (Segment* one = SegmentOf(hash); one->depth > 0 && one->count <= kJoinMax; one = SegmentOf(hash)) {
    const uint64_t bit = uint64_t{1} << (64 - one->depth);
    Segment* other = SegmentOf(one->prefix ^ bit);
    if (other->depth != one->depth || one->count + other->count > kJoinMax) return;
    Segment* joined = NewSegment(one->depth - 1, one->prefix & ~bit);
    for (Segment* half : {one, other}) {
      Move(*half, *joined, *joined);
      --by_depth_[half->depth];
      --segments_;
      std::free(half);
    }
    Enter(joined);
    if (by_depth_[depth_] != 0) continue;
    // Every other pointer says the same as the one before it.
    std::vector<Segment*> halved;
    halved.reserve(directory_.size() / 2);
    for (size_t i = 0; i < directory_.size(); i += 2)
      halved.push_back(directory_[i]);
    directory_.swap(halved);
    --depth_;
  }
}

void Table::Replace(uint64_t hash, Entry** slot, Entry* entry) {
  const int change = static_cast<int>(IsUnplain(*entry)) - static_cast<int>(IsUnplain(**slot));
  if (change != 0) {
    SegmentOf(hash)->unplain += static_cast<uint32_t>(change);
    unplain_ += static_cast<size_t>(change);
  }
  Entry::Free(*slot);
  *slot = entry;
}

void Table::Erase(uint64_t hash, Entry** slot) {
  Segment& segment = *SegmentOf(hash);
  Bucket& bucket = BucketOfSlot(slot);
  auto i = static_cast<int>(slot - bucket.entries);
  if (IsUnplain(**slot)) {
    --segment.unplain;
    --unplain_;
  }
  --segment.count;
  Entry::Free(*slot);
  bucket.entries[i] = nullptr;
  bucket.tags[i] = 0;
  bucket.marks = static_cast<uint8_t>(bucket.marks & ~(1 << i));
  --size_;
  if (!walking_) Join(hash);
}

bool Table::MarkDirty(Entry** slot) {
  Bucket& bucket = BucketOfSlot(slot);
  auto bit = static_cast<uint8_t>(1 << (slot - bucket.entries));
  bool clean = (bucket.marks & bit) == 0;
  bucket.marks |= bit;
  return clean;
}

bool Table::IsDirty(Entry** slot) {
  Bucket& bucket = BucketOfSlot(slot);
  return (bucket.marks & (1 << (slot - bucket.entries))) != 0;
}

void Table::Unmark(Entry** slot) {
  Bucket& bucket = BucketOfSlot(slot);
  bucket.marks = static_cast<uint8_t>(bucket.marks & ~(1 << (slot - bucket.entries)));
}

void Table::PrefetchBucket(uint64_t hash) const {
  Segment* segment = SegmentOf(hash);
  if (segment != nullptr) __builtin_prefetch(&segment->buckets[BucketOf(hash)]);
}

void Table::PrefetchEntry(uint64_t hash) const {
  Segment* segment = SegmentOf(hash);
  if (segment == nullptr) return;
  Bucket& bucket = segment->buckets[BucketOf(hash)];
  unsigned match = MatchTags(bucket.tags, TagOf(hash));
  if (match != 0) __builtin_prefetch(bucket.entries[__builtin_ctz(match)]);
}

uint64_t Table::Scan(uint64_t cursor,
                     size_t count,
                     const std::function<void(Entry*)>& visit) const {
  if (directory_.empty() || cursor >> (64 - kCursorShift) != 0) return 0;  // any cursor may come
  uint64_t hash = cursor << kCursorShift;
  std::vector<std::pair<uint64_t, Entry*>> here;
  size_t visited = 0;
  while (true) {
    const Segment& segment = *SegmentOf(hash);
    here.clear();
    for (const Bucket& bucket : segment.buckets) {
      for (int i = 0; i < kSlots; ++i) {
        if (bucket.tags[i] == 0) continue;
        uint64_t h = hash_of_(bucket.entries[i]->key());
        if (h >> kCursorShift >= cursor) here.emplace_back(h >> kCursorShift, bucket.entries[i]);
      }
    }
    std::sort(here.begin(), here.end());
    for (size_t i = 0; i < here.size(); ++i) {
      if (visited >= count && (i == 0 || here[i].first != here[i - 1].first)) return here[i].first;
      visit(here[i].second);
      ++visited;
    }
    uint64_t end = EndOf(segment);
    if (end == 0) return 0;
    hash = end;
    cursor = end >> kCursorShift;
    if (visited >= count) return cursor;
  }
}

Entry* Table::Sample(uint64_t random, base::FunctionRef<bool(Entry*)> wanted) const {
  constexpr int kTries = 100;  // three of four slots are taken in a table that has grown
  if (size_ == 0) return nullptr;
  base::Random draw(random);
  for (int i = 0; i < kTries; ++i) {
    // Segments with few entries cover as little of the hashes.
    const Segment& segment = *SegmentOf(draw.Next());
    const uint64_t slot = draw.Below(kBuckets * kSlots);
    const Bucket& bucket = segment.buckets[slot / kSlots];
    if (bucket.tags[slot % kSlots] == 0) continue;
    Entry* entry = bucket.entries[slot % kSlots];
    if (wanted(entry)) return entry;
  }
  return nullptr;
}

void Table::ForEachSlot(const std::function<void(Entry**)>& visit) {
  walking_ = true;
  Segment* last = nullptr;
  for (Segment* segment : directory_) {
    if (segment == last) continue;
    last = segment;
    for (Bucket& bucket : segment->buckets) {
      for (int i = 0; i < kSlots; ++i) {
        if (bucket.tags[i] != 0) visit(&bucket.entries[i]);
      }
    }
  }
  walking_ = false;
  if (directory_.empty()) return;
  uint64_t hash = 0;
  do {
    Join(hash);
    hash = EndOf(*SegmentOf(hash));
  } while (hash != 0);
}

void Table::Walk(base::FunctionRef<bool(const Entry&)> visit) const {
  const Segment* last = nullptr;
  for (const Segment* segment : directory_) {
    if (segment == last) continue;
    last = segment;
    for (const Bucket& bucket : segment->buckets) {
      for (int i = 0; i < kSlots; ++i) {
        if (bucket.tags[i] != 0 && !visit(*bucket.entries[i])) return;
      }
    }
  }
}

void Table::WalkUnplain(base::FunctionRef<bool(const Entry&)> visit) const {
  if (unplain_ == 0) return;
  constexpr size_t kAhead = 8;
  const Segment* last = nullptr;
  for (size_t at = 0; at < directory_.size(); ++at) {
    if (at + kAhead < directory_.size()) __builtin_prefetch(directory_[at + kAhead]);
    const Segment* segment = directory_[at];
    if (segment == last) continue;
    last = segment;
    if (segment->unplain == 0) continue;
    for (const Bucket& bucket : segment->buckets) {
      for (int i = 0; i < kSlots; ++i) {
        if (bucket.tags[i] != 0 && IsUnplain(*bucket.entries[i]) && !visit(*bucket.entries[i])) return;
      }
    }
  }
}

uint64_t Table::ScanUnplain(uint64_t cursor,
                            size_t count,
                            base::FunctionRef<void(const Entry&)> visit) const {
  if (unplain_ == 0 || cursor >> (64 - kCursorShift) != 0) return 0;
  uint64_t hash = cursor << kCursorShift;
  for (size_t visited = 0, segments = 1;; ++segments) {
    const Segment& segment = *SegmentOf(hash);
    for (const Bucket& bucket : segment.buckets) {
      for (int i = 0; i < kSlots && segment.unplain != 0; ++i) {
        if (bucket.tags[i] == 0 || !IsUnplain(*bucket.entries[i])) continue;
        visit(*bucket.entries[i]);
        ++visited;
      }
    }
    hash = EndOf(segment);
    if (hash == 0) return 0;
    if (visited >= count || segments >= kSegmentsAtOnce) return hash >> kCursorShift;
  }
}

void Table::ForEach(const std::function<void(const Entry&)>& visit) const {
  Walk([&](const Entry& entry) {
    visit(entry);
    return true;
  });
}

bool Table::FreeSome(size_t count) {
  for (size_t freed = 0; !directory_.empty() && freed < count;) {
    Segment* segment = directory_.back();
    while (!directory_.empty() && directory_.back() == segment)
      directory_.pop_back();
    for (Bucket& bucket : segment->buckets) {
      for (int i = 0; i < kSlots; ++i) {
        if (bucket.tags[i] != 0) Entry::Free(bucket.entries[i]);
      }
    }
    freed += segment->count + 1;
    std::free(segment);
  }
  return !directory_.empty();
}

uint64_t Table::TakeDirty(uint64_t cursor, size_t count, const std::function<void(Entry*)>& visit) {
  if (directory_.empty()) return 0;
  uint64_t hash = cursor << kCursorShift;
  size_t visited = 0;
  size_t segments = 0;
  while (true) {
    Segment& segment = *SegmentOf(hash);
    for (Bucket& bucket : segment.buckets) {
      if ((bucket.marks & kDirtyBits) == 0) continue;
      for (int i = 0; i < kSlots; ++i) {
        if ((bucket.marks & (1 << i)) == 0) continue;
        visit(bucket.entries[i]);
        ++visited;
      }
      bucket.marks &= kOverflowed;
    }
    uint64_t end = EndOf(segment);
    if (end == 0) return 0;
    hash = end;
    // A long run of clean segments costs time as well.
    if (visited >= count || ++segments >= kSegmentsAtOnce) return end >> kCursorShift;
  }
}

size_t Table::memory_bytes() const {
  return segments_ * sizeof(Segment) + directory_.capacity() * sizeof(Segment*);
}

}  // namespace polyarch::keyspace
