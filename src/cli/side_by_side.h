// Several versions of a value beside each other, for people: a column each, lines that differ
// marked. No I/O.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace polyarch::cli {

struct Column {
  std::vector<std::string> title;  // lines
  std::string text;                // any bytes; lines end with "\n"
};

// Lines of at most `width` characters. Where columns would be too narrow, or there is one only, the
// versions stand one below the other. Of a text no more than `lines_max` lines are shown.
std::vector<std::string> SideBySide(const std::vector<Column>& columns,
                                    size_t width,
                                    size_t lines_max = 40);

// Characters, as far as a terminal counts them: code points of UTF-8.
size_t WidthOf(const std::string& text);

}  // namespace polyarch::cli
