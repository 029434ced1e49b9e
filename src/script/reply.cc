// Replies as Lua's values, and the other way: the conversions of Redis 7.0.
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>

#include "base/number.h"
#include "lua/functions.h"
#include "script/inside.h"

namespace polyarch::script {

namespace {

// ---- from RESP. The bytes are our own: what the commands of this process have written.

class ReplyPusher {
 public:
  ReplyPusher(lua_State* lua, std::string_view bytes)
      : lua_(lua), p_(bytes.data()), end_(p_ + bytes.size()) {}

  // Pushes one value; true if it is an error.
  bool Push() {
    luaL_checkstack(lua_, 4, "the reply is nested too deeply");
    if (p_ == end_) {  // no reply at all
      lua_pushboolean(lua_, 0);
      return false;
    }
    const char type = *p_++;
    switch (type) {
      case '+':
        PushField("ok", Line());
        return false;
      case '-':
        --p_;
        PushError(lua_, Line());
        return true;
      case ':':
        lua_pushnumber(lua_, static_cast<lua_Number>(Number()));
        return false;
      case '$':
        PushBulk();
        return false;
      case '*':
        PushArray();
        return false;
      case '%':
        PushMap();
        return false;
      case '~':
        PushSet();
        return false;
      case '_':
        Line();
        lua_pushnil(lua_);
        return false;
      case '#':
        lua_pushboolean(lua_, Line() == "t" ? 1 : 0);
        return false;
      case ',':
        PushDouble();
        return false;
      case '(':
        PushField("big_number", Line());
        return false;
      case '=':
        PushVerbatim();
        return false;
      default:
        Line();
        lua_pushnil(lua_);
        return false;
    }
  }

 private:
  std::string_view Line() {
    const char* begin = p_;
    while (*p_ != '\r')
      ++p_;
    const std::string_view line(begin, static_cast<size_t>(p_ - begin));
    p_ += 2;
    return line;
  }
  int64_t Number() {
    int64_t number = 0;
    const std::string_view line = Line();
    std::from_chars(line.data(), line.data() + line.size(), number);
    return number;
  }
  std::string_view Bytes(int64_t size) {
    const std::string_view bytes(p_, static_cast<size_t>(size));
    p_ += size + 2;
    return bytes;
  }
  void PushText(std::string_view text) { lua_pushlstring(lua_, text.data(), text.size()); }
  void PushField(const char* name, std::string_view text) {
    lua_createtable(lua_, 0, 1);
    PushText(text);
    lua_setfield(lua_, -2, name);
  }
  void PushBulk() {
    const int64_t size = Number();
    if (size < 0) {
      lua_pushboolean(lua_, 0);
    } else {
      PushText(Bytes(size));
    }
  }
  void PushArray() {
    const int64_t count = Number();
    if (count < 0) {
      lua_pushboolean(lua_, 0);
      return;
    }
    lua_createtable(lua_, static_cast<int>(std::min<int64_t>(count, 1 << 20)), 0);
    for (int64_t i = 1; i <= count; ++i) {
      Push();
      lua_rawseti(lua_, -2, static_cast<int>(i));
    }
  }
  void PushMap() {
    const int64_t count = Number();
    lua_createtable(lua_, 0, 1);
    lua_createtable(lua_, 0, static_cast<int>(std::min<int64_t>(count, 1 << 20)));
    for (int64_t i = 0; i < count; ++i) {
      Push();
      Push();
      lua_rawset(lua_, -3);
    }
    lua_setfield(lua_, -2, "map");
  }
  void PushSet() {
    const int64_t count = Number();
    lua_createtable(lua_, 0, 1);
    lua_createtable(lua_, 0, static_cast<int>(std::min<int64_t>(count, 1 << 20)));
    for (int64_t i = 0; i < count; ++i) {
      Push();
      lua_pushboolean(lua_, 1);
      lua_rawset(lua_, -3);
    }
    lua_setfield(lua_, -2, "set");
  }
  void PushDouble() {
    lua_createtable(lua_, 0, 1);
    const std::string text(Line());
    lua_pushnumber(lua_, std::strtod(text.c_str(), nullptr));
    lua_setfield(lua_, -2, "double");
  }
  void PushVerbatim() {
    const std::string_view bytes = Bytes(Number());
    lua_createtable(lua_, 0, 1);
    lua_createtable(lua_, 0, 2);
    PushText(bytes.substr(0, 3));
    lua_setfield(lua_, -2, "format");
    PushText(bytes.substr(4));
    lua_setfield(lua_, -2, "string");
    lua_setfield(lua_, -2, "verbatim_string");
  }

