// Another leader's state on its way in: what has been received of it, invisible to clients and peers
// until the cut-over. docs/design/0009-state-transfer.md has the story.
//
// The sender ships its rows (each with the position of *its* log that it reflects), then its ledger,
// then its log from `base` on, where its checkpoint began. A row may be newer than the checkpoint;
// what a frame of the log does to a key whose row reflects it already is passed over, as in
// recovery. So this is a consistent state as soon as the log was taken up to `needed`, the highest
// position of any row.
//
// The same calls rebuild it after a restart from what the store holds (families kStaged, kSpool).
// Everything is in this node's numbering of origins.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clock/version_vector.h"
#include "conflict/ledger.h"
#include "engine/rows.h"
#include "keyspace/keyspace.h"
#include "replication/replica.h"
#include "wire/state_message.h"

namespace polyarch::engine {

// How far a transfer has come: one row of the store, written with what it tells of.
struct StagedProgress {
  uint64_t id = 0;
  std::string sender;     // a leader's name
  uint64_t epoch = 0;     // the nonce of the sender's process; 0: nothing is here yet
  log::Position base = 0;
  wire::StatePart part = wire::StatePart::kRows;
  std::string after;           // kRows, kLedger: the last key
  log::Position position = 0;  // of the sender's log
  log::Position needed = 0;
  uint64_t stamp = 0;  // the highest stamp that the sender has seen
  uint64_t bytes = 0;  // received
};
std::string EncodeProgress(const StagedProgress& progress);
bool DecodeProgress(std::string_view bytes, StagedProgress& progress);

inline constexpr char kTransferRowKey[] = "transfer";
inline constexpr char kTransferBaseRowKey[] = "transfer-base";  // the sender's checkpoint row
inline constexpr char kTransferSlotsRowKey[] = "transfer-slots";  // found equal: kSlotBitsBytes

// Keys in kStaged: a data row's as it is, a ledger row's behind this byte, which no data row's
// begins with. In kSpool: the position where the frame ends, 8 bytes, big-endian.
inline constexpr char kStagedLedgerPrefix = '\xff';
std::string SpoolKey(log::Position end);

class Staged {
 public:
  Staged(replication::Replica& replica, const keyspace::Keyspace& beside, StagedProgress progress);

  StagedProgress progress;
  std::string equal_slots;  // whose rows are not sent: they were staged out of this node's store

  // The sender's checkpoint. False if it contradicts itself.
  bool TakeBase(CheckpointRow base);
  // False when it was there already.
  bool TakeRow(const DataRowName& name, DataRow row);
  void TakeLedger(conflict::LedgerEntry entry) { ledger_.push_back(std::move(entry)); }
  // The next frame of the sender's log. False if it cannot follow what is here: malformed.
  bool TakeFrame(log::Position end, std::string_view bytes);
  // The stream was received up to here.
  void Advance(log::Position position);

  // Is it consistent: a state with a vector?
  bool complete() const {
    return progress.part == wire::StatePart::kStream && progress.position >= progress.needed;
  }
  const clock::VersionVector& applied() const { return applied_; }
  const clock::VersionVector& nonempty() const { return nonempty_; }
  const std::vector<replication::OriginRow>& rows() const { return rows_; }
  const std::vector<conflict::LedgerEntry>& ledger() const { return ledger_; }
  size_t memory_bytes() const { return keys_ == nullptr ? 0 : keys_->memory_bytes(); }
  std::unique_ptr<keyspace::Keyspace> ReleaseKeys();
  void PoliciesChanged() {
    if (keys_ != nullptr) keys_->PoliciesChanged();
  }

 private:
  replication::OriginRow& Row(clock::OriginIndex origin);
  void NoteFold(std::string_view key, clock::Dot record);

  replication::Replica& replica_;
  std::unique_ptr<keyspace::Keyspace> keys_;
  std::vector<replication::OriginRow> rows_;
  clock::VersionVector applied_;
  clock::VersionVector nonempty_;
  std::vector<conflict::LedgerEntry> ledger_;
  RowPositions row_positions_;  // beyond `base`
  log::Position record_end_ = 0;
};

}  // namespace polyarch::engine
