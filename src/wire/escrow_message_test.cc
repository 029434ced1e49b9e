#include "wire/escrow_message.h"

#include <gtest/gtest.h>

#include "base/golden_test_util.h"

namespace polyarch::wire {
namespace {

Need NeedOf() {
  return {.leader = "eu",
          .holder = 0x0123456789abcdef,
          .number = 300,
          .db = 3,
          .key = std::string("stock\0x", 7),
          .stock = "00000000000000ff",
          .must = 5,
          .more = 1000,
          .all = true};
}

TEST(EscrowMessage, GoldenBytesAreReadAndWritten) {
  const std::string golden = base::CheckGolden(
      "need_1", "kind, version, leader, holder, number, db, key, stock, must, more, all", Encode(NeedOf()));
  Need need;
  ASSERT_TRUE(Decode(golden, need));
  EXPECT_EQ(need, NeedOf());
}

TEST(EscrowMessage, EveryPrefixAndWhateverIsTooLongIsRefused) {
  const std::string bytes = Encode(NeedOf());
  Need need;
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(Decode(std::string_view(bytes).substr(0, size), need)) << size;
  EXPECT_FALSE(Decode(bytes + "x", need));
}

TEST(EscrowMessage, AnotherKindVersionDatabaseOrFlagIsRefused) {
  Need need;
  std::string bytes = Encode(NeedOf());
  bytes[0] = 'O';
  EXPECT_FALSE(Decode(bytes, need));
  bytes = Encode(NeedOf());
  bytes[1] = 2;
  EXPECT_FALSE(Decode(bytes, need));
  Need odd = NeedOf();
  odd.db = 16;
  EXPECT_FALSE(Decode(Encode(odd), need));
  bytes = Encode(NeedOf());
  bytes.back() = 2;
  EXPECT_FALSE(Decode(bytes, need));
}

}  // namespace
}  // namespace polyarch::wire
