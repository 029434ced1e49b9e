// The change under way: what commands write through. One Change serves one command (or transaction
// or script); each method applies its effect to the keyspace at once and adds it to the frame of
// this tick. A command that fails must fail before its first write. Only a transaction that keeps what was
// there before can be taken back, as a whole (BeginTransaction).
//
// An accepted write always writes an effect, also when it sets an equal value: otherwise an
// acknowledged write could lose to a concurrent one that was never seen. A failed condition writes
// nothing.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clock/hlc.h"
#include "crdt/effect.h"
#include "crdt/key_state.h"
#include "crdt/position.h"
#include "crdt/stream.h"
#include "keyspace/keyspace.h"

namespace polyarch::keyspace {

// Where changes go: gives dots and stamps, takes effects in order. Implemented by the engine.
class ChangeSink {
 public:
  virtual ~ChangeSink() = default;
  struct Stamp {
    clock::OriginIndex origin;
    uint64_t sequence;
    clock::Hlc hlc;
  };
  // Begins a change (mints the incarnation if this is the first write of the process).
  virtual Stamp Open() = 0;
  // Everything this node has applied, its own earlier changes included.
  virtual const clock::VersionVector& applied() const = 0;
  virtual void Add(const crdt::Effect& effect) = 0;
  virtual void Close() = 0;
  // Takes back what was opened, with all that was added since: a rejected command is no change.
  virtual void Abandon() = 0;
  // What the open change comes to so far, encoded; 0 if none is open.
  virtual size_t open_bytes() const = 0;
};

class Change {
 public:
  Change(ChangeSink& sink, Keyspace& keyspace) : sink_(sink), keyspace_(keyspace) {}
  ~Change() { Finish(); }
  Change(const Change&) = delete;
  Change& operator=(const Change&) = delete;

  enum class Ttl : uint8_t {
    kNone,  // as SET: whatever expiry there was is gone
    kKeep,  // as SET KEEPTTL: the expiry stays
    kPart,  // as APPEND: it stays, and so does what the key holds of other types
    kAt,    // as SET EX: expires at expire_ms
  };

  // A new value, replacing all that this leader has seen of the key.
  void Put(const KeyRef& ref, std::string_view value, Ttl ttl, int64_t expire_ms = crdt::kNever);
  // Deletes what this leader has seen: an observed-remove, or the version "absent" if the key's
  // policy says so.
  void Delete(const KeyRef& ref);
  // The removal of an expired key: the expiry versions stay (see docs/design on expiry).
  void RemoveExpired(const KeyRef& ref);
  // The same in parts: clears about `count` of the key's counters, from `cursor` on, and when none is left removes the
  // key. True if it is removed.
  bool RemoveExpiredPart(const KeyRef& ref, Keyspace::CounterCursor& cursor, size_t count);
  // Removes it for its memory: an observed-remove, whatever the key's policy says of deletes. What another leader writes
  // beside it stays.
  void Evict(const KeyRef& ref);
  // Adds `by` to the counter. False, and nothing written, when this origin's total would overflow.
  // The caller has checked that the view is a number and that the sum fits.
  bool Increment(const KeyRef& ref, const crdt::Number& by);
  // EXPIRE (an instant) and PERSIST (crdt::kNever).
  void SetExpiry(const KeyRef& ref, int64_t expire_ms);
  // Replaces exactly the versions `seen` and the counter totals `clears` by `value` (or by
  // "absent").
  void Resolve(const KeyRef& ref,
               std::string_view value,
               bool absent,
               std::span<const clock::Dot> seen,
               std::span<const crdt::Clear> clears);
  // Removes residue, by name.
  void Clean(const KeyRef& ref, std::span<const clock::Dot> seen);
  // FLUSHDB (one database) or FLUSHALL (crdt::kAllDatabases).
  void Flush(uint8_t db);

  // ---- elements. The caller has seen that the key is missing or shows this type. The first element of
  // a key that shows nothing begins with a wipe of what this leader has seen.
  void PutElement(const KeyRef& ref,
                  crdt::Type type,
                  std::string_view name,
                  std::string_view value);
  // The same of a key that shows this type, and of a name that it does not hold.
  void AddElement(const KeyRef& ref,
                  crdt::Type type,
                  std::string_view name,
                  std::string_view value);
  // An observed-remove; of a hash's field the version "absent" if the key's policy says so.
  void RemoveElement(const KeyRef& ref, crdt::Type type, std::string_view name);
  // ---- lists (change_list.cc). False, and nothing written: there is no room for a name (see
  // crdt/position.h), which only forged names bring about, or it would be longer than kElementBytesMax.
  // A new element at the front or the back.
  bool Push(const KeyRef& ref, bool front, std::string_view value);
  // One beside the shown element `pivot`.
  bool Insert(const KeyRef& ref, std::string_view pivot, bool before, std::string_view value);

