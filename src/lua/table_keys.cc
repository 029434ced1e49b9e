#include "lua/table_keys.h"

#include <algorithm>

#include "lua/functions.h"

namespace polyarch::lua {

namespace {

constexpr size_t kTextBytesAStep = 64;  // of keys that are compared

}  // namespace

bool TableKey::operator<(const TableKey& other) const {
  if (type != other.type) return type < other.type;
  if (type == LUA_TNUMBER) return number < other.number;
  if (type == LUA_TSTRING) return text < other.text;
  return truth < other.truth;
}

void TableKey::Push(lua_State* lua) const {
  if (type == LUA_TNUMBER) lua_pushnumber(lua, number);
  if (type == LUA_TSTRING) lua_pushlstring(lua, text.data(), text.size());
  if (type == LUA_TBOOLEAN) lua_pushboolean(lua, truth ? 1 : 0);
}

bool ReadTableKey(lua_State* lua, int index, TableKey& key) {
  key.type = lua_type(lua, index);
  if (key.type == LUA_TNUMBER) {
    key.number = lua_tonumber(lua, index);
  } else if (key.type == LUA_TSTRING) {
    size_t size = 0;
    const char* text = lua_tolstring(lua, index, &size);
    key.text = {text, size};
  } else if (key.type == LUA_TBOOLEAN) {
    key.truth = lua_toboolean(lua, index) != 0;
  } else {
    return false;
  }
  return true;
}

bool SortedTableKeys(lua_State* lua, int index, std::vector<TableKey>& keys) {
  lua_pushnil(lua);
  while (lua_next(lua, index) != 0) {
    lua_pop(lua, 1);
    TableKey key;
    if (!ReadTableKey(lua, -1, key)) return false;
    MeterOf(lua).Charge(4 + key.text.size() / kTextBytesAStep);
    keys.push_back(key);
  }
  std::sort(keys.begin(), keys.end());
  return true;
}

}  // namespace polyarch::lua
