#include "wire/owner_message.h"

#include <gtest/gtest.h>

#include "base/golden_test_util.h"

namespace polyarch::wire {
namespace {

Want WantOf() {
  return {.leader = "eu", .db = 3, .key = std::string("jobs\0x", 6), .front = false, .count = 300};
}

TEST(OwnerMessage, GoldenBytesAreReadAndWritten) {
  const std::string golden = base::CheckGolden("want_1", "kind, version, leader, db, key, front, count", Encode(WantOf()));
  Want want;
  ASSERT_TRUE(Decode(golden, want));
  EXPECT_EQ(want, WantOf());
}

TEST(OwnerMessage, EveryPrefixAndWhateverIsTooLongIsRefused) {
  const std::string bytes = Encode(WantOf());
  Want want;
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(Decode(std::string_view(bytes).substr(0, size), want)) << size;
  EXPECT_FALSE(Decode(bytes + "x", want));
}

TEST(OwnerMessage, AnotherKindVersionDatabaseOrEndIsRefused) {
  Want want;
  std::string bytes = Encode(WantOf());
  bytes[0] = 1;
  EXPECT_FALSE(Decode(bytes, want));
  bytes = Encode(WantOf());
  bytes[1] = 2;
  EXPECT_FALSE(Decode(bytes, want));
  Want odd = WantOf();
  odd.db = 16;
  EXPECT_FALSE(Decode(Encode(odd), want));
  bytes = Encode(WantOf());
  bytes[bytes.size() - 3] = 2;  // the end, before two bytes of count
  EXPECT_FALSE(Decode(bytes, want));
}

}  // namespace
}  // namespace polyarch::wire
