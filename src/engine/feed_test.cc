// Conflict feeds at several leaders: who delivers, what is given again, what is acknowledged for
// all.
#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "command/notify.h"
#include "engine/engine_test_util.h"

namespace polyarch::engine {
namespace {

// The text behind `"name": "` or `"name", "` in a reply.
std::vector<std::string> Named(const std::string& reply, const std::string& name) {
  std::vector<std::string> found;
  const std::string wanted = "\"" + name + "\", \"";
  for (size_t at = 0; (at = reply.find(wanted, at)) != std::string::npos;) {
    at += wanted.size();
    found.push_back(reply.substr(at, reply.find('"', at) - at));
  }
  return found;
}

class ConflictFeed : public testing::Test {
 protected:
  ConflictFeed() {
    EXPECT_EQ(a.Ask({"POLICY", "SET", "room:*", "siblings"}), "+OK");
    EXPECT_TRUE(cluster.Settle());
    EXPECT_EQ(b.Ask({"CONFLICT", "FEED", "CREATE", "bookings", "room:*", "LEADERS", "a", "b"}),
              "+OK");
    EXPECT_TRUE(cluster.Settle());
  }
  // `write` while nobody hears of anybody.
  void Apart(const std::function<void()>& write) {
    for (auto [x, y] : {std::pair(&a, &b), std::pair(&b, &c), std::pair(&a, &c)})
      cluster.Cut(*x, *y);
    write();
    for (auto [x, y] : {std::pair(&a, &b), std::pair(&b, &c), std::pair(&a, &c)})
      cluster.Heal(*x, *y);
    ASSERT_TRUE(cluster.Settle());
  }
  void Conflict(const std::string& key) {
    Apart([&] {
      a.Ask({"SET", key, "Ada"});
      b.Ask({"SET", key, "Grace"});
    });
  }
  std::vector<std::string> Keys(TestNode& node,
                                const std::string& consumer,
                                const std::string& again = "30000") {
    last_ = node.Ask({"CONFLICT", "FEED", "READ", "bookings", consumer, "AGAIN", again});
    return Named(last_, "key");
  }
  using Strings = std::vector<std::string>;

