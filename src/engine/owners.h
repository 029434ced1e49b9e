// Lists and groups of streams under policy `pop-owner`: which leader may pop which element, or give which entry to a
// consumer, who waits for elements of others, and grants, which make another leader the owner
// (docs/design/0029-pop-owner.md). Part of the engine; in its ticks only.
//
// An owner is a function of the state: what the record of the element says, else the leader that pushed it (of an entry:
// added it; of a pending one: gave it). Only the owner's own changes take ownership from it, or those of who acts for one
// that is gone.
#pragma once

#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/function_ref.h"
#include "clock/origin.h"
#include "clock/version_vector.h"
#include "command/host.h"
#include "crdt/effect.h"
#include "keyspace/change.h"
#include "keyspace/keyspace.h"
#include "keyspace/stream.h"

namespace polyarch::engine {

class Engine;

// Records of owners in the reserved database: hashes of element's name and leader. Of a list "owner/<db byte><key>"; of a
// group "owner/<db byte + 128><size of the group's name, 2 bytes><group><key>".
inline constexpr std::string_view kOwnerPrefix = "owner/";
// A longer key, with the group's name, has no room for that, and is popped as under lww.
inline constexpr size_t kOwnedKeyBytesMax = 60'000;
// So long out of reach, and an owner is gone.
inline constexpr int64_t kOwnerGoneUs = 5'000'000;

class Owners final : public command::OwnerHost {
 public:
  explicit Owners(Engine& engine) : engine_(engine) {}

  // ---- command::OwnerHost
  bool in_use() const override { return in_use_; }
  bool Covers(std::string_view key) const override;
  void VisitOwned(const keyspace::KeyRef& key,
                  const keyspace::Collection& list,
                  bool front,
                  uint64_t count,
                  base::FunctionRef<void(const keyspace::ElementView&)> visit) override;
  void NotePopped(keyspace::Change& change, const keyspace::KeyRef& key, std::string_view name) override;
  void Want(const keyspace::KeyRef& key, bool front, uint64_t count, bool waits) override;
  bool CoversGroup(std::string_view key, std::string_view group) const override;
  std::vector<keyspace::Stream::Item> OwnedEntries(const keyspace::KeyRef& key,
                                                   const keyspace::Stream& stream,
                                                   std::string_view group,
                                                   const crdt::StreamGroup& state,
                                                   size_t count,
                                                   bool& others) override;
  bool OwnsPending(const keyspace::KeyRef& key,
                   const keyspace::Stream& stream,
                   std::string_view group,
                   crdt::StreamId id) override;
  void NoteGiven(keyspace::Change& change,
                 const keyspace::KeyRef& key,
                 std::string_view group,
                 crdt::StreamId id) override;
  void WantEntries(const keyspace::KeyRef& key, std::string_view group, uint64_t count, bool waits) override;
  void WantPending(const keyspace::KeyRef& key,
                   std::string_view group,
                   const std::vector<crdt::StreamId>& ids) override;

  // ---- what happens
  void PoliciesChanged();
  // Has anybody asked for elements?
  bool asked() const { return !asked_.empty(); }
  // A list or stream has changed.
  void Touched(const keyspace::KeyRef& key);
  // A key with kOwnerPrefix of the reserved database is there, or has changed.
  void NoteRecords(std::string_view reserved_key);
  void RecordsChanged(std::string_view reserved_key);
  // An effect of another leader is about to be applied.
  void NoteRemote(const crdt::Effect& effect);
  void Arrived(std::string_view message) { inbox_.emplace_back(message); }
  void Tick();

  void Info(std::string& out) const;
  // May this process pop and grant, as far as its start is concerned?
  bool ready() const { return ready_; }
  uint64_t acted() const { return acted_; }
  uint64_t removed_twice() const { return removed_twice_; }
  // Records in the reserved database, for tests.
  size_t CountRecords();

 private:
  // A list, or a group of a stream.
  struct Queue {
    uint8_t db = 0;
    std::string key;
    std::optional<std::string> group = {};
    std::pair<uint8_t, std::string> Place() const { return {db, key}; }
    friend auto operator<=>(const Queue&, const Queue&) = default;
  };
  // What this leader's clients want.
  struct Wanted {
    bool front = true;
    uint64_t batch = 1;  // for each that waits
    bool fresh = true;  // the others are to be told now
    uint64_t polled = 0;  // by who cannot wait
    int64_t polled_until_us = -1;
    uint64_t told = 0;
    int64_t told_us = 0;
  };
  // What another leader wants.
  struct Asked {
    bool front = true;
    uint64_t count = 0;
    int64_t since_us = 0;
    int64_t until_us = 0;
  };
  // Pending entries that others gave, for clients that would claim them.
  struct Claims {
    std::map<crdt::StreamId, int64_t> ids;  // with when each was given last, in ms
    int64_t told_us = -1;
    int64_t until_us = 0;
  };
  struct Owner {
    std::string leader;  // empty: of no known process
    bool by_record = false;
  };

