// WAIT and SESSION among several leaders.
#include <gtest/gtest.h>

#include "engine/engine_test_util.h"

namespace polyarch::engine {
namespace {

class SessionsTest : public testing::Test {
 protected:
  command::Client& NewClient() {
    clients.push_back(std::make_unique<command::Client>());
    clients.back()->id = 500 + clients.size();
    clients.back()->authenticated = true;
    return *clients.back();
  }
  // Runs one that may wait, until it has its answer or this much time has passed.
  std::string Await(TestCluster& cluster,
                    TestNode& node,
                    command::Client& client,
                    const std::vector<std::string_view>& args,
                    int64_t ms = 10'000) {
    std::string reply = node.AskAs(client, args);
    if (reply != "(none)") return reply;
    cluster.RunUntil([&] { return client.blocked != command::Client::Blocked::kWaits; }, ms);
    return client.blocked == command::Client::Blocked::kWaits ? "(waits)" : node.AskAs(client, args);
  }
  // "quoted" -> quoted
  static std::string Text(const std::string& reply) {
    return reply.size() >= 2 && reply[0] == '"' ? reply.substr(1, reply.size() - 2) : reply;
  }
  std::vector<std::unique_ptr<command::Client>> clients;
};

TEST_F(SessionsTest, WaitCountsTheOthersThatHaveItOnDisk) {
  Leaders leaders(3);
  command::Client& client = NewClient();
  EXPECT_EQ(leaders[0].AskAs(client, {"WAIT", "0", "0"}), "2") << "it has written nothing";
  EXPECT_EQ(leaders[0].AskAs(client, {"SET", "k", "v"}), "+OK");
  EXPECT_EQ(Await(leaders, leaders[0], client, {"WAIT", "2", "0"}), "2");
  for (size_t i : {1, 2}) EXPECT_EQ(leaders[i].Ask({"GET", "k"}), "\"v\"");
}

TEST_F(SessionsTest, WaitGivesUpWithWhatItHas) {
  Leaders leaders(3);
  leaders.Cut(leaders[0], leaders[2]);
  leaders.Cut(leaders[1], leaders[2]);
  leaders.Run(5000);
  command::Client& client = NewClient();
  leaders[0].AskAs(client, {"SET", "k", "v"});
  EXPECT_EQ(Await(leaders, leaders[0], client, {"WAIT", "2", "500"}), "1");
  EXPECT_EQ(Await(leaders, leaders[0], client, {"WAIT", "9", "100"}), "1");
  EXPECT_EQ(Await(leaders, leaders[0], client, {"WAIT", "2", "0"}, 5000), "(waits)");
  leaders.Heal(leaders[0], leaders[2]);
  leaders.Heal(leaders[1], leaders[2]);
  EXPECT_TRUE(leaders.RunUntil([&] { return client.blocked == command::Client::Blocked::kAnswered; }));
  EXPECT_EQ(leaders[0].AskAs(client, {"WAIT", "2", "0"}), "2");
}

TEST_F(SessionsTest, WaitDoesNotTakeWhatIsNotSynced) {
  Leaders leaders(2, 1, [](Options& options) { options.durability = Durability::kNone; });
  command::Client& client = NewClient();
  leaders[1].auto_sync = false;
  leaders[0].AskAs(client, {"SET", "k", "v"});
  leaders.Run(1000);
  EXPECT_EQ(leaders[1].Ask({"GET", "k"}), "\"v\"");
  EXPECT_EQ(Await(leaders, leaders[0], client, {"WAIT", "1", "3000"}), "0");
  leaders[1].auto_sync = true;
  EXPECT_EQ(Await(leaders, leaders[0], client, {"WAIT", "1", "3000"}), "1") << "asked for, it syncs, whatever its durability";
}

TEST_F(SessionsTest, WaitReachesFarLeadersInAnyTopology) {
  for (const std::vector<std::string_view>& topology : std::vector<std::vector<std::string_view>>{
           {"mesh"}, {"ring", "a", "b", "c", "d", "e"}, {"star", "c"}, {"links", "a-b", "b-c", "c-d", "d-e"}}) {
    Leaders leaders(5);
    std::vector<std::string_view> args = {"TOPOLOGY", "SET"};
    args.insert(args.end(), topology.begin(), topology.end());
    ASSERT_EQ(leaders[0].AskList(args), "+OK");
    leaders.Run(20'000);
    for (size_t i = 0; i < 5; ++i) {
      command::Client& client = NewClient();
      leaders[i].AskAs(client, {"INCR", "n"});
      EXPECT_EQ(Await(leaders, leaders[i], client, {"WAIT", "4", "2000"}), "4") << topology[0] << i;
    }
  }
}

TEST_F(SessionsTest, WaitSurvivesLostMessages) {
  Leaders leaders(3);
  int lost = 0;
  leaders.on_way = [&](TestNode&, std::string& message) {
    const auto type = static_cast<wire::MessageType>(message[0]);
    const bool receipt = type == wire::MessageType::kWantReceipt || type == wire::MessageType::kReceipt ||
                         type == wire::MessageType::kHaveMore;
    return !receipt || ++lost % 3 == 0;
  };
  for (int i = 0; i < 5; ++i) {
    command::Client& client = NewClient();
    leaders[0].AskAs(client, {"INCR", "n"});
    EXPECT_EQ(Await(leaders, leaders[0], client, {"WAIT", "2", "0"}), "2");
  }
}

TEST_F(SessionsTest, WaitInATransactionDoesNotWait) {
  Leaders leaders(2);
  command::Client& client = NewClient();
  leaders[0].AskAs(client, {"MULTI"});
  leaders[0].AskAs(client, {"SET", "k", "v"});
  leaders[0].AskAs(client, {"WAIT", "1", "0"});
  EXPECT_EQ(leaders[0].AskAs(client, {"EXEC"}), "[+OK, 1]") << "for what was written before it: nothing";
  EXPECT_EQ(Await(leaders, leaders[0], client, {"WAIT", "1", "0"}), "1");
}

TEST_F(SessionsTest, UnblockedWaitTellsHowMany) {
  Leaders leaders(2);
  leaders.Cut(leaders[0], leaders[1]);
  command::Client& client = NewClient();
  leaders[0].AskAs(client, {"SET", "k", "v"});
  EXPECT_EQ(Await(leaders, leaders[0], client, {"WAIT", "1", "0"}, 1000), "(waits)");
  EXPECT_EQ(leaders[0].Ask({"CLIENT", "UNBLOCK", std::to_string(client.id)}), "1");
  EXPECT_EQ(leaders[0].AskAs(client, {"WAIT", "1", "0"}), "0");
  // A client that goes while it waits leaves nothing behind.
  EXPECT_EQ(Await(leaders, leaders[0], client, {"WAIT", "1", "0"}, 1000), "(waits)");
  leaders[0].engine().ForgetClient(client.id);
  leaders.Run(1000);
  EXPECT_EQ(leaders[0].engine().blocked_clients(), 0U);
}

TEST_F(SessionsTest, ATokenTakenInTheMiddleOfATickWaitsForIt) {
  TestCluster cluster;
  TestNode& a = cluster.Add("a", [](Options& options) { options.durability = Durability::kNone; });
  ASSERT_TRUE(a.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return a.engine().may_write(); }));
  ASSERT_TRUE(cluster.Settle());
  a.auto_sync = false;
  command::Client& client = NewClient();
  command::Client& other = NewClient();
  NullServer server;
  resp::Buffer out;
  a.engine().BeginTick(a.Now());
  EXPECT_EQ(a.engine().Execute(client, std::vector<std::string_view>{"SESSION", "TOKEN"}, out, server), Outcome::kSuspended);
  a.engine().Execute(other, std::vector<std::string_view>{"SET", "k", "v"}, out, server);
  const std::string id = std::to_string(client.id);
  a.engine().Execute(other, std::vector<std::string_view>{"CLIENT", "UNBLOCK", id}, out, server);
  EXPECT_NE(out.view().find(":1\r\n"), std::string_view::npos);
  out.clear();
  a.engine().Execute(client, std::vector<std::string_view>{"SESSION", "TOKEN"}, out, server);
  EXPECT_TRUE(out.view().starts_with("-UNBLOCKED")) << out.view();
  a.engine().EndTick();
}

TEST_F(SessionsTest, ATokenCarriesWhatWasWritten) {
  Leaders leaders(3);
  leaders.Hold(leaders[0], leaders[1]);
  leaders.Hold(leaders[2], leaders[1]);
  command::Client& here = NewClient();
  command::Client& there = NewClient();
  leaders[0].AskAs(here, {"SET", "k", "v"});
  const std::string token = Text(Await(leaders, leaders[0], here, {"SESSION", "TOKEN"}));
  leaders.Run(200);
  EXPECT_EQ(leaders[1].Ask({"GET", "k"}), "null");
  EXPECT_TRUE(Await(leaders, leaders[1], there, {"SESSION", "WAIT", token, "500"}).starts_with("-TIMEOUT not here yet: a."));
  EXPECT_EQ(Await(leaders, leaders[1], there, {"SESSION", "WAIT", token, "0"}, 500), "(waits)");
  leaders.Release(leaders[0], leaders[1]);
  EXPECT_TRUE(leaders.RunUntil([&] { return there.blocked == command::Client::Blocked::kAnswered; }));
  EXPECT_EQ(leaders[1].AskAs(there, {"SESSION", "WAIT", token, "0"}), "+OK");
  EXPECT_EQ(leaders[1].Ask({"GET", "k"}), "\"v\"");
  EXPECT_EQ(leaders[0].AskAs(here, {"SESSION", "WAIT", token, "0"}), "+OK") << "where it was taken, at once";
}

TEST_F(SessionsTest, ATokenTellsOfWhatWasReadToo) {
  Leaders leaders(3);
  leaders.Hold(leaders[0], leaders[2]);
  command::Client& reader = NewClient();
  leaders[0].Ask({"SET", "k", "v"});
  ASSERT_TRUE(leaders.RunUntil([&] { return leaders[1].Ask({"GET", "k"}) == "\"v\""; }));
  const std::string token = Text(Await(leaders, leaders[1], reader, {"SESSION", "TOKEN"}));
  // From b comes what a does not get through: the gate and the routes see to that, or it waits.
  const std::string reply = Await(leaders, leaders[2], NewClient(), {"SESSION", "WAIT", token, "30000"}, 40'000);
  EXPECT_EQ(reply, "+OK");
  EXPECT_EQ(leaders[2].Ask({"GET", "k"}), "\"v\"");
}

TEST_F(SessionsTest, ATokenWaitsForTheDisk) {
  Leaders leaders(1, 1, [](Options& options) { options.durability = Durability::kNone; });
  leaders[0].auto_sync = false;
  command::Client& client = NewClient();
  leaders[0].AskAs(client, {"SET", "k", "v"});
  EXPECT_EQ(Await(leaders, leaders[0], client, {"SESSION", "TOKEN"}, 2000), "(waits)");
  leaders[0].auto_sync = true;
  leaders.Tick();
  leaders.Tick();
  const std::string token = Text(leaders[0].AskAs(client, {"SESSION", "TOKEN"}));
  leaders[0].PowerCut();
  ASSERT_TRUE(leaders[0].Start().ok());
  EXPECT_EQ(leaders[0].Ask({"SESSION", "WAIT", token, "10"}), "+OK");
  EXPECT_EQ(leaders[0].Ask({"GET", "k"}), "\"v\"");
}

TEST_F(SessionsTest, WhatNobodyHasAnyMoreIsLost) {
  // b sees what a wrote and nobody else did; then both lose their disks.
  Leaders leaders(3);
  leaders.Cut(leaders[0], leaders[2]);
  leaders.Run(5000);
  const TestNode::Disk old = leaders[0].disk().Copy();
  leaders.Cut(leaders[0], leaders[1]);
  command::Client& client = NewClient();
  leaders[0].AskAs(client, {"SET", "k", "v"});
  const std::string token = Text(Await(leaders, leaders[0], client, {"SESSION", "TOKEN"}));
  leaders[0].Kill();
  leaders[0].SetDisk(old);
  for (size_t i : {1, 2}) leaders.Heal(leaders[0], leaders[i]);
  ASSERT_TRUE(leaders[0].Start().ok());
  ASSERT_EQ(leaders[0].Ask({"SET", "other", "v"}), "+OK");
  ASSERT_TRUE(leaders.Settle());
  leaders.Run(5000);
  for (size_t i : {0, 1, 2}) {
    const std::string reply = Await(leaders, leaders[i], NewClient(), {"SESSION", "WAIT", token, "0"}, 20'000);
    EXPECT_TRUE(reply.starts_with("-LOST no leader has a.")) << reply;
  }
}

TEST_F(SessionsTest, WhatADeadLeaderMayHaveIsNotLost) {
  Leaders leaders(3);
  for (size_t i : {1, 2}) leaders.Cut(leaders[0], leaders[i]);
  command::Client& client = NewClient();
  leaders[0].AskAs(client, {"SET", "k", "v"});
  const std::string token = Text(Await(leaders, leaders[0], client, {"SESSION", "TOKEN"}));
  leaders[0].Kill();
  for (size_t i : {1, 2}) leaders.Heal(leaders[0], leaders[i]);
  leaders.Run(60'000);
  EXPECT_TRUE(Await(leaders, leaders[1], NewClient(), {"SESSION", "WAIT", token, "1000"}).starts_with("-TIMEOUT"));
  ASSERT_TRUE(leaders[0].Start().ok());
  EXPECT_EQ(Await(leaders, leaders[1], NewClient(), {"SESSION", "WAIT", token, "0"}), "+OK");
}

TEST_F(SessionsTest, AForeignTokenIsRefused) {
  Leaders one(1, 1);
  Leaders other(1, 2);
  command::Client& client = NewClient();
  const std::string token = Text(Await(one, one[0], client, {"SESSION", "TOKEN"}));
  EXPECT_TRUE(other[0].Ask({"SESSION", "WAIT", token, "0"}).starts_with("-ERR this session token is of another cluster"));
  EXPECT_TRUE(one[0].Ask({"SESSION", "WAIT", "nonsense", "0"}).starts_with("-ERR this is no token"));
}

}  // namespace
}  // namespace polyarch::engine
