// A log in memory for the simulator and for tests: deterministic, one thread, no time. A sync is
// done when the test says so (CompleteSync), or fails when it says so.
//
// The disk is a value of its own (MemoryLogDisk), which outlives the process that used it: to end a
// process, drop the MemoryLog; to lose power, call Crash on the disk; to clone a node, to back it
// up or to bring an old state back, copy the disk. A new MemoryLog on a disk is a restart: all that
// is on it then is durable.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/status.h"
#include "log/log.h"

namespace polyarch::log {

// What the disk and the operating system hold: committed records, of which those below `durable`
// survive a power cut. Copies share the payloads.
struct MemoryLogDisk {
  struct Entry {
    Position position = 0;
    Position end = 0;
    RecordType type = RecordType::kFrame;
    std::shared_ptr<const std::string> payload;
  };

  Position begin = 0;
  Position durable = 0;
  Position end = 0;
  std::deque<Entry> records;
  std::vector<SegmentHead> heads = {{0, ""}};

  // A power cut: of the records that are not durable a random prefix survives.
  void Crash(base::Random& random);
};

class MemoryLog final : public Log {
 public:
  // Every `segment_bytes` the head provider is asked, as if a new segment began.
  explicit MemoryLog(std::shared_ptr<MemoryLogDisk> disk, uint64_t segment_bytes = 64 << 10);

  Position Append(RecordType type, std::string_view payload) override;
  base::Status Commit() override;
  void RequestSync() override;

  Position begin() const override { return disk_->begin; }
  Position end() const override { return end_; }
  Position durable() const override { return durable_; }
  base::Status status() const override { return status_; }

  base::Result<Position> Read(Position from,
                              size_t bytes_max,
                              const std::function<bool(const Record&)>& visit) override;

  void SetHeadProvider(std::function<std::string()> provider) override;
  std::vector<SegmentHead> Heads() const override;
  bool Holds(Position position) override;
  void TrimTo(Position position) override;
  // As SegmentedLog::Pin.
  void Pin(Position position) { pinned_ = position; }
  void Unpin() { pinned_ = UINT64_MAX; }
  bool pinned() const { return pinned_ != UINT64_MAX; }

  // Whether a sync is in flight.
  bool syncing() const { return syncing_; }
  // The sync in flight, if any, is done: what was committed when it began is durable. If another
  // was requested meanwhile, that begins.
  void CompleteSync();
  // The sync in flight, if any, and all later ones fail.
  void FailSyncs();
  // All later commits fail.
  void FailCommits(base::Status status);
  // Records that begin before `position` are damaged: from now on they cannot be read.
  void DamageBefore(Position position) { damaged_before_ = position; }

 private:
  void StartSync();

  const std::shared_ptr<MemoryLogDisk> disk_;
  const uint64_t segment_bytes_;
  std::deque<MemoryLogDisk::Entry> pending_;  // appended, not yet committed
  std::vector<SegmentHead> pending_heads_;
  std::function<std::string()> head_provider_;
  Position end_;
  Position durable_;
  Position requested_;  // what the last request asked for
  Position segment_start_;
  Position pinned_ = UINT64_MAX;
  bool syncing_ = false;
  Position sync_target_ = 0;  // of the sync in flight
  bool fail_syncs_ = false;
  base::Status fail_commits_;
  Position damaged_before_ = 0;
  base::Status status_;
};

}  // namespace polyarch::log
