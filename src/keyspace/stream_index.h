// What a big stream remembers to be asked quickly: how many entries there are, the last one, the lanes
// (crdt/stream.h), how much is pending for each consumer, and, of each group that is read here, which
// entries came late: behind an id that the group has reached, without having been delivered. All of it
// follows from the elements; it is kept up as they come and go and built anew after a start.
//
// A stream without a table (elements.h) has none: who asks looks at all of its few elements.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "crdt/stream.h"

namespace polyarch::keyspace {

class StreamIndex {
 public:
  struct Lane {
    uint64_t lane = 0;
    size_t entries = 0;
    crdt::StreamId newest;  // that was ever seen here while it had entries
  };
  // An entry with its lane.
  struct Item {
    crdt::StreamId id;
    uint64_t lane = 0;
  };
  // Visits the entries behind `after`, in order, until false.
  using Walk = base::FunctionRef<void(crdt::StreamId after, base::FunctionRef<bool(const Item&)>)>;

  void Add(crdt::StreamId id, uint64_t lane);
  void Remove(crdt::StreamId id, uint64_t lane);
  void AddPending(std::string_view group, const crdt::StreamPending& pending);
  void RemovePending(std::string_view group, const crdt::StreamPending& pending);
  void Clear();

  struct Pending {
    size_t count = 0;
    int64_t delivered_ms = 0;  // the latest delivery while something was pending
  };
  using PendingByConsumer = std::map<std::string, Pending, std::less<>>;
  // Consumers for whom something is pending.
  const PendingByConsumer& PendingOf(std::string_view group) const;

  size_t length() const { return length_; }
  // The last entry's id, if it is known.
  std::optional<crdt::StreamId> top() const { return top_; }
  void set_top(crdt::StreamId id) { top_ = id; }
  const std::vector<Lane>& lanes() const { return lanes_; }

  // Brings what is known of the group in line with its state. Amortized O(log n) for each entry.
  void Follow(std::string_view name, const crdt::StreamGroup& group, Walk walk);
  // Of a group that was followed: up to `count` ids that came late and are not delivered, in order.
  std::vector<crdt::StreamId> Late(std::string_view name, size_t count) const;
  size_t CountLate(std::string_view name) const;
  // The first late one of a lane behind `after`.
  std::optional<crdt::StreamId> FirstLate(std::string_view name, uint64_t lane, crdt::StreamId after) const;
  void Forget(std::string_view name);

 private:
  struct Group {
    crdt::StreamGroup state;
    crdt::StreamId reach;
    std::map<uint64_t, std::set<crdt::StreamId>> late;  // by lane
  };

  // Entries behind `from`, up to the group's reach, that were not delivered are late.
  static void NoteLate(Group& group, crdt::StreamId from, Walk walk);
  void Build(Group& group, Walk walk);

  size_t length_ = 0;
  std::optional<crdt::StreamId> top_;
  std::vector<Lane> lanes_;  // few: processes that have entries here
  std::map<std::string, Group, std::less<>> groups_;
  std::map<std::string, PendingByConsumer, std::less<>> pending_;
};

}  // namespace polyarch::keyspace
