// Reads the segments of a log after a start, decides where the log ends, and repairs what a power
// cut left behind it.
//
// A record that fails its checksum is the torn tail of a power cut, unless there is proof that it
// was durable once: a later record or segment header, or what the caller knows, that names a
// durable position beyond it. With proof, acknowledged data is lost and Recover refuses (kCorrupt).
// Without, the log ends there; whatever follows is dropped, and its bytes are overwritten so that
// they cannot be taken for records once the log has grown past them.
//
// On return everything below `end` is durable. That is not just a sync: the last process may have
// died of a failed one, after which the kernel may count pages as clean that never reached the
// disk. So what no record proves durable is written again before it is synced.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "log/io.h"
#include "log/log.h"

namespace polyarch::log {

struct RecoveredSegment {
  Position start = 0;
  std::string path;
  std::string head;
  uint32_t data_offset = 0;
  uint64_t file_bytes = 0;
};

struct Recovery {
  std::vector<RecoveredSegment> segments;  // oldest first; none: there is no log yet
  Position end = 0;
  uint64_t bytes_dropped = 0;
  std::vector<std::string> spares;  // paths
};

// Verifies all records of the segments that reach beyond `verify_from`, and only the headers of
// those before. Both positions are known to have been durable: a log that ends before either is refused. kCorrupt,
// kIncompatible, or what the environment says; each with what to do about it.
base::Result<Recovery> Recover(Io& io, const std::string& dir, Position verify_from, Position durable = 0);

}  // namespace polyarch::log
