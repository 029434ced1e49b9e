// CONFLICT on elements of collections: what people see of them, and what they may type.
#include "command/polyarch_element.h"

#include <gtest/gtest.h>

#include "command/command_test_env.h"
#include "crdt/position.h"
#include "crdt/stream.h"
#include "keyspace/elements.h"

namespace polyarch::command {
namespace {

using crdt::Type;

// What CONFLICT GET tells of an element: the token, and the versions without times.
struct Told {
  std::string token;
  std::string versions;
};

Told Get(TestNode& node, std::string_view key, std::string_view field) {
  Client& client = *node.server.clients.front();
  const std::vector<std::string_view> args = {"CONFLICT", "GET", key, "FIELD", field};
  resp::Value reply = node.Run(client, args).front();
  if (reply.items.size() != 2) return {"", reply.ToString()};
  for (resp::Value& version : reply.items[1].items)
    version.items.erase(version.items.begin() + 2);
  return {reply.items[0].text, reply.items[1].ToString()};
}

// The name of the list's element at this place.
std::string NameAt(TestNode& node, std::string_view key, size_t index) {
  const crdt::KeyState state = node.keys.State(node.keys.Ref(0, key));
  return state.elements.at(index).name;
}

conflict::LedgerEntry Decided(Type type, std::string key, std::string element, std::string lost) {
  conflict::LedgerEntry e{.noted_ms = kTestStartMs,
                          .key = std::move(key),
                          .type = type,
                          .element = std::move(element),
                          .policy = "lww"};
  e.lost = {.value = std::move(lost), .origin = {"eu", 1}, .sequence = 3, .hlc = clock::Hlc::FromMs(999)};
  e.shown = {.value = e.lost.value, .origin = {"us", 2}, .sequence = 4, .hlc = clock::Hlc::FromMs(1000)};
  return e;
}

// "field" and what lost, of the entry.
std::string Logged(TestNode& node, conflict::LedgerEntry entry) {
  const std::string after = std::to_string(node.cluster.ledger().Note(std::move(entry)) - 1);
  Client& client = *node.server.clients.front();
  const std::vector<std::string_view> args = {"CONFLICT", "LOG", "AFTER", after, "COUNT", "1"};
  const resp::Value log = node.Run(client, args).front().items.at(0);
  EXPECT_EQ(log.items.at(6).text, "field");
  EXPECT_EQ(log.items.at(12).text, "lost");
  return log.items.at(7).text + " = " + log.items.at(13).items.at(0).items.at(0).ToString();
}

TEST(ConflictElements, AListsElementIsNamedByItsPosition) {
  TestNode node;
  node.Ask({"RPUSH", "l", "a", "b"});
  const std::string name = NameAt(node, "l", 1);
  const std::string text = crdt::PositionText(name);
  EXPECT_EQ(Get(node, "l", text).versions, "[[\"b\", \"eu\", \"eu.0000000000000001:1\"]]");
  node.RemoteElement("l", Type::kList, name, "B");
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST"}), "[\"l\"]");
  const Told both = Get(node, "l", text);
  EXPECT_EQ(both.versions,
            "[[\"b\", \"eu\", \"eu.0000000000000001:1\"], [\"B\", \"us\", \"us.0000000000000002:1\"]]");
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "l", both.token, "c", "FIELD", text}), "+OK");
  EXPECT_EQ(node.Ask({"LRANGE", "l", "0", "-1"}), "[\"a\", \"c\"]");
  EXPECT_EQ(node.Ask({"CONFLICT", "LIST"}), "[]");
  EXPECT_EQ(Get(node, "l", "1").versions, "null") << "no index";
  EXPECT_EQ(Get(node, "l", name).versions, "null") << "bytes of a name are none of its texts";
  EXPECT_EQ(Logged(node, Decided(Type::kList, "l", name, "one")), text + " = \"one\"");
}

