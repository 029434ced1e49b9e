// Built-in merges: what several concurrent values show together, for policies `merge MIN | MAX | UNION |
// CONCAT | JSON` (docs/design/0019-merges.md). Pure functions of the set of versions: neither the order of
// arrival nor a node's numbering of origins means anything to them, so every leader computes the same.
//
// No base is known: what the versions have replaced is not kept. So JSON cannot tell a leaf that was
// changed from one that was not; the later version decides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "conflict/json_token.h"

namespace polyarch::conflict {

enum class MergeFunction : uint8_t { kMin, kMax, kUnion, kConcat, kJson };

// Each read merges anew: what is merged must not take long. Of all values together.
inline constexpr size_t kMergedBytesMax = 4ULL << 20;
inline constexpr size_t kSeparatorBytesMax = 16;

// One of several different values, which come in canonical order of their versions. `age` orders them as
// last-write-wins does: the latest has the highest.
struct MergeValue {
  std::string_view value;
  size_t age = 0;
};

// MIN and MAX: is `a` below `b`? A total order of bytes. Numbers (as INCRBYFLOAT reads them) stand by their
// value, equal ones by their bytes; of texts the order is that of bytes.
bool ValueLess(std::string_view a, std::string_view b);
// Does `a` lose to `b` under kMin or kMax? A text never wins against a number.
bool LosesExtreme(MergeFunction function, std::string_view a, std::string_view b);

// UNION: the parts of all values between separators, each once, sorted; empty ones do not count.
std::string MergeUnion(std::span<const MergeValue> values, std::string_view separator);
// CONCAT: the values one behind the other.
std::string MergeConcat(std::span<const MergeValue> values, std::string_view separator);
// JSON: the keys of all objects; of a key that several have, objects are merged in turn, and anything else
// (arrays, too) is as in the latest of those versions. Keys are sorted, space between tokens is dropped;
// numbers and strings keep their text. Of a key that one object has twice the last one counts. Nothing if
// a value is no object, or nested too deep.
std::optional<std::string> MergeJson(std::span<const MergeValue> values);

}  // namespace polyarch::conflict
