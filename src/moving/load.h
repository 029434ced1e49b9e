// An RDB, from a file or as a source sends it, written to a leader.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "base/function_ref.h"
#include "base/status.h"
#include "moving/leader.h"
#include "rdb/file_reader.h"

namespace polyarch::moving {

struct LoadOptions {
  std::optional<int> database;  // this one alone
  // Of a running source (moving/expiry.h). Else what is past its expiry is passed over.
  bool later_expiry = false;
  // The leader, or that database, is emptied first, once the head has been read: what is no RDB
  // changes nothing.
  bool empty = false;
  // It is to end with its RDB. What follows would be commands of an append-only file.
  bool alone = false;
};

struct LoadCounts {
  uint64_t keys = 0;
  uint64_t expired = 0;
  std::array<bool, Leader::kDatabases> expiring{};  // databases with keys that expire
  uint64_t bytes = 0;                               // of the file
  // A replica passes its master's stream on as it comes: the database in which that stands is told
  // here alone.
  int stream_database = 0;
  std::set<std::string> modules;  // whose data was passed over
};

// `tick` is called now and then, and ends it with an error.
base::Status Load(rdb::FileSource& source,
                  Leader& leader,
                  const LoadOptions& options,
                  uint64_t mark,
                  LoadCounts& counts,
                  base::FunctionRef<base::Status()> tick);

}  // namespace polyarch::moving
