// Redis's glob patterns (*, ?, [a-z], [^x], backslash), matched without recursion and with a budget
// of steps, so that no pattern can hold the loop (CVE-2022-36021, CVE-2024-31228).
#pragma once

#include <cstddef>
#include <string_view>

namespace polyarch::base {

// False also when the budget (64 steps a byte of text and pattern, at least 4096) is used up.
bool GlobMatch(std::string_view pattern, std::string_view text, bool ignore_case = false);

// The number of literal characters: of two patterns that match a key, the longer literal is the
// more specific one.
size_t GlobLiteralSize(std::string_view pattern);

}  // namespace polyarch::base
