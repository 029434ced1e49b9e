#include <algorithm>

#include <gtest/gtest.h>

#include "base/random.h"
#include "conflict/ledger.h"
#include "conflict/policy.h"
#include "crdt/hyperloglog.h"

namespace polyarch::conflict {
namespace {

Policy Parsed(std::string_view text) {
  auto policy = Policy::ParseText(text);
  EXPECT_TRUE(policy.ok()) << text;
  return policy.ok() ? *policy : Policy();
}

std::string ParseError(std::string_view text) {
  auto policy = Policy::ParseText(text);
  EXPECT_FALSE(policy.ok()) << text;
  return policy.ok() ? "" : policy.status().message();
}

TEST(Policy, TextComesBack) {
  for (const char* text : {"lww", "lww DELETES", "priority", "priority eu us asia", "siblings", "handler cart"}) {
    EXPECT_EQ(Parsed(text).ToString(), text);
  }
  EXPECT_EQ(Parsed("LWW deletes").ToString(), "lww DELETES");
  EXPECT_EQ(Parsed("  Priority   EU ").ToString(), "priority EU");
  EXPECT_FALSE(Parsed("lww").DeleteIsVersion());
  EXPECT_TRUE(Parsed("lww DELETES").DeleteIsVersion());
  EXPECT_TRUE(Parsed("siblings").DeleteIsVersion());
  EXPECT_TRUE(Parsed("priority a").DeleteIsVersion());
  EXPECT_TRUE(Parsed("handler h").DeleteIsVersion());
}

TEST(Policy, SyncRulesComeBack) {
  PolicyTable table;
  EXPECT_EQ(table.SyncRules(), "");
  table.Set("a:*", Parsed("siblings"));
  EXPECT_EQ(table.SyncRules(), "") << "nothing is agreed on";
  table.Set("s:*", Parsed("sync"));
  table.Set("s:free:*", Parsed("lww"));
  const auto back = PolicyTable::ParseSyncRules(table.SyncRules());
  ASSERT_TRUE(back);
  EXPECT_TRUE(back->IsSync("s:1"));
  EXPECT_FALSE(back->IsSync("s:free:1"));
  EXPECT_FALSE(back->IsSync("a:1"));
  EXPECT_EQ(back->SyncRules(), table.SyncRules());
  EXPECT_FALSE(PolicyTable::ParseSyncRules("\x01\x09x"));
}

// Each leader keeps the limit of POLICY SET for itself; two that were cut off have more together.
TEST(Policy, SyncRulesOfMorePatternsThanOneLeaderSetsComeBack) {
  PolicyTable table;
  for (size_t i = 0; i <= kPatternsMax; ++i)
    table.Set("p:" + std::to_string(i), Parsed(i == 0 ? "sync" : "siblings"));
  ASSERT_EQ(table.size(), kPatternsMax + 1);
  const auto back = PolicyTable::ParseSyncRules(table.SyncRules());
  ASSERT_TRUE(back);
  EXPECT_TRUE(back->IsSync("p:0"));
  EXPECT_FALSE(back->IsSync("p:1024"));
  EXPECT_EQ(back->SyncRules(), table.SyncRules());
}

TEST(Policy, ErrorsAreOneClearLine) {
  EXPECT_EQ(ParseError("x"), "unknown policy 'x'; one of lww, lww DELETES, priority, siblings, merge, handler, sync, pop-owner");
  EXPECT_EQ(ParseError(""), "a policy is missing; one of lww, lww DELETES, priority, siblings, merge, handler, sync, pop-owner");
  EXPECT_EQ(ParseError("pop-owner eu"), "policy 'pop-owner' takes no arguments");
  EXPECT_EQ(Parsed("POP-OWNER").ToString(), "pop-owner");
  EXPECT_EQ(ParseError("sync eu"), "policy 'sync' takes no arguments");
  EXPECT_EQ(Parsed("SYNC").ToString(), "sync");
  EXPECT_EQ(ParseError("lww KEEP"), "policy 'lww' knows no option 'KEEP'; only DELETES");
  EXPECT_EQ(ParseError("siblings 2"), "policy 'siblings' takes no arguments");
  EXPECT_EQ(ParseError("priority eu us eu"), "leader 'eu' is named twice");
  std::string many = "priority";
  for (size_t i = 0; i <= kPriorityNamesMax; ++i)
    many += " n" + std::to_string(i);
  EXPECT_EQ(ParseError(many), "policy 'priority' takes at most 64 leaders");
  std::string bad = ParseError(std::string("p\r\n\x01") + std::string(5000, 'x'));
  EXPECT_LT(bad.size(), 200U);
  EXPECT_EQ(bad.find('\n'), std::string::npos);
  std::vector<std::string_view> words = {"priority", "two words"};
  EXPECT_EQ(Policy::Parse(words).status().message(), "'two words' is no name of a leader");
}

TEST(PolicyTable, TheMostSpecificPatternDecides) {
  PolicyTable table;
  EXPECT_EQ(table.For("wiki:title").ToString(), "lww");
  EXPECT_EQ(table.PatternFor("wiki:title"), "");
  table.Set("wiki:*", Parsed("siblings"));
  table.Set("*", Parsed("priority eu"));
  table.Set("wiki:ti*", Parsed("lww DELETES"));
  table.Set("*:title", Parsed("priority us"));
  EXPECT_EQ(table.For("wiki:title").ToString(), "lww DELETES");
  EXPECT_EQ(table.PatternFor("wiki:body"), "wiki:*");
  EXPECT_EQ(table.PatternFor("blog:title"), "*:title");
  EXPECT_EQ(table.PatternFor("x"), "*");
  EXPECT_EQ(table.PatternFor(""), "*") << "of all keys, also the empty one";
  EXPECT_EQ(table.For("").ToString(), "priority eu");
  table.Set("wiki:*", Parsed("lww"));
  EXPECT_EQ(table.For("wiki:body").ToString(), "lww");
  EXPECT_EQ(table.entries().size(), 4U);
  EXPECT_TRUE(table.Erase("wiki:ti*"));
  EXPECT_FALSE(table.Erase("wiki:ti*"));
  EXPECT_EQ(table.PatternFor("wiki:title"), "*:title");
  table.Set("a?", Parsed("lww"));
  table.Set("a*", Parsed("siblings"));
  EXPECT_EQ(table.PatternFor("ab"), "a*") << "of equals, the one that sorts first";
}

class ResolveTest : public testing::Test {
 protected:
  // A version by `leader` (a new incarnation where given), in the vector's order of dots.
  void Add(const std::string& leader, uint64_t ms, const char* value, uint64_t incarnation = 1) {
    crdt::Version v;
    clock::OriginIndex origin = origins_.Intern({leader, incarnation});
    v.dot = clock::Dot(origin, versions_.size() + 1);
    v.hlc = clock::Hlc::FromMs(ms);
    v.absent = value == nullptr;
    if (value != nullptr) v.value = value;
    versions_.push_back(v);
  }
  void AddBytes(const std::string& leader, uint64_t ms, const std::string& value) {
    Add(leader, ms, "");
    versions_.back().value = value;
  }
  View Show(const char* policy) {
    View view = Resolve(Parsed(policy), default_order_, versions_, origins_);
    // The order in the vector is a matter of this node's numbering only.
    std::vector<crdt::Version> saved = versions_;
    for (size_t i = 0; i < 5; ++i) {
      std::rotate(
          versions_.begin(), versions_.begin() + (versions_.empty() ? 0 : 1), versions_.end());
      View other = Resolve(Parsed(policy), default_order_, versions_, origins_);
      EXPECT_EQ(view.kind, other.kind);
      EXPECT_EQ(view.distinct, other.distinct);
      if (versions_.empty()) continue;
      EXPECT_EQ(saved[view.index].dot, versions_[other.index].dot);
    }
    versions_ = saved;
    return view;
  }
  std::string Text(const char* policy) {
    View view = Show(policy);
    if (view.kind == View::Kind::kNothing) return "nothing";
    if (view.kind == View::Kind::kConflict) return "conflict " + std::to_string(view.distinct);
    return versions_[view.index].value;
  }

