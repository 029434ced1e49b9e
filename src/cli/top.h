// `polyarch top`: frames made from snapshots.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/snapshot.h"

namespace polyarch::cli {

struct FrameOptions {
  size_t height = 24;
  bool styled = false;  // bold titles, inverse alarms
  std::string notice;   // one line above all else: "cannot reach ..."
};

// `before` is an earlier snapshot of the same process, for rates. What does not fit is left out
// from the end of the list of leaders; the state lines stay.
std::vector<std::string> Frame(const Snapshot& now,
                               const std::optional<Snapshot>& before,
                               const FrameOptions& options);

}  // namespace polyarch::cli
