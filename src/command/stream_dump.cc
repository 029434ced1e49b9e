// Streams in Redis's dump format. It knows one last id of a group: what had come late is lost, or
// given again.
#include "command/stream.h"
#include "command/support.h"

namespace polyarch::command {

using crdt::StreamId;
using keyspace::KeyRef;
using keyspace::Stream;

rdb::StreamValue DumpedStream(const Stream& stream) {
  rdb::StreamValue value;
  const crdt::StreamMeta meta = stream.meta();
  value.last = stream.LastId(meta);
  value.deleted = meta.deleted;
  value.added = stream.length() + meta.removed;
  stream.Walk({}, crdt::kStreamIdMax, false, [&](StreamId id, const crdt::StreamEntry& entry) {
    // An entry without fields is none in this format; only a broken peer makes one.
    if (entry.fields.empty() || entry.fields.size() % 2 != 0) return true;
    value.entries.push_back({id, {entry.fields.begin(), entry.fields.end()}});
    return true;
  });
  for (const std::string& name : stream.Groups()) {
    const crdt::StreamGroup state = *stream.FindGroup(name);
    rdb::StreamValue::Group& group = value.groups.emplace_back();
    group.name = name;
    group.last = state.last;
    group.entries_read = state.entries_read;
    for (const Stream::Consumer& consumer : stream.Consumers(name))
      group.consumers.push_back({consumer.name, consumer.seen_ms});
    stream.WalkPending(name, {}, [&](const keyspace::PendingEntry& pending) {
      group.pending.push_back({pending.id, pending.consumer, pending.delivered_ms, pending.count});
      return true;
    });
  }
  return value;
}

bool FitsRestoredStream(Context& c, std::string_view key, const rdb::StreamValue& value) {
  size_t bytes = 0;
  size_t elements = 4;
  for (const rdb::StreamValue::Entry& entry : value.entries) {
    for (const std::string& field : entry.fields)
      bytes += field.size() + 5;
    ++elements;
  }
  for (const rdb::StreamValue::Group& group : value.groups) {
    if (!CheckStreamNames(c, group.name)) return false;
    bytes += group.name.size();
    for (const rdb::StreamValue::Consumer& consumer : group.consumers) {
      if (!CheckStreamNames(c, group.name, consumer.name)) return false;
      bytes += group.name.size() + consumer.name.size();
    }
    for (const rdb::StreamValue::Pending& pending : group.pending)
      bytes += group.name.size() + pending.consumer.size();
    elements += 1 + group.consumers.size() + group.pending.size();
  }
  return FitsElements(c, key, bytes, elements);
}

void PutRestoredStream(Context& c, const KeyRef& ref, const rdb::StreamValue& value) {
  PutStreamMeta(c,
                ref,
                {value.last,
                 value.deleted,
                 value.added - std::min<uint64_t>(value.added, value.entries.size())});
  for (const rdb::StreamValue::Entry& entry : value.entries) {
    const std::vector<std::string_view> fields(entry.fields.begin(), entry.fields.end());
    c.change.PutElement(
        ref, kStream, crdt::StreamEntryName(entry.id), crdt::EncodeStreamEntry(fields));
  }
  const Stream stream = StreamAgain(c, ref);
  std::vector<crdt::StreamGroup> states;
  for (const rdb::StreamValue::Group& group : value.groups)
    states.push_back(GroupAt(stream, group.last, group.entries_read));
  for (size_t i = 0; i < states.size(); ++i) {
    const rdb::StreamValue::Group& group = value.groups[i];
    PutStreamGroup(c, ref, group.name, states[i]);
    for (const rdb::StreamValue::Consumer& consumer : group.consumers) {
      c.change.PutElement(ref,
                          kStream,
                          crdt::StreamConsumerName(group.name, consumer.name),
                          crdt::EncodeStreamSeen(consumer.seen_ms));
    }
    for (const rdb::StreamValue::Pending& pending : group.pending) {
      PutStreamPending(
          c, ref, group.name, {pending.id, pending.consumer, pending.delivered_ms, pending.count});
    }
  }
}

}  // namespace polyarch::command
