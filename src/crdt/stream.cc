#include "crdt/stream.h"

#include <algorithm>

#include "base/codec.h"
#include "base/planted.h"

namespace polyarch::crdt {

namespace {

constexpr char kEntry = 1;
constexpr char kMeta = 2;
constexpr char kGroup = 3;
// Behind a group's prefix.
constexpr char kHead = 0;
constexpr char kConsumer = 1;
constexpr char kPending = 2;
constexpr char kEnd = 3;

constexpr size_t kIdBytes = 16;
constexpr size_t kGroupPrefixBytes = 3;
constexpr uint8_t kHasLane = 1;

void PutBig(std::string& out, uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
    out.push_back(static_cast<char>(value >> shift));
}

uint64_t ReadBig(std::string_view bytes) {
  uint64_t value = 0;
  for (char c : bytes)
    value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

void PutIdBig(std::string& out, StreamId id) {
  PutBig(out, id.ms, 8);
  PutBig(out, id.seq, 8);
}

StreamId ReadIdBig(std::string_view bytes) {
  return {ReadBig(bytes.substr(0, 8)), ReadBig(bytes.substr(8, 8))};
}

void PutId(std::string& out, StreamId id) {
  base::PutVarint(out, id.ms);
  base::PutVarint(out, id.seq);
}

StreamId ReadId(base::Reader& in) {
  StreamId id;
  id.ms = in.Varint();
  id.seq = in.Varint();
  return id;
}

std::string GroupPart(std::string_view group, char part) {
  std::string name(1, kGroup);
  PutBig(name, group.size(), 2);
  name.append(group);
  name.push_back(part);
  return name;
}

}  // namespace

std::optional<StreamId> After(StreamId id) {
  if (id == kStreamIdMax) return std::nullopt;
  if (++id.seq == 0) ++id.ms;
  return id;
}

std::optional<StreamId> Before(StreamId id) {
  if (id == StreamId{}) return std::nullopt;
  if (id.seq-- == 0) --id.ms;
  return id;
}

std::string ToString(StreamId id) {
  return std::to_string(id.ms) + "-" + std::to_string(id.seq);
}

std::optional<StreamId> NextStreamId(StreamId last,
                                     uint64_t ms,
                                     bool only_ms,
                                     uint64_t incarnation) {
  constexpr uint64_t kLaneMask = (uint64_t{1} << kStreamSeqLaneBits) - 1;
  // The bits of an incarnation are random; all of them shall count.
  const uint64_t lane = PLANTED(kStreamIdShared)
                            ? 0
                            : ((incarnation ^ incarnation >> kStreamSeqLaneBits) & kLaneMask);
  if (ms < last.ms) {
    if (only_ms) return std::nullopt;
    ms = last.ms;
  }
  if (ms > last.ms) return StreamId{ms, lane};
  uint64_t seq = (last.seq & ~kLaneMask) | lane;
  if (seq > last.seq) return StreamId{ms, seq};
  if (!__builtin_add_overflow(seq, kLaneMask + 1, &seq)) return StreamId{ms, seq};
  if (only_ms || ms == UINT64_MAX) return std::nullopt;
  return StreamId{ms + 1, lane};
}

// ---- names

std::string StreamEntryName(StreamId id) {
  std::string name(1, kEntry);
  PutIdBig(name, id);
  return name;
}

std::string StreamGroupName(std::string_view group) {
  return GroupPart(group, kHead);
}
std::string StreamConsumersName(std::string_view group) {
  return GroupPart(group, kConsumer);
}
std::string StreamPendingsName(std::string_view group) {
  return GroupPart(group, kPending);
}
std::string StreamGroupEnd(std::string_view group) {
  return GroupPart(group, kEnd);
}

std::string StreamConsumerName(std::string_view group, std::string_view consumer) {
  return GroupPart(group, kConsumer).append(consumer);
}

std::string StreamPendingName(std::string_view group, StreamId id) {
  std::string name = GroupPart(group, kPending);
  PutIdBig(name, id);
  return name;
}

StreamName ReadStreamName(std::string_view name) {
  using Part = StreamName::Part;
  StreamName read;
  if (IsStreamEntry(name)) {
    read.part = Part::kEntry;
    read.id = ReadIdBig(name.substr(1));
  } else if (name == std::string_view(&kMeta, 1)) {
    read.part = Part::kMeta;
  } else if (name.size() > kGroupPrefixBytes && name[0] == kGroup) {
    const size_t size = ReadBig(name.substr(1, 2));
    if (name.size() <= kGroupPrefixBytes + size) return read;
    read.group = name.substr(kGroupPrefixBytes, size);
    const char part = name[kGroupPrefixBytes + size];
    const std::string_view rest = name.substr(kGroupPrefixBytes + size + 1);
    if (part == kHead && rest.empty()) {
      read.part = Part::kGroup;
    } else if (part == kConsumer) {
      read.part = Part::kConsumer;
      read.consumer = rest;
    } else if (part == kPending && rest.size() == kIdBytes) {
      read.part = Part::kPending;
      read.id = ReadIdBig(rest);
    }
  }
  return read;
}

// ---- values

std::string EncodeStreamEntry(std::span<const std::string_view> fields,
                              std::optional<uint64_t> lane) {
  size_t bytes = 1 + 8 + base::kVarintBytesMax;
  for (std::string_view field : fields)
    bytes += base::kVarintBytesMax + field.size();
  std::string out;
  out.reserve(bytes);
  base::PutFixed8(out, lane ? kHasLane : 0);
  if (lane) base::PutFixed64(out, *lane);
  base::PutVarint(out, fields.size());
  for (std::string_view field : fields)
    base::PutBytes(out, field);
  return out;
}

std::optional<StreamEntry> DecodeStreamEntry(std::string_view value) {
  base::Reader in(value);
  StreamEntry entry;
  const uint8_t flags = in.Fixed8();
  if (flags > kHasLane) return std::nullopt;
  if (flags == kHasLane) entry.lane = in.Fixed64();
  const uint64_t count = in.Varint();
  if (!in.ok() || count > in.remaining()) return std::nullopt;
  entry.fields.reserve(count);
  for (uint64_t i = 0; i < count; ++i)
    entry.fields.push_back(in.Bytes());
  if (!in.ok() || !in.empty()) return std::nullopt;
  return entry;
}

std::optional<uint64_t> StreamLaneOf(std::string_view value) {
  base::Reader in(value);
  if (in.Fixed8() != kHasLane) return std::nullopt;
  const uint64_t lane = in.Fixed64();
  if (!in.ok()) return std::nullopt;
  return lane;
}

std::string WithStreamLane(std::string_view value, uint64_t lane) {
  const bool has_lane = StreamLaneOf(value).has_value();
  if (!has_lane && (value.empty() || value[0] != 0)) return std::string(value);  // foreign
  std::string out(1, static_cast<char>(kHasLane));
  base::PutFixed64(out, lane);
  return out.append(value.substr(has_lane ? 1 + sizeof lane : 1));
}

std::string EncodeStreamMeta(const StreamMeta& meta) {
  std::string out;
  PutId(out, meta.last);
  PutId(out, meta.deleted);
  base::PutVarint(out, meta.removed);
  // It came later: where no group was destroyed the bytes are as before.
  if (meta.group_generation != 0) base::PutVarint(out, meta.group_generation);
  return out;
}

StreamId StreamGroup::DeliveredUpTo(uint64_t lane) const {
  for (const Cursor& cursor : cursors) {
    if (cursor.lane == lane) return std::max(base, cursor.id);
  }
  return base;
}

bool StreamGroup::Delivered(uint64_t lane, StreamId id) const {
  if (id <= DeliveredUpTo(lane)) return true;
  return std::any_of(given.begin(), given.end(), [&](const Given& range) {
    return range.lane == lane && range.from <= id && id <= range.to;
  });
}

StreamId StreamGroup::Reach() const {
  StreamId reach = base;
  for (const Cursor& cursor : cursors)
    reach = std::max(reach, cursor.id);
  for (const Given& range : given)
    reach = std::max(reach, range.to);
  return reach;
}

void StreamGroup::Raise(uint64_t lane, StreamId id) {
  auto place = std::lower_bound(
      cursors.begin(), cursors.end(), lane, [](const Cursor& c, uint64_t l) { return c.lane < l; });
  if (place == cursors.end() || place->lane != lane) place = cursors.insert(place, {lane, {}});
  place->id = std::max(place->id, id);
  if (given.empty()) return;
  // Ranges rise: the cursor goes on over those that it meets.
  std::erase_if(given, [&](const Given& range) {
    if (range.lane != lane || range.from > place->id) return false;
    place->id = std::max(place->id, range.to);
    return true;
  });
}

void StreamGroup::Give(uint64_t lane, StreamId from, StreamId to) {
  // By the cursor alone, whatever the base is: versions unite to the same bytes in any order.
  StreamId delivered;
  for (const Cursor& cursor : cursors) {
    if (cursor.lane == lane) delivered = cursor.id;
  }
  if (to <= delivered || from > to) return;
  if (from <= delivered) return Raise(lane, to);
  std::erase_if(given, [&](const Given& range) {
    if (range.lane != lane || range.from > to || range.to < from) return false;
    from = std::min(from, range.from);
    to = std::max(to, range.to);
    return true;
  });
  const auto place = std::find_if(given.begin(), given.end(), [&](const Given& range) {
    return range.lane > lane || (range.lane == lane && range.from > to);
  });
  given.insert(place, {lane, from, to});
}

void StreamGroup::RenameLanes(uint64_t copy) {
  for (Cursor& cursor : cursors)
    cursor.lane ^= copy;
  std::sort(cursors.begin(), cursors.end(), [](const Cursor& a, const Cursor& b) { return a.lane < b.lane; });
  for (Given& range : given)
    range.lane ^= copy;
  std::sort(given.begin(), given.end(), [](const Given& a, const Given& b) {
    return std::pair(a.lane, a.from) < std::pair(b.lane, b.from);
  });
}

std::string EncodeStreamGroup(const StreamGroup& group) {
  std::string out;
  base::PutVarint(out, group.generation);
  PutId(out, group.base);
  PutId(out, group.last);
  base::PutVarint(out, base::ZigZag(group.entries_read));
  base::PutVarint(out, group.cursors.size());
  for (const StreamGroup::Cursor& cursor : group.cursors) {
    base::PutFixed64(out, cursor.lane);
    PutId(out, cursor.id);
  }
  // They came later: where there are none the bytes are as before.
  if (group.given.empty()) return out;
  base::PutVarint(out, group.given.size());
  for (const StreamGroup::Given& range : group.given) {
    base::PutFixed64(out, range.lane);
    PutId(out, range.from);
    PutId(out, range.to);
  }
  return out;
}

namespace {

std::optional<StreamGroup> DecodeStreamGroup(std::string_view value) {
  base::Reader in(value);
  StreamGroup group;
  group.generation = in.Varint();
  group.base = ReadId(in);
  group.last = ReadId(in);
  group.entries_read = in.SignedVarint();
  for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
    StreamGroup::Cursor cursor;
    cursor.lane = in.Fixed64();
    cursor.id = ReadId(in);
    if (!group.cursors.empty() && group.cursors.back().lane >= cursor.lane) in.Fail();
    group.cursors.push_back(cursor);
  }
  if (in.ok() && !in.empty()) {
    for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
      const uint64_t lane = in.Fixed64();
      const StreamId from = ReadId(in);
      const StreamId to = ReadId(in);
      if (from > to) in.Fail();
      group.Give(lane, from, to);
    }
  }
  if (!in.ok() || !in.empty()) return std::nullopt;
  return group;
}

}  // namespace

