#include "conflict/json_token.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>

namespace polyarch::conflict {

namespace {

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

bool IsHex(std::string_view digits) {
  return digits.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

uint32_t CodeUnit(std::string_view hex) {
  uint32_t unit = 0;
  for (char c : hex.substr(0, 4)) {
    unit = unit * 16 + static_cast<uint32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  return unit;
}

void PutUtf8(std::string& out, uint32_t code) {
  auto put = [&](uint32_t byte) {
    out += static_cast<char>(byte);
  };
  if (code < 0x80) return put(code);
  if (code < 0x800) return put(0xc0 | code >> 6), put(0x80 | (code & 0x3f));
  if (code < 0x10000) {
    put(0xe0 | code >> 12);
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3f));
  }
  put(0x80 | (code >> 6 & 0x3f));
  put(0x80 | (code & 0x3f));
}

// A number by its value: `digits` without zeros at either end, the point behind them, times ten to
// the `exponent`.
struct Decimal {
  bool negative = false;
  std::string digits;
  int64_t exponent = 0;
  friend bool operator==(const Decimal&, const Decimal&) = default;
};

Decimal DecimalOf(std::string_view number) {
  Decimal d;
  size_t i = 0;
  if (number[0] == '-') d.negative = true, ++i;
  bool fraction = false;
  for (; i < number.size() && (IsDigit(number[i]) || number[i] == '.'); ++i) {
    if (number[i] == '.') {
      fraction = true;
      continue;
    }
    if (fraction) --d.exponent;
    if (number[i] != '0' || !d.digits.empty()) d.digits += number[i];
  }
  if (i < number.size()) {  // e
    constexpr int64_t kBeyondAnyDouble = 1'000'000'000'000;
    const bool minus = number[++i] == '-';
    if (!IsDigit(number[i])) ++i;
    int64_t shift = 0;
    for (; i < number.size(); ++i)
      shift = std::min(shift * 10 + (number[i] - '0'), kBeyondAnyDouble);
    d.exponent += minus ? -shift : shift;
  }
  while (!d.digits.empty() && d.digits.back() == '0') {
    d.digits.pop_back();
    ++d.exponent;
  }
  if (d.digits.empty()) return {};
  return d;
}

}  // namespace

std::string_view JsonCursor::TakeBytes(size_t size) {
  const std::string_view taken = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return taken;
}

void JsonCursor::Skip() {
  const size_t end = rest_.find_first_not_of(" \t\r\n");
  rest_.remove_prefix(std::min(end, rest_.size()));
}

bool JsonCursor::Take(char c) {
  if (rest_.empty() || rest_.front() != c) return false;
  rest_.remove_prefix(1);
  return true;
}

bool JsonCursor::TakeWord(std::string_view word) {
  if (!rest_.starts_with(word)) return false;
  rest_.remove_prefix(word.size());
  return true;
}

std::optional<std::string_view> JsonCursor::TakeString() {
  if (Peek() != '"') return std::nullopt;
  size_t i = 1;
  for (; i < rest_.size() && rest_[i] != '"'; ++i) {
    if (static_cast<unsigned char>(rest_[i]) < 0x20) return std::nullopt;
    if (rest_[i] != '\\') continue;
    if (++i >= rest_.size()) return std::nullopt;
    if (rest_[i] == 'u') {
      if (rest_.size() - i < 5 || !IsHex(rest_.substr(i + 1, 4))) return std::nullopt;
      i += 4;
    } else if (std::string_view("\"\\/bfnrt").find(rest_[i]) == std::string_view::npos) {
      return std::nullopt;
    }
  }
  if (i >= rest_.size()) return std::nullopt;
  return TakeBytes(i + 1);
}

std::optional<std::string_view> JsonCursor::TakeNumber() {
  size_t i = 0;
  auto digits = [&] {
    const size_t first = i;
    while (i < rest_.size() && IsDigit(rest_[i]))
      ++i;
    return i - first;
  };
  auto is = [&](char c) {
    return i < rest_.size() && rest_[i] == c;
  };
  if (is('-')) ++i;
  const bool zero = is('0');
  const size_t whole = digits();
  if (whole == 0 || (zero && whole > 1)) return std::nullopt;
  if (is('.')) {
    ++i;
    if (digits() == 0) return std::nullopt;
  }
  if (is('e') || is('E')) {
    ++i;
    if (is('+') || is('-')) ++i;
    if (digits() == 0) return std::nullopt;
  }
  return TakeBytes(i);
}

std::string UnescapeJson(std::string_view quoted) {
  std::string bytes;
  for (size_t i = 1; i + 1 < quoted.size(); ++i) {
    if (quoted[i] != '\\') {
      bytes += quoted[i];
      continue;
    }
    const char c = quoted[++i];
    if (c != 'u') {
      constexpr std::string_view kNames = "bfnrt";
      constexpr std::string_view kBytes = "\b\f\n\r\t";
      const size_t at = kNames.find(c);
      bytes += at == std::string_view::npos ? c : kBytes[at];
      continue;
    }
    uint32_t code = CodeUnit(quoted.substr(i + 1));
    i += 4;
    if (code >= 0xd800 && code < 0xdc00 && quoted.substr(i + 1, 2) == "\\u") {
      const uint32_t low = CodeUnit(quoted.substr(i + 3));
      if (low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        i += 6;
      }
    }
    PutUtf8(bytes, code);
  }
  return bytes;
}

void AppendJsonString(std::string& out, std::string_view text) {
  constexpr std::string_view kBytes = "\"\\\b\f\n\r\t";
  constexpr std::string_view kNames = "\"\\bfnrt";
  constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (char c : text) {
    if (const size_t at = kBytes.find(c); at != std::string_view::npos) {
      out += '\\';
      out += kNames[at];
    } else if (const auto byte = static_cast<unsigned char>(c); byte < 0x20) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

bool IsUtf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto first = static_cast<unsigned char>(text[i++]);
    if (first < 0x80) continue;
    const size_t more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    if (first < 0xc2 || first > 0xf4 || text.size() - i < more) return false;
    uint32_t code = first & (0x3fU >> more);
    for (size_t n = 0; n < more; ++n) {
      const auto byte = static_cast<unsigned char>(text[i++]);
      if ((byte & 0xc0) != 0x80) return false;
      code = code << 6 | (byte & 0x3fU);
    }
    if (more == 2 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) return false;
    if (more == 3 && (code < 0x10000 || code > 0x10ffff)) return false;
  }
  return true;
}

bool IsExactDouble(std::string_view number, double& value) {
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error != std::errc() || end != number.data() + number.size()) return false;
  return std::isfinite(value) && DecimalOf(JsonNumber(value)) == DecimalOf(number);
}

std::string JsonNumber(double value) {
  constexpr double kWholeMax = 1e15;
  char text[32];
  const bool whole = value == std::trunc(value) && std::abs(value) < kWholeMax;
  const auto result = whole ? std::to_chars(text, text + sizeof text, static_cast<int64_t>(value))
                            : std::to_chars(text, text + sizeof text, value);
  return {text, result.ptr};
}

}  // namespace polyarch::conflict
