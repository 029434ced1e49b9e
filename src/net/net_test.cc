// The loop over real loopback sockets, with a toy service. Nothing here sleeps to synchronise:
// tests wait for replies, for the end of a connection, or for what the service was told
// (Toy::Await). That something does NOT happen is checked after another client's round trip, which
// is a whole tick.
#include <condition_variable>
#include <deque>
#include <fcntl.h>
#include <map>
#include <mutex>
#include <netinet/in.h>
#include <optional>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/number.h"
#include "net/loop.h"
#include "resp/reply.h"
#include "resp/writer.h"

namespace polyarch::net {
namespace {

constexpr auto kPatience = std::chrono::seconds(20);

struct ToySession : Session {
  bool authenticated = true;
  int suspensions = 0;
};

class Toy : public Service {
 public:
  explicit Toy(bool needs_auth = false) : needs_auth_(needs_auth) {}

  void SetControl(Control* control) { control_ = control; }
  void SetDurable(uint64_t position) { durable_.store(position); }
  uint64_t position() const { return position_.load(); }

  // Waits until the service was told something that begins with `prefix`; returns and forgets it.
  std::string Await(const std::string& prefix) {
    std::unique_lock lock(mutex_);
    std::string found;
    bool seen = changed_.wait_for(lock, kPatience, [&] {
      for (auto it = told_.begin(); it != told_.end(); ++it) {
        if (!it->starts_with(prefix)) continue;
        found = *it;
        told_.erase(it);
        return true;
      }
      return false;
    });
    EXPECT_TRUE(seen) << "waited in vain for " << prefix;
    return found;
  }

  void TickBegin(const Clocks& now) override {
    EXPECT_FALSE(in_tick_);
    EXPECT_GE(now.mono_us, last_us_);
    last_us_ = now.mono_us;
    in_tick_ = true;
    held_in_tick_ = false;
  }
  void TickEnd() override {
    EXPECT_TRUE(in_tick_);
    in_tick_ = false;
    if (held_in_tick_) position_.fetch_add(1);
  }
  uint64_t hold_position() const override { return position_.load(); }
  uint64_t durable_position() const override { return durable_.load(); }

  std::unique_ptr<Session> OpenClient(ClientId id,
                                      std::string address,
                                      std::string local) override {
    EXPECT_TRUE(in_tick_);
    auto session = std::make_unique<ToySession>();
    session->authenticated = !needs_auth_;
    Tell("open " + std::to_string(id) + " " + address + " " + local);
    return session;
  }
  void CloseClient(ClientId id, Session&) override {
    EXPECT_TRUE(in_tick_);
    EXPECT_FALSE(executing_);
    Tell("close " + std::to_string(id));
  }
  bool IsAuthenticated(const Session& session) const override {
    return static_cast<const ToySession&>(session).authenticated;
  }

  Outcome Execute(ClientId id,
                  Session& session,
                  std::span<const std::string_view> a,
                  resp::Buffer& out) override {
    EXPECT_TRUE(in_tick_);
    executing_ = true;
    Outcome outcome = Do(id, static_cast<ToySession&>(session), a, out);
    executing_ = false;
    return outcome;
  }

  void OnLinkUp(LinkId link, std::string dialed, std::string remote) override {
    EXPECT_TRUE(in_tick_);
    EXPECT_FALSE(remote.empty());
    last_link_ = link;
    Tell("up " + dialed);
  }
  void OnLinkMessage(LinkId link, std::string_view message) override {
    EXPECT_TRUE(in_tick_);
    if (message == "die") {
      control_->CloseLink(link);
    } else if (message.starts_with("echo ")) {
      control_->SendToLink(link, message.substr(5));
    } else if (message.starts_with("resume ")) {
      control_->Resume(Number(message.substr(7)));
    }
    std::string text(message.substr(0, 20));
    Tell("message " + std::to_string(message.size()) + " " + text);
  }
  void OnLinkPart(LinkId link) override {
    EXPECT_TRUE(in_tick_);
    EXPECT_EQ(link, last_link_);
    Tell("part");
  }
  void OnLinkDown(LinkId) override {
    EXPECT_TRUE(in_tick_);
    Tell("down");
  }
  void OnDialFailed(std::string address, std::string reason) override {
    EXPECT_TRUE(in_tick_);
    Tell("failed " + address + " " + reason);
  }
  void OnTimer() override { EXPECT_TRUE(in_tick_); }
  std::string OnHttpGet(std::string_view path) override {
    std::string body = "you asked for " + std::string(path);
    if (path == "/large") body.assign(5 << 20, 'x');
    return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }

 private:
  static uint64_t Number(std::string_view text) {
    return static_cast<uint64_t>(base::ParseInt64(text).value_or(0));
  }

  void Tell(std::string what) {
    std::lock_guard lock(mutex_);
    told_.push_back(std::move(what));
    changed_.notify_all();
  }

