// The keyspace: databases, keys, their replicated state, expiry; where crdt, conflict and the
// change under way meet. Sans-IO and single-threaded; time is passed in (SetTime).
//
// State changes through one door, Apply, for local and remote effects alike. Commands read through
// Read and write through Change (keyspace/change.h), which calls Apply.
//
// Memory. A key is one allocation (entry.h): a plain value is 16 bytes of metadata, key and value;
// a counter of one origin is inline; everything else (siblings, several origins, expiry by EXPIRE,
// elements) is "fat": a KeyState beside it, if it has one, and elements by type (elements.h). The form
// follows from the state and means nothing. A collection that goes whole is freed by FreeSome.
//
// Hidden keys. A key whose expiry instant has passed (at `time_ms`) is hidden: Read says it does
// not exist. It is removed by a change of its own (RemovableExpired).
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/function_ref.h"
#include "base/hash.h"
#include "base/planted.h"
#include "clock/origin.h"
#include "conflict/policy.h"
#include "crdt/effect.h"
#include "crdt/key_state.h"
#include "keyspace/elements.h"
#include "keyspace/entry.h"
#include "keyspace/table.h"
#include "keyspace/uses.h"

namespace polyarch::keyspace {

// A key of a database with its hash; the string belongs to the caller.
struct KeyRef {
  uint8_t db = 0;
  std::string_view key;
  uint64_t hash = 0;
};

// kMerged: another leader's state was merged. kCleaned: only residue went; if it was one of several versions, there may
// be no conflict to be shown any more. kReverted: a transaction was given up. kEvicted: removed here, for its memory.
enum class Cause : uint8_t { kLocal, kRemote, kMerged, kLoaded, kCleaned, kReverted, kEvicted };

// Told of every change of a key's state. Calls come in the middle of Apply: do not call back.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void KeyModified(const KeyRef& ref, Cause cause) = 0;
  // `added` came in beside versions that its writer had not seen (remote changes and resolutions):
  // of the key's own register (kString), or of an element. What the change makes of it shows at its end: it may write the
  // register again.
  virtual void VersionsMet(
      uint8_t db, std::string_view key, crdt::Type type, std::string_view element, clock::Dot added) = 0;
  // Another leader's state was merged into this key: `mine` is what stood here before. KeyModified
  // has been called.
  virtual void Merged(uint8_t db,
                      std::string_view key,
                      const crdt::KeyState& mine,
                      const crdt::KeyState& merged) = 0;
};

class DecidedView;
class Keyspace;

// What a read shows.
struct Shown {
  enum class Kind : uint8_t { kMissing, kValue, kConflict, kCollection };
  Kind kind = Kind::kMissing;
  crdt::Type type = crdt::Type::kString;  // kCollection: of what; its elements are read by Open
  bool is_integer = false;  // a counter's view, or the inline form: `integer` holds it
  int64_t integer = 0;
  std::string_view value;  // valid until the next Read, Apply or SetTime; empty if is_integer
  int64_t expire_ms = crdt::kNever;
  size_t versions = 0;  // kConflict: how many distinct ones

  bool exists() const { return kind != Kind::kMissing; }
  // The bytes, whatever the form; `scratch` holds base::kInt64CharsMax bytes.
  std::string_view Text(char* scratch) const;
};

// A key's elements of one type, as a read sees them. Valid until the next Read, Open, Apply or SetTime.
struct Collection {
  enum class Status : uint8_t { kMissing, kOtherType, kFound };
  Status status = Status::kMissing;
  const Elements* elements = nullptr;  // kFound
  const conflict::Policy* policy = nullptr;
  std::optional<std::string_view> key;  // if fields have policies of their own
  const Keyspace* keyspace = nullptr;
  int64_t expire_ms = crdt::kNever;

