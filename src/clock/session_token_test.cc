#include "clock/session_token.h"

#include <gtest/gtest.h>

#include "base/base64.h"

namespace polyarch::clock {
namespace {

SessionToken Some() {
  return {.cluster = 0x1122334455667788,
          .entries = {{{"eu", 0x3f2a9c0d11223344}, 91}, {{"us", 1}, (uint64_t{1} << 48) - 1}}};
}

TEST(SessionToken, ComesBack) {
  const auto back = ParseSessionToken(EncodeSessionToken(Some()));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->cluster, Some().cluster);
  EXPECT_EQ(back->entries, Some().entries);
  const auto empty = ParseSessionToken(EncodeSessionToken({.cluster = 7}));
  ASSERT_TRUE(empty);
  EXPECT_TRUE(empty->entries.empty());
}

TEST(SessionToken, IsSafeInUrlsAndCookies) {
  for (uint64_t i = 0; i < 300; ++i) {
    const std::string text = EncodeSessionToken({.cluster = i * 0x9e3779b97f4a7c15});
    EXPECT_EQ(text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"),
              std::string::npos)
        << text;
  }
}

TEST(SessionToken, OfFiftyLeadersIsAboutAKilobyte) {
  SessionToken token;
  for (int i = 0; i < 50; ++i)
    token.entries.push_back({{"dc" + std::to_string(i), 0x0123456789abcdefULL * static_cast<uint64_t>(i)}, 1'000'000});
  EXPECT_LT(EncodeSessionToken(token).size(), 1200U);
}

TEST(SessionToken, DamageIsNoticed) {
  const std::string text = EncodeSessionToken(Some());
  for (size_t i = 0; i < text.size(); ++i) {
    EXPECT_FALSE(ParseSessionToken(text.substr(0, i))) << i;
    std::string damaged = text;
    damaged[i] = damaged[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(ParseSessionToken(damaged)) << i;
    damaged[i] = '=';
    EXPECT_FALSE(ParseSessionToken(damaged)) << i;
  }
  EXPECT_FALSE(ParseSessionToken(text + "A"));
  EXPECT_FALSE(ParseSessionToken(text + text));
  EXPECT_FALSE(ParseSessionToken(""));
  EXPECT_FALSE(ParseSessionToken("token"));
}

TEST(SessionToken, ASequenceOfZeroIsNone) {
  EXPECT_FALSE(ParseSessionToken(EncodeSessionToken({.cluster = 1, .entries = {{{"eu", 1}, 0}}})));
}

}  // namespace
}  // namespace polyarch::clock
