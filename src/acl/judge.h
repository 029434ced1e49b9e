// May this user make this request? Values in, a verdict out.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "acl/user.h"

namespace polyarch::acl {

// A key among the arguments, and what is done to it; neither: it is only looked at (EXISTS, TTL).
struct KeyUse {
  size_t argument = 0;
  std::string_view key;
  bool read = false;
  bool write = false;
};

struct ChannelUse {
  size_t argument = 0;
  std::string_view channel;
  bool is_pattern = false;
};

struct Request {
  CommandId command = 0;
  bool for_all = false;  // everybody may run it (AUTH); its keys are judged all the same
  std::string_view first_argument;
  bool has_argument = false;
  std::span<const KeyUse> keys;
  std::span<const ChannelUse> channels;
  // It reads or writes keys that it does not name.
  bool reads_any = false;
  bool writes_any = false;
};

enum class Denied : uint8_t { kNothing, kCommand, kKey, kChannel };  // a later one is nearer to being allowed

struct Verdict {
  Denied denied = Denied::kNothing;
  size_t argument = 0;  // the key or channel; 0: a key that it does not name

  bool allowed() const { return denied == Denied::kNothing; }
};

// What one of its selectors allows is allowed. Else what the selector says that allowed most.
Verdict Judge(const User& user, const Request& request);

}  // namespace polyarch::acl
