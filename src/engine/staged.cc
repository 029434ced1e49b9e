#include "engine/staged.h"

#include <algorithm>

#include "base/codec.h"
#include "base/planted.h"
#include "wire/change_codec.h"
#include "wire/frame.h"

namespace polyarch::engine {

namespace {

constexpr uint8_t kProgressVersion = 1;

}  // namespace

std::string EncodeProgress(const StagedProgress& p) {
  std::string out(1, static_cast<char>(kProgressVersion));
  base::PutFixed64(out, p.id);
  base::PutBytes(out, p.sender);
  base::PutFixed64(out, p.epoch);
  base::PutFixed64(out, p.base);
  base::PutFixed8(out, static_cast<uint8_t>(p.part));
  base::PutBytes(out, p.after);
  base::PutFixed64(out, p.position);
  base::PutFixed64(out, p.needed);
  base::PutFixed64(out, p.stamp);
  base::PutVarint(out, p.bytes);
  return out;
}

bool DecodeProgress(std::string_view bytes, StagedProgress& p) {
  base::Reader in(bytes);
  if (in.Fixed8() != kProgressVersion) return false;
  p.id = in.Fixed64();
  p.sender = in.Bytes();
  p.epoch = in.Fixed64();
  p.base = in.Fixed64();
  const uint8_t part = in.Fixed8();
  if (part < 1 || part > 4) return false;
  p.part = static_cast<wire::StatePart>(part);
  p.after = in.Bytes();
  p.position = in.Fixed64();
  p.needed = in.Fixed64();
  p.stamp = in.Fixed64();
  p.bytes = in.Varint();
  return in.ok() && in.empty();
}

std::string SpoolKey(log::Position end) {
  std::string key(8, '\0');
  for (int i = 7; i >= 0; --i, end >>= 8)
    key[static_cast<size_t>(i)] = static_cast<char>(end & 0xff);
  return key;
}

Staged::Staged(replication::Replica& replica,
               const keyspace::Keyspace& beside,
               StagedProgress begin)
    : progress(std::move(begin)), replica_(replica), keys_(beside.NewBeside()) {
  keys_->SetReplayFilter(
      [this](uint8_t db, std::string_view key, crdt::Type type, std::string_view element) {
        return row_positions_.Reflect(db, key, type, element, record_end_);
      });
}

replication::OriginRow& Staged::Row(clock::OriginIndex origin) {
  while (rows_.size() <= clock::IndexOf(origin)) {
    const auto index = static_cast<clock::OriginIndex>(rows_.size());
    rows_.emplace_back().dictionary = wire::Dictionary(index);
  }
  return rows_[clock::IndexOf(origin)];
}

bool Staged::TakeBase(CheckpointRow base) {
  std::vector<clock::VersionVector::Entry> entries;
  for (replication::OriginRow& row : base.rows) {
    const clock::OriginIndex origin = row.dictionary.At(0);
    if (origin == clock::kNoOrigin || Row(origin).last != 0) return false;
    if (row.last != 0) entries.emplace_back(origin, row.last);
    Row(origin) = std::move(row);
  }
  std::sort(entries.begin(), entries.end());
  applied_ = clock::VersionVector::Over(nullptr, entries);
  applied_.Rebase(base.base);
  if (!applied_.Includes(base.nonempty)) return false;
  nonempty_ = std::move(base.nonempty);
  return true;
}

bool Staged::TakeRow(const DataRowName& name, DataRow row) {
  if (row.position > progress.base) row_positions_.Note(name, row.position, row.spilled);
  if (!PLANTED(kCutOverEarly)) progress.needed = std::max(progress.needed, row.position);
  if (name.type != crdt::Type::kString) {
    // Its key's row may be older, of a time when it held the element itself.
    keys_->LoadElement(name.db,
                       name.key,
                       name.type,
                       name.element,
                       row.state.elements.front(),
                       /*replaces=*/true);
    return true;
  }
  const keyspace::KeyRef ref = keys_->Ref(name.db, name.key);
  if (!keys_->State(ref).empty()) return false;
  if (name.db == crdt::kReservedDatabase && name.key.starts_with(kFoldedPrefix)) {
    for (const crdt::Version& v : row.state.versions) NoteFold(name.key, v.dot);
  }
  keys_->Load(name.db, name.key, std::move(row.state));
  return true;
}

bool Staged::TakeFrame(log::Position end, std::string_view bytes) {
  wire::Frame frame;
  if (!wire::ParseFrame(bytes, frame)) return false;
  const clock::OriginIndex origin = replica_.InternForeign(frame.origin);
  if (origin == clock::kNoOrigin) return false;
  if (frame.first != Row(origin).last + 1 ||
      wire::ChainOf(bytes, frame, Row(origin).chain) != frame.chain) {
    return false;
  }
  clock::VersionVector deps;
  std::vector<clock::OriginIndex> added;
  if (!replica_.DecodeDeps(frame, Row(origin), deps, added) || !applied_.Includes(deps)) return false;
  for (clock::OriginIndex o : added)
    Row(origin).dictionary.Add(o);
  const wire::Dictionary& dictionary = Row(origin).dictionary;
  if (!wire::ValidateBody(frame.body, frame.base, frame.count, dictionary)) return false;

  record_end_ = end;
  wire::BodyReader reader(frame.body, frame.base, dictionary);
  clock::Hlc stamp;
  crdt::Effect effect;
  uint32_t index = 0;
  uint64_t sequence = frame.first;
  bool empty = true;
  for (; reader.NextChange(stamp); ++sequence) {
    while (reader.NextEffect(effect, index)) {
      empty = false;
      keys_->Apply(effect,
                   crdt::Seen(deps, origin, {sequence, index}),
                   stamp,
                   keyspace::Cause::kLoaded);
      if (effect.db == crdt::kReservedDatabase && effect.key.starts_with(kFoldedPrefix)) {
        NoteFold(effect.key, {origin, sequence});
      }
    }
  }
  progress.stamp = std::max(progress.stamp, stamp.bits);
  if (!empty || reader.unknown() > 0) nonempty_.Raise(origin, frame.last());
  Row(origin).Note(frame, deps, origin);
  applied_.Raise(origin, frame.last());
  return true;
}

// What a record says is true whether or not its state is ever taken over.
void Staged::NoteFold(std::string_view key, clock::Dot record) {
  clock::Origin origin;
  uint64_t sequence = 0;
  if (!ParseFoldedKey(key, origin, sequence)) return;
  const clock::OriginIndex index = replica_.InternForeign(origin);
  if (index != clock::kNoOrigin) replica_.AddFold({record, index, sequence});
}

void Staged::Advance(log::Position position) {
  progress.position = std::max(progress.position, position);
  if (complete()) row_positions_.clear();
}

std::unique_ptr<keyspace::Keyspace> Staged::ReleaseKeys() {
  keys_->SetReplayFilter(nullptr);
  return std::move(keys_);
}

}  // namespace polyarch::engine
