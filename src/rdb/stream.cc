#include "rdb/stream.h"

#include "base/codec.h"
#include "base/number.h"

namespace polyarch::rdb {

namespace {

constexpr size_t kEntryBytes = sizeof(StreamValue::Entry);
constexpr int64_t kDeleted = 1;     // flags of an entry
constexpr int64_t kSameFields = 2;  // as the node's first one: only values follow

class Items {
 public:
  explicit Items(std::vector<std::string>&& items) : items_(std::move(items)) {}

  bool empty() const { return next_ == items_.size(); }
  size_t left() const { return items_.size() - next_; }
  bool Integer(int64_t& value) {
    if (empty()) return false;
    const auto read = base::ParseInt64(items_[next_++]);
    value = read.value_or(0);
    return read.has_value();
  }
  // A number of items of which as many follow.
  bool Count(int64_t& count) {
    return Integer(count) && count >= 0 && static_cast<uint64_t>(count) <= left();
  }
  std::string Take() { return std::move(items_[next_++]); }

 private:
  std::vector<std::string> items_;
  size_t next_ = 0;
};

bool ReadEntry(crdt::StreamId first,
               const std::vector<std::string>& names,
               Items& items,
               std::vector<StreamValue::Entry>& out,
               size_t names_bytes,
               size_t& room) {
  int64_t flags = 0;
  int64_t ms = 0;
  int64_t seq = 0;
  if (!items.Integer(flags) || !items.Integer(ms) || !items.Integer(seq)) return false;
  if (flags < 0 || flags > (kDeleted | kSameFields)) return false;
  StreamValue::Entry entry;
  entry.id = {first.ms + static_cast<uint64_t>(ms), first.seq + static_cast<uint64_t>(seq)};
  auto count = static_cast<int64_t>(names.size());
  const bool same = (flags & kSameFields) != 0;
  if (!same && !items.Count(count)) return false;
  const size_t following = static_cast<size_t>(count) * (same ? 1 : 2);
  if (following + 1 > items.left()) return false;
  const size_t copied = kEntryBytes + (same ? names_bytes : 0);
  if (copied > room) {
    room = 0;
    return false;
  }
  room -= copied;
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    entry.fields.push_back(same ? names[i] : items.Take());
    entry.fields.push_back(items.Take());
  }
  int64_t told = 0;  // how many items, for a walk backwards
  const auto size = static_cast<int64_t>(following + (same ? 3 : 4));
  if (!items.Integer(told) || told != size) return false;
  if ((flags & kDeleted) != 0) return true;
  if (entry.fields.empty() || (!out.empty() && out.back().id >= entry.id)) return false;
  out.push_back(std::move(entry));
  return true;
}

// ---- writing

// How long the entry before is, for a walk backwards.
void PutBackLength(std::string& out, size_t entry) {
  const int bytes = entry < 128         ? 1
                    : entry < 16383     ? 2
                    : entry < 2097151   ? 3
                    : entry < 268435455 ? 4
                                        : 5;
  for (int i = bytes - 1; i >= 0; --i) {
    const auto seven = static_cast<uint8_t>(entry >> (7 * i) & 0x7f);
    out.push_back(static_cast<char>(i == bytes - 1 ? seven : seven | 0x80));
  }
}

class Listpack {
 public:
  Listpack() : bytes_(kHeaderBytes, '\0') {}

  size_t size() const { return bytes_.size(); }

  void Integer(int64_t value) {
    const size_t begin = bytes_.size();
    const auto bits = static_cast<uint64_t>(value);
    if (value >= 0 && value < 128) {
      bytes_.push_back(static_cast<char>(value));
    } else if (value >= -4096 && value < 4096) {
      bytes_.push_back(static_cast<char>(0xc0 | (bits >> 8 & 0x1f)));
      bytes_.push_back(static_cast<char>(bits));
    } else {
      const bool small = value >= INT16_MIN && value <= INT16_MAX;
      const bool medium = value >= INT32_MIN && value <= INT32_MAX;
      const int width = small ? 2 : medium ? 4 : 8;
      bytes_.push_back(static_cast<char>(small ? 0xf1 : medium ? 0xf3 : 0xf4));
      for (int i = 0; i < width; ++i)
        bytes_.push_back(static_cast<char>(bits >> (8 * i)));
    }
    End(begin);
  }

  void String(std::string_view text) {
    const auto integer = base::ParseInt64(text);
    if (integer && base::FormatInt64(*integer) == text) return Integer(*integer);
    const size_t begin = bytes_.size();
    const size_t size = text.size();
    if (size < 64) {
      bytes_.push_back(static_cast<char>(0x80 | size));
    } else if (size < 4096) {
      bytes_.push_back(static_cast<char>(0xe0 | size >> 8));
      bytes_.push_back(static_cast<char>(size));
    } else {
      bytes_.push_back(static_cast<char>(0xf0));
      for (int i = 0; i < 4; ++i)
        bytes_.push_back(static_cast<char>(size >> (8 * i)));
    }
    bytes_.append(text);
    End(begin);
  }

