// Whole leaders on a synchronous network: the path of a write, end to end, and what must hold when it
// is cut anywhere.
#include <gtest/gtest.h>

#include "engine/engine_test_util.h"
#include "engine/rows.h"

namespace polyarch::engine {
namespace {

TEST(Engine, FoundsAndServes) {
  TestCluster cluster;
  TestNode& a = cluster.Add("a");
  ASSERT_TRUE(a.Start().ok());
  EXPECT_TRUE(a.engine().may_write());
  EXPECT_EQ(a.Ask({"SET", "k", "v"}), "+OK");
  EXPECT_EQ(a.Ask({"GET", "k"}), "\"v\"");
  EXPECT_EQ(a.Info("leaders"), "1");
  EXPECT_TRUE(cluster.Settle());
}

TEST(Engine, JoinsThenWrites) {
  TestCluster cluster;
  TestNode& a = cluster.Add("a");
  ASSERT_TRUE(a.Start().ok());
  a.Ask({"SET", "k", "v"});
  TestNode& b = cluster.Add("b");
  ASSERT_TRUE(b.Start().ok());
  EXPECT_FALSE(b.engine().may_write());
  EXPECT_EQ(b.Ask({"SET", "k", "w"}).substr(0, 9), "-HISTORY ");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.Ask({"GET", "k"}), "\"v\"");
  EXPECT_EQ(b.Ask({"SET", "k", "w"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.Ask({"GET", "k"}), "\"w\"");
  EXPECT_EQ(a.Info("leaders"), "2");
  EXPECT_EQ(b.Info("leaders"), "2");
  EXPECT_TRUE(cluster.SameDigest());
}

TEST(Engine, JoinWaitsForItsMember) {
  TestCluster cluster;
  TestNode& a = cluster.Add("a");
  TestNode& b = cluster.Add("b");
  ASSERT_TRUE(b.Start().ok());
  cluster.Run(5000);
  EXPECT_FALSE(b.engine().may_write());
  b.Kill();
  ASSERT_TRUE(b.Start().ok()) << "an unadmitted leader may be restarted";
  ASSERT_TRUE(a.Start().ok());
  EXPECT_TRUE(cluster.Settle());
}

TEST(Engine, ReplicatesThenFallsSilent) {
  Leaders cluster(3);
  for (int i = 0; i < 30; ++i) {
    std::string key = "k" + std::to_string(i);
    EXPECT_EQ(cluster[static_cast<size_t>(i % 3)].Ask({"SET", key, key}), "+OK");
    cluster[static_cast<size_t>(i % 3)].Ask({"INCR", "n"});
  }
  ASSERT_TRUE(cluster.Settle());
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(cluster[i].Ask({"GET", "n"}), "\"30\"");
    EXPECT_EQ(cluster[i].Ask({"DBSIZE"}), "31");
    EXPECT_EQ(cluster[i].Info("conflicts_detected"), "0");
  }
  EXPECT_TRUE(cluster.SameDigest());
  // Each frame went to each other leader once.
  const uint64_t frames = cluster.frames();
  const log::Position end = cluster[0].log().end();
  cluster.Run(60'000);
  EXPECT_EQ(cluster.frames(), frames);
  // Leases of the clock are renewed; nothing else is written.
  EXPECT_LT(cluster[0].log().end() - end, 1000U);
}

TEST(Engine, ConcurrentWritesGoToTheLedger) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  cluster.Hold(a, b);
  cluster.Hold(b, a);
  a.Ask({"SET", "k", "one"});
  b.Ask({"SET", "k", "two"});
  a.Ask({"SET", "same", "x"});
  b.Ask({"SET", "same", "x"});
  cluster.Release(a, b);
  cluster.Release(b, a);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
  EXPECT_EQ(a.Ask({"GET", "k"}), "\"two\"") << "the later stamp";
  EXPECT_EQ(b.Ask({"GET", "k"}), "\"two\"");
  const std::string log = a.Ask({"CONFLICT", "LOG"}) + b.Ask({"CONFLICT", "LOG"});
  EXPECT_NE(log.find("one"), std::string::npos) << log;
  EXPECT_EQ(log.find("same"), std::string::npos) << "equal bytes are no conflict";
  // The next write has seen both.
  a.Ask({"SET", "k", "three"});
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.Ask({"GET", "k"}), "\"three\"");
  EXPECT_EQ(b.Ask({"CONFLICT", "COUNT"}), "0");
}

TEST(Engine, SiblingsUntilResolved) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  EXPECT_EQ(a.Ask({"POLICY", "SET", "s:*", "siblings"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  cluster.Hold(a, b);
  cluster.Hold(b, a);
  a.Ask({"SET", "s:k", "one"});
  b.Ask({"SET", "s:k", "two"});
  cluster.Release(a, b);
  cluster.Release(b, a);
  ASSERT_TRUE(cluster.Settle());
  for (TestNode* node : {&a, &b}) {
    EXPECT_EQ(node->Ask({"GET", "s:k"}).substr(0, 10), "-CONFLICT ");
    EXPECT_EQ(node->Ask({"CONFLICT", "COUNT"}), "1");
    EXPECT_EQ(node->Ask({"CONFLICT", "LOG"}), "[]") << "nothing has lost";
  }
  // Also after a restart.
  a.Kill();
  ASSERT_TRUE(a.Start().ok());
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.Ask({"GET", "s:k"}).substr(0, 10), "-CONFLICT ");
  EXPECT_EQ(a.Ask({"CONFLICT", "LOG"}), "[]") << "replay decides nothing by another policy";
  EXPECT_EQ(b.Ask({"SET", "s:k", "three"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.Ask({"GET", "s:k"}), "\"three\"");
  EXPECT_EQ(a.Ask({"CONFLICT", "COUNT"}), "0");
  EXPECT_TRUE(cluster.SameDigest());
}

// A conflict that was open makes no entry when it is met. When a later policy decides it, what that
// hides must not vanish with the next write.
TEST(Engine, ALaterPolicyDecidesIntoTheLedger) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  a.Ask({"POLICY", "SET", "s:*", "siblings"});
  ASSERT_TRUE(cluster.Settle());
  cluster.Hold(a, b);
  cluster.Hold(b, a);
  a.Ask({"SET", "s:k", "one"});
  b.Ask({"SET", "s:k", "two"});
  cluster.Release(a, b);
  cluster.Release(b, a);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.Ask({"POLICY", "SET", "s:*", "priority", "a", "b"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.Ask({"GET", "s:k"}), "\"one\"");
  EXPECT_EQ(a.Ask({"SET", "s:k", "three"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  for (int life = 0; life < 2; ++life) {
    for (TestNode* node : {&a, &b}) {
      const std::string log = node->Ask({"CONFLICT", "LOG"});
      EXPECT_NE(log.find("\"lost\", [[\"two\""), std::string::npos) << log;
      EXPECT_EQ(node->Info("conflicts_logged"), "1");
      EXPECT_EQ(node->Ask({"CONFLICT", "COUNT"}), "0");
      node->Kill();
      ASSERT_TRUE(node->Start().ok());
    }
    ASSERT_TRUE(cluster.Settle());
  }
  EXPECT_TRUE(cluster.SameDigest());
}

// A handler is configuration: loaded at one leader, it decides what all show; another source changes what is
// shown and nothing that is stored.
TEST(Engine, AHandlerDecidesEverywhere) {
  Leaders cluster(3);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  TestNode& c = cluster[2];
  const std::string join = R"(
    function merge(key, versions, field)
      local out = field and (field .. ':') or ''
      for i, version in ipairs(versions) do
        if version.value == 'bad' then error('bad value') end
        out = out .. (i > 1 and '+' or '') .. (version.value or 'gone') .. '@' .. version.leader
      end
      return out
    end)";
  EXPECT_EQ(a.Ask({"POLICY", "SET", "cart:*", "handler", "join"}),
            "-ERR there is no handler 'join'; load it first with HANDLER LOAD");
  EXPECT_EQ(a.Ask({"HANDLER", "LOAD", "join", "function merg() end"}),
            "-ERR handler 'join' is not loaded: it defines no function merge(key, versions, field)");
  EXPECT_EQ(a.Ask({"HANDLER", "LOAD", "join", join}), "+OK");
  EXPECT_EQ(a.Ask({"POLICY", "SET", "cart:*", "handler", "join"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  auto concurrently = [&](const std::function<void()>& write) {
    cluster.Cut(a, b);
    cluster.Cut(b, c);
    cluster.Cut(a, c);
    write();
    cluster.Heal(a, b);
    cluster.Heal(b, c);
    cluster.Heal(a, c);
    ASSERT_TRUE(cluster.Settle());
  };
  concurrently([&] {
    a.Ask({"SET", "cart:1", "x"});
    b.Ask({"SET", "cart:1", "y"});
    c.Ask({"SET", "cart:1", "z"});
    a.Ask({"HSET", "cart:2", "f", "1"});
    b.Ask({"HSET", "cart:2", "f", "2"});
    a.Ask({"SET", "cart:3", "bad"});
    b.Ask({"SET", "cart:3", "later"});
  });
  for (int life = 0; life < 2; ++life) {
    for (TestNode* node : {&a, &b, &c}) {
      EXPECT_EQ(node->Ask({"GET", "cart:1"}), "\"x@a+y@b+z@c\"");
      EXPECT_EQ(node->Ask({"HGET", "cart:2", "f"}), "\"f:1@a+2@b\"");
      EXPECT_EQ(node->Ask({"GET", "cart:3"}), "\"later\"") << "as lww: the handler failed";
      const std::string list = node->Ask({"HANDLER", "LIST"});
      EXPECT_NE(list.find("bad value"), std::string::npos) << list;
      EXPECT_NE(list.find("[\"cart:*\"]"), std::string::npos) << list;
      EXPECT_EQ(node->Ask({"HANDLER", "DEL", "join"}).substr(0, 4), "-ERR") << "a policy names it";
      node->Kill();
      ASSERT_TRUE(node->Start().ok());
    }
    ASSERT_TRUE(cluster.Settle());
  }
  // A delete is a version, and a write takes what is shown for its base.
  EXPECT_EQ(b.Ask({"APPEND", "cart:1", "!"}), "12");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(c.Ask({"GET", "cart:1"}), "\"x@a+y@b+z@c!\"");
  concurrently([&] {
    a.Ask({"DEL", "cart:1"});
    b.Ask({"SET", "cart:1", "w"});
  });
  for (TestNode* node : {&a, &b, &c}) EXPECT_EQ(node->Ask({"GET", "cart:1"}), "\"gone@a+w@b\"");
  // Another source, and another view of the same versions, at leaders that have heard of it.
  cluster.Cut(a, b);
  cluster.Cut(b, c);
  EXPECT_EQ(c.Ask({"HANDLER", "LOAD", "join", "function merge(key, versions) return #versions end"}), "+OK");
  cluster.Run(1000);
  EXPECT_EQ(a.Ask({"GET", "cart:2"}).substr(0, 10), "-WRONGTYPE");
  EXPECT_EQ(a.Ask({"HGET", "cart:2", "f"}), "\"2\"");
  EXPECT_EQ(b.Ask({"HGET", "cart:2", "f"}), "\"f:1@a+2@b\"");
  cluster.Heal(a, b);
  cluster.Heal(b, c);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
  for (TestNode* node : {&a, &b, &c}) EXPECT_EQ(node->Ask({"HGET", "cart:2", "f"}), "\"2\"");
  EXPECT_EQ(a.Ask({"POLICY", "DEL", "cart:*"}), "1");
  EXPECT_EQ(a.Ask({"HANDLER", "DEL", "join"}), "1");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(c.Ask({"HANDLER", "LIST"}), "[]");
  EXPECT_TRUE(cluster.SameDigest());
}

// A field's own policy, through the reserved database, at both leaders and after a restart; what the log says.
TEST(Engine, FieldsMergeByTheirOwnPolicy) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  EXPECT_EQ(a.Ask({"POLICY", "SET", "h*", "siblings"}), "+OK");
  EXPECT_EQ(a.Ask({"POLICY", "SET", "h*", "FIELD", "list", "merge", "CONCAT"}), "+OK");
  EXPECT_EQ(b.Ask({"POLICY", "SET", "*", "FIELD", "best", "merge", "MAX"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  cluster.Hold(a, b);
  cluster.Hold(b, a);
  a.Ask({"HSET", "h", "best", "12", "list", "x", "name", "one"});
  b.Ask({"HSET", "h", "best", "9", "list", "y", "name", "two"});
  cluster.Release(a, b);
  cluster.Release(b, a);
  ASSERT_TRUE(cluster.Settle());
  for (int life = 0; life < 2; ++life) {
    for (TestNode* node : {&a, &b}) {
      EXPECT_EQ(node->Ask({"POLICY", "GET", "h", "FIELD", "list"}), "\"merge CONCAT\"");
      EXPECT_EQ(node->Ask({"HMGET", "h", "best", "list"}), "[\"12\", \"x/y\"]");
      EXPECT_EQ(node->Ask({"HGET", "h", "name"}).substr(0, 10), "-CONFLICT ");
      const std::string log = node->Ask({"CONFLICT", "LOG"});
      EXPECT_NE(log.find("\"field\", \"best\", \"policy\", \"merge MAX\", \"shown\", [\"12\""), std::string::npos)
          << log;
      EXPECT_NE(log.find("\"field\", \"list\", \"policy\", \"merge CONCAT\""), std::string::npos) << log;
      EXPECT_EQ(log.find("\"field\", \"name\""), std::string::npos) << "that is open: " << log;
      node->Kill();
      ASSERT_TRUE(node->Start().ok());
    }
    ASSERT_TRUE(cluster.Settle());
  }
  // Without its own policy the field is undecided; under the next one the log has it again.
  EXPECT_EQ(a.Ask({"POLICY", "DEL", "*", "FIELD", "best"}), "1");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.Ask({"HGET", "h", "best"}).substr(0, 10), "-CONFLICT ");
  EXPECT_EQ(b.Ask({"POLICY", "SET", "h*", "FIELD", "name", "merge", "MIN"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  for (TestNode* node : {&a, &b}) {
    EXPECT_EQ(node->Ask({"HGET", "h", "name"}), "\"one\"");
    EXPECT_NE(node->Ask({"CONFLICT", "LOG"}).find("\"lost\", [[\"two\""), std::string::npos);
    EXPECT_EQ(node->Ask({"CONFLICT", "COUNT"}), "1");
  }
  EXPECT_EQ(b.Ask({"HSET", "h", "best", "1", "list", "2", "name", "3"}), "0");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.Ask({"CONFLICT", "COUNT"}), "0");
  EXPECT_TRUE(cluster.SameDigest());
}

// What a copy brings is late for a group that has been given later ids, by the author of its entries, too.
TEST(Engine, AGroupIsGivenTheEntriesOfACopyThatComesLate) {
  for (const std::string_view copies : {"COPY", "RENAME"}) {
    Leaders cluster(2);
    TestNode& a = cluster[0];
    TestNode& b = cluster[1];
    a.Ask({"XADD", "s", "1-0", "f", "v"});
    ASSERT_TRUE(cluster.Settle());
    cluster.Cut(a, b);
    b.Ask({copies, "s", "t"});
    a.Ask({"XADD", "t", "9-0", "f", "v"});
    a.Ask({"XGROUP", "CREATE", "t", "g", "0"});
    EXPECT_EQ(a.Ask({"XREADGROUP", "GROUP", "g", "c", "STREAMS", "t", ">"}), "[[\"t\", [[\"9-0\", [\"f\", \"v\"]]]]]");
    cluster.Heal(a, b);
    ASSERT_TRUE(cluster.Settle());
    EXPECT_EQ(b.Ask({"XREADGROUP", "GROUP", "g", "c", "STREAMS", "t", ">"}), "[[\"t\", [[\"1-0\", [\"f\", \"v\"]]]]]") << copies;
    ASSERT_TRUE(cluster.Settle());
    // A copy of the copy takes along what its group was given, and no more.
    EXPECT_EQ(a.Ask({"COPY", "t", "u"}), "1");
    EXPECT_EQ(a.Ask({"XREADGROUP", "GROUP", "g", "c", "STREAMS", "u", ">"}), "null");
    a.Ask({"XADD", "u", "10-0", "f", "v"});
    ASSERT_TRUE(cluster.Settle());
    EXPECT_EQ(b.Ask({"XREADGROUP", "GROUP", "g", "c", "STREAMS", "u", ">"}), "[[\"u\", [[\"10-0\", [\"f\", \"v\"]]]]]");
    ASSERT_TRUE(cluster.Settle());
    EXPECT_TRUE(cluster.SameDigest());
  }
}

TEST(Engine, OvertakingWaitsAtTheGate) {
  Leaders cluster(3);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  TestNode& c = cluster[2];
  cluster.Hold(a, c);
  a.Ask({"SET", "k", "inserted"});
  ASSERT_TRUE(cluster.RunUntil([&] { return b.Ask({"GET", "k"}) == "\"inserted\""; }, 1000));
  b.Ask({"APPEND", "k", "+updated"});
  // b has the insert, too, and is asked for it.
  bool waited = false;
  ASSERT_TRUE(cluster.RunUntil([&] {
    waited |= c.Info("causal_waiting") == "1";
    return c.Ask({"EXISTS", "k"}) == "1";
  }, 10'000));
  EXPECT_TRUE(waited);
  cluster.Release(a, c);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(c.Ask({"GET", "k"}), "\"inserted+updated\"");
  EXPECT_EQ(c.Info("conflicts_detected"), "0");
  EXPECT_TRUE(cluster.SameDigest());
}

TEST(Engine, DeadLeadersChangesComeFromOthers) {
  Leaders cluster(3);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  TestNode& c = cluster[2];
  cluster.Hold(a, c);
  a.Ask({"SET", "k", "v"});
  ASSERT_TRUE(cluster.RunUntil([&] { return b.Ask({"GET", "k"}) == "\"v\""; }, 1000));
  a.PowerCut();
  EXPECT_TRUE(cluster.RunUntil([&] { return c.Ask({"GET", "k"}) == "\"v\""; }, 10'000));
  cluster.Release(a, c);
  ASSERT_TRUE(a.Start().ok());
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

TEST(Engine, HoldsRepliesUntilDurable) {
  TestCluster cluster;
  TestNode& a = cluster.Add("a");
  ASSERT_TRUE(a.Start().ok());
  a.Ask({"SET", "other", "x"});
  ASSERT_TRUE(cluster.Settle());
  a.auto_sync = false;
  while (a.log().syncing()) a.log().CompleteSync();
  EXPECT_EQ(a.Ask({"SET", "k", "v"}), "+OK");
  EXPECT_EQ(a.last_outcome, Outcome::kHeld);
  const log::Position hold = a.engine().hold_position();
  EXPECT_GT(hold, a.engine().durable_position());
  a.Ask({"GET", "k"});
  EXPECT_EQ(a.last_outcome, Outcome::kHeld) << "it shows what is not durable";
  a.Ask({"EXISTS", "other", "k"});
  EXPECT_EQ(a.last_outcome, Outcome::kHeld);
  a.Ask({"DBSIZE"});
  EXPECT_EQ(a.last_outcome, Outcome::kHeld);
  a.Ask({"GET", "other"});
  EXPECT_EQ(a.last_outcome, Outcome::kReplied);
  a.Ask({"SORT_RO", "list", "BY", "nosort", "GET", "o*"});
  EXPECT_EQ(a.last_outcome, Outcome::kHeld) << "what it reads is no argument";
  a.Ask({"PING"});
  EXPECT_EQ(a.last_outcome, Outcome::kReplied);
  EXPECT_EQ(a.Ask({"DEL", "k"}), "1");
  EXPECT_EQ(a.last_outcome, Outcome::kHeld);
  a.Ask({"GET", "k"});
  EXPECT_EQ(a.last_outcome, Outcome::kHeld) << "that it is gone is not durable";
  while (a.log().syncing()) a.log().CompleteSync();
  cluster.Tick();
  while (a.log().syncing()) a.log().CompleteSync();
  EXPECT_GE(a.engine().durable_position(), hold);
  a.Ask({"GET", "k"});
  EXPECT_EQ(a.last_outcome, Outcome::kReplied);
  a.engine().SetDurability(Durability::kEverySecond);
  a.Ask({"SET", "k", "v"});
  EXPECT_EQ(a.last_outcome, Outcome::kReplied);
}

TEST(Engine, FailedSyncEndsTheWritePath) {
  TestCluster cluster;
  TestNode& a = cluster.Add("a");
  ASSERT_TRUE(a.Start().ok());
  cluster.Settle();
  a.log().FailSyncs();
  a.Ask({"SET", "k", "v"});
  cluster.Tick();
  EXPECT_FALSE(a.engine().status().ok());
  EXPECT_EQ(a.Ask({"SET", "k", "w"})[0], '-');
}

TEST(Engine, RestartGoesOnUnderANewIncarnation) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  a.Ask({"SET", "k", "v"});
  a.Ask({"INCR", "n"});
  ASSERT_TRUE(cluster.Settle());
  const std::string digest = a.engine().DigestText();
  const std::string vv = a.engine().VersionVectorText();
  a.Kill();
  ASSERT_TRUE(a.Start().ok());
  EXPECT_EQ(a.engine().DigestText(), digest);
  EXPECT_EQ(a.engine().VersionVectorText(), vv);
  a.Ask({"INCR", "n"});
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(cluster[1].Ask({"GET", "n"}), "\"2\"");
  EXPECT_TRUE(cluster.SameDigest());
}

// What one random client might do to a few keys.
void RandomCommand(TestNode& node, base::Random& random) {
  static const std::vector<std::string> keys = {"a", "b", "c", "d", "e", "f", "n1", "n2", "n3"};
  const std::string& key = keys[random.Below(6)];
  const std::string& number = keys[6 + random.Below(3)];
  const std::string value(random.Below(20), static_cast<char>('a' + random.Below(26)));
  switch (random.Below(14)) {
    case 0: node.Ask({"DEL", key}); break;
    case 1: node.Ask({"SET", key, value, "PX", std::to_string(50 + random.Below(5000))}); break;
    case 2: node.Ask({"PEXPIRE", key, std::to_string(50 + random.Below(5000))}); break;
    case 3: node.Ask({"PERSIST", key}); break;
    case 4: node.Ask({"APPEND", key, "x"}); break;
    case 5: node.Ask({"INCR", number}); break;
    case 6: node.Ask({"INCRBY", number, "-3"}); break;
    case 7: node.Ask({"INCRBYFLOAT", number, "0.5"}); break;
    case 8: node.Ask({"DEL", number}); break;
    case 9: node.Ask({"SET", number, "10"}); break;
    case 10: node.Ask({"RENAME", key, keys[random.Below(6)]}); break;
    case 11:
      if (random.Percent(10)) node.Ask({"FLUSHALL"});
      break;
    case 12: node.Ask({"MSET", key, value, keys[random.Below(6)], "m"}); break;
    default: node.Ask({"SET", key, value}); break;
  }
}

// Killed at any moment of a checkpoint, the recovered state is what it was.
TEST(Engine, CheckpointInTheMiddleOfWritesThenKill) {
  int all_checkpoints = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Leaders cluster(2, seed, [](Options& options) { options.checkpoint_slice_keys = 2; });
    base::Random random(seed * 77);
    int checkpoints = 0;
    for (int round = 0; round < 6; ++round) {
      const bool cut = random.Percent(50);
      if (cut) {
        cluster.Hold(cluster[0], cluster[1]);
        cluster.Hold(cluster[1], cluster[0]);
      }
      const int steps = 10 + static_cast<int>(random.Below(60));
      for (int i = 0; i < steps; ++i) {
        TestNode& node = cluster[random.Below(2)];
        RandomCommand(node, random);
        if (random.Percent(5)) node.engine().StartCheckpoint();
        if (random.Percent(50)) cluster.Tick();
        node.auto_sync = random.Percent(70);
      }
      if (cut) {
        cluster.Release(cluster[0], cluster[1]);
        cluster.Release(cluster[1], cluster[0]);
        cluster.Run(10 * static_cast<int64_t>(random.Below(20)));
      }
      TestNode& victim = cluster[random.Below(2)];
      checkpoints += std::stoi(victim.Info("checkpoints_done"));
      const std::string digest = victim.engine().DigestText();
      const std::string vv = victim.engine().VersionVectorText();
      const std::string open = victim.Info("conflicts_open");
      victim.Kill();
      cluster.Run(10 * static_cast<int64_t>(random.Below(100)));
      base::Status status = victim.Start();
      ASSERT_TRUE(status.ok()) << status.ToString();
      ASSERT_EQ(victim.engine().VersionVectorText(), vv) << "seed " << seed << " round " << round;
      ASSERT_EQ(victim.engine().DigestText(), digest) << "seed " << seed << " round " << round;
      ASSERT_EQ(victim.Info("conflicts_open"), open) << "seed " << seed << " round " << round;
    }
    cluster[0].auto_sync = cluster[1].auto_sync = true;
    ASSERT_TRUE(cluster.Settle()) << "seed " << seed;
    ASSERT_TRUE(cluster.SameDigest()) << "seed " << seed;
    all_checkpoints += checkpoints;
  }
  EXPECT_GT(all_checkpoints, 30);
}

// The policy's change is replayed over keys whose rows are newer: what is open there it has not decided.
TEST(Engine, AReplayedPolicyDecidesNothingOfLaterTimes) {
  Leaders cluster(2, 5, [](Options& options) { options.checkpoint_slice_keys = 1; });
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  auto checkpoint = [&] {
    const uint64_t ticket = a.engine().StartCheckpoint();
    ASSERT_TRUE(cluster.RunUntil([&] { return a.engine().CheckpointDone(ticket); }));
  };
  auto row_of = [&](const char* key) {
    auto row = a.store().Get(storage::Family::kData, DataRowKey(0, key));
    return row.ok() ? *row : std::string();
  };
  a.Ask({"POLICY", "SET", "*", "siblings"});
  ASSERT_TRUE(cluster.Settle());
  checkpoint();
  for (const char* policy : {"lww", "siblings"}) {
    a.Ask({"POLICY", "SET", "*", policy});
    ASSERT_TRUE(cluster.Settle());  // a frame of its own each
  }
  cluster.Hold(a, b);
  cluster.Hold(b, a);
  for (const char* key : {"register", "other"}) {
    a.Ask({"SET", key, "one"});
    b.Ask({"SET", key, "two"});
  }
  a.Ask({"HSET", "hash", "field", "one"});
  b.Ask({"HSET", "hash", "field", "two"});
  cluster.Release(a, b);
  cluster.Release(b, a);
  ASSERT_TRUE(cluster.Settle());
  ASSERT_EQ(a.engine().ledger().size(), 0U);
  const std::string open = a.Info("conflicts_open");
  ASSERT_EQ(open, "3");
  a.engine().StartCheckpoint();
  ASSERT_TRUE(cluster.RunUntil(
      [&] { return !row_of("register").empty() && !row_of("other").empty() && !row_of("hash").empty(); }));
  // The policy's row comes last: here is none of it yet.
  ASSERT_EQ(a.Info("checkpoints_done"), "1");
  a.store().Flush();
  while (a.store().flushing()) a.store().CompleteFlush();
  a.Kill();
  ASSERT_TRUE(a.Start().ok());
  EXPECT_EQ(a.Info("conflicts_open"), open);
  EXPECT_EQ(a.engine().ledger().size(), 0U);
}

// A row that has gone tells nothing of what it held when the replayed frames came.
TEST(Engine, AKeyWhoseRowHasGoneIsNotDecidedAgain) {
  Leaders cluster(3, 7, [](Options& options) { options.checkpoint_slice_keys = 1; });
  TestNode& a = cluster[0];
  auto each = [&](auto what) {
    for (size_t i = 0; i < 3; ++i)
      for (size_t j = 0; j < 3; ++j)
        if (i != j) what(cluster[i], cluster[j]);
  };
  each([&](TestNode& x, TestNode& y) { cluster.Hold(x, y); });
  cluster[1].Ask({"SET", "k", "two"});
  cluster.Tick();
  cluster[2].Ask({"SET", "k", "three"});
  cluster.Tick();
  a.Ask({"SET", "k", "one"});
  const uint64_t ticket = a.engine().StartCheckpoint();
  ASSERT_TRUE(cluster.RunUntil([&] { return a.engine().CheckpointDone(ticket); }, 1000));
  each([&](TestNode& x, TestNode& y) { cluster.Release(x, y); });
  ASSERT_TRUE(cluster.Settle());
  ASSERT_EQ(a.engine().ledger().size(), 2U);
  a.Ask({"DEL", "k"});
  a.Ask({"SET", "other", "x"});  // so that the pass has more to do
  const std::string done = a.Info("checkpoints_done");
  a.engine().StartCheckpoint();
  ASSERT_TRUE(cluster.RunUntil([&] { return !a.store().Get(storage::Family::kData, DataRowKey(0, "k")).ok(); }));
  ASSERT_EQ(a.Info("checkpoints_done"), done);
  a.store().Flush();
  while (a.store().flushing()) a.store().CompleteFlush();
  a.Kill();
  ASSERT_TRUE(a.Start().ok());
  EXPECT_EQ(a.engine().ledger().size(), 2U);
}

// One record of the log is one message to each peer, and there is a largest one.
TEST(Engine, WhatClearsManyCountersIsManyChanges) {
  Leaders cluster(2, 9);
  TestNode& a = cluster[0];
  size_t largest = 0;
  cluster.on_way = [&](TestNode&, std::string& message) {
    largest = std::max(largest, message.size());
    return true;
  };
  const std::string name(60'000, 'x');
  const std::vector<std::vector<std::string_view>> ends = {
      {"DEL", "big"}, {"EXPIRE", "big", "0"}, {"SET", "big", "v"}, {"PEXPIRE", "big", "100"}, {"RENAME", "big", "other"}};
  for (const auto& end : ends) {
    a.Ask({"DEL", "big"});
    for (int i = 0; i < 200; ++i) a.Ask({"HINCRBY", "big", std::to_string(i) + name, "1"});
    ASSERT_TRUE(cluster.Settle());
    largest = 0;
    const int before = std::stoi(a.Info("changes_local"));
    EXPECT_NE(a.AskList(end)[0], '-') << end[0];
    cluster.Run(10'000);
    ASSERT_TRUE(cluster.Settle());
    EXPECT_TRUE(cluster.SameDigest());
    EXPECT_EQ(cluster[1].Ask({"TYPE", "big"}), end[0] == "SET" ? "+string" : "+none");
    EXPECT_GE(std::stoi(a.Info("changes_local")) - before, 3) << end[0];
    EXPECT_LT(largest, size_t{20} << 20) << end[0] << ": RENAME writes the target in one, 12 MB";
  }
}

// A power cut loses nothing that was acknowledged, and what others got comes back.
TEST(Engine, PowerCutsConverge) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Leaders cluster(3, seed, [](Options& options) { options.checkpoint_slice_keys = 2; });
    base::Random random(seed * 31);
    std::map<std::string, int64_t> acknowledged;
    for (int round = 0; round < 5; ++round) {
      for (int i = 0; i < 40; ++i) {
        const size_t n = random.Below(3);
        RandomCommand(cluster[n], random);
        cluster[n].auto_sync = random.Percent(70);
        const std::string counter = "only" + std::to_string(n);
        const log::Position before = cluster[n].engine().hold_position();
        cluster[n].Ask({"SET", counter, std::to_string(round * 100 + i)});
        if (cluster[n].engine().durable_position() >= cluster[n].engine().hold_position() &&
            cluster[n].engine().hold_position() > before) {
          acknowledged[counter] = round * 100 + i;
        }
        if (random.Percent(3)) cluster[n].engine().StartCheckpoint();
        if (random.Percent(40)) cluster.Tick();
      }
      const size_t v = random.Below(3);
      cluster[v].PowerCut();
      base::Status status = cluster[v].Start();
      ASSERT_TRUE(status.ok()) << status.ToString();
    }
    for (size_t n = 0; n < 3; ++n) cluster[n].auto_sync = true;
    ASSERT_TRUE(cluster.Settle()) << "seed " << seed;
    ASSERT_TRUE(cluster.SameDigest()) << "seed " << seed;
    for (const auto& [key, value] : acknowledged) {
      const std::string text = cluster[0].Ask({"GET", key});
      if (text == "null") continue;  // flushed
      ASSERT_GE(std::stoll(text.substr(1)), value) << "seed " << seed << " " << key;
    }
    for (size_t n = 0; n < 3; ++n) {
      for (const std::string& line : cluster[n].reports()) {
        ASSERT_NE(line.find("fork") == std::string::npos, false) << line;
      }
    }
  }
}

TEST(Engine, ExpiredKeysGoEverywhereThenSilence) {
  Leaders cluster(3);
  cluster[0].Ask({"SET", "a", "v", "PX", "300"});
  cluster[1].Ask({"SET", "b", "v"});
  cluster[1].Ask({"INCR", "n"});
  ASSERT_TRUE(cluster.Settle());
  cluster[2].Ask({"PEXPIRE", "b", "300"});
  cluster[2].Ask({"PEXPIRE", "n", "300"});
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster[1].Ask({"EXISTS", "a", "b", "n"}) == "0"; }, 2000));
  // Hidden at once; then removed, and nothing is left of them.
  auto gone = [&] {
    for (size_t i = 0; i < 3; ++i) {
      if (cluster[i].Ask({"DBSIZE"}) != "0" || cluster[i].Info("residue_keys") != "0") return false;
    }
    return cluster.Settled();
  };
  ASSERT_TRUE(cluster.RunUntil(gone, 60'000)) << cluster[0].Info("residue_keys") << cluster[0].Info("stable_vv")
                                              << "\n" << cluster[0].Info("vv");
  EXPECT_TRUE(cluster.SameDigest());
  const uint64_t frames = cluster.frames();
  cluster.Run(60'000);
  EXPECT_EQ(cluster.frames(), frames);
}

// (All of its counters were cleared in one go: seconds for a million.)
TEST(Engine, AnExpiredKeyWithManyCountersGoesInParts) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  size_t largest = 0;
  cluster.on_way = [&](TestNode&, std::string& message) {
    largest = std::max(largest, message.size());
    return true;
  };
  const std::string name(100, 'f');
  for (int i = 0; i < 3500; ++i) {
    a.Ask({"HINCRBY", "h", std::to_string(i) + name, "1"});
    if (i % 500 == 0) cluster.Tick();
  }
  a.Ask({"HSET", "h", "plain", "v"});
  a.Ask({"PEXPIRE", "h", "300"});
  a.Ask({"SET", "small", "v", "PX", "300"});
  command::Client listener;
  listener.id = 500;
  listener.authenticated = true;
  a.engine().SetNotices(command::kNoticeExpired | command::kNoticeKeyevent);
  (void)a.AskAs(listener, {"SUBSCRIBE", "__keyevent@0__:expired"});
  ASSERT_TRUE(cluster.Settle());
  largest = 0;
  a.pushed.clear();
  auto exists = [&] { return a.Ask({"EXISTS", "h"}) == "1"; };
  ASSERT_TRUE(cluster.RunUntil([&] { return !exists(); }, 2000));
  ASSERT_TRUE(cluster.RunUntil([&] {
    EXPECT_FALSE(exists()) << "nobody sees its parts go";
    EXPECT_EQ(cluster[1].Ask({"EXISTS", "h"}), "0");
    return a.engine().expired_keys() == 2;
  }));
  cluster.Run(100);
  EXPECT_EQ(a.engine().expired_keys(), 2U) << "each key once, with its last part";
  const std::string& told = a.pushed[500];
  const size_t first = told.find("$1\r\nh\r\n");
  EXPECT_NE(first, std::string::npos) << told;
  EXPECT_EQ(told.find("$1\r\nh\r\n", first + 1), std::string::npos) << told;
  a.engine().ForgetClient(500);
  EXPECT_GT(largest, 100'000U);
  EXPECT_LT(largest, 250'000U) << "of some 400,000";
  ASSERT_TRUE(cluster.RunUntil([&] {
    return cluster.Settled() && a.Info("residue_keys") == "0" && cluster[1].Info("residue_keys") == "0";
  }));
  EXPECT_EQ(a.Ask({"DBSIZE"}), "0");
  EXPECT_EQ(cluster[1].Ask({"DBSIZE"}), "0");
  EXPECT_TRUE(cluster.SameDigest());
  EXPECT_EQ(a.Ask({"HINCRBY", "h", "1" + name, "1"}), "1") << "a life of its own";
}

// Whose expiry is removed is asked again before each part: by then the key may be another one.
TEST(Engine, WhatIsWrittenBetweenThePartsOfAnExpiredKeyStays) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  auto fill = [&](const std::string& key) {
    for (int i = 0; i < 3500; ++i) {
      a.Ask({"HINCRBY", key, "f" + std::to_string(i), "1"});
      if (i % 500 == 0) cluster.Tick();
    }
  };
  auto stored = [&](const std::string& key) { return a.engine().keys().StoredElements(a.engine().keys().Ref(0, key)); };
  auto live = [&](const std::string& key) { return a.engine().keys().LiveCounters(a.engine().keys().Ref(0, key)); };
  // Flushed after its first part: there is nothing to remove any more.
  fill("h");
  a.Ask({"PEXPIRE", "h", "300"});
  ASSERT_TRUE(cluster.Settle());
  ASSERT_TRUE(cluster.RunUntil([&] { return live("h") < 3500; }, 10'000));
  ASSERT_GT(live("h"), 1000U);
  EXPECT_EQ(a.Ask({"FLUSHALL"}), "+OK");
  cluster.Run(200);
  EXPECT_EQ(a.engine().expired_keys(), 0U) << "it was deleted, and has not expired";
  // Written anew after its first part, to live for a moment only.
  fill("k");
  a.Ask({"PEXPIRE", "k", "300"});
  ASSERT_TRUE(cluster.Settle());
  ASSERT_TRUE(cluster.RunUntil([&] { return live("k") < 3500; }, 10'000));
  ASSERT_GT(live("k"), 1000U);
  EXPECT_EQ(a.Ask({"SET", "k", "v", "PX", "5"}), "+OK");
  cluster.Hold(cluster[1], a);  // its clock, as far as is known here, stands still
  cluster.Run(300);
  EXPECT_EQ(a.Ask({"EXISTS", "k"}), "0");
  EXPECT_EQ(a.engine().expired_keys(), 0U) << "not all have passed its new end";
  cluster.Release(cluster[1], a);
  ASSERT_TRUE(cluster.RunUntil([&] { return a.engine().expired_keys() == 1; }));
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.Settled() && stored("k") == 0 && stored("h") == 0; }));
  EXPECT_TRUE(cluster.SameDigest());
}

// What expires goes as fast as it comes, and what is left of it, too: else memory grows with every
// session that ends.
TEST(Engine, ManyExpiringKeysLeaveNothingSoon) {
  Leaders cluster(2);
  constexpr int kKeys = 60'000;
  for (int i = 0; i < kKeys; i += 2) {
    const std::string n = std::to_string(i);
    cluster[i % 4 / 2].Ask({"SET", "session:" + n, "v", "PX", "1000"});
    if (i % 20 != 0) continue;
    cluster[0].Ask({"INCR", "rate:" + n});
    cluster[0].Ask({"PEXPIRE", "rate:" + n, "1000"});
  }
  ASSERT_TRUE(cluster.Settle());
  auto gone = [&] {
    for (size_t i = 0; i < 2; ++i) {
      if (cluster[i].Ask({"DBSIZE"}) != "0" || cluster[i].Info("residue_keys") != "0") return false;
    }
    return true;
  };
  ASSERT_TRUE(cluster.RunUntil(gone, 15'000)) << cluster[0].Info("residue_keys");
  EXPECT_TRUE(cluster.SameDigest());
}

TEST(Engine, OneCutLeaderHoldsBackRemovalNotHiding) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  cluster.Cut(a, b);
  a.Ask({"SET", "k", "v", "PX", "300"});
  cluster.Run(20'000);
  EXPECT_EQ(a.Ask({"EXISTS", "k"}), "0");
  EXPECT_EQ(a.Info("vv").find("b") != std::string::npos, true);
  cluster.Heal(a, b);
  ASSERT_TRUE(cluster.RunUntil([&] {
    return cluster.Settled() && a.Info("residue_keys") == "0" && b.Info("residue_keys") == "0" &&
           a.Ask({"DBSIZE"}) == "0" && b.Ask({"DBSIZE"}) == "0";
  }));
  EXPECT_TRUE(cluster.SameDigest());
}

TEST(Engine, ClearedCountersLeaveNothing) {
  Leaders cluster(3);
  for (size_t i = 0; i < 3; ++i) cluster[i].Ask({"INCRBY", "n", "5"});
  ASSERT_TRUE(cluster.Settle());
  cluster.Hold(cluster[0], cluster[2]);
  cluster[0].Ask({"INCR", "n"});   // not seen by the delete
  cluster[2].Ask({"DEL", "n"});
  cluster.Release(cluster[0], cluster[2]);
  ASSERT_TRUE(cluster.Settle());
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(cluster[i].Ask({"GET", "n"}), "\"1\"");
  cluster[1].Ask({"DEL", "n"});
  ASSERT_TRUE(cluster.RunUntil([&] {
    for (size_t i = 0; i < 3; ++i) {
      if (cluster[i].Info("residue_keys") != "0") return false;
    }
    return cluster.Settled();
  }));
  cluster[0].Ask({"INCR", "n"});
  ASSERT_TRUE(cluster.Settle());
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(cluster[i].Ask({"GET", "n"}), "\"1\"");
  EXPECT_TRUE(cluster.SameDigest());
}

// A slice looks at so many elements, and goes on where it stopped, within one key too.
TEST(Engine, ClearedCountersOfOneKeyGoSliceBySlice) {
  Leaders cluster(2);
  constexpr int kMembers = 3'500;
  for (int i = 0; i < kMembers; ++i) cluster[0].Ask({"ZINCRBY", "lb", "1", "m" + std::to_string(i)});
  ASSERT_TRUE(cluster.Settle());
  const uint64_t before = cluster[0].engine().residue_looked_at();
  cluster[0].Ask({"DEL", "lb"});
  EXPECT_NE(cluster[0].Info("residue_keys"), "0");
  uint64_t last = before;
  uint64_t most = 0;
  auto gone = [&] {
    const uint64_t now = cluster[0].engine().residue_looked_at();
    most = std::max(most, now - last);
    last = now;
    for (size_t i = 0; i < 2; ++i) {
      if (cluster[i].Info("residue_keys") != "0") return false;
    }
    return cluster.Settled();
  };
  ASSERT_TRUE(cluster.RunUntil(gone));
  EXPECT_EQ(most, 1'000U);
  EXPECT_GT(last - before, static_cast<uint64_t>(kMembers));
  EXPECT_TRUE(cluster.SameDigest());
}

TEST(Engine, CloneTakesAnotherName) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  b.Ask({"SET", "k", "v"});
  ASSERT_TRUE(cluster.Settle());
  TestNode& clone = cluster.Add("b", [](Options& options) { options.join.clear(); });
  clone.SetDisk(b.disk().Copy());
  cluster.Run(1000);
  ASSERT_TRUE(clone.Start().ok());
  clone.Ask({"SET", "from", "clone"});
  b.Ask({"SET", "to", "original"});
  ASSERT_TRUE(cluster.RunUntil([&] {
    return clone.engine().leader_id() != "b" || b.engine().leader_id() != "b";
  }, 30'000));
  EXPECT_EQ(b.engine().leader_id(), "b") << "the later one takes another name";
  EXPECT_EQ(clone.engine().leader_id().substr(0, 2), "b~");
  EXPECT_TRUE(clone.Reported("is a copied directory") || clone.Reported("copied directory"));
  clone.Ask({"SET", "k", "clone"});
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
  EXPECT_EQ(a.Ask({"MGET", "k", "from", "to"}), "[\"clone\", \"clone\", \"original\"]");
  EXPECT_EQ(a.Info("leaders"), "3");
  EXPECT_EQ(a.Info("forks_detected"), "0");
  // The copy has written its address under the name of the original, which must be found all the same.
  auto address_of_b = [&] {
    for (const command::LeaderInfo& leader : a.engine().Leaders()) {
      if (leader.id == "b") return leader.address;
    }
    return std::string();
  };
  ASSERT_NE(b.options().advertise, clone.options().advertise);
  EXPECT_TRUE(cluster.RunUntil([&] { return address_of_b() == b.options().advertise; }, 20'000)) << address_of_b();
  // Its name survives a restart.
  const std::string name = clone.engine().leader_id();
  clone.Kill();
  ASSERT_TRUE(clone.Start().ok());
  EXPECT_EQ(clone.engine().leader_id(), name);
  ASSERT_TRUE(cluster.Settle());
}

TEST(Engine, RestoredBackupLosesNothingThatOthersHold) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  b.Ask({"SET", "k", "old"});
  ASSERT_TRUE(cluster.Settle());
  TestNode::Disk backup = b.disk().Copy();
  b.Ask({"SET", "k", "new"});
  b.Ask({"SET", "later", "x"});
  ASSERT_TRUE(cluster.Settle());
  b.Kill();
  b.SetDisk(backup);
  cluster.Cut(a, b);
  ASSERT_TRUE(b.Start().ok());
  EXPECT_EQ(b.Ask({"GET", "k"}), "\"old\"");
  b.Ask({"SET", "mine", "y"});
  cluster.Heal(a, b);
  ASSERT_TRUE(cluster.Settle());
  for (TestNode* node : {&a, &b}) {
    EXPECT_EQ(node->Ask({"MGET", "k", "later", "mine"}), "[\"new\", \"x\", \"y\"]");
    EXPECT_EQ(node->Info("forks_detected"), "0");
  }
  EXPECT_TRUE(cluster.SameDigest());
}

TEST(Engine, BadClockIsSeenAndReplaced) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  b.SetClockOffset(3600'000);
  b.Ask({"SET", "k", "soon"});
  cluster.Run(6000);  // leases let its clock on
  b.Ask({"SET", "k", "from the future"});
  ASSERT_TRUE(cluster.RunUntil([&] { return a.Ask({"GET", "k"}) == "\"from the future\""; }));
  a.Ask({"SET", "k", "now"});
  ASSERT_TRUE(cluster.RunUntil([&] { return b.Ask({"GET", "k"}) == "\"now\""; }));
  EXPECT_TRUE(a.Reported("stamps of leader b are "));
  EXPECT_TRUE(a.Reported(" s ahead of the clock of a: "));
  EXPECT_NE(a.Info("stamps_from_the_future"), "0");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// A total that leaves the range of numbers must not reach the log: peers would refuse the change.
TEST(Engine, FloatTotalsStayFinite) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  EXPECT_EQ(a.Ask({"SET", "n", "-1.1e4932"}), "+OK");
  a.Ask({"INCRBYFLOAT", "n", "1.1e4932"});
  a.Ask({"INCRBYFLOAT", "n", "1.1e4932"});
  a.Ask({"SET", "after", "x"});
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(cluster[1].Ask({"GET", "after"}), "\"x\"");
  EXPECT_EQ(cluster[1].Ask({"GET", "n"}), a.Ask({"GET", "n"}));
  a.Kill();
  ASSERT_TRUE(a.Start().ok());
  EXPECT_TRUE(cluster.SameDigest());
}

TEST(Engine, InfoTellsWhatMonitorsOfRedisLookFor) {
  Leaders cluster(2, 5);
  TestNode& a = cluster[0];
  const std::string name = a.Info("master_replid");
  EXPECT_EQ(name.size(), 40U);
  EXPECT_EQ(name.find_first_not_of("0123456789abcdef"), std::string::npos) << name;
  EXPECT_NE(name, cluster[1].Info("master_replid"));
  EXPECT_EQ(a.Info("second_repl_offset"), "-1");
  EXPECT_EQ(a.Info("rdb_last_bgsave_time_sec"), "-1");
  EXPECT_EQ(a.Info("rdb_current_bgsave_time_sec"), "-1");
  a.Ask({"SET", "k", "v"});
  a.engine().StartCheckpoint();
  EXPECT_EQ(a.Info("rdb_current_bgsave_time_sec"), "0");
  ASSERT_TRUE(cluster.RunUntil([&] { return a.Info("checkpoints_done") == "1"; }));
  EXPECT_EQ(a.Info("rdb_current_bgsave_time_sec"), "-1");
  EXPECT_NE(a.Info("rdb_last_bgsave_time_sec"), "-1");
  EXPECT_EQ(a.Info("aof_current_size"), a.Info("log_retained_bytes"));
  for (const char* status : {"rdb_last_bgsave_status", "aof_last_bgrewrite_status", "aof_last_write_status"})
    EXPECT_EQ(a.Info(status), "ok");
  a.Kill();
  ASSERT_TRUE(a.Start().ok());
  EXPECT_EQ(a.Info("master_replid"), name);
}

}  // namespace
}  // namespace polyarch::engine
