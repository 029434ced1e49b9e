// One seed: draws a cluster, a workload and faults, runs the safety phase and the liveness phase.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sim/backups.h"
#include "sim/recorded.h"
#include "sim/world.h"

namespace polyarch::sim {

struct SeedResult {
  bool passed = false;
  std::string reason;
  uint64_t fingerprint = 0;
  uint64_t acknowledged = 0;
  uint64_t frames = 0;
  uint64_t events = 0;
  int64_t simulated_us = 0;
  std::string history;  // with `record`: for polyarch-check
  uint64_t agreed_checked = 0;    // histories of keys under policy `sync`
  uint64_t agreed_undecided = 0;  // of them: too large to tell
};

// How many leaders a seed has: drawn from this range; by default what the seed likes, 2 to 7.
struct Size {
  size_t least = 0;
  size_t most = 0;
  bool large() const { return most > 7; }
};

// Never throws. `trace` gets the story if it is on. `record`: with clients whose history is written down and
// judged; then with no fault that takes from a disk what was acknowledged, and no policy but `lww`.
SeedResult RunSeed(uint64_t seed, Trace& trace, Size size = {}, bool record = false);

// "3 leaders, everysec, profile counters, ...": what the seed draws.
class Simulation {
 public:
  Simulation(uint64_t seed, Trace& trace, Size size, bool record);
  void Run();
  World& world() { return world_; }
  // Of the recorded clients; empty if there are none.
  std::string history() const { return recorded_ == nullptr ? "" : recorded_->text(); }

 private:
  // What a seed is mostly about.
  enum class Profile : uint8_t {
    kMixed,
    kDisks,        // backups, restores, clones, empty disks
    kExpiry,       // times to live, clocks
    kCheckpoints,  // slices of one key, crashes
    kConflicts,    // partitions, siblings, resolutions
    kOneWriter,
    kCounters,     // one or two keys: increments, deletes, purging
    kPower,        // everysec and none: tails are lost
    kFlow,         // tiny windows and frames, loss, reordering
    kCalm,         // a good network and few faults: bursts in one instant
    kAway,         // tiny logs: leaders come back through a state
    kCount,
  };
  enum class Fault : uint8_t {
    kPower,
    kKill,
    kStop,
    kPause,
    kPartition,
    kClog,
    kClockJump,
    kFailSync,
    kFailFlush,
    kFailWrite,
    kWipe,
    kBackup,
    kRestore,
    kClone,
    kJoin,
    kLeap,
    kLittleRoom,
    kCount,
  };

  // Neighbouring seeds must not be neighbours in the generator's one sequence.
  static uint64_t Mix(uint64_t seed);

  void DrawCluster();
  void DrawFaults();
  void TameForJobs();
  WorkloadProfile DrawWorkload();
  Node::Options NodeOptions(int place, const std::string& leader);
  std::vector<std::string> Addresses(const Node* except);
  void Join(const std::string& leader);

  void Safety();
  void Liveness();
  void LeadEstrangedTogether();
  // Some nodes dead for good and some pairs cut, everything else well: the others converge.
  static std::string LeadersOf(Node& node);
  void RouteAround();
  // In a settled cluster each frame is sent once to each other node, and nothing else happens.
  void CountTransfers();
  void CountMessages();
  void RetireTheDead();
  std::vector<std::string> DeadMembers();
  void SomebodyWrites();
  // A command of the operator's, whatever the workload's clients wait for.
  void Operate(Node& node, std::vector<std::string> args);
  // Until nobody has anything to write any more, and nothing is left that should have gone.
  void FallSilent();
  // A node's disk with changes that nobody has seen comes back as a copy when all others have folded
  // their origin.
  void ReturnOfADisk();
  void EndDrills();
  int64_t TransfersUs(size_t receivers);
  int64_t PauseForRoomUs() const;
  void Inject();
  void HarassTransfers();
  void Partition();
  void Restart(Node& node, int64_t after_us);
  // For a while: there is so little room on its disk that it must refuse writes soon.
  void TakeRoom(Node& node);
  Node* DrawNode(bool up);
  bool HeardBySomebody(const Node& node);
  size_t IndexOf(const Node& node);
  void RestoreDisk(Node& target, const Disk& disk, int64_t down_us);
  bool IsAnchor(const Node& node) { return &node == world_.nodes()[anchor_].get(); }

  const uint64_t seed_;
  World world_;
  Trace& trace_;
  Draw& draw_;
  Size size_;
  Profile profile_ = Profile::kMixed;
  size_t anchor_ = 0;         // a node whose disk is never taken away
  bool one_writer_ = false;
  bool agreed_ = false;       // some keys are under policy `sync`
  bool jobs_ = false;         // there are queues under policy `pop-owner`
  bool jobs_once_ = false;    // ... and no job may be handed out twice
  bool small_slices_ = false;  // of what is removed and purged on time
  bool ttl_ = false;
  int64_t safety_us_ = 0;
  int64_t op_every_us_ = 0;
  int64_t fault_every_us_ = 0;
  int64_t down_max_us_ = 0;
  bool long_absence_ = false;      // one leader is away for all of the safety phase
  bool back_up_transfers_ = false;  // a leader that takes a state over is backed up meanwhile
  unsigned weights_[static_cast<size_t>(Fault::kCount)] = {};
  int64_t flap_until_us_ = 0;
  bool healing_ = false;
  engine::Options limits_;
  int64_t timer_us_ = 10 * kMs;
  int64_t gather_us_ = 0;
  int64_t sync_max_us_ = 5 * kMs;
  // As POLYARCH BACKUP makes one: not of one moment (sim/backups.cc).
  void BackUpBesideWrites(size_t place, Node& node);
  void CutLater(size_t place, uint64_t process, Backup backup, Node& node);

  uint64_t segment_bytes_ = 4 << 10;
  unsigned harass_percent_ = 0;  // of transfers under way, an operation
  std::vector<std::pair<size_t, Disk>> backups_;
  std::set<uint64_t> backups_under_way_;  // nonces of processes
  std::unique_ptr<Workload> workload_;
  std::unique_ptr<Recorded> recorded_;
  int next_place_ = 0;
  size_t nodes_max_ = 9;  // with those that join and the copies
};

}  // namespace polyarch::sim
