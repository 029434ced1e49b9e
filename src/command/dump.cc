// DUMP and RESTORE: values in Redis's format (rdb/value.h), to and from Redis, too.
#include <algorithm>
#include <limits>

#include "base/number.h"
#include "base/sha1.h"
#include "command/collection.h"
#include "command/dump.h"
#include "command/families.h"
#include "command/list.h"
#include "command/stream.h"
#include "command/support.h"
#include "rdb/value.h"

namespace polyarch::command {
namespace {

using keyspace::Change;
using keyspace::KeyRef;
using keyspace::Shown;

// ---- DUMP

// False, with the error given, if a field is in conflict.
bool ReadCollection(Context& c,
                    std::string_view key,
                    const keyspace::Collection& from,
                    rdb::Value& value) {
  if (value.type == kList) {
    for (ListElement& e : Ends(from, true, from.size()))
      value.items.push_back(std::move(e.value));
    return true;
  }
  if (value.type == kStream) {
    value.stream = DumpedStream(keyspace::Stream(from));
    return true;
  }
  bool ok = true;
  from.ForEach([&](const keyspace::ElementView& entry) {
    std::string name(entry.key());
    if (value.type == crdt::Type::kHash) {
      const keyspace::ShownValue shown = from.Show(entry);
      ok = !RefuseFieldConflict(c, key, entry.key(), shown);
      value.fields.emplace_back(std::move(name), TextOf(shown));
    } else if (value.type == crdt::Type::kSortedSet) {
      value.members.emplace_back(std::move(name), from.Score(entry));
    } else {
      value.items.push_back(std::move(name));
    }
    return ok;
  });
  return ok;
}

// What the key shows; nothing with the error given, or with none if there is no key.
std::optional<rdb::Value> ReadValue(Context& c, std::string_view key) {
  const KeyRef ref = c.Ref(key);
  const Shown shown = c.keys.Peek(ref);
  if (!shown.exists()) return std::nullopt;
  rdb::Value value{.type = shown.type};
  if (shown.kind == Shown::Kind::kCollection) {
    if (!ReadCollection(c, key, c.keys.OpenAgain(ref, shown.type), value)) return std::nullopt;
  } else {
    if (RefuseConflict(c, key, shown)) return std::nullopt;
    char scratch[base::kInt64CharsMax];
    value.text = shown.Text(scratch);
  }
  return value;
}

void Dump(Context& c) {
  if (!c.keys.Read(c.Ref(c.args[1])).exists()) return c.reply.Null();
  if (const std::optional<rdb::Value> value = ReadValue(c, c.args[1])) c.reply.Bulk(rdb::WriteDump(*value));
}

// ---- RESTORE

struct RestoreOptions {
  bool replace = false;
  bool absolute = false;  // ABSTTL
  std::optional<int64_t> idle_seconds;
  std::optional<uint8_t> frequency;
};

bool ReadRestoreOptions(Context& c, RestoreOptions& options) {
  for (size_t i = 4; i < c.count(); ++i) {
    const bool more = i + 1 < c.count();
    if (EqualsIgnoreCase(c.args[i], "replace")) {
      options.replace = true;
    } else if (EqualsIgnoreCase(c.args[i], "absttl")) {
      options.absolute = true;
    } else if (EqualsIgnoreCase(c.args[i], "idletime") && more && !options.frequency) {
      const auto seconds = ReadInteger(c, c.args[++i]);
      if (!seconds) return false;
      options.idle_seconds = *seconds;
      if (*seconds >= 0) continue;
      c.reply.Error("ERR Invalid IDLETIME value, must be >= 0");
      return false;
    } else if (EqualsIgnoreCase(c.args[i], "freq") && more && !options.idle_seconds) {
      const auto value = ReadInteger(c, c.args[++i]);
      if (!value) return false;
      options.frequency = static_cast<uint8_t>(*value);
      if (*value >= 0 && *value <= 255) continue;
      c.reply.Error("ERR Invalid FREQ value, must be >= 0 and <= 255");
      return false;
    } else {
      ReplySyntaxError(c);
      return false;
    }
  }
  return true;
}

bool ReadPayload(Context& c, std::string_view payload, rdb::Value& value) {
  switch (rdb::ReadDump(payload, kChangeBytesMax, value)) {
    case rdb::ReadStatus::kOk:
      break;
    case rdb::ReadStatus::kBadSum:
      c.reply.Error("ERR DUMP payload version or checksum are wrong");
      return false;
    case rdb::ReadStatus::kMalformed:
      c.reply.Error("ERR Bad data format");
      return false;
    case rdb::ReadStatus::kTooLarge:
      c.reply.Error("LIMIT the value is larger than " +
                    base::FormatInt64(static_cast<int64_t>(kChangeBytesMax)) + " bytes");
      return false;
    case rdb::ReadStatus::kUnsupported:
      c.reply.Error("ERR Bad data format: values of modules are not in this version");
      return false;
  }
  return true;
}

// The elements of `value` as what is stored of each.
std::vector<std::pair<std::string, std::string>> ElementsOf(rdb::Value& value) {
  std::vector<std::pair<std::string, std::string>> elements = std::move(value.fields);
  for (std::string& item : value.items)
    elements.emplace_back(std::move(item), std::string());
  for (auto& [name, score] : value.members)
    elements.emplace_back(std::move(name), keyspace::EncodeScore(score));
  return elements;
}

bool FitsRestoredList(Context& c, std::string_view key, const std::vector<std::string>& items) {
  size_t bytes = 0;
  for (const std::string& item : items)
    bytes += item.size();
  return FitsPushed(c, key, items.size() + 2, bytes);
}

bool FitsRestored(Context& c,
                  std::string_view key,
                  const std::vector<std::pair<std::string, std::string>>& elements) {
  size_t bytes = 0;
  for (const auto& [name, value] : elements) {
    if (name.size() > crdt::kElementBytesMax) {
      c.reply.Error("LIMIT member or field longer than 65535 bytes");
      return false;
    }
    bytes += name.size() + value.size();
  }
  return FitsElements(c, key, bytes, elements.size() + 2);
}

// Of this leader only, as all that is known of uses.
void NoteUses(Context& c, const KeyRef& ref, const RestoreOptions& options) {
  constexpr int64_t kSecondsMax = std::numeric_limits<int64_t>::max() / 1000;
  keyspace::Uses* uses = c.keys.uses();
  if (uses == nullptr) return;
  if (options.idle_seconds) uses->SetIdle(ref.hash, std::min(*options.idle_seconds, kSecondsMax) * 1000);
  if (options.frequency) uses->SetCount(ref.hash, *options.frequency);
}

void Restore(Context& c) {
  RestoreOptions options;
  if (!ReadRestoreOptions(c, options)) return;
  const KeyRef ref = c.Ref(c.args[1]);
  const bool exists = c.keys.Exists(ref);
  if (!options.replace && exists) return c.reply.Error("BUSYKEY Target key name already exists.");
  const auto ttl = ReadInteger(c, c.args[2]);
  if (!ttl) return;
  if (*ttl < 0) return c.reply.Error("ERR Invalid TTL value, must be >= 0");
  rdb::Value value;
  if (!ReadPayload(c, c.args[3], value)) return;
  const crdt::Type type = value.type;
  const std::vector<std::string> pushed = type == kList ? std::move(value.items) : std::vector<std::string>();
  const auto elements = ElementsOf(value);
  const bool fits = type == crdt::Type::kString
                        ? FitsChange(c, c.args[1].size() + value.text.size())
                    : type == kList   ? FitsRestoredList(c, c.args[1], pushed)
                    : type == kStream ? FitsRestoredStream(c, c.args[1], value.stream)
                                    : FitsRestored(c, c.args[1], elements);
  if (!fits) return;

  const bool expires = *ttl != 0;
  int64_t expire_ms = *ttl;
  if (!options.absolute && __builtin_add_overflow(expire_ms, c.now_ms, &expire_ms))
    expire_ms = std::numeric_limits<int64_t>::max();
  if (expire_ms == crdt::kNever) --expire_ms;  // the highest one means "never"
  if (expires && expire_ms <= c.now_ms) {
    // Its time was over before it came.
    DeleteSeen(c, ref);
    return c.reply.Ok();
  }
  if (type == crdt::Type::kString) {
    c.change.Put(ref, value.text, expires ? Change::Ttl::kAt : Change::Ttl::kNone, expire_ms);
    NoteUses(c, ref, options);
    return c.reply.Ok();
  }
  if (exists) c.change.Delete(ref);
  for (const std::string& item : pushed) {
    if (!CheckPushed(c, c.change.Push(ref, false, item))) return;
  }
  for (const auto& [name, text] : elements)
    c.change.PutElement(ref, type, name, text);
  if (type == kStream) PutRestoredStream(c, ref, value.stream);
  if (expires) c.change.SetExpiry(ref, expire_ms);
  NoteUses(c, ref, options);
  c.reply.Ok();
}

}  // namespace

std::optional<KeyDigest> DigestOf(Context& c, std::string_view key) {
  std::optional<rdb::Value> value = ReadValue(c, key);
  if (!value) return std::nullopt;
  if (value->type == crdt::Type::kSet) std::sort(value->items.begin(), value->items.end());
  std::sort(value->fields.begin(), value->fields.end());
  std::sort(value->members.begin(), value->members.end());
  const std::string payload = rdb::WriteDump(*value);
  return KeyDigest{.hex = base::Sha1Hex(payload), .dump_bytes = payload.size()};
}

void AddDumpFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "dump",
       .arity = 2,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@keyspace @read @slow",
       .handler = Dump,
       .summary = "Returns a value in a form that RESTORE takes, here and in Redis",
       .since = "2.6.0",
       .group = "generic",
       .complexity = "O(N) where N is the size of the value",
       .syntax = "key:key",
       .key_access = "RO access",
       .tips = "nondeterministic_output"},
      {.name = "restore",
       .arity = -4,
       .flags = kWrite | kDenyOom,
       .keys = {1, 1, 1},
       .categories = "@keyspace @write @slow @dangerous",
       .handler = Restore,
       .summary = "Makes a key of what DUMP returned, here or in Redis",
       .since = "2.6.0",
       .group = "generic",
       .complexity = "O(N) where N is the size of the value",
       .syntax = "key:key ttl:integer serialized-value REPLACE?@3.0.0 ABSTTL?@5.0.0 IDLETIME "
                 "seconds:integer?@5.0.0 FREQ frequency:integer?@5.0.0",
       .key_access = "OW update"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
