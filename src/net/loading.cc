#include "net/loading.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <poll.h>
#include <string>
#include <string_view>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

namespace polyarch::net {
namespace {

constexpr size_t kGuestsMax = 64;  // more are closed at once
constexpr size_t kRequestMax = 8 << 10;
constexpr int64_t kStayMs = 1000;
constexpr int kNapMs = 50;
constexpr int kPatienceMs = 250;  // a start that is shorter is not worth a word

constexpr std::string_view kLoading = "-LOADING Polyarch is loading the dataset in memory\r\n";

int64_t NowMs() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1'000'000;
}

struct Guest {
  Fd fd;
  bool http = false;
  bool answered = false;
  int64_t until_ms = 0;
  std::string request;
};

void Answer(Guest& guest, std::string_view bytes) {
  guest.answered = true;
  static_cast<void>(::send(guest.fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  ::shutdown(guest.fd.get(), SHUT_WR);
}

std::string HttpAnswer(std::string_view request) {
  const bool healthy = request.starts_with("GET /healthz ") || request.starts_with("HEAD /healthz ");
  return std::string(healthy ? "HTTP/1.1 200 OK" : "HTTP/1.1 503 Service Unavailable") +
         "\r\nContent-Type: text/plain\r\nContent-Length: 8\r\nConnection: close\r\n\r\n" +
         (request.starts_with("HEAD ") ? "" : "loading\n");
}

// Reads what has come; false: the guest goes. An answer would be lost if its socket were closed with input unread.
bool Hear(Guest& guest) {
  char bytes[4096];
  const ssize_t n = ::recv(guest.fd.get(), bytes, sizeof bytes, MSG_DONTWAIT);
  if (n <= 0) return n < 0 && (errno == EAGAIN || errno == EINTR);
  if (guest.answered) return true;
  guest.request.append(bytes, static_cast<size_t>(n));
  if (guest.request.find("\r\n\r\n") != std::string::npos) Answer(guest, HttpAnswer(guest.request));
  return guest.request.size() <= kRequestMax;
}

}  // namespace

Loading::Loading(std::vector<const Listener*> listeners)
    : listeners_(std::move(listeners)), stop_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (!stop_.ok()) return;  // then they wait
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for the thread that reads the data
  thread_ = std::thread([this] { Run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Loading::~Loading() {
  if (!thread_.joinable()) return;
  static_cast<void>(::eventfd_write(stop_.get(), 1));
  thread_.join();
}

void Loading::Run() {
  std::vector<Guest> guests;
  std::vector<pollfd> polled = {{stop_.get(), POLLIN, 0}};
  if (::poll(polled.data(), 1, kPatienceMs) != 0) return;
  while (true) {
    polled.clear();
    polled.push_back({stop_.get(), POLLIN, 0});
    for (const Listener* listener : listeners_)
      polled.push_back({listener->fd.get(), POLLIN, 0});
    for (const Guest& guest : guests)
      polled.push_back({guest.fd.get(), POLLIN, 0});
    if (::poll(polled.data(), polled.size(), guests.empty() ? -1 : static_cast<int>(kStayMs)) < 0 && errno != EINTR)
      return;
    if (polled[0].revents != 0) return;
    const int64_t now_ms = NowMs();
    size_t at = 1 + listeners_.size();
    std::erase_if(guests, [&](Guest& guest) {
      const bool spoke = polled[at++].revents != 0;
      return (spoke && !Hear(guest)) || now_ms >= guest.until_ms;
    });
    for (size_t i = 0; i < listeners_.size(); ++i) {
      if (polled[1 + i].revents == 0) continue;
      Guest guest{.fd = Fd(::accept4(listeners_[i]->fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)),
                  .http = listeners_[i]->serves == Serves::kHttp,
                  .until_ms = now_ms + kStayMs};
      // No descriptor is to be had: the caller stays where he is.
      if (!guest.fd.ok() && (errno == EMFILE || errno == ENFILE)) {
        if (::poll(polled.data(), 1, kNapMs) != 0) return;
        continue;
      }
      if (!guest.fd.ok() || guests.size() >= kGuestsMax) continue;
      if (!guest.http) Answer(guest, kLoading);
      guests.push_back(std::move(guest));
    }
  }
}

}  // namespace polyarch::net
