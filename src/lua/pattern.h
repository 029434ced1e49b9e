// Lua 5.1's patterns (Reference Manual 5.4.1), metered: Lua's own matcher may backtrack for hours inside of
// one instruction, where no limit of steps reaches it.
#pragma once

#include <bitset>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "lua/meter.h"

namespace polyarch::lua {

class Pattern {
 public:
  struct Capture {
    size_t begin = 0;
    size_t size = 0;
    bool position = false;  // "()": what counts is `begin`
  };
  struct Match {
    size_t begin = 0;
    size_t end = 0;
    std::vector<Capture> captures;  // none: the whole match counts as the one
  };

  // `anchors`: may "^" at the beginning mean the beginning (not so in gmatch)? kInvalid with Lua's words
  // ("malformed pattern (missing ']')").
  static base::Result<Pattern> Parse(std::string_view pattern, bool anchors = true);

  // The memory that a pattern of so many bytes may take.
  static constexpr size_t BytesFor(size_t size) { return size * sizeof(Item); }

  bool anchored() const { return anchored_; }
  // The match that begins at `at`, if any.
  std::optional<Match> MatchAt(std::string_view subject, size_t at, Meter& meter) const;
  // The first match at `from` or behind it.
  std::optional<Match> Find(std::string_view subject, size_t from, Meter& meter) const;

 private:
  using Set = std::bitset<256>;
  struct Item {
    enum class Kind : unsigned char {
      kOne,       // of `set`
      kOptional,  // ?
      kLongest,   // *, + (`at_least` 1)
      kShortest,  // -
      kOpen,      // (
      kPosition,  // ()
      kClose,     // )
      kAgain,     // %1
      kBalanced,  // %bxy
      kFrontier,  // %f[set]
      kEnd,       // $ at the end
    } kind = Kind::kOne;
    Set set;
    size_t at_least = 0;
    unsigned char open = 0;   // kBalanced; kAgain: which capture, from 0
    unsigned char close = 0;  // kBalanced
  };
  class Matcher;

  static base::Result<Set> ParseClass(std::string_view pattern, size_t& at);

  std::vector<Item> items_;
  bool anchored_ = false;
};

}  // namespace polyarch::lua
