// Subscriptions and messages at one node; what a subscriber may say is in
// tests/transcript/pubsub.txt.
#include <gtest/gtest.h>

#include "command/command_test_env.h"

namespace polyarch::command {
namespace {

class PubsubTest : public testing::Test {
 protected:
  std::string& Pushes(const Client& client) { return node.cluster.pushes[client.id]; }
  TestNode node;
};

TEST_F(PubsubTest, OneMessageForEachMatchingSubscriptionInItsProtocol) {
  Client& two = node.Connect();
  Client& three = node.Connect();
  three.protocol = 3;
  node.Ask(two, {"SUBSCRIBE", "news"});
  node.Ask(two, {"PSUBSCRIBE", "n*"});
  node.Ask(three, {"PSUBSCRIBE", "new?"});
  node.Ask(three, {"SSUBSCRIBE", "news"});
  EXPECT_EQ(node.Ask({"PUBLISH", "news", "hello"}), "3");
  EXPECT_EQ(Pushes(two),
            "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n"
            "*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
  EXPECT_EQ(Pushes(three), ">4\r\n$8\r\npmessage\r\n$4\r\nnew?\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
  EXPECT_EQ(node.Ask({"SPUBLISH", "news", "shard"}), "1");
  EXPECT_TRUE(Pushes(three).ends_with(">3\r\n$8\r\nsmessage\r\n$4\r\nnews\r\n$5\r\nshard\r\n"));
  EXPECT_EQ(node.cluster.published.size(), 2U);
}

TEST_F(PubsubTest, UnsubscribingEndsIt) {
  Client& client = node.Connect();
  node.Ask(client, {"SUBSCRIBE", "a"});
  node.Ask(client, {"SUBSCRIBE", "a"});
  EXPECT_EQ(node.Ask({"PUBSUB", "NUMSUB", "a"}), "[\"a\", 1]");
  node.Ask(client, {"UNSUBSCRIBE"});
  EXPECT_EQ(client.subscribed, 0U);
  EXPECT_EQ(node.Ask({"PUBLISH", "a", "x"}), "0");
  EXPECT_TRUE(node.cluster.subscriptions().empty());
  node.Ask(client, {"PSUBSCRIBE", "*"});
  node.Ask(client, {"RESET"});
  EXPECT_EQ(node.Ask({"PUBLISH", "a", "x"}), "0");
  EXPECT_TRUE(node.cluster.subscriptions().empty());
}

TEST_F(PubsubTest, AStarDoesNotMatchTheEmptyName) {
  Client& client = node.Connect();
  node.Ask(client, {"PSUBSCRIBE", "*"});
  EXPECT_EQ(node.Ask({"PUBLISH", "", "x"}), "0");
  EXPECT_EQ(node.Ask({"PUBLISH", "a", "x"}), "1");
  node.Ask(client, {"SUBSCRIBE", ""});
  EXPECT_EQ(node.Ask({"PUBLISH", "", "x"}), "1");
  EXPECT_EQ(node.Ask({"PUBSUB", "CHANNELS"}), "[\"\"]");
  EXPECT_EQ(node.Ask({"PUBSUB", "CHANNELS", "*"}), "[]");
}

TEST_F(PubsubTest, Limits) {
  const std::string name(65'536, 'c');
  EXPECT_EQ(node.Ask({"SUBSCRIBE", name}), "-LIMIT channel longer than 65535 bytes");
  EXPECT_EQ(node.Ask({"PUBLISH", name, "x"}), "-LIMIT channel longer than 65535 bytes");
  EXPECT_EQ(node.Ask({"PUBLISH", "c", std::string(size_t{66} << 20, 'x')}),
            "-LIMIT message larger than 68157440 bytes");
}

TEST_F(PubsubTest, ClientListTellsOfIt) {
  Client& client = node.Connect();
  node.Ask(client, {"SUBSCRIBE", "a", "b"});
  node.Ask({"PING"});
  const std::string list = node.Ask({"CLIENT", "LIST", "TYPE", "PUBSUB"});
  EXPECT_NE(list.find(" flags=P "), std::string::npos) << list;
  EXPECT_NE(list.find(" sub=2 psub=0 ssub=0 "), std::string::npos) << list;
  EXPECT_EQ(list.find("id=1 "), std::string::npos) << list;
  EXPECT_EQ(node.Ask({"CLIENT", "LIST", "TYPE", "NORMAL"}).find(" flags=P "), std::string::npos);
}

// Confirmations are pushes: CLIENT REPLY OFF does not silence them.
TEST_F(PubsubTest, ConfirmationsAreNotSilenced) {
  Client& client = node.Connect();
  node.Ask(client, {"CLIENT", "REPLY", "OFF"});
  EXPECT_EQ(node.Ask(client, {"SUBSCRIBE", "a"}), "[\"subscribe\", \"a\", 1]");
  EXPECT_EQ(node.Ask(client, {"PING"}), "(none)");
}

}  // namespace
}  // namespace polyarch::command
