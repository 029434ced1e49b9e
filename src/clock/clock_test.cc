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
  base::Random random(3);
  int64_t wall = 50'000;
  for (int i = 0; i < 100'000; ++i) {
    wall += static_cast<int64_t>(random.Below(40)) - (random.Percent(5) ? 300 : 0);
    clock.LeaseWanted(wall);
    EXPECT_LT(clock.Next(wall).ms(), clock.lease());
  }
}

TEST(Hlc, RestartsDoNotDriveTheClockAhead) {
  uint64_t lease = 0;
  for (int64_t wall = 50'000; wall < 51'000; ++wall) {  // a restart each millisecond
    HlcClock clock;
    clock.Start(lease);
    if (uint64_t wanted = clock.LeaseWanted(wall); wanted != 0) lease = wanted;
    EXPECT_LE(clock.Next(wall).ms(), static_cast<uint64_t>(wall) + 2 * HlcClock::kLeaseMs);
  }
  HlcClock back;
  back.Start(lease);
  EXPECT_GT(back.Next(10), Hlc::FromMs(lease)) << "a restart with an earlier wall clock";
}

TEST(Hlc, FarFutureDoesNotDrag) {
  HlcClock clock;
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
