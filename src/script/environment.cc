#include "script/environment.h"

#include <cmath>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "lua/functions.h"
#include "script/interpreter.h"

namespace polyarch::script {

namespace {

using lua::Guarded;
using lua::MeterOf;
using lua::State;

constexpr char kReadOnly[] = "Attempt to modify a readonly table";

// Keys of the registry, and of the metatables of protected tables.
char kBehindKey;   // of a metatable: the table that its own one shows; of the registry: the real
                   // globals
char kNothingKey;  // of the registry: an empty table that cannot be changed, in the place of
                   // metatables

// Is the value at `index` a protected table? Then what stands behind it is pushed.
bool PushBehind(lua_State* lua, int index) {
  if (lua_getmetatable(lua, index) == 0) return false;
  lua_pushlightuserdata(lua, &kBehindKey);
  lua_rawget(lua, -2);
  lua_remove(lua, -2);
  if (lua_istable(lua, -1)) return true;
  lua_pop(lua, 1);
  return false;
}

// As an error of Lua's own: of a function that was called without its place.
int Refuse(lua_State* lua) {
  lua_pushstring(lua, kReadOnly);
  return lua_error(lua);
}
// As a metamethod: with the place of the assignment.
int RefuseAssignment(lua_State* lua) {
  return luaL_error(lua, kReadOnly);
}

// The original, the first upvalue, for what writes to the table that is its first argument.
template <lua::Function kCharge>
int Writing(lua_State* lua) {
  if (lua_istable(lua, 1) && PushBehind(lua, 1)) return Refuse(lua);
  return kCharge(lua);
}

// For what reads it without its metatable.
template <lua::Function kCharge>
int Reading(lua_State* lua) {
  if (lua_istable(lua, 1) && PushBehind(lua, 1)) lua_replace(lua, 1);
  return kCharge(lua);
}

int SetMetatable(lua_State* lua) {
  if (lua_istable(lua, 1) && PushBehind(lua, 1)) return Refuse(lua);
  return lua::CallOriginal(lua);
}

int Next(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  if (PushBehind(lua, 1)) lua_replace(lua, 1);
  lua_settop(lua, 2);
  if (lua_next(lua, 1) != 0) return 2;
  lua_pushnil(lua);
  return 1;
}

// Upvalue: next.
int Pairs(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  lua_pushvalue(lua, lua_upvalueindex(1));
  lua_pushvalue(lua, 1);
  lua_pushnil(lua);
  return 3;
}

int ForEach(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  luaL_checktype(lua, 2, LUA_TFUNCTION);
  if (PushBehind(lua, 1)) lua_replace(lua, 1);
  lua_settop(lua, 2);
  lua_pushnil(lua);
  while (lua_next(lua, 1) != 0) {
    MeterOf(lua).Charge(1);
    lua_pushvalue(lua, 2);
    lua_pushvalue(lua, -3);
    lua_pushvalue(lua, -3);
    lua_call(lua, 2, 1);
    if (!lua_isnil(lua, -1)) return 1;
    lua_pop(lua, 2);
  }
  return 0;
}

int ForEachIndex(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  luaL_checktype(lua, 2, LUA_TFUNCTION);
  const auto count = static_cast<int>(lua_objlen(lua, 1));
  for (int i = 1; i <= count; ++i) {
    MeterOf(lua).Charge(1);
    lua_pushvalue(lua, 2);
    lua_pushinteger(lua, i);
    lua_rawgeti(lua, 1, i);
    lua_call(lua, 2, 1);
    if (!lua_isnil(lua, -1)) return 1;
    lua_pop(lua, 1);
  }
  return 0;
}

// ---- errors. What ends the run cannot be caught.

// As in Redis, the text of an error that is a table with a text `err`.
int PCall(lua_State* lua) {
  luaL_checkany(lua, 1);
  const int code = lua_pcall(lua, lua_gettop(lua) - 1, LUA_MULTRET, 0);
  if (code != 0 && State::Of(lua).ended()) return lua_error(lua);
  if (code != 0 && lua_istable(lua, -1)) {
    lua_getfield(lua, -1, "err");
    lua_isstring(lua, -1) != 0 ? lua_replace(lua, -2) : lua_pop(lua, 1);
  }
  lua_pushboolean(lua, code == 0 ? 1 : 0);
  lua_insert(lua, 1);
  return lua_gettop(lua);
}

// Upvalue: the script's own. It is not for a limit: raised by the hook, that would run it where no
// hook is called, and so without end.
int HandleError(lua_State* lua) {
  if (State::Of(lua).ended()) return 1;
  lua_settop(lua, 1);
  lua_pushvalue(lua, lua_upvalueindex(1));
  if (!lua_isfunction(lua, -1)) {
    lua_pushliteral(lua, "error in error handling");
    return 1;
  }
  lua_insert(lua, 1);
  lua_call(lua, 1, 1);
  return 1;
}

int XPCall(lua_State* lua) {
  luaL_checkany(lua, 2);
  lua_settop(lua, 2);
  lua_pushcclosure(lua, &HandleError, 1);
  lua_insert(lua, 1);
  const int code = lua_pcall(lua, 0, LUA_MULTRET, 1);
  if (code != 0 && State::Of(lua).ended()) return lua_error(lua);
  lua_pushboolean(lua, code == 0 ? 1 : 0);
  lua_replace(lua, 1);
  return lua_gettop(lua);
}

// The original catches errors, too.
int Resume(lua_State* lua) {
  MeterOf(lua).Charge(1);
  const int count = lua::CallOriginal(lua);
  if (lua_toboolean(lua, -count) == 0 && State::Of(lua).ended()) return lua_error(lua);
  return count;
}

// ---- source that is made up

int LoadText(lua_State* lua, std::string_view source, const char* name) {
  constexpr size_t kBytesAStep = 4;
  if (!source.empty() && source[0] == LUA_SIGNATURE[0]) {
    lua_pushnil(lua);
    lua_pushliteral(lua, "compiled code is not accepted");
    return 2;
  }
  MeterOf(lua).Charge(1 + source.size() / kBytesAStep);
  if (State::Of(lua).Compile(lua, source, name) == 0) return 1;
  if (State::Of(lua).ended()) return lua_error(lua);
  lua_pushnil(lua);
  lua_insert(lua, -2);
  return 2;
}

int LoadString(lua_State* lua) {
  const std::string_view source = lua::Text(lua, 1);
  return LoadText(lua, source, luaL_optstring(lua, 2, source.data()));
}

int Load(lua_State* lua) {
  const char* name = luaL_optstring(lua, 2, "=(load)");
  luaL_checktype(lua, 1, LUA_TFUNCTION);
  std::string source;
  for (;;) {
    MeterOf(lua).Charge(1);
    lua_pushvalue(lua, 1);
    lua_call(lua, 0, 1);
    if (lua_isnil(lua, -1)) break;
    if (lua_isstring(lua, -1) == 0) return luaL_error(lua, "reader function must return a string");
    size_t size = 0;
    const char* piece = lua_tolstring(lua, -1, &size);
    if (size == 0) break;
    lua::CheckRoom(lua, source.size() + size);
    MeterOf(lua).Charge(size / 32);
    source.append(piece, size);
    lua_pop(lua, 1);
  }
  return LoadText(lua, source, name);
}

int CollectGarbage(lua_State* lua) {
  static constexpr const char* kWords[] = {
      "collect", "count", "step", "stop", "restart", "setpause", "setstepmul", nullptr};
  const int word = luaL_checkoption(lua, 1, "collect", kWords);
  if (word == 1) {
    lua_pushnumber(lua, static_cast<lua_Number>(State::Of(lua).memory()) / 1024);
    return 1;
  }
  // How garbage is collected stays as it is.
  if (word == 0 || word == 2) {
    MeterOf(lua).Charge(State::Of(lua).memory() / 64);
    lua_gc(lua, LUA_GCCOLLECT, 0);
  }
  lua_pushinteger(lua, 0);
  return 1;
}

int GcInfo(lua_State* lua) {
  lua_pushinteger(lua, static_cast<lua_Integer>(State::Of(lua).memory() / 1024));
  return 1;
}

// ---- numbers at random

ScriptRandom& RandomOf(lua_State* lua) {
  return static_cast<Interpreter*>(State::Of(lua).owner())->random();
}

int Random(lua_State* lua) {
  constexpr int32_t kMax = INT32_MAX;
  const double r = static_cast<double>(RandomOf(lua).Next() % kMax) / kMax;
  switch (lua_gettop(lua)) {
    case 0:
      lua_pushnumber(lua, r);
      break;
    case 1: {
      const int high = luaL_checkint(lua, 1);
      luaL_argcheck(lua, 1 <= high, 1, "interval is empty");
      lua_pushnumber(lua, std::floor(r * high) + 1);
      break;
    }
    case 2: {
      const int low = luaL_checkint(lua, 1);
      const int high = luaL_checkint(lua, 2);
      luaL_argcheck(lua, low <= high, 2, "interval is empty");
      lua_pushnumber(lua, std::floor(r * (static_cast<double>(high) - low + 1)) + low);
      break;
    }
    default:
      return luaL_error(lua, "wrong number of arguments");
  }
  return 1;
}

int RandomSeed(lua_State* lua) {
  RandomOf(lua).Seed(static_cast<uint32_t>(luaL_checkint(lua, 1)));
  return 0;
}

int MissingGlobal(lua_State* lua) {
  const char* name = lua_type(lua, 2) == LUA_TSTRING ? lua_tostring(lua, 2) : luaL_typename(lua, 2);
  return luaL_error(lua, "Script attempted to access nonexistent global variable '%s'", name);
}

// ---- what is there

constexpr const char* kBase[] = {"assert",
                                 "error",
                                 "getmetatable",
                                 "ipairs",
                                 "rawequal",
                                 "select",
                                 "tonumber",
                                 "tostring",
                                 "type",
                                 "_VERSION"};
constexpr const char* kString[] = {
    "byte", "char", "format", "len", "lower", "reverse", "sub", "upper"};
constexpr const char* kMath[] = {"abs",   "acos", "asin",  "atan", "atan2", "ceil", "cos",   "cosh",
                                 "deg",   "exp",  "floor", "fmod", "frexp", "huge", "ldexp", "log",
                                 "log10", "max",  "min",   "mod",  "modf",  "pi",   "pow",   "rad",
                                 "sin",   "sinh", "sqrt",  "tan",  "tanh"};

// Fills the table on top of the stack with the fields `names` of the table below it.
template <size_t kCount>
void Take(lua_State* lua, const char* const (&names)[kCount]) {
  for (const char* name : names) {
    lua_getfield(lua, -2, name);
    lua_setfield(lua, -2, name);
  }
}

// A function into the table on top.
void Put(lua_State* lua, const char* name, lua::Function function) {
  lua_pushcfunction(lua, function);
  lua_setfield(lua, -2, name);
}

// The same with the function of that name of the table below as its first upvalue.
void Wrap(lua_State* lua, const char* name, lua::Function function) {
  lua_getfield(lua, -2, name);
  lua_pushcclosure(lua, function, 1);
  lua_setfield(lua, -2, name);
}

// Takes the library `name` of the globals at 1 as the table below, and a new table on top.
void Begin(lua_State* lua, const char* name) {
  lua_getfield(lua, 1, name);
  lua_newtable(lua);
}
// Puts that, protected, into the new globals at 2.
void End(lua_State* lua, const char* name) {
  Protect(lua);
  lua_setfield(lua, 2, name);
  lua_pop(lua, 1);
}

// A global that is not there is an error.
void RefuseMissing(lua_State* lua, int globals) {
  lua_newtable(lua);
  lua_pushcfunction(lua, &MissingGlobal);
  lua_setfield(lua, -2, "__index");
  lua_setmetatable(lua, globals);
}

// What scripts see as their globals, which are protected, is the table on top from now on; it is popped.
void ShowGlobals(lua_State* lua) {
  lua_getmetatable(lua, LUA_GLOBALSINDEX);
  lua_insert(lua, -2);
  lua_setfield(lua, -2, "__index");
  lua_pop(lua, 1);
}

int Open(lua_State* lua) {
  for (const luaL_Reg& library : {luaL_Reg{"", luaopen_base},
                                  luaL_Reg{LUA_STRLIBNAME, luaopen_string},
                                  luaL_Reg{LUA_TABLIBNAME, luaopen_table},
                                  luaL_Reg{LUA_MATHLIBNAME, luaopen_math}}) {
    lua_pushcfunction(lua, library.func);
    lua_pushstring(lua, library.name);
    lua_call(lua, 1, 0);
  }
  lua_settop(lua, 0);
  lua_pushvalue(lua, LUA_GLOBALSINDEX);
  lua_newtable(lua);  // the new globals

  // Stands for metatables that are nobody's business.
  lua_newtable(lua);
  lua_newtable(lua);
  lua_pushvalue(lua, -2);
  lua_setfield(lua, -2, "__metatable");
  lua_pushcfunction(lua, &RefuseAssignment);
  lua_setfield(lua, -2, "__newindex");
  lua_pushlightuserdata(lua, &kBehindKey);
  lua_newtable(lua);
  lua_rawset(lua, -3);
  lua_setmetatable(lua, -2);
  lua_pushlightuserdata(lua, &kNothingKey);
  lua_insert(lua, -2);
  lua_rawset(lua, LUA_REGISTRYINDEX);

  lua_pushvalue(lua, 1);
  lua_pushvalue(lua, 2);
  Take(lua, kBase);
  Put(lua, "next", &Next);
  lua_getfield(lua, -1, "next");
  lua_pushcclosure(lua, &Pairs, 1);
  lua_setfield(lua, -2, "pairs");
  Wrap(lua, "rawget", &Reading<&lua::CallOriginal>);
  Wrap(lua, "rawset", &Writing<&lua::CallOriginal>);
  Wrap(lua, "setmetatable", &SetMetatable);
  Wrap(lua, "unpack", &Guarded<&lua::Unpack>);
  Put(lua, "pcall", &PCall);
  Put(lua, "xpcall", &XPCall);
  Put(lua, "load", &Guarded<&Load>);
  Put(lua, "loadstring", &Guarded<&LoadString>);
  Put(lua, "collectgarbage", &Guarded<&CollectGarbage>);
  Put(lua, "gcinfo", &GcInfo);
  lua_settop(lua, 2);

  Begin(lua, LUA_STRLIBNAME);
  Take(lua, kString);
  Put(lua, "find", &Guarded<&lua::TextFind>);
  Put(lua, "gmatch", &Guarded<&lua::TextEachMatch>);
  Put(lua, "gfind", &Guarded<&lua::TextEachMatch>);
  Put(lua, "gsub", &Guarded<&lua::TextReplaceAll>);
  Put(lua, "match", &Guarded<&lua::TextMatch>);
  Put(lua, "rep", &Guarded<&lua::TextRepeat>);
  // ("text"):upper() goes by the metatable of texts.
  lua_pushliteral(lua, "");
  lua_getmetatable(lua, -1);
  lua_pushvalue(lua, -3);
  lua_setfield(lua, -2, "__index");
  lua_pushlightuserdata(lua, &kNothingKey);
  lua_rawget(lua, LUA_REGISTRYINDEX);
  lua_setfield(lua, -2, "__metatable");
  lua_pop(lua, 2);
  End(lua, LUA_STRLIBNAME);

  Begin(lua, LUA_TABLIBNAME);
  Put(lua, "concat", &Guarded<&lua::TableConcat>);
  Put(lua, "maxn", &Reading<&Guarded<&lua::TableMaxN>>);
  Put(lua, "insert", &Writing<&Guarded<&lua::TableInsert>>);
  Put(lua, "remove", &Writing<&Guarded<&lua::TableRemove>>);
  Wrap(lua, "setn", &Writing<&lua::CallOriginal>);
  Wrap(lua, "getn", &lua::CallOriginal);
  Put(lua, "sort", &Writing<&Guarded<&lua::TableSort>>);
  Put(lua, "foreach", &Guarded<&ForEach>);
  Put(lua, "foreachi", &Guarded<&ForEachIndex>);
  End(lua, LUA_TABLIBNAME);

  Begin(lua, LUA_MATHLIBNAME);
  Take(lua, kMath);
  Put(lua, "random", &Random);
  Put(lua, "randomseed", &RandomSeed);
  End(lua, LUA_MATHLIBNAME);

  Begin(lua, LUA_COLIBNAME);
  for (const char* name : {"create", "running", "status", "wrap", "yield"}) {
    lua_getfield(lua, -2, name);
    lua_setfield(lua, -2, name);
  }
  Wrap(lua, "resume", &Guarded<&Resume>);
  End(lua, LUA_COLIBNAME);

  RefuseMissing(lua, 2);
  lua_pushlightuserdata(lua, &kBehindKey);
  lua_pushvalue(lua, 2);
  lua_rawset(lua, LUA_REGISTRYINDEX);
  lua_pushvalue(lua, 2);
  Protect(lua);
  lua_pushvalue(lua, -1);
  lua_setfield(lua, 2, "_G");
  lua_replace(lua, LUA_GLOBALSINDEX);
  lua_settop(lua, 0);
  // Nothing of the old globals is left but what was taken over.
  lua_pushnil(lua);
  lua_setfield(lua, LUA_REGISTRYINDEX, "_LOADED");
  return 0;
}

}  // namespace

void OpenEnvironment(lua::State& lua) {
  const int code = lua_cpcall(
      lua.get(), [](lua_State* state) { return Open(state); }, nullptr);
  CHECK(code == 0);
}

void Protect(lua_State* lua) {
  lua_newtable(lua);
  lua_newtable(lua);  // its metatable
  lua_pushvalue(lua, -3);
  lua_setfield(lua, -2, "__index");
  lua_pushcfunction(lua, &RefuseAssignment);
  lua_setfield(lua, -2, "__newindex");
  lua_pushlightuserdata(lua, &kNothingKey);
  lua_rawget(lua, LUA_REGISTRYINDEX);
  lua_setfield(lua, -2, "__metatable");
  lua_pushlightuserdata(lua, &kBehindKey);
  lua_pushvalue(lua, -4);
  lua_rawset(lua, -3);
  lua_setmetatable(lua, -2);
  lua_replace(lua, -2);
}

void SetGlobal(lua_State* lua, const char* name) {
  lua_pushlightuserdata(lua, &kBehindKey);
  lua_rawget(lua, LUA_REGISTRYINDEX);
  lua_pushstring(lua, name);
  lua_pushvalue(lua, -3);
  lua_rawset(lua, -3);
  lua_pop(lua, 2);
}

void Expose(lua_State* lua, const char* name) {
  Protect(lua);
  SetGlobal(lua, name);
}

void ExposeOnly(lua_State* lua, const char* name) {
  Protect(lua);
  lua_newtable(lua);
  lua_insert(lua, -2);
  lua_setfield(lua, -2, name);
  RefuseMissing(lua, lua_gettop(lua));
  ShowGlobals(lua);
}

void ExposeAll(lua_State* lua) {
  lua_pushlightuserdata(lua, &kBehindKey);
  lua_rawget(lua, LUA_REGISTRYINDEX);
  ShowGlobals(lua);
}

}  // namespace polyarch::script
