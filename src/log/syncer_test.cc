// The syncer's order of work.
#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <sys/resource.h>
#include <thread>

#include <gtest/gtest.h>

#include "log/format.h"
#include "log/log_test_util.h"
#include "log/syncer.h"

namespace polyarch::log {
namespace {

// Each of its syncs ends with more to be synced, as under steady load.
class Busy final : public File {
 public:
  static constexpr uint64_t kSyncs = 20;

  base::Result<size_t> ReadAt(uint64_t, char*, size_t) override { return size_t{0}; }
  base::Status WriteAt(uint64_t, std::string_view) override { return {}; }
  base::Status Allocate(uint64_t) override { return {}; }
  base::Result<uint64_t> Size() override { return uint64_t{0}; }
  base::Status SyncData() override {
    ++syncs_;
    if (syncs_ == 1) {
      syncer->Retire(trimmed, false);
      syncer->WantSpare();
    }
    if (syncs_ < kSyncs) {
      syncer->Request(syncs_ + 1);
    } else {
      trimmed_is_gone = !std::filesystem::exists(trimmed);
    }
    return {};
  }

  Syncer* syncer = nullptr;
  std::string trimmed;
  std::atomic<bool> trimmed_is_gone{false};

 private:
  uint64_t syncs_ = 0;
};

TEST(Syncer, UnderSteadyLoadTrimmedSegmentsGoAndSparesCome) {
  TempDir dir;
  auto file = std::make_shared<Busy>();
  file->trimmed = dir.path() + "/" + SegmentName(0);
  WriteFile(file->trimmed, "x");
  Syncer syncer({.io = &PosixIo(), .dir = dir.path(), .segment_bytes = 4096, .current = file});
  file->syncer = &syncer;
  syncer.Request(1);
  ASSERT_TRUE(syncer.Wait(Busy::kSyncs).ok());
  EXPECT_TRUE(file->trimmed_is_gone);
  EXPECT_TRUE(syncer.TakeSpare().has_value());
}

// That no descriptor is to be had for a moment is no failed sync, which would be final.
TEST(PosixIo, ADirectoryIsSyncedOnceThereIsADescriptor) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto opened = PosixIo().Open("/dev/null", OpenMode::kRead);
  std::thread later([&] { ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0); });
  const base::Status synced = PosixIo().SyncDirectory("/tmp");
  later.join();
  EXPECT_EQ(opened.status().code(), base::Code::kBusy);
  EXPECT_TRUE(synced.ok()) << synced.message();
}

}  // namespace
}  // namespace polyarch::log
