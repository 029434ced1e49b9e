// The table under any order of operations; the keyspace against the plain state of each key; what the
// methods of Change mean.
#include "keyspace/keyspace.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <unordered_set>

#include <gtest/gtest.h>

#include "base/number.h"
#include "base/random.h"
#include "conflict/policy.h"
#include "keyspace/change.h"
#include "keyspace/table.h"

namespace polyarch::keyspace {
namespace {

// ---- Table

constexpr base::SipKey kSipKey{1, 2};

uint64_t HashOf(std::string_view key) { return base::SipHash13(key, kSipKey); }

Entry* NewEntry(std::string_view key) {
  return Entry::NewValue(0, key, clock::Dot(clock::OriginIndex{0}, 1), {}, true, "v");
}

TEST(Table, EmptyHasNothing) {
  Table table(HashOf);
  EXPECT_EQ(table.Find(HashOf("k"), "k"), nullptr);
  EXPECT_EQ(table.Scan(0, 10, [](Entry*) { FAIL(); }), 0U);
  EXPECT_EQ(table.TakeDirty(0, 10, [](Entry*) { FAIL(); }), 0U);
  EXPECT_EQ(table.size(), 0U);
}

TEST(Table, AgainstASet) {
  base::Random random(3);
  Table table(HashOf);
  std::set<std::string> model;
  for (int i = 0; i < 200'000; ++i) {
    // Grows, then shrinks, then churns.
    const unsigned inserts = i < 80'000 ? 80 : i < 120'000 ? 20 : 50;
    const std::string key = "key" + std::to_string(random.Below(30'000));
    Entry** slot = table.Find(HashOf(key), key);
    ASSERT_EQ(slot != nullptr, model.count(key) != 0) << key;
    if (random.Percent(inserts)) {
      if (slot == nullptr) {
        slot = table.Insert(HashOf(key), NewEntry(key));
        ASSERT_EQ((*slot)->key(), key);
        model.insert(key);
      }
    } else if (slot != nullptr) {
      table.Erase(slot);
      model.erase(key);
    }
    ASSERT_EQ(table.size(), model.size());
  }
  std::set<std::string> found;
  table.ForEach([&](const Entry& entry) { EXPECT_TRUE(found.emplace(entry.key()).second); });
  EXPECT_EQ(found, model);
}

// Hashes that share whole prefixes, buckets and tags.
TEST(Table, BadHashes) {
  auto hash_of = [](std::string_view key) { return HashOf(key) & 0xff000000000f0001ULL; };
  Table table(hash_of);
  for (int i = 0; i < 600; ++i) {
    const std::string key = std::to_string(i);
    table.Insert(hash_of(key), NewEntry(key));
  }
  for (int i = 0; i < 600; ++i) {
    const std::string key = std::to_string(i);
    ASSERT_NE(table.Find(hash_of(key), key), nullptr) << i;
  }
  std::set<std::string> seen;
  uint64_t cursor = 0;
  do {
    cursor = table.Scan(cursor, 10, [&](Entry* entry) { EXPECT_TRUE(seen.emplace(entry->key()).second); });
  } while (cursor != 0);
  EXPECT_EQ(seen.size(), 600U) << "all of one hash come together";
}

TEST(Table, AMillionKeys) {
  Table table(HashOf);
  constexpr int kKeys = 1'000'000;
  for (int i = 0; i < kKeys; ++i) {
    const std::string key = std::to_string(i);
    table.Insert(HashOf(key), NewEntry(key));
  }
  EXPECT_EQ(table.size(), static_cast<size_t>(kKeys));
  for (int i = 0; i < kKeys; i += 7) {
    const std::string key = std::to_string(i);
    Entry** slot = table.Find(HashOf(key), key);
    ASSERT_NE(slot, nullptr);
    table.Erase(slot);
  }
  for (int i = 0; i < kKeys; ++i) {
    const std::string key = std::to_string(i);
    ASSERT_EQ(table.Find(HashOf(key), key) != nullptr, i % 7 != 0);
  }
  EXPECT_LT(table.memory_bytes(), kKeys * 24U);
}

// Whatever comes and goes between the calls, a key that stays is seen, and a cursor moves on.
TEST(Table, ScanSeesAllThatStays) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    base::Random random(seed);
    Table table(HashOf);
    auto insert = [&](const std::string& key) {
      if (table.Find(HashOf(key), key) == nullptr) table.Insert(HashOf(key), NewEntry(key));
    };
    auto erase = [&](const std::string& key) {
      if (Entry** slot = table.Find(HashOf(key), key)) table.Erase(slot);
    };
    const size_t stable = random.Below(3000);
    for (size_t i = 0; i < stable; ++i) insert("stays" + std::to_string(i));
    for (size_t i = 0; i < 2000; ++i) insert("goes" + std::to_string(i));
    std::unordered_set<std::string> seen;
    uint64_t cursor = 0;
    int calls = 0;
    do {
      const uint64_t before = cursor;
      cursor = table.Scan(cursor, 1 + random.Below(50), [&](Entry* entry) { seen.emplace(entry->key()); });
      ASSERT_TRUE(cursor == 0 || cursor > before);
      for (size_t i = random.Below(60); i > 0; --i) insert("comes" + std::to_string(random.Next() % 100'000));
      for (size_t i = random.Below(60); i > 0; --i) erase("goes" + std::to_string(random.Below(2000)));
      ASSERT_LT(++calls, 1'000'000);
    } while (cursor != 0);
    for (size_t i = 0; i < stable; ++i) ASSERT_EQ(seen.count("stays" + std::to_string(i)), 1U) << seed;
  }
}

// The same while the table shrinks under the cursor, from hundreds of segments to one.
TEST(Table, ScanSeesAllThatStaysWhileItShrinks) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    base::Random random(seed);
    Table table(HashOf);
    auto erase = [&](const std::string& key) {
      if (Entry** slot = table.Find(HashOf(key), key)) table.Erase(HashOf(key), slot);
    };
    for (size_t i = 0; i < 40; ++i) table.Insert(HashOf("stays" + std::to_string(i)), NewEntry("stays" + std::to_string(i)));
    for (size_t i = 0; i < 20'000; ++i) table.Insert(HashOf(std::to_string(i)), NewEntry(std::to_string(i)));
    std::unordered_set<std::string> seen;
    uint64_t cursor = 0;
    size_t gone = 0;
    do {
      const uint64_t before = cursor;
      cursor = table.Scan(cursor, 1 + random.Below(60), [&](Entry* entry) { seen.emplace(entry->key()); });
      ASSERT_TRUE(cursor == 0 || cursor > before);
      for (size_t i = random.Below(400); i > 0 && gone < 20'000; --i) erase(std::to_string(gone++));
    } while (cursor != 0);
    for (size_t i = 0; i < 40; ++i) ASSERT_EQ(seen.count("stays" + std::to_string(i)), 1U) << seed;
  }
}

// (What was left of a large table kept all of it: to draw one of a few walked over it.)
TEST(Table, ShrinksAsItGrew) {
  Table table(HashOf);
  constexpr int kKeys = 100'000;
  constexpr size_t kSegment = 217;  // slots
  for (int i = 0; i < kKeys; ++i) {
    const std::string key = std::to_string(i);
    Entry** slot = table.Insert(HashOf(key), NewEntry(key));
    if (i < 5) Table::MarkDirty(slot);
  }
  const size_t most = table.memory_bytes();
  for (int i = kKeys - 1; i >= 10; --i) {
    const std::string key = std::to_string(i);
    table.Erase(table.Find(HashOf(key), key));
    // Never more than so many free slots for each that is taken, a few segments aside.
    ASSERT_LE(table.slots(), 10 * kSegment + static_cast<size_t>(i) * 17) << i;
  }
  EXPECT_EQ(table.slots(), kSegment);
  EXPECT_LT(table.memory_bytes(), most / 500);
  std::set<std::string> found;
  table.ForEach([&](const Entry& entry) { EXPECT_TRUE(found.emplace(entry.key()).second); });
  EXPECT_EQ(found.size(), 10U);
  std::set<std::string> dirty;
  EXPECT_EQ(table.TakeDirty(0, 100, [&](Entry* entry) { dirty.emplace(entry->key()); }), 0U);
  EXPECT_EQ(dirty, (std::set<std::string>{"0", "1", "2", "3", "4"})) << "marks move with their entries";
  // And up again.
  for (int i = 10; i < 5000; ++i) table.Insert(HashOf(std::to_string(i)), NewEntry(std::to_string(i)));
  for (int i = 0; i < 5000; ++i) ASSERT_NE(table.Find(HashOf(std::to_string(i)), std::to_string(i)), nullptr) << i;
}

// While a visitor erases nothing moves; then it does.
TEST(Table, ShrinksAfterAVisitThatErases) {
  Table table(HashOf);
  for (int i = 0; i < 20'000; ++i) table.Insert(HashOf(std::to_string(i)), NewEntry(std::to_string(i)));
  size_t visited = 0;
  table.ForEachSlot([&](Entry** slot) {
    ++visited;
    if ((*slot)->key() != "7") table.Erase(slot);
  });
  EXPECT_EQ(visited, 20'000U);
  EXPECT_EQ(table.size(), 1U);
  EXPECT_EQ(table.slots(), 217U);
  EXPECT_NE(table.Find(HashOf("7"), "7"), nullptr);
}

// Counters and fat entries among many plain ones: counted through all that moves and replaces them.
TEST(Table, FindsTheUnplainOnes) {
  auto counter = [](const std::string& key) {
    return Entry::NewCounter(0, key, {clock::Dot(clock::OriginIndex{0}, 1), {}, 1, 1, 0, 0});
  };
  base::Random random(8);
  Table table(HashOf);
  std::map<std::string, bool> model;
  for (int i = 0; i < 60'000; ++i) {
    const std::string key = std::to_string(random.Below(i < 30'000 ? 20'000 : 400));
    const bool unplain = random.Percent(2);
    Entry** slot = table.Find(HashOf(key), key);
    if (slot != nullptr && random.Percent(i < 40'000 ? 30 : 60)) {
      table.Erase(HashOf(key), slot);
      model.erase(key);
      continue;
    }
    Entry* entry = unplain ? counter(key) : NewEntry(key);
    slot == nullptr ? static_cast<void>(table.Insert(HashOf(key), entry)) : table.Replace(HashOf(key), slot, entry);
    model[key] = unplain;
    if (i % 5000 != 0) continue;
    std::set<std::string> expected;
    for (const auto& [of, is] : model) {
      if (is) expected.insert(of);
    }
    std::set<std::string> found;
    table.WalkUnplain([&](const Entry& e) { return found.emplace(e.key()).second; });
    ASSERT_EQ(found, expected);
    ASSERT_EQ(table.unplain(), expected.size());
    found.clear();
    uint64_t cursor = 0;
    do {
      cursor = table.ScanUnplain(cursor, 5, [&](const Entry& e) { found.emplace(e.key()); });
    } while (cursor != 0);
    ASSERT_EQ(found, expected);
  }
}

TEST(Table, ScanTakesAnyCursor) {
  Table table(HashOf);
  for (int i = 0; i < 1000; ++i) table.Insert(HashOf(std::to_string(i)), NewEntry(std::to_string(i)));
  base::Random random(5);
  for (int i = 0; i < 1000; ++i) {
    const uint64_t cursor = random.Next() >> random.Below(64);
    const uint64_t next = table.Scan(cursor, 10, [](Entry*) {});
    EXPECT_TRUE(next == 0 || next > cursor) << cursor;
  }
  EXPECT_EQ(table.Scan(~uint64_t{0}, 10, [](Entry*) {}), 0U);
}

// Each dirty entry exactly once, no clean one, also while the table grows and marks come on the way.
TEST(Table, TakesEachDirtyEntryOnce) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    base::Random random(seed);
    Table table(HashOf);
    std::set<std::string> dirty;
    for (int round = 0; round < 5; ++round) {
      for (int i = 0; i < 2000; ++i) {
        const std::string key = std::to_string(random.Below(20'000));
        Entry** slot = table.Find(HashOf(key), key);
        if (slot == nullptr) slot = table.Insert(HashOf(key), NewEntry(key));
        if (random.Percent(30)) {
          ASSERT_EQ(Table::MarkDirty(slot), dirty.count(key) == 0);
          dirty.insert(key);
        } else if (random.Percent(10)) {
          table.Erase(slot);
          dirty.erase(key);
        }
      }
      uint64_t cursor = 0;
      const size_t slice = 1 + random.Below(300);
      do {
        cursor = table.TakeDirty(cursor, slice, [&](Entry* entry) {
          ASSERT_EQ(dirty.erase(std::string(entry->key())), 1U) << entry->key();
        });
        // New keys between the slices; those with a mark may be taken by this pass or the next.
        for (int i = 0; i < 200; ++i) {
          const std::string key = "new" + std::to_string(random.Next());
          table.Insert(HashOf(key), NewEntry(key));
        }
      } while (cursor != 0);
      ASSERT_TRUE(dirty.empty()) << seed << " " << dirty.size();
    }
  }
}

// ---- nodes

using Key = std::pair<uint8_t, std::string>;

// An effect with bytes of its own.
struct OwnedEffect {
  crdt::Effect effect;
  std::string key;
  std::string element;
  std::string value;
  std::vector<crdt::Clear> clears;
  std::vector<clock::Dot> seen;

  explicit OwnedEffect(const crdt::Effect& e)
      : effect(e), key(e.key), element(e.element), value(e.value), clears(e.clears.begin(), e.clears.end()),
        seen(e.seen.begin(), e.seen.end()) {
    effect.key_hash = 0;
  }
  crdt::Effect View() const {
    crdt::Effect e = effect;
    e.key = key;
    e.element = element;
    e.value = value;
    e.clears = clears;
    e.seen = seen;
    return e;
  }
};

struct OwnedChange {
  clock::OriginIndex origin;
  uint64_t sequence = 0;
  clock::Hlc hlc;
  clock::VersionVector deps;
  std::vector<OwnedEffect> effects;
};

// One keyspace and, beside it, the plain states. All nodes share the numbering of origins.
class Node : public ChangeSink {
 public:
  Node(clock::OriginTable& origins, const conflict::PolicyTable& policies, clock::OriginIndex self)
      : keys(origins, policies, base::SipKey{IndexOf(self), 9}), origins_(origins), policies_(policies), self_(self) {}

  // ---- ChangeSink
  Stamp Open() override {
    change_ = {self_, applied_.Get(self_) + 1, {++stamp_}, applied_, {}};
    return {self_, change_.sequence, change_.hlc};
  }
  const clock::VersionVector& applied() const override { return applied_; }
  void Add(const crdt::Effect& effect) override {
    ApplyToModel(effect, crdt::Seen(applied_, self_, {change_.sequence, static_cast<uint32_t>(change_.effects.size())}),
                 change_.hlc);
    change_.effects.emplace_back(effect);
  }
  void Close() override {
    applied_.Raise(self_, change_.sequence);
    written.push_back(change_);
  }
  void Abandon() override { ++abandoned; }
  size_t open_bytes() const override { return 0; }

  // The next change of `other` that this one lacks, if its deps are covered.
  bool Deliver(const Node& other) {
    const uint64_t have = applied_.Get(other.self_);
    if (have >= other.written.size()) return false;
    const OwnedChange& change = other.written[have];
    if (!applied_.Includes(change.deps)) return false;
    uint32_t index = 0;
    for (const OwnedEffect& effect : change.effects) {
      const crdt::Seen seen(change.deps, change.origin, {change.sequence, index++});
      ApplyToModel(effect.View(), seen, change.hlc);
      keys.Apply(effect.View(), seen, change.hlc, Cause::kRemote);
    }
    applied_.Raise(other.self_, change.sequence);
    stamp_ = std::max(stamp_, change.hlc.bits);
    return true;
  }

  void ApplyToModel(const crdt::Effect& effect, const crdt::Seen& seen, clock::Hlc hlc) {
    auto apply = [&](const Key& key) {
      crdt::KeyState& state = model[key];
      crdt::Apply(state, effect, seen, hlc);
      if (state.empty()) model.erase(key);
    };
    if (effect.kind != crdt::EffectKind::kFlush) {
      apply({effect.db, std::string(effect.key)});
      return;
    }
    std::vector<Key> all;
    for (const auto& [key, state] : model) {
      if (key.first != crdt::kReservedDatabase && (effect.db == crdt::kAllDatabases || effect.db == key.first)) {
        all.push_back(key);
      }
    }
    for (const Key& key : all) apply(key);
  }

  // After a restart of `other`, under another origin.
  void GoOnFrom(const Node& other) {
    applied_ = other.applied_;
    stamp_ = other.stamp_;
  }

  // ---- checking
  static bool HasResidue(const crdt::KeyState& state) {
    if (!state.versions.empty() && !state.has_live_version()) return true;
    if (!state.expiries.empty() && !state.live()) return true;
    auto cleared = [](const crdt::Register& of) {
      return std::any_of(of.counters.begin(), of.counters.end(), [](const crdt::CounterEntry& e) {
        return !e.live();
      });
    };
    return cleared(state) ||
           std::any_of(state.elements.begin(), state.elements.end(), [&](const crdt::Element& e) {
             return cleared(e) || (!e.versions.empty() && !e.has_live_version());
           });
  }

  const conflict::Policy& PolicyOf(const Key& key, crdt::Type type) const {
    static const conflict::Policy kLww;
    if (key.first == crdt::kReservedDatabase) return kLww;
    const conflict::Policy& policy = policies_.For(key.second);
    const bool open = type == crdt::Type::kString || type == crdt::Type::kHash;
    const bool plain = policy.kind == conflict::PolicyKind::kSiblings || policy.kind == conflict::PolicyKind::kMerge;
    return plain && !open ? kLww : policy;
  }

  uint64_t NewestMs(const crdt::KeyState& state) const {
    uint64_t newest = 0;
    for (const crdt::Version& v : state.versions) newest = std::max(newest, v.hlc.ms());
    for (const crdt::CounterEntry& e : state.counters) newest = std::max(newest, e.hlc.ms());
    for (const crdt::ExpiryVersion& x : state.expiries) newest = std::max(newest, x.hlc.ms());
    for (const crdt::Element& e : state.elements) {
      if (const auto tag = crdt::NewestTag(e, origins_)) newest = std::max(newest, tag->hlc.ms());
    }
    return newest;
  }

  // An element's content as text; nothing if it is not shown.
  std::optional<std::string> ExpectedElement(const Key& key, const crdt::Element& e) const {
    const conflict::View view = conflict::Resolve(
        PolicyOf(key, e.type), policies_.default_order(), e.versions, origins_);
    if (view.kind == conflict::View::Kind::kConflict) return "conflict";
    std::optional<std::string> base;
    if (view.kind == conflict::View::Kind::kValue) base = e.versions[view.index].value;
    if (view.kind == conflict::View::Kind::kMerged) base = view.merged;
    if (!base && !e.has_live_counter()) return std::nullopt;
    const long double sum = crdt::CounterSum(e, origins_).AsReal();
    if (e.type == crdt::Type::kSortedSet)
      return std::to_string(static_cast<double>(sum + (base ? DecodeScore(*base) : 0)));
    if (!e.has_live_counter() || (base && !base::ParseInt64(*base))) return *base;
    return std::to_string(static_cast<int64_t>(sum) + (base ? *base::ParseInt64(*base) : 0));
  }

  // The elements of one type that are shown, by name.
  std::map<std::string, std::string> ExpectedElements(const Key& key,
                                                      const crdt::KeyState& state,
                                                      crdt::Type type) const {
    std::map<std::string, std::string> shown;
    for (const crdt::Element& e : state.elements) {
      if (e.type != type) continue;
      if (auto content = ExpectedElement(key, e)) shown[e.name] = *content;
    }
    return shown;
  }

  void CheckCollection(const Key& key, const crdt::KeyState& state, crdt::Type type) {
    const std::map<std::string, std::string> expected = ExpectedElements(key, state, type);
    const Collection collection = keys.Open(keys.Ref(key.first, key.second), type);
    ASSERT_TRUE(collection.found());
    ASSERT_EQ(collection.size(), expected.size());
    auto text = [&](const ElementView& entry) {
      if (type == crdt::Type::kSortedSet) return std::to_string(collection.Score(entry));
      const ShownValue shown = collection.Show(entry);
      if (shown.kind == ShownValue::Kind::kConflict) return std::string("conflict");
      return shown.is_integer ? std::to_string(shown.integer) : std::string(shown.value);
    };
    std::map<std::string, std::string> found;
    collection.ForEach([&](const ElementView& entry) {
      EXPECT_TRUE(found.emplace(entry.key(), text(entry)).second);
      const auto same = collection.Find(entry.key());
      EXPECT_TRUE(same.has_value() && same->id() == entry.id());
      return true;
    });
    ASSERT_EQ(found, expected);
    std::set<std::string> scanned;
    uint64_t cursor = 0;
    do {
      cursor = collection.elements->Scan(
          cursor, 3, [&](const ElementView& entry) { scanned.emplace(entry.key()); });
    } while (cursor != 0);
    ASSERT_EQ(scanned.size(), expected.size());
    const auto chosen = collection.elements->Random(last_random_ += 0x9e3779b97f4a7c15ULL);
    ASSERT_TRUE(chosen.has_value() && expected.count(std::string(chosen->key())) == 1);
    if (type != crdt::Type::kSortedSet && type != crdt::Type::kList && type != crdt::Type::kStream) return;
    for (size_t at : {size_t{0}, expected.size() / 2, expected.size() - 1}) {
      if (type != crdt::Type::kSortedSet) {
        ASSERT_EQ(collection.elements->At(at, collection.viewer())->key(), std::next(expected.begin(), static_cast<ptrdiff_t>(at))->first);
      }
    }
    ASSERT_FALSE(collection.elements->At(expected.size(), collection.viewer()).has_value());
    size_t rank = 0;
    std::optional<std::pair<double, std::string>> last;
    collection.elements->Walk(
        0,
        false,
        [&](const RankedElement& item) {
          const std::pair now(item.score, std::string(item.element.key()));
          EXPECT_TRUE(!last || *last < now);
          last = now;
          EXPECT_EQ(collection.elements->Rank(item.score, item.element.key(), collection.viewer()),
                    rank++);
          return true;
        },
        collection.viewer());
    ASSERT_EQ(rank, expected.size());
  }

  // What a read must show, from the state alone.
  std::string Expected(const Key& key, const crdt::KeyState& state) const {
    if (state.ExpiryTime() < keys.time_ms()) return "missing";
    crdt::KeyState shown = state;
    std::erase_if(shown.elements,
                  [&](const crdt::Element& e) { return !ExpectedElement(key, e).has_value(); });
    const std::string own = ExpectedString(key, state);
    if (own == "missing") static_cast<crdt::Register&>(shown) = {};
    const std::optional<crdt::Type> type = crdt::NewestType(shown, origins_);
    if (!type || *type == crdt::Type::kString) return own;
    return "type " + std::to_string(static_cast<int>(*type));
  }
  std::string ExpectedString(const Key& key, const crdt::KeyState& state) const {
    const conflict::Policy& policy = PolicyOf(key, crdt::Type::kString);
    const conflict::View view = conflict::Resolve(policy, policies_.default_order(), state.versions, origins_);
    if (view.kind == conflict::View::Kind::kConflict) return "conflict " + std::to_string(view.distinct);
    std::optional<std::string> base;
    if (view.kind == conflict::View::Kind::kValue) base = state.versions[view.index].value;
    if (view.kind == conflict::View::Kind::kMerged) base = view.merged;
    if (!state.has_live_counter()) return base ? "value " + *base : "missing";
    if (base && !base::ParseInt64(*base) && !base::ParseLongDouble(*base)) return "value " + *base;
    const crdt::Number sum = crdt::CounterSum(state, origins_);
    if (!sum.is_real && (!base || base::ParseInt64(*base))) {
      const __int128 total = sum.integer + (base ? *base::ParseInt64(*base) : 0);
      return "value " + std::to_string(static_cast<int64_t>(
                            std::clamp<__int128>(total, INT64_MIN, INT64_MAX)));
    }
    return "some float";
  }
  std::string Actual(const Key& key) {
    const Shown shown = keys.Read(keys.Ref(key.first, key.second));
    char scratch[base::kInt64CharsMax];
    switch (shown.kind) {
      case Shown::Kind::kMissing: return "missing";
      case Shown::Kind::kConflict: return "conflict " + std::to_string(shown.versions);
      case Shown::Kind::kValue: return "value " + std::string(shown.Text(scratch));
      case Shown::Kind::kCollection: return "type " + std::to_string(static_cast<int>(shown.type));
    }
    return "?";
  }

  void Check() {
    std::map<Key, crdt::KeyState> states;
    keys.ForEach([&](uint8_t db, std::string_view key, const crdt::KeyState& state) {
      states.emplace(Key{db, std::string(key)}, state);
    });
    ASSERT_EQ(states, model);
    std::vector<size_t> live(crdt::kDatabases + 1);
    std::set<Key> residue;
    std::set<Key> open;
    std::set<std::pair<int64_t, Key>> hidden;
    int64_t earliest = crdt::kNever;
    int64_t latest_hidden = -1;
    for (const auto& [key, state] : model) {
      const KeyRef ref = keys.Ref(key.first, key.second);
      ASSERT_EQ(keys.State(ref), state);
      ASSERT_EQ(keys.HoldsLive(ref), state.live() && state.ExpiryTime() >= keys.time_ms());
      for (const crdt::Element& e : state.elements) {
        ASSERT_EQ(keys.HoldsLiveElement(ref, e.type, e.name), e.live() && state.ExpiryTime() >= keys.time_ms());
      }
      ASSERT_EQ(keys.NewestWriteMs(ref), NewestMs(state));
      live[key.first] += state.live() ? 1 : 0;
      if (HasResidue(state)) residue.insert(key);
      if (key.first != crdt::kReservedDatabase && Keyspace::IsOpenConflict(state, origins_)) open.insert(key);
      if (state.live() && state.ExpiryTime() != crdt::kNever) {
        earliest = std::min(earliest, state.ExpiryTime());
        if (state.ExpiryTime() < keys.time_ms()) {
          latest_hidden = std::max(latest_hidden, state.ExpiryTime());
          if (key.first != crdt::kReservedDatabase) hidden.emplace(state.ExpiryTime(), key);
        }
      }
      const std::string expected = Expected(key, state);
      if (expected == "some float") continue;
      if (expected.substr(0, 5) == "type ") {
        CheckCollection(key, state, static_cast<crdt::Type>(std::stoi(expected.substr(5))));
        if (testing::Test::HasFatalFailure()) return;
      }
      ASSERT_EQ(Actual(key), expected) << key.second;
    }
    for (uint8_t db = 0; db <= crdt::kDatabases; ++db) ASSERT_EQ(keys.Size(db), live[db]);
    ASSERT_EQ(keys.residue_keys(), residue);
    ASSERT_EQ(keys.open_conflicts(), open);
    ASSERT_EQ(keys.EarliestExpiry(), earliest);
    ASSERT_EQ(keys.LatestHidden(), latest_hidden);
    std::set<std::pair<int64_t, Key>> visited;
    int64_t last = INT64_MIN;
    keys.VisitExpired(INT64_MIN, [&](const Keyspace::Expired& e) {
      EXPECT_GE(e.instant_ms, last) << "oldest first";
      last = e.instant_ms;
      visited.emplace(last, Key{e.db, std::string(e.key)});
      const crdt::KeyState state = keys.State(keys.Ref(e.db, e.key));
      EXPECT_TRUE(std::any_of(
          state.expiries.begin(), state.expiries.end(), [&](const crdt::ExpiryVersion& x) {
            return x.time_ms == e.instant_ms && x.dot.origin() == e.winner;
          }));
      return true;
    });
    ASSERT_EQ(visited, hidden);
    if (!hidden.empty()) {
      size_t from_last = 0;
      keys.VisitExpired(last, [&](const Keyspace::Expired&) { return ++from_last > 0; });
      ASSERT_EQ(from_last, std::count_if(hidden.begin(), hidden.end(), [&](const auto& h) {
                  return h.first == last;
                }));
    }
    for (uint8_t db : {uint8_t{0}, uint8_t{1}}) {
      std::set<std::string> scanned;
      uint64_t cursor = 0;
      do {
        cursor = keys.Scan(db, cursor, 3, [&](std::string_view key) { scanned.emplace(key); });
      } while (cursor != 0);
      std::set<std::string> visible;
      for (const auto& [key, state] : model) {
        if (key.first == db && Expected(key, state) != "missing") visible.insert(key.second);
      }
      ASSERT_EQ(scanned, visible);
      const auto chosen = keys.RandomKey(db, last_random_ += 0x9e3779b97f4a7c15ULL);
      ASSERT_EQ(chosen.has_value(), !visible.empty());
      ASSERT_TRUE(!chosen || visible.count(*chosen) == 1);
    }
  }

  Keyspace keys;
  std::map<Key, crdt::KeyState> model;
  std::vector<OwnedChange> written;
  int abandoned = 0;

 private:
  clock::OriginTable& origins_;
  const conflict::PolicyTable& policies_;
  clock::OriginIndex self_;
  clock::VersionVector applied_;
  OwnedChange change_;
  uint64_t stamp_ = clock::Hlc::FromMs(1000).bits;
  uint64_t last_random_ = 1;
};

// A push, an insert, a write or a removal of what is shown; each lands where it must.
void ChangeList(Node& node, Change& change, const KeyRef& ref, base::Random& random, const std::string& value) {
  const Collection list = node.keys.OpenAgain(ref, crdt::Type::kList);
  const size_t size = list.size();
  auto name_at = [&](size_t rank) {
    const Collection now = node.keys.OpenAgain(ref, crdt::Type::kList);
    return std::string(now.elements->At(rank, now.viewer())->key());
  };
  const uint64_t kind = random.Below(size == 0 ? 3 : 9);
  if (kind < 3) {
    const bool front = random.Percent(50);
    ASSERT_TRUE(change.Push(ref, front, value));
    const Collection now = node.keys.OpenAgain(ref, crdt::Type::kList);
    ASSERT_EQ(now.size(), size + 1);
    ASSERT_EQ(now.Show(*now.elements->At(front ? 0 : size, now.viewer())).value, value);
    return;
  }
  const size_t rank = random.Below(size);
  const std::string name = name_at(rank);
  if (kind < 5) {
    const bool before = random.Percent(50);
    if (!change.Insert(ref, name, before, value)) return;  // beside a name that nobody makes
    ASSERT_EQ(name_at(before ? rank + 1 : rank), name);
    const Collection now = node.keys.OpenAgain(ref, crdt::Type::kList);
    ASSERT_EQ(now.size(), size + 1);
    ASSERT_EQ(now.Get(name_at(before ? rank : rank + 1)).value, value);
  } else if (kind < 6) {
    change.PutElement(ref, crdt::Type::kList, name, value);
  } else {
    change.RemoveElement(ref, crdt::Type::kList, name);
  }
}

// One random command of a client. `names`: how many elements there are to write to, nearly always; few of
// them, and half of the time, if it is 0.
void RandomChange(Node& node, base::Random& random, uint64_t names = 0) {
  const bool big = names != 0;
  static const std::vector<std::string> kKeys = {"a", "b", "s:c", "d:d", "p:e", "f"};
  static constexpr crdt::Type kTypes[] = {crdt::Type::kHash, crdt::Type::kSet, crdt::Type::kSortedSet,
                                          crdt::Type::kList, crdt::Type::kStream};
  const uint8_t db = random.Percent(10) ? crdt::kReservedDatabase : static_cast<uint8_t>(random.Below(2));
  const std::string& key = kKeys[random.Below(kKeys.size())];
  Change change(node, node.keys);
  for (uint64_t n = 1 + random.Below(big ? 5 + names / 6 : 3); n > 0; --n) {
    const KeyRef ref = node.keys.Ref(db, key);
    const int64_t expire_ms = node.keys.time_ms() + static_cast<int64_t>(random.Below(200)) - 50;
    std::string value = random.Percent(50) ? std::to_string(random.Below(100)) : std::string(random.Below(30), 'x');
    if (random.Percent(5)) value = std::string(60 + random.Below(10), 'y');  // to be packed or not
    if (random.Percent(big ? 98 : 55)) {
      const crdt::Type type = kTypes[(std::hash<std::string>()(key) + random.Percent(10)) % std::size(kTypes)];
      std::string name = "m" + std::to_string(random.Below(random.Percent(big ? 90 : 30) ? std::max<uint64_t>(names, 90) : 6));
      if (name.back() == '7') name.resize(61 + name.size(), '7');
      std::string content;
      if (type == crdt::Type::kList && random.Percent(80)) {
        ChangeList(node, change, ref, random, value);
        continue;
      }
      if (type == crdt::Type::kStream) {
        // Entries, and what is none.
        if (random.Percent(80)) name = crdt::StreamEntryName({random.Below(std::max<uint64_t>(names, 20)), 1});
        if (random.Percent(8)) {
          const uint64_t from = random.Below(std::max<uint64_t>(names, 20));
          change.RemoveRange(ref, type, crdt::StreamEntryName({from, 0}), crdt::StreamEntryName({from + random.Below(6), 9}));
          continue;
        }
      }
      if (type == crdt::Type::kHash || type == crdt::Type::kList || type == crdt::Type::kStream) content = value;
      if (type == crdt::Type::kSortedSet) content = EncodeScore(static_cast<double>(random.Below(9)) - 3);
      switch (random.Below(10)) {
        case 0: case 1: case 2: case 3: case 4: change.PutElement(ref, type, name, content); break;
        case 5: case 6: change.RemoveElement(ref, type, name); break;
        case 7: case 8:
          if (type != crdt::Type::kSet && type != crdt::Type::kList && type != crdt::Type::kStream) {
            change.IncrementElement(ref, type, name, crdt::Number::Integer(static_cast<int64_t>(random.Below(9)) - 4));
          }
          break;
        default: {
          const crdt::KeyState state = node.keys.State(ref);
          const crdt::Element* e = state.FindElement(type, name);
          if (e == nullptr || e->live()) break;
          std::vector<clock::Dot> seen;
          for (const crdt::Version& v : e->versions) seen.push_back(v.dot);
          change.CleanElement(ref, type, name, seen);
        }
      }
      continue;
    }
    switch (random.Below(12)) {
      case 0: case 1: change.Put(ref, value, Change::Ttl::kNone); break;
      case 2: change.Put(ref, value, Change::Ttl::kKeep); break;
      case 3: change.Put(ref, value, Change::Ttl::kAt, expire_ms); break;
      case 4: change.Delete(ref); break;
      case 5: change.RemoveExpired(ref); break;
      case 6: case 7: change.Increment(ref, crdt::Number::Integer(static_cast<int64_t>(random.Below(9)) - 4)); break;
      case 8: change.Increment(ref, crdt::Number::Real(0.25L)); break;
      case 9: change.SetExpiry(ref, random.Percent(30) ? crdt::kNever : expire_ms); break;
      case 10: {
        const crdt::KeyState state = node.keys.State(ref);
        std::vector<clock::Dot> seen;
        for (const crdt::Version& v : state.versions) {
          if (random.Percent(60)) seen.push_back(v.dot);
        }
        if (random.Percent(50)) {
          change.Resolve(ref, value, random.Percent(20), seen, crdt::ClearsOf(state));
        } else if (!state.live()) {
          for (const crdt::ExpiryVersion& x : state.expiries) seen.push_back(x.dot);
          change.Clean(ref, seen);
        }
        break;
      }
      default:
        if (random.Percent(15)) change.Flush(random.Percent(50) ? crdt::kAllDatabases : db % 2);
    }
  }
}

// Rows as a store would hold them.
struct Rows {
  std::map<Key, crdt::KeyState> keys;
  std::map<std::tuple<uint8_t, std::string, crdt::Type, std::string>, crdt::Register> elements;

  void Take(const Keyspace::Row& row) {
    const Key key{row.db, std::string(row.key)};
    switch (row.kind) {
      case Keyspace::Row::Kind::kKey:
        keys.erase(key);
        if (!row.state->empty()) keys[key] = *row.state;
        break;
      case Keyspace::Row::Kind::kElement: {
        const std::tuple name(row.db, std::string(row.key), row.type, std::string(row.element));
        elements.erase(name);
        if (!row.register_state->empty()) elements[name] = *row.register_state;
        break;
      }
      case Keyspace::Row::Kind::kDropElements:
        std::erase_if(elements, [&](const auto& e) {
          return std::get<0>(e.first) == row.db && std::get<1>(e.first) == row.key &&
                 std::get<2>(e.first) == row.type;
        });
        break;
    }
  }
  // What they hold together.
  std::map<Key, crdt::KeyState> States() const {
    std::map<Key, crdt::KeyState> states = keys;
    for (const auto& [name, state] : elements) {
      const auto& [db, key, type, element_name] = name;
      crdt::Element element;
      static_cast<crdt::Register&>(element) = state;
      element.type = type;
      element.name = element_name;
      states[{db, key}].elements.push_back(element);
    }
    for (auto& [key, state] : states) {
      std::sort(state.elements.begin(), state.elements.end(), [](const auto& x, const auto& y) {
        return std::pair(x.type, x.name) < std::pair(y.type, y.name);
      });
    }
    return states;
  }
  void LoadInto(Keyspace& to) const {
    for (const auto& [key, state] : keys) to.Load(key.first, key.second, state);
    for (const auto& [name, state] : elements) {
      const auto& [db, key, type, element] = name;
      ASSERT_TRUE(to.LoadElement(db, key, type, element, state));
    }
  }
};
void TakeRows(Keyspace& keys, Rows& rows, size_t slice) {
  while (keys.VisitDirty(slice, [&](const Keyspace::Row& row) { rows.Take(row); })) {
  }
}

// For a failing test.
std::string TextOf(const crdt::KeyState& state, const clock::OriginTable&) {
  std::string text;
  auto add = [&](const crdt::Register& of) {
    for (const crdt::Version& v : of.versions) {
      text += " v" + std::to_string(v.dot.bits()) + "@" + std::to_string(v.hlc.bits) +
              (v.never ? " never" : "") + (v.absent ? " absent" : "='" + v.value + "'");
    }
    for (const crdt::CounterEntry& e : of.counters) {
      text += " c" + std::to_string(clock::IndexOf(e.origin)) + " " + std::to_string(e.at.sequence) + "." +
              std::to_string(e.at.index) + " cleared " + std::to_string(e.cleared_at.sequence);
    }
  };
  add(state);
  for (const crdt::ExpiryVersion& x : state.expiries)
    text += " x" + std::to_string(x.dot.bits()) + "=" + std::to_string(x.time_ms);
  for (const crdt::Element& e : state.elements) {
    text += " | " + std::to_string(static_cast<int>(e.type)) + "/" + e.name;
    add(e);
  }
  return text;
}

TEST(Keyspace, AgainstPlainStates) {
  size_t spilled = 0;
  static constexpr const char* kDeciding[] = {"priority n1 n0", "merge CONCAT", "merge MAX", "merge UNION"};
  static constexpr uint64_t kNames[] = {90, 0, 0, 400, 0, 0};
  const uint64_t seeds = std::getenv("POLYARCH_TEST_LONG") != nullptr ? 150 : 60;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE(seed);
    base::Random random(seed);
    clock::OriginTable origins;
    conflict::PolicyTable policies;
    if (random.Percent(70)) {
      policies.Set("s:*", *conflict::Policy::ParseText("siblings"));
      policies.Set("d:*", *conflict::Policy::ParseText("lww DELETES"));
      policies.Set("p:*", *conflict::Policy::ParseText(kDeciding[seed % std::size(kDeciding)]));
    }
    std::vector<std::unique_ptr<Node>> nodes;
    for (int i = 0; i < 3; ++i) {
      nodes.push_back(std::make_unique<Node>(origins, policies, origins.Intern({"n" + std::to_string(i), 1})));
    }
    Rows rows;
    int64_t time_ms = 1000;
    for (auto& node : nodes) node->keys.SetTime(time_ms);
    for (int step = 0; step < 250; ++step) {
      Node& node = *nodes[random.Below(3)];
      if (random.Percent(60)) {
        RandomChange(node, random, kNames[seed % std::size(kNames)]);
      } else {
        for (uint64_t n = random.Below(6); n > 0; --n) node.Deliver(*nodes[random.Below(3)]);
      }
      if (random.Percent(20)) {
        time_ms += static_cast<int64_t>(random.Below(60));
        for (auto& other : nodes) other->keys.SetTime(time_ms);
      }
      if (random.Percent(10)) {
        TakeRows(nodes[0]->keys, rows, 1 + random.Below(5));
        ASSERT_EQ(nodes[0]->keys.dirty_count(), 0U);
        std::map<Key, crdt::KeyState> stored = rows.States();
        for (const auto& [key, state] : nodes[0]->model)
          ASSERT_EQ(TextOf(stored[key], origins), TextOf(state, origins)) << key.second;
        ASSERT_EQ(stored, nodes[0]->model);
      }
      if (random.Percent(20)) node.Check();
      if (::testing::Test::HasFatalFailure()) return;
    }
    // All of it everywhere: equal states.
    for (bool progress = true; progress;) {
      progress = false;
      for (auto& to : nodes) {
        for (auto& from : nodes) progress |= to != from && to->Deliver(*from);
      }
    }
    for (auto& node : nodes) {
      node->Check();
      if (::testing::Test::HasFatalFailure()) return;
      // (Who cleared a counter's entry last may differ: nobody sees it.)
      auto canonical = [&](const Node& of) {
        std::map<Key, std::string> out;
        for (const auto& [key, state] : of.model) out[key] = crdt::Canonical(state, origins, true);
        return out;
      };
      ASSERT_EQ(canonical(*node), canonical(*nodes[0]));
      ASSERT_EQ(node->keys.Digest(), nodes[0]->keys.Digest());
    }
    // Rows give the same keyspace back.
    TakeRows(nodes[0]->keys, rows, 7);
    ASSERT_EQ(rows.States(), nodes[0]->model);
    spilled += rows.elements.size();
    Keyspace loaded(origins, policies, base::SipKey{77, 1});
    rows.LoadInto(loaded);
    loaded.SetTime(time_ms);
    ASSERT_EQ(loaded.Digest(), nodes[0]->keys.Digest());
    ASSERT_EQ(loaded.dirty_count(), 0U);
    ASSERT_EQ(loaded.residue_keys(), nodes[0]->keys.residue_keys());
    ASSERT_EQ(loaded.open_conflicts(), nodes[0]->keys.open_conflicts());
    ASSERT_EQ(loaded.EarliestExpiry(), nodes[0]->keys.EarliestExpiry());
    for (uint8_t db = 0; db <= crdt::kDatabases; ++db) ASSERT_EQ(loaded.Size(db), nodes[0]->keys.Size(db));
    // A second pass has nothing to do.
    size_t again = 0;
    while (nodes[0]->keys.VisitDirty(9, [&](const Keyspace::Row&) { ++again; })) {
    }
    ASSERT_EQ(again, 0U);
    // What was loaded goes on being written as before: few may go, and many come, before the next pass.
    Rows rows_of_loaded = rows;
    const clock::OriginIndex late = origins.Intern({"late", 1});
    clock::VersionVector all;
    for (size_t i = 0; i < origins.size(); ++i) all.Set(static_cast<clock::OriginIndex>(i), 1'000'000);
    const clock::VersionVector nothing;
    uint64_t sequence = 0;
    for (const auto& [key, state] : nodes[0]->model) {
      const KeyRef ref = loaded.Ref(key.first, key.second);
      auto apply = [&](crdt::EffectKind kind, crdt::Type type, std::string_view name, const clock::VersionVector& deps) {
        loaded.Apply({.kind = kind, .db = key.first, .type = type, .key = ref.key, .element = name, .value = "late"},
                     crdt::Seen(deps, late, {++sequence, 0}), clock::Hlc::FromMs(5000), Cause::kRemote);
      };
      for (const crdt::Element& e : state.elements) {
        if (random.Percent(20)) apply(crdt::EffectKind::kPut, e.type, e.name, nothing);
        if (random.Percent(40)) apply(crdt::EffectKind::kWipe, e.type, e.name, all);
        if (random.Percent(5)) apply(crdt::EffectKind::kPut, e.type, e.name, nothing);
      }
      if (state.elements.empty() || random.Percent(50)) continue;
      for (int i = 0; i < 140; ++i) apply(crdt::EffectKind::kPut, state.elements[0].type, "late" + std::to_string(i), all);
    }
    TakeRows(loaded, rows_of_loaded, 5);
    std::map<Key, crdt::KeyState> states;
    loaded.ForEach([&](uint8_t db, std::string_view key, const crdt::KeyState& state) {
      states.emplace(Key{db, std::string(key)}, state);
    });
    ASSERT_EQ(rows_of_loaded.States(), states);
  }
  EXPECT_GT(spilled, 1000U) << "collections with rows of their own were met";
}

// A change of several keys that is taken back.
void RevertedChange(Node& node, base::Random& random, uint64_t names) {
  static constexpr crdt::Type kTypes[] = {crdt::Type::kHash, crdt::Type::kSet, crdt::Type::kSortedSet};
  Change change(node, node.keys);
  change.BeginTransaction(/*keep=*/true);
  for (uint64_t n = 1 + random.Below(8); n > 0; --n) {
    static constexpr const char* kKeys[] = {"a", "b", "s:c", "d:d", "p:e", "f"};
    const KeyRef ref = node.keys.Ref(static_cast<uint8_t>(random.Below(2)), kKeys[random.Below(6)]);
    const std::string name = "m" + std::to_string(random.Below(std::max<uint64_t>(names, 6)));
    const crdt::Type type = kTypes[random.Below(3)];
    switch (random.Below(4)) {
      case 0: change.Delete(ref); break;
      case 1: change.RemoveElement(ref, type, name); break;
      case 2: change.Put(ref, "taken back", Change::Ttl::kNone); break;
      default:
        for (uint64_t more = random.Below(names + 2); more > 0; --more)
          change.PutElement(ref, type, name + std::to_string(more), EncodeScore(1));
    }
  }
  change.Revert();
}

// Between two slices, of one pass or of two, a crash, a backup or a state transfer finds the rows as they are: what the
// last whole pass held, and the log behind its beginning says nothing of, must be there, and in one place.
TEST(Keyspace, EverySliceHoldsWhatThePassBeforeHeld) {
  using ElementName = std::tuple<Key, crdt::Type, std::string>;
  using Held = std::map<ElementName, crdt::Register>;
  size_t looked_at = 0;
  size_t restarts = 0;
  const uint64_t seeds = std::getenv("POLYARCH_TEST_LONG") != nullptr ? 40 : 16;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE(seed);
    base::Random random(seed);
    clock::OriginTable origins;
    conflict::PolicyTable policies;
    static constexpr uint64_t kNames[] = {6, 60, 150, 300};
    const uint64_t names = kNames[seed % std::size(kNames)];
    uint64_t processes = 0;
    auto node = std::make_unique<Node>(origins, policies, origins.Intern({"n", ++processes}));
    node->keys.SetTime(1000);
    Rows rows;
    auto now = [&] {
      Held held;
      node->keys.ForEach([&](uint8_t db, std::string_view key, const crdt::KeyState& state) {
        for (const crdt::Element& e : state.elements) held.emplace(ElementName{{db, std::string(key)}, e.type, e.name}, e);
      });
      return held;
    };
    Held begun;  // as the pass under way began
    Held held;   // as the last whole one did
    bool under_way = false;
    for (int step = 0; step < 120; ++step) {
      RandomChange(*node, random, names);
      if (random.Percent(12)) RevertedChange(*node, random, names);
      if (random.Percent(50)) continue;
      if (!under_way) begun = now();
      under_way = node->keys.VisitDirty(1 + random.Below(random.Percent(50) ? 3 : 60),
                                        [&](const Keyspace::Row& row) { rows.Take(row); });
      if (!under_way) held = std::move(begun);
      const Held present = now();
      const std::map<Key, crdt::KeyState> stored = rows.States();
      for (const auto& [name, state] : held) {
        const auto here = present.find(name);
        if (here == present.end() || here->second != state) continue;
        const auto key = stored.find(std::get<0>(name));
        const crdt::Element* row =
            key == stored.end() ? nullptr : key->second.FindElement(std::get<1>(name), std::get<2>(name));
        ASSERT_NE(row, nullptr) << step << ": no row has " << std::get<0>(name).second << " " << std::get<2>(name);
        // (What is only residue may have been something else in between, and be as it was again.)
        if (state.versions.empty()) continue;
        ASSERT_EQ(static_cast<const crdt::Register&>(*row), state);
        ++looked_at;
      }
      Keyspace loaded(origins, policies, base::SipKey{77, 1});
      rows.LoadInto(loaded);
      if (HasFatalFailure()) return;
      if (under_way || !random.Percent(15)) continue;
      // A restart: what follows is written by a process that has only read the rows.
      TakeRows(node->keys, rows, 7);
      auto next = std::make_unique<Node>(origins, policies, origins.Intern({"n", ++processes}));
      rows.LoadInto(next->keys);
      next->keys.SetTime(1000);
      next->GoOnFrom(*node);
      node = std::move(next);
      held = now();
      ++restarts;
    }
  }
  EXPECT_GT(looked_at, 30'000U);
  EXPECT_GT(restarts, 30U);
}

// Memory is counted back to nothing.
TEST(Keyspace, MemoryOfWhatIsGoneIsNotCounted) {
  clock::OriginTable origins;
  const clock::OriginIndex self = origins.Intern({"n", 1});
  conflict::PolicyTable policies;
  Node node(origins, policies, self);
  base::Random random(4);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 3000; ++i) RandomChange(node, random);
    EXPECT_GT(node.keys.memory_bytes(), 0U);
    Change change(node, node.keys);
    std::vector<Key> all;
    for (const auto& [key, state] : node.model) all.push_back(key);
    for (const Key& key : all) {
      const KeyRef ref = node.keys.Ref(key.first, key.second);
      change.Delete(ref);
      node.keys.PurgeCounter(ref, self);
      std::vector<std::pair<crdt::Type, std::string>> cleared;
      node.keys.VisitResidue(ref, crdt::Type::kString, {}, [&](crdt::Type type, std::string_view name, const crdt::Register&) {
        cleared.emplace_back(type, name);
        return true;
      });
      for (const auto& [type, name] : cleared) node.keys.PurgeElementCounter(ref, type, name, self);
    }
    EXPECT_EQ(node.keys.memory_bytes(), 0U);
    std::vector<Key> left;
    node.keys.ForEach([&](uint8_t db, std::string_view key, const crdt::KeyState&) { left.emplace_back(db, key); });
    EXPECT_TRUE(left.empty());
    node.model.clear();
  }
}

TEST(Keyspace, FlushLeavesWhatItHasNotSeen) {
  clock::OriginTable origins;
  conflict::PolicyTable policies;
  Node a(origins, policies, origins.Intern({"a", 1}));
  Node b(origins, policies, origins.Intern({"b", 1}));
  auto put = [](Node& node, uint8_t db, std::string_view key, std::string_view value) {
    Change(node, node.keys).Put(node.keys.Ref(db, key), value, Change::Ttl::kNone);
  };
  put(a, 0, "seen", "1");
  put(a, 1, "other db", "1");
  put(a, crdt::kReservedDatabase, "member/a", "1");
  while (b.Deliver(a)) {
  }
  put(a, 0, "unseen", "1");
  put(a, 0, "seen", "2");
  Change(b, b.keys).Flush(0);
  while (a.Deliver(b) || b.Deliver(a)) {
  }
  for (Node* node : {&a, &b}) {
    node->Check();
    EXPECT_EQ(node->keys.Size(0), 2U) << "writes that it had not seen";
    EXPECT_EQ(node->keys.Size(1), 1U);
    EXPECT_EQ(node->keys.Size(crdt::kReservedDatabase), 1U);
  }
  Change(b, b.keys).Flush(crdt::kAllDatabases);
  EXPECT_EQ(b.keys.Size(0) + b.keys.Size(1), 0U);
  EXPECT_EQ(b.keys.Size(crdt::kReservedDatabase), 1U) << "never the reserved one";
}

TEST(Keyspace, ReplayFilterPassesKeysOver) {
  clock::OriginTable origins;
  conflict::PolicyTable policies;
  Node a(origins, policies, origins.Intern({"a", 1}));
  Keyspace replayed(origins, policies, base::SipKey{3, 3});
  Change(a, a.keys).Put(a.keys.Ref(0, "x"), "1", Change::Ttl::kNone);
  Change(a, a.keys).Put(a.keys.Ref(0, "y"), "1", Change::Ttl::kNone);
  replayed.SetReplayFilter(
      [](uint8_t, std::string_view key, crdt::Type, std::string_view) { return key == "x"; });
  auto replay = [&](const OwnedChange& change) {
    uint32_t index = 0;
    for (const OwnedEffect& effect : change.effects) {
      replayed.Apply(effect.View(), crdt::Seen(change.deps, change.origin, {change.sequence, index++}), change.hlc,
                     Cause::kLoaded);
    }
  };
  for (const OwnedChange& change : a.written) replay(change);
  EXPECT_FALSE(replayed.Exists(replayed.Ref(0, "x")));
  EXPECT_TRUE(replayed.Exists(replayed.Ref(0, "y")));
  replayed.Load(0, "x", a.keys.State(a.keys.Ref(0, "x")));
  Change(a, a.keys).Flush(0);
  replay(a.written.back());
  EXPECT_TRUE(replayed.Exists(replayed.Ref(0, "x"))) << "its row reflects the flush or what came after";
  EXPECT_FALSE(replayed.Exists(replayed.Ref(0, "y")));
}

// ---- Change

class ChangeTest : public ::testing::Test {
 protected:
  ChangeTest() { node.keys.SetTime(1000); }
  KeyRef Ref(std::string_view key) { return node.keys.Ref(0, key); }
  void Put(std::string_view key, std::string_view value, Change::Ttl ttl = Change::Ttl::kNone, int64_t at = crdt::kNever) {
    Change(node, node.keys).Put(Ref(key), value, ttl, at);
  }
  crdt::KeyState State(std::string_view key) { return node.keys.State(Ref(key)); }

  clock::OriginTable origins;
  conflict::PolicyTable policies;
  Node node{origins, policies, origins.Intern({"n", 1})};
};

// (The rows of a collection were dropped by a slice, and written again by a later one: a crash between them lost what
// the log did not hold any more, and a state transfer told another leader to remove it.)
TEST_F(ChangeTest, WhatIsTakenBackHasItsRowsInEverySlice) {
  for (const int left : {200, 20}) {
    for (const bool deleted : {false, true}) {
      SCOPED_TRACE(std::to_string(left) + (deleted ? " deleted" : ""));
      const std::string key = "k" + std::to_string(left) + (deleted ? "d" : "");
      for (int i = 0; i < 200; ++i)
        Change(node, node.keys).PutElement(Ref(key), crdt::Type::kSet, "e" + std::to_string(i), "");
      for (int i = left; i < 200; ++i)
        Change(node, node.keys).RemoveElement(Ref(key), crdt::Type::kSet, "e" + std::to_string(i));
      Rows rows;
      TakeRows(node.keys, rows, 1000);
      {
        Change change(node, node.keys);
        change.BeginTransaction(/*keep=*/true);
        if (deleted) {
          change.Delete(Ref(key));
        } else {
          change.PutElement(Ref(key), crdt::Type::kSet, "x", "");
        }
        change.Revert();
      }
      ASSERT_EQ(State(key).elements.size(), static_cast<size_t>(left));
      for (bool more = true; more;) {
        more = node.keys.VisitDirty(1, [&](const Keyspace::Row& row) { rows.Take(row); });
        ASSERT_EQ(rows.States()[Key(0, key)].elements.size(), static_cast<size_t>(left));
      }
      EXPECT_EQ(rows.elements.size(), static_cast<size_t>(left)) << "rows of their own, as before";
    }
  }
}

// (After a start few elements moved from rows of their own into the key's row: behind the cursor of a state transfer
// that stood among them.)
TEST_F(ChangeTest, FewThatHaveRowsOfTheirOwnKeepThem) {
  for (int i = 0; i < 200; ++i)
    Change(node, node.keys).PutElement(Ref("k"), crdt::Type::kHash, "e" + std::to_string(i), "v");
  Rows rows;
  TakeRows(node.keys, rows, 1000);
  for (int i = 30; i < 200; ++i)
    Change(node, node.keys).RemoveElement(Ref("k"), crdt::Type::kHash, "e" + std::to_string(i));
  TakeRows(node.keys, rows, 1000);
  ASSERT_EQ(rows.elements.size(), 30U);
  Node next(origins, policies, origins.Intern({"n", 2}));
  next.GoOnFrom(node);
  rows.LoadInto(next.keys);
  EXPECT_EQ(next.keys.dirty_count(), 0U);
  Change(next, next.keys).PutElement(next.keys.Ref(0, "k"), crdt::Type::kHash, "e7", "new");
  size_t written = 0;
  while (next.keys.VisitDirty(10, [&](const Keyspace::Row& row) {
    ++written;
    rows.Take(row);
  })) {
  }
  EXPECT_EQ(rows.elements.size(), 30U);
  EXPECT_EQ(written, 2U) << "the key's row and the one that changed";
  // Until they are gone: then it begins anew.
  for (int i = 0; i < 30; ++i)
    Change(next, next.keys).RemoveElement(next.keys.Ref(0, "k"), crdt::Type::kHash, "e" + std::to_string(i));
  Change(next, next.keys).PutElement(next.keys.Ref(0, "k"), crdt::Type::kHash, "one", "v");
  TakeRows(next.keys, rows, 10);
  EXPECT_TRUE(rows.elements.empty());
  EXPECT_EQ(rows.States()[Key(0, "k")].elements.size(), 1U);
}

// (They got rows of their own while the key's row held them, too: the next start refused the directory.)
TEST_F(ChangeTest, WhatBecomesManyAmidAPassIsLeftToTheNext) {
  for (int i = 0; i < 300; ++i)
    Change(node, node.keys).PutElement(Ref("k"), crdt::Type::kHash, "f" + std::to_string(i), "v");
  for (int i = 0; i < 50; ++i)
    Change(node, node.keys).PutElement(Ref("k"), crdt::Type::kSet, "m" + std::to_string(i), "");
  Rows rows;
  auto take = [&](const Keyspace::Row& row) { rows.Take(row); };
  ASSERT_TRUE(node.keys.VisitDirty(10, take));
  for (int i = 50; i < 150; ++i)
    Change(node, node.keys).PutElement(Ref("k"), crdt::Type::kSet, "m" + std::to_string(i), "");
  while (node.keys.VisitDirty(100, take)) {
    Keyspace loaded(origins, policies, base::SipKey{77, 1});
    rows.LoadInto(loaded);
    if (HasFatalFailure()) return;
  }
  TakeRows(node.keys, rows, 100);
  Keyspace loaded(origins, policies, base::SipKey{77, 1});
  rows.LoadInto(loaded);
  EXPECT_EQ(loaded.Digest(), node.keys.Digest());
  EXPECT_EQ(rows.elements.size(), 450U);
}

TEST_F(ChangeTest, PutKeepsOrDropsTheExpiry) {
  Put("k", "v", Change::Ttl::kAt, 5000);
  EXPECT_EQ(node.keys.Read(Ref("k")).expire_ms, 5000);
  Put("k", "w", Change::Ttl::kKeep);
  EXPECT_EQ(node.keys.Read(Ref("k")).expire_ms, 5000);
  EXPECT_EQ(node.keys.Read(Ref("k")).value, "w");
  Put("k", "x");
  EXPECT_EQ(node.keys.Read(Ref("k")).expire_ms, crdt::kNever);
  EXPECT_TRUE(State("k").expiries.empty());
  // Of a hidden key nothing is kept.
  Put("k", "v", Change::Ttl::kAt, 5000);
  node.keys.SetTime(6000);
  Put("k", "new", Change::Ttl::kKeep);
  EXPECT_EQ(node.keys.Read(Ref("k")).expire_ms, crdt::kNever);
  EXPECT_EQ(node.keys.Read(Ref("k")).value, "new");
  node.Check();
}

TEST_F(ChangeTest, DeleteByPolicy) {
  policies.Set("s:*", *conflict::Policy::ParseText("siblings"));
  for (const char* key : {"k", "s:k"}) {
    Put(key, "v");
    Change(node, node.keys).Delete(Ref(key));
    EXPECT_FALSE(node.keys.Exists(Ref(key)));
  }
  EXPECT_TRUE(State("k").empty());
  ASSERT_EQ(State("s:k").versions.size(), 1U) << "the version \"absent\"";
  EXPECT_TRUE(State("s:k").versions[0].absent);
  EXPECT_EQ(node.keys.Size(0), 0U);
  EXPECT_EQ(node.keys.residue_keys().size(), 1U);
  // What it replaced is in nobody's way.
  Put("s:k", "again");
  EXPECT_EQ(State("s:k").versions.size(), 1U);
  EXPECT_TRUE(node.keys.residue_keys().empty());
  node.Check();
}

TEST_F(ChangeTest, IncrementThatCreatesWipesWhatIsHidden) {
  Put("n", "5", Change::Ttl::kAt, 1500);
  node.keys.SetTime(2000);
  EXPECT_FALSE(node.keys.Exists(Ref("n")));
  EXPECT_TRUE(Change(node, node.keys).Increment(Ref("n"), crdt::Number::Integer(3)));
  const Shown shown = node.keys.Read(Ref("n"));
  EXPECT_TRUE(shown.is_integer);
  EXPECT_EQ(shown.integer, 3);
  EXPECT_EQ(shown.expire_ms, crdt::kNever);
  EXPECT_TRUE(State("n").expiries.empty());
  EXPECT_TRUE(State("n").versions.empty());
  node.Check();
}

TEST_F(ChangeTest, IncrementOfAValueStandsOnTop) {
  Put("n", "5", Change::Ttl::kAt, 9000);
  EXPECT_TRUE(Change(node, node.keys).Increment(Ref("n"), crdt::Number::Integer(3)));
  EXPECT_EQ(node.keys.Read(Ref("n")).integer, 8);
  EXPECT_EQ(node.keys.Read(Ref("n")).expire_ms, 9000);
  Put("n", "1");
  EXPECT_EQ(node.keys.Read(Ref("n")).Text(nullptr), "1");
  EXPECT_FALSE(State("n").has_live_counter());
  node.Check();
}

TEST_F(ChangeTest, IncrementThatCannotBeWritesNothing) {
  const crdt::Number large = crdt::Number::Integer(crdt::kIntegerPartMax);
  EXPECT_TRUE(Change(node, node.keys).Increment(Ref("n"), large));
  const size_t written = node.written.size();
  {
    Change change(node, node.keys);
    EXPECT_FALSE(change.Increment(Ref("n"), large));
    EXPECT_FALSE(change.wrote());
  }
  EXPECT_EQ(node.written.size(), written);
  EXPECT_EQ(node.abandoned, 1);
  EXPECT_TRUE(Change(node, node.keys).Increment(Ref("n"), crdt::Number::Integer(-1)));
  node.Check();
}

TEST_F(ChangeTest, RemoveExpiredLeavesTheExpiry) {
  Put("k", "v", Change::Ttl::kAt, 1500);
  node.keys.SetTime(2000);
  EXPECT_EQ(node.keys.LatestHidden(), 1500);
  Change(node, node.keys).RemoveExpired(Ref("k"));
  EXPECT_EQ(State("k").expiries.size(), 1U);
  EXPECT_FALSE(State("k").live());
  EXPECT_EQ(node.keys.LatestHidden(), -1);
  EXPECT_EQ(node.keys.residue_keys().size(), 1U);
  std::vector<clock::Dot> seen = {State("k").expiries[0].dot};
  Change(node, node.keys).Clean(Ref("k"), seen);
  EXPECT_TRUE(State("k").empty());
  EXPECT_EQ(node.keys.memory_bytes(), 0U);
  node.Check();
}

TEST_F(ChangeTest, ExpireAndPersist) {
  Put("k", "v");
  Change(node, node.keys).SetExpiry(Ref("k"), 3000);
  EXPECT_EQ(node.keys.Read(Ref("k")).expire_ms, 3000);
  Change(node, node.keys).SetExpiry(Ref("k"), crdt::kNever);
  EXPECT_EQ(node.keys.Read(Ref("k")).expire_ms, crdt::kNever);
  EXPECT_TRUE(Change(node, node.keys).Increment(Ref("n"), crdt::Number::Integer(1)));
  Change(node, node.keys).SetExpiry(Ref("n"), 3000);
  node.keys.SetTime(3000);
  EXPECT_TRUE(node.keys.Exists(Ref("n"))) << "the instant itself is not past";
  node.keys.SetTime(3001);
  EXPECT_FALSE(node.keys.Exists(Ref("n")));
  node.Check();
}

TEST_F(ChangeTest, ResolveReplacesWhatItNames) {
  Node other(origins, policies, origins.Intern({"o", 1}));
  policies.Set("*", *conflict::Policy::ParseText("siblings"));
  Put("k", "mine");
  Change(other, other.keys).Put(other.keys.Ref(0, "k"), "yours", Change::Ttl::kNone);
  ASSERT_TRUE(node.Deliver(other));
  EXPECT_EQ(node.keys.Read(Ref("k")).kind, Shown::Kind::kConflict);
  EXPECT_EQ(node.keys.open_conflicts().size(), 1U);
  std::vector<clock::Dot> seen;
  for (const crdt::Version& v : State("k").versions) seen.push_back(v.dot);
  // One more comes in before the resolution.
  Change(other, other.keys).Put(other.keys.Ref(0, "k"), "later", Change::Ttl::kNone);
  ASSERT_TRUE(node.Deliver(other));
  Change(node, node.keys).Resolve(Ref("k"), "both", false, seen, {});
  EXPECT_EQ(State("k").versions.size(), 2U) << "what the token does not name stays";
  seen.clear();
  for (const crdt::Version& v : State("k").versions) seen.push_back(v.dot);
  Change(node, node.keys).Resolve(Ref("k"), "all", false, seen, {});
  EXPECT_EQ(node.keys.Read(Ref("k")).value, "all");
  EXPECT_TRUE(node.keys.open_conflicts().empty());
  node.Check();
}

TEST_F(ChangeTest, OneChangeManyEffects) {
  {
    Change change(node, node.keys);
    EXPECT_FALSE(change.wrote());
    change.Put(Ref("a"), "1", Change::Ttl::kNone);
    change.Put(Ref("a"), "2", Change::Ttl::kNone);
    change.Increment(Ref("n"), crdt::Number::Integer(1));
    change.Increment(Ref("n"), crdt::Number::Integer(1));
    change.Delete(Ref("a"));
    change.Put(Ref("a"), "3", Change::Ttl::kAt, 5000);
    EXPECT_TRUE(change.wrote());
  }
  EXPECT_EQ(node.written.size(), 1U);
  EXPECT_EQ(node.keys.Read(Ref("a")).value, "3");
  EXPECT_EQ(node.keys.Read(Ref("n")).integer, 2);
  EXPECT_EQ(State("a").versions.size(), 1U);
  node.Check();
}

// What was visited may go, and a visit goes on where it stopped: each element once, by type and name.
TEST_F(ChangeTest, ResidueIsVisitedInParts) {
  for (const crdt::Type type : {crdt::Type::kSortedSet, crdt::Type::kHash}) {
    for (int i = 0; i < 300; ++i)
      EXPECT_TRUE(Change(node, node.keys).IncrementElement(Ref("k"), type, "e" + std::to_string(i), crdt::Number::Integer(1)));
  }
  Change(node, node.keys).Delete(Ref("k"));
  std::vector<std::pair<crdt::Type, std::string>> all;
  std::pair<crdt::Type, std::string> next{crdt::Type::kString, ""};
  for (bool ended = false; !ended;) {
    ended = true;
    const auto from = next;
    size_t visited = 0;
    node.keys.VisitResidue(Ref("k"), from.first, from.second, [&](crdt::Type type, std::string_view name, const crdt::Register& state) {
      EXPECT_FALSE(state.live());
      if (visited == 70) {
        next = {type, std::string(name)};
        ended = false;
        return false;
      }
      ++visited;
      all.emplace_back(type, name);
      return true;
    });
    ASSERT_GT(visited, 0U);
    for (size_t i = 0; i < visited; i += 2) {
      const auto& [type, name] = all[all.size() - 1 - i];
      node.keys.PurgeElementCounter(Ref("k"), type, name, origins.Intern({"n", 1}));
    }
  }
  EXPECT_EQ(all.size(), 600U);
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
  EXPECT_EQ(std::set(all.begin(), all.end()).size(), 600U);
  EXPECT_EQ(node.keys.StoredElements(Ref("k")), 300U);
}

// What is left of many cleared counters is in nobody's way: a key that is created anew, and deleted again, leaves it.
TEST_F(ChangeTest, ClearedCountersAreNotClearedAgain) {
  for (int i = 0; i < 300; ++i)
    EXPECT_TRUE(Change(node, node.keys).IncrementElement(Ref("k"), crdt::Type::kSortedSet, "e" + std::to_string(i), crdt::Number::Integer(1)));
  Change(node, node.keys).Delete(Ref("k"));
  Rows rows;
  TakeRows(node.keys, rows, 100'000);
  EXPECT_TRUE(node.keys.ElementsWithCounters(Ref("k")).empty());
  EXPECT_FALSE(node.keys.MayHoldCounters(Ref("k")));
  Change(node, node.keys).PutElement(Ref("k"), crdt::Type::kSortedSet, "x", EncodeScore(1));
  EXPECT_TRUE(node.keys.Exists(Ref("k")));
  EXPECT_TRUE(node.keys.ElementsWithCounters(Ref("k")).empty());
  Change(node, node.keys).Delete(Ref("k"));
  EXPECT_FALSE(node.keys.Exists(Ref("k")));
  EXPECT_EQ(node.keys.StoredElements(Ref("k")), 300U);
  Rows again;
  TakeRows(node.keys, again, 100'000);
  EXPECT_TRUE(again.elements.empty()) << "none is written anew";
  node.Check();
}

// (A wipe of many with a single counter among them went element by element.)
TEST_F(ChangeTest, ManyWithOneCounterGoWhole) {
  for (const crdt::Type type : {crdt::Type::kSortedSet, crdt::Type::kHash}) {
    const std::string key = type == crdt::Type::kHash ? "h" : "z";
    for (int i = 0; i < 3000; ++i)
      Change(node, node.keys).PutElement(Ref(key), type, "e" + std::to_string(i), EncodeScore(i));
    EXPECT_TRUE(Change(node, node.keys).IncrementElement(Ref(key), type, "c", crdt::Number::Integer(2)));
    EXPECT_EQ(node.keys.LiveCounters(Ref(key)), 1U);
    ASSERT_EQ(node.keys.ElementsWithCounters(Ref(key)).size(), 1U);
    Rows rows;
    TakeRows(node.keys, rows, 100);
    EXPECT_EQ(rows.elements.size(), 3001U);
    Change(node, node.keys).Delete(Ref(key));
    EXPECT_FALSE(node.keys.Exists(Ref(key)));
    EXPECT_EQ(node.keys.StoredElements(Ref(key)), 1U) << "the cleared counter waits for claims";
    EXPECT_LT(node.keys.MemoryOf(Ref(key)), 10'000U);
    size_t visited = 0;
    while (node.keys.VisitDirty(100, [&](const Keyspace::Row& row) {
      ++visited;
      rows.Take(row);
    })) {
    }
    EXPECT_LE(visited, 4U) << "their rows go by one prefix";
    EXPECT_EQ(rows.elements.size(), 1U);
    EXPECT_EQ(rows.States()[Key(0, key)], State(key));
    node.Check();
    rows = {};
    node.keys.PurgeElementCounter(Ref(key), type, "c", origins.Intern({"n", 1}));
    node.model.erase(Key(0, key));
    EXPECT_TRUE(State(key).empty());
    EXPECT_EQ(node.keys.memory_bytes(), 0U);
    TakeRows(node.keys, rows, 100);
  }
}

// (What the second wipe left moved into the key's row: whoever reads the store row by row, behind that one, missed it.)
TEST_F(ChangeTest, WhatTwoWipesLeaveHasRowsOfItsOwn) {
  auto fill = [&] {
    for (int i = 0; i < 1000; ++i)
      Change(node, node.keys).PutElement(Ref("h"), crdt::Type::kHash, "e" + std::to_string(i), "v");
  };
  fill();
  EXPECT_TRUE(Change(node, node.keys).IncrementElement(Ref("h"), crdt::Type::kHash, "c", crdt::Number::Integer(2)));
  Rows rows;
  TakeRows(node.keys, rows, 100);
  ASSERT_EQ(rows.elements.size(), 1001U);
  Change(node, node.keys).Delete(Ref("h"));
  fill();
  Change(node, node.keys).Delete(Ref("h"));
  ASSERT_EQ(node.keys.StoredElements(Ref("h")), 1U);
  for (bool more = true; more;) {
    more = node.keys.VisitDirty(1, [&](const Keyspace::Row& row) { rows.Take(row); });
    ASSERT_EQ(rows.elements.count({0, "h", crdt::Type::kHash, "c"}), 1U);
  }
  EXPECT_EQ(rows.elements.size(), 1U);
  EXPECT_EQ(rows.States()[Key(0, "h")], State("h"));
  node.Check();
}

// What is left by a wipe in one step is written in one slice.
TEST_F(ChangeTest, AWipeThatLeavesMuchIsWrittenInSlices) {
  constexpr int kCounters = static_cast<int>(Elements::kLeftByWipeMax) + 1;
  // By rising names: the model, a sorted vector, grows at its end.
  for (int i = 0; i < kCounters; ++i) {
    const std::string name = "c" + std::to_string(100'000 + i);
    EXPECT_TRUE(Change(node, node.keys).IncrementElement(Ref("h"), crdt::Type::kHash, name, crdt::Number::Integer(2)));
  }
  for (int i = 0; i < kCounters + 1; ++i)
    Change(node, node.keys).PutElement(Ref("h"), crdt::Type::kHash, "e" + std::to_string(100'000 + i), "v");
  Rows rows;
  TakeRows(node.keys, rows, 1000);
  ASSERT_EQ(rows.elements.size(), 2U * kCounters + 1);
  Change(node, node.keys).Delete(Ref("h"));
  EXPECT_FALSE(node.keys.Exists(Ref("h")));
  EXPECT_EQ(node.keys.StoredElements(Ref("h")), static_cast<size_t>(kCounters));
  size_t most = 0;
  for (bool more = true; more;) {
    size_t visited = 0;
    more = node.keys.VisitDirty(100, [&](const Keyspace::Row& row) {
      ++visited;
      rows.Take(row);
    });
    most = std::max(most, visited);
  }
  EXPECT_LE(most, 1000U) << "of 20,000";
  EXPECT_EQ(rows.States()[Key(0, "h")], State("h"));
}

// What the wipe had not seen stays, and what it cleared: in all forms beside each other.
TEST_F(ChangeTest, AWipeOfManyLeavesWhatItHasNotSeen) {
  Node other(origins, policies, origins.Intern({"o", 1}));
  auto ref = [](Node& of) { return of.keys.Ref(0, "z"); };
  for (int i = 0; i < 1000; ++i)
    Change(node, node.keys).PutElement(ref(node), crdt::Type::kSortedSet, "e" + std::to_string(i), EncodeScore(i));
  EXPECT_TRUE(Change(node, node.keys).IncrementElement(ref(node), crdt::Type::kSortedSet, "c", crdt::Number::Integer(2)));
  while (other.Deliver(node)) {
  }
  EXPECT_TRUE(Change(other, other.keys).IncrementElement(ref(other), crdt::Type::kSortedSet, "e5", crdt::Number::Integer(7)));
  EXPECT_TRUE(Change(other, other.keys).IncrementElement(ref(other), crdt::Type::kSortedSet, "c", crdt::Number::Integer(1)));
  Change(node, node.keys).Delete(ref(node));
  while (other.Deliver(node) || node.Deliver(other)) {
  }
  for (Node* of : {&node, &other}) {
    of->Check();
    EXPECT_EQ(of->keys.Open(ref(*of), crdt::Type::kSortedSet).size(), 2U);
    EXPECT_EQ(of->keys.Open(ref(*of), crdt::Type::kSortedSet).Score(*of->keys.Open(ref(*of), crdt::Type::kSortedSet).Find("e5")), 7);
  }
  EXPECT_EQ(node.keys.Digest(), other.keys.Digest());
}

TEST_F(ChangeTest, ABigSetThatShrinksGivesItsTableBack) {
  for (int i = 0; i < 20'000; ++i)
    Change(node, node.keys).PutElement(Ref("s"), crdt::Type::kSet, "e" + std::to_string(i), "");
  for (int i = 3; i < 20'000; ++i)
    Change(node, node.keys).RemoveElement(Ref("s"), crdt::Type::kSet, "e" + std::to_string(i));
  EXPECT_LT(node.keys.MemoryOf(Ref("s")), 5'000U);
  const Collection set = node.keys.Open(Ref("s"), crdt::Type::kSet);
  std::set<std::string> drawn;
  for (uint64_t i = 0; i < 200; ++i) drawn.emplace(set.elements->Random(i * 0x9e3779b97f4a7c15U)->key());
  EXPECT_EQ(drawn.size(), 3U);
  node.Check();
}

// (What a change that may be taken back replaces was copied: a collection of a million took seconds.)
TEST_F(ChangeTest, WhatIsTakenBackIsMovedNotCopied) {
  for (const bool counter : {false, true}) {
    const std::string key = counter ? "counted" : "plain";
    for (int i = 0; i < 2000; ++i)
      Change(node, node.keys).PutElement(Ref(key), crdt::Type::kSortedSet, "e" + std::to_string(i), EncodeScore(i));
    if (counter) {
      EXPECT_TRUE(Change(node, node.keys).IncrementElement(Ref(key), crdt::Type::kSortedSet, "c", crdt::Number::Integer(2)));
    }
    Change(node, node.keys).SetExpiry(Ref(key), 5'000'000);
    Rows rows;
    TakeRows(node.keys, rows, 1000);
    const crdt::KeyState before = State(key);
    const size_t memory = node.keys.memory_bytes();
    // The model cannot take back.
    const auto model = node.model;
    {
      Change change(node, node.keys);
      change.BeginTransaction(/*keep=*/true);
      EXPECT_LT(change.WipeBytesOf(Ref(key)), 1000U);
      change.PutElement(Ref(key), crdt::Type::kSortedSet, "e7", EncodeScore(70));
      change.RemoveElement(Ref(key), crdt::Type::kSortedSet, "e8");
      change.Delete(Ref(key));
      EXPECT_FALSE(node.keys.Exists(Ref(key)));
      for (int i = 0; i < 300; ++i)
        change.PutElement(Ref(key), crdt::Type::kSortedSet, "new" + std::to_string(i), EncodeScore(1));
      change.Delete(Ref(key));
      change.Put(Ref(key), "text", Change::Ttl::kNone);
      EXPECT_LT(change.kept_bytes(), 3000U);
      change.Revert();
    }
    node.model = model;
    EXPECT_EQ(State(key), before);
    EXPECT_LT(node.keys.memory_bytes(), memory + 1000);
    node.Check();
    size_t visited = 0;
    while (node.keys.VisitDirty(1000, [&](const Keyspace::Row& row) {
      ++visited;
      EXPECT_NE(row.kind, Keyspace::Row::Kind::kDropElements);
      rows.Take(row);
    })) {
    }
    EXPECT_LE(visited, 9U) << "the key, and what was put back one by one";
    EXPECT_EQ(rows.States()[Key(0, key)], before);
    // What goes after all is freed by and by.
    {
      Change change(node, node.keys);
      change.BeginTransaction(/*keep=*/true);
      change.Delete(Ref(key));
      change.EndTransaction();
    }
    EXPECT_TRUE(node.keys.FreeSome(10));
    while (node.keys.FreeSome(1000)) {
    }
    node.Check();
  }
}

// A flush of many counters is several changes, and it clears every one.
TEST_F(ChangeTest, FlushOfManyCounters) {
  for (int i = 0; i < 25'000; ++i) {
    Change(node, node.keys).Increment(Ref("n" + std::to_string(i)), crdt::Number::Integer(1));
  }
  const size_t written = node.written.size();
  Change(node, node.keys).Flush(0);
  EXPECT_GE(node.written.size() - written, 3U);
  EXPECT_EQ(node.keys.Size(0), 0U);
  EXPECT_EQ(node.keys.residue_keys().size(), 25'000U);
}

// The first read behind a change of policies may show less of a big sorted set, whose order takes less memory then.
TEST(Keyspace, WhatAReadShowsAnewIsCounted) {
  clock::OriginTable origins;
  const auto eu = origins.Intern({"eu", 1});
  const auto us = origins.Intern({"us", 1});
  conflict::PolicyTable policies;
  Keyspace keys(origins, policies, base::SipKey{1, 2});
  clock::VersionVector none;
  const std::string score = EncodeScore(1);
  // Two leaders at once; one of them removes it, which is a version under that policy.
  policies.Set("z", *conflict::Policy::ParseText("siblings"));
  for (uint64_t i = 1; i <= 2'000; ++i) {
    const std::string name = "m" + std::to_string(i);
    for (const auto origin : {eu, us}) {
      crdt::Effect effect{.kind = crdt::EffectKind::kPut,
                          .db = 0,
                          .type = crdt::Type::kSortedSet,
                          .key = "z",
                          .element = name,
                          .value = score};
      if (origin == us) {
        effect.flags |= crdt::kAbsent;
        effect.value = {};
      }
      keys.Apply(effect, crdt::Seen(none, origin, {i, 0}), clock::Hlc{i + (origin == us ? 10'000 : 0)}, Cause::kRemote);
    }
  }
  auto counted = [&] { return keys.StoredAs(keys.Ref(0, "z"))->memory_bytes(); };
  const size_t before = counted();
  EXPECT_EQ(keys.memory_bytes(), before);
  bool differs = false;
  for (const char* policy : {"lww", "priority us eu", "priority eu us", "siblings"}) {
    policies.Set("z", *conflict::Policy::ParseText(policy));
    keys.PoliciesChanged();
    (void)keys.Read(keys.Ref(0, "z"));
    EXPECT_EQ(keys.memory_bytes(), counted()) << policy;
    differs = differs || counted() != before;
  }
  EXPECT_TRUE(differs);
}

// Keys, and of collections each element.
TEST_F(ChangeTest, ResidueIsCountedByElements) {
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(Change(node, node.keys)
                    .IncrementElement(Ref("h"), crdt::Type::kHash, "f" + std::to_string(i), crdt::Number::Integer(1)));
  }
  Put("plain", "v");
  EXPECT_EQ(node.keys.residue_count(), 0U);
  Change(node, node.keys).Evict(Ref("h"));
  EXPECT_EQ(node.keys.residue_keys().size(), 1U);
  EXPECT_EQ(node.keys.residue_count(), 101U);
  EXPECT_TRUE(Change(node, node.keys).IncrementElement(Ref("h"), crdt::Type::kHash, "f7", crdt::Number::Integer(1)));
  EXPECT_TRUE(node.keys.Exists(Ref("h")));
  Change(node, node.keys).Evict(Ref("h"));
  EXPECT_EQ(node.keys.residue_count(), 101U);
  Change(node, node.keys).Evict(Ref("plain"));
  EXPECT_EQ(node.keys.residue_count(), 101U);
  const crdt::KeyState state = State("h");
  for (const crdt::Element& e : state.elements)
    node.keys.PurgeElementCounter(Ref("h"), e.type, e.name, e.counters.at(0).origin);
  EXPECT_EQ(node.keys.residue_count(), 0U);
  EXPECT_EQ(node.keys.residue_keys().size(), 0U);
}

// A policy that is set, or known, after elements were loaded: they stand in their order by the old one.
TEST(Keyspace, WhatIsStagedFollowsAPolicyThatComesLater) {
  clock::OriginTable origins;
  const auto eu = origins.Intern({"eu", 1});
  const auto us = origins.Intern({"us", 1});
  conflict::PolicyTable policies;
  Keyspace keys(origins, policies, base::SipKey{1, 2});
  auto staged = keys.NewBeside();
  auto version = [](clock::OriginIndex origin, uint64_t sequence, double score) {
    return crdt::Version{clock::Dot(origin, sequence), clock::Hlc{sequence}, false, false, EncodeScore(score)};
  };
  for (uint64_t i = 1; i <= 200; ++i) {
    crdt::Register member;
    member.versions.push_back(version(eu, i, static_cast<double>(i)));
    ASSERT_TRUE(staged->LoadElement(0, "z", crdt::Type::kSortedSet, "m" + std::to_string(i), member));
  }
  crdt::Register both;
  both.versions = {version(eu, 201, 1), version(us, 500, 9)};
  ASSERT_TRUE(staged->LoadElement(0, "z", crdt::Type::kSortedSet, "both", both));
  policies.Set("z", *conflict::Policy::ParseText("priority eu us"));
  staged->PoliciesChanged();
  clock::VersionVector deps;
  deps.Raise(eu, 201);
  deps.Raise(us, 500);
  const crdt::Effect wipe{.kind = crdt::EffectKind::kWipe, .db = 0, .key = "z"};
  staged->Apply(wipe, crdt::Seen(deps, us, {501, 0}), clock::Hlc{501}, Cause::kLoaded);
  EXPECT_TRUE(staged->State(staged->Ref(0, "z")).empty());
}

}  // namespace
}  // namespace polyarch::keyspace
