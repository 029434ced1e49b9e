// What people tell a running import: SIGUSR1, or a line "cutover" on its terminal, to cut over;
// SIGINT and SIGTERM to stop, a second one at once.
#pragma once

namespace polyarch::moving {

class Stop {
 public:
  // Takes the signals; one at a time.
  Stop();
  bool stop() const;
  // Looks at the terminal, too.
  bool cut_over();

 private:
  const bool terminal_;
};

}  // namespace polyarch::moving
