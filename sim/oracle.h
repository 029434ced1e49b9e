// The naive model of the whole cluster's data. It keeps every change ever made and derives the state of
// whoever has seen a given set of changes from visibility alone: who had seen what, as the authors'
// `deps` say. It knows no totals, lives, clears, merges, claims or purges, and shares no code with
// crdt/, so it can share no mistake with them.
//
// Origins are ordinals, given in the order in which the simulator met them. A change must be added when
// its author makes it, so before anybody else can have seen it: an effect can only remove what was added
// to the oracle before.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crdt/effect.h"

namespace polyarch::sim {

// Per origin ordinal the highest sequence seen; missing: 0.
using Vector = std::vector<uint64_t>;
inline uint64_t At(const Vector& v, size_t origin) { return origin < v.size() ? v[origin] : 0; }
void Raise(Vector& v, size_t origin, uint64_t sequence);
bool Includes(const Vector& big, const Vector& small);
void Join(Vector& a, const Vector& b);
// Without trailing zeros, so that equal sets of changes are equal values.
void Normalize(Vector& v);

struct Dot {
  uint32_t origin = 0;
  uint64_t sequence = 0;
  friend auto operator<=>(const Dot&, const Dot&) = default;
};
inline bool Covers(const Vector& v, Dot dot) { return dot.sequence <= At(v, dot.origin); }

// (database, key)
using Key = std::pair<uint8_t, std::string>;
// A register of a key: an element by type and name, or, of type string and without a name, the key's own.
using Place = std::pair<crdt::Type, std::string>;
inline bool IsElement(const Place& place) { return place.first != crdt::Type::kString; }

// An effect that owns its bytes. Of `clears` only kResolve's are looked at ("the totals that its token
// saw"): from the first increment of a life up to one of them.
struct OracleEffect {
  crdt::EffectKind kind = crdt::EffectKind::kPut;
  uint8_t flags = 0;
  uint8_t db = 0;
  std::string key;
  Place place;  // of an element, or the default: the effect is about the key itself
  std::string value;
  int64_t expire_ms = crdt::kNever;
  crdt::Number increment;
  struct Clear {
    uint32_t origin = 0;
    crdt::At life;
    crdt::At at;
  };
  std::vector<Clear> clears;
  std::vector<Dot> seen;
};

struct OracleChange {
  uint32_t origin = 0;
  uint64_t sequence = 0;
  const Vector* deps = nullptr;  // what the frame's author had applied; for the call only
  uint64_t hlc = 0;
  std::vector<OracleEffect> effects;
};

// What stands of one register, in canonical order.
struct OracleRegister {
  struct Version {
    Dot dot;
    uint64_t hlc = 0;
    bool never = false;
    bool absent = false;
    std::string value;
    friend auto operator<=>(const Version&, const Version&) = default;
  };
  struct Sum {
    uint32_t origin = 0;
    __int128 integer = 0;
    long double real = 0;
    bool any_real = false;
    // Of the newest visible increment. Not compared.
    uint64_t hlc = 0;
  };
  std::vector<Version> versions;
  std::vector<Sum> counters;  // of origins with a visible increment

  bool empty() const { return versions.empty() && counters.empty(); }
  bool live() const;
  std::string ToString() const;
};

// What stands of one key: its own register, its expiry, its elements.
struct OracleState : OracleRegister {
  struct Expiry {
    Dot dot;
    int64_t time_ms = 0;
    friend auto operator<=>(const Expiry&, const Expiry&) = default;
  };
  std::vector<Expiry> expiries;
  std::map<Place, OracleRegister> elements;  // none is empty

  bool empty() const { return OracleRegister::empty() && expiries.empty() && elements.empty(); }
  // The key's own register or an element.
  bool live() const;
  int64_t ExpiryTime() const;
  std::string ToString() const;
};

// Nothing if they are equal, else what differs. Sums of real numbers may differ in their last digits.
std::string Difference(const OracleState& expected, const OracleState& found);

class Oracle {
 public:
  void Add(const OracleChange& change);
  OracleState StateOf(const Key& key, const Vector& seen) const;
  // The versions of one register only.
  std::vector<OracleRegister::Version> VersionsOf(const Key& key, const Place& place, const Vector& seen) const;
  // What the change made of the register in the end; nothing if it left none there.
  std::optional<OracleRegister::Version> FinalOf(const Key& key, const Place& place, Dot change) const;
  // How many origins have ever incremented the register, cleared or not.
  size_t CountIncrementOrigins(const Key& key, const Place& place, const Vector& seen) const;
  // The registers of the key that were ever written.
  std::vector<Place> PlacesOf(const Key& key) const;
  const std::map<Key, size_t>& keys() const { return index_; }
  size_t size() const { return changes_; }

 private:
  enum class Part : uint8_t { kVersion, kIncrement, kExpiry };
  struct Item {
    Part part;
    uint32_t origin;
    uint64_t sequence;
    uint32_t index;
    uint64_t hlc = 0;
    bool never = false;
    bool absent = false;
    std::string value;
    crdt::Number increment;
    int64_t expire_ms = 0;
    // Who removed it: no killer here is seen by another one, since whoever has the later has the first.
    std::vector<Dot> killers;
    std::vector<Dot> extended;  // EXPIREs that saw it: the version is no "never" any more
  };
  // By register. Expiry versions are beside those of the key's own.
  using History = std::map<Place, std::vector<Item>>;

  static bool Alive(const Item& item, const Vector& seen);
  const std::vector<Item>* Find(const Key& key, const Place& place) const;
  static void AddTo(OracleRegister& state, const Item& item, const Vector& seen);
  static void Kill(const OracleChange& change, uint32_t index, const OracleEffect& effect, History& history);
  static void KillIn(const OracleChange& change,
                     uint32_t index,
                     const OracleEffect& effect,
                     bool from_key,
                     std::vector<Item>& items);
  History& Of(const Key& key);

  std::map<Key, size_t> index_;
  std::vector<History> histories_;
  size_t changes_ = 0;
};

}  // namespace polyarch::sim
