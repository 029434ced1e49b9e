// The elements of a big list under any order of changes and passes over the dirty ones, against
// maps.
#include "keyspace/block_list.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "crdt/position.h"
#include "keyspace/list_step.h"

namespace polyarch::keyspace {
namespace {

struct Model {
  std::string value;
  clock::Dot dot;
  clock::Hlc hlc;
  bool entry = false;
  bool shown = true;
  bool stored = false;
  uint64_t changed = 0;  // when it became what it is
  uint64_t written = 0;  // what the last visit found
};

class BlockListTest : public testing::Test {
 protected:
  using Names = std::map<std::string, Model>;

  // Everything in the list.
  void MakeClean() {
    while (!list_.TakeDirty(true, SIZE_MAX, [](const ListItem&) {})) {
    }
  }

  // A name at the front, at the end, or between two others, as processes make them.
  std::string NewName(int where) {
    ++place_.index;
    if (random_.Percent(40)) place_ = {place_.sequence + random_.Below(3) + 1, 0};
    const crdt::PositionMaker maker{random_.Percent(90) ? 7U : 1 + random_.Below(4), place_};
    if (names_.empty() || where == 0)
      return *crdt::PositionBefore(names_.empty() ? "" : names_.begin()->first, maker);
    if (where == 1) return crdt::PositionBehind(names_.rbegin()->first, maker);
    auto left = Anywhere();
    auto right = std::next(left);
    if (right == names_.end()) return crdt::PositionBehind(left->first, maker);
    return random_.Percent(50) ? *crdt::PositionBetween(left->first, right->first, maker)
                               : *crdt::PositionBetweenLeftwards(left->first, right->first, maker);
  }
  Names::iterator Anywhere() {
    if (!random_.Percent(20)) {
      auto it = names_.lower_bound(some_);
      some_ = it == names_.end() ? std::string() : it->first;
      for (uint64_t n = random_.Below(30); n > 0 && it != names_.end(); --n)
        ++it;
      if (it != names_.end()) return it;
    }
    auto it = names_.begin();
    std::advance(it, static_cast<ptrdiff_t>(random_.Below(names_.size())));
    some_ = it->first;
    return it;
  }

  // By the effect that made the name, or by another one.
  Model NewModel(const std::string& name, bool fresh) {
    Model model;
    model.value = std::string(random_.Below(random_.Percent(90) || entries_ == 0 ? 20 : 700), 'v') +
                  std::to_string(changes_);
    model.dot =
        fresh && name.size() == 24
            ? clock::Dot(clock::OriginIndex{1}, place_.sequence)
            : clock::Dot(static_cast<clock::OriginIndex>(random_.Below(3)), random_.Below(1 << 20));
    model.hlc.bits = fresh ? place_.sequence + (place_.sequence / 10 << 16)
                           : random_.Next() >> random_.Below(64);
    model.entry = !BlockList::Fits(name, model.value) || random_.Percent(entries_);
    model.shown = !model.entry || random_.Percent(70);
    return model;
  }

  ListItem ItemOf(const std::string& name, const Model& model) {
    ListItem item{};
    item.dirty = true;
    if (model.entry) {
      item.entry = Entry::NewValue(0, name, model.dot, model.hlc, false, model.value);
      item.entry->set(Entry::kShown, model.shown);
      item.entry->set(Entry::kStored, model.stored);
      return item;
    }
    item.SetName(name);
    item.value_text = model.value.data();
    item.value_bytes = static_cast<uint32_t>(model.value.size());
    item.dot = model.dot;
    item.hlc = model.hlc;
    item.stored = model.stored;
    return item;
  }

  void Put(const std::string& name) {
    BlockList::Place place;
    const bool there = list_.Find(name, place);
    ASSERT_EQ(there, names_.count(name) != 0);
    Model model = NewModel(name, !there);
    model.changed = ++changes_;
    if (there) {
      model.stored = names_[name].stored;
      model.written = names_[name].written;
      list_.Replace(place, ItemOf(name, model));
    } else {
      list_.Insert(ItemOf(name, model));
    }
    names_[name] = std::move(model);
  }

  void Erase(Names::iterator it) {
    BlockList::Place place;
    ASSERT_TRUE(list_.Find(it->first, place));
    list_.Erase(place);
    names_.erase(it);
  }

