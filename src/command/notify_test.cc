// Which events a command tells. The expectations are those of redis-server 7.0.15;
// tests/process/test_pubsub.py compares with a real one.
#include "command/notify.h"

#include <ctime>

#include <gtest/gtest.h>

#include "command/command_test_env.h"

namespace polyarch::command {
namespace {

class NotifyTest : public testing::Test {
 protected:
  NotifyTest() { node.notify = true; }
  using Words = std::initializer_list<std::string_view>;
  // The events of one command, but for `new` and misses.
  std::string Events(Words args) {
    node.cluster.events.clear();
    node.Ask(args);
    std::string text;
    for (const auto& [notice, event] : node.cluster.events) {
      if (notice == kNoticeNew || notice == kNoticeMissed) continue;
      text += (text.empty() ? "" : ", ") + event;
    }
    return text;
  }
  // All of them.
  std::string All(Words args) {
    node.cluster.events.clear();
    node.Ask(args);
    std::string text;
    for (const auto& [notice, event] : node.cluster.events) text += (text.empty() ? "" : ", ") + event;
    return text;
  }
  TestNode node;
};

TEST_F(NotifyTest, ByCommand) {
  EXPECT_EQ(Events({"SET", "k", "1"}), "set 0 k");
  EXPECT_EQ(Events({"SET", "k", "1", "EX", "10"}), "set 0 k, expire 0 k");
  EXPECT_EQ(Events({"INCR", "k"}), "incrby 0 k");
  EXPECT_EQ(Events({"MSET", "a", "1", "b", "2"}), "set 0 a, set 0 b");
  EXPECT_EQ(Events({"EXPIRE", "a", "100"}), "expire 0 a");
  EXPECT_EQ(Events({"PERSIST", "a"}), "persist 0 a");
  EXPECT_EQ(Events({"EXPIRE", "a", "-1"}), "del 0 a");
  EXPECT_EQ(Events({"RENAME", "b", "c"}), "rename_from 0 b, rename_to 0 c");
  EXPECT_EQ(Events({"COPY", "c", "d"}), "copy_to 0 d");
  EXPECT_EQ(Events({"MOVE", "d", "3"}), "move_from 0 d, move_to 3 d");
  EXPECT_EQ(Events({"DEL", "c", "k", "none"}), "del 0 c, del 0 k");
  EXPECT_EQ(Events({"RPUSH", "l", "x", "y"}), "rpush 0 l");
  EXPECT_EQ(Events({"LMOVE", "l", "m", "LEFT", "RIGHT"}), "rpush 0 m, lpop 0 l");
  EXPECT_EQ(Events({"RPOP", "l"}), "rpop 0 l, del 0 l");
  EXPECT_EQ(Events({"HSET", "h", "f", "v"}), "hset 0 h");
  EXPECT_EQ(Events({"HINCRBY", "h", "n", "1"}), "hincrby 0 h");
  EXPECT_EQ(Events({"HDEL", "h", "f", "n"}), "hdel 0 h, del 0 h");
  EXPECT_EQ(Events({"SADD", "s", "a"}), "sadd 0 s");
  EXPECT_EQ(Events({"SMOVE", "s", "t", "a"}), "srem 0 s, del 0 s, sadd 0 t");
  EXPECT_EQ(Events({"SINTERSTORE", "t", "t", "none"}), "del 0 t");
  EXPECT_EQ(Events({"ZADD", "z", "1", "a", "2", "b"}), "zadd 0 z");
  EXPECT_EQ(Events({"ZINCRBY", "z", "1", "a"}), "zincr 0 z");
  EXPECT_EQ(Events({"ZPOPMIN", "z"}), "zpopmin 0 z");
  EXPECT_EQ(Events({"ZUNIONSTORE", "y", "1", "z"}), "zunionstore 0 y");
  EXPECT_EQ(Events({"XGROUP", "CREATE", "x", "g", "$", "MKSTREAM"}), "xgroup-create 0 x");
  EXPECT_EQ(Events({"XGROUP", "CREATECONSUMER", "x", "g", "a"}), "xgroup-createconsumer 0 x");
  EXPECT_EQ(Events({"XADD", "x", "1-1", "f", "v"}), "xadd 0 x");
  EXPECT_EQ(Events({"XREADGROUP", "GROUP", "g", "a", "STREAMS", "x", ">"}), "");
  EXPECT_EQ(Events({"XCLAIM", "x", "g", "b", "0", "1-1"}), "xgroup-createconsumer 0 x");
  EXPECT_EQ(Events({"XAUTOCLAIM", "x", "g", "c", "0", "0"}), "xgroup-createconsumer 0 x");
  EXPECT_EQ(Events({"XAUTOCLAIM", "x", "g", "c", "0", "0"}), "");
  EXPECT_EQ(Events({"XACK", "x", "g", "1-1"}), "");
  EXPECT_EQ(Events({"XREADGROUP", "GROUP", "g", "d", "STREAMS", "x", ">"}), "");
  EXPECT_EQ(Events({"XREADGROUP", "GROUP", "g", "d", "STREAMS", "x", "0"}), "xgroup-createconsumer 0 x");
  EXPECT_EQ(Events({"XGROUP", "DELCONSUMER", "x", "g", "d"}), "xgroup-delconsumer 0 x");
  EXPECT_EQ(Events({"XGROUP", "SETID", "x", "g", "0"}), "xgroup-setid 0 x");
  EXPECT_EQ(Events({"XGROUP", "DESTROY", "x", "g"}), "xgroup-destroy 0 x");
  EXPECT_EQ(Events({"SETBIT", "bits", "7", "1"}), "setbit 0 bits");
  EXPECT_EQ(Events({"GET", "bits"}), "");
  EXPECT_EQ(Events({"GETDEL", "bits"}), "del 0 bits");
  EXPECT_EQ(Events({"FLUSHALL"}), "");
}

TEST_F(NotifyTest, AWordIsTakenForWhatItStandsFor) {
  node.Ask({"RPUSH", "left", "1", "2"});
  EXPECT_EQ(Events({"LMPOP", "1", "left", "RIGHT"}), "rpop 0 left");
  node.Ask({"ZADD", "min", "1", "a", "2", "b"});
  EXPECT_EQ(Events({"ZMPOP", "1", "min", "MAX"}), "zpopmax 0 min");
  node.Ask({"SET", "persist", "1"});
  EXPECT_EQ(Events({"GETEX", "persist", "EX", "10"}), "expire 0 persist");
  node.cluster.events.clear();
  node.Ask({"SORT", "left", "GET", "#", "BY", "store", "STORE", "sorted"});
  ASSERT_EQ(node.cluster.events.size(), 2U);
  EXPECT_EQ(node.cluster.events[0].second, "new 0 sorted");
  EXPECT_EQ(node.cluster.events[1].second, "sortstore 0 sorted");
}

TEST_F(NotifyTest, ManyKeysAreToldInTheirOrder) {
  constexpr size_t kKeys = 60'000;
  std::vector<std::string> names;
  std::vector<std::string_view> set = {"MSET"};
  std::vector<std::string_view> del = {"DEL"};
  for (size_t i = 0; i < kKeys; ++i)
    names.push_back("key:" + std::to_string(i));
  for (const std::string& name : names) {
    set.insert(set.end(), {name, "v"});
    del.push_back(name);
  }
  Client& client = *node.server.clients[0];
  const std::clock_t start = std::clock();
  node.Run(client, set);
  node.Run(client, del);
  // (Of this process's time: with a search for each key it was half a minute.)
  EXPECT_LT(std::clock() - start, 5 * CLOCKS_PER_SEC);
  ASSERT_EQ(node.cluster.events.size(), 3 * kKeys);
  EXPECT_EQ(node.cluster.events[2 * kKeys - 2].second, "new 0 key:59999");
  EXPECT_EQ(node.cluster.events[2 * kKeys].second, "del 0 key:0");
  EXPECT_EQ(node.cluster.events[3 * kKeys - 1].second, "del 0 key:59999");
}

TEST_F(NotifyTest, NewAndMissed) {
  node.Ask({"GET", "none"});
  EXPECT_EQ(node.cluster.events.back(),
            (std::pair<uint32_t, std::string>(kNoticeMissed, "keymiss 0 none")));
  node.cluster.events.clear();
  node.Ask({"HSET", "h", "f", "v"});
  ASSERT_EQ(node.cluster.events.size(), 2U);
  EXPECT_EQ(node.cluster.events[0], (std::pair<uint32_t, std::string>(kNoticeNew, "new 0 h")));
}

// DEL ends a conflict in which a delete is shown: of that there is nothing to be seen.
TEST_F(NotifyTest, WhatNobodySawIsNotTold) {
  node.SetPolicy("*", "priority eu us");
  node.Ask({"SET", "k", "v"});
  EXPECT_EQ(Events({"DEL", "k"}), "del 0 k");
  node.Remote("k", "theirs");
  const size_t effects = node.effects();
  EXPECT_EQ(Events({"DEL", "k"}), "");
  EXPECT_GT(node.effects(), effects);
}

// A field that "absent" hides goes with HDEL, too, beside others that are shown.
TEST_F(NotifyTest, AFieldThatNobodySawIsNotTold) {
  node.SetPolicy("*", "priority eu us");
  node.Ask({"HSET", "h", "f", "mine", "g", "shown"});
  EXPECT_EQ(Events({"HDEL", "h", "f"}), "hdel 0 h");
  node.RemoteElement("h", crdt::Type::kHash, "f", "theirs");
  EXPECT_EQ(node.Ask({"HGET", "h", "f"}), "null");
  const size_t effects = node.effects();
  EXPECT_EQ(Events({"HDEL", "h", "f"}), "");
  EXPECT_GT(node.effects(), effects);
  EXPECT_EQ(Events({"HDEL", "h", "f", "g"}), "hdel 0 h, del 0 h");
}

TEST_F(NotifyTest, AListThatIsTurnedIsToldBoth) {
  node.Ask({"RPUSH", "q", "1", "2"});
  EXPECT_EQ(All({"RPOPLPUSH", "q", "q"}), "lpush 0 q, rpop 0 q");
  EXPECT_EQ(All({"LMOVE", "q", "q", "LEFT", "RIGHT"}), "rpush 0 q, lpop 0 q");
  EXPECT_EQ(All({"BLMOVE", "q", "q", "LEFT", "LEFT", "0"}), "lpush 0 q, lpop 0 q");
  EXPECT_EQ(All({"BRPOPLPUSH", "q", "q", "0"}), "lpush 0 q, rpop 0 q");
  node.Ask({"LTRIM", "q", "0", "0"});
  EXPECT_EQ(All({"RPOPLPUSH", "q", "q"}), "lpush 0 q, rpop 0 q");
}

TEST_F(NotifyTest, WhatWordsAddToIt) {
  EXPECT_EQ(All({"XADD", "x", "1-1", "f", "v"}), "new 0 x, xadd 0 x");
  EXPECT_EQ(All({"XADD", "x", "MAXLEN", "1", "2-1", "f", "v"}), "xadd 0 x, xtrim 0 x");
  EXPECT_EQ(All({"XADD", "x", "MAXLEN", "5", "3-1", "f", "v"}), "xadd 0 x");
  EXPECT_EQ(All({"XADD", "x", "MINID", "3", "4-1", "f", "v"}), "xadd 0 x, xtrim 0 x");
  EXPECT_EQ(All({"ZADD", "z", "INCR", "1", "m"}), "new 0 z, zincr 0 z");
  EXPECT_EQ(All({"ZADD", "z", "XX", "CH", "INCR", "1", "m"}), "zincr 0 z");
  EXPECT_EQ(All({"ZADD", "z", "1", "incr"}), "zadd 0 z");
}

TEST_F(NotifyTest, WritesTellWhatTheyHaveLookedForAndNotFound) {
  EXPECT_EQ(All({"GETSET", "n1", "v"}), "keymiss 0 n1, new 0 n1, set 0 n1");
  EXPECT_EQ(All({"GETDEL", "none"}), "keymiss 0 none");
  EXPECT_EQ(All({"GETEX", "none", "EX", "10"}), "keymiss 0 none");
  EXPECT_EQ(All({"SET", "n3", "v", "GET"}), "keymiss 0 n3, new 0 n3, set 0 n3");
  EXPECT_EQ(All({"SET", "none", "v", "XX", "GET"}), "keymiss 0 none");
  EXPECT_EQ(All({"SET", "n5", "v"}), "new 0 n5, set 0 n5");
  EXPECT_EQ(All({"BITOP", "AND", "d", "none", "nor"}), "keymiss 0 none, keymiss 0 nor");
  EXPECT_EQ(All({"BITOP", "AND", "n1", "n1", "none"}), "keymiss 0 none, set 0 n1");
  EXPECT_EQ(All({"BITFIELD", "none", "GET", "u8", "0"}), "keymiss 0 none");
  EXPECT_EQ(All({"BITFIELD", "n7", "SET", "u8", "0", "1"}), "new 0 n7, setbit 0 n7");
  node.Ask({"SADD", "s", "a"});
  node.Ask({"ZADD", "z", "1", "m"});
  EXPECT_EQ(All({"SINTERSTORE", "d", "s", "none"}), "keymiss 0 none");
  EXPECT_EQ(All({"SUNIONSTORE", "d", "none", "s"}), "keymiss 0 none, new 0 d, sunionstore 0 d");
  EXPECT_EQ(All({"SDIFFSTORE", "d", "none", "s"}), "keymiss 0 none, del 0 d");
  EXPECT_EQ(All({"ZINTERSTORE", "d", "2", "none", "z"}), "keymiss 0 none");
  EXPECT_EQ(All({"ZDIFFSTORE", "d", "2", "z", "none"}), "keymiss 0 none, new 0 d, zdiffstore 0 d");
  EXPECT_EQ(All({"ZRANGESTORE", "d", "none", "0", "-1"}), "keymiss 0 none, del 0 d");
  EXPECT_EQ(All({"GEORADIUS", "none", "1", "1", "1", "m", "STORE", "d"}), "keymiss 0 none");
  EXPECT_EQ(All({"SORT", "none"}), "keymiss 0 none");
  EXPECT_EQ(All({"SORT", "none", "STORE", "d"}), "keymiss 0 none");
  // Of its patterns, each time that one of the keys that they make is looked up.
  EXPECT_EQ(All({"RPUSH", "sorted", "1", "2"}), "new 0 sorted, rpush 0 sorted");
  EXPECT_EQ(All({"SET", "w1", "5"}), "new 0 w1, set 0 w1");
  EXPECT_EQ(All({"SORT", "sorted", "BY", "w*", "GET", "#", "GET", "h*->f"}), "keymiss 0 w2, keymiss 0 h2, keymiss 0 h1");
  EXPECT_EQ(All({"SORT", "sorted", "GET", "w*", "STORE", "stored"}), "keymiss 0 w2, new 0 stored, sortstore 0 stored");
  EXPECT_EQ(All({"SORT", "sorted", "BY", "nosort", "GET", "nostar"}), "");
  EXPECT_EQ(All({"COPY", "none", "d"}), "keymiss 0 none");
  EXPECT_EQ(All({"PFMERGE", "hll", "none"}), "keymiss 0 hll, keymiss 0 none, new 0 hll, pfadd 0 hll");
  EXPECT_EQ(All({"XACK", "none", "g", "1-1"}), "keymiss 0 none");
  EXPECT_EQ(All({"XCLAIM", "none", "g", "c", "0", "1-1"}), "keymiss 0 none");
  EXPECT_EQ(All({"XREADGROUP", "GROUP", "g", "c", "STREAMS", "none", "nor", ">", ">"}), "keymiss 0 none");
  // Neither behind an error of its words, nor where Redis looks without a note, nor what is found for writing.
  EXPECT_EQ(All({"GETEX", "none", "EX"}), "");
  EXPECT_EQ(All({"MEMORY", "USAGE", "none"}), "");
  EXPECT_EQ(All({"LPOP", "none"}), "");
}

TEST_F(NotifyTest, WhatIsPutInAnewIsNewWhateverWasThere) {
  for (std::string_view key : {"a", "b", "c"}) node.Ask({"SET", key, "v"});
  EXPECT_EQ(All({"SET", "a", "w"}), "set 0 a");
  EXPECT_EQ(All({"RENAME", "a", "b"}), "new 0 b, rename_from 0 a, rename_to 0 b");
  EXPECT_EQ(All({"RENAMENX", "b", "a"}), "new 0 a, rename_from 0 b, rename_to 0 a");
  EXPECT_EQ(All({"COPY", "a", "c", "REPLACE"}), "new 0 c, copy_to 0 c");
  EXPECT_EQ(All({"COPY", "a", "c", "DB", "3"}), "new 3 c, copy_to 3 c");
  EXPECT_EQ(All({"MOVE", "a", "4"}), "new 4 a, move_from 0 a, move_to 4 a");
  const std::string dump = [&] {
    const std::string_view ask[] = {"DUMP", "c"};
    return node.Run(*node.server.clients[0], ask).at(0).text;
  }();
  EXPECT_EQ(All({"RESTORE", "c", "0", dump, "REPLACE"}), "new 0 c, restore 0 c");
  EXPECT_EQ(All({"RESTORE", "c", "1", dump, "REPLACE", "ABSTTL"}), "del 0 c");
}

TEST_F(NotifyTest, InATransactionTheyAreToldWhenAllHasRun) {
  node.Ask({"MULTI"});
  node.Ask({"SET", "a", "1"});
  node.Ask({"LPUSH", "l", "x"});
  EXPECT_EQ(Events({"EXEC"}), "set 0 a, lpush 0 l");
  node.Ask({"MULTI"});
  for (std::string_view key : {"b", "c", "d", "e"})
    node.Ask({"SET", key, std::string(20 << 20, 'x')});
  EXPECT_EQ(Events({"EXEC"}), "");
}

TEST(Notices, AreWrittenAsRedisWritesThem) {
  for (const auto& [given, shown] :
       std::vector<std::pair<std::string, std::string>>{{"KEA", "AKE"},
                                                        {"gK", "gK"},
                                                        {"Kng$", "g$nK"},
                                                        {"AKEmn", "AKEm"},
                                                        {"g$lshzxetdKE", "AKE"},
                                                        {"", ""}}) {
    const auto notices = ParseNotices(given);
    ASSERT_TRUE(notices) << given;
    EXPECT_EQ(FormatNotices(*notices), shown);
  }
  EXPECT_FALSE(ParseNotices("KEq"));
}

}  // namespace
}  // namespace polyarch::command
