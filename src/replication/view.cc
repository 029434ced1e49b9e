// What the replica shows: leaders, lag, the topology.
#include <algorithm>
#include <tuple>

#include "replication/replica.h"

namespace polyarch::replication {

void Replica::NoteLag(LinkStats& stats, const clock::VersionVector& have) const {
  stats.lag_changes = 0;
  applied_.ForEachAbove(have, [&](clock::OriginIndex, uint64_t mine, uint64_t theirs) {
    stats.lag_changes += mine - theirs;
    return true;
  });
  if (stats.lag_changes == 0) return;
  int64_t since = now_us_;
  for (auto it = samples_.rbegin(); it != samples_.rend(); ++it) {
    since = it->first;
    if (have.Includes(it->second)) break;
  }
  stats.lag_ms = (now_us_ - since) / 1000;
}

// What a leader without a link of ours has, by its own word: its frames say what it had applied. It
// may have more; it owes a frame within a second or two of getting something.
clock::VersionVector Replica::SaidToHave(const std::string& leader) const {
  clock::VersionVector have;
  auto past = past_have_.find(leader);
  if (past != past_have_.end()) have = past->second;
  auto member = members_.find(leader);
  if (member != members_.end()) have.Join(member->second.floor);
  for (size_t i = 0; i < rows_.size(); ++i) {
    auto origin = static_cast<clock::OriginIndex>(i);
    if (origins_.Get(origin).leader != leader || rows_[i].last == 0) continue;
    have.Join(rows_[i].deps);
    have.Raise(origin, rows_[i].last);
  }
  return have;
}

std::vector<LinkStats> Replica::Links() const {
  std::vector<LinkStats> out;
  std::set<std::string> names;
  for (const auto& [name, member] : members_)
    names.insert(name);
  for (const auto& [id, link] : links_) {
    if (link.greeted) names.insert(link.peer.leader);
  }
  names.erase(options_.leader);
  for (const std::string& name : names) {
    LinkStats stats;
    stats.leader = name;
    stats.state = IsCut(name) ? "cut" : "down";
    auto past = past_bytes_.find(name);
    if (past != past_bytes_.end()) std::tie(stats.bytes_in, stats.bytes_out) = past->second;
    auto delay = delay_ms_.find(name);
    if (delay != delay_ms_.end()) stats.delay_ms = delay->second;
    auto process = graph_.leaders().find(name);
    if (process != graph_.leaders().end()) {
      const LinkStates::Reach* reach = graph_.ReachOf(process->second);
      const wire::LinkState* next = graph_.Find(reach->next);
      const wire::LinkState* there = graph_.Find(process->second);
      if (stats.state == "down") stats.state = "routed";
      stats.hops = reach->hops;
      if (next != nullptr) stats.next = next->process.leader;
      stats.incarnation = there->process.incarnation;
    }
    bool direct = false;
    for (const auto& [id, link] : links_) {
      if (!link.greeted || link.peer.leader != name) continue;
      direct = true;
      stats.state = "up";
      stats.bytes_in += link.bytes_in;
      stats.bytes_out += link.bytes_out;
      stats.incarnation = link.peer.incarnation;
      stats.clock_difference_ms = link.clock_difference_ms;
      stats.joining = link.joining;
      NoteLag(stats, link.have);
    }
    if (!direct) NoteLag(stats, SaidToHave(name));
    stats.unreachable_ms = healing_.OutOfReachUs(name, now_us_) / 1000;
    out.push_back(std::move(stats));
  }
  return out;
}

TopologyView Replica::ViewTopology() const {
  TopologyView view;
  view.configured = healing_.topology().Shown();
  view.wanted.assign(healing_.configured().begin(), healing_.configured().end());
  for (const Edge& edge : graph_.edges()) {
    view.live.push_back(edge);
    if (healing_.configured().count(edge) == 0) view.bypasses.push_back(edge);
  }
  for (const auto& [leader, nonce] : graph_.leaders()) {
    if (leader == options_.leader) continue;
    const LinkStates::Reach* reach = graph_.ReachOf(nonce);
    const wire::LinkState* next = graph_.Find(reach->next);
    if (next != nullptr) view.routes.push_back({leader, next->process.leader, reach->hops});
  }
  for (size_t i = 0; i < origins_.size(); ++i) {
    auto origin = static_cast<clock::OriginIndex>(i);
    if ((own_ && *own_ == origin) || i >= streams_.size() || applied_.Get(origin) == 0) continue;
    auto source = links_.find(streams_[i].source);
    view.sources.emplace_back(origins_.Get(origin).ToString(),
                              source == links_.end() ? "" : source->second.peer.leader);
  }
  return view;
}

}  // namespace polyarch::replication
