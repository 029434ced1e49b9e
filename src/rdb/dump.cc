#include <optional>

#include "base/codec.h"
#include "rdb/crc64.h"
#include "rdb/encodings.h"
#include "rdb/libraries.h"
#include "rdb/value.h"

namespace polyarch::rdb {

namespace {

constexpr size_t kFooterBytes = 10;

// The payload without version and checksum, if these are right.
std::optional<std::string_view> BodyOf(std::string_view payload) {
  if (payload.size() < kFooterBytes) return std::nullopt;
  const std::string_view body = payload.substr(0, payload.size() - kFooterBytes);
  const std::string_view footer = payload.substr(body.size());
  const auto version =
      static_cast<uint16_t>(static_cast<uint8_t>(footer[0]) | static_cast<uint8_t>(footer[1]) << 8);
  if (version > kVersionReadMax) return std::nullopt;
  const uint64_t sum = Crc64(payload.substr(0, payload.size() - 8));
  if (base::LoadFixed64(footer.data() + 2) != sum) return std::nullopt;
  return body;
}

}  // namespace

void PutFooter(std::string& body) {
  body.push_back(static_cast<char>(kVersionWritten));
  body.push_back(0);
  base::PutFixed64(body, Crc64(body));
}

std::optional<std::string_view> BodyOfDump(std::string_view payload) {
  return BodyOf(payload);
}

ReadStatus ReadDump(std::string_view payload, size_t limit, Value& value) {
  const std::optional<std::string_view> body = BodyOf(payload);
  return body ? ReadBody(*body, limit, value) : ReadStatus::kBadSum;
}

ReadStatus ReadLibraries(std::string_view payload, size_t limit, std::vector<std::string>& sources) {
  const std::optional<std::string_view> body = BodyOf(payload);
  return body ? ReadLibrariesBody(*body, limit, sources) : ReadStatus::kBadSum;
}

std::string WriteDump(const Value& value) {
  std::string out;
  WriteBody(value, out);
  PutFooter(out);
  return out;
}

std::string WriteLibraries(std::span<const std::string_view> sources) {
  std::string out;
  WriteLibrariesBody(sources, out);
  PutFooter(out);
  return out;
}

}  // namespace polyarch::rdb
