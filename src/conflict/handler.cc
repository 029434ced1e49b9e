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

struct Arguments {
  std::string_view key;
  std::optional<std::string_view> field;
  std::span<const HandlerVersion> versions;
};

// Leaves merge, the key and the table of versions on the stack. What it allocates may exceed the limit: so
// it runs within lua_cpcall.
int PushArguments(lua_State* lua) {
  const auto& arguments = *static_cast<const Arguments*>(lua_touserdata(lua, 1));
  PushText(lua, arguments.key);
  lua_setglobal(lua, "\x01key");
  if (arguments.field) {
    PushText(lua, *arguments.field);
    lua_setglobal(lua, "\x01" "field");
  }
  lua_createtable(lua, static_cast<int>(arguments.versions.size()), 0);
  int place = 0;
  for (const HandlerVersion& version : arguments.versions) {
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
  lua_setglobal(lua, "\x01versions");
  return 0;
}

// The source has run, and merge is a function: left on the stack.
base::Status Begin(lua::State& lua, std::string_view source) {
  if (source.size() > kHandlerSourceBytesMax) {
    return base::Invalid("its source is longer than " + std::to_string(kHandlerSourceBytesMax) + " bytes");
  }
  lua::OpenPureLibrary(lua);
  OpenLuaJson(lua);
  if (auto s = lua.Load(source, "=handler"); !s.ok()) return s;
  if (auto s = lua.Call(0, 0); !s.ok()) return s;
  lua_getglobal(lua.get(), "merge");
  if (!lua_isfunction(lua.get(), -1)) return base::Invalid(kNoMerge);
  return {};
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
  lua::State lua(limits.steps_max, limits.memory_bytes_max, /*weighs_blocks=*/true);
  if (auto s = Begin(lua, source); !s.ok()) return s;
  Arguments arguments{key, field, versions};
  lua_State* state = lua.get();
  if (lua_cpcall(state, &PushArguments, &arguments) != 0) return base::Invalid("the versions take too much memory");
  lua_getglobal(state, "\x01key");
  lua_getglobal(state, "\x01versions");
  lua_getglobal(state, "\x01" "field");
  if (auto s = lua.Call(3, 1); !s.ok()) return s;
  HandlerView view;
  view.steps = limits.steps_max - lua.meter().left();
  const int type = lua_type(state, -1);
  if (type == LUA_TNIL) return view;
  if (type != LUA_TSTRING && type != LUA_TNUMBER) {
    return base::Invalid(std::string("merge returned a ") + lua_typename(state, type) +
                         ": it may return a text, a number or nil");
  }
  size_t size = 0;
  const char* text = lua_tolstring(state, -1, &size);
  view.value = std::string(text, size);
  return view;
}

base::Status CheckHandler(std::string_view source, const HandlerLimits& limits) {
  lua::State lua(limits.steps_max, limits.memory_bytes_max, /*weighs_blocks=*/true);
  return Begin(lua, source);
}

}  // namespace polyarch::conflict
