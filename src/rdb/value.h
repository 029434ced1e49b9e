// Values in Redis's dump format (RDB version 10), as DUMP gives and RESTORE takes them: one byte
// for the encoding, the value, two bytes for the version, eight for a checksum. Reading takes all
// that Redis up to 7.2 writes for strings, lists, sets, sorted sets, hashes and streams; writing uses the
// plain encodings, which every Redis reads, and for streams the one of Redis 7.0. Pure functions of bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crdt/effect.h"
#include "crdt/stream.h"

namespace polyarch::rdb {

// A stream, by rising ids, with its groups.
struct StreamValue {
  struct Entry {
    crdt::StreamId id;
    std::vector<std::string> fields;  // and values in turn
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  struct Consumer {
    std::string name;
    int64_t seen_ms = 0;
    friend bool operator==(const Consumer&, const Consumer&) = default;
  };
  struct Pending {
    crdt::StreamId id;
    std::string consumer;
    int64_t delivered_ms = 0;
    uint64_t count = 0;
    friend bool operator==(const Pending&, const Pending&) = default;
  };
  struct Group {
    std::string name;
    crdt::StreamId last;
    int64_t entries_read = -1;  // -1: not known
    std::vector<Consumer> consumers;
    std::vector<Pending> pending;  // by rising ids
    friend bool operator==(const Group&, const Group&) = default;
  };
  std::vector<Entry> entries;
  crdt::StreamId last;
  crdt::StreamId deleted;  // the highest one
  uint64_t added = 0;      // entries ever
  std::vector<Group> groups;
  friend bool operator==(const StreamValue&, const StreamValue&) = default;
};

struct Value {
  crdt::Type type = crdt::Type::kString;
  std::string text;                                         // kString
  std::vector<std::string> items;                           // kList, in order; kSet, each once
  std::vector<std::pair<std::string, std::string>> fields;  // kHash: each name once
  std::vector<std::pair<std::string, double>> members;      // kSortedSet: each name once, no NaN
  StreamValue stream;                                       // kStream

  friend bool operator==(const Value&, const Value&) = default;
};

enum class ReadStatus : uint8_t {
  kOk,
  kBadSum,  // too short, of a later version, or the checksum is wrong
  kMalformed,
  kTooLarge,     // its strings are larger than the limit
  kUnsupported,  // a value of a module
};

// `limit`: how many bytes of strings it may hold (compressed ones are short in the payload).
ReadStatus ReadDump(std::string_view payload, size_t limit, Value& value);
std::string WriteDump(const Value& value);

// The same without version and checksum.
ReadStatus ReadBody(std::string_view body, size_t limit, Value& value);
void WriteBody(const Value& value, std::string& out);

// A piece of a value as a FileReader gives it (rdb/file_reader.h). Of collections it is a body; of a stream
// it is nodes, and behind the last of them what tells of the whole.
ReadStatus ReadPiece(std::string_view piece, size_t limit, Value& value);

// Appends version and checksum; takes them away if they are right.
void PutFooter(std::string& body);
std::optional<std::string_view> BodyOfDump(std::string_view payload);

}  // namespace polyarch::rdb
