// The client connections of a loop: reads requests, has them executed, keeps replies until they may
// leave, and closes. Everything on the loop's thread.
//
// A client lives until Reap, whatever happens to it before: closing only marks it `dead`. So the
// service may close any client from within any call, and events of the present batch stay valid.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "net/context.h"
#include "net/poller.h"
#include "net/service.h"
#include "net/tls.h"
#include "resp/buffer.h"
#include "resp/parser.h"

namespace polyarch::net {

// Which output of a connection must wait for which log position. Offsets count all output bytes
// since the connection began; both offsets and positions only grow.
class Holds {
 public:
  bool empty() const { return first_ == holds_.size(); }
  // Output from here on waits.
  uint64_t from() const { return holds_[first_].from; }
  void Add(uint64_t from, uint64_t position) {
    // A later reply that waits for no more than an earlier one waits for that anyway.
    if (empty() || holds_.back().position < position) holds_.push_back({from, position});
  }
  // Forgets what no longer waits; true if there was any.
  bool Release(uint64_t durable) {
    size_t before = first_;
    while (first_ < holds_.size() && holds_[first_].position <= durable)
      ++first_;
    bool released = first_ != before;
    if (empty()) {
      holds_.clear();
      first_ = 0;
    } else if (first_ >= 64 && first_ * 2 > holds_.size()) {
      holds_.erase(holds_.begin(), holds_.begin() + static_cast<ptrdiff_t>(first_));
      first_ = 0;
    }
    return released;
  }

 private:
  struct Hold {
    uint64_t from;
    uint64_t position;
  };
  std::vector<Hold> holds_;
  size_t first_ = 0;
};

struct Client : Pollable {
  static constexpr uint64_t kNotHeld = std::numeric_limits<uint64_t>::max();

  Client() : Pollable(PollKind::kClient) {}

  ClientId id = 0;
  std::unique_ptr<Tls> tls;  // null: its bytes go as they are
  std::unique_ptr<Session> session;
  std::unique_ptr<resp::Parser> parser;  // while a request is under way, else none
  resp::Buffer in;                       // what is not yet executed
  resp::Buffer out;                      // what the kernel has not yet taken
  uint64_t out_sent = 0;                 // bytes that the kernel has taken: where `out` begins
  uint64_t held_from = kNotHeld;         // the first held reply of this tick
  Holds holds;
  int64_t opened_us = 0;
  int64_t touched_us = 0;    // when it has last sent something, or taken some of its output
  int64_t over_soft_us = 0;  // since when `out` is beyond the soft limit; 0: it is not
  size_t pushed = 0;         // bytes of messages since `out` was empty
  size_t charged = 0;        // of the input budgets
  size_t charged_output = 0;
  size_t charged_preauth = 0;
  uint64_t resumed_round = 0;  // the last round of RunResumed that ran it

  bool authenticated = false;
  bool executing = false;
  bool suspended = false;
  bool resume_early = false;  // Resume came before its Execute returned kSuspended
  bool closing = false;       // no more input; close when all output has left
  bool refused = false;       // `closing` because of what it sent
  bool blocked = false;       // the socket takes no more: EPOLLOUT says when
  bool dead = false;          // to be destroyed by Reap
  bool in_writes = false;     // membership in the lists below
  bool in_holding = false;
  bool in_resumed = false;
  bool in_backlog = false;
  bool in_pending = false;
};

class Clients {
 public:
  Clients(Context& context, Poller& poller);

  size_t size() const { return clients_.size(); }
  // `tls`: null, or with its handshake done.
  void Open(Fd fd, std::string address, std::string local_address, std::unique_ptr<Tls> tls);
  void OnEvent(Client& c, uint32_t events);
  // Runs suspended commands that were resumed: each at most once in a round, so that a command that
  // resumes itself cannot hold the loop.
  void RunResumed();
  // Reads what TLS holds already, of which the sockets do not tell. The first `waited` of them were noted before this tick:
  // they get some time in any case, as those of RunBacklog.
  void ReadPending(size_t waited);
  size_t pending_size() const { return pending_.size(); }
  // Goes on with clients that used up their turn in an earlier tick.
  // The first `waited` of the backlog were in it before this tick: they get some time in any case, so that whoever has sent
  // much is not forgotten where many have sent something.
  void RunBacklog(size_t waited);
  size_t backlog_size() const { return backlog_.size(); }
  // Deadlines, and limits as they are by now; about once a second.
  void Sweep();
  // Tells the service of clients that are gone and destroys them. Inside the tick.
  void Reap();
  // After TickEnd: holds this tick's held replies for `position`, then writes what may leave.
  void Flush(uint64_t position, uint64_t durable);
  // At the end of Run: tries to write everything; false when nothing is left.
  bool FlushAll(uint64_t durable);
  // The next tick should follow at once.
  bool has_resumed() const { return !resumed_.empty(); }
  bool has_work() const { return !resumed_.empty() || !backlog_.empty() || !dead_.empty() || !pending_.empty(); }
  void CloseAll();

  void Resume(ClientId id);
  void CloseNow(ClientId id);
  size_t OutputBytes(ClientId id) const;
  void Send(ClientId id, std::string_view bytes, bool held);
  void Push(ClientId id, std::string_view bytes, bool held);

 private:
  Client* Find(ClientId id) const;
  void Read(Client& c);
  ssize_t Receive(Client& c, char* to, size_t size);
  void NotePending(Client& c);
  // Prolongs the clients' time in this tick for `waited` of them; what it was before.
  int64_t Prolong(size_t waited);
  void TellTlsError(const Client& c);
  void ReadSuspended(Client& c);
  void OnReadEnd(Client& c, ssize_t result);
  size_t ReadRoom(const Client& c) const;
  // Executes requests of `input` (c.in if `own`, else the scratch buffer) and keeps the rest.
  void Turn(Client& c, std::string_view input, bool own, size_t commands_max);
  // The count of bytes that are done with.
  size_t ExecuteAll(Client& c, std::string_view input, size_t commands_max);
  Outcome ExecuteOne(Client& c, std::span<const std::string_view> arguments);
  bool TurnIsOver(const Client& c, size_t input_bytes, size_t output_before) const;
  // Sends an error and closes: foreign bytes.
  void Refuse(Client& c, std::string_view error);
  void Kill(Client& c);
  void Charge(Client& c, size_t bytes);
  void CheckBudgets(Client& c);
  void ChargeOutput(Client& c, size_t bytes);

  void QueueWrite(Client& c);
  void Hold(Client& c, size_t out_offset);
  void ReleaseHeld(uint64_t durable);
  void Write(Client& c);
  void CheckOutput(Client& c);
  bool IsIdle(const Client& c) const;
  void KillSlow(Client& c);
  void UpdateInterest(Client& c);
  std::unique_ptr<resp::Parser> TakeParser();
  void ReturnParser(Client& c);

  Context& context_;
  Poller& poller_;
  resp::Limits limits_;
  ClientId next_id_ = 1;
  std::unordered_map<ClientId, std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<resp::Parser>> parsers_;  // idle ones, the warmest last

  std::vector<Client*> writes_;   // have output to look at after TickEnd
  std::vector<Client*> holding_;  // have holds
  std::vector<Client*> resumed_;
  std::vector<Client*> backlog_;  // have input left from a turn that was cut short
  std::vector<Client*> pending_;  // TLS holds bytes of theirs
  std::vector<Client*> dead_;
  std::vector<Client*> round_;  // scratch of RunBacklog
  uint64_t round_number_ = 0;
  bool running_resumed_ = false;
  uint64_t durable_ = 0;
};

}  // namespace polyarch::net
