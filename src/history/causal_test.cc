#include "history/causal.h"

#include <gtest/gtest.h>

#include <bitset>
#include <map>
#include <set>
#include <sstream>

#include "base/number.h"
#include "base/random.h"
#include "history/made_store.h"

namespace polyarch::history {
namespace {

History Parsed(const std::string& text) {
  auto history = History::Parse(text);
  EXPECT_TRUE(history.ok()) << history.status().message() << "\n" << text;
  return std::move(*history);
}

Verdict Checked(const std::string& text, bool convergent = false) {
  CausalOptions options;
  options.convergent = convergent;
  auto verdict = CheckCausal(Parsed(text), options);
  EXPECT_TRUE(verdict.ok()) << verdict.status().message();
  return std::move(*verdict);
}

// The definitions, word by word, with the whole order written down: what causal.cc must agree with.
class Naive {
 public:
  static constexpr size_t kMost = 512;

  explicit Naive(const History& history, bool convergent) : history_(history), ops_(history.operations()) {
    EXPECT_LE(ops_.size(), kMost);
    for (const Operation& op : ops_) counter_[op.key] = counter_[op.key] || op.kind == Kind::kIncrement;
    FindSources();
    Order();
    for (uint32_t r = 0; r < ops_.size(); ++r) {
      if (order_[r][r]) found_.insert("CyclicCO");
    }
    for (uint32_t r = 0; r < ops_.size(); ++r) {
      if (ops_[r].outcome == Outcome::kOk) Check(r);
    }
    if (convergent) CheckConflicts();
  }
  const std::set<std::string>& found() const { return found_; }

 private:
  bool Writes(const Operation& op) const {
    return op.kind == Kind::kSet || op.kind == Kind::kCompareAndSet || op.kind == Kind::kSetIfAbsent;
  }
  std::vector<uint32_t> Seen(const Operation& op) const {
    if (op.outcome != Outcome::kOk) return {};
    if (op.kind == Kind::kCompareAndSet) return {op.expected};
    if (op.kind == Kind::kSetIfAbsent) return {kNil};
    return {history_.Seen(op), history_.Seen(op) + op.seen_count};
  }

  void FindSources() {
    sources_.resize(ops_.size());
    happened_.resize(ops_.size());
    for (uint32_t r = 0; r < ops_.size(); ++r) {
      const Operation& op = ops_[r];
      if (op.outcome == Outcome::kOk) happened_[r] = true;
      if (counter_[op.key]) continue;
      for (uint32_t value : Seen(op)) {
        if (value == kNil) continue;
        bool known = false;
        for (uint32_t w = 0; w < ops_.size(); ++w) {
          if (w == r || !Writes(ops_[w]) || ops_[w].key != op.key || ops_[w].value != value) continue;
          if (ops_[w].outcome == Outcome::kFailed || ops_[w].outcome == Outcome::kRefused) continue;
          known = true;
          if (ops_[w].invoked > op.completed) {
            found_.insert("FutureRead");
          } else {
            sources_[r].push_back(w);
            happened_[w] = true;
          }
        }
        if (!known) found_.insert("ThinAirRead");
      }
    }
  }

  void Order() {
    order_.resize(ops_.size());
    for (uint32_t a = 0; a < ops_.size(); ++a) {
      if (!happened_[a] || ops_[a].kind == Kind::kFinal) continue;
      for (uint32_t b = 0; b < ops_.size(); ++b) {
        if (!happened_[b] || a == b) continue;
        if (ops_[b].kind == Kind::kFinal) order_[a][b] = true;
        else if (b > a && ops_[a].session == ops_[b].session && ops_[a].outcome == Outcome::kOk) order_[a][b] = true;
        for (uint32_t w : sources_[b]) order_[a][b] = order_[a][b] || w == a;
      }
    }
    Close(order_);
  }
  void Close(std::vector<std::bitset<kMost>>& order) const {
    for (uint32_t k = 0; k < ops_.size(); ++k) {
      for (uint32_t a = 0; a < ops_.size(); ++a) {
        if (order[a][k]) order[a] |= order[k];
      }
    }
  }

