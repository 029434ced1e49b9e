// Neighbouring elements of a big list, one behind another in one piece of memory.
//
// Most elements of a list were pushed one after another by one process, so an element says only how
// it differs from the one before it: its value's size is all there is beside the value where both
// came in one frame. An element is
//
//   1       kind; whether its row is stored; whether it has changed since; which differences follow
//   0..     what kind and differences say of its name, dot and stamp
//   1..     the size of its value (varint), the value
//
// What cannot be said so (several versions, a long name or value) is an entry (entry.h) that the
// element points to. Elements with long names and entries do not count as "the one before".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "clock/hlc.h"
#include "clock/origin.h"
#include "crdt/position.h"
#include "keyspace/entry.h"

namespace polyarch::keyspace {

// One element of a block: to look through, until the next change of its list. To add one, `name` or
// `entry`, and what else it holds, are filled in.
struct ListItem {
  std::string_view name() const {
    if (entry != nullptr) return entry->key();
    return text != nullptr ? std::string_view(text, text_bytes)
                           : std::string_view(step, sizeof step);
  }
  std::string_view value() const { return {value_text, value_bytes}; }
  void SetName(std::string_view name);

  char step[crdt::kPositionStepBytes];  // the name, if it is of one step,
  const char* text;                     // else this
  uint32_t text_bytes;
  uint32_t value_bytes;
  const char* value_text;
  clock::Dot dot;
  clock::Hlc hlc;
  Entry* entry;  // or null; then it holds all but `dirty`
  bool stored;   // a row of it may be in the store
  bool dirty;    // and is not what this is
};

class ListBlock {
 public:
  // Of the elements together, where the list begins another block.
  static constexpr size_t kBytesMax = 2048;
  // Of a name, and of a value.
  static constexpr size_t kTextBytesMax = 512;

  // What an element is told by: the newest before it that has a name of one step.
  struct Chain {
    char step[crdt::kPositionStepBytes];
    clock::Dot dot;
    clock::Hlc hlc;
    friend bool operator==(const Chain& a, const Chain& b);
  };

  // Reads one element after another. Good until the block changes.
  class Reader {
   public:
    Reader() = default;
    // From an element on, `offset` behind the first one, that is told by `before`.
    Reader(const ListBlock& block, size_t offset, const Chain& before);
    explicit Reader(const ListBlock& block) : Reader(block, 0, block.base_) {}
    // One that has found this, which is in no block.
    static Reader Of(const ListItem& item) {
      Reader reader;
      reader.item_ = item;
      return reader;
    }
    // False at the end.
    bool Next();
    // What Next found: where it stands, the bytes that it takes, what it is told by.
    const ListItem& item() const { return item_; }
    size_t offset() const { return static_cast<size_t>(at_ - begin_); }
    size_t bytes() const { return static_cast<size_t>(next_ - at_); }
    const Chain& before() const { return before_; }
    // What the next one is told by.
    const Chain& chain() const { return chain_; }

   private:
    friend class ListBlock;
    const char* begin_;
    const char* end_;
    const char* at_;
    const char* next_;
    const char* value_at_;  // where the value's size stands
    Chain before_;
    Chain chain_;
    ListItem item_;
  };

  ListBlock() = default;
  ~ListBlock();  // entries included
  ListBlock(const ListBlock&) = delete;
  ListBlock& operator=(const ListBlock&) = delete;

  size_t count() const { return count_; }
  size_t used() const { return static_cast<size_t>(end_ - begin_); }
  size_t capacity() const { return capacity_; }
  const Chain& base() const { return base_; }
  static size_t BytesMaxOf(const ListItem& item);

  // The first item of an empty block.
  void Begin(const ListItem& item);
  // Before the element at `offset`, or behind all at used(). What the block holds is told by
  // `before` there. No part of the item may be part of this block.
  void Insert(size_t offset, const Chain& before, const ListItem& item) {
    Change(offset, before, 0, &item);
  }
  // Of the element that the reader has found, which must not be used any more. Its entry is not
  // freed.
  void Erase(const Reader& found) {
    Change(found.offset(), found.before(), found.bytes(), nullptr);
  }
  void Replace(const Reader& found, const ListItem& item) {
    Change(found.offset(), found.before(), found.bytes(), &item);
  }
  // Of the element at `offset`.
  void SetDirty(size_t offset, bool dirty);
  void SetStored(size_t offset);
  // Moves the elements from `found` on to an empty block.
  void MoveTail(const Reader& found, ListBlock& to);
  // Takes all of another one's elements behind its own.
  void Append(ListBlock& other);
  // Of a block of plain ones: it has none any more.
  void Forget() {
    end_ = begin_;
    count_ = 0;
  }
  // Gives back memory that it has no use for unless it grows.
  void Fit();

 private:
  void Change(size_t offset, const Chain& before, size_t removed, const ListItem* item);
  // Makes the bytes at `offset`, `old_bytes` of them, to be these.
  void ReplaceBytes(size_t offset, size_t old_bytes, const char* bytes, size_t new_bytes);
  void MakeRoom(size_t more, bool front);
  // The first element from `offset` on that is told by another one is told by `told` now, not
  // `before`.
  void Tell(size_t offset, const Chain& before, const Chain& told);
  static char* Encode(char* to, const Chain& before, const ListItem& item);
  static char* EncodeHead(char* to, const Chain& before, const ListItem& item);
  static bool Continue(Chain& chain, const ListItem& item);

  char* data_ = nullptr;
  uint16_t begin_ = 0;
  uint16_t end_ = 0;
  uint16_t capacity_ = 0;
  uint16_t count_ = 0;
  Chain base_{};  // what the first one is told by
};

}  // namespace polyarch::keyspace
