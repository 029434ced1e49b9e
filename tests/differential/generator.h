// Draws commands of all families: few keys and values, so that they meet, and what is wrong in many ways. What would
// make the two servers' states differ by a documented deviation is not drawn (docs/compatibility.md):
//
// - Floats are sums of quarters: a leader keeps digits that Redis rounds away at each INCRBYFLOAT.
// - Of SPOP only the number is compared, and the set is deleted after it.
// - Ranges by name are asked of sorted sets whose scores are all 0, as Redis's documentation asks.
// - HyperLogLogs are written by their own commands only: of a broken one Redis decodes what is not there.
// - XSETID goes forward only, and XCLAIM has no LASTID: a group here is given entries whose ids it has passed, if it was not given them.
// - XREADGROUP behind the greatest id: Redis goes on from the least one.
// - PFCOUNT of one key writes in Redis, and so changes what GET shows.
#pragma once

#include <deque>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "sim/draw.h"
#include "tests/differential/equal.h"

namespace polyarch::differential {

class Generator {
 public:
  explicit Generator(uint64_t seed);
  Words Next();
  // Any key but those whose contents are restricted (see above).
  std::string AnyKey();

 private:
  using Maker = Words (Generator::*)();

  // ---- parts
  uint64_t Below(uint64_t bound) { return draw_.Below(bound); }
  int64_t Between(int64_t low, int64_t high) { return draw_.Between(low, high); }
  bool Percent(unsigned chance) { return draw_.Percent(chance); }
  std::string Of(std::initializer_list<const char*> words);
  Words OneOf(std::initializer_list<Words> forms);
  std::string Key();     // mostly of strings
  std::string Of(const char* prefix, int count);  // mostly one of a family's keys
  std::string Int();     // small, large, and at the edges
  std::string Count();   // small; now and then no number
  std::string Index();
  std::string Value();
  std::string NumberText();
  std::string Quarter();  // a float that is a sum of quarters
  std::string ScanCursor();  // one that ends the walk, or none
  std::string Score();
  std::string ScoreEnd();
  std::string NameEnd();
  std::string Case(const std::string& word);
  Words TtlOption();
  Words Many(size_t least, size_t most, std::string (Generator::*make)());
  std::string Member();
  std::string Field();
  std::string HashKey() { return Of("h", 3); }
  std::string SetKey() { return Of("s", 4); }
  std::string SortedKey() { return Of("z", 4); }
  std::string ListKey() { return Of("l", 3); }
  std::string GeoKey() { return Percent(5) ? "f0" : Percent(50) ? "g1" : "g2"; }  // scores are places
  std::string SketchKey() { return Of("p", 4); }

  // ---- families
  Words Strings();
  Words SetOptions();
  Words Counters();
  Words Texts();
  Words Floats();
  Words Expiries();
  Words ManyKeys();
  Words Keys();
  Words KeyPlaces();
  Words Renames();
  Words Wrong();
  Words Databases();
  Words Lists();
  Words ListMoves();
  Words Hashes();
  Words Sets();
  Words SetAlgebra();
  Words SortedSets();
  Words SortedRanges();
  Words SortedAlgebra();
  Words SortedNames();
  Words Geo();
  Words GeoSearch();
  Words Bits();
  std::string BitOffset();
  Words BitRange();
  Words BitFields();
  Words Sketches();
  Words Sort();
  Words Streams();
  Words StreamGroups();
  std::string StreamKey() { return Of("x", 3); }
  std::string Group() { return Of({"g1", "g2", "g3"}); }
  std::string StreamId();
  std::string RangeEnd();
  Words Trim();

  sim::Draw draw_;
  std::vector<std::pair<unsigned, Maker>> makers_;
  std::vector<unsigned> weights_;
  std::deque<Words> next_;
  uint64_t next_id_ = 0;  // of the streams
};

// Appends.
Words& operator+=(Words& words, const Words& more);
Words operator+(Words words, const Words& more);

}  // namespace polyarch::differential
