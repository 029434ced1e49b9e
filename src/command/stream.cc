// Streams without their groups: adding, removing, ranges.
#include "command/stream.h"

#include <algorithm>

#include "base/number.h"
#include "command/families.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

using crdt::StreamId;
using keyspace::KeyRef;
using keyspace::Stream;

// ---- trimming

struct TrimOptions {
  enum class Strategy : uint8_t { kNone, kLength, kId } strategy = Strategy::kNone;
  bool approximate = false;
  uint64_t length = 0;
  StreamId id;
  int64_t limit = 0;  // of entries removed; 0: none
};

struct AddOptions {
  TrimOptions trim;
  bool create = true;
  size_t id_place = 0;              // XADD: of the id; 0: there is none
  bool any_limit = false;
};

bool ReadThreshold(Context& c, size_t& i, bool by_length, TrimOptions& trim) {
  if (trim.strategy != TrimOptions::Strategy::kNone) {
    c.reply.Error(
        "ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
    return false;
  }
  if (c.count() - 1 - i >= 2 && (c.args[i + 1] == "~" || c.args[i + 1] == "=")) {
    trim.approximate = c.args[i + 1] == "~";
    ++i;
  }
  ++i;
  if (by_length) {
    trim.strategy = TrimOptions::Strategy::kLength;
    const auto length = ReadInteger(c, c.args[i]);
    if (!length) return false;
    if (*length < 0) return c.reply.Error("ERR The MAXLEN argument must be >= 0."), false;
    trim.length = static_cast<uint64_t>(*length);
    return true;
  }
  trim.strategy = TrimOptions::Strategy::kId;
  const auto id = ReadStreamId(c, c.args[i]);
  if (id) trim.id = *id;
  return id.has_value();
}

// "ms-*"
bool MakesUpSeq(std::string_view id) {
  return id.ends_with("-*") && id.find('-') == id.size() - 2;
}

// XADD's and XTRIM's options, up to XADD's id.
bool ReadAddOptions(Context& c, bool adds, AddOptions& options) {
  using Strategy = TrimOptions::Strategy;
  TrimOptions& trim = options.trim;
  for (size_t i = 2; i < c.count(); ++i) {
    const bool more = i + 1 < c.count();
    const std::string_view word = c.args[i];
    if (adds && word == "*") {
      options.id_place = i;
      break;
    }
    if (EqualsIgnoreCase(word, "maxlen") && more) {
      if (!ReadThreshold(c, i, true, trim)) return false;
    } else if (EqualsIgnoreCase(word, "minid") && more) {
      if (!ReadThreshold(c, i, false, trim)) return false;
    } else if (EqualsIgnoreCase(word, "limit") && more) {
      const auto limit = ReadInteger(c, c.args[++i]);
      if (!limit) return false;
      if (*limit < 0) return c.reply.Error("ERR The LIMIT argument must be >= 0."), false;
      trim.limit = *limit;
      options.any_limit = true;
    } else if (adds && EqualsIgnoreCase(word, "nomkstream")) {
      options.create = false;
    } else if (adds) {
      options.id_place = i;
      if (MakesUpSeq(word)) {
        if (!ReadStreamId(c, word.substr(0, word.size() - 2))) return false;
      } else if (!ReadStreamId(c, word)) {
        return false;
      }
      break;
    } else {
      return ReplySyntaxError(c), false;
    }
  }
  if (trim.limit != 0 && trim.strategy == Strategy::kNone) {
    c.reply.Error(
        "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy");
    return false;
  }
  if (!adds && trim.strategy == Strategy::kNone) {
    c.reply.Error("ERR syntax error, XTRIM must be called with a trimming strategy");
    return false;
  }
  if (options.any_limit && !trim.approximate) {
    c.reply.Error("ERR syntax error, LIMIT cannot be used without the special ~ option");
    return false;
  }
  if (!options.any_limit && trim.approximate) {
    constexpr int64_t kLimitMax = 1'000'000;
    trim.limit = std::min(kLimitMax, 100 * static_cast<int64_t>(StreamNodeEntries(c)));
  }
  return true;
}

// How many of at most `most` entries go if it need not be exact. Redis frees whole nodes of entries: of such ones
// that began where entries were added, as far as none was removed from between.
size_t WholeNodes(const Stream& stream, size_t most, int64_t limit, size_t node_entries) {
  const size_t length = stream.length();
  size_t node = node_entries - stream.meta().removed % node_entries;
  size_t count = 0;
  while (count < length) {
    const size_t next = count + std::min(node, length - count);
    if (next > most || (limit > 0 && next > static_cast<size_t>(limit))) break;
    count = next;
    node = node_entries;
  }
  return count;
}

// Returns how many entries it has removed.
size_t Trim(Context& c, const KeyRef& ref, const Stream& stream, const TrimOptions& trim) {
  const size_t length = stream.length();
  size_t count = 0;
  if (trim.strategy == TrimOptions::Strategy::kLength) {
    count = length > trim.length ? length - trim.length : 0;
  } else {
    count = std::min(length, stream.CountBefore(trim.id));
  }
  if (trim.approximate) count = WholeNodes(stream, count, trim.limit, StreamNodeEntries(c));
  if (count == 0) return 0;
  // What tells of the stream comes first, so that a stream that loses its last entry is there all the
  // time. One effect takes all that goes.
  crdt::StreamMeta meta = stream.meta();
  meta.last = stream.LastId(meta);
  meta.removed += count;
  const std::optional<StreamId> kept = count < length ? stream.At(count) : std::nullopt;
  const std::string end =
      kept ? crdt::StreamEntryName(*kept) : std::string(crdt::kStreamMetaName);
  PutStreamMeta(c, ref, meta);
  c.change.RemoveRange(ref, kStream, crdt::StreamEntryName({}), end);
  return count;
}

// ---- commands

void Xadd(Context& c) {
  AddOptions options;
  if (!ReadAddOptions(c, true, options)) return;
  const size_t fields_from = options.id_place + 1;
  if (options.id_place == 0 || c.count() < fields_from + 2 || (c.count() - fields_from) % 2 != 0)
    return c.reply.Error("ERR wrong number of arguments for 'xadd' command");
  const std::string_view text = c.args[options.id_place];
  const bool is_auto = text == "*";
  const bool made_up = is_auto || MakesUpSeq(text);
  StreamId id;
  if (!is_auto) {
    id = *ParseStreamId(text.substr(0, made_up ? text.size() - 2 : text.size()), 0);
    if (!made_up && id == StreamId{})
      return c.reply.Error("ERR The ID specified in XADD must be greater than 0-0");
  }
  const KeyRef ref = c.Ref(c.args[1]);
  const auto stream = OpenStream(c, ref);
  if (!stream) return;
  if (!options.create && !stream->exists()) return c.reply.Null();
  const StreamId last = stream->exists() ? stream->last_id() : StreamId{};
  if (last == crdt::kStreamIdMax) {
    return c.reply.Error(
        "ERR The stream has exhausted the last possible ID, unable to add more items");
  }
  const std::string value = crdt::EncodeStreamEntry(c.args.subspan(fields_from));
  if (!FitsElements(c, c.args[1], value.size(), 4)) return;
  constexpr std::string_view kTooSmall =
      "ERR The ID specified in XADD is equal or smaller than the target stream top item";
  if (made_up) {
    const uint64_t ms = is_auto ? static_cast<uint64_t>(std::max<int64_t>(c.now_ms, 0)) : id.ms;
    const auto next = c.change.NewStreamId(last, ms, !is_auto);
    if (!next) return c.reply.Error(kTooSmall);
    id = *next;
  } else if (id <= last) {
    return c.reply.Error(kTooSmall);
  }
  // Beyond the last id nothing is there.
  if (stream->exists()) {
    c.change.AddElement(ref, kStream, crdt::StreamEntryName(id), value);
  } else {
    c.change.PutElement(ref, kStream, crdt::StreamEntryName(id), value);
  }
  if (options.trim.strategy != TrimOptions::Strategy::kNone)
    c.trimmed = Trim(c, ref, StreamAgain(c, ref), options.trim) > 0;
  ReplyStreamId(c, id);
}

void Xtrim(Context& c) {
  AddOptions options;
  if (!ReadAddOptions(c, false, options)) return;
  const KeyRef ref = c.Ref(c.args[1]);
  const auto stream = OpenStream(c, ref);
  if (!stream) return;
  if (!stream->exists()) return c.reply.Integer(0);
  c.reply.Integer(static_cast<int64_t>(Trim(c, ref, *stream, options.trim)));
}

void Xlen(Context& c) {
  const auto stream = OpenStream(c, c.Ref(c.args[1]));
  if (stream) c.reply.Integer(static_cast<int64_t>(stream->length()));
}

void RangeCommand(Context& c, bool reverse) {
  const auto from = ReadRangeStart(c, c.args[reverse ? 3 : 2]);
  if (!from) return;
  const auto to = ReadRangeEnd(c, c.args[reverse ? 2 : 3]);
  if (!to) return;
  size_t count = SIZE_MAX;
  for (size_t i = 4; i < c.count(); i += 2) {
    if (!EqualsIgnoreCase(c.args[i], "count") || i + 1 == c.count()) return ReplySyntaxError(c);
    const auto read = ReadInteger(c, c.args[i + 1]);
    if (!read) return;
    count = static_cast<size_t>(std::max<int64_t>(*read, 0));
  }
  const auto stream = OpenStream(c, c.Ref(c.args[1]));
  if (!stream) return;
  if (!stream->exists()) return c.reply.EmptyArray();
  if (count == 0) return c.reply.NullArray();
  ReplyStreamRange(c, *stream, *from, *to, reverse, count);
}

void Xrange(Context& c) {
  RangeCommand(c, false);
}
void Xrevrange(Context& c) {
  RangeCommand(c, true);
}

void Xdel(Context& c) {
  const KeyRef ref = c.Ref(c.args[1]);
  const auto stream = OpenStream(c, ref);
  if (!stream) return;
  if (!stream->exists()) return c.reply.Integer(0);
  std::vector<StreamId> ids;
  for (std::string_view text : c.args.subspan(2)) {
    const auto id = ReadStreamId(c, text);
    if (!id) return;
    ids.push_back(*id);
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  std::erase_if(ids, [&](StreamId id) { return !stream->Contains(id); });
  if (ids.empty()) return c.reply.Integer(0);
  if (!FitsElements(
          c, c.args[1], ids.size() * crdt::kStreamEntryNameBytes + kEffectBytesMax, ids.size() + 1))
    return;
  crdt::StreamMeta meta = stream->meta();
  meta.last = stream->LastId(meta);
  meta.deleted = std::max(meta.deleted, ids.back());
  meta.removed += ids.size();
  PutStreamMeta(c, ref, meta);
  for (StreamId id : ids)
    c.change.RemoveElement(ref, kStream, crdt::StreamEntryName(id));
  c.reply.Integer(static_cast<int64_t>(ids.size()));
}

void Xsetid(Context& c) {
  const auto id = ReadStreamId(c, c.args[2]);
  if (!id) return;
  std::optional<int64_t> added;
  StreamId deleted;
  for (size_t i = 3; i < c.count(); i += 2) {
    const bool more = i + 1 < c.count();
    if (EqualsIgnoreCase(c.args[i], "entriesadded") && more) {
      added = ReadInteger(c, c.args[i + 1]);
      if (!added) return;
      if (*added < 0) return c.reply.Error("ERR entries_added must be positive");
    } else if (EqualsIgnoreCase(c.args[i], "maxdeletedid") && more) {
      const auto read = ReadStreamId(c, c.args[i + 1]);
      if (!read) return;
      deleted = *read;
      if (*id < deleted) {
        return c.reply.Error(
            "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id");
      }
    } else {
      return ReplySyntaxError(c);
    }
  }
  const KeyRef ref = c.Ref(c.args[1]);
  const auto stream = OpenStream(c, ref);
  if (!stream) return;
  if (!stream->exists()) return c.reply.Error(kNoSuchKey);
  crdt::StreamMeta meta = stream->meta();
  const size_t length = stream->length();
  if (length > 0 && *id < *stream->top()) {
    return c.reply.Error(
        "ERR The ID specified in XSETID is smaller than the target stream top item");
  }
  if (length > 0 && added && static_cast<uint64_t>(*added) < length) {
    return c.reply.Error(
        "ERR The entries_added specified in XSETID is smaller than the target stream length");
  }
  meta.last = *id;
  if (added) meta.removed = static_cast<uint64_t>(*added) - length;
  if (deleted != StreamId{}) meta.deleted = deleted;
  PutStreamMeta(c, ref, meta);
  c.reply.Ok();
}

}  // namespace

void AddStreamFamily(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "xadd",
       .arity = -5,
       .flags = kWrite | kDenyOom | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @stream @fast",
       .handler = Xadd,
       .summary = "Adds an entry to a stream",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(log(N)), and O(log(N)) for each entry that is trimmed",
       .syntax = "key:key NOMKSTREAM?@6.2.0 trim:{strategy:(MAXLEN|MINID@6.2.0) operator? threshold LIMIT "
                 "count:integer?@6.2.0}? id_or_auto field_value:{field value}*",
       .key_access = "RW update",
       .tips = "nondeterministic_output"},
      {.name = "xtrim",
       .arity = -4,
       .flags = kWrite,
       .keys = {1, 1, 1},
       .categories = "@write @stream @slow",
       .handler = Xtrim,
       .summary = "Removes the oldest entries of a stream",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(log(N)) for each entry that is trimmed",
       .syntax = "key:key trim:{strategy:(MAXLEN|MINID@6.2.0) operator? threshold LIMIT "
                 "count:integer?@6.2.0}",
       .key_access = "RW delete",
       .tips = "nondeterministic_output"},
      {.name = "xlen",
       .arity = 2,
       .flags = kReadonly | kFast,
       .keys = {1, 1, 1},
       .categories = "@read @stream @fast",
       .handler = Xlen,
       .summary = "Returns the number of entries of a stream",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(1)",
       .syntax = "key:key",
       .key_access = "RO"},
      {.name = "xrange",
       .arity = -4,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @stream @slow",
       .handler = Xrange,
       .summary = "Returns entries of a range of ids",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(log(N)+M) where M is the number of entries returned",
       .syntax = "key:key start end COUNT count:integer?",
       .key_access = "RO access"},
      {.name = "xrevrange",
       .arity = -4,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @stream @slow",
       .handler = Xrevrange,
       .summary = "Returns entries of a range of ids, the last one first",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(log(N)+M) where M is the number of entries returned",
       .syntax = "key:key end start COUNT count:integer?",
       .key_access = "RO access"},
      {.name = "xdel",
       .arity = -3,
       .flags = kWrite | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @stream @fast",
       .handler = Xdel,
       .summary = "Removes entries by their ids",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(log(N)) for each entry",
       .syntax = "key:key id*",
       .key_access = "RW delete"},
      {.name = "xsetid",
       .arity = -3,
       .flags = kWrite | kDenyOom | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @stream @fast",
       .handler = Xsetid,
       .summary = "Sets what a stream remembers of its past",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(1)",
       .syntax = "key:key last-id ENTRIESADDED entries_added:integer?@7.0.0 MAXDELETEDID "
                 "max_deleted_entry_id?@7.0.0",
       .key_access = "RW update"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
  AddStreamReadRows(rows);
  AddStreamGroupRows(rows);
  AddStreamClaimRows(rows);
  AddStreamInfoRows(rows);
}

}  // namespace polyarch::command
