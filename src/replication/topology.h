// The configured graph of links between leaders, and what becomes of it when some of them are gone.
// Pure functions of names: every leader that knows the same computes the same.
//
//   mesh              every leader with every other one
//   ring a b c        a-b, b-c, c-a; members that it does not name follow in the order of names
//   star hub          the hub with every other one
//   links a-b b-c     these; members that it does not name attach to one that it names (a bypass)
//
// The text form, as it is stored in the reserved database, has pairs as two words: "links a b b c"
// (names may hold a dash).
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace polyarch::replication {

// Of two names the lower one first.
using Edge = std::pair<std::string, std::string>;
Edge MakeEdge(std::string_view a, std::string_view b);
std::string EdgeText(const Edge& edge);  // "a-b"

struct Topology {
  enum class Kind : unsigned char { kMesh, kRing, kStar, kLinks };
  Kind kind = Kind::kMesh;
  std::vector<std::string> names;  // of a ring, in its order; of a star the hub
  std::vector<Edge> links;

  // What is stored, and what TOPOLOGY GET shows ("links a-b b-c").
  std::string Stored() const;
  std::string Shown() const;
  static base::Result<Topology> ParseStored(std::string_view text);
  // The words behind TOPOLOGY SET, checked against the members: the error names cause and remedy.
  static base::Result<Topology> Parse(const std::vector<std::string_view>& words,
                                      const std::set<std::string>& members);

  friend bool operator==(const Topology&, const Topology&) = default;
};

// The links that the topology asks for among these members; names that are no members count as gone.
std::set<Edge> ConfiguredEdges(const Topology& topology, const std::set<std::string>& members);

// The links among the members that are not `gone`: the configured ones of theirs, and those that
// close what the gone ones leave open. A ring closes over them; a star's leaves take the next hub, by
// `precedence`, then by name; else the neighbours of what is gone are joined in a chain, in the order
// of names. Whoever has no link at all then is attached to the first of the others. Connected, if two
// or more are left.
std::set<Edge> EffectiveEdges(const Topology& topology,
                              const std::set<std::string>& members,
                              const std::set<std::string>& gone,
                              const std::vector<std::string>& precedence);

// Which component each name is in, by union of edges.
class Components {
 public:
  explicit Components(const std::set<std::string>& names);
  // True if the two were apart. Names that are not among `names` are ignored (false).
  bool Join(const std::string& a, const std::string& b);
  bool Together(const std::string& a, const std::string& b);
  // How many there are. No Join does anything when it is 1.
  size_t count() const { return count_; }

 private:
  size_t Find(size_t i);
  size_t PlaceOf(const std::string& name) const;

  std::vector<std::string> names_;  // sorted
  std::vector<size_t> parent_;
  size_t count_ = 0;
};

}  // namespace polyarch::replication