  bool MayBeDeleted(uint32_t w, uint32_t r) const {
    for (uint32_t d = 0; d < ops_.size(); ++d) {
      if (ops_[d].kind != Kind::kDelete || ops_[d].key != ops_[r].key || ops_[d].outcome == Outcome::kFailed) continue;
      if (!order_[d][w] && ops_[d].invoked <= ops_[r].completed) return true;
    }
    return false;
  }

  void Check(uint32_t r) {
    const Operation& op = ops_[r];
    const auto seen = Seen(op);
    const std::set<uint32_t> values(seen.begin(), seen.end());
    if (op.kind == Kind::kFinal && final_.try_emplace(op.key, values).first->second != values) found_.insert("FinalDiffers");
    if (counter_[op.key]) return CheckCounter(r);
    if ((op.reads() || op.kind == Kind::kCompareAndSet || op.kind == Kind::kSetIfAbsent) && seen[0] == kNil) {
      for (uint32_t w = 0; w < ops_.size(); ++w) {
        if (w != r && happened_[w] && Writes(ops_[w]) && ops_[w].key == op.key && order_[w][r] && !MayBeDeleted(w, r))
          found_.insert("WriteCOInitRead");
      }
    }
    for (uint32_t w : sources_[r]) {
      for (uint32_t o = 0; o < ops_.size(); ++o) {
        if (o == w || o == r || !happened_[o] || ops_[o].key != op.key) continue;
        if (!Writes(ops_[o]) && ops_[o].kind != Kind::kDelete) continue;
        if (order_[w][o] && order_[o][r]) found_.insert("WriteCORead");
        if (Writes(ops_[o]) && order_[o][r] && seen.size() == 1 && !MayBeDeleted(o, r)) lost_.push_back({o, w});
      }
    }
  }

  void CheckCounter(uint32_t r) {
    const Operation& op = ops_[r];
    if (!op.reads() && !op.told) return;
    int64_t shown = op.result;
    if (op.reads()) shown = *history_.Seen(op) == kNil ? 0 : *base::ParseInt64(history_.values()[*history_.Seen(op)]);
    int64_t low = 0;
    int64_t high = 0;
    for (uint32_t i = 0; i < ops_.size(); ++i) {
      if (ops_[i].kind != Kind::kIncrement || ops_[i].key != op.key || ops_[i].outcome == Outcome::kFailed) continue;
      const bool before = i == r || order_[i][r];
      if (!before && ops_[i].invoked > op.completed) continue;
      if (before || ops_[i].amount < 0) low += ops_[i].amount;
      if (before || ops_[i].amount > 0) high += ops_[i].amount;
    }
    if (shown < low) found_.insert("CounterLost");
    if (shown > high) found_.insert("CounterInvented");
  }

  void CheckConflicts() {
    auto order = order_;
    for (const auto& [loser, winner] : lost_) order[loser][winner] = true;
    Close(order);
    for (uint32_t a = 0; a < ops_.size(); ++a) {
      if (order[a][a]) found_.insert("CyclicCF");
    }
  }

