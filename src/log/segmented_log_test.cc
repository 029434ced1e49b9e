#include "log/segmented_log.h"

#include <algorithm>
#include <cstdlib>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include <gtest/gtest.h>

#include "log/faulty_io.h"
#include "log/log_test_util.h"

namespace polyarch::log {
namespace {

SegmentedLog::Options Small(const std::string& dir, Io* io = nullptr) {
  SegmentedLog::Options options;
  options.dir = dir;
  options.segment_bytes = 16 << 10;
  options.ring_bytes = 8 << 10;
  options.io = io;
  return options;
}

std::unique_ptr<SegmentedLog> MustOpen(SegmentedLog::Options options) {
  auto log = SegmentedLog::Open(std::move(options));
  EXPECT_TRUE(log.ok()) << log.status().ToString();
  return log.ok() ? std::move(*log) : nullptr;
}

TEST(SegmentedLog, AppendedIsVisibleAtOnceAndDenseInPositions) {
  TempDir dir;
  auto log = MustOpen(Small(dir.path()));
  EXPECT_EQ(log->begin(), 0u);
  EXPECT_EQ(log->end(), 0u);
  const Position first = log->Append(RecordType::kFrame, "one");
  const Position second = log->Append(RecordType::kLocal, "");
  EXPECT_EQ(log->end(), second);
  EXPECT_EQ(log->durable(), 0u);
  const std::vector<Copied> expected = {{0, first, RecordType::kFrame, "one"},
                                        {first, second, RecordType::kLocal, ""}};
  EXPECT_EQ(ReadAll(*log, 0), expected);
  EXPECT_EQ(ReadAll(*log, first).size(), 1u);
  EXPECT_EQ(*log->Read(second, 1, [](const Record&) { return true; }), second);
  EXPECT_EQ(log->Read(second + 8, 1, [](const Record&) { return true; }).status().code(),
            base::Code::kInvalid);
}

TEST(SegmentedLog, ReadStopsWhenToldAndAtTheBound) {
  TempDir dir;
  auto log = MustOpen(Small(dir.path()));
  for (int i = 0; i < 10; ++i)
    log->Append(RecordType::kFrame, std::string(100, 'x'));
  int visits = 0;
  EXPECT_EQ(*log->Read(0, 1 << 20, [&](const Record&) { return ++visits < 3; }),
            3 * RecordBytes(100));
  visits = 0;
  EXPECT_EQ(*log->Read(0, 0, [&](const Record&) { return ++visits > 0; }), RecordBytes(100));
  EXPECT_EQ(visits, 1);
  EXPECT_EQ(*log->Read(0, RecordBytes(100) + 1, [&](const Record&) { return true; }),
            2 * RecordBytes(100));
}

TEST(SegmentedLog, SyncMakesDurableAndCallsBack) {
  TempDir dir;
  std::atomic<int> calls = 0;
  auto options = Small(dir.path());
  options.on_durable = [&] {
    ++calls;
  };
  auto log = MustOpen(options);
  log->Append(RecordType::kFrame, "x");
  log->RequestSync();  // nothing is committed yet
  EXPECT_TRUE(log->Commit().ok());
  EXPECT_EQ(log->durable(), 0u);
  log->RequestSync();
  while (log->durable() < log->end())
    std::this_thread::yield();
  EXPECT_TRUE(log->Sync().ok());
  log = nullptr;
  EXPECT_EQ(calls, 1);
}

TEST(SegmentedLog, RollsAndReadsBackFromRingAndDisk) {
  TempDir dir;
  auto log = MustOpen(Small(dir.path()));
  uint64_t covered = 0;
  log->SetHeadProvider([&] { return "head " + std::to_string(covered); });
  std::vector<Copied> expected;
  for (; covered < 2000; ++covered) {
    const Position at = log->end();
    const auto type = covered % 3 == 0 ? RecordType::kLocal : RecordType::kFrame;
    const Position end = log->Append(type, Payload(covered));
    expected.push_back({at, end, type, Payload(covered)});
    if (covered % 7 == 0) {
      ASSERT_TRUE(log->Commit().ok());
    }
    if (covered % 50 == 0) log->RequestSync();
  }
  // More than the ring holds, part of it not committed.
  for (const size_t bytes_max : {1u, 100u, 1000u, 100'000u, 10'000'000u}) {
    EXPECT_EQ(ReadAll(*log, 0, bytes_max), expected) << bytes_max;
  }
  for (size_t i = 0; i < expected.size(); i += 97) {
    EXPECT_EQ(ReadAll(*log, expected[i].position).size(), expected.size() - i);
  }
  const auto heads = log->Heads();
  ASSERT_GT(heads.size(), 10u);
  EXPECT_EQ(heads[0].head, "");
  for (size_t i = 1; i < heads.size(); ++i) {
    // The head speaks of what is before the segment.
    const auto n = std::stoull(heads[i].head.substr(5));
    EXPECT_EQ(heads[i].position, expected[n].position);
  }
  ASSERT_TRUE(log->Sync().ok());
  EXPECT_EQ(log->durable(), log->end());
  log = nullptr;

  log = MustOpen(Small(dir.path()));
  EXPECT_EQ(log->durable(), expected.back().end);
  EXPECT_EQ(log->bytes_dropped(), 0u);
  EXPECT_EQ(ReadAll(*log, 0), expected);
  const auto again = log->Heads();
  ASSERT_EQ(again.size(), heads.size());
  for (size_t i = 0; i < heads.size(); ++i)
    EXPECT_EQ(again[i].head, heads[i].head);
  // Disk and ring in one.
  const Position at = log->end();
  const Position end = log->Append(RecordType::kFrame, "new");
  expected.push_back({at, end, RecordType::kFrame, "new"});
  EXPECT_EQ(ReadAll(*log, 0, 1 << 20), expected);
}

TEST(SegmentedLog, RecordsLargerThanSegmentAndRing) {
  TempDir dir;
  auto log = MustOpen(Small(dir.path()));
  std::vector<std::string> payloads = {std::string(100'000, 'a'),  // in the empty first segment
                                       "small",
                                       std::string(3'000'000, 'b'),
                                       std::string(50'000, 'c'),
                                       "end"};
  for (const auto& payload : payloads)
    log->Append(RecordType::kFrame, payload);
  ASSERT_TRUE(log->Sync().ok());
  for (int i = 0; i < 2; ++i) {
    const auto all = ReadAll(*log, 0);
    ASSERT_EQ(all.size(), payloads.size());
    for (size_t j = 0; j < all.size(); ++j)
      EXPECT_EQ(all[j].payload, payloads[j]);
    log = MustOpen(Small(dir.path()));
    EXPECT_EQ(log->bytes_dropped(), 0u);
  }
}

TEST(SegmentedLog, PayloadViewsOfOneReadLiveTogether) {
  TempDir dir;
  auto log = MustOpen(Small(dir.path()));
  for (uint64_t i = 0; i < 1000; ++i)
    log->Append(RecordType::kFrame, Payload(i));
  std::vector<std::string_view> views;
  ASSERT_TRUE(log->Commit().ok());
  ASSERT_EQ(*log->Read(0,
                       SIZE_MAX,
                       [&](const Record& r) {
                         views.push_back(r.payload);
                         return true;
                       }),
            log->end());
  ASSERT_EQ(views.size(), 1000u);
  for (uint64_t i = 0; i < 1000; ++i)
    EXPECT_EQ(views[i], Payload(i));
}

TEST(SegmentedLog, HeadsLargerThanAPage) {
  TempDir dir;
  auto log = MustOpen(Small(dir.path()));
  log->SetHeadProvider([] { return std::string(10'000, 'h'); });
  for (uint64_t i = 0; i < 500; ++i)
    log->Append(RecordType::kFrame, Payload(i));
  ASSERT_TRUE(log->Sync().ok());
  log = MustOpen(Small(dir.path()));
  EXPECT_GT(log->Heads().size(), 3u);
  EXPECT_EQ(log->Heads().back().head, std::string(10'000, 'h'));
  EXPECT_EQ(ReadAll(*log, 0).size(), 500u);
}

TEST(SegmentedLog, TrimmedSegmentsAreReusedAndTheirOldBytesNeverCount) {
  TempDir dir;
  auto log = MustOpen(Small(dir.path()));
  uint64_t i = 0;
  for (int round = 0; round < 20; ++round) {
    for (int n = 0; n < 200; ++n)
      log->Append(RecordType::kFrame, Payload(i++));
    ASSERT_TRUE(log->Sync().ok());
    const Position before = log->begin();
    log->TrimTo(log->end());
    EXPECT_GE(log->begin(), before);
    EXPECT_EQ(log->begin(), log->Heads().front().position);
    if (log->begin() > 0) {
      EXPECT_EQ(log->Read(0, 1, [](const Record&) { return true; }).status().code(),
                base::Code::kNotFound);
    }
    while (dir.Files("log-").size() > log->Heads().size())
      std::this_thread::yield();
    EXPECT_LE(dir.Files("spare-").size(), 3u);
    if (round % 3 == 0) {
      const auto all = ReadAll(*log, log->begin());
      const Position end = log->end();
      log = MustOpen(Small(dir.path()));
      EXPECT_EQ(log->end(), end);
      EXPECT_EQ(log->bytes_dropped(), 0u);
      EXPECT_EQ(ReadAll(*log, log->begin()), all);
    }
  }
  EXPECT_GT(log->begin(), 100'000u);
}

TEST(SegmentedLog, KnowsWhereARecordStarts) {
  TempDir dir;
  auto log = MustOpen(Small(dir.path()));
  std::vector<Position> starts;
  for (uint64_t i = 0; i < 500; ++i) {
    starts.push_back(log->end());
    log->Append(RecordType::kFrame, Payload(i));
  }
  ASSERT_TRUE(log->Sync().ok());
  for (int round = 0; round < 2; ++round) {  // from the ring, then from the disk
    for (size_t i = 0; i < starts.size(); ++i) {
      EXPECT_TRUE(log->Holds(starts[i])) << i;
      const Position next = i + 1 < starts.size() ? starts[i + 1] : log->end();
      for (Position p = starts[i] + 8; p < next; p += 8) EXPECT_FALSE(log->Holds(p)) << p;
    }
    EXPECT_TRUE(log->Holds(log->end()));
    EXPECT_FALSE(log->Holds(log->end() + 8));
    log = MustOpen(Small(dir.path()));
  }
}

TEST(SegmentedLog, TrimsNothingWhoseSuccessorIsNotDurable) {
  TempDir dir;
  auto log = MustOpen(Small(dir.path()));
  for (uint64_t i = 0; i < 500; ++i)
    log->Append(RecordType::kFrame, Payload(i));
  ASSERT_TRUE(log->Commit().ok());
  ASSERT_GT(log->Heads().size(), 2u);
  log->TrimTo(log->end());
  EXPECT_EQ(log->begin(), 0u);
  ASSERT_TRUE(log->Sync().ok());
  log->TrimTo(log->end());
  EXPECT_EQ(log->Heads().size(), 1u);
}

TEST(SegmentedLog, BitRotShowsWhenReadFromDisk) {
  TempDir dir;
  auto log = MustOpen(Small(dir.path()));
  for (uint64_t i = 0; i < 500; ++i)
    log->Append(RecordType::kFrame, Payload(i));
  ASSERT_TRUE(log->Sync().ok());
  const std::string path = dir.path() + "/" + SegmentName(0);
  std::string bytes = ReadFile(path);
  bytes[kDataAlignment + 5000] = static_cast<char>(bytes[kDataAlignment + 5000] ^ 1);
  WriteFile(path, bytes);
  Position position = 0;
  base::Status status;
  while (position < log->end() && status.ok()) {
    auto next = log->Read(position, 1, [](const Record&) { return true; });
    if (next.ok()) position = *next;
    status = next.status();
  }
  EXPECT_EQ(status.code(), base::Code::kCorrupt);
  EXPECT_LE(position, 5000u);
  EXPECT_GT(position, 4000u);
}

TEST(SegmentedLog, FirstFailedSyncIsFinal) {
  for (uint64_t n = 1; n <= 3; ++n) {
    TempDir dir;
    FaultyIo io({.seed = n});
    std::atomic<int> calls = 0;
    auto options = Small(dir.path(), &io);
    options.on_durable = [&] {
      ++calls;
    };
    auto log = MustOpen(options);
    io.FailSync(n);
    uint64_t i = 0;
    base::Status status;
    Position durable = 0;
    while (status.ok()) {
      log->Append(RecordType::kFrame, Payload(i++));
      status = log->Sync();
      if (status.ok()) durable = log->end();
      ASSERT_LT(i, 1000u);
    }
    EXPECT_EQ(status.code(), base::Code::kIo);
    EXPECT_EQ(i, n);
    const auto operations = io.operations();
    // The disk would do again, but nobody asks it.
    for (int k = 0; k < 3; ++k) {
      log->Append(RecordType::kFrame, "after");
      EXPECT_EQ(log->Commit().code(), base::Code::kIo);
      log->RequestSync();
      EXPECT_EQ(log->Sync().code(), base::Code::kIo);
    }
    EXPECT_EQ(log->durable(), durable);
    EXPECT_EQ(log->status().code(), base::Code::kIo);
    EXPECT_EQ(io.operations(), operations);
    log = nullptr;
    EXPECT_EQ(calls, static_cast<int>(n));
  }
}

TEST(SegmentedLog, FirstFailedWriteIsFinalWhereverItHits) {
  for (uint64_t n = 1; n <= 60; ++n) {
    TempDir dir;
    FaultyIo io({.seed = n});
    auto log = MustOpen(Small(dir.path(), &io));
    std::vector<Copied> acknowledged;
    io.FailWrite(n);
    uint64_t i = 0;
    base::Status status;
    while (status.ok()) {
      log->Append(RecordType::kFrame, Payload(i++, 1000));
      status = log->Sync();
      if (status.ok()) acknowledged = ReadAll(*log, 0);
      // The spare's allocation may be what failed: that is not a failure of the log.
      if (i == 2000) break;
    }
    if (!status.ok()) {
      EXPECT_EQ(status.code(), base::Code::kFull);
      const Position durable = log->durable();
      EXPECT_EQ(durable, acknowledged.empty() ? 0 : acknowledged.back().end);
      log->Append(RecordType::kFrame, "after");
      EXPECT_EQ(log->Commit().code(), base::Code::kFull);
      EXPECT_EQ(log->Sync().code(), base::Code::kFull);
      EXPECT_EQ(log->durable(), durable);
    }
    log = nullptr;
    io.PowerCut();
    log = MustOpen(Small(dir.path()));
    auto all = ReadAll(*log, 0);
    ASSERT_GE(all.size(), acknowledged.size());
    all.resize(acknowledged.size());
    EXPECT_EQ(all, acknowledged);
  }
}

TEST(SegmentedLog, RestartAfterAFailedSyncWritesAgainWhatTheKernelForgot) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    TempDir dir;
    FaultyIo io({.seed = seed});
    auto log = MustOpen(Small(dir.path(), &io));
    uint64_t i = 0;
    for (; i < 10 * seed; ++i)
      log->Append(RecordType::kFrame, Payload(i));
    ASSERT_TRUE(log->Sync().ok());
    for (; i < 30 * seed; ++i)
      log->Append(RecordType::kFrame, Payload(i));
    io.FailSync(1);
    ASSERT_FALSE(log->Sync().ok());
    log = nullptr;
    // The process starts again; the page cache shows everything, and says that it is clean.
    log = MustOpen(Small(dir.path(), &io));
    const auto all = ReadAll(*log, 0);
    EXPECT_EQ(all.size(), i);
    EXPECT_EQ(log->durable(), log->end());
    log = nullptr;
    io.PowerCut();
    log = MustOpen(Small(dir.path()));
    EXPECT_EQ(ReadAll(*log, 0), all);
  }
}

// The power goes at every operation of a run that rolls, trims and restarts. Whatever was durable
// is there afterwards; whatever is there is what was appended; positions never mean two records.
TEST(SegmentedLog, PowerCutAtEveryOperation) {
  // Several power cuts in a row: what one of them left must not come back with a later one. More of
  // them take the long run (POLYARCH_TEST_LONG=1).
  const int lives = std::getenv("POLYARCH_TEST_LONG") != nullptr ? 7 : 4;
  uint64_t dropped_runs = 0;
  for (uint64_t cut = 1; cut < 330; ++cut) {
    TempDir dir;
    std::vector<Copied> appended;
    size_t durable_count = 0;
    Position trimmed = 0;
    uint64_t i = 0;
    base::Random random(cut);
    bool finished = false;
    for (int life = 0; life < lives && !finished; ++life) {
      // The first life is cut where the loop says, later ones early, the last one not at all.
      const uint64_t at = life == 0 ? cut : life == lives - 1 ? 0 : 1 + random.Below(60);
      FaultyIo io({.seed = cut * 10 + static_cast<uint64_t>(life), .cut_at_operation = at});
      auto options = Small(dir.path(), &io);
      options.verify_from = trimmed;
      auto opened = SegmentedLog::Open(options);
      if (!opened.ok()) {
        ASSERT_EQ(opened.status().code(), base::Code::kIo) << opened.status().ToString();
        continue;
      }
      auto log = std::move(*opened);
      if (log->bytes_dropped() > 0) ++dropped_runs;
      // The log holds a prefix of what was appended, no less than what was durable.
      size_t kept = 0;
      while (kept < appended.size() && appended[kept].end <= log->end())
        ++kept;
      ASSERT_GE(kept, durable_count) << cut << " life " << life;
      appended.resize(kept);
      ASSERT_EQ(log->end(), kept == 0 ? 0 : appended.back().end);
      const auto all = ReadAll(*log, log->begin());
      ASSERT_TRUE(
          all.size() <= kept &&
          std::equal(all.begin(), all.end(), appended.end() - static_cast<long>(all.size())));
      durable_count = kept;

      for (int tick = 0; tick < 60; ++tick) {
        for (uint64_t n = random.Below(4); n > 0; --n) {
          const Position from = log->end();
          ++i;
          const std::string payload = Payload(i * 7919 + cut, 1500);
          const Position end = log->Append(RecordType::kFrame, payload);
          appended.push_back({from, end, RecordType::kFrame, payload});
        }
        if (!log->Commit().ok()) break;
        if (random.Percent(30)) {
          if (!log->Sync().ok()) break;
        } else if (random.Percent(30)) {
          log->RequestSync();
        }
        if (random.Percent(10) && log->durable() > 40'000) {
          trimmed = log->durable() - 40'000;
          log->TrimTo(trimmed);
        }
        const Position durable = log->durable();
        while (durable_count < appended.size() && appended[durable_count].end <= durable) {
          ++durable_count;
        }
      }
      const Position durable = log->durable();
      while (durable_count < appended.size() && appended[durable_count].end <= durable)
        ++durable_count;
      finished = at == 0 && log->status().ok();
      log = nullptr;
      io.PowerCut();
    }
  }
  EXPECT_GT(dropped_runs, 50u);
}

TEST(SegmentedLog, ConcurrentSyncsNeverOvertakeTheFiles) {
  TempDir dir;
  FaultyIo io({});
  auto log = MustOpen(Small(dir.path(), &io));
  for (uint64_t i = 0; i < 5000; ++i) {
    log->Append(RecordType::kFrame, Payload(i));
    ASSERT_TRUE(log->Commit().ok());
    log->RequestSync();
  }
  const Position durable = log->durable();
  io.PowerCut();
  log = nullptr;
  log = MustOpen(Small(dir.path()));
  EXPECT_GE(log->end(), durable);
}

}  // namespace
}  // namespace polyarch::log
