// Times commands that run one behind the other (those of one turn of a client, of one transaction, of one
// script), with as few looks at the clock as will do.
//
// What takes long is timed for itself, by one look behind it. Quick ones (O(1), with few small words) are
// timed up to eight at a time, and each counts as an eighth: a look at the clock costs 30 ns, a GET in a pipeline
// 500. If somebody asks for short times (Observations::precise) each is timed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "command/context.h"
#include "command/observations.h"

namespace polyarch::command {

class CommandTimer {
 public:
  explicit CommandTimer(ServerHost& server) : server_(server) {}

  // Commands follow from now on. Of those that came before all are timed up to here.
  void Begin();
  void Begin(int64_t now_ns) { since_ns_ = now_ns; }
  // This one has run. `client`: null if a script called it. `last`: none follows for a while. `bytes`: of its
  // reply.
  void Ran(const Row& row, Arguments args, const Client* client, std::string_view reply, bool last);
  // None follows.
  void End();

 private:
  static constexpr size_t kGroup = 8;
  static constexpr size_t kQuickArguments = 8;
  static constexpr size_t kQuickBytes = 16 << 10;

  bool IsQuick(const Row& row, Arguments args, std::string_view reply) const;
  // All up to here; the last one, if it is not quick, by itself.
  void Settle(const Row* last, bool quick, Arguments args, const Client* client);

  ServerHost& server_;
  std::array<CommandStats*, kGroup> group_{};  // quick ones that are not timed yet
  size_t size_ = 0;
  int64_t since_ns_ = 0;
};

}  // namespace polyarch::command
