// SYNC: reads and questions about keys on which leaders agree.
#include "command/polyarch.h"
#include "command/support.h"

namespace polyarch::command {

namespace {

void SyncRead(Context& c) {
  if (c.cluster.agreed() == nullptr) return c.reply.Error("ERR this leader agrees with nobody");
  c.cluster.agreed()->AskRead(c, c.args[2]);
}

void SyncOutcome(Context& c) {
  const std::optional<clock::Ballot> name = clock::Ballot::Parse(c.args[3]);
  if (!name) {
    return c.reply.Error(
        "ERR that is no name of a write; it stands behind 'in doubt' in the answer TIMEOUT");
  }
  if (c.cluster.agreed() == nullptr) return c.reply.Error("ERR this leader agrees with nobody");
  c.cluster.agreed()->AskOutcome(c, c.args[2], *name);
}

}  // namespace

void AddSyncRows(std::vector<Row>& rows) {
  static constexpr Row kRows[] = {
      {.name = "sync",
       .arity = -2,
       .categories = "@slow",
       .summary = "Reads and questions about keys under policy 'sync'",
       .since = "polyarch 0.1.0",
       .group = "polyarch",
       .complexity = "Depends on the subcommand"},
      {.name = "sync|read",
       .arity = 3,
       .flags = kReadonly | kNoScript | kBlocking | kNoMulti,
       .keys = {2, 2, 1},
       .categories = "@read @slow @blocking",
       .handler = SyncRead,
       .summary = "Returns the value that a majority of the electors holds, and its version",
       .since = "polyarch 0.1.0",
       .group = "polyarch",
       .complexity = "O(N) where N is the size of the value, and one or two round trips",
       .syntax = "key:key",
       .key_access = "RO access"},
      {.name = "sync|outcome",
       .arity = 4,
       .flags = kReadonly | kNoScript | kBlocking | kNoMulti,
       .keys = {2, 2, 1},
       .categories = "@read @slow @blocking",
       .handler = SyncOutcome,
       .summary = "Tells how a write in doubt ended: 1 it took effect, 0 it never will, nil it is "
                  "too long ago",
       .since = "polyarch 0.1.0",
       .group = "polyarch",
       .complexity = "O(1), and two round trips",
       .syntax = "key:key name",
       .key_access = "RO"},
      {.name = "sync|help",
       .arity = 2,
       .flags = kLoading | kStale,
       .categories = "@slow",
       .handler = ContainerHelp,
       .summary = "Print this help",
       .since = "polyarch 0.1.0",
       .group = "polyarch",
       .complexity = "O(1)"},
  };
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
  // redis-cli takes SYNC for the request of a replica, whatever stands behind it.
  for (const auto& [of, name] : {std::pair("sync|read", "polyarch|read"), std::pair("sync|outcome", "polyarch|outcome")}) {
    Row row = *std::find_if(std::begin(kRows), std::end(kRows), [&](const Row& r) { return std::string_view(r.name) == of; });
    row.name = name;
    rows.push_back(row);
  }
}

}  // namespace polyarch::command
