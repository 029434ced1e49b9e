// POLICY, CONFLICT, LEADER, LINK, TOPOLOGY, POLYARCH.
#include <gtest/gtest.h>

#include "base/random.h"
#include "command/command_test_env.h"
#include "command/polyarch_token.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

constexpr std::string_view kNotYet =
    "-NOTYET this leader has not yet seen all versions in the token; try again, or read them here";

// The token in the text of a reply of CONFLICT GET.
std::string TokenIn(const std::string& reply) {
  size_t end = reply.find('"', 2);
  EXPECT_TRUE(reply.starts_with("[\"") && end != std::string::npos) << reply;
  return reply.substr(2, end - 2);
}

std::string Get(TestNode& node, std::string_view key) {
  return node.Ask({"CONFLICT", "GET", key});
}

// CONFLICT GET's versions without times.
std::string Versions(TestNode& node, std::string_view key) {
  std::string reply = Get(node, key);
  size_t begin = reply.find(", [");
  if (begin == std::string::npos) return reply;
  reply = reply.substr(begin + 2, reply.size() - begin - 3);
  constexpr size_t kDigits = 13;
  for (size_t at = 0; (at = reply.find(", 17", at)) != std::string::npos; ++at) {
    reply.replace(at + 2, kDigits, "ms");
  }
  return reply;
}

std::string Stored(TestNode& node, std::string_view key) {
  keyspace::Shown shown = node.keys.Read(node.keys.Ref(crdt::kReservedDatabase, key));
  return shown.exists() ? std::string(shown.value) : "none";
}

// ---- POLICY

TEST(PolicyCommand, WritesTheReservedDatabase) {
  TestNode node;
  EXPECT_EQ(node.Ask({"POLICY", "SET", "wiki:*", "priority", "eu", "us"}), "+OK");
  EXPECT_EQ(Stored(node, "policy/wiki:*"), "priority eu us");
  EXPECT_EQ(node.Ask({"POLICY", "SET", "wiki:*", "LWW", "deletes"}), "+OK");
  EXPECT_EQ(Stored(node, "policy/wiki:*"), "lww DELETES");
  EXPECT_EQ(node.Ask({"KEYS", "*"}), "[]") << "clients do not see it";
  EXPECT_EQ(node.Ask({"POLICY", "DEL", "wiki:*"}), "1");
  EXPECT_EQ(Stored(node, "policy/wiki:*"), "none");
  EXPECT_EQ(node.Ask({"POLICY", "DEL", "wiki:*"}), "0");
  EXPECT_EQ(node.effects(), 3U);
}

TEST(PolicyCommand, OfFields) {
  TestNode node;
  EXPECT_EQ(node.Ask({"POLICY", "SET", "user:*", "FIELD", "age", "merge", "max"}), "+OK");
  EXPECT_EQ(Stored(node, "field-policy/6/user:*/age"), "merge MAX");
  EXPECT_EQ(Stored(node, "policy/user:*"), "none");
  EXPECT_EQ(node.Ask({"POLICY", "DEL", "user:*"}), "0");
  EXPECT_EQ(node.Ask({"POLICY", "DEL", "user:*", "field", "name"}), "0");
  EXPECT_EQ(node.Ask({"POLICY", "DEL", "user:*", "field", "age"}), "1");
  EXPECT_EQ(Stored(node, "field-policy/6/user:*/age"), "none");
  node.SetPolicy("user:*", "siblings");
  node.policies.SetField("user:*", "age", *conflict::Policy::ParseText("merge UNION SPACE"));
  EXPECT_EQ(node.Ask({"POLICY", "GET", "user:1"}), "\"siblings\"");
  EXPECT_EQ(node.Ask({"POLICY", "GET", "user:1", "FIELD", "age"}), "\"merge UNION SPACE\"");
  EXPECT_EQ(node.Ask({"POLICY", "GET", "user:1", "FIELD", "name"}), "\"siblings\"");
  EXPECT_EQ(node.Ask({"POLICY", "LIST"}),
            "[\"user:*\", \"siblings\", \"user:* FIELD age\", \"merge UNION SPACE\"]");
}

// Reads, and what writes take for their base.
TEST(PolicyCommand, MergedIsWhatCommandsSee) {
  TestNode node;
  node.SetPolicy("m:*", "merge MAX");
  node.SetPolicy("c:*", "merge CONCAT");
  node.SetPolicy("j:*", "merge JSON");
  for (const char* key : {"m:1", "c:1"}) {
    node.Ask({"SET", key, "10"});
    node.Remote(key, "9");
  }
  EXPECT_EQ(node.Ask({"GET", "m:1"}), "\"10\"");
  EXPECT_EQ(node.Ask({"GET", "c:1"}), "\"10/9\"");
  EXPECT_EQ(node.Ask({"STRLEN", "c:1"}), "4");
  EXPECT_EQ(node.Ask({"INCRBY", "m:1", "5"}), "15");
  EXPECT_EQ(node.Ask({"GET", "m:1"}), "\"15\"");
  EXPECT_EQ(node.Ask({"INCR", "c:1"}), "-ERR value is not an integer or out of range");
  EXPECT_EQ(node.Ask({"APPEND", "c:1", "!"}), "5");
  EXPECT_EQ(node.Ask({"GET", "c:1"}), "\"10/9!\"");
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST"}), "[\"m:1\"]") << "APPEND has seen both";
  EXPECT_EQ(node.Ask({"COPY", "m:1", "copy"}), "1");
  EXPECT_EQ(node.Ask({"GET", "copy"}), "\"15\"");
  node.Ask({"SET", "j:1", "{\"a\": 1}"});
  node.Remote("j:1", "{\"b\": 2}");
  EXPECT_EQ(node.Ask({"GET", "j:1"}), "\"{\\\"a\\\":1,\\\"b\\\":2}\"");
}

