// The command table: metadata as data (arity, flags, key positions, ACL categories, documentation), one
// row a command; subcommands of containers are rows too. Families register explicitly (families.h).
// Lookup is by name in any case, through a table built once; it allocates nothing.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "command/context.h"

namespace polyarch::command {

enum Flag : uint32_t {
  kWrite = 1 << 0,
  kReadonly = 1 << 1,
  kDenyOom = 1 << 2,
  kAdmin = 1 << 3,
  kNoScript = 1 << 4,
  kFast = 1 << 5,
  kLoading = 1 << 6,
  kStale = 1 << 7,
  kNoAuth = 1 << 8,       // allowed before AUTH
  kBlocking = 1 << 9,
  kWholeKeyspace = 1 << 10,  // looks at keys it does not name: KEYS, SCAN, DBSIZE, RANDOMKEY, FLUSH*
  kAllowBusy = 1 << 11,
  kMovableKeys = 1 << 12,
};

// Positions of keys as in COMMAND INFO: first, last (negative: from the end), step; 0 0 0: none.
struct KeyPositions {
  int first = 0;
  int last = 0;
  int step = 0;
};

struct Row {
  std::string_view name;       // lower case: "set"; a subcommand: "config|get"
  int arity = 0;               // exact count, or minus the least count; name included (container too)
  uint32_t flags = 0;
  KeyPositions keys;
  std::string_view categories; // "@write @string @slow"
  Handler handler = nullptr;
  std::string_view summary;    // our own words, one line
  std::string_view since;      // "1.0.0" as in Redis; "polyarch 0.1.0" for our own
  std::string_view group;      // "string", "generic", "connection", "server", "polyarch"
  std::string_view complexity;
  // Arguments for COMMAND DOCS, in a small notation read once at start; see docs.h.
  std::string_view syntax;
};

class Table {
 public:
  // All families; built once, immutable afterwards.
  static const Table& Instance();

  // The row of a command, or of the subcommand if `args[0]` is a container and args[1] names one.
  // nullptr if there is none (`container` tells whether args[0] is a known container).
  const Row* Find(Arguments args, bool* container = nullptr) const;
  const Row* FindName(std::string_view name) const;  // "config|get" or "set"
  std::span<const Row> rows() const { return rows_; }
  // Top-level rows only, and the subcommands of one.
  std::vector<const Row*> Commands() const;
  std::vector<const Row*> Subcommands(std::string_view container) const;

 private:
  Table();
  std::vector<Row> rows_;
  std::vector<uint16_t> slots_;  // open addressing over lower-case names
};

// The indices in `args` of the keys of a command.
void KeyIndices(const Row& row, Arguments args, std::vector<size_t>& out);

// Looks the command up, checks authentication, arity and WriteAllowed, and runs its handler. Gives the
// error replies of Redis 7.0 for what is wrong ("ERR unknown command 'x', with args beginning with: ",
// "ERR wrong number of arguments for 'x' command", "NOAUTH Authentication required."). Returns the row
// that ran, or nullptr.
const Row* Dispatch(Context& context);

}  // namespace polyarch::command
