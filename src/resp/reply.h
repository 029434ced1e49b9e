// Reads replies (RESP2 and RESP3) into values: the client's side, for tools and tests. Incremental:
// bytes may arrive split anywhere. Replies of a server are foreign bytes too: sizes are bounded,
// depth is bounded, nothing is allocated by a declared size, and after an error the reader stays
// there.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace polyarch::resp {

struct Value {
  enum class Type : uint8_t {
    kNull,
    kSimple,
    kError,
    kInteger,
    kBulk,
    kArray,
    kMap,  // items: key, value, key, value, ...
    kSet,
    kPush,
    kDouble,
    kBoolean,
    kBigNumber,
    kVerbatim,  // text without its "txt:"
  };

  Type type = Type::kNull;
  int64_t integer = 0;  // kInteger; kBoolean: 0 or 1
  double number = 0;    // kDouble
  std::string text;     // kSimple, kError (with its prefix), kBulk, kBigNumber, kVerbatim
  std::vector<Value> items;

  bool is_null() const { return type == Type::kNull; }
  bool is_error() const { return type == Type::kError; }

  // One line for people and expectations: "OK" as +OK, errors as -ERR ..., 5, "bulk" in quotes,
  // null, [1, 2], {"k": 1}, ~[...] for sets, >[...] for pushes, 1.5, true.
  std::string ToString() const;
};

class ReplyReader {
 public:
  enum class State { kNeedMore, kValue, kError };
  static constexpr size_t kDepthMax = 64;
  static constexpr uint64_t kBytesMax = 1ULL << 30;  // of one bulk; and items of one aggregate

  // Adds bytes as they came from the socket.
  void Feed(std::string_view bytes);
  // kValue: `value()` is the next reply (to be moved out, if wanted). Attributes are skipped.
  State Next();
  Value& value() { return value_; }
  const std::string& error() const { return error_; }

 private:
  struct Level {
    Value value;
    uint64_t missing = 0;    // items still to come
    bool attribute = false;  // to be thrown away when complete
  };

  State Fail(std::string text);
  // Reads one item, or the head of an aggregate, at `at_`.
  State ReadOne();
  State ReadHead(char type, std::string_view line);
  State ReadText(char type, uint64_t size);
  // Puts a complete value where it belongs; kValue if that completes the outermost one.
  State Deliver(Value value);

  std::string bytes_;
  size_t at_ = 0;       // what has been read
  size_t scanned_ = 0;  // how far an incomplete line has been searched for its end
  std::vector<Level> levels_;
  Value value_;
  std::string error_;
};

// Appends a request as clients send it: an array of bulks.
void AppendRequest(std::string& out, std::span<const std::string_view> arguments);
void AppendRequest(std::string& out, std::initializer_list<std::string_view> arguments);

}  // namespace polyarch::resp
