#include "moving/spool.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace polyarch::moving {

namespace {

// The blocks of a part of a file are given back in steps of this size.
constexpr uint64_t kFreeBytes = 16 << 20;
// A reader that seeks goes back by less than a buffer of it.
constexpr uint64_t kKeepBytes = 1 << 20;

}  // namespace

base::Result<std::unique_ptr<Spool>> Spool::Create(const std::string& directory) {
  int fd = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
    std::string path = directory + "/polyarch-import-XXXXXX";
    fd = ::mkostemp(path.data(), O_CLOEXEC);
    if (fd >= 0) ::unlink(path.c_str());
  }
  if (fd < 0) {
    return base::IoError("cannot make a file in " + directory + " (" + std::strerror(errno) +
                         "): give another directory with --spool");
  }
  return std::unique_ptr<Spool>(new Spool(fd, directory));
}

Spool::~Spool() {
  ::close(fd_);
}

base::Status Spool::Append(std::string_view bytes) {
  uint64_t at = appended();
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      return base::IoError("cannot write to the spool in " + directory_ + " (" +
                           std::strerror(errno) +
                           "): make room, or give another directory with --spool");
    }
    at += static_cast<uint64_t>(n);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  const std::lock_guard lock(mutex_);
  appended_ = at;
  came_.notify_one();
  return {};
}

void Spool::End(base::Status why, bool at_once) {
  const std::lock_guard lock(mutex_);
  end_ = std::move(why);
  at_once_ = at_once;
  came_.notify_one();
}

uint64_t Spool::appended() const {
  const std::lock_guard lock(mutex_);
  return appended_;
}

base::Result<size_t> Spool::Read(char* into, size_t size, int64_t wait_ms) {
  uint64_t there = 0;
  {
    std::unique_lock lock(mutex_);
    came_.wait_for(
        lock, std::chrono::milliseconds(wait_ms), [&] { return appended_ > read_ || !end_.ok(); });
    if (!end_.ok() && (at_once_ || appended_ <= read_)) return end_;
    there = appended_;
  }
  if (there <= read_) return size_t{0};
  const size_t part = static_cast<size_t>(std::min<uint64_t>(size, there - read_));
  const ssize_t n = ::pread(fd_, into, part, static_cast<off_t>(read_));
  if (n <= 0)
    return base::IoError("cannot read the spool in " + directory_ + " (" + std::strerror(errno) +
                         ")");
  read_ += static_cast<uint64_t>(n);
  if (read_ > freed_ + kFreeBytes + kKeepBytes) {
    // Where a file system cannot do this the file just stays larger.
    static_cast<void>(::fallocate(fd_,
                                  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                  static_cast<off_t>(freed_),
                                  static_cast<off_t>(kFreeBytes)));
    freed_ += kFreeBytes;
  }
  return static_cast<size_t>(n);
}

}  // namespace polyarch::moving
