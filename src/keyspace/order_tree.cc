#include "keyspace/order_tree.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "keyspace/name_score.h"

namespace polyarch::keyspace {

namespace {

// The lowest `n` of up to 32 bits.
uint32_t LowBits(size_t n) {
  return static_cast<uint32_t>((uint64_t{1} << n) - 1);
}

}  // namespace

// A leaf holds items and is no more than this; an inner node (Inner) holds the least item under each
// child. Arrays are used up to `size`.
struct OrderTree::Node {
  bool leaf = true;
  uint16_t size = 0;
  uint32_t dirty = 0;  // a bit an item; of an inner node: which children have one
  Item items[kWidth];

  Inner& inner();
  const Inner& inner() const;
  // How many items it holds, or its children together.
  size_t Count() const;
  void Open(size_t i);
  void Close(size_t i);
  // Appends the items [from, from + n) of `other`.
  void Take(const Node& other, size_t from, size_t n);
  void Mark(size_t i, bool on) { dirty = on ? dirty | 1U << i : dirty & ~(1U << i); }
  void MarkChild(size_t i);
  // Of the child under which (score, name) belongs.
  size_t ChildOf(double score, std::string_view name) const {
    // Lists and streams grow at their ends.
    if (!Before(score, name, items[size - 1])) return size - 1;
    if (size == 1 || Before(score, name, items[1])) return 0;
    size_t low = 0;
    size_t high = size;
    while (high - low > 1) {
      const size_t middle = (low + high) / 2;
      (Before(score, name, items[middle]) ? high : low) = middle;
    }
    return low;
  }
  size_t LowerBound(double score, std::string_view name) const {
    if (size == 0 || Less(items[size - 1], score, name)) return size;
    if (!Less(items[0], score, name)) return 0;
    return static_cast<size_t>(
        std::partition_point(
            items,
               items + size,
               [&](const Item& item) { return Less(item, score, name); }) -
        items);
  }

