// Elements of lists by index or value, and ranges of them.
#include <algorithm>
#include <limits>

#include "base/number.h"
#include "command/list.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

using keyspace::Collection;
using keyspace::ElementView;
using keyspace::KeyRef;
using Item = keyspace::RankedElement;

// The rank of an index that may count from the end; nothing if it is outside.
std::optional<size_t> RankOf(const Collection& list, int64_t index) {
  const auto size = static_cast<int64_t>(list.size());
  if (index < 0) index += size;
  if (index < 0 || index >= size) return std::nullopt;
  return static_cast<size_t>(index);
}

// [first, last] of ranks as LRANGE and LTRIM understand them; empty if first > last.
struct Ranks {
  int64_t first = 0;
  int64_t last = -1;
  size_t count() const { return first > last ? 0 : static_cast<size_t>(last - first + 1); }
};
Ranks RanksOf(const Collection& list, int64_t start, int64_t stop) {
  const auto size = static_cast<int64_t>(list.size());
  if (start < 0) start = std::max<int64_t>(start + size, 0);
  if (stop < 0) stop += size;
  return {start, std::min(stop, size - 1)};
}

uint64_t Magnitude(int64_t number) {
  return number < 0 ? -static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
}

// Neither a name nor a value is copied.
bool HasValue(const Collection& list, const ElementView& entry, std::string_view value) {
  if (entry.form() == keyspace::Form::kValue) return entry.value() == value;
  return TextOf(list.Show(entry)) == value;
}

void Lindex(Context& c) {
  const auto list = Open(c, c.Ref(c.args[1]), kList);
  if (!list) return;
  if (!list->found()) return c.reply.Null();
  const std::optional<int64_t> index = ReadInteger(c, c.args[2]);
  if (!index) return;
  const auto rank = RankOf(*list, *index);
  if (!rank) return c.reply.Null();
  ReplyValue(c, list->Show(*list->elements->At(*rank, list->viewer())));
}

void Lrange(Context& c) {
  const std::optional<int64_t> start = ReadInteger(c, c.args[2]);
  if (!start) return;
  const std::optional<int64_t> stop = ReadInteger(c, c.args[3]);
  if (!stop) return;
  const auto list = Open(c, c.Ref(c.args[1]), kList);
  if (!list) return;
  const Ranks ranks = RanksOf(*list, *start, *stop);
  size_t left = ranks.count();
  if (left == 0) return c.reply.EmptyArray();
  c.reply.Array(left);
  list->elements->Walk(
      static_cast<size_t>(ranks.first),
      false,
      [&](const Item& item) {
        ReplyValue(c, list->Show(item.element));
        return --left > 0;
      },
      list->viewer());
}

void Lset(Context& c) {
  const KeyRef ref = c.Ref(c.args[1]);
  const auto list = Open(c, ref, kList);
  if (!list) return;
  if (!list->found()) return c.reply.Error(kNoSuchKey);
  const std::optional<int64_t> index = ReadInteger(c, c.args[2]);
  if (!index) return;
  const auto rank = RankOf(*list, *index);
  if (!rank) return c.reply.Error("ERR index out of range");
  const std::string name(list->elements->At(*rank, list->viewer())->key());
  if (!FitsElements(c, c.args[1], name.size() + c.args[3].size(), 1)) return;
  c.change.PutElement(ref, kList, name, c.args[3]);
  c.reply.Ok();
}

void Linsert(Context& c) {
  const bool before = EqualsIgnoreCase(c.args[2], "before");
  if (!before && !EqualsIgnoreCase(c.args[2], "after")) return ReplySyntaxError(c);
  const KeyRef ref = c.Ref(c.args[1]);
  const auto list = Open(c, ref, kList);
  if (!list) return;
  if (!list->found()) return c.reply.Integer(0);
  std::string pivot;
  list->elements->Walk(
      0,
      false,
      [&](const Item& item) {
        if (!HasValue(*list, item.element, c.args[3])) return true;
        pivot = item.element.key();
        return false;
      },
      list->viewer());
  if (pivot.empty()) return c.reply.Integer(-1);
  const auto size = static_cast<int64_t>(list->size()) + 1;
  if (!FitsPushed(c, c.args[1], 1, pivot.size() + c.args[4].size())) return;
  if (CheckPushed(c, c.change.Insert(ref, pivot, before, c.args[4]))) c.reply.Integer(size);
}

