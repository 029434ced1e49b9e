// The packed form against a plain vector, and elements in all their forms against a plain map.
#include "keyspace/packed.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "base/random.h"
#include "keyspace/elements.h"

namespace polyarch::keyspace {
namespace {

constexpr int kOrigins = 24;  // more than one object has bases for

clock::OriginIndex Index(uint64_t i) {
  return static_cast<clock::OriginIndex>(i);
}

std::string RandomText(base::Random& random, size_t most) {
  return std::string(random.Percent(80) ? random.Below(12) : random.Below(most + 1),
                     static_cast<char>('a' + random.Below(26)));
}

class PackedTest : public testing::Test {
 protected:
  struct Held {
    std::string name;
    std::string value;
    clock::Dot dot;
    clock::Hlc hlc;
    bool counter;
    bool stored;
  };
  Packed::Plain PlainOf(const Held& held) {
    return {.value = held.value, .dot = held.dot, .hlc = held.hlc, .counter = held.counter, .stored = held.stored};
  }
  // Of one origin nearly always close to one another.
  Held Draw() {
    Held held{.name = std::to_string(next_name_++) + RandomText(random_, 70), .value = RandomText(random_, 70)};
    held.dot = clock::Dot(Index(random_.Below(random_.Percent(80) ? 3 : kOrigins)), 1000 + random_.Below(300));
    held.hlc = clock::Hlc::FromMs(1'700'000'000'000 + random_.Below(100'000));
    if (random_.Percent(3)) held.dot = clock::Dot(held.dot.origin(), random_.Next() >> 16);
    if (random_.Percent(3)) held.hlc.bits = random_.Next();
    held.counter = random_.Percent(15);
    held.stored = random_.Percent(30);
    if (held.counter) {
      counter_ = {held.dot, held.hlc, random_.Next(), static_cast<int64_t>(random_.Next()), 3, 4};
      held.value.assign(reinterpret_cast<const char*>(&counter_), sizeof counter_);
    }
    return held;
  }
  const char* At(size_t i) {
    const char* at = packed_.begin();
    while (i-- > 0) at = Packed::Next(at);
    return at;
  }
  void Check() {
    ASSERT_EQ(packed_.count(), held_.size());
    size_t i = 0;
    size_t counters = 0;
    for (const char* at = packed_.begin(); at != packed_.end(); at = Packed::Next(at), ++i) {
      ASSERT_LT(i, held_.size());
      const Held& held = held_[i];
      ASSERT_EQ(Packed::NameOf(at), held.name);
      ASSERT_EQ(Packed::ValueOf(at), held.value);
      ASSERT_EQ(Packed::IsStored(at), held.stored);
      ASSERT_EQ(Packed::IsCounter(at), held.counter);
      ASSERT_EQ(packed_.Find(held.name), at);
      if (held.counter) {
        ++counters;
        ASSERT_EQ(Packed::CounterOf(at).life, held.dot);
      } else {
        ASSERT_EQ(packed_.VersionOf(at).dot, held.dot);
        ASSERT_EQ(packed_.VersionOf(at).hlc, held.hlc);
      }
    }
    ASSERT_EQ(i, held_.size());
    ASSERT_EQ(packed_.counters(), counters);
    ASSERT_EQ(packed_.Find("none"), nullptr);
    ASSERT_EQ(packed_.memory_bytes() == 0, held_.empty());
  }

  base::Random random_{7};
  uint64_t next_name_ = 0;
  CounterPart counter_{};
  Packed packed_;
  std::vector<Held> held_;
};

TEST_F(PackedTest, AgainstAVector) {
  size_t refused = 0;
  for (int step = 0; step < 60'000; ++step) {
    const bool grow = step / 400 % 2 == 0;
    const size_t place = random_.Below(held_.size() + 1);
    if (held_.size() < Packed::kElementsMax && random_.Percent(grow ? 60 : 20)) {
      const Held held = Draw();
      if (packed_.Insert(At(place), held.name, PlainOf(held))) {
        held_.insert(held_.begin() + static_cast<ptrdiff_t>(place), held);
      } else {
        ++refused;
      }
    } else if (place < held_.size() && random_.Percent(50)) {
      Held held = Draw();
      held.name = held_[place].name;
      if (packed_.Replace(At(place), PlainOf(held))) {
        held_[place] = held;
      } else {
        ++refused;
      }
    } else if (place < held_.size() && random_.Percent(grow ? 20 : 100)) {
      packed_.Erase(At(place));
      held_.erase(held_.begin() + static_cast<ptrdiff_t>(place));
    } else if (place < held_.size()) {
      packed_.SetStored(At(place));
      held_[place].stored = true;
    }
    if (step % 7 == 0) Check();
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(refused, 100U);
}

TEST_F(PackedTest, HoldsTheLongestAndRefusesWhatIsLonger) {
  const std::string longest(Packed::kTextBytesMax, 'x');
  EXPECT_FALSE(packed_.Insert(packed_.end(), longest + "x", {}));
  const std::string value(Packed::kLongValueBytesMax, 'y');
  EXPECT_FALSE(packed_.Insert(packed_.end(), "n", {.value = std::string_view(value + "x")}));
  for (size_t i = 0; i < Packed::kElementsMax; ++i) {
    std::string name = longest;
    name[0] = static_cast<char>(i);
    const Held held{name, value, clock::Dot(Index(i % 16), 1 + 7 * i), {1ULL << 40 | i << 35}, false, false};
    ASSERT_TRUE(packed_.Insert(packed_.end(), name, PlainOf(held)));
    held_.push_back(held);
  }
  Check();
  const Held other{"", "v", clock::Dot(Index(16), 1), {1}, false, false};
  EXPECT_FALSE(packed_.Replace(packed_.begin(), PlainOf(other))) << "an origin too many";
  Check();
}

// Memory: what a hash of five fields that were written at once costs.
TEST_F(PackedTest, ElementsOfOneChangeCostThreeBytesEach) {
  for (int i = 0; i < 5; ++i)
    ASSERT_TRUE(packed_.Insert(packed_.end(), "field" + std::to_string(i), {.value = "value-of-16-byte", .dot = clock::Dot(Index(1), 99), .hlc = {12345}}));
  EXPECT_LE(packed_.memory_bytes(), 8U + 16 + 5 * (3 + 6 + 16) + 16);
}

// ---- elements

class ElementsTest : public testing::Test {
 protected:
  ElementsTest() {
    for (int i = 0; i < kOrigins; ++i) origins_.Intern({"n" + std::to_string(i), 1});
  }
  Viewer ViewNow() const { return {policy_, policies_, origins_, epoch_}; }

  static bool IsOrdered(const Elements& elements) {
    return elements.type() == crdt::Type::kSortedSet || elements.type() == crdt::Type::kList;
  }

  double ScoreOf(const crdt::Register& state) const {
    const conflict::View view = conflict::Resolve(policy_, policies_.default_order(), state.versions, origins_);
    double score = 0;
    if (view.kind == conflict::View::Kind::kValue) score = DecodeScore(state.versions[view.index].value);
    return score + static_cast<double>(crdt::CounterSum(state, origins_).AsReal());
  }

  void Check(Elements& elements) {
    elements.Sync(ViewNow());
    std::vector<crdt::Element> all;
    elements.AppendTo(all);
    ASSERT_EQ(all.size(), model_.size());
    ASSERT_EQ(elements.size(), model_.size());
    size_t i = 0;
    size_t live = 0;
    bool counters = false;
    std::map<std::string, ShownValue::Kind> shown;
    std::set<std::string> residue;
    size_t conflicts = 0;
    std::vector<std::pair<double, std::string>> ranked;
    for (const auto& [name, state] : model_) {
      ASSERT_EQ(all[i].name, name);
      ASSERT_EQ(static_cast<const crdt::Register&>(all[i]), state) << name;
      ++i;
      const auto found = elements.Find(name);
      ASSERT_TRUE(found.has_value());
      ASSERT_EQ(found->key(), name);
      ASSERT_EQ(found->State(), state);
      const auto kind = ShowRegister(state, ViewNow()).kind;
      ASSERT_EQ(found->shown(), kind != ShownValue::Kind::kNothing);
      if (found->shown()) {
        shown[name] = kind;
        ranked.emplace_back(elements.type() == crdt::Type::kList ? 0 : ScoreOf(state), name);
      }
      if (state.live()) ++live;
      counters = counters || state.has_live_counter();
      if (HasResidue(state)) residue.insert(name);
      if (IsOrdered(elements) ? conflict::CountDistinct(state.versions) > 1 : IsConflict(state))
        ++conflicts;
    }
    ASSERT_FALSE(elements.Find("none").has_value());
    ASSERT_EQ(elements.live(), live);
    ASSERT_EQ(elements.shown(), shown.size());
    ASSERT_EQ(elements.conflicts(), conflicts);
    ASSERT_TRUE(std::equal(residue.begin(), residue.end(), elements.residue().begin(), elements.residue().end()));
    ASSERT_EQ(elements.HasLiveCounters(), counters);
    std::set<std::string> scanned;
    uint64_t cursor = 0;
    do {
      cursor = elements.Scan(cursor, 5, [&](const ElementView& e) { scanned.emplace(e.key()); });
    } while (cursor != 0);
    ASSERT_EQ(scanned.size(), shown.size());
    const auto chosen = elements.Random(random_.Next());
    ASSERT_EQ(chosen.has_value(), !shown.empty());
    ASSERT_TRUE(!chosen || shown.count(std::string(chosen->key())) == 1);
    if (IsOrdered(elements)) CheckOrder(elements, std::move(ranked));
  }

  void CheckOrder(const Elements& elements, std::vector<std::pair<double, std::string>> ranked) {
    std::sort(ranked.begin(), ranked.end());
    for (const size_t rank : {size_t{0}, ranked.size() / 2, ranked.size() - 1}) {
      if (ranked.empty()) break;
      const auto element = elements.At(rank, ViewNow());
      ASSERT_TRUE(element.has_value());
      ASSERT_EQ(element->key(), ranked[rank].second);
    }
    ASSERT_FALSE(elements.At(ranked.size(), ViewNow()).has_value());
    for (int turn = 0; turn < 3; ++turn) {
      const size_t first = turn == 0 ? 0 : random_.Below(ranked.size() + 2);
      std::vector<std::pair<double, std::string>> up;
      elements.Walk(first, false, [&](const RankedElement& e) {
        up.emplace_back(e.score, e.element.key());
        return up.size() < 200;
      }, ViewNow());
      std::vector<std::pair<double, std::string>> wanted;
      for (size_t i = first; i < ranked.size() && wanted.size() < 200; ++i) wanted.push_back(ranked[i]);
      ASSERT_EQ(up, wanted);
      if (first >= ranked.size()) continue;
      std::vector<std::pair<double, std::string>> down;
      elements.Walk(first, true, [&](const RankedElement& e) {
        down.emplace_back(e.score, e.element.key());
        return true;
      }, ViewNow());
      std::reverse(down.begin(), down.end());
      ASSERT_EQ(down, (std::vector(ranked.begin(), ranked.begin() + static_cast<ptrdiff_t>(first) + 1)));
      ASSERT_EQ(elements.Rank(ranked[first].first, ranked[first].second, ViewNow()), first);
      const double score = ranked[first].first;
      for (const bool inclusive : {false, true}) {
        const auto below = std::count_if(ranked.begin(), ranked.end(), [&](const auto& e) {
          return e.first < score || (inclusive && e.first == score);
        });
        ASSERT_EQ(elements.CountBelow(score, inclusive, ViewNow()), static_cast<size_t>(below));
      }
    }
  }

  // A change of one element by some origin, which has seen nothing, all, or what came until a while ago.
  void ChangeOne(Elements& elements, uint64_t names, bool plain) {
    const clock::OriginIndex author = Index(random_.Below(plain ? 2 : random_.Percent(90) ? 4 : kOrigins));
    const clock::VersionVector deps = Deps(plain);
    const crdt::Seen seen(deps, author, {++sequence_, 0});
    std::string name = "e" + std::to_string(random_.Below(names));
    if (!plain && name.back() == '3') name.resize(70, '3');
    if (elements.type() == crdt::Type::kList && !random_.Percent(2)) name = Position(names, plain);
    std::string value = RandomText(random_, plain ? 20 : elements.type() == crdt::Type::kList ? 170 : 70);
    if (elements.type() == crdt::Type::kSortedSet && !random_.Percent(2)) {
      constexpr double kOdd[] = {-0.0, 0.1, 1e300, -5e-324, INFINITY, -INFINITY, 123'456'789, NAN};
      value = EncodeScore(random_.Percent(80) ? static_cast<double>(random_.Below(9)) - 3
                                              : kOdd[random_.Below(std::size(kOdd))]);
    }
    if (elements.type() == crdt::Type::kSet) value.clear();
    crdt::Effect effect{.kind = crdt::EffectKind::kPut, .type = elements.type(), .element = name, .value = value};
    crdt::Register& state = model_[name];
    std::vector<crdt::Clear> clears;
    // A list has no counters, and nothing is absent there.
    const uint64_t kind = random_.Below(plain ? 70 : elements.type() == crdt::Type::kList ? 78 : 100);
    if (kind >= 50 && kind < 68) {
      effect.kind = crdt::EffectKind::kWipe;
    } else if (kind >= 80) {
      const auto next = crdt::PrepareIncrement(state, author, seen.at(), crdt::Number::Integer(2));
      effect.kind = crdt::EffectKind::kIncrement;
      effect.life = next->life;
      effect.total = next->total;
      effect.increment = crdt::Number::Integer(2);
    } else if (kind >= 78) {
      effect.flags = crdt::kAbsent;
    }
    if (effect.kind != crdt::EffectKind::kIncrement && random_.Percent(80)) {
      clears = crdt::ClearsOf(state);
      effect.clears = clears;
    }
    clock_ += random_.Below(3) << 16;
    const clock::Hlc hlc{clock_};
    const crdt::ApplyResult expected = crdt::ApplyToElement(state, effect, seen, hlc);
    const crdt::ApplyResult result = elements.Apply(effect, seen, hlc, ViewNow());
    EXPECT_EQ(result.concurrent, expected.concurrent);
    if (state.empty()) model_.erase(name);
  }

  // A new name of a list's element, or one that was given.
  std::string Position(uint64_t names, bool plain) {
    if (positions_.size() < names ? random_.Percent(70) : random_.Percent(10)) {
      const crdt::PositionMaker maker{random_.Percent(90) ? 1U : 2U, {sequence_, static_cast<uint32_t>(random_.Below(300))}};
      const std::string beside = positions_.empty() || random_.Percent(50) ? "" : positions_[random_.Below(positions_.size())];
      std::string name = random_.Percent(50) ? crdt::PositionBehind(beside, maker) : *crdt::PositionBefore(beside, maker);
      if (!plain && random_.Percent(10)) name += name;
      positions_.push_back(std::move(name));
      if (positions_.size() > names) positions_.erase(positions_.begin());
      return positions_.back();
    }
    return positions_[random_.Below(positions_.size())];
  }

  clock::VersionVector Deps(bool all) {
    clock::VersionVector deps;
    if (!all && random_.Percent(15)) return deps;
    const uint64_t until = all || random_.Percent(80) ? sequence_ : sequence_ - random_.Below(std::min<uint64_t>(sequence_, 50) + 1);
    for (int i = 0; i < kOrigins; ++i) deps.Set(Index(static_cast<uint64_t>(i)), until);
    return deps;
  }

  void WipeAll(Elements& elements) {
    const clock::VersionVector deps = Deps(false);
    const crdt::Seen seen(deps, Index(0), {++sequence_, 0});
    const crdt::Effect wipe{.kind = crdt::EffectKind::kWipe};
    for (auto e = model_.begin(); e != model_.end();) {
      crdt::ApplyToElement(e->second, wipe, seen, {});
      e = e->second.empty() ? model_.erase(e) : std::next(e);
    }
    EXPECT_TRUE(!elements.WipesAll(seen) || model_.empty());
    elements.Wipe(seen, ViewNow(), [](std::string_view) { return false; });
  }

  static constexpr base::SipKey kKey{5, 6};
  base::Random random_{1};
  clock::OriginTable origins_;
  conflict::PolicyTable policies_;
  conflict::Policy policy_;
  uint64_t epoch_ = 1;
  uint64_t sequence_ = 0;
  uint64_t clock_ = clock::Hlc::FromMs(1'700'000'000'000).bits;
  std::map<std::string, crdt::Register> model_;
  std::vector<std::string> positions_;
};

TEST_F(ElementsTest, AgainstAMap) {
  size_t packed = 0;
  size_t many = 0;
  size_t wiped = 0;
  for (uint64_t seed = 1; seed <= 120; ++seed) {
    SCOPED_TRACE(seed);
    random_ = base::Random(seed);
    const crdt::Type type = std::array{crdt::Type::kHash, crdt::Type::kSet, crdt::Type::kSortedSet, crdt::Type::kList}[seed % 4];
    const uint64_t names = std::array<uint64_t, 4>{8, 40, 140, 400}[random_.Below(4)];
    const bool plain = random_.Percent(30);
    Elements elements(type, kKey, origins_);
    model_.clear();
    positions_.clear();
    const uint64_t checked = 1 + names / 8;
    for (uint64_t step = 0; step < 600 + 4 * names; ++step) {
      ChangeOne(elements, names, plain);
      if (random_.Below(500) == 0) {
        WipeAll(elements);
        if (model_.empty()) ++wiped;
      }
      if (!plain && type == crdt::Type::kHash && random_.Below(100) == 0) {
        policy_.kind = random_.Percent(50) ? conflict::PolicyKind::kSiblings : conflict::PolicyKind::kLww;
        ++epoch_;
      }
      if (step % checked == 0) Check(elements);
      if (HasFatalFailure()) return;
      if (elements.size() > 32 && !elements.spilled()) ++packed;
    }
    policy_.kind = conflict::PolicyKind::kLww;
    ++epoch_;
    if (elements.spilled()) ++many;
    // The same from rows: of the key, or, of many, their own.
    Elements loaded(type, kKey, origins_);
    for (const auto& [name, state] : model_)
      ASSERT_TRUE(loaded.Load(name, state, elements.spilled(), false, ViewNow()));
    Check(loaded);
    // Merging with what holds the same, and with nothing, whose holder had seen all.
    const clock::VersionVector all = Deps(true);
    EXPECT_FALSE(loaded.MergeWith(&elements, all, all, ViewNow(), [](std::string_view) { return false; }));
    Elements into(type, kKey, origins_);
    EXPECT_EQ(into.MergeWith(&elements, clock::VersionVector(), all, ViewNow(), [](std::string_view) { return false; }), !model_.empty());
    Check(into);
    if (HasFatalFailure()) return;
    // What goes is not counted any more.
    const size_t nothing = Elements(type, kKey, origins_).memory_bytes();
    EXPECT_TRUE(model_.empty() || elements.memory_bytes() > nothing);
    if (elements.spilled()) continue;
    std::vector<std::string> left;
    for (const auto& [name, state] : model_) left.push_back(name);
    for (const std::string& name : left) {
      const std::vector<crdt::Clear> clears = crdt::ClearsOf(model_[name]);
      crdt::Effect wipe{.kind = crdt::EffectKind::kWipe, .type = type, .element = name};
      wipe.clears = clears;
      elements.Apply(wipe, crdt::Seen(all, Index(0), {++sequence_, 0}), {clock_}, ViewNow());
      for (int i = 0; i < kOrigins; ++i) elements.PurgeCounter(name, Index(static_cast<uint64_t>(i)), ViewNow());
    }
    EXPECT_TRUE(elements.empty());
    EXPECT_EQ(elements.memory_bytes(), nothing);
  }
  EXPECT_GT(packed, 1000U);
  EXPECT_GT(many, 10U);
  EXPECT_GT(wiped, 5U);
}

// What a wipe does not touch stays as it stands, and is not written anew: cleared counters may be a million.
TEST_F(ElementsTest, AWipeWritesOnlyWhatItChanges) {
  Elements elements(crdt::Type::kHash, kKey, origins_);
  const clock::VersionVector deps;
  auto apply = [&](crdt::Effect effect, std::span<const crdt::Clear> clears) {
    effect.type = crdt::Type::kHash;
    effect.life = {sequence_ + 1, 0};
    effect.clears = clears;
    elements.Apply(effect, crdt::Seen(deps, Index(0), {++sequence_, 0}), {sequence_}, ViewNow());
  };
  auto rows = [&] {
    uint64_t cursor = 0;
    size_t visited = 0;
    size_t count = 0;
    EXPECT_TRUE(elements.VisitDirty(cursor, 1'000'000, visited, [&](std::string_view, const crdt::Register&) { ++count; }));
    return count;
  };
  auto wipe = [&] {
    const crdt::Seen seen(deps, Index(0), {++sequence_, 0});
    elements.Wipe(seen, ViewNow(), [](std::string_view) { return false; });
  };
  for (int i = 0; i < 500; ++i) {
    const std::string name = "e" + std::to_string(i);
    apply({.kind = crdt::EffectKind::kIncrement, .element = name, .total = crdt::Number::Integer(1), .increment = crdt::Number::Integer(1)}, {});
    const std::vector<crdt::Clear> clears = crdt::ClearsOf(elements.Find(name)->State());
    EXPECT_EQ(clears.size(), 1U);
    apply({.kind = crdt::EffectKind::kWipe, .element = name}, clears);
  }
  ASSERT_TRUE(elements.spilled());
  EXPECT_FALSE(elements.HasLiveCounters());
  EXPECT_EQ(rows(), 500U);
  wipe();
  EXPECT_EQ(rows(), 0U);
  // With what it does take away.
  apply({.kind = crdt::EffectKind::kPut, .element = "plain", .value = "v"}, {});
  EXPECT_EQ(rows(), 1U);
  wipe();
  EXPECT_EQ(rows(), 1U);
  EXPECT_FALSE(elements.Find("plain").has_value());
  EXPECT_EQ(elements.residue().size(), 500U);
}

// A table shrinks with what it holds: of few that are left each is drawn by trying, and where they are far between even
// in the last segment, one look at all is less.
TEST_F(ElementsTest, FewLeftOfManyAreDrawn) {
  Elements elements(crdt::Type::kSet, kKey, origins_);
  const clock::VersionVector deps;
  auto apply = [&](crdt::EffectKind kind, int i) {
    const std::string name = "e" + std::to_string(i);
    crdt::Effect effect{.kind = kind, .type = crdt::Type::kSet, .element = name};
    elements.Apply(effect, crdt::Seen(deps, Index(0), {++sequence_, 0}), {sequence_}, ViewNow());
  };
  for (int i = 0; i < 100; ++i) apply(crdt::EffectKind::kPut, i);
  EXPECT_FALSE(elements.IsPassCheaper(1));
  EXPECT_TRUE(elements.IsPassCheaper(2)) << "packed: each draw walks";
  for (int i = 100; i < 5'000; ++i) apply(crdt::EffectKind::kPut, i);
  EXPECT_FALSE(elements.IsPassCheaper(1'000'000));
  for (const int step : {100, 1'000}) {
    for (int i = 0; i < 5'000; ++i) {
      if (i % step != 0 && elements.Find("e" + std::to_string(i))) apply(crdt::EffectKind::kWipe, i);
    }
    const size_t left = static_cast<size_t>(5'000 / step);
    ASSERT_EQ(elements.shown(), left);
    EXPECT_EQ(elements.IsPassCheaper(1), left < 13) << "of 217 slots";
    EXPECT_LT(elements.memory_bytes(), 10'000U);
    std::map<std::string, size_t> drawn;
    for (size_t i = 0; i < 100 * left; ++i) {
      const auto element = elements.Random(random_.Next());
      ASSERT_TRUE(element.has_value() && element->shown());
      ++drawn[std::string(element->key())];
    }
    EXPECT_EQ(drawn.size(), left);
    for (const auto& [name, times] : drawn) EXPECT_GT(times, step == 1'000 ? 50U : 5U) << name;
  }
}

// Rows: what becomes many is written with the key's next row, element by element.
TEST_F(ElementsTest, PackedOnesThatBecomeManyGetRows) {
  Elements elements(crdt::Type::kHash, kKey, origins_);
  const clock::VersionVector deps;
  auto put = [&](const std::string& name) {
    crdt::Effect effect{.kind = crdt::EffectKind::kPut, .type = crdt::Type::kHash, .element = name, .value = "v"};
    elements.Apply(effect, crdt::Seen(deps, Index(0), {++sequence_, 0}), {sequence_}, ViewNow());
  };
  for (size_t i = 0; i < Packed::kElementsMax; ++i) put("e" + std::to_string(i));
  ASSERT_FALSE(elements.spilled());
  elements.NoteInline();
  const crdt::Effect wipe{.kind = crdt::EffectKind::kWipe, .type = crdt::Type::kHash, .element = "e5"};
  elements.Apply(wipe, crdt::Seen(deps, Index(0), {++sequence_, 0}), {sequence_}, ViewNow());
  put("new");
  ASSERT_FALSE(elements.spilled()) << "in the place of the one that went";
  put("one too many");
  ASSERT_TRUE(elements.spilled());
  std::set<std::string> with_key;
  elements.VisitInline([&](std::string_view name, const crdt::Register& state) {
    EXPECT_FALSE(state.empty());
    with_key.emplace(name);
  });
  EXPECT_EQ(with_key.size(), Packed::kElementsMax - 1);
  EXPECT_EQ(with_key.count("new") + with_key.count("one too many") + with_key.count("e5"), 0U);
  std::set<std::string> rows;
  uint64_t cursor = 0;
  size_t visited = 0;
  while (!elements.VisitDirty(cursor, visited + 10, visited, [&](std::string_view name, const crdt::Register&) {
    rows.emplace(name);
  })) {
  }
  EXPECT_EQ(rows.size(), Packed::kElementsMax + 1);
}

// The one whose change makes them many is held by the key's row like the others. (It was not written with the key's
// next row: between two slices of a checkpoint no row held it, and a crash there lost what the log held no more.)
TEST_F(ElementsTest, TheOneThatMakesThemManyGetsARowWithTheOthers) {
  for (const bool counter : {false, true}) {
    Elements elements(crdt::Type::kHash, kKey, origins_);
    const clock::VersionVector deps;
    auto change = [&](size_t i, size_t origin, std::string_view value) {
      const std::string name = "e" + std::to_string(i);
      crdt::Effect effect{.kind = crdt::EffectKind::kPut, .type = crdt::Type::kHash, .element = name, .value = value};
      if (counter) {
        effect.kind = crdt::EffectKind::kIncrement;
        effect.value = {};
        effect.total = crdt::Number::Integer(7);
        effect.life = {sequence_ + 1, 0};
      }
      elements.Apply(effect, crdt::Seen(deps, Index(origin), {++sequence_, 0}), {sequence_}, ViewNow());
    };
    for (size_t i = 0; i < 50; ++i) change(i, 0, "v");
    ASSERT_FALSE(elements.spilled());
    elements.NoteInline();
    // Too large to be packed; or of two leaders.
    const std::string large(500, 'x');
    size_t changed = 0;
    while (!elements.spilled() && changed < 50) change(changed++, 1, large);
    ASSERT_TRUE(elements.spilled());
    std::set<std::string> with_key;
    elements.VisitInline([&](std::string_view name, const crdt::Register&) { with_key.emplace(name); });
    EXPECT_EQ(with_key.size(), 50U);
    EXPECT_EQ(with_key.count("e" + std::to_string(changed - 1)), 1U);
  }
}

}  // namespace
}  // namespace polyarch::keyspace
