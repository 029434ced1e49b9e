#include "clock/session_token.h"

#include "base/base64.h"
#include "base/codec.h"
#include "base/crc32c.h"

namespace polyarch::clock {

namespace {
constexpr uint8_t kFormat = 1;
constexpr size_t kCheckBytes = 4;
constexpr uint64_t kSequenceMax = (uint64_t{1} << 48) - 1;
}  // namespace

std::string EncodeSessionToken(const SessionToken& token) {
  std::string bytes;
  base::PutFixed8(bytes, kFormat);
  base::PutFixed64(bytes, token.cluster);
  base::PutVarint(bytes, token.entries.size());
  for (const auto& [origin, sequence] : token.entries) {
    base::PutBytes(bytes, origin.leader);
    base::PutFixed64(bytes, origin.incarnation);
    base::PutVarint(bytes, sequence);
  }
  base::PutFixed32(bytes, base::Crc32c(bytes));
  return base::Base64Url(bytes);
}

std::optional<SessionToken> ParseSessionToken(std::string_view text) {
  const std::optional<std::string> bytes = base::ParseBase64Url(text);
  if (!bytes || bytes->size() <= kCheckBytes) return std::nullopt;
  const std::string_view body = std::string_view(*bytes).substr(0, bytes->size() - kCheckBytes);
  if (base::LoadFixed32(body.data() + body.size()) != base::Crc32c(body)) return std::nullopt;
  base::Reader reader(body);
  if (reader.Fixed8() != kFormat) return std::nullopt;
  SessionToken token;
  token.cluster = reader.Fixed64();
  const uint64_t count = reader.Varint();
  if (count > kOriginsMax) return std::nullopt;
  for (uint64_t i = 0; i < count && reader.ok(); ++i) {
    Origin origin;
    origin.leader = reader.Bytes();
    origin.incarnation = reader.Fixed64();
    const uint64_t sequence = reader.Varint();
    if (sequence == 0 || sequence > kSequenceMax) return std::nullopt;
    token.entries.emplace_back(std::move(origin), sequence);
  }
  if (!reader.ok() || !reader.empty()) return std::nullopt;
  return token;
}

}  // namespace polyarch::clock
