#include "log/faulty_io.h"

#include <csignal>
#include <cstdlib>
#include <set>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "log/log_test_util.h"
#include "log/segmented_log.h"

namespace polyarch::log {
namespace {

std::string Contents(Io& io, const std::string& path) {
  auto file = io.Open(path, OpenMode::kRead);
  if (!file.ok()) return file.status().ToString();
  std::string bytes(*(*file)->Size(), '\0');
  EXPECT_EQ(*(*file)->ReadAt(0, bytes.data(), bytes.size()), bytes.size());
  return bytes;
}

TEST(FaultyIo, NothingIsInTheFileBeforeItIsSynced) {
  TempDir dir;
  FaultyIo io({});
  const std::string path = dir.path() + "/f";
  auto file = io.Open(path, OpenMode::kCreate);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->WriteAt(10, "hello").ok());
  EXPECT_EQ(Contents(io, path), std::string(10, '\0') + "hello");
  EXPECT_TRUE(dir.Files("f").empty());
  ASSERT_TRUE((*file)->SyncData().ok());
  EXPECT_TRUE(dir.Files("f").empty());  // the name is not durable yet
  ASSERT_TRUE(io.SyncDirectory(dir.path()).ok());
  EXPECT_EQ(ReadFile(path), std::string(10, '\0') + "hello");
  ASSERT_TRUE((*file)->WriteAt(12, "LL").ok());
  EXPECT_EQ(Contents(io, path).substr(10), "heLLo");
  EXPECT_EQ(ReadFile(path).substr(10), "hello");
  EXPECT_EQ(io.Open(path, OpenMode::kCreate).status().code(), base::Code::kIo);
}

TEST(FaultyIo, NamesFollowTheirDirectory) {
  TempDir dir;
  FaultyIo io({});
  WriteFile(dir.path() + "/a", "a");
  ASSERT_TRUE(io.Rename(dir.path() + "/a", dir.path() + "/b").ok());
  EXPECT_EQ(*io.List(dir.path()), std::vector<std::string>{"b"});
  EXPECT_EQ(dir.Files(""), std::vector<std::string>{"a"});
  ASSERT_TRUE(io.SyncDirectory(dir.path()).ok());
  EXPECT_EQ(dir.Files(""), std::vector<std::string>{"b"});
  ASSERT_TRUE(io.Unlink(dir.path() + "/b").ok());
  EXPECT_EQ(io.Open(dir.path() + "/b", OpenMode::kRead).status().code(), base::Code::kNotFound);
  EXPECT_EQ(dir.Files(""), std::vector<std::string>{"b"});
  ASSERT_TRUE(io.SyncDirectory(dir.path()).ok());
  EXPECT_TRUE(dir.Files("").empty());
}

TEST(FaultyIo, AFailedSyncLeavesPagesCleanButUnwritten) {
  TempDir dir;
  const std::string path = dir.path() + "/f";
  WriteFile(path, "old");
  FaultyIo io({});
  auto file = io.Open(path, OpenMode::kWrite);
  ASSERT_TRUE((*file)->WriteAt(0, "new").ok());
  io.FailSync(1);
  EXPECT_EQ((*file)->SyncData().code(), base::Code::kIo);
  EXPECT_TRUE((*file)->SyncData().ok());
  EXPECT_EQ(Contents(io, path), "new");
  EXPECT_EQ(ReadFile(path), "old");
  ASSERT_TRUE((*file)->WriteAt(0, "N").ok());
  ASSERT_TRUE((*file)->SyncData().ok());
  EXPECT_EQ(ReadFile(path), "New");
}

TEST(FaultyIo, PowerCutsTearInManyWays) {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    TempDir dir;
    const std::string path = dir.path() + "/f";
    WriteFile(path, std::string(8192, 'o'));
    FaultyIo io({.seed = seed});
    auto file = io.Open(path, OpenMode::kWrite);
    ASSERT_TRUE((*file)->WriteAt(0, std::string(8192, 'n')).ok());
    io.PowerCut();
    EXPECT_EQ((*file)->WriteAt(0, "x").code(), base::Code::kIo);
    EXPECT_EQ((*file)->SyncData().code(), base::Code::kIo);
    const std::string bytes = ReadFile(path);
    EXPECT_EQ(bytes.size(), 8192u);
    outcomes.insert(bytes);
  }
  EXPECT_TRUE(outcomes.contains(std::string(8192, 'o')));
  EXPECT_TRUE(outcomes.contains(std::string(8192, 'n')));
  EXPECT_GT(outcomes.size(), 10u);
}

// A process of its own that runs on it and is killed: what it reported durable is there.
TEST(FaultyIo, AKilledProcessIsAPowerCut) {
  for (uint64_t cut = 0; cut < 40; cut += 3) {
    TempDir dir;
    int pipe_fds[2];
    ASSERT_EQ(::pipe(pipe_fds), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      auto io = MakePowerCutIo(7, cut);
      SegmentedLog::Options options;
      options.dir = dir.path();
      options.segment_bytes = 16 << 10;
      options.io = io.get();
      auto log = SegmentedLog::Open(options);
      for (uint64_t i = 0; log.ok(); ++i) {
        (*log)->Append(RecordType::kFrame, Payload(i, 1000));
        if (i % 3 == 0) {
          if (!(*log)->Sync().ok()) break;
          const Position durable = (*log)->durable();
          if (::write(pipe_fds[1], &durable, sizeof(durable)) < 0) break;
          if (cut == 0 && i > 100) ::raise(SIGKILL);
        } else if (!(*log)->Commit().ok()) {
          break;
        }
      }
      ::_exit(1);
    }
    ::close(pipe_fds[1]);
    Position durable = 0;
    while (::read(pipe_fds[0], &durable, sizeof(durable)) == sizeof(durable)) {
    }
    ::close(pipe_fds[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(WTERMSIG(status), cut == 0 ? SIGKILL : SIGABRT);

    FaultyIo io({});  // clears what the dead process left behind
    SegmentedLog::Options options;
    options.dir = dir.path();
    options.segment_bytes = 16 << 10;
    options.io = &io;
    auto log = SegmentedLog::Open(options);
    ASSERT_TRUE(log.ok()) << log.status().ToString();
    EXPECT_GE((*log)->end(), durable);
    uint64_t i = 0;
    for (const Copied& record : ReadAll(**log, 0))
      EXPECT_EQ(record.payload, Payload(i++, 1000));
    EXPECT_TRUE(dir.Files(".unsynced").empty());
  }
}

}  // namespace
}  // namespace polyarch::log
