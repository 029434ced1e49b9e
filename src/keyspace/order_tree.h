// The order of a sorted set: a counted B+tree (each inner node knows how many items each child holds)
// of (score, name), so that an item's rank, the item of a rank, and the first item of a score or name
// are each found in O(log n). Items point to entries that somebody else owns.
//
// Scores are numbers, never NaN; items of equal score are in the order of their names' bytes.
#pragma once

#include <cstdint>
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
  // Frees about `count` items of a tree that nobody uses any more; false when none is left.
  bool FreeSome(size_t count);

  // No item of this score and name may be there.
  void Insert(double score, Entry* entry);
  // True if it was there.
  bool Erase(double score, std::string_view name);
  // Another entry of the same name and score takes this one's place.
  void Replace(double score, Entry* old_entry, Entry* new_entry);

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
  Node* InsertInto(Node* node, const Item& item);
  bool EraseFrom(Node* node, double score, std::string_view name);
  void Free(Node* node);
  void TrimEmptyTail();
  void Join(Node* parent, size_t i);
  static bool WalkNode(const Node* node,
                       size_t skip,
                       bool reverse,
                       base::FunctionRef<bool(const Item&)> visit);

  Node* root_ = nullptr;
  size_t size_ = 0;
  size_t memory_bytes_ = 0;
};

}  // namespace polyarch::keyspace
