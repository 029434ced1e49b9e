// Items of open conflicts, and who is given which.
#include "conflict/feed.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"

namespace polyarch::conflict {
namespace {

crdt::Version VersionOf(clock::Dot dot, const std::string& value) {
  crdt::Version v;
  v.dot = dot;
  v.value = value;
  return v;
}

TEST(FeedGroup, TextComesBack) {
  for (const FeedGroup& group : {FeedGroup{"bookings", 0, "room:*", {"eu", "us"}, 0},
                                 FeedGroup{"g", 15, "with space 3 \n", {"asia"}, UINT64_MAX},
                                 FeedGroup{"g", 1, "*", {"asia"}, 7, /*decided=*/true}}) {
    EXPECT_EQ(FeedGroup::ParseText(group.name, group.ToText()), group);
    EXPECT_EQ(FeedGroup::NameInAcksKey(group.AcksKey()), group.name);
    EXPECT_EQ(FeedGroup::NameInAcksKey(group.CursorsKey()), group.name);
  }
  const FeedGroup group{"g", 3, "a*", {"eu"}, 0x5f};
  EXPECT_EQ(group.AcksKey(), "feed-acks/000000000000005f/g");
  EXPECT_EQ(FeedGroup::NameInAcksKey("feed-acks/5f/g"), "");
  EXPECT_EQ(FeedGroup::NameInAcksKey("feed/g"), "");
  const std::string text = group.ToText();
  EXPECT_EQ(text, "1 000000000000005f 3 2 a* eu");
  for (size_t size = 0; size < text.size() - 1; ++size) {
    EXPECT_FALSE(FeedGroup::ParseText("g", text.substr(0, size))) << size;
  }
  const std::string made = "0000000000000007 ";
  ASSERT_TRUE(FeedGroup::ParseText("g", "1 " + made + "3 2 a* eu"));
  for (const std::string& bad : {"2 " + made + "3 2 a* eu",
                                 "1 " + made + "16 2 a* eu",
                                 "1 " + made + "-1 2 a* eu",
                                 "1 " + made + "3 3 a* eu",
                                 "1 " + made + "3 9999 a* eu",
                                 "1 " + made + "x 2 a* eu",
                                 std::string("1 7 3 2 a* eu"),
                                 std::string("1 3 2 a* eu")}) {
    EXPECT_FALSE(FeedGroup::ParseText("g", bad)) << bad;
  }
}

TEST(FeedGroup, AStarIsEveryKey) {
  const FeedGroup all{"g", 3, "*", {"eu"}, 7};
  EXPECT_TRUE(all.Matches(3, ""));
  EXPECT_TRUE(all.Matches(3, "k"));
  EXPECT_FALSE(all.Matches(2, "k"));
}

// The same at every leader, whatever order versions came in and however it numbers origins.
TEST(FeedItem, IdsNamePlaceAndVersions) {
  const clock::Origin eu{"eu", 1};
  const clock::Origin us{"us", 2};
  auto id = [&](bool us_first,
                const std::string& key,
                std::string_view element,
                uint64_t sequence) {
    clock::OriginTable origins;
    if (us_first) origins.Intern(us);
    const clock::OriginIndex a = origins.Intern(eu);
    const clock::OriginIndex b = origins.Intern(us);
    crdt::Register state;
    state.versions = {VersionOf({a, sequence}, "x"), VersionOf({b, 4}, "y")};
    if (us_first) std::swap(state.versions[0], state.versions[1]);
    return FeedItemId(
        0, key, element.empty() ? crdt::Type::kString : crdt::Type::kHash, element, state, origins);
  };
  const std::string first = id(false, "k", "", 3);
  EXPECT_EQ(first.size(), 32U);
  EXPECT_EQ(id(true, "k", "", 3), first);
  const std::set<std::string> all = {
      first, id(false, "k", "", 5), id(false, "k2", "", 3), id(false, "k", "f", 3)};
  EXPECT_EQ(all.size(), 4U);
}

TEST(FeedItem, IncrementsThatAddUpMakeNoOtherItem) {
  clock::OriginTable origins;
  const clock::OriginIndex eu = origins.Intern({"eu", 1});
  const clock::OriginIndex us = origins.Intern({"us", 2});
  crdt::Register state;
  state.versions = {VersionOf({eu, 3}, "1"), VersionOf({us, 4}, "2")};
  const std::string first = FeedItemId(0, "k", crdt::Type::kString, "", state, origins);
  crdt::CounterEntry entry;
  entry.origin = us;
  entry.at = {7, 0};
  state.counters.push_back(entry);
  EXPECT_EQ(FeedItemId(0, "k", crdt::Type::kString, "", state, origins), first);
  // Hidden by a value that is no number they are the conflict.
  state.versions = {VersionOf({eu, 3}, "text")};
  const std::string hidden = FeedItemId(0, "k", crdt::Type::kString, "", state, origins);
  state.counters[0].at = {8, 0};
  EXPECT_NE(FeedItemId(0, "k", crdt::Type::kString, "", state, origins), hidden);
}

// ---- who is given what

class FeedsTest : public ::testing::Test {
 protected:
  FeedsTest() { feeds_.SetGroups({{"g", 0, "a*", {"eu"}, 1}, {"h", 0, "*", {"eu"}, 2}}); }

