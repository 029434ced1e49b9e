// What the commands on streams share. Whatever returns false (or nothing) has given the error
// reply.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "command/collection.h"
#include "command/context.h"
#include "command/table.h"
#include "keyspace/stream.h"
#include "rdb/value.h"

namespace polyarch::command {

inline constexpr crdt::Type kStream = crdt::Type::kStream;

// ---- ids as clients write them (stream_support.cc)
// "ms-seq", or "ms" with `missing_seq`. Nothing, and no reply, if it is none.
std::optional<crdt::StreamId> ParseStreamId(std::string_view text, uint64_t missing_seq);
// The same with the reply.
std::optional<crdt::StreamId> ReadStreamId(Context& c,
                                           std::string_view text,
                                           uint64_t missing_seq = 0);
// The ends of a range: "-", "+", an id, or "(" and an id.
std::optional<crdt::StreamId> ReadRangeStart(Context& c, std::string_view text);
std::optional<crdt::StreamId> ReadRangeEnd(Context& c, std::string_view text);

void ReplyStreamId(Context& c, crdt::StreamId id);
void ReplyStreamEntry(Context& c, crdt::StreamId id, const crdt::StreamEntry& entry);
// All entries of a range, as an array; at most `count`.
void ReplyStreamRange(Context& c,
                      const keyspace::Stream& stream,
                      crdt::StreamId from,
                      crdt::StreamId to,
                      bool reverse,
                      size_t count);

// ---- streams and groups
std::optional<keyspace::Stream> OpenStream(Context& c, const keyspace::KeyRef& ref);
// The same in a change that has written to the stream.
keyspace::Stream StreamAgain(Context& c, const keyspace::KeyRef& ref);
// Are group's and consumer's names short enough?
bool CheckStreamNames(Context& c, std::string_view group, std::string_view consumer = {});
// "NOGROUP No such key 'k' or consumer group 'g'" and `tail`.
void ReplyNoGroup(Context& c,
                  std::string_view key,
                  std::string_view group,
                  std::string_view tail = {});
// The stream and its group, both of which must be there.
struct OpenedGroup {
  keyspace::Stream stream;
  crdt::StreamGroup state;
};
std::optional<OpenedGroup> OpenGroup(Context& c,
                                     const keyspace::KeyRef& ref,
                                     std::string_view group);

// Null: each leader gives what the group was not given (policies other than `pop-owner`).
OwnerHost* GroupOwnersOf(Context& c, std::string_view key, std::string_view group);

void PutStreamMeta(Context& c, const keyspace::KeyRef& ref, const crdt::StreamMeta& meta);
// Whatever is written of a group is written with the group itself, so that it stays if another
// leader destroys the group, or deletes the key, at the same time.
void PutStreamGroup(Context& c,
                    const keyspace::KeyRef& ref,
                    std::string_view group,
                    const crdt::StreamGroup& state);
void PutStreamPending(Context& c,
                      const keyspace::KeyRef& ref,
                      std::string_view group,
                      const keyspace::PendingEntry& pending);
// The consumer is seen now: written if it is new, or was seen last some time ago.
void NoteConsumer(Context& c,
                  const keyspace::KeyRef& ref,
                  const keyspace::Stream& stream,
                  std::string_view group,
                  std::string_view consumer);
// Do so many pending entries fit into a change?
bool FitsPending(Context& c,
                 std::string_view key,
                 std::string_view group,
                 std::string_view consumer,
                 size_t entries);
// How many fit, beside `others_bytes` of other effects: as a rule the group itself, with a cursor a lane.
inline constexpr size_t kStreamGroupBytesMax = size_t{4} << 20;
size_t PendingMax(std::string_view key,
                  std::string_view group,
                  std::string_view consumer,
                  size_t others_bytes = kStreamGroupBytesMax);

// Redis's count of the entries up to `id` that were ever added, from what the stream remembers; -1
// if that does not tell.
int64_t EntriesReadAt(const keyspace::Stream& stream, crdt::StreamId id);
// Might entries beyond `id` have been deleted?
bool HasDeletedBeyond(const keyspace::Stream& stream, crdt::StreamId id);

// The group has been given everything that stands here up to `id`. Entries that come late were not
// meant; if `id` is beyond all that was ever here, what comes up to there was.
crdt::StreamGroup GroupAt(const keyspace::Stream& stream, crdt::StreamId id, int64_t entries_read);

// ---- DUMP and RESTORE (stream_dump.cc)
rdb::StreamValue DumpedStream(const keyspace::Stream& stream);
bool FitsRestoredStream(Context& c, std::string_view key, const rdb::StreamValue& value);
// The key shows nothing.
void PutRestoredStream(Context& c, const keyspace::KeyRef& ref, const rdb::StreamValue& value);

void AddStreamReadRows(std::vector<Row>& rows);   // stream_read.cc
void AddStreamGroupRows(std::vector<Row>& rows);  // stream_group.cc
void AddStreamClaimRows(std::vector<Row>& rows);  // stream_claim.cc
void AddStreamInfoRows(std::vector<Row>& rows);   // stream_info.cc

// How many entries a node of Redis's streams holds (`stream-node-max-entries`).
size_t StreamNodeEntries(Context& c);

}  // namespace polyarch::command