  const History& history_;
  const std::vector<Operation>& ops_;
  std::map<uint32_t, bool> counter_;
  std::vector<std::vector<uint32_t>> sources_;
  std::vector<bool> happened_;
  std::vector<std::bitset<kMost>> order_;
  std::vector<std::pair<uint32_t, uint32_t>> lost_;
  std::map<uint32_t, std::set<uint32_t>> final_;
  std::set<std::string> found_;
};

// Checks a history both ways; returns what is wrong with it.
std::set<std::string> Compared(const std::string& text, bool convergent) {
  const History history = Parsed(text);
  const std::set<std::string> expected = Naive(history, convergent).found();
  CausalOptions options;
  options.convergent = convergent;
  auto verdict = CheckCausal(history, options);
  EXPECT_TRUE(verdict.ok()) << verdict.status().message();
  EXPECT_EQ(verdict->passed(), expected.empty()) << text;
  std::set<std::string> found;
  for (const Violation& violation : verdict->violations) {
    found.insert(violation.rule);
    for (uint32_t line : violation.lines) EXPECT_GE(line, 2u);
  }
  // A read that is wrong by itself is not looked at further, and in a cycle everything follows from everything.
  auto exact = [&](std::set<std::string> rules) {
    if (rules.size() > 1) rules.erase("CyclicCF");
    return rules;
  };
  if (!expected.contains("CyclicCO")) {
    EXPECT_EQ(exact(found), exact(expected)) << text;
  } else {
    EXPECT_TRUE(found.contains("CyclicCO")) << text;
  }
  return expected;
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string Joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + '\n';
  return text;
}

// Changes one answer, so that it may not be true any more.
std::string Mutated(const std::string& text, base::Random& random) {
  std::vector<std::string> lines = Lines(text);
  uint64_t values = 1;
  std::vector<size_t> reads, writes;
  for (size_t i = 1; i < lines.size(); ++i) {
    if (lines[i].ends_with("?")) continue;
    if (lines[i].find(" set r") != std::string::npos) ++values;
    const bool read = lines[i].find("get r") != std::string::npos || lines[i].find("final r") != std::string::npos ||
                      lines[i].find(" c") != std::string::npos;
    if (read) reads.push_back(i);
    if (lines[i].find(" set r") != std::string::npos && lines[i].ends_with(" ok")) writes.push_back(i);
  }
  if (reads.empty() || writes.empty()) return text;
  std::string& read = lines[reads[random.Below(reads.size())]];
  const size_t result = read.find("-> ") + 3;
  if (read.find(" c") != std::string::npos) {
    const auto shown = base::ParseInt64(read.substr(result)).value_or(0);
    const int64_t by = static_cast<int64_t>(random.Below(21)) - 10;
    read = read.substr(0, result) + std::to_string(shown + by);
    return Joined(lines);
  }
  const std::string old = read.substr(result);
  switch (random.Below(8)) {
    case 0: read = read.substr(0, result) + "nil"; break;
    case 1: read = read.substr(0, result) + "v999999"; break;
    case 2: {
      std::string& write = lines[writes[random.Below(writes.size())]];
      write = write.substr(0, write.size() - 2) + "failed";
      break;
    }
    default: {
      // A value of the same key, mostly one that was written before: an answer out of the past.
      const size_t begin = read.find(" r") + 1;
      const std::string key = read.substr(begin, read.find(' ', begin) - begin);
      std::vector<std::string> of_key;
      for (size_t i : writes) {
        const size_t at = lines[i].find(" set " + key + " ");
        if (at == std::string::npos || (&lines[i] > &read && random.Percent(60))) continue;
        const size_t value = at + 6 + key.size();
        of_key.push_back(lines[i].substr(value, lines[i].find(' ', value) - value));
      }
      if (!of_key.empty()) read = read.substr(0, result) + of_key[random.Below(of_key.size())];
    }
  }
  return Joined(lines);
}

// The same with a clock that stands still: else whoever is in a cycle has mostly read what came later, which is
// a violation of its own.
std::string AtOneMoment(const std::string& text) {
  std::vector<std::string> lines = Lines(text);
  for (size_t i = 1; i < lines.size(); ++i) {
    std::istringstream in(lines[i]);
    std::string session, leader, invoked, completed, rest;
    in >> session >> leader >> invoked >> completed;
    std::getline(in, rest);
    lines[i] = session + ' ' + leader + " 1 " + (completed == "-" ? "-" : "1") + rest;
  }
  return Joined(lines);
}

MadeOptions Small(uint64_t seed) {
  base::Random random(seed);
  MadeOptions options;
  options.seed = seed;
  options.operations = 20 + random.Below(180);
  options.leaders = 2 + static_cast<uint32_t>(random.Below(4));
  options.sessions = 2 + static_cast<uint32_t>(random.Below(8));
  options.keys = 1 + static_cast<uint32_t>(random.Below(5));
  options.delete_percent = random.Percent(50) ? 0 : static_cast<unsigned>(random.Below(30));
  options.increment_percent = static_cast<unsigned>(random.Below(30));
  options.unknown_percent = static_cast<unsigned>(random.Below(10));
  options.hop_percent = static_cast<unsigned>(random.Below(40));
  options.final_reads = random.Percent(70);
  return options;
}

TEST(Causal, AcceptsValidHistories) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    MadeOptions options = Small(seed);
    if (seed % 3 == 0) options.operations = 5000;
    const std::string text = MakeCausalHistory(options);
    const Verdict verdict = Checked(text, true);
    ASSERT_TRUE(verdict.passed()) << "seed " << seed << ": "
                                  << (verdict.count > 0 ? verdict.violations[0].text : verdict.undecided[0]);
  }
}