  bool found() const { return status == Status::kFound; }
  size_t size() const { return elements == nullptr ? 0 : elements->shown(); }
  Viewer viewer() const;
  // The element if clients see it, else null.
  std::optional<ElementView> Find(std::string_view name) const;
  bool Contains(std::string_view name) const { return Find(name).has_value(); }
  ShownValue Get(std::string_view name) const;
  ShownValue Show(const ElementView& element) const;
  double Score(const ElementView& element) const {
    return elements->Score(element, viewer());
  }
  // Every element that clients see, until false.
  void ForEach(base::FunctionRef<bool(const ElementView&)> visit) const;
};

class Keyspace {
 public:
  struct Stats {
    uint64_t expired_hidden = 0;
    uint64_t unknown_effects = 0;
    uint64_t saturated = 0;
  };

  Keyspace(clock::OriginTable& origins,
           const conflict::PolicyTable& policies,
           base::SipKey hash_key);
  ~Keyspace();
  Keyspace(const Keyspace&) = delete;
  Keyspace& operator=(const Keyspace&) = delete;
  // An empty one with the same origins, policies and hash: what BeginMerge takes.
  std::unique_ptr<Keyspace> NewBeside() const;

  void SetObserver(Observer* observer) { observer_ = observer; }
  // The time that counts for hiding: set before each tick.
  void SetTime(int64_t time_ms);
  // What it holds of a key is shown instead of what is here (Read, Open, Size, Scan, RandomKey). May be null; the
  // caller's, and outlives its use.
  void SetDecided(DecidedView* decided) { decided_ = decided; }
  int64_t time_ms() const { return time_ms_; }

  KeyRef Ref(uint8_t db, std::string_view key) const {
    return {db, key, base::SipHash13(key, hash_key_)};
  }
  // Brings a key's bucket, then (second call) its entry, into the cache.
  void PrefetchBucket(const KeyRef& ref) const { tables_[ref.db].PrefetchBucket(ref.hash); }
  void PrefetchEntry(const KeyRef& ref) const { tables_[ref.db].PrefetchEntry(ref.hash); }

  // ---- reading
  Shown Read(const KeyRef& ref);
  // The same, but no lookup: of a key that the command has read before, or looks at for its own sake.
  Shown Peek(const KeyRef& ref);
  // The elements of `type`, if that is what the key shows.
  Collection Open(const KeyRef& ref, crdt::Type type);
  // The same for a command that has begun to write this type: the key may show another one by now, since
  // what is removed or replaced was the newest of this type.
  Collection OpenAgain(const KeyRef& ref, crdt::Type type);
  // Of a key that has been read: is there something live of more than the one type that it shows?
  bool HoldsSeveralTypes(const KeyRef& ref) const;
  // Exists, under the key's policy (conflicting keys exist).
  bool Exists(const KeyRef& ref) {
    if (PLANTED(kExistsUnmerged) && merge_ != nullptr && tables_[ref.db].Find(ref.hash, ref.key) == nullptr) return false;
    return Peek(ref).exists();
  }
  // What Read and Open have found, and not found, while that was to be counted (Redis's keyspace_hits, keyspace_misses).
  struct Lookups {
    uint64_t hits = 0;
    uint64_t misses = 0;
  };
  const Lookups& lookups() const { return lookups_; }
  // Until it is called again.
  void CountLookups(bool on) { counts_lookups_ = on; }
  // Is there anything that a delete takes away: what is shown, or what a version "absent" hides? Not of a key that is
  // hidden by its expiry.
  bool HoldsLive(const KeyRef& ref);
  bool HoldsLiveElement(const KeyRef& ref, crdt::Type type, std::string_view name);
  // When the newest of what it holds was written, by its stamp; 0 if nothing is stored. Copies nothing.
  uint64_t NewestWriteMs(const KeyRef& ref);
  // The whole state, hidden or not; empty if there is none. A copy.
  crdt::KeyState State(const KeyRef& ref) const;
  // Parts of it, of a key that has been read (so that nothing is left to be merged into it): without
  // the elements; one element, empty if it is not there.
  crdt::KeyState OwnState(const KeyRef& ref) const;
  crdt::Register ElementState(const KeyRef& ref, crdt::Type type, std::string_view name);
  // The elements of `type`, a list's or stream's, from the name `from` on, before the name `to`. False, and
  // nothing visited, if that is not easily told.
  bool VisitElements(const KeyRef& ref,
                     crdt::Type type,
                     std::string_view from,
                     std::string_view to,
                     base::FunctionRef<void(std::string_view name, const ElementView&)> visit);
  // Is there an unresolved conflict: several distinct versions, increments hidden by a value that is
  // no number, or several types?
  static bool IsOpenConflict(const crdt::KeyState& state, const clock::OriginTable& origins);

