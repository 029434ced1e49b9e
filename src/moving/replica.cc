#include "moving/replica.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include "base/number.h"
#include "cli/dial.h"
#include "cli/text.h"
#include "moving/expiry.h"
#include "moving/link.h"

namespace polyarch::moving {

namespace {

constexpr int64_t kAcknowledgeMs = 1000;
// Redis pings its replicas every 10 s; while it makes a snapshot it sends an empty line each
// second.
constexpr int64_t kSilenceMs = 60'000;
constexpr int64_t kBackoffMinMs = 100;
constexpr int64_t kBackoffMaxMs = 2000;
constexpr size_t kReadBytes = 256 << 10;
constexpr size_t kMarkBytes = 40;
constexpr size_t kLineMax = 4096;
constexpr int kUnfinishedMax = 5;
constexpr int64_t kArrivalMs = 100;

}  // namespace

Replica::Replica(cli::Target source, std::string spool_directory, int64_t patience_ms)
    : source_(std::move(source)),
      spool_directory_(std::move(spool_directory)),
      patience_ms_(patience_ms) {
  if (::pipe2(wake_, O_CLOEXEC | O_NONBLOCK) != 0) wake_[0] = wake_[1] = -1;
  thread_ = std::thread([this] { Run(); });
}

Replica::~Replica() {
  stopping_ = true;
  Wake();
  thread_.join();
  for (int fd : wake_) {
    if (fd >= 0) ::close(fd);
  }
}

base::Result<Copy> Replica::Current() const {
  const std::lock_guard lock(mutex_);
  if (!failure_.ok()) return failure_;
  return copy_;
}

Replica::Health Replica::health() const {
  const std::lock_guard lock(mutex_);
  return health_;
}

int64_t Replica::ArrivedMs(uint64_t offset) {
  const std::lock_guard lock(mutex_);
  while (!arrivals_.empty() && arrivals_.front().first < offset)
    arrivals_.pop_front();
  return arrivals_.empty() ? WallMs() : arrivals_.front().second;
}

void Replica::AnswerNow() {
  answer_now_ = true;
  Wake();
}

void Replica::Restart() {
  restart_ = true;
  Wake();
}

void Replica::Wake() {
  const char byte = 0;
  static_cast<void>(!::write(wake_[1], &byte, 1));
}

void Replica::SleepMs(int64_t ms) {
  pollfd fd{.fd = wake_[0], .events = POLLIN, .revents = 0};
  ::poll(&fd, 1, static_cast<int>(ms));
}

void Replica::SetHealth(bool connected, const std::string& trouble) {
  const std::lock_guard lock(mutex_);
  if (connected && !health_.connected && !health_.trouble.empty()) ++health_.reconnects;
  health_.connected = connected;
  if (!connected) health_.trouble = trouble;
}

void Replica::Run() {
  last_well_ms_ = cli::MonotonicMs();
  int64_t backoff = kBackoffMinMs;
  while (!stopping_) {
    const int64_t begin = cli::MonotonicMs();
    const base::Status status = Session();
    stream_.reset();
    in_.clear();
    at_ = 0;
    if (stopping_) return;
    SetHealth(false, status.message());
    // An RDB that was cut off is of no use: the next one is another moment's.
    if (restart_.exchange(false) || !whole_) replication_id_.clear();
    if (final_ || cli::MonotonicMs() - last_well_ms_ > patience_ms_) {
      const std::lock_guard lock(mutex_);
      failure_ = status;
      if (copy_.spool) copy_.spool->End(status, /*at_once=*/false);
      return;
    }
    backoff = cli::MonotonicMs() - begin > 2 * kBackoffMaxMs ? kBackoffMinMs
                                                             : std::min(2 * backoff, kBackoffMaxMs);
    SleepMs(backoff);
    char drop[64];
    while (::read(wake_[0], drop, sizeof drop) > 0) {
    }
  }
}

base::Status Replica::Session() {
  auto stream = DialAs(source_, "the source");
  if (!stream.ok()) return stream.status();
  stream_ = std::move(*stream);
  if (base::Status s = Handshake(); !s.ok()) return s;
  if (base::Status s = Psync(); !s.ok()) return s;
  if (!whole_) {
    if (base::Status s = ReceiveSnapshot(); !s.ok()) return s;
  }
  SetHealth(true, "");
  return ReceiveStream();
}

base::Status Replica::Fill(int64_t wait_ms) {
  if (at_ == in_.size()) {
    in_.clear();
    at_ = 0;
  }
  const int64_t deadline = cli::MonotonicMs() + wait_ms;
  for (;;) {
    const bool here = stream_->pending();
    pollfd fds[2] = {{.fd = stream_->fd(), .events = stream_->Events(POLLIN), .revents = 0},
                     {.fd = wake_[0], .events = POLLIN, .revents = 0}};
    const int64_t left = std::max<int64_t>(0, deadline - cli::MonotonicMs());
    if (::poll(fds, 2, here ? 0 : static_cast<int>(left)) < 0 && errno != EINTR)
      return base::IoError(std::strerror(errno));
    if (stopping_ || restart_) return base::Status(base::Code::kBusy, "it is to end");
    if (fds[1].revents != 0) {
      char drop[64];
      while (::read(wake_[0], drop, sizeof drop) > 0) {
      }
      return {};
    }
    if (fds[0].revents != 0 || here) {
      const size_t before = in_.size();
      in_.resize(before + kReadBytes);
      const ssize_t n = stream_->Receive(in_.data() + before, kReadBytes);
      const std::string error = n < 0 && !cli::IsTransient(errno) ? stream_->Error() : std::string();
      in_.resize(before + static_cast<size_t>(std::max<ssize_t>(n, 0)));
      if (n > 0) return {};
      if (n == 0)
        return base::IoError("lost the connection to the source " + source_.Name() +
                             " (it was closed)");
      if (!error.empty())
        return base::IoError("lost the connection to the source " + source_.Name() + " (" + error + ")");
    }
    if (cli::MonotonicMs() >= deadline) return {};
  }
}

base::Result<std::string> Replica::Line(int64_t wait_ms) {
  const int64_t deadline = cli::MonotonicMs() + wait_ms;
  for (;;) {
    const size_t end = in_.find('\n', at_);
    if (end != std::string::npos) {
      std::string line = in_.substr(at_, end - at_);
      at_ = end + 1;
      if (!line.empty() && line.back() == '\r') line.pop_back();
      return line;
    }
    if (in_.size() - at_ > kLineMax || cli::MonotonicMs() >= deadline) {
      return base::IoError("the source " + source_.Name() +
                           " does not answer as a Redis does: is this the client port of a Redis?");
    }
    if (base::Status s = Fill(std::min<int64_t>(1000, deadline - cli::MonotonicMs())); !s.ok())
      return s;
  }
}

base::Status Replica::Send(std::initializer_list<std::string_view> words) {
  std::string request;
  resp::AppendRequest(request, words);
  return cli::SendAll(*stream_, request.data(), request.size(), cli::MonotonicMs() + source_.timeout_ms);
}

base::Status Replica::Ask(std::initializer_list<std::string_view> words, std::string& reply) {
  if (base::Status s = Send(words); !s.ok()) return s;
  auto line = Line(source_.timeout_ms);
  if (!line.ok()) return line.status();
  reply = std::move(*line);
  return {};
}

base::Status Replica::Handshake() {
  std::string reply;
  if (!source_.password.empty()) {
    std::string request;
    resp::AppendRequest(request, AuthWords(source_));
    if (base::Status s = cli::SendAll(
            *stream_, request.data(), request.size(), cli::MonotonicMs() + source_.timeout_ms);
        !s.ok())
      return s;
    auto line = Line(source_.timeout_ms);
    if (!line.ok()) return line.status();
    if (line->starts_with("-") && !line->starts_with("-LOADING")) {
      final_ = true;
      return base::Invalid("the source " + source_.Name() + " refuses the password (" +
                           cli::Printable(*line) + "): check the URI");
    }
  }
  if (base::Status s = Ask({"PING"}, reply); !s.ok()) return s;
  if (reply.starts_with("-NOAUTH")) {
    final_ = true;
    return base::Invalid(
        "the source " + source_.Name() +
        " needs a password: give redis://:PASSWORD@HOST:PORT, or set POLYARCH_SOURCE_PASSWORD");
  }
  if (reply.starts_with("-"))
    return base::IoError("the source " + source_.Name() + ": " + cli::Printable(reply.substr(1)));
  // What an old one does not know it answers with an error, and goes on.
  if (base::Status s = Ask({"REPLCONF", "listening-port", "0"}, reply); !s.ok()) return s;
  return Ask({"REPLCONF", "capa", "eof", "capa", "psync2"}, reply);
}

base::Status Replica::Psync() {
  const std::string next = std::to_string(received_ + 1);
  const bool go_on = !replication_id_.empty();
  if (base::Status s = go_on ? Send({"PSYNC", replication_id_, next}) : Send({"PSYNC", "?", "-1"});
      !s.ok())
    return s;
  std::string reply;
  while (reply.empty()) {  // empty lines: it is busy
    auto line = Line(kSilenceMs);
    if (!line.ok()) return line.status();
    reply = std::move(*line);
    if (reply.empty()) last_well_ms_ = cli::MonotonicMs();
  }
  if (go_on && reply.starts_with("+CONTINUE")) {
    if (reply.size() > 10) replication_id_ = reply.substr(10);
    const std::lock_guard lock(mutex_);
    health_.history = replication_id_;
    return {};
  }
  if (reply.starts_with("+FULLRESYNC ")) {
    const size_t space = reply.find(' ', 12);
    const auto offset = space == std::string::npos
                            ? std::nullopt
                            : base::ParseInt64(std::string_view(reply).substr(space + 1));
    if (!offset || *offset < 0)
      return base::IoError("the source " + source_.Name() + " says " + cli::Printable(reply));
    replication_id_ = reply.substr(12, space - 12);
    received_ = static_cast<uint64_t>(*offset);
    return BeginCopy();
  }
  if (reply.starts_with("-ERR") || reply.starts_with("-NOPERM") || !reply.starts_with("-")) {
    final_ = true;
    return base::Invalid("the source " + source_.Name() + " does not replicate (" +
                         cli::Printable(reply) +
                         "): it must be a Redis from 2.8 on whose user may PSYNC and REPLCONF");
  }
  return base::IoError("the source " + source_.Name() +
                       " is not ready: " + cli::Printable(reply.substr(1)));
}

base::Status Replica::BeginCopy() {
  if (++unfinished_ > kUnfinishedMax) {
    final_ = true;
    return base::IoError("the source " + source_.Name() + " broke off its snapshot " +
                         std::to_string(kUnfinishedMax) +
                         " times one after another: see its log, and its "
                         "client-output-buffer-limit for replicas and repl-timeout");
  }
  auto spool = Spool::Create(spool_directory_);
  if (!spool.ok()) {
    final_ = true;
    return spool.status();
  }
  whole_ = false;
  acknowledged_ = 0;
  const std::lock_guard lock(mutex_);
  if (copy_.spool)
    copy_.spool->End(base::Status(base::Code::kBusy, "a new copy begins"), /*at_once=*/!keep_);
  const bool another = copy_.number > 0 && health_.history != replication_id_;
  copy_ = Copy{.number = copy_.number + 1,
               .histories = copy_.histories + (another ? 1 : 0),
               .spool = std::move(*spool),
               .rdb_bytes = {},
               .stream = {}};
  arrivals_.clear();
  health_.received = received_;
  health_.history = replication_id_;
  return {};
}

base::Status Replica::ReceiveSnapshot() {
  std::string head;
  while (head.empty()) {
    auto line = Line(kSilenceMs);
    if (!line.ok()) return line.status();
    head = std::move(*line);
    if (head.empty()) last_well_ms_ = cli::MonotonicMs();
  }
  if (!head.starts_with("$"))
    return base::IoError("the source " + source_.Name() +
                         " cannot make a snapshot: " + cli::Printable(head));
  std::string mark;
  uint64_t left = UINT64_MAX;
  if (head.starts_with("$EOF:")) {
    mark = head.substr(5);
    if (mark.size() != kMarkBytes)
      return base::IoError("the source sends no mark for the end of its snapshot");
  } else {
    const auto size = base::ParseInt64(std::string_view(head).substr(1));
    if (!size || *size <= 0)
      return base::IoError("the source sends no size of its snapshot: " + cli::Printable(head));
    left = static_cast<uint64_t>(*size);
    const std::lock_guard lock(mutex_);
    copy_.rdb_bytes = left;
  }
  Spool& spool = *copy_.spool;
  int64_t heard = cli::MonotonicMs();
  for (bool ended = false; !ended;) {
    const size_t here = in_.size() - at_;
    if (here > 0) {
      heard = last_well_ms_ = cli::MonotonicMs();
      size_t part = static_cast<size_t>(std::min<uint64_t>(here, left));
      // Nothing follows the mark until this end has said that it has the snapshot, so the mark is
      // the last thing here.
      const std::string_view bytes = std::string_view(in_).substr(at_);
      if (!mark.empty()) {
        ended = bytes.ends_with(mark);
        part = here > kMarkBytes ? here - kMarkBytes : 0;
      }
      if (base::Status s = spool.Append(bytes.substr(0, part)); !s.ok()) {
        final_ = true;
        return s;
      }
      at_ += part;
      if (mark.empty()) {
        left -= part;
        ended = left == 0;
      } else {
        in_.erase(0, at_);
        at_ = 0;
        if (ended) in_.clear();
      }
    }
    if (ended) break;
    if (base::Status s = Fill(1000); !s.ok()) return s;
    if (cli::MonotonicMs() - heard > kSilenceMs)
      return base::IoError("the source sends nothing more of its snapshot");
  }
  whole_ = true;
  unfinished_ = 0;
  const std::lock_guard lock(mutex_);
  copy_.stream = Copy::Stream{spool.appended(), received_};
  return {};
}

base::Status Replica::SendAcknowledgement() {
  // Before the leader has anything of the stream, the snapshot's offset is what there is: a source
  // that sends its snapshot straight from memory waits for this word.
  uint64_t offset = acknowledged_;
  {
    const std::lock_guard lock(mutex_);
    if (copy_.stream) offset = std::max(offset, copy_.stream->offset);
  }
  return Send({"REPLCONF", "ACK", std::to_string(offset)});
}

base::Status Replica::ReceiveStream() {
  int64_t told = 0;
  int64_t heard = cli::MonotonicMs();
  for (;;) {
    const int64_t now = cli::MonotonicMs();
    if (answer_now_.exchange(false) || now - told >= kAcknowledgeMs) {
      if (base::Status s = SendAcknowledgement(); !s.ok()) return s;
      told = now;
    }
    if (in_.size() > at_) {
      heard = last_well_ms_ = now;
      const std::string_view bytes = std::string_view(in_).substr(at_);
      if (base::Status s = copy_.spool->Append(bytes); !s.ok()) {
        final_ = true;
        return s;
      }
      received_ += bytes.size();
      at_ = in_.size();
      const std::lock_guard lock(mutex_);
      health_.received = received_;
      const int64_t wall = WallMs();
      if (arrivals_.empty() || wall - arrivals_.back().second >= kArrivalMs) {
        arrivals_.emplace_back(received_, wall);
      } else {
        arrivals_.back().first = received_;
      }
    }
    if (base::Status s = Fill(std::clamp<int64_t>(told + kAcknowledgeMs - now, 0, kAcknowledgeMs));
        !s.ok())
      return s;
    if (cli::MonotonicMs() - heard > kSilenceMs)
      return base::IoError("the source " + source_.Name() + " says nothing for " +
                           cli::HumanMillis(kSilenceMs));
  }
}

}  // namespace polyarch::moving