  static std::string RecordsKey(const Queue& queue);
  static std::optional<Queue> QueueOfRecords(std::string_view reserved_key);
  keyspace::Collection Records(const Queue& queue, std::string& name);
  // The elements that a pop or a grant looks at, until false.
  static void VisitEnd(const keyspace::Collection& list,
                       bool front,
                       base::FunctionRef<bool(const keyspace::ElementView&)> visit);
  // The same of any queue, with whom each is of.
  void VisitFirst(const Queue& queue, bool front, base::FunctionRef<bool(std::string_view name, const Owner&)> visit);
  // Entries that are new to the group, with whom each is of, until false.
  void VisitNew(const keyspace::Stream& stream,
                std::string_view group,
                const crdt::StreamGroup& state,
                const keyspace::Collection& records,
                base::FunctionRef<bool(const keyspace::Stream::Item&, const Owner&)> visit);
  bool MayOwnNew(const keyspace::Stream& stream, const crdt::StreamGroup& state, const keyspace::Collection& records);
  std::string LeaderOfRun(uint64_t incarnation);  // empty: not known
  Owner OwnerOf(const keyspace::Collection& records, std::string_view name, std::string_view maker);
  Owner OwnerOfElement(const keyspace::Collection& records, std::string_view name);
  Owner OwnerOfPending(const keyspace::Collection& records,
                       const keyspace::Stream& stream,
                       std::string_view group,
                       crdt::StreamId id);
  keyspace::Stream StreamOf(const Queue& queue);
  // Does the record tell of something that there is?
  bool IsThere(const Queue& queue, std::string_view name);
  // Elements that this leader owns, up to `most`.
  uint64_t CountOwned(const Queue& queue, bool front, uint64_t most);
  // Does this leader act for one that is gone?
  bool ActsFor(const std::string& owner);
  bool may_write() const;
  void TakeInbox();
  void FollowReach();
  void BeApart();
  void FollowStart();
  void FollowActing();
  // What those in reach have told to have; nothing while one of them has told nothing.
  std::optional<clock::VersionVector> Told(bool last_words) const;
  bool Reaches(const std::deque<clock::VersionVector>& targets) const;
  uint64_t Waiting(const Queue& queue) const;  // clients here, for elements
  void TellWants(bool all);
  void Tell(const Queue& queue, const Wanted& wanted, uint64_t count);
  void TellClaims();
  void ServeAsked();
  // Grants up to `count` elements; of those that are gone only, if it is to ourselves.
  uint64_t Grant(const Queue& queue, const std::string& to, uint64_t count, bool front);
  void GrantPending(const Queue& queue, const std::string& to, const std::vector<crdt::StreamId>& ids);
  Wanted& Want(const Queue& queue, uint64_t count, bool waits);
  void NoteWanted();
  // Its record goes with this change.
  void Forget(keyspace::Change& change, const Queue& queue, std::string_view name);
  void WriteGrants(const Queue& queue, const std::string& to, const std::vector<std::string>& names);
  void Sweep();

  Engine& engine_;
  bool in_use_ = false;
  std::map<Queue, Wanted> wanted_;
  bool any_fresh_ = false;
  std::map<Queue, Claims> claims_;
  std::map<Queue, std::map<std::string, Asked>> asked_;
  std::set<Queue> touched_;  // of asked_: to be looked at
  std::set<Queue> records_;  // queues that may have records
  std::deque<std::string> inbox_;
  std::map<uint64_t, clock::OriginIndex> runs_;  // processes by incarnation, of the first so many origins
  size_t runs_known_ = 0;

  // Who is there.
  std::set<std::string> reach_;  // members, this one too
  int64_t reach_since_us_ = 0;
  std::string first_of_reach_;   // by precedence
  int64_t first_since_us_ = 0;
  bool first_ = false;           // is it this leader?
  std::map<std::string, int64_t> missed_us_;  // owners out of reach, since when

  // After the start, and after having been apart from others for so long that they may have acted for each other.
  bool ready_ = false;
  int64_t started_us_ = -1;
  std::optional<clock::VersionVector> told_;    // by any of the others since then
  // What the others had: first, and of late. Each is enough: a later one is taken beside it because what was told then
  // may have been lost since, and who lags by more than the time between them never reaches the newest.
  std::deque<clock::VersionVector> targets_;
  int64_t target_us_ = 0;
  int64_t waits_us_ = 0;  // since when there is one

  // Before it acts for anybody.
  bool may_act_ = false;
  std::deque<clock::VersionVector> act_targets_;  // as targets_
  int64_t act_target_us_ = 0;
  int64_t act_waits_us_ = 0;

  int64_t next_duty_us_ = 0;
  int64_t next_sweep_us_ = 0;
  Queue swept_;            // where the sweep goes on
  uint64_t sweep_cursor_ = 0;

  uint64_t granted_ = 0;
  uint64_t acted_ = 0;
  uint64_t removed_twice_ = 0;
  int64_t twice_told_us_ = -1;
};

}  // namespace polyarch::engine
