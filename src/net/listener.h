// Listening sockets. Their options (no delay, keepalive) are inherited by what they accept, which
// saves those calls for each connection.
#pragma once

#include <string>

#include "base/status.h"
#include "net/poller.h"

namespace polyarch::net {

enum class Serves : uint8_t { kClients, kTlsClients, kUnixClients, kPeers, kHttp };

struct Listener : Pollable {
  Listener() : Pollable(PollKind::kListener) {}
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  Serves serves = Serves::kClients;
  std::string unix_path;  // removed at the end
  bool paused = false;    // accepting failed in a way that would make the loop spin
};

// Binds and listens; port 0 is any. Errors name the address, the cause and the remedy.
base::Result<Fd> ListenTcp(const std::string& host, int port, Serves serves, int keepalive_s);
// Replaces a socket file that nobody serves. The file has `mode` from its first moment on
// (CVE-2023-45145).
base::Result<Fd> ListenUnix(const std::string& path, unsigned mode);

}  // namespace polyarch::net
