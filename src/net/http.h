// A minimal HTTP/1.1 server for metrics, health and the console: one GET or HEAD of at most 8 KiB, one
// response, then the connection closes. The whole response comes from the service.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "net/context.h"
#include "net/poller.h"

namespace polyarch::net {

struct HttpConnection : Pollable {
  HttpConnection() : Pollable(PollKind::kHttp) {}
  std::string in;
  std::string out;
  size_t sent = 0;
  int64_t deadline_us = 0;
  bool lingering = false;  // all is sent; waits for the client's end, so that nothing is reset
  bool dead = false;
};

class HttpPort {
 public:
  static constexpr size_t kRequestBytesMax = 8 << 10;

  HttpPort(Context& context, Poller& poller) : context_(context), poller_(poller) {}

  void Accept(Fd fd);
  void OnEvent(HttpConnection& connection);
  void Sweep();
  void Reap();
  bool has_work() const { return dead_ != 0; }
  void CloseAll() { connections_.clear(); }

 private:
  void Read(HttpConnection& connection);
  std::string Respond(std::string_view request);
  void Write(HttpConnection& connection);
  void Kill(HttpConnection& connection);

  Context& context_;
  Poller& poller_;
  std::list<std::unique_ptr<HttpConnection>> connections_;
  size_t dead_ = 0;
};

}  // namespace polyarch::net
