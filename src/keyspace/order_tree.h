// The order of a sorted set, list or Redis stream: a counted B+tree (each inner node knows how many items
// each child holds) of (score, name), so that an item's rank, the item of a rank, and the first item of a
// score or name are each found in O(log n). Items point to entries that somebody else owns.
//
// Scores are numbers, never NaN; items of equal score are in the order of their names' bytes.
//
// Items can be marked as dirty: a bit each in their leaf, and a bit for each child that has one below it,
// so that few dirty ones are found quickly among many.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/function_ref.h"
#include "keyspace/entry.h"

namespace polyarch::keyspace {

class OrderTree {
 public:
  struct Item {
    double score = 0;
    Entry* entry = nullptr;
  };

  OrderTree();
  ~OrderTree();
  OrderTree(const OrderTree&) = delete;
  OrderTree& operator=(const OrderTree&) = delete;

  size_t size() const { return size_; }
  size_t memory_bytes() const { return memory_bytes_; }
  void clear();
  // Frees about `count` items of a tree that nobody uses any more; false when none is left. `drop` is told
  // of each of their entries.
  bool FreeSome(size_t count, base::FunctionRef<void(Entry*)> drop = [](Entry*) {});

  // No item of this score and name may be there.
  void Insert(double score, Entry* entry, bool dirty = false);
  // True if it was there.
  bool Erase(double score, std::string_view name);
  // Another entry of the same name and score takes this one's place. Dirty it becomes, or stays as it was.
  void Replace(double score, Entry* old_entry, Entry* new_entry, bool dirty = false);

  // Null if it is not there.
  Entry* Find(double score, std::string_view name) const;
  // Of one that is there.
  void SetDirty(double score, std::string_view name, bool dirty);
  // The last dirty one, of those whose name is less than `before` if there is one. Scores must be NameScore.
  Entry* LastDirty(const std::string* before) const;

  // How many items stand before (score, name).
  size_t Rank(double score, std::string_view name) const;
  // How many have a lower score (or an equal one, if `inclusive`).
  size_t CountBelow(double score, bool inclusive) const;
  // Visits items from rank `first` on, upwards or downwards, until there is none or `visit` says false.
  void Walk(size_t first, bool reverse, base::FunctionRef<bool(const Item&)> visit) const;
  // The item of a rank below size().
  Item At(size_t rank) const;

 private:
  struct Node;
  struct Inner;
  static constexpr size_t kWidth = 32;

  static bool Less(const Item& item, double score, std::string_view name) {
    return item.score < score || (item.score == score && item.entry->key() < name);
  }
  Node* New(bool leaf);
  void Delete(Node* node);
  Node* InsertInto(Node* node, const Item& item, bool dirty);
  bool EraseFrom(Node* node, double score, std::string_view name);
  void Free(Node* node);
  void TrimEmptyTail();
  void Join(Node* parent, size_t i);
  static void SetDirtyIn(Node* node, double score, std::string_view name, bool dirty);
  static Entry* LastDirtyIn(const Node* node, const std::string* before);
  static bool WalkNode(const Node* node,
                       size_t skip,
                       bool reverse,
                       base::FunctionRef<bool(const Item&)> visit);

  Node* root_ = nullptr;
  size_t size_ = 0;
  size_t memory_bytes_ = 0;
};

}  // namespace polyarch::keyspace
