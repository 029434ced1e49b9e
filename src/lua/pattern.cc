#include "lua/pattern.h"

#include <cctype>

namespace polyarch::lua {

namespace {

constexpr size_t kCapturesMax = 32;
constexpr size_t kDepthMax = 200;
constexpr size_t kOpenCapture = static_cast<size_t>(-1);

uint8_t Byte(char c) { return static_cast<uint8_t>(c); }

bool IsAscii(int c) { return c < 128; }

// What "%c" stands for: a class of characters, or the character itself. ASCII only: not the locale's.
std::bitset<256> Escaped(char c) {
  std::bitset<256> set;
  const int lower = std::tolower(Byte(c));
  int (*is)(int) = nullptr;
  switch (lower) {
    case 'a': is = std::isalpha; break;
    case 'c': is = std::iscntrl; break;
    case 'd': is = std::isdigit; break;
    case 'l': is = std::islower; break;
    case 'p': is = std::ispunct; break;
    case 's': is = std::isspace; break;
    case 'u': is = std::isupper; break;
    case 'w': is = std::isalnum; break;
    case 'x': is = std::isxdigit; break;
    case 'z': is = [](int b) -> int { return b == 0 ? 1 : 0; }; break;
    default: set.set(Byte(c)); return set;
  }
  for (int b = 0; b < 256; ++b) {
    if (IsAscii(b) && is(b) != 0) set.set(static_cast<size_t>(b));
  }
  if (lower != Byte(c)) set.flip();
  return set;
}

base::Status Malformed(const char* why) { return base::Invalid(std::string("malformed pattern (") + why + ")"); }

}  // namespace

// One character class, from pattern[at] on; `at` is behind it then.
base::Result<Pattern::Set> Pattern::ParseClass(std::string_view pattern, size_t& at) {
  Set set;
  const char c = pattern[at++];
  if (c == '.') return set.set();
  if (c == '%') {
    if (at == pattern.size()) return Malformed("ends with '%'");
    return Escaped(pattern[at++]);
  }
  if (c != '[') return set.set(Byte(c));
  const bool negated = at < pattern.size() && pattern[at] == '^';
  if (negated) ++at;
  // A "]" that comes first is one of the set.
  for (bool first = true;; first = false) {
    if (at == pattern.size()) return Malformed("missing ']'");
    const char d = pattern[at++];
    if (d == ']' && !first) break;
    if (d == '%') {
      if (at == pattern.size()) return Malformed("missing ']'");
      set |= Escaped(pattern[at++]);
    } else if (at + 1 < pattern.size() && pattern[at] == '-' && pattern[at + 1] != ']') {
      for (int b = Byte(d); b <= Byte(pattern[at + 1]); ++b) set.set(static_cast<size_t>(b));
      at += 2;
    } else {
      set.set(Byte(d));
    }
  }
  return negated ? set.flip() : set;
}

base::Result<Pattern> Pattern::Parse(std::string_view pattern, bool anchors) {
  Pattern out;
  size_t at = 0;
  if (anchors && !pattern.empty() && pattern[0] == '^') {
    out.anchored_ = true;
    at = 1;
  }
  size_t captures = 0;
  std::vector<size_t> open;
  std::vector<bool> closed;
  while (at < pattern.size()) {
    Item item;
    const char c = pattern[at];
    const char next = at + 1 < pattern.size() ? pattern[at + 1] : '\0';
    if (c == '(' || c == ')') {
      ++at;
      if (c == ')') {
        if (open.empty()) return base::Invalid("invalid pattern capture");
        closed[open.back()] = true;
        item.open = static_cast<unsigned char>(open.back());
        open.pop_back();
        item.kind = Item::Kind::kClose;
      } else {
        if (captures == kCapturesMax) return base::Invalid("too many captures");
        item.open = static_cast<unsigned char>(captures++);
        const bool position = next == ')';
        closed.push_back(position);
        if (position) ++at;
        if (!position) open.push_back(item.open);
        item.kind = position ? Item::Kind::kPosition : Item::Kind::kOpen;
      }
    } else if (c == '$' && at + 1 == pattern.size()) {
      ++at;
      item.kind = Item::Kind::kEnd;
    } else if (c == '%' && next == 'b') {
      if (at + 3 >= pattern.size()) return base::Invalid("unbalanced pattern");
      item.kind = Item::Kind::kBalanced;
      item.open = Byte(pattern[at + 2]);
      item.close = Byte(pattern[at + 3]);
      at += 4;
    } else if (c == '%' && next == 'f') {
      at += 2;
      if (at == pattern.size() || pattern[at] != '[') {
        return base::Invalid("missing '[' after '%f' in pattern");
      }
      auto set = ParseClass(pattern, at);
      if (!set.ok()) return set.status();
      item.kind = Item::Kind::kFrontier;
      item.set = *set;
    } else if (c == '%' && next >= '0' && next <= '9') {
      const auto which = static_cast<size_t>(next - '1');
      if (next == '0' || which >= captures || !closed[which]) return base::Invalid("invalid capture index");
      item.kind = Item::Kind::kAgain;
      item.open = static_cast<unsigned char>(which);
      at += 2;
    } else {
      auto set = ParseClass(pattern, at);
      if (!set.ok()) return set.status();
      item.set = *set;
      const char repeat = at < pattern.size() ? pattern[at] : '\0';
      if (repeat == '*' || repeat == '+' || repeat == '-' || repeat == '?') {
        ++at;
        item.kind = repeat == '-'   ? Item::Kind::kShortest
                    : repeat == '?' ? Item::Kind::kOptional
                                    : Item::Kind::kLongest;
        item.at_least = repeat == '+' ? 1 : 0;
      }
    }
    out.items_.push_back(item);
  }
  if (!open.empty()) return base::Invalid("unfinished capture");
  return out;
}

// One attempt: backtracking, one level a decision.
class Pattern::Matcher {
 public:
  Matcher(const Pattern& pattern, std::string_view subject, Meter& meter)
      : items_(pattern.items_), subject_(subject), meter_(meter) {}

