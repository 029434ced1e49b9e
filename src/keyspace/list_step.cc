#include "keyspace/list_step.h"

#include "base/check.h"
#include "base/codec.h"

namespace polyarch::keyspace::list_step {

namespace {

// The first byte: these, and n, if it is small.
constexpr uint8_t kBehind = 0x80;
constexpr uint8_t kRewritten = 0x40;  // the sequence follows, as it differs from the version's
constexpr uint8_t kNBits = 0x3f;      // kNBits itself: n follows

constexpr uint64_t kNZero = uint64_t{1} << 47;  // n is signed, with its sign turned

uint64_t NOf(const char* step) {
  uint64_t number = 0;
  std::memcpy(&number, step, sizeof number);
  return __builtin_bswap64(number) >> 16;
}

uint64_t RunOf(const char* step) {
  uint64_t number = 0;
  std::memcpy(&number, step + kNEnd, sizeof number);
  return __builtin_bswap64(number);
}

}  // namespace

size_t Shorten(char* to, std::string_view name, clock::Dot dot, const clock::OriginTable& origins) {
  const char* step = name.data();
  if (name.size() != kBytes || RunOf(step) != origins.Get(dot.origin()).incarnation) return 0;
  const bool behind = IsBehind(step);
  const uint64_t n = base::ZigZag(static_cast<int64_t>(NOf(step) - kNZero));
  const uint32_t index = behind ? IndexOf(step) : ~IndexOf(step);
  const uint64_t brought_by = BroughtBy(step);
  const bool rewritten = brought_by != dot.sequence();
  char* at = to + 1;
  if (n >= kNBits) at = base::EncodeVarint(at, n);
  at = base::EncodeVarint(at, index);
  if (rewritten)
    at = base::EncodeVarint(at, base::ZigZag(static_cast<int64_t>(brought_by - dot.sequence())));
  to[0] = static_cast<char>((behind ? kBehind : 0) | (rewritten ? kRewritten : 0) |
                            (n < kNBits ? n : kNBits));
  return static_cast<size_t>(at - to);
}

void Lengthen(char* step,
              std::string_view short_name,
              clock::Dot dot,
              const clock::OriginTable& origins) {
  base::Reader reader(short_name);
  const uint8_t first = reader.Fixed8();
  const uint64_t n = (first & kNBits) == kNBits ? reader.Varint() : first & kNBits;
  const auto index = static_cast<uint32_t>(reader.Varint());
  uint64_t sequence = dot.sequence();
  if ((first & kRewritten) != 0) sequence += static_cast<uint64_t>(reader.SignedVarint());
  const uint64_t turned = (first & kBehind) != 0 ? 0 : UINT64_MAX;
  const uint64_t n_bytes =
      __builtin_bswap64((kNZero + static_cast<uint64_t>(base::UnZigZag(n))) << 16);
  std::memcpy(step, &n_bytes, kNEnd);
  const uint64_t run = __builtin_bswap64(origins.Get(dot.origin()).incarnation);
  std::memcpy(step + kNEnd, &run, sizeof run);
  SetSequence(step, (sequence | uint64_t{1} << 47) ^ turned);
  SetIndex(step, index ^ static_cast<uint32_t>(turned));
}

}  // namespace polyarch::keyspace::list_step
