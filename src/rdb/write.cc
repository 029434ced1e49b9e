#include <algorithm>
#include <bit>

#include "base/codec.h"
#include "rdb/encodings.h"
#include "rdb/libraries.h"
#include "rdb/put.h"
#include "rdb/stream.h"
#include "rdb/value.h"

namespace polyarch::rdb {

namespace {

void PutEncoding(std::string& out, Encoding encoding) {
  out.push_back(static_cast<char>(encoding));
}

void PutId(std::string& out, crdt::StreamId id) {
  PutLength(out, id.ms);
  PutLength(out, id.seq);
}

void PutStream(std::string& out, const StreamValue& stream) {
  const std::vector<StreamNode> nodes = WriteStreamNodes(stream.entries);
  PutLength(out, nodes.size());
  for (const StreamNode& node : nodes) {
    PutString(out, StreamIdBytes(node.first));
    PutString(out, node.listpack);
  }
  PutLength(out, stream.entries.size());
  PutId(out, stream.last);
  PutId(out, stream.entries.empty() ? crdt::StreamId{} : stream.entries.front().id);
  PutId(out, stream.deleted);
  PutLength(out, stream.added);
  PutLength(out, stream.groups.size());
  for (const StreamValue::Group& group : stream.groups) {
    PutString(out, group.name);
    PutId(out, group.last);
    PutLength(out, static_cast<uint64_t>(group.entries_read));
    PutLength(out, group.pending.size());
    for (const StreamValue::Pending& pending : group.pending) {
      out += StreamIdBytes(pending.id);
      base::PutFixed64(out, static_cast<uint64_t>(pending.delivered_ms));
      PutLength(out, pending.count);
    }
    PutLength(out, group.consumers.size());
    for (const StreamValue::Consumer& consumer : group.consumers) {
      PutString(out, consumer.name);
      base::PutFixed64(out, static_cast<uint64_t>(consumer.seen_ms));
      const auto own = [&](const StreamValue::Pending& p) {
        return p.consumer == consumer.name;
      };
      PutLength(out,
                static_cast<uint64_t>(
                    std::count_if(group.pending.begin(), group.pending.end(), own)));
      for (const StreamValue::Pending& pending : group.pending) {
        if (own(pending)) out += StreamIdBytes(pending.id);
      }
    }
  }
}

}  // namespace

void PutLength(std::string& out, uint64_t length) {
  if (length < 1U << 6) {
    out.push_back(static_cast<char>(length));
  } else if (length < 1U << 14) {
    out.push_back(static_cast<char>(0x40 | length >> 8));
    out.push_back(static_cast<char>(length));
  } else {
    const bool is_long = length > UINT32_MAX;
    out.push_back(static_cast<char>(is_long ? 0x81 : 0x80));
    for (int shift = is_long ? 56 : 24; shift >= 0; shift -= 8)
      out.push_back(static_cast<char>(length >> shift));
  }
}

void PutString(std::string& out, std::string_view text) {
  PutLength(out, text.size());
  out.append(text);
}

void WriteBody(const Value& value, std::string& out) {
  switch (value.type) {
    case crdt::Type::kString:
      PutEncoding(out, Encoding::kString);
      PutString(out, value.text);
      return;
    case crdt::Type::kList:
    case crdt::Type::kSet:
      PutEncoding(out, value.type == crdt::Type::kSet ? Encoding::kSet : Encoding::kList);
      PutLength(out, value.items.size());
      for (const std::string& item : value.items)
        PutString(out, item);
      return;
    case crdt::Type::kHash:
      PutEncoding(out, Encoding::kHash);
      PutLength(out, value.fields.size());
      for (const auto& [name, text] : value.fields) {
        PutString(out, name);
        PutString(out, text);
      }
      return;
    case crdt::Type::kSortedSet:
      PutEncoding(out, Encoding::kSortedSet);
      PutLength(out, value.members.size());
      for (const auto& [name, score] : value.members) {
        PutString(out, name);
        base::PutFixed64(out, std::bit_cast<uint64_t>(score));
      }
      return;
    case crdt::Type::kStream:
      PutEncoding(out, Encoding::kStream2);
      PutStream(out, value.stream);
      return;
  }
}

void WriteLibrariesBody(std::span<const std::string_view> sources, std::string& out) {
  for (std::string_view source : sources) {
    out.push_back(static_cast<char>(kLibraryOpcode));
    PutString(out, source);
  }
}

}  // namespace polyarch::rdb
