// A cluster in one process for tests: engines over memory logs and stores, a network that delivers at
// the receiver's next tick, time that moves when the test says so. Everything is deterministic.
//
// A machine's disk outlives its processes; Kill ends a process as kill -9 does, PowerCut tears what
// was not synced. Messages may be held on the way, one direction of a pair at a time.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/random.h"
#include "engine/engine.h"
#include "log/memory_log.h"
#include "resp/reply.h"
#include "storage/memory_store.h"

namespace polyarch::engine {

inline constexpr int64_t kTestStartMs = 1'700'000'000'000;

// The process around an engine: no clients, no configuration.
class NullServer : public command::ServerHost {
 public:
  void ForEachClient(const std::function<void(command::Client&)>&) override {}
  bool KillClient(uint64_t) override { return false; }
  size_t ClientOutputBytes(uint64_t) const override { return 0; }
  std::vector<std::pair<std::string, std::string>> ConfigGet(std::string_view) override { return {}; }
  base::Status ConfigSet(std::string_view, std::string_view) override { return base::NotFound("no"); }
  void ConfigResetStat() override {}
  uint64_t Secret() override { return 0x0123456789abcdef; }
  void InfoSection(std::string_view, std::string&) override {}
  void Shutdown() override {}
  void Sleep(double) override {}
  int64_t WallMicros() override { return kTestStartMs * 1000; }
};

class TestCluster;

class TestNode final : public Host {
 public:
  struct Disk {
    std::shared_ptr<log::MemoryLogDisk> log = std::make_shared<log::MemoryLogDisk>();
    std::shared_ptr<storage::MemoryStoreDisk> store = std::make_shared<storage::MemoryStoreDisk>();
    Disk Copy() const {
      Disk copy;
      *copy.log = *log;
      *copy.store = *store;
      return copy;
    }
  };

  TestNode(TestCluster& cluster, Options options) : cluster_(cluster), options_(std::move(options)) {}

  // ---- life
  base::Status Start();
  void Kill();      // what was committed is there afterwards
  void PowerCut();  // and of that, what was not durable may be lost
  bool up() const { return engine_ != nullptr; }
  Disk& disk() { return disk_; }
  void SetDisk(Disk disk) { disk_ = std::move(disk); }

  // ---- time
  void Tick();
  Clocks Now() const;
  void SetClockOffset(int64_t ms) { offset_ms_ = ms; }

  // ---- clients
  // Runs one command in a tick of its own. The reply as text (resp::Value::ToString), also if it is
  // to be held: see last_outcome.
  std::string Ask(std::initializer_list<std::string_view> args) {
    return AskList(std::vector<std::string_view>(args));
  }
  std::string AskList(const std::vector<std::string_view>& args) { return AskAs(client_, args); }
  // The same by another client.
  std::string AskAs(command::Client& client, const std::vector<std::string_view>& args);
  std::vector<uint64_t> resumed;
  std::map<uint64_t, std::string> pushed;  // to subscribers, and to those who track keys
  size_t held_pushes = 0;                  // of them, those that wait for the disk
  Outcome last_outcome = Outcome::kReplied;

  Engine& engine() { return *engine_; }
  log::MemoryLog& log() { return *log_; }
  storage::MemoryStore& store() { return *store_; }
  const std::string& address() const { return options_.advertise; }
  Options& options() { return options_; }
  const std::vector<std::string>& reports() const { return reports_; }
  bool Reported(std::string_view part) const;
  std::string Info(std::string_view name);
  // Syncs and flushes are done at once, after each tick.
  bool auto_sync = true;
  // A larger message closes its link, as in net/links.h.
  size_t message_bytes_max = SIZE_MAX;

  // As if it had come by this link, within the next tick.
  void Feed(LinkId link, std::string message) {
    inbox_.push_back([this, link, bytes = std::move(message)] { engine_->OnLinkMessage(link, bytes); });
  }