  void Set(const std::string& key, const std::vector<std::string>& ids) {
    std::vector<FeedItem> items;
    for (const std::string& id : ids)
      items.push_back({id, 0, key, crdt::Type::kString, ""});
    feeds_.SetItems(0, key, std::move(items));
  }
  std::string Take(const std::string& group,
                   const std::string& consumer,
                   size_t count,
                   int64_t now,
                   int64_t again = 100) {
    std::string ids;
    const auto taken = feeds_.Take(
        group,
        consumer,
        count,
        now,
        again,
        [&](const FeedItem& item) { return acknowledged_.contains(item.id); },
        [&](const FeedItem& item) { return hidden_.contains(item.id); });
    for (const FeedItem* item : taken)
      ids += item->id;
    return ids;
  }

  Feeds feeds_;
  std::set<std::string> acknowledged_;
  std::set<std::string> hidden_;
};

TEST_F(FeedsTest, EachItemGoesToOneConsumer) {
  Set("a1", {"1", "2"});
  Set("b", {"3"});
  EXPECT_EQ(feeds_.items(), 3U);
  EXPECT_EQ(feeds_.ItemsOf("g"), 2U);
  EXPECT_EQ(feeds_.ItemsOf("h"), 3U);
  EXPECT_EQ(Take("g", "x", 1, 0), "1");
  EXPECT_EQ(Take("g", "y", 9, 1), "2") << "not b: the pattern";
  EXPECT_EQ(Take("g", "x", 9, 2), "");
  EXPECT_EQ(Take("h", "x", 9, 2), "123") << "another group, other consumers";
  EXPECT_EQ(Take("none", "x", 9, 2), "");
  EXPECT_EQ(feeds_.Given("g", "1")->consumer, "x");
  EXPECT_EQ(feeds_.Given("g", "3"), nullptr);
}

TEST_F(FeedsTest, WhatIsNotAcknowledgedIsGivenAgain) {
  Set("a1", {"1", "2", "3"});
  EXPECT_EQ(Take("g", "x", 2, 0), "12");
  acknowledged_.insert("1");
  EXPECT_EQ(Take("g", "y", 9, 99), "3");
  EXPECT_EQ(Take("g", "y", 9, 100), "2") << "1 is acknowledged, 3 was given a moment ago";
  EXPECT_EQ(feeds_.Given("g", "2")->times, 2U);
  EXPECT_EQ(feeds_.Given("g", "2")->consumer, "y");
  EXPECT_EQ(Take("g", "z", 9, 1000), "32") << "the longest ago first";
  EXPECT_EQ(Take("g", "z", 9, 1000, 0), "32");
}

TEST_F(FeedsTest, ACeasedItemIsGoneAndAnotherVersionIsAnotherItem) {
  Set("a1", {"1", "2"});
  EXPECT_EQ(Take("g", "x", 9, 0), "12");
  Set("a1", {"2", "4"});
  EXPECT_EQ(feeds_.Item("1"), nullptr);
  EXPECT_EQ(Take("g", "x", 9, 1), "4");
  Set("a1", {});
  EXPECT_EQ(feeds_.items(), 0U);
  EXPECT_EQ(Take("g", "x", 9, 1000), "");
  EXPECT_FALSE(feeds_.HasItems(0, "a1"));
}

TEST_F(FeedsTest, WhatIsHiddenWaits) {
  Set("a1", {"1"});
  hidden_.insert("1");
  EXPECT_EQ(Take("g", "x", 9, 0), "");
  hidden_.clear();
  EXPECT_EQ(Take("g", "x", 9, 0), "1");
}

TEST_F(FeedsTest, WhoTakesOverBeginsAnew) {
  Set("a1", {"1", "2"});
  EXPECT_EQ(Take("g", "x", 9, 0), "12");
  feeds_.ForgetGiven("g");
  EXPECT_EQ(feeds_.Given("g", "1"), nullptr);
  EXPECT_EQ(Take("g", "y", 9, 1), "12");
  EXPECT_EQ(Take("h", "y", 9, 1), "12");
}

TEST_F(FeedsTest, GroupsThatStayKeepTheirConsumers) {
  Set("a1", {"1"});
  EXPECT_EQ(Take("g", "x", 9, 0), "1");
  feeds_.SetGroups({{"g", 0, "a*", {"eu"}, 1}, {"new", 0, "a*", {"us"}, 3}});
  EXPECT_EQ(feeds_.Find("h"), nullptr);
  EXPECT_EQ(Take("g", "x", 9, 1), "");
  EXPECT_EQ(Take("new", "x", 9, 1), "1");
  feeds_.SetGroups({{"g", 0, "a*", {"eu", "us"}, 1}});
  EXPECT_EQ(Take("g", "x", 9, 1), "1") << "it is another one";
  feeds_.SetGroups({{"g", 0, "a*", {"eu", "us"}, 4}});
  EXPECT_EQ(Take("g", "x", 9, 1), "1") << "deleted, and made once more in the same words";
}

// Against a plain list, with random items, consumers, acknowledgements and times.
TEST_F(FeedsTest, NothingIsLostAndNothingTwiceInTime) {
  constexpr int64_t kAgain = 50;
  base::Random random(11);
  std::map<std::string, std::set<std::string>> keys;  // ids by key
  std::map<std::string, int64_t> given;               // id -> when
  int64_t now = 0;
  uint64_t next_id = 1;
  size_t deliveries = 0;
  for (int step = 0; step < 20'000; ++step) {
    now += static_cast<int64_t>(random.Below(4));
    const std::string key = "a" + std::to_string(random.Below(12));
    if (random.Percent(40)) {
      std::set<std::string>& ids = keys[key];
      if (random.Percent(60)) ids.insert("i" + std::to_string(next_id++));
      if (random.Percent(50) && !ids.empty()) ids.erase(ids.begin());
      Set(key, {ids.begin(), ids.end()});
    } else if (random.Percent(20)) {
      for (const auto& [id, when] : given) {
        if (random.Percent(20)) acknowledged_.insert(id);
      }
    } else {
      std::set<std::string> due;
      for (const auto& [k, ids] : keys) {
        for (const std::string& id : ids) {
          const bool free = given.count(id) == 0 || given[id] <= now - kAgain;
          if (free && !acknowledged_.contains(id)) due.insert(id);
        }
      }
      const size_t count = 1 + random.Below(4);
      const auto taken = feeds_.Take(
          "g",
          "x",
          count,
          now,
          kAgain,
          [&](const FeedItem& item) { return acknowledged_.contains(item.id); },
          [](const FeedItem&) { return false; });
      ASSERT_EQ(taken.size(), std::min(count, due.size())) << step;
      for (const FeedItem* item : taken) {
        ASSERT_TRUE(due.contains(item->id)) << step;
        given[item->id] = now;
        ++deliveries;
      }
    }
  }
  EXPECT_GT(deliveries, 3000U);
}

}  // namespace
}  // namespace polyarch::conflict
