// The naive model of one key, for tests: it keeps every change ever made and derives the state from
// visibility alone ("who had seen what"), as the design's prose says. It knows no totals, lives,
// clears, merges or purges, so it can share no mistake with crdt/key_state.cc.
//
// Origins are ordinals here (0, 1, ...), the same for every replica of a test.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "crdt/effect.h"

namespace polyarch::crdt {

// Per origin the highest sequence that was seen.
using NaiveVector = std::vector<uint64_t>;

struct NaiveDot {
  size_t origin = 0;
  uint64_t sequence = 0;
  friend auto operator<=>(const NaiveDot&, const NaiveDot&) = default;
};

struct NaiveClear {
  size_t origin = 0;
  At life;
  At at;
  Number total;
};

// An effect that owns its bytes and names origins by ordinal. The model reads `life`, `total` and
// the clears of anything but kResolve nowhere; they are for the replicas.
struct NaiveEffect {
  EffectKind kind = EffectKind::kPut;
  uint8_t flags = 0;
  Type type = Type::kString;  // anything else: about the element of this type and name
  std::string element;
  std::string value;
  int64_t expire_ms = kNever;
  At life;
  Number total;
  Number increment;
  std::vector<NaiveClear> clears;
  std::vector<NaiveDot> seen;
};

struct NaiveChange {
  size_t origin = 0;
  uint64_t sequence = 0;
  NaiveVector deps;  // what the writer had seen of each origin, its own included
  clock::Hlc hlc;
  std::vector<NaiveEffect> effects;
};

struct NaiveState {
  struct Sum {
    __int128 integer = 0;
    long double real = 0;
    friend bool operator==(const Sum&, const Sum&) = default;
  };
  struct Register {
    // (origin, sequence, hlc, never, absent, value), sorted.
    std::vector<std::tuple<size_t, uint64_t, uint64_t, bool, bool, std::string>> versions;
    std::map<size_t, Sum> counters;  // those with a visible increment
    friend bool operator==(const Register&, const Register&) = default;
  };
  // By type and name; the key's own has the type kString and no name. None is empty.
  std::map<std::pair<Type, std::string>, Register> registers;
  std::vector<std::tuple<size_t, uint64_t, int64_t>> expiries;  // (origin, sequence, time), sorted
  friend bool operator==(const NaiveState&, const NaiveState&) = default;

  std::string ToString() const;
};

class NaiveModel {
 public:
  void Add(NaiveChange change) { changes_.push_back(std::move(change)); }
  const std::vector<NaiveChange>& changes() const { return changes_; }
  // The state of whoever has seen exactly `seen` (closed under causality), residue included.
  NaiveState StateAt(const NaiveVector& seen) const;
  // The changes, a line each, for a failing test.
  std::string ToString() const;

 private:
  std::vector<NaiveChange> changes_;
};

// Is every change of `a` in `b`?
bool Includes(const NaiveVector& b, const NaiveVector& a);

}  // namespace polyarch::crdt
