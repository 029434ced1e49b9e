#include "conflict/handler.h"

#include <lua5.1/lua.hpp>
#include <utility>

#include "conflict/lua_json.h"
#include "lua/pure_library.h"
#include "lua/state.h"

namespace polyarch::conflict {

namespace {

constexpr char kNoMerge[] = "it defines no function merge(key, versions, field)";

void PushText(lua_State* lua, std::string_view text) { lua_pushlstring(lua, text.data(), text.size()); }

struct Task {
  std::string_view key;
  std::optional<std::string_view> field;
  std::span<const HandlerVersion> versions;
  bool call = true;                // if not, it is only looked whether there is a merge
  bool found = false;
  std::string wrong_type = {};     // of what merge returned
  std::optional<std::string> value = {};
};

// The global of that name, whatever metatable the source has given the table of globals.
void PushGlobal(lua_State* lua, std::string_view name) {
  PushText(lua, name);
  lua_rawget(lua, LUA_GLOBALSINDEX);
}

void PushVersions(lua_State* lua, std::span<const HandlerVersion> versions) {
  lua_createtable(lua, static_cast<int>(versions.size()), 0);
  int place = 0;
  for (const HandlerVersion& version : versions) {
    lua_createtable(lua, 0, 4);
    if (version.value) {
      PushText(lua, *version.value);
      lua_setfield(lua, -2, "value");
    }
    lua_pushboolean(lua, version.value ? 0 : 1);
    lua_setfield(lua, -2, "absent");
    PushText(lua, version.leader);
    lua_setfield(lua, -2, "leader");
    lua_pushnumber(lua, static_cast<lua_Number>(version.time_ms));
    lua_setfield(lua, -2, "time");
    lua_rawseti(lua, -2, ++place);
  }
}

// Calls merge and takes what it returns. Whatever is done with a state may need memory, and so fail: it runs within
// lua_cpcall, from the first word to the last.
int RunTask(lua_State* lua) {
  auto& task = *static_cast<Task*>(lua_touserdata(lua, 1));
  lua_settop(lua, 0);
  PushGlobal(lua, "merge");
  task.found = lua_isfunction(lua, -1);
  if (!task.found || !task.call) return 0;
  PushText(lua, task.key);
  PushVersions(lua, task.versions);
  if (task.field) {
    PushText(lua, *task.field);
  } else {
    lua_pushnil(lua);
  }
  lua_call(lua, 3, 1);
  const int type = lua_type(lua, -1);
  if (type == LUA_TSTRING || type == LUA_TNUMBER) {
    size_t size = 0;
    const char* text = lua_tolstring(lua, -1, &size);
    task.value.emplace(text, size);
  } else if (type != LUA_TNIL) {
    task.wrong_type = lua_typename(lua, type);
  }
  return 0;
}

base::Status Perform(lua::State& lua, Task& task) {
  const int code = lua_cpcall(lua.get(), &RunTask, &task);
  if (lua.ended()) return base::Invalid(lua.end());
  return lua.Failed(code);
}

// A run with limits begins: the source is read.
base::Status Begin(lua::State& lua, std::string_view source, const HandlerLimits& limits) {
  if (source.size() > kHandlerSourceBytesMax) {
    return base::Invalid("its source is longer than " + std::to_string(kHandlerSourceBytesMax) + " bytes");
  }
  if (limits.expired) lua.Restart(limits.steps_max, limits.expired);
  lua::OpenPureLibrary(lua);
  OpenLuaJson(lua);
  if (auto s = lua.Load(source, "=handler"); !s.ok()) return s;
  return lua.Call(0, 0);
}

}  // namespace

base::Result<HandlerView> RunHandler(std::string_view source,
                                     std::string_view key,
                                     std::optional<std::string_view> field,
                                     std::span<const HandlerVersion> versions,
                                     const HandlerLimits& limits) {
  size_t bytes = 0;
  for (const HandlerVersion& version : versions) bytes += version.value ? version.value->size() : 0;
  if (bytes > kHandledBytesMax) {
    return base::Invalid("the versions have more than " + std::to_string(kHandledBytesMax) + " bytes together");
  }
  try {
    lua::State lua(limits.steps_max, limits.memory_bytes_max, /*weighs_blocks=*/true);
    if (auto s = Begin(lua, source, limits); !s.ok()) return s;
    Task task{.key = key, .field = field, .versions = versions};
    if (auto s = Perform(lua, task); !s.ok()) return s;
    if (!task.found) return base::Invalid(kNoMerge);
    if (!task.wrong_type.empty()) {
      return base::Invalid("merge returned a " + task.wrong_type + ": it may return a text, a number or nil");
    }
    return HandlerView{.value = std::move(task.value), .steps = limits.steps_max - lua.meter().left()};
  } catch (const lua::Panic&) {
    return base::Invalid("it failed outside of any call");
  }
}

base::Status CheckHandler(std::string_view source, const HandlerLimits& limits) {
  try {
    lua::State lua(limits.steps_max, limits.memory_bytes_max, /*weighs_blocks=*/true);
    if (auto s = Begin(lua, source, limits); !s.ok()) return s;
    Task task{.key = {}, .field = {}, .versions = {}, .call = false};
    if (auto s = Perform(lua, task); !s.ok()) return s;
    return task.found ? base::Status() : base::Invalid(kNoMerge);
  } catch (const lua::Panic&) {
    return base::Invalid("it failed outside of any call");
  }
}

}  // namespace polyarch::conflict
