// What one leader says of itself and of the others, taken by a few commands: the stuff of `status`
// and `top`.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "cli/connection.h"
#include "resp/reply.h"

namespace polyarch::cli {

using Fields = std::map<std::string, std::string, std::less<>>;

// No leader tells a lag that is longer.
inline constexpr int64_t kLagMsMax = 30'000;

struct LeaderRow {
  std::string id;
  std::string address;
  std::string incarnation;  // empty: the leader that was asked does not know it
  std::string state;
  std::string link;  // up, cut, delayed, ... at the leader that was asked
  int64_t lag_changes = 0;
  int64_t lag_ms = 0;           // at most about kLagMsMax
  int64_t unreachable_ms = -1;  // -1: in reach, or the leader that was asked does not say
  std::optional<int64_t> clock_difference_ms;  // not known without a link
  bool self = false;
  Fields traffic;               // INFO's line of the link: bytes_in, bytes_out, ...
  int64_t retained_bytes = -1;  // of the log, kept for it; -1: the leader does not say
  bool counts = false;          // as a member: purging and retirements wait for what it confirms
  int64_t unclaimed = 0;        // changes applied here that it has not claimed
  uint64_t changes = 0;         // of its origins that the vector lists: not of folded ones
};

struct Snapshot {
  int64_t mono_ms = 0;  // when
  Fields info;          // every line of INFO
  std::vector<LeaderRow> leaders;
  resp::Value raw_leaders;  // LEADER LIST as it came
  std::string vv;

  std::string Text(std::string_view name) const;
  int64_t Number(std::string_view name) const;  // 0 if there is none
  bool Has(std::string_view name) const { return info.find(name) != info.end(); }
  const LeaderRow* self() const;
  // The members without which more could be purged, farthest behind first.
  std::vector<const LeaderRow*> HoldingBack() const;
};

base::Result<Snapshot> Take(Connection& connection);
// From the replies of LEADER LIST, INFO and POLYARCH VV.
Snapshot Read(const resp::Value& leaders, std::string_view info, std::string_view vv);

// "a=1,b=x" as fields.
Fields SplitFields(std::string_view text);

}  // namespace polyarch::cli
