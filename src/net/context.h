// What the parts of one loop share. Owned by the Loop; used on its thread only.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "net/options.h"
#include "net/service.h"
#include "net/tls.h"
#include "resp/buffer.h"

namespace polyarch::net {

// Warm buffers for connections that have something to keep. Last in, first out: a busy connection
// gets memory that is in the cache, and an idle one holds none.
class BufferPool {
 public:
  // Gives `buffer` memory if it has none.
  void Lend(resp::Buffer& buffer) {
    if (buffer.capacity() != 0 || buffers_.empty()) return;
    buffer.swap(buffers_.back());
    buffers_.pop_back();
  }
  // Takes the memory of an empty `buffer` back.
  void Return(resp::Buffer& buffer) {
    if (buffer.capacity() == 0) return;
    resp::Buffer taken;
    taken.swap(buffer);
    if (taken.overflowed()) return;
    taken.SetLimit(SIZE_MAX);
    if (buffers_.size() < kBuffersMax) buffers_.push_back(std::move(taken));
  }

 private:
  static constexpr size_t kBuffersMax = 256;  // of at most 256 KiB each (Buffer::kKeepBytes)
  std::vector<resp::Buffer> buffers_;
};

inline int64_t NowUs(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return now.tv_sec * 1'000'000LL + now.tv_nsec / 1000;
}

struct Context {
  // One read of a client or link whose own buffer is empty lands here. 64 KiB stay in the
  // second-level cache while they are parsed and executed.
  static constexpr size_t kScratchBytes = 64 << 10;

  LoopOptions options;
  Service& service;
  LoopStats stats;
  Clocks now;
  // Who this end is, on connections that begin from now on; null: no TLS there.
  std::shared_ptr<const TlsContext> tls_clients;
  std::shared_ptr<const TlsContext> tls_peers;
  // Clients get no command any more in this tick after that time of CLOCK_MONOTONIC_COARSE, which costs next to
  // nothing to read and is some milliseconds late at most.
  int64_t clients_until_us = INT64_MAX;
  bool ClientsOutOfTime() const { return NowUs(CLOCK_MONOTONIC_COARSE) >= clients_until_us; }
  BufferPool buffers;
  std::unique_ptr<char[]> scratch = std::make_unique<char[]>(kScratchBytes);
};

}  // namespace polyarch::net
