// When two replies to one command count as equal: byte for byte, but for what is nobody's promise (the order of a
// set, random choices, time that passes) and the deviations of docs/compatibility.md.
#pragma once

#include <string>
#include <vector>

#include "tests/differential/reply.h"

namespace polyarch::differential {

using Words = std::vector<std::string>;

std::string UpperCase(std::string text);
bool Equal(const Words& command, const Reply& ours, const Reply& theirs);

}  // namespace polyarch::differential
