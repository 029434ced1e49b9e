// Commands that wait for elements: their timeouts, and what they leave behind when they wait.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "command/context.h"
#include "command/table.h"

namespace polyarch::command {

// A timeout in seconds, as Redis reads it, in ms; 0 is "for ever". Nothing if the error has been
// given.
std::optional<int64_t> ReadTimeout(Context& c, std::string_view text);
// The same of one in milliseconds (XREAD BLOCK, WAIT).
std::optional<int64_t> ReadTimeoutMs(Context& c, std::string_view text);

// The keys that a blocking command looks at: all of `keys`; if it is run for a client that waited,
// only the one that has got elements.
Arguments KeysToLookAt(const Context& c, const Arguments& keys);

// There is nothing yet: the client waits until a key of this type has elements. Where nobody may
// wait the reply is a null: an array, as after a timeout, or a bulk.
void WaitForElements(
    Context& c, crdt::Type type, Arguments keys, int64_t timeout_ms, bool null_is_bulk);

}  // namespace polyarch::command
