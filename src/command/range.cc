// Parts of a value: APPEND, SETRANGE, GETRANGE, SUBSTR, STRLEN. A write of a part is a write of the
// whole value (docs/compatibility.md), so concurrent appends are concurrent values.
#include <algorithm>
#include <cstring>

#include "base/number.h"
#include "command/families.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

using keyspace::KeyRef;
using keyspace::Shown;

void Append(Context& c) {
  KeyRef ref = c.Ref(c.args[1]);
  Shown old = c.keys.Read(ref);
  if (RefuseConflict(c, c.args[1], old)) return;
  char scratch[base::kInt64CharsMax];
  std::string_view head = old.exists() ? old.Text(scratch) : std::string_view();
  std::string_view tail = c.args[2];
  if (!FitsString(c, static_cast<int64_t>(head.size()), tail.size(), c.args[1])) return;
  std::string whole;
  whole.reserve(head.size() + tail.size());
  whole.append(head).append(tail);
  PutPart(c, ref, whole, old.exists());
  c.reply.Integer(static_cast<int64_t>(whole.size()));
}

void Setrange(Context& c) {
  std::optional<int64_t> offset = ReadInteger(c, c.args[2]);
  if (!offset) return;
  if (*offset < 0) return c.reply.Error("ERR offset is out of range");
  KeyRef ref = c.Ref(c.args[1]);
  Shown old = c.keys.Read(ref);
  if (RefuseConflict(c, c.args[1], old)) return;
  char scratch[base::kInt64CharsMax];
  std::string_view text = old.exists() ? old.Text(scratch) : std::string_view();
  std::string_view part = c.args[3];
  if (part.empty()) return c.reply.Integer(static_cast<int64_t>(text.size()));
  if (!FitsString(c, *offset, part.size(), c.args[1])) return;
  auto at = static_cast<size_t>(*offset);
  std::string whole(std::max(text.size(), at + part.size()), '\0');
  std::copy(text.begin(), text.end(), whole.begin());
  std::copy(part.begin(), part.end(), whole.begin() + *offset);
  if (!FitsChange(c, c.args[1].size() + whole.size())) return;
  PutPart(c, ref, whole, old.exists());
  c.reply.Integer(static_cast<int64_t>(whole.size()));
}

void Getrange(Context& c) {
  std::optional<int64_t> first = ReadInteger(c, c.args[2]);
  if (!first) return;
  std::optional<int64_t> last = ReadInteger(c, c.args[3]);
  if (!last) return;
  Shown shown = c.keys.Read(c.Ref(c.args[1]));
  if (RefuseConflict(c, c.args[1], shown)) return;
  if (!shown.exists()) return c.reply.Bulk("");
  char scratch[base::kInt64CharsMax];
  std::string_view text = shown.Text(scratch);
  auto size = static_cast<int64_t>(text.size());
  int64_t begin = *first;
  int64_t end = *last;
  if (begin < 0 && end < 0 && begin > end) return c.reply.Bulk("");
  if (begin < 0) begin = std::max<int64_t>(begin + size, 0);
  if (end < 0) end = std::max<int64_t>(end + size, 0);
  end = std::min(end, size - 1);
  if (begin > end || size == 0) return c.reply.Bulk("");
  c.reply.Bulk(text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin + 1)));
}

void Strlen(Context& c) {
  Shown shown = c.keys.Read(c.Ref(c.args[1]));
  if (RefuseConflict(c, c.args[1], shown)) return;
  char scratch[base::kInt64CharsMax];
  c.reply.Integer(shown.exists() ? static_cast<int64_t>(shown.Text(scratch).size()) : 0);
}

}  // namespace

void AddRangeFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "append",
       .arity = 3,
       .flags = kWrite | kDenyOom | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @string @fast",
       .handler = Append,
       .summary = "Appends to a value",
       .since = "2.0.0",
       .group = "string",
       .complexity = "O(N) where N is the length of the new value",
       .syntax = "key:key value",
       .key_access = "RW insert"},
      {.name = "setrange",
       .arity = 4,
       .flags = kWrite | kDenyOom,
       .keys = {1, 1, 1},
       .categories = "@write @string @slow",
       .handler = Setrange,
       .summary = "Overwrites a part of a value",
       .since = "2.2.0",
       .group = "string",
       .complexity = "O(N) where N is the length of the new value",
       .syntax = "key:key offset:integer value",
       .key_access = "RW update"},
      {.name = "getrange",
       .arity = 4,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @string @slow",
       .handler = Getrange,
       .summary = "Returns a part of a value",
       .since = "2.4.0",
       .group = "string",
       .complexity = "O(N) where N is the length of the part",
       .syntax = "key:key start:integer end:integer",
       .key_access = "RO access"},
      {.name = "substr",
       .arity = 4,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @string @slow",
       .handler = Getrange,
       .summary = "Returns a part of a value",
       .since = "1.0.0",
       .group = "string",
       .complexity = "O(N) where N is the length of the part",
       .syntax = "key:key start:integer end:integer",
       .key_access = "RO access",
       .deprecated_since = "2.0.0",
       .replaced_by = "`GETRANGE`"},
      {.name = "strlen",
       .arity = 2,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@read @string @fast",
       .handler = Strlen,
       .summary = "Returns the length of a value",
       .since = "2.2.0",
       .group = "string",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RO"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
