#include "backup/job.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

#include "backup/files.h"
#include "log/export.h"
#include "log/io.h"

namespace polyarch::backup {

namespace {

constexpr size_t kPathBytesMax = 2000;  // with a file's name below it, within PATH_MAX

// What this thread does is never urgent: clients and replication come first. What cannot be had is
// done without.
void StepBack() {
  const auto thread = static_cast<id_t>(::syscall(SYS_gettid));
  static_cast<void>(::setpriority(PRIO_PROCESS, thread, 10));
  constexpr int kWhoProcess = 1;
  constexpr int kLowestBestEffort = (2 << 13) | 7;
  static_cast<void>(::syscall(SYS_ioprio_set, kWhoProcess, 0, kLowestBestEffort));
}

std::string Mebibytes(uint64_t bytes) {
  return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB";
}

}  // namespace

base::Result<std::string> CheckPath(std::string_view path) {
  if (path.empty() || path.front() != '/') {
    return base::Invalid(
        "a backup needs an absolute path on the leader's machine, such as /var/backups/eu-1");
  }
  if (path.size() > kPathBytesMax) {
    return base::Invalid("a backup's path has at most " + std::to_string(kPathBytesMax) + " bytes");
  }
  for (char c : path) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      return base::Invalid("a backup's path must not hold control characters");
    }
  }
  while (path.size() > 1 && path.back() == '/')
    path.remove_suffix(1);
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at + 1), path.size());
    const std::string_view part = path.substr(at + 1, end - at - 1);
    if (part.empty() || part == "." || part == "..") {
      return base::Invalid("a backup's path must not hold '//', '.' or '..'");
    }
    at = end;
  }
  return std::string(path);
}

Job::Job(Options options, storage::RocksStore& store)
    : options_(std::move(options)), store_(store), partial_(options_.path + ".partial") {
  thread_ = std::thread([this] { Run(); });
}

Job::~Job() {
  {
    const std::lock_guard lock(mutex_);
    cancelled_.store(true);
  }
  answered_.notify_one();
  thread_.join();
}

void Job::Cancel(base::Status reason) {
  {
    const std::lock_guard lock(mutex_);
    reason_ = std::move(reason);
    cancelled_.store(true);
  }
  answered_.notify_one();
}

void Job::HaveCheckpoint(log::Position checkpoint) {
  options_.manifest.checkpoint = checkpoint;
  Answer();
}

void Job::CopyAgain() {
  copy_again_ = true;
  Answer();
}

void Job::HaveCut(log::Position end, std::string vv, int64_t taken_ms) {
  options_.manifest.log_end = end;
  options_.manifest.vv = std::move(vv);
  options_.manifest.taken_ms = taken_ms;
  Answer();
}

void Job::Answer() {
  {
    const std::lock_guard lock(mutex_);
    wants_.store(Want::kNothing, std::memory_order_release);
  }
  answered_.notify_one();
}

base::Status Job::Await(Want want) {
  std::unique_lock lock(mutex_);
  wants_.store(want, std::memory_order_release);
  options_.wake();
  answered_.wait(lock, [this] { return wants_.load() == Want::kNothing || cancelled_.load(); });
  if (cancelled_.load()) return reason_;
  return {};
}

void Job::Run() {
  StepBack();
  base::Result<Manifest> result = Make();
  if (!result.ok() && made_partial_) {
    std::error_code ignored;
    std::filesystem::remove_all(partial_, ignored);
  }
  const std::lock_guard lock(mutex_);
  if (!result.ok() && cancelled_.load()) result = reason_;
  result_ = std::move(result);
  wants_.store(Want::kEnd, std::memory_order_release);
  options_.wake();
}

