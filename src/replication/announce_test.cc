// Announcements: what is told at once, what later, and that nothing waits for ever.
#include "replication/replica.h"

#include <map>
#include <set>

#include <gtest/gtest.h>

#include "replication/replica_fixture.h"

namespace polyarch::replication {
namespace {

class AnnounceTest : public GraphTest {
 protected:
  // Peers linked with each other and with us, each with one change of its own that has come here.
  void Mesh(size_t count) {
    std::set<uint64_t> all = {me()};
    for (size_t i = 0; i < count; ++i) all.insert(i + 1);
    for (size_t i = 0; i < count; ++i) {
      const std::string name = "p" + std::to_string(i);
      links.push_back(Peer(name, i + 1));
      authors.emplace_back(clock::Origin{name, (i + 1) * 10});
      std::set<uint64_t> others = all;
      others.erase(i + 1);
      Links(links[i], name, i + 1, others);
    }
    Tick(50);
    for (size_t i = 0; i < count; ++i) {
      Have(links[i], authors[i].origin(), 1);
      Change(i);
    }
    Keep(1000);
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(Applied(authors[i].origin()), 1U);
    for (LinkId link : links) Told(link);
  }
  void Change(size_t author) { Frame(links[author], authors[author].Next()); }
  // What a peer knows of what we have, from all that was sent to it since it was asked last.
  const std::map<clock::Origin, uint64_t>& Told(LinkId link) {
    auto& [names, have] = told[link];
    for (const std::string& message : std::exchange(host.sent[link], {})) {
      const std::string_view payload = std::string_view(message).substr(1);
      wire::Have full;
      wire::HaveMore more;
      if (message[0] == static_cast<char>(wire::MessageType::kHave) && wire::Decode(payload, full)) {
        for (const auto& e : full.entries) have[e.origin] = e.applied;
      } else if (message[0] == static_cast<char>(wire::MessageType::kHaveMore) && wire::Decode(payload, more)) {
        ++announcements;
        for (const auto& e : more.entries) {
          if (!e.name.leader.empty()) names[e.origin] = e.name;
          if (names.count(e.origin) == 0) {
            ADD_FAILURE() << "a number without a name";
          } else {
            have[names[e.origin]] = e.applied;
          }
        }
      }
    }
    return have;
  }

  std::vector<LinkId> links;
  std::vector<Author> authors;
  std::map<LinkId, std::pair<std::map<uint64_t, clock::Origin>, std::map<clock::Origin, uint64_t>>> told;
  size_t announcements = 0;
};

TEST_F(AnnounceTest, InASmallMeshAllAtOnce) {
  Mesh(2);
  for (uint64_t round = 2; round < 20; ++round) {
    Change(0);
    Change(1);
    Tick();
    Tick();
    for (LinkId link : links) {
      for (const Author& author : authors) EXPECT_EQ(Told(link).at(author.origin()), round);
    }
  }
}

TEST_F(AnnounceTest, InALargeMeshTheAuthorAtOnceOthersSoon) {
  constexpr size_t kPeers = 40;
  Mesh(kPeers);
  announcements = 0;
  size_t at_once = 0;
  for (int round = 0; round < 100; ++round) {
    for (size_t i = 0; i < kPeers; ++i) Change(i);
    Tick();
    Tick();
    for (size_t i = 0; i < kPeers; ++i) EXPECT_EQ(Told(links[i]).at(authors[i].origin()), authors[i].last());
    at_once += Told(links[0]).at(authors[1].origin()) == authors[1].last() ? 1 : 0;
    for (const auto& [link, pulse] : alive) Message(link, wire::Encode(pulse));
  }
  EXPECT_LE(at_once, 10U) << "2 s, a round each 250 ms";
  EXPECT_GE(at_once, 5U);
  Run(260);
  for (LinkId link : links) {
    for (const Author& author : authors) EXPECT_EQ(Told(link).at(author.origin()), author.last());
  }
  // Then there is nothing left to say.
  announcements = 0;
  Keep(1000);
  for (LinkId link : links) Told(link);
  EXPECT_EQ(announcements, 0U);
}

TEST_F(AnnounceTest, WhatNoLiveProcessStandsBehindAtOnce) {
  constexpr size_t kPeers = 40;
  Mesh(kPeers);
  // p1 has what p0, which dies, wrote last.
  replica.OnLinkDown(links[0]);
  alive.erase(links[0]);
  std::set<uint64_t> others = {me()};
  for (size_t i = 1; i < kPeers; ++i) others.insert(i + 1);
  for (size_t i = 1; i < kPeers; ++i) {
    std::set<uint64_t> mine = others;
    mine.erase(i + 1);
    Links(links[i], "p" + std::to_string(i), i + 1, mine);
  }
  Tick();
  for (int round = 0; round < 20; ++round) {
    for (size_t i = 1; i < kPeers; ++i) Change(i);  // there is much else to say
    Frame(links[1], authors[0].Next());
    Tick();
    Tick();
    for (size_t i = 1; i < kPeers; ++i) EXPECT_EQ(Told(links[i]).at(authors[0].origin()), authors[0].last());
  }
}

TEST_F(AnnounceTest, WhatIsNewOnALinkAtOnce) {
  Mesh(40);
  for (size_t i = 0; i < 40; ++i) Change(i);
  Tick();
  for (size_t i = 0; i < 40; ++i) Change(i);
  Write();
  Tick();
  Tick();
  const clock::Origin own = origins.Get(*replica.own());
  for (LinkId link : links) EXPECT_EQ(Told(link).count(own), 1U);
}

TEST_F(AnnounceTest, WhereThereWasNoRoomEverythingLater) {
  Mesh(3);
  host.backlog[links[0]] = 100 << 20;
  for (size_t i = 0; i < 3; ++i) Change(i);
  Keep(500);
  for (const Author& author : authors) EXPECT_EQ(Told(links[0]).at(author.origin()), 1U);
  host.backlog.clear();
  Keep(300);
  for (const Author& author : authors) EXPECT_EQ(Told(links[0]).at(author.origin()), 2U);
}

TEST_F(AnnounceTest, NamesComeAgainAfterAFullOne) {
  Mesh(3);
  told.clear();  // all that was said is lost
  alive[links[0]].want_full = true;
  Keep(100);
  alive[links[0]].want_full = false;
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < 3; ++i) Change(i);
    Keep(300);
    for (const Author& author : authors) EXPECT_EQ(Told(links[0]).at(author.origin()), author.last());
  }
}

