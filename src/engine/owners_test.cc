// Lists and groups of streams under `pop-owner`: who pops, who asks, who is given, who acts for whom.
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

// What it has to catch up with first is what the others had when it asked, not what they have each time it looks.
TEST_F(Owned, WhoLagsAllTheTimeIsReadyAllTheSame) {
  constexpr uint64_t kLag = 1000;
  const clock::OriginIndex own = *a.engine().replica().own();
  const clock::Origin origin = a.engine().origins().Get(own);
  const auto lag = [&] {
    const auto index = c.engine().origins().Find(origin);
    return a.engine().applied().Get(own) - (index ? c.engine().applied().Get(*index) : 0);
  };
  c.Kill();
  for (uint64_t i = 0; i < kLag; ++i) a.Ask({"SET", "k", "v"});
  c.options().window_bytes = 1;
  ASSERT_TRUE(c.Start().ok());
  const int64_t begin_us = cluster.now_us();
  bool ready = false;
  for (int i = 0; i < 6000 && !ready; ++i) {
    while (lag() < kLag) a.Ask({"SET", "k", "v"});
    cluster.Run(20);
    ready = c.engine().owned().ready();
  }
  ASSERT_GT(cluster.now_us() - begin_us, 6'000'000) << "it lags by less: nothing is tested";
  EXPECT_TRUE(ready);
  EXPECT_GT(lag(), kLag / 2);
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

// ---- groups of streams

class OwnedGroup : public Owned {
 protected:
  OwnedGroup() {
    EXPECT_EQ(a.Ask({"XGROUP", "CREATE", "q", "g", "0", "MKSTREAM"}), "+OK");
    EXPECT_TRUE(cluster.Settle());
  }
  static std::string Read(TestNode& node, const std::string& consumer, const std::string& count = "1") {
    return node.Ask({"XREADGROUP", "GROUP", "g", consumer, "COUNT", count, "STREAMS", "q", ">"});
  }
  static std::string Given(const std::string& id, const std::string& job) {
    return "[\"" + id + "\", [\"job\", \"" + job + "\"]]";
  }
  static std::string Reply(const std::vector<std::string>& entries) {
    std::string text;
    for (const std::string& entry : entries) text += (text.empty() ? "" : ", ") + entry;
    return "[[\"q\", [" + text + "]]]";
  }
  // XREADGROUP of one entry, of a client that waits.
  static std::vector<std::string_view> Blocks(std::string_view consumer, std::string_view count = "1") {
    return {"XREADGROUP", "GROUP", "g", consumer, "COUNT", count, "BLOCK", "0", "STREAMS", "q", ">"};
  }
};

TEST_F(OwnedGroup, WhoAddedGivesAtOnceAndOthersAsk) {
  EXPECT_EQ(a.Ask({"XADD", "q", "1-1", "job", "x"}), "\"1-1\"");
  EXPECT_EQ(a.Ask({"XADD", "q", "2-1", "job", "y"}), "\"2-1\"");
  EXPECT_EQ(a.Ask({"XADD", "q", "3-1", "job", "z"}), "\"3-1\"");
  EXPECT_EQ(Read(a, "ada"), Reply({Given("1-1", "x")}));
  ASSERT_TRUE(cluster.Settle());
  Waiting read(b, 50, {"XREADGROUP", "GROUP", "g", "bob", "COUNT", "1", "STREAMS", "q", ">"});
  EXPECT_EQ(read.Reply(), "(none)") << "without BLOCK, too: there is something";
  cluster.Run(100);
  EXPECT_EQ(read.Reply(), Reply({Given("2-1", "y")}));
  EXPECT_EQ(Granted(a), 1U);
  EXPECT_EQ(Read(a, "ada", "9"), Reply({Given("3-1", "z")}));
  EXPECT_EQ(Records(), 0U);
  for (TestNode* node : {&a, &b, &c}) {
    EXPECT_EQ(Read(*node, "carl"), "null");
    EXPECT_EQ(node->Ask({"XPENDING", "q", "g"}),
              "[3, \"1-1\", \"3-1\", [[\"ada\", \"2\"], [\"bob\", \"1\"]]]");
  }
  EXPECT_EQ(c.Ask({"XACK", "q", "g", "1-1", "2-1", "3-1"}), "3");
}

// What one was granted and has not given is a hole in what the other one gives.
TEST_F(OwnedGroup, WhatIsGrantedAndNotGivenIsLeftOut) {
  for (const char* id : {"1-1", "2-1", "3-1", "4-1", "5-1"}) a.Ask({"XADD", "q", id, "job", id});
  ASSERT_TRUE(cluster.Settle());
  // A script cannot wait: b asks for two of them.
  const std::string_view script =
      "return redis.call('xreadgroup', 'GROUP', 'g', 'bob', 'COUNT', 2, 'STREAMS', KEYS[1], '>')";
  EXPECT_EQ(b.Ask({"EVAL", script, "1", "q"}), "null");
  cluster.Run(100);
  EXPECT_EQ(Records(), 2U);
  EXPECT_EQ(Read(a, "ada", "2"), Reply({Given("3-1", "3-1"), Given("4-1", "4-1")}));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.Ask({"EVAL", script, "1", "q"}), Reply({Given("1-1", "1-1"), Given("2-1", "2-1")}));
  EXPECT_EQ(Read(a, "ada", "9"), Reply({Given("5-1", "5-1")}));
  EXPECT_EQ(Records(), 0U);
  for (TestNode* node : {&a, &b, &c}) EXPECT_EQ(Read(*node, "late"), "null");
}

