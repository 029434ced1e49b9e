// What handlers may call: Lua 5.1's own functions where they are functions of their arguments and do a
// step's work in a step, and ours in place of those that are not.
#include "lua/pure_library.h"

#include <algorithm>
#include <string>
#include <vector>

#include "lua/functions.h"
#include "lua/table_keys.h"

namespace polyarch::lua {

namespace {

// ---- tables in the order of their keys

constexpr char kOddKeys[] = "only tables whose keys are numbers, texts or truth values can be walked through";

// Upvalues: the table, its sorted keys, how many of them are done.
int NextSorted(lua_State* lua) {
  auto done = static_cast<int>(lua_tointeger(lua, lua_upvalueindex(3)));
  for (;;) {
    MeterOf(lua).Charge(1);
    lua_rawgeti(lua, lua_upvalueindex(2), ++done);
    if (lua_isnil(lua, -1)) return 1;
    lua_pushvalue(lua, -1);
    lua_rawget(lua, lua_upvalueindex(1));
    if (!lua_isnil(lua, -1)) break;  // else it was taken out meanwhile
    lua_pop(lua, 2);
  }
  lua_pushinteger(lua, done);
  lua_replace(lua, lua_upvalueindex(3));
  return 2;
}

int Pairs(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  lua_settop(lua, 1);
  bool fine = true;
  {
    std::vector<TableKey> keys;
    fine = SortedTableKeys(lua, 1, keys);
    lua_settop(lua, 1);
    lua_pushvalue(lua, 1);
    lua_createtable(lua, fine ? static_cast<int>(keys.size()) : 0, 0);
    for (size_t i = 0; fine && i < keys.size(); ++i) {
      keys[i].Push(lua);
      lua_rawseti(lua, -2, static_cast<int>(i) + 1);
    }
  }
  if (!fine) return luaL_error(lua, kOddKeys);
  lua_pushinteger(lua, 0);
  lua_pushcclosure(lua, &Guarded<&NextSorted>, 3);
  return 1;
}

int Next(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  lua_settop(lua, 2);
  bool fine = true;
  {
    std::vector<TableKey> keys;
    fine = SortedTableKeys(lua, 1, keys);
    lua_settop(lua, 2);
    TableKey key;
    auto next = keys.begin();
    if (fine && !lua_isnil(lua, 2)) {
      fine = ReadTableKey(lua, 2, key);
      next = std::upper_bound(keys.begin(), keys.end(), key);
    }
    if (fine && next == keys.end()) {
      lua_pushnil(lua);
      return 1;
    }
    if (fine) next->Push(lua);
  }
  if (!fine) return luaL_error(lua, kOddKeys);
  lua_pushvalue(lua, -1);
  lua_rawget(lua, 1);
  return 2;
}

// As Lua's, but that it shows no addresses.
int ToString(lua_State* lua) {
  luaL_checkany(lua, 1);
  if (luaL_callmeta(lua, 1, "__tostring") != 0) return 1;
  switch (lua_type(lua, 1)) {
    case LUA_TNUMBER:
    case LUA_TSTRING: lua_pushstring(lua, lua_tostring(lua, 1)); break;
    case LUA_TBOOLEAN: lua_pushstring(lua, lua_toboolean(lua, 1) != 0 ? "true" : "false"); break;
    default: lua_pushstring(lua, luaL_typename(lua, 1)); break;
  }
  if (lua_type(lua, 1) == LUA_TSTRING) lua_settop(lua, 1);  // with its zero bytes
  return 1;
}

// ---- what is there

constexpr const char* kBase[] = {"assert", "error",        "ipairs",   "rawequal", "rawget", "rawset",
                                 "select", "setmetatable", "tonumber", "type",     "_VERSION"};
constexpr const char* kString[] = {"byte", "char", "format", "len", "lower", "reverse", "sub", "upper"};
// Those that all machines compute alike: not what libm rounds as it likes.
constexpr const char* kMath[] = {"abs", "ceil", "floor", "fmod", "huge", "max", "min", "modf", "sqrt"};

// Fills the table on top of the stack with the fields `names` of the table below it.
template <size_t kCount>
void Take(lua_State* lua, const char* const (&names)[kCount]) {
  for (const char* name : names) {
    lua_getfield(lua, -2, name);
    lua_setfield(lua, -2, name);
  }
}

// A function into the table on top.
void Put(lua_State* lua, const char* name, Function function) {
  lua_pushcfunction(lua, function);
  lua_setfield(lua, -2, name);
}

// The same with the function of that name of the table below as the original to be called.
void Wrap(lua_State* lua, const char* name, Function function) {
  lua_getfield(lua, -2, name);
  lua_pushcclosure(lua, function, 1);
  lua_setfield(lua, -2, name);
}

int Open(lua_State* lua) {
  for (const luaL_Reg& library : {luaL_Reg{"", luaopen_base}, luaL_Reg{LUA_STRLIBNAME, luaopen_string},
                                  luaL_Reg{LUA_TABLIBNAME, luaopen_table}, luaL_Reg{LUA_MATHLIBNAME, luaopen_math}}) {
    lua_pushcfunction(lua, library.func);
    lua_pushstring(lua, library.name);
    lua_call(lua, 1, 0);
  }
  lua_pushvalue(lua, LUA_GLOBALSINDEX);
  lua_newtable(lua);  // the new globals
  Take(lua, kBase);
  Put(lua, "next", &Guarded<&Next>);
  Put(lua, "pairs", &Guarded<&Pairs>);
  Put(lua, "tostring", &Guarded<&ToString>);
  Wrap(lua, "unpack", &Guarded<&Unpack>);

  lua_getfield(lua, -2, LUA_STRLIBNAME);
  lua_newtable(lua);
  Take(lua, kString);
  Put(lua, "find", &Guarded<&TextFind>);
  Put(lua, "gmatch", &Guarded<&TextEachMatch>);
  Put(lua, "gsub", &Guarded<&TextReplaceAll>);
  Put(lua, "match", &Guarded<&TextMatch>);
  Put(lua, "rep", &Guarded<&TextRepeat>);
  // ("text"):upper() goes by the metatable of texts.
  lua_pushliteral(lua, "");
  lua_getmetatable(lua, -1);
  lua_pushvalue(lua, -3);
  lua_setfield(lua, -2, "__index");
  lua_pop(lua, 2);
  lua_setfield(lua, -3, LUA_STRLIBNAME);
  lua_pop(lua, 1);

  lua_getfield(lua, -2, LUA_TABLIBNAME);
  lua_newtable(lua);
  Put(lua, "concat", &Guarded<&TableConcat>);
  Put(lua, "insert", &Guarded<&TableInsert>);
  Put(lua, "maxn", &Guarded<&TableMaxN>);
  Put(lua, "remove", &Guarded<&TableRemove>);
  Put(lua, "sort", &Guarded<&TableSort>);
  lua_setfield(lua, -3, LUA_TABLIBNAME);
  lua_pop(lua, 1);

  lua_getfield(lua, -2, LUA_MATHLIBNAME);
  lua_newtable(lua);
  Take(lua, kMath);
  lua_setfield(lua, -3, LUA_MATHLIBNAME);
  lua_pop(lua, 1);

  lua_pushvalue(lua, -1);
  lua_setfield(lua, -2, "_G");
  lua_replace(lua, LUA_GLOBALSINDEX);
  lua_settop(lua, 0);
  // Nothing of the old globals is left but what was taken over.
  lua_pushnil(lua);
  lua_setfield(lua, LUA_REGISTRYINDEX, "_LOADED");
  return 0;
}

}  // namespace

void OpenPureLibrary(State& lua) {
  const int code = lua_cpcall(lua.get(), [](lua_State* state) { return Open(state); }, nullptr);
  if (code != 0) lua_pop(lua.get(), 1);
}

}  // namespace polyarch::lua
