// The command table: metadata as data (arity, flags, key positions, ACL categories, documentation),
// one row a command; subcommands of containers are rows too. Families register explicitly
// (families.h). Lookup is by name in any case, through a table built once; it allocates nothing.
// Rows never move, so whoever counts calls may do it by a row's place in rows().
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
  kNoAuth = 1 << 8,  // allowed before AUTH
  kBlocking = 1 << 9,
  kWholeKeyspace =
      1 << 10,  // looks at keys it does not name: KEYS, SCAN, DBSIZE, RANDOMKEY, FLUSH*
  kAllowBusy = 1 << 11,
  kMovableKeys = 1 << 12,
  kNoAsyncLoading = 1 << 13,
  kNoMulti = 1 << 14,
  kSkipSlowlog = 1 << 15,
  kPubsub = 1 << 16,
  kSkipMonitor = 1 << 17,
  kNoMandatoryKeys = 1 << 18,
  kRunsScript = 1 << 19,  // may read and write anything, whatever its own arguments say
  kReadsByPattern = 1 << 20,  // may read keys that are no arguments (SORT BY, GET)
  kReadsAnyValue = 1 << 21,   // shows values of keys that it does not name (CONFLICT LOG)
  kWritesAnyKey = 1 << 22,    // writes keys that it does not name (CONFLICT RESTORE)
  kLooksUp = 1 << 23,         // what it looks up counts (the table sets it)
  kUsesNot = 1 << 24,         // it looks at keys without using them: `maxmemory` (the table sets it)
};

// An option with values; of one that is there twice the last counts.
struct OptionWord {
  std::string_view word;  // in lower case
  int values = 1;         // so many arguments behind it
  bool names_key = false;  // the first of them is a key
};

// Positions of keys as in COMMAND INFO: first, last (negative: from the end), step; 0 0 0: none at fixed
// places. Beside those, or instead: `numkeys` is the place of an argument that tells how many keys
// follow it (0: none), `options` are the words that may stand from the argument `options_from` on and have values,
// among them keys (STORE), `halves` a word behind which the first half of all arguments are keys ("streams"), to be
// found from the argument `halves_from` on.
struct KeyPositions {
  int first = 0;
  int last = 0;
  int step = 0;
  int numkeys = 0;
  std::span<const OptionWord> options = {};
  int options_from = 0;
  std::string_view halves = {};
  int halves_from = 0;

  bool any() const { return first > 0 || numkeys > 0 || !options.empty() || !halves.empty(); }
};

struct Row {
  std::string_view name;  // lower case: "set"; a subcommand: "config|get"
  int arity = 0;          // exact count, or minus the least count; name included (container too)
  uint32_t flags = 0;
  KeyPositions keys;
  std::string_view categories;  // "@write @string @slow"
  Handler handler = nullptr;
  std::string_view summary;  // our own words, one line
  std::string_view since;    // "1.0.0" as in Redis; "polyarch 0.1.0" for our own
  std::string_view group;    // "string", "generic", "connection", "server", "polyarch"
  std::string_view complexity;
  // Arguments for COMMAND DOCS, in a small notation; see docs.h.
  std::string_view syntax;
  // How the keys are used, as in COMMAND INFO's key specifications: "RW access update". Two parts
  // with
  // '|' between them: the first and the second key are used differently.
  std::string_view key_access;
  std::string_view tips;              // "request_policy:all_shards nondeterministic_output"
  std::string_view deprecated_since;  // "2.0.0", or empty
  std::string_view replaced_by;
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
  // A name of up to 32 bytes, lower case, padded with zeros: compared and hashed as four words.
  static constexpr size_t kNameBytesMax = 32;
  static constexpr uint16_t kNone = 0xffff;
  struct Name {
    uint64_t words[4] = {0, 0, 0, 0};
    uint32_t size = 0;
    uint16_t parent = kNone;  // the container's row, for a subcommand
    friend bool operator==(const Name&, const Name&) = default;
  };
  struct Slot {
    Name name;
    uint16_t row = kNone;
    bool container = false;
  };

  Table();
  static Name Pack(std::string_view name, uint16_t parent);
  size_t Home(const Name& name) const;
  const Slot* FindSlot(std::string_view name, uint16_t parent) const;
  const Slot* FindNamed(std::string_view name) const;  // "conflict|feed|read"
  void Insert(std::string_view name, uint16_t parent, uint16_t row);

  static constexpr std::ptrdiff_t kDepthMax = 2;  // bars in a name: containers within containers

  std::vector<Row> rows_;
  std::vector<Slot> slots_;  // open addressing, a power of two, at most a quarter full
  size_t mask_ = 0;
};

// The indices in `args` of the keys of a command. False: the arguments do not say which all of them are, which is
// an error of the command's.
bool KeyIndices(const Row& row, Arguments args, std::vector<size_t>& out);

// All that is checked before a command may write: WriteAllowed, the sizes of its keys and of it all. False:
// the error was given.
bool AllowWrite(Context& c, const Row& row);

// Writes, or what Redis may replicate though it does not change keys: it waits while writes are paused, and is not
// for scripts that only read.
bool MayReplicate(const Row& row);

// Does CLIENT PAUSE concern this request? (client_pause.cc)
bool MayPause(
    const Client& client, const Scripts& scripts, Arguments args, const Row& row, bool writes_only);

// The client tracks keys, and has run this: the keys that it has read count (client_tracking.cc).
void TrackRead(Context& c, const Row& row);
// The keys that the request names, whatever it did with them.
void TrackDeclared(Context& c);

// Runs the handler. The keys that it looks up for reading count (INFO's keyspace_hits and keyspace_misses), but for who
// has waited: they counted before. And they are used, if anybody wants to know that.
inline void RunHandler(Context& c, const Row& row) {
  c.keys.CountLookups((row.flags & kLooksUp) != 0 && c.ready == nullptr);
  c.keys.CountUses((row.flags & kUsesNot) == 0);
  row.handler(c);
  c.keys.CountUses(false);
  c.keys.CountLookups(false);
}

// Looks the command up, checks authentication, rights (rights.h), arity, key sizes and WriteAllowed, and runs its
// handler; does what CLIENT REPLY asked. Gives the error replies of Redis 7.0 for what is wrong
// ("ERR unknown command 'x', with args beginning with: ", "ERR wrong number of arguments for 'x'
// command", "NOAUTH Authentication required."). Returns the row that ran, or nullptr.
const Row* Dispatch(Context& context);

}  // namespace polyarch::command
