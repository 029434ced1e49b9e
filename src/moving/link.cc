#include "moving/link.h"

#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include "cli/dial.h"
#include "cli/text.h"

namespace polyarch::moving {

base::Status ParseAddress(std::string_view text, cli::Target& target) {
  return cli::ParseUri(text.find("://") == std::string_view::npos ? "redis://" + std::string(text)
                                                                  : std::string(text),
                       target);
}

base::Result<std::unique_ptr<cli::Stream>> DialAs(const cli::Target& target, std::string_view who) {
  auto stream = cli::Dial(target);
  if (stream.ok()) return stream;
  return base::IoError("cannot reach " + std::string(who) + " at " + target.Name() + " (" +
                       stream.status().message() + "): is it running, and is the address right?");
}

std::vector<std::string_view> AuthWords(const cli::Target& target) {
  if (target.user.empty()) return {"AUTH", target.password};
  return {"AUTH", target.user, target.password};
}

base::Result<std::unique_ptr<Link>> Link::Open(const cli::Target& target, std::string who) {
  auto stream = DialAs(target, who);
  if (!stream.ok()) return stream.status();
  std::unique_ptr<Link> link(new Link(target, std::move(who), std::move(*stream)));
  if (!target.password.empty()) {
    link->Put(AuthWords(target));
    auto reply = link->Collect();
    if (!reply.ok()) return reply.status();
    if ((*reply)[0].is_error()) {
      return base::Invalid(link->Name() + " refuses the password (" +
                           cli::Printable((*reply)[0].text) + "): check the URI");
    }
  }
  auto pong = link->Ask({"PING"});
  if (pong.ok()) return link;
  if (pong.status().message().starts_with("NOAUTH"))
    return base::Invalid(
        link->Name() +
        " needs a password: give redis://:PASSWORD@HOST:PORT, or the environment variable");
  return base::Invalid(link->Name() + ": " + pong.status().message());
}

void Link::Put(std::span<const std::string_view> words) {
  if (sent_ == out_.size()) {
    out_.clear();
    sent_ = 0;
  }
  resp::AppendRequest(out_, words);
  ++waiting_;
}

base::Status Link::Lost(const std::string& why) const {
  return base::IoError("lost the connection to " + Name() + " (" + why + ")");
}

base::Status Link::Pump(int64_t wait_ms, base::FunctionRef<void(resp::Value&&)> take) {
  const bool sending = unsent() > 0;
  const bool here = stream_->pending();
  pollfd fd{.fd = stream_->fd(),
            .events = stream_->Events(static_cast<short>(POLLIN | (sending ? POLLOUT : 0))),
            .revents = 0};
  const int ready = ::poll(&fd, 1, here ? 0 : static_cast<int>(wait_ms));
  if (ready < 0 && errno != EINTR) return Lost(std::strerror(errno));
  if (ready <= 0 && !here) return {};
  if (sending && (fd.revents & POLLOUT) != 0) {
    const ssize_t n = stream_->Send(out_.data() + sent_, unsent());
    if (n < 0 && !cli::IsTransient(errno)) return Lost(stream_->Error());
    if (n > 0) sent_ += static_cast<size_t>(n);
    // What is sent goes, once it is the larger part.
    if (sent_ > out_.size() / 2) {
      out_.erase(0, sent_);
      sent_ = 0;
    }
  }
  if ((fd.revents & (POLLIN | POLLHUP | POLLERR)) == 0 && !here) return {};
  char buffer[64 << 10];
  const ssize_t n = stream_->Receive(buffer, sizeof buffer);
  if (n == 0) return Lost("it was closed");
  if (n < 0) return cli::IsTransient(errno) ? base::Status() : Lost(stream_->Error());
  reader_.Feed({buffer, static_cast<size_t>(n)});
  for (;;) {
    switch (reader_.Next()) {
      case resp::ReplyReader::State::kNeedMore:
        return {};
      case resp::ReplyReader::State::kError:
        return base::Invalid(Name() + " does not speak the Redis protocol: is this a client port?");
      case resp::ReplyReader::State::kValue:
        if (waiting_ == 0) return Lost(cli::Printable(reader_.value().text));
        --waiting_;
        take(std::move(reader_.value()));
    }
  }
}

base::Result<std::vector<resp::Value>> Link::Collect() {
  std::vector<resp::Value> replies;
  int64_t heard = cli::MonotonicMs();
  size_t left = unsent();
  while (waiting_ > 0) {
    const size_t before = waiting_;
    if (base::Status s =
            Pump(1000, [&](resp::Value&& reply) { replies.push_back(std::move(reply)); });
        !s.ok())
      return s;
    const int64_t now = cli::MonotonicMs();
    if (waiting_ != before || unsent() != left) heard = now;
    left = unsent();
    if (now - heard > kReplyMs) return Lost("no answer within " + cli::HumanMillis(kReplyMs));
  }
  return replies;
}

base::Result<resp::Value> Link::Ask(std::initializer_list<std::string_view> words) {
  Put(words);
  auto replies = Collect();
  if (!replies.ok()) return replies.status();
  resp::Value& reply = replies->back();
  if (reply.is_error()) return base::Invalid(cli::Printable(reply.text));
  return std::move(reply);
}

}  // namespace polyarch::moving
