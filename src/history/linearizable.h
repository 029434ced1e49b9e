// Is a history linearizable? Is there, for each key, one order of its operations that explains every
// answer, in which whoever was answered before another one was invoked comes before it?
// (Herlihy, Wing 1990. The property is local: each key is checked by itself.)
//
// The search is that of Wing and Gong (1993) with the memory of Lowe ("Testing for linearizability", 2017):
// of two ways to the same set of operations and the same value the second is not followed. A set is known
// by a 128-bit sum of random numbers, so two that differ are taken for one with a chance of about
// 2^-128 a pair. The problem is NP-complete; the search ends, undecided, after `work_max` sets for a key.
//
// Operations: get, set, del, cas, setnx, incr; final is a get. One of unknown outcome takes effect at any time
// after it was invoked, or never. One that failed has none. Values need not be unique.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "history/history.h"
#include "history/verdict.h"

namespace polyarch::history {

struct LinearizableOptions {
  std::vector<bool> skip;  // by key: not checked; empty: none
  uint64_t work_max = 20'000'000;
};

// kInvalid if a read shows several values, or what is incremented is no number.
base::Result<Verdict> CheckLinearizable(const History& history, const LinearizableOptions& options = {});

}  // namespace polyarch::history
