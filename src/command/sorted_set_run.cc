#include "command/sorted_set_run.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace polyarch::command {
namespace {

using keyspace::Collection;
using Item = keyspace::RankedElement;

// ---- reading bounds

// What Redis takes here is laxer than a score: leading spaces, and nothing at all for 0.
std::optional<ScoreBound> ParseScoreBound(std::string_view text) {
  ScoreBound bound;
  bound.exclusive = text.starts_with('(');
  if (bound.exclusive) text.remove_prefix(1);
  const std::string terminated(text);
  char* end = nullptr;
  bound.score = std::strtod(terminated.c_str(), &end);
  if (*end != '\0' || std::isnan(bound.score)) return std::nullopt;
  return bound;
}

std::optional<NameBound> ParseNameBound(std::string_view text) {
  using Kind = NameBound::Kind;
  if (text == "-") return NameBound{.kind = Kind::kLowest};
  if (text == "+") return NameBound{.kind = Kind::kHighest};
  if (!text.starts_with('(') && !text.starts_with('[')) return std::nullopt;
  return NameBound{.kind = Kind::kName, .name = text.substr(1), .exclusive = text[0] == '('};
}

}  // namespace

bool ReadBounds(Context& c, size_t at, MemberRange& range) {
  std::string_view min = c.args[at];
  std::string_view max = c.args[at + 1];
  if (range.by == RangeBy::kRank) {
    const auto start = ReadInteger(c, min);
    if (!start) return false;
    const auto stop = ReadInteger(c, max);
    if (!stop) return false;
    range.start = *start;
    range.stop = *stop;
    return true;
  }
  if (range.reverse) std::swap(min, max);
  if (range.by == RangeBy::kScore) {
    const auto low = ParseScoreBound(min);
    const auto high = ParseScoreBound(max);
    if (!low || !high) {
      c.reply.Error("ERR min or max is not a float");
      return false;
    }
    range.min_score = *low;
    range.max_score = *high;
    return true;
  }
  const auto low = ParseNameBound(min);
  const auto high = ParseNameBound(max);
  if (!low || !high) {
    c.reply.Error("ERR min or max not valid string range item");
    return false;
  }
  range.min_name = *low;
  range.max_name = *high;
  return true;
}

namespace {

// ---- finding the run

MemberRun RankRun(const MemberRange& range, size_t size) {
  const auto length = static_cast<int64_t>(size);
  int64_t start = range.start < 0 ? std::max<int64_t>(0, length + range.start) : range.start;
  int64_t stop = range.stop < 0 ? length + range.stop : std::min(range.stop, length - 1);
  if (start > stop || start >= length) return {};
  if (range.reverse) {
    std::swap(start, stop);
    start = length - 1 - start;
    stop = length - 1 - stop;
  }
  return {static_cast<size_t>(start), static_cast<size_t>(stop - start + 1)};
}

MemberRun ScoreRun(const Collection& zset, const MemberRange& range) {
  const keyspace::Viewer viewer = zset.viewer();
  const size_t first =
      zset.elements->CountBelow(range.min_score.score, range.min_score.exclusive, viewer);
  const size_t end =
      zset.elements->CountBelow(range.max_score.score, !range.max_score.exclusive, viewer);
  return first < end ? MemberRun{first, end - first} : MemberRun{};
}

bool IsAbove(std::string_view name, const NameBound& min) {
  if (min.kind != NameBound::Kind::kName) return min.kind == NameBound::Kind::kLowest;
  return min.exclusive ? name > min.name : name >= min.name;
}

bool IsBelow(std::string_view name, const NameBound& max) {
  if (max.kind != NameBound::Kind::kName) return max.kind == NameBound::Kind::kHighest;
  return max.exclusive ? name < max.name : name <= max.name;
}

// Of a rank that there is.
Item ItemAt(const Collection& zset, size_t rank) {
  std::optional<Item> found;
  zset.elements->Walk(
      rank,
      false,
      [&](const Item& item) {
        found = item;
        return false;
      },
      zset.viewer());
  return *found;
}

// Names are in order only where scores are equal; otherwise what a walk from one end meets first
// counts, as in Redis.
MemberRun WalkedNameRun(const Collection& zset, const MemberRange& range) {
  const size_t size = zset.size();
  size_t skipped = 0;
  size_t count = 0;
  zset.elements->Walk(
      range.reverse ? size - 1 : 0,
      range.reverse,
      [&](const Item& item) {
        const bool above = IsAbove(item.element.key(), range.min_name);
        const bool below = IsBelow(item.element.key(), range.max_name);
        const bool reached = range.reverse ? below : above;
        if (count == 0 && !reached) {
          ++skipped;
          return true;
        }
        if (range.reverse ? !above : !below) return false;
        ++count;
        return true;
      },
      zset.viewer());
  if (count == 0) return {};
  return {range.reverse ? size - skipped - count : skipped, count};
}

MemberRun NameRun(const Collection& zset, const MemberRange& range) {
  const size_t size = zset.size();
  const Item first = ItemAt(zset, 0);
  const Item last = ItemAt(zset, size - 1);
  if (!IsAbove(last.element.key(), range.min_name) || !IsBelow(first.element.key(), range.max_name))
    return {};
  if (first.score != last.score) return WalkedNameRun(zset, range);
  // How many stand before the bound.
  auto before = [&](const NameBound& bound, bool with_bound) {
    if (bound.kind == NameBound::Kind::kLowest) return size_t{0};
    if (bound.kind == NameBound::Kind::kHighest) return size;
    const size_t rank = zset.elements->Rank(first.score, bound.name, zset.viewer());
    return with_bound && zset.Contains(bound.name) ? rank + 1 : rank;
  };
  const size_t begin = before(range.min_name, range.min_name.exclusive);
  const size_t end = before(range.max_name, !range.max_name.exclusive);
  return begin < end ? MemberRun{begin, end - begin} : MemberRun{};
}

// What LIMIT leaves of a run.
MemberRun Limit(const MemberRun& run, const MemberRange& range) {
  if (range.offset < 0 || static_cast<uint64_t>(range.offset) >= run.count) return {};
  const auto offset = static_cast<size_t>(range.offset);
  const size_t rest = run.count - offset;
  const size_t count = range.limit < 0 ? rest : std::min(rest, static_cast<size_t>(range.limit));
  return {range.reverse ? run.first + rest - count : run.first + offset, count};
}

}  // namespace

MemberRun FindRun(const Collection& zset, const MemberRange& range) {
  if (zset.size() == 0) return {};
  switch (range.by) {
    case RangeBy::kScore:
      return Limit(ScoreRun(zset, range), range);
    case RangeBy::kName:
      return Limit(NameRun(zset, range), range);
    case RangeBy::kAuto:
    case RangeBy::kRank:
      break;
  }
  return RankRun(range, zset.size());  // LIMIT has been refused, but for one that means all
}

void WalkRun(const Collection& zset,
             const MemberRun& run,
             bool reverse,
             base::FunctionRef<void(const Item&)> visit) {
  if (run.count == 0) return;
  size_t left = run.count;
  zset.elements->Walk(
      reverse ? run.first + run.count - 1 : run.first,
      reverse,
      [&](const Item& item) {
        visit(item);
        return --left > 0;
      },
      zset.viewer());
}

}  // namespace polyarch::command
