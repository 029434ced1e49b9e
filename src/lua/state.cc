#include "lua/state.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <lua5.1/lua.hpp>
#include <new>
#include <utility>

#include "base/hash.h"

namespace polyarch::lua {

namespace {

constexpr int kHookEvery = 100;  // instructions
// 4 KiB of the largest block count as a step.
constexpr size_t kBlockBytesAStep = 4096;
constexpr size_t kAllocatedBytesAStep = 32;
// A hundred instructions that walk through a block as large as that take no longer than a tenth of a second.
constexpr size_t kBlockBytesAHook = size_t{256} << 10;
constexpr int kHookEveryMin = 2;
// Within a piece of a source the compiler may walk through a list as long as the source before it (the jumps
// of "a or a or ...") for each word.
constexpr size_t kPieceBytes = 1024;

}  // namespace

State::State(uint64_t steps_max, size_t memory_bytes_max, bool weighs_blocks)
    : meter_(steps_max),
      steps_max_(steps_max),
      memory_max_(memory_bytes_max),
      memory_allowance_(memory_bytes_max),
      weighs_blocks_(weighs_blocks) {
  state_ = lua_newstate(&Allocate, this);
  if (state_ == nullptr) throw std::bad_alloc();
  lua_atpanic(state_, [](lua_State*) -> int { throw Panic(); });
  lua_sethook(state_, &Hook, LUA_MASKCOUNT, kHookEvery);
}

State::~State() {
  lua_sethook(state_, nullptr, 0, 0);
  lua_close(state_);
}

void State::Restart(uint64_t steps_max, std::function<bool()> expired) {
  meter_ = Meter(steps_max, std::move(expired));
  steps_max_ = steps_max;
  memory_max_ = memory_ + memory_allowance_;
  largest_ = 0;
  end_.clear();
}

State& State::Of(lua_State* state) {
  void* self = nullptr;
  (void)lua_getallocf(state, &self);
  return *static_cast<State*>(self);
}

void* State::Allocate(void* self, void* block, size_t old_size, size_t new_size) {
  State& lua = *static_cast<State*>(self);
  if (new_size == 0) {
    lua.memory_ -= old_size;
    std::free(block);
    return nullptr;
  }
  // Lua counts on it that to make a block smaller never fails.
  if (new_size > old_size) {
    if (lua.memory_ - old_size + new_size > lua.memory_max_) {
      lua.EndForMemory();
      return nullptr;
    }
    lua.meter_.Note(new_size / kAllocatedBytesAStep);
    lua.largest_ = std::max(lua.largest_, new_size);
  }
  void* moved = std::realloc(block, new_size);
  if (moved == nullptr) return new_size <= old_size ? block : nullptr;
  lua.memory_ += new_size - old_size;
  return moved;
}

void State::Hook(lua_State* state, lua_Debug*) {
  State& lua = Of(state);
  const int every = lua_gethookcount(state);
  lua.meter_.Note(static_cast<uint64_t>(every) *
                  (1 + (lua.weighs_blocks_ ? lua.largest_ / kBlockBytesAStep : 0)));
  lua.meter_.LookNow();
  if (lua.ended()) luaL_error(state, "too many steps");
  if (const int next = lua.HookEvery(); next != every) lua_sethook(state, &Hook, LUA_MASKCOUNT, next);
}

int State::HookEvery() const {
  if (weighs_blocks_ || largest_ <= kBlockBytesAHook) return kHookEvery;
  return std::max(kHookEveryMin, static_cast<int>(kHookEvery * kBlockBytesAHook / largest_));
}

void State::Collect() {
  const Unlimited unlimited(*this);
  lua_gc(state_, LUA_GCCOLLECT, 0);
}

std::string State::end() const {
  if (!end_.empty() || meter_.left() != 0) return end_;
  if (meter_.out_of_time()) return "it takes too long";
  return "it takes more than " + std::to_string(steps_max_) + " steps";
}

base::Status State::Load(std::string_view source, std::string_view name) {
  // Compiled code could be anything: nothing checks it.
  if (!source.empty() && source[0] == LUA_SIGNATURE[0]) return base::Invalid("it is compiled, not source");
  const std::string chunk = std::string(name);
  return Failed(Compile(state_, source, chunk.c_str()));
}

int State::Compile(lua_State* lua, std::string_view source, const char* name) {
  auto next = [](lua_State* state, void* data, size_t* size) -> const char* {
    State& self = Of(state);
    self.meter_.LookNow();
    if (self.ended()) luaL_error(state, "too many steps");
    auto& left = *static_cast<std::string_view*>(data);
    const std::string_view piece = left.substr(0, kPieceBytes);
    left.remove_prefix(piece.size());
    *size = piece.size();
    return piece.data();
  };
  return lua_load(lua, next, &source, name);
}

base::Status State::Call(int arguments, int results) {
  const int code = lua_pcall(state_, arguments, results, 0);
  if (ended()) {
    lua_settop(state_, 0);
    return base::Invalid(end());
  }
  return Failed(code);
}

base::Status State::Failed(int code) {
  if (code == 0) return {};
  std::string message = "an error that is no text";
  if (ended()) {
    message = end();
  } else if (code > 0 && lua_type(state_, -1) == LUA_TNUMBER) {
    char digits[40];
    std::snprintf(digits, sizeof digits, "%.14g", lua_tonumber(state_, -1));
    message = digits;
  } else if (code > 0 && lua_type(state_, -1) == LUA_TSTRING) {
    size_t size = 0;
    const char* text = lua_tolstring(state_, -1, &size);
    message.assign(text, std::min<size_t>(size, 500));
  }
  lua_pop(state_, 1);
  return base::Invalid(std::move(message));
}

std::shared_ptr<const Pattern> State::PatternOf(lua_State* lua, std::string_view text, bool anchors) {
  if (text.size() > kPatternBytesMax) luaL_error(lua, "pattern too long");
  ParsedPattern& kept = patterns_[base::ContentHash64(text) % kPatternsKept];
  if (kept.pattern != nullptr && kept.anchors == anchors && kept.text == text) return kept.pattern;
  meter_.Charge(1 + text.size());
  if (Pattern::BytesFor(text.size()) > memory_left()) {
    EndForMemory();
    luaL_error(lua, "not enough memory");
  }
  auto pattern = Pattern::Parse(text, anchors);
  if (!pattern.ok()) luaL_error(lua, "%s", pattern.status().message().c_str());
  auto parsed = std::make_shared<const Pattern>(std::move(*pattern));
  if (text.size() <= kKeptPatternBytesMax) kept = {std::string(text), anchors, parsed};
  return parsed;
}

}  // namespace polyarch::lua
