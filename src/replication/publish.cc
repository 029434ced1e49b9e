// Messages between clients on their way to all leaders. Each process is the root of a tree: every
// other one hangs under that neighbour of it, nearer to the root, that comes first by (leader,
// nonce). All who know the same live graph find the same trees, so a message crosses each link of
// its tree once and reaches everybody once. While graphs differ it may come twice, or over a way of
// which the last step is missing: its number shows the one, and nothing mends the other.
#include <algorithm>
#include <tuple>
#include <utility>

#include "replication/replica.h"

namespace polyarch::replication {

namespace {

// A link with more than this on its way out gets no messages: frames come first.
constexpr size_t kBacklogMax = 8 << 20;

}  // namespace

std::vector<uint64_t> LinkStates::ChildrenOf(uint64_t source) const {
  std::map<uint64_t, uint32_t> hops;  // from the source, along edges that both ends list
  auto listed = [this](uint64_t from, uint64_t to) {
    const wire::LinkState* state = Find(from);
    return state != nullptr &&
           std::binary_search(state->neighbours.begin(), state->neighbours.end(), to);
  };
  std::vector<uint64_t> queue;
  if (Find(source) != nullptr) {
    hops[source] = 0;
    queue.push_back(source);
  }
  for (size_t i = 0; i < queue.size(); ++i) {
    const uint64_t here = queue[i];
    for (uint64_t there : Find(here)->neighbours) {
      if (!listed(there, here) || !hops.try_emplace(there, hops[here] + 1).second) continue;
      queue.push_back(there);
    }
  }
  std::vector<uint64_t> children;
  auto own = hops.find(self_);
  if (own == hops.end()) return children;
  auto order = [this](uint64_t nonce) {
    return std::pair(std::string_view(Find(nonce)->process.leader), nonce);
  };
  for (uint64_t child : Find(self_)->neighbours) {
    auto of_child = hops.find(child);
    if (of_child == hops.end() || of_child->second != own->second + 1) continue;
    const std::vector<uint64_t>& others = Find(child)->neighbours;
    const bool mine = std::none_of(others.begin(), others.end(), [&](uint64_t other) {
      auto of_other = hops.find(other);
      return other != self_ && of_other != hops.end() && of_other->second == own->second &&
             listed(other, child) && order(other) < order(self_);
    });
    if (mine && listed(child, self_)) children.push_back(child);
  }
  return children;
}

void Replica::Publish(bool shard, std::string_view channel, std::string_view message) {
  if (links_.empty()) return;
  SendOn(nonce_,
         wire::Encode(wire::Publish{.source = nonce_,
                                    .number = ++published_,
                                    .shard = shard,
                                    .channel = channel,
                                    .message = message}),
         nullptr);
}

void Replica::SendOn(uint64_t source, std::string_view message, const Link* from) {
  Tree& tree = trees_[source];
  if (tree.version != graph_.version()) {
    tree.version = graph_.version();
    tree.children = graph_.ChildrenOf(source);
  }
  for (uint64_t child : tree.children) {
    Link* link = LinkOfProcess(child);
    if (link == nullptr || link == from) continue;
    if (host_.Backlog(link->id) + link->delayed_out_bytes > kBacklogMax) {
      ++counters_.publishes_dropped;
      continue;
    }
    ++counters_.publishes_out;
    SendTo(*link, message);
  }
}

bool Replica::HandlePublish(Link& link, std::string_view message) {
  wire::Publish publish;
  if (!wire::Decode(message.substr(1), publish)) return false;
  // Of a process that is not known, nothing can be said of its tree or its numbers.
  if (publish.source == nonce_ || graph_.Find(publish.source) == nullptr) return true;
  Tree& tree = trees_[publish.source];
  if (publish.number <= tree.seen) {
    ++counters_.publishes_again;
    return true;
  }
  tree.seen = publish.number;
  ++counters_.publishes_in;
  if (publish.layout == wire::Publish::kLayout) {
    host_.Published(publish.shard, publish.channel, publish.message);
  }
  forwards_.emplace_back(publish.source, link.id, message);
  return true;
}

void Replica::ForwardPublished() {
  std::vector<std::tuple<uint64_t, LinkId, std::string>> forwards = std::move(forwards_);
  forwards_.clear();
  for (const auto& [source, from, message] : forwards) {
    auto it = links_.find(from);
    SendOn(source, message, it == links_.end() ? nullptr : &it->second);
  }
  if (trees_version_ == graph_.version()) return;
  trees_version_ = graph_.version();
  std::erase_if(trees_, [this](const auto& entry) { return graph_.Find(entry.first) == nullptr; });
}

}  // namespace polyarch::replication
