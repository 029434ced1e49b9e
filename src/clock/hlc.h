// Hybrid logical clock (Kulkarni et al. 2014, "Logical Physical Clocks"): 48 bits of milliseconds and
// 16 bits of counter. It orders *concurrent* writes for last-write-wins and for display; it never
// decides whether they are concurrent (version vectors do).
//
// A clock is given the wall time with each call and never reads one. It never goes back within a
// process. Across restarts it is bound by a lease: a bound on everything issued stands in the log
// before the first frame that needs it, and a new process starts from there (or from the last stamp,
// after a clean stop). The lease is short and counts from the wall clock, so that restarts do not
// drive the clock ahead; it is renewed only while stamps are issued, so an idle node writes nothing.
#pragma once

#include <compare>
#include <cstdint>

namespace polyarch::clock {

struct Hlc {
  uint64_t bits = 0;

  static Hlc FromMs(uint64_t ms) { return {ms << 16}; }
  uint64_t ms() const { return bits >> 16; }
  friend auto operator<=>(const Hlc&, const Hlc&) = default;
};

class HlcClock {
 public:
  // The next stamp: above every stamp issued or observed before.
  Hlc Next(int64_t wall_ms);

  // A stamp that came with a remote change. Beyond wall + skew_max_ms it does not advance this
  // clock (a single bad clock must not drag everybody's along); returns false then, for an alarm.
  bool Observe(Hlc remote, int64_t wall_ms, int64_t skew_max_ms);

  // The bound to log before the next stamp is issued, or 0 if the present lease reaches far enough.
  uint64_t LeaseWanted(int64_t wall_ms);
  // At start: everything below the bound may have been issued.
  void Start(uint64_t lease_ms);

  Hlc last() const { return last_; }
  // The bound asked for last: at least everything issued.
  uint64_t lease() const { return lease_ms_; }

  static constexpr uint64_t kLeaseMs = 1'000;

 private:
  Hlc last_;
  uint64_t lease_ms_ = 0;
};

}  // namespace polyarch::clock
