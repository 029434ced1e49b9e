// CRC-32C (Castagnoli) with the SSE4.2 instruction. Guards log records, peer messages and files.
#pragma once

#include <cstdint>
#include <string_view>

namespace polyarch::base {

// The checksum of `bytes`; `seed` chains calls (the result of the call on the bytes before).
uint32_t Crc32c(std::string_view bytes, uint32_t seed = 0);

}  // namespace polyarch::base