void Lrem(Context& c) {
  const std::optional<int64_t> count = ReadInteger(c, c.args[2]);
  if (!count) return;
  const KeyRef ref = c.Ref(c.args[1]);
  const auto list = Open(c, ref, kList);
  if (!list) return;
  if (!list->found()) return c.reply.Integer(0);
  const uint64_t most = *count == 0 ? std::numeric_limits<uint64_t>::max() : Magnitude(*count);
  std::vector<ListElement> gone;
  const bool from_end = *count < 0;
  list->elements->Walk(
      from_end ? list->size() - 1 : 0,
      from_end,
      [&](const Item& item) {
        if (HasValue(*list, item.element, c.args[3]))
          gone.push_back({std::string(item.element.key()), {}});
        return gone.size() < most;
      },
      list->viewer());
  if (!FitsRemoval(c, c.args[1], gone)) return;
  RemoveElements(c, ref, gone);
  c.reply.Integer(static_cast<int64_t>(gone.size()));
}

void Ltrim(Context& c) {
  const std::optional<int64_t> start = ReadInteger(c, c.args[2]);
  if (!start) return;
  const std::optional<int64_t> stop = ReadInteger(c, c.args[3]);
  if (!stop) return;
  const KeyRef ref = c.Ref(c.args[1]);
  const auto list = Open(c, ref, kList);
  if (!list) return;
  if (!list->found()) return c.reply.Ok();
  const Ranks kept = RanksOf(*list, *start, *stop);
  // All of it is DEL, which says so in one effect however long the list is.
  const bool all = kept.count() == 0;
  if (all && !c.keys.HoldsSeveralTypes(ref)) {
    if (!FitsElements(c, c.args[1], 0, 1)) return;
    c.change.Delete(ref);
    return c.reply.Ok();
  }
  const size_t before = all ? list->size() : static_cast<size_t>(kept.first);
  const size_t behind = all ? 0 : list->size() - 1 - static_cast<size_t>(kept.last);
  // Each end that goes: few elements one by one, many as a range of names.
  constexpr size_t kFew = 8;
  std::vector<ListElement> gone;
  std::vector<std::pair<std::string, std::string>> ranges;
  auto name_at = [&](size_t rank) {
    const auto element = list->elements->At(rank, list->viewer());
    return std::string(element->key());
  };
  auto take = [&](size_t from, size_t count) {
    if (count > kFew) {
      // Up to what stands there, and no further.
      ranges.emplace_back(name_at(from), name_at(from + count - 1) + '\0');
      return;
    }
    for (size_t i = 0; i < count; ++i)
      gone.push_back({name_at(from + i), {}});
  };
  take(0, before);
  take(list->size() - behind, behind);
  for (const auto& [from, to] : ranges)
    gone.push_back({from + to, {}});
  if (!FitsRemoval(c, c.args[1], gone)) return;
  gone.resize(gone.size() - ranges.size());
  RemoveElements(c, ref, gone);
  for (const auto& [from, to] : ranges)
    c.change.RemoveRange(ref, kList, from, to);
  c.reply.Ok();
}

struct PosOptions {
  int64_t rank = 1;
  std::optional<int64_t> count;  // 0: all
  int64_t looked_at_max = 0;     // 0: all
};

bool ReadPosOptions(Context& c, PosOptions& options) {
  for (size_t i = 3; i < c.count(); i += 2) {
    const bool has_value = i + 1 < c.count();
    if (has_value && EqualsIgnoreCase(c.args[i], "rank")) {
      const std::optional<int64_t> rank = ReadInteger(c, c.args[i + 1]);
      if (!rank) return false;
      if (*rank == 0) {
        c.reply.Error(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or "
            "use negative to start from the end of the list");
        return false;
      }
      options.rank = *rank;
    } else if (has_value && EqualsIgnoreCase(c.args[i], "count")) {
      const std::optional<int64_t> count = base::ParseInt64(c.args[i + 1]);
      if (!count || *count < 0) {
        c.reply.Error("ERR COUNT can't be negative");
        return false;
      }
      options.count = count;
    } else if (has_value && EqualsIgnoreCase(c.args[i], "maxlen")) {
      const std::optional<int64_t> looked_at = base::ParseInt64(c.args[i + 1]);
      if (!looked_at || *looked_at < 0) {
        c.reply.Error("ERR MAXLEN can't be negative");
        return false;
      }
      options.looked_at_max = *looked_at;
    } else {
      ReplySyntaxError(c);
      return false;
    }
  }
  return true;
}

