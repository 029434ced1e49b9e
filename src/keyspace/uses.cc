#include "keyspace/uses.h"

#include <algorithm>
#include <limits>

namespace polyarch::keyspace {

namespace {

constexpr unsigned kFirstBits = 12;  // 16 KiB

}  // namespace

Uses::Uses(Kind kind, int64_t now_ms)
    : kind_(kind), since_ms_(now_ms), now_ms_(now_ms), shift_(64 - kFirstBits), cells_(size_t{1} << kFirstBits) {}

uint32_t Uses::Step() const {
  // After 497 days it begins anew; what was not used for so long then looks as if it had been.
  const auto step = static_cast<uint32_t>(std::max<int64_t>(0, now_ms_ - since_ms_) / kStepMs + 1);
  return step == 0 ? 1 : step;
}

uint32_t Uses::Minute() const {
  return static_cast<uint32_t>(std::max<int64_t>(0, now_ms_ - since_ms_) / 60'000) & 0xff'ffff;
}

int64_t Uses::IdleMs(uint64_t hash, bool& known) const {
  const uint32_t cell = cells_[hash >> shift_];
  known = cell != 0;
  if (!known) return std::max<int64_t>(0, now_ms_ - since_ms_);
  // A clock that was set back makes nothing look old.
  const auto steps = static_cast<int32_t>(Step() - cell);
  return steps < 0 ? 0 : int64_t{steps} * kStepMs;
}

uint8_t Uses::Decayed(uint32_t cell) const {
  const uint32_t count = cell == 0 ? kCountNew : cell & 0xff;
  if (decay_minutes_ == 0) return static_cast<uint8_t>(count);
  const uint32_t minute = Minute();
  const uint32_t since = cell >> 8;  // of a cell that is 0: the beginning
  const uint32_t periods = minute < since ? 0 : (minute - since) / decay_minutes_;
  return static_cast<uint8_t>(count > periods ? count - periods : 0);
}

// Redis's LFULogIncr: the higher it is, the less likely it grows.
void Uses::NoteCount(uint32_t& cell) {
  const bool fresh = cell == 0;
  uint32_t count = fresh ? kCountNew : Decayed(cell);
  if (!fresh && count < 255) {
    const uint64_t above = count > kCountNew ? count - kCountNew : 0;
    if (random_.Below(above * log_factor_ + 1) == 0) ++count;
  }
  cell = Minute() << 8 | count;
  if (cell == 0) cell = 1;  // the first minute, and decayed to nothing: still it was used
}

void Uses::NoteNew(uint64_t hash) {
  last_ = hash;
  fresh_ = false;
  uint32_t& cell = CellOf(hash);
  if (kind_ == Kind::kTime) return NoteTime(cell);
  cell = Minute() << 8 | std::max<uint32_t>(cell == 0 ? 0 : Decayed(cell), kCountNew);
}

void Uses::SetIdle(uint64_t hash, int64_t idle_ms) {
  if (kind_ != Kind::kTime) return;
  constexpr int64_t kStepsMax = std::numeric_limits<int32_t>::max() / 2;  // and as long to go until it wraps
  const auto steps = static_cast<uint32_t>(std::clamp<int64_t>(idle_ms / kStepMs, 0, kStepsMax));
  const uint32_t cell = Step() - steps;  // before the beginning, too: only differences count
  CellOf(hash) = cell == 0 ? 1 : cell;
}

void Uses::SetCount(uint64_t hash, uint8_t count) {
  if (kind_ != Kind::kCount) return;
  const uint32_t cell = Minute() << 8 | count;
  CellOf(hash) = cell == 0 ? 1 : cell;
}

void Uses::Fit(size_t keys) {
  while (cells_.size() < keys && cells_.size() < kCellsMax) {
    std::vector<uint32_t> doubled(cells_.size() * 2);
    for (size_t i = 0; i < cells_.size(); ++i)
      doubled[2 * i] = doubled[2 * i + 1] = cells_[i];
    cells_.swap(doubled);
    --shift_;
  }
}

}  // namespace polyarch::keyspace
