// What a state transfer may cost, and whom: log that is kept for it, senders that are asked, transfers that are not
// needed, leaders that are not level yet.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/number.h"
#include "engine/engine_test_util.h"
#include "engine/rows.h"
#include "wire/state_message.h"

namespace polyarch::engine {
namespace {

constexpr uint64_t kQuota = 200 << 10;

void Small(Options& options) {
  options.log_quota_bytes = kQuota;
  options.checkpoint_log_bytes = 50 << 10;
  options.state_timeout_us = 1'000'000;
}

// A line of so many bytes a second.
void Slow(Options& options, uint64_t bytes_per_second) {
  Small(options);
  options.state_grace_us = 0;
  options.state_timeout_us = 20'000'000;
  options.state_chunk_bytes = 1000;
  options.state_near_bytes = 2000;
  options.state_bytes_per_second_least = options.state_bytes_per_second = bytes_per_second;
}

void Fill(TestCluster& cluster, TestNode& node, int kilobytes) {
  for (int i = 0; i < kilobytes; ++i) {
    node.Ask({"SET", "filler:" + std::to_string(i % 50), std::string(1000, 'x')});
    if (i % 10 == 0) cluster.Run(100);
  }
  cluster.Run(5000);
}

// Writes a kilobyte each `every_ms`, for so long.
void Trickle(TestCluster& cluster, TestNode& node, int64_t every_ms, int64_t ms) {
  for (int64_t at = 0; at < ms; at += every_ms) {
    node.Ask({"SET", "filler:" + std::to_string(at / every_ms % 50), std::string(1000, 'x')});
    cluster.Run(every_ms);
  }
}

uint64_t Retained(TestNode& node) {
  return std::stoull(node.Info("log_retained_bytes"));
}

bool ReceivesLog(TestNode& node) {
  return node.Info("state_transfer_percent") == "99";
}

TestNode* SenderOf(TestCluster& cluster, TestNode& receiver) {
  for (size_t i = 0; i < cluster.size(); ++i) {
    if (cluster[i].up() && cluster[i].options().leader_id == receiver.engine().receiving_from()) return &cluster[i];
  }
  return nullptr;
}

// ---- the log that is kept for a receiver

// The line is as slow as the cluster writes, and nothing is lost on it.
class SlowLine : public ::testing::Test {
 protected:
  SlowLine() : cluster(2, 3, [](Options& o) { Slow(o, 20'000); }) {
    cluster.Run(20'000);  // nothing is trimmed before
    Fill(cluster, cluster[0], 600);
    c = &cluster.Add("c", [](Options& o) { Slow(o, 20'000); });
    EXPECT_TRUE(c->Start().ok());
    EXPECT_TRUE(cluster.RunUntil([&] { return c->engine().receiving_from() != ""; }));
    Trickle(cluster, cluster[0], 50, 5'000);
    sender = SenderOf(cluster, *c);
    EXPECT_NE(sender, nullptr);
    EXPECT_TRUE(ReceivesLog(*c));
  }
  void End() {
    ASSERT_TRUE(cluster.RunUntil([&] { return c->engine().may_write(); }, 120'000));
    EXPECT_EQ(c->engine().transfers().restarted, 0U);
    ASSERT_TRUE(cluster.Settle());
    EXPECT_TRUE(cluster.SameDigest());
  }
  Leaders cluster;
  TestNode* c = nullptr;
  TestNode* sender = nullptr;
};

TEST_F(SlowLine, WhatHasComeOfTheLogIsKeptNoLonger) {
  Trickle(cluster, cluster[0], 50, 40'000);
  EXPECT_TRUE(ReceivesLog(*c));
  EXPECT_LT(Retained(*sender), 2 * kQuota) << "800 KB were written meanwhile";
  End();
}

TEST_F(SlowLine, WhatMayBeLostWithTheReceiversProcessIsKept) {
  for (int i = 0; i < 5; ++i) {
    Trickle(cluster, cluster[0], 50, 3'000);
    EXPECT_EQ(c->engine().transfers().restarted, 0U);
    c->Kill();
    cluster.Run(500);
    ASSERT_TRUE(c->Start().ok());
  }
  Trickle(cluster, cluster[0], 50, 10'000);
  EXPECT_TRUE(ReceivesLog(*c));
  EXPECT_LT(Retained(*sender), 2 * kQuota);
  End();
  EXPECT_EQ(c->engine().transfers().resumed, 1U) << "of this process";
}

// What a link's end leaves of the receiver's memory may be lost later.
TEST_F(SlowLine, WhatIsKeptOutlivesTheLink) {
  cluster.Cut(*sender, *c);
  Trickle(cluster, cluster[0], 50, 3'000);
  cluster.Heal(*sender, *c);
  ASSERT_TRUE(cluster.RunUntil([&] { return c->engine().transfers().resumed == 1; }));
  Trickle(cluster, cluster[0], 50, 2'000);
  c->Kill();
  ASSERT_TRUE(c->Start().ok());
  End();
  EXPECT_EQ(c->engine().transfers().resumed, 1U) << "of this process";
}

// Slower than that: it would be behind for ever, and the sender's disk would be full.
TEST(StateTransfer, AReceiverThatIsTooSlowIsTurnedAway) {
  Leaders cluster(1, 4, [](Options& o) { Slow(o, 5'000); });
  TestNode& a = cluster[0];
  cluster.Run(20'000);
  Fill(cluster, a, 600);
  TestNode& c = cluster.Add("c", [](Options& o) {
    Slow(o, 5'000);
    o.state_pause_us = 60'000'000;
  });
  ASSERT_TRUE(c.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().receiving_from() == "a"; }));
  uint64_t most = 0;
  uint64_t serving = 0;
  for (int i = 0; i < 50; ++i) {
    Trickle(cluster, a, 50, 1'000);
    most = std::max(most, Retained(a));
    if (i >= 30) serving += a.engine().serving();
  }
  EXPECT_LT(most, 2 * kQuota + 50'000) << "a megabyte was written meanwhile";
  EXPECT_EQ(serving, 0U) << "it is not asked again at once";
  EXPECT_TRUE(a.Reported("too slow")) << "for the operator";
  EXPECT_TRUE(c.Reported("too slow"));
  // When less is written it comes in.
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().may_write(); }, 120'000));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// Between two rows that are sent, more are passed over than are read while a receiver waits for a word.
TEST(StateTransfer, PassingOverWhatIsEqualIsNotSilence) {
  auto options = [](Options& o) {
    Small(o);
    o.log_quota_bytes = 1 << 20;
    o.state_chunk_bytes = 300;
    o.state_window_bytes = 1000;
  };
  Leaders cluster(2, 1, options);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  for (int i = 0; i < 6000; ++i) a.Ask({"SET", "old:" + std::to_string(i), std::string(100, 'o')});
  ASSERT_TRUE(cluster.Settle());
  for (TestNode* node : {&a, &b}) node->Ask({"POLYARCH", "CHECKPOINT"});
  cluster.Run(2000);
  cluster.Cut(a, b);
  cluster.Run(4000);
  for (int i = 0; i < 3000; ++i) {
    a.Ask({"SET", "filler:" + std::to_string(i % 5), std::string(1000, 'x')});
    if (i % 10 == 0) cluster.Run(100);
  }
  cluster.Run(5000);
  ASSERT_GT(std::stoull(a.Info("log_begin")), 0U);
  cluster.Heal(a, b);
  ASSERT_TRUE(cluster.RunUntil([&] { return b.engine().transfers().completed == 1; }, 300'000));
  EXPECT_EQ(b.engine().transfers().restarted, 0U);
  EXPECT_GT(b.engine().transfers().slots_equal, 4000U);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// The sender would bear it for hours; what has come fills the receiver's disk meanwhile.
TEST(StateTransfer, AReceiverThatFallsBehindFurtherGivesUp) {
  Leaders cluster(1, 4, [](Options& o) {
    Slow(o, 5'000);
    o.log_quota_bytes = 100 << 20;
  });
  TestNode& a = cluster[0];
  cluster.Run(20'000);
  Fill(cluster, a, 200);
  TestNode& c = cluster.Add("c", [](Options& o) {
    Slow(o, 5'000);
    o.state_pause_us = 10'000'000;
  });
  ASSERT_TRUE(c.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().receiving_from() == "a"; }));
  Trickle(cluster, a, 150, 40'000);
  EXPECT_TRUE(c.Reported("falls behind"));
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().may_write(); }, 240'000));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// What comes would take the rest of the disk: then the log could not be written, nor the leader be started again.
TEST(StateTransfer, AReceiverWithLittleRoomGivesItUp) {
  for (const bool restart : {false, true}) {
    Leaders cluster(2, 14, [](Options& o) {
      Slow(o, 5'000);
      o.state_pause_us = 10'000'000;
    });
    TestNode& a = cluster[0];
    TestNode& b = cluster[1];
    cluster.Run(20'000);
    cluster.Cut(a, b);
    cluster.Run(4'000);
    Fill(cluster, a, 600);
    ASSERT_GT(std::stoull(a.Info("log_begin")), 0U);
    cluster.Heal(a, b);
    ASSERT_TRUE(cluster.RunUntil([&] { return b.Info("state_transfer_bytes").size() >= 4; }));
    auto staged = [&] { return b.store().Get(storage::Family::kMeta, kTransferRowKey).ok(); };
    ASSERT_TRUE(staged());
    if (restart) {
      b.store().Flush();
      while (b.store().flushing()) b.store().CompleteFlush();
      b.Kill();
      cluster.Run(100);
      ASSERT_TRUE(b.Start().ok());
      ASSERT_EQ(b.engine().receiving_from(), "a");
    }
    const uint64_t served = a.engine().transfers().served;
    b.engine().SetLowSpace(true);
    cluster.Run(100);
    EXPECT_TRUE(b.Reported("nearly full: make room"));
    EXPECT_EQ(b.engine().receiving_from(), "");
    EXPECT_EQ(a.engine().serving(), 0U);
    EXPECT_FALSE(staged());
    // There may be room just because of that.
    b.engine().SetLowSpace(false);
    cluster.Run(9'000);
    EXPECT_EQ(a.engine().transfers().served, served);
    b.engine().SetLowSpace(true);
    cluster.Run(10'000);
    EXPECT_EQ(a.engine().transfers().served, served);
    EXPECT_EQ(b.Ask({"GET", "filler:1"}), "null") << "it serves";
    b.engine().SetLowSpace(false);
    ASSERT_TRUE(cluster.RunUntil([&] { return b.engine().transfers().completed == 1; }, 120'000));
    EXPECT_EQ(b.engine().transfers().restarted, 1U);
    ASSERT_TRUE(cluster.Settle());
    EXPECT_TRUE(cluster.SameDigest());
  }
}

// ---- a link that no topology asks for

// Two leaves find each other when their hub dies; it returns, and then their link drops.
TEST(StateTransfer, OverABypassItOutlivesTheLink) {
  for (const bool restart : {false, true}) {
    Leaders cluster(3, 5, [](Options& o) { Slow(o, 5'000); });
    TestNode& hub = cluster[0];
    TestNode& b = cluster[1];
    TestNode& c = cluster[2];
    EXPECT_EQ(hub.Ask({"TOPOLOGY", "SET", "star", "a"}), "+OK");
    cluster.Run(20'000);
    cluster.Cut(hub, c);
    cluster.Cut(b, c);
    cluster.Run(4'000);
    Fill(cluster, b, 600);
    ASSERT_GT(std::stoull(b.Info("log_begin")), 0U);
    hub.Kill();
    cluster.Heal(b, c);
    ASSERT_TRUE(cluster.RunUntil([&] { return c.Info("state_transfer_bytes").size() >= 4; }));
    ASSERT_EQ(c.Info("state_transfer_from"), "b");
    cluster.Heal(hub, c);
    ASSERT_TRUE(hub.Start().ok());
    cluster.Run(4'000);
    ASSERT_EQ(c.Info("state_transfer_in_progress"), "1");
    if (restart) {
      c.store().Flush();
      while (c.store().flushing()) c.store().CompleteFlush();
      c.Kill();
      cluster.Run(2'000);
      ASSERT_TRUE(c.Start().ok());
    } else {
      cluster.Cut(b, c);
      cluster.Run(2'500);
      cluster.Heal(b, c);
    }
    EXPECT_EQ(c.engine().transfers().resumed, 0U);
    EXPECT_TRUE(cluster.RunUntil([&] { return c.engine().transfers().resumed == 1; }, 10'000)) << restart;
    ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().transfers().completed == 1; }, 120'000));
    EXPECT_EQ(c.engine().transfers().restarted, 0U);
    ASSERT_TRUE(cluster.Settle());
    EXPECT_TRUE(cluster.SameDigest());
  }
}

// ---- joining again

// It has been admitted long since, and does not know it: the record comes with the state.
TEST(StateTransfer, WhoeverTakesAStateDoesNotAdmitItself) {
  Leaders cluster(3, 6, [](Options& o) { Slow(o, 2'000); });
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  TestNode& c = cluster[2];
  a.Ask({"SET", "k", "old"});
  ASSERT_TRUE(cluster.Settle());
  cluster.Run(20'000);
  c.Kill();
  EXPECT_EQ(a.Ask({"LEADER", "RETIRE", "c"}), "+OK");
  cluster.Run(15'000);
  a.Ask({"SET", "k", "new"});
  Fill(cluster, a, 600);
  ASSERT_GT(std::stoull(b.Info("log_begin")), 0U);
  c.options().rejoin = true;
  ASSERT_TRUE(c.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return c.Reported("joins again"); }));
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().may_write(); }, 120'000));
  EXPECT_EQ(c.engine().transfers().completed, 1U);
  EXPECT_EQ(c.Ask({"GET", "k"}), "\"new\"");
  EXPECT_FALSE(c.Reported("admits itself"));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// Its link drops before the state has come, for less than the patience of either side.
TEST(StateTransfer, WhoeverHasBegunWithAStateDoesNotAdmitItself) {
  Leaders cluster(2, 6, [](Options& o) { Slow(o, 2'000); });
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  cluster.Run(20'000);
  b.Kill();
  EXPECT_EQ(a.Ask({"LEADER", "RETIRE", "b"}), "+OK");
  cluster.Run(15'000);
  Fill(cluster, a, 600);
  b.options().rejoin = true;
  ASSERT_TRUE(b.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return b.Info("state_transfer_bytes").size() >= 4; }));
  cluster.Cut(a, b);
  cluster.Run(15'000);
  EXPECT_FALSE(b.engine().may_write());
  cluster.Heal(a, b);
  ASSERT_TRUE(cluster.RunUntil([&] { return b.engine().may_write(); }, 120'000));
  EXPECT_EQ(b.engine().transfers().completed, 1U);
  EXPECT_FALSE(b.Reported("admits itself"));
}

TEST(StateTransfer, WhoeverFindsNobodyStillAdmitsItself) {
  Leaders cluster(2, 6, Small);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  b.Kill();
  EXPECT_EQ(a.Ask({"LEADER", "RETIRE", "b"}), "+OK");
  cluster.Run(15'000);
  b.options().rejoin = true;
  ASSERT_TRUE(b.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return b.Reported("joins again"); }));
  a.Kill();
  cluster.Run(8'000);
  EXPECT_FALSE(b.Reported("admits itself"));
  cluster.Run(7'000);
  EXPECT_TRUE(b.engine().may_write());
  EXPECT_TRUE(b.Reported("admits itself"));
}

// ---- which sender

// One row of one leader is damaged: others hold it whole.
TEST(StateTransfer, WhoeverCannotReadItsStateIsLeftForAnother) {
  Leaders cluster(2, 1, Small);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  Fill(cluster, a, 600);
  a.store().Damage(storage::Family::kData, DataRowKey(0, "filler:7"));
  TestNode& c = cluster.Add("c", Small);
  cluster.Cut(b, c);
  ASSERT_TRUE(c.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().transfers().restarted == 1; }));
  cluster.Heal(b, c);
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().may_write(); }, 20'000));
  EXPECT_EQ(c.engine().transfers().completed, 1U);
  EXPECT_EQ(c.engine().transfers().restarted, 1U);
  EXPECT_TRUE(c.Reported("cannot read"));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// Nobody else has it: it is asked now and then.
TEST(StateTransfer, WhoeverCannotReadItsStateIsAskedSeldom) {
  Leaders cluster(1, 1, Small);
  TestNode& a = cluster[0];
  Fill(cluster, a, 600);
  a.store().Damage(storage::Family::kData, DataRowKey(0, "filler:7"));
  TestNode& c = cluster.Add("c", [](Options& o) {
    Small(o);
    o.state_pause_us = 10'000'000;
  });
  ASSERT_TRUE(c.Start().ok());
  cluster.Run(35'000);
  EXPECT_GE(a.engine().transfers().served, 3U);
  EXPECT_LE(a.engine().transfers().served, 5U);
  a.store().Damage(storage::Family::kData, "");
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().may_write(); }, 20'000));
}

TEST(StateTransfer, ReceiversTakeDifferentSenders) {
  Leaders cluster(2, 8, [](Options& o) { Slow(o, 5'000); });
  cluster.Run(20'000);
  Fill(cluster, cluster[0], 600);
  std::vector<TestNode*> receivers;
  for (const char* name : {"c", "d", "e", "f"}) {
    receivers.push_back(&cluster.Add(name, [](Options& o) { Slow(o, 5'000); }));
    ASSERT_TRUE(receivers.back()->Start().ok());
  }
  cluster.Run(4'000);
  EXPECT_EQ(cluster[0].engine().serving() + cluster[1].engine().serving(), 4U);
  EXPECT_GE(cluster[0].engine().serving(), 1U);
  EXPECT_GE(cluster[1].engine().serving(), 1U);
}

TEST(StateTransfer, WhoeverIsToldLaterAsksAnother) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    for (const size_t busy : {0, 1}) {
      Leaders cluster(2, seed, Small);
      Fill(cluster, cluster[0], 600);
      cluster.on_way = [&](TestNode& from, std::string& message) {
        wire::StateOffer offer;
        if (&from != &cluster[busy] || message[0] != static_cast<char>(wire::kStateOfferMessage)) return true;
        EXPECT_TRUE(wire::Decode(std::string_view(message).substr(1), offer));
        const uint64_t id = offer.id;
        message = wire::Encode(wire::StateRefusal{id, wire::RefusalReason::kLater});
        return true;
      };
      TestNode& c = cluster.Add("c", [](Options& o) {
        Small(o);
        o.state_timeout_us = 30'000'000;
      });
      ASSERT_TRUE(c.Start().ok());
      ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().may_write(); }, 10'000)) << busy;
      EXPECT_EQ(c.engine().transfers().restarted, 0U);
      cluster.on_way = nullptr;
      ASSERT_TRUE(cluster.Settle());
    }
  }
}

// Each lacks what the other's log holds no more. Who cuts over serves another state from then on.
TEST(StateTransfer, OfTwoThatNeedEachOtherOneComesFirst) {
  Leaders cluster(2, 9, [](Options& o) { Slow(o, 20'000); });
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  cluster.Run(20'000);
  cluster.Cut(a, b);
  cluster.Run(4'000);
  for (TestNode* node : {&a, &b}) {
    for (int i = 0; i < 600; ++i) {
      node->Ask({"SET", node->options().leader_id + std::to_string(i % 50), std::string(1000, 'x')});
      if (i % 10 == 0) cluster.Run(100);
    }
  }
  cluster.Run(5'000);
  ASSERT_GT(std::stoull(a.Info("log_begin")), 0U);
  ASSERT_GT(std::stoull(b.Info("log_begin")), 0U);
  cluster.Heal(a, b);
  ASSERT_TRUE(cluster.RunUntil(
      [&] { return a.engine().transfers().completed == 1 && b.engine().transfers().completed == 1; }, 120'000));
  EXPECT_EQ(a.engine().transfers().restarted + b.engine().transfers().restarted, 0U);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// ---- what is not needed

// b holds the whole log (somebody makes a backup of it), and a does not.
class OneLogHoldsAll : public ::testing::Test {
 protected:
  OneLogHoldsAll() : cluster(3, 11, [](Options& o) { Slow(o, 2'000); }) {
    b.log().Pin(0);
    cluster.Cut(a, c);
    cluster.Cut(b, c);
    cluster.Run(20'000);
    Fill(cluster, a, 600);
    EXPECT_GT(std::stoull(a.Info("log_begin")), 0U);
    EXPECT_EQ(b.Info("log_begin"), "0");
  }
  void End() {
    EXPECT_EQ(c.engine().transfers().completed, 0U);
    EXPECT_EQ(c.Info("state_transfer_in_progress"), "0");
    ASSERT_TRUE(cluster.Settle());
    EXPECT_TRUE(cluster.SameDigest());
  }
  Leaders cluster;
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  TestNode& c = cluster[2];
};

TEST_F(OneLogHoldsAll, ItIsHeardBeforeAStateIsAskedFor) {
  cluster.Hold(b, c);
  cluster.Heal(a, c);
  cluster.Heal(b, c);
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().replica().LinkOf("a").has_value(); }));
  cluster.Run(1'000);
  cluster.Release(b, c);
  cluster.Run(10'000);
  EXPECT_FALSE(c.Reported("for its state"));
  End();
}

TEST_F(OneLogHoldsAll, OneThatIsNotHeardOfIsNotWaitedForLong) {
  cluster.Heal(a, c);
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().receiving_from() == "a"; }, 10'000));
}

TEST_F(OneLogHoldsAll, AStateIsGivenUpWhenItsLogHasCome) {
  cluster.Heal(a, c);
  ASSERT_TRUE(cluster.RunUntil([&] { return c.Info("state_transfer_bytes").size() >= 4; }));
  cluster.Heal(b, c);
  cluster.Run(20'000);
  EXPECT_TRUE(c.Reported("is not needed"));
  EXPECT_EQ(c.engine().transfers().restarted, 0U) << "nothing is begun anew";
  End();
}

// As long as there is no link nobody says that anything is lacking.
TEST_F(OneLogHoldsAll, ALinkThatIsDownIsNoReasonToGiveUp) {
  cluster.Heal(a, c);
  ASSERT_TRUE(cluster.RunUntil([&] { return c.Info("state_transfer_bytes").size() >= 4; }));
  cluster.Cut(a, c);
  cluster.Run(14'000);
  cluster.Heal(a, c);
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().transfers().completed == 1; }, 180'000));
  EXPECT_EQ(c.engine().transfers().restarted, 0U);
  EXPECT_EQ(c.engine().transfers().resumed, 1U);
}

// ---- after a start

// Receivers that come back first get what they need, but not without end.
TEST(StateTransfer, ALeaderThatIsRestartedAgainAndAgainTrimsItsLog) {
  Leaders cluster(2, 12, [](Options& o) {
    Small(o);
    o.state_timeout_us = 20'000'000;
  });
  TestNode& a = cluster[0];
  uint64_t most = 0;
  for (int i = 0; i < 12; ++i) {
    Trickle(cluster, cluster[1], 50, 6'000);
    most = std::max(most, Retained(a));
    a.Kill();
    cluster.Run(500);
    ASSERT_TRUE(a.Start().ok());
    ASSERT_TRUE(cluster.Settle());
  }
  EXPECT_LT(most, 3 * kQuota) << "1.4 MB were written";
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

}  // namespace
}  // namespace polyarch::engine