TEST(PolicyCommand, Shows) {
  TestNode node;
  EXPECT_EQ(node.Ask({"POLICY", "GET", "k"}), "\"lww\"");
  EXPECT_EQ(node.Ask({"POLICY", "LIST"}), "[]");
  node.SetPolicy("*", "siblings");
  node.SetPolicy("wiki:*", "priority eu us");
  EXPECT_EQ(node.Ask({"POLICY", "GET", "wiki:x"}), "\"priority eu us\"");
  EXPECT_EQ(node.Ask({"POLICY", "LIST"}), "[\"wiki:*\", \"priority eu us\", \"*\", \"siblings\"]");
  Client& client = node.Connect();
  client.protocol = 3;
  EXPECT_EQ(node.Ask(client, {"POLICY", "LIST"}),
            "{\"wiki:*\": \"priority eu us\", \"*\": \"siblings\"}");
}

TEST(PolicyCommand, Refuses) {
  TestNode node;
  EXPECT_EQ(node.Ask({"POLICY", "SET", "k", "best"}),
            "-ERR unknown policy 'best'; one of lww, lww DELETES, priority, siblings, merge, handler, sync, pop-owner");
  EXPECT_EQ(node.Ask({"POLICY", "SET", "k", "sync"}), "-ERR this leader agrees with nobody");
  EXPECT_EQ(node.Ask({"POLICY", "SET", "k", "FIELD", "f", "sync"}), "-ERR policy 'sync' is of whole keys, not of a field");
  EXPECT_EQ(node.Ask({"POLICY", "SET", "k", "handler"}),
            "-ERR policy 'handler' takes the name of one handler (HANDLER LIST)");
  EXPECT_EQ(node.Ask({"POLICY", "SET", "k", "handler", "h"}),
            "-ERR there is no handler 'h'; load it first with HANDLER LOAD");
  EXPECT_EQ(node.Ask({"POLICY", "SET", "k", "merge", "SUM"}),
            "-ERR policy 'merge' knows no function 'SUM'; one of MIN, MAX, UNION, CONCAT, JSON");
  EXPECT_EQ(node.Ask({"POLICY", "SET", "k", "FIELD"}), "-ERR a field is missing behind FIELD");
  EXPECT_EQ(node.Ask({"POLICY", "SET", "k", "FIELD", "f"}),
            "-ERR a policy is missing; one of lww, lww DELETES, priority, siblings, merge, handler, sync, pop-owner");
  EXPECT_EQ(node.Ask({"POLICY", "SET", "k", "FIELD", std::string(1025, 'f'), "lww"}),
            "-LIMIT field longer than 1024 bytes; it can have no policy of its own");
  EXPECT_EQ(node.Ask({"POLICY", "GET", "k", "FIELD"}), "-ERR a field is missing behind FIELD");
  EXPECT_EQ(node.Ask({"POLICY", "GET", "k", "f"}), "-ERR syntax error");
  EXPECT_EQ(node.Ask({"POLICY", "DEL", "k", "FIELD", "f", "g"}), "-ERR syntax error");
  EXPECT_EQ(node.Ask({"POLICY", "SET", "", "lww"}),
            "-ERR a pattern must not be empty; '*' is for all keys");
  std::string longest(conflict::kPatternBytesMax, 'x');
  EXPECT_EQ(node.Ask({"POLICY", "SET", longest, "lww"}), "+OK");
  EXPECT_EQ(node.Ask({"POLICY", "SET", longest + "x", "lww"}),
            "-LIMIT pattern longer than 1024 bytes");
  EXPECT_EQ(node.Ask({"POLICY", "SET", "k"}),
            "-ERR wrong number of arguments for 'policy|set' command");
  EXPECT_EQ(node.effects(), 1U);
  for (size_t i = 0; i < conflict::kPatternsMax; ++i)
    node.SetPolicy("p" + std::to_string(i), "lww");
  EXPECT_TRUE(node.Ask({"POLICY", "SET", "one more", "lww"}).starts_with("-LIMIT "));
  EXPECT_EQ(node.Ask({"POLICY", "SET", longest, "siblings"}), "+OK") << "changing one is no more";
}

// ---- CONFLICT: open ones

TEST(ConflictCommand, WikiTitle) {
  TestNode node;
  node.SetPolicy("wiki:*", "siblings");
  node.Ask({"SET", "wiki:title", "B"});
  node.Remote("wiki:title", "C");
  node.Ask({"SET", "other", "x"});
  EXPECT_EQ(node.Ask({"GET", "wiki:title"}),
            "-CONFLICT 2 concurrent versions of 'wiki:title'; see CONFLICT GET");
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST"}), "[\"wiki:title\"]");
  EXPECT_EQ(node.Ask({"CONFLICT", "COUNT"}), "1");
  EXPECT_EQ(Versions(node, "wiki:title"),
            "[[\"B\", \"eu\", ms, \"eu.0000000000000001:1\"], "
            "[\"C\", \"us\", ms, \"us.0000000000000002:1\"]]");
  std::string token = TokenIn(Get(node, "wiki:title"));
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "wiki:title", token, "B/C"}), "+OK");
  EXPECT_EQ(node.Ask({"GET", "wiki:title"}), "\"B/C\"");
  EXPECT_EQ(node.Ask({"CONFLICT", "COUNT"}), "0");
  EXPECT_EQ(Versions(node, "wiki:title"), "[[\"B/C\", \"eu\", ms, \"eu.0000000000000001:3\"]]");
}

TEST(ConflictCommand, ACollectionIsNotResolvedToAString) {
  TestNode node;
  node.Ask({"HSET", "h", "f", "1"});
  const std::string none = TokenIn(Get(node, "h"));
  size_t effects = node.effects();
  constexpr std::string_view kRefused = "-WRONGTYPE Operation against a key holding the wrong kind of value";
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "h", none, "x"}), kRefused);
  // Nor with a token of the string that it was.
  node.Ask({"SET", "k", "v"});
  const std::string old = TokenIn(Get(node, "k"));
  node.Ask({"DEL", "k"});
  node.Ask({"SADD", "k", "m"});
  effects = node.effects();
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "k", old, "x"}), kRefused);
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "k", TokenIn(Get(node, "k")), "x"}), kRefused);
  EXPECT_EQ(node.effects(), effects);
  EXPECT_EQ(node.Ask({"CONFLICT", "COUNT"}), "0");
  // Where a concurrent string stands beside the elements there is a version to replace.
  node.Remote("h", "s");
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "h", TokenIn(Get(node, "h")), "t"}), "+OK");
}

