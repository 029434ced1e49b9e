#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/base64.h"
#include "base/codec.h"
#include "base/crc32c.h"
#include "base/glob.h"
#include "base/hash.h"
#include "base/number.h"
#include "base/random.h"

namespace polyarch::base {
namespace {

TEST(Codec, VarintsComeBack) {
  for (uint64_t v : {uint64_t{0}, uint64_t{127}, uint64_t{128}, uint64_t{1} << 63, ~uint64_t{0}}) {
    std::string out;
    PutVarint(out, v);
    EXPECT_EQ(out.size(), VarintSize(v));
    Reader reader(out);
    EXPECT_EQ(reader.Varint(), v);
    EXPECT_TRUE(reader.ok() && reader.empty());
    Reader cut(std::string_view(out).substr(0, out.size() - 1));
    cut.Varint();
    EXPECT_FALSE(cut.ok());
  }
}

TEST(Codec, OverlongVarintIsMalformed) {
  Reader eleven("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
  eleven.Varint();
  EXPECT_FALSE(eleven.ok());
  Reader high("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02");
  high.Varint();
  EXPECT_FALSE(high.ok());
}

TEST(Codec, LengthBeyondInputFails) {
  std::string out;
  PutVarint(out, ~uint64_t{0});
  Reader reader(out);
  EXPECT_TRUE(reader.Bytes().empty());
  EXPECT_FALSE(reader.ok());
}

TEST(Crc32c, KnownValue) {
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283U);
}

TEST(Base64, KnownValues) {
  EXPECT_EQ(Base64(""), "");
  EXPECT_EQ(Base64("f"), "Zg==");
  EXPECT_EQ(Base64("fo"), "Zm8=");
  EXPECT_EQ(Base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(Base64("\xff\xfe"), "//4=");
  EXPECT_EQ(Base64Url("\xff\xfe"), "__4");
}

TEST(Base64, ComesBackAndNothingElseDoes) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(ParseBase64Url(Base64Url(bytes)), bytes);
    bytes.push_back(static_cast<char>(i * 131));
  }
  for (const char* bad : {"A", "AB", "AAB", "Zg==", "//4=", "Zg ", "AAAAA"})
    EXPECT_FALSE(ParseBase64Url(bad)) << bad;
  EXPECT_EQ(ParseBase64Url("AAA"), std::string(2, '\0'));
}

TEST(Hash, InPartsAsAtOnce) {
  std::string bytes;
  for (int i = 0; i < 100'000; ++i)
    bytes.push_back(static_cast<char>(i * 131));
  ContentHasher128 hasher;
  EXPECT_EQ(HexDigest(hasher.Value()), "99aa06d3014798d86001c324468d497f") << "of nothing";
  for (size_t at = 0; at < bytes.size(); at += 777)
    hasher.Add(std::string_view(bytes).substr(at, 777));
  EXPECT_EQ(hasher.Value(), ContentHash128(bytes));
}

TEST(Hash, SlotsAreRedis) {
  EXPECT_EQ(KeySlot("123456789"), 12739);
  EXPECT_EQ(KeySlot("a{x}b"), KeySlot("x"));
  EXPECT_NE(KeySlot("a{}b"), KeySlot(""));
}

// By trying everything: which prefixes of the text what has been read of the pattern matches.
bool MatchesSlowly(std::string_view pattern, std::string_view text) {
  if (text.empty()) return pattern.empty();
  std::vector<bool> ends(text.size() + 1);
  ends[0] = true;
  for (size_t p = 0; p < pattern.size();) {
    std::vector<bool> next(text.size() + 1);
    size_t end = p + 1;
    if (pattern[p] == '[') end = pattern.find(']', p) + 1;
    if (pattern[p] == '\\') end = p + 2;
    for (size_t t = 0; t <= text.size(); ++t) {
      if (pattern[p] == '*') {
        next[t] = ends[t] || (t > 0 && next[t - 1]);
      } else if (t > 0 && ends[t - 1]) {
        next[t] = GlobMatch(pattern.substr(p, end - p), text.substr(t - 1, 1));
      }
    }
    ends = next;
    p = end;
  }
  return ends[text.size()];
}

TEST(Glob, LongOnesMatchAsIfAllWasTried) {
  Random random(7);
  int matches = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string text;
    for (uint64_t n = random.Below(400); n > 0; --n)
      text += "aaaaaaab"[random.Below(8)];
    // Cut from the text, so that it may match, with parts of it hidden.
    std::string pattern;
    for (size_t t = 0; t < text.size();) {
      const size_t size = std::min<size_t>(1 + random.Below(round % 2 == 0 ? 12 : 150), text.size() - t);
      if (random.Below(3) == 0) {
        pattern += '*';
      } else {
        for (char c : text.substr(t, size)) {
          const uint64_t form = random.Below(20);
          pattern += form == 0 ? "?" : form == 1 ? "[ab]" : form == 2 ? "[^b]" : form == 3 ? std::string("\\") + c : std::string(1, c);
        }
      }
      t += size;
    }
    if (random.Below(4) == 0) pattern += '*';
    const bool expected = MatchesSlowly(pattern, text);
    matches += expected ? 1 : 0;
    ASSERT_EQ(GlobMatch(pattern, text), expected) << pattern << " " << text;
  }
  EXPECT_GT(matches, 400);
  EXPECT_LT(matches, 3600);
}

TEST(Number, WhatIsWrittenCanBeRead) {
  const long double large = 2e300L;
  EXPECT_EQ(ParseLongDouble(FormatLongDouble(large)), large);
  const long double largest = std::numeric_limits<long double>::max();
  EXPECT_EQ(ParseLongDouble(FormatLongDouble(largest)), largest);
  EXPECT_EQ(ParseLongDouble("0.5" + std::string(5116, '0')), 0.5L);
  EXPECT_FALSE(ParseLongDouble("0.5" + std::string(5117, '0')));
}

TEST(Number, BeyondTheTypeIsNoInfinity) {
  for (const char* beyond : {"1e5000", "-1e5000", "1e4933"}) {
    EXPECT_FALSE(ParseLongDouble(beyond)) << beyond;
    EXPECT_FALSE(ParseLongDouble(beyond, /*allow_inf=*/true)) << beyond;
  }
  EXPECT_EQ(ParseLongDouble("-inf", /*allow_inf=*/true), -std::numeric_limits<long double>::infinity());
  EXPECT_EQ(ParseLongDouble("Infinity", /*allow_inf=*/true), std::numeric_limits<long double>::infinity());
  EXPECT_FALSE(ParseLongDouble("inf"));
}

TEST(Glob, Patterns) {
  for (const char* pattern : {"*", "**", "?*", "a"})
    EXPECT_FALSE(GlobMatch(pattern, "")) << pattern;
  EXPECT_TRUE(GlobMatch("", ""));
  EXPECT_FALSE(GlobMatch("", "a"));
  EXPECT_TRUE(GlobMatch("a**", "a"));
  EXPECT_TRUE(GlobMatch("a*c", "abbbc"));
  EXPECT_FALSE(GlobMatch("a*c", "abbb"));
  EXPECT_TRUE(GlobMatch("h[^e]llo", "hallo"));
  EXPECT_FALSE(GlobMatch("h[^e]llo", "hello"));
  EXPECT_TRUE(GlobMatch("h[a-c]llo", "hbllo"));
  EXPECT_TRUE(GlobMatch("a\\*", "a*"));
  EXPECT_FALSE(GlobMatch("a\\*", "ab"));
  EXPECT_TRUE(GlobMatch("ABC*", "abcd", true));
  EXPECT_FALSE(GlobMatch("?", ""));
  std::string evil;
  for (int i = 0; i < 500; ++i)
    evil += "a*";
  EXPECT_FALSE(GlobMatch(evil + "b", std::string(100000, 'a')));
  EXPECT_TRUE(GlobMatch("*" + std::string(100, 'a') + "b", std::string(1000, 'a') + "b"));
  EXPECT_TRUE(GlobMatch("*" + std::string(30'000, 'a') + "?b*c", std::string(65'000, 'a') + "b..c"));
  EXPECT_FALSE(GlobMatch("*" + std::string(30'000, 'a') + "?b*c", std::string(65'000, 'a') + "b.."));
  EXPECT_EQ(GlobLiteralSize("user:*"), 5U);
  EXPECT_EQ(GlobLiteralSize("a\\[bc"), 4U);
  EXPECT_EQ(GlobLiteralSize("a[x\\]y]c?"), 2U);
}

TEST(Number, StrictIntegers) {
  EXPECT_EQ(ParseInt64("-9223372036854775808"), INT64_MIN);
  for (const char* bad : {"", "-", "01", "+1", " 1", "1 ", "-0", "9223372036854775808", "1e3"}) {
    EXPECT_FALSE(ParseInt64(bad)) << bad;
  }
  EXPECT_EQ(FormatInt64(INT64_MIN), "-9223372036854775808");
  EXPECT_EQ(FormatLongDouble(*ParseLongDouble("0.1") + *ParseLongDouble("0.2")), "0.3");
  EXPECT_FALSE(ParseLongDouble("nan"));
  EXPECT_FALSE(ParseLongDouble("0x10"));
  EXPECT_FALSE(CheckedAdd(INT64_MAX, 1));
}

}  // namespace
}  // namespace polyarch::base
