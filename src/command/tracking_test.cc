// CLIENT TRACKING at one node: who is told what, and when. Replies and errors are in
// tests/transcript/tracking.txt; remote changes in engine/tracking_test.cc.
#include <gtest/gtest.h>

#include "command/command_test_env.h"

namespace polyarch::command {
namespace {

std::string Told(std::string_view key) {
  return ">2\r\n$10\r\ninvalidate\r\n*1\r\n$" + std::to_string(key.size()) + "\r\n" + std::string(key) + "\r\n";
}
constexpr std::string_view kToldAll = ">2\r\n$10\r\ninvalidate\r\n_\r\n";

class TrackingTest : public testing::Test {
 protected:
  Client& Three() {
    Client& client = node.Connect();
    client.protocol = 3;
    return client;
  }
  std::string Take(const Client& client) { return std::exchange(node.cluster.pushes[client.id], {}); }
  Tracking& book() { return node.cluster.tracking(); }
  TestNode node;
};

TEST_F(TrackingTest, WhoHasReadIsToldOnce) {
  Client& a = Three();
  Client& b = Three();
  node.Ask(a, {"CLIENT", "TRACKING", "ON"});
  node.Ask(b, {"CLIENT", "TRACKING", "ON"});
  node.Ask(a, {"MGET", "k", "j"});
  node.Ask(a, {"GET", "k"});
  node.Ask(b, {"GET", "k"});
  EXPECT_EQ(book().keys(), 2U);
  EXPECT_EQ(book().items(), 3U);
  node.Ask({"SET", "k", "1"});
  node.Ask({"SET", "k", "2"});
  EXPECT_EQ(Take(a), Told("k"));
  EXPECT_EQ(Take(b), Told("k"));
  EXPECT_EQ(book().items(), 1U);
  node.Ask({"SET", "other", "1"});
  node.Ask({"LPUSH", "j", "1"});
  EXPECT_EQ(Take(a), Told("j"));
  EXPECT_EQ(Take(b), "");
  // Its own command, too, unless it has said NOLOOP.
  node.Ask(a, {"GET", "k"});
  node.Ask(a, {"SET", "k", "3"});
  EXPECT_EQ(Take(a), Told("k"));
  node.Ask(a, {"CLIENT", "TRACKING", "ON", "NOLOOP"});
  node.Ask(a, {"GET", "k"});
  node.Ask(a, {"SET", "k", "4"});
  EXPECT_EQ(Take(a), "");
  node.Ask(a, {"GET", "k"});
  node.Ask({"SET", "k", "5"});
  EXPECT_EQ(Take(a), Told("k"));
}

TEST_F(TrackingTest, ReadsInTransactionsAndScriptsCount) {
  Client& a = Three();
  node.Ask(a, {"CLIENT", "TRACKING", "ON"});
  node.Ask(a, {"MULTI"});
  node.Ask(a, {"GET", "k"});
  node.Ask(a, {"SET", "k", "1"});
  node.Ask(a, {"GET", "k"});
  EXPECT_EQ(book().keys(), 0U);
  node.Ask(a, {"EXEC"});
  EXPECT_EQ(Take(a), Told("k"));
  EXPECT_EQ(book().keys(), 1U);  // as it was read last
  node.Ask({"DEL", "k"});
  EXPECT_EQ(Take(a), Told("k"));
  node.Ask(a, {"EVAL", "return redis.call('get', 'undeclared')", "0"});
  node.Ask({"SET", "undeclared", "1"});
  EXPECT_EQ(Take(a), Told("undeclared"));
  // The KEYS of a script that reads count as read, whatever it reads; of one that only writes they do not.
  node.Ask(a, {"EVAL", "redis.call('set', 'other', '1')", "2", "k", "l"});
  EXPECT_EQ(book().keys(), 0U);
  for (const std::string command : {"EVAL", "EVAL_RO"}) {
    node.Ask(a, {command, "redis.call('get', 'other') redis.call('get', 'other')", "2", "k", "l"});
    EXPECT_EQ(book().keys(), 3U);
    for (const std::string key : {"l", "k", "other"}) {
      node.Ask({"SET", key, "2"});
      EXPECT_EQ(Take(a), Told(key));
    }
  }
}

TEST_F(TrackingTest, CachingSaysItForTheNextCommandOrTransaction) {
  Client& a = Three();
  node.Ask(a, {"CLIENT", "TRACKING", "ON", "OPTIN"});
  auto tracks = [&](auto... args) {
    node.Ask(a, {args...});
    const bool tracked = book().keys() != 0;
    node.Ask({"SET", "k", "1"});
    Take(a);
    return tracked;
  };
  EXPECT_FALSE(tracks("GET", "k"));
  node.Ask(a, {"CLIENT", "CACHING", "YES"});
  node.Ask(a, {"CLIENT", "ID"});
  EXPECT_TRUE(tracks("GET", "k"));
  EXPECT_FALSE(tracks("GET", "k"));
  node.Ask(a, {"CLIENT", "CACHING", "YES"});
  node.Ask(a, {"NOSUCH"});
  EXPECT_FALSE(tracks("GET", "k"));
  node.Ask(a, {"CLIENT", "CACHING", "YES"});
  node.Ask(a, {"MULTI"});
  node.Ask(a, {"PING"});
  node.Ask(a, {"GET", "k"});
  EXPECT_TRUE(tracks("EXEC"));
  EXPECT_FALSE(tracks("GET", "k"));
  node.Ask(a, {"CLIENT", "TRACKING", "OFF"});
  node.Ask(a, {"CLIENT", "TRACKING", "ON", "OPTOUT"});
  EXPECT_TRUE(tracks("GET", "k"));
  node.Ask(a, {"CLIENT", "CACHING", "NO"});
  EXPECT_FALSE(tracks("GET", "k"));
  EXPECT_TRUE(tracks("GET", "k"));
}

TEST_F(TrackingTest, PrefixesAreToldAtTheEndOfTheTick) {
  Client& a = Three();
  Client& b = Three();
  node.Ask(a, {"CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "user:", "PREFIX", "job:"});
  node.Ask(b, {"CLIENT", "TRACKING", "ON", "BCAST", "NOLOOP"});
  EXPECT_EQ(book().prefixes(), 3U);
  node.Ask({"MSET", "user:1", "1", "job:1", "1", "other", "1"});
  node.Ask({"SET", "user:1", "2"});
  node.Ask(b, {"SET", "user:2", "2"});
  EXPECT_EQ(Take(a), "");
  node.TellTracking(/*end_of_tick=*/true);
  EXPECT_EQ(Take(a), Told("job:1") + ">2\r\n$10\r\ninvalidate\r\n*2\r\n$6\r\nuser:1\r\n$6\r\nuser:2\r\n");
  EXPECT_EQ(Take(b), ">2\r\n$10\r\ninvalidate\r\n*3\r\n$5\r\njob:1\r\n$5\r\nother\r\n$6\r\nuser:1\r\n");
  // Somebody else has changed it as well.
  node.Ask({"SET", "k", "1"});
  node.Ask(b, {"SET", "k", "2"});
  node.TellTracking(/*end_of_tick=*/true);
  EXPECT_EQ(Take(b), Told("k"));
  node.Ask(a, {"CLIENT", "TRACKING", "OFF"});
  EXPECT_EQ(book().prefixes(), 1U);
  node.Ask({"SET", "user:1", "3"});
  node.TellTracking(/*end_of_tick=*/true);
  EXPECT_EQ(Take(a), "");
}

TEST_F(TrackingTest, AFlushIsToldToAll) {
  Client& a = Three();
  Client& b = Three();
  node.Ask({"SET", "k", "1"});
  node.Ask(a, {"CLIENT", "TRACKING", "ON", "NOLOOP"});
  node.Ask(b, {"CLIENT", "TRACKING", "ON", "BCAST"});
  node.Ask(a, {"GET", "k"});
  book().NoteAll();
  node.TellTracking(/*end_of_tick=*/true);
  EXPECT_EQ(Take(a), kToldAll);
  EXPECT_EQ(Take(b), kToldAll);
  EXPECT_EQ(book().keys(), 0U);
  node.TellTracking(/*end_of_tick=*/true);
  EXPECT_EQ(Take(a), "");
}

TEST_F(TrackingTest, AnotherConnectionIsToldInItsProtocol) {
  Client& a = node.Connect();
  Client& two = node.Connect();
  const std::string id = std::to_string(two.id);
  node.Ask(a, {"CLIENT", "TRACKING", "ON", "REDIRECT", id});
  node.Ask(a, {"GET", "k"});
  node.Ask({"SET", "k", "1"});
  EXPECT_EQ(Take(two), "");  // it has not subscribed to anything
  node.Ask(two, {"SUBSCRIBE", "__redis__:invalidate"});
  node.Ask(a, {"GET", "k"});
  node.Ask({"SET", "k", "1"});
  EXPECT_EQ(Take(two), "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n");
  EXPECT_EQ(node.cluster.held_pushes, 1U);
  book().NoteAll();
  node.TellTracking();
  EXPECT_EQ(Take(two), "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n");
  // It is told, too, when it has begun anew.
  node.Ask(two, {"RESET"});
  node.Ask(two, {"PSUBSCRIBE", "other"});
  node.Ask(a, {"GET", "k"});
  node.Ask({"SET", "k", "1"});
  EXPECT_EQ(Take(two), "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n");
  // It leaves: its connection is still there, but takes nothing any more.
  a.protocol = 3;
  node.Ask(a, {"GET", "k"});
  two.leaving = true;
  node.Ask({"SET", "k", "1"});
  EXPECT_EQ(Take(a), ">2\r\n$21\r\ntracking-redir-broken\r\n:" + id + "\r\n");
  EXPECT_EQ(Take(two), "");
  two.leaving = false;
  // It goes.
  book().Forget(two.id);
  node.Ask(a, {"GET", "k"});
  node.Ask({"SET", "k", "1"});
  EXPECT_EQ(Take(a), ">2\r\n$21\r\ntracking-redir-broken\r\n:" + id + "\r\n");
  EXPECT_NE(node.Ask(a, {"CLIENT", "TRACKINGINFO"}).find("broken_redirect"), std::string::npos);
  EXPECT_NE(node.Ask(a, {"CLIENT", "INFO"}).find(" flags=tR "), std::string::npos);
  EXPECT_NE(node.Ask(a, {"CLIENT", "INFO"}).find(" redir=" + id + " "), std::string::npos);
  EXPECT_EQ(node.Ask(a, {"CLIENT", "TRACKING", "ON"}), "+OK");
  EXPECT_EQ(node.Ask(a, {"CLIENT", "GETREDIR"}), "0");
}

TEST_F(TrackingTest, WhoHasAnAnswerComingIsToldBehindIt) {
  Client& a = Three();
  node.Ask(a, {"CLIENT", "TRACKING", "ON"});
  node.Ask(a, {"GET", "k"});
  a.blocked = Client::Blocked::kAnswered;
  node.Ask({"SET", "k", "1"});
  EXPECT_EQ(Take(a), "");
  a.blocked = Client::Blocked::kNot;
  node.TellTracking();
  EXPECT_EQ(Take(a), Told("k"));
}

TEST_F(TrackingTest, TheTableIsBounded) {
  Client& a = Three();
  node.Ask(a, {"CLIENT", "TRACKING", "ON"});
  book().SetKeysMax(10);
  for (int i = 0; i < 100; ++i)
    node.Ask(a, {"GET", "key" + std::to_string(i)});
  EXPECT_EQ(book().keys(), 10U);
  size_t told = 0;
  const std::string all = Take(a);
  for (size_t at = all.find("invalidate"); at != std::string::npos; at = all.find("invalidate", at + 1))
    ++told;
  EXPECT_EQ(told, 90U);
  book().SetKeysMax(0);
  // So are the readers of one key: those that are gone are looked for.
  for (int i = 0; i < 1000; ++i) {
    Client& passing = Three();
    node.Ask(passing, {"CLIENT", "TRACKING", "ON"});
    node.Ask(passing, {"GET", "hot"});
    book().Forget(passing.id);
  }
  EXPECT_LE(book().items(), 10U + 130U);
  // And the bytes of all names.
  const std::string long_name(65'000, 'x');
  for (int i = 0; i < 5000; ++i)
    node.Ask(a, {"GET", long_name + std::to_string(i)});
  EXPECT_LE(book().keys() * long_name.size(), Tracking::kBytesMax + 20 * long_name.size());
  book().Forget(a.id);
  EXPECT_EQ(book().keys() + book().items() + book().clients(), 0U);
}

// What one command brings, until it has ended.
TEST_F(TrackingTest, MessagesThatWaitAreBounded) {
  Client& a = Three();
  node.Ask(a, {"CLIENT", "TRACKING", "ON"});
  book().SetKeysMax(1);
  node.Ask(a, {"EVAL", "local k = string.rep('k', 60000) for i = 1, 2000 do redis.call('EXISTS', k .. i) end", "0"});
  const std::string told = Take(a);
  EXPECT_LT(told.size(), Tracking::kWaitingBytesMax);
  EXPECT_TRUE(told.ends_with(kToldAll));
  EXPECT_EQ(book().keys(), 1U) << "it goes on behind that";
  node.Ask(a, {"GET", "next"});
  EXPECT_NE(Take(a), kToldAll);
}

TEST_F(TrackingTest, LongNamesOfPrefixesThatWaitAreBounded) {
  Client& a = Three();
  node.Ask(a, {"CLIENT", "TRACKING", "ON", "BCAST"});
  for (size_t i = 0; i < 1200; ++i) {
    const std::string key = std::string(60'000, 'k') + std::to_string(i);
    book().NoteModified({0, key, i}, keyspace::Cause::kRemote, 0);
  }
  node.TellTracking(/*end_of_tick=*/true);
  EXPECT_LT(Take(a).size(), Tracking::kWaitingBytesMax);
  node.TellTracking(/*end_of_tick=*/true);
  EXPECT_EQ(Take(a), "");
}

TEST_F(TrackingTest, ManyChangesOfPrefixesBecomeOne) {
  Client& a = Three();
  node.Ask(a, {"CLIENT", "TRACKING", "ON", "BCAST"});
  for (size_t i = 0; i <= Tracking::kBroadcastKeysMax; ++i) {
    const std::string key = std::to_string(i);
    book().NoteModified({0, key, i}, keyspace::Cause::kRemote, 0);
  }
  node.TellTracking(/*end_of_tick=*/true);
  EXPECT_EQ(Take(a), kToldAll);
}

TEST_F(TrackingTest, Limits) {
  Client& a = Three();
  std::vector<std::string> words = {"CLIENT", "TRACKING", "ON", "BCAST"};
  for (size_t i = 0; i < Tracking::kPrefixesMax; ++i) {
    words.push_back("PREFIX");
    words.push_back(std::to_string(10'000 + i));
  }
  std::vector<std::string_view> views(words.begin(), words.end());
  EXPECT_EQ(node.Run(a, views).at(0).ToString(), "+OK");
  EXPECT_EQ(node.Ask(a, {"CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "x"}),
            "-LIMIT one client may track 1024 prefixes");
  EXPECT_EQ(node.Ask({"CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", std::string(65'536, 'x')}),
            "-LIMIT prefix longer than 65535 bytes");
  node.Ask(a, {"RESET"});
  EXPECT_EQ(book().clients() + book().prefixes(), 0U);
}

}  // namespace
}  // namespace polyarch::command
