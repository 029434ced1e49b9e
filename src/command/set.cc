// Sets: members are added and removed by what was seen; of an add and a concurrent remove the add wins.
#include <algorithm>
#include <limits>
#include <set>
#include <vector>

#include "base/number.h"
#include "command/collection.h"
#include "command/families.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

using keyspace::Collection;
using keyspace::ElementView;
using keyspace::KeyRef;

constexpr crdt::Type kSet = crdt::Type::kSet;

bool FitsMembers(Context& c) {
  size_t bytes = 0;
  for (std::string_view member : c.args.subspan(2))
    bytes += member.size();
  return FitsElements(c, c.args[1], bytes, c.count() - 1);
}

void Sadd(Context& c) {
  const KeyRef ref = c.Ref(c.args[1]);
  if (!Open(c, ref, kSet) || !CheckElementNames(c, 2) || !FitsMembers(c)) return;
  int64_t added = 0;
  for (std::string_view member : c.args.subspan(2)) {
    if (!c.keys.OpenAgain(ref, kSet).Contains(member)) ++added;
    // Also of a member that is there: a concurrent remove must not take what was acknowledged.
    c.change.PutElement(ref, kSet, member, {});
  }
  c.reply.Integer(added);
}

void Srem(Context& c) {
  const KeyRef ref = c.Ref(c.args[1]);
  if (!Open(c, ref, kSet) || !FitsMembers(c)) return;
  int64_t removed = 0;
  for (std::string_view member : c.args.subspan(2)) {
    if (!c.keys.OpenAgain(ref, kSet).Contains(member)) continue;
    c.change.RemoveElement(ref, kSet, member);
    ++removed;
  }
  c.reply.Integer(removed);
}

void Sismember(Context& c) {
  const auto set = Open(c, c.Ref(c.args[1]), kSet);
  if (set) c.reply.Integer(set->Contains(c.args[2]) ? 1 : 0);
}

void Smismember(Context& c) {
  const auto set = Open(c, c.Ref(c.args[1]), kSet);
  if (!set) return;
  c.reply.Array(c.count() - 2);
  for (std::string_view member : c.args.subspan(2))
    c.reply.Integer(set->Contains(member) ? 1 : 0);
}

void Scard(Context& c) {
  const auto set = Open(c, c.Ref(c.args[1]), kSet);
  if (set) c.reply.Integer(static_cast<int64_t>(set->size()));
}

void Smembers(Context& c) {
  const auto set = Open(c, c.Ref(c.args[1]), kSet);
  if (!set) return;
  c.reply.Set(set->size());
  set->ForEach([&](const ElementView& entry) {
    c.reply.Bulk(entry.key());
    return true;
  });
}

void Smove(Context& c) {
  const KeyRef source = c.Ref(c.args[1]);
  const KeyRef target = c.Ref(c.args[2]);
  const std::string_view member = c.args[3];
  // As Redis: a missing source is no error, whatever the target is.
  if (!c.keys.Exists(source)) return c.reply.Integer(0);
  const auto from = Open(c, source, kSet);
  if (!from) return;
  const bool there = from->Contains(member);
  if (!Open(c, target, kSet)) return;
  if (!there) return c.reply.Integer(0);
  if (c.args[1] == c.args[2]) return c.reply.Integer(1);
  if (!FitsElements(c, c.args[2], 2 * member.size() + c.args[1].size(), 2)) return;
  c.change.RemoveElement(source, kSet, member);
  c.change.PutElement(target, kSet, member, {});
  c.reply.Integer(1);
}

// ---- random members

void Spop(Context& c) {
  if (c.count() > 3) return ReplySyntaxError(c);
  std::optional<int64_t> count;
  if (c.count() == 3) {
    count = base::ParseInt64(c.args[2]);
    if (!count || *count < 0)
      return c.reply.Error("ERR value is out of range, must be positive");
  }
  const KeyRef ref = c.Ref(c.args[1]);
  const auto set = Open(c, ref, kSet);
  if (!set) return;
  if (!count) {
    const auto entry = set->found() ? set->elements->Random(c.random) : std::nullopt;
    if (!entry) return c.reply.Null();
    const std::string member(entry->key());
    c.reply.Bulk(member);
    c.change.RemoveElement(ref, kSet, member);
    return;
  }
  std::vector<std::string> members;
  size_t bytes = 0;
  for (const ElementView& entry : DistinctRandom(*set, static_cast<size_t>(*count), c.random)) {
    members.emplace_back(entry.key());
    bytes += entry.key().size();
  }
  if (!FitsElements(c, c.args[1], bytes, members.size())) return;
  c.reply.Set(members.size());
  for (const std::string& member : members) {
    c.reply.Bulk(member);
    c.change.RemoveElement(ref, kSet, member);
  }
}

