// MEMORY: what keys take.
#include <charconv>

#include "base/number.h"
#include "command/families.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

struct Totals {
  int64_t keys = 0;
  int64_t bytes = 0;
  int64_t resident = 0;  // of the process; 0: not known

  int64_t bytes_per_key() const { return keys == 0 ? 0 : bytes / keys; }
};

// A number among INFO's "name:value" lines; 0 if it is not there.
int64_t NumberIn(std::string_view lines, std::string_view name) {
  const size_t at = lines.find(name);
  if (at == std::string_view::npos) return 0;
  int64_t value = 0;
  std::from_chars(lines.data() + at + name.size(), lines.data() + lines.size(), value);
  return value;
}

Totals Count(Context& c) {
  Totals totals;
  for (size_t db = 0; db < kDatabases; ++db)
    totals.keys += static_cast<int64_t>(c.keys.Size(static_cast<uint8_t>(db)));
  totals.bytes = static_cast<int64_t>(c.keys.memory_bytes());
  std::string lines;
  c.server.InfoSection("memory", lines);
  totals.resident = NumberIn(lines, "used_memory_rss:");
  return totals;
}

void MemoryUsage(Context& c) {
  // SAMPLES is read and not used: what a key takes is counted as it changes.
  for (size_t i = 3; i < c.count(); ++i) {
    if (!EqualsIgnoreCase(c.args[i], "samples") || i + 1 >= c.count()) return ReplySyntaxError(c);
    const auto samples = ReadInteger(c, c.args[++i]);
    if (!samples) return;
    if (*samples < 0) return ReplySyntaxError(c);
  }
  const keyspace::KeyRef ref = c.Ref(c.args[2]);
  if (!c.keys.Exists(ref)) return c.reply.Null();
  c.reply.Integer(static_cast<int64_t>(c.keys.MemoryOf(ref)));
}

void MemoryStats(Context& c) {
  const Totals totals = Count(c);
  c.reply.Map(4);
  c.reply.Bulk("keys.count");
  c.reply.Integer(totals.keys);
  c.reply.Bulk("keys.bytes-per-key");
  c.reply.Integer(totals.bytes_per_key());
  c.reply.Bulk("dataset.bytes");
  c.reply.Integer(totals.bytes);
  c.reply.Bulk("process.resident");
  c.reply.Integer(totals.resident);
}

void MemoryDoctor(Context& c) {
  const Totals totals = Count(c);
  std::string text = "Keys and values take " + base::FormatInt64(totals.bytes) + " bytes, " +
                     base::FormatInt64(totals.bytes_per_key()) + " a key. The process takes " +
                     base::FormatInt64(totals.resident) + " bytes of memory.";
  c.reply.Verbatim(text);
}

void MemoryMallocStats(Context& c) {
  c.reply.Bulk("Stats not supported for the current allocator");
}

// Collections that are gone are freed a little at a time; now all at once.
void MemoryPurge(Context& c) {
  while (c.keys.FreeSome(SIZE_MAX)) {
  }
  c.reply.Ok();
}

}  // namespace

void AddMemoryFamily(std::vector<Row>& rows) {
  constexpr std::string_view kTips =
      "nondeterministic_output request_policy:all_shards response_policy:special";
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "memory",
       .arity = -2,
       .categories = "@slow",
       .summary = "Tells what keys and the process take",
       .since = "4.0.0",
       .group = "server",
       .complexity = "Depends on the subcommand"},
      {.name = "memory|usage",
       .arity = -3,
       .flags = kReadonly,
       .keys = {2, 2, 1},
       .categories = "@read @slow",
       .handler = MemoryUsage,
       .summary = "Returns how many bytes a key and its value take",
       .since = "4.0.0",
       .group = "server",
       .complexity = "O(1)",
       .syntax = "key:key SAMPLES count:integer?",
       .key_access = "RO"},
      {.name = "memory|stats",
       .arity = 2,
       .categories = "@slow",
       .handler = MemoryStats,
       .summary = "Returns what keys and the process take",
       .since = "4.0.0",
       .group = "server",
       .complexity = "O(1)",
       .tips = kTips},
      {.name = "memory|doctor",
       .arity = 2,
       .categories = "@slow",
       .handler = MemoryDoctor,
       .summary = "Says in words what keys and the process take",
       .since = "4.0.0",
       .group = "server",
       .complexity = "O(1)",
       .tips = kTips},
      {.name = "memory|malloc-stats",
       .arity = 2,
       .categories = "@slow",
       .handler = MemoryMallocStats,
       .summary = "Says that the allocator's statistics are not to be had",
       .since = "4.0.0",
       .group = "server",
       .complexity = "O(1)",
       .tips = kTips},
      {.name = "memory|purge",
       .arity = 2,
       .categories = "@slow",
       .handler = MemoryPurge,
       .summary = "Frees at once what would be freed little by little",
       .since = "4.0.0",
       .group = "server",
       .complexity = "O(N) where N is the number of elements of collections that are gone",
       .tips = "request_policy:all_shards response_policy:all_succeeded"},
      {.name = "memory|help",
       .arity = 2,
       .flags = kLoading | kStale,
       .categories = "@slow",
       .handler = ContainerHelp,
       .summary = "Print this help",
       .since = "4.0.0",
       .group = "server",
       .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
