// What is decided, laid over a keyspace.
#include "keyspace/decided.h"

#include <set>

#include <gtest/gtest.h>

namespace polyarch::keyspace {
namespace {

class Decided : public testing::Test {
 protected:
  void Put(const std::string& key, const std::string& value) {
    crdt::KeyState state;
    state.versions.push_back(
        {.dot = {own, ++sequence}, .hlc = clock::Hlc{sequence}, .value = value});
    keys.Restore(keys.Ref(0, key), state);
  }
  std::string Get(const std::string& key, uint8_t db = 0) {
    const Shown shown = keys.Read(keys.Ref(db, key));
    return shown.exists() ? std::string(shown.value) : "(nothing)";
  }
  std::multiset<std::string> Scanned(size_t count) {
    std::multiset<std::string> found;
    uint64_t cursor = 0;
    do {
      cursor = keys.Scan(0, cursor, count, [&](std::string_view key) { found.emplace(key); });
    } while (cursor != 0);
    return found;
  }
  static PlainValue Text(const std::string& text) {
    PlainValue value;
    value.text = text;
    return value;
  }
  clock::OriginTable origins;
  conflict::PolicyTable policies;
  Keyspace keys{origins, policies, {1, 2}};
  DecidedView view{{3, 4}};
  clock::OriginIndex own = origins.Intern({"eu", 1});
  uint64_t sequence = 0;
};

TEST_F(Decided, TakesMemory) {
  keys.SetDecided(&view);
  view.Set(0, "k", Text(std::string(1000, 'x')), crdt::kNever);
  EXPECT_GE(keys.MemoryOf(keys.Ref(0, "k")), 1000U);
  EXPECT_EQ(keys.MemoryOf(keys.Ref(0, "none")), 0U);
}

TEST_F(Decided, IsShownInsteadOfWhatLiesBeneath) {
  Put("a", "ordinary");
  Put("b", "ordinary");
  Put("c", "ordinary");
  keys.SetDecided(&view);
  view.Set(0, "a", Text("decided"), crdt::kNever);
  view.Set(0, "b", std::nullopt, crdt::kNever);
  view.Set(0, "d", Text("decided"), crdt::kNever);
  view.Set(1, "c", Text("elsewhere"), crdt::kNever);
  EXPECT_EQ(Get("a"), "decided");
  EXPECT_EQ(Get("b"), "(nothing)");
  EXPECT_EQ(Get("c"), "ordinary");
  EXPECT_EQ(Get("d"), "decided");
  EXPECT_EQ(Get("c", 1), "elsewhere");
  EXPECT_EQ(keys.Size(0), 3U);
  EXPECT_EQ(keys.Size(1), 1U);
  for (size_t count : {1, 2, 100})
    EXPECT_EQ(Scanned(count), (std::multiset<std::string>{"a", "c", "d"})) << count;
  std::set<std::string> random;
  for (uint64_t i = 0; i < 200; ++i)
    random.insert(keys.RandomKey(0, i * 0x9e3779b97f4a7c15).value_or("(none)"));
  EXPECT_EQ(random, (std::set<std::string>{"a", "c", "d"}));
  view.Erase(0, "a");
  view.Erase(0, "b");
  EXPECT_EQ(Get("a"), "ordinary");
  EXPECT_EQ(Get("b"), "ordinary");
}

TEST_F(Decided, IsNoPartOfTheDigest) {
  Put("a", "ordinary");
  const base::Digest128 before = keys.Digest();
  keys.SetDecided(&view);
  view.Set(0, "a", Text("decided"), crdt::kNever);
  EXPECT_EQ(keys.Digest(), before);
}

TEST_F(Decided, EndsWithItsTime) {
  keys.SetDecided(&view);
  view.Set(0, "a", Text("decided"), 1000);
  keys.SetTime(1000);
  EXPECT_EQ(Get("a"), "decided");
  keys.SetTime(1001);
  EXPECT_EQ(Get("a"), "(nothing)");
  EXPECT_TRUE(Scanned(10).empty());
}

TEST_F(Decided, HashesAreRead) {
  PlainValue hash;
  hash.type = crdt::Type::kHash;
  hash.fields = {{"f", "1"}, {"g", "two"}};
  keys.SetDecided(&view);
  view.Set(0, "h", hash, 5000);
  const PlainShown shown = ReadPlain(keys, keys.Ref(0, "h"));
  EXPECT_EQ(shown.kind, PlainShown::Kind::kValue);
  EXPECT_EQ(shown.value, hash);
  EXPECT_EQ(shown.expire_ms, 5000);
  view.Set(0, "h", Text("now a string"), crdt::kNever);
  EXPECT_EQ(Get("h"), "now a string");
}

TEST(PlainValue, ComesBackAndNothingElseDoes) {
  PlainValue hash;
  hash.type = crdt::Type::kHash;
  hash.fields = {{"", "x"}, {"f", "1"}};
  PlainValue text;
  text.text = std::string("a\0b", 3);
  for (const PlainValue& value : {hash, text}) {
    const std::string bytes = Encode(value);
    PlainValue back;
    ASSERT_TRUE(Decode(bytes, back));
    EXPECT_EQ(back, value);
    for (size_t n = 0; n < bytes.size(); ++n)
      EXPECT_FALSE(Decode(bytes.substr(0, n), back));
    EXPECT_FALSE(Decode(bytes + "x", back));
  }
  PlainValue twice = hash;
  twice.fields = {{"f", "1"}, {"f", "2"}};
  PlainValue back;
  EXPECT_FALSE(Decode(Encode(twice), back));
}

}  // namespace
}  // namespace polyarch::keyspace
