#include "command/scripts.h"

#include <algorithm>
#include <utility>

#include "base/number.h"
#include "base/sha1.h"
#include "command/support.h"
#include "resp/parser.h"

namespace polyarch::command {
namespace {

constexpr size_t kShaChars = 40;
constexpr size_t kLibraryNameBytesMax = kKeyBytesMax - kFunctionPrefix.size();  // it is in a key

// The words of a first line, which may be quoted as in inline commands; none if a quote does not end.
std::vector<std::string> Words(std::string_view line) {
  resp::Parser parser;
  const std::string request = std::string(line) + "\n";
  const resp::Limits limits{.inline_bytes_max = request.size()};
  if (parser.Next(request, limits) != resp::Parser::State::kRequest) return {};
  return {parser.arguments().begin(), parser.arguments().end()};
}

// The first line's flags. What is run is the rest, with its line end, so that lines count from the
// first.
base::Status ReadShebang(Scripts::Script& script, std::string_view& body) {
  body = script.source;
  if (!body.starts_with("#!")) return {};
  const size_t end = body.find('\n');
  if (end == std::string_view::npos) return base::Invalid("ERR Invalid script shebang");
  const std::vector<std::string> words = Words(body.substr(0, end));
  if (words.empty()) return base::Invalid("ERR Invalid engine in script shebang");
  body.remove_prefix(end);
  if (words.front() != "#!lua") {
    return base::Invalid("ERR Unexpected engine in script shebang: " + words.front());
  }
  script.has_shebang = true;
  for (size_t i = 1; i < words.size(); ++i) {
    std::string_view word = words[i];
    if (!word.starts_with("flags="))
      return base::Invalid("ERR Unknown lua shebang option: " + std::string(word));
    word.remove_prefix(6);
    while (!word.empty()) {
      const size_t comma = std::min(word.find(','), word.size());
      const std::string_view name = word.substr(0, comma);
      const uint32_t flag = script::ScriptFlagByName(name);
      if (flag == 0)
        return base::Invalid("ERR Unexpected flag in script shebang: " + std::string(name));
      script.flags |= flag;
      word.remove_prefix(std::min(comma + 1, word.size()));
    }
  }
  return {};
}

// A library's first line: its name.
base::Result<std::string> LibraryName(std::string_view source, std::string_view& body) {
  if (!source.starts_with("#!")) return base::Invalid("ERR Missing library metadata");
  const size_t end = source.find('\n');
  if (end == std::string_view::npos) return base::Invalid("ERR Invalid library metadata");
  const std::vector<std::string> words = Words(source.substr(0, end));
  body = source.substr(end);
  if (words.empty()) return base::Invalid("ERR Invalid library metadata");
  std::string name;
  bool named = false;
  for (size_t i = 1; i < words.size(); ++i) {
    std::string_view word = words[i];
    if (!EqualsIgnoreCase(word.substr(0, 5), "name=")) {
      return base::Invalid("ERR Invalid metadata value given: " + std::string(word));
    }
    if (named)
      return base::Invalid("ERR Invalid metadata value, name argument was given multiple times");
    named = true;
    name = word.substr(5);
  }
  if (!named) return base::Invalid("ERR Library name was not given");
  const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (ToLower(c) >= 'a' && ToLower(c) <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
  if (!plain) {
    return base::Invalid(
        "ERR Library names can only contain letters, numbers, or underscores(_) and must be at "
        "least one character "
        "long");
  }
  if (name.size() > kLibraryNameBytesMax) {
    return base::Invalid("LIMIT a library's name may be " + std::to_string(kLibraryNameBytesMax) +
                         " bytes long");
  }
  const std::string_view engine = std::string_view(words.front()).substr(2);
  if (!EqualsIgnoreCase(engine, "lua")) return base::Invalid("ERR Engine '" + std::string(engine) + "' not found");
  return name;
}

std::string TooLong() {
  return "LIMIT a script may be " + std::to_string(kScriptBytesMax) + " bytes long";
}

}  // namespace

void Scripts::NoteChanged(std::string_view key) {
  if (key.starts_with(kFunctionPrefix)) {
    libraries_changed_ = true;
    const auto found = libraries_.find(key.substr(kFunctionPrefix.size()));
    if (found != libraries_.end()) found->second.stale = true;
  } else if (key == kScriptFlushKey) {
    for (Script& script : kept_)
      script.evaluated = false;
  }
}

// ---- scripts

Scripts::Script* Scripts::Lookup(std::string_view sha) {
  const auto found = by_sha_.find(sha);
  if (found == by_sha_.end()) return nullptr;
  if (found->second != kept_.begin()) kept_.splice(kept_.begin(), kept_, found->second);
  return &kept_.front();
}

// What was compiled in the old one is compiled again when it is needed; so this is done before a script
// is made ready, never between that and its run.
void Scripts::RenewIfSpent() {
  if (interpreter_ != nullptr && !interpreter_->spent()) return;
  interpreter_ = std::make_unique<script::Interpreter>(limits_);
  ++generation_;
}

base::Status Scripts::Compile(Script& script, const Expired& expired) {
  std::string_view body;
  script.flags = 0;
  if (auto s = ReadShebang(script, body); !s.ok()) return s;
  auto compiled = interpreter_->Compile(body, expired);
  if (!compiled.ok()) {
    return base::Invalid("ERR Error compiling script (new function): " +
                         compiled.status().message());
  }
  script.reference = *compiled;
  script.generation = generation_;
  return {};
}

void Scripts::Erase(Order::iterator script) {
  if (script->generation == generation_ && interpreter_ != nullptr)
    interpreter_->Forget(script->reference);
  kept_bytes_ -= script->source.size();
  by_sha_.erase(script->sha);
  kept_.erase(script);
}

void Scripts::Trim() {
  while (kept_.size() > 1 && (kept_.size() > kKeptMax || kept_bytes_ > kKeptBytesMax))
    Erase(std::prev(kept_.end()));
}

base::Result<Scripts::Ready> Scripts::Take(std::string_view source,
                                           bool evaluated,
                                           const Expired& expired) {
  RenewIfSpent();
  if (source.size() > kScriptBytesMax) return base::Invalid(TooLong());
  const std::string sha = base::Sha1Hex(source);
  Script* script = Lookup(sha);
  if (script == nullptr) {
    kept_.push_front({.sha = sha, .source = std::string(source)});
    script = &kept_.front();
    by_sha_.emplace(script->sha, kept_.begin());
    kept_bytes_ += source.size();
  }
  if (script->generation != generation_) {
    if (auto s = Compile(*script, expired); !s.ok()) {
      script->generation = 0;
      Erase(kept_.begin());
      return s;
    }
  }
  script->evaluated |= evaluated;
  Trim();
  return Ready{script, interpreter_.get()};
}

bool Scripts::Knows(keyspace::Keyspace& keys, std::string_view sha) {
  if (sha.size() != kShaChars) return false;
  const std::string lower = ToLower(sha);
  const auto found = by_sha_.find(lower);
  if (found != by_sha_.end() && found->second->evaluated) return true;
  return keys.Exists(keys.Ref(crdt::kReservedDatabase, std::string(kScriptPrefix) + lower));
}

Scripts::Ready Scripts::Find(keyspace::Keyspace& keys,
                             std::string_view sha,
                             const Expired& expired) {
  if (sha.size() != kShaChars) return {};
  RenewIfSpent();
  char key[kScriptPrefix.size() + kShaChars];
  std::copy(kScriptPrefix.begin(), kScriptPrefix.end(), key);
  std::transform(
      sha.begin(), sha.end(), key + kScriptPrefix.size(), [](char c) { return ToLower(c); });
  const std::string_view name(key, sizeof key);
  Script* script = Lookup(name.substr(kScriptPrefix.size()));
  if (script == nullptr || !script->evaluated) {
    char digits[base::kInt64CharsMax];
    const keyspace::Shown shown = keys.Read(keys.Ref(crdt::kReservedDatabase, name));
    if (!shown.exists()) return {};
    if (script == nullptr) {
      auto taken = Take(shown.Text(digits), /*evaluated=*/false, expired);
      return taken.ok() ? *taken : Ready{};
    }
  }
  if (script->generation != generation_ && !Compile(*script, expired).ok()) return {};
  return {script, interpreter_.get()};
}

// ---- libraries

base::Result<std::string> Scripts::NameOf(std::string_view source) {
  std::string_view body;
  return LibraryName(source, body);
}

base::Status Scripts::ReadLibrary(const script::Limits& limits,
                                  std::string_view source,
                                  script::Host& host,
                                  Library& library) {
  if (source.size() > kScriptBytesMax) return base::Invalid(TooLong());
  std::string_view body;
  auto name = LibraryName(source, body);
  if (!name.ok()) return name.status();
  library.name = *name;
  library.source = source;
  library.functions.clear();
  library.interpreter = std::make_unique<script::Interpreter>(limits);
  if (auto s = library.interpreter->LoadLibrary(body, host, library.functions); !s.ok()) {
    return base::Invalid("ERR " + s.message());
  }
  if (library.functions.empty()) return base::Invalid("ERR No functions registered");
  if (library.interpreter->kept_bytes() > kLibraryKeptBytesMax) {
    return base::Invalid("LIMIT the library keeps more than " + std::to_string(kLibraryKeptBytesMax) +
                         " bytes when it is loaded");
  }
  return {};
}

const std::map<std::string, Scripts::Library, std::less<>>& Scripts::Libraries(
    keyspace::Keyspace& keys, script::Host& host) {
  if (!libraries_changed_) return libraries_;
  libraries_changed_ = false;
  std::vector<std::string> names;
  uint64_t cursor = 0;
  do {
    cursor = keys.Scan(crdt::kReservedDatabase, cursor, 1000, [&](std::string_view key) {
      if (key.starts_with(kFunctionPrefix)) names.emplace_back(key.substr(kFunctionPrefix.size()));
    });
  } while (cursor != 0);
  std::map<std::string, Library, std::less<>> before = std::exchange(libraries_, {});
  functions_.clear();
  // By name, so that every leader makes the same of two that do not go together.
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  bool first = true;
  for (const std::string& name : names) {
    char digits[base::kInt64CharsMax];
    const std::string source(
        keys.Read(keys.Ref(crdt::kReservedDatabase, std::string(kFunctionPrefix) + name))
            .Text(digits));
    Library& library = libraries_[name];
    auto old = before.find(name);
    const bool same =
        old != before.end() && !old->second.stale && old->second.source == source;
    if (same && (old->second.error.empty() || old->second.ends == kLibraryEndsMax)) {
      library = std::move(old->second);
    } else {
      if (same) library.ends = old->second.ends;
      base::Status read = base::Invalid("there was no time yet");
      bool in_time = first || !host.Expired();
      if (in_time) {
        read = ReadLibrary(limits_, source, host, library);
        if (!read.ok() && library.interpreter != nullptr && library.interpreter->spent()) {
          // Only what had all the time there is has been slow.
          in_time = first;
          library.ends += first ? 1 : 0;
        }
        first = false;
      }
      if (!in_time) libraries_changed_ = true;
      if (!read.ok()) {
        library.error = read.message();
        library.name = name;
        library.source = source;
        library.functions.clear();
      }
    }
    for (const script::LibraryFunction& function : library.functions)
      functions_.try_emplace(ToLower(function.name), Function{&library, &function});
  }
  return libraries_;
}

bool Scripts::ReadsOnly(std::string_view command, std::string_view word) const {
  if (command == "eval") {
    Script script{.source = std::string(word.substr(0, word.find('\n') + 1))};
    std::string_view body;
    return ReadShebang(script, body).ok() && (script.flags & script::kFlagNoWrites) != 0;
  }
  const std::string lower = ToLower(word);
  if (command == "evalsha") {
    const auto found = by_sha_.find(lower);
    return found != by_sha_.end() && (found->second->flags & script::kFlagNoWrites) != 0;
  }
  const auto found = functions_.find(lower);
  return !libraries_changed_ && found != functions_.end() &&
         (found->second.function->flags & script::kFlagNoWrites) != 0;
}

bool Scripts::DeniesOom(std::string_view command, std::span<const std::string_view> arguments) const {
  constexpr uint32_t kRuns = script::kFlagAllowOom | script::kFlagNoWrites;
  if (arguments.size() < 2) return false;
  const std::string_view word = arguments[1];
  if (command == "eval" || command == "eval_ro") {
    if (!word.starts_with("#!")) return false;
    Script script{.source = std::string(word.substr(0, word.find('\n') + 1))};
    std::string_view body;
    return ReadShebang(script, body).ok() && script.has_shebang && (script.flags & kRuns) == 0;
  }
  if (command == "evalsha" || command == "evalsha_ro") {
    const auto found = by_sha_.find(ToLower(word));
    return found != by_sha_.end() && found->second->has_shebang && (found->second->flags & kRuns) == 0;
  }
  if (command != "fcall" && command != "fcall_ro") return false;
  const auto found = functions_.find(ToLower(word));
  return found != functions_.end() && (found->second.function->flags & kRuns) == 0;
}

Scripts::Function Scripts::FindFunction(keyspace::Keyspace& keys,
                                        std::string_view name,
                                        script::Host& host) {
  Libraries(keys, host);
  const std::string lower = ToLower(name);
  auto found = functions_.find(lower);
  if (found != functions_.end()) {
    Library& library = *found->second.library;
    if (!library.interpreter->spent()) return found->second;
    // A limit has ended it: from its source, as after a start.
    library.stale = true;
  } else {
    // It may be in one that a limit ended when it was read.
    const bool again = std::any_of(libraries_.begin(), libraries_.end(), [](const auto& l) {
      return l.second.ends > 0 && l.second.ends < kLibraryEndsMax;
    });
    if (!again || host.Expired()) return {};
  }
  libraries_changed_ = true;
  Libraries(keys, host);
  found = functions_.find(lower);
  return found == functions_.end() ? Function{} : found->second;
}

}  // namespace polyarch::command
