// The log for people, on standard error. The only door to spdlog.
#pragma once

#include <string>

namespace polyarch::server {

// "debug", "info", "warning", "error".
void StartLogging(const std::string& leader, const std::string& level);
// Severity: -1 debug, 0 info, 1 warning, 2 error.
void Log(int severity, const std::string& line);

}  // namespace polyarch::server
