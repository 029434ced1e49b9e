// Folding of ended origins on whole leaders: when records are written, what is left of the origins, and
// what vectors list.
#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/engine_test_util.h"
#include "engine/rows.h"
#include "wire/frame.h"

namespace polyarch::engine {
namespace {

class Leaders : public TestCluster {
 public:
  explicit Leaders(size_t count, std::function<void(Options&)> tune = nullptr) {
    for (size_t i = 0; i < count; ++i) {
      Add(std::string(1, static_cast<char>('a' + i)), tune);
      EXPECT_TRUE((*this)[i].Start().ok());
      EXPECT_TRUE(RunUntil([&] { return (*this)[i].engine().may_write(); })) << i;
    }
    EXPECT_TRUE(Settle());
  }
};

size_t Listed(TestNode& node) {
  return node.engine().replica().Listed(node.engine().applied()).size();
}

// The newest frame of the log whose author is of this leader.
wire::Frame NewestFrame(TestNode& node, const std::string& leader, size_t& bytes) {
  wire::Frame newest;
  auto read = node.log().Read(node.log().begin(), SIZE_MAX, [&](const log::Record& record) {
    wire::Frame frame;
    if (record.type == log::RecordType::kFrame && wire::ParseFrame(record.payload, frame) &&
        frame.origin.leader == leader) {
      newest = frame;
      newest.body = {};
      bytes = record.payload.size();
    }
    return true;
  });
  EXPECT_TRUE(read.ok());
  return newest;
}

TEST(Folding, WaitsForEveryMembersClaim) {
  Leaders cluster(3);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  TestNode& c = cluster[2];
  b.Ask({"SET", "k", "1"});
  ASSERT_TRUE(cluster.Settle());
  cluster.Cut(a, c);
  cluster.Cut(b, c);
  b.Kill();
  ASSERT_TRUE(b.Start().ok());
  b.Ask({"SET", "k", "2"});
  cluster.Run(20'000);
  EXPECT_EQ(a.Info("origins_ended"), "1");
  EXPECT_EQ(a.Info("origins_folded"), "0") << "c has not claimed the end";
  EXPECT_EQ(Listed(a), 4U);
  cluster.Heal(a, c);
  cluster.Heal(b, c);
  ASSERT_TRUE(cluster.RunUntil([&] {
    return a.Info("origins_folded") == "1" && c.Info("origins_folded") == "1" && cluster.Settled();
  }));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(Listed(cluster[i]), 3U) << i;
    EXPECT_EQ(cluster[i].engine().VersionVectorText(), a.engine().VersionVectorText());
    EXPECT_EQ(cluster[i].Ask({"GET", "k"}), "\"2\"");
  }
  EXPECT_EQ(a.Info("folds_written"), "1");
  EXPECT_EQ(b.Info("folds_written"), "0") << "one leader writes for all";
  // And it is so after a start, from rows or from the log.
  a.Ask({"SET", "l", "1"});
  a.Kill();
  ASSERT_TRUE(a.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return Listed(a) == 3 && cluster.Settled(); }));
  // A new process lists the living only; what it writes replaces what the folded origin wrote.
  c.Kill();
  ASSERT_TRUE(c.Start().ok());
  c.Ask({"SET", "k", "3"});
  size_t bytes = 0;
  const wire::Frame frame = NewestFrame(c, "c", bytes);
  EXPECT_EQ(frame.first, 1U);
  EXPECT_EQ(frame.deps_new.size(), 3U) << "a, b, and its own earlier one, which is not folded yet";
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
  EXPECT_EQ(a.Ask({"GET", "k"}), "\"3\"");
  EXPECT_EQ(a.Info("conflicts_detected"), "0");
}

