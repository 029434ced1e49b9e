// Lists under `pop-owner`: who pops, who asks, who is given, who acts for whom.
#include <gtest/gtest.h>

#include "engine/engine_test_util.h"

namespace polyarch::engine {
namespace {

class Owned : public testing::Test {
 protected:
  Owned() {
    EXPECT_EQ(a.Ask({"POLICY", "SET", "q*", "pop-owner"}), "+OK");
    cluster.Run(1500);
    EXPECT_TRUE(cluster.Settle());
    for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(cluster[i].engine().owned().ready());
  }
  size_t Records() {
    EXPECT_TRUE(cluster.Settle());
    EXPECT_TRUE(cluster.SameDigest());
    return a.engine().owned().CountRecords();
  }
  static uint64_t Granted(TestNode& node) { return std::stoull(node.Info("pop_owner_granted")); }

  Leaders cluster{3};
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  TestNode& c = cluster[2];
};

TEST_F(Owned, WhoPushedPopsAtOnce) {
  EXPECT_EQ(a.Ask({"RPUSH", "q", "1", "2", "3"}), "3");
  EXPECT_EQ(a.Ask({"LPOP", "q"}), "\"1\"");
  EXPECT_EQ(a.Ask({"RPOP", "q"}), "\"3\"");
  EXPECT_EQ(a.Ask({"LPOP", "q", "5"}), "[\"2\"]");
  EXPECT_EQ(a.Ask({"LPOP", "q"}), "null");
  EXPECT_EQ(a.Ask({"LPOP", "q", "2"}), "null");
}

TEST_F(Owned, AnotherOneAsksAndIsGiven) {
  EXPECT_EQ(a.Ask({"RPUSH", "q", "1", "2", "3"}), "3");
  ASSERT_TRUE(cluster.Settle());
  Waiting pop(b, 50, {"LPOP", "q"});
  EXPECT_EQ(pop.Reply(), "(none)");
  cluster.Run(100);
  EXPECT_EQ(pop.Reply(), "\"1\"");
  EXPECT_EQ(Granted(a), 1U);
  Waiting moved(b, 51, {"LMOVE", "q", "q2", "RIGHT", "LEFT"});
  cluster.Run(100);
  EXPECT_EQ(moved.Reply(), "\"3\"");
  EXPECT_EQ(b.Ask({"LPOP", "q2"}), "\"3\"") << "what it moved is its own";
  Waiting last(c, 52, {"LMPOP", "2", "q0", "q", "LEFT"});
  cluster.Run(100);
  EXPECT_EQ(last.Reply(), "[\"q\", [\"2\"]]");
  EXPECT_EQ(Records(), 0U);
}

TEST_F(Owned, WhoWaitsIsGivenWhatIsPushedElsewhere) {
  Waiting first(b, 50, {"BRPOP", "q0", "q", "0"});
  cluster.Run(50);
  Waiting second(c, 51, {"BLMOVE", "q", "done", "LEFT", "RIGHT", "0"});
  cluster.Run(50);
  EXPECT_EQ(a.Ask({"RPUSH", "q", "1"}), "1");
  cluster.Run(50);
  EXPECT_EQ(first.Reply(), "[\"q\", \"1\"]");
  EXPECT_EQ(second.Reply(), "(none)");
  EXPECT_EQ(a.Ask({"RPUSH", "q", "2"}), "1");
  cluster.Run(50);
  EXPECT_EQ(second.Reply(), "\"2\"");
  EXPECT_EQ(Records(), 0U);
}

TEST_F(Owned, WhoWaitsHereComesFirst) {
  Waiting far(b, 50, {"BLPOP", "q", "0"});
  cluster.Run(100);
  Waiting near(a, 51, {"BLPOP", "q", "0"});
  EXPECT_EQ(a.Ask({"RPUSH", "q", "1"}), "1");
  EXPECT_EQ(near.Reply(), "[\"q\", \"1\"]");
  cluster.Run(100);
  EXPECT_EQ(far.Reply(), "(none)");
}

TEST_F(Owned, ManyWorkersTakeEachJobOnce) {
  std::vector<std::string> jobs;
  for (int i = 0; i < 60; ++i) {
    const std::string job = std::to_string(i);
    cluster[static_cast<size_t>(i % 3)].Ask({"LPUSH", "q", job});
    if (i % 7 == 0) cluster.Run(20);
  }
  std::map<std::string, int> done;
  std::vector<std::unique_ptr<Waiting>> workers;
  for (uint64_t i = 0; i < 12; ++i)
    workers.push_back(std::make_unique<Waiting>(cluster[i % 3], 100 + i, std::vector<std::string_view>{"BRPOP", "q", "0"}));
  uint64_t next = 200;
  for (int step = 0; step < 400 && done.size() < 60; ++step) {
    cluster.Tick();
    for (size_t i = 0; i < workers.size(); ++i) {
      const std::string reply = workers[i]->Reply();
      if (reply == "(none)") continue;
      ++done[reply];
      workers[i] = std::make_unique<Waiting>(cluster[i % 3], next++, std::vector<std::string_view>{"BRPOP", "q", "0"});
    }
  }
  EXPECT_EQ(done.size(), 60U);
  for (const auto& [job, times] : done) EXPECT_EQ(times, 1) << job;
  workers.clear();
  EXPECT_EQ(Records(), 0U);
}

TEST_F(Owned, ALostRequestIsRepeated) {
  int lost = 0;
  cluster.on_way = [&](TestNode&, std::string& message) {
    if (message[0] != 14 || lost >= 2) return true;  // Routed
    ++lost;
    return false;
  };
  Waiting pop(b, 50, {"BLPOP", "q", "0"});
  EXPECT_EQ(a.Ask({"RPUSH", "q", "1"}), "1");
  cluster.Run(3000);
  EXPECT_EQ(lost, 2);
  EXPECT_EQ(pop.Reply(), "[\"q\", \"1\"]");
}

TEST_F(Owned, WhoCannotWaitFindsSomeTheNextTime) {
  EXPECT_EQ(a.Ask({"RPUSH", "q", "1", "2"}), "2");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.Ask({"EVAL", "return redis.call('lpop', KEYS[1])", "1", "q"}), "null");
  cluster.Run(100);
  EXPECT_EQ(b.Ask({"EVAL", "return redis.call('lpop', KEYS[1])", "1", "q"}), "\"1\"");
  EXPECT_EQ(b.Ask({"MULTI"}), "+OK");
  EXPECT_EQ(b.Ask({"LPOP", "q"}), "+QUEUED");
  EXPECT_EQ(b.Ask({"EXEC"}), "[null]");
  cluster.Run(100);
  EXPECT_EQ(b.Ask({"MULTI"}), "+OK");
  EXPECT_EQ(b.Ask({"LPOP", "q"}), "+QUEUED");
  EXPECT_EQ(b.Ask({"EXEC"}), "[\"2\"]");
  EXPECT_EQ(Records(), 0U);
}

TEST_F(Owned, ATransactionThatIsTakenBackPopsNothing) {
  EXPECT_EQ(a.Ask({"RPUSH", "q", "1", "2"}), "2");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.Ask({"EVAL", "return redis.call('lpop', KEYS[1])", "1", "q"}), "null");
  cluster.Run(100);
  // It runs out of steps.
  EXPECT_EQ(b.Ask({"EVAL", "redis.call('lpop', KEYS[1]) while true do end", "1", "q"}).substr(0, 1), "-");
  EXPECT_EQ(b.Ask({"LRANGE", "q", "0", "-1"}), "[\"1\", \"2\"]");
  EXPECT_EQ(b.Ask({"LPOP", "q"}), "\"1\"");
}