 private:
  static bool Before(double score, std::string_view name, const Item& item) {
    return score < item.score || (score == item.score && name < item.entry->key());
  }
};

struct OrderTree::Inner : Node {
  Inner() { leaf = false; }
  Node* children[kWidth];
  size_t counts[kWidth];  // of items below each child
};

OrderTree::Inner& OrderTree::Node::inner() {
  return *static_cast<Inner*>(this);
}

const OrderTree::Inner& OrderTree::Node::inner() const {
  return *static_cast<const Inner*>(this);
}

size_t OrderTree::Node::Count() const {
  if (leaf) return size;
  return std::accumulate(inner().counts, inner().counts + size, size_t{0});
}

void OrderTree::Node::MarkChild(size_t i) {
  Mark(i, inner().children[i]->dirty != 0);
}

void OrderTree::Node::Open(size_t i) {
  dirty = (dirty & LowBits(i)) | (dirty & ~LowBits(i)) << 1;
  std::copy_backward(items + i, items + size, items + size + 1);
  if (!leaf) {
    Inner& in = inner();
    std::copy_backward(in.children + i, in.children + size, in.children + size + 1);
    std::copy_backward(in.counts + i, in.counts + size, in.counts + size + 1);
  }
  ++size;
}

void OrderTree::Node::Close(size_t i) {
  dirty = (dirty & LowBits(i)) | (dirty >> 1 & ~LowBits(i));
  std::copy(items + i + 1, items + size, items + i);
  if (!leaf) {
    Inner& in = inner();
    std::copy(in.children + i + 1, in.children + size, in.children + i);
    std::copy(in.counts + i + 1, in.counts + size, in.counts + i);
  }
  --size;
}

void OrderTree::Node::Take(const Node& other, size_t from, size_t n) {
  std::copy(other.items + from, other.items + from + n, items + size);
  if (!leaf) {
    Inner& in = inner();
    const Inner& theirs = other.inner();
    std::copy(theirs.children + from, theirs.children + from + n, in.children + size);
    std::copy(theirs.counts + from, theirs.counts + from + n, in.counts + size);
  }
  if (n > 0) dirty |= (other.dirty >> from & LowBits(n)) << size;
  size = static_cast<uint16_t>(size + n);
}

OrderTree::Node* OrderTree::New(bool leaf) {
  memory_bytes_ += leaf ? sizeof(Node) : sizeof(Inner);
  return leaf ? new Node : new Inner;
}

void OrderTree::Delete(Node* node) {
  memory_bytes_ -= node->leaf ? sizeof(Node) : sizeof(Inner);
  if (node->leaf) {
    delete node;
  } else {
    delete &node->inner();
  }
}

OrderTree::OrderTree() = default;

OrderTree::~OrderTree() {
  clear();
}

void OrderTree::clear() {
  if (root_ != nullptr) Free(root_);
  root_ = nullptr;
  size_ = 0;
}

void OrderTree::Free(Node* node) {
  if (!node->leaf) {
    for (size_t i = 0; i < node->size; ++i)
      Free(node->inner().children[i]);
  }
  Delete(node);
}

bool OrderTree::FreeSome(size_t count, base::FunctionRef<void(Entry*)> drop) {
  for (size_t freed = 0; root_ != nullptr && freed < count;) {
    // The last leaf goes with its parents that become empty.
    Node** place = &root_;
    Node* parent = nullptr;
    while (!(*place)->leaf) {
      parent = *place;
      place = &parent->inner().children[parent->size - 1];
    }
    freed += std::max<size_t>((*place)->size, 1);
    for (size_t i = 0; i < (*place)->size; ++i)
      drop((*place)->items[i].entry);
    Delete(*place);
    *place = nullptr;
    if (parent != nullptr) --parent->size;
    TrimEmptyTail();
  }
  return root_ != nullptr;
}

// Inner nodes at the end that have lost all children.
void OrderTree::TrimEmptyTail() {
  while (root_ != nullptr && !root_->leaf) {
    Node* above = nullptr;
    Node* node = root_;
    while (!node->leaf && node->size > 0) {
      above = node;
      node = node->inner().children[node->size - 1];
    }
    if (node->leaf) return;
    Delete(node);
    if (above == nullptr) {
      root_ = nullptr;
    } else {
      --above->size;
    }
  }
}

void OrderTree::Insert(double score, Entry* entry, bool dirty) {
  if (root_ == nullptr) {
    root_ = New(true);
  }
  Node* beside = InsertInto(root_, {score, entry}, dirty);
  if (beside != nullptr) {
    Node* top = New(false);
    for (Node* child : {root_, beside}) {
      top->items[top->size] = child->items[0];
      top->inner().children[top->size] = child;
      top->inner().counts[top->size] = child->Count();
      top->MarkChild(top->size);
      ++top->size;
    }
    root_ = top;
  }
  ++size_;
}

// Returns the right half if the node had to be split.
OrderTree::Node* OrderTree::InsertInto(Node* node, const Item& item, bool dirty) {
  size_t place = 0;
  Node* child_beside = nullptr;
  if (node->leaf) {
    place = node->LowerBound(item.score, item.entry->key());
  } else {
    const size_t i = node->ChildOf(item.score, item.entry->key());
    child_beside = InsertInto(node->inner().children[i], item, dirty);
    node->items[i] = node->inner().children[i]->items[0];
    node->MarkChild(i);
    if (child_beside == nullptr) {
      ++node->inner().counts[i];
      return nullptr;
    }
    node->inner().counts[i] = node->inner().children[i]->Count();
    place = i + 1;
  }
  Node* beside = nullptr;
  Node* target = node;
  if (node->size == kWidth) {
    beside = New(node->leaf);
    // Rising inserts leave full nodes behind.
    const size_t kept = place == kWidth ? kWidth - 1 : kWidth / 2;
    beside->Take(*node, kept, kWidth - kept);
    node->size = static_cast<uint16_t>(kept);
    node->dirty &= LowBits(kept);
    if (place > kept) {
      target = beside;
      place -= kept;
    }
  }
  target->Open(place);
  if (node->leaf) {
    target->items[place] = item;
    target->Mark(place, dirty);
  } else {
    target->items[place] = child_beside->items[0];
    target->inner().children[place] = child_beside;
    target->inner().counts[place] = child_beside->Count();
    target->MarkChild(place);
  }
  return beside;
}

bool OrderTree::Erase(double score, std::string_view name) {
  if (root_ == nullptr || !EraseFrom(root_, score, name)) return false;
  --size_;
  while (!root_->leaf && root_->size == 1) {
    Node* only = root_->inner().children[0];
    Delete(root_);
    root_ = only;
  }
  if (root_->size == 0) clear();
  return true;
}

bool OrderTree::EraseFrom(Node* node, double score, std::string_view name) {
  if (node->leaf) {
    const size_t i = node->LowerBound(score, name);
    if (i == node->size || node->items[i].score != score || node->items[i].entry->key() != name)
      return false;
    node->Close(i);
    return true;
  }
  const size_t i = node->ChildOf(score, name);
  if (!EraseFrom(node->inner().children[i], score, name)) return false;
  --node->inner().counts[i];
  Node* child = node->inner().children[i];
  if (child->size == 0) {
    Free(child);
    node->Close(i);
  } else {
    node->items[i] = child->items[0];
    node->MarkChild(i);
    if (child->size < kWidth / 4) Join(node, i);
  }
  return true;
}

// Child `i` has become small: it goes together with a neighbour if both fit into one.
void OrderTree::Join(Node* parent, size_t i) {
  const size_t left = i > 0 ? i - 1 : 0;
  if (left + 1 >= parent->size) return;
  Node* a = parent->inner().children[left];
  Node* b = parent->inner().children[left + 1];
  if (a->size + b->size > kWidth) return;
  a->Take(*b, 0, b->size);
  parent->inner().counts[left] += parent->inner().counts[left + 1];
  Delete(b);
  parent->Close(left + 1);
  parent->MarkChild(left);
}

void OrderTree::Replace(double score, Entry* old_entry, Entry* new_entry, bool dirty) {
  const std::string_view name = new_entry->key();
  Node* node = root_;
  while (node != nullptr) {
    if (node->leaf) {
      const size_t i = node->LowerBound(score, name);
      CHECK(i < node->size && node->items[i].entry == old_entry);
      node->items[i].entry = new_entry;
      if (dirty) node->Mark(i, true);
      return;
    }
    const size_t i = node->ChildOf(score, name);
    if (node->items[i].entry == old_entry) node->items[i].entry = new_entry;
    if (dirty) node->Mark(i, true);
    node = node->inner().children[i];
  }
  CHECK(false);
}

Entry* OrderTree::Find(double score, std::string_view name) const {
  const Node* node = root_;
  if (node == nullptr) return nullptr;
  while (!node->leaf)
    node = node->inner().children[node->ChildOf(score, name)];
  const size_t i = node->LowerBound(score, name);
  const bool found =
      i < node->size && node->items[i].score == score && node->items[i].entry->key() == name;
  return found ? node->items[i].entry : nullptr;
}

void OrderTree::SetDirty(double score, std::string_view name, bool dirty) {
  CHECK(root_ != nullptr);
  SetDirtyIn(root_, score, name, dirty);
}

void OrderTree::SetDirtyIn(Node* node, double score, std::string_view name, bool dirty) {
  if (node->leaf) {
    const size_t i = node->LowerBound(score, name);
    CHECK(i < node->size && node->items[i].entry->key() == name);
    return node->Mark(i, dirty);
  }
  const size_t i = node->ChildOf(score, name);
  SetDirtyIn(node->inner().children[i], score, name, dirty);
  node->MarkChild(i);
}

Entry* OrderTree::LastDirty(const std::string* before) const {
  return root_ == nullptr ? nullptr : LastDirtyIn(root_, before);
}

Entry* OrderTree::LastDirtyIn(const Node* node, const std::string* before) {
  size_t end = node->size;
  if (before != nullptr)
    end = node->leaf ? node->LowerBound(NameScore(*before), *before)
                     : node->ChildOf(NameScore(*before), *before) + 1;
  // Only in the last of the children the name matters; if nothing is there, those before it follow.
  for (uint32_t marks = node->dirty & LowBits(end); marks != 0;) {
    const auto i = static_cast<size_t>(31 - __builtin_clz(marks));
    if (node->leaf) return node->items[i].entry;
    Entry* found = LastDirtyIn(node->inner().children[i], i + 1 == end ? before : nullptr);
    if (found != nullptr) return found;
    marks &= ~(1U << i);
  }
  return nullptr;
}

size_t OrderTree::Rank(double score, std::string_view name) const {
  size_t before = 0;
  const Node* node = root_;
  while (node != nullptr) {
    if (node->leaf) return before + node->LowerBound(score, name);
    const size_t i = node->ChildOf(score, name);
    for (size_t k = 0; k < i; ++k)
      before += node->inner().counts[k];
    node = node->inner().children[i];
  }
  return before;
}

size_t OrderTree::CountBelow(double score, bool inclusive) const {
  size_t before = 0;
  const Node* node = root_;
  auto below = [&](const Item& item) {
    return inclusive ? item.score <= score : item.score < score;
  };
  while (node != nullptr) {
    const auto n = static_cast<size_t>(
        std::partition_point(node->items, node->items + node->size, below) - node->items);
    if (node->leaf) return before + n;
    // The border is in the last child that begins below it.
    if (n == 0) return before;
    for (size_t k = 0; k + 1 < n; ++k)
      before += node->inner().counts[k];
    node = node->inner().children[n - 1];
  }
  return before;
}

OrderTree::Item OrderTree::At(size_t rank) const {
  Item found;
  Walk(rank, false, [&](const Item& item) {
    found = item;
    return false;
  });
  return found;
}

void OrderTree::Walk(size_t first,
                     bool reverse,
                     base::FunctionRef<bool(const Item&)> visit) const {
  if (root_ == nullptr || first >= size_) return;
  // Skipped from the end at which the walk begins.
  WalkNode(root_, reverse ? size_ - 1 - first : first, reverse, visit);
}

bool OrderTree::WalkNode(const Node* node,
                         size_t skip,
                         bool reverse,
                         base::FunctionRef<bool(const Item&)> visit) {
  for (size_t n = 0; n < node->size; ++n) {
    const size_t i = reverse ? node->size - 1 - n : n;
    const size_t count = node->leaf ? 1 : node->inner().counts[i];
    if (skip >= count) {
      skip -= count;
      continue;
    }
    if (node->leaf ? !visit(node->items[i])
                   : !WalkNode(node->inner().children[i], skip, reverse, visit)) {
      return false;
    }
    skip = 0;
  }
  return true;
}

}  // namespace polyarch::keyspace
