// What our functions for Lua share: metering, limits as errors, and tables in the order of their
// keys. For the .cc files of this room that see Lua.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "conflict/lua_state.h"
#include "conflict/meter.h"

#include <lua5.1/lua.hpp>

namespace polyarch::conflict {

using LuaFunction = int (*)(lua_State*);

// Of what is made in memory that Lua does not count.
inline constexpr size_t kLuaTextBytesMax = 8ULL << 20;
inline constexpr char kLuaTextTooLong[] = "it makes a text that is too long";

inline Meter& MeterOf(lua_State* lua) {
  return LuaState::Of(lua).meter();
}

// A limit becomes an error of Lua's: through Lua no other exception may go.
template <LuaFunction kFunction>
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

// The text of an argument, or an error of Lua's.
inline std::string_view LuaText(lua_State* lua, int argument) {
  size_t size = 0;
  const char* text = luaL_checklstring(lua, argument, &size);
  return {text, size};
}

// A key that has an order which does not depend on addresses: numbers, texts, truth values. A text
// is Lua's own: it lives while it stands in the table, or on the stack. (A copy would be memory
// that nobody counts: a table may hold itself, and be walked through at each depth.)
struct TableKey {
  int type = LUA_TNUMBER;
  lua_Number number = 0;
  std::string_view text;
  bool truth = false;

  bool operator<(const TableKey& other) const;
  void Push(lua_State* lua) const;
};
// False if it is another one.
bool ReadTableKey(lua_State* lua, int index, TableKey& key);
// The keys of the table `index`, sorted: numbers, texts, truth values. False if there are others.
bool SortedTableKeys(lua_State* lua, int index, std::vector<TableKey>& keys);

}  // namespace polyarch::conflict
