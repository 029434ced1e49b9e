// Client-side caching across leaders: whatever changes what a read shows is told, whoever brings it.
#include <gtest/gtest.h>

#include "engine/engine_test_util.h"

namespace polyarch::engine {
namespace {

class TrackingTest : public testing::Test {
 protected:
  TestNode& Add(const char* name) {
    TestNode& node = cluster.Add(name);
    EXPECT_TRUE(node.Start().ok());
    EXPECT_TRUE(cluster.RunUntil([&] { return node.engine().may_write(); }));
    return node;
  }
  command::Client& Tracker(TestNode& node, bool broadcast = false) {
    clients.push_back(std::make_unique<command::Client>());
    command::Client& client = *clients.back();
    client.id = 500 + clients.size();
    client.authenticated = true;
    client.protocol = 3;
    std::vector<std::string_view> args = {"CLIENT", "TRACKING", "ON"};
    if (broadcast) args.push_back("BCAST");
    EXPECT_EQ(node.AskAs(client, args), "+OK");
    return client;
  }
  // What it was told since, as values.
  static std::string Take(TestNode& node, const command::Client& client) {
    resp::ReplyReader reader;
    const std::string bytes = std::exchange(node.pushed[client.id], {});
    reader.Feed(bytes);
    std::string all;
    while (reader.Next() == resp::ReplyReader::State::kValue)
      all += reader.value().ToString();
    return all;
  }
  std::vector<std::unique_ptr<command::Client>> clients;
  TestCluster cluster;
};

TEST_F(TrackingTest, OtherLeadersChangesAreTold) {
  TestNode& a = Add("a");
  TestNode& b = Add("b");
  ASSERT_TRUE(cluster.Settle());
  command::Client& client = Tracker(a);
  command::Client& all = Tracker(a, /*broadcast=*/true);
  for (const auto& theirs : std::vector<std::vector<std::string_view>>{{"SET", "k", "theirs"},
                                                                       {"DEL", "k"},
                                                                       {"RPUSH", "k", "x"},
                                                                       {"RENAME", "k", "l"},
                                                                       {"INCR", "k"},
                                                                       {"EXPIRE", "k", "100"}}) {
    a.AskAs(client, {"TYPE", "k"});
    Take(a, all);
    b.AskList(theirs);
    EXPECT_EQ(Take(a, client), "") << theirs[0];
    ASSERT_TRUE(cluster.Settle());
    EXPECT_EQ(Take(a, client), ">[\"invalidate\", [\"k\"]]") << theirs[0];
    EXPECT_NE(Take(a, all).find("\"k\""), std::string::npos) << theirs[0];
  }
  a.AskAs(client, {"TYPE", "k"});
  b.Ask({"FLUSHALL"});
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(Take(a, client), ">[\"invalidate\", null]");
  EXPECT_EQ(Take(a, all), ">[\"invalidate\", null]");
  // What was removed for good is no news.
  cluster.Run(5000);
  EXPECT_EQ(Take(a, client) + Take(a, all), "");
  a.engine().ForgetClient(client.id);
  a.engine().ForgetClient(all.id);
  EXPECT_FALSE(a.engine().tracking().active());
}

TEST_F(TrackingTest, ItsOwnFlushIsToldBehindTheReply) {
  TestNode& a = Add("a");
  command::Client& client = Tracker(a);
  a.Ask({"SET", "k", "1"});
  a.Ask({"INCR", "n"});
  a.AskAs(client, {"MGET", "k", "n"});
  a.Ask({"FLUSHALL"});
  EXPECT_EQ(Take(a, client), ">[\"invalidate\", null]");
  a.AskAs(client, {"FLUSHDB"});
  EXPECT_EQ(Take(a, client), ">[\"invalidate\", null]");
}

TEST_F(TrackingTest, AKeyIsToldWhenItIsHiddenWhetherItCanBeRemovedOrNot) {
  TestNode& a = Add("a");
  TestNode& b = Add("b");
  ASSERT_TRUE(cluster.Settle());
  command::Client& client = Tracker(a);
  command::Client& all = Tracker(a, /*broadcast=*/true);
  b.Ask({"SET", "k", "v", "PX", "20000"});
  ASSERT_TRUE(cluster.Settle());
  cluster.Cut(a, b);  // so it cannot be removed
  EXPECT_EQ(a.AskAs(client, {"GET", "k"}), "\"v\"");
  Take(a, all);
  cluster.Run(21'000);
  EXPECT_EQ(a.Ask({"GET", "k"}), "null");
  EXPECT_EQ(Take(a, client), ">[\"invalidate\", [\"k\"]]");
  EXPECT_EQ(Take(a, all), ">[\"invalidate\", [\"k\"]]");
  EXPECT_EQ(a.AskAs(client, {"GET", "k"}), "null");
  // The clock goes back: shown again, until it is hidden again.
  a.SetClockOffset(-15'000);
  cluster.Tick();
  EXPECT_EQ(Take(a, client), ">[\"invalidate\", [\"k\"]]");
  EXPECT_EQ(a.AskAs(client, {"GET", "k"}), "\"v\"");
  cluster.Run(20'000);
  EXPECT_EQ(a.Ask({"GET", "k"}), "null");
  EXPECT_EQ(Take(a, client), ">[\"invalidate\", [\"k\"]]");
}

TEST_F(TrackingTest, WhatIsHiddenIsNotToldAgainWhenItIsRemoved) {
  TestNode& a = Add("a");
  ASSERT_TRUE(cluster.Settle());
  command::Client& all = Tracker(a, /*broadcast=*/true);
  a.Ask({"SET", "k", "v", "PX", "500"});
  cluster.Tick();
  EXPECT_EQ(Take(a, all), ">[\"invalidate\", [\"k\"]]");
  cluster.Run(1000);
  EXPECT_EQ(a.engine().expired_keys(), 1U);
  EXPECT_EQ(Take(a, all), ">[\"invalidate\", [\"k\"]]");
}

TEST_F(TrackingTest, PoliciesAndResolutionsAreTold) {
  TestNode& a = Add("a");
  TestNode& b = Add("b");
  a.Ask({"POLICY", "SET", "k", "siblings"});
  ASSERT_TRUE(cluster.Settle());
  command::Client& client = Tracker(a);
  cluster.Cut(a, b);
  a.Ask({"SET", "k", "1"});
  b.Ask({"SET", "k", "2"});
  EXPECT_EQ(a.AskAs(client, {"GET", "k"}), "\"1\"");
  cluster.Heal(a, b);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(Take(a, client), ">[\"invalidate\", [\"k\"]]");
  EXPECT_TRUE(a.AskAs(client, {"GET", "k"}).starts_with("-CONFLICT"));
  b.Ask({"POLICY", "SET", "k", "lww"});
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(Take(a, client), ">[\"invalidate\", null]");
  a.AskAs(client, {"GET", "k"});
  b.Ask({"SET", "k", "3"});
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(Take(a, client), ">[\"invalidate\", [\"k\"]]");
}

TEST_F(TrackingTest, WhoTakesFromAListIsNotWhoHasPushed) {
  TestNode& a = Add("a");
  command::Client& pusher = Tracker(a);
  a.AskAs(pusher, {"CLIENT", "TRACKING", "ON", "NOLOOP"});
  command::Client waiting;
  waiting.id = 77;
  waiting.authenticated = true;
  a.AskAs(waiting, {"BLPOP", "queue", "0"});
  a.AskAs(pusher, {"MULTI"});
  a.AskAs(pusher, {"RPUSH", "queue", "x"});
  a.AskAs(pusher, {"LLEN", "queue"});
  EXPECT_EQ(a.AskAs(pusher, {"EXEC"}), "[1, 1]");
  EXPECT_EQ(Take(a, pusher), ">[\"invalidate\", [\"queue\"]]");
  a.engine().ForgetClient(waiting.id);
}

class AllClients final : public NullServer {
 public:
  explicit AllClients(std::vector<std::unique_ptr<command::Client>>& clients) : clients_(clients) {}
  void ForEachClient(const std::function<void(command::Client&)>& visit) override {
    for (auto& client : clients_)
      visit(*client);
  }

 private:
  std::vector<std::unique_ptr<command::Client>>& clients_;
};

TEST_F(TrackingTest, AnotherConnectionIsToldWhenRepliesMayLeave) {
  TestNode& a = Add("a");
  command::Client& told = Tracker(a);
  command::Client& client = Tracker(a);
  AllClients server(clients);
  resp::Buffer out;
  const std::string id = std::to_string(told.id);
  a.engine().BeginTick(a.Now());
  const std::vector<std::string_view> args = {"CLIENT", "TRACKING", "ON", "REDIRECT", id};
  a.engine().Execute(client, args, out, server);
  a.engine().EndTick();
  a.AskAs(client, {"GET", "k"});
  a.Ask({"SET", "k", "1"});
  EXPECT_EQ(Take(a, told), ">[\"invalidate\", [\"k\"]]");
  EXPECT_EQ(a.held_pushes, 1U);
  // With `everysec` no reply waits.
  a.engine().SetDurability(Durability::kEverySecond);
  a.AskAs(client, {"GET", "k"});
  a.Ask({"SET", "k", "2"});
  EXPECT_EQ(Take(a, told), ">[\"invalidate\", [\"k\"]]");
  EXPECT_EQ(a.held_pushes, 1U);
}

}  // namespace
}  // namespace polyarch::engine
