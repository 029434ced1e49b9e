// The order of agreement: a Ballot names one attempt of one process to agree on a value (CASPaxos,
// Rystsov 2018). Ballots are compared by counter, then by who proposes; a process draws each at
// most once and never uses one for two values. The incarnation is drawn afresh by each process, so
// that a process needs to remember nothing of the ballots of the one before it.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "clock/origin.h"

namespace polyarch::clock {

struct Ballot {
  uint64_t counter = 0;  // 0: no ballot, below all others
  Origin proposer;

  bool none() const { return counter == 0; }
  friend auto operator<=>(const Ballot&, const Ballot&) = default;

  // "17.eu.3f2a9c0d11223344"
  std::string ToString() const;
  static std::optional<Ballot> Parse(std::string_view text);
};

}  // namespace polyarch::clock
