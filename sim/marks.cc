#include "sim/marks.h"

namespace polyarch::sim {

namespace {

constexpr std::array<std::string_view, static_cast<size_t>(Mark::kCount)> kNames = {
    "concurrent versions",
    "three siblings",
    "read refused: conflict",
    "conflict resolved",
    "token not yet covered",
    "lost value restored",
    "pair in the ledger",
    "increment survived a clear",
    "key hidden by expiry",
    "expired key removed",
    "residue cleaned",
    "counter entry purged",
    "write held",
    "read held",
    "unacknowledged writes lost",
    "acknowledged writes lost",
    "torn tail",
    "unflushed rows lost",
    "crash within a checkpoint",
    "checkpoint done",
    "sync failed",
    "flush failed",
    "write failed",
    "power cut",
    "process killed",
    "process stopped",
    "node paused",
    "empty disk",
    "old disk",
    "backup beside writes",
    "cloned disk",
    "clone renamed",
    "joined in mid-run",
    "write refused: not admitted",
    "frame waited at the gate",
    "duplicate dropped",
    "resubscribed",
    "served by another than the author",
    "link down",
    "dial failed",
    "partition",
    "bridge partition",
    "asymmetric partition",
    "flapping partition",
    "clogged link",
    "clock jump",
    "clock years off",
    "leap in time",
    "link cut by command",
    "leader retired",
    "write refused: retired",
    "retired leader joined again",
    "origin ended",
    "several frames in a tick",
    "one key, one millisecond",
    "topology set",
    "ring",
    "star",
    "tree or graph of links",
    "leaders without a link of their own",
    "bypass opened",
    "unwanted link drained",
    "dead and cut routed around",
    "flapping link held back",
    "a state taken over",
    "state transfer resumed",
    "state transfer begun anew",
    "joined by a state",
    "own changes merged with a state",
    "versions met in a merge",
    "cut-over replayed",
    "crash within a merge",
    "command waited for a merge",
    "key merged on access",
    "member recorded as away",
    "present again",
    "log trimmed",
    "message in parts",
    "origin folded",
    "origin folded again",
    "folded origin left out of deps",
    "applied beyond a fold",
    "effect names a folded origin",
    "disk returned after the fold",
    "slots found equal",
    "told to take the state",
    "store copied again for a backup",
};

}  // namespace

std::array<uint64_t, static_cast<size_t>(Mark::kCount)>& MarkCounts() {
  static std::array<uint64_t, static_cast<size_t>(Mark::kCount)> counts{};
  return counts;
}

void Pass(Mark mark, uint64_t times) { MarkCounts()[static_cast<size_t>(mark)] += times; }
uint64_t Passed(Mark mark) { return MarkCounts()[static_cast<size_t>(mark)]; }
std::string_view NameOf(Mark mark) { return kNames[static_cast<size_t>(mark)]; }

}  // namespace polyarch::sim
