// Handlers of the workload, and what each must show, worked out apart from the product: no Lua is
// run for it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/draw.h"

namespace polyarch::sim {

// Any of them; `number` makes it another version than all others.
std::string DrawHandlerSource(Draw& draw, uint64_t number);

// Is it one of them?
bool IsDrawnHandler(const std::string& source);

struct HandledVersion {
  std::optional<std::string> value;  // nothing: a delete
  std::string leader;
  uint64_t time_ms = 0;
};

// What the handler with this source makes of versions in canonical order. Nothing where it leaves
// it to lww.
std::optional<std::string> ExpectedHandler(const std::string& source,
                                           const std::string& key,
                                           const std::optional<std::string>& field,
                                           const std::vector<HandledVersion>& versions);

}  // namespace polyarch::sim
