// The bytes of the log on disk, format 1. All integers are little-endian.
//
// A segment is a file `log-<start position, 20 digits>.seg`:
//
//   0   8  magic "PALOGSEG"
//   8   4  format version
//   12  4  CRC-32C of bytes 0..12 and 16..48 and of the head
//   16  8  start position
//   24  8  durable position when the segment was made
//   32  4  data offset, a multiple of 4096
//   36  4  size of the head
//   40  4  flags: 1 = the file had a former life, bytes behind the records mean nothing
//   44  4  0
//   48     the head; zeros up to the data offset
//
// From the data offset on there are records, without gaps, each padded with zeros to 8 bytes:
//
//   0   4  size of the payload
//   4   4  CRC-32C of the record's position, the size, and bytes 8..end, padding included
//   8   8  durable position when the record was appended
//   16  1  type, 1..15
//   17     payload
//
// The record at position p of the segment that starts at s is at file offset data_offset + (p - s).
// Its end is the position of the next record, in whichever segment that is: positions have no gaps,
// and the unused rest of a file has no positions. Since the checksum covers the position, bytes of
// a file's former life never look valid: they are of positions that are trimmed. (That does not
// hold for a spare that outlives its process: see SegmentedLog::Open.)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "log/log.h"

namespace polyarch::log {

inline constexpr uint32_t kFormatVersion = 1;
inline constexpr size_t kRecordHeaderBytes = 17;
inline constexpr size_t kRecordAlignment = 8;
// Sizes are 32 bits; half of that leaves sums of sizes far from overflow.
inline constexpr size_t kPayloadBytesMax = 0x7fff0000;
inline constexpr size_t kSegmentHeaderBytes = 48;
inline constexpr size_t kDataAlignment = 4096;
// Bounds what a reader of a damaged header may be made to allocate.
inline constexpr size_t kHeadBytesMax = 64 << 20;

// What a record takes of the stream.
constexpr uint64_t RecordBytes(size_t payload_bytes) {
  return (kRecordHeaderBytes + payload_bytes + kRecordAlignment - 1) & ~(kRecordAlignment - 1);
}

// Writes RecordBytes(payload.size()) bytes at `out`.
void EncodeRecord(
    char* out, Position position, Position durable, RecordType type, std::string_view payload);

struct DecodedRecord {
  RecordType type = RecordType::kFrame;
  Position durable = 0;
  uint64_t bytes = 0;  // with header and padding
  std::string_view payload;
};

// The header alone: what a record at `position` would be, if it is one. Nothing when it cannot be:
// wrong type, absurd size, a durable position beyond its own. Needs kRecordHeaderBytes at `p`; the
// payload is not looked at and may reach beyond what is there.
std::optional<DecodedRecord> DecodeRecordHeader(const char* p, Position position);

// The whole record at the beginning of `bytes`, verified. Nothing when there is none.
std::optional<DecodedRecord> DecodeRecord(std::string_view bytes, Position position);

struct SegmentHeader {
  Position start = 0;
  Position durable = 0;
  uint32_t data_offset = 0;
  bool recycled = false;
  std::string head;
};

constexpr uint32_t DataOffset(size_t head_bytes) {
  return static_cast<uint32_t>((kSegmentHeaderBytes + head_bytes + kDataAlignment - 1) &
                               ~(kDataAlignment - 1));
}

// The header's data_offset bytes; data_offset itself is computed from the head.
std::string EncodeSegmentHeader(Position start,
                                Position durable,
                                bool recycled,
                                std::string_view head);

// How many bytes DecodeSegmentHeader needs, from the first kSegmentHeaderBytes; 0: not a header.
size_t SegmentHeaderSize(std::string_view bytes);

// kCorrupt when it is not the header of the segment that starts at `start`, kIncompatible when it
// is of a newer format.
base::Result<SegmentHeader> DecodeSegmentHeader(std::string_view bytes, Position start);

std::string SegmentName(Position start);
std::optional<Position> ParseSegmentName(std::string_view name);
// A preallocated or retired file that waits to become a segment.
std::string SpareName(uint64_t number);
std::optional<uint64_t> ParseSpareName(std::string_view name);

}  // namespace polyarch::log
