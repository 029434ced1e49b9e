// The entries of a big list under any order of changes and passes over the dirty ones, against maps.
#include "keyspace/name_tree.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "keyspace/name_score.h"

namespace polyarch::keyspace {
namespace {

Entry* NewEntry(const std::string& name, bool shown, uint64_t sequence) {
  Entry* entry = Entry::NewValue(0, name, clock::Dot(clock::OriginIndex{0}, sequence), {}, false, "");
  entry->set(Entry::kShown, shown);
  return entry;
}

uint64_t SequenceOf(const Entry* entry) {
  return entry->value_part().dot.sequence();
}

class NameTreeTest : public testing::Test {
 protected:
  struct Model {
    bool shown = true;
    uint64_t sequence = 0;  // of the change that made it what it is
    uint64_t written = 0;   // what the last visit found
  };
  // Of some names the number is all that tells them apart, of others it is the same.
  static std::string Name(uint64_t n) {
    std::string name(17, '\1');
    for (size_t i = 0; i < 8; ++i)
      name[8 - i] = static_cast<char>(n / 10 >> (8 * i));
    name[16] = static_cast<char>('0' + n % 10);
    return name;
  }

  void Put(const std::string& name, bool shown) {
    Entry* fresh = NewEntry(name, shown, ++sequence_);
    Entry* old = tree_.Find(name);
    ASSERT_EQ(old != nullptr, model_.count(name) != 0);
    if (old == nullptr) {
      tree_.Insert(fresh);
    } else {
      tree_.Replace(old, fresh);
    }
    Model& model = model_[name];
    model.shown = shown;
    model.sequence = sequence_;
  }

  void Check() {
    ASSERT_EQ(tree_.size(), model_.size());
    size_t shown = 0;
    for (const auto& [name, model] : model_) {
      const Entry* entry = tree_.Find(name);
      ASSERT_NE(entry, nullptr);
      ASSERT_EQ(SequenceOf(entry), model.sequence);
      if (!model.shown) continue;
      ASSERT_EQ(tree_.shown().At(shown).entry, entry);
      ASSERT_EQ(tree_.shown().Rank(NameScore(name), name), shown++);
    }
    ASSERT_EQ(tree_.shown().size(), shown);
    size_t walked = 0;
    tree_.Walk([&](const Entry& entry) { return ++walked, model_.count(std::string(entry.key())) == 1; });
    ASSERT_EQ(walked, model_.size());
  }

  NameTree tree_;
  std::map<std::string, Model> model_;
  uint64_t sequence_ = 0;
};

TEST_F(NameTreeTest, EachPassFindsWhatHadChangedWhenItBegan) {
  base::Random random(11);
  uint64_t began = 0;
  bool under_way = false;
  size_t passes = 0;
  uint64_t next = 50'000'000;
  uint64_t first = 50'000'000;
  for (int i = 0; i < 60'000; ++i) {
    const bool shown = random.Percent(95);
    if (random.Percent(i < 30'000 ? 45 : 20)) {
      Put(Name(random.Percent(50) ? next++ : --first), shown);
    } else if (model_.empty() || random.Percent(10)) {
      Put(Name(first + random.Below(next - first + 1)), shown);
    } else {
      // Something at an end, or anywhere.
      auto it = model_.begin();
      if (random.Percent(40)) {
        it = model_.lower_bound(Name(first + random.Below(next - first + 1)));
        if (it == model_.end()) --it;
      } else if (random.Percent(50)) {
        it = std::prev(model_.end());
      }
      if (random.Percent(60)) {
        tree_.Erase(tree_.Find(it->first));
        model_.erase(it);
      } else {
        Put(it->first, shown);
      }
    }
    if (random.Percent(5)) {
      const bool begins = !under_way || random.Percent(5);
      if (begins) began = sequence_;
      under_way = !tree_.TakeDirty(begins, 1 + random.Below(40), [&](Entry* entry) {
        Model& model = model_.at(std::string(entry->key()));
        ASSERT_NE(model.written, model.sequence) << "it was clean";
        model.written = model.sequence;
      });
      if (!under_way) {
        ++passes;
        for (const auto& [name, model] : model_) {
          ASSERT_TRUE(model.written == model.sequence || model.sequence > began) << name;
        }
      }
    }
    if (HasFatalFailure()) return;
    if (i % 5'000 == 0) Check();
  }
  Check();
  EXPECT_GT(passes, 100U);
}

TEST_F(NameTreeTest, APassEndsThoughBothEndsGrowFaster) {
  for (uint64_t i = 0; i < 1'000; ++i)
    Put(Name(50'000'000 + i), true);
  uint64_t last = 50'001'000;
  uint64_t first = 50'000'000;
  size_t visited = 0;
  bool done = false;
  for (int slice = 0; slice < 30 && !done; ++slice) {
    for (int i = 0; i < 100; ++i) {
      Put(Name(last++), true);
      Put(Name(--first), true);
    }
    done = tree_.TakeDirty(slice == 0, 50, [&](Entry*) { ++visited; });
  }
  EXPECT_TRUE(done);
  EXPECT_EQ(visited, 1'200U) << "what there was, with the first slice's";
}

TEST_F(NameTreeTest, WhatIsCleanStaysClean) {
  for (uint64_t i = 0; i < 2'000; ++i) {
    Put(Name(i), i % 7 != 0);
    tree_.SetDirty(tree_.Find(Name(i)), false);
  }
  auto none = [](Entry*) { FAIL(); };
  EXPECT_TRUE(tree_.TakeDirty(true, 1, none));
  tree_.SetDirty(tree_.Find(Name(1'234)), true);
  tree_.SetDirty(tree_.Find(Name(7)), true);
  std::vector<std::string> found;
  EXPECT_TRUE(tree_.TakeDirty(true, 3, [&](Entry* e) { found.emplace_back(e->key()); }));
  EXPECT_EQ(found, (std::vector{Name(1'234), Name(7)}));
  EXPECT_TRUE(tree_.TakeDirty(true, 1, none));
}

TEST(NameScore, NeverFallsFromOneNameToAGreaterOne) {
  base::Random random(3);
  std::vector<std::string> names = {""};
  for (int i = 0; i < 20'000; ++i) {
    std::string name;
    for (uint64_t n = random.Below(12); n > 0; --n)
      name.push_back(static_cast<char>(random.Percent(60) ? random.Below(3) : random.Below(256)));
    names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  for (size_t i = 1; i < names.size(); ++i)
    ASSERT_LE(NameScore(names[i - 1]), NameScore(names[i])) << i;
}

TEST_F(NameTreeTest, ReshowMovesEntries) {
  for (uint64_t i = 0; i < 500; ++i)
    Put(Name(i), i % 3 != 0);
  tree_.Reshow([&](Entry* entry) {
    Model& model = model_.at(std::string(entry->key()));
    model.shown = model.sequence % 2 == 0;
    entry->set(Entry::kShown, model.shown);
  });
  Check();
}

TEST_F(NameTreeTest, FreedInSlices) {
  for (uint64_t i = 0; i < 5'000; ++i)
    Put(Name(i), i % 10 != 0);
  size_t slices = 1;
  while (tree_.FreeSome(100))
    ++slices;
  EXPECT_GT(slices, 30U);
  EXPECT_EQ(tree_.memory_bytes(), 0U);
}

}  // namespace
}  // namespace polyarch::keyspace
