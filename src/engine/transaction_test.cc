// Transactions across leaders, disks and state transfers: all or nothing; WATCH sees what others
// do.
#include <gtest/gtest.h>

#include "engine/engine_test_util.h"

namespace polyarch::engine {
namespace {

class TransactionTest : public testing::Test {
 protected:
  TestNode& Add(const char* name, std::function<void(Options&)> tune = nullptr) {
    TestNode& node = cluster.Add(name, std::move(tune));
    EXPECT_TRUE(node.Start().ok());
    EXPECT_TRUE(cluster.RunUntil([&] { return node.engine().may_write(); }));
    return node;
  }
  static std::string Transfer(TestNode& node) {
    node.Ask({"MULTI"});
    node.Ask({"INCRBY", "from", "-3"});
    node.Ask({"SET", "between", "x"});
    node.Ask({"INCRBY", "to", "3"});
    return node.Ask({"EXEC"});
  }
  static int Sum(TestNode& node) {
    auto number = [&](const char* key) {
      const std::string text = node.Ask({"GET", key});
      return text == "null" ? 0 : std::stoi(text.substr(1));
    };
    return number("from") + number("to");
  }
  TestCluster cluster;
};

TEST_F(TransactionTest, IsOneChangeEvenWhereFramesAreTiny) {
  TestNode& a = Add("a", [](Options& o) { o.frame_bytes_max = 16; });
  TestNode& b = Add("b");
  ASSERT_TRUE(cluster.Settle());
  const int before = std::stoi(a.Info("changes_local"));
  EXPECT_EQ(Transfer(a), "[-3, +OK, 3]");
  EXPECT_EQ(std::stoi(a.Info("changes_local")), before + 1);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(Sum(b), 0);
    cluster.Tick();
  }
  EXPECT_EQ(b.Ask({"GET", "to"}), "\"3\"");
}

TEST_F(TransactionTest, ACheckpointThatItAsksForBeginsBehindIt) {
  TestNode& a = Add("a");
  ASSERT_TRUE(cluster.Settle());
  const int before = std::stoi(a.Info("checkpoints_done"));
  a.Ask({"MULTI"});
  a.Ask({"SET", "k", "v"});
  a.Ask({"BGSAVE"});
  a.Ask({"SET", "k", "w"});
  EXPECT_EQ(a.Ask({"EXEC"}), "[+OK, +Background saving started, +OK]");
  ASSERT_TRUE(cluster.RunUntil([&] { return std::stoi(a.Info("checkpoints_done")) > before; }));
  a.Kill();
  ASSERT_TRUE(a.Start().ok());
  EXPECT_EQ(a.Ask({"GET", "k"}), "\"w\"");
}

class OneClient final : public NullServer {
 public:
  explicit OneClient(command::Client& client) : client_(client) {}
  void ForEachClient(const std::function<void(command::Client&)>& visit) override { visit(client_); }

 private:
  command::Client& client_;
};

TEST_F(TransactionTest, ThatClosesItsConnectionStillWaitsForTheDisk) {
  TestNode& a = Add("a");
  ASSERT_TRUE(cluster.Settle());
  a.auto_sync = false;
  command::Client client;
  client.id = 77;
  client.authenticated = true;
  OneClient server(client);
  resp::Buffer out;
  auto ask = [&](std::vector<std::string_view> args) { return a.engine().Execute(client, args, out, server); };
  cluster.Tick();
  a.engine().BeginTick(a.Now());
  EXPECT_EQ(ask({"MULTI"}), Outcome::kReplied);
  EXPECT_EQ(ask({"SET", "k", "v"}), Outcome::kReplied);
  EXPECT_EQ(ask({"CLIENT", "KILL", "ID", "77", "SKIPME", "no"}), Outcome::kReplied);
  EXPECT_EQ(ask({"EXEC"}), Outcome::kHeldClose);
  a.engine().EndTick();
}

TEST_F(TransactionTest, ItsReplyWaitsForTheDisk) {
  TestNode& a = Add("a");
  cluster.Settle();
  a.auto_sync = false;
  EXPECT_EQ(Transfer(a), "[-3, +OK, 3]");
  EXPECT_EQ(a.last_outcome, Outcome::kHeld);
  // A transaction that only reads shows what may still be lost.
  a.Ask({"MULTI"});
  EXPECT_EQ(a.Ask({"GET", "to"}), "+QUEUED");
  EXPECT_EQ(a.last_outcome, Outcome::kReplied);
  EXPECT_EQ(a.Ask({"EXEC"}), "[\"3\"]");
  EXPECT_EQ(a.last_outcome, Outcome::kHeld);
}

TEST_F(TransactionTest, APowerCutLeavesAllOrNothing) {
  bool lost = false;
  bool kept = false;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    TestCluster one(seed);
    TestNode& a = one.Add("a", [](Options& o) { o.frame_bytes_max = 16; });
    ASSERT_TRUE(a.Start().ok());
    ASSERT_TRUE(one.Settle());
    a.auto_sync = false;
    for (int i = 0; i < 4; ++i)
      Transfer(a);
    a.PowerCut();
    a.auto_sync = true;
    ASSERT_TRUE(a.Start().ok());
    EXPECT_EQ(Sum(a), 0) << seed;
    const std::string to = a.Ask({"GET", "to"});
    lost |= to != "\"12\"";
    kept |= to != "null";
  }
  EXPECT_TRUE(lost);
  EXPECT_TRUE(kept);
}

