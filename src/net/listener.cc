#include "net/listener.h"

#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "net/socket.h"

namespace polyarch::net {
namespace {

constexpr int kBacklog = 4096;  // the kernel lowers it to net.core.somaxconn

const char* Flag(Serves serves) {
  switch (serves) {
    case Serves::kClients:
      return "--port";
    case Serves::kTlsClients:
      return "--tls-port";
    case Serves::kUnixClients:
      return "--unix-socket";
    case Serves::kPeers:
      return "--peer-port";
    case Serves::kHttp:
      return "--http-port";
  }
  return "";
}

base::Status ListenError(const std::string& host, int port, Serves serves, int error) {
  std::string number = std::to_string(port);
  std::string flag = Flag(serves);
  switch (error) {
    case EADDRINUSE:
      return {base::Code::kBusy,
              "port " + number + " is in use on " + host +
                  ": stop what listens there or choose another with " + flag};
    case EADDRNOTAVAIL:
      return base::Invalid("this machine has no address " + host +
                           ": give one of its own, or 0.0.0.0 for all, with --bind");
    case EACCES:
      return base::Invalid("port " + number + " on " + host +
                           " is not allowed to this user: choose one above 1023 with " + flag);
    default:
      return base::IoError("cannot listen on " + host + " port " + number + " (" + std::strerror(error) +
                           "): choose another address, or another port with " + flag);
  }
}

// Something answers on the socket file.
bool IsServed(const SocketAddress& address) {
  Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return probe.ok() &&
         (::connect(probe.get(), address.get(), address.size) == 0 || errno == EAGAIN);
}

}  // namespace

Listener::~Listener() {
  if (!unix_path.empty()) static_cast<void>(::unlink(unix_path.c_str()));
}

base::Result<Fd> ListenTcp(const std::string& host, int port, Serves serves, int keepalive_s) {
  HostPort target{host, std::to_string(port)};
  auto addresses = Resolve(target, /*numeric=*/true);
  if (!addresses.ok()) addresses = Resolve(target, /*numeric=*/false);
  if (!addresses.ok()) {
    return base::Invalid("cannot listen on " + host +
                         ": it is no address and no name of this machine (" +
                         addresses.status().message() + "); correct --bind");
  }
  const SocketAddress& address = addresses->front();
  Fd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.ok()) return ListenError(host, port, serves, errno);
  SetOption(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  SetOption(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  if (address.storage.ss_family == AF_INET6) SetOption(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
  SetKeepalive(fd.get(), keepalive_s);
  if (::bind(fd.get(), address.get(), address.size) != 0 || ::listen(fd.get(), kBacklog) != 0) {
    return ListenError(host, port, serves, errno);
  }
  return fd;
}

base::Result<Fd> ListenUnix(const std::string& path, unsigned mode) {
  SocketAddress address;
  auto* un = reinterpret_cast<sockaddr_un*>(&address.storage);
  un->sun_family = AF_UNIX;
  if (path.size() >= sizeof un->sun_path) {
    return base::Invalid("unix socket path " + path + " is too long: at most " +
                         std::to_string(sizeof un->sun_path - 1) + " bytes, see --unix-socket");
  }
  std::memcpy(un->sun_path, path.c_str(), path.size() + 1);
  address.size = sizeof(sockaddr_un);

  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) {
      return base::Invalid(path + " exists and is no socket: choose another with --unix-socket");
    }
    if (IsServed(address)) {
      return base::Status(base::Code::kBusy,
                          "unix socket " + path +
                              " is in use: stop what listens there or choose "
                              "another with --unix-socket");
    }
    static_cast<void>(::unlink(path.c_str()));
  }
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.ok()) {
    return base::IoError("cannot make the unix socket " + path + " (" + std::strerror(errno) +
                         "): raise the limit of open files, or leave out --unix-socket");
  }
  mode_t before = ::umask(static_cast<mode_t>(~mode & 0777));
  bool bound = ::bind(fd.get(), address.get(), address.size) == 0;
  int error = errno;
  ::umask(before);
  if (bound && ::listen(fd.get(), kBacklog) == 0) return fd;
  if (bound) error = errno;
  return base::IoError("cannot listen on unix socket " + path + " (" + std::strerror(error) +
                       "): choose a path with --unix-socket whose directory is there and may be written to");
}

}  // namespace polyarch::net
