// Connecting, and waiting for a socket: what all clients in this program share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <sys/types.h>

#include "base/status.h"
#include "net/tls.h"

namespace polyarch::cli {

struct Target;

int64_t MonotonicMs();

inline constexpr int64_t kNoDeadline = INT64_MAX;

// A connection, by TLS or not, which does not block.
class Stream {
 public:
  explicit Stream(int fd) : fd_(fd) {}
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Shakes hands, with whom the target names.
  base::Status StartTls(const Target& target, int64_t deadline_ms);
  int fd() const { return fd_; }
  // As ::recv and ::send.
  ssize_t Receive(char* to, size_t size);
  ssize_t Send(const char* bytes, size_t size);
  // It has bytes of which poll(2) does not tell: do not wait for any.
  bool pending() const { return tls_ != nullptr && tls_->pending(); }
  // What to poll for by who wants these.
  short Events(short wanted) const;
  // Why the last call failed, by errno or by TLS.
  std::string Error() const;

 private:
  const int fd_;
  std::unique_ptr<net::Tls> tls_;
};

// Each address of the name is tried, within the target's time in all, the handshake included. An error says why the last
// one failed.
base::Result<std::unique_ptr<Stream>> Dial(const Target& target);

// Until poll(2) says `events`, or the deadline (MonotonicMs) has passed: kBusy.
base::Status WaitFor(int fd, short events, int64_t deadline_ms);
base::Status WaitFor(const Stream& stream, short events, int64_t deadline_ms);

// Sends all of it.
base::Status SendAll(Stream& stream, const char* bytes, size_t size, int64_t deadline_ms);

bool IsTransient(int error);

}  // namespace polyarch::cli
