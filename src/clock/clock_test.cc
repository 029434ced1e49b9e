#include <gtest/gtest.h>

#include "base/random.h"
#include "clock/hlc.h"
#include "clock/origin.h"
#include "clock/version_vector.h"

namespace polyarch::clock {
namespace {

TEST(Hlc, NeverGoesBack) {
  HlcClock clock;
  clock.Start(1000);
  clock.LeaseGranted(1'000'000);
  base::Random random(7);
  Hlc last = clock.last();
  int64_t wall = 5000;
  for (int i = 0; i < 200'000; ++i) {
    wall += static_cast<int64_t>(random.Below(7)) - 3;
    if (random.Percent(1)) wall = static_cast<int64_t>(random.Below(1'000'000));
    if (random.Percent(20)) clock.Observe(Hlc::FromMs(random.Below(2'000'000)), wall, 5000);
    Hlc next = clock.Next(wall);
    EXPECT_LT(last, next);
    last = next;
  }
}

TEST(Hlc, LeaseBoundsWhatIsIssued) {
  HlcClock clock;
  clock.Start(0);
  EXPECT_EQ(clock.LeaseWanted(50'000), 60'000U);
  EXPECT_EQ(clock.Next(50'000).ms(), 0U) << "the lease is not durable yet";
  clock.LeaseGranted(60'000);
  EXPECT_EQ(clock.Next(50'000).ms(), 50'000U);
  EXPECT_EQ(clock.LeaseWanted(51'000), 0U);
  EXPECT_EQ(clock.Next(99'000).ms(), 60'000U);
  EXPECT_EQ(clock.LeaseWanted(99'000), 109'000U);
  HlcClock next;
  next.Start(60'000);
  EXPECT_GT(next.Next(10), Hlc::FromMs(60'000)) << "a restart with an earlier wall clock";
}

TEST(Hlc, FarFutureDoesNotDrag) {
  HlcClock clock;
  clock.LeaseGranted(1 << 30);
  EXPECT_FALSE(clock.Observe(Hlc::FromMs(100'000), 10'000, 5'000));
  EXPECT_EQ(clock.Next(10'000).ms(), 10'000U);
  EXPECT_TRUE(clock.Observe(Hlc::FromMs(14'000), 10'000, 5'000));
  EXPECT_GT(clock.Next(10'000), Hlc::FromMs(14'000));
}

TEST(Origin, TextComesBack) {
  Origin origin{"eu.west", 0x0123456789abcdefULL};
  EXPECT_EQ(origin.ToString(), "eu.west.0123456789abcdef");
  EXPECT_EQ(Origin::Parse(origin.ToString()), origin);
  EXPECT_FALSE(Origin::Parse("eu.12"));
}

TEST(VersionVector, SetOfDots) {
  OriginTable table;
  OriginIndex a = table.Intern({"a", 1});
  OriginIndex b = table.Intern({"b", 1});
  EXPECT_EQ(table.Intern({"a", 1}), a);
  VersionVector x;
  VersionVector y;
  x.Raise(a, 3);
  y.Raise(b, 2);
  EXPECT_FALSE(x.Includes(y));
  EXPECT_TRUE(x.Covers(Dot(a, 3)));
  EXPECT_FALSE(x.Covers(Dot(a, 4)));
  x.Join(y);
  EXPECT_TRUE(x.Includes(y));
  y.Meet(x);
  EXPECT_EQ(y.Get(b), 2U);
  EXPECT_EQ(x.ToString(table), "a.0000000000000001:3 b.0000000000000001:2");
}

}  // namespace
}  // namespace polyarch::clock
