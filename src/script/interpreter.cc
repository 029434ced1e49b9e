#include "script/interpreter.h"

#include <string>
#include <utility>

#include "base/check.h"
#include "lua/functions.h"
#include "script/inside.h"

namespace polyarch::script {

namespace {

constexpr char kScriptChunk[] = "@user_script";
constexpr char kFunctionChunk[] = "@user_function";
// What a state may keep from run to run: compiled scripts, what a library has in locals of its own.
constexpr size_t kKeptBytesMax = size_t{64} << 20;
// Garbage is collected at once behind a run that has left so much.
constexpr size_t kGarbageBytes = size_t{1} << 20;

constexpr struct {
  std::string_view name;
  uint32_t flag;
} kFlags[] = {{"no-writes", kFlagNoWrites},
              {"allow-oom", kFlagAllowOom},
              {"allow-stale", kFlagAllowStale},
              {"no-cluster", kFlagNoCluster},
              {"allow-cross-slot-keys", kFlagAllowCrossSlotKeys}};

// A list of texts.
void PushTexts(lua_State* lua, std::span<const std::string_view> texts) {
  lua_createtable(lua, static_cast<int>(texts.size()), 0);
  for (size_t i = 0; i < texts.size(); ++i) {
    lua_pushlstring(lua, texts[i].data(), texts[i].size());
    lua_rawseti(lua, -2, static_cast<int>(i) + 1);
  }
}

// A field of the table on top, as text; empty if it is none.
std::string TextField(lua_State* lua, const char* name) {
  if (!lua_istable(lua, -1)) return {};
  lua_pushstring(lua, name);
  lua_rawget(lua, -2);
  size_t size = 0;
  const char* value = lua_isstring(lua, -1) != 0 ? lua_tolstring(lua, -1, &size) : nullptr;
  std::string found = value == nullptr ? std::string() : std::string(value, size);
  lua_pop(lua, 1);
  return found;
}

// What a protected call needs, in one place: whatever allocates may fail.
struct Task {
  const Interpreter::Run& run;
  resp::Writer& reply;
};

int RunTask(lua_State* lua) {
  const auto& task = *static_cast<const Task*>(lua_touserdata(lua, 1));
  lua_settop(lua, 0);
  ResetCjson(lua);
  lua_pushcfunction(lua, &NotePlace);
  lua_rawgeti(lua, LUA_REGISTRYINDEX, task.run.reference);
  PushTexts(lua, task.run.keys);
  PushTexts(lua, task.run.arguments);
  if (task.run.as_globals) {
    SetGlobal(lua, "ARGV");
    SetGlobal(lua, "KEYS");
  }
  const int code = lua_pcall(lua, task.run.as_globals ? 0 : 2, 1, 1);
  lua::State& state = lua::State::Of(lua);
  if (state.ended()) return 0;
  if (code == 0) {
    WriteReply(lua, task.reply, Interpreter::Of(lua).protocol());
    return 0;
  }
  std::string text = "ERR unknown error";
  if (lua_istable(lua, -1)) {
    if (std::string err = TextField(lua, "err"); !err.empty()) text = std::move(err);
    const std::string source = TextField(lua, "source");
    const std::string line = TextField(lua, "line");
    if (!source.empty() && !line.empty()) {
      text.append(" script: ")
          .append(task.run.name)
          .append(", on ")
          .append(source)
          .append(":")
          .append(line)
          .append(".");
    }
  } else {
    text = "ERR Error running script " + std::string(task.run.name) + ", ";
    text += lua_isstring(lua, -1) != 0 ? lua_tostring(lua, -1) : "execution failure";
  }
  task.reply.Error(text);
  return 0;
}

}  // namespace

uint32_t ScriptFlagByName(std::string_view name) {
  for (const auto& known : kFlags) {
    if (known.name == name) return known.flag;
  }
  return 0;
}

std::vector<std::string_view> ScriptFlagNames(uint32_t flags) {
  std::vector<std::string_view> names;
  for (const auto& known : kFlags) {
    if ((flags & known.flag) != 0) names.push_back(known.name);
  }
  return names;
}

Interpreter::Interpreter(const Limits& limits)
    : limits_(limits), lua_(limits.steps_max, limits.memory_bytes_max, /*weighs_blocks=*/false) {
  lua_.set_owner(this);
  OpenEnvironment(lua_);
  const int code = lua_cpcall(
      lua_.get(),
      [](lua_State* lua) {
        OpenBit(lua);
        Expose(lua, "bit");
        OpenCjson(lua);
        Expose(lua, "cjson");
        OpenCmsgpack(lua);
        Expose(lua, "cmsgpack");
        OpenStruct(lua);
        Expose(lua, "struct");
        OpenRedis(lua, RedisModule::kScript);
        Expose(lua, "redis");
        return 0;
      },
      nullptr);
  CHECK(code == 0);
  lua_gc(lua_.get(), LUA_GCCOLLECT, 0);
  memory_idle_ = lua_.memory();
  reply_buffer_.SetLimit(limits.memory_bytes_max);
}

Interpreter::~Interpreter() = default;

void Interpreter::Begin(Host& host) {
  host_ = &host;
  protocol_ = 2;
  lua_.Restart(limits_.steps_max, [&host] { return host.Expired(); });
}

void Interpreter::Settle() {
  host_ = nullptr;
  ended_ = ended_ || lua_.ended();
  try {
    lua_settop(lua_.get(), 0);
    if (lua_.memory() > memory_idle_ + kGarbageBytes) {
      lua_.Collect();
      memory_idle_ = lua_.memory();
    }
  } catch (const lua::Panic&) {
    ended_ = true;
  }
}

bool Interpreter::spent() const {
  return ended_ || lua_.memory() > kKeptBytesMax;
}

base::Result<int> Interpreter::Compile(std::string_view source, std::function<bool()> expired) {
  lua_.Restart(limits_.steps_max, std::move(expired));
  if (auto s = lua_.Load(source, kScriptChunk); !s.ok()) {
    ended_ = ended_ || lua_.ended();
    return s;
  }
  const lua::State::Unlimited unlimited(lua_);
  return luaL_ref(lua_.get(), LUA_REGISTRYINDEX);
}

void Interpreter::Forget(int reference) {
  luaL_unref(lua_.get(), LUA_REGISTRYINDEX, reference);
}

base::Status Interpreter::LoadLibrary(std::string_view source,
                                      Host& host,
                                      std::vector<LibraryFunction>& functions) {
  Begin(host);
  loading_ = &functions;
  lua_State* lua = lua_.get();
  auto expose = [](lua_State* state) {
    if (static_cast<Interpreter*>(lua_touserdata(state, 1))->loading() != nullptr) {
      OpenRedis(state, RedisModule::kLoading);
      ExposeOnly(state, "redis");
    } else {
      ExposeAll(state);
      OpenRedis(state, RedisModule::kFunction);
      Expose(state, "redis");
    }
    return 0;
  };
  base::Status status;
  if (lua_cpcall(lua, expose, this) != 0) status = base::Invalid("not enough memory");
  if (status.ok()) {
    status = lua_.Load(source, kFunctionChunk);
    if (!status.ok()) status = base::Invalid("Error compiling function: " + status.message());
  }
  if (status.ok()) {
    {
      const lua::State::Unlimited unlimited(lua_);
      lua_pushcfunction(lua, &NotePlace);
      lua_insert(lua, 1);
    }
    if (lua_pcall(lua, 0, 0, 1) != 0) {
      const lua::State::Unlimited unlimited(lua_);
      const std::string why = lua::MeterOf(lua).out_of_time() ? "ERR FUNCTION LOAD timeout"
                              : lua_.ended()                  ? lua_.end()
                                                              : TextField(lua, "err");
      status = base::Invalid("Error registering functions: " +
                             (why.empty() ? "not enough memory" : why));
    }
  }
  loading_ = nullptr;
  if (status.ok() && lua_cpcall(lua, expose, this) != 0)
    status = base::Invalid("not enough memory");
  Settle();
  return status;
}

base::Status Interpreter::Execute(const Run& run, Host& host, resp::Writer& reply) {
  Begin(host);
  const size_t mark = reply.out().size();
  Task task{run, reply};
  base::Status status;
  const int code = lua_cpcall(lua_.get(), &RunTask, &task);
  if (lua_.ended()) {
    reply.out().Truncate(mark);
    status = base::Invalid(lua_.end());
  } else if (code != 0) {
    reply.out().Truncate(mark);
    reply.Error("ERR Error running script " + std::string(run.name) + ", execution failure");
  }
  Settle();
  return status;
}

}  // namespace polyarch::script
