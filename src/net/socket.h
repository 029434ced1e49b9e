// Small helpers over the socket calls: addresses as text and as bytes, and the text of errors.
#pragma once

#include <string>
#include <string_view>
#include <sys/socket.h>
#include <vector>

#include "base/status.h"
#include "net/poller.h"

namespace polyarch::net {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  // "127.0.0.1:7001", "[::1]:7001"; empty for an unnamed unix socket.
  std::string ToString() const;
  std::string Host() const;  // the same without the port
  int port() const;
  friend bool operator==(const SocketAddress& a, const SocketAddress& b);
};

SocketAddress LocalAddress(int fd);
SocketAddress RemoteAddress(int fd);

struct HostPort {
  std::string host;
  std::string port;
};
// "host:port" or "[v6]:port".
base::Result<HostPort> ParseHostPort(std::string_view text);

// The addresses of a host. `numeric`: an address as digits only, which never blocks; otherwise the
// system's resolver is asked, which may.
base::Result<std::vector<SocketAddress>> Resolve(const HostPort& target, bool numeric);

void SetOption(int fd, int level, int name, int value);
void SetKeepalive(int fd, int seconds);

}  // namespace polyarch::net
