// What code in Lua may use up, counted so that every leader counts the same: steps and memory, no time.
// A step is about an instruction of Lua. Work that one instruction can hide is charged, too: bytes that
// are allocated, and a share of the largest block there is, since any instruction may have to look at it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace polyarch::lua {

// Becomes an error of Lua's where it would go through Lua (functions.h).
class LimitExceeded : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Meter {
 public:
  explicit Meter(uint64_t steps) : left_(steps) {}

  // Throws LimitExceeded when none is left.
  void Charge(uint64_t steps) {
    Note(steps);
    if (left_ == 0) throw LimitExceeded("it takes more steps than it may");
  }
  // As Charge, where nothing may be thrown: the next Charge throws.
  void Note(uint64_t steps) { left_ -= std::min(left_, steps); }
  uint64_t left() const { return left_; }

 private:
  uint64_t left_;
};

}  // namespace polyarch::lua
