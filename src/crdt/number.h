// A counter's quantity: an exact integer part and, once something fractional has been added, a real
// part beside it, in 80-bit extended precision (what Redis computes INCRBYFLOAT in, so that 0.1 + 0.2
// is 0.3). Kept apart, big integers and small fractions do not cost each other digits. The integer part
// has 128 bits: what one leader has added alone may leave 64 bits while the sum of all does not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/codec.h"

namespace polyarch::crdt {

struct Number {
  bool is_real = false;  // something fractional was added
  __int128 integer = 0;
  long double real = 0;

  static Number Integer(__int128 v) { return {false, v, 0}; }
  static Number Real(long double v) { return {true, 0, v}; }

  long double AsReal() const { return static_cast<long double>(integer) + real; }
  bool FitsInt64() const { return !is_real && integer >= INT64_MIN && integer <= INT64_MAX; }
  friend bool operator==(const Number& a, const Number& b) {
    return a.is_real == b.is_real && a.integer == b.integer && a.real == b.real;
  }
};

// No integer part is ever beyond this, so that sums of thousands of them cannot overflow.
inline constexpr __int128 kIntegerPartMax = static_cast<__int128>(1) << 100;

// Nothing if the integer part would be too large or the real part not finite.
std::optional<Number> Add(const Number& a, const Number& b);
std::optional<Number> Subtract(const Number& a, const Number& b);

// One byte of kind (1: a real part follows, 2: the integer is 16 bytes instead of a zigzag varint),
// the integer, then ten bytes (mantissa, then exponent and sign; little-endian). Reading fails on what
// is no finite number, or too large.
void PutNumber(std::string& out, const Number& n);
Number ReadNumber(base::Reader& in);

}  // namespace polyarch::crdt
