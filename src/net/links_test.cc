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

// A leader that is stopped leaves nothing behind that it has told its clients of.
TEST(LinkTest, WhatWasSentBeforeAStopArrives) {
  Server a;
  Server b;
  Peer to_a(a.loop.port());
  Peer to_b(b.loop.port());
  to_a.Call({"DIAL", "127.0.0.1:" + std::to_string(b.loop.peer_port())});
  a.toy.Await("up");
  b.toy.Await("up");
  to_a.Call({"LINK", "hello"});
  to_b.Call({"LINK", "hello"});
  b.toy.Await("message 5 hello");
  a.toy.Await("message 5 hello");
  // More than the machine's buffers take at once.
  to_a.Call({"LINKBIG", "30000000"});
  to_a.Call({"LINK", "the last word"});
  for (int i = 0; i < 100; ++i)
    to_b.Ask({"LINK", "which the other one does not read any more"});
  a.Stop();
  b.toy.Await("message 30000000 mmm");
  b.toy.Await("message 13 the last word");
  b.toy.Await("down");
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
  EXPECT_NE(server.toy.Await("refused").find("does not read"), std::string::npos);
  server.toy.Await("down");
  EXPECT_EQ(server.StatsAtEnd().link_errors, 1U);
}

// It would come again and again, and nobody would know why the link does not stay.
TEST(LinkTest, AMessageThatNoLinkTakesIsToldOf) {
  LoopOptions options;
  options.link_message_bytes_max = 1 << 20;
  Server server(options);
  Peer to_server(server.loop.port());
  Peer peer(server.loop.peer_port());
  server.toy.Await("up");
  to_server.Call({"LINKBIG", "2000000"});
  EXPECT_EQ(server.toy.Await("refused"),
            "refused a message of 2000000 bytes is more than the 1048576 that a link takes");
  server.toy.Await("down");
  EXPECT_EQ(server.StatsAtEnd().link_errors, 1U);
}

// ---- names with several addresses

// Of this host, any free port.
SocketAddress AnyPort() {
  SocketAddress address = Resolve(*ParseHostPort("127.0.0.1:1"), /*numeric=*/true)->front();
  reinterpret_cast<sockaddr_in*>(address.get())->sin_port = 0;
  return address;
}

// A socket whose queue is full, so that whoever connects hears nothing.
class Mute {
 public:
  Mute() : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    SocketAddress any = AnyPort();
    EXPECT_EQ(::bind(fd_.get(), any.get(), any.size), 0);
    EXPECT_EQ(::listen(fd_.get(), 0), 0);
    address_ = LocalAddress(fd_.get());
    for (int i = 0; i < 4; ++i) {
      fill_.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
      (void)::connect(fill_.back().get(), address_.get(), address_.size);
    }
  }
  const SocketAddress& address() const { return address_; }

 private:
  Fd fd_;
  SocketAddress address_;
  std::vector<Fd> fill_;
};

// Links without a loop: their time is in the test's hands.
class Dials : public ::testing::Test {
 protected:
  Dials() {
    EXPECT_TRUE(poller.Open().ok());
    listener = Fd(::socket(AF_INET, SOCK_STREAM, 0));
    SocketAddress any = AnyPort();
    EXPECT_EQ(::bind(listener.get(), any.get(), any.size), 0);
    EXPECT_EQ(::listen(listener.get(), 16), 0);
    live = LocalAddress(listener.get());
  }
  void Pass(int64_t ms) {
    context.now.mono_us += ms * 1000;
    toy.TickBegin(context.now);
    const int ready = poller.Wait(20);
    for (int i = 0; i < ready; ++i)
      links.OnEvent(*static_cast<Link*>(static_cast<Pollable*>(poller.event(i).data.ptr)), poller.event(i).events);
    links.TryFurther();
    links.Sweep();
    links.Reap();
    toy.TickEnd();
  }
  // Until it is up, or has failed: the time that it took.
  int64_t Dial(const std::vector<SocketAddress>& addresses, bool& up) {
    links.Connect("name:1", addresses);
    for (int64_t ms = 0;; ms += 100) {
      if (toy.Told("up name:1") || toy.Told("failed name:1")) {
        up = toy.Told("up name:1");
        toy.Await(up ? "up" : "failed");
        return ms;
      }
      if (ms > 60'000) return ms;
      Pass(100);
    }
  }

  Toy toy;
  Context context{LoopOptions{}, toy};
  Poller poller;
  Links links{context, poller, [] {}};
  Mute mute;
  Fd listener;
  SocketAddress live;
};

TEST_F(Dials, EachAddressHasItsTime) {
  bool up = false;
  const Mute other;
  EXPECT_LE(Dial({mute.address(), other.address(), live}, up), 2500);
  EXPECT_TRUE(up);
  // And next time the one that answered is the first.
  EXPECT_LE(Dial({mute.address(), other.address(), live}, up), 200);
  EXPECT_TRUE(up);
}

TEST_F(Dials, TheNextDialBeginsBehindTheLastAddress) {
  std::vector<Mute> mutes(8);
  std::vector<SocketAddress> addresses;
  for (const Mute& m : mutes) addresses.push_back(m.address());
  addresses.push_back(live);
  bool up = true;
  EXPECT_NEAR(static_cast<double>(Dial(addresses, up)), 5000, 200) << "as long as a dial takes";
  EXPECT_FALSE(up);
  EXPECT_LE(Dial(addresses, up), 4500);
  EXPECT_TRUE(up);
}

}  // namespace
}  // namespace polyarch::net
