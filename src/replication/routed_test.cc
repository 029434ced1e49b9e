// Messages from process to process, and what one replica passes on.
#include "replication/replica_fixture.h"

namespace polyarch::replication {
namespace {

class RoutedTest : public GraphTest {
 protected:
  // me - a - far, and me - b.
  RoutedTest() {
    a = Peer("a", 100);
    b = Peer("b", 200);
    Run(50);
    Links(a, "a", 100, {300, me()});
    Links(a, "far", 300, {100});
    Links(b, "b", 200, {me()});
    Keep(100);
    host.sent.clear();
  }
  std::vector<std::string> Sent(LinkId link) {
    std::vector<std::string> out;
    for (const std::string& message : host.sent[link]) {
      if (message[0] == static_cast<char>(wire::MessageType::kRouted)) out.push_back(message);
    }
    return out;
  }
  static std::string For(uint64_t to, uint8_t hops = 5) {
    return wire::Encode(wire::Routed{.to = to, .hops = hops, .payload = "hello"});
  }
  LinkId a = 0;
  LinkId b = 0;
};

TEST_F(RoutedTest, GoesTheShortestWay) {
  EXPECT_TRUE(replica.SendRouted("far", "hello"));
  EXPECT_TRUE(replica.SendRouted("b", "hello"));
  EXPECT_FALSE(replica.SendRouted("nobody", "hello"));
  ASSERT_EQ(Sent(a).size(), 1U);
  ASSERT_EQ(Sent(b).size(), 1U);
  wire::Routed routed;
  const std::string sent = Sent(a)[0];
  ASSERT_TRUE(wire::Decode(std::string_view(sent).substr(1), routed));
  EXPECT_EQ(routed.to, 300U);
  EXPECT_EQ(routed.payload, "hello");
  EXPECT_TRUE(replica.InReach("far"));
  EXPECT_FALSE(replica.InReach("nobody"));
}

TEST_F(RoutedTest, OthersArePassedOnAHopLess) {
  Message(b, For(300, 5));
  ASSERT_EQ(Sent(a).size(), 1U);
  EXPECT_EQ(Sent(a)[0], For(300, 4));
  Message(b, For(300, 0));
  EXPECT_EQ(Sent(a).size(), 1U) << "it has gone far enough";
  Message(b, For(999));
  EXPECT_EQ(replica.counters().routed_on, 1U);
  EXPECT_EQ(replica.counters().routed_lost, 2U);
}

TEST_F(RoutedTest, ItsOwnAreHandedOver) {
  Message(b, For(me()));
  ASSERT_EQ(host.routed.size(), 1U);
  EXPECT_EQ(host.routed[0], "hello");
}

TEST_F(RoutedTest, ALaterLayoutIsPassedOnUnread) {
  std::string later = For(300, 5);
  later[10] = 2;
  later += "more";
  Message(b, later);
  ASSERT_EQ(Sent(a).size(), 1U);
  later[wire::Routed::kHopsAt] = 4;
  EXPECT_EQ(Sent(a)[0], later);
  std::string mine = For(me());
  mine[10] = 2;
  Message(b, mine);
  EXPECT_TRUE(host.routed.empty());
  EXPECT_EQ(replica.counters().malformed, 0U);
}

TEST_F(RoutedTest, AFullLinkGetsNone) {
  host.backlog[a] = size_t{9} << 20;
  EXPECT_FALSE(replica.SendRouted("a", "hello"));
  EXPECT_TRUE(Sent(a).empty());
}

}  // namespace
}  // namespace polyarch::replication
