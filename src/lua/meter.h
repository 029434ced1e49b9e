// What code in Lua may use up, counted so that every leader counts the same: steps and memory, no time.
// A step is about an instruction of Lua. Work that one instruction can hide is charged, too: bytes that
// are allocated, and a share of the largest block there is, since any instruction may have to look at it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <utility>

namespace polyarch::lua {

// Becomes an error of Lua's where it would go through Lua (functions.h).
class LimitExceeded : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Meter {
 public:
  // `expired`, if given, is asked now and then whether the time is over; then no step is left.
  explicit Meter(uint64_t steps, std::function<bool()> expired = nullptr)
      : left_(steps), expired_(std::move(expired)) {
    if (expired_) look_at_ = left_ - std::min(left_, kStepsALook);
  }

  // Throws LimitExceeded when none is left.
  void Charge(uint64_t steps) {
    Note(steps);
    Look();
    if (left_ == 0) throw LimitExceeded("it takes more steps than it may");
  }
  // As Charge, where nothing may be thrown: the next Charge throws.
  void Note(uint64_t steps) { left_ -= std::min(left_, steps); }
  // Is it time to look at the clock? Where a call may come in.
  void Look() {
    if (left_ >= look_at_) [[likely]]
      return;
    LookNow();
  }
  // Behind what may have taken long whatever it was charged.
  void LookNow() {
    if (!expired_) return;
    look_at_ = left_ - std::min(left_, kStepsALook);
    if (left_ == 0 || !expired_()) return;
    out_of_time_ = true;
    left_ = 0;
    look_at_ = 0;
  }
  uint64_t left() const { return left_; }
  bool out_of_time() const { return out_of_time_; }

 private:
  // About a millisecond.
  static constexpr uint64_t kStepsALook = 100'000;

  uint64_t left_;
  uint64_t look_at_ = 0;  // below it, the clock is looked at
  bool out_of_time_ = false;
  std::function<bool()> expired_;
};

}  // namespace polyarch::lua
