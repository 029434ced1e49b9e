#include "keyspace/stream_index.h"

#include <algorithm>

namespace polyarch::keyspace {

using crdt::StreamId;

void StreamIndex::Add(StreamId id, uint64_t lane) {
  ++length_;
  if (length_ == 1 || (top_ && id > *top_)) top_ = id;
  auto of =
      std::find_if(lanes_.begin(), lanes_.end(), [&](const Lane& l) { return l.lane == lane; });
  if (of == lanes_.end()) of = lanes_.insert(lanes_.end(), Lane{.lane = lane, .newest = {}});
  ++of->entries;
  of->newest = std::max(of->newest, id);
  for (auto& [name, group] : groups_) {
    if (id <= group.reach && !group.state.Delivered(lane, id)) group.late[lane].insert(id);
  }
}

void StreamIndex::Remove(StreamId id, uint64_t lane) {
  --length_;
  if (top_ == id) top_.reset();
  auto of =
      std::find_if(lanes_.begin(), lanes_.end(), [&](const Lane& l) { return l.lane == lane; });
  if (--of->entries == 0) lanes_.erase(of);
  for (auto& [name, group] : groups_) {
    auto late = group.late.find(lane);
    if (late == group.late.end()) continue;
    late->second.erase(id);
    if (late->second.empty()) group.late.erase(late);
  }
}

void StreamIndex::AddPending(std::string_view group, const crdt::StreamPending& pending) {
  auto of = pending_.find(group);
  if (of == pending_.end()) of = pending_.emplace(group, PendingByConsumer{}).first;
  auto found = of->second.find(pending.consumer);
  if (found == of->second.end()) found = of->second.emplace(pending.consumer, Pending{}).first;
  ++found->second.count;
  found->second.delivered_ms = std::max(found->second.delivered_ms, pending.delivered_ms);
}

void StreamIndex::RemovePending(std::string_view group, const crdt::StreamPending& pending) {
  auto of = pending_.find(group);
  auto found = of->second.find(pending.consumer);
  if (--found->second.count > 0) return;
  of->second.erase(found);
  if (of->second.empty()) pending_.erase(of);
}

const StreamIndex::PendingByConsumer& StreamIndex::PendingOf(std::string_view group) const {
  static const PendingByConsumer kNone;
  const auto of = pending_.find(group);
  return of == pending_.end() ? kNone : of->second;
}

void StreamIndex::Clear() {
  length_ = 0;
  top_.reset();
  lanes_.clear();
  groups_.clear();
  pending_.clear();
}

void StreamIndex::NoteLate(Group& group, StreamId from, Walk walk) {
  walk(from, [&](const Item& item) {
    if (item.id > group.reach) return false;
    if (!group.state.Delivered(item.lane, item.id)) group.late[item.lane].insert(item.id);
    return true;
  });
}

void StreamIndex::Build(Group& group, Walk walk) {
  group.late.clear();
  // Lanes that were delivered to their end have nothing late.
  std::optional<StreamId> from;
  for (const Lane& lane : lanes_) {
    const StreamId delivered = group.state.DeliveredUpTo(lane.lane);
    if (lane.newest > delivered) from = std::min(from.value_or(delivered), delivered);
  }
  if (from && *from < group.reach) NoteLate(group, *from, walk);
}

void StreamIndex::Follow(std::string_view name, const crdt::StreamGroup& state, Walk walk) {
  auto found = groups_.find(name);
  const bool fresh = found == groups_.end();
  if (fresh) found = groups_.emplace(name, Group{}).first;
  Group& group = found->second;
  if (!fresh && group.state == state) return;
  const crdt::StreamGroup before = std::move(group.state);
  const StreamId reached = group.reach;
  group.state = state;
  group.reach = state.Reach();
  const bool back = std::any_of(lanes_.begin(), lanes_.end(), [&](const Lane& lane) {
    return state.DeliveredUpTo(lane.lane) < before.DeliveredUpTo(lane.lane);
  }) || std::any_of(before.given.begin(), before.given.end(), [&](const crdt::StreamGroup::Given& was) {
    return state.DeliveredUpTo(was.lane) < was.to &&
           std::none_of(state.given.begin(), state.given.end(), [&](const crdt::StreamGroup::Given& now) {
             return now.lane == was.lane && now.from <= was.from && now.to >= was.to;
           });
  });
  if (fresh || back || group.reach < reached) return Build(group, walk);
  for (auto late = group.late.begin(); late != group.late.end();) {
    std::set<StreamId>& ids = late->second;
    ids.erase(ids.begin(), ids.upper_bound(state.DeliveredUpTo(late->first)));
    for (const crdt::StreamGroup::Given& range : state.given) {
      if (range.lane == late->first) ids.erase(ids.lower_bound(range.from), ids.upper_bound(range.to));
    }
    late = ids.empty() ? group.late.erase(late) : std::next(late);
  }
  if (group.reach > reached) NoteLate(group, reached, walk);
}

std::vector<StreamId> StreamIndex::Late(std::string_view name, size_t count) const {
  std::vector<StreamId> ids;
  const Group& group = groups_.find(name)->second;
  using Place = std::pair<std::set<StreamId>::const_iterator, std::set<StreamId>::const_iterator>;
  std::vector<Place> places;
  for (const auto& [lane, late] : group.late)
    places.emplace_back(late.begin(), late.end());
  while (ids.size() < count && !places.empty()) {
    auto least = std::min_element(places.begin(), places.end(), [](const Place& a, const Place& b) {
      return *a.first < *b.first;
    });
    ids.push_back(*least->first);
    if (++least->first == least->second) places.erase(least);
  }
  return ids;
}

std::optional<StreamId> StreamIndex::FirstLate(std::string_view name, uint64_t lane, StreamId after) const {
  const auto& late = groups_.find(name)->second.late;
  const auto of = late.find(lane);
  if (of == late.end()) return std::nullopt;
  const auto id = of->second.upper_bound(after);
  return id == of->second.end() ? std::nullopt : std::optional(*id);
}

size_t StreamIndex::CountLate(std::string_view name) const {
  size_t count = 0;
  for (const auto& [lane, late] : groups_.find(name)->second.late)
    count += late.size();
  return count;
}

void StreamIndex::Forget(std::string_view name) {
  auto found = groups_.find(name);
  if (found != groups_.end()) groups_.erase(found);
}

}  // namespace polyarch::keyspace
