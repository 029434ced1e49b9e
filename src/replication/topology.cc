#include "replication/topology.h"

#include <algorithm>
#include <map>

#include "base/number.h"

namespace polyarch::replication {

namespace {

constexpr size_t kNamesMax = 4096;
constexpr size_t kQuotedMax = 64;

bool IsWord(std::string_view word, std::string_view lower) {
  if (word.size() != lower.size()) return false;
  for (size_t i = 0; i < word.size(); ++i) {
    const char c = word[i] >= 'A' && word[i] <= 'Z' ? static_cast<char>(word[i] + 32) : word[i];
    if (c != lower[i]) return false;
  }
  return true;
}

std::vector<std::string_view> Split(std::string_view text) {
  std::vector<std::string_view> words;
  for (size_t i = 0; i < text.size();) {
    const size_t end = std::min(text.find(' ', i), text.size());
    if (end > i) words.push_back(text.substr(i, end - i));
    i = end + 1;
  }
  return words;
}

std::string Quoted(std::string_view word) {
  return "'" + std::string(word.substr(0, kQuotedMax)) + "'";
}

base::Status NoLeader(std::string_view word) {
  return base::NotFound("no leader " + Quoted(word) + "; see LEADER LIST");
}

const char* NameOf(Topology::Kind kind) {
  switch (kind) {
    case Topology::Kind::kMesh: return "mesh";
    case Topology::Kind::kRing: return "ring";
    case Topology::Kind::kStar: return "star";
    case Topology::Kind::kLinks: return "links";
  }
  return "";
}

// "a-b" with dashes in the names, too: the one way to read it as two members.
base::Result<Edge> ParsePair(std::string_view word, const std::set<std::string>& members) {
  std::vector<Edge> found;
  std::string_view unknown;
  bool self = false;
  for (size_t dash = word.find('-'); dash != std::string_view::npos; dash = word.find('-', dash + 1)) {
    const std::string a(word.substr(0, dash));
    const std::string b(word.substr(dash + 1));
    if (a.empty() || b.empty()) continue;
    const bool a_known = members.count(a) != 0;
    const bool b_known = members.count(b) != 0;
    if (a_known && b_known && a != b) found.push_back(MakeEdge(a, b));
    if (a == b) self = true;
    if (unknown.empty()) unknown = a_known ? word.substr(dash + 1) : word.substr(0, dash);
  }
  if (found.size() == 1) return found[0];
  if (found.size() > 1) {
    return base::Invalid("link " + Quoted(word) + " can be read in two ways, because leaders have '-' in "
                         "their names: use TOPOLOGY SET ring or star");
  }
  if (self) return base::Invalid("link " + Quoted(word) + " joins a leader with itself: name two leaders");
  if (unknown.empty()) return base::Invalid(Quoted(word) + " is no link: write it as leader-leader");
  return NoLeader(unknown);
}

}  // namespace

Edge MakeEdge(std::string_view a, std::string_view b) {
  return a < b ? Edge(a, b) : Edge(b, a);
}

std::string EdgeText(const Edge& edge) {
  return edge.first + "-" + edge.second;
}

// ---- text

std::string Topology::Stored() const {
  std::string text = NameOf(kind);
  for (const std::string& name : names)
    text += " " + name;
  for (const Edge& edge : links)
    text += " " + edge.first + " " + edge.second;
  return text;
}

std::string Topology::Shown() const {
  std::string text = NameOf(kind);
  for (const std::string& name : names)
    text += " " + name;
  for (const Edge& edge : links)
    text += " " + EdgeText(edge);
  return text;
}

base::Result<Topology> Topology::ParseStored(std::string_view text) {
  const std::vector<std::string_view> words = Split(text);
  Topology topology;
  if (words.empty() || words.size() > 2 * kNamesMax) return base::Invalid("no topology");
  if (words[0] == "ring" || words[0] == "star") {
    topology.kind = words[0] == "ring" ? Kind::kRing : Kind::kStar;
    topology.names.assign(words.begin() + 1, words.end());
    if (topology.kind == Kind::kStar && topology.names.size() != 1) return base::Invalid("a star has one hub");
  } else if (words[0] == "links") {
    topology.kind = Kind::kLinks;
    if (words.size() % 2 == 0) return base::Invalid("a link has two ends");
    for (size_t i = 1; i < words.size(); i += 2)
      topology.links.push_back(MakeEdge(words[i], words[i + 1]));
  } else if (words[0] != "mesh") {
    return base::Invalid("unknown topology " + Quoted(words[0]));
  }
  return topology;
}

base::Result<Topology> Topology::Parse(const std::vector<std::string_view>& words,
                                       const std::set<std::string>& members) {
  Topology topology;
  const std::string_view name = words.empty() ? std::string_view() : words[0];
  if (words.size() > kNamesMax) {
    return base::Invalid("a topology names at most " + std::to_string(kNamesMax) + " leaders or links");
  }
  if (IsWord(name, "mesh")) {
    if (words.size() != 1) return base::Invalid("mesh takes no names: it links every leader with every other one");
    return topology;
  }
  if (IsWord(name, "ring")) {
    topology.kind = Kind::kRing;
    for (size_t i = 1; i < words.size(); ++i) {
      const std::string leader(words[i]);
      if (members.count(leader) == 0) return NoLeader(words[i]);
      if (std::find(topology.names.begin(), topology.names.end(), leader) != topology.names.end()) {
        return base::Invalid("leader " + Quoted(leader) + " is named twice: a ring passes each leader once");
      }
      topology.names.push_back(leader);
    }
    if (topology.names.size() < 2) {
      return base::Invalid("a ring names at least two leaders, in their order; those left out follow by name");
    }
    return topology;
  }
  if (IsWord(name, "star")) {
    topology.kind = Kind::kStar;
    if (words.size() != 2) return base::Invalid("a star names one leader, its hub; all others are its leaves");
    if (members.count(std::string(words[1])) == 0) return NoLeader(words[1]);
    topology.names.emplace_back(words[1]);
    return topology;
  }
  if (IsWord(name, "links")) {
    topology.kind = Kind::kLinks;
    if (words.size() < 2) return base::Invalid("links names at least one link, as leader-leader");
    std::set<std::string> named;
    for (size_t i = 1; i < words.size(); ++i) {
      auto edge = ParsePair(words[i], members);
      if (!edge.ok()) return edge.status();
      if (std::find(topology.links.begin(), topology.links.end(), *edge) != topology.links.end()) {
        return base::Invalid("link " + Quoted(words[i]) + " is named twice: name each link once");
      }
      topology.links.push_back(*edge);
      named.insert(edge->first);
      named.insert(edge->second);
    }
    Components components(named);
    for (const Edge& edge : topology.links)
      components.Join(edge.first, edge.second);
    for (const std::string& leader : named) {
      if (components.Together(*named.begin(), leader)) continue;
      return base::Invalid("these links leave " + Quoted(*named.begin()) + " and " + Quoted(leader) +
                           " unconnected: add a link between their parts");
    }
    return topology;
  }
  return base::Invalid("unknown topology " + Quoted(name) +
                       ": it is mesh, ring a b c, star hub, or links a-b b-c");
}

// ---- graphs

std::set<Edge> ConfiguredEdges(const Topology& topology, const std::set<std::string>& members) {
  std::set<Edge> edges;
  switch (topology.kind) {
    case Topology::Kind::kMesh:
      for (auto a = members.begin(); a != members.end(); ++a) {
        for (auto b = std::next(a); b != members.end(); ++b)
          edges.emplace_hint(edges.end(), *a, *b);
      }
      break;
    case Topology::Kind::kRing: {
      std::vector<std::string> order;
      for (const std::string& name : topology.names) {
        if (members.count(name) != 0) order.push_back(name);
      }
      for (const std::string& name : members) {
        if (std::find(topology.names.begin(), topology.names.end(), name) == topology.names.end())
          order.push_back(name);
      }
      for (size_t i = 0; i < order.size() && order.size() > 1; ++i)
        edges.insert(MakeEdge(order[i], order[(i + 1) % order.size()]));
      break;
    }
    case Topology::Kind::kStar:
      for (const std::string& name : members) {
        if (name != topology.names[0] && members.count(topology.names[0]) != 0)
          edges.insert(MakeEdge(name, topology.names[0]));
      }
      break;
    case Topology::Kind::kLinks:
      for (const Edge& edge : topology.links) {
        if (members.count(edge.first) != 0 && members.count(edge.second) != 0) edges.insert(edge);
      }
      break;
  }
  return edges;
}

std::set<Edge> EffectiveEdges(const Topology& topology,
                              const std::set<std::string>& members,
                              const std::set<std::string>& gone,
                              const std::vector<std::string>& precedence) {
  std::set<std::string> left;
  for (const std::string& name : members) {
    if (gone.count(name) == 0) left.insert(name);
  }
  std::set<Edge> edges;
  const std::set<Edge> configured = ConfiguredEdges(topology, members);
  for (const Edge& edge : configured) {
    if (left.count(edge.first) != 0 && left.count(edge.second) != 0) edges.insert(edge);
  }
  if (left.size() < 2 || topology.kind == Topology::Kind::kMesh) return edges;

  // In the order in which one takes the place of a hub.
  std::vector<std::string> order;
  for (const std::string& name : precedence) {
    if (left.count(name) != 0 && std::find(order.begin(), order.end(), name) == order.end())
      order.push_back(name);
  }
  for (const std::string& name : left) {
    if (std::find(order.begin(), order.end(), name) == order.end()) order.push_back(name);
  }

  if (topology.kind == Topology::Kind::kStar) {
    if (left.count(topology.names[0]) == 0) {
      for (const std::string& name : left) {
        if (name != order[0]) edges.insert(MakeEdge(name, order[0]));
      }
    }
    return edges;
  }

  // Each connected part of what is gone, and who stands around it.
  Components parts(members);
  for (const Edge& edge : configured) {
    if (gone.count(edge.first) != 0 && gone.count(edge.second) != 0) parts.Join(edge.first, edge.second);
  }
  std::vector<std::pair<std::string, std::set<std::string>>> rims;  // one of the part, and its rim
  for (const Edge& edge : configured) {
    const bool first_gone = gone.count(edge.first) != 0;
    if (first_gone == (gone.count(edge.second) != 0)) continue;
    const std::string& out = first_gone ? edge.first : edge.second;
    const std::string& in = first_gone ? edge.second : edge.first;
    auto rim = std::find_if(rims.begin(), rims.end(), [&](const auto& r) { return parts.Together(r.first, out); });
    if (rim == rims.end()) rim = rims.insert(rims.end(), {out, {}});
    rim->second.insert(in);
  }
  for (const auto& [part, rim] : rims) {
    for (auto a = rim.begin(); a != rim.end() && std::next(a) != rim.end(); ++a)
      edges.insert(MakeEdge(*a, *std::next(a)));
  }

  // Members that no link names, and parts that hung together by those that are no members any more.
  Components joined(left);
  for (const Edge& edge : edges)
    joined.Join(edge.first, edge.second);
  std::set<std::string> linked;
  for (const Edge& edge : edges) {
    linked.insert(edge.first);
    linked.insert(edge.second);
  }
  std::string first = order[0];
  for (const std::string& name : order) {
    if (linked.count(name) == 0) continue;
    first = name;
    break;
  }
  for (const std::string& name : order) {
    if (joined.Join(first, name)) edges.insert(MakeEdge(first, name));
  }
  return edges;
}

// ---- components

Components::Components(const std::set<std::string>& names) : names_(names.begin(), names.end()) {
  parent_.resize(names_.size());
  count_ = names_.size();
  for (size_t i = 0; i < parent_.size(); ++i)
    parent_[i] = i;
}

size_t Components::PlaceOf(const std::string& name) const {
  auto it = std::lower_bound(names_.begin(), names_.end(), name);
  return it == names_.end() || *it != name ? names_.size() : static_cast<size_t>(it - names_.begin());
}

size_t Components::Find(size_t i) {
  while (parent_[i] != i) {
    parent_[i] = parent_[parent_[i]];
    i = parent_[i];
  }
  return i;
}

bool Components::Join(const std::string& a, const std::string& b) {
  const size_t i = PlaceOf(a);
  const size_t j = PlaceOf(b);
  if (i == names_.size() || j == names_.size()) return false;
  const size_t x = Find(i);
  const size_t y = Find(j);
  if (x == y) return false;
  parent_[std::max(x, y)] = std::min(x, y);
  --count_;
  return true;
}

bool Components::Together(const std::string& a, const std::string& b) {
  const size_t i = PlaceOf(a);
  const size_t j = PlaceOf(b);
  return i != names_.size() && j != names_.size() && Find(i) == Find(j);
}

}  // namespace polyarch::replication
