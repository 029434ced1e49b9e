// Policies `merge ...` and policies of fields: what several versions show together.
#include "conflict/merge.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <set>

#include "base/random.h"
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

// JSON of values, the latest last.
std::string Json(std::vector<std::string_view> values) {
  std::vector<MergeValue> all;
  for (std::string_view v : values) all.push_back({v, all.size()});
  return MergeJson(all).value_or("none");
}

TEST(MergePolicy, TextComesBack) {
  for (const char* text : {"merge MIN", "merge MAX", "merge UNION", "merge CONCAT", "merge JSON",
                           "merge UNION ;", "merge UNION SPACE", "merge CONCAT NEWLINE",
                           "merge CONCAT ,"}) {
    EXPECT_EQ(Parsed(text).ToString(), text);
    EXPECT_EQ(Parsed(Parsed(text).ToString()), Parsed(text));
    EXPECT_FALSE(Parsed(text).DeleteIsVersion()) << text;
  }
  EXPECT_EQ(Parsed("Merge max").ToString(), "merge MAX");
  EXPECT_EQ(Parsed("MERGE union ,").ToString(), "merge UNION");
  EXPECT_EQ(Parsed("merge concat /").ToString(), "merge CONCAT");
}

TEST(MergePolicy, ErrorsNameTheRemedy) {
  EXPECT_EQ(ParseError("merge"),
            "policy 'merge' needs a function; one of MIN, MAX, UNION, CONCAT, JSON");
  EXPECT_EQ(ParseError("merge SUM"),
            "policy 'merge' knows no function 'SUM'; one of MIN, MAX, UNION, CONCAT, JSON");
  EXPECT_EQ(ParseError("merge MAX 3"), "policy 'merge MAX' takes no arguments");
  EXPECT_EQ(ParseError("merge JSON x"), "policy 'merge JSON' takes no arguments");
  EXPECT_EQ(ParseError("merge UNION ::").substr(0, 22), "'::' begins as it ends");
  EXPECT_EQ(Parsed("merge CONCAT ::").ToString(), "merge CONCAT ::");
  EXPECT_EQ(ParseError("merge UNION , ;"), "policy 'merge UNION' takes nothing but a separator");
  EXPECT_EQ(ParseError("merge CONCAT 12345678901234567"),
            "'12345678901234567' is no separator; it is SPACE, NEWLINE, or up to 16 printable characters");
  std::vector<std::string_view> words = {"merge", "UNION", " "};
  EXPECT_NE(Policy::Parse(words).status().message().find("is no separator"), std::string::npos);
  words[2] = "";
  EXPECT_FALSE(Policy::Parse(words).ok());
}

TEST(MergeExtreme, NumbersByValueTextsByBytes) {
  auto less = [](const char* a, const char* b) {
    EXPECT_FALSE(ValueLess(a, a));
    EXPECT_FALSE(ValueLess(b, a)) << a << " " << b;
    return ValueLess(a, b);
  };
  EXPECT_TRUE(less("9", "10"));
  EXPECT_TRUE(less("-10", "-9"));
  EXPECT_TRUE(less("1.5", "2"));
  EXPECT_TRUE(less("1e3", "1001"));
  EXPECT_TRUE(less("9223372036854775806", "9223372036854775807")) << "exact in 64 bits";
  EXPECT_TRUE(less("2026-01-31", "2026-02-01"));
  EXPECT_TRUE(less("5", "-inf ")) << "a number stands before a text";
  EXPECT_TRUE(less("1", "1.0")) << "equal numbers by their bytes";
  for (MergeFunction f : {MergeFunction::kMin, MergeFunction::kMax}) {
    EXPECT_TRUE(LosesExtreme(f, "zebra", "5")) << "a text never wins against a number";
    EXPECT_FALSE(LosesExtreme(f, "5", "abc"));
    EXPECT_FALSE(LosesExtreme(f, "", ""));
  }
}

