#include "history/linearizable.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "base/random.h"
#include "history/made_store.h"

namespace polyarch::history {
namespace {

Verdict Checked(const std::string& text, uint64_t work_max = 1'000'000) {
  auto history = History::Parse(text);
  EXPECT_TRUE(history.ok()) << history.status().message() << text;
  LinearizableOptions options;
  options.work_max = work_max;
  auto verdict = CheckLinearizable(*history, options);
  EXPECT_TRUE(verdict.ok()) << verdict.status().message();
  return std::move(*verdict);
}

// All orders of few operations on one key.
class Naive {
 public:
  explicit Naive(const History& history) : history_(history), ops_(history.operations()) {}
  bool Explains() { return From(0, "nil"); }

 private:
  bool From(uint32_t done, const std::string& state) {
    if (!tried_.insert({done, state}).second) return false;
    bool all = true;
    for (uint32_t i = 0; i < ops_.size(); ++i) {
      if (done >> i & 1 || ops_[i].outcome == Outcome::kFailed) continue;
      all = all && ops_[i].outcome == Outcome::kUnknown;
    }
    if (all) return true;
    for (uint32_t i = 0; i < ops_.size(); ++i) {
      if (done >> i & 1 || ops_[i].outcome == Outcome::kFailed) continue;
      bool first = true;
      for (uint32_t j = 0; j < ops_.size(); ++j) {
        if (!(done >> j & 1) && ops_[j].outcome != Outcome::kFailed && ops_[j].completed < ops_[i].invoked) first = false;
      }
      if (!first) continue;
      for (const std::string& after : After(ops_[i], state)) {
        if (From(done | 1u << i, after)) return true;
      }
    }
    return false;
  }

  // What the key may hold after the operation; nothing if it cannot have answered that.
  std::vector<std::string> After(const Operation& op, const std::string& state) const {
    const std::string text = history_.Text(op);
    const std::string answer = text.substr(text.find("-> ") + 3);
    const std::string value = history_.ValueText(op.value);
    const bool any = answer == "?";
    switch (op.kind) {
      case Kind::kGet:
      case Kind::kFinal: return any || answer == state ? std::vector{state} : std::vector<std::string>();
      case Kind::kSet: return {value};
      case Kind::kDelete:
        if (any || answer == "ok" || answer == (state == "nil" ? "0" : "1")) return {"nil"};
        return {};
      case Kind::kSetIfAbsent:
      case Kind::kCompareAndSet: {
        const bool met = state == (op.kind == Kind::kSetIfAbsent ? "nil" : history_.ValueText(op.expected));
        if (any || answer == (met ? "ok" : "no")) return {met ? value : state};
        return {};
      }
      case Kind::kIncrement: {
        const std::string sum = std::to_string((state == "nil" ? 0 : std::stoll(state)) + op.amount);
        if (any || answer == "ok" || answer == sum) return {sum};
        return {};
      }
    }
    return {};
  }

