#include "base/glob.h"

#include <array>
#include <cctype>
#include <cstdint>
#include <utility>
#include <vector>

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

// Matches what stands at `p`, which is no star, with one character; `next` is behind it.
bool MatchOne(std::string_view pattern, size_t p, char text, bool ignore_case, size_t& next) {
  char c = pattern[p];
  next = p + 1;
  if (c == '?') return true;
  if (c == '[') return MatchClass(pattern, next, text, ignore_case);
  if (c == '\\' && next < pattern.size()) c = pattern[next++];
  return Fold(c, ignore_case) == Fold(text, ignore_case);
}

// What stands between two stars: each of its parts matches one character.
class Part {
 public:
  // From `p` on, which is moved to the star behind it, or to the end.
  Part(std::string_view pattern, size_t& p, bool ignore_case)
      : pattern_(pattern), ignore_case_(ignore_case) {
    while (p < pattern.size() && pattern[p] != '*') {
      places_.push_back(p);
      MatchOne(pattern, p, 0, ignore_case, p);
    }
  }

  size_t size() const { return places_.size(); }

  bool MatchesAt(std::string_view text, size_t t) const {
    for (size_t i = 0; i < size(); ++i) {
      if (!Matches(i, text[t + i])) return false;
    }
    return true;
  }

  // Moves `t` behind the first place from there on that matches; false if there is none. Shift-And (Baeza-Yates and
  // Gonnet, 1992): bit i of `state` says that the first i + 1 parts match what ends here.
  bool Find(std::string_view text, size_t& t) const {
    if (size() <= kShort) {
      while (t + size() <= text.size() && !MatchesAt(text, t))
        ++t;
      if (t + size() > text.size()) return false;
      t += size();
      return true;
    }
    const size_t words = (size() + 63) / 64;
    std::array<std::vector<uint64_t>, 256> masks;  // of each character that comes, the parts that match it
    std::vector<uint64_t> state(words);
    for (; t < text.size(); ++t) {
      std::vector<uint64_t>& mask = masks[static_cast<unsigned char>(text[t])];
      if (mask.empty()) {
        mask.resize(words);
        for (size_t i = 0; i < size(); ++i)
          mask[i / 64] |= uint64_t{Matches(i, text[t])} << (i % 64);
      }
      uint64_t carry = 1;
      for (size_t w = 0; w < words; ++w) {
        const uint64_t out = state[w] >> 63;
        state[w] = (state[w] << 1 | carry) & mask[w];
        carry = out;
      }
      if ((state[(size() - 1) / 64] >> ((size() - 1) % 64) & 1) != 0) return ++t, true;
    }
    return false;
  }

 private:
  // Up to here trying place by place is no slower.
  static constexpr size_t kShort = 8;

  bool Matches(size_t i, char c) const {
    size_t next = 0;
    return MatchOne(pattern_, places_[i], c, ignore_case_, next);
  }

  std::string_view pattern_;
  bool ignore_case_;
  std::vector<size_t> places_;
};

// GlobMatch part by part: a word operation for 64 pairs of characters of pattern and text.
bool MatchParts(std::string_view pattern, std::string_view text, bool ignore_case) {
  std::vector<Part> parts;
  size_t sizes = 0;
  for (size_t p = 0;; ++p) {
    parts.emplace_back(pattern, p, ignore_case);
    sizes += parts.back().size();
    if (p == pattern.size()) break;
  }
  if (sizes > text.size()) return false;
  if (parts.size() == 1) return sizes == text.size() && parts[0].MatchesAt(text, 0);
  // The ends are where they are; between them each part is best found as early as it can be.
  const size_t end = text.size() - parts.back().size();
  if (!parts.front().MatchesAt(text, 0) || !parts.back().MatchesAt(text, end)) return false;
  size_t t = parts.front().size();
  for (size_t i = 1; i + 1 < parts.size(); ++i) {
    if (!parts[i].Find(text.substr(0, end), t)) return false;
  }
  return true;
}

}  // namespace

bool GlobMatch(std::string_view pattern, std::string_view text, bool ignore_case) {
  if (text.empty()) return pattern.empty();
  size_t p = 0;
  size_t t = 0;
  size_t star = std::string_view::npos;
  size_t star_text = 0;
  // Nearly all patterns are done within it; the others take the way that is slower to begin and surer to end.
  size_t budget = 4 * (pattern.size() + text.size()) + 64;
  while (true) {
    if (budget-- == 0) return MatchParts(pattern, text, ignore_case);
    if (p < pattern.size() && pattern[p] == '*') {
      star = ++p;
      star_text = t;
      continue;
    }
    bool match = false;
    size_t next = p;
    if (t < text.size() && p < pattern.size()) {
      match = MatchOne(pattern, p, text[t], ignore_case, next);
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