TEST(MergeJson, KeysUniteLeavesAreOfTheLatest) {
  EXPECT_EQ(Json({R"({"a":1,"b":2})", R"({"b":3,"c":4})"}), R"({"a":1,"b":3,"c":4})");
  EXPECT_EQ(Json({R"({"b":3,"c":4})", R"({"a":1,"b":2})"}), R"({"a":1,"b":2,"c":4})");
  EXPECT_EQ(Json({R"({"o":{"x":1,"y":{"z":2}}})", R"({"o":{"y":{"w":3}}})"}),
            R"({"o":{"x":1,"y":{"w":3,"z":2}}})");
  EXPECT_EQ(Json({R"({"tags":["a","b"]})", R"({"tags":["c"]})"}), R"({"tags":["c"]})") << "arrays are values";
  EXPECT_EQ(Json({R"({"o":{"x":1}})", R"({"o":null})"}), R"({"o":null})");
  EXPECT_EQ(Json({R"({"o":{"x":1}})", R"({"o":7})", R"({"o":{"y":2}})"}), R"({"o":{"x":1,"y":2}})");
  EXPECT_EQ(Json({R"({})", R"({})"}), "{}");
}

TEST(MergeJson, TextStays) {
  EXPECT_EQ(Json({R"({"n": 1.10, "big":123456789012345678901234567890, "e":1E+05 })", "{ }"}),
            R"({"big":123456789012345678901234567890,"e":1E+05,"n":1.10})");
  EXPECT_EQ(Json({"{\"s\":\"\\u00e4 \\/ \\\"\", \"l\" : [ 1 , { \"k\" : [ ] } , true ]}", "{}"}),
            "{\"l\":[1,{\"k\":[]},true],\"s\":\"\\u00e4 \\/ \\\"\"}");
  EXPECT_EQ(Json({R"({"a":1,"a":2})", R"({"b":1})"}), R"({"a":2,"b":1})") << "the last of two";
  EXPECT_EQ(Json({R"({"a":{"x":1},"a":{"y":2}})", R"({"b":1})"}), R"({"a":{"y":2},"b":1})");
  EXPECT_EQ(Json({R"({"\u0061":1})", R"({"a":2})"}), R"({"a":2})") << "keys are equal by what they stand for";
  EXPECT_EQ(Json({R"({"a":2})", R"({"\u0061":1})"}), R"({"\u0061":1})");
  EXPECT_EQ(Json({"{\"\\ud83d\\ude00\":1}", "{\"\xf0\x9f\x98\x80\":2}"}), "{\"\xf0\x9f\x98\x80\":2}");
  EXPECT_EQ(Json({R"({"\ud83d":1})", R"({"\ude00":2})"}), R"({"\ud83d":1,"\ude00":2})");
}

TEST(MergeJson, AnythingElseIsNone) {
  for (const char* bad :
       {"", "5", "[]", "[{}]", "null", "{", "{}}", "{} x", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}",
        "{a:1}", "{\"a\":01}", "{\"a\":1.}", "{\"a\":.5}", "{\"a\":+1}", "{\"a\":-}", "{\"a\":1e}",
        "{\"a\":NaN}", "{\"a\":tru}", "{\"a\":[1,]}", "{\"a\":[1}", "{\"a\":\"x}", "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}", "{\"a\":\"\\u12\"}", "{\"a\":\"\t\"}", "{\"a\":\"\\", "{\"a\":[{\"b\":}]}"}) {
    EXPECT_EQ(Json({bad, "{}"}), "none") << bad;
    EXPECT_EQ(Json({"{}", bad}), "none") << bad;
  }
  auto nested = [](size_t depth, bool objects) {
    std::string text;
    for (size_t i = 1; i < depth; ++i) text += objects ? "{\"a\":" : (i == 1 ? "{\"a\":" : "[");
    text += objects || depth == 1 ? "{}" : "[]";
    for (size_t i = 1; i < depth; ++i) text += objects || i + 1 == depth ? "}" : "]";
    return text;
  };
  for (bool objects : {true, false}) {
    const std::string deepest = nested(kJsonDepthMax, objects);
    EXPECT_EQ(Json({deepest, "{}"}), deepest);
    EXPECT_EQ(Json({nested(kJsonDepthMax + 1, objects), "{}"}), "none");
    EXPECT_EQ(Json({std::string(1 << 20, objects ? '{' : '['), "{}"}), "none");
    std::string hostile;
    for (int i = 0; i < 200'000; ++i) hostile += objects ? "{\"a\":" : (i == 0 ? "{\"a\":[" : "[");
    EXPECT_EQ(Json({hostile, "{}"}), "none");
  }
}