  // Observed-removes of all elements of `type` from the name `from` on, before the name `to`: one effect.
  void RemoveRange(const KeyRef& ref, crdt::Type type, std::string_view from, std::string_view to);
  // An id for a new entry of a stream whose last id is `last` (see crdt::NextStreamId); the change is open
  // then. Nothing, and nothing written, if there is none.
  std::optional<crdt::StreamId> NewStreamId(crdt::StreamId last, uint64_t ms, bool only_ms);

  // As Increment.
  bool IncrementElement(const KeyRef& ref,
                        crdt::Type type,
                        std::string_view name,
                        const crdt::Number& by);
  // As Resolve.
  void ResolveElement(const KeyRef& ref,
                      crdt::Type type,
                      std::string_view name,
                      std::string_view value,
                      std::span<const clock::Dot> seen,
                      std::span<const crdt::Clear> clears);
  void CleanElement(const KeyRef& ref,
                    crdt::Type type,
                    std::string_view name,
                    std::span<const clock::Dot> seen);

  // Ends the change; further writes begin another one.
  void Finish();
  bool wrote() const { return wrote_; }
  // What it comes to so far, encoded.
  size_t bytes() const { return open_ ? sink_.open_bytes() : 0; }

  // Until the next call, the keys that are written are put there, as often as they are.
  using Keys = std::vector<std::pair<uint8_t, std::string>>;
  void NoteKeys(Keys* keys) { keys_ = keys; }

  // ---- transactions (transaction.cc)
  // Until EndTransaction all that is written is one change, a flush too. `keep`: what was there before is
  // kept, so that Revert can put it back: of an element that is written a copy, of a key that is wiped one of
  // it all, or, where its collections are big and go whole, these themselves. Nothing has been written yet.
  void BeginTransaction(bool keep);
  void EndTransaction();
  bool in_transaction() const { return whole_; }
  bool keeps() const { return before_ != nullptr; }
  // What the kept copies take, roughly.
  size_t kept_bytes() const { return kept_bytes_; }
  // What a copy of the key would take, and of all keys of a database: far more than they do themselves.
  size_t CopyBytesOf(const KeyRef& ref) const;
  // The same of what a wipe of the key has copied.
  size_t WipeBytesOf(const KeyRef& ref) const;
  size_t CopyBytesOfAll(uint8_t db) const;
  // As if nothing had been written since BeginTransaction(true). Not after a Resolve.
  void Revert();

 private:
  void Emit(crdt::Effect& effect);
  void OpenIfNeeded();
  struct Kept;
  // Where big collections are put that the effect takes whole; null if it takes none.
  Kept* KeepBefore(const crdt::Effect& effect, const crdt::Seen& seen);
  void KeepAll(uint8_t db);
  // The next effect's place.
  crdt::At NextAt();
  // False if nothing was written: the change may be as if never begun.
  bool GiveUp();
  // What a wipe of the key needs before it: elements with counters go one by one, with what was seen.
  void WipeCounterElements(const KeyRef& ref);
  void ClearElements(const KeyRef& ref, std::span<const Keyspace::ElementWithCounter> elements);
  void Wipe(const KeyRef& ref, uint8_t flags);
  void CreateIfMissing(const KeyRef& ref);
  crdt::PositionMaker NextPosition(size_t elements);
  void PutAt(const KeyRef& ref, std::string_view name, std::string_view value);

  ChangeSink& sink_;
  Keyspace& keyspace_;
  ChangeSink::Stamp stamp_{};
  uint32_t next_index_ = 0;
  bool open_ = false;
  bool wrote_ = false;
  bool whole_ = false;  // in a transaction
  Cause cause_ = Cause::kLocal;
  Keys* keys_ = nullptr;
  // What a key held before it was written, as far as it was.
  struct Kept {
    bool whole = false;  // `state` is all of it
    bool own = false;    // `state` is its own register and expiry
    crdt::KeyState state;
    Keyspace::ElementStates elements;
    std::vector<Keyspace::Moved> moved;  // then `state` is as if only `own`, and nothing else is kept any more
  };
  void KeepWhole(const KeyRef& ref, Kept& kept);
  void KeepOwn(const KeyRef& ref, Kept& kept);
  void KeepElement(Kept& kept, crdt::Type type, std::string_view name, crdt::Register state);
  // `now` with what was kept in its place.
  static crdt::KeyState Before(crdt::KeyState now, Kept&& kept);
  std::unique_ptr<std::map<std::pair<uint8_t, std::string>, Kept>> before_;
  size_t kept_bytes_ = 0;
};

}  // namespace polyarch::keyspace
