// Functions of Lua's library as code in a sandbox may have them: the originals where they do a
// step's work in a step, and ours where they do not. For whoever puts a library together.
#pragma once

#include <string>
#include <string_view>

#include "lua/meter.h"
#include "lua/state.h"

#include <lua5.1/lua.hpp>

namespace polyarch::lua {

using Function = int (*)(lua_State*);

inline constexpr char kTextTooLong[] = "it makes a text that is too long";

inline Meter& MeterOf(lua_State* lua) {
  return State::Of(lua).meter();
}

// A limit becomes an error of Lua's: through Lua no other exception may go.
template <Function kFunction>
int Guarded(lua_State* lua) {
  std::string why;
  try {
    return kFunction(lua);
  } catch (const LimitExceeded& e) {
    why = e.what();
  }
  lua_pushlstring(lua, why.data(), why.size());
  why = std::string();
  return lua_error(lua);
}

// For what is made in memory that Lua does not count: it may take what Lua may still allocate. If these
// bytes are more the run ends, as where Lua allocates.
inline void CheckRoom(lua_State* lua, size_t bytes) {
  State& state = State::Of(lua);
  if (bytes <= state.memory_left()) return;
  state.EndForMemory();
  throw LimitExceeded(kTextTooLong);
}

// An argument as text, or an error of Lua's.
inline std::string_view Text(lua_State* lua, int argument) {
  size_t size = 0;
  const char* text = luaL_checklstring(lua, argument, &size);
  return {text, size};
}

// To be put there under Guarded. string.rep, find, match, gmatch, gsub (texts.cc).
int TextRepeat(lua_State* lua);
int TextFind(lua_State* lua);
int TextMatch(lua_State* lua);
int TextEachMatch(lua_State* lua);
int TextReplaceAll(lua_State* lua);
// table.sort (tables.cc): Lua's own order of comparisons, each of them charged.
int TableSort(lua_State* lua);
// table.insert, remove, concat and maxn, each element charged as it is touched.
int TableInsert(lua_State* lua);
int TableRemove(lua_State* lua);
int TableConcat(lua_State* lua);
int TableMaxN(lua_State* lua);
// unpack: the original, the first upvalue.
int Unpack(lua_State* lua);
// The first upvalue's code, in the caller's own frame, so that errors have the place of the call.
inline int CallOriginal(lua_State* lua) {
  return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

}  // namespace polyarch::lua
