#include "backup/files.h"

#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace polyarch::backup {

namespace {

constexpr size_t kChunkBytes = 1 << 20;

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  const int fd_;
};

base::Status WriteAll(int fd, const char* bytes, size_t size, const std::string& path) {
  while (size > 0) {
    const ssize_t n = ::write(fd, bytes, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Failure("cannot write " + path, n < 0 ? errno : EIO);
    bytes += n;
    size -= static_cast<size_t>(n);
  }
  return {};
}

// Reads `path` once; what is read goes to `copy_fd` as well, unless that is -1.
base::Result<FileEntry> Pass(const std::string& path,
                             int copy_fd,
                             const std::string& copy_path,
                             bool sync,
                             const std::atomic<bool>& cancelled) {
  // O_NONBLOCK: a pipe of that name must not hold us.
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat info {};
  if (!fd.ok() || ::fstat(fd.get(), &info) != 0) {
    const int error = errno;
    if (error == ENOENT) return base::NotFound(path + " is missing");
    return Failure("cannot read " + path, error);
  }
  if (!S_ISREG(info.st_mode)) return base::NotFound(path + " is not a plain file");
  FileEntry entry;
  base::ContentHasher128 hasher;
  const auto buffer = std::make_unique_for_overwrite<char[]>(kChunkBytes);
  for (;;) {
    if (cancelled.load(std::memory_order_relaxed)) {
      return base::Status(base::Code::kBusy, "cancelled");
    }
    const ssize_t n = ::read(fd.get(), buffer.get(), kChunkBytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failure("cannot read " + path, errno);
    if (n == 0) break;
    hasher.Add({buffer.get(), static_cast<size_t>(n)});
    entry.bytes += static_cast<uint64_t>(n);
    if (copy_fd < 0) continue;
    if (base::Status s = WriteAll(copy_fd, buffer.get(), static_cast<size_t>(n), copy_path);
        !s.ok())
      return s;
  }
  if (sync && ::fsync(fd.get()) != 0) return Failure("cannot sync " + path, errno);
  entry.digest = hasher.Value();
  return entry;
}

}  // namespace

base::Status Failure(const std::string& what, int error) {
  const auto code = error == ENOSPC || error == EDQUOT ? base::Code::kFull : base::Code::kIo;
  return {code, what + " (" + std::strerror(error) + ")"};
}

base::Result<FileEntry> Examine(const std::string& dir,
                                const std::string& name,
                                bool sync,
                                const std::atomic<bool>& cancelled) {
  auto entry = Pass(dir + "/" + name, -1, "", sync, cancelled);
  if (entry.ok()) entry->name = name;
  return entry;
}

base::Result<FileEntry> CopyFile(const std::string& from,
                                 const std::string& to,
                                 const std::atomic<bool>& cancelled) {
  Fd fd(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.ok()) return Failure("cannot create " + to, errno);
  auto entry = Pass(from, fd.get(), to, false, cancelled);
  if (entry.ok() && ::fsync(fd.get()) != 0) return Failure("cannot sync " + to, errno);
  return entry;
}

base::Status WriteFile(const std::string& path, const std::string& bytes) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.ok()) return Failure("cannot create " + path, errno);
  if (base::Status s = WriteAll(fd.get(), bytes.data(), bytes.size(), path); !s.ok()) return s;
  if (::fsync(fd.get()) != 0) return Failure("cannot sync " + path, errno);
  return {};
}

base::Result<std::string> ReadFile(const std::string& path, size_t bytes_max) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (!fd.ok() || ::fstat(fd.get(), &info) != 0) {
    const int error = errno;
    if (error == ENOENT || error == ENOTDIR) return base::NotFound(path + " is missing");
    return Failure("cannot read " + path, error);
  }
  if (!S_ISREG(info.st_mode)) return base::NotFound(path + " is not a plain file");
  std::string bytes;
  const auto buffer = std::make_unique_for_overwrite<char[]>(kChunkBytes);
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer.get(), kChunkBytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failure("cannot read " + path, errno);
    if (n == 0) return bytes;
    bytes.append(buffer.get(), static_cast<size_t>(n));
    if (bytes.size() > bytes_max) return base::Corrupt(path + " is too long");
  }
}

base::Status SyncDirectory(const std::string& dir) {
  Fd fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.ok() || ::fsync(fd.get()) != 0) return Failure("cannot sync " + dir, errno);
  return {};
}

base::Status MakeDirectory(const std::string& dir) {
  if (::mkdir(dir.c_str(), 0700) == 0) return {};
  return Failure("cannot create the directory " + dir, errno);
}

base::Result<Presence> Look(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return Presence::kAbsent;
    return Failure("cannot look at " + path, errno);
  }
  if (!S_ISDIR(info.st_mode)) return Presence::kSomething;
  DIR* dir = ::opendir(path.c_str());
  if (dir == nullptr) return Failure("cannot look at " + path, errno);
  Presence found = Presence::kEmpty;
  while (const dirent* entry = ::readdir(dir)) {
    if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0)
      found = Presence::kSomething;
  }
  ::closedir(dir);
  return found;
}

}  // namespace polyarch::backup
