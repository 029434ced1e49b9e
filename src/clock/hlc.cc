#include "clock/hlc.h"

#include <algorithm>

#include "base/planted.h"

namespace polyarch::clock {

Hlc HlcClock::Next(int64_t wall_ms) {
  auto wall = static_cast<uint64_t>(std::max<int64_t>(wall_ms, 0));
  Hlc now = Hlc::FromMs(std::min(wall, lease_ms_));
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
  uint64_t now = std::max(static_cast<uint64_t>(std::max<int64_t>(wall_ms, 0)), last_.ms());
  if (now + kLeaseMs / 2 <= asked_ms_) return 0;
  asked_ms_ = now + kLeaseMs;
  return asked_ms_;
}

void HlcClock::LeaseGranted(uint64_t lease_ms) {
  lease_ms_ = std::max(lease_ms_, lease_ms);
}

void HlcClock::Start(uint64_t lease_ms) {
  last_ = std::max(last_, Hlc::FromMs(lease_ms));
  lease_ms_ = std::max(lease_ms_, lease_ms);
  asked_ms_ = std::max(asked_ms_, lease_ms);
}

}  // namespace polyarch::clock
