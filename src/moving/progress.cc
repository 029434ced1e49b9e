#include "moving/progress.h"

#include <algorithm>
#include <cstdio>
#include <unistd.h>

#include "cli/dial.h"
#include "cli/screen.h"

namespace polyarch::moving {

namespace {

constexpr int64_t kTerminalMs = 200;
constexpr int64_t kLinesMs = 5000;
constexpr size_t kBarWidth = 20;

}  // namespace

Progress::Progress()
    : terminal_(::isatty(STDERR_FILENO) != 0),
      next_ms_(cli::MonotonicMs() + (terminal_ ? 0 : kLinesMs)) {}

void Progress::Clear() {
  if (!shown_) return;
  std::fputs("\r\x1b[K", stderr);
  shown_ = false;
}

void Progress::Milestone(const std::string& line) {
  Clear();
  std::fprintf(stderr, "%s\n", line.c_str());
}

void Progress::Show(base::FunctionRef<std::string()> line) {
  const int64_t now = cli::MonotonicMs();
  if (now < next_ms_) return;
  next_ms_ = now + (terminal_ ? kTerminalMs : kLinesMs);
  if (!terminal_) return Milestone(line());
  std::fprintf(
      stderr,
      "\r\x1b[K%s",
      cli::CutOff(line(), static_cast<size_t>(std::max(20, cli::Screen::width() - 1))).c_str());
  std::fflush(stderr);
  shown_ = true;
}

std::string Bar(uint64_t done, uint64_t all) {
  if (all == 0) return "";
  const double part = std::min(1.0, static_cast<double>(done) / static_cast<double>(all));
  const size_t full = static_cast<size_t>(part * kBarWidth);
  return "[" + std::string(full, '#') + std::string(kBarWidth - full, '.') + "] " +
         std::to_string(static_cast<int>(part * 100)) + " %";
}

}  // namespace polyarch::moving
