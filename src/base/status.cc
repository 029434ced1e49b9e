#include "base/status.h"

namespace polyarch::base {

std::string Status::ToString() const {
  switch (code_) {
    case Code::kOk:
      return "ok";
    case Code::kInvalid:
      return "invalid: " + message_;
    case Code::kNotFound:
      return "not found: " + message_;
    case Code::kCorrupt:
      return "corrupt: " + message_;
    case Code::kIo:
      return "input/output: " + message_;
    case Code::kFull:
      return "no space: " + message_;
    case Code::kIncompatible:
      return "incompatible: " + message_;
    case Code::kBusy:
      return "busy: " + message_;
  }
  return message_;
}

}  // namespace polyarch::base
