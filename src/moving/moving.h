// Moving data in from a Redis and out to one: `polyarch import` and `polyarch export`.
#pragma once

#include <string_view>

namespace polyarch::moving {

bool IsSubcommand(std::string_view name);
const char* Summary();           // of the subcommands, for the usage
int Run(int argc, char** argv);  // argv[0]: the subcommand

}  // namespace polyarch::moving
