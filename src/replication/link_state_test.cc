#include "replication/link_state.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace polyarch::replication {
namespace {

wire::LinkState State(const std::string& leader, uint64_t nonce, uint64_t number, std::vector<uint64_t> neighbours) {
  return {{leader, nonce, 1, leader + ":1", nonce * 10}, number, std::move(neighbours)};
}

class LinkStatesTest : public ::testing::Test {
 protected:
  LinkStatesTest() { Own({}); }
  void Own(const std::set<uint64_t>& neighbours) { graph.SetOwn({"me", 1, 1, "me:1", 10}, neighbours); }
  LinkStates::Merged Merge(const wire::LinkState& state) { return graph.Merge(state, now_us); }
  int Hops(uint64_t nonce) {
    graph.Compute(now_us);
    const LinkStates::Reach* reach = graph.ReachOf(nonce);
    return reach == nullptr ? -1 : static_cast<int>(reach->hops);
  }
  uint64_t Next(uint64_t nonce) {
    graph.Compute(now_us);
    const LinkStates::Reach* reach = graph.ReachOf(nonce);
    return reach == nullptr ? 0 : reach->next;
  }

  LinkStates graph{1};
  int64_t now_us = 1'000'000;
};

TEST_F(LinkStatesTest, AnEdgeNeedsBothEnds) {
  Own({2});
  EXPECT_EQ(Hops(2), -1);
  Merge(State("b", 2, 1, {3}));
  EXPECT_EQ(Hops(2), -1);
  Merge(State("b", 2, 2, {1, 3}));
  EXPECT_EQ(Hops(2), 1);
  EXPECT_EQ(Hops(3), -1);
  Merge(State("c", 3, 1, {2}));
  EXPECT_EQ(Hops(3), 2);
  EXPECT_EQ(Next(3), 2U);
  EXPECT_TRUE(graph.Reaches("c"));
  EXPECT_EQ(graph.ProcessOf("c", 30), 3U);
  EXPECT_EQ(graph.ProcessOf("c", 31), 0U);
  Merge(State("b", 2, 3, {3}));
  EXPECT_EQ(Hops(3), -1);
  EXPECT_FALSE(graph.Reaches("c"));
}

TEST_F(LinkStatesTest, OfEqualPathsTheLowestNameBegins) {
  Own({2, 3});
  Merge(State("z", 2, 1, {1, 4}));
  Merge(State("b", 3, 1, {1, 4}));
  Merge(State("far", 4, 1, {2, 3}));
  EXPECT_EQ(Next(4), 3U);
}

TEST_F(LinkStatesTest, OlderWordsDoNotCount) {
  Own({2});
  EXPECT_EQ(Merge(State("b", 2, 5, {1})), LinkStates::Merged::kNew);
  EXPECT_EQ(Merge(State("b", 2, 4, {})), LinkStates::Merged::kKnown);
  EXPECT_EQ(Merge(State("b", 2, 5, {})), LinkStates::Merged::kKnown);
  EXPECT_EQ(Hops(2), 1);
  EXPECT_EQ(Merge(State("b", 2, 0, {})), LinkStates::Merged::kRefused);
  EXPECT_EQ(Merge(State("b", 2, (uint64_t{1} << 48) - 1, {})), LinkStates::Merged::kRefused);
}

// Numbers rise by one: whoever makes one up must not use up what is left of them.
TEST_F(LinkStatesTest, NumbersDoNotLeap) {
  Own({2});
  Merge(State("b", 2, 5, {1}));
  const uint64_t own = graph.own().number;
  const uint64_t last = (uint64_t{1} << 47) - 1;
  EXPECT_EQ(Merge(State("me", 1, last, {})), LinkStates::Merged::kRefused);
  EXPECT_EQ(Merge(State("b", 2, last, {})), LinkStates::Merged::kRefused);
  EXPECT_EQ(graph.own().number, own);
  EXPECT_EQ(Merge(State("b", 2, 6, {1})), LinkStates::Merged::kNew);
  EXPECT_EQ(Merge(State("late", 9, uint64_t{1} << 30, {})), LinkStates::Merged::kNew) << "met for the first time";
}

TEST_F(LinkStatesTest, NobodyElseSpeaksForThisProcess) {
  Own({2});
  Merge(State("b", 2, 1, {1}));
  const uint64_t number = graph.own().number;
  EXPECT_EQ(Merge(State("me", 1, number + 7, {})), LinkStates::Merged::kRaised);
  EXPECT_EQ(graph.own().number, number + 8);
  EXPECT_EQ(Hops(2), 1);
}

TEST_F(LinkStatesTest, WhatIsTheSameIsNothingNew) {
  EXPECT_FALSE(graph.SetOwn({"me", 1, 1, "me:1", 10}, {}));
  EXPECT_TRUE(graph.SetOwn({"me", 1, 1, "me:1", 11}, {}));
}

TEST_F(LinkStatesTest, EqualKnowledgeEqualHash) {
  LinkStates other(2);
  Own({2});
  other.SetOwn(State("b", 2, 0, {}).process, {1, 3});
  Merge(other.own());
  other.Merge(graph.own(), now_us);
  const wire::LinkState c = State("c", 3, 4, {2});
  other.Merge(c, now_us);
  graph.Compute(now_us);
  other.Compute(now_us);
  EXPECT_NE(graph.hash(), other.hash());
  EXPECT_EQ(other.Summary().items.size(), 3U);
  Merge(c);
  Merge(State("gone", 9, 100, {1}));  // nobody else lists it: it does not count
  graph.Compute(now_us);
  EXPECT_EQ(graph.hash(), other.hash());
}

TEST_F(LinkStatesTest, WhoIsOutOfReachIsForgotten) {
  Own({2});
  Merge(State("b", 2, 1, {1}));
  Merge(State("c", 3, 1, {4}));
  graph.Forget(now_us);
  EXPECT_EQ(graph.size(), 3U);
  now_us += LinkStates::kForgetUs + 1;
  graph.Forget(now_us);
  EXPECT_EQ(graph.size(), 2U);
  EXPECT_EQ(Hops(2), 1);
}

TEST_F(LinkStatesTest, AFloodOfProcessesIsBounded) {
  Own({2});
  Merge(State("b", 2, 1, {1}));
  graph.Compute(now_us);
  base::Random random(1);
  for (int i = 0; i < 5000; ++i) {
    ++now_us;
    Merge(State("x" + std::to_string(i), random.Next(), 1, {1, 2}));
  }
  EXPECT_LE(graph.size(), LinkStates::kEntriesMax);
  EXPECT_EQ(Hops(2), 1) << "who is in reach stays";
}

}  // namespace
}  // namespace polyarch::replication