// Cut and changed at random: never more than a refusal, and what comes out is JSON again that merges to itself.
TEST(MergeJson, HostileBytes) {
  const std::string whole =
      R"({"a":[1,-2.5e+3,{"b":null}],"c":{"d":"x\u00e4\ud83d\ude00\n","e":{"f":true}},"g":"","h":{}})";
  base::Random random(7);
  size_t taken = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text = whole;
    for (uint64_t n = random.Below(4); n > 0; --n) {
      const size_t at = random.Below(text.size());
      switch (random.Below(3)) {
        case 0: text[at] = static_cast<char>(random.Below(256)); break;
        case 1: text.erase(at, random.Below(4) + 1); break;
        default: text.insert(at, 1, "{}[],:\"\\u0e"[random.Below(11)]);
      }
      if (text.empty()) break;
    }
    const std::string merged = Json({text, whole});
    if (merged == "none") continue;
    ++taken;
    EXPECT_EQ(Json({merged, merged}), merged) << text;
    EXPECT_EQ(Json({"{}", merged}), merged) << text;
  }
  EXPECT_GT(taken, 5000U);
}

class MergeViewTest : public testing::Test {
 protected:
  void Add(const std::string& leader, uint64_t ms, std::string_view value) {
    crdt::Version v;
    v.dot = clock::Dot(origins_.Intern({leader, 1}), versions_.size() + 1);
    v.hlc = clock::Hlc::FromMs(ms);
    v.value = value;
    versions_.push_back(v);
  }
  void AddAbsent(const std::string& leader, uint64_t ms) {
    Add(leader, ms, "");
    versions_.back().absent = true;
  }
  std::string Text(const char* policy) {
    const View view = Resolve(Parsed(policy), {}, versions_, origins_);
    switch (view.kind) {
      case View::Kind::kNothing: return "nothing";
      case View::Kind::kConflict: return "conflict";
      case View::Kind::kUnion: return Unite(versions_);
      case View::Kind::kMerged: return view.merged;
      case View::Kind::kValue: break;
    }
    return versions_[view.index].value;
  }

  clock::OriginTable origins_;
  std::vector<crdt::Version> versions_;
};

TEST_F(MergeViewTest, EachFunction) {
  Add("us", 10, "9,x");
  Add("eu", 20, "10,,a");
  EXPECT_EQ(Text("merge CONCAT"), "10,,a/9,x") << "by leader's name, not by time";
  EXPECT_EQ(Text("merge CONCAT SPACE"), "10,,a 9,x");
  EXPECT_EQ(Text("merge UNION"), "10,9,a,x");
  EXPECT_EQ(Text("merge MAX"), "9,x") << "texts, by bytes";
  EXPECT_EQ(Text("merge MIN"), "10,,a");
  EXPECT_EQ(Text("merge JSON"), "10,,a") << "no JSON: the later one";
  versions_.clear();
  Add("us", 10, "9");
  Add("eu", 20, "10");
  Add("asia", 30, "nine");
  EXPECT_EQ(Text("merge MAX"), "10");
  EXPECT_EQ(Text("merge MIN"), "9");
}

TEST_F(MergeViewTest, OneValueIsShownAsItIs) {
  Add("us", 10, "b,a,,a");
  EXPECT_EQ(Text("merge UNION"), "b,a,,a");
  Add("eu", 20, "b,a,,a");
  EXPECT_EQ(Text("merge UNION"), "b,a,,a") << "equal bytes are one";
  EXPECT_EQ(Text("merge CONCAT"), "b,a,,a");
  AddAbsent("asia", 30);
  EXPECT_EQ(Text("merge UNION"), "b,a,,a") << "a value stands against a delete";
  EXPECT_EQ(Text("merge MIN"), "b,a,,a");
  versions_.erase(versions_.begin(), versions_.begin() + 2);
  EXPECT_EQ(Text("merge UNION"), "nothing");
  EXPECT_EQ(Text("merge MAX"), "nothing");
}

TEST_F(MergeViewTest, SketchesUniteUnderAnyPolicy) {
  std::string a = crdt::NewHll();
  std::string b = crdt::NewHll();
  crdt::AddToHll(a, "x");
  crdt::AddToHll(b, "y");
  Add("eu", 10, a);
  Add("us", 20, b);
  const std::string united = Text("lww");
  for (const char* policy : {"merge MAX", "merge CONCAT", "merge UNION", "merge JSON"})
    EXPECT_EQ(Text(policy), united) << policy;
}

