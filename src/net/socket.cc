#include "net/socket.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cstddef>
#include <cstring>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include "base/number.h"

namespace polyarch::net {

std::string SocketAddress::ToString() const {
  char host[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
    ::inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    return std::string(host) + ":" + std::to_string(port());
  }
  if (storage.ss_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    ::inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    return std::string("[") + host + "]:" + std::to_string(port());
  }
  if (storage.ss_family == AF_UNIX && size > offsetof(sockaddr_un, sun_path)) {
    return std::string(reinterpret_cast<const sockaddr_un*>(&storage)->sun_path) + ":0";
  }
  return "";
}

std::string SocketAddress::Host() const {
  const std::string text = ToString();
  return text.substr(0, text.rfind(':'));
}

int SocketAddress::port() const {
  if (storage.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
  }
  if (storage.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port);
  }
  return 0;
}

bool operator==(const SocketAddress& a, const SocketAddress& b) {
  return a.size == b.size && std::memcmp(&a.storage, &b.storage, a.size) == 0;
}

SocketAddress LocalAddress(int fd) {
  SocketAddress address;
  address.size = sizeof address.storage;
  if (::getsockname(fd, address.get(), &address.size) != 0) address.size = 0;
  return address;
}

SocketAddress RemoteAddress(int fd) {
  SocketAddress address;
  address.size = sizeof address.storage;
  if (::getpeername(fd, address.get(), &address.size) != 0) address.size = 0;
  return address;
}

base::Result<HostPort> ParseHostPort(std::string_view text) {
  size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) {
    return base::Invalid("not host:port: " + std::string(text));
  }
  std::string_view host = text.substr(0, colon);
  std::string_view port = text.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return base::Invalid("write an IPv6 address as [address]:port: " + std::string(text));
  }
  auto number = base::ParseInt64(port);
  if (!number || *number < 1 || *number > 65535) {
    return base::Invalid("not a port: " + std::string(port));
  }
  return HostPort{std::string(host), std::string(port)};
}

base::Result<std::vector<SocketAddress>> Resolve(const HostPort& target, bool numeric) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (numeric ? AI_NUMERICHOST : AI_ADDRCONFIG);
  addrinfo* found = nullptr;
  int error = ::getaddrinfo(target.host.c_str(), target.port.c_str(), &hints, &found);
  if (error != 0) return base::NotFound(target.host + ": " + ::gai_strerror(error));
  std::vector<SocketAddress> addresses;
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    if (a->ai_addrlen > sizeof(sockaddr_storage)) continue;
    SocketAddress& address = addresses.emplace_back();
    std::memcpy(&address.storage, a->ai_addr, a->ai_addrlen);
    address.size = a->ai_addrlen;
  }
  ::freeaddrinfo(found);
  if (addresses.empty()) return base::NotFound(target.host + ": no address");
  return addresses;
}

void SetOption(int fd, int level, int name, int value) {
  // Only tuning goes through here: a kernel that refuses it serves all the same.
  static_cast<void>(::setsockopt(fd, level, name, &value, sizeof value));
}

void SetKeepalive(int fd, int seconds) {
  SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, seconds > 0 ? 1 : 0);
  if (seconds <= 0) return;
  SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, seconds / 3));
  SetOption(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

}  // namespace polyarch::net
