// EVAL and what belongs to it. A script that SCRIPT LOAD loads is an ordinary replicated register
// in the reserved database, so EVALSHA finds it at every leader.
#include <string>
#include <vector>

#include "base/number.h"
#include "base/random.h"
#include "base/sha1.h"
#include "command/families.h"
#include "command/script_run.h"
#include "command/scripts.h"
#include "command/support.h"
#include "command/table.h"

namespace polyarch::command {
namespace {

constexpr std::string_view kNoScriptFound = "NOSCRIPT No matching script. Please use EVAL.";

// As long as a script may run, from when it is first asked.
Scripts::Expired CompileTime(Context& c) {
  return [&server = c.server, &until_us = c.script_until_us()] {
    const int64_t now_us = server.MonotonicMicros();
    if (until_us == 0) until_us = now_us + server.script_ms_max() * 1000;
    return now_us > until_us;
  };
}

void Run(Context& c,
         const Scripts::Ready& ready,
         const ScriptArguments& arguments,
         bool read_only) {
  const Scripts::Script& script = *ready.script;
  const bool writes_not = (script.flags & script::kFlagNoWrites) != 0;
  if (read_only && script.has_shebang && !writes_not) {
    return c.reply.Error("ERR Can not execute a script with write flag using *_ro command.");
  }
  const WhenFull when_full = WhenFullOf(script.has_shebang, script.flags);
  if (!AllowScript(c, when_full)) return;
  if (c.agreed != nullptr && c.may_wait && !read_only && !writes_not) [[unlikely]] {
    if (c.agreed->TakesScript(c, script.source, arguments.keys, arguments.rest)) return;
  }
  RunScript(c,
            *ready.interpreter,
            {.reference = script.reference,
             .name = script.sha,
             .keys = arguments.keys,
             .arguments = arguments.rest},
            read_only || writes_not,
            when_full);
}

void Evaluate(Context& c, bool read_only) {
  ScriptArguments arguments;
  if (!ReadScriptArguments(c, kNotInteger, arguments)) return;
  auto script = c.cluster.scripts().Take(c.args[1], /*evaluated=*/true, CompileTime(c));
  if (!script.ok()) return c.reply.Error(script.status().message());
  Run(c, *script, arguments, read_only);
}

void EvaluateSha(Context& c, bool read_only) {
  if (c.args[1].size() != 40) return c.reply.Error(kNoScriptFound);
  ScriptArguments arguments;
  if (!ReadScriptArguments(c, kNotInteger, arguments)) return;
  const Scripts::Ready script = c.cluster.scripts().Find(c.keys, c.args[1], CompileTime(c));
  if (script.script == nullptr) return c.reply.Error(kNoScriptFound);
  Run(c, script, arguments, read_only);
}

void Eval(Context& c) {
  Evaluate(c, /*read_only=*/false);
}
void EvalRo(Context& c) {
  Evaluate(c, /*read_only=*/true);
}
void Evalsha(Context& c) {
  EvaluateSha(c, /*read_only=*/false);
}
void EvalshaRo(Context& c) {
  EvaluateSha(c, /*read_only=*/true);
}

bool HasRoom(Context& c, size_t bytes) {
  const std::vector<std::string> loaded = LoadedKeys(c, kScriptPrefix);
  for (const std::string& key : loaded)
    bytes += c.keys.Read(c.keys.Ref(crdt::kReservedDatabase, key)).value.size();
  if (loaded.size() < kScriptsMax && bytes <= kScriptBytesTogetherMax) return true;
  c.reply.Error("LIMIT there are " + std::to_string(loaded.size()) +
                " loaded scripts already; see SCRIPT FLUSH");
  return false;
}

void ScriptLoad(Context& c) {
  auto script = c.cluster.scripts().Take(c.args[2], /*evaluated=*/false, CompileTime(c));
  if (!script.ok()) return c.reply.Error(script.status().message());
  const std::string sha = script->script->sha;
  const std::string key = std::string(kScriptPrefix) + sha;
  const keyspace::KeyRef ref = c.keys.Ref(crdt::kReservedDatabase, key);
  if (!c.keys.Exists(ref)) {
    if (const base::Status allowed = c.cluster.WriteAllowed(); !allowed.ok())
      return c.reply.Error(allowed.message());
    if (!HasRoom(c, c.args[2].size())) return;
    c.change.Put(ref, c.args[2], keyspace::Change::Ttl::kNone);
  }
  c.reply.Bulk(sha);
}

void ScriptExists(Context& c) {
  c.reply.Array(c.count() - 2);
  for (std::string_view sha : c.args.subspan(2))
    c.reply.Integer(c.cluster.scripts().Knows(c.keys, sha) ? 1 : 0);
}

void ScriptFlush(Context& c) {
  if (c.count() > 3 || (c.count() == 3 && !EqualsIgnoreCase(c.args[2], "sync") &&
                        !EqualsIgnoreCase(c.args[2], "async"))) {
    return c.reply.Error("ERR SCRIPT FLUSH only support SYNC|ASYNC option");
  }
  if (const base::Status allowed = c.cluster.WriteAllowed(); !allowed.ok())
    return c.reply.Error(allowed.message());
  for (const std::string& key : LoadedKeys(c, kScriptPrefix))
    c.change.Delete(c.keys.Ref(crdt::kReservedDatabase, key));
  // Any new value: who sees it forgets what EVAL has run.
  c.change.Put(c.keys.Ref(crdt::kReservedDatabase, kScriptFlushKey),
               std::to_string(c.random),
               keyspace::Change::Ttl::kNone);
  c.reply.Ok();
}

// A script runs to its end, or to its limit, before anybody else is served.
void ScriptKill(Context& c) {
  c.reply.Error("NOTBUSY No scripts in execution right now.");
}

void ScriptDebug(Context& c) {
  if (EqualsIgnoreCase(c.args[2], "no")) return c.reply.Ok();
  if (EqualsIgnoreCase(c.args[2], "yes") || EqualsIgnoreCase(c.args[2], "sync")) {
    return c.reply.Error("ERR SCRIPT DEBUG is not supported");
  }
  c.reply.Error("ERR Use SCRIPT DEBUG YES/SYNC/NO");
}

}  // namespace

void AddScriptFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr uint32_t kRun =
      kNoScript | kStale | kSkipMonitor | kNoMandatoryKeys | kMovableKeys | kRunsScript;
  static constexpr std::string_view kWhat = "@slow @scripting";
  static constexpr Row kRows[] = {
      {.name = "eval",
       .arity = -3,
       .flags = kRun,
       .keys = {.numkeys = 2},
       .categories = kWhat,
       .handler = Eval,
       .summary = "Runs a script in Lua as one change",
       .since = "2.6.0",
       .group = "scripting",
       .complexity = "Depends on the script",
       .syntax = "script numkeys:integer key:key?* arg?*",
       .key_access = "RW access update"},
      {.name = "evalsha",
       .arity = -3,
       .flags = kRun,
       .keys = {.numkeys = 2},
       .categories = kWhat,
       .handler = Evalsha,
       .summary = "Runs a script that is known by its SHA-1",
       .since = "2.6.0",
       .group = "scripting",
       .complexity = "Depends on the script",
       .syntax = "sha1 numkeys:integer key:key?* arg?*",
       .key_access = "RW access update"},
      {.name = "eval_ro",
       .arity = -3,
       .flags = kRun | kReadonly,
       .keys = {.numkeys = 2},
       .categories = kWhat,
       .handler = EvalRo,
       .summary = "Runs a script that may not write",
       .since = "7.0.0",
       .group = "scripting",
       .complexity = "Depends on the script",
       .syntax = "script numkeys:integer key:key* arg*",
       .key_access = "RO access"},
      {.name = "evalsha_ro",
       .arity = -3,
       .flags = kRun | kReadonly,
       .keys = {.numkeys = 2},
       .categories = kWhat,
       .handler = EvalshaRo,
       .summary = "Runs a script that is known by its SHA-1 and may not write",
       .since = "7.0.0",
       .group = "scripting",
       .complexity = "Depends on the script",
       .syntax = "sha1 numkeys:integer key:key* arg*",
       .key_access = "RO access"},
      {.name = "script",
       .arity = -2,
       .categories = "@slow",
       .summary = "Loaded scripts",
       .since = "2.6.0",
       .group = "scripting",
       .complexity = "Depends on the subcommand"},
      {.name = "script|load",
       .arity = 3,
       .flags = kNoScript | kStale | kRunsScript,
       .categories = kWhat,
       .handler = ScriptLoad,
       .summary = "Loads a script at every leader and returns its SHA-1",
       .since = "2.6.0",
       .group = "scripting",
       .complexity = "O(N) where N is the size of the script",
       .syntax = "script",
       .tips = "request_policy:all_nodes response_policy:all_succeeded"},
      {.name = "script|exists",
       .arity = -3,
       .flags = kNoScript | kRunsScript,
       .categories = kWhat,
       .handler = ScriptExists,
       .summary = "Tells which scripts are known",
       .since = "2.6.0",
       .group = "scripting",
       .complexity = "O(N) where N is the number of scripts to look for",
       .syntax = "sha1*",
       .tips = "request_policy:all_shards response_policy:agg_logical_and"},
      {.name = "script|flush",
       .arity = -2,
       .flags = kNoScript | kRunsScript,
       .categories = kWhat,
       .handler = ScriptFlush,
       .summary = "Forgets all scripts, at every leader",
       .since = "2.6.0",
       .group = "scripting",
       .complexity = "O(N) where N is the number of loaded scripts",
       .syntax = "async:(ASYNC|SYNC)?@6.2.0",
       .tips = "request_policy:all_nodes response_policy:all_succeeded"},
      {.name = "script|kill",
       .arity = 2,
       .flags = kNoScript | kAllowBusy,
       .categories = kWhat,
       .handler = ScriptKill,
       .summary = "Says that no script runs: none does while another command is served",
       .since = "2.6.0",
       .group = "scripting",
       .complexity = "O(1)",
       .tips = "request_policy:all_shards response_policy:one_succeeded"},
      {.name = "script|debug",
       .arity = 3,
       .flags = kNoScript,
       .categories = kWhat,
       .handler = ScriptDebug,
       .summary = "Not supported",
       .since = "3.2.0",
       .group = "scripting",
       .complexity = "O(1)",
       .syntax = "mode:(YES|SYNC|NO)"},
      {.name = "script|help",
       .arity = 2,
       .flags = kLoading | kStale,
       .categories = kWhat,
       .handler = ContainerHelp,
       .summary = "Print this help",
       .since = "5.0.0",
       .group = "scripting",
       .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
