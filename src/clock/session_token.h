// What a client has seen and written at one leader, in a form that it can carry to another one: the
// leader's applied vector. Of what is folded nothing is listed: the vector covers the fold's record,
// and whoever has applied that record has what it folds. docs/FORMATS.md, "session token 1".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clock/origin.h"

namespace polyarch::clock {

struct SessionToken {
  uint64_t cluster = 0;
  std::vector<std::pair<Origin, uint64_t>> entries;  // the highest sequence of each
};

// Letters that are safe in URLs, headers and cookies.
std::string EncodeSessionToken(const SessionToken& token);
// Nothing if the text is no token of a format that is known here, or is damaged.
std::optional<SessionToken> ParseSessionToken(std::string_view text);

}  // namespace polyarch::clock
