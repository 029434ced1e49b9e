// The module struct: values as the bytes of C's structures, as Roberto Ierusalimschy's struct has
// it.
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

#include "lua/functions.h"
#include "script/inside.h"

namespace polyarch::script {

namespace {

constexpr int kIntegerBytesMax = 32;
constexpr int kAlignmentOfDouble = 8;

struct Format {
  const char* p = nullptr;
  bool little = true;
  int alignment = 1;
};

int ReadCount(lua_State* lua, Format& format, int otherwise) {
  if (*format.p < '0' || *format.p > '9') return otherwise;
  int count = 0;
  do {
    const int digit = *format.p++ - '0';
    if (count > (INT32_MAX - digit) / 10) luaL_error(lua, "integral size overflow");
    count = count * 10 + digit;
  } while (*format.p >= '0' && *format.p <= '9');
  return count;
}

// Of the option that was just read.
size_t SizeOf(lua_State* lua, char option, Format& format) {
  switch (option) {
    case 'B':
    case 'b':
      return 1;
    case 'H':
    case 'h':
      return 2;
    case 'L':
    case 'l':
    case 'T':
    case 'd':
      return 8;
    case 'f':
      return 4;
    case 'x':
      return 1;
    case 'c':
      return static_cast<size_t>(ReadCount(lua, format, 1));
    case 'i':
    case 'I': {
      const int size = ReadCount(lua, format, 4);
      if (size > kIntegerBytesMax) {
        luaL_error(lua, "integral size %d is larger than limit of %d", size, kIntegerBytesMax);
      }
      return static_cast<size_t>(size);
    }
    default:
      return 0;
  }
}

size_t Padding(const Format& format, size_t size, char option, size_t at) {
  if (size == 0 || option == 'c') return 0;
  const size_t to =
      size > static_cast<size_t>(format.alignment) ? static_cast<size_t>(format.alignment) : size;
  return to > 1 ? (to - (at & (to - 1))) & (to - 1) : 0;
}

void Control(lua_State* lua, char option, Format& format) {
  switch (option) {
    case ' ':
      return;
    case '>':
      format.little = false;
      return;
    case '<':
      format.little = true;
      return;
    case '!': {
      const int alignment = ReadCount(lua, format, kAlignmentOfDouble);
      if (alignment == 0 || !std::has_single_bit(static_cast<unsigned>(alignment))) {
        luaL_error(lua, "alignment %d is not a power of 2", alignment);
      }
      format.alignment = alignment;
      return;
    }
    default: {
      const char text[] = {option, 0};
      luaL_argerror(lua, 1, lua_pushfstring(lua, "invalid format option '%s'", text));
    }
  }
}

void PutInteger(lua_State* lua, std::string& out, const Format& format, int argument, size_t size) {
  const lua_Number number = luaL_checknumber(lua, argument);
  constexpr double kBound = 9223372036854775808.0;
  uint64_t value = uint64_t{1} << 63;
  if (number >= -kBound && number < kBound) {
    value = static_cast<uint64_t>(static_cast<int64_t>(number));
  } else if (number >= kBound && number < 2 * kBound) {
    value = static_cast<uint64_t>(number);
  }
  const char fill = 0;
  for (size_t i = 0; i < size; ++i) {
    const size_t place = format.little ? i : size - 1 - i;
    out += place < 8 ? static_cast<char>(value >> (8 * place)) : fill;
  }
}

template <typename Float>
void PutFloat(std::string& out, const Format& format, Float value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  for (size_t i = 0; i < sizeof value; ++i)
    out += bytes[format.little ? i : sizeof value - 1 - i];
}

template <typename Float>
lua_Number ReadFloat(const char* p, const Format& format) {
  char bytes[sizeof(Float)];
  for (size_t i = 0; i < sizeof bytes; ++i)
    bytes[i] = p[format.little ? i : sizeof bytes - 1 - i];
  Float value = 0;
  std::memcpy(&value, bytes, sizeof bytes);
  return static_cast<lua_Number>(value);
}

int Pack(lua_State* lua) {
  Format format{.p = luaL_checkstring(lua, 1)};
  lua_pushnil(lua);  // what stands behind the last argument
  int argument = 2;
  std::string out;
  while (*format.p != 0) {
    lua::MeterOf(lua).Charge(1);
    const char option = *format.p++;
    const size_t size = SizeOf(lua, option, format);
    lua::CheckRoom(lua, out.size() + size);
    out.append(Padding(format, size, option, out.size()), '\0');
    switch (option) {
      case 'b':
      case 'B':
      case 'h':
      case 'H':
      case 'l':
      case 'L':
      case 'T':
      case 'i':
      case 'I':
        PutInteger(lua, out, format, argument++, size);
        break;
      case 'x':
        out += '\0';
        break;
      case 'f':
        PutFloat(out, format, static_cast<float>(luaL_checknumber(lua, argument++)));
        break;
      case 'd':
        PutFloat(out, format, luaL_checknumber(lua, argument++));
        break;
      case 'c':
      case 's': {
        const std::string_view text = lua::Text(lua, argument);
        const size_t wanted = size == 0 ? text.size() : size;
        ++argument;
        luaL_argcheck(lua, text.size() >= wanted, argument, "string too short");
        lua::CheckRoom(lua, out.size() + wanted);
        out.append(text.substr(0, wanted));
        if (option == 's') out += '\0';
        break;
      }
      default:
        Control(lua, option, format);
    }
  }
  lua_pushlstring(lua, out.data(), out.size());
  return 1;
}

lua_Number ReadInteger(const char* p, const Format& format, size_t size, bool is_signed) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) {
    value = value << 8 | static_cast<unsigned char>(p[format.little ? size - 1 - i : i]);
  }
  if (!is_signed) return static_cast<lua_Number>(value);
  const int shift = size < 8 ? static_cast<int>(64 - 8 * size) : 0;
  if (size == 0) return 0;
  return static_cast<lua_Number>(static_cast<int64_t>(value << shift) >> shift);
}

