// Writes an RDB file (version 10, which Redis 7.0 reads), key by key, from bodies as DUMP gives
// them. It keeps no more than what has not been taken yet.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "crdt/effect.h"

namespace polyarch::rdb {

// An element of a collection: an item; of a hash a field with its value, of a sorted set a member
// with its score.
void PutElement(std::string& out, std::string_view item);
void PutElement(std::string& out, std::string_view field, std::string_view value);
void PutElement(std::string& out, std::string_view member, double score);

class FileWriter {
 public:
  // The header.
  FileWriter();

  void Aux(std::string_view name, std::string_view value);
  // Libraries of functions, as in the body of FUNCTION DUMP.
  void Libraries(std::string_view body) { out_.append(body); }
  // The keys that follow are of this database.
  void Database(int database);
  // `body`: a value's encoding and bytes (rdb/value.h). `expire_ms`: since 1970.
  void Key(std::string_view key, std::string_view body, std::optional<int64_t> expire_ms);
  // The same of a large collection, whose `count` elements follow.
  void Begin(std::string_view key,
             crdt::Type type,
             uint64_t count,
             std::optional<int64_t> expire_ms);
  // As PutElement writes them.
  void Elements(std::string_view bytes) { out_.append(bytes); }
  // The end, with its checksum.
  void End();

  size_t size() const { return out_.size(); }
  // What has been written since the last time.
  std::string Take();

 private:
  void Head(std::string_view key, uint8_t encoding, std::optional<int64_t> expire_ms);

  std::string out_;
  uint64_t sum_ = 0;  // of what was taken
};

}  // namespace polyarch::rdb
