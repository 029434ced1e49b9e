// Positions against a naive model: leaders that each know a set of elements, put new ones beside
// those that they see, remove, and learn all that another one knows. Whatever they do, a new name
// stands strictly between its neighbours, no name comes twice, and what comes between two
// neighbours of one run was put there by somebody who had seen the first of them.
#include "crdt/position.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"

namespace polyarch::crdt {
namespace {

enum class Op : uint8_t { kBack, kFront, kBehind, kBefore, kRemove, kLearn };

class Model {
 public:
  explicit Model(size_t leaders) : leaders_(leaders) {}

  // `rank` is taken modulo what there is; kLearn: from the leader of that number. False if it says
  // nothing new.
  bool Do(size_t leader, Op op, size_t rank) {
    Leader& me = leaders_[leader];
    if (op == Op::kLearn) {
      const Leader& other = leaders_[rank % leaders_.size()];
      const size_t before = me.known.size() + me.removed.size();
      me.known.insert(other.known.begin(), other.known.end());
      me.removed.insert(other.removed.begin(), other.removed.end());
      return me.known.size() + me.removed.size() != before;
    }
    const std::vector<std::string> seen = Seen(me);
    if (seen.empty() && op != Op::kBack && op != Op::kFront) return false;
    if (op == Op::kRemove) return me.removed.insert(seen[rank % seen.size()]).second;
    // Two of three places in one change: indices count, too.
    ++me.made;
    const PositionMaker maker{100 + leader, {1 + me.made / 3, me.made % 3}};
    const size_t at = seen.empty() ? 0 : rank % seen.size();
    std::string left;
    std::string right;
    const bool forward = op == Op::kBack || op == Op::kBehind;
    switch (op) {
      case Op::kBack:
        if (!seen.empty()) left = seen.back();
        break;
      case Op::kFront:
        if (!seen.empty()) right = seen.front();
        break;
      case Op::kBehind:
        left = seen[at];
        if (at + 1 < seen.size()) right = seen[at + 1];
        break;
      default:
        right = seen[at];
        if (at > 0) left = seen[at - 1];
        break;
    }
    std::string name;
    if (right.empty() && forward) {
      name = PositionBehind(left, maker);
    } else if (left.empty()) {
      name = *PositionBefore(right, maker);
    } else {
      name = forward ? *PositionBetween(left, right, maker)
                     : *PositionBetweenLeftwards(left, right, maker);
    }
    EXPECT_TRUE(left.empty() || left < name);
    EXPECT_TRUE(right.empty() || name < right);
    longest_ = std::max(longest_, name.size());
    Made made{
        .leader = leader, .forward = forward, .beside = forward ? left : right, .knew = me.known};
    EXPECT_TRUE(all_.emplace(name, std::move(made)).second) << "a name came twice";
    me.known.insert(name);
    return true;
  }

  void CheckRuns() const {
    for (const auto& [name, made] : all_) {
      const auto beside = all_.find(made.beside);
      if (beside == all_.end()) continue;
      // A run: one leader, one direction, each directly beside the one before.
      if (beside->second.leader != made.leader || beside->second.forward != made.forward) continue;
      const auto [low, high] = std::minmax(name, made.beside);
      for (auto y = all_.upper_bound(low); y->first != high; ++y)
        EXPECT_TRUE(y->second.knew.count(made.beside) == 1) << "a run is interleaved";
    }
  }
  size_t longest() const { return longest_; }
  size_t size() const { return all_.size(); }
  std::set<std::string> KnownTo(size_t leader) const { return leaders_[leader].known; }

 private:
  struct Leader {
    std::set<std::string> known;
    std::set<std::string> removed;
    uint32_t made = 0;
  };
  struct Made {
    size_t leader = 0;
    const bool forward = true;
    std::string beside;
    std::set<std::string> knew;
  };
  static std::vector<std::string> Seen(const Leader& leader) {
    std::vector<std::string> seen;
    std::set_difference(leader.known.begin(),
                        leader.known.end(),
                        leader.removed.begin(),
                        leader.removed.end(),
                        std::back_inserter(seen));
    return seen;
  }

