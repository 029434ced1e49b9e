#include "keyspace/stream.h"

#include <algorithm>
#include <map>

#include "base/planted.h"

namespace polyarch::keyspace {

using crdt::StreamId;
using crdt::StreamName;

namespace {

std::vector<std::string_view> Views(const std::vector<std::string>& values) {
  return {values.begin(), values.end()};
}

std::vector<std::string> ValuesOf(const ElementView& element) {
  if (element.form() == Form::kValue) return {std::string(element.value())};
  std::vector<std::string> values;
  for (const crdt::Version& version : element.State().versions)
    values.push_back(version.value);
  return values;
}

}  // namespace

size_t Stream::RankOf(std::string_view name) const {
  return exists() ? collection_.elements->Rank(0, name, collection_.viewer()) : 0;
}

void Stream::WalkNames(size_t rank,
                       bool reverse,
                       base::FunctionRef<bool(const ElementView&)> visit) const {
  if (!exists()) return;
  collection_.elements->Walk(
      rank,
      reverse,
      [&](const RankedElement& item) { return visit(item.element); },
      collection_.viewer());
}

std::vector<std::string> Stream::Values(std::string_view name) const {
  const std::optional<ElementView> element = collection_.Find(name);
  return element ? ValuesOf(*element) : std::vector<std::string>();
}

// ---- entries

size_t Stream::length() const {
  if (!exists()) return 0;
  const StreamIndex* index = collection_.elements->stream_index();
  return index != nullptr ? index->length() : RankOf(crdt::kStreamMetaName);
}

std::optional<StreamId> Stream::At(size_t place) const {
  if (!exists()) return std::nullopt;
  const auto element = collection_.elements->At(place, collection_.viewer());
  if (!element) return std::nullopt;
  const StreamName name = crdt::ReadStreamName(element->key());
  if (name.part != StreamName::Part::kEntry) return std::nullopt;
  return name.id;
}

std::optional<StreamId> Stream::top() const {
  const size_t entries = length();
  if (entries == 0) return std::nullopt;
  StreamIndex* index = collection_.elements->stream_index();
  if (index != nullptr && index->top()) return index->top();
  const std::optional<StreamId> last = At(entries - 1);
  if (index != nullptr && last) index->set_top(*last);
  return last;
}

bool Stream::Contains(StreamId id) const {
  return collection_.Contains(crdt::StreamEntryName(id));
}

std::optional<crdt::StreamEntry> Stream::Find(StreamId id) const {
  const ShownValue shown = collection_.Get(crdt::StreamEntryName(id));
  if (shown.kind != ShownValue::Kind::kValue) return std::nullopt;
  return crdt::DecodeStreamEntry(shown.value).value_or(crdt::StreamEntry{});
}

void Stream::Walk(StreamId from, StreamId to, bool reverse, Visit visit) const {
  if (!exists() || from > to) return;
  size_t rank = 0;
  if (reverse) {
    const std::optional<StreamId> beyond = crdt::After(to);
    const size_t end = beyond ? RankOf(crdt::StreamEntryName(*beyond)) : length();
    if (end == 0) return;
    rank = end - 1;
  } else if (from != StreamId{}) {
    rank = RankOf(crdt::StreamEntryName(from));
  }
  WalkNames(rank, reverse, [&](const ElementView& element) {
    const StreamName name = crdt::ReadStreamName(element.key());
    if (name.part == StreamName::Part::kForeign) return true;
    if (name.part != StreamName::Part::kEntry || name.id < from || name.id > to) return false;
    const auto entry = crdt::DecodeStreamEntry(collection_.Show(element).value);
    return visit(name.id, entry.value_or(crdt::StreamEntry{}));
  });
}

size_t Stream::CountBefore(StreamId id) const {
  return RankOf(crdt::StreamEntryName(id));
}

void Stream::WalkItems(StreamId after, base::FunctionRef<bool(const Item&)> visit) const {
  const std::optional<StreamId> from = crdt::After(after);
  if (!from) return;
  const Viewer viewer = collection_.viewer();
  // The least id is 0-1 to commands, but an entry named 0-0 would be one.
  const size_t rank = after == StreamId{} ? 0 : RankOf(crdt::StreamEntryName(*from));
  WalkNames(rank, false, [&](const ElementView& element) {
    const StreamName name = crdt::ReadStreamName(element.key());
    if (name.part == StreamName::Part::kForeign) return true;
    return name.part == StreamName::Part::kEntry &&
           visit({name.id, Elements::LaneOf(element, viewer)});
  });
}

// ---- what it remembers

crdt::StreamMeta Stream::meta() const {
  return crdt::UniteStreamMeta(Views(Values(crdt::kStreamMetaName)));
}

StreamId Stream::LastId(const crdt::StreamMeta& meta) const {
  return std::max(meta.last, top().value_or(StreamId{}));
}

// ---- groups

std::optional<crdt::StreamGroup> Stream::FindGroup(std::string_view group) const {
  const std::vector<std::string> values = Values(crdt::StreamGroupName(group));
  if (values.empty()) return std::nullopt;
  return crdt::UniteStreamGroups(Views(values));
}

std::vector<std::string> Stream::Groups() const {
  std::vector<std::string> groups;
  size_t rank = RankOf(crdt::kStreamGroupsName);
  const size_t size = collection_.size();
  while (rank < size) {
    const auto element = collection_.elements->At(rank, collection_.viewer());
    const StreamName name = crdt::ReadStreamName(element->key());
    if (name.part == StreamName::Part::kForeign) {
      ++rank;
      continue;
    }
    groups.emplace_back(name.group);
    if (name.part != StreamName::Part::kGroup) groups.pop_back();  // of a group that is gone
    rank = RankOf(crdt::StreamGroupEnd(std::string(name.group)));
  }
  std::sort(groups.begin(), groups.end());
  return groups;
}

std::optional<int64_t> Stream::FindConsumer(std::string_view group,
                                            std::string_view consumer) const {
  const std::vector<std::string> values = Values(crdt::StreamConsumerName(group, consumer));
  if (values.empty()) return std::nullopt;
  return crdt::UniteStreamSeen(Views(values));
}

std::vector<Stream::Consumer> Stream::Consumers(std::string_view group) const {
  std::map<std::string, Consumer, std::less<>> consumers;
  WalkNames(RankOf(crdt::StreamConsumersName(group)), false, [&](const ElementView& element) {
    const StreamName name = crdt::ReadStreamName(element.key());
    if (name.part != StreamName::Part::kConsumer || name.group != group) return false;
    consumers[std::string(name.consumer)].seen_ms = crdt::UniteStreamSeen(Views(ValuesOf(element)));
    return true;
  });
  if (const StreamIndex* index = exists() ? collection_.elements->stream_index() : nullptr) {
    for (const auto& [name, pending] : index->PendingOf(group)) {
      Consumer& consumer = consumers[name];
      consumer.pending = pending.count;
      consumer.seen_ms = std::max(consumer.seen_ms, pending.delivered_ms);
    }
  } else {
    WalkPending(group, {}, [&](const PendingEntry& pending) {
      Consumer& consumer = consumers[pending.consumer];
      ++consumer.pending;
      consumer.seen_ms = std::max(consumer.seen_ms, pending.delivered_ms);
      return true;
    });
  }
  std::vector<Consumer> sorted;
  for (auto& [name, consumer] : consumers) {
    consumer.name = name;
    sorted.push_back(std::move(consumer));
  }
  return sorted;
}

std::optional<PendingEntry> Stream::FindPending(std::string_view group, StreamId id) const {
  const ShownValue shown = collection_.Get(crdt::StreamPendingName(group, id));
  if (shown.kind != ShownValue::Kind::kValue) return std::nullopt;
  const auto pending = crdt::DecodeStreamPending(shown.value);
  if (!pending) return std::nullopt;
  return PendingEntry{id, std::string(pending->consumer), pending->delivered_ms, pending->count};
}

size_t Stream::CountPending(std::string_view group) const {
  return RankOf(crdt::StreamGroupEnd(group)) - RankOf(crdt::StreamPendingsName(group));
}

StreamId Stream::LastPending(std::string_view group) const {
  StreamId last;
  const size_t end = RankOf(crdt::StreamGroupEnd(group));
  if (end == 0) return last;
  WalkNames(end - 1, true, [&](const ElementView& element) {
    const StreamName name = crdt::ReadStreamName(element.key());
    const bool pending = name.part == StreamName::Part::kPending && name.group == group;
    if (pending) last = name.id;
    return name.part == StreamName::Part::kForeign;
  });
  return last;
}

size_t Stream::PendingAtMost(std::string_view group, std::string_view consumer) const {
  if (!exists()) return 0;
  const StreamIndex* index = collection_.elements->stream_index();
  if (index == nullptr) return SIZE_MAX;
  const auto& pending = index->PendingOf(group);
  const auto of = pending.find(consumer);
  return of == pending.end() ? 0 : of->second.count;
}

void Stream::WalkPending(std::string_view group,
                         StreamId from,
                         base::FunctionRef<bool(const PendingEntry&)> visit) const {
  WalkNames(RankOf(crdt::StreamPendingName(group, from)), false, [&](const ElementView& element) {
    const StreamName name = crdt::ReadStreamName(element.key());
    if (name.part != StreamName::Part::kPending || name.group != group) return false;
    const ShownValue shown = collection_.Show(element);
    const auto pending = crdt::DecodeStreamPending(shown.value);
    return !pending ||
           visit({name.id, std::string(pending->consumer), pending->delivered_ms, pending->count});
  });
}

// ---- what groups were not given

std::vector<StreamIndex::Lane> Stream::lanes() const {
  if (!exists()) return {};
  if (const StreamIndex* index = collection_.elements->stream_index()) return index->lanes();
  StreamIndex found;
  WalkItems({}, [&](const Item& item) {
    found.Add(item.id, item.lane);
    return true;
  });
  return found.lanes();
}

StreamIndex* Stream::Followed(std::string_view group, const crdt::StreamGroup& state) const {
  StreamIndex* index = collection_.elements->stream_index();
  if (index != nullptr) {
    index->Follow(group, state, [&](StreamId after, base::FunctionRef<bool(const Item&)> visit) {
      WalkItems(after, visit);
    });
  }
  return index;
}

std::vector<Stream::Item> Stream::Undelivered(std::string_view group,
                                              const crdt::StreamGroup& state,
                                              size_t count) const {
  std::vector<Item> found;
  if (!exists() || count == 0) return found;
  StreamId from = PLANTED(kStreamOneCursor) ? state.Reach() : state.base;
  if (StreamIndex* index = PLANTED(kStreamOneCursor) ? nullptr : Followed(group, state)) {
    const Viewer viewer = collection_.viewer();
    for (StreamId id : index->Late(group, count)) {
      const auto element = collection_.Find(crdt::StreamEntryName(id));
      if (element) found.push_back({id, Elements::LaneOf(*element, viewer)});
    }
    from = state.Reach();
    if (found.size() == count) return found;
  }
  WalkItems(from, [&](const Item& item) {
    if (!state.Delivered(item.lane, item.id)) found.push_back(item);
    return found.size() < count;
  });
  return found;
}

size_t Stream::CountUndelivered(std::string_view group, const crdt::StreamGroup& state) const {
  if (!exists()) return 0;
  StreamIndex* index = Followed(group, state);
  if (index == nullptr) return Undelivered(group, state, SIZE_MAX).size();
  const std::optional<StreamId> beyond = crdt::After(state.Reach());
  return index->CountLate(group) + (beyond ? length() - CountBefore(*beyond) : 0);
}

void Stream::DeliverUpTo(crdt::StreamGroup& state, StreamId id) const {
  if (!exists()) return;
  for (const StreamIndex::Lane& lane : lanes())
    state.Raise(lane.lane, std::min(id, lane.newest));
}

void Stream::Tidy(crdt::StreamGroup& state) const {
  const std::vector<StreamIndex::Lane> live = lanes();
  std::erase_if(state.cursors, [&](const crdt::StreamGroup::Cursor& cursor) {
    return cursor.id <= state.base ||
           std::none_of(live.begin(), live.end(), [&](const StreamIndex::Lane& lane) {
             return lane.lane == cursor.lane;
           });
  });
  std::erase_if(state.given, [&](const crdt::StreamGroup::Given& range) {
    return std::none_of(live.begin(), live.end(), [&](const StreamIndex::Lane& lane) { return lane.lane == range.lane; });
  });
}

void Stream::JoinGiven(std::string_view group, crdt::StreamGroup& state) const {
  if (!exists() || state.given.empty()) return;
  const StreamIndex* index = Followed(group, state);
  std::map<uint64_t, std::vector<StreamId>> late;  // of a small stream
  if (index == nullptr) {
    for (const Item& item : Undelivered(group, state, SIZE_MAX))
      late[item.lane].push_back(item.id);
  }
  auto first_late = [&](uint64_t lane, StreamId after) -> std::optional<StreamId> {
    if (index != nullptr) return index->FirstLate(group, lane, after);
    const std::vector<StreamId>& ids = late[lane];
    const auto id = std::upper_bound(ids.begin(), ids.end(), after);
    return id == ids.end() ? std::nullopt : std::optional(*id);
  };
  // Entries of a lane come in order: what is not between two ranges now will never be.
  for (const crdt::StreamGroup::Given& range : std::vector(state.given)) {
    StreamId before = state.DeliveredUpTo(range.lane);
    for (const crdt::StreamGroup::Given& other : state.given) {
      if (other.lane == range.lane && other.to < range.from) before = std::max(before, other.to);
    }
    const std::optional<StreamId> hole = first_late(range.lane, before);
    if (hole && *hole < range.from) continue;
    if (before == state.DeliveredUpTo(range.lane)) {
      state.Raise(range.lane, range.to);
    } else {
      state.Give(range.lane, before, range.to);
    }
  }
}

std::optional<uint64_t> Stream::LaneOf(StreamId id) const {
  const auto element = collection_.Find(crdt::StreamEntryName(id));
  if (!element) return std::nullopt;
  return Elements::LaneOf(*element, collection_.viewer());
}

std::optional<clock::Origin> Stream::WriterOf(std::string_view name) const {
  const auto element = collection_.Find(name);
  if (!element) return std::nullopt;
  const Viewer viewer = collection_.viewer();
  const std::optional<clock::Dot> dot = Elements::DotOf(*element, viewer);
  if (!dot) return std::nullopt;
  return viewer.origins.Get(dot->origin());
}

std::optional<std::string> Stream::CopyOf(const ElementView& element, uint64_t copy) const {
  using Part = StreamName::Part;
  switch (crdt::ReadStreamName(element.key()).part) {
    case Part::kForeign:
      return std::nullopt;
    case Part::kEntry:
      return crdt::WithStreamLane(collection_.Show(element).value,
                                  Elements::LaneOf(element, collection_.viewer()) ^ copy);
    case Part::kMeta:
      return crdt::EncodeStreamMeta(crdt::UniteStreamMeta(Views(ValuesOf(element))));
    case Part::kGroup: {
      crdt::StreamGroup group = crdt::UniteStreamGroups(Views(ValuesOf(element)));
      group.RenameLanes(copy);
      return crdt::EncodeStreamGroup(group);
    }
    case Part::kConsumer:
      return crdt::EncodeStreamSeen(crdt::UniteStreamSeen(Views(ValuesOf(element))));
    case Part::kPending:
      return std::string(collection_.Show(element).value);
  }
  return std::nullopt;
}

}  // namespace polyarch::keyspace
