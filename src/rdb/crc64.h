// CRC-64 as Redis computes it over a dumped value: the Jones polynomial, reflected, begun with 0.
#pragma once

#include <cstdint>
#include <string_view>

namespace polyarch::rdb {

// `before`: the sum of what stands before these bytes.
uint64_t Crc64(std::string_view bytes, uint64_t before = 0);

}  // namespace polyarch::rdb
