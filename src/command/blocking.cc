#include "command/blocking.h"

#include <cmath>
#include <limits>

#include "base/number.h"
#include "command/support.h"

namespace polyarch::command {

std::optional<int64_t> ReadTimeout(Context& c, std::string_view text) {
  constexpr auto kMax = std::numeric_limits<int64_t>::max();
  std::optional<long double> seconds = base::ParseLongDouble(text);
  // Beyond all numbers, to Redis.
  for (std::string_view infinite : {"inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}) {
    if (EqualsIgnoreCase(text, infinite)) seconds = -1;
  }
  if (!seconds) {
    c.reply.Error("ERR timeout is not a float or out of range");
    return std::nullopt;
  }
  const long double ms = std::ceil(*seconds * 1000);
  // Redis says so, too, of what is beyond a number of 64 bits.
  if (ms < 0 || ms > static_cast<long double>(kMax)) {
    c.reply.Error("ERR timeout is negative");
    return std::nullopt;
  }
  return static_cast<int64_t>(ms);
}

std::optional<int64_t> ReadTimeoutMs(Context& c, std::string_view text) {
  const auto timeout = ReadInteger(c, text, "ERR timeout is not an integer or out of range");
  if (timeout && *timeout < 0) return c.reply.Error("ERR timeout is negative"), std::nullopt;
  return timeout;
}

Arguments KeysToLookAt(const Context& c, const Arguments& keys) {
  return c.ready == nullptr ? keys : Arguments(c.ready, 1);
}

void WaitForElements(
    Context& c, crdt::Type type, Arguments keys, int64_t timeout_ms, bool null_is_bulk) {
  if (!c.may_wait) return null_is_bulk ? c.reply.Null() : c.reply.NullArray();
  c.suspended = true;
  c.wait = {.type = type, .keys = keys, .timeout_ms = timeout_ms};
}

}  // namespace polyarch::command
