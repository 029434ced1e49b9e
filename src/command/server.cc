// The process: TIME, SHUTDOWN, SAVE and its relatives (mapped to checkpoints), ROLE,
// LOLWUT.
#include <algorithm>

#include "base/random.h"
#include "command/families.h"
#include "command/support.h"
#include "command/version.h"

namespace polyarch::command {
namespace {

void Time(Context& c) {
  int64_t micros = c.server.WallMicros();
  c.reply.Array(2);
  c.reply.BulkInteger(micros / 1'000'000);
  c.reply.BulkInteger(micros % 1'000'000);
}

void Shutdown(Context& c) {
  bool abort = false;
  bool save = false;
  bool no_save = false;
  bool other = false;
  for (std::string_view word : c.args.subspan(1)) {
    if (EqualsIgnoreCase(word, "abort")) {
      abort = true;
    } else if (EqualsIgnoreCase(word, "save")) {
      save = true;
    } else if (EqualsIgnoreCase(word, "nosave")) {
      no_save = true;
    } else if (EqualsIgnoreCase(word, "now") || EqualsIgnoreCase(word, "force")) {
      other = true;
    } else {
      return ReplySyntaxError(c);
    }
  }
  if ((abort && (save || no_save || other)) || (save && no_save)) return ReplySyntaxError(c);
  if (abort) return c.reply.Error("ERR No shutdown in progress.");
  // The log is the durable state, so there is nothing to save and NOSAVE loses nothing.
  c.server.Shutdown();
  c.close = true;
}

// ---- checkpoints

void Save(Context& c) {
  if (c.client.ticket == 0) c.client.ticket = c.cluster.StartCheckpoint();
  if (!c.cluster.CheckpointDone(c.client.ticket)) {
    c.suspended = true;
    return;
  }
  c.client.ticket = 0;
  c.reply.Ok();
}

void Bgsave(Context& c) {
  bool ok = c.count() == 1 || (c.count() == 2 && EqualsIgnoreCase(c.args[1], "schedule"));
  if (!ok) return ReplySyntaxError(c);
  c.cluster.StartCheckpoint();
  c.reply.Simple("Background saving started");
}

// The log is shortened by checkpoints.
void Bgrewriteaof(Context& c) {
  c.cluster.StartCheckpoint();
  c.reply.Simple("Background append only file rewriting started");
}

void Lastsave(Context& c) {
  c.reply.Integer(c.cluster.last_checkpoint_ms() / 1000);
}

// ---- replication as Redis's clients see it: a master, whose offset is the count of changes
// applied

void Role(Context& c) {
  const uint64_t changes = CountChanges(c.cluster.applied());
  c.reply.Array(3);
  c.reply.Bulk("master");
  c.reply.Integer(static_cast<int64_t>(changes));
  c.reply.Array(0);
}

// ---- LOLWUT: many leaders, one state

void Lolwut(Context& c) {
  constexpr size_t kColumns = 40;
  constexpr size_t kRows = 8;
  constexpr std::string_view kShades = " .:+*#@";
  base::Random random(c.random);
  std::string text;
  for (size_t row = 0; row < kRows; ++row) {
    // Each line begins at random and ends alike.
    for (size_t column = 0; column < kColumns; ++column) {
      size_t settled = column * (kShades.size() - 1) / (kColumns - 1);
      size_t noise = random.Below(kShades.size());
      bool early = random.Below(kColumns) > column;
      text += kShades[early ? noise : settled];
    }
    text += '\n';
  }
  text.append("\nMany leaders, one state. Polyarch ").append(kPolyarchVersion);
  text.append(" (Redis ver. ").append(kRedisVersion).append(")\n");
  c.reply.Verbatim(text);
}

}  // namespace

void AddServerFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "time",
       .arity = 1,
       .flags = kLoading | kStale | kFast,
       .categories = "@fast",
       .handler = Time,
       .summary = "Returns the time of the server",
       .since = "2.6.0",
       .group = "server",
       .complexity = "O(1)",
       .tips = "nondeterministic_output"},
      {.name = "shutdown",
       .arity = -1,
       .flags = kAdmin | kNoScript | kLoading | kStale | kNoMulti | kAllowBusy,
       .categories = "@admin @slow @dangerous",
       .handler = Shutdown,
       .summary = "Stops the server cleanly",
       .since = "1.0.0",
       .group = "server",
       .complexity = "O(1)",
       .syntax = "nosave_save:(NOSAVE|SAVE)? NOW?@7.0.0 FORCE?@7.0.0 ABORT?@7.0.0"},
      {.name = "save",
       .arity = 1,
       .flags = kAdmin | kNoScript | kNoAsyncLoading | kNoMulti,
       .categories = "@admin @slow @dangerous",
       .handler = Save,
       .summary = "Makes a checkpoint and waits for it",
       .since = "1.0.0",
       .group = "server",
       .complexity = "O(N) where N is the number of keys written since the last checkpoint"},
      {.name = "bgsave",
       .arity = -1,
       .flags = kAdmin | kNoScript | kNoAsyncLoading,
       .categories = "@admin @slow @dangerous",
       .handler = Bgsave,
       .summary = "Begins a checkpoint",
       .since = "1.0.0",
       .group = "server",
       .complexity = "O(1)",
       .syntax = "SCHEDULE?@3.2.2"},
      {.name = "bgrewriteaof",
       .arity = 1,
       .flags = kAdmin | kNoScript | kNoAsyncLoading,
       .categories = "@admin @slow @dangerous",
       .handler = Bgrewriteaof,
       .summary = "Begins a checkpoint",
       .since = "1.0.0",
       .group = "server",
       .complexity = "O(1)"},
      {.name = "lastsave",
       .arity = 1,
       .flags = kLoading | kStale | kFast,
       .categories = "@admin @fast @dangerous",
       .handler = Lastsave,
       .summary = "Returns the Unix time of the last checkpoint",
       .since = "1.0.0",
       .group = "server",
       .complexity = "O(1)",
       .tips = "nondeterministic_output"},
      {.name = "role",
       .arity = 1,
       .flags = kNoScript | kLoading | kStale | kFast,
       .categories = "@admin @fast @dangerous",
       .handler = Role,
       .summary = "Tells the role of the server: always a master",
       .since = "2.8.12",
       .group = "server",
       .complexity = "O(1)"},
      {.name = "lolwut",
       .arity = -1,
       .flags = kReadonly | kFast,
       .categories = "@read @fast",
       .handler = Lolwut,
       .summary = "Draws something and tells the version",
       .since = "5.0.0",
       .group = "server",
       .syntax = "VERSION version:integer?"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
