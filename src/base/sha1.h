// SHA-1 (FIPS 180-4), by which Redis names scripts. Not for secrets.
#pragma once

#include <string>
#include <string_view>

namespace polyarch::base {

// 40 hexadecimal digits, lower case.
std::string Sha1Hex(std::string_view bytes);

}  // namespace polyarch::base