  std::string Finish() {
    bytes_.push_back(static_cast<char>(0xff));
    for (int i = 0; i < 4; ++i)
      bytes_[static_cast<size_t>(i)] = static_cast<char>(bytes_.size() >> (8 * i));
    constexpr size_t kUnknown = 0xffff;
    const size_t count = std::min(count_, kUnknown);
    bytes_[4] = static_cast<char>(count);
    bytes_[5] = static_cast<char>(count >> 8);
    return std::move(bytes_);
  }

 private:
  static constexpr size_t kHeaderBytes = 6;

  void End(size_t begin) {
    PutBackLength(bytes_, bytes_.size() - begin);
    ++count_;
  }

  std::string bytes_;
  size_t count_ = 0;
};

bool SameNames(const StreamValue::Entry& a, const StreamValue::Entry& b) {
  if (a.fields.size() != b.fields.size()) return false;
  for (size_t i = 0; i < a.fields.size(); i += 2) {
    if (a.fields[i] != b.fields[i]) return false;
  }
  return true;
}

size_t BytesOf(const StreamValue::Entry& entry) {
  size_t bytes = 0;
  for (const std::string& field : entry.fields)
    bytes += field.size();
  return bytes;
}

std::string WriteNode(std::span<const StreamValue::Entry> entries) {
  const StreamValue::Entry& first = entries[0];
  Listpack pack;
  pack.Integer(static_cast<int64_t>(entries.size()));
  pack.Integer(0);  // deleted ones
  pack.Integer(static_cast<int64_t>(first.fields.size() / 2));
  for (size_t i = 0; i < first.fields.size(); i += 2)
    pack.String(first.fields[i]);
  pack.Integer(0);
  for (const StreamValue::Entry& entry : entries) {
    const bool same = SameNames(entry, first);
    const auto count = static_cast<int64_t>(entry.fields.size() / 2);
    pack.Integer(same ? kSameFields : 0);
    pack.Integer(static_cast<int64_t>(entry.id.ms - first.id.ms));
    pack.Integer(static_cast<int64_t>(entry.id.seq - first.id.seq));
    if (!same) pack.Integer(count);
    for (size_t i = 0; i < entry.fields.size(); ++i) {
      if (!same || i % 2 == 1) pack.String(entry.fields[i]);
    }
    pack.Integer(same ? count + 3 : 2 * count + 4);
  }
  return pack.Finish();
}

}  // namespace

bool ReadStreamNode(crdt::StreamId first,
                    std::vector<std::string>&& items_read,
                    std::vector<StreamValue::Entry>& out,
                    size_t& room) {
  Items items(std::move(items_read));
  int64_t count = 0;
  int64_t deleted = 0;
  int64_t fields = 0;
  int64_t end = 0;
  if (!items.Integer(count) || !items.Integer(deleted) || !items.Count(fields)) return false;
  std::vector<std::string> names;
  size_t names_bytes = 0;
  for (; fields > 0; --fields) {
    names.push_back(items.Take());
    names_bytes += names.back().size() + sizeof(std::string);
  }
  if (!items.Integer(end) || end != 0 || count < 0 || deleted < 0) return false;
  const size_t before = out.size();
  int64_t all = 0;
  for (; !items.empty(); ++all) {
    if (!ReadEntry(first, names, items, out, names_bytes, room)) return false;
  }
  const auto kept = static_cast<int64_t>(out.size() - before);
  return kept == count && all - kept == deleted;
}

std::vector<StreamNode> WriteStreamNodes(const std::vector<StreamValue::Entry>& entries) {
  // As Redis makes them by default.
  constexpr size_t kEntriesMax = 100;
  constexpr size_t kBytesMax = 4096;
  std::vector<StreamNode> nodes;
  for (size_t begin = 0; begin < entries.size();) {
    size_t end = begin + 1;
    size_t bytes = BytesOf(entries[begin]);
    while (end < entries.size() && end - begin < kEntriesMax && bytes < kBytesMax)
      bytes += BytesOf(entries[end++]);
    nodes.push_back({entries[begin].id, WriteNode(std::span(entries).subspan(begin, end - begin))});
    begin = end;
  }
  return nodes;
}

std::string StreamIdBytes(crdt::StreamId id) {
  std::string bytes;
  for (uint64_t number : {id.ms, id.seq}) {
    for (int shift = 56; shift >= 0; shift -= 8)
      bytes.push_back(static_cast<char>(number >> shift));
  }
  return bytes;
}

}  // namespace polyarch::rdb
