#include "net/links.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace polyarch::net {
namespace {

// Fairness: what one link may bring in one tick.
constexpr size_t kReadBytesMax = 1 << 20;
constexpr int kPeerKeepaliveSeconds = 30;

bool IsTransient(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

// For people: as it was dialed, or the host from which it came.
std::string NameOf(const Link& link) {
  return link.dialed.empty() ? link.remote.substr(0, link.remote.rfind(':')) : link.dialed;
}

}  // namespace

Links::Links(Context& context, Poller& poller, std::function<void()> wake)
    : context_(context), poller_(poller), resolver_(std::move(wake)) {}

Link* Links::Find(LinkId id) const {
  auto found = links_.find(id);
  return found == links_.end() || found->second->dead ? nullptr : found->second.get();
}

void Links::Accept(Fd fd, const SocketAddress& remote, std::unique_ptr<Tls> tls) {
  if (links_.size() >= context_.options.links_max) {
    ++context_.stats.links_rejected;
    return;
  }
  ++context_.stats.links_accepted;
  auto owned = std::make_unique<Link>();
  Link& link = *owned;
  link.id = next_id_++;
  link.fd = std::move(fd);
  link.tls = std::move(tls);
  link.remote = remote.ToString();
  if (!poller_.Add(link, EPOLLIN)) {
    ++context_.stats.accept_errors;
    return;
  }
  link.deadline_us = context_.now.mono_us + context_.options.link_first_message_ms * 1000LL;
  links_.emplace(link.id, std::move(owned));
  Up(link);
}

void Links::Up(Link& link) {
  SetOption(link.fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  SetKeepalive(link.fd.get(), kPeerKeepaliveSeconds);
  link.up = true;
  context_.service.OnLinkUp(link.id, link.dialed, link.remote);
  if (link.tls != nullptr && link.tls->pending()) NotePending(link);
}

// Dialing
// ------------------------------------------------------------------------------------------

void Links::RunDials() {
  for (Resolver::Answer& answer : resolver_.Take()) {
    if (answer.addresses.ok()) {
      Connect(std::move(answer.address), std::move(*answer.addresses));
    } else {
      DialFailed(answer.address, answer.addresses.status().message());
    }
  }
  // The service may dial again from within OnDialFailed: that is for the next tick.
  for (std::string& address : std::exchange(dials_, {})) {
    auto target = ParseHostPort(address);
    if (!target.ok()) {
      DialFailed(address, target.status().message());
      continue;
    }
    auto addresses = Resolve(*target, /*numeric=*/true);
    if (addresses.ok()) {
      Connect(std::move(address), std::move(*addresses));
    } else if (!resolver_.Start(address, std::move(*target))) {
      DialFailed(address, "too many name lookups are under way");
    }
  }
}

void Links::DialFailed(const std::string& address, std::string reason) {
  ++context_.stats.dial_failures;
  context_.service.OnDialFailed(address, std::move(reason));
}

void Links::Connect(std::string address, std::vector<SocketAddress> addresses) {
  auto owned = std::make_unique<Link>();
  Link& link = *owned;
  link.id = next_id_++;
  link.dialed = std::move(address);
  link.addresses = std::move(addresses);
  // A dial has time for a few of them only, and the first ones may be those that are dead.
  if (auto tried = tried_.find(link.dialed); tried != tried_.end()) {
    auto it = std::find(link.addresses.begin(), link.addresses.end(), tried->second);
    if (it != link.addresses.end()) std::rotate(link.addresses.begin(), std::next(it), link.addresses.end());
  }
  link.deadline_us = context_.now.mono_us + context_.options.dial_timeout_ms * 1000LL;
  links_.emplace(link.id, std::move(owned));
  TryNext(link, "no address");
}

void Links::TryNext(Link& link, std::string reason) {
  while (link.next_address < link.addresses.size()) {
    const SocketAddress& address = link.addresses[link.next_address++];
    link.tls.reset();
    link.fd =
        Fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    // Whether it connected at once or not: the socket tells by EPOLLOUT.
    if (link.fd.ok() &&
        (::connect(link.fd.get(), address.get(), address.size) == 0 || errno == EINPROGRESS) &&
        poller_.Add(link, EPOLLOUT)) {
      const bool more = link.next_address < link.addresses.size();
      link.address_deadline_us = more ? context_.now.mono_us + context_.options.dial_address_ms * 1000LL : 0;
      return;
    }
    reason = std::strerror(errno);
  }
  Kill(link);
  NoteTried(link);
  DialFailed(link.dialed, std::move(reason));
}

void Links::NoteTried(const Link& link) {
  if (link.addresses.size() > 1) tried_[link.dialed] = link.addresses[link.next_address - 1];
}

void Links::TryFurther() {
  for (auto& [id, link] : links_) {
    if (link->dead || link->address_deadline_us == 0 || context_.now.mono_us < link->address_deadline_us) continue;
    TryNext(*link, "timed out");
  }
}

void Links::OnConnected(Link& link) {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(link.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return TryNext(link, std::strerror(error));
  SocketAddress remote = RemoteAddress(link.fd.get());
  // A port in the ephemeral range where nobody listens may be given to the dialing socket itself,
  // which then meets itself (TCP's simultaneous open).
  if (remote == LocalAddress(link.fd.get())) return TryNext(link, "nobody listens there");
  link.remote = remote.ToString();
  if (context_.tls_peers == nullptr) return Dialed(link);
  // Whose certificate it must be, the address does not say: the greeting does.
  link.tls = Tls::Connect(context_.tls_peers, link.fd.get(), "");
  if (link.tls == nullptr) return TryNext(link, "no memory for TLS");
  Shake(link);
}

void Links::Shake(Link& link) {
  switch (link.tls->Handshake()) {
    case Tls::Progress::kUnderWay:
      return poller_.Want(link, link.tls->handshake_events());
    case Tls::Progress::kDone:
      return Dialed(link);
    case Tls::Progress::kFailed:
      break;
  }
  ++context_.stats.tls_handshakes_failed;
  std::string why = link.tls->error();
  if (why == "it does not speak TLS") why += ": is it started with --tls-peers yes?";
  context_.service.OnRefused(link.dialed, "the peer at " + link.dialed + " is refused: " + why);
  TryNext(link, std::move(why));
}

void Links::Dialed(Link& link) {
  // The next dial begins with this one.
  const size_t count = link.addresses.size();
  if (count > 1) tried_[link.dialed] = link.addresses[(link.next_address + count - 2) % count];
  link.addresses.clear();
  link.deadline_us = link.address_deadline_us = 0;
  poller_.Want(link, EPOLLIN);
  Up(link);
}

// Messages
// -----------------------------------------------------------------------------------------

void Links::OnEvent(Link& link, uint32_t events) {
  if (link.dead) return;
  if (!link.up) return link.tls == nullptr ? OnConnected(link) : Shake(link);
  if (link.tls != nullptr) events = link.tls->Ready(events);
  if ((events & EPOLLOUT) != 0) {
    link.blocked = false;
    if (!link.in_writes) {
      link.in_writes = true;
      writes_.push_back(&link);
    }
  }
  if ((events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) Read(link);
}

void Links::Read(Link& link) {
  size_t total = 0;
  while (!link.dead && total < kReadBytesMax) {
    const bool own = !link.in.empty();
    // Sized by the message under way, in steps: a declared size allocates nothing.
    const size_t room = own ? std::clamp(link.missing, Context::kScratchBytes, kReadBytesMax)
                            : Context::kScratchBytes;
    char* to = own ? link.in.Reserve(room) : context_.scratch.get();
    ssize_t got = link.tls == nullptr ? ::read(link.fd.get(), to, room) : link.tls->Read(to, room);
    if (got <= 0) {
      if (got == 0 || !IsTransient(errno)) {
        TellTlsError(link);
        Kill(link);
      } else if (link.tls != nullptr) {
        UpdateInterest(link);
      }
      return;
    }
    const auto size = static_cast<size_t>(got);
    total += size;
    context_.stats.link_input_bytes += size;
    if (own) link.in.Advance(size);
    std::string_view input = own ? link.in.view() : std::string_view(to, size);
    size_t done = Deliver(link, input);
    if (done < input.size() && link.trusted && !link.dead) context_.service.OnLinkPart(link.id);
    if (own) {
      link.in.Consume(done);
    } else if (done < input.size()) {
      context_.buffers.Lend(link.in);
      link.in.Append(input.substr(done));
    }
    if (link.in.empty()) context_.buffers.Return(link.in);
    if (size < room) break;
  }
  if (link.tls != nullptr && !link.dead && link.tls->pending()) NotePending(link);
}

void Links::NotePending(Link& link) {
  if (link.in_pending) return;
  link.in_pending = true;
  pending_.push_back(&link);
}

void Links::ReadPending() {
  for (Link* link : std::exchange(pending_, {})) {
    link->in_pending = false;
    if (!link->dead && link->up) Read(*link);
  }
}

void Links::UpdateInterest(Link& link) {
  const uint32_t plain = link.blocked ? EPOLLIN | EPOLLOUT : EPOLLIN;
  poller_.Want(link, link.tls == nullptr ? plain : link.tls->Events(true, link.blocked));
}

void Links::TellTlsError(const Link& link) {
  if (link.tls == nullptr || link.tls->error().empty()) return;
  const std::string who = NameOf(link);
  context_.service.OnRefused(link.dialed, "the link with the peer at " + who + " is closed: " + link.tls->error());
}

std::string Links::Refusal(LinkId id, std::string_view leader) const {
  const Link* link = Find(id);
  if (link == nullptr || link->tls == nullptr) return {};
  std::string listed;
  for (const std::string& name : link->tls->PeerNames()) {
    if (name == leader) return {};
    // Somebody else's bytes, for people: as far as they can be names.
    const bool shown = name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < '\x7f'; });
    if (shown && listed.size() < 256) listed += (listed.empty() ? "'" : ", '") + name + "'";
  }
  return listed.empty() ? "its certificate names no leader (subjectAltName, DNS)" : "its certificate is for " + listed;
}

size_t Links::Deliver(Link& link, std::string_view input) {
  size_t at = 0;
  link.missing = 0;
  // As a length these bytes would be far beyond what a first message may have.
  if (!link.trusted && link.tls == nullptr && LooksLikeTls(input)) {
    const std::string who = NameOf(link);
    context_.service.OnRefused(
        link.dialed, "the peer at " + who + " is refused: it speaks TLS, and this leader does not: start all leaders with --tls-peers yes");
    Fail(link);
    return input.size();
  }
  while (true) {
    const size_t size_max = link.trusted ? context_.options.link_message_bytes_max
                                         : context_.options.link_first_message_bytes_max;
    const FramedMessage next = NextFramed(input.substr(at), size_max);
    if (next.state == FramedMessage::State::kBroken) {
      Fail(link);
      return input.size();
    }
    if (next.state == FramedMessage::State::kPart) {
      link.missing = next.missing;
      return at;
    }
    link.trusted = true;
    if (link.dialed.empty()) link.deadline_us = 0;
    at += next.used;
    context_.service.OnLinkMessage(link.id, next.message);
    if (link.dead) return input.size();
  }
}

void Links::Send(LinkId id, std::string_view message) {
  Link* link = Find(id);
  if (link == nullptr || !link->up) return;
  // The peer would refuse the message, or does not keep up although flow control asked it to.
  const bool large = message.size() > context_.options.link_message_bytes_max;
  if (large || link->out.size() > context_.options.link_output_bytes_max) {
    std::string reason =
        large ? "a message of " + std::to_string(message.size()) + " bytes is more than the " +
                    std::to_string(context_.options.link_message_bytes_max) + " that a link takes"
              : std::to_string(link->out.size()) + " bytes wait for a peer that does not read them";
    Fail(*link);
    context_.service.OnSendRefused(id, std::move(reason));
    return;
  }
  context_.buffers.Lend(link->out);
  AppendFrame(link->out, message);
  if (!link->in_writes) {
    link->in_writes = true;
    writes_.push_back(link);
  }
}

size_t Links::Backlog(LinkId id) const {
  const Link* link = Find(id);
  return link == nullptr ? 0 : link->out.size();
}

void Links::Flush() {
  for (Link* link : writes_) {
    link->in_writes = false;
    Write(*link);
  }
  writes_.clear();
}

void Links::Write(Link& link) {
  if (link.dead || link.blocked || link.broken) return;
  if (!link.out.empty()) {
    ssize_t sent = link.tls == nullptr ? ::send(link.fd.get(), link.out.data(), link.out.size(), MSG_NOSIGNAL)
                                       : link.tls->Write(link.out.data(), link.out.size());
    if (sent < 0 && !IsTransient(errno)) {
      // It has gone, perhaps just after it told the last that it had to tell.
      link.broken = true;
      link.out.clear();
      return poller_.Want(link, EPOLLIN);
    }
    link.out.Consume(static_cast<size_t>(std::max<ssize_t>(sent, 0)));
    context_.stats.link_output_bytes += static_cast<uint64_t>(std::max<ssize_t>(sent, 0));
  }
  link.blocked = !link.out.empty();
  if (!link.blocked) context_.buffers.Return(link.out);
  UpdateInterest(link);
}

// Closing
// ------------------------------------------------------------------------------------------

void Links::Close(LinkId id) {
  if (Link* link = Find(id)) Kill(*link);
}

void Links::Fail(Link& link) {
  ++context_.stats.link_errors;
  Kill(link);
}

void Links::Kill(Link& link) {
  if (link.dead) return;
  link.dead = true;
  dead_.push_back(&link);
}

void Links::Sweep() {
  // By id: a failed dial calls the service, which may dial; nothing is erased here.
  for (auto& [id, link] : links_) {
    if (link->broken) Kill(*link);
    if (link->dead || link->deadline_us == 0 || context_.now.mono_us < link->deadline_us) continue;
    if (link->up) {
      Fail(*link);
    } else {
      Kill(*link);
      NoteTried(*link);
      DialFailed(link->dialed, "timed out");
    }
  }
}

void Links::Reap() {
  for (size_t i = 0; i < dead_.size(); ++i) {  // OnLinkDown may close more
    Link& link = *dead_[i];
    if (link.in_writes) std::erase(writes_, &link);
    if (link.in_pending) std::erase(pending_, &link);
    if (link.tls != nullptr) link.tls->Finish();
    if (link.up) context_.service.OnLinkDown(link.id);
    links_.erase(link.id);
  }
  dead_.clear();
}

bool Links::Drain() {
  Flush();
  bool lacking = false;
  for (auto& [id, owned] : links_) {
    Link& link = *owned;
    if (link.dead || !link.up || link.broken) continue;
    link.blocked = false;
    Write(link);
    if (link.dead || link.broken) continue;
    if (!link.out.empty()) {
      lacking = true;
      continue;
    }
    if (!link.half_closed) {
      link.half_closed = true;
      if (link.tls != nullptr) link.tls->Finish();
      static_cast<void>(::shutdown(link.fd.get(), SHUT_WR));
    }
    // A close with something unread would take back what the other side has not read.
    while (::read(link.fd.get(), context_.scratch.get(), Context::kScratchBytes) > 0) {
    }
    int unacknowledged = 0;
    lacking = lacking || (::ioctl(link.fd.get(), TIOCOUTQ, &unacknowledged) == 0 && unacknowledged > 0);
  }
  return lacking;
}

void Links::CloseAll() {
  for (auto& [id, link] : links_)
    link->fd.Reset();
}

}  // namespace polyarch::net
