#include "cli/dial.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cli/connection.h"
#include "cli/text.h"

namespace polyarch::cli {

int64_t MonotonicMs() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<int64_t>(t.tv_sec) * 1000 + t.tv_nsec / 1'000'000;
}

bool IsTransient(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

base::Status WaitFor(int fd, short events, int64_t deadline_ms) {
  for (;;) {
    const int64_t left =
        deadline_ms == kNoDeadline ? -1 : std::max<int64_t>(0, deadline_ms - MonotonicMs());
    pollfd waited{.fd = fd, .events = events, .revents = 0};
    const int ready = ::poll(&waited, 1, static_cast<int>(std::min<int64_t>(left, 3'600'000)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return base::IoError(std::strerror(errno));
    if (deadline_ms != kNoDeadline && MonotonicMs() >= deadline_ms)
      return base::Status(base::Code::kBusy, "no answer in time");
  }
}

base::Status WaitFor(const Stream& stream, short events, int64_t deadline_ms) {
  if (stream.pending() && (events & POLLIN) != 0) return {};
  return WaitFor(stream.fd(), stream.Events(events), deadline_ms);
}

Stream::~Stream() {
  if (tls_ != nullptr) tls_->Finish();
  tls_.reset();
  ::close(fd_);
}

base::Status Stream::StartTls(const Target& target, int64_t deadline_ms) {
  auto context = net::TlsContext::ForTool({.cert = target.cert, .key = target.key, .ca = target.ca_cert, .ca_dir = ""},
                                          !target.insecure);
  if (!context.ok()) return context.status();
  const std::string& name = target.server_name.empty() ? target.host : target.server_name;
  tls_ = net::Tls::Connect(*context, fd_, target.insecure ? target.server_name : name);
  if (tls_ == nullptr) return base::Invalid("'" + Printable(name) + "' cannot be the name of a server: give another --sni");
  for (;;) {
    switch (tls_->Handshake()) {
      case net::Tls::Progress::kDone:
        return {};
      case net::Tls::Progress::kFailed: {
        std::string why = tls_->error();
        if (why.starts_with("its certificate is refused"))
          why += "; give its CA with --cacert and, if it is for another name than '" + Printable(name) + "', that one with --sni";
        if (why == "it does not speak TLS") why += " at this port";
        return base::Invalid(why);
      }
      case net::Tls::Progress::kUnderWay:
        break;
    }
    // EPOLLIN and POLLIN are one, and so on.
    if (base::Status s = WaitFor(fd_, static_cast<short>(tls_->handshake_events()), deadline_ms); !s.ok()) return s;
  }
}

ssize_t Stream::Receive(char* to, size_t size) {
  return tls_ == nullptr ? ::recv(fd_, to, size, 0) : tls_->Read(to, size);
}

ssize_t Stream::Send(const char* bytes, size_t size) {
  return tls_ == nullptr ? ::send(fd_, bytes, size, MSG_NOSIGNAL) : tls_->Write(bytes, size);
}

short Stream::Events(short wanted) const {
  if (tls_ == nullptr) return wanted;
  return static_cast<short>(tls_->Events((wanted & POLLIN) != 0, (wanted & POLLOUT) != 0));
}

std::string Stream::Error() const {
  const int error = errno;
  return tls_ == nullptr || tls_->error().empty() ? std::strerror(error) : tls_->error();
}

base::Status SendAll(Stream& stream, const char* bytes, size_t size, int64_t deadline_ms) {
  while (size > 0) {
    const ssize_t n = stream.Send(bytes, size);
    if (n > 0) {
      bytes += n;
      size -= static_cast<size_t>(n);
      continue;
    }
    if (n < 0 && !IsTransient(errno)) return base::IoError(stream.Error());
    if (base::Status s = WaitFor(stream, POLLOUT, deadline_ms); !s.ok()) return s;
  }
  return {};
}

base::Result<std::unique_ptr<Stream>> Dial(const Target& target) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(target.host.c_str(), std::to_string(target.port).c_str(), &hints, &found);
  if (error != 0) {
    return base::NotFound("cannot find the host '" + Printable(target.host) + "' (" +
                          gai_strerror(error) + ")");
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);
  const int64_t deadline = MonotonicMs() + target.timeout_ms;
  base::Status last = base::IoError("no address");
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    const int fd = ::socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      last = base::IoError(std::strerror(errno));
      continue;
    }
    int failure = ::connect(fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    if (failure == EINPROGRESS) {
      last = WaitFor(fd, POLLOUT, deadline);
      if (!last.ok()) {
        ::close(fd);
        if (last.code() == base::Code::kBusy)
          last = base::IoError("no answer within " + HumanMillis(target.timeout_ms));
        continue;
      }
      socklen_t size = sizeof failure;
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size);
    }
    if (failure != 0) {
      last = base::IoError(std::strerror(failure));
      ::close(fd);
      continue;
    }
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    auto stream = std::make_unique<Stream>(fd);
    if (!target.tls) return stream;
    if (last = stream->StartTls(target, deadline); last.ok()) return stream;
    if (last.code() == base::Code::kBusy)
      last = base::IoError("no handshake of TLS within " + HumanMillis(target.timeout_ms));
  }
  return last;
}

}  // namespace polyarch::cli