  clock::OriginTable origins_;
  std::vector<crdt::Version> versions_;
  std::vector<std::string> default_order_;
};

TEST_F(ResolveTest, Nothing) {
  EXPECT_EQ(Text("lww"), "nothing");
  EXPECT_EQ(Text("siblings"), "nothing");
}

TEST_F(ResolveTest, WikiTitle) {
  Add("us", 20, "C");
  Add("eu", 10, "B");
  EXPECT_EQ(Text("lww"), "C");
  EXPECT_EQ(Text("priority eu us"), "B");
  EXPECT_EQ(Text("priority asia us"), "C");
  EXPECT_EQ(Text("siblings"), "conflict 2");
  EXPECT_EQ(Text("priority"), "C");
  default_order_ = {"eu", "us"};
  EXPECT_EQ(Text("priority"), "B");
  EXPECT_EQ(Text("priority us"), "C") << "a list of its own comes before the default order";
}

TEST_F(ResolveTest, TiesGoToTheHigherOrigin) {
  Add("us", 10, "u");
  Add("eu", 10, "e");
  EXPECT_EQ(Text("lww"), "u");
  Add("us", 10, "u2", 2);
  EXPECT_EQ(Text("lww"), "u2");
  EXPECT_EQ(Text("priority us"), "u2");
  EXPECT_EQ(Text("priority eu"), "e");
}

TEST_F(ResolveTest, CounterOfTheClockDecidesWithinAMillisecond) {
  Add("us", 10, "u");
  Add("eu", 10, "e");
  versions_[1].hlc.bits += 1;
  EXPECT_EQ(Text("lww"), "e");
}

TEST_F(ResolveTest, DeleteAgainstEdit) {
  Add("eu", 10, "edited");
  Add("us", 20, nullptr);
  EXPECT_EQ(Text("lww"), "edited");
  EXPECT_EQ(Text("lww DELETES"), "nothing");
  EXPECT_EQ(Text("priority eu us"), "edited");
  EXPECT_EQ(Text("priority us eu"), "nothing");
  EXPECT_EQ(Text("siblings"), "conflict 2");
  EXPECT_EQ(CountDistinct(versions_), 2U);
  versions_[0].hlc = clock::Hlc::FromMs(30);
  EXPECT_EQ(Text("lww DELETES"), "edited");
}

TEST_F(ResolveTest, EqualValuesAreNoConflict) {
  Add("eu", 10, "same");
  Add("us", 20, "same");
  EXPECT_EQ(Text("siblings"), "same");
  Add("asia", 30, "same");
  EXPECT_EQ(Text("siblings"), "same");
  EXPECT_EQ(CountDistinct(versions_), 1U);
  Add("asia", 40, nullptr, 2);
  Add("asia", 50, nullptr, 3);
  EXPECT_EQ(Text("siblings"), "conflict 2");
  EXPECT_EQ(Text("lww"), "same");
  Add("asia", 60, "", 4);
  EXPECT_EQ(CountDistinct(versions_), 3U) << "an empty value is not an absent one";
  EXPECT_EQ(Text("lww"), "");
}

TEST_F(ResolveTest, OnlyAbsents) {
  Add("eu", 10, nullptr);
  Add("us", 20, nullptr);
  for (const char* policy : {"lww", "lww DELETES", "priority eu", "siblings"}) {
    EXPECT_EQ(Text(policy), "nothing") << policy;
    EXPECT_EQ(Show(policy).distinct, 1U);
  }
  EXPECT_EQ(Show("lww").index, 1U);
  EXPECT_EQ(Show("priority eu").index, 0U);
}

std::string Sketch(std::initializer_list<std::string_view> elements) {
  std::string bytes = crdt::NewHll();
  for (std::string_view element : elements)
    crdt::AddToHll(bytes, element);
  crdt::InvalidateHllCount(bytes);
  return bytes;
}

TEST_F(ResolveTest, HyperLogLogsUniteWhateverThePolicy) {
  AddBytes("eu", 100, Sketch({"a", "b"}));
  AddBytes("us", 200, Sketch({"b", "c"}));
  AddBytes("asia", 50, Sketch({"d"}));
  for (const char* policy : {"lww", "lww DELETES", "priority eu us", "siblings"}) {
    View view = Show(policy);
    EXPECT_EQ(view.kind, View::Kind::kUnion) << policy;
    for (const crdt::Version& v : versions_)
      EXPECT_TRUE(view.Keeps(v));
  }
  EXPECT_FALSE(IsConflict(versions_));
  const std::string united = Unite(versions_);
  EXPECT_EQ(crdt::CountHll(united), 4U);
  std::swap(versions_[0], versions_[2]);
  EXPECT_EQ(Unite(versions_), united);
}

TEST_F(ResolveTest, OneHyperLogLogIsShownAsItIs) {
  // Cached cardinality and runs as no union would write them.
  std::string odd = crdt::NewHll();
  odd.replace(crdt::kHllHeaderBytes, 2, std::string("\x5f\xff\x5f\xff", 4));
  AddBytes("eu", 100, odd);
  EXPECT_EQ(Show("lww").kind, View::Kind::kValue);
  EXPECT_EQ(Text("lww"), odd);
  AddBytes("us", 200, odd);
  EXPECT_EQ(Show("siblings").kind, View::Kind::kValue) << "equal bytes";
  EXPECT_FALSE(IsConflict(versions_));
}

TEST_F(ResolveTest, WhatIsNoHyperLogLogIsAConflict) {
  AddBytes("eu", 100, Sketch({"a"}));
  AddBytes("us", 200, Sketch({"b"}));
  Add("asia", 300, "HYLL, but not really");
  EXPECT_EQ(Text("lww"), "HYLL, but not really");
  EXPECT_EQ(Text("siblings"), "conflict 3");
  EXPECT_TRUE(IsConflict(versions_));
  versions_.pop_back();
  EXPECT_FALSE(IsConflict(versions_));
}

TEST_F(ResolveTest, ADeleteAgainstHyperLogLogsIsForThePolicy) {
  AddBytes("eu", 100, Sketch({"a"}));
  AddBytes("us", 200, Sketch({"b"}));
  Add("asia", 150, nullptr);
  EXPECT_TRUE(IsConflict(versions_));
  EXPECT_EQ(Text("siblings"), "conflict 3");
  for (const char* policy : {"lww", "lww DELETES", "priority us"}) {
    View view = Show(policy);
    EXPECT_EQ(view.kind, View::Kind::kUnion) << policy;
    EXPECT_FALSE(view.Keeps(versions_[2]));
  }
  EXPECT_EQ(crdt::CountHll(Unite(versions_)), 2U);
  EXPECT_EQ(Text("priority asia"), "nothing");
}

TEST_F(ResolveTest, CanonicalOrderAndTags) {
  Add("us", 1, "1");
  Add("eu", 2, "2", 9);
  Add("eu", 3, "3", 2);
  versions_.push_back(versions_[0]);
  versions_.back().dot = clock::Dot(versions_[0].dot.origin(), 99);
  EXPECT_EQ(CanonicalOrder(versions_, origins_), (std::vector<size_t>{2, 1, 0, 3}));
  EXPECT_EQ(TagText(versions_[3].dot, origins_), "us.0000000000000001:99");
}

// ---- the ledger

LedgerVersion Version(const std::string& leader, uint64_t sequence, std::string value = "v") {
  return {.value = std::move(value),
          .origin = {leader, 1},
          .sequence = sequence,
          .hlc = clock::Hlc::FromMs(sequence)};
}

LedgerEntry Entry(LedgerVersion shown,
                  LedgerVersion lost,
                  std::string key = "k",
                  int64_t noted_ms = 1000) {
  return {.noted_ms = noted_ms,
          .key = std::move(key),
          .policy = "lww",
          .shown = std::move(shown),
          .lost = std::move(lost)};
}

std::vector<uint64_t> Ids(const Ledger& ledger, uint64_t after = 0) {
  std::vector<uint64_t> ids;
  ledger.Visit(after, [&](const LedgerEntry& e) {
    ids.push_back(e.id);
    return true;
  });
  return ids;
}

TEST(Ledger, NotesAPairOnce) {
  Ledger ledger({});
  uint64_t id = ledger.Note(Entry(Version("us", 5), Version("eu", 3)));
  EXPECT_EQ(ledger.Note(Entry(Version("us", 5), Version("eu", 3))), id);
  EXPECT_EQ(ledger.Note(Entry(Version("eu", 3), Version("us", 5))), id) << "in the other role";
  EXPECT_EQ(ledger.size(), 1U);
  uint64_t other_key = ledger.Note(Entry(Version("us", 5), Version("eu", 3), "k2"));
  LedgerEntry other_db = Entry(Version("us", 5), Version("eu", 3));
  other_db.db = 1;
  EXPECT_GT(ledger.Note(other_db), other_key);
  EXPECT_EQ(Ids(ledger), (std::vector<uint64_t>{1, 2, 3}));
  EXPECT_EQ(Ids(ledger, 1), (std::vector<uint64_t>{2, 3}));
  ASSERT_NE(ledger.Find(id), nullptr);
  EXPECT_EQ(ledger.Find(id)->lost.origin.leader, "eu");
  EXPECT_EQ(ledger.Find(77), nullptr);
}

TEST(Ledger, NewerVersionsSupersede) {
  Ledger ledger({});
  ledger.Note(Entry(Version("us", 5), Version("eu", 3)));
  EXPECT_EQ(ledger.Note(Entry(Version("us", 9), Version("eu", 3))), 2U);
  EXPECT_EQ(ledger.Note(Entry(Version("eu", 8), Version("us", 10))), 3U);
  EXPECT_EQ(Ids(ledger), (std::vector<uint64_t>{3}));
  EXPECT_EQ(ledger.Note(Entry(Version("us", 5), Version("eu", 3))), 3U)
      << "an older pair, replayed";
  EXPECT_EQ(ledger.Note(Entry(Version("us", 10), Version("asia", 1))), 4U) << "another opponent";
  LedgerEntry restarted = Entry(Version("us", 11), Version("eu", 1));
  restarted.lost.origin.incarnation = 2;
  EXPECT_EQ(ledger.Note(restarted), 5U) << "another incarnation may not have seen the first one's";
  EXPECT_EQ(Ids(ledger), (std::vector<uint64_t>{3, 4, 5}));
}

TEST(Ledger, VersionsOfOneOriginSupersedeNothing) {
  Ledger ledger({});
  ledger.Note(Entry(Version("us", 6), Version("us", 5)));
  ledger.Note(Entry(Version("us", 7), Version("us", 5)));
  ledger.Note(Entry(Version("us", 7), Version("us", 6)));
  ledger.Note(Entry(Version("us", 7), Version("us", 6)));
  EXPECT_EQ(ledger.size(), 3U);
}

TEST(Ledger, ALowIdIsNoOldEntry) {
  Ledger ledger({.entries_max = 2});
  for (uint64_t id : {100, 101, 102}) {
    LedgerEntry e = Entry(Version("us", id), Version("eu", id), "k" + std::to_string(id));
    e.id = id;
    EXPECT_EQ(ledger.Note(std::move(e)), id);
  }
  LedgerEntry late = Entry(Version("us", 200), Version("eu", 200), "late");
  late.id = 64;
  EXPECT_EQ(ledger.Note(std::move(late)), 103U);
  EXPECT_NE(ledger.Find(103), nullptr);
}

TEST(Ledger, IsBounded) {
  Ledger ledger({.entries_max = 10});
  for (uint64_t i = 1; i <= 100; ++i) {
    ledger.Note(Entry(Version("us", i), Version("eu", i), "k" + std::to_string(i)));
  }
  EXPECT_EQ(ledger.size(), 10U);
  EXPECT_EQ(Ids(ledger).front(), 91U);
  EXPECT_EQ(ledger.TakeDirty().deleted.size(), 0U) << "what was never stored is not deleted";
  ledger.SetLimits({.bytes_max = 20'000});
  for (uint64_t i = 1; i <= 50; ++i) {
    ledger.Note(
        Entry(Version("us", i, std::string(3000, 'x')), Version("eu", i), "b" + std::to_string(i)));
    EXPECT_LE(ledger.bytes(), 20'000U);
  }
  EXPECT_GE(ledger.size(), 3U);
  EXPECT_EQ(ledger.TakeDirty().deleted.size(), 10U);
  uint64_t big =
      ledger.Note(Entry(Version("us", 1, std::string(50'000, 'x')), Version("eu", 1), "big"));
  EXPECT_EQ(Ids(ledger), (std::vector<uint64_t>{big})) << "the newest always stays";
  ledger.Note(Entry(Version("us", 2), Version("eu", 1), "big"));
  EXPECT_EQ(ledger.size(), 1U);
  ledger.SetLimits({.entries_max = 0});
  EXPECT_EQ(ledger.size(), 1U);
}

TEST(Ledger, ForgetsByAge) {
  Ledger ledger({.age_ms_max = 100});
  ledger.Note(Entry(Version("us", 1), Version("eu", 1), "a", 1000));
  ledger.Note(Entry(Version("us", 1), Version("eu", 1), "b", 900'000));  // the clock was ahead
  ledger.Note(Entry(Version("us", 1), Version("eu", 1), "c", 1050));
  ledger.Note(Entry(Version("us", 1), Version("eu", 1), "d", 1200));
  ledger.Expire(1100);
  EXPECT_EQ(ledger.size(), 4U);
  ledger.Expire(1200);
  EXPECT_EQ(Ids(ledger), (std::vector<uint64_t>{2, 4}));
  ledger.Expire(2'000'000);
  EXPECT_EQ(ledger.size(), 0U);
  EXPECT_EQ(ledger.bytes(), 0U);
  EXPECT_TRUE(ledger.TakeDirty().deleted.empty());
}

// Applies what TakeDirty gives to a store of rows.
void Store(Ledger& ledger, std::map<std::string, std::string>& rows) {
  Ledger::Dirty dirty = ledger.TakeDirty();
  for (auto& [key, row] : dirty.rows)
    rows[key] = row;
  for (auto& key : dirty.deleted)
    EXPECT_EQ(rows.erase(key), 1U);
}

TEST(Ledger, RowsComeBack) {
  Ledger ledger({.entries_max = 20});
  std::map<std::string, std::string> rows;
  base::Random random(5);
  auto compare = [&] {
    Ledger loaded({.entries_max = 20});
    for (const auto& [key, row] : rows)
      ASSERT_TRUE(loaded.Load(key, row));
    ASSERT_EQ(Ids(loaded), Ids(ledger));
    ASSERT_EQ(loaded.bytes(), ledger.bytes());
    for (uint64_t id : Ids(ledger))
      ASSERT_EQ(*loaded.Find(id), *ledger.Find(id));
    // The digests are kept from change to change: they must be what the entries come to.
    ASSERT_EQ(loaded.Buckets(), ledger.Buckets());
    const std::string equal = loaded.EqualBuckets(ledger.Buckets());
    for (const auto& [key, row] : rows) {
      LedgerEntry entry;
      if (!Ledger::Decode(key, row, entry)) continue;
      ASSERT_TRUE(Ledger::RowIsIn(key, row, equal, entry.id + 1));
      ASSERT_FALSE(Ledger::RowIsIn(key, row, equal, entry.id)) << "noted after the digests were taken";
    }
    Ledger::Dirty clean = loaded.TakeDirty();
    ASSERT_TRUE(clean.rows.empty() && clean.deleted.empty());
    // Noting again what it has changes nothing; what is new gets a new id.
    std::vector<LedgerEntry> all;
    ledger.Visit(0, [&](const LedgerEntry& e) {
      all.push_back(e);
      return true;
    });
    for (const LedgerEntry& e : all)
      ASSERT_EQ(loaded.Note(e), e.id);
    uint64_t fresh = loaded.Note(Entry(Version("new", 1), Version("newer", 1)));
    ASSERT_EQ(fresh, ledger.Note(Entry(Version("new", 1), Version("newer", 1))));
  };
  const char* leaders[] = {"eu", "us", "asia"};
  for (int round = 0; round < 200 && !testing::Test::HasFatalFailure(); ++round) {
    for (uint64_t n = random.Below(8); n > 0; --n) {
      size_t a = random.Below(3);
      LedgerEntry e = Entry(Version(leaders[a], 1 + random.Below(50)),
                            Version(leaders[(a + 1 + random.Below(2)) % 3], 1 + random.Below(50)),
                            "k" + std::to_string(random.Below(10)),
                            round);
      e.lost.absent = random.Percent(20);
      e.db = static_cast<uint8_t>(random.Below(2));
      ledger.Note(e);
    }
    Store(ledger, rows);
    ASSERT_EQ(rows.size(), ledger.size() + (rows.empty() ? 0 : 1));
    compare();
    Store(ledger, rows);
  }
}

TEST(Ledger, BucketsThatDifferAreTold) {
  Ledger here({});
  Ledger there({});
  EXPECT_EQ(here.EqualBuckets(there.Buckets()), "");
  for (uint64_t i = 1; i <= 100; ++i) {
    const LedgerEntry e = Entry(Version("eu", i), Version("us", i), "k" + std::to_string(i));
    if (i != 17) here.Note(e);
    there.Note(e);
  }
  const std::string equal = here.EqualBuckets(there.Buckets());
  ASSERT_EQ(equal.size(), Ledger::kBucketBitsBytes);
  size_t lacking = 0;
  for (const auto& [key, row] : there.TakeDirty().rows) {
    LedgerEntry e;
    if (!Ledger::Decode(key, row, e) || Ledger::RowIsIn(key, row, equal, there.next_id())) continue;
    ++lacking;
  }
  EXPECT_GE(lacking, 1U) << "the one that is not here";
  EXPECT_LE(lacking, 3U) << "and what shares its bucket";
}

TEST(Ledger, IdsAreNotGivenAgain) {
  std::map<std::string, std::string> rows;
  {
    Ledger ledger({.age_ms_max = 1});
    for (uint64_t i = 1; i <= 5; ++i) {
      ledger.Note(Entry(Version("us", i), Version("eu", i), "k" + std::to_string(i)));
    }
    Store(ledger, rows);
    ledger.Expire(1'000'000);
    Store(ledger, rows);
  }
  EXPECT_EQ(rows.size(), 1U);
  Ledger ledger({});
  for (const auto& [key, row] : rows)
    ASSERT_TRUE(ledger.Load(key, row));
  EXPECT_EQ(ledger.Note(Entry(Version("us", 1), Version("eu", 1))), 6U);
}

TEST(Ledger, ForeignRowsAreRefused) {
  Ledger source({});
  LedgerEntry e = Entry(Version("us", 300, "shown"), Version("eu", 3, "lost"));
  source.Note(e);
  Ledger::Dirty dirty = source.TakeDirty();
  const auto& [key, row] = dirty.rows[0];
  base::Random random(11);
  for (size_t cut = 0; cut < row.size(); ++cut) {
    Ledger ledger({});
    EXPECT_FALSE(ledger.Load(key, row.substr(0, cut)));
    EXPECT_EQ(ledger.size(), 0U);
  }
  Ledger ledger({});
  EXPECT_FALSE(ledger.Load("short", row));
  EXPECT_FALSE(ledger.Load(key, row + "x"));
  std::string newer = row;
  newer[0] = static_cast<char>(row[0] + 1);
  EXPECT_FALSE(ledger.Load(key, newer));
  EXPECT_FALSE(ledger.Load(std::string(8, '\xff'), row));
  EXPECT_TRUE(ledger.Load(key, row));
  EXPECT_FALSE(ledger.Load(key, row)) << "twice";
  std::string older = row.substr(0, row.size() - 2);  // without type and element
  older[0] = 1;
  Ledger old({});
  EXPECT_TRUE(old.Load(key, older));
  EXPECT_EQ(old.size(), 1U);
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = row;
    for (uint64_t n = 1 + random.Below(3); n > 0; --n) {
      bytes[random.Below(bytes.size())] = static_cast<char>(random.Next());
    }
    std::string any_key(8, '\0');
    any_key[7] = static_cast<char>(random.Below(256));
    any_key[6] = static_cast<char>(random.Below(4));
    static_cast<void>(ledger.Load(any_key, bytes));
  }
  ledger.Note(e);
  ledger.Expire(INT64_MAX);
  ledger.SetLimits({.entries_max = 1});
  EXPECT_LE(ledger.size(), 1U);
}

}  // namespace
}  // namespace polyarch::conflict
