// Histories for the tests of the checkers: clients of a made-up store of several leaders, on whose state
// one can look, and which can be told to make a mistake. Not a part of any program but polyarch-check-sample.
#pragma once

#include <cstdint>
#include <string>

namespace polyarch::history {

enum class Mistake : uint8_t {
  kNone,
  kNoGate,          // changes are applied without what they had seen
  kForgetToken,     // a client goes to a leader that does not have what the client has seen
  kResurrect,       // a replaced version comes back now and then
  kArrivalWins,     // of concurrent versions the last to arrive is shown
  kLoseIncrement,   // an increment is acknowledged and not made
};

struct MadeOptions {
  uint64_t seed = 1;
  uint64_t operations = 1000;
  uint32_t leaders = 3;
  uint32_t sessions = 6;
  uint32_t keys = 8;         // registers; and as many counters
  unsigned read_percent = 50;
  unsigned delete_percent = 5;
  unsigned increment_percent = 10;
  unsigned unknown_percent = 2;
  unsigned hop_percent = 5;
  unsigned siblings_percent = 20;  // of the registers show all concurrent versions
  bool final_reads = true;
  Mistake mistake = Mistake::kNone;
};

// Leaders that merge as Polyarch does: causal delivery, observed-remove deletes, the highest stamp wins.
std::string MakeCausalHistory(const MadeOptions& options);

// One map that all sessions share; each operation takes effect at one moment between its two times.
std::string MakeLinearizableHistory(const MadeOptions& options);

}  // namespace polyarch::history
