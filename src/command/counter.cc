// Counters: each increment is an effect of its own and counts exactly once, whatever else happens.
// What can overflow is the view at this leader; a merged sum beyond 64 bits saturates.
#include <cmath>
#include <limits>

#include "base/number.h"
#include "command/families.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

using keyspace::KeyRef;
using keyspace::Shown;

constexpr std::string_view kOverflow = "ERR increment or decrement would overflow";

void IncrementBy(Context& c, int64_t by) {
  KeyRef ref = c.Ref(c.args[1]);
  Shown old = c.keys.Read(ref);
  if (RefuseConflict(c, c.args[1], old)) return;
  int64_t value = 0;
  if (old.is_integer) {
    value = old.integer;
  } else if (old.exists()) {
    std::optional<int64_t> parsed = ReadInteger(c, old.value);
    if (!parsed) return;
    value = *parsed;
  }
  if (!base::CheckedAdd(value, by)) return c.reply.Error(kOverflow);
  if (!c.change.Increment(ref, crdt::Number::Integer(by))) return c.reply.Error(kOverflow);
  // Read again rather than added up here: the sum of several origins may have been saturated.
  Shown now = c.keys.Read(ref);
  int64_t result = now.is_integer ? now.integer : base::ParseInt64(now.value).value_or(value + by);
  c.reply.Integer(result);
}

void Incr(Context& c) {
  IncrementBy(c, 1);
}
void Decr(Context& c) {
  IncrementBy(c, -1);
}

void Incrby(Context& c) {
  std::optional<int64_t> by = ReadInteger(c, c.args[2]);
  if (by) IncrementBy(c, *by);
}

void Decrby(Context& c) {
  std::optional<int64_t> by = ReadInteger(c, c.args[2]);
  if (!by) return;
  if (*by == std::numeric_limits<int64_t>::min()) {
    return c.reply.Error("ERR decrement would overflow");
  }
  IncrementBy(c, -*by);
}

void Incrbyfloat(Context& c) {
  KeyRef ref = c.Ref(c.args[1]);
  Shown old = c.keys.Read(ref);
  if (RefuseConflict(c, c.args[1], old)) return;
  char scratch[base::kInt64CharsMax];
  std::optional<long double> value = 0;
  if (old.exists()) value = base::ParseLongDouble(old.Text(scratch), true);
  if (!value) return c.reply.Error(kNotFloat);
  std::optional<long double> by = base::ParseLongDouble(c.args[2], true);
  if (!by) return c.reply.Error(kNotFloat);
  long double sum = *value + *by;
  if (std::isnan(sum) || std::isinf(sum)) {
    return c.reply.Error("ERR increment would produce NaN or Infinity");
  }
  if (!c.change.Increment(ref, crdt::Number::Real(*by))) return c.reply.Error(kOverflow);
  ReplyShown(c, c.keys.Read(ref));
}

}  // namespace

void AddCounterFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "incr",
       .arity = 2,
       .flags = kWrite | kDenyOom | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @string @fast",
       .handler = Incr,
       .summary = "Adds one to a counter",
       .since = "1.0.0",
       .group = "string",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RW access update"},
      {.name = "decr",
       .arity = 2,
       .flags = kWrite | kDenyOom | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @string @fast",
       .handler = Decr,
       .summary = "Subtracts one from a counter",
       .since = "1.0.0",
       .group = "string",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RW access update"},
      {.name = "incrby",
       .arity = 3,
       .flags = kWrite | kDenyOom | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @string @fast",
       .handler = Incrby,
       .summary = "Adds an integer to a counter",
       .since = "1.0.0",
       .group = "string",
       .complexity = "O(1)",
       .syntax = "key:key increment:integer",
       .key_access = "RW access update"},
      {.name = "decrby",
       .arity = 3,
       .flags = kWrite | kDenyOom | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @string @fast",
       .handler = Decrby,
       .summary = "Subtracts an integer from a counter",
       .since = "1.0.0",
       .group = "string",
       .complexity = "O(1)",
       .syntax = "key:key decrement:integer",
       .key_access = "RW access update"},
      {.name = "incrbyfloat",
       .arity = 3,
       .flags = kWrite | kDenyOom | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @string @fast",
       .handler = Incrbyfloat,
       .summary = "Adds a floating-point number to a counter",
       .since = "2.6.0",
       .group = "string",
       .complexity = "O(1)",
       .syntax = "key:key increment:double",
       .key_access = "RW access update"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
