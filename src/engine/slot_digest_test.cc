// Digests of slots: what they depend on, what they do not, and the two walks.
#include "engine/slot_digest.h"

#include <map>
#include <utility>

#include <gtest/gtest.h>

#include "base/hash.h"
#include "engine/rows.h"

namespace polyarch::engine {
namespace {

constexpr uint64_t kTransfer = 4711;
const std::vector<clock::Origin> kNames = {{"eu", 1}, {"us", 2}};
const std::vector<clock::Origin> kSwapped = {{"us", 2}, {"eu", 1}};

clock::Dot DotOf(int origin, uint64_t sequence) {
  return {static_cast<clock::OriginIndex>(origin), sequence};
}

// Something of each kind, by the origins `a` and `b`.
crdt::KeyState StateOf(int a, int b) {
  crdt::KeyState state;
  state.versions = {{.dot = DotOf(a, 5), .hlc = {77}, .never = true, .absent = false, .value = "v"},
                    {.dot = DotOf(b, 6), .hlc = {78}, .never = false, .absent = true, .value = ""}};
  state.counters = {{.origin = static_cast<clock::OriginIndex>(a),
                     .life = {1, 0},
                     .at = {2, 1},
                     .total = crdt::Number::Integer(9),
                     .cleared_at = {1, 0},
                     .cleared_total = crdt::Number::Integer(4),
                     .cleared_by = DotOf(b, 3),
                     .hlc = {79}}};
  state.expiries = {{.dot = DotOf(a, 5), .hlc = {80}, .time_ms = 1000}};
  crdt::Element field;
  field.type = crdt::Type::kHash;
  field.name = "f";
  field.versions = {{.dot = DotOf(b, 9), .hlc = {81}, .value = "w"}};
  crdt::Element member;
  member.type = crdt::Type::kSet;
  member.name = "f";
  member.counters = {{.origin = static_cast<clock::OriginIndex>(b),
                      .life = {3, 0},
                      .at = {3, 0},
                      .total = crdt::Number::Integer(2),
                      .hlc = {82}}};
  state.elements = {field, member};
  if (b < a) std::swap(state.versions[0], state.versions[1]);
  return state;
}

base::Digest128 Of(const crdt::KeyState& state,
                   const std::vector<clock::Origin>& names = kNames,
                   uint64_t transfer = kTransfer,
                   std::string_view key = "key") {
  SlotHasher hasher(transfer, names);
  base::Digest128 sum;
  EXPECT_TRUE(hasher.Add(key, {.state = state}, sum));
  return sum;
}

TEST(SlotHasher, KnowsGlobalOriginsOnly) {
  EXPECT_EQ(Of(StateOf(0, 1), kNames), Of(StateOf(1, 0), kSwapped));
  EXPECT_NE(Of(StateOf(0, 1), kNames), Of(StateOf(1, 0), kNames));
  EXPECT_NE(Of(StateOf(0, 1)), Of(StateOf(0, 1), kNames, kTransfer + 1)) << "keyed by the transfer";
  EXPECT_NE(Of(StateOf(0, 1)), Of(StateOf(0, 1), kNames, kTransfer, "other"));
  SlotHasher hasher(kTransfer, {});
  base::Digest128 sum;
  EXPECT_FALSE(hasher.Add("key", {.state = StateOf(0, 1)}, sum)) << "an origin that is not known";
}

TEST(SlotHasher, EveryFieldCounts) {
  using Change = void (*)(crdt::KeyState&);
  const Change changes[] = {
      [](crdt::KeyState& s) { s.versions[0].dot = DotOf(0, 7); },
      [](crdt::KeyState& s) { s.versions[0].hlc.bits = 1; },
      [](crdt::KeyState& s) { s.versions[0].never = false; },
      [](crdt::KeyState& s) { s.versions[1].absent = false; },
      [](crdt::KeyState& s) { s.versions[0].value = "w"; },
      [](crdt::KeyState& s) { s.versions.pop_back(); },
      [](crdt::KeyState& s) { s.counters[0].life.sequence = 2; },
      [](crdt::KeyState& s) { s.counters[0].at.index = 2; },
      [](crdt::KeyState& s) { s.counters[0].total = crdt::Number::Integer(8); },
      [](crdt::KeyState& s) { s.counters[0].cleared_at.sequence = 2; },
      [](crdt::KeyState& s) { s.counters[0].cleared_total = crdt::Number::Integer(5); },
      [](crdt::KeyState& s) { s.counters[0].cleared_by = DotOf(1, 4); },
      [](crdt::KeyState& s) { s.counters[0].hlc.bits = 1; },
      [](crdt::KeyState& s) { s.expiries[0].time_ms = 1001; },
      [](crdt::KeyState& s) { s.expiries[0].hlc.bits = 1; },
      [](crdt::KeyState& s) { s.expiries[0].dot = DotOf(0, 6); },
      [](crdt::KeyState& s) { s.expiries.clear(); },
      [](crdt::KeyState& s) { s.elements[0].versions[0].value = "x"; },
      [](crdt::KeyState& s) { s.elements[0].versions[0].dot = DotOf(1, 10); },
      [](crdt::KeyState& s) { s.elements[0].name = "g"; },
      [](crdt::KeyState& s) { s.elements[0].type = crdt::Type::kSortedSet; },
      [](crdt::KeyState& s) { s.elements[1].counters[0].total = crdt::Number::Integer(3); },
      [](crdt::KeyState& s) { s.elements.pop_back(); },
      [](crdt::KeyState& s) {
        s.versions.push_back(s.elements[0].versions[0]);
        s.elements.erase(s.elements.begin());
      }};
  const base::Digest128 before = Of(StateOf(0, 1));
  for (size_t i = 0; i < std::size(changes); ++i) {
    crdt::KeyState state = StateOf(0, 1);
    changes[i](state);
    EXPECT_NE(Of(state), before) << "change " << i;
  }
}

TEST(SlotHasher, WhereElementsHaveTheirRowsDoesNotCount) {
  const crdt::KeyState whole = StateOf(0, 1);
  const std::string key = DataRowKey(0, "key");
  SlotHasher hasher(kTransfer, kNames);
  base::Digest128 sum;
  crdt::KeyState rest = whole;
  rest.elements.clear();
  ASSERT_TRUE(hasher.Add(key, {.state = rest, .spilled = 6}, sum));
  EXPECT_NE(sum, Of(whole, kNames, kTransfer, key));
  for (const crdt::Element& e : whole.elements) {
    crdt::KeyState own;
    own.elements = {e};
    ASSERT_TRUE(hasher.Add(ElementRowKey(0, "key", e.type, e.name), {.state = own}, sum));
  }
  EXPECT_EQ(sum, Of(whole, kNames, kTransfer, key));
}

TEST(SlotBits, Set) {
  std::string bits;
  EXPECT_FALSE(HasSlot(bits, 7));
  AddSlot(bits, 0);
  AddSlot(bits, 16383);
  EXPECT_EQ(bits.size(), kSlotBitsBytes);
  EXPECT_TRUE(HasSlot(bits, 0));
  EXPECT_TRUE(HasSlot(bits, 16383));
  EXPECT_FALSE(HasSlot(bits, 1));
  EXPECT_FALSE(HasSlot(bits, kSlots)) << "behind all";
  EXPECT_LT(SlotStart(258), DataRowKey(0, "x"));
}

// The rows of a store, cut into slices of `rows` each.
using Rows = std::map<std::string, std::string>;

template <typename Walk>
std::vector<std::pair<std::string, std::string>> WalkAll(const Rows& rows, size_t per_slice, Walk& walk) {
  std::vector<std::pair<std::string, std::string>> out;
  auto it = rows.begin();
  do {
    storage::Slice slice;
    for (size_t n = 0; n < per_slice && it != rows.end(); ++n, ++it)
      slice.rows.emplace_back(it->first, it->second);
    slice.at_end = it == rows.end();
    walk.Walk(slice);
    for (auto& row : slice.rows)
      out.push_back(std::move(row));
  } while (it != rows.end());
  return out;
}

void Put(Rows& rows, const std::string& key, log::Position position, const crdt::KeyState& state) {
  rows[DataRowKey(0, key)] = EncodeDataRow(position, state);
}

TEST(SlotWalks, EqualSlotsComeOutOfTheOwnStore) {
  // {1}, {2}, {3}: three slots of several keys. The receiver has another numbering of origins.
  Rows theirs;
  Rows ours;
  for (int slot = 1; slot <= 3; ++slot) {
    for (int i = 0; i < 5; ++i) {
      const std::string key = "{" + std::to_string(slot) + "}" + std::to_string(i);
      Put(theirs, key, 50, StateOf(0, 1));
      Put(ours, key, 900, StateOf(1, 0));
    }
  }
  Put(theirs, "{4}only theirs", 50, StateOf(0, 1));
  Put(ours, "{5}only ours", 50, StateOf(1, 0));
  crdt::KeyState other = StateOf(1, 0);
  other.versions[0].value = "w";
  Put(ours, "{2}3", 900, other);
  Put(theirs, "{3}2", 101, StateOf(0, 1));  // newer than the checkpoint, and the same here
  for (const size_t per_slice : {1U, 2U, 4U, 100U}) {
    SlotDigester digester(kTransfer, 100, kNames);
    EXPECT_TRUE(WalkAll(theirs, per_slice, digester).empty());
    SlotMatcher::Digests digests;
    size_t moving = 0;
    std::string last;
    for (const auto& [start, digest] : digester.TakeFound()) {
      EXPECT_GT(start, last) << "in order";
      last = start;
      if (digest.empty()) {
        ++moving;
        EXPECT_EQ(SlotOfRowKey(start), base::KeySlot("{3}2"));
      } else {
        digests[SlotOfRowKey(start)] = *DecodeSlotDigest(digest);
      }
    }
    EXPECT_EQ(moving, 1U);
    EXPECT_EQ(digests.size(), 3U);
    SlotMatcher matcher(kTransfer, 100, kSwapped, digests);
    const auto rows = WalkAll(ours, per_slice, matcher);
    EXPECT_EQ(matcher.equal_count(), 1U);
    EXPECT_TRUE(HasSlot(matcher.equal(), base::KeySlot("{1}")));
    ASSERT_EQ(rows.size(), 5U) << per_slice;
    for (const auto& [key, row] : rows) {
      EXPECT_EQ(SlotOfRowKey(key), base::KeySlot("{1}"));
      EXPECT_EQ(row, EncodeDataRow(100, StateOf(1, 0))) << "at the sender's checkpoint";
    }
  }
}

}  // namespace
}  // namespace polyarch::engine