TEST_F(TransactionTest, WatchSeesOtherLeaders) {
  TestNode& a = Add("a");
  TestNode& b = Add("b");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.Ask({"WATCH", "k"}), "+OK");
  b.Ask({"SET", "k", "theirs"});
  // It has not come yet: this leader cannot know.
  a.Ask({"MULTI"});
  a.Ask({"GET", "k"});
  EXPECT_EQ(a.Ask({"EXEC"}), "[null]");
  ASSERT_TRUE(cluster.Settle());
  for (const auto& theirs : std::vector<std::vector<std::string_view>>{{"SET", "k", "again"},
                                                                       {"DEL", "k"},
                                                                       {"RPUSH", "k", "x"},
                                                                       {"RENAME", "k", "l"},
                                                                       {"RENAME", "l", "k"},
                                                                       {"FLUSHDB"},
                                                                       {"INCR", "k"},
                                                                       {"EXPIRE", "k", "100"},
                                                                       {"FLUSHALL"}}) {
    a.Ask({"WATCH", "k"});
    b.AskList(theirs);
    ASSERT_TRUE(cluster.Settle());
    a.Ask({"MULTI"});
    a.Ask({"PING"});
    EXPECT_EQ(a.Ask({"EXEC"}), "null") << theirs[0];
  }
  // Others' keys, and the removal of residue, are none of its business.
  a.Ask({"WATCH", "k"});
  b.Ask({"SET", "other", "x"});
  b.Ask({"DEL", "other"});
  ASSERT_TRUE(cluster.Settle());
  cluster.Run(5000);
  a.Ask({"MULTI"});
  a.Ask({"PING"});
  EXPECT_EQ(a.Ask({"EXEC"}), "[+PONG]");
}

TEST_F(TransactionTest, WatchSeesAPolicyThatChanges) {
  TestNode& a = Add("a");
  a.Ask({"SET", "k", "1"});
  a.Ask({"WATCH", "k"});
  a.Ask({"POLICY", "SET", "k", "siblings"});
  cluster.Tick();
  a.Ask({"MULTI"});
  a.Ask({"PING"});
  EXPECT_EQ(a.Ask({"EXEC"}), "null");
}

TEST_F(TransactionTest, WhatItBringsIsServedToWhoWaits) {
  TestNode& a = Add("a");
  command::Client waiting;
  waiting.id = 77;
  waiting.authenticated = true;
  a.AskAs(waiting, {"BLPOP", "queue", "0"});
  ASSERT_EQ(a.last_outcome, Outcome::kSuspended);
  a.Ask({"MULTI"});
  a.Ask({"RPUSH", "queue", "x"});
  a.Ask({"LLEN", "queue"});
  EXPECT_EQ(a.Ask({"EXEC"}), "[1, 1]");
  EXPECT_EQ(a.AskAs(waiting, {"BLPOP", "queue", "0"}), "[\"queue\", \"x\"]");
  EXPECT_EQ(a.Ask({"EXISTS", "queue"}), "0");
  a.engine().ForgetClient(waiting.id);
}

}  // namespace
}  // namespace polyarch::engine
