// The module cmsgpack: MessagePack, with the choices of lua-cmsgpack 0.4.0, as Redis has it.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "lua/functions.h"
#include "script/inside.h"

namespace polyarch::script {

namespace {

constexpr int kNestingMax = 16;  // what is deeper is packed as nil
constexpr int kUnpackNestingMax = 1000;

void PutBig(std::string& out, uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
    out += static_cast<char>(value >> shift);
}
void PutHead(std::string& out, unsigned char head) {
  out += static_cast<char>(head);
}

class Packer {
 public:
  explicit Packer(lua_State* lua) : lua_(lua) {}

  // The value on top, which is popped.
  void Value(int level) {
    lua::MeterOf(lua_).Charge(1);
    lua::CheckRoom(lua_, out_.size());
    int type = lua_type(lua_, -1);
    if (type == LUA_TTABLE && level == kNestingMax) type = LUA_TNIL;
    switch (type) {
      case LUA_TSTRING:
        String();
        break;
      case LUA_TBOOLEAN:
        PutHead(out_, lua_toboolean(lua_, -1) != 0 ? 0xc3 : 0xc2);
        break;
      case LUA_TNUMBER:
        Number(lua_tonumber(lua_, -1));
        break;
      case LUA_TTABLE:
        Table(level);
        break;
      default:
        PutHead(out_, 0xc0);
        break;
    }
    lua_pop(lua_, 1);
  }
  const std::string& out() const { return out_; }

 private:
  void String() {
    size_t size = 0;
    const char* text = lua_tolstring(lua_, -1, &size);
    if (size < 32) {
      PutHead(out_, static_cast<unsigned char>(0xa0 | size));
    } else if (size <= 0xff) {
      PutHead(out_, 0xd9);
      PutBig(out_, size, 1);
    } else if (size <= 0xffff) {
      PutHead(out_, 0xda);
      PutBig(out_, size, 2);
    } else {
      PutHead(out_, 0xdb);
      PutBig(out_, size, 4);
    }
    lua::MeterOf(lua_).Charge(size / 64);
    lua::CheckRoom(lua_, out_.size() + size);
    out_.append(text, size);
  }
  void Number(double number) {
    constexpr double kBound = 9223372036854775808.0;
    if (number >= -kBound && number < kBound && std::floor(number) == number)
      return Integer(static_cast<int64_t>(number));
    const auto shorter = static_cast<float>(number);
    if (static_cast<double>(shorter) == number) {
      uint32_t bits = 0;
      std::memcpy(&bits, &shorter, sizeof bits);
      PutHead(out_, 0xca);
      PutBig(out_, bits, 4);
    } else {
      uint64_t bits = 0;
      std::memcpy(&bits, &number, sizeof bits);
      PutHead(out_, 0xcb);
      PutBig(out_, bits, 8);
    }
  }
  void Integer(int64_t n) {
    const auto bits = static_cast<uint64_t>(n);
    auto put = [&](unsigned char head, int bytes) {
      PutHead(out_, head);
      PutBig(out_, bits, bytes);
    };
    if (n >= 0) {
      if (n <= 127) {
        PutBig(out_, bits, 1);
      } else if (n <= 0xff) {
        put(0xcc, 1);
      } else if (n <= 0xffff) {
        put(0xcd, 2);
      } else if (n <= 0xffffffffLL) {
        put(0xce, 4);
      } else {
        put(0xcf, 8);
      }
    } else if (n >= -32) {
      PutBig(out_, bits, 1);
    } else if (n >= -128) {
      put(0xd0, 1);
    } else if (n >= -32768) {
      put(0xd1, 2);
    } else if (n >= -2147483648LL) {
      put(0xd2, 4);
    } else {
      put(0xd3, 8);
    }
  }
  void Table(int level) {
    luaL_checkstack(lua_, 5, "in function mp_encode_lua_table");
    size_t count = 0;
    double highest = 0;
    bool array = true;
    lua_pushnil(lua_);
    while (lua_next(lua_, -2) != 0) {
      lua_pop(lua_, 1);
      lua::MeterOf(lua_).Charge(1);
      ++count;
      const double key = lua_type(lua_, -1) == LUA_TNUMBER ? lua_tonumber(lua_, -1) : 0;
      if (key < 1 || std::floor(key) != key) array = false;
      highest = std::max(highest, key);
    }
    if (array && highest == static_cast<double>(count)) {
      Head(count, 0x90, 0xdc);
      for (size_t i = 1; i <= count; ++i) {
        lua_rawgeti(lua_, -1, static_cast<int>(i));
        Value(level + 1);
      }
      return;
    }
    Head(count, 0x80, 0xde);
    lua_pushnil(lua_);
    while (lua_next(lua_, -2) != 0) {
      lua_pushvalue(lua_, -2);
      Value(level + 1);
      Value(level + 1);
    }
  }
  void Head(size_t count, unsigned char few, unsigned char many) {
    if (count <= 15) {
      PutHead(out_, static_cast<unsigned char>(few | count));
    } else if (count <= 0xffff) {
      PutHead(out_, many);
      PutBig(out_, count, 2);
    } else {
      PutHead(out_, static_cast<unsigned char>(many + 1));
      PutBig(out_, count, 4);
    }
  }

