// Who is a member, and whose word counts for what: retirements that cross, processes without a cluster, admissions
// at once.
#include <gtest/gtest.h>

#include "engine/engine_test_util.h"
#include "wire/peer_message.h"

namespace polyarch::engine {
namespace {

// Each is told to take the other one out while they are cut off, and settles that alone.
void RetireEachOther(Leaders& cluster, TestNode& a, TestNode& b) {
  cluster.Cut(a, b);
  cluster.Run(3'000);
  EXPECT_EQ(a.Ask({"LEADER", "RETIRE", "b"}), "+OK");
  cluster.Run(100);
  EXPECT_EQ(b.Ask({"LEADER", "RETIRE", "a"}), "+OK");
  cluster.Run(5'000);
  cluster.Heal(a, b);
}

TEST(Membership, OfTwoThatRetiredEachOtherTheOneRetiredLastGoesOn) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  RetireEachOther(cluster, a, b);
  cluster.Run(10'000);
  EXPECT_EQ(a.Ask({"SET", "k", "v"}), "+OK") << "the newer record is the one about it";
  EXPECT_EQ(b.Ask({"SET", "k", "v"}).substr(0, 9), "-RETIRED ");
  // The other one may come back.
  b.Kill();
  b.options().rejoin = true;
  ASSERT_TRUE(b.Start().ok());
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.Ask({"GET", "k"}), "\"v\"");
  EXPECT_EQ(a.Info("leaders"), "2");
}

// The second one is told a moment before they meet again: it still waits for the other's last word.
TEST(Membership, WhoWasJustTakenOutDoesNotTakeUsOut) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  cluster.Cut(a, b);
  cluster.Run(3'000);
  EXPECT_EQ(a.Ask({"LEADER", "RETIRE", "b"}), "+OK");
  cluster.Run(20'000);
  EXPECT_EQ(b.Ask({"LEADER", "RETIRE", "a"}), "+OK");
  cluster.Heal(a, b);
  cluster.Run(20'000);
  EXPECT_EQ(a.Ask({"SET", "k", "v"}), "+OK") << "the newer record is the one about it";
  EXPECT_EQ(b.Ask({"SET", "k", "v"}).substr(0, 9), "-RETIRED ");
}

TEST(Membership, WhomWeTookOutDoesNotTakeUsOut) {
  Leaders cluster(3);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  TestNode& c = cluster[2];
  cluster.Cut(a, b);
  cluster.Cut(a, c);
  cluster.Run(3'000);
  EXPECT_EQ(a.Ask({"LEADER", "RETIRE", "b"}), "+OK");  // by mistake: it is a that is cut off
  EXPECT_EQ(a.Ask({"LEADER", "RETIRE", "c"}), "+OK");
  EXPECT_EQ(b.Ask({"LEADER", "RETIRE", "a"}), "+OK");
  cluster.Run(5'000);
  cluster.Heal(a, b);
  cluster.Heal(a, c);
  a.Kill();
  a.options().join = {b.address()};  // it looks for them
  ASSERT_TRUE(a.Start().ok());
  cluster.Run(20'000);
  EXPECT_EQ(b.Ask({"SET", "k", "v"}), "+OK");
  EXPECT_EQ(c.Ask({"SET", "k", "v"}), "+OK");
  EXPECT_EQ(b.Info("leaders"), "2");
}

// A second process with the name of a leader that lives, and an empty directory.
TEST(Membership, WhoReachesNobodySaysWhomItTried) {
  Leaders cluster(1);
  TestNode& b = cluster.Add("b");
  b.options().join = {"nowhere:1", "nowhere:2"};
  ASSERT_TRUE(b.Start().ok());
  cluster.Run(3'000);
  EXPECT_EQ(b.Ask({"SET", "k", "v"}),
            "-HISTORY not yet admitted to writes: no member reached (tried nowhere:1, nowhere:2); see this leader's log");
}

struct Written {
  clock::Origin origin;
  uint64_t sequence;
};

// What it wrote last.
Written Newest(TestNode& node) {
  const clock::OriginIndex own = *node.engine().replica().own();
  return {node.engine().origins().Get(own), node.engine().applied().Get(own)};
}

bool Covers(TestNode& node, const clock::VersionVector& vector, const Written& written) {
  auto index = node.engine().origins().Find(written.origin);
  return index && vector.Get(*index) >= written.sequence;
}

// A host is emptied and starts a cluster of its own; the members of its old one still dial it.
TEST(Membership, AFounderLinksWithNobodyBeforeItHasACluster) {
  Leaders cluster(2);
  cluster[1].Kill();
  TestNode& x = cluster.Add("x", [&](Options& o) {
    o.join.clear();
    o.advertise = cluster[1].address();
  });
  x.auto_sync = false;
  ASSERT_TRUE(x.Start().ok());
  cluster.Run(5'000);
  EXPECT_EQ(x.engine().VersionVectorText().find("a."), std::string::npos);
  EXPECT_EQ(cluster[0].engine().VersionVectorText().find("x."), std::string::npos);
  EXPECT_EQ(cluster[0].Info("leaders"), "2");
}

TEST(Membership, AJoinerJoinsTheClusterThatItWasTold) {
  Leaders cluster(2);
  cluster[1].Kill();
  TestNode& d = cluster.Add("d", [&](Options& o) { o.join.clear(); });
  ASSERT_TRUE(d.Start().ok());
  cluster.Run(100);
  // The old cluster's dial comes first: the new one's member is not there yet.
  d.Kill();
  TestNode& x = cluster.Add("x", [&](Options& o) {
    o.join = {d.address()};
    o.advertise = cluster[1].address();
  });
  ASSERT_TRUE(x.Start().ok());
  cluster.Run(5'000);
  EXPECT_EQ(cluster[0].Info("leaders"), "2");
  EXPECT_FALSE(x.engine().may_write());
  ASSERT_TRUE(d.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return x.engine().may_write(); }));
  EXPECT_EQ(d.Info("leaders"), "2");
  EXPECT_EQ(x.engine().VersionVectorText().find("a."), std::string::npos);
}

TEST(Membership, OfTwoAdmissionsTheLowerFloorCounts) {
  Leaders cluster(2, 7);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  cluster.Cut(a, b);
  cluster.Run(3'000);
  a.Ask({"SET", "d", "v"});
  const Written written = Newest(a);
  TestNode& c = cluster.Add("c", [&](Options& o) { o.join = {a.address(), b.address()}; });
  // Both are asked, c hears b's answer alone, and nobody hears of what c writes then.
  cluster.on_way = [&](TestNode& from, std::string& message) {
    const bool hello = message[0] == static_cast<char>(wire::MessageType::kHello);
    return &from == &b || hello || (&from == &c && message[0] != static_cast<char>(wire::MessageType::kFrame));
  };
  ASSERT_TRUE(c.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return a.Info("leaders") == "3" && c.engine().may_write(); }));
  c.Kill();
  cluster.on_way = nullptr;
  cluster.Heal(a, b);
  cluster.Run(10'000);
  for (TestNode* node : {&a, &b}) {
    EXPECT_TRUE(Covers(*node, node->engine().applied(), written));
    EXPECT_FALSE(Covers(*node, node->engine().replica().Claim("c"), written)) << "c has not seen it";
  }
}

// A process that lost its disk is admitted anew, by a leader that has not heard all that the earlier one had claimed.
TEST(Membership, ClaimsOfBeforeAnAdmissionDoNotCount) {
  Leaders cluster(3, 7);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  TestNode& c = cluster[2];
  cluster.Cut(a, b);
  cluster.Cut(b, c);
  cluster.Run(3'000);
  a.Ask({"SET", "d", "v"});
  const Written written = Newest(a);
  const clock::Dot dot(*a.engine().replica().own(), written.sequence);
  a.engine().replica().WantReceipts(written.sequence);
  cluster.Run(5'000);  // c has claimed it
  EXPECT_EQ(a.engine().replica().Holders(dot), 1U);
  c.Kill();
  c.SetDisk({});
  c.options().join = {b.address()};
  cluster.Cut(a, c);
  cluster.Heal(b, c);
  ASSERT_TRUE(c.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().may_write(); }));
  EXPECT_EQ(c.Ask({"GET", "d"}), "null");
  c.Kill();
  cluster.Heal(a, b);
  cluster.Run(10'000);
  EXPECT_EQ(b.Ask({"GET", "d"}), "\"v\"");
  for (TestNode* node : {&a, &b}) {
    EXPECT_TRUE(Covers(*node, node->engine().applied(), written));
    EXPECT_FALSE(Covers(*node, node->engine().replica().Claim("c"), written)) << "c has not seen it";
  }
  EXPECT_EQ(a.engine().replica().Holders(dot), 1U) << "b; c's disk of before is no more";
}

// Refusing says that no last word will come of that admission. Who has joined again has one to give.
TEST(Membership, WhoRefusedUsOnceIsHeardWhenItIsRetiredAgain) {
  Leaders cluster(3);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  const auto nonce_of = [&](const std::string& leader) {
    keyspace::Keyspace& keys = b.engine().keys();
    const std::string key = "member/" + leader;
    const std::string text(keys.Read(keys.Ref(crdt::kReservedDatabase, key)).value);
    return clock::Origin::Parse("x." + text.substr(0, text.find(' ')))->incarnation;
  };
  const auto is_member = [&] { return b.engine().replica().members().count("a") != 0; };
  a.auto_sync = false;  // its claims do not grow: no last word
  const uint64_t first = nonce_of("a");
  EXPECT_EQ(b.Ask({"LEADER", "RETIRE", "a"}), "+OK");
  cluster.Run(3'000);
  EXPECT_TRUE(is_member()) << "b awaits its last word";
  const uint64_t own = nonce_of("b");
  cluster.on_way = [&](TestNode& from, std::string& message) {
    if (&from == &a) message = wire::Encode(wire::Refused{wire::Refused::Reason::kRetired, own});
    return true;
  };
  ASSERT_TRUE(cluster.RunUntil([&] { return !is_member(); }, 5'000)) << "which will not come";
  a.Kill();
  cluster.on_way = nullptr;
  a.SetDisk({});
  a.auto_sync = true;
  a.options().join = {b.address()};
  ASSERT_TRUE(a.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return a.engine().may_write(); }));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_NE(nonce_of("a"), first);
  EXPECT_TRUE(is_member());
  a.auto_sync = false;
  EXPECT_EQ(b.Ask({"LEADER", "RETIRE", "a"}), "+OK");
  cluster.Run(5'000);
  EXPECT_TRUE(is_member()) << "b awaits the last word of the second admission";
  a.auto_sync = true;
  EXPECT_TRUE(cluster.RunUntil([&] { return !is_member(); }, 5'000));
}

}  // namespace
}  // namespace polyarch::engine
