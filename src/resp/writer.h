// Writes RESP2 or RESP3 replies into a Buffer. Types that RESP2 lacks fall back as Redis does: a
// map is a flat array, a set and a push an array, null the null bulk or null array, a double a
// bulk, a boolean :1/:0, a big or verbatim string a bulk. Aggregates are announced with their exact
// count and not nested by the writer: the caller writes that many elements behind it.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/number.h"
#include "resp/buffer.h"

namespace polyarch::resp {

inline constexpr size_t kDoubleCharsMax = 32;
// Writes a double as "%.17g" does (Redis 7.0; 7.2 writes the shortest form that reads back as the
// same); inf, -inf, nan. Returns the count of characters, at most kDoubleCharsMax.
size_t FormatDouble(double value, char* buffer);

class Writer {
 public:
  Writer(Buffer& out, int protocol) : out_(out), resp3_(protocol >= 3) {}

  void Ok() { out_.Append("+OK\r\n"); }
  void Simple(std::string_view text);
  // `text` with its prefix and without the dash: "ERR no such key", "WRONGTYPE ...". CR and LF
  // within are replaced by spaces.
  void Error(std::string_view text);
  void Integer(int64_t value) {
    char* begin = out_.Reserve(kHeaderBytesMax);
    *begin = ':';
    out_.Advance(static_cast<size_t>(EndLine(PutNumber(begin + 1, value)) - begin));
  }
  void Bulk(std::string_view bytes) {
    if (out_.overflowed()) [[unlikely]]
      return;  // a long reply of large values would still cost the time to copy them
    char* begin = out_.Reserve(kHeaderBytesMax + bytes.size() + 2);
    *begin = '$';
    char* p = EndLine(PutNumber(begin + 1, static_cast<int64_t>(bytes.size())));
    if (!bytes.empty()) std::memcpy(p, bytes.data(), bytes.size());
    out_.Advance(static_cast<size_t>(EndLine(p + bytes.size()) - begin));
  }
  void BulkInteger(int64_t value);  // an integer as a bulk string
  void Null() { out_.Append(resp3_ ? "_\r\n" : "$-1\r\n"); }
  void NullArray() { out_.Append(resp3_ ? "_\r\n" : "*-1\r\n"); }
  void Array(size_t count) { Header('*', count); }
  void Map(size_t pairs) {  // the caller writes 2 * pairs elements
    resp3_ ? Header('%', pairs) : Header('*', 2 * pairs);
  }
  void Set(size_t count) { Header(resp3_ ? '~' : '*', count); }
  void Push(size_t count) { Header(resp3_ ? '>' : '*', count); }
  void Double(double value);
  void Boolean(bool value) {
    out_.Append(resp3_ ? (value ? "#t\r\n" : "#f\r\n") : (value ? ":1\r\n" : ":0\r\n"));
  }
  // In RESP3 with its format (three characters), a bulk in RESP2.
  void Verbatim(std::string_view text, std::string_view format = "txt");
  void BigNumber(std::string_view digits);  // a bulk in RESP2
  void EmptyArray() { Array(0); }

  bool resp3() const { return resp3_; }
  Buffer& out() { return out_; }

 private:
  static constexpr size_t kHeaderBytesMax = 1 + base::kInt64CharsMax + 2;

  static char* PutNumber(char* p, int64_t value) {
    // Most counts, sizes and small answers are one digit.
    if (static_cast<uint64_t>(value) < 10) {
      *p = static_cast<char>('0' + value);
      return p + 1;
    }
    return p + base::FormatInt64(value, p);
  }
  static char* EndLine(char* p) {
    p[0] = '\r';
    p[1] = '\n';
    return p + 2;
  }
  void Header(char type, uint64_t count) {
    char* begin = out_.Reserve(kHeaderBytesMax);
    *begin = type;
    out_.Advance(
        static_cast<size_t>(EndLine(PutNumber(begin + 1, static_cast<int64_t>(count))) - begin));
  }

  Buffer& out_;
  bool resp3_;
};

}  // namespace polyarch::resp
