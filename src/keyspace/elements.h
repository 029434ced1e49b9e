// The elements of one type that one key holds, in memory: a set's members, a hash's fields, a sorted
// set's members with their order. What is stored follows from crdt/key_state; what is shown of an
// element whose versions are several follows from the key's policy, too (Viewer).
//
// Memory. An element is an entry like a key's (entry.h): plain ones cost 16 bytes of metadata, their
// name and value. Up to kSmallMax stand in a row in the order of their coming; more are in a Table, and
// those of a sorted set or list in an OrderTree as well.
//
// On disk, too: few elements are part of their key's row; once they have a table they have a row each, so
// that a change to one of a million writes one row ("spilled", for as long as the object lives).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "base/hash.h"
#include "clock/origin.h"
#include "conflict/policy.h"
#include "crdt/effect.h"
#include "crdt/key_state.h"
#include "keyspace/entry.h"
#include "keyspace/order_tree.h"
#include "keyspace/table.h"

namespace polyarch::keyspace {

// What decides what is shown.
struct Viewer {
  const conflict::Policy& policy;
  const conflict::PolicyTable& policies;
  const clock::OriginTable& origins;
  uint64_t epoch = 0;  // another number after policies have changed
};

// What a register shows.
struct ShownValue {
  enum class Kind : uint8_t { kNothing, kValue, kConflict };
  Kind kind = Kind::kNothing;
  bool is_integer = false;  // then `integer` holds it
  bool saturated = false;   // a sum beyond 64 bits
  int64_t integer = 0;
  std::string_view value;  // of the register, or of `text`
  std::string text;        // what is computed: a sum, a union
  size_t versions = 0;     // kConflict: how many distinct ones
};
ShownValue ShowRegister(const crdt::Register& state, const Viewer& viewer);
// Cleared counter entries, nothing but absents.
bool HasResidue(const crdt::Register& state);
// Several distinct versions that do not unite, or increments hidden by a value that is no number.
bool IsConflict(const crdt::Register& state);

// A sorted set's member has its score as eight bytes of value; 0 of what is none.
std::string EncodeScore(double score);
double DecodeScore(std::string_view bytes);

class Elements {
 public:
  Elements(crdt::Type type, base::SipKey hash_key) : type_(type), hash_key_(hash_key) {}
  ~Elements();
  Elements(const Elements&) = delete;
  Elements& operator=(const Elements&) = delete;

  crdt::Type type() const { return type_; }
  // All that are stored, shown or not.
  size_t size() const { return table_ != nullptr ? table_->size() : few_.size(); }
  bool empty() const { return size() == 0; }
  // Those that hold something live; those that a client sees under the viewer of the last change or
  // Sync.
  size_t live() const { return live_; }
  size_t shown() const { return shown_; }
  size_t conflicts() const { return conflicts_; }
  bool MayHaveCounters() const { return unplain_ != 0; }
  const std::set<std::string, std::less<>>& residue() const { return residue_; }
  size_t memory_bytes() const;

  // The stored element, shown or not; null if there is none.
  const Entry* Find(std::string_view name) const;
  // Is it one that a client sees?
  static bool IsShown(const Entry& entry) { return entry.has(Entry::kShown); }

  // Looks again at what is shown, if policies have changed.
  void Sync(const Viewer& viewer);

  // ---- changing
  // An effect about one of these elements.
  crdt::ApplyResult Apply(const crdt::Effect& effect,
                          const crdt::Seen& seen,
                          clock::Hlc hlc,
                          const Viewer& viewer);
  // Merges with another leader's elements of the same key and type (or with none): of each, what the
  // frozen vectors leave. Elements for which `keeps` says so stay as they are. True if anything changed.
  using Keeps = base::FunctionRef<bool(std::string_view name)>;
  bool MergeWith(const Elements* theirs,
                 const clock::VersionVector& mine_vector,
                 const clock::VersionVector& theirs_vector,
                 const Viewer& viewer,
                 Keeps keeps);
  // Does a wipe of the key, whose writer had seen `seen`, leave nothing? O(1); may say no in doubt.
  bool WipesAll(const crdt::Seen& seen) const;
  // A wipe of the key, or of all keys. Elements for which `keeps` says so stay as they are.
  void Wipe(const crdt::Seen& seen, const Viewer& viewer, Keeps keeps);
  void PurgeCounter(std::string_view name, clock::OriginIndex origin, const Viewer& viewer);
  // From the key's row (`own_row` false) or a row of its own. False if the element is there: it stays, or,
  // if `replaces`, gives way.
  bool Load(std::string_view name,
            crdt::Register state,
            bool own_row,
            bool replaces,
            const Viewer& viewer);

