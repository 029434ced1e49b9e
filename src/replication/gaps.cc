// What the log does not hold any more: saying so, hearing so, and joining another leader's state.
#include <algorithm>

#include "base/check.h"
#include "base/codec.h"
#include "base/planted.h"
#include "replication/replica.h"
#include "wire/state_message.h"

namespace polyarch::replication {

namespace {

// Neighbours announce what they have one after another: another one's log may lead on.
constexpr int64_t kStarvedUs = 500'000;
// So long those that have not been heard of are waited for: the log of one of them may.
constexpr int64_t kUnheardUs = 5'000'000;

}  // namespace

void Replica::AnswerGap(Link& link, clock::OriginIndex origin, uint64_t floor) {
  ++counters_.gaps;
  SendTo(link, wire::Encode(wire::Gap{origins_.Get(origin), floor}));
}

void Replica::HandleGap(Link& link, const clock::Origin& name, uint64_t floor) {
  auto origin = origins_.Find(name);
  if (!origin) return;
  link.gap.Raise(*origin, floor);
  Stream& stream = StreamOf(*origin);
  if (stream.source != link.id || CanServe(link, *origin, stream.next)) return;
  stream.source = 0;
  routes_changed_ = true;
}

// Some neighbour has more of it, and none has it in its log.
bool Replica::IsStarved(clock::OriginIndex origin) const {
  if (own_ && *own_ == origin) return false;
  const size_t i = clock::IndexOf(origin);
  uint64_t next = applied_.Get(origin) + 1;
  if (i < streams_.size()) next = std::max(next, streams_[i].next);
  bool more = false;
  for (const auto& [id, link] : links_) {
    ++steps_;
    if (!link.greeted || link.have.Get(origin) < next) continue;
    more = true;
    if (CanServe(link, origin, next)) return false;
  }
  return more;
}

void Replica::NoteStarved(const std::set<clock::OriginIndex>& looked_at) {
  const bool starved = std::any_of(
      looked_at.begin(), looked_at.end(), [this](clock::OriginIndex origin) { return IsStarved(origin); });
  if (starved) {
    fed_since_us_ = -1;
  } else if (fed_since_us_ < 0) {
    fed_since_us_ = now_us_;
  }
  if (!starved) {
    starved_since_us_ = -1;
  } else if (starved_since_us_ < 0) {
    starved_since_us_ = now_us_;
  }
}

// Has each configured neighbour said what it has, or was it tried in vain?
bool Replica::HasMetNeighbours() const {
  return std::all_of(members_.begin(), members_.end(), [&](const auto& member) {
    const std::string& name = member.first;
    if (name == options_.leader || !healing_.IsConfigured(name) || IsCut(name) || healing_.HasFailed(name)) return true;
    return std::any_of(links_.begin(), links_.end(), [&](const auto& entry) {
      const Link& link = entry.second;
      return link.greeted && link.peer.leader == name && link.haves_seen != 0;
    });
  });
}

std::vector<StateSource> Replica::StateSources() const {
  std::vector<StateSource> out;
  if (starved_since_us_ < 0 || now_us_ - starved_since_us_ < kStarvedUs) return out;
  if (now_us_ - starved_since_us_ < kUnheardUs && !HasMetNeighbours()) return out;
  for (const auto& [id, link] : links_) {
    if (!link.greeted || link.joining) continue;
    uint64_t more = 0;
    // What comes by somebody's log anyway is no reason to take a state.
    link.have.ForEachAbove(applied_, [&](clock::OriginIndex origin, uint64_t theirs, uint64_t ours) {
      if (IsStarved(origin)) more += theirs - ours;
      return true;
    });
    if (more > 0) out.push_back({link.peer.leader, more});
  }
  std::sort(out.begin(), out.end(), [](const StateSource& a, const StateSource& b) {
    return a.more != b.more ? a.more > b.more : a.leader < b.leader;
  });
  return out;
}

std::optional<LinkId> Replica::LinkOf(const std::string& leader) const {
  for (const auto& [id, link] : links_) {
    if (link.greeted && link.peer.leader == leader) return id;
  }
  return std::nullopt;
}

std::vector<std::string> Replica::LinkedLeaders() const {
  std::vector<std::string> out;
  for (const auto& [id, link] : links_) {
    if (link.greeted && !link.joining) out.push_back(link.peer.leader);
  }
  return out;
}

std::string Replica::LeaderOf(LinkId id) const {
  auto it = links_.find(id);
  return it == links_.end() ? std::string() : it->second.peer.leader;
}

void Replica::SendState(LinkId id, std::string_view message) {
  auto it = links_.find(id);
  if (it != links_.end()) SendTo(it->second, message);
}

void Replica::JoinState(const std::vector<OriginRow>& rows, log::Position end) {
  for (size_t i = 0; i < rows.size(); ++i) {
    auto origin = static_cast<clock::OriginIndex>(i);
    OriginRow& row = Row(origin);
    const OriginRow& theirs = rows[i];
    if (theirs.last <= row.last) continue;
    CHECK(!own_ || *own_ != origin);
    const bool ended = row.ended;
    const int64_t clock_ms = row.clock_ms;
    row = theirs;
    unsettled_.push_back(origin);
    if (ended) row.SetEnded();
    row.clock_ms = std::max(row.clock_ms, clock_ms);
    NoteRow(origin);
    applied_.Raise(origin, theirs.last);
    if (!PLANTED(kForwardAcross)) floor_.Raise(origin, theirs.last);
    NoteLogged(origin, theirs.last, end);
    Stream& stream = StreamOf(origin);
    stream.queue.clear();
    stream.queued_bytes = 0;
    stream.queued_before = 0;
    stream.blocked_on = clock::kNoOrigin;
    stream.next = theirs.last + 1;
    stream.backoff_us = 0;
    if (stream.source != 0) Unsubscribe(origin, stream);
    for (auto& [id, link] : links_) {
      auto cursor = link.cursors.find(origin);
      if (cursor != link.cursors.end()) cursor->second.at_tail = false;
    }
  }
  routes_changed_ = true;
  next_announce_us_ = 0;
  next_spare_us_ = 0;
}

bool Replica::HasHeard() const {
  return (members_.size() == 1 && members_.count(options_.leader) != 0) ||
         std::any_of(links_.begin(), links_.end(), [](const auto& entry) {
           return entry.second.greeted && entry.second.haves_seen != 0;
         });
}

uint64_t Replica::behind() const {
  uint64_t most = 0;
  for (const auto& [id, link] : links_) {
    uint64_t sum = 0;
    link.have.ForEachAbove(applied_, [&](clock::OriginIndex, uint64_t theirs, uint64_t ours) {
      sum += theirs - ours;
      return true;
    });
    most = std::max(most, sum);
  }
  return most;
}

clock::VersionVector Replica::ReadHead(std::string_view head) const {
  clock::VersionVector vector;
  base::Reader in(head);
  for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
    clock::Origin origin;
    origin.leader = in.Bytes();
    origin.incarnation = in.Fixed64();
    const uint64_t last = in.Varint();
    const clock::OriginIndex index = origins_.Intern(origin);
    if (in.ok() && index != clock::kNoOrigin) vector.Set(index, last);
  }
  folds_.Expand(vector);
  return vector;
}

void Replica::NoteTrimmed() {
  const std::vector<log::SegmentHead> heads = log_.Heads();
  if (heads.empty()) return;
  floor_.Join(ReadHead(heads.front().head));
  for (auto& entries : index_) {
    std::erase_if(entries, [&](const auto& entry) { return entry.second < log_.begin(); });
  }
}

clock::VersionVector Replica::Holds(const std::string& member) const {
  clock::VersionVector holds = Claim(member);
  // Of two processes of one name we cannot tell who is meant.
  const Link* only = nullptr;
  for (const auto& [id, link] : links_) {
    if (!link.greeted || link.peer.leader != member) continue;
    if (only != nullptr) return holds;
    only = &link;
  }
  if (only != nullptr) holds.Join(only->have_durable);
  return holds;
}

}  // namespace polyarch::replication
