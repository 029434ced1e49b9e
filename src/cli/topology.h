// `polyarch topology`: TOPOLOGY GET, drawn.
#pragma once

#include <string>
#include <vector>

#include "cli/snapshot.h"
#include "resp/reply.h"

namespace polyarch::cli {

// `topology` is the reply of TOPOLOGY GET, or null where the leader has none: then the links are
// taken from the snapshot. Fields that this version does not know are shown as they are. Without `all`
// the origins of processes that are not there are only counted.
std::vector<std::string> TopologyLines(const resp::Value& topology, const Snapshot& snapshot, bool all = false);

int RunTopology(int argc, char** argv);

}  // namespace polyarch::cli
