#include "sim/tracked_streams.h"

#include <algorithm>
#include <set>

#include "base/number.h"
#include "keyspace/stream.h"
#include "sim/marks.h"
#include "sim/node.h"

namespace polyarch::sim {

namespace {

using crdt::StreamId;

StreamId IdOf(std::string_view text) {
  const size_t dash = text.find('-');
  return {std::stoull(std::string(text.substr(0, dash))), std::stoull(std::string(text.substr(dash + 1)))};
}

keyspace::Stream Open(Node& node, const Key& key) {
  keyspace::Keyspace& keys = node.engine().keys();
  return keyspace::Stream(keys.Open(keys.Ref(key.first, key.second), crdt::Type::kStream));
}

constexpr std::string_view kGroup = "g";

}  // namespace

bool TrackedStreams::Gone(const Entry& entry, const Vector& applied) {
  return std::any_of(entry.removes.begin(), entry.removes.end(), [&](const Act& remove) {
    return Covers(applied, remove.dot) && Covers(remove.seen, entry.added);
  });
}

void TrackedStreams::Note(Node& node, const Op& op) {
  if (op.reply.is_error()) return;
  const Key& key = op.keys[0];
  Entries& entries = streams_[key];
  const Dot dot{op.origin, op.last};
  Act act{dot, node.applied()};
  Raise(act.seen, op.origin, op.last);
  const std::string& name = op.args[0];
  if (name == "XADD") {
    Entry& entry = entries[IdOf(op.reply.text)];
    if (entry.added.sequence != 0) throw Violation("two leaders make up the id " + op.reply.text);
    entry.added = dot;
  } else if (name == "XACK") {
    for (size_t i = 3; i < op.args.size(); ++i) {
      auto entry = entries.find(IdOf(op.args[i]));
      if (entry != entries.end()) entry->second.acks.push_back(act);
    }
  } else if (name == "XREADGROUP") {
    if (op.reply.items.empty()) return;
    StreamId last;
    for (const resp::Value& item : op.reply.items[0].items[1].items) {
      const StreamId id = IdOf(item.items[0].text);
      auto entry = entries.find(id);
      if (entry == entries.end() || id <= last)
        throw Violation(node.name() + " gives the group " + item.items[0].text + ", out of order or never added");
      for (const auto& [other, with] : entries) {
        const bool given = std::any_of(with.deliveries.begin(), with.deliveries.end(),
                                       [&](const Act& d) { return Covers(act.seen, d.dot) && d.dot != dot; });
        if (given && other > id) SOMETIMES(kLateEntry);
      }
      if (!entry->second.deliveries.empty()) SOMETIMES(kDeliveredTwice);
      entry->second.deliveries.push_back(act);
      last = id;
    }
  } else if (name == "XDEL") {
    entries.at(IdOf(op.args[2])).removes.push_back(act);
  } else if (name == "XTRIM") {
    // The first ones of those that were there.
    for (auto& [id, entry] : entries) {
      const keyspace::Stream stream = Open(node, key);
      const auto first = stream.first();
      if (first && !(id < *first)) continue;
      (Covers(act.seen, entry.added) ? entry.removes : entry.spared).push_back(act);
    }
  }
}

void TrackedStreams::Check(Node& node) const {
  const Vector& applied = node.applied();
  for (const auto& [key, entries] : streams_) {
    const keyspace::Stream stream = Open(node, key);
    const auto group = stream.FindGroup(kGroup);
    std::set<StreamId> undelivered;
    if (group) {
      for (const auto& item : stream.Undelivered(kGroup, *group, SIZE_MAX)) undelivered.insert(item.id);
      if (stream.CountUndelivered(kGroup, *group) != undelivered.size())
        throw Violation(node.name() + " counts other undelivered entries than it has");
    }
    size_t count = 0;
    size_t pending = 0;
    for (const auto& [id, entry] : entries) {
      const std::string text = crdt::ToString(id) + " of stream " + key.second;
      const bool known = Covers(applied, entry.added);
      const bool there = known && !Gone(entry, applied);
      if (there != stream.Contains(id))
        throw Violation(node.name() + (there ? " has lost " : " still has ") + text);
      if (there) ++count;
      auto is_known = [&](const Act& act) { return Covers(applied, act.dot); };
      if (there && std::any_of(entry.spared.begin(), entry.spared.end(), is_known)) SOMETIMES(kRangeBesideAdd);
      const bool given = std::any_of(entry.deliveries.begin(), entry.deliveries.end(), is_known);
      if (group && there && given == (undelivered.count(id) != 0)) {
        throw Violation(node.name() + (given ? " would give the group again " : " will never give the group ") + text);
      }
      const bool open = std::any_of(entry.deliveries.begin(), entry.deliveries.end(), [&](const Act& delivery) {
        return is_known(delivery) && std::none_of(entry.acks.begin(), entry.acks.end(), [&](const Act& ack) {
                 return is_known(ack) && Covers(ack.seen, delivery.dot);
               });
      });
      if (open) ++pending;
      if (open != stream.FindPending(kGroup, id).has_value())
        throw Violation(node.name() + (open ? " has forgotten that it gave " : " still waits for an answer to ") + text);
    }
    if (stream.length() != count) throw Violation(node.name() + " shows an entry of " + key.second + " that nobody added");
    if (stream.CountPending(kGroup) != pending)
      throw Violation(node.name() + " has pending entries in " + key.second + " that nobody was given");
  }
}

}  // namespace polyarch::sim
