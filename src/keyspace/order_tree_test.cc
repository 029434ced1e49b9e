// The order of a sorted set under any order of operations, against a std::set.
#include "keyspace/order_tree.h"

#include <set>

#include <gtest/gtest.h>

#include "base/random.h"

namespace polyarch::keyspace {
namespace {

class OrderTreeTest : public testing::Test {
 protected:
  ~OrderTreeTest() override {
    for (auto& [name, entry] : entries_) Entry::Free(entry);
  }
  Entry* EntryOf(const std::string& name) {
    Entry*& entry = entries_[name];
    if (entry == nullptr) entry = NewEntry(name);
    return entry;
  }
  static Entry* NewEntry(const std::string& name) {
    return Entry::NewValue(0, name, clock::Dot(clock::OriginIndex{0}, 1), {}, true, "");
  }

  using Item = std::pair<double, std::string>;
  void Check() {
    ASSERT_EQ(tree_.size(), model_.size());
    std::vector<Item> items(model_.begin(), model_.end());
    size_t i = 0;
    tree_.Walk(0, false, [&](const OrderTree::Item& item) {
      EXPECT_EQ(Item(item.score, item.entry->key()), items[i++]);
      return true;
    });
    ASSERT_EQ(i, items.size());
    tree_.Walk(items.size() - 1, true, [&](const OrderTree::Item& item) {
      EXPECT_EQ(Item(item.score, item.entry->key()), items[--i]);
      return true;
    });
    ASSERT_EQ(i, 0U);
    for (size_t rank = 0; rank < items.size(); ++rank) {
      ASSERT_EQ(tree_.Rank(items[rank].first, items[rank].second), rank);
      const OrderTree::Item at = tree_.At(rank);
      ASSERT_EQ(Item(at.score, at.entry->key()), items[rank]);
    }
    for (double score = -2; score < 12; score += 0.5) {
      const auto below = std::count_if(
          items.begin(), items.end(), [&](const Item& item) { return item.first < score; });
      const auto until = std::count_if(
          items.begin(), items.end(), [&](const Item& item) { return item.first <= score; });
      ASSERT_EQ(tree_.CountBelow(score, false), static_cast<size_t>(below));
      ASSERT_EQ(tree_.CountBelow(score, true), static_cast<size_t>(until));
    }
  }

  OrderTree tree_;
  std::set<Item> model_;
  std::map<std::string, Entry*> entries_;
};

TEST_F(OrderTreeTest, AgainstASet) {
  base::Random random(7);
  for (int i = 0; i < 60'000; ++i) {
    // Grows, shrinks, churns.
    const unsigned inserts = i < 20'000 ? 80 : i < 40'000 ? 25 : 50;
    const auto score = static_cast<double>(random.Below(10));
    const std::string name = "m" + std::to_string(random.Below(2000));
    if (random.Percent(inserts)) {
      if (model_.emplace(score, name).second) {
        tree_.Insert(score, EntryOf(name));
      } else {
        // The same item, by another entry.
        Entry* fresh = NewEntry(name);
        Entry*& old = entries_[name];
        for (double s = 0; s < 10; ++s) {
          if (model_.count({s, name}) != 0) tree_.Replace(s, old, fresh);
        }
        Entry::Free(old);
        old = fresh;
      }
    } else {
      ASSERT_EQ(tree_.Erase(score, name), model_.erase({score, name}) == 1);
    }
    if (i % 5'000 == 0) Check();
    if (HasFatalFailure()) return;
  }
  Check();
  while (!model_.empty()) {
    ASSERT_TRUE(tree_.Erase(model_.begin()->first, model_.begin()->second));
    model_.erase(model_.begin());
  }
  EXPECT_EQ(tree_.memory_bytes(), 0U);
}

TEST_F(OrderTreeTest, RisingAndFalling) {
  for (int i = 0; i < 5'000; ++i) {
    for (const int n : {i, -i - 1}) {
      tree_.Insert(n, EntryOf(std::to_string(n)));
      model_.emplace(n, std::to_string(n));
    }
  }
  Check();
  // Full leaves behind whoever goes in one direction.
  EXPECT_LT(tree_.memory_bytes(), 10'000 * 32U);
  bool more = true;
  size_t slices = 0;
  while (more) {
    more = tree_.FreeSome(100);
    ++slices;
  }
  EXPECT_GT(slices, 50U);
  EXPECT_EQ(tree_.memory_bytes(), 0U);
}

}  // namespace
}  // namespace polyarch::keyspace