  // Visible keys (not hidden ones; conflicting ones are visible).
  size_t Size(uint8_t db) const;  // exact count of stored live keys, hidden ones included
  // SCAN: visits keys from `cursor` until about `count` were looked at; returns the next cursor, 0
  // at the end. A key that is there during the whole iteration is visited at least once.
  uint64_t Scan(uint8_t db,
                uint64_t cursor,
                size_t count,
                const std::function<void(std::string_view key)>& visit);
  // A visible key chosen by `random` (any 64-bit number), or nothing.
  std::optional<std::string> RandomKey(uint8_t db, uint64_t random);
  // All keys with their states, in no particular order.
  void ForEach(const std::function<void(uint8_t db, std::string_view key, const crdt::KeyState&)>&
                   visit) const;

  // ---- changing
  void Apply(const crdt::Effect& effect, const crdt::Seen& seen, clock::Hlc hlc, Cause cause);

  // Puts a key back to what State() said of it before a change that is given up. O(size of the key).
  void Restore(const KeyRef& ref, crdt::KeyState state);
  // The same of parts, whatever the size of the key: what its elements, and its own register and expiry, if told, were;
  // and collections that had gone whole, as they were then.
  struct Moved {
    std::unique_ptr<Elements> elements;
    bool drops = false;  // their rows are to be deleted because of this
  };
  using ElementStates = std::map<std::pair<crdt::Type, std::string>, crdt::Register>;
  void PutBack(const KeyRef& ref,
               crdt::KeyState* own,
               ElementStates elements,
               std::vector<Moved> moved);
  // From here on collections that go whole are put there instead of being freed; or (null) no more.
  void KeepMoved(std::vector<Moved>* moved) { moved_ = moved; }
  // Will a wipe, whose writer has seen this or all that is here, take all big collections of the key whole, and are all
  // of them big? O(1).
  bool GoesWhole(const KeyRef& ref, const crdt::Seen& seen);
  bool GoesWhole(const KeyRef& ref);
  // Frees it by and by (FreeSome).
  void FreeLater(std::unique_ptr<Elements> elements);

  // During replay: effects on the key's own register and expiry (kString), or on the element, for which
  // this is true are passed over: its row reflects them.
  using Filter = std::function<bool(
      uint8_t db, std::string_view key, crdt::Type type, std::string_view element)>;
  void SetReplayFilter(Filter filter) { skip_ = std::move(filter); }

