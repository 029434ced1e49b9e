// The log for people, on standard error. The only door to spdlog. Nothing here waits for who reads it but FinishLog: what
// is not taken waits in memory, or is dropped and counted (line_writer.h).
#pragma once

#include <cstdint>
#include <string>

namespace polyarch::server {

// "debug", "info", "warning", "error".
void StartLogging(const std::string& leader, const std::string& level);
// Severity: -1 debug, 0 info, 1 warning, 2 error.
void Log(int severity, const std::string& line);
// Lines that wait, as far as they are taken now. To be called now and then.
void DrainLog();
// The same before the process ends: waits for a second at most.
void FinishLog();
// Lines that were dropped since the start.
uint64_t LogLinesDropped();

}  // namespace polyarch::server
