// What two peers say to each other while one takes its state from the other, and what a neighbour
// says whose log no longer holds the changes that were asked for. docs/FORMATS.md, "Peer messages
// 1", from type 20 on; engine/transfer.h has the story.
//
// Each message stands for itself, as all peer messages do: it may be lost, doubled and overtaken. A
// chunk says behind what it follows, so the receiver takes it or leaves it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clock/origin.h"

namespace polyarch::wire {

inline constexpr uint8_t kGapMessage = 20;
inline constexpr uint8_t kStateRequestMessage = 21;
inline constexpr uint8_t kStateOfferMessage = 22;
inline constexpr uint8_t kStateRefusalMessage = 23;
inline constexpr uint8_t kStatePullMessage = 24;
inline constexpr uint8_t kStateChunkMessage = 25;
inline constexpr uint8_t kStateEndMessage = 26;

// "My log has no changes of this origin up to `floor`." The subscription it answers is ended.
struct Gap {
  clock::Origin origin;
  uint64_t floor = 0;
};

// The parts of a transfer. kDigests comes first, and is left out by a receiver that has nothing to
// compare: which slots of the sender's store hold what. kBase, before all others, is the sender's checkpoint row,
// where that is too large for the offer: one row, in pieces.
enum class StatePart : uint8_t { kRows = 1, kLedger = 2, kStream = 3, kDigests = 4, kBase = 5 };

// No store holds a larger row: RocksDB does not take it.
inline constexpr uint64_t kRowBytesMax = UINT32_MAX;
// How many bytes a set of slots takes (16384 bits).
inline constexpr size_t kSlotBitsBytes = 2048;
// How many bytes a set of the ledger's buckets takes (1024 bits).
inline constexpr size_t kBucketBitsBytes = 128;

// The receiver asks for a state, or to go on with one.
struct StateRequest {
  uint64_t id = 0;     // of the transfer, random
  uint64_t epoch = 0;  // the nonce of the sender's process that sent what is here; 0: nothing is
  uint64_t base = 0;      // as offered then: where the sender's checkpoint began
  uint64_t position = 0;  // the sender's log is here up to this position (base: nothing of it)
  uint64_t needed = 0;    // what is here may reflect its log up to there; 0: no further than `position`
};

struct StateOffer {
  uint64_t id = 0;
  uint64_t epoch = 0;  // the nonce of the sender's process
  uint64_t base = 0;   // where its checkpoint began: the rows are complete as of there
  bool resumed = false;
  uint64_t stamp = 0;                // the highest stamp that it has seen
  std::vector<clock::Origin> names;  // of the sender's origins, by its index
  std::string_view checkpoint;       // its checkpoint row; empty if resumed, or to be pulled (kBase)
  std::vector<std::pair<uint16_t, uint64_t>> ledger;  // digests of its ledger's buckets that hold something
};

enum class RefusalReason : uint8_t {
  kLater = 1,    // ask again soon: busy, or a checkpoint is under way
  kRestart = 2,  // what was sent cannot be gone on with: begin a new transfer
  kUnknown = 3,  // pulled without a request (the sender has started anew): ask again
  kTooSlow = 4,  // the sender keeps no more of its log for this receiver: ask others, or much later
  kBroken = 5,   // the sender cannot read its state: ask others, or much later
};
struct StateRefusal {
  uint64_t id = 0;
  RefusalReason reason = RefusalReason::kLater;
};

// "Send what follows": rows and ledger rows behind a key, or the log from a position on; at most
// `credit` bytes in this generation, of which one chunk is always allowed. A higher generation
// begins anew at its place. `skip` holds for a generation: it comes with the first of its pulls.
struct StatePull {
  uint64_t id = 0;
  uint64_t generation = 0;
  StatePart part = StatePart::kRows;
  // kRows, kLedger: the last key that is here; empty: from the first. kDigests: from this slot on.
  std::string after;
  uint64_t position = 0;  // kStream
  uint64_t credit = 0;
  uint64_t names = 0;  // how many of the sender's origins are known here
  // What is here already. kRows: slots (kSlotBitsBytes); kLedger: buckets (kBucketBitsBytes) as of the
  // offer, what was noted since is sent; empty: nothing.
  std::string skip;
  // kRows, kLedger, kBase: so much of the row behind `after` is here; it goes on there if it is still the row with
  // this digest, else it begins anew. 0: nothing is.
  uint64_t row_offset = 0;
  uint64_t row_digest = 0;
  // kStream: the log up to there is on the receiver's disk; it will not ask for it again. 0: nothing is known of it.
  uint64_t stored = 0;
};

// A larger row of a store comes in pieces, each in a chunk of its own. Only the last one moves the place:
// those before follow what the first one followed.
struct StateChunk {
  uint64_t id = 0;
  uint64_t generation = 0;
  StatePart part = StatePart::kRows;
  std::string_view after;  // all but kStream: what it follows
  uint64_t from = 0;       // kStream: where it begins
  uint64_t to = 0;         // kStream: where it ends
  bool last = false;       // all but kStream: no row follows
  uint64_t end = 0;        // where the sender's durable log ends
  uint64_t first_name = 0;           // the index of the first of `names`
  std::vector<clock::Origin> names;  // origins that the sender has met since
  // kRows, kLedger, kBase: key, row. kDigests: slot (2 bytes, big-endian), digest (16 bytes, or none).
  std::vector<std::pair<std::string_view, std::string_view>> rows;
  // Of a piece, which is the only one of `rows`: how large the row is (0: rows are whole), where the piece
  // begins, and the row's digest (ContentHash64 with the transfer as its seed).
  uint64_t row_bytes = 0;
  uint64_t row_offset = 0;
  uint64_t row_digest = 0;
  std::vector<std::pair<uint64_t, std::string_view>> frames;  // kStream: where it ends, its bytes
};

// The receiver needs no more: it has cut over, or has given up.
struct StateEnd {
  uint64_t id = 0;
};

std::string Encode(const Gap& m);
std::string Encode(const StateRequest& m);
std::string Encode(const StateOffer& m);
std::string Encode(const StateRefusal& m);
std::string Encode(const StatePull& m);
std::string Encode(const StateChunk& m);
std::string Encode(const StateEnd& m);

// The payload behind the type byte; views into it. False on malformed bytes.
bool Decode(std::string_view payload, Gap& m);
bool Decode(std::string_view payload, StateRequest& m);
bool Decode(std::string_view payload, StateOffer& m);
bool Decode(std::string_view payload, StateRefusal& m);
bool Decode(std::string_view payload, StatePull& m);
bool Decode(std::string_view payload, StateChunk& m);
bool Decode(std::string_view payload, StateEnd& m);

}  // namespace polyarch::wire
