#include "base/glob.h"

#include <algorithm>
#include <cctype>

namespace polyarch::base {

namespace {

char Fold(char c, bool ignore_case) {
  return ignore_case ? static_cast<char>(std::tolower(static_cast<unsigned char>(c))) : c;
}

// Matches the class that begins after '[' at `p`; leaves `p` after its ']'.
bool MatchClass(std::string_view pattern, size_t& p, char c, bool ignore_case) {
  bool negate = p < pattern.size() && pattern[p] == '^';
  if (negate) ++p;
  bool match = false;
  while (p < pattern.size() && pattern[p] != ']') {
    if (pattern[p] == '\\' && p + 1 < pattern.size()) {
      ++p;
      match |= pattern[p] == c;
      ++p;
    } else if (p + 2 < pattern.size() && pattern[p + 1] == '-') {
      char low = Fold(pattern[p], ignore_case);
      char high = Fold(pattern[p + 2], ignore_case);
      if (low > high) std::swap(low, high);
      char x = Fold(c, ignore_case);
      match |= x >= low && x <= high;
      p += 3;
    } else {
      match |= Fold(pattern[p], ignore_case) == Fold(c, ignore_case);
      ++p;
    }
  }
  if (p < pattern.size()) ++p;
  return match != negate;
}

}  // namespace

bool GlobMatch(std::string_view pattern, std::string_view text, bool ignore_case) {
  size_t p = 0;
  size_t t = 0;
  size_t star = std::string_view::npos;
  size_t star_text = 0;
  size_t budget = std::max<size_t>(4096, 64 * (pattern.size() + text.size()));
  while (true) {
    if (budget-- == 0) return false;
    if (p < pattern.size() && pattern[p] == '*') {
      star = ++p;
      star_text = t;
      continue;
    }
    bool match = false;
    size_t next = p;
    if (t < text.size() && p < pattern.size()) {
      char c = pattern[p];
      if (c == '?') {
        match = true;
        next = p + 1;
      } else if (c == '[') {
        next = p + 1;
        match = MatchClass(pattern, next, text[t], ignore_case);
      } else {
        if (c == '\\' && p + 1 < pattern.size()) c = pattern[++next];
        match = Fold(c, ignore_case) == Fold(text[t], ignore_case);
        ++next;
      }
    } else if (t == text.size() && p == pattern.size()) {
      return true;
    }
    if (match) {
      p = next;
      ++t;
    } else {
      if (star == std::string_view::npos || star_text >= text.size()) return false;
      p = star;
      t = ++star_text;
    }
  }
}

size_t GlobLiteralSize(std::string_view pattern) {
  size_t count = 0;
  for (size_t p = 0; p < pattern.size(); ++p) {
    const char c = pattern[p];
    if (c == '*' || c == '?') continue;
    if (c == '[') {
      while (p < pattern.size() && pattern[p] != ']') p += pattern[p] == '\\' ? 2 : 1;
      continue;
    }
    if (c == '\\' && p + 1 < pattern.size()) ++p;
    ++count;
  }
  return count;
}

}  // namespace polyarch::base
