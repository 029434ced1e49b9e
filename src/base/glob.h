// Redis's glob patterns (*, ?, [a-z], [^x], backslash), matched without recursion and without trying all that a star
// may stand for, so that no pattern can hold the loop (CVE-2022-36021, CVE-2024-31228).
#pragma once

#include <cstddef>
#include <string_view>

namespace polyarch::base {

// O(text * pattern / 64) at worst. As in Redis, the empty text matches the empty pattern only, and not "*": who means
// everything by a star says so beside it.
bool GlobMatch(std::string_view pattern, std::string_view text, bool ignore_case = false);

// The number of literal characters: of two patterns that match a key, the longer literal is the
// more specific one.
size_t GlobLiteralSize(std::string_view pattern);

}  // namespace polyarch::base
