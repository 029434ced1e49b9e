#include "net/loop.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <utility>

#include "base/check.h"
#include "net/socket.h"

namespace polyarch::net {
namespace {

constexpr int kAcceptsPerTick = 256;
constexpr int kLastTicksMax = 100;
constexpr int64_t kSweepIntervalUs = 1'000'000;
// Files of the process that are not clients: log segments, storage, links, listeners.
constexpr size_t kOtherFiles = 1024;


// Each has as much to do as a tick has time for.
bool TakesTurns(const Pollable& pollable) {
  return pollable.kind == PollKind::kClient || pollable.kind == PollKind::kHandshake;
}

Fd OpenReserve() {
  return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

}  // namespace

Loop::Loop(LoopOptions options, Service& service)
    : context_{std::move(options), service},
      clients_(context_, poller_),
      links_(context_, poller_, [this] { Wake(); }),
      http_(context_, poller_),
      handshakes_(context_, poller_, [this](Handshake& handshake) { OnHandshake(handshake); }),
      replies_ceiling_{context_.options.output_bytes_hard_max, context_.options.output_bytes_soft_max, context_.options.output_soft_s},
      pushed_ceiling_{context_.options.push_bytes_hard_max, context_.options.push_bytes_soft_max, context_.options.push_soft_s} {
  ReadClocks();
}

Loop::~Loop() = default;

// Starting
// -----------------------------------------------------------------------------------------

base::Status Loop::Listen() {
  if (base::Status status = poller_.Open(); !status.ok()) return status;
  wake_.fd = Fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  // Edge-triggered: each write wakes, and the counter need never be read.
  if (!wake_.fd.ok() || !poller_.Add(wake_, EPOLLIN | EPOLLET)) {
    return base::IoError(std::string("eventfd: ") + std::strerror(errno));
  }
  reserve_ = OpenReserve();
  LimitClientsToFiles();
  return OpenListeners();
}

void Loop::AnswerLoading() {
  std::vector<const Listener*> answered;
  for (const auto& listener : listeners_) {
    if (listener->serves != Serves::kPeers && listener->serves != Serves::kTlsClients) answered.push_back(listener.get());
  }
  loading_ = std::make_unique<Loading>(std::move(answered));
}

namespace {

OutputLimit Within(OutputLimit wanted, OutputLimit ceiling) {
  auto least = [](size_t a, size_t b) { return a == 0 ? b : std::min(a, b); };
  const size_t hard = least(wanted.hard_bytes, ceiling.hard_bytes);
  const bool has_soft = wanted.soft_bytes != 0 && wanted.soft_s != 0;
  if (!has_soft) return {hard, std::min(hard, ceiling.soft_bytes), ceiling.soft_s};
  return {hard, std::min(least(wanted.soft_bytes, ceiling.soft_bytes), hard), std::min(wanted.soft_s, ceiling.soft_s)};
}

}  // namespace

void Loop::SetOutputLimits(OutputLimit replies, OutputLimit pushed) {
  LoopOptions& options = context_.options;
  replies = Within(replies, replies_ceiling_);
  options.output_bytes_hard_max = replies.hard_bytes;
  options.output_bytes_soft_max = replies.soft_bytes;
  options.output_soft_s = replies.soft_s;
  pushed = Within(pushed, pushed_ceiling_);
  options.push_bytes_hard_max = pushed.hard_bytes;
  options.push_bytes_soft_max = pushed.soft_bytes;
  options.push_soft_s = pushed.soft_s;
}

void Loop::SetTcpKeepalive(int seconds) {
  for (const auto& listener : listeners_) {
    if (listener->serves != Serves::kUnixClients) SetKeepalive(listener->fd.get(), seconds);
  }
}

void Loop::LimitClientsToFiles() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  size_t& maxclients = context_.options.maxclients;
  rlim_t wanted = maxclients + kOtherFiles;
  if (limit.rlim_cur < wanted) {
    limit.rlim_cur = std::min(wanted, limit.rlim_max);
    static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  }
  if (limit.rlim_cur >= wanted) return;
  const size_t files = limit.rlim_cur;
  maxclients = std::min(maxclients, files > 2 * kOtherFiles ? files - kOtherFiles : files / 2);
}

size_t Loop::SetMaxclients(size_t count) {
  const size_t before = std::exchange(context_.options.maxclients, count);
  LimitClientsToFiles();
  const size_t possible = context_.options.maxclients;
  if (possible < count) context_.options.maxclients = before;
  return possible;
}

base::Status Loop::OpenListeners() {
  const LoopOptions& options = context_.options;
  auto add = [this](base::Result<Fd> fd, Serves serves, std::string unix_path) -> base::Status {
    if (!fd.ok()) return fd.status();
    auto listener = std::make_unique<Listener>();
    listener->serves = serves;
    listener->fd = std::move(*fd);
    listener->unix_path = std::move(unix_path);
    if (!poller_.Add(*listener, EPOLLIN)) return base::IoError("epoll refuses a listening socket");
    listeners_.push_back(std::move(listener));
    return {};
  };
  // With any port, the first address chooses and the others follow.
  auto add_all = [&](const std::vector<std::string>& hosts, int port, Serves serves, int& bound) {
    for (const std::string& host : hosts) {
      base::Status status = add(
          ListenTcp(host, bound != 0 ? bound : port, serves, options.tcp_keepalive_s), serves, "");
      if (!status.ok()) return status;
      bound = LocalAddress(listeners_.back()->fd.get()).port();
    }
    return base::Status();
  };
  if (options.port >= 0) {
    base::Status status = add_all(options.bind, options.port, Serves::kClients, port_);
    if (!status.ok()) return status;
  }
  if (options.tls_port >= 0) {
    CHECK(context_.tls_clients != nullptr);
    base::Status status = add_all(options.bind, options.tls_port, Serves::kTlsClients, tls_port_);
    if (!status.ok()) return status;
  }
  if (options.peer_port >= 0) {
    base::Status status = add_all(options.peer_bind.empty() ? options.bind : options.peer_bind,
                                  options.peer_port,
                                  Serves::kPeers,
                                  peer_port_);
    if (!status.ok()) return status;
  }
  if (options.http_port > 0 || options.http_any_port) {
    base::Status status = add_all(options.http_bind.empty() ? options.bind : options.http_bind,
                                  options.http_port,
                                  Serves::kHttp,
                                  http_port_);
    if (!status.ok()) return status;
  }
  if (!options.unix_socket.empty()) {
    return add(ListenUnix(options.unix_socket, options.unix_socket_mode),
               Serves::kUnixClients,
               options.unix_socket);
  }
  return {};
}

// Running
// ------------------------------------------------------------------------------------------

void Loop::Run() {
  loading_.reset();
  do {
    int wait_ms = WaitMs();
    if (wait_ms != 0) {
      sleeping_.store(true);
      if (woken_.load() || stop_requested_.load()) wait_ms = 0;
    }
    int ready = poller_.Wait(wait_ms);
    sleeping_.store(false, std::memory_order_relaxed);
    woken_.exchange(false);  // before the tick asks what the wake was about
    Tick(ready);
  } while (!stop_requested_.load(std::memory_order_relaxed));
  // The last tick may have given an element to somebody who waited: it is taken out and must reach them.
  for (int i = 0; i < kLastTicksMax && !aborted_ && clients_.has_resumed(); ++i) Tick(0);
  if (!aborted_) FlushBeforeExit();
  clients_.CloseAll();
  links_.CloseAll();
  http_.CloseAll();
  handshakes_.CloseAll();
  listeners_.clear();
}

int Loop::WaitMs() const {
  bool work = clients_.has_work() || links_.has_work() || http_.has_work() || handshakes_.has_work();
  return work ? 0 : context_.options.timer_ms;
}

void Loop::Tick(int ready) {
  Service& service = context_.service;
  ++context_.stats.ticks;
  ReadClocks();
  service.TickBegin(context_.now);
  context_.clients_until_us = context_.now.mono_us + context_.options.tick_clients_us;
  clients_.RunResumed();
  links_.RunDials();
  const size_t waited = clients_.backlog_size();
  const size_t waited_pending = clients_.pending_size();
  DispatchAll(ready);
  links_.TryFurther();
  links_.ReadPending();
  clients_.ReadPending(waited_pending);
  clients_.RunBacklog(waited);
  service.OnTimer();
  clients_.RunResumed();
  if (context_.now.mono_us - swept_us_ >= kSweepIntervalUs) Sweep();
  clients_.Reap();
  links_.Reap();
  http_.Reap();
  handshakes_.Reap();
  service.TickEnd();
  if (aborted_) return;
  // Peers first: a reply may wait some microseconds more, replication lag is what others see.
  links_.Flush();
  clients_.Flush(service.hold_position(), service.durable_position());
  context_.now.busy_us = NowUs(CLOCK_MONOTONIC) - context_.now.mono_us;
  context_.stats.longest_tick_us = std::max(context_.stats.longest_tick_us, context_.now.busy_us);
}

// Links, which are few, each time; clients, and handshakes, which cost more, for as long as a tick may take, in the order in
// which the poller tells of them: about that in which they came. It tells again, and in the same order, of those that are
// left: so a tick behind one that has left some begins with another one.
void Loop::DispatchAll(int ready) {
  int clients = 0;
  for (int i = 0; i < ready; ++i) {
    const epoll_event& event = poller_.event(i);
    auto& pollable = *static_cast<Pollable*>(event.data.ptr);
    TakesTurns(pollable) ? (void)++clients : Dispatch(pollable, event.events);
  }
  if (clients == 0) return;
  first_ready_ = std::exchange(out_of_time_, false) ? (first_ready_ + 1) % ready : 0;
  for (int n = 0; n < ready; ++n) {
    const int i = (first_ready_ + n) % ready;
    const epoll_event& event = poller_.event(i);
    auto& pollable = *static_cast<Pollable*>(event.data.ptr);
    if (!TakesTurns(pollable)) continue;
    Dispatch(pollable, event.events);
    if (context_.ClientsOutOfTime()) {
      first_ready_ = i;
      out_of_time_ = true;
      return;
    }
  }
}

void Loop::ReadClocks() {
  context_.now.wall_ms = NowUs(CLOCK_REALTIME) / 1000;
  context_.now.mono_us = NowUs(CLOCK_MONOTONIC);
}

void Loop::Dispatch(Pollable& pollable, uint32_t events) {
  switch (pollable.kind) {
    case PollKind::kClient:
      return clients_.OnEvent(static_cast<Client&>(pollable), events);
    case PollKind::kLink:
      links_.OnEvent(static_cast<Link&>(pollable), events);
      return clients_.RunResumed();
    case PollKind::kHandshake:
      return handshakes_.OnEvent(static_cast<Handshake&>(pollable));
    case PollKind::kHttp:
      return http_.OnEvent(static_cast<HttpConnection&>(pollable));
    case PollKind::kListener:
      return Accept(static_cast<Listener&>(pollable));
    case PollKind::kWake:
      return;
  }
}

void Loop::Sweep() {
  swept_us_ = context_.now.mono_us;
  clients_.Sweep();
  links_.Sweep();
  http_.Sweep();
  handshakes_.Sweep();
  if (!reserve_.ok()) reserve_ = OpenReserve();
  for (auto& listener : listeners_)
    poller_.Want(*listener, EPOLLIN);
}

void Loop::Wake() {
  if (woken_.exchange(true)) return;
  if (!sleeping_.load()) return;
  const uint64_t one = 1;
  // It cannot fail but for a full counter, which wakes as well.
  static_cast<void>(!::write(wake_.fd.get(), &one, sizeof one));
}

void Loop::RequestStop() {
  stop_requested_.store(true);
  Wake();
}

void Loop::FlushBeforeExit() {
  const int64_t deadline = NowUs(CLOCK_MONOTONIC) + context_.options.stop_flush_ms * 1000LL;
  for (;;) {
    const bool lacking = links_.Drain();
    const bool owed = clients_.FlushAll(context_.service.durable_position());
    if ((!lacking && !owed) || NowUs(CLOCK_MONOTONIC) >= deadline) return;
    // Short naps serve both what it waits for, sockets and the log, without a second event loop.
    ::poll(nullptr, 0, 2);
  }
}

// Accepting
// ----------------------------------------------------------------------------------------

void Loop::Accept(Listener& listener) {
  for (int i = 0; i < kAcceptsPerTick; ++i) {
    SocketAddress remote;
    remote.size = sizeof remote.storage;
    Fd fd(::accept4(listener.fd.get(), remote.get(), &remote.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.ok()) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      ++context_.stats.accept_errors;
      if (errno == EMFILE || errno == ENFILE) return AcceptWithoutFiles(listener);
      // No memory for now: the next sweep looks again. Others concern only that one connection.
      if (errno == ENOBUFS || errno == ENOMEM) return poller_.Want(listener, 0);
      continue;
    }
    if (listener.serves == Serves::kPeers) {
      AcceptPeer(std::move(fd), remote);
    } else if (listener.serves == Serves::kHttp) {
      http_.Accept(std::move(fd));
    } else {
      AcceptClient(listener, std::move(fd), remote);
    }
  }
}

void Loop::AcceptClient(const Listener& listener, Fd fd, const SocketAddress& remote) {
  ++context_.stats.clients_received;
  const bool tls = listener.serves == Serves::kTlsClients;
  if (!HasClientRoom(tls)) {
    ++context_.stats.clients_rejected;
    if (tls) return;  // no word reaches it without a handshake
    static constexpr std::string_view kFull = "-ERR max number of clients reached\r\n";
    static_cast<void>(::send(fd.get(), kFull.data(), kFull.size(), MSG_NOSIGNAL));
    return;
  }
  if (tls) return handshakes_.Accept(std::move(fd), remote, /*peer=*/false);
  const bool is_unix = listener.serves == Serves::kUnixClients;
  std::string local = is_unix ? listener.unix_path + ":0" : LocalAddress(fd.get()).ToString();
  std::string address = is_unix ? local : remote.ToString();
  clients_.Open(std::move(fd), std::move(address), std::move(local), nullptr);
}

// Who only shakes hands makes room for others: it may be a stranger who never ends.
bool Loop::HasClientRoom(bool tls) {
  const LoopOptions& options = context_.options;
  if (clients_.size() >= options.maxclients) return false;
  const bool full = clients_.size() + handshakes_.clients() >= options.maxclients ||
                    (tls && handshakes_.clients() >= options.tls_handshakes_max);
  return !full || handshakes_.DropOldest(/*peer=*/false);
}

void Loop::AcceptPeer(Fd fd, const SocketAddress& remote) {
  if (context_.tls_peers == nullptr) return links_.Accept(std::move(fd), remote, nullptr);
  if (handshakes_.peers() >= context_.options.tls_peer_handshakes_max && !handshakes_.DropOldest(/*peer=*/true)) {
    ++context_.stats.links_rejected;
    return;
  }
  handshakes_.Accept(std::move(fd), remote, /*peer=*/true);
}

void Loop::OnHandshake(Handshake& handshake) {
  if (handshake.peer) return links_.Accept(std::move(handshake.fd), handshake.remote, std::move(handshake.tls));
  std::string local = LocalAddress(handshake.fd.get()).ToString();
  clients_.Open(std::move(handshake.fd), handshake.remote.ToString(), std::move(local), std::move(handshake.tls));
}

// The waiting connection cannot be left: the listener would stay ready and the loop would spin. So
// it is taken with the reserved file and closed at once.
void Loop::AcceptWithoutFiles(Listener& listener) {
  reserve_.Reset();
  { Fd refused(::accept4(listener.fd.get(), nullptr, nullptr, SOCK_CLOEXEC)); }
  reserve_ = OpenReserve();
  if (!reserve_.ok()) poller_.Want(listener, 0);
}

}  // namespace polyarch::net
