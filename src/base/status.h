// Expected failures. Status says whether something worked and, if not, what kind of failure it was
// (the code, chosen by what the caller does next) and why, in words for a person. Result<T> is a
// value or a Status. Both are nodiscard: an ignored failure does not compile.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "base/check.h"

namespace polyarch::base {

enum class Code : unsigned char {
  kOk,
  kInvalid,       // the input is malformed or out of range: tell who sent it
  kNotFound,      // there is no such thing
  kCorrupt,       // stored or received bytes fail their checksum: stop, never guess
  kIo,            // the environment failed: stop the write path
  kFull,          // no space: refuse client writes, keep the rest going
  kIncompatible,  // a newer format, another cluster: do not touch
  kBusy,          // try again later
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}
  static Status Ok() { return {}; }

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

  // "corrupt: segment 3 ..." for logs and start-up errors.
  std::string ToString() const;

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

inline Status Invalid(std::string m) {
  return {Code::kInvalid, std::move(m)};
}
inline Status NotFound(std::string m) {
  return {Code::kNotFound, std::move(m)};
}
inline Status Corrupt(std::string m) {
  return {Code::kCorrupt, std::move(m)};
}
inline Status IoError(std::string m) {
  return {Code::kIo, std::move(m)};
}

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT: a value is a result
  Result(Status status) : status_(std::move(status)) { CHECK(!status_.ok()); }  // NOLINT

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() {
    CHECK(ok());
    return *value_;
  }
  const T& value() const {
    CHECK(ok());
    return *value_;
  }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace polyarch::base
