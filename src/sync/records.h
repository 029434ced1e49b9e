// What an elector keeps: its local records in the log, and its rows in the store. docs/FORMATS.md,
// "votes 1".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "wire/sync_message.h"

namespace polyarch::sync {

// What an elector has said about one key.
struct VoteRow {
  clock::Ballot promised;
  clock::Ballot accepted;  // none: nothing
  wire::Tuple tuple;       // what was accepted
  friend bool operator==(const VoteRow&, const VoteRow&) = default;
};

enum class VoteRecord : uint8_t {
  kPromise = 1,     // key, promised
  kAccept = 2,      // key, accepted, promised, tuple
  kDrop = 3,        // key; floor
  kSeat = 4,        // a new seat: rows and floor are gone
  kElectorate = 5,  // electorate; floor
};

struct Vote {
  VoteRecord kind = VoteRecord::kPromise;
  uint64_t number = 0;  // of this seat's records, rising
  wire::SyncKey key;
  VoteRow row;
  clock::Ballot floor;
  uint64_t seat = 0;
  wire::Electorate electorate;
};

std::string Encode(const Vote& vote);
bool Decode(std::string_view record, Vote& vote);

// A row of the store; its key is db (1), key.
std::string VoteRowKey(const wire::SyncKey& key);
bool ParseVoteRowKey(std::string_view row_key, wire::SyncKey& key);
std::string Encode(const VoteRow& row);
bool Decode(std::string_view bytes, VoteRow& row);

// What is kept once.
struct VoteMeta {
  uint64_t seat = 0;
  uint64_t number = 0;
  clock::Ballot floor;
  wire::Electorate electorate;
};
std::string Encode(const VoteMeta& meta);
bool Decode(std::string_view bytes, VoteMeta& meta);

}  // namespace polyarch::sync
