#include "moving/write_value.h"

#include <cmath>
#include <cstdio>
#include <initializer_list>
#include <vector>

#include "base/number.h"
#include "base/try.h"
#include "cli/text.h"
#include "rdb/value.h"

namespace polyarch::moving {

namespace {

constexpr size_t kPieceBytes = 1 << 20;
// Of one command that writes a piece.
constexpr size_t kWordsMax = 2000;
constexpr size_t kBytesMax = 1 << 20;
// Of a piece, unpacked: what is packed is not divided.
constexpr size_t kUnpackedMax = size_t{1} << 31;
// A whole stream goes by RESTORE up to this size, packed: commands lose what is pending of entries
// that were deleted.
constexpr size_t kStreamBytesMax = 8 << 20;

std::string ScoreText(double score) {
  if (std::isinf(score)) return score > 0 ? "inf" : "-inf";
  char text[64];
  return {text, static_cast<size_t>(std::snprintf(text, sizeof text, "%.17g", score))};
}

// Collects the words of commands that add to one key, and writes them in parts.
class Adder {
 public:
  Adder(Leader& leader, std::string_view command, std::string_view key, uint64_t mark)
      : leader_(leader), words_{command, key}, mark_(mark) {}

  // What belongs together.
  base::Status Add(std::initializer_list<std::string_view> words) {
    words_.insert(words_.end(), words);
    for (std::string_view word : words)
      bytes_ += word.size();
    return words_.size() < kWordsMax && bytes_ < kBytesMax ? base::Status() : Write();
  }
  base::Status Write() {
    if (words_.size() == 2) return {};
    base::Status status = leader_.Write(words_, mark_);
    words_.resize(2);
    bytes_ = 0;
    return status;
  }

