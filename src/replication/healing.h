// Which neighbours this process should have now: the configured ones, and bypasses around what fails.
//
// A member is *gone*, for this process, when it has been out of reach for kGoneUs and this process
// has tried it in vain (or its link is cut here). Gone members are taken out of the configured graph,
// which closes over them (EffectiveEdges); the links that this adds for this process are its
// *bypasses*. Members that nobody here has tried yet count as present, so the search goes outward
// along the configured graph until it meets somebody. Nobody needs to agree on who is gone: a link
// comes up if either end wants it.
//
// Members out of reach that are no neighbours are probed as well, slowly: two live parts may have no
// other way to meet than a pair that no topology names.
//
// A link is *wanted* if it is configured, a bypass, or needed: without it, and without the links that
// come before it (configured and bypasses, then by name), somebody could not be reached.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "replication/link_state.h"
#include "replication/topology.h"

namespace polyarch::replication {

class Healing {
 public:
  // ---- what is configured
  void Configure(const std::string& self, const std::set<std::string>& members);
  void SetTopology(const Topology& topology);
  void SetPrecedence(const std::vector<std::string>& precedence);
  const Topology& topology() const { return topology_; }

  // ---- what happens
  // A dial to this member failed, or takes too long.
  void NoteFailed(const std::string& member);
  // `graph` is computed. `linked`: leaders at the other end of this process's greeted links; `cut`:
  // those that it may not have links with. Cheap if nothing has changed.
  void Update(const LinkStates& graph,
              const std::set<std::string>& linked,
              const std::set<std::string>& cut,
              int64_t now_us);

  // ---- what follows
  // To be dialed whenever there is no link.
  bool Dials(const std::string& member) const { return dials_.count(member) != 0; }
  // To be dialed now and then.
  bool Probes(const std::string& member, int64_t now_us) const;
  // It is out of reach, and was tried in vain.
  bool HasFailed(const std::string& member) const { return failed_.count(member) != 0; }
  bool Wants(const std::string& leader) const;
  bool IsConfigured(const std::string& leader) const;
  // How long this member has been out of reach of this process; 0: it is not.
  int64_t OutOfReachUs(const std::string& member, int64_t now_us) const;
  const std::set<Edge>& configured() const { return configured_; }
  const std::set<std::string>& gone() const { return gone_; }

 private:
  std::string self_;
  std::set<std::string> members_;
  Topology topology_;
  std::vector<std::string> precedence_;
  bool changed_ = true;

  std::map<std::string, int64_t> lost_us_;  // members out of reach, since when
  std::set<std::string> failed_;            // of these, tried in vain
  std::set<std::string> gone_;
  std::set<Edge> configured_;
  std::set<Edge> effective_;
  std::set<std::string> dials_;
  std::set<std::string> needed_;
  uint64_t seen_version_ = 0;
  std::set<std::string> seen_linked_;
};

}  // namespace polyarch::replication
