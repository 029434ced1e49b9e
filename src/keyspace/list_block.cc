#include "keyspace/list_block.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/codec.h"
#include "keyspace/list_step.h"

namespace polyarch::keyspace {

namespace {

using list_step::BroughtBy;
using list_step::IndexOf;
using list_step::IsBehind;
using list_step::kRunEnd;
using list_step::SequenceOf;
using list_step::SetIndex;
using list_step::SetSequence;

constexpr uint8_t kKindBits = 7;
enum Kind : uint8_t {
  kStep = 0,     // a name of the same n and run, written by the effect that the name names
  kWritten = 1,  // such a name, written again since
  kOther = 2,    // another name of one step
  kLong = 3,     // of more steps
  kEntry = 4,
  kNextChange = 5,  // kStep, by the first effect of the change after that of the one before it
};
constexpr uint8_t kStored = 0x08;
constexpr uint8_t kDirty = 0x10;
// What differs from the one before: without a bit the sequence and the stamp are equal, and the
// index is the next one.
constexpr uint8_t kSequence = 0x20;
constexpr uint8_t kIndex = 0x40;
constexpr uint8_t kStamp = 0x80;

constexpr size_t kHeadBytesMax =
    1 + sizeof(clock::Dot) + crdt::kPositionStepBytes + 5 * base::kVarintBytesMax;
constexpr size_t kItemBytesMax =
    kHeadBytesMax + 2 * (ListBlock::kTextBytesMax + base::kVarintBytesMax);

// Of a change's first effect. What was put before others stands in the order of falling changes.
uint32_t FirstIndex(bool behind) {
  return behind ? 0 : UINT32_MAX;
}
// How a change's stamp differs from that of the one before it in the list, if both are of one
// millisecond.
int64_t NextStamp(bool behind) {
  return behind ? 1 : -1;
}

char* EncodeDifference(char* to, uint64_t now, uint64_t before) {
  return base::EncodeVarint(to, base::ZigZag(static_cast<int64_t>(now - before)));
}

char* EncodeBytes(char* to, const char* bytes, size_t count) {
  if (count > 0) std::memcpy(to, bytes, count);
  return to + count;
}

}  // namespace

void ListItem::SetName(std::string_view name) {
  if (name.size() == sizeof step) {
    std::memcpy(step, name.data(), sizeof step);
    text = nullptr;
  } else {
    text = name.data();
    text_bytes = static_cast<uint32_t>(name.size());
  }
}

bool operator==(const ListBlock::Chain& a, const ListBlock::Chain& b) {
  return std::memcmp(a.step, b.step, sizeof a.step) == 0 && a.dot == b.dot && a.hlc == b.hlc;
}

// ---- reading

ListBlock::Reader::Reader(const ListBlock& block, size_t offset, const Chain& before)
    : begin_(block.data_ + block.begin_),
      end_(block.data_ + block.end_),
      next_(begin_ + offset),
      chain_(before) {}

bool ListBlock::Reader::Next() {
  at_ = next_;
  if (at_ == end_) return false;
  before_ = chain_;
  const auto tag = static_cast<uint8_t>(*at_);
  base::Reader reader({at_ + 1, static_cast<size_t>(end_ - at_ - 1)});
  ListItem& item = item_;
  item.stored = (tag & kStored) != 0;
  item.dirty = (tag & kDirty) != 0;
  item.entry = nullptr;
  item.text = nullptr;
  const auto kind = static_cast<Kind>(tag & kKindBits);
  switch (kind) {
    case kNextChange: {
      SetSequence(chain_.step, SequenceOf(chain_.step) + 1);
      const bool behind = IsBehind(chain_.step);
      SetIndex(chain_.step, FirstIndex(behind));
      chain_.hlc.bits +=
          static_cast<uint64_t>((tag & kStamp) != 0 ? reader.SignedVarint() : NextStamp(behind));
      chain_.dot = {chain_.dot.origin(), BroughtBy(chain_.step)};
      break;
    }
    case kStep:
    case kWritten: {
      if ((tag & kSequence) != 0)
        SetSequence(chain_.step,
                    SequenceOf(chain_.step) + static_cast<uint64_t>(reader.SignedVarint()));
      const int64_t further = (tag & kIndex) != 0 ? reader.SignedVarint() : 1;
      SetIndex(chain_.step, IndexOf(chain_.step) + static_cast<uint32_t>(further));
      if ((tag & kStamp) != 0) chain_.hlc.bits += static_cast<uint64_t>(reader.SignedVarint());
      if (kind == kStep) {
        chain_.dot = {chain_.dot.origin(), BroughtBy(chain_.step)};
      } else {
        chain_.dot = clock::Dot::FromBits(reader.Varint());
      }
      break;
    }
    case kOther:
      std::memcpy(chain_.step, reader.Raw(sizeof chain_.step).data(), sizeof chain_.step);
      chain_.dot = clock::Dot::FromBits(reader.Varint());
      chain_.hlc.bits += static_cast<uint64_t>(reader.SignedVarint());
      break;
    case kLong: {
      const std::string_view name = reader.Bytes();
      item.text = name.data();
      item.text_bytes = static_cast<uint32_t>(name.size());
      item.dot = clock::Dot::FromBits(reader.Varint());
      item.hlc.bits = reader.Varint();
      break;
    }
    case kEntry:
      std::memcpy(&item.entry, reader.Raw(sizeof item.entry).data(), sizeof item.entry);
      value_at_ = next_ = reader.position();
      return true;
  }
  if (kind != kLong) {
    std::memcpy(item.step, chain_.step, sizeof item.step);
    item.dot = chain_.dot;
    item.hlc = chain_.hlc;
  }
  value_at_ = reader.position();
  const std::string_view value = reader.Bytes();
  item.value_text = value.data();
  item.value_bytes = static_cast<uint32_t>(value.size());
  next_ = reader.position();
  return true;
}

// ---- writing

bool ListBlock::Continue(Chain& chain, const ListItem& item) {
  if (item.entry != nullptr || item.text != nullptr) return false;
  std::memcpy(chain.step, item.step, sizeof chain.step);
  chain.dot = item.dot;
  chain.hlc = item.hlc;
  return true;
}

char* ListBlock::EncodeHead(char* to, const Chain& before, const ListItem& item) {
  char* tag = to++;
  auto put_tag = [&](unsigned bits) {
    *tag = static_cast<char>(bits | (item.stored ? kStored : 0U) | (item.dirty ? kDirty : 0U));
  };
  if (item.entry != nullptr) {
    put_tag(kEntry);
    std::memcpy(to, &item.entry, sizeof item.entry);
    return to + sizeof item.entry;
  }
  if (item.text != nullptr) {
    put_tag(kLong);
    to = EncodeBytes(base::EncodeVarint(to, item.text_bytes), item.text, item.text_bytes);
    return base::EncodeVarint(base::EncodeVarint(to, item.dot.bits()), item.hlc.bits);
  }
  if (std::memcmp(item.step, before.step, kRunEnd) != 0) {
    put_tag(kOther);
    to = EncodeBytes(to, item.step, sizeof item.step);
    return EncodeDifference(
        base::EncodeVarint(to, item.dot.bits()), item.hlc.bits, before.hlc.bits);
  }
  const bool written = item.dot != clock::Dot(before.dot.origin(), BroughtBy(item.step));
  const bool behind = IsBehind(item.step);
  if (!written && SequenceOf(item.step) == SequenceOf(before.step) + 1 &&
      IndexOf(item.step) == FirstIndex(behind)) {
    const bool stamped =
        item.hlc.bits - before.hlc.bits != static_cast<uint64_t>(NextStamp(behind));
    put_tag(kNextChange | (stamped ? kStamp : 0U));
    return stamped ? EncodeDifference(to, item.hlc.bits, before.hlc.bits) : to;
  }
  unsigned bits = written ? kWritten : kStep;
  if (SequenceOf(item.step) != SequenceOf(before.step)) {
    bits |= kSequence;
    to = EncodeDifference(to, SequenceOf(item.step), SequenceOf(before.step));
  }
  if (IndexOf(item.step) != IndexOf(before.step) + 1) {
    bits |= kIndex;
    to = EncodeDifference(to, IndexOf(item.step), IndexOf(before.step));
  }
  if (item.hlc != before.hlc) {
    bits |= kStamp;
    to = EncodeDifference(to, item.hlc.bits, before.hlc.bits);
  }
  put_tag(bits);
  return written ? base::EncodeVarint(to, item.dot.bits()) : to;
}

char* ListBlock::Encode(char* to, const Chain& before, const ListItem& item) {
  to = EncodeHead(to, before, item);
  if (item.entry != nullptr) return to;
  return EncodeBytes(base::EncodeVarint(to, item.value_bytes), item.value_text, item.value_bytes);
}

size_t ListBlock::BytesMaxOf(const ListItem& item) {
  if (item.entry != nullptr) return kHeadBytesMax;
  return kHeadBytesMax + item.value_bytes + (item.text != nullptr ? item.text_bytes : 0);
}

ListBlock::~ListBlock() {
  Reader reader(*this);
  while (reader.Next()) {
    if (reader.item().entry != nullptr) Entry::Free(reader.item().entry);
  }
  std::free(data_);
}

void ListBlock::Begin(const ListItem& item) {
  CHECK(count_ == 0);
  // As if one of the same effect stood before it.
  std::memset(static_cast<void*>(&base_), 0, sizeof base_);
  if (Continue(base_, item)) SetIndex(base_.step, IndexOf(base_.step) - 1);
  Insert(0, base_, item);
}

void ListBlock::Change(size_t offset, const Chain& before, size_t removed, const ListItem* item) {
  char bytes[kItemBytesMax];
  Chain told = before;
  const char* end = bytes;
  if (item != nullptr) {
    end = Encode(bytes, before, *item);
    Continue(told, *item);
  }
  Chain was = before;
  if (removed > 0) {
    Reader reader(*this, offset, before);
    reader.Next();
    was = reader.chain();
  }
  if (item == nullptr && offset == 0) {
    base_ = was;
  } else if (!(told == was)) {
    Tell(offset + removed, was, told);
  }
  ReplaceBytes(offset, removed, bytes, static_cast<size_t>(end - bytes));
  count_ = static_cast<uint16_t>(count_ + (item != nullptr ? 1 : 0) - (removed > 0 ? 1 : 0));
}

void ListBlock::Tell(size_t offset, const Chain& before, const Chain& told) {
  Reader reader(*this, offset, before);
  while (reader.Next()) {
    if (reader.item().entry != nullptr || reader.item().text != nullptr) continue;
    char head[kHeadBytesMax];
    const char* end = EncodeHead(head, told, reader.item());
    ReplaceBytes(reader.offset(),
                 static_cast<size_t>(reader.value_at_ - reader.at_),
                 head,
                 static_cast<size_t>(end - head));
    return;
  }
}

void ListBlock::MakeRoom(size_t more, bool front) {
  const size_t bytes = used();
  char* from = data_ + begin_;
  char* to = data_;
  size_t capacity = capacity_;
  if (capacity < bytes + more) {
    // A block that grows will be full: then it is fitted.
    capacity = (bytes + more + (bytes + more) / 4 + 15) / 16 * 16 + 8;
    CHECK(capacity <= UINT16_MAX);
    to = static_cast<char*>(std::malloc(capacity));
    CHECK(to != nullptr);
  }
  const size_t begin = front ? capacity - bytes : 0;
  if (bytes > 0) std::memmove(to + begin, from, bytes);
  if (to != data_) std::free(data_);
  data_ = to;
  capacity_ = static_cast<uint16_t>(capacity);
  begin_ = static_cast<uint16_t>(begin);
  end_ = static_cast<uint16_t>(begin + bytes);
}

void ListBlock::ReplaceBytes(size_t offset, size_t old_bytes, const char* bytes, size_t new_bytes) {
  const bool front = offset < used() - offset;
  if (new_bytes > old_bytes) {
    const size_t more = new_bytes - old_bytes;
    const size_t room = front ? begin_ : static_cast<size_t>(capacity_ - end_);
    if (room < more) MakeRoom(more, front);
  }
  char* first = data_ + begin_;
  if (front) {
    std::memmove(first + old_bytes - new_bytes, first, offset);
    begin_ = static_cast<uint16_t>(begin_ + old_bytes - new_bytes);
  } else {
    std::memmove(
        first + offset + new_bytes, first + offset + old_bytes, used() - offset - old_bytes);
    end_ = static_cast<uint16_t>(end_ + new_bytes - old_bytes);
  }
  if (new_bytes > 0) std::memcpy(data_ + begin_ + offset, bytes, new_bytes);
}

void ListBlock::SetDirty(size_t offset, bool dirty) {
  char& tag = data_[begin_ + offset];
  tag = static_cast<char>(dirty ? tag | kDirty : tag & ~kDirty);
}

void ListBlock::SetStored(size_t offset) {
  char& tag = data_[begin_ + offset];
  tag = static_cast<char>(tag | kStored);
}

void ListBlock::MoveTail(const Reader& found, ListBlock& to) {
  CHECK(to.count_ == 0 && to.used() == 0);
  to.base_ = found.before();
  const size_t offset = found.offset();
  to.ReplaceBytes(0, 0, data_ + begin_ + offset, used() - offset);
  end_ = static_cast<uint16_t>(begin_ + offset);
  size_t left = 0;
  Reader reader(*this);
  while (reader.Next())
    ++left;
  to.count_ = static_cast<uint16_t>(count_ - left);
  count_ = static_cast<uint16_t>(left);
}

void ListBlock::Append(ListBlock& other) {
  Reader reader(*this);
  while (reader.Next()) {
  }
  if (!(reader.chain() == other.base_)) other.Tell(0, other.base_, reader.chain());
  ReplaceBytes(used(), 0, other.data_ + other.begin_, other.used());
  count_ = static_cast<uint16_t>(count_ + other.count_);
  other.begin_ = other.end_ = 0;
  other.count_ = 0;
}

void ListBlock::Fit() {
  const size_t bytes = used();
  const size_t wanted = std::max<size_t>((bytes + 7) / 16 * 16 + 8, 24);
  if (wanted >= capacity_) return;
  std::memmove(data_, data_ + begin_, bytes);
  auto* data = static_cast<char*>(std::realloc(data_, wanted));
  CHECK(data != nullptr);
  data_ = data;
  begin_ = 0;
  end_ = static_cast<uint16_t>(bytes);
  capacity_ = static_cast<uint16_t>(wanted);
}

}  // namespace polyarch::keyspace