  // ---- expiry and residue
  // Hidden keys whose removal this node may be due to issue, oldest first, from the instant
  // `from_ms` on; until false. `winner` wrote the expiry that counts.
  struct Expired {
    uint8_t db;
    std::string_view key;
    int64_t instant_ms;
    clock::OriginIndex winner;
  };
  void VisitExpired(int64_t from_ms, const std::function<bool(const Expired&)>& visit) const;
  // Keys, of which one side of this span shows something and the other does not: whose expiry is at or after
  // `from_ms`, and before `to_ms`.
  void VisitExpiring(int64_t from_ms,
                     int64_t to_ms,
                     base::FunctionRef<void(uint8_t db, std::string_view key)> visit) const;
  // The latest instant among hidden keys, and before `before_ms`; -1 if there is none.
  int64_t LatestHidden(int64_t before_ms = INT64_MAX) const;
  // The earliest expiry instant of any live key that has one; kNever if none.
  int64_t EarliestExpiry() const;
  // Keys that hold residue: cleared counter entries, nothing but absents, expiries of nothing.
  const std::set<std::pair<uint8_t, std::string>>& residue_keys() const { return residue_; }
  // How much of it there is: those keys, and their elements that hold some.
  size_t residue_count() const { return residue_.size() + residue_elements_; }
  // Residue has no value of its own to look at but its state (elements aside). Null for a key that
  // holds none. `live`: is anything live there, elements included?
  const crdt::KeyState* Residue(const KeyRef& ref, bool* live) const;
  // The key's elements that hold residue, by type and name, from these on, until false.
  void VisitResidue(
      const KeyRef& ref,
      crdt::Type type,
      std::string_view name,
      base::FunctionRef<bool(crdt::Type, std::string_view name, const crdt::Register&)> visit) const;
  // What had been applied when this was called first since the residue was last changed: `now` is
  // remembered then, and null returned.
  const clock::VersionVector* ResidueSince(const KeyRef& ref,
                                           const std::shared_ptr<const clock::VersionVector>& now);
  // What a write that replaces the whole key clears (see crdt::ClearsOf).
  std::vector<crdt::Clear> Clears(const KeyRef& ref);
  // See crdt::PrepareIncrement.
  std::optional<crdt::NextIncrement> PrepareIncrement(const KeyRef& ref,
                                                      clock::OriginIndex origin,
                                                      crdt::At at,
                                                      const crdt::Number& increment);
  // The same of an element.
  std::vector<crdt::Clear> ElementClears(const KeyRef& ref, crdt::Type type, std::string_view name);
  std::optional<crdt::NextIncrement> PrepareElementIncrement(const KeyRef& ref,
                                                             crdt::Type type,
                                                             std::string_view name,
                                                             clock::OriginIndex origin,
                                                             crdt::At at,
                                                             const crdt::Number& increment);
  // Does the element hold a version or a counter?
  bool HasElement(const KeyRef& ref, crdt::Type type, std::string_view name);
  // The key's elements that hold live counters, with what a wipe clears of each.
  struct ElementWithCounter {
    crdt::Type type;
    std::string name;
    std::vector<crdt::Clear> clears;
  };
  std::vector<ElementWithCounter> ElementsWithCounters(const KeyRef& ref);
  // The same in parts of about `count`, from `cursor` on, which is moved; false when the end was reached. Changes
  // between two parts do no harm: what comes behind the cursor meanwhile is not met.
  struct CounterCursor {
    uint8_t type = 1;
    uint64_t at = 0;
  };
  bool NextElementsWithCounters(const KeyRef& ref,
                                CounterCursor& cursor,
                                size_t count,
                                std::vector<ElementWithCounter>& found);
  // How many there are. O(1).
  size_t LiveCounters(const KeyRef& ref);
  // Keys of a database (or of all) that may hold live counters, in the key's register or an element.
  std::vector<std::pair<uint8_t, std::string>> KeysWithCounters(uint8_t db);
  // May a write that wipes the key clear counters, its own or its elements'? O(1).
  bool MayHoldCounters(const KeyRef& ref);
  // How many elements of all types are stored, shown or not. O(1).
  size_t StoredElements(const KeyRef& ref);
  bool HasExpiryVersions(const KeyRef& ref);
  bool HasRegisterOrCounter(const KeyRef& ref);
  const conflict::PolicyTable& policies() const { return policies_; }

  // Drops the wholly cleared counter entry of `origin`, locally (design: stability).
  void PurgeCounter(const KeyRef& ref, clock::OriginIndex origin);
  void PurgeElementCounter(const KeyRef& ref,
                           crdt::Type type,
                           std::string_view name,
                           clock::OriginIndex origin);

  // Policies have changed: what elements show is looked at again.
  void PoliciesChanged() {
    ++policy_epoch_;
    if (merge_ != nullptr) merge_->theirs->PoliciesChanged();
  }

