// When keys end: EXPIRE, TTL and their relatives. An instant is a value of its own beside the key's
// (docs/design on expiry): EXPIRE and PERSIST write it even on a key with concurrent versions.
#include <limits>

#include "command/families.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

using keyspace::KeyRef;
using keyspace::Shown;

enum class Unit : uint8_t { kSeconds, kMilliseconds };

struct Conditions {
  bool if_none = false;    // NX
  bool if_any = false;     // XX
  bool if_later = false;   // GT; no expiry counts as infinitely late
  bool if_sooner = false;  // LT

  bool Met(int64_t instant_ms, int64_t present_ms) const {
    if (if_none && present_ms != crdt::kNever) return false;
    if (if_any && present_ms == crdt::kNever) return false;
    if (if_later && instant_ms <= present_ms) return false;
    return !if_sooner || instant_ms < present_ms;
  }
};

bool ReadConditions(Context& c, Conditions& conditions) {
  for (std::string_view word : c.args.subspan(3)) {
    if (EqualsIgnoreCase(word, "nx")) {
      conditions.if_none = true;
    } else if (EqualsIgnoreCase(word, "xx")) {
      conditions.if_any = true;
    } else if (EqualsIgnoreCase(word, "gt")) {
      conditions.if_later = true;
    } else if (EqualsIgnoreCase(word, "lt")) {
      conditions.if_sooner = true;
    } else {
      c.reply.Error("ERR Unsupported option " + std::string(word));
      return false;
    }
  }
  bool other = conditions.if_any || conditions.if_later || conditions.if_sooner;
  if (conditions.if_none && other) {
    c.reply.Error("ERR NX and XX, GT or LT options at the same time are not compatible");
    return false;
  }
  if (conditions.if_later && conditions.if_sooner) {
    c.reply.Error("ERR GT and LT options at the same time are not compatible");
    return false;
  }
  return true;
}

void SetExpiry(Context& c, Unit unit, int64_t base_ms, std::string_view command) {
  Conditions conditions;
  if (!ReadConditions(c, conditions)) return;
  std::optional<int64_t> given = ReadInteger(c, c.args[2]);
  if (!given) return;
  int64_t instant_ms = *given;
  bool overflow =
      unit == Unit::kSeconds && __builtin_mul_overflow(instant_ms, int64_t{1000}, &instant_ms);
  if (overflow || __builtin_add_overflow(instant_ms, base_ms, &instant_ms)) {
    return c.reply.Error("ERR invalid expire time in '" + std::string(command) + "' command");
  }
  if (instant_ms == crdt::kNever) --instant_ms;
  KeyRef ref = c.Ref(c.args[1]);
  Shown shown = c.keys.Read(ref);
  if (!shown.exists() || !conditions.Met(instant_ms, shown.expire_ms)) return c.reply.Integer(0);
  instant_ms <= c.now_ms ? c.change.Delete(ref) : c.change.SetExpiry(ref, instant_ms);
  c.reply.Integer(1);
}

void Expire(Context& c) {
  SetExpiry(c, Unit::kSeconds, c.now_ms, "expire");
}
void Pexpire(Context& c) {
  SetExpiry(c, Unit::kMilliseconds, c.now_ms, "pexpire");
}
void Expireat(Context& c) {
  SetExpiry(c, Unit::kSeconds, 0, "expireat");
}
void Pexpireat(Context& c) {
  SetExpiry(c, Unit::kMilliseconds, 0, "pexpireat");
}

void Persist(Context& c) {
  KeyRef ref = c.Ref(c.args[1]);
  Shown shown = c.keys.Read(ref);
  if (!shown.exists() || shown.expire_ms == crdt::kNever) return c.reply.Integer(0);
  c.change.SetExpiry(ref, crdt::kNever);
  c.reply.Integer(1);
}

// The key's instant less `base_ms`; -2 for no key, -1 for no expiry.
void ReplyExpiry(Context& c, Unit unit, int64_t base_ms) {
  Shown shown = c.keys.Read(c.Ref(c.args[1]));
  if (!shown.exists()) return c.reply.Integer(-2);
  if (shown.expire_ms == crdt::kNever) return c.reply.Integer(-1);
  int64_t ms = std::max<int64_t>(shown.expire_ms - base_ms, 0);
  // Seconds are rounded to the nearest; written so that the latest instant does not overflow.
  c.reply.Integer(unit == Unit::kMilliseconds ? ms : ms / 1000 + (ms % 1000 >= 500 ? 1 : 0));
}

