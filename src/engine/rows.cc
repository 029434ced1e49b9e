#include "engine/rows.h"

#include <algorithm>

#include "base/codec.h"
#include "base/hash.h"
#include "base/number.h"

namespace polyarch::engine {

namespace {
constexpr uint8_t kRowVersion = crdt::kStateFormat;
constexpr uint8_t kCheckpointVersion = 3;
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

std::string ElementRowPrefix(uint8_t db, std::string_view key, crdt::Type type) {
  std::string out = DataRowKey(db, key);
  out.push_back(static_cast<char>(type));
  return out;
}

std::string ElementRowKey(uint8_t db,
                          std::string_view key,
                          crdt::Type type,
                          std::string_view element) {
  return ElementRowPrefix(db, key, type).append(element);
}

bool ParseDataRowKey(std::string_view row_key, DataRowName& name) {
  name = DataRowName{};
  if (row_key.size() < 5) return false;
  name.db = static_cast<uint8_t>(row_key[2]);
  const size_t size =
      static_cast<size_t>(static_cast<uint8_t>(row_key[3])) << 8 | static_cast<uint8_t>(row_key[4]);
  row_key.remove_prefix(5);
  if (row_key.size() < size || name.db > crdt::kReservedDatabase) return false;
  name.key = row_key.substr(0, size);
  row_key.remove_prefix(size);
  if (row_key.empty()) return true;
  const auto type = static_cast<uint8_t>(row_key[0]);
  name.type = static_cast<crdt::Type>(type);
  name.element = row_key.substr(1);
  return type > 0 && type <= crdt::kTypeMax && name.element.size() <= crdt::kElementBytesMax;
}

std::string RowKeyOf(const DataRowName& name) {
  return name.type == crdt::Type::kString
             ? DataRowKey(name.db, name.key)
             : ElementRowKey(name.db, name.key, name.type, name.element);
}

std::string EncodeDataRow(log::Position position, const crdt::KeyState& state, uint8_t spilled) {
  std::string out(1, static_cast<char>(kRowVersion));
  base::PutFixed64(out, position);
  crdt::Encode(state, out);
  base::PutFixed8(out, spilled);
  return out;
}

bool DecodeDataRow(std::string_view row, DataRow& out) {
  base::Reader in(row);
  const uint8_t version = in.Fixed8();
  if (version < 1 || version > kRowVersion) return false;
  out.position = in.Fixed64();
  if (!crdt::Decode(in, out.state, version)) return false;
  out.spilled = version > 1 ? in.Fixed8() : 0;
  return in.ok() && in.empty();
}

std::string EncodeElementRow(log::Position position, const crdt::Register& state) {
  std::string out(1, static_cast<char>(kRowVersion));
  base::PutFixed64(out, position);
  crdt::EncodeRegister(state, out);
  return out;
}

bool DecodeElementRow(std::string_view row, log::Position& position, crdt::Register& state) {
  base::Reader in(row);
  const uint8_t version = in.Fixed8();
  if (version < 2 || version > kRowVersion) return false;
  position = in.Fixed64();
  return crdt::DecodeRegister(in, state) && in.empty() && !state.empty();
}

bool DecodeAnyRow(const DataRowName& name, std::string_view row, DataRow& out) {
  if (name.type == crdt::Type::kString) return DecodeDataRow(row, out);
  out = DataRow{};
  crdt::Element element;
  if (!DecodeElementRow(row, out.position, element)) return false;
  element.type = name.type;
  element.name = name.element;
  out.state.elements.push_back(std::move(element));
  return true;
}

std::string EncodeAnyRow(const DataRowName& name, const DataRow& row) {
  if (name.type == crdt::Type::kString) return EncodeDataRow(row.position, row.state, row.spilled);
  return EncodeElementRow(row.position, row.state.elements.front());
}

void RowPositions::Note(const DataRowName& name, log::Position position, uint8_t spilled) {
  if (name.type == crdt::Type::kString) {
    keys_[DataRowKey(name.db, name.key)] = {position, spilled};
  } else {
    elements_[ElementRowKey(name.db, name.key, name.type, name.element)] = position;
  }
}

bool RowPositions::Reflect(uint8_t db,
                           std::string_view key,
                           crdt::Type type,
                           std::string_view element,
                           log::Position end) const {
  if (empty()) return false;
  if (type != crdt::Type::kString) {
    auto own = elements_.find(ElementRowKey(db, key, type, element));
    if (own != elements_.end()) return end <= own->second;
  }
  auto of_key = keys_.find(DataRowKey(db, key));
  if (of_key == keys_.end()) return false;
  const bool spilled = (of_key->second.spilled >> static_cast<int>(type) & 1) != 0;
  return !spilled && end <= of_key->second.position;
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

std::string EncodeCutOver(const CutOverRecord& cut_over) {
  std::string out(1, static_cast<char>(LocalRecord::kCutOver));
  base::PutFixed64(out, cut_over.transfer);
  base::PutFixed64(out, cut_over.position);
  return out;
}

std::string EncodeStart(uint64_t nonce) {
  std::string out(1, static_cast<char>(LocalRecord::kStart));
  base::PutFixed64(out, nonce);
  return out;
}

std::string EncodeVoteRecord(std::string_view record) {
  std::string out(1, static_cast<char>(LocalRecord::kVote));
  base::PutBytes(out, record);
  return out;
}

bool DecodeLocal(std::string_view payload, Local& local) {
  base::Reader in(payload);
  local.type = static_cast<LocalRecord>(in.Fixed8());
  switch (local.type) {
    case LocalRecord::kLease:
      local.lease_ms = in.Fixed64();
      break;
    case LocalRecord::kIdentity:
      local.identity.cluster = in.Fixed64();
      local.identity.leader = in.Bytes();
      local.identity.admitted = in.Fixed8() != 0;
      local.identity.join_nonce = in.Fixed64();
      break;
    case LocalRecord::kCutOver:
      local.cut_over.transfer = in.Fixed64();
      local.cut_over.position = in.Fixed64();
      break;
    case LocalRecord::kStart:
      local.nonce = in.Fixed64();
      break;
    case LocalRecord::kVote:
      local.vote = in.Bytes();
      break;
    default:
      return false;
  }
  return in.ok() && in.empty();
}

std::string EncodeCheckpoint(const CheckpointRow& row) {
  return EncodeCheckpoint(row, row.rows);
}

std::string EncodeCheckpoint(const CheckpointRow& row, const std::vector<replication::OriginRow>& rows) {
  std::string out(1, static_cast<char>(kCheckpointVersion));
  base::PutFixed64(out, row.start);
  base::PutFixed64(out, row.identity.cluster);
  base::PutBytes(out, row.identity.leader);
  out.push_back(row.identity.admitted ? 1 : 0);
  base::PutFixed64(out, row.identity.join_nonce);
  base::PutFixed64(out, row.lease_ms);
  base::PutFixed64(out, row.nonce);
  base::PutFixed64(out, row.barrier);
  base::PutFixed64(out, row.transfer);
  replication::EncodeVector(out, row.floor);
  replication::EncodeVector(out, clock::VersionVector::Over(row.base, {}));
  replication::EncodeOver(out, row.nonempty, row.base);
  base::PutVarint(out, rows.size());
  for (const replication::OriginRow& r : rows)
    r.Encode(out, row.base);
  return out;
}

bool DecodeCheckpoint(std::string_view bytes, size_t origins, CheckpointRow& row) {
  base::Reader in(bytes);
  const uint8_t version = in.Fixed8();
  if (version < 1 || version > kCheckpointVersion) return false;
  row.start = in.Fixed64();
  row.identity.cluster = in.Fixed64();
  row.identity.leader = in.Bytes();
  row.identity.admitted = in.Fixed8() != 0;
  row.identity.join_nonce = in.Fixed64();
  row.lease_ms = in.Fixed64();
  if (version > 1) {
    row.nonce = in.Fixed64();
    row.barrier = in.Fixed64();
    row.transfer = in.Fixed64();
    replication::DecodeVector(in, row.floor, origins);
  }
  if (version > 2) {
    clock::VersionVector base;
    replication::DecodeVector(in, base, origins);
    if (!base.empty()) {
      clock::VersionVector::Base sequences(base.index_end());
      base.ForEach([&](clock::OriginIndex o, uint64_t s) { sequences[clock::IndexOf(o)] = s; });
      row.base = std::make_shared<const clock::VersionVector::Base>(std::move(sequences));
    }
  }
  replication::DecodeOver(in, row.nonempty, origins, row.base);
  const uint64_t rows = in.Varint();
  if (rows > origins) return false;
  for (uint64_t i = 0; i < rows && in.ok(); ++i) {
    if (!row.rows.emplace_back().Decode(in, origins, row.base, version)) return false;
  }
  return in.ok() && in.empty();
}

namespace {

// Vectors over one base are remapped over one.
struct Remapping {
  const std::vector<clock::OriginIndex>& map;
  replication::OriginRow::Base from;
  replication::OriginRow::Base to;

  bool Fits(size_t index, uint64_t sequence) const {
    return index < map.size() && map[index] != clock::kNoOrigin && sequence >> 48 == 0;
  }
  bool TakeBase() {
    if (from == nullptr) return true;
    clock::VersionVector::Base sequences;
    for (size_t i = 0; i < from->size(); ++i) {
      if ((*from)[i] == 0) continue;
      if (!Fits(i, (*from)[i])) return false;
      const size_t place = clock::IndexOf(map[i]);
      if (sequences.size() <= place) sequences.resize(place + 1);
      sequences[place] = (*from)[i];
    }
    to = std::make_shared<const clock::VersionVector::Base>(std::move(sequences));
    return true;
  }
  bool Apply(clock::VersionVector& vector) const {
    std::vector<clock::VersionVector::Entry> entries;
    for (const auto& [origin, sequence] : vector.entries()) {
      const size_t i = clock::IndexOf(origin);
      if (!Fits(i, sequence)) return false;
      entries.emplace_back(map[i], sequence);
    }
    std::sort(entries.begin(), entries.end());
    if (vector.base() != nullptr && vector.base() != from) return false;
    vector = clock::VersionVector::Over(vector.base() == nullptr ? nullptr : to, entries);
    return true;
  }
  bool Apply(replication::OriginRow& row) const;
};

bool Remapping::Apply(replication::OriginRow& row) const {
  bool fits = row.last >> 48 == 0 && Apply(row.deps) && Apply(row.claim);
  for (auto& [sequence, vector] : row.waiting)
    fits = fits && Apply(vector);
  wire::Dictionary dictionary;
  for (size_t i = 0; fits && i < row.dictionary.size(); ++i) {
    const size_t index = clock::IndexOf(row.dictionary.At(i));
    uint64_t place = 0;
    fits = index < map.size() && map[index] != clock::kNoOrigin;
    if (!fits) break;
    if (i == 0) {
      dictionary = wire::Dictionary(map[index]);
    } else if (dictionary.Find(map[index], place)) {
      fits = false;
    } else {
      dictionary.Add(map[index]);
    }
  }
  row.dictionary = std::move(dictionary);
  return fits;
}

}  // namespace

bool Remap(CheckpointRow& row, const std::vector<clock::OriginIndex>& map) {
  Remapping remapping{.map = map, .from = row.base, .to = nullptr};
  // What the sender's log lacked says nothing of ours.
  row.floor.clear();
  bool fits = remapping.TakeBase() && remapping.Apply(row.nonempty);
  for (replication::OriginRow& r : row.rows)
    fits = fits && remapping.Apply(r);
  row.base = remapping.to;
  return fits;
}

bool Remap(crdt::KeyState& state, const std::vector<clock::OriginIndex>& map) {
  auto known = [&](clock::OriginIndex origin) {
    return clock::IndexOf(origin) < map.size() && map[clock::IndexOf(origin)] != clock::kNoOrigin;
  };
  auto remap_dot = [&](clock::Dot& dot) {
    if (!known(dot.origin())) return false;
    dot = clock::Dot(map[clock::IndexOf(dot.origin())], dot.sequence());
    return true;
  };
  auto by_dot = [](const auto& a, const auto& b) { return a.dot < b.dot; };
  // Two of the sender's indices never name one origin: `map` is made of distinct names.
  auto remap_register = [&](crdt::Register& of) {
    bool fits = true;
    for (crdt::Version& v : of.versions)
      fits = fits && remap_dot(v.dot);
    for (crdt::CounterEntry& e : of.counters) {
      fits = fits && known(e.origin) && (e.cleared_by.bits() == 0 || remap_dot(e.cleared_by));
      if (fits) e.origin = map[clock::IndexOf(e.origin)];
    }
    if (!fits) return false;
    std::sort(of.versions.begin(), of.versions.end(), by_dot);
    std::sort(of.counters.begin(), of.counters.end(), [](const auto& a, const auto& b) {
      return a.origin < b.origin;
    });
    return true;
  };
  bool fits = remap_register(state);
  for (crdt::Element& e : state.elements)
    fits = fits && remap_register(e);
  for (crdt::ExpiryVersion& x : state.expiries)
    fits = fits && remap_dot(x.dot);
  if (!fits) return false;
  std::sort(state.expiries.begin(), state.expiries.end(), by_dot);
  return true;
}

std::string FoldedKey(const clock::Origin& origin, uint64_t sequence) {
  return std::string(kFoldedPrefix) + origin.ToString() + ":" + std::to_string(sequence);
}

bool ParseFoldedKey(std::string_view key, clock::Origin& origin, uint64_t& sequence) {
  key.remove_prefix(kFoldedPrefix.size());
  const size_t colon = key.rfind(':');
  if (colon == std::string_view::npos) return false;
  auto parsed = clock::Origin::Parse(key.substr(0, colon));
  auto number = base::ParseInt64(key.substr(colon + 1));
  if (!parsed || parsed->leader.empty() || !number || *number <= 0 || *number >> 48 != 0) return false;
  origin = std::move(*parsed);
  sequence = static_cast<uint64_t>(*number);
  return true;
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

clock::VersionVector ParseVector(std::string_view text, const clock::OriginTable& origins) {
  clock::VersionVector vv;
  for (std::string_view word : SplitWords(text)) {
    size_t colon = word.rfind(':');
    if (colon == std::string_view::npos) continue;
    auto origin = clock::Origin::Parse(word.substr(0, colon));
    auto sequence = base::ParseInt64(word.substr(colon + 1));
    if (!origin || !sequence || *sequence <= 0) continue;
    // Whoever has applied a record knows the origins that its author had applied: a text must not fill the table.
    const auto index = origins.Find(*origin);
    if (index) vv.Raise(*index, static_cast<uint64_t>(*sequence));
  }
  return vv;
}

}  // namespace polyarch::engine
