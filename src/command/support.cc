#include "command/support.h"

#include <algorithm>

#include "base/number.h"
#include "base/planted.h"
#include "command/monitors.h"

namespace polyarch::command {

bool EqualsIgnoreCase(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (ToLower(text[i]) != lower[i]) return false;
  }
  return true;
}

std::string ToLower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    c = ToLower(c);
  return lower;
}

std::string ToUpper(std::string_view text) {
  std::string upper(text);
  for (char& c : upper)
    c = ToUpper(c);
  return upper;
}

bool IsPlainName(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '!' && c <= '~'; });
}

std::optional<int64_t> ReadInteger(Context& c, std::string_view text, std::string_view error) {
  std::optional<int64_t> value = base::ParseInt64(text);
  if (!value) c.reply.Error(error);
  return value;
}

std::optional<uint8_t> ReadDatabase(Context& c, std::string_view text) {
  std::optional<int64_t> index = ReadInteger(c, text);
  if (!index) return std::nullopt;
  if (*index < 0 || *index >= static_cast<int64_t>(kDatabases)) {
    // Redis reads an int here and has other words for what is none.
    bool is_int = *index >= INT32_MIN && *index <= INT32_MAX;
    c.reply.Error(is_int
                      ? "ERR DB index is out of range"
                      : "ERR value is out of range, value must between -2147483648 and 2147483647");
    return std::nullopt;
  }
  return static_cast<uint8_t>(*index);
}

void ReplyShown(Context& c, const keyspace::Shown& shown) {
  if (!shown.exists()) return c.reply.Null();
  if (shown.is_integer) return c.reply.BulkInteger(shown.integer);
  c.reply.Bulk(shown.value);
}

bool RefuseConflict(Context& c, std::string_view key, const keyspace::Shown& shown) {
  if (shown.kind < keyspace::Shown::Kind::kConflict) [[likely]]
    return false;
  if (shown.kind == keyspace::Shown::Kind::kCollection) {
    c.reply.Error(kWrongType);
    return true;
  }
  std::string text = "CONFLICT ";
  text.append(base::FormatInt64(static_cast<int64_t>(shown.versions)));
  text.append(" concurrent versions of '").append(key).append("'; see CONFLICT GET");
  c.reply.Error(text);
  return true;
}

bool FitsReplacing(Context& c, size_t step) {
  size_t bytes = 0;
  for (std::string_view arg : c.args.subspan(1))
    bytes += arg.size();
  const size_t keys = c.count() / step;
  // What few clears take fits into what a message has beyond a largest change.
  constexpr size_t kFewClears = (size_t{4} << 20) / crdt::kClearBytesMax;
  if (keys * c.cluster.origins().size() > kFewClears) {
    for (size_t i = 1; i < c.count(); i += step)
      bytes += c.keys.Clears(c.Ref(c.args[i])).size() * crdt::kClearBytesMax;
  }
  size_t effects = keys;
  // Else they are cleared in as many changes as it takes.
  if (!c.change.in_transaction()) return FitsChange(c, bytes, effects);
  for (size_t i = 1; i < c.count(); i += step) {
    const auto elements = c.keys.ElementsWithCounters(c.Ref(c.args[i]));
    effects += elements.size();
    for (const auto& e : elements)
      bytes += c.args[i].size() + e.name.size() + e.clears.size() * crdt::kClearBytesMax;
  }
  return FitsChange(c, bytes, effects);
}

bool CheckKeySize(Context& c, std::string_view key) {
  if (key.size() <= kKeyBytesMax) [[likely]]
    return true;
  c.reply.Error("LIMIT key longer than 65535 bytes");
  return false;
}

bool FitsChange(Context& c, size_t bytes, size_t effects) {
  if (bytes + effects * kEffectBytesMax <= kChangeBytesMax) [[likely]]
    return true;
  c.reply.Error("LIMIT change of " + base::FormatInt64(static_cast<int64_t>(bytes)) +
                " bytes is larger than " +
                base::FormatInt64(static_cast<int64_t>(kChangeBytesMax)));
  return false;
}

bool FitsString(Context& c, int64_t offset, size_t added, std::string_view key) {
  int64_t size = 0;
  const bool overflow = __builtin_add_overflow(offset, static_cast<int64_t>(added), &size);
  if (overflow || size > kStringBytesMax) {
    c.reply.Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    return false;
  }
  return FitsChange(c, key.size() + static_cast<size_t>(size));
}

void PutPart(Context& c, const keyspace::KeyRef& ref, std::string_view whole, bool existed) {
  using Ttl = keyspace::Change::Ttl;
  c.change.Put(ref, whole, existed ? Ttl::kPart : Ttl::kNone);
}

bool DeleteSeen(Context& c, const keyspace::KeyRef& ref) {
  const bool shown = c.keys.Exists(ref);
  if (shown || (c.keys.HoldsLive(ref) && !PLANTED(kDeleteShownOnly))) c.change.Delete(ref);
  return shown;
}

void ReplySubcommandSyntax(Context& c) {
  constexpr size_t kShownMax = 128;  // as Redis
  c.reply.Error("ERR unknown subcommand or wrong number of arguments for '" +
                std::string(c.args[1].substr(0, kShownMax)) + "'. Try " + ToUpper(c.args[0]) + " HELP.");
}

void StopListening(ClusterHost& cluster, uint64_t client) {
  cluster.subscriptions().Forget(client);
  cluster.monitors().Forget(client);
  cluster.tracking().Forget(client);
}

uint64_t CountChanges(const clock::VersionVector& applied) {
  uint64_t changes = 0;
  applied.ForEach([&](clock::OriginIndex, uint64_t sequence) { changes += sequence; });
  return changes;
}

}  // namespace polyarch::command
