// INFO's sections as lines, for whoever shows them: the command, and the server's page of metrics.
#pragma once

#include <string>
#include <string_view>

#include "command/host.h"
#include "keyspace/keyspace.h"

namespace polyarch::command {

// Of whom they tell.
struct InfoSource {
  ClusterHost& cluster;
  ServerHost& server;
  const keyspace::Keyspace& keys;
};

// Appends the "name:value" lines of a section ("stats"), each with an end of "\n" or "\r\n", without its title. Nothing
// if there is none of this name.
void AppendInfo(std::string_view section, const InfoSource& from, std::string& out);

}  // namespace polyarch::command