  // Frees about `count` elements of collections that are gone; false when there is nothing left.
  bool FreeSome(size_t count);

  // ---- conflicts
  const std::set<std::pair<uint8_t, std::string>>& open_conflicts() const { return conflicts_; }
  // From here on it is noted which keys' open conflicts may have begun, changed or ended, until they are
  // taken; or no more.
  void WatchConflicts(bool on);
  bool watches_conflicts() const { return watches_conflicts_; }
  bool conflicts_changed() const { return !conflict_changes_.empty(); }
  std::set<std::pair<uint8_t, std::string>> TakeConflictChanges() {
    return std::exchange(conflict_changes_, {});
  }
  // The registers of a key that hold an open conflict: its own (kString), and elements. (Several types in
  // one key are one of the key as a whole.)
  static void VisitOpenConflicts(
      const crdt::KeyState& state,
      base::FunctionRef<void(crdt::Type, std::string_view name, const crdt::Register&)> visit);

  // ---- checkpoint and recovery
  // Sets the whole state of a key (from its row). Not dirty afterwards.
  void Load(uint8_t db, std::string_view key, crdt::KeyState state);
  // Adds an element that has a row of its own; after the key's row, if there is one. False if it is there
  // already: it stays, or, if `replaces`, gives way.
  bool LoadElement(uint8_t db,
                   std::string_view key,
                   crdt::Type type,
                   std::string_view name,
                   crdt::Register state,
                   bool replaces = false);
  // What a checkpoint writes. A key's row holds its own register, its expiry and few elements; of a type
  // of which there are many (`spilled`, a bit a type) each element has a row of its own.
  struct Row {
    enum class Kind : uint8_t {
      kKey,           // `state`; to be deleted if that is empty
      kElement,       // `element`, `register_state`; to be deleted if that is empty
      kDropElements,  // all rows of elements of `type` that were written before
    };
    Kind kind = Kind::kKey;
    uint8_t db = 0;
    std::string_view key;
    const crdt::KeyState* state = nullptr;
    uint8_t spilled = 0;
    crdt::Type type = crdt::Type::kString;
    std::string_view element;
    const crdt::Register* register_state = nullptr;
  };
  // Visits about `count` dirty rows and marks them clean. Returns false when a full pass over what was
  // dirty has ended. What one call visits must be written in one batch, in this order.
  bool VisitDirty(size_t count, const std::function<void(const Row&)>& visit);
  size_t dirty_count() const { return dirty_count_; }
  // The next VisitDirty begins a pass anew (the one under way was given up).
  void RestartVisitDirty() {
    walk_db_ = 0;
    walk_cursor_ = 0;
  }

  // ---- merging another state (merge.cc)
  // From now on this keyspace is the merge of what it holds, consistent as of `mine`, and of
  // `theirs`, consistent as of `theirs_vector`. Both vectors are frozen: each key is merged before
  // its first access, or by MergeSome. A key that one side lacks merges with "absent". State and
  // ForEach see through to what is not merged yet; Size, Scan, RandomKey, VisitDirty and the indices
  // of expiry, residue and conflicts do not: their callers wait for the end. A flush merges what is
  // left before it. The replay filter holds: a key that it passes over is taken as merged.
  void BeginMerge(std::unique_ptr<Keyspace> theirs,
                  clock::VersionVector mine,
                  clock::VersionVector theirs_vector);
  bool merging() const { return merge_ != nullptr; }
  // Merges about `count` further keys; false when nothing is left to do.
  bool MergeSome(size_t count);
  void MergeDatabase(uint8_t db);
  void MergeAll() {
    while (MergeSome(SIZE_MAX)) {
    }
  }
  // Keys merged on access since the start, for tests.
  uint64_t merged_on_access() const { return merged_on_access_; }

