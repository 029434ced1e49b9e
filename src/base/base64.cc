#include "base/base64.h"

#include <cstdint>

namespace polyarch::base {
namespace {

#define POLYARCH_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
constexpr std::string_view kStandard = POLYARCH_LETTERS "+/";
constexpr std::string_view kUrl = POLYARCH_LETTERS "-_";
#undef POLYARCH_LETTERS

std::string Encode(std::string_view bytes, std::string_view digits, bool padded) {
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j)
      group = (group << 8) | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (size_t j = 0; j < 4; ++j) {
      if (i + j <= bytes.size()) {
        out.push_back(digits[(group >> (18 - 6 * j)) & 63]);
      } else if (padded) {
        out.push_back('=');
      }
    }
  }
  return out;
}

}  // namespace

std::string Base64(std::string_view bytes) {
  return Encode(bytes, kStandard, /*padded=*/true);
}

std::string Base64Url(std::string_view bytes) {
  return Encode(bytes, kUrl, /*padded=*/false);
}

std::optional<std::string> ParseBase64Url(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;  // of bits that stand for no whole byte yet
  for (char c : text) {
    const size_t digit = kUrl.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = (bits << 6) | static_cast<uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out.push_back(static_cast<char>(bits >> count));
    bits &= (1U << count) - 1;
  }
  // One digit alone is no byte; what is left over is zero.
  if (count >= 6 || bits != 0) return std::nullopt;
  return out;
}

}  // namespace polyarch::base
