// The log: one per node, every frame (local and remote alike, as received) and every local record in
// the order in which this node applied them. It is the write-ahead log of the keyspace and what peers
// are served from.
//
// A Position is a byte offset in one endless stream; records are identified by the position at which
// they start, and a position never means two records. Append is synchronous and cheap (the bytes go to
// memory); Commit hands everything appended since to the operating system in one write; durability is
// asked for with RequestSync and shows, later, as growth of durable(). What is appended is visible to
// Read at once.
//
// Used by one thread (the engine's). An implementation may sync on a thread of its own. The first
// failed write or sync is final: every later Commit returns it, durable() stands still.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace polyarch::log {

using Position = uint64_t;

enum class RecordType : uint8_t {
  kFrame = 1,  // a frame, as it goes to peers
  kLocal = 2,  // of this node alone: never forwarded
};

struct Record {
  Position position = 0;  // where it starts
  Position end = 0;       // where the next one starts, or will
  RecordType type = RecordType::kFrame;
  std::string_view payload;  // valid until the next call of any method that is not const
};

// The start of one segment: where, and what the head provider said then (e.g. the version vector).
struct SegmentHead {
  Position position = 0;
  std::string head;
};

class Log {
 public:
  virtual ~Log() = default;

  // Appends one record; returns the position behind it.
  virtual Position Append(RecordType type, std::string_view payload) = 0;
  // All that was appended is handed to the operating system (survives kill -9 of this process).
  virtual base::Status Commit() = 0;
  // Asks that everything committed so far reaches the disk. Returns at once; one sync is in flight at
  // a time, requests during it are served by the next one.
  virtual void RequestSync() = 0;

  virtual Position begin() const = 0;    // the oldest record retained
  virtual Position end() const = 0;      // where the next record will start
  virtual Position durable() const = 0;  // everything before it survives a power cut
  virtual base::Status status() const = 0;

  // Calls `visit` with consecutive records, beginning with the one at `from` (a record's start, or
  // end()), until it returns false or about `bytes_max` bytes were read (at least one record is).
  // Returns the position after the last record visited. kNotFound when `from` < begin().
  virtual base::Result<Position> Read(Position from,
                                      size_t bytes_max,
                                      const std::function<bool(const Record&)>& visit) = 0;

  // Does a record start at `position` (or the log end there)? For positions that others name.
  virtual bool Holds(Position position) = 0;

  // Forgets whole segments below `position`, as far as their successor is durable.
  virtual void TrimTo(Position position) = 0;

  // What to write at the head of each new segment.
  virtual void SetHeadProvider(std::function<std::string()> provider) = 0;
  // The heads of the segments retained, oldest first.
  virtual std::vector<SegmentHead> Heads() const = 0;
};

}  // namespace polyarch::log
