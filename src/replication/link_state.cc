#include "replication/link_state.h"

#include <algorithm>
#include <tuple>

#include "base/planted.h"

namespace polyarch::replication {

namespace {

constexpr uint64_t kNumberMax = uint64_t{1} << 47;
// A process counts by one, fifty times a second at most, and is forgotten after a minute out of reach: who is further
// ahead of what is known here is made up, and would use up the numbers.
constexpr uint64_t kLeapMax = uint64_t{1} << 20;

uint64_t Mix(uint64_t nonce, uint64_t number) {
  uint64_t z = nonce ^ (number * 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

bool SameProcess(const wire::ProcessInfo& a, const wire::ProcessInfo& b) {
  return std::tie(a.leader, a.nonce, a.started_ms, a.address, a.incarnation, a.rival) ==
         std::tie(b.leader, b.nonce, b.started_ms, b.address, b.incarnation, b.rival);
}

bool Lists(const wire::LinkState& state, uint64_t nonce) {
  return std::binary_search(state.neighbours.begin(), state.neighbours.end(), nonce);
}

}  // namespace

bool LinkStates::SetOwn(const wire::ProcessInfo& process, const std::set<uint64_t>& neighbours) {
  Entry& own = entries_[self_];
  std::vector<uint64_t> list(neighbours.begin(), neighbours.end());
  if (list.size() > wire::kProcessesMax) list.resize(wire::kProcessesMax);
  if (own.state.number != 0 && SameProcess(own.state.process, process) && own.state.neighbours == list)
    return false;
  own.state.process = process;
  own.state.neighbours = std::move(list);
  ++own.state.number;
  ++version_;
  return true;
}

LinkStates::Merged LinkStates::Merge(const wire::LinkState& state, int64_t now_us) {
  const uint64_t nonce = state.process.nonce;
  if (nonce == 0 || state.number == 0 || state.number >= kNumberMax) return Merged::kRefused;
  if (nonce == self_) {
    Entry& own = entries_[self_];
    if (state.number < own.state.number) return Merged::kKnown;
    if (state.number - own.state.number > kLeapMax) return Merged::kRefused;
    if (state.number == own.state.number && SameProcess(own.state.process, state.process) &&
        own.state.neighbours == state.neighbours) {
      return Merged::kKnown;
    }
    own.state.number = state.number + 1;
    ++version_;
    return Merged::kRaised;
  }
  auto it = entries_.find(nonce);
  if (it != entries_.end()) {
    const bool same = state.number == it->second.state.number;
    if (state.number < it->second.state.number ? !PLANTED(kStaleLinkState) : same) return Merged::kKnown;
    if (state.number > it->second.state.number + kLeapMax) return Merged::kRefused;
    it->second.state = state;
  } else {
    if (entries_.size() >= kEntriesMax) {
      // The one that has been out of reach for the longest gives way.
      auto oldest = entries_.end();
      for (auto e = entries_.begin(); e != entries_.end(); ++e) {
        if (e->first == self_ || e->second.reached) continue;
        if (oldest == entries_.end() || e->second.lost_us < oldest->second.lost_us) oldest = e;
      }
      if (oldest == entries_.end()) return Merged::kRefused;
      entries_.erase(oldest);
    }
    Entry& entry = entries_[nonce];
    entry.state = state;
    entry.lost_us = now_us;
  }
  ++version_;
  return Merged::kNew;
}

void LinkStates::Forget(int64_t now_us) {
  Compute(now_us);
  const size_t erased = std::erase_if(entries_, [&](const auto& e) {
    return e.first != self_ && !e.second.reached && now_us - e.second.lost_us > kForgetUs;
  });
  if (erased != 0) ++version_;
}

const wire::LinkState* LinkStates::Find(uint64_t nonce) const {
  auto it = entries_.find(nonce);
  return it == entries_.end() ? nullptr : &it->second.state;
}

void LinkStates::Compute(int64_t now_us) {
  if (computed_ == version_) return;
  computed_ = version_;
  std::vector<bool> before;
  for (auto& [nonce, entry] : entries_) {
    before.push_back(entry.reached);
    entry.reached = false;
  }
  // Breadth first, neighbours in the order of (leader, nonce): whoever is met first on a level brings
  // the lowest first step.
  std::vector<Entry*> queue;
  if (auto self = entries_.find(self_); self != entries_.end()) {
    self->second.reached = true;
    self->second.reach = {0, 0};
    queue.push_back(&self->second);
  }
  std::vector<Entry*> next;
  for (size_t i = 0; i < queue.size() && queue.size() < entries_.size(); ++i) {
    Entry& here = *queue[i];
    next.clear();
    for (uint64_t nonce : here.state.neighbours) {
      auto there = entries_.find(nonce);
      if (there == entries_.end() || there->second.reached) continue;
      if (!Lists(there->second.state, here.state.process.nonce) && !PLANTED(kRouteOneSided)) continue;
      next.push_back(&there->second);
    }
    for (auto& [nonce, entry] : entries_) {
      if (!PLANTED(kRouteOneSided)) break;
      const bool met = entry.reached || std::find(next.begin(), next.end(), &entry) != next.end();
      if (!met && Lists(entry.state, here.state.process.nonce)) next.push_back(&entry);
    }
    std::sort(next.begin(), next.end(), [](const Entry* a, const Entry* b) {
      return std::tie(a->state.process.leader, a->state.process.nonce) <
             std::tie(b->state.process.leader, b->state.process.nonce);
    });
    for (Entry* entry : next) {
      entry->reached = true;
      entry->reach.hops = here.reach.hops + 1;
      entry->reach.next = here.reach.hops == 0 ? entry->state.process.nonce : here.reach.next;
      queue.push_back(entry);
    }
  }
  hash_ = 0;
  leaders_.clear();
  origins_.clear();
  size_t i = 0;
  for (auto& [nonce, entry] : entries_) {
    if (before[i++] && !entry.reached) entry.lost_us = now_us;
  }
  for (const Entry* entry : queue) {
    const wire::LinkState& state = entry->state;
    hash_ += Mix(state.process.nonce, state.number);
    leaders_.try_emplace(state.process.leader, state.process.nonce);
    origins_.try_emplace({state.process.leader, state.process.incarnation}, state.process.nonce);
  }
}

const std::set<Edge>& LinkStates::edges() const {
  if (edges_computed_ == computed_) return edges_;
  edges_computed_ = computed_;
  edges_.clear();
  // Sorted as numbers: of the leaders in reach, in the order of their names.
  std::vector<const std::string*> names;
  for (const auto& [leader, nonce] : leaders_) names.push_back(&leader);
  auto rank_of = [&](const std::string& leader) {
    return static_cast<size_t>(std::lower_bound(names.begin(), names.end(), leader,
                                                [](const std::string* a, const std::string& b) { return *a < b; }) -
                               names.begin());
  };
  struct Place {
    const wire::LinkState* state;
    size_t rank;
  };
  std::vector<Place> places;  // by nonce
  for (const auto& [nonce, entry] : entries_) {
    if (entry.reached) places.push_back({&entry.state, rank_of(entry.state.process.leader)});
  }
  std::vector<std::pair<size_t, size_t>> found;
  for (const Place& here : places) {
    const uint64_t self = here.state->process.nonce;
    for (uint64_t nonce : here.state->neighbours) {
      if (nonce < self) continue;  // once an edge
      auto there = std::lower_bound(places.begin(), places.end(), nonce, [](const Place& place, uint64_t n) {
        return place.state->process.nonce < n;
      });
      if (there == places.end() || there->state->process.nonce != nonce || there->rank == here.rank) continue;
      if (Lists(*there->state, self) || PLANTED(kRouteOneSided)) found.push_back(std::minmax(here.rank, there->rank));
    }
  }
  std::sort(found.begin(), found.end());
  for (const auto& [a, b] : found) edges_.emplace_hint(edges_.end(), *names[a], *names[b]);
  return edges_;
}

const LinkStates::Reach* LinkStates::ReachOf(uint64_t nonce) const {
  auto it = entries_.find(nonce);
  return it == entries_.end() || !it->second.reached ? nullptr : &it->second.reach;
}

std::vector<const wire::LinkState*> LinkStates::Reachable() const {
  std::vector<const wire::LinkState*> out;
  for (const auto& [nonce, entry] : entries_) {
    if (entry.reached) out.push_back(&entry.state);
  }
  return out;
}

uint64_t LinkStates::ProcessOf(std::string_view leader, uint64_t incarnation) const {
  auto it = origins_.find(std::pair(std::string(leader), incarnation));
  return it == origins_.end() ? 0 : it->second;
}

wire::LinkSummary LinkStates::Summary() const {
  wire::LinkSummary summary;
  for (const auto& [nonce, entry] : entries_) {
    if (entry.reached) summary.items.push_back({nonce, entry.state.number});
  }
  return summary;
}

}  // namespace polyarch::replication
