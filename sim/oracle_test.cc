// The oracle by hand, and against crdt's own naive model over random histories: two models written from
// the same prose by different means.
#include "sim/oracle.h"

#include <gtest/gtest.h>

#include "crdt/naive_model.h"
#include "sim/draw.h"
#include "sim/scheduler.h"

namespace polyarch::sim {
namespace {

using crdt::EffectKind;

OracleEffect Put(std::string value, uint8_t flags = crdt::kWipes | crdt::kNeverFlag) {
  return {.kind = EffectKind::kPut, .flags = flags, .key = "k", .value = std::move(value)};
}

OracleEffect Increment(int64_t by) {
  return {.kind = EffectKind::kIncrement, .key = "k", .increment = crdt::Number::Integer(by)};
}

void Add(Oracle& oracle, uint32_t origin, uint64_t sequence, Vector deps, OracleEffect effect) {
  oracle.Add({.origin = origin, .sequence = sequence, .deps = &deps, .hlc = sequence, .effects = {effect}});
}

TEST(Oracle, WhatWasSeenIsReplacedAndWhatWasNotStays) {
  Oracle oracle;
  Add(oracle, 0, 1, {}, Put("a"));
  Add(oracle, 1, 1, {1}, Put("b"));      // saw a
  Add(oracle, 2, 1, {1}, Put("c"));      // saw a, not b
  const Key key{0, "k"};
  EXPECT_EQ(oracle.VersionsOf(key, {}, {1}).size(), 1U);
  EXPECT_EQ(oracle.VersionsOf(key, {}, {1, 1}).at(0).value, "b");
  EXPECT_EQ(oracle.VersionsOf(key, {}, {1, 1, 1}).size(), 2U);
  Add(oracle, 0, 2, {1, 1, 1}, Put("d"));
  EXPECT_EQ(oracle.VersionsOf(key, {}, {2, 1, 1}).size(), 1U);
  // Whoever has not seen d still sees what was there.
  EXPECT_EQ(oracle.VersionsOf(key, {}, {1, 1, 1}).size(), 2U);
}

TEST(Oracle, AnIncrementThatADeleteHasNotSeenCounts) {
  Oracle oracle;
  Add(oracle, 0, 1, {}, Increment(1));
  Add(oracle, 1, 1, {1}, {.kind = EffectKind::kWipe, .key = "k"});
  Add(oracle, 0, 2, {1}, Increment(2));
  OracleState state = oracle.StateOf({0, "k"}, {2, 1});
  ASSERT_EQ(state.counters.size(), 1U);
  EXPECT_EQ(static_cast<int64_t>(state.counters[0].integer), 2);
  EXPECT_EQ(static_cast<int64_t>(oracle.StateOf({0, "k"}, {2}).counters.at(0).integer), 3);
  EXPECT_EQ(oracle.CountIncrementOrigins({0, "k"}, {}, {2, 1}), 1U);
}

TEST(Oracle, AWipeOfTheKeyTakesWhatItSawOfElementsButNotTheirCounters) {
  const Place field{crdt::Type::kHash, "f"};
  const Place member{crdt::Type::kSet, "m"};
  Oracle oracle;
  Add(oracle, 0, 1, {}, {.kind = EffectKind::kPut, .key = "k", .place = member});
  OracleEffect increment = Increment(3);
  increment.place = field;
  Add(oracle, 0, 2, {}, increment);
  Add(oracle, 2, 1, {2}, {.kind = EffectKind::kPut, .key = "k", .place = member});
  Add(oracle, 1, 1, {2}, {.kind = EffectKind::kWipe, .key = "k"});  // saw all but the second add
  const OracleState state = oracle.StateOf({0, "k"}, {2, 1, 1});
  ASSERT_EQ(state.elements.size(), 2U) << state.ToString();
  EXPECT_EQ(state.elements.at(member).versions.at(0).dot.origin, 2U);
  EXPECT_EQ(static_cast<int64_t>(state.elements.at(field).counters.at(0).integer), 3);
  EXPECT_EQ(oracle.StateOf({0, "k"}, {2, 1}).elements.count(member), 0U);
  Add(oracle, 1, 2, {2, 1}, {.kind = EffectKind::kWipe, .key = "k", .place = field});
  EXPECT_EQ(oracle.StateOf({0, "k"}, {2, 2}).elements.count(field), 0U);
}

TEST(Oracle, AnExpiryThatSawAVersionTakesItsNever) {
  Oracle oracle;
  Add(oracle, 0, 1, {}, Put("a"));
  Add(oracle, 1, 1, {1}, {.kind = EffectKind::kExpire, .key = "k", .expire_ms = 5});
  EXPECT_EQ(oracle.StateOf({0, "k"}, {1}).ExpiryTime(), crdt::kNever);
  EXPECT_EQ(oracle.StateOf({0, "k"}, {1, 1}).ExpiryTime(), 5);
}

// Random histories of three writers of one key, in causal order; compared at random vectors.
TEST(Oracle, AgreesWithTheNaiveModel) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Draw draw(seed * 7919);
    Oracle oracle;
    crdt::NaiveModel model;
    std::vector<Vector> heads(3, Vector(3));
    std::vector<Vector> all_deps;
    for (int step = 0; step < 30; ++step) {
      const auto origin = static_cast<uint32_t>(draw.Below(3));
      Vector& head = heads[origin];
      if (draw.Percent(40)) Join(head, heads[draw.Below(3)]);
      const Vector deps = head;
      const uint64_t sequence = ++head[origin];
      all_deps.push_back(head);
      OracleEffect e{.key = "k"};
      const EffectKind kinds[] = {EffectKind::kPut, EffectKind::kWipe, EffectKind::kIncrement, EffectKind::kExpire};
      e.kind = kinds[draw.Below(4)];
      if (e.kind == EffectKind::kPut) e.flags = draw.Percent(50) ? crdt::kWipes | crdt::kNeverFlag : crdt::kAbsent;
      if (e.kind == EffectKind::kWipe && draw.Percent(30)) e.flags = crdt::kKeepExpiry;
      if (e.kind == EffectKind::kIncrement && draw.Percent(30)) e.flags = crdt::kWipes;
      e.value = e.kind == EffectKind::kPut ? std::to_string(step) : "";
      e.expire_ms = step;
      e.increment = crdt::Number::Integer(step + 1);
      if (e.kind != EffectKind::kExpire && draw.Percent(50)) {
        e.place = {draw.Percent(50) ? crdt::Type::kHash : crdt::Type::kSet, draw.Percent(50) ? "e" : "f"};
      }
      crdt::NaiveEffect n{.kind = e.kind, .flags = e.flags, .value = e.value, .expire_ms = e.expire_ms};
      n.increment = e.increment;
      n.type = e.place.first;
      n.element = e.place.second;
      model.Add({.origin = origin, .sequence = sequence, .deps = deps, .hlc = {sequence}, .effects = {n}});
      Add(oracle, origin, sequence, deps, e);
    }
    for (const Vector& seen : all_deps) {
      const crdt::NaiveState expected = model.StateAt(seen);
      const OracleState found = oracle.StateOf({0, "k"}, seen);
      ASSERT_EQ(found.expiries.size(), expected.expiries.size()) << seed;
      std::map<Place, OracleRegister> registers = found.elements;
      if (!found.OracleRegister::empty()) registers[Place{}] = found;
      ASSERT_EQ(registers.size(), expected.registers.size()) << seed << expected.ToString() << found.ToString();
      for (const auto& [place, reg] : registers) {
        ASSERT_TRUE(expected.registers.count(place) != 0) << seed << expected.ToString() << found.ToString();
        const auto& wanted = expected.registers.at(place);
        ASSERT_EQ(reg.versions.size(), wanted.versions.size()) << seed << expected.ToString() << found.ToString();
        for (size_t i = 0; i < reg.versions.size(); ++i) {
          const auto& v = reg.versions[i];
          EXPECT_EQ(std::tuple(size_t{v.dot.origin}, v.dot.sequence, v.hlc, v.never, v.absent, v.value),
                    wanted.versions[i]);
        }
        ASSERT_EQ(reg.counters.size(), wanted.counters.size()) << seed;
        for (const auto& c : reg.counters) EXPECT_TRUE(c.integer == wanted.counters.at(c.origin).integer);
      }
    }
  }
}

TEST(Scheduler, EventsOfOneInstantKeepTheirOrderAndALeapMakesThemLate) {
  Scheduler scheduler;
  std::string order;
  scheduler.At(10, [&] { order += "b"; });
  scheduler.At(5, [&] { order += "a"; });
  scheduler.At(10, [&] { order += "c"; });
  while (scheduler.RunNext(8)) {
  }
  EXPECT_EQ(order, "a");
  EXPECT_EQ(scheduler.now_us(), 8);
  scheduler.Leap(100);
  while (scheduler.RunNext(200)) {
    EXPECT_EQ(scheduler.now_us(), 108);
  }
  EXPECT_EQ(order, "abc");
}

}  // namespace
}  // namespace polyarch::sim
