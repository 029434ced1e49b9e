#include "command/histogram.h"

#include <algorithm>

namespace polyarch::command {

int64_t Histogram::AtPercentile(double percent) const {
  if (total_ == 0) return 0;
  const auto wanted =
      std::max<uint64_t>(1, static_cast<uint64_t>(percent / 100 * static_cast<double>(total_) + 0.5));
  uint64_t count = 0;
  for (size_t place = 0; place < kPlaces; ++place) {
    count += counts_[place];
    if (count >= wanted) return LongestAt(place);
  }
  return kNanosMax;
}

void Histogram::VisitDoubling(base::FunctionRef<void(int64_t micros, uint64_t count)> visit) const {
  uint64_t count = 0;
  size_t place = 0;
  for (int64_t level = 1024; count < total_; level *= 2) {
    const size_t end = std::min(Place(level) + 1, kPlaces);
    const uint64_t before = count;
    for (; place < end; ++place)
      count += counts_[place];
    if (count > before) visit(LongestAt(Place(level)) / 1000, count);
  }
}

}  // namespace polyarch::command
