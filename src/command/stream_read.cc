// XREAD and XREADGROUP: what is new in several streams, for a reader by ids or for a group's
// consumer; waiting for it.
#include <algorithm>

#include "command/blocking.h"
#include "command/stream.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

using crdt::StreamId;
using keyspace::KeyRef;
using keyspace::Stream;

struct ReadRequest {
  std::optional<int64_t> timeout_ms;  // BLOCK
  size_t count = SIZE_MAX;
  std::string_view group;
  std::string_view consumer;
  bool any_group = false;
  bool no_ack = false;
  size_t streams_from = 0;  // the first key's place; as many ids follow the keys
  size_t streams = 0;
  std::vector<std::optional<StreamId>> after;  // by stream; nothing: ">"
  size_t given_max = SIZE_MAX;  // XREADGROUP: of one stream, so that all of it fits into a change

  std::string_view Key(const Context& c, size_t i) const { return c.args[streams_from + i]; }
};

bool OnlyOfGroups(Context& c, bool grouped, std::string_view option) {
  if (grouped) return true;
  std::string text = "ERR The ";
  text.append(option).append(" option is only supported by XREADGROUP. You called XREAD instead.");
  c.reply.Error(text);
  return false;
}

bool ReadOptions(Context& c, bool grouped, ReadRequest& request) {
  for (size_t i = 1; i < c.count() && request.streams_from == 0; ++i) {
    const size_t more = c.count() - 1 - i;
    const std::string_view word = c.args[i];
    if (EqualsIgnoreCase(word, "block") && more > 0) {
      request.timeout_ms = ReadTimeoutMs(c, c.args[++i]);
      if (!request.timeout_ms) return false;
    } else if (EqualsIgnoreCase(word, "count") && more > 0) {
      const auto count = ReadInteger(c, c.args[++i]);
      if (!count) return false;
      request.count = *count > 0 ? static_cast<size_t>(*count) : SIZE_MAX;
    } else if (EqualsIgnoreCase(word, "streams") && more > 0) {
      request.streams_from = i + 1;
      request.streams = more / 2;
      if (more % 2 == 0) continue;
      c.reply.Error(
          "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be "
          "specified.");
      return false;
    } else if (EqualsIgnoreCase(word, "group") && more >= 2) {
      if (!OnlyOfGroups(c, grouped, "GROUP")) return false;
      request.any_group = true;
      request.group = c.args[i + 1];
      request.consumer = c.args[i + 2];
      i += 2;
    } else if (EqualsIgnoreCase(word, "noack")) {
      if (!OnlyOfGroups(c, grouped, "NOACK")) return false;
      request.no_ack = true;
    } else {
      return ReplySyntaxError(c), false;
    }
  }
  if (request.streams_from == 0) return ReplySyntaxError(c), false;
  // As Redis: who asked for no number and waited gets no more.
  constexpr size_t kServedEntriesMax = 1000;
  if (c.ready != nullptr && request.count == SIZE_MAX) request.count = kServedEntriesMax;
  if (grouped && !request.any_group)
    return c.reply.Error("ERR Missing GROUP option for XREADGROUP"), false;
  return true;
}

// The ids behind which is read; groups must exist.
bool ReadIds(Context& c, bool grouped, ReadRequest& request) {
  for (size_t i = 0; i < request.streams; ++i) {
    const std::string_view key = request.Key(c, i);
    const std::string_view text = c.args[request.streams_from + request.streams + i];
    // A group's reader who waited did so for new entries, of all of them, and is told otherwise (RefuseGone).
    if (c.ready != nullptr && (grouped || *c.ready != key)) {
      request.after.emplace_back();
      continue;
    }
    const auto stream = OpenStream(c, c.Ref(key));
    if (!stream) return false;
    if (grouped && !stream->FindGroup(request.group)) {
      ReplyNoGroup(c, key, request.group, " in XREADGROUP with GROUP option");
      return false;
    }
    if (text == "$") {
      if (grouped) {
        c.reply.Error(
            "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the "
            "history of this consumer by specifying a proper ID, or use the > ID to get new "
            "messages. The $ ID would just return an empty result set.");
        return false;
      }
      request.after.emplace_back(stream->exists() ? stream->last_id() : StreamId{});
    } else if (text == ">") {
      if (!grouped) {
        c.reply.Error(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> "
            "<consumer> option.");
        return false;
      }
      request.after.emplace_back();
    } else {
      const auto id = ReadStreamId(c, text);
      if (!id) return false;
      request.after.push_back(id);
    }
  }
  return true;
}

