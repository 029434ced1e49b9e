// The token of CONFLICT GET: exactly which versions, and which totals of counters, its reader saw
// of one key, or of one field of a hash. CONFLICT RESOLVE replaces those and nothing else. It names global origins, so it may
// be used at any leader, and it is foreign bytes when it comes back.
//
// Text: the hexadecimal digits of
//   format (1 byte), hash of database, key and field (8), versions, clears, CRC-32C of all that (4)
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "clock/origin.h"
#include "crdt/effect.h"
#include "crdt/key_state.h"

namespace polyarch::command {

struct Token {
  struct Version {
    clock::Origin origin;
    uint64_t sequence = 0;
    friend bool operator==(const Version&, const Version&) = default;
  };
  struct Clear {
    clock::Origin origin;
    crdt::At life;
    crdt::At at;
    crdt::Number total;
    friend bool operator==(const Clear&, const Clear&) = default;
  };
  std::vector<Version> versions;  // in canonical order
  std::vector<Clear> clears;

  friend bool operator==(const Token&, const Token&) = default;
};

// What `state` shows, in global terms.
Token MakeToken(const crdt::Register& state, const clock::OriginTable& origins);

// What a token is of. Without a field: the key's own register.
struct TokenPlace {
  uint8_t db = 0;
  std::string_view key;
  std::optional<std::string_view> field = {};
};

std::string EncodeToken(const Token& token, const TokenPlace& place);
// kInvalid, with a line for the user, if this is no token or that of another key or field.
base::Result<Token> DecodeToken(std::string_view text, const TokenPlace& place);

}  // namespace polyarch::command
