#include "log/recovery.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "base/remedy.h"
#include "log/format.h"

namespace polyarch::log {

namespace {

// How many bytes of would-be records the search for later ones may checksum. Honest content needs
// about the size of the files; only content made to look like record headers could need more.
constexpr uint64_t kSearchBytesMax = uint64_t{16} << 30;
// Where the records of a segment with an unreadable header are looked for: heads are small.
constexpr uint32_t kDataOffsetProbeMax = 256 << 10;
constexpr size_t kCopyBytes = 1 << 20;

struct Segment {
  RecoveredSegment info;
  bool valid = false;  // its header
  bool recycled = false;
  Position durable = 0;
};

// The bytes of one file at a time.
class Content {
 public:
  base::Status Load(Io& io, const Segment& segment) {
    auto file = io.Open(segment.info.path, OpenMode::kRead);
    if (!file.ok()) return file.status();
    if (segment.info.file_bytes > capacity_) {
      capacity_ = segment.info.file_bytes;
      data_ = std::make_unique_for_overwrite<char[]>(capacity_);
    }
    auto n = (*file)->ReadAt(0, data_.get(), segment.info.file_bytes);
    if (!n.ok()) return n.status();
    size_ = *n;
    return {};
  }
  std::string_view From(uint64_t offset) const {
    return offset >= size_ ? std::string_view()
                           : std::string_view(data_.get() + offset, size_ - offset);
  }

 private:
  uint64_t capacity_ = 0;
  uint64_t size_ = 0;
  std::unique_ptr<char[]> data_;
};

struct Scan {
  Position end = 0;      // of the last valid record
  Position durable = 0;  // the newest durable position that a record names
};

// Walks over the valid records from the beginning of `bytes`, which is position `start`; none may
// reach beyond `limit`.
Scan ScanRecords(std::string_view bytes, Position start, Position limit, Position durable) {
  Scan scan{start, durable};
  while (scan.end < limit) {
    const auto record = DecodeRecord(bytes.substr(scan.end - start), scan.end);
    if (!record || scan.end + record->bytes > limit) break;
    scan.end += record->bytes;
    scan.durable = std::max(scan.durable, record->durable);
  }
  return scan;
}

// What is found beyond the last good record of the log.
struct Search {
  Position bad = 0;          // where that ends
  Position durable_min = 0;  // later records name at least this: durable positions never go back
  uint64_t budget = kSearchBytesMax;
  Position proof = 0;       // a durable position beyond `bad`, if any
  Position island_end = 0;  // of the last valid record found
  uint64_t island_bytes = 0;