TEST_F(Owned, DeletedWhileGranted) {
  EXPECT_EQ(a.Ask({"RPUSH", "q", "1", "2", "3"}), "3");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.Ask({"EVAL", "return redis.call('lpop', KEYS[1], 3)", "1", "q"}), "null");
  cluster.Run(100);
  EXPECT_EQ(Records(), 3U);
  EXPECT_EQ(c.Ask({"DEL", "q"}), "1");
  cluster.Run(25'000);
  EXPECT_EQ(Records(), 0U) << "the one that was given them has swept";
  EXPECT_EQ(b.Ask({"RPUSH", "q", "4"}), "1");
  EXPECT_EQ(b.Ask({"LPOP", "q"}), "\"4\"");
}

TEST_F(Owned, AnOwnerOutOfReachIsActedForAfterAWhile) {
  EXPECT_EQ(c.Ask({"RPUSH", "q", "1", "2", "3"}), "3");
  ASSERT_TRUE(cluster.Settle());
  c.Kill();
  Waiting pop(b, 50, {"BLPOP", "q", "0"});
  cluster.Run(4000);
  EXPECT_EQ(pop.Reply(), "(none)");
  cluster.Run(6000);
  EXPECT_EQ(pop.Reply(), "[\"q\", \"1\"]");
  EXPECT_EQ(std::stoull(a.Info("pop_owner_acted")), 1U) << "the first by name";
  ASSERT_TRUE(c.Start().ok());
  EXPECT_EQ(c.Ask({"EVAL", "return redis.call('lpop', KEYS[1])", "1", "q"}), "null") << "it has not heard of that yet";
  cluster.Run(3000);
  EXPECT_EQ(c.Ask({"LPOP", "q"}), "\"2\"");
}

