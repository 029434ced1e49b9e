#include "cli/connection.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "cli/dial.h"
#include "cli/text.h"

namespace polyarch::cli {

namespace {

int64_t Deadline(int64_t timeout_ms) {
  return timeout_ms == Connection::kForever ? kNoDeadline : MonotonicMs() + timeout_ms;
}

// %41 as A. Nothing for a malformed escape.
std::optional<std::string> Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    unsigned value = 0;
    if (i + 2 >= text.size()) return std::nullopt;
    const auto [end, error] = std::from_chars(&text[i + 1], &text[i + 1] + 2, value, 16);
    if (error != std::errc() || end != &text[i + 1] + 2) return std::nullopt;
    out.push_back(static_cast<char>(value));
    i += 2;
  }
  return out;
}

bool ToInt(std::string_view text, int low, int high, int& into) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high)
    return false;
  into = value;
  return true;
}

}  // namespace

std::string Target::Name() const {
  const bool six = host.find(':') != std::string::npos;
  return (six ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

base::Status ParseUri(std::string_view uri, Target& target) {
  const auto bad = [](const std::string& why) {
    return base::Invalid(why + ": a URI is redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], or rediss://... for TLS");
  };
  const bool tls = uri.starts_with("rediss://");
  if (!tls && !uri.starts_with("redis://"))
    return bad("'" + Printable(uri.substr(0, 16)) + "' is no URI of a leader");
  uri.remove_prefix(tls ? 9 : 8);
  Target out = target;
  if (tls) out.tls = true;
  const size_t at = uri.rfind('@');
  if (at != std::string_view::npos) {
    std::string_view credentials = uri.substr(0, at);
    uri.remove_prefix(at + 1);
    const size_t colon = credentials.find(':');
    if (colon == std::string_view::npos) return bad("a user without a password");
    auto user = Unescape(credentials.substr(0, colon));
    auto password = Unescape(credentials.substr(colon + 1));
    if (!user || !password) return bad("a '%' without two hexadecimal digits");
    out.user = *user;
    out.password = *password;
  }
  const size_t slash = uri.find('/');
  if (slash != std::string_view::npos) {
    const std::string_view database = uri.substr(slash + 1);
    if (!database.empty() && !ToInt(database, 0, 15, out.database))
      return bad("a database is 0 to 15");
    uri = uri.substr(0, slash);
  }
  std::string_view host = uri;
  std::string_view port;
  if (host.starts_with('[')) {
    const size_t close = host.find(']');
    if (close == std::string_view::npos) return bad("a '[' without ']'");
    const std::string_view rest = host.substr(close + 1);
    if (!rest.empty() && rest.front() != ':') return bad("a port comes after ':'");
    if (!rest.empty()) port = rest.substr(1);
    host = host.substr(1, close - 1);
  } else if (const size_t colon = host.rfind(':'); colon != std::string_view::npos) {
    port = host.substr(colon + 1);
    host = host.substr(0, colon);
    if (port.empty()) return bad("a ':' without a port");
  }
  if (!port.empty() && !ToInt(port, 1, 65535, out.port)) return bad("a port is 1 to 65535");
  if (!host.empty()) out.host = host;
  target = std::move(out);
  return {};
}

base::Result<std::unique_ptr<Connection>> Connection::Open(const Target& target) {
  auto stream = Dial(target);
  if (!stream.ok()) {
    if (stream.status().code() == base::Code::kNotFound)
      return base::IoError(stream.status().message() + ": give another -h");
    return base::IoError("cannot reach a leader at " + target.Name() + " (" + stream.status().message() +
                         "): is it running? Give its port with -p, its host with -h");
  }
  std::unique_ptr<Connection> connection(new Connection(target, std::move(*stream)));
  if (base::Status s = connection->Greet(); !s.ok()) return s;
  return connection;
}

base::Status Connection::Greet() {
  auto reply = target_.password.empty()
                   ? Ask({"HELLO", "3"})
                   : Ask({"HELLO",
                          "3",
                          "AUTH",
                          target_.user.empty() ? std::string_view("default") : target_.user,
                          target_.password});
  if (!reply.ok()) return reply.status();
  if (reply->is_error()) {
    const std::string& text = reply->text;
    if (text.starts_with("NOAUTH")) {
      return base::Invalid(target_.Name() +
                           " needs a password: set POLYARCH_PASSWORD, or give -a PASSWORD");
    }
    if (text.starts_with("WRONGPASS")) {
      return base::Invalid(target_.Name() +
                           " refuses the password: check POLYARCH_PASSWORD, POLYARCH_USER, -a, --user or the URI");
    }
    if (text.starts_with("LOADING")) return base::Invalid(target_.Name() + " reads its data still: try again in a moment");
    return base::Invalid(target_.Name() + " is no leader that speaks RESP3 (" + Printable(text) +
                         ")");
  }
  if (target_.database == 0) return {};
  return Call({"SELECT", std::to_string(target_.database)}).status();
}

base::Status Connection::Wait(short events, int64_t deadline_ms) {
  base::Status status = WaitFor(*stream_, events, deadline_ms);
  if (status.code() != base::Code::kBusy) return status;
  return base::Status(base::Code::kBusy, "no answer within " + HumanMillis(target_.timeout_ms));
}

base::Status Connection::Send(std::string_view bytes, int64_t deadline_ms) {
  base::Status status = SendAll(*stream_, bytes.data(), bytes.size(), deadline_ms);
  if (status.code() != base::Code::kBusy) return status;
  return base::Status(base::Code::kBusy, "no answer within " + HumanMillis(target_.timeout_ms));
}

base::Result<resp::Value> Connection::Ask(std::span<const std::string_view> arguments,
                                          int64_t timeout_ms) {
  const auto lost = [this](const base::Status& status) {
    if (status.code() == base::Code::kBusy) {
      return base::IoError(
          target_.Name() + " gives " + status.message() +
          ": it is stopped or overloaded; see its log, or give a longer --timeout" +
          (answered_ ? "" : ". Or is this not a leader's client port? Peer and HTTP ports are others"));
    }
    if (!answered_) {
      return base::IoError(target_.Name() + " ended the connection without an answer (" + status.message() +
                           "): is this a leader's client port? Peer and HTTP ports are others" +
                           (target_.tls ? "" : ", and one for TLS needs --tls"));
    }
    return base::IoError("lost the connection to " + target_.Name() + " (" + status.message() +
                         "): see the leader's log");
  };
  const int64_t deadline = Deadline(timeout_ms);
  std::string request;
  resp::AppendRequest(request, arguments);
  if (base::Status s = Send(request, deadline); !s.ok()) return lost(s);
  size_t received = 0;
  std::vector<char> buffer(64 << 10);
  for (;;) {
    switch (reader_.Next()) {
      case resp::ReplyReader::State::kValue:
        answered_ = true;
        if (reader_.value().type == resp::Value::Type::kPush) continue;
        return std::move(reader_.value());
      case resp::ReplyReader::State::kError:
        return base::Invalid(target_.Name() +
                             " does not speak the Redis protocol: is this a leader's client port?");
      case resp::ReplyReader::State::kNeedMore:
        break;
    }
    if (received > kReplyBytesMax)
      return base::Invalid("the reply of " + target_.Name() + " is too long: ask for less");
    const ssize_t n = stream_->Receive(buffer.data(), buffer.size());
    if (n > 0) {
      received += static_cast<size_t>(n);
      reader_.Feed({buffer.data(), static_cast<size_t>(n)});
      continue;
    }
    if (n == 0) return lost(base::IoError("it was closed"));
    if (!IsTransient(errno)) return lost(base::IoError(stream_->Error()));
    if (base::Status s = Wait(POLLIN, deadline); !s.ok()) return lost(s);
  }
}

base::Result<resp::Value> Connection::Call(std::span<const std::string_view> arguments,
                                           int64_t timeout_ms) {
  auto reply = Ask(arguments, timeout_ms);
  if (!reply.ok() || !reply->is_error()) return reply;
  std::string_view text = reply->text;
  if (text.starts_with("ERR unknown command") || text.starts_with("ERR unknown subcommand")) {
    return base::Invalid(target_.Name() + " does not know " + std::string(arguments[0]) +
                         (arguments.size() > 1 ? " " + Printable(arguments[1]) : "") +
                         ": is it a Polyarch leader of this version?");
  }
  if (text.starts_with("ERR ")) text.remove_prefix(4);
  return base::Invalid(Printable(text));
}

}  // namespace polyarch::cli