  // ---- Host
  void Send(LinkId link, std::string_view message) override;
  size_t Backlog(LinkId) const override { return 0; }
  void CloseLink(LinkId link) override;
  void Dial(const std::string& address) override;
  void Resume(uint64_t client) override { resumed.push_back(client); }
  void Push(uint64_t client, std::string_view bytes, bool held) override {
    pushed[client].append(bytes);
    held_pushes += held ? 1 : 0;
  }
  void Report(int severity, const std::string& line) override;
  uint64_t NewHolder() override { return options_.holder += 1000; }

 private:
  friend class TestCluster;
  void AfterTick();

  TestCluster& cluster_;
  Options options_;
  Disk disk_;
  std::unique_ptr<log::MemoryLog> log_;
  std::unique_ptr<storage::MemoryStore> store_;
  std::unique_ptr<Engine> engine_;
  NullServer server_;
  command::Client client_;
  int64_t offset_ms_ = 0;
  std::vector<std::string> reports_;
  std::deque<std::function<void()>> inbox_;  // to be delivered within the next tick
};

class TestCluster {
 public:
  explicit TestCluster(uint64_t seed = 1) : random_(seed) {}

  // A machine, not started. The first one founds the cluster, the others join it.
  TestNode& Add(const std::string& leader, std::function<void(Options&)> tune = nullptr) {
    Options options;
    options.leader_id = leader;
    options.holder = nodes_.size() + 1;
    options.advertise = "host" + std::to_string(nodes_.size()) + ":1";
    if (!nodes_.empty()) options.join = {nodes_[0]->address()};
    if (tune) tune(options);
    nodes_.push_back(std::make_unique<TestNode>(*this, std::move(options)));
    return *nodes_.back();
  }
  TestNode& operator[](size_t i) { return *nodes_[i]; }
  size_t size() const { return nodes_.size(); }

  // One tick of everybody that is up, 10 ms later.
  void Tick() {
    now_us_ += 10'000;
    for (auto& node : nodes_) {
      if (node->up()) node->Tick();
    }
  }
  void Run(int64_t ms) {
    for (int64_t i = 0; i < ms; i += 10) Tick();
  }
  bool RunUntil(const std::function<bool()>& done, int64_t ms_max = 60'000) {
    for (int64_t i = 0; i < ms_max; i += 10) {
      if (done()) return true;
      Tick();
    }
    return done();
  }
  // All that are up have the same changes and owe nothing.
  bool Settled() {
    std::string vv;
    for (auto& node : nodes_) {
      if (!node->up()) continue;
      if (!node->engine().may_write() || !node->engine().idle()) return false;
      std::string text = node->engine().VersionVectorText();
      if (!vv.empty() && text != vv) return false;
      vv = text;
    }
    return true;
  }
  bool Settle(int64_t ms_max = 60'000) {
    return RunUntil([&] { return Settled(); }, ms_max);
  }
  bool SameDigest() {
    std::set<std::string> digests;
    for (auto& node : nodes_) {
      if (node->up()) digests.insert(node->engine().DigestText());
    }
    return digests.size() <= 1;
  }

  // Messages from one to the other wait; Release delivers them in order.
  void Hold(TestNode& from, TestNode& to) { held_.insert({&from, &to}); }
  void Release(TestNode& from, TestNode& to) { held_.erase({&from, &to}); }
  // Both ways, and links die by their timeout.
  void Cut(TestNode& a, TestNode& b) {
    lost_.insert({&a, &b});
    lost_.insert({&b, &a});
  }
  void Heal(TestNode& a, TestNode& b) {
    lost_.erase({&a, &b});
    lost_.erase({&b, &a});
  }

  // Sees each message that is sent, and may change it. False, and it is lost.
  std::function<bool(TestNode& from, std::string& message)> on_way;

  int64_t now_us() const { return now_us_; }
  base::Random& random() { return random_; }
  uint64_t frames() const { return frames_; }  // frame messages ever sent

