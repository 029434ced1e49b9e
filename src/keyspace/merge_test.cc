// Merging another leader's state lazily equals having applied all changes, whatever is read and
// written while it goes on.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "keyspace/keyspace.h"

namespace polyarch::keyspace {
namespace {

class Merged : public testing::Test {
 protected:
  struct Counting final : Observer {
    void KeyModified(const KeyRef& ref, Cause) override { modified.insert(std::string(ref.key)); }
    void VersionsMet(uint8_t, std::string_view, crdt::Type, std::string_view, clock::Dot) override {}
    void Merged(uint8_t, std::string_view key, const crdt::KeyState&, const crdt::KeyState&) override {
      merged.insert(std::string(key));
    }
    std::set<std::string> modified;
    std::set<std::string> merged;
  };

  Merged() {
    one_ = origins_.Intern({"eu", 1});
    two_ = origins_.Intern({"us", 2});
    for (auto* keys : {&mine_, &theirs_, &all_}) *keys = std::make_unique<Keyspace>(origins_, policies_, base::SipKey{1, 2});
  }

  // k0 is the one with so many elements that they have rows of their own.
  std::string Key() {
    if (elements_ && random_.Percent(50)) return "k0";
    return "k" + std::to_string(random_.Below(kKeys));
  }

  // A random change by `author`, who holds `at` and has seen `deps`, applied to all of `to`.
  void Change(clock::OriginIndex author,
              Keyspace& at,
              clock::VersionVector& seen,
              const std::vector<Keyspace*>& to) {
    const clock::VersionVector deps = seen;
    const uint64_t sequence = seen.Get(author) + 1;
    const crdt::At place{sequence, 0};
    const std::string key = Key();
    const std::string value = "v" + std::to_string(random_.Below(1000));
    const KeyRef ref = at.Ref(0, key);
    crdt::Effect effect{.kind = crdt::EffectKind::kPut, .db = 0, .key = key, .value = value};
    std::vector<crdt::Clear> clears = at.Clears(ref);
    const bool many = elements_ && key == "k0";
    const std::string element = "e" + std::to_string(random_.Below(many ? 280 : 4));
    const uint64_t kind = many && random_.Percent(97) ? 6 + random_.Below(7) : random_.Below(elements_ ? 14 : 6);
    switch (kind) {
      case 0:
      case 1:
        effect.flags = crdt::kWipes | crdt::kNeverFlag;
        effect.clears = clears;
        break;
      case 2:
        effect.kind = crdt::EffectKind::kWipe;
        effect.clears = clears;
        break;
      case 3:
        effect.kind = crdt::EffectKind::kExpire;
        effect.expire_ms = 1000 + static_cast<int64_t>(random_.Below(1000));
        break;
      case 4:
        effect.flags = crdt::kWipes | crdt::kHasExpiry;
        effect.expire_ms = 5000;
        effect.clears = clears;
        break;
      case 6:
      case 7:
      case 8:
      case 9:
      case 10:
        effect.type = crdt::Type::kHash;
        effect.element = element;
        clears = at.ElementClears(ref, effect.type, element);
        effect.clears = clears;
        break;
      case 11:
        if (random_.Percent(20)) {
          effect.kind = crdt::EffectKind::kWipeRange;
          effect.type = crdt::Type::kHash;
          effect.element = element;
          effect.value = "e3";
          break;
        }
        effect.kind = crdt::EffectKind::kWipe;
        effect.type = crdt::Type::kHash;
        effect.element = element;
        clears = at.ElementClears(ref, effect.type, element);
        effect.clears = clears;
        break;
      case 12: {
        effect.kind = crdt::EffectKind::kIncrement;
        effect.type = random_.Percent(80) ? crdt::Type::kHash : crdt::Type::kSortedSet;
        effect.element = element;
        effect.increment = crdt::Number::Integer(1);
        auto next = at.PrepareElementIncrement(ref, effect.type, element, author, place, effect.increment);
        ASSERT_TRUE(next);
        effect.life = next->life;
        effect.total = next->total;
        break;
      }
      default: {
        effect.kind = crdt::EffectKind::kIncrement;
        effect.increment = crdt::Number::Integer(static_cast<int64_t>(random_.Below(9)) + 1);
        auto next = at.PrepareIncrement(ref, author, place, effect.increment);
        ASSERT_TRUE(next);
        effect.life = next->life;
        effect.total = next->total;
        break;
      }
    }
    const clock::Hlc stamp = clock::Hlc::FromMs(++now_);
    for (Keyspace* keys : to) keys->Apply(effect, crdt::Seen(deps, author, place), stamp, Cause::kRemote);
    seen.Set(author, sequence);
  }

