// Hashes: fields are registers with counters of their own. HDEL removes what was seen; a concurrent
// write of the field wins.
#include <cmath>
#include <limits>
#include <vector>

#include "base/number.h"
#include "base/planted.h"
#include "base/random.h"
#include "command/collection.h"
#include "command/families.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

using keyspace::Collection;
using keyspace::ElementView;
using keyspace::KeyRef;
using keyspace::ShownValue;

constexpr crdt::Type kHash = crdt::Type::kHash;

void ReplyFieldCountError(Context& c, std::string_view command) {
  c.reply.Error("ERR wrong number of arguments for '" + std::string(command) + "' command");
}

// Fields with their values, or (`step` 1) fields alone.
bool FitsFields(Context& c, const KeyRef& ref, const Collection& hash, size_t step) {
  size_t bytes = 0;
  for (size_t i = 2; i < c.count(); ++i)
    bytes += c.args[i].size();
  for (size_t i = 2; i < c.count(); i += step)
    bytes += ClearBytes(c, ref, hash, c.args[i]);
  return FitsElements(c, c.args[1], bytes, (c.count() - 2) / step + 1);
}

// HSET and HMSET; how many fields are new, or nothing if the reply has been given.
std::optional<int64_t> SetFields(Context& c, std::string_view command) {
  if (c.count() % 2 != 0) {
    ReplyFieldCountError(c, command);
    return std::nullopt;
  }
  const KeyRef ref = c.Ref(c.args[1]);
  const auto hash = Open(c, ref, kHash);
  if (!hash || !CheckElementNames(c, 2, 2) || !FitsFields(c, ref, *hash, 2)) return std::nullopt;
  int64_t added = 0;
  for (size_t i = 2; i < c.count(); i += 2) {
    if (!c.keys.OpenAgain(ref, kHash).Contains(c.args[i])) ++added;
    c.change.PutElement(ref, kHash, c.args[i], c.args[i + 1]);
  }
  return added;
}

void Hset(Context& c) {
  if (auto added = SetFields(c, "hset")) c.reply.Integer(*added);
}
void Hmset(Context& c) {
  if (SetFields(c, "hmset")) c.reply.Ok();
}

void Hsetnx(Context& c) {
  const KeyRef ref = c.Ref(c.args[1]);
  const auto hash = Open(c, ref, kHash);
  if (!hash || !CheckElementNames(c, 2, 2) || !FitsFields(c, ref, *hash, 2)) return;
  if (hash->Contains(c.args[2])) return c.reply.Integer(0);
  c.change.PutElement(ref, kHash, c.args[2], c.args[3]);
  c.reply.Integer(1);
}

void Hget(Context& c) {
  const auto hash = Open(c, c.Ref(c.args[1]), kHash);
  if (!hash) return;
  const ShownValue shown = hash->Get(c.args[2]);
  if (RefuseFieldConflict(c, c.args[1], c.args[2], shown)) return;
  ReplyValue(c, shown);
}

void Hmget(Context& c) {
  const auto hash = Open(c, c.Ref(c.args[1]), kHash);
  if (!hash) return;
  resp::Buffer& out = c.reply.out();
  const size_t before = out.size();
  c.reply.Array(c.count() - 2);
  for (std::string_view field : c.args.subspan(2)) {
    const ShownValue shown = hash->Get(field);
    if (shown.kind == ShownValue::Kind::kConflict) [[unlikely]] {
      out.Truncate(before);
      RefuseFieldConflict(c, c.args[1], field, shown);
      return;
    }
    ReplyValue(c, shown);
  }
}

void Hdel(Context& c) {
  const KeyRef ref = c.Ref(c.args[1]);
  const auto hash = Open(c, ref, kHash);
  if (!hash || !FitsFields(c, ref, *hash, 1)) return;
  int64_t removed = 0;
  for (std::string_view field : c.args.subspan(2)) {
    const bool shown = c.keys.OpenAgain(ref, kHash).Contains(field);
    // As DeleteSeen: also what an "absent" hides, be it all that the hash holds.
    if (!shown && (PLANTED(kDeleteShownOnly) || !c.keys.HoldsLiveElement(ref, kHash, field))) continue;
    c.change.RemoveElement(ref, kHash, field);
    removed += shown ? 1 : 0;
  }
  c.reply.Integer(removed);
}

