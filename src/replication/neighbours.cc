// Heartbeats, link states, and who is a neighbour: dialing, bypasses, links that go.
#include <algorithm>

#include "base/planted.h"
#include "replication/replica.h"

namespace polyarch::replication {

namespace {

constexpr int64_t kDialBackoffFirstUs = 50'000;
constexpr int64_t kDialBackoffMaxUs = 2'000'000;
constexpr int64_t kDialSlowUs = 1'000'000;    // a dial that takes longer counts as failed, for healing
constexpr int64_t kProbeFirstUs = 2'000'000;  // between probes of one member out of reach: this, up to
constexpr int64_t kProbeSpreadUs = 4'000'000; // so much more
constexpr int64_t kSayUs = 20'000;            // between two new link states of this process
constexpr int64_t kSummaryUs = 250'000;       // between two summaries on one link
constexpr int64_t kUnwantedUs = 3'000'000;    // before a link that nobody wants is drained
constexpr int64_t kDrainUs = 3'000'000;       // before it is closed, whatever it still carries
constexpr int64_t kSteadyUs = 10'000'000;     // a link that fails earlier than that flaps
constexpr int64_t kHoldFirstUs = 250'000;
constexpr int64_t kHoldMaxUs = 4'000'000;
constexpr int64_t kDampingForgetUs = 60'000'000;
constexpr int64_t kForgetEveryUs = 1'000'000;
constexpr size_t kStatesBytes = 256 << 10;    // of one message

}  // namespace

Replica::Process Replica::Self() const {
  return {options_.leader, nonce_, started_ms_, options_.advertise, incarnation_, rival_};
}

// ---- heartbeats

void Replica::SendPulse(Link& link) {
  graph_.Compute(now_us_);
  wire::Pulse pulse;
  pulse.wanted = link.wanted;
  pulse.want_full = link.want_full;
  pulse.have = link.haves_sent;
  pulse.hello = link.peer_version;
  pulse.graph = graph_.hash();
  pulse.wall_ms = wall_ms_;
  link.want_full = false;
  link.pulsed_us = now_us_;
  SendTo(link, wire::Encode(pulse));
}

void Replica::HandlePulse(Link& link, const wire::Pulse& pulse) {
  // Unsigned: a clock may stand anywhere.
  link.clock_difference_ms =
      static_cast<int64_t>(static_cast<uint64_t>(pulse.wall_ms) - static_cast<uint64_t>(wall_ms_));
  link.peer_wants = pulse.wanted;
  link.hello_heard = std::max(link.hello_heard, pulse.hello);
  if (pulse.want_full) AnnounceFull(link);
  if (pulse.have > link.haves_seen) {
    link.want_full = true;
    SendPulse(link);
  }
  graph_.Compute(now_us_);
  if (pulse.graph != graph_.hash()) SendSummary(link);
}

// ---- link states

void Replica::SendSummary(Link& link) {
  // What was flooded just now is still on its way.
  if (link.summary_us != 0 && now_us_ - link.summary_us < kSummaryUs) return;
  link.summary_us = now_us_;
  graph_.Compute(now_us_);
  SendTo(link, wire::Encode(graph_.Summary()));
}

void Replica::HandleLinkSummary(Link& link, const wire::LinkSummary& summary) {
  graph_.Compute(now_us_);
  wire::LinkWant want;
  std::map<uint64_t, uint64_t> theirs;
  for (const wire::LinkSummary::Item& item : summary.items) {
    theirs[item.nonce] = item.number;
    const wire::LinkState* mine = graph_.Find(item.nonce);
    if (mine == nullptr || mine->number < item.number) want.nonces.push_back(item.nonce);
  }
  if (!want.nonces.empty()) SendTo(link, wire::Encode(want));
  // What they do not list they may know all the same, and not reach: a link that is held back joins two parts of which
  // each knows the other. So they are told what there is, and ask for what they lack.
  const std::vector<const wire::LinkState*> reached = graph_.Reachable();
  const bool more = std::any_of(reached.begin(), reached.end(), [&](const wire::LinkState* mine) {
    auto it = theirs.find(mine->process.nonce);
    return it == theirs.end() || it->second < mine->number;
  });
  if (more) SendSummary(link);
}

void Replica::HandleLinkWant(Link& link, const wire::LinkWant& want) {
  for (uint64_t nonce : want.nonces) {
    if (graph_.Find(nonce) != nullptr) link.flood.insert(nonce);
  }
}

void Replica::HandleLinkStates(Link& link, const wire::LinkStates& states) {
  for (const wire::LinkState& state : states.entries) {
    switch (graph_.Merge(state, now_us_)) {
      case LinkStates::Merged::kNew: Flood(state.process.nonce, &link); break;
      case LinkStates::Merged::kRaised: Flood(nonce_, nullptr); break;
      case LinkStates::Merged::kKnown: {
        // They have it: no need to send it.
        const wire::LinkState* mine = graph_.Find(state.process.nonce);
        if (mine != nullptr && mine->number == state.number) link.flood.erase(state.process.nonce);
        break;
      }
      case LinkStates::Merged::kRefused: break;
    }
  }
}

// To all neighbours but those that have it from where it came from: the sender of a link state sends it
// to all its own neighbours, and its author to all of his. What is lost, the heartbeats show.
void Replica::Flood(uint64_t nonce, const Link* from) {
  auto lists = [this](uint64_t who, uint64_t neighbour) {
    const wire::LinkState* state = graph_.Find(who);
    return state != nullptr &&
           std::binary_search(state->neighbours.begin(), state->neighbours.end(), neighbour);
  };
  for (auto& [id, link] : links_) {
    if (!link.greeted || link.peer.nonce == nonce) continue;
    if (from != nullptr && (id == from->id || lists(from->peer.nonce, link.peer.nonce))) continue;
    link.flood.insert(nonce);
  }
}

void Replica::FlushFloods() {
  for (auto& [id, link] : links_) {
    if (link.flood.empty() || !link.greeted) continue;
    wire::LinkStates states;
    size_t bytes = 0;
    auto send = [&] {
      counters_.link_states_out += states.entries.size();
      SendTo(link, wire::Encode(states));
      states.entries.clear();
      bytes = 0;
    };
    for (uint64_t nonce : link.flood) {
      const wire::LinkState* state = graph_.Find(nonce);
      if (state == nullptr) continue;
      states.entries.push_back(*state);
      bytes += 64 + state->process.leader.size() + state->process.address.size() + 8 * state->neighbours.size();
      if (bytes >= kStatesBytes) send();
    }
    if (!states.entries.empty()) send();
    link.flood.clear();
  }
}

void Replica::SayLinks() {
  if (!links_changed_ || now_us_ - said_us_ < kSayUs) return;
  links_changed_ = false;
  std::set<uint64_t> neighbours;
  for (const auto& [id, link] : links_) {
    if (!link.greeted || link.deliberate || link.draining_us != 0) continue;
    if (link.listed_from_us > now_us_) {
      links_changed_ = true;  // soon
    } else {
      neighbours.insert(link.peer.nonce);
    }
  }
  if (!graph_.SetOwn(Self(), neighbours)) return;
  said_us_ = now_us_;
  Flood(nonce_, nullptr);
}

void Replica::UpdateGraph() {
  if (now_us_ >= next_forget_us_) {
    next_forget_us_ = now_us_ + kForgetEveryUs;
    graph_.Forget(now_us_);
    std::erase_if(damping_, [&](const auto& d) { return now_us_ - d.second.down_us > kDampingForgetUs; });
  }
  graph_.Compute(now_us_);
  if (graph_.version() == graph_seen_) return;
  graph_seen_ = graph_.version();
  targets_found_ = 0;
  routes_changed_ = true;
  CheckClash();
}

// ---- neighbours

void Replica::NoteFlap(const Link& link) {
  if (link.deliberate) return;
  Damping& damping = damping_[link.peer.nonce];
  if (now_us_ - link.up_us < kSteadyUs) {
    damping.hold_us = std::clamp(damping.hold_us * 2, kHoldFirstUs, kHoldMaxUs);
  } else {
    damping.hold_us = 0;
  }
  damping.down_us = now_us_;
}

void Replica::UpdateNeighbours() {
  std::set<std::string> linked;
  for (const auto& [id, link] : links_) {
    if (link.greeted) linked.insert(link.peer.leader);
  }
  // A dial without an answer says as much as one that failed.
  for (auto& [address, dialing] : dialing_) {
    if (dialing.under_way && now_us_ - dialing.began_us >= kDialSlowUs) NoteDialFailed(address);
  }
  healing_.Update(graph_, linked, cut_, now_us_);
  for (auto& [id, link] : links_) {
    if (!link.greeted || link.deliberate) continue;
    const bool wanted =
        joining_ || link.joining || link.peer.leader == carrier_ || healing_.Wants(link.peer.leader);
    if (wanted != link.wanted) {
      link.wanted = wanted;
      SendPulse(link);
    }
    if (link.wanted || link.peer_wants) {
      link.unwanted_us = 0;
      if (link.draining_us != 0) links_changed_ = true;
      link.draining_us = 0;
      continue;
    }
    if (link.unwanted_us == 0) link.unwanted_us = now_us_;
    if (now_us_ - link.unwanted_us >= kUnwantedUs) Drain(link);
  }
}

// First nobody routes over it any more; then the streams have moved; then it goes.
void Replica::Drain(Link& link) {
  if (link.draining_us == 0) {
    link.draining_us = now_us_;
    links_changed_ = true;
    return;
  }
  const bool carries = !link.cursors.empty() || std::any_of(streams_.begin(), streams_.end(), [&](const Stream& s) {
    return s.source == link.id && s.target != 0;
  });
  if (carries && now_us_ - link.draining_us < kDrainUs) return;
  ++counters_.drained;
  Close(link);
}

void Replica::BackOff(Dialing& dialing) {
  dialing.under_way = false;
  dialing.backoff_us = std::clamp<int64_t>(dialing.backoff_us * 2, kDialBackoffFirstUs, kDialBackoffMaxUs);
  dialing.next_us = now_us_ + dialing.backoff_us / 2 +
                    static_cast<int64_t>(random_.Below(static_cast<uint64_t>(dialing.backoff_us)));
}

void Replica::NoteDialFailed(const std::string& address) {
  for (const auto& [name, member] : members_) {
    if (member.address == address) healing_.NoteFailed(name);
  }
}

void Replica::DialMembers() {
  std::set<std::string> wanted;
  std::set<std::string> probed;
  // Later, too, when nobody is there: a restored or copied directory may be older than its members'
  // addresses.
  const bool alone = std::none_of(
      links_.begin(), links_.end(), [](const auto& entry) { return entry.second.greeted; });
  if (joining_ || alone) wanted.insert(options_.join.begin(), options_.join.end());
  // Where processes live now, as they say themselves.
  std::map<std::string, std::string> living;
  for (const wire::LinkState* state : graph_.Reachable()) {
    if (state->process.nonce != nonce_) living.emplace(state->process.address, state->process.leader);
  }
  std::set<std::string> linked;
  std::set<std::string> linked_addresses;
  for (const auto& [id, link] : links_) {
    if (!link.greeted) continue;
    linked.insert(link.peer.leader);
    linked_addresses.insert(link.peer.address);
  }
  for (const auto& [name, member] : members_) {
    if (IsCut(name) || (linked.count(name) != 0 && name != options_.leader)) continue;
    // Nobody to dial, or another leader lives there now: no link of ours, unless the topology says so
    // under its own name.
    auto there = living.find(member.address);
    const bool taken = there != living.end() && there->second != name;
    if (member.address.empty() || member.address == options_.advertise || taken ||
        linked_addresses.count(member.address) != 0) {
      healing_.NoteFailed(name);
      continue;
    }
    if (healing_.Dials(name) || name == carrier_ || (name == options_.leader && there == living.end())) {
      wanted.insert(member.address);
    } else if (healing_.Probes(name, now_us_)) {
      probed.insert(member.address);
    }
  }
  // It may be a member that is not known here to be one: the record comes with its state.
  if (linked.count(carrier_) == 0 && members_.count(carrier_) == 0 && !IsCut(carrier_)) {
    for (const auto& [address, leader] : living) {
      if (leader == carrier_) wanted.insert(address);
    }
  }
  wanted.erase(options_.advertise);
  for (const auto& [id, link] : links_) {
    if (!link.dialed.empty()) wanted.erase(link.dialed);
    if (!link.dialed.empty()) probed.erase(link.dialed);
  }
  if (joining_) {
    // Once greeted by a member there is no need to dial the same process by another address.
    for (const std::string& address : linked_addresses)
      wanted.erase(address);
  }
  auto dial = [&](const std::string& address) {
    Dialing& dialing = dialing_[address];
    if (dialing.under_way || now_us_ < dialing.next_us) return;
    dialing.under_way = true;
    dialing.began_us = now_us_;
    if (dialing.backoff_us == 0) dialing.backoff_us = kDialBackoffFirstUs / 2;
    host_.Dial(address);
  };
  for (const std::string& address : wanted)
    dial(address);
  for (const std::string& address : probed) {
    if (wanted.count(address) != 0) continue;
    Dialing& dialing = dialing_[address];
    const int64_t next_us = dialing.began_us + kProbeFirstUs +
                            static_cast<int64_t>(random_.Below(static_cast<uint64_t>(kProbeSpreadUs)));
    if (now_us_ >= next_us) dial(address);
  }
}

}  // namespace polyarch::replication