  Outcome Do(ClientId id,
             ToySession& session,
             std::span<const std::string_view> a,
             resp::Buffer& out) {
    resp::Writer w(out, 2);
    std::string_view name = a[0];
    std::string_view argument = a.size() > 1 ? a[1] : std::string_view();
    if (name == "ID") {
      w.Integer(static_cast<int64_t>(id));
    } else if (name == "ECHO") {
      w.Bulk(argument);
    } else if (name == "HOLD") {
      held_in_tick_ = true;
      w.Bulk(argument);
      return Outcome::kHeld;
    } else if (name == "BIG") {
      w.Bulk(std::string(Number(argument), 'x'));
    } else if (name == "MANY") {  // one reply of many large parts
      const uint64_t parts = Number(argument);
      w.Array(parts);
      const std::string part(1 << 20, 'x');
      for (uint64_t i = 0; i < parts; ++i)
        w.Bulk(part);
      Tell("held " + std::to_string(out.capacity()));
    } else if (name == "FAIL") {  // the log cannot be written
      w.Ok();
      control_->Abort();
    } else if (name == "CLOSE") {
      w.Ok();
      return Outcome::kClose;
    } else if (name == "WAIT") {  // suspends once, until somebody resumes it
      if (session.suspensions++ == 0) {
        Tell("suspended " + std::to_string(id));
        return Outcome::kSuspended;
      }
      session.suspensions = 0;
      w.Bulk(argument);
    } else if (name == "YIELD") {  // resumes itself before it is suspended, ten times
      if (session.suspensions++ < 10) {
        control_->Resume(id);
        return Outcome::kSuspended;
      }
      session.suspensions = 0;
      w.Bulk(argument);
    } else if (name == "RESUME") {
      control_->Resume(Number(argument));
      w.Ok();
    } else if (name == "KILL") {
      w.Ok();
      control_->CloseClientNow(Number(argument));
    } else if (name == "KILLME") {
      w.Bulk(std::string(100'000, 'x'));
      control_->CloseClientNow(id);
    } else if (name == "SENDTO") {
      control_->SendToClient(Number(argument), a[2], false);
      w.Ok();
    } else if (name == "PENDING") {
      w.Integer(static_cast<int64_t>(control_->ClientOutputBytes(Number(argument))));
    } else if (name == "COUNT") {
      w.Integer(static_cast<int64_t>(control_->client_count()));
    } else if (name == "AUTH") {
      session.authenticated = true;
      w.Ok();
    } else if (name == "DIAL") {
      control_->Dial(std::string(argument));
      w.Ok();
    } else if (name == "LINK") {
      control_->SendToLink(last_link_, argument);
      w.Ok();
    } else if (name == "LINKBIG") {
      control_->SendToLink(last_link_, std::string(Number(argument), 'm'));
      w.Integer(static_cast<int64_t>(control_->LinkBacklog(last_link_)));
    } else {
      w.Error("ERR unknown");
    }
    return Outcome::kReplied;
  }

  const bool needs_auth_;
  Control* control_ = nullptr;
  bool in_tick_ = false;
  bool executing_ = false;
  bool held_in_tick_ = false;
  int64_t last_us_ = 0;
  LinkId last_link_ = 0;
  std::atomic<uint64_t> position_{0};
  std::atomic<uint64_t> durable_{0};

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> told_;
};

class Server {
 public:
  explicit Server(LoopOptions options = {}, bool needs_auth = false)
      : toy(needs_auth), loop(Free(std::move(options)), toy) {
    toy.SetControl(&loop);
    base::Status status = loop.Listen();
    EXPECT_TRUE(status.ok()) << status.message();
    thread_ = std::thread([this] { loop.Run(); });
  }
  ~Server() { Stop(); }
  void Stop() {
    if (!thread_.joinable()) return;
    loop.RequestStop();
    thread_.join();
  }
  const LoopStats& StatsAtEnd() {
    Stop();
    return loop.stats();
  }
  void MakeDurable(uint64_t position) {
    toy.SetDurable(position);
    loop.Wake();
  }

  Toy toy;
  Loop loop;

 private:
  static LoopOptions Free(LoopOptions options) {
    if (options.port == 7001) options.port = 0;
    options.peer_port = 0;
    options.http_any_port = true;
    return options;
  }
  std::thread thread_;
};

class Peer {  // a socket of the test
 public:
  explicit Peer(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd_ = Fd(::socket(AF_INET, SOCK_STREAM, 0));
    Connect(reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  explicit Peer(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    fd_ = Fd(::socket(AF_UNIX, SOCK_STREAM, 0));
    Connect(reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }

  int fd() const { return fd_.get(); }
  void Send(std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;  // the server may have closed, which tests look at by reading
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }
  void Ask(std::initializer_list<std::string_view> arguments) {
    std::string bytes;
    resp::AppendRequest(bytes, arguments);
    Send(bytes);
  }
  // The next reply; "closed" at the end of the connection.
  std::string Reply() {
    while (true) {
      resp::ReplyReader::State state = reader_.Next();
      if (state == resp::ReplyReader::State::kValue) return reader_.value().ToString();
      if (state == resp::ReplyReader::State::kError) return "garbage: " + reader_.error();
      if (!Receive(0)) return "closed";
    }
  }
  std::string Call(std::initializer_list<std::string_view> arguments) {
    Ask(arguments);
    return Reply();
  }
  bool HasReply() {
    while (Receive(MSG_DONTWAIT)) {
    }
    return reader_.Next() == resp::ReplyReader::State::kValue;
  }
  std::string AllBytes() {
    std::string all;
    char bytes[65536];
    ssize_t got = 0;
    while ((got = ::recv(fd_.get(), bytes, sizeof bytes, 0)) > 0) {
      all.append(bytes, static_cast<size_t>(got));
    }
    return all;
  }
  void FinishSending() { ::shutdown(fd_.get(), SHUT_WR); }
  void Reset() {
    linger abort{1, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    fd_.Reset();
  }

 private:
  void Connect(const sockaddr* address, socklen_t size) {
    timeval patience{20, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    EXPECT_EQ(::connect(fd_.get(), address, size), 0) << std::strerror(errno);
  }
  bool Receive(int flags) {
    char bytes[65536];
    ssize_t got = ::recv(fd_.get(), bytes, sizeof bytes, flags);
    if (got > 0) reader_.Feed({bytes, static_cast<size_t>(got)});
    return got > 0;
  }

  Fd fd_;
  resp::ReplyReader reader_;
};

std::string Text(std::string_view text) {
  return "\"" + std::string(text) + "\"";
}

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
