#include "clock/folds.h"

#include <gtest/gtest.h>

#include <map>

#include "base/random.h"

namespace polyarch::clock {
namespace {

OriginIndex Index(uint64_t i) {
  return static_cast<OriginIndex>(i);
}

// ---- vectors over bases

using Model = std::map<uint64_t, uint64_t>;

Model ModelOf(const VersionVector& v) {
  Model m;
  v.ForEach([&](OriginIndex o, uint64_t s) { m[IndexOf(o)] = s; });
  return m;
}

bool Below(const Model& a, const Model& b) {
  for (const auto& [o, s] : a) {
    auto it = b.find(o);
    if (s > (it == b.end() ? 0 : it->second)) return false;
  }
  return true;
}

// Whatever the bases, a vector is the set of dots that it stands for.
TEST(VersionVector, BasesMeanNothing) {
  base::Random random(5);
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::shared_ptr<const VersionVector::Base>> bases = {nullptr};
    for (int i = 0; i < 2; ++i) {
      VersionVector::Base base(random.Below(9));
      for (uint64_t& s : base) s = random.Below(4);
      bases.push_back(std::make_shared<const VersionVector::Base>(base));
    }
    VersionVector vectors[2];
    Model models[2];
    for (int i = 0; i < 2; ++i) {
      vectors[i].Rebase(bases[random.Below(3)]);
      for (int step = 0; step < 12; ++step) {
        const uint64_t o = random.Below(10);
        const uint64_t s = random.Below(4);
        if (random.Percent(50)) {
          vectors[i].Set(Index(o), s);
          models[i][o] = s;
        } else {
          vectors[i].Raise(Index(o), s);
          models[i][o] = std::max(models[i][o], s);
        }
        if (random.Percent(20)) vectors[i].Rebase(bases[random.Below(3)]);
      }
      std::erase_if(models[i], [](const auto& e) { return e.second == 0; });
      ASSERT_EQ(ModelOf(vectors[i]), models[i]);
      for (uint64_t o = 0; o < 12; ++o) {
        auto it = models[i].find(o);
        ASSERT_EQ(vectors[i].Get(Index(o)), it == models[i].end() ? 0 : it->second);
      }
      ASSERT_EQ(vectors[i].empty(), models[i].empty());
    }
    ASSERT_EQ(vectors[0].Includes(vectors[1]), Below(models[1], models[0]));
    ASSERT_EQ(vectors[0] == vectors[1], models[0] == models[1]);
    VersionVector joined = vectors[0];
    joined.Join(vectors[1]);
    VersionVector met = vectors[0];
    met.Meet(vectors[1]);
    Model more = models[0];
    for (const auto& [o, s] : models[1]) more[o] = std::max(more[o], s);
    Model less;
    for (const auto& [o, s] : models[0]) {
      auto it = models[1].find(o);
      if (it != models[1].end()) less[o] = std::min(s, it->second);
    }
    ASSERT_EQ(ModelOf(joined), more);
    ASSERT_EQ(ModelOf(met), less);
    Model above;
    vectors[0].ForEachAbove(vectors[1], [&](OriginIndex o, uint64_t here, uint64_t there) {
      EXPECT_GT(here, there);
      EXPECT_EQ(there, vectors[1].Get(o));
      above[IndexOf(o)] = here;
      return true;
    });
    for (const auto& [o, s] : models[0]) {
      auto it = models[1].find(o);
      ASSERT_EQ(above.count(o) != 0, s > (it == models[1].end() ? 0 : it->second));
    }
    const VersionVector copy = VersionVector::Over(vectors[0].base(), vectors[0].entries());
    ASSERT_EQ(copy, vectors[0]);
  }
}

// ---- folds, against whole pasts

struct Change {
  VersionVector past;  // that its author had, itself included
};

// Writes changes at random leaders, some of them fold records of what the author has; new origins
// take over from old ones, and old ones go on at times.
struct World {
  explicit World(uint64_t seed) : random(seed) {}

  void Step() {
    const uint64_t leader = random.Below(3);
    if (at.size() < 3) {
      at.emplace_back();
      own.push_back(NewOrigin(at.size() - 1));
      return;
    }
    if (random.Percent(35)) {  // hears of another
      at[leader].Join(at[random.Below(3)]);
      return;
    }
    if (random.Percent(20)) own[leader] = NewOrigin(leader);
    OriginIndex origin = own[leader];
    if (random.Percent(10)) {
      // An old one goes on, from where its last change was.
      origin = Index(random.Below(last.size()));
      at[leader].Join(pasts[IndexOf(origin)]);
    }
    Write(leader, origin);
  }

  OriginIndex NewOrigin(uint64_t leader) {
    last.push_back(0);
    pasts.emplace_back();
    return table.Intern({"n" + std::to_string(leader), random.Next()});
  }

