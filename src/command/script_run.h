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

// The world of one run.
class ScriptHost : public script::Host {
 public:
  // `read_only`: it may not write.
  ScriptHost(Context& c, bool read_only);
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
               bool read_only);

// The keys in the reserved database that begin with this.
std::vector<std::string> LoadedKeys(Context& c, std::string_view prefix);

// The keys and arguments behind args[2], their number. False: the error was given.
struct ScriptArguments {
  Arguments keys;
  Arguments rest;
};
bool ReadScriptArguments(Context& c, std::string_view bad_number, ScriptArguments& out);

}  // namespace polyarch::command
