// Agreement under a random scheduler, for tests: leaders in one process, in simulated time, drawn
// from one seed. Messages are lost, doubled, delayed and cut off; leaders crash and lose what was
// not synced, restart, and are restored from an old disk; electors change; deletes are collected.
// Beside it the causal streams, reliable but slow, in which decided values travel with ordinary
// writes.
//
// What is checked: each key's history is linearizable; what was said to be without effect has none;
// what was said of writes in doubt is true; what a value depends on is there wherever it is shown
// and, of a decided value, at a majority; in the end every leader shows the same; and the cluster
// comes back: after the faults every write is acknowledged.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "sync/agreement.h"

namespace polyarch::sync {

// One operation of a client, on one key.
struct Call {
  enum class Kind : uint8_t { kSwap, kSetNx, kDelete, kRead };
  enum class End : uint8_t { kOpen, kOk, kNoQuorum, kInDoubt, kCrashed };
  uint64_t id = 0;
  std::string key;
  Kind kind = Kind::kRead;
  std::string argument;
  int64_t begin_us = 0;
  int64_t end_us = 0;
  End end = End::kOpen;
  bool run = false;                  // in a round that may have been proposed
  std::optional<std::string> reply;  // kOk: what was there before (or is read)
  clock::Ballot name;
  std::optional<WriteOutcome> outcome;
  int64_t outcome_us = 0;
};
// What the call makes of a value; the reply.
std::optional<std::string> Do(const Call& call, std::optional<std::string>& value, bool& changed);

// Is there an order of the calls, none before it begins or after it ends, that gives their replies?
// Wing and Gong (1993), with memory. Nothing: given up, too many.
struct Linearizability {
  size_t states_max = 300'000;
  std::optional<bool> Check(const std::vector<const Call*>& calls) const;
};

class World {
 public:
  struct Stats {
    std::map<std::string, uint64_t> counts;
    bool live = false;
  };
  explicit World(uint64_t seed);
  ~World();
  // The first violation; empty: none.
  std::string Run(int64_t span_us = 3'000'000);
  const Stats& stats() const { return stats_; }

 private:
  struct Node;
  struct Entry {
    std::vector<uint64_t> deps;  // by node
    std::optional<std::pair<wire::SyncKey, wire::Tuple>> decided;
    wire::VoteNumbers votes;
  };
  void At(int64_t time_us, std::function<void()> what);
  void Drain(int64_t until_us);
  int64_t Delay();
  void Transmit(Node& from, const std::string& to, std::string message);
  bool Connected(const Node& a, const Node& b) const;
  void Gossip();
  void Deliver(Node& node);
  void Client(Node& node);
  void Issue(Node& node, Call::Kind kind, const std::string& key, int64_t deadline_us);
  void Ended(Call& call);
  void AskOutcome(Call& call);
  void Nemesis();
  bool RollBack(Node& node);
  void Collector();
  bool MayLose(const Node& node) const;
  void Change(Node& node);
  void Fail(const std::string& what);
  std::string CheckHistories();
  void Count(const std::string& what) { ++stats_.counts[what]; }

  base::Random random_;
  int64_t now_us_ = 0;
  int64_t end_us_ = 0;
  uint64_t sequence_ = 0;
  bool faults_ = true;
  unsigned loss_ = 0;
  unsigned doubled_ = 0;
  bool reach_known_ = false;
  int64_t last_loss_us_ = 0;  // when a node crashed last
  Node* rolled_back_ = nullptr;
  struct Event {
    int64_t time_us;
    uint64_t sequence;
    std::function<void()> what;
    bool operator<(const Event& o) const {
      return std::pair(time_us, sequence) > std::pair(o.time_us, o.sequence);
    }
  };
  std::priority_queue<Event> events_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::set<std::pair<size_t, size_t>> cut_;
  std::vector<std::vector<Entry>> streams_;
  std::vector<std::unique_ptr<Call>> calls_;
  std::map<OpId, Call*> by_op_;
  uint64_t next_id_ = 0;
  std::string failure_;
  Stats stats_;
};

}  // namespace polyarch::sync
