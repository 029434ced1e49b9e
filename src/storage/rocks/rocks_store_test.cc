#include "storage/rocks/rocks_store.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>

#include "storage/store_test_util.h"

namespace polyarch::storage {
namespace {

constexpr size_t kValueBytes = 2000;
constexpr const char* kWriterDir = "POLYARCH_TEST_WRITER_DIR";
constexpr unsigned kRounds = 6;
constexpr uint64_t kWriterFlushes = 6;  // that the writer asks for; what comes later RocksDB does by itself

// Not a test: the process that AKilledProcessLeavesAPrefix starts and kills. Says on standard error
// how many batches are flushed. A new image, since RocksDB's threads do not survive a fork.
TEST(RocksStore, DISABLED_Writer) {
  const char* dir = ::getenv(kWriterDir);
  if (dir == nullptr) GTEST_SKIP();
  // Small memtables, so that RocksDB flushes by itself too.
  auto store = RocksStore::Open({.dir = dir, .write_buffer_bytes = 128 << 10});
  ASSERT_TRUE(store.ok());
  uint64_t ticket = 0;
  uint64_t at = 0;
  uint64_t flushes = 0;
  uint64_t alone_since = 0;  // from here on only RocksDB flushes
  auto tell = [&] { ASSERT_EQ(::write(STDERR_FILENO, &at, sizeof(at)), static_cast<ssize_t>(sizeof(at))); };
  for (uint64_t i = 1; i < 1'000'000; ++i) {
    (*store)->Write(WorkloadBatch(i, kValueBytes));
    if (ticket == 0 && i % 200 == 50 && flushes < kWriterFlushes) {
      ticket = (*store)->Flush();
      at = i;
    }
    if (ticket > 0 && (*store)->flushed() >= ticket) {
      ticket = 0;
      alone_since = i;
      ++flushes;
      tell();
    }
    // So much does not fit into memtables: some of it is on disk.
    if (flushes == kWriterFlushes && i == alone_since + (4 << 20) / kValueBytes) tell();
    while ((*store)->pending_bytes() > (64 << 10))
      std::this_thread::yield();
  }
}

TEST(RocksStore, AKilledProcessLeavesAPrefix) {
  uint64_t more_than_flushed = 0;
  for (unsigned round = 0; round < kRounds; ++round) {
    TempDir dir;
    const std::string path = dir.path() + "/rows";
    int pipe_fds[2];
    ASSERT_EQ(::pipe(pipe_fds), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::dup2(pipe_fds[1], STDERR_FILENO);
      const int null = ::open("/dev/null", O_WRONLY);
      ::dup2(null, STDOUT_FILENO);
      ::setenv(kWriterDir, path.c_str(), 1);
      ::execl("/proc/self/exe",
              "writer",
              "--gtest_also_run_disabled_tests",
              "--gtest_filter=RocksStore.DISABLED_Writer",
              nullptr);
      ::_exit(1);
    }
    ::close(pipe_fds[1]);
    uint64_t flushed = 0;
    // The last round waits until RocksDB has flushed by itself.
    const unsigned told = round == kRounds - 1 ? kWriterFlushes + 1 : round + 1;
    for (unsigned n = 0; n < told; ++n) {
      ASSERT_EQ(::read(pipe_fds[0], &flushed, sizeof(flushed)),
                static_cast<ssize_t>(sizeof(flushed)));
    }
    // Nothing waits for anything here: it is killed at another moment in each round, and any is right.
    ::usleep(1000 * 9 * round);
    ::kill(child, SIGKILL);
    while (::read(pipe_fds[0], &flushed, sizeof(flushed)) == sizeof(flushed)) {
    }
    ::close(pipe_fds[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));

    auto store = RocksStore::Open({.dir = path});
    ASSERT_TRUE(store.ok()) << store.status().ToString();
    const uint64_t kept = CheckPrefix(**store, kValueBytes);
    EXPECT_GE(kept, flushed);
    if (kept > flushed) ++more_than_flushed;
  }
  // RocksDB's own flushes were seen, too.
  EXPECT_GT(more_than_flushed, 0u);
}

TEST(RocksStore, TellsItsProgress) {
  TempDir dir;
  std::atomic<int> calls = 0;
  auto store = RocksStore::Open({.dir = dir.path() + "/rows", .on_progress = [&] {
                                   ++calls;
                                 }});
  ASSERT_TRUE(store.ok());
  (*store)->Write(WorkloadBatch(1, 10));
  const uint64_t ticket = (*store)->Flush();
  while ((*store)->flushed() < ticket)
    std::this_thread::yield();
  *store = nullptr;
  EXPECT_EQ(calls, 2);
}

TEST(RocksStore, OnlyOneProcessAtATime) {
  TempDir dir;
  auto first = RocksStore::Open({.dir = dir.path() + "/rows"});
  ASSERT_TRUE(first.ok());
  auto second = RocksStore::Open({.dir = dir.path() + "/rows"});
  EXPECT_EQ(second.status().code(), base::Code::kBusy);
  EXPECT_EQ(second.status().message().find('\n'), std::string::npos);
}

TEST(RocksStore, OpeningWhereItCannot) {
  auto store = RocksStore::Open({.dir = "/nonexistent/parent/rows"});
  ASSERT_FALSE(store.ok());
  EXPECT_EQ(store.status().code(), base::Code::kIo);
  EXPECT_EQ(store.status().message().find('\n'), std::string::npos);
}

// Damages every table file, at `offset` from the beginning (or the end when negative).
int DamageTables(const std::string& dir, int64_t offset) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    if (entry.path().extension() != ".sst") continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(offset, offset < 0 ? std::ios::end : std::ios::beg);
    file.write("\x55\xaa\x55\xaa", 4);
    ++count;
  }
  return count;
}

