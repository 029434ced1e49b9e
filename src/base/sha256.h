// SHA-256 (FIPS 180-4), as which passwords are kept.
#pragma once

#include <string>
#include <string_view>

namespace polyarch::base {

// 64 hexadecimal digits, lower case.
std::string Sha256Hex(std::string_view bytes);

}  // namespace polyarch::base
