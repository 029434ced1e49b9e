#include "server/seat.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <string_view>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

namespace polyarch::server {

namespace {

constexpr char kName[] = "/seat";
constexpr char kNewName[] = "/seat.new";
constexpr std::string_view kHolder = "holder ";

// What the file at this descriptor ought to say; empty if it cannot be told.
std::string TextOf(int fd) {
  struct statx x {};
  struct statfs fs {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &x) != 0 || ::fstatfs(fd, &fs) != 0)
    return "";
  // Where births are not kept, inode and file system must do.
  const bool born = (x.stx_mask & STATX_BTIME) != 0;
  uint32_t id[2];
  static_assert(sizeof id == sizeof fs.f_fsid);
  std::memcpy(id, &fs.f_fsid, sizeof id);
  return "polyarch-seat 1 inode " + std::to_string(x.stx_ino) + " born " +
         (born ? std::to_string(x.stx_btime.tv_sec) + "." + std::to_string(x.stx_btime.tv_nsec)
               : "unknown") +
         " filesystem " + std::to_string(id[0]) + "." + std::to_string(id[1]) + "\n";
}

bool SyncFolder(const std::string& dir) {
  const int folder = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = folder >= 0 && ::fsync(folder) == 0;
  if (folder >= 0) ::close(folder);
  return synced;
}

base::Status Failure(const std::string& path) {
  return base::IoError("cannot write " + path + " (" + std::strerror(errno) +
                       "): give the user the right to it");
}

}  // namespace

bool IsOwnSeat(const std::string& dir) {
  return HolderOfSeat(dir).has_value();
}

std::optional<uint64_t> HolderOfSeat(const std::string& dir) {
  const int fd = ::open((dir + kName).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  char buffer[512];
  const ssize_t size = ::read(fd, buffer, sizeof buffer);
  const std::string place = TextOf(fd);
  ::close(fd);
  if (size <= 0 || place.empty()) return std::nullopt;
  const std::string_view text(buffer, static_cast<size_t>(size));
  // Files of before there was a number have none: the place itself gives it.
  if (text == place) return std::hash<std::string>()(place) | 1;
  if (!text.starts_with(place) || !text.substr(place.size()).starts_with(kHolder) || !text.ends_with('\n')) return std::nullopt;
  const std::string_view digits = text.substr(place.size() + kHolder.size(), text.size() - place.size() - kHolder.size() - 1);
  uint64_t holder = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), holder);
  if (error != std::errc() || end != digits.data() + digits.size() || holder == 0) return std::nullopt;
  return holder;
}

base::Status ClaimSeat(const std::string& dir, uint64_t holder) {
  const std::string path = dir + kNewName;
  (void)::unlink(path.c_str());
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return Failure(path);
  const std::string text = TextOf(fd) + std::string(kHolder) + std::to_string(holder) + "\n";
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                       ::fsync(fd) == 0;
  ::close(fd);
  if (!written || ::rename(path.c_str(), (dir + kName).c_str()) != 0) return Failure(path);
  return SyncFolder(dir) ? base::Status() : Failure(dir);
}

base::Status AbandonSeat(const std::string& dir) {
  if (::unlink((dir + kName).c_str()) != 0 && errno != ENOENT) return Failure(dir + kName);
  return SyncFolder(dir) ? base::Status() : Failure(dir);
}

}  // namespace polyarch::server
