// Row and record formats of the store and of the log's local records. docs/FORMATS.md, "rows 1".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clock/origin.h"
#include "clock/version_vector.h"
#include "crdt/key_state.h"
#include "log/log.h"

namespace polyarch::engine {

inline constexpr char kFormatRowKey[] = "format";
inline constexpr char kCheckpointRowKey[] = "checkpoint";
inline constexpr char kOriginRowPrefix[] = "origin/";
inline constexpr char kStoreFormat[] = "1";

// slot (2 bytes, big-endian), db (1), key length (2, big-endian), key.
std::string DataRowKey(uint8_t db, std::string_view key);
bool ParseDataRowKey(std::string_view row_key, uint8_t& db, std::string_view& key);

// version byte, the log position that the row reflects, the state.
std::string EncodeDataRow(log::Position position, const crdt::KeyState& state);
bool DecodeDataRow(std::string_view row, log::Position& position, crdt::KeyState& state);

std::string OriginRowKey(size_t index);
std::string EncodeOriginRow(const clock::Origin& origin);
bool DecodeOriginRow(std::string_view row, clock::Origin& origin);

// Local records of the log.
enum class LocalRecord : uint8_t { kIdentity = 1, kLease = 2 };
struct Identity {
  uint64_t cluster = 0;
  std::string leader;
  bool admitted = false;
  uint64_t join_nonce = 0;
};
std::string EncodeLease(uint64_t lease_ms);
std::string EncodeIdentity(const Identity& identity);
bool DecodeLocal(std::string_view payload,
                 LocalRecord& type,
                 Identity& identity,
                 uint64_t& lease_ms);

// "eu.0123456789abcdef:17 ...": VersionVector::ToString back. Unreadable words are passed over.
clock::VersionVector ParseVector(std::string_view text, clock::OriginTable& origins);
std::vector<std::string_view> SplitWords(std::string_view text);

}  // namespace polyarch::engine
