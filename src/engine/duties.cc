// What is done on time: expiry, claims, leases, syncs, checkpoints, configuration.
#include <algorithm>

#include "base/planted.h"
#include "command/support.h"
#include "engine/engine.h"
#include "engine/rows.h"

namespace polyarch::engine {

namespace {

constexpr int64_t kDutyUs = 50'000;
constexpr int64_t kSecondUs = 1'000'000;
constexpr int64_t kClaimUs = 1'000'000;  // at most one claim frame in this time
constexpr int64_t kClaimPatienceUs = 2'000'000;
constexpr int64_t kOthersRemoveMs = 5'000;  // expired keys of an owner that does not remove them
// Keys of one slice: bounds how long other work waits for it. Many keys that live for seconds
// (sessions, rate limits) are ordinary: what expires must go as fast as it can come.
constexpr int64_t kSliceUs = 10'000;
constexpr size_t kVisitsEach = 8;  // of those that others are due to remove, too: they cost time
constexpr size_t kCountersEach = 2;  // of one key's elements, cleared a slice, for each key that may be removed
constexpr size_t kFreedMax = 5'000;  // elements of collections that are gone, a tick
constexpr size_t kHeldBatchesMax = 64;
constexpr size_t kStorePendingMax = 64 << 20;
constexpr int64_t kKeepAddressUs = 10'000'000;  // between the first two corrections; later ones take longer
constexpr int64_t kKeepAddressMaxUs = 3'600'000'000;
constexpr int64_t kHandlersReportUs = 60'000'000;
constexpr int64_t kPresentUs = 5'000'000;    // between two records that this leader is here

}  // namespace

void Engine::RunDuties() {
  if (checkpoint_wanted_ && !pass_ && !keyspace_.merging()) BeginCheckpoint();
  CheckpointSlice();
  keyspace_.FreeSome(kFreedMax);
  if (status_.ok()) {
    ReceiveState();
    replica_.SetCarrier(receiving_from());
    SendStates();
  }
  const bool may_write = this->may_write() && status_.ok();
  const bool merging = keyspace_.merging();
  if (may_write && !merging && now_.mono_us >= next_slice_us_) {
    next_slice_us_ = now_.mono_us + kSliceUs;
    // While clients are paused nothing goes by time or for its memory, as in Redis.
    if (paused_until_us_ < 0) RemoveExpired();
    PurgeSlice();
    eviction_.Slice();
  }
  if (now_.mono_us < next_duty_us_) return;
  next_duty_us_ = now_.mono_us + kDutyUs;
  UpdateTime();
  if (may_write || OwesLastClaim()) WriteClaim();
  if (now_.mono_us < next_second_us_) return;
  next_second_us_ = now_.mono_us + kSecondUs;
  WatchClaims();
  ReportHandlers();
  TendFeeds();
  SettleRetirements();
  SettleFolds();
  if (may_write) {
    if (!merging) {
      FoldEnded();
      BeginPurgeRound();
      KeepAddress();
    }
    const bool level = staged_ == nullptr && replica_.HasHeard() && replica_.behind() <= kLevelChanges;
    if (level && (last_present_us_ < 0 || now_.mono_us - last_present_us_ > kPresentUs)) {
      WritePresent();
    }
  }
  if (status_.ok()) TrimLog();
  ledger_.Expire(now_.wall_ms);
  const bool much = log_.end() - checkpoint_position_ >= options_.checkpoint_log_bytes;
  const bool old = keyspace_.dirty_count() > 0 &&
                   now_.mono_us - last_checkpoint_us_ >= options_.checkpoint_interval_ms * 1000;
  const bool names = keyspace_.deleted_count() > eviction_.deleted_names_max();
  if (!pass_ && !keyspace_.merging() && (much || old || names)) BeginCheckpoint();
}

// A copy of this leader's directory that ran under its name at another address, until the two met, has
// left its own address with the name: nobody would find this one any more. Two that go on under one name
// correct each other, ever more seldom.
void Engine::KeepAddress() {
  if (rename_wanted_ || renaming_ || forget_wanted_ || replica_.members().count(options_.leader_id) == 0) return;
  if (now_.mono_us < next_address_us_) return;
  const std::string key = "address/" + options_.leader_id;
  if (Reserved(key).value_or("") == options_.advertise) return;
  address_pause_us_ = std::min(std::max(2 * address_pause_us_, kKeepAddressUs), kKeepAddressMaxUs);
  next_address_us_ = now_.mono_us + address_pause_us_;
  PutReserved(key, options_.advertise);
  FinishFrame();
  Report(1, "the address of this leader was another one: it is " + options_.advertise + " again");
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
  RemoveExpiredPart();
  if (keyspace_.LatestHidden() < 0 || replica_.members().empty()) return;
  int64_t claimed = INT64_MAX;  // every counting member says its clock is past this
  for (const auto& [name, member] : replica_.members()) {
    if (!member.away) claimed = std::min(claimed, replica_.MemberClock(name));
  }
  CountHeldBack(claimed);
  std::vector<std::pair<uint8_t, std::string>> keys;
  const size_t most = options_.removal_slice_keys;
  size_t visits = 0;
  int64_t reached = INT64_MIN;
  int64_t go_on =
      INT64_MIN;  // where the next slice begins: with the oldest, unless this one is cut short
  keyspace_.VisitExpired(expired_from_ms_, [&](const keyspace::Keyspace::Expired& e) {
    if (e.instant_ms >= claimed) return false;
    if (e.instant_ms != reached && (visits >= kVisitsEach * most || keys.size() >= most)) {
      go_on = e.instant_ms;
      return false;
    }
    ++visits;
    reached = e.instant_ms;
    const bool mine =
        e.winner != clock::kNoOrigin && origins_.Get(e.winner).leader == options_.leader_id;
    if (mine || e.instant_ms < keyspace_.time_ms() - kOthersRemoveMs)
      keys.emplace_back(e.db, e.key);
    if (keys.size() < 2 * most) return true;
    go_on = reached;  // very many in one millisecond
    return false;
  });
  expired_from_ms_ = PLANTED(kRemovalForgotten) && go_on != INT64_MIN ? INT64_MAX : go_on;
  std::sort(keys.begin(), keys.end());  // equal instants come in the order of addresses
  for (const auto& [db, key] : keys) {
    // What goes in parts is removed once: with its last part.
    if (expiring_ && expiring_->db == db && expiring_->key == key) continue;
    const keyspace::KeyRef ref = keyspace_.Ref(db, key);
    if (keyspace_.LiveCounters(ref) > kCountersEach * most && !keyspace_.Exists(ref)) {
      // One after another.
      const keyspace::Entry* stored = keyspace_.StoredAs(ref);
      if (!expiring_ && stored != nullptr) expiring_ = Expiring{db, key, stored->indexed_expiry(), {}};
      continue;
    }
    removes_hidden_ = !keyspace_.Exists(ref);  // who tracks it was told when it became so
    keyspace::Change change(*this, keyspace_);
    change.RemoveExpired(ref);
    NoteRemoved(db, key);
  }
}

void Engine::RemoveExpiredPart() {
  if (!expiring_) return;
  const keyspace::KeyRef ref = keyspace_.Ref(expiring_->db, expiring_->key);
  // Flushed, written anew, or extended by another leader: what is left of it stays. It may have expired again by now, at
  // another instant, which not all need have passed.
  const keyspace::Entry* stored = keyspace_.StoredAs(ref);
  if (stored == nullptr || stored->indexed_expiry() != expiring_->instant_ms || keyspace_.Exists(ref))
    return expiring_.reset();
  removes_hidden_ = true;
  keyspace::Change change(*this, keyspace_);
  const bool removed = change.RemoveExpiredPart(
      ref, expiring_->cursor, kCountersEach * options_.removal_slice_keys);
  removes_hidden_ = false;
  if (!removed) return;
  NoteRemoved(expiring_->db, expiring_->key);
  expiring_.reset();
}

void Engine::NoteRemoved(uint8_t db, const std::string& key) {
  removes_hidden_ = false;
  ++expired_keys_;
  if (notifies()) Notify(command::kNoticeExpired, "expired", db, key);
}

// ---- claims

void Engine::WriteClaim() {
  // A claim says this leader's own clock: what only the others' clocks have hidden it cannot help yet.
  const int64_t hidden_ms = keyspace_.LatestHidden(now_.wall_ms);
  const bool late = hidden_ms >= last_claimed_clock_ms_ && hidden_ms >= 0;
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

uint64_t Engine::Unclaimed(const std::string& member) const {
  uint64_t behind = 0;
  nonempty_.ForEachAbove(replica_.Claim(member), [&](clock::OriginIndex, uint64_t applied, uint64_t claimed) {
    behind += applied - claimed;
    return true;
  });
  return behind;
}

// ---- checkpoints

uint64_t Engine::StartCheckpoint() {
  if (pass_ && !keyspace_.merging()) return checkpoints_started_;
  // Begun when the merge, or the transaction that asks for it, has ended.
  if (keyspace_.merging() || change_open_) {
    checkpoint_wanted_ = true;
    return checkpoints_started_ + 1;
  }
  BeginCheckpoint();
  return checkpoints_started_;
}

void Engine::BeginCheckpoint() {
  FinishFrame();
  checkpoint_wanted_ = false;
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
    // The clients come first, unless the log grows faster than this pass gets on, or no earlier pass came to its end: a
    // process that is killed again and again would have more to read at each start.
    const bool hurry = log_.end() - pass_->start > options_.checkpoint_log_bytes / 2 ||
                       pass_->start - checkpoint_position_ > options_.checkpoint_log_bytes * 3 / 2;
    const size_t rows = hurry ? options_.checkpoint_slice_keys
                              : Pacer::Rows(now_.mono_us, rows_since_us_, options_.checkpoint_slice_keys);
    if (rows == 0) return;
    rows_since_us_ = now_.mono_us;
    FinishFrame();  // rows must reflect whole frames
    storage::Batch batch;
    // Names wait for nothing: in the order of their numbers, whoever writes them (transfers do, too).
    storage::Batch names;
    PutNewOrigins(names);
    if (!names.empty()) store_.Write(std::move(names));
    const log::Position position = log_.end();
    using Row = keyspace::Keyspace::Row;
    const bool more =
        keyspace_.VisitDirty(rows, [&](const Row& row) {
          constexpr storage::Family kData = storage::Family::kData;
          switch (row.kind) {
            case Row::Kind::kKey:
              if (row.state->empty()) {
                batch.Delete(kData, DataRowKey(row.db, row.key));
              } else {
                batch.Put(kData,
                          DataRowKey(row.db, row.key),
                          EncodeDataRow(position, *row.state, row.spilled));
              }
              break;
            case Row::Kind::kElement:
              if (row.register_state->empty()) {
                batch.Delete(kData, ElementRowKey(row.db, row.key, row.type, row.element));
              } else {
                batch.Put(kData,
                          ElementRowKey(row.db, row.key, row.type, row.element),
                          EncodeElementRow(position, *row.register_state));
              }
              break;
            case Row::Kind::kDropElements:
              batch.ClearPrefix(kData, ElementRowPrefix(row.db, row.key, row.type));
              break;
          }
        });
    conflict::Ledger::Dirty dirty = ledger_.TakeDirty();
    for (auto& [key, row] : dirty.rows)
      batch.Put(storage::Family::kLedger, std::move(key), std::move(row));
    for (auto& key : dirty.deleted)
      batch.Delete(storage::Family::kLedger, std::move(key));
    if (!batch.empty()) {
      std::string reflected;
      base::PutFixed64(reflected, position);
      batch.Put(storage::Family::kMeta, kLedgerPositionRowKey, std::move(reflected));
    }
    sync::Elector::Dirty votes;
    const bool more_votes = agreed_.agreement().elector().TakeDirty(rows, votes);
    if (votes.all_gone) batch.ClearPrefix(storage::Family::kMeta, kVoteRowPrefix);
    for (auto& [key, row] : votes.rows) {
      if (row.empty()) {
        batch.Delete(storage::Family::kMeta, kVoteRowPrefix + key);
      } else {
        batch.Put(storage::Family::kMeta, kVoteRowPrefix + key, std::move(row));
      }
    }
    if (!votes.meta.empty()) batch.Put(storage::Family::kMeta, kVotesRowKey, std::move(votes.meta));
    if (!more && !more_votes) {
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
    last_checkpoint_took_us_ = now_.mono_us - last_checkpoint_us_;
    checkpoints_done_ = checkpoints_started_;
    last_checkpoint_ms_ = now_.wall_ms;
    changes_at_checkpoint_ = command::CountChanges(replica_.applied());
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

// A handler that fails shows what lww shows: somebody should know. At most a line in a minute.
void Engine::ReportHandlers() {
  if (handlers_reported_us_ >= 0 && now_.mono_us - handlers_reported_us_ < kHandlersReportUs) return;
  for (const auto& [name, handler] : policies_.handlers()) {
    uint64_t& told = handler_fallbacks_told_[name + " " + handler->version()];
    const auto& stats = handler->stats();
    told = std::min(told, stats.fallbacks);  // an earlier source that is loaded again counts anew
    if (stats.fallbacks == told) continue;
    Report(1, "handler " + name + " left it to lww for " + std::to_string(stats.fallbacks - told) + " of the views of late: " +
                  (stats.last_error.empty() ? "it returned nil" : stats.last_error));
    told = stats.fallbacks;
    handlers_reported_us_ = now_.mono_us;
  }
}

void Engine::ReadConfiguration() {
  configuration_changed_ = false;
  unread_configuration_ = 0;
  ReadEnded();
  std::vector<std::string> keys;
  uint64_t cursor = 0;
  do {
    cursor = keyspace_.Scan(crdt::kReservedDatabase, cursor, 1000, [&](std::string_view key) {
      // Those that tell of ended origins are many (ReadEnded), and so is what was decided (agreed.h).
      // Scripts are asked for when they run (command/scripts.h), users are read by themselves (command/users.h).
      if (key.starts_with(kOwnerPrefix)) return owners_.NoteRecords(key);
      if (key.starts_with(kEscrowPrefix)) return escrow_.NoteRows(key);
      if (!key.starts_with(kEndedPrefix) && !key.starts_with(kFoldedPrefix) &&
          !key.starts_with(kDecidedPrefix) && !command::Scripts::Owns(key) && !command::Users::Owns(key))
        keys.emplace_back(key);
    });
  } while (cursor != 0);
  std::sort(keys.begin(), keys.end());
  std::map<std::string, Admissions> admissions;
  const conflict::PolicyTable before = std::move(policies_);
  policies_.clear();
  conflict::PolicyTable::Handlers handlers;
  std::vector<conflict::FeedGroup> feeds;
  feed_acks_.clear();
  replication::Topology topology;
  bool electorate = false;
  auto after = [](const std::string& key, std::string_view prefix) -> std::optional<std::string> {
    if (key.compare(0, prefix.size(), prefix) != 0) return std::nullopt;
    return key.substr(prefix.size());
  };
  for (const std::string& key : keys) {
    keyspace::KeyRef ref = keyspace_.Ref(crdt::kReservedDatabase, key);
    if (auto name = after(key, "member/")) {
      // All versions count: two members may have admitted it at once.
      Admissions& a = admissions[*name];
      a.member.name = *name;
      for (const crdt::Version& v : keyspace_.State(ref).versions) {
        const size_t space = v.value.find(' ');
        clock::VersionVector floor;
        if (space != std::string::npos) {
          floor = ParseVector(std::string_view(v.value).substr(space + 1), origins_);
          replica_.Expand(floor);
        }
        // It writes as soon as it has one of them, any one. Whatever anybody may forget is below each: the member who
        // admitted it counted, and had claimed no more than that.
        if (a.member.admissions.empty()) {
          a.member.floor = std::move(floor);
        } else if (PLANTED(kFloorsJoined)) {
          a.member.floor.Join(floor);
        } else {
          a.member.floor.Meet(floor);
        }
        a.member.admissions.push_back(v.dot);
        a.nonces.insert(v.value.substr(0, space));
      }
    } else if (auto out = after(key, "retired/")) {
      Admissions& a = admissions[*out];
      for (const crdt::Version& v : keyspace_.State(ref).versions) {
        for (std::string_view word : SplitWords(v.value)) a.retired.emplace(word);
        a.records.push_back(v.dot);
        a.retired_at = std::max(a.retired_at, {v.hlc, origins_.Get(v.dot.origin())});
      }
    } else if (auto leader = after(key, "address/")) {
      admissions[*leader].member.address = Reserved(key).value_or("");
    } else if (auto behind = after(key, "away/")) {
      admissions[*behind].member.away = Reserved(key).value_or("") == "away";
    } else if (auto pattern = after(key, "policy/")) {
      std::string text = Reserved(key).value_or("");
      std::vector<std::string_view> words = SplitWords(text);
      auto policy = conflict::Policy::Parse(words);
      if (policy.ok()) policies_.Set(*pattern, *policy);
    } else if (auto place = after(key, conflict::kFieldPolicyPrefix)) {
      auto policy = conflict::Policy::ParseText(Reserved(key).value_or(""));
      auto of = conflict::FieldPolicyPlace::Parse(*place);
      if (policy.ok() && of) policies_.SetField(of->pattern, of->field, *policy);
    } else if (auto handler = after(key, conflict::kHandlerPrefix)) {
      std::string source = Reserved(key).value_or("");
      if (source.empty()) continue;
      auto same = before.handlers().find(*handler);
      if (same != before.handlers().end() && (same->second->source() == source || PLANTED(kHandlerStale))) {
        handlers.insert(*same);
      } else {
        handlers.emplace(*handler, std::make_shared<conflict::LoadedHandler>(*handler, std::move(source)));
      }
    } else if (auto feed = after(key, conflict::kFeedPrefix)) {
      auto group = conflict::FeedGroup::ParseText(*feed, Reserved(key).value_or(""));
      // kFeedsMax is kept by CONFLICT FEED CREATE: leaders that were cut off may have made more together.
      if (group) feeds.push_back(std::move(*group));
    } else if (key.starts_with(conflict::kFeedAcksPrefix) || key.starts_with(conflict::kFeedCursorsPrefix)) {
      feed_acks_.insert(key);
    } else if (key == "priority") {
      std::string text = Reserved(key).value_or("");
      std::vector<std::string> order;
      for (std::string_view word : SplitWords(text))
        order.emplace_back(word);
      policies_.SetDefaultOrder(std::move(order));
    } else if (key == kElectorateKey) {
      electorate = true;
    } else if (key == kElectorsKey) {
      const std::string text = Reserved(key).value_or("");
      std::vector<std::string> chosen;
      for (std::string_view word : SplitWords(text))
        chosen.emplace_back(word);
      agreed_.SetChosen(std::move(chosen));
    } else if (key == "topology") {
      auto parsed = replication::Topology::ParseStored(Reserved(key).value_or(""));
      if (parsed.ok()) topology = std::move(*parsed);
    }
  }
  // Who waits for items of one that is gone must hear of it.
  for (const conflict::FeedGroup* group : feeds_.All()) waiters_.NoteChanged(group->db, group->name);
  feeds_.SetGroups(std::move(feeds));
  policies_.BindHandlers(std::move(handlers));
  // It may settle keys, and so asks for their policies.
  if (electorate) agreed_.ReadElectorate();
  if (!before.SameRules(policies_) || before.default_order() != policies_.default_order()) {
    keyspace_.PoliciesChanged();
    if (staged_) staged_->PoliciesChanged();
    watches_.NoteAll();
    tracking_.NoteAll();
  }
  if (!before.empty() && !before.SameRules(policies_)) NoteDecided(before);
  agreed_.PoliciesChanged();
  owners_.PoliciesChanged();
  ReadMembers(std::move(admissions));
  replica_.SetTopology(topology);
  replica_.SetPrecedence(policies_.default_order());
}

}  // namespace polyarch::engine
