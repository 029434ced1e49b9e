// Whole keys: DEL, EXISTS, TYPE, RENAME, COPY, MOVE, OBJECT. A key that holds concurrent versions
// without a winner exists, can be deleted and overwritten, but not read or copied.
#include "base/number.h"
#include "command/collection.h"
#include "command/families.h"
#include "command/support.h"
#include "keyspace/stream.h"

namespace polyarch::command {
namespace {

using keyspace::Change;
using keyspace::KeyRef;
using keyspace::Shown;

constexpr std::string_view kSameObjects = "ERR source and destination objects are the same";

void Del(Context& c) {
  if (!FitsReplacing(c, 1)) return;
  int64_t deleted = 0;
  for (std::string_view key : c.args.subspan(1))
    deleted += DeleteSeen(c, c.Ref(key)) ? 1 : 0;
  c.reply.Integer(deleted);
}

void Exists(Context& c) {
  int64_t count = 0;
  for (std::string_view key : c.args.subspan(1))
    count += c.keys.Read(c.Ref(key)).exists() ? 1 : 0;
  c.reply.Integer(count);
}

void Type(Context& c) {
  const Shown shown = c.keys.Read(c.Ref(c.args[1]));
  c.reply.Simple(shown.exists() ? TypeName(shown.type) : "none");
}

// Elements that are written to another key.
struct Copied {
  std::string name;
  std::string value;
};

// All that the collection shows, in the order in which it is walked. False, with the error given, if
// it holds a conflict or does not fit into a change, where each element may name `target` again.
bool ReadElements(Context& c,
                  std::string_view key,
                  const keyspace::Collection& from,
                  std::string_view target,
                  std::vector<Copied>& out) {
  size_t bytes = 0;
  bool conflict = false;
  from.ForEach([&](const keyspace::ElementView& entry) {
    Copied copied{std::string(entry.key()), {}};
    if (from.elements->type() == crdt::Type::kSortedSet) {
      copied.value = keyspace::EncodeScore(from.Score(entry));
    } else if (from.elements->type() == crdt::Type::kStream) {
      auto value = keyspace::Stream(from).CopyOf(entry, c.random);
      if (!value) return true;
      copied.value = std::move(*value);
    } else {
      const keyspace::ShownValue shown = from.Show(entry);
      conflict = shown.kind == keyspace::ShownValue::Kind::kConflict;
      if (conflict) return RefuseFieldConflict(c, key, entry.key(), shown), false;
      copied.value = TextOf(shown);
    }
    bytes += target.size() + copied.name.size() + copied.value.size();
    out.push_back(std::move(copied));
    return bytes <= kChangeBytesMax;
  });
  return !conflict && FitsChange(c, bytes, out.size());
}

// Writes what `shown` (just read of `source`) shows to `target`: value or elements, and expiry.
bool PutCopy(Context& c, const KeyRef& source, const Shown& shown, const KeyRef& target) {
  if (shown.kind == Shown::Kind::kCollection) {
    const crdt::Type type = shown.type;
    const int64_t expire_ms = shown.expire_ms;
    std::vector<Copied> elements;
    if (!ReadElements(c, source.key, c.keys.OpenAgain(source, type), target.key, elements)) return false;
    if (c.keys.Exists(target)) c.change.Delete(target);
    for (const Copied& e : elements)
      c.change.PutElement(target, type, e.name, e.value);
    if (expire_ms != crdt::kNever) c.change.SetExpiry(target, expire_ms);
    return true;
  }
  char scratch[base::kInt64CharsMax];
  std::string value(shown.Text(scratch));
  if (!FitsChange(c, target.key.size() + value.size(), 2)) return false;
  bool expires = shown.expire_ms != crdt::kNever;
  c.change.Put(target, value, expires ? Change::Ttl::kAt : Change::Ttl::kNone, shown.expire_ms);
  return true;
}

// RENAME and RENAMENX; false if the reply has been given.
bool RenameKey(Context& c, bool only_if_missing) {
  KeyRef source = c.Ref(c.args[1]);
  KeyRef target = c.Ref(c.args[2]);
  Shown shown = c.keys.Read(source);
  if (!shown.exists()) {
    c.reply.Error(kNoSuchKey);
    return false;
  }
  if (c.args[1] == c.args[2]) {
    only_if_missing ? c.reply.Integer(0) : c.reply.Ok();
    return false;
  }
  if (shown.kind == Shown::Kind::kConflict) return !RefuseConflict(c, c.args[1], shown);
  if (only_if_missing && c.keys.Exists(target)) {
    c.reply.Integer(0);
    return false;
  }
  if (!PutCopy(c, source, c.keys.Read(source), target)) return false;
  c.change.Delete(source);
  return true;
}

void Rename(Context& c) {
  if (RenameKey(c, false)) c.reply.Ok();
}

void Renamenx(Context& c) {
  if (RenameKey(c, true)) c.reply.Integer(1);
}

void Copy(Context& c) {
  uint8_t db = c.client.db;
  bool replace = false;
  for (size_t i = 3; i < c.count(); ++i) {
    if (EqualsIgnoreCase(c.args[i], "replace")) {
      replace = true;
    } else if (EqualsIgnoreCase(c.args[i], "db") && i + 1 < c.count()) {
      std::optional<uint8_t> read = ReadDatabase(c, c.args[++i]);
      if (!read) return;
      db = *read;
    } else {
      return ReplySyntaxError(c);
    }
  }
  if (db == c.client.db && c.args[1] == c.args[2]) return c.reply.Error(kSameObjects);
  KeyRef source = c.Ref(c.args[1]);
  KeyRef target = c.keys.Ref(db, c.args[2]);
  Shown shown = c.keys.Read(source);
  if (!shown.exists()) return c.reply.Integer(0);
  if (shown.kind == Shown::Kind::kConflict) return static_cast<void>(RefuseConflict(c, c.args[1], shown));
  if (!replace && c.keys.Exists(target)) return c.reply.Integer(0);
  if (PutCopy(c, source, c.keys.Peek(source), target)) c.reply.Integer(1);
}

void Move(Context& c) {
  std::optional<uint8_t> db = ReadDatabase(c, c.args[2]);
  if (!db) return;
  if (*db == c.client.db) return c.reply.Error(kSameObjects);
  KeyRef source = c.Ref(c.args[1]);
  KeyRef target = c.keys.Ref(*db, c.args[1]);
  Shown shown = c.keys.Read(source);
  if (!shown.exists()) return c.reply.Integer(0);
  if (shown.kind == Shown::Kind::kConflict) return static_cast<void>(RefuseConflict(c, c.args[1], shown));
  if (c.keys.Exists(target)) return c.reply.Integer(0);
  if (!PutCopy(c, source, c.keys.Read(source), target)) return;
  c.change.Delete(source);
  c.reply.Integer(1);
}

// ---- OBJECT

void ObjectEncoding(Context& c) {
  const KeyRef ref = c.Ref(c.args[2]);
  const Shown shown = c.keys.Read(ref);
  if (!shown.exists()) return c.reply.Null();
  if (shown.kind != Shown::Kind::kCollection && RefuseConflict(c, c.args[2], shown)) return;
  c.reply.Bulk(EncodingOf(c, ref, shown));
}

void ObjectRefcount(Context& c) {
  c.keys.Read(c.Ref(c.args[2])).exists() ? c.reply.Integer(1) : c.reply.Null();
}

// As Redis says it of the other kind.
bool CountsUses(Context& c) {
  return c.server.remembered().memory_limit().order == MemoryLimit::Order::kLfu;
}

void ObjectIdletime(Context& c) {
  KeyRef ref = c.Ref(c.args[2]);
  if (!c.keys.Read(ref).exists()) return c.reply.Null();
  if (CountsUses(c)) {
    return c.reply.Error(
        "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies "
        "at runtime LRU and LFU data will take some time to adjust.");
  }
  c.reply.Integer(IdleSeconds(c, ref));
}

void ObjectFreq(Context& c) {
  const KeyRef ref = c.Ref(c.args[2]);
  if (!c.keys.Read(ref).exists()) return c.reply.Null();
  const keyspace::Uses* uses = c.keys.uses();
  if (CountsUses(c) && uses != nullptr && uses->kind() == keyspace::Uses::Kind::kCount)
    return c.reply.Integer(uses->Count(ref.hash));
  c.reply.Error(
      "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that "
      "when switching between policies at runtime LRU and LFU data will take some time to adjust.");
}

}  // namespace

std::string_view EncodingOf(Context& c, const KeyRef& ref, const Shown& shown) {
  constexpr size_t kEmbeddedBytesMax = 44;  // Redis's embstr
  if (shown.kind == Shown::Kind::kCollection) {
    return EncodingOf(c.keys.OpenAgain(ref, shown.type), c.server.remembered().encodings());
  }
  if (shown.is_integer || base::ParseInt64(shown.value)) return "int";
  return shown.value.size() <= kEmbeddedBytesMax ? "embstr" : "raw";
}

int64_t IdleSeconds(Context& c, const KeyRef& ref) {
  // Reads leave a trace only while keys are to be evicted by that.
  const keyspace::Uses* uses = c.keys.uses();
  const keyspace::Entry* entry = c.keys.StoredAs(ref);
  if (uses != nullptr && uses->kind() == keyspace::Uses::Kind::kTime && entry != nullptr) return c.keys.IdleMs(*entry) / 1000;
  const uint64_t newest_ms = c.keys.NewestWriteMs(ref);
  if (newest_ms == 0) return 0;  // what was agreed on carries no time
  return std::max<int64_t>(0, (c.now_ms - static_cast<int64_t>(newest_ms)) / 1000);
}

void AddKeyFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "del",
       .arity = -2,
       .flags = kWrite,
       .keys = {1, -1, 1},
       .categories = "@keyspace @write @slow",
       .handler = Del,
       .summary = "Deletes keys",
       .since = "1.0.0",
       .group = "generic",
       .complexity = "O(N) where N is the number of keys",
       .syntax = "key:key*",
       .key_access = "RM delete",
       .tips = "request_policy:multi_shard response_policy:agg_sum"},
      {.name = "unlink",
       .arity = -2,
       .flags = kWrite | kFast,
       .keys = {1, -1, 1},
       .categories = "@keyspace @write @fast",
       .handler = Del,
       .summary = "Deletes keys",
       .since = "4.0.0",
       .group = "generic",
       .complexity = "O(N) where N is the number of keys",
       .syntax = "key:key*",
       .key_access = "RM delete",
       .tips = "request_policy:multi_shard response_policy:agg_sum"},
      {.name = "exists",
       .arity = -2,
       .flags = kReadonly | kFast,
       .keys = {1, -1, 1},
       .categories = "@keyspace @read @fast",
       .handler = Exists,
       .summary = "Counts how many of the keys exist",
       .since = "1.0.0",
       .group = "generic",
       .complexity = "O(N) where N is the number of keys",
       .syntax = "key:key*",
       .key_access = "RO",
       .tips = "request_policy:multi_shard response_policy:agg_sum"},
      {.name = "type",
       .arity = 2,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@keyspace @read @fast",
       .handler = Type,
       .summary = "Returns the type of a key",
       .since = "1.0.0",
       .group = "generic",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RO"},
      {.name = "rename",
       .arity = 3,
       .flags = kWrite,
       .keys = {1, 2, 1},
       .categories = "@keyspace @write @slow",
       .handler = Rename,
       .summary = "Moves a value and its expiry to another key",
       .since = "1.0.0",
       .group = "generic",
       .complexity = "O(N) where N is the length of the value",
       .syntax = "key:key newkey:key",
       .key_access = "RW access delete|OW update"},
      {.name = "renamenx",
       .arity = 3,
       .flags = kWrite | kFast,
       .keys = {1, 2, 1},
       .categories = "@keyspace @write @fast",
       .handler = Renamenx,
       .summary = "Moves a value and its expiry to another key that does not exist",
       .since = "1.0.0",
       .group = "generic",
       .complexity = "O(N) where N is the length of the value",
       .syntax = "key:key newkey:key",
       .key_access = "RW access delete|OW insert"},
      {.name = "copy",
       .arity = -3,
       .flags = kWrite | kDenyOom,
       .keys = {1, 2, 1},
       .categories = "@keyspace @write @slow",
       .handler = Copy,
       .summary = "Copies a value and its expiry to another key",
       .since = "6.2.0",
       .group = "generic",
       .complexity = "O(N) where N is the length of the value",
       .syntax = "source:key destination:key DB destination-db:integer? REPLACE?",
       .key_access = "RO access|OW update"},
      {.name = "touch",
       .arity = -2,
       .flags = kReadonly | kFast,
       .keys = {1, -1, 1},
       .categories = "@keyspace @read @fast",
       .handler = Exists,
       .summary = "Counts how many of the keys exist",
       .since = "3.2.1",
       .group = "generic",
       .complexity = "O(N) where N is the number of keys",
       .syntax = "key:key*",
       .key_access = "RO",
       .tips = "request_policy:multi_shard response_policy:agg_sum"},
      {.name = "move",
       .arity = 3,
       .flags = kWrite | kFast,
       .keys = {1, 1, 1},
       .categories = "@keyspace @write @fast",
       .handler = Move,
       .summary = "Moves a key to another database",
       .since = "1.0.0",
       .group = "generic",
       .complexity = "O(N) where N is the length of the value",
       .syntax = "key:key db:integer",
       .key_access = "RW access update"},
      {.name = "object",
       .arity = -2,
       .categories = "@slow",
       .summary = "Tells how values are kept",
       .since = "2.2.3",
       .group = "generic",
       .complexity = "Depends on the subcommand"},
      {.name = "object|encoding",
       .arity = 3,
       .flags = kReadonly,
       .keys = {2, 2, 1},
       .categories = "@keyspace @read @slow",
       .handler = ObjectEncoding,
       .summary = "Returns the encoding that Redis would give the value",
       .since = "2.2.3",
       .group = "generic",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RO",
       .tips = "nondeterministic_output"},
      {.name = "object|refcount",
       .arity = 3,
       .flags = kReadonly,
       .keys = {2, 2, 1},
       .categories = "@keyspace @read @slow",
       .handler = ObjectRefcount,
       .summary = "Returns 1 for a key that exists",
       .since = "2.2.3",
       .group = "generic",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RO",
       .tips = "nondeterministic_output"},
      {.name = "object|idletime",
       .arity = 3,
       .flags = kReadonly,
       .keys = {2, 2, 1},
       .categories = "@keyspace @read @slow",
       .handler = ObjectIdletime,
       .summary = "Returns the seconds since the key was last written",
       .since = "2.2.3",
       .group = "generic",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RO",
       .tips = "nondeterministic_output"},
      {.name = "object|freq",
       .arity = 3,
       .flags = kReadonly,
       .keys = {2, 2, 1},
       .categories = "@keyspace @read @slow",
       .handler = ObjectFreq,
       .summary = "Returns an access frequency, which is not tracked",
       .since = "4.0.0",
       .group = "generic",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RO",
       .tips = "nondeterministic_output"},
      {.name = "object|help",
       .arity = 2,
       .flags = kLoading | kStale,
       .categories = "@keyspace @slow",
       .handler = ContainerHelp,
       .summary = "Print this help",
       .since = "6.2.0",
       .group = "generic",
       .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
