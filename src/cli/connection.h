// One connection to a leader: blocking, RESP3, with time limits, one command at a time. Errors are
// one line with cause and remedy. Replies are bounded: a server is not trusted with our memory.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "cli/dial.h"
#include "resp/reply.h"

namespace polyarch::cli {

struct Target {
  std::string host = "127.0.0.1";
  int port = 7400;
  std::string user;  // empty: "default"
  std::string password;
  int database = 0;
  int64_t timeout_ms = 5000;
  bool tls = false;
  std::string ca_cert;      // a file; empty: the CAs that the machine trusts
  std::string cert;         // with `key`: shown to the server; empty: none
  std::string key;
  std::string server_name;  // that the server's certificate must be for; empty: `host`
  bool insecure = false;    // its certificate may be anybody's

  std::string Name() const;  // "127.0.0.1:7001"
};

// redis://[[user]:password@]host[:port][/db], or rediss:// for TLS; what the URI does not say stays as it is in `target`.
// kInvalid with a line for the user.
base::Status ParseUri(std::string_view uri, Target& target);

class Connection {
 public:
  static constexpr size_t kReplyBytesMax = 256 << 20;
  static constexpr int64_t kForever = -1;

  // Connects, authenticates, selects the database.
  static base::Result<std::unique_ptr<Connection>> Open(const Target& target);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // The reply, which may be an error of the server. A failed Status ends the connection.
  base::Result<resp::Value> Ask(std::span<const std::string_view> arguments, int64_t timeout_ms);
  base::Result<resp::Value> Ask(std::initializer_list<std::string_view> arguments) {
    return Ask({arguments.begin(), arguments.size()}, target_.timeout_ms);
  }
  // The same, and an error of the server is a kInvalid.
  base::Result<resp::Value> Call(std::span<const std::string_view> arguments, int64_t timeout_ms);
  base::Result<resp::Value> Call(std::initializer_list<std::string_view> arguments) {
    return Call({arguments.begin(), arguments.size()}, target_.timeout_ms);
  }

  const Target& target() const { return target_; }

 private:
  Connection(Target target, std::unique_ptr<Stream> stream) : target_(std::move(target)), stream_(std::move(stream)) {}
  base::Status Wait(short events, int64_t deadline_ms);
  base::Status Send(std::string_view bytes, int64_t deadline_ms);
  base::Status Greet();

  const Target target_;
  std::unique_ptr<Stream> stream_;
  resp::ReplyReader reader_;
  bool answered_ = false;  // something that is RESP has come
};

}  // namespace polyarch::cli