 private:
  friend class TestNode;
  struct End {
    TestNode* node = nullptr;
    LinkId other = 0;
  };

  void Deliver() {
    // Messages that may go now move to their receivers' inboxes, in order for each pair.
    std::deque<std::pair<LinkId, std::string>> kept;
    for (auto& [from, message] : flight_) {
      auto end = ends_.find(from);
      if (end == ends_.end()) continue;
      auto other = ends_.find(end->second.other);
      if (other == ends_.end()) continue;
      std::pair<TestNode*, TestNode*> way{end->second.node, other->second.node};
      if (lost_.count(way) != 0) continue;
      if (held_.count(way) != 0) {
        kept.emplace_back(from, std::move(message));
        continue;
      }
      const LinkId to = other->first;
      TestNode* node = other->second.node;
      node->inbox_.push_back([node, to, bytes = std::move(message)] { node->engine().OnLinkMessage(to, bytes); });
    }
    flight_ = std::move(kept);
  }
  void CloseEnd(LinkId link) {
    auto end = ends_.find(link);
    if (end == ends_.end()) return;
    const LinkId other = end->second.other;
    for (LinkId side : {link, other}) {
      auto it = ends_.find(side);
      if (it == ends_.end()) continue;
      TestNode* node = it->second.node;
      if (node->up()) node->inbox_.push_back([node, side] { node->engine().OnLinkDown(side); });
      ends_.erase(it);
    }
  }
  void Connect(TestNode& from, const std::string& address) {
    for (auto& node : nodes_) {
      if (node->address() != address || !node->up() || lost_.count({&from, node.get()}) != 0) continue;
      const LinkId a = next_link_++;
      const LinkId b = next_link_++;
      ends_[a] = {&from, b};
      ends_[b] = {node.get(), a};
      TestNode* near = &from;
      TestNode* far = node.get();
      near->inbox_.push_back([near, a, address] { near->engine().OnLinkUp(a, address, address); });
      far->inbox_.push_back([far, b] { far->engine().OnLinkUp(b, "", "somewhere"); });
      return;
    }
    TestNode* near = &from;
    near->inbox_.push_back([near, address] { near->engine().OnDialFailed(address); });
  }