  std::optional<size_t> Run(size_t at, size_t item);
  std::vector<Capture> TakeCaptures() { return std::move(captures_); }

 private:
  bool Is(size_t at, const Set& set) const { return at < subject_.size() && set[Byte(subject_[at])]; }
  std::optional<size_t> Longest(size_t at, size_t item);
  std::optional<size_t> Balanced(size_t at, const Item& item);

  const std::vector<Item>& items_;
  std::string_view subject_;
  Meter& meter_;
  std::vector<Capture> captures_;
  size_t depth_ = 0;
};

std::optional<size_t> Pattern::Matcher::Longest(size_t at, size_t i) {
  const Item& item = items_[i];
  size_t count = 0;
  while (Is(at + count, item.set)) ++count;
  meter_.Charge(1 + count / 8);
  for (;; --count) {
    if (count < item.at_least) return {};
    if (auto end = Run(at + count, i + 1)) return end;
    if (count == 0) return {};
  }
}

std::optional<size_t> Pattern::Matcher::Balanced(size_t at, const Item& item) {
  if (at >= subject_.size() || Byte(subject_[at]) != item.open) return {};
  size_t depth = 1;
  for (size_t i = at + 1; i < subject_.size(); ++i) {
    if ((i & 63) == 0) meter_.Charge(8);
    const uint8_t b = Byte(subject_[i]);
    if (b == item.close) {
      if (--depth == 0) return i + 1;
    } else if (b == item.open) {
      ++depth;
    }
  }
  return {};
}

std::optional<size_t> Pattern::Matcher::Run(size_t at, size_t i) {
  if (depth_ == kDepthMax) throw LimitExceeded("pattern too complex");
  struct Level {
    size_t& depth;
    explicit Level(size_t& d) : depth(d) { ++depth; }
    ~Level() { --depth; }
  } level(depth_);
  for (;; ++i) {
    meter_.Charge(1);
    if (i == items_.size()) return at;
    const Item& item = items_[i];
    switch (item.kind) {
      case Item::Kind::kOne:
        if (!Is(at, item.set)) return {};
        ++at;
        break;
      case Item::Kind::kOptional:
        if (Is(at, item.set)) {
          if (auto end = Run(at + 1, i + 1)) return end;
        }
        break;
      case Item::Kind::kLongest: return Longest(at, i);
      case Item::Kind::kShortest:
        for (;; ++at) {
          if (auto end = Run(at, i + 1)) return end;
          if (!Is(at, item.set)) return {};
        }
      case Item::Kind::kOpen:
      case Item::Kind::kPosition: {
        const bool position = item.kind == Item::Kind::kPosition;
        captures_.push_back({at, position ? 0 : kOpenCapture, position});
        if (auto end = Run(at, i + 1)) return end;
        captures_.pop_back();
        return {};
      }
      case Item::Kind::kClose: {
        captures_[item.open].size = at - captures_[item.open].begin;
        if (auto end = Run(at, i + 1)) return end;
        captures_[item.open].size = kOpenCapture;
        return {};
      }
      case Item::Kind::kAgain: {
        const Capture& c = captures_[item.open];
        const std::string_view text = subject_.substr(c.begin, c.size);
        meter_.Charge(text.size() / 64);
        if (subject_.substr(at, text.size()) != text) return {};
        at += text.size();
        break;
      }
      case Item::Kind::kBalanced: {
        auto end = Balanced(at, item);
        if (!end) return {};
        at = *end;
        break;
      }
      case Item::Kind::kFrontier: {
        // Both ends of the subject count as a zero byte.
        const uint8_t before = at == 0 ? 0 : Byte(subject_[at - 1]);
        const uint8_t here = at == subject_.size() ? 0 : Byte(subject_[at]);
        if (item.set[before] || !item.set[here]) return {};
        break;
      }
      case Item::Kind::kEnd:
        if (at != subject_.size()) return {};
        break;
    }
  }
}

std::optional<Pattern::Match> Pattern::MatchAt(std::string_view subject, size_t at, Meter& meter) const {
  Matcher matcher(*this, subject, meter);
  auto end = matcher.Run(at, 0);
  if (!end) return {};
  return Match{at, *end, matcher.TakeCaptures()};
}

std::optional<Pattern::Match> Pattern::Find(std::string_view subject, size_t from, Meter& meter) const {
  for (size_t at = from; at <= subject.size(); ++at) {
    if (auto match = MatchAt(subject, at, meter)) return match;
    if (anchored_) break;
  }
  return {};
}

}  // namespace polyarch::lua
