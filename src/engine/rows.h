// Row and record formats of the store and of the log's local records. docs/FORMATS.md, "rows 1".
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "clock/origin.h"
#include "clock/version_vector.h"
#include "crdt/key_state.h"
#include "log/log.h"
#include "replication/origin_row.h"

namespace polyarch::engine {

inline constexpr char kFormatRowKey[] = "format";
inline constexpr char kCheckpointRowKey[] = "checkpoint";
// The position that the stored ledger reflects: with each batch of rows all that was noted is written. 8 bytes.
inline constexpr char kLedgerPositionRowKey[] = "ledger-position";
inline constexpr char kVotesRowKey[] = "votes";   // what an elector keeps once
inline constexpr char kVoteRowPrefix[] = "vote/";  // and of each key (sync/records.h)
inline constexpr char kOriginRowPrefix[] = "origin/";
inline constexpr char kStoreFormat[] = "1";

// slot (2 bytes, big-endian), db (1), key length (2, big-endian), key; of an element's row then its
// type (1) and name. So a key's rows stand together, its own first.
std::string DataRowKey(uint8_t db, std::string_view key);
std::string ElementRowPrefix(uint8_t db, std::string_view key, crdt::Type type);
std::string ElementRowKey(uint8_t db,
                          std::string_view key,
                          crdt::Type type,
                          std::string_view element);
struct DataRowName {
  uint8_t db = 0;
  std::string_view key;
  crdt::Type type = crdt::Type::kString;  // anything else: an element's row
  std::string_view element;
};
bool ParseDataRowKey(std::string_view row_key, DataRowName& name);
std::string RowKeyOf(const DataRowName& name);

// version byte, the log position that the row reflects, the state; then the types (a bit each) whose
// elements have rows of their own.
struct DataRow {
  log::Position position = 0;
  crdt::KeyState state;
  uint8_t spilled = 0;
};
std::string EncodeDataRow(log::Position position, const crdt::KeyState& state, uint8_t spilled = 0);
bool DecodeDataRow(std::string_view row, DataRow& out);
// version byte, position, the element's register.
std::string EncodeElementRow(log::Position position, const crdt::Register& state);
bool DecodeElementRow(std::string_view row, log::Position& position, crdt::Register& state);
// Either: of an element `out.state` holds that one element and nothing else.
bool DecodeAnyRow(const DataRowName& name, std::string_view row, DataRow& out);
std::string EncodeAnyRow(const DataRowName& name, const DataRow& row);

// Which effects the rows that were read reflect already: those up to a row's position. Rows that are no
// newer than the replay's beginning need not be noted.
class RowPositions {
 public:
  void Note(const DataRowName& name, log::Position position, uint8_t spilled);
  // Is what the record that ends at `end` did to the key's own register and expiry (kString), or to the
  // element, in its row? (An element without a row of its own is in its key's, unless the key's row
  // says that its type has rows of their own.)
  bool Reflect(uint8_t db,
               std::string_view key,
               crdt::Type type,
               std::string_view element,
               log::Position end) const;
  bool empty() const { return keys_.empty() && elements_.empty(); }
  void clear() {
    keys_.clear();
    elements_.clear();
  }

 private:
  struct OfKey {
    log::Position position = 0;
    uint8_t spilled = 0;
  };
  std::map<std::string, OfKey, std::less<>> keys_;             // by row key
  std::map<std::string, log::Position, std::less<>> elements_;
};

std::string OriginRowKey(size_t index);
std::string EncodeOriginRow(const clock::Origin& origin);
bool DecodeOriginRow(std::string_view row, clock::Origin& origin);

// Local records of the log.
enum class LocalRecord : uint8_t { kIdentity = 1, kLease = 2, kCutOver = 3, kStart = 4, kVote = 5 };
struct Identity {
  uint64_t cluster = 0;
  std::string leader;
  bool admitted = false;
  uint64_t join_nonce = 0;
};
// The state that was staged by this transfer, up to this position of its sender's log, was merged.
struct CutOverRecord {
  uint64_t transfer = 0;
  log::Position position = 0;
};
struct Local {
  LocalRecord type = LocalRecord::kLease;
  Identity identity;
  uint64_t lease_ms = 0;
  CutOverRecord cut_over;
  uint64_t nonce = 0;  // kStart: of the process that began here
  std::string vote;    // kVote: an elector's record (sync/records.h)
};
std::string EncodeLease(uint64_t lease_ms);
std::string EncodeIdentity(const Identity& identity);
std::string EncodeCutOver(const CutOverRecord& cut_over);
std::string EncodeStart(uint64_t nonce);
std::string EncodeVoteRecord(std::string_view record);
bool DecodeLocal(std::string_view payload, Local& local);

// The checkpoint row: where recovery begins, and what was known there.
struct CheckpointRow {
  log::Position start = 0;
  Identity identity;
  uint64_t lease_ms = 0;
  uint64_t nonce = 0;          // of the process that wrote it
  log::Position barrier = 0;   // where the last cut-over ended
  uint64_t transfer = 0;       // which one that was
  clock::VersionVector floor;  // what it brought without the log's having it
  clock::VersionVector nonempty;
  // What the rows' vectors and `nonempty` are written as differences from; may be null.
  replication::OriginRow::Base base;
  std::vector<replication::OriginRow> rows;  // by origin index
};
std::string EncodeCheckpoint(const CheckpointRow& row);
// The same with other rows than `row.rows`, which need not be copied for it.
std::string EncodeCheckpoint(const CheckpointRow& row, const std::vector<replication::OriginRow>& rows);
// `origins`: how many indices there are. False on malformed bytes; what it may take of memory is
// bounded by what this node would need for its own.
bool DecodeCheckpoint(std::string_view bytes, size_t origins, CheckpointRow& row);

// The same in another numbering of origins: `map` by old index. False if an index has no place.
bool Remap(crdt::KeyState& state, const std::vector<clock::OriginIndex>& map);
bool Remap(CheckpointRow& row, const std::vector<clock::OriginIndex>& map);

// The keys of the reserved database that tell of ended origins: "ended/<origin>", "folded/<origin>:<sequence>".
inline constexpr std::string_view kEndedPrefix = "ended/";
inline constexpr std::string_view kFoldedPrefix = "folded/";
std::string FoldedKey(const clock::Origin& origin, uint64_t sequence);
// Of a key that begins with kFoldedPrefix; false if the rest is nothing that FoldedKey makes.
bool ParseFoldedKey(std::string_view key, clock::Origin& origin, uint64_t& sequence);

// "eu.0123456789abcdef:17 ...": VersionVector::ToString back. Words that are unreadable, or of origins that are not
// known here, are passed over.
clock::VersionVector ParseVector(std::string_view text, const clock::OriginTable& origins);
std::vector<std::string_view> SplitWords(std::string_view text);

}  // namespace polyarch::engine
