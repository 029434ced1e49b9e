#include "cli/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <utility>

#include "base/base64.h"

namespace polyarch::cli {

namespace {

// The length of the UTF-8 sequence at `at`; 0 if there is none that is well-formed.
size_t Sequence(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const unsigned first = byte(at);
  if (first < 0x80) return 1;
  const size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4) return 0;
  uint32_t code = first & (0x7fU >> size);
  for (size_t i = 1; i < size; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
    code = (code << 6) | (byte(at + i) & 0x3f);
  }
  const bool overlong = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  return overlong || surrogate || code > 0x10ffff ? 0 : size;
}

bool IsUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t size = Sequence(text, at);
    if (size == 0) return false;
    at += size;
  }
  return true;
}

// How many columns it takes, if every character takes one.
size_t Width(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

void AppendQuoted(std::string& out, std::string_view text) {
  out.push_back('"');
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (byte < 0x20 || byte == 0x7f) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
      out += escaped;
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

void AppendText(std::string& out, std::string_view text) {
  if (IsUtf8(text)) return AppendQuoted(out, text);
  out += "{\"base64\":\"" + base::Base64(text) + "\"}";
}

void AppendJson(std::string& out, const resp::Value& value) {
  using Type = resp::Value::Type;
  switch (value.type) {
    case Type::kNull:
      out += "null";
      return;
    case Type::kError:
      out += "{\"error\":";
      AppendText(out, value.text);
      out += "}";
      return;
    case Type::kInteger:
      out += std::to_string(value.integer);
      return;
    case Type::kBoolean:
      out += value.integer != 0 ? "true" : "false";
      return;
    case Type::kDouble: {
      if (!std::isfinite(value.number)) {
        out += "null";
        return;
      }
      char text[40];
      const auto [end, error] = std::to_chars(text, text + sizeof text, value.number);
      out.append(text, error == std::errc() ? end : text);
      return;
    }
    case Type::kBigNumber:
      out += value.text;
      return;
    case Type::kSimple:
    case Type::kBulk:
    case Type::kVerbatim:
      AppendText(out, value.text);
      return;
    case Type::kMap:
      out.push_back('{');
      for (size_t i = 0; i + 1 < value.items.size(); i += 2) {
        if (i > 0) out.push_back(',');
        AppendQuoted(out, Printable(TextOf(&value.items[i])));
        out.push_back(':');
        AppendJson(out, value.items[i + 1]);
      }
      out.push_back('}');
      return;
    case Type::kArray:
    case Type::kSet:
    case Type::kPush:
      out.push_back('[');
      for (size_t i = 0; i < value.items.size(); ++i) {
        if (i > 0) out.push_back(',');
        AppendJson(out, value.items[i]);
      }
      out.push_back(']');
      return;
  }
}

std::string Scaled(double value, const char* unit) {
  char text[32];
  std::snprintf(text, sizeof text, value < 9.95 ? "%.1f %s" : "%.0f %s", value, unit);
  return text;
}

}  // namespace

std::string HumanBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1023.5 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return Scaled(value, kUnits[unit]);
}

std::string HumanCount(uint64_t count) {
  std::string digits = std::to_string(count);
  for (size_t at = digits.size(); at > 3; at -= 3)
    digits.insert(at - 3, 1, ',');
  return digits;
}

std::string HumanMillis(int64_t ms) {
  if (ms < 0) return "-" + HumanMillis(ms == INT64_MIN ? INT64_MAX : -ms);
  if (ms < 1000) return std::to_string(ms) + " ms";
  if (ms < 60'000) return Scaled(static_cast<double>(ms) / 1000, "s");
  const int64_t minutes = ms / 60'000;
  if (minutes < 60) return std::to_string(minutes) + " min";
  if (minutes < 48 * 60)
    return std::to_string(minutes / 60) + " h " + std::to_string(minutes % 60) + " min";
  return std::to_string(minutes / 1440) + " d " + std::to_string(minutes / 60 % 24) + " h";
}

std::string HumanRate(double per_second) {
  if (per_second < 0.05) return "0";
  if (per_second >= 9.95) return HumanCount(static_cast<uint64_t>(std::llround(per_second)));
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", per_second);
  return text;
}

std::string Printable(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t size = Sequence(text, at);
    const auto byte = static_cast<unsigned char>(text[at]);
    // C1 control characters are two bytes in UTF-8.
    const bool control = size == 0 || byte < 0x20 || byte == 0x7f ||
                         (byte == 0xc2 && static_cast<unsigned char>(text[at + 1]) < 0xa0);
    const size_t taken = std::max<size_t>(size, 1);
    if (!control) out.append(text.substr(at, size));
    for (size_t i = 0; control && i < taken; ++i) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(text[at + i]));
      out += escaped;
    }
    at += taken;
  }
  return out;
}

Table::Table(std::vector<std::string> titles, std::vector<size_t> right)
    : right_(std::move(right)) {
  rows_.push_back(std::move(titles));
}

void Table::Add(std::vector<std::string> cells) {
  rows_.push_back(std::move(cells));
}

std::vector<std::string> Table::Lines() const {
  std::vector<size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::vector<std::string> lines;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - Width(row[i]), ' ');
      const bool right = std::find(right_.begin(), right_.end(), i) != right_.end();
      if (i > 0) line += "  ";
      line += right ? space + row[i] : row[i] + space;
    }
    while (!line.empty() && line.back() == ' ')
      line.pop_back();
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string Json(const resp::Value& value) {
  std::string out;
  AppendJson(out, value);
  return out;
}

const resp::Value* Find(const resp::Value& map, std::string_view key) {
  for (size_t i = 0; i + 1 < map.items.size(); i += 2) {
    if (map.items[i].text == key) return &map.items[i + 1];
  }
  return nullptr;
}

std::string TextOf(const resp::Value* value) {
  using Type = resp::Value::Type;
  if (value == nullptr) return "";
  if (value->type == Type::kInteger) return std::to_string(value->integer);
  if (value->type == Type::kBoolean) return value->integer != 0 ? "true" : "false";
  return value->text;
}

int64_t NumberOf(const resp::Value* value) {
  if (value == nullptr) return 0;
  if (value->text.empty()) return value->integer;
  int64_t number = 0;
  std::from_chars(value->text.data(), value->text.data() + value->text.size(), number);
  return number;
}

resp::Value Text(std::string text) {
  resp::Value value;
  value.type = resp::Value::Type::kBulk;
  value.text = std::move(text);
  return value;
}

resp::Value Number(int64_t number) {
  resp::Value value;
  value.type = resp::Value::Type::kInteger;
  value.integer = number;
  return value;
}

resp::Value Boolean(bool flag) {
  resp::Value value;
  value.type = resp::Value::Type::kBoolean;
  value.integer = flag ? 1 : 0;
  return value;
}

resp::Value Map() {
  resp::Value value;
  value.type = resp::Value::Type::kMap;
  return value;
}

resp::Value Array() {
  resp::Value value;
  value.type = resp::Value::Type::kArray;
  return value;
}

void Put(resp::Value& map, std::string key, resp::Value value) {
  map.items.push_back(Text(std::move(key)));
  map.items.push_back(std::move(value));
}

}  // namespace polyarch::cli
