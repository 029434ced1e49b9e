// The elements of a big list: blocks (list_block.h) of neighbouring ones, in a balanced binary tree
// (a treap, Seidel and Aragon 1996) whose nodes know how many elements are below them. So an
// element is found by name or rank in O(log n), and what comes and goes at the ends touches one
// block.
//
// Elements that are not shown (Entry::kShown), few if any, are entries in a tree of their own.
//
// Which elements have changed since their row was written ("dirty") is known to the blocks. A pass
// over the dirty ones goes from the last name to the first that there was at its beginning, so that
// it ends although elements are added behind and before it all the time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "base/random.h"
#include "keyspace/entry.h"
#include "keyspace/list_block.h"
#include "keyspace/order_tree.h"

namespace polyarch::keyspace {

class BlockList {
 private:
  struct Node;

 public:
  // Where an element stands, until the next change.
  class Place {
   public:
    // Of one that is not shown its entry is all that counts.
    const ListItem& item() const { return reader_.item(); }

   private:
    friend class BlockList;
    Node* node_;  // null: not shown
    ListBlock::Reader reader_;
  };

  BlockList() = default;
  ~BlockList();
  BlockList(const BlockList&) = delete;
  BlockList& operator=(const BlockList&) = delete;

  // Entries of hidden elements included.
  size_t size() const { return shown() + hidden_.size(); }
  size_t shown() const;
  // Those that are no entries.
  size_t plain() const { return plain_; }
  // Without entries.
  size_t memory_bytes() const;
  // Could it be more than an entry?
  static bool Fits(std::string_view name, std::string_view value) {
    return name.size() <= ListBlock::kTextBytesMax && value.size() <= ListBlock::kTextBytesMax;
  }

  // False if it is not there.
  bool Find(std::string_view name, Place& place) const;
  // One whose name is not there. Takes ownership of an entry. `place` is what Find has made of the
  // name when it did not find it, if that was asked and nothing has changed since.
  void Insert(const ListItem& item, const Place* place = nullptr);
  // Of the same name. An entry that was there is freed, here and in Erase.
  void Replace(Place& place, const ListItem& item);
  void Erase(Place& place);
  // Erases the blocks that lie wholly within names from `from` on, before `to`, and of which all
  // elements are plain and `goes` says so; tells `gone` of each whose row may be stored.
  void EraseBlocks(std::string_view from,
                   std::string_view to,
                   base::FunctionRef<bool(const ListItem&)> goes,
                   base::FunctionRef<void(std::string_view name)> gone);
  void SetDirty(Place& place, bool dirty);
  void SetStored(Place& place);
  // Looks again at all entries: `look` brings Entry::kShown up to date.
  void Reshow(base::FunctionRef<void(Entry*)> look);

  // The shown one of a rank, which must be there.
  ListItem At(size_t rank) const;
  // How many shown ones stand before a name.
  size_t Rank(std::string_view name) const;
  // Visits shown ones from a rank on, upwards or downwards, until false.
  using Visit = base::FunctionRef<bool(const ListItem&)>;
  void Walk(size_t first, bool reverse, Visit visit) const;
  // Shown ones in order, then the others, until false.
  void WalkAll(Visit visit) const;

  // Visits about `count` dirty ones of a pass, and makes them clean, their rows stored; true if it
  // has come to its end. A call with `begins` begins a new one, and so does one when there is none
  // under way.
  bool TakeDirty(bool begins, size_t count, base::FunctionRef<void(const ListItem&)> visit);

  // Frees about `count` elements of a list that nobody uses any more; false when none is left.
  bool FreeSome(size_t count);

 private:
  // A place in the last block from which a way to its end begins.
  struct Mark {
    ptrdiff_t offset;
    ListBlock::Chain before;
  };
  struct Pass {
    std::string least;                  // the first name when it began
    std::optional<std::string> before;  // nothing from there on is visited any more
  };
  static constexpr size_t kMarkEvery = 16;

  static ListItem ItemOf(Entry* entry, bool dirty);
  // ---- the tree
  static uint64_t SumOf(const Node* node);
  static bool IsDirtyBelow(const Node* node);
  static void Update(Node* node);
  static void AddToSums(Node* node, int64_t more);
  Node*& LinkTo(Node* node);
  void Rotate(Node* node);  // above its parent
  Node* NewBehind(Node* previous);
  void Remove(Node* node);
  static void MarkDirty(Node* node);
  static void MarkClean(Node* node);
  // The last block whose first element's name is not greater than `name`; else the first one.
  Node* BlockOf(std::string_view name) const;
  // The block with the element of a rank, which becomes the rank in it.
  Node* BlockAt(size_t& rank) const;
  // The last dirty block that has an element before `before`, if that is given.
  Node* LastDirty(const Node* node, const std::string* before) const;
  // ---- the end
  // On the last element.
  ListBlock::Reader Last() const;
  // Of the last block: something was put behind all others, at `offset`; something at its begin was
  // changed, which moved all behind it by `moved`; anything else.
  void NoteBehind(size_t offset, const ListBlock::Chain& before);
  void NoteBegin(const ListBlock::Chain& base, ptrdiff_t moved);
  void ForgetMarks();

  void InsertInto(Node* node, size_t offset, const ListBlock::Chain& before, const ListItem& item);
  void Split(Node* node);
  // Without freeing its entry.
  void TakeOut(Place& place);
  void Shrunk(Node* node);
  void Merge(Node* node, Node* next);
  void Fit(Node* node);
  // Visits the dirty ones of a block with names from `floor` on, before `before` if that is given.
  size_t TakeFrom(Node* node,
                  std::string_view floor,
                  const std::string* before,
                  base::FunctionRef<void(const ListItem&)> visit);

  Node* root_ = nullptr;
  Node* first_ = nullptr;
  Node* last_ = nullptr;
  OrderTree hidden_;
  size_t plain_ = 0;
  size_t block_bytes_ = 0;
  base::Random priorities_{1};  // any will do: names are not chosen to meet them
  std::optional<Pass> pass_;
  mutable std::vector<Mark> marks_;
  mutable std::optional<Mark> last_mark_;  // of the last element
  mutable size_t behind_mark_ = 0;  // elements from the last of marks_ on, if last_mark_ is known
};

}  // namespace polyarch::keyspace