// The streams that this run looks at: of who waited only the one that has changed.
std::vector<size_t> Places(const Context& c, const ReadRequest& request) {
  std::vector<size_t> places;
  for (size_t i = 0; i < request.streams; ++i) {
    if (c.ready == nullptr || *c.ready == request.Key(c, i)) places.push_back(i);
  }
  return places;
}

void ReplyHeader(Context& c, size_t streams) {
  c.reply.resp3() ? c.reply.Map(streams) : c.reply.Array(streams);
}

void ReplyKey(Context& c, std::string_view key) {
  if (!c.reply.resp3()) c.reply.Array(2);
  c.reply.Bulk(key);
}

void WaitForEntries(Context& c, const ReadRequest& request, bool grouped) {
  if (!request.timeout_ms) return c.reply.NullArray();
  WaitForElements(c,
                  kStream,
                  c.args.subspan(request.streams_from, request.streams),
                  *request.timeout_ms,
                  false);
  if (!c.suspended) return;
  c.wait.when_gone = grouped;
  if (grouped || c.ready != nullptr) return;
  // "$" is what it is now.
  c.wait.arguments.assign(c.args.begin(), c.args.end());
  for (size_t i = 0; i < request.streams; ++i)
    c.wait.arguments[request.streams_from + request.streams + i] =
        crdt::ToString(*request.after[i]);
}

// XREADGROUP has found nothing that may be given here. `others`: what there is others own (policy `pop-owner`): then it
// waits for them also without BLOCK.
void WaitForGroup(Context& c, const ReadRequest& request, bool others) {
  constexpr int64_t kAskMs = 10'000;        // as of pops: an owner that is gone is replaced within half of that
  constexpr size_t kAskedMax = 100;         // entries for one client
  constexpr size_t kAskedUnbounded = 10;    // the same of one that does not say how many
  const size_t wanted = request.count == SIZE_MAX ? kAskedUnbounded : std::min(request.count, kAskedMax);
  if (others || request.timeout_ms) {
    for (size_t i = 0; i < request.streams; ++i) {
      if (OwnerHost* owners = GroupOwnersOf(c, request.Key(c, i), request.group))
        owners->WantEntries(c.Ref(request.Key(c, i)), request.group, wanted, c.may_wait);
    }
  }
  const bool asks = others && !request.timeout_ms;
  if (asks) {
    WaitForElements(c, kStream, c.args.subspan(request.streams_from, request.streams), kAskMs, false);
    if (c.suspended) {
      c.wait.when_gone = true;
      c.wait.late =
          "TRYAGAIN this leader owns no entry that is new to the group (policy pop-owner), and those who do gave it none; "
          "nothing was delivered";
    }
  } else {
    WaitForEntries(c, request, true);
  }
  if (c.suspended) c.wait.group = request.group;
}

void Xread(Context& c) {
  ReadRequest request;
  if (!ReadOptions(c, false, request) || !ReadIds(c, false, request)) return;
  std::vector<size_t> found;
  for (size_t i : Places(c, request)) {
    const auto stream = OpenStream(c, c.Ref(request.Key(c, i)));
    const auto top = stream->top();
    if (top && *top > *request.after[i]) found.push_back(i);
  }
  if (found.empty()) return WaitForEntries(c, request, false);
  ReplyHeader(c, found.size());
  for (size_t i : found) {
    const Stream stream = StreamAgain(c, c.Ref(request.Key(c, i)));
    ReplyKey(c, request.Key(c, i));
    ReplyStreamRange(
        c, stream, *crdt::After(*request.after[i]), crdt::kStreamIdMax, false, request.count);
  }
}

// ---- groups