  const History& history_;
  const std::vector<Operation>& ops_;
  std::set<std::pair<uint32_t, std::string>> tried_;
};

// Gives some answers to other operations of their kind, or changes them.
std::string Mutated(const std::string& text, base::Random& random) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  std::vector<size_t> answers;
  for (size_t i = 1; i < lines.size(); ++i) {
    if (!lines[i].ends_with("?") && lines[i].find("set ") == std::string::npos) answers.push_back(i);
  }
  if (answers.empty()) return text;
  std::string& line = lines[answers[random.Below(answers.size())]];
  const size_t result = line.find("-> ") + 3;
  const std::string old = line.substr(result);
  std::string fresh = old;
  if (old == "0" || old == "1") fresh = old == "0" ? "1" : "0";
  if (old == "ok" || old == "no") fresh = old == "ok" ? "no" : "ok";
  if (line.find("del ") == std::string::npos && line.find("incr ") != std::string::npos) fresh = std::to_string(1 + random.Below(6));
  if (line.find("del ") != std::string::npos && old == "ok") fresh = "0";
  if (line.find("get r") != std::string::npos) fresh = random.Percent(20) ? "nil" : "v" + std::to_string(1 + random.Below(8));
  if (line.find("get c") != std::string::npos) fresh = std::to_string(1 + random.Below(6));
  if (line.find("incr ") != std::string::npos && fresh == "no") fresh = "3";
  line = line.substr(0, result) + fresh;
  std::string out;
  for (const std::string& l : lines) out += l + '\n';
  return out;
}

TEST(Linearizable, AgreesWithAllOrdersOfFewOperations) {
  int violated = 0;
  int fine = 0;
  for (uint64_t seed = 1; seed <= 6000; ++seed) {
    base::Random random(seed);
    MadeOptions options{.seed = seed, .operations = 4 + random.Below(8), .sessions = 2 + static_cast<uint32_t>(random.Below(5)), .keys = 1};
    options.delete_percent = 25;
    options.unknown_percent = static_cast<unsigned>(random.Below(40));
    options.increment_percent = random.Percent(30) ? 100 : 0;  // one key: a counter or a register
    std::string text = MakeLinearizableHistory(options);
    for (uint64_t n = random.Below(3); n > 0; --n) text = Mutated(text, random);
    auto history = History::Parse(text);
    ASSERT_TRUE(history.ok()) << history.status().message() << text;
    const bool explained = Naive(*history).Explains();
    ASSERT_EQ(Checked(text).passed(), explained) << "seed " << seed << "\n" << text;
    ++(explained ? fine : violated);
  }
  EXPECT_GE(violated, 1000);
  EXPECT_GE(fine, 1000);
}

TEST(Linearizable, AcceptsValidHistories) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    MadeOptions options{.seed = seed, .operations = 2000, .sessions = 8, .keys = 4, .unknown_percent = static_cast<unsigned>(seed % 3)};
    const Verdict verdict = Checked(MakeLinearizableHistory(options));
    ASSERT_TRUE(verdict.passed()) << "seed " << seed << ": " << (verdict.count > 0 ? verdict.violations[0].text : verdict.undecided[0]);
  }
}

// A stale answer in a long history: some read shows what had surely been replaced before it began.
TEST(Linearizable, FindsStaleAnswers) {
  int planted = 0;
  for (uint64_t seed = 1; planted < 200; ++seed) {
    ASSERT_LT(seed, 1000u);
    const MadeOptions options{.seed = seed, .operations = 1000, .sessions = 6, .keys = 3, .unknown_percent = 0};
    std::string text = MakeLinearizableHistory(options);
    auto history = History::Parse(text);
    ASSERT_TRUE(history.ok());
    const auto& ops = history->operations();
    base::Random random(seed);
    // A write, another one after it had ended, a read after that had ended: it cannot show the first.
    const Operation* reads[2] = {};
    uint32_t stale = kNil;
    for (int tries = 0; tries < 1000 && stale == kNil; ++tries) {
      const Operation& first = ops[random.Below(ops.size())];
      const Operation& second = ops[random.Below(ops.size())];
      const Operation& read = ops[random.Below(ops.size())];
      if (first.kind != Kind::kSet || second.kind != Kind::kSet || read.kind != Kind::kGet || first.key != read.key ||
          second.key != read.key || first.completed >= second.invoked || second.completed >= read.invoked ||
          first.outcome != Outcome::kOk || second.outcome != Outcome::kOk)
        continue;
      stale = first.value;
      reads[0] = &read;
    }
    if (stale == kNil) continue;
    size_t at = 0;
    for (uint32_t line = 1; line < reads[0]->line; ++line) at = text.find('\n', at) + 1;
    const size_t result = text.find("-> ", at) + 3;
    text.replace(result, text.find('\n', at) - result, history->ValueText(stale));
    const Verdict verdict = Checked(text);
    ASSERT_EQ(verdict.count, 1u) << "seed " << seed;
    EXPECT_EQ(verdict.violations[0].rule, "NotLinearizable");
    ++planted;
  }
}