void Srandmember(Context& c) {
  if (c.count() > 3) return ReplySyntaxError(c);
  std::optional<int64_t> count;
  if (c.count() == 3) {
    count = ReadRandomCount(c, c.args[2]);
    if (!count) return;
  }
  const auto set = Open(c, c.Ref(c.args[1]), kSet);
  if (!set) return;
  if (!count) {
    const auto entry = set->found() ? set->elements->Random(c.random) : std::nullopt;
    return !entry ? c.reply.Null() : c.reply.Bulk(entry->key());
  }
  ReplyRandomElements(c, *set, *count, 1, [&](const ElementView& entry) {
    c.reply.Bulk(entry.key());
    return true;
  });
}

// ---- several sets

enum class Operation : uint8_t { kInter, kUnion, kDiff };

// The result of an operation on the sets named by `keys`, without duplicates; nothing if one is of
// another type. At most `limit` members, if that is not 0.
std::optional<std::vector<std::string>> Combine(Context& c,
                                                Operation operation,
                                                Arguments keys,
                                                size_t limit = 0) {
  std::vector<Collection> sets;
  bool missing = false;
  for (std::string_view key : keys) {
    const auto set = Open(c, c.Ref(key), kSet);
    if (!set) return std::nullopt;
    missing = missing || set->size() == 0;
    sets.push_back(*set);
  }
  std::vector<std::string> result;
  if (operation == Operation::kUnion) {
    std::set<std::string_view> known;
    for (const Collection& set : sets) {
      set.ForEach([&](const ElementView& entry) {
        if (known.insert(entry.key()).second) result.emplace_back(entry.key());
        return true;
      });
    }
    return result;
  }
  if (operation == Operation::kInter && missing) return result;
  const Collection* walked = &sets[0];
  if (operation == Operation::kInter) {
    walked = &*std::min_element(sets.begin(), sets.end(), [](const auto& a, const auto& b) {
      return a.size() < b.size();
    });
  }
  walked->ForEach([&](const ElementView& entry) {
    bool in = true;
    for (const Collection& set : sets) {
      if (&set == walked) continue;
      in = set.Contains(entry.key()) == (operation == Operation::kInter);
      if (!in) break;
    }
    // A difference from a set that is its own subtrahend.
    if (in) result.emplace_back(entry.key());
    return limit == 0 || result.size() < limit;
  });
  return result;
}

void ReplyCombined(Context& c, Operation operation) {
  const auto members = Combine(c, operation, c.args.subspan(1));
  if (!members) return;
  c.reply.Set(members->size());
  for (const std::string& member : *members)
    c.reply.Bulk(member);
}

void StoreCombined(Context& c, Operation operation) {
  const auto members = Combine(c, operation, c.args.subspan(2));
  if (!members) return;
  const KeyRef target = c.Ref(c.args[1]);
  size_t bytes = 0;
  for (const std::string& member : *members)
    bytes += member.size();
  if (!FitsElements(c, c.args[1], bytes, members->size())) return;
  DeleteSeen(c, target);
  for (const std::string& member : *members)
    c.change.PutElement(target, kSet, member, {});
  c.reply.Integer(static_cast<int64_t>(members->size()));
}

void Sinter(Context& c) {
  ReplyCombined(c, Operation::kInter);
}
void Sunion(Context& c) {
  ReplyCombined(c, Operation::kUnion);
}
void Sdiff(Context& c) {
  ReplyCombined(c, Operation::kDiff);
}
void Sinterstore(Context& c) {
  StoreCombined(c, Operation::kInter);
}
void Sunionstore(Context& c) {
  StoreCombined(c, Operation::kUnion);
}
void Sdiffstore(Context& c) {
  StoreCombined(c, Operation::kDiff);
}

