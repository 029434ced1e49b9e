// The module redis: calls of commands and what belongs to them.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "base/sha1.h"
#include "lua/functions.h"
#include "script/inside.h"
#include "script/interpreter.h"

namespace polyarch::script {

namespace {

using lua::Guarded;

// A call costs more than an instruction.
constexpr uint64_t kStepsACall = 20;
constexpr size_t kBytesAStep = 64;
// Of a library: what is kept of them is in memory that Lua does not count.
constexpr size_t kFunctionsMax = 4096;
constexpr size_t kFunctionTextBytesMax = 4096;

int RaiseError(lua_State* lua, std::string_view message) {
  PushError(lua, message);
  return lua_error(lua);
}

// The arguments as words. False: the error is pushed. Numbers are formatted into `numbers`.
bool ReadWords(lua_State* lua,
               std::vector<std::string_view>& words,
               std::vector<std::string>& numbers) {
  const int count = lua_gettop(lua);
  if (count == 0) {
    PushError(lua, "Please specify at least one argument for this redis lib call");
    return false;
  }
  words.reserve(static_cast<size_t>(count));
  numbers.reserve(static_cast<size_t>(count));  // so that none of them moves
  for (int i = 1; i <= count; ++i) {
    const int type = lua_type(lua, i);
    if (type == LUA_TNUMBER) {
      char digits[64];
      const int size = std::snprintf(digits, sizeof digits, "%.17g", lua_tonumber(lua, i));
      words.push_back(numbers.emplace_back(digits, static_cast<size_t>(size)));
    } else if (type == LUA_TSTRING) {
      size_t size = 0;
      const char* text = lua_tolstring(lua, i, &size);
      words.emplace_back(text, size);
    } else {
      PushError(lua, "Lua redis lib command arguments must be strings or integers");
      return false;
    }
  }
  return true;
}

// Leaves the reply on the stack; true if it is an error.
bool CallCommand(lua_State* lua) {
  Interpreter& interpreter = Interpreter::Of(lua);
  if (lua::State::Of(lua).ended()) {
    PushError(lua, "the script has ended");
    return true;
  }
  std::vector<std::string_view> words;
  std::vector<std::string> numbers;
  if (!ReadWords(lua, words, numbers)) return true;
  resp::Buffer& out = interpreter.reply_buffer();
  out.clear();
  base::Status status = interpreter.host().Call(words, interpreter.protocol(), out);
  lua::MeterOf(lua).LookNow();  // the command may have taken all the time there was
  lua::MeterOf(lua).Charge(kStepsACall + out.size() / kBytesAStep);
  if (status.ok() && out.overflowed())
    status = base::Invalid("the reply of a command is too large");
  if (!status.ok()) {
    lua::State::Of(lua).End(status.message());
    PushError(lua, status.message());
    return true;
  }
  lua_settop(lua, 0);  // room for the reply where there were thousands of arguments
  const bool error = PushReply(lua, out.view());
  out.clear();
  return error;
}

int Call(lua_State* lua) {
  if (CallCommand(lua)) return lua_error(lua);
  return 1;
}

int ProtectedCall(lua_State* lua) {
  if (CallCommand(lua) && lua::State::Of(lua).ended()) return lua_error(lua);
  return 1;
}

int ErrorReply(lua_State* lua) {
  if (lua_gettop(lua) != 1 || lua_type(lua, 1) != LUA_TSTRING) {
    PushError(lua, "wrong number or type of arguments");
    return 1;
  }
  std::string text(lua::Text(lua, 1));
  if (!text.starts_with('-')) text.insert(text.begin(), '-');
  PushError(lua, text);
  return 1;
}

int StatusReply(lua_State* lua) {
  if (lua_gettop(lua) != 1 || lua_type(lua, 1) != LUA_TSTRING) {
    PushError(lua, "wrong number or type of arguments");
    return 1;
  }
  lua_createtable(lua, 0, 1);
  lua_pushvalue(lua, 1);
  lua_setfield(lua, -2, "ok");
  return 1;
}

int Sha1(lua_State* lua) {
  if (lua_gettop(lua) != 1) return RaiseError(lua, "wrong number of arguments");
  size_t size = 0;
  const char* text = lua_tolstring(lua, 1, &size);
  lua::MeterOf(lua).Charge(1 + size / 8);
  const std::string digits =
      base::Sha1Hex(text == nullptr ? std::string_view() : std::string_view(text, size));
  lua_pushlstring(lua, digits.data(), digits.size());
  return 1;
}

int Log(lua_State* lua) {
  const int count = lua_gettop(lua);
  if (count < 2) return RaiseError(lua, "redis.log() requires two arguments or more.");
  if (lua_isnumber(lua, 1) == 0)
    return RaiseError(lua, "First argument must be a number (log level).");
  const auto level = static_cast<int>(lua_tointeger(lua, 1));
  if (level < 0 || level > 3) return RaiseError(lua, "Invalid debug level.");
  std::string line;
  for (int i = 2; i <= count; ++i) {
    size_t size = 0;
    const char* text = lua_tolstring(lua, i, &size);
    if (text == nullptr) continue;
    if (i > 2) line += ' ';
    line.append(text, std::min<size_t>(size, 1024));
    if (line.size() > 1024) break;
  }
  lua::MeterOf(lua).Charge(kStepsACall);
  Interpreter::Of(lua).host().Log(level, line);
  return 0;
}

int SetResp(lua_State* lua) {
  if (lua_gettop(lua) != 1) return RaiseError(lua, "redis.setresp() requires one argument.");
  const auto version = static_cast<int>(lua_tointeger(lua, 1));
  if (version != 2 && version != 3) return RaiseError(lua, "RESP version must be 2 or 3.");
  Interpreter::Of(lua).set_protocol(version);
  return 0;
}

// What is replicated is always the effects: these say what they would in Redis, and change nothing.
int ReplicateCommands(lua_State* lua) {
  lua_pushboolean(lua, 1);
  return 1;
}

int SetRepl(lua_State* lua) {
  if (lua_gettop(lua) != 1) return RaiseError(lua, "redis.set_repl() requires two arguments.");
  const auto flags = static_cast<int>(lua_tointeger(lua, 1));
  if ((flags & ~3) != 0) {
    return RaiseError(
        lua, "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.");
  }
  return 0;
}

int AclCheckCommand(lua_State* lua) {
  std::vector<std::string_view> words;
  std::vector<std::string> numbers;
  if (!ReadWords(lua, words, numbers)) return lua_error(lua);
  if (!Interpreter::Of(lua).host().Knows(words)) {
    return RaiseError(lua, "Invalid command passed to redis.acl_check_cmd()");
  }
  lua_pushboolean(lua, Interpreter::Of(lua).host().Allows(words) ? 1 : 0);
  return 1;
}

// There is no debugger.
int Breakpoint(lua_State* lua) {
  lua_pushboolean(lua, 0);
  return 1;
}
int Debug(lua_State*) {
  return 0;
}

// ---- libraries

bool IsFunctionName(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

// The flags in the table on top; false if one of them is none.
bool ReadFlags(lua_State* lua, uint32_t& flags) {
  for (int i = 1;; ++i) {
    lua_rawgeti(lua, -1, i);
    if (lua_isnil(lua, -1)) break;
    size_t size = 0;
    const char* name = lua_isstring(lua, -1) != 0 ? lua_tolstring(lua, -1, &size) : nullptr;
    const uint32_t flag = name == nullptr ? 0 : ScriptFlagByName({name, size});
    lua_pop(lua, 1);
    if (flag == 0) return false;
    flags |= flag;
  }
  lua_pop(lua, 1);
  return true;
}

// Reads named arguments from the table at 1, leaves the callback at 2; an error's text, or null.
const char* ReadNamed(lua_State* lua, LibraryFunction& function) {
  bool named = false;
  bool callback = false;
  lua_settop(lua, 1);
  lua_pushnil(lua);  // the callback's place
  lua_pushnil(lua);
  while (lua_next(lua, 1) != 0) {
    if (lua_type(lua, -2) == LUA_TNUMBER)
      return "unknown argument given to redis.register_function";
    if (lua_type(lua, -2) != LUA_TSTRING) {
      return "named argument key given to redis.register_function is not a string";
    }
    const std::string_view key = lua_tostring(lua, -2);
    if (key == "function_name") {
      if (lua_isstring(lua, -1) == 0)
        return "function_name argument given to redis.register_function must be a string";
      size_t size = 0;
      lua_pushvalue(lua, -1);  // a number must stay one
      const char* text = lua_tolstring(lua, -1, &size);
      function.name.assign(text, size);
      lua_pop(lua, 1);
      named = true;
    } else if (key == "description") {
      if (lua_isstring(lua, -1) == 0)
        return "description argument given to redis.register_function must be a string";
      size_t size = 0;
      lua_pushvalue(lua, -1);
      const char* text = lua_tolstring(lua, -1, &size);
      function.description.assign(text, size);
      function.has_description = true;
      lua_pop(lua, 1);
    } else if (key == "callback") {
      if (!lua_isfunction(lua, -1))
        return "callback argument given to redis.register_function must be a function";
      lua_pushvalue(lua, -1);
      lua_replace(lua, 2);
      callback = true;
    } else if (key == "flags") {
      if (!lua_istable(lua, -1)) {
        return "flags argument to redis.register_function must be a table representing function "
               "flags";
      }
      if (!ReadFlags(lua, function.flags)) return "unknown flag given";
    } else {
      return "unknown argument given to redis.register_function";
    }
    lua_pop(lua, 1);
  }
  if (!named) return "redis.register_function must get a function name argument";
  if (!callback) return "redis.register_function must get a callback argument";
  return nullptr;
}

const char* ReadRegistration(lua_State* lua, LibraryFunction& function) {
  const int count = lua_gettop(lua);
  if (count < 1 || count > 2) return "wrong number of arguments to redis.register_function";
  if (count == 1) {
    if (!lua_istable(lua, 1)) {
      return "calling redis.register_function with a single argument is only applicable to Lua "
             "table (representing "
             "named arguments).";
    }
    return ReadNamed(lua, function);
  }
  if (lua_isstring(lua, 1) == 0)
    return "first argument to redis.register_function must be a string";
  if (!lua_isfunction(lua, 2))
    return "second argument to redis.register_function must be a function";
  size_t size = 0;
  const char* text = lua_tolstring(lua, 1, &size);
  function.name.assign(text, size);
  return nullptr;
}

int RegisterFunction(lua_State* lua) {
  std::vector<LibraryFunction>* functions = Interpreter::Of(lua).loading();
  if (functions == nullptr) {
    return RaiseError(lua, "redis.register_function can only be called on FUNCTION LOAD command");
  }
  lua::MeterOf(lua).Charge(kStepsACall);
  LibraryFunction function;
  if (const char* error = ReadRegistration(lua, function)) return RaiseError(lua, error);
  if (!IsFunctionName(function.name)) {
    return RaiseError(lua,
                      "Library names can only contain letters, numbers, or underscores(_) and must "
                      "be at least one "
                      "character long");
  }
  if (function.name.size() > kFunctionTextBytesMax ||
      function.description.size() > kFunctionTextBytesMax) {
    return RaiseError(lua,
                      "a function's name may be " + std::to_string(kFunctionTextBytesMax) +
                          " bytes long, and so may its description");
  }
  if (functions->size() == kFunctionsMax) {
    return RaiseError(lua,
                      "a library may have " + std::to_string(kFunctionsMax) + " functions");
  }
  lua::MeterOf(lua).Charge(functions->size() / 8);
  for (const LibraryFunction& other : *functions) {
    if (other.name == function.name)
      return RaiseError(lua, "Function already exists in the library");
  }
  lua_pushvalue(lua, 2);
  function.reference = luaL_ref(lua, LUA_REGISTRYINDEX);
  functions->push_back(std::move(function));
  return 0;
}

void Put(lua_State* lua, const char* name, lua::Function function) {
  lua_pushcfunction(lua, function);
  lua_setfield(lua, -2, name);
}

void PutNumber(lua_State* lua, const char* name, int number) {
  lua_pushinteger(lua, number);
  lua_setfield(lua, -2, name);
}

}  // namespace

void OpenRedis(lua_State* lua, RedisModule kind) {
  lua_newtable(lua);
  Put(lua, "log", &Guarded<&Log>);
  PutNumber(lua, "LOG_DEBUG", 0);
  PutNumber(lua, "LOG_VERBOSE", 1);
  PutNumber(lua, "LOG_NOTICE", 2);
  PutNumber(lua, "LOG_WARNING", 3);
  lua_pushliteral(lua, "7.0.15");
  lua_setfield(lua, -2, "REDIS_VERSION");
  PutNumber(lua, "REDIS_VERSION_NUM", 0x0007000f);
  if (kind == RedisModule::kLoading) {
    Put(lua, "register_function", &Guarded<&RegisterFunction>);
    // What is not there is an error.
    lua_newtable(lua);
    lua_pushcfunction(lua, [](lua_State* state) -> int {
      return luaL_error(
          state,
          "Script attempted to access nonexistent global variable '%s'",
          lua_isstring(state, 2) != 0 ? lua_tostring(state, 2) : luaL_typename(state, 2));
    });
    lua_setfield(lua, -2, "__index");
    lua_setmetatable(lua, -2);
    return;
  }
  Put(lua, "call", &Guarded<&Call>);
  Put(lua, "pcall", &Guarded<&ProtectedCall>);
  Put(lua, "error_reply", &ErrorReply);
  Put(lua, "status_reply", &StatusReply);
  Put(lua, "sha1hex", &Guarded<&Sha1>);
  Put(lua, "setresp", &SetResp);
  Put(lua, "set_repl", &SetRepl);
  PutNumber(lua, "REPL_NONE", 0);
  PutNumber(lua, "REPL_AOF", 1);
  PutNumber(lua, "REPL_SLAVE", 2);
  PutNumber(lua, "REPL_REPLICA", 2);
  PutNumber(lua, "REPL_ALL", 3);
  Put(lua, "acl_check_cmd", &AclCheckCommand);
  if (kind == RedisModule::kFunction) return;
  Put(lua, "replicate_commands", &ReplicateCommands);
  Put(lua, "breakpoint", &Breakpoint);
  Put(lua, "debug", &Debug);
}

}  // namespace polyarch::script
