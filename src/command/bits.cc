#include "command/bits.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace polyarch::command {

namespace {

uint64_t LoadWord(const char* from) {
  uint64_t word = 0;
  std::memcpy(&word, from, sizeof word);
  return word;
}

bool BitAt(std::string_view bytes, uint64_t offset) {
  return ((static_cast<uint8_t>(bytes[offset >> 3]) >> (7 - (offset & 7))) & 1) != 0;
}

}  // namespace

uint64_t CountBits(std::string_view bytes) {
  // Four sums, so that one count need not wait for the one before.
  uint64_t sums[4] = {0, 0, 0, 0};
  const char* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= 32; left -= 32, at += 32) {
    for (size_t i = 0; i < 4; ++i)
      sums[i] += static_cast<uint64_t>(std::popcount(LoadWord(at + 8 * i)));
  }
  uint64_t sum = sums[0] + sums[1] + sums[2] + sums[3];
  for (; left >= 8; left -= 8, at += 8)
    sum += static_cast<uint64_t>(std::popcount(LoadWord(at)));
  for (; left > 0; --left, ++at)
    sum += static_cast<uint64_t>(std::popcount(static_cast<uint8_t>(*at)));
  return sum;
}

uint64_t CountBits(std::string_view bytes, uint64_t first, uint64_t last) {
  const uint64_t first_byte = first >> 3;
  const uint64_t last_byte = last >> 3;
  uint64_t sum = CountBits(bytes.substr(first_byte, last_byte - first_byte + 1));
  const auto head = static_cast<uint8_t>(bytes[first_byte]);
  const auto tail = static_cast<uint8_t>(bytes[last_byte]);
  sum -= static_cast<uint64_t>(std::popcount(static_cast<uint8_t>(head & ~(0xff >> (first & 7)))));
  return sum -
         static_cast<uint64_t>(std::popcount(static_cast<uint8_t>(tail & (0x7f >> (last & 7)))));
}

std::optional<uint64_t> FindBit(std::string_view bytes, bool set, uint64_t first, uint64_t last) {
  uint64_t at = first;
  for (; at <= last && (at & 7) != 0; ++at) {
    if (BitAt(bytes, at) == set) return at;
  }
  // Whole words that hold nothing but the other bit are passed over.
  const uint64_t nothing = set ? 0 : ~uint64_t{0};
  while (at + 63 <= last && LoadWord(bytes.data() + (at >> 3)) == nothing)
    at += 64;
  const uint8_t nothing_byte = set ? 0 : 0xff;
  while (at + 7 <= last && static_cast<uint8_t>(bytes[at >> 3]) == nothing_byte)
    at += 8;
  for (; at <= last; ++at) {
    if (BitAt(bytes, at) == set) return at;
  }
  return std::nullopt;
}

namespace {

uint64_t Combine(BitOperation operation, uint64_t a, uint64_t b) {
  switch (operation) {
    case BitOperation::kAnd:
      return a & b;
    case BitOperation::kOr:
      return a | b;
    case BitOperation::kXor:
      return a ^ b;
    case BitOperation::kNot:
      break;
  }
  return ~a;
}

}  // namespace

void CombineBits(BitOperation operation, std::string& result, std::string_view source) {
  if (operation == BitOperation::kNot) source = result;
  if (result.size() < source.size()) result.resize(source.size(), '\0');
  const size_t both = source.size();
  size_t i = 0;
  for (; i + 8 <= both; i += 8) {
    const uint64_t word =
        Combine(operation, LoadWord(result.data() + i), LoadWord(source.data() + i));
    std::memcpy(result.data() + i, &word, sizeof word);
  }
  for (; i < both; ++i)
    result[i] = static_cast<char>(
        Combine(operation, static_cast<uint8_t>(result[i]), static_cast<uint8_t>(source[i])));
  if (operation == BitOperation::kAnd)
    std::fill(result.begin() + static_cast<ptrdiff_t>(both), result.end(), '\0');
}

int64_t BitInteger::Wrap(__int128 value) const {
  auto low = static_cast<uint64_t>(value);
  if (bits == 64) return static_cast<int64_t>(low);
  const uint64_t mask = (uint64_t{1} << bits) - 1;
  low &= mask;
  if (is_signed && (low >> (bits - 1)) != 0) low |= ~mask;
  return static_cast<int64_t>(low);
}

int64_t ReadBits(std::string_view bytes, BitInteger type, uint64_t offset) {
  unsigned __int128 window = 0;  // nine bytes hold 64 bits at any place
  for (uint64_t i = 0; i < 9; ++i) {
    const uint64_t at = (offset >> 3) + i;
    window = (window << 8) | (at < bytes.size() ? static_cast<uint8_t>(bytes[at]) : 0);
  }
  return type.Wrap(static_cast<__int128>(window >> (72 - (offset & 7) - type.bits)));
}

void WriteBits(std::string& bytes, BitInteger type, uint64_t offset, int64_t value) {
  for (unsigned i = 0; i < type.bits; ++i) {
    const uint64_t at = offset + i;
    const auto mask = static_cast<uint8_t>(0x80 >> (at & 7));
    const bool set = ((static_cast<uint64_t>(value) >> (type.bits - 1 - i)) & 1) != 0;
    auto& byte = bytes[at >> 3];
    byte = static_cast<char>(set ? static_cast<uint8_t>(byte) | mask
                                 : static_cast<uint8_t>(byte) & ~mask);
  }
}

}  // namespace polyarch::command
