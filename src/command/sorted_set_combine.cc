// Unions, intersections and differences of sorted sets. Sets may take part: each of their members
// has the score 1.
#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/number.h"
#include "command/sorted_set.h"

namespace polyarch::command {
namespace {

using keyspace::Collection;
using keyspace::ElementView;
using keyspace::KeyRef;
using keyspace::Shown;

enum class Operation : uint8_t { kUnion, kInter, kDiff };
enum class Aggregate : uint8_t { kSum, kMin, kMax };

struct Input {
  Collection collection;
  bool is_set = false;
  double weight = 1;

  size_t size() const { return collection.size(); }
  bool Contains(std::string_view name) const { return collection.Contains(name); }
  double Score(const ElementView& entry) const { return is_set ? 1 : collection.Score(entry); }
};

struct Query {
  std::vector<Input> inputs;
  Aggregate aggregate = Aggregate::kSum;
  bool with_scores = false;
  size_t limit = 0;  // of ZINTERCARD; 0: none
};

// What a command takes beside its keys.
enum class Use : uint8_t { kReply, kStore, kCount };

// ---- reading arguments

bool OpenInput(Context& c, std::string_view key, Input& input) {
  const KeyRef ref = c.Ref(key);
  const Shown shown = c.keys.Peek(ref);  // which of the two it is
  input.is_set = shown.kind == Shown::Kind::kCollection && shown.type == crdt::Type::kSet;
  const auto collection = Open(c, ref, input.is_set ? crdt::Type::kSet : kSortedSet);
  if (collection) input.collection = *collection;
  return collection.has_value();
}

bool ReadWeights(Context& c, size_t at, Query& query) {
  for (Input& input : query.inputs) {
    const auto weight = ReadDouble(c, c.args[at++], "ERR weight value is not a float");
    if (!weight) return false;
    input.weight = *weight;
  }
  return true;
}

bool ReadAggregate(Context& c, std::string_view word, Query& query) {
  if (EqualsIgnoreCase(word, "sum")) {
    query.aggregate = Aggregate::kSum;
  } else if (EqualsIgnoreCase(word, "min")) {
    query.aggregate = Aggregate::kMin;
  } else if (EqualsIgnoreCase(word, "max")) {
    query.aggregate = Aggregate::kMax;
  } else {
    ReplySyntaxError(c);
    return false;
  }
  return true;
}

bool ReadLimit(Context& c, std::string_view text, Query& query) {
  const auto limit = base::ParseInt64(text);
  if (!limit || *limit < 0) {
    c.reply.Error("ERR LIMIT can't be negative");
    return false;
  }
  query.limit = static_cast<size_t>(*limit);
  return true;
}

bool ReadOptions(Context& c, size_t from, Operation operation, Use use, Query& query) {
  const bool weighs = operation != Operation::kDiff && use != Use::kCount;
  size_t i = from;
  while (i < c.count()) {
    const size_t values = c.count() - i - 1;  // behind this word
    if (weighs && values >= query.inputs.size() && EqualsIgnoreCase(c.args[i], "weights")) {
      if (!ReadWeights(c, i + 1, query)) return false;
      i += 1 + query.inputs.size();
    } else if (weighs && values >= 1 && EqualsIgnoreCase(c.args[i], "aggregate")) {
      if (!ReadAggregate(c, c.args[i + 1], query)) return false;
      i += 2;
    } else if (use == Use::kReply && EqualsIgnoreCase(c.args[i], "withscores")) {
      query.with_scores = true;
      ++i;
    } else if (use == Use::kCount && values >= 1 && EqualsIgnoreCase(c.args[i], "limit")) {
      if (!ReadLimit(c, c.args[i + 1], query)) return false;
      i += 2;
    } else {
      ReplySyntaxError(c);
      return false;
    }
  }
  return true;
}

bool ReadQuery(Context& c, std::string_view command, Operation operation, Use use, Query& query) {
  const size_t at = use == Use::kStore ? 2 : 1;
  const auto keys = ReadInteger(c, c.args[at]);
  if (!keys) return false;
  if (*keys < 1) {
    c.reply.Error("ERR at least 1 input key is needed for '" + std::string(command) + "' command");
    return false;
  }
  if (static_cast<uint64_t>(*keys) > c.count() - at - 1) {
    ReplySyntaxError(c);
    return false;
  }
  query.inputs.resize(static_cast<size_t>(*keys));
  for (size_t i = 0; i < query.inputs.size(); ++i) {
    if (!OpenInput(c, c.args[at + 1 + i], query.inputs[i])) return false;
  }
  return ReadOptions(c, at + 1 + query.inputs.size(), operation, use, query);
}

// ---- combining

double Weighted(double score, double weight) {
  const double product = score * weight;
  return std::isnan(product) ? 0 : product;
}

double Together(Aggregate aggregate, double a, double b) {
  switch (aggregate) {
    case Aggregate::kMin:
      return std::min(a, b);
    case Aggregate::kMax:
      return std::max(a, b);
    case Aggregate::kSum:
      break;
  }
  const double sum = a + b;
  return std::isnan(sum) ? 0 : sum;  // of opposite infinities
}

std::vector<ScoredName> Union(const Query& query) {
  std::vector<ScoredName> result;
  std::unordered_map<std::string_view, size_t> places;
  for (const Input& input : query.inputs) {
    input.collection.ForEach([&](const ElementView& entry) {
      const double score = Weighted(input.Score(entry), input.weight);
      const auto [place, added] = places.try_emplace(entry.key(), result.size());
      if (added) {
        result.push_back({std::string(entry.key()), score});
      } else {
        double& total = result[place->second].score;
        total = Together(query.aggregate, total, score);
      }
      return true;
    });
  }
  return result;
}

std::vector<ScoredName> Inter(const Query& query) {
  std::vector<ScoredName> result;
  query.inputs[0].collection.ForEach([&](const ElementView& entry) {
    double score = Weighted(query.inputs[0].Score(entry), query.inputs[0].weight);
    for (size_t i = 1; i < query.inputs.size(); ++i) {
      const Input& other = query.inputs[i];
      const auto its = other.collection.Find(entry.key());
      if (!its) return true;
      // As in Redis, infinity by 0 is not 0 here: it makes a sum 0, and is passed over otherwise.
      score = Together(query.aggregate, score, other.Score(*its) * other.weight);
    }
    result.push_back({std::string(entry.key()), score});
    return query.limit == 0 || result.size() < query.limit;
  });
  return result;
}

std::vector<ScoredName> Diff(const Query& query) {
  std::vector<ScoredName> result;
  const Input& first = query.inputs[0];
  first.collection.ForEach([&](const ElementView& entry) {
    const bool elsewhere =
        std::any_of(query.inputs.begin() + 1, query.inputs.end(), [&](const Input& other) {
          return other.Contains(entry.key());
        });
    if (!elsewhere) result.push_back({std::string(entry.key()), first.Score(entry)});
    return true;
  });
  return result;
}

// The result, in order.
std::vector<ScoredName> Combine(Query& query, Operation operation) {
  std::vector<ScoredName> result;
  if (operation == Operation::kDiff) {
    result = Diff(query);
  } else {
    // From the smallest on, as Redis: rounded sums depend on the order.
    std::stable_sort(query.inputs.begin(), query.inputs.end(), [](const Input& a, const Input& b) {
      return a.size() < b.size();
    });
    result = operation == Operation::kUnion ? Union(query) : Inter(query);
  }
  std::sort(result.begin(), result.end(), [](const ScoredName& a, const ScoredName& b) {
    return a.score < b.score || (a.score == b.score && a.name < b.name);
  });
  return result;
}

void ReplyCombined(Context& c, std::string_view command, Operation operation) {
  Query query;
  if (!ReadQuery(c, command, operation, Use::kReply, query)) return;
  const std::vector<ScoredName> result = Combine(query, operation);
  ReplyMemberCount(c, result.size(), query.with_scores);
  for (const ScoredName& m : result)
    ReplyMember(c, m.name, m.score, query.with_scores);
}

void StoreCombined(Context& c, std::string_view command, Operation operation) {
  Query query;
  if (!ReadQuery(c, command, operation, Use::kStore, query)) return;
  const std::vector<ScoredName> result = Combine(query, operation);
  if (StoreMembers(c, c.Ref(c.args[1]), result))
    c.reply.Integer(static_cast<int64_t>(result.size()));
}

void Zunion(Context& c) {
  ReplyCombined(c, "zunion", Operation::kUnion);
}
void Zinter(Context& c) {
  ReplyCombined(c, "zinter", Operation::kInter);
}
void Zdiff(Context& c) {
  ReplyCombined(c, "zdiff", Operation::kDiff);
}
void Zunionstore(Context& c) {
  StoreCombined(c, "zunionstore", Operation::kUnion);
}
void Zinterstore(Context& c) {
  StoreCombined(c, "zinterstore", Operation::kInter);
}
void Zdiffstore(Context& c) {
  StoreCombined(c, "zdiffstore", Operation::kDiff);
}

void Zintercard(Context& c) {
  Query query;
  if (!ReadQuery(c, "zintercard", Operation::kInter, Use::kCount, query)) return;
  c.reply.Integer(static_cast<int64_t>(Combine(query, Operation::kInter).size()));
}

constexpr std::string_view kUnionComplexity =
    "O(N+M*log(M)) where N is the number of all members and M the size of the result";
constexpr std::string_view kInterComplexity =
    "O(N*K+M*log(M)) where N is the size of the smallest input, K the number of inputs and M the "
    "size "
    "of the result";
constexpr std::string_view kDiffComplexity =
    "O(N*K+M*log(M)) where N is the size of the first input, K the number of inputs and M the size "
    "of "
    "the result";

}  // namespace

void AddSortedSetCombineRows(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "zunion",
       .arity = -3,
       .flags = kReadonly | kMovableKeys,
       .keys = {.numkeys = 1},
       .categories = "@read @sortedset @slow",
       .handler = Zunion,
       .summary = "Returns the union of sorted sets",
       .since = "6.2.0",
       .group = "sorted-set",
       .complexity = kUnionComplexity,
       .syntax = "numkeys:integer key:key* WEIGHTS weight:integer?* AGGREGATE "
                 "aggregate:(SUM|MIN|MAX)? WITHSCORES?",
       .key_access = "RO access"},
      {.name = "zinter",
       .arity = -3,
       .flags = kReadonly | kMovableKeys,
       .keys = {.numkeys = 1},
       .categories = "@read @sortedset @slow",
       .handler = Zinter,
       .summary = "Returns the intersection of sorted sets",
       .since = "6.2.0",
       .group = "sorted-set",
       .complexity = kInterComplexity,
       .syntax = "numkeys:integer key:key* WEIGHTS weight:integer?* AGGREGATE "
                 "aggregate:(SUM|MIN|MAX)? WITHSCORES?",
       .key_access = "RO access"},
      {.name = "zdiff",
       .arity = -3,
       .flags = kReadonly | kMovableKeys,
       .keys = {.numkeys = 1},
       .categories = "@read @sortedset @slow",
       .handler = Zdiff,
       .summary = "Returns the members of the first sorted set that no other one holds",
       .since = "6.2.0",
       .group = "sorted-set",
       .complexity = kDiffComplexity,
       .syntax = "numkeys:integer key:key* WITHSCORES?",
       .key_access = "RO access"},
      {.name = "zintercard",
       .arity = -3,
       .flags = kReadonly | kMovableKeys,
       .keys = {.numkeys = 1},
       .categories = "@read @sortedset @slow",
       .handler = Zintercard,
       .summary = "Returns the size of the intersection of sorted sets",
       .since = "7.0.0",
       .group = "sorted-set",
       .complexity = kInterComplexity,
       .syntax = "numkeys:integer key:key* LIMIT limit:integer?",
       .key_access = "RO access"},
      {.name = "zunionstore",
       .arity = -4,
       .flags = kWrite | kDenyOom | kMovableKeys,
       .keys = {.first = 1, .last = 1, .step = 1, .numkeys = 2},
       .categories = "@write @sortedset @slow",
       .handler = Zunionstore,
       .summary = "Stores the union of sorted sets",
       .since = "2.0.0",
       .group = "sorted-set",
       .complexity = kUnionComplexity,
       .syntax = "destination:key numkeys:integer key:key* WEIGHTS weight:integer?* AGGREGATE "
                 "aggregate:(SUM|MIN|MAX)?",
       .key_access = "OW update|RO access"},
      {.name = "zinterstore",
       .arity = -4,
       .flags = kWrite | kDenyOom | kMovableKeys,
       .keys = {.first = 1, .last = 1, .step = 1, .numkeys = 2},
       .categories = "@write @sortedset @slow",
       .handler = Zinterstore,
       .summary = "Stores the intersection of sorted sets",
       .since = "2.0.0",
       .group = "sorted-set",
       .complexity = kInterComplexity,
       .syntax = "destination:key numkeys:integer key:key* WEIGHTS weight:integer?* AGGREGATE "
                 "aggregate:(SUM|MIN|MAX)?",
       .key_access = "OW update|RO access"},
      {.name = "zdiffstore",
       .arity = -4,
       .flags = kWrite | kDenyOom | kMovableKeys,
       .keys = {.first = 1, .last = 1, .step = 1, .numkeys = 2},
       .categories = "@write @sortedset @slow",
       .handler = Zdiffstore,
       .summary = "Stores the members of the first sorted set that no other one holds",
       .since = "6.2.0",
       .group = "sorted-set",
       .complexity = kDiffComplexity,
       .syntax = "destination:key numkeys:integer key:key*",
       .key_access = "OW update|RO access"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