  lua_State* lua_;
  std::string out_;
};

int Pack(lua_State* lua) {
  const int count = lua_gettop(lua);
  if (count == 0) return luaL_argerror(lua, 0, "MessagePack pack needs input.");
  luaL_checkstack(lua, 1, "Too many arguments for MessagePack pack.");
  Packer packer(lua);
  for (int i = 1; i <= count; ++i) {
    lua_pushvalue(lua, i);
    packer.Value(0);
  }
  lua_pushlstring(lua, packer.out().data(), packer.out().size());
  return 1;
}

class Unpacker {
 public:
  Unpacker(lua_State* lua, std::string_view bytes)
      : lua_(lua), p_(bytes.data()), end_(p_ + bytes.size()) {}

  bool done() const { return p_ == end_; }
  const char* at() const { return p_; }

  // Pushes the next value, or raises an error.
  void Value(int level) {
    lua::MeterOf(lua_).Charge(1);
    luaL_checkstack(
        lua_, 4, "too many return values at once; use unpack_one or unpack_limit instead.");
    if (level > kUnpackNestingMax) Bad();
    const auto head = static_cast<unsigned char>(Big(1));
    if (head < 0x80) return Push(head);
    if (head >= 0xe0) return Push(static_cast<int8_t>(head));
    if (head < 0x90) return Map(head & 15, level);
    if (head < 0xa0) return Array(head & 15, level);
    if (head < 0xc0) return String(head & 31);
    switch (head) {
      case 0xc0:
        lua_pushnil(lua_);
        return;
      case 0xc2:
      case 0xc3:
        lua_pushboolean(lua_, head & 1);
        return;
      case 0xc4:
        return String(Big(1));
      case 0xc5:
        return String(Big(2));
      case 0xc6:
        return String(Big(4));
      case 0xca: {
        const auto bits = static_cast<uint32_t>(Big(4));
        float number = 0;
        std::memcpy(&number, &bits, sizeof number);
        return Push(static_cast<double>(number));
      }
      case 0xcb: {
        const uint64_t bits = Big(8);
        double number = 0;
        std::memcpy(&number, &bits, sizeof number);
        return Push(number);
      }
      case 0xcc:
        return Push(static_cast<double>(Big(1)));
      case 0xcd:
        return Push(static_cast<double>(Big(2)));
      case 0xce:
        return Push(static_cast<double>(Big(4)));
      case 0xcf:
        return Push(static_cast<double>(Big(8)));
      case 0xd0:
        return Push(static_cast<int8_t>(Big(1)));
      case 0xd1:
        return Push(static_cast<int16_t>(Big(2)));
      case 0xd2:
        return Push(static_cast<int32_t>(Big(4)));
      case 0xd3:
        return Push(static_cast<double>(static_cast<int64_t>(Big(8))));
      case 0xd9:
        return String(Big(1));
      case 0xda:
        return String(Big(2));
      case 0xdb:
        return String(Big(4));
      case 0xdc:
        return Array(Big(2), level);
      case 0xdd:
        return Array(Big(4), level);
      case 0xde:
        return Map(Big(2), level);
      case 0xdf:
        return Map(Big(4), level);
      default:
        Bad();
    }
  }