  static void ExpectEqual(const ListItem& item, const std::string& name, const Model& model) {
    ASSERT_EQ(item.name(), name);
    ASSERT_EQ(item.entry != nullptr, model.entry);
    if (model.entry) {
      ASSERT_EQ(item.entry->value(), model.value);
      ASSERT_EQ(item.entry->has(Entry::kStored), model.stored);
      return;
    }
    ASSERT_EQ(item.value(), model.value);
    ASSERT_EQ(item.dot, model.dot);
    ASSERT_EQ(item.hlc, model.hlc);
    ASSERT_EQ(item.stored, model.stored);
    ASSERT_EQ(item.dirty, model.written != model.changed);
  }

  void Check() {
    std::vector<const Names::value_type*> shown;
    size_t plain = 0;
    for (const auto& named : names_) {
      if (named.second.shown) shown.push_back(&named);
      plain += named.second.entry ? 0 : 1;
    }
    ASSERT_EQ(list_.size(), names_.size());
    ASSERT_EQ(list_.shown(), shown.size());
    ASSERT_EQ(list_.plain(), plain);
    size_t rank = 0;
    list_.Walk(0, false, [&](const ListItem& item) {
      ExpectEqual(item, shown[rank]->first, shown[rank]->second);
      return !HasFatalFailure() && ++rank < shown.size();
    });
    ASSERT_EQ(rank, shown.size());
    if (shown.empty()) return;
    for (int i = 0; i < 20; ++i) {
      rank = random_.Percent(20) ? shown.size() - 1 : random_.Below(shown.size());
      ExpectEqual(list_.At(rank), shown[rank]->first, shown[rank]->second);
      ASSERT_EQ(list_.Rank(shown[rank]->first), rank);
      size_t left = 1 + random_.Below(200);
      list_.Walk(rank, true, [&](const ListItem& item) {
        ExpectEqual(item, shown[rank]->first, shown[rank]->second);
        --rank;
        return !HasFatalFailure() && --left > 0;
      });
    }
    size_t all = 0;
    list_.WalkAll(
        [&](const ListItem& item) { return ++all, names_.count(std::string(item.name())) == 1; });
    ASSERT_EQ(all, names_.size());
  }

  void Pass() {
    const bool begins = !under_way_ || random_.Percent(5);
    if (begins) began_ = changes_;
    under_way_ = !list_.TakeDirty(begins, 1 + random_.Below(40), [&](const ListItem& item) {
      Model& model = names_.at(std::string(item.name()));
      ASSERT_NE(model.written, model.changed) << "it was clean";
      model.written = model.changed;
      model.stored = true;
    });
    if (under_way_) return;
    ++passes_;
    for (const auto& [name, model] : names_)
      ASSERT_TRUE(model.written == model.changed || model.changed > began_);
  }

