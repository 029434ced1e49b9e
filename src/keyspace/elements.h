// The elements of one type that one key holds, in memory: a set's members, a hash's fields, a
// sorted set's members with their order. What is stored follows from crdt/key_state; what is shown
// of an element whose versions are several follows from the key's policy, too (Viewer).
//
// Memory. Few elements are packed (packed.h), in the order of their coming, those of a sorted set
// or list in its order. What cannot be packed is an entry like a key's (entry.h) beside that: a
// long name or value, anything but one version or one counter. More than Packed::kElementsMax, or
// kEntriesMax such entries, are entries in a Table, and those of a sorted set in an OrderTree as
// well; those of a stream, which are asked for in their order, are in a NameTree; those of a list
// in a BlockList, packed again. What few collections need is allocated when they need it (Rare).
//
// On disk, too: few elements are part of their key's row; once they are in a table or tree they
// have a row each, so that a change to one of a million writes one row ("spilled", for as long as
// there are any, after a start, too).
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
#include "keyspace/block_list.h"
#include "keyspace/entry.h"
#include "keyspace/list_step.h"
#include "keyspace/name_tree.h"
#include "keyspace/order_tree.h"
#include "keyspace/packed.h"
#include "keyspace/stream_index.h"
#include "keyspace/table.h"

namespace polyarch::keyspace {

// What decides what is shown.
struct Viewer {
  const conflict::Policy& policy;
  const conflict::PolicyTable& policies;
  const clock::OriginTable& origins;
  uint64_t epoch = 0;  // another number after policies have changed
  // Of a hash whose fields are told apart by a policy: each has one of its own, or a handler is
  // given its name. `key` is known then, and for a key's own register.
  bool by_field = false;
  std::string_view key = {};

  const conflict::Policy& PolicyFor(std::string_view element) const {
    return by_field ? policies.ForField(key, element) : policy;
  }
  conflict::Subject SubjectOf(std::string_view element) const {
    return {key, by_field ? std::optional(element) : std::nullopt};
  }
};

// What a register shows.
struct ShownValue {
  enum class Kind : uint8_t { kNothing, kValue, kConflict };
  Kind kind = Kind::kNothing;
  bool is_integer = false;  // then `integer` holds it
  bool saturated = false;   // a sum beyond 64 bits
  int64_t integer = 0;
  std::string_view value;  // of the register, or of `text`
  std::string text;        // what is computed: a sum, a union, a merge
  size_t versions = 0;     // kConflict: how many distinct ones
};
// `element`: its name; of a key's own register none.
ShownValue ShowRegister(const crdt::Register& state,
                        const Viewer& viewer,
                        std::string_view element = {});
// Cleared counter entries, nothing but absents.
bool HasResidue(const crdt::Register& state);
// Several distinct versions that do not unite, or increments hidden by a value that is no number.
bool IsConflict(const crdt::Register& state);

// A sorted set's member has its score as eight bytes of value; 0 of what is none.
std::string EncodeScore(double score);
double DecodeScore(std::string_view bytes);
// Packed, a score is without the zero bytes that it begins with: those of most whole numbers are
// two or three. From and to eight bytes.
std::string_view ShortScore(std::string_view bytes);
std::string LongScore(std::string_view short_score);

// One stored element, packed, in a list's block, or an entry of its own: a small value to look
// through. It, and the text and state that it gives, are valid until the next change of its
// collection; keep names, not views.
class ElementView {
 public:
  explicit ElementView(const Entry* entry) : entry_(entry) {}
  ElementView(const Packed& packed, const char* at, bool sorted_set)
      : packed_(&packed), at_(at), sorted_set_(sorted_set) {}
  // Packed, with a short name (list_step.h).
  ElementView(const Packed& packed, const char* at, const clock::OriginTable& origins)
      : packed_(&packed), at_(at), short_name_(true) {
    list_step::Lengthen(listed_.step, Packed::NameOf(at), packed.VersionOf(at).dot, origins);
    listed_.text = nullptr;
    listed_.entry = nullptr;
  }
  explicit ElementView(const ListItem& item)
      : entry_(item.entry), at_(item.value_text), listed_(item) {}

