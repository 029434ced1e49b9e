#include "resp/parser.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <strings.h>
#include <utility>

#include "base/number.h"

namespace polyarch::resp {
namespace {

// A vector that once held a huge request gives its memory back at the next one.
constexpr size_t kKeepArguments = 4096;

enum class Number { kOk, kNeedMore, kInvalid, kTooLong };

Number ReadNumberSlow(const char*& p, const char* end, size_t line_max, int64_t& value) {
  const size_t available = static_cast<size_t>(end - p);
  // No further than the limit, so that whether a line is too long does not depend on how much of it has arrived.
  const void* found = std::memchr(p, '\r', std::min(available, line_max));
  if (found == nullptr) return available >= line_max ? Number::kTooLong : Number::kNeedMore;
  const char* cr = static_cast<const char*>(found);
  if (cr + 1 == end) return Number::kNeedMore;
  std::optional<int64_t> parsed = base::ParseInt64({p, static_cast<size_t>(cr - p)});
  if (!parsed || cr[1] != '\n') return Number::kInvalid;
  value = *parsed;
  p = cr + 2;
  return Number::kOk;
}

// Reads "<number>\r\n" at `p`; moves `p` behind it if it is complete and valid. Any line of less than `line_max` bytes is
// waited for, as Redis does, also if it can be no number any more.
inline Number ReadNumber(const char*& p, const char* end, size_t line_max, int64_t& value) {
  // 18 digits cannot overflow; what is longer or odd in any way takes the slow path.
  const char* stop = end - p > 18 ? p + 18 : end;
  const char* q = p;
  uint64_t sum = 0;
  while (q != stop) {
    unsigned digit = static_cast<unsigned char>(*q) - static_cast<unsigned>('0');
    if (digit > 9) break;
    sum = sum * 10 + digit;
    ++q;
  }
  bool canonical = q == p + 1 || (q != p && *p != '0');
  if (__builtin_expect(canonical && end - q >= 2 && q[0] == '\r' && q[1] == '\n', true)) {
    value = static_cast<int64_t>(sum);
    p = q + 2;
    return Number::kOk;
  }
  return ReadNumberSlow(p, end, line_max, value);
}

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// A browser, or a forged request sent through one (cross-protocol scripting).
bool IsHttp(const std::vector<std::string_view>& arguments) {
  if (EqualsIgnoreCase(arguments[0], "POST") || EqualsIgnoreCase(arguments[0], "Host:"))
    return true;
  static constexpr std::array<std::string_view, 9> kVerbs = {
      "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PRI"};
  return arguments.size() == 3 && arguments[2].starts_with("HTTP/") &&
         std::find(kVerbs.begin(), kVerbs.end(), arguments[0]) != kVerbs.end();
}

bool IsSpace(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

char Unescape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'b':
      return '\b';
    case 'a':
      return '\a';
    default:
      return c;
  }
}

// Appends the bytes of the quoted part that begins at line[i] (a quote) to `out` and moves `i`
// behind its closing quote. False if that is missing, or not followed by a space or the end.
bool Unquote(std::string_view line, size_t& i, std::string& out) {
  const char quote = line[i++];
  while (i < line.size()) {
    char c = line[i];
    size_t left = line.size() - i;
    if (c == quote) {
      ++i;
      return i == line.size() || IsSpace(line[i]);
    }
    if (c == '\\' && quote == '"' && left >= 4 && line[i + 1] == 'x' &&
        HexDigit(line[i + 2]) >= 0 && HexDigit(line[i + 3]) >= 0) {
      out.push_back(static_cast<char>(HexDigit(line[i + 2]) * 16 + HexDigit(line[i + 3])));
      i += 4;
    } else if (c == '\\' && quote == '"' && left >= 2) {
      out.push_back(Unescape(line[i + 1]));
      i += 2;
    } else if (c == '\\' && quote == '\'' && left >= 2 && line[i + 1] == '\'') {
      out.push_back('\'');
      i += 2;
    } else {
      out.push_back(c);
      ++i;
    }
  }
  return false;
}

}  // namespace

