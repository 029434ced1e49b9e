// Keyspace notifications: what happened to which key, as messages on channels
// (notify-keyspace-events). Of a command its events follow from its name and from which keys it has
// written; of a change by another leader from its effects. docs/design/0017-pub-sub.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "command/context.h"
#include "command/table.h"

namespace polyarch::command {

// Classes of events, by the letters of Redis.
enum Notice : uint32_t {
  kNoticeKeyspace = 1 << 0,   // K: on __keyspace@<db>__:<key>
  kNoticeKeyevent = 1 << 1,   // E: on __keyevent@<db>__:<event>
  kNoticeGeneric = 1 << 2,    // g
  kNoticeString = 1 << 3,     // $
  kNoticeList = 1 << 4,       // l
  kNoticeSet = 1 << 5,        // s
  kNoticeHash = 1 << 6,       // h
  kNoticeSortedSet = 1 << 7,  // z
  kNoticeExpired = 1 << 8,    // x
  kNoticeEvicted = 1 << 9,    // e
  kNoticeStream = 1 << 10,    // t
  kNoticeModule = 1 << 11,    // d: there are no modules
  kNoticeNew = 1 << 12,       // n
  kNoticeMissed = 1 << 13,    // m
  kNoticeConflict = 1 << 14,  // C: an open conflict has begun or ended. Not Redis's; not in A
};
inline constexpr uint32_t kNoticeAll = kNoticeGeneric | kNoticeString | kNoticeList | kNoticeSet |
                                       kNoticeHash | kNoticeSortedSet | kNoticeExpired |
                                       kNoticeEvicted | kNoticeStream | kNoticeModule;

// The value of notify-keyspace-events; nothing if it has a letter that means nothing. Without K or
// E nothing is told, and it is 0.
std::optional<uint32_t> ParseNotices(std::string_view letters);
// As Redis shows it.
std::string FormatNotices(uint32_t notices);

struct Event {
  uint32_t notice = 0;  // its class
  std::string_view name;
};
// What another leader's effect is called: as the simplest command that has it.
Event EventOf(crdt::EffectKind kind, uint8_t flags, crdt::Type type, int64_t expire_ms);
// A key of which only the state is known, after a merge.
Event EventOf(const keyspace::Shown& shown);

// Does this command, which writes, look up keys for reading, as Redis sees it? SET and BITFIELD say so themselves.
bool LooksUpForReading(std::string_view command);

// Of a key that its words do not name, but make, and that the command has looked up for reading in vain.
void TellMissedKey(Context& c, std::string_view key);

// Runs the handler and tells what it did.
void RunAndNotify(Context& c, const Row& row);

}  // namespace polyarch::command
