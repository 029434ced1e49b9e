// Hybrid logical clock (Kulkarni et al. 2014, "Logical Physical Clocks"): 48 bits of milliseconds
// and 16 bits of counter. It orders *concurrent* writes for last-write-wins and for display; it
// never decides whether they are concurrent (version vectors do).
//
// A clock is given the wall time with each call and never reads one. It never goes back within a
// process; across restarts it is bound by a lease: the largest value it may issue is on disk before
// it is issued (HlcClock::lease_wanted), and a new process starts from that bound. A wall clock
// that jumps forward beyond the lease advances only to the bound until the new lease is durable.
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

  // The bound to persist, or 0 if the present lease reaches far enough. Asks again only when the
  // answer grows. `kLeaseMs` ahead of the clock; renewed at half.
  uint64_t LeaseWanted(int64_t wall_ms);
  // The bound `lease_ms` is durable now.
  void LeaseGranted(uint64_t lease_ms);
  // At start: everything up to the last durable bound may have been issued.
  void Start(uint64_t lease_ms);

  Hlc last() const { return last_; }
  // The largest bound asked for: at least everything issued.
  uint64_t lease_asked() const { return asked_ms_; }

  static constexpr uint64_t kLeaseMs = 10'000;

 private:
  Hlc last_;
  uint64_t lease_ms_ = 0;  // durable
  uint64_t asked_ms_ = 0;  // asked for
};

}  // namespace polyarch::clock
