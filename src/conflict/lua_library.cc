// What handlers may call: Lua 5.1's own functions where they are functions of their arguments and do a
// step's work in a step, and ours in place of those that are not.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <lua5.1/lua.hpp>
#include <string>
#include <vector>

#include "conflict/lua_json.h"
#include "conflict/lua_pattern.h"
#include "conflict/lua_state.h"
#include "conflict/lua_support.h"

namespace polyarch::conflict {

namespace {

// Charges for what the original does in one go, then calls it: it is the first upvalue.
int CallOriginal(lua_State* lua) {
  const int arguments = lua_gettop(lua);
  lua_pushvalue(lua, lua_upvalueindex(1));
  lua_insert(lua, 1);
  lua_call(lua, arguments, LUA_MULTRET);
  return lua_gettop(lua);
}

// Of functions that walk through a list: its length.
int ByLength(lua_State* lua) {
  if (lua_istable(lua, 1)) MeterOf(lua).Charge(lua_objlen(lua, 1));
  return CallOriginal(lua);
}

int Sort(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  const auto count = static_cast<double>(lua_objlen(lua, 1));
  MeterOf(lua).Charge(static_cast<uint64_t>(count * (1 + std::log2(count + 1))));
  return CallOriginal(lua);
}

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

// ---- texts

int Repeat(lua_State* lua) {
  const std::string_view text = LuaText(lua, 1);
  const lua_Integer times = luaL_checkinteger(lua, 2);
  if (times <= 0 || text.empty()) {
    lua_pushliteral(lua, "");
    return 1;
  }
  MeterOf(lua).Charge(static_cast<uint64_t>(times));
  luaL_Buffer out;
  luaL_buffinit(lua, &out);
  for (lua_Integer i = 0; i < times; ++i) luaL_addlstring(&out, text.data(), text.size());
  luaL_pushresult(&out);
  return 1;
}

// Where a search begins: 1 is the first byte, -1 the last.
size_t Start(lua_State* lua, int argument, size_t size) {
  lua_Integer at = luaL_optinteger(lua, argument, 1);
  if (at < 0) at += static_cast<lua_Integer>(size) + 1;
  at = std::max<lua_Integer>(at, 1) - 1;
  return std::min(static_cast<size_t>(at), size);
}

// The pattern of argument 2, or an error of Lua's.
LuaPattern PatternOf(lua_State* lua, std::string_view text, bool anchors) {
  MeterOf(lua).Charge(1 + text.size());
  auto pattern = LuaPattern::Parse(text, anchors);
  if (!pattern.ok()) luaL_error(lua, "%s", pattern.status().message().c_str());
  return std::move(*pattern);
}

void PushCapture(lua_State* lua, std::string_view subject, const LuaPattern::Capture& capture) {
  if (capture.position) {
    lua_pushinteger(lua, static_cast<lua_Integer>(capture.begin) + 1);
  } else {
    lua_pushlstring(lua, subject.data() + capture.begin, capture.size);
  }
}

// The captures; `whole`: the whole match where there are none.
int PushCaptures(lua_State* lua, std::string_view subject, const LuaPattern::Match& match, bool whole) {
  luaL_checkstack(lua, static_cast<int>(match.captures.size()) + 1, "too many captures");
  for (const LuaPattern::Capture& capture : match.captures) PushCapture(lua, subject, capture);
  if (!match.captures.empty() || !whole) return static_cast<int>(match.captures.size());
  lua_pushlstring(lua, subject.data() + match.begin, match.end - match.begin);
  return 1;
}

int FindOrMatch(lua_State* lua, bool find) {
  const std::string_view subject = LuaText(lua, 1);
  const std::string_view pattern = LuaText(lua, 2);
  const size_t from = Start(lua, 3, subject.size());
  if (find && lua_toboolean(lua, 4) != 0) {
    MeterOf(lua).Charge((subject.size() - from) * (1 + pattern.size() / 64) / 8);
    const size_t at = subject.find(pattern, from);
    if (at == std::string_view::npos) {
      lua_pushnil(lua);
      return 1;
    }
    lua_pushinteger(lua, static_cast<lua_Integer>(at) + 1);
    lua_pushinteger(lua, static_cast<lua_Integer>(at + pattern.size()));
    return 2;
  }
  auto match = PatternOf(lua, pattern, true).Find(subject, from, MeterOf(lua));
  if (!match) {
    lua_pushnil(lua);
    return 1;
  }
  if (!find) return PushCaptures(lua, subject, *match, true);
  lua_pushinteger(lua, static_cast<lua_Integer>(match->begin) + 1);
  lua_pushinteger(lua, static_cast<lua_Integer>(match->end));
  return 2 + PushCaptures(lua, subject, *match, false);
}

int Find(lua_State* lua) { return FindOrMatch(lua, true); }
int Match(lua_State* lua) { return FindOrMatch(lua, false); }

// Upvalues: subject, pattern, where to go on.
int NextMatch(lua_State* lua) {
  size_t size = 0;
  const char* bytes = lua_tolstring(lua, lua_upvalueindex(1), &size);
  const std::string_view subject(bytes, size);
  size_t pattern_size = 0;
  const char* pattern = lua_tolstring(lua, lua_upvalueindex(2), &pattern_size);
  const auto from = static_cast<size_t>(lua_tointeger(lua, lua_upvalueindex(3)));
  if (from > size) return 0;
  auto match = PatternOf(lua, {pattern, pattern_size}, false).Find(subject, from, MeterOf(lua));
  if (!match) return 0;
  // An empty match is not found again.
  lua_pushinteger(lua, static_cast<lua_Integer>(match->end + (match->end == match->begin ? 1 : 0)));
  lua_replace(lua, lua_upvalueindex(3));
  return PushCaptures(lua, subject, *match, true);
}

int EachMatch(lua_State* lua) {
  (void)LuaText(lua, 1);
  (void)PatternOf(lua, LuaText(lua, 2), false);
  lua_settop(lua, 2);
  lua_pushinteger(lua, 0);
  lua_pushcclosure(lua, &Guarded<&NextMatch>, 3);
  return 1;
}

// Leaves on the stack what stands for a match; false if that is the match itself.
bool Replacement(lua_State* lua, std::string_view subject, const LuaPattern::Match& match) {
  switch (lua_type(lua, 3)) {
    case LUA_TFUNCTION: {
      lua_pushvalue(lua, 3);
      lua_call(lua, PushCaptures(lua, subject, match, true), 1);
      break;
    }
    case LUA_TTABLE: {
      lua_settop(lua, 4);
      const int count = PushCaptures(lua, subject, match, true);
      lua_pop(lua, count - 1);
      lua_gettable(lua, 3);
      break;
    }
    default: {
      const std::string_view text = LuaText(lua, 3);
      MeterOf(lua).Charge(text.size() / 8);
      std::string out;
      for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%' || i + 1 == text.size()) {
          out += text[i];
          continue;
        }
        const char c = text[++i];
        if (c < '0' || c > '9') {
          out += c;
          continue;
        }
        const auto which = static_cast<size_t>(c - '1');
        if (c == '0' || (which == 0 && match.captures.empty())) {
          out += subject.substr(match.begin, match.end - match.begin);
        } else if (which >= match.captures.size()) {
          out = std::string();
          luaL_error(lua, "invalid capture index");
        } else if (match.captures[which].position) {
          out += std::to_string(match.captures[which].begin + 1);
        } else {
          out += subject.substr(match.captures[which].begin, match.captures[which].size);
        }
        MeterOf(lua).Charge(1);
        if (out.size() > kLuaTextBytesMax) throw LimitExceeded(kLuaTextTooLong);
      }
      lua_pushlstring(lua, out.data(), out.size());
      return true;
    }
  }
  if (lua_toboolean(lua, -1) == 0) return false;
  if (lua_isstring(lua, -1) == 0) luaL_error(lua, "invalid replacement value (a %s)", luaL_typename(lua, -1));
  return true;
}