TEST(ConflictCommand, HyperLogLogsUnite) {
  TestNode node;
  node.SetPolicy("talk:*", "siblings");
  for (const char* key : {"visits", "talk:1"}) {
    SCOPED_TRACE(key);
    node.Ask({"PFADD", key, "a", "b"});
    TestNode other;
    other.Ask({"PFADD", key, "b", "c"});
    auto theirs = other.keys.Read(other.keys.Ref(0, key));
    node.Remote(key, theirs.value);
    EXPECT_EQ(node.Ask({"PFCOUNT", key}), "3");
    EXPECT_EQ(node.Ask({"CONFLICT", "COUNT"}), "0");
    EXPECT_EQ(node.Ask({"STRLEN", key}), "27") << "the union has three registers";
    EXPECT_EQ(node.keys.State(node.keys.Ref(0, key)).versions.size(), 2U);
    // The next write replaces both, and holds both.
    EXPECT_EQ(node.Ask({"PFADD", key, "a"}), "0");
    EXPECT_EQ(node.keys.State(node.keys.Ref(0, key)).versions.size(), 1U);
    EXPECT_EQ(node.Ask({"PFCOUNT", key}), "3");
  }
}

TEST(ConflictCommand, WhatCameInMeanwhileStays) {
  TestNode node;
  node.SetPolicy("*", "siblings");
  node.Ask({"SET", "k", "mine"});
  std::string token = TokenIn(Get(node, "k"));
  node.Remote("k", "theirs");
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "k", token, "resolved"}), "+OK");
  EXPECT_EQ(node.Ask({"GET", "k"}), "-CONFLICT 2 concurrent versions of 'k'; see CONFLICT GET");
  EXPECT_EQ(Versions(node, "k"),
            "[[\"resolved\", \"eu\", ms, \"eu.0000000000000001:2\"], "
            "[\"theirs\", \"us\", ms, \"us.0000000000000002:1\"]]");
  token = TokenIn(Get(node, "k"));
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "k", token, "both"}), "+OK");
  EXPECT_EQ(node.Ask({"GET", "k"}), "\"both\"");
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "k", token, "again"}), "+OK") << "a sibling, then";
  EXPECT_EQ(node.Ask({"CONFLICT", "COUNT"}), "1");
}

TEST(ConflictCommand, AnOldTokenCannotPileVersionsUp) {
  TestNode node;
  node.Ask({"SET", "k", "v"});
  std::string token = TokenIn(Get(node, "k"));
  std::string reply;
  size_t accepted = 0;
  for (; accepted < 200; ++accepted) {
    reply = node.Ask({"CONFLICT", "RESOLVE", "k", token, std::to_string(accepted)});
    if (reply != "+OK") break;
  }
  EXPECT_EQ(accepted, conflict::kVersionsMax);
  EXPECT_EQ(reply,
            "-LIMIT key holds 64 versions that the token does not name; resolve with a new token");
  token = TokenIn(Get(node, "k"));
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "k", token, "one"}), "+OK");
  EXPECT_EQ(node.Ask({"GET", "k"}), "\"one\"");
  EXPECT_EQ(node.Ask({"CONFLICT", "COUNT"}), "0");
}

TEST(ConflictCommand, DeleteAgainstEdit) {
  TestNode node;
  node.SetPolicy("*", "lww DELETES");
  node.Ask({"SET", "k", "v"});
  node.Remote("k", "edited");
  node.Ask({"SELECT", "0"});
  node.Ask({"CONFLICT", "RESOLVE", "k", TokenIn(Get(node, "k")), "base"});
  std::string token = TokenIn(Get(node, "k"));
  node.Remote("k", "edited again");
  EXPECT_EQ(node.Ask({"DEL", "k"}), "1");
  EXPECT_EQ(node.Ask({"GET", "k"}), "null");
  node.Remote("k", "late edit");
  EXPECT_EQ(node.Ask({"GET", "k"}), "\"late edit\"");
  EXPECT_EQ(node.Ask({"DEL", "k"}), "1");
  EXPECT_EQ(Get(node, "k"), "null") << "nothing but an absent";
}

// {absent@eu, B@us}, and the delete is shown: whoever deletes then has seen both.
void LoseToADelete(TestNode& node, std::string_view key) {
  node.Ask({"SET", key, "A"});
  node.Ask({"DEL", key});
  node.Remote(key, "B");
  ASSERT_EQ(node.Ask({"GET", key}), "null");
  ASSERT_TRUE(node.keys.open_conflicts().contains({0, std::string(key)}));
}

TEST(ConflictCommand, ADeleteEndsAConflictThatADeleteWon) {
  const std::vector<std::pair<std::vector<std::string_view>, std::string_view>> kDeletes = {
      {{"DEL", "k"}, "0"},
      {{"UNLINK", "k"}, "0"},
      {{"GETDEL", "k"}, "null"},
      {{"SET", "k", "x", "PXAT", "1"}, "+OK"},
      {{"SINTERSTORE", "k", "none"}, "0"},
      {{"ZUNIONSTORE", "k", "1", "none"}, "0"},
      {{"SORT", "none", "STORE", "k"}, "0"},
      {{"BITOP", "OR", "k", "none"}, "0"}};
  for (const auto& [command, reply] : kDeletes) {
    SCOPED_TRACE(command[0]);
    TestNode node;
    node.SetPolicy("*", "priority eu us");
    LoseToADelete(node, "k");
    Client& client = node.Connect();
    const auto replies = node.Run(client, command);
    ASSERT_EQ(replies.size(), 1U);
    EXPECT_EQ(replies[0].ToString(), reply);
    EXPECT_EQ(node.Ask({"CONFLICT", "COUNT"}), "0");
    // Under whatever policy comes later.
    node.policies.clear();
    EXPECT_EQ(node.Ask({"GET", "k"}), "null");
    const size_t effects = node.effects();
    EXPECT_EQ(node.Ask({"DEL", "k"}), "0");
    EXPECT_EQ(node.effects(), effects) << "of what nobody wrote since there is nothing to delete";
  }
}