  Leaders cluster{3};
  TestNode& a = cluster[0];
  TestNode& b = cluster[1];
  TestNode& c = cluster[2];
  std::string last_;
};

TEST_F(ConflictFeed, GivesUntilAcknowledgedAndResolves) {
  EXPECT_EQ(Keys(a, "x"), Strings());
  Conflict("room:1");
  EXPECT_EQ(Keys(a, "x"), Strings{"room:1"});
  EXPECT_NE(last_.find("[\"Ada\", \"a\""), std::string::npos) << last_;
  EXPECT_NE(last_.find("\"times\", 1"), std::string::npos) << last_;
  const std::string id = Named(last_, "id").at(0);
  const std::string token = Named(last_, "token").at(0);
  EXPECT_EQ(Keys(a, "y"), Strings()) << "x has it";
  EXPECT_NE(a.Ask({"CONFLICT", "FEED", "PENDING", "bookings"}).find("\"consumer\", \"x\""),
            std::string::npos);
  cluster.Run(500);
  EXPECT_EQ(Keys(a, "y", "400"), Strings{"room:1"});
  EXPECT_EQ(Named(last_, "id").at(0), id);
  EXPECT_NE(last_.find("\"times\", 2"), std::string::npos) << last_;
  // Other leaders.
  EXPECT_EQ(Keys(b, "x"), Strings());
  EXPECT_EQ(
      last_,
      "-ELSEWHERE leader a delivers feed 'bookings'; read there (LEADER LIST tells where it is)");
  EXPECT_EQ(c.Ask({"CONFLICT", "FEED", "READ", "none", "x"}).substr(0, 9), "-NOGROUP ");
  // Acknowledged at one of them: for all, and for good.
  EXPECT_EQ(c.Ask({"CONFLICT", "FEED", "ACK", "bookings", id, "0123"}), "1");
  EXPECT_EQ(c.Ask({"CONFLICT", "FEED", "ACK", "bookings", id}), "0");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(Keys(a, "y", "0"), Strings());
  a.Kill();
  ASSERT_TRUE(a.Start().ok());
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(Keys(a, "y", "0"), Strings());
  EXPECT_EQ(a.Ask({"CONFLICT", "COUNT"}), "1") << "acknowledged is not resolved";
  // Resolved: the acknowledgement goes, too.
  EXPECT_NE(b.Ask({"CONFLICT", "FEED", "LIST"}).find("\"acknowledged\", 1"), std::string::npos);
  EXPECT_EQ(b.Ask({"CONFLICT", "RESOLVE", "room:1", token, "Ada"}), "+OK");
  ASSERT_TRUE(cluster.RunUntil([&] {
    return b.Ask({"CONFLICT", "FEED", "LIST"}).find("\"acknowledged\", 0") != std::string::npos;
  }));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

TEST_F(ConflictFeed, AnotherVersionIsAnotherItem) {
  Conflict("room:1");
  ASSERT_EQ(Keys(a, "x"), Strings{"room:1"});
  const std::string id = Named(last_, "id").at(0);
  EXPECT_EQ(a.Ask({"CONFLICT", "FEED", "ACK", "bookings", id}), "1");
  Apart([&] {
    a.Ask({"SET", "room:1", "Mary"});
    c.Ask({"SET", "room:1", "Jean"});
  });
  ASSERT_EQ(Keys(a, "x"), Strings{"room:1"});
  EXPECT_NE(Named(last_, "id").at(0), id);
}

TEST_F(ConflictFeed, FieldsAreItemsOfTheirOwn) {
  Apart([&] {
    a.Ask({"HSET", "room:9", "monday", "Ada", "friday", "Ada"});
    b.Ask({"HSET", "room:9", "monday", "Grace", "friday", "Grace"});
    a.Ask({"SET", "other", "x"});
    b.Ask({"SET", "other", "y"});
  });
  EXPECT_EQ(Keys(a, "x"), (Strings{"room:9", "room:9"}));
  Strings fields = Named(last_, "field");
  std::sort(fields.begin(), fields.end());
  EXPECT_EQ(fields, (Strings{"friday", "monday"}));
  const std::string first = Named(last_, "field").at(0);
  EXPECT_EQ(
      a.Ask({"CONFLICT", "RESOLVE", "room:9", Named(last_, "token").at(0), "Mary", "FIELD", first}),
      "+OK");
  EXPECT_EQ(Keys(a, "x", "0"), Strings{"room:9"});
}

// In a partition one of each side delivers; whoever takes over knows nothing of who has what.
TEST_F(ConflictFeed, IsTakenOver) {
  Conflict("room:1");
  EXPECT_EQ(Keys(a, "x"), Strings{"room:1"});
  cluster.Cut(a, b);
  cluster.Cut(a, c);
  ASSERT_TRUE(cluster.RunUntil([&] { return Keys(b, "y") == Strings{"room:1"}; })) << last_;
  EXPECT_EQ(Keys(a, "x", "0"), Strings{"room:1"});
  ASSERT_TRUE(cluster.RunUntil([&] {
    return c.Ask({"CONFLICT", "FEED", "READ", "bookings", "z"}).starts_with("-ELSEWHERE leader b ");
  }));
  cluster.Cut(b, c);
  ASSERT_TRUE(cluster.RunUntil([&] {
    return c.Ask({"CONFLICT", "FEED", "READ", "bookings", "z"}).find("none of the leaders") !=
           std::string::npos;
  }));
  // Both resolve: two versions, again a conflict; the same value twice would be none.
  auto resolve = [&](TestNode& node, const std::string& value) {
    EXPECT_EQ(Keys(node, "x", "0"), Strings{"room:1"});
    return node.Ask({"CONFLICT", "RESOLVE", "room:1", Named(last_, "token").at(0), value});
  };
  EXPECT_EQ(resolve(a, "Ada"), "+OK");
  EXPECT_EQ(resolve(b, "Ada"), "+OK");
  cluster.Heal(a, b);
  cluster.Heal(a, c);
  cluster.Heal(b, c);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(Keys(a, "x", "0"), Strings());
  EXPECT_EQ(c.Ask({"GET", "room:1"}), "\"Ada\"");
  EXPECT_EQ(Keys(b, "y", "0"), Strings());
  EXPECT_EQ(last_.substr(0, 22), "-ELSEWHERE leader a de");
  EXPECT_TRUE(cluster.SameDigest());
}

TEST_F(ConflictFeed, WhoWaitsIsServed) {
  command::Client client;
  client.id = 5;
  client.authenticated = true;
  const std::vector<std::string_view> read = {
      "CONFLICT", "FEED", "READ", "bookings", "x", "BLOCK", "20000"};
  a.AskAs(client, read);
  ASSERT_EQ(a.last_outcome, Outcome::kSuspended);
  Conflict("room:1");
  ASSERT_EQ(std::erase(a.resumed, 5U), 1U);
  EXPECT_EQ(Named(a.AskAs(client, read), "key"), Strings{"room:1"});
  // Its time is over; what was given comes again while it waits.
  a.AskAs(client, {"CONFLICT", "FEED", "READ", "bookings", "x", "BLOCK", "100"});
  cluster.Run(200);
  ASSERT_EQ(std::erase(a.resumed, 5U), 1U);
  EXPECT_EQ(a.AskAs(client, read), "null");
  const std::vector<std::string_view> again = {
      "CONFLICT", "FEED", "READ", "bookings", "y", "BLOCK", "0", "AGAIN", "120000"};
  a.AskAs(client, again);
  ASSERT_EQ(a.last_outcome, Outcome::kSuspended);
  cluster.Run(125'000);
  ASSERT_EQ(std::erase(a.resumed, 5U), 1U);
  EXPECT_EQ(Named(a.AskAs(client, again), "key"), Strings{"room:1"});
}

TEST_F(ConflictFeed, GoesWithItsAcknowledgements) {
  Conflict("room:1");
  EXPECT_EQ(Keys(a, "x"), Strings{"room:1"});
  EXPECT_EQ(a.Ask({"CONFLICT", "FEED", "ACK", "bookings", Named(last_, "id").at(0)}), "1");
  EXPECT_EQ(c.Ask({"CONFLICT", "FEED", "CREATE", "bookings", "*", "LEADERS", "c"}).substr(0, 11),
            "-BUSYGROUP ");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(c.Ask({"CONFLICT", "FEED", "DEL", "bookings"}), "1");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.Ask({"CONFLICT", "FEED", "LIST"}), "[]");
  EXPECT_EQ(a.Ask({"CONFLICT", "FEED", "DEL", "bookings"}), "0");
  EXPECT_EQ(c.Ask({"CONFLICT", "FEED", "CREATE", "bookings", "*", "LEADERS", "c"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(Keys(c, "x"), Strings{"room:1"});
  EXPECT_TRUE(cluster.SameDigest());
}

// Deleted at one leader while another one acknowledges: nothing of that is left, and nothing of it
// counts for a feed that is made again in the same words.
TEST_F(ConflictFeed, AnotherFeedOfTheNameHasNothingAcknowledged) {
  Conflict("room:1");
  EXPECT_EQ(Keys(a, "x"), Strings{"room:1"});
  const std::string id = Named(last_, "id").at(0);
  const std::string acks = a.engine().feeds().Find("bookings")->AcksKey();
  auto kept = [&](TestNode& node) {
    keyspace::Keyspace& keys = node.engine().keys();
    return keys.Exists(keys.Ref(crdt::kReservedDatabase, acks));
  };
  Apart([&] {
    EXPECT_EQ(a.Ask({"CONFLICT", "FEED", "ACK", "bookings", id}), "1");
    EXPECT_EQ(c.Ask({"CONFLICT", "FEED", "DEL", "bookings"}), "1");
    cluster.Run(100);
    EXPECT_EQ(c.Ask({"CONFLICT", "FEED", "CREATE", "bookings", "room:*", "LEADERS", "a", "b"}),
              "+OK");
    EXPECT_TRUE(kept(a));
  });
  EXPECT_EQ(Keys(a, "x"), Strings{"room:1"});
  EXPECT_EQ(Named(last_, "id").at(0), id);
  ASSERT_TRUE(cluster.RunUntil([&] { return !kept(a) && !kept(b) && !kept(c); }));
  ASSERT_TRUE(cluster.Settle());
  // Without another one, also after a restart.
  const std::string others = a.engine().feeds().Find("bookings")->AcksKey();
  EXPECT_NE(others, acks);
  Apart([&] {
    EXPECT_EQ(a.Ask({"CONFLICT", "FEED", "ACK", "bookings", id}), "1");
    EXPECT_EQ(c.Ask({"CONFLICT", "FEED", "DEL", "bookings"}), "1");
    cluster.Run(100);
    a.Kill();
    ASSERT_TRUE(a.Start().ok());
  });
  ASSERT_TRUE(cluster.RunUntil([&] {
    keyspace::Keyspace& keys = b.engine().keys();
    return !keys.Exists(keys.Ref(crdt::kReservedDatabase, others));
  }));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(cluster.SameDigest());
}

TEST_F(ConflictFeed, AcknowledgementsFitIntoAChange) {
  const std::string id(100, 'i');
  std::vector<std::string_view> ack = {"CONFLICT", "FEED", "ACK", "bookings"};
  ack.insert(ack.end(), 400'000, std::string_view(id));
  EXPECT_TRUE(a.AskList(ack).starts_with("-LIMIT change of ")) << "each would name the feed's key again";
  ack.resize(1000);
  EXPECT_EQ(a.AskList(ack), "0");
}

// Each leader keeps the limit of CREATE for itself; what was acknowledged there is not forgotten by all.
TEST_F(ConflictFeed, MoreThanOneLeaderMakesAreServed) {
  Apart([&] {
    for (size_t i = 1; i < conflict::kFeedsMax; ++i) {
      const std::string name = "feed" + std::to_string(i);
      ASSERT_EQ(a.Ask({"CONFLICT", "FEED", "CREATE", name, "x:*", "LEADERS", "a"}), "+OK");
    }
    EXPECT_TRUE(a.Ask({"CONFLICT", "FEED", "CREATE", "one-more", "x:*", "LEADERS", "a"}).starts_with("-LIMIT "));
    ASSERT_EQ(b.Ask({"CONFLICT", "FEED", "CREATE", "the-last", "x:*", "LEADERS", "b"}), "+OK");
  });
  for (TestNode* node : {&a, &b, &c}) {
    EXPECT_NE(node->Ask({"CONFLICT", "FEED", "LIST"}).find("the-last"), std::string::npos);
    EXPECT_FALSE(node->Ask({"CONFLICT", "FEED", "READ", "the-last", "x"}).starts_with("-NOGROUP "));
  }
}

TEST_F(ConflictFeed, WhoWaitsHearsThatItIsGone) {
  command::Client client;
  client.id = 6;
  client.authenticated = true;
  const std::vector<std::string_view> read = {
      "CONFLICT", "FEED", "READ", "bookings", "x", "BLOCK", "0"};
  a.AskAs(client, read);
  ASSERT_EQ(a.last_outcome, Outcome::kSuspended);
  EXPECT_EQ(c.Ask({"CONFLICT", "FEED", "DEL", "bookings"}), "1");
  ASSERT_TRUE(cluster.Settle());
  ASSERT_EQ(std::erase(a.resumed, 6U), 1U);
  EXPECT_EQ(a.AskAs(client, read).substr(0, 9), "-NOGROUP ");
}

TEST_F(ConflictFeed, RefusesWhatMakesNoSense) {
  auto error = [&](std::initializer_list<std::string_view> words) {
    std::vector<std::string_view> args = {"CONFLICT", "FEED"};
    args.insert(args.end(), words.begin(), words.end());
    return a.AskList(args);
  };
  EXPECT_EQ(error({"CREATE", "two words", "*", "LEADERS", "a"}).substr(0, 20),
            "-ERR a feed's name h");
  EXPECT_EQ(error({"CREATE", "g", "", "LEADERS", "a"}),
            "-ERR a pattern must not be empty; '*' is for all keys");
  EXPECT_EQ(error({"CREATE", "g", "*", "LEADER", "a"}).substr(0, 27), "-ERR syntax error, expected");
  EXPECT_EQ(error({"CREATE", "g", "*", "LEADERS", "z"}),
            "-ERR no leader 'z'; see LEADER LIST");
  EXPECT_EQ(error({"CREATE", "g", "*", "LEADERS", "a", "a"}), "-ERR leader 'a' is named twice");
  EXPECT_EQ(error({"READ", "bookings", "x", "COUNT", "0"}),
            "-ERR COUNT must be a number from 1 to 1000");
  EXPECT_EQ(error({"READ", "bookings", "x", "COUNT"}).substr(0, 27), "-ERR syntax error, expected");
  EXPECT_EQ(error({"READ", "bookings", "x", "BLOCK", "-1"}).substr(0, 10), "-ERR BLOCK");
  EXPECT_EQ(error({"NONE"}), "-ERR unknown subcommand 'NONE'. Try CONFLICT FEED HELP.");
  EXPECT_EQ(a.Ask({"CONFLICT", "FEED"}),
            "-ERR wrong number of arguments for 'conflict|feed' command");
  EXPECT_NE(error({"HELP"}).find("ACK <group> <id>"), std::string::npos);
}

// Whoever listens is told when a conflict begins and ends, at each leader by itself.
TEST_F(ConflictFeed, EventsTellOfConflicts) {
  command::Client client;
  client.id = 9;
  client.authenticated = true;
  c.engine().SetNotices(*command::ParseNotices("EC"));
  c.AskAs(client, {"PSUBSCRIBE", "__key*"});
  c.pushed.clear();
  Conflict("room:1");
  EXPECT_NE(c.pushed[9].find("__keyevent@0__:conflict"), std::string::npos) << c.pushed[9];
  EXPECT_NE(c.pushed[9].find("room:1"), std::string::npos);
  EXPECT_EQ(c.pushed[9].find("resolved"), std::string::npos);
  c.pushed.clear();
  EXPECT_EQ(a.Ask({"SET", "room:1", "Ada"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_NE(c.pushed[9].find("__keyevent@0__:resolved"), std::string::npos) << c.pushed[9];
  EXPECT_EQ(c.pushed[9].find("conflict"), std::string::npos);
}

// A handler that fails is told in the log of the process, at most once a minute.
TEST_F(ConflictFeed, HandlersThatFailAreReported) {
  EXPECT_EQ(a.Ask({"HANDLER", "LOAD", "bad", "function merge(key) error('no ' .. key) end"}),
            "+OK");
  EXPECT_EQ(a.Ask({"POLICY", "SET", "k*", "handler", "bad"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  Conflict("k1");
  Conflict("k2");
  EXPECT_EQ(a.Ask({"GET", "k1"}), "\"Grace\"");
  EXPECT_EQ(a.Ask({"GET", "k2"}), "\"Grace\"");
  cluster.Run(61'000);
  EXPECT_TRUE(a.Reported("1 handler bad left it to lww for ")) << "severity 1";
  EXPECT_TRUE(a.Reported("handler:1: no k"));
  const auto lines = [&] {
    return std::count_if(a.reports().begin(), a.reports().end(), [](const std::string& line) {
      return line.find("left it to lww") != std::string::npos;
    });
  };
  EXPECT_LE(lines(), 2);
  const auto before = lines();
  cluster.Run(200'000);
  EXPECT_EQ(a.Ask({"GET", "k1"}), "\"Grace\"") << "remembered: no further run";
  cluster.Run(61'000);
  EXPECT_EQ(lines(), before);
}

// ---- what was decided and is open no more

class DecidedFeed : public ConflictFeed {
 protected:
  DecidedFeed() {
    Conflict("doc:before");
    EXPECT_EQ(c.Ask({"SET", "doc:before", "x"}), "+OK");
    EXPECT_TRUE(cluster.Settle());
    EXPECT_EQ(b.Ask({"CONFLICT", "FEED", "CREATE", "lost", "doc:*", "DECIDED", "LEADERS", "a", "b"}), "+OK");
    EXPECT_TRUE(cluster.Settle());
    cluster.Run(1500);
  }
  // Two values, of which b's is shown, and then a third one, by who has seen both.
  void Decide(const std::string& key) {
    Conflict(key);
    EXPECT_EQ(c.Ask({"SET", key, "new"}), "+OK");
    EXPECT_TRUE(cluster.Settle());
    cluster.Run(1500);
  }
  // `write` while a and b do not hear of each other.
  void Apart2(const std::function<void()>& write) {
    cluster.Cut(a, b);
    write();
    cluster.Heal(a, b);
    ASSERT_TRUE(cluster.RunUntil([&] { return a.Ask({"CONFLICT", "COUNT"}) == "1" && b.Ask({"CONFLICT", "COUNT"}) == "1"; }));
  }
  std::string Read(TestNode& node, const std::string& again = "30000") {
    return node.Ask({"CONFLICT", "FEED", "READ", "lost", "worker", "AGAIN", again});
  }
  // How many of the reply's items were acknowledged by this.
  int Ack(TestNode& node, const std::string& reply) {
    int acknowledged = 0;
    for (const std::string& id : Named(reply, "id"))
      acknowledged += node.Ask({"CONFLICT", "FEED", "ACK", "lost", id}) == "1" ? 1 : 0;
    return acknowledged;
  }
};

TEST_F(DecidedFeed, WhatWasReplacedBeforeAnybodyLookedIsGivenUntilItIsAcknowledged) {
  EXPECT_EQ(Read(a), "[]") << "what was decided before the feed was made is none of its items";
  Decide("doc:1");
  const std::string reply = Read(a);
  EXPECT_EQ(Named(reply, "key"), Strings{"doc:1"});
  EXPECT_NE(reply.find("\"decided\""), std::string::npos) << reply;
  EXPECT_NE(reply.find("\"lost\", [\"Ada\", \"a\""), std::string::npos) << reply;
  EXPECT_NE(reply.find("\"policy\", \"lww\""), std::string::npos) << reply;
  EXPECT_EQ(Read(a), "[]") << "somebody has it";
  EXPECT_EQ(Named(Read(a, "0"), "id"), Named(reply, "id"));
  EXPECT_TRUE(Read(b).starts_with("-ELSEWHERE leader a delivers"));
  EXPECT_EQ(Ack(a, reply), 1);
  EXPECT_EQ(Ack(a, reply), 0);
  cluster.Run(3000);
  EXPECT_EQ(Read(a, "0"), "[]");
}

TEST_F(DecidedFeed, WhatWasToldWhileItWasOpenIsNotToldAgain) {
  Conflict("doc:1");
  const std::string open = Read(a);
  ASSERT_EQ(Named(open, "token").size(), 1U) << open;
  EXPECT_EQ(a.Ask({"CONFLICT", "RESOLVE", "doc:1", Named(open, "token")[0], "both"}), "+OK");
  cluster.Run(3000);
  EXPECT_EQ(Read(a, "0"), "[]");
}

TEST_F(DecidedFeed, WhatWasGivenOpenAndNotAcknowledgedIsToldWhenItIsDecided) {
  Conflict("doc:1");
  ASSERT_EQ(Named(Read(a), "token").size(), 1U);
  EXPECT_EQ(c.Ask({"SET", "doc:1", "new"}), "+OK") << "the consumer has died meanwhile";
  ASSERT_TRUE(cluster.Settle());
  cluster.Run(1500);
  const std::string reply = Read(a);
  EXPECT_EQ(Named(reply, "key"), Strings{"doc:1"});
  EXPECT_NE(reply.find("\"lost\", [\"Ada\", \"a\""), std::string::npos) << reply;
}

// Versions are named by their change: what was told of one place of it says nothing of the others.
TEST_F(DecidedFeed, EachPlaceOfOneChangeIsTold) {
  cluster.Cut(a, b);
  EXPECT_EQ(a.Ask({"MSET", "doc:1", "Ada", "doc:2", "Ada"}), "+OK");
  EXPECT_EQ(b.Ask({"MSET", "doc:1", "Grace", "doc:2", "Grace"}), "+OK");
  cluster.Heal(a, b);
  ASSERT_TRUE(cluster.RunUntil([&] { return a.Ask({"CONFLICT", "COUNT"}) == "2"; }));
  cluster.Run(1500);
  const std::string first = a.Ask({"CONFLICT", "FEED", "READ", "lost", "worker", "COUNT", "1"});
  ASSERT_EQ(Named(first, "key").size(), 1U) << first;
  EXPECT_EQ(Ack(a, first), 1);
  cluster.Run(1500);
  const std::string other = Named(first, "key")[0] == "doc:1" ? "doc:2" : "doc:1";
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(c.Ask({"SET", other, "new"}), "+OK") << "before anybody was told of it";
  ASSERT_TRUE(cluster.Settle());
  cluster.Run(1500);
  EXPECT_EQ(Named(Read(a), "key"), Strings{other});
}

// Three values, of which consumers were told of two: that the second one loses to the third they do not know.
TEST_F(DecidedFeed, WhoWonWhenItWasToldMayLoseYet) {
  for (auto [x, y] : {std::pair(&a, &c), std::pair(&b, &c)}) cluster.Cut(*x, *y);
  Apart2([&] {
    a.Ask({"SET", "doc:1", "Ada"});
    b.Ask({"SET", "doc:1", "Grace"});
  });
  cluster.Run(100);
  EXPECT_EQ(c.Ask({"SET", "doc:1", "Xena"}), "+OK");
  const std::string open = Read(a);
  ASSERT_EQ(Named(open, "token").size(), 1U) << open;
  EXPECT_EQ(Ack(a, open), 1);
  for (auto [x, y] : {std::pair(&a, &c), std::pair(&b, &c)}) cluster.Heal(*x, *y);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(b.Ask({"GET", "doc:1"}), "\"Xena\"");
  EXPECT_EQ(b.Ask({"SET", "doc:1", "new"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  cluster.Run(1500);
  const std::string reply = Read(a);
  EXPECT_EQ(Named(reply, "key"), Strings{"doc:1"}) << reply;
  EXPECT_NE(reply.find("\"shown\", [\"Xena\", \"c\""), std::string::npos) << reply;
  EXPECT_NE(reply.find("\"lost\", [\"Grace\", \"b\""), std::string::npos) << reply;
}

// The cursor stands before both; what was acknowledged of the second one is in the set.
TEST_F(DecidedFeed, WhatWasAcknowledgedOpenIsNotToldAfterAStart) {
  Conflict("doc:0");
  EXPECT_EQ(Named(Read(a), "key"), Strings{"doc:0"}) << "given, and not acknowledged";
  Conflict("doc:1");
  EXPECT_EQ(Ack(a, Read(a)), 1);
  cluster.Run(3000);
  a.Kill();
  ASSERT_TRUE(a.Start().ok());
  ASSERT_TRUE(cluster.Settle());
  cluster.Run(5000);
  EXPECT_EQ(c.Ask({"SET", "doc:1", "new"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  cluster.Run(3000);
  EXPECT_EQ(Named(Read(a, "0"), "key"), Strings{"doc:0"});
}

TEST_F(DecidedFeed, OpenOnesTakeNoPlace) {
  Apart([&] {
    for (int i = 0; i < 1100; ++i) {
      a.Ask({"SET", "doc:" + std::to_string(i), "Ada"});
      b.Ask({"SET", "doc:" + std::to_string(i), "Grace"});
    }
  });
  cluster.Run(3000);
  Decide("doc:last");
  cluster.Run(3000);
  EXPECT_NE(a.Ask({"CONFLICT", "FEED", "LIST"}).find("\"decided\", 1"), std::string::npos)
      << "behind 1,100 that stand open";
}

TEST_F(DecidedFeed, AnotherLeaderTakesOverBehindWhatWasAcknowledged) {
  Decide("doc:1");
  EXPECT_EQ(Ack(a, Read(a)), 1);
  cluster.Run(3000);
  Decide("doc:2");
  EXPECT_EQ(Named(Read(a), "key"), Strings{"doc:2"}) << "given, and not acknowledged";
  a.Kill();
  cluster.Run(3000);
  EXPECT_EQ(Named(Read(b), "key"), Strings{"doc:2"});
  ASSERT_TRUE(a.Start().ok());
  ASSERT_TRUE(cluster.Settle());
  cluster.Run(3000);
  const std::string again = Read(a);
  EXPECT_EQ(Named(again, "key"), Strings{"doc:2"}) << "from its ledger on disk";
  EXPECT_EQ(Ack(a, again), 1);
  cluster.Run(3000);
  a.Kill();
  cluster.Run(3000);
  EXPECT_EQ(Read(b, "0"), "[]");
}

TEST_F(DecidedFeed, MoreThanItHoldsAtOnceComesByAndBy) {
  Apart([&] {
    for (int i = 0; i < 1200; ++i) {
      a.Ask({"SET", "doc:" + std::to_string(i), "Ada"});
      b.Ask({"SET", "doc:" + std::to_string(i), "Grace"});
    }
  });
  for (int i = 0; i < 1200; ++i) c.Ask({"SET", "doc:" + std::to_string(i), "new"});
  ASSERT_TRUE(cluster.Settle());
  std::set<std::string> keys;
  for (int round = 0; round < 300 && keys.size() < 1200; ++round) {
    const std::string reply = a.Ask({"CONFLICT", "FEED", "READ", "lost", "worker", "COUNT", "100"});
    for (const std::string& key : Named(reply, "key")) EXPECT_TRUE(keys.insert(key).second) << key;
    if (reply == "[]") {
      cluster.Run(1000);
    } else {
      Ack(a, reply);
    }
  }
  EXPECT_EQ(keys.size(), 1200U);
}

TEST_F(DecidedFeed, DeletedItLeavesNothing) {
  Decide("doc:1");
  EXPECT_EQ(a.Ask({"CONFLICT", "FEED", "DEL", "lost"}), "1");
  cluster.Run(5000);
  size_t left = 0;
  for (TestNode* node : {&a, &b, &c}) {
    node->engine().keys().ForEach([&](uint8_t db, std::string_view key, const crdt::KeyState& state) {
      if (db == crdt::kReservedDatabase && key.find("/lost") != std::string_view::npos) left += state.empty() ? 0 : 1;
    });
  }
  EXPECT_EQ(left, 0U);
}

}  // namespace
}  // namespace polyarch::engine