TEST(Folding, AnEffectMayNameAFoldedOrigin) {
  Leaders cluster(2);
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  b.Ask({"INCRBY", "n", "5"});
  a.Ask({"POLICY", "SET", "s:*", "siblings"});
  ASSERT_TRUE(cluster.Settle());
  b.Ask({"SET", "s:1", "of b"});
  ASSERT_TRUE(cluster.Settle());
  b.Kill();
  ASSERT_TRUE(b.Start().ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return a.Info("origins_folded") == "1" && cluster.Settled(); }));
  b.Kill();
  ASSERT_TRUE(b.Start().ok());
  // The counter's entry is of the folded origin: the clear must name it.
  b.Ask({"DEL", "n"});
  size_t bytes = 0;
  const wire::Frame frame = NewestFrame(b, "b", bytes);
  EXPECT_TRUE(std::any_of(frame.deps_new.begin(), frame.deps_new.end(), [&](const auto& entry) {
    auto index = a.engine().origins().Find(entry.first);
    return index && a.engine().replica().IsFolded(*index);
  })) << "it is listed after all";
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.Ask({"GET", "n"}), "null");
  EXPECT_TRUE(cluster.SameDigest());
  b.Ask({"INCR", "n"});
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.Ask({"GET", "n"}), "\"1\"");
}

