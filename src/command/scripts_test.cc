// Scripts at one node: one change, what is taken back, what is kept where. What clients see beside
// Redis is in tests/transcript/script*.txt and function.txt; limits of the interpreter in
// script/script_test.cc.
#include "command/scripts.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/sha1.h"
#include "command/command_test_env.h"
#include "rdb/libraries.h"

namespace polyarch::command {
namespace {

class ScriptsTest : public testing::Test {
 protected:
  std::string Eval(std::string_view source, std::initializer_list<std::string_view> keys = {}) {
    std::vector<std::string_view> args = {"EVAL", source};
    const std::string count = std::to_string(keys.size());
    args.push_back(count);
    args.insert(args.end(), keys);
    const auto replies = node.Run(*node.server.clients[0], args);
    return replies.empty() ? "(none)" : replies[0].ToString();
  }
  // All that clients can see, with its versions.
  base::Digest128 Digest() { return node.keys.Digest(); }

  TestNode node;
};

TEST(Sha1, OfKnownTexts) {
  EXPECT_EQ(base::Sha1Hex(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  EXPECT_EQ(base::Sha1Hex("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(base::Sha1Hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
  EXPECT_EQ(base::Sha1Hex(std::string(1'000'000, 'a')), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
  for (size_t size = 50; size < 70; ++size)
    EXPECT_EQ(base::Sha1Hex(std::string(size, 'x')).size(), 40U);
}

TEST_F(ScriptsTest, IsOneChange) {
  const size_t before = node.sink.changes;
  EXPECT_EQ(Eval("redis.call('SET', 'a', '1') redis.call('RPUSH', 'l', 'x', 'y') return "
                 "redis.call('INCR', 'n')"),
            "1");
  EXPECT_EQ(node.sink.changes, before + 1);
  EXPECT_EQ(Eval("return redis.call('GET', 'a')"), "\"1\"");
  EXPECT_EQ(node.sink.changes, before + 1) << "one that writes nothing is none";
  node.Ask({"MULTI"});
  node.Ask({"SET", "b", "2"});
  node.Ask({"EVAL", "return redis.call('SET', 'c', '3')", "0"});
  node.Ask({"EVAL", "return redis.call('SET', 'd', '4')", "0"});
  EXPECT_EQ(node.Ask({"EXEC"}), "[+OK, +OK, +OK]");
  EXPECT_EQ(node.sink.changes, before + 2) << "in EXEC it is part of that change";
}

TEST_F(ScriptsTest, WhatItWroteBeforeAnErrorStays) {
  EXPECT_TRUE(Eval("redis.call('SET', 'a', '1') error('x')").starts_with("-ERR user_script:1: x"));
  EXPECT_EQ(node.Ask({"GET", "a"}), "\"1\"");
}

// A key of each kind, with all that commands do to it.
void Fill(TestNode& node) {
  node.Ask({"SET", "string", "text", "EX", "100"});
  node.Ask({"SET", "plain", "text"});
  node.Ask({"INCRBY", "counter", "7"});
  node.Ask({"RPUSH", "list", "1", "2", "3", "4", "5"});
  node.Ask({"HSET", "hash", "f", "1", "g", "2"});
  node.Ask({"HINCRBY", "hash", "n", "5"});
  node.Ask({"SADD", "set", "a", "b", "c"});
  node.Ask({"ZADD", "zset", "1", "a", "2", "b"});
  node.Ask({"XADD", "stream", "1-1", "f", "v"});
  node.Ask({"XADD", "stream", "2-1", "f", "v"});
  node.Ask({"XADD", "stream", "3-1", "f", "v"});
  node.Ask({"EXPIRE", "set", "1000"});
  for (int i = 0; i < 300; ++i) {
    const std::string n = std::to_string(i);
    node.Ask({"RPUSH", "long", n});
    node.Ask({"HSET", "large", n, n});
    node.Ask({"ZADD", "ranks", n, n});
    node.Ask({"XADD", "events", n + "-1", "f", n});
  }
}

constexpr std::string_view kWrites[] = {
    "SET string new",
    "SET plain new",
    "SET list new",
    "APPEND string more",
    "DEL string",
    "DEL list",
    "DEL hash",
    "INCR counter",
    "INCRBYFLOAT counter 1.5",
    "SET counter 5",
    "DEL counter",
    "LPUSH list 0",
    "RPUSH list 6",
    "LPOP list",
    "RPOP list 2",
    "LSET list 1 x",
    "LINSERT list BEFORE 3 x",
    "LREM list 0 3",
    "LTRIM list 1 2",
    "LTRIM list 5 1",
    "HSET hash f 9",
    "HSET hash new 1",
    "HDEL hash f",
    "HDEL hash f g n",
    "HINCRBY hash n 2",
    "HINCRBY hash new 2",
    "SADD set d",
    "SREM set a",
    "SPOP set",
    "SPOP set 3",
    "SMOVE set other a",
    "ZADD zset 5 a",
    "ZADD zset 5 c",
    "ZINCRBY zset 2 a",
    "ZREM zset a",
    "ZREMRANGEBYRANK zset 0 -1",
    "ZPOPMIN zset",
    "XADD stream 4-1 f v",
    "XDEL stream 2-1",
    "XTRIM stream MAXLEN 1",
    "XGROUP CREATE stream g 0",
    "XREADGROUP GROUP g c STREAMS stream >",
    "EXPIRE string 5",
    "EXPIRE list 5",
    "PERSIST string",
    "PERSIST set",
    "RENAME string other",
    "RENAME list string",
    "COPY hash copy",
    "COPY list hash REPLACE",
    "SUNIONSTORE set set",
    "ZUNIONSTORE zset 1 zset",
    "SORT list STORE list",
    "LMOVE list other LEFT RIGHT",
    "LPUSH long x",
    "LPOP long",
    "LTRIM long 10 20",
    "LTRIM long 0 290",
    "LREM long 0 77",
    "DEL long",
    "HSET large 5 x",
    "HDEL large 5 6 7",
    "HSET large more x",
    "DEL large",
    "ZADD ranks 1000 5",
    "ZREM ranks 7",
    "ZREMRANGEBYSCORE ranks 10 100",
    "DEL ranks",
    "XADD events MAXLEN 100 1000-1 f v",
    "XTRIM events MAXLEN 10",
    "XDEL events 5-1",
    "DEL events",
    "SELECT 3",
    "SET elsewhere x",
    "SELECT 0",
    "MOVE plain 5",
    "SWAPDB 0 1",
    "FLUSHDB",
    "FLUSHALL",
    "SETBIT plain 100 1",
    "PFADD sketch a b c",
    "GETDEL plain",
    "MSET a 1 b 2 plain 3",
    "SETRANGE plain 2 xx",
    "RPUSH fresh 1 2",
    "SADD fresh2 a",
    "DEL fresh",
};

std::string CallOf(std::string_view line) {
  std::string call = "redis.pcall(";
  while (!line.empty()) {
    const std::string_view word = line.substr(0, line.find(' '));
    call += (call.back() == '(' ? "'" : ", '") + std::string(word) + "'";
    line.remove_prefix(std::min(line.size(), word.size() + 1));
  }
  return call + ") ";
}

// One command, then many in random orders: a script that a limit ends leaves nothing of them.
TEST_F(ScriptsTest, WhatALimitEndsLeavesNothing) {
  Fill(node);
  const base::Digest128 digest = Digest();
  const std::string end = " string.rep('x', 1e12)";
  for (std::string_view line : kWrites) {
    const size_t effects = node.effects();
    const std::string reply = Eval(CallOf(line) + end);
    EXPECT_EQ(
        reply,
        "-LIMIT the script was ended, and nothing was done: it takes more than 100000000 steps")
        << line;
    EXPECT_EQ(Digest(), digest) << line;
    EXPECT_EQ(node.effects(), effects) << line;
    if (Digest() != digest) return;
  }
  base::Random random(7);
  for (int round = 0; round < 200; ++round) {
    std::string source;
    std::string told;
    for (uint64_t n = 1 + random.Below(12); n > 0; --n) {
      const std::string_view line = kWrites[random.Below(std::size(kWrites))];
      source += CallOf(line);
      told += std::string(line) + "; ";
    }
    EXPECT_TRUE(Eval(source + end).starts_with("-LIMIT the script was ended")) << told;
    EXPECT_EQ(Digest(), digest) << told;
    if (Digest() != digest) return;
  }
  EXPECT_EQ(node.Ask({"LRANGE", "list", "0", "-1"}), "[\"1\", \"2\", \"3\", \"4\", \"5\"]");
  EXPECT_EQ(node.Ask({"XLEN", "events"}), "300");
  EXPECT_EQ(node.Ask({"ZRANK", "ranks", "42"}), "42");
  EXPECT_EQ(node.Ask({"LINDEX", "long", "-1"}), "\"299\"");
  EXPECT_EQ(node.Ask({"HGET", "hash", "n"}), "\"5\"");
  EXPECT_EQ(node.Ask({"TTL", "string"}), "100");
  EXPECT_EQ(node.Ask({"DBSIZE"}), "12");
}

TEST_F(ScriptsTest, ATooLargeOneLeavesNothing) {
  node.Ask({"SET", "a", "1"});
  const base::Digest128 digest = Digest();
  EXPECT_EQ(
      Eval("local x = ('x'):rep(20000000) for i = 1, 5 do redis.call('SET', 'k' .. i, x) end"),
      "-LIMIT the script would write more than fits into one change (68157440 bytes); nothing was "
      "done");
  EXPECT_EQ(Digest(), digest);
  EXPECT_EQ(node.Ask({"DBSIZE"}), "1");
}

// What a script takes out of a key is copied, which takes more than it did itself: too much is refused before that.
TEST_F(ScriptsTest, DoesNotCopyWithoutEnd) {
  for (int i = 0; i < 130; ++i) {
    ASSERT_EQ(Eval("local t = {} for j = 1, 5000 do t[j] = j end for i = 1, 2 do "
                   "redis.call('RPUSH', 'l', unpack(t)) end")
                  .substr(0, 4),
              "null");
  }
  EXPECT_EQ(node.Ask({"LLEN", "l"}), "1300000");
  node.Ask({"SET", "a", "1"});
  const std::string refused =
      "-LIMIT the script would replace more than 268435456 bytes; nothing was done";
  for (const char* source : {"redis.call('LTRIM', 'l', 0, 9)", "redis.call('FLUSHALL')"}) {
    EXPECT_EQ(Eval(source), refused) << source;
    EXPECT_EQ(node.Ask({"LLEN", "l"}), "1300000") << source;
    EXPECT_EQ(node.Ask({"GET", "a"}), "\"1\"") << source;
  }
  // What goes whole is no copy: it is put aside, and put back.
  for (const char* source : {"redis.call('DEL', 'l')",
                             "redis.call('UNLINK', 'a', 'l')",
                             "redis.call('RPUSH', 'l', 'x') redis.call('SET', 'l', 'y') redis.call('DEL', 'l') "
                             "redis.call('RPUSH', 'l', 'z')",
                             "redis.call('RENAME', 'a', 'l')"}) {
    const std::string then =
        " local x = ('x'):rep(20000000) for i = 1, 5 do redis.call('SET', 'k' .. i, x) end";
    EXPECT_EQ(Eval(source + then),
              "-LIMIT the script would write more than fits into one change (68157440 bytes); nothing was done")
        << source;
    EXPECT_EQ(node.Ask({"LLEN", "l"}), "1300000") << source;
    EXPECT_EQ(node.Ask({"LINDEX", "l", "-1"}), "\"5000\"") << source;
    EXPECT_EQ(node.Ask({"GET", "a"}), "\"1\"") << source;
  }
  EXPECT_EQ(
      Eval("redis.call('RPUSH', 'l', 'x') redis.call('DEL', 'a') return redis.call('LPOP', 'l')"),
      "\"1\"");
  EXPECT_EQ(node.Ask({"DEL", "l"}), "1");
}

TEST_F(ScriptsTest, TheWholeTransactionIsTakenBackWithIt) {
  node.Ask({"SET", "a", "1"});
  node.Ask({"RPUSH", "l", "1"});
  const base::Digest128 digest = Digest();
  node.Ask({"MULTI"});
  node.Ask({"SET", "a", "2"});
  node.Ask({"RPUSH", "l", "2"});
  node.Ask({"EVAL", "redis.call('SET', 'b', '1') while true do end", "0"});
  node.Ask({"SET", "c", "1"});
  EXPECT_EQ(
      node.Ask({"EXEC"}),
      "-LIMIT the script was ended, and nothing was done: it takes more than 100000000 steps");
  EXPECT_EQ(Digest(), digest);
  EXPECT_EQ(node.Ask({"SET", "a", "3"}), "+OK");
}

// One that may not write does, in a transaction, what the others do.
TEST_F(ScriptsTest, TheWholeTransactionIsTakenBackWithOneThatOnlyReads) {
  const std::string sha = base::Sha1Hex("while true do end");
  node.Ask({"SCRIPT", "LOAD", "while true do end"});
  node.Ask({"FUNCTION",
            "LOAD",
            "#!lua name=l\nredis.register_function{function_name = 'f', callback = function() while "
            "true do end end, flags = {'no-writes'}}"});
  node.Ask({"SET", "a", "1"});
  const base::Digest128 digest = Digest();
  const std::vector<std::vector<std::string_view>> calls = {{"EVAL_RO", "while true do end", "0"},
                                                            {"EVALSHA_RO", sha, "0"},
                                                            {"FCALL_RO", "f", "0"}};
  for (const auto& call : calls) {
    node.Ask({"MULTI"});
    node.Ask({"SET", "a", "2"});
    node.Run(*node.server.clients[0], call);
    EXPECT_EQ(
        node.Ask({"EXEC"}),
        "-LIMIT the script was ended, and nothing was done: it takes more than 100000000 steps")
        << call[0];
    EXPECT_EQ(node.Ask({"GET", "a"}), "\"1\"") << call[0];
    EXPECT_EQ(Digest(), digest) << call[0];
  }
}

TEST_F(ScriptsTest, MessagesGoOutWhenItHasEnded) {
  EXPECT_EQ(Eval("redis.call('PUBLISH', 'c', 'lost') while true do end").substr(0, 6), "-LIMIT");
  EXPECT_TRUE(node.cluster.published.empty());
  Eval("redis.call('PUBLISH', 'c', 'one') redis.call('PUBLISH', 'c', 'two')");
  const std::vector<std::pair<std::string, std::string>> both = {{"c", "one"}, {"c", "two"}};
  EXPECT_EQ(node.cluster.published, both);
}

TEST_F(ScriptsTest, EventsAreToldWhenItHasEnded) {
  node.notify = true;
  EXPECT_EQ(Eval("redis.call('SET', 'a', '1') while true do end").substr(0, 6), "-LIMIT");
  EXPECT_TRUE(node.cluster.events.empty());
  Eval("redis.call('SET', 'a', '1') redis.call('LPUSH', 'l', 'x')");
  ASSERT_GE(node.cluster.events.size(), 2U);
  EXPECT_EQ(node.cluster.events.back().second, "lpush 0 l");
}

TEST_F(ScriptsTest, WhatItMayPublishIsBounded) {
  constexpr std::string_view kMany = "local m = string.rep('x', 20000000) redis.call('SET', 'a', '1') "
                                     "for i = 1, 4 do redis.call('PUBLISH', 'c', m) end";
  constexpr std::string_view kTwo = "local m = string.rep('x', 20000000) for i = 1, 2 do redis.call('PUBLISH', 'c', m) end";
  constexpr std::string_view kRefused = "-LIMIT the script would publish more than 68157440 bytes; nothing was done";
  EXPECT_EQ(Eval(kMany), kRefused);
  EXPECT_TRUE(node.cluster.published.empty());
  EXPECT_EQ(node.Ask({"GET", "a"}), "null");
  EXPECT_EQ(Eval(kTwo), "null");
  EXPECT_EQ(node.cluster.published.size(), 2U);
  // What a message takes beside its bytes counts, too.
  EXPECT_EQ(Eval("for i = 1, 2000000 do redis.call('PUBLISH', '', '') end"), kRefused);
  // All scripts of a transaction have one sum.
  node.Ask({"MULTI"});
  node.Ask({"SET", "a", "1"});
  node.Ask({"EVAL", kTwo, "0"});
  node.Ask({"EVAL", kTwo, "0"});
  EXPECT_EQ(node.Ask({"EXEC"}), kRefused);
  EXPECT_EQ(node.cluster.published.size(), 2U);
  EXPECT_EQ(node.Ask({"GET", "a"}), "null");
  // Events count as well, one call's too.
  node.notify = true;
  EXPECT_EQ(Eval("local k = string.rep('k', 60000) for i = 1, 1200 do redis.call('EXISTS', k) end"), kRefused);
  EXPECT_EQ(Eval("local k, t = string.rep('k', 60000), {} for i = 1, 1200 do t[i] = k end "
                 "redis.call('EXISTS', unpack(t))"),
            kRefused);
  EXPECT_TRUE(node.cluster.events.empty());
}

TEST_F(ScriptsTest, MayNotDoWhatCannotBeTakenBack) {
  for (const char* call : {"'POLICY', 'SET', 'x', 'lww'",
                           "'HANDLER', 'DEL', 'x'",
                           "'CONFLICT', 'RESTORE', '1', 'x'",
                           "'CONFLICT', 'RESOLVE', 'k', 't', 'v'",
                           "'LEADER', 'RETIRE', 'us'",
                           "'POLYARCH', 'CHECKPOINT'",
                           "'SAVE'",
                           "'SHUTDOWN'",
                           "'EXEC'",
                           "'SUBSCRIBE', 'x'",
                           "'SCRIPT', 'FLUSH'",
                           "'FUNCTION', 'FLUSH'",
                           "'FCALL', 'f', '0'",
                           "'DEBUG', 'SLEEP', '1'",
                           "'AUTH', 'x'",
                           "'HELLO'",
                           "'RESET'",
                           "'QUIT'",
                           "'CLIENT', 'KILL', 'x'"}) {
    const std::string reply = Eval(std::string("return redis.call(") + call + ")");
    EXPECT_TRUE(reply.starts_with("-ERR This Redis command is not allowed from script") ||
                reply.starts_with("-ERR Unknown Redis command called from script"))
        << call << ": " << reply;
  }
}

TEST_F(ScriptsTest, MayNotAskToBlock) {
  EXPECT_TRUE(Eval("return redis.call('xread', 'COUNT', '1', 'block', '10', 'STREAMS', 's', '0')")
                  .starts_with("-ERR xread command is not allowed with BLOCK option from scripts"));
  EXPECT_EQ(Eval("return redis.call('XREAD', 'STREAMS', 'block', '0')"), "null");
}

TEST_F(ScriptsTest, WritesAreRefusedAsToAnybody) {
  node.cluster.write_allowed = {base::Code::kFull, "DISKFULL no room"};
  EXPECT_TRUE(Eval("return redis.call('SET', 'a', '1')").starts_with("-DISKFULL no room script: "));
  EXPECT_EQ(Eval("return redis.pcall('SET', 'a', '1')"), "-DISKFULL no room");
  EXPECT_EQ(Eval("return redis.call('GET', 'a')"), "null");
  EXPECT_EQ(node.Ask({"SCRIPT", "LOAD", "return 1"}), "-DISKFULL no room");
}

TEST_F(ScriptsTest, LoadedOnesAreInTheReservedDatabase) {
  EXPECT_EQ(node.Ask({"SCRIPT", "LOAD", "return 'loaded'"}),
            "\"" + base::Sha1Hex("return 'loaded'") + "\"");
  const size_t effects = node.effects();
  node.Ask({"SCRIPT", "LOAD", "return 'loaded'"});
  EXPECT_EQ(node.effects(), effects) << "once is enough";
  Eval("return 'evaluated'");
  EXPECT_EQ(node.effects(), effects) << "EVAL writes nothing";

  // Another leader's process, with the same reserved database.
  const std::string key = std::string(kScriptPrefix) + base::Sha1Hex("return 'remote'");
  node.keys.Apply({.kind = crdt::EffectKind::kPut,
                   .db = crdt::kReservedDatabase,
                   .key = key,
                   .value = "return 'remote'"},
                  crdt::Seen(clock::VersionVector(), clock::OriginIndex{1}, {1, 0}),
                  node.sink.NextHlc(),
                  keyspace::Cause::kRemote);
  node.sink.Applied({clock::OriginIndex{1}, 1});
  const std::string sha = base::Sha1Hex("return 'remote'");
  EXPECT_EQ(node.Ask({"EVALSHA", sha, "0"}), "\"remote\"");
  EXPECT_EQ(node.Ask({"SCRIPT", "EXISTS", sha}), "[1]");
  node.Ask({"SCRIPT", "FLUSH"});
  EXPECT_EQ(node.Ask({"SCRIPT",
                      "EXISTS",
                      sha,
                      base::Sha1Hex("return 'loaded'"),
                      base::Sha1Hex("return 'evaluated'")}),
            "[0, 0, 0]");
  EXPECT_TRUE(
      node.Ask({"EVALSHA", base::Sha1Hex("return 'loaded'"), "0"}).starts_with("-NOSCRIPT"));
}

TEST_F(ScriptsTest, ManyEvaluatedOnesPushEachOtherOut) {
  node.Ask({"SCRIPT", "LOAD", "return 'kept'"});
  Eval("return 'first'");
  for (int i = 0; i < 5000; ++i)
    ASSERT_EQ(Eval("return " + std::to_string(i)), std::to_string(i));
  EXPECT_TRUE(node.Ask({"EVALSHA", base::Sha1Hex("return 'first'"), "0"}).starts_with("-NOSCRIPT"));
  EXPECT_EQ(node.Ask({"EVALSHA", base::Sha1Hex("return 4999"), "0"}), "4999");
  EXPECT_EQ(node.Ask({"EVALSHA", base::Sha1Hex("return 'kept'"), "0"}), "\"kept\"")
      << "loaded ones are read again";
  EXPECT_TRUE(Eval(std::string(kScriptBytesMax + 1, ' ')).starts_with("-LIMIT a script may be"));
}

// What is compiled comes to more than a state may keep: the scripts move into another one.
TEST_F(ScriptsTest, ManyLargeOnesRunAllTheSame) {
  std::string body = "local function g() ";
  for (int i = 0; i < 8000; ++i)
    body += "a(b,c,d) ";
  body += "end return ";
  for (int i = 0; i < 300; ++i)
    ASSERT_EQ(Eval(body + std::to_string(i)), std::to_string(i));
  for (int i = 250; i < 300; ++i)
    ASSERT_EQ(node.Ask({"EVALSHA", base::Sha1Hex(body + std::to_string(i)), "0"}),
              std::to_string(i));
}

TEST_F(ScriptsTest, ALimitDoesNotHarmTheOthers) {
  node.Ask({"SCRIPT", "LOAD", "return 'fine'"});
  EXPECT_TRUE(Eval("while true do end").starts_with("-LIMIT"));
  EXPECT_EQ(node.Ask({"EVALSHA", base::Sha1Hex("return 'fine'"), "0"}), "\"fine\"");
  EXPECT_EQ(
      node.Ask(
          {"FUNCTION",
           "LOAD",
           "#!lua name=lib\nlocal kept = {} redis.register_function('fill', function() for i = 1, "
           "1e9 do "
           "kept[i] = i end end) redis.register_function('size', function() return #kept end)"}),
      "\"lib\"");
  EXPECT_EQ(node.Ask({"FCALL", "size", "0"}), "0");
  EXPECT_TRUE(node.Ask({"FCALL", "fill", "0"}).starts_with("-LIMIT"));
  EXPECT_EQ(node.Ask({"FCALL", "size", "0"}), "0") << "the library begins anew";
}

// A host whose time is over when so many questions were asked.
class SlowHost : public script::Host {
 public:
  base::Status Call(std::span<const std::string_view>, int, resp::Buffer&) override { return {}; }
  bool Knows(std::span<const std::string_view>) override { return false; }
  bool Allows(std::span<const std::string_view>) override { return false; }
  void Log(int, std::string_view) override {}
  bool Expired() override { return --left < 0; }
  int left = 0;
};

TEST_F(ScriptsTest, LibrariesThatAreNotReadInTimeAreReadLater) {
  for (const char* name : {"a", "b", "c"}) {
    node.Ask({"FUNCTION",
              "LOAD",
              std::string("#!lua name=") + name + "\nfor i = 1, 1e5 do end redis.register_function('f" +
                  name + "', function() end)"});
  }
  // Another process, from the start, and at a slow moment.
  Scripts scripts;
  auto find = [&](std::string_view name, int looks) {
    SlowHost host;
    host.left = looks;
    return scripts.FindFunction(node.keys, name, host).function != nullptr;
  };
  const int enough = 1'000'000;
  EXPECT_FALSE(find("fc", 5));
  EXPECT_TRUE(scripts.pending());
  EXPECT_TRUE(find("fa", 1500)) << "it has been ended once";
  EXPECT_TRUE(find("fc", enough));
  EXPECT_FALSE(scripts.pending());
  EXPECT_TRUE(find("fb", enough));
  // What is ended again and again is given up until it changes.
  scripts.NoteChanged("function/a");
  for (int i = 0; i < 3; ++i)
    EXPECT_FALSE(find("fa", 5));
  EXPECT_FALSE(find("fa", enough));
  EXPECT_TRUE(find("fb", enough));
  scripts.NoteChanged("function/a");
  EXPECT_TRUE(find("fa", enough));
}

TEST_F(ScriptsTest, ALibraryThatIsLoadedAgainBeginsAnew) {
  const std::string source =
      "#!LUA name=l\nlocal n = 0 redis.register_function('Next', function() n = n + 1 return n end)";
  node.Ask({"FUNCTION", "LOAD", source});
  EXPECT_EQ(node.Ask({"FCALL", "Next", "0"}), "1");
  EXPECT_EQ(node.Ask({"FCALL", "NEXT", "0"}), "2") << "in any case, as in Redis";
  node.Ask({"FUNCTION", "LOAD", "REPLACE", source});
  EXPECT_EQ(node.Ask({"FCALL", "next", "0"}), "1");
  EXPECT_EQ(node.Ask({"FUNCTION", "LOAD", "#!lua name=m\nredis.register_function('NEXT', function() end)"}),
            "-ERR Function NEXT already exists");
  node.Ask({"FUNCTION", "FLUSH"});
  EXPECT_EQ(node.Ask({"FCALL", "next", "0"}), "-ERR Function not found");
}

// Two leaders load libraries that do not go together: every leader makes the same of it.
TEST_F(ScriptsTest, LibrariesThatDoNotGoTogether) {
  auto remote = [&](std::string_view name, std::string_view body, uint64_t sequence) {
    const std::string key = std::string(kFunctionPrefix).append(name);
    const std::string source = "#!lua name=" + std::string(name) + "\n" + std::string(body);
    node.keys.Apply({.kind = crdt::EffectKind::kPut,
                     .db = crdt::kReservedDatabase,
                     .key = key,
                     .value = source},
                    crdt::Seen(clock::VersionVector(), clock::OriginIndex{1}, {sequence, 0}),
                    node.sink.NextHlc(),
                    keyspace::Cause::kRemote);
    node.sink.Applied({clock::OriginIndex{1}, sequence});
  };
  node.Ask({"FUNCTION",
            "LOAD",
            "#!lua name=m\nredis.register_function('f', function() return 'm' end)"});
  EXPECT_EQ(node.Ask({"FCALL", "f", "0"}), "\"m\"");
  remote("a", "redis.register_function('f', function() return 'a' end)", 1);
  EXPECT_EQ(node.Ask({"FCALL", "f", "0"}), "\"a\"") << "the first one by name has the function";
  remote("b", "this is no Lua", 2);
  EXPECT_EQ(node.Ask({"FCALL", "f", "0"}), "\"a\"");
  EXPECT_TRUE(node.Ask({"FUNCTION", "STATS"}).find("\"libraries_count\", 3") != std::string::npos);
  EXPECT_EQ(node.Ask({"FUNCTION", "DELETE", "a"}), "+OK");
  EXPECT_EQ(node.Ask({"FCALL", "f", "0"}), "\"m\"");
}

TEST_F(ScriptsTest, LibrariesAreDumpedAndRestored) {
  node.Ask({"FUNCTION",
            "LOAD",
            "#!lua name=one\nredis.register_function('f1', function() return 1 end)"});
  node.Ask({"FUNCTION",
            "LOAD",
            "#!lua name=two\nredis.register_function('f2', function() return 2 end)"});
  const std::vector<std::string_view> dump = {"FUNCTION", "DUMP"};
  const std::string payload = node.Run(*node.server.clients[0], dump)[0].text;
  EXPECT_EQ(node.Ask({"FUNCTION", "RESTORE", payload}), "-ERR Library one already exists");
  EXPECT_EQ(node.Ask({"FUNCTION", "RESTORE", payload, "REPLACE"}), "+OK");
  node.Ask({"FUNCTION", "FLUSH"});
  EXPECT_EQ(node.Ask({"FCALL", "f1", "0"}), "-ERR Function not found");
  EXPECT_EQ(node.Ask({"FUNCTION", "RESTORE", payload}), "+OK");
  EXPECT_EQ(node.Ask({"FCALL", "f2", "0"}), "2");
  node.Ask({"FUNCTION",
            "LOAD",
            "#!lua name=three\nredis.register_function('f3', function() return 3 end)"});
  EXPECT_EQ(node.Ask({"FUNCTION", "RESTORE", payload, "FLUSH"}), "+OK");
  EXPECT_EQ(node.Ask({"FCALL", "f3", "0"}), "-ERR Function not found");
  EXPECT_EQ(node.Ask({"FCALL", "f1", "0"}), "1");
  std::string bad = payload;
  bad[3] ^= 1;
  EXPECT_EQ(node.Ask({"FUNCTION", "RESTORE", bad}),
            "-ERR DUMP payload version or checksum are wrong");
}

TEST_F(ScriptsTest, LibrariesHaveNoEndlessNames) {
  for (const size_t size : {size_t{65'527}, size_t{70'000}}) {
    const std::string name(size, 'a');
    const std::string source =
        "#!lua name=" + name + "\nredis.register_function('f', function() end)";
    EXPECT_TRUE(node.Ask({"FUNCTION", "LOAD", source}).starts_with("-LIMIT ")) << size;
    const std::vector<std::string_view> sources = {source};
    EXPECT_TRUE(
        node.Ask({"FUNCTION", "RESTORE", rdb::WriteLibraries(sources)}).starts_with("-LIMIT "))
        << size;
    EXPECT_TRUE(node.Ask({"FUNCTION",
                          "LOAD",
                          "#!lua name=l\nredis.register_function('" + name +
                              "', function() end)"})
                    .find("a function's name may be 4096 bytes long") != std::string::npos)
        << size;
    EXPECT_EQ(node.Ask({"FUNCTION", "DELETE", name}), "-ERR Library not found");
  }
  const std::string longest(65'526, 'a');
  EXPECT_EQ(node.Ask({"FUNCTION",
                      "LOAD",
                      "#!lua name=" + longest + "\nredis.register_function('f', function() end)"}),
            "\"" + longest + "\"");
  EXPECT_EQ(node.Ask({"FCALL", "f", "0"}), "null");
}

TEST_F(ScriptsTest, LibrariesTogetherFitIntoAChange) {
  const std::string rest(kScriptBytesMax - 200, ' ');
  auto library = [&](const std::string& n) {
    return "#!lua name=l" + n + "\nredis.register_function('f" + n + "', function() end)" + rest;
  };
  auto payload = [&](int from, int count) {
    std::vector<std::string> sources;
    for (int i = from; i < from + count; ++i)
      sources.push_back(library(std::to_string(i)));
    const std::vector<std::string_view> views(sources.begin(), sources.end());
    return rdb::WriteLibraries(views);
  };
  const size_t effects = node.effects();
  EXPECT_TRUE(node.Ask({"FUNCTION", "RESTORE", payload(0, 70)}).starts_with("-LIMIT "));
  EXPECT_EQ(node.effects(), effects);
  EXPECT_EQ(node.Ask({"FUNCTION", "RESTORE", payload(0, 40)}), "+OK");
  EXPECT_TRUE(node.Ask({"FUNCTION", "RESTORE", payload(40, 30)}).starts_with("-LIMIT "))
      << "together with those that are there";
  EXPECT_EQ(node.Ask({"FUNCTION", "RESTORE", payload(0, 40), "REPLACE"}), "+OK")
      << "those that are replaced do not count";
}

TEST_F(ScriptsTest, AnswersInTheClientsProtocol) {
  Client& client = node.Connect();
  client.protocol = 3;
  auto eval = [&](std::string_view source) {
    return node.Ask(client, {"EVAL", source, "0"});
  };
  EXPECT_EQ(eval("return true"), "1");
  EXPECT_EQ(eval("redis.setresp(3) return true"), "true");
  EXPECT_EQ(eval("return {double = 1.5}"), "1.5");
  EXPECT_EQ(eval("return {map = {a = 1}}"), "{\"a\": 1}");
  EXPECT_EQ(eval("return {set = {a = true}}"), "~[\"a\"]");
  EXPECT_EQ(eval("return {big_number = '123'}"), "123");
  EXPECT_EQ(eval("return false"), "null");
  EXPECT_EQ(
      eval("redis.call('HSET', 'h', 'f', 'v') redis.setresp(3) return redis.call('HGETALL', 'h')"),
      "{\"f\": \"v\"}");
  EXPECT_EQ(eval("return redis.call('HGETALL', 'h')"), "[\"f\", \"v\"]");
}

}  // namespace
}  // namespace polyarch::command
