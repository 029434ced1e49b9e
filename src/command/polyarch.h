// What the families of Polyarch's own commands share.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "command/context.h"
#include "command/table.h"

namespace polyarch::command {

void AddPolicyRows(std::vector<Row>& rows);    // polyarch_policy.cc
void AddHandlerRows(std::vector<Row>& rows);   // polyarch_handler.cc
void AddSyncRows(std::vector<Row>& rows);      // polyarch_sync.cc
void AddEscrowRows(std::vector<Row>& rows);     // polyarch_escrow.cc
void AddConflictRows(std::vector<Row>& rows);  // polyarch_conflict.cc
void AddFeedRows(std::vector<Row>& rows);      // polyarch_feed.cc
void AddClusterRows(
    std::vector<Row>& rows);  // polyarch_cluster.cc: LEADER, LINK, TOPOLOGY, POLYARCH

// False, with the error given, if a pattern is longer than any key that is worth matching.
bool CheckPatternSize(Context& c, std::string_view pattern);

}  // namespace polyarch::command