TEST(ConflictCommand, HdelEndsAConflictThatAnHdelWon) {
  for (bool other : {true, false}) {
    SCOPED_TRACE(other ? "beside another field" : "of a hash that shows nothing");
    TestNode node;
    node.SetPolicy("*", "priority eu us");
    node.Ask({"HSET", "h", "f", "A"});
    if (other) node.Ask({"HSET", "h", "other", "x"});
    node.Ask({"HDEL", "h", "f"});
    node.RemoteElement("h", crdt::Type::kHash, "f", "B");
    EXPECT_EQ(node.Ask({"HGET", "h", "f"}), "null");
    EXPECT_EQ(node.Ask({"EXISTS", "h"}), other ? "1" : "0");
    EXPECT_EQ(node.Ask({"CONFLICT", "COUNT"}), "1");
    EXPECT_EQ(node.Ask({"HDEL", "h", "g", "f"}), "0");
    EXPECT_EQ(node.Ask({"CONFLICT", "COUNT"}), "0");
    node.policies.clear();
    node.keys.PoliciesChanged();
    EXPECT_EQ(node.Ask({"HGET", "h", "f"}), "null");
    const size_t effects = node.effects();
    EXPECT_EQ(node.Ask({"HDEL", "h", "f"}), "0");
    EXPECT_EQ(node.effects(), effects);
  }
  // DEL of a hash that shows nothing, too.
  TestNode node;
  node.SetPolicy("*", "priority eu us");
  node.Ask({"HSET", "h", "f", "A"});
  node.Ask({"HDEL", "h", "f"});
  node.RemoteElement("h", crdt::Type::kHash, "f", "B");
  EXPECT_EQ(node.Ask({"DEL", "h"}), "0");
  node.policies.clear();
  node.keys.PoliciesChanged();
  EXPECT_EQ(node.Ask({"EXISTS", "h"}), "0");
}

// A key past its time is removed by a change of its own.
TEST(ConflictCommand, ADeleteLeavesWhatHasExpired) {
  TestNode node;
  node.Ask({"SET", "k", "v", "PX", "100"});
  node.Ask({"HSET", "h", "f", "v"});
  node.Ask({"PEXPIRE", "h", "100"});
  node.Advance(200);
  const size_t effects = node.effects();
  EXPECT_EQ(node.Ask({"DEL", "k", "h"}), "0");
  EXPECT_EQ(node.Ask({"HDEL", "h", "f"}), "0");
  EXPECT_EQ(node.Ask({"GETDEL", "k"}), "null");
  EXPECT_EQ(node.effects(), effects);
}

TEST(ConflictCommand, AbsentIsNil) {
  TestNode node;
  node.SetPolicy("*", "siblings");
  node.Ask({"SET", "k", "v"});
  node.Ask({"DEL", "k"});
  node.Remote("k", "edited");
  EXPECT_EQ(Versions(node, "k"),
            "[[null, \"eu\", ms, \"eu.0000000000000001:2\"], "
            "[\"edited\", \"us\", ms, \"us.0000000000000002:1\"]]");
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST"}), "[\"k\"]");
  node.policies.clear();
  node.SetPolicy("*", "priority eu");
  EXPECT_EQ(node.Ask({"GET", "k"}), "null");
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST"}), "[\"k\"]") << "a delete that won is still undecided";
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "k", TokenIn(Get(node, "k")), "v2"}), "+OK");
  EXPECT_EQ(node.Ask({"GET", "k"}), "\"v2\"");
}

TEST(ConflictCommand, ListsTheClientsDatabase) {
  TestNode node;
  for (const char* key : {"b", "a", "c"}) {
    node.Ask({"SET", key, "1"});
    node.Remote(key, "2");
  }
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST"}), "[\"a\", \"b\", \"c\"]");
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST", "COUNT", "2"}), "[\"a\", \"b\"]");
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST", "match", "[bc]", "count", "9"}), "[\"b\", \"c\"]");
  Client& other = node.Connect();
  other.db = 1;
  EXPECT_EQ(node.Ask(other, {"CONFLICT", "LIST"}), "[]");
  EXPECT_EQ(node.Ask(other, {"CONFLICT", "COUNT"}), "0");
  EXPECT_EQ(node.Ask(other, {"CONFLICT", "GET", "a"}), "null");
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST", "COUNT", "0"}), "-ERR COUNT must be at least 1");
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST", "COUNT"}), "-ERR syntax error, expected: CONFLICT LIST [MATCH pattern] [COUNT n] [FIELDS]");
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST", "AFTER", "1"}), "-ERR syntax error, expected: CONFLICT LIST [MATCH pattern] [COUNT n] [FIELDS]");
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST", "COUNT", "x"}), "-" + std::string(kNotInteger));
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST", "MATCH", std::string(2000, '*')}),
            "-LIMIT pattern longer than 1024 bytes");
  EXPECT_EQ(node.Ask({"CONFLICT", "GET", "a", "FIELD", "f"}), "null");
  EXPECT_EQ(node.Ask({"CONFLICT", "GET", "a", "FIELD"}), "-ERR syntax error, expected: CONFLICT GET key [FIELD field]");
  EXPECT_EQ(node.Ask({"CONFLICT", "GET", "a", "b"}), "-ERR syntax error, expected: CONFLICT GET key [FIELD field]");
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "a", "t", "v", "FIELDS"}),
            "-ERR syntax error, expected: CONFLICT RESOLVE key token value [FIELD field]");
}

TEST(ConflictCommand, HiddenKeysAreMissing) {
  TestNode node;
  node.Ask({"SET", "k", "v"});
  node.Remote("k", "w");
  std::string token = TokenIn(Get(node, "k"));
  node.Ask({"PEXPIRE", "k", "100"});
  EXPECT_EQ(node.Ask({"CONFLICT", "COUNT"}), "1");
  node.Advance(200);
  EXPECT_EQ(Get(node, "k"), "null");
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST"}), "[]");
  EXPECT_EQ(node.Ask({"CONFLICT", "COUNT"}), "0");
  size_t effects = node.effects();
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "k", token, "x"}), "-ERR no such key");
  EXPECT_EQ(Get(node, "none"), "null");
  EXPECT_EQ(node.effects(), effects);
}

