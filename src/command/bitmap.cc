// Bitmaps: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP. A bitmap is a string; a write of a bit is a
// write of the whole value (docs/conflicts.md).
#include "command/bitmap.h"

#include <algorithm>

#include "base/number.h"
#include "command/bits.h"
#include "command/families.h"
#include "command/support.h"

namespace polyarch::command {

std::optional<uint64_t> ReadBitOffset(Context& c, std::string_view text, unsigned unit) {
  const bool counted = unit > 0 && !text.empty() && text[0] == '#';
  std::optional<int64_t> offset = base::ParseInt64(text.substr(counted ? 1 : 0));
  int64_t bits = offset.value_or(-1);
  const bool overflow = counted && __builtin_mul_overflow(bits, static_cast<int64_t>(unit), &bits);
  if (overflow || bits < 0 || (bits >> 3) >= kStringBytesMax) {
    c.reply.Error("ERR bit offset is not an integer or out of range");
    return std::nullopt;
  }
  return static_cast<uint64_t>(bits);
}

std::optional<std::string> ReadBitmap(Context& c, std::string_view key, bool* exists) {
  const keyspace::Shown shown = c.keys.Read(c.Ref(key));
  if (RefuseConflict(c, key, shown)) return std::nullopt;
  *exists = shown.exists();
  char scratch[base::kInt64CharsMax];
  return shown.exists() ? std::string(shown.Text(scratch)) : std::string();
}

namespace {

using keyspace::KeyRef;
using keyspace::Shown;

void Setbit(Context& c) {
  const auto offset = ReadBitOffset(c, c.args[2], 0);
  if (!offset) return;
  const std::optional<int64_t> on = base::ParseInt64(c.args[3]);
  if (!on || (*on != 0 && *on != 1))
    return c.reply.Error("ERR bit is not an integer or out of range");
  bool exists = false;
  auto bytes = ReadBitmap(c, c.args[1], &exists);
  if (!bytes) return;
  const uint64_t byte = *offset >> 3;
  if (!FitsString(c, static_cast<int64_t>(std::max(bytes->size(), byte + 1)), 0, c.args[1])) return;
  if (bytes->size() <= byte) bytes->resize(byte + 1, '\0');
  const BitInteger bit{.is_signed = false, .bits = 1};
  const int64_t before = ReadBits(*bytes, bit, *offset);
  WriteBits(*bytes, bit, *offset, *on);
  PutPart(c, c.Ref(c.args[1]), *bytes, exists);
  c.reply.Integer(before);
}

void Getbit(Context& c) {
  const auto offset = ReadBitOffset(c, c.args[2], 0);
  if (!offset) return;
  const Shown shown = c.keys.Read(c.Ref(c.args[1]));
  if (RefuseConflict(c, c.args[1], shown)) return;
  char scratch[base::kInt64CharsMax];
  const std::string_view bytes = shown.exists() ? shown.Text(scratch) : std::string_view();
  c.reply.Integer(ReadBits(bytes, {.is_signed = false, .bits = 1}, *offset));
}

// A range of bits within a string, both ends included; empty if first > last.
struct BitRange {
  int64_t first = 0;
  int64_t last = -1;
};

// BYTE or BIT; nothing if it is another word.
std::optional<bool> CountsBits(Context& c, std::string_view word) {
  if (EqualsIgnoreCase(word, "bit")) return true;
  if (EqualsIgnoreCase(word, "byte")) return false;
  ReplySyntaxError(c);
  return std::nullopt;
}

BitRange Clamp(int64_t first, int64_t last, bool bits, size_t size) {
  const int64_t total = static_cast<int64_t>(size) * (bits ? 8 : 1);
  if (first < 0) first = std::max<int64_t>(first + total, 0);
  if (last < 0) last = std::max<int64_t>(last + total, 0);
  last = std::min(last, total - 1);
  if (first > last) return {};
  return bits ? BitRange{first, last} : BitRange{first * 8, last * 8 + 7};
}

void Bitcount(Context& c) {
  const Shown shown = c.keys.Read(c.Ref(c.args[1]));
  if (RefuseConflict(c, c.args[1], shown)) return;
  if (!shown.exists()) return c.reply.Integer(0);
  char scratch[base::kInt64CharsMax];
  const std::string_view bytes = shown.Text(scratch);
  if (c.count() == 2) return c.reply.Integer(static_cast<int64_t>(CountBits(bytes)));
  if (c.count() != 4 && c.count() != 5) return ReplySyntaxError(c);
  const auto first = ReadInteger(c, c.args[2]);
  if (!first) return;
  const auto last = ReadInteger(c, c.args[3]);
  if (!last) return;
  if (*first < 0 && *last < 0 && *first > *last) return c.reply.Integer(0);
  std::optional<bool> bits = false;
  if (c.count() == 5) bits = CountsBits(c, c.args[4]);
  if (!bits) return;
  const BitRange range = Clamp(*first, *last, *bits, bytes.size());
  if (range.first > range.last) return c.reply.Integer(0);
  c.reply.Integer(static_cast<int64_t>(
      CountBits(bytes, static_cast<uint64_t>(range.first), static_cast<uint64_t>(range.last))));
}

void Bitpos(Context& c) {
  const auto bit = ReadInteger(c, c.args[2]);
  if (!bit) return;
  if (*bit != 0 && *bit != 1) return c.reply.Error("ERR The bit argument must be 1 or 0.");
  const Shown shown = c.keys.Read(c.Ref(c.args[1]));
  if (RefuseConflict(c, c.args[1], shown)) return;
  if (!shown.exists()) return c.reply.Integer(*bit == 1 ? -1 : 0);
  char scratch[base::kInt64CharsMax];
  const std::string_view bytes = shown.Text(scratch);
  std::optional<int64_t> first = 0;
  std::optional<int64_t> last = -1;
  std::optional<bool> bits = false;
  if (c.count() > 6) return ReplySyntaxError(c);
  if (c.count() > 3) first = ReadInteger(c, c.args[3]);
  if (!first) return;
  if (c.count() == 6) bits = CountsBits(c, c.args[5]);
  if (!bits) return;
  const bool ends = c.count() > 4;
  if (ends) last = ReadInteger(c, c.args[4]);
  if (!last) return;
  const BitRange range = Clamp(*first, *last, *bits, bytes.size());
  if (range.first > range.last) return c.reply.Integer(-1);
  const auto found = FindBit(
      bytes, *bit == 1, static_cast<uint64_t>(range.first), static_cast<uint64_t>(range.last));
  if (found) return c.reply.Integer(static_cast<int64_t>(*found));
  // What stands behind the value counts as zeros, unless the range says where to end.
  c.reply.Integer(*bit == 1 || ends ? -1 : range.last + 1);
}

void Bitop(Context& c) {
  BitOperation operation = BitOperation::kAnd;
  if (EqualsIgnoreCase(c.args[1], "and")) {
    operation = BitOperation::kAnd;
  } else if (EqualsIgnoreCase(c.args[1], "or")) {
    operation = BitOperation::kOr;
  } else if (EqualsIgnoreCase(c.args[1], "xor")) {
    operation = BitOperation::kXor;
  } else if (EqualsIgnoreCase(c.args[1], "not")) {
    operation = BitOperation::kNot;
  } else {
    return ReplySyntaxError(c);
  }
  if (operation == BitOperation::kNot && c.count() != 4)
    return c.reply.Error("ERR BITOP NOT must be called with a single source key.");
  // One source after the other, each from where it is: a big value may be named a thousand times.
  std::string result;
  for (size_t i = 3; i < c.count(); ++i) {
    const Shown shown = c.keys.Read(c.Ref(c.args[i]));
    if (RefuseConflict(c, c.args[i], shown)) return;
    char scratch[base::kInt64CharsMax];
    const std::string_view source = shown.exists() ? shown.Text(scratch) : std::string_view();
    if (i == 3) result = source;
    if (i > 3 || operation == BitOperation::kNot) CombineBits(operation, result, source);
  }
  if (!FitsChange(c, c.args[2].size() + result.size())) return;
  const KeyRef target = c.Ref(c.args[2]);
  if (!result.empty()) {
    c.change.Put(target, result, keyspace::Change::Ttl::kNone);
  } else {
    DeleteSeen(c, target);
  }
  c.reply.Integer(static_cast<int64_t>(result.size()));
}

}  // namespace

void AddBitmapFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "setbit",
       .arity = 4,
       .flags = kWrite | kDenyOom,
       .keys = {1, 1, 1},
       .categories = "@write @bitmap @slow",
       .handler = Setbit,
       .summary = "Sets or clears one bit of a value and returns what it was",
       .since = "2.2.0",
       .group = "bitmap",
       .complexity = "O(N) where N is the length of the new value",
       .syntax = "key:key offset:integer value:integer",
       .key_access = "RW access update"},
      {.name = "getbit",
       .arity = 3,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@read @bitmap @fast",
       .handler = Getbit,
       .summary = "Returns one bit of a value",
       .since = "2.2.0",
       .group = "bitmap",
       .complexity = "O(1)",
       .syntax = "key:key offset:integer",
       .key_access = "RO access"},
      {.name = "bitcount",
       .arity = -2,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @bitmap @slow",
       .handler = Bitcount,
       .summary = "Counts the bits that are set",
       .since = "2.6.0",
       .group = "bitmap",
       .complexity = "O(N) where N is the length of the value",
       .syntax = "key:key index:{start:integer end:integer index_unit:(BYTE|BIT)?@7.0.0}?",
       .key_access = "RO access"},
      {.name = "bitpos",
       .arity = -3,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @bitmap @slow",
       .handler = Bitpos,
       .summary = "Returns the place of the first bit that is set, or of the first that is not",
       .since = "2.8.7",
       .group = "bitmap",
       .complexity = "O(N) where N is the length of the value",
       .syntax = "key:key bit:integer index:{start:integer end_index:{end:integer "
                 "index_unit:(BYTE|BIT)?@7.0.0}?}?",
       .key_access = "RO access"},
      {.name = "bitop",
       .arity = -4,
       .flags = kWrite | kDenyOom,
       .keys = {2, -1, 1},
       .categories = "@write @bitmap @slow",
       .handler = Bitop,
       .summary = "Combines values bit by bit and stores the result",
       .since = "2.6.0",
       .group = "bitmap",
       .complexity = "O(N) where N is the length of all values",
       .syntax = "operation destkey:key key:key*",
       .key_access = "OW update|RO access"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
  AddBitfieldRows(rows);
}

}  // namespace polyarch::command