void Lpos(Context& c) {
  PosOptions options;
  if (!ReadPosOptions(c, options)) return;
  const auto list = Open(c, c.Ref(c.args[1]), kList);
  if (!list) return;
  if (!list->found()) return options.count ? c.reply.EmptyArray() : c.reply.Null();
  const bool from_end = options.rank < 0;
  // As in Redis the least of all ranks is that of the first match from the end.
  const uint64_t wanted =
      options.rank == std::numeric_limits<int64_t>::min() ? 1 : Magnitude(options.rank);
  const auto most = static_cast<uint64_t>(options.count.value_or(1));
  std::vector<size_t> found;
  uint64_t matches = 0;
  size_t looked_at = 0;
  list->elements->Walk(
      from_end ? list->size() - 1 : 0,
      from_end,
      [&](const Item& item) {
        const size_t rank = from_end ? list->size() - 1 - looked_at : looked_at;
        ++looked_at;
        if (HasValue(*list, item.element, c.args[2]) && ++matches >= wanted) found.push_back(rank);
        const bool enough = most != 0 && found.size() >= most;
        return !enough && looked_at != static_cast<size_t>(options.looked_at_max);
      },
      list->viewer());
  if (!options.count) {
    return found.empty() ? c.reply.Null() : c.reply.Integer(static_cast<int64_t>(found[0]));
  }
  c.reply.Array(found.size());
  for (size_t rank : found)
    c.reply.Integer(static_cast<int64_t>(rank));
}

}  // namespace

void AddListRangeRows(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "lindex",
       .arity = 3,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @list @slow",
       .handler = Lindex,
       .summary = "Returns the element of an index",
       .since = "1.0.0",
       .group = "list",
       .complexity = "O(log(N))",
       .syntax = "key:key index:integer",
       .key_access = "RO access"},
      {.name = "lrange",
       .arity = 4,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @list @slow",
       .handler = Lrange,
       .summary = "Returns the elements of a range of indices",
       .since = "1.0.0",
       .group = "list",
       .complexity = "O(log(N)+M) where M is the number of elements returned",
       .syntax = "key:key start:integer stop:integer",
       .key_access = "RO access"},
      {.name = "lset",
       .arity = 4,
       .flags = kWrite | kDenyOom,
       .keys = {1, 1, 1},
       .categories = "@write @list @slow",
       .handler = Lset,
       .summary = "Sets the element of an index",
       .since = "1.0.0",
       .group = "list",
       .complexity = "O(log(N))",
       .syntax = "key:key index:integer element",
       .key_access = "RW update"},
      {.name = "linsert",
       .arity = 5,
       .flags = kWrite | kDenyOom,
       .keys = {1, 1, 1},
       .categories = "@write @list @slow",
       .handler = Linsert,
       .summary = "Puts an element before or behind another one",
       .since = "2.2.0",
       .group = "list",
       .complexity = "O(N) where N is the number of elements before the pivot",
       .syntax = "key:key where:(BEFORE|AFTER) pivot element",
       .key_access = "RW insert"},
      {.name = "lrem",
       .arity = 4,
       .flags = kWrite,
       .keys = {1, 1, 1},
       .categories = "@write @list @slow",
       .handler = Lrem,
       .summary = "Removes elements of a value",
       .since = "1.0.0",
       .group = "list",
       .complexity = "O(N+M*log(N)) where M is the number of elements removed",
       .syntax = "key:key count:integer element",
       .key_access = "RW delete"},
      {.name = "ltrim",
       .arity = 4,
       .flags = kWrite,
       .keys = {1, 1, 1},
       .categories = "@write @list @slow",
       .handler = Ltrim,
       .summary = "Keeps the elements of a range of indices only",
       .since = "1.0.0",
       .group = "list",
       .complexity = "O(M*log(N)) where M is the number of elements removed",
       .syntax = "key:key start:integer stop:integer",
       .key_access = "RW delete"},
      {.name = "lpos",
       .arity = -3,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @list @slow",
       .handler = Lpos,
       .summary = "Returns the indices of elements of a value",
       .since = "6.0.6",
       .group = "list",
       .complexity = "O(N) where N is the number of elements looked at",
       .syntax =
           "key:key element RANK rank:integer? COUNT num-matches:integer? MAXLEN len:integer?",
       .key_access = "RO access"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