TEST(Causal, AgreesWithTheDefinitionsOnWrongAnswers) {
  std::map<std::string, int> planted;
  int violated = 0;
  for (uint64_t seed = 1; seed <= 1500; ++seed) {
    MadeOptions options = Small(seed);
    base::Random random(seed * 7919);
    std::string text = MakeCausalHistory(options);
    if (seed % 3 != 0) text = AtOneMoment(text);
    for (uint64_t n = 1 + random.Below(2); n > 0; --n) text = Mutated(text, random);
    const auto found = Compared(text, seed % 2 == 0);
    violated += found.empty() ? 0 : 1;
    for (const std::string& rule : found) ++planted[rule];
    if (HasFailure()) FAIL() << "seed " << seed;
  }
  std::printf("%d histories violated\n", violated);
  for (const auto& [rule, count] : planted) std::printf("  %s in %d\n", rule.c_str(), count);
  EXPECT_GE(violated, 200);
  for (const char* rule : {"CyclicCO", "ThinAirRead", "FutureRead", "WriteCOInitRead", "WriteCORead", "FinalDiffers", "CounterLost",
                           "CounterInvented"})
    EXPECT_GE(planted[rule], 10) << rule;
}

TEST(Causal, AgreesWithTheDefinitionsOnStoresThatAreWrong) {
  std::map<Mistake, int> violated;
  std::map<std::string, int> planted;
  for (uint64_t seed = 1; seed <= 1500; ++seed) {
    MadeOptions options = Small(seed);
    options.mistake = static_cast<Mistake>(1 + seed % 5);
    const auto found = Compared(MakeCausalHistory(options), true);
    violated[options.mistake] += found.empty() ? 0 : 1;
    for (const std::string& rule : found) ++planted[rule];
    if (HasFailure()) FAIL() << "seed " << seed;
  }
  for (const auto& [mistake, count] : violated) std::printf("mistake %d: %d histories violated\n", static_cast<int>(mistake), count);
  for (const auto& [rule, count] : planted) std::printf("  %s in %d\n", rule.c_str(), count);
  for (int mistake = 1; mistake <= 5; ++mistake) EXPECT_GE(violated[static_cast<Mistake>(mistake)], 20) << mistake;
  EXPECT_GE(planted["CyclicCF"], 20);
}

// The patterns one by one, with what is said of them.
struct Story {
  const char* name;
  const char* lines;
  bool convergent;
  const char* rule;  // "" if all is well
  const char* says;
};

