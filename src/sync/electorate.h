// Quorums.
#pragma once

#include <set>

#include "wire/sync_message.h"

namespace polyarch::sync {

// All who may vote, each once.
std::set<wire::Seat> AllSeats(const wire::Electorate& electorate);
bool HasSeat(const wire::Electorate& electorate, const wire::Seat& seat);
bool IsMajority(const std::vector<wire::Seat>& of, const std::set<wire::Seat>& who);
// A majority of `now`, and of `next` if a change is under way. `back`: of `now` alone, for the
// decision to give the change up.
bool IsQuorum(const wire::Electorate& electorate,
              const std::set<wire::Seat>& who,
              bool back = false);
bool IsAll(const wire::Electorate& electorate, const std::set<wire::Seat>& who);

}  // namespace polyarch::sync
