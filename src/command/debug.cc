// DEBUG: tools for tests and drills.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/number.h"
#include "command/collection.h"
#include "command/dump.h"
#include "command/families.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

// As Redis: only if the configuration says so, since DEBUG SLEEP stops everybody.
bool DebugAllowed(Context& c) {
  auto found = c.server.ConfigGet("enable-debug-command");
  std::string allowed = found.empty() ? "yes" : found[0].second;
  bool local = c.client.address.starts_with("127.") || c.client.address.starts_with("[::1]") || c.client.address.starts_with("/");
  if (allowed == "yes" || (allowed == "local" && local)) return true;
  c.reply.Error(
      "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you "
      "can "
      "run it from a local connection, otherwise you need to set this option in the configuration "
      "file, and then restart the server.");
  return false;
}

void DebugSleep(Context& c) {
  if (!DebugAllowed(c)) return;
  std::optional<long double> seconds = base::ParseLongDouble(c.args[2]);
  if (!seconds || *seconds < 0) return c.reply.Error(kNotFloat);
  c.server.Sleep(static_cast<double>(*seconds));
  c.reply.Ok();
}

void DebugDigest(Context& c) {
  if (DebugAllowed(c)) c.reply.Simple(c.cluster.DigestText());
}

void DebugError(Context& c) {
  if (DebugAllowed(c)) c.reply.Error(c.args[2]);
}

// One value of each type of the protocol, for tests of clients.
void DebugProtocol(Context& c) {
  if (!DebugAllowed(c)) return;
  const std::string type = ToLower(c.args[2]);
  auto numbers = [&c] {
    for (int64_t i = 0; i < 3; ++i)
      c.reply.Integer(i);
  };
  if (type == "string") return c.reply.Bulk("Hello World");
  if (type == "integer") return c.reply.Integer(12345);
  if (type == "double") return c.reply.resp3() ? c.reply.out().Append(",3.141\r\n") : c.reply.Bulk("3.141");
  if (type == "bignum") return c.reply.BigNumber("1234567999999999999999999999999999999");
  if (type == "null") return c.reply.Null();
  if (type == "verbatim") return c.reply.Verbatim("This is a verbatim\nstring");
  if (type == "true" || type == "false") return c.reply.Boolean(type == "true");
  if (type == "array") {
    c.reply.Array(3);
    return numbers();
  }
  if (type == "set") {
    c.reply.Set(3);
    return numbers();
  }
  if (type == "map") {
    c.reply.Map(3);
    for (int64_t i = 0; i < 3; ++i) {
      c.reply.Integer(i);
      c.reply.Boolean(i == 1);
    }
    return;
  }
  if (type == "attrib") {
    if (c.reply.resp3()) {
      c.reply.out().Append("|1\r\n");
      c.reply.Bulk("key-popularity");
      c.reply.Array(2);
      c.reply.Bulk("key:123");
      c.reply.Integer(90);
    }
    return c.reply.Bulk("Some real reply following the attribute");
  }
  if (type == "push") {
    if (!c.reply.resp3()) return c.reply.Error("ERR RESP2 is not supported by this command");
    c.reply.Push(2);
    c.reply.Bulk("server-cpu-usage");
    c.reply.Integer(42);
    return c.reply.Bulk("Some real reply following the push reply");
  }
  c.reply.Error(
      "ERR Wrong protocol type name. Please use one of the following: "
      "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false");
}

// The state is on the disk when this answers; there is nothing to be read back.
void DebugReload(Context& c) {
  if (!DebugAllowed(c)) return;
  const bool known = std::all_of(c.args.begin() + 2, c.args.end(), [](std::string_view option) {
    return EqualsIgnoreCase(option, "merge") || EqualsIgnoreCase(option, "noflush") || EqualsIgnoreCase(option, "nosave");
  });
  if (!known) return c.reply.Error("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.");
  if (c.client.ticket == 0) c.client.ticket = c.cluster.StartCheckpoint();
  if (!c.cluster.CheckpointDone(c.client.ticket)) {
    c.suspended = true;
    return;
  }
  c.client.ticket = 0;
  c.reply.Ok();
}

void DebugDigestValue(Context& c) {
  if (!DebugAllowed(c)) return;
  constexpr std::string_view kNothing = "0000000000000000000000000000000000000000";
  std::vector<std::string> digests;
  for (std::string_view key : c.args.subspan(2)) {
    std::optional<KeyDigest> digest = c.keys.Exists(c.Ref(key)) ? DigestOf(c, key) : KeyDigest{.hex = std::string(kNothing)};
    if (!digest) return;
    digests.push_back(std::move(digest->hex));
  }
  c.reply.Array(digests.size());
  for (const std::string& digest : digests)
    c.reply.Simple(digest);
}