  base::Digest128 Digest() const;
  size_t memory_bytes() const {
    return memory_bytes_ + (merge_ == nullptr ? 0 : merge_->theirs->memory_bytes_);
  }
  // The same as it is compared with a limit: while another state is merged the larger of the two. What both hold is
  // there once when that has ended.
  size_t compared_bytes() const {
    return merge_ == nullptr ? memory_bytes_ : std::max(memory_bytes_, merge_->theirs->memory_bytes_);
  }
  // What the key takes of that, its place in the table included; 0 if nothing is stored.
  size_t MemoryOf(const KeyRef& ref);
  // What is taken beside that to find the keys: tables, the index of expiry, what is known of uses; and what an
  // allocator rounds up, about. Of databases, not of elements.
  size_t overhead_bytes() const;
  // As compared_bytes.
  size_t compared_overhead_bytes() const;
  size_t used_bytes() const { return memory_bytes() + overhead_bytes(); }
  // compared_bytes() beyond this are too much (`maxmemory`); SIZE_MAX: there is no limit.
  void SetMemoryLine(size_t bytes) { memory_line_ = bytes; }
  bool over_memory_line() const { return compared_bytes() > memory_line_; }

  // ---- eviction (eviction.cc): what may go to make room. Which keys those are is the caller's to say.
  // It is noted from now on when, or how often, keys are used; or no more. What is known stays if that is the kind.
  void NoteUsesAs(std::optional<Uses::Kind> kind);
  Uses* uses() { return uses_.get(); }
  const Uses* uses() const { return uses_.get(); }
  // Do Read and Open count as uses from here on? The next one may be of the same key.
  void CountUses(bool on) {
    if (uses_ == nullptr) return;
    counts_uses_ = on;
    uses_->NextCommand();
  }
  // How long ago the key was used, about: as uses() knows, or else since it was written. Of what is stored.
  int64_t IdleMs(const Entry& entry) const;
  uint64_t HashOf(const Entry& entry) const { return base::SipHash13(entry.key(), hash_key_); }
  // Is something live there, which its expiry does not hide? (Residue is not.)
  bool IsShown(const Entry& entry) const { return entry.has(Entry::kLive) && entry.indexed_expiry() >= time_ms_; }
  // What is stored under this key; null: nothing. Merges nothing, and sees nothing of what was decided.
  const Entry* StoredAs(const KeyRef& ref) const;
  // One that is `wanted`, drawn among all keys of the 16 databases; null if none was met in a hundred draws.
  const Entry* SampleKey(uint64_t random, base::FunctionRef<bool(const Entry&)> wanted) const;
  // Those of the 16 databases that have an expiry which does not hide them yet, the soonest first, from `from` on and
  // until false: it is set to the one that was visited last, or behind all.
  struct VolatilePlace {
    int64_t instant_ms = INT64_MIN;
    Entry* entry = nullptr;  // it may be gone: it is compared, not looked at
  };
  void VisitVolatile(VolatilePlace& from, base::FunctionRef<bool(const Entry&)> visit) const;
  // Goes on round all keys of the 16 databases, or those with an expiry, by about `count` of them. True: it has come
  // to the end; the next call begins anew.
  bool SweepKeys(bool with_expiry, size_t count, base::FunctionRef<void(const Entry&)> visit);
  void RestartSweep() {
    sweep_db_ = 0;
    sweep_cursor_ = 0;
    sweep_from_ = {INT64_MIN, nullptr};
  }
  // In the 16 databases, residue too.
  size_t stored_keys() const;
  // Names that the next checkpoint is to delete.
  size_t deleted_count() const { return deleted_.size(); }
  const Stats& stats() const { return stats_; }
  const clock::OriginTable& origins() const { return origins_; }

 private:
  friend class KeyspaceTestPeer;
  using KeySet = std::set<std::pair<uint8_t, std::string>>;

  struct Merge {
    std::unique_ptr<Keyspace> theirs;
    clock::VersionVector mine_vector;
    clock::VersionVector theirs_vector;
    size_t walk_db = 0;
    uint64_t walk_cursor = 0;
    bool walk_theirs = false;  // ours are done
  };