TEST_F(OwnedGroup, GrantsAreKeptByCopiesRestartsAndTheEndOfThePolicy) {
  for (const char* id : {"1-1", "2-1", "3-1"}) a.Ask({"XADD", "q", id, "job", id});
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.Ask({"EVAL", "return redis.call('xreadgroup', 'GROUP', 'g', 'bob', 'COUNT', 1, 'STREAMS', KEYS[1], '>')", "1", "q"}),
            "null");
  cluster.Run(100);
  EXPECT_EQ(Read(a, "ada", "9"), Reply({Given("2-1", "2-1"), Given("3-1", "3-1")}));
  ASSERT_EQ(Records(), 1U);
  EXPECT_EQ(c.Ask({"COPY", "q", "q2"}), "1");
  EXPECT_EQ(c.Ask({"COPY", "q", "plain"}), "1");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(c.Ask({"XREADGROUP", "GROUP", "g", "carl", "STREAMS", "q2", ">"}),
            "[[\"q2\", [" + Given("1-1", "1-1") + "]]]")
      << "the copy is of who made it, and what was not given there is given";
  EXPECT_EQ(b.Ask({"XREADGROUP", "GROUP", "g", "bob", "STREAMS", "plain", ">"}),
            "[[\"plain\", [" + Given("1-1", "1-1") + "]]]");
  for (size_t i = 0; i < 3; ++i) cluster[i].engine().StartCheckpoint();
  cluster.Run(200);
  for (size_t i = 0; i < 3; ++i) cluster[i].Kill();
  for (size_t i = 0; i < 3; ++i) ASSERT_TRUE(cluster[i].Start().ok());
  cluster.Run(3000);
  ASSERT_EQ(Records(), 1U);
  EXPECT_EQ(a.Ask({"POLICY", "DEL", "q*"}), "1");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(Read(c, "carl"), Reply({Given("1-1", "1-1")}));
  EXPECT_EQ(Read(c, "carl"), "null");
}

