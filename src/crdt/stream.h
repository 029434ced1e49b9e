// What the elements of a stream are (docs/design/0015-streams.md): their names, which order them,
// what their values say, and what several versions of one come to. Pure functions of bytes; foreign
// ones are refused or read as nothing.
//
//   entry      1 ms seq                      fields and values
//   meta       2                             last id, highest deleted id, how many were removed
//   group      3 size group 0                what the group has delivered
//   consumer   3 size group 1 consumer       when it was seen last
//   pending    3 size group 2 ms seq         to whom, when and how often it was delivered
//
// Numbers are big-endian, so that names stand in the order of ids; `size` (2 bytes) is the group's.
//
// A lane is all that one process added: the incarnation of an entry's origin, or, of an entry that
// was copied with its stream, a number made of the lane that it had there and of the copy. Within a
// lane ids rise in the order in which they come to any leader, so that one id says of a lane how far
// it was delivered. (A copy comes later than what the author of its entries adds meanwhile.)
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crdt/effect.h"

namespace polyarch::crdt {

struct StreamId {
  uint64_t ms = 0;
  uint64_t seq = 0;
  friend auto operator<=>(const StreamId&, const StreamId&) = default;
};
inline constexpr StreamId kStreamIdMax{std::numeric_limits<uint64_t>::max(),
                                       std::numeric_limits<uint64_t>::max()};
// The neighbours; nothing beyond the ends.
std::optional<StreamId> After(StreamId id);
std::optional<StreamId> Before(StreamId id);
// "1526919030474-55".
std::string ToString(StreamId id);

// The low bits of an id's sequence that say which process made it up; above them it counts.
inline constexpr unsigned kStreamSeqLaneBits = 40;
// The least id beyond `last` of a millisecond not before `ms` that process `incarnation` may make
// up: no other process makes up this one. `only_ms`: of this millisecond. Nothing if there is none.
std::optional<StreamId> NextStreamId(StreamId last,
                                     uint64_t ms,
                                     bool only_ms,
                                     uint64_t incarnation);

// ---- names
// Groups' and consumers' names are limited so that an element's name holds them.
inline constexpr size_t kStreamNameBytesMax = 32000;
inline constexpr size_t kStreamEntryNameBytes = 17;
inline constexpr std::string_view kStreamMetaName = "\2";
inline constexpr std::string_view kStreamGroupsName =
    "\3";  // no element: all of groups' stand behind it
std::string StreamEntryName(StreamId id);
std::string StreamGroupName(std::string_view group);
std::string StreamConsumerName(std::string_view group, std::string_view consumer);
std::string StreamPendingName(std::string_view group, StreamId id);
// No elements: all consumers of the group stand between the first two, all that is pending between
// the second and the third, and all of the group between its own name and the third.
std::string StreamConsumersName(std::string_view group);
std::string StreamPendingsName(std::string_view group);
std::string StreamGroupEnd(std::string_view group);

struct StreamName {
  enum class Part : uint8_t { kForeign, kEntry, kMeta, kGroup, kConsumer, kPending };
  Part part = Part::kForeign;
  StreamId id;                // kEntry, kPending
  std::string_view group;     // of the bytes that were read
  std::string_view consumer;  // the same
};
StreamName ReadStreamName(std::string_view name);
inline bool IsStreamEntry(std::string_view name) {
  return name.size() == kStreamEntryNameBytes && name[0] == 1;
}
// May different versions of this element be a conflict? What a stream keeps beside its entries
// unites.
inline bool MayConflict(Type type, std::string_view name) {
  return type != Type::kStream || IsStreamEntry(name);
}

// ---- values
struct StreamEntry {
  std::optional<uint64_t> lane;          // of one that was copied
  std::vector<std::string_view> fields;  // fields and values in turn; of the bytes that were read
};
std::string EncodeStreamEntry(std::span<const std::string_view> fields,
                              std::optional<uint64_t> lane = {});
// Nothing if the bytes are foreign.
std::optional<StreamEntry> DecodeStreamEntry(std::string_view value);
// The lane alone; nothing if it is the origin's.
std::optional<uint64_t> StreamLaneOf(std::string_view value);
// The same entry with this lane written into it.
std::string WithStreamLane(std::string_view value, uint64_t lane);

struct StreamMeta {
  StreamId last;         // the highest id that was ever there, as far as no entry says it
  StreamId deleted;      // the highest one that XDEL took
  uint64_t removed = 0;  // entries ever added, without those that are there
  uint64_t group_generation = 0;  // of a new group: beyond those of all that were destroyed
  friend bool operator==(const StreamMeta&, const StreamMeta&) = default;
};
std::string EncodeStreamMeta(const StreamMeta& meta);

struct StreamGroup {
  struct Cursor {
    uint64_t lane = 0;
    StreamId id;  // all of the lane up to here was delivered
    friend bool operator==(const Cursor&, const Cursor&) = default;
  };
  uint64_t generation = 0;      // rises with SETID, and with CREATE after DESTROY
  StreamId base;                // entries up to here are no matter of the group
  StreamId last;                // what XINFO calls last-delivered-id
  int64_t entries_read = -1;    // -1: not known
  std::vector<Cursor> cursors;  // lanes rising
  // Beyond the lane's cursor: all of the lane from `from` to `to` was delivered, too. Where entries have owners (policy
  // `pop-owner`) what stands between was granted to somebody who has not delivered it yet.
  struct Given {
    uint64_t lane = 0;
    StreamId from;
    StreamId to;
    friend bool operator==(const Given&, const Given&) = default;
  };
  std::vector<Given> given;  // by lane, then rising; apart from each other and from the cursor

  // Up to which id all entries of the lane are delivered.
  StreamId DeliveredUpTo(uint64_t lane) const;
  bool Delivered(uint64_t lane, StreamId id) const;
  // The highest id up to which any entry was delivered: those beyond were not.
  StreamId Reach() const;
  void Raise(uint64_t lane, StreamId id);
  // All of the lane from `from` to `to` is delivered.
  void Give(uint64_t lane, StreamId from, StreamId to);
  // Of a copy of the stream: each lane has become `lane` ^ `copy`.
  void RenameLanes(uint64_t copy);
  friend bool operator==(const StreamGroup&, const StreamGroup&) = default;
};
std::string EncodeStreamGroup(const StreamGroup& group);

struct StreamPending {
  std::string_view consumer;  // of the bytes that were read
  int64_t delivered_ms = 0;
  uint64_t count = 0;
};
std::string EncodeStreamPending(const StreamPending& pending);
std::optional<StreamPending> DecodeStreamPending(std::string_view value);

std::string EncodeStreamSeen(int64_t seen_ms);

// What all versions of an element come to: the greatest of each number; of groups, among those of
// the highest generation. Foreign values count for nothing.
StreamMeta UniteStreamMeta(std::span<const std::string_view> values);
StreamGroup UniteStreamGroups(std::span<const std::string_view> values);
int64_t UniteStreamSeen(std::span<const std::string_view> values);

}  // namespace polyarch::crdt
