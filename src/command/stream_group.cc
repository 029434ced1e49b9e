// XGROUP and XACK.
#include <algorithm>

#include "base/number.h"
#include "command/docs.h"
#include "command/stream.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

using crdt::StreamId;
using keyspace::KeyRef;
using keyspace::Stream;

struct GroupOptions {
  bool make_stream = false;
  int64_t entries_read = -1;
};

bool ReadGroupOptions(Context& c, bool creates, GroupOptions& options) {
  for (size_t i = 5; i < c.count(); ++i) {
    if (creates && EqualsIgnoreCase(c.args[i], "mkstream")) {
      options.make_stream = true;
    } else if (EqualsIgnoreCase(c.args[i], "entriesread") && i + 1 < c.count()) {
      const auto read = ReadInteger(c, c.args[++i]);
      if (!read) return false;
      if (*read < -1)
        return c.reply.Error("ERR value for ENTRIESREAD must be positive or -1"), false;
      options.entries_read = *read;
    } else {
      return ReplySubcommandSyntax(c), false;
    }
  }
  return true;
}

// The stream of XGROUP, which must exist unless it is to be made; and `needs_group`: the group.
std::optional<Stream> OpenForGroup(Context& c, bool make_stream, bool needs_group) {
  const auto stream = OpenStream(c, c.Ref(c.args[2]));
  if (!stream) return std::nullopt;
  if (!stream->exists() && !make_stream) {
    c.reply.Error(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to "
        "use the MKSTREAM option to create an empty stream automatically.");
    return std::nullopt;
  }
  if (needs_group && !stream->FindGroup(c.args[3])) {
    std::string text = "NOGROUP No such consumer group '";
    text.append(c.args[3]).append("' for key name '").append(c.args[2]).append("'");
    c.reply.Error(text);
    return std::nullopt;
  }
  return stream;
}

// "$" or an id; `ends`: or "-" or "+".
std::optional<StreamId> ReadGroupId(Context& c, const Stream& stream, bool ends) {
  if (c.args[4] == "$") return stream.exists() ? stream.last_id() : StreamId{};
  if (ends && c.args[4] == "-") return StreamId{};
  if (ends && c.args[4] == "+") return StreamId{UINT64_MAX, UINT64_MAX};
  return ReadStreamId(c, c.args[4]);
}

void GroupCreate(Context& c) {
  GroupOptions options;
  if (!ReadGroupOptions(c, true, options)) return;
  const auto stream = OpenForGroup(c, options.make_stream, false);
  if (!stream) return;
  const auto id = ReadGroupId(c, *stream, false);
  if (!id || !CheckStreamNames(c, c.args[3])) return;
  if (stream->FindGroup(c.args[3]))
    return c.reply.Error("BUSYGROUP Consumer Group name already exists");
  const KeyRef ref = c.Ref(c.args[2]);
  crdt::StreamGroup state = GroupAt(*stream, *id, options.entries_read);
  state.generation = stream->meta().group_generation;
  if (!stream->exists()) PutStreamMeta(c, ref, {});
  PutStreamGroup(c, ref, c.args[3], state);
  c.reply.Ok();
}

void GroupSetid(Context& c) {
  GroupOptions options;
  if (!ReadGroupOptions(c, false, options)) return;
  const auto stream = OpenForGroup(c, false, true);
  if (!stream) return;
  const auto id = ReadGroupId(c, *stream, true);
  if (!id) return;
  crdt::StreamGroup state = GroupAt(*stream, *id, options.entries_read);
  state.generation = stream->FindGroup(c.args[3])->generation + 1;
  PutStreamGroup(c, c.Ref(c.args[2]), c.args[3], state);
  c.reply.Ok();
}

void GroupDestroy(Context& c) {
  const auto stream = OpenForGroup(c, false, false);
  if (!stream) return;
  const auto group = stream->FindGroup(c.args[3]);
  if (!group) return c.reply.Integer(0);
  const KeyRef ref = c.Ref(c.args[2]);
  // The stream stays, also if there is nothing else of it. A group that is made after this shall not be taken for the
  // old one, which another leader may be reading now.
  crdt::StreamMeta meta = stream->meta();
  meta.group_generation = std::max(meta.group_generation, group->generation + 1);
  PutStreamMeta(c, ref, meta);
  c.change.RemoveRange(
      ref, kStream, crdt::StreamGroupName(c.args[3]), crdt::StreamGroupEnd(c.args[3]));
  c.reply.Integer(1);
}

void GroupCreateConsumer(Context& c) {
  const auto stream = OpenForGroup(c, false, true);
  if (!stream || !CheckStreamNames(c, c.args[3], c.args[4])) return;
  if (stream->FindConsumer(c.args[3], c.args[4])) return c.reply.Integer(0);
  const KeyRef ref = c.Ref(c.args[2]);
  PutStreamGroup(c, ref, c.args[3], *stream->FindGroup(c.args[3]));
  NoteConsumer(c, ref, StreamAgain(c, ref), c.args[3], c.args[4]);
  c.reply.Integer(1);
}

