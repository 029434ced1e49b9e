// Bytes in and out. Writers append to a std::string; a Reader walks over foreign bytes and never
// reads past their end: after the first malformed or missing field `ok()` is false and every
// further read gives zero or empty, so a decoder may read a whole record and check once. Integers
// are little-endian or LEB128 varints (at most 10 bytes; a longer or overflowing one is malformed).
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace polyarch::base {

inline constexpr size_t kVarintBytesMax = 10;

inline void PutFixed8(std::string& out, uint8_t v) {
  out.push_back(static_cast<char>(v));
}
void PutFixed32(std::string& out, uint32_t v);
void PutFixed64(std::string& out, uint64_t v);

// Writes at `p`, which must have kVarintBytesMax bytes of room; returns one past the last byte.
inline char* EncodeVarint(char* p, uint64_t v) {
  while (v >= 0x80) {
    *p++ = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  *p++ = static_cast<char>(v);
  return p;
}

inline size_t VarintSize(uint64_t v) {
  return (static_cast<size_t>(std::bit_width(v | 1)) + 6) / 7;
}

inline void PutVarint(std::string& out, uint64_t v) {
  char buffer[kVarintBytesMax];
  out.append(buffer, static_cast<size_t>(EncodeVarint(buffer, v) - buffer));
}

// Small negative numbers stay small.
inline uint64_t ZigZag(int64_t v) {
  return (static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63);
}
inline int64_t UnZigZag(uint64_t v) {
  return static_cast<int64_t>(v >> 1) ^ -static_cast<int64_t>(v & 1);
}

// A length as varint, then the bytes.
inline void PutBytes(std::string& out, std::string_view bytes) {
  PutVarint(out, bytes.size());
  out.append(bytes);
}

uint32_t LoadFixed32(const char* p);
uint64_t LoadFixed64(const char* p);

class Reader {
 public:
  explicit Reader(std::string_view bytes) : p_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  bool ok() const { return ok_; }
  bool empty() const { return p_ == end_; }
  size_t remaining() const { return static_cast<size_t>(end_ - p_); }
  const char* position() const { return p_; }

  uint8_t Fixed8();
  uint32_t Fixed32();
  uint64_t Fixed64();
  uint64_t Varint() {
    if (p_ != end_ && static_cast<uint8_t>(*p_) < 0x80) return static_cast<uint8_t>(*p_++);
    return VarintSlow();
  }
  int64_t SignedVarint() { return UnZigZag(Varint()); }
  // Exactly `size` bytes, a view into the input.
  std::string_view Raw(uint64_t size);
  // A varint length, then that many bytes.
  std::string_view Bytes() { return Raw(Varint()); }

  void Fail() {
    ok_ = false;
    p_ = end_;
  }

 private:
  uint64_t VarintSlow();

  const char* p_;
  const char* end_;
  bool ok_ = true;
};

}  // namespace polyarch::base
