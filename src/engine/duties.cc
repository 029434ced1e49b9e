// What is done on time: expiry, claims, purging, leases, syncs, checkpoints, configuration.
#include <algorithm>

#include "base/planted.h"
#include "engine/engine.h"
#include "engine/rows.h"

namespace polyarch::engine {

namespace {

constexpr int64_t kDutyUs = 50'000;
constexpr int64_t kSecondUs = 1'000'000;
constexpr int64_t kClaimUs = 1'000'000;  // at most one claim frame in this time
constexpr int64_t kClaimPatienceUs = 2'000'000;
constexpr int64_t kOthersRemoveMs = 5'000;  // expired keys of an owner that does not remove them
constexpr size_t kRemovalsMax = 1'000;
constexpr size_t kPurgesMax = 2'000;
constexpr size_t kHeldBatchesMax = 64;
constexpr size_t kStorePendingMax = 64 << 20;
constexpr int64_t kPresentUs = 5'000'000;    // between two records that this leader is here
constexpr uint64_t kLevelChanges = 10'000;   // so few changes behind is level

}  // namespace

void Engine::RunDuties() {
  CheckpointSlice();
  if (status_.ok()) {
    ReceiveState();
    SendStates();
  }
  if (now_.mono_us < next_duty_us_) return;
  next_duty_us_ = now_.mono_us + kDutyUs;
  UpdateTime();
  if (admitted_ && status_.ok()) {
    if (!keyspace_.merging()) RemoveExpired();
    WriteClaim();
  }
  if (now_.mono_us < next_second_us_) return;
  next_second_us_ = now_.mono_us + kSecondUs;
  if (admitted_ && status_.ok()) {
    if (!keyspace_.merging()) PurgeResidue();
    const bool level = staged_ == nullptr && replica_.behind() <= kLevelChanges;
    if (level && (last_present_us_ < 0 || now_.mono_us - last_present_us_ > kPresentUs)) {
      WritePresent();
    }
  }
  if (status_.ok()) TrimLog();
  ledger_.Expire(now_.wall_ms);
  const bool much = log_.end() - checkpoint_position_ >= options_.checkpoint_log_bytes;
  const bool old = keyspace_.dirty_count() > 0 &&
                   now_.mono_us - last_checkpoint_us_ >= options_.checkpoint_interval_ms * 1000;
  if (!pass_ && !keyspace_.merging() && (much || old)) BeginCheckpoint();
}

void Engine::UpdateTime() {
  std::vector<int64_t> clocks;
  for (const auto& [name, member] : replica_.members())
    clocks.push_back(replica_.MemberClock(name));
  if (clocks.empty()) return;
  std::sort(clocks.begin(), clocks.end());
  others_clock_ms_ = clocks[(clocks.size() - 1) / 2] - options_.clock_skew_ms_max;
  keyspace_.SetTime(std::max(now_.wall_ms, others_clock_ms_));
}

void Engine::ExtendLease() {
  uint64_t lease = hlc_.LeaseWanted(now_.wall_ms);
  if (lease == 0) return;
  log_.Append(log::RecordType::kLocal, EncodeLease(lease));
}

void Engine::SyncIfDue() {
  if (log_.end() <= log_.durable()) return;
  if (sync_wanted_) {
    sync_wanted_ = false;
    log_.RequestSync();
  }
  switch (options_.durability) {
    case Durability::kAlways:
      log_.RequestSync();
      break;
    case Durability::kEverySecond:
      if (now_.mono_us - last_sync_us_ >= kSecondUs) {
        last_sync_us_ = now_.mono_us;
        log_.RequestSync();
      }
      break;
    case Durability::kNone:
      break;
  }
}

// ---- expiry

void Engine::RemoveExpired() {
  if (keyspace_.LatestHidden() < 0 || replica_.members().empty()) return;
  int64_t claimed = INT64_MAX;  // every counting member says its clock is past this
  for (const auto& [name, member] : replica_.members()) {
    if (!member.away) claimed = std::min(claimed, replica_.MemberClock(name));
  }
  std::vector<std::pair<uint8_t, std::string>> keys;
  keyspace_.VisitExpired([&](uint8_t db, std::string_view key, const crdt::KeyState& state) {
    const int64_t instant = state.ExpiryTime();
    if (instant >= claimed) return false;
    const crdt::ExpiryVersion* winner = nullptr;
    for (const crdt::ExpiryVersion& x : state.expiries) {
      if (winner == nullptr || x.time_ms > winner->time_ms ||
          (x.time_ms == winner->time_ms && origins_.Less(winner->dot.origin(), x.dot.origin()))) {
        winner = &x;
      }
    }
    const bool mine =
        winner != nullptr && origins_.Get(winner->dot.origin()).leader == options_.leader_id;
    if (mine || instant < keyspace_.time_ms() - kOthersRemoveMs) keys.emplace_back(db, key);
    return keys.size() < kRemovalsMax;
  });
  std::sort(keys.begin(), keys.end());  // equal instants come in the order of addresses
  for (const auto& [db, key] : keys) {
    keyspace::Change change(*this, keyspace_);
    change.RemoveExpired(keyspace_.Ref(db, key));
  }
}

// ---- claims and purging

void Engine::WriteClaim() {
  const bool late =
      keyspace_.LatestHidden() >= last_claimed_clock_ms_ && keyspace_.LatestHidden() >= 0;
  const bool ends = !replica_.OriginsToEnd().empty();
  if (!owes_claim_ && !late && !ends) {
    owes_since_us_ = -1;
    return;
  }
  if (owes_since_us_ < 0) owes_since_us_ = now_.mono_us;
  if (now_.mono_us - last_claim_us_ < kClaimUs) return;
  FinishFrame();
  if (ends) {
    // Records first, in a frame of their own: a solid frame must cover nothing that is not durable.
    records_due_ = true;
    BeginFrame();
    FinishFrame();
    log_.RequestSync();
    return;
  }
  const bool solid = log_.durable() >= log_.end();
  if (!solid) {
    log_.RequestSync();
    // Under steady traffic there is always something not durable yet: the marks in later frames
    // make this one count.
    if (now_.mono_us - owes_since_us_ < kClaimPatienceUs) return;
  }
  last_claim_us_ = now_.mono_us;
  owes_since_us_ = now_.mono_us;
  WriteEmptyFrame(solid);
  if (solid) owes_claim_ = false;
}

void Engine::PurgeResidue() {
  const auto& residue = keyspace_.residue_keys();
  if (residue.empty() || replica_.members().empty()) {
    residue_seen_.clear();
    return;
  }
  const clock::VersionVector stable = replica_.Stable();
  // The first by name, of those that are here.
  const auto first = std::find_if(
      replica_.members().begin(), replica_.members().end(), [](const auto& entry) {
        return !entry.second.away;
      });
  const bool cleaner =
      first != replica_.members().end() && first->first == options_.leader_id;
  std::vector<std::pair<uint8_t, std::string>> keys;
  auto it = residue.lower_bound(purge_cursor_);
  for (size_t n = 0; n < kPurgesMax && n < residue.size(); ++n) {
    if (it == residue.end()) it = residue.begin();
    keys.push_back(*it++);
  }
  if (it == residue.end()) it = residue.begin();
  purge_cursor_ = *it;
  for (const auto& [db, key] : keys) {
    keyspace::KeyRef ref = keyspace_.Ref(db, key);
    crdt::KeyState state = keyspace_.State(ref);
    // Nobody notices that a cleared entry goes once its own origin knows of the clear: its next
    // increment begins a new life.
    for (const crdt::CounterEntry& e : state.counters) {
      if (e.live()) continue;
      const replication::OriginRow& row = replica_.Row(e.origin);
      const bool known =
          e.cleared_by.bits() != 0 && row.has_claim && row.claim.Covers(e.cleared_by);
      if (known || PLANTED(kPurgeAny)) keyspace_.PurgeCounter(ref, e.origin);
    }
    std::vector<clock::Dot> dots;
    if (!state.has_live_version()) {
      for (const crdt::Version& v : state.versions) {
        if (stable.Covers(v.dot)) dots.push_back(v.dot);
      }
    }
    if (!state.live() && !state.expiries.empty()) {
      // Stable must be all that was applied here when the key was last touched: a concurrent write
      // that this expiry meets may have been on its way.
      auto [seen, fresh] = residue_seen_.try_emplace({db, key}, nonempty_);
      if (!fresh && stable.Includes(seen->second)) {
        for (const crdt::ExpiryVersion& x : state.expiries)
          dots.push_back(x.dot);
      }
    }
    if (!dots.empty() && cleaner) {
      keyspace::Change change(*this, keyspace_);
      change.Clean(ref, dots);
    }
  }
}

// ---- checkpoints

uint64_t Engine::StartCheckpoint() {
  if (keyspace_.merging()) return checkpoints_started_ + 1;  // begun when that has ended
  if (!pass_) BeginCheckpoint();
  return checkpoints_started_;
}

void Engine::BeginCheckpoint() {
  FinishFrame();
  pass_ = Pass{};
  pass_->start = log_.end();
  pass_->meta = EncodeCheckpointMeta(pass_->start);
  last_checkpoint_us_ = now_.mono_us;
  ++checkpoints_started_;
  log_.RequestSync();
}

void Engine::CheckpointSlice() {
  while (!held_batches_.empty() && held_batches_.front().first <= log_.durable()) {
    store_.Write(std::move(held_batches_.front().second));
    held_batches_.pop_front();
  }
  if (!pass_) return;
  if (!pass_->walked) {
    if (store_.pending_bytes() > kStorePendingMax || held_batches_.size() >= kHeldBatchesMax) {
      log_.RequestSync();
      return;
    }
    FinishFrame();  // rows must reflect whole frames
    storage::Batch batch;
    PutNewOrigins(batch);
    const log::Position position = log_.end();
    const bool more = keyspace_.VisitDirty(
        options_.checkpoint_slice_keys,
        [&](uint8_t db, std::string_view key, const crdt::KeyState& state) {
          if (state.empty()) {
            batch.Delete(storage::Family::kData, DataRowKey(db, key));
          } else {
            batch.Put(storage::Family::kData, DataRowKey(db, key), EncodeDataRow(position, state));
          }
        });
    conflict::Ledger::Dirty dirty = ledger_.TakeDirty();
    for (auto& [key, row] : dirty.rows)
      batch.Put(storage::Family::kLedger, std::move(key), std::move(row));
    for (auto& key : dirty.deleted)
      batch.Delete(storage::Family::kLedger, std::move(key));
    if (!more) {
      pass_->walked = true;
      if (PLANTED(kCheckpointVector)) pass_->meta = EncodeCheckpointMeta(log_.end());
      batch.Put(storage::Family::kMeta, kCheckpointRowKey, pass_->meta);
    }
    // Only effects at durable positions may reach a row: the batch waits for the log.
    if (!batch.empty()) held_batches_.emplace_back(position, std::move(batch));
    if (log_.durable() < position) log_.RequestSync();
    return;
  }
  if (!held_batches_.empty()) {
    log_.RequestSync();
    return;
  }
  if (pass_->flush_ticket == 0) {
    pass_->flush_ticket = store_.Flush();
  } else if (store_.flushed() >= pass_->flush_ticket) {
    checkpoint_position_ = pass_->start;
    checkpoint_meta_ = std::move(pass_->meta);
    checkpoint_ended_us_ = now_.mono_us;
    checkpoints_done_ = checkpoints_started_;
    last_checkpoint_ms_ = now_.wall_ms;
    pass_.reset();
    ResumeWaiters(checkpoint_waiters_);
  }
}

void Engine::ResumeWaiters(std::vector<uint64_t>& waiters) {
  for (uint64_t client : waiters)
    host_.Resume(client);
  waiters.clear();
}

// ---- the reserved keyspace

std::optional<std::string> Engine::Reserved(std::string_view key) {
  keyspace::Shown shown = keyspace_.Read(keyspace_.Ref(crdt::kReservedDatabase, key));
  if (!shown.exists()) return std::nullopt;
  return std::string(shown.value);
}

void Engine::PutReserved(std::string_view key, std::string_view value) {
  keyspace::Change change(*this, keyspace_);
  change.Put(keyspace_.Ref(crdt::kReservedDatabase, key), value, keyspace::Change::Ttl::kNone);
}

void Engine::ReadConfiguration() {
  configuration_changed_ = false;
  std::vector<std::string> keys;
  uint64_t cursor = 0;
  do {
    cursor = keyspace_.Scan(crdt::kReservedDatabase, cursor, 1000, [&](std::string_view key) {
      keys.emplace_back(key);
    });
  } while (cursor != 0);
  std::sort(keys.begin(), keys.end());
  std::map<std::string, replication::Member> members;
  policies_.clear();
  policies_.SetDefaultOrder({});
  bool admitted_now = false;
  const std::string nonce = clock::Origin{"", join_nonce_}.ToString().substr(1);
  auto after = [](const std::string& key, std::string_view prefix) -> std::optional<std::string> {
    if (key.compare(0, prefix.size(), prefix) != 0) return std::nullopt;
    return key.substr(prefix.size());
  };
  for (const std::string& key : keys) {
    keyspace::KeyRef ref = keyspace_.Ref(crdt::kReservedDatabase, key);
    if (auto name = after(key, "member/")) {
      // All versions count: two members may have admitted it at once.
      crdt::KeyState state = keyspace_.State(ref);
      for (const crdt::Version& v : state.versions) {
        members[*name].name = *name;
        size_t space = v.value.find(' ');
        if (space != std::string::npos) {
          members[*name].floor.Join(
              ParseVector(std::string_view(v.value).substr(space + 1), origins_));
        }
        if (*name == options_.leader_id && v.value.substr(0, space) == nonce) admitted_now = true;
      }
    } else if (auto leader = after(key, "address/")) {
      members[*leader].address = Reserved(key).value_or("");
    } else if (auto behind = after(key, "away/")) {
      members[*behind].away = Reserved(key).value_or("") == "away";
    } else if (auto pattern = after(key, "policy/")) {
      std::string text = Reserved(key).value_or("");
      std::vector<std::string_view> words = SplitWords(text);
      auto policy = conflict::Policy::Parse(words);
      if (policy.ok()) policies_.Set(*pattern, *policy);
    } else if (key == "priority") {
      std::string text = Reserved(key).value_or("");
      std::vector<std::string> order;
      for (std::string_view word : SplitWords(text))
        order.emplace_back(word);
      policies_.SetDefaultOrder(std::move(order));
    } else if (auto origin_text = after(key, "ended/")) {
      auto origin = clock::Origin::Parse(*origin_text);
      if (origin) {
        clock::OriginIndex index = origins_.Intern(*origin);
        if (index != clock::kNoOrigin) replica_.SetEnded(index);
      }
    }
  }
  std::erase_if(members, [](const auto& entry) { return entry.second.name.empty(); });
  replica_.SetMembers(std::move(members));
  if (!admitted_ && admitted_now && !replaying_) {
    admitted_ = true;
    replica_.SetJoining(false, join_nonce_);
    AppendIdentity();
    owes_claim_ = true;
    Report(0, "admitted: this leader accepts writes");
  }
}

}  // namespace polyarch::engine
