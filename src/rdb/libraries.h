// Libraries of functions in Redis's dump format, as FUNCTION DUMP gives and FUNCTION RESTORE takes
// them: each one's source behind a byte that says so, then version and checksum as of any dump.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rdb/value.h"

namespace polyarch::rdb {

std::string WriteLibraries(std::span<const std::string_view> sources);
// `limit`: how many bytes of sources it may hold.
ReadStatus ReadLibraries(std::string_view payload, size_t limit, std::vector<std::string>& sources);

// The same without version and checksum.
void WriteLibrariesBody(std::span<const std::string_view> sources, std::string& out);
ReadStatus ReadLibrariesBody(std::string_view body,
                             size_t limit,
                             std::vector<std::string>& sources);

}  // namespace polyarch::rdb
