// Reads requests: arrays of bulk strings, and inline commands. Incremental: bytes may arrive split
// anywhere, and the outcome does not depend on where. Nothing is allocated by a declared size; a
// declared size beyond the limits is an error at once. Errors are final: the connection gets the
// text and is closed (as Redis does).
//
// The parser keeps no bytes: it is given all bytes not yet consumed, and gives back views into
// them. Between two requests it holds no state, so one parser may serve many connections in turn;
// while a request is under way (`idle()` is false) it belongs to that connection.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace polyarch::resp {

struct Limits {
  uint64_t bulk_bytes_max = 64ULL << 20;
  uint64_t arguments_max = 1 << 20;
  uint64_t inline_bytes_max = 64 << 10;     // one line, without its end; that of a size, too
  uint64_t request_bytes_max = 1ULL << 30;  // all bytes of one request; at most 4 GiB - 1
  bool authenticated = true;  // false: error texts say that the limit is the early one
};

// Before authentication: 8 arguments of 4 KiB, 16 KiB in all.
inline constexpr Limits kPreAuthLimits{4096, 8, 4096, 16 << 10, false};

class Parser {
 public:
  enum class State { kNeedMore, kRequest, kError };

  // Looks for one request at the beginning of `input`. kRequest: `arguments()` are views into
  // `input` (or into the parser, for quoted inline arguments; valid until the next call) and
  // `consumed()` bytes belong to it; an empty argument list (blank line, *0, *-1) is to be skipped.
  // kNeedMore: call again with the same bytes, wherever they lie now, and at least one more; what
  // has been scanned is remembered (no quadratic re-scan of a large request). kError: `error()` is
  // the line to send, without the dash.
  State Next(std::string_view input, const Limits& limits);

  const std::vector<std::string_view>& arguments() const { return arguments_; }
  size_t consumed() const { return consumed_; }
  const std::string& error() const { return error_; }
  // How many bytes the request under way needs at least (0: unknown): for sizing the read buffer.
  size_t wanted() const { return wanted_; }
  // No request is under way: the parser remembers nothing of the input.
  bool idle() const { return !in_request_ && scanned_ == 0; }
  // Forgets a request under way.
  void Reset();

 private:
  struct Span {
    uint32_t offset;
    uint32_t size;
  };

  State Fail(std::string_view text);
  State NextInline(std::string_view input, const Limits& limits);
  State SplitInline(std::string_view line, const Limits& limits);
  // Remembers the arguments found so far and that `scanned` bytes need not be looked at again.
  State Pause(const char* begin, size_t scanned);
  void PrependSpans(const char* begin);

  std::vector<std::string_view> arguments_;
  std::vector<Span> spans_;  // arguments found by earlier calls on the request under way
  std::string unquoted_;     // the bytes of inline arguments that were quoted
  uint64_t announced_ = 0;   // arguments of the request under way
  bool in_request_ = false;  // its first line has been read
  size_t scanned_ = 0;
  size_t consumed_ = 0;
  size_t wanted_ = 0;
  std::string error_;
};

}  // namespace polyarch::resp
