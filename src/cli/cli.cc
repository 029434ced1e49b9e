#include "cli/cli.h"

#include <array>
#include <csignal>

#include "cli/commands.h"
#include "cli/status.h"
#include "cli/topology.h"

namespace polyarch::cli {

namespace {

struct Subcommand {
  std::string_view name;
  int (*run)(int argc, char** argv);
};

constexpr std::array<Subcommand, 7> kSubcommands = {{
    {"status", RunStatus},
    {"top", RunTop},
    {"topology", RunTopology},
    {"policy", RunPolicy},
    {"conflicts", RunConflicts},
    {"backup", RunBackup},
    {"restore", RunRestore},
}};

const Subcommand* FindSubcommand(std::string_view name) {
  for (const Subcommand& subcommand : kSubcommands) {
    if (subcommand.name == name) return &subcommand;
  }
  return nullptr;
}

}  // namespace

bool IsSubcommand(std::string_view name) {
  return FindSubcommand(name) != nullptr;
}

const char* Summary() {
  return "       polyarch status [-p PORT]              state, links, lag, conflicts, log: what a "
         "leader knows\n"
         "       polyarch top [-p PORT]                 the same, live\n"
         "       polyarch topology [get | set SHAPE]    the graph of links between leaders\n"
         "       polyarch policy [list | get | set | del]\n"
         "       polyarch conflicts [list | show | log | restore | resolve]\n"
         "       polyarch backup [-p PORT] PATH         a backup of a running leader\n"
         "       polyarch restore PATH --dir DIR        a directory from a backup (--verify: check "
         "only)\n";
}

int Run(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  return FindSubcommand(argv[0])->run(argc, argv);
}

}  // namespace polyarch::cli
