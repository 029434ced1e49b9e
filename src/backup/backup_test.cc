#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include <gtest/gtest.h>

#include "backup/files.h"
#include "backup/job.h"
#include "backup/manifest.h"
#include "backup/restore.h"
#include "engine/engine.h"
#include "engine/engine_test_util.h"
#include "engine/rows.h"
#include "log/format.h"
#include "log/log_test_util.h"
#include "log/segmented_log.h"
#include "storage/rocks/rocks_store.h"

namespace polyarch::backup {
namespace {

namespace fs = std::filesystem;

// ---- the manifest

Manifest Example() {
  Manifest m;
  m.polyarch_version = "0.1.0";
  m.leader = "eu";
  m.cluster = "0123456789abcdef";
  m.taken_ms = 1'700'000'000'123;
  m.vv = "eu.00000000000000aa:17 us.00000000000000bb:3";
  m.store_format = "1";
  m.log_format = 1;
  m.log_begin = 0;
  m.checkpoint = 4096;
  m.log_end = 8192;
  m.files = {{"log/log-00000000000000000000.seg", 12288, {1, 2}}, {"store/CURRENT", 16, {3, 4}}};
  return m;
}

// Format 1 for ever: what is here must be read by every later version.
constexpr char kGolden[] =
    "polyarch-backup 1\n"
    "polyarch 0.1.0\n"
    "leader eu\n"
    "cluster 0123456789abcdef\n"
    "taken 1700000000123 2023-11-14T22:13:20Z\n"
    "vv eu.00000000000000aa:17 us.00000000000000bb:3\n"
    "store-format 1\n"
    "log-format 1\n"
    "log-begin 0\n"
    "checkpoint 4096\n"
    "log-end 8192\n"
    "files 2 12304\n"
    "file 12288 00000000000000020000000000000001 log/log-00000000000000000000.seg\n"
    "file 16 00000000000000040000000000000003 store/CURRENT\n";

std::string WithEnd(std::string text) {
  return text + "end " + base::HexDigest(base::ContentHash128(text)) + "\n";
}

TEST(Manifest, Golden) {
  EXPECT_EQ(Encode(Example()), WithEnd(kGolden));
  auto parsed = Parse(WithEnd(kGolden));
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(Encode(*parsed), WithEnd(kGolden));
  EXPECT_EQ(parsed->bytes(), 12304u);
}

TEST(Manifest, EveryChangedByteIsNoticed) {
  const std::string good = Encode(Example());
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    EXPECT_FALSE(Parse(bad).ok()) << i;
    EXPECT_FALSE(Parse(good.substr(0, i)).ok()) << i;
  }
}

TEST(Manifest, RefusesWhatItsChecksumCannot) {
  auto code = [](const std::string& from, const std::string& to) {
    std::string text = kGolden;
    text.replace(text.find(from), from.size(), to);
    return Parse(WithEnd(text)).status().code();
  };
  EXPECT_EQ(code("polyarch-backup 1", "polyarch-backup 2"), base::Code::kIncompatible);
  EXPECT_EQ(code("polyarch-backup 1", "polyarch-backup x"), base::Code::kCorrupt);
  for (const char* name :
       {"../etc/passwd", "store/../x", "/store/x", "store/", "store/..", "x", "LOCK", "log/a/b"})
    EXPECT_EQ(code("store/CURRENT", name), base::Code::kCorrupt) << name;
  EXPECT_EQ(code("files 2 12304", "files 3 12304"), base::Code::kCorrupt);
  EXPECT_EQ(code("files 2 12304", "files 2 12305"), base::Code::kCorrupt);
  EXPECT_EQ(code("file 16", "file 99999999999999999999"), base::Code::kCorrupt);
  EXPECT_EQ(code("checkpoint 4096", "checkpoint 9000"), base::Code::kCorrupt);
  EXPECT_EQ(code("leader eu\n", ""), base::Code::kCorrupt);
  EXPECT_EQ(code("vv ", "bb "), base::Code::kCorrupt);
}

TEST(CheckPath, OnlyWhatNamesOnePlace) {
  EXPECT_EQ(*CheckPath("/var/backups/eu-1"), "/var/backups/eu-1");
  EXPECT_EQ(*CheckPath("/x/"), "/x");
  for (std::string_view bad : {"", "x", "./x", "/", "/a/../b", "/a/./b", "/a//b", "/..", "/a\nb"})
    EXPECT_EQ(CheckPath(bad).status().code(), base::Code::kInvalid) << bad;
  EXPECT_FALSE(CheckPath(std::string_view("/a\0b", 4)).ok());
  EXPECT_FALSE(CheckPath("/" + std::string(3000, 'x')).ok());
}

// ---- a leader on a real log and store, without sockets

class Leader final : public engine::Host {
 public:
  explicit Leader(std::string dir) : dir_(std::move(dir)) {
    fs::create_directories(dir_ + "/log");
    auto store = storage::RocksStore::Open({.dir = dir_ + "/store"});
    EXPECT_TRUE(store.ok()) << store.status().ToString();
    store_ = std::move(*store);
    log::SegmentedLog::Options options;
    options.dir = dir_ + "/log";
    options.segment_bytes = 64 << 10;
    options.ring_bytes = 64 << 10;
    options.verify_from = engine::Engine::CheckpointPosition(*store_);
    auto log = log::SegmentedLog::Open(options);
    EXPECT_TRUE(log.ok()) << log.status().ToString();
    log_ = std::move(*log);
    engine_ = std::make_unique<engine::Engine>(
        engine::Options{.leader_id = "eu", .advertise = "127.0.0.1:1", .seed = 7},
        *this,
        *log_,
        *store_);
    base::Status started = engine_->Start(Now());
    EXPECT_TRUE(started.ok()) << started.ToString();
  }

