#include "sync/electorate.h"

#include <algorithm>

#include "base/planted.h"

namespace polyarch::sync {

std::set<wire::Seat> AllSeats(const wire::Electorate& electorate) {
  std::set<wire::Seat> all(electorate.now.begin(), electorate.now.end());
  all.insert(electorate.next.begin(), electorate.next.end());
  return all;
}

bool HasSeat(const wire::Electorate& electorate, const wire::Seat& seat) {
  auto in = [&](const std::vector<wire::Seat>& seats) {
    return std::find(seats.begin(), seats.end(), seat) != seats.end();
  };
  return in(electorate.now) || in(electorate.next);
}

bool IsMajority(const std::vector<wire::Seat>& of, const std::set<wire::Seat>& who) {
  const auto there = std::count_if(
      of.begin(), of.end(), [&](const wire::Seat& seat) { return who.count(seat) != 0; });
  return 2 * static_cast<size_t>(there) > of.size();
}

bool IsQuorum(const wire::Electorate& electorate, const std::set<wire::Seat>& who, bool back) {
  const bool joint = !electorate.next.empty();
  if (back)
    return IsMajority(PLANTED(kSyncBackByNext) && joint ? electorate.next : electorate.now, who);
  if (PLANTED(kSyncMajorityOfNext) && joint) return IsMajority(electorate.next, who);
  return IsMajority(electorate.now, who) && (!joint || IsMajority(electorate.next, who));
}

bool IsAll(const wire::Electorate& electorate, const std::set<wire::Seat>& who) {
  const std::set<wire::Seat> all = AllSeats(electorate);
  return std::includes(who.begin(), who.end(), all.begin(), all.end());
}

}  // namespace polyarch::sync
