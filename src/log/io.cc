#include "log/io.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace polyarch::log {

namespace {

constexpr int kNapMs = 5;
constexpr int kNapsMax = 1000;

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override { ::close(fd_); }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  base::Result<size_t> ReadAt(uint64_t offset, char* out, size_t size) override {
    size_t done = 0;
    while (done < size) {
      const ssize_t n = ::pread(fd_, out + done, size - done, static_cast<off_t>(offset + done));
      if (n == 0) break;
      if (n < 0) {
        if (errno == EINTR) continue;
        return ErrnoStatus(errno, "read", path_);
      }
      done += static_cast<size_t>(n);
    }
    return done;
  }

  base::Status WriteAt(uint64_t offset, std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (n < 0) {
        if (errno == EINTR) continue;
        return ErrnoStatus(errno, "write", path_);
      }
      if (n == 0) return ErrnoStatus(EIO, "write", path_);
      bytes.remove_prefix(static_cast<size_t>(n));
      offset += static_cast<uint64_t>(n);
    }
    return {};
  }

  base::Status Allocate(uint64_t size) override {
    // posix_fallocate and not fallocate: where the file system has no such call, it writes zeros.
    int error = 0;
    do {
      error = ::posix_fallocate(fd_, 0, static_cast<off_t>(size));
    } while (error == EINTR);
    return error == 0 ? base::Status() : ErrnoStatus(error, "allocate", path_);
  }

  base::Status SyncData() override {
    // Not even EINTR is tried again: see the head of io.h.
    return ::fdatasync(fd_) == 0 ? base::Status() : ErrnoStatus(errno, "sync", path_);
  }

  base::Result<uint64_t> Size() override {
    struct stat info = {};
    if (::fstat(fd_, &info) != 0) return ErrnoStatus(errno, "stat", path_);
    return static_cast<uint64_t>(info.st_size);
  }

 private:
  const int fd_;
  const std::string path_;
};

class Posix final : public Io {
 public:
  base::Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    int flags = O_CLOEXEC | (mode == OpenMode::kRead ? O_RDONLY : O_RDWR);
    if (mode == OpenMode::kCreate) flags |= O_CREAT | O_EXCL;
    const int fd = ::open(path.c_str(), flags, 0600);
    if (fd < 0) return ErrnoStatus(errno, mode == OpenMode::kCreate ? "create" : "open", path);
    return std::unique_ptr<File>(std::make_unique<PosixFile>(fd, path));
  }

  base::Status Rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return ErrnoStatus(errno, "rename", from);
    return {};
  }

  base::Status Unlink(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) return ErrnoStatus(errno, "unlink", path);
    return {};
  }

  base::Status SyncDirectory(const std::string& dir) override {
    // No descriptor to be had for a moment is no failed sync: that would be final.
    int fd = -1;
    for (int naps = 0; naps <= kNapsMax; ++naps) {
      fd = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (fd >= 0 || (errno != EMFILE && errno != ENFILE)) break;
      ::poll(nullptr, 0, kNapMs);
    }
    if (fd < 0) return ErrnoStatus(errno, "open", dir);
    const int error = ::fsync(fd) == 0 ? 0 : errno;
    ::close(fd);
    return error == 0 ? base::Status() : ErrnoStatus(error, "sync", dir);
  }

  base::Result<std::vector<std::string>> List(const std::string& dir) override {
    DIR* handle = ::opendir(dir.c_str());
    if (handle == nullptr) return ErrnoStatus(errno, "list", dir);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(handle)) {
      struct stat info = {};
      if (::fstatat(::dirfd(handle), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
          S_ISREG(info.st_mode)) {
        names.emplace_back(entry->d_name);
      }
      errno = 0;
    }
    const int error = errno;
    ::closedir(handle);
    if (error != 0) return ErrnoStatus(error, "list", dir);
    std::sort(names.begin(), names.end());
    return names;
  }
};

}  // namespace

Io& PosixIo() {
  static Posix io;
  return io;
}

base::Status ErrnoStatus(int error, std::string_view operation, std::string_view path) {
  base::Code code = base::Code::kIo;
  if (error == ENOSPC || error == EDQUOT) code = base::Code::kFull;
  if (error == EMFILE || error == ENFILE) code = base::Code::kBusy;
  if (error == ENOENT) code = base::Code::kNotFound;
  std::string message = "cannot ";
  message.append(operation).append(" ").append(path).append(": ").append(std::strerror(error));
  return {code, std::move(message)};
}

}  // namespace polyarch::log
