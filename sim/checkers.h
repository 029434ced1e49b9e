// The checkers that look at the whole cluster: what a node holds against the oracle, equal vectors
// against equal digests, acknowledged writes, counters, stability, ledgers. Checks of single frames,
// replies and stamps are where those pass (node.cc, history.cc, workload.cc).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "crdt/key_state.h"
#include "conflict/ledger.h"
#include "sim/history.h"
#include "sim/oracle.h"
#include "sim/tracked_lists.h"
#include "sim/tracked_streams.h"

namespace polyarch::sim {

class Node;
class World;
struct Op;

// Are they all HyperLogLogs, which show as their union?
bool AreSketches(const std::vector<OracleRegister::Version>& versions);

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
  // Every process has a name of its own; every origin without a process is folded, everywhere alike, and no
  // vector lists it.
  void CheckFolded();
  void CheckLedger(Node& node);
  void CheckListed(Node& node, const conflict::LedgerEntry& e, const conflict::LedgerVersion& listed, Dot dot);
  // With one writer there is no conflict.
  void CheckNoConflicts();
  // Equal vectors and equal digests at all nodes that are up.
  bool Converged(std::string* why = nullptr);

  std::string OthersAt(const Node& node, const Key& key);
  const OracleState::Version* Winner(Node& node,
                                     const Key& key,
                                     const Place& place,
                                     const std::vector<OracleState::Version>& versions);
  // What clients of this node have been shown there.
  const Vector& Session(const Node& node) { return sessions_[&node]; }
  uint64_t acknowledged() const { return acknowledged_count_; }

 private:
  void CheckState(Node& node);
  // What the policy shows of a register, as the oracle derives it.
  struct View {
    enum class Kind : uint8_t { kNothing, kText, kConflict } kind = Kind::kNothing;
    std::string text;    // kText
    bool exact = true;   // else the text is a real number, and not compared
  };
  // What a policy `merge` makes of several values; nothing if it is one of them.
  std::optional<std::string> MergeOf(Node& node, const Key& key, const Place& place, const OracleRegister& state);
  // What a handler makes of them.
  std::optional<std::string> HandledOf(Node& node, const Key& key, const Place& place, const OracleRegister& state);
  View ViewOf(Node& node, const Key& key, const Place& place, const OracleRegister& state);
  void CheckView(Node& node, const Key& key, const OracleState& state);
  void CheckOpen(Node& node, const Key& key, const OracleState& state);
  void CheckElements(Node& node,
                     const Key& key,
                     crdt::Type type,
                     const std::map<std::string, View>& expected,
                     const OracleState& state);
  void CheckTracked(Node& node);
  void CheckTrackedSets(Node& node);
  void CheckTrackedSketches(Node& node);
  void NoteTracked(Node& node, const Op& op);
  int64_t ExpiredForAll(Node& node);
  void CheckNoResidue(Node& node, const Key& key, const Place& place, const crdt::Register& state);
  [[noreturn]] void ThrowResidue(Node& node, const Key& key, const Place& place, const crdt::Register& state);
  void CheckStable(Node& node);
  Vector AdmittedWith(Node& node, const std::string& leader, const Vector& durable);
  void CheckSessions(Node& node);

  World& world_;
  std::map<Vector, std::pair<std::string, std::string>> digests_;  // by vector: digest, where
  Vector acknowledged_;     // by origin: the highest sequence that a client was told of
  uint64_t acknowledged_count_ = 0;
  // Increments of tracked counters: who made them.
  std::map<std::pair<Key, Place>, std::vector<std::pair<Dot, int64_t>>> tracked_;
  // Of members of tracked sets: the adds, and each remove with what its leader had applied.
  struct Membership {
    std::vector<Dot> adds;
    std::vector<std::pair<Dot, Vector>> removes;
  };
  std::map<Key, std::map<std::string, Membership>> tracked_sets_;
  TrackedLists tracked_lists_;
  TrackedStreams tracked_streams_;
  // Of tracked HyperLogLogs: which change added what.
  std::map<Key, std::vector<std::pair<Dot, std::vector<std::string>>>> tracked_sketches_;
  // What the clients of a node have seen there and must go on seeing.
  std::map<const Node*, Vector> sessions_;
  struct LinkNumbers {
    uint32_t boots = 0;
    std::map<uint64_t, uint64_t> numbers;  // by nonce
  };
  std::map<const Node*, LinkNumbers> link_numbers_;
};

}  // namespace polyarch::sim
