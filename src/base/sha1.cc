#include "base/sha1.h"

#include <bit>
#include <cstdint>
#include <cstring>

namespace polyarch::base {

namespace {

struct Sha1 {
  uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};

  void Block(const unsigned char* p) {
    uint32_t w[80];
    for (int i = 0; i < 16; ++i) {
      w[i] = static_cast<uint32_t>(p[4 * i]) << 24 | static_cast<uint32_t>(p[4 * i + 1]) << 16 |
             static_cast<uint32_t>(p[4 * i + 2]) << 8 | static_cast<uint32_t>(p[4 * i + 3]);
    }
    for (int i = 16; i < 80; ++i)
      w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = h[0];
    uint32_t b = h[1];
    uint32_t c = h[2];
    uint32_t d = h[3];
    uint32_t e = h[4];
    auto round = [&](uint32_t f, uint32_t k, uint32_t word) {
      const uint32_t next = std::rotl(a, 5) + f + e + k + word;
      e = d;
      d = c;
      c = std::rotl(b, 30);
      b = a;
      a = next;
    };
    for (int i = 0; i < 20; ++i)
      round((b & c) | (~b & d), 0x5a827999, w[i]);
    for (int i = 20; i < 40; ++i)
      round(b ^ c ^ d, 0x6ed9eba1, w[i]);
    for (int i = 40; i < 60; ++i)
      round((b & c) | (b & d) | (c & d), 0x8f1bbcdc, w[i]);
    for (int i = 60; i < 80; ++i)
      round(b ^ c ^ d, 0xca62c1d6, w[i]);
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
  }
};

}  // namespace

std::string Sha1Hex(std::string_view bytes) {
  Sha1 sha;
  const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
  size_t left = bytes.size();
  for (; left >= 64; left -= 64, p += 64)
    sha.Block(p);
  unsigned char last[128] = {};
  if (left != 0) std::memcpy(last, p, left);
  last[left] = 0x80;
  const size_t end = left < 56 ? 64 : 128;
  const uint64_t bits = static_cast<uint64_t>(bytes.size()) * 8;
  for (size_t i = 0; i < 8; ++i)
    last[end - 1 - i] = static_cast<unsigned char>(bits >> (8 * i));
  for (size_t at = 0; at < end; at += 64)
    sha.Block(last + at);
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out(40, '0');
  for (size_t i = 0; i < 40; ++i)
    out[i] = kHex[sha.h[i / 8] >> (28 - 4 * (i % 8)) & 15];
  return out;
}

}  // namespace polyarch::base