  // The key's slot, after what is to be merged into it was.
  Entry** Lookup(const KeyRef& ref) {
    if (merge_ != nullptr) [[unlikely]] {
      if (MergeKey(ref)) ++merged_on_access_;
    }
    return tables_[ref.db].Find(ref.hash, ref.key);
  }
  // False if there was nothing to merge.
  bool MergeKey(const KeyRef& ref);
  void TakeOut(const KeyRef& ref, Entry** other);
  bool MergeParts(const KeyRef& ref, Entry** slot, Entry** other);
  bool Skips(const KeyRef& ref, crdt::Type type, std::string_view element) const {
    return skip_ && skip_(ref.db, ref.key, type, element);
  }
  // Elements that are no part of their key any more.
  void Retire(const KeyRef& ref, std::unique_ptr<Elements> elements);
  void RetireEmpty(const KeyRef& ref, FatPart& fat);
  bool IsWipedWhole(const KeyRef& ref, base::FunctionRef<bool(const Elements&)> goes);
  void VisitKey(Entry* entry, const std::function<void(const Row&)>& visit);
  // Rows of the elements of `pending_`, as far as `count` goes; true when that is empty.
  bool VisitPending(size_t count, size_t& visited, const std::function<void(const Row&)>& visit);
  bool IsMerged(const Entry& entry) const { return entry.has(Entry::kEpoch) == epoch_; }
  // What the entry (or nothing) and theirs come to.
  crdt::KeyState MergedState(const KeyRef& ref, const Entry* entry) const;
  void PutBackSkipped(const KeyRef& ref, const crdt::KeyState& mine, crdt::KeyState& merged) const;

  void ApplyElement(const crdt::Effect& effect,
                    const crdt::Seen& seen,
                    clock::Hlc hlc,
                    const KeyRef& ref,
                    Cause cause);
  // The wipe of a key whose own row reflects it, during replay: elements' rows may not.
  void WipeAcross(const crdt::Effect& effect, const crdt::Seen& seen, const KeyRef& ref);
  void WipeRange(const crdt::Effect& effect, const crdt::Seen& seen, const KeyRef& ref);
  // Removes what a wipe of the key leaves nothing of.
  void WipeElements(FatPart& fat,
                    const crdt::Effect& effect,
                    const crdt::Seen& seen,
                    const KeyRef& ref);
  // After a fat entry has changed where it is: back to a small form as soon as the state allows it.
  void Settle(const KeyRef& ref, Entry** slot);
  // The entry for a whole state; nullptr for an empty one.
  Entry* Build(const KeyRef& ref, crdt::KeyState state);
  static void AddIfLiveCounter(const Elements& elements,
                               const ElementView& element,
                               std::vector<ElementWithCounter>& found);
  Collection OpenElements(const KeyRef& ref, crdt::Type type, bool again);
  Elements* FindElements(const KeyRef& ref, crdt::Type type);
  static Elements* ElementsIn(Entry& entry, crdt::Type type);
  Elements& ElementsOf(FatPart& fat, crdt::Type type);
  const conflict::Policy& PolicyOf(const KeyRef& ref, crdt::Type type) const;
  bool HasFieldPolicies(const KeyRef& ref, crdt::Type type) const {
    return policies_.tells_fields() && type == crdt::Type::kHash && ref.db != crdt::kReservedDatabase;
  }
  Viewer ViewerOf(const KeyRef& ref, crdt::Type type) const {
    return {PolicyOf(ref, type), policies_, origins_, policy_epoch_, HasFieldPolicies(ref, type), ref.key};
  }
  // What a fat entry shows as: nothing if nothing.
  std::optional<crdt::Type> ShownType(const KeyRef& ref, const FatPart& fat);
  static bool IsLive(const FatPart& fat);

  friend struct Collection;

