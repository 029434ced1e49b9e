// Sorted sets, member by member: scores are written, incremented, read. A score is a
// register with a counter: increments of several leaders add up, and a written score replaces what
// its writer saw.
#include "command/sorted_set.h"

#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdlib>

#include "command/families.h"

namespace polyarch::command {

using keyspace::Collection;
using keyspace::ElementView;
using keyspace::KeyRef;

std::optional<double> ParseDouble(std::string_view text) {
  if (text.empty() || std::isspace(static_cast<unsigned char>(text[0])) != 0) return std::nullopt;
  const std::string terminated(text);
  char* end = nullptr;
  errno = 0;
  const double value = std::strtod(terminated.c_str(), &end);
  if (end != terminated.c_str() + text.size() || std::isnan(value)) return std::nullopt;
  if (errno == ERANGE && (std::isinf(value) || value == 0)) return std::nullopt;
  return value;
}

std::optional<double> ReadDouble(Context& c, std::string_view text, std::string_view error) {
  const std::optional<double> value = ParseDouble(text);
  if (!value) c.reply.Error(error);
  return value;
}

void ReplyMemberCount(Context& c, size_t count, bool with_scores) {
  c.reply.Array(with_scores && !c.reply.resp3() ? 2 * count : count);
}

void ReplyMember(Context& c, std::string_view name, double score, bool with_scores) {
  if (with_scores && c.reply.resp3()) c.reply.Array(2);
  c.reply.Bulk(name);
  if (with_scores) c.reply.Double(score);
}

namespace {

// 0 has no sign in a score.
std::string Encoded(double score) {
  return keyspace::EncodeScore(score + 0.0);
}

bool FitsMembers(Context& c,
                 const KeyRef& ref,
                 const Collection& zset,
                 std::span<const ScoredArgument> members) {
  size_t bytes = 0;
  for (const ScoredArgument& m : members) {
    if (m.name.size() > crdt::kElementBytesMax) {
      c.reply.Error("LIMIT member or field longer than 65535 bytes");
      return false;
    }
    bytes += m.name.size() + sizeof m.score + ClearBytes(c, ref, zset, m.name);
  }
  return FitsElements(c, ref.key, bytes, members.size());
}

}  // namespace

bool FitsRemoval(Context& c,
                 const KeyRef& ref,
                 const Collection& zset,
                 std::span<const ScoredName> members) {
  size_t bytes = 0;
  for (const ScoredName& m : members)
    bytes += m.name.size() + ClearBytes(c, ref, zset, m.name);
  return FitsElements(c, ref.key, bytes, members.size());
}

void RemoveMembers(Context& c, const KeyRef& ref, std::span<const ScoredName> members) {
  for (const ScoredName& m : members)
    c.change.RemoveElement(ref, kSortedSet, m.name);
}

bool StoreMembers(Context& c, const KeyRef& target, std::span<const ScoredName> members) {
  if (!CheckKeySize(c, target.key)) return false;
  size_t bytes = 0;
  size_t effects = members.size() + 1;
  for (const ScoredName& m : members)
    bytes += m.name.size() + sizeof m.score;
  for (const auto& e : c.keys.ElementsWithCounters(target)) {
    bytes += e.name.size() + e.clears.size() * crdt::kClearBytesMax;
    ++effects;
  }
  if (!FitsElements(c, target.key, bytes, effects)) return false;
  DeleteSeen(c, target);
  for (const ScoredName& m : members)
    c.change.PutElement(target, kSortedSet, m.name, Encoded(m.score));
  return true;
}

// ---- adding

namespace {

// Do GT and LT forbid that `present` becomes `score`?
bool IsRefused(const AddOptions& options, double present, double score) {
  return (options.if_greater && score <= present) || (options.if_less && score >= present);
}

// Integers stay integers, so that sums of them are exact.
crdt::Number AsNumber(double value) {
  constexpr double kExactMax = 9007199254740992;  // 2^53
  if (std::fabs(value) < kExactMax && value == std::trunc(value))
    return crdt::Number::Integer(static_cast<int64_t>(value));
  return crdt::Number::Real(value);
}

void IncrementMember(Context& c,
                     const KeyRef& ref,
                     const Collection& zset,
                     const AddOptions& options,
                     const ScoredArgument& member) {
  auto entry = zset.Find(member.name);
  if (!entry ? options.if_exists : options.if_missing) return c.reply.Null();
  const double present = !entry ? 0 : zset.Score(*entry);
  const double sum = present + member.score;
  if (std::isnan(sum)) return c.reply.Error("ERR resulting score is not a number (NaN)");
  if (entry && IsRefused(options, present, sum)) return c.reply.Null();
  if (std::isinf(member.score) || std::isinf(present)) {
    // A counter is finite, and nothing can be added to an infinite score.
    c.change.PutElement(ref, kSortedSet, member.name, Encoded(sum));
    return c.reply.Double(sum);
  }
  if (!c.change.IncrementElement(ref, kSortedSet, member.name, AsNumber(member.score)))
    return c.reply.Error("ERR increment or decrement would overflow");
  // Read again rather than added up here: increments are summed with more digits than scores have.
  const Collection now = c.keys.OpenAgain(ref, kSortedSet);
  entry = now.Find(member.name);
  c.reply.Double(!entry ? sum : now.Score(*entry));
}

// True if the word is an option of ZADD.
bool ReadAddOption(std::string_view word, AddOptions& options) {
  if (EqualsIgnoreCase(word, "nx")) return options.if_missing = true;
  if (EqualsIgnoreCase(word, "xx")) return options.if_exists = true;
  if (EqualsIgnoreCase(word, "gt")) return options.if_greater = true;
  if (EqualsIgnoreCase(word, "lt")) return options.if_less = true;
  if (EqualsIgnoreCase(word, "ch")) return options.changed = true;
  if (EqualsIgnoreCase(word, "incr")) return options.increment = true;
  return false;
}

bool CheckAddOptions(Context& c, const AddOptions& options, size_t members) {
  std::string_view error;
  if (options.if_missing && options.if_exists) {
    error = "ERR XX and NX options at the same time are not compatible";
  } else if ((options.if_greater && options.if_less) ||
             (options.if_missing && (options.if_greater || options.if_less))) {
    error = "ERR GT, LT, and/or NX options at the same time are not compatible";
  } else if (options.increment && members > 1) {
    error = "ERR INCR option supports a single increment-element pair";
  }
  if (!error.empty()) c.reply.Error(error);
  return error.empty();
}

}  // namespace

void AddMembers(Context& c, const AddOptions& options, std::span<const ScoredArgument> members) {
  const KeyRef ref = c.Ref(c.args[1]);
  const auto present = Open(c, ref, kSortedSet);
  if (!present || !FitsMembers(c, ref, *present, members)) return;
  if (options.increment) return IncrementMember(c, ref, *present, options, members[0]);
  int64_t added = 0;
  int64_t changed = 0;
  for (const ScoredArgument& m : members) {
    const Collection zset = c.keys.OpenAgain(ref, kSortedSet);
    const auto entry = zset.Find(m.name);
    if (!entry ? options.if_exists : options.if_missing) continue;
    if (!entry) {
      ++added;
    } else {
      const double score = zset.Score(*entry);
      if (IsRefused(options, score, m.score)) continue;
      if (score != m.score) ++changed;
    }
    // Also an equal score: a concurrent remove must not take what was acknowledged.
    c.change.PutElement(ref, kSortedSet, m.name, Encoded(m.score));
  }
  c.reply.Integer(options.changed ? added + changed : added);
}

namespace {

void Zadd(Context& c) {
  AddOptions options;
  size_t from = 2;
  while (from < c.count() && ReadAddOption(c.args[from], options))
    ++from;
  const size_t count = c.count() - from;
  if (count == 0 || count % 2 != 0) return ReplySyntaxError(c);
  if (!CheckAddOptions(c, options, count / 2)) return;
  std::vector<ScoredArgument> members;
  members.reserve(count / 2);
  for (size_t i = from; i < c.count(); i += 2) {
    const std::optional<double> score = ReadDouble(c, c.args[i]);
    if (!score) return;
    members.push_back({c.args[i + 1], *score});
  }
  AddMembers(c, options, members);
}

void Zincrby(Context& c) {
  const std::optional<double> by = ReadDouble(c, c.args[2]);
  if (!by) return;
  const ScoredArgument member{c.args[3], *by};
  AddMembers(c, {.increment = true}, {&member, 1});
}

void Zrem(Context& c) {
  const KeyRef ref = c.Ref(c.args[1]);
  const auto zset = Open(c, ref, kSortedSet);
  if (!zset) return;
  std::vector<ScoredName> there;
  for (std::string_view member : c.args.subspan(2)) {
    if (zset->Contains(member)) there.push_back({std::string(member), 0});
  }
  if (!FitsRemoval(c, ref, *zset, there)) return;
  int64_t removed = 0;
  for (const ScoredName& m : there) {
    if (!c.keys.OpenAgain(ref, kSortedSet).Contains(m.name)) continue;  // named twice
    c.change.RemoveElement(ref, kSortedSet, m.name);
    ++removed;
  }
  c.reply.Integer(removed);
}

// ---- reading

void Zcard(Context& c) {
  const auto zset = Open(c, c.Ref(c.args[1]), kSortedSet);
  if (zset) c.reply.Integer(static_cast<int64_t>(zset->size()));
}

void ReplyScore(Context& c, const Collection& zset, std::string_view member) {
  const auto entry = zset.Find(member);
  !entry ? c.reply.Null() : c.reply.Double(zset.Score(*entry));
}

void Zscore(Context& c) {
  const auto zset = Open(c, c.Ref(c.args[1]), kSortedSet);
  if (zset) ReplyScore(c, *zset, c.args[2]);
}

void Zmscore(Context& c) {
  const auto zset = Open(c, c.Ref(c.args[1]), kSortedSet);
  if (!zset) return;
  c.reply.Array(c.count() - 2);
  for (std::string_view member : c.args.subspan(2))
    ReplyScore(c, *zset, member);
}

void ReplyRank(Context& c, bool reverse) {
  const auto zset = Open(c, c.Ref(c.args[1]), kSortedSet);
  if (!zset) return;
  const auto entry = zset->Find(c.args[2]);
  if (!entry) return c.reply.Null();
  const size_t rank = zset->elements->Rank(zset->Score(*entry), c.args[2], zset->viewer());
  c.reply.Integer(static_cast<int64_t>(reverse ? zset->size() - 1 - rank : rank));
}

void Zrank(Context& c) {
  ReplyRank(c, false);
}
void Zrevrank(Context& c) {
  ReplyRank(c, true);
}

void Zscan(Context& c) {
  ScanElements(c, kSortedSet, 2, [](Context& context, const Collection& zset, const ElementView& entry) {
    char text[resp::kDoubleCharsMax];
    context.reply.Bulk(entry.key());
    // A bulk also in RESP3, as in Redis.
    context.reply.Bulk({text, resp::FormatDouble(zset.Score(entry), text)});
    return true;
  });
}

}  // namespace

void AddSortedSetFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "zadd",
       .arity = -4,
       .flags = kWrite | kDenyOom | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @sortedset @fast",
       .handler = Zadd,
       .summary = "Adds members to a sorted set or changes their scores",
       .since = "1.2.0",
       .group = "sorted-set",
       .complexity = "O(log(N)) for each member, where N is the size of the sorted set",
       .syntax = "key:key condition:(NX|XX)?@3.0.2 comparison:(GT|LT)?@6.2.0 CH?@3.0.2 INCR?@3.0.2 "
                 "score_member:{score:double member}*",
       .key_access = "RW update"},
      {.name = "zincrby",
       .arity = 4,
       .flags = kWrite | kDenyOom | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @sortedset @fast",
       .handler = Zincrby,
       .summary = "Adds to the score of a member",
       .since = "1.2.0",
       .group = "sorted-set",
       .complexity = "O(log(N)) where N is the size of the sorted set",
       .syntax = "key:key increment:integer member",
       .key_access = "RW access update"},
      {.name = "zrem",
       .arity = -3,
       .flags = kWrite | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @sortedset @fast",
       .handler = Zrem,
       .summary = "Removes members from a sorted set",
       .since = "1.2.0",
       .group = "sorted-set",
       .complexity =
           "O(M*log(N)) where N is the size of the sorted set and M the number of members",
       .syntax = "key:key member*",
       .key_access = "RW delete"},
      {.name = "zcard",
       .arity = 2,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@read @sortedset @fast",
       .handler = Zcard,
       .summary = "Returns the number of members",
       .since = "1.2.0",
       .group = "sorted-set",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RO"},
      {.name = "zscore",
       .arity = 3,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@read @sortedset @fast",
       .handler = Zscore,
       .summary = "Returns the score of a member",
       .since = "1.2.0",
       .group = "sorted-set",
       .complexity = "O(1)",
       .syntax = "key:key member",
       .key_access = "RO access"},
      {.name = "zmscore",
       .arity = -3,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@read @sortedset @fast",
       .handler = Zmscore,
       .summary = "Returns the scores of several members",
       .since = "6.2.0",
       .group = "sorted-set",
       .complexity = "O(N) where N is the number of members",
       .syntax = "key:key member*",
       .key_access = "RO access"},
      {.name = "zrank",
       .arity = 3,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@read @sortedset @fast",
       .handler = Zrank,
       .summary = "Returns the place of a member, from the lowest score on",
       .since = "2.0.0",
       .group = "sorted-set",
       .complexity = "O(log(N)) where N is the size of the sorted set",
       .syntax = "key:key member",
       .key_access = "RO access"},
      {.name = "zrevrank",
       .arity = 3,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@read @sortedset @fast",
       .handler = Zrevrank,
       .summary = "Returns the place of a member, from the highest score on",
       .since = "2.0.0",
       .group = "sorted-set",
       .complexity = "O(log(N)) where N is the size of the sorted set",
       .syntax = "key:key member",
       .key_access = "RO access"},
      {.name = "zscan",
       .arity = -3,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @sortedset @slow",
       .handler = Zscan,
       .summary = "Walks through the members of a sorted set in steps",
       .since = "2.8.0",
       .group = "sorted-set",
       .complexity = "O(1) a call, O(N) for the whole walk",
       .syntax = "key:key cursor:integer MATCH pattern:pattern? COUNT count:integer?",
       .key_access = "RO access",
       .tips = "nondeterministic_output"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
  AddSortedSetPopRows(rows);
  AddSortedSetBlockRows(rows);
  AddSortedSetRangeRows(rows);
  AddSortedSetCombineRows(rows);
}

}  // namespace polyarch::command