TEST(ConflictElements, AnEntryOfAStreamIsNamedByItsId) {
  TestNode node;
  node.Ask({"XADD", "s", "5-1", "from", "eu"});
  const std::string name = crdt::StreamEntryName({5, 1});
  const std::string_view fields[] = {"from", "us", "n", "1"};
  const std::string value = crdt::EncodeStreamEntry(fields);
  node.RemoteElement("s", Type::kStream, name, value);
  const Told both = Get(node, "s", "5-1");
  EXPECT_EQ(both.versions,
            "[[[\"from\", \"eu\"], \"eu\", \"eu.0000000000000001:1\"], "
            "[[\"from\", \"us\", \"n\", \"1\"], \"us\", \"us.0000000000000002:1\"]]");
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "s", both.token, "x", "FIELD", "5-1"}),
            "-ERR members of sets and entries of streams have no value to set; see CONFLICT RESTORE");
  EXPECT_EQ(Get(node, "s", "6-1").versions, "null");
  EXPECT_EQ(Get(node, "s", "x").versions, "null");
  EXPECT_EQ(Logged(node, Decided(Type::kStream, "s", name, value)),
            "5-1 = [\"from\", \"us\", \"n\", \"1\"]");
  EXPECT_EQ(Logged(node, Decided(Type::kStream, "s", crdt::StreamEntryName({7, 0}), "foreign bytes")),
            "7-0 = \"foreign bytes\"");
}

TEST(ConflictElements, AScoreIsANumber) {
  TestNode node;
  node.Ask({"ZADD", "z", "1.5", "m"});
  node.RemoteElement("z", Type::kSortedSet, "m", keyspace::EncodeScore(7));
  const Told both = Get(node, "z", "m");
  EXPECT_EQ(both.versions,
            "[[\"1.5\", \"eu\", \"eu.0000000000000001:1\"], [\"7\", \"us\", \"us.0000000000000002:1\"]]");
  const size_t effects = node.effects();
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "z", both.token, "many", "FIELD", "m"}),
            "-ERR value is not a valid float");
  EXPECT_EQ(node.effects(), effects);
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "z", both.token, "-0", "FIELD", "m"}), "+OK");
  EXPECT_EQ(node.Ask({"ZRANGE", "z", "0", "-1", "WITHSCORES"}), "[\"m\", \"0\"]");
  EXPECT_EQ(node.Ask({"CONFLICT", "COUNT"}), "0");
  EXPECT_EQ(Logged(node, Decided(Type::kSortedSet, "z", "m", keyspace::EncodeScore(2.5))), "m = \"2.5\"");
}

TEST(ConflictElements, TheTypeThatIsShownComesFirst) {
  TestNode node;
  node.Ask({"HSET", "k", "f", "v"});
  node.RemoteElement("k", Type::kSortedSet, "f", keyspace::EncodeScore(3));
  EXPECT_EQ(node.Ask({"TYPE", "k"}), "+zset");
  const Told shown = Get(node, "k", "f");
  EXPECT_EQ(shown.versions, "[[\"3\", \"us\", \"us.0000000000000002:1\"]]");
  node.Ask({"HSET", "h", "g", "v"});
  node.RemoteElement("h", Type::kSortedSet, "m", keyspace::EncodeScore(3));
  const Told hidden = Get(node, "h", "g");
  EXPECT_EQ(hidden.versions, "[[\"v\", \"eu\", \"eu.0000000000000001:2\"]]");
  EXPECT_EQ(node.Ask({"CONFLICT", "RESOLVE", "h", hidden.token, "w", "FIELD", "g"}).substr(0, 10),
            "-WRONGTYPE");
}

TEST(ConflictElements, ATrimOfAllLeavesTheOtherType) {
  for (int size : {1, 30}) {
    TestNode node;
    node.Ask({"HSET", "k", "f", "v"});
    for (int i = 0; i < size; ++i) {
      node.Ask({"RPUSH", "other", "a"});
      node.RemoteElement("k", Type::kList, NameAt(node, "other", static_cast<size_t>(i)), "a");
    }
    EXPECT_EQ(node.Ask({"TYPE", "k"}), "+list");
    EXPECT_EQ(node.Ask({"LLEN", "k"}), std::to_string(size));
    EXPECT_EQ(node.Ask({"LTRIM", "k", "1", "0"}), "+OK");
    EXPECT_EQ(node.Ask({"HGET", "k", "f"}), "\"v\"");
  }
}

}  // namespace
}  // namespace polyarch::command
