// Connections between peers: messages over TCP, in order, each whole or not at all, framed as
// net/framing.h says. What the messages mean is the service's affair. A violation (size, checksum, backlog, silence before the first message)
// closes the link and counts; the service dials again when it likes.
//
// A link lives until Reap, as a client does (net/clients.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/context.h"
#include "net/framing.h"
#include "net/poller.h"
#include "net/resolver.h"
#include "net/service.h"
#include "net/socket.h"
#include "net/tls.h"
#include "resp/buffer.h"

namespace polyarch::net {

struct Link : Pollable {
  Link() : Pollable(PollKind::kLink) {}

  LinkId id = 0;
  std::string dialed;  // as given to Dial; empty if the peer dialed us
  std::string remote;  // its address
  std::unique_ptr<Tls> tls;  // null: without, or not connected yet
  resp::Buffer in;
  resp::Buffer out;
  size_t missing = 0;                    // bytes that the message under way lacks; 0: unknown
  int64_t deadline_us = 0;               // of the connect, or of the first message; 0: none
  int64_t address_deadline_us = 0;       // while connecting and more addresses follow: of this one
  std::vector<SocketAddress> addresses;  // while connecting: what there is to try, in this order
  size_t next_address = 0;

  bool up = false;
  bool trusted = false;  // it has sent a message, so it is a peer and no stray client
  bool blocked = false;
  bool dead = false;
  bool in_writes = false;
  bool broken = false;      // nothing can be sent any more; what came before that is read still
  bool half_closed = false;
  bool in_pending = false;
};

class Links {
 public:
  // `wake` as Loop::Wake: called when a name lookup is done.
  Links(Context& context, Poller& poller, std::function<void()> wake);

  size_t size() const { return links_.size(); }
  // `tls`: null, or with its handshake done.
  void Accept(Fd fd, const SocketAddress& remote, std::unique_ptr<Tls> tls);
  void OnEvent(Link& link, uint32_t events);
  // Starts what Dial asked for and reports lookups. Inside the tick.
  void RunDials();
  // Those that wait for an address in vain try the next one. Behind the events of a tick, which may be of the one before.
  void TryFurther();
  // Reads what TLS holds already, of which the sockets do not tell.
  void ReadPending();
  void Sweep();
  void Reap();
  // Writes what this tick gathered; one call of the kernel for each link.
  void Flush();
  bool has_work() const { return !dials_.empty() || !dead_.empty() || !pending_.empty(); }
  // Before the end, again and again: lets leave what was sent, says that nothing more comes, and tells whether a
  // neighbour's machine still lacks any of it. What a neighbour sends meanwhile is dropped.
  bool Drain();
  void CloseAll();

  // As RunDials, of a name whose addresses are known.
  void Connect(std::string address, std::vector<SocketAddress> addresses);
  void Dial(std::string address) { dials_.push_back(std::move(address)); }
  void Send(LinkId id, std::string_view message);
  size_t Backlog(LinkId id) const;
  void Close(LinkId id);
  std::string Refusal(LinkId id, std::string_view leader) const;

 private:
  Link* Find(LinkId id) const;
  void DialFailed(const std::string& address, std::string reason);
  // Tries the next address; OnDialFailed if there is none.
  void TryNext(Link& link, std::string reason);
  void OnConnected(Link& link);
  // Goes on with the handshake of one that was dialed.
  void Shake(Link& link);
  void Dialed(Link& link);
  void NotePending(Link& link);
  void UpdateInterest(Link& link);
  void TellTlsError(const Link& link);
  void NoteTried(const Link& link);
  void Up(Link& link);
  void Read(Link& link);
  // Hands complete messages over; the count of bytes that are done with.
  size_t Deliver(Link& link, std::string_view input);
  void Write(Link& link);
  // Closes for a violation.
  void Fail(Link& link);
  void Kill(Link& link);

  Context& context_;
  Poller& poller_;
  Resolver resolver_;
  LinkId next_id_ = 1;
  std::map<LinkId, std::unique_ptr<Link>> links_;
  std::vector<std::string> dials_;
  // By dialed name with several addresses: behind which of them the next dial begins.
  std::map<std::string, SocketAddress> tried_;
  std::vector<Link*> writes_;
  std::vector<Link*> pending_;  // TLS holds bytes of theirs
  std::vector<Link*> dead_;
};

}  // namespace polyarch::net