void Hlen(Context& c) {
  const auto hash = Open(c, c.Ref(c.args[1]), kHash);
  if (hash) c.reply.Integer(static_cast<int64_t>(hash->size()));
}

void Hexists(Context& c) {
  const auto hash = Open(c, c.Ref(c.args[1]), kHash);
  if (hash) c.reply.Integer(hash->Contains(c.args[2]) ? 1 : 0);
}

void Hstrlen(Context& c) {
  const auto hash = Open(c, c.Ref(c.args[1]), kHash);
  if (!hash) return;
  const ShownValue shown = hash->Get(c.args[2]);
  if (RefuseFieldConflict(c, c.args[1], c.args[2], shown)) return;
  c.reply.Integer(shown.kind == ShownValue::Kind::kNothing
                      ? 0
                      : static_cast<int64_t>(TextOf(shown).size()));
}

enum class Wanted : uint8_t { kFields, kValues, kBoth };

void ReplyAll(Context& c, Wanted wanted) {
  const auto hash = Open(c, c.Ref(c.args[1]), kHash);
  if (!hash) return;
  resp::Buffer& out = c.reply.out();
  const size_t before = out.size();
  wanted == Wanted::kBoth ? c.reply.Map(hash->size()) : c.reply.Array(hash->size());
  hash->ForEach([&](const ElementView& entry) {
    if (wanted != Wanted::kValues) c.reply.Bulk(entry.key());
    if (wanted == Wanted::kFields) return true;
    const ShownValue shown = hash->Show(entry);
    if (shown.kind == ShownValue::Kind::kConflict) [[unlikely]] {
      out.Truncate(before);
      RefuseFieldConflict(c, c.args[1], entry.key(), shown);
      return false;
    }
    ReplyValue(c, shown);
    return true;
  });
}

void Hkeys(Context& c) {
  ReplyAll(c, Wanted::kFields);
}
void Hvals(Context& c) {
  ReplyAll(c, Wanted::kValues);
}
void Hgetall(Context& c) {
  ReplyAll(c, Wanted::kBoth);
}

void Hincrby(Context& c) {
  constexpr std::string_view kOverflow = "ERR increment or decrement would overflow";
  const std::optional<int64_t> by = ReadInteger(c, c.args[3]);
  if (!by) return;
  const KeyRef ref = c.Ref(c.args[1]);
  const auto hash = Open(c, ref, kHash);
  if (!hash || !CheckElementNames(c, 2, 2)) return;
  const ShownValue old = hash->Get(c.args[2]);
  if (RefuseFieldConflict(c, c.args[1], c.args[2], old)) return;
  int64_t value = 0;
  if (old.kind != ShownValue::Kind::kNothing) {
    const std::optional<int64_t> parsed = base::ParseInt64(TextOf(old));
    if (!parsed) return c.reply.Error("ERR hash value is not an integer");
    value = *parsed;
  }
  if (!base::CheckedAdd(value, *by) ||
      !c.change.IncrementElement(ref, kHash, c.args[2], crdt::Number::Integer(*by))) {
    return c.reply.Error(kOverflow);
  }
  // Read again rather than added up here: the sum of several origins may have been saturated.
  const ShownValue now = c.keys.OpenAgain(ref, kHash).Get(c.args[2]);
  c.reply.Integer(now.is_integer ? now.integer
                                 : base::ParseInt64(now.value).value_or(value + *by));
}

void Hincrbyfloat(Context& c) {
  const std::optional<long double> by = base::ParseLongDouble(c.args[3], true);
  if (!by) return c.reply.Error(kNotFloat);
  if (std::isinf(*by)) return c.reply.Error("ERR value is NaN or Infinity");
  const KeyRef ref = c.Ref(c.args[1]);
  const auto hash = Open(c, ref, kHash);
  if (!hash || !CheckElementNames(c, 2, 2)) return;
  const ShownValue old = hash->Get(c.args[2]);
  if (RefuseFieldConflict(c, c.args[1], c.args[2], old)) return;
  std::optional<long double> value = 0;
  if (old.kind != ShownValue::Kind::kNothing) value = base::ParseLongDouble(TextOf(old), true);
  if (!value) return c.reply.Error("ERR hash value is not a float");
  const long double sum = *value + *by;
  if (std::isnan(sum) || std::isinf(sum))
    return c.reply.Error("ERR increment would produce NaN or Infinity");
  if (!c.change.IncrementElement(ref, kHash, c.args[2], crdt::Number::Real(*by)))
    return c.reply.Error("ERR increment or decrement would overflow");
  ReplyValue(c, c.keys.OpenAgain(ref, kHash).Get(c.args[2]));
}

