// Messages from one process to another, along the live graph.
#include "replication/replica.h"

namespace polyarch::replication {

namespace {

// A link with more than this on its way out gets none: frames come first.
constexpr size_t kBacklogMax = 8 << 20;

}  // namespace

bool Replica::PassOn(uint64_t to, std::string_view message) {
  const LinkStates::Reach* reach = graph_.ReachOf(to);
  Link* link = reach == nullptr || reach->hops == 0 ? nullptr : LinkOfProcess(reach->next);
  if (link == nullptr || host_.Backlog(link->id) + link->delayed_out_bytes > kBacklogMax) {
    ++counters_.routed_lost;
    return false;
  }
  SendTo(*link, message);
  return true;
}

bool Replica::SendRouted(const std::string& leader, std::string_view message) {
  auto process = graph_.leaders().find(leader);
  if (process == graph_.leaders().end()) return false;
  return PassOn(process->second,
                wire::Encode(wire::Routed{.to = process->second, .payload = message}));
}

bool Replica::HandleRouted(std::string_view message) {
  wire::Routed routed;
  if (!wire::Decode(message.substr(1), routed)) return false;
  if (routed.to == nonce_) {
    ++counters_.routed_in;
    if (routed.layout == wire::Routed::kLayout) host_.RoutedHere(routed.payload);
    return true;
  }
  if (routed.hops == 0) {
    ++counters_.routed_lost;
    return true;
  }
  std::string on(message);
  on[wire::Routed::kHopsAt] = static_cast<char>(routed.hops - 1);
  if (PassOn(routed.to, on)) ++counters_.routed_on;
  return true;
}

}  // namespace polyarch::replication
