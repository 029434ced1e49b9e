#include "server/logging.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace polyarch::server {

void StartLogging(const std::string& leader, const std::string& level) {
  auto logger = spdlog::stderr_logger_st(leader);
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %n %l: %v");
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(logger);
}

void Log(int severity, const std::string& line) {
  if (severity < 0) {
    spdlog::debug("{}", line);
  } else if (severity == 0) {
    spdlog::info("{}", line);
  } else if (severity == 1) {
    spdlog::warn("{}", line);
  } else {
    spdlog::error("{}", line);
  }
}

}  // namespace polyarch::server
