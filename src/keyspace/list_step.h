// Parts of a name of one step (crdt/position.h), and such a name in few bytes.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "clock/origin.h"
#include "crdt/position.h"

namespace polyarch::keyspace::list_step {

inline constexpr size_t kBytes = crdt::kPositionStepBytes;
inline constexpr size_t kNEnd = 6;
inline constexpr size_t kRunEnd = 14;  // of n and run
inline constexpr size_t kSequenceEnd = 20;
inline constexpr uint64_t kSequenceMask = (uint64_t{1} << 47) - 1;

inline uint64_t SequenceOf(const char* step) {
  uint64_t number = 0;
  std::memcpy(&number, step + kRunEnd, sizeof number);
  return __builtin_bswap64(number) >> 16;
}
inline void SetSequence(char* step, uint64_t sequence) {
  sequence = __builtin_bswap64(sequence << 16);
  std::memcpy(step + kRunEnd, &sequence, kSequenceEnd - kRunEnd);
}
inline uint32_t IndexOf(const char* step) {
  uint32_t number = 0;
  std::memcpy(&number, step + kSequenceEnd, sizeof number);
  return __builtin_bswap32(number);
}
inline void SetIndex(char* step, uint32_t index) {
  index = __builtin_bswap32(index);
  std::memcpy(step + kSequenceEnd, &index, sizeof index);
}

// Was the element put behind others? Before others all bits of its place are turned.
inline bool IsBehind(const char* step) {
  return SequenceOf(step) >> 47 != 0;
}
// The sequence of the effect that brought it.
inline uint64_t BroughtBy(const char* step) {
  return (IsBehind(step) ? SequenceOf(step) : ~SequenceOf(step)) & kSequenceMask;
}

// A name in few bytes, fewer than kBytes, for an element whose version says the rest: which process
// wrote it, and when. Nothing is written if that is not the one that made the name.
inline constexpr size_t kShortBytesMax = 23;
size_t Shorten(char* to, std::string_view name, clock::Dot dot, const clock::OriginTable& origins);
// The name again.
void Lengthen(char* step,
              std::string_view short_name,
              clock::Dot dot,
              const clock::OriginTable& origins);

}  // namespace polyarch::keyspace::list_step
