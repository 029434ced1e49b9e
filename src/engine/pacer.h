// How much work for others this leader takes on beside its clients: rows of checkpoints and merges,
// chunks of state transfers. All of it could be done at once, and the clients would wait for it.
//
// It watches how much of the time the ticks take. Under contention for the processors a tick takes
// longer, too, so this also sees what other processes do.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace polyarch::engine {

class Pacer {
 public:
  // The bounds of what is sent of a state, bytes a second.
  Pacer(uint64_t least, uint64_t most)
      : least_(std::min(least, most)), most_(most), rate_(std::min(kBegin, most)) {}

  // At the begin of a tick: the time, how long the tick before took, and where the log ends.
  void Tick(int64_t now_us, int64_t busy_us, uint64_t log_end);

  // Bytes a second for a receiver of a state: never less than twice what the log grows by, or a
  // receiver would fall behind for ever.
  uint64_t bytes_per_second() const {
    return std::clamp(std::max(rate_, 2 * growth_), least_, most_);
  }

  // How many rows may be visited now, if `most` are the most for a tick, and the last slice ended
  // at `since_us`; 0: none yet.
  static size_t Rows(int64_t now_us, int64_t since_us, size_t most) {
    const int64_t elapsed_us = now_us - since_us;
    if (elapsed_us < kSliceUs) return 0;
    return std::min(most, std::max(kRowsLeast, static_cast<size_t>(elapsed_us / kRowUs)));
  }

 private:
  static constexpr uint64_t kBegin = 8 << 20;
  static constexpr uint64_t kStep = 1 << 20;
  static constexpr int64_t kWindowUs = 100'000;
  static constexpr int64_t kSliceUs = 1'000;
  // A row takes about 1 us: a quarter of the time.
  static constexpr int64_t kRowUs = 4;
  static constexpr size_t kRowsLeast = 250;

  const uint64_t least_;
  const uint64_t most_;
  uint64_t rate_;
  uint64_t growth_ = 0;  // of the log, bytes a second
  int64_t window_us_ = -1;
  int64_t busy_us_ = 0;
  uint64_t log_end_ = 0;
};

inline void Pacer::Tick(int64_t now_us, int64_t busy_us, uint64_t log_end) {
  busy_us_ += busy_us;
  if (window_us_ < 0) {
    window_us_ = now_us;
    log_end_ = log_end;
  }
  const int64_t elapsed_us = now_us - window_us_;
  if (elapsed_us < kWindowUs) return;
  const int64_t percent = busy_us_ * 100 / elapsed_us;
  if (percent > 65) rate_ = rate_ * 7 / 10;
  if (percent < 50) rate_ += kStep;
  rate_ = std::clamp(rate_, least_, most_);
  const uint64_t growth = (log_end - log_end_) * 1'000'000 / static_cast<uint64_t>(elapsed_us);
  growth_ = (growth_ * 7 + growth) / 8;
  window_us_ = now_us;
  busy_us_ = 0;
  log_end_ = log_end;
}

}  // namespace polyarch::engine
