// CLIENT PAUSE: commands of clients, or those that may write, wait for a while. What other leaders
// bring goes on.
#include <algorithm>

#include "base/number.h"
#include "command/families.h"
#include "command/script_run.h"
#include "command/support.h"
#include "command/transaction.h"

namespace polyarch::command {
namespace {

// A year; and UNPAUSE ends it.
constexpr int64_t kPauseMaxMs = 365LL * 24 * 3600 * 1000;

void ClientPause(Context& c) {
  if (c.count() > 4) return ReplySubcommandSyntax(c);
  const bool writes = c.count() == 4 && EqualsIgnoreCase(c.args[3], "write");
  if (c.count() == 4 && !writes && !EqualsIgnoreCase(c.args[3], "all"))
    return c.reply.Error("ERR CLIENT PAUSE mode must be WRITE or ALL");
  const auto millis = ReadInteger(c, c.args[2], "ERR timeout is not an integer or out of range");
  if (!millis) return;
  if (*millis < 0) return c.reply.Error("ERR timeout is negative");
  if (*millis > kPauseMaxMs) return c.reply.Error("ERR timeout is out of range");
  if (writes) {
    // Which functions write nothing is known once their libraries are read.
    ScriptHost host(c, /*read_only=*/true);
    c.cluster.scripts().Libraries(c.keys, host);
  }
  c.cluster.Pause(*millis, writes);
  c.reply.Ok();
}

void ClientUnpause(Context& c) {
  c.cluster.Unpause();
  c.reply.Ok();
}

}  // namespace

bool MayPause(
    const Client& client, const Scripts& scripts, Arguments args, const Row& row, bool writes_only) {
  if (row.handler == ClientUnpause) return false;
  // What is wrong with it is said at once.
  const auto count = static_cast<int>(args.size());
  if (row.arity >= 0 ? count != row.arity : count < -row.arity) return false;
  if (!writes_only || (row.flags & kWrite) != 0) return true;
  if ((row.flags & kRunsScript) != 0) {
    // SCRIPT LOAD and its like are no writes for Redis either.
    return !row.name.ends_with("_ro") && !row.name.starts_with("script|") && !scripts.ReadsOnly(row.name, args[1]);
  }
  if (row.handler == Exec) return client.transaction != nullptr && client.transaction->pauses;
  return MayReplicate(row);
}

void AddClientPauseFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr uint32_t kOperator = kAdmin | kNoScript | kLoading | kStale;
  static constexpr std::string_view kCategories = "@admin @slow @dangerous @connection";
  static constexpr Row kRows[] = {
      {.name = "client|pause", .arity = -3, .flags = kOperator, .categories = kCategories,
       .handler = ClientPause, .summary = "Lets the commands of all clients wait for a while", .since = "2.9.50",
       .group = "connection", .complexity = "O(1)", .syntax = "timeout:integer mode:(WRITE|ALL)?@6.2.0"},
      {.name = "client|unpause", .arity = 2, .flags = kOperator, .categories = kCategories,
       .handler = ClientUnpause, .summary = "Lets waiting commands of clients go on", .since = "6.2.0",
       .group = "connection", .complexity = "O(N) where N is the number of clients that wait"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
