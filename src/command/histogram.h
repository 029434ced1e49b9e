// How long things took: counts by duration, in buckets whose width is at most 1 % of what they hold, as
// in Redis's latency histograms (an HDR histogram of two digits from 1 ns to 1 s), and so are the numbers that are
// read from it.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/function_ref.h"

namespace polyarch::command {

class Histogram {
 public:
  static constexpr int64_t kNanosMax = 1'000'000'000;  // what took longer counts as so long

  void Add(int64_t nanos, uint64_t times = 1) {
    counts_[Place(nanos < 1 ? 1 : nanos > kNanosMax ? kNanosMax : nanos)] += times;
    total_ += times;
  }
  uint64_t total() const { return total_; }
  // The longest duration, in ns, of the bucket below which, or in which, so many percent lie.
  int64_t AtPercentile(double percent) const;
  // How many took no longer than 1.024 us, twice that, four times ..., until all did; those that add nothing are
  // left out. In whole microseconds, as Redis tells it.
  void VisitDoubling(base::FunctionRef<void(int64_t micros, uint64_t count)> visit) const;

 private:
  static constexpr int kHalfBits = 7;
  static constexpr int64_t kHalf = 1 << kHalfBits;
  static constexpr size_t kPlaces = 24 << kHalfBits;

  static constexpr int Shift(int64_t nanos) {
    return 56 - std::countl_zero(static_cast<uint64_t>(nanos) | (2 * kHalf - 1));
  }
  static constexpr size_t Place(int64_t nanos) {
    const int shift = Shift(nanos);
    return static_cast<size_t>(((shift + 1) << kHalfBits) + (nanos >> shift) - kHalf);
  }
  // The longest duration that has this place.
  static constexpr int64_t LongestAt(size_t place) {
    const int64_t shift = static_cast<int64_t>(place >> kHalfBits) - 1;
    const int64_t in_bucket = static_cast<int64_t>(place) & (kHalf - 1);
    if (shift < 0) return in_bucket;
    return ((in_bucket + kHalf + 1) << shift) - 1;
  }

  std::array<uint64_t, kPlaces> counts_{};
  uint64_t total_ = 0;
};

}  // namespace polyarch::command
