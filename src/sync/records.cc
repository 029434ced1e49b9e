#include "sync/records.h"

namespace polyarch::sync {

namespace {

constexpr uint8_t kFormat = 1;

void PutRow(std::string& out, const VoteRow& row) {
  wire::PutBallot(out, row.promised);
  wire::PutBallot(out, row.accepted);
  if (!row.accepted.none()) wire::PutTuple(out, row.tuple);
}

VoteRow ReadRow(base::Reader& in) {
  VoteRow row;
  row.promised = wire::ReadBallot(in);
  row.accepted = wire::ReadBallot(in);
  if (!row.accepted.none()) {
    row.tuple = wire::ReadTuple(in);
    if (row.tuple.none()) in.Fail();
  }
  return row;
}

}  // namespace

std::string Encode(const Vote& vote) {
  std::string out{static_cast<char>(kFormat), static_cast<char>(vote.kind)};
  base::PutVarint(out, vote.number);
  switch (vote.kind) {
    case VoteRecord::kPromise:
      wire::PutSyncKey(out, vote.key);
      wire::PutBallot(out, vote.row.promised);
      break;
    case VoteRecord::kAccept:
      wire::PutSyncKey(out, vote.key);
      PutRow(out, vote.row);
      break;
    case VoteRecord::kDrop:
      wire::PutSyncKey(out, vote.key);
      wire::PutBallot(out, vote.floor);
      break;
    case VoteRecord::kSeat:
      base::PutFixed64(out, vote.seat);
      break;
    case VoteRecord::kElectorate:
      wire::PutElectorate(out, vote.electorate);
      wire::PutBallot(out, vote.floor);
      break;
  }
  return out;
}

bool Decode(std::string_view record, Vote& vote) {
  base::Reader in(record);
  if (in.Fixed8() != kFormat) return false;
  const uint8_t kind = in.Fixed8();
  if (kind < static_cast<uint8_t>(VoteRecord::kPromise) ||
      kind > static_cast<uint8_t>(VoteRecord::kElectorate))
    return false;
  vote.kind = static_cast<VoteRecord>(kind);
  vote.number = in.Varint();
  switch (vote.kind) {
    case VoteRecord::kPromise:
      vote.key = wire::ReadSyncKey(in);
      vote.row.promised = wire::ReadBallot(in);
      break;
    case VoteRecord::kAccept:
      vote.key = wire::ReadSyncKey(in);
      vote.row = ReadRow(in);
      break;
    case VoteRecord::kDrop:
      vote.key = wire::ReadSyncKey(in);
      vote.floor = wire::ReadBallot(in);
      break;
    case VoteRecord::kSeat:
      vote.seat = in.Fixed64();
      break;
    case VoteRecord::kElectorate:
      vote.electorate = wire::ReadElectorate(in);
      vote.floor = wire::ReadBallot(in);
      break;
  }
  return in.ok() && in.empty();
}

std::string VoteRowKey(const wire::SyncKey& key) {
  return std::string(1, static_cast<char>(key.db)) + key.key;
}

bool ParseVoteRowKey(std::string_view row_key, wire::SyncKey& key) {
  if (row_key.empty()) return false;
  key.db = static_cast<uint8_t>(row_key[0]);
  key.key = row_key.substr(1);
  return true;
}

std::string Encode(const VoteRow& row) {
  std::string out(1, static_cast<char>(kFormat));
  PutRow(out, row);
  return out;
}

bool Decode(std::string_view bytes, VoteRow& row) {
  base::Reader in(bytes);
  if (in.Fixed8() != kFormat) return false;
  row = ReadRow(in);
  return in.ok() && in.empty();
}

std::string Encode(const VoteMeta& meta) {
  std::string out(1, static_cast<char>(kFormat));
  base::PutFixed64(out, meta.seat);
  base::PutVarint(out, meta.number);
  wire::PutBallot(out, meta.floor);
  wire::PutElectorate(out, meta.electorate);
  return out;
}

bool Decode(std::string_view bytes, VoteMeta& meta) {
  base::Reader in(bytes);
  if (in.Fixed8() != kFormat) return false;
  meta.seat = in.Fixed64();
  meta.number = in.Varint();
  meta.floor = wire::ReadBallot(in);
  meta.electorate = wire::ReadElectorate(in);
  return in.ok() && in.empty();
}

}  // namespace polyarch::sync