  void Tick(const std::function<void()>& body = {}) {
    ++ms_;
    engine_->BeginTick(Now());
    if (body) body();
    engine_->EndTick();
    EXPECT_TRUE(engine_->status().ok()) << engine_->status().ToString();
  }
  void Set(const std::string& key, const std::string& value) {
    resp::Buffer out;
    const std::string_view arguments[] = {"SET", key, value};
    engine_->Execute(client_, arguments, out, server_);
  }
  void Write(int from, int count) {
    for (int i = from; i < from + count; ++i)
      Tick([&] { Set("key " + std::to_string(i % 500), std::to_string(i)); });
  }

  // As the server does it; writes go on in each of its ticks. The store is copied `copies` times, as if
  // states were taken over meanwhile.
  base::Result<Manifest> Backup(const std::string& path, int& written, int copies = 1) {
    Manifest manifest;
    manifest.polyarch_version = "0.1.0";
    manifest.leader = "eu";
    manifest.cluster = "0123456789abcdef";
    manifest.store_format = engine::kStoreFormat;
    manifest.log_format = log::kFormatVersion;
    Job job({.path = path,
             .data_dir = dir_,
             .manifest = manifest,
             .wake =
                 [] {
                 }},
            *store_);
    uint64_t ticket = 0;
    bool cut = false;
    log::Position end = 0;
    std::string vv;
    while (job.wants() != Job::Want::kEnd) {
      Write(written++, 1);
      if (job.wants() == Job::Want::kCheckpoint) {
        if (ticket == 0) ticket = engine_->StartCheckpoint();
        if (!engine_->CheckpointDone(ticket)) continue;
        log_->Pin(engine_->checkpoint_position());
        job.HaveCheckpoint(engine_->checkpoint_position());
      } else if (job.wants() == Job::Want::kCut) {
        if (--copies > 0) {
          log_->RequestSync();
          job.CopyAgain();
          continue;
        }
        if (!cut) {
          cut = true;
          end = log_->end();
          vv = engine_->VersionVectorText();
          digest_at_cut_ = engine_->DigestText();
          log_->RequestSync();
        }
        if (log_->durable() >= end) job.HaveCut(end, vv, ms_);
      }
    }
    log_->Unpin();
    return job.result();
  }

  engine::Engine& engine() { return *engine_; }
  log::SegmentedLog& log() { return *log_; }
  const std::string& digest_at_cut() const { return digest_at_cut_; }

  void Send(engine::LinkId, std::string_view) override {}
  size_t Backlog(engine::LinkId) const override { return 0; }
  void CloseLink(engine::LinkId) override {}
  void Dial(const std::string&) override {}
  void Resume(uint64_t) override {}
  void Push(uint64_t, std::string_view, bool) override {}
  void Report(int, const std::string&) override {}

 private:
  engine::Clocks Now() const { return {engine::kTestStartMs + ms_, ms_ * 1000}; }

