// What a checker found: violations, each told in one line for a person, and what could not be decided.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace polyarch::history {

struct Violation {
  std::string rule;             // "WriteCORead", "NotLinearizable", ...
  std::vector<uint32_t> lines;  // of the operations involved; the first shows it
  std::string text;             // who saw what, and why it cannot be
};

struct Verdict {
  std::vector<Violation> violations;   // the first ones; `count` is how many there are
  uint64_t count = 0;
  std::vector<std::string> undecided;  // what was not checked to its end, and why

  bool passed() const { return count == 0 && undecided.empty(); }

  // Keeps no more than this many: a broken history may break a rule in every line.
  static constexpr size_t kKeptMax = 100;
  bool Keeps() const { return violations.size() < kKeptMax; }
  void Add(Violation violation) {
    ++count;
    if (Keeps()) violations.push_back(std::move(violation));
  }
};

}  // namespace polyarch::history
