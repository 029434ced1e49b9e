// Reads requests: arrays of bulk strings, and inline commands. Incremental: bytes may arrive split
// anywhere. Nothing is allocated by a declared size; a declared size beyond the limits is an error at
// once. Errors are final: the connection gets the text and is closed (as Redis does).
//
// The parser keeps no bytes: it is given all bytes not yet consumed, and gives back views into them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace polyarch::resp {

struct Limits {
  uint64_t bulk_bytes_max = 64ULL << 20;
  uint64_t arguments_max = 1 << 20;
  uint64_t inline_bytes_max = 64 << 10;
  uint64_t request_bytes_max = 1ULL << 30;  // all bytes of one request
};

// Before authentication: 8 arguments of 4 KiB, 16 KiB in all.
inline constexpr Limits kPreAuthLimits{4096, 8, 4096, 16 << 10};

class Parser {
 public:
  enum class State { kNeedMore, kRequest, kError };

  // Looks for one request at the beginning of `input`. kRequest: `arguments()` are views into `input`
  // (or into the parser, for quoted inline arguments) and `consumed()` bytes belong to it; an empty
  // argument list (blank line, *0) is to be skipped. kNeedMore: call again with at least one more
  // byte; what has been scanned is remembered (no quadratic re-scan of a large request). kError:
  // `error()` is the line to send, without the dash.
  State Next(std::string_view input, const Limits& limits);

  const std::vector<std::string_view>& arguments() const { return arguments_; }
  size_t consumed() const { return consumed_; }
  const std::string& error() const { return error_; }
  // How many bytes the request under way needs at least (0: unknown): for sizing the read buffer.
  size_t wanted() const { return wanted_; }

 private:
  State Fail(std::string text);
  State NextInline(std::string_view input, const Limits& limits);
  void Reset();

  std::vector<std::string_view> arguments_;
  std::vector<std::pair<size_t, size_t>> spans_;  // offset, size of the arguments scanned so far
  std::vector<std::string> unquoted_;
  uint64_t announced_ = 0;   // arguments of the request under way
  bool in_request_ = false;
  size_t scanned_ = 0;
  size_t consumed_ = 0;
  size_t wanted_ = 0;
  std::string error_;
};

}  // namespace polyarch::resp
