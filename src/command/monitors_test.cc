// MONITOR at one node; beside redis-server in tests/process/test_operations.py.
#include <gtest/gtest.h>

#include "command/command_test_env.h"

namespace polyarch::command {
namespace {

class MonitorsTest : public testing::Test {
 protected:
  MonitorsTest() : watching(node.Connect()) {
    node.may_wait = true;
    EXPECT_EQ(node.Ask(watching, {"MONITOR"}), "+OK");
  }
  // Without the time, which stands still.
  std::string Take() {
    std::string text = std::exchange(node.cluster.pushes[watching.id], {});
    const std::string time = "+1700000000.123456 ";
    for (size_t at = text.find(time); at != std::string::npos; at = text.find(time))
      text.erase(at, time.size());
    return text;
  }
  TestNode node;
  Client& watching;
};

TEST_F(MonitorsTest, ShowsCommandsAsTheyAreRun) {
  EXPECT_EQ(Take(), "");
  node.Ask({"SET", "k", std::string_view("a\0\n\"\\\x7f", 6)});
  EXPECT_EQ(Take(), "[0 127.0.0.1:50001] \"SET\" \"k\" \"a\\x00\\n\\\"\\\\\\x7f\"\r\n");
  node.Ask({"SELECT", "3"});
  EXPECT_EQ(Take(), "[3 127.0.0.1:50001] \"SELECT\" \"3\"\r\n");
  // Neither what is refused, nor what operators do, nor secrets.
  node.Ask({"GET"});
  node.Ask({"NOSUCH"});
  node.Ask({"CONFIG", "GET", "save"});
  EXPECT_EQ(Take(), "");
  node.Ask({"AUTH", "user", "secret"});
  EXPECT_EQ(Take(), "[3 127.0.0.1:50001] \"AUTH\" \"(redacted)\" \"(redacted)\"\r\n");
  node.Ask(watching, {"PING"});
  EXPECT_EQ(Take(), "[0 127.0.0.1:50002] \"PING\"\r\n");
}

TEST_F(MonitorsTest, TransactionsAndScriptsInTheOrderOfRedis) {
  node.Ask({"MULTI"});
  node.Ask({"SET", "k", "1"});
  EXPECT_EQ(Take(), "[0 127.0.0.1:50001] \"MULTI\"\r\n");
  node.Ask({"EXEC"});
  EXPECT_EQ(Take(), "[0 127.0.0.1:50001] \"SET\" \"k\" \"1\"\r\n[0 127.0.0.1:50001] \"EXEC\"\r\n");
  node.Ask({"EVAL", "return redis.call('get', 'k')", "0"});
  EXPECT_EQ(Take(), "[0 127.0.0.1:50001] \"EVAL\" \"return redis.call('get', 'k')\" \"0\"\r\n[0 lua] \"get\" \"k\"\r\n");
}

TEST_F(MonitorsTest, WhoMonitorsLeavesKeysAlone) {
  constexpr std::string_view kRefused = "-ERR Replica can't interact with the keyspace";
  EXPECT_EQ(node.Ask(watching, {"GET", "k"}), kRefused);
  EXPECT_EQ(node.Ask(watching, {"SET", "k", "v"}), kRefused);
  EXPECT_EQ(node.Ask(watching, {"EVAL", "return 1", "0"}), kRefused);
  EXPECT_EQ(node.Ask(watching, {"CLIENT", "ID"}), "2");
  EXPECT_NE(node.Ask({"CLIENT", "LIST"}).find(" flags=O "), std::string::npos);
  EXPECT_EQ(node.Ask(watching, {"RESET"}), "+RESET");
  EXPECT_EQ(node.Ask(watching, {"GET", "k"}), "null");
  Take();
  node.Ask({"PING"});
  EXPECT_EQ(Take(), "");
  node.Ask({"MULTI"});
  node.Ask({"MONITOR"});
  EXPECT_EQ(node.Ask({"EXEC"}), "[-ERR MONITOR isn't allowed for DENY BLOCKING client]");
}

TEST_F(MonitorsTest, WhatOneCommandBringsIsBounded) {
  const std::string large(size_t{40} << 20, '\0');
  node.Ask({"PING", large});
  const size_t bytes = Take().size();
  EXPECT_GT(bytes, size_t{33} << 20);
  EXPECT_LT(bytes, size_t{200} << 20);
}

}  // namespace
}  // namespace polyarch::command
