#include "conflict/lua_state.h"

#include <algorithm>
#include <cstdlib>
#include <lua5.1/lua.hpp>
#include <new>

namespace polyarch::conflict {

namespace {

constexpr int kHookEvery = 100;  // instructions
// Any instruction may copy, hash or compare the largest block: 4 KiB of it count as a step.
constexpr size_t kBlockBytesAStep = 4096;
constexpr size_t kAllocatedBytesAStep = 32;

}  // namespace

LuaState::LuaState(uint64_t steps_max, size_t memory_bytes_max)
    : meter_(steps_max), steps_max_(steps_max), memory_max_(memory_bytes_max) {
  state_ = lua_newstate(&Allocate, this);
  if (state_ == nullptr) throw std::bad_alloc();
  lua_sethook(state_, &Hook, LUA_MASKCOUNT, kHookEvery);
}

LuaState::~LuaState() {
  lua_sethook(state_, nullptr, 0, 0);
  lua_close(state_);
}

LuaState& LuaState::Of(lua_State* state) {
  void* self = nullptr;
  (void)lua_getallocf(state, &self);
  return *static_cast<LuaState*>(self);
}

void* LuaState::Allocate(void* self, void* block, size_t old_size, size_t new_size) {
  LuaState& lua = *static_cast<LuaState*>(self);
  if (new_size == 0) {
    lua.memory_ -= old_size;
    std::free(block);
    return nullptr;
  }
  // Lua counts on it that to make a block smaller never fails.
  if (new_size > old_size) {
    if (lua.memory_ - old_size + new_size > lua.memory_max_) return nullptr;
    lua.meter_.Note(new_size / kAllocatedBytesAStep);
    lua.largest_ = std::max(lua.largest_, new_size);
  }
  void* moved = std::realloc(block, new_size);
  if (moved == nullptr) return new_size <= old_size ? block : nullptr;
  lua.memory_ += new_size - old_size;
  return moved;
}

void LuaState::Hook(lua_State* state, lua_Debug*) {
  LuaState& lua = Of(state);
  lua.meter_.Note(kHookEvery * (1 + lua.largest_ / kBlockBytesAStep));
  if (lua.meter_.left() == 0) luaL_error(state, "too many steps");
}

base::Status LuaState::Load(std::string_view source, std::string_view name) {
  // Compiled code could be anything: nothing checks it.
  if (!source.empty() && source[0] == LUA_SIGNATURE[0]) return base::Invalid("it is compiled, not source");
  const std::string chunk = "=" + std::string(name);
  return Failed(luaL_loadbuffer(state_, source.data(), source.size(), chunk.c_str()));
}

base::Status LuaState::Call(int arguments, int results) {
  const int code = lua_pcall(state_, arguments, results, 0);
  if (meter_.left() == 0) {
    if (code == 0) lua_pop(state_, results);
    if (code != 0) lua_pop(state_, 1);
    return base::Invalid("it takes more than " + std::to_string(steps_max_) + " steps");
  }
  return Failed(code);
}

base::Status LuaState::Failed(int code) {
  if (code == 0) return {};
  std::string message = "an error that is no text";
  if (code == LUA_ERRMEM) {
    message = "it takes more than " + std::to_string(memory_max_) + " bytes of memory";
  } else if (code > 0 && lua_isstring(state_, -1) != 0) {
    size_t size = 0;
    const char* text = lua_tolstring(state_, -1, &size);
    message.assign(text, std::min<size_t>(size, 500));
  }
  lua_pop(state_, 1);
  return base::Invalid(std::move(message));
}

}  // namespace polyarch::conflict
