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

Want GroupWantOf() {
  return {.leader = "eu", .db = 3, .key = "jobs", .front = false, .count = 300, .group = "workers"};
}
Want PendingWantOf() {
  return {.leader = "eu",
          .db = 3,
          .key = "jobs",
          .front = false,
          .group = "",
          .pending = {{5, 1}, {1'700'000'000'000, UINT64_MAX}}};
}

TEST(OwnerMessage, GoldenBytesOfGroupsAreReadAndWritten) {
  Want want;
  std::string golden =
      base::CheckGolden("want_1_group", "kind, version, leader, db, key, 2, group, count", Encode(GroupWantOf()));
  ASSERT_TRUE(Decode(golden, want));
  EXPECT_EQ(want, GroupWantOf());
  golden = base::CheckGolden(
      "want_1_pending", "kind, version, leader, db, key, 3, group, how many ids, ids", Encode(PendingWantOf()));
  ASSERT_TRUE(Decode(golden, want));
  EXPECT_EQ(want, PendingWantOf());
  ASSERT_TRUE(Decode(Encode(WantOf()), want));
  EXPECT_EQ(want, WantOf()) << "nothing is left of what was read before";
}

TEST(OwnerMessage, BrokenBytesOfGroupsAreRefused) {
  Want want;
  for (const Want& good : {GroupWantOf(), PendingWantOf()}) {
    const std::string bytes = Encode(good);
    for (size_t size = 0; size < bytes.size(); ++size)
      EXPECT_FALSE(Decode(std::string_view(bytes).substr(0, size), want)) << size;
    EXPECT_FALSE(Decode(bytes + "x", want));
  }
  Want many = PendingWantOf();
  many.pending.resize(kWantedPendingMax);
  EXPECT_TRUE(Decode(Encode(many), want));
  many.pending.emplace_back();
  EXPECT_FALSE(Decode(Encode(many), want));
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
  bytes[bytes.size() - 3] = 4;  // the end, before two bytes of count
  EXPECT_FALSE(Decode(bytes, want));
}

}  // namespace
}  // namespace polyarch::wire