TEST_F(OwnedGroup, ManyConsumersTakeEachEntryOnce) {
  std::map<std::string, int> done;
  std::vector<std::unique_ptr<Waiting>> workers;
  const std::vector<std::string> names = {"w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9", "w10", "w11"};
  uint64_t next = 200;
  auto work = [&](size_t i) {
    workers[i] = std::make_unique<Waiting>(cluster[i % 3], next++, Blocks(names[i], i % 2 == 0 ? "1" : "3"));
  };
  workers.resize(names.size());
  for (size_t i = 0; i < workers.size(); ++i) work(i);
  for (int step = 0; step < 900 && done.size() < 90; ++step) {
    if (step < 90) cluster[static_cast<size_t>(step % 3)].Ask({"XADD", "q", "*", "job", "j" + std::to_string(step) + "."});
    if (step >= 90 || step % 5 == 0) cluster.Tick();
    for (size_t i = 0; i < workers.size(); ++i) {
      const std::string reply = workers[i]->Reply();
      if (reply == "(none)") continue;
      for (size_t at = reply.find("\"j"); at != std::string::npos; at = reply.find("\"j", at + 1)) {
        if (reply.compare(at, 5, "\"job\"") != 0) ++done[reply.substr(at, reply.find('.', at) - at)];
      }
      work(i);
    }
  }
  EXPECT_EQ(done.size(), 90U);
  for (const auto& [job, times] : done) EXPECT_EQ(times, 1) << job;
  workers.clear();
  EXPECT_EQ(Records(), 0U);
}

