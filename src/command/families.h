// Where each family adds its rows: explicit, in this order, no static registration.
#pragma once

#include <vector>

#include "command/table.h"

namespace polyarch::command {

void AddStringFamily(std::vector<Row>& rows);         // string.cc
void AddRangeFamily(std::vector<Row>& rows);          // range.cc: APPEND, SETRANGE, GETRANGE, ...
void AddCounterFamily(std::vector<Row>& rows);        // counter.cc
void AddLcsFamily(std::vector<Row>& rows);            // lcs.cc
void AddBitmapFamily(std::vector<Row>& rows);         // bitmap.cc, bitfield.cc
void AddHyperLogLogFamily(std::vector<Row>& rows);    // hyperloglog.cc
void AddHashFamily(std::vector<Row>& rows);           // hash.cc
void AddStreamFamily(std::vector<Row>& rows);          // stream*.cc
void AddSetFamily(std::vector<Row>& rows);            // set.cc
void AddListFamily(std::vector<Row>& rows);           // list*.cc
void AddSortedSetFamily(std::vector<Row>& rows);      // sorted_set*.cc
void AddGeoFamily(std::vector<Row>& rows);            // geo*.cc
void AddKeyFamily(std::vector<Row>& rows);            // key.cc
void AddSortFamily(std::vector<Row>& rows);           // sort.cc
void AddMemoryFamily(std::vector<Row>& rows);         // memory.cc: MEMORY
void AddDumpFamily(std::vector<Row>& rows);           // dump.cc: DUMP, RESTORE
void AddExpireFamily(std::vector<Row>& rows);         // expire.cc
void AddScanFamily(std::vector<Row>& rows);           // scan.cc: what looks at whole databases
void AddConnectionFamily(std::vector<Row>& rows);     // connection.cc
void AddClientFamily(std::vector<Row>& rows);         // client.cc
void AddClientTrackingFamily(std::vector<Row>& rows);  // client_tracking.cc
void AddAclFamily(std::vector<Row>& rows);            // acl.cc
void AddDebugFamily(std::vector<Row>& rows);          // debug.cc
void AddClusterFamily(std::vector<Row>& rows);        // cluster.cc
void AddSlowlogFamily(std::vector<Row>& rows);        // slowlog.cc
void AddLatencyFamily(std::vector<Row>& rows);        // latency.cc
void AddMonitorFamily(std::vector<Row>& rows);        // monitors.cc
void AddClientPauseFamily(std::vector<Row>& rows);    // client_pause.cc
void AddServerFamily(std::vector<Row>& rows);         // server.cc
void AddConfigFamily(std::vector<Row>& rows);         // config.cc: CONFIG, INFO
void AddIntrospectionFamily(std::vector<Row>& rows);  // introspection.cc: COMMAND
void AddPolyarchFamily(std::vector<Row>& rows);       // policy, conflict, leader, link, polyarch

void AddPubsubFamily(std::vector<Row>& rows);         // pubsub.cc
void AddSessionFamily(std::vector<Row>& rows);        // session.cc: WAIT, SESSION
void AddTransactionFamily(std::vector<Row>& rows);    // transaction.cc: MULTI, EXEC, WATCH, ...
void AddScriptFamily(std::vector<Row>& rows);         // script.cc: EVAL, SCRIPT
void AddFunctionFamily(std::vector<Row>& rows);       // function.cc: FCALL, FUNCTION

}  // namespace polyarch::command
