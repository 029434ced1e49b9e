// What the subcommands of `polyarch conflicts` share: versions as the server tells them, and how
// they are shown.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/connection.h"
#include "resp/reply.h"

namespace polyarch::cli {

struct ShownVersion {
  bool deleted = false;
  std::string value;  // of an entry of a stream: its fields and values, with spaces between
  std::string leader;
  int64_t time_ms = 0;
  std::string tag;
};
// [value, leader, unix-ms, tag], or a map of them.
ShownVersion VersionOf(const resp::Value& value);
// In one line.
std::string VersionLine(const ShownVersion& version);
std::string When(int64_t ms);  // "2026-11-29 15:04:05Z"

// The reply to CONFLICT GET.
struct ShownConflict {
  std::string token;
  std::vector<ShownVersion> versions;
};
ShownConflict ConflictOf(const resp::Value& reply);

// Beside each other; `numbered`: with "[1]", "[2]" above, to choose from.
std::vector<std::string> ConflictLines(const std::vector<ShownVersion>& versions, bool numbered);

// Where a conflict is.
struct ConflictPlace {
  std::string key;
  std::string field;  // of an element
  std::string type;   // "string": of the key itself; empty: the key has several types

  bool of_element() const { return !type.empty() && type != "string"; }
};
std::string PlaceText(const ConflictPlace& place);
// The reply to CONFLICT LIST ... FIELDS.
std::vector<ConflictPlace> PlacesOf(const resp::Value& reply);
// The same as maps of key, field (null: of the key itself) and type (null: several).
resp::Value PlacesValue(const resp::Value& reply);

// Asks, on standard input, what each conflict is to become; the exit code.
int ResolveByHand(Connection& connection, const std::vector<ConflictPlace>& places);

}  // namespace polyarch::cli