  lua_State* lua_;
  const char* p_;
  const char* end_;
};

// ---- to RESP

int64_t ToInteger(lua_Number number) {
  constexpr double kBound = 9223372036854775808.0;
  // As the processor of Redis's machines does it: what does not fit is the least number.
  return number >= -kBound && number < kBound ? static_cast<int64_t>(number) : INT64_MIN;
}

std::string_view TextAt(lua_State* lua, int index) {
  size_t size = 0;
  const char* text = lua_tolstring(lua, index, &size);
  return {text, size};
}

class ReplyWriter {
 public:
  ReplyWriter(lua_State* lua, resp::Writer& reply, int protocol)
      : lua_(lua), reply_(reply), protocol_(protocol) {}

  // The value on top, which is popped.
  void Write() {
    lua::MeterOf(lua_).Charge(1);
    if (lua_checkstack(lua_, 4) == 0) {
      reply_.Error("ERR reached lua stack limit");
      lua_pop(lua_, 1);
      return;
    }
    switch (lua_type(lua_, -1)) {
      case LUA_TSTRING:
        WriteText();
        break;
      case LUA_TNUMBER:
        reply_.Integer(ToInteger(lua_tonumber(lua_, -1)));
        break;
      case LUA_TBOOLEAN: {
        const bool value = lua_toboolean(lua_, -1) != 0;
        if (protocol_ == 3) {
          reply_.Boolean(value);
        } else if (value) {
          reply_.Integer(1);
        } else {
          reply_.Null();
        }
        break;
      }
      case LUA_TTABLE:
        WriteTable();
        break;
      default:
        reply_.Null();
    }
    lua_pop(lua_, 1);
  }

 private:
  static constexpr size_t kBytesAStep = 64;

  // The same text may stand there a thousand times.
  void WriteText() {
    const std::string_view text = TextAt(lua_, -1);
    lua::MeterOf(lua_).Charge(text.size() / kBytesAStep);
    lua::CheckRoom(lua_, reply_.out().size() - begin_ + text.size());
    reply_.Bulk(text);
  }
  // Pushes the field of the table on top; true if it is of this type, else it is popped.
  bool Field(const char* name, int type) {
    lua_pushstring(lua_, name);
    lua_rawget(lua_, -2);
    if (lua_type(lua_, -1) == type) return true;
    lua_pop(lua_, 1);
    return false;
  }
  bool TextField(const char* name) { return Field(name, LUA_TSTRING); }