std::string EncodeStreamPending(const StreamPending& pending) {
  std::string out;
  base::PutBytes(out, pending.consumer);
  base::PutVarint(out, base::ZigZag(pending.delivered_ms));
  base::PutVarint(out, pending.count);
  return out;
}

std::optional<StreamPending> DecodeStreamPending(std::string_view value) {
  base::Reader in(value);
  StreamPending pending;
  pending.consumer = in.Bytes();
  pending.delivered_ms = std::max<int64_t>(0, in.SignedVarint());  // a peer's may be anything
  pending.count = in.Varint();
  if (!in.ok() || !in.empty()) return std::nullopt;
  return pending;
}

std::string EncodeStreamSeen(int64_t seen_ms) {
  std::string out;
  base::PutVarint(out, base::ZigZag(seen_ms));
  return out;
}

// ---- several versions

StreamMeta UniteStreamMeta(std::span<const std::string_view> values) {
  StreamMeta united;
  for (std::string_view value : values) {
    base::Reader in(value);
    StreamMeta meta;
    meta.last = ReadId(in);
    meta.deleted = ReadId(in);
    meta.removed = in.Varint();
    if (in.ok() && !in.empty()) meta.group_generation = in.Varint();
    if (!in.ok() || !in.empty()) continue;
    united.last = std::max(united.last, meta.last);
    united.deleted = std::max(united.deleted, meta.deleted);
    united.removed = std::max(united.removed, meta.removed);
    united.group_generation = std::max(united.group_generation, meta.group_generation);
  }
  return united;
}

StreamGroup UniteStreamGroups(std::span<const std::string_view> values) {
  StreamGroup united;
  for (std::string_view value : values) {
    std::optional<StreamGroup> group = DecodeStreamGroup(value);
    if (!group || group->generation < united.generation) continue;
    if (group->generation > united.generation || PLANTED(kStreamGroupLast)) {
      united = std::move(*group);
      continue;
    }
    united.base = std::max(united.base, group->base);
    united.last = std::max(united.last, group->last);
    united.entries_read = std::max(united.entries_read, group->entries_read);
    for (const StreamGroup::Cursor& cursor : group->cursors)
      united.Raise(cursor.lane, cursor.id);
    for (const StreamGroup::Given& range : group->given)
      united.Give(range.lane, range.from, range.to);
  }
  return united;
}

int64_t UniteStreamSeen(std::span<const std::string_view> values) {
  int64_t seen = 0;
  for (std::string_view value : values) {
    base::Reader in(value);
    const int64_t ms = in.SignedVarint();
    if (in.ok() && in.empty()) seen = std::max(seen, ms);
  }
  return seen;
}

}  // namespace polyarch::crdt
