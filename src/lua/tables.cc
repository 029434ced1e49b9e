// Functions on tables that are charged for what they do in one go.
#include <cstdint>

#include "lua/functions.h"

namespace polyarch::lua {

namespace {

constexpr size_t kTextBytesAStep = 64;

// Does the value at `a` come before that at `b`, by the function at 2 if there is one?
bool Before(lua_State* lua, int a, int b) {
  uint64_t steps = 1;
  if (lua_type(lua, a) == LUA_TSTRING) steps += lua_objlen(lua, a) / kTextBytesAStep;
  MeterOf(lua).Charge(steps);
  if (lua_isnil(lua, 2)) return lua_lessthan(lua, a, b) != 0;
  lua_pushvalue(lua, 2);
  lua_pushvalue(lua, a - 1);  // what is given from the top has moved by one, then by two
  lua_pushvalue(lua, b - 2);
  lua_call(lua, 2, 1);
  const bool before = lua_toboolean(lua, -1) != 0;
  lua_pop(lua, 1);
  return before;
}

void Set2(lua_State* lua, int i, int j) {
  lua_rawseti(lua, 1, i);
  lua_rawseti(lua, 1, j);
}

// Quicksort with the steps of Lua 5.1's own (ltablib.c, after Sedgewick), so that equal elements
// and odd functions end in the same order. What is bad for it is charged as it happens.
void Quicksort(lua_State* lua, int low, int high) {
  while (low < high) {
    // Of the first, the middle and the last, the middle one is the pivot.
    lua_rawgeti(lua, 1, low);
    lua_rawgeti(lua, 1, high);
    if (Before(lua, -1, -2)) {
      Set2(lua, low, high);
    } else {
      lua_pop(lua, 2);
    }
    if (high - low == 1) break;
    int i = low + (high - low) / 2;
    lua_rawgeti(lua, 1, i);
    lua_rawgeti(lua, 1, low);
    if (Before(lua, -2, -1)) {
      Set2(lua, i, low);
    } else {
      lua_pop(lua, 1);
      lua_rawgeti(lua, 1, high);
      if (Before(lua, -1, -2)) {
        Set2(lua, i, high);
      } else {
        lua_pop(lua, 2);
      }
    }
    if (high - low == 2) break;
    lua_rawgeti(lua, 1, i);  // the pivot
    lua_pushvalue(lua, -1);
    lua_rawgeti(lua, 1, high - 1);
    Set2(lua, i, high - 1);
    i = low;
    int j = high - 1;
    for (;;) {
      while (lua_rawgeti(lua, 1, ++i), Before(lua, -1, -2)) {
        if (i > high) luaL_error(lua, "invalid order function for sorting");
        lua_pop(lua, 1);
      }
      while (lua_rawgeti(lua, 1, --j), Before(lua, -3, -1)) {
        if (j < low) luaL_error(lua, "invalid order function for sorting");
        lua_pop(lua, 1);
      }
      if (j < i) {
        lua_pop(lua, 3);
        break;
      }
      Set2(lua, i, j);
    }
    lua_rawgeti(lua, 1, high - 1);
    lua_rawgeti(lua, 1, i);
    Set2(lua, high - 1, i);
    // The smaller part by a call of its own, so the depth is that of a logarithm.
    if (i - low < high - i) {
      Quicksort(lua, low, i - 1);
      low = i + 1;
    } else {
      Quicksort(lua, i + 1, high);
      high = i - 1;
    }
  }
}

}  // namespace

int TableSort(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  const auto count = static_cast<int>(lua_objlen(lua, 1));
  luaL_checkstack(lua, 40, "");
  if (!lua_isnoneornil(lua, 2)) luaL_checktype(lua, 2, LUA_TFUNCTION);
  lua_settop(lua, 2);
  Quicksort(lua, 1, count);
  return 0;
}

int ByLength(lua_State* lua) {
  if (lua_istable(lua, 1)) MeterOf(lua).Charge(lua_objlen(lua, 1));
  const int arguments = lua_gettop(lua);
  lua_pushvalue(lua, lua_upvalueindex(1));
  lua_insert(lua, 1);
  lua_call(lua, arguments, LUA_MULTRET);
  return lua_gettop(lua);
}

}  // namespace polyarch::lua
