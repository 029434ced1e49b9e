// Positions as people see and type them.
#include <charconv>
#include <cstdio>

#include "base/number.h"
#include "crdt/position.h"

namespace polyarch::crdt {

namespace {

constexpr size_t kNBytes = 6;
constexpr size_t kRunBytes = 8;
constexpr size_t kSequenceBytes = 6;
constexpr size_t kIndexBytes = 4;
static_assert(kNBytes + kRunBytes + kSequenceBytes + kIndexBytes == kPositionStepBytes);
constexpr unsigned kSignBit = 47;  // of n and of sequence
constexpr uint64_t kSign = uint64_t{1} << kSignBit;
constexpr size_t kRunDigits = 2 * kRunBytes;
constexpr std::string_view kRawPrefix = "0x";
constexpr int kHex = 16;

uint64_t Take(std::string_view& in, size_t bytes) {
  uint64_t value = 0;
  for (char c : in.substr(0, bytes))
    value = value << 8 | static_cast<uint8_t>(c);
  in.remove_prefix(bytes);
  return value;
}

void Put(std::string& out, uint64_t value, size_t bytes) {
  for (size_t i = bytes; i-- > 0;)
    out.push_back(static_cast<char>(value >> (8 * i)));
}

// False if what stands at the beginning of `in` is not a number up to `max` in its only form.
bool TakeNumber(std::string_view& in, int base, uint64_t max, uint64_t& value) {
  const auto [end, error] = std::from_chars(in.data(), in.data() + in.size(), value, base);
  if (error != std::errc() || value > max) return false;
  const auto size = static_cast<size_t>(end - in.data());
  if (base != kHex && size > 1 && in[0] == '0') return false;
  if (base == kHex && in.substr(0, size).find_first_of("ABCDEF") != in.npos) return false;
  in.remove_prefix(size);
  return true;
}

bool TakeMark(std::string_view& in, char mark) {
  if (!in.starts_with(mark)) return false;
  in.remove_prefix(1);
  return true;
}

bool ReadStep(std::string_view text, std::string& name) {
  const bool before = TakeMark(text, '<');
  const bool negative = TakeMark(text, '-');
  uint64_t n = 0;
  uint64_t run = 0;
  uint64_t sequence = 0;
  uint64_t index = 0;
  if (!TakeNumber(text, 10, negative ? kSign : kSign - 1, n) || (negative && n == 0)) return false;
  if (!TakeMark(text, '.') || text.size() < kRunDigits) return false;
  std::string_view digits = text.substr(0, kRunDigits);
  if (!TakeNumber(digits, kHex, UINT64_MAX, run) || !digits.empty()) return false;
  text.remove_prefix(kRunDigits);
  if (!TakeMark(text, ':') || !TakeNumber(text, 10, kSign - 1, sequence)) return false;
  if (!TakeMark(text, '.') || !TakeNumber(text, 10, UINT32_MAX, index) || !text.empty()) return false;
  const uint64_t turned = before ? UINT64_MAX : 0;
  Put(name, (negative ? 0 - n : n) + kSign, kNBytes);
  Put(name, run, kRunBytes);
  Put(name, (sequence | kSign) ^ turned, kSequenceBytes);
  Put(name, index ^ turned, kIndexBytes);
  return true;
}

std::string RawText(std::string_view name) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text(kRawPrefix);
  for (char c : name) {
    text.push_back(kDigits[static_cast<uint8_t>(c) >> 4]);
    text.push_back(kDigits[static_cast<uint8_t>(c) & 0xf]);
  }
  return text;
}

std::optional<std::string> ReadRaw(std::string_view digits) {
  if (digits.size() % 2 != 0) return std::nullopt;
  std::string name;
  for (; !digits.empty(); digits.remove_prefix(2)) {
    std::string_view pair = digits.substr(0, 2);
    uint64_t byte = 0;
    if (!TakeNumber(pair, kHex, UINT8_MAX, byte) || !pair.empty()) return std::nullopt;
    name.push_back(static_cast<char>(byte));
  }
  return name;
}

}  // namespace

std::string PositionText(std::string_view name) {
  if (name.empty() || name.size() % kPositionStepBytes != 0) return RawText(name);
  std::string text;
  while (!name.empty()) {
    const auto n = static_cast<int64_t>(Take(name, kNBytes)) - static_cast<int64_t>(kSign);
    const uint64_t run = Take(name, kRunBytes);
    uint64_t sequence = Take(name, kSequenceBytes);
    auto index = static_cast<uint32_t>(Take(name, kIndexBytes));
    const bool before = (sequence & kSign) == 0;
    sequence = (before ? ~sequence : sequence) & (kSign - 1);
    if (before) index = ~index;
    char digits[kRunDigits + 1];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(run));
    if (!text.empty()) text.push_back('/');
    if (before) text.push_back('<');
    text += base::FormatInt64(n) + "." + digits + ":" +
            base::FormatInt64(static_cast<int64_t>(sequence)) + "." + base::FormatInt64(index);
  }
  return text;
}

std::optional<std::string> ReadPositionText(std::string_view text) {
  if (text.starts_with(kRawPrefix)) {
    auto name = ReadRaw(text.substr(kRawPrefix.size()));
    // One form only for each name.
    return name && PositionText(*name) == text ? name : std::nullopt;
  }
  std::string name;
  while (true) {
    const size_t end = text.find('/');
    if (!ReadStep(text.substr(0, end), name)) return std::nullopt;
    if (end == text.npos) return name;
    text.remove_prefix(end + 1);
  }
}

}  // namespace polyarch::crdt
