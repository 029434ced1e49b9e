// Effects: what a change did, as results that apply the same everywhere. An effect is replicated;
// the command that caused it is not. `Seen` says what the writer had seen, from the frame's deps;
// an effect replaces exactly that. Effects that act on less than "all that was seen" carry it
// explicitly
// (`clears`, `seen`).
//
// An Effect is a view: its strings and spans belong to the caller (a command's arguments, or the
// frame that is being applied) and live for the call.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <string_view>

#include "clock/hlc.h"
#include "clock/origin.h"
#include "clock/version_vector.h"
#include "crdt/number.h"

namespace polyarch::crdt {

// A place in one origin's stream: the sequence of a change and the index of an effect in it.
// Together with the origin it is a tag. (1,0) is the first possible one; (0,0) is "never".
struct At {
  uint64_t sequence = 0;
  uint32_t index = 0;
  friend auto operator<=>(const At&, const At&) = default;
};

// What a writer had seen of one origin's counter: that life of it, up to that increment.
struct Clear {
  clock::OriginIndex origin = clock::kNoOrigin;
  At life;
  At at;
  Number total;
};

// What a Clear takes in a frame, at most: place, life, at, and a number with both parts.
inline constexpr size_t kClearBytesMax = 3 + 2 * 12 + 27;

// Expiry instants are milliseconds since 1970 by the writer's clock; kNever is "no expiry".
inline constexpr int64_t kNever = INT64_MAX;

enum class EffectKind : uint8_t {
  kPut = 1,        // a new version of the register
  kWipe = 2,       // remove all that was seen of the key
  kIncrement = 3,  // the origin's new total
  kExpire = 4,     // a new expiry version (kNever: PERSIST)
  kResolve = 5,    // a new version that replaces exactly `seen`
  kClean = 6,      // remove the residue named by `seen`
  kFlush = 7,      // remove all that was seen of every key of a database (kAllDatabases: of all)
  kWipeRange = 8,  // remove the versions that were seen of all elements of `type` from the name `element`
                   // on, before the name `value`
};
inline constexpr uint8_t kEffectKindMax = 8;

inline constexpr uint8_t kDatabases = 16;
inline constexpr uint8_t kReservedDatabase = 16;  // members, policies, ...; clients cannot name it
inline constexpr uint8_t kAllDatabases = 0xff;    // kFlush only; never the reserved one

// What a key can be. A string is the key's own register; everything else consists of elements, each a
// register with a name: a hash's field, a set's or sorted set's member, a list's item (named by its
// position), a stream's entry. Numbers are part of the formats.
enum class Type : uint8_t {
  kString = 0,
  kHash = 1,
  kSet = 2,
  kSortedSet = 3,
  kList = 4,
  kStream = 5,
};
inline constexpr uint8_t kTypeMax = 5;
// Of an element's name.
inline constexpr size_t kElementBytesMax = 65535;

enum EffectFlag : uint8_t {
  kAbsent = 1,      // kPut, kResolve: the version is "deleted"
  kNeverFlag = 2,   // kPut, kResolve: this version was written without TTL
  kWipes = 4,       // kPut, kIncrement: a kWipe comes first, in the same effect
  kKeepExpiry = 8,  // kWipe, and with kWipes: expiry versions stay
  kHasExpiry = 16,  // kPut: an expiry version with the same tag comes with it
};

struct Effect {
  EffectKind kind = EffectKind::kPut;
  uint8_t db = 0;
  uint8_t flags = 0;
  // kPut, kWipe, kIncrement, kResolve, kClean of an element: its type and name; kWipeRange: see there. kString: the effect is
  // about the key itself. Of an element's effects kWipes, kNeverFlag and kHasExpiry mean nothing.
  Type type = Type::kString;
  std::string_view key;
  std::string_view element;
  uint64_t key_hash = 0;             // of the key at this node if known, else 0; never on the wire
  std::string_view value;            // kPut, kResolve, kWipeRange
  int64_t expire_ms = kNever;        // kPut with kHasExpiry; kExpire
  At life;                           // kIncrement: when the counter's present life began
  Number total;                      // kIncrement: the origin's total in this life
  Number increment;                  // kIncrement
  std::span<const Clear> clears;     // kPut, kWipe, kIncrement, kResolve
  std::span<const clock::Dot> seen;  // kResolve, kClean
};

// Is the element of this name one that a kWipeRange is about (if it is of its type)?
inline bool IsInRange(const Effect& effect, std::string_view name) {
  return name >= effect.element && name < effect.value;
}

// What the writer of effect (origin, at) had seen: `deps`, its own earlier changes, and the same
// change's earlier effects.
class Seen {
 public:
  Seen(const clock::VersionVector& deps, clock::OriginIndex origin, At at)
      : deps_(deps), origin_(origin), at_(at) {}

  // A version's dot. One register never holds two versions of one dot, so the index is not needed:
  // a version of this very change was written by an earlier effect of it.
  bool Covers(clock::Dot dot) const {
    return dot.origin() == origin_ ? dot.sequence() <= at_.sequence
                                   : dot.sequence() <= deps_.Get(dot.origin());
  }
  clock::Dot dot() const { return {origin_, at_.sequence}; }
  clock::OriginIndex origin() const { return origin_; }
  At at() const { return at_; }

 private:
  const clock::VersionVector& deps_;
  clock::OriginIndex origin_;
  At at_;
};

}  // namespace polyarch::crdt
