// A node for tests of commands: a real keyspace, and fakes around it. Time stands still until it is
// advanced; writes get dots of the origin "eu"; Remote() is a write by "us" that has seen nothing.
#pragma once

#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "command/monitors.h"
#include "command/table.h"
#include "keyspace/change.h"
#include "resp/reply.h"

namespace polyarch::command {

inline constexpr int64_t kTestStartMs = 1'700'000'000'000;

class FakeSink : public keyspace::ChangeSink {
 public:
  Stamp Open() override {
    ++sequence_;
    ++changes;
    effects_before_ = effects.size();
    bytes_ = 0;
    return {clock::OriginIndex{0}, sequence_, NextHlc()};
  }
  const clock::VersionVector& applied() const override { return applied_; }
  void Add(const crdt::Effect& effect) override {
    effects.push_back(effect.kind);
    bytes_ += effect.key.size() + effect.element.size() + effect.value.size();
  }
  void Close() override { applied_.Raise(clock::OriginIndex{0}, sequence_); }
  void Abandon() override {
    --sequence_;
    effects.resize(effects_before_);
    bytes_ = 0;
  }
  size_t open_bytes() const override { return bytes_; }

  void Applied(clock::Dot dot) { applied_.Raise(dot.origin(), dot.sequence()); }
  clock::Hlc NextHlc() { return {clock::Hlc::FromMs(kTestStartMs).bits + ++stamps_}; }

  std::vector<crdt::EffectKind> effects;  // all that was written
  size_t changes = 0;                     // in so many changes

 private:
  clock::VersionVector applied_;
  uint64_t sequence_ = 0;
  uint64_t stamps_ = 0;
  size_t effects_before_ = 0;
  size_t bytes_ = 0;  // of the open change
};

class FakeCluster : public ClusterHost {
 public:
  FakeCluster(const conflict::PolicyTable& policies,
              const clock::OriginTable& origins,
              FakeSink& sink)
      : policies_(policies), origins_(origins), sink_(sink) {}

  const std::string& leader_id() const override { return leader_id_; }
  std::vector<LeaderInfo> Leaders() override { return leaders; }
  TopologyInfo Topology() override { return topology; }
  base::Result<std::string> ParseTopology(const std::vector<std::string_view>& words) override {
    if (words[0] == "cube") return base::Invalid("unknown topology 'cube'");
    std::string stored;
    for (std::string_view word : words)
      stored += (stored.empty() ? "" : " ") + std::string(word);
    return stored;
  }
  base::Status CutLink(std::string_view leader) override {
    return Link(leader, [](LeaderInfo& info) { info.link_cut = true; });
  }
  base::Status HealLink(std::string_view leader) override {
    return Link(leader, [](LeaderInfo& info) { info.link_cut = false; });
  }
  base::Status DelayLink(std::string_view leader, int64_t delay_ms) override {
    return Link(leader, [delay_ms](LeaderInfo& info) { info.link_delay_ms = delay_ms; });
  }
  base::Result<std::string> RetireRecord(std::string_view leader) override {
    if (leader == leader_id_) return base::Invalid("a leader cannot retire itself");
    for (const LeaderInfo& info : leaders) {
      if (info.id == leader) return std::string("0123456789abcdef");
    }
    return base::NotFound("no leader '" + std::string(leader) + "'; see LEADER LIST");
  }
  const conflict::PolicyTable& policies() const override { return policies_; }
  conflict::Ledger& ledger() override { return ledger_; }
  const clock::OriginTable& origins() const override { return origins_; }
  const clock::VersionVector& applied() const override { return sink_.applied(); }
  conflict::Feeds& feeds() override { return feeds_; }
  std::string DelivererOf(const conflict::FeedGroup& group) override { return group.leaders.front(); }
  int64_t mono_us() const override { return 0; }
  std::string VersionVectorText() override { return applied().ToString(origins_); }
  std::string DigestText() override { return std::string(32, '0'); }
  uint64_t StartCheckpoint() override { return 7; }
  bool CheckpointDone(uint64_t ticket) const override { return ticket == 7 && checkpoint_done; }
  int64_t last_checkpoint_ms() const override { return kTestStartMs; }
  base::Status WriteAllowed() const override { return write_allowed; }
  uint64_t expired_keys() const override { return expired; }
  void InfoReplication(std::string& out) override { out += "role:master\nleader_id:eu\n"; }
  void InfoPersistence(std::string& out) override { out += "loading:0\n"; }
  uint64_t conflicts_detected() const override { return 0; }
  bool Unblock(uint64_t client, bool with_error) override {
    unblocked.emplace_back(client, with_error);
    return client == 77;
  }
  size_t blocked_clients() const override { return 0; }
  void Pause(int64_t millis, bool writes_only) override { paused = {millis, writes_only}; }
  void Unpause() override { paused = {0, false}; }
  std::pair<int64_t, bool> paused;
  Watches& watches() override { return watches_; }
  Scripts& scripts() override { return scripts_; }
  Users& users() override { return users_; }
  void SettleUsers() override { settle_users(); }
  std::function<void()> settle_users;
  Tracking& tracking() override { return tracking_; }
  Monitors& monitors() override { return monitors_; }
  void Notify(uint32_t notice, std::string_view event, uint8_t db, std::string_view key) override {
    events.push_back({notice, std::string(event) + " " + std::to_string(db) + " " + std::string(key)});
  }
  Subscriptions& subscriptions() override { return subscriptions_; }
  size_t Publish(bool shard, std::string_view channel, std::string_view message) override {
    published.emplace_back(channel, message);
    return subscriptions_.Deliver(shard, channel, message, [&](Client& client, std::string_view bytes) {
      pushes[client.id].append(bytes);
    });
  }
  const std::shared_ptr<size_t>& queued_bytes() override { return queued_bytes_; }
  size_t& unread_configuration() override { return unread_configuration_; }
  size_t unread_configuration_ = 0;
  size_t Holders(uint64_t) override { return holders; }
  SessionMark MarkSession() override { return {"token", 1}; }
  bool IsDurable(uint64_t position) override { return position <= durable; }
  SessionLack LackOf(const clock::SessionToken&, bool) override { return lack; }

