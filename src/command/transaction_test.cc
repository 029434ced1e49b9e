// Transactions at one node: one change, its limits, what is taken back, and silent replies. What
// clients see beside Redis is in tests/transcript/transaction.txt.
#include "command/transaction.h"

#include <gtest/gtest.h>

#include "command/command_test_env.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

class TransactionTest : public testing::Test {
 protected:
  Client& first() { return *node.server.clients[0]; }
  // The bytes of the replies to these commands, as they leave.
  std::string Raw(const std::vector<std::vector<std::string_view>>& commands) {
    resp::Buffer out;
    for (const auto& args : commands) {
      resp::Writer reply(out, first().protocol);
      keyspace::Change change(node.sink, node.keys);
      Context context{.client = first(),
                      .args = args,
                      .reply = reply,
                      .keys = node.keys,
                      .change = change,
                      .cluster = node.cluster,
                      .server = node.server,
                      .now_ms = node.now_ms(),
                      .random = 42};
      Dispatch(context);
    }
    return std::string(out.view());
  }

  TestNode node;
};

TEST_F(TransactionTest, IsOneChange) {
  const size_t before = node.sink.changes;
  node.Ask({"MULTI"});
  node.Ask({"SET", "a", "1"});
  node.Ask({"RPUSH", "l", "x", "y"});
  node.Ask({"INCR", "n"});
  EXPECT_EQ(node.effects(), 0U);
  EXPECT_EQ(node.Ask({"EXEC"}), "[+OK, 2, 1]");
  EXPECT_EQ(node.sink.changes, before + 1);
}

