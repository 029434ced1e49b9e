// The subcommands of this room.
#pragma once

namespace polyarch::moving {

int RunImport(int argc, char** argv);  // import.cc
int RunExport(int argc, char** argv);  // export.cc

// Where a leader is if nobody says: its default client port here.
inline constexpr char kLeaderPasswordVariable[] = "POLYARCH_PASSWORD";
inline constexpr char kSourcePasswordVariable[] = "POLYARCH_SOURCE_PASSWORD";

}  // namespace polyarch::moving