TEST(ConflictCommand, Counters) {
  TestNode node;
  node.Ask({"SET", "n", "10"});
  node.Ask({"INCRBY", "n", "5"});
  EXPECT_EQ(Versions(node, "n"),
            "[[\"10\", \"eu\", ms, \"eu.0000000000000001:1\"], "
            "[\"+5\", \"eu\", ms, \"eu.0000000000000001:2\"]]");
  std::string token = TokenIn(Get(node, "n"));
  node.Ask({"DECRBY", "n", "2"});
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "n", token, "100"}), "+OK");
  EXPECT_EQ(node.Ask({"GET", "n"}), "\"98\"") << "what the token had not seen stays";
  node.Ask({"SET", "n", "0"});
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "n", token, "7"}), "+OK");
  EXPECT_EQ(node.Ask({"CONFLICT", "COUNT"}), "1") << "the old token replaces nothing any more";
}

// ---- tokens

TEST(TokenTest, ComesBack) {
  Token token;
  token.versions = {{{"eu", 1}, 300}, {{"us.west", UINT64_MAX}, 1}};
  token.clears = {{{"eu", 1}, {1, 0}, {70'000, 9}, crdt::Number::Integer(-5)},
                  {{"us", 2}, {1, 0}, {1, 0}, crdt::Number::Real(0.5L)}};
  std::string text = EncodeToken(token, {3, "k"});
  auto back = DecodeToken(text, {3, "k"});
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, token);
  EXPECT_EQ(DecodeToken(text, {3, "l"}).status().message(), "invalid token: it is of another key or field");
  EXPECT_FALSE(DecodeToken(text, {2, "k"}).ok());
  EXPECT_FALSE(DecodeToken(text, {3, "k", "f"}).ok());
  const std::string of_field = EncodeToken(token, {3, "k", "f"});
  EXPECT_TRUE(DecodeToken(of_field, {3, "k", "f"}).ok());
  EXPECT_FALSE(DecodeToken(of_field, {3, "kf", ""}).ok());
  EXPECT_FALSE(DecodeToken(of_field, {3, "k", "g"}).ok());
  EXPECT_FALSE(DecodeToken(of_field, {3, "k"}).ok());
}

TEST(TokenTest, ForeignBytes) {
  Token token{.versions = {{{"eu", 1}, 300}}};
  const std::string text = EncodeToken(token, {0, "k"});
  base::Random random(3);
  for (size_t i = 0; i < text.size(); ++i) {
    EXPECT_FALSE(DecodeToken(text.substr(0, i), {0, "k"}).ok());
    std::string other = text;
    other[i] = other[i] == 'a' ? 'b' : 'a';
    EXPECT_FALSE(DecodeToken(other, {0, "k"}).ok());
    other[i] = static_cast<char>(random.Next());
    EXPECT_EQ(DecodeToken(other, {0, "k"}).ok(), other == text);
  }
  EXPECT_EQ(DecodeToken("rubbish", {0, "k"}).status().message(),
            "invalid token: it must be what CONFLICT GET returned");
  EXPECT_FALSE(DecodeToken("", {0, "k"}).ok());
}

TEST(ConflictCommand, TokensOfOthersAreCheckedFirst) {
  TestNode node;
  node.Ask({"SET", "k", "v"});
  node.Ask({"INCR", "n"});
  node.Ask({"INCR", "n"});
  size_t effects = node.effects();
  auto resolve = [&](const Token& token, std::string_view key = "k") {
    return node.Ask({"CONFLICT", "RESOLVE", key, EncodeToken(token, {0, key}), "x"});
  };
  EXPECT_EQ(resolve({.versions = {{{"eu", 1}, 1}, {{"us", 2}, 1}}}), kNotYet);
  EXPECT_EQ(resolve({.versions = {{{"asia", 9}, 1}}}), kNotYet) << "an origin never heard of";
  EXPECT_EQ(resolve({.clears = {{{"us", 2}, {1, 0}, {1, 0}, crdt::Number::Integer(1)}}}), kNotYet);
  EXPECT_EQ(resolve({.versions = {{{"eu", 1}, (uint64_t{1} << 48) - 1}}}), kNotYet);
  Token forged{.clears = {{{"eu", 1}, {2, 0}, {3, 0}, crdt::Number::Integer(99)}}};
  EXPECT_EQ(resolve(forged, "n"), "-ERR invalid token: it names increments that never were");
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "k", "token", "x"}),
            "-ERR invalid token: it must be what CONFLICT GET returned");
  EXPECT_EQ(node.effects(), effects);
  node.Remote("k", "w");
  EXPECT_EQ(resolve({.versions = {{{"eu", 1}, 1}, {{"us", 2}, 1}}}), "+OK");
  EXPECT_EQ(node.Ask({"GET", "k"}), "\"x\"");
}

// ---- CONFLICT: decided ones

conflict::LedgerEntry Decided(std::string key,
                              std::string shown,
                              std::string lost,
                              uint8_t db = 0) {
  conflict::LedgerEntry e{
      .noted_ms = kTestStartMs, .db = db, .key = std::move(key), .policy = "lww"};
  e.shown = {.value = std::move(shown),
             .origin = {"us", 2},
             .sequence = 4,
             .hlc = clock::Hlc::FromMs(1000)};
  e.lost = {
      .value = std::move(lost), .origin = {"eu", 1}, .sequence = 3, .hlc = clock::Hlc::FromMs(999)};
  return e;
}