  // Valid as long as this view is, too.
  std::string_view key() const {
    if (entry_ != nullptr) return entry_->key();
    return packed_ != nullptr && !short_name_ ? Packed::NameOf(at_) : listed_.name();
  }
  Form form() const {
    if (entry_ != nullptr) return entry_->form();
    return packed_ != nullptr && Packed::IsCounter(at_) ? Form::kCounter : Form::kValue;
  }
  // kValue. Of a packed score only what ShortScore gives.
  std::string_view value() const {
    if (entry_ != nullptr) return entry_->value();
    return packed_ != nullptr ? Packed::ValueOf(at_) : listed_.value();
  }
  ValuePart value_part() const {
    if (entry_ != nullptr) return entry_->value_part();
    return packed_ != nullptr ? packed_->VersionOf(at_) : ValuePart{listed_.dot, listed_.hlc};
  }
  bool has_short_score() const { return sorted_set_ && form() == Form::kValue; }
  // kCounter.
  CounterPart counter() const {
    return entry_ != nullptr ? entry_->counter() : Packed::CounterOf(at_);
  }
  // kFat.
  const crdt::Register& fat_state() const { return entry_->fat().state(); }
  // Of any form. A copy.
  crdt::Register State() const;
  // Null if it is in no entry of its own.
  const Entry* entry() const { return entry_; }
  // Is it one that a client sees?
  bool shown() const { return entry_ == nullptr || entry_->has(Entry::kShown); }
  // The same for the same element, until the next change.
  const void* id() const { return entry_ != nullptr ? static_cast<const void*>(entry_) : at_; }

 private:
  const Entry* entry_ = nullptr;
  const Packed* packed_ = nullptr;
  const char* at_ = nullptr;
  bool sorted_set_ = false;  // and packed
  bool short_name_ = false;  // packed: `listed_` has the name
  ListItem listed_;          // if there is neither an entry nor a packed place
};

// A sorted set's member with what orders it.
struct RankedElement {
  double score = 0;
  ElementView element;
};

class Elements {
 public:
  // `hash_key` and `origins` must outlive it.
  Elements(crdt::Type type, const base::SipKey& hash_key, const clock::OriginTable& origins)
      : hash_key_(&hash_key), origins_(&origins), type_(type) {}
  Elements(crdt::Type type, base::SipKey&& hash_key, const clock::OriginTable& origins) = delete;
  ~Elements();
  Elements(const Elements&) = delete;
  Elements& operator=(const Elements&) = delete;

  crdt::Type type() const { return type_; }
  // All that are stored, shown or not.
  size_t size() const { return packed_.count() + (rare_ == nullptr ? 0 : rare_->entries()); }
  bool empty() const { return size() == 0; }
  // Those that hold something live; those that a client sees under the viewer of the last change or
  // Sync.
  size_t live() const {
    return packed_.count() + (rare_ == nullptr ? 0 : rare_->live + rare_->plain());
  }
  size_t shown() const {
    return packed_.count() + (rare_ == nullptr ? 0 : rare_->shown + rare_->plain());
  }
  size_t conflicts() const { return rare_ == nullptr ? 0 : rare_->conflicts; }
  // Those that hold live counters.
  size_t live_counters() const { return packed_.counters() + (rare_ == nullptr ? 0 : rare_->counters); }
  bool HasLiveCounters() const { return live_counters() != 0; }
  using Names = std::set<std::string, std::less<>>;
  const Names& residue() const;
  size_t memory_bytes() const;

  // The stored element, shown or not.
  std::optional<ElementView> Find(std::string_view name) const;

  // Looks again at what is shown, if policies have changed. Its memory may be another one then.
  void Sync(const Viewer& viewer);
  // Would that do nothing?
  bool InSync(const Viewer& viewer) const { return rare_ == nullptr || rare_->epoch == viewer.epoch; }