// By LEADER PRIORITY: the others do not know yet, and who was first may be giving the same elements away.
TEST_F(Owned, WhoBecomesFirstWaitsBeforeItActs) {
  EXPECT_EQ(c.Ask({"RPUSH", "q", "1", "2", "3"}), "3");
  ASSERT_TRUE(cluster.Settle());
  cluster.Cut(a, c);
  cluster.Cut(b, c);
  cluster.Run(9000);
  Waiting pop(b, 50, {"BLPOP", "q", "0"});
  cluster.Run(500);
  EXPECT_EQ(pop.Reply(), "[\"q\", \"1\"]");
  EXPECT_EQ(b.Ask({"LEADER", "PRIORITY", "b", "a", "c"}), "+OK");
  Waiting next(b, 51, {"BLPOP", "q", "0"});
  cluster.Run(4000);
  EXPECT_EQ(next.Reply(), "(none)");
  EXPECT_EQ(b.engine().owned().acted(), 0U);
  cluster.Run(4000);
  EXPECT_EQ(next.Reply(), "[\"q\", \"2\"]");
  EXPECT_GT(b.engine().owned().acted(), 0U);
}

// Each side may have acted for the other: nobody pops before it has what was popped there.
TEST_F(Owned, AfterALongCutBothSidesAreLevelFirst) {
  EXPECT_EQ(c.Ask({"RPUSH", "q", "1", "2", "3"}), "3");
  ASSERT_TRUE(cluster.Settle());
  cluster.Cut(a, c);
  cluster.Cut(b, c);
  cluster.Run(9000);
  Waiting pop(b, 50, {"BLPOP", "q", "0"});
  cluster.Run(500);
  EXPECT_EQ(pop.Reply(), "[\"q\", \"1\"]");
  cluster.Heal(a, c);
  cluster.Heal(b, c);
  ASSERT_TRUE(cluster.RunUntil([&] { return !c.engine().owned().ready() && !a.engine().owned().ready(); }));
  EXPECT_EQ(c.Ask({"GET", "q"}).substr(0, 10), "-WRONGTYPE");
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().owned().ready() && a.engine().owned().ready(); }));
  EXPECT_EQ(c.Ask({"LPOP", "q"}), "\"2\"");
}

// Elements that nobody could give are everybody's when the policy goes.
TEST_F(Owned, WhoWaitsIsServedWhenThePolicyGoes) {
  EXPECT_EQ(c.Ask({"RPUSH", "q", "1"}), "1");
  ASSERT_TRUE(cluster.Settle());
  cluster.Cut(a, c);
  cluster.Cut(b, c);
  Waiting pop(b, 50, {"BLPOP", "q", "0"});
  cluster.Run(1000);
  EXPECT_EQ(pop.Reply(), "(none)");
  EXPECT_EQ(b.Ask({"POLICY", "DEL", "q*"}), "1");
  cluster.Run(200);
  EXPECT_EQ(pop.Reply(), "[\"q\", \"1\"]");
}

TEST_F(Owned, WhatAPowerCutTookIsHeardFirst) {
  EXPECT_EQ(a.Ask({"RPUSH", "q", "1"}), "1");
  ASSERT_TRUE(cluster.Settle());
  a.auto_sync = false;
  Waiting pop(b, 50, {"BLPOP", "q", "0"});
  cluster.Run(60);
  EXPECT_EQ(pop.Reply(), "[\"q\", \"1\"]");
  a.PowerCut();
  a.auto_sync = true;
  ASSERT_TRUE(a.Start().ok());
  Waiting again(a, 51, {"LPOP", "q"});
  cluster.Run(3000);
  EXPECT_EQ(again.Reply(), "null");
}

