// Links between leaders, over real loopback sockets.
#include "net/net_test_util.h"

namespace polyarch::net {
namespace {

TEST(LinkTest, MessagesBothWays) {
  Server a;
  Server b;
  Peer to_a(a.loop.port());
  Peer to_b(b.loop.port());
  std::string address = "127.0.0.1:" + std::to_string(b.loop.peer_port());
  EXPECT_EQ(to_a.Call({"DIAL", address}), "+OK");
  EXPECT_EQ(a.toy.Await("up"), "up " + address);
  EXPECT_EQ(b.toy.Await("up"), "up ");
  to_a.Call({"LINK", "echo back"});
  b.toy.Await("message 9 echo back");
  a.toy.Await("message 4 back");
  to_b.Call({"LINK", ""});
  a.toy.Await("message 0 ");
  to_a.Call({"LINKBIG", "30000000"});
  to_a.Call({"LINK", "behind"});
  b.toy.Await("part");
  b.toy.Await("message 30000000 mmm");
  b.toy.Await("message 6 behind");
  std::string bytes;
  for (int i = 0; i < 1000; ++i)
    resp::AppendRequest(bytes, {"LINK", std::to_string(i)});
  to_b.Send(bytes);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(to_b.Reply(), "+OK");
    a.toy.Await("message " + std::to_string(std::to_string(i).size()) + " " + std::to_string(i));
  }
  // A message may resume a client's command.
  EXPECT_EQ(to_b.Call({"ID"}), "1");
  to_b.Ask({"WAIT", "for a"});
  b.toy.Await("suspended 1");
  to_a.Call({"LINK", "resume 1"});
  EXPECT_EQ(to_b.Reply(), Text("for a"));
  // Closing from within OnLinkMessage.
  to_a.Call({"LINK", "die"});
  a.toy.Await("down");
  b.toy.Await("down");
  EXPECT_EQ(to_a.Call({"LINKBIG", "10"}), "0");
}

TEST(LinkTest, DialFailures) {
  Server a;
  Peer to_a(a.loop.port());
  int closed_port = 0;
  {
    Server gone;
    closed_port = gone.loop.peer_port();
  }
  to_a.Call({"DIAL", "127.0.0.1:" + std::to_string(closed_port)});
  EXPECT_NE(a.toy.Await("failed 127.0.0.1").find("refused"), std::string::npos);
  for (const char* address : {"nonsense", "host:", "host:99999", "::1:77", "host:x", ":1"}) {
    to_a.Call({"DIAL", address});
    a.toy.Await(std::string("failed ") + address);
  }
  to_a.Call({"DIAL", "no-such-host.invalid:1"});
  a.toy.Await("failed no-such-host.invalid:1");
}

TEST(LinkTest, DialByName) {
  Server a;
  Peer to_a(a.loop.port());
  std::string address = "localhost:" + std::to_string(a.loop.peer_port());
  to_a.Call({"DIAL", address});
  EXPECT_EQ(a.toy.Await("up " + address), "up " + address);
}

std::string Frame(std::string_view message) {
  resp::Buffer out;
  AppendFrame(out, message);
  return std::string(out.view());
}

TEST(LinkTest, ViolationsCloseTheLink) {
  Server server;
  {
    Peer a(server.loop.peer_port());  // any split is fine
    std::string bytes = Frame("hello") + Frame("") + Frame(std::string(100'000, 'y'));
    for (size_t at = 0; at < 40; ++at)
      a.Send(bytes.substr(at, 1));
    a.Send(bytes.substr(40));
    server.toy.Await("message 5 hello");
    server.toy.Await("message 0 ");
    server.toy.Await("message 100000 yyy");
    std::string bad = Frame("good until here");
    bad.back() ^= 1;
    a.Send(bad);
    EXPECT_EQ(a.AllBytes(), "");
    server.toy.Await("down");
  }
  {
    Peer a(server.loop.peer_port());  // too large for a first message
    a.Send(Frame(std::string((64 << 10) + 1, 'x')).substr(0, 8));
    EXPECT_EQ(a.AllBytes(), "");
    server.toy.Await("down");
  }
  {
    Peer a(server.loop.peer_port());  // exactly as large as a first message may be
    a.Send(Frame(std::string(64 << 10, 'x')));
    server.toy.Await("message 65536 xxx");
    std::string huge("\x01\x00\x00\x05\0\0\0\0", 8);  // 80 MiB + 1
    a.Send(huge);
    EXPECT_EQ(a.AllBytes(), "");
    server.toy.Await("down");
  }
  EXPECT_EQ(server.StatsAtEnd().link_errors, 3U);
}

TEST(LinkTest, SilenceBeforeTheFirstMessage) {
  LoopOptions options;
  options.link_first_message_ms = 1;
  Server server(options);
  Peer a(server.loop.peer_port());
  EXPECT_EQ(a.AllBytes(), "");
  EXPECT_EQ(server.StatsAtEnd().link_errors, 1U);
}

TEST(LinkTest, ABacklogWithoutEndClosesTheLink) {
  LoopOptions options;
  options.link_output_bytes_max = 10 << 20;
  Server server(options);
  Peer to_server(server.loop.port());
  Peer reads_nothing(server.loop.peer_port());
  server.toy.Await("up");
  for (int i = 0; i < 10; ++i)
    to_server.Call({"LINKBIG", "5000000"});
  server.toy.Await("down");
  EXPECT_EQ(server.StatsAtEnd().link_errors, 1U);
}

}  // namespace
}  // namespace polyarch::net