TEST(ConflictCommand, LogAndRestore) {
  TestNode node;
  node.cluster.ledger().Note(Decided("a", "C", "B"));
  node.cluster.ledger().Note(Decided("b", "C", "B", 1));
  conflict::LedgerEntry deleted = Decided("c", "C", "");
  deleted.lost.absent = true;
  node.cluster.ledger().Note(deleted);
  EXPECT_EQ(
      node.Ask({"CONFLICT", "LOG", "MATCH", "a"}),
      "[[\"id\", 1, \"time\", 1700000000000, \"key\", \"a\", \"field\", \"\", \"policy\", \"lww\", "
      "\"shown\", [\"C\", \"us\", 1000, \"us.0000000000000002:4\"], "
      "\"lost\", [[\"B\", \"eu\", 999, \"eu.0000000000000001:3\"]]]]");
  EXPECT_TRUE(node.Ask({"CONFLICT", "LOG", "AFTER", "1"}).starts_with("[[\"id\", 3,"));
  EXPECT_TRUE(node.Ask({"CONFLICT", "LOG", "COUNT", "1"}).starts_with("[[\"id\", 1,"));
  EXPECT_EQ(node.Ask({"CONFLICT", "LOG", "AFTER", "3"}), "[]");
  EXPECT_EQ(node.Ask({"CONFLICT", "LOG", "AFTER", "-1"}),
            "-ERR AFTER must be an id of CONFLICT LOG");

  node.Ask({"SET", "a", "C", "EX", "100"});
  node.Ask({"SET", "c", "C"});
  size_t effects = node.effects();
  EXPECT_EQ(node.Ask({"CONFLICT", "RESTORE", "1", "us.0000000000000002:99"}),
            "-ERR wrong tag: what lost in conflict 1 is eu.0000000000000001:3");
  EXPECT_EQ(node.Ask({"CONFLICT", "RESTORE", "2", "eu.0000000000000001:3"}),
            "-ERR no conflict 2 in the log of this leader, for this database");
  EXPECT_EQ(node.Ask({"CONFLICT", "RESTORE", "-1", "x"}),
            "-ERR no conflict -1 in the log of this leader, for this database");
  EXPECT_EQ(node.Ask({"CONFLICT", "RESTORE", "?", "x"}),
            "-ERR invalid id: it must be one of CONFLICT LOG");
  EXPECT_EQ(node.effects(), effects);
  EXPECT_EQ(node.Ask({"CONFLICT", "RESTORE", "1", "eu.0000000000000001:3"}), "+OK");
  EXPECT_EQ(node.Ask({"GET", "a"}), "\"B\"");
  EXPECT_EQ(node.Ask({"TTL", "a"}), "-1");
  EXPECT_EQ(node.Ask({"CONFLICT", "RESTORE", "3", "eu.0000000000000001:3"}), "+OK");
  EXPECT_EQ(node.Ask({"EXISTS", "c"}), "0");
}

// What the entry calls shown may be what lost, under a policy that came later; a delete, too.
TEST(ConflictCommand, RestoreOfADeleteThatIsShownEndsTheConflict) {
  TestNode node;
  node.SetPolicy("*", "priority eu us");
  LoseToADelete(node, "k");
  conflict::LedgerEntry entry = Decided("k", "", "B");
  entry.shown.absent = true;
  node.cluster.ledger().Note(entry);
  EXPECT_EQ(node.Ask({"CONFLICT", "RESTORE", "1", "us.0000000000000002:4"}), "+OK");
  EXPECT_EQ(node.Ask({"CONFLICT", "COUNT"}), "0");
  node.policies.clear();
  EXPECT_EQ(node.Ask({"GET", "k"}), "null");
}

TEST(ConflictCommand, TheLogIsFiltered) {
  TestNode node;
  conflict::LedgerEntry entry = Decided("a", "C", "B");  // eu's value lost, at 1700000000000
  node.cluster.ledger().Note(entry);
  entry.key = "b";
  entry.policy = "merge MAX";
  entry.noted_ms += 500;
  std::swap(entry.shown, entry.lost);
  node.cluster.ledger().Note(entry);
  auto ids = [&](auto... filter) {
    const std::string reply = node.Ask({"CONFLICT", "LOG", filter...});
    if (reply[0] == '-') return reply;
    std::string found;
    for (size_t at = 0; (at = reply.find("[\"id\", ", at)) != std::string::npos; at += 7) found += reply[at + 7];
    return found;
  };
  EXPECT_EQ(ids(), "12");
  EXPECT_EQ(ids("POLICY", "merge*"), "2");
  EXPECT_EQ(ids("POLICY", "lww"), "1");
  EXPECT_EQ(ids("LEADER", "eu"), "1");
  EXPECT_EQ(ids("LEADER", "us"), "2");
  EXPECT_EQ(ids("LEADER", "asia"), "");
  EXPECT_EQ(ids("SINCE", "1700000000001"), "2");
  EXPECT_EQ(ids("UNTIL", "1700000000000"), "1");
  EXPECT_EQ(ids("SINCE", "1700000000000", "UNTIL", "1700000000500", "MATCH", "b", "COUNT", "5"), "2");
  EXPECT_EQ(ids("SINCE", "x"), "-ERR value is not an integer or out of range");
  EXPECT_EQ(ids("SINCE", "-1"), "-ERR a time is given in milliseconds since 1970");
  EXPECT_EQ(ids("POLICY"),
            "-ERR syntax error, expected: CONFLICT LOG [MATCH pattern] [COUNT n] [AFTER id] [POLICY pattern] [LEADER id] "
            "[SINCE unix-ms] [UNTIL unix-ms]");
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST", "LEADER", "eu"}), "-ERR syntax error, expected: CONFLICT LIST [MATCH pattern] [COUNT n] [FIELDS]") << "of LOG only";
}

