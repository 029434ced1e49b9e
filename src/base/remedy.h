// What to do when a leader's directory is damaged: the end of many a message, in the same words.
#pragma once

#include <string_view>

namespace polyarch::base {

inline constexpr std::string_view kDirectoryRemedy =
    ": restore the directory from a backup, or move it away and start with an empty one and --join HOST:PEERPORT "
    "(what no other leader has is lost then)";

}  // namespace polyarch::base
