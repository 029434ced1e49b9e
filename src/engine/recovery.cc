// Start: rows, then the log from the checkpoint's start, then who we are.
#include <algorithm>

#include "base/check.h"
#include "base/planted.h"
#include "base/remedy.h"
#include "engine/engine.h"
#include "engine/rows.h"

namespace polyarch::engine {

namespace {

constexpr size_t kReplayChunk = 4 << 20;

base::Status BadRow(const std::string& what) {
  return base::Corrupt("the store holds an unreadable " + what +
                       std::string(base::kDirectoryRemedy));
}

// Of what was read from the store or the log.
base::Status WithRemedy(const base::Status& status) {
  if (status.code() != base::Code::kCorrupt) return status;
  return base::Corrupt(status.message() + std::string(base::kDirectoryRemedy));
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
  if (barrier_ > log_.begin()) replica_.RestoreFloor(barrier_floor_);
  replica_.Start(now.mono_us, now.wall_ms);
  // Before all else that this process writes: on a disk that was set back others may know what came behind this place.
  epochs_.emplace_back(log_.end(), replica_.nonce());
  log_.Append(log::RecordType::kLocal, EncodeStart(replica_.nonce()));
  if (identity_known_) replica_.SetClusterId(cluster_id_);
  ReadConfiguration();
  UpdateTime();
  owes_claim_ = admitted_ && identity_known_;
  last_checkpoint_us_ = now.mono_us;
  last_checkpoint_ms_ = now.wall_ms;
  last_claim_us_ = now.mono_us;
  if (identity_known_ && admitted_) MendAdmission();
  if (!identity_known_) Found();
  agreed_.Start(/*found=*/false, options_.new_seat);
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
  users_.NoteAll();
  SettleUsers();
  trim_from_us_ = now.mono_us + options_.state_timeout_us;
  status = log_.Commit();
  log_.RequestSync();
  checkpoint_wanted_ = log_.end() - checkpoint_position_ >= options_.checkpoint_replayed_bytes;
  return status;
}

// What says that this leader is admitted comes before the record of it in the log (Found, AdmitSelf, another name), so
// that nobody else's record is ever taken for its own: a power cut may have left the one and taken the other. Without
// the record it would serve and write, and be nobody's member.
void Engine::MendAdmission() {
  if (Reserved("cluster").value_or("").empty() && cluster_id_ != 0 && admissions_.empty())
    PutReserved("cluster", clock::Origin{"", cluster_id_}.ToString().substr(1));
  auto self = admissions_.find(options_.leader_id);
  const std::string nonce = clock::Origin{"", join_nonce_}.ToString().substr(1);
  const bool told =
      self != admissions_.end() && (self->second.nonces.count(nonce) != 0 || self->second.retired.count(nonce) != 0);
  if (!told) PutReserved("member/" + options_.leader_id, nonce + " " + VersionVectorText());
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
        if (key == kLedgerPositionRowKey && row.size() == 8) ledger_position_ = base::LoadFixed64(row.data());
        const std::string_view votes(kVoteRowPrefix);
        if (key.starts_with(votes) ? !agreed_.LoadRow(key.substr(votes.size()), row)
                                   : key == kVotesRowKey && !agreed_.LoadMeta(row)) {
          bad = BadRow("vote");
          return false;
        }
        if (key.substr(0, sizeof(kOriginRowPrefix) - 1) != kOriginRowPrefix) return true;
        clock::Origin origin;
        if (!DecodeOriginRow(row, origin) || OriginRowKey(origins_.size()) != key) {
          bad = BadRow("origin row");
          return false;
        }
        origins_.Intern(origin);
        return true;
      });
  if (!status.ok() || !bad.ok()) return status.ok() ? bad : WithRemedy(status);
  stored_origins_ = origins_.size();
  if (!checkpoint.empty() && !DecodeCheckpointMeta(checkpoint)) return BadRow("checkpoint row");

  status = store_.Scan(storage::Family::kData, [&](std::string_view row_key, std::string_view row) {
    DataRowName name;
    DataRow data;
    bool ok = ParseDataRowKey(row_key, name) && DecodeAnyRow(name, row, data);
    auto known = [&](clock::OriginIndex o) {
      return clock::IndexOf(o) < origins_.size();
    };
    auto check = [&](const crdt::Register& of) {
      for (const crdt::Version& v : of.versions)
        ok = ok && known(v.dot.origin());
      for (const crdt::CounterEntry& e : of.counters)
        ok = ok && known(e.origin);
    };
    check(data.state);
    for (const crdt::Element& e : data.state.elements)
      check(e);
    for (const crdt::ExpiryVersion& x : data.state.expiries)
      ok = ok && known(x.dot.origin());
    if (ok && name.type != crdt::Type::kString) {
      ok = keyspace_.LoadElement(
          name.db, name.key, name.type, name.element, data.state.elements.front());
    }
    if (!ok) {
      bad = BadRow("row");
      return false;
    }
    if (data.position > checkpoint_position_)
      row_positions_.Note(name, data.position, data.spilled);
    if (name.type != crdt::Type::kString) return true;
    if (name.db == crdt::kReservedDatabase && name.key.starts_with(kFoldedPrefix)) {
      NoteFold(name.key, data.state);
    }
    if (name.db == crdt::kReservedDatabase && name.key.starts_with(kEndedPrefix)) {
      ended_keys_.emplace_back(name.key);
    }
    if (PLANTED(kEmptyNameLost) && name.key.empty()) return true;
    keyspace_.Load(name.db, name.key, std::move(data.state));
    return true;
  });
  if (!status.ok() || !bad.ok()) return status.ok() ? bad : WithRemedy(status);
  status = store_.Scan(storage::Family::kLedger, [&](std::string_view key, std::string_view row) {
    ledger_.Load(key, row);
    return true;
  });
  return status.ok() ? LoadStaged() : WithRemedy(status);
}

