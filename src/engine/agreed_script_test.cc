// Scripts, and whoever else writes by other ways than a command of its own, on keys that are agreed on.
#include "engine/agreed_fixture.h"

namespace polyarch::engine {
namespace {

constexpr char kUnlock[] =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) "
    "else return 0 end";

TEST_F(Agreed, AScriptOfOneKeyIsOneRound) {
  Begin();
  EXPECT_EQ(Do(a, {"SET", "s:lock", "me", "NX"}), "+OK");
  // At a leader that has not heard of it: the script runs on what a majority holds, not on what is shown there.
  EXPECT_EQ(Do(b, {"EVAL", kUnlock, "1", "s:lock", "other"}), "0");
  EXPECT_EQ(Do(c, {"EVAL", kUnlock, "1", "s:lock", "me"}), "1");
  EXPECT_EQ(Do(b, {"SYNC", "READ", "s:lock"}).substr(0, 5), "[null");
  // Several commands of it, and an error in the middle: what was done before stays, as ever.
  EXPECT_EQ(Do(a,
               {"EVAL",
                "redis.call('hset', KEYS[1], 'f', ARGV[1]) redis.call('hincrby', KEYS[1], 'f', 1) "
                "return redis.call('hget', KEYS[1], 'f')",
                "1",
                "s:h",
                "41"}),
            "\"42\"");
  EXPECT_TRUE(Do(a,
                 {"EVAL",
                  "redis.call('set', KEYS[1], 'x') return redis.call('incr', KEYS[1])",
                  "1",
                  "s:e"})
                  .starts_with("-ERR value is not an integer"));
  ASSERT_TRUE(cluster.Settle());
  for (TestNode* node : {&a, &b, &c}) {
    EXPECT_EQ(node->Ask({"GET", "s:lock"}), "null");
    EXPECT_EQ(node->Ask({"HGET", "s:h", "f"}), "\"42\"");
    EXPECT_EQ(node->Ask({"GET", "s:e"}), "\"x\"");
  }
  EXPECT_TRUE(cluster.SameDigest());
}

TEST_F(Agreed, AScriptByItsHashIsOneRound) {
  Begin();
  const std::string sha = a.Ask({"SCRIPT", "LOAD", kUnlock});
  ASSERT_EQ(sha.size(), 42U) << sha;
  EXPECT_EQ(Do(a, {"SET", "s:lock", "me"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(Do(b, {"EVALSHA", sha.substr(1, 40), "1", "s:lock", "me"}), "1");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.Ask({"GET", "s:lock"}), "null");
}

TEST_F(Agreed, AScriptThatReachesFurtherDoesNothing) {
  Begin();
  EXPECT_EQ(Do(a, {"SET", "s:k", "1"}), "+OK");
  const std::string write_both = "redis.call('set', 'o', 'x') return redis.call('set', 's:k', '2')";
  // In a round; as it runs here; with the error caught.
  EXPECT_TRUE(Do(a, {"EVAL", write_both, "1", "s:k"}).starts_with("-CROSSSYNC a script whose one key"));
  EXPECT_TRUE(Do(a, {"EVAL", "return redis.call('get', 'o')", "1", "s:k"}).starts_with("-CROSSSYNC "));
  EXPECT_TRUE(Do(a, {"EVAL", "redis.call('select', 1) return redis.call('set', KEYS[1], '2')", "1", "s:k"})
                  .starts_with("-CROSSSYNC "));
  EXPECT_TRUE(a.Ask({"EVAL", write_both, "0"}).starts_with("-CROSSSYNC a script writes a key"));
  EXPECT_TRUE(a.Ask({"EVAL", write_both, "2", "s:k", "o"}).starts_with("-CROSSSYNC "));
  EXPECT_TRUE(a.Ask({"EVAL",
                     "redis.call('set', 'o', 'x') redis.pcall('set', 's:k', '2') return 'went on'",
                     "0"})
                  .starts_with("-CROSSSYNC "));
  EXPECT_TRUE(a.Ask({"EVAL", "return redis.call('flushall')", "0"}).starts_with("-CROSSSYNC "));
  EXPECT_TRUE(Do(a, {"EVAL", "return redis.call('lpush', KEYS[1], 'x')", "1", "s:l"})
                  .starts_with("-CROSSSYNC "));
  EXPECT_EQ(a.Ask({"FUNCTION",
                   "LOAD",
                   "#!lua name=l\nredis.register_function('f', function(keys, args) "
                   "redis.call('set', 'o', 'x') return redis.call('set', keys[1], '2') end)"}),
            "\"l\"");
  EXPECT_TRUE(a.Ask({"FCALL", "f", "1", "s:k"}).starts_with("-CROSSSYNC "));
  EXPECT_EQ(a.Ask({"GET", "o"}), "null");
  EXPECT_EQ(a.Ask({"FLUSHALL"}).substr(0, 11), "-CROSSSYNC ");
  // Reading is free, for what names more keys than that one, or none.
  EXPECT_EQ(a.Ask({"EVAL", "return redis.call('set', KEYS[1], redis.call('get', KEYS[2]))", "2", "o", "s:k"}),
            "+OK");
  EXPECT_EQ(a.Ask({"EVAL_RO", "return redis.call('get', KEYS[1])", "1", "s:k"}), "\"1\"");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(c.Ask({"MGET", "o", "s:k"}), "[\"1\", \"1\"]");
  EXPECT_TRUE(cluster.SameDigest());
}

TEST_F(Agreed, AScriptInATransactionTakesItAllBack) {
  Begin();
  EXPECT_EQ(Do(a, {"SET", "s:k", "1"}), "+OK");
  const std::vector<std::vector<std::string_view>> transactions[] = {
      {{"SET", "o", "x"}, {"EVAL", "return redis.call('set', 's:k', '2')", "0"}},
      {{"EVAL", "return redis.call('set', KEYS[1], '2')", "1", "s:k"}},
      {{"SET", "s:k", "2"}, {"EVAL", "return redis.call('set', 'o', 'x')", "1", "s:k"}},
  };
  for (const auto& commands : transactions) {
    Session client(a);
    EXPECT_EQ(client.Ask({"MULTI"}), "+OK");
    for (const auto& command : commands)
      EXPECT_EQ(client.Ask(command), "+QUEUED");
    EXPECT_TRUE(client.Ask({"EXEC"}).starts_with("-CROSSSYNC ")) << client.reply();
    EXPECT_EQ(client.Ask({"MGET", "o", "s:k"}), "[null, \"1\"]");
  }
}

TEST_F(Agreed, AScriptWritesWhatIsOrdinaryAgainAfterTheEnd) {
  Begin();
  EXPECT_EQ(Do(a, {"SET", "s:k", "x"}), "+OK");
  EXPECT_EQ(Do(a, {"SET", "s:j", "x"}), "+OK");
  EXPECT_EQ(a.Ask({"POLICY", "DEL", "s:*"}), "1");
  EXPECT_TRUE(a.Ask({"EVAL", "return redis.call('append', KEYS[1], 'y')", "1", "s:k"}).starts_with("-TRYAGAIN "));
  ASSERT_TRUE(cluster.RunUntil([&] {
    for (TestNode* node : {&a, &b, &c}) {
      if (!node->engine().policies().empty() || node->Info("sync_in_force") != "1") return false;
    }
    return true;
  }));
  ASSERT_TRUE(cluster.Settle());
  const std::vector<std::string> append = {
      "EVAL", "return redis.call('append', KEYS[1], 'y')", "1", "s:k"};
  EXPECT_TRUE(Do(b, append).starts_with("-TRYAGAIN policy 'sync' has ended")) << "once";
  cluster.Run(100);
  EXPECT_EQ(Do(b, append), "2");
  const std::vector<std::string> flush = {"EVAL", "return redis.call('flushall')", "0"};
  EXPECT_TRUE(Do(b, flush).starts_with("-TRYAGAIN "));
  cluster.Run(100);
  EXPECT_EQ(Do(b, flush), "+OK");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(c.Ask({"DBSIZE"}), "0");
  EXPECT_TRUE(cluster.SameDigest());
}

TEST_F(Agreed, WhoWaitsForElementsIsRefusedWhenTheKeyComesUnderIt) {
  Asking waiting(a, {"BLMOVE", "list", "s:to", "LEFT", "LEFT", "0"});
  ASSERT_FALSE(waiting.done());
  Begin();
  EXPECT_EQ(a.Ask({"RPUSH", "list", "1"}), "1");
  ASSERT_TRUE(cluster.RunUntil([&] { return waiting.done(); }, 5000));
  EXPECT_TRUE(waiting.reply().starts_with("-CROSSSYNC ")) << waiting.reply();
  EXPECT_EQ(a.Ask({"LLEN", "list"}), "1");
  EXPECT_EQ(a.Ask({"EXISTS", "s:to"}), "0");
}

// WAIT counts who holds the decision, whoever has written it down.
TEST_F(Agreed, WaitIsAboutTheDecision) {
  Begin();
  Session client(a);
  client.Ask({"SET", "s:k", "1"});
  ASSERT_TRUE(cluster.RunUntil([&] { return client.done(); }, 5000));
  client.Ask({"WAIT", "2", "5000"});
  ASSERT_TRUE(cluster.RunUntil([&] { return client.done(); }, 6000));
  EXPECT_EQ(client.reply(), "2");
  for (TestNode* node : {&b, &c})
    EXPECT_EQ(node->Ask({"GET", "s:k"}), "\"1\"");
}

// A machine is copied with its seat file, and both live: two quorums might meet in the seat that both have.
TEST_F(Agreed, TwoProcessesDoNotVoteUnderOneSeat) {
  Begin();
  EXPECT_EQ(Do(a, {"SET", "s:k", "1"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  const uint64_t seat = c.engine().agreed_keys().agreement().elector().seat();
  TestNode& copy = cluster.Add("c");
  copy.SetDisk(c.disk().Copy());
  ASSERT_TRUE(copy.Start().ok());  // and nobody says so (Options::new_seat)
  EXPECT_EQ(copy.engine().agreed_keys().agreement().elector().seat(), seat);
  auto seat_of = [](TestNode& node) {
    return node.engine().agreed_keys().agreement().elector().seat();
  };
  ASSERT_TRUE(cluster.RunUntil([&] { return seat_of(c) != seat && seat_of(copy) != seat; }));
  EXPECT_TRUE(c.Reported("may have voted under its seat") || copy.Reported("may have voted under its seat"));
  ASSERT_TRUE(cluster.RunUntil(
      [&] { return copy.engine().leader_id() != "c" || c.engine().leader_id() != "c"; }));
  ASSERT_TRUE(cluster.RunUntil([&] {
    for (const wire::Seat& s : a.engine().agreed_keys().agreement().electorate().now) {
      if (s.id == seat) return false;
    }
    return a.Info("electors_changing") == "0";
  })) << "the others admit a new one in its place";
  EXPECT_EQ(Do(b, {"GETSET", "s:k", "2"}), "\"1\"");
}

TEST(AgreedPlain, WithoutThePolicyOnlyTheFounderNotesASeat) {
  Leaders cluster(3);
  EXPECT_NE(cluster[0].engine().agreed_keys().agreement().elector().seat(), 0U);
  for (size_t i : {1, 2}) {
    EXPECT_EQ(cluster[i].engine().agreed_keys().agreement().elector().seat(), 0U);
    EXPECT_EQ(cluster[i].engine().agreed_keys().agreement().elector().votes(), 1U)
        << "the electorate that the founder has told of";
  }
}

}  // namespace
}  // namespace polyarch::engine