  size_t holders = 0;
  uint64_t durable = 0;
  uint64_t expired = 0;  // keys
  SessionLack lack;

  std::vector<std::pair<uint64_t, bool>> unblocked;
  std::vector<std::pair<std::string, std::string>> published;  // to all leaders
  std::vector<std::pair<uint32_t, std::string>> events;        // "set 0 key"
  std::map<uint64_t, std::string> pushes;                      // what clients were sent beside replies
  size_t held_pushes = 0;  // of them, those that wait for the disk
  TopologyInfo topology{.topology = "mesh"};
  bool checkpoint_done = false;
  base::Status write_allowed;
  std::vector<LeaderInfo> leaders = {
      {.id = "eu", .incarnation = "0000000000000001", .state = "alive", .self = true},
      {.id = "us", .address = "127.0.0.1:8401", .state = "alive", .next = "us", .hops = 1}};

 private:
  base::Status Link(std::string_view leader, const std::function<void(LeaderInfo&)>& change) {
    for (LeaderInfo& info : leaders) {
      if (info.id != leader) continue;
      if (info.self) return base::Invalid("that is this leader itself");
      change(info);
      return {};
    }
    return base::NotFound("no such leader");
  }

  std::string leader_id_ = "eu";
  const conflict::PolicyTable& policies_;
  const clock::OriginTable& origins_;
  FakeSink& sink_;
  conflict::Ledger ledger_{conflict::Ledger::Limits{}};
  conflict::Feeds feeds_;
  Watches watches_;
  Tracking tracking_;
  Monitors monitors_;
  Scripts scripts_;
  Users users_;
  Subscriptions subscriptions_;
  std::shared_ptr<size_t> queued_bytes_ = std::make_shared<size_t>(0);
};

class FakeServer : public ServerHost {
 public:
  void ForEachClient(const std::function<void(Client&)>& visit) override {
    for (const auto& client : clients)
      visit(*client);
  }
  bool KillClient(uint64_t id) override {
    return std::erase_if(clients, [id](const auto& client) { return client->id == id; }) != 0;
  }
  size_t ClientOutputBytes(uint64_t) const override { return 0; }
  std::vector<std::pair<std::string, std::string>> ConfigGet(std::string_view pattern) override;
  base::Status ConfigSet(std::string_view name, std::string_view value) override;
  base::Status ConfigSettle(bool keep) override {
    sets.push_back(keep ? "settle" : "drop");
    return keep ? settles : base::Status();
  }
  void ConfigResetStat() override { ++resets; }
  uint64_t Secret() override { return 0x0123456789abcdef; }
  void InfoSection(std::string_view section, std::string& out) override {
    out.append(section).append("_number:1\n");
  }
  void Shutdown() override { shut_down = true; }
  void Sleep(double seconds) override { slept_seconds += seconds; }
  int64_t WallMicros() override { return kTestStartMs * 1000 + 123456; }
  base::Result<uint64_t> StartBackup(std::string_view path, uint64_t) override {
    if (!path.starts_with('/')) return base::Invalid("an absolute path");
    return uint64_t{7};
  }
  std::optional<base::Result<BackupSummary>> TakeBackup(uint64_t ticket) override {
    return ticket == 7 ? std::exchange(backup, std::nullopt) : std::nullopt;
  }

