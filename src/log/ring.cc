#include "log/ring.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace polyarch::log {

namespace {

// A sixteenth of the ring, so that what one chunk's end wastes and what dropping one forgets stay
// small; at most 4 MiB, since more makes nothing cheaper.
uint64_t ChunkBytes(uint64_t bytes_max) {
  return std::clamp<uint64_t>(bytes_max / 16, 4 << 10, 4 << 20);
}

}  // namespace

Ring::Ring(size_t bytes_max, Position start)
    : bytes_max_(bytes_max), chunk_bytes_(ChunkBytes(bytes_max)), end_(start) {}

void Ring::AddChunk(uint64_t bytes, Position committed) {
  const uint64_t capacity = std::max(bytes, chunk_bytes_);
  Chunk chunk;
  while (!chunks_.empty() && capacity_ + capacity > bytes_max_ &&
         chunks_.front().start + chunks_.front().used <= committed) {
    Chunk old = std::move(chunks_.front());
    chunks_.pop_front();
    capacity_ -= old.capacity;
    if (old.capacity == capacity) chunk = std::move(old);
  }
  if (chunk.data == nullptr) chunk.data = std::make_unique_for_overwrite<char[]>(capacity);
  chunk.start = end_;
  chunk.used = 0;
  chunk.capacity = capacity;
  capacity_ += capacity;
  chunks_.push_back(std::move(chunk));
}

std::string_view Ring::At(Position position) const {
  CHECK(position >= begin() && position < end_);
  auto it = std::upper_bound(
      chunks_.begin(), chunks_.end(), position, [](Position p, const Chunk& chunk) {
        return p < chunk.start;
      });
  const Chunk& chunk = *std::prev(it);
  const uint64_t offset = position - chunk.start;
  return {chunk.data.get() + offset, chunk.used - offset};
}

}  // namespace polyarch::log
