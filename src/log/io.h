// The files of the log, behind a seam: what a log needs of an operating system, and no more. There
// are two implementations: POSIX, and one that can lose power and fail (log/faulty_io.h).
//
// Nothing is durable before it was asked for: bytes by File::SyncData, names (created, renamed,
// unlinked) by Io::SyncDirectory. After a failed SyncData the state of the file is unknown, and a
// second SyncData may succeed without having written anything: callers never retry it.
//
// Both classes may be used by several threads at once. Failures are kIo, kFull (no space, quota) or
// kNotFound (no such file), with the operation and the path in the message.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace polyarch::log {

// An open file; closed by its destructor. Survives renaming and unlinking of its name.
class File {
 public:
  virtual ~File() = default;

  // Fills `out` from `offset` on; returns how many bytes there were, less than `size` only at the
  // end of the file.
  virtual base::Result<size_t> ReadAt(uint64_t offset, char* out, size_t size) = 0;
  // All of `bytes`, or an error with any part of them written.
  virtual base::Status WriteAt(uint64_t offset, std::string_view bytes) = 0;
  // The file has at least `size` bytes, with space reserved for them; new ones read as zeros.
  virtual base::Status Allocate(uint64_t size) = 0;
  virtual base::Status SyncData() = 0;
  virtual base::Result<uint64_t> Size() = 0;
};

enum class OpenMode {
  kRead,
  kWrite,   // read and write; the file exists
  kCreate,  // read and write; the file does not exist yet
};

class Io {
 public:
  virtual ~Io() = default;

  virtual base::Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) = 0;
  // Replaces `to` if it exists. Both are in the same directory.
  virtual base::Status Rename(const std::string& from, const std::string& to) = 0;
  virtual base::Status Unlink(const std::string& path) = 0;
  virtual base::Status SyncDirectory(const std::string& dir) = 0;
  // The names of the regular files in `dir`, sorted.
  virtual base::Result<std::vector<std::string>> List(const std::string& dir) = 0;
};

// The operating system's. Stateless, lives for ever.
Io& PosixIo();

// The status for `error` (an errno) of `operation` on `path`.
base::Status ErrnoStatus(int error, std::string_view operation, std::string_view path);

}  // namespace polyarch::log
