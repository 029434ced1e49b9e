// What stands beside an element's name in a NameTree, so that most comparisons of names need no look at
// the entries: a number that never falls from one name to a greater one. Of a stream's entry it is the
// first half of its id; of other names it tells little.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

namespace polyarch::keyspace {

inline double NameScore(std::string_view name) {
  if (name.empty() || name[0] == 0) return -1;
  if (name[0] != 1) return std::numeric_limits<double>::infinity();
  uint64_t number = 0;
  for (size_t i = 1; i <= sizeof number; ++i)
    number = number << 8 | (i < name.size() ? static_cast<uint8_t>(name[i]) : 0);
  // Rounded it may be, but never downwards from a greater one.
  return static_cast<double>(number);
}

}  // namespace polyarch::keyspace
