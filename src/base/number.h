// Numbers as Redis reads and writes them: strict (no spaces, no leading zeros or plus sign for
// integers, no trailing bytes), so that "exactly the canonical form" is what counts as a number.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace polyarch::base {

inline constexpr size_t kInt64CharsMax = 20;

// The integer if `text` is its canonical decimal form (string2ll of Redis).
std::optional<int64_t> ParseInt64(std::string_view text);

// Redis's MAX_LONG_DOUBLE_CHARS, without the end: whatever FormatLongDouble writes can be read.
inline constexpr size_t kLongDoubleCharsMax = 5 * 1024 - 1;

// The number if `text` is a decimal within the type (no hexadecimal, no NaN; the word "inf" only if `allow_inf`).
std::optional<long double> ParseLongDouble(std::string_view text, bool allow_inf = false);

// Writes the decimal form; returns the count of characters. `buffer` holds kInt64CharsMax bytes.
size_t FormatInt64(int64_t value, char* buffer);
std::string FormatInt64(int64_t value);

// At most 17 decimals, without trailing zeros: what INCRBYFLOAT answers.
std::string FormatLongDouble(long double value);

// Checked arithmetic: nothing if the result leaves 64 bits.
std::optional<int64_t> CheckedAdd(int64_t a, int64_t b);

}  // namespace polyarch::base
