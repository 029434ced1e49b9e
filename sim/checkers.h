// The checkers that look at the whole cluster: what a node holds against the oracle, equal vectors
// against equal digests, acknowledged writes, counters, stability, ledgers. Checks of single frames,
// replies and stamps are where those pass (node.cc, history.cc, workload.cc).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sim/history.h"
#include "sim/oracle.h"

namespace polyarch::sim {

class Node;
class World;
struct Op;

class Checkers {
 public:
  explicit Checkers(World& world) : world_(world) {}

  // ---- as things happen
  void Executed(Node& node, Op& op);
  void Released(Node& node, Op& op);
  // A process ended and its disk lost what it may lose, or the disk was replaced: what nobody holds any
  // more is excused then.
  void DiskChanged(Node& node, bool replaced);

  // ---- at any moment
  void CheckNode(Node& node);
  // What a process knows of another one never becomes older. After each tick: an old word is soon
  // replaced again.
  void CheckLinkStates(Node& node);
  void CheckAll();

  // ---- at the end, when all are equal
  void CheckConverged();
  void CheckResidue();
  // Nobody who is here counts as away.
  void CheckPresent();
  // Every origin without a process is folded, everywhere alike, and no vector lists it.
  void CheckFolded();
  void CheckLedger(Node& node);
  // With one writer there is no conflict.
  void CheckNoConflicts();
  // Equal vectors and equal digests at all nodes that are up.
  bool Converged(std::string* why = nullptr);

  const OracleState::Version* Winner(Node& node,
                                     const Key& key,
                                     const std::vector<OracleState::Version>& versions);
  uint64_t acknowledged() const { return acknowledged_count_; }

 private:
  void CheckState(Node& node);
  void CheckView(Node& node, const Key& key, const OracleState& state);
  void CheckTracked(Node& node);
  void CheckStable(Node& node);
  void CheckSessions(Node& node);

  World& world_;
  std::map<Vector, std::pair<std::string, std::string>> digests_;  // by vector: digest, where
  Vector acknowledged_;     // by origin: the highest sequence that a client was told of
  uint64_t acknowledged_count_ = 0;
  // Increments of tracked counters: who made them.
  std::map<Key, std::vector<std::pair<Dot, int64_t>>> tracked_;
  // What the clients of a node have seen there and must go on seeing.
  std::map<const Node*, Vector> sessions_;
  struct LinkNumbers {
    uint32_t boots = 0;
    std::map<uint64_t, uint64_t> numbers;  // by nonce
  };
  std::map<const Node*, LinkNumbers> link_numbers_;
};

}  // namespace polyarch::sim
