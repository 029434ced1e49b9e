// For the tests of this room: a toy service on a real loop, and sockets that talk to it. Nothing
// here sleeps to synchronise: tests wait for replies, for the end of a connection, or for what the
// service was told (Toy::Await). That something does NOT happen is checked after another client's
// round trip, which is a whole tick.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <netinet/in.h>
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

inline constexpr auto kPatience = std::chrono::seconds(20);

struct ToySession : Session {
  bool authenticated = true;
  bool listens = false;
  int suspensions = 0;
  bool dead = false;
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

  bool Told(const std::string& prefix) {
    std::lock_guard lock(mutex_);
    return std::any_of(told_.begin(), told_.end(), [&](const std::string& t) { return t.starts_with(prefix); });
  }

  void TickBegin(const Clocks& now) override {
    EXPECT_FALSE(in_tick_);
    ++ticks_;
    EXPECT_GE(now.mono_us, last_us_);
    last_us_ = now.mono_us;
    in_tick_ = true;
    held_in_tick_ = false;
  }
  void TickEnd() override {
    EXPECT_TRUE(in_tick_);
    if (resume_last_ != 0) {
      control_->Resume(resume_last_);
      control_->Stop();
    }
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
  void CloseClient(ClientId id, Session& session) override {
    EXPECT_TRUE(in_tick_);
    EXPECT_TRUE(static_cast<ToySession&>(session).dead);
    EXPECT_FALSE(executing_);
    Tell("close " + std::to_string(id));
  }
  void ClientIsDead(Session& session) override { static_cast<ToySession&>(session).dead = true; }
  bool IsAuthenticated(const Session& session) const override {
    return static_cast<const ToySession&>(session).authenticated;
  }

  bool Listens(const Session& session) const override { return static_cast<const ToySession&>(session).listens; }

  Outcome Execute(ClientId id,
                  Session& session,
                  std::span<const std::string_view> a,
                  resp::Buffer& out) override {
    EXPECT_TRUE(in_tick_);
    EXPECT_FALSE(static_cast<ToySession&>(session).dead);
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
  void OnSendRefused(LinkId link, std::string reason) override {
    EXPECT_TRUE(in_tick_);
    EXPECT_EQ(link, last_link_);
    Tell("refused " + reason);
  }
  void OnDialFailed(std::string address, std::string reason) override {
    EXPECT_TRUE(in_tick_);
    Tell("failed " + address + " " + reason);
  }
  void OnRefused(const std::string& dialed, const std::string& line) override {
    EXPECT_TRUE(in_tick_);
    Tell("denied " + (dialed.empty() ? "" : dialed + " ") + line);
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
    } else if (name == "SPIN") {  // a slow command, that tells in which tick it ran
      const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(Number(argument));
      while (std::chrono::steady_clock::now() < until) {
      }
      w.Integer(ticks_);
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
    } else if (name == "HOLDCLOSE") {
      held_in_tick_ = true;
      w.Ok();
      return Outcome::kHeldClose;
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
    } else if (name == "RESUMELAST") {  // at the end of this tick, which is the last one
      resume_last_ = Number(argument);
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
    } else if (name == "LISTEN") {
      session.listens = true;
      w.Ok();
    } else if (name == "OUTPUTMAX") {  // what replies may take, from now on
      static_cast<Loop*>(control_)->SetOutputLimits({Number(argument), 0, 0}, {0, 0, 0});
      w.Ok();
    } else if (name == "PUSHMAX") {
      static_cast<Loop*>(control_)->SetOutputLimits({0, 0, 0}, {Number(argument), 0, 0});
      w.Ok();
    } else if (name == "PUSHTO") {
      control_->PushToClient(Number(argument), std::string(Number(a[2]), '+') + "\r\n", false);
      w.Ok();
    } else if (name == "DIAL") {
      control_->Dial(std::string(argument));
      w.Ok();
    } else if (name == "LINK") {
      control_->SendToLink(last_link_, argument);
      w.Ok();
    } else if (name == "REFUSAL") {
      w.Bulk(control_->LinkRefusal(last_link_, argument));
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
  int64_t ticks_ = 0;
  bool in_tick_ = false;
  bool executing_ = false;
  bool held_in_tick_ = false;
  int64_t last_us_ = 0;
  LinkId last_link_ = 0;
  ClientId resume_last_ = 0;
  std::atomic<uint64_t> position_{0};
  std::atomic<uint64_t> durable_{0};

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> told_;
};

class Server {
 public:
  explicit Server(LoopOptions options = {},
                  bool needs_auth = false,
                  std::shared_ptr<const TlsContext> tls_clients = nullptr,
                  std::shared_ptr<const TlsContext> tls_peers = nullptr)
      : toy(needs_auth), loop(Free(std::move(options), tls_clients != nullptr), toy) {
    toy.SetControl(&loop);
    loop.SetTls(std::move(tls_clients), std::move(tls_peers));
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
  static LoopOptions Free(LoopOptions options, bool tls) {
    if (options.port == 7001) options.port = 0;
    if (tls) options.tls_port = 0;
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

inline std::string Text(std::string_view text) {
  return "\"" + std::string(text) + "\"";
}

}  // namespace polyarch::net