  void Run(int steps) {
    for (int i = 0; i < steps && !HasFatalFailure(); ++i) {
      // Grows and shrinks, by turns.
      const bool grows = i % 20'000 < 9'000;
      if (random_.Percent(grows ? 60 : 25)) {
        Put(NewName(static_cast<int>(random_.Below(random_.Percent(80) ? 2 : 3))));
      } else if (!names_.empty() && random_.Percent(30)) {
        Put(Anywhere()->first);
      } else if (!names_.empty()) {
        Erase(random_.Percent(40)   ? names_.begin()
              : random_.Percent(60) ? std::prev(names_.end())
                                    : Anywhere());
      }
      if (random_.Percent(5)) Pass();
      if (i % 1'000 == 0 || i > steps - 20) Check();
    }
  }

  base::Random random_{17};
  BlockList list_;
  Names names_;
  std::string some_;
  crdt::At place_{1, 0};
  unsigned entries_ = 2;  // percent
  uint64_t changes_ = 0;
  uint64_t began_ = 0;
  bool under_way_ = false;
  size_t passes_ = 0;
  size_t erased_ = 0;
};

TEST_F(BlockListTest, HoldsWhatWasPutAndEachPassFindsWhatHadChanged) {
  Run(60'000);
  EXPECT_GT(passes_, 50U);
}

TEST_F(BlockListTest, WithManyEntries) {
  entries_ = 60;
  Run(40'000);
}

TEST_F(BlockListTest, AQueueOfEachDirection) {
  for (const bool front : {false, true}) {
    for (int i = 0; i < 20'000 && !HasFatalFailure(); ++i) {
      Put(NewName(front ? 0 : 1));
      if (i > 300 + i / 100) Erase(front ? std::prev(names_.end()) : names_.begin());
      if (i % 500 == 0) Check();
    }
    while (!names_.empty())
      Erase(front ? names_.begin() : std::prev(names_.end()));
    Check();
    EXPECT_LT(list_.memory_bytes(), 2'000U);
  }
}

// By one command each, or by fifty.
TEST_F(BlockListTest, AnElementOfARunTakesLittleMoreThanItsValue) {
  for (const bool front : {false, true}) {
    for (const uint32_t together : {1U, 50U}) {
      BlockList list;
      std::string last;
      for (uint32_t i = 0; i < 100'000; ++i) {
        const crdt::PositionMaker maker{7, {1 + i / together, i % together}};
        last = front ? *crdt::PositionBefore(last, maker) : crdt::PositionBehind(last, maker);
        ListItem item{};
        item.SetName(last);
        item.value_text = "value-of-16-byte";
        item.value_bytes = 16;
        item.dot = clock::Dot(clock::OriginIndex{1}, maker.at.sequence);
        item.hlc.bits = maker.at.sequence + (maker.at.sequence / 100 << 17);
        item.dirty = true;
        list.Insert(item);
      }
      EXPECT_LT(static_cast<double>(list.memory_bytes()) / 100'000, 19.2) << front << together;
    }
  }
}

TEST_F(BlockListTest, APassEndsThoughBothEndsGrowFaster) {
  for (int i = 0; i < 1'000; ++i)
    Put(NewName(1));
  size_t visited = 0;
  bool done = false;
  for (int slice = 0; slice < 60 && !done; ++slice) {
    for (int i = 0; i < 300; ++i)
      Put(NewName(i % 2));
    done = list_.TakeDirty(slice == 0, 50, [&](const ListItem&) { ++visited; });
  }
  EXPECT_TRUE(done);
  EXPECT_LT(visited, 2'000U);
}

TEST_F(BlockListTest, WhatIsCleanStaysClean) {
  for (int i = 0; i < 2'000; ++i)
    Put(NewName(1));
  MakeClean();
  EXPECT_TRUE(list_.TakeDirty(true, 1, [](const ListItem&) { FAIL(); }));
  std::vector<std::string> marked;
  for (const ptrdiff_t rank : {1'700, 1'699, 60}) {
    marked.push_back(std::next(names_.begin(), rank)->first);
    BlockList::Place place;
    ASSERT_TRUE(list_.Find(marked.back(), place));
    list_.SetDirty(place, true);
  }
  std::vector<std::string> found;
  EXPECT_TRUE(
      list_.TakeDirty(true, 9, [&](const ListItem& item) { found.emplace_back(item.name()); }));
  std::sort(found.begin(), found.end());
  std::sort(marked.begin(), marked.end());
  EXPECT_EQ(found, marked);
}

TEST_F(BlockListTest, WholeBlocksOfARangeGo) {
  for (int turn = 0; turn < 40 && !HasFatalFailure(); ++turn) {
    entries_ = turn % 4 == 0 ? 1 : 0;
    if (turn % 4 == 1) {
      while (!names_.empty())
        Erase(names_.begin());
    }
    while (names_.size() < 3'000)
      Put(NewName(static_cast<int>(random_.Below(2))));
    if (random_.Percent(50)) MakeClean();
    const size_t before = list_.size();
    auto any = [&] {
      return std::next(names_.begin(), static_cast<ptrdiff_t>(random_.Below(names_.size())))->first;
    };
    const std::string from = any();
    const std::string to = random_.Percent(20) ? std::string(30, '\xff') : any();
    // What stays: what this did not see.
    const uint64_t seen = random_.Percent(70) ? UINT64_MAX : changes_ / 2;
    std::vector<std::string> gone;
    size_t stored = 0;
    auto goes = [&](const ListItem& item) {
      return names_.at(std::string(item.name())).changed <= seen;
    };
    list_.EraseBlocks(from, to, goes, [&](std::string_view name) {
      gone.emplace_back(name);
      ++stored;
    });
    BlockList::Place place;
    for (auto it = names_.lower_bound(from); it != names_.end() && it->first < to;) {
      if (list_.Find(it->first, place)) {
        ++it;
        continue;
      }
      ASSERT_LE(it->second.changed, seen);
      ASSERT_FALSE(it->second.entry);
      stored -= std::find(gone.begin(), gone.end(), it->first) != gone.end() ? 1 : 0;
      it = names_.erase(it);
    }
    EXPECT_EQ(stored, 0U) << "all that it told of are gone";
    ASSERT_EQ(list_.size(), names_.size());
    // No more than a block at each end, and those with entries, stay of what could go.
    if (seen == UINT64_MAX && to > from) erased_ += before - list_.size();
    list_.Walk(0, false, [&](const ListItem& item) {
      names_.at(std::string(item.name())).stored =
          item.entry != nullptr ? item.entry->has(Entry::kStored) : item.stored;
      names_.at(std::string(item.name())).written =
          item.dirty ? 0 : names_.at(std::string(item.name())).changed;
      return true;
    });
    Check();
  }
  EXPECT_GT(erased_, 5'000U);
}

TEST(ListStep, ShortNamesAreWhatTheyWere) {
  base::Random random(5);
  clock::OriginTable origins;
  for (uint64_t i = 0; i < 4; ++i)
    origins.Intern({"n" + std::to_string(i), 100 + i});
  std::string last;
  size_t bytes = 0;
  for (int i = 0; i < 20'000; ++i) {
    const crdt::At at{random.Percent(10) ? random.Next() >> 17 : 1 + random.Below(100'000),
                      random.Percent(10) ? static_cast<uint32_t>(random.Next())
                                         : static_cast<uint32_t>(random.Below(100))};
    const crdt::PositionMaker maker{100 + random.Below(4), at};
    const std::string beside = random.Percent(90) && last.size() == 24 ? last : "";
    last = random.Percent(50) ? crdt::PositionBehind(beside, maker)
                              : *crdt::PositionBefore(beside, maker);
    const bool rewritten = random.Percent(20);
    const clock::Dot dot(
        static_cast<clock::OriginIndex>(random.Percent(90) ? maker.run - 100 : random.Below(4)),
        rewritten ? 1 + (random.Next() >> 20) : at.sequence);
    char text[list_step::kShortBytesMax];
    const size_t size = list_step::Shorten(text, last, dot, origins);
    const bool own = maker.run - 100 == static_cast<uint64_t>(dot.origin());
    ASSERT_EQ(size > 0, own);
    if (!own) continue;
    ASSERT_LE(size, sizeof text);
    if (!rewritten && at.index < 100) bytes = std::max(bytes, size);
    char step[24];
    list_step::Lengthen(step, {text, size}, dot, origins);
    ASSERT_EQ(std::string_view(step, sizeof step), last);
  }
  EXPECT_LE(bytes, 6U);
  char text[list_step::kShortBytesMax];
  EXPECT_EQ(list_step::Shorten(
                text, "a name that nobody makes", clock::Dot(clock::OriginIndex{0}, 1), origins),
            0U);
  EXPECT_EQ(list_step::Shorten(text, "short", clock::Dot(clock::OriginIndex{0}, 1), origins), 0U);
}

TEST_F(BlockListTest, ReshowMovesEntries) {
  entries_ = 60;
  for (int i = 0; i < 1'000; ++i)
    Put(NewName(i % 3));
  list_.Reshow([&](Entry* entry) {
    Model& model = names_.at(std::string(entry->key()));
    model.shown = model.changed % 2 == 0;
    entry->set(Entry::kShown, model.shown);
  });
  Check();
}

TEST_F(BlockListTest, FreedInSlices) {
  for (int i = 0; i < 20'000; ++i)
    Put(NewName(i % 2));
  size_t slices = 1;
  while (list_.FreeSome(100))
    ++slices;
  EXPECT_GT(slices, 50U);
  EXPECT_EQ(list_.memory_bytes(), 0U);
}

}  // namespace
}  // namespace polyarch::keyspace
