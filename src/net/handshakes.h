// Connections that came by TLS and are neither clients nor links yet: their handshakes, each within its time. What is
// wrong with one closes that one, and is told in one line.
//
// A handshake lives until Reap, as a client does (net/clients.h).
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "net/context.h"
#include "net/poller.h"
#include "net/socket.h"
#include "net/tls.h"

namespace polyarch::net {

struct Handshake : Pollable {
  Handshake() : Pollable(PollKind::kHandshake) {}
  bool peer = false;  // else a client
  SocketAddress remote;
  std::unique_ptr<Tls> tls;
  int64_t deadline_us = 0;
  bool begun = false;  // its first byte is one of TLS
  bool dead = false;
};

class Handshakes {
 public:
  // `done` gets who has shaken hands, and takes the socket and the Tls over.
  Handshakes(Context& context, Poller& poller, std::function<void(Handshake&)> done)
      : context_(context), poller_(poller), done_(std::move(done)) {}

  size_t clients() const { return clients_; }
  size_t peers() const { return peers_; }
  void Accept(Fd fd, const SocketAddress& remote, bool peer);
  // Makes room for another one: the oldest goes. False: there is none.
  bool DropOldest(bool peer);
  void OnEvent(Handshake& handshake);
  void Sweep();
  void Reap();
  bool has_work() const { return dead_ != 0; }
  void CloseAll() { handshakes_.clear(); }

 private:
  void RefusePlain(Handshake& handshake);
  void Refuse(Handshake& handshake, const std::string& why);
  void Kill(Handshake& handshake);

  Context& context_;
  Poller& poller_;
  const std::function<void(Handshake&)> done_;
  std::list<std::unique_ptr<Handshake>> handshakes_;
  size_t clients_ = 0;  // that live
  size_t peers_ = 0;
  size_t dead_ = 0;
};

}  // namespace polyarch::net
