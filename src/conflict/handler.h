// Handlers: the user's own merge functions, `function merge(key, versions, field)` in Lua 5.1, in a sandbox
// (docs/design/0020-handlers.md). What one makes of the versions is a view: a function of the handler's
// source, the key and the set of versions, so every leader shows the same and nothing is written.
//
// No input and output, time, randomness, and nothing that is kept from one call to the next: each call
// runs the source in a state of its own. `pairs` and `next` go by sorted keys, `tostring` shows no
// addresses, steps and memory are counted alike everywhere (lua/meter.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace polyarch::conflict {

struct HandlerLimits {
  uint64_t steps_max = 1'000'000;
  size_t memory_bytes_max = 8ULL << 20;
  // Where nobody else decides by the outcome (a trial, a first look at the source): asked now and then, ends the run.
  std::function<bool()> expired = {};
};

inline constexpr size_t kHandlerSourceBytesMax = 64ULL << 10;
inline constexpr size_t kHandlerNameBytesMax = 64;
// Of all values together: a handler that is given more could do little with it within its limits.
inline constexpr size_t kHandledBytesMax = 1ULL << 20;

// What a handler sees of a version.
struct HandlerVersion {
  std::optional<std::string_view> value;  // nothing: a delete
  std::string_view leader;                // where it was written
  uint64_t time_ms = 0;                   // when, by that leader's clock (since 1970)
};

// What it made of them.
struct HandlerView {
  std::optional<std::string> value;  // nothing: it returned nil
  uint64_t steps = 0;                // that it took
};

// Runs `source`, then its function merge with the key, the versions, which come in canonical order, and the
// field, which is nil unless the versions are those of a field of a hash. A number that it returns counts as its text. kInvalid with a line for the user: the source is no Lua or
// defines no merge, an error, a limit, a result of another type.
base::Result<HandlerView> RunHandler(std::string_view source,
                                     std::string_view key,
                                     std::optional<std::string_view> field,
                                     std::span<const HandlerVersion> versions,
                                     const HandlerLimits& limits = {});

// Is the source Lua that defines a function merge? kInvalid with the reason and, if known, the line.
base::Status CheckHandler(std::string_view source, const HandlerLimits& limits = {});

}  // namespace polyarch::conflict
