#include "command/script_run.h"

#include <algorithm>

#include "base/number.h"
#include "base/planted.h"
#include "command/monitors.h"
#include "command/notify.h"
#include "command/rights.h"
#include "command/support.h"
#include "command/table.h"

namespace polyarch::command {
namespace {

// Of copies of what was there before, so that a script can be taken back. To make so many takes more than a
// second.
constexpr size_t kKeptBytesMax = size_t{256} << 20;
// A copy takes up to so many times what is copied.
constexpr size_t kCopyTimesMax = 32;

// May it wipe a whole key, or most of it? All of that is copied in one go.
bool MayWipe(const Row& row) {
  static constexpr std::string_view kNames[] = {
      "bitop", "copy", "del", "expire", "expireat", "geosearchstore", "getdel", "georadius",
      "georadiusbymember", "ltrim", "move", "mset", "pexpire", "pexpireat", "pfmerge", "psetex",
      "rename", "renamenx", "restore", "sdiffstore", "set", "setex", "sinterstore", "sort",
      "sunionstore", "unlink", "xtrim", "zdiffstore", "zinterstore", "zrangestore",
      "zremrangebylex", "zremrangebyrank", "zremrangebyscore", "zunionstore"};
  return std::find(std::begin(kNames), std::end(kNames), row.name) != std::end(kNames);
}

// What the command may copy.
size_t CopyBytes(Context& c, const Row& row) {
  // Not even all that there is.
  if (c.keys.memory_bytes() < kKeptBytesMax / kCopyTimesMax) [[likely]]
    return 0;
  if (row.name == "flushall") return c.change.CopyBytesOfAll(crdt::kAllDatabases);
  if (row.name == "flushdb") return c.change.CopyBytesOfAll(c.client.db);
  if (!MayWipe(row)) return 0;
  std::vector<size_t> indices;
  KeyIndices(row, c.args, indices);
  // These may take all but a few elements, one by one.
  const bool parts = row.name == "ltrim" || row.name == "xtrim" || row.name.starts_with("zremrange");
  size_t bytes = 0;
  for (size_t i : indices) {
    const keyspace::KeyRef ref = c.Ref(c.args[i]);
    bytes += parts ? c.change.CopyBytesOf(ref) : c.change.WipeBytesOf(ref);
  }
  return bytes;
}

// XREAD and XREADGROUP say so; other commands that may wait do not wait.
bool AsksToBlock(const Row& row, Arguments words) {
  if (row.name != "xread" && row.name != "xreadgroup") return false;
  for (size_t i = 1; i < words.size() && !EqualsIgnoreCase(words[i], "streams"); ++i) {
    if (EqualsIgnoreCase(words[i], "block")) return true;
    if (EqualsIgnoreCase(words[i], "count")) i += 1;
    if (EqualsIgnoreCase(words[i], "group")) i += 2;
  }
  return false;
}

std::string TooMuchReplaced() {
  return "LIMIT the script would replace more than " + std::to_string(kKeptBytesMax) +
         " bytes; nothing was done";
}

// What no script may do: what Redis says so of, what would end or outlive the change, and what
// cannot be taken back (configuration, decisions about conflicts).
bool IsForbidden(const Row& row) {
  return (row.flags & (kNoScript | kNoMulti)) != 0 ||
         (row.group == "polyarch" && (row.flags & kWrite) != 0 && !row.name.starts_with("escrow|"));
}

}  // namespace

WhenFull WhenFullOf(bool declares, uint32_t flags) {
  if (!declares) return WhenFull::kAsCommands;
  return (flags & (script::kFlagAllowOom | script::kFlagNoWrites)) != 0 ? WhenFull::kRuns : WhenFull::kRefused;
}

bool AllowScript(Context& c, WhenFull when_full) {
  if (!c.out_of_memory || when_full != WhenFull::kRefused) return true;
  c.reply.Error("OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'");
  return false;
}

bool DeniesOom(Context& c, const Row& row) {
  if ((row.flags & kDenyOom) != 0) return true;
  if ((row.flags & kRunsScript) == 0) return false;
  Scripts& scripts = c.cluster.scripts();
  if (scripts.pending() && row.name.starts_with("fcall")) {
    ScriptHost host(c, /*read_only=*/true);
    scripts.Libraries(c.keys, host);
  }
  return scripts.DeniesOom(row.name, c.args);
}

ScriptHost::ScriptHost(Context& c, bool read_only, WhenFull when_full)
    : c_(c),
      read_only_(read_only),
      when_full_(when_full),
      random_(c.random), timer_(c.server) {
  const int64_t now_ns = c.server.MonotonicNanos();
  timer_.Begin(now_ns);
  int64_t& until_us = c.script_until_us();
  if (until_us == 0) until_us = now_ns / 1000 + c.server.script_ms_max() * 1000;
  until_us_ = until_us;
}

base::Status ScriptHost::Refuse(std::string line) {
  refusal_ = std::move(line);
  return base::Invalid(refusal_);
}

base::Status ScriptHost::Call(std::span<const std::string_view> words,
                              int protocol,
                              resp::Buffer& out) {
  resp::Writer reply(out, protocol);
  const Row* row = Table::Instance().Find(words);
  if (row == nullptr) {
    reply.Error("ERR Unknown Redis command called from script");
    return {};
  }
  const auto count = static_cast<int>(words.size());
  if (row->arity >= 0 ? count != row->arity : count < -row->arity) {
    reply.Error("ERR Wrong number of args calling Redis command from script");
    return {};
  }
  if (IsForbidden(*row)) {
    reply.Error("ERR This Redis command is not allowed from script");
    return {};
  }
  Context inner{.client = c_.client,
                .args = words,
                .reply = reply,
                .keys = c_.keys,
                .change = c_.change,
                .cluster = c_.cluster,
                .server = c_.server,
                .now_ms = c_.now_ms,
                .random = random_.Next(),
                .may_wait = false,
                .publications = &publications_,
                .scripted = true,
                .notify = c_.notify,
                .shared_published_bytes = &c_.published_bytes()};
  // In Redis's order: rights first.
  if (c_.client.judged) [[unlikely]] {
    if (const std::string refusal = RefusalInScript(inner, *row); !refusal.empty()) {
      reply.Error(refusal);
      return {};
    }
  }
  if (read_only_ && MayReplicate(*row)) {
    reply.Error("ERR Write commands are not allowed from read-only scripts.");
    return {};
  }
  if (AsksToBlock(*row, words)) {
    reply.Error("ERR " + std::string(words[0]) +
                " command is not allowed with BLOCK option from scripts");
    return {};
  }
  if ((row->flags & kWrite) != 0) {
    if (!AllowWrite(inner, *row)) return {};
    // Behind its first write it must not be stopped.
    if (c_.out_of_memory && (row->flags & kDenyOom) != 0 && when_full_ != WhenFull::kRuns && !may_have_written_) {
      reply.Error(kOutOfMemory);
      return {};
    }
    may_have_written_ = true;
    if (c_.change.keeps() && c_.change.kept_bytes() + CopyBytes(inner, *row) > kKeptBytesMax)
      return Refuse(TooMuchReplaced());
  }
  if (c_.agreed != nullptr) [[unlikely]] {
    if (const base::Status may = c_.agreed->MayRun(inner, *row); !may.ok())
      return Refuse(may.message());
  }
  if ((row->flags & kWholeKeyspace) != 0 && c_.keys.merging()) {
    return Refuse(
        "TRYAGAIN this leader is merging another one's state, and the script looks at all keys; "
        "nothing was "
        "done: try again soon");
  }
  inner.notify ? RunAndNotify(inner, *row) : RunHandler(inner, *row);
  if (c_.cluster.monitors().any() && (c_.agreed == nullptr || !c_.agreed->Tries())) FeedMonitors(inner, *row, /*of_script=*/true);
  timer_.Ran(*row, words, nullptr, out.view(), /*last=*/false);
  if (c_.client.tracking != nullptr) {
    TrackRead(inner, *row);
    // As in Redis: a script that reads at all has read its KEYS, too.
    if ((row->flags & kReadonly) != 0 && !tracks_declared_) TrackDeclared(c_);
    tracks_declared_ |= (row->flags & kReadonly) != 0;
    // What it writes is not known any more: its next read notes all again.
    if ((row->flags & kWrite) != 0) tracks_declared_ = false;
  }
  CHECK(!inner.suspended);
  if (PLANTED(kTornScript)) c_.change.Finish();
  if (c_.change.bytes() > kChangeBytesMax) {
    return Refuse("LIMIT the script would write more than fits into one change (" +
                  std::to_string(kChangeBytesMax) + " bytes); nothing was done");
  }
  if (c_.published_bytes() > kPublishedBytesMax) {
    return Refuse("LIMIT the script would publish more than " + std::to_string(kPublishedBytesMax) +
                  " bytes; nothing was done");
  }
  if (c_.change.keeps() && c_.change.kept_bytes() > kKeptBytesMax) {
    return Refuse(TooMuchReplaced());
  }
  return {};
}

bool ScriptHost::Knows(std::span<const std::string_view> words) {
  const Row* row = Table::Instance().Find(words);
  return row != nullptr;
}

bool ScriptHost::Allows(std::span<const std::string_view> words) {
  if (!c_.client.judged) return true;
  const acl::User* user = c_.cluster.users().UserOf(c_.client);
  return user != nullptr && Judge(*user, *Table::Instance().Find(words), words).allowed();
}

void ScriptHost::Log(int level, std::string_view line) {
  c_.server.ScriptLog(level, line);
}

bool ScriptHost::Expired() {
  return c_.server.MonotonicMicros() > until_us_;
}

void RunScript(Context& c,
               script::Interpreter& interpreter,
               const script::Interpreter::Run& run,
               bool read_only,
               WhenFull when_full) {
  // In EXEC it is part of that change.
  const bool own = !c.change.in_transaction();
  if (own && !PLANTED(kTornScript)) c.change.BeginTransaction(/*keep=*/true);
  const uint8_t db = c.client.db;
  ScriptHost host(c, read_only, when_full);
  const base::Status status = interpreter.Execute(run, host, c.reply);
  c.client.db = db;
  if (!status.ok()) {
    const std::string line =
        host.refusal().empty()
            ? "LIMIT the script was ended, and nothing was done: " + status.message()
            : host.refusal();
    if (!own) {
      c.abandon = line;
    } else if (c.change.keeps()) {
      c.change.Revert();
    }
    return c.reply.Error(line);
  }
  if (own) c.change.EndTransaction();
  for (Publication& p : host.publications()) {
    if (c.publications != nullptr) {
      c.publications->push_back(std::move(p));
    } else if (p.notice != 0) {
      c.cluster.Notify(p.notice, p.channel, p.db, p.message);
    } else {
      c.cluster.Publish(p.shard, p.channel, p.message);
    }
  }
}

std::vector<std::string> LoadedKeys(Context& c, std::string_view prefix) {
  std::vector<std::string> found;
  uint64_t cursor = 0;
  do {
    cursor = c.keys.Scan(crdt::kReservedDatabase, cursor, 1000, [&](std::string_view key) {
      if (key.starts_with(prefix)) found.emplace_back(key);
    });
  } while (cursor != 0);
  return found;
}

bool ReadScriptArguments(Context& c, std::string_view bad_number, ScriptArguments& out) {
  const std::optional<int64_t> count = base::ParseInt64(c.args[2]);
  if (!count) {
    c.reply.Error(bad_number);
    return false;
  }
  if (*count > static_cast<int64_t>(c.count()) - 3) {
    c.reply.Error("ERR Number of keys can't be greater than number of args");
    return false;
  }
  if (*count < 0) {
    c.reply.Error("ERR Number of keys can't be negative");
    return false;
  }
  out.keys = c.args.subspan(3, static_cast<size_t>(*count));
  out.rest = c.args.subspan(3 + static_cast<size_t>(*count));
  return true;
}

}  // namespace polyarch::command
