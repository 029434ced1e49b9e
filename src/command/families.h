// Where each family adds its rows: explicit, in this order, no static registration.
#pragma once

#include <vector>

#include "command/table.h"

namespace polyarch::command {

void AddStringFamily(std::vector<Row>& rows);      // string.cc, counter.cc
void AddKeyFamily(std::vector<Row>& rows);         // key.cc
void AddConnectionFamily(std::vector<Row>& rows);  // connection.cc, client.cc
void AddServerFamily(std::vector<Row>& rows);      // server.cc, introspection.cc
void AddPolyarchFamily(std::vector<Row>& rows);    // policy, conflict, leader, link, polyarch

}  // namespace polyarch::command
