// The elements of a big list or Redis stream: entries in the order of their names, found by name or by
// rank among those that are shown. There is no hash table beside it: names come and go at the ends,
// where the tree's path is in the cache, and each entry is found once in it, not twice in two.
//
// Those that are not shown (Entry::kShown), few if any, stand in a tree of their own.
//
// Which entries have changed since their row was written ("dirty") is known to the trees, too. A pass
// over the dirty ones goes from the last name to the first that there was at its beginning, so that it
// ends although elements are added behind and before it all the time.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/function_ref.h"
#include "keyspace/entry.h"
#include "keyspace/order_tree.h"

namespace polyarch::keyspace {

class NameTree {
 public:
  NameTree() = default;
  ~NameTree();
  NameTree(const NameTree&) = delete;
  NameTree& operator=(const NameTree&) = delete;

  size_t size() const { return shown_.size() + hidden_.size(); }
  size_t memory_bytes() const { return shown_.memory_bytes() + hidden_.memory_bytes(); }
  // Scores are NameScore.
  const OrderTree& shown() const { return shown_; }

  // Null if it is not there.
  Entry* Find(std::string_view name) const;
  // Takes ownership of an entry whose name is not there; it is dirty.
  void Insert(Entry* entry);
  // Frees it.
  void Erase(Entry* entry);
  // The new one, of the same name, takes the place of the old one, which is freed. It is dirty.
  void Replace(Entry* old_entry, Entry* new_entry);
  void SetDirty(const Entry* entry, bool dirty);
  // Looks again at all entries: `look` brings Entry::kShown up to date.
  void Reshow(base::FunctionRef<void(Entry*)> look);
  // Shown ones in order, then the others, until false. Nothing may change meanwhile.
  void Walk(base::FunctionRef<bool(const Entry&)> visit) const;

  // Visits up to `count` dirty entries of a pass, and makes them clean; true if it has come to its end.
  // A call with `begins` begins a new one, and so does one when there is none under way.
  bool TakeDirty(bool begins, size_t count, base::FunctionRef<void(Entry*)> visit);

  // Frees about `count` entries of a tree that nobody uses any more; false when none is left.
  bool FreeSome(size_t count);

 private:
  struct Pass {
    std::string least;                  // the first name when it began
    std::optional<std::string> before;  // the name visited last
  };

  OrderTree& TreeOf(const Entry* entry) { return entry->has(Entry::kShown) ? shown_ : hidden_; }

  OrderTree shown_;
  OrderTree hidden_;
  std::optional<Pass> pass_;
};

}  // namespace polyarch::keyspace
