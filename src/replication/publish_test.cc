// The trees along which messages between clients go, and what one replica passes on.
#include <map>
#include <set>

#include "base/random.h"
#include "replication/replica_fixture.h"

namespace polyarch::replication {
namespace {

using Edges = std::set<std::pair<uint64_t, uint64_t>>;

// Everybody's knowledge of one graph, and how often a message from `source` comes to each.
std::map<uint64_t, int> Spread(const Edges& edges,
                               const std::set<uint64_t>& nodes,
                               uint64_t source,
                               int* sent) {
  std::map<uint64_t, std::set<uint64_t>> neighbours;
  for (const auto& [a, b] : edges) {
    neighbours[a].insert(b);
    neighbours[b].insert(a);
  }
  auto process = [](uint64_t nonce) {
    // Names that are not in the order of the nonces; some are the same.
    const std::string leader = "l" + std::to_string(nonce * 7 % 5);
    return wire::ProcessInfo{leader, nonce, 1, leader + ":1", nonce * 10};
  };
  std::map<uint64_t, std::vector<uint64_t>> children;
  for (uint64_t self : nodes) {
    LinkStates graph(self);
    graph.SetOwn(process(self), neighbours[self]);
    for (uint64_t other : nodes) {
      if (other == self) continue;
      graph.Merge({process(other), 1, {neighbours[other].begin(), neighbours[other].end()}}, 1);
    }
    children[self] = graph.ChildrenOf(source);
  }
  std::map<uint64_t, int> times;
  std::vector<uint64_t> queue{source};
  for (size_t i = 0; i < queue.size() && i < 1000; ++i) {
    ++times[queue[i]];
    for (uint64_t child : children[queue[i]]) {
      ++*sent;
      queue.push_back(child);
    }
  }
  return times;
}

TEST(PublishTree, ReachesEachInReachOnceWithoutOneTransferMore) {
  base::Random random(3);
  for (int round = 0; round < 300; ++round) {
    std::set<uint64_t> nodes;
    for (uint64_t n = 1; n <= 1 + random.Below(9); ++n)
      nodes.insert(n);
    Edges edges;
    for (uint64_t a : nodes) {
      for (uint64_t b : nodes) {
        if (a < b && random.Percent(40)) edges.emplace(a, b);
      }
    }
    std::set<uint64_t> reached{1};
    for (size_t before = 0; before != reached.size();) {
      before = reached.size();
      for (const auto& [a, b] : edges) {
        if (reached.count(a) != 0 || reached.count(b) != 0) reached.insert({a, b});
      }
    }
    int sent = 0;
    const std::map<uint64_t, int> times = Spread(edges, nodes, 1, &sent);
    EXPECT_EQ(times.size(), reached.size());
    for (const auto& [nonce, count] : times) {
      EXPECT_EQ(count, 1) << nonce;
      EXPECT_EQ(reached.count(nonce), 1U);
    }
    EXPECT_EQ(sent, static_cast<int>(reached.size()) - 1);
  }
}

class PublishTest : public ReplicaTest {
 protected:
  // A process tells of its links.
  void Say(LinkId over,
           const std::string& leader,
           uint64_t nonce,
           std::vector<uint64_t> neighbours) {
    wire::LinkStates states;
    states.entries = {
        {{leader, nonce, kWallMs, leader + ":1", nonce * 10}, ++number_, std::move(neighbours)}};
    Message(over, wire::Encode(states));
  }
  std::string Published(uint64_t source, uint64_t number) {
    return wire::Encode(wire::Publish{.source = source,
                                      .number = number,
                                      .channel = "c",
                                      .message = "m" + std::to_string(number)});
  }
  size_t Sent(LinkId link) {
    size_t count = 0;
    for (const std::string& message : host.sent[link]) {
      if (message[0] == static_cast<char>(wire::MessageType::kPublish)) ++count;
    }
    return count;
  }
  // me - a - far, and me - b.
  void ConnectAll() {
    a = Connect("a", 100);
    b = Connect("b", 200);
    Run(50);
    Say(a, "a", 100, {300, replica.nonce()});
    Say(a, "far", 300, {100});
    Say(b, "b", 200, {replica.nonce()});
    Run(50);
  }
  uint64_t number_ = 10;
  LinkId a = 0;
  LinkId b = 0;
};

TEST_F(PublishTest, OwnMessagesGoToEachNeighbour) {
  ConnectAll();
  replica.Publish(false, "c", "hello");
  EXPECT_EQ(Sent(a), 1U);
  EXPECT_EQ(Sent(b), 1U);
  EXPECT_EQ(replica.counters().publishes_out, 2U);
}

TEST_F(PublishTest, OthersArePassedOnOnceAndNotBack) {
  ConnectAll();
  Message(a, Published(300, 1));
  replica.ForwardPublished();
  EXPECT_EQ(Sent(a), 0U);
  EXPECT_EQ(Sent(b), 1U);
  EXPECT_EQ(replica.counters().publishes_in, 1U);
  // Again, by whatever way; and an older one that was overtaken.
  Message(b, Published(300, 1));
  Message(a, Published(300, 5));
  Message(a, Published(300, 4));
  replica.ForwardPublished();
  EXPECT_EQ(Sent(b), 2U);
  EXPECT_EQ(replica.counters().publishes_again, 2U);
  // Our own that comes round, and one of nobody.
  Message(a, Published(replica.nonce(), 1));
  Message(a, Published(999, 1));
  replica.ForwardPublished();
  EXPECT_EQ(replica.counters().publishes_in, 2U);
  EXPECT_EQ(replica.counters().malformed, 0U);
}

TEST_F(PublishTest, ALaterLayoutIsPassedOnUnread) {
  ConnectAll();
  std::string later = Published(300, 1);
  later[1] = 2;
  later += "more";
  Message(a, later);
  replica.ForwardPublished();
  EXPECT_EQ(Sent(b), 1U);
  EXPECT_EQ(host.sent[b].back(), later);
}

TEST_F(PublishTest, AFullLinkGetsNone) {
  ConnectAll();
  host.backlog[a] = size_t{9} << 20;
  replica.Publish(false, "c", "hello");
  EXPECT_EQ(Sent(a), 0U);
  EXPECT_EQ(Sent(b), 1U);
  EXPECT_EQ(replica.counters().publishes_dropped, 1U);
}

}  // namespace
}  // namespace polyarch::replication
