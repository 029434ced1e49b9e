// Ranges of sorted sets: by rank, by score, by name. Every range is a run of neighbouring members,
// so each command finds the run first and then reads, counts, stores or removes it.
#pragma once

#include <cstdint>
#include <string_view>

#include "command/sorted_set.h"

namespace polyarch::command {

enum class RangeBy : uint8_t { kAuto, kRank, kScore, kName };

struct ScoreBound {
  double score = 0;
  bool exclusive = false;
};

// A bound of names: "-" and "+" lie below and above all names.
struct NameBound {
  enum class Kind : uint8_t { kLowest, kName, kHighest };
  Kind kind = Kind::kLowest;
  std::string_view name;
  bool exclusive = false;
};

struct MemberRange {
  RangeBy by = RangeBy::kRank;
  bool reverse = false;
  int64_t start = 0;  // ranks, from the end if negative
  int64_t stop = 0;
  ScoreBound min_score;
  ScoreBound max_score;
  NameBound min_name;
  NameBound max_name;
  bool with_scores = false;
  int64_t offset = 0;
  int64_t limit = -1;
};

// Members by rank, from the lowest score on.
struct MemberRun {
  size_t first = 0;
  size_t count = 0;
};

// Reads the bounds args[at] and args[at + 1], in the order that a reverse range by score or name
// gives them; by and reverse are set. False if the error reply has been given.
bool ReadBounds(Context& c, size_t at, MemberRange& range);

// What the range and its limit leave.
MemberRun FindRun(const keyspace::Collection& zset, const MemberRange& range);

// Visits the members of a run, upwards or downwards.
void WalkRun(const keyspace::Collection& zset,
             const MemberRun& run,
             bool reverse,
             base::FunctionRef<void(const keyspace::RankedElement&)> visit);

}  // namespace polyarch::command
