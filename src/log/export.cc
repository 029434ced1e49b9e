#include "log/export.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "log/format.h"

namespace polyarch::log {

namespace {

constexpr size_t kChunkBytes = 1 << 20;

struct Part {
  std::string name;
  Position start = 0;
  Position end = 0;  // of what is copied
  SegmentHeader header;
};

base::Result<SegmentHeader> ReadHeader(File& file, const std::string& path, Position start) {
  std::string bytes(kSegmentHeaderBytes, '\0');
  auto got = file.ReadAt(0, bytes.data(), bytes.size());
  if (!got.ok()) return got.status();
  bytes.resize(*got);
  const size_t size = SegmentHeaderSize(bytes);
  if (size == 0) return base::Corrupt("the log's segment " + path + " has no header");
  bytes.resize(size);
  got = file.ReadAt(0, bytes.data(), size);
  if (!got.ok()) return got.status();
  bytes.resize(*got);
  return DecodeSegmentHeader(bytes, start);
}

base::Result<std::vector<Part>> FindParts(Io& io,
                                          const std::string& dir,
                                          Position from,
                                          Position to) {
  auto names = io.List(dir);
  if (!names.ok()) return names.status();
  std::vector<Part> parts;
  for (const std::string& name : *names) {
    const auto start = ParseSegmentName(name);
    // One that starts at `to` may be in the making, and holds nothing that is wanted.
    if (start && (*start < to || *start == 0)) parts.push_back({name, *start, to, {}});
  }
  std::sort(
      parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.start < b.start; });
  for (size_t i = 0; i + 1 < parts.size(); ++i)
    parts[i].end = parts[i + 1].start;
  while (parts.size() > 1 && parts[1].start <= from)
    parts.erase(parts.begin());
  if (parts.empty() || parts.front().start > from) {
    return base::NotFound("position " + std::to_string(from) + " is not in the log any more");
  }
  for (Part& part : parts) {
    const std::string path = dir + "/" + part.name;
    auto file = io.Open(path, OpenMode::kRead);
    if (!file.ok()) return file.status();
    auto header = ReadHeader(**file, path, part.start);
    if (!header.ok()) return header.status();
    part.header = std::move(*header);
  }
  return parts;
}

// The records of `part`, verified, behind its header.
base::Status CopyPart(Io& io,
                      const std::string& dir,
                      const Part& part,
                      const std::string& target,
                      const std::atomic<bool>& cancelled) {
  const std::string path = dir + "/" + part.name;
  auto source = io.Open(path, OpenMode::kRead);
  if (!source.ok()) return source.status();
  auto copy = io.Open(target + "/" + part.name, OpenMode::kCreate);
  if (!copy.ok()) return copy.status();
  const std::string header =
      EncodeSegmentHeader(part.start, part.header.durable, part.header.recycled, part.header.head);
  if (base::Status s = (*copy)->WriteAt(0, header); !s.ok()) return s;

  std::string bytes;  // from `position` on
  Position position = part.start;
  while (position < part.end) {
    if (cancelled.load(std::memory_order_relaxed)) return {base::Code::kBusy, "cancelled"};
    const size_t had = bytes.size();
    const Position read_at = position + had;
    if (read_at < part.end) {
      // At least as much again as there is: a record of gigabytes is not read in quadratic time.
      const size_t want =
          static_cast<size_t>(std::min<uint64_t>(std::max(kChunkBytes, had), part.end - read_at));
      bytes.resize(had + want);
      auto got = (*source)->ReadAt(
          part.header.data_offset + (read_at - part.start), bytes.data() + had, want);
      if (!got.ok()) return got.status();
      bytes.resize(had + *got);
    }
    size_t whole = 0;
    while (auto record = DecodeRecord(std::string_view(bytes).substr(whole), position + whole))
      whole += record->bytes;
    if (whole == 0 && bytes.size() == had) {
      return base::Corrupt("the log's record at position " + std::to_string(position) + " in " +
                           path + " is damaged");
    }
    if (whole == 0) continue;
    if (position + whole > part.end) {
      return base::Corrupt("the log's segment " + path + " has no record that ends at " +
                           std::to_string(part.end));
    }
    const uint64_t offset = part.header.data_offset + (position - part.start);
    if (base::Status s = (*copy)->WriteAt(offset, std::string_view(bytes).substr(0, whole));
        !s.ok()) {
      return s;
    }
    bytes.erase(0, whole);
    position += whole;
  }
  return {};
}

}  // namespace

base::Result<uint64_t> ExportBytes(Io& io, const std::string& dir, Position from, Position to) {
  auto parts = FindParts(io, dir, from, to);
  if (!parts.ok()) return parts.status();
  uint64_t bytes = 0;
  for (const Part& part : *parts)
    bytes += part.header.data_offset + (std::max(part.end, part.start) - part.start);
  return bytes;
}

base::Result<Exported> ExportLog(Io& io,
                                 const std::string& dir,
                                 Position from,
                                 Position to,
                                 const std::string& target,
                                 const std::atomic<bool>& cancelled) {
  if (from > to) return base::Invalid("a log cannot be copied backwards");
  auto parts = FindParts(io, dir, from, to);
  if (!parts.ok()) return parts.status();
  Exported out;
  out.begin = parts->front().start;
  for (const Part& part : *parts) {
    if (base::Status s = CopyPart(io, dir, part, target, cancelled); !s.ok()) return s;
    out.bytes += part.header.data_offset + (part.end - part.start);
    out.names.push_back(part.name);
  }
  return out;
}

}  // namespace polyarch::log
