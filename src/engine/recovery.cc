// Start: rows, then the log from the checkpoint's start, then who we are.
#include <algorithm>

#include "base/check.h"
#include "base/planted.h"
#include "engine/engine.h"
#include "engine/rows.h"

namespace polyarch::engine {

namespace {

constexpr uint8_t kCheckpointVersion = 1;
constexpr size_t kReplayChunk = 4 << 20;

base::Status BadRow(const std::string& what) {
  return base::Corrupt("the store holds an unreadable " + what +
                       ": restore the directory from a backup, or empty it and start with --join");
}

}  // namespace

base::Status Engine::Start(const Clocks& now) {
  now_ = now;
  replica_.SetTime(now.mono_us, now.wall_ms);
  keyspace_.SetTime(now.wall_ms);
  base::Status status = LoadRows();
  if (status.ok()) status = ReplayLog();
  if (status.ok()) status = CheckIdentity();
  if (!status.ok()) return status;
  replica_.LogDurable(log_.durable());
  replica_.Start(now.mono_us, now.wall_ms);
  replica_.SetClusterId(cluster_id_);
  ReadConfiguration();
  UpdateTime();
  owes_claim_ = admitted_ && identity_known_;
  last_checkpoint_us_ = now.mono_us;
  last_checkpoint_ms_ = now.wall_ms;
  last_claim_us_ = now.mono_us;
  if (!identity_known_) Found();
  if (admitted_) {
    replica_.SetJoining(false, join_nonce_);
    // The address may have changed since the last start.
    if (Reserved("address/" + options_.leader_id).value_or("") != options_.advertise) {
      PutReserved("address/" + options_.leader_id, options_.advertise);
    }
  } else {
    replica_.SetJoining(true, join_nonce_);
  }
  FinishFrame();
  if (configuration_changed_) ReadConfiguration();
  status = log_.Commit();
  log_.RequestSync();
  return status;
}

base::Status Engine::LoadRows() {
  auto format = store_.Get(storage::Family::kMeta, kFormatRowKey);
  if (format.ok() && *format != kStoreFormat) {
    return {base::Code::kIncompatible,
            "the directory has format " + *format + ", this version reads format " + kStoreFormat +
                ": start the newer version"};
  }
  if (!format.ok()) {
    if (format.status().code() != base::Code::kNotFound) return format.status();
    storage::Batch batch;
    batch.Put(storage::Family::kMeta, kFormatRowKey, kStoreFormat);
    store_.Write(std::move(batch));
  }
  std::string checkpoint;
  base::Status bad;
  base::Status status =
      store_.Scan(storage::Family::kMeta, [&](std::string_view key, std::string_view row) {
        if (key == kCheckpointRowKey) checkpoint = row;
        if (key.substr(0, sizeof(kOriginRowPrefix) - 1) != kOriginRowPrefix) return true;
        clock::Origin origin;
        if (!DecodeOriginRow(row, origin) || OriginRowKey(origins_.size()) != key) {
          bad = BadRow("origin row");
          return false;
        }
        origins_.Intern(origin);
        return true;
      });
  if (!status.ok() || !bad.ok()) return status.ok() ? bad : status;
  stored_origins_ = origins_.size();
  if (!checkpoint.empty() && !DecodeCheckpointMeta(checkpoint)) return BadRow("checkpoint row");

  status = store_.Scan(storage::Family::kData, [&](std::string_view row_key, std::string_view row) {
    uint8_t db = 0;
    std::string_view key;
    log::Position position = 0;
    crdt::KeyState state;
    bool ok = ParseDataRowKey(row_key, db, key) && DecodeDataRow(row, position, state);
    auto known = [&](clock::OriginIndex o) {
      return clock::IndexOf(o) < origins_.size();
    };
    for (const crdt::Version& v : state.versions)
      ok = ok && known(v.dot.origin());
    for (const crdt::ExpiryVersion& x : state.expiries)
      ok = ok && known(x.dot.origin());
    for (const crdt::CounterEntry& e : state.counters)
      ok = ok && known(e.origin);
    if (!ok) {
      bad = BadRow("row");
      return false;
    }
    if (position > checkpoint_position_) row_positions_[{db, std::string(key)}] = position;
    keyspace_.Load(db, key, std::move(state));
    return true;
  });
  if (!status.ok() || !bad.ok()) return status.ok() ? bad : status;
  return store_.Scan(storage::Family::kLedger, [&](std::string_view key, std::string_view row) {
    ledger_.Load(key, row);
    return true;
  });
}

base::Status Engine::ReplayLog() {
  if (checkpoint_position_ < log_.begin() || checkpoint_position_ > log_.end()) {
    return base::Corrupt(
        "the log does not reach the checkpoint: restore the directory from a backup, or empty it "
        "and start with --join");
  }
  replaying_ = true;
  ReadConfiguration();  // policies and priorities: what decides the conflicts that are met again
  base::Status status;
  log::Position position = checkpoint_position_;
  log::Position record_end = 0;
  keyspace_.SetReplayFilter([&](uint8_t db, std::string_view key) {
    if (row_positions_.empty() || PLANTED(kReplayAll)) return false;
    auto it = row_positions_.find({db, std::string(key)});
    return it != row_positions_.end() && record_end <= it->second;
  });
  while (position < log_.end() && status.ok()) {
    auto next = log_.Read(position, kReplayChunk, [&](const log::Record& record) {
      record_end = record.end;
      status = record.type == log::RecordType::kFrame ? ReplayFrame(record) : ReplayLocal(record);
      return status.ok();
    });
    if (!next.ok()) status = next.status();
    if (!status.ok()) break;
    position = *next;
  }
  keyspace_.SetReplayFilter(nullptr);
  row_positions_.clear();
  hlc_.Start(found_lease_ms_);
  replaying_ = false;
  conflicts_detected_ = 0;  // since this start
  return status;
}

base::Status Engine::ReplayFrame(const log::Record& record) {
  wire::Frame frame;
  if (!wire::ParseFrame(record.payload, frame)) {
    return base::Corrupt(
        "unreadable frame in the log: restore the directory from a backup, or empty it and start "
        "with --join");
  }
  clock::OriginIndex origin = clock::kNoOrigin;
  clock::VersionVector deps;
  base::Status status =
      replica_.NoteReplayed(frame, record.payload, record.position, record.end, origin, deps);
  if (!status.ok()) return status;
  position_ = record.end;
  ledger_entries_ = 0;
  ApplyBody(frame, replica_.Row(origin).dictionary, origin, deps, keyspace::Cause::kLoaded);
  if (configuration_changed_) ReadConfiguration();
  return {};
}

base::Status Engine::ReplayLocal(const log::Record& record) {
  LocalRecord type = LocalRecord::kLease;
  Identity identity;
  uint64_t lease_ms = 0;
  if (!DecodeLocal(record.payload, type, identity, lease_ms)) {
    return {base::Code::kIncompatible,
            "the log holds a record of a kind that this version does not know: start the newer "
            "version"};
  }
  if (type == LocalRecord::kLease) {
    found_lease_ms_ = lease_ms;
  } else {
    identity_known_ = true;
    identity_leader_ = identity.leader;
    cluster_id_ = identity.cluster;
    admitted_ = identity.admitted;
    join_nonce_ = identity.join_nonce;
  }
  return {};
}

base::Status Engine::CheckIdentity() {
  if (!identity_known_) return {};
  if (identity_leader_ != options_.leader_id) {
    if (identity_leader_.substr(0, identity_leader_.find('~')) != options_.leader_id) {
      return base::Invalid("the directory belongs to leader '" + identity_leader_ +
                           "': start with --id " + identity_leader_ + " or with another --dir");
    }
    Report(2, "this directory is a copy and goes on as leader " + identity_leader_);
    options_.leader_id = identity_leader_;
    replica_.Rename(identity_leader_);
  }
  if (!admitted_ && options_.join.empty() && admissions_.empty()) {
    return base::Invalid(
        "this leader has not been admitted to its cluster yet: start it with --join HOST:PEERPORT");
  }
  return {};
}

void Engine::Found() {
  join_nonce_ = random_.Next();
  identity_known_ = true;
  if (!options_.join.empty()) {
    AppendIdentity();
    return;
  }
  cluster_id_ = random_.Next() | 1;
  admitted_ = true;
  replica_.SetClusterId(cluster_id_);
  AppendIdentity();
  PutReserved("cluster", clock::Origin{"", cluster_id_}.ToString().substr(1));
  PutReserved("member/" + options_.leader_id, clock::Origin{"", join_nonce_}.ToString().substr(1));
  PutReserved("address/" + options_.leader_id, options_.advertise);
}

void Engine::PrepareStop() {
  FinishFrame();
  log_.Append(log::RecordType::kLocal, EncodeLease(hlc_.last().ms() + 1));
}

void Engine::AppendIdentity() {
  sync_wanted_ = true;
  log_.Append(log::RecordType::kLocal,
              EncodeIdentity({cluster_id_, options_.leader_id, admitted_, join_nonce_}));
}

std::string Engine::EncodeCheckpointMeta(log::Position start) const {
  std::string out(1, static_cast<char>(kCheckpointVersion));
  base::PutFixed64(out, start);
  base::PutFixed64(out, cluster_id_);
  base::PutBytes(out, options_.leader_id);
  out.push_back(admitted_ ? 1 : 0);
  base::PutFixed64(out, join_nonce_);
  base::PutFixed64(out, hlc_.lease());
  replication::EncodeVector(out, nonempty_);
  base::PutVarint(out, replica_.row_count());
  for (size_t i = 0; i < replica_.row_count(); ++i) {
    replica_.row(static_cast<clock::OriginIndex>(i)).Encode(out);
  }
  return out;
}

log::Position Engine::CheckpointPosition(storage::Store& store) {
  auto row = store.Get(storage::Family::kMeta, kCheckpointRowKey);
  if (!row.ok() || row->size() < 9) return 0;
  return base::LoadFixed64(row->data() + 1);
}

bool Engine::DecodeCheckpointMeta(std::string_view bytes) {
  base::Reader in(bytes);
  if (in.Fixed8() != kCheckpointVersion) return false;
  checkpoint_position_ = in.Fixed64();
  cluster_id_ = in.Fixed64();
  identity_leader_ = in.Bytes();
  admitted_ = in.Fixed8() != 0;
  join_nonce_ = in.Fixed64();
  found_lease_ms_ = in.Fixed64();
  identity_known_ = true;
  replication::DecodeVector(in, nonempty_, origins_.size());
  uint64_t rows = in.Varint();
  if (rows > origins_.size()) return false;
  for (uint64_t i = 0; i < rows && in.ok(); ++i) {
    auto origin = static_cast<clock::OriginIndex>(i);
    if (!replica_.Row(origin).Decode(in, origins_.size())) return false;
    replica_.RestoreApplied(origin, replica_.Row(origin).last);
  }
  return in.ok() && in.empty();
}

}  // namespace polyarch::engine
