// What `merge ...` must show, worked out apart from the product: by another way, and only for values of the
// kinds that the workload writes (its JSON has neither spaces nor escapes).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "conflict/policy.h"
#include "sim/oracle.h"

namespace polyarch::sim {

// MIN and MAX: of two different values, does `a` lose to `b`?
bool LosesTo(conflict::MergeFunction function, const std::string& a, const std::string& b);

// UNION, CONCAT, JSON of different values in canonical order. Nothing
// where the policy leaves it to the latest.
// `age` rises with the stamp.
struct MergedValue {
  std::string value;
  size_t age = 0;
};
std::optional<std::string> ExpectedMerge(const conflict::Policy& policy, std::vector<MergedValue> values);

}  // namespace polyarch::sim