const Story kStories[] = {
    {"nothing", "", false, "", ""},
    {"a read of a write", "a eu 1 2 set x 1 -> ok\nb us 1 2 get x -> 1\n", false, "", ""},
    {"read your writes", "a eu 1 2 set x 1 -> ok\na eu 3 4 set x 2 -> ok\na us 5 6 get x -> 1\n", false, "WriteCORead",
     "read your writes is broken"},
    {"read your writes, nil", "a eu 1 2 set x 1 -> ok\na us 5 6 get x -> nil\n", false, "WriteCOInitRead", "read your writes is broken"},
    {"nil after one's own delete", "a eu 1 2 set x 1 -> ok\na eu 3 4 del x -> 1\na us 5 6 get x -> nil\n", false, "", ""},
    {"a deleted value", "a eu 1 2 set x 1 -> ok\na eu 3 4 del x -> 1\na us 5 6 get x -> 1\n", false, "WriteCORead",
     "read your writes is broken"},
    {"a write that a delete did not see", "a eu 1 2 set x 1 -> ok\nb us 3 4 del x -> 0\nb us 5 6 get x -> 1\n", false, "", ""},
    {"nil although the delete came before", "b eu 1 2 del x -> 0\nb eu 3 4 set y 1 -> ok\na us 5 6 get y -> 1\n"
     "a us 7 8 set x 1 -> ok\na us 9 10 get x -> nil\n", false, "WriteCOInitRead", ""},
    {"monotonic reads", "a eu 1 2 set x 1 -> ok\na eu 3 4 set x 2 -> ok\nb us 5 6 get x -> 2\nb us 7 8 get x -> 1\n", false, "WriteCORead",
     "monotonic reads is broken"},
    {"monotonic writes", "a eu 1 2 set x 1 -> ok\na eu 3 4 set x 2 -> ok\na eu 5 6 set y 1 -> ok\nb us 7 8 get y -> 1\n"
     "b us 9 10 get x -> 1\n", false, "WriteCORead", "monotonic writes is broken"},
    {"writes follow reads", "a eu 1 2 set x 1 -> ok\nb us 3 4 get x -> 1\nb us 5 6 set x 2 -> ok\nb us 7 8 set y 1 -> ok\n"
     "c asia 9 10 get y -> 1\nc asia 11 12 get x -> 1\n", false, "WriteCORead", "writes follow reads is broken"},
    {"concurrent writes in either order", "a eu 1 2 set x 1 -> ok\nb us 1 2 set x 2 -> ok\na eu 3 4 get x -> 2\nb us 3 4 get x -> 1\n",
     false, "", ""},
    {"but not where one order decides", "a eu 1 2 set x 1 -> ok\nb us 1 2 set x 2 -> ok\na eu 3 4 get x -> 2\nb us 3 4 get x -> 1\n",
     true, "CyclicCF", "lost against it"},
    {"of one session, back and forth", "a eu 1 2 set x 1 -> ok\nb us 1 2 set x 2 -> ok\nc us 3 4 get x -> 1\nc us 5 6 get x -> 2\n"
     "c us 7 8 get x -> 1\n", true, "CyclicCF", ""},
    {"both shown", "a eu 1 2 set x 1 -> ok\nb us 1 2 set x 2 -> ok\nc us 3 4 get x -> 1 2\n", true, "", ""},
    {"both shown, one of them replaced", "a eu 1 2 set x 1 -> ok\na eu 3 4 set x 2 -> ok\nc us 5 6 get x -> 2\nc us 7 8 get x -> 1 2\n",
     false, "WriteCORead", "monotonic reads"},
    {"out of thin air", "a eu 1 2 get x -> 1\n", false, "ThinAirRead", "which nobody wrote"},
    {"of another key", "a eu 1 2 set y 1 -> ok\na eu 3 4 get x -> 1\n", false, "ThinAirRead", ""},
    {"of a write that failed", "a eu 1 2 set x 1 -> failed\nb eu 3 4 get x -> 1\n", false, "ThinAirRead", "line 2 failed"},
    {"of a write that came later", "b eu 1 2 get x -> 1\na eu 3 4 set x 1 -> ok\n", false, "FutureRead", ""},
    {"a cycle", "a eu 1 9 get x -> 1\na eu 9 9 set y 1 -> ok\nb us 1 9 get y -> 1\nb us 9 9 set x 1 -> ok\n", false, "CyclicCO", "line"},
    {"an unknown write that was not read", "a eu 1 - set x 1 -> ?\na eu 5 6 get x -> nil\n", false, "", ""},
    {"an unknown write that comes late", "a eu 1 - set x 1 -> ?\na eu 5 6 get x -> nil\na eu 7 8 get x -> 1\n", false, "", ""},
    {"an unknown write that goes again", "a eu 1 - set x 1 -> ?\na eu 5 6 get x -> 1\na eu 7 8 get x -> nil\n", false, "WriteCOInitRead",
     "read your writes"},
    {"an unknown delete explains nil", "a eu 1 2 set x 1 -> ok\nb us 3 - del x -> ?\na eu 5 6 get x -> nil\n", false, "", ""},
    {"set if absent, of what one wrote", "a eu 1 2 set x 1 -> ok\na us 3 4 setnx x 2 -> ok\n", false, "WriteCOInitRead", ""},
    {"compare and set of what was replaced", "a eu 1 2 set x 1 -> ok\na eu 3 4 set x 2 -> ok\na us 5 6 cas x 1 3 -> ok\n", false,
     "WriteCORead", ""},
    {"final reads that differ", "a eu 1 2 set x 1 -> ok\nb us 1 2 set x 2 -> ok\na eu 5 6 final x -> 1\na us 7 8 final x -> 2\n", false,
     "FinalDiffers", ""},
    {"a lost write", "a eu 1 2 set x 1 -> ok\nb us 5 6 final x -> nil\n", false, "WriteCOInitRead", ""},
    {"a counter", "a eu 1 2 incr n 3 -> 3\nb us 1 2 incr n -1 -> -1\na eu 3 4 get n -> 2\n", false, "", ""},
    {"a counter that forgets one's own", "a eu 1 2 incr n 3 -> 3\na us 3 4 get n -> 2\n", false, "CounterLost", "make 3 at least"},
    {"a counter that counts twice", "a eu 1 2 incr n 3 -> 3\na us 3 4 get n -> 6\n", false, "CounterInvented", "makes 3 at most"},
    {"a lost increment", "a eu 1 2 incr n 3 -> ok\nb us 1 2 incr n 4 -> ok\na us 3 4 final n -> 3\n", false, "CounterLost", ""},
    {"an unknown increment", "a eu 1 2 incr n 3 -> ok\nb us 1 - incr n 4 -> ?\na us 3 4 final n -> 3\nc us 3 4 final n -> 3\n", false, "", ""},
};

