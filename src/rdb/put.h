// The two things of which the dump format is made, written.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace polyarch::rdb {

void PutLength(std::string& out, uint64_t length);
void PutString(std::string& out, std::string_view text);  // plain: never compressed

}  // namespace polyarch::rdb
