// epoll and what can be polled. Level-triggered; a Pollable is registered by address, so it must
// not move or die while events of the present batch may name it (the loop closes at the end of a
// tick).
#pragma once

#include <array>
#include <cstdint>
#include <sys/epoll.h>
#include <unistd.h>
#include <utility>

#include "base/check.h"
#include "base/status.h"

namespace polyarch::net {

// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { Reset(); }
  Fd(Fd&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Fd& operator=(Fd&& o) noexcept {
    if (this != &o) {
      Reset();
      fd_ = std::exchange(o.fd_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;

  bool ok() const { return fd_ >= 0; }
  int get() const { return fd_; }
  void Reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

enum class PollKind : uint8_t { kListener, kWake, kClient, kLink, kHttp, kHandshake };

struct Pollable {
  explicit Pollable(PollKind k) : kind(k) {}
  PollKind kind;
  uint32_t interest = 0;  // the events asked for, as the kernel knows them
  Fd fd;
};

class Poller {
 public:
  static constexpr int kEventsMax = 1024;

  base::Status Open();
  // False if the kernel refuses (no memory): the caller closes the connection.
  [[nodiscard]] bool Add(Pollable& pollable, uint32_t events);
  // Its socket goes to another Pollable.
  void Remove(Pollable& pollable);
  // Asks for other events; no system call if they are the same.
  void Want(Pollable& pollable, uint32_t events) {
    if (pollable.interest != events) Change(pollable, events);
  }
  // Waits for at most `timeout_ms`; the count of ready entries, for event(i).
  int Wait(int timeout_ms);
  const epoll_event& event(int i) const { return events_[static_cast<size_t>(i)]; }
  int fd() const { return fd_.get(); }

 private:
  void Change(Pollable& pollable, uint32_t events);

  Fd fd_;
  std::array<epoll_event, kEventsMax> events_{};
};

}  // namespace polyarch::net
