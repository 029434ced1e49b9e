#include "keyspace/uses.h"

#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"

namespace polyarch::keyspace {
namespace {

constexpr int64_t kStartMs = 1'700'000'000'000;
constexpr uint64_t kHash = 0x1234'5678'9abc'def0;
constexpr uint64_t kOther = 0xf234'5678'9abc'def0;

TEST(Uses, WhenAKeyWasUsedLast) {
  Uses uses(Uses::Kind::kTime, kStartMs);
  bool known = true;
  uses.SetTime(kStartMs + 5'000);
  EXPECT_EQ(uses.IdleMs(kHash, known), 5'000);
  EXPECT_FALSE(known);  // not since it is noted
  uses.Note(kHash);
  uses.SetTime(kStartMs + 65'000);
  EXPECT_EQ(uses.IdleMs(kHash, known), 60'000);
  EXPECT_TRUE(known);
  EXPECT_EQ(uses.IdleMs(kOther, known), 65'000);
  EXPECT_FALSE(known);
  // A clock that goes back makes nothing old.
  uses.SetTime(kStartMs + 1'000);
  EXPECT_EQ(uses.IdleMs(kHash, known), 0);
}

TEST(Uses, HowOftenAKeyIsUsedDecays) {
  Uses uses(Uses::Kind::kCount, kStartMs);
  EXPECT_EQ(uses.Count(kHash), Uses::kCountNew);
  auto use = [&] {
    uses.NextCommand();
    uses.Note(kHash);
  };
  use();
  EXPECT_EQ(uses.Count(kHash), Uses::kCountNew);  // it is new
  use();
  EXPECT_EQ(uses.Count(kHash), Uses::kCountNew + 1);  // the next one counts for sure, as in Redis
  for (int i = 0; i < 10'000; ++i) use();
  const int often = uses.Count(kHash);
  // Redis's own table: 10,000 hits at factor 10 come to about 40.
  EXPECT_GT(often, 25);
  EXPECT_LT(often, 70);
  uses.SetTime(kStartMs + 3 * 60'000);
  EXPECT_EQ(uses.Count(kHash), often - 3);
  uses.SetTime(kStartMs + 300 * 60'000);
  EXPECT_EQ(uses.Count(kHash), 0);
  uses.SetCounting(10, 0);
  EXPECT_EQ(uses.Count(kHash), often);  // no decay
}

TEST(Uses, BeginsWithTheFirstTimeThatItIsTold) {
  Uses last(Uses::Kind::kTime, 0);
  last.SetTime(kStartMs);
  bool known = true;
  EXPECT_EQ(last.IdleMs(kHash, known), 0);
  EXPECT_FALSE(known);
  last.SetTime(kStartMs + 2'000);
  EXPECT_EQ(last.IdleMs(kHash, known), 2'000);
  Uses count(Uses::Kind::kCount, 0);
  count.SetTime(kStartMs);
  EXPECT_EQ(count.Count(kHash), Uses::kCountNew);
}

TEST(Uses, AKeyThatIsNewCountsAsNew) {
  Uses uses(Uses::Kind::kCount, kStartMs);
  // However long ago that began.
  uses.SetTime(kStartMs + 30 * 60'000);
  uses.Note(kHash);
  EXPECT_EQ(uses.Count(kHash), Uses::kCountNew);
  // Its cell is that of one that went.
  uses.SetTime(kStartMs + 60 * 60'000);
  EXPECT_EQ(uses.Count(kHash), 0);
  uses.NextCommand();
  uses.NoteNew(kHash);
  EXPECT_EQ(uses.Count(kHash), Uses::kCountNew);
  for (int i = 0; i < 10'000; ++i) {
    uses.NextCommand();
    uses.Note(kHash);
  }
  // Of one that others use, too, nothing is forgotten.
  const int often = uses.Count(kHash);
  EXPECT_GT(often, Uses::kCountNew);
  uses.NoteNew(kHash);
  EXPECT_EQ(uses.Count(kHash), often);
}

TEST(Uses, IsToldWhatOthersKnow) {
  bool known = false;
  Uses times(Uses::Kind::kTime, kStartMs);
  times.SetTime(kStartMs + 5'000);
  times.SetIdle(kHash, 1'000'000);  // long before it was made
  EXPECT_EQ(times.IdleMs(kHash, known), 1'000'000);
  EXPECT_TRUE(known);
  times.SetTime(kStartMs + 65'000);
  EXPECT_EQ(times.IdleMs(kHash, known), 1'060'000);
  times.SetIdle(kHash, std::numeric_limits<int64_t>::max());
  EXPECT_GT(times.IdleMs(kHash, known), int64_t{120} * 24 * 3600 * 1000);
  times.Note(kHash);
  EXPECT_EQ(times.IdleMs(kHash, known), 0);
  times.SetIdle(kHash, 65'010);  // the step that would be the cell of a key never used
  EXPECT_NEAR(static_cast<double>(times.IdleMs(kHash, known)), 65'000, 10);
  EXPECT_TRUE(known);
  times.SetCount(kOther, 9);
  EXPECT_EQ(times.IdleMs(kOther, known), 65'000);
  EXPECT_FALSE(known);

  Uses counts(Uses::Kind::kCount, kStartMs);
  counts.SetTime(kStartMs + 60'000);
  counts.SetCount(kHash, 100);
  EXPECT_EQ(counts.Count(kHash), 100);
  counts.SetTime(kStartMs + 120'000);
  EXPECT_EQ(counts.Count(kHash), 99);
  counts.SetIdle(kHash, 1'000);
  EXPECT_EQ(counts.Count(kHash), 99);
}

TEST(Uses, OneCommandUsesAKeyOnce) {
  Uses uses(Uses::Kind::kCount, kStartMs);
  uses.Note(kHash);
  uses.NextCommand();
  for (int i = 0; i < 100; ++i) uses.Note(kHash);  // RPUSH of many
  EXPECT_EQ(uses.Count(kHash), Uses::kCountNew + 1);
}

TEST(Uses, MoreCellsKnowTheSame) {
  Uses uses(Uses::Kind::kTime, kStartMs);
  base::Random random(1);
  std::vector<uint64_t> used;
  for (int i = 0; i < 100; ++i) used.push_back(random.Next());
  uses.SetTime(kStartMs + 1'000);
  for (uint64_t hash : used) {
    uses.NextCommand();
    uses.Note(hash);
  }
  const size_t cells = uses.cells();
  uses.Fit(cells * 10);
  EXPECT_GE(uses.cells(), cells * 10);
  bool known = false;
  for (uint64_t hash : used) {
    EXPECT_EQ(uses.IdleMs(hash, known), 0);
    EXPECT_TRUE(known);
  }
  uses.Fit(SIZE_MAX);
  EXPECT_EQ(uses.cells(), Uses::kCellsMax);  // and no more
}

}  // namespace
}  // namespace polyarch::keyspace