// In Redis's form, for those who look into it. Where a value lies in memory is nobody's business.
void DebugObject(Context& c) {
  if (!DebugAllowed(c)) return;
  const keyspace::KeyRef ref = c.Ref(c.args[2]);
  const keyspace::Shown shown = c.keys.Read(ref);
  if (!shown.exists()) return c.reply.Error("ERR no such key");
  const std::optional<KeyDigest> digest = DigestOf(c, c.args[2]);
  if (!digest) return;
  constexpr size_t kFooter = 11;  // the type's byte, the version and the checksum
  const int64_t idle = IdleSeconds(c, ref);
  const int64_t lru = (c.now_ms / 1000 - idle) % (1 << 24);
  std::string line = "Value at:0x0 refcount:1 encoding:";
  line.append(EncodingOf(c, ref, shown));
  line.append(" serializedlength:").append(std::to_string(digest->dump_bytes - kFooter));
  line.append(" lru:").append(std::to_string(lru)).append(" lru_seconds_idle:").append(std::to_string(idle));
  c.reply.Simple(line);
}

void DebugLog(Context& c) {
  if (!DebugAllowed(c)) return;
  c.server.ScriptLog(3, std::string("DEBUG LOG: ").append(c.args[2]));
  c.reply.Ok();
}

// For test suites: what these switch is not there.
void DebugNothing(Context& c) {
  if (DebugAllowed(c)) c.reply.Ok();
}

}  // namespace

void AddDebugFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr uint32_t kOperator = kAdmin | kNoScript | kLoading | kStale;
  static constexpr std::string_view kCategories = "@admin @slow @dangerous";
  static constexpr Row kRows[] = {
      {.name = "debug", .arity = -2, .flags = kOperator, .categories = kCategories, .summary = "Tools for tests",
       .since = "1.0.0", .group = "server", .complexity = "Depends on the subcommand"},
      {.name = "debug|sleep", .arity = 3, .flags = kOperator, .categories = kCategories, .handler = DebugSleep,
       .summary = "Stops the whole server for some seconds", .since = "1.0.0", .group = "server",
       .complexity = "O(1)", .syntax = "seconds:double"},
      {.name = "debug|digest", .arity = 2, .flags = kOperator, .categories = kCategories, .handler = DebugDigest,
       .summary = "Returns a digest of all that is stored", .since = "1.0.0", .group = "server",
       .complexity = "O(N) where N is the number of keys"},
      {.name = "debug|error", .arity = 3, .flags = kOperator, .categories = kCategories, .handler = DebugError,
       .summary = "Answers with this error", .since = "1.0.0", .group = "server", .complexity = "O(1)",
       .syntax = "message"},
      {.name = "debug|protocol", .arity = 3, .flags = kOperator, .categories = kCategories,
       .handler = DebugProtocol, .summary = "Answers with a value of this type of the protocol", .since = "6.0.0",
       .group = "server", .complexity = "O(1)", .syntax = "type"},
      {.name = "debug|reload", .arity = -2, .flags = kOperator | kNoMulti, .categories = kCategories,
       .handler = DebugReload, .summary = "Makes a checkpoint", .since = "1.0.0", .group = "server",
       .complexity = "O(N) where N is the number of keys that have changed",
       .syntax = "option:(MERGE|NOFLUSH|NOSAVE)?*"},
      {.name = "debug|loadaof", .arity = 2, .flags = kOperator | kNoMulti, .categories = kCategories,
       .handler = DebugReload, .summary = "Makes a checkpoint", .since = "1.0.0", .group = "server",
       .complexity = "O(N) where N is the number of keys that have changed"},
      {.name = "debug|digest-value", .arity = -2, .flags = kOperator, .categories = kCategories,
       .handler = DebugDigestValue, .summary = "Returns a digest of each value", .since = "5.0.0", .group = "server",
       .complexity = "O(N) where N is the size of the values", .syntax = "key?*"},
      {.name = "debug|object", .arity = 3, .flags = kOperator, .categories = kCategories,
       .handler = DebugObject, .summary = "Tells about a value, in Redis's form", .since = "1.0.0", .group = "server",
       .complexity = "O(N) where N is the size of the value", .syntax = "key"},
      {.name = "debug|log", .arity = 3, .flags = kOperator, .categories = kCategories, .handler = DebugLog,
       .summary = "Writes a line into the log", .since = "6.0.0", .group = "server", .complexity = "O(1)",
       .syntax = "message"},
      {.name = "debug|set-active-expire", .arity = 3, .flags = kOperator, .categories = kCategories,
       .handler = DebugNothing, .summary = "Does nothing", .since = "1.0.0", .group = "server",
       .complexity = "O(1)", .syntax = "on:integer"},
      {.name = "debug|quicklist-packed-threshold", .arity = 3, .flags = kOperator, .categories = kCategories,
       .handler = DebugNothing, .summary = "Does nothing", .since = "7.0.0", .group = "server",
       .complexity = "O(1)", .syntax = "bytes"},
      {.name = "debug|help", .arity = 2, .flags = kLoading | kStale, .categories = kCategories,
       .handler = ContainerHelp, .summary = "Print this help", .since = "1.0.0", .group = "server",
       .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