  // ---- changing
  // An effect about one of these elements.
  crdt::ApplyResult Apply(const crdt::Effect& effect,
                          const crdt::Seen& seen,
                          clock::Hlc hlc,
                          const Viewer& viewer);
  // Merges with another leader's elements of the same key and type (or with none): of each, what
  // the frozen vectors leave. Elements for which `keeps` says so stay as they are. True if anything
  // changed.
  using Keeps = base::FunctionRef<bool(std::string_view name)>;
  bool MergeWith(const Elements* theirs,
                 const clock::VersionVector& mine_vector,
                 const clock::VersionVector& theirs_vector,
                 const Viewer& viewer,
                 Keeps keeps);
  // Does a wipe of the key, whose writer had seen `seen`, leave nothing? O(1); may say no in doubt.
  bool WipesAll(const crdt::Seen& seen) const;
  // Does it take at least half of a big collection, among that all elements of one version, and leave at most
  // kLeftByWipeMax? O(1). Then what is left, as LeftByWipe says, is better put into a new object than the rest taken out.
  // Its rows are all written in one slice of a checkpoint: hence the limit.
  static constexpr size_t kLeftByWipeMax = 10'000;
  bool WipesMost(const crdt::Seen& seen) const;
  std::vector<crdt::Element> LeftByWipe(const crdt::Seen& seen) const;
  // The same of a wipe whose writer has seen all that is here.
  bool WipesMost() const {
    return unplain() == 0 || (rare_ != nullptr && rare_->table != nullptr && unplain() <= size() / 2 &&
                              unplain() <= kLeftByWipeMax);
  }
  // A wipe of the key, or of all keys. Elements for which `keeps` says so stay as they are.
  void Wipe(const crdt::Seen& seen, const Viewer& viewer, Keeps keeps);
  // A kWipeRange of this type. Elements for which `keeps` says so stay as they are.
  void WipeRange(const crdt::Effect& effect,
                 const crdt::Seen& seen,
                 const Viewer& viewer,
                 Keeps keeps);
  // Takes the element out, if it is there, whatever it holds.
  void Drop(std::string_view name, const Viewer& viewer);
  void PurgeCounter(std::string_view name, clock::OriginIndex origin, const Viewer& viewer);
  // From the key's row (`own_row` false) or a row of its own. False if the element is there: it
  // stays, or, if `replaces`, gives way.
  bool Load(std::string_view name,
            crdt::Register state,
            bool own_row,
            bool replaces,
            const Viewer& viewer);

  // ---- rows
  bool spilled() const {
    return rare_ != nullptr &&
           (rare_->table != nullptr || rare_->names != nullptr || rare_->blocks != nullptr);
  }
  // May there be rows of their own in the store? Then they are spilled.
  bool has_rows() const { return has_rows_; }
  // As if there were many of them: spilled from now on.
  void MakeBig(const Viewer& viewer);
  // All of them are about to be written with the key's row.
  void NoteInline();
  // An empty register: the row is to be deleted.
  using RowVisit = base::FunctionRef<void(std::string_view name, const crdt::Register&)>;
  // Of spilled ones: those that the key's row has held until now. They must be written together
  // with the key's next row.
  void VisitInline(RowVisit visit);
  // Of spilled ones: about `count` that have changed, from `cursor` on, which is moved; `visited`
  // counts them. True when the end was reached.
  bool VisitDirty(uint64_t& cursor, size_t count, size_t& visited, RowVisit visit);

  // Frees about `count` elements of a collection that nobody uses any more; false when none is
  // left.
  bool FreeSome(size_t count);

  // ---- looking
  // Every stored element, in no particular order (packed ones: that of their coming, or the sorted
  // set's), until false. Do not change anything meanwhile.
  void ForEach(base::FunctionRef<bool(const ElementView&)> visit) const;
  // Those that are anything but one version: counters, siblings, residue. In a table, few among many cost little.
  void ForEachUnplain(base::FunctionRef<bool(const ElementView&)> visit) const;
  // The same in parts of about `count`, from `cursor` on; where to go on, 0 at the end. One may be met twice. What is in
  // no table is visited at once.
  uint64_t ScanUnplain(uint64_t cursor,
                       size_t count,
                       base::FunctionRef<void(const ElementView&)> visit) const;
  // All of them, sorted by name, behind what is in `out`.
  void AppendTo(std::vector<crdt::Element>& out) const;
  // Visits shown ones from `cursor` on until about `count` were looked at; where to go on, 0 at the
  // end. An element that stays is visited at least once. Of a list or stream all are visited at
  // once.
  uint64_t Scan(uint64_t cursor,
                size_t count,
                base::FunctionRef<void(const ElementView&)> visit) const;
  // One that is shown, chosen by `random`; nothing if there is none.
  std::optional<ElementView> Random(uint64_t random) const;
  // Is it less work to look at all once than to draw so many?
  bool IsPassCheaper(size_t draws) const;

