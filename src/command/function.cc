// FUNCTION and FCALL: libraries of functions that are loaded once, at every leader.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/glob.h"
#include "command/families.h"
#include "command/script_run.h"
#include "command/scripts.h"
#include "command/support.h"
#include "command/table.h"
#include "rdb/libraries.h"

namespace polyarch::command {
namespace {

using LibraryMap = std::map<std::string, Scripts::Library, std::less<>>;

const LibraryMap& Libraries(Context& c) {
  ScriptHost host(c, /*read_only=*/true);
  return c.cluster.scripts().Libraries(c.keys, host);
}

std::string KeyOf(std::string_view name) {
  return std::string(kFunctionPrefix).append(name);
}

// ---- FCALL

void Call(Context& c, bool read_only) {
  ScriptHost host(c, /*read_only=*/true);
  const Scripts::Function found = c.cluster.scripts().FindFunction(c.keys, c.args[1], host);
  if (found.function == nullptr && c.cluster.scripts().pending()) {
    return c.reply.Error("TRYAGAIN this leader has not read all libraries yet");
  }
  if (found.function == nullptr) return c.reply.Error("ERR Function not found");
  ScriptArguments arguments;
  if (!ReadScriptArguments(c, "ERR Bad number of keys provided", arguments)) return;
  const bool writes_not = (found.function->flags & script::kFlagNoWrites) != 0;
  if (read_only && !writes_not) {
    return c.reply.Error("ERR Can not execute a script with write flag using *_ro command.");
  }
  const WhenFull when_full = WhenFullOf(/*declares=*/true, found.function->flags);
  if (!AllowScript(c, when_full)) return;
  RunScript(c,
            *found.library->interpreter,
            {.reference = found.function->reference,
             .name = found.function->name,
             .keys = arguments.keys,
             .arguments = arguments.rest,
             .as_globals = false},
            writes_not,
            when_full);
}

void Fcall(Context& c) {
  Call(c, /*read_only=*/false);
}
void FcallRo(Context& c) {
  Call(c, /*read_only=*/true);
}

// ---- loading

// The libraries to be stored, read and found to go with each other and with those that stay.
struct Loading {
  std::vector<std::pair<std::string, std::string>> sources;   // by name
  std::map<std::string, std::string, std::less<>> functions;  // by name in lower case: whose they are
};

// Those that are there and not in `replaced`.
void KeepFunctions(const LibraryMap& libraries, bool all_go, Loading& loading) {
  if (all_go) return;
  for (const auto& [name, library] : libraries) {
    for (const script::LibraryFunction& function : library.functions)
      loading.functions.emplace(ToLower(function.name), name);
  }
}

// False: the error was given.
bool AddLibrary(Context& c,
                const LibraryMap& libraries,
                bool replace,
                std::string_view quote,
                std::string_view source,
                ScriptHost& host,
                Loading& loading) {
  auto name = Scripts::NameOf(source);
  if (!name.ok()) {
    c.reply.Error(name.status().message());
    return false;
  }
  if (!replace && libraries.count(*name) != 0) {
    c.reply.Error("ERR Library " + std::string(quote) + *name + std::string(quote) +
                  " already exists");
    return false;
  }
  Scripts::Library library;
  if (auto s = Scripts::ReadLibrary(c.cluster.scripts().limits(), source, host, library); !s.ok()) {
    c.reply.Error(s.message());
    return false;
  }
  std::erase_if(loading.functions, [&](const auto& f) { return f.second == *name; });
  for (const script::LibraryFunction& function : library.functions) {
    // As in Redis: names in one library may differ in their case alone, and then one of them is called.
    const auto [place, fresh] = loading.functions.emplace(ToLower(function.name), *name);
    if (!fresh && place->second != *name) {
      c.reply.Error("ERR Function " + function.name + " already exists");
      return false;
    }
  }
  loading.sources.emplace_back(*name, source);
  return true;
}

void Store(Context& c, const Loading& loading) {
  for (const auto& [name, source] : loading.sources)
    c.change.Put(
        c.keys.Ref(crdt::kReservedDatabase, KeyOf(name)), source, keyspace::Change::Ttl::kNone);
}

void ReplyTooManyLibraries(Context& c) {
  c.reply.Error("LIMIT " + std::to_string(kLibrariesMax) + " libraries of together " +
                std::to_string(kLibraryBytesTogetherMax) + " bytes may be loaded; see FUNCTION DELETE");
}

bool HasRoom(Context& c, const LibraryMap& libraries, const Loading& loading, bool all_go) {
  std::map<std::string_view, size_t> sizes;
  size_t written = 0;
  if (!all_go) {
    for (const auto& [name, library] : libraries)
      sizes[name] = library.source.size();
  }
  for (const auto& [name, source] : loading.sources) {
    sizes[name] = source.size();
    written += KeyOf(name).size() + source.size();
  }
  size_t bytes = 0;
  for (const auto& [name, size] : sizes)
    bytes += size;
  if (sizes.size() > kLibrariesMax || bytes > kLibraryBytesTogetherMax) {
    ReplyTooManyLibraries(c);
    return false;
  }
  size_t effects = loading.sources.size();
  for (const auto& [name, library] : libraries) {
    if (all_go) written += KeyOf(name).size();
    effects += all_go ? 1 : 0;
  }
  return FitsChange(c, written, effects);
}

void FunctionLoad(Context& c) {
  bool replace = false;
  for (std::string_view option : c.args.subspan(2, c.count() - 3)) {
    if (!EqualsIgnoreCase(option, "replace")) {
      return c.reply.Error("ERR Unknown option given: " + std::string(option));
    }
    replace = true;
  }
  const LibraryMap& libraries = Libraries(c);
  Loading loading;
  KeepFunctions(libraries, /*all_go=*/false, loading);
  ScriptHost host(c, /*read_only=*/true);
  if (!AddLibrary(c, libraries, replace, "'", c.args.back(), host, loading)) return;
  if (!HasRoom(c, libraries, loading, /*all_go=*/false)) return;
  Store(c, loading);
  c.reply.Bulk(loading.sources.front().first);
}

void DeleteAll(Context& c) {
  for (const std::string& key : LoadedKeys(c, kFunctionPrefix))
    c.change.Delete(c.keys.Ref(crdt::kReservedDatabase, key));
}

void FunctionDelete(Context& c) {
  const std::string key = KeyOf(c.args[2]);
  const keyspace::KeyRef ref = c.keys.Ref(crdt::kReservedDatabase, key);
  if (!c.keys.Exists(ref)) return c.reply.Error("ERR Library not found");
  c.change.Delete(ref);
  c.reply.Ok();
}

void FunctionFlush(Context& c) {
  if (c.count() > 3) return ReplySubcommandSyntax(c);
  if (c.count() == 3 && !EqualsIgnoreCase(c.args[2], "sync") && !EqualsIgnoreCase(c.args[2], "async")) {
    return c.reply.Error("ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
  }
  DeleteAll(c);
  c.reply.Ok();
}

// ---- looking

void ReplyLibrary(Context& c, const Scripts::Library& library, bool with_code) {
  c.reply.Map(with_code ? 4 : 3);
  c.reply.Bulk("library_name");
  c.reply.Bulk(library.name);
  c.reply.Bulk("engine");
  c.reply.Bulk("LUA");
  c.reply.Bulk("functions");
  c.reply.Array(library.functions.size());
  for (const script::LibraryFunction& function : library.functions) {
    c.reply.Map(3);
    c.reply.Bulk("name");
    c.reply.Bulk(function.name);
    c.reply.Bulk("description");
    if (function.has_description) {
      c.reply.Bulk(function.description);
    } else {
      c.reply.Null();
    }
    c.reply.Bulk("flags");
    const std::vector<std::string_view> flags = script::ScriptFlagNames(function.flags);
    c.reply.Set(flags.size());
    for (std::string_view flag : flags)
      c.reply.Simple(flag);
  }
  if (!with_code) return;
  c.reply.Bulk("library_code");
  c.reply.Bulk(library.source);
}

void FunctionList(Context& c) {
  bool with_code = false;
  std::string_view pattern = "*";
  bool with_pattern = false;
  for (size_t i = 2; i < c.count(); ++i) {
    if (!with_code && EqualsIgnoreCase(c.args[i], "withcode")) {
      with_code = true;
    } else if (!with_pattern && EqualsIgnoreCase(c.args[i], "libraryname")) {
      if (i + 1 == c.count()) return c.reply.Error("ERR library name argument was not given");
      pattern = c.args[++i];
      with_pattern = true;
    } else {
      return c.reply.Error("ERR Unknown argument " + std::string(c.args[i]));
    }
  }
  std::vector<const Scripts::Library*> found;
  for (const auto& [name, library] : Libraries(c)) {
    if (base::GlobMatch(pattern, name, /*ignore_case=*/true)) found.push_back(&library);
  }
  c.reply.Array(found.size());
  for (const Scripts::Library* library : found)
    ReplyLibrary(c, *library, with_code);
}

void FunctionStats(Context& c) {
  const LibraryMap& libraries = Libraries(c);
  size_t functions = 0;
  for (const auto& [name, library] : libraries)
    functions += library.functions.size();
  c.reply.Map(2);
  c.reply.Bulk("running_script");
  c.reply.Null();
  c.reply.Bulk("engines");
  c.reply.Map(1);
  c.reply.Bulk("LUA");
  c.reply.Map(2);
  c.reply.Bulk("libraries_count");
  c.reply.Integer(static_cast<int64_t>(libraries.size()));
  c.reply.Bulk("functions_count");
  c.reply.Integer(static_cast<int64_t>(functions));
}

void FunctionKill(Context& c) {
  c.reply.Error("NOTBUSY No scripts in execution right now.");
}

void FunctionDump(Context& c) {
  std::vector<std::string_view> sources;
  for (const auto& [name, library] : Libraries(c))
    sources.push_back(library.source);
  c.reply.Bulk(rdb::WriteLibraries(sources));
}

void FunctionRestore(Context& c) {
  if (c.count() > 4) return ReplySubcommandSyntax(c);
  const bool flush = c.count() == 4 && EqualsIgnoreCase(c.args[3], "flush");
  const bool replace = c.count() == 4 && EqualsIgnoreCase(c.args[3], "replace");
  if (c.count() == 4 && !flush && !replace && !EqualsIgnoreCase(c.args[3], "append")) {
    return c.reply.Error(
        "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.");
  }
  std::vector<std::string> sources;
  const rdb::ReadStatus status =
      rdb::ReadLibraries(c.args[2], kLibraryBytesTogetherMax, sources);
  if (status == rdb::ReadStatus::kBadSum)
    return c.reply.Error("ERR DUMP payload version or checksum are wrong");
  if (status == rdb::ReadStatus::kTooLarge) {
    return c.reply.Error("LIMIT the libraries are larger than " +
                         std::to_string(kLibraryBytesTogetherMax) + " bytes");
  }
  if (status != rdb::ReadStatus::kOk)
    return c.reply.Error("ERR failed loading the given functions payload");
  if (sources.size() > kLibrariesMax) return ReplyTooManyLibraries(c);
  const LibraryMap& libraries = Libraries(c);
  Loading loading;
  KeepFunctions(libraries, flush, loading);
  static const LibraryMap kNone;
  ScriptHost host(c, /*read_only=*/true);
  for (const std::string& source : sources) {
    if (!AddLibrary(c, flush ? kNone : libraries, replace, "", source, host, loading)) return;
  }
  if (!HasRoom(c, libraries, loading, flush)) return;
  if (flush) DeleteAll(c);
  Store(c, loading);
  c.reply.Ok();
}

}  // namespace

void AddFunctionFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr uint32_t kRun =
      kNoScript | kStale | kSkipMonitor | kNoMandatoryKeys | kMovableKeys | kRunsScript;
  static constexpr std::string_view kWhat = "@slow @scripting";
  static constexpr std::string_view kWrites = "@write @slow @scripting";
  static constexpr Row kRows[] = {
      {.name = "fcall",
       .arity = -3,
       .flags = kRun,
       .keys = {.numkeys = 2},
       .categories = kWhat,
       .handler = Fcall,
       .summary = "Calls a function of a library as one change",
       .since = "7.0.0",
       .group = "scripting",
       .complexity = "Depends on the function",
       .syntax = "function numkeys:integer key:key?* arg?*",
       .key_access = "RW access update"},
      {.name = "fcall_ro",
       .arity = -3,
       .flags = kRun | kReadonly,
       .keys = {.numkeys = 2},
       .categories = kWhat,
       .handler = FcallRo,
       .summary = "Calls a function that may not write",
       .since = "7.0.0",
       .group = "scripting",
       .complexity = "Depends on the function",
       .syntax = "function numkeys:integer key:key* arg*",
       .key_access = "RO access"},
      {.name = "function",
       .arity = -2,
       .categories = "@slow",
       .summary = "Libraries of functions",
       .since = "7.0.0",
       .group = "scripting",
       .complexity = "Depends on the subcommand"},
      {.name = "function|load",
       .arity = -3,
       .flags = kWrite | kDenyOom | kNoScript,
       .categories = kWrites,
       .handler = FunctionLoad,
       .summary = "Loads a library at every leader",
       .since = "7.0.0",
       .group = "scripting",
       .complexity = "O(N) where N is the size of the library",
       .syntax = "REPLACE? function-code",
       .tips = "request_policy:all_shards response_policy:all_succeeded"},
      {.name = "function|delete",
       .arity = 3,
       .flags = kWrite | kNoScript,
       .categories = kWrites,
       .handler = FunctionDelete,
       .summary = "Deletes a library at every leader",
       .since = "7.0.0",
       .group = "scripting",
       .complexity = "O(N) where N is the number of functions in the library",
       .syntax = "library-name",
       .tips = "request_policy:all_shards response_policy:all_succeeded"},
      {.name = "function|flush",
       .arity = -2,
       .flags = kWrite | kNoScript,
       .categories = kWrites,
       .handler = FunctionFlush,
       .summary = "Deletes all libraries at every leader",
       .since = "7.0.0",
       .group = "scripting",
       .complexity = "O(N) where N is the number of functions",
       .syntax = "async:(ASYNC|SYNC)?",
       .tips = "request_policy:all_shards response_policy:all_succeeded"},
      {.name = "function|list",
       .arity = -2,
       .flags = kNoScript,
       .categories = kWhat,
       .handler = FunctionList,
       .summary = "Returns all libraries and their functions",
       .since = "7.0.0",
       .group = "scripting",
       .complexity = "O(N) where N is the number of functions",
       .syntax = "LIBRARYNAME library-name-pattern? WITHCODE?",
       .tips = "nondeterministic_output_order"},
      {.name = "function|stats",
       .arity = 2,
       .flags = kNoScript | kAllowBusy,
       .categories = kWhat,
       .handler = FunctionStats,
       .summary = "Returns how many libraries and functions there are",
       .since = "7.0.0",
       .group = "scripting",
       .complexity = "O(N) where N is the number of libraries",
       .tips = "nondeterministic_output request_policy:all_shards response_policy:special"},
      {.name = "function|kill",
       .arity = 2,
       .flags = kNoScript | kAllowBusy,
       .categories = kWhat,
       .handler = FunctionKill,
       .summary = "Says that no function runs: none does while another command is served",
       .since = "7.0.0",
       .group = "scripting",
       .complexity = "O(1)",
       .tips = "request_policy:all_shards response_policy:one_succeeded"},
      {.name = "function|dump",
       .arity = 2,
       .flags = kNoScript,
       .categories = kWhat,
       .handler = FunctionDump,
       .summary = "Returns all libraries in a serialized form",
       .since = "7.0.0",
       .group = "scripting",
       .complexity = "O(N) where N is the size of all libraries"},
      {.name = "function|restore",
       .arity = -3,
       .flags = kWrite | kDenyOom | kNoScript,
       .categories = kWrites,
       .handler = FunctionRestore,
       .summary = "Loads libraries from what FUNCTION DUMP returned",
       .since = "7.0.0",
       .group = "scripting",
       .complexity = "O(N) where N is the size of all libraries",
       .syntax = "serialized-value policy:(FLUSH|APPEND|REPLACE)?",
       .tips = "request_policy:all_shards response_policy:all_succeeded"},
      {.name = "function|help",
       .arity = 2,
       .flags = kLoading | kStale,
       .categories = kWhat,
       .handler = ContainerHelp,
       .summary = "Print this help",
       .since = "7.0.0",
       .group = "scripting",
       .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
