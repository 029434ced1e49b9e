// Conflict feeds: open conflicts as items for applications to handle, each given at least once,
// until it is acknowledged or has ceased (docs/design/0023-feed.md).
//
// What items there are is a function of the state: every leader keeps the same ones. Who was given
// which of them, and when, is known to the leader that delivers, in memory; another one that takes
// over begins anew. Acknowledgements are members of a set in the reserved database, and asked for
// by the caller.
//
// No time of its own, no I/O. Not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/function_ref.h"
#include "clock/origin.h"
#include "conflict/ledger.h"
#include "crdt/effect.h"
#include "crdt/key_state.h"

namespace polyarch::conflict {

inline constexpr size_t kFeedsMax = 64;
inline constexpr size_t kFeedNameBytesMax = 64;
inline constexpr size_t kFeedLeadersMax = 64;

// Where feeds and acknowledgements are kept in the reserved database: behind these, by the feed's
// name. Before the name of acknowledgements stands which feed of that name they are of.
inline constexpr std::string_view kFeedPrefix = "feed/";
inline constexpr std::string_view kFeedAcksPrefix = "feed-acks/";
// The same of how far decided conflicts were acknowledged: a hash, of each leader that has delivered up to which vector
// (a session token) it has given all.
inline constexpr std::string_view kFeedCursorsPrefix = "feed-cursors/";
inline constexpr size_t kFeedDecidedMax = 1000;   // items of decided conflicts of a feed at once
inline constexpr size_t kFeedToldMax = 100'000;  // losses that were told of as open, remembered for each feed

// A feed as CONFLICT FEED CREATE makes it.
struct FeedGroup {
  std::string name;
  uint8_t db = 0;
  std::string pattern;
  std::vector<std::string> leaders;  // the first one in reach delivers
  uint64_t made = 0;  // drawn for each: another feed of the same name has other acknowledgements
  bool decided = false;  // conflicts that a policy has decided are items, too

  // What is stored: "1" (with decided ones: "1d"), then " <made> <db> <bytes of the pattern> <pattern> <leader> <leader> ...".
  std::string ToText() const;
  static std::optional<FeedGroup> ParseText(std::string_view name, std::string_view text);
  bool Matches(uint8_t of_db, std::string_view key) const;
  // The set of its acknowledgements: "feed-acks/<made, 16 hexadecimal digits>/<name>".
  std::string AcksKey() const;
  // What it remembers of decided conflicts: "feed-cursors/<made>/<name>".
  std::string CursorsKey() const;
  // The feed's name in a key of either kind; empty if it is none.
  static std::string_view NameInAcksKey(std::string_view key);

  friend bool operator==(const FeedGroup&, const FeedGroup&) = default;
};

// A register that holds an open conflict.
struct FeedItem {
  std::string id;  // 32 hexadecimal digits: names place and versions
  uint8_t db = 0;
  std::string key;
  crdt::Type type = crdt::Type::kString;  // anything else: an element of the key
  std::string element;
  uint64_t entry = 0;  // not 0: a decided conflict, this one of the ledger here
};

// Names, in this process, that a version lost at a place. Versions are named by their change, which may be of many places.
uint64_t LossAt(uint8_t db, std::string_view key, crdt::Type type, std::string_view element, clock::Dot lost);
// Of what a policy has decided against: the place, and the tag of what lost.
std::string DecidedItemId(const LedgerEntry& entry);
// Whatever the order of versions and the numbering of origins. Another version, another increment
// that is hidden: another id.
std::string FeedItemId(uint8_t db,
                       std::string_view key,
                       crdt::Type type,
                       std::string_view element,
                       const crdt::Register& state,
                       const clock::OriginTable& origins);

class Feeds {
 public:
  // Those that were there and are as they were keep what is known of their consumers.
  void SetGroups(std::vector<FeedGroup> groups);
  bool empty() const { return groups_.empty(); }
  // Null if there is none.
  const FeedGroup* Find(std::string_view group) const;
  // In the order of their names.
  std::vector<const FeedGroup*> All() const;

  // The items of a key: all that there are now. How many of them are new.
  size_t SetItems(uint8_t db, const std::string& key, std::vector<FeedItem> items);
  void ClearItems();
  // What was passed over here while others delivered is to be given, unless it is to be passed over still.
  void AddAgain(std::string_view group);
  bool HasItems(uint8_t db, const std::string& key) const { return by_key_.count({db, key}) != 0; }
  // Null if there is none (any more).
  const FeedItem* Item(std::string_view id) const;
  size_t items() const { return by_id_.size(); }
  // Those that the group is about.
  size_t ItemsOf(std::string_view group) const;

  struct Delivery {
    std::string consumer;
    int64_t given_us = 0;
    uint32_t times = 0;
  };
  // At most `count` items that nobody has, or that were given before `now_us - again_us`, the
  // longest waiting first; they are `consumer`'s from now on. `skip`: neither given nor looked at
  // again (acknowledged); `hide`: not now.
  std::vector<const FeedItem*> Take(std::string_view group,
                                    std::string_view consumer,
                                    size_t count,
                                    int64_t now_us,
                                    int64_t again_us,
                                    base::FunctionRef<bool(const FeedItem&)> skip,
                                    base::FunctionRef<bool(const FeedItem&)> hide);
  // Null if it was not given to anybody.
  const Delivery* Given(std::string_view group, std::string_view id) const;
  // What was given and is not acknowledged, as far as is known here: the longest ago first.
  void VisitGiven(std::string_view group,
                  base::FunctionRef<void(const FeedItem&, const Delivery&)> visit) const;
  // ---- decided conflicts, known to the leader that delivers only; an item here once, and until it is dropped
  void AddDecided(std::string_view group, FeedItem item);
  const FeedItem* Decided(std::string_view group, std::string_view id) const;  // null if there is none
  size_t DecidedOf(std::string_view group) const;
  void ForgetDecided(std::string_view group);
  // That this version has lost at its place (LossAt) was acknowledged or resolved while the conflict was open: it need not be told
  // of when it is decided. What an open item only showed, the winner's above all, may be lost yet. The oldest are forgotten.
  void NoteTold(std::string_view group, uint64_t loss);
  bool Told(std::string_view group, uint64_t loss) const;
  // An item was acknowledged.
  void Drop(std::string_view group, std::string_view id);
  // Another leader delivers: who has what is its business now.
  void ForgetGiven(std::string_view group);

 private:
  struct Group {
    FeedGroup group;
    // By id, what waits (given_us -1, nobody has it) or was given; and in the order in which it is
    // due.
    struct Place {
      int64_t given_us = -1;
      uint64_t arrival = 0;
    };
    std::unordered_map<std::string, Place> places;
    std::set<std::tuple<int64_t, uint64_t, std::string>> queue;  // given_us, arrival, id
    std::map<std::string, Delivery> given;
    std::map<std::string, FeedItem, std::less<>> decided;
    std::set<uint64_t> told;
    std::deque<uint64_t> told_order;
  };
  const FeedItem& ItemIn(const Group& group, const std::string& id) const;
  void AddTo(Group& group, const FeedItem& item);
  void DropFrom(Group& group, const std::string& id);

  std::map<std::string, Group, std::less<>> groups_;
  std::map<std::pair<uint8_t, std::string>, std::vector<std::string>> by_key_;  // ids
  std::map<std::string, FeedItem, std::less<>> by_id_;
  uint64_t arrivals_ = 0;
};

}  // namespace polyarch::conflict