TEST(RocksStore, ADamagedRowIsAnErrorAndNeverNotFound) {
  TempDir dir;
  const std::string path = dir.path() + "/rows";
  {
    auto store = RocksStore::Open({.dir = path});
    ASSERT_TRUE(store.ok());
    for (uint64_t i = 1; i <= 200; ++i)
      (*store)->Write(WorkloadBatch(i, 1000));
    const uint64_t ticket = (*store)->Flush();
    while ((*store)->flushed() < ticket)
      std::this_thread::yield();
  }
  ASSERT_GT(DamageTables(path, 100), 0);
  auto store = RocksStore::Open({.dir = path});
  base::Status status = store.status();
  if (store.ok()) {
    status = (*store)->Scan(Family::kData, [](std::string_view, std::string_view) { return true; });
    EXPECT_EQ((*store)->Get(Family::kData, WorkloadKey(0)).status().code(), base::Code::kCorrupt);
  }
  EXPECT_EQ(status.code(), base::Code::kCorrupt) << status.ToString();
  EXPECT_EQ(status.message().find('\n'), std::string::npos);
}

TEST(RocksStore, AMissingTableIsAnError) {
  TempDir dir;
  const std::string path = dir.path() + "/rows";
  {
    auto store = RocksStore::Open({.dir = path});
    ASSERT_TRUE(store.ok());
    for (uint64_t i = 1; i <= 20; ++i)
      (*store)->Write(WorkloadBatch(i, 1000));
    const uint64_t ticket = (*store)->Flush();
    while ((*store)->flushed() < ticket)
      std::this_thread::yield();
  }
  std::vector<std::filesystem::path> tables;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.path().extension() == ".sst") tables.push_back(entry.path());
  }
  ASSERT_FALSE(tables.empty());
  for (const auto& table : tables)
    std::filesystem::remove(table);
  auto store = RocksStore::Open({.dir = path});
  ASSERT_FALSE(store.ok());
  EXPECT_EQ(store.status().code(), base::Code::kCorrupt) << store.status().ToString();
}

TEST(RocksStore, ACopyMadeBesideWritesIsAPrefix) {
  TempDir dir;
  auto store = RocksStore::Open({.dir = dir.path() + "/rows", .write_buffer_bytes = 128 << 10});
  ASSERT_TRUE(store.ok());
  std::atomic<int> copies{0};
  std::string failure;
  std::thread copier([&] {
    for (int i = 0; i < 5; ++i) {
      base::Status status = (*store)->CopyTo(dir.path() + "/copy" + std::to_string(i));
      if (!status.ok()) failure = status.ToString();
      ++copies;
    }
  });
  uint64_t written = 0;
  while (copies < 5) {
    (*store)->Write(WorkloadBatch(++written, kValueBytes));
    while ((*store)->pending_bytes() > (64 << 10))
      std::this_thread::yield();
  }
  copier.join();
  EXPECT_EQ(failure, "");
  uint64_t before = 0;
  for (int i = 0; i < 5; ++i) {
    auto copy = RocksStore::Open({.dir = dir.path() + "/copy" + std::to_string(i)});
    ASSERT_TRUE(copy.ok()) << copy.status().ToString();
    const uint64_t kept = CheckPrefix(**copy, kValueBytes);
    EXPECT_GE(kept, before);
    EXPECT_LE(kept, written);
    before = kept;
  }
  EXPECT_GT(before, 0u);
  EXPECT_FALSE((*store)->CopyTo(dir.path() + "/copy0").ok()) << "it is there already";
}

// Hard links end at a file system's border.
TEST(RocksStore, ACopyOnAnotherFileSystem) {
  TempDir dir;
  std::string other = "/dev/shm/polyarch-copy-XXXXXX";
  struct stat here {};
  struct stat there {};
  if (::stat(dir.path().c_str(), &here) != 0 || ::stat("/dev/shm", &there) != 0 ||
      here.st_dev == there.st_dev || ::mkdtemp(other.data()) == nullptr) {
    GTEST_SKIP() << "there is no other file system in /dev/shm";
  }
  auto store = RocksStore::Open({.dir = dir.path() + "/rows"});
  ASSERT_TRUE(store.ok());
  std::filesystem::create_directory(dir.path() + "/rows.copy");
  std::ofstream(dir.path() + "/rows.copy/rest") << "of a copy that a crash ended";
  for (uint64_t i = 1; i <= 20; ++i)
    (*store)->Write(WorkloadBatch(i, kValueBytes));
  const base::Status made = (*store)->CopyTo(other + "/copy");
  EXPECT_TRUE(made.ok()) << made.ToString();
  EXPECT_FALSE(std::filesystem::exists(dir.path() + "/rows.copy"));
  {
    auto copy = RocksStore::Open({.dir = other + "/copy"});
    ASSERT_TRUE(copy.ok()) << copy.status().ToString();
    EXPECT_EQ(CheckPrefix(**copy, kValueBytes), 20u);
  }
  std::filesystem::remove_all(other);
}

}  // namespace
}  // namespace polyarch::storage
