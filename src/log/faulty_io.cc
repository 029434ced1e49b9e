#include "log/faulty_io.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace polyarch::log {

namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kSectorBytes = 512;
constexpr std::string_view kHiddenPrefix = ".unsynced-";

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

// The harness itself must not lose bytes: a real failure here is not one of the simulated ones.
void ReadReal(int fd, uint64_t offset, char* out, size_t size) {
  std::memset(out, 0, size);
  size_t done = 0;
  while (done < size) {
    const ssize_t n = ::pread(fd, out + done, size - done, static_cast<off_t>(offset + done));
    CHECK(n >= 0);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
}

void WriteReal(int fd, uint64_t offset, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = ::pwrite(fd, data, size, static_cast<off_t>(offset));
    CHECK(n > 0);
    data += n;
    offset += static_cast<uint64_t>(n);
    size -= static_cast<size_t>(n);
  }
}

}  // namespace

struct FaultyIo::Inode {
  struct Page {
    std::array<char, kPageBytes> data;
    bool dirty = false;
  };

  ~Inode() {
    if (fd >= 0) ::close(fd);
  }

  // How much of the page at `offset` is inside the file.
  size_t Inside(uint64_t offset) const {
    return offset >= size ? 0 : static_cast<size_t>(std::min<uint64_t>(kPageBytes, size - offset));
  }

  int fd = -1;
  std::string path;       // what the caller calls it, for messages
  std::string real_path;  // where the real file is; hidden until its name is synced
  uint64_t size = 0;
  std::map<uint64_t, std::unique_ptr<Page>>
      pages;  // those which differ, or may, from the real file
};

class FaultyIo::Handle final : public File {
 public:
  Handle(FaultyIo* io, std::shared_ptr<Inode> inode) : io_(io), inode_(std::move(inode)) {}

  base::Result<size_t> ReadAt(uint64_t offset, char* out, size_t size) override {
    std::lock_guard lock(io_->mutex_);
    if (io_->dead_) return base::IoError("power is cut");
    if (offset >= inode_->size) return size_t{0};
    size = static_cast<size_t>(std::min<uint64_t>(size, inode_->size - offset));
    ReadReal(inode_->fd, offset, out, size);
    const uint64_t end = offset + size;
    for (auto it = inode_->pages.lower_bound(offset / kPageBytes);
         it != inode_->pages.end() && it->first * kPageBytes < end;
         ++it) {
      const uint64_t page_start = it->first * kPageBytes;
      const uint64_t from = std::max(offset, page_start);
      const uint64_t to = std::min(end, page_start + kPageBytes);
      std::memcpy(out + (from - offset), it->second->data.data() + (from - page_start), to - from);
    }
    return size;
  }

  base::Status WriteAt(uint64_t offset, std::string_view bytes) override {
    std::lock_guard lock(io_->mutex_);
    if (base::Status s = io_->Count(); !s.ok()) return s;
    base::Status result;
    if (io_->write_failure_.Due()) {
      bytes = bytes.substr(0, io_->random_.Below(bytes.size() + 1));
      result = ErrnoStatus(io_->write_failure_.error, "write", inode_->path);
    }
    while (!bytes.empty()) {
      const uint64_t index = offset / kPageBytes;
      const size_t within = offset % kPageBytes;
      const size_t n = std::min(bytes.size(), kPageBytes - within);
      auto& page = inode_->pages[index];
      if (page == nullptr) {
        page = std::make_unique<Inode::Page>();
        ReadReal(inode_->fd, index * kPageBytes, page->data.data(), kPageBytes);
      }
      std::memcpy(page->data.data() + within, bytes.data(), n);
      page->dirty = true;
      bytes.remove_prefix(n);
      offset += n;
      inode_->size = std::max(inode_->size, offset);
    }
    return result;
  }

  base::Status Allocate(uint64_t size) override {
    std::lock_guard lock(io_->mutex_);
    if (base::Status s = io_->Count(); !s.ok()) return s;
    if (io_->write_failure_.Due()) {
      return ErrnoStatus(io_->write_failure_.error, "allocate", inode_->path);
    }
    // Straight into the real file: that zeros survive a power cut is one of the allowed outcomes.
    if (size > inode_->size) {
      CHECK(::ftruncate(inode_->fd, static_cast<off_t>(size)) == 0);
      inode_->size = size;
    }
    return {};
  }

