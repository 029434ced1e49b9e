#include "net/handshakes.h"

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <sys/socket.h>
#include <utility>

namespace polyarch::net {
namespace {

constexpr char kTlsHandshakeByte = '\x16';
constexpr std::string_view kPlainClient =
    "-ERR this port speaks TLS only; connect with TLS (redis-cli --tls), or to the port without\r\n";
// A fatal alert of TLS 1.2, protocol_version: a leader that dialed without TLS knows it by its first bytes.
constexpr std::string_view kPlainPeer = {"\x15\x03\x03\x00\x02\x02\x46", 7};

bool IsTransient(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

}  // namespace

void Handshakes::Accept(Fd fd, const SocketAddress& remote, bool peer) {
  auto owned = std::make_unique<Handshake>();
  Handshake& handshake = *owned;
  handshake.peer = peer;
  handshake.remote = remote;
  handshake.tls = Tls::Accept(peer ? context_.tls_peers : context_.tls_clients, fd.get());
  handshake.fd = std::move(fd);
  handshake.deadline_us = context_.now.mono_us + context_.options.tls_handshake_ms * 1000LL;
  if (handshake.tls == nullptr || !poller_.Add(handshake, EPOLLIN)) {
    ++context_.stats.accept_errors;
    return;
  }
  ++(peer ? peers_ : clients_);
  handshakes_.push_back(std::move(owned));
}

// An honest one is done within some round trips, so that it is rarely among the oldest. One that has said something goes as
// well as one that has not: a stranger's single byte would else keep its place, and cost the newest one its own.
bool Handshakes::DropOldest(bool peer) {
  const auto first = std::find_if(handshakes_.begin(), handshakes_.end(), [&](const auto& handshake) {
    return !handshake->dead && handshake->peer == peer;
  });
  if (first == handshakes_.end()) return false;
  Handshake* oldest = first->get();
  Refuse(*oldest, "no handshake of TLS, and too many others wait for theirs");
  // Its file, at once: the newcomer has one, too.
  oldest->tls.reset();
  oldest->fd.Reset();
  return true;
}

void Handshakes::OnEvent(Handshake& handshake) {
  if (handshake.dead) return;
  if (!handshake.begun) {
    char first = 0;
    const ssize_t got = ::recv(handshake.fd.get(), &first, 1, MSG_PEEK);
    if (got < 0 && IsTransient(errno)) return;
    // It came and went, as what looks whether a port is open does.
    if (got <= 0) return Kill(handshake);
    if (first != kTlsHandshakeByte) return RefusePlain(handshake);
    handshake.begun = true;
  }
  switch (handshake.tls->Handshake()) {
    case Tls::Progress::kUnderWay:
      return poller_.Want(handshake, handshake.tls->handshake_events());
    case Tls::Progress::kFailed:
      return Refuse(handshake, handshake.tls->error());
    case Tls::Progress::kDone:
      break;
  }
  ++context_.stats.tls_handshakes;
  poller_.Remove(handshake);
  Kill(handshake);
  done_(handshake);
}

void Handshakes::RefusePlain(Handshake& handshake) {
  const std::string_view answer = handshake.peer ? kPlainPeer : kPlainClient;
  static_cast<void>(::send(handshake.fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  Refuse(handshake,
         handshake.peer ? "it does not speak TLS, as this leader's peers must: start it with --tls-peers yes"
                        : "it does not speak TLS, as the port of --tls-port does: connect with TLS, or to --port");
}

void Handshakes::Refuse(Handshake& handshake, const std::string& why) {
  ++context_.stats.tls_handshakes_failed;
  context_.service.OnRefused(
      "", (handshake.peer ? "a peer at " : "a client at ") + handshake.remote.Host() + " is refused: " + why);
  Kill(handshake);
  // Closing with unread input would reset the connection, and the other end might lose what it was told.
  static_cast<void>(
      ::recv(handshake.fd.get(), context_.scratch.get(), Context::kScratchBytes, MSG_DONTWAIT));
}

void Handshakes::Kill(Handshake& handshake) {
  if (handshake.dead) return;
  handshake.dead = true;
  ++dead_;
  --(handshake.peer ? peers_ : clients_);
}

void Handshakes::Sweep() {
  for (auto& handshake : handshakes_) {
    if (handshake->dead || context_.now.mono_us < handshake->deadline_us) continue;
    Refuse(*handshake,
           "no handshake of TLS within " + std::to_string(context_.options.tls_handshake_ms) + " ms");
  }
}

void Handshakes::Reap() {
  if (dead_ == 0) return;
  handshakes_.remove_if([](const auto& handshake) { return handshake->dead; });
  dead_ = 0;
}

}  // namespace polyarch::net
