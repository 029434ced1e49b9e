// What looks at, or empties, whole databases: SCAN, KEYS, RANDOMKEY, DBSIZE, FLUSHDB, FLUSHALL,
// SWAPDB.
#include <charconv>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/glob.h"
#include "command/collection.h"
#include "command/families.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

void ReplyKeys(Context& c, const std::vector<std::string>& keys) {
  c.reply.Array(keys.size());
  for (const std::string& key : keys)
    c.reply.Bulk(key);
}

void Keys(Context& c) {
  constexpr size_t kStep = 1024;
  std::string_view pattern = c.args[1];
  std::vector<std::string> found;
  uint64_t cursor = 0;
  do {
    cursor = c.keys.Scan(c.client.db, cursor, kStep, [&](std::string_view key) {
      if (pattern == "*" || base::GlobMatch(pattern, key)) found.emplace_back(key);
    });
  } while (cursor != 0);
  ReplyKeys(c, found);
}

struct ScanOptions {
  std::string_view pattern = "*";
  size_t count = 10;
  std::optional<std::string> type;  // of TYPE, in lower case
};

bool ReadScanOptions(Context& c, ScanOptions& options) {
  for (size_t i = 2; i < c.count(); i += 2) {
    bool has_value = i + 1 < c.count();
    if (has_value && EqualsIgnoreCase(c.args[i], "match")) {
      options.pattern = c.args[i + 1];
    } else if (has_value && EqualsIgnoreCase(c.args[i], "type")) {
      options.type = ToLower(c.args[i + 1]);
    } else if (has_value && EqualsIgnoreCase(c.args[i], "count")) {
      std::optional<int64_t> count = ReadInteger(c, c.args[i + 1]);
      if (!count) return false;
      if (*count < 1) {
        ReplySyntaxError(c);
        return false;
      }
      options.count = static_cast<size_t>(*count);
    } else {
      ReplySyntaxError(c);
      return false;
    }
  }
  return true;
}

void Scan(Context& c) {
  const auto from = ReadScanCursor(c, c.args[1]);
  if (!from) return;
  ScanOptions options;
  if (!ReadScanOptions(c, options)) return;
  std::vector<std::string> found;
  const uint64_t cursor = c.keys.Scan(c.client.db, *from, options.count, [&](std::string_view key) {
    if (options.pattern == "*" || base::GlobMatch(options.pattern, key)) found.emplace_back(key);
  });
  if (options.type) {
    std::erase_if(found, [&](const std::string& key) {
      const keyspace::Shown shown = c.keys.Read(c.Ref(key));
      return !shown.exists() || TypeName(shown.type) != *options.type;
    });
  }
  char digits[std::numeric_limits<uint64_t>::digits10 + 2];
  char* digits_end = std::to_chars(digits, digits + sizeof digits, cursor).ptr;
  c.reply.Array(2);
  c.reply.Bulk({digits, static_cast<size_t>(digits_end - digits)});
  ReplyKeys(c, found);
}

void Randomkey(Context& c) {
  std::optional<std::string> key = c.keys.RandomKey(c.client.db, c.random);
  key ? c.reply.Bulk(*key) : c.reply.Null();
}

void Dbsize(Context& c) {
  c.reply.Integer(static_cast<int64_t>(c.keys.Size(c.client.db)));
}

// ASYNC and SYNC are accepted; there is no difference to see.
void Flush(Context& c, uint8_t db) {
  bool plain = c.count() == 1;
  bool mode = c.count() == 2 &&
              (EqualsIgnoreCase(c.args[1], "async") || EqualsIgnoreCase(c.args[1], "sync"));
  if (!plain && !mode) return ReplySyntaxError(c);
  c.change.Flush(db);
  c.reply.Ok();
}

void Flushdb(Context& c) {
  Flush(c, c.client.db);
}
void Flushall(Context& c) {
  Flush(c, crdt::kAllDatabases);
}

void Swapdb(Context& c) {
  c.reply.Error("ERR SWAPDB is not supported: other leaders may be writing to both databases");
}

}  // namespace

void AddScanFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "keys",
       .arity = 2,
       .flags = kReadonly | kWholeKeyspace,
       .categories = "@keyspace @read @slow @dangerous",
       .handler = Keys,
       .summary = "Returns all keys that match a pattern",
       .since = "1.0.0",
       .group = "generic",
       .complexity = "O(N) where N is the number of keys in the database",
       .syntax = "pattern:pattern",
       .tips = "request_policy:all_shards nondeterministic_output_order"},
      {.name = "scan",
       .arity = -2,
       .flags = kReadonly | kWholeKeyspace,
       .categories = "@keyspace @read @slow",
       .handler = Scan,
       .summary = "Walks through the keys of the database in steps",
       .since = "2.8.0",
       .group = "generic",
       .complexity = "O(1) a call, O(N) for the whole walk",
       .syntax = "cursor:integer MATCH pattern:pattern? COUNT count:integer? TYPE type?@6.0.0",
       .tips = "nondeterministic_output request_policy:special"},
      {.name = "randomkey",
       .arity = 1,
       .flags = kReadonly | kWholeKeyspace,
       .categories = "@keyspace @read @slow",
       .handler = Randomkey,
       .summary = "Returns some key of the database",
       .since = "1.0.0",
       .group = "generic",
       .complexity = "O(1)",
       .tips = "request_policy:all_shards nondeterministic_output"},
      {.name = "dbsize",
       .arity = 1,
       .flags = kReadonly | kFast | kWholeKeyspace,
       .categories = "@keyspace @read @fast",
       .handler = Dbsize,
       .summary = "Returns the number of keys in the database",
       .since = "1.0.0",
       .group = "server",
       .complexity = "O(1)",
       .tips = "request_policy:all_shards response_policy:agg_sum"},
      {.name = "flushdb",
       .arity = -1,
       .flags = kWrite | kWholeKeyspace,
       .categories = "@keyspace @write @slow @dangerous",
       .handler = Flushdb,
       .summary = "Deletes all keys of the database",
       .since = "1.0.0",
       .group = "server",
       .complexity = "O(N) where N is the number of keys in the database",
       .syntax = "async:(ASYNC@4.0.0|SYNC@6.2.0)?",
       .tips = "request_policy:all_shards response_policy:all_succeeded"},
      {.name = "flushall",
       .arity = -1,
       .flags = kWrite | kWholeKeyspace,
       .categories = "@keyspace @write @slow @dangerous",
       .handler = Flushall,
       .summary = "Deletes all keys of all databases",
       .since = "1.0.0",
       .group = "server",
       .complexity = "O(N) where N is the number of keys in all databases",
       .syntax = "async:(ASYNC@4.0.0|SYNC@6.2.0)?",
       .tips = "request_policy:all_shards response_policy:all_succeeded"},
      {.name = "swapdb",
       .arity = 3,
       .flags = kWrite | kFast,
       .categories = "@keyspace @write @fast @dangerous",
       .handler = Swapdb,
       .summary = "Not supported",
       .since = "4.0.0",
       .group = "server",
       .complexity = "O(1)",
       .syntax = "index1:integer index2:integer"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
