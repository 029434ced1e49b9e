// What leaders say to each other of lists and groups of streams under `pop-owner` (docs/design/0029-pop-owner.md): which
// one wants elements.
// Carried between processes by replication, which does not look inside; told apart from sync messages by the first
// byte. docs/FORMATS.md, "owner 1".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crdt/stream.h"

namespace polyarch::wire {

// The first byte. A reader of before it takes it for a version of sync messages that it does not know.
inline constexpr char kOwnerMessage = 'O';
inline constexpr uint8_t kOwnerFormat = 1;

// So many elements are wanted in all, not beside those of an earlier message; 0: none any more.
struct Want {
  std::string leader;  // the one that wants them
  uint8_t db = 0;
  std::string key;
  bool front = true;   // from the first one on, else from the last one on
  uint64_t count = 0;
  std::optional<std::string> group = {};    // of a stream: what is new to it; `front` says nothing
  // Instead: these of its pending entries, to be given to another consumer; `count` says nothing.
  std::vector<crdt::StreamId> pending = {};
  friend bool operator==(const Want&, const Want&) = default;
};

// Of those pending entries at once.
inline constexpr size_t kWantedPendingMax = 100;

std::string Encode(const Want& want);
// False on malformed bytes, and on those of a later version.
bool Decode(std::string_view message, Want& want);

}  // namespace polyarch::wire
