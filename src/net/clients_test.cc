// Clients over real loopback sockets: pipelines, turns, replies that wait, commands that are
// suspended, ends.
#include "net/net_test_util.h"

namespace polyarch::net {
namespace {

TEST(ClientTest, AnswersAndPipelines) {
  Server server;
  Peer a(server.loop.port());
  EXPECT_EQ(a.Call({"ECHO", "hello"}), Text("hello"));
  EXPECT_TRUE(server.toy.Await("open 1").find("127.0.0.1:") != std::string::npos);
  a.Send("ID\r\nECHO inline\r\n");
  EXPECT_EQ(a.Reply(), "1");
  EXPECT_EQ(a.Reply(), Text("inline"));

  std::string bytes;
  for (int i = 0; i < 50'000; ++i)
    resp::AppendRequest(bytes, {"ECHO", std::to_string(i)});
  std::thread sender([&] { a.Send(bytes); });
  for (int i = 0; i < 50'000; ++i)
    ASSERT_EQ(a.Reply(), Text(std::to_string(i)));
  sender.join();
  EXPECT_GE(server.StatsAtEnd().commands, 50'003U);
}

TEST(ClientTest, EveryByteAlone) {
  Server server;
  Peer a(server.loop.port());
  std::string bytes;
  resp::AppendRequest(bytes, {"ECHO", "drop by drop"});
  for (char c : bytes) {
    a.Send({&c, 1});
    // Another client's round trip makes it likely that each byte has its own read.
    Peer(server.loop.port()).Call({"ID"});
  }
  EXPECT_EQ(a.Reply(), Text("drop by drop"));
}

TEST(ClientTest, LargeBulksBothWays) {
  Server server;
  Peer a(server.loop.port());
  for (size_t size : {60'000U, 65'536U, 100'000U, 1'000'000U, 9'000'000U}) {
    std::string value(size, 'v');
    value[size / 2] = '\r';
    std::string bytes;
    resp::AppendRequest(bytes, {"ECHO", value});
    resp::AppendRequest(bytes, {"ECHO", "behind"});
    std::thread sender([&] { a.Send(bytes); });
    std::string reply = a.Reply();
    EXPECT_EQ(reply.size(), size + 3) << size;
    EXPECT_EQ(a.Reply(), Text("behind"));
    sender.join();
  }
}

TEST(ClientTest, TurnsAreShared) {
  LoopOptions options;
  options.turn_commands = 3;
  Server server(options);
  Peer a(server.loop.port());
  Peer b(server.loop.port());
  std::string bytes;
  for (int i = 0; i < 1000; ++i)
    resp::AppendRequest(bytes, {"ECHO", std::to_string(i)});
  a.Send(bytes);
  b.Send(bytes);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(a.Reply(), Text(std::to_string(i)));
    ASSERT_EQ(b.Reply(), Text(std::to_string(i)));
  }
}

TEST(ClientTest, HeldRepliesWaitInOrder) {
  Server server;
  Peer a(server.loop.port());
  Peer other(server.loop.port());
  std::string bytes;
  resp::AppendRequest(bytes, {"ECHO", "before"});
  resp::AppendRequest(bytes, {"HOLD", "first"});
  resp::AppendRequest(bytes, {"ECHO", "read"});
  a.Send(bytes);
  EXPECT_EQ(a.Reply(), Text("before"));
  EXPECT_EQ(server.toy.position(), 1U);
  a.Ask({"HOLD", "second"});
  EXPECT_EQ(other.Call({"ECHO", "x"}), Text("x"));
  while (server.toy.position() < 2)
    other.Call({"ECHO", "x"});
  a.Ask({"ECHO", "last"});
  EXPECT_EQ(other.Call({"ECHO", "x"}), Text("x"));
  EXPECT_FALSE(a.HasReply());
  server.MakeDurable(1);
  EXPECT_EQ(a.Reply(), Text("first"));
  EXPECT_EQ(a.Reply(), Text("read"));
  EXPECT_EQ(other.Call({"ECHO", "x"}), Text("x"));
  EXPECT_FALSE(a.HasReply());
  server.MakeDurable(2);
  EXPECT_EQ(a.Reply(), Text("second"));
  EXPECT_EQ(a.Reply(), Text("last"));
}

TEST(ClientTest, ManyHoldsWithADurableThread) {
  Server server;
  std::atomic<bool> done{false};
  std::thread log([&] {
    while (!done)
      server.MakeDurable(server.toy.position());
  });
  Peer a(server.loop.port());
  Peer b(server.loop.port());
  for (int i = 0; i < 2000; ++i) {
    a.Ask({"HOLD", std::to_string(i)});
    b.Ask({i % 3 == 0 ? "HOLD" : "ECHO", std::to_string(i)});
    ASSERT_EQ(a.Reply(), Text(std::to_string(i)));
    ASSERT_EQ(b.Reply(), Text(std::to_string(i)));
  }
  done = true;
  log.join();
}

TEST(ClientTest, SuspendsAndResumes) {
  Server server;
  Peer a(server.loop.port());
  Peer b(server.loop.port());
  EXPECT_EQ(a.Call({"ID"}), "1");
  std::string bytes;
  resp::AppendRequest(bytes, {"ECHO", "before"});
  resp::AppendRequest(bytes, {"WAIT", "woken"});
  resp::AppendRequest(bytes, {"ECHO", "after"});
  a.Send(bytes);
  EXPECT_EQ(a.Reply(), Text("before"));
  server.toy.Await("suspended 1");
  a.Ask({"ECHO", "later"});  // arrives while it waits
  EXPECT_EQ(b.Call({"ECHO", "x"}), Text("x"));
  EXPECT_FALSE(a.HasReply());
  EXPECT_EQ(b.Call({"RESUME", "1"}), "+OK");
  EXPECT_EQ(a.Reply(), Text("woken"));
  EXPECT_EQ(a.Reply(), Text("after"));
  EXPECT_EQ(a.Reply(), Text("later"));
  EXPECT_EQ(b.Call({"RESUME", "1"}), "+OK");  // nothing to resume
  EXPECT_EQ(b.Call({"RESUME", "77"}), "+OK");
  EXPECT_EQ(a.Call({"YIELD", "myself"}), Text("myself"));
  EXPECT_EQ(a.Call({"ECHO", "x"}), Text("x"));
}

TEST(ClientTest, SuspendedClientWithMuchInput) {
  Server server;
  Peer a(server.loop.port());
  Peer b(server.loop.port());
  a.Call({"ID"});
  a.Ask({"WAIT", "woken"});
  server.toy.Await("suspended 1");
  std::string value(100'000, 'v');
  std::string bytes;
  for (int i = 0; i < 30; ++i)
    resp::AppendRequest(bytes, {"ECHO", value});
  std::thread sender([&] { a.Send(bytes); });
  EXPECT_EQ(b.Call({"RESUME", "1"}), "+OK");
  EXPECT_EQ(a.Reply(), Text("woken"));
  for (int i = 0; i < 30; ++i)
    EXPECT_EQ(a.Reply(), Text(value));
  sender.join();
}

TEST(ClientTest, SuspendedClientLeaves) {
  Server server;
  Peer b(server.loop.port());
  EXPECT_EQ(b.Call({"ID"}), "1");
  for (int i = 2; i < 4; ++i) {
    Peer a(server.loop.port());
    a.Ask({"WAIT", "x"});
    server.toy.Await("suspended " + std::to_string(i));
    if (i == 2) a.Reset();
    if (i == 3) a.FinishSending();
    server.toy.Await("close " + std::to_string(i));
    EXPECT_EQ(b.Call({"RESUME", std::to_string(i)}), "+OK");
  }
  EXPECT_EQ(b.Call({"COUNT"}), "1");
}

TEST(ClientTest, HalfOpenGetsItsReplies) {
  Server server;
  Peer a(server.loop.port());
  std::string bytes;
  for (int i = 0; i < 1000; ++i)
    resp::AppendRequest(bytes, {"ECHO", std::to_string(i)});
  resp::AppendRequest(bytes, {"HOLD", "held"});
  a.Send(bytes + "*1\r\n$4\r\nPI");
  a.FinishSending();
  for (int i = 0; i < 1000; ++i)
    ASSERT_EQ(a.Reply(), Text(std::to_string(i)));
  server.MakeDurable(1);
  EXPECT_EQ(a.Reply(), Text("held"));
  EXPECT_EQ(a.Reply(), "closed");
  server.toy.Await("close 1");
}

TEST(ClientTest, ClosesAfterTheReply) {
  Server server;
  Peer a(server.loop.port());
  std::string bytes;
  resp::AppendRequest(bytes, {"BIG", "3000000"});
  resp::AppendRequest(bytes, {"CLOSE"});
  resp::AppendRequest(bytes, {"ECHO", "never"});
  a.Send(bytes);
  EXPECT_EQ(a.Reply().size(), 3'000'002U);
  EXPECT_EQ(a.Reply(), "+OK");
  EXPECT_EQ(a.Reply(), "closed");
}

TEST(ClientTest, AHeldReplyThatClosesWaits) {
  Server server;
  Peer a(server.loop.port());
  Peer b(server.loop.port());
  EXPECT_EQ(a.Call({"ID"}), "1");
  std::string bytes;
  resp::AppendRequest(bytes, {"HOLDCLOSE"});
  resp::AppendRequest(bytes, {"SENDTO", "2", "+never"});
  a.Send(bytes);
  while (server.toy.position() == 0) EXPECT_EQ(b.Call({"ECHO", "x"}), "\"x\"");
  EXPECT_FALSE(a.HasReply());
  server.MakeDurable(1);
  EXPECT_EQ(a.Reply(), "+OK");
  EXPECT_EQ(a.Reply(), "closed");
}

// What somebody waited for was taken out for them: it leaves, whatever the tick.
TEST(ClientTest, WhoIsResumedInTheLastTickGetsTheReply) {
  Server server;
  Peer a(server.loop.port());
  Peer b(server.loop.port());
  EXPECT_EQ(a.Call({"ID"}), "1");
  a.Ask({"WAIT", "element"});
  server.toy.Await("suspended 1");
  EXPECT_EQ(b.Call({"RESUMELAST", "1"}), "+OK");
  EXPECT_EQ(a.Reply(), "\"element\"");
  EXPECT_EQ(a.Reply(), "closed");
}

TEST(ClientTest, AMessageBeyondTheLimitClosesAndNeverTears) {
  LoopOptions options;
  options.output_bytes_hard_max = 8 << 20;
  Server server(options);
  Peer a(server.loop.port());
  Peer b(server.loop.port());
  EXPECT_EQ(a.Call({"ID"}), "1");
  EXPECT_EQ(b.Call({"ID"}), "2");
  std::string bytes;
  resp::AppendRequest(bytes, {"HOLD", "x"});  // nothing leaves from here on
  resp::AppendRequest(bytes, {"BIG", "7000000"});
  resp::AppendRequest(bytes, {"SENDTO", "2", "+there\r\n"});
  a.Send(bytes);
  EXPECT_EQ(b.Reply(), "+there");
  EXPECT_EQ(b.Call({"SENDTO", "1", "+" + std::string(2 << 20, 'n') + "\r\n"}), "+OK");
  server.toy.Await("close 1");
  EXPECT_EQ(a.Reply(), "closed");
}

// All of them are executed before anything is written.
TEST(ClientTest, RepliesOfOneTickAreWithinTheirBudget) {
  LoopOptions options;
  options.output_bytes_total_max = 16 << 20;
  options.tick_clients_us = 60'000'000;  // on a slow machine, too, it is one tick
  Server server(options);
  Peer a(server.loop.port());
  EXPECT_EQ(a.Call({"ID"}), "1");
  std::vector<std::unique_ptr<Peer>> peers;
  constexpr int kPeers = 10;
  for (int i = 0; i < kPeers; ++i) {
    peers.push_back(std::make_unique<Peer>(server.loop.port()));
    const std::string id = peers.back()->Call({"ID"});
    peers.back()->Ask({"WAIT", std::string(4 << 20, 'x')});
    server.toy.Await("suspended " + id);
  }
  std::string bytes;
  for (int i = 0; i < kPeers; ++i) resp::AppendRequest(bytes, {"RESUME", std::to_string(2 + i)});
  a.Send(bytes);
  for (int i = 0; i < kPeers; ++i) EXPECT_EQ(a.Reply(), "+OK");
  int whole = 0;
  for (auto& peer : peers) whole += peer->Reply() == "closed" ? 0 : 1;
  EXPECT_GE(whole, 1);
  EXPECT_LE(whole, 4);
  EXPECT_GE(server.StatsAtEnd().output_limit_closes, 6U);
}

TEST(ClientTest, KillsDuringExecute) {
  Server server;
  Peer a(server.loop.port());
  Peer b(server.loop.port());
  EXPECT_EQ(a.Call({"ID"}), "1");
  EXPECT_EQ(b.Call({"ID"}), "2");
  std::string bytes;
  resp::AppendRequest(bytes, {"KILLME"});
  resp::AppendRequest(bytes, {"ECHO", "never"});
  a.Send(bytes);
  EXPECT_EQ(a.Reply(), "closed");
  server.toy.Await("close 1");
  // Several at once, in one tick with their own commands: some suspended, some with output.
  for (int i = 0; i < 50; ++i) {
    Peer c(server.loop.port());
    Peer d(server.loop.port());
    std::string c_id = c.Call({"ID"});
    std::string d_id = d.Call({"ID"});
    c.Ask({"WAIT", "x"});
    d.Ask({"BIG", "5000000"});
    std::string kill;
    resp::AppendRequest(kill, {"RESUME", c_id});
    resp::AppendRequest(kill, {"KILL", c_id});
    resp::AppendRequest(kill, {"KILL", d_id});
    resp::AppendRequest(kill, {"RESUME", c_id});
    resp::AppendRequest(kill, {"KILL", d_id});
    b.Send(kill);
    for (int k = 0; k < 5; ++k)
      ASSERT_EQ(b.Reply(), "+OK");
    c.AllBytes();
    d.AllBytes();
    server.toy.Await("close " + c_id);
    server.toy.Await("close " + d_id);
  }
  EXPECT_EQ(b.Call({"COUNT"}), "1");
}

TEST(ClientTest, PushesToOthers) {
  Server server;
  Peer a(server.loop.port());
  Peer b(server.loop.port());
  EXPECT_EQ(a.Call({"ID"}), "1");
  EXPECT_EQ(b.Call({"SENDTO", "1", ">1\r\n+news\r\n"}), "+OK");
  EXPECT_EQ(a.Reply(), ">[+news]");
  EXPECT_EQ(b.Call({"SENDTO", "99", "+x\r\n"}), "+OK");
}

}  // namespace
}  // namespace polyarch::net
