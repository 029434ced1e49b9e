#include <algorithm>
#include <fstream>
#include <optional>
#include <set>

#include <gtest/gtest.h>

#include "command/command_test_env.h"
#include "command/docs.h"
#include "command/support.h"
#include "rdb/value.h"

namespace polyarch::command {
namespace {

using crdt::EffectKind;

std::string_view NameOf(std::initializer_list<std::string_view> args) {
  std::vector<std::string_view> list(args);
  const Row* row = Table::Instance().Find(list);
  return row == nullptr ? "none" : row->name;
}

// ---- the table

TEST(Table, FindsInAnyCase) {
  EXPECT_EQ(NameOf({"get"}), "get");
  EXPECT_EQ(NameOf({"GeT", "k"}), "get");
  EXPECT_EQ(NameOf({"INCRBYFLOAT"}), "incrbyfloat");
  EXPECT_EQ(NameOf({"CONFIG", "GET", "x"}), "config|get");
  EXPECT_EQ(NameOf({"client", "No-Evict"}), "client|no-evict");
  EXPECT_EQ(NameOf({"config"}), "config");
}

TEST(Table, FindsNothingElse) {
  bool container = true;
  std::vector<std::string_view> args{"nosuch"};
  EXPECT_EQ(Table::Instance().Find(args, &container), nullptr);
  EXPECT_FALSE(container);
  args = {"config", "nosuch"};
  EXPECT_EQ(Table::Instance().Find(args, &container), nullptr);
  EXPECT_TRUE(container);
  EXPECT_EQ(NameOf({""}), "none");
  EXPECT_EQ(NameOf({std::string_view("get\0", 4)}), "none");
  EXPECT_EQ(NameOf({"g\x05t"}), "none");  // differs from "get" by the bit of the case
  EXPECT_EQ(NameOf({std::string_view("GET\x00\x00\x00\x00\x00x", 9)}), "none");
  EXPECT_EQ(NameOf({std::string(100, 'g')}), "none");
  EXPECT_EQ(NameOf({"config|get"}), "none");
  EXPECT_EQ(Table::Instance().FindName("config|nosuch"), nullptr);
}

TEST(Table, EveryRowIsFoundByItsName) {
  std::set<std::string_view> names;
  for (const Row& row : Table::Instance().rows()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_EQ(Table::Instance().FindName(row.name), &row);
    EXPECT_EQ(Table::Instance().FindName(ToUpper(row.name)), &row);
  }
}

TEST(Table, RowsAreSound) {
  for (const Row& row : Table::Instance().rows()) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(row.name, ToLower(row.name));
    EXPECT_NE(row.arity, 0);
    EXPECT_FALSE(row.summary.empty());
    EXPECT_FALSE(row.since.empty());
    EXPECT_FALSE(row.group.empty());
    EXPECT_FALSE((row.flags & kWrite) != 0 && (row.flags & kReadonly) != 0);
    bool fast = row.categories.find("@fast") != std::string_view::npos;
    EXPECT_EQ(fast, (row.flags & kFast) != 0);
    if ((row.flags & kWrite) != 0 && !row.name.starts_with("acl|")) {  // what Redis does not write to its keyspace
      EXPECT_NE(row.categories.find("@write"), std::string_view::npos);
    }
    EXPECT_EQ(row.keys.first == 0, row.keys.step == 0);
    ParseSyntax(row.syntax);
  }
}

TEST(Table, KeyIndices) {
  auto keys_of = [](std::initializer_list<std::string_view> args) {
    std::vector<std::string_view> list(args);
    std::vector<size_t> indices;
    KeyIndices(*Table::Instance().Find(list), list, indices);
    return indices;
  };
  using Indices = std::vector<size_t>;
  EXPECT_EQ(keys_of({"get", "k"}), (Indices{1}));
  EXPECT_EQ(keys_of({"mset", "a", "1", "b", "2"}), (Indices{1, 3}));
  EXPECT_EQ(keys_of({"del", "a", "b", "c"}), (Indices{1, 2, 3}));
  EXPECT_EQ(keys_of({"rename", "a", "b"}), (Indices{1, 2}));
  EXPECT_EQ(keys_of({"object", "encoding", "k"}), (Indices{2}));
  EXPECT_EQ(keys_of({"sintercard", "2", "a", "b", "LIMIT", "1"}), (Indices{2, 3}));
  EXPECT_EQ(keys_of({"sintercard", "9", "a"}), Indices{}) << "no reading beyond them";
  EXPECT_EQ(keys_of({"sintercard", "x", "a"}), Indices{});
  EXPECT_EQ(keys_of({"ping"}), Indices{});
  EXPECT_EQ(keys_of({"sort", "k", "BY", "store", "STORE", "d"}), (Indices{1, 5}));
  EXPECT_EQ(keys_of({"sort", "k", "GET", "store:*->f", "GET", "STORE", "store", "d"}), (Indices{1, 7}));
  EXPECT_EQ(keys_of({"sort", "k", "LIMIT", "0", "store", "STORE", "d"}), (Indices{1, 6}));
  EXPECT_EQ(keys_of({"sort", "k", "STORE", "d", "STORE", "e"}), (Indices{1, 5})) << "the last counts";
  EXPECT_EQ(keys_of({"sort", "k", "STORE"}), Indices{1});
  EXPECT_EQ(keys_of({"sort", "k", "STORED", "d"}), Indices{1});
  EXPECT_EQ(keys_of({"georadiusbymember", "k", "store", "1", "m", "COUNT", "1", "STOREDIST", "d"}), (Indices{1, 8}));
  EXPECT_EQ(keys_of({"georadius", "k", "store", "store", "1", "m", "STORE", "d"}), (Indices{1, 7}));
  EXPECT_EQ(keys_of({"xread", "STREAMS", "a", "b", "0"}), Indices{2});
  EXPECT_EQ(keys_of({"get"}), Indices{});  // too few arguments: none, and no reading beyond them
}

// ---- the notation of arguments

TEST(Syntax, Reads) {
  auto list =
      ParseSyntax("key:key ip:port?* EX seconds:integer@2.6 GET? c:(NX|XX a)?~1 b:{x y:double}+");
  ASSERT_EQ(list.size(), 6U);
  EXPECT_EQ(list[0].type, "key");
  EXPECT_EQ(list[1].name, "ip:port");
  EXPECT_EQ(list[1].type, "string");
  EXPECT_TRUE(list[1].optional && list[1].multiple);
  EXPECT_EQ(list[2].token, "EX");
  EXPECT_EQ(list[2].name, "seconds");
  EXPECT_EQ(list[2].since, "2.6");
  EXPECT_EQ(list[3].type, "pure-token");
  EXPECT_TRUE(list[3].optional);
  EXPECT_EQ(list[4].type, "oneof");
  ASSERT_EQ(list[4].children.size(), 2U);
  EXPECT_EQ(list[4].children[1].token, "XX");
  EXPECT_EQ(list[4].deprecated_since, "1");
  EXPECT_EQ(list[5].type, "block");
  EXPECT_TRUE(list[5].multiple_token);
  EXPECT_TRUE(ParseSyntax("").empty());
}

TEST(Syntax, UsageForPeople) {
  EXPECT_EQ(Usage("key:key c:(NX|XX)? EX seconds:integer? kv:{k v}*"),
            "<key> [NX|XX] [EX <seconds>] <k> <v> [<k> <v> ...]");
}

// ---- dispatch

TEST(Dispatch, NothingBeforeAuthentication) {
  TestNode node;
  node.SetPassword("secret");
  Client& client = node.Connect();
  EXPECT_EQ(node.Ask(client, {"GET", "k"}), "-NOAUTH Authentication required.");
  EXPECT_EQ(node.Ask(client, {"PING"}), "-NOAUTH Authentication required.");
  EXPECT_EQ(node.Ask(client, {"NOSUCH"}),
            "-ERR unknown command 'NOSUCH', with args beginning with: ");
  EXPECT_TRUE(node.Ask(client, {"HELLO", "3"}).starts_with("-NOAUTH HELLO must be called"));
  EXPECT_EQ(client.protocol, 2);
  EXPECT_EQ(node.Ask(client, {"AUTH", "wrong"}),
            "-WRONGPASS invalid username-password pair or user is disabled.");
  EXPECT_EQ(node.Ask(client, {"AUTH", "other", "secret"}),
            "-WRONGPASS invalid username-password pair or user is disabled.");
  EXPECT_EQ(node.Ask(client, {"AUTH", "secret"}), "+OK");
  EXPECT_EQ(node.Ask(client, {"GET", "k"}), "null");
  EXPECT_EQ(node.Ask(client, {"RESET"}), "+RESET");
  EXPECT_EQ(node.Ask(client, {"GET", "k"}), "-NOAUTH Authentication required.");
  std::string hello =
      node.Ask(client, {"HELLO", "3", "AUTH", "default", "secret", "SETNAME", "me"});
  EXPECT_TRUE(hello.starts_with("{\"server\": \"redis\", \"version\": \"7.0.15\", \"proto\": 3"))
      << hello;
  EXPECT_EQ(client.name, "me");
}

TEST(Dispatch, WritesNeedPermissionReadsDoNot) {
  TestNode node;
  node.cluster.write_allowed = {base::Code::kFull, "DISKFULL no space left"};
  EXPECT_EQ(node.Ask({"SET", "k", "v"}), "-DISKFULL no space left");
  EXPECT_EQ(node.Ask({"GET", "k"}), "null");
  EXPECT_EQ(node.effects(), 0U);
}

TEST(Dispatch, LongKeysAreRefusedForWrites) {
  TestNode node;
  std::string key(65536, 'k');
  EXPECT_EQ(node.Ask({"SET", key, "v"}), "-LIMIT key longer than 65535 bytes");
  EXPECT_EQ(node.Ask({"MSET", "a", "1", key, "v"}), "-LIMIT key longer than 65535 bytes");
  EXPECT_EQ(node.effects(), 0U);
  EXPECT_EQ(node.Ask({"GET", key}), "null");
  EXPECT_EQ(node.Ask({"MSET", "a", key}), "+OK");  // a value may be that long
  // Whatever a destination stands behind.
  constexpr std::string_view kLong = "-LIMIT key longer than 65535 bytes";
  node.Ask({"RPUSH", "l", "1", "2"});
  node.Ask({"GEOADD", "g", "1", "1", "m"});
  const size_t before = node.effects();
  EXPECT_EQ(node.Ask({"SORT", "l", "STORE", key}), kLong);
  EXPECT_EQ(node.Ask({"SORT", "l", "BY", "store", "STORE", key}), kLong);
  EXPECT_EQ(node.Ask({"SORT", "l", "GET", "store", "STORE", key}), kLong);
  EXPECT_EQ(node.Ask({"SORT", "l", "BY", "nosort", "GET", "STORE", "STORE", key}), kLong);
  EXPECT_EQ(node.Ask({"GEORADIUS", "g", "1", "1", "9", "m", "STORE", key}), kLong);
  EXPECT_EQ(node.Ask({"GEORADIUSBYMEMBER", "g", "m", "9", "m", "COUNT", "1", "STOREDIST", key}), kLong);
  EXPECT_EQ(node.Ask({"GEOSEARCHSTORE", key, "g", "FROMMEMBER", "m", "BYRADIUS", "9", "m"}), kLong);
  EXPECT_EQ(node.Ask({"ZUNIONSTORE", key, "1", "g"}), kLong);
  EXPECT_EQ(node.effects(), before);
  key.pop_back();
  EXPECT_EQ(node.Ask({"SET", key, "v"}), "+OK");
}

TEST(Dispatch, ReplyOffAndSkip) {
  TestNode node;
  EXPECT_EQ(node.Ask({"CLIENT", "REPLY", "SKIP"}), "(none)");
  EXPECT_EQ(node.Ask({"PING"}), "(none)");
  EXPECT_EQ(node.Ask({"PING"}), "+PONG");
  EXPECT_EQ(node.Ask({"CLIENT", "REPLY", "OFF"}), "(none)");
  EXPECT_EQ(node.Ask({"NOSUCH"}), "(none)");
  EXPECT_EQ(node.Ask({"SET", "k", "v"}), "(none)");
  EXPECT_EQ(node.Ask({"CLIENT", "REPLY", "SKIP"}), "(none)");
  EXPECT_EQ(node.Ask({"CLIENT", "REPLY", "MAYBE"}), "(none)");
  EXPECT_EQ(node.Ask({"PING"}), "(none)");
  EXPECT_EQ(node.Ask({"CLIENT", "REPLY", "ON"}), "+OK");
  EXPECT_EQ(node.Ask({"GET", "k"}), "\"v\"");
  EXPECT_EQ(node.Ask({"CLIENT", "REPLY", "SKIP"}), "(none)");
  EXPECT_EQ(node.Ask({"CLIENT", "REPLY", "SKIP"}), "(none)");
  EXPECT_EQ(node.Ask({"CLIENT", "REPLY", "ON"}), "+OK");
  EXPECT_EQ(node.Ask({"PING"}), "+PONG");
}

TEST(Dispatch, ResetEndsReplyOffAndIsAnswered) {
  TestNode node;
  EXPECT_EQ(node.Ask({"CLIENT", "REPLY", "OFF"}), "(none)");
  EXPECT_EQ(node.Ask({"RESET"}), "+RESET");
  EXPECT_EQ(node.Ask({"PING"}), "+PONG");
  EXPECT_EQ(node.Ask({"CLIENT", "REPLY", "SKIP"}), "(none)");
  EXPECT_EQ(node.Ask({"RESET"}), "(none)");
  EXPECT_EQ(node.Ask({"PING"}), "+PONG");
}

TEST(Dispatch, ASkippedCommandThatSuspendsStaysSkipped) {
  TestNode node;
  node.Ask({"CLIENT", "REPLY", "SKIP"});
  EXPECT_EQ(node.Ask({"SAVE"}), "(none)");
  EXPECT_TRUE(node.last_suspended);
  node.cluster.checkpoint_done = true;
  EXPECT_EQ(node.Ask({"SAVE"}), "(none)");
  EXPECT_FALSE(node.last_suspended);
  EXPECT_EQ(node.Ask({"SAVE"}), "+OK");
}

// ---- what is written

TEST(Writes, FailedConditionsAndErrorsWriteNothing) {
  TestNode node;
  node.Ask({"SET", "k", "v"});
  node.Ask({"SET", "n", "9223372036854775807"});
  size_t before = node.effects();
  node.Ask({"SET", "k", "w", "NX"});
  node.Ask({"SET", "none", "w", "XX"});
  node.Ask({"SET", "k", "w", "EX", "0"});
  node.Ask({"SETNX", "k", "w"});
  node.Ask({"MSETNX", "new", "1", "k", "2"});
  node.Ask({"INCR", "k"});
  node.Ask({"INCR", "n"});
  node.Ask({"INCRBYFLOAT", "k", "1"});
  node.Ask({"INCRBYFLOAT", "n", "inf"});
  node.Ask({"DEL", "none"});
  node.Ask({"EXPIRE", "none", "10"});
  node.Ask({"EXPIRE", "k", "10", "XX"});
  node.Ask({"PERSIST", "k"});
  node.Ask({"RENAME", "none", "x"});
  node.Ask({"RENAMENX", "k", "n"});
  node.Ask({"COPY", "k", "n"});
  node.Ask({"GETDEL", "none"});
  node.Ask({"GETEX", "k"});
  node.Ask({"GETEX", "k", "PERSIST"});
  node.Ask({"SETRANGE", "k", "1", ""});
  node.Ask({"SETRANGE", "k", "536870912", "x"});
  EXPECT_EQ(node.effects(), before);
}

TEST(Writes, AcceptedOnesAlwaysWrite) {
  TestNode node;
  node.Ask({"SET", "k", "v"});
  node.Ask({"SET", "k", "v"});
  node.Ask({"INCRBY", "n", "0"});
  node.Ask({"EXPIRE", "k", "100"});
  node.Ask({"EXPIRE", "k", "100"});
  node.Ask({"PERSIST", "k"});
  node.Ask({"EXPIRE", "k", "-1"});
  EXPECT_EQ(node.sink.effects,
            (std::vector{EffectKind::kPut,
                         EffectKind::kPut,
                         EffectKind::kIncrement,
                         EffectKind::kExpire,
                         EffectKind::kExpire,
                         EffectKind::kExpire,
                         EffectKind::kWipe}));
}

TEST(Writes, OneCommandOneChange) {
  TestNode node;
  node.Ask({"MSET", "a", "1", "b", "2", "c", "3"});
  node.Ask({"RENAME", "a", "d"});
  node.Ask({"SET", "e", "x"});
  uint64_t third = node.keys.State(node.keys.Ref(0, "e")).versions[0].dot.sequence();
  EXPECT_EQ(third, 3U);
}

// A write of a whole key says what it clears of each origin's counter: that counts, too.
TEST(Writes, ManyCountersInOneChange) {
  TestNode node;
  constexpr size_t kKeys = 1001;
  constexpr uint64_t kOrigins = 100;
  std::vector<std::string> keys;
  std::vector<clock::OriginIndex> origins;
  for (uint64_t o = 0; o < kOrigins; ++o)
    origins.push_back(node.origins.Intern({"many", o + 100}));
  const clock::VersionVector nothing;
  for (size_t i = 0; i < kKeys; ++i) {
    keys.push_back(std::to_string(i) + std::string(65'000, 'k'));
    for (clock::OriginIndex o : origins) {
      const crdt::At at{i + 1, 0};
      node.keys.Apply({.kind = crdt::EffectKind::kIncrement,
                       .key = keys.back(),
                       .life = at,
                       .total = crdt::Number::Integer(1),
                       .increment = crdt::Number::Integer(1)},
                      crdt::Seen(nothing, o, at),
                      {i + 1},
                      keyspace::Cause::kRemote);
    }
  }
  std::vector<std::string_view> del{"DEL"};
  std::vector<std::string_view> mset{"MSET"};
  for (const std::string& key : keys) {
    del.push_back(key);
    mset.insert(mset.end(), {key, "v"});
  }
  Client& client = *node.server.clients[0];
  EXPECT_TRUE(node.Run(client, del)[0].ToString().starts_with("-LIMIT change of "));
  EXPECT_TRUE(node.Run(client, mset)[0].ToString().starts_with("-LIMIT change of "));
  EXPECT_TRUE(node.Run(client, std::span(del).first(1000))[0].ToString().starts_with("-LIMIT change of "))
      << "they need not be many keys";
  EXPECT_EQ(node.effects(), 0U);
  EXPECT_EQ(node.Run(client, std::span(del).first(500))[0].ToString(), "499");
}

TEST(Writes, TooLargeForOneChange) {
  TestNode node;
  std::string half(33 << 20, 'x');
  EXPECT_TRUE(node.Ask({"MSET", "a", half, "b", half}).starts_with("-LIMIT change of "));
  EXPECT_EQ(node.Ask({"SET", "a", half}), "+OK");
  EXPECT_TRUE(node.Ask({"APPEND", "a", half}).starts_with("-LIMIT change of "));
  EXPECT_TRUE(node.Ask({"SETRANGE", "a", "100000000", "x"}).starts_with("-LIMIT change of "));
  EXPECT_EQ(node.Ask({"SETRANGE", "a", "9223372036854775807", "x"}),
            "-ERR string exceeds maximum allowed size (proto-max-bulk-len)");
  EXPECT_EQ(node.effects(), 1U);
  EXPECT_EQ(node.Ask({"STRLEN", "a"}), std::to_string(half.size()));
}

// The elements of a copy name the key that it is made under.
TEST(Writes, CopiesUnderALongNameAreTooLargeForOneChange) {
  TestNode node;
  std::vector<std::string> fields;
  std::vector<std::string_view> hset = {"HSET", "h"};
  for (int i = 0; i < 2000; ++i) fields.push_back(std::to_string(i));
  for (const std::string& field : fields) hset.insert(hset.end(), {field, "v"});
  EXPECT_EQ(node.Run(*node.server.clients[0], hset)[0].ToString(), "2000");
  const std::string name(60'000, 'k');
  const size_t effects = node.effects();
  EXPECT_TRUE(node.Ask({"COPY", "h", name}).starts_with("-LIMIT change of "));
  EXPECT_TRUE(node.Ask({"RENAME", "h", name}).starts_with("-LIMIT change of "));
  EXPECT_EQ(node.effects(), effects);
}

TEST(Expiry, FollowsTheNodesTime) {
  TestNode node;
  EXPECT_EQ(node.Ask({"SET", "k", "v", "PX", "1500"}), "+OK");
  EXPECT_EQ(node.Ask({"PTTL", "k"}), "1500");
  EXPECT_EQ(node.Ask({"TTL", "k"}), "2");
  EXPECT_EQ(node.Ask({"PEXPIRETIME", "k"}), std::to_string(kTestStartMs + 1500));
  EXPECT_EQ(node.Ask({"APPEND", "k", "w"}), "2");
  EXPECT_EQ(node.Ask({"PTTL", "k"}), "1500");
  EXPECT_EQ(node.Ask({"INCR", "n"}), "1");
  EXPECT_EQ(node.Ask({"PEXPIRE", "n", "3000"}), "1");
  EXPECT_EQ(node.Ask({"INCR", "n"}), "2");
  EXPECT_EQ(node.Ask({"PTTL", "n"}), "3000");
  node.Advance(1501);
  EXPECT_EQ(node.Ask({"GET", "k"}), "null");
  EXPECT_EQ(node.Ask({"TTL", "k"}), "-2");
  EXPECT_EQ(node.Ask({"DEL", "k"}), "0");
  EXPECT_EQ(node.Ask({"KEYS", "*"}), "[\"n\"]");
  EXPECT_EQ(node.Ask({"RENAME", "n", "m"}), "+OK");
  EXPECT_EQ(node.Ask({"PTTL", "m"}), "1499");
  EXPECT_EQ(node.Ask({"COPY", "m", "c"}), "1");
  EXPECT_EQ(node.Ask({"PTTL", "c"}), "1499");
  EXPECT_EQ(node.Ask({"SET", "m", "x", "KEEPTTL"}), "+OK");
  EXPECT_EQ(node.Ask({"PTTL", "m"}), "1499");
  EXPECT_EQ(node.Ask({"SET", "m", "x"}), "+OK");
  EXPECT_EQ(node.Ask({"PTTL", "m"}), "-1");
  EXPECT_EQ(node.Ask({"SET", "past", "x", "PXAT", "1"}), "+OK");
  EXPECT_EQ(node.Ask({"EXISTS", "past"}), "0");
}

TEST(Expiry, TheLatestInstantIsNotNever) {
  TestNode node;
  node.Ask({"SET", "k", "v"});
  EXPECT_EQ(node.Ask({"PEXPIREAT", "k", "9223372036854775807"}), "1");
  EXPECT_EQ(node.Ask({"PEXPIRETIME", "k"}), "9223372036854775806");
  EXPECT_EQ(node.Ask({"EXPIRETIME", "k"}), "9223372036854776");
  EXPECT_EQ(node.Ask({"PERSIST", "k"}), "1");
  EXPECT_EQ(node.Ask({"PEXPIRE", "k", "9223372036854775807"}),
            "-ERR invalid expire time in 'pexpire' command");
}

// ---- concurrent versions

class Conflicts : public ::testing::Test {
 protected:
  Conflicts() {
    node.SetPolicy("wiki:*", "siblings");
    node.Ask({"SET", "wiki:title", "B"});
    node.Ask({"SET", "other", "x"});
    node.Remote("wiki:title", "C");
  }
  static constexpr std::string_view kError =
      "-CONFLICT 2 concurrent versions of 'wiki:title'; see CONFLICT GET";
  TestNode node;
};

TEST_F(Conflicts, ReadsAndReadModifyWritesAreRefused) {
  size_t before = node.effects();
  std::vector<std::vector<std::string_view>> refused = {
      {"GET", "wiki:title"},
      {"MGET", "other", "wiki:title", "other"},
      {"STRLEN", "wiki:title"},
      {"GETRANGE", "wiki:title", "0", "1"},
      {"SUBSTR", "wiki:title", "0", "1"},
      {"GETSET", "wiki:title", "D"},
      {"GETDEL", "wiki:title"},
      {"GETEX", "wiki:title", "EX", "100"},
      {"SET", "wiki:title", "D", "GET"},
      {"SET", "wiki:title", "D", "XX", "GET"},
      {"APPEND", "wiki:title", "D"},
      {"SETRANGE", "wiki:title", "0", "D"},
      {"INCR", "wiki:title"},
      {"DECRBY", "wiki:title", "2"},
      {"INCRBYFLOAT", "wiki:title", "2"},
      {"LCS", "other", "wiki:title"},
      {"RENAME", "wiki:title", "new"},
      {"RENAMENX", "wiki:title", "new"},
      {"COPY", "wiki:title", "new"},
      {"MOVE", "wiki:title", "1"},
      {"OBJECT", "ENCODING", "wiki:title"},
  };
  for (const auto& args : refused) {
    auto replies = node.Run(*node.server.clients[0], args);
    ASSERT_EQ(replies.size(), 1U);
    EXPECT_EQ(replies[0].ToString(), kError) << args[0];
  }
  EXPECT_EQ(node.effects(), before);
}

TEST_F(Conflicts, TheKeyExists) {
  EXPECT_EQ(node.Ask({"EXISTS", "wiki:title"}), "1");
  EXPECT_EQ(node.Ask({"TYPE", "wiki:title"}), "+string");
  EXPECT_EQ(node.Ask({"TTL", "wiki:title"}), "-1");
  EXPECT_EQ(node.Ask({"SETNX", "wiki:title", "D"}), "0");
  EXPECT_EQ(node.Ask({"SET", "wiki:title", "D", "NX"}), "null");
  EXPECT_EQ(node.Ask({"EXPIRE", "wiki:title", "100"}), "1");
  EXPECT_EQ(node.Ask({"TTL", "wiki:title"}), "100");
  EXPECT_EQ(node.Ask({"PERSIST", "wiki:title"}), "1");
  EXPECT_EQ(node.Ask({"GET", "wiki:title"}), kError);
}

TEST_F(Conflicts, RenameOntoItReplacesAllThatWasSeen) {
  EXPECT_EQ(node.Ask({"RENAME", "other", "wiki:title"}), "+OK");
  EXPECT_EQ(node.Ask({"GET", "wiki:title"}), "\"x\"");
}

TEST_F(Conflicts, OfAFieldAreNoEmptyValues) {
  node.SetPolicy("h*", "siblings");
  node.Ask({"HSET", "h", "f", "a", "g", "b"});
  node.RemoteElement("h", crdt::Type::kHash, "f", "c");
  constexpr std::string_view kFieldError =
      "-CONFLICT 2 concurrent versions of field 'f' of 'h'; see CONFLICT GET 'h' FIELD 'f'";
  for (int protocol : {2, 3}) {
    node.server.clients[0]->protocol = protocol;
    EXPECT_EQ(node.Ask({"HGETALL", "h"}), kFieldError);
    EXPECT_EQ(node.Ask({"HSCAN", "h", "0"}), kFieldError);
    EXPECT_EQ(node.Ask({"HSCAN", "h", "0", "MATCH", "g"}), "[\"0\", [\"g\", \"b\"]]");
    EXPECT_EQ(node.Ask({"HRANDFIELD", "h", "2", "WITHVALUES"}), kFieldError);
    EXPECT_EQ(node.Ask({"HRANDFIELD", "h", "-100", "WITHVALUES"}), kFieldError);
  }
}

// A command that runs again for a client that waited for `key`.
std::string Served(TestNode& node, std::string_view key, const std::vector<std::string_view>& args) {
  resp::Buffer out;
  resp::Writer reply(out, 2);
  keyspace::Change change(node.sink, node.keys);
  Context context{.client = *node.server.clients[0],
                  .args = args,
                  .reply = reply,
                  .keys = node.keys,
                  .change = change,
                  .cluster = node.cluster,
                  .server = node.server,
                  .now_ms = node.now_ms(),
                  .random = 42};
  context.ready = &key;
  Dispatch(context);
  return std::string(out.view());
}

TEST(Streams, WhoWaitedIsToldThatTheStreamIsGone) {
  TestNode node;
  node.Ask({"XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"});
  auto served = [&](std::string_view key) {
    return Served(node, key, {"XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", "t", ">", ">"});
  };
  node.Ask({"SET", "s", "x"});
  EXPECT_EQ(served("s"), "-UNBLOCKED the stream key no longer exists\r\n");
  node.Ask({"DEL", "s"});
  EXPECT_EQ(served("s"), "-UNBLOCKED the stream key no longer exists\r\n");
  node.Ask({"XADD", "s", "1-1", "f", "v"});
  EXPECT_EQ(served("s"), "-NOGROUP the consumer group this client was blocked on no longer exists\r\n");
}

TEST(Streams, WhoWaitedGetsAThousandEntriesUnlessItAskedForANumber) {
  TestNode node;
  for (int i = 1; i <= 1500; ++i)
    node.Ask({"XADD", "s", std::to_string(i), "field", "v"});
  node.Ask({"XGROUP", "CREATE", "s", "g", "0"});
  auto entries = [&](const std::vector<std::string_view>& args) {
    const std::string reply = Served(node, "s", args);
    size_t count = 0;
    for (size_t at = 0; (at = reply.find("field", at)) != std::string::npos; ++at) ++count;
    return count;
  };
  EXPECT_EQ(entries({"XREAD", "BLOCK", "0", "STREAMS", "s", "0"}), 1000U);
  EXPECT_EQ(entries({"XREAD", "COUNT", "0", "BLOCK", "0", "STREAMS", "s", "0"}), 1000U);
  EXPECT_EQ(entries({"XREAD", "COUNT", "1200", "BLOCK", "0", "STREAMS", "s", "0"}), 1200U);
  EXPECT_EQ(entries({"XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">"}), 1000U);
  EXPECT_EQ(entries({"XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">"}), 500U);
}

// However many streams are named, or one of them how often.
TEST(Streams, WhatOneReadOfAGroupGivesFitsIntoAChange) {
  TestNode node;
  Client& client = *node.server.clients[0];
  const std::string consumer(crdt::kStreamNameBytesMax, 'c');
  constexpr int kEntries = 1500;
  for (std::string_view key : {"s", "t"}) {
    for (int i = 1; i <= kEntries; ++i)
      node.Ask({"XADD", key, std::to_string(i), "f", "v"});
    node.Ask({"XGROUP", "CREATE", key, "g", "0"});
  }
  auto given = [&](const std::vector<std::string_view>& args) {
    size_t entries = 0;
    const auto replies = node.Run(client, args);
    EXPECT_EQ(replies.size(), 1U);
    for (const resp::Value& of_key : replies[0].items)
      entries += of_key.items[1].items.size();
    EXPECT_LE(node.sink.open_bytes(), kChangeBytesMax);
    return entries;
  };
  const size_t half = given({"XREADGROUP", "GROUP", "g", consumer, "STREAMS", "s", "t", ">", ">"});
  EXPECT_GT(half, 1800U);
  EXPECT_LT(half, 2U * kEntries);
  EXPECT_EQ(given({"XREADGROUP", "GROUP", "g", consumer, "STREAMS", "s", "t", "s", ">", ">", ">"}), 2U * kEntries - half);
  // What is pending: each stream shows some.
  const auto history = node.Run(
      client, std::vector<std::string_view>{"XREADGROUP", "GROUP", "g", consumer, "STREAMS", "s", "s", "t", "0", "0", "0"});
  EXPECT_LE(node.sink.open_bytes(), kChangeBytesMax);
  ASSERT_EQ(history[0].items.size(), 3U);
  for (const resp::Value& of_key : history[0].items)
    EXPECT_GT(of_key.items[1].items.size(), 500U);
}

TEST(Streams, GroupsThatOneReadWritesFitIntoAChangeOrNothingIsGiven) {
  TestNode node;
  const std::string group(crdt::kStreamNameBytesMax, 'g');
  node.Ask({"XADD", "s", "1", "f", "v"});
  node.Ask({"XGROUP", "CREATE", "s", group, "0"});
  node.Ask({"XREADGROUP", "GROUP", group, "c", "STREAMS", "s", ">"});
  std::vector<std::string_view> args = {"XREADGROUP", "GROUP", group, "c", "STREAMS"};
  constexpr size_t kTimes = 3000;
  args.insert(args.end(), kTimes, "s");
  args.insert(args.end(), kTimes, "0");
  const size_t effects = node.effects();
  EXPECT_TRUE(node.Run(*node.server.clients[0], args)[0].ToString().starts_with("-LIMIT change of "));
  EXPECT_EQ(node.effects(), effects);
}

TEST(Streams, NamesOfRestoredGroupsCount) {
  TestNode node;
  rdb::Value value{.type = crdt::Type::kStream};
  auto add_group = [&](const std::string& number, size_t consumers) {
    rdb::StreamValue::Group& group = value.stream.groups.emplace_back();
    group.name = number + std::string(31'000, 'g');
    for (size_t i = 0; i < consumers; ++i)
      group.consumers.push_back({std::to_string(i), 1});
  };
  add_group("0", 2100);  // each has an element that names the group
  EXPECT_EQ(node.Ask({"RESTORE", "k", "0", rdb::WriteDump(value)}), "+OK");
  EXPECT_LE(node.sink.open_bytes(), kChangeBytesMax);
  for (int i = 1; i <= 200; ++i) add_group(std::to_string(i), 0);
  EXPECT_TRUE(node.Ask({"RESTORE", "l", "0", rdb::WriteDump(value)}).starts_with("-LIMIT change of "));
}

TEST_F(Conflicts, LastWriterWinsShowsOne) {
  node.SetPolicy("wiki:*", "lww");
  EXPECT_EQ(node.Ask({"GET", "wiki:title"}), "\"C\"");
}

// ---- the process

TEST(Server, SaveWaitsForTheCheckpoint) {
  TestNode node;
  EXPECT_EQ(node.Ask({"SAVE"}), "(none)");
  EXPECT_TRUE(node.last_suspended);
  node.cluster.checkpoint_done = true;
  EXPECT_EQ(node.Ask({"SAVE"}), "+OK");
  EXPECT_EQ(node.Ask({"BGSAVE"}), "+Background saving started");
  EXPECT_EQ(node.Ask({"LASTSAVE"}), std::to_string(kTestStartMs / 1000));
}

TEST(Server, ShutdownClosesWithoutReply) {
  TestNode node;
  EXPECT_EQ(node.Ask({"SHUTDOWN", "ABORT"}), "-ERR No shutdown in progress.");
  EXPECT_FALSE(node.server.shut_down);
  EXPECT_EQ(node.Ask({"SHUTDOWN", "NOSAVE"}), "(none)");
  EXPECT_TRUE(node.server.shut_down);
  EXPECT_TRUE(node.last_close);
}

TEST(Server, DebugMayBeForbidden) {
  TestNode node;
  EXPECT_EQ(node.Ask({"DEBUG", "SLEEP", "0.5"}), "+OK");
  EXPECT_EQ(node.server.slept_seconds, 0.5);
  node.server.parameters.emplace_back("enable-debug-command", "no");
  EXPECT_TRUE(node.Ask({"DEBUG", "SLEEP", "0.5"}).starts_with("-ERR DEBUG command not allowed."));
  node.server.parameters.back().second = "local";
  EXPECT_EQ(node.Ask({"DEBUG", "SLEEP", "0.5"}), "+OK");
  EXPECT_EQ(node.Ask({"DEBUG", "DIGEST"}), "+00000000000000000000000000000000");
}

TEST(Server, InfoHasSections) {
  TestNode node;
  node.Ask({"SET", "k", "v"});
  EXPECT_EQ(node.Ask({"INFO", "keyspace"}),
            "\"# Keyspace\\r\\ndb0:keys=1,expires=0,avg_ttl=0\\r\\n\"");
  EXPECT_EQ(node.Ask({"INFO", "Replication"}),
            "\"# Replication\\r\\nrole:master\\r\\nleader_id:eu\\r\\nmaster_repl_offset:1\\r\\n\"");
  std::string all = node.Ask({"INFO"});
  EXPECT_NE(all.find("redis_version:7.0.15\\r\\n"), std::string::npos);
  EXPECT_NE(all.find("\\r\\n\\r\\n# Clients\\r\\n"), std::string::npos);
  EXPECT_EQ(node.Ask({"INFO", "nosuch"}), "\"\"");
}

TEST(Debug, EqualValuesHaveEqualDigests) {
  TestNode node;
  auto digest = [&](std::string_view key) { return node.Ask({"DEBUG", "DIGEST-VALUE", key}); };
  node.Ask({"SADD", "one", "a", "b", "c"});
  node.Ask({"SADD", "two", "c", "b", "a"});
  EXPECT_EQ(digest("one"), digest("two"));
  node.Ask({"SREM", "two", "a"});
  EXPECT_NE(digest("one"), digest("two"));
  node.Ask({"HSET", "h", "f", "1", "g", "2"});
  node.Ask({"COPY", "h", "i"});
  EXPECT_EQ(digest("h"), digest("i"));
  node.Ask({"HINCRBY", "i", "g", "1"});
  EXPECT_NE(digest("h"), digest("i"));
  EXPECT_EQ(digest("none"), "[+0000000000000000000000000000000000000000]");
}

TEST(Config, SetIsAllOrNothing) {
  TestNode node;
  EXPECT_EQ(
      node.Ask({"CONFIG", "SET", "maxmemory", "1", "timeout", "bad"}),
      "-ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be parsed into an integer");
  EXPECT_EQ(node.Ask({"CONFIG", "GET", "maxmemory", "time*"}),
            "[\"maxmemory\", \"0\", \"timeout\", \"0\"]");
  EXPECT_EQ(node.Ask({"CONFIG", "SET", "maxmemory", "1", "TIMEOUT", "2"}), "+OK");
  EXPECT_EQ(node.Ask({"CONFIG", "GET", "maxmemory", "timeout"}),
            "[\"maxmemory\", \"1\", \"timeout\", \"2\"]");
  EXPECT_EQ(node.Ask({"CONFIG", "SET", "nosuch", "1"}),
            "-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'");
  EXPECT_EQ(node.Ask({"CONFIG", "SET", "*", "1"}),
            "-ERR Unknown option or number of arguments for CONFIG SET - '*'");
  EXPECT_EQ(
      node.Ask({"CONFIG", "SET", "timeout", "1", "timeout", "2"}),
      "-ERR CONFIG SET failed (possibly related to argument 'timeout') - duplicate parameter");
}

// What was set last may be what the others lean on.
TEST(Config, IsSetBackInReverse) {
  TestNode node;
  using Sets = std::vector<std::string>;
  node.Ask({"CONFIG", "SET", "maxmemory", "1", "timeout", "2", "hz", "bad"});
  EXPECT_EQ(node.server.sets, (Sets{"maxmemory=1", "timeout=2", "hz=bad", "timeout=0", "maxmemory=0", "drop"}));
  node.server.sets.clear();
  node.server.settles = base::Invalid("they do not fit together");
  EXPECT_EQ(node.Ask({"CONFIG", "SET", "maxmemory", "1", "timeout", "2"}),
            "-ERR CONFIG SET failed (possibly related to argument 'timeout') - they do not fit together");
  EXPECT_EQ(node.server.sets, (Sets{"maxmemory=1", "timeout=2", "settle", "timeout=0", "maxmemory=0", "drop"}));
  EXPECT_EQ(node.Ask({"CONFIG", "GET", "maxmemory", "timeout"}), "[\"maxmemory\", \"0\", \"timeout\", \"0\"]");
}

TEST(Config, ResetstatCountsExpiredKeysAnew) {
  TestNode node;
  auto tells = [&node](std::string_view line) {
    return node.Ask({"INFO", "stats"}).find(line) != std::string::npos;
  };
  node.cluster.expired = 3;
  EXPECT_TRUE(tells("expired_keys:3\\r"));
  EXPECT_EQ(node.Ask({"CONFIG", "RESETSTAT"}), "+OK");
  EXPECT_EQ(node.server.resets, 1);
  EXPECT_TRUE(tells("expired_keys:0\\r"));
  node.cluster.expired = 5;
  EXPECT_TRUE(tells("expired_keys:2\\r"));
}

TEST(Clients, ListAndKill) {
  TestNode node;
  Client& second = node.Connect();
  EXPECT_EQ(node.Ask(second, {"CLIENT", "SETNAME", "two"}), "+OK");
  EXPECT_EQ(node.Ask(second, {"CLIENT", "SETINFO", "LIB-NAME", "lib"}), "+OK");
  std::string list = node.Ask({"CLIENT", "LIST"});
  EXPECT_NE(list.find("id=2 addr=127.0.0.1:50002 laddr=127.0.0.1:7400 fd=-1 name=two age=0"),
            std::string::npos)
      << list;
  EXPECT_NE(list.find("cmd=client|setinfo user=default redir=-1 resp=2 lib-name=lib lib-ver="),
            std::string::npos)
      << list;
  EXPECT_EQ(node.Ask({"CLIENT", "LIST", "TYPE", "pubsub"}), "\"\"");
  EXPECT_TRUE(node.Ask({"CLIENT", "LIST", "ID", "2"}).starts_with("\"id=2 "));
  EXPECT_EQ(node.Ask({"CLIENT", "KILL", "SKIPME", "yes", "ADDR", "127.0.0.1:50001"}), "0");
  EXPECT_EQ(node.Ask({"CLIENT", "KILL", "ID", "2"}), "1");
  EXPECT_EQ(node.server.clients.size(), 1U);
  EXPECT_EQ(node.Ask({"CLIENT", "KILL", "127.0.0.1:50002"}), "-ERR No such client");
  EXPECT_EQ(node.Ask({"CLIENT", "KILL", "127.0.0.1:50001"}), "+OK");
  EXPECT_TRUE(node.last_close);
}

TEST(Clients, WhoCameThroughAUnixSocketIsFlagged) {
  TestNode node;
  Client& client = node.Connect();
  client.address = client.local_address = "/run/polyarch.sock:0";
  EXPECT_NE(node.Ask(client, {"CLIENT", "INFO"}).find(" flags=U "), std::string::npos);
  node.Ask(client, {"CLIENT", "NO-EVICT", "ON"});
  node.Ask(client, {"MULTI"});
  EXPECT_NE(node.Ask({"CLIENT", "LIST", "ID", "2"}).find(" flags=xUe "), std::string::npos);
  EXPECT_NE(node.Ask({"CLIENT", "LIST", "ID", "1"}).find(" flags=N "), std::string::npos);
}

TEST(Clients, ThoseThatAreNamedAreListedAsOftenInThatOrder) {
  TestNode node;
  node.Connect();
  node.Connect();
  const std::string list = node.Ask({"CLIENT", "LIST", "ID", "3", "1", "9", "3"});
  std::vector<size_t> found;
  for (size_t at = list.find("id="); at != std::string::npos; at = list.find("id=", at + 1)) {
    if (at == 1 || list[at - 1] == 'n') found.push_back(static_cast<size_t>(list[at + 3] - '0'));
  }
  EXPECT_EQ(found, (std::vector<size_t>{3, 1, 3})) << list;
}

TEST(Clients, AListOfOneNamedWithoutEndIsRefused) {
  TestNode node;
  node.Ask({"CLIENT", "SETNAME", std::string(1000, 'n')});
  std::vector<std::string> words = {"CLIENT", "LIST", "ID"};
  words.resize(250'000, "1");
  std::vector<std::string_view> args(words.begin(), words.end());
  EXPECT_EQ(node.Run(*node.server.clients.front(), args)[0].ToString(), "-LIMIT the reply would come to more than 268435456 bytes");
}

// It is closed at the end of a tick; what comes before that does not count it.
TEST(Clients, WhoIsKilledListensNoMore) {
  TestNode node;
  node.may_wait = true;
  Client& listens = node.Connect();
  Client& watches = node.Connect();
  node.Ask(listens, {"SUBSCRIBE", "c"});
  node.Ask(watches, {"CLIENT", "TRACKING", "ON", "BCAST"});
  node.Ask(watches, {"MONITOR"});
  EXPECT_EQ(node.Ask({"CLIENT", "KILL", "SKIPME", "yes"}), "2");
  EXPECT_EQ(node.Ask({"PUBLISH", "c", "x"}), "0");
  EXPECT_EQ(node.Ask({"PUBSUB", "NUMSUB", "c"}), "[\"c\", 0]");
  EXPECT_FALSE(node.cluster.monitors().any());
  EXPECT_FALSE(node.cluster.tracking().active());
}

TEST(Clients, HelpNamesEverySubcommand) {
  TestNode node;
  for (std::string_view container : {"CLIENT", "CONFIG", "OBJECT", "COMMAND", "MEMORY", "DEBUG"}) {
    std::string help = node.Ask({container, "HELP"});
    for (const Row* row : Table::Instance().Subcommands(ToLower(container))) {
      std::string name = ToUpper(row->name.substr(container.size() + 1));
      EXPECT_NE(help.find("+" + name), std::string::npos) << help;
    }
  }
}

// Whatever bytes come as arguments: one reply, well-formed (TestNode checks), and no crash.
TEST(Hostile, StrangeArgumentsGetOneReply) {
  TestNode node;
  const std::string nul("a\0b", 3);
  const std::vector<std::string_view> words = {"",
                                               "0",
                                               "-1",
                                               "9223372036854775807",
                                               "-9223372036854775808",
                                               "9223372036854775808",
                                               "nan",
                                               "inf",
                                               nul,
                                               "\r\n+OK\r\n",
                                               "get",
                                               "EX",
                                               "XX",
                                               "1e400",
                                               "*",
                                               "[",
                                               "\\",
                                               "KEEPTTL",
                                               "DB",
                                               "\xff\xfe"};
  uint64_t state = 1;
  auto next = [&state](size_t bound) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<size_t>(state >> 33) % bound;
  };
  for (int round = 0; round < 200; ++round) {
    for (const Row& row : Table::Instance().rows()) {
      if (row.name.starts_with("client") || row.name == "quit") continue;
      // After these the client may say little else.
      if ((row.flags & kPubsub) != 0 && (row.flags & kNoScript) != 0) continue;
      std::vector<std::string_view> args;
      size_t bar = row.name.find('|');
      args.push_back(row.name.substr(0, bar));
      // With its second bar, too, as a word that names nothing.
      if (bar != std::string_view::npos) args.push_back(row.name.substr(bar + 1));
      if (size_t next_bar = args.back().find('|');
          args.size() == 2 && next_bar != std::string_view::npos && round % 2 == 0) {
        args.push_back(args.back().substr(next_bar + 1));
        args[1] = args[1].substr(0, next_bar);
      }
      for (size_t extra = next(7); extra > 0; --extra)
        args.push_back(words[next(words.size())]);
      size_t replies = node.Run(*node.server.clients[0], args).size();
      EXPECT_EQ(replies, node.last_suspended || node.last_close ? 0U : 1U) << row.name;
    }
  }
}

// How many bytes of memory this process came to need at most while `run` did its work, beyond what it had; nothing if
// the system does not tell.
template <typename Run>
std::optional<size_t> PeakBytes(Run run) {
  auto status = [](const std::string& name) {
    std::ifstream in("/proc/self/status");
    std::string word;
    size_t kilobytes = 0;
    while (in >> word) {
      if (word == name && in >> kilobytes) return kilobytes * 1024;
    }
    return size_t{0};
  };
  std::ofstream reset("/proc/self/clear_refs");
  reset << "5" << std::flush;  // the peak from here on
  if (!reset) return std::nullopt;
  const size_t before = status("VmRSS:");
  run();
  const size_t peak = status("VmHWM:");
  if (before == 0 || peak == 0) return std::nullopt;
  return peak > before ? peak - before : 0;
}

// A key may be named a thousand times, by the command or by elements that are alike: its value is looked at where it is.
TEST(Memory, AValueIsNotCopiedAsOftenAsItIsNamed) {
  constexpr size_t kTimes = 400;
  constexpr size_t kPeakMax = 150 << 20;
  TestNode node;
  node.Ask({"SET", "w_x", std::string(1 << 20, 'w')});
  std::vector<std::string_view> push = {"RPUSH", "l"};
  push.insert(push.end(), kTimes, "x");
  std::vector<std::string_view> combine = {"BITOP", "OR", "d"};
  combine.insert(combine.end(), kTimes, "w_x");
  Client& client = node.Connect();
  node.Run(client, push);
  const auto combined = PeakBytes([&] { EXPECT_EQ(node.Run(client, combine)[0].ToString(), "1048576"); });
  const auto sorted = PeakBytes([&] {
    EXPECT_EQ(node.Ask({"SORT_RO", "l", "BY", "w_*", "ALPHA", "LIMIT", "0", "1"}), "[\"x\"]");
  });
  // 65 MiB are what one change may hold.
  const auto stored = PeakBytes([&] {
    EXPECT_TRUE(node.Ask({"SORT", "l", "BY", "nosort", "GET", "w_*", "STORE", "l2"}).starts_with("-LIMIT "));
  });
  if (!combined || !sorted || !stored) GTEST_SKIP() << "the peak of memory is not told here";
  EXPECT_LT(*combined, kPeakMax);
  EXPECT_LT(*sorted, kPeakMax);
  EXPECT_LT(*stored, kPeakMax);
}

TEST(Memory, IdleTimeCopiesNothing) {
  TestNode node;
  constexpr size_t kValues = 4;
  for (size_t i = 0; i < kValues; ++i)
    node.Ask({"HSET", "h", std::to_string(i), std::string(32 << 20, 'x')});
  node.Advance(5000);
  std::string idle;
  const auto peak = PeakBytes([&] { idle = node.Ask({"OBJECT", "IDLETIME", "h"}); });
  EXPECT_EQ(idle, "5");
  if (!peak) GTEST_SKIP() << "the peak of memory is not told here";
  EXPECT_LT(*peak, size_t{32} << 20);
}

TEST(Expiry, IdleTimeIsOfEveryForm) {
  TestNode node;
  node.Ask({"SET", "value", "v"});
  node.Ask({"SET", "ttl", "v", "EX", "1000"});
  node.Ask({"INCR", "counter"});
  node.Ask({"INCRBY", "based", "1"});
  node.Remote("based", "5");
  node.Ask({"HINCRBY", "hash", "n", "1"});
  node.Ask({"SADD", "set", "a"});
  node.Ask({"ZADD", "zset", "1", "m"});
  node.Ask({"XADD", "stream", "1-1", "f", "v"});
  for (int i = 0; i < 500; ++i) {
    node.Ask({"RPUSH", "list", std::to_string(i)});
    node.Ask({"HSET", "many", std::to_string(i), "v"});
  }
  node.Advance(7000);
  for (std::string_view key : {"value", "ttl", "counter", "based", "hash", "set", "zset", "stream", "list", "many"})
    EXPECT_EQ(node.Ask({"OBJECT", "IDLETIME", key}), "7") << key;
}

// What GET names may be far more than what is sorted: refused before the first byte, not by closing the connection.
TEST(Limits, WhatSortLooksUpFitsIntoOneReply) {
  TestNode node;
  node.Ask({"SET", "w_x", std::string(60 << 20, 'w')});
  node.Ask({"RPUSH", "l", "x", "x", "x", "x", "x"});
  EXPECT_EQ(node.Ask({"SORT_RO", "l", "BY", "nosort", "GET", "w_*"}),
            "-LIMIT more than 268435456 bytes in one reply: ask for less, with LIMIT");
  EXPECT_TRUE(node.Ask({"SORT_RO", "l", "BY", "nosort", "LIMIT", "0", "1", "GET", "w_*"}).starts_with("[\"www"));
}

// A loop of its own until the reply is too large would stop everybody for seconds.
// Drawn from what is left, however many there were.
TEST(Sets, RandomMembersOfFewThatAreLeft) {
  TestNode node;
  Client& client = node.Connect();
  auto run = [&](const std::string& command, int from, int to) {
    std::vector<std::string> words = {command, "s"};
    for (int i = from; i < to; ++i) words.push_back("m" + std::to_string(i));
    const std::vector<std::string_view> args(words.begin(), words.end());
    return node.Run(client, args).at(0).ToString();
  };
  EXPECT_EQ(run("SADD", 0, 3'000), "3000");
  EXPECT_EQ(run("SREM", 5, 3'000), "2995");
  for (const char* count : {"-1000", "5", "100"}) {
    const std::string drawn = node.Ask({"SRANDMEMBER", "s", count});
    for (int i = 0; i < 5; ++i) EXPECT_NE(drawn.find("\"m" + std::to_string(i) + "\""), std::string::npos) << count;
    EXPECT_EQ(std::count(drawn.begin(), drawn.end(), 'm'), count[0] == '-' ? 1'000 : 5);
  }
  EXPECT_EQ(node.Ask({"OBJECT", "ENCODING", "s"}), "\"hashtable\"");
}

TEST(Limits, RandomElementsWithRepeats) {
  TestNode node;
  node.Ask({"SADD", "s", "a"});
  node.Ask({"HSET", "h", "f", "v"});
  node.Ask({"ZADD", "z", "1", "m"});
  for (const auto& [name, key] : {std::pair("SRANDMEMBER", "s"), std::pair("HRANDFIELD", "h"), std::pair("ZRANDMEMBER", "z")}) {
    EXPECT_TRUE(node.Ask({name, key, "-1000001"}).starts_with("-LIMIT ")) << name;
    EXPECT_TRUE(node.Ask({name, key, "-9223372036854775807"}).starts_with("-LIMIT ")) << name;
    EXPECT_EQ(node.Ask({name, key, "-3"}).substr(0, 1), "[") << name;
  }
}

}  // namespace
}  // namespace polyarch::command
