// Tables in an order of their keys that does not depend on addresses.
#pragma once

#include <string_view>
#include <vector>

#include <lua5.1/lua.hpp>

namespace polyarch::lua {

// A number, a text or a truth value. A text is Lua's own: it lives while it stands in the table, or
// on the stack. (A copy would be memory that nobody counts: a table may hold itself, and be walked
// through at each depth.)
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
// The keys of the table `index`, sorted: numbers, texts, truth values. False if there are others, which
// have an order by their addresses only.
bool SortedTableKeys(lua_State* lua, int index, std::vector<TableKey>& keys);

}  // namespace polyarch::lua
