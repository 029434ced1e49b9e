// A source and a leader, compared key by key: type, value, time to live.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "cli/connection.h"
#include "moving/progress.h"
#include "moving/stop.h"
#include "rdb/value.h"

namespace polyarch::moving {

struct VerifyOptions {
  std::optional<int> database;
  bool others_allowed = false;  // keys that the leader alone has are no difference
  int64_t ttl_tolerance_ms = 1000;
};

struct VerifyReport {
  uint64_t keys = 0;
  uint64_t differences = 0;
  std::vector<std::string> lines;  // of the first ones, for people
};

// Keys that differ are looked at again, twice, a second later: both may be written to meanwhile.
base::Result<VerifyReport> Verify(const cli::Target& source,
                                  const cli::Target& leader,
                                  const VerifyOptions& options,
                                  Progress& progress,
                                  const Stop& stop);

// What differs between two values, for people; empty: nothing. Order counts in lists and streams
// alone; when a consumer was seen last, and what a HyperLogLog has cached, do not count; when
// something was delivered counts to within a second.
std::string DifferenceOf(rdb::Value a, rdb::Value b);

}  // namespace polyarch::moving
