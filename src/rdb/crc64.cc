#include "rdb/crc64.h"

#include <array>

namespace polyarch::rdb {

namespace {

constexpr uint64_t kPolynomial = 0x95ac9329ac4bc9b5;  // 0xad93d23594c935a9, its bits reversed

// Eight tables, so that eight bytes are taken at a time.
using Tables = std::array<std::array<uint64_t, 256>, 8>;

constexpr Tables MakeTables() {
  Tables tables{};
  for (uint64_t byte = 0; byte < 256; ++byte) {
    uint64_t crc = byte;
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (size_t t = 1; t < tables.size(); ++t) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint64_t crc = tables[t - 1][byte];
      tables[t][byte] = tables[0][crc & 0xff] ^ (crc >> 8);
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

}  // namespace

uint64_t Crc64(std::string_view bytes, uint64_t before) {
  uint64_t crc = before;
  size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    for (size_t i = 0; i < 8; ++i)
      crc ^= uint64_t{static_cast<uint8_t>(bytes[at + i])} << (8 * i);
    uint64_t next = 0;
    for (size_t i = 0; i < 8; ++i)
      next ^= kTables[7 - i][(crc >> (8 * i)) & 0xff];
    crc = next;
  }
  for (; at < bytes.size(); ++at)
    crc = kTables[0][(crc ^ static_cast<uint8_t>(bytes[at])) & 0xff] ^ (crc >> 8);
  return crc;
}

}  // namespace polyarch::rdb