  std::vector<std::unique_ptr<Client>> clients;
  std::vector<std::pair<std::string, std::string>> parameters;  // beside those that are remembered
  std::vector<std::string> sets;  // "name=value" of each ConfigSet, and "settle" or "drop"
  base::Status settles;           // what ConfigSettle(true) says
  int resets = 0;
  double slept_seconds = 0;
  bool shut_down = false;
  std::optional<base::Result<BackupSummary>> backup;  // what TakeBackup gives, once
};

class TestNode : private keyspace::Observer {
 public:
  TestNode();

  Client& Connect();
  // As `requirepass`; empty: none.
  void SetPassword(std::string_view password);
  // Runs one request of `client`; what it replied, if anything, in the order of the bytes.
  // What is told to clients that track goes to cluster.pushes; so does, at the end of a tick, what prefixes bring.
  void TellTracking(bool end_of_tick = false);
  std::vector<resp::Value> Run(Client& client, std::span<const std::string_view> args);
  // The same by the first client, one reply as text (see resp::Value::ToString).
  std::string Ask(std::initializer_list<std::string_view> args);
  std::string Ask(Client& client, std::initializer_list<std::string_view> args);

  // "us" writes `value` without having seen anything.
  void Remote(std::string_view key, std::string_view value);
  void RemoteElement(std::string_view key,
                     crdt::Type type,
                     std::string_view name,
                     std::string_view value);
  void SetPolicy(std::string_view pattern, std::string_view policy);
  void Advance(int64_t ms);
  int64_t now_ms() const { return now_ms_; }
  size_t effects() const { return sink.effects.size(); }

  clock::OriginTable origins;
  conflict::PolicyTable policies;
  keyspace::Keyspace keys;
  FakeSink sink;
  FakeCluster cluster;
  FakeServer server;
  // Of what waits for elements: without it every wait ends at once, as if its time were over.
  bool may_wait = false;
  bool notify = false;
  bool last_suspended = false;
  bool last_close = false;
  bool last_pushed = false;  // pushes came, one or more

 private:
  void ApplyRemote(const crdt::Effect& effect);
  void SettleUsers();
  void KeyModified(const keyspace::KeyRef& ref, keyspace::Cause cause) override {
    cluster.watches().NoteModified(ref, cause);
    cluster.tracking().NoteModified(ref, cause, running_);
    if (ref.db == crdt::kReservedDatabase && Scripts::Owns(ref.key)) cluster.scripts().NoteChanged(ref.key);
    if (ref.db == crdt::kReservedDatabase && Users::Owns(ref.key)) cluster.users().NoteChanged(ref.key);
  }
  void VersionsMet(uint8_t,
                   std::string_view,
                   crdt::Type,
                   std::string_view,
                   clock::Dot) override {}
  void Merged(uint8_t, std::string_view, const crdt::KeyState&, const crdt::KeyState&) override {}

  int64_t now_ms_ = kTestStartMs;
  uint64_t next_client_id_ = 1;
  uint64_t running_ = 0;  // the client whose command runs
  uint64_t remote_sequence_ = 0;
  clock::VersionVector nothing_seen_;
};

}  // namespace polyarch::command
