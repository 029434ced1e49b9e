// The log's quota and state transfers between engines.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "base/number.h"
#include "engine/engine_test_util.h"
#include "engine/rows.h"
#include "wire/state_message.h"

namespace polyarch::engine {
namespace {

void Small(Options& options) {
  options.log_quota_bytes = 200 << 10;
  options.checkpoint_log_bytes = 50 << 10;
  options.state_timeout_us = 1'000'000;
}

void Fill(TestCluster& cluster, TestNode& node, int kilobytes) {
  for (int i = 0; i < kilobytes; ++i) {
    node.Ask({"SET", "filler:" + std::to_string(i % 50), std::string(1000, 'x')});
    if (i % 10 == 0) cluster.Run(100);
  }
  cluster.Run(5000);
}

// What it wants is in the only log in reach, and cannot be read there.
TEST(StateTransfer, ADamagedLogIsGoneRoundByAState) {
  Leaders cluster(2, 1, Small);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  cluster.Cut(a, b);
  cluster.Run(4000);
  for (int i = 0; i < 20; ++i) a.Ask({"SET", "k" + std::to_string(i), "v"});
  cluster.Run(100);
  a.Ask({"POLYARCH", "CHECKPOINT"});
  cluster.Run(1000);
  a.log().DamageBefore(a.log().end());
  a.Ask({"SET", "last", "v"});
  cluster.Heal(a, b);
  cluster.Run(10'000);
  EXPECT_EQ(b.Ask({"GET", "k7"}), "\"v\"");
  EXPECT_EQ(b.Ask({"GET", "last"}), "\"v\"");
  EXPECT_TRUE(a.Reported("cannot read the log for b"));
}

TEST(StateTransfer, ALeaderThatWasAwayComesBack) {
  Leaders cluster(3, 1, Small);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  TestNode& c = cluster[2];
  a.Ask({"SET", "gone", "v"});
  ASSERT_TRUE(cluster.Settle());
  cluster.Cut(a, c);
  cluster.Cut(b, c);
  cluster.Run(4000);
  c.Ask({"SET", "own", "mine"});
  b.Ask({"DEL", "gone"});
  Fill(cluster, a, 600);
  EXPECT_NE(a.Ask({"LEADER", "LIST"}).find("\"away\""), std::string::npos);
  EXPECT_LT(std::stoull(a.Info("log_retained_bytes")), 400'000U);
  EXPECT_GT(std::stoull(a.Info("log_begin")), 0U);
  EXPECT_EQ(c.Ask({"SET", "own2", "mine"}), "+OK") << "it serves and writes";
  cluster.Heal(a, c);
  cluster.Heal(b, c);
  cluster.Run(3000);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(c.Info("state_transfers"), "1");
  EXPECT_EQ(c.Info("state_transfer_in_progress"), "0");
  EXPECT_TRUE(cluster.SameDigest());
  EXPECT_EQ(a.Ask({"GET", "own"}), "\"mine\"");
  EXPECT_EQ(c.Ask({"GET", "gone"}), "null");
  cluster.Run(8000);
  EXPECT_EQ(a.Ask({"LEADER", "LIST"}).find("\"away\""), std::string::npos);
  EXPECT_EQ(c.Info("conflicts_detected"), "0");
}

TEST(StateTransfer, ItsCutOverSurvivesWhatIsKilledAfterIt) {
  Leaders cluster(2, 2, [](Options& options) {
    Small(options);
    options.merge_slice_keys = 1;
  });
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  for (int i = 0; i < 100; ++i) a.Ask({"SET", "old:" + std::to_string(i), "v"});
  ASSERT_TRUE(cluster.Settle());
  cluster.Cut(a, b);
  cluster.Run(4000);
  b.Ask({"SET", "own", "mine"});
  for (int i = 0; i < 100; ++i) a.Ask({"DEL", "old:" + std::to_string(i)});
  Fill(cluster, a, 600);
  cluster.Heal(a, b);
  ASSERT_TRUE(cluster.RunUntil([&] { return b.engine().transfers().completed == 1; }));
  EXPECT_TRUE(b.engine().merging());
  const std::string digest = b.engine().DigestText();
  const std::string vv = b.engine().VersionVectorText();
  b.Kill();
  a.Kill();
  ASSERT_TRUE(b.Start().ok());
  EXPECT_EQ(b.engine().transfers().replayed, 1U);
  EXPECT_EQ(b.engine().DigestText(), digest);
  EXPECT_EQ(b.engine().VersionVectorText().substr(0, vv.find(' ')), vv.substr(0, vv.find(' ')));
  EXPECT_EQ(b.Ask({"EXISTS", "old:1", "old:50"}), "0");
  ASSERT_TRUE(a.Start().ok());
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
  EXPECT_EQ(a.Ask({"GET", "own"}), "\"mine\"");
}

// A key's row was sent while it held its elements; then they get rows of their own, which come after it.
TEST(StateTransfer, ElementsGetTheirRowsInTheMiddleOfIt) {
  constexpr int kSets = 40;
  auto options = [](Options& o) {
    Small(o);
    o.state_chunk_bytes = 1;
    o.state_bytes_per_second = 5'000;
  };
  Leaders cluster(2, 4, options);
  TestNode& a = cluster[0];
  auto add = [&](int from, int to) {
    for (int s = 0; s < kSets; ++s) {
      for (int i = from; i < to; ++i) a.Ask({"SADD", "s:" + std::to_string(s), "m" + std::to_string(i)});
    }
  };
  add(0, 30);
  Fill(cluster, a, 600);
  TestNode& c = cluster.Add("c", options);
  ASSERT_TRUE(c.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return c.Info("state_transfer_bytes").size() >= 5; }));
  EXPECT_EQ(c.Info("state_transfer_in_progress"), "1");
  a.Ask({"SREM", "s:1", "m1"});
  add(30, 40);
  TestNode& sender = c.Info("state_transfer_from") == "a" ? a : cluster[1];
  cluster.Run(500);
  sender.Ask({"POLYARCH", "CHECKPOINT"});
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().may_write(); }));
  EXPECT_EQ(c.Info("state_transfers_restarted"), "0");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
  EXPECT_EQ(c.Ask({"SCARD", "s:1"}), "39");
}

