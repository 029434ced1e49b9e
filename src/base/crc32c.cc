#include "base/crc32c.h"

#include <cstring>
#include <nmmintrin.h>

namespace polyarch::base {

uint32_t Crc32c(std::string_view bytes, uint32_t seed) {
  uint64_t crc = ~seed;
  const char* p = bytes.data();
  size_t n = bytes.size();
  while (n >= 8) {
    uint64_t word = 0;
    std::memcpy(&word, p, 8);
    crc = _mm_crc32_u64(crc, word);
    p += 8;
    n -= 8;
  }
  auto tail = static_cast<uint32_t>(crc);
  while (n-- > 0)
    tail = _mm_crc32_u8(tail, static_cast<uint8_t>(*p++));
  return ~tail;
}

}  // namespace polyarch::base