  std::string dir_;
  int64_t ms_ = 0;
  std::unique_ptr<storage::RocksStore> store_;
  std::unique_ptr<log::SegmentedLog> log_;
  std::unique_ptr<engine::Engine> engine_;
  command::Client client_;
  engine::NullServer server_;
  std::string digest_at_cut_;
};

TEST(Backup, UnderLoadHoldsExactlyItsVv) {
  log::TempDir dir;
  Leader leader(dir.path() + "/eu");
  leader.Write(0, 3000);
  int written = 3000;
  for (int round = 0; round < 3; ++round) {
    const std::string path = dir.path() + "/backup" + std::to_string(round);
    auto made = leader.Backup(path, written, round);
    ASSERT_TRUE(made.ok()) << made.status().ToString();
    EXPECT_FALSE(fs::exists(path + ".partial"));
    EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_all);
    auto verified = Verify(path);
    ASSERT_TRUE(verified.ok()) << verified.status().ToString();
    EXPECT_EQ(Encode(*verified), Encode(*made));
    const std::string restored_dir = dir.path() + "/restored" + std::to_string(round);
    auto restored = Restore(path, restored_dir);
    ASSERT_TRUE(restored.ok()) << restored.status().ToString();
    EXPECT_FALSE(fs::exists(restored_dir + "/" + kRestoringName));
    Leader again(restored_dir);
    EXPECT_EQ(again.engine().VersionVectorText(), made->vv);
    EXPECT_EQ(again.engine().DigestText(), leader.digest_at_cut());
    EXPECT_EQ(again.log().begin(), made->log_begin);
    again.Write(0, 100);
    EXPECT_NE(again.engine().VersionVectorText(), made->vv);
  }
}

// What is trimmed while it is copied is not lost to the copy.
TEST(Backup, SurvivesTrimming) {
  log::TempDir dir;
  Leader leader(dir.path() + "/eu");
  leader.Write(0, 5000);
  int written = 5000;
  std::atomic<bool> done{false};
  auto made = leader.Backup(dir.path() + "/backup", written);
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  leader.log().TrimTo(leader.engine().checkpoint_position());
  EXPECT_GT(leader.log().begin(), 0u);
  EXPECT_GT(made->log_begin, 0u) << "only the log behind the checkpoint is kept";
  EXPECT_TRUE(Restore(dir.path() + "/backup", dir.path() + "/restored").ok());
}

TEST(Backup, RefusesPathsThatAreTaken) {
  log::TempDir dir;
  Leader leader(dir.path() + "/eu");
  int written = 0;
  auto message = [&](const std::string& path) {
    auto made = leader.Backup(path, written);
    EXPECT_FALSE(made.ok());
    return made.ok() ? "" : made.status().message();
  };
  const std::string path = dir.path() + "/backup";
  EXPECT_NE(message(dir.path() + "/no/where").find("make the directory"), std::string::npos);
  EXPECT_NE(message(dir.path() + "/eu/backup").find("own directory"), std::string::npos);
  EXPECT_NE(message(dir.path() + "/eu").find("own directory"), std::string::npos);
  fs::create_directory(path + ".partial");
  EXPECT_NE(message(path).find("did not end"), std::string::npos);
  EXPECT_TRUE(fs::exists(path + ".partial")) << "it is not ours to remove";
  fs::remove(path + ".partial");
  fs::create_directory(path);
  log::WriteFile(path + "/mine", "mine");
  EXPECT_NE(message(path).find("not empty"), std::string::npos);
  EXPECT_EQ(log::ReadFile(path + "/mine"), "mine");
  EXPECT_FALSE(fs::exists(path + ".partial"));
  fs::remove(path + "/mine");
  EXPECT_TRUE(leader.Backup(path, written).ok()) << "an empty directory will do";
  EXPECT_TRUE(Verify(path).ok());
}

TEST(Backup, CancelledLeavesNothing) {
  log::TempDir dir;
  auto store = storage::RocksStore::Open({.dir = dir.path() + "/store"});
  ASSERT_TRUE(store.ok());
  fs::create_directory(dir.path() + "/log");
  fs::create_directory(dir.path() + "/out");
  {
    Job job({.path = dir.path() + "/out/backup",
             .data_dir = dir.path() + "/store",
             .wake =
                 [] {
                 }},
            **store);
    while (job.wants() != Job::Want::kCheckpoint)
      std::this_thread::yield();
    EXPECT_TRUE(fs::exists(dir.path() + "/out/backup.partial"));
  }
  EXPECT_TRUE(fs::is_empty(dir.path() + "/out"));
}

// ---- restoring what is not whole

