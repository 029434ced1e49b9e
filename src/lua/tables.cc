// Functions on tables that are charged for what they do in one go.
#include <algorithm>
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

// As Lua's own (ltablib.c), but that it may be a position of which the list knows nothing: two thousand
// million below its beginning.
int TableInsert(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  int end = static_cast<int>(lua_objlen(lua, 1)) + 1;
  int place = end;
  switch (lua_gettop(lua)) {
    case 2:
      break;
    case 3:
      place = luaL_checkint(lua, 2);
      end = std::max(end, place);
      for (int i = end; i > place; --i) {
        MeterOf(lua).Charge(1);
        lua_rawgeti(lua, 1, i - 1);
        lua_rawseti(lua, 1, i);
      }
      break;
    default:
      return luaL_error(lua, "wrong number of arguments to " LUA_QL("insert"));
  }
  lua_rawseti(lua, 1, place);
  return 0;
}

int TableRemove(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  const auto end = static_cast<int>(lua_objlen(lua, 1));
  int place = luaL_optint(lua, 2, end);
  if (place < 1 || place > end) return 0;
  lua_rawgeti(lua, 1, place);
  for (; place < end; ++place) {
    MeterOf(lua).Charge(1);
    lua_rawgeti(lua, 1, place + 1);
    lua_rawseti(lua, 1, place);
  }
  lua_pushnil(lua);
  lua_rawseti(lua, 1, end);
  return 1;
}

int TableConcat(lua_State* lua) {
  size_t between_size = 0;
  const char* between = luaL_optlstring(lua, 2, "", &between_size);
  luaL_checktype(lua, 1, LUA_TTABLE);
  const int first = luaL_optint(lua, 3, 1);
  const int last = lua_isnoneornil(lua, 4) ? static_cast<int>(lua_objlen(lua, 1)) : luaL_checkint(lua, 4);
  luaL_Buffer out;
  luaL_buffinit(lua, &out);
  for (int64_t i = first; i <= last; ++i) {
    MeterOf(lua).Charge(1);
    const int index = static_cast<int>(i);
    if (i > first) luaL_addlstring(&out, between, between_size);
    lua_rawgeti(lua, 1, index);
    if (lua_isstring(lua, -1) == 0) {
      return luaL_error(lua, "invalid value (%s) at index %d in table for " LUA_QL("concat"),
                        luaL_typename(lua, -1), index);
    }
    luaL_addvalue(&out);
  }
  luaL_pushresult(&out);
  return 1;
}

int TableMaxN(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  lua_settop(lua, 1);
  lua_Number highest = 0;
  lua_pushnil(lua);
  while (lua_next(lua, 1) != 0) {
    MeterOf(lua).Charge(1);
    lua_pop(lua, 1);
    if (lua_type(lua, -1) == LUA_TNUMBER) highest = std::max(highest, lua_tonumber(lua, -1));
  }
  lua_pushnumber(lua, highest);
  return 1;
}

int Unpack(lua_State* lua) {
  // More than that do not find room on the stack.
  if (lua_istable(lua, 1)) MeterOf(lua).Charge(std::min<size_t>(lua_objlen(lua, 1), LUAI_MAXCSTACK));
  return CallOriginal(lua);
}

}  // namespace polyarch::lua
