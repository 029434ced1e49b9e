// One replica and hostile or broken peers: whatever comes in, it applies each origin contiguously and
// in causal order, keeps its memory bounded, and harm done to one origin stays there.
#include "replication/replica.h"

#include <algorithm>
#include <limits>
#include <map>

#include <gtest/gtest.h>

#include "replication/replica_fixture.h"
#include "wire/state_message.h"

namespace polyarch::replication {
namespace {

TEST_F(ReplicaTest, SubscribesAndApplies) {
  Author a(kA);
  LinkId link = Connect("a", 1);
  Have(link, kA, 2);
  Tick();
  auto subscribed = Subscribed(link, kA);
  ASSERT_TRUE(subscribed);
  EXPECT_EQ(subscribed->from, 1U);
  EXPECT_EQ(subscribed->credit, kWindow);
  Frame(link, a.Next());
  Frame(link, a.Next());
  Tick();
  EXPECT_EQ(Applied(kA), 2U);
  EXPECT_TRUE(replica.synced_with_links());
}

TEST_F(ReplicaTest, NothingCountsBeforeTheGreeting) {
  Author a(kA);
  const LinkId link = next_link++;
  replica.OnLinkUp(link, "", "somewhere");
  Have(link, kA, 5);
  Frame(link, a.Next());
  Message(link, wire::Encode(wire::Fork{kA, 1}));
  Message(link, wire::Encode(wire::Subscribe{kA, 1, 0, 1 << 20, 1}));
  Run(1000);
  EXPECT_EQ(Applied(kA), 0U);
  EXPECT_TRUE(host.forks.empty());
  EXPECT_EQ(origins.size(), 0U);
  EXPECT_EQ(closes[link], 0) << "it is greeted again instead";
  size_t hellos = 0;
  for (const std::string& m : host.sent[link]) hellos += m[0] == static_cast<char>(wire::MessageType::kHello);
  EXPECT_GE(hellos, 2U);
}

TEST_F(ReplicaTest, ReplaysAreDropped) {
  Author a(kA);
  LinkId link = Connect("a", 1);
  Have(link, kA, 3);
  Tick();
  for (int i = 0; i < 3; ++i) a.Next();
  for (int round = 0; round < 5; ++round) {
    for (const std::string& frame : a.frames()) Frame(link, frame);
    Tick();
  }
  EXPECT_EQ(Applied(kA), 3U);
  EXPECT_EQ(host.applied_frames.size(), 3U);
  EXPECT_EQ(replica.counters().duplicates_dropped, 12U);
}

TEST_F(ReplicaTest, GapsAndRegressionsAreAskedForAgain) {
  Author a(kA);
  LinkId link = Connect("a", 1);
  Have(link, kA, 9);
  Tick();
  for (uint64_t i = 0; i < 3; ++i) a.Next({.count = 3});
  Run(100);
  Frame(link, a.frames()[0]);
  Frame(link, a.frames()[2]);
  Tick();
  EXPECT_EQ(Applied(kA), 3U);
  auto again = Subscribed(link, kA);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->from, 4U);
  Frame(link, a.frames()[0]);
  Frame(link, a.frames()[2]);
  Frame(link, a.frames()[1]);
  Frame(link, a.frames()[2]);
  Tick();
  EXPECT_EQ(Applied(kA), 9U);
}

TEST_F(ReplicaTest, FramesThatOverlapAreNeverCutInTwo) {
  // The same changes in other frames: [1..4] and [3..6] of another history of that origin.
  Author a(kA);
  Author other(kA);
  LinkId link = Connect("a", 1);
  Have(link, kA, 6);
  Run(100);
  Frame(link, a.Next({.count = 4}));
  other.Next({.count = 2});
  Frame(link, other.Next({.count = 4}));
  Run(500);
  EXPECT_EQ(Applied(kA), 4U);
  EXPECT_EQ(host.applied_frames.size(), 1U);
}

TEST_F(ReplicaTest, WrongChainIsAForkOfThatOriginOnly) {
  Author a(kA);
  Author forged(kA);
  Author b(kB);
  LinkId link = Connect("a", 1);
  LinkId link_b = Connect("b", 2);
  Have(link, kA, 2);
  Have(link_b, kB, 1);
  Tick();
  Frame(link, a.Next({.value_bytes = 5}));
  forged.Next({.value_bytes = 6});
  Tick();
  Frame(link, forged.Next());
  Tick();
  ASSERT_EQ(host.forks, std::vector<clock::Origin>{kA});
  EXPECT_EQ(Applied(kA), 1U);
  Frame(link_b, b.Next());
  Tick();
  EXPECT_EQ(Applied(kB), 1U);
  // The pause over, the true history goes on.
  Run(6000);
  Have(link, kA, 2);
  LinkId fresh = Connect("a", 1);
  Have(fresh, kA, 2);
  Run(200);
  Frame(fresh, a.Next());
  Tick();
  EXPECT_EQ(Applied(kA), 2U);
}

TEST_F(ReplicaTest, AFloodOfForkedFramesIsQuiet) {
  Author a(kA);
  LinkId link = Connect("a", 1);
  Have(link, kA, 1000);
  Tick();
  Frame(link, a.Next({.value_bytes = 5}));
  Tick();
  for (int i = 0; i < 300; ++i) {
    Author forged(kA);
    forged.Next({.value_bytes = 6});
    Frame(link, forged.Next({.value_bytes = static_cast<size_t>(i)}));
    Tick(5);
  }
  EXPECT_LE(host.reports[2], 2) << "one alarm a pause";
  EXPECT_LE(host.forks.size(), 2U);
}

TEST_F(ReplicaTest, SubscriberWithOtherContentsIsAFork) {
  LinkId link = Connect("a", 1);
  Write();
  Write();
  Tick();
  const clock::Origin own = origins.Get(*replica.own());
  Message(link, wire::Encode(wire::Subscribe{own, 3, 12345, 1 << 20, 1}));
  ASSERT_EQ(host.forks, std::vector<clock::Origin>{own});
  Write();
  Tick();
  EXPECT_TRUE(SentFrames(link).empty()) << "it gets nothing of a history that is not its own";
  LinkId other = Connect("b", 2);
  Message(other, wire::Encode(wire::Subscribe{own, 1, 0, 1 << 20, 1}));
  Tick();
  EXPECT_EQ(SentFrames(other).size(), 3U);
}

TEST_F(ReplicaTest, DepsOnUnknownOriginsWaitAlone) {
  Author a(kA);
  Author b(kB);
  Author c(kC);
  LinkId link = Connect("a", 1);
  LinkId link_b = Connect("b", 2);
  Have(link, kA, 1);
  Have(link_b, kB, 1);
  Tick();
  Frame(link, a.Next({.deps = {{kC, 2}}}));
  Frame(link_b, b.Next());
  Run(100);
  EXPECT_EQ(Applied(kA), 0U);
  EXPECT_EQ(Applied(kB), 1U);
  EXPECT_EQ(replica.causal_waiting(), 1U);
  LinkId link_c = Connect("c", 3);
  Have(link_c, kC, 2);
  Run(200);
  Frame(link_c, c.Next());
  Tick();
  EXPECT_EQ(Applied(kA), 0U);
  Frame(link_c, c.Next());
  Tick();
  EXPECT_EQ(Applied(kA), 1U);
}

TEST_F(ReplicaTest, AFloodBehindTheGateStaysWithinTheWindow) {
  Author a(kA);
  LinkId link = Connect("a", 1);
  Have(link, kA, 10'000);
  Tick();
  const std::string first = a.Next({.value_bytes = 900, .deps = {{kC, 1}}});
  Frame(link, first);
  for (int i = 1; i < 1000; ++i) Frame(link, a.Next({.value_bytes = 900}));
  Tick();
  EXPECT_LE(replica.causal_waiting(), kWindow / 900 + 1);
  // It flows again once the gate opens.
  Author c(kC);
  LinkId link_c = Connect("c", 3);
  Have(link_c, kC, 1);
  Run(200);
  Frame(link_c, c.Next());
  for (int round = 0; round < 200 && Applied(kA) < 1000; ++round) {
    Message(link, wire::Encode(HelloOf("a", 1)));  // alive
    Message(link_c, wire::Encode(HelloOf("c", 3)));
    Run(200);
    // What comes next and fits, and then some.
    const uint64_t from = Applied(kA) + 1;
    for (uint64_t i = from; i <= std::min<uint64_t>(1000, from + 20); ++i) Frame(link, a.frames()[i - 1]);
    ASSERT_LE(replica.queued_bytes(), kWindow + 1000);
  }
  EXPECT_EQ(Applied(kA), 1000U);
}

TEST_F(ReplicaTest, OneFrameBeyondTheWindowIsAllowed) {
  Author a(kA);
  LinkId link = Connect("a", 1);
  Have(link, kA, 1);
  Tick();
  Frame(link, a.Next({.value_bytes = 10 * kWindow}));
  Tick();
  EXPECT_EQ(Applied(kA), 1U);
}

TEST_F(ReplicaTest, CreditsAreObeyed) {
  LinkId link = Connect("a", 1);
  for (int i = 0; i < 10; ++i) Write();
  const clock::Origin own = origins.Get(*replica.own());
  Message(link, wire::Encode(wire::Subscribe{own, 1, 0, 1, 5}));
  Run(100);
  EXPECT_EQ(SentFrames(link).size(), 1U) << "one frame is always allowed";
  // Of another generation, of another origin, lower: nothing.
  Message(link, wire::Encode(wire::Credit{own, 4, 1 << 20}));
  Message(link, wire::Encode(wire::Credit{kB, 5, 1 << 20}));
  Message(link, wire::Encode(wire::Credit{own, 5, 0}));
  Run(100);
  EXPECT_EQ(SentFrames(link).size(), 1U);
  // Beyond all that was ever written: what there is.
  Message(link, wire::Encode(wire::Credit{own, 5, std::numeric_limits<uint64_t>::max()}));
  Run(100);
  EXPECT_EQ(SentFrames(link).size(), 10U);
  Write();
  Tick();
  EXPECT_EQ(SentFrames(link).size(), 11U);
  // An older subscription changes nothing; a newer one begins again.
  Message(link, wire::Encode(wire::Subscribe{own, 1, 0, 1 << 20, 3}));
  Run(50);
  EXPECT_EQ(SentFrames(link).size(), 11U);
  Message(link, wire::Encode(wire::Subscribe{own, 10, 0, 1 << 20, 6}));
  Run(50);
  EXPECT_EQ(SentFrames(link).size(), 13U);
}

TEST_F(ReplicaTest, ServesTheLogToAReaderThatStops) {
  LinkId link = Connect("a", 1);
  Write();
  const clock::Origin own = origins.Get(*replica.own());
  Message(link, wire::Encode(wire::Subscribe{own, 1, 0, 1 << 20, 1}));
  Tick();
  host.backlog[link] = 1 << 30;
  for (int i = 0; i < 500; ++i) {
    Write();
    Tick();
    Message(link, wire::Encode(HelloOf("a", 1)));
  }
  EXPECT_EQ(SentFrames(link).size(), 1U) << "no memory for a slow reader: the log has it";
  host.backlog[link] = 0;
  Run(100);
  EXPECT_EQ(SentFrames(link).size(), 501U);
}

TEST_F(ReplicaTest, SubscriptionsBeyondTheEndAndToNothing) {
  LinkId link = Connect("a", 1);
  Write();
  const clock::Origin own = origins.Get(*replica.own());
  Message(link, wire::Encode(wire::Subscribe{own, (uint64_t{1} << 48) - 1, 0, 1 << 20, 1}));
  Message(link, wire::Encode(wire::Subscribe{kB, 1, 0, 1 << 20, 1}));
  Message(link, wire::Encode(wire::Unsubscribe{kC, 1}));
  Message(link, wire::Encode(wire::Unsubscribe{kB, 1}));
  for (int i = 0; i < 10; ++i) {
    Write();
    Tick();
  }
  EXPECT_TRUE(SentFrames(link).empty());
  EXPECT_EQ(closes[link], 0);
}

// ---- bytes that a frame must not hold

// The next frame of `a`'s stream with `damage` done to it, and a right chain: an author gone mad.
std::string Mad(uint64_t first, uint64_t chain, const std::function<void(wire::Frame&)>& damage) {
  wire::Frame frame;
  frame.origin = kA;
  frame.first = first;
  frame.count = 1;
  frame.base = clock::Hlc::FromMs(kWallMs);
  frame.clock_ms = kWallMs;
  static std::string body;
  body = Author::Body(1, 1);
  frame.body = body;
  damage(frame);
  std::string bytes;
  wire::AppendFrame(bytes, frame, chain);
  return bytes;
}

TEST_F(ReplicaTest, MadFramesAreRefusedAndLeaveNothingBehind) {
  static const std::string kCutOff("\0\x7f", 2);  // a change whose effect is cut off
  static const std::string kEmptyChange("\x01\x00", 2);
  const std::vector<std::function<void(wire::Frame&)>> damages = {
      [](wire::Frame& f) { f.deps_changed = {{0, 1}}; },                     // itself
      [](wire::Frame& f) { f.deps_changed = {{5, 1}}; },                     // not in the dictionary
      [](wire::Frame& f) { f.deps_changed = {{~uint64_t{0}, 1}}; },
      [](wire::Frame& f) { f.deps_new = {{kA, 1}}; },                        // itself
      [](wire::Frame& f) { f.deps_new = {{kB, 0}}; },                        // nothing of it
      [](wire::Frame& f) { f.deps_new = {{kB, 1}, {kB, 1}}; },               // twice
      [](wire::Frame& f) { f.deps_new = {{kB, 1}, {kC, 1}, {kB, 1}}; f.body = "\x01"; },
      [](wire::Frame& f) { f.deps_new = {{kB, 1}}; f.body = "\x01"; },
      [](wire::Frame& f) { f.count = 2; },                                   // more than the body has
      [](wire::Frame& f) { f.body = ""; },
      [](wire::Frame& f) { f.body = kCutOff; },
      [](wire::Frame& f) { f.base.bits = ~uint64_t{0}; f.body = kEmptyChange; },  // the stamp overflows
  };
  for (const clock::Origin& origin : {kB, kC}) {
    Author author(origin);
    LinkId link = Connect(origin.leader, origin.incarnation / 10);
    Have(link, origin, 1);
    Run(200);
    Frame(link, author.Next());
    Tick();
    ASSERT_EQ(Applied(origin), 1U);
  }
  for (size_t i = 0; i < damages.size(); ++i) {
    SCOPED_TRACE(i);
    LinkId link = Connect("a", 1);
    Have(link, kA, 100);
    Run(200);
    const uint64_t chain = Applied(kA) == 0 ? 0 : replica.Row(*origins.Find(kA)).chain;
    const uint64_t malformed = replica.counters().malformed;
    Frame(link, Mad(Applied(kA) + 1, chain, damages[i]));
    Tick();
    EXPECT_EQ(Applied(kA), i);
    EXPECT_EQ(replica.counters().malformed, malformed + 1);
    EXPECT_TRUE(host.forks.empty());
    EXPECT_EQ(replica.Row(*origins.Find(kA)).dictionary.size(), 1U);
    // The author is repaired.
    Run(6000);
    LinkId again = Connect("a", 1);
    Have(again, kA, 100);
    Run(200);
    Frame(again, Mad(Applied(kA) + 1, chain, [](wire::Frame&) {}));
    Tick();
    EXPECT_EQ(Applied(kA), i + 1);
    replica.OnLinkDown(again);
  }
}

TEST_F(ReplicaTest, DepsThatCannotBeMetHarmNobodyElse) {
  Author a(kA);
  Author b(kB);
  LinkId link = Connect("a", 1);
  LinkId link_b = Connect("b", 2);
  Write();
  const clock::Origin own = origins.Get(*replica.own());
  Have(link, kA, 1);
  Have(link_b, kB, 1);
  Tick();
  // "I have seen a billion of your changes."
  Frame(link, a.Next({.deps = {{own, 1'000'000'000}}}));
  Frame(link_b, b.Next());
  Run(300);
  EXPECT_EQ(Applied(kA), 0U);
  EXPECT_EQ(Applied(kB), 1U);
  Write();
  EXPECT_EQ(replica.Claim("a").Get(*replica.own()), 0U) << "a claim counts when it has been applied";
}

TEST_F(ReplicaTest, OverlongNamesAndListsCloseTheLink) {
  auto refused = [&](std::string_view message) {
    LinkId link = Connect("a", 1);
    const size_t before = host.closed.size();
    Message(link, message);
    const bool closed = host.closed.size() > before;
    Tick();
    return closed;
  };
  const clock::Origin overlong{std::string(256, 'x'), 1};
  EXPECT_TRUE(refused(wire::Encode(wire::Subscribe{overlong, 1, 0, 1, 1})));
  EXPECT_TRUE(refused(wire::Encode(wire::Subscribe{{"", 1}, 1, 0, 1, 1})));
  EXPECT_TRUE(refused(wire::Encode(wire::Credit{overlong, 1, 1})));
  EXPECT_TRUE(refused(wire::Encode(wire::Fork{overlong, 1})));
  EXPECT_TRUE(refused(wire::Encode(wire::Unsubscribe{overlong, 1})));
  wire::Have have;
  have.entries.assign(wire::kListMax + 1, {kA, 1, 1});
  EXPECT_TRUE(refused(wire::Encode(have)));
  have.entries = {{overlong, 1, 1}};
  EXPECT_TRUE(refused(wire::Encode(have)));
  have.entries = {{kA, uint64_t{1} << 48, 1}};
  EXPECT_TRUE(refused(wire::Encode(have)));
  have.entries.clear();
  wire::LinkStates states;
  states.entries.assign(wire::kProcessesMax + 1, {{"x", 1, 1, "x:1", 1}, 1, {}});
  EXPECT_TRUE(refused(wire::Encode(states)));
  states.entries = {{{"x", 1, 1, std::string(1025, 'x'), 1}, 1, {}}};
  EXPECT_TRUE(refused(wire::Encode(states)));
  states.entries = {{{"x", 1, 1, "x:1", 1}, 1, {5, 4}}};
  EXPECT_TRUE(refused(wire::Encode(states)));
  wire::LinkWant want;
  want.nonces.assign(wire::kProcessesMax + 1, 1);
  EXPECT_TRUE(refused(wire::Encode(want)));
  wire::Hello hello = HelloOf("a", 1);
  hello.process.leader = std::string(256, 'x');
  EXPECT_TRUE(refused(wire::Encode(hello)));
  hello = HelloOf("a", 1);
  hello.format = wire::kPeerFormat + 1;
  EXPECT_TRUE(refused(wire::Encode(hello)));
  hello = HelloOf("a", 1);
  hello.cluster = 8;
  EXPECT_TRUE(refused(wire::Encode(hello)));
  std::string huge_list = std::string(1, static_cast<char>(wire::MessageType::kHave));
  huge_list.push_back(1);
  base::PutVarint(huge_list, 0);
  base::PutVarint(huge_list, ~uint64_t{0});
  EXPECT_TRUE(refused(huge_list));
  EXPECT_TRUE(refused(FrameMessage(std::string(100, '\xff'))));
  EXPECT_TRUE(refused(FrameMessage("")));
  EXPECT_FALSE(refused("\x7f whatever a later version says"));
  EXPECT_FALSE(refused(""));
}

TEST_F(ReplicaTest, AnnouncedOriginsDoNotExhaustTheTable) {
  LinkId link = Connect("a", 1);
  uint64_t incarnation = 1;
  for (int round = 0; round < 2; ++round) {
    wire::Have have;
    for (size_t i = 0; i < wire::kListMax; ++i) have.entries.push_back({{"a", incarnation++}, 1, 1});
    Message(link, wire::Encode(have));
  }
  EXPECT_LT(origins.size(), clock::kOriginsMax) << "room is left for this node's own";
  Write();
  EXPECT_TRUE(replica.own());
  // And for what a honest peer writes next.
  Tick();
}

// ---- links

TEST_F(ReplicaTest, GreetingsMayComeAgain) {
  LinkId link = Connect("a", 1);
  for (int i = 0; i < 100; ++i) Message(link, wire::Encode(HelloOf("a", 1)));
  Tick();
  EXPECT_EQ(closes[link], 0);
  size_t hellos = 0;
  for (const std::string& m : host.sent[link]) hellos += m[0] == static_cast<char>(wire::MessageType::kHello);
  EXPECT_LE(hellos, 3U) << "a greeting that has heard ours is not answered";
}

TEST_F(ReplicaTest, OneLinkAPair) {
  LinkId first = Connect("a", 1);
  LinkId second = Connect("a", 1);
  Tick();
  EXPECT_EQ(closes[first] + closes[second], 1);
  // Of two that cross, both ends keep the same one: the one that the lower name dialed.
  replica.OnLinkDown(first);
  replica.OnLinkDown(second);
  const LinkId dialed = next_link++;
  replica.OnLinkUp(dialed, "a:1", "a:1");
  LinkId accepted = Connect("a", 1);
  Message(dialed, wire::Encode(HelloOf("a", 1)));
  Tick();
  EXPECT_EQ(closes[dialed], 1) << "\"a\" is lower: its link stays";
  EXPECT_EQ(closes[accepted], 0);
}

TEST_F(ReplicaTest, ItselfAtTheOtherEnd) {
  const LinkId link = next_link++;
  replica.OnLinkUp(link, "me:1", "me:1");
  wire::Hello hello = HelloOf("me", 1);
  hello.process.nonce = replica.nonce();
  Message(link, wire::Encode(hello));
  Tick();
  EXPECT_EQ(closes[link], 1);
}

TEST_F(ReplicaTest, SilentLinksAreClosed) {
  LinkId link = Connect("a", 1);
  Run(5000);
  EXPECT_GE(closes[link], 1);
  Message(link, wire::Encode(HelloOf("a", 1)));
  Frame(link, Author(kA).Next());
  EXPECT_EQ(Applied(kA), 0U) << "a link that is down says nothing";
}

// A change of many MiB over a slow line: nothing whole comes for a long time.
TEST_F(ReplicaTest, ALargeMessageOnItsWayIsAwaited) {
  Author a(kA);
  LinkId link = Connect("a", 1);
  Have(link, kA, 1);
  Tick();
  const auto before = Subscribed(link, kA);
  ASSERT_TRUE(before);
  for (int i = 0; i < 600; ++i) {
    replica.OnLinkPart(link);
    Run(100);
  }
  EXPECT_EQ(closes[link], 0);
  EXPECT_EQ(Subscribed(link, kA)->generation, before->generation) << "it is not asked for again";
  Frame(link, a.Next());
  Tick();
  EXPECT_EQ(Applied(kA), 1U);
  replica.OnLinkPart(link + 1);  // of no link
  Run(5000);
  EXPECT_GE(closes[link], 1) << "now it is silent";
}

TEST_F(ReplicaTest, OwnFramesEchoed) {
  LinkId link = Connect("a", 1);
  Write();
  Write();
  Tick();
  const clock::Origin own = origins.Get(*replica.own());
  Message(link, wire::Encode(wire::Subscribe{own, 1, 0, 1 << 20, 1}));
  Tick();
  auto frames = SentFrames(link);
  ASSERT_EQ(frames.size(), 2U);
  for (const std::string& frame : frames) Frame(link, frame);
  Author forged(own);
  forged.Next();
  forged.Next();
  Frame(link, forged.Next());
  Have(link, own, 1000);
  Run(3000);
  EXPECT_EQ(Applied(own), 2U);
  EXPECT_TRUE(host.applied_frames.empty());
}

// The incarnation of the first write is announced before it: nobody else may use it.
TEST_F(ReplicaTest, OwnFramesForgedBeforeTheFirstWrite) {
  LinkId link = Connect("a", 1);
  const clock::Origin mine{"me", replica.incarnation()};
  Author forged(mine);
  Have(link, mine, 10);
  Run(200);
  Frame(link, forged.Next({.count = 10, .deps = {{kC, 1}}}));
  Tick();
  Write();
  Write();
  Author c(kC);
  LinkId link_c = Connect("c", 3);
  Have(link_c, kC, 1);
  Run(200);
  Frame(link_c, c.Next());
  Run(200);
  EXPECT_EQ(Applied(mine), 2U);
  EXPECT_EQ(Applied(kC), 1U);
}

TEST_F(ReplicaTest, ClocksAtTheirEnds) {
  Author a(kA);
  LinkId link = Connect("a", 1);
  for (int64_t wall : {std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max(), int64_t{-1}}) {
    wire::Have have;
    have.full = true;
    have.wall_ms = wall;
    have.entries = {{kA, 100, 100}};
    Message(link, wire::Encode(have));
    wire::Pulse pulse;
    pulse.wall_ms = wall;
    Message(link, wire::Encode(pulse));
    Run(100);
    Frame(link, a.Next({.clock_ms = wall}));
    Frame(link, a.Next({.stamp_ms = (uint64_t{1} << 48) - 1}));
    Tick();
    (void)replica.Links();
    (void)replica.MemberClock("a");
  }
  EXPECT_EQ(Applied(kA), 6U);
}

// A snapshot of a running machine was put back: what the others hold of this process it has not written.
TEST_F(ReplicaTest, AProcessThatWasSetBackBeginsAnew) {
  LinkId link = Connect("a", 1);
  Write();
  Write();
  Tick();
  const clock::Origin own = origins.Get(*replica.own());
  Have(link, own, 2);
  EXPECT_TRUE(host.forks.empty());
  Have(link, own, 3);
  ASSERT_EQ(host.forks, std::vector<clock::Origin>{own});
  Message(link, wire::Encode(wire::Subscribe{own, 4, 0, 1 << 20, 1}));
  EXPECT_EQ(host.forks.size(), 2U) << "it asks for what follows on what it has";
}

TEST_F(ReplicaTest, ForkReportsCostNoIncarnationsThatAreNotUsed) {
  LinkId link = Connect("a", 1);
  Message(link, wire::Encode(wire::Fork{kB, 1}));
  EXPECT_TRUE(host.forks.empty()) << "an origin that nobody knows";
  Write();
  const clock::Origin own = origins.Get(*replica.own());
  Message(link, wire::Encode(wire::Fork{own, 1}));
  EXPECT_EQ(host.forks.size(), 1U);
}

// ---- anything at all

// Three authors with causally linked histories; a wire that loses, doubles, reorders, damages and
// invents. Then a sane one: everything arrives.
TEST(Replica, SurvivesAnything) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    base::Random random(seed);
    clock::OriginTable origins;
    log::MemoryLog log(std::make_shared<log::MemoryLogDisk>());
    CheckingHost host(log, origins);
    Replica::Options options;
    options.leader = "me";
    options.window_bytes = 1 + random.Below(3000);
    Replica replica(options, host, log, origins, seed);
    replica.SetClusterId(kCluster);
    int64_t now_us = 1'000'000;
    replica.Start(now_us, kWallMs);

    std::vector<Author> authors;
    for (const clock::Origin& o : {kA, kB, kC}) authors.emplace_back(o);
    for (int i = 0; i < 40; ++i) {
      Author& author = authors[random.Below(3)];
      Author::Shape shape{.count = 1 + random.Below(3), .value_bytes = random.Below(200)};
      for (const Author& other : authors) {
        if (&other != &author && other.last() > 0 && random.Percent(40)) {
          shape.deps.emplace_back(other.origin(), other.last());
        }
      }
      author.Next(shape);
    }
    size_t frame_max = 0;
    for (const Author& author : authors) {
      for (const std::string& f : author.frames()) frame_max = std::max(frame_max, f.size());
    }

    std::vector<LinkId> links;
    LinkId next_link = 1;
    auto hello = [&](size_t who) {
      wire::Hello h;
      h.cluster = kCluster;
      h.process = {authors[who].origin().leader, who + 1, 1, "x:1", authors[who].origin().incarnation};
      h.heard = replica.nonce();
      return wire::Encode(h);
    };
    auto have = [&](size_t who) {
      wire::Have h;
      h.full = random.Percent(50);
      h.wall_ms = kWallMs;
      for (const Author& author : authors) {
        if (random.Percent(80) || author.origin() == authors[who].origin()) {
          h.entries.push_back({author.origin(), author.last(), author.last()});
        }
      }
      return wire::Encode(h);
    };
    auto tick = [&] {
      now_us += 10'000;
      replica.SetTime(now_us, kWallMs);
      replica.ApplyReady();
      ASSERT_TRUE(log.Commit().ok());
      replica.Tick();
      for (LinkId link : std::exchange(host.closed, {})) {
        replica.OnLinkDown(link);
        std::erase(links, link);
      }
      // Each stream may hold its window and one frame.
      ASSERT_LE(replica.queued_bytes(), origins.size() * (options.window_bytes + frame_max));
      ASSERT_EQ(replica.applied(), host.applied());
    };

    for (int step = 0; step < 600; ++step) {
      if (links.size() < 3 && random.Percent(20)) {
        links.push_back(next_link++);
        replica.OnLinkUp(links.back(), "", "x");
      }
      if (!links.empty()) {
        const LinkId link = links[random.Below(links.size())];
        const size_t who = random.Below(3);
        const Author& author = authors[random.Below(3)];
        std::string message;
        switch (random.Below(11)) {
          case 0: message = hello(who); break;
          case 1: message = have(who); break;
          case 10: {
            wire::HaveMore m{random.Below(20), {{random.Below(3), {}, random.Below(40), 0}}};
            if (random.Percent(50)) m.entries[0].name = author.origin();
            message = wire::Encode(m);
            break;
          }
          case 2: message = wire::Encode(wire::Subscribe{author.origin(), 1 + random.Below(30), random.Next(),
                                                         random.Below(5000), random.Below(9)}); break;
          case 3: message = wire::Encode(wire::Credit{author.origin(), random.Below(9), random.Next()}); break;
          case 4: message = wire::Encode(wire::Unsubscribe{author.origin(), random.Below(9)}); break;
          default:
            if (!author.frames().empty()) {
              message = FrameMessage(author.frames()[random.Below(author.frames().size())]);
            }
        }
        if (random.Percent(15) && !message.empty()) {
          // Damage that no right chain hides.
          const size_t at = random.Below(message.size());
          if (random.Percent(50)) {
            message[at] = static_cast<char>(random.Next());
          } else {
            message.resize(at);
          }
        }
        replica.OnLinkMessage(link, message);
      }
      if (random.Percent(30)) tick();
      if (random.Percent(2) && !links.empty()) {
        const LinkId link = links[random.Below(links.size())];
        replica.OnLinkDown(link);
        std::erase(links, link);
      }
    }

    // Now one peer that has everything and does what it is asked.
    for (LinkId link : links) replica.OnLinkDown(link);
    const LinkId sane = next_link++;
    replica.OnLinkUp(sane, "", "x");
    std::map<clock::Origin, wire::Subscribe> subscribed;
    std::map<clock::Origin, size_t> sent;
    auto done = [&] {
      return std::all_of(authors.begin(), authors.end(), [&](const Author& a) {
        auto index = origins.Find(a.origin());
        return a.last() == 0 || (index && replica.applied().Get(*index) == a.last());
      });
    };
    for (int i = 0; i < 6000 && !done(); ++i) {
      replica.OnLinkMessage(sane, hello(0));
      wire::Have h;
      h.wall_ms = kWallMs;
      for (const Author& a : authors) h.entries.push_back({a.origin(), a.last(), a.last()});
      replica.OnLinkMessage(sane, wire::Encode(h));
      for (const std::string& message : std::exchange(host.sent[sane], {})) {
        wire::Subscribe s;
        wire::Credit c;
        std::string_view payload = std::string_view(message).substr(1);
        if (message[0] == static_cast<char>(wire::MessageType::kSubscribe) && wire::Decode(payload, s)) {
          subscribed[s.origin] = s;
          sent[s.origin] = 0;
        } else if (message[0] == static_cast<char>(wire::MessageType::kCredit) && wire::Decode(payload, c)) {
          if (subscribed[c.origin].generation == c.generation) subscribed[c.origin].credit = c.credit;
        }
      }
      for (Author& a : authors) {
        auto it = subscribed.find(a.origin());
        if (it == subscribed.end()) continue;
        for (const std::string& frame : a.frames()) {
          wire::FrameName name;
          ASSERT_TRUE(wire::ParseFrameName(frame, name));
          if (name.first + name.count <= it->second.from || sent[a.origin()] >= it->second.credit) continue;
          replica.OnLinkMessage(sane, FrameMessage(frame));
          sent[a.origin()] += frame.size();
          it->second.from = name.first + name.count;
        }
      }
      tick();
      if (::testing::Test::HasFatalFailure()) return;
    }
    ASSERT_TRUE(done()) << "seed " << seed << ": " << replica.applied().ToString(origins);
    // What was applied is what the authors wrote.
    for (const std::string& bytes : host.applied_frames) {
      bool genuine = false;
      for (const Author& a : authors) {
        genuine |= std::find(a.frames().begin(), a.frames().end(), bytes) != a.frames().end();
      }
      ASSERT_TRUE(genuine) << "seed " << seed;
    }
  }
}

// What comes by a log anyway is no reason to take a state.
TEST_F(ReplicaTest, AStateIsAskedOfWhoHasWhatNoLogHolds) {
  LinkId a = Connect("a", 1);
  LinkId b = Connect("b", 2);
  Have(a, kA, 1000);
  Have(b, kC, 1);
  Run(200);
  Message(b, wire::Encode(wire::Gap{kC, 1}));
  Run(900);
  ASSERT_EQ(replica.StateSources().size(), 1U);
  EXPECT_EQ(replica.StateSources().front().leader, "b");
}

// ---- who may say what in a greeting

TEST_F(ReplicaTest, WithoutAClusterOnlyADialedLinkLeadsToOne) {
  const auto fresh = [&](bool joining) {
    auto r = std::make_unique<Replica>(MakeOptions(), host, log, origins, 43);
    r->Start(now_us, kWallMs);
    if (joining) r->SetJoining(true, 5);
    return r;
  };
  host.cluster = 0;
  auto joiner = fresh(true);
  joiner->OnLinkUp(1, "", "somewhere");
  joiner->OnLinkMessage(1, wire::Encode(HelloOf("a", 1)));
  EXPECT_EQ(host.cluster, 0U) << "whoever dials may take it for an earlier process at its address";
  EXPECT_TRUE(host.sent[1].empty());
  EXPECT_EQ(host.closed.front(), 1U);
  joiner->OnLinkUp(2, "a:1", "a:1");
  joiner->OnLinkMessage(2, wire::Encode(HelloOf("a", 1)));
  EXPECT_EQ(host.cluster, kCluster);

  auto founder = fresh(false);
  founder->OnLinkUp(3, "", "somewhere");
  founder->OnLinkMessage(3, wire::Encode(HelloOf("a", 1)));
  EXPECT_TRUE(host.sent[3].empty());
  EXPECT_FALSE(founder->LinkOf("a"));

  // The other end of that: it says so itself, and asks for nothing.
  replica.OnLinkUp(4, "", "somewhere");
  wire::Hello nobody = HelloOf("f", 9);
  nobody.cluster = 0;
  Message(4, wire::Encode(nobody));
  EXPECT_FALSE(replica.LinkOf("f"));
  nobody.joining = true;
  replica.OnLinkUp(5, "", "somewhere");
  Message(5, wire::Encode(nobody));
  EXPECT_TRUE(replica.LinkOf("f"));
}

TEST_F(ReplicaTest, WhoIsNotWhoItSays) {
  const LinkId link = next_link;
  host.certificates[link] = "asia";
  const int before = host.reports[2];
  ASSERT_EQ(Connect("a", 1), link);
  EXPECT_EQ(host.reports[2], before + 1);
  // It has our greeting, and says what it likes: nothing is heard, nothing told again, and the link ends.
  EXPECT_FALSE(host.sent[link].empty());
  Have(link, kA, 5);
  Message(link, wire::Encode(HelloOf("a", 1)));
  Message(link, wire::Encode(HelloOf("asia", 1)));
  EXPECT_TRUE(host.closed.empty());
  EXPECT_EQ(host.reports[2], before + 1);
  EXPECT_FALSE(Subscribed(link, kA).has_value());
  Run(1200);
  EXPECT_GT(closes[link], 0);
  EXPECT_FALSE(Subscribed(link, kA).has_value());
  // A certificate of its own name, and of the name from which a copy has its own.
  for (const std::string name : {"b", "b~1a2b3c"}) {
    const LinkId good = next_link;
    host.certificates[good] = "b";
    Connect(name, 2 + good);
    Have(good, {name, 7}, 5);
    Tick();
    EXPECT_EQ(host.reports[2], before + 1) << name;
    EXPECT_TRUE(Subscribed(good, {name, 7}).has_value()) << name;
  }
}

TEST_F(ReplicaTest, StrangersFillNoLog) {
  const auto told = [&](const wire::Hello& hello) {
    const int before = host.reports[2];
    const LinkId link = next_link++;
    replica.OnLinkUp(link, "", "somewhere");
    Message(link, wire::Encode(hello));
    return host.reports[2] - before;
  };
  wire::Hello hello = HelloOf("x\n\x1b[2Jeu", 1);
  hello.cluster = 8;
  hello.process.address = "h\r\n:1";
  EXPECT_EQ(told(hello), 1);
  EXPECT_TRUE(host.last_report.starts_with("leader x\\x0a\\x1b[2Jeu at h\\x0d\\x0a:1 belongs to another cluster")) << host.last_report;
  EXPECT_EQ(replica.stranger(), "x\\x0a\\x1b[2Jeu at h\\x0d\\x0a:1");
  // Another line each time, in one second; the same one in one minute.
  int lines = 0;
  for (int i = 0; i < 1000; ++i) {
    hello.process.leader = "x" + std::to_string(i);
    lines += told(hello);
    hello.format = wire::kPeerFormat + 1 + static_cast<uint32_t>(i);
    lines += told(hello);
    hello.format = wire::kPeerFormat;
  }
  EXPECT_EQ(lines, 0);
  Run(1100);
  EXPECT_EQ(told(hello), 1);
  Run(1100);
  EXPECT_EQ(told(hello), 0);
  hello.process.leader = "another";
  EXPECT_EQ(told(hello), 1);
}

TEST_F(ReplicaTest, ARefusalCountsByWhoseItIs) {
  replica.SetJoining(false, 7);
  replica.SetMembers({{"me", {"me", "", {}}}, {"c", {"c", "", {}}}});
  replica.SetRetired({{"a", 3}});
  const std::string refused = wire::Encode(wire::Refused{wire::Refused::Reason::kRetired, 7});
  wire::Hello a = HelloOf("a", 1);
  a.join_nonce = 3;
  for (const bool overtakes : {false, true}) {
    host.refusals = host.mutual_refusals = 0;
    const LinkId link = next_link++;
    replica.OnLinkUp(link, "", "somewhere");
    if (overtakes) Message(link, refused);
    EXPECT_EQ(host.refusals, 0) << "nobody knows yet whose word it is";
    Message(link, wire::Encode(a));
    if (!overtakes) Message(link, refused);
    EXPECT_EQ(host.refusals, 1);
    EXPECT_EQ(host.mutual_refusals, 1) << "it is out itself";
    EXPECT_FALSE(replica.LinkOf("a"));
  }
  for (const bool overtakes : {false, true}) {
    host.refusals = host.mutual_refusals = 0;
    const LinkId link = next_link++;
    replica.OnLinkUp(link, "", "somewhere");
    if (overtakes) Message(link, refused);
    Message(link, wire::Encode(HelloOf("c", 2)));
    if (!overtakes) Message(link, refused);
    EXPECT_EQ(host.refusals, 1);
    EXPECT_EQ(host.mutual_refusals, 0);
    EXPECT_EQ(host.closed.back(), link);
    Run(100);
  }
}

TEST_F(ReplicaTest, TheLastTwoThatRetiredEachOtherAreLinkedForTheirRecords) {
  replica.SetJoining(false, 7);
  replica.SetMembers({{"me", {"me", "", {}}}});
  replica.SetRetired({{"a", 3}});
  wire::Hello a = HelloOf("a", 1);
  a.join_nonce = 3;
  const LinkId link = next_link++;
  replica.OnLinkUp(link, "", "somewhere");
  Message(link, wire::Encode(a));
  EXPECT_FALSE(replica.LinkOf("a"));
  Message(link, wire::Encode(wire::Refused{wire::Refused::Reason::kRetired, 7}));
  for (int i = 0; i < 5; ++i) {
    Run(500);
    Message(link, wire::Encode(a));
    EXPECT_TRUE(replica.LinkOf("a"));
  }
  replica.SetRetired({{"a", 3}});
  EXPECT_TRUE(replica.LinkOf("a"));
  replica.SetJoining(false, 8);  // it admits itself: then a is out
  replica.SetRetired({{"a", 3}});
  EXPECT_FALSE(replica.LinkOf("a"));
}

TEST_F(ReplicaTest, WhatStrangersHadIsForgotten) {
  replica.SetMembers({{"me", {"me", "", {}}}, {"a", {"a", "", {}}}});
  for (uint64_t nonce = 1; nonce <= 20; ++nonce) {
    const LinkId link = Connect(nonce == 1 ? "a" : "x" + std::to_string(nonce), nonce);
    Have(link, kB, 5);
    replica.OnLinkDown(link);
  }
  EXPECT_EQ(replica.past(), 1U);
  replica.SetMembers({{"me", {"me", "", {}}}});
  EXPECT_EQ(replica.past(), 0U);
}

}  // namespace
}  // namespace polyarch::replication
