// What a long-running subcommand says of itself: on a terminal one line that is written over, else
// a line now and then. Milestones are lines of their own in both.
#pragma once

#include <cstdint>
#include <string>

#include "base/function_ref.h"

namespace polyarch::moving {

class Progress {
 public:
  Progress();
  ~Progress() { Clear(); }

  void Milestone(const std::string& line);
  // `line` is made when it is time to show it.
  void Show(base::FunctionRef<std::string()> line);
  bool terminal() const { return terminal_; }

 private:
  void Clear();

  const bool terminal_;
  bool shown_ = false;
  int64_t next_ms_ = 0;
};

// "[#####.....] 50 %"; what is not known, nothing.
std::string Bar(uint64_t done, uint64_t all);

}  // namespace polyarch::moving