void GroupDelConsumer(Context& c) {
  const auto stream = OpenForGroup(c, false, true);
  if (!stream) return;
  const std::string_view group = c.args[3];
  std::vector<StreamId> pending;
  if (const size_t most = stream->PendingAtMost(group, c.args[4]); most > 0) {
    stream->WalkPending(group, {}, [&](const keyspace::PendingEntry& entry) {
      if (entry.consumer == c.args[4]) pending.push_back(entry.id);
      return pending.size() < most;
    });
  }
  if (!FitsPending(c, c.args[2], group, {}, pending.size())) return;
  const KeyRef ref = c.Ref(c.args[2]);
  if (stream->FindConsumer(group, c.args[4]))
    c.change.RemoveElement(ref, kStream, crdt::StreamConsumerName(group, c.args[4]));
  for (StreamId id : pending)
    c.change.RemoveElement(ref, kStream, crdt::StreamPendingName(group, id));
  c.reply.Integer(static_cast<int64_t>(pending.size()));
}

void Xack(Context& c) {
  const KeyRef ref = c.Ref(c.args[1]);
  const auto stream = OpenStream(c, ref);
  if (!stream) return;
  if (!stream->FindGroup(c.args[2])) return c.reply.Integer(0);
  std::vector<StreamId> ids;
  for (std::string_view text : c.args.subspan(3)) {
    const auto id = ReadStreamId(c, text);
    if (!id) return;
    ids.push_back(*id);
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  std::erase_if(ids, [&](StreamId id) { return !stream->FindPending(c.args[2], id); });
  if (!FitsPending(c, c.args[1], c.args[2], {}, ids.size())) return;
  for (StreamId id : ids)
    c.change.RemoveElement(ref, kStream, crdt::StreamPendingName(c.args[2], id));
  c.reply.Integer(static_cast<int64_t>(ids.size()));
}

}  // namespace

crdt::StreamGroup GroupAt(const Stream& stream, StreamId id, int64_t entries_read) {
  crdt::StreamGroup state;
  state.last = id;
  state.entries_read = entries_read;
  if (!stream.exists() || id > stream.last_id()) state.base = id;
  stream.DeliverUpTo(state, id);
  stream.Tidy(state);
  return state;
}

void AddStreamGroupRows(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "xgroup",
       .arity = -2,
       .categories = "@slow",
       .summary = "Makes, changes and removes groups of consumers",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "Depends on the subcommand"},
      {.name = "xgroup|create",
       .arity = -5,
       .flags = kWrite | kDenyOom,
       .keys = {2, 2, 1},
       .categories = "@write @stream @slow",
       .handler = GroupCreate,
       .summary = "Makes a group of consumers",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(1)",
       .syntax = "key:key groupname id MKSTREAM? ENTRIESREAD entries_read:integer?",
       .key_access = "RW insert"},
      {.name = "xgroup|setid",
       .arity = -5,
       .flags = kWrite,
       .keys = {2, 2, 1},
       .categories = "@write @stream @slow",
       .handler = GroupSetid,
       .summary = "Sets up to which id a group was given entries",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(1)",
       .syntax = "key:key groupname id ENTRIESREAD entries_read:integer?",
       .key_access = "RW update"},
      {.name = "xgroup|destroy",
       .arity = 4,
       .flags = kWrite,
       .keys = {2, 2, 1},
       .categories = "@write @stream @slow",
       .handler = GroupDestroy,
       .summary = "Removes a group",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(N) where N is the number of its pending entries",
       .syntax = "key:key groupname",
       .key_access = "RW delete"},
      {.name = "xgroup|createconsumer",
       .arity = 5,
       .flags = kWrite | kDenyOom,
       .keys = {2, 2, 1},
       .categories = "@write @stream @slow",
       .handler = GroupCreateConsumer,
       .summary = "Makes a consumer of a group",
       .since = "6.2.0",
       .group = "stream",
       .complexity = "O(1)",
       .syntax = "key:key groupname consumername",
       .key_access = "RW insert"},
      {.name = "xgroup|delconsumer",
       .arity = 5,
       .flags = kWrite,
       .keys = {2, 2, 1},
       .categories = "@write @stream @slow",
       .handler = GroupDelConsumer,
       .summary = "Removes a consumer and what is pending for it",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(N) where N is the number of the group's pending entries",
       .syntax = "key:key groupname consumername",
       .key_access = "RW delete"},
      {.name = "xgroup|help",
       .arity = 2,
       .flags = kLoading | kStale,
       .categories = "@stream @slow",
       .handler = ContainerHelp,
       .summary = "Print this help",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(1)"},
      {.name = "xack",
       .arity = -4,
       .flags = kWrite | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @stream @fast",
       .handler = Xack,
       .summary = "Tells that entries were processed",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(log(N)) for each entry",
       .syntax = "key:key group id*",
       .key_access = "RW update"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
