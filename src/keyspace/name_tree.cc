#include "keyspace/name_tree.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "keyspace/name_score.h"

namespace polyarch::keyspace {

NameTree::~NameTree() {
  while (FreeSome(SIZE_MAX)) {
  }
}

Entry* NameTree::Find(std::string_view name) const {
  const double score = NameScore(name);
  Entry* entry = shown_.Find(score, name);
  return entry != nullptr || hidden_.size() == 0 ? entry : hidden_.Find(score, name);
}

void NameTree::Insert(Entry* entry) {
  TreeOf(entry).Insert(NameScore(entry->key()), entry, /*dirty=*/true);
}

void NameTree::Erase(Entry* entry) {
  CHECK(TreeOf(entry).Erase(NameScore(entry->key()), entry->key()));
  Entry::Free(entry);
}

void NameTree::Replace(Entry* old_entry, Entry* new_entry) {
  if (&TreeOf(old_entry) == &TreeOf(new_entry)) {
    TreeOf(old_entry).Replace(NameScore(old_entry->key()), old_entry, new_entry, /*dirty=*/true);
    Entry::Free(old_entry);
  } else {
    Erase(old_entry);
    Insert(new_entry);
  }
}

void NameTree::SetDirty(const Entry* entry, bool dirty) {
  TreeOf(entry).SetDirty(NameScore(entry->key()), entry->key(), dirty);
}

void NameTree::Reshow(base::FunctionRef<void(Entry*)> look) {
  std::vector<Entry*> moved;
  for (const bool shown : {true, false}) {
    OrderTree& tree = shown ? shown_ : hidden_;
    tree.Walk(0, false, [&](const OrderTree::Item& item) {
      look(item.entry);
      if (item.entry->has(Entry::kShown) != shown) moved.push_back(item.entry);
      return true;
    });
  }
  for (Entry* entry : moved) {
    OrderTree& from = entry->has(Entry::kShown) ? hidden_ : shown_;
    CHECK(from.Erase(NameScore(entry->key()), entry->key()));
    // Dirty or not: its row may be written once more than it needs to be.
    Insert(entry);
  }
}

void NameTree::Walk(base::FunctionRef<bool(const Entry&)> visit) const {
  bool more = true;
  auto each = [&](const OrderTree::Item& item) { return more = visit(*item.entry); };
  shown_.Walk(0, false, each);
  if (more) hidden_.Walk(0, false, each);
}

bool NameTree::TakeDirty(bool begins, size_t count, base::FunctionRef<void(Entry*)> visit) {
  if (size() == 0) {
    pass_.reset();
    return true;
  }
  if (begins || !pass_) {
    pass_.emplace();
    const OrderTree& first = shown_.size() > 0 ? shown_ : hidden_;
    pass_->least = first.At(0).entry->key();
    if (hidden_.size() > 0)
      pass_->least = std::min<std::string_view>(pass_->least, hidden_.At(0).entry->key());
  }
  for (; count > 0; --count) {
    // Both at once: an entry that changes trees keeps its place in the pass.
    const std::string* before = pass_->before ? &*pass_->before : nullptr;
    Entry* next = shown_.LastDirty(before);
    Entry* hidden = hidden_.LastDirty(before);
    if (next == nullptr || (hidden != nullptr && hidden->key() > next->key())) next = hidden;
    if (next == nullptr || next->key() < pass_->least) {
      pass_.reset();
      return true;
    }
    SetDirty(next, false);
    pass_->before.emplace(next->key());
    visit(next);
  }
  return false;
}

bool NameTree::FreeSome(size_t count) {
  auto drop = [](Entry* entry) { Entry::Free(entry); };
  return shown_.FreeSome(count, drop) || hidden_.FreeSome(count, drop);
}

}  // namespace polyarch::keyspace
