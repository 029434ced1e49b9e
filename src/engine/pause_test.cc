// CLIENT PAUSE: who waits, for how long, and what goes on meanwhile.
#include <gtest/gtest.h>

#include "base/sha1.h"
#include "engine/engine_test_util.h"

namespace polyarch::engine {
namespace {

class PauseTest : public testing::Test {
 protected:
  PauseTest() {
    for (command::Client* client : {&writer, &operator_}) {
      client->id = client == &writer ? 77 : 78;
      client->authenticated = true;
    }
  }
  TestNode& Add(const char* name) {
    TestNode& node = cluster.Add(name);
    EXPECT_TRUE(node.Start().ok());
    EXPECT_TRUE(cluster.RunUntil([&] { return node.engine().may_write(); }));
    return node;
  }
  static bool Waits(TestNode& node, command::Client& client, std::vector<std::string_view> args) {
    node.AskAs(client, args);
    return node.last_outcome == Outcome::kSuspended;
  }
  bool Resumed(TestNode& node) {
    return std::find(node.resumed.begin(), node.resumed.end(), writer.id) != node.resumed.end();
  }
  command::Client writer;
  command::Client operator_;
  TestCluster cluster;
};

TEST_F(PauseTest, WritesWaitUntilItsEnd) {
  TestNode& a = Add("a");
  constexpr std::string_view kReads = "#!lua flags=no-writes\nreturn 1";
  const std::string sha = base::Sha1Hex(kReads);
  EXPECT_EQ(a.AskAs(operator_, {"SCRIPT", "LOAD", kReads}), "\"" + sha + "\"");
  EXPECT_EQ(a.AskAs(operator_,
                    {"FUNCTION", "LOAD",
                     "#!lua name=l\nredis.register_function{function_name='reads',callback=function() return 1 "
                     "end,flags={'no-writes'}}\nredis.register_function('writes', function() return 1 end)"}),
            "\"l\"");
  EXPECT_EQ(a.AskAs(operator_, {"CLIENT", "PAUSE", "500", "WRITE"}), "+OK");
  for (const auto& args : std::vector<std::vector<std::string_view>>{{"SET", "k", "1"},
                                                                     {"EVAL", "return 1", "0"},
                                                                     {"PUBLISH", "c", "m"},
                                                                     {"FCALL", "writes", "0"},
                                                                     {"PFCOUNT", "k"},
                                                                     {"POLICY", "SET", "k", "siblings"}}) {
    EXPECT_TRUE(Waits(a, writer, args)) << args[0];
    a.engine().ForgetClient(writer.id);
  }
  for (const auto& args : std::vector<std::vector<std::string_view>>{{"GET", "k"},
                                                                     {"EVAL_RO", "return 1", "0"},
                                                                     {"EVAL", kReads, "0"},
                                                                     {"EVALSHA", sha, "0"},
                                                                     {"FCALL", "reads", "0"},
                                                                     {"SCRIPT", "LOAD", "return 2"},
                                                                     {"SET", "k"},
                                                                     {"NOSUCH"},
                                                                     {"PING"}}) {
    EXPECT_FALSE(Waits(a, operator_, args)) << args[0];
  }
  EXPECT_TRUE(Waits(a, writer, {"SET", "k", "1"}));
  EXPECT_TRUE(writer.paused);
  EXPECT_EQ(a.engine().blocked_clients(), 1U);
  cluster.Run(300);
  EXPECT_FALSE(Resumed(a));
  cluster.Run(300);
  EXPECT_TRUE(Resumed(a));
  EXPECT_EQ(a.AskAs(writer, {"SET", "k", "1"}), "+OK");
  EXPECT_FALSE(writer.paused);
  EXPECT_EQ(a.engine().blocked_clients(), 0U);
}

TEST_F(PauseTest, AllWaitButWhoEndsIt) {
  TestNode& a = Add("a");
  EXPECT_EQ(a.AskAs(operator_, {"CLIENT", "PAUSE", "9223372036854775807"}), "-ERR timeout is out of range");
  a.AskAs(operator_, {"CLIENT", "PAUSE", "31536000000"});
  // A shorter or weaker one changes nothing.
  EXPECT_TRUE(Waits(a, writer, {"GET", "k"}));
  EXPECT_EQ(a.AskAs(operator_, {"CLIENT", "UNPAUSE"}), "+OK");
  EXPECT_TRUE(Resumed(a));
  EXPECT_EQ(a.AskAs(writer, {"GET", "k"}), "null");
  a.AskAs(operator_, {"CLIENT", "PAUSE", "10000", "WRITE"});
  a.AskAs(operator_, {"CLIENT", "PAUSE", "1", "WRITE"});
  cluster.Run(1000);
  a.resumed.clear();
  EXPECT_TRUE(Waits(a, writer, {"SET", "k", "1"}));
  a.AskAs(operator_, {"CLIENT", "UNPAUSE"});
  EXPECT_TRUE(Resumed(a));
  a.AskAs(operator_, {"CLIENT", "PAUSE", "0"});
  cluster.Tick();
  EXPECT_FALSE(Waits(a, writer, {"SET", "k", "1"}));
}

TEST_F(PauseTest, OtherLeadersGoOnAndNobodyIsServed) {
  TestNode& a = Add("a");
  TestNode& b = Add("b");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(Waits(a, writer, {"BLPOP", "queue", "0"}));
  a.AskAs(operator_, {"CLIENT", "PAUSE", "20000", "WRITE"});
  b.Ask({"RPUSH", "queue", "x"});
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.AskAs(operator_, {"LLEN", "queue"}), "1");
  EXPECT_FALSE(Resumed(a));
  cluster.Run(25'000);
  EXPECT_TRUE(Resumed(a));
  EXPECT_EQ(a.AskAs(writer, {"BLPOP", "queue", "0"}), "[\"queue\", \"x\"]");
}

TEST_F(PauseTest, ATransactionWaitsWhole) {
  TestNode& a = Add("a");
  a.AskAs(writer, {"MULTI"});
  a.AskAs(writer, {"SET", "k", "1"});
  a.AskAs(operator_, {"CLIENT", "PAUSE", "2000", "WRITE"});
  EXPECT_TRUE(Waits(a, writer, {"EXEC"}));
  a.AskAs(operator_, {"CLIENT", "UNPAUSE"});
  EXPECT_EQ(a.AskAs(writer, {"EXEC"}), "[+OK]");
  a.AskAs(operator_, {"CLIENT", "PAUSE", "2000", "WRITE"});
  a.AskAs(writer, {"MULTI"});
  a.AskAs(writer, {"GET", "k"});
  EXPECT_EQ(a.AskAs(writer, {"EXEC"}), "[\"1\"]");
  for (const auto& args : std::vector<std::vector<std::string_view>>{{"EVAL", "return 1", "0"}, {"PUBLISH", "c", "m"}}) {
    a.AskAs(operator_, {"CLIENT", "UNPAUSE"});
    a.AskAs(writer, {"MULTI"});
    EXPECT_EQ(a.AskAs(writer, args), "+QUEUED");
    a.AskAs(operator_, {"CLIENT", "PAUSE", "2000", "WRITE"});
    EXPECT_TRUE(Waits(a, writer, {"EXEC"})) << args[0];
    a.engine().ForgetClient(writer.id);
    a.AskAs(writer, {"DISCARD"});
  }
}

}  // namespace
}  // namespace polyarch::engine
