#include "backup/restore.h"

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <unistd.h>

#include "backup/files.h"
#include "engine/rows.h"
#include "log/format.h"

namespace polyarch::backup {

namespace {

const std::atomic<bool> kGoOn{false};

base::Status Damaged(const std::string& what) {
  return base::Corrupt("the backup is damaged: " + what + "; use another copy of it");
}

base::Status Compare(const std::string& path, const FileEntry& wanted, const FileEntry& found) {
  if (found.bytes != wanted.bytes) {
    return Damaged(path + "/" + wanted.name + " has " + std::to_string(found.bytes) +
                   " bytes instead of " + std::to_string(wanted.bytes));
  }
  if (!(found.digest == wanted.digest))
    return Damaged(path + "/" + wanted.name + " fails its checksum");
  return {};
}

base::Status AtFile(const base::Status& status) {
  return status.code() == base::Code::kNotFound ? Damaged(status.message()) : status;
}

base::Status CheckFormats(const Manifest& manifest) {
  if (manifest.store_format != engine::kStoreFormat) {
    return {base::Code::kIncompatible,
            "the backup's store has format " + manifest.store_format +
                ", this version reads format " + engine::kStoreFormat + ": use Polyarch " +
                manifest.polyarch_version + " or newer"};
  }
  if (manifest.log_format > log::kFormatVersion) {
    return {base::Code::kIncompatible,
            "the backup's log has format " + std::to_string(manifest.log_format) +
                ", this version reads format " + std::to_string(log::kFormatVersion) +
                ": use Polyarch " + manifest.polyarch_version + " or newer"};
  }
  return {};
}

base::Result<Manifest> ReadManifest(const std::string& path) {
  auto text = ReadFile(path + "/" + kManifestName, kManifestBytesMax);
  if (!text.ok() && text.status().code() == base::Code::kNotFound) {
    return base::NotFound(path + " is no backup: it has no MANIFEST" +
                          (path.ends_with(".partial")
                               ? "; it is what an interrupted backup left, remove it"
                               : "; give the path that was given to the backup"));
  }
  if (!text.ok()) return text.status();
  auto manifest = Parse(*text);
  if (!manifest.ok()) return manifest.status();
  if (base::Status s = CheckFormats(*manifest); !s.ok()) return s;
  return manifest;
}

base::Status Fill(const std::string& path, const std::string& dir, const Manifest& manifest) {
  for (const char* folder : {"/log", "/store"}) {
    if (base::Status s = MakeDirectory(dir + folder); !s.ok()) return s;
  }
  for (const FileEntry& file : manifest.files) {
    auto copied = CopyFile(path + "/" + file.name, dir + "/" + file.name, kGoOn);
    if (!copied.ok()) return AtFile(copied.status());
    if (base::Status s = Compare(path, file, *copied); !s.ok()) return s;
  }
  for (const char* folder : {"/log", "/store", ""}) {
    if (base::Status s = SyncDirectory(dir + folder); !s.ok()) return s;
  }
  return {};
}

// A server takes the same lock before it looks into its directory.
class DirectoryLock {
 public:
  explicit DirectoryLock(const std::string& dir)
      : path_(dir + "/LOCK"), fd_(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {}
  ~DirectoryLock() {
    if (fd_ < 0) return;
    if (held_) ::unlink(path_.c_str());
    ::close(fd_);
  }
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

  base::Status Take(const std::string& dir) {
    if (fd_ < 0) return Failure("cannot write to " + dir, errno);
    if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) {
      held_ = true;
      return {};
    }
    if (errno != EWOULDBLOCK) return Failure("cannot lock " + path_, errno);
    return base::Invalid(dir + " is in use by another process: stop that one or give another --dir");
  }

 private:
  std::string path_;
  int fd_;
  bool held_ = false;
};

}  // namespace

base::Result<Manifest> Verify(const std::string& path) {
  auto manifest = ReadManifest(path);
  if (!manifest.ok()) return manifest.status();
  for (const FileEntry& file : manifest->files) {
    auto found = Examine(path, file.name, /*sync=*/false, kGoOn);
    if (!found.ok()) return AtFile(found.status());
    if (base::Status s = Compare(path, file, *found); !s.ok()) return s;
  }
  return manifest;
}

base::Result<Manifest> Restore(const std::string& path, const std::string& dir) {
  auto manifest = Verify(path);
  if (!manifest.ok()) return manifest;
  std::error_code error;
  // A link to a directory is as good as the directory.
  const std::string real = std::filesystem::weakly_canonical(dir, error).string();
  if (error) return base::IoError("cannot look at " + dir + " (" + error.message() + ")");
  auto there = Look(real);
  if (!there.ok()) return there.status();
  if (*there == Presence::kSomething) {
    const bool unfinished = ::access((real + "/" + kRestoringName).c_str(), F_OK) == 0;
    return base::Invalid(
        dir + (unfinished ? " holds a restore that did not end: empty it and restore again"
                          : " is not empty: give a directory that is absent or empty"));
  }
  if (*there == Presence::kAbsent) {
    base::Status made = MakeDirectory(real);
    if (!made.ok()) {
      return base::Status(made.code(), made.message() + ": make its parent, or give another --dir");
    }
    if (base::Status s = SyncDirectory(std::filesystem::path(real).parent_path().string()); !s.ok())
      return s;
  }
  DirectoryLock lock(real);
  if (base::Status s = lock.Take(dir); !s.ok()) return s;
  // A server may have begun in it since we looked.
  if (::access((real + "/log").c_str(), F_OK) == 0) {
    return base::Invalid(dir + " is not empty: give a directory that is absent or empty");
  }
  const std::string marker = real + "/" + kRestoringName;
  if (base::Status s = WriteFile(marker, "polyarch restore has not ended here\n"); !s.ok())
    return s;
  if (base::Status s = SyncDirectory(real); !s.ok()) return s;
  if (base::Status s = Fill(path, real, *manifest); !s.ok()) return s;
  if (::unlink(marker.c_str()) != 0) return Failure("cannot remove " + marker, errno);
  if (base::Status s = SyncDirectory(real); !s.ok()) return s;
  return manifest;
}

}  // namespace polyarch::backup