// All that is given is one change, however many streams are named, or however often one is. Each has an equal share of
// it: to a consumer that reads its pending entries again an empty list is their end. False, with the error given, if
// the groups alone do not fit.
bool ShareChange(Context& c, const std::vector<size_t>& places, ReadRequest& request) {
  std::string_view longest;
  for (size_t i : places) {
    if (request.Key(c, i).size() > longest.size()) longest = request.Key(c, i);
  }
  size_t groups_bytes = kStreamGroupBytesMax;
  if (places.size() > 1) {
    groups_bytes = 0;
    for (size_t i : places) {
      const auto state = StreamAgain(c, c.Ref(request.Key(c, i))).FindGroup(request.group);
      const size_t state_bytes = state ? crdt::EncodeStreamGroup(*state).size() : 0;
      // Of a new consumer the group is written before it, and once more with what it is given.
      groups_bytes += 3 * (kEffectBytesMax + request.Key(c, i).size() + request.group.size()) +
                      2 * state_bytes + request.consumer.size();
    }
  }
  size_t most = PendingMax(longest, request.group, request.consumer, groups_bytes);
  // Under `pop-owner` the record of the owner goes with each.
  const bool owned = std::any_of(places.begin(), places.end(), [&](size_t i) {
    return GroupOwnersOf(c, request.Key(c, i), request.group) != nullptr;
  });
  if (owned) most /= 2;
  request.given_max = places.empty() ? 0 : most / places.size();
  return request.given_max > 0 || places.empty() || FitsChange(c, groups_bytes + kChangeBytesMax);
}

// The entries that the consumer was given and has not acknowledged: given once more.
void ReplyHistory(Context& c, const ReadRequest& request, size_t i) {
  const KeyRef ref = c.Ref(request.Key(c, i));
  const Stream stream = StreamAgain(c, ref);
  OwnerHost* owners = GroupOwnersOf(c, ref.key, request.group);
  const size_t count = std::min({request.count,
                                 request.given_max,
                                 stream.PendingAtMost(request.group, request.consumer)});
  struct Given {
    keyspace::PendingEntry entry;
    bool stays = false;  // gone from the stream, or another leader's to give (`pop-owner`)
  };
  std::vector<Given> pending;
  const auto from = crdt::After(*request.after[i]);
  if (from && count > 0) {
    stream.WalkPending(request.group, *from, [&](const keyspace::PendingEntry& entry) {
      if (entry.consumer == request.consumer) pending.push_back({entry});
      return pending.size() < count;
    });
  }
  c.reply.Array(pending.size());
  bool any = false;
  for (Given& given : pending) {
    const auto found = stream.Find(given.entry.id);
    if (!found) {
      c.reply.Array(2);
      ReplyStreamId(c, given.entry.id);
      c.reply.NullArray();
      given.stays = true;
      continue;
    }
    ReplyStreamEntry(c, given.entry.id, *found);
    // Whoever writes it owns it: its owner might let somebody else claim it at the same time.
    given.stays = owners != nullptr && !owners->OwnsPending(ref, stream, request.group, given.entry.id);
    any = any || !given.stays;
  }
  if (!any) return;
  const auto state = stream.FindGroup(request.group);
  PutStreamGroup(c, ref, request.group, *state);
  for (auto& [entry, stays] : pending) {
    if (stays) continue;
    entry.delivered_ms = c.now_ms;
    ++entry.count;
    PutStreamPending(c, ref, request.group, entry);
  }
}

// Entries that the group was not given yet: they are the consumer's now.
void Deliver(Context& c,
             const ReadRequest& request,
             const KeyRef& ref,
             const std::vector<Stream::Item>& items) {
  const Stream stream = StreamAgain(c, ref);
  crdt::StreamGroup state = *stream.FindGroup(request.group);
  const bool exact = !HasDeletedBeyond(stream, state.last);
  OwnerHost* owners = GroupOwnersOf(c, ref.key, request.group);
  c.reply.Array(items.size());
  for (const Stream::Item& item : items) {
    ReplyStreamEntry(c, item.id, stream.Find(item.id).value_or(crdt::StreamEntry{}));
    // What is before it may be somebody else's to give.
    if (owners != nullptr) {
      state.Give(item.lane, item.id, item.id);
    } else {
      state.Raise(item.lane, item.id);
    }
    if (state.entries_read >= 0 && (exact || !HasDeletedBeyond(stream, item.id))) {
      ++state.entries_read;
    } else if (item.id > state.last) {
      state.entries_read = EntriesReadAt(stream, item.id);
    }
    state.last = std::max(state.last, item.id);
  }
  stream.Tidy(state);
  stream.JoinGiven(request.group, state);
  PutStreamGroup(c, ref, request.group, state);
  if (owners != nullptr) {
    for (const Stream::Item& item : items)
      owners->NoteGiven(c.change, ref, request.group, item.id);
  }
  if (request.no_ack) return;
  for (const Stream::Item& item : items) {
    PutStreamPending(c, ref, request.group, {item.id, std::string(request.consumer), c.now_ms, 1});
  }
}

