#include "moving/moving.h"

#include <thread>

#include <gtest/gtest.h>

#include "moving/expiry.h"
#include "moving/export_form.h"
#include "moving/link.h"
#include "moving/progress.h"
#include "moving/spool.h"
#include "moving/verify.h"

namespace polyarch::moving {
namespace {

constexpr int64_t kNow = 1'800'000'000'000;

std::vector<std::string> Later(std::initializer_list<std::string_view> words) {
  return WithLaterExpiry({words.begin(), words.size()}, kNow).value_or(std::vector<std::string>{});
}

TEST(Expiry, CommandsGetLaterInstants) {
  const std::string later = std::to_string(LaterExpiry(kNow + 5000));
  EXPECT_EQ(TrueExpiry(LaterExpiry(kNow + 5000)), kNow + 5000);
  EXPECT_EQ(TrueExpiry(kNow + 5000), std::nullopt);
  EXPECT_EQ(TrueExpiry(-1), std::nullopt);
  // What others give, however late, is theirs; and what is past stays so.
  constexpr int64_t kYear3000 = 32'503'680'000'000;
  EXPECT_EQ(TrueExpiry(kYear3000), std::nullopt);
  EXPECT_EQ(TrueExpiry(LaterExpiry(kYear3000)), kYear3000);
  EXPECT_EQ(TrueExpiry(LaterExpiry(int64_t{1} << 60)), int64_t{1} << 60);
  EXPECT_EQ(TrueExpiry(LaterExpiry(-5)), 0);
  EXPECT_GT(TrueExpiry(LaterExpiry(INT64_MAX)), int64_t{1} << 62);
  const std::string ms = std::to_string(kNow + 5000);
  const std::string s = std::to_string(kNow / 1000 + 5);
  const std::vector<std::string> expire = {"PEXPIREAT", "k", later};
  EXPECT_EQ(Later({"PEXPIREAT", "k", ms}), expire);
  EXPECT_EQ(Later({"expireat", "k", s}), expire);
  EXPECT_EQ(Later({"EXPIRE", "k", "5"}), expire);
  EXPECT_EQ(Later({"PEXPIRE", "k", "5000"}), expire);
  const std::vector<std::string> set = {"SET", "k", "v", "PXAT", later};
  EXPECT_EQ(Later({"SET", "k", "v", "PXAT", ms}), set);
  EXPECT_EQ(Later({"SET", "k", "v", "EXAT", s}), set);
  EXPECT_EQ(Later({"SET", "k", "v", "ex", "5"}),
            (std::vector<std::string>{"SET", "k", "v", "PXAT", later}));
  EXPECT_EQ(Later({"SETEX", "k", "5", "v"}), set);
  EXPECT_EQ(Later({"PSETEX", "k", "5000", "v"}), set);
  EXPECT_EQ(Later({"RESTORE", "k", ms, "x", "ABSTTL"}),
            (std::vector<std::string>{"RESTORE", "k", later, "x", "ABSTTL"}));
  EXPECT_EQ(Later({"RESTORE", "k", "5000", "x", "REPLACE"}),
            (std::vector<std::string>{"RESTORE", "k", later, "x", "REPLACE", "ABSTTL"}));
  // What sets none.
  for (const auto& words :
       std::initializer_list<std::initializer_list<std::string_view>>{{"SET", "k", "EX"},
                                                                      {"SET", "k", "v", "KEEPTTL"},
                                                                      {"RESTORE", "k", "0", "x"},
                                                                      {"PERSIST", "k"},
                                                                      {"GET"},
                                                                      {"PEXPIREAT", "k", "x"}})
    EXPECT_TRUE(Later(words).empty());
}

TEST(Expiry, ConditionsGo) {
  using Words = std::vector<std::string_view>;
  const auto plain = [](const Words& words) {
    return Unconditional(words);
  };
  EXPECT_EQ(plain({"set", "NX", "nx", "PXAT", "7", "nx", "GET"}),
            (Words{"set", "NX", "nx", "PXAT", "7", "GET"}));
  EXPECT_EQ(plain({"SET", "k", "v"}), (Words{"SET", "k", "v"}));
  EXPECT_EQ(plain({"SETNX", "k", "v"}), (Words{"SET", "k", "v"}));
  EXPECT_EQ(plain({"MSETNX", "k", "v", "l", "w"}), (Words{"MSET", "k", "v", "l", "w"}));
  EXPECT_EQ(plain({"HSETNX", "k", "f", "v"}), (Words{"HSET", "k", "f", "v"}));
  EXPECT_EQ(plain({"RENAMENX", "k", "l"}), (Words{"RENAME", "k", "l"}));
  EXPECT_EQ(plain({"PEXPIREAT", "k", "7", "GT"}), (Words{"PEXPIREAT", "k", "7"}));
  EXPECT_EQ(plain({"RESTORE-ASKING", "k", "0", "x"}), (Words{"RESTORE", "k", "0", "x", "REPLACE"}));
  EXPECT_EQ(plain({"RESTORE", "k", "0", "x", "replace", "ABSTTL"}),
            (Words{"RESTORE", "k", "0", "x", "replace", "ABSTTL"}));
  EXPECT_EQ(plain({"COPY", "k", "REPLACE"}), (Words{"COPY", "k", "REPLACE", "REPLACE"}));
  EXPECT_EQ(plain({"COPY", "k", "l", "DB", "3", "REPLACE"}),
            (Words{"COPY", "k", "l", "DB", "3", "REPLACE"}));
  EXPECT_EQ(plain({"ZADD", "k", "NX", "1", "m"}), (Words{"ZADD", "k", "NX", "1", "m"}));
  EXPECT_EQ(plain({"RESTORE", "k"}), (Words{"RESTORE", "k"}));
}

TEST(Address, HostAndPortOrUri) {
  cli::Target target;
  ASSERT_TRUE(ParseAddress("example:7001", target).ok());
  EXPECT_EQ(target.host, "example");
  EXPECT_EQ(target.port, 7001);
  ASSERT_TRUE(ParseAddress("redis://u:p@h:1/3", target).ok());
  EXPECT_EQ(target.user, "u");
  EXPECT_EQ(target.database, 3);
  EXPECT_FALSE(ParseAddress("h:99999", target).ok());
}

TEST(Spool, GivesWhatWasPutIn) {
  auto made = Spool::Create("/tmp");
  ASSERT_TRUE(made.ok()) << made.status().message();
  Spool& spool = **made;
  char buffer[1 << 16];
  auto none = spool.Read(buffer, sizeof buffer, 1);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(*none, 0U);
  // More than is kept behind the reader.
  constexpr size_t kAll = 50 << 20;
  std::thread writer([&] {
    std::string part(123'457, '\0');
    for (size_t at = 0; at < kAll; at += part.size()) {
      for (size_t i = 0; i < part.size(); ++i)
        part[i] = static_cast<char>((at + i) * 7 >> 3);
      ASSERT_TRUE(spool.Append(part).ok());
    }
    spool.End(base::IoError("the end"), /*at_once=*/false);
  });
  size_t at = 0;
  bool right = true;
  for (;;) {
    auto read = spool.Read(buffer, sizeof buffer, 1000);
    if (!read.ok()) {
      EXPECT_EQ(read.status().message(), "the end");
      break;
    }
    for (size_t i = 0; i < *read; ++i)
      right = right && buffer[i] == static_cast<char>((at + i) * 7 >> 3);
    at += *read;
  }
  writer.join();
  EXPECT_TRUE(right);
  EXPECT_GE(at, kAll);
  // A reader that read too far goes back.
  spool.Seek(at - 100);
  EXPECT_EQ(*spool.Read(buffer, sizeof buffer, 1), 100U);
  EXPECT_FALSE(Spool::Create("/no/such/directory").ok());
}

rdb::Value Of(crdt::Type type) {
  rdb::Value value;
  value.type = type;
  return value;
}

TEST(Difference, OrderCountsWhereItMeansSomething) {
  rdb::Value a = Of(crdt::Type::kList);
  rdb::Value b = a;
  a.items = {"x", "y"};
  b.items = {"y", "x"};
  EXPECT_EQ(DifferenceOf(a, b), "the elements differ");
  a.type = b.type = crdt::Type::kSet;
  EXPECT_EQ(DifferenceOf(a, b), "");
  b.items[0] = "z";
  EXPECT_EQ(DifferenceOf(a, b), "the members differ");
  b.type = crdt::Type::kList;
  EXPECT_EQ(DifferenceOf(a, b), "the types differ");
  a = Of(crdt::Type::kSortedSet);
  b = a;
  a.members = {{"x", 1}, {"y", 2}};
  b.members = {{"y", 2}, {"x", 1}};
  EXPECT_EQ(DifferenceOf(a, b), "");
  b.members[0].second = 2.5;
  EXPECT_EQ(DifferenceOf(a, b), "the members or scores differ");
}

TEST(Difference, OfStreams) {
  rdb::Value a = Of(crdt::Type::kStream);
  a.stream.entries = {{{1, 1}, {"f", "v"}}};
  a.stream.last = {1, 1};
  a.stream.added = 1;
  rdb::StreamValue::Group group{.name = "g",
                                .last = {1, 1},
                                .entries_read = 1,
                                .consumers = {{"c", 5}},
                                .pending = {{{1, 1}, "c", 9, 1}}};
  a.stream.groups = {group};
  rdb::Value b = a;
  b.stream.groups[0].consumers[0].seen_ms = 700;
  b.stream.groups[0].entries_read = -1;
  b.stream.groups[0].pending[0].delivered_ms = 1009;
  EXPECT_EQ(DifferenceOf(a, b), "");
  b.stream.groups[0].pending[0].delivered_ms = 1010;
  EXPECT_EQ(DifferenceOf(a, b), "group g: what is pending differs");
  b.stream.groups[0].pending[0].delivered_ms = 9;
  b.stream.groups[0].pending[0].count = 2;
  EXPECT_EQ(DifferenceOf(a, b), "group g: what is pending differs");
  b = a;
  b.stream.groups[0].last = {0, 5};
  EXPECT_EQ(DifferenceOf(a, b), "group g: the last id is 1-1 at the source, 0-5 at the leader");
  b = a;
  b.stream.entries[0].fields[1] = "w";
  EXPECT_EQ(DifferenceOf(a, b), "the entries differ");
}

resp::Value Text(std::string text) {
  resp::Value value;
  value.text = std::move(text);
  return value;
}

// What cannot be read is told, in both forms, and nothing is made of it.
TEST(Form, DumpsThatAreNotReadable) {
  rdb::Value value = Of(crdt::Type::kString);
  value.text = "v";
  const std::string good = rdb::WriteDump(value);
  std::string bad = good;
  bad[1] ^= 1;
  for (const auto& make : {+[] { return MakeRdbForm(kNow, "/tmp"); },
                           +[] {
                             return MakeCommandsForm();
                           }}) {
    const std::unique_ptr<Form> form = make();
    static_cast<void>(form->Take());
    for (const std::string& payload : {bad, std::string(), good.substr(2)}) {
      EXPECT_FALSE(form->Key("k", payload, std::nullopt));
      EXPECT_FALSE(form->Libraries(payload));
    }
    EXPECT_EQ(form->size(), 0U);
    EXPECT_TRUE(form->Key("k", good, kNow));
    EXPECT_GT(form->size(), 0U);
  }
}

// A large collection that is begun anew.
TEST(Form, WhatIsDroppedIsNotThere) {
  const std::unique_ptr<Form> rdb = MakeRdbForm(kNow, "/tmp");
  const auto flush = []() -> base::Status {
    return {};
  };
  static_cast<void>(rdb->Take());
  ASSERT_TRUE(rdb->BeginLarge("k", "list").ok());
  ASSERT_TRUE(rdb->Elements({Text("dropped")}).ok());
  rdb->DropLarge();
  EXPECT_EQ(rdb->size(), 0U);
  ASSERT_TRUE(rdb->BeginLarge("k", "list").ok());
  ASSERT_TRUE(rdb->Elements({Text("kept")}).ok());
  ASSERT_TRUE(rdb->EndLarge(std::nullopt, flush).ok());
  const std::string file = rdb->Take();
  EXPECT_NE(file.find("kept"), std::string::npos);
  EXPECT_EQ(file.find("dropped"), std::string::npos);
  const std::unique_ptr<Form> commands = MakeCommandsForm();
  ASSERT_TRUE(commands->BeginLarge("k", "set").ok());
  ASSERT_TRUE(commands->Elements({Text("dropped")}).ok());
  commands->DropLarge();
  EXPECT_TRUE(commands->Take().ends_with("*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n"));
}

TEST(PartSize, FollowsTheElements) {
  PartSize size;
  EXPECT_LE(size.elements(), 2);
  for (int i = 0; i < 20; ++i)
    size.Came({Text("small")});
  EXPECT_EQ(size.elements(), 2000);
  resp::Value nested;
  nested.items = {Text(std::string(9 << 20, 'x'))};
  size.Came({nested});
  EXPECT_EQ(size.elements(), 1000);
  for (int i = 0; i < 20; ++i)
    size.Came({nested});
  EXPECT_EQ(size.elements(), 1);
}

TEST(Progress, Bars) {
  EXPECT_EQ(Bar(50, 100), "[##########..........] 50 %");
  EXPECT_EQ(Bar(5, 0), "");
}

TEST(Moving, KnowsItsSubcommands) {
  EXPECT_TRUE(IsSubcommand("import"));
  EXPECT_TRUE(IsSubcommand("export"));
  EXPECT_FALSE(IsSubcommand("status"));
}

}  // namespace
}  // namespace polyarch::moving
