// What this process knows of the live graph: one link state a process (wire::LinkState), its own
// among them, and what follows: who can be reached, over which neighbour, in how many steps.
//
// An edge counts when both ends list it. A process lives if a path of such edges leads to it; what it
// has said of itself counts as long as it does. Both ends of a link compute the same from the same
// link states, so one hash over those that can be reached tells whether they know the same
// (docs/design/0008-topologies-and-healing.md).
//
// Bounded: at most kEntriesMax processes, kProcessesMax neighbours each; a process out of reach is
// forgotten after kForgetUs, or earlier when room is needed.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "replication/topology.h"
#include "wire/peer_message.h"

namespace polyarch::replication {

class LinkStates {
 public:
  static constexpr size_t kEntriesMax = 1024;
  static constexpr int64_t kForgetUs = 60'000'000;

  struct Reach {
    uint64_t next = 0;  // the neighbour on the shortest path; of equals the lowest (leader, nonce)
    uint32_t hops = 0;
  };
  enum class Merged : uint8_t { kNew, kKnown, kRefused, kRaised };

  explicit LinkStates(uint64_t self) : self_(self) {}

  // What this process says of itself; true (and a higher number) if that is something new.
  bool SetOwn(const wire::ProcessInfo& process, const std::set<uint64_t>& neighbours);
  // kNew: taken over, to be passed on. kKnown: no newer than what is known. kRaised: somebody has a
  // newer word about this very process (a message from nowhere): its own number is above it now, to be
  // passed on. kRefused: no room.
  Merged Merge(const wire::LinkState& state, int64_t now_us);
  // Forgets what has been out of reach for long.
  void Forget(int64_t now_us);

  const wire::LinkState* Find(uint64_t nonce) const;
  const wire::LinkState& own() const { return entries_.at(self_).state; }

  // ---- what follows; computed when something has changed
  // Rises with every change of the graph.
  uint64_t version() const { return version_; }
  void Compute(int64_t now_us);
  const Reach* ReachOf(uint64_t nonce) const;  // nullptr: out of reach; itself: 0 hops
  bool Reaches(std::string_view leader) const { return leaders_.count(leader) != 0; }
  // Leaders in reach and where: of two processes of one name the nearer one.
  const std::map<std::string, uint64_t, std::less<>>& leaders() const { return leaders_; }
  // The processes in reach, this one too.
  std::vector<const wire::LinkState*> Reachable() const;
  // The live process whose writes are of this origin; 0: none.
  uint64_t ProcessOf(std::string_view leader, uint64_t incarnation) const;
  // Live edges within reach, as of the last Compute. Made when they are asked for: a dense graph has many.
  const std::set<Edge>& edges() const;
  uint64_t hash() const { return hash_; }
  wire::LinkSummary Summary() const;
  // The neighbours that hang under this process in the tree of shortest paths from `source` (publish.cc).
  std::vector<uint64_t> ChildrenOf(uint64_t source) const;
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    wire::LinkState state;
    bool reached = false;
    Reach reach;
    int64_t lost_us = 0;  // since when it is out of reach
  };

  uint64_t self_;
  std::map<uint64_t, Entry> entries_;
  std::map<std::string, uint64_t, std::less<>> leaders_;
  mutable std::set<Edge> edges_;
  mutable uint64_t edges_computed_ = 0;  // the version that they are of
  std::map<std::pair<std::string, uint64_t>, uint64_t, std::less<>> origins_;
  uint64_t version_ = 1;
  uint64_t computed_ = 0;
  uint64_t hash_ = 0;
};

}  // namespace polyarch::replication