// Members that are gone hold nothing back: not when they were silent for long, nor when they are away.
TEST(Folding, WhoIsSilentIsNotWaitedFor) {
  Leaders cluster(3, [](Options& options) { options.fold_patience_us = 30'000'000; });
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  TestNode& c = cluster[2];
  for (TestNode* node : {&b, &c}) node->Ask({"INCRBY", "n", "1"});
  ASSERT_TRUE(cluster.Settle());
  cluster.Cut(b, a);
  cluster.Cut(c, a);  // who would write the records
  cluster.Cut(b, c);
  c.Ask({"INCRBY", "n", "10"});
  b.Ask({"INCRBY", "n", "100"});
  b.Kill();
  ASSERT_TRUE(b.Start().ok());
  b.Ask({"DEL", "n"});
  b.Ask({"INCRBY", "n", "1000"});
  cluster.Run(20'000);
  EXPECT_EQ(b.Info("origins_folded"), "0");
  cluster.Run(30'000);
  EXPECT_EQ(b.Info("origins_folded"), "1") << "the first one in reach writes the record";
  EXPECT_EQ(a.Info("origins_folded"), "0");
  cluster.Heal(a, c);
  ASSERT_TRUE(cluster.RunUntil([&] { return a.Ask({"GET", "n"}) == "\"12\""; }));
  cluster.Heal(a, b);
  cluster.Heal(b, c);
  ASSERT_TRUE(cluster.RunUntil([&] {
    return a.Info("origins_folded") == "1" && c.Info("origins_folded") == "1" && cluster.Settled();
  }));
  EXPECT_TRUE(cluster.SameDigest());
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(cluster[i].Ask({"GET", "n"}), "\"1010\"") << i << ": what c wrote, and what b wrote behind its DEL";
    EXPECT_EQ(Listed(cluster[i]), 3U) << i;
  }
}

// Each start under load leaves frames that were not known to be durable when it was killed.
TEST(Folding, ManyStartsWhileAMemberIsGone) {
  constexpr int kStarts = 60;
  Leaders cluster(3, [](Options& options) {
    options.durability = Durability::kEverySecond;
    options.fold_patience_us = 10'000'000;
  });
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  TestNode& c = cluster[2];
  ASSERT_TRUE(cluster.Settle());
  c.Kill();
  size_t unfolded = 0;
  for (int i = 0; i < kStarts; ++i) {
    b.Kill();
    ASSERT_TRUE(b.Start().ok());
    for (int k = 0; k < 70; ++k) b.Ask({"SET", "k" + std::to_string(k % 7), std::to_string(i)});
    cluster.Run(800);
    if (i % 5 == 4) cluster.Run(3'000);  // claims are paid once a second
    for (size_t o = 0; o < a.engine().replica().row_count(); ++o) {
      const replication::OriginRow& row = a.engine().replica().rows()[o];
      EXPECT_TRUE(!row.ended || row.waiting.empty()) << i;
    }
    unfolded = std::max(unfolded, Listed(a));
  }
  cluster.Run(15'000);
  EXPECT_LE(unfolded, 25U);
  EXPECT_LE(Listed(a), 4U);
  const uint64_t ticket = a.engine().StartCheckpoint();
  ASSERT_TRUE(cluster.RunUntil([&] { return a.engine().CheckpointDone(ticket); }));
  auto row = a.store().Get(storage::Family::kMeta, kCheckpointRowKey);
  ASSERT_TRUE(row.ok());
  EXPECT_LT(row->size() / kStarts, 300U);
  ASSERT_TRUE(c.Start().ok());
  c.Ask({"SET", "own", "1"});
  ASSERT_TRUE(cluster.Settle());
  cluster.Run(15'000);
  EXPECT_TRUE(cluster.SameDigest());
  for (size_t i = 0; i < 3; ++i) EXPECT_LE(Listed(cluster[i]), 3U) << i;
}

// A leader that starts over and over. Vectors stay as small as what lives. (A counter keeps an entry for
// each start that incremented it: docs/design/0012.)
// POLYARCH_TEST_LONG in the environment: 10,000 times.
TEST(Folding, ManyIncarnations) {
  const int incarnations = std::getenv("POLYARCH_TEST_LONG") != nullptr ? 10'000 : 300;
  Leaders cluster(2, [](Options& options) {
    options.checkpoint_log_bytes = 200'000;
    options.log_quota_bytes = 2'000'000;
  });
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  for (int i = 1; i <= incarnations; ++i) {
    b.Kill();
    ASSERT_TRUE(b.Start().ok());
    // Each increments; now and then all is cleared.
    ASSERT_EQ(b.Ask({i % 100 == 0 ? "DEL" : "INCR", "n"}), std::to_string(i % 100 == 0 ? 1 : i % 100));
    b.Ask({"SET", "k", std::to_string(i)});
    cluster.Run(30);
    // Claims are paid once a second.
    if (i % 50 == 0) cluster.Run(4'000);
  }
  ASSERT_TRUE(cluster.RunUntil([&] {
    return a.Info("origins_folded") == std::to_string(incarnations) && cluster.Settled();
  })) << a.Info("origins_folded");
  a.Ask({"INCR", "n"});
  ASSERT_TRUE(cluster.Settle());
  for (size_t i = 0; i < 2; ++i) {
    TestNode& node = cluster[i];
    EXPECT_EQ(Listed(node), 2U);
    EXPECT_LE(node.engine().applied().entries().size(), 4U) << "in memory, too";
    EXPECT_LT(node.engine().VersionVectorText().size(), 100U);
    EXPECT_EQ(node.engine().keys().State(node.engine().keys().Ref(0, "k")).versions.size(), 1U);
    EXPECT_LT(node.engine().replica().SegmentHead().size(), 100U);
  }
  EXPECT_TRUE(cluster.SameDigest());
  // The first frame of one more process, and an ordinary one.
  b.Kill();
  ASSERT_TRUE(b.Start().ok());
  b.Ask({"SET", "k", "last"});
  size_t first_bytes = 0;
  EXPECT_LE(NewestFrame(b, "b", first_bytes).deps_new.size(), 3U);
  EXPECT_LT(first_bytes, 400U);
  ASSERT_TRUE(cluster.Settle());
  const uint64_t ticket = a.engine().StartCheckpoint();
  ASSERT_TRUE(cluster.RunUntil([&] { return a.engine().CheckpointDone(ticket); }));
  auto row = a.store().Get(storage::Family::kMeta, kCheckpointRowKey);
  ASSERT_TRUE(row.ok());
  const size_t per_origin = row->size() / static_cast<size_t>(incarnations);
  EXPECT_LT(per_origin, 150U) << "a checkpoint keeps a little of each, not all of all";
  RecordProperty("first_frame_bytes", static_cast<int>(first_bytes));
  RecordProperty("checkpoint_bytes_per_origin", static_cast<int>(per_origin));
  RecordProperty("announced_entries", static_cast<int>(Listed(a)));
}

}  // namespace
}  // namespace polyarch::engine
