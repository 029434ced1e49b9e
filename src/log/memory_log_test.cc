#include "log/memory_log.h"

#include <set>

#include <gtest/gtest.h>

#include "log/log_test_util.h"

namespace polyarch::log {
namespace {

TEST(MemoryLog, AppendCommitSyncRead) {
  auto disk = std::make_shared<MemoryLogDisk>();
  MemoryLog log(disk);
  const Position one = log.Append(RecordType::kFrame, "one");
  EXPECT_EQ(ReadAll(log, 0).size(), 1u);
  log.RequestSync();
  EXPECT_FALSE(log.syncing());  // nothing is committed
  ASSERT_TRUE(log.Commit().ok());
  const Position two = log.Append(RecordType::kLocal, "two");
  log.RequestSync();
  EXPECT_TRUE(log.syncing());
  ASSERT_TRUE(log.Commit().ok());
  EXPECT_EQ(log.durable(), 0u);
  log.CompleteSync();
  EXPECT_EQ(log.durable(), one);  // what was committed when it was asked for
  EXPECT_FALSE(log.syncing());
  log.RequestSync();
  const Position three = log.Append(RecordType::kFrame, "three");
  ASSERT_TRUE(log.Commit().ok());
  log.RequestSync();  // during the sync: served by the next
  log.CompleteSync();
  EXPECT_EQ(log.durable(), two);
  EXPECT_TRUE(log.syncing());
  log.CompleteSync();
  EXPECT_EQ(log.durable(), three);
  log.Append(RecordType::kFrame, "pending");
  const auto all = ReadAll(log, 0, 1 << 20);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[1].type, RecordType::kLocal);
  EXPECT_EQ(all[3].payload, "pending");
  EXPECT_EQ(ReadAll(log, three).size(), 1u);
  EXPECT_EQ(log.Read(one + 1, 1, [](const Record&) { return true; }).status().code(),
            base::Code::kCorrupt);
}

TEST(MemoryLog, ARestartKeepsWhatIsCommittedAndACrashWhatIsDurable) {
  std::set<size_t> kept;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    auto disk = std::make_shared<MemoryLogDisk>();
    std::vector<Copied> all;
    {
      MemoryLog log(disk);
      for (uint64_t i = 0; i < 10; ++i)
        log.Append(RecordType::kFrame, Payload(i));
      ASSERT_TRUE(log.Commit().ok());
      log.RequestSync();
      log.CompleteSync();
      for (uint64_t i = 10; i < 20; ++i)
        log.Append(RecordType::kFrame, Payload(i));
      ASSERT_TRUE(log.Commit().ok());
      all = ReadAll(log, 0);
      log.Append(RecordType::kFrame, "never committed");
    }
    MemoryLogDisk clone = *disk;
    {
      MemoryLog restarted(disk);
      EXPECT_EQ(ReadAll(restarted, 0), all);
      EXPECT_EQ(restarted.durable(), restarted.end());
    }
    base::Random random(seed);
    clone.Crash(random);
    MemoryLog crashed(std::make_shared<MemoryLogDisk>(clone));
    const auto found = ReadAll(crashed, 0);
    ASSERT_GE(found.size(), 10u);
    EXPECT_TRUE(std::equal(found.begin(), found.end(), all.begin()));
    kept.insert(found.size());
    const Position end = crashed.end();
    EXPECT_GT(crashed.Append(RecordType::kFrame, "on"), end);
  }
  EXPECT_EQ(kept.size(), 11u);
}

TEST(MemoryLog, FailuresAreFinal) {
  MemoryLog log(std::make_shared<MemoryLogDisk>());
  log.Append(RecordType::kFrame, "x");
  ASSERT_TRUE(log.Commit().ok());
  log.RequestSync();
  log.FailSyncs();
  EXPECT_EQ(log.status().code(), base::Code::kIo);
  EXPECT_EQ(log.Commit().code(), base::Code::kIo);
  log.RequestSync();
  log.CompleteSync();
  EXPECT_EQ(log.durable(), 0u);

  MemoryLog full(std::make_shared<MemoryLogDisk>());
  full.FailCommits({base::Code::kFull, "no space"});
  full.Append(RecordType::kFrame, "x");
  EXPECT_EQ(full.Commit().code(), base::Code::kFull);
}

TEST(MemoryLog, HeadsAndTrim) {
  auto disk = std::make_shared<MemoryLogDisk>();
  MemoryLog log(disk, 1000);
  int n = 0;
  log.SetHeadProvider([&] { return std::to_string(n); });
  for (; n < 100; ++n) {
    log.Append(RecordType::kFrame, std::string(83, 'x'));  // 100 bytes, 104 with padding
    ASSERT_TRUE(log.Commit().ok());
  }
  const auto heads = log.Heads();
  ASSERT_GT(heads.size(), 10u);
  EXPECT_EQ(heads[1].head, "9");
  EXPECT_EQ(heads[1].position, 9 * 104u);
  log.TrimTo(heads[3].position);
  EXPECT_EQ(log.begin(), 0u);  // nothing is durable
  log.RequestSync();
  log.CompleteSync();
  log.TrimTo(heads[3].position + 1);
  EXPECT_EQ(log.begin(), heads[3].position);
  EXPECT_EQ(log.Read(0, 1, [](const Record&) { return true; }).status().code(),
            base::Code::kNotFound);
  EXPECT_EQ(ReadAll(log, log.begin()).size(), 100u - 27u);
  EXPECT_TRUE(log.Holds(log.begin()));
  EXPECT_TRUE(log.Holds(log.end()));
  EXPECT_TRUE(log.Holds(log.begin() + 104));
  EXPECT_FALSE(log.Holds(log.begin() + 8)) << "no record starts there";
  EXPECT_FALSE(log.Holds(0));
  EXPECT_FALSE(log.Holds(log.end() + 104));
  MemoryLog restarted(disk, 1000);
  EXPECT_EQ(restarted.begin(), heads[3].position);
  EXPECT_EQ(restarted.Heads().front().head, heads[3].head);
}

}  // namespace
}  // namespace polyarch::log
