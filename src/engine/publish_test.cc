// Messages between clients of several leaders.
#include <gtest/gtest.h>

#include "engine/engine_test_util.h"

namespace polyarch::engine {
namespace {

class PublishTest : public testing::Test {
 protected:
  TestNode& Add(const char* name) {
    TestNode& node = cluster.Add(name);
    EXPECT_TRUE(node.Start().ok());
    EXPECT_TRUE(cluster.RunUntil([&] { return node.engine().may_write(); }));
    return node;
  }
  command::Client& Subscriber(TestNode& node, std::vector<std::string_view> args) {
    clients.push_back(std::make_unique<command::Client>());
    command::Client& client = *clients.back();
    client.id = 500 + clients.size();
    client.authenticated = true;
    node.AskAs(client, args);
    return client;
  }
  static size_t Count(const std::string& text, std::string_view part) {
    size_t count = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
      ++count;
    return count;
  }
  std::vector<std::unique_ptr<command::Client>> clients;
  TestCluster cluster;
};

TEST_F(PublishTest, ComesToEveryLeaderOnceInAnyTopology) {
  std::vector<TestNode*> nodes;
  for (const char* name : {"a", "b", "c", "d", "e"})
    nodes.push_back(&Add(name));
  ASSERT_TRUE(cluster.Settle());
  std::vector<command::Client*> listening;
  for (TestNode* node : nodes)
    listening.push_back(&Subscriber(*node, {"SUBSCRIBE", "news"}));
  int n = 0;
  for (const std::vector<std::string_view>& topology :
       std::vector<std::vector<std::string_view>>{{"mesh"},
                                                  {"ring", "a", "b", "c", "d", "e"},
                                                  {"star", "c"},
                                                  {"links", "a-b", "b-c", "c-d", "d-e"}}) {
    std::vector<std::string_view> args = {"TOPOLOGY", "SET"};
    args.insert(args.end(), topology.begin(), topology.end());
    EXPECT_EQ(nodes[0]->AskList(args), "+OK");
    cluster.Run(20'000);
    for (TestNode* node : nodes) {
      const std::string text = "<" + std::to_string(++n) + ">";
      EXPECT_EQ(node->AskList({"PUBLISH", "news", text}), "1");
      cluster.Run(500);
      for (size_t i = 0; i < nodes.size(); ++i)
        EXPECT_EQ(Count(nodes[i]->pushed[listening[i]->id], text), 1U) << topology[0] << n << i;
    }
  }
  for (TestNode* node : nodes)
    EXPECT_EQ(node->engine().replica().counters().publishes_again, 0U);
}

TEST_F(PublishTest, FollowsTheWriteThatItTellsOf) {
  TestNode& a = Add("a");
  TestNode& b = Add("b");
  ASSERT_TRUE(cluster.Settle());
  command::Client& client = Subscriber(b, {"PSUBSCRIBE", "*"});
  for (int i = 0; i < 20; ++i) {
    const std::string value = std::to_string(i);
    a.AskList({"SET", "k", value});
    a.AskList({"PUBLISH", "k", "now " + value});
    while (Count(b.pushed[client.id], "now " + value) == 0)
      cluster.Tick();
    EXPECT_EQ(b.Ask({"GET", "k"}), "\"" + value + "\"");
  }
}

TEST_F(PublishTest, InATransactionItGoesOutWhenAllHasRun) {
  TestNode& a = Add("a");
  command::Client& client = Subscriber(a, {"SSUBSCRIBE", "s"});
  a.Ask({"MULTI"});
  a.Ask({"SPUBLISH", "s", "x"});
  a.Ask({"SET", "k", "v"});
  EXPECT_TRUE(a.pushed[client.id].empty());
  EXPECT_EQ(a.Ask({"EXEC"}), "[1, +OK]");
  EXPECT_EQ(a.pushed[client.id], "*3\r\n$8\r\nsmessage\r\n$1\r\ns\r\n$1\r\nx\r\n");
  // One that is taken back has said nothing.
  const std::string large(30 << 20, 'x');
  a.Ask({"MULTI"});
  a.Ask({"SPUBLISH", "s", "unsaid"});
  for (std::string_view key : {"a", "b", "c"})
    a.Ask({"SET", key, large});
  EXPECT_TRUE(a.Ask({"EXEC"}).starts_with("-LIMIT"));
  EXPECT_EQ(Count(a.pushed[client.id], "unsaid"), 0U);
  EXPECT_EQ(a.Ask({"DBSIZE"}), "1");
}

TEST_F(PublishTest, WhoIsGoneGetsNothing) {
  TestNode& a = Add("a");
  command::Client& client = Subscriber(a, {"SUBSCRIBE", "c", "d"});
  EXPECT_EQ(a.Ask({"PUBLISH", "c", "x"}), "1");
  a.engine().ForgetClient(client.id);
  EXPECT_EQ(a.Ask({"PUBLISH", "c", "x"}), "0");
  EXPECT_EQ(a.Ask({"PUBSUB", "CHANNELS"}), "[]");
}

}  // namespace
}  // namespace polyarch::engine
