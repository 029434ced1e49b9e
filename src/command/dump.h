// Values in Redis's dump format, for others than DUMP.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "command/support.h"

namespace polyarch::command {

struct KeyDigest {
  std::string hex;        // 40 digits; the same for equal values, in whatever order their elements are stored
  size_t dump_bytes = 0;  // what DUMP would give
};

// Of what the key shows. Nothing if there is no key, or with the error given if it shows none.
std::optional<KeyDigest> DigestOf(Context& c, std::string_view key);

}  // namespace polyarch::command
