// The live graph: where streams come from, which links stay, who is in reach.
#include "replication/replica.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "replication/replica_fixture.h"

namespace polyarch::replication {
namespace {

TEST_F(GraphTest, StreamsComeFromTheNextHop) {
  LinkId a = Peer("a", 1);
  LinkId b = Peer("b", 2);
  Links(a, "a", 1, {3, me()});
  Links(b, "b", 2, {me()});
  Links(a, "c", 3, {1});
  Tick(50);
  EXPECT_EQ(Listed(), (std::vector<uint64_t>{1, 2}));
  // b is the first to tell of it, but a is on the way to c.
  Have(b, kC, 5);
  Tick();
  EXPECT_TRUE(Subscribed(a, kC));
  EXPECT_FALSE(Subscribed(b, kC));
  // a makes no progress: b has it. Back when a has as much as b had.
  Keep(1500);
  ASSERT_TRUE(Subscribed(b, kC));
  EXPECT_EQ(Subscribed(b, kC)->from, 1U);
  Author c(kC);
  for (int i = 0; i < 5; ++i) Frame(b, c.Next());
  Have(a, kC, 4);
  Keep(300);
  EXPECT_EQ(Subscribed(a, kC)->from, 1U);
  Have(a, kC, 5);
  Keep(200);
  EXPECT_EQ(Subscribed(a, kC)->from, 6U);
  EXPECT_EQ(replica.counters().moved, 2U);
}

TEST_F(GraphTest, AStreamMovesWhenTheNewWayHasWhatCameByTheOld) {
  LinkId a = Peer("a", 1);
  LinkId b = Peer("b", 2);
  Links(a, "a", 1, {3, me()});
  Links(b, "b", 2, {me()});
  Links(a, "c", 3, {1});
  Have(a, kC, 15);
  Tick(50);
  ASSERT_TRUE(Subscribed(a, kC));
  Author c(kC);
  for (int i = 0; i < 10; ++i) Frame(a, c.Next());
  // c leaves a for b. b lags behind by 5, for ever; but not behind what there was at this moment.
  Links(b, "b", 2, {3, me()});
  Links(b, "a", 1, {me()});
  Links(b, "c", 3, {2});
  Have(b, kC, 5);
  Keep(300);
  EXPECT_FALSE(Subscribed(b, kC));
  for (int i = 0; i < 5; ++i) Frame(a, c.Next());
  Have(b, kC, 10);
  Keep(200);
  ASSERT_TRUE(Subscribed(b, kC));
  EXPECT_EQ(Subscribed(b, kC)->from, 16U);
  // What a had sent already is dropped, and a is told to stop.
  Frame(a, c.frames()[14]);
  EXPECT_EQ(replica.counters().duplicates_dropped, 1U);
}

// a is asked for what c wrote, and is in the middle of it when c's own link is there.
class LeavingTest : public GraphTest {
 protected:
  LeavingTest() {
    a = Peer("a", 1);
    Links(a, "a", 1, {3, me()});
    Links(a, "c", 3, {1});
    Have(a, kC, 1000);
    Tick(50);
    c = Peer("c", 3);
    Links(c, "c", 3, {1, me()});
    Have(c, kC, 1000);
    Keep(200);
  }
  size_t Come(size_t value_bytes) {
    const std::string frame = author.Next({.value_bytes = value_bytes});
    Frame(a, frame);
    Tick();
    return frame.size();
  }
  auto Credits() {
    return std::count_if(host.sent[a].begin(), host.sent[a].end(), [](const std::string& message) {
      return message[0] == static_cast<char>(wire::MessageType::kCredit);
    });
  }
  LinkId a = 0;
  LinkId c = 0;
  Author author{kC};
};

// What a has sent already would come from c once more.
TEST_F(LeavingTest, ASourceRunsDryFirst) {
  ASSERT_TRUE(Subscribed(a, kC));
  size_t came = 0;
  while (came < Subscribed(a, kC)->credit) {
    ASSERT_FALSE(Subscribed(c, kC)) << came << " bytes have come";
    came += Come(900);
  }
  ASSERT_TRUE(Subscribed(c, kC));
  EXPECT_EQ(Subscribed(c, kC)->from, author.last() + 1);
  EXPECT_EQ(Credits(), 0);
  EXPECT_EQ(replica.counters().moved, 1U);
  EXPECT_EQ(replica.counters().resubscribed, 0U);
}

TEST_F(LeavingTest, ASourceThatDiesMeanwhileIsLeftAtOnce) {
  for (int i = 0; i < 3; ++i) Come(900);
  EXPECT_FALSE(Subscribed(c, kC));
  alive.erase(a);
  replica.OnLinkDown(a);
  Tick();
  ASSERT_TRUE(Subscribed(c, kC));
  EXPECT_EQ(Subscribed(c, kC)->from, 4U);
}

TEST_F(LeavingTest, ASlowSourceIsNotWaitedFor) {
  for (int i = 0; i < 3; ++i) {
    Come(1);
    Keep(500);
    EXPECT_FALSE(Subscribed(c, kC)) << i;
  }
  Come(1);
  Keep(800);
  ASSERT_TRUE(Subscribed(c, kC));
  EXPECT_EQ(Subscribed(c, kC)->from, 5U);
  EXPECT_EQ(replica.counters().resubscribed, 0U);
}

TEST_F(LeavingTest, ASourceThatStaysGetsWhatWasWithheld) {
  for (int i = 0; i < 8; ++i) Come(900);
  EXPECT_FALSE(Subscribed(c, kC));
  EXPECT_EQ(Credits(), 0);
  alive.erase(c);
  replica.OnLinkDown(c);
  Keep(200);
  EXPECT_EQ(Credits(), 1);
  for (int i = 0; i < 8; ++i) Come(900);
  EXPECT_EQ(Credits(), 2);
  EXPECT_EQ(Applied(kC), 16U);
}

TEST_F(GraphTest, ADeadLeadersOriginComesFromWhoeverHasMost) {
  LinkId a = Peer("a", 1);
  LinkId b = Peer("b", 2);
  Links(a, "a", 1, {me()});
  Links(b, "b", 2, {me()});
  Have(a, kC, 3);
  Have(b, kC, 7);
  Tick(50);
  EXPECT_FALSE(Subscribed(a, kC));
  EXPECT_TRUE(Subscribed(b, kC));
}

TEST_F(GraphTest, ALostHaveIsAskedForAgain) {
  LinkId a = Peer("a", 1);
  wire::Have have;
  have.number = 1;
  have.full = true;
  have.entries = {{kA, 1, 1}};
  Message(a, wire::Encode(have));
  alive[a].have = 1;
  Keep(1000);
  for (const wire::Pulse& pulse : Pulses(a)) EXPECT_FALSE(pulse.want_full);
  alive[a].have = 3;  // two were lost
  Keep(100);
  EXPECT_TRUE(Pulses(a).back().want_full);
  // We are asked, too: all that is applied here, whatever we had said.
  Write();
  Keep(100);
  host.sent[a].clear();
  alive[a] = {.want_full = true};
  Keep(100);
  bool full = false;
  for (const std::string& message : host.sent[a]) {
    wire::Have m;
    full |= message[0] == static_cast<char>(wire::MessageType::kHave) &&
            wire::Decode(std::string_view(message).substr(1), m) && m.full && m.entries.size() == 1;
  }
  EXPECT_TRUE(full);
}

TEST_F(GraphTest, HeartbeatsAreSmallAndNothingElseMoves) {
  LinkId a = Peer("a", 1);
  Links(a, "a", 1, {me()});
  Keep(500);
  replica.OnLinkMessage(a, wire::Encode(replica.graph().Summary()));
  alive[a].graph = replica.graph().hash();
  alive[a].hello = 100;
  Keep(100);
  host.sent[a].clear();
  Keep(3000);
  size_t bytes = 0;
  for (const std::string& message : host.sent[a]) bytes += message.size();
  EXPECT_LE(bytes, 10U * 30U);
}

TEST_F(GraphTest, ALinkThatNobodyWantsIsDrainedThenClosed) {
  SetMembers({"me", "a", "b"}, "star b");
  LinkId a = Peer("a", 1);
  LinkId b = Peer("b", 2);
  Links(a, "a", 1, {2, me()});
  Links(b, "b", 2, {1, me()});
  Keep(5000);
  EXPECT_EQ(closes[a], 0) << "a wants it";
  alive[a].wanted = false;
  Keep(2500);
  EXPECT_EQ(Listed(), (std::vector<uint64_t>{1, 2}));
  Keep(700);
  EXPECT_EQ(Listed(), (std::vector<uint64_t>{2}));
  alive.erase(a);
  Keep(1000);
  EXPECT_EQ(closes[a], 1);
  EXPECT_EQ(closes[b], 0);
  EXPECT_EQ(replica.counters().drained, 1U);
}

// Whoever sends a state may be no neighbour any more when the topology has healed meanwhile.
TEST_F(GraphTest, ALinkThatCarriesAStateStays) {
  SetMembers({"me", "a", "b"}, "star b");
  LinkId a = Peer("a", 1);
  LinkId b = Peer("b", 2);
  Links(a, "a", 1, {2, me()});
  Links(b, "b", 2, {1, me()});
  replica.SetCarrier("a");
  alive[a].wanted = false;
  Keep(20'000);
  EXPECT_EQ(closes[a], 0);
  EXPECT_EQ(Listed(), (std::vector<uint64_t>{1, 2}));
  EXPECT_TRUE(Pulses(a).back().wanted) << "its other end must not close it, either";
  EXPECT_FALSE(Pulses(b).empty());
  replica.SetCarrier("");
  Keep(3500);
  alive.erase(a);
  Keep(1500);
  EXPECT_EQ(closes[a], 1);
  EXPECT_EQ(closes[b], 0);
}

TEST_F(GraphTest, ALinkThatIsNeededStays) {
  SetMembers({"me", "a", "b"}, "star b");
  LinkId a = Peer("a", 1);
  Links(a, "a", 1, {2, me()});
  Links(a, "b", 2, {1});  // b, the hub, is reached over a only
  alive[a].wanted = false;
  Keep(10'000);
  EXPECT_EQ(closes[a], 0);
}

// Otherwise its process would seem in reach for ever, for all who hear our list, also when it has died.
TEST_F(GraphTest, WhoIsRetiredIsListedNoMore) {
  SetMembers({"me", "a", "b"}, "mesh");
  LinkId a = Peer("a", 1);
  LinkId b = Peer("b", 2);
  Links(a, "a", 1, {2, me()});
  Links(b, "b", 2, {1, me()});
  Keep(500);
  EXPECT_EQ(Listed(), (std::vector<uint64_t>{1, 2}));
  replica.SetRetired({{"a", 0}});
  alive.erase(a);
  Keep(500);
  EXPECT_EQ(Listed(), (std::vector<uint64_t>{2}));
}

TEST_F(GraphTest, AFlappingLinkIsHeldBack) {
  for (int i = 0; i < 4; ++i) {
    LinkId a = Peer("a", 1);
    Keep(100);
    EXPECT_EQ(Listed().empty(), i > 0) << i;
    alive.clear();
    replica.OnLinkDown(a);
    Tick(50);
  }
  Peer("a", 1);
  Keep(1900);
  EXPECT_TRUE(Listed().empty());
  Keep(300);
  EXPECT_FALSE(Listed().empty());
}

// While a link is held back its ends reach different processes; both know all of them all the same.
TEST_F(GraphTest, WhatIsBeyondAHeldBackLinkIsSentOnce) {
  LinkId b = Peer("b", 2);
  Links(b, "b", 2, {me()});
  Keep(200);
  for (int i = 0; i < 6; ++i) {
    LinkId a = Peer("a", 1);
    Links(a, "a", 1, {9});
    Keep(100);
    alive.erase(a);
    replica.OnLinkDown(a);
    Tick(50);
  }
  LinkId a = Peer("a", 1);
  Links(a, "a", 1, {9});
  const uint64_t said = number;
  for (int i = 0; i < 13; ++i) {  // its heartbeats, and what follows from their being different
    Message(a, wire::Encode(wire::LinkSummary{{{1, said}}}));
    if (i == 1) Message(a, wire::Encode(wire::LinkWant{{2, me()}}));
    Keep(300);
  }
  EXPECT_EQ(Listed(), (std::vector<uint64_t>{2})) << "it is held back";
  std::map<std::pair<uint64_t, uint64_t>, int> times;
  int summaries = 0;
  for (const std::string& message : host.sent[a]) {
    wire::LinkStates m;
    summaries += message[0] == static_cast<char>(wire::MessageType::kLinkSummary) ? 1 : 0;
    if (message[0] != static_cast<char>(wire::MessageType::kLinkState)) continue;
    ASSERT_TRUE(wire::Decode(std::string_view(message).substr(1), m));
    for (const wire::LinkState& state : m.entries) ++times[{state.process.nonce, state.number}];
  }
  EXPECT_EQ(times.size(), 2U) << "what a asked for";
  for (const auto& [state, n] : times) EXPECT_EQ(n, 1) << state.first;
  EXPECT_GE(summaries, 5) << "it can see what there is, and ask";
}

// An idle leader costs what lives, not what ever lived.
TEST_F(GraphTest, FoldedOriginsCostNothing) {
  constexpr uint64_t kFolded = 20'000;
  constexpr uint64_t kMembers = 50;
  std::vector<std::string> names{"me"};
  for (uint64_t i = 1; i < kMembers; ++i) names.push_back("n" + std::to_string(i));
  SetMembers(names, "mesh");
  const clock::Origin scribe{"n1", 10};  // who wrote the records
  const clock::OriginIndex records = replica.InternForeign(scribe);
  OriginRow row = replica.Row(records);
  row.last = kFolded;
  row.clock_ms = kWallMs;
  replica.RestoreRow(records, row);
  for (uint64_t i = 0; i < kFolded; ++i) {
    const clock::OriginIndex origin = replica.InternForeign({names[i % kMembers], 1'000'000 + i});
    row = replica.Row(origin);
    row.last = 3;
    row.clock_ms = kWallMs - 1;
    row.ended = true;
    replica.RestoreRow(origin, row);
    replica.AddFold({clock::Dot(records, i + 1), origin, 3});
  }
  replica.SettleFolds();
  ASSERT_EQ(replica.folded(), kFolded);
  std::set<uint64_t> all{me()};
  for (uint64_t i = 1; i < kMembers; ++i) all.insert(i);
  for (uint64_t i = 1; i < kMembers; ++i) {
    const LinkId link = Peer(names[i], i);
    Links(link, names[i], i, all);
    Have(link, scribe, kFolded);
  }
  Keep(1000);
  for (auto& [link, pulse] : alive) pulse.graph = replica.graph().hash();
  ASSERT_EQ(replica.graph().leaders().size(), kMembers);
  ASSERT_TRUE(replica.synced_with_links());
  const uint64_t before = replica.steps();
  for (int i = 0; i < 20; ++i) {
    Keep(50);  // 100 ms: twice what the engine asks for meanwhile
    for (const std::string& name : names) EXPECT_GE(replica.MemberClock(name), -1);
    (void)replica.OriginsToEnd();
    if (i % 10 != 0) continue;
    (void)replica.Stable();
    (void)replica.StableOfCounting();
    for (const std::string& name : names) (void)replica.Holds(name);
  }
  EXPECT_LT(replica.steps() - before, 20'000U);
  EXPECT_EQ(replica.MemberClock("n1"), kWallMs);
  EXPECT_EQ(replica.MemberClock("n2"), kWallMs - 1);
  // What one of them goes on with is pulled.
  const clock::Origin late{"n7", 1'000'007};
  Have(1, late, 5);
  Keep(200);
  ASSERT_TRUE(Subscribed(1, late));
  EXPECT_EQ(Subscribed(1, late)->from, 4U);
}

TEST_F(GraphTest, ARivalSeveralStepsAway) {
  LinkId a = Peer("a", 1);
  Links(a, "a", 1, {3, me()});
  Links(a, "me", 3, {1});
  Tick(50);
  EXPECT_EQ(host.clashes, 0) << "it may have died before this process began";
  Links(a, "me", 3, {1}, me());
  Tick(50);
  EXPECT_GE(host.clashes, 1);
  host.clashes = 0;
  Keep(500);
  EXPECT_GE(host.clashes, 1) << "said again: the host may not have been able to act on it";
}

TEST_F(GraphTest, LiesAboutThisProcessAreOutbid) {
  LinkId a = Peer("a", 1);
  Links(a, "a", 1, {me()});
  Tick(50);
  number = 100;
  Links(a, "me", me(), {});
  Tick(50);
  EXPECT_EQ(replica.graph().own().number, 102U);
  EXPECT_EQ(Listed(), (std::vector<uint64_t>{1}));
}

}  // namespace
}  // namespace polyarch::replication