  std::vector<Leader> leaders_;
  std::map<std::string, Made> all_;
  size_t longest_ = 0;
};

// Every sequence of operations of two leaders, up to a length.
TEST(PositionTest, EverySmallHistory) {
  size_t histories = 0;
  const std::function<void(const Model&, size_t)> go_on = [&](const Model& model, size_t left) {
    if (left == 0) {
      ++histories;
      model.CheckRuns();
      return;
    }
    for (size_t leader = 0; leader < 2; ++leader) {
      for (Op op : {Op::kBack, Op::kFront, Op::kBehind, Op::kBefore, Op::kRemove, Op::kLearn}) {
        const bool ranked = op == Op::kBehind || op == Op::kBefore || op == Op::kRemove;
        for (size_t rank = 0; rank < (ranked ? 3U : 1U); ++rank) {
          Model next = model;
          if (next.Do(leader, op, op == Op::kLearn ? 1 - leader : rank)) go_on(next, left - 1);
          if (HasFailure()) return;
        }
      }
    }
  };
  go_on(Model(2), 5);
  EXPECT_GT(histories, 20'000U);
}

TEST(PositionTest, RandomHistories) {
  for (uint64_t seed = 1; seed <= 300 && !HasFailure(); ++seed) {
    base::Random random(seed);
    Model model(3);
    const uint64_t learning = 2 + random.Below(40);
    const uint64_t removing = random.Below(50);
    for (int i = 0; i < 150; ++i) {
      const size_t leader = random.Below(3);
      Op op = static_cast<Op>(random.Below(4));
      if (random.Percent(removing)) op = Op::kRemove;
      if (random.Percent(learning)) op = Op::kLearn;
      model.Do(leader, op, random.Below(1000));
    }
    model.CheckRuns();
  }
}

// Runs of several leaders that know nothing of each other, at one place: one behind the other.
TEST(PositionTest, ConcurrentRunsStayTogether) {
  for (Op op : {Op::kBack, Op::kFront, Op::kBehind, Op::kBefore}) {
    Model model(3);
    ASSERT_TRUE(model.Do(0, Op::kBack, 0));
    ASSERT_TRUE(model.Do(0, Op::kBack, 0));
    for (size_t leader = 1; leader < 3; ++leader)
      ASSERT_TRUE(model.Do(leader, Op::kLearn, 0));
    const size_t around = op == Op::kBehind ? 0 : op == Op::kBefore ? 1 : 0;
    for (int i = 0; i < 20; ++i) {
      for (size_t leader = 0; leader < 3; ++leader) {
        // Behind the last (before the first) of one's own.
        const size_t rank = op == Op::kBehind ? around + static_cast<size_t>(i) : around;
        ASSERT_TRUE(model.Do(leader, op, rank));
      }
    }
    for (size_t leader = 1; leader < 3; ++leader)
      ASSERT_TRUE(model.Do(0, Op::kLearn, leader));
    // The maker of a name is its last step's run; how often does it change along the list?
    size_t changes = 0;
    std::string before;
    for (const std::string& name : model.KnownTo(0)) {
      const std::string run = name.substr(name.size() - 18, 8);
      if (run != before) ++changes;
      before = run;
    }
    EXPECT_LE(changes, 5U) << static_cast<int>(op);
    EXPECT_LE(model.longest(), 2 * kPositionStepBytes);
  }
}

TEST(PositionTest, NamesDoNotGrowAtTheEnds) {
  // Two leaders push and pop in turn, as with queues; each sees what the other did.
  std::string last;
  std::string first;
  for (uint64_t i = 1; i <= 100'000; ++i) {
    const PositionMaker maker{i % 2, {i, 0}};
    const std::string behind = PositionBehind(last, maker);
    const std::string before = *PositionBefore(first.empty() ? behind : first, {i % 2, {i, 1}});
    ASSERT_GT(behind, last);
    ASSERT_TRUE(first.empty() || before < first);
    last = behind;
    first = before;
  }
  EXPECT_EQ(last.size(), kPositionStepBytes);
  EXPECT_EQ(first.size(), kPositionStepBytes);
}

TEST(PositionTest, TheEndsOfNumbers) {
  const PositionMaker maker{7, {1, 0}};
  // Behind the greatest n only what is below it.
  std::string greatest(kPositionStepBytes, '\xff');
  const std::string behind = PositionBehind(greatest, maker);
  EXPECT_GT(behind, greatest);
  EXPECT_EQ(behind.size(), 2 * kPositionStepBytes);
  EXPECT_GT(PositionBehind(behind, {7, {2, 0}}), behind);
  // Before the least n there is nothing.
  const std::string least(kPositionStepBytes, '\0');
  EXPECT_FALSE(PositionBefore(least, maker));
  EXPECT_FALSE(PositionBetween("x", "x" + least, maker));
  // Names that nobody makes: a step that is cut short.
  for (const std::string& odd :
       {std::string("\x01"), std::string("\x80"), std::string(30, '\x80')}) {
    EXPECT_GT(PositionBehind(odd, maker), odd);
    const auto before = PositionBefore(odd, maker);
    EXPECT_TRUE(!before || *before < odd);
    const auto between = PositionBetween(odd, odd + "\x80", maker);
    EXPECT_TRUE(!between || (*between > odd && *between < odd + "\x80"));
  }
}

TEST(PositionTest, Bytes) {
  // Part of the formats.
  const std::string name = PositionBehind({}, {0x0102030405060708, {0x0a0b, 0x0c}});
  const std::string expected(
      "\x80\0\0\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08\x80\0\0\0\x0a\x0b\0\0\0\x0c", 24);
  EXPECT_EQ(name, expected);
  const std::string before = *PositionBefore(name, {1, {2, 3}});
  const std::string expected_before(
      "\x7f\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\x01\x7f\xff\xff\xff\xff\xfd\xff\xff\xff\xfc", 24);
  EXPECT_EQ(before, expected_before);
}

TEST(PositionTest, Text) {
  const std::string name = PositionBehind({}, {0x0102030405060708, {0x0a0b, 0x0c}});
  EXPECT_EQ(PositionText(name), "0.0102030405060708:2571.12");
  const std::string before = *PositionBefore(name, {0xab, {2, 3}});
  EXPECT_EQ(PositionText(before), "<-1.00000000000000ab:2.3");
  const std::string between = *PositionBetween(before, name, {5, {4, 0}});
  EXPECT_EQ(PositionText(between), "<-1.00000000000000ab:2.3/0.0000000000000005:4.0");
  EXPECT_EQ(PositionText("x\xff"), "0x78ff") << "a name that nobody makes";
  base::Random random(3);
  std::vector<std::string> names = {name, before, between, "", "x"};
  for (size_t bytes : {1, 23, 24, 25, 48, 72}) {
    for (int round = 0; round < 50; ++round) {
      std::string& odd = names.emplace_back();
      for (size_t i = 0; i < bytes; ++i)
        odd.push_back(static_cast<char>(random.Below(4) == 0 ? 0xff : random.Next()));
    }
  }
  for (const std::string& each : names)
    EXPECT_EQ(ReadPositionText(PositionText(each)), each) << PositionText(each);
  for (const char* bad : {"",
                          "0",
                          "-0.0102030405060708:1.0",
                          "00.0102030405060708:1.0",
                          "+1.0102030405060708:1.0",
                          "0.010203040506070:1.0",
                          "0.010203040506070A:1.0",
                          "0.0102030405060708:1",
                          "0.0102030405060708:1.4294967296",
                          "0.0102030405060708:140737488355328.0",
                          "140737488355328.0102030405060708:1.0",
                          "0.0102030405060708:1.0/",
                          "0.0102030405060708:1.0 ",
                          "0x7",
                          "0xZZ",
                          "0x7A"})
    EXPECT_FALSE(ReadPositionText(bad)) << bad;
}

}  // namespace
}  // namespace polyarch::crdt