TEST_F(TransactionTest, AFlushInsideIsPartOfTheOneChange) {
  for (int i = 0; i < 20'000; ++i)
    node.Ask({"INCR", "counter:" + std::to_string(i)});
  node.Ask({"MULTI"});
  node.Ask({"SET", "a", "1"});
  node.Ask({"FLUSHALL"});
  node.Ask({"SET", "b", "2"});
  const size_t before = node.sink.changes;
  EXPECT_EQ(node.Ask({"EXEC"}), "[+OK, +OK, +OK]");
  EXPECT_EQ(node.sink.changes, before + 1);
  EXPECT_EQ(node.Ask({"DBSIZE"}), "1");
}

TEST_F(TransactionTest, WhatWouldBeTooLargeLeavesNothing) {
  const std::string large(20 << 20, 'x');
  node.Ask({"SET", "old", "before", "EX", "100"});
  node.Ask({"RPUSH", "list", "1", "2", "3"});
  node.Ask({"INCR", "n"});
  node.Ask({"HINCRBY", "h", "f", "5"});
  const base::Digest128 digest = node.keys.Digest();
  const size_t effects = node.effects();
  node.Ask({"MULTI"});
  node.Ask({"SELECT", "0"});
  node.Ask({"SET", "old", "after"});
  node.Ask({"LPOP", "list"});
  node.Ask({"DEL", "h"});
  node.Ask({"INCRBY", "n", "10"});
  for (std::string_view key : {"a", "b", "c", "d"})
    node.Ask({"SET", key, large});
  node.Ask({"SELECT", "4"});
  EXPECT_EQ(node.Ask({"EXEC"}),
            "-LIMIT the transaction would write more than fits into one change (68157440 bytes); "
            "nothing was done");
  EXPECT_EQ(node.keys.Digest(), digest);
  EXPECT_EQ(node.effects(), effects);
  EXPECT_EQ(node.Ask({"GET", "old"}), "\"before\"");
  EXPECT_EQ(node.Ask({"LRANGE", "list", "0", "-1"}), "[\"1\", \"2\", \"3\"]");
  EXPECT_EQ(node.Ask({"TTL", "old"}), "100");
  EXPECT_EQ(node.Ask({"HGET", "h", "f"}), "\"5\"");
  EXPECT_EQ(node.Ask({"INCR", "n"}), "2");
  EXPECT_EQ(node.Ask({"EXEC"}), "-ERR EXEC without MULTI");
}

TEST_F(TransactionTest, WhatGrowsWhileItRunsLeavesNothing) {
  node.Ask({"SET", "seed", std::string(1 << 20, 'x')});
  const base::Digest128 digest = node.keys.Digest();
  node.Ask({"MULTI"});
  for (int i = 0; i < 100; ++i)
    node.Ask({"COPY", "seed", "copy:" + std::to_string(i)});
  EXPECT_TRUE(node.Ask({"EXEC"}).starts_with("-LIMIT the transaction would write more"));
  EXPECT_EQ(node.keys.Digest(), digest);
  // What cannot be vouched for beforehand, but fits, runs.
  node.Ask({"MULTI"});
  for (int i = 0; i < 30; ++i)
    node.Ask({"COPY", "seed", "copy:" + std::to_string(i)});
  EXPECT_TRUE(node.Ask({"EXEC"}).starts_with("[1, 1, 1"));
  EXPECT_EQ(node.Ask({"STRLEN", "copy:29"}), "1048576");
}

TEST_F(TransactionTest, AFlushThatCouldNotBeTakenBackIsRefusedBefore) {
  node.Ask({"SET", "a", "1"});
  node.Ask({"MULTI"});
  node.Ask({"FLUSHALL"});
  for (std::string_view key : {"b", "c", "d", "e"})
    node.Ask({"SET", key, std::string(20 << 20, 'x')});
  EXPECT_TRUE(node.Ask({"EXEC"}).starts_with("-LIMIT the transaction would write more"));
  EXPECT_EQ(node.Ask({"GET", "a"}), "\"1\"");
  EXPECT_EQ(node.Ask({"DBSIZE"}), "1");
}

// What is said to fit must fit, whatever the commands; the bound is for that.
TEST_F(TransactionTest, TheBoundHolds) {
  const std::string key(200, 'k');
  for (int i = 0; i < 2000; ++i)
    node.Ask({"HINCRBY", "hash", "field:" + std::to_string(i), "1"});
  for (int i = 0; i < 2000; ++i)
    node.Ask({"RPUSH", key, "value"});
  node.Ask({"SADD", "set", "a", "b", "c"});
  node.Ask({"SETBIT", "bits", "80000", "1"});
  const std::vector<std::vector<std::string_view>> commands = {{"DEL", "hash"},
                                                               {"LTRIM", key, "1000", "-1"},
                                                               {"SUNIONSTORE", "copy", "set"},
                                                               {"RENAME", "set", "set2"},
                                                               {"SETRANGE", "bits", "9000", "tail"},
                                                               {"APPEND", "bits", "x"},
                                                               {"LREM", key, "0", "value"},
                                                               {"HSET", "hash", "f", "v"},
                                                               {"EXPIRE", "hash", "-1"}};
  for (const auto& args : commands) {
    const Row* row = Table::Instance().Find(args);
    const Step step{row, args};
    resp::Buffer out;
    resp::Writer reply(out, 2);
    keyspace::Change change(node.sink, node.keys);
    Context context{.client = first(),
                    .args = args,
                    .reply = reply,
                    .keys = node.keys,
                    .change = change,
                    .cluster = node.cluster,
                    .server = node.server,
                    .now_ms = node.now_ms(),
                    .random = 42};
    EXPECT_TRUE(SizeOf(context, std::span(&step, 1)).fits) << args[0];
    Dispatch(context);
    EXPECT_LE(change.bytes(), kChangeBytesMax) << args[0];
  }
}

TEST_F(TransactionTest, RepliesAreSilentAsInRedis) {
  EXPECT_EQ(Raw({{"MULTI"},
                 {"CLIENT", "REPLY", "SKIP"},
                 {"ECHO", "shown"},
                 {"EXEC"},
                 {"PING"},
                 {"PING"}}),
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$5\r\nshown\r\n+PONG\r\n");
  EXPECT_EQ(Raw({{"MULTI"},
                 {"CLIENT", "REPLY", "OFF"},
                 {"ECHO", "x"},
                 {"EXEC"},
                 {"PING"},
                 {"CLIENT", "REPLY", "ON"}}),
            "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n");
  EXPECT_EQ(Raw({{"CLIENT", "REPLY", "OFF"},
                 {"MULTI"},
                 {"ECHO", "1"},
                 {"CLIENT", "REPLY", "ON"},
                 {"ECHO", "2"},
                 {"EXEC"},
                 {"PING"}}),
            "+OK\r\n$1\r\n2\r\n+PONG\r\n");
  // Off, errors are silent, too.
  EXPECT_EQ(Raw({{"CLIENT", "REPLY", "OFF"}, {"EXEC"}, {"MULTI"}, {"NOSUCH"}, {"EXEC"}, {"CLIENT", "REPLY", "ON"}}),
            "+OK\r\n");
  EXPECT_EQ(Raw({{"CLIENT", "REPLY", "SKIP"}, {"MULTI"}, {"ECHO", "1"}, {"EXEC"}}),
            "+QUEUED\r\n*1\r\n$1\r\n1\r\n");
}

// What many clients send is not to cost a copy of large keys.
TEST_F(TransactionTest, OrdinaryTransactionsFitByTheBound) {
  for (int i = 0; i < 60'000; ++i) {
    const std::string name = std::to_string(i);
    node.Ask({"ZADD", "board", name, name});
    node.Ask({"RPUSH", "queue", name});
  }
  auto fits = [&](const std::vector<std::vector<std::string_view>>& commands) {
    std::vector<Step> steps;
    for (const auto& args : commands)
      steps.push_back({Table::Instance().Find(args), args});
    resp::Buffer out;
    resp::Writer reply(out, 2);
    keyspace::Change change(node.sink, node.keys);
    Context context{.client = first(),
                    .args = {},
                    .reply = reply,
                    .keys = node.keys,
                    .change = change,
                    .cluster = node.cluster,
                    .server = node.server,
                    .now_ms = node.now_ms(),
                    .random = 42};
    return SizeOf(context, steps).fits;
  };
  EXPECT_TRUE(fits({{"ZREMRANGEBYSCORE", "board", "0", "100"}, {"ZADD", "board", "1", "m"}, {"EXPIRE", "board", "60"}}));
  EXPECT_TRUE(fits(std::vector<std::vector<std::string_view>>(100, {"LPOP", "queue"})));
  EXPECT_TRUE(fits(std::vector<std::vector<std::string_view>>(1000, {"HSET", "h", "field", "value"})));
  EXPECT_TRUE(fits(std::vector<std::vector<std::string_view>>(1000, {"INCR", "n"})));
  EXPECT_TRUE(fits({{"DEL", "board", "queue"}, {"FLUSHALL"}}));
  EXPECT_FALSE(fits({{"SORT", "queue", "STORE", "sorted"}}));
  EXPECT_FALSE(fits(std::vector<std::vector<std::string_view>>(20, {"ZUNIONSTORE", "board", "1", "board"})));
}

TEST_F(TransactionTest, ConfigurationAndResolutionsFitByTheBound) {
  node.SetPolicy("wiki:*", "siblings");
  node.Ask({"SET", "wiki:title", "B"});
  node.Remote("wiki:title", "C");
  const std::vector<std::string_view> get = {"CONFLICT", "GET", "wiki:title"};
  const std::string token = node.Run(first(), get).front().items[0].text;
  conflict::LedgerEntry entry{.noted_ms = kTestStartMs, .key = "r", .policy = "lww"};
  entry.lost = {.value = "B", .origin = {"eu", 1}, .sequence = 3, .hlc = clock::Hlc::FromMs(999)};
  entry.shown = {.value = "C", .origin = {"us", 2}, .sequence = 4, .hlc = clock::Hlc::FromMs(1000)};
  const std::string id = std::to_string(node.cluster.ledger().Note(entry));
  node.Ask({"MULTI"});
  node.Ask({"POLICY", "SET", "a:*", "lww"});
  node.Ask({"HANDLER", "LOAD", "first", "return values[1]"});
  node.Ask({"HANDLER", "DEL", "none"});
  node.Ask({"LEADER", "PRIORITY", "eu", "us"});
  node.Ask({"LEADER", "RETIRE", "us"});
  node.Ask({"TOPOLOGY", "SET", "mesh"});
  node.Ask({"POLICY", "DEL", "a:*"});
  node.Ask({"CONFLICT", "RESOLVE", "wiki:title", token, "B/C"});
  node.Ask({"CONFLICT", "RESTORE", id, "eu.0000000000000001:3"});
  const std::string reply = node.Ask({"EXEC"});
  EXPECT_EQ(reply.find("LIMIT"), std::string::npos) << reply;
  EXPECT_EQ(node.Ask({"GET", "wiki:title"}), "\"B/C\"");
  EXPECT_EQ(node.Ask({"GET", "r"}), "\"B\"");
  // What the log gives back counts for those behind it.
  entry.lost.value.assign(20 << 20, 'x');
  entry.lost.sequence = 5;
  const std::string large = std::to_string(node.cluster.ledger().Note(entry));
  node.Ask({"MULTI"});
  node.Ask({"CONFLICT", "RESTORE", large, "eu.0000000000000001:5"});
  for (std::string_view to : {"a", "b", "c"})
    node.Ask({"COPY", "r", to});
  EXPECT_TRUE(node.Ask({"EXEC"}).starts_with("-LIMIT "));
  EXPECT_EQ(node.Ask({"STRLEN", "r"}), "1");
}

TEST_F(TransactionTest, QueuesHaveALimitEachAndTogether) {
  node.Ask({"MULTI"});
  const std::string large(60 << 20, 'x');
  EXPECT_EQ(node.Ask({"ECHO", large}), "+QUEUED");
  EXPECT_EQ(node.Ask({"ECHO", large}), "+QUEUED");
  EXPECT_GT(*node.cluster.queued_bytes(), size_t{120} << 20);
  EXPECT_EQ(node.Ask({"ECHO", large}),
            "-LIMIT the commands of a transaction together are larger than 134217728 bytes");
  EXPECT_EQ(node.Ask({"EXEC"}), "-EXECABORT Transaction discarded because of previous errors.");
  EXPECT_EQ(*node.cluster.queued_bytes(), 0U);
  *node.cluster.queued_bytes() = kAllQueuesBytesMax;
  node.Ask({"MULTI"});
  EXPECT_EQ(node.Ask({"PING"}),
            "-LIMIT the transactions of all clients together are full; try again later");
  node.Ask({"DISCARD"});
  EXPECT_EQ(*node.cluster.queued_bytes(), kAllQueuesBytesMax);
}

TEST_F(TransactionTest, WritesThatAreNotAllowedAbort) {
  node.Ask({"MULTI"});
  node.Ask({"SET", "a", "1"});
  node.cluster.write_allowed = {base::Code::kBusy, "HISTORY not yet"};
  EXPECT_EQ(node.Ask({"EXEC"}), "-EXECABORT Transaction discarded because of: HISTORY not yet");
  node.Ask({"MULTI"});
  EXPECT_EQ(node.Ask({"SET", "a", "1"}), "-HISTORY not yet");
  EXPECT_EQ(node.Ask({"EXEC"}), "-EXECABORT Transaction discarded because of previous errors.");
  node.Ask({"MULTI"});
  node.Ask({"GET", "a"});
  EXPECT_EQ(node.Ask({"EXEC"}), "[null]");
}

TEST_F(TransactionTest, WatchSeesOthersAndTime) {
  Client& other = node.Connect();
  auto transaction = [&] {
    node.Ask({"MULTI"});
    node.Ask({"PING"});
    return node.Ask({"EXEC"});
  };
  node.Ask({"SET", "k", "1"});
  node.Ask({"WATCH", "k"});
  node.Ask(other, {"SET", "other", "1"});
  EXPECT_EQ(transaction(), "[+PONG]");
  node.Ask({"WATCH", "k"});
  node.Ask(other, {"SET", "k", "2"});
  EXPECT_EQ(transaction(), "null");
  node.Ask({"WATCH", "k"});
  node.Remote("k", "3");
  EXPECT_EQ(transaction(), "null");
  // Expiry before EXEC; a key that was hidden when the watch began and is removed changes nothing.
  node.Ask({"SET", "k", "1", "PX", "100"});
  node.Ask({"WATCH", "k"});
  node.Advance(50);
  EXPECT_EQ(transaction(), "[+PONG]");
  node.Ask({"WATCH", "k"});
  node.Advance(60);
  EXPECT_EQ(transaction(), "null");
  node.Ask({"WATCH", "k"});
  {
    keyspace::Change change(node.sink, node.keys);
    change.RemoveExpired(node.keys.Ref(0, "k"));
  }
  EXPECT_EQ(transaction(), "[+PONG]");
  // The other one is gone: its watch costs nothing more.
  node.Ask(other, {"WATCH", "k"});
  EXPECT_TRUE(node.cluster.watches().watching(other.id));
  node.cluster.watches().Forget(other.id);
  EXPECT_FALSE(node.cluster.watches().watching(other.id));
  EXPECT_FALSE(node.cluster.watches().watching(first().id));
}

// After a state transfer keys are merged when somebody looks at them.
TEST_F(TransactionTest, WatchSeesAMergeThatWaited) {
  for (std::string_view key : {"changed", "same", "gone"})
    node.Ask({"SET", key, "1"});
  const clock::VersionVector mine = node.sink.applied();
  std::unique_ptr<keyspace::Keyspace> theirs = node.keys.NewBeside();
  theirs->Load(0, "same", node.keys.State(node.keys.Ref(0, "same")));
  crdt::KeyState other = node.keys.State(node.keys.Ref(0, "changed"));
  other.versions[0].value = "theirs";
  other.versions[0].dot = clock::Dot(clock::OriginIndex{1}, 1);
  theirs->Load(0, "changed", other);
  theirs->Load(0, "came", other);
  clock::VersionVector theirs_vector = mine;
  theirs_vector.Raise(clock::OriginIndex{1}, 1);

  struct Case {
    std::string_view key;
    std::string_view reply;
  };
  const Case cases[] = {
      {"changed", "null"}, {"same", "[+PONG]"}, {"gone", "null"}, {"came", "null"}};
  for (const Case& c : cases) {
    Client& client = node.Connect();
    node.Ask(client, {"WATCH", c.key});
  }
  node.keys.BeginMerge(std::move(theirs), mine, theirs_vector);
  for (size_t i = 0; i < std::size(cases); ++i) {
    Client& client = *node.server.clients[i + 1];
    node.Ask(client, {"MULTI"});
    node.Ask(client, {"PING"});
    EXPECT_EQ(node.Ask(client, {"EXEC"}), cases[i].reply) << cases[i].key;
  }
}

TEST_F(TransactionTest, ClientListTellsOfIt) {
  node.Ask({"WATCH", "k"});
  node.Ask({"MULTI"});
  node.Ask({"PING"});
  Client& other = node.Connect();
  node.Ask(other, {"SET", "k", "1"});
  const std::string list = node.Ask(other, {"CLIENT", "LIST", "ID", "1"});
  EXPECT_NE(list.find(" flags=xd "), std::string::npos) << list;
  EXPECT_NE(list.find(" multi=1 "), std::string::npos) << list;
}

}  // namespace
}  // namespace polyarch::command
