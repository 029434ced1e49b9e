// What a script finds around it: Lua 5.1's library as Redis 7.0 lets scripts have it, with tables
// that cannot be changed, so that one script leaves nothing behind for the next. Left out:
// string.dump, and whatever runs compiled code, changes the environment of a function, or runs when
// garbage is collected.
#pragma once

#include <cstdint>

#include "lua/state.h"

struct lua_State;

namespace polyarch::script {

// Puts it into a fresh state's globals. The modules (redis, cjson ...) are put there by Expose.
void OpenEnvironment(lua::State& lua);

// Makes the table on top, which is popped, the global `name`: scripts can read it, and not change
// it.
void Expose(lua_State* lua, const char* name);
// While a library is loaded: makes the table on top, which is popped, the only global that there is. Functions
// that are made meanwhile see all globals once they are run after ExposeAll.
void ExposeOnly(lua_State* lua, const char* name);
void ExposeAll(lua_State* lua);
// Sets what stands behind the global `name` to the value on top, which is popped.
void SetGlobal(lua_State* lua, const char* name);
// Puts in the place of the table on top one that shows the same and cannot be changed.
void Protect(lua_State* lua);

// The generator of Redis's math.random: lrand48, from the same seed at each start.
class ScriptRandom {
 public:
  void Seed(uint32_t seed) { x_ = static_cast<uint64_t>(seed) << 16 | 0x330e; }
  int32_t Next() {
    x_ = (x_ * 0x5deece66dULL + 0xb) & ((uint64_t{1} << 48) - 1);
    return static_cast<int32_t>(x_ >> 17);
  }

 private:
  uint64_t x_ = 0x1234abcd330e;
};

}  // namespace polyarch::script
