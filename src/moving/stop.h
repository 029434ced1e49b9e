// What people tell a running import: SIGUSR1, or a line "cutover" on its terminal, to cut over;
// SIGINT and SIGTERM to stop, a second one at once.
#pragma once

namespace polyarch::moving {

class Stop {
 public:
  // Takes the signals; one at a time.
  Stop();
  bool stop() const;
  // Is what is typed read? Only where both standard input and error are a terminal.
  bool reads_terminal() const { return terminal_; }
  // Looks at the terminal, too.
  bool cut_over();

 private:
  const bool terminal_;
};

}  // namespace polyarch::moving
