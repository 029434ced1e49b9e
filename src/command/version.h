// What the server says it is: the Redis whose commands and replies it has, and its own version.
#pragma once

#include <string_view>

namespace polyarch::command {

inline constexpr std::string_view kRedisVersion = "7.0.15";
inline constexpr std::string_view kPolyarchVersion = "0.1.0";

}  // namespace polyarch::command
