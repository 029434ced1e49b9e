// What proposers and electors of `sync` keys say to each other, and the values that they agree on
// (docs/design/0021-sync.md). Self-contained: leaders and ballots by their full names. Each message
// begins with a version; one of a later version is refused as malformed by an earlier reader.
// Carried between processes by replication, which does not look inside. docs/FORMATS.md, "sync 1".
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/codec.h"
#include "clock/ballot.h"
#include "clock/hlc.h"
#include "clock/origin.h"

namespace polyarch::wire {

inline constexpr uint8_t kSyncFormat = 1;
inline constexpr size_t kChainMax = 32;          // writes that a tuple remembers by name
inline constexpr size_t kSyncListMax = 1 << 16;  // entries of any list
inline constexpr size_t kElectorsMax = 32;
inline constexpr size_t kSyncKeyBytesMax =
    60'000;  // what is decided is kept under a name with something before it
inline constexpr int64_t kSyncNever = INT64_MAX;

// One register. Database kElectorateDb holds nothing but the electorate itself.
inline constexpr uint8_t kElectorateDb = 0xff;
struct SyncKey {
  uint8_t db = 0;
  std::string key;
  friend auto operator<=>(const SyncKey&, const SyncKey&) = default;
};

// A durable identity of an elector: `id` was drawn when its rows were empty, and never comes back.
struct Seat {
  std::string leader;
  uint64_t id = 0;
  friend auto operator<=>(const Seat&, const Seat&) = default;
};

// Who votes. While `next` is not empty a quorum is a majority of both.
struct Electorate {
  uint64_t epoch = 0;  // 0: not known
  std::vector<Seat> now;
  std::vector<Seat> next;
  clock::Ballot floor;  // no elector of `now` keeps promises below it
  std::string rules;    // which keys are agreed on, from this epoch on; opaque here
  friend bool operator==(const Electorate&, const Electorate&) = default;
};

// Sorted by origin; an origin that is not listed counts as 0.
struct Dependency {
  clock::Origin origin;
  uint64_t sequence = 0;
  friend auto operator<=>(const Dependency&, const Dependency&) = default;
};
using Dependencies = std::vector<Dependency>;

// How many votes are known of seats: the highest number that anybody has been told of each.
struct VoteNumber {
  uint64_t seat = 0;
  uint64_t number = 0;
  friend auto operator<=>(const VoteNumber&, const VoteNumber&) = default;
};
using VoteNumbers = std::vector<VoteNumber>;

// The value of a register.
struct Named {
  clock::Ballot name;     // of a write: the same in all its tries
  clock::Ballot version;  // of the try that is in the chain
  friend auto operator<=>(const Named&, const Named&) = default;
};
struct Tuple {
  clock::Ballot version;     // under which this value was first proposed; none: there is no tuple
  std::vector<Named> chain;  // the last writes, oldest first
  clock::Ballot since;       // the highest name that has been cut off
  Dependencies deps;         // what its writers had applied
  clock::Hlc hlc;
  bool absent = true;
  int64_t expires_ms = kSyncNever;
  std::string value;

  bool none() const { return version.none(); }
  friend bool operator==(const Tuple&, const Tuple&) = default;
};

enum class SyncAsk : uint8_t {
  kPrepare = 1,
  kAccept = 2,
  kPeek = 3,   // the row, without a promise
  kDrop = 4,   // the row of an absent value that all electors have accepted under this ballot
  kList = 5,   // the keys from `key` on
  kSeat = 6,   // which seat would vote, if it were in the electorate
  kVotes = 7,  // how many votes are known of the asker's own seat, `seat`
};

struct SyncRequest {
  SyncAsk ask = SyncAsk::kPrepare;
  clock::Origin proposer;  // whom to answer; the incarnation is that of its ballots
  uint64_t round = 0;      // comes back in the answer
  uint64_t seat = 0;       // to whom; 0: any (kSeat)
  Electorate electorate;
  SyncKey key;
  clock::Ballot ballot;
  VoteNumbers known;   // to the proposer, of the electorate's seats
  clock::Ballot next;  // kAccept: promised with it; none: nothing
  Tuple tuple;         // kAccept
};

enum class SyncSaid : uint8_t {
  kRow = 1,
  kAccepted = 2,
  kRefused = 3,
  kKeys = 4,
  kSeat = 5,
  kDropped = 6,
  kVotes = 7,
};

struct SyncReply {
  SyncSaid said = SyncSaid::kRefused;
  clock::Origin proposer;
  uint64_t round = 0;
  Seat seat;          // who answers
  uint64_t vote = 0;  // the number of its last vote
  int64_t clock_ms = 0;
  // kRefused: the newer one that it knows; epoch 0: that is not the reason. kVotes: its own.
  Electorate electorate;
  clock::Ballot promised;     // kRefused
  clock::Ballot accepted;     // kRow
  clock::Ballot floor;        // kRow, kKeys
  Tuple tuple;                // kRow
  std::vector<SyncKey> keys;  // kKeys
  bool more = false;          // kKeys: there are further ones
  uint64_t known = 0;         // kVotes: the highest number of that seat; 0: none
};

std::string Encode(const SyncRequest& m);
std::string Encode(const SyncReply& m);
// False on malformed bytes.
bool Decode(std::string_view message, SyncRequest& m);
bool Decode(std::string_view message, SyncReply& m);
// Which of the two it is; nothing if it is neither.
std::optional<bool> IsSyncRequest(std::string_view message);

// By themselves, for records and rows.
void PutBallot(std::string& out, const clock::Ballot& ballot);
clock::Ballot ReadBallot(base::Reader& in);
void PutElectorate(std::string& out, const Electorate& electorate);
Electorate ReadElectorate(base::Reader& in);
void PutTuple(std::string& out, const Tuple& tuple);
Tuple ReadTuple(base::Reader& in);
void PutVoteNumbers(std::string& out, const VoteNumbers& numbers);
VoteNumbers ReadVoteNumbers(base::Reader& in);
void PutSyncKey(std::string& out, const SyncKey& key);
SyncKey ReadSyncKey(base::Reader& in);

}  // namespace polyarch::wire