int ReplaceAll(lua_State* lua) {
  const std::string_view subject = LuaText(lua, 1);
  const int kind = lua_type(lua, 3);
  if (kind != LUA_TNUMBER && kind != LUA_TSTRING && kind != LUA_TFUNCTION && kind != LUA_TTABLE) {
    return luaL_argerror(lua, 3, "string/function/table expected");
  }
  const auto most = static_cast<size_t>(
      std::max<lua_Integer>(0, luaL_optinteger(lua, 4, static_cast<lua_Integer>(subject.size()) + 1)));
  const LuaPattern pattern = PatternOf(lua, LuaText(lua, 2), true);
  lua_settop(lua, 4);
  std::string out;
  size_t count = 0;
  size_t at = 0;
  while (count < most) {
    auto match = pattern.MatchAt(subject, at, MeterOf(lua));
    if (match) {
      ++count;
      if (Replacement(lua, subject, *match)) {
        out += LuaText(lua, lua_gettop(lua));
      } else {
        out += subject.substr(at, match->end - at);
      }
      lua_settop(lua, 4);
      MeterOf(lua).Charge(1);
      if (out.size() > kLuaTextBytesMax) throw LimitExceeded(kLuaTextTooLong);
    }
    if (match && match->end > at) {
      at = match->end;
    } else if (at < subject.size()) {
      out += subject[at++];
    } else {
      break;
    }
    if (pattern.anchored()) break;
  }
  if (at < subject.size()) out += subject.substr(at);
  lua_pushlstring(lua, out.data(), out.size());
  lua_pushinteger(lua, static_cast<lua_Integer>(count));
  return 2;
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
void Put(lua_State* lua, const char* name, LuaFunction function) {
  lua_pushcfunction(lua, function);
  lua_setfield(lua, -2, name);
}

// The same with the function of that name of the table below as the original to be called.
void Wrap(lua_State* lua, const char* name, LuaFunction function) {
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
  Wrap(lua, "unpack", &Guarded<&ByLength>);

  lua_getfield(lua, -2, LUA_STRLIBNAME);
  lua_newtable(lua);
  Take(lua, kString);
  Put(lua, "find", &Guarded<&Find>);
  Put(lua, "gmatch", &Guarded<&EachMatch>);
  Put(lua, "gsub", &Guarded<&ReplaceAll>);
  Put(lua, "match", &Guarded<&Match>);
  Put(lua, "rep", &Guarded<&Repeat>);
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
  for (const char* name : {"concat", "insert", "maxn", "remove"}) Wrap(lua, name, &Guarded<&ByLength>);
  Wrap(lua, "sort", &Guarded<&Sort>);
  lua_setfield(lua, -3, LUA_TABLIBNAME);
  lua_pop(lua, 1);

  lua_getfield(lua, -2, LUA_MATHLIBNAME);
  lua_newtable(lua);
  Take(lua, kMath);
  lua_setfield(lua, -3, LUA_MATHLIBNAME);
  lua_pop(lua, 1);

  PushLuaJson(lua);
  lua_setfield(lua, -2, "json");

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

void OpenLuaLibrary(LuaState& lua) {
  const int code = lua_cpcall(lua.get(), [](lua_State* state) { return Open(state); }, nullptr);
  if (code != 0) lua_pop(lua.get(), 1);
}

}  // namespace polyarch::conflict