base::Result<Manifest> Job::Make() {
  Manifest& manifest = options_.manifest;
  if (base::Status s = Prepare(); !s.ok()) return s;
  if (base::Status s = Await(Want::kCheckpoint); !s.ok()) return s;
  if (!same_disk_) {
    auto bytes = StoreBytes();
    if (!bytes.ok()) return bytes.status();
    if (base::Status s = CheckSpace(*bytes); !s.ok()) return s;
  }
  do {
    copy_again_ = false;
    std::error_code error;
    std::filesystem::remove_all(partial_ + "/store", error);
    if (error) return base::IoError("cannot remove " + partial_ + "/store: " + error.message());
    if (base::Status s = store_.CopyTo(partial_ + "/store", &cancelled_); !s.ok()) return s;
    if (base::Status s = Await(Want::kCut); !s.ok()) return s;
  } while (copy_again_);

  const std::string log_dir = options_.data_dir + "/log";
  auto bytes = log::ExportBytes(log::PosixIo(), log_dir, manifest.checkpoint, manifest.log_end);
  if (!bytes.ok()) return bytes.status();
  if (base::Status s = CheckSpace(*bytes); !s.ok()) return s;
  if (base::Status s = MakeDirectory(partial_ + "/log"); !s.ok()) return s;
  auto exported = log::ExportLog(log::PosixIo(),
                                 log_dir,
                                 manifest.checkpoint,
                                 manifest.log_end,
                                 partial_ + "/log",
                                 cancelled_);
  if (!exported.ok()) return exported.status();
  // Before that, what was copied was pinned.
  if (cancelled_.load()) return base::Status(base::Code::kBusy, "cancelled");
  manifest.log_begin = exported->begin;

  for (const char* folder : {"log", "store"}) {
    if (base::Status s = AddFiles(folder); !s.ok()) return s;
  }
  if (base::Status s = WriteFile(partial_ + "/" + kManifestName, Encode(manifest)); !s.ok())
    return s;
  if (base::Status s = SyncDirectory(partial_); !s.ok()) return s;
  // Onto nothing, or onto an empty directory; never onto anything else.
  if (std::rename(partial_.c_str(), options_.path.c_str()) != 0) {
    return Failure("cannot rename " + partial_ + " to " + options_.path, errno);
  }
  made_partial_ = false;
  const std::string parent = std::filesystem::path(options_.path).parent_path().string();
  if (base::Status s = SyncDirectory(parent); !s.ok()) return s;
  return manifest;
}

base::Status Job::Prepare() {
  const std::filesystem::path path(options_.path);
  std::error_code error;
  const std::filesystem::path parent = std::filesystem::canonical(path.parent_path(), error);
  if (error) {
    return base::IoError("cannot make a backup in " + path.parent_path().string() + " (" +
                         error.message() + "): make the directory, or give another path");
  }
  const std::filesystem::path data = std::filesystem::canonical(options_.data_dir, error);
  if (error)
    return base::IoError("cannot look at " + options_.data_dir + " (" + error.message() + ")");
  const auto [data_end, unused] =
      std::mismatch(data.begin(), data.end(), parent.begin(), parent.end());
  if (data_end == data.end() || parent / path.filename() == data) {
    return base::Invalid(
        "a backup does not belong into the leader's own directory: give another path");
  }
  struct stat parent_info {};
  struct stat data_info {};
  if (::stat(parent.c_str(), &parent_info) != 0)
    return Failure("cannot look at " + parent.string(), errno);
  if (::stat(data.c_str(), &data_info) != 0)
    return Failure("cannot look at " + data.string(), errno);
  same_disk_ = parent_info.st_dev == data_info.st_dev;

  auto there = Look(options_.path);
  if (!there.ok()) return there.status();
  if (*there == Presence::kSomething) {
    return base::Invalid(options_.path + " is there already and not empty: give another path");
  }
  there = Look(partial_);
  if (!there.ok()) return there.status();
  if (*there != Presence::kAbsent) {
    return base::Invalid(
        partial_ + " is left from a backup that did not end: remove it, or give another path");
  }
  base::Status made = MakeDirectory(partial_);
  if (!made.ok()) {
    return {
        made.code(),
        made.message() + ": give the server's user the right to write there, or give another path"};
  }
  made_partial_ = true;
  return {};
}

base::Result<uint64_t> Job::StoreBytes() const {
  uint64_t bytes = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator it(options_.data_dir + "/store", error), end;
       !error && it != end;
       it.increment(error)) {
    std::error_code gone;  // a file may go meanwhile
    const uint64_t size = it->file_size(gone);
    if (!gone) bytes += size;
  }
  if (error) return base::IoError("cannot look at the store (" + error.message() + ")");
  return bytes;
}

base::Status Job::CheckSpace(uint64_t bytes) const {
  struct statvfs space {};
  if (::statvfs(partial_.c_str(), &space) != 0) return Failure("cannot look at " + partial_, errno);
  const uint64_t free_bytes = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
  const uint64_t reserve = same_disk_ ? options_.reserve_bytes : 0;
  if (free_bytes >= bytes + reserve) return {};
  return {base::Code::kFull,
          "too little room for a backup in " + options_.path + ": it needs " + Mebibytes(bytes) +
              (reserve > 0 ? " and " + Mebibytes(reserve) + " in reserve for the leader" : "") +
              ", " + Mebibytes(free_bytes) + " are free: make room, or give another path"};
}

base::Status Job::AddFiles(const std::string& folder) {
  const std::string dir = partial_ + "/" + folder;
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(dir, error), end; !error && it != end;
       it.increment(error))
    names.push_back(folder + "/" + it->path().filename().string());
  if (error) return base::IoError("cannot list " + dir + " (" + error.message() + ")");
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    auto entry = Examine(partial_, name, /*sync=*/true, cancelled_);
    if (!entry.ok()) return entry.status();
    options_.manifest.files.push_back(std::move(*entry));
  }
  return SyncDirectory(dir);
}

}  // namespace polyarch::backup