  base::Status SyncData() override {
    std::lock_guard lock(io_->mutex_);
    if (base::Status s = io_->Count(); !s.ok()) return s;
    if (io_->sync_failure_.Due()) {
      for (auto& [index, page] : inode_->pages)
        page->dirty = false;
      return ErrnoStatus(io_->sync_failure_.error, "sync", inode_->path);
    }
    for (auto it = inode_->pages.begin(); it != inode_->pages.end();) {
      const uint64_t offset = it->first * kPageBytes;
      // Clean pages stay: they are what a failed sync left readable but never wrote.
      if (!it->second->dirty) {
        ++it;
        continue;
      }
      WriteReal(inode_->fd, offset, it->second->data.data(), inode_->Inside(offset));
      it = inode_->pages.erase(it);
    }
    return {};
  }

  base::Result<uint64_t> Size() override {
    std::lock_guard lock(io_->mutex_);
    if (io_->dead_) return base::IoError("power is cut");
    return inode_->size;
  }

 private:
  FaultyIo* const io_;
  const std::shared_ptr<Inode> inode_;
};

FaultyIo::FaultyIo(Options options) : options_(options), random_(options.seed) {}

FaultyIo::~FaultyIo() = default;

void FaultyIo::PowerCut() {
  std::lock_guard lock(mutex_);
  if (!dead_) Cut();
}

void FaultyIo::FailSync(uint64_t n, int error) {
  std::lock_guard lock(mutex_);
  sync_failure_ = {n, error};
}

void FaultyIo::FailWrite(uint64_t n, int error) {
  std::lock_guard lock(mutex_);
  write_failure_ = {n, error};
}

uint64_t FaultyIo::operations() const {
  std::lock_guard lock(mutex_);
  return operations_;
}

base::Status FaultyIo::Count() {
  if (dead_) return base::IoError("power is cut");
  if (++operations_ == options_.cut_at_operation) {
    Cut();
    return base::IoError("power is cut");
  }
  return {};
}

base::Status FaultyIo::LoadDirectory(const std::string& dir) {
  if (directories_.contains(dir)) return {};
  auto names = PosixIo().List(dir);
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    const std::string path = dir + "/" + name;
    if (name.starts_with(kHiddenPrefix)) {
      // Left by a process that lost power before this name was synced.
      if (base::Status s = PosixIo().Unlink(path); !s.ok()) return s;
      continue;
    }
    auto inode = std::make_shared<Inode>();
    inode->fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (inode->fd < 0) return ErrnoStatus(errno, "open", path);
    struct stat info = {};
    if (::fstat(inode->fd, &info) != 0) return ErrnoStatus(errno, "stat", path);
    inode->size = static_cast<uint64_t>(info.st_size);
    inode->path = path;
    inode->real_path = path;
    files_[path] = std::move(inode);
  }
  directories_.insert(dir);
  return {};
}

base::Result<std::shared_ptr<FaultyIo::Inode>> FaultyIo::Find(const std::string& path) {
  if (base::Status s = LoadDirectory(DirectoryOf(path)); !s.ok()) return s;
  auto it = files_.find(path);
  if (it == files_.end()) return ErrnoStatus(ENOENT, "open", path);
  return it->second;
}

