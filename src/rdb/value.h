// Values in Redis's dump format (RDB version 10), as DUMP gives and RESTORE takes them: one byte
// for the encoding, the value, two bytes for the version, eight for a checksum. Reading takes all
// that Redis up to 7.0 writes for strings, lists, sets, sorted sets and hashes; writing uses the
// plain encodings, which every Redis reads. Pure functions of bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crdt/effect.h"

namespace polyarch::rdb {

struct Value {
  crdt::Type type = crdt::Type::kString;
  std::string text;                                         // kString
  std::vector<std::string> items;                           // kList, in order; kSet, each once
  std::vector<std::pair<std::string, std::string>> fields;  // kHash: each name once
  std::vector<std::pair<std::string, double>> members;      // kSortedSet: each name once, no NaN

  friend bool operator==(const Value&, const Value&) = default;
};

enum class ReadStatus : uint8_t {
  kOk,
  kBadSum,  // too short, of a later version, or the checksum is wrong
  kMalformed,
  kTooLarge,     // its strings are larger than the limit
  kUnsupported,  // a stream, or a value of a module
};

// `limit`: how many bytes of strings it may hold (compressed ones are short in the payload).
ReadStatus ReadDump(std::string_view payload, size_t limit, Value& value);
std::string WriteDump(const Value& value);

// The same without version and checksum.
ReadStatus ReadBody(std::string_view body, size_t limit, Value& value);
void WriteBody(const Value& value, std::string& out);

}  // namespace polyarch::rdb