TEST(StateTransfer, ANewLeaderJoinsThroughIt) {
  Leaders cluster(2, 3, Small);
  cluster[0].Ask({"SET", "first", "v"});
  Fill(cluster, cluster[1], 600);
  ASSERT_GT(std::stoull(cluster[0].Info("log_begin")), 0U);
  TestNode& c = cluster.Add("c", Small);
  ASSERT_TRUE(c.Start().ok());
  EXPECT_EQ(c.Ask({"SET", "k", "w"}).substr(0, 9), "-HISTORY ");
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().may_write(); }));
  EXPECT_EQ(c.Info("state_transfers"), "1");
  EXPECT_EQ(c.Ask({"GET", "first"}), "\"v\"");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// The first pull of the rows is lost: those that follow say it all the same.
TEST(StateTransfer, EachPullSaysWhatIsLeftOut) {
  auto options = [](Options& o) {
    Small(o);
    o.state_chunk_bytes = 500;
    o.state_window_bytes = 1000;
  };
  Leaders cluster(2, 5, options);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  for (int i = 0; i < 300; ++i) a.Ask({"SET", "old:" + std::to_string(i), std::string(100, 'o')});
  ASSERT_TRUE(cluster.Settle());
  for (TestNode* node : {&a, &b}) node->Ask({"POLYARCH", "CHECKPOINT"});
  cluster.Run(2000);
  cluster.Cut(a, b);
  cluster.Run(4000);
  Fill(cluster, a, 600);
  int pulls = 0;
  cluster.on_way = [&](TestNode& from, std::string& message) {
    wire::StatePull pull;
    if (&from != &b || message[0] != static_cast<char>(wire::kStatePullMessage)) return true;
    EXPECT_TRUE(wire::Decode(std::string_view(message).substr(1), pull));
    if (pull.part != wire::StatePart::kRows) return true;
    EXPECT_EQ(pull.skip.size(), wire::kSlotBitsBytes);
    ++pulls;
    return pulls > 1;
  };
  cluster.Heal(a, b);
  ASSERT_TRUE(cluster.RunUntil([&] { return b.engine().transfers().completed == 1; }));
  EXPECT_GT(pulls, 3);
  EXPECT_EQ(b.engine().transfers().restarted, 0U);
  EXPECT_GT(b.engine().transfers().slots_equal, 250U);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// Else claims would chase each other around a ring for ever.
TEST(StateTransfer, OfClaimsAloneObligesToNone) {
  Leaders cluster(3, 7, [](Options& o) {
    o.state_instead_bytes = 2000;
    o.checkpoint_interval_ms = 500;
  });
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  TestNode& c = cluster[2];
  cluster.Cut(a, b);
  cluster.Cut(b, c);
  cluster.Run(4000);
  for (int i = 0; i < 300; ++i) a.Ask({"SET", "k", std::string(100, 'x')});
  ASSERT_TRUE(cluster.RunUntil([&] { return c.Ask({"STRLEN", "k"}) == "100"; }));
  cluster.Cut(a, c);
  cluster.Run(5000);  // a claims what c has; its claim does not come
  cluster.Heal(a, b);
  ASSERT_TRUE(cluster.RunUntil([&] { return b.engine().transfers().completed == 1; }));
  cluster.Run(5000);
  auto own_of = [](TestNode& node, const std::string& leader) {
    const std::string vv = node.engine().VersionVectorText();
    const size_t at = vv.find(leader + ".");
    return vv.substr(at, vv.find_first_of(" }", at) - at);
  };
  const std::string before = own_of(c, "c");
  ASSERT_NE(own_of(c, "a"), own_of(b, "a"));
  cluster.Heal(b, c);
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().transfers().completed == 1; }));
  cluster.Run(10'000);
  EXPECT_EQ(own_of(c, "a"), own_of(b, "a"));
  EXPECT_EQ(own_of(c, "c"), before);
  cluster.Heal(a, c);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// A leader may have made its checkpoint before it knew its cluster.
TEST(StateTransfer, AnOfferThatNamesNoClusterIsTaken) {
  Leaders cluster(2, 6, Small);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  cluster.Cut(a, b);
  cluster.Run(4000);
  Fill(cluster, a, 600);
  int offers = 0;
  cluster.on_way = [&](TestNode&, std::string& message) {
    wire::StateOffer offer;
    if (message[0] != static_cast<char>(wire::kStateOfferMessage)) return true;
    EXPECT_TRUE(wire::Decode(std::string_view(message).substr(1), offer));
    if (offer.resumed) return true;
    CheckpointRow row;
    EXPECT_TRUE(DecodeCheckpoint(offer.checkpoint, offer.names.size(), row));
    EXPECT_NE(row.identity.cluster, 0U);
    row.identity.cluster = 0;
    const std::string checkpoint = EncodeCheckpoint(row);
    offer.checkpoint = checkpoint;
    message = wire::Encode(offer);
    ++offers;
    return true;
  };
  cluster.Heal(a, b);
  ASSERT_TRUE(cluster.RunUntil([&] { return b.engine().transfers().completed == 1; }));
  EXPECT_EQ(offers, 1);
  EXPECT_EQ(b.engine().transfers().malformed, 0U);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// What was staged is loaded before the policies are known; its orders must follow them.
TEST(StateTransfer, WhatIsStagedFollowsThePoliciesAfterARestart) {
  Leaders cluster(3, 4, [](Options& o) {
    Small(o);
    o.state_chunk_bytes = 1;
    o.state_bytes_per_second = 5'000;
  });
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  TestNode& c = cluster[2];
  a.Ask({"POLICY", "SET", "board", "priority", "a", "b", "c"});
  for (int i = 0; i < 200; ++i) a.Ask({"ZADD", "board", std::to_string(i), "m" + std::to_string(i)});
  ASSERT_TRUE(cluster.Settle());
  cluster.Cut(a, b);
  cluster.Cut(a, c);
  cluster.Cut(b, c);
  cluster.Run(4000);
  a.Ask({"ZADD", "board", "1000", "both"});
  cluster.Tick();
  b.Ask({"ZADD", "board", "2000", "both"});
  cluster.Heal(a, b);
  cluster.Run(4000);
  EXPECT_EQ(b.Ask({"ZSCORE", "board", "both"}), "\"1000\"");
  Fill(cluster, a, 600);
  cluster.Heal(a, c);
  cluster.Heal(b, c);
  ASSERT_TRUE(cluster.RunUntil([&] { return base::ParseInt64(c.Info("state_transfer_bytes")).value_or(0) > 30'000; }));
  ASSERT_EQ(c.Info("state_transfer_in_progress"), "1");
  c.store().Flush();
  while (c.store().flushing()) c.store().CompleteFlush();
  c.Kill();
  ASSERT_TRUE(c.Start().ok());
  a.Ask({"ZREM", "board", "both"});
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().transfers().completed == 1; }, 300'000));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
  EXPECT_EQ(c.Ask({"ZCARD", "board"}), "200");
}

TEST(StateTransfer, WhatTheLedgerGaveUpStaysGivenUp) {
  Leaders cluster(2, 2, [](Options& options) {
    Small(options);
    options.checkpoint_slice_keys = 1;
    options.ledger.entries_max = 5;
  });
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  cluster.Cut(a, b);
  cluster.Run(4000);
  for (int i = 0; i < 20; ++i) {
    b.Ask({"SET", "k:" + std::to_string(i), "mine"});
    a.Ask({"SET", "k:" + std::to_string(i), "theirs"});
  }
  Fill(cluster, a, 600);
  cluster.Heal(a, b);
  ASSERT_TRUE(cluster.RunUntil([&] { return b.engine().transfers().completed == 1 && !b.engine().merging(); }));
  auto listed = [&] {
    std::set<std::string> keys;
    b.engine().ledger().Visit(0, [&](const conflict::LedgerEntry& e) { return keys.insert(e.key), true; });
    return keys;
  };
  const std::string done = b.Info("checkpoints_done");
  b.engine().StartCheckpoint();
  for (int i = 0; i < 3; ++i) cluster.Tick();
  const auto before = listed();
  ASSERT_EQ(before.size(), 5U);
  ASSERT_EQ(b.Info("checkpoints_done"), done);
  b.store().Flush();
  while (b.store().flushing()) b.store().CompleteFlush();
  b.Kill();
  a.Kill();
  ASSERT_TRUE(b.Start().ok());
  ASSERT_EQ(b.engine().transfers().replayed, 1U);
  EXPECT_EQ(listed(), before);
}

// The ledger of a leader may be large, and most of it is known to whoever was away for a while.
TEST(StateTransfer, OfTheLedgerOnlyWhatIsLackingIsSent) {
  Leaders cluster(3, 9, Small);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  TestNode& c = cluster[2];
  auto conflicts = [](TestNode& one, TestNode& other, const std::string& prefix, int count) {
    for (int i = 0; i < count; ++i) {
      one.Ask({"SET", prefix + std::to_string(i), "one"});
      other.Ask({"SET", prefix + std::to_string(i), "other"});
    }
  };
  cluster.Cut(a, b);
  cluster.Cut(b, c);
  cluster.Cut(a, c);
  conflicts(a, b, "early:", 40);
  cluster.Heal(a, b);
  cluster.Heal(b, c);
  cluster.Heal(a, c);
  ASSERT_TRUE(cluster.Settle());
  ASSERT_EQ(b.engine().ledger().size(), 40U);
  cluster.Cut(a, b);
  cluster.Cut(b, c);
  cluster.Cut(a, c);
  conflicts(a, c, "late:", 5);
  cluster.Heal(a, c);
  cluster.Run(4000);
  Fill(cluster, a, 600);
  size_t rows = 0;
  cluster.on_way = [&](TestNode&, std::string& message) {
    wire::StateChunk chunk;
    if (message[0] != static_cast<char>(wire::kStateChunkMessage)) return true;
    EXPECT_TRUE(wire::Decode(std::string_view(message).substr(1), chunk));
    if (chunk.part != wire::StatePart::kLedger) return true;
    for (const auto& [key, row] : chunk.rows) {
      conflict::LedgerEntry entry;
      if (conflict::Ledger::Decode(key, row, entry)) ++rows;
    }
    return true;
  };
  cluster.Heal(a, b);
  cluster.Heal(b, c);
  ASSERT_TRUE(cluster.RunUntil([&] { return b.engine().transfers().completed == 1; }));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.engine().ledger().size(), 45U);
  EXPECT_GE(rows, 5U);
  EXPECT_LT(rows, 10U) << "of 1024 buckets, those of five pairs";
}

// A refused offer has named origins all the same: who is begun after it must find them in the store, or none.
TEST(StateTransfer, AMalformedOfferLeavesAReadableStore) {
  Leaders cluster(2, 8, Small);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  cluster.Cut(a, b);
  cluster.Run(4000);
  Fill(cluster, a, 600);
  int offers = 0;
  cluster.on_way = [&](TestNode&, std::string& message) {
    wire::StateOffer offer;
    if (offers > 0 || message[0] != static_cast<char>(wire::kStateOfferMessage)) return true;
    EXPECT_TRUE(wire::Decode(std::string_view(message).substr(1), offer));
    offer.names.push_back({"stranger", 1});
    offer.checkpoint = offer.checkpoint.substr(1);
    message = wire::Encode(offer);
    ++offers;
    return true;
  };
  cluster.Heal(a, b);
  ASSERT_TRUE(cluster.RunUntil([&] { return b.engine().transfers().malformed == 1; }));
  cluster.Cut(a, b);
  b.Ask({"SET", "k", "v"});
  b.Ask({"POLYARCH", "CHECKPOINT"});
  cluster.Run(2000);
  b.Kill();
  ASSERT_TRUE(b.Start().ok());
  EXPECT_EQ(b.Ask({"GET", "k"}), "\"v\"");
  cluster.Heal(a, b);
  ASSERT_TRUE(cluster.RunUntil([&] { return b.engine().transfers().completed == 1; }));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// Two fields, and so two frames that a link takes; one row that it does not.
TEST(StateTransfer, ARowMayBeLargerThanAMessage) {
  Leaders cluster(2, 10, Small);
  for (size_t i = 0; i < 2; ++i) cluster[i].message_bytes_max = 1'000'000;
  for (const char* field : {"f", "g"}) {
    EXPECT_EQ(cluster[0].Ask({"HSET", "big", field, std::string(600'000, *field)}), "1");
    cluster.Run(100);
  }
  Fill(cluster, cluster[0], 300);
  ASSERT_GT(std::stoull(cluster[0].Info("log_begin")), 0U);
  TestNode& c = cluster.Add("c", Small);
  c.message_bytes_max = 1'000'000;
  ASSERT_TRUE(c.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().may_write(); }));
  EXPECT_EQ(c.Info("state_transfers"), "1");
  EXPECT_EQ(c.Ask({"HSTRLEN", "big", "g"}), "600000");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// As many origins as there ever were are told of in the sender's checkpoint row.
// A checkpoint row with hundreds of origins, larger than a message.
class LargeBase : public ::testing::Test {
 protected:
  static void Tune(Options& o) {
    Small(o);
    o.state_timeout_us = 20'000'000;
    o.state_chunk_bytes = 1000;
    o.state_window_bytes = 4000;
  }
  void SetUp() override {
    for (int i = 0; i < 300; ++i) {
      b.Kill();
      ASSERT_TRUE(b.Start().ok());
      b.Ask({"SET", "k", std::to_string(i)});
      cluster.Run(30);
    }
    cluster.Run(20'000);  // nothing is trimmed before
    Fill(cluster, a, 600);
    ASSERT_GT(std::stoull(a.Info("log_begin")), 0U);
    auto row = a.store().Get(storage::Family::kMeta, kCheckpointRowKey);
    ASSERT_TRUE(row.ok());
    ASSERT_GT(row->size(), 12'000U);
    for (size_t i = 0; i < 2; ++i) cluster[i].message_bytes_max = 10'000;
  }
  TestNode& Join() {
    TestNode& c = cluster.Add("c", Tune);
    c.message_bytes_max = 10'000;
    EXPECT_TRUE(c.Start().ok());
    return c;
  }
  // Its sender goes on with another checkpoint.
  void Renew(TestNode& node) {
    node.Ask({"SET", "meanwhile", "1"});
    node.Ask({"POLYARCH", "CHECKPOINT"});
  }
  void ExpectJoined(TestNode& c) {
    ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().may_write(); }, 120'000));
    EXPECT_EQ(c.Info("state_transfers"), "1");
    EXPECT_EQ(c.engine().transfers().malformed, 0U);
    ASSERT_TRUE(cluster.Settle());
    EXPECT_TRUE(cluster.SameDigest());
    EXPECT_EQ(c.Ask({"GET", "k"}), "\"299\"");
  }
  Leaders cluster{2, 21, Tune};
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
};

TEST_F(LargeBase, ComesInPieces) {
  int pieces = 0;
  TestNode* sender = nullptr;
  cluster.on_way = [&](TestNode& from, std::string& message) {
    wire::StateChunk chunk;
    if (message[0] != static_cast<char>(wire::kStateChunkMessage)) return true;
    EXPECT_TRUE(wire::Decode(std::string_view(message).substr(1), chunk));
    if (chunk.part != wire::StatePart::kBase) return true;
    ++pieces;
    sender = &from;
    return pieces % 25 != 0;
  };
  TestNode& c = Join();
  ASSERT_TRUE(cluster.RunUntil([&] { return pieces >= 5; }));
  Renew(*sender);
  ExpectJoined(c);
  EXPECT_GT(pieces, 12);
}

// The request was repeated, and each was answered, with a checkpoint in between: the pieces are of the newer one.
TEST_F(LargeBase, IsThatOfTheNewestOffer) {
  TestNode* sender = nullptr;
  TestNode* c = nullptr;
  std::string first;
  int offers = 0;
  cluster.on_way = [&](TestNode& from, std::string& message) {
    if (message[0] != static_cast<char>(wire::kStateOfferMessage)) return true;
    if (++offers == 1) {  // it takes longer than the receiver waits
      first = message;
      sender = &from;
      return false;
    }
    if (offers == 2 && &from == sender) c->Feed(*c->engine().replica().LinkOf(from.options().leader_id), first);
    return true;
  };
  c = &Join();
  ASSERT_TRUE(cluster.RunUntil([&] { return offers == 1; }));
  Renew(*sender);
  ExpectJoined(*c);
  EXPECT_GE(offers, 2);
}

// ---- rows in pieces: one that takes its time, and what may happen meanwhile

class Pieces : public ::testing::Test {
 protected:
  static constexpr int kFields = 20;
  static void Slow(Options& o) {
    Small(o);
    o.state_timeout_us = 20'000'000;
    o.state_chunk_bytes = 1000;
    o.state_window_bytes = 4000;
    o.state_bytes_per_second_least = o.state_bytes_per_second = 20'000;
  }
  Pieces() : cluster(2, 13, Slow) {
    cluster.Run(20'000);  // nothing is trimmed before
    for (int i = 0; i < kFields; ++i) Put(cluster[0], i, 'o');
    Fill(cluster, cluster[0], 600);
    for (size_t i = 0; i < 2; ++i) cluster[i].message_bytes_max = 3000;
    cluster.on_way = [this](TestNode& from, std::string& message) { return See(from, message); };
    c = &cluster.Add("c", Slow);
    c->message_bytes_max = 3000;
  }
  // Of one size, so that one row is as large as the next.
  void Put(TestNode& node, int field, char value) {
    node.Ask({"HSET", "big", "f" + std::to_string(field), std::string(2500, value)});
    cluster.Run(20);
  }
  void Begin() {
    ASSERT_TRUE(c->Start().ok());
    ASSERT_TRUE(cluster.RunUntil([&] { return c->engine().received_of_row() > 15'000; }));
    sender = c->Info("state_transfer_from") == "a" ? &cluster[0] : &cluster[1];
  }
  void End(char value) {
    ASSERT_TRUE(cluster.RunUntil([&] { return c->engine().may_write(); }, 120'000));
    EXPECT_EQ(c->engine().transfers().malformed, 0U);
    EXPECT_EQ(c->engine().transfers().restarted, 0U);
    EXPECT_EQ(c->Ask({"HGET", "big", "f7"}), "\"" + std::string(2500, value) + "\"");
    ASSERT_TRUE(cluster.Settle());
    EXPECT_TRUE(cluster.SameDigest());
  }
  bool See(TestNode& from, const std::string& message) {
    wire::StateChunk chunk;
    if (message[0] != static_cast<char>(wire::kStateChunkMessage)) return true;
    EXPECT_TRUE(wire::Decode(std::string_view(message).substr(1), chunk));
    if (chunk.row_bytes < 2500 * kFields) return true;
    bytes += chunk.rows.front().second.size();
    ++pieces;
    if (lossy && pieces % 3 == 0) {  // twice, and late
      if (const auto link = c->engine().replica().LinkOf(from.options().leader_id)) c->Feed(*link, message);
    }
    return !lossy || pieces % 5 != 0;
  }

  Leaders cluster;
  TestNode* c = nullptr;
  TestNode* sender = nullptr;
  size_t bytes = 0;
  size_t pieces = 0;
  bool lossy = false;
};

TEST_F(Pieces, GoOnAfterACut) {
  Begin();
  for (int i = 0; i < 3; ++i) {
    const size_t before = c->engine().received_of_row();
    cluster.Cut(*sender, *c);
    cluster.Run(3000);
    cluster.Heal(*sender, *c);
    ASSERT_TRUE(cluster.RunUntil([&] { return c->engine().received_of_row() > before + 5000; }));
  }
  End('o');
  EXPECT_LT(bytes, 2500U * kFields + 20'000) << "little of it twice";
}

TEST_F(Pieces, OfARowThatHasChangedBeginAnew) {
  Begin();
  cluster.Cut(*sender, *c);
  for (int i = 0; i < kFields; ++i) Put(*sender, i, 'n');
  sender->Ask({"POLYARCH", "CHECKPOINT"});
  cluster.Run(3000);
  cluster.Heal(*sender, *c);
  End('n');
  EXPECT_GT(bytes, 2500U * kFields + 14'000);
}

TEST_F(Pieces, MayBeLostAndDoubled) {
  lossy = true;
  Begin();
  End('o');
}

TEST_F(Pieces, SurviveTheirReceiver) {
  Begin();
  c->Kill();
  ASSERT_TRUE(c->Start().ok());
  End('o');
}

TEST_F(Pieces, SurviveTheirSender) {
  Begin();
  sender->Kill();
  ASSERT_TRUE(sender->Start().ok());
  sender->message_bytes_max = 3000;
  End('o');
}

// A line on which one message takes longer than a receiver is patient: its parts show that the sender sends.
TEST(StateTransfer, PartsOfAMessageCount) {
  Leaders cluster(2, 11, Small);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  cluster.Cut(a, b);
  cluster.Run(4000);
  Fill(cluster, a, 600);
  bool chunk = false;
  int pulls = 0;
  cluster.on_way = [&](TestNode& from, std::string& message) {
    chunk |= message[0] == static_cast<char>(wire::kStateChunkMessage);
    pulls += &from == &b && message[0] == static_cast<char>(wire::kStatePullMessage) ? 1 : 0;
    return true;
  };
  cluster.Heal(a, b);
  ASSERT_TRUE(cluster.RunUntil([&] { return chunk; }));
  cluster.Hold(a, b);
  const auto link = b.engine().replica().LinkOf("a");
  ASSERT_TRUE(link.has_value());
  const uint64_t generation = b.engine().pull_generation();
  for (int i = 0; i < 300; ++i) {
    cluster.Tick();
    b.engine().OnLinkPart(*link);
  }
  EXPECT_EQ(b.engine().pull_generation(), generation) << "what is on its way is not asked for again";
  cluster.Release(a, b);
  ASSERT_TRUE(cluster.RunUntil([&] { return b.engine().transfers().completed == 1; }));
  EXPECT_EQ(b.engine().transfers().restarted, 0U);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// What a receiver needs of the log is kept for it while it is away for a short time.
TEST(StateTransfer, AShortCutDoesNotBeginItAnew) {
  auto options = [](Options& o) {
    Small(o);
    o.state_timeout_us = 60'000'000;
    o.state_chunk_bytes = 1;
    o.state_bytes_per_second = 5'000;
  };
  Leaders cluster(2, 4, options);
  cluster.Run(cluster[0].options().state_timeout_us / 1000);  // nothing is trimmed before
  Fill(cluster, cluster[0], 600);
  TestNode& c = cluster.Add("c", options);
  ASSERT_TRUE(c.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return c.Info("state_transfer_bytes").size() >= 5; }));
  TestNode& sender = c.Info("state_transfer_from") == "a" ? cluster[0] : cluster[1];
  cluster.Cut(sender, c);
  Fill(cluster, sender, 300);
  sender.Ask({"POLYARCH", "CHECKPOINT"});
  cluster.Run(5000);
  cluster.Heal(sender, c);
  ASSERT_TRUE(cluster.RunUntil(
      [&] { return c.engine().may_write() && c.Info("state_transfers") == "1"; }, 300'000));
  EXPECT_EQ(c.Info("state_transfers_restarted"), "0");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// And no longer than the time for which a silent one is waited for, nor than it is wanted.
TEST(StateTransfer, WhatIsKeptForOneThatIsAwayGoesInTheEnd) {
  auto options = [](Options& o) {
    Small(o);
    o.state_timeout_us = 20'000'000;
    o.state_chunk_bytes = 1;
    o.state_bytes_per_second = 5'000;
  };
  Leaders cluster(2, 4, options);
  cluster.Run(cluster[0].options().state_timeout_us / 1000);  // nothing is trimmed before
  Fill(cluster, cluster[0], 600);
  TestNode& c = cluster.Add("c", options);
  ASSERT_TRUE(c.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return c.Info("state_transfer_bytes").size() >= 5; }));
  TestNode& sender = c.Info("state_transfer_from") == "a" ? cluster[0] : cluster[1];
  const std::string begin = sender.Info("log_begin");
  c.Kill();
  Fill(cluster, sender, 300);
  sender.Ask({"POLYARCH", "CHECKPOINT"});
  cluster.Run(5000);
  EXPECT_EQ(sender.Info("log_begin"), begin);
  EXPECT_EQ(sender.engine().serving(), 0U);
  cluster.Run(20'000);
  EXPECT_GT(std::stoull(sender.Info("log_begin")), std::stoull(begin));
  ASSERT_TRUE(c.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return c.engine().may_write(); }, 300'000));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// A peer that gives up again and again must cost no memory.
TEST(StateTransfer, WhoeverEndsItLeavesNoReadBehind) {
  Leaders cluster(2, 12, Small);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  Fill(cluster, a, 300);
  a.Ask({"POLYARCH", "CHECKPOINT"});
  cluster.Run(2000);
  const auto link = a.engine().replica().LinkOf("b");
  ASSERT_TRUE(link.has_value());
  for (uint64_t id = 1; id <= 5; ++id) {
    // As a store that takes its time: the read is begun, and its result is not there in this tick.
    a.store().SetSlow(true);
    a.Feed(*link, wire::Encode(wire::StateRequest{id, 0, 0, 0}));
    a.Feed(*link, wire::Encode(wire::StatePull{id, 1, wire::StatePart::kRows, "", 0, 1'000'000, 0}));
    cluster.Tick();
    EXPECT_EQ(a.store().reads_pending(), 1U);
    a.Feed(*link, wire::Encode(wire::StateEnd{id}));
    cluster.Tick();
    a.store().SetSlow(false);
    EXPECT_EQ(a.store().reads_pending(), 0U);
  }
  EXPECT_EQ(b.engine().transfers().malformed, 0U);
}

// Which origin a process will write is announced before it writes. A state that knows more of it is of no use.
TEST(StateTransfer, AnOfferThatWritesForUsIsRefused) {
  Leaders cluster(2, 8, Small);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  b.Kill();
  Fill(cluster, a, 600);
  a.Ask({"POLYARCH", "CHECKPOINT"});
  cluster.Run(1000);
  int offers = 0;
  cluster.on_way = [&](TestNode& from, std::string& message) {
    if (&from == &b && message[0] == static_cast<char>(wire::MessageType::kFrame)) return false;
    wire::StateOffer offer;
    if (message[0] != static_cast<char>(wire::kStateOfferMessage)) return true;
    EXPECT_TRUE(wire::Decode(std::string_view(message).substr(1), offer));
    if (b.engine().replica().own() || offer.resumed) return true;
    CheckpointRow row;
    EXPECT_TRUE(DecodeCheckpoint(offer.checkpoint, offer.names.size(), row));
    const auto index = static_cast<clock::OriginIndex>(offer.names.size());
    offer.names.push_back({"b", b.engine().replica().incarnation()});
    row.rows.resize(clock::IndexOf(index) + 1);
    row.rows.back().dictionary = wire::Dictionary(index);
    row.rows.back().last = 1'000;
    const std::string checkpoint = EncodeCheckpoint(row);
    offer.checkpoint = checkpoint;
    message = wire::Encode(offer);
    ++offers;
    return true;
  };
  ASSERT_TRUE(b.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return offers > 0; }));
  cluster.Run(100);
  b.Ask({"SET", "k", "v"});
  cluster.Run(30'000);
  EXPECT_GE(b.engine().transfers().malformed, 1U);
  cluster.on_way = nullptr;
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

// ---- a sender whose disk was set back

// Nothing of its log has come yet, but rows that reflect a stretch of it that is gone: what stands there now is not theirs.
TEST(StateTransfer, RowsOfALogThatIsGoneAreNotGoneOnWith) {
  auto options = [](Options& o) {
    Small(o);
    o.state_timeout_us = 20'000'000;
    o.state_chunk_bytes = 2000;
    o.state_near_bytes = 2000;
    o.state_bytes_per_second_least = o.state_bytes_per_second = 5'000;
  };
  Leaders cluster(2, 14, options);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  cluster.Run(20'000);  // nothing is trimmed before
  cluster.Cut(a, b);
  cluster.Run(4'000);
  Fill(cluster, a, 600);
  ASSERT_GT(std::stoull(a.Info("log_begin")), 0U);
  int older = 0;
  int newer = 0;
  cluster.on_way = [&](TestNode& from, std::string& message) {
    wire::StateChunk chunk;
    if (&from != &a || message[0] != static_cast<char>(wire::kStateChunkMessage)) return true;
    EXPECT_TRUE(wire::Decode(std::string_view(message).substr(1), chunk));
    if (chunk.part != wire::StatePart::kRows) return true;
    for (const auto& [key, row] : chunk.rows) ++(row.find("yyyy") == std::string_view::npos ? older : newer);
    return true;
  };
  cluster.Heal(a, b);
  ASSERT_TRUE(cluster.RunUntil([&] { return older >= 10; }));
  TestNode::Disk before = a.disk().Copy();
  before.store->Crash(cluster.random());
  const log::Position end = a.log().end();
  for (int i = 0; i < 50; ++i) a.Ask({"SET", "filler:" + std::to_string(i), std::string(1000, 'y')});
  a.engine().StartCheckpoint();
  ASSERT_TRUE(cluster.RunUntil([&] { return newer >= 5; }));
  cluster.Run(100);
  ASSERT_EQ(b.Info("state_transfer_in_progress"), "1");
  a.Kill();
  for (int i = 0; i < 50; ++i) EXPECT_EQ(b.Ask({"SET", "filler:" + std::to_string(i), "mine"}), "+OK");
  a.SetDisk(before);
  ASSERT_TRUE(a.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return a.Ask({"GET", "filler:49"}) == "\"mine\""; }));
  ASSERT_LT(a.log().end(), end + 50'000) << "those writes lie where the rows' were";
  for (int i = 0; i < 80; ++i) {  // the log reaches as far as it did
    a.Ask({"SET", "other", std::string(1000, 'z')});
    if (i % 10 == 0) cluster.Run(100);
  }
  ASSERT_TRUE(cluster.RunUntil([&] { return b.engine().transfers().completed == 1; }, 300'000));
  EXPECT_EQ(b.engine().transfers().resumed, 0U);
  EXPECT_EQ(b.engine().transfers().restarted, 1U);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
  for (int i = 0; i < 50; ++i) EXPECT_EQ(b.Ask({"GET", "filler:" + std::to_string(i)}), "\"mine\"") << i;
}

// What its process writes first, before it serves, is not what an earlier one wrote there.
TEST(StateTransfer, AStartMarksTheLogBeforeItWrites) {
  Leaders cluster(2, 15, Small);
  TestNode& a = cluster[0];
  a.Ask({"SET", "k", "u"});
  a.engine().StartCheckpoint();
  cluster.Run(2'000);
  a.Ask({"SET", "k", "v"});
  const uint64_t epoch = a.engine().replica().nonce();
  const log::Position base = a.engine().checkpoint_position();
  const log::Position end = a.log().end();
  ASSERT_GT(base, 0U);
  ASSERT_LT(base, end);
  TestNode::Disk before = a.disk().Copy();
  before.store->Crash(cluster.random());
  a.Ask({"SET", "k", "w"});
  const log::Position lost = a.log().end();
  a.Kill();
  a.SetDisk(before);
  a.options().advertise = "a-name-that-takes-more-of-the-log-than-what-was-lost-did.example:1";
  ASSERT_TRUE(a.Start().ok());
  ASSERT_GT(a.log().end(), lost);
  ASSERT_TRUE(cluster.RunUntil([&] { return a.engine().replica().LinkOf("b").has_value(); }));
  std::set<uint64_t> offered;
  std::set<uint64_t> refused;
  cluster.on_way = [&](TestNode&, std::string& message) {
    const std::string_view payload = std::string_view(message).substr(1);
    wire::StateOffer offer;
    wire::StateRefusal refusal;
    if (message[0] == static_cast<char>(wire::kStateOfferMessage) && wire::Decode(payload, offer)) offered.insert(offer.id);
    if (message[0] == static_cast<char>(wire::kStateRefusalMessage) && wire::Decode(payload, refusal)) {
      EXPECT_EQ(refusal.reason, wire::RefusalReason::kRestart);
      refused.insert(refusal.id);
    }
    return true;
  };
  const auto link = a.engine().replica().LinkOf("b");
  a.Feed(*link, wire::Encode(wire::StateRequest{1, epoch, base, base, end}));
  a.Feed(*link, wire::Encode(wire::StateRequest{2, epoch, base, base, lost}));
  cluster.Tick();
  EXPECT_EQ(offered, std::set<uint64_t>{1});
  EXPECT_EQ(refused, std::set<uint64_t>{2});
}

}  // namespace
}  // namespace polyarch::engine
