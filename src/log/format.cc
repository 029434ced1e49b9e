#include "log/format.h"

#include <charconv>
#include <cstring>

#include "base/codec.h"
#include "base/crc32c.h"

namespace polyarch::log {

namespace {

constexpr std::string_view kMagic = "PALOGSEG";
constexpr uint8_t kTypeMax = 15;
constexpr uint32_t kRecycledFlag = 1;

static_assert(std::endian::native == std::endian::little);

template <typename T>
void Store(char* p, T v) {
  std::memcpy(p, &v, sizeof(v));
}

uint32_t RecordCrc(const char* record, uint64_t record_bytes, Position position, uint64_t size) {
  char seed[16];
  Store(seed, position);
  Store(seed + 8, size);
  return base::Crc32c({record + 8, record_bytes - 8}, base::Crc32c({seed, sizeof(seed)}));
}

uint32_t HeaderCrc(const char* header, std::string_view head) {
  uint32_t crc = base::Crc32c({header, 12});
  crc = base::Crc32c({header + 16, kSegmentHeaderBytes - 16}, crc);
  return base::Crc32c(head, crc);
}

std::optional<uint64_t> ParseNumbered(std::string_view name, std::string_view prefix) {
  constexpr std::string_view kSuffix = ".seg";
  if (!name.starts_with(prefix) || !name.ends_with(kSuffix)) return std::nullopt;
  if (name.size() < prefix.size() + kSuffix.size() + 1) return std::nullopt;
  name = name.substr(prefix.size(), name.size() - prefix.size() - kSuffix.size());
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

}  // namespace

void EncodeRecord(
    char* out, Position position, Position durable, RecordType type, std::string_view payload) {
  const uint64_t bytes = RecordBytes(payload.size());
  Store(out + bytes - 8, uint64_t{0});  // the padding; what of it is not padding is written next
  Store(out, static_cast<uint32_t>(payload.size()));
  Store(out + 8, durable);
  out[16] = static_cast<char>(type);
  if (!payload.empty()) std::memcpy(out + kRecordHeaderBytes, payload.data(), payload.size());
  Store(out + 4, RecordCrc(out, bytes, position, payload.size()));
}

std::optional<DecodedRecord> DecodeRecordHeader(const char* p, Position position) {
  const auto type = static_cast<uint8_t>(p[16]);
  if (type == 0 || type > kTypeMax) return std::nullopt;
  const uint32_t size = base::LoadFixed32(p);
  if (size > kPayloadBytesMax) return std::nullopt;
  const Position durable = base::LoadFixed64(p + 8);
  if (durable > position) return std::nullopt;
  return DecodedRecord{
      static_cast<RecordType>(type), durable, RecordBytes(size), {p + kRecordHeaderBytes, size}};
}

std::optional<DecodedRecord> DecodeRecord(std::string_view bytes, Position position) {
  if (bytes.size() < kRecordHeaderBytes) return std::nullopt;
  auto record = DecodeRecordHeader(bytes.data(), position);
  if (!record || record->bytes > bytes.size()) return std::nullopt;
  const uint32_t crc = RecordCrc(bytes.data(), record->bytes, position, record->payload.size());
  if (crc != base::LoadFixed32(bytes.data() + 4)) return std::nullopt;
  return record;
}

std::string EncodeSegmentHeader(Position start,
                                Position durable,
                                bool recycled,
                                std::string_view head) {
  CHECK(head.size() <= kHeadBytesMax);
  std::string out(kMagic);
  base::PutFixed32(out, kFormatVersion);
  base::PutFixed32(out, 0);
  base::PutFixed64(out, start);
  base::PutFixed64(out, durable);
  base::PutFixed32(out, DataOffset(head.size()));
  base::PutFixed32(out, static_cast<uint32_t>(head.size()));
  base::PutFixed32(out, recycled ? kRecycledFlag : 0);
  base::PutFixed32(out, 0);
  CHECK(out.size() == kSegmentHeaderBytes);
  Store(out.data() + 12, HeaderCrc(out.data(), head));
  out.append(head);
  out.resize(DataOffset(head.size()));
  return out;
}

size_t SegmentHeaderSize(std::string_view bytes) {
  if (bytes.size() < kSegmentHeaderBytes || !bytes.starts_with(kMagic)) return 0;
  const uint32_t head_bytes = base::LoadFixed32(bytes.data() + 36);
  return head_bytes > kHeadBytesMax ? 0 : kSegmentHeaderBytes + head_bytes;
}

base::Result<SegmentHeader> DecodeSegmentHeader(std::string_view bytes, Position start) {
  const size_t size = SegmentHeaderSize(bytes);
  if (size == 0) return base::Corrupt("not the header of a segment");
  if (base::LoadFixed32(bytes.data() + 8) > kFormatVersion) {
    return base::Status(base::Code::kIncompatible,
                        "the log was written by a newer version of Polyarch: run that version");
  }
  if (bytes.size() < size) return base::Corrupt("the header of the segment is cut short");
  SegmentHeader header;
  header.start = base::LoadFixed64(bytes.data() + 16);
  header.durable = base::LoadFixed64(bytes.data() + 24);
  header.data_offset = base::LoadFixed32(bytes.data() + 32);
  header.recycled = (base::LoadFixed32(bytes.data() + 40) & kRecycledFlag) != 0;
  header.head = bytes.substr(kSegmentHeaderBytes, size - kSegmentHeaderBytes);
  if (HeaderCrc(bytes.data(), header.head) != base::LoadFixed32(bytes.data() + 12) ||
      header.start != start || header.data_offset != DataOffset(header.head.size()) ||
      header.durable > start) {
    return base::Corrupt("the header of the segment fails its checksum");
  }
  return header;
}

std::string SegmentName(Position start) {
  std::string digits = std::to_string(start);
  return "log-" + std::string(20 - digits.size(), '0') + digits + ".seg";
}

std::optional<Position> ParseSegmentName(std::string_view name) {
  const auto start = ParseNumbered(name, "log-");
  if (!start || SegmentName(*start) != name) return std::nullopt;
  return start;
}

std::string SpareName(uint64_t number) {
  return "spare-" + std::to_string(number) + ".seg";
}

std::optional<uint64_t> ParseSpareName(std::string_view name) {
  return ParseNumbered(name, "spare-");
}

}  // namespace polyarch::log