Parser::State Parser::Next(std::string_view input, const Limits& limits) {
  if (arguments_.capacity() > kKeepArguments) std::vector<std::string_view>().swap(arguments_);
  arguments_.clear();
  if (input.empty()) return State::kNeedMore;

  const char* const begin = input.data();
  const char* const end = begin + input.size();
  const char* p = begin + scanned_;
  if (!in_request_) {
    if (*begin != '*') return NextInline(input, limits);
    p = begin + 1;
    int64_t count = 0;
    switch (ReadNumber(p, end, limits.inline_bytes_max, count)) {
      case Number::kOk:
        break;
      case Number::kNeedMore:
        return State::kNeedMore;
      case Number::kInvalid:
        return Fail("invalid multibulk length");
      case Number::kTooLong:
        return Fail("too big mbulk count string");
    }
    if (count <= 0) {
      consumed_ = static_cast<size_t>(p - begin);
      return State::kRequest;
    }
    if (static_cast<uint64_t>(count) > limits.arguments_max) {
      return Fail(limits.authenticated ? "invalid multibulk length"
                                       : "unauthenticated multibulk length");
    }
    announced_ = static_cast<uint64_t>(count);
  }

  const uint64_t request_max =
      std::min<uint64_t>(limits.request_bytes_max, std::numeric_limits<uint32_t>::max());
  for (uint64_t left = announced_ - spans_.size(); left != 0; --left) {
    if (p == end) return Pause(begin, static_cast<size_t>(p - begin));
    if (*p != '$') return Fail(std::string("expected '$', got '") + *p + "'");
    const char* q = p + 1;
    int64_t size = 0;
    switch (ReadNumber(q, end, limits.inline_bytes_max, size)) {
      case Number::kOk:
        break;
      case Number::kNeedMore:
        return Pause(begin, static_cast<size_t>(p - begin));
      case Number::kInvalid:
        return Fail("invalid bulk length");
      case Number::kTooLong:
        return Fail("too big bulk count string");
    }
    // A negative size is a huge one here.
    if (static_cast<uint64_t>(size) > limits.bulk_bytes_max) {
      return Fail(limits.authenticated || size < 0 ? "invalid bulk length"
                                                   : "unauthenticated bulk length");
    }
    uint64_t needed = static_cast<uint64_t>(q - begin) + static_cast<uint64_t>(size) + 2;
    if (needed > request_max) return Fail("too big request");
    if (needed > input.size()) {
      wanted_ = needed;
      return Pause(begin, static_cast<size_t>(p - begin));
    }
    const char* tail = q + size;
    if (tail[0] != '\r' || tail[1] != '\n') return Fail("expected CR LF behind a bulk");
    arguments_.emplace_back(q, static_cast<size_t>(size));
    p = tail + 2;
  }
  if (in_request_) PrependSpans(begin);
  consumed_ = static_cast<size_t>(p - begin);
  return State::kRequest;
}

Parser::State Parser::Pause(const char* begin, size_t scanned) {
  spans_.reserve(spans_.size() + arguments_.size());
  for (std::string_view argument : arguments_) {
    spans_.push_back(
        {static_cast<uint32_t>(argument.data() - begin), static_cast<uint32_t>(argument.size())});
  }
  arguments_.clear();
  in_request_ = true;
  scanned_ = scanned;
  return State::kNeedMore;
}

void Parser::PrependSpans(const char* begin) {
  std::vector<std::string_view> all;
  all.reserve(announced_);  // that many have arrived: not a declared size
  for (Span span : spans_)
    all.emplace_back(begin + span.offset, span.size);
  all.insert(all.end(), arguments_.begin(), arguments_.end());
  arguments_ = std::move(all);
  Reset();
}

void Parser::Reset() {
  if (spans_.capacity() > kKeepArguments) std::vector<Span>().swap(spans_);
  spans_.clear();
  announced_ = 0;
  in_request_ = false;
  scanned_ = 0;
  wanted_ = 0;
}

Parser::State Parser::Fail(std::string_view text) {
  arguments_.clear();
  Reset();
  error_ = "ERR Protocol error: ";
  error_ += text;
  return State::kError;
}

Parser::State Parser::NextInline(std::string_view input, const Limits& limits) {
  if (input[0] == '\x16') {  // a TLS record "handshake", then the version's first byte
    if (input.size() < 2) return State::kNeedMore;
    if (input[1] == '\x03') {
      Reset();
      error_ = "ERR this port does not speak TLS; connect without TLS";
      return State::kError;
    }
  }
  const void* found = std::memchr(input.data() + scanned_, '\n', input.size() - scanned_);
  size_t line_size = found == nullptr
                         ? input.size()
                         : static_cast<size_t>(static_cast<const char*>(found) - input.data());
  // The byte before the newline may be the CR, which does not count.
  if (line_size > limits.inline_bytes_max + 1) return Fail("too big inline request");
  if (found == nullptr) {
    scanned_ = input.size();
    return State::kNeedMore;
  }
  scanned_ = 0;
  consumed_ = line_size + 1;
  if (line_size != 0 && input[line_size - 1] == '\r') --line_size;
  if (line_size > limits.inline_bytes_max) return Fail("too big inline request");
  return SplitInline(input.substr(0, line_size), limits);
}

// As Redis's sdssplitargs: words between spaces; "..." with escapes and '...' with \' may begin
// within a word and must end it.
Parser::State Parser::SplitInline(std::string_view line, const Limits& limits) {
  // Unquoting never makes text longer, so views into `unquoted_` stay valid while it grows.
  unquoted_.clear();
  if (line.find_first_of("\"'") != std::string_view::npos) unquoted_.reserve(line.size());
  size_t i = 0;
  while (true) {
    while (i < line.size() && IsSpace(line[i]))
      ++i;
    if (i == line.size()) break;
    if (arguments_.size() == limits.arguments_max) {
      return Fail(limits.authenticated ? "invalid multibulk length"
                                       : "unauthenticated multibulk length");
    }
    size_t begin = i;
    while (i < line.size() && !IsSpace(line[i]) && line[i] != '"' && line[i] != '\'')
      ++i;
    if (i == line.size() || IsSpace(line[i])) {
      arguments_.push_back(line.substr(begin, i - begin));
      continue;
    }
    size_t from = unquoted_.size();
    unquoted_.append(line.substr(begin, i - begin));
    if (!Unquote(line, i, unquoted_)) return Fail("unbalanced quotes in request");
    arguments_.emplace_back(unquoted_.data() + from, unquoted_.size() - from);
  }
  if (!arguments_.empty() && IsHttp(arguments_)) {
    arguments_.clear();
    error_ = "ERR this port speaks the Redis protocol, not HTTP; use the HTTP port";
    return State::kError;
  }
  return State::kRequest;
}

}  // namespace polyarch::resp