base::Result<std::unique_ptr<File>> FaultyIo::Open(const std::string& path, OpenMode mode) {
  std::lock_guard lock(mutex_);
  if (dead_) return base::IoError("power is cut");
  auto found = Find(path);
  if (mode != OpenMode::kCreate) {
    if (!found.ok()) return found.status();
    return std::unique_ptr<File>(std::make_unique<Handle>(this, *found));
  }
  if (found.ok()) return ErrnoStatus(EEXIST, "create", path);
  if (found.status().code() != base::Code::kNotFound) return found.status();
  if (base::Status s = Count(); !s.ok()) return s;
  const std::string dir = DirectoryOf(path);
  auto inode = std::make_shared<Inode>();
  inode->path = path;
  inode->real_path = dir + "/" + std::string(kHiddenPrefix) + std::to_string(++hidden_names_);
  inode->fd = ::open(inode->real_path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (inode->fd < 0) return ErrnoStatus(errno, "create", path);
  files_[path] = inode;
  name_changes_[dir].push_back({inode, path});
  return std::unique_ptr<File>(std::make_unique<Handle>(this, std::move(inode)));
}

base::Status FaultyIo::Rename(const std::string& from, const std::string& to) {
  std::lock_guard lock(mutex_);
  if (base::Status s = Count(); !s.ok()) return s;
  auto found = Find(from);
  if (!found.ok()) return found.status();
  CHECK(DirectoryOf(from) == DirectoryOf(to));
  files_.erase(from);
  files_[to] = *found;
  (*found)->path = to;
  name_changes_[DirectoryOf(to)].push_back({*found, to});
  return {};
}

base::Status FaultyIo::Unlink(const std::string& path) {
  std::lock_guard lock(mutex_);
  if (base::Status s = Count(); !s.ok()) return s;
  auto found = Find(path);
  if (!found.ok()) return found.status();
  files_.erase(path);
  name_changes_[DirectoryOf(path)].push_back({*found, ""});
  return {};
}

base::Status FaultyIo::ApplyNameChange(const NameChange& change) {
  // One atomic call on the real directory each, so that a kill in between leaves a prefix of them.
  if (change.to.empty()) return PosixIo().Unlink(change.inode->real_path);
  base::Status s = PosixIo().Rename(change.inode->real_path, change.to);
  if (s.ok()) change.inode->real_path = change.to;
  return s;
}

base::Status FaultyIo::SyncDirectory(const std::string& dir) {
  std::lock_guard lock(mutex_);
  if (base::Status s = Count(); !s.ok()) return s;
  if (sync_failure_.Due()) return ErrnoStatus(sync_failure_.error, "sync", dir);
  auto& changes = name_changes_[dir];
  for (const NameChange& change : changes) {
    if (base::Status s = ApplyNameChange(change); !s.ok()) return s;
  }
  changes.clear();
  return {};
}

base::Result<std::vector<std::string>> FaultyIo::List(const std::string& dir) {
  std::lock_guard lock(mutex_);
  if (dead_) return base::IoError("power is cut");
  if (base::Status s = LoadDirectory(dir); !s.ok()) return s;
  std::vector<std::string> names;
  for (const auto& [path, inode] : files_) {
    if (DirectoryOf(path) == dir) names.push_back(path.substr(dir.size() + 1));
  }
  return names;
}

void FaultyIo::Cut() {
  dead_ = true;
  std::set<std::shared_ptr<Inode>> inodes;
  for (const auto& [path, inode] : files_)
    inodes.insert(inode);
  std::vector<std::shared_ptr<Inode>> ordered;  // by name, not by address: a seed must reproduce
  for (const auto& [path, inode] : files_)
    ordered.push_back(inode);
  for (const auto& [dir, changes] : name_changes_) {
    for (const NameChange& change : changes) {
      if (inodes.insert(change.inode).second) ordered.push_back(change.inode);
    }
  }
  for (const auto& inode : ordered) {
    for (const auto& [index, page] : inode->pages) {
      if (!page->dirty) continue;
      const uint64_t offset = index * kPageBytes;
      const size_t inside = inode->Inside(offset);
      std::array<char, kPageBytes> on_disk;
      ReadReal(inode->fd, offset, on_disk.data(), kPageBytes);
      switch (random_.Below(6)) {
        case 0:
        case 1:
          on_disk = page->data;
          break;
        case 2:
          std::memcpy(on_disk.data(), page->data.data(), random_.Below(kPageBytes));
          break;
        case 3:
          for (size_t s = 0; s < kPageBytes; s += kSectorBytes) {
            if (random_.Percent(50)) {
              std::memcpy(on_disk.data() + s, page->data.data() + s, kSectorBytes);
            }
          }
          break;
        default:
          continue;
      }
      WriteReal(inode->fd, offset, on_disk.data(), inside);
    }
  }
  for (const auto& [dir, changes] : name_changes_) {
    const uint64_t kept = random_.Below(changes.size() + 1);
    for (uint64_t i = 0; i < kept; ++i)
      CHECK(ApplyNameChange(changes[i]).ok());
  }
  if (options_.abort_on_cut) std::abort();
}

std::unique_ptr<Io> MakePowerCutIo(uint64_t seed, uint64_t cut_at_operation) {
  return std::make_unique<FaultyIo>(FaultyIo::Options{seed, cut_at_operation, true});
}

}  // namespace polyarch::log
