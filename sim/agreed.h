// Clients of keys under policy `sync`, and what they were told: of each key one history, which must
// be linearizable. What was said to be without effect must have none; what SYNC OUTCOME says of a
// write in doubt must be true.
//
// They are clients of their own, of a database of their own (kAgreedDb): what other clients do and
// what is expected of it stays as it is.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "command/client.h"
#include "log/log.h"
#include "resp/reply.h"

namespace polyarch::sim {

class Node;
class World;

inline constexpr uint8_t kAgreedDb = 5;
inline constexpr std::string_view kAgreedPattern = "y:*";

// Commands of one client on its way through a process; only the last one may have to wait.
struct AgreedOp {
  uint64_t call = 0;
  std::string key;
  std::unique_ptr<command::Client> client;
  std::vector<std::vector<std::string>> commands;
  std::vector<resp::Value> replies;
  enum class Of : uint8_t { kAgreed, kJobs, kStocks } of = Of::kAgreed;  // which history is told of it
  bool held = false;
  log::Position hold = 0;  // they leave when so much is durable
};

struct AgreedCall {
  enum class Kind : uint8_t { kSwap, kSetNx, kTake, kRead, kCompareAndSet, kOutcome, kPolicy };
  enum class End : uint8_t { kOpen, kTold, kWithout, kInDoubt, kUnknown };
  Kind kind = Kind::kRead;
  End end = End::kOpen;
  std::string key;
  std::string argument;                 // what it writes
  std::optional<std::string> expected;  // kCompareAndSet: what it had seen
  std::optional<std::string>
      reply;  // kTold: what was there; of kSetNx and kCompareAndSet only `done`
  bool done = false;
  int64_t begin_us = 0;
  int64_t end_us = INT64_MAX;
  std::string name;            // of a write in doubt
  std::optional<int> outcome;  // 1 it took effect, 0 it never will
  int64_t outcome_us = INT64_MAX;
  uint64_t asks = 0;  // kOutcome: about this call
};

// Is there an order of the calls, none before it begins or after it ends, in which each does what
// it was told? Wing and Gong (1993), with memory. Nothing: too many to tell.
std::optional<bool> IsLinearizable(const std::vector<const AgreedCall*>& calls,
                                   size_t states_max = 200'000);

class AgreedHistory {
 public:
  explicit AgreedHistory(World& world) : world_(world) {}

  // One more command, or none.
  void Step();
  void Answered(uint64_t call, const std::vector<resp::Value>& replies);
  // Its process has ended.
  void Lost(uint64_t call);
  // Throws what is wrong.
  void Check();
  // Histories of a key that Check has looked at, and those of them that were too large for it to tell.
  uint64_t checked() const { return checked_; }
  uint64_t undecided() const { return undecided_; }
  struct Totals {
    uint64_t told = 0;
    uint64_t without = 0;
    uint64_t in_doubt = 0;
    uint64_t settled = 0;
    uint64_t unknown = 0;
  };
  Totals totals() const;

 private:
  void Ask(Node& node, AgreedCall call, std::vector<std::vector<std::string>> commands);

  static constexpr size_t kKeys = 3;
  static constexpr size_t kCallsMax = 160;  // a key
  static constexpr size_t kOpenMax = 12;

  World& world_;
  std::deque<AgreedCall> calls_;
  std::map<std::string, size_t> of_key_;
  size_t open_ = 0;
  bool policy_ = false;
  uint64_t checked_ = 0;
  uint64_t undecided_ = 0;
};

}  // namespace polyarch::sim
