#include "base/number.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace polyarch::base {

std::optional<int64_t> ParseInt64(std::string_view text) {
  if (text.empty() || text.size() > kInt64CharsMax) return std::nullopt;
  std::string_view digits = text[0] == '-' ? text.substr(1) : text;
  if (digits.empty() || digits[0] < '0' || digits[0] > '9') return std::nullopt;
  if (digits[0] == '0' && text.size() > 1) return std::nullopt;
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<long double> ParseLongDouble(std::string_view text, bool allow_inf) {
  if (text.empty() || text.size() > kLongDoubleCharsMax) return std::nullopt;
  for (char c : text) {
    bool number =
        (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.' || c == 'e' || c == 'E';
    bool infinity = allow_inf && (c == 'i' || c == 'n' || c == 'f' || c == 't' || c == 'y' ||
                                  c == 'I' || c == 'N' || c == 'F' || c == 'T' || c == 'Y');
    if (!number && !infinity) return std::nullopt;
  }
  std::string copy(text);
  char* end = nullptr;
  long double value = std::strtold(copy.c_str(), &end);
  if (end != copy.c_str() + copy.size() || std::isnan(value)) return std::nullopt;
  // Digits that come to infinity are beyond the type; the word itself has none.
  if (std::isinf(value) && (!allow_inf || text.find_first_of("0123456789") != std::string_view::npos))
    return std::nullopt;
  return value;
}

size_t FormatInt64(int64_t value, char* buffer) {
  return static_cast<size_t>(std::to_chars(buffer, buffer + kInt64CharsMax, value).ptr - buffer);
}

std::string FormatInt64(int64_t value) {
  char buffer[kInt64CharsMax];
  return {buffer, FormatInt64(value, buffer)};
}

std::string FormatLongDouble(long double value) {
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[kLongDoubleCharsMax + 1];  // the largest long double has 4933 digits, and 17 decimals
  int size = std::snprintf(buffer, sizeof buffer, "%.17Lf", value);
  std::string text(buffer, static_cast<size_t>(size));
  if (text.find('.') != std::string::npos) {
    while (text.back() == '0')
      text.pop_back();
    if (text.back() == '.') text.pop_back();
  }
  return text == "-0" ? "0" : text;
}

std::optional<int64_t> CheckedAdd(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

}  // namespace polyarch::base
