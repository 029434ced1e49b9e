// What subscribers are told: no message twice, and those of one process in the order in which it
// published them. Each node has a client that listens; messages are "<process>:<number>".
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "resp/reply.h"

namespace polyarch::sim {

inline constexpr std::string_view kNewsChannel = "news";

// Of one process: what has come to its clients.
class Messages {
 public:
  // Nothing if it may come.
  std::string Note(const resp::Value& message, uint64_t client);
  // The number of the last one by this process.
  uint64_t Last(const std::string& process) const;

 private:
  std::map<std::string, uint64_t> last_;
};

}  // namespace polyarch::sim