  // `bytes` begin at `position`. Records begin at multiples of 8 bytes.
  void Look(std::string_view bytes, Position position) {
    size_t offset = 0;
    while (offset + kRecordHeaderBytes <= bytes.size() && proof <= bad) {
      const auto header = DecodeRecordHeader(bytes.data() + offset, position + offset);
      if (!header || header->durable < durable_min || header->bytes > bytes.size() - offset) {
        offset += kRecordAlignment;
        continue;
      }
      if (header->bytes > budget) {
        // Cannot tell any more; then the safe answer is that there is proof.
        proof = bad + 1;
        return;
      }
      budget -= header->bytes;
      const auto record = DecodeRecord(bytes.substr(offset), position + offset);
      if (!record) {
        offset += kRecordAlignment;
        continue;
      }
      proof = std::max(proof, record->durable);
      offset += record->bytes;
      island_end = position + offset;
      island_bytes += record->bytes;
    }
  }
};

base::Result<Segment> ReadHeader(Io& io, const std::string& dir, Position start) {
  Segment segment;
  segment.info.start = start;
  segment.info.path = dir + "/" + SegmentName(start);
  auto file = io.Open(segment.info.path, OpenMode::kRead);
  if (!file.ok()) return file.status();
  auto size = (*file)->Size();
  if (!size.ok()) return size.status();
  segment.info.file_bytes = *size;

  std::string bytes(kDataAlignment, '\0');
  auto n = (*file)->ReadAt(0, bytes.data(), bytes.size());
  if (!n.ok()) return n.status();
  bytes.resize(*n);
  if (const size_t needed = SegmentHeaderSize(bytes); needed > bytes.size() && needed <= *size) {
    bytes.resize(needed);
    n = (*file)->ReadAt(0, bytes.data(), bytes.size());
    if (!n.ok()) return n.status();
    bytes.resize(*n);
  }
  auto header = DecodeSegmentHeader(bytes, start);
  if (!header.ok()) {
    if (header.status().code() != base::Code::kCorrupt) return header.status();
    return segment;
  }
  segment.valid = true;
  segment.recycled = header->recycled;
  segment.durable = header->durable;
  segment.info.data_offset = header->data_offset;
  segment.info.head = std::move(header->head);
  return segment;
}

bool AllZeros(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

class Recoverer {
 public:
  Recoverer(Io& io, const std::string& dir, Position verify_from, Position durable)
      : io_(io), dir_(dir), verify_from_(verify_from), durable_(std::max(verify_from, durable)) {}

  base::Result<Recovery> Run() {
    if (base::Status s = ReadHeaders(); !s.ok()) return s;
    if (segments_.empty()) return std::move(result_);
    if (base::Status s = FindEnd(); !s.ok()) return s;
    if (base::Status s = SearchBeyondEnd(); !s.ok()) return s;
    if (base::Status s = DropBeyondEnd(); !s.ok()) return s;
    if (base::Status s = MakeDurable(); !s.ok()) return s;
    for (Segment& segment : segments_)
      result_.segments.push_back(std::move(segment.info));
    return std::move(result_);
  }

 private:
  base::Status ReadHeaders() {
    auto names = io_.List(dir_);
    if (!names.ok()) return names.status();
    std::vector<Position> starts;
    for (const std::string& name : *names) {
      if (auto start = ParseSegmentName(name)) starts.push_back(*start);
      if (ParseSpareName(name)) result_.spares.push_back(dir_ + "/" + name);
    }
    std::sort(starts.begin(), starts.end());
    for (const Position start : starts) {
      auto segment = ReadHeader(io_, dir_, start);
      if (!segment.ok()) return segment.status();
      segments_.push_back(std::move(*segment));
    }
    if (!segments_.empty() && !segments_.front().valid) {
      auto unborn = DropUnborn();
      if (!unborn.ok()) return unborn.status();
      if (!*unborn) {
        return base::Corrupt("the log's first segment " + segments_.front().info.path +
                             " has no readable header" + std::string(base::kDirectoryRemedy));
      }
    }
    if (segments_.empty() && durable_ > 0) {
      return base::Corrupt("the log in " + dir_ + " has no segments, but reached position " +
                           std::to_string(durable_) + " once" + std::string(base::kDirectoryRemedy));
    }
    return {};
  }

  // The first segment of all is durable before the log is used. If its header is not, then the
  // power went while it was made: there was no log yet.
  base::Result<bool> DropUnborn() {
    Segment& first = segments_.front();
    if (segments_.size() > 1 || first.info.start > 0 || durable_ > 0) return false;
    if (base::Status s = content_.Load(io_, first); !s.ok()) return s;
    if (!AllZeros(content_.From(DataOffset(0)))) return false;
    if (base::Status s = io_.Unlink(first.info.path); !s.ok()) return s;
    if (base::Status s = io_.SyncDirectory(dir_); !s.ok()) return s;
    segments_.clear();
    return true;
  }

  base::Status FindEnd() {
    // The last segment that starts below verify_from. So a damaged header at or after it never
    // leaves us with an end in a segment that was not read.
    first_read_ = 0;
    while (first_read_ + 1 < segments_.size() &&
           segments_[first_read_ + 1].info.start < verify_from_) {
      ++first_read_;
    }
    for (size_t i = 0; i <= first_read_; ++i) {
      if (segments_[i].valid) continue;
      return base::Corrupt("the log's segment " + segments_[i].info.path +
                           " has no readable header, but was durable once" + std::string(base::kDirectoryRemedy));
    }
    scan_ = {segments_[first_read_].info.start, segments_[first_read_].durable};
    for (size_t i = first_read_; i < segments_.size(); ++i) {
      const Segment& segment = segments_[i];
      if (!segment.valid || segment.info.start != scan_.end) break;
      const Position limit = i + 1 < segments_.size() ? segments_[i + 1].info.start : UINT64_MAX;
      if (base::Status s = content_.Load(io_, segment); !s.ok()) return s;
      scan_ = ScanRecords(content_.From(segment.info.data_offset),
                          scan_.end,
                          limit,
                          std::max(scan_.durable, segment.durable));
      last_ = i;
    }
    result_.end = scan_.end;
    return {};
  }

  // With the content of the last segment loaded.
  base::Status SearchBeyondEnd() {
    Search search;
    search.bad = scan_.end;
    search.durable_min = scan_.durable;
    search.proof = durable_;
    const Segment& last = segments_[last_];
    const uint64_t end_offset = last.info.data_offset + (scan_.end - last.info.start);
    const std::string_view rest = content_.From(end_offset);
    search.Look(rest, scan_.end);
    // In a file without a former life whatever is not zero was written behind the end.
    zero_bytes_ = search.island_end > scan_.end ? search.island_end - scan_.end : 0;
    if (!last.recycled) {
      const size_t nonzero = rest.find_last_not_of('\0');
      if (nonzero != std::string_view::npos)
        zero_bytes_ = std::max<uint64_t>(zero_bytes_, nonzero + 1);
    } else if (rest.size() >= kRecordHeaderBytes) {
      // Whether the bytes at the end are a torn record or the file's former life shows in the
      // durable position: a former record's is at least a segment old.
      const auto torn = DecodeRecordHeader(rest.data(), scan_.end);
      if (torn && torn->durable >= scan_.durable && torn->bytes <= rest.size()) {
        zero_bytes_ = std::max(zero_bytes_, torn->bytes);
      }
    }
    result_.bytes_dropped = zero_bytes_;
    for (size_t i = last_ + 1; i < segments_.size() && search.proof <= search.bad; ++i) {
      const Segment& segment = segments_[i];
      if (segment.valid) search.proof = std::max(search.proof, segment.durable);
      if (base::Status s = content_.Load(io_, segment); !s.ok()) return s;
      const uint32_t data_offset =
          segment.valid ? segment.info.data_offset : ProbeDataOffset(segment);
      if (data_offset == 0) continue;
      search.island_bytes = 0;
      search.Look(content_.From(data_offset), segment.info.start);
      result_.bytes_dropped += search.island_bytes;
    }
    if (search.proof <= search.bad) return {};
    return base::Corrupt("the log is damaged at position " + std::to_string(scan_.end) + " (" +
                         last.info.path + " at byte " + std::to_string(end_offset) +
                         "), though it was durable up to position " + std::to_string(search.proof) +
                         ": acknowledged writes are lost" + std::string(base::kDirectoryRemedy));
  }

  // For a segment without a readable header: where its first record is; 0 if that cannot be found.
  uint32_t ProbeDataOffset(const Segment& segment) const {
    for (uint32_t offset = kDataAlignment; offset <= kDataOffsetProbeMax;
         offset += kDataAlignment) {
      if (DecodeRecord(content_.From(offset), segment.info.start)) return offset;
    }
    return 0;
  }

  // All durable with MakeDurable. A power cut in between leaves a log without proof of what is
  // dropped, as this one: then the same is done again.
  base::Status DropBeyondEnd() {
    while (segments_.size() > last_ + 1) {
      if (base::Status s = io_.Unlink(segments_.back().info.path); !s.ok()) return s;
      segments_.pop_back();
    }
    if (zero_bytes_ == 0) return {};
    const Segment& last = segments_[last_];
    auto file = io_.Open(last.info.path, OpenMode::kWrite);
    if (!file.ok()) return file.status();
    const std::string zeros(std::min<uint64_t>(zero_bytes_, kCopyBytes), '\0');
    uint64_t offset = last.info.data_offset + (scan_.end - last.info.start);
    while (zero_bytes_ > 0) {
      const size_t n = static_cast<size_t>(std::min<uint64_t>(zero_bytes_, zeros.size()));
      base::Status s = (*file)->WriteAt(offset, std::string_view(zeros).substr(0, n));
      if (!s.ok()) return s;
      offset += n;
      zero_bytes_ -= n;
    }
    return {};
  }

  base::Status MakeDurable() {
    const Position proven = std::max(scan_.durable, verify_from_);
    for (size_t i = first_read_; i < segments_.size(); ++i) {
      const Segment& segment = segments_[i];
      const Position start = segment.info.start;
      const Position end = i + 1 < segments_.size() ? segments_[i + 1].info.start : scan_.end;
      const uint64_t file_end = segment.info.data_offset + (end - start);
      // A header is proven by a durable position beyond its segment's start.
      const uint64_t from = proven > start ? segment.info.data_offset + (proven - start) : 0;
      auto file = io_.Open(segment.info.path, OpenMode::kWrite);
      if (!file.ok()) return file.status();
      if (base::Status s = Rewrite(**file, from, file_end); !s.ok()) return s;
      if (base::Status s = (*file)->SyncData(); !s.ok()) return s;
    }
    return io_.SyncDirectory(dir_);
  }

  static base::Status Rewrite(File& file, uint64_t from, uint64_t to) {
    std::string buffer;
    while (from < to) {
      buffer.resize(static_cast<size_t>(std::min<uint64_t>(to - from, kCopyBytes)));
      auto n = file.ReadAt(from, buffer.data(), buffer.size());
      if (!n.ok()) return n.status();
      // Records are all there; only the padding behind a header can be cut short.
      std::fill(buffer.begin() + static_cast<ptrdiff_t>(*n), buffer.end(), '\0');
      if (base::Status s = file.WriteAt(from, buffer); !s.ok()) return s;
      from += buffer.size();
    }
    return {};
  }

  Io& io_;
  const std::string& dir_;
  const Position verify_from_;
  const Position durable_;  // what the caller knows of

  std::vector<Segment> segments_;
  size_t first_read_ = 0;  // the first segment whose records are verified
  size_t last_ = 0;        // the one in which the log ends
  Scan scan_;
  uint64_t zero_bytes_ = 0;  // to overwrite behind the end
  Content content_;
  Recovery result_;
};

}  // namespace

base::Result<Recovery> Recover(Io& io, const std::string& dir, Position verify_from, Position durable) {
  return Recoverer(io, dir, verify_from, durable).Run();
}

}  // namespace polyarch::log
