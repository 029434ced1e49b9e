#include "replication/healing.h"

#include "base/planted.h"

namespace polyarch::replication {

namespace {

constexpr int64_t kGoneUs = 1'000'000;   // out of reach for so long before it is routed around
constexpr int64_t kProbeUs = 3'000'000;  // ... before those who are no neighbours look for it, too

}  // namespace

void Healing::Configure(const std::string& self, const std::set<std::string>& members) {
  if (self == self_ && members == members_) return;
  self_ = self;
  members_ = members;
  std::erase_if(lost_us_, [&](const auto& entry) { return members_.count(entry.first) == 0; });
  std::erase_if(failed_, [&](const auto& name) { return members_.count(name) == 0; });
  changed_ = true;
}

void Healing::SetTopology(const Topology& topology) {
  if (topology == topology_) return;
  topology_ = topology;
  changed_ = true;
}

void Healing::SetPrecedence(const std::vector<std::string>& precedence) {
  if (precedence == precedence_) return;
  precedence_ = precedence;
  changed_ = true;
}

void Healing::NoteFailed(const std::string& member) {
  if (lost_us_.count(member) != 0) failed_.insert(member);
}

void Healing::Update(const LinkStates& graph,
                     const std::set<std::string>& linked,
                     const std::set<std::string>& cut,
                     int64_t now_us) {
  std::set<std::string> gone;
  for (const std::string& name : members_) {
    if (name == self_) continue;
    if (graph.Reaches(name) || linked.count(name) != 0) {
      lost_us_.erase(name);
      failed_.erase(name);
      continue;
    }
    auto [lost, fresh] = lost_us_.try_emplace(name, now_us);
    const bool tried = failed_.count(name) != 0 || cut.count(name) != 0;
    if (tried && now_us - lost->second >= kGoneUs) gone.insert(name);
  }
  if (!changed_ && gone == gone_ && graph.version() == seen_version_ && linked == seen_linked_) return;
  if (changed_) configured_ = ConfiguredEdges(topology_, members_);
  if (changed_ || gone != gone_) {
    effective_ = EffectiveEdges(topology_, members_, gone, precedence_);
    dials_.clear();
    auto dial = [&](const std::set<Edge>& edges) {
      for (const Edge& edge : edges) {
        if (edge.first == self_) dials_.insert(edge.second);
        if (edge.second == self_) dials_.insert(edge.first);
      }
    };
    dial(configured_);
    if (!PLANTED(kNoBypass)) dial(effective_);
  }
  changed_ = false;
  gone_ = std::move(gone);
  seen_version_ = graph.version();
  seen_linked_ = linked;

  // Which further links hold the live graph together.
  needed_.clear();
  std::set<std::string> names = linked;
  names.insert(self_);
  for (const auto& [leader, nonce] : graph.leaders())
    names.insert(leader);
  Components components(names);
  auto regular = [&](const Edge& edge) { return configured_.count(edge) != 0 || effective_.count(edge) != 0; };
  // A dense graph hangs together after a few of its edges: then nothing more is needed.
  auto joined = [&] { return components.count() <= 1; };
  for (const Edge& edge : graph.edges()) {
    if (joined()) break;
    if (regular(edge)) components.Join(edge.first, edge.second);
  }
  auto need = [&](const Edge& edge) {
    if (!components.Join(edge.first, edge.second)) return;
    if (edge.first == self_) needed_.insert(edge.second);
    if (edge.second == self_) needed_.insert(edge.first);
  };
  for (const Edge& edge : graph.edges()) {
    if (joined()) break;
    if (!regular(edge)) need(edge);
  }
  for (const std::string& name : linked) {
    if (name != self_) need(MakeEdge(self_, name));
  }
}

bool Healing::Probes(const std::string& member, int64_t now_us) const {
  auto lost = lost_us_.find(member);
  return lost != lost_us_.end() && now_us - lost->second >= kProbeUs && !PLANTED(kNoBypass);
}

int64_t Healing::OutOfReachUs(const std::string& member, int64_t now_us) const {
  auto lost = lost_us_.find(member);
  return lost == lost_us_.end() ? 0 : now_us - lost->second;
}

bool Healing::Wants(const std::string& leader) const {
  return members_.count(self_) == 0 || members_.count(leader) == 0 || leader == self_ ||
         dials_.count(leader) != 0 || needed_.count(leader) != 0;
}

bool Healing::IsConfigured(const std::string& leader) const {
  return configured_.count(MakeEdge(self_, leader)) != 0;
}

}  // namespace polyarch::replication
