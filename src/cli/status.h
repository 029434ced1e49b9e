// `polyarch status`: a snapshot as text and as JSON.
#pragma once

#include <string>
#include <vector>

#include "cli/snapshot.h"

namespace polyarch::cli {

// What needs a person, one line each; the words are those of docs/operations.md.
std::vector<std::string> Alarms(const Snapshot& snapshot);

// A line each about conflicts, log, checkpoint, purging: for `status` and `top`.
std::vector<std::string> StateLines(const Snapshot& snapshot);

// "up", "down", "cut", ... of a leader as the one that was asked sees it; "-" for itself.
std::string LinkWord(const LeaderRow& leader);
std::string ClockWord(const LeaderRow& leader);
std::string LagWord(const LeaderRow& leader);

std::vector<std::string> StatusLines(const Snapshot& snapshot);
resp::Value StatusValue(const Snapshot& snapshot);

int RunStatus(int argc, char** argv);

}  // namespace polyarch::cli
