// What clients may cost: slow readers, large replies, input without end, strangers that do not
// authenticate.
#include "net/net_test_util.h"

namespace polyarch::net {
namespace {

TEST(ClientTest, MaxClients) {
  LoopOptions options;
  options.maxclients = 2;
  Server server(options);
  Peer a(server.loop.port());
  auto b = std::make_unique<Peer>(server.loop.port());
  EXPECT_EQ(a.Call({"ID"}), "1");
  EXPECT_EQ(b->Call({"ID"}), "2");
  Peer c(server.loop.port());
  EXPECT_EQ(c.AllBytes(), "-ERR max number of clients reached\r\n");
  b.reset();
  server.toy.Await("close 2");
  Peer d(server.loop.port());
  EXPECT_EQ(d.Call({"ID"}), "3");
  EXPECT_EQ(server.StatsAtEnd().clients_rejected, 1U);
}

TEST(ClientTest, SlowReaderIsClosed) {
  LoopOptions options;
  options.output_bytes_hard_max = 8 << 20;
  Server server(options);
  Peer a(server.loop.port());
  Peer b(server.loop.port());
  EXPECT_EQ(a.Call({"ID"}), "1");
  std::string bytes;
  for (int i = 0; i < 100; ++i)
    resp::AppendRequest(bytes, {"BIG", "1000000"});
  a.Send(bytes);
  server.toy.Await("close 1");
  EXPECT_EQ(b.Call({"COUNT"}), "1");
  EXPECT_EQ(server.StatsAtEnd().output_limit_closes, 1U);
}

TEST(ClientTest, SlowReaderBeyondTheSoftLimitIsClosed) {
  LoopOptions options;
  options.output_bytes_soft_max = 1 << 20;
  options.output_soft_s = 1;
  Server server(options);
  Peer a(server.loop.port());
  a.Ask({"BIG", "20000000"});
  server.toy.Await("close 1");
  EXPECT_EQ(server.StatsAtEnd().output_limit_closes, 1U);
}

// However much one command puts together: no more than the limit is ever held, and what others were
// told stays whole.
TEST(ClientTest, OneReplyBeyondTheLimit) {
  LoopOptions options;
  options.output_bytes_hard_max = 8 << 20;
  Server server(options);
  Peer a(server.loop.port());
  Peer b(server.loop.port());
  EXPECT_EQ(a.Call({"ID"}), "1");
  EXPECT_EQ(b.Call({"ID"}), "2");
  std::string bytes;
  resp::AppendRequest(bytes, {"HOLD", "x"});
  resp::AppendRequest(bytes, {"MANY", "1000000"});
  resp::AppendRequest(bytes, {"ECHO", "never"});
  a.Send(bytes);
  const std::string held = server.toy.Await("held ");
  EXPECT_LE(base::ParseInt64(held.substr(5)).value_or(INT64_MAX), 32 << 20);
  server.toy.Await("close 1");
  EXPECT_EQ(b.Call({"ECHO", "fine"}), Text("fine"));
  b.Ask({"MANY", "4"});
  EXPECT_EQ(b.Reply().size(), Peer(server.loop.port()).Call({"MANY", "4"}).size());
  EXPECT_EQ(server.StatsAtEnd().output_limit_closes, 1U);
}

// However much room the buffer of the reply has from others before it.
TEST(ClientTest, OneReplyBeyondTheLimitInAWarmBuffer) {
  LoopOptions options;
  options.output_bytes_hard_max = 100'000;
  Server server(options);
  Peer a(server.loop.port());
  EXPECT_EQ(a.Call({"BIG", "90000"}).size(), 90'002U);
  EXPECT_EQ(a.Call({"BIG", "95000"}).size(), 95'002U);
  EXPECT_EQ(a.Call({"BIG", "120000"}), "closed");
  EXPECT_EQ(server.StatsAtEnd().output_limit_closes, 1U);
}

TEST(ClientTest, ALowerLimitReachesWhoHasStoppedReading) {
  Server server;
  Peer a(server.loop.port());
  Peer b(server.loop.port());
  Peer c(server.loop.port());
  EXPECT_EQ(a.Call({"ID"}), "1");
  EXPECT_EQ(b.Call({"ID"}), "2");
  a.Ask({"BIG", "30000000"});
  while (c.Call({"PENDING", "1"}) == "0") {
  }
  EXPECT_EQ(c.Call({"OUTPUTMAX", "1000000"}), "+OK");
  server.toy.Await("close 1");
  // Messages have a limit of their own.
  EXPECT_EQ(c.Call({"OUTPUTMAX", "0"}), "+OK");
  EXPECT_EQ(c.Call({"PUSHTO", "2", "20000000"}), "+OK");
  EXPECT_NE(c.Call({"PENDING", "2"}), "0");
  EXPECT_EQ(c.Call({"PUSHMAX", "1000000"}), "+OK");
  server.toy.Await("close 2");
  EXPECT_EQ(c.Call({"ECHO", "fine"}), Text("fine"));
  const LoopStats& stats = server.StatsAtEnd();
  EXPECT_EQ(stats.output_limit_closes, 2U);
  EXPECT_EQ(stats.push_limit_closes, 1U);
}

// Not who sends a long request, is sent messages, waits or listens: each of them is older than the one that is closed.
TEST(ClientTest, WhoIsIdleIsClosed) {
  LoopOptions options;
  options.idle_s_max = 1;
  Server server(options);
  Peer sends(server.loop.port());
  Peer is_told(server.loop.port());
  Peer waits(server.loop.port());
  Peer listens(server.loop.port());
  EXPECT_EQ(sends.Call({"ID"}), "1");
  EXPECT_EQ(is_told.Call({"ID"}), "2");
  EXPECT_EQ(waits.Call({"ID"}), "3");
  EXPECT_EQ(listens.Call({"LISTEN"}), "+OK");
  waits.Ask({"WAIT", "for it"});
  server.toy.Await("suspended 3");
  sends.Send("*2\r\n$4\r\nECHO\r\n$6000000\r\n");
  Peer idle(server.loop.port());
  Peer busy(server.loop.port());
  EXPECT_EQ(idle.Call({"ID"}), "5");
  const auto until = std::chrono::steady_clock::now() + kPatience;
  size_t sent = 0;
  while (!server.toy.Told("close 5") && std::chrono::steady_clock::now() < until) {
    sends.Send("x");
    ++sent;
    ASSERT_EQ(busy.Call({"SENDTO", "2", "+x\r\n"}), "+OK");
  }
  server.toy.Await("close 5");
  EXPECT_EQ(idle.AllBytes(), "");
  EXPECT_EQ(busy.Call({"COUNT"}), "5");
  EXPECT_EQ(busy.Call({"RESUME", "3"}), "+OK");
  EXPECT_EQ(waits.Reply(), Text("for it"));
  EXPECT_EQ(listens.Call({"ECHO", "here"}), Text("here"));
  EXPECT_EQ(is_told.Reply(), "+x");
  sends.Send(std::string(6'000'000 - sent, 'x') + "\r\n");
  EXPECT_EQ(sends.Reply().size(), 6'000'002U);
}

TEST(ClientTest, SlowReadersShareOneBudget) {
  LoopOptions options;
  options.output_bytes_total_max = 40 << 20;
  Server server(options);
  std::vector<std::unique_ptr<Peer>> peers;
  for (int i = 0; i < 4; ++i) {
    peers.push_back(std::make_unique<Peer>(server.loop.port()));
    peers.back()->Ask({"BIG", "20000000"});
  }
  server.toy.Await("close ");
  EXPECT_EQ(Peer(server.loop.port()).Call({"ECHO", "fine"}), Text("fine"));
  for (auto& peer : peers)
    peer.reset();
  for (int i = 0; i < 4; ++i)
    server.toy.Await("close ");  // the one above is another's
  LoopStats stats = server.StatsAtEnd();
  EXPECT_GE(stats.output_limit_closes, 1U);
  EXPECT_EQ(stats.output_bytes, 0U);
}

TEST(ClientTest, ProtocolErrorsCloseWithTheirText) {
  Server server;
  struct Case {
    std::string bytes;
    std::string reply;
  };
  const Case kCases[] = {
      {"*x\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
      {"*1\r\n$9999999999\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
      {"ID\r\n*1\r\n+x\r\n", ":3\r\n-ERR Protocol error: expected '$', got '+'\r\n"},
      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
       "-ERR this port speaks the Redis protocol, not HTTP; use the HTTP port\r\n"},
      {std::string("\x16\x03\x01\x00\x05hello", 10),
       "-ERR this port does not speak TLS; connect without TLS\r\n"},
  };
  for (const Case& c : kCases) {
    Peer a(server.loop.port());
    a.Send(c.bytes);
    EXPECT_EQ(a.AllBytes(), c.reply);
  }
  EXPECT_EQ(server.StatsAtEnd().protocol_errors, std::size(kCases));
}

TEST(ClientTest, InputBudgets) {
  LoopOptions options;
  options.input_bytes_total_max = 1 << 20;
  Server server(options);
  Peer a(server.loop.port());
  a.Send("*1\r\n$10000000\r\n" + std::string(4 << 20, 'x'));
  EXPECT_NE(a.Reply(), "");
  EXPECT_EQ(a.Reply(), "closed");
  EXPECT_EQ(Peer(server.loop.port()).Call({"ECHO", "x"}), Text("x"));
  const LoopStats& stats = server.StatsAtEnd();
  EXPECT_EQ(stats.input_limit_closes, 1U);
}

TEST(PreAuthTest, LimitsUntilAuthenticated) {
  LoopOptions options;
  Server server(options, /*needs_auth=*/true);
  {
    Peer a(server.loop.port());
    EXPECT_EQ(a.Call({"ECHO", "x"}), Text("x"));
    a.Ask({"ECHO", std::string(4097, 'x')});
    EXPECT_EQ(a.Reply(), "-ERR Protocol error: unauthenticated bulk length");
    EXPECT_EQ(a.Reply(), "closed");
  }
  {
    Peer a(server.loop.port());  // authentication counts for what is right behind it
    std::string bytes;
    resp::AppendRequest(bytes, {"AUTH"});
    resp::AppendRequest(bytes, {"ECHO", std::string(4097, 'x')});
    a.Send(bytes);
    EXPECT_EQ(a.Reply(), "+OK");
    EXPECT_EQ(a.Reply(), Text(std::string(4097, 'x')));
  }
  {
    Peer a(server.loop.port());
    a.Ask({"BIG", "9000000"});
    a.AllBytes();
    server.toy.Await("close 3");
  }
  const LoopStats& stats = server.StatsAtEnd();
  EXPECT_EQ(stats.preauth_closes, 1U);
  EXPECT_EQ(stats.preauth_input_bytes, 0U);
}

TEST(PreAuthTest, Deadline) {
  LoopOptions options;
  options.preauth_deadline_ms = 1;
  Server server(options, /*needs_auth=*/true);
  Peer good(server.loop.port());
  EXPECT_EQ(good.Call({"AUTH"}), "+OK");
  Peer idle(server.loop.port());
  EXPECT_EQ(idle.Reply(), "closed");
  EXPECT_EQ(good.Call({"ECHO", "x"}), Text("x"));
}

}  // namespace
}  // namespace polyarch::net
