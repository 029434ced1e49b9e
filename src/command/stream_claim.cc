// What is pending in a group: XPENDING, and giving it to another consumer: XCLAIM, XAUTOCLAIM.
#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "base/number.h"
#include "command/blocking.h"
#include "command/stream.h"
#include "command/support.h"

namespace polyarch::command {
namespace {

using crdt::StreamId;
using keyspace::KeyRef;
using keyspace::PendingEntry;
using keyspace::Stream;

// ---- XPENDING

struct PendingRange {
  int64_t idle_ms = 0;
  StreamId from;
  StreamId to;
  size_t count = 0;
  std::optional<std::string_view> consumer;
};

bool ReadPendingRange(Context& c, PendingRange& range) {
  size_t i = 3;
  if (EqualsIgnoreCase(c.args[3], "idle")) {
    const auto idle = ReadInteger(c, c.args[4]);
    if (!idle) return false;
    range.idle_ms = *idle;
    if (c.count() < 8) return ReplySyntaxError(c), false;
    i = 5;
  }
  const auto count = ReadInteger(c, c.args[i + 2]);
  if (!count) return false;
  range.count = static_cast<size_t>(std::max<int64_t>(*count, 0));
  const auto from = ReadRangeStart(c, c.args[i]);
  if (!from) return false;
  const auto to = ReadRangeEnd(c, c.args[i + 1]);
  if (!to) return false;
  range.from = *from;
  range.to = *to;
  if (i + 3 < c.count()) range.consumer = c.args[i + 3];
  return true;
}

void ReplyPendingSummary(Context& c, const Stream& stream, std::string_view group) {
  auto consumers = stream.Consumers(group);
  std::erase_if(consumers, [](const Stream::Consumer& consumer) { return consumer.pending == 0; });
  StreamId first;
  stream.WalkPending(group, {}, [&](const PendingEntry& entry) {
    first = entry.id;
    return false;
  });
  int64_t total = 0;
  for (const Stream::Consumer& consumer : consumers)
    total += static_cast<int64_t>(consumer.pending);
  c.reply.Array(4);
  c.reply.Integer(total);
  if (total == 0) {
    c.reply.Null();
    c.reply.Null();
    return c.reply.NullArray();
  }
  ReplyStreamId(c, first);
  ReplyStreamId(c, stream.LastPending(group));
  c.reply.Array(consumers.size());
  for (const Stream::Consumer& consumer : consumers) {
    c.reply.Array(2);
    c.reply.Bulk(consumer.name);
    c.reply.BulkInteger(static_cast<int64_t>(consumer.pending));
  }
}

void Xpending(Context& c) {
  if (c.count() != 3 && (c.count() < 6 || c.count() > 9)) return ReplySyntaxError(c);
  PendingRange range;
  if (c.count() > 3 && !ReadPendingRange(c, range)) return;
  const auto group = OpenGroup(c, c.Ref(c.args[1]), c.args[2]);
  if (!group) return;
  if (c.count() == 3) return ReplyPendingSummary(c, group->stream, c.args[2]);
  std::vector<PendingEntry> found;
  size_t left = range.consumer ? group->stream.PendingAtMost(c.args[2], *range.consumer) : SIZE_MAX;
  if (range.count > 0 && left > 0) {
    group->stream.WalkPending(c.args[2], range.from, [&](const PendingEntry& entry) {
      if (entry.id > range.to) return false;
      const bool idle = range.idle_ms == 0 || c.now_ms - entry.delivered_ms >= range.idle_ms;
      const bool wanted = !range.consumer || entry.consumer == *range.consumer;
      if (wanted) --left;
      if (idle && wanted) found.push_back(entry);
      return left > 0 && found.size() < range.count;
    });
  }
  c.reply.Array(found.size());
  for (const PendingEntry& entry : found) {
    c.reply.Array(4);
    ReplyStreamId(c, entry.id);
    c.reply.Bulk(entry.consumer);
    c.reply.Integer(std::max<int64_t>(0, c.now_ms - entry.delivered_ms));
    c.reply.Integer(static_cast<int64_t>(entry.count));
  }
}

// ---- claiming

struct Claim {
  std::string_view group;
  std::string_view consumer;
  int64_t idle_ms = 0;
  int64_t delivered_ms = 0;
  std::optional<uint64_t> count;  // RETRYCOUNT
  bool force = false;
  bool only_ids = false;  // JUSTID
};

// What becomes of one pending entry (or of one that is none); nothing if it stays as it is.
std::optional<PendingEntry> Claimed(const Context& c,
                                    const Claim& claim,
                                    StreamId id,
                                    const std::optional<PendingEntry>& pending) {
  if (!pending && !claim.force) return std::nullopt;
  if (pending && claim.idle_ms > 0 && c.now_ms - pending->delivered_ms < claim.idle_ms)
    return std::nullopt;
  PendingEntry now = pending.value_or(PendingEntry{.id = id, .consumer = {}, .count = 1});
  now.consumer = claim.consumer;
  now.delivered_ms = claim.delivered_ms;
  if (claim.count) {
    now.count = *claim.count;
  } else if (!claim.only_ids) {
    ++now.count;
  }
  return now;
}

void ReplyClaimed(Context& c,
                  const Claim& claim,
                  const Stream& stream,
                  const std::vector<PendingEntry>& claimed) {
  c.reply.Array(claimed.size());
  for (const PendingEntry& entry : claimed) {
    if (claim.only_ids) {
      ReplyStreamId(c, entry.id);
    } else {
      ReplyStreamEntry(c, entry.id, stream.Find(entry.id).value_or(crdt::StreamEntry{}));
    }
  }
}

// The replies have been given. `gone`: entries that are not in the stream any more.
void WriteClaimed(Context& c,
                  const KeyRef& ref,
                  const Claim& claim,
                  const crdt::StreamGroup& state,
                  const std::vector<PendingEntry>& claimed,
                  const std::vector<StreamId>& gone) {
  PutStreamGroup(c, ref, claim.group, state);
  if (!claimed.empty()) NoteConsumer(c, ref, StreamAgain(c, ref), claim.group, claim.consumer);
  OwnerHost* owners = GroupOwnersOf(c, ref.key, claim.group);
  for (const PendingEntry& entry : claimed) {
    PutStreamPending(c, ref, claim.group, entry);
    if (owners != nullptr) owners->NoteGiven(c.change, ref, claim.group, entry.id);
  }
  for (StreamId id : gone)
    c.change.RemoveElement(ref, kStream, crdt::StreamPendingName(claim.group, id));
}

// What could be claimed was given by other leaders (policy `pop-owner`): they are asked, and the command waits. Where
// nobody may wait it is told that there is nothing, and finds some the next time.
bool AskClaimed(Context& c, const KeyRef& ref, const Claim& claim, const std::vector<StreamId>& foreign) {
  constexpr int64_t kAskMs = 10'000;
  OwnerHost* owners = GroupOwnersOf(c, ref.key, claim.group);
  if (owners == nullptr || foreign.empty()) return false;
  owners->WantPending(ref, claim.group, foreign);
  if (!c.may_wait) return false;
  WaitForElements(c, kStream, c.args.subspan(1, 1), kAskMs, false);
  c.wait.when_gone = true;
  c.wait.late =
      "TRYAGAIN the entries were given by other leaders (policy pop-owner), which did not hand them over; nothing was "
      "claimed";
  return true;
}

bool ReadMinIdle(Context& c, std::string_view error, Claim& claim) {
  const auto idle = ReadInteger(c, c.args[4], error);
  if (!idle) return false;
  claim.idle_ms = std::max<int64_t>(*idle, 0);
  return true;
}

// XCLAIM's options from the argument `i` on; `last` is LASTID.
bool ReadClaimOptions(Context& c, size_t i, Claim& claim, StreamId& last) {
  std::optional<int64_t> delivered;
  for (; i < c.count(); ++i) {
    const bool more = i + 1 < c.count();
    const std::string_view word = c.args[i];
    if (EqualsIgnoreCase(word, "force")) {
      claim.force = true;
    } else if (EqualsIgnoreCase(word, "justid")) {
      claim.only_ids = true;
    } else if (EqualsIgnoreCase(word, "idle") && more) {
      const auto idle = ReadInteger(c, c.args[++i], "ERR Invalid IDLE option argument for XCLAIM");
      if (!idle) return false;
      int64_t time = 0;
      delivered = __builtin_sub_overflow(c.now_ms, *idle, &time) ? c.now_ms : time;
    } else if (EqualsIgnoreCase(word, "time") && more) {
      delivered = ReadInteger(c, c.args[++i], "ERR Invalid TIME option argument for XCLAIM");
      if (!delivered) return false;
    } else if (EqualsIgnoreCase(word, "retrycount") && more) {
      const auto count =
          ReadInteger(c, c.args[++i], "ERR Invalid RETRYCOUNT option argument for XCLAIM");
      if (!count) return false;
      if (*count >= 0) claim.count = static_cast<uint64_t>(*count);
    } else if (EqualsIgnoreCase(word, "lastid") && more) {
      const auto id = ReadStreamId(c, c.args[++i]);
      if (!id) return false;
      last = *id;
    } else {
      std::string text = "ERR Unrecognized XCLAIM option '";
      return c.reply.Error(text.append(word).append("'")), false;
    }
  }
  claim.delivered_ms = delivered.value_or(c.now_ms);
  if (claim.delivered_ms < 0 || claim.delivered_ms > c.now_ms) claim.delivered_ms = c.now_ms;
  return true;
}

void Xclaim(Context& c) {
  const KeyRef ref = c.Ref(c.args[1]);
  auto group = OpenGroup(c, ref, c.args[2]);
  if (!group) return;
  Claim claim{.group = c.args[2], .consumer = c.args[3]};
  if (!ReadMinIdle(c, "ERR Invalid min-idle-time argument for XCLAIM", claim)) return;
  std::vector<StreamId> ids;
  size_t i = 5;
  for (; i < c.count(); ++i) {
    const auto id = ParseStreamId(c.args[i], 0);
    if (!id) break;
    ids.push_back(*id);
  }
  StreamId last;
  if (!ReadClaimOptions(c, i, claim, last) || !CheckStreamNames(c, claim.group, claim.consumer) ||
      !FitsPending(c,
                   ref.key,
                   claim.group,
                   claim.consumer,
                   ids.size() * (GroupOwnersOf(c, ref.key, claim.group) == nullptr ? 1 : 2)))
    return;
  const Stream& stream = group->stream;
  const bool moves = last > group->state.last;
  if (moves) {
    group->state.last = last;
    stream.DeliverUpTo(group->state, last);
    stream.Tidy(group->state);
  }
  // An id that comes again is claimed again, from what the first time has made of it; written is the last.
  std::vector<PendingEntry> claimed;
  std::map<StreamId, PendingEntry> written;
  std::set<StreamId> gone;
  std::vector<StreamId> foreign;
  OwnerHost* owners = GroupOwnersOf(c, ref.key, claim.group);
  for (StreamId id : ids) {
    const auto before = written.find(id);
    const auto pending =
        before != written.end() ? std::optional(before->second) : stream.FindPending(claim.group, id);
    if (!stream.Contains(id)) {
      if (pending) gone.insert(id);
      continue;
    }
    const auto now = Claimed(c, claim, id, pending);
    if (!now) continue;
    if (owners != nullptr && pending && before == written.end() &&
        !owners->OwnsPending(ref, stream, claim.group, id)) {
      foreign.push_back(id);
      continue;
    }
    claimed.push_back(*now);
    written.insert_or_assign(id, *now);
  }
  if (claimed.empty() && gone.empty() && !moves) {
    if (AskClaimed(c, ref, claim, foreign)) return;
  } else if (!foreign.empty()) {
    owners->WantPending(ref, claim.group, foreign);  // there is something to answer now: the next call finds them
  }
  ReplyClaimed(c, claim, stream, claimed);
  if (!moves && written.empty() && gone.empty()) return;
  std::vector<PendingEntry> writes;
  for (auto& [id, entry] : written)
    writes.push_back(std::move(entry));
  WriteClaimed(c, ref, claim, group->state, writes, {gone.begin(), gone.end()});
}

void Xautoclaim(Context& c) {
  Claim claim{.group = c.args[2], .consumer = c.args[3], .delivered_ms = c.now_ms};
  if (!ReadMinIdle(c, "ERR Invalid min-idle-time argument for XAUTOCLAIM", claim)) return;
  const auto from = ReadRangeStart(c, c.args[5]);
  if (!from) return;
  // For each that is claimed so many are looked at.
  constexpr uint64_t kAttempts = 10;
  constexpr uint64_t kForeignMax = 100;  // are asked for at once
  constexpr int64_t kCountMax = std::numeric_limits<int64_t>::max() / sizeof(StreamId);
  uint64_t count = 100;
  for (size_t i = 6; i < c.count(); ++i) {
    if (EqualsIgnoreCase(c.args[i], "count") && i + 1 < c.count()) {
      constexpr std::string_view kBadCount = "ERR COUNT must be > 0";
      const auto read = ReadInteger(c, c.args[++i], kBadCount);
      if (!read) return;
      if (*read < 1 || *read > kCountMax) return c.reply.Error(kBadCount);
      count = static_cast<uint64_t>(*read);
    } else if (EqualsIgnoreCase(c.args[i], "justid")) {
      claim.only_ids = true;
    } else {
      return ReplySyntaxError(c);
    }
  }
  const KeyRef ref = c.Ref(c.args[1]);
  const auto group = OpenGroup(c, ref, claim.group);
  if (!group || !CheckStreamNames(c, claim.group, claim.consumer)) return;
  // Under `pop-owner` the record of the owner goes with each.
  const size_t effects = GroupOwnersOf(c, ref.key, claim.group) == nullptr ? 1 : 2;
  count = std::min<uint64_t>(count, PendingMax(ref.key, claim.group, claim.consumer) / effects);
  const size_t foreign_max = std::min<uint64_t>(count, kForeignMax);
  const Stream& stream = group->stream;
  uint64_t attempts = count > UINT64_MAX / kAttempts ? UINT64_MAX : count * kAttempts;
  std::vector<PendingEntry> claimed;
  std::vector<StreamId> gone;
  std::vector<StreamId> foreign;
  OwnerHost* owners = GroupOwnersOf(c, ref.key, claim.group);
  StreamId next;
  stream.WalkPending(claim.group, *from, [&](const PendingEntry& entry) {
    if (attempts-- == 0 || count == 0) {
      next = entry.id;
      return false;
    }
    if (!stream.Contains(entry.id)) {
      gone.push_back(entry.id);
      --count;
      return true;
    }
    const auto now = Claimed(c, claim, entry.id, entry);
    if (!now) return true;
    if (owners != nullptr && !owners->OwnsPending(ref, stream, claim.group, entry.id)) {
      if (foreign.size() < foreign_max) foreign.push_back(entry.id);
      return true;
    }
    claimed.push_back(*now);
    --count;
    return true;
  });
  if (claimed.empty() && gone.empty()) {
    if (AskClaimed(c, ref, claim, foreign)) return;
  } else if (!foreign.empty()) {
    owners->WantPending(ref, claim.group, foreign);
  }
  c.reply.Array(3);
  ReplyStreamId(c, next);
  ReplyClaimed(c, claim, stream, claimed);
  c.reply.Array(gone.size());
  for (StreamId id : gone)
    ReplyStreamId(c, id);
  if (!claimed.empty() || !gone.empty()) WriteClaimed(c, ref, claim, group->state, claimed, gone);
}

}  // namespace

void AddStreamClaimRows(std::vector<Row>& rows) {
  // clang-format off: a row as few lines as it needs
  static constexpr Row kRows[] = {
      {.name = "xpending",
       .arity = -3,
       .flags = kReadonly,
       .keys = {1, 1, 1},
       .categories = "@read @stream @slow",
       .handler = Xpending,
       .summary = "Tells what a group's consumers were given and have not acknowledged",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(N) where N is the number of entries looked at; the summary looks at all",
       .syntax = "key:key group filters:{IDLE min-idle-time:integer?@6.2.0 start end count:integer "
                 "consumer?}?",
       .key_access = "RO access",
       .tips = "nondeterministic_output"},
      {.name = "xclaim",
       .arity = -6,
       .flags = kWrite | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @stream @fast",
       .handler = Xclaim,
       .summary = "Gives pending entries to another consumer",
       .since = "5.0.0",
       .group = "stream",
       .complexity = "O(log(N)) for each entry",
       .syntax =
           "key:key group consumer min-idle-time id* IDLE ms:integer? TIME "
           "unix-time-milliseconds:unix-time? RETRYCOUNT count:integer? FORCE? JUSTID? LASTID id?",
       .key_access = "RW update",
       .tips = "nondeterministic_output"},
      {.name = "xautoclaim",
       .arity = -6,
       .flags = kWrite | kFast,
       .keys = {1, 1, 1},
       .categories = "@write @stream @fast",
       .handler = Xautoclaim,
       .summary = "Gives entries that are pending for long to another consumer",
       .since = "6.2.0",
       .group = "stream",
       .complexity = "O(log(N)) for each entry",
       .syntax = "key:key group consumer min-idle-time start COUNT count:integer? JUSTID?",
       .key_access = "RW delete",
       .tips = "nondeterministic_output"},
  };
  // clang-format on
  rows.insert(rows.end(), std::begin(kRows), std::end(kRows));
}

}  // namespace polyarch::command
