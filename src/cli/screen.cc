#include "cli/screen.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

namespace polyarch::cli {

namespace {

constexpr char kEnter[] = "\x1b[?1049h\x1b[?25l\x1b[2J\x1b[H";
constexpr char kLeave[] = "\x1b[?25h\x1b[?1049l";

termios g_before;                          // NOLINT: for the signal handlers
volatile std::sig_atomic_t g_taken = 0;    // NOLINT
volatile std::sig_atomic_t g_signal = 0;   // NOLINT
volatile std::sig_atomic_t g_resized = 0;  // NOLINT
int g_pipe[2] = {-1, -1};                  // NOLINT: a signal wakes Wait

void WriteAll(const char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t n = ::write(STDOUT_FILENO, bytes, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      pollfd fd{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
      ::poll(&fd, 1, 100);
      continue;
    }
    if (n <= 0) return;
    bytes += n;
    size -= static_cast<size_t>(n);
  }
}

// Async-signal-safe, all of it.
void GiveBack() {
  if (g_taken == 0) return;
  g_taken = 0;
  WriteAll(kLeave, sizeof kLeave - 1);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &g_before);
}

void TakeOver() {
  termios raw = g_before;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);  // signals stay: Ctrl-C, Ctrl-Z
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  WriteAll(kEnter, sizeof kEnter - 1);
  g_taken = 1;
}

void WakeUp() {
  const char byte = 0;
  static_cast<void>(!::write(g_pipe[1], &byte, 1));
}

void OnSignal(int number) {
  const int error = errno;
  if (number == SIGWINCH) {
    g_resized = 1;
    WakeUp();
  } else if (number == SIGCONT) {
    if (g_taken == 0) TakeOver();
    g_resized = 1;
    WakeUp();
  } else if (number == SIGTSTP) {
    GiveBack();
    ::raise(SIGSTOP);
  } else if (g_signal != 0 || number == SIGSEGV || number == SIGABRT || number == SIGBUS) {
    GiveBack();
    std::signal(number, SIG_DFL);
    ::raise(number);
  } else {
    g_signal = number;
    WakeUp();
  }
  errno = error;
}

}  // namespace

base::Status Screen::Begin() {
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDOUT_FILENO) == 0 ||
      ::tcgetattr(STDIN_FILENO, &g_before) != 0) {
    return base::Invalid("top needs a terminal: use --once to print one frame, or polyarch status");
  }
  if (::pipe2(g_pipe, O_CLOEXEC | O_NONBLOCK) != 0) return base::IoError(std::strerror(errno));
  std::atexit(GiveBack);
  struct sigaction action {};
  action.sa_handler = OnSignal;
  sigemptyset(&action.sa_mask);
  for (int number :
       {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT, SIGSEGV, SIGBUS, SIGABRT})
    ::sigaction(number, &action, nullptr);
  TakeOver();
  return {};
}

void Screen::End() {
  GiveBack();
}

int Screen::signal_number() {
  return g_signal;
}

int Screen::width() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

int Screen::height() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0) return 24;
  return size.ws_row;
}

void Screen::Draw(const std::vector<std::string>& lines) {
  if (g_taken == 0) return;
  const auto columns = static_cast<size_t>(width());
  const auto rows = static_cast<size_t>(height());
  std::string out = "\x1b[H";
  for (size_t i = 0; i < lines.size() && i < rows; ++i) {
    if (i > 0) out += "\r\n";
    out += CutOff(lines[i], columns) + "\x1b[K";
  }
  out += "\x1b[J";
  WriteAll(out.data(), out.size());
}

Screen::Event Screen::Wait(int64_t timeout_ms, char& key) {
  if (g_signal != 0) return Event::kQuit;
  pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0},
                   {.fd = g_pipe[0], .events = POLLIN, .revents = 0}};
  ::poll(fds, 2, static_cast<int>(timeout_ms));
  char drained[64];
  while (::read(g_pipe[0], drained, sizeof drained) > 0) {
  }
  if (g_signal != 0) return Event::kQuit;
  if (g_resized != 0) {
    g_resized = 0;
    return Event::kResize;
  }
  if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
    const ssize_t n = ::read(STDIN_FILENO, &key, 1);
    if (n == 1) return Event::kKey;
    // With VMIN 0 nothing after a readiness means that the terminal is gone.
    if (n == 0 || errno != EINTR) {
      g_signal = SIGHUP;
      return Event::kQuit;
    }
  }
  return Event::kTimeout;
}

std::string CutOff(const std::string& line, size_t width) {
  std::string out;
  size_t columns = 0;
  bool styled = false;
  for (size_t at = 0; at < line.size();) {
    if (line[at] == '\x1b') {
      size_t end = line.find('m', at);
      end = end == std::string::npos ? line.size() : end + 1;
      out.append(line, at, end - at);
      styled = true;
      at = end;
      continue;
    }
    size_t end = at + 1;
    while (end < line.size() && (line[end] & 0xc0) == 0x80)
      ++end;
    if (columns < width) {
      out.append(line, at, end - at);
      ++columns;
    }
    at = end;
  }
  if (styled) out += "\x1b[0m";
  return out;
}

}  // namespace polyarch::cli
