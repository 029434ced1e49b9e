// Policies: what a read shows of several concurrent versions. A policy never decides what is
// stored, so it may be changed at any time, also after the conflict. Resolve is a pure function of
// the versions: every leader computes the same from the same ones.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "clock/origin.h"
#include "conflict/loaded_handler.h"
#include "conflict/merge.h"
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
  kHandler,   // what the user's function makes of all versions (loaded_handler.h)
  kMerge,     // what a function makes of all values (merge.h); of a delete and a value, the value
  kSync,      // writes are agreed on first (sync/agreement.h); of what was written before or beside that, kLww
  kPopOwner,  // of lists: elements are popped by their owners only (engine/owners.h); what is shown is as under kLww
};

struct Policy {
  PolicyKind kind = PolicyKind::kLww;
  bool deletes = false;              // kLww: deletes are versions, too
  std::vector<std::string> leaders;  // kPriority, first wins; those not named come last
  MergeFunction function = MergeFunction::kMax;  // kMerge
  std::string separator;                         // kMerge with kUnion or kConcat
  std::string handler;                           // kHandler: its name
  std::shared_ptr<const LoadedHandler> loaded;   // kHandler, in a PolicyTable: nothing if there is none

  // Does deleting a register write the version "absent" (so that delete against edit is a
  // conflict)?
  bool DeleteIsVersion() const {
    return kind == PolicyKind::kPriority || kind == PolicyKind::kSiblings ||
           kind == PolicyKind::kHandler || deletes;
  }

  // "lww", "lww DELETES", "priority eu us", "siblings", "merge CONCAT", "merge UNION SPACE": as POLICY SET
  // takes it and POLICY GET shows it.
  std::string ToString() const;
  // kInvalid with a line for the user ("unknown policy 'x'; one of lww, lww DELETES, ...").
  static base::Result<Policy> Parse(std::span<const std::string_view> words);
  // The inverse of ToString: what is stored in the reserved database.
  static base::Result<Policy> ParseText(std::string_view text);

  friend bool operator==(const Policy&, const Policy&) = default;
};

// Where the policy of a field is kept in the reserved database: "field-policy/<size of pattern>/<pattern>/
// <field>", since both may hold any bytes. Of a key's policy it is "policy/<pattern>".
inline constexpr std::string_view kFieldPolicyPrefix = "field-policy/";
struct FieldPolicyPlace {
  std::string pattern;
  std::string field;

  std::string Key() const;
  // Of a key without the prefix; nothing if it is none.
  static std::optional<FieldPolicyPlace> Parse(std::string_view text);
};

// The policy of each key: the pattern with the longest literal part wins (ties: the pattern that
// sorts first). `priority` without names uses the default order (LEADER PRIORITY). A field of a hash may have
// a policy of its own: that counts before any of keys; of several patterns the same one wins.
class PolicyTable {
 public:
  void Set(std::string pattern, Policy policy);
  bool Erase(std::string_view pattern);
  void SetField(std::string pattern, std::string field, Policy policy);
  // Handlers by name: those of the policies that name them, from BindHandlers on.
  using Handlers = std::map<std::string, std::shared_ptr<const LoadedHandler>, std::less<>>;
  void BindHandlers(Handlers handlers);
  const Handlers& handlers() const { return handlers_; }
  void SetDefaultOrder(std::vector<std::string> leaders) { default_order_ = std::move(leaders); }
  void clear();

  const Policy& For(std::string_view key) const;
  // Of a field of a hash.
  const Policy& ForField(std::string_view key, std::string_view field) const;
  // Of the key's own register (kString) or an element. What stands in an order must have a place in it, so
  // `siblings` and `merge` mean lww for all but strings and fields.
  const Policy& ForRegister(std::string_view key, crdt::Type type, std::string_view element) const;
  // The same of all elements of a type but fields that have a policy of their own.
  const Policy& ForType(std::string_view key, crdt::Type type) const;
  // The pattern that decided, or empty for the built-in default (lww).
  std::string_view PatternFor(std::string_view key) const;
  bool empty() const { return by_specificity_.empty() && fields_.empty(); }
  size_t size() const { return by_specificity_.size() + fields_.size(); }
  // Which keys are under `sync`: every pattern, and whether its policy is that one; empty if none is. The text comes
  // back from ParseSyncRules: a table in which what is not `sync` is lww.
  std::string SyncRules() const;
  static std::optional<PolicyTable> ParseSyncRules(std::string_view rules);
  bool IsSync(std::string_view key) const { return For(key).kind == PolicyKind::kSync; }
  bool IsPopOwner(std::string_view key) const { return For(key).kind == PolicyKind::kPopOwner; }
  // Is there such a policy at all?
  bool has_pop_owner() const;
  bool has_fields() const { return !fields_.empty(); }
  // Does what a field shows depend on its name? If it may have a policy of its own, or a handler is given it.
  bool tells_fields() const { return has_fields() || !handlers_.empty(); }
  const std::vector<std::string>& default_order() const { return default_order_; }

  // (pattern, policy), most specific first.
  const std::vector<std::pair<std::string, Policy>>& entries() const { return by_specificity_; }
  struct FieldEntry {
    std::string pattern;
    std::string field;
    Policy policy;

    friend bool operator==(const FieldEntry&, const FieldEntry&) = default;
  };
  // Most specific first.
  const std::vector<FieldEntry>& field_entries() const { return fields_; }
  // Do both say the same, but for the default order?
  bool SameRules(const PolicyTable& other) const {
    return by_specificity_ == other.by_specificity_ && fields_ == other.fields_ &&
           handlers_ == other.handlers_;
  }

 private:
  std::vector<std::pair<std::string, Policy>> by_specificity_;
  std::vector<FieldEntry> fields_;
  Handlers handlers_;
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
    kMerged,    // `merged`; versions[index] is what lww would have shown
  };
  Kind kind = Kind::kNothing;
  size_t index = 0;     // kValue: which version; kNothing by an absent winner: that one
  size_t distinct = 0;  // how many different values (absent counts as one)
  std::string merged;   // kMerged

  // Is `version` part of what is shown although another one is the winner?
  bool Keeps(const crdt::Version& version) const {
    return kind == Kind::kUnion && !version.absent;
  }
};

// HyperLogLogs are united, whatever the policy, since their union loses nothing; a policy decides only
// between them and a delete.
//
// A handler is asked with `subject`; where it says nothing, the view is that of plain lww.
//
// A merge that cannot be (JSON of something else, beyond kMergedBytesMax) shows what lww shows.
//
// Versions with equal bytes count as one. Under plain lww (without DELETES), and under `merge`, an absent
// never beats a value. `default_order` serves a kPriority policy without names. Ties of the stamp go to the
// higher global origin, then to the higher sequence.
struct Subject {
  std::string_view key;
  std::optional<std::string_view> field;  // of a hash
};
// Of the key's own register (kString) or an element: its name.
Subject SubjectOf(std::string_view key, crdt::Type type, std::string_view element);
View Resolve(const Policy& policy,
             const std::vector<std::string>& default_order,
             std::span<const crdt::Version> versions,
             const clock::OriginTable& origins,
             const Subject& subject = {});

// The versions that lose: different from what is shown and no part of it. Empty if nothing has won. `table`: which policy.
std::vector<clock::Dot> Losers(const PolicyTable& table,
                               std::string_view key,
                               crdt::Type type,
                               std::string_view element,
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
