// Writes RESP2 or RESP3 replies into a Buffer. Types that RESP2 lacks fall back as Redis does: a map
// is a flat array, a set an array, null the null bulk or null array, a double a bulk, a boolean :1/:0,
// a big or verbatim string a bulk. Aggregates are announced with their exact count and not nested by
// the writer: the caller writes that many elements behind it.
#pragma once

#include <cstdint>
#include <string_view>

#include "resp/buffer.h"

namespace polyarch::resp {

class Writer {
 public:
  Writer(Buffer& out, int protocol) : out_(out), resp3_(protocol >= 3) {}

  void Ok() { out_.Append("+OK\r\n"); }
  void Simple(std::string_view text);
  // `text` with its prefix and without the dash: "ERR no such key", "WRONGTYPE ...". CR and LF within
  // are replaced by spaces.
  void Error(std::string_view text);
  void Integer(int64_t value);
  void Bulk(std::string_view bytes);
  void BulkInteger(int64_t value);   // an integer as a bulk string
  void Null();                       // $-1 or _
  void NullArray();                  // *-1 or _
  void Array(size_t count);
  void Map(size_t pairs);            // the caller writes 2 * pairs elements
  void Set(size_t count);
  void Push(size_t count);
  void Double(double value);
  void Boolean(bool value);
  void Verbatim(std::string_view text);  // txt: in RESP3, bulk in RESP2
  void EmptyArray() { Array(0); }

  bool resp3() const { return resp3_; }
  Buffer& out() { return out_; }

 private:
  void Header(char type, uint64_t count);

  Buffer& out_;
  bool resp3_;
};

}  // namespace polyarch::resp
