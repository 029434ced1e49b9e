#include "base/codec.h"

namespace polyarch::base {

static_assert(std::endian::native == std::endian::little, "formats are little-endian");

void PutFixed32(std::string& out, uint32_t v) {
  char b[4];
  std::memcpy(b, &v, 4);
  out.append(b, 4);
}

void PutFixed64(std::string& out, uint64_t v) {
  char b[8];
  std::memcpy(b, &v, 8);
  out.append(b, 8);
}

uint32_t LoadFixed32(const char* p) {
  uint32_t v = 0;
  std::memcpy(&v, p, 4);
  return v;
}

uint64_t LoadFixed64(const char* p) {
  uint64_t v = 0;
  std::memcpy(&v, p, 8);
  return v;
}

uint8_t Reader::Fixed8() {
  std::string_view b = Raw(1);
  return b.empty() ? uint8_t{0} : static_cast<uint8_t>(b[0]);
}

uint32_t Reader::Fixed32() {
  std::string_view b = Raw(4);
  return b.empty() ? 0 : LoadFixed32(b.data());
}

uint64_t Reader::Fixed64() {
  std::string_view b = Raw(8);
  return b.empty() ? 0 : LoadFixed64(b.data());
}

uint64_t Reader::VarintSlow() {
  uint64_t v = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (p_ == end_) {
      Fail();
      return 0;
    }
    auto byte = static_cast<uint8_t>(*p_++);
    if (shift == 63 && byte > 1) break;
    v |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return v;
  }
  Fail();
  return 0;
}

std::string_view Reader::Raw(uint64_t size) {
  if (size > remaining()) {
    Fail();
    return {};
  }
  std::string_view v(p_, size);
  p_ += size;
  return v;
}

}  // namespace polyarch::base