class RestoreTest : public testing::Test {
 protected:
  void SetUp() override {
    Leader leader(dir_.path() + "/eu");
    leader.Write(0, 1000);
    int written = 1000;
    ASSERT_TRUE(leader.Backup(path_, written).ok());
  }
  // The refusal; nothing was touched.
  std::string Refused(base::Code code) {
    auto restored = Restore(path_, target_);
    EXPECT_EQ(restored.status().code(), code) << restored.status().ToString();
    EXPECT_FALSE(Verify(path_).ok());
    EXPECT_FALSE(fs::exists(target_));
    return restored.status().message();
  }
  std::string AnyFile(const std::string& folder, const std::string& end) {
    for (const auto& entry : fs::directory_iterator(path_ + "/" + folder)) {
      if (entry.path().string().ends_with(end)) return entry.path().string();
    }
    ADD_FAILURE() << "no file *" << end;
    return "";
  }

  log::TempDir dir_;
  std::string path_ = dir_.path() + "/backup";
  std::string target_ = dir_.path() + "/target";
};

TEST_F(RestoreTest, ADamagedFile) {
  const std::string file = AnyFile("store", ".sst");
  // Written anew: the file of the same bytes in the leader's own store is the same one.
  std::string bytes = log::ReadFile(file);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  fs::remove(file);
  log::WriteFile(file, bytes);
  EXPECT_NE(Refused(base::Code::kCorrupt).find("fails its checksum"), std::string::npos);
}

TEST_F(RestoreTest, ATruncatedFile) {
  const std::string file = AnyFile("log", ".seg");
  fs::resize_file(file, fs::file_size(file) - 1);
  EXPECT_NE(Refused(base::Code::kCorrupt).find("bytes instead of"), std::string::npos);
}

TEST_F(RestoreTest, AMissingFile) {
  fs::remove(AnyFile("store", "CURRENT"));
  EXPECT_NE(Refused(base::Code::kCorrupt).find("is missing"), std::string::npos);
}

TEST_F(RestoreTest, AFileThatIsALink) {
  const std::string file = AnyFile("store", "CURRENT");
  fs::rename(file, dir_.path() + "/elsewhere");
  fs::create_symlink(dir_.path() + "/elsewhere", file);
  EXPECT_FALSE(Restore(path_, target_).ok());
}

TEST_F(RestoreTest, NoManifest) {
  fs::remove(path_ + "/MANIFEST");
  EXPECT_NE(Refused(base::Code::kNotFound).find("is no backup"), std::string::npos);
}

TEST_F(RestoreTest, AnotherManifest) {
  log::TempDir other;
  Leader leader(other.path() + "/eu");
  int written = 5000;
  leader.Write(3000, 1000);
  ASSERT_TRUE(leader.Backup(other.path() + "/backup", written).ok());
  fs::copy(
      other.path() + "/backup/MANIFEST", path_ + "/MANIFEST", fs::copy_options::overwrite_existing);
  Refused(base::Code::kCorrupt);
}

TEST_F(RestoreTest, NewerFormats) {
  Manifest manifest = *Verify(path_);
  for (int which = 0; which < 2; ++which) {
    Manifest newer = manifest;
    if (which == 0) newer.store_format = "999";
    if (which == 1) newer.log_format = 999;
    log::WriteFile(path_ + "/MANIFEST", Encode(newer));
    EXPECT_NE(Refused(base::Code::kIncompatible).find("or newer"), std::string::npos);
  }
}

TEST_F(RestoreTest, IntoSomethingElse) {
  fs::create_directory(target_);
  log::WriteFile(target_ + "/mine", "mine");
  EXPECT_NE(Restore(path_, target_).status().message().find("not empty"), std::string::npos);
  EXPECT_EQ(log::ReadFile(target_ + "/mine"), "mine");
  fs::remove(target_ + "/mine");
  log::WriteFile(target_ + "/" + kRestoringName, "");
  EXPECT_NE(Restore(path_, target_).status().message().find("did not end"), std::string::npos);
  fs::remove(target_ + "/" + kRestoringName);
  EXPECT_TRUE(Restore(path_, target_).ok()) << "empty is as good as absent";
  EXPECT_NE(Restore(path_, dir_.path() + "/no/where").status().message().find("parent"),
            std::string::npos);
}

TEST_F(RestoreTest, StrayFilesAreNotTaken) {
  log::WriteFile(path_ + "/store/stray", "stray");
  ASSERT_TRUE(Restore(path_, target_).ok());
  EXPECT_FALSE(fs::exists(target_ + "/store/stray"));
  EXPECT_FALSE(fs::exists(target_ + "/LOCK")) << "held while it was filled only";
}

}  // namespace
}  // namespace polyarch::backup