// A transfer that was under way, or one whose cut-over the log may hold. Unreadable rows of it are
// no loss: they are dropped, unless the log says that they are needed.
base::Status Engine::LoadStaged() {
  auto row = store_.Get(storage::Family::kMeta, kTransferRowKey);
  if (!row.ok()) return row.status().code() == base::Code::kNotFound ? base::Status() : row.status();
  staged_rows_ = true;
  StagedProgress progress;
  if (!DecodeProgress(*row, progress)) return {};
  if (progress.id == barrier_transfer_) return {};  // merged, and the rows show it
  // Nothing of it is here but what our own store told: cheaper anew.
  if (progress.part == wire::StatePart::kDigests) return {};
  auto base_row = store_.Get(storage::Family::kMeta, kTransferBaseRowKey);
  CheckpointRow base;
  if (!base_row.ok() || !DecodeCheckpoint(*base_row, origins_.size(), base)) return {};
  auto staged = std::make_unique<Staged>(replica_, keyspace_, progress);
  if (!staged->TakeBase(std::move(base))) return {};
  auto slots = store_.Get(storage::Family::kMeta, kTransferSlotsRowKey);
  if (slots.ok()) {
    staged->equal_slots = std::move(*slots);
  } else if (slots.status().code() != base::Code::kNotFound) {
    return slots.status();
  }
  std::vector<clock::OriginIndex> same;
  for (size_t i = 0; i < origins_.size(); ++i)
    same.push_back(static_cast<clock::OriginIndex>(i));
  bool fine = true;
  base::Status status =
      store_.Scan(storage::Family::kStaged, [&](std::string_view key, std::string_view value) {
        if (!key.empty() && key[0] == kStagedLedgerPrefix) {
          conflict::LedgerEntry entry;
          fine = conflict::Ledger::Decode(key.substr(1), value, entry);
          if (fine) staged->TakeLedger(std::move(entry));
          return fine;
        }
        DataRowName name;
        DataRow data;
        fine = ParseDataRowKey(key, name) && DecodeAnyRow(name, value, data) &&
               Remap(data.state, same) && staged->TakeRow(name, std::move(data));
        return fine;
      });
  if (status.ok() && fine) {
    status = store_.Scan(storage::Family::kSpool, [&](std::string_view key, std::string_view value) {
      log::Position end = 0;
      for (char c : key)
        end = end << 8 | static_cast<uint8_t>(c);
      fine = key.size() == 8 && end <= progress.position && staged->TakeFrame(end, value);
      return fine;
    });
  }
  if (!status.ok()) return status;
  if (!fine) {
    Report(2, "the rows of a state transfer are damaged: it begins anew");
    return {};
  }
  staged->Advance(progress.position);
  staged_ = std::move(staged);
  return {};
}

base::Status Engine::ReplayCutOver(const CutOverRecord& record, log::Position end) {
  if (staged_ == nullptr || staged_->progress.id != record.transfer ||
      staged_->progress.position != record.position || !staged_->complete()) {
    return base::Corrupt(
        "the log says that another leader's state was taken over, and the store does not hold it" +
        std::string(base::kDirectoryRemedy));
  }
  ++transfers_.replayed;
  position_ = end;
  JoinStaged(end);
  keyspace_.MergeAll();
  return {};
}

