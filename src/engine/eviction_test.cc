// `maxmemory` among leaders: who removes what, and how much.
#include "engine/eviction.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "command/notify.h"
#include "engine/engine_test_util.h"

namespace polyarch::engine {
namespace {

constexpr std::string_view kOom = "-OOM command not allowed when used memory > 'maxmemory'.";

size_t Used(TestNode& node) {
  return node.engine().keys().used_bytes();
}

command::MemoryLimit Limit(size_t bytes, std::string_view policy) {
  command::Remembered remembered;
  EXPECT_TRUE(remembered.Set("maxmemory", std::to_string(bytes)).ok());
  EXPECT_TRUE(remembered.Set("maxmemory-policy", policy).ok());
  return remembered.memory_limit();
}

std::string Fill(TestNode& node, const std::string& prefix, int count, size_t bytes = 1000) {
  const std::string value(bytes, 'v');
  std::string said;
  for (int i = 0; i < count; ++i) said = node.Ask({"SET", prefix + std::to_string(i), value});
  return said;
}

int Count(TestNode& node, const std::string& prefix, int count) {
  int there = 0;
  for (int i = 0; i < count; ++i) there += node.Ask({"EXISTS", prefix + std::to_string(i)}) == "1" ? 1 : 0;
  return there;
}

TEST(Eviction, WithoutItWritesThatTakeMemoryAreRefusedAndNothingElse) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  ASSERT_EQ(Fill(a, "k", 10), "+OK");
  a.engine().SetMemoryLimit(Limit(Used(a), "noeviction"));
  // The one that goes beyond it is the last.
  EXPECT_EQ(a.Ask({"SET", "more", "v"}), "+OK");
  EXPECT_EQ(a.Ask({"SET", "more", "w"}), kOom);
  EXPECT_EQ(a.Ask({"GET", "more"}), "\"v\"");
  EXPECT_EQ(a.Info("writes_refused"), "oom");
  // What others write comes all the same.
  ASSERT_EQ(Fill(b, "of-b", 50), "+OK");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
  EXPECT_EQ(Count(a, "of-b", 50), 50);
  cluster.Run(100);
  EXPECT_TRUE(a.Reported("more than maxmemory"));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(a.Ask({"DEL", "of-b" + std::to_string(i)}), "1");
  EXPECT_EQ(a.Ask({"DEL", "k0"}), "1");
  EXPECT_EQ(a.Ask({"SET", "more", "w"}), "+OK");
  EXPECT_EQ(a.engine().evicted_keys(), 0u);
  EXPECT_EQ(a.Info("writes_refused"), "no");
}

TEST(Eviction, WhatWasUsedLongestAgoGoesFirst) {
  for (const char* policy : {"allkeys-lru", "allkeys-lfu"}) {
    Leaders cluster(1);
    TestNode& a = cluster[0];
    a.engine().SetMemoryLimit(Limit(0, policy));  // uses are noted from now on
    const size_t limit = Used(a) + 100'000;
    a.engine().SetMemoryLimit(Limit(limit, policy));
    ASSERT_EQ(Fill(a, "hot", 10), "+OK");
    const std::string value(1000, 'v');
    for (int i = 0; i < 500; ++i) {
      ASSERT_EQ(a.Ask({"SET", "cold" + std::to_string(i), value}), "+OK");
      EXPECT_LE(Used(a), limit + 3'000) << i;
      for (int hot = 0; hot < 10; ++hot)
        ASSERT_EQ(a.Ask({"EXISTS", "hot" + std::to_string(hot)}), "1") << policy << " " << i;
      for (int hot = 0; hot < 10; ++hot) (void)a.Ask({"GET", "hot" + std::to_string(hot)});
      cluster.Tick();
    }
    EXPECT_GE(a.engine().evicted_keys(), 300u);
    EXPECT_EQ(Count(a, "hot", 10), 10) << policy;
  }
}

TEST(Eviction, EachOfThreeLeadersRemovesItsShare) {
  Leaders cluster(3);
  ASSERT_EQ(Fill(cluster[0], "k", 600), "+OK");
  ASSERT_TRUE(cluster.Settle());
  const size_t empty = Used(cluster[0]) - 600 * 1000;
  const size_t limit = empty + 400 * 1000;
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_GT(Used(cluster[i]), limit);
    cluster[i].engine().SetMemoryLimit(Limit(limit, "allkeys-random"));
  }
  // Their shares come to all that is too much: nobody has to wait for another round.
  cluster.Run(500);
  for (size_t i = 0; i < 3; ++i) EXPECT_LE(Used(cluster[i]), limit) << i;
  cluster.Run(5'000);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_LE(Used(cluster[i]), limit);
    // A third each, about; if each had removed all that was too much, hardly anything would be left.
    EXPECT_GE(Used(cluster[i]), limit - limit / 6) << i;
    EXPECT_GT(cluster[i].engine().evicted_keys(), 30u);
    EXPECT_LT(cluster[i].engine().evicted_keys(), 150u);
    EXPECT_FALSE(cluster[i].engine().eviction().alone());
  }
}

TEST(Eviction, WhoOwnsASlotIsTheSameForAllAndMovesLittle) {
  const std::set<std::string> three{"a", "b", "c"};
  const std::set<std::string> two{"a", "c"};
  std::map<std::string, int> slots;
  for (uint32_t slot = 0; slot < 16384; ++slot) {
    const std::string owner = Eviction::OwnerOf(slot, three);
    ++slots[owner];
    if (owner == "b") continue;
    EXPECT_EQ(Eviction::OwnerOf(slot, two), owner);
  }
  for (const auto& [leader, count] : slots) {
    EXPECT_GT(count, 4500) << leader;
    EXPECT_LT(count, 6500) << leader;
  }
}

TEST(Eviction, TheOnlyLeaderWithALimitHelpsItself) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  const size_t limit = Used(a) + 100'000;
  a.engine().SetMemoryLimit(Limit(limit, "allkeys-random"));
  ASSERT_EQ(Fill(b, "k", 300), "+OK");
  cluster.Run(5'000);
  EXPECT_LE(Used(a), limit);
  EXPECT_TRUE(a.engine().eviction().alone());
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
  EXPECT_EQ(b.engine().evicted_keys(), 0u);
  EXPECT_LT(Count(b, "k", 300), 120);  // they are gone everywhere
  EXPECT_GT(Count(b, "k", 300), 50);
}

// More than its share, before it takes what others own.
TEST(Eviction, WhoStaysAboveItsLimitRemovesMoreOfItsOwn) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  const size_t limit = Used(a) + 200'000;
  a.engine().SetMemoryLimit(Limit(limit, "allkeys-random"));
  ASSERT_EQ(Fill(b, "k", 300), "+OK");
  cluster.Run(900);
  EXPECT_GT(Used(a), limit);  // a half, and it waits for the other one
  cluster.Run(1'500);
  EXPECT_LE(Used(a), limit);
  EXPECT_FALSE(a.engine().eviction().alone());
  const std::set<std::string> both{"a", "b"};
  ASSERT_TRUE(cluster.Settle());
  for (int i = 0; i < 300; ++i) {
    const std::string key = "k" + std::to_string(i);
    if (Eviction::OwnerOf(base::KeySlot(key), both) != "b") continue;
    EXPECT_EQ(b.Ask({"EXISTS", key}), "1") << key;
  }
}

TEST(Eviction, ALeaderThatIsCutOffRemovesWhatTheOtherOwns) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  const size_t limit = Used(a) + 100'000;
  for (size_t i = 0; i < 2; ++i) cluster[i].engine().SetMemoryLimit(Limit(limit, "allkeys-random"));
  cluster.Run(500);
  const size_t shared = a.engine().eviction().own_slots();
  EXPECT_LT(shared, 16384u);
  cluster.Cut(cluster[0], cluster[1]);
  EXPECT_TRUE(cluster.RunUntil([&] { return a.engine().eviction().own_slots() == 16384; }));
  EXPECT_EQ(Fill(a, "k", 300), "+OK");
  EXPECT_LE(Used(a), limit + 3'000);
  EXPECT_FALSE(a.engine().eviction().alone());
  cluster.Heal(cluster[0], cluster[1]);
  EXPECT_TRUE(cluster.RunUntil([&] { return a.engine().eviction().own_slots() == shared; }));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

TEST(Eviction, KeysThatAreAgreedOnStay) {
  Leaders cluster(1);
  TestNode& a = cluster[0];
  ASSERT_EQ(Fill(a, "sync:", 30), "+OK");
  ASSERT_EQ(Fill(a, "other:", 30), "+OK");
  ASSERT_EQ(a.Ask({"POLICY", "SET", "sync:*", "sync"}), "+OK");
  cluster.Run(2'000);
  a.engine().SetMemoryLimit(Limit(Used(a) / 4, "allkeys-random"));
  cluster.Run(2'000);
  EXPECT_EQ(Count(a, "sync:", 30), 30);
  EXPECT_EQ(Count(a, "other:", 30), 0);
  // There is nothing left that may go, and it does not look for it for ever.
  EXPECT_EQ(a.Ask({"SET", "other:1", "v"}), kOom);
  EXPECT_EQ(a.engine().evicted_keys(), 30u);
}

TEST(Eviction, OfKeysThatExpireTheSoonestGo) {
  Leaders cluster(1);
  TestNode& a = cluster[0];
  const std::string value(1000, 'v');
  for (int i = 0; i < 40; ++i) {
    const std::string number = std::to_string(i);
    ASSERT_EQ(a.Ask({"SET", "late" + number, value, "EX", "2000"}), "+OK");
    ASSERT_EQ(a.Ask({"SET", "soon" + number, value, "EX", "1000"}), "+OK");
    ASSERT_EQ(a.Ask({"SET", "stays" + number, value}), "+OK");
  }
  a.engine().SetMemoryLimit(Limit(Used(a) - 30'000, "volatile-ttl"));
  cluster.Run(200);
  EXPECT_EQ(Count(a, "late", 40), 40);
  EXPECT_EQ(Count(a, "stays", 40), 40);
  EXPECT_LE(Count(a, "soon", 40), 11);
  EXPECT_GE(Count(a, "soon", 40), 5);
  // What has no expiry stays; when all others are gone, writes are refused.
  a.engine().SetMemoryLimit(Limit(10'000, "volatile-lru"));
  cluster.Run(500);
  EXPECT_EQ(Count(a, "late", 40), 0);
  EXPECT_EQ(Count(a, "stays", 40), 40);
  EXPECT_EQ(a.Ask({"SET", "one", "v"}), kOom);
  // One that gets an expiry makes room for none.
  a.engine().SetMemoryLimit(Limit(Used(a) - 500, "volatile-lru"));
  EXPECT_EQ(a.Ask({"SET", "one", "v"}), kOom);
  EXPECT_EQ(a.Ask({"EXPIRE", "stays3", "1000"}), "1");
  cluster.Run(50);
  EXPECT_EQ(a.Ask({"SET", "one", "v"}), "+OK");
  EXPECT_EQ(a.Ask({"EXISTS", "stays3"}), "0");
}

TEST(Eviction, WatchersAndListenersHearOfIt) {
  Leaders cluster(1);
  TestNode& a = cluster[0];
  ASSERT_EQ(Fill(a, "k", 10), "+OK");
  command::Client watcher;
  watcher.id = 7;
  watcher.authenticated = true;
  EXPECT_EQ(a.AskAs(watcher, {"WATCH", "k3"}), "+OK");
  EXPECT_EQ(a.AskAs(watcher, {"MULTI"}), "+OK");
  EXPECT_EQ(a.AskAs(watcher, {"GET", "k3"}), "+QUEUED");
  command::Client listener;
  listener.id = 8;
  listener.authenticated = true;
  a.engine().SetNotices(command::kNoticeEvicted | command::kNoticeKeyevent);
  (void)a.AskAs(listener, {"SUBSCRIBE", "__keyevent@0__:evicted"});
  a.engine().SetMemoryLimit(Limit(1, "allkeys-random"));
  cluster.Run(100);
  EXPECT_EQ(Count(a, "k", 10), 0);
  EXPECT_NE(a.pushed[8].find("evicted"), std::string::npos);
  EXPECT_NE(a.pushed[8].find("k3"), std::string::npos);
  a.engine().SetMemoryLimit(Limit(0, "noeviction"));
  EXPECT_EQ(a.AskAs(watcher, {"EXEC"}), "null");
  a.engine().ForgetClient(7);
  a.engine().ForgetClient(8);
}

TEST(Eviction, WhatCountersLeaveIsBounded) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  const size_t empty = Used(a);
  for (int i = 0; i < 4'000; ++i) ASSERT_EQ(b.Ask({"INCR", "counter" + std::to_string(i)}), "1");
  ASSERT_TRUE(cluster.Settle());
  // b, whose counters they are, hears nothing: each that is evicted leaves what it clears.
  cluster.Cut(a, b);
  a.engine().SetMemoryLimit(Limit(empty + 150'000, "allkeys-random"));
  cluster.Run(20'000);
  EXPECT_GE(a.engine().evicted_keys(), 990u);  // what the reserved database leaves is counted, too
  EXPECT_LE(a.engine().keys().residue_count(), 1'010u);
  EXPECT_EQ(a.Ask({"SET", "one", "v"}), kOom);
  cluster.Heal(a, b);
  EXPECT_TRUE(cluster.RunUntil([&] { return Used(a) <= empty + 150'000; }, 120'000)) << Used(a) - empty;
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// Elements that were incremented are cleared one by one: a slice is bounded in them, too.
TEST(Eviction, ASliceClearsSoManyCounters) {
  constexpr int kKeys = 8;
  constexpr int kFields = 900;
  Leaders cluster(1);
  TestNode& a = cluster[0];
  // So much that their residue is no bound.
  ASSERT_EQ(Fill(a, "stays", 36, 1 << 20), "+OK");
  for (int key = 0; key < kKeys; ++key) {
    const std::string name = "h" + std::to_string(key);
    for (int field = 0; field < kFields; ++field)
      ASSERT_EQ(a.Ask({"HINCRBY", name, "f" + std::to_string(field), "1"}), "1");
    ASSERT_EQ(a.Ask({"EXPIRE", name, "10000"}), "1");
  }
  a.engine().SetMemoryLimit(Limit(Used(a) - 4'000'000, "volatile-lru"));
  ASSERT_GT(a.engine().eviction().limit().bytes / 4096, size_t{kKeys * (kFields + 1)});
  ASSERT_TRUE(cluster.RunUntil([&] { return a.engine().evicted_keys() != 0; }, 100));
  EXPECT_LE(a.engine().evicted_keys(), kCountersASliceMax / kFields + 1);
  cluster.Run(200);
  EXPECT_EQ(a.engine().evicted_keys(), uint64_t{kKeys});
}

TEST(Eviction, WhatElementsLeaveIsBounded) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  const size_t empty = Used(a);
  for (int key = 0; key < 20; ++key) {
    for (int field = 0; field < 200; ++field)
      ASSERT_EQ(b.Ask({"HINCRBY", "h" + std::to_string(key), "f" + std::to_string(field), "1"}), "1");
  }
  ASSERT_TRUE(cluster.Settle());
  cluster.Cut(a, b);
  a.engine().SetMemoryLimit(Limit(empty + 10'000, "allkeys-random"));
  cluster.Run(20'000);
  // From 1,000 on none is begun, however few keys that are.
  EXPECT_GE(a.engine().keys().residue_count(), 1'000u);
  EXPECT_LE(a.engine().keys().residue_count(), 1'250u);
  EXPECT_EQ(a.engine().evicted_keys(), 5u);
  EXPECT_EQ(a.Ask({"SET", "one", "v"}), kOom);
  cluster.Heal(a, b);
  EXPECT_TRUE(cluster.RunUntil([&] { return Used(a) <= empty + 10'000; }, 120'000)) << Used(a) - empty;
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
  EXPECT_TRUE(cluster.RunUntil([&] { return a.engine().keys().residue_count() < 50; }, 120'000));
}

// Not the same ones are looked at for each key that goes.
TEST(Eviction, ManyThatMayNotGoAreNotInTheWayOfTheSoonest) {
  Leaders cluster(1);
  TestNode& a = cluster[0];
  for (int i = 0; i < 1'500; ++i) ASSERT_EQ(a.Ask({"SET", "sync:" + std::to_string(i), "v", "EX", "1000"}), "+OK");
  const std::string value(1000, 'v');
  for (int i = 0; i < 50; ++i)
    ASSERT_EQ(a.Ask({"SET", "k" + std::to_string(i), value, "EX", std::to_string(5'000 + 10 * i)}), "+OK");
  ASSERT_EQ(a.Ask({"POLICY", "SET", "sync:*", "sync"}), "+OK");
  cluster.Run(10'000);
  a.engine().SetMemoryLimit(Limit(Used(a) - 20'000, "volatile-ttl"));
  cluster.Run(100);
  EXPECT_EQ(Count(a, "sync:", 1'500), 1'500);
  const int left = Count(a, "k", 50);
  EXPECT_LT(left, 40);
  EXPECT_GT(left, 10);
  EXPECT_EQ(Count(a, "k", 50 - left), 0);  // the soonest, without a gap
}

// As in Redis: what clients find while they are paused stays as it is.
TEST(Eviction, NothingGoesWhileClientsArePaused) {
  Leaders cluster(1);
  TestNode& a = cluster[0];
  ASSERT_EQ(Fill(a, "k", 100), "+OK");
  ASSERT_EQ(a.Ask({"SET", "short", "v", "PX", "300"}), "+OK");
  const uint64_t expired = a.engine().expired_keys();
  ASSERT_EQ(a.Ask({"CLIENT", "PAUSE", "100000", "WRITE"}), "+OK");
  a.engine().SetMemoryLimit(Limit(Used(a) - 20'000, "allkeys-random"));
  cluster.Run(5'000);
  EXPECT_EQ(Count(a, "k", 100), 100);
  EXPECT_EQ(a.engine().evicted_keys(), 0u);
  EXPECT_EQ(a.engine().expired_keys(), expired);
  EXPECT_EQ(a.Ask({"EXISTS", "short"}), "0");  // it is hidden all the same
  // What only reads may be queued.
  command::Client reader;
  reader.id = 7;
  reader.authenticated = true;
  EXPECT_EQ(a.AskAs(reader, {"MULTI"}), "+OK");
  EXPECT_EQ(a.AskAs(reader, {"STRLEN", "k1"}), "+QUEUED");
  EXPECT_EQ(a.AskAs(reader, {"EXEC"}), "[1000]");
  a.engine().ForgetClient(7);
  ASSERT_EQ(a.Ask({"CLIENT", "UNPAUSE"}), "+OK");
  EXPECT_TRUE(cluster.RunUntil([&] { return a.engine().expired_keys() == expired + 1; }, 10'000));
  EXPECT_GE(a.engine().evicted_keys(), 15u);
}

TEST(Eviction, WhoWaitsForAnElementIsServed) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  command::Client waiter;
  waiter.id = 7;
  waiter.authenticated = true;
  (void)a.AskAs(waiter, {"BLMOVE", "from", "to", "LEFT", "RIGHT", "0"});
  ASSERT_EQ(a.last_outcome, Outcome::kSuspended);
  a.engine().SetMemoryLimit(Limit(1, "noeviction"));
  EXPECT_EQ(a.Ask({"SET", "k", "v"}), kOom);
  EXPECT_EQ(cluster[1].Ask({"RPUSH", "from", "x"}), "1");
  ASSERT_TRUE(cluster.RunUntil([&] { return waiter.blocked != command::Client::Blocked::kWaits; }, 5'000));
  EXPECT_EQ(a.AskAs(waiter, {"BLMOVE", "from", "to", "LEFT", "RIGHT", "0"}), "\"x\"");
  EXPECT_EQ(a.Ask({"LRANGE", "to", "0", "-1"}), "[\"x\"]");
  a.engine().ForgetClient(7);
}

TEST(Eviction, HowLongMemoryWasFullIsCounted) {
  Leaders cluster(1);
  TestNode& a = cluster[0];
  const auto exceeded = [&] { return a.engine().memory_exceeded(); };
  cluster.Run(500);
  EXPECT_EQ(exceeded().total_ms, 0);
  a.engine().SetMemoryLimit(Limit(1, "noeviction"));
  cluster.Run(1'000);
  EXPECT_GE(exceeded().now_ms, 900);
  EXPECT_LE(exceeded().now_ms, 1'000);
  EXPECT_EQ(exceeded().total_ms, exceeded().now_ms);
  a.engine().SetMemoryLimit(Limit(0, "noeviction"));
  cluster.Run(1'000);
  EXPECT_EQ(exceeded().now_ms, 0);
  const int64_t total = exceeded().total_ms;
  EXPECT_GE(total, 900);
  EXPECT_LE(total, 1'020);
  a.engine().SetMemoryLimit(Limit(1, "noeviction"));
  cluster.Run(500);
  EXPECT_GT(exceeded().total_ms, total + 400);
  EXPECT_LT(exceeded().now_ms, 600);
}

TEST(Eviction, WhatWasLoadedBeyondTheLimitGoes) {
  Leaders cluster(1);
  TestNode& a = cluster[0];
  const size_t empty = Used(a);
  ASSERT_EQ(Fill(a, "k", 200), "+OK");
  EXPECT_EQ(a.Ask({"BGSAVE"}), "+Background saving started");
  cluster.Run(1'000);
  a.Kill();
  ASSERT_TRUE(a.Start().ok());
  a.engine().SetMemoryLimit(Limit(empty + 100'000, "allkeys-lru"));
  EXPECT_GT(Used(a), empty + 200'000);
  EXPECT_TRUE(cluster.RunUntil([&] { return Used(a) <= empty + 100'000; }, 10'000));
  EXPECT_GT(Count(a, "k", 200), 40);
}

}  // namespace
}  // namespace polyarch::engine