TEST_F(MergeViewTest, TooMuchToMergeAtEachReadIsDecidedByTime) {
  Add("eu", 10, std::string(kMergedBytesMax / 2, 'a'));
  Add("us", 20, std::string(kMergedBytesMax / 2, 'b'));
  EXPECT_EQ(Text("merge CONCAT").size(), kMergedBytesMax + 1);
  versions_[0].value += 'a';
  EXPECT_EQ(Text("merge CONCAT"), versions_[1].value);
  EXPECT_EQ(Text("merge MAX"), versions_[1].value);
}

// ---- laws: the view is a function of the set of versions

std::string DrawValue(base::Random& random, MergeFunction function) {
  const std::string digit = std::to_string(random.Below(12));
  switch (function) {
    case MergeFunction::kMin:
    case MergeFunction::kMax: {
      const char* texts[] = {"", "a", "b", "1.0", "1e1", "-3", "inf"};
      return random.Percent(60) ? digit : texts[random.Below(std::size(texts))];
    }
    case MergeFunction::kUnion:
    case MergeFunction::kConcat: {
      std::string list;
      for (uint64_t n = random.Below(4); n > 0; --n)
        list += std::string(1, static_cast<char>('a' + random.Below(4))) + (random.Percent(80) ? "," : "");
      return list;
    }
    case MergeFunction::kJson: break;
  }
  if (random.Percent(4)) return "none";
  std::string object = "{";
  for (uint64_t n = random.Below(4); n > 0; --n) {
    if (object.size() > 1) object += ',';
    object += std::string("\"") + static_cast<char>('a' + random.Below(3)) + "\":";
    object += random.Percent(40) ? "{\"" + std::string(1, static_cast<char>('x' + random.Below(2))) + "\":" + digit + "}"
                                 : digit;
  }
  return object + "}";
}

TEST(MergeLaws, AnyOrderOfArrivalAndAnyNumberingOfOriginsShowTheSame) {
  const char* policies[] = {"merge MIN", "merge MAX", "merge UNION", "merge CONCAT", "merge JSON"};
  std::set<std::string> seen;
  size_t merged = 0;
  for (uint64_t seed = 1; seed <= 10'000; ++seed) {
    base::Random random(seed);
    const Policy policy = Parsed(policies[seed % std::size(policies)]);
    struct Wanted {
      clock::Origin origin;
      crdt::Version version;
    };
    std::vector<Wanted> all;
    for (uint64_t i = 0, n = 1 + random.Below(6); i < n; ++i) {
      Wanted& w = all.emplace_back();
      w.origin = {std::string(1, static_cast<char>('a' + random.Below(3))), i};
      w.version.hlc = clock::Hlc::FromMs(random.Below(3));
      w.version.absent = random.Percent(10);
      if (!w.version.absent) w.version.value = DrawValue(random, policy.function);
    }
    std::optional<std::string> first;
    for (int order = 0; order < 50; ++order) {
      clock::OriginTable origins;
      std::vector<crdt::Version> versions;
      for (size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[random.Below(i)]);
      for (const Wanted& w : all) origins.Intern(w.origin);
      for (size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[random.Below(i)]);
      for (const Wanted& w : all) {
        versions.push_back(w.version);
        versions.back().dot = clock::Dot(*origins.Find(w.origin), 7);
      }
      const View view = Resolve(policy, {}, versions, origins);
      std::string text = "nothing";
      if (view.kind == View::Kind::kMerged) text = "merged " + view.merged;
      if (view.kind == View::Kind::kValue) text = "value " + versions[view.index].value;
      text += " of " + std::to_string(view.distinct);
      if (!first) {
        first = text;
        merged += view.kind == View::Kind::kMerged ? 1 : 0;
      }
      ASSERT_EQ(text, *first) << "seed " << seed;
    }
    seen.insert(*first);
  }
  EXPECT_GT(merged, 3000U);
  EXPECT_GT(seen.size(), 1000U);
}

