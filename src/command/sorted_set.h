// What the commands on sorted sets share, those of places (geo.cc) included. Whatever returns false
// (or nothing) has given the error reply.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "command/collection.h"
#include "command/context.h"
#include "command/table.h"

namespace polyarch::command {

inline constexpr crdt::Type kSortedSet = crdt::Type::kSortedSet;

// A member that outlives the entry it was read from.
struct ScoredName {
  std::string name;
  double score = 0;
};

// A member among the arguments.
struct ScoredArgument {
  std::string_view name;
  double score = 0;
};

struct AddOptions {
  bool if_missing = false;  // NX
  bool if_exists = false;   // XX
  bool if_greater = false;  // GT
  bool if_less = false;     // LT
  bool changed = false;     // CH: counts changed members, too
  bool increment = false;   // INCR
};

// A score, weight or coordinate as Redis reads it: what strtod takes, infinities too, but not NaN.
std::optional<double> ReadDouble(Context& c,
                                 std::string_view text,
                                 std::string_view error = kNotFloat);
// ReadDouble without a reply.
std::optional<double> ParseDouble(std::string_view text);

// ZADD to the key args[1], whatever the command: checks the key, names and sizes, writes, and
// replies.
void AddMembers(Context& c, const AddOptions& options, std::span<const ScoredArgument> members);

// Replaces whatever `target` holds by `members`; by nothing if there are none.
bool StoreMembers(Context& c, const keyspace::KeyRef& target, std::span<const ScoredName> members);

// Does the removal of these members, which stand in `zset`, fit into a change?
bool FitsRemoval(Context& c,
                 const keyspace::KeyRef& ref,
                 const keyspace::Collection& zset,
                 std::span<const ScoredName> members);
void RemoveMembers(Context& c, const keyspace::KeyRef& ref, std::span<const ScoredName> members);

// Announces so many members; with scores each is two replies, which RESP3 puts into an array.
void ReplyMemberCount(Context& c, size_t count, bool with_scores);
void ReplyMember(Context& c, std::string_view name, double score, bool with_scores);

// ZMPOP's arguments from `numkeys` on; nothing if the error has been given.
struct ScorePop {
  Arguments keys;
  bool highest = false;
  size_t count = 1;
  bool flat = false;  // of one member: key, name and score in one array
};
std::optional<ScorePop> ReadScorePop(Context& c, size_t numkeys);
// From the first of the sorted sets that has members; false, and no reply: there is none.
bool PopFirst(Context& c, const ScorePop& pop);

// Rows of the parts of the family, which AddSortedSetFamily adds.
void AddSortedSetPopRows(std::vector<Row>& rows);      // sorted_set_pop.cc
void AddSortedSetBlockRows(std::vector<Row>& rows);    // sorted_set_block.cc
void AddSortedSetRangeRows(std::vector<Row>& rows);    // sorted_set_range.cc
void AddSortedSetCombineRows(std::vector<Row>& rows);  // sorted_set_combine.cc

}  // namespace polyarch::command
