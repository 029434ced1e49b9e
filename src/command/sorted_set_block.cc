// Sorted sets that are waited for: BZPOPMIN and the like.
#include "command/blocking.h"
#include "command/sorted_set.h"

namespace polyarch::command {
namespace {

void PopOrWait(Context& c, ScorePop pop, std::string_view timeout_text) {
  const std::optional<int64_t> timeout = ReadTimeout(c, timeout_text);
  if (!timeout) return;
  const Arguments keys = pop.keys;
  pop.keys = KeysToLookAt(c, keys);
  if (!PopFirst(c, pop)) WaitForElements(c, kSortedSet, keys, *timeout, false);
}

void BlockingPop(Context& c, bool highest) {
  const size_t last = c.count() - 1;
  PopOrWait(
      c, {.keys = c.args.subspan(1, last - 1), .highest = highest, .flat = true}, c.args[last]);
}

void Bzpopmin(Context& c) {
  BlockingPop(c, false);
}
void Bzpopmax(Context& c) {
  BlockingPop(c, true);
}

void Bzmpop(Context& c) {
  const std::optional<ScorePop> pop = ReadScorePop(c, 2);
  if (pop) PopOrWait(c, *pop, c.args[1]);
}

}  // namespace

void AddSortedSetBlockRows(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "bzpopmin",
       .arity = -3,
       .flags = kWrite | kNoScript | kFast | kBlocking,
       .keys = {1, -2, 1},
       .categories = "@write @sortedset @fast @blocking",
       .handler = Bzpopmin,
       .summary = "Pops the lowest member of the first sorted set that has any; waits for one",
       .since = "5.0.0",
       .group = "sorted-set",
       .complexity = "O(K+log(N)) where K is the number of keys",
       .syntax = "key:key* timeout:double",
       .key_access = "RW access delete"},
      {.name = "bzpopmax",
       .arity = -3,
       .flags = kWrite | kNoScript | kFast | kBlocking,
       .keys = {1, -2, 1},
       .categories = "@write @sortedset @fast @blocking",
       .handler = Bzpopmax,
       .summary = "Pops the highest member of the first sorted set that has any; waits for one",
       .since = "5.0.0",
       .group = "sorted-set",
       .complexity = "O(K+log(N)) where K is the number of keys",
       .syntax = "key:key* timeout:double",
       .key_access = "RW access delete"},
      {.name = "bzmpop",
       .arity = -5,
       .flags = kWrite | kBlocking | kMovableKeys,
       .keys = {.numkeys = 2},
       .categories = "@write @sortedset @slow @blocking",
       .handler = Bzmpop,
       .summary = "Pops members of the first sorted set that has any; waits for some",
       .since = "7.0.0",
       .group = "sorted-set",
       .complexity = "O(K+M*log(N)) where K is the number of keys, N the size of the sorted set "
                     "and M the number popped",
       .syntax = "timeout:double numkeys:integer key:key* where:(MIN|MAX) COUNT count:integer?",
       .key_access = "RW access delete"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
