#include "wire/state_message.h"

#include "base/codec.h"

namespace polyarch::wire {

namespace {

// A row's key: the header, a key and an element's name of 64 KiB each.
constexpr size_t kAfterMax = 140'000;

// Of a chunk of rows.
constexpr uint8_t kLastFlag = 1;
constexpr uint8_t kPieceFlag = 2;

std::string Begin(uint8_t type) {
  return std::string(1, static_cast<char>(type));
}

void PutOrigin(std::string& out, const clock::Origin& origin) {
  base::PutBytes(out, origin.leader);
  base::PutFixed64(out, origin.incarnation);
}

clock::Origin ReadOrigin(base::Reader& in) {
  clock::Origin origin;
  std::string_view leader = in.Bytes();
  if (leader.empty() || leader.size() > 255) in.Fail();
  origin.leader = leader;
  origin.incarnation = in.Fixed64();
  return origin;
}

void PutNames(std::string& out, const std::vector<clock::Origin>& names) {
  base::PutVarint(out, names.size());
  for (const clock::Origin& name : names)
    PutOrigin(out, name);
}

void ReadNames(base::Reader& in, std::vector<clock::Origin>& names) {
  names.clear();
  uint64_t n = in.Varint();
  if (n > clock::kOriginsMax) in.Fail();
  for (; n > 0 && in.ok(); --n)
    names.push_back(ReadOrigin(in));
}

StatePart ReadPart(base::Reader& in) {
  const uint8_t part = in.Fixed8();
  if (part < 1 || part > 5) in.Fail();
  return static_cast<StatePart>(part);
}

}  // namespace

std::string Encode(const Gap& m) {
  std::string out = Begin(kGapMessage);
  PutOrigin(out, m.origin);
  base::PutVarint(out, m.floor);
  return out;
}

bool Decode(std::string_view payload, Gap& m) {
  base::Reader in(payload);
  m.origin = ReadOrigin(in);
  m.floor = in.Varint();
  return in.ok() && in.empty() && m.floor >> 48 == 0;
}

std::string Encode(const StateRequest& m) {
  std::string out = Begin(kStateRequestMessage);
  base::PutFixed64(out, m.id);
  base::PutFixed64(out, m.epoch);
  base::PutVarint(out, m.base);
  base::PutVarint(out, m.position);
  // Behind what the first format had.
  if (m.needed != 0) base::PutVarint(out, m.needed);
  return out;
}

bool Decode(std::string_view payload, StateRequest& m) {
  base::Reader in(payload);
  m.id = in.Fixed64();
  m.epoch = in.Fixed64();
  m.base = in.Varint();
  m.position = in.Varint();
  m.needed = 0;
  if (in.ok() && !in.empty()) {
    m.needed = in.Varint();
    if (m.needed <= m.position) return false;
  }
  return in.ok() && in.empty() && m.id != 0;
}

std::string Encode(const StateOffer& m) {
  std::string out = Begin(kStateOfferMessage);
  base::PutFixed64(out, m.id);
  base::PutFixed64(out, m.epoch);
  base::PutVarint(out, m.base);
  base::PutFixed8(out, m.resumed ? 1 : 0);
  base::PutFixed64(out, m.stamp);
  PutNames(out, m.names);
  base::PutBytes(out, m.checkpoint);
  // Behind what the first format had: a sender without a ledger writes just that.
  if (!m.ledger.empty()) base::PutVarint(out, m.ledger.size());
  for (const auto& [bucket, digest] : m.ledger) {
    base::PutVarint(out, bucket);
    base::PutFixed64(out, digest);
  }
  return out;
}

bool Decode(std::string_view payload, StateOffer& m) {
  base::Reader in(payload);
  m.id = in.Fixed64();
  m.epoch = in.Fixed64();
  m.base = in.Varint();
  m.resumed = in.Fixed8() != 0;
  m.stamp = in.Fixed64();
  ReadNames(in, m.names);
  m.checkpoint = in.Bytes();
  m.ledger.clear();
  const bool any = in.ok() && !in.empty();
  const uint64_t buckets = any ? in.Varint() : 0;
  if (buckets > kBucketBitsBytes * 8 || (any && buckets == 0)) return false;
  for (uint64_t i = 0; i < buckets; ++i) {
    const uint64_t bucket = in.Varint();
    if (!in.ok() || bucket >= kBucketBitsBytes * 8) return false;
    m.ledger.emplace_back(static_cast<uint16_t>(bucket), in.Fixed64());
  }
  return in.ok() && in.empty() && m.id != 0 && m.epoch != 0;
}

std::string Encode(const StateRefusal& m) {
  std::string out = Begin(kStateRefusalMessage);
  base::PutFixed64(out, m.id);
  base::PutFixed8(out, static_cast<uint8_t>(m.reason));
  return out;
}

bool Decode(std::string_view payload, StateRefusal& m) {
  base::Reader in(payload);
  m.id = in.Fixed64();
  const uint8_t reason = in.Fixed8();
  m.reason = static_cast<RefusalReason>(reason);
  return in.ok() && in.empty() && reason >= 1 && reason <= static_cast<uint8_t>(RefusalReason::kBroken);
}

std::string Encode(const StatePull& m) {
  std::string out = Begin(kStatePullMessage);
  base::PutFixed64(out, m.id);
  base::PutVarint(out, m.generation);
  base::PutFixed8(out, static_cast<uint8_t>(m.part));
  base::PutBytes(out, m.after);
  base::PutVarint(out, m.position);
  base::PutVarint(out, m.credit);
  base::PutVarint(out, m.names);
  // Behind what the first format had: what is nothing is left out.
  if (m.part == StatePart::kStream) {
    if (m.stored != 0) base::PutVarint(out, m.stored);
    return out;
  }
  if (!m.skip.empty() || m.row_offset != 0) base::PutBytes(out, m.skip);
  if (m.row_offset != 0) {
    base::PutVarint(out, m.row_offset);
    base::PutFixed64(out, m.row_digest);
  }
  return out;
}

bool Decode(std::string_view payload, StatePull& m) {
  base::Reader in(payload);
  m.id = in.Fixed64();
  m.generation = in.Varint();
  m.part = ReadPart(in);
  std::string_view after = in.Bytes();
  if (after.size() > kAfterMax) return false;
  m.after = after;
  m.position = in.Varint();
  m.credit = in.Varint();
  m.names = in.Varint();
  m.skip.clear();
  m.row_offset = m.row_digest = m.stored = 0;
  if (m.part == StatePart::kStream) {
    if (in.ok() && !in.empty()) {
      m.stored = in.Varint();
      if (m.stored == 0) return false;
    }
    return in.ok() && in.empty();
  }
  if (in.ok() && !in.empty()) {
    m.skip = in.Bytes();
    const size_t size = m.part == StatePart::kLedger ? kBucketBitsBytes : kSlotBitsBytes;
    if (m.skip.size() != size && !(m.skip.empty() && !in.empty())) return false;
  }
  if (in.ok() && !in.empty()) {
    m.row_offset = in.Varint();
    m.row_digest = in.Fixed64();
    if (m.row_offset == 0) return false;
  }
  return in.ok() && in.empty();
}

std::string Encode(const StateChunk& m) {
  std::string out = Begin(kStateChunkMessage);
  base::PutFixed64(out, m.id);
  base::PutVarint(out, m.generation);
  base::PutFixed8(out, static_cast<uint8_t>(m.part));
  base::PutVarint(out, m.end);
  base::PutVarint(out, m.first_name);
  PutNames(out, m.names);
  if (m.part == StatePart::kStream) {
    base::PutVarint(out, m.from);
    base::PutVarint(out, m.to - m.from);
    base::PutVarint(out, m.frames.size());
    uint64_t position = m.from;
    for (const auto& [end, bytes] : m.frames) {
      base::PutVarint(out, end - position);
      base::PutBytes(out, bytes);
      position = end;
    }
  } else {
    base::PutBytes(out, m.after);
    base::PutFixed8(out, static_cast<uint8_t>((m.last ? kLastFlag : 0) | (m.row_bytes != 0 ? kPieceFlag : 0)));
    base::PutVarint(out, m.rows.size());
    for (const auto& [key, row] : m.rows) {
      base::PutBytes(out, key);
      base::PutBytes(out, row);
    }
    if (m.row_bytes != 0) {
      base::PutVarint(out, m.row_bytes);
      base::PutVarint(out, m.row_offset);
      base::PutFixed64(out, m.row_digest);
    }
  }
  return out;
}

bool Decode(std::string_view payload, StateChunk& m) {
  base::Reader in(payload);
  m.id = in.Fixed64();
  m.generation = in.Varint();
  m.part = ReadPart(in);
  m.end = in.Varint();
  m.first_name = in.Varint();
  ReadNames(in, m.names);
  m.rows.clear();
  m.frames.clear();
  if (m.part == StatePart::kStream) {
    m.from = in.Varint();
    const uint64_t length = in.Varint();
    if (m.from >> 62 != 0 || length >> 62 != 0) return false;
    m.to = m.from + length;
    uint64_t position = m.from;
    for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
      const uint64_t increase = in.Varint();
      if (increase == 0 || increase > m.to - position) return false;
      position += increase;
      std::string_view bytes = in.Bytes();
      m.frames.emplace_back(position, bytes);
    }
  } else {
    m.after = in.Bytes();
    const uint8_t flags = in.Fixed8();
    if (flags > (kLastFlag | kPieceFlag)) return false;
    m.last = (flags & kLastFlag) != 0;
    for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
      std::string_view key = in.Bytes();
      std::string_view row = in.Bytes();
      m.rows.emplace_back(key, row);
    }
    m.row_bytes = m.row_offset = m.row_digest = 0;
    if (m.part == StatePart::kBase && (flags & kPieceFlag) == 0) return false;
    if ((flags & kPieceFlag) != 0) {
      m.row_bytes = in.Varint();
      m.row_offset = in.Varint();
      m.row_digest = in.Fixed64();
      if (m.part == StatePart::kDigests || m.rows.size() != 1 || m.row_bytes > kRowBytesMax) return false;
      const size_t piece = m.rows.front().second.size();
      if (piece == 0 || m.row_offset > m.row_bytes || piece > m.row_bytes - m.row_offset) return false;
      // Only with the end of the row can the end of all rows have come.
      if (m.last && m.row_offset + piece != m.row_bytes) return false;
    }
  }
  return in.ok() && in.empty();
}

std::string Encode(const StateEnd& m) {
  std::string out = Begin(kStateEndMessage);
  base::PutFixed64(out, m.id);
  return out;
}

bool Decode(std::string_view payload, StateEnd& m) {
  base::Reader in(payload);
  m.id = in.Fixed64();
  return in.ok() && in.empty();
}

}  // namespace polyarch::wire
