// The event loop: one thread, one epoll instance; a batch of ready sockets is one tick of the
// Service.
//
//   epoll_wait -> TickBegin -> read and execute each ready connection -> OnTimer -> closes ->
//   TickEnd
//              -> peer messages leave -> replies leave (as far as they are durable)
//
// In steady state a tick costs one epoll_wait, and a read and a write for each ready client.
// Reading goes through one shared buffer: an idle connection owns no buffer at all.
//
// Threads: everything on the thread that calls Run, except Wake and RequestStop (any thread;
// RequestStop also from a signal handler). Control's functions may also be called before Run. The
// Service must outlive the Loop; sessions are destroyed with it.
//
// Re-entrancy: the Service may call any function of Control from within any of its calls. Nothing
// is destroyed there: closing only marks, and connections go at the end of the tick.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "net/clients.h"
#include "net/context.h"
#include "net/handshakes.h"
#include "net/http.h"
#include "net/links.h"
#include "net/listener.h"
#include "net/loading.h"
#include "net/options.h"
#include "net/poller.h"
#include "net/service.h"
#include "net/socket.h"

namespace polyarch::net {

class Loop final : public Control {
 public:
  Loop(LoopOptions options, Service& service);
  ~Loop() override;
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Who this end is on TLS connections that begin from now on. On the loop's thread, or before Run; before Listen if there
  // is to be a port for it. `peers`: not null from the start on, or never.
  void SetTls(std::shared_ptr<const TlsContext> clients, std::shared_ptr<const TlsContext> peers) {
    context_.tls_clients = std::move(clients);
    context_.tls_peers = std::move(peers);
  }
  // Opens the sockets. Errors name the address, the cause and the remedy.
  base::Status Listen();
  // From here to Run, whoever connects is told that the data is being read (loading.h).
  void AnswerLoading();
  // Serves until Stop or RequestStop, then lets replies leave for at most stop_flush_ms and closes
  // all sockets. Listen comes before.
  void Run();

  // The log's durable position may have advanced, or other threads have something for OnTimer: runs
  // a tick soon. Cheap while the loop is busy.
  void Wake();
  void RequestStop();

  // What is really bound; 0 if off.
  int port() const { return port_; }
  int tls_port() const { return tls_port_; }
  int peer_port() const { return peer_port_; }
  int http_port() const { return http_port_; }
  // May be less than asked for, if the process may not open so many files.
  size_t maxclients() const { return context_.options.maxclients; }
  const LoopStats& stats() const { return context_.stats; }
  void ForgetLongestTick() { context_.stats.longest_tick_us = 0; }
  // While it runs; who is connected stays. Returns how many there may be: fewer, and nothing changes, if the process may
  // not open so many files.
  size_t SetMaxclients(size_t count);
  // While it runs, for clients that are there, too. No more than the options that it began with allow; 0: as those.
  void SetOutputLimits(OutputLimit replies, OutputLimit pushed);
  // Of connections that come from now on. 0: off.
  void SetTcpKeepalive(int seconds);
  // While it runs, for clients that are there, too. 0: as long as they like.
  void SetIdleLimit(int64_t seconds) { context_.options.idle_s_max = seconds; }
  // The longest that an idle loop sleeps.
  int timer_ms() const { return context_.options.timer_ms; }

  void SendToLink(LinkId link, std::string_view message) override { links_.Send(link, message); }
  size_t LinkBacklog(LinkId link) const override { return links_.Backlog(link); }
  void CloseLink(LinkId link) override { links_.Close(link); }
  std::string LinkRefusal(LinkId link, std::string_view leader) const override { return links_.Refusal(link, leader); }
  void Dial(std::string address) override { links_.Dial(std::move(address)); }
  void Resume(ClientId id) override { clients_.Resume(id); }
  void CloseClientNow(ClientId id) override { clients_.CloseNow(id); }
  size_t ClientOutputBytes(ClientId id) const override { return clients_.OutputBytes(id); }
  void SendToClient(ClientId id, std::string_view bytes, bool held) override {
    clients_.Send(id, bytes, held);
  }
  void PushToClient(ClientId id, std::string_view bytes, bool held) override {
    clients_.Push(id, bytes, held);
  }
  void Stop() override { stop_requested_.store(true, std::memory_order_relaxed); }
  void Abort() override {
    aborted_ = true;
    Stop();
  }
  size_t client_count() const override { return clients_.size(); }

 private:
  base::Status OpenListeners();
  void LimitClientsToFiles();
  int WaitMs() const;
  void Tick(int ready);
  void DispatchAll(int ready);
  void Dispatch(Pollable& pollable, uint32_t events);
  void ReadClocks();
  // Takes all waiting connections; errors of one never stop the loop (CVE-2025-48367).
  void Accept(Listener& listener);
  void AcceptClient(const Listener& listener, Fd fd, const SocketAddress& remote);
  void AcceptPeer(Fd fd, const SocketAddress& remote);
  // Is there room for one more client that is served, or shakes hands?
  bool HasClientRoom(bool tls);
  void OnHandshake(Handshake& handshake);
  void AcceptWithoutFiles(Listener& listener);
  void Sweep();
  void FlushBeforeExit();

  // Wake writes to the eventfd only while the loop sleeps: each side first says what it does, then
  // looks at the other's word (sequentially consistent), so one of them always sees the other.
  std::atomic<bool> sleeping_{false};
  std::atomic<bool> woken_{false};
  std::atomic<bool> stop_requested_{false};
  bool aborted_ = false;
  Pollable wake_{PollKind::kWake};

  Context context_;
  Poller poller_;
  Clients clients_;
  Links links_;
  HttpPort http_;
  Handshakes handshakes_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  const OutputLimit replies_ceiling_;
  const OutputLimit pushed_ceiling_;
  std::unique_ptr<Loading> loading_;  // ends before the listeners
  int port_ = 0;
  int tls_port_ = 0;
  int peer_port_ = 0;
  int http_port_ = 0;

  Fd reserve_;  // given up for a moment to accept and close when the process has no more files
  int64_t swept_us_ = 0;
  int first_ready_ = 0;          // of the clients that the poller tells of: whose turn comes first
  bool out_of_time_ = false;  // the last tick has left some
};

}  // namespace polyarch::net
