#include "crdt/number.h"

#include <cmath>
#include <cstring>

#include "base/number.h"

namespace polyarch::crdt {

namespace {
constexpr size_t kRealBytes = 10;
}

std::optional<Number> Add(const Number& a, const Number& b) {
  if (a.is_real || b.is_real) return Number::Real(a.AsReal() + b.AsReal());
  auto sum = base::CheckedAdd(a.integer, b.integer);
  if (!sum) return std::nullopt;
  return Number::Integer(*sum);
}

std::optional<Number> Subtract(const Number& a, const Number& b) {
  if (a.is_real || b.is_real) return Number::Real(a.AsReal() - b.AsReal());
  int64_t difference = 0;
  if (__builtin_sub_overflow(a.integer, b.integer, &difference)) return std::nullopt;
  return Number::Integer(difference);
}

void PutNumber(std::string& out, const Number& n) {
  out.push_back(n.is_real ? '\1' : '\0');
  if (!n.is_real) {
    base::PutVarint(out, base::ZigZag(n.integer));
    return;
  }
  char bytes[sizeof(long double)];
  std::memcpy(bytes, &n.real, sizeof bytes);
  out.append(bytes, kRealBytes);
}

Number ReadNumber(base::Reader& in) {
  uint8_t kind = in.Fixed8();
  if (kind == 0) return Number::Integer(in.SignedVarint());
  if (kind != 1) {
    in.Fail();
    return {};
  }
  std::string_view raw = in.Raw(kRealBytes);
  if (raw.empty()) return {};
  // Bit 63 of the mantissa is explicit in the 80-bit form: other patterns are not numbers, and a
  // counter is always finite.
  bool normal = (static_cast<uint8_t>(raw[7]) & 0x80) != 0;
  bool exponent_zero = raw[8] == 0 && (static_cast<uint8_t>(raw[9]) & 0x7f) == 0;
  bool exponent_full =
      static_cast<uint8_t>(raw[8]) == 0xff && (static_cast<uint8_t>(raw[9]) & 0x7f) == 0x7f;
  if (exponent_full || normal == exponent_zero) {
    in.Fail();
    return {};
  }
  long double value = 0;
  char bytes[sizeof(long double)] = {};
  std::memcpy(bytes, raw.data(), kRealBytes);
  std::memcpy(&value, bytes, sizeof value);
  return Number::Real(value);
}

size_t NumberSizeMax() {
  return 1 + kRealBytes;
}

}  // namespace polyarch::crdt
