#include "keyspace/block_list.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "keyspace/name_score.h"

namespace polyarch::keyspace {

struct BlockList::Node : ListBlock {
  Node* parent = nullptr;
  Node* left = nullptr;
  Node* right = nullptr;
  Node* previous = nullptr;
  Node* next = nullptr;
  uint64_t sum = 0;  // of elements, in this block and below
  uint32_t priority = 0;
  bool dirty = false;        // it has a dirty element
  bool dirty_below = false;  // or one below it has

  std::string_view FirstName(Reader& reader) const {
    reader.Next();
    return reader.item().name();
  }
  bool BeginsBefore(std::string_view name) const {
    Reader reader(*this);
    return FirstName(reader) < name;
  }
};

BlockList::~BlockList() {
  while (FreeSome(SIZE_MAX)) {
  }
}

size_t BlockList::shown() const {
  return SumOf(root_);
}

size_t BlockList::memory_bytes() const {
  return block_bytes_ + hidden_.memory_bytes() + marks_.capacity() * sizeof(Mark);
}

ListItem BlockList::ItemOf(Entry* entry, bool dirty) {
  ListItem item{};
  item.entry = entry;
  item.dirty = dirty;
  return item;
}

// ---- the tree

uint64_t BlockList::SumOf(const Node* node) {
  return node == nullptr ? 0 : node->sum;
}

bool BlockList::IsDirtyBelow(const Node* node) {
  return node != nullptr && node->dirty_below;
}

void BlockList::Update(Node* node) {
  node->sum = node->count() + SumOf(node->left) + SumOf(node->right);
  node->dirty_below = node->dirty || IsDirtyBelow(node->left) || IsDirtyBelow(node->right);
}

void BlockList::AddToSums(Node* node, int64_t more) {
  for (; node != nullptr; node = node->parent)
    node->sum += static_cast<uint64_t>(more);
}

BlockList::Node*& BlockList::LinkTo(Node* node) {
  if (node->parent == nullptr) return root_;
  return node->parent->left == node ? node->parent->left : node->parent->right;
}

void BlockList::Rotate(Node* node) {
  Node* above = node->parent;
  Node*& link = LinkTo(above);
  const bool from_left = above->left == node;
  Node*& inner = from_left ? node->right : node->left;
  (from_left ? above->left : above->right) = inner;
  if (inner != nullptr) inner->parent = above;
  node->parent = above->parent;
  link = node;
  inner = above;
  above->parent = node;
  Update(above);
  Update(node);
}

BlockList::Node* BlockList::NewBehind(Node* previous) {
  Node* node = new Node;
  block_bytes_ += sizeof *node;
  node->priority = static_cast<uint32_t>(priorities_.Next());
  Node* next = previous == nullptr ? first_ : previous->next;
  node->previous = previous;
  node->next = next;
  (previous == nullptr ? first_ : previous->next) = node;
  (next == nullptr ? last_ : next->previous) = node;
  if (next == nullptr) ForgetMarks();
  if (root_ == nullptr) {
    root_ = node;
    return node;
  }
  // Of two neighbours one has no child on the other's side.
  if (previous != nullptr && previous->right == nullptr) {
    node->parent = previous;
    previous->right = node;
  } else {
    node->parent = next;
    next->left = node;
  }
  while (node->parent != nullptr && node->priority > node->parent->priority)
    Rotate(node);
  return node;
}

void BlockList::Remove(Node* node) {
  while (node->left != nullptr || node->right != nullptr) {
    const bool right = node->left == nullptr ||
                       (node->right != nullptr && node->right->priority > node->left->priority);
    Rotate(right ? node->right : node->left);
  }
  LinkTo(node) = nullptr;
  for (Node* above = node->parent; above != nullptr; above = above->parent)
    Update(above);
  (node->previous == nullptr ? first_ : node->previous->next) = node->next;
  (node->next == nullptr ? last_ : node->next->previous) = node->previous;
  if (node->next == nullptr) ForgetMarks();
  block_bytes_ -= sizeof *node + node->capacity();
  delete node;
}

void BlockList::MarkDirty(Node* node) {
  node->dirty = true;
  for (; node != nullptr && !node->dirty_below; node = node->parent)
    node->dirty_below = true;
}

void BlockList::MarkClean(Node* node) {
  node->dirty = false;
  for (; node != nullptr; node = node->parent)
    Update(node);
}

BlockList::Node* BlockList::BlockOf(std::string_view name) const {
  ListBlock::Reader reader(*last_);
  if (last_->FirstName(reader) <= name) return last_;
  if (first_->next == nullptr) return first_;
  reader = ListBlock::Reader(*first_->next);
  if (first_->next->FirstName(reader) > name) return first_;
  Node* found = first_;
  for (Node* node = root_; node != nullptr;) {
    reader = ListBlock::Reader(*node);
    if (node->FirstName(reader) <= name) {
      found = node;
      node = node->right;
    } else {
      node = node->left;
    }
  }
  return found;
}

BlockList::Node* BlockList::BlockAt(size_t& rank) const {
  for (Node* node = root_;;) {
    if (rank < SumOf(node->left)) {
      node = node->left;
      continue;
    }
    rank -= SumOf(node->left);
    if (rank < node->count()) return node;
    rank -= node->count();
    node = node->right;
  }
}

BlockList::Node* BlockList::LastDirty(const Node* node, const std::string* before) const {
  if (!IsDirtyBelow(node)) return nullptr;
  const bool here = before == nullptr || node->BeginsBefore(*before);
  if (here) {
    if (Node* found = LastDirty(node->right, before); found != nullptr) return found;
    if (node->dirty) return const_cast<Node*>(node);
  }
  return LastDirty(node->left, here ? nullptr : before);
}

// ---- the end

ListBlock::Reader BlockList::Last() const {
  if (last_mark_) {
    ListBlock::Reader reader(*last_, static_cast<size_t>(last_mark_->offset), last_mark_->before);
    reader.Next();
    return reader;
  }
  const bool marked = !marks_.empty();
  ListBlock::Reader reader =
      marked ? ListBlock::Reader(
                   *last_, static_cast<size_t>(marks_.back().offset), marks_.back().before)
             : ListBlock::Reader(*last_);
  for (behind_mark_ = 0; reader.Next(); ++behind_mark_) {
    last_mark_ = {static_cast<ptrdiff_t>(reader.offset()), reader.before()};
    if (behind_mark_ < kMarkEvery) continue;
    marks_.push_back(*last_mark_);
    behind_mark_ = 0;
  }
  reader = {*last_, static_cast<size_t>(last_mark_->offset), last_mark_->before};
  reader.Next();
  return reader;
}

void BlockList::NoteBehind(size_t offset, const ListBlock::Chain& before) {
  last_mark_ = {static_cast<ptrdiff_t>(offset), before};
  if (++behind_mark_ <= kMarkEvery) return;
  marks_.push_back(*last_mark_);
  behind_mark_ = 1;
}

void BlockList::NoteBegin(const ListBlock::Chain& base, ptrdiff_t moved) {
  // Those that are told by what stood before the begin may have been told anew, if something came
  // before them; and what went may have had one.
  auto gone = [&](const Mark& mark) {
    return mark.offset < 0 || (moved > 0 && mark.before == base);
  };
  for (Mark& mark : marks_)
    mark.offset += moved;
  std::erase_if(marks_, gone);
  if (!last_mark_) return;
  last_mark_->offset += moved;
  if (gone(*last_mark_)) last_mark_.reset();
}

void BlockList::ForgetMarks() {
  marks_.clear();
  last_mark_.reset();
}

// ---- changing

// Leaves where it would stand: before the element that the reader has found, or, if that is not
// greater, at the block's end.
bool BlockList::Find(std::string_view name, Place& place) const {
  place.node_ = first_;
  if (first_ != nullptr) {
    // At the ends most is found and put.
    place.reader_ = ListBlock::Reader(*first_);
    place.reader_.Next();
    int order = place.item().name().compare(name);
    if (order < 0) {
      place.node_ = last_;
      place.reader_ = Last();
      order = -place.item().name().compare(name);
    }
    if (order == 0) return true;
    if (order < 0) {
      place.node_ = BlockOf(name);
      place.reader_ = ListBlock::Reader(*place.node_);
      while (place.reader_.Next()) {
        order = place.item().name().compare(name);
        if (order == 0) return true;
        if (order > 0) break;
      }
    }
  }
  Entry* entry = hidden_.size() == 0 ? nullptr : hidden_.Find(NameScore(name), name);
  if (entry == nullptr) return false;
  place.node_ = nullptr;
  place.reader_ = ListBlock::Reader::Of(ItemOf(entry, false));
  return true;
}

void BlockList::Insert(const ListItem& item, const Place* place) {
  if (item.entry != nullptr && !item.entry->has(Entry::kShown)) {
    hidden_.Insert(NameScore(item.name()), item.entry, item.dirty);
    return;
  }
  if (item.entry == nullptr) ++plain_;
  if (root_ == nullptr) {
    Node* node = NewBehind(nullptr);
    InsertInto(node, 0, node->base(), item);
    return;
  }
  Place found;
  if (place == nullptr) {
    Find(item.name(), found);
    place = &found;
  }
  const ListBlock::Reader& reader = place->reader_;
  if (item.name() < reader.item().name()) {
    InsertInto(place->node_, reader.offset(), reader.before(), item);
  } else {
    InsertInto(place->node_, place->node_->used(), reader.chain(), item);
  }
}

void BlockList::InsertInto(Node* node,
                           size_t offset,
                           const ListBlock::Chain& before,
                           const ListItem& item) {
  const size_t used = node->used();
  if (node->count() > 0 && used + ListBlock::BytesMaxOf(item) > ListBlock::kBytesMax) {
    if (offset > 0 && offset < used) {
      Split(node);
      if (item.entry == nullptr) --plain_;
      Insert(item);
      return;
    }
    Fit(node);
    InsertInto(NewBehind(offset == 0 ? node->previous : node), 0, before, item);
    return;
  }
  const ListBlock::Chain base = node->base();
  const size_t capacity = node->capacity();
  if (node->count() == 0) {
    node->Begin(item);
  } else {
    node->Insert(offset, before, item);
  }
  block_bytes_ += node->capacity() - capacity;
  AddToSums(node, 1);
  if (item.dirty) MarkDirty(node);
  if (node != last_) return;
  if (used == 0) {
    ForgetMarks();
  } else if (offset == used && last_mark_) {
    NoteBehind(offset, before);
  } else if (offset == 0) {
    NoteBegin(base, static_cast<ptrdiff_t>(node->used() - used));
  } else {
    ForgetMarks();
  }
}

void BlockList::Fit(Node* node) {
  block_bytes_ -= node->capacity();
  node->Fit();
  block_bytes_ += node->capacity();
}

void BlockList::Split(Node* node) {
  ListBlock::Reader middle(*node);
  for (ListBlock::Reader reader(*node); reader.Next();) {
    middle = reader;
    if (reader.offset() >= node->used() / 2) break;
  }
  Node* beside = NewBehind(node);
  node->MoveTail(middle, *beside);
  block_bytes_ += beside->capacity();
  const auto moved = static_cast<int64_t>(beside->count());
  AddToSums(node, -moved);
  AddToSums(beside, moved);
  if (node->dirty) MarkDirty(beside);
  Fit(node);
  ForgetMarks();
}

void BlockList::Replace(Place& place, const ListItem& item) {
  Node* node = place.node_;
  Entry* old_entry = place.item().entry;
  const bool hides = item.entry != nullptr && !item.entry->has(Entry::kShown);
  if (node == nullptr || hides ||
      node->used() - place.reader_.bytes() + ListBlock::BytesMaxOf(item) > ListBlock::kBytesMax) {
    TakeOut(place);
    Insert(item);
  } else {
    if (old_entry == nullptr) --plain_;
    if (item.entry == nullptr) ++plain_;
    const size_t capacity = node->capacity();
    node->Replace(place.reader_, item);
    block_bytes_ += node->capacity() - capacity;
    if (item.dirty) MarkDirty(node);
    if (node == last_) ForgetMarks();
  }
  if (old_entry != nullptr) Entry::Free(old_entry);
}

void BlockList::Erase(Place& place) {
  Entry* entry = place.item().entry;
  TakeOut(place);
  if (entry != nullptr) Entry::Free(entry);
}

void BlockList::TakeOut(Place& place) {
  Node* node = place.node_;
  Entry* entry = place.item().entry;
  if (node == nullptr) {
    CHECK(hidden_.Erase(NameScore(entry->key()), entry->key()));
    return;
  }
  if (entry == nullptr) --plain_;
  const size_t offset = place.reader_.offset();
  const ListBlock::Chain base = node->base();
  const size_t used = node->used();
  const bool was_last = offset + place.reader_.bytes() == used;
  block_bytes_ -= node->capacity();
  node->Erase(place.reader_);
  block_bytes_ += node->capacity();
  AddToSums(node, -1);
  if (node->count() == 0) {
    Remove(node);
    return;
  }
  if (node == last_) {
    if (was_last) {
      last_mark_.reset();
      if (!marks_.empty() && marks_.back().offset >= static_cast<ptrdiff_t>(offset))
        marks_.pop_back();
    } else if (offset == 0) {
      NoteBegin(base, static_cast<ptrdiff_t>(node->used()) - static_cast<ptrdiff_t>(used));
    } else {
      ForgetMarks();
    }
  }
  Shrunk(node);
}

void BlockList::EraseBlocks(std::string_view from,
                            std::string_view to,
                            base::FunctionRef<bool(const ListItem&)> goes,
                            base::FunctionRef<void(std::string_view name)> gone) {
  Node* node = root_ == nullptr ? nullptr : BlockOf(from);
  while (node != nullptr) {
    Node* next = node->next;
    ListBlock::Reader reader(*node);
    bool all = true;
    while (all && reader.Next()) {
      const ListItem& item = reader.item();
      if (item.name() >= to) return;
      all = item.entry == nullptr && item.name() >= from && goes(item);
    }
    if (all) {
      for (ListBlock::Reader stored(*node); stored.Next();) {
        if (stored.item().stored) gone(stored.item().name());
      }
      plain_ -= node->count();
      AddToSums(node, -static_cast<int64_t>(node->count()));
      node->Forget();
      Remove(node);
    }
    node = next;
  }
}

void BlockList::Shrunk(Node* node) {
  constexpr size_t kSlack = 128;  // the first one of what is taken over is told anew
  if (node->used() < ListBlock::kBytesMax / 4) {
    for (Node* beside : {node->next, node->previous}) {
      if (beside == nullptr || beside->used() + node->used() + kSlack > ListBlock::kBytesMax / 2)
        continue;
      return beside == node->next ? Merge(node, beside) : Merge(beside, node);
    }
  }
  if (node->capacity() > 2 * node->used() + kSlack) Fit(node);
}

void BlockList::Merge(Node* node, Node* next) {
  const auto moved = static_cast<int64_t>(next->count());
  block_bytes_ -= node->capacity() + next->capacity();
  node->Append(*next);
  block_bytes_ += node->capacity() + next->capacity();
  AddToSums(next, -moved);
  AddToSums(node, moved);
  if (next->dirty) MarkDirty(node);
  ForgetMarks();
  Remove(next);
}

void BlockList::SetDirty(Place& place, bool dirty) {
  Node* node = place.node_;
  if (node == nullptr) {
    const Entry* entry = place.item().entry;
    hidden_.SetDirty(NameScore(entry->key()), entry->key(), dirty);
    return;
  }
  node->SetDirty(place.reader_.offset(), dirty);
  // A block that is called dirty although it has no such element any more is looked through once
  // more.
  if (dirty) MarkDirty(node);
}

void BlockList::SetStored(Place& place) {
  if (Entry* entry = place.item().entry; entry != nullptr) {
    entry->set(Entry::kStored, true);
  } else {
    place.node_->SetStored(place.reader_.offset());
  }
}

void BlockList::Reshow(base::FunctionRef<void(Entry*)> look) {
  std::vector<Entry*> hide;
  std::vector<Entry*> show;
  Walk(0, false, [&](const ListItem& item) {
    if (item.entry == nullptr) return true;
    look(item.entry);
    if (!item.entry->has(Entry::kShown)) hide.push_back(item.entry);
    return true;
  });
  hidden_.Walk(0, false, [&](const OrderTree::Item& item) {
    look(item.entry);
    if (item.entry->has(Entry::kShown)) show.push_back(item.entry);
    return true;
  });
  // Dirty or not: a row may be written once more than it needs to be.
  for (Entry* entry : hide) {
    Place place;
    CHECK(Find(entry->key(), place));
    TakeOut(place);
    Insert(ItemOf(entry, true));
  }
  for (Entry* entry : show) {
    CHECK(hidden_.Erase(NameScore(entry->key()), entry->key()));
    Insert(ItemOf(entry, true));
  }
}

// ---- looking

ListItem BlockList::At(size_t rank) const {
  if (rank + 1 == shown()) return Last().item();
  Node* node = BlockAt(rank);
  ListBlock::Reader reader(*node);
  for (reader.Next(); rank > 0; --rank)
    reader.Next();
  return reader.item();
}

size_t BlockList::Rank(std::string_view name) const {
  if (root_ == nullptr) return 0;
  Node* node = BlockOf(name);
  size_t rank = 0;
  ListBlock::Reader reader(*node);
  while (reader.Next() && reader.item().name() < name)
    ++rank;
  rank += SumOf(node->left);
  for (; node->parent != nullptr; node = node->parent) {
    if (node->parent->right == node) rank += node->parent->count() + SumOf(node->parent->left);
  }
  return rank;
}

void BlockList::Walk(size_t first, bool reverse, Visit visit) const {
  if (first >= shown()) return;
  Node* node = BlockAt(first);
  if (!reverse) {
    for (; node != nullptr; node = node->next) {
      ListBlock::Reader reader(*node);
      while (reader.Next()) {
        if (first > 0) {
          --first;
        } else if (!visit(reader.item())) {
          return;
        }
      }
    }
    return;
  }
  std::vector<ListItem> items;
  for (size_t count = first + 1; node != nullptr; node = node->previous) {
    items.clear();
    ListBlock::Reader reader(*node);
    while (items.size() < count && reader.Next())
      items.push_back(reader.item());
    for (size_t i = items.size(); i > 0; --i) {
      if (!visit(items[i - 1])) return;
    }
    count = SIZE_MAX;
  }
}

void BlockList::WalkAll(Visit visit) const {
  bool more = true;
  Walk(0, false, [&](const ListItem& item) { return more = visit(item); });
  if (!more) return;
  hidden_.Walk(
      0, false, [&](const OrderTree::Item& item) { return visit(ItemOf(item.entry, false)); });
}

// ---- rows

size_t BlockList::TakeFrom(Node* node,
                           std::string_view floor,
                           const std::string* before,
                           base::FunctionRef<void(const ListItem&)> visit) {
  size_t visited = 0;
  size_t left = 0;
  ListBlock::Reader reader(*node);
  while (reader.Next()) {
    const ListItem& item = reader.item();
    if (!item.dirty) continue;
    if (item.name() < floor || (before != nullptr && item.name() >= *before)) {
      ++left;
      continue;
    }
    ++visited;
    node->SetDirty(reader.offset(), false);
    if (item.entry != nullptr) {
      item.entry->set(Entry::kStored, true);
    } else {
      node->SetStored(reader.offset());
    }
    visit(item);
  }
  if (left == 0) MarkClean(node);
  return visited;
}

bool BlockList::TakeDirty(bool begins,
                          size_t count,
                          base::FunctionRef<void(const ListItem&)> visit) {
  if (size() == 0) {
    pass_.reset();
    return true;
  }
  if (begins || !pass_) {
    pass_.emplace();
    if (root_ != nullptr) pass_->least = At(0).name();
    if (hidden_.size() > 0) {
      const std::string_view hidden = hidden_.At(0).entry->key();
      if (root_ == nullptr || hidden < pass_->least) pass_->least = hidden;
    }
  }
  for (size_t visited = 0; visited < count;) {
    // Both at once: an element that is shown or hidden meanwhile keeps its place in the pass.
    const std::string* before = pass_->before ? &*pass_->before : nullptr;
    Node* node = LastDirty(root_, before);
    Entry* hidden = hidden_.LastDirty(before);
    std::string floor;
    if (node != nullptr) {
      ListBlock::Reader reader(*node);
      floor = node->FirstName(reader);
    }
    if (hidden != nullptr && (node == nullptr || hidden->key() > floor)) {
      floor = hidden->key();
    } else {
      hidden = nullptr;
    }
    if (node != nullptr) visited += TakeFrom(node, std::max(floor, pass_->least), before, visit);
    if (hidden != nullptr && floor >= pass_->least) {
      hidden_.SetDirty(NameScore(floor), floor, false);
      hidden->set(Entry::kStored, true);
      visit(ItemOf(hidden, false));
      ++visited;
    }
    if ((node == nullptr && hidden == nullptr) || floor <= pass_->least) {
      pass_.reset();
      return true;
    }
    pass_->before = std::move(floor);
  }
  return false;
}

bool BlockList::FreeSome(size_t count) {
  root_ = last_ = nullptr;
  ForgetMarks();
  marks_.shrink_to_fit();
  for (size_t freed = 0; first_ != nullptr && freed < count;) {
    freed += first_->count();
    block_bytes_ -= sizeof(Node) + first_->capacity();
    delete std::exchange(first_, first_->next);
  }
  return first_ != nullptr || hidden_.FreeSome(count, [](Entry* entry) { Entry::Free(entry); });
}

}  // namespace polyarch::keyspace