  bool ApplyFast(const crdt::Effect& effect,
                 const crdt::Seen& seen,
                 clock::Hlc hlc,
                 const KeyRef& ref);
  void ApplySlow(const crdt::Effect& effect,
                 const crdt::Seen& seen,
                 clock::Hlc hlc,
                 const KeyRef& ref,
                 Cause cause);
  void ApplyFlush(const crdt::Effect& effect, const crdt::Seen& seen, clock::Hlc hlc, Cause cause);
  // Puts `entry` (or nothing) in the place of the key's present one, with all indices.
  void Place(const KeyRef& ref, Entry** slot, Entry* entry);
  // Brings the indices in line with a fat entry's state after it was changed where it is.
  void Reindex(Entry* entry);
  void Unindex(Entry* entry);
  void Touched(Entry** slot) {
    if (Table::MarkDirty(slot)) ++dirty_count_;
  }
  Shown ShowState(const KeyRef& ref, const crdt::KeyState& state);
  Shown ShowFat(const KeyRef& ref, const FatPart& fat);
  Shown ShowEntry(const KeyRef& ref, const Entry& entry);
  void CountMemory(const Entry* entry, bool added);
  void Sync(Elements& elements, const Viewer& viewer);
  size_t own_overhead_bytes() const;
  // The keyspace that has the key's decided value; null: this one says what it shows.
  Keyspace* DecidedOf(const KeyRef& ref) const;
  uint64_t ScanDecided(uint8_t db,
                       uint64_t cursor,
                       size_t count,
                       const std::function<void(std::string_view key)>& visit);

  clock::OriginTable& origins_;
  const conflict::PolicyTable& policies_;
  base::SipKey hash_key_;
  Observer* observer_ = nullptr;
  DecidedView* decided_ = nullptr;
  int64_t time_ms_ = 0;
  std::vector<Table> tables_;                          // kDatabases + the reserved one
  std::vector<size_t> live_;                           // keys with something live, a database
  std::set<std::pair<int64_t, Entry*>> expiry_index_;  // live keys only
  KeySet residue_;
  KeySet conflicts_;
  bool watches_conflicts_ = false;
  KeySet conflict_changes_;
  bool beside_ = false;  // of NewBeside: it has no rows, and what goes from it needs none to be deleted
  KeySet deleted_;  // keys gone since their row was written
  std::set<std::tuple<uint8_t, std::string, crdt::Type>> dropped_;  // elements' rows to be deleted
  // Keys whose row was visited and whose spilled elements are not all, with the place to go on from.
  struct Pending {
    uint8_t db;
    std::string key;
    uint8_t types = 0;  // that were spilled when the key's row was visited: a bit each
    uint8_t type = 1;
    uint64_t cursor = 0;
  };
  std::deque<Pending> pending_;
  size_t dirty_count_ = 0;
  size_t walk_db_ = 0;
  uint64_t walk_cursor_ = 0;
  size_t memory_bytes_ = 0;
  size_t residue_elements_ = 0;  // elements that hold residue, of all keys
  size_t memory_line_ = SIZE_MAX;
  std::unique_ptr<Uses> uses_;
  bool counts_uses_ = false;
  size_t sweep_db_ = 0;
  uint64_t sweep_cursor_ = 0;
  // Where the sweep of keys with an expiry goes on. The entry may be gone: it is compared, not looked at.
  std::pair<int64_t, Entry*> sweep_from_{INT64_MIN, nullptr};
  std::vector<std::unique_ptr<Elements>> gone_;  // collections that wait to be freed
  std::vector<Moved>* moved_ = nullptr;
  uint64_t policy_epoch_ = 1;
  bool epoch_ = false;  // what the bit kEpoch of a merged entry is
  std::unique_ptr<Merge> merge_;
  uint64_t merged_on_access_ = 0;
  std::string scratch_;
  Filter skip_;
  Stats stats_;
  void NoteLookup(bool found) { (found ? lookups_.hits : lookups_.misses) += counts_lookups_ ? 1 : 0; }
  Lookups lookups_;
  bool counts_lookups_ = false;
};

}  // namespace polyarch::keyspace
