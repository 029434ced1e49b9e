#include "crdt/hyperloglog.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"

namespace polyarch::crdt {
namespace {

std::string HllOf(base::Random& random, uint64_t elements) {
  std::string bytes = NewHll();
  for (uint64_t i = 0; i < elements; ++i)
    AddToHll(bytes, std::to_string(random.Below(1 << 20)));
  InvalidateHllCount(bytes);
  return bytes;
}

std::string Unite(std::initializer_list<std::string_view> all) {
  const std::vector<std::string_view> list(all);
  auto united = UniteHlls(list);
  EXPECT_TRUE(united);
  return united.value_or("");
}

HllRegisters RegistersOf(std::string_view bytes) {
  HllRegisters registers;
  EXPECT_TRUE(ReadHll(bytes, registers));
  return registers;
}

TEST(HyperLogLog, UnionIsCommutativeAssociativeIdempotent) {
  base::Random random(1);
  const uint64_t sizes[] = {0, 1, 5, 100, 900, 1500, 5000, 50'000};
  for (int round = 0; round < 24; ++round) {
    const std::string a = HllOf(random, sizes[random.Below(std::size(sizes))]);
    const std::string b = HllOf(random, sizes[random.Below(std::size(sizes))]);
    const std::string c = HllOf(random, sizes[random.Below(std::size(sizes))]);
    ASSERT_EQ(Unite({a, b}), Unite({b, a}));
    const std::string all = Unite({a, b, c});
    ASSERT_EQ(Unite({Unite({a, b}), c}), all);
    ASSERT_EQ(Unite({a, Unite({b, c})}), all);
    ASSERT_EQ(Unite({a, a}), Unite({a}));
    ASSERT_EQ(Unite({all, a}), all);
    ASSERT_EQ(RegistersOf(Unite({a})), RegistersOf(a));
    const HllRegisters left = RegistersOf(a);
    const HllRegisters right = RegistersOf(b);
    const HllRegisters both = RegistersOf(Unite({a, b}));
    for (size_t i = 0; i < kHllRegisters; ++i)
      ASSERT_EQ(both[i], std::max(left[i], right[i]));
  }
}

// The union of the parts counts what one that was given everything counts.
TEST(HyperLogLog, UnionEqualsAddingEverythingToOne) {
  base::Random random(2);
  for (size_t size : {10, 1000, 20'000}) {
    std::string one = NewHll();
    std::string parts[3] = {NewHll(), NewHll(), NewHll()};
    for (size_t i = 0; i < size; ++i) {
      const std::string element = std::to_string(random.Next());
      AddToHll(one, element);
      AddToHll(parts[random.Below(3)], element);
    }
    const std::string united = Unite({parts[0], parts[1], parts[2]});
    EXPECT_EQ(RegistersOf(united), RegistersOf(one));
    const auto estimate = static_cast<double>(EstimateHll(RegistersOf(united)));
    EXPECT_NEAR(estimate, static_cast<double>(size), static_cast<double>(size) * 0.03 + 1);
  }
}

TEST(HyperLogLog, SparseAndDenseHoldTheSame) {
  base::Random random(3);
  std::string sparse = NewHll();
  std::string dense = NewHll();
  ASSERT_TRUE(MakeHllDense(dense));
  for (int i = 0; i < 3000; ++i) {
    const std::string element = std::to_string(random.Next());
    ASSERT_EQ(AddToHll(sparse, element), AddToHll(dense, element));
    if (i % 100 == 0) {
      ASSERT_EQ(RegistersOf(sparse), RegistersOf(dense));
    }
    ASSERT_LE(IsHllDense(sparse) ? 0 : sparse.size(), kHllSparseBytesMax);
  }
  EXPECT_TRUE(IsHllDense(sparse)) << "too many for a sparse one";
  EXPECT_EQ(sparse, dense);
}

TEST(HyperLogLog, ALargeValueMakesItDense) {
  std::string bytes = NewHll();
  EXPECT_EQ(RaiseInHll(bytes, 16383, 32), HllSet::kChanged);
  EXPECT_FALSE(IsHllDense(bytes));
  EXPECT_EQ(RaiseInHll(bytes, 0, 33), HllSet::kChanged);
  EXPECT_TRUE(IsHllDense(bytes));
  EXPECT_EQ(RaiseInHll(bytes, 0, 33), HllSet::kUnchanged);
  const HllRegisters registers = RegistersOf(bytes);
  EXPECT_EQ(registers[0], 33);
  EXPECT_EQ(registers[16383], 32);
}

TEST(HyperLogLog, MalformedBytesAreRefused) {
  std::string good = NewHll();
  for (int i = 0; i < 50; ++i)
    AddToHll(good, std::to_string(i));
  HllRegisters registers;
  base::Random random(4);
  size_t refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = good;
    for (uint64_t n = 1 + random.Below(4); n > 0; --n) {
      if (random.Below(4) == 0) {
        bytes.resize(random.Below(bytes.size() + 1));
      } else if (!bytes.empty()) {
        bytes[random.Below(bytes.size())] = static_cast<char>(random.Next());
      }
    }
    if (!ReadHll(bytes, registers)) ++refused;
    if (!HasHllHeader(bytes)) continue;
    DescribeSparseHll(bytes);
    CountHll(bytes);
    AddToHll(bytes, std::to_string(round));
    MakeHllDense(bytes);
  }
  EXPECT_GT(refused, 1000U);
  const std::string_view none[] = {good, "HYLL"};
  EXPECT_FALSE(UniteHlls(none));
}

}  // namespace
}  // namespace polyarch::crdt
