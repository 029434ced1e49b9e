// A Lua 5.1 state with limits, for code that nobody has read. The library is the one built with C++
// exceptions: errors and limits unwind like any other, and objects on the way are destroyed.
//
// Steps and memory are limited. A limit that was met is final (`ended`): whoever catches errors for the
// code that runs (pcall) has to look and to throw on. A state that has ended is fit for nothing but to be
// destroyed, unless Restart gives it another run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "lua/meter.h"
#include "lua/pattern.h"

struct lua_State;
struct lua_Debug;

namespace polyarch::lua {

// Thrown by what fails in a state outside of any protected call, where Lua itself would end the process: nothing is to
// be called so that can fail, and whoever embeds a state catches it, as a net. The state is fit for nothing afterwards.
struct Panic {};

class State {
 public:
  // `weighs_blocks`: any instruction may copy or compare the largest block there is, so instructions
  // cost the more the larger that is. Needed where steps alone limit, and time does not.
  State(uint64_t steps_max, size_t memory_bytes_max, bool weighs_blocks);
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // Another run begins: with all steps, and as much memory beyond what is in use now. `expired` is asked
  // now and then; when it says so, the run ends.
  void Restart(uint64_t steps_max, std::function<bool()> expired);

  // Compiles the source: kInvalid with Lua's message, or a function on the stack. `name` as in messages.
  base::Status Load(std::string_view source, std::string_view name);
  // The same where it is called from code that runs, in a state or coroutine of this one: as lua_load.
  int Compile(lua_State* lua, std::string_view source, const char* name);
  // Calls it, `arguments` and results as lua_pcall. kInvalid with Lua's message.
  base::Status Call(int arguments, int results);
  // Of what lua_pcall and its kin returned: kInvalid with Lua's message, which is taken off the stack. Needs no memory.
  base::Status Failed(int code);

  // A limit was met, or End called: why, for the user; empty: not so.
  bool ended() const { return !end_.empty() || meter_.left() == 0; }
  std::string end() const;
  void End(std::string why) {
    if (end_.empty()) end_ = std::move(why);
  }

  // While one lives nothing is refused for want of memory. For what few bytes the embedding code itself needs outside of
  // a protected call.
  class Unlimited {
   public:
    explicit Unlimited(State& state) : state_(state), memory_max_(std::exchange(state.memory_max_, SIZE_MAX)) {}
    ~Unlimited() { state_.memory_max_ = memory_max_; }
    Unlimited(const Unlimited&) = delete;
    Unlimited& operator=(const Unlimited&) = delete;

   private:
    State& state_;
    const size_t memory_max_;
  };
  // Frees what nobody holds. It may need memory for that.
  void Collect();

  void EndForMemory() { End("it takes more than " + std::to_string(memory_allowance_) + " bytes of memory"); }

  lua_State* get() { return state_; }
  Meter& meter() { return meter_; }
  size_t memory() const { return memory_; }
  // What may still be allocated.
  size_t memory_left() const { return memory_ < memory_max_ ? memory_max_ - memory_ : 0; }
  // Whoever embeds it may leave a pointer to itself.
  void set_owner(void* owner) { owner_ = owner; }
  void* owner() const { return owner_; }

  // Parsed, and kept for the next time. An error of Lua's, in `lua`, if it is malformed.
  std::shared_ptr<const Pattern> PatternOf(lua_State* lua, std::string_view text, bool anchors);

  static State& Of(lua_State* state);

 private:
  struct ParsedPattern {
    std::string text;
    bool anchors = false;
    std::shared_ptr<const Pattern> pattern;
  };
  static constexpr size_t kPatternsKept = 16;
  static constexpr size_t kKeptPatternBytesMax = 1024;
  static constexpr size_t kPatternBytesMax = size_t{64} << 10;

  static void* Allocate(void* self, void* block, size_t old_size, size_t new_size);
  static void Hook(lua_State* state, lua_Debug* where);
  // Instructions from one call of it to the next.
  int HookEvery() const;

  Meter meter_;
  uint64_t steps_max_;
  size_t memory_max_;
  size_t memory_allowance_;
  bool weighs_blocks_;
  size_t memory_ = 0;
  size_t largest_ = 0;  // block
  std::string end_;
  void* owner_ = nullptr;
  ParsedPattern patterns_[kPatternsKept];
  lua_State* state_ = nullptr;
};

}  // namespace polyarch::lua
