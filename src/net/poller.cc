#include "net/poller.h"

#include <cerrno>
#include <cstring>
#include <string>

namespace polyarch::net {

base::Status Poller::Open() {
  fd_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!fd_.ok()) return base::IoError(std::string("cannot make an epoll descriptor (") + std::strerror(errno) +
                                         "): raise the limit of open files");
  return {};
}

bool Poller::Add(Pollable& pollable, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &pollable;
  pollable.interest = events;
  return ::epoll_ctl(fd_.get(), EPOLL_CTL_ADD, pollable.fd.get(), &event) == 0;
}

void Poller::Remove(Pollable& pollable) {
  CHECK(::epoll_ctl(fd_.get(), EPOLL_CTL_DEL, pollable.fd.get(), nullptr) == 0);
}

void Poller::Change(Pollable& pollable, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &pollable;
  pollable.interest = events;
  CHECK(::epoll_ctl(fd_.get(), EPOLL_CTL_MOD, pollable.fd.get(), &event) == 0);
}

int Poller::Wait(int timeout_ms) {
  int ready = ::epoll_wait(fd_.get(), events_.data(), kEventsMax, timeout_ms);
  CHECK(ready >= 0 || errno == EINTR);
  return ready < 0 ? 0 : ready;
}

}  // namespace polyarch::net
