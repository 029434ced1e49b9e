// What replication costs, by topology and number of leaders, on simulated wide-area links: how long a
// write takes to every leader, and how many bytes cross links for each change.
//
// Leaders stand in three regions in turn (a third each): 2 ms within one, 80, 120 and 150 ms between
// them, one way. "gateways" has two datacenters, 1 ms within and 80 ms between: two gateways in each,
// linked in pairs, and every other leader linked to both of its own.
#pragma once

#include <cstdint>
#include <string>

namespace polyarch::sim {

struct Cost {
  double reach_ms = 0;         // mean over single writes in a quiet cluster: until the last leader has it
  double reach_max_ms = 0;
  double bytes_per_change = 0; // under load: all links together, announcements, claims, heartbeats included
  double frames_per_change = 0;  // of that: frames, claims among them
  double announced_per_change = 0;
  double bytes_quiet_s = 0;    // a second and leader, when nobody writes
  double transfers = 0;        // of each frame
};

// `shape`: mesh, ring, star or gateways. Throws Violation if the cluster does not form.
Cost MeasureCost(const std::string& shape, int leaders);

// The table of docs/topology-cost.md, to standard output; or of one shape, or one number of leaders only.
void PrintCosts(const std::string& shape, int leaders);

}  // namespace polyarch::sim
