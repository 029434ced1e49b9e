// XINFO: what a stream, its groups and their consumers are like.
#include <algorithm>

#include "base/number.h"
#include "command/docs.h"
#include "command/stream.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

using crdt::StreamId;
using keyspace::Stream;

// The stream of XINFO, which must exist.
std::optional<Stream> OpenForInfo(Context& c) {
  const auto stream = OpenStream(c, c.Ref(c.args[2]));
  if (!stream) return std::nullopt;
  if (!stream->exists()) return c.reply.Error(kNoSuchKey), std::nullopt;
  return stream;
}

void Field(Context& c, std::string_view name, int64_t value) {
  c.reply.Bulk(name);
  c.reply.Integer(value);
}

void Field(Context& c, std::string_view name, StreamId value) {
  c.reply.Bulk(name);
  ReplyStreamId(c, value);
}

// Redis keeps entries in nodes in a radix tree; tools look at these numbers.
void ReplyCounts(Context& c, const Stream& stream) {
  const auto node_entries = static_cast<int64_t>(StreamNodeEntries(c));
  const auto length = static_cast<int64_t>(stream.length());
  const int64_t nodes = (length + node_entries - 1) / node_entries;
  const crdt::StreamMeta meta = stream.meta();
  Field(c, "length", length);
  Field(c, "radix-tree-keys", nodes);
  Field(c, "radix-tree-nodes", nodes + 1);
  Field(c, "last-generated-id", stream.LastId(meta));
  Field(c, "max-deleted-entry-id", meta.deleted);
  Field(c, "entries-added", length + static_cast<int64_t>(meta.removed));
  Field(c, "recorded-first-entry-id", stream.first().value_or(StreamId{}));
}

void ReplyEnd(Context& c, std::string_view name, const Stream& stream, std::optional<StreamId> id) {
  c.reply.Bulk(name);
  const auto entry = id ? stream.Find(*id) : std::nullopt;
  if (!entry) return c.reply.Null();
  ReplyStreamEntry(c, *id, *entry);
}

void ReplyProgress(Context& c,
                   const Stream& stream,
                   std::string_view group,
                   const crdt::StreamGroup& state) {
  c.reply.Bulk("entries-read");
  state.entries_read >= 0 ? c.reply.Integer(state.entries_read) : c.reply.Null();
  Field(c, "lag", static_cast<int64_t>(stream.CountUndelivered(group, state)));
}

void ReplyPendingDetails(Context& c,
                         const std::vector<keyspace::PendingEntry>& entries,
                         bool with_consumer) {
  c.reply.Array(entries.size());
  for (const keyspace::PendingEntry& entry : entries) {
    c.reply.Array(with_consumer ? 4 : 3);
    ReplyStreamId(c, entry.id);
    if (with_consumer) c.reply.Bulk(entry.consumer);
    c.reply.Integer(entry.delivered_ms);
    c.reply.Integer(static_cast<int64_t>(entry.count));
  }
}

void ReplyWholeGroup(Context& c, const Stream& stream, std::string_view group, size_t count) {
  const crdt::StreamGroup state = *stream.FindGroup(group);
  // The first ones of all, and of each consumer.
  std::vector<keyspace::PendingEntry> first;
  std::vector<std::pair<Stream::Consumer, std::vector<keyspace::PendingEntry>>> consumers;
  for (Stream::Consumer& consumer : stream.Consumers(group))
    consumers.emplace_back(std::move(consumer), std::vector<keyspace::PendingEntry>());
  stream.WalkPending(group, {}, [&](const keyspace::PendingEntry& entry) {
    if (first.size() < count) first.push_back(entry);
    for (auto& [consumer, own] : consumers) {
      if (consumer.name == entry.consumer && own.size() < count) own.push_back(entry);
    }
    return true;
  });
  c.reply.Map(7);
  c.reply.Bulk("name");
  c.reply.Bulk(group);
  Field(c, "last-delivered-id", state.last);
  ReplyProgress(c, stream, group, state);
  Field(c, "pel-count", static_cast<int64_t>(stream.CountPending(group)));
  c.reply.Bulk("pending");
  ReplyPendingDetails(c, first, true);
  c.reply.Bulk("consumers");
  c.reply.Array(consumers.size());
  for (const auto& [consumer, own] : consumers) {
    c.reply.Map(4);
    c.reply.Bulk("name");
    c.reply.Bulk(consumer.name);
    Field(c, "seen-time", consumer.seen_ms);
    Field(c, "pel-count", static_cast<int64_t>(consumer.pending));
    c.reply.Bulk("pending");
    ReplyPendingDetails(c, own, false);
  }
}

