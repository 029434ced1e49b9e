// Whole values: SET and its relatives, GET and its relatives.
#include <limits>

#include "base/number.h"
#include "command/families.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

using keyspace::Change;
using keyspace::KeyRef;
using keyspace::Shown;

constexpr int64_t kMaxMs = std::numeric_limits<int64_t>::max();

enum class Unit : uint8_t { kSeconds, kMilliseconds };

// The options of SET and GETEX.
struct Options {
  bool if_missing = false;  // NX
  bool if_exists = false;   // XX
  bool get = false;
  bool keep_ttl = false;
  bool persist = false;
  bool has_expiry = false;
  bool absolute = false;  // EXAT, PXAT
  Unit unit = Unit::kSeconds;
  std::string_view expiry;
};

// One of EX, PX, EXAT, PXAT. The same option twice is allowed (the last one counts), as in Redis.
bool ReadExpiryOption(std::string_view word, Options& options) {
  bool absolute = word.size() == 4;
  Unit unit = ToLower(word[0]) == 'p' ? Unit::kMilliseconds : Unit::kSeconds;
  if (options.keep_ttl || options.persist) return false;
  if (options.has_expiry && (options.absolute != absolute || options.unit != unit)) return false;
  options.has_expiry = true;
  options.absolute = absolute;
  options.unit = unit;
  return true;
}

bool IsExpiryWord(std::string_view word) {
  return EqualsIgnoreCase(word, "ex") || EqualsIgnoreCase(word, "px") ||
         EqualsIgnoreCase(word, "exat") || EqualsIgnoreCase(word, "pxat");
}

bool ReadSetWord(std::string_view word, Options& options) {
  if (EqualsIgnoreCase(word, "nx") && !options.if_exists) return options.if_missing = true;
  if (EqualsIgnoreCase(word, "xx") && !options.if_missing) return options.if_exists = true;
  if (EqualsIgnoreCase(word, "get")) return options.get = true;
  if (EqualsIgnoreCase(word, "keepttl") && !options.has_expiry) return options.keep_ttl = true;
  return false;
}

bool ReadGetexWord(std::string_view word, Options& options) {
  return EqualsIgnoreCase(word, "persist") && !options.has_expiry && (options.persist = true);
}

bool ReadOptions(Context& c,
                 size_t from,
                 bool (*read_word)(std::string_view, Options&),
                 Options& options) {
  for (size_t i = from; i < c.count(); ++i) {
    bool ok = false;
    if (IsExpiryWord(c.args[i])) {
      ok = i + 1 < c.count() && ReadExpiryOption(c.args[i], options);
      if (ok) options.expiry = c.args[++i];
    } else {
      ok = read_word(c.args[i], options);
    }
    if (!ok) {
      ReplySyntaxError(c);
      return false;
    }
  }
  return true;
}

// The instant that an expiry argument means.
std::optional<int64_t> ReadInstant(
    Context& c, std::string_view text, Unit unit, bool absolute, std::string_view command) {
  std::optional<int64_t> given = ReadInteger(c, text);
  if (!given) return std::nullopt;
  int64_t ms = *given;
  bool ok = ms > 0;
  if (ok && unit == Unit::kSeconds) ok = !__builtin_mul_overflow(ms, int64_t{1000}, &ms);
  if (ok && !absolute) ok = !__builtin_add_overflow(ms, c.now_ms, &ms);
  if (!ok) {
    c.reply.Error("ERR invalid expire time in '" + std::string(command) + "' command");
    return std::nullopt;
  }
  return ms == kMaxMs ? kMaxMs - 1 : ms;  // the highest one means "never"
}

void SetPlain(Context& c, std::string_view key, std::string_view value) {
  if (!FitsChange(c, key.size() + value.size())) return;
  c.change.Put(c.Ref(key), value, Change::Ttl::kNone);
  c.reply.Ok();
}

void SetWithOptions(Context& c) {
  Options options;
  if (!ReadOptions(c, 3, ReadSetWord, options)) return;
  int64_t expire_ms = crdt::kNever;
  if (options.has_expiry) {
    auto instant = ReadInstant(c, options.expiry, options.unit, options.absolute, "set");
    if (!instant) return;
    expire_ms = *instant;
  }
  std::string_view key = c.args[1];
  std::string_view value = c.args[2];
  if (!FitsChange(c, key.size() + value.size())) return;

  KeyRef ref = c.Ref(key);
  bool conditional = options.if_missing || options.if_exists;
  if (conditional || options.get || options.keep_ttl) {
    c.keys.CountLookups(options.get);
    Shown old = c.keys.Read(ref);
    if (options.get && RefuseConflict(c, key, old)) return;
    if (options.get) ReplyShown(c, old);
    if ((options.if_missing && old.exists()) || (options.if_exists && !old.exists())) {
      if (!options.get) c.reply.Null();
      return;
    }
    if (!old.exists()) options.keep_ttl = false;
  }
  if (options.has_expiry && expire_ms <= c.now_ms) {
    // Born expired: as a value it could win against one that is not.
    DeleteSeen(c, ref);
    if (!options.get) c.reply.Ok();
    return;
  }
  Change::Ttl ttl = options.has_expiry ? Change::Ttl::kAt
                    : options.keep_ttl ? Change::Ttl::kKeep
                                       : Change::Ttl::kNone;
  c.change.Put(ref, value, ttl, expire_ms);
  if (!options.get) c.reply.Ok();
}

