#include "log/export.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include <gtest/gtest.h>

#include "log/log_test_util.h"
#include "log/segmented_log.h"

namespace polyarch::log {
namespace {

constexpr uint64_t kSegmentBytes = 16 << 10;

std::unique_ptr<SegmentedLog> MustOpen(const std::string& dir, Position verify_from = 0) {
  SegmentedLog::Options options;
  options.dir = dir;
  options.segment_bytes = kSegmentBytes;
  options.ring_bytes = 8 << 10;
  options.verify_from = verify_from;
  auto log = SegmentedLog::Open(std::move(options));
  EXPECT_TRUE(log.ok()) << log.status().ToString();
  return log.ok() ? std::move(*log) : nullptr;
}

std::vector<Position> Fill(SegmentedLog& log, uint64_t count) {
  std::vector<Position> starts;
  for (uint64_t i = 0; i < count; ++i) {
    starts.push_back(log.end());
    log.Append(RecordType::kFrame, Payload(i));
  }
  EXPECT_TRUE(log.Sync().ok());
  return starts;
}

const std::atomic<bool> kGoOn{false};

TEST(ExportLog, TheCopyIsALogOfItsOwn) {
  TempDir source;
  auto log = MustOpen(source.path());
  const std::vector<Position> starts = Fill(*log, 2000);
  log->SetHeadProvider([] { return std::string("head"); });
  const Position end = log->end();
  for (size_t from : {size_t{0}, size_t{1}, starts.size() / 2, starts.size() - 1}) {
    TempDir target;
    auto size = ExportBytes(PosixIo(), source.path(), starts[from], end);
    auto exported = ExportLog(PosixIo(), source.path(), starts[from], end, target.path(), kGoOn);
    ASSERT_TRUE(exported.ok()) << exported.status().ToString();
    ASSERT_TRUE(size.ok());
    EXPECT_EQ(*size, exported->bytes);
    EXPECT_LE(exported->begin, starts[from]);
    EXPECT_GT(exported->begin + kSegmentBytes, starts[from]);
    uint64_t bytes = 0;
    for (const std::string& name : target.Files("log-"))
      bytes += ReadFile(target.path() + "/" + name).size();
    EXPECT_EQ(bytes, exported->bytes);
    auto copy = MustOpen(target.path(), starts[from]);
    EXPECT_EQ(copy->begin(), exported->begin);
    EXPECT_EQ(copy->end(), end);
    EXPECT_EQ(copy->bytes_dropped(), 0u);
    EXPECT_EQ(ReadAll(*copy, starts[from]), ReadAll(*log, starts[from]));
    copy->Append(RecordType::kFrame, "goes on");
    EXPECT_TRUE(copy->Sync().ok());
  }
}

TEST(ExportLog, CutsOffAtTheEndThatIsAskedFor) {
  TempDir source;
  auto log = MustOpen(source.path());
  const std::vector<Position> starts = Fill(*log, 1000);
  for (size_t to : {size_t{0}, size_t{1}, size_t{500}, size_t{999}}) {
    TempDir target;
    auto exported = ExportLog(PosixIo(), source.path(), 0, starts[to], target.path(), kGoOn);
    ASSERT_TRUE(exported.ok()) << exported.status().ToString();
    auto copy = MustOpen(target.path());
    EXPECT_EQ(copy->end(), starts[to]);
    EXPECT_EQ(ReadAll(*copy, 0).size(), to);
  }
}

TEST(ExportLog, NoticesDamage) {
  TempDir source;
  auto log = MustOpen(source.path());
  const std::vector<Position> starts = Fill(*log, 1000);
  PatchFile(source.path() + "/" + SegmentName(0), DataOffset(0) + starts[10] + 20, "XX");
  TempDir target;
  auto exported = ExportLog(PosixIo(), source.path(), 0, log->end(), target.path(), kGoOn);
  EXPECT_EQ(exported.status().code(), base::Code::kCorrupt) << exported.status().ToString();
  TempDir other;
  EXPECT_EQ(
      ExportLog(PosixIo(), source.path(), 0, starts[5] + 8, other.path(), kGoOn).status().code(),
      base::Code::kCorrupt)
      << "not the start of a record";
}

TEST(ExportLog, EndsWhenCancelled) {
  TempDir source;
  auto log = MustOpen(source.path());
  Fill(*log, 100);
  TempDir target;
  const std::atomic<bool> cancelled{true};
  auto exported = ExportLog(PosixIo(), source.path(), 0, log->end(), target.path(), cancelled);
  EXPECT_EQ(exported.status().code(), base::Code::kBusy);
}

TEST(ExportLog, APinnedLogIsNotTrimmed) {
  TempDir source;
  auto log = MustOpen(source.path());
  const std::vector<Position> starts = Fill(*log, 2000);
  log->Pin(starts[700]);
  log->TrimTo(log->end());
  EXPECT_LE(log->begin(), starts[700]);
  EXPECT_GT(log->begin(), 0u);
  TempDir target;
  EXPECT_TRUE(
      ExportLog(PosixIo(), source.path(), starts[700], log->end(), target.path(), kGoOn).ok());
  // The files go in the background.
  const auto begin = std::chrono::steady_clock::now();
  while (source.Files("log-").front() == SegmentName(0) &&
         std::chrono::steady_clock::now() - begin < std::chrono::seconds(20)) {
    std::this_thread::yield();
  }
  EXPECT_EQ(
      ExportLog(PosixIo(), source.path(), 0, log->end(), target.path(), kGoOn).status().code(),
      base::Code::kNotFound)
      << "trimmed";
  log->Unpin();
  log->TrimTo(log->end());
  EXPECT_GT(log->begin(), starts[700]);
}

// Another thread copies what is durable while this one goes on writing and rolling.
TEST(ExportLog, BesideALogThatIsWritten) {
  TempDir source;
  auto log = MustOpen(source.path());
  Fill(*log, 300);
  const Position end = log->end();
  const std::vector<Copied> expected = ReadAll(*log, 0);
  std::atomic<bool> done{false};
  std::string failure;
  std::thread copier([&] {
    for (int round = 0; round < 20 && failure.empty(); ++round) {
      TempDir target;
      auto exported = ExportLog(PosixIo(), source.path(), 0, end, target.path(), kGoOn);
      if (!exported.ok()) {
        failure = exported.status().ToString();
        break;
      }
      auto copy = MustOpen(target.path());
      if (ReadAll(*copy, 0) != expected) failure = "other records";
    }
    done = true;
  });
  uint64_t written = 0;
  while (!done) {
    log->Append(RecordType::kFrame, Payload(++written));
    EXPECT_TRUE(log->Commit().ok());
    if (written % 64 == 0) log->RequestSync();
    if (written > 50'000) std::this_thread::yield();
  }
  copier.join();
  EXPECT_EQ(failure, "");
}

}  // namespace
}  // namespace polyarch::log
