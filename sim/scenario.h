// Stories as text: tests/scenario/*.txt. A scenario builds a small cluster and says, line by line, what
// clients, network, disks and clocks do, and what must be seen. All checkers of the simulator are on.
//
//   # a comment
//   seeds 3                          runs the story with several seeds (delays, torn tails)
//   nodes eu us asia                 the first founds the cluster, the others join; settles
//   durability everysec              before `nodes`; also: checkpoint-every BYTES, state-instead BYTES,
//                                    frame-bytes BYTES, window-bytes BYTES, residue-quota KEYS
//   eu: SET k v -> OK                a command at a node and its reply (glob), as Value::ToString
//   eu: CONFLICT GET k -> $token     keeps the reply (of a list the first item) for later lines
//   told eu -> TEXT                  what clients of this node were pushed since the last time; or "nothing"
//   cut eu us | cut eu | cut eu>us   a link, all links of a node, one direction
//   heal | heal eu us | heal eu      the network again
//   delay eu us 500ms                one link, both directions
//   deliver us from eu               `us` alone can hear `eu`, for as long as it has news; then cut again
//   settle                           until nothing moves any more
//   run 5s | leap 7d                 time with and without anybody working in it
//   crash eu | kill eu | stop eu | start eu | pause eu | continue eu
//   room eu 10000 | room eu all      so many bytes are left on its disk; as many as it likes
//   sync eu 20s | sync eu fast       from now on its log's syncs take so long, or as long as usual
//   clock eu +1h                     relative to the true time
//   rejoin eu                        stops it and starts it with --rejoin
//   backup-begin eu NAME | backup-end eu NAME (as beside writes: the store, later the log)
//   backup eu NAME | restore eu NAME | wipe eu | clone eu as us2
//   expect-converged                 equal vectors and equal digests, at all that are up
//   expect-silent                    nothing is written any more, and no residue is left
//   expect-folded                    every origin without a process is, and no vector lists it
//   expect-logged VALUE              some leader's log of conflicts holds this lost value
//   expect-no-conflicts              no leader ever saw one
//   expect-at-most WHAT eu N         log (bytes retained), residue (keys) or memory (bytes of keys)
//   topology ring a b c              TOPOLOGY SET at the first node that is up, and a while to settle
//   topologies mesh                  the story is told in these only (mesh ring star chain); by
//                                    default it is told in each, set right after `nodes`
//   count-transfers                  begins to count the frames that are sent
//   expect-states asia N             it has taken over so many states
//   expect-equal-slots asia N        of which so many slots or more were not sent, being equal
//   expect-transfers N               since then each frame made was sent N times in all, none in vain
//   await-links eu a-b b-c           until eu sees just these links live, and so do all that are up
//   expect-route us asia eu 2        what us says of its way to asia: over eu, in two steps
//   repeat N ... end                 the lines between, so often; {n} in them is 1 to N
//   permute ... end                  the story runs once with each order of the lines between
//   each eu us asia: GET k -> v      the same command at several nodes
#pragma once

#include <string>
#include <vector>

namespace polyarch::sim {

// Empty if it passed, else what went wrong and where. `topology`: mesh, ring, star or chain; a story
// that is not told in it passes.
std::string RunScenarioFile(const std::string& path, const std::string& topology, bool verbose);
// All of them.
std::vector<std::string> ScenarioTopologies();

}  // namespace polyarch::sim
