// One simulated cluster: nodes, network, history, clients and faults, all drawn from one seed and run
// on one thread in simulated time. The safety phase breaks things; the liveness phase takes all faults
// away and demands that everything comes right within a stated time.
//
// A run throws Violation at the first broken promise. Two runs of one seed are equal in every step.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sim/checkers.h"
#include "sim/feeds.h"
#include "sim/draw.h"
#include "sim/history.h"
#include "sim/jobs.h"
#include "sim/stocks.h"
#include "sim/network.h"
#include "sim/node.h"
#include "sim/scheduler.h"
#include "sim/travellers.h"
#include "sim/workload.h"

namespace polyarch::sim {

// Simulated runs begin in 2026.
inline constexpr int64_t kEpochUs = 1'780'000'000LL * kSecond;

// Keeps the last lines of what happened; formats nothing unless it is on.
class Trace {
 public:
  enum class Mode : uint8_t { kOff, kTail, kPrint };
  explicit Trace(Mode mode) : mode_(mode) {}
  bool on() const { return mode_ != Mode::kOff; }
  void Add(std::string line);
  std::string Tail() const;

 private:
  static constexpr size_t kTailLines = 60;
  Mode mode_;
  std::vector<std::string> lines_;
  size_t next_ = 0;
};

class World {
 public:
  World(uint64_t seed, Trace& trace);
  ~World();

  // ---- building
  Node& AddNode(Node::Options options, Disk disk = {});
  std::vector<std::unique_ptr<Node>>& nodes() { return nodes_; }
  Node* Find(std::string_view leader);

  // ---- parts
  Scheduler& scheduler() { return scheduler_; }
  Draw& draw() { return draw_; }
  Network& network() { return network_; }
  History& history() { return history_; }
  Checkers& checkers() { return checkers_; }
  AgreedHistory& agreed() { return agreed_; }
  JobHistory& jobs() { return jobs_; }
  StockHistory& stocks() { return stocks_; }
  Travellers& travellers() { return travellers_; }
  FeedWatch& feeds() { return feeds_; }
  int64_t now_us() const { return scheduler_.now_us(); }
  template <typename Text>
  void Log(Text&& text) {
    if (trace_.on()) Trace_(text());
  }
  uint64_t NextOp() { return next_op_++; }
  std::string leader_name(size_t i) const { return nodes_[i % nodes_.size()]->options().leader; }
  // Nodes that clients talk to now.
  std::vector<Node*> Writers();
  void SetWriters(std::vector<Node*> writers) { writers_ = std::move(writers); }

  // ---- running
  void RunFor(int64_t us);
  // Until `done` or for `us` at most, looking every `step_us`; says whether it was done.
  bool RunUntil(int64_t us, int64_t step_us, const std::function<bool()>& done);

  // ---- what the nodes tell
  void ProcessFailed(Node& node);
  void DiskChanged(Node& node, bool replaced);
  void TickDone(Node& node);
  void Executed(Node& node, Op& op);
  void Released(Node& node, Op& op);
  // What is wrong with it, if it tells of a broken promise.
  std::string Reported(Node& node, int severity, const std::string& line);
  void CheckNode(Node& node) { checkers_.CheckNode(node); }
  const OracleState::Version* Winner(Node& node,
                                     const Key& key,
                                     const Place& place,
                                     const std::vector<OracleState::Version>& versions) {
    return checkers_.Winner(node, key, place, versions);
  }
  // Copies of disks run: only then may a node find its name taken.
  void SetClones() { clones_ = true; }
  bool clones() const { return clones_; }
  bool policies_change() const { return policies_change_; }
  void SetPoliciesChange(bool change) { policies_change_ = change; }
  // How often a node is checked after a tick, one in so many.
  void SetCheckEvery(uint64_t ticks) { check_every_ = ticks; }
  // What becomes of a node whose process ended by a failure.
  std::function<void(Node&)> on_failed;

  // A number that two equal runs share.
  uint64_t Fingerprint();

 private:
  void Trace_(const std::string& line);

  Trace& trace_;
  Draw draw_;
  Scheduler scheduler_;
  Network network_;
  History history_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Node*> writers_;  // empty: all
  Checkers checkers_;
  AgreedHistory agreed_{*this};
  JobHistory jobs_{*this};
  StockHistory stocks_{*this};
  Travellers travellers_{*this};
  FeedWatch feeds_;
  uint64_t next_op_ = 1;
  bool policies_change_ = true;
  bool clones_ = false;
  uint64_t check_every_ = 64;
};

}  // namespace polyarch::sim
