#include "moving/stop.h"

#include <csignal>
#include <poll.h>
#include <string_view>
#include <unistd.h>

namespace polyarch::moving {

namespace {

volatile std::sig_atomic_t g_stop = 0;      // NOLINT: for the signal handlers
volatile std::sig_atomic_t g_cut_over = 0;  // NOLINT

void OnSignal(int number) {
  if (number == SIGUSR1) {
    g_cut_over = 1;
    return;
  }
  if (g_stop != 0) ::_exit(1);
  g_stop = 1;
}

}  // namespace

Stop::Stop() : terminal_(::isatty(STDIN_FILENO) != 0 && ::isatty(STDERR_FILENO) != 0) {
  struct sigaction action {};
  action.sa_handler = OnSignal;
  sigemptyset(&action.sa_mask);
  for (int number : {SIGINT, SIGTERM, SIGUSR1})
    ::sigaction(number, &action, nullptr);
}

bool Stop::stop() const {
  return g_stop != 0;
}

bool Stop::cut_over() {
  // In the background a read of the terminal would stop the process.
  if (terminal_ && ::tcgetpgrp(STDIN_FILENO) == ::getpgrp()) {
    pollfd fd{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    char line[256];
    if (::poll(&fd, 1, 0) > 0 && (fd.revents & POLLIN) != 0) {
      const ssize_t n = ::read(STDIN_FILENO, line, sizeof line);
      if (n > 0 && std::string_view(line, static_cast<size_t>(n)).starts_with("cutover"))
        g_cut_over = 1;
    }
  }
  return g_cut_over != 0;
}

}  // namespace polyarch::moving
