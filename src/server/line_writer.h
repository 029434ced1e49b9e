// Lines to a descriptor that may take none: a pipe that nobody reads, a terminal that was stopped, a journal that hangs.
// What it does not take at once waits, up to a bound, and goes in order; lines beyond the bound are dropped, whole, and
// counted. No call blocks but Finish, for as long as it was told. Not thread-safe; the descriptor is the caller's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace polyarch::server {

class LineWriter {
 public:
  static constexpr size_t kWaitingBytesMax = 256 << 10;

  explicit LineWriter(int fd, size_t waiting_bytes_max = kWaitingBytesMax)
      : fd_(fd), waiting_bytes_max_(waiting_bytes_max) {}

  // `line` with its end.
  void Write(std::string_view line);
  // What waits, as far as it is taken now.
  void Drain();
  // The same, for at most so long. False: something is left.
  bool Finish(int ms_max);

  bool waits() const { return !waiting_.empty(); }
  // Lines that were dropped, ever.
  uint64_t dropped() const { return dropped_; }
  // How many were dropped since the last call, once there is room to tell; 0: none, or there is no room yet.
  uint64_t TakeDropped();

 private:
  // How much of it was taken.
  size_t Put(std::string_view bytes, int wait_ms);
  void Drain(int wait_ms);

  int fd_;
  size_t waiting_bytes_max_;
  std::string waiting_;
  uint64_t dropped_ = 0;
  uint64_t told_ = 0;  // of them
};

}  // namespace polyarch::server
