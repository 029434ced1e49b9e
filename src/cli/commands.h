// The subcommands that are little more than one command of the server.
#pragma once

namespace polyarch::cli {

int RunPolicy(int argc, char** argv);     // policy.cc
int RunConflicts(int argc, char** argv);  // conflicts.cc
int RunBackup(int argc, char** argv);     // backup.cc
int RunRestore(int argc, char** argv);    // backup.cc
int RunTop(int argc, char** argv);        // top.cc

}  // namespace polyarch::cli
