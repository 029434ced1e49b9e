// The terminal of `polyarch top`: alternate screen, keys one by one, size. Restored on every way
// out that a process can take part in: return, exit, and the signals that end or stop it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace polyarch::cli {

class Screen {
 public:
  // Takes the terminal over; one at a time. kInvalid when standard input or output is none.
  static base::Status Begin();
  // Gives it back; harmless when it was not taken.
  static void End();

  static int width();
  static int height();
  // Shows these lines from the top, cut off at the terminal's size; what was there is gone.
  static void Draw(const std::vector<std::string>& lines);

  enum class Event { kTimeout, kKey, kResize, kQuit };
  // Waits for something. kQuit: a signal asks to end (again: the process ends at once).
  static Event Wait(int64_t timeout_ms, char& key);
  // The signal behind kQuit.
  static int signal_number();
};

// At most `width` columns of a line: UTF-8 is not cut within a character; escape sequences
// (colours) take no column.
std::string CutOff(const std::string& line, size_t width);

}  // namespace polyarch::cli
