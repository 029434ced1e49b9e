// What the tests of one replica share: a replica between hand-made peers, with its log and clock in the
// test's hands.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "replication/replica.h"
#include "replication/replica_test_util.h"

namespace polyarch::replication {

inline constexpr uint64_t kCluster = 7;
inline constexpr int64_t kWallMs = 1'700'000'000'000;
inline constexpr size_t kWindow = 10'000;

class ReplicaTest : public ::testing::Test {
 protected:
  ReplicaTest() {
    replica.SetClusterId(kCluster);
    replica.Start(now_us, kWallMs);
  }

  static Replica::Options MakeOptions() {
    Replica::Options options;
    options.leader = "me";
    options.advertise = "me:1";
    options.window_bytes = kWindow;
    return options;
  }

  // ---- driving
  void Tick(int64_t ms = 10) {
    now_us += ms * 1000;
    replica.SetTime(now_us, kWallMs + now_us / 1000);
    replica.ApplyReady();
    ASSERT_TRUE(log.Commit().ok());
    log.RequestSync();
    while (log.syncing()) log.CompleteSync();
    replica.LogDurable(log.durable());
    replica.Tick();
    // What is closed goes down in the next tick.
    for (LinkId link : std::exchange(host.closed, {})) {
      ++closes[link];
      replica.OnLinkDown(link);
    }
  }
  void Run(int64_t ms) {
    for (int64_t i = 0; i < ms; i += 10) Tick();
  }
  wire::Hello HelloOf(const std::string& leader, uint64_t nonce) {
    wire::Hello hello;
    hello.cluster = kCluster;
    hello.process = {leader, nonce, kWallMs, leader + ":1", nonce * 10};
    hello.heard = replica.nonce();
    return hello;
  }
  // A link that is up and greeted.
  LinkId Connect(const std::string& leader, uint64_t nonce) {
    const LinkId link = next_link++;
    replica.OnLinkUp(link, "", "somewhere");
    Message(link, wire::Encode(HelloOf(leader, nonce)));
    return link;
  }
  void Message(LinkId link, std::string_view bytes) { replica.OnLinkMessage(link, bytes); }
  void Frame(LinkId link, std::string_view bytes) { Message(link, FrameMessage(bytes)); }
  void Have(LinkId link, const clock::Origin& origin, uint64_t applied) {
    wire::Have have;
    have.wall_ms = kWallMs;
    have.entries = {{origin, applied, applied}};
    Message(link, wire::Encode(have));
  }
  // ---- looking
  uint64_t Applied(const clock::Origin& origin) const {
    auto index = origins.Find(origin);
    return index ? replica.applied().Get(*index) : 0;
  }
  // The newest subscription for `origin` that was sent on `link`.
  std::optional<wire::Subscribe> Subscribed(LinkId link, const clock::Origin& origin) {
    std::optional<wire::Subscribe> found;
    for (const std::string& message : host.sent[link]) {
      wire::Subscribe m;
      if (message[0] == static_cast<char>(wire::MessageType::kSubscribe) &&
          wire::Decode(std::string_view(message).substr(1), m) && m.origin == origin) {
        found = m;
      }
    }
    return found;
  }
  std::vector<std::string> SentFrames(LinkId link) {
    std::vector<std::string> out;
    for (const std::string& message : host.sent[link]) {
      if (message[0] == static_cast<char>(wire::MessageType::kFrame)) out.push_back(message.substr(1));
    }
    return out;
  }
  // This node writes one change.
  void Write() {
    wire::Frame frame;
    clock::VersionVector deps;
    replica.PrepareDeps(frame, deps);
    frame.count = 1;
    const std::string body = Author::Body(1, 1);
    frame.body = body;
    frame.base = clock::Hlc::FromMs(kWallMs);
    std::string bytes;
    wire::AppendFrame(bytes, frame, replica.Row(*replica.own()).chain);
    const log::Position start = log.end();
    const log::Position end = log.Append(log::RecordType::kFrame, bytes);
    replica.NoteOwn(frame, bytes, deps, start, end);
    host.NoteOwn(*replica.own(), frame.last());
  }

  int64_t now_us = 1'000'000;
  clock::OriginTable origins;
  log::MemoryLog log{std::make_shared<log::MemoryLogDisk>()};
  CheckingHost host{log, origins};
  Replica replica{MakeOptions(), host, log, origins, 42};
  LinkId next_link = 1;
  std::map<LinkId, int> closes;
};

inline const clock::Origin kA{"a", 10};
inline const clock::Origin kB{"b", 20};
inline const clock::Origin kC{"c", 30};

class GraphTest : public ReplicaTest {
 protected:
  // As from a process that says so itself; nonces as in Connect, incarnations ten times that.
  void Links(LinkId link, const std::string& leader, uint64_t nonce, std::set<uint64_t> neighbours,
             uint64_t rival = 0) {
    wire::LinkStates states;
    states.entries.push_back({{leader, nonce, kWallMs - 1, leader + ":1", nonce * 10, rival}, ++number, {}});
    for (uint64_t n : neighbours) states.entries[0].neighbours.push_back(n);
    Message(link, wire::Encode(states));
  }
  // Time passes; the peers' heartbeats come.
  void Keep(int64_t ms) {
    for (int64_t i = 0; i < ms; i += 100) {
      for (const auto& [link, pulse] : alive) Message(link, wire::Encode(pulse));
      Run(100);
    }
  }
  LinkId Peer(const std::string& leader, uint64_t nonce) {
    const LinkId link = Connect(leader, nonce);
    alive[link] = {};
    return link;
  }
  uint64_t me() const { return replica.nonce(); }
  std::vector<uint64_t> Listed() const { return replica.graph().own().neighbours; }
  std::vector<wire::Pulse> Pulses(LinkId link) {
    std::vector<wire::Pulse> out;
    for (const std::string& message : host.sent[link]) {
      wire::Pulse m;
      if (message[0] == static_cast<char>(wire::MessageType::kPulse) &&
          wire::Decode(std::string_view(message).substr(1), m)) {
        out.push_back(m);
      }
    }
    return out;
  }
  void SetMembers(const std::vector<std::string>& names, const std::string& topology) {
    std::map<std::string, Member> members;
    for (const std::string& name : names) members[name] = {name, name + ":1", {}};
    replica.SetMembers(members);
    replica.SetTopology(*Topology::ParseStored(topology));
  }

  std::map<LinkId, wire::Pulse> alive;
  uint64_t number = 0;
};

}  // namespace polyarch::replication
