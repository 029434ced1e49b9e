#include "net/http.h"

#include <algorithm>
#include <cerrno>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace polyarch::net {
namespace {

bool IsTransient(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

std::string Refusal(std::string_view status, std::string_view extra = "") {
  std::string text = "HTTP/1.1 ";
  text.append(status).append("\r\n").append(extra);
  text.append("Content-Type: text/plain\r\nContent-Length: ");
  text.append(std::to_string(status.size() + 1)).append("\r\nConnection: close\r\n\r\n");
  return text.append(status).append("\n");
}

}  // namespace

void HttpPort::Accept(Fd fd) {
  // Beyond the budget the connection just closes: whoever scrapes comes again.
  if (connections_.size() >= context_.options.http_connections_max) return;
  auto connection = std::make_unique<HttpConnection>();
  connection->fd = std::move(fd);
  connection->deadline_us = context_.now.mono_us + context_.options.http_deadline_ms * 1000LL;
  if (poller_.Add(*connection, EPOLLIN)) connections_.push_back(std::move(connection));
}

void HttpPort::OnEvent(HttpConnection& connection) {
  if (connection.dead) return;
  if (connection.lingering) {
    char discard[4096];
    ssize_t got = ::read(connection.fd.get(), discard, sizeof discard);
    if (got == 0 || (got < 0 && !IsTransient(errno))) Kill(connection);
  } else if (connection.out.empty()) {
    Read(connection);
  } else {
    Write(connection);
  }
}

void HttpPort::Read(HttpConnection& connection) {
  char bytes[kRequestBytesMax];
  ssize_t got = ::read(connection.fd.get(), bytes, sizeof bytes);
  if (got <= 0) {
    if (got == 0 || !IsTransient(errno)) Kill(connection);
    return;
  }
  connection.in.append(bytes, static_cast<size_t>(got));
  if (connection.in.find("\r\n\r\n") != std::string::npos &&
      connection.in.find("\r\n\r\n") + 4 <= kRequestBytesMax) {
    connection.out = Respond(connection.in);
  } else if (connection.in.size() >= kRequestBytesMax) {
    connection.out = Refusal("431 Request Header Fields Too Large");
  } else {
    return;
  }
  Write(connection);
}

std::string HttpPort::Respond(std::string_view request) {
  ++context_.stats.http_requests;
  std::string_view line = request.substr(0, request.find("\r\n"));
  size_t first = line.find(' ');
  size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last ||
      !line.substr(last + 1).starts_with("HTTP/1.")) {
    return Refusal("400 Bad Request");
  }
  const std::string_view method = line.substr(0, first);
  if (method != "GET" && method != "HEAD")
    return Refusal("405 Method Not Allowed", "Allow: GET, HEAD\r\n");
  std::string_view path = line.substr(first + 1, last - first - 1);
  if (!path.starts_with('/') || path.find(' ') != std::string_view::npos) {
    return Refusal("400 Bad Request");
  }
  std::string response = context_.service.OnHttpGet(path);
  if (response.empty()) response = Refusal("404 Not Found");
  // HEAD, as load balancers ask: the same without the body.
  if (method == "HEAD") response.resize(std::min(response.size(), response.find("\r\n\r\n") + 4));
  return response;
}

void HttpPort::Write(HttpConnection& connection) {
  std::string_view rest = std::string_view(connection.out).substr(connection.sent);
  ssize_t sent = ::send(connection.fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
  if (sent < 0) {
    if (!IsTransient(errno)) return Kill(connection);
    sent = 0;
  }
  connection.sent += static_cast<size_t>(sent);
  if (connection.sent < connection.out.size()) return poller_.Want(connection, EPOLLOUT);
  connection.lingering = true;
  static_cast<void>(::shutdown(connection.fd.get(), SHUT_WR));
  poller_.Want(connection, EPOLLIN);
}

void HttpPort::Kill(HttpConnection& connection) {
  connection.dead = true;
  ++dead_;
}

void HttpPort::Sweep() {
  for (auto& connection : connections_) {
    if (!connection->dead && context_.now.mono_us > connection->deadline_us) Kill(*connection);
  }
}

void HttpPort::Reap() {
  if (dead_ == 0) return;
  connections_.remove_if([](const auto& connection) { return connection->dead; });
  dead_ = 0;
}

}  // namespace polyarch::net
