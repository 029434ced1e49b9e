// The module bit: operations on 32-bit integers, as Mike Pall's LuaBitOp has them.
#include <bit>
#include <cstdint>
#include <cstring>

#include "lua/functions.h"
#include "script/inside.h"

namespace polyarch::script {

namespace {

// The low 32 bits of a number that is first rounded to an integer, of any size: adding 2^52 + 2^51
// brings them to the end of the mantissa.
uint32_t ToBits(lua_State* lua, int argument) {
  const double shifted = luaL_checknumber(lua, argument) + 6755399441055744.0;
  uint64_t bits = 0;
  std::memcpy(&bits, &shifted, sizeof bits);
  return static_cast<uint32_t>(bits);
}

int Push(lua_State* lua, uint32_t bits) {
  lua_pushnumber(lua, static_cast<int32_t>(bits));
  return 1;
}

int ToBit(lua_State* lua) {
  return Push(lua, ToBits(lua, 1));
}
int Not(lua_State* lua) {
  return Push(lua, ~ToBits(lua, 1));
}

template <typename Operation>
int Fold(lua_State* lua, Operation operation) {
  uint32_t bits = ToBits(lua, 1);
  for (int i = lua_gettop(lua); i > 1; --i)
    bits = operation(bits, ToBits(lua, i));
  return Push(lua, bits);
}
int And(lua_State* lua) {
  return Fold(lua, [](uint32_t a, uint32_t b) { return a & b; });
}
int Or(lua_State* lua) {
  return Fold(lua, [](uint32_t a, uint32_t b) { return a | b; });
}
int Xor(lua_State* lua) {
  return Fold(lua, [](uint32_t a, uint32_t b) { return a ^ b; });
}

int Places(lua_State* lua) {
  return static_cast<int>(ToBits(lua, 2) & 31);
}
int LeftShift(lua_State* lua) {
  return Push(lua, ToBits(lua, 1) << Places(lua));
}
int RightShift(lua_State* lua) {
  return Push(lua, ToBits(lua, 1) >> Places(lua));
}
int ArithmeticShift(lua_State* lua) {
  return Push(lua, static_cast<uint32_t>(static_cast<int32_t>(ToBits(lua, 1)) >> Places(lua)));
}
int RotateLeft(lua_State* lua) {
  return Push(lua, std::rotl(ToBits(lua, 1), Places(lua)));
}
int RotateRight(lua_State* lua) {
  return Push(lua, std::rotr(ToBits(lua, 1), Places(lua)));
}
int Swap(lua_State* lua) {
  return Push(lua, __builtin_bswap32(ToBits(lua, 1)));
}

int ToHex(lua_State* lua) {
  uint32_t bits = ToBits(lua, 1);
  int32_t count = lua_isnone(lua, 2) ? 8 : static_cast<int32_t>(ToBits(lua, 2));
  const char* digits = "0123456789abcdef";
  if (count < 0) {
    count = count == INT32_MIN ? 8 : -count;
    digits = "0123456789ABCDEF";
  }
  if (count > 8) count = 8;
  char text[8];
  for (int i = count; --i >= 0; bits >>= 4)
    text[i] = digits[bits & 15];
  lua_pushlstring(lua, text, static_cast<size_t>(count));
  return 1;
}

constexpr luaL_Reg kFunctions[] = {
    {"tobit", ToBit},
    {"bnot", Not},
    {"band", And},
    {"bor", Or},
    {"bxor", Xor},
    {"lshift", LeftShift},
    {"rshift", RightShift},
    {"arshift", ArithmeticShift},
    {"rol", RotateLeft},
    {"ror", RotateRight},
    {"bswap", Swap},
    {"tohex", ToHex},
};

}  // namespace

void OpenBit(lua_State* lua) {
  lua_newtable(lua);
  for (const luaL_Reg& f : kFunctions) {
    lua_pushcfunction(lua, f.func);
    lua_setfield(lua, -2, f.name);
  }
}

}  // namespace polyarch::script
