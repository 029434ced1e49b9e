// CRC-64 as Redis computes it over a dumped value: the Jones polynomial, reflected, begun with 0.
#pragma once

#include <cstdint>
#include <string_view>

namespace polyarch::rdb {

uint64_t Crc64(std::string_view bytes);

}  // namespace polyarch::rdb