void InfoStream(Context& c) {
  constexpr int64_t kCountDefault = 10;
  const auto stream = OpenForInfo(c);
  if (!stream) return;
  const bool full = c.count() > 3;
  int64_t count = kCountDefault;
  if (full) {
    const bool counted = c.count() == 6 && EqualsIgnoreCase(c.args[4], "count");
    if (!EqualsIgnoreCase(c.args[3], "full") || (c.count() != 4 && !counted)) {
      return ReplySubcommandSyntax(c);
    }
    if (counted) {
      const auto read = ReadInteger(c, c.args[5]);
      if (!read) return;
      count = *read < 0 ? kCountDefault : *read;
    }
  }
  const std::vector<std::string> groups = stream->Groups();
  if (!full) {
    c.reply.Map(10);
    ReplyCounts(c, *stream);
    Field(c, "groups", static_cast<int64_t>(groups.size()));
    ReplyEnd(c, "first-entry", *stream, stream->first());
    return ReplyEnd(c, "last-entry", *stream, stream->top());
  }
  const size_t most = count == 0 ? SIZE_MAX : static_cast<size_t>(count);
  c.reply.Map(9);
  ReplyCounts(c, *stream);
  c.reply.Bulk("entries");
  ReplyStreamRange(c, *stream, {}, crdt::kStreamIdMax, false, most);
  c.reply.Bulk("groups");
  c.reply.Array(groups.size());
  for (const std::string& group : groups)
    ReplyWholeGroup(c, *stream, group, most);
}

void InfoGroups(Context& c) {
  const auto stream = OpenForInfo(c);
  if (!stream) return;
  const std::vector<std::string> groups = stream->Groups();
  c.reply.Array(groups.size());
  for (const std::string& group : groups) {
    const crdt::StreamGroup state = *stream->FindGroup(group);
    c.reply.Map(6);
    c.reply.Bulk("name");
    c.reply.Bulk(group);
    Field(c, "consumers", static_cast<int64_t>(stream->Consumers(group).size()));
    Field(c, "pending", static_cast<int64_t>(stream->CountPending(group)));
    Field(c, "last-delivered-id", state.last);
    ReplyProgress(c, *stream, group, state);
  }
}

void InfoConsumers(Context& c) {
  const auto stream = OpenForInfo(c);
  if (!stream) return;
  if (!stream->FindGroup(c.args[3])) {
    std::string text = "NOGROUP No such consumer group '";
    text.append(c.args[3]).append("' for key name '").append(c.args[2]).append("'");
    return c.reply.Error(text);
  }
  const auto consumers = stream->Consumers(c.args[3]);
  c.reply.Array(consumers.size());
  for (const Stream::Consumer& consumer : consumers) {
    c.reply.Map(3);
    c.reply.Bulk("name");
    c.reply.Bulk(consumer.name);
    Field(c, "pending", static_cast<int64_t>(consumer.pending));
    Field(c, "idle", std::max<int64_t>(0, c.now_ms - consumer.seen_ms));
  }
}

}  // namespace

void AddStreamInfoRows(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "xinfo",
       .arity = -2,
       .categories = "@slow",
       .summary = "Tells what streams and groups are like",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "Depends on the subcommand"},
      {.name = "xinfo|stream",
       .arity = -3,
       .flags = kReadonly,
       .keys = {2, 2, 1},
       .categories = "@read @stream @slow",
       .handler = InfoStream,
       .summary = "Tells what a stream is like",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(log(N)); with FULL, O(N) where N is what is pending and what is returned",
       .syntax = "key:key FULL full:{COUNT count:integer?}?",
       .key_access = "RO access"},
      {.name = "xinfo|groups",
       .arity = 3,
       .flags = kReadonly,
       .keys = {2, 2, 1},
       .categories = "@read @stream @slow",
       .handler = InfoGroups,
       .summary = "Lists the groups of a stream",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(N) where N is the number of groups and their consumers",
       .syntax = "key:key",
       .key_access = "RO access"},
      {.name = "xinfo|consumers",
       .arity = 4,
       .flags = kReadonly,
       .keys = {2, 2, 1},
       .categories = "@read @stream @slow",
       .handler = InfoConsumers,
       .summary = "Lists the consumers of a group",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(N) where N is the number of the group's consumers",
       .syntax = "key:key groupname",
       .key_access = "RO access",
       .tips = "nondeterministic_output"},
      {.name = "xinfo|help",
       .arity = 2,
       .flags = kLoading | kStale,
       .categories = "@stream @slow",
       .handler = ContainerHelp,
       .summary = "Print this help",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(1)"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
