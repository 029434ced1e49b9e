#include "crdt/position.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/planted.h"

namespace polyarch::crdt {

namespace {

constexpr size_t kNBytes = 6;
constexpr size_t kRunBytes = 8;
constexpr size_t kSequenceBytes = 6;
constexpr size_t kIndexBytes = 4;
[[maybe_unused]] constexpr size_t kPlaceBytes = kSequenceBytes + kIndexBytes;
constexpr int64_t kNMax = (int64_t{1} << 47) - 1;
constexpr int64_t kNMin = -(int64_t{1} << 47);

enum class Side : uint8_t { kBehind, kBefore };

void PutBigEndian(char*& out, uint64_t value, size_t bytes) {
  const uint64_t turned = __builtin_bswap64(value << (8 * (sizeof value - bytes)));
  std::memcpy(out, &turned, bytes);
  out += bytes;
}

// Of a name that nobody makes bytes may be missing: they count as zero.
uint64_t ReadBigEndian(std::string_view in, size_t at, size_t bytes) {
  uint64_t value = 0;
  if (at + sizeof value <= in.size()) {
    std::memcpy(&value, in.data() + at, sizeof value);
    return __builtin_bswap64(value) >> (8 * (sizeof value - bytes));
  }
  for (size_t i = at; i < at + bytes; ++i)
    value = value << 8 | (i < in.size() ? static_cast<uint8_t>(in[i]) : 0);
  return value;
}

struct Step {
  int64_t n = 0;
  uint64_t run = 0;
};

Step ReadStep(std::string_view name, size_t at) {
  const auto n = static_cast<int64_t>(ReadBigEndian(name, at, kNBytes)) + kNMin;
  const size_t before_run = PLANTED(kPositionRunLast) ? kNBytes + kPlaceBytes : kNBytes;
  return {n, ReadBigEndian(name, at + before_run, kRunBytes)};
}

std::string WithStep(std::string_view prefix, int64_t n, Side side, const PositionMaker& maker) {
  CHECK(maker.at.sequence >> 47 == 0);
  std::string name(prefix.size() + kPositionStepBytes, '\0');
  if (!prefix.empty()) std::memcpy(name.data(), prefix.data(), prefix.size());
  char* out = name.data() + prefix.size();
  PutBigEndian(out, static_cast<uint64_t>(n - kNMin), kNBytes);
  const uint64_t turned = side == Side::kBefore ? UINT64_MAX : 0;
  if (!PLANTED(kPositionRunLast)) PutBigEndian(out, maker.run, kRunBytes);
  PutBigEndian(out, (maker.at.sequence | uint64_t{1} << 47) ^ turned, kSequenceBytes);
  PutBigEndian(out, maker.at.index ^ turned, kIndexBytes);
  if (PLANTED(kPositionRunLast)) PutBigEndian(out, maker.run, kRunBytes);
  return name;
}

size_t LastStepOf(std::string_view name) {
  return name.empty() ? 0 : (name.size() - 1) / kPositionStepBytes * kPositionStepBytes;
}

// A sibling of the step at `at` of `name`, in the maker's own run; nothing if that step is not its
// own.
std::optional<std::string> InOwnRun(std::string_view name,
                                    size_t at,
                                    Side side,
                                    const PositionMaker& maker) {
  const Step step = ReadStep(name, at);
  if (step.run != maker.run) return std::nullopt;
  return WithStep(name.substr(0, at), step.n, side, maker);
}

// Below `left`, before what is there: `right` is the first of that, or not below `left` at all.
std::optional<std::string> Below(std::string_view left,
                                 std::string_view right,
                                 Side side,
                                 const PositionMaker& maker) {
  if (!right.starts_with(left)) return WithStep(left, 0, side, maker);
  const Step step = ReadStep(right, left.size());
  if (step.n == kNMin) return std::nullopt;
  std::string name = WithStep(left, step.n - 1, side, maker);
  return name < right ? std::optional(std::move(name)) : std::nullopt;
}

}  // namespace

uint64_t PositionRun(std::string_view name) {
  return ReadStep(name, name.size() < kPositionStepBytes ? 0 : name.size() - kPositionStepBytes).run;
}

std::string PositionBehind(std::string_view last, const PositionMaker& maker) {
  if (last.empty()) return WithStep({}, 0, Side::kBehind, maker);
  // In the run of the last step first, where only what has seen `last` can come between.
  for (size_t at : {LastStepOf(last), size_t{0}}) {
    auto own = InOwnRun(last, at, Side::kBehind, maker);
    if (own && *own > last) return std::move(*own);
  }
  const Step step = ReadStep(last, 0);
  if (step.n == kNMax) return WithStep(last, 0, Side::kBehind, maker);
  return WithStep({}, step.n + 1, Side::kBehind, maker);
}

std::optional<std::string> PositionBefore(std::string_view first, const PositionMaker& maker) {
  if (first.empty()) return WithStep({}, 0, Side::kBefore, maker);
  for (size_t at : {LastStepOf(first), size_t{0}}) {
    auto own = InOwnRun(first, at, Side::kBefore, maker);
    if (own && *own < first) return own;
  }
  return Below({}, first, Side::kBefore, maker);
}

std::optional<std::string> PositionBetween(std::string_view left,
                                           std::string_view right,
                                           const PositionMaker& maker) {
  auto own = InOwnRun(left, LastStepOf(left), Side::kBehind, maker);
  if (own && *own > left && *own < right) return own;
  return Below(left, right, Side::kBehind, maker);
}

std::optional<std::string> PositionBetweenLeftwards(std::string_view left,
                                                    std::string_view right,
                                                    const PositionMaker& maker) {
  auto own = InOwnRun(right, LastStepOf(right), Side::kBefore, maker);
  if (own && *own > left && *own < right) return own;
  return Below(left, right, Side::kBefore, maker);
}

}  // namespace polyarch::crdt