// MIN, MAX and UNION know nothing but values: what two leaders write down of parts is what they would show of all.
TEST(MergeLaws, OfValuesAlone) {
  base::Random random(3);
  auto unite = [](std::vector<std::string> values) {
    std::vector<MergeValue> all;
    for (const std::string& v : values) all.push_back({v, all.size()});
    return MergeUnion(all, ",");
  };
  for (int i = 0; i < 20'000; ++i) {
    const std::string a = DrawValue(random, MergeFunction::kUnion);
    const std::string b = DrawValue(random, MergeFunction::kUnion);
    const std::string c = DrawValue(random, MergeFunction::kUnion);
    EXPECT_EQ(unite({a, b}), unite({b, a}));
    EXPECT_EQ(unite({unite({a, b}), c}), unite({a, unite({b, c})}));
    EXPECT_EQ(unite({a, unite({a, b})}), unite({a, b}));
    for (MergeFunction f : {MergeFunction::kMin, MergeFunction::kMax}) {
      auto best = [&](const std::string& x, const std::string& y) { return LosesExtreme(f, x, y) ? y : x; };
      const std::string x = DrawValue(random, f);
      const std::string y = DrawValue(random, f);
      const std::string z = DrawValue(random, f);
      EXPECT_EQ(best(x, y), best(y, x)) << x << " " << y;
      EXPECT_EQ(best(best(x, y), z), best(x, best(y, z))) << x << " " << y << " " << z;
      EXPECT_EQ(best(x, x), x);
    }
  }
}

// ---- fields

TEST(FieldPolicies, AFieldsOwnCountsBeforeThatOfTheKey) {
  PolicyTable table;
  EXPECT_TRUE(table.empty());
  table.Set("user:*", Parsed("siblings"));
  table.Set("user:1", Parsed("priority eu"));
  table.SetField("user:*", "high", Parsed("merge MAX"));
  table.SetField("*", "high", Parsed("merge MIN"));
  table.SetField("*", "tags", Parsed("merge UNION"));
  EXPECT_EQ(table.size(), 5U);
  EXPECT_EQ(table.ForField("user:1", "high").ToString(), "merge MAX");
  EXPECT_EQ(table.ForField("team:1", "high").ToString(), "merge MIN");
  EXPECT_EQ(table.ForField("user:1", "tags").ToString(), "merge UNION");
  EXPECT_EQ(table.ForField("user:1", "name").ToString(), "priority eu");
  EXPECT_EQ(table.ForField("user:2", "name").ToString(), "siblings");
  EXPECT_EQ(table.ForField("team:1", "HIGH").ToString(), "lww");
  EXPECT_EQ(table.For("user:2").ToString(), "siblings");
  table.SetField("user:*", "high", Parsed("lww"));
  EXPECT_EQ(table.size(), 5U) << "set again, not beside";
  EXPECT_EQ(table.ForField("user:1", "high").ToString(), "lww");
  PolicyTable other = table;
  EXPECT_TRUE(table.SameRules(other));
  other.SetField("*", "tags", Parsed("lww"));
  EXPECT_FALSE(table.SameRules(other));
  table.clear();
  EXPECT_TRUE(table.empty());
}

TEST(FieldPolicies, WhatStandsInAnOrderIsDecidedByTime) {
  PolicyTable table;
  table.Set("*", Parsed("merge CONCAT"));
  table.SetField("*", "f", Parsed("merge MAX"));
  using crdt::Type;
  EXPECT_EQ(table.ForRegister("k", Type::kString, "").ToString(), "merge CONCAT");
  EXPECT_EQ(table.ForRegister("k", Type::kHash, "f").ToString(), "merge MAX");
  EXPECT_EQ(table.ForRegister("k", Type::kHash, "g").ToString(), "merge CONCAT");
  for (Type type : {Type::kList, Type::kSet, Type::kSortedSet, Type::kStream})
    EXPECT_EQ(table.ForRegister("k", type, "f").ToString(), "lww");
  table.Set("*", Parsed("priority eu"));
  EXPECT_EQ(table.ForRegister("k", Type::kList, "f").ToString(), "priority eu");
}

TEST(FieldPolicies, PlacesComeBack) {
  for (const FieldPolicyPlace& place : {FieldPolicyPlace{"user:*", "age"}, FieldPolicyPlace{"a/1", "b/2"},
                                        FieldPolicyPlace{"*", ""}, FieldPolicyPlace{"12/3", "/"}}) {
    std::string key = place.Key();
    ASSERT_TRUE(key.starts_with(kFieldPolicyPrefix));
    auto back = FieldPolicyPlace::Parse(std::string_view(key).substr(kFieldPolicyPrefix.size()));
    ASSERT_TRUE(back) << key;
    EXPECT_EQ(back->pattern, place.pattern);
    EXPECT_EQ(back->field, place.field);
  }
  for (const char* bad : {"", "3", "3/ab", "3/abc", "-1/abc", "1/abc", "x/abc", "99999999999999999999/a/b"})
    EXPECT_FALSE(FieldPolicyPlace::Parse(bad)) << bad;
}

}  // namespace
}  // namespace polyarch::conflict