  // Of a big stream; else null. What it tells follows from the elements: a look may bring it up
  // to date.
  StreamIndex* stream_index() const { return rare_ == nullptr ? nullptr : rare_->stream.get(); }
  // Of a stream's entry.
  static uint64_t LaneOf(const ElementView& element, const Viewer& viewer);
  // Of the version that a stream's element shows; nothing if it has none.
  static std::optional<clock::Dot> DotOf(const ElementView& element, const Viewer& viewer);

  // ---- sorted sets: shown members by (score, name). Lists and streams: shown elements by name, as
  // if all scores were 0.
  double Score(const ElementView& element, const Viewer& viewer) const;
  // How many stand before (score, name); how many have a lower score (or an equal one, if
  // `inclusive`).
  size_t Rank(double score, std::string_view name, const Viewer& viewer) const;
  size_t CountBelow(double score, bool inclusive, const Viewer& viewer) const;
  // The shown one of a rank; nothing beyond the last.
  std::optional<ElementView> At(size_t rank, const Viewer& viewer) const;
  // From rank `first` on, upwards or downwards, until `visit` says false.
  void Walk(size_t first,
            bool reverse,
            base::FunctionRef<bool(const RankedElement&)> visit,
            const Viewer& viewer) const;

 private:
  static constexpr size_t kEntriesMax = 32;
  static constexpr size_t kDrawnFrom = 12;  // where shown ones are far between

  // What a collection has only if it is big, or has elements that cannot be packed.
  struct Rare {
    std::vector<Entry*> few;              // of a collection that is not big: what is not packed
    std::unique_ptr<Table> table;         // of a big one, but for
    std::unique_ptr<NameTree> names;      // of a big stream
    std::unique_ptr<BlockList> blocks;    // of a big list
    std::unique_ptr<OrderTree> order;     // of a big sorted set
    std::unique_ptr<StreamIndex> stream;  // of a big stream
    // Counts of entries, in `few`, the table, tree or blocks.
    size_t live = 0;
    size_t shown = 0;
    size_t unplain = 0;  // anything but one version
    size_t versioned = 0;  // that hold versions
    size_t counters = 0;   // that hold live counters
    size_t conflicts = 0;
    size_t entry_bytes = 0;
    uint64_t epoch = 0;
    Names deleted;                          // gone since their own row was written
    std::vector<std::string> inline_names;  // spilled, in the key's row as it is stored
    std::vector<clock::Dot> newest;  // spilled: an origin's newest version ever here, one an origin
    Names residue;

    // Of the blocks, what is no entry.
    size_t plain() const { return blocks == nullptr ? 0 : blocks->plain(); }
    size_t entries() const {
      if (names != nullptr) return names->size();
      if (blocks != nullptr) return blocks->size();
      return table != nullptr ? table->size() : few.size();
    }
    void Note(clock::Dot dot);
  };
  // Where an element stands; neither if it is not there.
  struct Place {
    const char* at = nullptr;  // packed
    Entry* entry = nullptr;    // in the table, tree, blocks or `few`
    Entry** slot = nullptr;    // of the entry, but in a tree or blocks
    uint64_t hash = 0;         // if there is a table
    bool in_blocks = false;
    bool looked_in_blocks = false;  // then:
    BlockList::Place listed;

    bool none() const { return at == nullptr && entry == nullptr && !in_blocks; }
  };