  base::Random random_;
  int64_t now_us_ = 1'000'000;
  std::vector<std::unique_ptr<TestNode>> nodes_;
  std::map<LinkId, End> ends_;
  LinkId next_link_ = 1;
  std::deque<std::pair<LinkId, std::string>> flight_;  // by the sender's end
  std::set<std::pair<TestNode*, TestNode*>> held_;
  std::set<std::pair<TestNode*, TestNode*>> lost_;
  uint64_t frames_ = 0;
};

// `count` leaders, joined and settled.
class Leaders : public TestCluster {
 public:
  explicit Leaders(size_t count, uint64_t seed = 1, std::function<void(Options&)> tune = nullptr)
      : TestCluster(seed) {
    for (size_t i = 0; i < count; ++i) {
      Add(std::string(1, static_cast<char>('a' + i)), tune);
      EXPECT_TRUE((*this)[i].Start().ok());
      EXPECT_TRUE(RunUntil([&] { return (*this)[i].engine().may_write(); })) << i;
    }
    EXPECT_TRUE(Settle());
  }
};

// ---- TestNode

inline Clocks TestNode::Now() const {
  return {kTestStartMs + cluster_.now_us() / 1000 + offset_ms_, cluster_.now_us()};
}

inline base::Status TestNode::Start() {
  log_ = std::make_unique<log::MemoryLog>(disk_.log, 4 << 10);
  store_ = std::make_unique<storage::MemoryStore>(disk_.store);
  options_.seed = cluster_.random().Next();
  engine_ = std::make_unique<Engine>(options_, *this, *log_, *store_);
  client_.authenticated = true;
  base::Status status = engine_->Start(Now());
  if (!status.ok()) {
    Kill();
    return status;
  }
  AfterTick();
  return status;
}

inline void TestNode::Kill() {
  std::vector<LinkId> mine;
  for (const auto& [id, end] : cluster_.ends_) {
    if (end.node == this) mine.push_back(id);
  }
  engine_.reset();
  log_.reset();
  store_.reset();
  for (LinkId link : mine) cluster_.CloseEnd(link);
  inbox_.clear();
  disk_.store->Crash(cluster_.random());
}

inline void TestNode::PowerCut() {
  Kill();
  disk_.log->Crash(cluster_.random());
}

inline void TestNode::AfterTick() {
  if (!auto_sync) return;
  while (log_->syncing()) log_->CompleteSync();
  while (store_->flushing()) store_->CompleteFlush();
}

inline void TestNode::Tick() {
  cluster_.Deliver();
  engine_->BeginTick(Now());
  std::deque<std::function<void()>> inbox;
  inbox.swap(inbox_);
  for (auto& event : inbox) event();
  engine_->EndTick();
  AfterTick();
}

inline std::string TestNode::AskAs(command::Client& client, const std::vector<std::string_view>& args) {
  resp::Buffer out;
  engine_->BeginTick(Now());
  last_outcome = engine_->Execute(client, args, out, server_);
  engine_->EndTick();
  AfterTick();
  resp::ReplyReader reader;
  reader.Feed(out.view());
  return reader.Next() == resp::ReplyReader::State::kValue ? reader.value().ToString() : "(none)";
}

inline bool TestNode::Reported(std::string_view part) const {
  for (const std::string& line : reports_) {
    if (line.find(part) != std::string::npos) return true;
  }
  return false;
}

inline std::string TestNode::Info(std::string_view name) {
  std::string all;
  engine_->InfoReplication(all);
  engine_->InfoPersistence(all);
  std::string key = std::string(name) + ":";
  size_t at = all.find(key);
  if (at == std::string::npos) return "";
  at += key.size();
  return all.substr(at, all.find('\r', at) - at);
}

inline void TestNode::Send(LinkId link, std::string_view message) {
  if (cluster_.ends_.count(link) == 0) return;
  if (message.size() > message_bytes_max) return cluster_.CloseEnd(link);
  if (message[0] == static_cast<char>(wire::MessageType::kFrame)) ++cluster_.frames_;
  std::string bytes(message);
  if (cluster_.on_way && !cluster_.on_way(*this, bytes)) return;
  cluster_.flight_.emplace_back(link, std::move(bytes));
}
inline void TestNode::CloseLink(LinkId link) { cluster_.CloseEnd(link); }
inline void TestNode::Dial(const std::string& address) { cluster_.Connect(*this, address); }
inline void TestNode::Report(int severity, const std::string& line) {
  reports_.push_back(std::to_string(severity) + " " + line);
}

// A client that has sent a command and takes its reply when the host says so.
class Waiting {
 public:
  Waiting(TestNode& node, uint64_t id, std::vector<std::string_view> args)
      : node_(node), args_(std::move(args)) {
    client_.id = id;
    client_.authenticated = true;
    reply_ = node_.AskAs(client_, args_);
    suspended_ = node_.last_outcome == Outcome::kSuspended;
  }
  ~Waiting() {
    if (node_.up()) node_.engine().ForgetClient(client_.id);
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  // "(none)" as long as it waits.
  std::string Reply() {
    if (!suspended_) return reply_;
    if (std::erase(node_.resumed, client_.id) == 0) return "(none)";
    reply_ = node_.AskAs(client_, args_);
    suspended_ = node_.last_outcome == Outcome::kSuspended;
    held_ = node_.last_outcome == Outcome::kHeld;
    return reply_;
  }
  bool held() const { return held_; }
  command::Client& client() { return client_; }

 private:
  TestNode& node_;
  std::vector<std::string_view> args_;
  command::Client client_;
  std::string reply_;
  bool suspended_ = false;
  bool held_ = false;
};

}  // namespace polyarch::engine
