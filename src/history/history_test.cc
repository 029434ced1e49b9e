#include "history/history.h"

#include <gtest/gtest.h>

namespace polyarch::history {
namespace {

std::string ErrorOf(const std::string& lines) {
  auto history = History::Parse("polyarch-history 1\n" + lines);
  return history.ok() ? "" : history.status().message();
}

TEST(History, SaysBackWhatItRead) {
  const std::string operations[] = {
      "get x -> v1",        "get x -> nil",     "get x -> \"nil\"",    "get x -> v1 v2",    "get x -> ?",
      "set x \"a b\" -> ok", "set x v -> failed", "set x \"\" -> ok",    "get x -> \"\"",     "del x -> 1",
      "del x -> 0",         "del x -> ok",      "cas x nil v -> no",   "cas x a b -> ok",   "setnx x v -> no",
      "incr n -5 -> 12",    "incr n 1 -> ok",   "incr n 1 -> ?",       "final x -> v1",     "set \"->\" \"\\x00\\\"\\\\\" -> ok",
  };
  std::string text = "polyarch-history 1\n# a remark\n\n";
  uint64_t time = 1;
  for (const std::string& operation : operations) {
    const bool unknown = operation.ends_with("?");
    text += "s1 eu " + std::to_string(time) + ' ' + (unknown ? "-" : std::to_string(time + 5)) + ' ' + operation + "\r\n";
    time += 10;
  }
  auto history = History::Parse(text);
  ASSERT_TRUE(history.ok()) << history.status().message();
  ASSERT_EQ(history->operations().size(), std::size(operations));
  for (size_t i = 0; i < std::size(operations); ++i) {
    EXPECT_EQ(history->Text(history->operations()[i]), operations[i]);
    EXPECT_EQ(history->operations()[i].line, i + 4);
  }
  // The empty value is not nil, and is one value.
  EXPECT_NE(history->operations()[7].value, kNil);
  EXPECT_EQ(history->operations()[7].value, *history->Seen(history->operations()[8]));
}

TEST(History, MayBePutTogetherOfSeveral) {
  EXPECT_EQ(ErrorOf("a eu 1 2 get x -> nil\npolyarch-history 1\nb eu 1 2 get x -> nil\n"), "");
}

TEST(History, TellsTheLineOfWhatIsWrong) {
  const std::pair<std::string, std::string> cases[] = {
      {"a eu 1 2 get x\n", "line 2: an operation is"},
      {"a eu 1 2 -> nil\n", "line 2: an operation is"},
      {"# fine\na eu one 2 get x -> nil\n", "line 3: 'one' is no time"},
      {"a eu 5 4 get x -> nil\n", "line 2: completed before it was invoked"},
      {"a eu 5 - get x -> nil\n", "line 2: only an operation of unknown outcome"},
      {"a eu 1 2 put x y -> ok\n", "line 2: 'put' is no operation"},
      {"a eu 1 2 set x -> ok\n", "line 2: it is 'set key value -> result'"},
      {"a eu 1 2 set x nil -> ok\n", "line 2: nil cannot be written"},
      {"a eu 1 2 set x v -> yes\n", "line 2: 'yes' is no result of set"},
      {"a eu 1 2 incr n x -> ok\n", "line 2: 'x' is no amount"},
      {"a eu 1 2 get x ->\n", "line 2: nothing follows"},
      {"a eu 1 2 get x -> v v\n", "line 2: a value is there twice"},
      {"a eu 1 2 get x -> v nil\n", "line 2: nil is not one of several"},
      {"a eu 1 2 get \"x -> v\n", "line 2: a quotation mark is not closed"},
      {"a eu 1 2 get \"\\q\" -> v\n", "line 2: what follows \\"},
      {"a eu 1 20 get x -> nil\na eu 10 30 get x -> nil\n", "line 3: session a had not ended what it did in line 2"},
  };
  for (const auto& [lines, error] : cases) EXPECT_EQ(ErrorOf(lines).substr(0, error.size()), error) << lines << ErrorOf(lines);
  EXPECT_FALSE(History::Parse("").ok());
  EXPECT_FALSE(History::Parse("a eu 1 2 get x -> nil\n").ok());
  EXPECT_FALSE(History::Parse("polyarch-history 2\n").ok());
}

}  // namespace
}  // namespace polyarch::history
