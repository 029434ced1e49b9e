// polyarch: one binary with subcommands.
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "cli/cli.h"
#include "command/version.h"
#include "moving/moving.h"
#include "server/config.h"
#include "server/logging.h"
#include "server/server.h"

namespace {

// For the signal handlers, on whatever thread they run.
std::atomic<polyarch::server::Server*> g_server = nullptr;  // NOLINT
std::atomic<bool> g_reload_asked = false;                   // NOLINT: perhaps before there was one that serves
static_assert(std::atomic<polyarch::server::Server*>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

void OnHangUp(int) {
  g_reload_asked = true;
  if (polyarch::server::Server* server = g_server; server != nullptr) server->RequestReload();
}

void OnSignal(int) {
  if (polyarch::server::Server* server = g_server; server != nullptr) server->RequestStop();
}

int RunServer(int argc, char** argv) {
  polyarch::server::Config config;
  int exit_code = 0;
  if (!polyarch::server::ReadConfig(argc, argv, config, exit_code)) return exit_code;
  polyarch::server::StartLogging(config.id, config.log_level);
  polyarch::server::Server server(config);
  if (config.uses_tls()) {
    // A start may take long, and whoever renews certificates does not know of it.
    struct sigaction hang_up {};
    hang_up.sa_handler = OnHangUp;
    hang_up.sa_flags = SA_RESTART;
    sigaction(SIGHUP, &hang_up, nullptr);
  }
  polyarch::base::Status status = server.Start();
  if (!status.ok()) {
    polyarch::server::FinishLog();
    std::fprintf(stderr, "polyarch: %s\n", status.message().c_str());
    return 1;
  }
  g_server = &server;
  struct sigaction action {};
  action.sa_handler = OnSignal;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  if (g_reload_asked) server.RequestReload();
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit is a failed write like any other
  exit_code = server.Run();
  polyarch::server::FinishLog();
  g_server = nullptr;
  return exit_code;
}

void Usage(FILE* out) {
  std::fprintf(
      out,
      "usage: polyarch server --id NAME [options]   run one leader\n"
      "%s%s"
      "       polyarch --version\n"
      "Each has --help, which explains every option.\n",
      polyarch::cli::Summary(),
      polyarch::moving::Summary());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 2 && std::strcmp(argv[1], "server") == 0) return RunServer(argc - 1, argv + 1);
  if (argc >= 2 && polyarch::cli::IsSubcommand(argv[1])) return polyarch::cli::Run(argc - 1, argv + 1);
  if (argc >= 2 && polyarch::moving::IsSubcommand(argv[1])) return polyarch::moving::Run(argc - 1, argv + 1);
  if (argc >= 2 && std::strcmp(argv[1], "--version") == 0) {
    std::printf("polyarch %s (Redis %s commands)\n",
                polyarch::command::kPolyarchVersion.data(),
                polyarch::command::kRedisVersion.data());
    return 0;
  }
  const bool help =
      argc >= 2 && (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0);
  if (argc >= 2 && !help) std::fprintf(stderr, "polyarch: unknown subcommand '%s'\n", argv[1]);
  Usage(help ? stdout : stderr);
  return help ? 0 : 2;
}
