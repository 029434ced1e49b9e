// A script on its way: what it may do, and what becomes of what it did.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "command/command_timer.h"
#include "command/context.h"
#include "command/pubsub.h"
#include "script/interpreter.h"

namespace polyarch::command {

// What a script says of a memory that is full (`maxmemory`).
enum class WhenFull : uint8_t {
  kAsCommands,  // nothing: its first write is refused, if that is one that takes memory
  kRefused,     // it names flags, and not that one: it is not begun
  kRuns,        // allow-oom, or that it writes nothing
};
// By its first line or its registration; `declares`: has it said anything at all?
WhenFull WhenFullOf(bool declares, uint32_t flags);
// False: it is kRefused and memory is full. The error was given.
bool AllowScript(Context& c, WhenFull when_full);

// Is the command not to run when memory is full, by its row, or by what a script or function says of itself? Libraries that
// were not read yet are read for that.
bool DeniesOom(Context& c, const Row& row);

// The world of one run.
class ScriptHost : public script::Host {
 public:
  // `read_only`: it may not write.
  ScriptHost(Context& c, bool read_only, WhenFull when_full = WhenFull::kAsCommands);
  ~ScriptHost() override { timer_.End(); }
  ScriptHost(const ScriptHost&) = delete;
  ScriptHost& operator=(const ScriptHost&) = delete;

  base::Status Call(std::span<const std::string_view> words,
                    int protocol,
                    resp::Buffer& out) override;
  bool Knows(std::span<const std::string_view> words) override;
  bool Allows(std::span<const std::string_view> words) override;
  void Log(int level, std::string_view line) override;
  bool Expired() override;

  std::vector<Publication>& publications() { return publications_; }
  // The whole error line, if Call has ended the script.
  const std::string& refusal() const { return refusal_; }

 private:
  base::Status Refuse(std::string line);

  Context& c_;
  const bool read_only_;
  const WhenFull when_full_;
  bool may_have_written_ = false;
  bool tracks_declared_ = false;
  base::Random random_;
  CommandTimer timer_;
  std::vector<Publication> publications_;
  int64_t until_us_ = 0;
  std::string refusal_;
};

// Runs it as one change and gives the reply. What it wrote before an error of its own stays, as in
// Redis; one that a limit has ended is taken back whole, and with it the transaction that it is
// part of.
void RunScript(Context& c,
               script::Interpreter& interpreter,
               const script::Interpreter::Run& run,
               bool read_only,
               WhenFull when_full);

// The keys in the reserved database that begin with this.
std::vector<std::string> LoadedKeys(Context& c, std::string_view prefix);

// The keys and arguments behind args[2], their number. False: the error was given.
struct ScriptArguments {
  Arguments keys;
  Arguments rest;
};
bool ReadScriptArguments(Context& c, std::string_view bad_number, ScriptArguments& out);

}  // namespace polyarch::command
