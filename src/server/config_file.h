// The configuration file, TOML: the door to toml++. Knows nothing of what the keys mean.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace polyarch::server {

// One `key = value` of the file.
struct Setting {
  enum class Kind : uint8_t { kText, kWhole, kBoolean, kTexts };
  std::string key;
  uint32_t line = 0;
  Kind kind = Kind::kText;
  std::vector<std::string> values;  // one, but for kTexts; a boolean is "true" or "false"
};

// All settings, in the order of their lines. An error is one line for people that begins with the
// path, and with the line in it where there is one.
base::Result<std::vector<Setting>> ReadConfigFile(const std::string& path);

}  // namespace polyarch::server
