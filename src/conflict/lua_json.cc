#include "conflict/lua_json.h"

#include <cmath>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "conflict/json_token.h"
#include "lua/functions.h"
#include "lua/table_keys.h"

namespace polyarch::conflict {

namespace {

// In the registry: the metatables of arrays and of numbers with their text, and null.
constexpr char kArray[] = "json.array";
constexpr char kNumber[] = "json.number";
constexpr char kNull[] = "json.null";

// Pushes and pops around a value: it, a key, a metatable.
constexpr int kSlots = 6;

bool HasMetatable(lua_State* lua, int index, const char* name) {
  if (lua_getmetatable(lua, index) == 0) return false;
  lua_getfield(lua, LUA_REGISTRYINDEX, name);
  const bool same = lua_rawequal(lua, -1, -2) != 0;
  lua_pop(lua, 2);
  return same;
}

bool IsNull(lua_State* lua, int index) {
  lua_getfield(lua, LUA_REGISTRYINDEX, kNull);
  const bool same = lua_rawequal(lua, -1, index) != 0;
  lua_pop(lua, 1);
  return same;
}

void SetMetatable(lua_State* lua, const char* name) {
  lua_getfield(lua, LUA_REGISTRYINDEX, name);
  lua_setmetatable(lua, -2);
}

void PushNumber(lua_State* lua, std::string_view text) {
  lua::MeterOf(lua).Charge(1 + text.size() / 8);
  if (double value = 0; IsExactDouble(text, value)) return lua_pushnumber(lua, value);
  void* bytes = lua_newuserdata(lua, text.size());
  std::memcpy(bytes, text.data(), text.size());
  SetMetatable(lua, kNumber);
}

// The text of a number that has one.
std::string_view NumberText(lua_State* lua, int index) {
  return {static_cast<const char*>(lua_touserdata(lua, index)), lua_objlen(lua, index)};
}

class Decoder {
 public:
  Decoder(lua_State* lua, std::string_view text) : lua_(lua), cursor_(text), size_(text.size()) {}

  // Pushes the value of the whole text; false, with `why`, if it is no JSON.
  bool Document() {
    if (!Value(1)) return false;
    cursor_.Skip();
    return cursor_.empty() || Fail("there is something behind the value");
  }
  std::string why() const {
    return std::string(why_) + ", at byte " + std::to_string(size_ - cursor_.left() + 1);
  }

 private:
  bool Fail(const char* why) {
    why_ = why;
    return false;
  }

  bool Value(size_t depth) {
    luaL_checkstack(lua_, kSlots, "JSON");
    lua::MeterOf(lua_).Charge(4);
    cursor_.Skip();
    switch (cursor_.Peek()) {
      case '{':
        return depth <= kJsonDepthMax ? Object(depth) : Fail("it is nested too deep");
      case '[':
        return depth <= kJsonDepthMax ? Array(depth) : Fail("it is nested too deep");
      case '"':
        return String();
      case 't':
        return lua_pushboolean(lua_, 1), cursor_.TakeWord("true") || Fail("no value");
      case 'f':
        return lua_pushboolean(lua_, 0), cursor_.TakeWord("false") || Fail("no value");
      case 'n':
        lua_getfield(lua_, LUA_REGISTRYINDEX, kNull);
        return cursor_.TakeWord("null") || Fail("no value");
      default:
        break;
    }
    const auto number = cursor_.TakeNumber();
    if (!number) return Fail("no value");
    PushNumber(lua_, *number);
    return true;
  }

  bool String() {
    const auto quoted = cursor_.TakeString();
    if (!quoted) return Fail("a text that does not end, or a byte or escape that may not be in it");
    lua::MeterOf(lua_).Charge(quoted->size() / 8);
    const std::string text = UnescapeJson(*quoted);
    if (!IsUtf8(text)) return Fail("a text that is not UTF-8, before this place");
    lua_pushlstring(lua_, text.data(), text.size());
    return true;
  }

