// The log on disk: segment files (log/format.h) that are preallocated and reused, a ring of the
// newest records in memory (log/ring.h), and a thread that syncs (log/syncer.h). What happens at a
// start is in log/recovery.h.
//
// Append costs a copy and a checksum; Commit one write for all that was appended, or two where the
// ring wraps. An append that does not fit into the segment rolls: it writes out what is pending,
// takes the next file (prepared in the background) and writes its header. A record that is larger
// than a segment gets a larger one of its own.
//
// Failures are sticky, as log.h says. After one, appended records are still readable, but memory
// for them is not bounded any more: the caller stops appending.
//
// One thread, except on_durable, which the sync thread calls.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "log/format.h"
#include "log/io.h"
#include "log/log.h"
#include "log/ring.h"
#include "log/syncer.h"

namespace polyarch::log {

class SegmentedLog final : public Log {
 public:
  struct Options {
    std::string dir;  // exists, and is this log's alone (a lock is the caller's business)
    uint64_t segment_bytes = 64 << 20;  // size of a segment's file
    size_t ring_bytes = 64 << 20;
    // A position that is known to have been durable, e.g. the last checkpoint's: older segments are
    // not read at the start, and a log that ends before it is refused.
    Position verify_from = 0;
    // Another one, for its second use only: what is stored elsewhere reflects the log up to there.
    Position durable = 0;
    Io* io = nullptr;  // not owned, outlives the log; null: the operating system's
    // Called after durable() has grown and after a failure. Must not call the log's other methods
    // than durable() and status(), nor block.
    std::function<void()> on_durable;
  };

  // Recovers what is in `dir`, or begins a log at position 0. On return everything in it is
  // durable. kCorrupt: acknowledged records are damaged or missing; the message says what to do.
  static base::Result<std::unique_ptr<SegmentedLog>> Open(Options options);
  // Abandons what is not yet committed; waits for a sync in flight. To close cleanly, Sync first.
  ~SegmentedLog() override;
  SegmentedLog(const SegmentedLog&) = delete;
  SegmentedLog& operator=(const SegmentedLog&) = delete;

  Position Append(RecordType type, std::string_view payload) override;
  base::Status Commit() override;
  void RequestSync() override;
  // Commits, and blocks until all is durable.
  base::Status Sync();

  Position begin() const override { return segments_.front().start; }
  Position end() const override { return ring_.end(); }
  Position durable() const override { return syncer_->durable(); }
  base::Status status() const override { return syncer_->status(); }
  bool sync_failed() const { return syncer_->sync_failed(); }

  // kCorrupt when what is on disk fails its checksum, or `from` is not the start of a record;
  // kInvalid when it lies beyond end(). From disk, the payloads of one call are all in memory at
  // once: give a bound.
  base::Result<Position> Read(Position from,
                              size_t bytes_max,
                              const std::function<bool(const Record&)>& visit) override;

  // Called from within Append, before the record that opens the new segment is in the log. The
  // first segment of all has an empty head.
  void SetHeadProvider(std::function<std::string()> provider) override;
  std::vector<SegmentHead> Heads() const override;

  bool Holds(Position position) override;

  // Forgets whole segments below `position`, as far as their successor is durable. Their files go,
  // or become spares, in the background.
  void TrimTo(Position position) override;
  // TrimTo spares what holds `position` and what follows it, until Unpin: somebody copies it.
  void Pin(Position position) { pinned_ = position; }
  void Unpin() { pinned_ = UINT64_MAX; }

  // What Open found behind the end of the log and dropped: writes that were never acknowledged.
  uint64_t bytes_dropped() const { return bytes_dropped_; }

 private:
  struct Segment {
    Position start = 0;
    std::string path;
    std::string head;
    uint32_t data_offset = 0;
    uint64_t file_bytes = 0;
    std::shared_ptr<File> file;  // null when not open; the last one's always is
  };

  SegmentedLog(Options options, Io& io, std::vector<Segment> segments, Position end);

  void MakeRoom(uint64_t record_bytes);
  base::Status Roll(uint64_t record_bytes);
  base::Status WriteOut();
  // The bytes from `position`, which is not in the ring, on: at least a record and about `want`,
  // from its segment. They stay in memory until the next Read.
  base::Result<std::string_view> Load(Position position, uint64_t want);
  base::Result<std::shared_ptr<File>> FileOf(size_t segment);

  const Options options_;
  Io& io_;
  std::vector<Segment> segments_;  // oldest first, never empty
  Ring ring_;
  Position committed_;
  Position current_limit_ = 0;  // no record of the last segment may end beyond it
  Position pinned_ = UINT64_MAX;
  bool spare_asked_ = false;
  uint64_t bytes_dropped_ = 0;
  std::function<std::string()> head_provider_;
  std::vector<Position>
      open_files_;  // starts of older segments whose file is open, newest use last
  std::vector<std::unique_ptr<char[]>> read_buffers_;
  std::unique_ptr<Syncer> syncer_;
};

}  // namespace polyarch::log
