// A queue of bytes between two threads, in a file without a name: what a source sends is taken off
// its hands at once, however slowly it can be written. Memory is not used for it; the disk's blocks
// are given back behind the reader.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/status.h"

namespace polyarch::moving {

class Spool {
 public:
  static base::Result<std::unique_ptr<Spool>> Create(const std::string& directory);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // ---- the writer
  base::Status Append(std::string_view bytes);
  // No more will come; the reader gets `why` behind the last byte, or at once if it is to drop the
  // rest.
  void End(base::Status why, bool at_once);
  uint64_t appended() const;

  // ---- the reader
  // Up to `size` bytes from where it stands; 0 if none came within `wait_ms`.
  base::Result<size_t> Read(char* into, size_t size, int64_t wait_ms);
  // Stands at this byte; never before what was given back.
  void Seek(uint64_t position) { read_ = position; }

 private:
  Spool(int fd, std::string directory) : fd_(fd), directory_(std::move(directory)) {}

  const int fd_;
  const std::string directory_;
  mutable std::mutex mutex_;
  std::condition_variable came_;
  uint64_t appended_ = 0;
  base::Status end_;
  bool at_once_ = false;
  uint64_t read_ = 0;   // the reader's alone
  uint64_t freed_ = 0;  // the same
};

}  // namespace polyarch::moving