  uint64_t Hash(std::string_view name) const { return base::SipHash13(name, *hash_key_); }
  size_t unplain() const { return packed_.counters() + (rare_ == nullptr ? 0 : rare_->unplain); }
  bool has_versions() const {
    return packed_.count() > packed_.counters() ||
           (rare_ != nullptr && rare_->versioned + rare_->plain() > 0);
  }
  // Few are shown of what a table has room for, or holds.
  bool is_sparse() const;
  const BlockList* blocks() const { return rare_ == nullptr ? nullptr : rare_->blocks.get(); }
  bool has_few() const { return rare_ != nullptr && !rare_->few.empty(); }
  bool by_name() const { return type_ == crdt::Type::kList || type_ == crdt::Type::kStream; }
  bool ordered() const { return type_ == crdt::Type::kSortedSet || by_name(); }
  // Of the shown ones of a big sorted set or stream; else null.
  const OrderTree* order() const {
    if (rare_ == nullptr) return nullptr;
    return rare_->names != nullptr ? &rare_->names->shown() : rare_->order.get();
  }
  // Does it hold a version that was seen, which a wipe takes away?
  static bool HoldsSeen(const ElementView& element, const crdt::Seen& seen);
  // Of an entry of a big collection.
  void MarkDirty(Place& place);
  Rare& NeedRare(const Viewer& viewer);
  // Without anything in it, it goes.
  void TrimRare();

  Place Locate(std::string_view name) const;
  std::optional<ElementView> ViewOf(const Place& place) const;
  // Makes the element at `place` (where `name` stands, or nowhere) hold this, with all counts.
  // Nothing of it may be part of the element itself.
  void Set(std::string_view name, Place& place, crdt::Register state, const Viewer& viewer);
  void SetPlain(std::string_view name,
                Place& place,
                const Packed::Plain& plain,
                const Viewer& viewer);
  // Takes ownership.
  void SetEntry(std::string_view name, Place& place, Entry* entry, const Viewer& viewer);
  // In blocks.
  void SetListed(std::string_view name,
                 Place& place,
                 const Packed::Plain& plain,
                 const Viewer& viewer);
  void Remove(std::string_view name, Place& place, const Viewer& viewer);
  // Frees it; may a row of it be stored?
  bool TakeOut(Place& place, const Viewer& viewer);
  bool TakeDeleted(std::string_view name);
  void Add(std::string_view name, Entry* entry, const Viewer& viewer);
  // To a big collection.
  void AddBig(uint64_t hash, Entry* entry, const Viewer& viewer);
  void SetStored(std::string_view name);
  void Count(Entry* entry, const Viewer& viewer);
  void Discount(Entry* entry, const Viewer& viewer);
  void Grow(const Viewer& viewer);
  // A shown element of a big stream comes or goes.
  void Index(const Entry* entry, bool added, const Viewer& viewer);
  // Of a big list or stream of which all is shown: `wipe` is called for what is no plain entry.
  void WipeInOrder(std::string_view from,
                   std::string_view to,
                   const Viewer& viewer,
                   base::FunctionRef<bool(const ElementView&)> goes,
                   base::FunctionRef<void(std::string_view)> wipe);
  // Of a big stream.
  void RemoveEntry(Entry* entry, const Viewer& viewer);
  void IndexPending(const Entry* entry, std::string_view group, bool added, const Viewer& viewer);
  void ForgetGroup(std::string_view name);

  ElementView PackedView(const char* at) const {
    if (type_ == crdt::Type::kList && HasShortName(at)) return {packed_, at, *origins_};
    return {packed_, at, type_ == crdt::Type::kSortedSet};
  }
  // Of a list. Other names are in full, and longer.
  static bool HasShortName(const char* at) {
    return Packed::NameOf(at).size() <= list_step::kShortBytesMax;
  }
  // Of a list: null if it is not there.
  const char* FindInOrder(std::string_view name) const;
  const char* LastPacked() const;
  double PackedScore(const char* at) const;
  // Where a packed element with this content belongs.
  const char* PackedPlace(std::string_view name, const Packed::Plain& plain) const;
  // The shown elements of a small sorted set or list, in order.
  std::vector<RankedElement> SortedFew(const Viewer& viewer) const;

  Packed packed_;
  std::unique_ptr<Rare> rare_;
  const base::SipKey* hash_key_;
  const clock::OriginTable* origins_;
  crdt::Type type_;
  bool has_rows_ = false;
};
static_assert(sizeof(Elements) == 40);  // the allocator gives no less for fewer

}  // namespace polyarch::keyspace
