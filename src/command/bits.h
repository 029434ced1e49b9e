// Bits of a byte string, as the bitmap commands count them: bit 0 is the highest of the first byte.
// Pure functions; 64 bits at a time where there are many.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace polyarch::command {

// How many bits are set.
uint64_t CountBits(std::string_view bytes);
// The same from bit `first` to bit `last`, both included and within `bytes`.
uint64_t CountBits(std::string_view bytes, uint64_t first, uint64_t last);
// The first bit that is `set`, from `first` to `last`, both included and within `bytes`.
std::optional<uint64_t> FindBit(std::string_view bytes, bool set, uint64_t first, uint64_t last);

enum class BitOperation : uint8_t { kAnd, kOr, kXor, kNot };
// `result` becomes what it is with `source` (kNot: what it is not), and as long as the longer one; the other counts as
// filled with zeros.
void CombineBits(BitOperation operation, std::string& result, std::string_view source);

// An integer of 1 to 64 bits at any bit of a string.
struct BitInteger {
  bool is_signed = false;
  unsigned bits = 0;

  __int128 lowest() const { return is_signed ? -(__int128{1} << (bits - 1)) : 0; }
  __int128 highest() const { return (__int128{1} << (is_signed ? bits - 1 : bits)) - 1; }
  // The value of its lowest bits.
  int64_t Wrap(__int128 value) const;
};
// What is beyond the end reads as zeros.
int64_t ReadBits(std::string_view bytes, BitInteger type, uint64_t offset);
// The place is within `bytes`.
void WriteBits(std::string& bytes, BitInteger type, uint64_t offset, int64_t value);

}  // namespace polyarch::command
