// What the event loop serves, and what it offers back. The loop (net/loop.h) knows sockets, bytes
// and time; it knows no command, key or frame. A Service is told of clients, commands and peer
// messages, always on the loop's one thread, and always inside a tick:
//
//   TickBegin, then any number of Execute / OnLink* / OnTimer, then TickEnd, then all replies
//   leave.
//
// Replies and durability. Execute says whether the reply must wait for the log (`held`). After
// TickEnd the loop asks hold_position() once; replies from the first held one of each connection on
// leave when durable_position() has reached that value. Replies of one connection stay in order. A
// thread that makes the log durable calls Loop::Wake() (thread-safe). durable_position() is also
// asked outside of ticks, when the loop stops.
//
// Every OpenClient is followed by one CloseClient, and every OnLinkUp by one OnLinkDown, except for
// what is still open when Loop::Run returns. They come inside a tick and never from within another
// call of the service (ClientIsDead may).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "resp/buffer.h"

namespace polyarch::net {

struct Clocks {
  int64_t wall_ms = 0;  // since 1970
  int64_t mono_us = 0;  // never goes back; for timeouts and intervals
  int64_t busy_us = 0;  // how long the tick before this one took
};

using ClientId = uint64_t;
using LinkId = uint64_t;

// The service's state for one client connection; owned by the connection.
class Session {
 public:
  virtual ~Session() = default;
};

enum class Outcome : uint8_t {
  kReplied,    // the reply (possibly empty) is in the buffer
  kHeld,       // the same, but it may leave only when this tick's log position is durable
  kSuspended,  // nothing is in the buffer; run the same command again after Control::Resume(client)
  kClose,      // the reply is in the buffer; close the connection after it has left
  kHeldClose,  // both
};

class Service {
 public:
  virtual ~Service() = default;

  virtual void TickBegin(const Clocks& now) = 0;
  virtual void TickEnd() = 0;
  virtual uint64_t hold_position() const = 0;
  virtual uint64_t durable_position() const = 0;

  virtual std::unique_ptr<Session> OpenClient(ClientId id,
                                              std::string address,
                                              std::string local_address) = 0;
  virtual void CloseClient(ClientId id, Session& session) = 0;
  // The connection is dead, nothing reaches it any more: CloseClient follows at the end of the tick. May come from within
  // any call, Execute for this client too: only to be noted.
  virtual void ClientIsDead(Session& /*session*/) {}
  // `arguments` (at least one) are views into the connection's input, valid during the call only.
  virtual Outcome Execute(ClientId id,
                          Session& session,
                          std::span<const std::string_view> arguments,
                          resp::Buffer& out) = 0;
  // A client's turn: requests that it has sent, one behind the other. LastOfTurn comes before the Execute of the last
  // one, if it is known to be. Turns may be within each other: what a command wakes runs behind it.
  virtual void TurnBegin() {}
  virtual void LastOfTurn() {}
  virtual void TurnEnd() {}
  // True once the client may use the full limits (before, net applies the pre-authentication ones).
  virtual bool IsAuthenticated(const Session& session) const = 0;
  // It has subscribed to something: it may be silent for as long as it likes.
  virtual bool Listens(const Session& /*session*/) const { return false; }

  // A peer link is up: `dialed` is the address given to Control::Dial, or empty if the peer dialed
  // us.
  virtual void OnLinkUp(LinkId link, std::string dialed, std::string remote_address) = 0;
  virtual void OnLinkMessage(LinkId link, std::string_view message) = 0;
  // A part of a message has come: the peer is alive, and a large message takes its time.
  virtual void OnLinkPart(LinkId /*link*/) {}
  virtual void OnLinkDown(LinkId link) = 0;
  // A message could not be sent and the link is closed for it; why, for people. OnLinkDown follows.
  virtual void OnSendRefused(LinkId /*link*/, std::string /*reason*/) {}
  virtual void OnDialFailed(std::string address, std::string reason) = 0;

  // A connection was closed before it became a client or a link, or later, for what TLS found wrong: one line for people.
  // `dialed` as in OnLinkUp. Anybody who can reach a port can cause it, as often as he likes.
  virtual void OnRefused(const std::string& /*dialed*/, const std::string& /*line*/) {}

  // Called in every tick, at least every `timer_ms` (LoopOptions); cheap.
  virtual void OnTimer() = 0;
  // The answer to one HTTP GET (path with query) on the HTTP port: a whole response with headers.
  virtual std::string OnHttpGet(std::string_view path) = 0;
};

// What a Service may ask of the loop, on the loop's thread.
class Control {
 public:
  virtual ~Control() = default;
  // Sends one message to a peer; dropped silently if the link is down.
  virtual void SendToLink(LinkId link, std::string_view message) = 0;
  // Bytes accepted for the link but not yet taken by the kernel.
  virtual size_t LinkBacklog(LinkId link) const = 0;
  virtual void CloseLink(LinkId link) = 0;
  // Why the peer of this link cannot be the leader of that name, as its certificate tells; for people. Empty: it may be,
  // as anybody may without TLS.
  virtual std::string LinkRefusal(LinkId /*link*/, std::string_view /*leader*/) const { return {}; }
  virtual void Dial(std::string address) = 0;  // "host:port"; answers with OnLinkUp or OnDialFailed
  virtual void Resume(ClientId id) = 0;        // run the suspended command again
  virtual void CloseClientNow(
      ClientId id) = 0;  // after the present tick; pending replies are dropped
  virtual size_t ClientOutputBytes(ClientId id) const = 0;  // replies not yet taken by the kernel
  // Appends complete RESP values (pushes) to a client's output, in order with its replies. `held`:
  // they may leave only when this tick's log position is durable. Not for the client whose Execute
  // is running and has begun its reply. A Control without clients may leave this empty.
  virtual void SendToClient(ClientId /*id*/, std::string_view /*bytes*/, bool /*held*/) {}
  // A message that the client has asked for (a subscription, tracked keys), from within any call, behind what is
  // in its output; `held` as above. Who does not read its messages is closed by limits of their own.
  virtual void PushToClient(ClientId /*id*/, std::string_view /*bytes*/, bool /*held*/) {}
  virtual void Stop() = 0;  // leave the loop after this tick; what is ready to leave still does
  // Leave the loop at once: nothing leaves any more, this tick's replies and messages included.
  virtual void Abort() { Stop(); }
  virtual size_t client_count() const = 0;
};

}  // namespace polyarch::net
