#include "server/join_watch.h"

#include <gtest/gtest.h>

namespace polyarch::server {
namespace {

TEST(JoinWatch, SaysWhyOfEachAddressNowAndThen) {
  JoinWatch watch({"a:1", "b:2", "c:3", "me:4", "d:5"}, "me:4");
  EXPECT_TRUE(watch.Due(1'000'000).empty()) << "the first try may fail";
  watch.DialFailed("a:1", "Connection refused");
  watch.DialFailed("elsewhere:1", "Connection refused");
  watch.LinkUp(7, "b:2");
  watch.LinkDown(7);
  watch.LinkUp(8, "c:3");  // silent
  watch.LinkUp(9, "d:5");
  watch.Heard(9);
  watch.LinkUp(10, "elsewhere:1");
  watch.LinkDown(10);
  EXPECT_TRUE(watch.Due(2'500'000).empty());
  const std::vector<std::string> lines = watch.Due(3'000'000);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0], "cannot join: a:1: connection refused");
  EXPECT_NE(lines[1].find("cannot join: b:2: speaks no peer protocol (a client or HTTP port?"), std::string::npos);
  EXPECT_NE(lines[2].find("cannot join: c:3: speaks no peer protocol"), std::string::npos);
  EXPECT_NE(lines[3].find("own address"), std::string::npos);
  EXPECT_TRUE(watch.Due(62'000'000).empty());
  watch.LinkDown(9);
  watch.LinkUp(11, "a:1");
  watch.Heard(11);
  const std::vector<std::string> later = watch.Due(63'000'000);
  ASSERT_EQ(later.size(), 4u);
  EXPECT_NE(later[2].find("cannot join: d:5: the link is ended at once"), std::string::npos);
}

TEST(JoinWatch, WhatTlsRefusesIsToldAsSuch) {
  JoinWatch watch({"a:1"}, "own:1");
  EXPECT_TRUE(watch.Due(0).empty());
  watch.LinkUp(1, "a:1");
  watch.Refused("a:1", "the other end refuses");
  watch.LinkDown(1);
  EXPECT_EQ(watch.Due(3'000'000), std::vector<std::string>{"cannot join: a:1: the other end refuses"});
}

}  // namespace
}  // namespace polyarch::server