  void WriteTable() {
    if (TextField("err")) {
      reply_.Error(TextAt(lua_, -1));
    } else if (TextField("ok")) {
      reply_.Simple(TextAt(lua_, -1));
    } else if (Field("double", LUA_TNUMBER)) {
      reply_.Double(lua_tonumber(lua_, -1));
    } else if (Field("map", LUA_TTABLE)) {
      WriteMap();
    } else if (Field("set", LUA_TTABLE)) {
      WriteSet();
    } else if (TextField("big_number")) {
      reply_.BigNumber(TextAt(lua_, -1));
    } else if (Field("verbatim_string", LUA_TTABLE)) {
      if (WriteVerbatim()) {
        lua_pop(lua_, 1);
        return;
      }
      lua_pop(lua_, 1);
      WriteArray();
      return;
    } else {
      WriteArray();
      return;
    }
    lua_pop(lua_, 1);
  }
  size_t CountPairs() {
    size_t count = 0;
    lua_pushnil(lua_);
    while (lua_next(lua_, -2) != 0) {
      lua_pop(lua_, 1);
      ++count;
    }
    lua::MeterOf(lua_).Charge(count);
    return count;
  }
  void WriteMap() {
    reply_.Map(CountPairs());
    lua_pushnil(lua_);
    while (lua_next(lua_, -2) != 0) {
      lua_pushvalue(lua_, -2);
      Write();
      Write();
    }
  }
  void WriteSet() {
    reply_.Set(CountPairs());
    lua_pushnil(lua_);
    while (lua_next(lua_, -2) != 0) {
      lua_pop(lua_, 1);
      lua_pushvalue(lua_, -1);
      Write();
    }
  }
  bool WriteVerbatim() {
    lua_pushliteral(lua_, "format");
    lua_rawget(lua_, -2);
    lua_pushliteral(lua_, "string");
    lua_rawget(lua_, -3);
    const bool whole = lua_type(lua_, -1) == LUA_TSTRING && lua_type(lua_, -2) == LUA_TSTRING;
    if (whole) reply_.Verbatim(TextAt(lua_, -1), TextAt(lua_, -2));
    lua_pop(lua_, 2);
    return whole;
  }
  void WriteArray() {
    // Up to the first nil.
    size_t count = 0;
    for (;; ++count) {
      lua_rawgeti(lua_, -1, static_cast<int>(count) + 1);
      const bool end = lua_isnil(lua_, -1);
      lua_pop(lua_, 1);
      if (end) break;
    }
    lua::MeterOf(lua_).Charge(count);
    reply_.Array(count);
    for (size_t i = 0; i < count; ++i) {
      lua_rawgeti(lua_, -1, static_cast<int>(i) + 1);
      Write();
    }
  }

  lua_State* lua_;
  resp::Writer& reply_;
  const size_t begin_ = reply_.out().size();
  const int protocol_;
};

}  // namespace

void PushError(lua_State* lua, std::string_view message) {
  while (message.ends_with('\n') || message.ends_with('\r'))
    message.remove_suffix(1);
  std::string_view code = "ERR";
  if (message.starts_with('-')) {
    message.remove_prefix(1);
    if (const size_t space = message.find(' '); space != std::string_view::npos) {
      code = message.substr(0, space);
      message.remove_prefix(space + 1);
    }
  }
  const std::string text = std::string(code).append(" ").append(message);
  lua_createtable(lua, 0, 4);
  lua_pushlstring(lua, text.data(), text.size());
  lua_setfield(lua, -2, "err");
}

bool PushReply(lua_State* lua, std::string_view bytes) {
  const bool error = ReplyPusher(lua, bytes).Push();
  if (error) {
    // As in Redis: it has been counted already.
    lua_pushboolean(lua, 1);
    lua_setfield(lua, -2, "ignore_error_stats_update");
  }
  return error;
}

void WriteReply(lua_State* lua, resp::Writer& reply, int protocol) {
  try {
    ReplyWriter(lua, reply, protocol).Write();
  } catch (const lua::LimitExceeded&) {
    // The meter says so.
  }
}

int NotePlace(lua_State* lua) {
  lua_settop(lua, 1);
  lua_Debug where;
  bool known = lua_getstack(lua, 1, &where) != 0 && lua_getinfo(lua, "nSl", &where) != 0;
  if (known && std::string_view(where.what) == "C") {
    known = lua_getstack(lua, 2, &where) != 0 && lua_getinfo(lua, "nSl", &where) != 0;
  }
  if (!lua_istable(lua, 1)) {
    std::string text = "ERR ";
    if (lua_isstring(lua, 1) != 0) {
      text += TextAt(lua, 1);
    } else if (lua_isboolean(lua, 1)) {
      text += lua_toboolean(lua, 1) != 0 ? "true" : "false";
    } else {
      text += luaL_typename(lua, 1);
    }
    lua_createtable(lua, 0, 3);
    lua_pushlstring(lua, text.data(), text.size());
    lua_setfield(lua, -2, "err");
  }
  if (known) {
    lua_pushstring(lua, where.source);
    lua_setfield(lua, -2, "source");
    lua_pushinteger(lua, where.currentline);
    lua_setfield(lua, -2, "line");
  }
  return 1;
}

}  // namespace polyarch::script
