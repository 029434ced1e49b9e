// Base64 (RFC 4648), with the standard alphabet and padding for people's documents, or with the one that
// is safe in URLs and file names, without padding, for tokens.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace polyarch::base {

std::string Base64(std::string_view bytes);
std::string Base64Url(std::string_view bytes);
// Of Base64Url's result only: no padding, no white space, no bits that stand for nothing.
std::optional<std::string> ParseBase64Url(std::string_view text);

}  // namespace polyarch::base
