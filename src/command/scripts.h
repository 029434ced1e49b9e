// The scripts and libraries that this leader can run, compiled. What SCRIPT LOAD and FUNCTION LOAD
// load is kept in the reserved database, so every leader knows it; this is made from there. What
// EVAL has run is known to this leader alone, until it is pushed out by others.
// docs/design/0024-scripts.md.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "keyspace/keyspace.h"
#include "script/interpreter.h"

namespace polyarch::command {

// Where they are kept in the reserved database.
inline constexpr std::string_view kScriptPrefix = "script/";  // by SHA-1: the source
inline constexpr std::string_view kFunctionPrefix =
    "function/";  // by the library's name: its source
inline constexpr std::string_view kScriptFlushKey =
    "script-flush";  // another value after each SCRIPT FLUSH

inline constexpr size_t kScriptBytesMax = size_t{1} << 20;
inline constexpr size_t kScriptsMax = 10'000;  // loaded
inline constexpr size_t kLibrariesMax = 256;
// What each holds once it is loaded, in locals of its own.
inline constexpr size_t kLibraryKeptBytesMax = size_t{8} << 20;
// Of all that are loaded; what FUNCTION RESTORE loads is one change.
inline constexpr size_t kScriptBytesTogetherMax = size_t{64} << 20;
inline constexpr size_t kLibraryBytesTogetherMax = size_t{64} << 20;

class Scripts {
 public:
  explicit Scripts(const script::Limits& limits = {}) : limits_(limits) {}

  // Is this a key of theirs in the reserved database?
  static bool Owns(std::string_view key) {
    return key.starts_with("script") || key.starts_with(kFunctionPrefix);
  }
  // Such a key has changed, by whomever.
  void NoteChanged(std::string_view key);

  struct Script {
    std::string sha;
    std::string source;
    uint32_t flags = 0;        // script::ScriptFlag
    bool has_shebang = false;  // else `flags` says nothing
    bool evaluated = false;    // by EVAL, here
    int reference = 0;
    uint64_t generation = 0;  // of the interpreter to which that belongs
  };
  // Valid until the next call.
  struct Ready {
    Script* script = nullptr;
    script::Interpreter* interpreter = nullptr;  // it is compiled there
  };
  using Expired = std::function<bool()>;  // is the time to compile over?
  // The script to run. kInvalid with an error line: it is no Lua, or too long. `evaluated`: an EVAL
  // asks.
  base::Result<Ready> Take(std::string_view source, bool evaluated, const Expired& expired);
  // By its SHA-1, in any case; null: unknown.
  Ready Find(keyspace::Keyspace& keys, std::string_view sha, const Expired& expired);
  bool Knows(keyspace::Keyspace& keys, std::string_view sha);
  // Does what EVAL (`word` is the source), EVALSHA or FCALL is to run say of itself that it writes nothing? False also
  // if it is not known yet.
  bool ReadsOnly(std::string_view command, std::string_view word) const;
  // Does it, by its first line or its registration, not run when memory is full (Redis's `allow-oom`)? `arguments` are the
  // command's. False also if it says nothing, or is not known: of functions as of the last Libraries().
  bool DeniesOom(std::string_view command, std::span<const std::string_view> arguments) const;

  // ---- libraries
  struct Library {
    std::string name;
    std::string source;
    std::string error;   // it cannot be run: why
    bool stale = false;  // it is to be read again, be its source the same
    int ends = 0;        // so often it was read and ended by a limit
    std::vector<script::LibraryFunction> functions;
    std::unique_ptr<script::Interpreter> interpreter;
  };
  // As of now, by name. `host` is what their sources are run with, if they are. When its time is over
  // the rest is left to the next call (`pending`).
  const std::map<std::string, Library, std::less<>>& Libraries(keyspace::Keyspace& keys,
                                                               script::Host& host);
  struct Function {
    Library* library = nullptr;
    const script::LibraryFunction* function = nullptr;
  };
  // There may be functions that are not known yet.
  bool pending() const { return libraries_changed_; }
  // Null if there is none. Ready to run.
  Function FindFunction(keyspace::Keyspace& keys, std::string_view name, script::Host& host);
  // A library's name, by its first line; kInvalid with an error line.
  static base::Result<std::string> NameOf(std::string_view source);
  // A library's functions, by running its source; kInvalid with an error line.
  static base::Status ReadLibrary(const script::Limits& limits,
                                  std::string_view source,
                                  script::Host& host,
                                  Library& library);
  const script::Limits& limits() const { return limits_; }

  // How many are compiled, and of libraries how many were read.
  size_t size() const { return kept_.size(); }
  size_t functions() const { return functions_.size(); }
  size_t libraries() const { return libraries_.size(); }

 private:
  static constexpr size_t kKeptMax = 4096;  // compiled scripts
  static constexpr size_t kKeptBytesMax = size_t{32} << 20;
  // What a limit has ended may have met a slow moment. Then it is left until it changes: each time
  // may cost a second.
  static constexpr int kLibraryEndsMax = 3;

  using Order = std::list<Script>;
  Script* Lookup(std::string_view sha);
  void RenewIfSpent();
  base::Status Compile(Script& script, const Expired& expired);
  void Trim();
  void Erase(Order::iterator script);

  const script::Limits limits_;
  std::unique_ptr<script::Interpreter> interpreter_;
  uint64_t generation_ = 0;
  Order kept_;  // the last one used in front
  std::unordered_map<std::string_view, Order::iterator> by_sha_;
  size_t kept_bytes_ = 0;
  std::map<std::string, Library, std::less<>> libraries_;
  std::map<std::string, Function, std::less<>> functions_;  // by name in lower case
  bool libraries_changed_ = true;
};

}  // namespace polyarch::command