TEST_F(AnnounceTest, ANumberThatNothingNamedIsPassedOver) {
  LinkId a = Peer("a", 1);
  Message(a, wire::Encode(wire::HaveMore{1, {{7, kC, 3, 3}}}));
  Message(a, wire::Encode(wire::HaveMore{2, {{7, {}, 5, 4}}}));
  alive[a].have = 2;
  Keep(300);
  ASSERT_TRUE(Subscribed(a, kC));
  for (const wire::Pulse& pulse : Pulses(a)) EXPECT_FALSE(pulse.want_full);
  // 8 was named by what is lost.
  Message(a, wire::Encode(wire::HaveMore{4, {{7, {}, 6, 6}, {8, {}, 9, 9}}}));
  alive[a].have = 4;
  Keep(100);
  EXPECT_TRUE(Pulses(a).back().want_full);
  EXPECT_FALSE(Subscribed(a, kB));
  wire::Have full{true, 5, kWallMs, {{kB, 9, 9}, {kC, 6, 6}}};
  Message(a, wire::Encode(full));
  Message(a, wire::Encode(wire::HaveMore{6, {{8, kB, 10, 10}}}));
  alive[a].have = 6;
  host.sent[a].clear();
  Keep(1000);
  EXPECT_TRUE(Subscribed(a, kB));
  for (const wire::Pulse& pulse : Pulses(a)) EXPECT_FALSE(pulse.want_full);
}

// A source that is alive and makes no progress is left, although what others have is told late.
TEST_F(AnnounceTest, ASourceWithoutProgressIsLeft) {
  Mesh(3);
  // p0's next change comes to p1 only; p1 tells it as late as it may.
  Author& author = authors[0];
  author.Next();
  Keep(300);
  host.sent[links[1]].clear();
  Message(links[1], wire::Encode(wire::HaveMore{1, {{0, author.origin(), 2, 2}}}));
  const int64_t begin_us = now_us;
  while (!Subscribed(links[1], author.origin()) && now_us - begin_us < 3'000'000) Keep(100);
  EXPECT_TRUE(Subscribed(links[1], author.origin()));
  EXPECT_LE(now_us - begin_us, 1'300'000);
  Frame(links[1], author.frames().back());
  Tick();
  EXPECT_EQ(Applied(author.origin()), 2U);
}

}  // namespace
}  // namespace polyarch::replication