TEST_F(OwnedGroup, EachGroupIsGivenAll) {
  EXPECT_EQ(a.Ask({"XGROUP", "CREATE", "q", "h", "0"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  Waiting far(b, 50, Blocks("bob"));
  Waiting other(c, 51, {"XREADGROUP", "GROUP", "h", "carl", "BLOCK", "0", "STREAMS", "q", ">"});
  cluster.Run(100);
  Waiting near(a, 52, Blocks("ada"));
  EXPECT_EQ(a.Ask({"XADD", "q", "1-1", "job", "x"}), "\"1-1\"");
  EXPECT_EQ(near.Reply(), Reply({Given("1-1", "x")})) << "whoever waits here comes first";
  cluster.Run(100);
  EXPECT_EQ(far.Reply(), "(none)");
  EXPECT_EQ(other.Reply(), Reply({Given("1-1", "x")}));
  EXPECT_EQ(a.Ask({"XADD", "q", "2-1", "job", "y"}), "\"2-1\"");
  cluster.Run(100);
  EXPECT_EQ(far.Reply(), Reply({Given("2-1", "y")}));
}

TEST_F(OwnedGroup, AnOwnerOutOfReachIsActedForAfterAWhile) {
  EXPECT_EQ(c.Ask({"XADD", "q", "1-1", "job", "x"}), "\"1-1\"");
  EXPECT_EQ(c.Ask({"XADD", "q", "2-1", "job", "y"}), "\"2-1\"");
  ASSERT_TRUE(cluster.Settle());
  c.Kill();
  Waiting read(b, 50, Blocks("bob"));
  cluster.Run(4000);
  EXPECT_EQ(read.Reply(), "(none)");
  cluster.Run(6000);
  EXPECT_EQ(read.Reply(), Reply({Given("1-1", "x")}));
  EXPECT_GE(a.engine().owned().acted(), 1U) << "the first by name";
  ASSERT_TRUE(c.Start().ok());
  cluster.Run(3000);
  EXPECT_EQ(Read(c, "carl"), Reply({Given("2-1", "y")}));
}

TEST_F(OwnedGroup, RecordsOfWhatHasGoneAreSwept) {
  EXPECT_EQ(a.Ask({"XGROUP", "CREATE", "q", "h", "0"}), "+OK");
  for (const char* id : {"1-1", "2-1", "3-1"}) a.Ask({"XADD", "q", id, "job", id});
  ASSERT_TRUE(cluster.Settle());
  for (const char* group : {"g", "h"}) {
    EXPECT_EQ(b.Ask({"EVAL",
                     "return redis.call('xreadgroup', 'GROUP', ARGV[1], 'bob', 'COUNT', 2, 'STREAMS', KEYS[1], '>')",
                     "1",
                     "q",
                     group}),
              "null");
  }
  cluster.Run(100);
  EXPECT_EQ(Records(), 4U);
  EXPECT_EQ(c.Ask({"XDEL", "q", "1-1"}), "1");
  EXPECT_EQ(c.Ask({"XGROUP", "DESTROY", "q", "h"}), "1");
  cluster.Run(25'000);
  EXPECT_EQ(Records(), 1U) << "of 2-1 in g";
  EXPECT_EQ(Read(b, "bob", "9"), Reply({Given("2-1", "2-1")}));
  EXPECT_EQ(Records(), 0U);
}

// Each leader takes what another one gave over only by asking it.
TEST_F(OwnedGroup, PendingEntriesAreClaimedThroughWhoGaveThem) {
  EXPECT_EQ(a.Ask({"XADD", "q", "1-1", "job", "x"}), "\"1-1\"");
  EXPECT_EQ(Read(a, "ada"), Reply({Given("1-1", "x")}));
  ASSERT_TRUE(cluster.Settle());
  Waiting one(b, 50, {"XAUTOCLAIM", "q", "g", "bob", "0", "0"});
  EXPECT_EQ(one.Reply(), "(none)");
  cluster.Tick();
  Waiting two(c, 51, {"XCLAIM", "q", "g", "carl", "100", "1-1"});
  cluster.Run(400);
  const std::string first = one.Reply();
  EXPECT_EQ(first, "[\"0-0\", [" + Given("1-1", "x") + "], []]");
  EXPECT_EQ(two.Reply(), "[]") << "by now it is not idle any more";
  EXPECT_EQ(a.Ask({"XPENDING", "q", "g"}), "[1, \"1-1\", \"1-1\", [[\"bob\", \"1\"]]]");
  EXPECT_EQ(b.Ask({"XCLAIM", "q", "g", "bea", "0", "1-1", "JUSTID"}), "[\"1-1\"]") << "its own, at once";
  ASSERT_TRUE(cluster.Settle());
  b.Kill();
  Waiting gone(c, 52, {"XAUTOCLAIM", "q", "g", "carl", "0", "0", "JUSTID"});
  cluster.Run(3000);
  EXPECT_EQ(gone.Reply(), "(none)");
  cluster.Run(6500);
  EXPECT_EQ(gone.Reply(), "[\"0-0\", [\"1-1\"], []]") << "somebody acts for who is out of reach";
}

// (Beside entries of its own, those of others were not even asked for.)
TEST_F(OwnedGroup, AClaimOfOwnAndOfOthersEntriesAsksForThose) {
  EXPECT_EQ(a.Ask({"XADD", "q", "1-1", "job", "x"}), "\"1-1\"");
  EXPECT_EQ(Read(a, "ada"), Reply({Given("1-1", "x")}));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.Ask({"XADD", "q", "2-1", "job", "y"}), "\"2-1\"");
  EXPECT_EQ(Read(b, "bob"), Reply({Given("2-1", "y")}));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.Ask({"XCLAIM", "q", "g", "bea", "0", "1-1", "2-1", "JUSTID"}), "[\"2-1\"]") << "its own, at once";
  cluster.Run(400);
  EXPECT_EQ(b.Ask({"XCLAIM", "q", "g", "bea", "0", "1-1", "2-1", "JUSTID"}), "[\"1-1\", \"2-1\"]");
}

// A consumer may read its own entries anywhere. That makes nobody else their owner.
TEST_F(OwnedGroup, ReadingPendingEntriesAgainMovesNoOwnership) {
  EXPECT_EQ(a.Ask({"XADD", "q", "1-1", "job", "x"}), "\"1-1\"");
  EXPECT_EQ(Read(a, "ada"), Reply({Given("1-1", "x")}));
  ASSERT_TRUE(cluster.Settle());
  const std::vector<std::string_view> again = {"XREADGROUP", "GROUP", "g", "ada", "STREAMS", "q", "0"};
  EXPECT_EQ(b.AskList(again), Reply({Given("1-1", "x")}));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(c.Ask({"XPENDING", "q", "g", "-", "+", "10"}).ends_with(", 1]]")) << "given once, by its owner";
  EXPECT_EQ(a.AskList(again), Reply({Given("1-1", "x")}));
  EXPECT_TRUE(a.Ask({"XPENDING", "q", "g", "-", "+", "10"}).ends_with(", 2]]"));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.AskList(again), Reply({Given("1-1", "x")}));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.Ask({"XCLAIM", "q", "g", "ann", "0", "1-1", "JUSTID"}), "[\"1-1\"]") << "its own still, at once";
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
