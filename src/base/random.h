// A small deterministic generator (SplitMix64, Steele et al. 2014) for jitter, sampling and the
// simulator. Seeds come from outside: quiet rooms know no random device. Not for secrets.
#pragma once

#include <cstdint>

namespace polyarch::base {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  // Uniform in [0, bound); 0 if bound is 0.
  uint64_t Below(uint64_t bound) {
    return bound == 0
               ? 0
               : static_cast<uint64_t>((static_cast<unsigned __int128>(Next()) * bound) >> 64);
  }
  // True with the given chance in percent.
  bool Percent(unsigned chance) { return Below(100) < chance; }

 private:
  uint64_t state_;
};

}  // namespace polyarch::base
