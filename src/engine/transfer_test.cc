// The log's quota and state transfers between engines.
#include <gtest/gtest.h>

#include <string>
#include <vector>

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

}  // namespace
}  // namespace polyarch::engine
