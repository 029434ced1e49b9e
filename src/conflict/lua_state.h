// A Lua 5.1 state without anything that is not a function of its input, with limits. The one door to the
// library, which is the one built with C++ exceptions: errors and limits unwind like any other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "conflict/meter.h"

struct lua_State;
struct lua_Debug;

namespace polyarch::conflict {

class LuaState {
 public:
  LuaState(uint64_t steps_max, size_t memory_bytes_max);
  ~LuaState();
  LuaState(const LuaState&) = delete;
  LuaState& operator=(const LuaState&) = delete;

  // Runs the source, `arguments` and results as lua_pcall. kInvalid with Lua's message.
  base::Status Load(std::string_view source, std::string_view name);
  base::Status Call(int arguments, int results);

  lua_State* get() { return state_; }
  Meter& meter() { return meter_; }

  static LuaState& Of(lua_State* state);

 private:
  static void* Allocate(void* self, void* block, size_t old_size, size_t new_size);
  static void Hook(lua_State* state, lua_Debug* where);
  base::Status Failed(int code);

  Meter meter_;
  uint64_t steps_max_;
  size_t memory_max_;
  size_t memory_ = 0;
  size_t largest_ = 0;  // block
  lua_State* state_ = nullptr;
};

// Puts the functions that handlers may use into the state's globals.
void OpenLuaLibrary(LuaState& lua);

}  // namespace polyarch::conflict
