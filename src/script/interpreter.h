// Runs scripts: functions in Lua 5.1 that call commands, as EVAL and FCALL of Redis 7.0. Everything
// that a script may do to the world goes through Host. One state serves many scripts: what they
// find around them cannot be changed (environment.h), so nothing of a run is left for the next one
// but what a library's own functions keep in locals of theirs.
//
// Limits: steps, memory, and time as the host tells it. A limit that was met cannot be caught by
// the script; the run is then told to have ended, for whoever runs it to take back what it did.
//
// No I/O, no clock of its own. No calls from within a run but through Host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "lua/state.h"
#include "resp/buffer.h"
#include "resp/writer.h"
#include "script/environment.h"

namespace polyarch::script {

struct Limits {
  uint64_t steps_max = 100'000'000;
  size_t memory_bytes_max = size_t{256} << 20;
};

// What a script asks of the world.
class Host {
 public:
  virtual ~Host() = default;
  // Runs a command and appends its reply in RESP `protocol`, be it an error. A failure ends the
  // script, which cannot catch it: its message tells why.
  virtual base::Status Call(std::span<const std::string_view> words,
                            int protocol,
                            resp::Buffer& out) = 0;
  // For redis.acl_check_cmd: is there such a command?
  virtual bool Knows(std::span<const std::string_view> words) = 0;
  // May the user who runs the script run it?
  virtual bool Allows(std::span<const std::string_view> words) = 0;
  // `level`: 0 (debug) to 3 (warning).
  virtual void Log(int level, std::string_view line) = 0;
  // Is the script's time over?
  virtual bool Expired() = 0;
};

// A function that a library has registered.
struct LibraryFunction {
  std::string name;
  std::string description;
  bool has_description = false;
  uint32_t flags = 0;
  int reference = 0;
};

// What a script says of itself.
enum ScriptFlag : uint32_t {
  kFlagNoWrites = 1 << 0,
  kFlagAllowOom = 1 << 1,
  kFlagAllowStale = 1 << 2,
  kFlagNoCluster = 1 << 3,
  kFlagAllowCrossSlotKeys = 1 << 4,
};
// Its flag by name; 0: there is none.
uint32_t ScriptFlagByName(std::string_view name);
std::vector<std::string_view> ScriptFlagNames(uint32_t flags);

class Interpreter {
 public:
  explicit Interpreter(const Limits& limits);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  // The function whose body this source is, as a reference to it; kInvalid with Lua's message.
  // `expired`: is the time over?
  base::Result<int> Compile(std::string_view source, std::function<bool()> expired = nullptr);
  void Forget(int reference);

  // Runs the source of a library once, for the functions that it registers; kInvalid with Lua's
  // message. Once for an interpreter.
  base::Status LoadLibrary(std::string_view source,
                           Host& host,
                           std::vector<LibraryFunction>& functions);

  struct Run {
    int reference = 0;
    std::string_view name;  // a script's SHA-1, a function's name: for messages
    std::span<const std::string_view> keys;
    std::span<const std::string_view> arguments;
    bool as_globals = true;  // KEYS and ARGV; else they are given to the function
  };
  // Writes exactly one reply, be it an error of the script. If the run was ended by a limit or by
  // the host: why, and nothing is written.
  base::Status Execute(const Run& run, Host& host, resp::Writer& reply);

  // It was ended, or keeps much memory: better begin with another one.
  bool spent() const;
  // What it holds between runs, the environment included.
  size_t kept_bytes() const { return lua_.memory(); }

  // ---- for what runs inside
  ScriptRandom& random() { return random_; }
  Host& host() { return *host_; }
  int protocol() const { return protocol_; }
  void set_protocol(int protocol) { protocol_ = protocol; }
  resp::Buffer& reply_buffer() { return reply_buffer_; }
  std::vector<LibraryFunction>* loading() { return loading_; }
  static Interpreter& Of(lua_State* lua) {
    return *static_cast<Interpreter*>(lua::State::Of(lua).owner());
  }

 private:
  void Begin(Host& host);
  void Settle();

  const Limits limits_;
  lua::State lua_;
  ScriptRandom random_;
  Host* host_ = nullptr;
  int protocol_ = 2;  // of the replies that the script is given
  resp::Buffer reply_buffer_;
  std::vector<LibraryFunction>* loading_ = nullptr;
  size_t memory_idle_ = 0;  // what a fresh state takes
  bool ended_ = false;
};

}  // namespace polyarch::script