TEST(ConflictCommand, ListsRegisterByRegister) {
  TestNode node;
  node.SetPolicy("*", "siblings");
  node.Ask({"SET", "k", "mine"});
  node.Remote("k", "theirs");
  node.Ask({"SET", "plain", "x"});
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST", "FIELDS"}), "[[\"k\", \"\", \"string\", 2]]");
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST", "COUNT", "3", "FIELDS", "MATCH", "z*"}), "[]");
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST"}), "[\"k\"]");
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST", "FIELDS", "COUNT"}), "-ERR syntax error, expected: CONFLICT LIST [MATCH pattern] [COUNT n] [FIELDS]");
}

TEST(ConflictCommand, GetIsAMapInResp3) {
  TestNode node;
  node.SetPolicy("*", "siblings");
  node.Ask({"SET", "k", "mine"});
  node.Remote("k", "theirs");
  node.Ask({"HELLO", "3"});
  const std::string reply = node.Ask({"CONFLICT", "GET", "k"});
  EXPECT_TRUE(reply.starts_with("{\"token\": \"")) << reply;
  EXPECT_NE(reply.find("\"versions\": [{\"value\": \"mine\", \"leader\": \"eu\", \"time\": "), std::string::npos) << reply;
  EXPECT_NE(reply.find("\"tag\": \"us.0000000000000002:1\"}]}"), std::string::npos) << reply;
  EXPECT_EQ(node.Ask({"CONFLICT", "GET", "none"}), "null");
}

// ---- LEADER, LINK, TOPOLOGY, POLYARCH

TEST(LeaderCommand, List) {
  TestNode node;
  const std::string unknown = node.Ask({"LEADER", "LIST"});
  EXPECT_NE(unknown.find("\"clock_difference_ms\", null, \"self\", 0"), std::string::npos) << unknown;
  node.cluster.leaders[1].lag_changes = 7;
  node.cluster.leaders[1].clock_difference_ms = -3;
  EXPECT_EQ(
      node.Ask({"LEADER", "LIST"}),
      "[[\"id\", \"eu\", \"incarnation\", \"0000000000000001\", \"address\", \"\", \"state\", "
      "\"alive\", \"lag_changes\", 0, \"lag_ms\", 0, \"retained_log_bytes\", 0, "
      "\"clock_difference_ms\", 0, \"self\", 1, "
      "\"link\", \"up\", \"next\", \"\", \"hops\", 0], "
      "[\"id\", \"us\", \"incarnation\", \"\", \"address\", \"127.0.0.1:8401\", \"state\", "
      "\"alive\", \"lag_changes\", 7, \"lag_ms\", 0, \"retained_log_bytes\", 0, "
      "\"clock_difference_ms\", -3, \"self\", 0, "
      "\"link\", \"up\", \"next\", \"us\", \"hops\", 1]]");
}

TEST(PolicyCommand, ALeadersNameIsBounded) {
  TestNode node;
  EXPECT_EQ(node.Ask({"POLICY", "SET", "p", "PRIORITY", std::string(255, 'a')}), "+OK");
  EXPECT_EQ(node.Ask({"POLICY", "SET", "p", "PRIORITY", std::string(256, 'a')}).substr(0, 5), "-ERR ");
}

TEST(LeaderCommand, Priority) {
  TestNode node;
  EXPECT_EQ(node.Ask({"LEADER", "PRIORITY", "us", "eu"}), "+OK");
  EXPECT_EQ(Stored(node, "priority"), "us eu");
  EXPECT_EQ(node.Ask({"LEADER", "PRIORITY", "us", "asia"}),
            "-ERR no leader 'asia'; see LEADER LIST");
  EXPECT_EQ(node.Ask({"LEADER", "PRIORITY", "us", "us"}), "-ERR leader 'us' is named twice");
  EXPECT_EQ(node.Ask({"LEADER", "PRIORITY"}),
            "-ERR wrong number of arguments for 'leader|priority' command");
  EXPECT_EQ(Stored(node, "priority"), "us eu");
}

TEST(LeaderCommand, Retire) {
  TestNode node;
  EXPECT_EQ(node.Ask({"LEADER", "RETIRE", "asia"}), "-ERR no leader 'asia'; see LEADER LIST");
  EXPECT_EQ(node.Ask({"LEADER", "RETIRE", "eu"}), "-ERR a leader cannot retire itself");
  EXPECT_EQ(Stored(node, "retired/us"), "none");
  EXPECT_EQ(node.Ask({"LEADER", "RETIRE", "us"}), "+OK");
  EXPECT_EQ(Stored(node, "retired/us"), "0123456789abcdef");
}

TEST(LinkCommand, CutHealDelay) {
  TestNode node;
  EXPECT_EQ(node.Ask({"LINK", "CUT", "us"}), "+OK");
  EXPECT_TRUE(node.cluster.leaders[1].link_cut);
  EXPECT_EQ(node.Ask({"LINK", "HEAL", "us"}), "+OK");
  EXPECT_FALSE(node.cluster.leaders[1].link_cut);
  EXPECT_EQ(node.Ask({"LINK", "DELAY", "us", "300"}), "+OK");
  EXPECT_EQ(node.cluster.leaders[1].link_delay_ms, 300);
  EXPECT_NE(node.Ask({"LEADER", "LIST"}).find("\"link\", \"delayed\""), std::string::npos);
  EXPECT_EQ(node.Ask({"LINK", "DELAY", "us", "-1"}), "-ERR a delay is from 0 to 3600000 ms");
  EXPECT_EQ(node.Ask({"LINK", "DELAY", "us", "x"}), "-" + std::string(kNotInteger));
  EXPECT_EQ(node.Ask({"LINK", "CUT", "mars"}), "-ERR no such leader");
  EXPECT_EQ(node.Ask({"LINK", "CUT", "eu"}), "-ERR that is this leader itself");
}

TEST(TopologyCommand, GetShowsLinksAndRoutes) {
  TestNode node;
  node.cluster.topology = {.topology = "ring eu us asia",
                           .configured = {"asia-eu", "asia-us", "eu-us"},
                           .live = {"asia-us", "eu-us"},
                           .bypasses = {},
                           .routes = {{"asia", "us", 2}, {"us", "us", 1}},
                           .sources = {{"us.0000000000000002", "us"}}};
  node.cluster.leaders.push_back({.id = "asia", .state = "alive", .next = "us", .hops = 2});
  EXPECT_EQ(node.Ask({"TOPOLOGY", "GET"}),
            "[\"topology\", \"ring eu us asia\", \"configured\", [\"asia-eu\", \"asia-us\", \"eu-us\"], "
            "\"live\", [\"asia-us\", \"eu-us\"], \"bypasses\", [], "
            "\"links\", [\"us\", \"up\", \"asia\", \"none\"], \"routes\", "
            "[\"asia\", [\"next\", \"us\", \"hops\", 2], \"us\", [\"next\", \"us\", \"hops\", 1]], "
            "\"origins\", [\"us.0000000000000002\", \"us\"]]");
  node.cluster.leaders[1].hops = 0;
  EXPECT_NE(node.Ask({"TOPOLOGY", "GET"}).find("[\"us\", \"down\""), std::string::npos);
}

TEST(TopologyCommand, SetStoresWhatTheClusterUnderstands) {
  TestNode node;
  EXPECT_EQ(node.Ask({"TOPOLOGY", "SET", "ring", "eu", "us"}), "+OK");
  EXPECT_EQ(Stored(node, "topology"), "ring eu us");
  EXPECT_EQ(node.Ask({"TOPOLOGY", "SET", "cube"}), "-ERR unknown topology 'cube'");
  EXPECT_EQ(Stored(node, "topology"), "ring eu us");
  EXPECT_EQ(node.Ask({"TOPOLOGY", "SET"}), "-ERR wrong number of arguments for 'topology|set' command");
}

TEST(PolyarchCommand, VectorDigestVersion) {
  TestNode node;
  node.Ask({"SET", "k", "v"});
  EXPECT_EQ(node.Ask({"POLYARCH", "VV"}), "\"eu.0000000000000001:1\"");
  EXPECT_EQ(node.Ask({"POLYARCH", "DIGEST"}),
            "[\"eu.0000000000000001:1\", \"" + std::string(32, '0') + "\"]");
  EXPECT_EQ(node.Ask({"POLYARCH", "VERSION"}), "\"0.1.0\"");
}

// Within a change its effects are there and the vector does not name them yet: one vector would have two digests.
TEST(PolyarchCommand, VectorAndDigestAreOfNoChangeUnderWay) {
  TestNode node;
  node.Ask({"MULTI"});
  node.Ask({"SET", "k", "v"});
  EXPECT_TRUE(node.Ask({"POLYARCH", "DIGEST"}).starts_with("-ERR "));
  EXPECT_TRUE(node.Ask({"POLYARCH", "VV"}).starts_with("-ERR "));
  EXPECT_TRUE(node.Ask({"EXEC"}).starts_with("-EXECABORT"));
  for (std::string_view word : {"digest", "vv"}) {
    const std::string_view args[] = {"polyarch", word};
    const Row* row = Table::Instance().Find(args);
    ASSERT_NE(row, nullptr);
    EXPECT_EQ(row->flags & (kNoScript | kNoMulti), static_cast<uint32_t>(kNoScript | kNoMulti));
  }
}

TEST(PolyarchCommand, CheckpointIsWaitedFor) {
  TestNode node;
  EXPECT_EQ(node.Ask({"POLYARCH", "CHECKPOINT"}), "(none)");
  EXPECT_TRUE(node.last_suspended);
  node.cluster.checkpoint_done = true;
  EXPECT_EQ(node.Ask({"POLYARCH", "CHECKPOINT"}), "+OK");
  EXPECT_FALSE(node.last_suspended);
  EXPECT_EQ(node.server.clients[0]->ticket, 0U);
}

TEST(PolyarchCommand, BackupIsWaitedFor) {
  TestNode node;
  EXPECT_EQ(node.Ask({"POLYARCH", "BACKUP", "x"}), "-ERR an absolute path");
  EXPECT_FALSE(node.last_suspended);
  EXPECT_EQ(node.Ask({"POLYARCH", "BACKUP", "/x"}), "(none)");
  EXPECT_TRUE(node.last_suspended);
  EXPECT_EQ(node.Ask({"POLYARCH", "BACKUP", "/x"}), "(none)") << "resumed for another reason";
  node.server.backup = BackupSummary{"/x", "eu.0000000000000001:5", 6, 1000, 1'700'000'000'000};
  EXPECT_EQ(node.Ask({"POLYARCH", "BACKUP", "/x"}),
            "[\"path\", \"/x\", \"vv\", \"eu.0000000000000001:5\", \"files\", 6, \"bytes\", 1000, "
            "\"taken_ms\", 1700000000000]");
  EXPECT_FALSE(node.last_suspended);
  EXPECT_EQ(node.server.clients[0]->ticket, 0U);
  node.server.backup = base::Status(base::Code::kFull, "too little room");
  EXPECT_EQ(node.Ask({"POLYARCH", "BACKUP", "/y"}), "-DISKFULL too little room");
  node.server.backup = base::IoError("no right");
  EXPECT_EQ(node.Ask({"POLYARCH", "BACKUP", "/y"}), "-ERR no right");
  EXPECT_EQ(node.server.clients[0]->ticket, 0U);
  EXPECT_EQ(node.effects(), 0U);
}

TEST(PolyarchCommand, EachContainerHasHelp) {
  TestNode node;
  for (const char* container : {"POLICY", "CONFLICT", "LEADER", "LINK", "TOPOLOGY", "POLYARCH"}) {
    std::string help = node.Ask({container, "HELP"});
    EXPECT_NE(help.find(std::string(container) + " <subcommand>"), std::string::npos) << help;
    EXPECT_EQ(node.Ask({container}),
              "-ERR wrong number of arguments for '" + ToLower(container) + "' command");
    EXPECT_EQ(node.Ask({container, "NOSUCH"}),
              "-ERR unknown subcommand 'NOSUCH'. Try " + std::string(container) + " HELP.");
  }
  std::string help = node.Ask({"POLICY", "HELP"});
  const std::string of_feeds = node.Ask({"CONFLICT", "FEED", "HELP"});
  EXPECT_NE(of_feeds.find("CREATE <group> <pattern> [DECIDED] LEADERS <leader> [<leader> ...]"), std::string::npos) << of_feeds;
  EXPECT_NE(help.find("SET <pattern> [FIELD <field>] LWW [DELETES]|PRIORITY [<leader> [<leader> ...]]|SIBLINGS"),
            std::string::npos)
      << help;
}

}  // namespace
}  // namespace polyarch::command
