// What the rows of one slot come to, in 16 bytes: two leaders whose digests of a slot are equal hold
// the same rows there, so a state transfer need not send them.
//
// A digest is a sum over what a slot's rows hold (a version, a counter entry, an expiry version), each
// with its key, its element if it is of one, and its global origin: it depends neither on this node's
// numbering of origins nor on any order, nor on which elements have rows of their own. Everything
// counts, residue too; the log position of a row does not. The hash is keyed with the transfer's random number, so that a client, who chooses keys
// and values, cannot choose two states that look the same.
//
// Both walks below run over a store's data rows in key order, which is the order of slots; a slice at
// a time, on the store's thread (storage/store.h, Prepare). They share nothing with the engine while
// a read is under way: names of origins are a copy.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "clock/origin.h"
#include "crdt/key_state.h"
#include "engine/rows.h"
#include "log/log.h"
#include "storage/store.h"
#include "wire/state_message.h"

namespace polyarch::engine {

inline constexpr uint32_t kSlots = 16384;
using wire::kSlotBitsBytes;

// The slot of a data row, and the shortest key that lies before all rows of a slot (and behind all of
// the slots before it). `slot` up to kSlots: behind all of them.
uint32_t SlotOfRowKey(std::string_view row_key);
std::string SlotStart(uint32_t slot);

// A set of slots as kSlotBitsBytes bytes, the lowest bit first; an empty string is the empty set.
bool HasSlot(std::string_view bits, uint32_t slot);
void AddSlot(std::string& bits, uint32_t slot);

class SlotHasher {
 public:
  SlotHasher(uint64_t transfer, std::vector<clock::Origin> names);
  // More origins than before, or the same. Not while a read is under way.
  void SetNames(std::vector<clock::Origin> names) { names_ = std::move(names); }
  size_t names() const { return names_.size(); }
  // Adds what one row holds. False if it names an origin that is not known.
  bool Add(std::string_view row_key, const DataRow& row, base::Digest128& sum);

 private:
  bool AddRegister(std::string_view row_key, const crdt::Register& state, base::Digest128& sum);
  bool Begin(char kind, std::string_view row_key, clock::OriginIndex origin);
  void End(base::Digest128& sum) const;

  base::SipKey low_;
  base::SipKey high_;
  std::vector<clock::Origin> names_;
  std::string scratch_;
};

// The sender's walk: the digests of its slots, as of its checkpoint. A slot with a row that is newer
// than `base`, where that checkpoint began, has none: its rows go anyway.
class SlotDigester {
 public:
  SlotDigester(uint64_t transfer, log::Position base, std::vector<clock::Origin> names)
      : hasher_(transfer, std::move(names)), base_(base) {}
  SlotHasher& hasher() { return hasher_; }
  // The slots that have ended since the last call, as (SlotStart, digest or nothing), in order; those
  // without a row are not among them.
  using Found = std::vector<std::pair<std::string, std::string>>;
  Found TakeFound() { return std::exchange(found_, {}); }
  // Takes in the rows of `slice` and leaves none of them.
  void Walk(storage::Slice& slice);

 private:
  void EndSlot();

  SlotHasher hasher_;
  log::Position base_;
  std::optional<uint32_t> slot_;  // the one under way
  base::Digest128 sum_;
  bool moving_ = false;
  Found found_;
};

// The receiver's walk: which slots of its own store are those of the sender, and their rows. They are
// hashed and handed out as the same bytes, so it does not matter that its store changes meanwhile.
class SlotMatcher {
 public:
  using Digests = std::map<uint32_t, base::Digest128>;
  SlotMatcher(uint64_t transfer,
              log::Position base,
              std::vector<clock::Origin> names,
              Digests theirs)
      : hasher_(transfer, std::move(names)), base_(base), theirs_(std::move(theirs)) {}
  SlotHasher& hasher() { return hasher_; }
  const std::string& equal() const { return equal_; }
  size_t equal_count() const { return equal_count_; }
  // Leaves in `slice` the rows of the equal slots that have ended, as rows that reflect the sender's
  // position `base`.
  void Walk(storage::Slice& slice);

 private:
  void EndSlot(std::vector<std::pair<std::string, std::string>>& out);

  SlotHasher hasher_;
  log::Position base_;
  Digests theirs_;
  std::optional<uint32_t> slot_;
  base::Digest128 sum_;
  bool wanted_ = false;  // the sender has a digest for it, and it is not too large to be kept
  std::vector<std::pair<std::string, std::string>> rows_;
  size_t bytes_ = 0;
  std::string equal_;
  size_t equal_count_ = 0;
};

std::string EncodeSlotDigest(const base::Digest128& digest);
std::optional<base::Digest128> DecodeSlotDigest(std::string_view bytes);

}  // namespace polyarch::engine