int Unpack(lua_State* lua) {
  Format format{.p = luaL_checkstring(lua, 1)};
  const std::string_view data = lua::Text(lua, 2);
  const lua_Integer from = luaL_optinteger(lua, 3, 1);
  luaL_argcheck(lua, from > 0, 3, "offset must be 1 or greater");
  size_t at = static_cast<size_t>(from) - 1;
  int count = 0;
  lua_settop(lua, 2);
  while (*format.p != 0) {
    lua::MeterOf(lua).Charge(1);
    const char option = *format.p++;
    size_t size = SizeOf(lua, option, format);
    at += Padding(format, size, option, at);
    luaL_argcheck(lua, size <= data.size() && at <= data.size() - size, 2, "data string too short");
    luaL_checkstack(lua, 2, "too many results");
    const char* p = data.data() + at;
    switch (option) {
      case 'b':
      case 'B':
      case 'h':
      case 'H':
      case 'l':
      case 'L':
      case 'T':
      case 'i':
      case 'I':
        lua_pushnumber(lua, ReadInteger(p, format, size, option >= 'a'));
        ++count;
        break;
      case 'x':
        break;
      case 'f':
        lua_pushnumber(lua, ReadFloat<float>(p, format));
        ++count;
        break;
      case 'd':
        lua_pushnumber(lua, ReadFloat<double>(p, format));
        ++count;
        break;
      case 'c':
        if (size == 0) {
          if (count == 0 || lua_isnumber(lua, -1) == 0)
            luaL_error(lua, "format 'c0' needs a previous size");
          const lua_Number wanted = lua_tonumber(lua, -1);
          lua_pop(lua, 1);
          --count;
          luaL_argcheck(lua,
                        wanted >= 0 && wanted <= static_cast<lua_Number>(data.size() - at),
                        2,
                        "data string too short");
          size = static_cast<size_t>(wanted);
        }
        lua_pushlstring(lua, p, size);
        ++count;
        break;
      case 's': {
        const size_t end = data.find('\0', at);
        if (end == std::string_view::npos) luaL_error(lua, "unfinished string in data");
        size = end - at + 1;
        lua_pushlstring(lua, p, size - 1);
        ++count;
        break;
      }
      default:
        Control(lua, option, format);
    }
    at += size;
  }
  lua_pushinteger(lua, static_cast<lua_Integer>(at) + 1);
  return count + 1;
}

int Size(lua_State* lua) {
  Format format{.p = luaL_checkstring(lua, 1)};
  size_t at = 0;
  while (*format.p != 0) {
    const char option = *format.p++;
    const size_t size = SizeOf(lua, option, format);
    at += Padding(format, size, option, at);
    if (option == 's') luaL_argerror(lua, 1, "option 's' has no fixed size");
    if (option == 'c' && size == 0) luaL_argerror(lua, 1, "option 'c0' has no fixed size");
    if (at + size > INT32_MAX) luaL_error(lua, "structure too large");
    if (std::strchr("bBhHlLTiIxfdc", option) == nullptr) Control(lua, option, format);
    at += size;
  }
  lua_pushinteger(lua, static_cast<lua_Integer>(at));
  return 1;
}

}  // namespace

void OpenStruct(lua_State* lua) {
  lua_newtable(lua);
  lua_pushcfunction(lua, &lua::Guarded<&Pack>);
  lua_setfield(lua, -2, "pack");
  lua_pushcfunction(lua, &lua::Guarded<&Unpack>);
  lua_setfield(lua, -2, "unpack");
  lua_pushcfunction(lua, &Size);
  lua_setfield(lua, -2, "size");
}

}  // namespace polyarch::script
