// A counter's quantity: an integer until something fractional is added, then an 80-bit extended
// floating-point number (what Redis computes INCRBYFLOAT in, so that 0.1 + 0.2 is 0.3).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/codec.h"

namespace polyarch::crdt {

struct Number {
  bool is_real = false;
  int64_t integer = 0;
  long double real = 0;

  static Number Integer(int64_t v) { return {false, v, 0}; }
  static Number Real(long double v) { return {true, 0, v}; }

  long double AsReal() const { return is_real ? real : static_cast<long double>(integer); }
  bool is_zero() const { return is_real ? real == 0 : integer == 0; }
  friend bool operator==(const Number& a, const Number& b) {
    return a.is_real == b.is_real && (a.is_real ? a.real == b.real : a.integer == b.integer);
  }
};

// Nothing if both are integers and the sum leaves 64 bits.
std::optional<Number> Add(const Number& a, const Number& b);
std::optional<Number> Subtract(const Number& a, const Number& b);

// One byte of kind, then a zigzag varint or ten bytes (sign, exponent and mantissa, little-endian).
void PutNumber(std::string& out, const Number& n);
Number ReadNumber(base::Reader& in);
size_t NumberSizeMax();

}  // namespace polyarch::crdt