  void Write(uint64_t leader, OriginIndex origin) {
    VersionVector& mine = at[leader];
    if (mine.Get(origin) != last[IndexOf(origin)]) return;  // not its newest: a fork
    const Dot dot(origin, ++last[IndexOf(origin)]);
    if (random.Percent(40)) {
      const OriginIndex folded = Index(random.Below(last.size()));
      if (mine.Get(folded) > folds.FoldedAt(folded, mine)) folds.Add({dot, folded, mine.Get(folded)});
    }
    mine.Set(origin, dot.sequence());
    pasts[IndexOf(origin)].Join(mine);
    changes.push_back({mine});
  }

  base::Random random;
  OriginTable table;
  Folds folds;
  std::vector<uint64_t> last;
  std::vector<VersionVector> at;
  std::vector<OriginIndex> own;
  std::vector<VersionVector> pasts;  // by origin, of its newest change
  std::vector<Change> changes;
};

TEST(Folds, WhatIsLeftOutComesBack) {
  size_t left_out = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    World world(seed);
    for (int i = 0; i < 120; ++i) world.Step();
    for (const Change& change : world.changes) {
      const auto listed = world.folds.Compress(change.past, world.table);
      left_out += ModelOf(change.past).size() - listed.size();
      VersionVector told = VersionVector::Over(nullptr, listed);
      ASSERT_TRUE(change.past.Includes(told)) << "seed " << seed;
      world.folds.Expand(told);
      ASSERT_EQ(told, change.past) << "seed " << seed;
      // Step by step, as vectors grow that are expanded already.
      VersionVector grown;
      for (const auto& [origin, sequence] : listed) {
        const uint64_t before = grown.Get(origin);
        grown.Raise(origin, sequence);
        (void)world.folds.Expand(grown, {{origin, before}});
        ASSERT_TRUE(change.past.Includes(grown)) << "compression, never more than there is; seed " << seed;
      }
      ASSERT_EQ(grown, change.past) << "seed " << seed;
    }
  }
  EXPECT_GT(left_out, 10'000U);
}

// What is listed depends on the set of dots alone: not on the order of indices, nor on further records.
TEST(Folds, TheSameListEverywhere) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    World world(seed);
    for (int i = 0; i < 80; ++i) world.Step();
    OriginTable other;
    std::vector<OriginIndex> map(world.last.size());
    for (size_t i = map.size(); i-- > 0;) map[i] = other.Intern(world.table.Get(Index(i)));
    auto moved = [&](const VersionVector& v) {
      VersionVector out;
      v.ForEach([&](OriginIndex o, uint64_t s) { out.Set(map[IndexOf(o)], s); });
      return out;
    };
    for (const Change& change : world.changes) {
      Folds covered;
      for (const Fold& f : world.folds.all()) {
        if (!change.past.Covers(f.record)) continue;
        covered.Add({Dot(map[IndexOf(f.record.origin())], f.record.sequence()), map[IndexOf(f.origin)], f.sequence});
      }
      const auto here = VersionVector::Over(nullptr, world.folds.Compress(change.past, world.table));
      const auto there = VersionVector::Over(nullptr, covered.Compress(moved(change.past), other));
      ASSERT_EQ(here.ToString(world.table), there.ToString(other)) << "seed " << seed;
    }
  }
}

// A record may be covered before what it folds is: its origin may have any number. (It was written behind an array's end.)
TEST(Folds, AVectorThatLacksWhatItsRecordsLeadToIsCompressed) {
  OriginTable table;
  const OriginIndex b = table.Intern({"b", 1});
  OriginIndex last = b;
  for (uint64_t i = 0; i < 20'000; ++i) last = table.Intern({"a", i});
  Folds folds;
  EXPECT_TRUE(folds.Add({Dot(b, 5), last, 10}));
  VersionVector v;
  v.Set(b, 7);
  EXPECT_EQ(folds.Compress(v, table), (std::vector<VersionVector::Entry>{{b, 7}}));
}

TEST(Folds, TheHighestOfSeveralRecordsThatAreCovered) {
  OriginTable table;
  const OriginIndex a = table.Intern({"a", 1});
  const OriginIndex b = table.Intern({"b", 1});
  Folds folds;
  EXPECT_EQ(folds.base(), nullptr);
  EXPECT_TRUE(folds.Add({Dot(b, 5), a, 10}));
  EXPECT_FALSE(folds.Add({Dot(b, 5), a, 10}));
  EXPECT_TRUE(folds.Add({Dot(b, 9), a, 12}));
  VersionVector v;
  v.Set(b, 4);
  EXPECT_EQ(folds.FoldedAt(a, v), 0U);
  v.Set(b, 8);
  EXPECT_EQ(folds.FoldedAt(a, v), 10U) << "the later record is not covered";
  folds.Expand(v);
  EXPECT_EQ(v.Get(a), 10U);
  v.Set(a, 11);
  EXPECT_EQ(folds.Compress(v, table).size(), 2U) << "beyond its fold it is listed again";
  v.Set(b, 9);
  folds.Expand(v);
  EXPECT_EQ(v.Get(a), 12U);
  EXPECT_EQ(folds.Compress(v, table).size(), 1U);
  EXPECT_TRUE(v.entries().size() <= 1) << "what is folded takes no room";
}

}  // namespace
}  // namespace polyarch::clock
