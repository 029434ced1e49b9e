#include "net/clients.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include "base/check.h"
#include "resp/writer.h"

namespace polyarch::net {
namespace {

// Before authentication nobody needs more at once, and nobody gets more buffered.
constexpr size_t kPreAuthReadBytes = 16 << 10;
// A suspended client's socket is still read, to notice that it is gone; up to here.
constexpr size_t kSuspendedInputBytes = 256 << 10;
constexpr size_t kLargeReadBytes = 1 << 20;
constexpr size_t kSmallRestBytes = 16 << 10;
constexpr size_t kParsersMax = 16;
// Replies that are charged when they are written.
constexpr size_t kSmallReplyBytes = 64 << 10;

bool IsTransient(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

}  // namespace

Clients::Clients(Context& context, Poller& poller)
    : context_(context), poller_(poller), limits_(context.options.limits) {
  limits_.request_bytes_max =
      std::min<uint64_t>(limits_.request_bytes_max, context.options.input_bytes_max);
}

Client* Clients::Find(ClientId id) const {
  auto found = clients_.find(id);
  return found == clients_.end() ? nullptr : found->second.get();
}

void Clients::Open(Fd fd, std::string address, std::string local_address, std::unique_ptr<Tls> tls) {
  auto client = std::make_unique<Client>();
  Client& c = *client;
  c.id = next_id_++;
  c.fd = std::move(fd);
  c.tls = std::move(tls);
  c.opened_us = c.touched_us = context_.now.mono_us;
  if (!poller_.Add(c, EPOLLIN)) {
    ++context_.stats.accept_errors;
    return;
  }
  clients_.emplace(c.id, std::move(client));
  c.session = context_.service.OpenClient(c.id, std::move(address), std::move(local_address));
  c.authenticated = context_.service.IsAuthenticated(*c.session);
  if (c.tls != nullptr && c.tls->pending()) NotePending(c);
}

// Reading
// ------------------------------------------------------------------------------------------

void Clients::OnEvent(Client& c, uint32_t events) {
  if (c.dead) return;
  bool reads = (c.interest & EPOLLIN) != 0;
  if (c.tls != nullptr) [[unlikely]] {
    events = c.tls->Ready(events);
    reads = reads || c.tls->reads_on_write();
  }
  if ((events & EPOLLOUT) != 0) {
    c.blocked = false;
    QueueWrite(c);
  }
  if ((events & ~static_cast<uint32_t>(EPOLLOUT)) == 0) return;
  if (reads) {
    Read(c);
  } else if ((events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0) {
    Kill(c);
  }
}

void Clients::Read(Client& c) {
  // What is left of the last turn comes first; the socket stays ready until then.
  if (c.closing || c.in_backlog) return;
  if (c.suspended) return ReadSuspended(c);
  const size_t room = ReadRoom(c);
  const size_t have = c.in.size();
  // A small rest of the last read moves back in front of the next one, so that clients that stop in
  // the middle of a request need no large buffer of their own.
  const bool own = have > kSmallRestBytes || have + room > Context::kScratchBytes;
  char* to = own ? c.in.Reserve(room) : context_.scratch.get() + have;
  ++context_.stats.reads;
  ssize_t got = Receive(c, to, room);
  if (got <= 0) return OnReadEnd(c, got);
  const auto size = static_cast<size_t>(got);
  context_.stats.net_input_bytes += size;
  if (own) {
    c.in.Advance(size);
    return Turn(c, c.in.view(), own, context_.options.turn_commands);
  }
  if (have != 0) {
    std::memcpy(context_.scratch.get(), c.in.data(), have);
    c.in.clear();
  }
  Turn(c, {context_.scratch.get(), have + size}, own, context_.options.turn_commands);
}

ssize_t Clients::Receive(Client& c, char* to, size_t size) {
  if (c.tls == nullptr) [[likely]] {
    const ssize_t got = ::read(c.fd.get(), to, size);
    if (got > 0) c.touched_us = context_.now.mono_us;
    return got;
  }
  const bool crossed = c.tls->reads_on_write();
  const ssize_t got = c.tls->Read(to, size);
  const int error = errno;
  if (got > 0) c.touched_us = context_.now.mono_us;
  if (c.tls->pending()) NotePending(c);
  if (c.tls->reads_on_write() != crossed) UpdateInterest(c);
  errno = error;
  return got;
}

void Clients::NotePending(Client& c) {
  if (c.in_pending) return;
  c.in_pending = true;
  pending_.push_back(&c);
}

int64_t Clients::Prolong(size_t waited) {
  const int64_t until_us = context_.clients_until_us;
  if (waited > 0) {
    const int64_t least_us = NowUs(CLOCK_MONOTONIC) + context_.options.tick_clients_us / 2;
    context_.clients_until_us = std::max(until_us, least_us);
  }
  return until_us;
}

void Clients::ReadPending(size_t waited) {
  if (pending_.empty()) return;
  std::vector<Client*> round = std::exchange(pending_, {});
  const int64_t until_us = Prolong(waited);
  size_t done = 0;
  while (done < round.size()) {
    if (done == waited) context_.clients_until_us = until_us;
    if (context_.ClientsOutOfTime()) break;
    Client& c = *round[done++];
    c.in_pending = false;
    if (c.dead || c.closing) continue;
    // Full: UpdateInterest notes it again when there is room.
    if (c.suspended && c.in.size() >= kSuspendedInputBytes) continue;
    c.in_backlog ? NotePending(c) : Read(c);
  }
  context_.clients_until_us = until_us;
  // The others come first the next time.
  pending_.insert(pending_.begin(), round.begin() + static_cast<ptrdiff_t>(done), round.end());
}

void Clients::TellTlsError(const Client& c) {
  if (c.tls == nullptr || c.tls->error().empty()) return;
  context_.service.OnRefused("", "the connection of client " + std::to_string(c.id) + " is closed: " + c.tls->error());
}

// How much to read at once: what the request under way lacks, but never a multiple of what it has
// already brought (a declared size allocates nothing).
size_t Clients::ReadRoom(const Client& c) const {
  if (!c.authenticated) return kPreAuthReadBytes;
  const size_t wanted = c.parser == nullptr ? 0 : c.parser->wanted();
  const size_t have = c.in.size();
  if (have <= kSmallRestBytes && wanted <= Context::kScratchBytes) {
    return Context::kScratchBytes - have;
  }
  if (wanted <= have + Context::kScratchBytes) return Context::kScratchBytes;
  return std::min({wanted - have, std::max(have, Context::kScratchBytes), kLargeReadBytes});
}

void Clients::ReadSuspended(Client& c) {
  if (c.in.size() >= kSuspendedInputBytes) return UpdateInterest(c);
  ++context_.stats.reads;
  ssize_t got = Receive(c, c.in.Reserve(kPreAuthReadBytes), kPreAuthReadBytes);
  if (got <= 0) return OnReadEnd(c, got);
  context_.stats.net_input_bytes += static_cast<uint64_t>(got);
  c.in.Advance(static_cast<size_t>(got));
  CheckBudgets(c);
}

void Clients::OnReadEnd(Client& c, ssize_t result) {
  if (result < 0 && IsTransient(errno)) return;
  TellTlsError(c);
  // A client that has only finished sending still gets the replies that it is owed. One that waits
  // in a suspended command is not: nobody could tell whether it is still there.
  if (result < 0 || c.suspended || c.out.empty()) return Kill(c);
  c.closing = true;
  QueueWrite(c);
}

// Executing
// ----------------------------------------------------------------------------------------

void Clients::Turn(Client& c, std::string_view input, bool own, size_t commands_max) {
  context_.buffers.Lend(c.out);
  c.out.SetLimit(context_.options.output_bytes_hard_max);
  context_.service.TurnBegin();
  size_t done = ExecuteAll(c, input, commands_max);
  context_.service.TurnEnd();
  if (own) {
    c.in.Consume(done);
  } else if (done < input.size()) {
    std::string_view rest = input.substr(done);
    if (rest.size() > kSmallRestBytes) context_.buffers.Lend(c.in);
    c.in.Append(rest);
  }
  if (c.in.empty()) context_.buffers.Return(c.in);
  if (c.parser->idle()) ReturnParser(c);
  CheckBudgets(c);
  if (!c.out.empty()) {
    // At once, not when it is written: many clients may make replies within one tick.
    if (c.out.size() > kSmallReplyBytes && c.out.held() > c.charged_output) {
      ChargeOutput(c, c.out.held());
      if (context_.stats.output_bytes > context_.options.output_bytes_total_max) return KillSlow(c);
    }
    QueueWrite(c);
  } else {
    context_.buffers.Return(c.out);
    if (c.closing) Kill(c);
  }
}

size_t Clients::ExecuteAll(Client& c, std::string_view input, size_t commands_max) {
  if (c.parser == nullptr) c.parser = TakeParser();
  c.authenticated = context_.service.IsAuthenticated(*c.session);
  resp::Parser& parser = *c.parser;
  const size_t output_before = c.out.size();
  size_t commands = 0;
  size_t at = 0;
  while (at < input.size()) {
    const resp::Limits& limits = c.authenticated ? limits_ : resp::kPreAuthLimits;
    resp::Parser::State state = parser.Next(input.substr(at), limits);
    if (state == resp::Parser::State::kNeedMore) return at;
    if (state == resp::Parser::State::kError) {
      ++context_.stats.protocol_errors;
      Refuse(c, parser.error());
      return input.size();
    }
    if (!parser.arguments().empty()) {
      if (at + parser.consumed() >= input.size() || commands + 1 >= commands_max) context_.service.LastOfTurn();
      Outcome outcome = ExecuteOne(c, parser.arguments());
      if (outcome == Outcome::kSuspended) return at;
      if (outcome == Outcome::kClose) c.closing = true;
      if (c.closing || c.dead) return input.size();
      ++commands;
    }
    at += parser.consumed();
    if (commands >= commands_max || TurnIsOver(c, at, output_before) || context_.ClientsOutOfTime()) break;
  }
  if (at < input.size() && !c.in_backlog) {
    c.in_backlog = true;
    backlog_.push_back(&c);
  }
  return at;
}

bool Clients::TurnIsOver(const Client& c, size_t input_bytes, size_t output_before) const {
  if (input_bytes >= context_.options.turn_input_bytes) return true;
  size_t output_max = c.authenticated ? context_.options.turn_output_bytes
                                      : context_.options.preauth_output_bytes_max;
  return c.out.size() > output_before + output_max;
}

Outcome Clients::ExecuteOne(Client& c, std::span<const std::string_view> arguments) {
  const size_t offset = c.out.size();
  c.executing = true;
  Outcome outcome = context_.service.Execute(c.id, *c.session, arguments, c.out);
  c.executing = false;
  ++context_.stats.commands;
  // The buffer looks at its limit only when it grows.
  if (c.out.overflowed() || c.out.size() > context_.options.output_bytes_hard_max) [[unlikely]] {
    if (!c.dead) ++context_.stats.output_limit_closes;
    Kill(c);
    return Outcome::kReplied;
  }
  if (outcome == Outcome::kHeld || outcome == Outcome::kHeldClose) Hold(c, offset);
  if (outcome == Outcome::kHeldClose) outcome = Outcome::kClose;
  if (outcome == Outcome::kSuspended) {
    c.suspended = true;
    if (std::exchange(c.resume_early, false)) Resume(c.id);
    return outcome;
  }
  c.resume_early = false;
  // What this command woke runs before anybody else's next command, as in Redis: who waited first
  // is served first.
  if (!resumed_.empty()) RunResumed();
  if (!c.authenticated) c.authenticated = context_.service.IsAuthenticated(*c.session);
  return outcome;
}

void Clients::Resume(ClientId id) {
  Client* c = Find(id);
  if (c == nullptr || c->dead || c->in_resumed) return;
  if (!c->suspended) {
    c->resume_early = c->executing;
    return;
  }
  c->in_resumed = true;
  resumed_.push_back(c);
}

void Clients::RunResumed() {
  if (running_resumed_ || resumed_.empty()) return;
  running_resumed_ = true;
  ++round_number_;
  std::vector<Client*> again;
  for (size_t i = 0; i < resumed_.size(); ++i) {  // grows while it runs
    Client& c = *resumed_[i];
    // Its own turn is not over yet, or it has run in this round.
    if (c.executing || c.resumed_round == round_number_) {
      again.push_back(&c);
      continue;
    }
    c.in_resumed = false;
    if (c.dead || c.closing) continue;
    c.resumed_round = round_number_;
    c.suspended = false;
    c.touched_us = context_.now.mono_us;
    // Only this command: what is behind it waits for its turn.
    Turn(c, c.in.view(), /*own=*/true, 1);
    if (!c.suspended) UpdateInterest(c);
  }
  resumed_ = std::move(again);
  running_resumed_ = false;
}

void Clients::RunBacklog(size_t waited) {
  round_.swap(backlog_);
  const int64_t until_us = Prolong(waited);
  size_t done = 0;
  while (done < round_.size()) {
    if (done == waited) context_.clients_until_us = until_us;
    if (context_.ClientsOutOfTime()) break;
    Client& c = *round_[done++];
    c.in_backlog = false;
    if (c.dead || c.closing || c.suspended) continue;
    Turn(c, c.in.view(), /*own=*/true, context_.options.turn_commands);
  }
  // The others come first the next time.
  backlog_.insert(backlog_.begin(), round_.begin() + static_cast<ptrdiff_t>(done), round_.end());
  round_.clear();
}

void Clients::Refuse(Client& c, std::string_view error) {
  context_.buffers.Lend(c.out);
  resp::Writer(c.out, 2).Error(error);
  c.closing = true;
  c.refused = true;
  if (c.out.overflowed()) KillSlow(c);
}

void Clients::Charge(Client& c, size_t bytes) {
  LoopStats& stats = context_.stats;
  size_t preauth = c.authenticated ? 0 : bytes;
  stats.input_bytes = stats.input_bytes - c.charged + bytes;
  stats.preauth_input_bytes = stats.preauth_input_bytes - c.charged_preauth + preauth;
  c.charged = bytes;
  c.charged_preauth = preauth;
}

void Clients::CheckBudgets(Client& c) {
  const size_t bytes = c.in.capacity();
  if (bytes == c.charged && c.charged_preauth == 0) return;
  const bool grown = bytes > c.charged;
  Charge(c, bytes);
  if (!grown || c.closing || c.dead) return;
  const LoopOptions& options = context_.options;
  if (context_.stats.input_bytes <= options.input_bytes_total_max &&
      context_.stats.preauth_input_bytes <= options.preauth_input_bytes_total_max) {
    return;
  }
  // The one that wants more goes, not one that sits still.
  ++context_.stats.input_limit_closes;
  if (c.suspended) return Kill(c);
  Refuse(c, "ERR the input buffers of all clients together are full; try again later");
  c.in.clear();
  context_.buffers.Return(c.in);
  if (c.parser != nullptr) ReturnParser(c);
  QueueWrite(c);
  Charge(c, c.in.capacity());
}

void Clients::ChargeOutput(Client& c, size_t bytes) {
  context_.stats.output_bytes = context_.stats.output_bytes - c.charged_output + bytes;
  c.charged_output = bytes;
}

std::unique_ptr<resp::Parser> Clients::TakeParser() {
  if (parsers_.empty()) return std::make_unique<resp::Parser>();
  std::unique_ptr<resp::Parser> parser = std::move(parsers_.back());
  parsers_.pop_back();
  return parser;
}

void Clients::ReturnParser(Client& c) {
  c.parser->Reset();
  if (parsers_.size() < kParsersMax) parsers_.push_back(std::move(c.parser));
  c.parser.reset();
}

// Writing
// ------------------------------------------------------------------------------------------

void Clients::QueueWrite(Client& c) {
  if (c.in_writes) return;
  c.in_writes = true;
  writes_.push_back(&c);
}

void Clients::Hold(Client& c, size_t out_offset) {
  if (c.held_from == Client::kNotHeld) c.held_from = c.out_sent + out_offset;
}

void Clients::Flush(uint64_t position, uint64_t durable) {
  for (Client* c : writes_) {
    if (c->held_from == Client::kNotHeld) continue;
    if (position > durable) {
      c->holds.Add(c->held_from, position);
      if (!c->in_holding) {
        c->in_holding = true;
        holding_.push_back(c);
      }
    }
    c->held_from = Client::kNotHeld;
  }
  if (durable != durable_) ReleaseHeld(durable);
  for (Client* c : writes_) {
    c->in_writes = false;
    Write(*c);
  }
  writes_.clear();
}

void Clients::ReleaseHeld(uint64_t durable) {
  durable_ = durable;
  std::erase_if(holding_, [&](Client* c) {
    if (c->holds.Release(durable)) QueueWrite(*c);
    c->in_holding = !c->holds.empty();
    return !c->in_holding;
  });
}

void Clients::Write(Client& c) {
  if (c.dead) return;
  const size_t ready =
      c.holds.empty() ? c.out.size() : static_cast<size_t>(c.holds.from() - c.out_sent);
  CHECK(ready <= c.out.size());
  if (ready != 0 && !c.blocked) {
    ++context_.stats.writes;
    ssize_t sent = c.tls == nullptr ? ::send(c.fd.get(), c.out.data(), ready, MSG_NOSIGNAL)
                                    : c.tls->Write(c.out.data(), ready);
    if (sent < 0) {
      if (!IsTransient(errno)) return Kill(c);
      sent = 0;
    }
    if (sent > 0) c.touched_us = context_.now.mono_us;
    c.out.Consume(static_cast<size_t>(sent));
    c.out_sent += static_cast<uint64_t>(sent);
    context_.stats.net_output_bytes += static_cast<uint64_t>(sent);
    c.blocked = static_cast<size_t>(sent) < ready;
  }
  if (c.out.empty()) {
    c.pushed = 0;
    context_.buffers.Return(c.out);
    if (c.closing) return Kill(c);
  }
  CheckOutput(c);
  UpdateInterest(c);
}

void Clients::CheckOutput(Client& c) {
  const LoopOptions& options = context_.options;
  const size_t pending = c.out.size();
  const size_t held = pending > kSmallReplyBytes ? c.out.held() : pending;
  const bool grown = held > c.charged_output;
  ChargeOutput(c, held);
  // Beyond what all may have together goes the one that wants more, not one that sits still.
  if (pending > options.output_bytes_hard_max ||
      (grown && context_.stats.output_bytes > options.output_bytes_total_max)) {
    ++context_.stats.output_limit_closes;
    return Kill(c);
  }
  if (!c.authenticated && pending > options.preauth_output_bytes_max) {
    ++context_.stats.preauth_closes;
    return Kill(c);
  }
  if (pending <= options.output_bytes_soft_max &&
      std::min(c.pushed, pending) <= options.push_bytes_soft_max) {
    c.over_soft_us = 0;
  } else if (c.over_soft_us == 0) {
    c.over_soft_us = context_.now.mono_us;
  }
}

void Clients::UpdateInterest(Client& c) {
  if (c.dead) return;
  const bool full = c.suspended && c.in.size() >= kSuspendedInputBytes;
  uint32_t events = c.blocked ? EPOLLOUT : 0U;
  if (!c.closing && !full) events |= EPOLLIN;
  if (full) events |= EPOLLRDHUP;
  if (c.tls != nullptr) [[unlikely]] {
    const bool reads = !c.closing && !full;
    events = c.tls->Events(reads, c.blocked) | (full ? EPOLLRDHUP : 0U);
    if (reads && c.tls->pending()) NotePending(c);
  }
  poller_.Want(c, events);
}

bool Clients::FlushAll(uint64_t durable) {
  bool left = false;
  for (auto& [id, client] : clients_) {
    Client& c = *client;
    if (c.dead || c.out.empty()) continue;
    c.holds.Release(durable);
    c.blocked = false;
    Write(c);
    left = left || (!c.dead && !c.out.empty());
  }
  return left;
}

void Clients::Send(ClientId id, std::string_view bytes, bool held) {
  Client* c = Find(id);
  if (c == nullptr || c->dead || c->closing) return;
  context_.buffers.Lend(c->out);
  if (held) Hold(*c, c->out.size());
  c->out.Append(bytes);
  if (c->out.overflowed()) return KillSlow(*c);
  QueueWrite(*c);
}

void Clients::Push(ClientId id, std::string_view bytes, bool held) {
  Client* c = Find(id);
  if (c == nullptr || c->dead || c->closing) return;
  context_.buffers.Lend(c->out);
  if (held) Hold(*c, c->out.size());
  c->out.Append(bytes);
  // It has dropped what it held: the rest of a reply that has left in part would be missing.
  if (c->out.overflowed()) return KillSlow(*c);
  c->pushed += bytes.size();
  // At once, not when it is written: many messages may go to many subscribers within one tick.
  ChargeOutput(*c, c->out.size());
  const LoopOptions& options = context_.options;
  if (std::min(c->pushed, c->out.size()) > options.push_bytes_hard_max ||
      context_.stats.output_bytes > options.output_bytes_total_max) {
    return KillSlow(*c);
  }
  QueueWrite(*c);
}

void Clients::KillSlow(Client& c) {
  ++context_.stats.output_limit_closes;
  ++context_.stats.push_limit_closes;
  Kill(c);
  // Nobody will read it; until the end of the tick others may need the memory.
  c.out.clear();
  ChargeOutput(c, 0);
}

size_t Clients::OutputBytes(ClientId id) const {
  const Client* c = Find(id);
  return c == nullptr ? 0 : c->out.size();
}

// Closing
// ------------------------------------------------------------------------------------------

void Clients::CloseNow(ClientId id) {
  if (Client* c = Find(id)) Kill(*c);
}

void Clients::Kill(Client& c) {
  if (c.dead) return;
  c.dead = true;
  dead_.push_back(&c);
  context_.service.ClientIsDead(*c.session);
}

// As Redis's `timeout`: not who listens or waits for something, or has something that waits for the loop or the disk.
bool Clients::IsIdle(const Client& c) const {
  const int64_t limit_s = context_.options.idle_s_max;
  return limit_s > 0 && context_.now.mono_us - c.touched_us > limit_s * 1'000'000 && !c.suspended && !c.in_resumed &&
         !c.in_backlog && !c.in_pending && !c.in_writes && c.holds.empty() && !context_.service.Listens(*c.session);
}

void Clients::Sweep() {
  const LoopOptions& options = context_.options;
  const int64_t now = context_.now.mono_us;
  for (auto& [id, client] : clients_) {
    Client& c = *client;
    if (c.dead) continue;
    if (c.blocked && !c.out.empty()) {
      // Of who reads nothing nothing is written: a limit that was lowered is looked at here.
      std::min(c.pushed, c.out.size()) > options.push_bytes_hard_max ? KillSlow(c) : CheckOutput(c);
      if (c.dead) continue;
    }
    if (IsIdle(c)) {
      Kill(c);
      continue;
    }
    const bool pushed = std::min(c.pushed, c.out.size()) > options.push_bytes_soft_max;
    const int soft_s = pushed ? options.push_soft_s : options.output_soft_s;
    if (c.over_soft_us != 0 && now - c.over_soft_us > soft_s * 1'000'000LL) {
      ++context_.stats.output_limit_closes;
      Kill(c);
    } else if (!c.authenticated && now - c.opened_us > options.preauth_deadline_ms * 1000LL &&
               !context_.service.IsAuthenticated(*c.session)) {
      ++context_.stats.preauth_closes;
      Kill(c);
    }
  }
}

void Clients::Reap() {
  for (size_t i = 0; i < dead_.size(); ++i) {  // CloseClient may kill more
    Client& c = *dead_[i];
    if (c.in_writes) std::erase(writes_, &c);
    if (c.in_holding) std::erase(holding_, &c);
    if (c.in_resumed) std::erase(resumed_, &c);
    if (c.in_backlog) std::erase(backlog_, &c);
    if (c.in_pending) std::erase(pending_, &c);
    if (c.tls != nullptr) c.tls->Finish();
    Charge(c, 0);
    ChargeOutput(c, 0);
    // Closing with unread input would reset the connection, and the client might lose the error.
    if (c.refused) {
      static_cast<void>(
          ::recv(c.fd.get(), context_.scratch.get(), Context::kScratchBytes, MSG_DONTWAIT));
    }
    context_.service.CloseClient(c.id, *c.session);
    // The service may still resume or close it by id in there; now it is forgotten.
    if (c.in_resumed) std::erase(resumed_, &c);
    clients_.erase(c.id);
  }
  dead_.clear();
}

void Clients::CloseAll() {
  for (auto& [id, client] : clients_) {
    if (client->tls != nullptr) client->tls->Finish();
    client->fd.Reset();
  }
}

}  // namespace polyarch::net
