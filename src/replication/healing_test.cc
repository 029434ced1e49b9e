#include "replication/healing.h"

#include <gtest/gtest.h>

namespace polyarch::replication {
namespace {

// Leader "c" of a ring a b c d e, or whatever the test makes of it. Nonces: a is 1, b is 2 ...
class HealingTest : public ::testing::Test {
 protected:
  HealingTest() {
    healing.Configure("c", {"a", "b", "c", "d", "e"});
    Set("ring a b c d e");
  }
  void Set(const std::string& stored) { healing.SetTopology(*Topology::ParseStored(stored)); }
  static uint64_t Nonce(char leader) { return static_cast<uint64_t>(leader - 'a' + 1); }

  // The live graph is made of these links ("ab bc"); c's own links are those with c in it.
  void Live(const std::string& pairs) {
    std::map<char, std::set<uint64_t>> lists;
    links.clear();
    for (size_t i = 0; i + 1 < pairs.size(); i += 3) {
      lists[pairs[i]].insert(Nonce(pairs[i + 1]));
      lists[pairs[i + 1]].insert(Nonce(pairs[i]));
      if (pairs[i] == 'c') links.insert(std::string(1, pairs[i + 1]));
      if (pairs[i + 1] == 'c') links.insert(std::string(1, pairs[i]));
    }
    ++number;
    for (char leader : {'a', 'b', 'd', 'e'}) {
      wire::LinkState state{{std::string(1, leader), Nonce(leader), 1, "", 1}, number, {}};
      state.neighbours.assign(lists[leader].begin(), lists[leader].end());
      graph.Merge(state, now_us);
    }
    graph.SetOwn({"c", 3, 1, "", 1}, lists['c']);
    Update();
  }
  void Update(int64_t ms = 0) {
    now_us += ms * 1000;
    graph.Compute(now_us);
    healing.Update(graph, links, cut, now_us);
  }
  std::string Dials() {
    std::string out;
    for (const char* name : {"a", "b", "c", "d", "e"}) out += healing.Dials(name) ? name : "";
    return out;
  }

  Healing healing;
  LinkStates graph{3};
  std::set<std::string> links;
  std::set<std::string> cut;
  int64_t now_us = 1'000'000;
  uint64_t number = 0;
};

TEST_F(HealingTest, ConfiguredNeighboursOnly) {
  Live("ab bc cd de ea");
  EXPECT_EQ(Dials(), "bd");
  EXPECT_TRUE(healing.Wants("b"));
  EXPECT_FALSE(healing.Wants("a"));
  EXPECT_TRUE(healing.IsConfigured("d"));
  EXPECT_FALSE(healing.Probes("a", now_us));
}

TEST_F(HealingTest, ADeadNeighbourIsBypassedAfterAWhile) {
  Live("ab bc cd de ea");
  Live("ab bc ea");
  EXPECT_EQ(Dials(), "bd") << "not at once";
  healing.NoteFailed("d");
  Update(900);
  EXPECT_EQ(Dials(), "bd");
  Update(200);
  EXPECT_EQ(Dials(), "bde") << "d is still dialed, and e beyond it";
  // The bypass is there, d comes back: nobody needs it.
  Live("ab bc ea ce");
  EXPECT_TRUE(healing.Wants("e"));
  Live("ab bc cd de ea ce");
  EXPECT_EQ(Dials(), "bd");
  EXPECT_FALSE(healing.Wants("e"));
}

TEST_F(HealingTest, WhoWasNotTriedIsNotGone) {
  Live("bc cd");  // a and e are out of reach, and no neighbours
  Update(2000);
  EXPECT_EQ(Dials(), "bd");
  EXPECT_FALSE(healing.Probes("a", now_us));
  Update(2000);
  EXPECT_TRUE(healing.Probes("a", now_us)) << "now and then, though";
}

TEST_F(HealingTest, TheSearchGoesOutward) {
  Live("");
  healing.NoteFailed("b");
  healing.NoteFailed("d");
  Update(1100);
  EXPECT_EQ(Dials(), "abde");
  healing.NoteFailed("a");
  Update(1100);
  EXPECT_EQ(Dials(), "bde") << "a is tried now and then only";
  EXPECT_EQ(healing.gone(), (std::set<std::string>{"a", "b", "d"}));
}

TEST_F(HealingTest, ACutLinkIsWalkedAround) {
  cut = {"b"};
  Live("de cd ea ab");
  EXPECT_EQ(Dials(), "bd");
  Live("cd");
  Update(1100);
  EXPECT_EQ(healing.gone(), (std::set<std::string>{"b"})) << "without a dial";
  EXPECT_EQ(Dials(), "abd");
}

TEST_F(HealingTest, WhatHoldsTheGraphTogetherIsWanted) {
  // d cannot reach e, nor a b: c's link with e is the only way.
  Live("ae bc cd ce");
  EXPECT_TRUE(healing.Wants("e"));
  // Of two such links one is enough, by name: a-c goes before c-e.
  Live("ae bc cd ce ac");
  EXPECT_TRUE(healing.Wants("a"));
  EXPECT_FALSE(healing.Wants("e"));
}

TEST_F(HealingTest, ALinkWithSomebodyElseWiseOutOfReachIsWanted) {
  Live("ab bc cd");
  links.insert("e");  // greeted, not listed yet
  Update();
  EXPECT_TRUE(healing.Wants("e"));
}

TEST_F(HealingTest, StarsElectByPrecedence) {
  Set("star a");
  healing.SetPrecedence({"d"});
  Live("");
  EXPECT_EQ(Dials(), "a");
  healing.NoteFailed("a");
  Update(1100);
  EXPECT_EQ(Dials(), "ad");
  healing.NoteFailed("d");
  Update(1100);
  EXPECT_EQ(Dials(), "ab");
  Live("bc bd be");
  EXPECT_EQ(Dials(), "ad") << "d lives: it is the hub now";
  EXPECT_TRUE(healing.Wants("b")) << "until there is a way over d";
  Live("bc bd be cd de");
  EXPECT_FALSE(healing.Wants("b"));
}

TEST_F(HealingTest, StrangersAndJoinersAreWanted) {
  Live("ab bc cd de ea");
  EXPECT_TRUE(healing.Wants("stranger"));
  healing.Configure("c", {});
  Update();
  EXPECT_TRUE(healing.Wants("a"));
}

}  // namespace
}  // namespace polyarch::replication
