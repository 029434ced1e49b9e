#include "command/polyarch_token.h"

#include <algorithm>

#include "base/codec.h"
#include "base/crc32c.h"
#include "base/hash.h"
#include "conflict/policy.h"

namespace polyarch::command {
namespace {

constexpr uint8_t kFormat = 1;
constexpr size_t kCrcBytes = 4;

uint64_t HashOf(const TokenPlace& place) {
  if (!place.field) return base::ContentHash64(place.key, place.db);
  std::string both;
  base::PutBytes(both, place.key);
  both.append(*place.field);
  constexpr uint64_t kOfField = 256;  // beyond the numbers of databases
  return base::ContentHash64(both, kOfField + place.db);
}

void PutOrigin(std::string& out, const clock::Origin& origin) {
  base::PutBytes(out, origin.leader);
  base::PutFixed64(out, origin.incarnation);
}

clock::Origin ReadOrigin(base::Reader& in) {
  clock::Origin origin;
  origin.leader = in.Bytes();
  origin.incarnation = in.Fixed64();
  return origin;
}

void PutAt(std::string& out, crdt::At at) {
  base::PutVarint(out, at.sequence);
  base::PutVarint(out, at.index);
}

crdt::At ReadAt(base::Reader& in) {
  crdt::At at;
  at.sequence = in.Varint();
  uint64_t index = in.Varint();
  if (index > UINT32_MAX || at.sequence >> 48 != 0) in.Fail();
  at.index = static_cast<uint32_t>(index);
  return at;
}

std::string ToHex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (char c : bytes) {
    text += kDigits[static_cast<uint8_t>(c) >> 4];
    text += kDigits[static_cast<uint8_t>(c) & 15];
  }
  return text;
}

int DigitOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Empty if `text` is not hexadecimal.
std::string FromHex(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    int high = DigitOf(text[i]);
    int low = DigitOf(text[i + 1]);
    if (high < 0 || low < 0) return {};
    bytes += static_cast<char>(high << 4 | low);
  }
  return bytes;
}

}  // namespace

Token MakeToken(const crdt::Register& state, const clock::OriginTable& origins) {
  Token token;
  for (size_t i : conflict::CanonicalOrder(state.versions, origins)) {
    clock::Dot dot = state.versions[i].dot;
    token.versions.push_back({origins.Get(dot.origin()), dot.sequence()});
  }
  for (const crdt::Clear& c : crdt::ClearsOf(state)) {
    token.clears.push_back({origins.Get(c.origin), c.life, c.at, c.total});
  }
  std::sort(token.clears.begin(), token.clears.end(), [](const auto& a, const auto& b) {
    return a.origin < b.origin;
  });
  return token;
}

std::string EncodeToken(const Token& token, const TokenPlace& place) {
  std::string out;
  base::PutFixed8(out, kFormat);
  base::PutFixed64(out, HashOf(place));
  base::PutVarint(out, token.versions.size());
  for (const Token::Version& v : token.versions) {
    PutOrigin(out, v.origin);
    base::PutVarint(out, v.sequence);
  }
  base::PutVarint(out, token.clears.size());
  for (const Token::Clear& c : token.clears) {
    PutOrigin(out, c.origin);
    PutAt(out, c.life);
    PutAt(out, c.at);
    crdt::PutNumber(out, c.total);
  }
  base::PutFixed32(out, base::Crc32c(out));
  return ToHex(out);
}

base::Result<Token> DecodeToken(std::string_view text, const TokenPlace& place) {
  const base::Status bad = base::Invalid("invalid token: it must be what CONFLICT GET returned");
  if (text.size() % 2 != 0) return bad;
  const std::string bytes = FromHex(text);
  if (bytes.size() <= kCrcBytes) return bad;
  const std::string_view body = std::string_view(bytes).substr(0, bytes.size() - kCrcBytes);
  if (base::LoadFixed32(bytes.data() + body.size()) != base::Crc32c(body)) return bad;
  base::Reader in(body);
  if (in.Fixed8() != kFormat) {
    return base::Invalid("invalid token: a newer version made it than this leader runs");
  }
  if (in.Fixed64() != HashOf(place)) {
    return base::Invalid("invalid token: it is of another key or field");
  }
  Token token;
  for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
    Token::Version v;
    v.origin = ReadOrigin(in);
    v.sequence = in.Varint();
    if (v.sequence == 0 || v.sequence >> 48 != 0) in.Fail();
    token.versions.push_back(std::move(v));
  }
  for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
    Token::Clear c;
    c.origin = ReadOrigin(in);
    c.life = ReadAt(in);
    c.at = ReadAt(in);
    c.total = crdt::ReadNumber(in);
    if (c.at < c.life || c.life.sequence == 0) in.Fail();
    token.clears.push_back(std::move(c));
  }
  if (!in.ok() || !in.empty()) return bad;
  return token;
}

}  // namespace polyarch::command
