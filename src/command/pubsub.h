// Messages between clients: SUBSCRIBE, PUBLISH and what belongs to them.
// docs/design/0017-pub-sub.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "command/context.h"
#include "command/table.h"

namespace polyarch::command {

// What waits until all of a transaction has run: a message, or an event of a key.
struct Publication {
  bool shard = false;
  std::string channel;  // of an event: its name
  std::string message;  // of an event: the key
  uint32_t notice = 0;  // the event's class; 0: a message
  uint8_t db = 0;
};

// What scripts of one command may leave, messages and events together: as much as one change holds.
inline constexpr size_t kPublishedBytesMax = size_t{65} << 20;
// Leaves it in c.publications. What a script leaves beyond kPublishedBytesMax is dropped: the script ends for it
// (ScriptHost::Call).
void PublishLater(Context& c, Publication publication);

// A client with subscriptions that speaks RESP2 may say little else; false: the error was given.
bool AllowSubscriber(Context& c, const Row& row);

}  // namespace polyarch::command
