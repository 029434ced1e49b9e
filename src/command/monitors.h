// MONITOR: clients that are shown every command as it is run. A book only: whoever owns it sends the
// lines, behind the command.
//
// It costs one comparison a command if nobody monitors. Lines are made once for all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "base/function_ref.h"
#include "command/context.h"
#include "command/table.h"

namespace polyarch::command {

class Monitors {
 public:
  void Add(Client& client);
  void Forget(uint64_t client);
  bool any() const { return !clients_.empty(); }
  size_t size() const { return clients_.size(); }

  // The command has run, or is about to run; a script's own if `of_script`.
  void Note(Context& c, const Row& row, bool of_script);
  bool unsent() const { return !lines_.empty(); }
  using Send = base::FunctionRef<void(Client& client, std::string_view bytes)>;
  void Settle(Send send);

 private:
  // What one command (EXEC and scripts are many) may bring: more than any client's output may hold, so that those
  // who get so much are closed by that limit.
  static constexpr size_t kBytesMax = size_t{33} << 20;

  std::map<uint64_t, Client*> clients_;
  std::string lines_;
};

// Shows it to those who monitor, if it may be shown: what operators do may not.
void FeedMonitors(Context& c, const Row& row, bool of_script);

}  // namespace polyarch::command
