// Draws: what the simulator asks of its one random generator.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"

namespace polyarch::sim {

class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(seed) {}
  uint64_t Next() { return random_.Next(); }
  uint64_t Below(uint64_t bound) { return random_.Below(bound); }
  // Uniform in [low, high].
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(Below(static_cast<uint64_t>(high - low) + 1));
  }
  // Log-uniform in [low, high]: each order of magnitude is as likely.
  int64_t Scale(int64_t low, int64_t high) {
    int64_t steps = 0;
    for (int64_t x = low; x < high; x *= 2) ++steps;
    int64_t top = low << Between(0, steps);
    return Between(low, top < high ? top : high);
  }
  bool Percent(unsigned chance) { return random_.Percent(chance); }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  template <typename T>
  const T& Pick(const std::vector<T>& items) {
    return items[Below(items.size())];
  }
  // The index of one weight, in proportion.
  size_t Weighted(std::span<const unsigned> weights) {
    uint64_t sum = 0;
    for (unsigned w : weights) sum += w;
    uint64_t at = Below(sum);
    for (size_t i = 0; i < weights.size(); ++i) {
      if (at < weights[i]) return i;
      at -= weights[i];
    }
    return 0;
  }
  base::Random& random() { return random_; }

 private:
  base::Random random_;
};

}  // namespace polyarch::sim
