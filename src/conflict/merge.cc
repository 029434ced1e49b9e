#include "conflict/merge.h"

#include <algorithm>
#include <set>

#include "base/number.h"

namespace polyarch::conflict {

namespace {

// Integers of 64 bits are exact in it.
std::optional<long double> AsNumber(std::string_view value) {
  return base::ParseLongDouble(value, /*allow_inf=*/true);
}

}  // namespace

bool ValueLess(std::string_view a, std::string_view b) {
  const auto number_a = AsNumber(a);
  const auto number_b = AsNumber(b);
  if (number_a.has_value() != number_b.has_value()) return number_a.has_value();
  if (number_a && *number_a != *number_b) return *number_a < *number_b;
  return a < b;
}

bool LosesExtreme(MergeFunction function, std::string_view a, std::string_view b) {
  const bool is_number = AsNumber(a).has_value();
  if (is_number != AsNumber(b).has_value()) return !is_number;
  return function == MergeFunction::kMax ? ValueLess(a, b) : ValueLess(b, a);
}

std::string MergeUnion(std::span<const MergeValue> values, std::string_view separator) {
  std::set<std::string_view> parts;
  for (const MergeValue& v : values) {
    std::string_view rest = v.value;
    while (!rest.empty()) {
      const size_t end = std::min(rest.find(separator), rest.size());
      if (end != 0) parts.insert(rest.substr(0, end));
      rest.remove_prefix(std::min(end + separator.size(), rest.size()));
    }
  }
  std::string merged;
  for (std::string_view part : parts) {
    if (!merged.empty()) merged += separator;
    merged += part;
  }
  return merged;
}

std::string MergeConcat(std::span<const MergeValue> values, std::string_view separator) {
  std::string merged;
  for (size_t i = 0; i < values.size(); ++i) {
    if (i != 0) merged += separator;
    merged += values[i].value;
  }
  return merged;
}

}  // namespace polyarch::conflict
