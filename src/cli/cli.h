// The operators' subcommands of `polyarch`: status, topology, top, policy, conflicts, backup,
// restore. Each is a client of a leader, through its client port, or (restore) works on files.
#pragma once

#include <string_view>

namespace polyarch::cli {

// Is `name` one of the subcommands here?
bool IsSubcommand(std::string_view name);

// One line a subcommand, for `polyarch --help`.
const char* Summary();

// `argv[0]` is the subcommand's name. Prints to the terminal. The exit code: 0 done, 1 failed, 2
// used wrongly.
int Run(int argc, char** argv);

}  // namespace polyarch::cli
