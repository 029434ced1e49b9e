// Ids, entries, groups: what commands on streams read, reply and write.
#include <algorithm>
#include <charconv>

#include "command/stream.h"
#include "command/support.h"

namespace polyarch::command {

using crdt::StreamId;
using keyspace::KeyRef;
using keyspace::Stream;

namespace {

constexpr std::string_view kInvalidId =
    "ERR Invalid stream ID specified as stream command argument";
constexpr size_t kIdTextMax = 127;
// A consumer's "seen" is this exact, so that reading costs no write for it each time.
constexpr int64_t kSeenExactMs = 1000;

std::optional<uint64_t> ParseNumber(std::string_view text) {
  // As strtoull, to which Redis leaves what is no plain number: space and a sign may stand before it.
  text.remove_prefix(std::min(text.find_first_not_of(" \t\n\v\f\r"), text.size()));
  if (text.starts_with('+')) text.remove_prefix(1);
  uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<StreamId> ParseRangeId(std::string_view text, uint64_t missing_seq, bool exclusive) {
  if (!exclusive && text == "-") return StreamId{};
  if (!exclusive && text == "+") return crdt::kStreamIdMax;
  return ParseStreamId(text, missing_seq);
}

}  // namespace

std::optional<StreamId> ParseStreamId(std::string_view text, uint64_t missing_seq) {
  if (text.size() > kIdTextMax) return std::nullopt;
  const size_t dash = text.find('-');
  const auto ms = ParseNumber(text.substr(0, dash));
  if (!ms) return std::nullopt;
  if (dash == std::string_view::npos) return StreamId{*ms, missing_seq};
  const auto seq = ParseNumber(text.substr(dash + 1));
  if (!seq) return std::nullopt;
  return StreamId{*ms, *seq};
}

std::optional<StreamId> ReadStreamId(Context& c, std::string_view text, uint64_t missing_seq) {
  const auto id = ParseStreamId(text, missing_seq);
  if (!id) c.reply.Error(kInvalidId);
  return id;
}

std::optional<StreamId> ReadRangeStart(Context& c, std::string_view text) {
  const bool exclusive = text.size() > 1 && text[0] == '(';
  auto id = ParseRangeId(exclusive ? text.substr(1) : text, 0, exclusive);
  if (!id) return c.reply.Error(kInvalidId), std::nullopt;
  if (exclusive) id = crdt::After(*id);
  if (!id) c.reply.Error("ERR invalid start ID for the interval");
  return id;
}

std::optional<StreamId> ReadRangeEnd(Context& c, std::string_view text) {
  const bool exclusive = text.size() > 1 && text[0] == '(';
  auto id = ParseRangeId(exclusive ? text.substr(1) : text, UINT64_MAX, exclusive);
  if (!id) return c.reply.Error(kInvalidId), std::nullopt;
  if (exclusive) id = crdt::Before(*id);
  if (!id) c.reply.Error("ERR invalid end ID for the interval");
  return id;
}

void ReplyStreamId(Context& c, StreamId id) {
  constexpr size_t kDigitsMax = 20;
  char text[2 * kDigitsMax + 1];
  char* p = std::to_chars(text, text + kDigitsMax, id.ms).ptr;
  *p++ = '-';
  p = std::to_chars(p, p + kDigitsMax, id.seq).ptr;
  c.reply.Bulk({text, static_cast<size_t>(p - text)});
}

void ReplyStreamEntry(Context& c, StreamId id, const crdt::StreamEntry& entry) {
  c.reply.Array(2);
  ReplyStreamId(c, id);
  c.reply.Array(entry.fields.size());
  for (std::string_view field : entry.fields)
    c.reply.Bulk(field);
}

void ReplyStreamRange(
    Context& c, const Stream& stream, StreamId from, StreamId to, bool reverse, size_t count) {
  if (!stream.exists() || from > to) return c.reply.EmptyArray();
  // Few are found first and counted then: places are looked for once.
  constexpr size_t kFew = 64;
  if (count <= kFew) {
    std::vector<std::pair<StreamId, crdt::StreamEntry>> found;
    stream.Walk(from, to, reverse, [&](StreamId id, const crdt::StreamEntry& entry) {
      found.emplace_back(id, entry);
      return found.size() < count;
    });
    c.reply.Array(found.size());
    for (const auto& [id, entry] : found)
      ReplyStreamEntry(c, id, entry);
    return;
  }
  const std::optional<StreamId> beyond = crdt::After(to);
  const size_t end = beyond ? stream.CountBefore(*beyond) : stream.length();
  const size_t begin = stream.CountBefore(from);
  size_t left = end > begin ? std::min(count, end - begin) : 0;
  c.reply.Array(left);
  if (left == 0) return;
  stream.Walk(from, to, reverse, [&](StreamId id, const crdt::StreamEntry& entry) {
    ReplyStreamEntry(c, id, entry);
    return --left > 0 && !c.reply.out().overflowed();
  });
  // Names that no entry has are counted, too; nobody but a broken peer brings them.
  for (; left > 0 && !c.reply.out().overflowed(); --left)
    c.reply.NullArray();
}

std::optional<Stream> OpenStream(Context& c, const KeyRef& ref) {
  const auto collection = Open(c, ref, kStream);
  if (!collection) return std::nullopt;
  return Stream(*collection);
}

Stream StreamAgain(Context& c, const KeyRef& ref) {
  return Stream(c.keys.OpenAgain(ref, kStream));
}

bool CheckStreamNames(Context& c, std::string_view group, std::string_view consumer) {
  if (group.size() <= crdt::kStreamNameBytesMax && consumer.size() <= crdt::kStreamNameBytesMax)
    return true;
  c.reply.Error("LIMIT name of a group or consumer longer than 32000 bytes");
  return false;
}

void ReplyNoGroup(Context& c, std::string_view key, std::string_view group, std::string_view tail) {
  std::string text = "NOGROUP No such key '";
  text.append(key).append("' or consumer group '").append(group).append("'").append(tail);
  c.reply.Error(text);
}

std::optional<OpenedGroup> OpenGroup(Context& c, const KeyRef& ref, std::string_view group) {
  const auto stream = OpenStream(c, ref);
  if (!stream) return std::nullopt;
  auto state = stream->FindGroup(group);
  if (!state) return ReplyNoGroup(c, ref.key, group), std::nullopt;
  return OpenedGroup{*stream, std::move(*state)};
}

OwnerHost* GroupOwnersOf(Context& c, std::string_view key, std::string_view group) {
  OwnerHost* owners = c.cluster.owners();
  return owners != nullptr && owners->in_use() && owners->CoversGroup(key, group) ? owners : nullptr;
}

void PutStreamMeta(Context& c, const KeyRef& ref, const crdt::StreamMeta& meta) {
  c.change.PutElement(ref, kStream, crdt::kStreamMetaName, crdt::EncodeStreamMeta(meta));
}

void PutStreamGroup(Context& c,
                    const KeyRef& ref,
                    std::string_view group,
                    const crdt::StreamGroup& state) {
  c.change.PutElement(ref, kStream, crdt::StreamGroupName(group), crdt::EncodeStreamGroup(state));
}

void PutStreamPending(Context& c,
                      const KeyRef& ref,
                      std::string_view group,
                      const keyspace::PendingEntry& pending) {
  c.change.PutElement(
      ref,
      kStream,
      crdt::StreamPendingName(group, pending.id),
      crdt::EncodeStreamPending({pending.consumer, pending.delivered_ms, pending.count}));
}

void NoteConsumer(Context& c,
                  const KeyRef& ref,
                  const Stream& stream,
                  std::string_view group,
                  std::string_view consumer) {
  const auto seen = stream.FindConsumer(group, consumer);
  c.made_consumer |= !seen;
  if (seen && c.now_ms - *seen <= kSeenExactMs) return;
  c.change.PutElement(
      ref, kStream, crdt::StreamConsumerName(group, consumer), crdt::EncodeStreamSeen(c.now_ms));
}

namespace {

size_t PendingBytes(std::string_view key, std::string_view group, std::string_view consumer) {
  constexpr size_t kNumbersBytesMax = 64;
  return kEffectBytesMax + key.size() + group.size() + consumer.size() + kNumbersBytesMax;
}

}  // namespace

size_t PendingMax(std::string_view key,
                  std::string_view group,
                  std::string_view consumer,
                  size_t others_bytes) {
  return (kChangeBytesMax - std::min(others_bytes, kChangeBytesMax)) /
         PendingBytes(key, group, consumer);
}

bool FitsPending(Context& c,
                 std::string_view key,
                 std::string_view group,
                 std::string_view consumer,
                 size_t entries) {
  return entries <= PendingMax(key, group, consumer) ||
         FitsChange(c, entries * PendingBytes(key, group, consumer) + kChangeBytesMax);
}

int64_t EntriesReadAt(const Stream& stream, StreamId id) {
  constexpr int64_t kUnknown = -1;
  const crdt::StreamMeta meta = stream.meta();
  const size_t length = stream.length();
  const auto added = static_cast<int64_t>(length + meta.removed);
  const StreamId last = stream.LastId(meta);
  if (added == 0) return 0;
  if (length == 0 && id <= last) return added;
  if (id == last) return added;
  if (id > last) return kUnknown;
  const StreamId first = stream.first().value_or(StreamId{});
  if (meta.deleted != StreamId{} && meta.deleted >= first) return kUnknown;
  if (id < first) return static_cast<int64_t>(meta.removed);
  return id == first ? static_cast<int64_t>(meta.removed) + 1 : kUnknown;
}

bool HasDeletedBeyond(const Stream& stream, StreamId id) {
  const StreamId deleted = stream.meta().deleted;
  return stream.length() != 0 && deleted != StreamId{} && id <= deleted;
}

size_t StreamNodeEntries(Context& c) {
  const size_t entries = c.server.remembered().encodings().stream_node_entries;
  return entries == 0 ? EncodingLimits{}.stream_node_entries : entries;
}

}  // namespace polyarch::command
