#include "base/codec.h"
#include "rdb/crc64.h"
#include "rdb/value.h"

namespace polyarch::rdb {

namespace {

constexpr uint16_t kVersion = 10;         // written: Redis 7.0's
constexpr uint16_t kVersionReadMax = 11;  // Redis 7.2's
constexpr size_t kFooterBytes = 10;

}  // namespace

ReadStatus ReadDump(std::string_view payload, size_t limit, Value& value) {
  if (payload.size() < kFooterBytes) return ReadStatus::kBadSum;
  const std::string_view body = payload.substr(0, payload.size() - kFooterBytes);
  const std::string_view footer = payload.substr(body.size());
  const auto version =
      static_cast<uint16_t>(static_cast<uint8_t>(footer[0]) | static_cast<uint8_t>(footer[1]) << 8);
  if (version > kVersionReadMax) return ReadStatus::kBadSum;
  const uint64_t sum = Crc64(payload.substr(0, payload.size() - 8));
  if (base::LoadFixed64(footer.data() + 2) != sum) return ReadStatus::kBadSum;
  return ReadBody(body, limit, value);
}

std::string WriteDump(const Value& value) {
  std::string out;
  WriteBody(value, out);
  out.push_back(static_cast<char>(kVersion));
  out.push_back(0);
  base::PutFixed64(out, Crc64(out));
  return out;
}

}  // namespace polyarch::rdb
