// The replicated state of one key: a register of its own (what a string is), the expiry, and elements,
// each a register with a type and a name (what everything else consists of). A register is its
// versions and a counter (one entry an origin). Values: apply, merge, encode, digest; no I/O, no time.
//
// The types share all of this: a set's member is an element whose value is empty, a hash's field one
// with a value, a sorted set's member one whose value is a score; positions that are names make a list
// of them. A key may hold elements of several types, after concurrent creation: which one is shown is
// NewestType's answer.
//
// Laws, for any set of changes delivered in any order that respects causality:
//   - Apply is commutative over concurrent effects;
//   - Merge(a, va, b, vb) of two consistent states equals applying the union of what both applied;
//   - Merge is commutative, associative and idempotent.
// There are no tombstones: a version that a vector covers and the state lacks has been removed.
//
// Invariants: versions and expiries sorted by Dot of this node's numbering, one a dot; counters
// sorted by origin index, one an origin; elements sorted by type and name, none empty. Canonical order for people and digests is by global
// origin.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "crdt/effect.h"

namespace polyarch::crdt {

struct Version {
  clock::Dot dot;
  clock::Hlc hlc;
  bool never = false;   // written without TTL, and no EXPIRE that saw it since
  bool absent = false;  // "deleted", kept so that delete against edit is a conflict
  std::string value;
  friend bool operator==(const Version&, const Version&) = default;
};

struct CounterEntry {
  clock::OriginIndex origin = clock::kNoOrigin;
  At life;                // the increment that began this life
  At at;                  // the newest increment
  Number total;           // of this life
  At cleared_at;          // increments up to here are cleared; (0,0): none
  Number cleared_total;   // the total then
  clock::Dot cleared_by;  // the change that cleared last; zero: none (or before this entry)
  clock::Hlc hlc;         // of the newest increment

  // Existence is "at > cleared_at", never "total is not 0".
  bool live() const { return at > cleared_at; }
  friend bool operator==(const CounterEntry&, const CounterEntry&) = default;
};

struct ExpiryVersion {
  clock::Dot dot;
  clock::Hlc hlc;
  int64_t time_ms = kNever;
  friend bool operator==(const ExpiryVersion&, const ExpiryVersion&) = default;
};

struct Register {
  std::vector<Version> versions;
  std::vector<CounterEntry> counters;

  bool empty() const { return versions.empty() && counters.empty(); }
  bool has_live_version() const;
  bool has_live_counter() const;
  // Is anything there that a client could see (whatever the policy)?
  bool live() const { return has_live_version() || has_live_counter(); }

  friend bool operator==(const Register&, const Register&) = default;
};

struct Element : Register {
  Type type = Type::kSet;
  std::string name;

  friend bool operator==(const Element&, const Element&) = default;
};

struct KeyState : Register {
  std::vector<ExpiryVersion> expiries;
  std::vector<Element> elements;

  bool empty() const { return Register::empty() && expiries.empty() && elements.empty(); }
  // The key's own register or any element.
  bool live() const;
  const Element* FindElement(Type type, std::string_view name) const;
  // The instant that counts: the latest of all expiry versions and of "never" versions.
  int64_t ExpiryTime() const;

  friend bool operator==(const KeyState&, const KeyState&) = default;
};

// What applying an effect met, for conflict events.
struct ApplyResult {
  bool added_version = false;  // a new version stands
  bool concurrent = false;     // beside versions that its writer had not seen
};

// Applies one effect to one key (kFlush: to this key). `hlc` is the change's stamp.
ApplyResult Apply(KeyState& state, const Effect& effect, const Seen& seen, clock::Hlc hlc);
// The same for one element that is kept by itself: `effect` is about this element, or a kWipe or kFlush
// of its key, or a kWipeRange that it is part of.
ApplyResult ApplyToElement(Register& element,
                           const Effect& effect,
                           const Seen& seen,
                           clock::Hlc hlc);

// The clears that a write carries which replaces all that `state` shows now. A wipe of a key carries
// its own register's only: the elements that hold live counters are wiped one by one before it.
std::vector<Clear> ClearsOf(const Register& state);

// The life and total that the next increment by `origin` must carry; `at` is its own place.
struct NextIncrement {
  At life;
  Number total;
};
std::optional<NextIncrement> PrepareIncrement(const Register& state,
                                              clock::OriginIndex origin,
                                              At at,
                                              const Number& increment);

// Merges two consistent states of one key with their (frozen) vectors.
KeyState Merge(const KeyState& a,
               const clock::VersionVector& va,
               const KeyState& b,
               const clock::VersionVector& vb);

// One element (or none: an empty register) of each.
Register MergeElement(const Register& a,
                      const clock::VersionVector& va,
                      const Register& b,
                      const clock::VersionVector& vb);

// Among the types of which `state` holds something live, that with the newest tag, by stamp, then by
// global origin and place; nothing if nothing lives. More than one live type is a conflict.
std::optional<Type> NewestType(const KeyState& state, const clock::OriginTable& origins);

// A tag's rank in that order. What lives of a register, at its newest; nothing if nothing lives.
struct TagRank {
  clock::Hlc hlc;
  clock::OriginIndex origin = clock::kNoOrigin;
  At at;  // a version's index is not known: 0
  bool Less(const TagRank& other, const clock::OriginTable& origins) const;
};
std::optional<TagRank> NewestTag(const Register& state, const clock::OriginTable& origins);

// The sum of the live counters in canonical order. It may leave 64 bits: what is shown is the base
// with it, and saturates only then.
Number CounterSum(const Register& state, const clock::OriginTable& origins);

// Row format 2, with this node's origin indices. Decode fails on malformed bytes. Format 1 had no
// elements.
inline constexpr uint8_t kStateFormat = 2;
void Encode(const KeyState& state, std::string& out);
bool Decode(base::Reader& in, KeyState& state, uint8_t format = kStateFormat);
// One element's register by itself.
void EncodeRegister(const Register& state, std::string& out);
bool DecodeRegister(base::Reader& in, Register& state);

// The canonical bytes of what counts for equality: live versions and counters and expiries of live
// keys, with global origins; residue (cleared counters, lone absents, lone expiries) is left out.
// Empty if nothing counts. With `residue`, everything.
std::string Canonical(const KeyState& state,
                      const clock::OriginTable& origins,
                      bool residue = false);
// What one element adds to it; empty if nothing counts. What is equal here is equal whole.
std::string CanonicalElement(const Register& element,
                             const clock::OriginTable& origins,
                             bool residue = false);

}  // namespace polyarch::crdt
