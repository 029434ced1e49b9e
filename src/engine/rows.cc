#include "engine/rows.h"

#include "base/codec.h"
#include "base/hash.h"
#include "base/number.h"

namespace polyarch::engine {

namespace {
constexpr uint8_t kRowVersion = 1;
}

std::string DataRowKey(uint8_t db, std::string_view key) {
  std::string out;
  uint16_t slot = base::KeySlot(key);
  out.push_back(static_cast<char>(slot >> 8));
  out.push_back(static_cast<char>(slot & 0xff));
  out.push_back(static_cast<char>(db));
  out.push_back(static_cast<char>(key.size() >> 8));
  out.push_back(static_cast<char>(key.size() & 0xff));
  out.append(key);
  return out;
}

bool ParseDataRowKey(std::string_view row_key, uint8_t& db, std::string_view& key) {
  if (row_key.size() < 5) return false;
  db = static_cast<uint8_t>(row_key[2]);
  size_t size =
      static_cast<size_t>(static_cast<uint8_t>(row_key[3])) << 8 | static_cast<uint8_t>(row_key[4]);
  key = row_key.substr(5);
  return key.size() == size && db <= crdt::kReservedDatabase;
}

std::string EncodeDataRow(log::Position position, const crdt::KeyState& state) {
  std::string out(1, static_cast<char>(kRowVersion));
  base::PutFixed64(out, position);
  crdt::Encode(state, out);
  return out;
}

bool DecodeDataRow(std::string_view row, log::Position& position, crdt::KeyState& state) {
  base::Reader in(row);
  if (in.Fixed8() != kRowVersion) return false;
  position = in.Fixed64();
  return crdt::Decode(in, state) && in.empty();
}

std::string OriginRowKey(size_t index) {
  std::string out = kOriginRowPrefix;
  out.push_back(static_cast<char>(index >> 8));
  out.push_back(static_cast<char>(index & 0xff));
  return out;
}

std::string EncodeOriginRow(const clock::Origin& origin) {
  std::string out;
  base::PutBytes(out, origin.leader);
  base::PutFixed64(out, origin.incarnation);
  return out;
}

bool DecodeOriginRow(std::string_view row, clock::Origin& origin) {
  base::Reader in(row);
  origin.leader = in.Bytes();
  origin.incarnation = in.Fixed64();
  return in.ok() && in.empty();
}

std::string EncodeLease(uint64_t lease_ms) {
  std::string out(1, static_cast<char>(LocalRecord::kLease));
  base::PutFixed64(out, lease_ms);
  return out;
}

std::string EncodeIdentity(const Identity& identity) {
  std::string out(1, static_cast<char>(LocalRecord::kIdentity));
  base::PutFixed64(out, identity.cluster);
  base::PutBytes(out, identity.leader);
  out.push_back(identity.admitted ? 1 : 0);
  base::PutFixed64(out, identity.join_nonce);
  return out;
}

bool DecodeLocal(std::string_view payload,
                 LocalRecord& type,
                 Identity& identity,
                 uint64_t& lease_ms) {
  base::Reader in(payload);
  type = static_cast<LocalRecord>(in.Fixed8());
  if (type == LocalRecord::kLease) {
    lease_ms = in.Fixed64();
  } else if (type == LocalRecord::kIdentity) {
    identity.cluster = in.Fixed64();
    identity.leader = in.Bytes();
    identity.admitted = in.Fixed8() != 0;
    identity.join_nonce = in.Fixed64();
  } else {
    return false;
  }
  return in.ok() && in.empty();
}

std::vector<std::string_view> SplitWords(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    size_t space = text.find(' ');
    if (space != 0) words.push_back(text.substr(0, space));
    if (space == std::string_view::npos) break;
    text.remove_prefix(space + 1);
  }
  return words;
}

clock::VersionVector ParseVector(std::string_view text, clock::OriginTable& origins) {
  clock::VersionVector vv;
  for (std::string_view word : SplitWords(text)) {
    size_t colon = word.rfind(':');
    if (colon == std::string_view::npos) continue;
    auto origin = clock::Origin::Parse(word.substr(0, colon));
    auto sequence = base::ParseInt64(word.substr(colon + 1));
    if (!origin || !sequence || *sequence <= 0) continue;
    clock::OriginIndex index = origins.Intern(*origin);
    if (index != clock::kNoOrigin) vv.Raise(index, static_cast<uint64_t>(*sequence));
  }
  return vv;
}

}  // namespace polyarch::engine