// A field, and its value; false if that is in conflict.
bool ReplyFieldAndValue(Context& c, const Collection& hash, const ElementView& entry) {
  const ShownValue shown = hash.Show(entry);
  if (shown.kind == ShownValue::Kind::kConflict) return false;
  c.reply.Bulk(entry.key());
  ReplyValue(c, shown);
  return true;
}

// HRANDFIELD's reply for one field.
bool ReplyRandom(Context& c, const Collection& hash, const ElementView& entry, bool with_values) {
  if (!with_values) return c.reply.Bulk(entry.key()), true;
  if (c.reply.resp3()) c.reply.Array(2);
  return ReplyFieldAndValue(c, hash, entry);
}

void Hrandfield(Context& c) {
  std::optional<int64_t> count;
  const bool with_values = c.count() == 4 && EqualsIgnoreCase(c.args[3], "withvalues");
  if (c.count() > 2) {
    count = ReadRandomCount(c, c.args[2]);
    if (!count) return;
    if (c.count() > 4 || (c.count() == 4 && !with_values)) return ReplySyntaxError(c);
    // As many replies as that cannot be counted.
    constexpr int64_t kCountMax = std::numeric_limits<int64_t>::max() / 2;
    if (with_values && (*count < -kCountMax || *count > kCountMax))
      return c.reply.Error("ERR value is out of range");
  }
  const auto hash = Open(c, c.Ref(c.args[1]), kHash);
  if (!hash) return;
  if (!count) {
    const auto entry = hash->found() ? hash->elements->Random(c.random) : std::nullopt;
    return !entry ? c.reply.Null() : c.reply.Bulk(entry->key());
  }
  ReplyRandomElements(c, *hash, *count, with_values ? 2 : 1, [&](const ElementView& entry) {
    return ReplyRandom(c, *hash, entry, with_values);
  });
}

void Hscan(Context& c) {
  ScanElements(c, kHash, 2, ReplyFieldAndValue);
}

}  // namespace

void AddHashFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "hset", .arity = -4, .flags = kWrite | kDenyOom | kFast, .keys = {1, 1, 1},
       .categories = "@write @hash @fast", .handler = Hset, .summary = "Sets fields of a hash",
       .since = "2.0.0", .group = "hash", .complexity = "O(N) where N is the number of fields",
       .syntax = "key:key data:{field value}*", .key_access = "RW update"},
      {.name = "hmset", .arity = -4, .flags = kWrite | kDenyOom | kFast, .keys = {1, 1, 1},
       .categories = "@write @hash @fast", .handler = Hmset, .summary = "Sets fields of a hash",
       .since = "2.0.0", .group = "hash", .complexity = "O(N) where N is the number of fields",
       .syntax = "key:key data:{field value}*", .key_access = "RW update",
       .deprecated_since = "4.0.0", .replaced_by = "`HSET` with multiple field-value pairs"},
      {.name = "hsetnx", .arity = 4, .flags = kWrite | kDenyOom | kFast, .keys = {1, 1, 1},
       .categories = "@write @hash @fast", .handler = Hsetnx,
       .summary = "Sets a field that does not exist", .since = "2.0.0", .group = "hash",
       .complexity = "O(1)", .syntax = "key:key field value", .key_access = "RW insert"},
      {.name = "hget", .arity = 3, .flags = kReadonly | kFast, .keys = {1, 1, 1},
       .categories = "@read @hash @fast", .handler = Hget, .summary = "Returns the value of a field",
       .since = "2.0.0", .group = "hash", .complexity = "O(1)", .syntax = "key:key field",
       .key_access = "RO access"},
      {.name = "hmget", .arity = -3, .flags = kReadonly | kFast, .keys = {1, 1, 1},
       .categories = "@read @hash @fast", .handler = Hmget, .summary = "Returns the values of fields",
       .since = "2.0.0", .group = "hash", .complexity = "O(N) where N is the number of fields",
       .syntax = "key:key field*", .key_access = "RO access"},
      {.name = "hdel", .arity = -3, .flags = kWrite | kFast, .keys = {1, 1, 1},
       .categories = "@write @hash @fast", .handler = Hdel, .summary = "Deletes fields",
       .since = "2.0.0", .group = "hash", .complexity = "O(N) where N is the number of fields",
       .syntax = "key:key field*", .key_access = "RW delete"},
      {.name = "hlen", .arity = 2, .flags = kReadonly | kFast, .keys = {1, 1, 1},
       .categories = "@read @hash @fast", .handler = Hlen, .summary = "Returns the number of fields",
       .since = "2.0.0", .group = "hash", .complexity = "O(1)", .syntax = "key:key",
       .key_access = "RO"},
      {.name = "hexists", .arity = 3, .flags = kReadonly | kFast, .keys = {1, 1, 1},
       .categories = "@read @hash @fast", .handler = Hexists,
       .summary = "Tells whether a field exists", .since = "2.0.0", .group = "hash",
       .complexity = "O(1)", .syntax = "key:key field", .key_access = "RO"},
      {.name = "hstrlen", .arity = 3, .flags = kReadonly | kFast, .keys = {1, 1, 1},
       .categories = "@read @hash @fast", .handler = Hstrlen,
       .summary = "Returns the length of a field's value", .since = "3.2.0", .group = "hash",
       .complexity = "O(1)", .syntax = "key:key field", .key_access = "RO"},
      {.name = "hkeys", .arity = 2, .flags = kReadonly, .keys = {1, 1, 1},
       .categories = "@read @hash @slow", .handler = Hkeys, .summary = "Returns all fields",
       .since = "2.0.0", .group = "hash", .complexity = "O(N) where N is the size of the hash",
       .syntax = "key:key", .key_access = "RO access", .tips = "nondeterministic_output_order"},
      {.name = "hvals", .arity = 2, .flags = kReadonly, .keys = {1, 1, 1},
       .categories = "@read @hash @slow", .handler = Hvals, .summary = "Returns all values",
       .since = "2.0.0", .group = "hash", .complexity = "O(N) where N is the size of the hash",
       .syntax = "key:key", .key_access = "RO access", .tips = "nondeterministic_output_order"},
      {.name = "hgetall", .arity = 2, .flags = kReadonly, .keys = {1, 1, 1},
       .categories = "@read @hash @slow", .handler = Hgetall,
       .summary = "Returns all fields with their values", .since = "2.0.0", .group = "hash",
       .complexity = "O(N) where N is the size of the hash", .syntax = "key:key",
       .key_access = "RO access", .tips = "nondeterministic_output_order"},
      {.name = "hincrby", .arity = 4, .flags = kWrite | kDenyOom | kFast, .keys = {1, 1, 1},
       .categories = "@write @hash @fast", .handler = Hincrby,
       .summary = "Adds an integer to a field that is a counter", .since = "2.0.0", .group = "hash",
       .complexity = "O(1)", .syntax = "key:key field increment:integer",
       .key_access = "RW access update"},
      {.name = "hincrbyfloat", .arity = 4, .flags = kWrite | kDenyOom | kFast, .keys = {1, 1, 1},
       .categories = "@write @hash @fast", .handler = Hincrbyfloat,
       .summary = "Adds a number to a field that is a counter", .since = "2.6.0", .group = "hash",
       .complexity = "O(1)", .syntax = "key:key field increment:double",
       .key_access = "RW access update"},
      {.name = "hrandfield", .arity = -2, .flags = kReadonly, .keys = {1, 1, 1},
       .categories = "@read @hash @slow", .handler = Hrandfield, .summary = "Returns random fields",
       .since = "6.2.0", .group = "hash", .complexity = "O(N) where N is the number of fields returned",
       .syntax = "key:key options:{count:integer withvalues:WITHVALUES?}?", .key_access = "RO access",
       .tips = "nondeterministic_output"},
      {.name = "hscan", .arity = -3, .flags = kReadonly, .keys = {1, 1, 1},
       .categories = "@read @hash @slow", .handler = Hscan,
       .summary = "Walks through the fields of a hash in steps", .since = "2.8.0", .group = "hash",
       .complexity = "O(1) a call, O(N) for the whole walk",
       .syntax = "key:key cursor:integer MATCH pattern:pattern? COUNT count:integer?",
       .key_access = "RO access", .tips = "nondeterministic_output"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
