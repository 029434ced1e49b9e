#include "clock/hlc.h"

#include <algorithm>

#include "base/planted.h"

namespace polyarch::clock {

Hlc HlcClock::Next(int64_t wall_ms) {
  Hlc now = Hlc::FromMs(static_cast<uint64_t>(std::max<int64_t>(wall_ms, 0)));
  last_ = std::max(now, Hlc{last_.bits + 1});
  return last_;
}

bool HlcClock::Observe(Hlc remote, int64_t wall_ms, int64_t skew_max_ms) {
  auto bound = static_cast<uint64_t>(std::max<int64_t>(wall_ms + skew_max_ms, 0));
  if (remote.ms() > bound && !PLANTED(kSkewMoves)) return false;
  last_ = std::max(last_, remote);
  return true;
}

uint64_t HlcClock::LeaseWanted(int64_t wall_ms) {
  const auto wall = static_cast<uint64_t>(std::max<int64_t>(wall_ms, 0));
  if (last_.ms() + 1 < lease_ms_ && wall + kLeaseMs / 2 <= lease_ms_) return 0;
  // From the wall clock, not from the last stamp: else each restart would add a lease.
  lease_ms_ = std::max(wall + kLeaseMs, last_.ms() + 2);
  return lease_ms_;
}

void HlcClock::Start(uint64_t lease_ms) {
  if (PLANTED(kStampBack)) return;
  last_ = std::max(last_, Hlc::FromMs(lease_ms));
  lease_ms_ = std::max(lease_ms_, lease_ms);
}

}  // namespace polyarch::clock
