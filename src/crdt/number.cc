#include "crdt/number.h"

#include <cmath>
#include <cstring>

namespace polyarch::crdt {

namespace {

constexpr size_t kRealBytes = 10;
constexpr uint8_t kHasReal = 1;
constexpr uint8_t kWide = 2;

long double ReadReal(base::Reader& in) {
  std::string_view raw = in.Raw(kRealBytes);
  if (raw.empty()) return 0;
  // Bit 63 of the mantissa is explicit in the 80-bit form: other patterns are not numbers, and a
  // counter is always finite.
  const bool normal = (static_cast<uint8_t>(raw[7]) & 0x80) != 0;
  const bool exponent_zero = raw[8] == 0 && (static_cast<uint8_t>(raw[9]) & 0x7f) == 0;
  const bool exponent_full =
      static_cast<uint8_t>(raw[8]) == 0xff && (static_cast<uint8_t>(raw[9]) & 0x7f) == 0x7f;
  if (exponent_full || normal == exponent_zero) {
    in.Fail();
    return 0;
  }
  long double value = 0;
  char bytes[sizeof(long double)] = {};
  std::memcpy(bytes, raw.data(), kRealBytes);
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

bool Fits(__int128 integer) {
  return -kIntegerPartMax <= integer && integer <= kIntegerPartMax;
}

}  // namespace

std::optional<Number> Add(const Number& a, const Number& b) {
  Number sum{a.is_real || b.is_real, 0, a.real + b.real};
  if (__builtin_add_overflow(a.integer, b.integer, &sum.integer) || !Fits(sum.integer) ||
      !std::isfinite(sum.real)) {
    return std::nullopt;
  }
  return sum;
}

std::optional<Number> Subtract(const Number& a, const Number& b) {
  Number difference{a.is_real || b.is_real, 0, a.real - b.real};
  if (__builtin_sub_overflow(a.integer, b.integer, &difference.integer) ||
      !Fits(difference.integer) || !std::isfinite(difference.real)) {
    return std::nullopt;
  }
  return difference;
}

void PutNumber(std::string& out, const Number& n) {
  const bool wide = n.integer < INT64_MIN || n.integer > INT64_MAX;
  out.push_back(static_cast<char>((n.is_real ? kHasReal : 0) | (wide ? kWide : 0)));
  if (wide) {
    char bytes[sizeof n.integer];
    std::memcpy(bytes, &n.integer, sizeof bytes);
    out.append(bytes, sizeof bytes);
  } else {
    base::PutVarint(out, base::ZigZag(static_cast<int64_t>(n.integer)));
  }
  if (!n.is_real) return;
  char bytes[sizeof(long double)];
  std::memcpy(bytes, &n.real, sizeof bytes);
  out.append(bytes, kRealBytes);
}

Number ReadNumber(base::Reader& in) {
  Number n;
  const uint8_t kind = in.Fixed8();
  if (kind > (kHasReal | kWide)) in.Fail();
  if ((kind & kWide) != 0) {
    std::string_view raw = in.Raw(sizeof n.integer);
    if (!raw.empty()) std::memcpy(&n.integer, raw.data(), sizeof n.integer);
  } else {
    n.integer = in.SignedVarint();
  }
  if (!Fits(n.integer)) in.Fail();
  n.is_real = (kind & kHasReal) != 0;
  if (n.is_real) n.real = ReadReal(in);
  return in.ok() ? n : Number{};
}

}  // namespace polyarch::crdt
