// Commands that wait for elements: who is served, when, by what, and who is not.
#include <gtest/gtest.h>

#include "engine/engine_test_util.h"

namespace polyarch::engine {
namespace {

class Blocking : public testing::Test {
 protected:
  Blocking() { EXPECT_TRUE(cluster.Settle()); }
  TestNode& Add(const char* name) {
    TestNode& node = cluster.Add(name);
    EXPECT_TRUE(node.Start().ok());
    EXPECT_TRUE(cluster.RunUntil([&] { return node.engine().may_write(); }));
    return node;
  }
  TestCluster cluster;
  TestNode& a = Add("a");
  TestNode& b = Add("b");
};

TEST_F(Blocking, WhatManyTakeIsManyChanges) {
  std::vector<std::unique_ptr<Waiting>> waiting;
  for (uint64_t i = 0; i < 20; ++i) {
    waiting.push_back(std::make_unique<Waiting>(a, 20 + i, std::vector<std::string_view>{"BLMOVE", "q", "q", "LEFT", "RIGHT", "0"}));
  }
  const int before = std::stoi(a.Info("changes_local"));
  EXPECT_EQ(a.Ask({"RPUSH", "q", std::string(300'000, 'x')}), "1");
  EXPECT_GE(std::stoi(a.Info("changes_local")) - before, 5);
  for (auto& one : waiting) EXPECT_EQ(one->Reply().size(), 300'002U);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// Not the others, however many they are, and not again because of what was taken.
TEST_F(Blocking, APushLooksAtThoseWhomItServes) {
  std::vector<std::unique_ptr<Waiting>> waiting;
  for (uint64_t i = 0; i < 50; ++i) {
    waiting.push_back(std::make_unique<Waiting>(a, 100 + i, std::vector<std::string_view>{"BLPOP", "q", "0"}));
    waiting.push_back(std::make_unique<Waiting>(a, 200 + i, std::vector<std::string_view>{"BZPOPMIN", "q", "0"}));
  }
  auto turns_of = [&](std::initializer_list<std::string_view> args) {
    const uint64_t before = a.engine().waiter_turns();
    a.Ask(args);
    return a.engine().waiter_turns() - before;
  };
  EXPECT_EQ(turns_of({"RPUSH", "q", "x"}), 1U);
  EXPECT_EQ(turns_of({"RPUSH", "q", "x", "y", "z"}), 3U);
  EXPECT_EQ(turns_of({"ZADD", "q", "1", "m"}), 1U);
  EXPECT_EQ(turns_of({"SET", "q", "text"}), 0U);
  EXPECT_EQ(a.resumed, (std::vector<uint64_t>{100, 101, 102, 103, 200}));
  EXPECT_EQ(a.engine().blocked_clients(), 95U);
}

// (Each of a group's consumers was run at each XADD, to find nothing.)
TEST_F(Blocking, OneConsumerFindsNothingForAllOfItsGroup) {
  EXPECT_EQ(a.Ask({"XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"}), "+OK");
  EXPECT_EQ(a.Ask({"XGROUP", "CREATE", "s", "h", "$"}), "+OK");
  std::vector<std::unique_ptr<Waiting>> waiting;
  std::vector<std::string> names;
  for (uint64_t i = 0; i < 50; ++i)
    names.push_back("c" + std::to_string(i));
  for (uint64_t i = 0; i < 50; ++i) {
    waiting.push_back(std::make_unique<Waiting>(
        a,
        100 + i,
        std::vector<std::string_view>{
            "XREADGROUP", "GROUP", i % 2 == 0 ? "g" : "h", names[i], "COUNT", "1", "BLOCK", "0", "STREAMS", "s", ">"}));
  }
  const uint64_t before = a.engine().waiter_turns();
  a.Ask({"XADD", "s", "1-1", "f", "v"});
  // Who is served, and the next of each group; once more, since what was given changes the stream.
  EXPECT_LE(a.engine().waiter_turns() - before, 6U);
  EXPECT_EQ(a.resumed, (std::vector<uint64_t>{100, 101}));
  EXPECT_EQ(waiting[0]->Reply(), "[[\"s\", [[\"1-1\", [\"f\", \"v\"]]]]]");
  EXPECT_EQ(waiting[1]->Reply(), "[[\"s\", [[\"1-1\", [\"f\", \"v\"]]]]]");
  a.Ask({"XADD", "s", "1-2", "f", "v"});
  EXPECT_EQ(a.resumed, (std::vector<uint64_t>{102, 103})) << "the longest waiting first";
  // Where the group is gone there is something to tell to each.
  EXPECT_EQ(a.Ask({"DEL", "s"}), "1");
  EXPECT_EQ(a.engine().blocked_clients(), 0U);
}

// (At each turn all groups that wait for the stream were looked at: 10,000 of them took seconds.)
TEST_F(Blocking, ManyGroupsOfOneStreamCostNoMoreThanTheirTurns) {
  constexpr size_t kGroups = 150;
  std::vector<std::string> groups;
  for (size_t i = 0; i < kGroups; ++i) {
    groups.push_back("g" + std::to_string(i * 7919 % 1000));  // their names come in another order
    EXPECT_EQ(a.Ask({"XGROUP", "CREATE", "s", groups[i], "$", "MKSTREAM"}), "+OK");
  }
  std::vector<std::unique_ptr<Waiting>> waiting;
  std::vector<uint64_t> first;
  std::vector<uint64_t> second;
  for (uint64_t i = 0; i < 2 * kGroups; ++i) {
    waiting.push_back(std::make_unique<Waiting>(
        a,
        1000 + i,
        std::vector<std::string_view>{
            "XREADGROUP", "GROUP", groups[i % kGroups], "c", "COUNT", "1", "BLOCK", "0", "STREAMS", "s", ">"}));
    (i < kGroups ? first : second).push_back(1000 + i);
  }
  const uint64_t turns = a.engine().waiter_turns();
  const uint64_t lines = a.engine().waiter_lines_visited();
  a.Ask({"XADD", "s", "1-1", "f", "v"});
  EXPECT_EQ(a.resumed, first) << "in the order in which they came, whatever the group";
  // Who is served, and the next of each group; once more, since what was given changes the stream.
  EXPECT_LE(a.engine().waiter_turns() - turns, 3 * kGroups);
  EXPECT_LE(a.engine().waiter_lines_visited() - lines, 4 * kGroups);
  a.resumed.clear();
  a.Ask({"XADD", "s", "1-2", "f", "v"});
  EXPECT_EQ(a.resumed, second);
  EXPECT_EQ(a.engine().blocked_clients(), 0U);
}

TEST_F(Blocking, WhoWaitsForOneTypeIsNotHeldUpByAnother) {
  std::vector<std::unique_ptr<Waiting>> waiting;
  for (uint64_t i = 0; i < 6; ++i) {
    waiting.push_back(std::make_unique<Waiting>(
        a,
        100 + i,
        i % 2 == 0 ? std::vector<std::string_view>{"BZPOPMIN", "q", "0"} : std::vector<std::string_view>{"BLPOP", "q", "0"}));
  }
  EXPECT_EQ(a.Ask({"RPUSH", "q", "x", "y"}), "2");
  EXPECT_EQ(a.resumed, (std::vector<uint64_t>{101, 103}));
  EXPECT_EQ(a.Ask({"ZADD", "q", "1", "m", "2", "n"}), "2");
  EXPECT_EQ(a.resumed, (std::vector<uint64_t>{101, 103, 100, 102}));
  EXPECT_EQ(a.engine().blocked_clients(), 2U);
}

TEST_F(Blocking, NobodyIsAnsweredMoreThanAConnectionMayHave) {
  TestNode& c = cluster.Add("c", [](Options& options) { options.reply_bytes_max = 1000; });
  ASSERT_TRUE(c.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().may_write(); }));
  Waiting few(c, 11, {"BLPOP", "k", "0"});
  Waiting many(c, 12, {"BLPOP", "l", "0"});
  EXPECT_EQ(c.Ask({"RPUSH", "l", std::string(2000, 'x')}), "1");
  EXPECT_EQ(many.Reply(), "(none)") << "its connection is closed";
  EXPECT_EQ(c.Ask({"RPUSH", "k", "x"}), "1");
  EXPECT_EQ(few.Reply(), "[\"k\", \"x\"]");
}

TEST_F(Blocking, NothingIsTakenOutForWhoIsGone) {
  Waiting one(a, 11, {"BLPOP", "k", "0"});
  Waiting two(a, 12, {"BLPOP", "k", "0"});
  one.client().gone = true;  // killed in this tick: it is forgotten at its end
  EXPECT_EQ(a.Ask({"CLIENT", "UNBLOCK", "11"}), "0");
  EXPECT_EQ(a.Ask({"RPUSH", "k", "x"}), "1");
  EXPECT_EQ(two.Reply(), "[\"k\", \"x\"]");
  one.client().gone = false;
}

TEST_F(Blocking, WhoOnlyReadsWaitsOnWhereWritesAreRefused) {
  Waiting reader(a, 11, {"XREAD", "BLOCK", "0", "STREAMS", "s", "$"});
  Waiting taker(a, 12, {"BLPOP", "k", "0"});
  a.engine().SetLowSpace(true);
  cluster.Tick();
  EXPECT_EQ(reader.Reply(), "(none)");
  EXPECT_EQ(taker.Reply().substr(0, 9), "-DISKFULL");
  b.Ask({"XADD", "s", "1-1", "f", "v"});
  cluster.Run(500);
  EXPECT_NE(reader.Reply(), "(none)");
  a.engine().SetLowSpace(false);
}

TEST_F(Blocking, TheLongestWaitingIsServedFirstInOneChange) {
  Waiting one(a, 11, {"BLPOP", "k", "0"});
  Waiting two(a, 10, {"BRPOP", "other", "k", "0"});
  Waiting three(a, 12, {"BLPOP", "k", "0"});
  EXPECT_EQ(a.engine().blocked_clients(), 3U);
  EXPECT_EQ(one.client().blocked, command::Client::Blocked::kWaits);
  const int before = std::stoi(a.Info("changes_local"));
  EXPECT_EQ(a.Ask({"RPUSH", "k", "x", "y"}), "2");
  EXPECT_EQ(std::stoi(a.Info("changes_local")), before + 1);
  EXPECT_EQ(a.resumed, (std::vector<uint64_t>{11, 10}));
  EXPECT_EQ(one.Reply(), "[\"k\", \"x\"]");
  EXPECT_TRUE(one.held()) << "the reply tells of a write";
  EXPECT_EQ(two.Reply(), "[\"k\", \"y\"]");
  EXPECT_EQ(three.Reply(), "(none)");
  EXPECT_EQ(a.Ask({"EXISTS", "k"}), "0");
  EXPECT_EQ(a.engine().blocked_clients(), 1U);
  EXPECT_EQ(a.Ask({"LPUSH", "k", "z"}), "1");
  EXPECT_EQ(three.Reply(), "[\"k\", \"z\"]");
  EXPECT_EQ(a.engine().blocked_clients(), 0U);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.Ask({"EXISTS", "k"}), "0");
  EXPECT_TRUE(cluster.SameDigest());
}

TEST_F(Blocking, WhatIsThereIsTakenInTheOrderOfTheKeys) {
  a.Ask({"RPUSH", "k2", "two"});
  a.Ask({"RPUSH", "k1", "one"});
  EXPECT_EQ(Waiting(a, 5, {"BLPOP", "k0", "k1", "k2", "0"}).Reply(), "[\"k1\", \"one\"]");
  EXPECT_EQ(Waiting(a, 5, {"BLPOP", "k0", "k1", "k2", "0"}).Reply(), "[\"k2\", \"two\"]");
  EXPECT_EQ(a.engine().blocked_clients(), 0U);
}

TEST_F(Blocking, TimesOut) {
  Waiting soon(a, 5, {"BLPOP", "k", "0.1"});
  Waiting move(a, 6, {"BLMOVE", "k", "to", "LEFT", "LEFT", "0.2"});
  Waiting never(a, 7, {"BLMPOP", "0", "1", "k", "LEFT"});
  cluster.Run(90);
  EXPECT_EQ(soon.Reply(), "(none)");
  cluster.Run(20);
  EXPECT_EQ(soon.Reply(), "null");
  EXPECT_EQ(move.Reply(), "(none)");
  cluster.Run(100);
  EXPECT_EQ(move.Reply(), "null");
  cluster.Run(100'000);
  EXPECT_EQ(never.Reply(), "(none)");
  EXPECT_EQ(soon.client().blocked, command::Client::Blocked::kNot);
  EXPECT_EQ(a.Ask({"RPUSH", "k", "x"}), "1");
  EXPECT_EQ(never.Reply(), "[\"k\", [\"x\"]]") << "and nobody else got it";
}

TEST_F(Blocking, AnotherLeadersPushWakes) {
  Waiting list(b, 5, {"BLPOP", "k", "l", "0"});
  Waiting scores(b, 6, {"BZPOPMAX", "z", "0"});
  a.Ask({"RPUSH", "l", "x", "y"});
  a.Ask({"ZADD", "z", "1", "low", "2", "high"});
  EXPECT_EQ(list.Reply(), "(none)");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(list.Reply(), "[\"l\", \"x\"]");
  EXPECT_EQ(scores.Reply(), "[\"z\", \"high\", \"2\"]");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.Ask({"LRANGE", "l", "0", "-1"}), "[\"y\"]");
  EXPECT_EQ(a.Ask({"ZCARD", "z"}), "1");
  EXPECT_TRUE(cluster.SameDigest());
}

TEST_F(Blocking, OnlyTheRightTypeWakes) {
  Waiting list(a, 5, {"BLPOP", "k", "0"});
  Waiting scores(a, 6, {"BZMPOP", "0", "1", "k", "MIN"});
  EXPECT_EQ(a.Ask({"SET", "k", "text"}), "+OK");
  EXPECT_EQ(a.Ask({"DEL", "k"}), "1");
  EXPECT_EQ(a.Ask({"HSET", "k", "f", "v"}), "1");
  EXPECT_EQ(a.Ask({"FLUSHALL"}), "+OK");
  EXPECT_EQ(list.Reply(), "(none)");
  EXPECT_EQ(a.Ask({"ZADD", "k", "1", "m"}), "1");
  EXPECT_EQ(list.Reply(), "(none)");
  EXPECT_EQ(scores.Reply(), "[\"k\", [[\"m\", \"1\"]]]");
  EXPECT_EQ(a.Ask({"RPUSH", "source", "x"}), "1");
  EXPECT_EQ(a.Ask({"RENAME", "source", "k"}), "+OK");
  EXPECT_EQ(list.Reply(), "[\"k\", \"x\"]");
  EXPECT_EQ(Waiting(a, 5, {"BLPOP", "none", "text", "0"}).Reply(), "(none)");
  a.Ask({"SET", "text", "x"});
  EXPECT_EQ(Waiting(a, 5, {"BLPOP", "none", "text", "0"}).Reply().substr(0, 10), "-WRONGTYPE");
}

TEST_F(Blocking, WhatOneGetsMayServeAnother) {
  Waiting move(a, 5, {"BLMOVE", "from", "to", "RIGHT", "LEFT", "0"});
  Waiting pop(a, 6, {"BLPOP", "to", "0"});
  const int before = std::stoi(a.Info("changes_local"));
  EXPECT_EQ(a.Ask({"RPUSH", "from", "x"}), "1");
  EXPECT_EQ(std::stoi(a.Info("changes_local")), before + 1);
  EXPECT_EQ(move.Reply(), "\"x\"");
  EXPECT_EQ(pop.Reply(), "[\"to\", \"x\"]");
  // Where it cannot go it stays.
  a.Ask({"SET", "text", "x"});
  Waiting wrong(a, 5, {"BRPOPLPUSH", "from", "text", "0"});
  EXPECT_EQ(a.Ask({"RPUSH", "from", "y"}), "1");
  EXPECT_EQ(wrong.Reply().substr(0, 10), "-WRONGTYPE");
  EXPECT_EQ(a.Ask({"LRANGE", "from", "0", "-1"}), "[\"y\"]");
}

TEST_F(Blocking, UnblockedAndForgotten) {
  Waiting one(a, 5, {"BLPOP", "k", "0"});
  Waiting two(a, 6, {"BLPOP", "k", "0"});
  EXPECT_EQ(a.Ask({"CLIENT", "UNBLOCK", "5"}), "1");
  EXPECT_EQ(a.Ask({"CLIENT", "UNBLOCK", "5"}), "0");
  EXPECT_EQ(a.Ask({"CLIENT", "UNBLOCK", "6", "ERROR"}), "1");
  EXPECT_EQ(a.Ask({"CLIENT", "UNBLOCK", "99"}), "0");
  EXPECT_EQ(one.Reply(), "null");
  EXPECT_EQ(two.Reply(), "-UNBLOCKED client unblocked via CLIENT UNBLOCK");
  { Waiting gone(a, 7, {"BLPOP", "k", "0"}); }
  EXPECT_EQ(a.engine().blocked_clients(), 0U);
  EXPECT_EQ(a.Ask({"RPUSH", "k", "x"}), "1");
  EXPECT_EQ(a.Ask({"LLEN", "k"}), "1");
}

TEST_F(Blocking, WhoMayNotWriteAnyMoreAnswersSo) {
  Waiting waits(b, 5, {"BLPOP", "k", "0"});
  EXPECT_EQ(a.Ask({"LEADER", "RETIRE", "b"}), "+OK");
  ASSERT_TRUE(cluster.RunUntil([&] { return b.engine().retired(); }));
  cluster.Run(50);
  EXPECT_EQ(waits.Reply().substr(0, 9), "-RETIRED ");
  EXPECT_EQ(Waiting(b, 5, {"BLPOP", "k", "0"}).Reply().substr(0, 9), "-RETIRED ");
  EXPECT_EQ(b.engine().blocked_clients(), 0U);
}

TEST_F(Blocking, RunAgainTooEarlyItGoesOnWaiting) {
  Waiting waits(a, 5, {"BLPOP", "k", "0"});
  a.resumed.push_back(5);
  EXPECT_EQ(waits.Reply(), "(none)");
  EXPECT_EQ(a.engine().blocked_clients(), 1U);
  EXPECT_EQ(a.Ask({"RPUSH", "k", "x"}), "1");
  EXPECT_EQ(waits.Reply(), "[\"k\", \"x\"]");
}

}  // namespace
}  // namespace polyarch::engine
