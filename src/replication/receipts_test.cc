// Receipts: how the wish for them goes out, and how they come back.
#include <algorithm>

#include "replication/replica_fixture.h"

namespace polyarch::replication {
namespace {

class ReceiptsTest : public GraphTest {
 protected:
  template <typename M>
  std::vector<M> Sent(LinkId link, wire::MessageType type) {
    std::vector<M> out;
    for (const std::string& message : host.sent[link]) {
      M m;
      if (message[0] == static_cast<char>(type) && wire::Decode(std::string_view(message).substr(1), m))
        out.push_back(m);
    }
    return out;
  }
  std::vector<wire::WantReceipt> Wishes(LinkId link) {
    return Sent<wire::WantReceipt>(link, wire::MessageType::kWantReceipt);
  }
  std::vector<wire::Receipt> Receipts(LinkId link) {
    return Sent<wire::Receipt>(link, wire::MessageType::kReceipt);
  }
  void Subscribe(LinkId link, const clock::Origin& origin, uint64_t from) {
    Message(link, wire::Encode(wire::Subscribe{origin, from, 0, 1 << 20, 1}));
  }
  clock::Origin Own() { return origins.Get(*replica.own()); }
  clock::Dot Newest() { return {*replica.own(), replica.applied().Get(*replica.own())}; }
  // One change of this process, of which a and b get frames.
  void SetUpAuthor() {
    SetMembers({"me", "a", "b", "c"}, "mesh");
    a = Peer("a", 1);
    b = Peer("b", 2);
    Keep(200);
    Write();
    Subscribe(a, Own(), 1);
    Keep(100);
  }