TEST(Causal, Stories) {
  for (const Story& story : kStories) {
    const Verdict verdict = Checked("polyarch-history 1\n" + std::string(story.lines), story.convergent);
    EXPECT_TRUE(verdict.undecided.empty()) << story.name;
    if (story.rule[0] == '\0') {
      EXPECT_EQ(verdict.count, 0u) << story.name << ": " << (verdict.count > 0 ? verdict.violations[0].text : "");
      continue;
    }
    ASSERT_EQ(verdict.count, 1u) << story.name;
    EXPECT_EQ(verdict.violations[0].rule, story.rule) << story.name;
    EXPECT_NE(verdict.violations[0].text.find(story.says), std::string::npos) << story.name << ": " << verdict.violations[0].text;
  }
}

TEST(Causal, SaysWhatItCannotCheck) {
  auto twice = CheckCausal(Parsed("polyarch-history 1\na eu 1 2 set x 1 -> ok\nb eu 1 2 set x 1 -> ok\n"));
  ASSERT_FALSE(twice.ok());
  EXPECT_EQ(twice.status().message().substr(0, 7), "line 3:");
  // A retry after a failure is fine.
  EXPECT_TRUE(Checked("polyarch-history 1\na eu 1 2 set x 1 -> failed\na eu 3 4 set x 1 -> ok\na eu 5 6 get x -> 1\n").passed());

  const Verdict mixed = Checked("polyarch-history 1\na eu 1 2 set x 1 -> ok\nb eu 1 2 incr x 1 -> ok\n");
  EXPECT_EQ(mixed.count, 0u);
  EXPECT_EQ(mixed.undecided.size(), 1u);

  CausalOptions little;
  little.clocks_bytes_max = 10'000;
  auto verdict = CheckCausal(Parsed(MakeCausalHistory({.operations = 5000})), little);
  ASSERT_TRUE(verdict.ok());
  EXPECT_EQ(verdict->undecided.size(), 1u);
}

}  // namespace
}  // namespace polyarch::history
