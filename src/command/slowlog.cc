// SLOWLOG: the newest commands that took long. The book: observations.h.
#include <algorithm>

#include "base/number.h"
#include "command/families.h"
#include "command/observations.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

void SlowlogGet(Context& c) {
  if (c.count() > 3) return ReplySubcommandSyntax(c);
  int64_t count = 10;
  if (c.count() == 3) {
    constexpr std::string_view kError = "ERR count should be greater than or equal to -1";
    const auto asked = ReadInteger(c, c.args[2], kError);
    if (!asked) return;
    if (*asked < -1) return c.reply.Error(kError);
    count = *asked;
  }
  const auto& entries = c.server.observations().slowlog.entries();
  const size_t shown = count == -1 ? entries.size() : std::min(entries.size(), static_cast<size_t>(count));
  c.reply.Array(shown);
  for (size_t i = 0; i < shown; ++i) {
    const Slowlog::Entry& entry = entries[i];
    c.reply.Array(6);
    c.reply.Integer(entry.id);
    c.reply.Integer(entry.time_s);
    c.reply.Integer(entry.micros);
    c.reply.Array(entry.arguments.size());
    for (const std::string& argument : entry.arguments)
      c.reply.Bulk(argument);
    c.reply.Bulk(entry.address);
    c.reply.Bulk(entry.name);
  }
}

void SlowlogLen(Context& c) {
  c.reply.Integer(static_cast<int64_t>(c.server.observations().slowlog.entries().size()));
}

void SlowlogReset(Context& c) {
  c.server.observations().slowlog.Clear();
  c.reply.Ok();
}

}  // namespace

void AddSlowlogFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr uint32_t kOperator = kAdmin | kLoading | kStale;
  static constexpr std::string_view kCategories = "@admin @slow @dangerous";
  static constexpr Row kRows[] = {
      {.name = "slowlog", .arity = -2, .categories = "@slow",
       .summary = "Tells of commands that took long", .since = "2.2.12", .group = "server",
       .complexity = "Depends on the subcommand"},
      {.name = "slowlog|get", .arity = -2, .flags = kOperator, .categories = kCategories,
       .handler = SlowlogGet, .summary = "Returns the newest commands that took long", .since = "2.2.12",
       .group = "server", .complexity = "O(N) where N is the number of entries", .syntax = "count:integer?",
       .tips = "request_policy:all_nodes nondeterministic_output"},
      {.name = "slowlog|len", .arity = 2, .flags = kOperator, .categories = kCategories,
       .handler = SlowlogLen, .summary = "Counts the entries", .since = "2.2.12", .group = "server",
       .complexity = "O(1)",
       .tips = "request_policy:all_nodes response_policy:agg_sum nondeterministic_output"},
      {.name = "slowlog|reset", .arity = 2, .flags = kOperator, .categories = kCategories,
       .handler = SlowlogReset, .summary = "Forgets all entries", .since = "2.2.12", .group = "server",
       .complexity = "O(N) where N is the number of entries",
       .tips = "request_policy:all_nodes response_policy:all_succeeded"},
      {.name = "slowlog|help", .arity = 2, .flags = kLoading | kStale, .categories = "@slow",
       .handler = ContainerHelp, .summary = "Print this help", .since = "6.2.0", .group = "server",
       .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