base::Status Engine::ReplayLog() {
  if (checkpoint_position_ < log_.begin() || checkpoint_position_ > log_.end()) {
    return base::Corrupt("the log does not reach the checkpoint" + std::string(base::kDirectoryRemedy));
  }
  if (ledger_position_ > log_.end()) {
    return base::Corrupt("the log ends at " + std::to_string(log_.end()) + ", and the store reflects it up to " +
                         std::to_string(ledger_position_) + std::string(base::kDirectoryRemedy));
  }
  replaying_ = true;
  ReadConfiguration();  // policies and priorities: what decides the conflicts that are met again
  base::Status status;
  log::Position position = checkpoint_position_;
  log::Position record_end = 0;
  keyspace_.SetReplayFilter(
      [&](uint8_t db, std::string_view key, crdt::Type type, std::string_view element) {
        return !PLANTED(kReplayAll) && row_positions_.Reflect(db, key, type, element, record_end);
      });
  while (position < log_.end() && status.ok()) {
    auto next = log_.Read(position, kReplayChunk, [&](const log::Record& record) {
      record_end = record.end;
      status = record.type == log::RecordType::kFrame ? ReplayFrame(record) : ReplayLocal(record);
      return status.ok();
    });
    if (!next.ok()) status = WithRemedy(next.status());
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
    return base::Corrupt("unreadable frame in the log" + std::string(base::kDirectoryRemedy));
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
  Local local;
  if (!DecodeLocal(record.payload, local)) {
    return {base::Code::kIncompatible,
            "the log holds a record of a kind that this version does not know: start the newer "
            "version"};
  }
  switch (local.type) {
    case LocalRecord::kLease:
      found_lease_ms_ = local.lease_ms;
      break;
    case LocalRecord::kIdentity:
      identity_known_ = true;
      identity_leader_ = local.identity.leader;
      cluster_id_ = local.identity.cluster;
      admitted_ = local.identity.admitted;
      join_nonce_ = local.identity.join_nonce;
      break;
    case LocalRecord::kCutOver:
      return ReplayCutOver(local.cut_over, record.end);
    case LocalRecord::kStart:
      epochs_.emplace_back(record.position, local.nonce);
      break;
    case LocalRecord::kVote:
      if (!agreed_.Replay(local.vote)) {
        return base::Corrupt(
            "unreadable vote in the log: restore the directory from a backup, or empty it and start with --join");
      }
      break;
  }
  return {};
}

base::Status Engine::CheckIdentity() {
  if (!identity_known_) return {};
  if (identity_leader_ != options_.leader_id) {
    if (identity_leader_.substr(0, identity_leader_.find('~')) != options_.leader_id) {
      return base::Invalid("the directory belongs to leader '" + identity_leader_ + "': start with --id " +
                           identity_leader_.substr(0, identity_leader_.find('~')) + " or with another --dir");
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
  Report(0,
         "the directory holds no leader's data and there is no --join: this leader founds a new cluster. If it had data before, stop "
         "it: its volume may not be mounted");
  AppendIdentity();
  agreed_.Start(/*found=*/true, options_.new_seat);
  PutReserved("cluster", clock::Origin{"", cluster_id_}.ToString().substr(1));
  PutReserved("member/" + options_.leader_id, clock::Origin{"", join_nonce_}.ToString().substr(1));
  PutReserved("address/" + options_.leader_id, options_.advertise);
  FinishFrame();
  // Nobody is told of a cluster that a power cut could take from its founder: he would found another.
  founded_at_ = log_.end();
}

void Engine::PrepareStop() {
  FinishFrame();
  log_.Append(log::RecordType::kLocal, EncodeLease(hlc_.last().ms() + 1));
}

void Engine::AppendIdentity() {
  sync_wanted_ = true;
  log_.Append(log::RecordType::kLocal, EncodeIdentity(OwnIdentity()));
}

Identity Engine::OwnIdentity() const {
  if (renaming_) return {cluster_id_, renaming_->leader, admitted_, renaming_->nonce};
  return {cluster_id_, options_.leader_id, admitted_, join_nonce_};
}

std::string Engine::EncodeCheckpointMeta(log::Position start) const {
  CheckpointRow row;
  row.start = start;
  row.identity = OwnIdentity();
  row.lease_ms = hlc_.lease();
  row.nonce = replica_.nonce();
  row.barrier = barrier_;
  row.transfer = barrier_transfer_;
  row.floor = barrier_floor_;
  row.nonempty = nonempty_;
  row.base = replica_.folds().base();
  return EncodeCheckpoint(row, replica_.rows());
}

log::Position Engine::CheckpointPosition(storage::Store& store) {
  auto row = store.Get(storage::Family::kMeta, kCheckpointRowKey);
  if (!row.ok() || row->size() < 9) return 0;
  return base::LoadFixed64(row->data() + 1);
}

log::Position Engine::ReflectedPosition(storage::Store& store) {
  auto row = store.Get(storage::Family::kMeta, kLedgerPositionRowKey);
  return row.ok() && row->size() == 8 ? base::LoadFixed64(row->data()) : 0;
}

bool Engine::DecodeCheckpointMeta(std::string_view bytes) {
  CheckpointRow row;
  if (!DecodeCheckpoint(bytes, origins_.size(), row)) return false;
  checkpoint_meta_ = bytes;
  checkpoint_position_ = row.start;
  cluster_id_ = row.identity.cluster;
  identity_leader_ = row.identity.leader;
  admitted_ = row.identity.admitted;
  join_nonce_ = row.identity.join_nonce;
  found_lease_ms_ = row.lease_ms;
  identity_known_ = true;
  barrier_ = row.barrier;
  barrier_transfer_ = row.transfer;
  barrier_floor_ = row.floor;
  if (row.nonce != 0) epochs_.emplace_back(row.start, row.nonce);
  nonempty_ = row.nonempty;
  for (size_t i = 0; i < row.rows.size(); ++i) {
    auto origin = static_cast<clock::OriginIndex>(i);
    replica_.RestoreRow(origin, std::move(row.rows[i]));
  }
  return true;
}

}  // namespace polyarch::engine
