#include "keyspace/table.h"

#include <algorithm>
#include <cstdlib>
#include <emmintrin.h>
#include <new>

#include "base/check.h"
#include "base/random.h"

namespace polyarch::keyspace {

namespace {

// Bits of the slots whose tag is `tag`.
inline unsigned MatchTags(const uint8_t* tags, uint8_t tag) {
  __m128i have = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(tags));
  __m128i want = _mm_set1_epi8(static_cast<char>(tag));
  return static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(have, want))) & 0x7f;
}

}  // namespace

Table::~Table() {
  ForEachSlot([](Entry** slot) { Entry::Free(*slot); });
  Segment* last = nullptr;
  for (Segment* segment : directory_) {
    if (segment != last) std::free(segment);
    last = segment;
  }
}

Table::Table(Table&& o) noexcept
    : hash_of_(std::move(o.hash_of_)),
      depth_(o.depth_),
      directory_(std::move(o.directory_)),
      segments_(o.segments_),
      size_(o.size_) {
  o.directory_.clear();
  o.size_ = 0;
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
  }
  while (true) {
    Entry** slot = TryInsert(*SegmentOf(hash), hash, entry, false, kProbeMax);
    if (slot != nullptr) {
      ++size_;
      return slot;
    }
    Split(hash);
  }
}

void Table::Split(uint64_t hash) {
  Segment* old = SegmentOf(hash);
  CHECK(old->depth < 40);  // a keyed hash does not collide on 40 bits by the hundred
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
  for (Bucket& bucket : old->buckets) {
    for (int i = 0; i < kSlots; ++i) {
      if (bucket.tags[i] != 0) __builtin_prefetch(bucket.entries[i]);
    }
  }
  for (Bucket& bucket : old->buckets) {
    for (int i = 0; i < kSlots; ++i) {
      if (bucket.tags[i] == 0) continue;
      uint64_t h = hash_of_(bucket.entries[i]->key());
      Segment* to = (h >> (64 - depth) & 1) != 0 ? high : low;
      // Without the probe limit: another order of insertion may need a longer probe, and what came
      // out of one segment always fits into one.
      Entry** slot = TryInsert(*to, h, bucket.entries[i], (bucket.marks & (1 << i)) != 0, kBuckets);
      CHECK(slot != nullptr);
    }
  }
  size_t width = size_t{1} << (depth_ - depth);
  size_t first = depth_ == 0 ? 0 : low->prefix >> (64 - depth_);
  std::fill_n(directory_.begin() + static_cast<ptrdiff_t>(first), width, low);
  std::fill_n(directory_.begin() + static_cast<ptrdiff_t>(first + width), width, high);
  std::free(old);
  ++segments_;
}

void Table::Erase(Entry** slot) {
  Bucket& bucket = BucketOfSlot(slot);
  auto i = static_cast<int>(slot - bucket.entries);
  Entry::Free(*slot);
  bucket.entries[i] = nullptr;
  bucket.tags[i] = 0;
  bucket.marks = static_cast<uint8_t>(bucket.marks & ~(1 << i));
  --size_;
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
    if (visited >= count || ++segments >= 4096) return end >> kCursorShift;
  }
}

size_t Table::memory_bytes() const {
  return segments_ * sizeof(Segment) + directory_.capacity() * sizeof(Segment*);
}

}  // namespace polyarch::keyspace
