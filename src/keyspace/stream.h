// A stream as commands look at it: entries by id, what it remembers of its past, groups, and what
// they have not been given yet. Reads only; see crdt/stream.h for what the elements are.
//
// A Stream is valid as long as its Collection.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "crdt/stream.h"
#include "keyspace/keyspace.h"

namespace polyarch::keyspace {

// What is known of a group's pending entry.
struct PendingEntry {
  crdt::StreamId id;
  std::string consumer;
  int64_t delivered_ms = 0;
  uint64_t count = 0;
};

class Stream {
 public:
  explicit Stream(const Collection& collection) : collection_(collection) {}

  bool exists() const { return collection_.found(); }
  const Collection& collection() const { return collection_; }

  // ---- entries
  size_t length() const;
  std::optional<crdt::StreamId> first() const { return At(0); }
  std::optional<crdt::StreamId> top() const;
  // The entry at a place below length().
  std::optional<crdt::StreamId> At(size_t place) const;
  bool Contains(crdt::StreamId id) const;
  // What the entry says, with views of what is stored, until the next change; nothing if it is not
  // there.
  std::optional<crdt::StreamEntry> Find(crdt::StreamId id) const;
  // Entries from `from` to `to`, both included, upwards or downwards, until false.
  using Visit = base::FunctionRef<bool(crdt::StreamId id, const crdt::StreamEntry& entry)>;
  void Walk(crdt::StreamId from, crdt::StreamId to, bool reverse, Visit visit) const;
  // How many entries stand before `id`.
  size_t CountBefore(crdt::StreamId id) const;

  // ---- what it remembers
  crdt::StreamMeta meta() const;
  crdt::StreamId last_id() const { return LastId(meta()); }
  crdt::StreamId LastId(const crdt::StreamMeta& meta) const;
  uint64_t entries_added() const { return length() + meta().removed; }

  // ---- groups
  std::optional<crdt::StreamGroup> FindGroup(std::string_view group) const;
  std::vector<std::string> Groups() const;  // sorted
  // When the consumer was seen last; nothing if there is none of this name.
  std::optional<int64_t> FindConsumer(std::string_view group, std::string_view consumer) const;
  // Also those that are only known by what is pending. Sorted.
  struct Consumer {
    std::string name;
    int64_t seen_ms = 0;
    size_t pending = 0;
  };
  std::vector<Consumer> Consumers(std::string_view group) const;
  std::optional<PendingEntry> FindPending(std::string_view group, crdt::StreamId id) const;
  // The id of the last pending entry; 0-0 if there is none.
  crdt::StreamId LastPending(std::string_view group) const;
  // A bound for how much is pending for one consumer, exact in a big stream: whoever has found so many
  // need not look further.
  size_t PendingAtMost(std::string_view group, std::string_view consumer) const;
  size_t CountPending(std::string_view group) const;
  // From `from` on, until false.
  void WalkPending(std::string_view group,
                   crdt::StreamId from,
                   base::FunctionRef<bool(const PendingEntry&)> visit) const;

  // The lanes that have entries.
  std::vector<StreamIndex::Lane> lanes() const;
  // An entry with its lane.
  using Item = StreamIndex::Item;
  // Up to `count` entries that the group was not given, by rising ids, wherever they stand.
  std::vector<Item> Undelivered(std::string_view group,
                                const crdt::StreamGroup& state,
                                size_t count) const;
  size_t CountUndelivered(std::string_view group, const crdt::StreamGroup& state) const;
  // Makes the state say that everything that stands here up to `id` was delivered.
  void DeliverUpTo(crdt::StreamGroup& state, crdt::StreamId id) const;
  // Without cursors of lanes that have no entry here: whoever sees such a state has removed those,
  // too.
  void Tidy(crdt::StreamGroup& state) const;

  // Joins what the group was given beyond its cursors where nothing undelivered is left between, with the cursor or with
  // each other. Exact where all that the given entries' writer had is here.
  void JoinGiven(std::string_view group, crdt::StreamGroup& state) const;
  // The lane of an entry that is there.
  std::optional<uint64_t> LaneOf(crdt::StreamId id) const;
  // The process that wrote the shown version of this element; nothing if there is none.
  std::optional<clock::Origin> WriterOf(std::string_view name) const;

  // What an element says to a copy of the stream under another key, where all entries are one
  // process's; nothing of what is foreign. `copy`: a random number for each copy, which makes its
  // lanes its own: a cursor there knows nothing of what comes late with it.
  std::optional<std::string> CopyOf(const ElementView& element, uint64_t copy) const;

 private:
  size_t RankOf(std::string_view name) const;
  void WalkNames(size_t rank,
                 bool reverse,
                 base::FunctionRef<bool(const ElementView&)> visit) const;
  void WalkItems(crdt::StreamId after, base::FunctionRef<bool(const Item&)> visit) const;
  // Of all versions of the element; none if it is not there.
  std::vector<std::string> Values(std::string_view name) const;
  StreamIndex* Followed(std::string_view group, const crdt::StreamGroup& state) const;

  Collection collection_;
};

}  // namespace polyarch::keyspace
