// Redis's parameters that have no counterpart here: CONFIG SET takes and remembers them, since applications and
// their tests set them, and CONFIG GET tells them. Values are checked and written as Redis does. What they are
// for does not happen, but for EncodingLimits, MemoryLimit and percentiles. A few that a process does have (output limits,
// `timeout`, `tcp-keepalive`) are here to be checked.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace polyarch::command {

// Numbers of Redis's inside that show. Up to which size OBJECT ENCODING calls a collection by the name of Redis's compact form. Counts and bytes.
struct EncodingLimits {
  size_t hash_entries = 512;
  size_t hash_value = 64;
  size_t set_integers = 512;
  size_t sorted_set_entries = 128;
  size_t sorted_set_value = 64;
  size_t stream_node_entries = 100;  // as a node of a stream would hold, for XTRIM with ~
};

// `maxmemory` and what goes with it: when keys are evicted, and which (docs/design/0033-maxmemory.md).
struct MemoryLimit {
  enum class Order : uint8_t {
    kNone,    // noeviction
    kRandom,
    kLru,     // used longest ago
    kLfu,     // used most rarely
    kTtl,     // soonest to expire
  };
  uint64_t bytes = 0;  // 0: there is no limit
  Order order = Order::kNone;
  bool with_expiry = false;  // volatile-*: only keys that have one
  size_t samples = 5;        // looked at for one that goes
  uint32_t lfu_log_factor = 10;
  uint32_t lfu_decay_minutes = 1;
  std::string policy = "noeviction";  // by Redis's name

  bool evicts() const { return order != Order::kNone; }
  friend bool operator==(const MemoryLimit&, const MemoryLimit&) = default;
};

class Remembered {
 public:
  Remembered();

  // All names (some parameters have two) with their values; by name. Those of Redis's developers are hidden.
  std::vector<std::pair<std::string, std::string>> All(bool hidden_too) const;
  bool Has(std::string_view name) const;
  // The rest is asked of parameters that are there.
  const std::string& Of(std::string_view name) const;
  // A line for the client if Redis does not let it be changed.
  base::Status MayChange(std::string_view name) const;
  // The same, or if the value does not fit.
  base::Status Set(std::string_view name, std::string_view value);
  const EncodingLimits& encodings() const { return encodings_; }
  const MemoryLimit& memory_limit() const { return memory_limit_; }
  // Of `client-output-buffer-limit`, as it is written: hard and soft limit in bytes, and seconds. `name`: normal, pubsub.
  std::array<int64_t, 3> OutputLimit(std::string_view name) const;
  // Does memory_limit() depend on it?
  static bool IsOfMemory(std::string_view name);
  // What INFO latencystats shows: each as it is written, and as a number.
  const std::vector<std::pair<std::string, double>>& percentiles() const { return percentiles_; }

 private:
  std::map<std::string_view, std::string> values_;  // by the parameter's first name
  EncodingLimits encodings_;
  MemoryLimit memory_limit_;
  std::vector<std::pair<std::string, double>> percentiles_;
};

}  // namespace polyarch::command
