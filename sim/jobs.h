// Clients of queues (lists, and a stream with a group) under policy `pop-owner`, and what they were told: no job is handed out twice (in seeds whose faults
// allow none), none is lost, and in the end every job can be popped at whichever leader.
//
// They are clients of their own, of a database of their own (kJobsDb), as those of sim/agreed.h.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "resp/reply.h"

namespace polyarch::sim {

class Node;
class World;

inline constexpr uint8_t kJobsDb = 6;
inline constexpr std::string_view kJobsPattern = "job:*";

class JobHistory {
 public:
  explicit JobHistory(World& world) : world_(world) {}

  // `once`: nothing fails that might hand a job out twice. `kept`: no disk goes back or loses what was told.
  void Promise(bool once, bool kept) {
    once_ = once;
    kept_ = kept;
  }
  // One more command, or none.
  void Step();
  void Answered(uint64_t call, const std::vector<resp::Value>& replies);
  // Its process has ended.
  void Lost(uint64_t call);
  // Pops all that is left, at one leader, in a cluster that has healed. Throws what is wrong.
  void Drain();
  uint64_t handed() const { return handed_; }

 private:
  enum class Kind : uint8_t { kPolicy, kPush, kPop };
  struct Call {
    Kind kind = Kind::kPop;
    std::vector<std::string> jobs;  // pushed
    uint64_t most = 0;              // popped
    bool open = true;
  };
  struct Job {
    bool pushed = false;  // for sure
    uint64_t times = 0;   // handed out
  };
  bool Known();
  void Ask(Node& node, Call call, std::vector<std::vector<std::string>> commands);
  void AskPop(Node& node, const std::string& queue);
  void AskRead(Node& node, uint64_t count);
  void Take(const resp::Value& reply);

  static constexpr size_t kQueues = 2;
  static constexpr size_t kCallsMax = 1200;
  static constexpr size_t kOpenMax = 16;
  static constexpr int64_t kDrainUs = 120'000'000;

  World& world_;
  bool once_ = false;
  bool kept_ = false;
  std::deque<Call> calls_;
  size_t open_ = 0;
  bool policy_ = false;
  int64_t known_since_us_ = -1;
  std::map<std::string, Job> jobs_;
  uint64_t handed_ = 0;
  uint64_t maybe_taken_ = 0;  // by pops whose answer was lost
};

}  // namespace polyarch::sim
