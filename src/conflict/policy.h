// Policies: what a read shows of several concurrent versions. A policy never decides what is
// stored, so it may be changed at any time, also after the conflict. Resolve is a pure function of
// the versions: every leader computes the same from the same ones.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "clock/origin.h"
#include "crdt/key_state.h"

namespace polyarch::conflict {

// A read of a key with siblings looks at each name; a longer list would be no list of leaders.
inline constexpr size_t kPriorityNamesMax = 64;
// A key is matched against each pattern in turn.
inline constexpr size_t kPatternsMax = 1024;
inline constexpr size_t kPatternBytesMax = 1024;
// A client that resolves with an old token over and over could pile versions up. On client writes
// only, never on a peer's change.
inline constexpr size_t kVersionsMax = 64;

enum class PolicyKind : uint8_t {
  kLww,       // the highest (HLC, origin)
  kPriority,  // the leader that stands first in the list, then by HLC
  kSiblings,  // no winner: several distinct versions are shown by CONFLICT GET only
};

struct Policy {
  PolicyKind kind = PolicyKind::kLww;
  bool deletes = false;              // kLww: deletes are versions, too
  std::vector<std::string> leaders;  // kPriority, first wins; those not named come last

  // Does deleting a register write the version "absent" (so that delete against edit is a
  // conflict)?
  bool DeleteIsVersion() const { return kind != PolicyKind::kLww || deletes; }

  // "lww", "lww DELETES", "priority eu us", "siblings": as POLICY SET takes it and POLICY GET shows
  // it.
  std::string ToString() const;
  // kInvalid with a line for the user ("unknown policy 'x'; one of lww, lww DELETES, ...").
  static base::Result<Policy> Parse(std::span<const std::string_view> words);
  // The inverse of ToString: what is stored in the reserved database.
  static base::Result<Policy> ParseText(std::string_view text);

  friend bool operator==(const Policy&, const Policy&) = default;
};

// The policy of each key: the pattern with the longest literal part wins (ties: the pattern that
// sorts first). `priority` without names uses the default order (LEADER PRIORITY).
class PolicyTable {
 public:
  void Set(std::string pattern, Policy policy);
  bool Erase(std::string_view pattern);
  void SetDefaultOrder(std::vector<std::string> leaders) { default_order_ = std::move(leaders); }
  void clear();

  const Policy& For(std::string_view key) const;
  // The pattern that decided, or empty for the built-in default (lww).
  std::string_view PatternFor(std::string_view key) const;
  bool empty() const { return by_specificity_.empty(); }
  const std::vector<std::string>& default_order() const { return default_order_; }
  // (pattern, policy), most specific first.
  const std::vector<std::pair<std::string, Policy>>& entries() const { return by_specificity_; }

 private:
  std::vector<std::pair<std::string, Policy>> by_specificity_;
  std::vector<std::string> default_order_;
  Policy default_;
};

// What a read shows of a register.
struct View {
  enum class Kind : uint8_t {
    kNothing,   // no version, or the one shown is "absent"
    kValue,     // versions[index]
    kConflict,  // several distinct ones and no winner
    kUnion,     // all values together (Unite); versions[index] is what the policy would have shown
  };
  Kind kind = Kind::kNothing;
  size_t index = 0;     // kValue: which version; kNothing by an absent winner: that one
  size_t distinct = 0;  // how many different values (absent counts as one)

  // Is `version` part of what is shown although another one is the winner?
  bool Keeps(const crdt::Version& version) const {
    return kind == Kind::kUnion && !version.absent;
  }
};

// HyperLogLogs are united, whatever the policy, since their union loses nothing; a policy decides only
// between them and a delete.
//
// Versions with equal bytes count as one. Under plain lww (without DELETES) an absent never beats a
// value. `default_order` serves a kPriority policy without names. Ties of the stamp go to the
// higher global origin, then to the higher sequence.
View Resolve(const Policy& policy,
             const std::vector<std::string>& default_order,
             std::span<const crdt::Version> versions,
             const clock::OriginTable& origins);

// Indices of the versions in canonical order (by global origin, then sequence), the order of
// CONFLICT GET.
std::vector<size_t> CanonicalOrder(std::span<const crdt::Version> versions,
                                   const clock::OriginTable& origins);

// Different values among the versions (absent counts as one).
size_t CountDistinct(std::span<const crdt::Version> versions);
// Are there different ones that do not simply unite? An open conflict, or a decided one.
bool IsConflict(std::span<const crdt::Version> versions);
// What a View of kUnion stands for: the union of all that are not absent.
std::string Unite(std::span<const crdt::Version> versions);

// "eu.0123456789abcdef:17", the name of one version for clients.
std::string TagText(clock::Dot dot, const clock::OriginTable& origins);
std::string TagText(const clock::Origin& origin, uint64_t sequence);

}  // namespace polyarch::conflict