 private:
  void Bad() { luaL_error(lua_, "Bad data format in input."); }
  void Need(uint64_t bytes) {
    if (static_cast<uint64_t>(end_ - p_) < bytes) luaL_error(lua_, "Missing bytes in input.");
  }
  uint64_t Big(int bytes) {
    Need(static_cast<uint64_t>(bytes));
    uint64_t value = 0;
    for (int i = 0; i < bytes; ++i)
      value = value << 8 | static_cast<unsigned char>(*p_++);
    return value;
  }
  void Push(double number) { lua_pushnumber(lua_, number); }
  void String(uint64_t size) {
    Need(size);
    lua_pushlstring(lua_, p_, size);
    p_ += size;
  }
  void Array(uint64_t count, int level) {
    lua_newtable(lua_);
    for (uint64_t i = 1; i <= count; ++i) {
      Value(level + 1);
      lua_rawseti(lua_, -2, static_cast<int>(i));
    }
  }
  void Map(uint64_t count, int level) {
    lua_newtable(lua_);
    for (uint64_t i = 0; i < count; ++i) {
      Value(level + 1);
      Value(level + 1);
      lua_settable(lua_, -3);
    }
  }

  lua_State* lua_;
  const char* p_;
  const char* end_;
};

int UnpackFrom(lua_State* lua, lua_Integer limit, lua_Integer offset) {
  const std::string_view bytes = lua::Text(lua, 1);
  const bool all = limit == 0 && offset == 0;
  if (offset < 0 || limit < 0) {
    return luaL_error(lua,
                      "Invalid request to unpack with offset of %d and limit of %d.",
                      static_cast<int>(offset),
                      static_cast<int>(bytes.size()));
  }
  if (static_cast<size_t>(offset) > bytes.size()) {
    return luaL_error(lua,
                      "Start offset %d greater than input length %d.",
                      static_cast<int>(offset),
                      static_cast<int>(bytes.size()));
  }
  if (all) limit = INT32_MAX;
  Unpacker unpacker(lua, bytes.substr(static_cast<size_t>(offset)));
  int count = 0;
  for (; !unpacker.done() && count < limit; ++count)
    unpacker.Value(0);
  if (all) return count;
  luaL_checkstack(lua, 1, "");
  lua_pushinteger(lua, unpacker.done() ? -1 : unpacker.at() - bytes.data());
  lua_insert(lua, -count - 1);
  return count + 1;
}

int Unpack(lua_State* lua) {
  return UnpackFrom(lua, 0, 0);
}
int UnpackOne(lua_State* lua) {
  const lua_Integer offset = luaL_optinteger(lua, 2, 0);
  lua_settop(lua, 1);
  return UnpackFrom(lua, 1, offset);
}
int UnpackLimit(lua_State* lua) {
  const lua_Integer limit = luaL_checkinteger(lua, 2);
  const lua_Integer offset = luaL_optinteger(lua, 3, 0);
  lua_settop(lua, 1);
  return UnpackFrom(lua, limit, offset);
}

void PutText(lua_State* lua, const char* name, const char* text) {
  lua_pushstring(lua, text);
  lua_setfield(lua, -2, name);
}

}  // namespace

void OpenCmsgpack(lua_State* lua) {
  lua_newtable(lua);
  for (const luaL_Reg& f : {luaL_Reg{"pack", lua::Guarded<&Pack>},
                            luaL_Reg{"unpack", lua::Guarded<&Unpack>},
                            luaL_Reg{"unpack_one", lua::Guarded<&UnpackOne>},
                            luaL_Reg{"unpack_limit", lua::Guarded<&UnpackLimit>}}) {
    lua_pushcfunction(lua, f.func);
    lua_setfield(lua, -2, f.name);
  }
  PutText(lua, "_NAME", "cmsgpack");
  PutText(lua, "_VERSION", "lua-cmsgpack 0.4.0");
  PutText(lua, "_DESCRIPTION", "MessagePack C implementation for Lua");
}

}  // namespace polyarch::script
