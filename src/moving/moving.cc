#include "moving/moving.h"

#include <csignal>

#include "moving/commands.h"

namespace polyarch::moving {

bool IsSubcommand(std::string_view name) {
  return name == "import" || name == "export";
}

const char* Summary() {
  return "       polyarch import --from URI | --file F  from a running Redis, until cut-over, or "
         "from an RDB file\n"
         "       polyarch export --out FILE             a leader's data as an RDB file, or as "
         "commands\n";
}

int Run(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  return std::string_view(argv[0]) == "import" ? RunImport(argc, argv) : RunExport(argc, argv);
}

}  // namespace polyarch::moving