 private:
  Leader& leader_;
  std::vector<std::string_view> words_;
  size_t bytes_ = 0;
  const uint64_t mark_;
};

base::Status WriteItems(Leader& leader,
                        const rdb::FileItem& item,
                        const rdb::Value& value,
                        uint64_t mark) {
  Adder adder(leader, value.type == crdt::Type::kSet ? "SADD" : "RPUSH", item.name, mark);
  for (const std::string& one : value.items)
    TRY(adder.Add({one}));
  return adder.Write();
}

base::Status WriteFields(Leader& leader,
                         const rdb::FileItem& item,
                         const rdb::Value& value,
                         uint64_t mark) {
  Adder adder(leader, "HSET", item.name, mark);
  for (const auto& [name, text] : value.fields)
    TRY(adder.Add({name, text}));
  return adder.Write();
}

base::Status WriteMembers(Leader& leader,
                          const rdb::FileItem& item,
                          const rdb::Value& value,
                          uint64_t mark) {
  // The adder keeps views.
  std::vector<std::string> scores;
  scores.reserve(value.members.size());
  for (const auto& [name, score] : value.members)
    scores.push_back(ScoreText(score));
  Adder adder(leader, "ZADD", item.name, mark);
  for (size_t i = 0; i < scores.size(); ++i)
    TRY(adder.Add({scores[i], value.members[i].first}));
  return adder.Write();
}

base::Status CreateGroup(Leader& leader,
                         std::string_view key,
                         const rdb::StreamValue::Group& group,
                         uint64_t mark) {
  return leader.Write({"XGROUP",
                       "CREATE",
                       key,
                       group.name,
                       crdt::ToString(group.last),
                       "MKSTREAM",
                       "ENTRIESREAD",
                       base::FormatInt64(group.entries_read)},
                      mark);
}

base::Status WriteGroup(Leader& leader,
                        std::string_view key,
                        const rdb::StreamValue::Group& group,
                        uint64_t mark) {
  for (const rdb::StreamValue::Consumer& consumer : group.consumers)
    TRY(leader.Write({"XGROUP", "CREATECONSUMER", key, group.name, consumer.name}, mark));
  for (const rdb::StreamValue::Pending& pending : group.pending) {
    TRY(leader.Write({"XCLAIM",
                      key,
                      group.name,
                      pending.consumer,
                      "0",
                      crdt::ToString(pending.id),
                      "TIME",
                      base::FormatInt64(pending.delivered_ms),
                      "RETRYCOUNT",
                      base::FormatInt64(static_cast<int64_t>(pending.count)),
                      "FORCE",
                      "JUSTID"},
                     mark,
                     "what is pending of an entry that was deleted cannot be written"));
  }
  return {};
}

base::Status WriteStream(Leader& leader,
                         const rdb::FileItem& item,
                         rdb::Value& value,
                         uint64_t mark) {
  for (const rdb::StreamValue::Entry& entry : value.stream.entries) {
    const std::string id = crdt::ToString(entry.id);
    std::vector<std::string_view> words = {"XADD", item.name, id};
    words.insert(words.end(), entry.fields.begin(), entry.fields.end());
    TRY(leader.Write(words, mark));
  }
  if (!item.last) return {};
  // They make the stream, if it has no entries.
  for (const rdb::StreamValue::Group& group : value.stream.groups)
    TRY(CreateGroup(leader, item.name, group, mark));
  TRY(leader.Write({"XSETID",
                    item.name,
                    crdt::ToString(value.stream.last),
                    "ENTRIESADDED",
                    base::FormatInt64(static_cast<int64_t>(value.stream.added)),
                    "MAXDELETEDID",
                    crdt::ToString(value.stream.deleted)},
                   mark));
  for (rdb::StreamValue::Group& group : value.stream.groups) {
    TRY(WriteGroup(leader, item.name, group, mark));
    group = {};  // there may be millions that are pending
  }
  return {};
}

base::Status WritePiece(Leader& leader,
                        const rdb::FileItem& item,
                        rdb::Value& value,
                        uint64_t mark) {
  switch (value.type) {
    case crdt::Type::kString:
      return leader.Write({"SET", item.name, value.text}, mark);
    case crdt::Type::kList:
    case crdt::Type::kSet:
      return WriteItems(leader, item, value, mark);
    case crdt::Type::kHash:
      return WriteFields(leader, item, value, mark);
    case crdt::Type::kSortedSet:
      return WriteMembers(leader, item, value, mark);
    case crdt::Type::kStream:
      return WriteStream(leader, item, value, mark);
  }
  return {};
}

}  // namespace

rdb::ReaderLimits LimitsFor(const Leader& leader) {
  rdb::ReaderLimits limits;
  limits.piece_bytes = kPieceBytes;
  limits.string_bytes_max = leader.string_bytes_max();
  return limits;
}

base::Status WriteValue(Leader& leader,
                        const rdb::FileItem& item,
                        std::optional<int64_t> expire_ms,
                        uint64_t mark) {
  const std::string expiry = expire_ms ? base::FormatInt64(*expire_ms) : "0";
  const auto encoding = static_cast<rdb::Encoding>(static_cast<uint8_t>(item.text[0]));
  const auto refuse = [&](const std::string& why) {
    leader.Refused(cli::Printable(item.name) + ": " + why);
  };
  if (item.oversize != 0) {
    refuse("a string of " + std::to_string(item.oversize) +
           " bytes in it is more than the leader takes (" +
           std::to_string(leader.string_bytes_max()) + ", --max-bulk); it is left empty");
    if (encoding == rdb::Encoding::kString) return {};
  }
  const bool stream = encoding == rdb::Encoding::kStream || encoding == rdb::Encoding::kStream2 ||
                      encoding == rdb::Encoding::kStream3;
  if (encoding != rdb::Encoding::kString && item.first && item.last &&
      (item.cost <= 2 * kPieceBytes || (stream && item.text.size() <= kStreamBytesMax))) {
    std::string payload = item.text;
    rdb::PutFooter(payload);
    return leader.Write({"RESTORE", item.name, expiry, payload, "REPLACE", "ABSTTL"}, mark);
  }
  rdb::Value value;
  if (rdb::ReadPiece(item.text, kUnpackedMax, value) != rdb::ReadStatus::kOk) {
    refuse("its value is malformed in the source");
    return {};
  }
  if (encoding == rdb::Encoding::kString) {
    return expire_ms ? leader.Write({"SET", item.name, value.text, "PXAT", expiry}, mark)
                     : leader.Write({"SET", item.name, value.text}, mark);
  }
  if (item.first) TRY(leader.Write({"DEL", item.name}, mark));
  TRY(WritePiece(leader, item, value, mark));
  if (item.last && expire_ms) TRY(leader.Write({"PEXPIREAT", item.name, expiry}, mark));
  return {};
}

}  // namespace polyarch::moving
