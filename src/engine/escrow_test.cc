// Bounded counters: who may spend what, and what becomes of rights when disks and links fail.
#include "engine/escrow.h"

#include <map>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "base/golden_test_util.h"
#include "engine/agreed_fixture.h"
#include "wire/escrow_message.h"
#include "wire/peer_message.h"

namespace polyarch::engine {
namespace {

TEST(EscrowRow, GoldenBytesAreReadAndWritten) {
  EscrowRow row{.leader = "eu", .made = 5, .spent = 300, .moved = {{7, 1}, {0x0123456789abcdef, 70000}}};
  const std::string golden = base::CheckGolden("escrow_1", "format, leader, made, spent, moved: holder, total", Encode(row));
  EscrowRow read;
  ASSERT_TRUE(Decode(golden, read));
  EXPECT_EQ(read, row);
  for (size_t size = 0; size < golden.size(); ++size)
    EXPECT_FALSE(Decode(std::string_view(golden).substr(0, size), read)) << size;
  EXPECT_FALSE(Decode(golden + "x", read));
  row.spent = kEscrowMax;
  EXPECT_TRUE(Decode(Encode(row), read));
  row.spent = kEscrowMax + 1;
  EXPECT_FALSE(Decode(Encode(row), read)) << "sums of these must not overflow";
}

TEST(EscrowRow, JoinedInAnyOrderItIsTheLaterOne) {
  const EscrowRow one{.leader = "eu", .made = 5, .spent = 3, .moved = {{7, 1}, {8, 4}}};
  const EscrowRow two{.leader = "eu", .made = 4, .spent = 9, .moved = {{8, 2}, {9, 1}}};
  EscrowRow a = one;
  a.Join(two);
  EscrowRow b = two;
  b.Join(one);
  EXPECT_EQ(a, b);
  EXPECT_EQ(a, (EscrowRow{.leader = "eu", .made = 5, .spent = 9, .moved = {{7, 1}, {8, 4}, {9, 1}}}));
  b.Join(one);
  EXPECT_EQ(a, b);
}

TEST(Stock, OnlyAWellFormedHashIsOne) {
  keyspace::PlainValue value{.type = crdt::Type::kHash,
                             .text = "",
                             .fields = {{"escrow", "00000000000000ff"},
                                        {"share:0000000000000001", "3 eu"},
                                        {"closed:0000000000000002", "4 0000000000000001"},
                                        {"of", Stock::PlaceOf(3, "k")},
                                        {"total", "7"}}};
  const auto stock = Stock::Of(value, 3, "k");
  ASSERT_TRUE(stock.has_value());
  EXPECT_EQ(stock->total, 7);
  EXPECT_EQ(stock->shares.at(1).amount, 3);
  EXPECT_EQ(stock->shares.at(1).leader, "eu");
  EXPECT_EQ(stock->closed.at(2).amount, 4);
  EXPECT_EQ(stock->closed.at(2).heir, 1U);
  for (size_t i = 0; i < value.fields.size(); ++i) {
    keyspace::PlainValue odd = value;
    odd.fields[i].second = "x";
    EXPECT_FALSE(Stock::Of(odd, 3, "k").has_value()) << i;
  }
  EXPECT_FALSE(Stock::Of(value, 3, "other").has_value()) << "a copy has no rows";
  EXPECT_FALSE(Stock::Of(value, 2, "k").has_value());
  value.type = crdt::Type::kString;
  EXPECT_FALSE(Stock::Of(value, 3, "k").has_value());
}

class EscrowTest : public Agreed {
 protected:
  void Create(const std::string& total, const std::string& key = "s:k") {
    Begin();
    cluster.Run(300);  // each has told under what it holds
    ASSERT_EQ(Do(a, {"ESCROW", "CREATE", key, total}), "+OK");
    ASSERT_TRUE(cluster.Settle());
  }
  // What GET tells: "left", "here", ...
  static std::string Of(TestNode& node, const std::string& name, const std::string& key = "s:k") {
    const std::string reply = node.Ask({"ESCROW", "GET", key});
    const std::string part = "\"" + name + "\", ";
    const size_t at = reply.find(part);
    if (at == std::string::npos) return reply;
    const size_t begin = at + part.size();
    return reply.substr(begin, reply.find(',', begin) - begin);
  }
  // Spends one by one, until none is to be had for a second. How many.
  int SpendAll(TestNode& node) {
    int spent = 0;
    for (int tries = 0; tries < 100;) {
      const std::string reply = node.Ask({"ESCROW", "SPEND", "s:k"});
      if (reply.starts_with("-NORIGHTS ")) {
        ++tries;
        cluster.Run(10);
      } else {
        EXPECT_TRUE(reply[0] != '-') << reply;
        ++spent;
        tries = 0;
      }
    }
    return spent;
  }
};

TEST_F(EscrowTest, IsSharedOutAndSpentWithoutAsking) {
  Create("10");
  EXPECT_EQ(Of(a, "here"), "4");
  EXPECT_EQ(Of(b, "here"), "3");
  EXPECT_EQ(Of(c, "here"), "3");
  cluster.Cut(a, b);
  cluster.Cut(a, c);
  cluster.Cut(b, c);
  EXPECT_EQ(a.Ask({"ESCROW", "SPEND", "s:k", "3"}), "1");
  EXPECT_EQ(a.last_outcome, Outcome::kHeld);
  EXPECT_EQ(b.Ask({"ESCROW", "SPEND", "s:k"}), "2");
  cluster.Run(3000);
  EXPECT_EQ(a.Ask({"ESCROW", "SPEND", "s:k", "2"}), "-NORIGHTS 1 here, 3 at b (unreachable), 3 at c (unreachable)");
  cluster.Heal(a, b);
  cluster.Heal(a, c);
  cluster.Heal(b, c);
  ASSERT_TRUE(cluster.Settle());
  for (TestNode* node : {&a, &b, &c}) {
    EXPECT_EQ(Of(*node, "left"), "6");
    EXPECT_EQ(Of(*node, "spent"), "4");
    EXPECT_EQ(Of(*node, "total"), "10");
    EXPECT_EQ(Of(*node, "deficit"), "0");
  }
  EXPECT_TRUE(cluster.SameDigest());
}

TEST_F(EscrowTest, BadAmountsAndKeysAreRefused) {
  EXPECT_TRUE(a.Ask({"ESCROW", "CREATE", "s:k", "5"}).starts_with("-ERR 's:k' is not under policy 'sync'"));
  EXPECT_TRUE(a.Ask({"ESCROW", "SPEND", "s:k"}).starts_with("-ERR 's:k' is not under policy 'sync'"));
  Create("5");
  for (const char* amount : {"0", "-1", "1.5", "x", "", "4503599627370497", "99999999999999999999"}) {
    EXPECT_TRUE(a.Ask({"ESCROW", "SPEND", "s:k", amount}).starts_with("-ERR the amount must be")) << amount;
    EXPECT_TRUE(a.Ask({"ESCROW", "GRANT", "s:k", amount}).starts_with("-ERR the amount must be")) << amount;
  }
  EXPECT_TRUE(a.Ask({"ESCROW", "GRANT", "s:k", "4503599627370496"}).starts_with("-ERR a stock may come to"));
  EXPECT_TRUE(a.Ask({"ESCROW", "SPEND", "s:none"}).starts_with("-ERR there is no stock 's:none'"));
  EXPECT_TRUE(Do(b, {"ESCROW", "CREATE", "s:k", "5"}).starts_with("-ERR 's:k' exists"));
  EXPECT_EQ(Of(a, "left"), "5");
}

TEST_F(EscrowTest, AnOrdinaryWriteDoesNotTouchIt) {
  Create("6");
  EXPECT_TRUE(Do(a, {"HSET", "s:k", "total", "100"}).starts_with("-WRONGTYPE this key is a stock"));
  EXPECT_TRUE(Do(b, {"SET", "s:k", "100"}).starts_with("-WRONGTYPE this key is a stock"));
  EXPECT_TRUE(Do(b, {"EXPIRE", "s:k", "100"}).starts_with("-WRONGTYPE this key is a stock"));
  EXPECT_TRUE(Do(b, {"EVAL", "return redis.call('hset', KEYS[1], 'total', 5)", "1", "s:k"})
                  .starts_with("-WRONGTYPE this key is a stock"));
  EXPECT_EQ(Of(c, "left"), "6");
}

TEST_F(EscrowTest, WhoHasNoneGetsThemFromTheOthers) {
  Create("9");
  EXPECT_EQ(a.Ask({"ESCROW", "SPEND", "s:k", "9"}), "-NORIGHTS 3 here, 3 at b, 3 at c");
  ASSERT_TRUE(cluster.RunUntil([&] { return Of(a, "here") == "9"; }, 2000)) << a.Ask({"ESCROW", "GET", "s:k"});
  EXPECT_EQ(a.Ask({"ESCROW", "SPEND", "s:k", "9"}), "0");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(Of(b, "left"), "0");
  EXPECT_EQ(b.Ask({"ESCROW", "SPEND", "s:k"}), "-NORIGHTS 0 here");
  EXPECT_EQ(b.Ask({"ESCROW", "GRANT", "s:k", "2"}), "2");
  EXPECT_EQ(b.Ask({"ESCROW", "SPEND", "s:k"}), "1");
}

TEST_F(EscrowTest, AllOfItIsSoldAndNoMore) {
  Create("100");
  int sold = SpendAll(a);
  sold += SpendAll(b);
  sold += SpendAll(c);
  EXPECT_EQ(sold, 100);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(Of(c, "left"), "0");
}

TEST_F(EscrowTest, LostNeedsAreAskedForAgain) {
  Create("30");
  base::Random random(3);
  uint64_t lost = 0;
  cluster.on_way = [&](TestNode&, std::string& message) {
    const bool loses = message[0] == static_cast<char>(wire::MessageType::kRouted) && random.Below(4) == 0;
    lost += loses ? 1 : 0;
    return !loses;
  };
  int sold = 0;
  for (int i = 0; i < 400; ++i) {
    TestNode& node = cluster[random.Below(3)];
    if (node.Ask({"ESCROW", "SPEND", "s:k"})[0] != '-') ++sold;
    cluster.Run(30);
  }
  cluster.on_way = nullptr;
  EXPECT_GT(lost, 0U);
  ASSERT_TRUE(cluster.Settle());
  sold += SpendAll(a) + SpendAll(b) + SpendAll(c);
  EXPECT_EQ(sold, 30);
}

TEST_F(EscrowTest, ANeedThatComesTwiceIsServedOnce) {
  Create("90");
  cluster.Cut(a, c);
  cluster.Cut(b, c);
  cluster.Run(3000);
  std::string need;  // the message itself, which comes again in the place of later ones
  int again = 0;
  cluster.on_way = [&](TestNode& from, std::string& message) {
    if (&from != &a) return true;
    if (!need.empty() && again < 3) {
      message = need;
      ++again;
      return true;
    }
    wire::Routed routed;
    if (need.empty() && message[0] == static_cast<char>(wire::MessageType::kRouted) &&
        wire::Decode(std::string_view(message).substr(1), routed) && routed.payload.starts_with(wire::kEscrowMessage)) {
      need = message;
    }
    return true;
  };
  EXPECT_TRUE(a.Ask({"ESCROW", "SPEND", "s:k", "31"}).starts_with("-NORIGHTS 30 here, 30 at b"));
  ASSERT_TRUE(cluster.RunUntil([&] { return Of(a, "here") == "31"; }, 2000));
  cluster.Run(1000);
  cluster.on_way = nullptr;
  EXPECT_EQ(again, 3);
  EXPECT_EQ(Of(b, "here"), "29");
  ASSERT_TRUE(cluster.RunUntil([&] { return Of(a, "here") == "31"; }, 2000));
}

TEST_F(EscrowTest, RightsSurviveARestartAndAPowerCut) {
  Create("9");
  EXPECT_EQ(b.Ask({"ESCROW", "SPEND", "s:k", "2"}), "1");
  ASSERT_TRUE(cluster.Settle());
  b.PowerCut();
  ASSERT_TRUE(b.Start().ok());
  EXPECT_TRUE(b.Ask({"ESCROW", "SPEND", "s:k"}).starts_with("-TRYAGAIN ")) << "first it hears what it may have lost";
  ASSERT_TRUE(cluster.RunUntil([&] { return b.Ask({"ESCROW", "SPEND", "s:k"})[0] != '-'; }, 8000));
  EXPECT_EQ(Of(b, "here"), "0");
}

// Under every durability: a disk that loses what others have been told would sell it again.
TEST_F(EscrowTest, NobodyIsToldOfWhatADiskMayLose) {
  for (size_t i = 0; i < 3; ++i) {
    cluster[i].options().durability = Durability::kNone;
    cluster[i].engine().SetDurability(Durability::kNone);
  }
  Create("9");
  b.auto_sync = false;
  EXPECT_EQ(b.Ask({"SET", "before", "1"}), "+OK");
  EXPECT_EQ(b.Ask({"ESCROW", "SPEND", "s:k", "2"}), "1");
  EXPECT_EQ(b.last_outcome, Outcome::kHeld) << "the reply waits for the disk";
  EXPECT_EQ(b.Ask({"SET", "behind", "1"}), "+OK");
  cluster.Run(500);
  EXPECT_EQ(a.Ask({"GET", "before"}), "\"1\"");
  EXPECT_EQ(Of(a, "left"), "9");
  EXPECT_EQ(a.Ask({"GET", "behind"}), "null");
  b.auto_sync = true;
  ASSERT_TRUE(cluster.RunUntil([&] { return Of(a, "left") == "7" && a.Ask({"GET", "behind"}) == "\"1\""; }, 2000));
  // And when it is lost, it is lost to all.
  b.auto_sync = false;
  EXPECT_EQ(b.Ask({"ESCROW", "SPEND", "s:k"}), "0");
  cluster.Run(500);
  b.PowerCut();
  b.auto_sync = true;
  ASSERT_TRUE(b.Start().ok());
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(Of(a, "left"), Of(b, "left"));
}

TEST_F(EscrowTest, ACopiedDiskHasNoRights) {
  Create("9");
  const TestNode::Disk old = c.disk().Copy();
  EXPECT_EQ(c.Ask({"ESCROW", "SPEND", "s:k", "3"}), "0");
  ASSERT_TRUE(cluster.Settle());
  c.Kill();
  cluster.Cut(a, c);
  cluster.Cut(b, c);
  c.SetDisk(old.Copy());
  c.options().new_seat = true;
  c.options().holder = 99;
  ASSERT_TRUE(c.Start().ok());
  cluster.Run(8000);
  EXPECT_EQ(c.Ask({"ESCROW", "SPEND", "s:k"}).substr(0, 16), "-NORIGHTS 0 here") << "it does not know what that disk has sold since";
  cluster.Heal(a, c);
  cluster.Heal(b, c);
  c.Ask({"ESCROW", "SPEND", "s:k"});
  ASSERT_TRUE(cluster.RunUntil([&] { return c.Ask({"ESCROW", "SPEND", "s:k"})[0] != '-'; }, 8000));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_NE(Do(c, {"ESCROW", "RECLAIM", "s:k", "c"})[0], '-') << "what others sent to the old disk before it went";
  EXPECT_TRUE(Do(c, {"ESCROW", "RECLAIM", "s:k", "c"}).starts_with("-ERR its rights were reclaimed already"));
}

TEST_F(EscrowTest, ADiskThatWasPutBackBeneathItHearsWhatItHadSold) {
  Create("9");
  const TestNode::Disk old = c.disk().Copy();
  EXPECT_EQ(c.Ask({"ESCROW", "SPEND", "s:k", "3"}), "0");
  ASSERT_TRUE(cluster.Settle());
  c.Kill();
  c.SetDisk(old.Copy());
  ASSERT_TRUE(c.Start().ok());  // and nobody says so (Options::new_seat)
  int sold = 3;
  for (int i = 0; i < 600; ++i) {
    if (c.Ask({"ESCROW", "SPEND", "s:k"})[0] != '-') ++sold;
    cluster.Run(10);
  }
  sold += SpendAll(a) + SpendAll(b);
  EXPECT_EQ(sold, 9);
}

TEST_F(EscrowTest, RightsOfALeaderThatIsGoneAreReclaimedOnce) {
  Create("9");
  EXPECT_EQ(c.Ask({"ESCROW", "SPEND", "s:k"}), "2");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(Do(a, {"ESCROW", "RECLAIM", "s:k", "c"}).starts_with("-ERR leader 'c' is in reach"));
  EXPECT_TRUE(Do(a, {"ESCROW", "RECLAIM", "s:k", "a"}).starts_with("-ERR that is this leader"));
  EXPECT_TRUE(Do(a, {"ESCROW", "RECLAIM", "s:k", "x"}).starts_with("-ERR leader 'x' has held no rights"));
  cluster.Cut(a, c);
  cluster.Cut(b, c);
  cluster.Run(3000);
  EXPECT_EQ(c.Ask({"ESCROW", "SPEND", "s:k"}), "1") << "it is not gone at all, and sells on";
  EXPECT_EQ(Do(a, {"ESCROW", "RECLAIM", "s:k", "c"}), "2");
  ASSERT_TRUE(cluster.RunUntil([&] { return Of(b, "here") == "3" && b.Ask({"ESCROW", "GET", "s:k"}).find("reclaimed") != std::string::npos; }));
  EXPECT_TRUE(Do(b, {"ESCROW", "RECLAIM", "s:k", "c"}).starts_with("-ERR its rights were reclaimed already")) << "once";
  EXPECT_EQ(Of(a, "here"), "5");
  cluster.Heal(a, c);
  cluster.Heal(b, c);
  ASSERT_TRUE(cluster.Settle());
  // What it had sold unseen shows, everywhere; and it has nothing any more.
  for (TestNode* node : {&a, &b, &c}) EXPECT_EQ(Of(*node, "deficit"), "1");
  EXPECT_EQ(Of(c, "here"), "0");
  EXPECT_EQ(Of(a, "left"), "7");
  c.Ask({"ESCROW", "SPEND", "s:k"});
  ASSERT_TRUE(cluster.RunUntil([&] { return c.Ask({"ESCROW", "SPEND", "s:k"})[0] != '-'; }, 3000));
}

TEST_F(EscrowTest, ARetiringLeadersRightsComeHereFirst) {
  Create("9");
  EXPECT_TRUE(a.Ask({"LEADER", "RETIRE", "c"}).starts_with("-ERR leader 'c' holds rights to 3 units of 1 stocks"));
  ASSERT_TRUE(cluster.RunUntil([&] { return Of(a, "here") == "6"; }, 2000));
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(Do(a, {"LEADER", "RETIRE", "c"}), "+OK");
  EXPECT_EQ(Of(b, "left"), "9");
}

TEST_F(EscrowTest, OneTransactionSellsAndNotesIt) {
  Create("9");
  Session client(a);
  EXPECT_EQ(client.Ask({"MULTI"}), "+OK");
  EXPECT_EQ(client.Ask({"ESCROW", "SPEND", "s:k", "2"}), "+QUEUED");
  EXPECT_EQ(client.Ask({"RPUSH", "orders", "1"}), "+QUEUED");
  EXPECT_EQ(client.Ask({"ESCROW", "SPEND", "s:k", "2"}), "+QUEUED");
  EXPECT_TRUE(client.Ask({"EXEC"}).starts_with("[1, 1, -NORIGHTS 1 here")) << client.reply();
  EXPECT_EQ(a.last_outcome, Outcome::kHeld);
  EXPECT_EQ(Do(a, {"EVAL", "return redis.call('escrow', 'spend', KEYS[1])", "1", "s:k"})[0], '-')
      << "a script that names an agreed key alone runs in a round; see docs/limits.md";
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(Of(b, "left"), "7");
  EXPECT_EQ(b.Ask({"LLEN", "orders"}), "1");
  EXPECT_EQ(b.Ask({"EVAL", "return redis.call('escrow', 'spend', ARGV[1])", "0", "s:k"}), "2");
  EXPECT_EQ(b.last_outcome, Outcome::kHeld);
}

TEST_F(EscrowTest, CreateRightBehindThePolicyWaitsForIt) {
  EXPECT_EQ(a.Ask({"POLICY", "SET", "s:*", "sync"}), "+OK");
  Asking create(a, {"ESCROW", "CREATE", "s:k", "9"});
  Asking gone(a, {"ESCROW", "CREATE", "s:gone", "9"});
  EXPECT_FALSE(create.done()) << create.reply();
  ASSERT_TRUE(cluster.RunUntil([&] { return create.done() && gone.done(); }, 15'000));
  EXPECT_EQ(create.reply(), "+OK");
  EXPECT_EQ(gone.reply(), "+OK");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(b.Ask({"ESCROW", "SPEND", "s:k"}).starts_with("-") == false) << "b has a share";
}

TEST_F(EscrowTest, CreateDoesNotWaitForever) {
  Begin();
  cluster.Cut(a, b);
  cluster.Cut(a, c);
  EXPECT_EQ(a.Ask({"POLICY", "DEL", "s:*"}), "1");
  Asking create(a, {"ESCROW", "CREATE", "s:k", "9"});
  ASSERT_TRUE(cluster.RunUntil([&] { return create.done(); }, 20'000));
  EXPECT_TRUE(create.reply().starts_with("-")) << create.reply();
}

// (What a command that had waited, and ended otherwise, left behind was the next one's deadline.)
TEST_F(EscrowTest, EachCommandThatWaitsForAPolicyHasItsOwnTime) {
  command::Client monitor;
  monitor.id = 500;
  monitor.authenticated = true;
  EXPECT_EQ(a.AskAs(monitor, {"MONITOR"}), "+OK");
  Session client(a);
  EXPECT_EQ(a.Ask({"POLICY", "SET", "s:*", "sync"}), "+OK");
  client.Ask({"ESCROW", "CREATE", "s:k", "9"});
  EXPECT_FALSE(client.done()) << client.reply();
  a.engine().SetLowSpace(true);
  ASSERT_TRUE(cluster.RunUntil([&] { return client.done(); }, 20'000));
  EXPECT_TRUE(client.reply().starts_with("-DISKFULL")) << client.reply();
  a.engine().SetLowSpace(false);
  ASSERT_TRUE(cluster.RunUntil([&] { return InForce("a,b,c"); }));
  cluster.Run(13'000);
  cluster.Cut(a, b);
  cluster.Cut(a, c);
  EXPECT_EQ(a.Ask({"POLICY", "DEL", "s:*"}), "1");
  client.Ask({"ESCROW", "CREATE", "s:k2", "9"});
  EXPECT_FALSE(client.done()) << client.reply();
  for (int i = 0; i < 500; ++i) {
    cluster.Tick();
    ASSERT_FALSE(client.done()) << client.reply();
  }
  ASSERT_TRUE(cluster.RunUntil([&] { return client.done(); }, 20'000));
  EXPECT_TRUE(client.reply().starts_with("-TRYAGAIN")) << client.reply();
  EXPECT_EQ(Count(a.pushed[500], "\"s:k2\""), 1U) << a.pushed[500];
  a.engine().ForgetClient(500);
}

TEST_F(EscrowTest, WhoWatchesOrWaitsForTheDiskHearsOfSales) {
  Create("9");
  Session client(a);
  EXPECT_EQ(client.Ask({"WATCH", "s:k"}), "+OK");
  EXPECT_EQ(b.Ask({"ESCROW", "SPEND", "s:k"}), "2");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(client.Ask({"MULTI"}), "+OK");
  EXPECT_EQ(client.Ask({"PING"}), "+QUEUED");
  EXPECT_EQ(client.Ask({"EXEC"}), "null");
  a.auto_sync = false;
  EXPECT_EQ(a.Ask({"ESCROW", "SPEND", "s:k"}), "2");
  a.Ask({"ESCROW", "GET", "s:k"});
  EXPECT_EQ(a.last_outcome, Outcome::kHeld) << "a power cut would take back what it shows";
  a.auto_sync = true;
}

TEST_F(EscrowTest, WhatIsPutBackOrCopiedIsNoStock) {
  Create("9");
  EXPECT_EQ(a.Ask({"ESCROW", "SPEND", "s:k", "3"}), "0");
  EXPECT_EQ(Do(a, {"HSET", "s:other", "escrow", "00000000000000ff", "total", "5", "of", Stock::PlaceOf(0, "s:other")}),
            "-WRONGTYPE a stock is made by ESCROW CREATE alone");
  EXPECT_EQ(Do(a, {"HSET", "s:other", "escrow", "00000000000000ff", "total", "5"}), "2") << "a hash like any other";
  EXPECT_TRUE(a.Ask({"ESCROW", "SPEND", "s:other"}).starts_with("-ERR there is no stock"));
}

TEST_F(EscrowTest, AnOrderForMoreThanThereIsTakesNothingFromOthers) {
  Create("9");
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(a.Ask({"ESCROW", "SPEND", "s:k", "10"}).starts_with("-NORIGHTS "));
    cluster.Run(20);
  }
  EXPECT_EQ(Of(b, "here"), "3");
  EXPECT_EQ(Of(c, "here"), "3");
}

TEST_F(EscrowTest, OfTwoThatBothWantMoreOneGetsIt) {
  Create("9");
  EXPECT_EQ(Do(c, {"ESCROW", "SPEND", "s:k", "3"}), "0");
  bool sold = false;
  for (int i = 0; i < 200 && !sold; ++i) {
    sold = a.Ask({"ESCROW", "SPEND", "s:k", "6"})[0] != '-';
    sold = b.Ask({"ESCROW", "SPEND", "s:k", "6"})[0] != '-' || sold;
    cluster.Run(20);
  }
  EXPECT_TRUE(sold);
}

TEST_F(EscrowTest, AUserNeedsNoRightToWhatItIsMadeOf) {
  Begin();
  cluster.Run(300);
  EXPECT_EQ(a.Ask({"ACL", "SETUSER", "seller", "on", "nopass", "~*", "+escrow"}), "+OK");
  Session client(a);
  EXPECT_EQ(client.Ask({"AUTH", "seller", "x"}), "+OK");
  client.Ask({"ESCROW", "CREATE", "s:k", "9"});
  ASSERT_TRUE(cluster.RunUntil([&] { return client.done(); }, 5000));
  EXPECT_EQ(client.reply(), "+OK");
  EXPECT_TRUE(client.Ask({"HSET", "s:x", "f", "v"}).starts_with("-NOPERM"));
}

TEST_F(EscrowTest, AnotherTypeIsNotHidden) {
  EXPECT_EQ(a.Ask({"RPUSH", "s:k", "x"}), "1");
  Begin();
  cluster.Run(300);
  EXPECT_TRUE(Do(a, {"ESCROW", "CREATE", "s:k", "9"}).starts_with("-WRONGTYPE "));
}

// Nobody's order is held up by one that cannot be served.
TEST_F(EscrowTest, AHopelessOrderKeepsNothingFromOthers) {
  Create("9");
  EXPECT_EQ(Do(b, {"ESCROW", "SPEND", "s:k", "3"}), "0");
  EXPECT_EQ(Do(c, {"ESCROW", "SPEND", "s:k", "3"}), "0");
  bool sold = false;
  for (int i = 0; i < 100 && !sold; ++i) {
    a.Ask({"ESCROW", "SPEND", "s:k", "10"});
    sold = b.Ask({"ESCROW", "SPEND", "s:k", "2"})[0] != '-';
    cluster.Run(20);
  }
  EXPECT_TRUE(sold);
}

TEST_F(EscrowTest, SumsThatWouldNotBeReadAreRefused) {
  Create("0");
  cluster.Cut(a, b);
  cluster.Cut(a, c);
  cluster.Run(3000);
  const std::string most = std::to_string(kEscrowMax);
  EXPECT_EQ(a.Ask({"ESCROW", "GRANT", "s:k", most}), most);
  EXPECT_EQ(b.Ask({"ESCROW", "GRANT", "s:k", most}), most);
  cluster.Heal(a, b);
  cluster.Heal(a, c);
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(a.Ask({"ESCROW", "SPEND", "s:k", most}), "0");
  a.Ask({"ESCROW", "SPEND", "s:k", most});
  cluster.Run(2000);
  EXPECT_TRUE(a.Ask({"ESCROW", "SPEND", "s:k", most}).starts_with("-ERR a stock may come to"));
  EXPECT_EQ(Of(b, "left"), most);
}

// Who puts its hash back while it is an ordinary one finds that it was sold.
TEST_F(EscrowTest, ADeletedStockDoesNotComeBackUnsold) {
  Create("9");
  EXPECT_EQ(a.Ask({"ESCROW", "SPEND", "s:k", "3"}), "0");
  ASSERT_TRUE(cluster.Settle());
  const std::string id = a.Ask({"HGET", "s:k", "escrow"});
  const std::string share = a.Ask({"HGET", "s:k", "share:0000000000000001"});
  EXPECT_EQ(Do(b, {"DEL", "s:k"}), "1");
  cluster.Run(30'000);
  End({&a, &b, &c});
  auto bare = [](const std::string& quoted) { return quoted.substr(1, quoted.size() - 2); };
  EXPECT_EQ(a.Ask({"HSET", "s:k", "escrow", bare(id), "total", "9", "of", Stock::PlaceOf(0, "s:k"), "share:0000000000000001", bare(share)}), "4");
  ASSERT_TRUE(cluster.Settle());
  Begin();
  EXPECT_TRUE(a.Ask({"ESCROW", "SPEND", "s:k"}).starts_with("-ERR there is no stock"));
}

// It was cut off when its rights were taken over, and had been given more.
TEST_F(EscrowTest, WhatCameToAClosedHolderIsNotStuck) {
  Create("9");
  cluster.Cut(a, c);
  cluster.Cut(b, c);
  cluster.Run(3000);
  EXPECT_EQ(c.Ask({"ESCROW", "GRANT", "s:k", "50"}), "53");
  EXPECT_EQ(Do(a, {"ESCROW", "RECLAIM", "s:k", "c"}), "3");
  cluster.Heal(a, c);
  cluster.Heal(b, c);
  ASSERT_TRUE(cluster.Settle());
  ASSERT_TRUE(cluster.RunUntil([&] { return a.engine().replica().InReach("c"); }, 5000));
  EXPECT_TRUE(Do(a, {"ESCROW", "RECLAIM", "s:k", "c"})[0] == '-') << "it is there, and takes them over itself";
  EXPECT_EQ(c.Ask({"ESCROW", "SPEND", "s:k"}), "49");
  EXPECT_EQ(Of(c, "left"), "58");
}

TEST_F(EscrowTest, DeletedAndMadeAgainItIsAnotherOneAndTheOldRowsGo) {
  Create("9");
  EXPECT_EQ(a.Ask({"ESCROW", "SPEND", "s:k", "3"}), "0");
  EXPECT_EQ(Do(b, {"DEL", "s:k"}), "1");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_TRUE(a.Ask({"ESCROW", "SPEND", "s:k"}).starts_with("-ERR there is no stock"));
  EXPECT_EQ(Do(b, {"ESCROW", "CREATE", "s:k", "6"}), "+OK");
  ASSERT_TRUE(cluster.Settle());
  EXPECT_EQ(Of(a, "here"), "2");
  EXPECT_EQ(c.Ask({"ESCROW", "SPEND", "s:k"}), "1");
  auto rows = [&](TestNode& node) {
    const std::string name = std::string("escrow/\0", 8) + "s:k";
    auto& keys = node.engine().keys();
    return keys.Open(keys.Ref(crdt::kReservedDatabase, name), crdt::Type::kHash).size();
  };
  // That of the new one, and a mark that the old one has been.
  ASSERT_TRUE(cluster.RunUntil([&] { return rows(a) == 2 && rows(b) == 2 && rows(c) == 2; }, 60'000));
  cluster.Run(20'000);
  EXPECT_EQ(rows(a), 2U);
  EXPECT_EQ(Of(b, "left"), "5");
}

TEST_F(EscrowTest, TheEndOfSyncKeepsWhatWasSold) {
  Create("9");
  EXPECT_EQ(a.Ask({"ESCROW", "SPEND", "s:k"}), "2");
  ASSERT_TRUE(cluster.Settle());
  End({&a, &b, &c});
  EXPECT_TRUE(a.Ask({"ESCROW", "SPEND", "s:k"}).starts_with("-ERR 's:k' is not under policy 'sync'"));
  cluster.Run(30'000);
  Begin();
  EXPECT_EQ(Of(b, "left"), "8");
  EXPECT_EQ(a.Ask({"ESCROW", "SPEND", "s:k"}), "1");
}

}  // namespace
}  // namespace polyarch::engine
