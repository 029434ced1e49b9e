// Ids, names and values of streams, and what several versions come to.
#include "crdt/stream.h"

#include <algorithm>
#include <limits>
#include <set>

#include <gtest/gtest.h>

#include "base/random.h"

namespace polyarch::crdt {
namespace {

StreamId RandomId(base::Random& random) {
  constexpr uint64_t kMax = UINT64_MAX;
  auto number = [&]() -> uint64_t {
    switch (random.Below(4)) {
      case 0:
        return random.Below(3);
      case 1:
        return kMax - random.Below(3);
      default:
        return random.Next() >> random.Below(64);
    }
  };
  return {number(), number()};
}

TEST(StreamId, Neighbours) {
  base::Random random(1);
  for (int i = 0; i < 10'000; ++i) {
    const StreamId id = RandomId(random);
    const auto after = After(id);
    ASSERT_EQ(after.has_value(), id != kStreamIdMax);
    if (after) {
      EXPECT_LT(id, *after);
      EXPECT_EQ(Before(*after), id);
    }
  }
  EXPECT_FALSE(Before({}).has_value());
}

// Of several processes that make ids up as they see each other's, or not.
TEST(StreamId, MadeUpOnesRiseAndAreNobodyElses) {
  base::Random random(2);
  for (int round = 0; round < 2000; ++round) {
    std::vector<uint64_t> processes;
    std::vector<StreamId> last(3);
    for (int p = 0; p < 3; ++p)
      processes.push_back(random.Next());
    std::set<StreamId> all;
    uint64_t clock = random.Percent(10) ? UINT64_MAX - 2 : 1000;
    for (int step = 0; step < 30; ++step) {
      const size_t p = random.Below(3);
      if (random.Percent(20)) last[p] = std::max(last[p], last[random.Below(3)]);
      if (random.Percent(20) && clock < UINT64_MAX) ++clock;
      if (random.Percent(5)) last[p] = std::max(last[p], RandomId(random));
      const bool only_ms = random.Percent(20);
      const auto id = NextStreamId(last[p], clock, only_ms, processes[p]);
      if (!id) {
        EXPECT_TRUE(only_ms || last[p].ms == UINT64_MAX);
        continue;
      }
      ASSERT_GT(*id, last[p]);
      ASSERT_GE(id->ms, clock);
      ASSERT_TRUE(!only_ms || id->ms == clock);
      ASSERT_TRUE(all.insert(*id).second) << ToString(*id);
      last[p] = *id;
    }
  }
}

TEST(StreamNames, StandInTheOrderOfIdsAndKinds) {
  base::Random random(3);
  for (int i = 0; i < 10'000; ++i) {
    const StreamId a = RandomId(random);
    const StreamId b = RandomId(random);
    EXPECT_EQ(a < b, StreamEntryName(a) < StreamEntryName(b));
    EXPECT_LT(StreamEntryName(a), kStreamMetaName);
    EXPECT_EQ(ReadStreamName(StreamEntryName(a)).id, a);
    const std::string group(random.Below(4), static_cast<char>(random.Below(256)));
    const std::string other(random.Below(4), static_cast<char>(random.Below(256)));
    const std::string consumer(random.Below(30), static_cast<char>(random.Below(256)));
    const std::string name = StreamConsumerName(group, consumer);
    EXPECT_EQ(ReadStreamName(name).group, group);
    EXPECT_EQ(ReadStreamName(name).consumer, consumer);
    EXPECT_GT(name, kStreamGroupsName);
    const std::string pending = StreamPendingName(group, a);
    EXPECT_EQ(ReadStreamName(pending).group, group);
    EXPECT_EQ(ReadStreamName(pending).id, a);
    EXPECT_EQ(a < b, pending < StreamPendingName(group, b));
    EXPECT_LT(StreamGroupName(group), name);
    EXPECT_LT(name, StreamPendingsName(group));
    EXPECT_LT(pending, StreamGroupEnd(group));
    if (group == other) continue;
    // Nothing of another group stands among those of this one.
    for (const std::string& foreign : {StreamGroupName(other), StreamConsumerName(other, consumer), StreamPendingName(other, a)})
      EXPECT_TRUE(foreign < StreamGroupName(group) || foreign >= StreamGroupEnd(group));
  }
}

TEST(StreamNames, ForeignOnesAreNothing) {
  using Part = StreamName::Part;
  EXPECT_EQ(ReadStreamName("").part, Part::kForeign);
  EXPECT_EQ(ReadStreamName("\1").part, Part::kForeign);
  EXPECT_EQ(ReadStreamName("\2x").part, Part::kForeign);
  EXPECT_EQ(ReadStreamName("\3").part, Part::kForeign);
  EXPECT_EQ(ReadStreamName(StreamGroupEnd("g")).part, Part::kForeign);
  const std::string pending = StreamPendingName("g", {1, 1});
  EXPECT_EQ(ReadStreamName(pending.substr(0, pending.size() - 1)).part, Part::kForeign);
  const std::string long_size("\3\xff\xff" "a\0", 5);
  EXPECT_EQ(ReadStreamName(long_size).part, Part::kForeign);
}

TEST(StreamEntry, ComesBack) {
  const std::vector<std::string_view> fields = {"a", "", std::string_view("\0\xff", 2), "value"};
  const std::string plain = EncodeStreamEntry(fields);
  const std::string copied = EncodeStreamEntry(fields, 77);
  EXPECT_EQ(DecodeStreamEntry(plain)->fields, fields);
  EXPECT_FALSE(StreamLaneOf(plain).has_value());
  EXPECT_EQ(DecodeStreamEntry(copied)->fields, fields);
  EXPECT_EQ(StreamLaneOf(copied), 77U);
  EXPECT_EQ(WithStreamLane(plain, 77), copied);
  EXPECT_EQ(WithStreamLane(copied, 78), EncodeStreamEntry(fields, 78)) << "the copy of a copy";
  EXPECT_EQ(WithStreamLane("\2foreign", 78), "\2foreign");
  for (const std::string& whole : {plain, copied}) {
    for (size_t i = 0; i < whole.size(); ++i)
      EXPECT_FALSE(DecodeStreamEntry(whole.substr(0, i)).has_value()) << i;
    EXPECT_FALSE(DecodeStreamEntry(whole + "x").has_value());
  }
}

StreamGroup RandomGroup(base::Random& random) {
  StreamGroup group;
  group.generation = random.Below(2);
  group.base = {random.Below(3), 0};
  group.last = {random.Below(9), 0};
  group.entries_read = static_cast<int64_t>(random.Below(5)) - 1;
  for (uint64_t n = random.Below(4); n > 0; --n)
    group.Raise(random.Below(5), {random.Below(9), random.Below(2)});
  return group;
}

// The order and number of versions mean nothing, and nothing that one of them tells as delivered is
// not.
TEST(StreamUnite, OfVersionsInAnyOrder) {
  base::Random random(4);
  for (int round = 0; round < 5000; ++round) {
    std::vector<StreamGroup> groups;
    std::vector<std::string> bytes;
    for (uint64_t n = 1 + random.Below(4); n > 0; --n) {
      groups.push_back(RandomGroup(random));
      bytes.push_back(EncodeStreamGroup(groups.back()));
    }
    std::vector<std::string_view> views(bytes.begin(), bytes.end());
    const StreamGroup united = UniteStreamGroups(views);
    std::reverse(views.begin(), views.end());
    EXPECT_EQ(UniteStreamGroups(views), united);
    views.push_back(views[random.Below(views.size())]);
    views.push_back("foreign");
    EXPECT_EQ(UniteStreamGroups(views), united);
    const std::string once = EncodeStreamGroup(united);
    views.push_back(once);
    EXPECT_EQ(UniteStreamGroups(views), united);
    uint64_t generation = 0;
    for (const StreamGroup& group : groups)
      generation = std::max(generation, group.generation);
    for (uint64_t lane = 0; lane < 6; ++lane) {
      StreamId most;
      for (const StreamGroup& group : groups) {
        if (group.generation == generation) most = std::max(most, group.DeliveredUpTo(lane));
      }
      EXPECT_EQ(united.DeliveredUpTo(lane), most);
      EXPECT_GE(united.Reach(), most);
    }
  }
}

// What was given beyond the cursors: the union of what any version tells, in the same bytes in any order.
TEST(StreamUnite, WhatIsGivenBeyondCursorsAddsUp) {
  base::Random random(5);
  size_t ranges = 0;
  for (int round = 0; round < 5000; ++round) {
    std::vector<StreamGroup> groups;
    std::vector<std::string> bytes;
    for (uint64_t n = 1 + random.Below(4); n > 0; --n) {
      StreamGroup group = RandomGroup(random);
      group.generation = 1;
      for (uint64_t ranges_left = random.Below(4); ranges_left > 0; --ranges_left) {
        const StreamId from{1 + random.Below(20), random.Below(2)};
        group.Give(random.Below(3), from, {from.ms + random.Below(4), 1});
      }
      ranges += group.given.size();
      groups.push_back(group);
      bytes.push_back(EncodeStreamGroup(group));
      EXPECT_EQ(UniteStreamGroups(std::vector<std::string_view>{bytes.back()}), group);
    }
    std::vector<std::string_view> views(bytes.begin(), bytes.end());
    const StreamGroup united = UniteStreamGroups(views);
    std::reverse(views.begin(), views.end());
    EXPECT_EQ(EncodeStreamGroup(UniteStreamGroups(views)), EncodeStreamGroup(united));
    const std::string once = EncodeStreamGroup(united);
    views.push_back(once);
    EXPECT_EQ(UniteStreamGroups(views), united);
    for (uint64_t lane = 0; lane < 5; ++lane) {
      for (uint64_t ms = 0; ms < 26; ++ms) {
        for (uint64_t seq = 0; seq < 2; ++seq) {
          const StreamId id{ms, seq};
          const bool any = std::any_of(
              groups.begin(), groups.end(), [&](const StreamGroup& g) { return g.Delivered(lane, id); });
          ASSERT_EQ(united.Delivered(lane, id), any) << lane << " " << ToString(id);
          ASSERT_TRUE(!any || id <= united.Reach());
        }
      }
    }
  }
  EXPECT_GT(ranges, 5000U);
}

TEST(StreamGroup, BytesWithoutRangesAreAsTheyWere) {
  StreamGroup group;
  group.Raise(7, {5, 1});
  const std::string before = EncodeStreamGroup(group);
  group.Give(7, {9, 0}, {9, 0});
  EXPECT_GT(EncodeStreamGroup(group).size(), before.size());
  group.Raise(7, {9, 0});
  EXPECT_TRUE(group.given.empty());
  StreamGroup plain;
  plain.Raise(7, {9, 0});
  EXPECT_EQ(EncodeStreamGroup(group), EncodeStreamGroup(plain));
  std::string broken = EncodeStreamGroup(group) + std::string("\1", 1);
  EXPECT_EQ(UniteStreamGroups(std::vector<std::string_view>{broken}), StreamGroup{}) << "a range that is cut off";
}

TEST(StreamGroup, LanesOfACopyAreItsOwn) {
  base::Random random(7);
  for (int i = 0; i < 100; ++i) {
    const StreamGroup group = RandomGroup(random);
    const uint64_t copy = random.Next();
    StreamGroup copied = group;
    copied.RenameLanes(copy);
    for (uint64_t lane = 0; lane < 5; ++lane)
      EXPECT_EQ(copied.DeliveredUpTo(lane ^ copy), group.DeliveredUpTo(lane));
    const std::string bytes = EncodeStreamGroup(copied);
    EXPECT_EQ(UniteStreamGroups(std::vector<std::string_view>{bytes}), copied) << "lanes rise";
  }
}

TEST(StreamUnite, MetaIsTheGreatestOfEach) {
  const std::string a = EncodeStreamMeta({{5, 1}, {2, 2}, 7});
  const std::string b = EncodeStreamMeta({{4, 9}, {3, 0}, 9});
  const std::vector<std::string_view> both = {a, b, "foreign"};
  EXPECT_EQ(UniteStreamMeta(both), (StreamMeta{{5, 1}, {3, 0}, 9}));
  EXPECT_EQ(UniteStreamMeta({}), StreamMeta{});
  const std::string destroyed = EncodeStreamMeta({{5, 1}, {2, 2}, 7, 3});
  EXPECT_EQ(UniteStreamMeta(std::vector<std::string_view>{b, destroyed, a}), (StreamMeta{{5, 1}, {3, 0}, 9, 3}));
  EXPECT_EQ(destroyed, a + "\3") << "as it was before there was a generation";
  const std::string seen = EncodeStreamSeen(30);
  const std::string earlier = EncodeStreamSeen(20);
  EXPECT_EQ(UniteStreamSeen(std::vector<std::string_view>{seen, earlier}), 30);
}

TEST(StreamPending, ComesBack) {
  const std::string bytes = EncodeStreamPending({"alice", 5, 3});
  const auto read = DecodeStreamPending(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->consumer, "alice");
  EXPECT_EQ(read->delivered_ms, 5);
  EXPECT_EQ(read->count, 3U);
  for (size_t i = 0; i < bytes.size(); ++i)
    EXPECT_FALSE(DecodeStreamPending(bytes.substr(0, i)).has_value()) << i;
  const std::string before = EncodeStreamPending({"alice", std::numeric_limits<int64_t>::min(), 3});
  EXPECT_EQ(DecodeStreamPending(before)->delivered_ms, 0) << "how long ago must be a number";
}

}  // namespace
}  // namespace polyarch::crdt
