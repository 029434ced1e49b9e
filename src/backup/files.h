// Files of a backup: copied, checksummed, synced. Blocking; errors name the path and the cause.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "backup/manifest.h"
#include "base/status.h"

namespace polyarch::backup {

// Size and digest of `dir`/`name`; syncs the file if `sync`. kNotFound when it is not there or is
// not a plain file, kBusy when `cancelled` became true.
base::Result<FileEntry> Examine(const std::string& dir,
                                const std::string& name,
                                bool sync,
                                const std::atomic<bool>& cancelled);

// Copies a file to one that does not exist, synced. The entry says what was copied.
base::Result<FileEntry> CopyFile(const std::string& from,
                                 const std::string& to,
                                 const std::atomic<bool>& cancelled);

// A new file with these bytes, synced.
base::Status WriteFile(const std::string& path, const std::string& bytes);
base::Result<std::string> ReadFile(const std::string& path, size_t bytes_max);

base::Status SyncDirectory(const std::string& dir);
// A directory that does not exist yet, for this user alone (0700).
base::Status MakeDirectory(const std::string& dir);

enum class Presence { kAbsent, kEmpty, kSomething };
// What is at `path`: a file, a directory with anything in it, or a dangling link is kSomething.
base::Result<Presence> Look(const std::string& path);

// A command's error: "cannot create PATH (No such file or directory)".
base::Status Failure(const std::string& what, int error);

}  // namespace polyarch::backup
