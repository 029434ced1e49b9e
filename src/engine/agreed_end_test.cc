// The end of policy `sync` for a key, and what comes behind it.
#include <string>

#include "engine/agreed_fixture.h"

namespace polyarch::engine {
namespace {

// The same patterns, ended and begun again while a leader was away: it hears of the new electorate before it has caught up
// with what was written in between.
TEST_F(Agreed, WhoWasAwayWhileItEndedAndBeganAgainWaitsForWhatCameBetween) {
  Begin();
  EXPECT_EQ(Do(a, {"SET", "s:k", "1"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  cluster.Cut(a, c);
  cluster.Cut(b, c);
  cluster.Run(5000);
  End({&a, &b});
  EXPECT_EQ(b.Ask({"SET", "s:k", "2"}), "+OK");
  cluster.Run(1000);
  const uint64_t before = Epoch(a);
  EXPECT_EQ(a.Ask({"POLICY", "SET", "s:*", "sync"}), "+OK");
  ASSERT_TRUE(cluster.RunUntil([&] { return Epoch(a) > before && b.Info("sync_in_force") == "1"; }));
  bool frames = false;
  cluster.on_way = [&](TestNode&, std::string& message) {
    return frames || message[0] != static_cast<char>(wire::MessageType::kFrame);
  };
  cluster.Heal(a, c);
  cluster.Heal(b, c);
  std::string reply;
  auto ask = [&] {
    reply = Do(c, {"GETSET", "s:k", "3"}, 10'000);
    return Epoch(c) == Epoch(a);
  };
  ASSERT_TRUE(cluster.RunUntil(ask));
  EXPECT_EQ(reply.substr(0, 10), "-NOQUORUM ");
  EXPECT_EQ(Do(c, {"SYNC", "READ", "s:k"}).substr(0, 10), "-NOQUORUM ");
  frames = true;
  ASSERT_TRUE(cluster.RunUntil([&] { return Do(c, {"GETSET", "s:k", "3"}).substr(0, 1) != "-"; }));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.Ask({"GET", "s:k"}), "\"3\"");
  EXPECT_TRUE(cluster.SameDigest());
}

// A decision comes to light after the end, and an ordinary write stands already. It does not come back when that is
// deleted, and not with a restart either.
TEST_F(Agreed, AnOvertakenDecisionDoesNotComeBack) {
  Begin();
  EXPECT_EQ(Do(a, {"SET", "s:k", "1"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  cluster.on_way = [](TestNode&, std::string& message) {
    return message[0] != static_cast<char>(wire::MessageType::kFrame);
  };
  EXPECT_EQ(Do(a, {"SET", "s:k", "late"}), "+OK");
  cluster.Cut(a, b);
  cluster.Cut(a, c);
  cluster.on_way = nullptr;
  ASSERT_EQ(b.Ask({"GET", "s:k"}), "\"1\"") << "the decision was to be at a only";
  End({&b, &c});
  ASSERT_EQ(b.Ask({"SET", "s:k", "ordinary"}), "+OK");
  cluster.Heal(a, b);
  cluster.Heal(a, c);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.Ask({"GET", "s:k"}), "\"ordinary\"");
  EXPECT_EQ(c.Ask({"GET", "s:k"}), "\"ordinary\"");
  EXPECT_EQ(c.Ask({"DEL", "s:k"}), "1");
  ASSERT_TRUE(cluster.Settle());
  for (size_t n = 0; n < 3; ++n) {
    cluster[n].PowerCut();
    ASSERT_TRUE(cluster[n].Start().ok());
  }
  ASSERT_TRUE(cluster.Settle());
  for (TestNode* node : {&a, &b, &c})
    EXPECT_EQ(node->Ask({"GET", "s:k"}), "null");
  EXPECT_TRUE(cluster.SameDigest());
}

TEST_F(Agreed, WhatExpiresAfterItsEndIsRemoved) {
  Begin();
  EXPECT_EQ(Do(a, {"SET", "s:k", "1", "PX", "3000"}), "+OK");
  EXPECT_EQ(Do(a, {"SET", "s:stays", "1"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  End({&a, &b, &c});
  EXPECT_EQ(a.Ask({"DBSIZE"}), "2");
  cluster.Run(10'000);
  for (TestNode* node : {&a, &b, &c}) {
    EXPECT_EQ(node->Ask({"DBSIZE"}), "1");
    EXPECT_EQ(node->Ask({"GET", "s:k"}), "null");
  }
  EXPECT_EQ(c.Ask({"SET", "s:k", "2"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.Ask({"GET", "s:k"}), "\"2\"");
  EXPECT_TRUE(cluster.SameDigest());
}

}  // namespace
}  // namespace polyarch::engine
