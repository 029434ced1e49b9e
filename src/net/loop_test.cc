// The loop as a whole: its ends, its ports and sockets, the HTTP port.
#include <set>
#include <sys/resource.h>

#include "net/net_test_util.h"

namespace polyarch::net {
namespace {

TEST(LoopTest, StopLetsRepliesLeave) {
  Server server;
  Peer a(server.loop.port());
  a.Ask({"HOLD", "held"});
  EXPECT_EQ(Peer(server.loop.port()).Call({"COUNT"}), "2");
  while (server.toy.position() == 0)
    Peer(server.loop.port()).Call({"COUNT"});
  server.toy.SetDurable(1);  // without a wake
  server.Stop();
  EXPECT_EQ(a.Reply(), Text("held"));
  EXPECT_EQ(a.Reply(), "closed");
}

// Peers and the log must not wait for the end of what somebody sent in one go.
TEST(LoopTest, SlowCommandsThatCameTogetherDoNotRunInOneTick) {
  Server server;
  Peer a(server.loop.port());
  Peer b(server.loop.port());
  std::string bytes;
  for (int i = 0; i < 5; ++i)
    resp::AppendRequest(bytes, {"SPIN", "80"});
  a.Send(bytes);
  b.Send(bytes);
  std::set<int64_t> ticks;
  for (Peer* peer : {&a, &b}) {
    std::string before;
    for (int i = 0; i < 5; ++i) {
      const std::string tick = peer->Reply();
      EXPECT_NE(tick, before) << "two in one turn";
      before = tick;
      ticks.insert(std::stoll(tick));
    }
  }
  EXPECT_GE(ticks.size(), 5U);
}

TEST(LoopTest, AbortLetsNothingLeave) {
  Server server;
  Peer a(server.loop.port());
  Peer b(server.loop.port());
  EXPECT_EQ(a.Call({"COUNT"}), "2");
  std::string bytes;
  resp::AppendRequest(bytes, {"ECHO", "in the same tick"});
  resp::AppendRequest(bytes, {"FAIL"});
  a.Send(bytes);
  EXPECT_EQ(a.AllBytes(), "");
  EXPECT_EQ(b.AllBytes(), "");
  server.Stop();
}

TEST(LoopTest, ListenErrorsSayWhatToDo) {
  Server server;
  Toy toy;
  LoopOptions options;
  options.port = server.loop.port();
  Loop second(options, toy);
  base::Status status = second.Listen();
  EXPECT_EQ(status.code(), base::Code::kBusy);
  EXPECT_EQ(status.message(),
            "port " + std::to_string(options.port) +
                " is in use on 127.0.0.1: stop what listens there or choose another with --port");
  options.port = 0;
  options.bind = {"192.0.2.1"};
  EXPECT_NE(Loop(options, toy).Listen().message().find("--bind"), std::string::npos);
}

TEST(LoopTest, WhoComesWhileDataIsReadIsToldSo) {
  Toy toy;
  LoopOptions options;
  options.port = 0;
  options.peer_port = 0;
  options.http_any_port = true;
  Loop loop(options, toy);
  ASSERT_TRUE(loop.Listen().ok());
  toy.SetControl(&loop);
  loop.AnswerLoading();
  const std::string loading = "-LOADING Polyarch is loading the dataset in memory\r\n";
  EXPECT_EQ(Peer(loop.port()).AllBytes(), loading);
  Peer talks(loop.port());
  talks.Send("*1\r\n$4\r\nPING\r\n");
  EXPECT_EQ(talks.AllBytes(), loading);
  auto page = [&](const std::string& request) {
    Peer peer(loop.http_port());
    peer.Send(request);
    return peer.AllBytes();
  };
  EXPECT_TRUE(page("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 503 "));
  EXPECT_TRUE(page("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 200 "));
  EXPECT_EQ(page(std::string(20'000, 'x')), "");
  Peer waits(loop.peer_port());  // nobody is told anything there
  std::thread thread([&] { loop.Run(); });
  std::string reply;
  do {  // the thread may not have come so far
    reply = Peer(loop.port()).Call({"ECHO", "x"});
  } while (reply.starts_with("-LOADING"));
  EXPECT_EQ(reply, Text("x"));
  loop.RequestStop();
  thread.join();
}

TEST(LoopTest, UnixSocket) {
  std::string path = ::testing::TempDir() + "/net_test_" + std::to_string(::getpid()) + ".sock";
  LoopOptions options;
  options.unix_socket = path;
  {
    Server server(options);
    Peer a(path);
    EXPECT_EQ(a.Call({"ECHO", "x"}), Text("x"));
    EXPECT_NE(server.toy.Await("open 1").find(path + ":0"), std::string::npos);
    Toy toy;
    LoopOptions again = options;
    again.port = 0;
    EXPECT_EQ(Loop(again, toy).Listen().code(), base::Code::kBusy);
  }
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

TEST(LoopTest, OutOfFilesDoesNotStopAccepting) {
  Server server;
  Peer a(server.loop.port());
  EXPECT_EQ(a.Call({"ID"}), "1");
  Fd waiting(::socket(AF_INET, SOCK_STREAM, 0));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few = before;
  few.rlim_cur = 256;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  std::vector<Fd> fillers;
  while (true) {
    Fd fd(::dup(waiting.get()));
    if (!fd.ok()) break;
    fillers.push_back(std::move(fd));
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(server.loop.port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(waiting.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  char byte = 0;
  EXPECT_LE(::recv(waiting.get(), &byte, 1, 0), 0);
  EXPECT_EQ(a.Call({"ECHO", "x"}), Text("x"));
  fillers.clear();
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(Peer(server.loop.port()).Call({"ECHO", "x"}), Text("x"));
  EXPECT_GE(server.StatsAtEnd().accept_errors, 1U);
}

TEST(LoopTest, ReadsAndWritesOfClientsAreCounted) {
  Server server;
  {
    Peer a(server.loop.port());
    EXPECT_EQ(a.Call({"ID"}), "1");
    EXPECT_EQ(a.Call({"ECHO", "x"}), Text("x"));
  }
  const LoopStats stats = server.StatsAtEnd();
  EXPECT_GE(stats.reads, 2U);
  EXPECT_EQ(stats.writes, 2U);
}

TEST(HttpTest, AnswersOneGet) {
  Server server;
  auto get = [&](std::string_view request) {
    Peer a(server.loop.http_port());
    a.Send(request);
    return a.AllBytes();
  };
  EXPECT_EQ(get("GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\nyou asked for /metrics?x=1");
  EXPECT_EQ(get("HEAD /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n");
  EXPECT_GT(get("GET /large HTTP/1.1\r\n\r\n").size(), 5U << 20);
  EXPECT_TRUE(get("POST / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
  EXPECT_TRUE(get("nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(get("GET x y HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(get("GET / HTTP/1.1\r\nX: " + std::string(9000, 'x')).starts_with("HTTP/1.1 431 "));
}

}  // namespace
}  // namespace polyarch::net
