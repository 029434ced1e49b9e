// Copies a part of a log that is in use, so that the copy is a log of its own: for backups.
//
// Runs on any thread beside the log's own. It reads what is durable only, from files that are not
// changed below that any more; the caller sees to it that none of them is trimmed meanwhile
// (SegmentedLog::Pin). Every record is verified on the way: what is damaged on the disk is noticed
// when it is copied, not when it is needed.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "log/io.h"
#include "log/log.h"

namespace polyarch::log {

struct Exported {
  Position begin = 0;  // where the copy begins: the start of the segment that holds `from`
  uint64_t bytes = 0;  // of all files
  std::vector<std::string> names;
};

// How many bytes ExportLog would write.
base::Result<uint64_t> ExportBytes(Io& io, const std::string& dir, Position from, Position to);

// Copies the segments of the log in `dir` that hold [from, to) into `target`, an empty directory,
// and cuts the last one off at `to`. Both are starts of records, and `to` is durable. Nothing is
// synced. kCorrupt when a record fails its checksum, kNotFound when the log begins after `from`,
// kBusy when `cancelled` became true.
base::Result<Exported> ExportLog(Io& io,
                                 const std::string& dir,
                                 Position from,
                                 Position to,
                                 const std::string& target,
                                 const std::atomic<bool>& cancelled);

}  // namespace polyarch::log