// Of who waited: the stream or group is gone.
bool RefuseGone(Context& c, const KeyRef& ref, std::string_view group) {
  const keyspace::Shown shown = c.keys.Read(ref);
  if (shown.kind != keyspace::Shown::Kind::kCollection || shown.type != kStream)
    return c.reply.Error("UNBLOCKED the stream key no longer exists"), true;
  if (StreamAgain(c, ref).FindGroup(group)) return false;
  c.reply.Error("NOGROUP the consumer group this client was blocked on no longer exists");
  return true;
}

void Xreadgroup(Context& c) {
  ReadRequest request;
  if (!ReadOptions(c, true, request) || !CheckStreamNames(c, request.group, request.consumer) ||
      !ReadIds(c, true, request))
    return;
  struct Found {
    size_t place = 0;
    std::vector<Stream::Item> items;
  };
  if (c.ready != nullptr && RefuseGone(c, c.Ref(*c.ready), request.group)) return;
  const std::vector<size_t> places = Places(c, request);
  if (!ShareChange(c, places, request)) return;
  std::vector<Found> found;
  bool others = false;
  for (size_t i : places) {
    const KeyRef ref = c.Ref(request.Key(c, i));
    const auto stream = OpenStream(c, ref);
    if (!stream) return;
    if (request.after[i]) {
      found.push_back({.place = i, .items = {}});
      continue;
    }
    const size_t most = std::min(request.count, request.given_max);
    // A key that comes again goes on behind what it has been given here.
    size_t given = 0;
    for (const Found& f : found) {
      if (request.Key(c, f.place) == ref.key) given += f.items.size();
    }
    const size_t with_given = most + std::min(given, SIZE_MAX - most);
    OwnerHost* owners = GroupOwnersOf(c, ref.key, request.group);
    const crdt::StreamGroup state = *stream->FindGroup(request.group);
    auto items = owners == nullptr
                     ? stream->Undelivered(request.group, state, with_given)
                     : owners->OwnedEntries(ref, *stream, request.group, state, with_given, others);
    items.erase(items.begin(),
                items.begin() + static_cast<std::ptrdiff_t>(std::min(given, items.size())));
    if (!items.empty()) found.push_back({i, std::move(items)});
  }
  if (found.empty()) return WaitForGroup(c, request, others);
  for (const Found& f : found) {
    const KeyRef ref = c.Ref(request.Key(c, f.place));
    const Stream stream = StreamAgain(c, ref);
    // With entries the group is written anyhow.
    if (f.items.empty() && !stream.FindConsumer(request.group, request.consumer))
      PutStreamGroup(c, ref, request.group, *stream.FindGroup(request.group));
    NoteConsumer(c, ref, StreamAgain(c, ref), request.group, request.consumer);
  }
  ReplyHeader(c, found.size());
  for (const Found& f : found) {
    ReplyKey(c, request.Key(c, f.place));
    if (request.after[f.place]) {
      ReplyHistory(c, request, f.place);
    } else {
      Deliver(c, request, c.Ref(request.Key(c, f.place)), f.items);
    }
  }
}

}  // namespace

void AddStreamReadRows(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "xread",
       .arity = -4,
       .flags = kReadonly | kBlocking | kMovableKeys,
       .keys = {.halves = "streams", .halves_from = 1},
       .categories = "@read @stream @slow @blocking",
       .handler = Xread,
       .summary = "Returns entries of streams behind given ids; waits for some",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(log(N)+M) for each stream, where M is the number of entries returned",
       .syntax = "COUNT count:integer? BLOCK milliseconds:integer? STREAMS streams:{key:key* id*}",
       .key_access = "RO access"},
      {.name = "xreadgroup",
       .arity = -7,
       .flags = kWrite | kBlocking | kMovableKeys,
       .keys = {.halves = "streams", .halves_from = 4},
       .categories = "@write @stream @slow @blocking",
       .handler = Xreadgroup,
       .summary = "Gives a group's consumer entries that the group was not given yet, or again its "
                  "own; waits for some",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(log(N)) for each entry returned; a consumer's own ones: O(P) where P is "
                     "what is pending",
       .syntax = "GROUP group_consumer:{group consumer} COUNT count:integer? BLOCK "
                 "milliseconds:integer? NOACK? "
                 "STREAMS streams:{key:key* id*}",
       .key_access = "RO access"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
