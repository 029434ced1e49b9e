// Members of sorted sets that the server chooses: the lowest, the highest, or random ones.
#include <limits>

#include "base/number.h"
#include "command/sorted_set.h"

namespace polyarch::command {
namespace {

using keyspace::Collection;
using keyspace::ElementView;
using keyspace::KeyRef;

void Zrandmember(Context& c) {
  std::optional<int64_t> count;
  const bool with_scores = c.count() == 4;
  if (c.count() >= 3) {
    count = ReadRandomCount(c, c.args[2]);
    if (!count) return;
    constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
    if (c.count() > 4 || (with_scores && !EqualsIgnoreCase(c.args[3], "withscores")))
      return ReplySyntaxError(c);
    if (with_scores && (*count < -kMax / 2 || *count > kMax / 2))
      return c.reply.Error("ERR value is out of range");
  }
  const auto zset = Open(c, c.Ref(c.args[1]), kSortedSet);
  if (!zset) return;
  if (!count) {
    const auto entry = zset->found() ? zset->elements->Random(c.random) : std::nullopt;
    return !entry ? c.reply.Null() : c.reply.Bulk(entry->key());
  }
  ReplyRandomElements(c, *zset, *count, with_scores ? 2 : 1, [&](const ElementView& entry) {
    ReplyMember(c, entry.key(), with_scores ? zset->Score(entry) : 0, with_scores);
    return true;
  });
}

// ---- popping

// The first `count` members, or the last ones from the highest on.
std::vector<ScoredName> Ends(const Collection& zset, bool highest, size_t count) {
  std::vector<ScoredName> members;
  if (zset.size() == 0 || count == 0) return members;
  zset.elements->Walk(
      highest ? zset.size() - 1 : 0,
      highest,
      [&](const keyspace::RankedElement& item) {
        members.push_back({std::string(item.element.key()), item.score});
        return members.size() < count;
      },
      zset.viewer());
  return members;
}

void Pop(Context& c, bool highest) {
  if (c.count() > 3) return ReplySyntaxError(c);
  std::optional<int64_t> count;
  if (c.count() == 3) {
    count = base::ParseInt64(c.args[2]);
    if (!count || *count < 0) return c.reply.Error("ERR value is out of range, must be positive");
  }
  const KeyRef ref = c.Ref(c.args[1]);
  const auto zset = Open(c, ref, kSortedSet);
  if (!zset) return;
  const auto popped = Ends(*zset, highest, static_cast<size_t>(count.value_or(1)));
  if (!FitsRemoval(c, ref, *zset, popped)) return;
  // Without a count there is one member or none, and RESP3 does not nest it.
  if (!count) c.reply.Array(2 * popped.size());
  if (count) ReplyMemberCount(c, popped.size(), true);
  for (const ScoredName& m : popped) {
    if (count) {
      ReplyMember(c, m.name, m.score, true);
    } else {
      c.reply.Bulk(m.name);
      c.reply.Double(m.score);
    }
  }
  RemoveMembers(c, ref, popped);
}

void Zpopmin(Context& c) {
  Pop(c, false);
}
void Zpopmax(Context& c) {
  Pop(c, true);
}

void Zmpop(Context& c) {
  const std::optional<ScorePop> pop = ReadScorePop(c, 1);
  if (pop && !PopFirst(c, *pop)) c.reply.NullArray();
}

}  // namespace

std::optional<ScorePop> ReadScorePop(Context& c, size_t numkeys) {
  const std::optional<int64_t> keys = base::ParseInt64(c.args[numkeys]);
  if (!keys || *keys < 1) {
    c.reply.Error("ERR numkeys should be greater than 0");
    return std::nullopt;
  }
  auto syntax_error = [&]() -> std::optional<ScorePop> {
    ReplySyntaxError(c);
    return std::nullopt;
  };
  if (static_cast<uint64_t>(*keys) >= c.count() - numkeys - 1) return syntax_error();
  ScorePop pop;
  pop.keys = c.args.subspan(numkeys + 1, static_cast<size_t>(*keys));
  const size_t where = numkeys + 1 + static_cast<size_t>(*keys);
  pop.highest = EqualsIgnoreCase(c.args[where], "max");
  if (!pop.highest && !EqualsIgnoreCase(c.args[where], "min")) return syntax_error();
  if (c.count() == where + 1) return pop;
  if (!EqualsIgnoreCase(c.args[where + 1], "count") || c.count() == where + 2)
    return syntax_error();
  const std::optional<int64_t> count = base::ParseInt64(c.args[where + 2]);
  if (!count || *count < 1) {
    c.reply.Error("ERR count should be greater than 0");
    return std::nullopt;
  }
  if (c.count() > where + 3) return syntax_error();
  pop.count = static_cast<size_t>(*count);
  return pop;
}

bool PopFirst(Context& c, const ScorePop& pop) {
  for (std::string_view key : pop.keys) {
    const KeyRef ref = c.Ref(key);
    const auto zset = Open(c, ref, kSortedSet);
    if (!zset) return true;
    if (zset->size() == 0) continue;
    const auto popped = Ends(*zset, pop.highest, pop.count);
    if (!FitsRemoval(c, ref, *zset, popped)) return true;
    if (pop.flat) {
      c.reply.Array(3);
      c.reply.Bulk(key);
      c.reply.Bulk(popped[0].name);
      c.reply.Double(popped[0].score);
    } else {
      c.reply.Array(2);
      c.reply.Bulk(key);
      c.reply.Array(popped.size());
      for (const ScoredName& m : popped) {
        c.reply.Array(2);
        c.reply.Bulk(m.name);
        c.reply.Double(m.score);
      }
    }
    RemoveMembers(c, ref, popped);
    return true;
  }
  return false;
}

void AddSortedSetPopRows(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "zpopmin",
       .arity = -2,
       .flags = kWrite | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @sortedset @fast",
       .handler = Zpopmin,
       .summary = "Removes and returns the members with the lowest scores",
       .since = "5.0.0",
       .group = "sorted-set",
       .complexity = "O(M*log(N)) where N is the size of the sorted set and M the number popped",
       .syntax = "key:key count:integer?",
       .key_access = "RW access delete"},
      {.name = "zpopmax",
       .arity = -2,
       .flags = kWrite | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @sortedset @fast",
       .handler = Zpopmax,
       .summary = "Removes and returns the members with the highest scores",
       .since = "5.0.0",
       .group = "sorted-set",
       .complexity = "O(M*log(N)) where N is the size of the sorted set and M the number popped",
       .syntax = "key:key count:integer?",
       .key_access = "RW access delete"},
      {.name = "zmpop",
       .arity = -4,
       .flags = kWrite | kMovableKeys,
       .keys = {.numkeys = 1},
       .categories = "@write @sortedset @slow",
       .handler = Zmpop,
       .summary = "Pops members of the first sorted set that has any",
       .since = "7.0.0",
       .group = "sorted-set",
       .complexity =
           "O(K+M*log(N)) where K is the number of keys, N the size of the sorted set and M "
           "the number popped",
       .syntax = "numkeys:integer key:key* where:(MIN|MAX) COUNT count:integer?",
       .key_access = "RW access delete"},
      {.name = "zrandmember",
       .arity = -2,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @sortedset @slow",
       .handler = Zrandmember,
       .summary = "Returns random members",
       .since = "6.2.0",
       .group = "sorted-set",
       .complexity = "O(N) where N is the number of members returned",
       .syntax = "key:key options:{count:integer WITHSCORES?}?",
       .key_access = "RO access",
       .tips = "nondeterministic_output"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
