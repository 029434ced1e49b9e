#include "server/line_writer.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <poll.h>
#include <unistd.h>

namespace polyarch::server {

namespace {

bool IsTransient(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

}  // namespace

// The descriptor stays a blocking one: others may share what it stands for. A pipe that says that it can be written to
// has room for PIPE_BUF bytes, so no larger piece is written in one go.
size_t LineWriter::Put(std::string_view bytes, int wait_ms) {
  size_t done = 0;
  while (done < bytes.size()) {
    pollfd fd{.fd = fd_, .events = POLLOUT, .revents = 0};
    if (::poll(&fd, 1, wait_ms) <= 0) break;
    const ssize_t written = ::write(fd_, bytes.data() + done, std::min<size_t>(bytes.size() - done, PIPE_BUF));
    if (written < 0 && IsTransient(errno)) break;
    // Nobody will ever read it (EPIPE), or the disk beneath is full.
    if (written < 0) return bytes.size();
    done += static_cast<size_t>(written);
  }
  return done;
}

void LineWriter::Write(std::string_view line) {
  Drain();
  const size_t taken = waits() ? 0 : Put(line, 0);
  const std::string_view rest = line.substr(taken);
  if (rest.empty()) return;
  // A line that has begun is ended, whatever the bound.
  if (taken == 0 && waiting_.size() + rest.size() > waiting_bytes_max_) {
    ++dropped_;
    return;
  }
  waiting_ += rest;
}

void LineWriter::Drain(int wait_ms) {
  if (waiting_.empty()) return;
  waiting_.erase(0, Put(waiting_, wait_ms));
}

void LineWriter::Drain() {
  Drain(0);
}

bool LineWriter::Finish(int ms_max) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(ms_max);
  while (waits()) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0) return false;
    // One piece a turn: each that is taken may be followed by a wait.
    const size_t piece = std::min<size_t>(waiting_.size(), PIPE_BUF);
    waiting_.erase(0, Put(std::string_view(waiting_).substr(0, piece), static_cast<int>(left)));
  }
  return true;
}

uint64_t LineWriter::TakeDropped() {
  if (waits()) return 0;
  const uint64_t fresh = dropped_ - told_;
  told_ = dropped_;
  return fresh;
}

}  // namespace polyarch::server
