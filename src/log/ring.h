// The newest records of the log in memory, as they are on disk: what is not yet written, and what
// peers are served from without a system call. A queue of chunks; a record is never split over two,
// so a position maps to one contiguous piece of memory. Old chunks are reused: in steady state an
// append allocates nothing.
//
// Holds about `bytes_max`, and more when more than that is not yet committed. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>

#include "log/log.h"

namespace polyarch::log {

class Ring {
 public:
  Ring(size_t bytes_max, Position start);

  // Room for one record of `bytes` at end(), which moves behind it. Chunks wholly below `committed`
  // may go.
  char* Extend(uint64_t bytes, Position committed) {
    if (chunks_.empty() || chunks_.back().capacity - chunks_.back().used < bytes) {
      AddChunk(bytes, committed);
    }
    Chunk& chunk = chunks_.back();
    char* out = chunk.data.get() + chunk.used;
    chunk.used += bytes;
    end_ += bytes;
    return out;
  }

  // The oldest record held; end() if there is none.
  Position begin() const { return chunks_.empty() ? end_ : chunks_.front().start; }
  Position end() const { return end_; }

  // The bytes from `position` in [begin(), end()) on, as far as they are in one piece.
  std::string_view At(Position position) const;

 private:
  struct Chunk {
    Position start = 0;
    uint64_t used = 0;
    uint64_t capacity = 0;
    std::unique_ptr<char[]> data;
  };

  void AddChunk(uint64_t bytes, Position committed);

  const uint64_t bytes_max_;
  const uint64_t chunk_bytes_;
  uint64_t capacity_ = 0;  // of all chunks
  Position end_;
  std::deque<Chunk> chunks_;
};

}  // namespace polyarch::log