struct Story {
  const char* name;
  const char* lines;
  uint32_t line;  // of the violation; 0 if there is none
};

const Story kStories[] = {
    {"a lock taken twice", "a eu 1 2 setnx x a -> ok\nb us 3 4 setnx x b -> ok\n", 3},
    {"taken at once by one of two", "a eu 1 9 setnx x a -> ok\nb us 1 9 setnx x b -> no\nc us 10 11 get x -> a\n", 0},
    {"taken at once by both", "a eu 1 9 setnx x a -> ok\nb us 1 9 setnx x b -> ok\n", 3},
    {"refused, though free", "a eu 1 2 setnx x a -> no\n", 2},
    {"refused for the sake of an unknown one", "a eu 1 - setnx x a -> ?\nb us 3 4 setnx x b -> no\n", 0},
    {"an unknown one that comes late", "a eu 1 - set x 1 -> ?\nb us 3 4 get x -> nil\nb us 5 6 get x -> 1\n", 0},
    {"and does not go again", "a eu 1 - set x 1 -> ?\nb us 3 4 get x -> 1\nb us 5 6 get x -> nil\n", 4},
    {"a failed one that was seen", "a eu 1 2 set x 1 -> failed\nb us 3 4 get x -> 1\n", 3},
    {"an increment lost", "a eu 1 9 incr n 1 -> 1\nb us 1 9 incr n 1 -> 1\n", 3},
    {"increments and writes", "a eu 1 2 set n 5 -> ok\nb us 3 4 incr n 2 -> 7\nb us 5 6 cas n 7 1 -> ok\na eu 7 8 get n -> 1\n", 0},
    {"equal values", "a eu 1 2 set x 1 -> ok\nb us 3 4 set x 2 -> ok\na eu 5 6 set x 1 -> ok\na eu 7 8 get x -> 1\n", 0},
    {"a stale read", "a eu 1 2 set x 1 -> ok\nb us 3 4 set x 2 -> ok\nc asia 5 6 get x -> 1\n", 4},
    {"each key by itself", "a eu 1 2 set x 1 -> ok\nb us 3 4 set y 1 -> ok\na eu 5 6 get x -> 1\n", 0},
};

TEST(Linearizable, Stories) {
  for (const Story& story : kStories) {
    const Verdict verdict = Checked("polyarch-history 1\n" + std::string(story.lines));
    ASSERT_EQ(verdict.count, story.line == 0 ? 0u : 1u) << story.name;
    if (story.line != 0) {
      EXPECT_EQ(verdict.violations[0].lines[0], story.line) << story.name << verdict.violations[0].text;
    }
  }
}

TEST(Linearizable, EndsUndecidedAndSaysSo) {
  // Twenty writes at once, and a read of what nobody wrote: there are many ways to find no way.
  std::string text = "polyarch-history 1\n";
  for (int i = 0; i < 20; ++i) text += "s" + std::to_string(i) + " eu 1 100 set x v" + std::to_string(i) + " -> ok\n";
  text += "r eu 50 90 get x -> never\n";
  const Verdict verdict = Checked(text, 1000);
  EXPECT_EQ(verdict.count, 0u);
  EXPECT_EQ(verdict.undecided.size(), 1u);
  EXPECT_FALSE(verdict.passed());
}

TEST(Linearizable, SaysWhatItCannotCheck) {
  for (const char* lines : {"a eu 1 2 get x -> 1 2\n", "a eu 1 2 set x one -> ok\na eu 3 4 incr x 1 -> failed\na eu 5 6 incr x 1 -> 2\n"}) {
    auto history = History::Parse("polyarch-history 1\n" + std::string(lines));
    ASSERT_TRUE(history.ok());
    auto verdict = CheckLinearizable(*history);
    ASSERT_FALSE(verdict.ok());
    EXPECT_EQ(verdict.status().message().substr(0, 7), "line 2:");
  }
}

}  // namespace
}  // namespace polyarch::history