  void Compare(Keyspace& merged) {
    for (size_t k = 0; k < kKeys; ++k) {
      const std::string key = "k" + std::to_string(k);
      EXPECT_EQ(crdt::Canonical(merged.State(merged.Ref(0, key)), origins_),
                crdt::Canonical(all_->State(all_->Ref(0, key)), origins_))
          << key;
    }
    EXPECT_EQ(merged.Digest(), all_->Digest());
  }

  static constexpr uint64_t kKeys = 12;
  clock::OriginTable origins_;
  conflict::PolicyTable policies_;
  base::Random random_{1};
  bool elements_ = false;
  clock::OriginIndex one_{};
  clock::OriginIndex two_{};
  std::unique_ptr<Keyspace> mine_;
  std::unique_ptr<Keyspace> theirs_;
  std::unique_ptr<Keyspace> all_;
  uint64_t now_ = 1'700'000'000'000;
};

TEST_F(Merged, EqualsHavingAppliedAll) {
  size_t spilled = 0;
  for (uint64_t seed = 1; seed <= 800; ++seed) {
    random_ = base::Random(seed);
    elements_ = seed % 2 == 0;
    const uint64_t many = elements_ ? 1500 : 40;
    for (auto* keys : {&mine_, &theirs_, &all_}) *keys = std::make_unique<Keyspace>(origins_, policies_, base::SipKey{1, 2});
    Counting counting;
    mine_->SetObserver(&counting);
    clock::VersionVector common;
    for (uint64_t n = random_.Below(many); n > 0; --n) Change(one_, *mine_, common, {mine_.get(), theirs_.get(), all_.get()});
    // As if checkpointed: what changes later must become dirty again.
    std::set<std::string> rows;
    while (mine_->VisitDirty(100, [&](const Keyspace::Row& row) {
      if (row.kind != Keyspace::Row::Kind::kKey) return;
      const std::string key(row.key);
      if (row.spilled != 0) ++spilled;
      row.state->empty() ? (void)rows.erase(key) : (void)rows.insert(key);
    })) {
    }
    clock::VersionVector mine = common;
    clock::VersionVector theirs = common;
    for (uint64_t n = random_.Below(20); n > 0; --n) Change(one_, *mine_, mine, {mine_.get(), all_.get()});
    for (uint64_t n = random_.Below(20); n > 0; --n) Change(two_, *theirs_, theirs, {theirs_.get(), all_.get()});
    mine_->BeginMerge(std::move(theirs_), mine, theirs);
    clock::VersionVector both = mine;
    both.Join(theirs);
    Compare(*mine_);
    for (uint64_t n = random_.Below(12); n > 0; --n) {
      switch (random_.Below(3)) {
        case 0: (void)mine_->Read(mine_->Ref(0, Key())); break;
        case 1: Change(one_, *mine_, both, {mine_.get(), all_.get()}); break;
        default: mine_->MergeSome(1); break;
      }
      if (random_.Percent(25)) Compare(*mine_);
    }
    if (random_.Percent(10)) {
      const crdt::Effect flush{.kind = crdt::EffectKind::kFlush, .db = 0};
      const clock::VersionVector deps = both;
      for (Keyspace* keys : {mine_.get(), all_.get()}) {
        keys->Apply(flush, crdt::Seen(deps, two_, {both.Get(two_) + 1, 0}), clock::Hlc::FromMs(++now_), Cause::kRemote);
      }
    }
    mine_->MergeAll();
    ASSERT_FALSE(mine_->merging());
    Compare(*mine_);
    EXPECT_EQ(mine_->Size(0), all_->Size(0));
    EXPECT_EQ(mine_->open_conflicts(), all_->open_conflicts());
    EXPECT_EQ(mine_->EarliestExpiry(), all_->EarliestExpiry());
    // Every key that differs from its row is written by the next pass.
    std::map<std::string, crdt::KeyState> written;
    while (mine_->VisitDirty(100, [&](const Keyspace::Row& row) {
      if (row.kind == Keyspace::Row::Kind::kKey) written[std::string(row.key)] = *row.state;
    })) {
    }
    for (const std::string& key : counting.merged) EXPECT_TRUE(counting.modified.count(key) != 0);
    for (const std::string& key : counting.modified) {
      const bool there = !mine_->State(mine_->Ref(0, key)).empty();
      EXPECT_TRUE(written.count(key) != 0 || rows.count(key) != 0 || !there) << key;
    }
    if (testing::Test::HasFailure()) FAIL() << "seed " << seed;
  }
  EXPECT_GT(spilled, 100U);
}

TEST_F(Merged, AKeyThatTheOtherSideLacksMergesWithAbsent) {
  clock::VersionVector none;
  const crdt::Effect put{.kind = crdt::EffectKind::kPut, .db = 0, .flags = crdt::kWipes, .key = "k", .value = "v"};
  mine_->Apply(put, crdt::Seen(none, one_, {1, 0}), clock::Hlc::FromMs(now_), Cause::kLocal);
  clock::VersionVector mine;
  mine.Set(one_, 1);
  clock::VersionVector theirs = mine;  // they have seen it, and have it no more
  theirs.Set(two_, 1);
  mine_->BeginMerge(std::move(theirs_), mine, theirs);
  EXPECT_FALSE(mine_->Read(mine_->Ref(0, "k")).exists());
  EXPECT_EQ(mine_->merged_on_access(), 1U);
  EXPECT_FALSE(mine_->MergeSome(1000));
  EXPECT_EQ(mine_->Size(0), 0U);
}

// Of what both hold only one is left in the end: it is not compared with a limit twice.
TEST_F(Merged, WhatBothHoldIsComparedOnce) {
  clock::VersionVector none;
  for (uint64_t i = 1; i <= 300; ++i) {
    const std::string name = "key" + std::to_string(i);
    const crdt::Effect put{.kind = crdt::EffectKind::kPut, .db = 0, .flags = crdt::kWipes, .key = name, .value = "value"};
    for (Keyspace* keys : {mine_.get(), theirs_.get()}) {
      if (i <= 100 && keys == mine_.get()) continue;  // they hold more
      keys->Apply(put, crdt::Seen(none, one_, {i, 0}), clock::Hlc::FromMs(now_), Cause::kLocal);
    }
  }
  const size_t mine_bytes = mine_->memory_bytes();
  const size_t theirs_bytes = theirs_->memory_bytes();
  const size_t most = std::max(mine_->overhead_bytes(), theirs_->overhead_bytes());
  clock::VersionVector mine;
  clock::VersionVector theirs;
  theirs.Set(one_, 300);
  mine_->SetMemoryLine(theirs_bytes);
  mine_->BeginMerge(std::move(theirs_), mine, theirs);
  EXPECT_EQ(mine_->memory_bytes(), mine_bytes + theirs_bytes);
  EXPECT_EQ(mine_->compared_bytes(), theirs_bytes);
  EXPECT_EQ(mine_->compared_overhead_bytes(), most);
  while (mine_->MergeSome(50)) EXPECT_LE(mine_->compared_bytes(), theirs_bytes);
  EXPECT_EQ(mine_->memory_bytes(), theirs_bytes);
  EXPECT_EQ(mine_->compared_bytes(), theirs_bytes);
  EXPECT_FALSE(mine_->over_memory_line());
}

// Reading replaces the entry that the walk has come to.
TEST_F(Merged, AWalkNamesWhatItMerges) {
  clock::VersionVector none;
  std::set<std::string> names;
  for (uint64_t i = 1; i <= 200; ++i) {
    const std::string name = std::string(i % 60, 'k') + std::to_string(i);
    names.insert(name);
    const crdt::Effect put{.kind = crdt::EffectKind::kPut, .db = 0, .flags = crdt::kWipes, .key = name, .value = "v"};
    mine_->Apply(put, crdt::Seen(none, one_, {i, 0}), clock::Hlc::FromMs(now_), Cause::kLocal);
    theirs_->Apply(put, crdt::Seen(none, two_, {i, 0}), clock::Hlc::FromMs(now_), Cause::kLocal);
  }
  clock::VersionVector mine;
  mine.Set(one_, 200);
  clock::VersionVector theirs;
  theirs.Set(two_, 200);
  Counting counting;
  mine_->SetObserver(&counting);
  mine_->BeginMerge(std::move(theirs_), mine, theirs);
  std::set<std::string> walked;
  uint64_t cursor = 0;
  do {
    cursor = mine_->Scan(0, cursor, 10, [&](std::string_view key) { walked.emplace(key); });
  } while (cursor != 0);
  EXPECT_EQ(walked, names);
  EXPECT_EQ(counting.modified, names);
  EXPECT_EQ(counting.merged, names);
}

TEST_F(Merged, WhatAFilterPassesOverIsTakenAsMerged) {
  clock::VersionVector none;
  const crdt::Effect put{.kind = crdt::EffectKind::kPut, .db = 0, .flags = crdt::kWipes, .key = "k", .value = "old"};
  theirs_->Apply(put, crdt::Seen(none, two_, {1, 0}), clock::Hlc::FromMs(now_), Cause::kLocal);
  for (uint64_t i = 0; i < 3; ++i) {
    const std::string field = "f" + std::to_string(i);
    const crdt::Effect add{.kind = crdt::EffectKind::kPut,
                           .db = 0,
                           .type = crdt::Type::kHash,
                           .key = "h",
                           .element = field,
                           .value = "theirs"};
    theirs_->Apply(add, crdt::Seen(none, two_, {2 + i, 0}), clock::Hlc::FromMs(now_), Cause::kLocal);
  }
  const crdt::Version newer{clock::Dot(two_, 7), clock::Hlc::FromMs(now_), true, false, "newer"};
  crdt::KeyState row;
  row.versions.push_back(newer);
  mine_->Load(0, "k", row);
  crdt::KeyState hash;
  hash.elements.emplace_back();
  hash.elements.back().type = crdt::Type::kHash;
  hash.elements.back().name = "f1";
  hash.elements.back().versions.push_back(newer);
  mine_->Load(0, "h", hash);
  mine_->SetReplayFilter([](uint8_t, std::string_view key, crdt::Type, std::string_view element) {
    return key == "k" || element == "f1" || element == "f2";
  });
  clock::VersionVector theirs;
  theirs.Set(two_, 4);
  mine_->BeginMerge(std::move(theirs_), none, theirs);
  // Before and after: looking at a key tells what merging it will come to.
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(mine_->State(mine_->Ref(0, "k")), row);
    const crdt::KeyState shown = mine_->State(mine_->Ref(0, "h"));
    ASSERT_EQ(shown.elements.size(), 2U);
    EXPECT_EQ(shown.elements[0].name, "f0");
    EXPECT_EQ(shown.elements[0].versions[0].value, "theirs");
    EXPECT_EQ(shown.elements[1], hash.elements[0]);
    mine_->MergeAll();
  }
  mine_->SetReplayFilter(nullptr);
}

}  // namespace
}  // namespace polyarch::keyspace