  bool Object(size_t depth) {
    lua_newtable(lua_);
    cursor_.Take('{');
    cursor_.Skip();
    if (cursor_.Take('}')) return true;
    do {
      cursor_.Skip();
      if (!String()) return false;
      cursor_.Skip();
      if (!cursor_.Take(':')) return Fail("':' is missing");
      if (!Value(depth + 1)) return false;
      lua_rawset(lua_, -3);
      cursor_.Skip();
    } while (cursor_.Take(','));
    return cursor_.Take('}') || Fail("',' or '}' is missing");
  }

  bool Array(size_t depth) {
    lua_newtable(lua_);
    SetMetatable(lua_, kArray);
    cursor_.Take('[');
    cursor_.Skip();
    if (cursor_.Take(']')) return true;
    int place = 0;
    do {
      if (!Value(depth + 1)) return false;
      lua_rawseti(lua_, -2, ++place);
      cursor_.Skip();
    } while (cursor_.Take(','));
    return cursor_.Take(']') || Fail("',' or ']' is missing");
  }

  lua_State* lua_;
  JsonCursor cursor_;
  size_t size_;
  const char* why_ = "";
};

class Encoder {
 public:
  explicit Encoder(lua_State* lua) : lua_(lua) {}

  // The value on top of the stack, which stays there.
  void Value(size_t depth) {
    luaL_checkstack(lua_, kSlots, "JSON");
    lua::MeterOf(lua_).Charge(4);
    switch (const int type = lua_type(lua_, -1)) {
      case LUA_TBOOLEAN:
        return Put(lua_toboolean(lua_, -1) != 0 ? "true" : "false");
      case LUA_TSTRING:
        return String(lua::Text(lua_, -1));
      case LUA_TNUMBER: {
        const lua_Number number = lua_tonumber(lua_, -1);
        if (!std::isfinite(number))
          luaL_error(lua_, "JSON has no word for a number that is not finite");
        return Put(JsonNumber(number));
      }
      case LUA_TTABLE:
        if (depth > kJsonDepthMax)
          luaL_error(lua_, "a table is nested too deep for JSON, or contains itself");
        return Table(depth);
      case LUA_TUSERDATA:
        return Put(IsNull(lua_, lua_gettop(lua_)) ? "null" : NumberText(lua_, -1));
      default:
        luaL_error(lua_, "JSON has no word for a %s", lua_typename(lua_, type));
    }
  }

  const std::string& text() const { return out_; }

 private:
  void Put(std::string_view text) {
    lua::MeterOf(lua_).Charge(text.size() / 8);
    out_ += text;
    if (out_.size() > lua::State::Of(lua_).memory_left()) throw lua::LimitExceeded(lua::kTextTooLong);
  }

  void String(std::string_view text) {
    lua::MeterOf(lua_).Charge(text.size() / 8);
    if (!IsUtf8(text)) luaL_error(lua_, "JSON has no word for a text that is not UTF-8");
    std::string quoted;
    AppendJsonString(quoted, text);
    Put(quoted);
  }

  void Table(size_t depth) {
    const int table = lua_gettop(lua_);
    std::vector<lua::TableKey> keys;
    if (!lua::SortedTableKeys(lua_, table, keys)) luaL_error(lua_, "a key of a JSON object is a text");
    const bool marked = HasMetatable(lua_, table, kArray);
    if (marked || (!keys.empty() && keys.front().type == LUA_TNUMBER)) return Array(keys, depth);
    Put("{");
    for (const lua::TableKey& key : keys) {
      if (key.type != LUA_TSTRING) luaL_error(lua_, "a key of a JSON object is a text");
      if (&key != &keys.front()) Put(",");
      String(key.text);
      Put(":");
      Member(table, key, depth);
    }
    Put("}");
  }

  void Array(const std::vector<lua::TableKey>& keys, size_t depth) {
    const int table = lua_gettop(lua_);
    Put("[");
    for (size_t i = 0; i < keys.size(); ++i) {
      if (keys[i].type != LUA_TNUMBER || keys[i].number != static_cast<lua_Number>(i + 1)) {
        luaL_error(lua_, "the keys of a JSON array are 1, 2, ...; this table has other ones");
      }
      if (i > 0) Put(",");
      Member(table, keys[i], depth);
    }
    Put("]");
  }