// Who acted for it is there when it starts, and gone again before it has caught up with what that one popped.
TEST_F(Owned, WhatWasToldByWhoIsGoneAgainIsHeardFirst) {
  EXPECT_EQ(c.Ask({"RPUSH", "q", "1", "2"}), "2");
  ASSERT_TRUE(cluster.Settle());
  b.Kill();
  c.Kill();
  for (int i = 0; i < 500; ++i) EXPECT_EQ(a.Ask({"SET", "k" + std::to_string(i), "v"}), "+OK");
  cluster.Run(12'000);
  EXPECT_EQ(a.Ask({"EVAL", "return redis.call('lpop', KEYS[1])", "1", "q"}), "null");
  cluster.Run(200);
  EXPECT_EQ(a.Ask({"LPOP", "q"}), "\"1\"") << "it acts for c";
  c.options().window_bytes = 1;
  ASSERT_TRUE(c.Start().ok());
  for (int i = 0; i < 3000 && !(c.engine().replica().LinkOf("a") && c.engine().replica().HasHeard()); ++i) cluster.Run(1);
  cluster.Run(5);
  ASSERT_EQ(c.Ask({"EXISTS", "k499"}), "0") << "it has caught up already: nothing is tested";
  a.Kill();
  Waiting pop(c, 51, {"BLPOP", "q", "0"});
  cluster.Run(8'000);
  EXPECT_EQ(pop.Reply(), "(none)");
  ASSERT_TRUE(a.Start().ok());
  cluster.Run(15'000);
  EXPECT_EQ(pop.Reply(), "[\"q\", \"2\"]");
}

TEST_F(Owned, BothSidesOfACutPopAndItIsCounted) {
  EXPECT_EQ(c.Ask({"RPUSH", "q", "1"}), "1");
  ASSERT_TRUE(cluster.Settle());
  cluster.Cut(a, c);
  cluster.Cut(b, c);
  Waiting pop(b, 50, {"BLPOP", "q", "0"});
  cluster.Run(12'000);
  EXPECT_EQ(pop.Reply(), "[\"q\", \"1\"]");
  EXPECT_EQ(c.Ask({"LPOP", "q"}), "\"1\"") << "the owner, on its own";
  cluster.Heal(a, c);
  cluster.Heal(b, c);
  EXPECT_EQ(Records(), 0U);
  EXPECT_EQ(a.engine().owned().removed_twice(), 1U);
  EXPECT_EQ(b.engine().owned().removed_twice(), 1U);
  EXPECT_EQ(c.engine().owned().removed_twice(), 1U);
  EXPECT_TRUE(a.Reported("taken out at two leaders"));
}

TEST_F(Owned, NobodyAnswersInTime) {
  EXPECT_EQ(c.Ask({"RPUSH", "q", "1"}), "1");
  ASSERT_TRUE(cluster.Settle());
  // Requests get lost; c is in reach all the time.
  cluster.on_way = [&](TestNode&, std::string& message) { return message[0] != 14; };
  Waiting pop(b, 50, {"LPOP", "q"});
  cluster.Run(9'000);
  EXPECT_EQ(pop.Reply(), "(none)");
  cluster.Run(1'200);
  EXPECT_EQ(pop.Reply().substr(0, 10), "-TRYAGAIN ");
  cluster.on_way = nullptr;
  Waiting gone(b, 51, {"LPOP", "q"});
  Waiting taken(c, 52, {"LPOP", "q"});
  cluster.Run(200);
  EXPECT_EQ(gone.Reply(), "null") << "it is told when nothing is left";
}

TEST_F(Owned, ARetiredLeadersElementsGoOn) {
  EXPECT_EQ(c.Ask({"RPUSH", "q", "1"}), "1");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.Ask({"LEADER", "RETIRE", "c"}), "+OK");
  cluster.Run(1000);
  c.Kill();
  Waiting pop(b, 50, {"BLPOP", "q", "0"});
  cluster.Run(15'000);
  EXPECT_EQ(pop.Reply(), "[\"q\", \"1\"]");
}

TEST_F(Owned, GrantsSurviveCheckpointsAndRestarts) {
  EXPECT_EQ(a.Ask({"RPUSH", "q", "1", "2"}), "2");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.Ask({"EVAL", "return redis.call('lpop', KEYS[1])", "1", "q"}), "null");
  cluster.Run(100);
  for (size_t i = 0; i < 3; ++i) cluster[i].engine().StartCheckpoint();
  cluster.Run(200);
  ASSERT_EQ(Records(), 1U);
  for (size_t i = 0; i < 3; ++i) cluster[i].Kill();
  for (size_t i = 0; i < 3; ++i) ASSERT_TRUE(cluster[i].Start().ok());
  cluster.Run(3000);
  EXPECT_EQ(Records(), 1U);
  EXPECT_EQ(b.Ask({"LPOP", "q"}), "\"1\"");
  EXPECT_EQ(a.Ask({"LPOP", "q"}), "\"2\"");
}

TEST_F(Owned, OtherKeysAreAsEver) {
  EXPECT_EQ(a.Ask({"RPUSH", "list", "1"}), "1");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.Ask({"LPOP", "list"}), "\"1\"");
  EXPECT_EQ(a.Ask({"POLICY", "DEL", "q*"}), "1");
  EXPECT_EQ(a.Ask({"RPUSH", "q", "1"}), "1");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.Ask({"LPOP", "q"}), "\"1\"");
}

TEST_F(Owned, OnlyMembersAreGrantedTo) {
  EXPECT_EQ(a.Ask({"RPUSH", "q", "1"}), "1");
  a.engine().owned().Arrived("garbage");
  std::string forged("O\x01\x06nobody", 9);
  forged += std::string("\x00\x01q\x01\x01", 5);
  a.engine().owned().Arrived(forged);
  cluster.Run(200);
  EXPECT_EQ(Granted(a), 0U);
  EXPECT_EQ(a.Ask({"LPOP", "q"}), "\"1\"");
}

}  // namespace
}  // namespace polyarch::engine
