// Is a history causally consistent? After Bouajjani, Enea, Guerraoui, Hamza: "On verifying causal
// consistency" (POPL 2017): for histories whose writes to one key all write different values, a
// violation shows as one of a few patterns.
//
// Causal order (CO) is the order of each session and from each write to the reads of its value, made
// transitive. A session is one client that never forgets what it has seen, also when it goes to another
// leader. A write of unknown outcome precedes only those who read it.
//
//   CyclicCO         an operation comes before itself
//   ThinAirRead      a read of what nobody wrote, or whose write failed
//   FutureRead       a read that was answered before its write was invoked
//   WriteCOInitRead  a read of nil, after a write that no delete can have removed
//   WriteCORead      a read of a write, after another write or delete that had seen that one
//   CyclicCF         (only `convergent`) no one order of the concurrent writes explains who was shown
//   FinalDiffers     reads called final show different values
//   CounterLost, CounterInvented   a counter shows less, or more, than increments explain
//
// The first five together are CC, causal consistency in its plain sense; with CyclicCF it is CCv, causal
// convergence, which holds where one order of all writes decides (`lww`, with clocks that are not apart
// by more than max_clock_skew). WriteCOInitRead and WriteCORead tell which session guarantee is broken.
//
// Deletes are observed-removes: a delete removes what it had seen, so a read of a write concurrent with
// it is fine, and a read of nil is fine if some delete may have seen every write before the read.
//
// Costs: time about operations x sessions that write a key; memory 4 bytes x sessions for every write
// that follows news from another session.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/status.h"
#include "history/history.h"
#include "history/verdict.h"

namespace polyarch::history {

struct CausalOptions {
  bool convergent = false;
  std::vector<bool> skip;  // by key: not checked; empty: none
  size_t clocks_bytes_max = size_t{8} << 30;
};

// kInvalid if two writes of one key write the same value: then nobody can tell who was read.
base::Result<Verdict> CheckCausal(const History& history, const CausalOptions& options = {});

}  // namespace polyarch::history