void Sintercard(Context& c) {
  const std::optional<int64_t> keys = base::ParseInt64(c.args[1]);
  if (!keys || *keys <= 0) return c.reply.Error("ERR numkeys should be greater than 0");
  if (static_cast<uint64_t>(*keys) > c.count() - 2)
    return c.reply.Error("ERR Number of keys can't be greater than number of args");
  size_t i = 2 + static_cast<size_t>(*keys);
  int64_t limit = 0;
  for (; i < c.count(); i += 2) {
    if (!EqualsIgnoreCase(c.args[i], "limit") || i + 1 == c.count()) return ReplySyntaxError(c);
    const std::optional<int64_t> read = base::ParseInt64(c.args[i + 1]);
    if (!read || *read < 0) return c.reply.Error("ERR LIMIT can't be negative");
    limit = *read;
  }
  const auto members = Combine(c,
                               Operation::kInter,
                               c.args.subspan(2, static_cast<size_t>(*keys)),
                               static_cast<size_t>(limit));
  if (members) c.reply.Integer(static_cast<int64_t>(members->size()));
}

void Sscan(Context& c) {
  ScanElements(c, kSet, 1, [](Context& context, const Collection&, const ElementView& entry) {
    context.reply.Bulk(entry.key());
    return true;
  });
}

}  // namespace

void AddSetFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "sadd", .arity = -3, .flags = kWrite | kDenyOom | kFast, .keys = {1, 1, 1},
       .categories = "@write @set @fast", .handler = Sadd, .summary = "Adds members to a set",
       .since = "1.0.0", .group = "set", .complexity = "O(N) where N is the number of members",
       .syntax = "key:key member*", .key_access = "RW insert"},
      {.name = "srem", .arity = -3, .flags = kWrite | kFast, .keys = {1, 1, 1},
       .categories = "@write @set @fast", .handler = Srem, .summary = "Removes members from a set",
       .since = "1.0.0", .group = "set", .complexity = "O(N) where N is the number of members",
       .syntax = "key:key member*", .key_access = "RW delete"},
      {.name = "sismember", .arity = 3, .flags = kReadonly | kFast, .keys = {1, 1, 1},
       .categories = "@read @set @fast", .handler = Sismember,
       .summary = "Tells whether a member is in a set", .since = "1.0.0", .group = "set",
       .complexity = "O(1)", .syntax = "key:key member", .key_access = "RO"},
      {.name = "smismember", .arity = -3, .flags = kReadonly | kFast, .keys = {1, 1, 1},
       .categories = "@read @set @fast", .handler = Smismember,
       .summary = "Tells which members are in a set", .since = "6.2.0", .group = "set",
       .complexity = "O(N) where N is the number of members", .syntax = "key:key member*",
       .key_access = "RO access"},
      {.name = "scard", .arity = 2, .flags = kReadonly | kFast, .keys = {1, 1, 1},
       .categories = "@read @set @fast", .handler = Scard,
       .summary = "Returns the number of members", .since = "1.0.0", .group = "set",
       .complexity = "O(1)", .syntax = "key:key", .key_access = "RO"},
      {.name = "smembers", .arity = 2, .flags = kReadonly, .keys = {1, 1, 1},
       .categories = "@read @set @slow", .handler = Smembers, .summary = "Returns all members",
       .since = "1.0.0", .group = "set", .complexity = "O(N) where N is the size of the set",
       .syntax = "key:key", .key_access = "RO access", .tips = "nondeterministic_output_order"},
      {.name = "smove", .arity = 4, .flags = kWrite | kFast, .keys = {1, 2, 1},
       .categories = "@write @set @fast", .handler = Smove,
       .summary = "Moves a member from one set to another", .since = "1.0.0", .group = "set",
       .complexity = "O(1)", .syntax = "source:key destination:key member",
       .key_access = "RW access delete|RW insert"},
      {.name = "spop", .arity = -2, .flags = kWrite | kFast, .keys = {1, 1, 1},
       .categories = "@write @set @fast", .handler = Spop,
       .summary = "Removes and returns random members", .since = "1.0.0", .group = "set",
       .complexity = "O(N) where N is the number of members returned",
       .syntax = "key:key count:integer?@3.2.0", .key_access = "RW access delete",
       .tips = "nondeterministic_output"},
      {.name = "srandmember", .arity = -2, .flags = kReadonly, .keys = {1, 1, 1},
       .categories = "@read @set @slow", .handler = Srandmember,
       .summary = "Returns random members", .since = "1.0.0", .group = "set",
       .complexity = "O(N) where N is the number of members returned",
       .syntax = "key:key count:integer?@2.6.0", .key_access = "RO access",
       .tips = "nondeterministic_output"},
      {.name = "sinter", .arity = -2, .flags = kReadonly, .keys = {1, -1, 1},
       .categories = "@read @set @slow", .handler = Sinter,
       .summary = "Returns the intersection of sets", .since = "1.0.0", .group = "set",
       .complexity = "O(N*M) where N is the size of the smallest set and M the number of sets",
       .syntax = "key:key*", .key_access = "RO access", .tips = "nondeterministic_output_order"},
      {.name = "sintercard", .arity = -3, .flags = kReadonly | kMovableKeys, .keys = {.numkeys = 1},
       .categories = "@read @set @slow", .handler = Sintercard,
       .summary = "Returns the size of the intersection of sets", .since = "7.0.0", .group = "set",
       .complexity = "O(N*M) where N is the size of the smallest set and M the number of sets",
       .syntax = "numkeys:integer key:key* LIMIT limit:integer?", .key_access = "RO access"},
      {.name = "sinterstore", .arity = -3, .flags = kWrite | kDenyOom, .keys = {1, -1, 1},
       .categories = "@write @set @slow", .handler = Sinterstore,
       .summary = "Stores the intersection of sets", .since = "1.0.0", .group = "set",
       .complexity = "O(N*M) where N is the size of the smallest set and M the number of sets",
       .syntax = "destination:key key:key*", .key_access = "RW update|RO access"},
      {.name = "sunion", .arity = -2, .flags = kReadonly, .keys = {1, -1, 1},
       .categories = "@read @set @slow", .handler = Sunion, .summary = "Returns the union of sets",
       .since = "1.0.0", .group = "set", .complexity = "O(N) where N is the number of all members",
       .syntax = "key:key*", .key_access = "RO access", .tips = "nondeterministic_output_order"},
      {.name = "sunionstore", .arity = -3, .flags = kWrite | kDenyOom, .keys = {1, -1, 1},
       .categories = "@write @set @slow", .handler = Sunionstore,
       .summary = "Stores the union of sets", .since = "1.0.0", .group = "set",
       .complexity = "O(N) where N is the number of all members",
       .syntax = "destination:key key:key*", .key_access = "OW update|RO access"},
      {.name = "sdiff", .arity = -2, .flags = kReadonly, .keys = {1, -1, 1},
       .categories = "@read @set @slow", .handler = Sdiff,
       .summary = "Returns the members of the first set that no other set holds", .since = "1.0.0",
       .group = "set", .complexity = "O(N) where N is the number of all members",
       .syntax = "key:key*", .key_access = "RO access", .tips = "nondeterministic_output_order"},
      {.name = "sdiffstore", .arity = -3, .flags = kWrite | kDenyOom, .keys = {1, -1, 1},
       .categories = "@write @set @slow", .handler = Sdiffstore,
       .summary = "Stores the members of the first set that no other set holds", .since = "1.0.0",
       .group = "set", .complexity = "O(N) where N is the number of all members",
       .syntax = "destination:key key:key*", .key_access = "OW update|RO access"},
      {.name = "sscan", .arity = -3, .flags = kReadonly, .keys = {1, 1, 1},
       .categories = "@read @set @slow", .handler = Sscan,
       .summary = "Walks through the members of a set in steps", .since = "2.8.0", .group = "set",
       .complexity = "O(1) a call, O(N) for the whole walk",
       .syntax = "key:key cursor:integer MATCH pattern:pattern? COUNT count:integer?",
       .key_access = "RO access", .tips = "nondeterministic_output"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
