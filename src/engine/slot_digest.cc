#include "engine/slot_digest.h"

#include "base/codec.h"
#include "base/planted.h"
#include "base/random.h"
#include "engine/rows.h"

namespace polyarch::engine {

namespace {

// A larger slot is not kept in memory to be compared: it is sent.
constexpr size_t kSlotBytesMax = 16 << 20;

void PutAt(std::string& out, const crdt::At& at) {
  base::PutVarint(out, at.sequence);
  base::PutVarint(out, at.index);
}

}  // namespace

uint32_t SlotOfRowKey(std::string_view row_key) {
  if (row_key.size() < 2) return 0;
  return static_cast<uint32_t>(static_cast<uint8_t>(row_key[0])) << 8 |
         static_cast<uint8_t>(row_key[1]);
}

std::string SlotStart(uint32_t slot) {
  return {static_cast<char>(slot >> 8), static_cast<char>(slot & 0xff)};
}

bool HasSlot(std::string_view bits, uint32_t slot) {
  return slot / 8 < bits.size() && (static_cast<uint8_t>(bits[slot / 8]) >> slot % 8 & 1) != 0;
}

void AddSlot(std::string& bits, uint32_t slot) {
  if (bits.empty()) bits.assign(kSlotBitsBytes, '\0');
  bits[slot / 8] = static_cast<char>(static_cast<uint8_t>(bits[slot / 8]) | 1 << slot % 8);
}

std::string EncodeSlotDigest(const base::Digest128& digest) {
  std::string out;
  base::PutFixed64(out, digest.low);
  base::PutFixed64(out, digest.high);
  return out;
}

std::optional<base::Digest128> DecodeSlotDigest(std::string_view bytes) {
  base::Reader in(bytes);
  base::Digest128 digest;
  digest.low = in.Fixed64();
  digest.high = in.Fixed64();
  if (!in.ok() || !in.empty()) return std::nullopt;
  return digest;
}

// ---- hashing

SlotHasher::SlotHasher(uint64_t transfer, std::vector<clock::Origin> names)
    : names_(std::move(names)) {
  base::Random random(transfer);
  for (uint64_t* word : {&low_.k0, &low_.k1, &high_.k0, &high_.k1})
    *word = random.Next();
}

bool SlotHasher::Begin(char kind, std::string_view row_key, clock::OriginIndex origin) {
  if (clock::IndexOf(origin) >= names_.size()) return false;
  const clock::Origin& name = names_[clock::IndexOf(origin)];
  scratch_.assign(1, kind);
  base::PutBytes(scratch_, row_key);
  base::PutBytes(scratch_, name.leader);
  base::PutFixed64(scratch_, name.incarnation);
  return true;
}

void SlotHasher::End(base::Digest128& sum) const {
  sum += base::Digest128{base::SipHash13(scratch_, low_), base::SipHash13(scratch_, high_)};
}

bool SlotHasher::Add(std::string_view row_key, const DataRow& row, base::Digest128& sum) {
  const crdt::KeyState& state = row.state;
  DataRowName of;
  if (ParseDataRowKey(row_key, of) && of.type != crdt::Type::kString)
    return AddRegister(row_key, state.elements.front(), sum);
  if (!AddRegister(row_key, state, sum)) return false;
  for (const crdt::Element& e : state.elements) {
    // As if it had a row of its own: whether it has may differ among leaders.
    std::string name(row_key);
    name.push_back(static_cast<char>(e.type));
    if (!AddRegister(name.append(e.name), e, sum)) return false;
  }
  for (const crdt::ExpiryVersion& x : state.expiries) {
    if (!Begin('x', row_key, x.dot.origin())) return false;
    base::PutVarint(scratch_, x.dot.sequence());
    base::PutFixed64(scratch_, x.hlc.bits);
    base::PutVarint(scratch_, base::ZigZag(x.time_ms));
    End(sum);
  }
  return true;
}

bool SlotHasher::AddRegister(std::string_view row_key,
                             const crdt::Register& state,
                             base::Digest128& sum) {
  for (const crdt::Version& v : state.versions) {
    if (!Begin('v', row_key, v.dot.origin())) return false;
    if (!PLANTED(kSlotDigestOfKeys)) {
      base::PutVarint(scratch_, v.dot.sequence());
      base::PutFixed64(scratch_, v.hlc.bits);
      scratch_.push_back(static_cast<char>((v.never ? 1 : 0) | (v.absent ? 2 : 0)));
      scratch_.append(v.value);
    }
    End(sum);
  }
  for (const crdt::CounterEntry& e : state.counters) {
    if (!Begin('c', row_key, e.origin)) return false;
    PutAt(scratch_, e.life);
    PutAt(scratch_, e.at);
    PutAt(scratch_, e.cleared_at);
    crdt::PutNumber(scratch_, e.total);
    crdt::PutNumber(scratch_, e.cleared_total);
    base::PutFixed64(scratch_, e.hlc.bits);
    if (e.cleared_by.bits() != 0) {
      if (clock::IndexOf(e.cleared_by.origin()) >= names_.size()) return false;
      const clock::Origin& by = names_[clock::IndexOf(e.cleared_by.origin())];
      base::PutBytes(scratch_, by.leader);
      base::PutFixed64(scratch_, by.incarnation);
      base::PutVarint(scratch_, e.cleared_by.sequence());
    }
    End(sum);
  }
  return true;
}

// ---- the sender

void SlotDigester::EndSlot() {
  if (!slot_) return;
  found_.emplace_back(SlotStart(*slot_), moving_ ? std::string() : EncodeSlotDigest(sum_));
  slot_.reset();
}

void SlotDigester::Walk(storage::Slice& slice) {
  for (const auto& [key, row] : slice.rows) {
    const uint32_t slot = SlotOfRowKey(key);
    if (slot_ != slot) {
      EndSlot();
      slot_ = slot;
      sum_ = {};
      moving_ = false;
    }
    DataRowName name;
    DataRow data;
    if (!ParseDataRowKey(key, name) || !DecodeAnyRow(name, row, data) ||
        !hasher_.Add(key, data, sum_)) {
      moving_ = true;
    }
    // What of the log such a row reflects is told with the row only: it cannot be left out.
    if (data.position > base_) moving_ = true;
  }
  if (slice.at_end) EndSlot();
  slice.rows.clear();
}

// ---- the receiver

void SlotMatcher::EndSlot(std::vector<std::pair<std::string, std::string>>& out) {
  if (slot_ && wanted_ && theirs_[*slot_] == sum_) {
    AddSlot(equal_, *slot_);
    ++equal_count_;
    for (auto& row : rows_)
      out.push_back(std::move(row));
  }
  slot_.reset();
  rows_.clear();
}

void SlotMatcher::Walk(storage::Slice& slice) {
  std::vector<std::pair<std::string, std::string>> out;
  for (auto& [key, row] : slice.rows) {
    const uint32_t slot = SlotOfRowKey(key);
    if (slot_ != slot) {
      EndSlot(out);
      slot_ = slot;
      sum_ = {};
      bytes_ = 0;
      wanted_ = theirs_.count(slot) != 0;
    }
    if (!wanted_) continue;
    DataRowName name;
    DataRow data;
    bytes_ += key.size() + row.size();
    if (bytes_ > kSlotBytesMax || !ParseDataRowKey(key, name) || !DecodeAnyRow(name, row, data) ||
        !hasher_.Add(key, data, sum_)) {
      wanted_ = false;
      rows_.clear();
      continue;
    }
    data.position = base_;
    std::string again = EncodeAnyRow(name, data);  // `name` is a view of the key
    rows_.emplace_back(std::move(key), std::move(again));
  }
  if (slice.at_end) EndSlot(out);
  slice.rows = std::move(out);
}

}  // namespace polyarch::engine
