#include "log/segmented_log.h"

#include <algorithm>
#include <utility>

#include "log/recovery.h"

namespace polyarch::log {

namespace {

// Files of older segments that are kept open for reading: a few peers, each far behind at another
// place.
constexpr size_t kOpenFilesMax = 8;
constexpr uint64_t kReadBytesMin = 64 << 10;
constexpr uint64_t kReadBytesMax = 1 << 20;

}  // namespace

base::Result<std::unique_ptr<SegmentedLog>> SegmentedLog::Open(Options options) {
  Io& io = options.io != nullptr ? *options.io : PosixIo();
  CHECK(options.segment_bytes >= 2 * kDataAlignment);
  auto recovery = Recover(io, options.dir, options.verify_from, options.durable);
  if (!recovery.ok()) return recovery.status();

  std::vector<Segment> segments;
  for (RecoveredSegment& found : recovery->segments) {
    segments.push_back({found.start,
                        std::move(found.path),
                        std::move(found.head),
                        found.data_offset,
                        found.file_bytes,
                        nullptr});
  }
  if (segments.empty()) {
    // Durable before it is used: so recovery knows that a first segment without a header is one
    // that never held a record.
    const std::string path = options.dir + "/" + SegmentName(0);
    auto file = io.Open(path, OpenMode::kCreate);
    if (!file.ok()) return file.status();
    const std::string header = EncodeSegmentHeader(0, 0, false, "");
    if (base::Status s = (*file)->Allocate(options.segment_bytes); !s.ok()) return s;
    if (base::Status s = (*file)->WriteAt(0, header); !s.ok()) return s;
    if (base::Status s = (*file)->SyncData(); !s.ok()) return s;
    if (base::Status s = io.SyncDirectory(options.dir); !s.ok()) return s;
    segments.push_back({0, path, "", DataOffset(0), options.segment_bytes, std::move(*file)});
  } else {
    Segment& last = segments.back();
    auto file = io.Open(last.path, OpenMode::kWrite);
    if (!file.ok()) return file.status();
    last.file = std::move(*file);
    if (last.file_bytes < options.segment_bytes) {
      if (base::Status s = last.file->Allocate(options.segment_bytes); !s.ok()) return s;
      last.file_bytes = options.segment_bytes;
    }
  }

  Syncer::Options syncer;
  syncer.io = &io;
  syncer.dir = options.dir;
  syncer.segment_bytes = options.segment_bytes;
  syncer.durable = recovery->end;
  syncer.current = segments.back().file;
  syncer.on_durable = options.on_durable;
  // Never used: a power cut may have taken the name of a segment that was made of one, and left its
  // records. Their positions are given again, and what is found there must not be taken for
  // records.
  for (const std::string& path : recovery->spares) {
    if (base::Status s = io.Unlink(path); !s.ok()) return s;
  }

  auto log = std::unique_ptr<SegmentedLog>(
      new SegmentedLog(std::move(options), io, std::move(segments), recovery->end));
  log->bytes_dropped_ = recovery->bytes_dropped;
  log->syncer_ = std::make_unique<Syncer>(std::move(syncer));
  return log;
}

SegmentedLog::SegmentedLog(Options options, Io& io, std::vector<Segment> segments, Position end)
    : options_(std::move(options)),
      io_(io),
      segments_(std::move(segments)),
      ring_(options_.ring_bytes, end),
      committed_(end) {
  const Segment& last = segments_.back();
  current_limit_ = last.start + (last.file_bytes - last.data_offset);
}

SegmentedLog::~SegmentedLog() = default;

Position SegmentedLog::Append(RecordType type, std::string_view payload) {
  CHECK(payload.size() <= kPayloadBytesMax);
  const uint64_t bytes = RecordBytes(payload.size());
  const Position position = ring_.end();
  if (position + bytes > current_limit_) MakeRoom(bytes);
  char* out = ring_.Extend(bytes, committed_);
  EncodeRecord(out, position, durable(), type, payload);
  return ring_.end();
}

void SegmentedLog::MakeRoom(uint64_t record_bytes) {
  // Append has no way to fail: the next Commit tells.
  if (syncer_->failed()) return;
  if (base::Status s = Roll(record_bytes); !s.ok()) syncer_->Fail(std::move(s));
}

base::Status SegmentedLog::Roll(uint64_t record_bytes) {
  if (base::Status s = WriteOut(); !s.ok()) return s;
  const Position start = ring_.end();
  if (start == segments_.back().start) {
    // Still empty, and too small for its first record: a second segment cannot start here.
    Segment& last = segments_.back();
    last.file_bytes = last.data_offset + record_bytes;
    current_limit_ = start + record_bytes;
    return last.file->Allocate(last.file_bytes);
  }

  Segment segment;
  segment.start = start;
  segment.path = options_.dir + "/" + SegmentName(start);
  if (head_provider_) segment.head = head_provider_();
  segment.data_offset = DataOffset(segment.head.size());
  segment.file_bytes = std::max(options_.segment_bytes, segment.data_offset + record_bytes);

  bool recycled = false;
  std::optional<Spare> spare;
  if (segment.file_bytes == options_.segment_bytes) spare = syncer_->TakeSpare();
  if (spare) {
    if (base::Status s = io_.Rename(spare->path, segment.path); !s.ok()) return s;
    segment.file = std::move(spare->file);
    recycled = spare->recycled;
  } else {
    auto file = io_.Open(segment.path, OpenMode::kCreate);
    if (!file.ok()) return file.status();
    segment.file = std::move(*file);
    if (base::Status s = segment.file->Allocate(segment.file_bytes); !s.ok()) return s;
  }
  const std::string header = EncodeSegmentHeader(start, durable(), recycled, segment.head);
  if (base::Status s = segment.file->WriteAt(0, header); !s.ok()) return s;

  syncer_->SetCurrent(segment.file);
  // The old one's file stays with the syncer as long as it needs it; for reading it is opened
  // again.
  segments_.back().file = nullptr;
  current_limit_ = start + (segment.file_bytes - segment.data_offset);
  segments_.push_back(std::move(segment));
  spare_asked_ = false;
  return {};
}

base::Status SegmentedLog::WriteOut() {
  const Segment& last = segments_.back();
  while (committed_ < ring_.end()) {
    const std::string_view bytes = ring_.At(committed_);
    const uint64_t offset = last.data_offset + (committed_ - last.start);
    if (base::Status s = last.file->WriteAt(offset, bytes); !s.ok()) return s;
    committed_ += bytes.size();
  }
  return {};
}

base::Status SegmentedLog::Commit() {
  if (syncer_->failed()) return syncer_->status();
  if (base::Status s = WriteOut(); !s.ok()) {
    syncer_->Fail(s);
    return syncer_->status();
  }
  // Half of a segment is time enough to prepare the next.
  if (!spare_asked_ && (current_limit_ - committed_) * 2 < options_.segment_bytes) {
    spare_asked_ = true;
    syncer_->WantSpare();
  }
  return {};
}

void SegmentedLog::RequestSync() {
  syncer_->Request(committed_);
}

base::Status SegmentedLog::Sync() {
  if (base::Status s = Commit(); !s.ok()) return s;
  RequestSync();
  return syncer_->Wait(committed_);
}

base::Result<Position> SegmentedLog::Read(Position from,
                                          size_t bytes_max,
                                          const std::function<bool(const Record&)>& visit) {
  if (from < begin()) {
    return base::NotFound("position " + std::to_string(from) + " is not in the log any more");
  }
  if (from > end()) {
    return base::Invalid("position " + std::to_string(from) + " is beyond the end of the log");
  }
  read_buffers_.clear();
  Position position = from;
  bool more = true;
  while (more && position < end() && (position == from || position - from < bytes_max)) {
    const bool in_ring = position >= ring_.begin();
    std::string_view bytes;
    if (in_ring) {
      bytes = ring_.At(position);
    } else {
      auto loaded = Load(position, bytes_max - (position - from));
      if (!loaded.ok()) return loaded.status();
      bytes = *loaded;
    }
    const Position loaded_at = position;
    while (more && !bytes.empty() && (position == from || position - from < bytes_max)) {
      std::optional<DecodedRecord> record;
      if (in_ring) {
        record = DecodeRecordHeader(bytes.data(), position);
        CHECK(record && record->bytes <= bytes.size());
      } else {
        record = DecodeRecord(bytes, position);
        // Either damaged or not all of it loaded; the latter cannot be at the beginning.
        if (!record && position > loaded_at) break;
        if (!record) {
          return base::Corrupt("the log's record at position " + std::to_string(position) +
                               " fails its checksum");
        }
      }
      const Position next = position + record->bytes;
      more = visit(Record{position, next, record->type, record->payload});
      bytes.remove_prefix(record->bytes);
      position = next;
    }
  }
  return position;
}

base::Result<std::string_view> SegmentedLog::Load(Position position, uint64_t want) {
  auto it = std::upper_bound(
      segments_.begin(), segments_.end(), position, [](Position p, const Segment& segment) {
        return p < segment.start;
      });
  const size_t index = static_cast<size_t>(it - segments_.begin()) - 1;
  const Segment& segment = segments_[index];
  const Position segment_end = it == segments_.end() ? ring_.begin() : it->start;
  const uint64_t limit = std::min(segment_end, ring_.begin()) - position;
  auto file = FileOf(index);
  if (!file.ok()) return file.status();

  uint64_t bytes = std::min(limit, std::clamp(want, kReadBytesMin, kReadBytesMax));
  uint64_t loaded = 0;
  for (;;) {
    auto buffer = std::make_unique_for_overwrite<char[]>(bytes);
    auto n = (*file)->ReadAt(
        segment.data_offset + (position - segment.start), buffer.get(), static_cast<size_t>(bytes));
    if (!n.ok()) return n.status();
    loaded = *n;
    const char* data = buffer.get();
    read_buffers_.push_back(std::move(buffer));
    if (loaded < kRecordHeaderBytes) break;
    // A record larger than that is read again, whole.
    const auto record = DecodeRecordHeader(data, position);
    if (!record || record->bytes <= loaded || record->bytes > limit || loaded < bytes) {
      return std::string_view(data, loaded);
    }
    bytes = record->bytes;
    read_buffers_.pop_back();
  }
  return base::Corrupt("the log's segment " + segment.path + " ends before position " +
                       std::to_string(position));
}

base::Result<std::shared_ptr<File>> SegmentedLog::FileOf(size_t segment) {
  if (segment + 1 == segments_.size()) return segments_[segment].file;
  Segment& wanted = segments_[segment];
  std::erase(open_files_, wanted.start);
  if (wanted.file == nullptr) {
    auto file = io_.Open(wanted.path, OpenMode::kRead);
    if (!file.ok()) return file.status();
    wanted.file = std::move(*file);
    if (open_files_.size() >= kOpenFilesMax) {
      for (Segment& other : segments_) {
        if (other.start == open_files_.front()) other.file = nullptr;
      }
      open_files_.erase(open_files_.begin());
    }
  }
  open_files_.push_back(wanted.start);
  return wanted.file;
}

void SegmentedLog::SetHeadProvider(std::function<std::string()> provider) {
  head_provider_ = std::move(provider);
}

std::vector<SegmentHead> SegmentedLog::Heads() const {
  std::vector<SegmentHead> heads;
  heads.reserve(segments_.size());
  for (const Segment& segment : segments_)
    heads.push_back({segment.start, segment.head});
  return heads;
}

bool SegmentedLog::Holds(Position position) {
  if (position < begin() || position > end()) return false;
  if (position == end()) return true;
  // The checksum covers the position: nothing but a record that starts there passes.
  if (position >= ring_.begin()) return DecodeRecord(ring_.At(position), position).has_value();
  read_buffers_.clear();
  auto loaded = Load(position, 1);
  return loaded.ok() && DecodeRecord(*loaded, position).has_value();
}

void SegmentedLog::TrimTo(Position position) {
  position = std::min(position, pinned_);
  // The new first segment must be durable before the old one's name goes, and a durable position
  // beyond its start says that it is.
  while (segments_.size() > 1 && segments_[1].start <= position && segments_[1].start < durable()) {
    Segment& first = segments_.front();
    std::erase(open_files_, first.start);
    syncer_->Retire(std::move(first.path), first.file_bytes == options_.segment_bytes);
    segments_.erase(segments_.begin());
  }
}

}  // namespace polyarch::log