  void Member(int table, const lua::TableKey& key, size_t depth) {
    key.Push(lua_);
    lua_rawget(lua_, table);
    Value(depth + 1);
    lua_pop(lua_, 1);
  }

  lua_State* lua_;
  std::string out_;
};

int Decode(lua_State* lua) {
  const std::string_view text = lua::Text(lua, 1);
  lua::MeterOf(lua).Charge(1 + text.size() / 8);
  lua_settop(lua, 1);
  Decoder decoder(lua, text);
  if (decoder.Document()) return 1;
  lua_settop(lua, 1);
  lua_pushnil(lua);
  const std::string why = decoder.why();
  lua_pushlstring(lua, why.data(), why.size());
  return 2;
}

int Encode(lua_State* lua) {
  luaL_checkany(lua, 1);
  lua_settop(lua, 1);
  Encoder encoder(lua);
  encoder.Value(1);
  lua_pushlstring(lua, encoder.text().data(), encoder.text().size());
  return 1;
}

int MarkArray(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  lua_settop(lua, 1);
  SetMetatable(lua, kArray);
  return 1;
}

int MakeNumber(lua_State* lua) {
  const std::string_view text = lua::Text(lua, 1);
  JsonCursor cursor(text);
  const auto number = cursor.TakeNumber();
  if (!number || !cursor.empty()) return luaL_argerror(lua, 1, "a number as JSON has it expected");
  PushNumber(lua, *number);
  return 1;
}

int ShowNumber(lua_State* lua) {
  const std::string_view text = NumberText(lua, 1);
  lua_pushlstring(lua, text.data(), text.size());
  return 1;
}

// Lua asks only for two values that both have this metatable.
int SameNumber(lua_State* lua) {
  lua::MeterOf(lua).Charge(1 + NumberText(lua, 1).size() / 8);
  lua_pushboolean(lua, NumberText(lua, 1) == NumberText(lua, 2) ? 1 : 0);
  return 1;
}

int ShowNull(lua_State* lua) {
  lua_pushliteral(lua, "null");
  return 1;
}

int Open(lua_State* lua) {
  lua_newtable(lua);
  lua_setfield(lua, LUA_REGISTRYINDEX, kArray);

  lua_newtable(lua);
  lua_pushcfunction(lua, &ShowNumber);
  lua_setfield(lua, -2, "__tostring");
  lua_pushcfunction(lua, &lua::Guarded<&SameNumber>);
  lua_setfield(lua, -2, "__eq");
  lua_setfield(lua, LUA_REGISTRYINDEX, kNumber);

  lua_newuserdata(lua, 0);
  lua_newtable(lua);
  lua_pushcfunction(lua, &ShowNull);
  lua_setfield(lua, -2, "__tostring");
  lua_setmetatable(lua, -2);
  lua_pushvalue(lua, -1);
  lua_setfield(lua, LUA_REGISTRYINDEX, kNull);

  lua_newtable(lua);
  lua_insert(lua, -2);
  lua_setfield(lua, -2, "null");
  lua_pushcfunction(lua, &lua::Guarded<&Decode>);
  lua_setfield(lua, -2, "decode");
  lua_pushcfunction(lua, &lua::Guarded<&Encode>);
  lua_setfield(lua, -2, "encode");
  lua_pushcfunction(lua, &lua::Guarded<&MarkArray>);
  lua_setfield(lua, -2, "array");
  lua_pushcfunction(lua, &lua::Guarded<&MakeNumber>);
  lua_setfield(lua, -2, "number");
  lua_setglobal(lua, "json");
  return 0;
}

}  // namespace

void OpenLuaJson(lua::State& lua) {
  const int code = lua_cpcall(lua.get(), &Open, nullptr);
  if (code != 0) lua_pop(lua.get(), 1);
}

}  // namespace polyarch::conflict
