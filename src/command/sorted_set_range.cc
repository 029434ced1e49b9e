// Commands on ranges of sorted sets (sorted_set_run.h).
#include "command/sorted_set.h"
#include "command/sorted_set_run.h"

namespace polyarch::command {
namespace {

using keyspace::Collection;
using keyspace::KeyRef;
using Item = keyspace::RankedElement;

enum class Direction : uint8_t { kAuto, kForward, kReverse };

std::vector<ScoredName> Members(const Collection& zset, const MemberRun& run) {
  std::vector<ScoredName> members;
  members.reserve(run.count);
  WalkRun(zset, run, false, [&](const Item& item) {
    members.push_back({std::string(item.element.key()), item.score});
  });
  return members;
}

// ---- ZRANGE and its relatives

// The options from args[from] on. A form that is fixed by the command takes no word for it.
bool ReadRangeOptions(
    Context& c, size_t from, bool store, RangeBy by, Direction direction, MemberRange& range) {
  for (size_t i = from; i < c.count(); ++i) {
    if (!store && EqualsIgnoreCase(c.args[i], "withscores")) {
      range.with_scores = true;
    } else if (EqualsIgnoreCase(c.args[i], "limit") && i + 2 < c.count()) {
      const auto offset = ReadInteger(c, c.args[i + 1]);
      if (!offset) return false;
      const auto limit = ReadInteger(c, c.args[i + 2]);
      if (!limit) return false;
      range.offset = *offset;
      range.limit = *limit;
      i += 2;
    } else if (direction == Direction::kAuto && EqualsIgnoreCase(c.args[i], "rev")) {
      direction = Direction::kReverse;
    } else if (by == RangeBy::kAuto && EqualsIgnoreCase(c.args[i], "bylex")) {
      by = RangeBy::kName;
    } else if (by == RangeBy::kAuto && EqualsIgnoreCase(c.args[i], "byscore")) {
      by = RangeBy::kScore;
    } else {
      ReplySyntaxError(c);
      return false;
    }
  }
  range.by = by == RangeBy::kAuto ? RangeBy::kRank : by;
  range.reverse = direction == Direction::kReverse;
  return true;
}

// The range of the key args[at].
bool ReadRange(
    Context& c, size_t at, bool store, RangeBy by, Direction direction, MemberRange& range) {
  if (!ReadRangeOptions(c, at + 3, store, by, direction, range)) return false;
  if (range.limit != -1 && range.by == RangeBy::kRank) {
    c.reply.Error(
        "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
    return false;
  }
  if (range.with_scores && range.by == RangeBy::kName) {
    c.reply.Error("ERR syntax error, WITHSCORES not supported in combination with BYLEX");
    return false;
  }
  return ReadBounds(c, at + 1, range);
}

void ReplyRange(Context& c, RangeBy by, Direction direction) {
  MemberRange range;
  if (!ReadRange(c, 1, false, by, direction, range)) return;
  const auto zset = Open(c, c.Ref(c.args[1]), kSortedSet);
  if (!zset) return;
  const MemberRun run = FindRun(*zset, range);
  ReplyMemberCount(c, run.count, range.with_scores);
  WalkRun(*zset, run, range.reverse, [&](const Item& item) {
    ReplyMember(c, item.element.key(), item.score, range.with_scores);
  });
}

void Zrange(Context& c) {
  ReplyRange(c, RangeBy::kAuto, Direction::kAuto);
}
void Zrevrange(Context& c) {
  ReplyRange(c, RangeBy::kRank, Direction::kReverse);
}
void Zrangebyscore(Context& c) {
  ReplyRange(c, RangeBy::kScore, Direction::kForward);
}
void Zrevrangebyscore(Context& c) {
  ReplyRange(c, RangeBy::kScore, Direction::kReverse);
}
void Zrangebylex(Context& c) {
  ReplyRange(c, RangeBy::kName, Direction::kForward);
}
void Zrevrangebylex(Context& c) {
  ReplyRange(c, RangeBy::kName, Direction::kReverse);
}

void Zrangestore(Context& c) {
  MemberRange range;
  if (!ReadRange(c, 2, true, RangeBy::kAuto, Direction::kAuto, range)) return;
  const auto zset = Open(c, c.Ref(c.args[2]), kSortedSet);
  if (!zset) return;
  const std::vector<ScoredName> members = Members(*zset, FindRun(*zset, range));
  if (StoreMembers(c, c.Ref(c.args[1]), members))
    c.reply.Integer(static_cast<int64_t>(members.size()));
}

// ---- counting, removing

void Count(Context& c, RangeBy by) {
  MemberRange range{.by = by};
  if (!ReadBounds(c, 2, range)) return;
  const auto zset = Open(c, c.Ref(c.args[1]), kSortedSet);
  if (zset) c.reply.Integer(static_cast<int64_t>(FindRun(*zset, range).count));
}

void Zcount(Context& c) {
  Count(c, RangeBy::kScore);
}
void Zlexcount(Context& c) {
  Count(c, RangeBy::kName);
}

void Remove(Context& c, RangeBy by) {
  MemberRange range{.by = by};
  if (!ReadBounds(c, 2, range)) return;
  const KeyRef ref = c.Ref(c.args[1]);
  const auto zset = Open(c, ref, kSortedSet);
  if (!zset) return;
  const std::vector<ScoredName> members = Members(*zset, FindRun(*zset, range));
  if (!FitsRemoval(c, ref, *zset, members)) return;
  RemoveMembers(c, ref, members);
  c.reply.Integer(static_cast<int64_t>(members.size()));
}

void Zremrangebyrank(Context& c) {
  Remove(c, RangeBy::kRank);
}
void Zremrangebyscore(Context& c) {
  Remove(c, RangeBy::kScore);
}
void Zremrangebylex(Context& c) {
  Remove(c, RangeBy::kName);
}

constexpr std::string_view kReadComplexity =
    "O(log(N)+M) where N is the size of the sorted set and M the number of members returned";
constexpr std::string_view kRemoveComplexity =
    "O(M*log(N)) where N is the size of the sorted set and M the number of members removed";

}  // namespace

void AddSortedSetRangeRows(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "zrange",
       .arity = -4,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @sortedset @slow",
       .handler = Zrange,
       .summary = "Returns a range of members by rank, score or name",
       .since = "1.2.0",
       .group = "sorted-set",
       .complexity = kReadComplexity,
       .syntax = "key:key start stop sortby:(BYSCORE|BYLEX)?@6.2.0 REV?@6.2.0 LIMIT "
                 "offset_count:{offset:integer count:integer}?@6.2.0 WITHSCORES?",
       .key_access = "RO access"},
      {.name = "zrangestore",
       .arity = -5,
       .flags = kWrite | kDenyOom,
       .keys = {1, 2, 1},
       .categories = "@write @sortedset @slow",
       .handler = Zrangestore,
       .summary = "Stores a range of members in another key",
       .since = "6.2.0",
       .group = "sorted-set",
       .complexity =
           "O(log(N)+M) where N is the size of the sorted set and M the number of members "
           "stored",
       .syntax = "dst:key src:key min max sortby:(BYSCORE|BYLEX)? REV? LIMIT "
                 "offset_count:{offset:integer count:integer}?",
       .key_access = "OW update|RO access"},
      {.name = "zrevrange",
       .arity = -4,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @sortedset @slow",
       .handler = Zrevrange,
       .summary = "Returns a range of members by rank, from the highest score on",
       .since = "1.2.0",
       .group = "sorted-set",
       .complexity = kReadComplexity,
       .syntax = "key:key start:integer stop:integer WITHSCORES?",
       .key_access = "RO access",
       .deprecated_since = "6.2.0",
       .replaced_by = "`ZRANGE` with the `REV` argument"},
      {.name = "zrangebyscore",
       .arity = -4,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @sortedset @slow",
       .handler = Zrangebyscore,
       .summary = "Returns a range of members by score",
       .since = "1.0.5",
       .group = "sorted-set",
       .complexity = kReadComplexity,
       .syntax = "key:key min:double max:double WITHSCORES?@2.0.0 LIMIT "
                 "offset_count:{offset:integer count:integer}?",
       .key_access = "RO access",
       .deprecated_since = "6.2.0",
       .replaced_by = "`ZRANGE` with the `BYSCORE` argument"},
      {.name = "zrevrangebyscore",
       .arity = -4,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @sortedset @slow",
       .handler = Zrevrangebyscore,
       .summary = "Returns a range of members by score, from the highest on",
       .since = "2.2.0",
       .group = "sorted-set",
       .complexity = kReadComplexity,
       .syntax = "key:key max:double min:double WITHSCORES? LIMIT "
                 "offset_count:{offset:integer count:integer}?",
       .key_access = "RO access",
       .deprecated_since = "6.2.0",
       .replaced_by = "`ZRANGE` with the `REV` and `BYSCORE` arguments"},
      {.name = "zrangebylex",
       .arity = -4,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @sortedset @slow",
       .handler = Zrangebylex,
       .summary = "Returns a range of members by name",
       .since = "2.8.9",
       .group = "sorted-set",
       .complexity = kReadComplexity,
       .syntax = "key:key min max LIMIT offset_count:{offset:integer count:integer}?",
       .key_access = "RO access",
       .deprecated_since = "6.2.0",
       .replaced_by = "`ZRANGE` with the `BYLEX` argument"},
      {.name = "zrevrangebylex",
       .arity = -4,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @sortedset @slow",
       .handler = Zrevrangebylex,
       .summary = "Returns a range of members by name, from the last one on",
       .since = "2.8.9",
       .group = "sorted-set",
       .complexity = kReadComplexity,
       .syntax = "key:key max min LIMIT offset_count:{offset:integer count:integer}?",
       .key_access = "RO access",
       .deprecated_since = "6.2.0",
       .replaced_by = "`ZRANGE` with the `REV` and `BYLEX` arguments"},
      {.name = "zcount",
       .arity = 4,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@read @sortedset @fast",
       .handler = Zcount,
       .summary = "Counts members in a range of scores",
       .since = "2.0.0",
       .group = "sorted-set",
       .complexity = "O(log(N)) where N is the size of the sorted set",
       .syntax = "key:key min:double max:double",
       .key_access = "RO access"},
      {.name = "zlexcount",
       .arity = 4,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@read @sortedset @fast",
       .handler = Zlexcount,
       .summary = "Counts members in a range of names",
       .since = "2.8.9",
       .group = "sorted-set",
       .complexity = "O(log(N)) where N is the size of the sorted set",
       .syntax = "key:key min max",
       .key_access = "RO access"},
      {.name = "zremrangebyrank",
       .arity = 4,
       .flags = kWrite,
       .keys = {1, 1, 1},
       .categories = "@write @sortedset @slow",
       .handler = Zremrangebyrank,
       .summary = "Removes a range of members by rank",
       .since = "2.0.0",
       .group = "sorted-set",
       .complexity = kRemoveComplexity,
       .syntax = "key:key start:integer stop:integer",
       .key_access = "RW delete"},
      {.name = "zremrangebyscore",
       .arity = 4,
       .flags = kWrite,
       .keys = {1, 1, 1},
       .categories = "@write @sortedset @slow",
       .handler = Zremrangebyscore,
       .summary = "Removes a range of members by score",
       .since = "1.2.0",
       .group = "sorted-set",
       .complexity = kRemoveComplexity,
       .syntax = "key:key min:double max:double",
       .key_access = "RW delete"},
      {.name = "zremrangebylex",
       .arity = 4,
       .flags = kWrite,
       .keys = {1, 1, 1},
       .categories = "@write @sortedset @slow",
       .handler = Zremrangebylex,
       .summary = "Removes a range of members by name",
       .since = "2.8.9",
       .group = "sorted-set",
       .complexity = kRemoveComplexity,
       .syntax = "key:key min max",
       .key_access = "RW delete"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
