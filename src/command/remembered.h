// Redis's parameters that have no counterpart here: CONFIG SET takes and remembers them, since applications and
// their tests set them, and CONFIG GET tells them. Values are checked and written as Redis does. What they are
// for does not happen, but for EncodingLimits and percentiles. A few that a process does have are here to be checked.
#pragma once

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
  // What INFO latencystats shows: each as it is written, and as a number.
  const std::vector<std::pair<std::string, double>>& percentiles() const { return percentiles_; }

 private:
  std::map<std::string_view, std::string> values_;  // by the parameter's first name
  EncodingLimits encodings_;
  std::vector<std::pair<std::string, double>> percentiles_;
};

}  // namespace polyarch::command