  LinkId a = 0;
  LinkId b = 0;
};

TEST_F(ReceiptsTest, AreAskedOfSubscribersWhileAClientWaits) {
  SetUpAuthor();
  EXPECT_TRUE(Wishes(a).empty());
  replica.WantReceipts(1);
  Tick();
  ASSERT_EQ(Wishes(a).size(), 1U);
  EXPECT_EQ(Wishes(a)[0].origin, Own());
  EXPECT_EQ(Wishes(a)[0].sequence, 1U);
  EXPECT_TRUE(Wishes(b).empty()) << "it gets them from somebody else";
  // Behind the frame that it tells of.
  const auto& sent = host.sent[a];
  auto type_at = [&](wire::MessageType type) {
    return std::find_if(sent.begin(), sent.end(), [&](const std::string& m) { return m[0] == static_cast<char>(type); });
  };
  EXPECT_LT(type_at(wire::MessageType::kFrame), type_at(wire::MessageType::kWantReceipt));
  // A message may be lost: the wish is said again as long as the client waits, and no longer.
  for (int i = 0; i < 100; ++i) {
    replica.WantReceipts(1);
    Tick();
    if (i % 10 == 0) Keep(0);
  }
  EXPECT_EQ(Wishes(a).size(), 3U);
  Keep(3000);
  EXPECT_EQ(Wishes(a).size(), 3U);
}

TEST_F(ReceiptsTest, CountMembersAndWhatWasWritten) {
  SetUpAuthor();
  EXPECT_EQ(replica.Holders(Newest()), 0U);
  Message(a, wire::Encode(wire::Receipt{Own(), "a", 1}));
  Message(a, wire::Encode(wire::Receipt{Own(), "nobody", 1}));
  Message(a, wire::Encode(wire::Receipt{Own(), "me", 1}));
  Message(a, wire::Encode(wire::Receipt{{"x", 5}, "c", 1}));
  EXPECT_EQ(replica.Holders(Newest()), 1U);
  Message(a, wire::Encode(wire::Receipt{Own(), "c", 1'000'000}));
  EXPECT_EQ(replica.Holders(Newest()), 2U);
  Write();
  EXPECT_EQ(replica.Holders(Newest()), 0U) << "what is not written yet is held by nobody";
  Message(a, wire::Encode(wire::Receipt{Own(), "a", 2}));
  Message(a, wire::Encode(wire::Receipt{Own(), "a", 1}));  // an old one
  EXPECT_EQ(replica.Holders(Newest()), 1U);
  replica.ForgetOwn();
  Write();
  EXPECT_EQ(replica.Holders(Newest()), 0U);
}

TEST_F(ReceiptsTest, WhatNeighboursSayOfTheirDisksCountsToo) {
  SetUpAuthor();
  Have(a, Own(), 1);
  EXPECT_EQ(replica.Holders(Newest()), 1U);
}

class ForwarderTest : public ReceiptsTest {
 protected:
  // a - me - b: what b has of a comes from here.
  void SetUp() override {
    SetMembers({"me", "a", "b"}, "links a-me me-b");
    a = Peer("a", 1);
    b = Peer("b", 2);
    Links(a, "a", 1, {me()});
    Links(b, "b", 2, {me()});
    Keep(300);
    Have(a, kA, 1);
    Keep(100);
    ASSERT_TRUE(Subscribed(a, kA));
    Subscribe(b, kA, 1);
  }
  Author author{kA};
};

TEST_F(ForwarderTest, PassesTheWishOnAndTheReceiptsBack) {
  Frame(a, author.Next());
  Keep(100);
  Message(a, wire::Encode(wire::WantReceipt{kA, 1}));
  Tick();
  ASSERT_EQ(Wishes(b).size(), 1U);
  EXPECT_EQ(Wishes(b)[0].sequence, 1U);
  ASSERT_EQ(Receipts(a).size(), 1U);
  EXPECT_EQ(Receipts(a)[0].leader, "me");
  EXPECT_EQ(Receipts(a)[0].sequence, 1U);
  Message(b, wire::Encode(wire::Receipt{kA, "b", 1}));
  ASSERT_EQ(Receipts(a).size(), 2U);
  EXPECT_EQ(Receipts(a)[1].leader, "b");
  // What comes while the wish lasts is told without being asked for.
  Frame(a, author.Next());
  Keep(100);
  ASSERT_EQ(Receipts(a).size(), 3U);
  EXPECT_EQ(Receipts(a)[2].sequence, 2U);
  Keep(3000);
  Frame(a, author.Next());
  Keep(100);
  EXPECT_EQ(Receipts(a).size(), 3U) << "nobody waits any more";
}

TEST_F(ForwarderTest, TellsWhatIsOnDiskOnly) {
  Message(a, wire::Encode(wire::WantReceipt{kA, 1}));
  EXPECT_EQ(host.syncs_wanted, 1);
  Tick();
  EXPECT_TRUE(Receipts(a).empty());
  Frame(a, author.Next());
  now_us += 10'000;
  replica.SetTime(now_us, kWallMs + now_us / 1000);
  replica.ApplyReady();
  ASSERT_TRUE(log.Commit().ok());
  replica.Tick();
  EXPECT_EQ(Applied(kA), 1U);
  EXPECT_TRUE(Receipts(a).empty()) << "applied, and not synced";
  Tick();
  EXPECT_EQ(Receipts(a).size(), 1U);
  Message(a, wire::Encode(wire::WantReceipt{kA, 1}));
  EXPECT_EQ(host.syncs_wanted, 1) << "it is on disk already";
  Tick();
  EXPECT_EQ(Receipts(a).size(), 2U) << "said again, for the first one may be lost";
}

TEST_F(ForwarderTest, TakesWishesAlongTheSubscriptionOnly) {
  Frame(a, author.Next());
  Keep(100);
  Message(b, wire::Encode(wire::WantReceipt{kA, 1}));
  Tick();
  EXPECT_TRUE(Receipts(b).empty());
  EXPECT_TRUE(Wishes(a).empty());
  // And answers back to whoever asked, if anybody did.
  Message(b, wire::Encode(wire::Receipt{kA, "b", 1}));
  EXPECT_TRUE(Receipts(a).empty());
}

TEST_F(ForwarderTest, ALinkThatIsGoneIsToldNothing) {
  Frame(a, author.Next());
  Keep(100);
  Message(a, wire::Encode(wire::WantReceipt{kA, 2}));
  alive.erase(a);
  replica.OnLinkDown(a);
  Message(b, wire::Encode(wire::Receipt{kA, "b", 1}));
  Tick();
  EXPECT_EQ(host.sent[a].end(),
            std::find_if(host.sent[a].begin(), host.sent[a].end(), [](const std::string& m) {
              return m[0] == static_cast<char>(wire::MessageType::kReceipt);
            }));
}

}  // namespace
}  // namespace polyarch::replication
