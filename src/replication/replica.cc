// Links, greetings, claims. Announcements: announce.cc. Streams of frames: streams.cc.
#include "replication/replica.h"

#include <algorithm>
#include <tuple>

#include "base/check.h"
#include "base/codec.h"
#include "base/planted.h"
#include "wire/state_message.h"

namespace polyarch::replication {

namespace {

constexpr int64_t kHelloRetryUs = 500'000;
constexpr int64_t kPulseUs = 300'000;
constexpr int64_t kLinkTimeoutUs = 1'800'000;
constexpr int64_t kDialedWellUs = 2'000'000;  // a link that lasted so long makes up for failed dials
constexpr size_t kDelayedMax = 8 << 20;          // of published and routed messages that LINK DELAY holds back
constexpr int64_t kRefusedLingerUs = 1'000'000;  // so that the refusal reaches the other side
constexpr int64_t kEndGraceUs = 4'000'000;  // before a foreign process of our name counts as gone
constexpr int64_t kRouteUs = 100'000;
constexpr int64_t kSampleUs = 50'000;
constexpr size_t kSamplesMax = 600;
// Origins that peers name never take the last places: this node needs one a start.
constexpr size_t kOwnOriginsRoom = 1024;
// Lines that strangers cause: the same one, and others.
constexpr int64_t kSameStrangerUs = 60'000'000;
constexpr int64_t kStrangersUs = 1'000'000;

// A stranger's bytes, for the log: they begin no line of their own and move no terminal's cursor.
std::string Shown(std::string_view text) {
  constexpr size_t kShownMax = 200;
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  for (const char c : text.substr(0, kShownMax)) {
    if (c >= ' ' && c <= '~') {
      out.push_back(c);
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out.append("\\x").append(1, kHex[byte >> 4]).append(1, kHex[byte & 15]);
  }
  return out + (text.size() > kShownMax ? "..." : "");
}

}  // namespace

Replica::Replica(
    Options options, ReplicaHost& host, log::Log& log, clock::OriginTable& origins, uint64_t seed)
    : options_(std::move(options)), host_(host), log_(log), origins_(origins), random_(seed),
      graph_(0) {
  nonce_ = random_.Next() | 1;
  incarnation_ = random_.Next() | 1;
  graph_ = LinkStates(nonce_);
}

void Replica::Start(int64_t mono_us, int64_t wall_ms) {
  SetTime(mono_us, wall_ms);
  started_ms_ = wall_ms;
  graph_.SetOwn(Self(), {});
  NoteTrimmed();
  for (size_t i = 0; i < origins_.size(); ++i) {
    const clock::Origin& origin = origins_.Get(static_cast<clock::OriginIndex>(i));
    if (origin.leader == options_.leader) own_name_seen_us_[origin.incarnation] = 0;
  }
}

OriginRow& Replica::Row(clock::OriginIndex origin) {
  size_t i = clock::IndexOf(origin);
  while (rows_.size() <= i) {
    auto index = static_cast<clock::OriginIndex>(rows_.size());
    rows_.emplace_back();
    rows_.back().dictionary = wire::Dictionary(index);
  }
  return rows_[i];
}

void Replica::NoteRow(clock::OriginIndex origin) {
  const OriginRow& row = rows_[clock::IndexOf(origin)];
  OfLeader& of = leaders_[origins_.Get(origin).leader];
  of.clock_ms = std::max(of.clock_ms, row.clock_ms);
  const bool listed = row.last != 0 && !(row.ended && row.compact);
  auto it = std::lower_bound(of.rows.begin(), of.rows.end(), origin);
  const bool is = it != of.rows.end() && *it == origin;
  if (listed && !is) of.rows.insert(it, origin);
  if (!listed && is) of.rows.erase(it);
}

void Replica::RestoreRow(clock::OriginIndex origin, OriginRow row) {
  RestoreApplied(origin, row.last);
  Row(origin) = std::move(row);
  NoteRow(origin);
}

void Replica::SetEnded(clock::OriginIndex origin) {
  Row(origin).SetEnded();
  NoteRow(origin);
}

// ---- this node's origin

clock::OriginIndex Replica::Mint() {
  if (!own_) {
    if (PLANTED(kReuseIncarnation)) {
      for (size_t i = 0; i < origins_.size(); ++i) {
        auto origin = static_cast<clock::OriginIndex>(i);
        if (origins_.Get(origin).leader == options_.leader && applied_.Get(origin) > 0)
          own_ = origin;
      }
      if (own_) {
        incarnation_ = origins_.Get(*own_).incarnation;
        return *own_;
      }
    }
    clock::OriginIndex index = origins_.Intern({options_.leader, incarnation_});
    CHECK(index != clock::kNoOrigin);
    Row(index);
    own_ = index;
  }
  return *own_;
}

clock::OriginIndex Replica::InternForeign(const clock::Origin& origin) {
  if (auto known = origins_.Find(origin)) return *known;
  if (origins_.size() + kOwnOriginsRoom >= clock::kOriginsMax) return clock::kNoOrigin;
  return origins_.Intern(origin);
}

void Replica::ForgetOwn() {
  own_.reset();
  receipts_.clear();
  wanted_receipts_ = said_receipts_ = 0;
  incarnation_ = (random_.Next() ^ host_.Entropy()) | 1;
  Regreet();
}

void Replica::Rename(const std::string& leader) {
  options_.leader = leader;
  Regreet();
}

void Replica::SetMembers(std::map<std::string, Member> members) {
  for (const auto& [name, member] : members) {
    // What its process had on its disk the newly admitted one need not have.
    auto before = members_.find(name);
    if (before != members_.end() && before->second.admissions != member.admissions) receipts_.erase(name);
  }
  members_ = std::move(members);
  std::erase_if(past_have_, [&](const auto& entry) { return members_.count(entry.first) == 0; });
  std::erase_if(past_bytes_, [&](const auto& entry) { return members_.count(entry.first) == 0; });
  std::set<std::string> names;
  for (const auto& [name, member] : members_)
    names.insert(name);
  healing_.Configure(options_.leader, names);
}

std::vector<clock::OriginIndex> Replica::OriginsToEnd() {
  std::vector<clock::OriginIndex> out;
  const auto of = leaders_.find(options_.leader);
  if (of == leaders_.end()) return out;
  for (const clock::OriginIndex index : of->second.rows) {
    ++steps_;
    if (row(index).ended || (own_ && index == *own_)) continue;
    const clock::Origin& origin = origins_.Get(index);
    const uint64_t process = graph_.ProcessOf(origin.leader, origin.incarnation);
    bool live = process != 0 && process != nonce_;
    for (const auto& [id, link] : links_) {
      if (!link.greeted) continue;
      live |= link.peer.leader == origin.leader && link.peer.incarnation == origin.incarnation;
    }
    // What was there at our start is of an earlier process (an incarnation never outlives one).
    // What came later may be a clone's that nobody has told us of yet: give the announcement some
    // time.
    auto [seen, fresh] = own_name_seen_us_.try_emplace(origin.incarnation, now_us_);
    if (live) {
      seen->second = now_us_;
      continue;
    }
    if (seen->second != 0 && now_us_ - seen->second < kEndGraceUs) continue;
    out.push_back(index);
  }
  return out;
}

// ---- links

void Replica::SendTo(Link& link, std::string_view message) {
  const int64_t delay_us = DelayUs(link);
  // Greetings are never delayed: they keep the link alive.
  if ((delay_us > 0 || !link.delayed_out.empty()) &&
      message[0] != static_cast<char>(wire::MessageType::kHello)) {
    link.delayed_out.emplace_back(now_us_ + delay_us, message);
    link.delayed_out_bytes += message.size();
    return;
  }
  link.bytes_out += message.size();
  host_.Send(link.id, message);
}

int64_t Replica::DelayUs(const Link& link) const {
  if (!link.greeted || delay_ms_.empty()) return 0;
  auto delay = delay_ms_.find(link.peer.leader);
  return delay == delay_ms_.end() ? 0 : delay->second * 1000;
}

void Replica::SendHello(Link& link) {
  wire::Hello hello;
  hello.cluster = cluster_id_;
  hello.process = Self();
  hello.joining = joining_;
  hello.join_nonce = join_nonce_;
  hello.heard = link.greeted ? link.peer.nonce : 0;
  hello.version = hello_version_;
  link.hello_us = now_us_;
  SendTo(link, wire::Encode(hello));
}

void Replica::Regreet() {
  ++hello_version_;
  links_changed_ = true;
  for (auto& [id, link] : links_)
    SendHello(link);
}

void Replica::Close(Link& link) {
  link.deliberate = true;
  host_.CloseLink(link.id);
}

// A process that has no cluster yet has nothing to say but to whom its operator sent it: whoever dials it may take it
// for the one that was at its address before, and be of another cluster.
bool Replica::MayGreet(const Link& link) const {
  return cluster_id_ != 0 || (joining_ && !link.dialed.empty());
}

void Replica::OnLinkUp(LinkId id, const std::string& dialed, const std::string&) {
  Link& link = links_[id];
  link.id = id;
  link.dialed = dialed;
  link.up_us = link.heard_us = now_us_;
  if (!dialed.empty()) dialing_[dialed].under_way = false;
  // It may be one that is cut off (LINK CUT): it speaks first, so that no link seems to it to come and go.
  const bool may_be_cut = dialed.empty() ? !cut_.empty() : std::any_of(cut_.begin(), cut_.end(), [&](const auto& leader) {
    const auto member = members_.find(leader);
    return member != members_.end() && member->second.address == dialed;
  });
  if (may_be_cut) {
    link.hello_us = now_us_;
    return;
  }
  if (MayGreet(link)) {
    SendHello(link);
  } else {
    Close(link);
  }
}

void Replica::OnLinkDown(LinkId id) {
  auto it = links_.find(id);
  if (it == links_.end()) return;
  if (!it->second.dialed.empty()) {
    Dialing& dialing = dialing_[it->second.dialed];
    // A link that goes as soon as it has come (cut at the other end) is no success.
    if (it->second.greeted && now_us_ - it->second.up_us >= kDialedWellUs) dialing.backoff_us = 0;
    BackOff(dialing);
    if (!it->second.greeted) NoteDialFailed(it->second.dialed);
  }
  if (it->second.greeted) {
    NoteFlap(it->second);
    links_changed_ = true;
    targets_found_ = 0;
  }
  for (Stream& stream : streams_) {
    if (stream.source == id) {
      stream.source = 0;
      routes_changed_ = true;
    }
  }
  if (it->second.greeted && members_.count(it->second.peer.leader) != 0) {
    past_have_[it->second.peer.leader] = it->second.have;
    past_bytes_[it->second.peer.leader].first += it->second.bytes_in;
    past_bytes_[it->second.peer.leader].second += it->second.bytes_out;
  }
  links_.erase(it);
}

void Replica::OnDialFailed(const std::string& address) {
  BackOff(dialing_[address]);
  NoteDialFailed(address);
}

void Replica::OnLinkMessage(LinkId id, std::string_view message) {
  auto it = links_.find(id);
  if (it == links_.end() || message.empty()) return;
  Link& link = it->second;
  link.heard_us = now_us_;
  link.bytes_in += message.size();
  const int64_t delay_us = DelayUs(link);
  if ((delay_us > 0 || !link.delayed.empty()) &&
      message[0] != static_cast<char>(wire::MessageType::kHello)) {
    // What nobody waits for is not kept for an hour; all else is bounded by its credit.
    const bool droppable = message[0] == static_cast<char>(wire::MessageType::kPublish) ||
                           message[0] == static_cast<char>(wire::MessageType::kRouted);
    if (droppable && link.delayed_bytes > kDelayedMax) return;
    link.delayed.emplace_back(now_us_ + delay_us, message);
    link.delayed_bytes += message.size();
    return;
  }
  Handle(link, message);
}

void Replica::OnLinkPart(LinkId id) {
  auto it = links_.find(id);
  if (it != links_.end()) it->second.heard_us = it->second.part_us = now_us_;
}

int64_t Replica::LastPart(LinkId id) const {
  auto it = links_.find(id);
  return it == links_.end() ? INT64_MIN : it->second.part_us;
}

void Replica::Handle(Link& link, std::string_view message) {
  std::string_view payload = message.substr(1);
  const auto type = static_cast<wire::MessageType>(message[0]);
  bool well_formed = true;
  if (type == wire::MessageType::kHello) {
    wire::Hello hello;
    well_formed = wire::Decode(payload, hello);
    if (well_formed) {
      HandleHello(link, hello);
      return;
    }
  } else if (type == wire::MessageType::kRefused) {
    wire::Refused refused;
    well_formed = wire::Decode(payload, refused);
    if (well_formed) {
      HandleRefused(link, refused);
      return;
    }
  } else if (!link.greeted) {
    return;  // their greeting was lost; it will be sent again
  } else if (type == wire::MessageType::kFrame) {
    HandleFrame(link, payload);
    return;
  } else if (type == wire::MessageType::kHave) {
    wire::Have have;
    well_formed = wire::Decode(payload, have);
    if (well_formed) HandleHave(link, have);
  } else if (type == wire::MessageType::kHaveMore) {
    wire::HaveMore have;
    well_formed = wire::Decode(payload, have);
    if (well_formed) HandleHaveMore(link, have);
  } else if (type == wire::MessageType::kSubscribe) {
    wire::Subscribe subscribe;
    well_formed = wire::Decode(payload, subscribe);
    if (well_formed) HandleSubscribe(link, subscribe);
  } else if (type == wire::MessageType::kUnsubscribe) {
    wire::Unsubscribe unsubscribe;
    well_formed = wire::Decode(payload, unsubscribe);
    auto index = origins_.Find(unsubscribe.origin);
    if (well_formed && index) {
      auto cursor = link.cursors.find(*index);
      if (cursor != link.cursors.end() && cursor->second.generation <= unsubscribe.generation)
        link.cursors.erase(cursor);
    }
  } else if (type == wire::MessageType::kCredit) {
    wire::Credit credit;
    well_formed = wire::Decode(payload, credit);
    if (well_formed) HandleCredit(link, credit);
  } else if (type == wire::MessageType::kPulse) {
    wire::Pulse pulse;
    well_formed = wire::Decode(payload, pulse);
    if (well_formed) HandlePulse(link, pulse);
  } else if (type == wire::MessageType::kLinkState) {
    wire::LinkStates states;
    well_formed = wire::Decode(payload, states);
    if (well_formed) HandleLinkStates(link, states);
  } else if (type == wire::MessageType::kLinkSummary) {
    wire::LinkSummary summary;
    well_formed = wire::Decode(payload, summary);
    if (well_formed) HandleLinkSummary(link, summary);
  } else if (type == wire::MessageType::kLinkWant) {
    wire::LinkWant want;
    well_formed = wire::Decode(payload, want);
    if (well_formed) HandleLinkWant(link, want);
  } else if (type == wire::MessageType::kWantReceipt) {
    wire::WantReceipt wish;
    well_formed = wire::Decode(payload, wish);
    if (well_formed) HandleWantReceipt(link, wish);
  } else if (type == wire::MessageType::kReceipt) {
    wire::Receipt receipt;
    well_formed = wire::Decode(payload, receipt);
    if (well_formed) HandleReceipt(link, receipt);
  } else if (type == wire::MessageType::kPublish) {
    well_formed = HandlePublish(link, message);
  } else if (type == wire::MessageType::kRouted) {
    well_formed = HandleRouted(message);
  } else if (type == wire::MessageType::kFork) {
    wire::Fork fork;
    well_formed = wire::Decode(payload, fork);
    auto index = origins_.Find(fork.origin);
    if (well_formed && index) {
      ++counters_.forks;
      host_.Report(2,
                   link.peer.leader + " holds other contents for " + fork.origin.ToString() + ":" +
                       std::to_string(fork.sequence) +
                       "; compare backups of both before trusting either");
      host_.ForkDetected(*index);
    }
  }
  if (message[0] == static_cast<char>(wire::kGapMessage)) {
    wire::Gap gap;
    well_formed = wire::Decode(payload, gap);
    if (well_formed) HandleGap(link, gap.origin, gap.floor);
  } else if (message[0] > static_cast<char>(wire::kGapMessage) && link.greeted) {
    well_formed = host_.StateMessage(link.id, static_cast<uint8_t>(message[0]), payload);
  }
  if (!well_formed) {
    ++counters_.malformed;
    host_.Report(1, "malformed message from a peer; the link is closed and opened again");
    host_.CloseLink(link.id);
  }
}

// Names are bound to leaders by their certificates. Who is refused gets our greeting all the same, before the link is
// closed: whoever stands between the two shows the other one a wrong certificate, too.
bool Replica::IsWhoItSays(Link& link, const Process& process) {
  if (link.impostor) return false;
  // One that goes on under a name of its own, as `eu~1a2b3c`, has the certificate of the leader that it was.
  const std::string_view name = process.leader;
  const std::string why = host_.LinkRefusal(link.id, name.substr(0, name.find('~')));
  if (why.empty()) return true;
  host_.Report(2,
               "the peer at " + Shown(link.dialed.empty() ? process.address : link.dialed) + " says that it is leader " +
                   Shown(process.leader) + ", but " + why +
                   ": it is refused; a leader's certificate needs its name (subjectAltName DNS:" +
                   Shown(name.substr(0, name.find('~'))) + ")");
  link.impostor = true;
  link.deliberate = true;
  link.refused_us = now_us_;
  if (link.greeted) Close(link);
  return false;
}

void Replica::ReportStranger(const std::string& line) {
  const int64_t quiet_us = line == stranger_line_ ? kSameStrangerUs : kStrangersUs;
  if (now_us_ - stranger_told_us_ < quiet_us) return;
  stranger_line_ = line;
  stranger_told_us_ = now_us_;
  host_.Report(2, line);
}

void Replica::HandleHello(Link& link, const wire::Hello& hello) {
  if (hello.format != wire::kPeerFormat) {
    ReportStranger("a peer speaks format " + std::to_string(hello.format) + ", this node " +
                   std::to_string(wire::kPeerFormat) + ": upgrade the older one");
    Close(link);
    return;
  }
  if (hello.process.nonce == nonce_) {  // ourselves, by an address of our own
    Close(link);
    return;
  }
  if (!IsWhoItSays(link, hello.process)) return;
  // Only who asks for admission may have no cluster, and only of who has one.
  if (!MayGreet(link) || (hello.cluster == 0 && (cluster_id_ == 0 || !hello.joining))) {
    Close(link);
    return;
  }
  if (hello.cluster != 0 && cluster_id_ != 0 && hello.cluster != cluster_id_) {
    stranger_ = Shown(hello.process.leader) + " at " + Shown(hello.process.address);
    stranger_us_ = now_us_;
    ReportStranger("leader " + stranger_ +
                   " belongs to another cluster than this one: start whichever of the two is new here with an empty "
                   "directory and --join");
    Close(link);
    return;
  }
  if (IsRetired(hello.process, hello.join_nonce)) {
    const bool told = link.refused_us >= 0 || link.greeted;
    link.peer = hello.process;
    link.join_nonce = hello.join_nonce;
    if (!told || !IsEstranged(link)) Refuse(link, hello.join_nonce);
    if (!told && link.refuses) HeedRefusal(link);
    if (!IsEstranged(link)) return;
  } else if (link.refuses && !link.greeted) {  // its refusal came first
    link.peer = hello.process;
    link.join_nonce = hello.join_nonce;
    HeedRefusal(link);
    return;
  }
  if (IsCut(hello.process.leader)) {
    Close(link);
    return;
  }
  // One link a pair: of two, the one that the lower name dialed stays.
  for (auto& [id, other] : links_) {
    if (id == link.id || !other.greeted || other.peer.nonce != hello.process.nonce) continue;
    const bool we_are_lower =
        std::pair(options_.leader, nonce_) < std::pair(hello.process.leader, hello.process.nonce);
    const bool keep_this = !link.dialed.empty() == we_are_lower;
    const bool keep_other = !other.dialed.empty() == we_are_lower;
    if (keep_this == keep_other) {
      if (id < link.id) {
        Close(other);
      } else {
        Close(link);
        return;
      }
    } else if (keep_this) {
      Close(other);
    } else {
      Close(link);
      return;
    }
  }
  const bool first = !link.greeted;
  if (!first && hello.version < link.peer_version) return;  // overtaken by a newer one
  link.greeted = true;
  link.refused_us = -1;
  link.peer_version = hello.version;
  link.peer = hello.process;
  link.joining = hello.joining;
  link.join_nonce = hello.join_nonce;
  if (joining_ && cluster_id_ == 0 && hello.cluster != 0) {
    cluster_id_ = hello.cluster;
    host_.ClusterKnown(cluster_id_);
  }
  if (hello.joining && !joining_ && cluster_id_ != 0) {
    host_.JoinRequested(hello.process.leader, hello.join_nonce, hello.process.address);
  }
  if (hello.heard != nonce_) SendHello(link);
  CheckClash();
  if (first) {
    auto damping = damping_.find(link.peer.nonce);
    if (damping != damping_.end() && damping->second.hold_us > 0) {
      link.listed_from_us = now_us_ + damping->second.hold_us;
      ++counters_.held_back;
    }
    if (!healing_.IsConfigured(link.peer.leader) && members_.count(link.peer.leader) != 0) ++counters_.bypasses;
    links_changed_ = true;
    targets_found_ = 0;
    fed_since_us_ = -1;
    AnnounceFull(link);
    SendSummary(link);
    routes_changed_ = true;
  }
}

void Replica::SetRetired(std::set<std::pair<std::string, uint64_t>> retired) {
  retired_ = std::move(retired);
  for (auto& [id, link] : links_) {
    if (link.greeted && IsRetired(link.peer, link.join_nonce) && !IsEstranged(link)) Refuse(link, link.join_nonce);
  }
}

void Replica::Refuse(Link& link, uint64_t join_nonce) {
  SendTo(link, wire::Encode(wire::Refused{wire::Refused::Reason::kRetired, join_nonce}));
  if (link.refused_us < 0) link.refused_us = now_us_;
  if (link.greeted) {  // it is listed no more: whoever is refused, or has died since, is in reach of nobody
    links_changed_ = true;
    targets_found_ = 0;
  }
  link.greeted = false;
  link.cursors.clear();
  link.flood.clear();
  for (Stream& stream : streams_) {
    if (stream.source != link.id) continue;
    stream.source = 0;
    routes_changed_ = true;
  }
}

void Replica::HandleRefused(Link& link, const wire::Refused& refused) {
  // It may be about an admission that this process has given up since.
  if (refused.join_nonce != join_nonce_ || refused.reason != wire::Refused::Reason::kRetired) {
    Close(link);
    return;
  }
  link.refuses = true;
  // Whose word it is, and what that counts for, its greeting says; both sides greet until they are greeted.
  if (link.peer.nonce != 0) HeedRefusal(link);
}

void Replica::HeedRefusal(Link& link) {
  const bool mutual = IsRetired(link.peer, link.join_nonce);
  host_.RefusedAsRetired(link.peer.leader, link.join_nonce, mutual);
  if (!mutual) Close(link);  // else it must hear of our refusal first, which closes the link, too
}

// Two leaders that have retired each other, and are the last ones for themselves: only their records together say
// which of them stays. So they are linked until each has the other's.
bool Replica::IsEstranged(const Link& link) const {
  return link.refuses && !joining_ && IsRetired(link.peer, link.join_nonce) &&
         std::all_of(members_.begin(), members_.end(), [&](const auto& m) { return m.first == options_.leader; });
}

base::Status Replica::Cut(std::string_view leader) {
  cut_.emplace(leader);
  for (auto& [id, link] : links_) {
    if (link.greeted && link.peer.leader == leader) Close(link);
  }
  return {};
}

base::Status Replica::Heal(std::string_view leader) {
  cut_.erase(std::string(leader));
  for (auto& [address, dialing] : dialing_) {
    dialing.backoff_us = 0;
    dialing.next_us = now_us_;
  }
  return {};
}

base::Status Replica::Delay(std::string_view leader, int64_t delay_ms) {
  if (delay_ms > 0) {
    delay_ms_[std::string(leader)] = delay_ms;
  } else {
    delay_ms_.erase(std::string(leader));
  }
  return {};
}

void Replica::AddJoin(const std::string& address) {
  if (std::find(options_.join.begin(), options_.join.end(), address) == options_.join.end()) {
    options_.join.push_back(address);
  }
}

std::set<std::string> Replica::drills() const {
  std::set<std::string> out = cut_;
  for (const auto& [leader, delay_ms] : delay_ms_) out.insert(leader);
  return out;
}

// ---- name clashes

void Replica::CheckClash() {
  // Another live process with our name: whoever started later takes another name. That it lives is
  // proven by its knowing our nonce: an earlier process of ours, which a peer has not given up yet or
  // whose words are still on their way, died before our nonce was drawn.
  const Process* rival = nullptr;
  bool proven = false;
  proven_rival_ = 0;
  auto look = [&](const Process& p) {
    if (p.leader != options_.leader || p.nonce == nonce_) return;
    const bool later = std::pair(started_ms_, nonce_) > std::pair(p.started_ms, p.nonce);
    if (p.rival == nonce_) proven_rival_ = p.nonce;
    if (p.rival == nonce_ && later) {
      proven = true;
      clash_address_ = p.address;
    }
    if (rival == nullptr ||
        std::pair(p.started_ms, p.nonce) < std::pair(rival->started_ms, rival->nonce)) {
      rival = &p;
    }
  };
  for (const auto& [id, link] : links_) {
    if (link.greeted) look(link.peer);
  }
  graph_.Compute(now_us_);
  for (const wire::LinkState* state : graph_.Reachable())
    look(state->process);
  const uint64_t nonce = rival == nullptr ? 0 : rival->nonce;
  if (nonce != rival_) {
    rival_ = nonce;
    Regreet();
  }
  if (proven) host_.NameClash(clash_address_);
}

// ---- time

void Replica::Tick() {
  for (auto it = links_.begin(); it != links_.end();) {
    Link& link = (it++)->second;
    while (!link.delayed.empty() && link.delayed.front().first <= now_us_) {
      std::string message = std::move(link.delayed.front().second);
      link.delayed.pop_front();
      link.delayed_bytes -= message.size();
      const LinkId id = link.id;
      Handle(link, message);
      if (links_.count(id) == 0) break;
    }
  }
  for (auto& [id, link] : links_) {
    if (now_us_ - link.heard_us > kLinkTimeoutUs ||
        (link.refused_us >= 0 && now_us_ - link.refused_us > kRefusedLingerUs && !IsEstranged(link))) {
      host_.CloseLink(id);
      continue;
    }
    // A greeting is said again until it has been heard, and as long as it asks for admission; on a slow
    // link it is the sign of life.
    const bool unheard = link.greeted && link.hello_heard < hello_version_;
    if (now_us_ - link.hello_us > kHelloRetryUs && (!link.greeted || unheard || joining_ || DelayUs(link) > 0))
      SendHello(link);
    if (link.greeted && now_us_ - link.pulsed_us >= kPulseUs) SendPulse(link);
    while (!link.delayed_out.empty() && link.delayed_out.front().first <= now_us_) {
      link.bytes_out += link.delayed_out.front().second.size();
      link.delayed_out_bytes -= link.delayed_out.front().second.size();
      host_.Send(id, link.delayed_out.front().second);
      link.delayed_out.pop_front();
    }
  }
  const bool due = now_us_ >= next_route_us_;
  if (due) {
    next_route_us_ = now_us_ + kRouteUs;
    routes_changed_ = true;
  }
  SayLinks();
  UpdateGraph();
  if (due || links_changed_) UpdateNeighbours();
  // Again until it has ended: the host may have been unable to act on it (it was not admitted yet).
  if (due && rival_ != 0) CheckClash();
  if (due) DialMembers();
  if (routes_changed_) Route();
  FlushFloods();
  for (auto& [id, link] : links_) {
    if (link.greeted) Pump(link);
  }
  TickReceipts();  // behind the frames
  if (samples_.empty() || now_us_ - samples_.back().first >= kSampleUs) {
    samples_.emplace_back(now_us_, applied_);
    if (samples_.size() > kSamplesMax) samples_.pop_front();
  }
  if (now_us_ >= next_announce_us_) AnnounceNews();
}

void Replica::LogDurable(log::Position durable) {
  while (!undurable_.empty() && std::get<0>(undurable_.front()) <= durable) {
    durable_.Raise(std::get<1>(undurable_.front()), std::get<2>(undurable_.front()));
    undurable_.pop_front();
  }
}

void Replica::NoteLogged(clock::OriginIndex origin, uint64_t last, log::Position end) {
  undurable_.emplace_back(end, origin, last);
}

// ---- claims

clock::VersionVector Replica::Claim(const std::string& name) const {
  auto member = members_.find(name);
  clock::VersionVector base;
  if (member != members_.end()) base = member->second.floor;
  // What was claimed before an admission says nothing of the process that was admitted: it may have come without the
  // disk of the one before it.
  const auto claims = [&](const OriginRow& row) {
    return row.has_claim && (member == members_.end() || member->second.Knows(row.claim));
  };
  if (PLANTED(kClaimGossip)) {
    for (const auto& [id, link] : links_) {
      if (link.greeted && link.peer.leader == name) return link.have;
    }
    if (name == options_.leader) return applied_;
  }
  bool any_live = false;
  clock::VersionVector live;
  const auto of = leaders_.find(name);
  if (of == leaders_.end()) return base;
  steps_ += of->second.rows.size();
  for (const clock::OriginIndex origin : of->second.rows) {
    if (row(origin).ended && claims(row(origin))) base.Join(row(origin).claim);
  }
  for (const clock::OriginIndex origin : of->second.rows) {
    if (row(origin).ended) continue;
    const clock::VersionVector& claim = claims(row(origin)) ? row(origin).claim : base;
    if (any_live) {
      live.Meet(claim);
    } else {
      live = claim;
    }
    any_live = true;
  }
  return any_live ? live : base;
}

clock::VersionVector Replica::Stable() const {
  return PLANTED(kStableWithoutAway) ? StableOfCounting() : StableWithout({});
}

clock::VersionVector Replica::StableOfCounting() const {
  std::set<std::string> away;
  for (const auto& [name, member] : members_) {
    if (member.away) away.insert(name);
  }
  return StableWithout(away);
}

clock::VersionVector Replica::StableWithout(const std::set<std::string>& left_out) const {
  clock::VersionVector stable;
  bool any = false;
  for (const auto& [name, member] : members_) {
    if (left_out.count(name) != 0) continue;
    clock::VersionVector claim = Claim(name);
    if (any) {
      stable.Meet(claim);
    } else {
      stable = std::move(claim);
    }
    any = true;
  }
  return stable;
}

int64_t Replica::MemberClock(const std::string& name) const {
  ++steps_;
  const auto of = leaders_.find(name);
  return of == leaders_.end() ? -1 : of->second.clock_ms;
}

size_t Replica::causal_waiting() const {
  size_t count = 0;
  for (const clock::OriginIndex origin : queued_) count += streams_[clock::IndexOf(origin)].queue.size();
  return count;
}

size_t Replica::queued_bytes() const {
  size_t bytes = 0;
  for (const clock::OriginIndex origin : queued_) bytes += streams_[clock::IndexOf(origin)].queued_bytes;
  return bytes;
}

bool Replica::synced_with_links() const {
  if (causal_waiting() != 0) return false;
  for (const auto& [id, link] : links_) {
    if (link.greeted && !applied_.Includes(link.have)) return false;
  }
  return true;
}

std::string_view Replica::stranger() const {
  constexpr int64_t kOfLateUs = 60'000'000;
  return now_us_ - stranger_us_ < kOfLateUs ? std::string_view(stranger_) : std::string_view();
}

std::optional<clock::VersionVector> Replica::Heard() const {
  clock::VersionVector heard = applied_;
  for (const auto& [id, link] : links_) {
    if (!link.greeted) continue;
    if (link.haves_seen == 0) return std::nullopt;
    heard.Join(link.have);
  }
  return heard;
}

clock::VersionVector Replica::LastWords(const std::set<std::string>* leaders) const {
  clock::VersionVector words;
  for (const auto& [leader, have] : past_have_) {
    if ((leaders == nullptr || leaders->count(leader) != 0) && !LinkOf(leader)) words.Join(have);
  }
  return words;
}

// What the log holds before the segment that begins now. Of our own origin that is what has been
// logged: the frame that opens the segment is applied already, and a crash may take it.
std::string Replica::SegmentHead() const {
  clock::VersionVector logged = applied_;
  if (own_) logged.Set(*own_, row(*own_).last);
  std::string out;
  const auto listed = Listed(logged);
  base::PutVarint(out, listed.size());
  for (const auto& [origin, sequence] : listed) {
    base::PutBytes(out, origins_.Get(origin).leader);
    base::PutFixed64(out, origins_.Get(origin).incarnation);
    base::PutVarint(out, sequence);
  }
  return out;
}

}  // namespace polyarch::replication
