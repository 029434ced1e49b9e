// Lists: elements named by their positions (crdt/position.h). What comes in gets a new name; a pop
// removes exactly the element that it returns; LSET is a write of an element.
#include "command/list.h"

#include "base/number.h"
#include "command/blocking.h"
#include "command/families.h"
#include "command/support.h"

namespace polyarch::command {

using keyspace::Collection;
using keyspace::ElementView;
using keyspace::KeyRef;

std::optional<bool> ReadEnd(Context& c, std::string_view text) {
  if (EqualsIgnoreCase(text, "left")) return true;
  if (EqualsIgnoreCase(text, "right")) return false;
  ReplySyntaxError(c);
  return std::nullopt;
}

ListElement ElementAt(const Collection& list, size_t rank) {
  const ElementView entry = *list.elements->At(rank, list.viewer());
  return {std::string(entry.key()), TextOf(list.Show(entry))};
}

std::vector<ListElement> Ends(const Collection& list, bool front, uint64_t count) {
  std::vector<ListElement> found;
  if (list.size() == 0 || count == 0) return found;
  if (count == 1) return {ElementAt(list, front ? 0 : list.size() - 1)};
  list.elements->Walk(
      front ? 0 : list.size() - 1,
      !front,
      [&](const keyspace::RankedElement& item) {
        found.push_back({std::string(item.element.key()), TextOf(list.Show(item.element))});
        return found.size() < count;
      },
      list.viewer());
  return found;
}

OwnerHost* OwnersOf(Context& c, std::string_view key) {
  OwnerHost* owners = c.cluster.owners();
  return owners != nullptr && owners->in_use() && owners->Covers(key) ? owners : nullptr;
}

std::vector<ListElement> Poppable(
    Context& c, const KeyRef& ref, const Collection& list, bool front, uint64_t count) {
  OwnerHost* owners = OwnersOf(c, ref.key);
  if (owners == nullptr) [[likely]]
    return Ends(list, front, count);
  std::vector<ListElement> found;
  owners->VisitOwned(ref, list, front, count, [&](const ElementView& element) {
    found.push_back({std::string(element.key()), TextOf(list.Show(element))});
  });
  return found;
}

void RemovePopped(Context& c, const KeyRef& ref, std::span<const ListElement> popped) {
  if (OwnerHost* owners = OwnersOf(c, ref.key)) {
    for (const ListElement& e : popped)
      owners->NotePopped(c.change, ref, e.name);
  }
  RemoveElements(c, ref, popped);
}

void WantElements(Context& c, const Arguments& keys, bool front, uint64_t count) {
  for (std::string_view key : keys) {
    if (OwnerHost* owners = OwnersOf(c, key)) owners->Want(c.Ref(key), front, count, c.may_wait);
  }
}

void AskOwners(Context& c, const Arguments& keys, bool front, uint64_t count, bool null_is_bulk) {
  constexpr int64_t kAskMs = 10'000;  // an owner that is gone is replaced within half of that
  WantElements(c, keys, front, count);
  WaitForElements(c, kList, keys, kAskMs, null_is_bulk);
  if (c.suspended) {
    c.wait.when_gone = true;
    c.wait.late =
        "TRYAGAIN this leader owns no element of the list (policy pop-owner), and those who do gave it none; nothing "
        "was popped";
  }
}

bool FitsRemoval(Context& c, std::string_view key, std::span<const ListElement> elements) {
  // Under `pop-owner` the record of the owner goes with each.
  const size_t effects = OwnersOf(c, key) == nullptr ? 1 : 2;
  size_t bytes = 0;
  for (const ListElement& e : elements)
    bytes += effects * e.name.size();
  return FitsElements(c, key, bytes, effects * elements.size());
}

void RemoveElements(Context& c, const KeyRef& ref, std::span<const ListElement> elements) {
  for (const ListElement& e : elements)
    c.change.RemoveElement(ref, kList, e.name);
}

bool CheckPushed(Context& c, bool pushed) {
  if (!pushed) c.reply.Error("LIMIT there is no room for an element in this place of the list");
  return pushed;
}

bool FitsPushed(Context& c, std::string_view key, size_t values, size_t bytes) {
  return FitsElements(c, key, bytes + values * crdt::kPositionStepBytes, values + 1);
}

namespace {

void Push(Context& c, bool front, bool only_if_there) {
  const KeyRef ref = c.Ref(c.args[1]);
  const auto list = Open(c, ref, kList);
  if (!list) return;
  if (only_if_there && !list->found()) return c.reply.Integer(0);
  const Arguments values = c.args.subspan(2);
  size_t bytes = 0;
  for (std::string_view value : values)
    bytes += value.size();
  if (!FitsPushed(c, c.args[1], values.size(), bytes)) return;
  const auto size = static_cast<int64_t>(list->size() + values.size());
  // Where the first one finds room the others do.
  for (std::string_view value : values) {
    if (!CheckPushed(c, c.change.Push(ref, front, value))) return;
  }
  c.reply.Integer(size);
}

void Lpush(Context& c) {
  Push(c, true, false);
}
void Rpush(Context& c) {
  Push(c, false, false);
}
void Lpushx(Context& c) {
  Push(c, true, true);
}
void Rpushx(Context& c) {
  Push(c, false, true);
}

void Pop(Context& c, bool front) {
  if (c.count() > 3) {
    c.reply.Error(front ? "ERR wrong number of arguments for 'lpop' command"
                        : "ERR wrong number of arguments for 'rpop' command");
    return;
  }
  std::optional<int64_t> count;
  if (c.count() == 3) {
    count = base::ParseInt64(c.args[2]);
    if (!count || *count < 0) return c.reply.Error("ERR value is out of range, must be positive");
  }
  const KeyRef ref = c.Ref(c.args[1]);
  const auto list = Open(c, ref, kList);
  if (!list) return;
  if (list->size() == 0) return count ? c.reply.NullArray() : c.reply.Null();
  const auto wanted = static_cast<uint64_t>(count.value_or(1));
  const auto popped = Poppable(c, ref, *list, front, wanted);
  if (popped.empty() && wanted > 0) return AskOwners(c, c.args.subspan(1, 1), front, wanted, !count);
  if (!FitsRemoval(c, c.args[1], popped)) return;
  if (count) c.reply.Array(popped.size());
  for (const ListElement& e : popped)
    c.reply.Bulk(e.value);
  RemovePopped(c, ref, popped);
}

void Lpop(Context& c) {
  Pop(c, true);
}
void Rpop(Context& c) {
  Pop(c, false);
}

void Llen(Context& c) {
  const auto list = Open(c, c.Ref(c.args[1]), kList);
  if (list) c.reply.Integer(static_cast<int64_t>(list->size()));
}

void Move(Context& c, bool from, bool to) {
  const Moved moved = MoveElement(c, from, to);
  if (moved == Moved::kNothing) c.reply.Null();
  if (moved == Moved::kForeign) AskOwners(c, c.args.subspan(1, 1), from, 1, true);
}

void Lmove(Context& c) {
  const auto from = ReadEnd(c, c.args[3]);
  if (!from) return;
  const auto to = ReadEnd(c, c.args[4]);
  if (!to) return;
  Move(c, *from, *to);
}

void Rpoplpush(Context& c) {
  Move(c, false, true);
}

void Lmpop(Context& c) {
  const std::optional<ListPop> pop = ReadListPop(c, 1);
  if (!pop) return;
  const Moved moved = PopFirst(c, *pop);
  if (moved == Moved::kNothing) c.reply.NullArray();
  if (moved == Moved::kForeign) AskOwners(c, pop->keys, pop->front, pop->count, false);
}

}  // namespace

Moved MoveElement(Context& c, bool from_front, bool to_front) {
  const KeyRef source = c.Ref(c.args[1]);
  const KeyRef target = c.Ref(c.args[2]);
  const auto from = Open(c, source, kList);
  if (!from) return Moved::kReplied;
  if (from->size() == 0) return Moved::kNothing;
  const std::vector<ListElement> popped = Poppable(c, source, *from, from_front, 1);
  if (popped.empty()) return Moved::kForeign;
  const ListElement& element = popped.front();
  if (!Open(c, target, kList)) return Moved::kReplied;
  if (!FitsPushed(c, c.args[2], 1, element.value.size() + element.name.size() + c.args[1].size()))
    return Moved::kReplied;
  // First in, then out: a list that is turned round is never empty in between, and keeps its
  // expiry.
  if (!CheckPushed(c, c.change.Push(target, to_front, element.value))) return Moved::kReplied;
  RemovePopped(c, source, popped);
  c.reply.Bulk(element.value);
  return Moved::kReplied;
}

std::optional<ListPop> ReadListPop(Context& c, size_t numkeys) {
  const std::optional<int64_t> keys = base::ParseInt64(c.args[numkeys]);
  if (!keys || *keys < 1) {
    c.reply.Error("ERR numkeys should be greater than 0");
    return std::nullopt;
  }
  if (static_cast<uint64_t>(*keys) >= c.count() - numkeys - 1) {
    ReplySyntaxError(c);
    return std::nullopt;
  }
  ListPop pop;
  pop.keys = c.args.subspan(numkeys + 1, static_cast<size_t>(*keys));
  const size_t where = numkeys + 1 + static_cast<size_t>(*keys);
  const auto front = ReadEnd(c, c.args[where]);
  if (!front) return std::nullopt;
  pop.front = *front;
  if (c.count() == where + 1) return pop;
  if (!EqualsIgnoreCase(c.args[where + 1], "count") || c.count() == where + 2) {
    ReplySyntaxError(c);
    return std::nullopt;
  }
  const std::optional<int64_t> count = base::ParseInt64(c.args[where + 2]);
  if (!count || *count < 1) {
    c.reply.Error("ERR count should be greater than 0");
    return std::nullopt;
  }
  if (c.count() > where + 3) {
    ReplySyntaxError(c);
    return std::nullopt;
  }
  pop.count = static_cast<uint64_t>(*count);
  return pop;
}

Moved PopFirst(Context& c, const ListPop& pop) {
  Moved none = Moved::kNothing;
  for (std::string_view key : pop.keys) {
    const KeyRef ref = c.Ref(key);
    const auto list = Open(c, ref, kList);
    if (!list) return Moved::kReplied;
    if (list->size() == 0) continue;
    const auto popped = Poppable(c, ref, *list, pop.front, pop.count);
    if (popped.empty()) {
      none = Moved::kForeign;
      continue;
    }
    if (!FitsRemoval(c, key, popped)) return Moved::kReplied;
    c.reply.Array(2);
    c.reply.Bulk(key);
    c.reply.Array(popped.size());
    for (const ListElement& e : popped)
      c.reply.Bulk(e.value);
    RemovePopped(c, ref, popped);
    return Moved::kReplied;
  }
  return none;
}

void AddListFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "lpush",
       .arity = -3,
       .flags = kWrite | kDenyOom | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @list @fast",
       .handler = Lpush,
       .summary = "Puts elements before the first one of a list",
       .since = "1.0.0",
       .group = "list",
       .complexity = "O(log(N)) for each element added",
       .syntax = "key:key element*",
       .key_access = "RW insert"},
      {.name = "rpush",
       .arity = -3,
       .flags = kWrite | kDenyOom | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @list @fast",
       .handler = Rpush,
       .summary = "Puts elements behind the last one of a list",
       .since = "1.0.0",
       .group = "list",
       .complexity = "O(log(N)) for each element added",
       .syntax = "key:key element*",
       .key_access = "RW insert"},
      {.name = "lpushx",
       .arity = -3,
       .flags = kWrite | kDenyOom | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @list @fast",
       .handler = Lpushx,
       .summary = "Puts elements before the first one of a list that exists",
       .since = "2.2.0",
       .group = "list",
       .complexity = "O(log(N)) for each element added",
       .syntax = "key:key element*",
       .key_access = "RW insert"},
      {.name = "rpushx",
       .arity = -3,
       .flags = kWrite | kDenyOom | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @list @fast",
       .handler = Rpushx,
       .summary = "Puts elements behind the last one of a list that exists",
       .since = "2.2.0",
       .group = "list",
       .complexity = "O(log(N)) for each element added",
       .syntax = "key:key element*",
       .key_access = "RW insert"},
      {.name = "lpop",
       .arity = -2,
       .flags = kWrite | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @list @fast",
       .handler = Lpop,
       .summary = "Removes and returns the first elements",
       .since = "1.0.0",
       .group = "list",
       .complexity = "O(log(N)) for each element returned",
       .syntax = "key:key count:integer?",
       .key_access = "RW access delete"},
      {.name = "rpop",
       .arity = -2,
       .flags = kWrite | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @list @fast",
       .handler = Rpop,
       .summary = "Removes and returns the last elements",
       .since = "1.0.0",
       .group = "list",
       .complexity = "O(log(N)) for each element returned",
       .syntax = "key:key count:integer?",
       .key_access = "RW access delete"},
      {.name = "llen",
       .arity = 2,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@read @list @fast",
       .handler = Llen,
       .summary = "Returns the length of a list",
       .since = "1.0.0",
       .group = "list",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RO"},
      {.name = "lmove",
       .arity = 5,
       .flags = kWrite | kDenyOom,
       .keys = {1, 2, 1},
       .categories = "@write @list @slow",
       .handler = Lmove,
       .summary = "Moves an element from one end of a list to one of another",
       .since = "6.2.0",
       .group = "list",
       .complexity = "O(log(N))",
       .syntax = "source:key destination:key wherefrom:(LEFT|RIGHT) whereto:(LEFT|RIGHT)",
       .key_access = "RW access delete|RW insert"},
      {.name = "rpoplpush",
       .arity = 3,
       .flags = kWrite | kDenyOom,
       .keys = {1, 2, 1},
       .categories = "@write @list @slow",
       .handler = Rpoplpush,
       .summary = "Moves the last element of a list to the front of another",
       .since = "1.2.0",
       .group = "list",
       .complexity = "O(log(N))",
       .syntax = "source:key destination:key",
       .key_access = "RW access delete|RW insert",
       .deprecated_since = "6.2.0",
       .replaced_by = "`LMOVE` with the `RIGHT` and `LEFT` arguments"},
      {.name = "lmpop",
       .arity = -4,
       .flags = kWrite | kMovableKeys,
       .keys = {.numkeys = 1},
       .categories = "@write @list @slow",
       .handler = Lmpop,
       .summary = "Pops elements of the first list that has any",
       .since = "7.0.0",
       .group = "list",
       .complexity =
           "O(K+M*log(N)) where K is the number of keys and M that of the elements popped",
       .syntax = "numkeys:integer key:key* where:(LEFT|RIGHT) COUNT count:integer?",
       .key_access = "RW access delete"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
  AddListRangeRows(rows);
  AddListBlockRows(rows);
}

}  // namespace polyarch::command
