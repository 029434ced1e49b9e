// BITFIELD and BITFIELD_RO: integers of any width within a value.
#include <algorithm>
#include <vector>

#include "base/number.h"
#include "command/bitmap.h"
#include "command/bits.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

enum class Overflow : uint8_t { kWrap, kSaturate, kFail };

struct Operation {
  enum class Kind : uint8_t { kGet, kSet, kIncrement };
  Kind kind = Kind::kGet;
  BitInteger type;
  uint64_t offset = 0;
  int64_t operand = 0;
  Overflow overflow = Overflow::kWrap;
};

std::optional<BitInteger> ReadBitType(Context& c, std::string_view text) {
  const bool is_signed = text.starts_with('i');
  if (is_signed || text.starts_with('u')) {
    const std::optional<int64_t> bits = base::ParseInt64(text.substr(1));
    if (bits && *bits >= 1 && *bits <= (is_signed ? 64 : 63))
      return BitInteger{.is_signed = is_signed, .bits = static_cast<unsigned>(*bits)};
  }
  c.reply.Error(
      "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but "
      "i64 "
      "is.");
  return std::nullopt;
}

std::optional<Overflow> ReadOverflow(Context& c, std::string_view word) {
  if (EqualsIgnoreCase(word, "wrap")) return Overflow::kWrap;
  if (EqualsIgnoreCase(word, "sat")) return Overflow::kSaturate;
  if (EqualsIgnoreCase(word, "fail")) return Overflow::kFail;
  c.reply.Error("ERR Invalid OVERFLOW type specified");
  return std::nullopt;
}

std::optional<std::vector<Operation>> ReadOperations(Context& c) {
  std::vector<Operation> operations;
  Overflow overflow = Overflow::kWrap;
  for (size_t i = 2; i < c.count();) {
    const std::string_view word = c.args[i];
    const size_t left = c.count() - i - 1;
    if (EqualsIgnoreCase(word, "overflow") && left >= 1) {
      const auto read = ReadOverflow(c, c.args[i + 1]);
      if (!read) return std::nullopt;
      overflow = *read;
      i += 2;
      continue;
    }
    Operation operation{.overflow = overflow};
    if (EqualsIgnoreCase(word, "get") && left >= 2) {
      operation.kind = Operation::Kind::kGet;
    } else if (EqualsIgnoreCase(word, "set") && left >= 3) {
      operation.kind = Operation::Kind::kSet;
    } else if (EqualsIgnoreCase(word, "incrby") && left >= 3) {
      operation.kind = Operation::Kind::kIncrement;
    } else {
      ReplySyntaxError(c);
      return std::nullopt;
    }
    const auto type = ReadBitType(c, c.args[i + 1]);
    if (!type) return std::nullopt;
    const auto offset = ReadBitOffset(c, c.args[i + 2], type->bits);
    if (!offset) return std::nullopt;
    operation.type = *type;
    operation.offset = *offset;
    i += 3;
    if (operation.kind != Operation::Kind::kGet) {
      const auto operand = ReadInteger(c, c.args[i]);
      if (!operand) return std::nullopt;
      operation.operand = *operand;
      ++i;
    }
    operations.push_back(operation);
  }
  return operations;
}

// What is to be stored; nothing if it does not fit and overflow is to fail.
std::optional<int64_t> Fit(const Operation& operation, __int128 value) {
  const BitInteger& type = operation.type;
  if (value >= type.lowest() && value <= type.highest()) return static_cast<int64_t>(value);
  switch (operation.overflow) {
    case Overflow::kWrap:
      return type.Wrap(value);
    case Overflow::kSaturate:
      return static_cast<int64_t>(value < type.lowest() ? type.lowest() : type.highest());
    case Overflow::kFail:
      break;
  }
  return std::nullopt;
}

// Replies to one operation that writes; false if nothing was written.
bool RunWrite(Context& c, const Operation& operation, std::string& bytes) {
  const int64_t before = ReadBits(bytes, operation.type, operation.offset);
  const bool sets = operation.kind == Operation::Kind::kSet;
  __int128 wanted = operation.operand;
  // A negative operand of SET stands for a large number where there is no sign.
  if (sets && !operation.type.is_signed) wanted = static_cast<uint64_t>(operation.operand);
  if (!sets) wanted += before;
  const std::optional<int64_t> after = Fit(operation, wanted);
  if (!after) {
    c.reply.Null();
    return false;
  }
  WriteBits(bytes, operation.type, operation.offset, *after);
  c.reply.Integer(sets ? before : *after);
  return true;
}

void RunBitfield(Context& c, bool only_reads) {
  const auto operations = ReadOperations(c);
  if (!operations) return;
  uint64_t end = 0;
  bool writes = false;
  for (const Operation& operation : *operations) {
    if (operation.kind == Operation::Kind::kGet) continue;
    writes = true;
    end = std::max(end, (operation.offset + operation.type.bits - 1) / 8 + 1);
  }
  if (writes && only_reads)
    return c.reply.Error("ERR BITFIELD_RO only supports the GET subcommand");
  bool exists = false;
  c.keys.CountLookups(!writes);
  auto bytes = ReadBitmap(c, c.args[1], &exists);
  if (!bytes) return;
  bool changed = false;
  if (writes) {
    const auto size = static_cast<int64_t>(std::max<uint64_t>(bytes->size(), end));
    if (!FitsString(c, size, 0, c.args[1])) return;
    // Also if all of it fails, as in Redis.
    changed = bytes->size() < end;
    if (changed) bytes->resize(end, '\0');
  }
  c.reply.Array(operations->size());
  for (const Operation& operation : *operations) {
    if (operation.kind == Operation::Kind::kGet) {
      c.reply.Integer(ReadBits(*bytes, operation.type, operation.offset));
    } else if (RunWrite(c, operation, *bytes)) {
      changed = true;
    }
  }
  if (changed) PutPart(c, c.Ref(c.args[1]), *bytes, exists);
}

void Bitfield(Context& c) {
  RunBitfield(c, false);
}
void BitfieldRo(Context& c) {
  RunBitfield(c, true);
}

}  // namespace

void AddBitfieldRows(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "bitfield",
       .arity = -2,
       .flags = kWrite | kDenyOom,
       .keys = {1, 1, 1},
       .categories = "@write @bitmap @slow",
       .handler = Bitfield,
       .summary = "Reads, sets and increments integers of any width within a value",
       .since = "3.2.0",
       .group = "bitmap",
       .complexity = "O(N) where N is the length of the new value",
       .syntax = "key:key operation:(GET encoding_offset:{encoding offset:integer}|write:{OVERFLOW "
                 "wrap_sat_fail:(WRAP|SAT|FAIL)? write_operation:(SET "
                 "encoding_offset_value:{encoding offset:integer value:integer}|INCRBY "
                 "encoding_offset_increment:{encoding offset:integer increment:integer})})?*",
       .key_access = "RW access update variable_flags"},
      {.name = "bitfield_ro",
       .arity = -2,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@read @bitmap @fast",
       .handler = BitfieldRo,
       .summary = "Reads integers of any width within a value",
       .since = "6.0.0",
       .group = "bitmap",
       .complexity = "O(1) for each integer",
       .syntax = "key:key GET encoding_offset:{encoding offset:integer}?*+",
       .key_access = "RO access"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
