#include "resp/reply.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <utility>

#include "base/number.h"
#include "resp/writer.h"

namespace polyarch::resp {
namespace {

std::string Quoted(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (byte < 0x20 || byte >= 0x7f) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string Joined(const std::vector<Value>& items, const char* open, const char* close, bool map) {
  std::string out = open;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i != 0) out += map && i % 2 == 1 ? ": " : ", ";
    out += items[i].ToString();
  }
  return out + close;
}

bool IsAggregate(char type) {
  return type != '\0' && std::strchr("*%~>|", type) != nullptr;
}

Value::Type AggregateType(char type) {
  switch (type) {
    case '%':
    case '|':
      return Value::Type::kMap;
    case '~':
      return Value::Type::kSet;
    case '>':
      return Value::Type::kPush;
    default:
      return Value::Type::kArray;
  }
}

std::optional<double> ReadDouble(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double number = 0;
  auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

std::string Value::ToString() const {
  switch (type) {
    case Type::kNull:
      return "null";
    case Type::kSimple:
      return "+" + text;
    case Type::kError:
      return "-" + text;
    case Type::kInteger:
      return base::FormatInt64(integer);
    case Type::kBulk:
    case Type::kVerbatim:
      return Quoted(text);
    case Type::kArray:
      return Joined(items, "[", "]", false);
    case Type::kMap:
      return Joined(items, "{", "}", true);
    case Type::kSet:
      return Joined(items, "~[", "]", false);
    case Type::kPush:
      return Joined(items, ">[", "]", false);
    case Type::kDouble: {
      char digits[kDoubleCharsMax];
      return std::string(digits, FormatDouble(number, digits));
    }
    case Type::kBoolean:
      return integer != 0 ? "true" : "false";
    case Type::kBigNumber:
      return text;
  }
  return "";
}

void ReplyReader::Feed(std::string_view bytes) {
  if (at_ == bytes_.size()) {
    bytes_.clear();
    scanned_ = 0;
    at_ = 0;
  } else if (at_ > bytes_.size() / 2) {
    bytes_.erase(0, at_);
    scanned_ = scanned_ > at_ ? scanned_ - at_ : 0;
    at_ = 0;
  }
  bytes_.append(bytes);
}

ReplyReader::State ReplyReader::Next() {
  if (!error_.empty()) return State::kError;
  while (true) {
    size_t before = at_;
    State state = ReadOne();
    // kNeedMore with progress: an item of an aggregate, or its head, has been read.
    if (state != State::kNeedMore || at_ == before) return state;
  }
}

ReplyReader::State ReplyReader::Fail(std::string text) {
  error_ = std::move(text);
  return State::kError;
}

ReplyReader::State ReplyReader::ReadOne() {
  size_t from = std::max(at_, scanned_);
  size_t cr = bytes_.find("\r\n", from);
  if (cr == std::string::npos) {
    // The last byte may be the CR of an end that is still to come.
    scanned_ = bytes_.empty() ? 0 : bytes_.size() - 1;
    return State::kNeedMore;
  }
  if (cr == at_) return Fail("empty line where a reply should begin");
  return ReadHead(bytes_[at_], std::string_view(bytes_).substr(at_ + 1, cr - at_ - 1));
}

ReplyReader::State ReplyReader::ReadHead(char type, std::string_view line) {
  Value value;
  if (type == '+' || type == '-' || type == '(') {
    value.type = type == '+'   ? Value::Type::kSimple
                 : type == '-' ? Value::Type::kError
                               : Value::Type::kBigNumber;
    value.text = line;
  } else if (type == '_' && line.empty()) {
    value.type = Value::Type::kNull;
  } else if (type == '#' && (line == "t" || line == "f")) {
    value.type = Value::Type::kBoolean;
    value.integer = line == "t" ? 1 : 0;
  } else if (type == ',') {
    std::optional<double> number = ReadDouble(line);
    if (!number) return Fail("not a number: " + std::string(line));
    value.type = Value::Type::kDouble;
    value.number = *number;
  } else if (type == ':' || type == '$' || type == '=' || IsAggregate(type)) {
    std::optional<int64_t> number = base::ParseInt64(line);
    if (!number) return Fail("not an integer: " + std::string(line));
    if (type == ':') {
      value.type = Value::Type::kInteger;
      value.integer = *number;
    } else if (*number == -1 && (type == '$' || type == '*')) {
      value.type = Value::Type::kNull;
    } else if (*number < 0 || static_cast<uint64_t>(*number) > kBytesMax) {
      return Fail("size out of range: " + std::string(line));
    } else if (type == '$' || type == '=') {
      return ReadText(type, static_cast<uint64_t>(*number));
    } else {
      if (levels_.size() == kDepthMax) return Fail("nested too deep");
      at_ += line.size() + 3;
      Level level;
      level.value.type = AggregateType(type);
      level.missing = static_cast<uint64_t>(*number) * (type == '%' || type == '|' ? 2 : 1);
      level.attribute = type == '|';
      if (level.missing != 0) {
        levels_.push_back(std::move(level));
        return State::kNeedMore;
      }
      return level.attribute ? State::kNeedMore : Deliver(std::move(level.value));
    }
  } else {
    return Fail(std::string("unknown reply type '") + type + "'");
  }
  at_ += line.size() + 3;
  return Deliver(std::move(value));
}

ReplyReader::State ReplyReader::ReadText(char type, uint64_t size) {
  size_t begin = bytes_.find('\n', at_) + 1;
  if (bytes_.size() - begin < size + 2) return State::kNeedMore;
  if (bytes_[begin + size] != '\r' || bytes_[begin + size + 1] != '\n') {
    return Fail("expected CR LF behind a bulk");
  }
  Value value;
  value.type = type == '$' ? Value::Type::kBulk : Value::Type::kVerbatim;
  size_t prefix = 0;
  if (type == '=') {
    if (size < 4 || bytes_[begin + 3] != ':') return Fail("verbatim text without its format");
    prefix = 4;
  }
  value.text = bytes_.substr(begin + prefix, size - prefix);
  at_ = begin + size + 2;
  return Deliver(std::move(value));
}

ReplyReader::State ReplyReader::Deliver(Value value) {
  while (!levels_.empty()) {
    Level& level = levels_.back();
    level.value.items.push_back(std::move(value));
    if (--level.missing != 0) return State::kNeedMore;
    bool attribute = level.attribute;
    value = std::move(level.value);
    levels_.pop_back();
    if (attribute) return State::kNeedMore;  // the value that it describes follows
  }
  value_ = std::move(value);
  return State::kValue;
}

void AppendRequest(std::string& out, std::span<const std::string_view> arguments) {
  out += '*';
  out += base::FormatInt64(static_cast<int64_t>(arguments.size()));
  out += "\r\n";
  for (std::string_view argument : arguments) {
    out += '$';
    out += base::FormatInt64(static_cast<int64_t>(argument.size()));
    out += "\r\n";
    out += argument;
    out += "\r\n";
  }
}

void AppendRequest(std::string& out, std::initializer_list<std::string_view> arguments) {
  AppendRequest(out, std::span<const std::string_view>(arguments.begin(), arguments.size()));
}

}  // namespace polyarch::resp
