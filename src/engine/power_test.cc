// What a power cut may take, and what must not depend on it: heads of log segments, the names of
// origins in the store, a cluster that its founder has told nobody of.
#include <gtest/gtest.h>

#include "base/codec.h"
#include "engine/engine_test_util.h"
#include "engine/rows.h"
#include "wire/frame.h"

namespace polyarch::engine {
namespace {

using Sequences = std::map<clock::Origin, uint64_t>;

Sequences HeadOf(std::string_view head) {
  Sequences out;
  if (head.empty()) return out;  // the first segment
  base::Reader in(head);
  for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
    std::string leader(in.Bytes());
    const uint64_t incarnation = in.Fixed64();
    out[{leader, incarnation}] = in.Varint();
  }
  EXPECT_TRUE(in.ok() && in.empty());
  return out;
}

// Rows are written behind the log: a log that ends before what they reflect has lost what was durable. What is appended
// after its end would be taken for reflected.
TEST(PowerCut, ALogThatEndsBeforeItsRowsIsRefused) {
  TestCluster cluster;
  TestNode& a = cluster.Add("a");
  ASSERT_TRUE(a.Start().ok());
  for (int i = 0; i < 100; ++i) a.Ask({"SET", "k" + std::to_string(i), "v"});
  cluster.Run(1'000);
  a.Ask({"POLYARCH", "CHECKPOINT"});
  cluster.Run(1'000);
  a.Ask({"SET", "k", "v"});
  cluster.Run(1'000);
  std::string beyond;
  base::PutFixed64(beyond, a.log().end() + 8);
  storage::Batch batch;
  batch.Put(storage::Family::kMeta, kLedgerPositionRowKey, beyond);
  a.store().Write(std::move(batch));
  a.store().Flush();
  cluster.Run(10);
  a.Kill();
  EXPECT_EQ(a.Start().code(), base::Code::kCorrupt);
}

// A process that never lives for a whole checkpoint interval would read its whole log at each start.
TEST(PowerCut, WhatWasReadOnceIsNotReadAgain) {
  TestCluster cluster;
  TestNode& a = cluster.Add("a", [](Options& options) { options.checkpoint_replayed_bytes = 20 << 10; });
  ASSERT_TRUE(a.Start().ok());
  for (int life = 0; life < 10; ++life) {
    for (int i = 0; i < 100; ++i) a.Ask({"SET", "k" + std::to_string(i), std::string(200, 'v')});
    cluster.Run(500);
    a.Kill();
    ASSERT_TRUE(a.Start().ok());
    cluster.Run(100);
    EXPECT_LT(a.log().end() - a.engine().checkpoint_position(), 60U << 10) << "life " << life;
  }
}

// A reader of an origin begins at the last segment whose head does not reach beyond what it wants.
// A head that counts a frame which only follows it would let a reader miss that frame.
TEST(PowerCut, SegmentHeadsSayWhatWasLogged) {
  TestCluster cluster;
  TestNode& a = cluster.Add("a");
  TestNode& b = cluster.Add("b");
  ASSERT_TRUE(a.Start().ok());
  ASSERT_TRUE(b.Start().ok());
  ASSERT_TRUE(cluster.Settle());
  for (int i = 0; i < 200; ++i) {
    a.Ask({"SET", "a" + std::to_string(i), std::string(200, 'x')});
    if (i % 3 == 0) b.Ask({"SET", "b" + std::to_string(i), std::string(300, 'x')});
    cluster.Tick();
  }
  ASSERT_TRUE(cluster.Settle());
  for (TestNode* node : {&a, &b}) {
    const std::vector<log::SegmentHead> heads = node->log().Heads();
    ASSERT_GT(heads.size(), 10U);
    ASSERT_EQ(heads[0].position, 0U);
    Sequences logged;
    size_t next = 0;
    log::Position position = 0;
    while (position < node->log().end()) {
      auto read = node->log().Read(position, 1 << 20, [&](const log::Record& record) {
        for (; next < heads.size() && heads[next].position <= record.position; ++next) {
          EXPECT_EQ(HeadOf(heads[next].head), logged) << "the segment at " << heads[next].position;
        }
        wire::FrameName name;
        if (record.type == log::RecordType::kFrame && wire::ParseFrameName(record.payload, name)) {
          logged[{std::string(name.leader), name.incarnation}] = name.first + name.count - 1;
        }
        return true;
      });
      ASSERT_TRUE(read.ok());
      position = *read;
    }
    EXPECT_EQ(next, heads.size());
    EXPECT_EQ(logged.size(), 2U);
  }
}

// A checkpoint's rows wait for the log; a state transfer's do not. The names of origins that both
// write are read back by their numbers: none may reach the store before those below it.
TEST(PowerCut, NamesReachTheStoreInTheirOrder) {
  auto small = [](Options& options) {
    options.log_quota_bytes = 200 << 10;
    options.checkpoint_log_bytes = 50 << 10;
    options.state_timeout_us = 1'000'000;
  };
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    TestCluster cluster(seed);
    TestNode& a = cluster.Add("a", small);
    TestNode& b = cluster.Add("b", small);
    ASSERT_TRUE(a.Start().ok());
    ASSERT_TRUE(b.Start().ok());
    ASSERT_TRUE(cluster.Settle());
    cluster.Cut(a, b);
    cluster.Run(4000);
    // A process of a that b has never heard of.
    a.Kill();
    ASSERT_TRUE(a.Start().ok());
    for (int i = 0; i < 600; ++i) {
      a.Ask({"SET", "filler:" + std::to_string(i % 50), std::string(1000, 'x')});
      if (i % 10 == 0) cluster.Run(100);
    }
    cluster.Run(5000);
    ASSERT_GT(std::stoull(a.Info("log_begin")), 0U);
    // A process of b writes, and nothing of it becomes durable; a checkpoint begins.
    b.Kill();
    ASSERT_TRUE(b.Start().ok());
    b.auto_sync = false;
    b.Ask({"SET", "own", "mine"});
    ASSERT_LT(b.log().durable(), b.log().end());
    b.engine().StartCheckpoint();
    cluster.Tick();
    // The state of a brings the name of its new process.
    cluster.Heal(a, b);
    ASSERT_TRUE(cluster.RunUntil([&] { return b.engine().received_bytes() > 0; }));
    ASSERT_LT(b.log().durable(), b.log().end());
    b.store().Flush();
    while (b.store().flushing())
      b.store().CompleteFlush();
    b.PowerCut();
    b.auto_sync = true;
    const base::Status started = b.Start();
    ASSERT_TRUE(started.ok()) << started.message();
    ASSERT_TRUE(cluster.Settle());
    EXPECT_TRUE(cluster.SameDigest());
  }
}

// Who joins remembers its cluster. A founder whose power fails before anything is on its disk
// founds another one: nobody may have heard of the first.
TEST(PowerCut, AFounderKeepsItsClusterToItself) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    TestCluster cluster(seed);
    TestNode& a = cluster.Add("a");
    TestNode& b = cluster.Add("b");
    a.auto_sync = false;
    ASSERT_TRUE(a.Start().ok());
    ASSERT_TRUE(b.Start().ok());
    cluster.Run(3000);
    EXPECT_TRUE(a.engine().may_write()) << "it serves its clients at once";
    EXPECT_EQ(b.engine().cluster_id(), 0U) << "told of a cluster that is on no disk";
    EXPECT_FALSE(b.engine().may_write());
    a.PowerCut();
    a.auto_sync = true;
    ASSERT_TRUE(a.Start().ok());
    ASSERT_TRUE(cluster.RunUntil([&] { return b.engine().may_write(); })) << "seed " << seed;
    EXPECT_EQ(a.engine().cluster_id(), b.engine().cluster_id());
    ASSERT_TRUE(cluster.Settle());
    EXPECT_TRUE(cluster.SameDigest());
  }
}

// What says that a leader is admitted is in its log before the record of it, by which the others know.
TEST(PowerCut, AnAdmissionThatLostItsRecordIsWrittenAgain) {
  TestCluster cluster;
  TestNode& a = cluster.Add("a");
  TestNode& b = cluster.Add("b");
  ASSERT_TRUE(a.Start().ok());
  const uint64_t founded = a.engine().cluster_id();
  a.Kill();
  log::MemoryLogDisk& disk = *a.disk().log;
  auto frame = std::find_if(disk.records.begin(), disk.records.end(), [](const auto& record) {
    return record.type == log::RecordType::kFrame;
  });
  ASSERT_NE(frame, disk.records.end());
  disk.end = disk.durable = frame->position;
  disk.records.erase(frame, disk.records.end());
  ASSERT_TRUE(a.Start().ok());
  EXPECT_EQ(a.engine().cluster_id(), founded) << "who it is has been read";
  ASSERT_TRUE(b.Start().ok());
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
  for (TestNode* node : {&a, &b}) {
    EXPECT_EQ(node->engine().replica().members().count("a"), 1U);
    EXPECT_EQ(node->engine().replica().members().count("b"), 1U);
  }
}

// A copy of a directory takes another name. If a power cut took that name from it, it would take yet another one, and
// the first would be a member without a process, which everybody waits for.
TEST(PowerCut, ANewNameIsOnDiskBeforeOthersHearOfIt) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    Leaders leaders(3, seed);
    TestNode& copy = leaders.Add("a");
    leaders[0].Kill();
    copy.SetDisk(leaders[0].disk().Copy());
    for (TestNode* node : {&leaders[0], &copy}) {
      node->auto_sync = false;
      ASSERT_TRUE(node->Start().ok());
    }
    leaders.Run(20'000);
    for (size_t i : {1, 2}) {
      for (const auto& [name, member] : leaders[i].engine().replica().members())
        EXPECT_FALSE(name.starts_with("a~")) << "told of a name that is on no disk";
    }
    // The name is there after that, or it is not; with some seeds this, with some that.
    for (TestNode* node : {&leaders[0], &copy}) {
      node->PowerCut();
      node->auto_sync = true;
      ASSERT_TRUE(node->Start().ok());
    }
    leaders.Run(20'000);
    ASSERT_TRUE(leaders.Settle());
    EXPECT_TRUE(leaders.SameDigest());
    std::set<std::string> names;
    for (size_t i = 0; i < leaders.size(); ++i) names.insert(leaders[i].engine().leader_id());
    EXPECT_EQ(names.size(), 4U);
    for (const auto& [name, member] : leaders[1].engine().replica().members())
      EXPECT_EQ(names.count(name), 1U) << name << " is a member without a process";
  }
}

}  // namespace
}  // namespace polyarch::engine
