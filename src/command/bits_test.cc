#include "command/bits.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace polyarch::command {
namespace {

bool Bit(std::string_view bytes, uint64_t at) {
  return ((static_cast<unsigned char>(bytes[at / 8]) << (at % 8)) & 0x80) != 0;
}

std::string RandomBytes(base::Random& random, size_t size) {
  std::string bytes(size, '\0');
  // Long runs of one bit, too.
  const uint64_t kind = random.Below(3);
  for (char& c : bytes)
    c = static_cast<char>(kind == 0 ? random.Next() : kind == 1 ? 0 : 0xff);
  if (size > 0 && random.Below(2) == 0)
    bytes[random.Below(size)] = static_cast<char>(random.Next());
  return bytes;
}

TEST(Bits, CountAndFindAgreeWithBitByBit) {
  base::Random random(1);
  for (int round = 0; round < 3000; ++round) {
    const std::string bytes = RandomBytes(random, 1 + random.Below(80));
    const uint64_t total = bytes.size() * 8;
    const uint64_t first = random.Below(total);
    const uint64_t last = first + random.Below(total - first);
    for (bool set : {false, true}) {
      uint64_t count = 0;
      std::optional<uint64_t> found;
      for (uint64_t i = first; i <= last; ++i) {
        if (Bit(bytes, i) != set) continue;
        ++count;
        if (!found) found = i;
      }
      ASSERT_EQ(FindBit(bytes, set, first, last), found) << first << " to " << last;
      if (set) {
        ASSERT_EQ(CountBits(bytes, first, last), count);
      }
    }
    ASSERT_EQ(CountBits(bytes), CountBits(bytes, 0, total - 1));
  }
}

TEST(Bits, CombineAgreesWithByteByByte) {
  base::Random random(2);
  for (int round = 0; round < 1000; ++round) {
    std::vector<std::string> sources;
    size_t longest = 0;
    for (uint64_t i = 0; i < 1 + random.Below(4); ++i) {
      sources.push_back(RandomBytes(random, random.Below(40)));
      longest = std::max(longest, sources.back().size());
    }
    for (auto operation : {BitOperation::kAnd, BitOperation::kOr, BitOperation::kXor}) {
      std::string expected(longest, '\0');
      for (size_t at = 0; at < longest; ++at) {
        auto byte = [&](size_t i) {
          return at < sources[i].size() ? static_cast<unsigned char>(sources[i][at]) : 0;
        };
        int value = byte(0);
        for (size_t i = 1; i < sources.size(); ++i) {
          if (operation == BitOperation::kAnd) value &= byte(i);
          if (operation == BitOperation::kOr) value |= byte(i);
          if (operation == BitOperation::kXor) value ^= byte(i);
        }
        expected[at] = static_cast<char>(value);
      }
      std::string result = sources[0];
      for (size_t i = 1; i < sources.size(); ++i)
        CombineBits(operation, result, sources[i]);
      ASSERT_EQ(result, expected);
    }
  }
  std::string one = "a\xff" "eight and more";
  const std::string before = one;
  CombineBits(BitOperation::kNot, one, one);
  EXPECT_EQ(one.substr(0, 2), std::string("\x9e\0", 2));
  CombineBits(BitOperation::kNot, one, one);
  EXPECT_EQ(one, before);
}

TEST(Bits, AnIntegerIsReadAsItWasWritten) {
  base::Random random(3);
  for (int round = 0; round < 5000; ++round) {
    const bool is_signed = random.Below(2) == 0;
    const BitInteger type{.is_signed = is_signed,
                          .bits = static_cast<unsigned>(1 + random.Below(is_signed ? 64 : 63))};
    std::string bytes = RandomBytes(random, 32);
    const std::string before = bytes;
    const uint64_t offset = random.Below(bytes.size() * 8 - type.bits + 1);
    const int64_t value = type.Wrap(static_cast<__int128>(random.Next()));
    ASSERT_LE(type.lowest(), value);
    ASSERT_GE(type.highest(), value);
    WriteBits(bytes, type, offset, value);
    ASSERT_EQ(ReadBits(bytes, type, offset), value);
    for (uint64_t i = 0; i < bytes.size() * 8; ++i) {
      if (i >= offset && i < offset + type.bits) continue;
      ASSERT_EQ(Bit(bytes, i), Bit(before, i)) << "outside nothing changes";
    }
  }
}

TEST(Bits, BeyondTheEndThereAreZeros) {
  EXPECT_EQ(ReadBits("\xff", {.is_signed = false, .bits = 8}, 4), 0xf0);
  EXPECT_EQ(ReadBits("", {.is_signed = true, .bits = 64}, 1'000'000), 0);
}

}  // namespace
}  // namespace polyarch::command