  // ---- rows
  bool spilled() const { return table_ != nullptr; }
  // May there be rows of their own in the store?
  bool has_rows() const { return has_rows_; }
  void ForgetRows() {
    has_rows_ = false;
    deleted_.clear();
  }
  // All of them are about to be written with the key's row.
  void NoteInline();
  // An empty register: the row is to be deleted.
  using RowVisit = base::FunctionRef<void(std::string_view name, const crdt::Register&)>;
  // Of spilled ones: those that the key's row has held until now. They must be written together with the
  // key's next row.
  void VisitInline(RowVisit visit);
  // Of spilled ones: about `count` that have changed, from `cursor` on, which is moved; `visited` counts
  // them. True when the end was reached.
  bool VisitDirty(uint64_t& cursor, size_t count, size_t& visited, RowVisit visit);

  // Frees about `count` elements of a collection that nobody uses any more; false when none is left.
  bool FreeSome(size_t count);

  // ---- looking
  // Every stored element, in no particular order (few of them: that of their coming), until false.
  // Do not change anything meanwhile.
  void ForEach(base::FunctionRef<bool(const Entry&)> visit) const;
  // All of them, sorted by name, behind what is in `out`.
  void AppendTo(std::vector<crdt::Element>& out) const;
  // Visits shown ones from `cursor` on until about `count` were looked at; where to go on, 0 at the end.
  // An element that stays is visited at least once.
  uint64_t Scan(uint64_t cursor, size_t count, base::FunctionRef<void(const Entry&)> visit) const;
  // One that is shown, chosen by `random`; null if there is none.
  const Entry* Random(uint64_t random) const;

  // ---- sorted sets: shown members by (score, name). Lists: shown elements by name, as if all scores
  // were 0.
  double Score(const Entry& entry, const Viewer& viewer) const;
  // How many stand before (score, name); how many have a lower score (or an equal one, if `inclusive`).
  size_t Rank(double score, std::string_view name, const Viewer& viewer) const;
  size_t CountBelow(double score, bool inclusive, const Viewer& viewer) const;
  // The shown one of a rank; null beyond the last.
  const Entry* At(size_t rank, const Viewer& viewer) const;
  // From rank `first` on, upwards or downwards, until `visit` says false.
  void Walk(size_t first,
            bool reverse,
            base::FunctionRef<bool(const OrderTree::Item&)> visit,
            const Viewer& viewer) const;

 private:
  static constexpr size_t kSmallMax = 32;

  uint64_t Hash(std::string_view name) const { return base::SipHash13(name, hash_key_); }
  Entry** FindSlot(std::string_view name, uint64_t hash) const;
  // Puts `entry` (or nothing) in the place of the element's present one, with all counts.
  void Place(std::string_view name,
             uint64_t hash,
             Entry** slot,
             Entry* entry,
             const Viewer& viewer);
  void Count(Entry* entry, const Viewer& viewer);
  void Discount(Entry* entry, const Viewer& viewer);
  void Grow();
  bool ordered() const {
    return type_ == crdt::Type::kSortedSet || type_ == crdt::Type::kList;
  }
  // The shown elements of a small sorted set or list, in order.
  std::vector<OrderTree::Item> SortedFew(const Viewer& viewer) const;
  void Note(clock::Dot dot);

  crdt::Type type_;
  base::SipKey hash_key_;
  std::vector<Entry*> few_;
  std::unique_ptr<Table> table_;
  std::unique_ptr<OrderTree> order_;  // of a sorted set or list with a table
  size_t live_ = 0;
  size_t shown_ = 0;
  size_t unplain_ = 0;  // anything but one version
  size_t conflicts_ = 0;
  size_t entry_bytes_ = 0;
  uint64_t epoch_ = 0;
  std::set<std::string, std::less<>> deleted_;  // gone since their own row was written
  std::vector<std::string> inline_;             // spilled, in the key's row as it is stored
  bool has_rows_ = false;
  std::vector<clock::Dot> newest_;  // an origin's newest version ever here, one an origin
  std::set<std::string, std::less<>> residue_;
};

}  // namespace polyarch::keyspace