void Ttl(Context& c) {
  ReplyExpiry(c, Unit::kSeconds, c.now_ms);
}
void Pttl(Context& c) {
  ReplyExpiry(c, Unit::kMilliseconds, c.now_ms);
}
void Expiretime(Context& c) {
  ReplyExpiry(c, Unit::kSeconds, 0);
}
void Pexpiretime(Context& c) {
  ReplyExpiry(c, Unit::kMilliseconds, 0);
}

}  // namespace

void AddExpireFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "expire",
       .arity = -3,
       .flags = kWrite | kFast,
       .keys = {1, 1, 1},
       .categories = "@keyspace @write @fast",
       .handler = Expire,
       .summary = "Lets a key expire after some seconds",
       .since = "1.0.0",
       .group = "generic",
       .complexity = "O(1)",
       .syntax = "key:key seconds:integer condition:(NX|XX|GT|LT)?@7.0.0",
       .key_access = "RW update"},
      {.name = "pexpire",
       .arity = -3,
       .flags = kWrite | kFast,
       .keys = {1, 1, 1},
       .categories = "@keyspace @write @fast",
       .handler = Pexpire,
       .summary = "Lets a key expire after some milliseconds",
       .since = "2.6.0",
       .group = "generic",
       .complexity = "O(1)",
       .syntax = "key:key milliseconds:integer condition:(NX|XX|GT|LT)?@7.0.0",
       .key_access = "RW update"},
      {.name = "expireat",
       .arity = -3,
       .flags = kWrite | kFast,
       .keys = {1, 1, 1},
       .categories = "@keyspace @write @fast",
       .handler = Expireat,
       .summary = "Lets a key expire at a Unix time in seconds",
       .since = "1.2.0",
       .group = "generic",
       .complexity = "O(1)",
       .syntax = "key:key unix-time-seconds:unix-time condition:(NX|XX|GT|LT)?@7.0.0",
       .key_access = "RW update"},
      {.name = "pexpireat",
       .arity = -3,
       .flags = kWrite | kFast,
       .keys = {1, 1, 1},
       .categories = "@keyspace @write @fast",
       .handler = Pexpireat,
       .summary = "Lets a key expire at a Unix time in milliseconds",
       .since = "2.6.0",
       .group = "generic",
       .complexity = "O(1)",
       .syntax = "key:key unix-time-milliseconds:unix-time condition:(NX|XX|GT|LT)?@7.0.0",
       .key_access = "RW update"},
      {.name = "persist",
       .arity = 2,
       .flags = kWrite | kFast,
       .keys = {1, 1, 1},
       .categories = "@keyspace @write @fast",
       .handler = Persist,
       .summary = "Removes the expiry of a key",
       .since = "2.2.0",
       .group = "generic",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RW update"},
      {.name = "ttl",
       .arity = 2,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@keyspace @read @fast",
       .handler = Ttl,
       .summary = "Returns the remaining time of a key in seconds",
       .since = "1.0.0",
       .group = "generic",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RO access",
       .tips = "nondeterministic_output"},
      {.name = "pttl",
       .arity = 2,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@keyspace @read @fast",
       .handler = Pttl,
       .summary = "Returns the remaining time of a key in milliseconds",
       .since = "2.6.0",
       .group = "generic",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RO access",
       .tips = "nondeterministic_output"},
      {.name = "expiretime",
       .arity = 2,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@keyspace @read @fast",
       .handler = Expiretime,
       .summary = "Returns the Unix time in seconds at which a key expires",
       .since = "7.0.0",
       .group = "generic",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RO access"},
      {.name = "pexpiretime",
       .arity = 2,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@keyspace @read @fast",
       .handler = Pexpiretime,
       .summary = "Returns the Unix time in milliseconds at which a key expires",
       .since = "7.0.0",
       .group = "generic",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RO access"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