void Set(Context& c) {
  if (c.count() == 3) [[likely]]
    return SetPlain(c, c.args[1], c.args[2]);
  SetWithOptions(c);
}

void SetExpiring(Context& c, Unit unit, std::string_view command) {
  auto instant = ReadInstant(c, c.args[2], unit, false, command);
  if (!instant || !FitsChange(c, c.args[1].size() + c.args[3].size())) return;
  c.change.Put(c.Ref(c.args[1]), c.args[3], Change::Ttl::kAt, *instant);
  c.reply.Ok();
}

void Setex(Context& c) {
  SetExpiring(c, Unit::kSeconds, "setex");
}
void Psetex(Context& c) {
  SetExpiring(c, Unit::kMilliseconds, "psetex");
}

void Setnx(Context& c) {
  if (!FitsChange(c, c.args[1].size() + c.args[2].size())) return;
  KeyRef ref = c.Ref(c.args[1]);
  if (c.keys.Exists(ref)) return c.reply.Integer(0);
  c.change.Put(ref, c.args[2], Change::Ttl::kNone);
  c.reply.Integer(1);
}

void Get(Context& c) {
  Shown shown = c.keys.Read(c.Ref(c.args[1]));
  if (RefuseConflict(c, c.args[1], shown)) return;
  ReplyShown(c, shown);
}

void Getset(Context& c) {
  if (!FitsChange(c, c.args[1].size() + c.args[2].size())) return;
  KeyRef ref = c.Ref(c.args[1]);
  Shown old = c.keys.Read(ref);
  if (RefuseConflict(c, c.args[1], old)) return;
  ReplyShown(c, old);
  c.change.Put(ref, c.args[2], Change::Ttl::kNone);
}

void Getdel(Context& c) {
  KeyRef ref = c.Ref(c.args[1]);
  Shown old = c.keys.Read(ref);
  if (RefuseConflict(c, c.args[1], old)) return;
  ReplyShown(c, old);
  DeleteSeen(c, ref);
}

void Getex(Context& c) {
  Options options;
  if (!ReadOptions(c, 2, ReadGetexWord, options)) return;
  KeyRef ref = c.Ref(c.args[1]);
  Shown shown = c.keys.Read(ref);
  if (!shown.exists()) return c.reply.Null();
  if (RefuseConflict(c, c.args[1], shown)) return;
  std::optional<int64_t> instant;
  if (options.has_expiry) {
    instant = ReadInstant(c, options.expiry, options.unit, options.absolute, "getex");
    if (!instant) return;
  }
  ReplyShown(c, shown);
  if (instant) {
    *instant <= c.now_ms ? c.change.Delete(ref) : c.change.SetExpiry(ref, *instant);
  } else if (options.persist && shown.expire_ms != crdt::kNever) {
    c.change.SetExpiry(ref, crdt::kNever);
  }
}

void Mget(Context& c) {
  resp::Buffer& out = c.reply.out();
  size_t before = out.size();
  c.reply.Array(c.count() - 1);
  for (std::string_view key : c.args.subspan(1)) {
    Shown shown = c.keys.Read(c.Ref(key));
    if (shown.kind == Shown::Kind::kConflict) [[unlikely]] {
      out.Truncate(before);
      RefuseConflict(c, key, shown);
      return;
    }
    shown.kind == Shown::Kind::kCollection ? c.reply.Null() : ReplyShown(c, shown);
  }
}

// The pairs of MSET and MSETNX, checked.
bool CheckPairs(Context& c, std::string_view command) {
  if (c.count() % 2 == 0) {
    c.reply.Error("ERR wrong number of arguments for '" + std::string(command) + "' command");
    return false;
  }
  return FitsReplacing(c, 2);
}

void PutPairs(Context& c) {
  for (size_t i = 1; i < c.count(); i += 2) {
    c.change.Put(c.Ref(c.args[i]), c.args[i + 1], Change::Ttl::kNone);
  }
}

void Mset(Context& c) {
  if (!CheckPairs(c, "mset")) return;
  PutPairs(c);
  c.reply.Ok();
}

void Msetnx(Context& c) {
  if (!CheckPairs(c, "msetnx")) return;
  for (size_t i = 1; i < c.count(); i += 2) {
    if (c.keys.Exists(c.Ref(c.args[i]))) return c.reply.Integer(0);
  }
  PutPairs(c);
  c.reply.Integer(1);
}

}  // namespace

void AddStringFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "set",
       .arity = -3,
       .flags = kWrite | kDenyOom,
       .keys = {1, 1, 1},
       .categories = "@write @string @slow",
       .handler = Set,
       .summary = "Sets a value, whatever was there, optionally with conditions and an expiry",
       .since = "1.0.0",
       .group = "string",
       .complexity = "O(1)",
       .syntax = "key:key value condition:(NX|XX)?@2.6.12 GET?@6.2.0 expiration:(EX "
                 "seconds:integer@2.6.12|PX milliseconds:integer@2.6.12|EXAT "
                 "unix-time-seconds:unix-time@6.2.0|PXAT "
                 "unix-time-milliseconds:unix-time@6.2.0|KEEPTTL@6.0.0)?",
       .key_access = "RW access update variable_flags"},
      {.name = "get",
       .arity = 2,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@read @string @fast",
       .handler = Get,
       .summary = "Returns the value of a key",
       .since = "1.0.0",
       .group = "string",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RO access"},
      {.name = "getset",
       .arity = 3,
       .flags = kWrite | kDenyOom | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @string @fast",
       .handler = Getset,
       .summary = "Sets a value and returns the one before",
       .since = "1.0.0",
       .group = "string",
       .complexity = "O(1)",
       .syntax = "key:key value",
       .key_access = "RW access update",
       .deprecated_since = "6.2.0",
       .replaced_by = "`SET` with the `!GET` argument"},
      {.name = "getdel",
       .arity = 2,
       .flags = kWrite | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @string @fast",
       .handler = Getdel,
       .summary = "Returns a value and deletes the key",
       .since = "6.2.0",
       .group = "string",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RW access delete"},
      {.name = "getex",
       .arity = -2,
       .flags = kWrite | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @string @fast",
       .handler = Getex,
       .summary = "Returns a value and changes its expiry",
       .since = "6.2.0",
       .group = "string",
       .complexity = "O(1)",
       .syntax = "key:key expiration:(EX seconds:integer|PX milliseconds:integer|EXAT "
                 "unix-time-seconds:unix-time|PXAT unix-time-milliseconds:unix-time|PERSIST)?",
       .key_access = "RW access update"},
      {.name = "setnx",
       .arity = 3,
       .flags = kWrite | kDenyOom | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @string @fast",
       .handler = Setnx,
       .summary = "Sets a value if the key does not exist",
       .since = "1.0.0",
       .group = "string",
       .complexity = "O(1)",
       .syntax = "key:key value",
       .key_access = "OW insert"},
      {.name = "setex",
       .arity = 4,
       .flags = kWrite | kDenyOom,
       .keys = {1, 1, 1},
       .categories = "@write @string @slow",
       .handler = Setex,
       .summary = "Sets a value that expires after some seconds",
       .since = "2.0.0",
       .group = "string",
       .complexity = "O(1)",
       .syntax = "key:key seconds:integer value",
       .key_access = "OW update"},
      {.name = "psetex",
       .arity = 4,
       .flags = kWrite | kDenyOom,
       .keys = {1, 1, 1},
       .categories = "@write @string @slow",
       .handler = Psetex,
       .summary = "Sets a value that expires after some milliseconds",
       .since = "2.6.0",
       .group = "string",
       .complexity = "O(1)",
       .syntax = "key:key milliseconds:integer value",
       .key_access = "OW update"},
      {.name = "mget",
       .arity = -2,
       .flags = kReadonly | kFast,
       .keys = {1, -1, 1},
       .categories = "@read @string @fast",
       .handler = Mget,
       .summary = "Returns the values of several keys",
       .since = "1.0.0",
       .group = "string",
       .complexity = "O(N) where N is the number of keys",
       .syntax = "key:key*",
       .key_access = "RO access",
       .tips = "request_policy:multi_shard"},
      {.name = "mset",
       .arity = -3,
       .flags = kWrite | kDenyOom,
       .keys = {1, -1, 2},
       .categories = "@write @string @slow",
       .handler = Mset,
       .summary = "Sets several keys in one change",
       .since = "1.0.1",
       .group = "string",
       .complexity = "O(N) where N is the number of keys",
       .syntax = "key_value:{key:key value}*",
       .key_access = "OW update",
       .tips = "request_policy:multi_shard response_policy:all_succeeded"},
      {.name = "msetnx",
       .arity = -3,
       .flags = kWrite | kDenyOom,
       .keys = {1, -1, 2},
       .categories = "@write @string @slow",
       .handler = Msetnx,
       .summary = "Sets several keys in one change if none of them exists",
       .since = "1.0.1",
       .group = "string",
       .complexity = "O(N) where N is the number of keys",
       .syntax = "key_value:{key:key value}*",
       .key_access = "OW insert",
       .tips = "request_policy:multi_shard response_policy:agg_min"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
