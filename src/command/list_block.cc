// Lists that are waited for: BLPOP and the like. What a client gets when it has waited is what the
// command would have given it then.
#include "command/blocking.h"
#include "command/list.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

using keyspace::KeyRef;

void BlockingPop(Context& c, bool front) {
  const std::optional<int64_t> timeout = ReadTimeout(c, c.args[c.count() - 1]);
  if (!timeout) return;
  const Arguments keys = c.args.subspan(1, c.count() - 2);
  for (std::string_view key : KeysToLookAt(c, keys)) {
    const KeyRef ref = c.Ref(key);
    const auto list = Open(c, ref, kList);
    if (!list) return;
    if (list->size() == 0) continue;
    const auto popped = Poppable(c, ref, *list, front, 1);
    if (popped.empty()) continue;
    if (!FitsRemoval(c, key, popped)) return;
    c.reply.Array(2);
    c.reply.Bulk(key);
    c.reply.Bulk(popped[0].value);
    return RemovePopped(c, ref, popped);
  }
  WantElements(c, keys, front, 1);
  WaitForElements(c, kList, keys, *timeout, false);
}

void Blpop(Context& c) {
  BlockingPop(c, true);
}
void Brpop(Context& c) {
  BlockingPop(c, false);
}

void BlockingMove(Context& c, bool from, bool to, std::string_view timeout_text) {
  const std::optional<int64_t> timeout = ReadTimeout(c, timeout_text);
  if (!timeout || MoveElement(c, from, to) == Moved::kReplied) return;
  WantElements(c, c.args.subspan(1, 1), from, 1);
  WaitForElements(c, kList, c.args.subspan(1, 1), *timeout, true);
}

void Blmove(Context& c) {
  const auto from = ReadEnd(c, c.args[3]);
  if (!from) return;
  const auto to = ReadEnd(c, c.args[4]);
  if (to) BlockingMove(c, *from, *to, c.args[5]);
}

void Brpoplpush(Context& c) {
  BlockingMove(c, false, true, c.args[3]);
}

void Blmpop(Context& c) {
  std::optional<ListPop> pop = ReadListPop(c, 2);
  if (!pop) return;
  const std::optional<int64_t> timeout = ReadTimeout(c, c.args[1]);
  if (!timeout) return;
  const Arguments keys = pop->keys;
  pop->keys = KeysToLookAt(c, keys);
  if (PopFirst(c, *pop) == Moved::kReplied) return;
  WantElements(c, keys, pop->front, pop->count);
  WaitForElements(c, kList, keys, *timeout, false);
}

}  // namespace

void AddListBlockRows(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "blpop",
       .arity = -3,
       .flags = kWrite | kNoScript | kBlocking,
       .keys = {1, -2, 1},
       .categories = "@write @list @slow @blocking",
       .handler = Blpop,
       .summary = "Pops the first element of the first list that has any; waits for one",
       .since = "2.0.0",
       .group = "list",
       .complexity = "O(K+log(N)) where K is the number of keys",
       .syntax = "key:key* timeout:double",
       .key_access = "RW access delete"},
      {.name = "brpop",
       .arity = -3,
       .flags = kWrite | kNoScript | kBlocking,
       .keys = {1, -2, 1},
       .categories = "@write @list @slow @blocking",
       .handler = Brpop,
       .summary = "Pops the last element of the first list that has any; waits for one",
       .since = "2.0.0",
       .group = "list",
       .complexity = "O(K+log(N)) where K is the number of keys",
       .syntax = "key:key* timeout:double",
       .key_access = "RW access delete"},
      {.name = "blmove",
       .arity = 6,
       .flags = kWrite | kDenyOom | kNoScript | kBlocking,
       .keys = {1, 2, 1},
       .categories = "@write @list @slow @blocking",
       .handler = Blmove,
       .summary = "Moves an element from one list to another; waits for one",
       .since = "6.2.0",
       .group = "list",
       .complexity = "O(log(N))",
       .syntax = "source:key destination:key wherefrom:(LEFT|RIGHT) whereto:(LEFT|RIGHT) "
                 "timeout:double",
       .key_access = "RW access delete|RW insert"},
      {.name = "brpoplpush",
       .arity = 4,
       .flags = kWrite | kDenyOom | kNoScript | kBlocking,
       .keys = {1, 2, 1},
       .categories = "@write @list @slow @blocking",
       .handler = Brpoplpush,
       .summary = "Moves the last element of a list to the front of another; waits for one",
       .since = "2.2.0",
       .group = "list",
       .complexity = "O(log(N))",
       .syntax = "source:key destination:key timeout:double",
       .key_access = "RW access delete|RW insert",
       .deprecated_since = "6.2.0",
       .replaced_by = "`BLMOVE` with the `RIGHT` and `LEFT` arguments"},
      {.name = "blmpop",
       .arity = -5,
       .flags = kWrite | kBlocking | kMovableKeys,
       .keys = {.numkeys = 2},
       .categories = "@write @list @slow @blocking",
       .handler = Blmpop,
       .summary = "Pops elements of the first list that has any; waits for some",
       .since = "7.0.0",
       .group = "list",
       .complexity =
           "O(K+M*log(N)) where K is the number of keys and M that of the elements popped",
       .syntax = "timeout:double numkeys:integer key:key* where:(LEFT|RIGHT) COUNT count:integer?",
       .key_access = "RW access delete"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
