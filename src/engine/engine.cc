// Ticks, commands, and the frames of this node. Recovery: recovery.cc. What is done on time:
// duties.cc.
#include "engine/engine.h"

#include <algorithm>

#include "base/check.h"
#include "base/planted.h"
#include "base/sha1.h"
#include "command/support.h"
#include "command/transaction.h"
#include "engine/rows.h"
#include "wire/change_codec.h"
#include "wire/escrow_message.h"
#include "wire/owner_message.h"

namespace polyarch::engine {

namespace {

// A log position times this is the first ledger id of the frame that ends there.
constexpr uint64_t kLedgerIdsPerByte = 64;

// Does it look at keys that it does not name? EXEC does if one of its commands does.
bool LooksAtAll(const command::Client& client, const command::Row& row) {
  if (client.transaction == nullptr) return (row.flags & command::kWholeKeyspace) != 0;
  return row.handler == command::Exec && client.transaction->whole_keyspace;
}

base::SipKey HashKey(uint64_t seed) {
  base::Random random(seed ^ 0x5bd1e995);
  uint64_t k0 = random.Next();
  return {k0, random.Next()};
}

replication::Replica::Options ReplicaOptions(const Options& options) {
  replication::Replica::Options out;
  out.leader = options.leader_id;
  out.advertise = options.advertise;
  out.join = options.join;
  out.window_bytes = options.window_bytes;
  return out;
}

}  // namespace

Engine::Engine(Options options, Host& host, log::Log& log, storage::Store& store)
    : options_(std::move(options)),
      host_(host),
      log_(log),
      store_(store),
      random_(options_.seed),
      ledger_(options_.ledger),
      keyspace_(origins_, policies_, HashKey(options_.seed)),
      replica_(ReplicaOptions(options_), *this, log, origins_, random_.Next()),
      agreed_(*this, options_.leader_id, options_.seed),
      written_at_(kFilterSize),
      pacer_(options_.state_bytes_per_second_least, options_.state_bytes_per_second) {
  keyspace_.SetObserver(this);
  log_.SetHeadProvider([this] { return replica_.SegmentHead(); });
}

Engine::~Engine() = default;

// ---- ticks

void Engine::BeginTick(const Clocks& now) {
  now_ = now;
  in_tick_ = true;
  pacer_.Tick(now.mono_us, now.busy_us, log_.end());
  replica_.SetTime(now.mono_us, now.wall_ms);
  replica_.LogDurable(log_.durable());
  if (founded_at_ != 0 && log_.durable() >= founded_at_) {
    founded_at_ = 0;
    replica_.SetClusterId(cluster_id_);
  }
  keyspace_.SetTime(std::max(now_.wall_ms, others_clock_ms_));
  TrackExpired();
  eviction_.BeginTick();
  if (paused_until_us_ >= 0 && now_.mono_us >= paused_until_us_) Unpause();
  agreed_.BeginTick();
}

void Engine::EndTick() {
  FinishFrame();
  replica_.ApplyReady();
  if (watches_.unsettled()) watches_.Settle(keyspace_);
  if (configuration_changed_) ReadConfiguration();
  if (users_.unsettled()) SettleUsers();
  AnswerRequests();
  RunDuties();
  if (users_.unsettled()) SettleUsers();  // a state was taken over
  agreed_.Tick();
  FollowConflicts();
  ServeWaiters();
  owners_.Tick();
  escrow_.Tick();
  (void)escrow_.TakeWrote();  // no client waits for that
  DeliverArrived();
  if (tracking_.active()) TellTracking(/*end_of_tick=*/true);
  FinishFrame();
  base::Status committed = log_.Commit();
  if (status_.ok() && !committed.ok()) status_ = committed;
  if (status_.ok() && !log_.status().ok()) status_ = log_.status();
  if (status_.ok() && !store_.status().ok()) status_ = store_.status();
  SyncIfDue();
  replica_.Tick();
  SendPublished();
  in_tick_ = false;
}

void Engine::OnLinkUp(LinkId link, const std::string& dialed, const std::string& remote_address) {
  replica_.OnLinkUp(link, dialed, remote_address);
}
void Engine::OnLinkMessage(LinkId link, std::string_view message) {
  replica_.OnLinkMessage(link, message);
  agreed_.TakeInbox();
}
void Engine::RoutedHere(std::string_view message) {
  if (!message.empty() && message[0] == wire::kOwnerMessage) {
    owners_.Arrived(message);
  } else if (!message.empty() && message[0] == wire::kEscrowMessage) {
    escrow_.Arrived(message);
  } else {
    agreed_.Arrived(message);
  }
}
void Engine::OnLinkDown(LinkId link) {
  replica_.OnLinkDown(link);
}
void Engine::OnDialFailed(const std::string& address) {
  replica_.OnDialFailed(address);
}

// ---- commands

Outcome Engine::Execute(command::Client& client,
                        command::Arguments arguments,
                        resp::Buffer& out,
                        command::ServerHost& server) {
  if (client.blocked != command::Client::Blocked::kNot) [[unlikely]] return TakeAnswer(client, out);
  resp::Writer writer(out, client.protocol);
  if (client.paused) [[unlikely]] client.paused = false;
  if (paused_until_us_ >= 0 && Pauses(client, arguments)) [[unlikely]] return Outcome::kSuspended;
  if (keyspace_.merging()) [[unlikely]] {
    // What looks at all keys waits until they are merged.
    const command::Row* found = command::Table::Instance().Find(arguments);
    if (found != nullptr && LooksAtAll(client, *found)) {
      if (std::find(merge_waiters_.begin(), merge_waiters_.end(), client.id) ==
          merge_waiters_.end()) {
        merge_waiters_.push_back(client.id);
      }
      return Outcome::kSuspended;
    }
  }
  keyspace::Change change(*this, keyspace_);
  command::Context context{.client = client,
                           .args = arguments,
                           .reply = writer,
                           .keys = keyspace_,
                           .change = change,
                           .cluster = *this,
                           .server = server,
                           .now_ms = keyspace_.time_ms(),
                           .random = random_.Next(),
                           .notify = notifies(),
                           .agreed = agreed_.in_use() ? &agreed_ : nullptr,
                           .again = agreed_.WaitsToBegin(client.id)};
  acting_ = client.id;
  const command::Row* row = command::Dispatch(context);
  if (context.waits_for_others) [[unlikely]] {
    acting_ = 0;
    SettleMonitors();
    return Outcome::kSuspended;
  }
  agreed_.NoteEnded(client.id);
  // What a read has brought to light (a merge) waits for the end of the tick.
  if (waiters_.any_ready() && change.wrote()) [[unlikely]] {
    if (change.bytes() > kServeInChangeBytesMax) change.Finish();
    ServeWaiters(change);
  }
  change.Finish();
  if (change.wrote()) client.wrote = newest_own_.bits();
  if (users_.unsettled()) [[unlikely]] {
    SettleUsers();
    context.close |= client.expelled;
  }
  acting_ = 0;
  if (watches_.unsettled()) [[unlikely]] watches_.Settle(keyspace_);
  SettleMonitors();
  // Behind the reply, if there is one.
  if (tracking_.unsettled()) [[unlikely]] TellTracking(/*end_of_tick=*/false);
  if (context.suspended && (!context.wait.keys.empty() || context.wait.poll)) {
    AddWaiter(context);
    return Outcome::kSuspended;
  }
  if (context.suspended) {
    if (std::find(checkpoint_waiters_.begin(), checkpoint_waiters_.end(), client.id) ==
        checkpoint_waiters_.end()) {
      checkpoint_waiters_.push_back(client.id);
    }
    return Outcome::kSuspended;
  }
  const bool hold = escrow_.TakeWrote() || (options_.durability == Durability::kAlways && row != nullptr &&
                                            MustHold(*row, arguments, change.wrote()));
  client.leaving |= context.close;
  if (context.close) return hold ? Outcome::kHeldClose : Outcome::kClose;
  return hold ? Outcome::kHeld : Outcome::kReplied;
}

void Engine::SettleUsers() {
  users_.Settle(keyspace_, origins_);
  host_.UsersChanged(acting_);
}

bool Engine::MustHold(const command::Row& row, command::Arguments arguments, bool wrote) {
  if (PLANTED(kAckBeforeDurable)) return false;
  if (wrote) return true;
  if (PLANTED(kForgetWait)) return false;
  const log::Position durable = log_.durable();
  if (any_written_at_ <= durable) return false;
  if (flushed_at_ > durable) return true;  // a flush counts as every key
  if ((row.flags & command::kWholeKeyspace) != 0 || row.handler == command::Exec ||
      (row.flags & (command::kRunsScript | command::kReadsByPattern)) != 0) {
    return true;
  }
  std::vector<size_t> indices;
  command::KeyIndices(row, arguments, indices);
  for (size_t i : indices) {
    // The database does not matter: a false hit is safe.
    if (written_at_[keyspace_.Ref(0, arguments[i]).hash % kFilterSize] > durable) return true;
  }
  return false;
}

// Its code, in small letters.
std::string Engine::WritesRefused() const {
  const base::Status allowed = WriteAllowed();
  if (allowed.ok()) return eviction_.refuses() ? "oom" : "no";
  std::string word = allowed.message().substr(0, allowed.message().find(' '));
  for (char& c : word) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return word;
}

base::Status Engine::WriteAllowed() const {
  if (!status_.ok()) {
    return {base::Code::kIo,
            "DISKFULL the log cannot be written (" + status_.message() + "); writes are refused"};
  }
  if (low_space_) {
    return {base::Code::kFull,
            "DISKFULL the disk of this leader is nearly full: writes are refused until there is room; "
            "reads and replication go on"};
  }
  if (retired()) {
    return {base::Code::kBusy,
            "RETIRED this leader was taken out of the cluster (LEADER RETIRE) and refuses writes; "
            "write to another one, or start this one with --rejoin"};
  }
  if (!admitted_) {
    const std::vector<replication::LinkStats> links = replica_.Links();
    const bool alone = std::none_of(links.begin(), links.end(), [](const auto& link) { return link.state == "up"; });
    if (alone && !options_.join.empty()) {
      std::string tried;
      for (const std::string& address : options_.join) tried += (tried.empty() ? "" : ", ") + address;
      return {base::Code::kBusy,
              "HISTORY not yet admitted to writes: no member reached (tried " + tried + "); see this leader's log"};
    }
    return {base::Code::kBusy,
            "HISTORY not yet admitted to writes: this leader is still catching up with the "
            "cluster; try again soon"};
  }
  return {};
}

// ---- the frame under way

void Engine::BeginFrame() {
  frame_ = wire::Frame{};
  replica_.PrepareDeps(frame_, frame_deps_);
  body_.clear();
  last_element_.any = false;
  ExtendLease();
  frame_open_ = true;
  if (records_due_) WriteRecords();
}

void Engine::WriteRecords() {
  records_due_ = false;
  for (clock::OriginIndex origin : replica_.OriginsToEnd()) {
    replica_.SetEnded(origin);
    PutReserved("ended/" + origins_.Get(origin).ToString(),
                frame_.origin.ToString() + ":" + std::to_string(frame_.first));
  }
}

keyspace::ChangeSink::Stamp Engine::Open() {
  while (!frame_open_) BeginFrame();  // its records alone may have filled one
  CHECK(!change_open_);
  change_open_ = true;
  change_effects_ = 0;
  change_start_ = body_.size();
  stamp_before_ = last_stamp_;
  clock::Hlc stamp = hlc_.Next(now_.wall_ms);
  if (frame_.count == 0) frame_.base = last_stamp_ = stamp;
  base::PutVarint(body_, stamp.bits - last_stamp_.bits);
  last_stamp_ = stamp;
  return {*replica_.own(), frame_.first + frame_.count, stamp};
}

void Engine::Add(const crdt::Effect& effect) {
  for (const crdt::Clear& clear : effect.clears) replica_.NameInFrame(frame_, frame_deps_, clear.origin);
  for (clock::Dot dot : effect.seen) replica_.NameInFrame(frame_, frame_deps_, dot.origin());
  wire::AppendEffect(body_, effect, replica_.Row(*replica_.own()).dictionary, &last_element_);
  ++change_effects_;
  if (effect.kind != crdt::EffectKind::kFlush) return;
  flushed_at_ = any_written_at_ = log_.end() + 1;
  tracking_.NoteAll();
}

void Engine::Close() {
  // A frame that no link takes (net/options.h: 80 MiB) would end this origin's stream at all other leaders, for good.
  // Better to end here: nothing of this tick was answered, and nothing of this frame is in the log.
  constexpr size_t kBodyBytesMax = size_t{79} << 20;
  CHECK(body_.size() < kBodyBytesMax);
  body_.push_back(wire::kChangeEnd);
  ++frame_.count;
  change_open_ = false;
  if (!met_.empty()) [[unlikely]] NoteMet();
  newest_own_ = {*replica_.own(), frame_.first + frame_.count - 1};
  replica_.RaiseApplied(newest_own_.origin(), newest_own_.sequence());
  if (change_effects_ > 0) {
    nonempty_.Raise(*replica_.own(), frame_.first + frame_.count - 1);
    owes_claim_ = true;
    ++changes_local_;
  }
  if (body_.size() >= options_.frame_bytes_max) FinishFrame();
}

void Engine::Abandon() {
  body_.resize(change_start_);
  last_stamp_ = stamp_before_;
  last_element_.any = false;  // what it was may be gone: the next one is written in full
  met_.clear();
  change_open_ = false;
}

void Engine::FinishFrame() {
  if (!frame_open_) return;
  CHECK(!change_open_);
  frame_open_ = false;
  if (frame_.count == 0) {
    replica_.UndoDeps(frame_);
    return;
  }
  const clock::OriginIndex own = *replica_.own();
  frame_.body = body_;
  encoded_.clear();
  wire::AppendFrame(encoded_, frame_, replica_.Row(own).chain);
  const log::Position start = log_.end();
  const log::Position end = log_.Append(log::RecordType::kFrame, encoded_);
  if (probe_ != nullptr) {
    probe_->FrameContext(replica_.Row(own).dictionary, frame_deps_);
    probe_->FrameApplied(frame_, encoded_, true);
  }
  last_claimed_clock_ms_ = std::max(last_claimed_clock_ms_, frame_.clock_ms);
  if (escrow_.TakeInFrame()) replica_.HoldOwn(end);
  replica_.NoteOwn(frame_, encoded_, frame_deps_, start, end);
}

void Engine::WriteEmptyFrame(bool solid) {
  FinishFrame();
  records_due_ = false;  // they have had a frame of their own
  Open();
  frame_.solid = solid;
  Close();
  FinishFrame();
}

// ---- frames from peers

log::Position Engine::AppendFrame(std::string_view bytes) {
  return log_.Append(log::RecordType::kFrame, bytes);
}

void Engine::ApplyBody(const wire::Frame& frame,
                       const wire::Dictionary& dictionary,
                       clock::OriginIndex origin,
                       const clock::VersionVector& deps,
                       keyspace::Cause cause) {
  wire::BodyReader reader(frame.body, frame.base, dictionary);
  clock::Hlc stamp;
  crdt::Effect effect;
  uint32_t index = 0;
  uint64_t sequence = frame.first;
  uint64_t effects = 0;
  const bool tells = cause == keyspace::Cause::kRemote && notifies();
  TouchedKeys touched;
  for (; reader.NextChange(stamp); ++sequence) {
    while (reader.NextEffect(effect, index)) {
      ++effects;
      if (tells) [[unlikely]] NoteTouched(effect, touched);
      if (owners_.in_use() && cause == keyspace::Cause::kRemote) [[unlikely]] owners_.NoteRemote(effect);
      if (effect.kind == crdt::EffectKind::kFlush) {
        flushed_at_ = any_written_at_ = log_.end();
        tracking_.NoteAll();
      }
      const size_t bytes = keyspace_.memory_bytes();
      keyspace_.Apply(effect, crdt::Seen(deps, origin, {sequence, index}), stamp, cause);
      if (eviction_.follows() && keyspace_.memory_bytes() < bytes) [[unlikely]]
        eviction_.NoteFreedByOthers(bytes - keyspace_.memory_bytes());
      NoteFold(effect, {origin, sequence});
    }
    if (!met_.empty()) [[unlikely]] NoteMet();
    if (tells) TellTouched(touched);
  }
  if (PLANTED(kFeedLocalOnly)) keyspace_.TakeConflictChanges();
  if (reader.unknown() > 0) {
    Report(2,
           "changes by " + frame.origin.leader +
               " use kinds that this version does not know; they are kept and forwarded: upgrade "
               "this leader");
  }
  if (effects + reader.unknown() > 0 || PLANTED(kClaimForever)) {
    nonempty_.Raise(origin, frame.last());
    if (cause != keyspace::Cause::kLocal) owes_claim_ = true;
  }
  if (!hlc_.Observe(stamp, now_.wall_ms, options_.clock_skew_ms_max) &&
      cause == keyspace::Cause::kRemote) {
    ++skewed_stamps_;
    if (last_skew_alarm_us_ < 0 || now_.mono_us - last_skew_alarm_us_ > 10'000'000) {
      last_skew_alarm_us_ = now_.mono_us;
      Report(2,
             "stamps of leader " + frame.origin.leader + " are " +
                 std::to_string((static_cast<int64_t>(stamp.ms()) - now_.wall_ms) / 1000) + "." +
                 std::to_string((static_cast<int64_t>(stamp.ms()) - now_.wall_ms) % 1000 / 100) +
                 " s ahead of the clock of " + options_.leader_id +
                 ": one of the two clocks is wrong, or was; set it right (NTP)");
    }
  }
}

void Engine::ApplyFrame(const wire::Frame& frame,
                        std::string_view bytes,
                        const replication::OriginRow& row,
                        clock::OriginIndex origin,
                        const clock::VersionVector& deps) {
  position_ = log_.end();
  ledger_entries_ = 0;
  ApplyBody(frame, row.dictionary, origin, deps, keyspace::Cause::kRemote);
  changes_remote_ += frame.count;
  if (probe_ != nullptr) {
    probe_->FrameContext(row.dictionary, deps);
    probe_->FrameApplied(frame, bytes, false);
  }
}

// ---- what the keyspace tells

void Engine::KeyModified(const keyspace::KeyRef& ref, keyspace::Cause cause) {
  if (ref.db == crdt::kReservedDatabase) {
    if (ref.key.starts_with(kEndedPrefix)) ended_keys_.emplace_back(ref.key);
    const bool acknowledges = ref.key.starts_with(conflict::kFeedAcksPrefix) || ref.key.starts_with(conflict::kFeedCursorsPrefix);
    if (acknowledges) feed_acks_.emplace(ref.key);
    // Scripts are many, and no part of what is read whole.
    const bool script = command::Scripts::Owns(ref.key);
    if (script) scripts_.NoteChanged(ref.key);
    const bool user = command::Users::Owns(ref.key);
    if (user) users_.NoteChanged(ref.key);
    const bool decided = ref.key.starts_with(kDecidedPrefix);
    if (decided) agreed_.DecidedChanged(ref.key);
    const bool owner = ref.key.starts_with(kOwnerPrefix);
    if (owner) owners_.RecordsChanged(ref.key);
    const bool escrow = ref.key.starts_with(kEscrowPrefix);
    if (escrow) escrow_.RowsChanged(ref.key, cause);
    if (!acknowledges && !script && !user && !decided && !owner && !escrow && !ref.key.starts_with(kFoldedPrefix))
      configuration_changed_ = true;
  }
  if (replaying_) return;
  agreed_.Touched(ref);
  if (owners_.asked()) [[unlikely]] owners_.Touched(ref);
  if (!PLANTED(kWaiterLocalOnly) || cause == keyspace::Cause::kLocal) waiters_.NoteChanged(ref.db, ref.key);
  if (cause == keyspace::Cause::kMerged && notifies()) merged_keys_.emplace_back(ref.db, ref.key);
  if (!PLANTED(kWatchLocalOnly) || cause == keyspace::Cause::kLocal) watches_.NoteModified(ref, cause);
  const bool local = cause == keyspace::Cause::kLocal;
  // What a client's look has merged is not its doing.
  if (!removes_hidden_ && (!PLANTED(kTrackLocalOnly) || local)) tracking_.NoteModified(ref, cause, local ? acting_ : 0);
  // A frame under way is not in the log yet: it will end beyond the present end.
  const log::Position position = log_.end() + (frame_open_ ? 1 : 0);
  written_at_[ref.hash % kFilterSize] = position;
  any_written_at_ = position;
}

void Engine::VersionsMet(uint8_t db,
                         std::string_view key,
                         crdt::Type type,
                         std::string_view element,
                         clock::Dot added) {
  if (db == crdt::kReservedDatabase) return;
  met_.insert({db, std::string(key), type, std::string(element), added});
}

// What a change held in its middle nobody has ever read: what lost, and to what, shows when all of it is applied.
void Engine::NoteMet() {
  for (const Meeting& m : met_) {
    const keyspace::KeyRef ref = keyspace_.Ref(m.db, m.key);
    if (m.type == crdt::Type::kString) {
      NoteMeeting(m, keyspace_.OwnState(ref));
    } else {
      NoteMeeting(m, keyspace_.ElementState(ref, m.type, m.element));
    }
  }
  met_.clear();
}

void Engine::NoteMeeting(const Meeting& meeting, const crdt::Register& state) {
  const auto& [db, key, type, element, added] = meeting;
  if (!conflict::IsConflict(state.versions)) return;
  const crdt::Version* fresh = nullptr;
  for (const crdt::Version& v : state.versions) {
    if (v.dot == added) fresh = &v;
  }
  if (fresh == nullptr) return;
  ++conflicts_detected_;
  const conflict::Policy& policy = policies_.ForRegister(key, type, element);
  conflict::View view =
      conflict::Resolve(policy, policies_.default_order(), state.versions, origins_, conflict::SubjectOf(key, type, element));
  if (view.kind == conflict::View::Kind::kConflict) return;  // nothing has lost: it is open
  const crdt::Version& winner = state.versions[view.index];
  if (winner.dot == added) {
    for (const crdt::Version& v : state.versions) {
      if (!view.Keeps(v)) NoteLost(db, key, type, element, policy, winner, v);
    }
  } else if (!PLANTED(kForgetLedger) && !view.Keeps(*fresh)) {
    NoteLost(db, key, type, element, policy, winner, *fresh);
  }
}

void Engine::NoteLost(uint8_t db,
                      std::string_view key,
                      crdt::Type type,
                      std::string_view element,
                      const conflict::Policy& policy,
                      const crdt::Version& shown,
                      const crdt::Version& lost,
                      bool by_position) {
  if (shown.absent == lost.absent && shown.value == lost.value) return;
  if (IsNoted()) return;
  auto as_ledger = [&](const crdt::Version& v) {
    const clock::Origin& origin = origins_.Get(v.dot.origin());
    return conflict::LedgerVersion{v.value, v.absent, origin, v.dot.sequence(), v.hlc};
  };
  // An id that follows from the log position is the same again if the log is replayed.
  ledger_.Note({.id = by_position ? position_ * kLedgerIdsPerByte + ledger_entries_++ : 0,
                .noted_ms = now_.wall_ms,
                .db = db,
                .key = std::string(key),
                .type = type,
                .element = std::string(element),
                .policy = policy.ToString(),
                .shown = as_ledger(shown),
                .lost = as_ledger(lost)});
}

// A conflict that was open because of its policy makes no entry when it is met. Under another policy
// a rule decides it, and the next write replaces what that rule hides.
void Engine::NoteDecided(const conflict::PolicyTable& before) {
  if (position_ != log_.end() && !replaying_) {
    position_ = log_.end();
    ledger_entries_ = 0;
  }
  // A copy: looking at a key may merge it.
  const std::set<std::pair<uint8_t, std::string>> open = keyspace_.open_conflicts();
  for (const auto& [db, key] : open) {
    if (!before.has_fields() && before.For(key).kind != conflict::PolicyKind::kSiblings) continue;
    const crdt::KeyState state = keyspace_.State(keyspace_.Ref(db, key));
    auto note = [&](crdt::Type type, std::string_view element, const crdt::Register& of) {
      if (before.ForRegister(key, type, element).kind != conflict::PolicyKind::kSiblings) return;
      // In replay: its row is of a later time, and so is what it shows.
      if (replaying_ && row_positions_.Reflect(db, key, type, element, position_)) return;
      const conflict::Policy& policy = policies_.ForRegister(key, type, element);
      const conflict::View view =
          conflict::Resolve(policy, policies_.default_order(), of.versions, origins_, conflict::SubjectOf(key, type, element));
      if (view.distinct < 2 || view.kind == conflict::View::Kind::kConflict) return;
      for (const crdt::Version& v : of.versions) {
        if (!view.Keeps(v)) NoteLost(db, key, type, element, policy, of.versions[view.index], v);
      }
    };
    note(crdt::Type::kString, {}, state);
    for (const crdt::Element& e : state.elements)
      note(e.type, e.name, e);
  }
}

// ---- requests from peers that need a frame of their own

void Engine::ForkDetected(clock::OriginIndex origin) {
  if (replica_.own() && *replica_.own() == origin) forget_wanted_ = true;
}

void Engine::NameClash(const std::string& other_address) {
  rename_wanted_ = true;
  rename_after_ = other_address;
}

void Engine::JoinRequested(const std::string& leader, uint64_t nonce, const std::string& address) {
  join_requests_.push_back({leader, nonce, address});
}

void Engine::ClusterKnown(uint64_t cluster_id) {
  cluster_id_ = cluster_id;
  AppendIdentity();
}

void Engine::AnswerRequests() {
  if (forget_wanted_) {
    forget_wanted_ = false;
    replica_.ForgetOwn();
    agreed_.SetBack();
    escrow_.SetBack();
    records_due_ = true;
  }
  if (MustAdmitSelf()) AdmitSelf();
  if (rejoin_wanted_) Rejoin();
  if (!may_write()) {
    join_requests_.clear();
    rename_wanted_ = false;
    if (renaming_) {
      renaming_.reset();
      AppendIdentity();
    }
    return;
  }
  if (rename_wanted_ && !renaming_) BeginRename();
  if (renaming_ && log_.durable() >= renaming_->at) EndRename();
  for (const JoinRequest& request : join_requests_) {
    const std::string nonce = clock::Origin{"", request.nonce}.ToString().substr(1);
    crdt::KeyState state =
        keyspace_.State(keyspace_.Ref(crdt::kReservedDatabase, "member/" + request.leader));
    bool there =
        std::any_of(state.versions.begin(), state.versions.end(), [&](const crdt::Version& v) {
          return v.value.substr(0, nonce.size()) == nonce;
        });
    if (there) continue;
    // The record's deps are its floor: the new member's first claim.
    PutReserved("member/" + request.leader, nonce + " " + VersionVectorText());
    PutReserved("address/" + request.leader, request.address);
    FinishFrame();
    ReadConfiguration();
    Report(0, "leader " + request.leader + " at " + request.address + " is admitted");
  }
  join_requests_.clear();
}

// ---- command::ClusterHost

std::vector<command::LeaderInfo> Engine::Leaders() {
  std::vector<command::LeaderInfo> out;
  command::LeaderInfo self;
  self.id = options_.leader_id;
  self.address = options_.advertise;
  self.state = retired() ? "retired" : admitted_ ? "alive" : "joining";
  self.self = true;
  if (replica_.own())
    self.incarnation =
        origins_.Get(*replica_.own()).ToString().substr(options_.leader_id.size() + 1);
  out.push_back(self);
  for (const replication::LinkStats& link : replica_.Links()) {
    command::LeaderInfo info;
    info.id = link.leader;
    auto member = replica_.members().find(link.leader);
    if (member != replica_.members().end()) info.address = member->second.address;
    if (link.incarnation != 0)
      info.incarnation = clock::Origin{"", link.incarnation}.ToString().substr(1);
    const bool alive = link.state == "up" || link.hops > 0;
    info.state = !alive ? "unreachable" : link.joining ? "joining" : "alive";
    if (member != replica_.members().end() && member->second.away) info.state = "away";
    auto admissions = admissions_.find(link.leader);
    if (admissions != admissions_.end() && admissions->second.all_retired()) info.state = "retired";
    info.next = link.state == "up" ? link.leader : link.next;
    info.hops = link.state == "up" ? 1 : link.hops;
    auto held = held_from_.find(link.leader);
    if (held != held_from_.end() && log_.end() > held->second)
      info.retained_bytes = log_.end() - held->second;
    info.lag_changes = link.lag_changes;
    info.lag_ms = link.lag_ms;
    info.clock_difference_ms = link.clock_difference_ms;
    info.link_cut = link.state == "cut";
    info.link_delay_ms = link.delay_ms;
    out.push_back(info);
  }
  for (const auto& [name, a] : admissions_) {
    if (replica_.members().count(name) != 0 || name == options_.leader_id) continue;
    auto there = std::find_if(out.begin(), out.end(), [&](const auto& info) { return info.id == name; });
    if (there == out.end()) {
      out.emplace_back();
      there = std::prev(out.end());
    }
    there->id = name;
    there->address = a.member.address;
    there->state = "retired";
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return out;
}

command::TopologyInfo Engine::Topology() {
  const replication::TopologyView view = replica_.ViewTopology();
  command::TopologyInfo out;
  auto texts = [](const std::vector<replication::Edge>& edges) {
    std::vector<std::string> list;
    for (const replication::Edge& edge : edges)
      list.push_back(replication::EdgeText(edge));
    return list;
  };
  out.topology = view.configured;
  out.configured = texts(view.wanted);
  out.live = texts(view.live);
  out.bypasses = texts(view.bypasses);
  for (const auto& route : view.routes)
    out.routes.push_back({route.to, route.next, route.hops});
  out.sources = view.sources;
  return out;
}

base::Result<std::string> Engine::ParseTopology(const std::vector<std::string_view>& words) {
  std::set<std::string> names;
  for (const auto& [name, member] : replica_.members())
    names.insert(name);
  auto parsed = replication::Topology::Parse(words, names);
  if (!parsed.ok()) return parsed.status();
  return parsed->Stored();
}

base::Status Engine::CutLink(std::string_view leader) {
  if (leader == options_.leader_id) return base::Invalid("a leader has no link to itself");
  if (replica_.members().count(std::string(leader)) == 0) {
    return base::NotFound("no leader '" + std::string(leader) + "'; see LEADER LIST");
  }
  return replica_.Cut(leader);
}

base::Status Engine::HealLink(std::string_view leader) {
  if (leader == options_.leader_id) return base::Invalid("a leader has no link to itself");
  if (replica_.members().count(std::string(leader)) == 0 && replica_.drills().count(std::string(leader)) == 0) {
    return base::NotFound("no leader '" + std::string(leader) + "'; see LEADER LIST");
  }
  return replica_.Heal(leader);
}

base::Status Engine::DelayLink(std::string_view leader, int64_t delay_ms) {
  if (leader == options_.leader_id) return base::Invalid("a leader has no link to itself");
  if (replica_.members().count(std::string(leader)) == 0 && replica_.drills().count(std::string(leader)) == 0) {
    return base::NotFound("no leader '" + std::string(leader) + "'; see LEADER LIST");
  }
  return replica_.Delay(leader, delay_ms);
}

std::string Engine::VersionVectorText() {
  return replica_.Text(replica_.applied());
}

std::string Engine::DigestText() {
  base::Digest128 digest = keyspace_.Digest();
  return clock::Origin{"", digest.high}.ToString().substr(1) +
         clock::Origin{"", digest.low}.ToString().substr(1);
}

void Engine::InfoReplication(std::string& out) {
  auto line = [&](const std::string& name, const std::string& value) {
    out += name + ":" + value + "\r\n";
  };
  const auto links = replica_.Links();
  line("role", "master");
  line("connected_slaves", "0");
  line("leader_id", options_.leader_id);
  line("incarnation", clock::Origin{"", replica_.incarnation()}.ToString().substr(1));
  line("leaders", std::to_string(replica_.members().size()));
  line("admitted", admitted_ ? "1" : "0");
  line("writes_refused", WritesRefused());
  // Redis's name of what is replicated, as long as a SHA-1: of this leader in its cluster, whatever its process.
  if (cluster_id_ != 0)
    line("master_replid", base::Sha1Hex(clock::Origin{"", cluster_id_}.ToString() + "/" + options_.leader_id));
  line("second_repl_offset", "-1");
  line("vv", VersionVectorText());
  line("stable_vv", replica_.Text(replica_.Stable()));
  line("changes_local", std::to_string(changes_local_));
  line("changes_remote", std::to_string(changes_remote_));
  line("frames_written", std::to_string(replica_.counters().frames_own));
  line("frames_received", std::to_string(replica_.counters().frames_in));
  line("frames_sent", std::to_string(replica_.counters().frames_out));
  line("duplicates_dropped", std::to_string(replica_.counters().duplicates_dropped));
  line("resubscribed", std::to_string(replica_.counters().resubscribed));
  line("subscriptions_moved", std::to_string(replica_.counters().moved));
  line("topology", replica_.topology().Shown());
  line("bypasses_opened", std::to_string(replica_.counters().bypasses));
  line("links_drained", std::to_string(replica_.counters().drained));
  line("link_states_sent", std::to_string(replica_.counters().link_states_out));
  line("causal_waiting", std::to_string(replica_.causal_waiting()));
  line("origins_known", std::to_string(origins_.size()));
  line("origins_ended", std::to_string(ended_.size()));
  line("origins_folded", std::to_string(replica_.folded()));
  line("folds_written", std::to_string(folds_written_));
  line("frames_beyond_fold", std::to_string(replica_.counters().beyond_fold));
  line("frames_orphaned", std::to_string(replica_.counters().orphans_dropped));
  line("publishes_received", std::to_string(replica_.counters().publishes_in));
  line("publishes_duplicate", std::to_string(replica_.counters().publishes_again));
  line("publishes_sent", std::to_string(replica_.counters().publishes_out));
  line("publishes_dropped", std::to_string(replica_.counters().publishes_dropped));
  if (agreed_.in_use()) agreed_.Info(out);
  if (owners_.in_use()) owners_.Info(out);
  if (escrow_.in_use()) escrow_.Info(out);
  if (!replica_.stranger().empty()) line("other_cluster", std::string(replica_.stranger()));
  line("forks_detected", std::to_string(replica_.counters().forks));
  line("stamps_from_the_future", std::to_string(skewed_stamps_));
  line("conflicts_detected", std::to_string(conflicts_detected_));
  line("conflicts_open", std::to_string(keyspace_.open_conflicts().size()));
  line("conflicts_logged", std::to_string(ledger_.size()));
  line("state_transfers", std::to_string(transfers_.completed));
  line("state_transfers_resumed", std::to_string(transfers_.resumed));
  line("state_transfers_restarted", std::to_string(transfers_.restarted));
  line("state_transfers_serving", std::to_string(sessions_.size()));
  line("state_transfer_in_progress", staged_ != nullptr || keyspace_.merging() ? "1" : "0");
  if (staged_ != nullptr) {
    const StagedProgress& p = staged_->progress;
    // Rows come in the order of their slots, which are evenly filled.
    unsigned percent = 0;
    if (p.part != wire::StatePart::kRows) {
      percent = 99;
    } else if (p.after.size() >= 2) {
      percent = (static_cast<unsigned>(static_cast<uint8_t>(p.after[0])) << 8 |
                 static_cast<uint8_t>(p.after[1])) * 99 / 16384;
    }
    line("state_transfer_from", p.sender);
    line("state_transfer_percent", std::to_string(percent));
    line("state_transfer_bytes", std::to_string(p.bytes));
  }
  line("log_retained_bytes", std::to_string(log_.end() - log_.begin()));
  line("log_quota_bytes", std::to_string(options_.log_quota_bytes));
  for (const auto& link : links) {
    line("link_" + link.leader,
         "state=" + link.state + ",lag_changes=" + std::to_string(link.lag_changes) + ",lag_ms=" +
             std::to_string(link.lag_ms) + ",unreachable_ms=" + std::to_string(link.unreachable_ms) + ",bytes_in=" + std::to_string(link.bytes_in) +
             ",bytes_out=" + std::to_string(link.bytes_out) +
             ",hops=" + std::to_string(link.hops) + ",next=" + link.next + ",log_held=" +
             std::to_string(held_from_.count(link.leader) != 0
                                ? log_.end() - held_from_.at(link.leader)
                                : 0));
  }
  for (const auto& [name, member] : replica_.members())
    line("claim_" + name, "behind=" + std::to_string(Unclaimed(name)));
}

void Engine::InfoPersistence(std::string& out) {
  auto line = [&](const char* name, uint64_t value) {
    out += std::string(name) + ":" + std::to_string(value) + "\r\n";
  };
  line("loading", 0);
  line("async_loading", 0);
  line("log_begin", log_.begin());
  line("log_end", log_.end());
  line("log_durable", log_.durable());
  line("checkpoint_position", checkpoint_position_);
  line("checkpoint_in_progress", pass_ ? 1 : 0);
  line("checkpoints_done", checkpoints_done_);
  line("checkpoint_age_ms", static_cast<uint64_t>(std::max<int64_t>(0, now_.wall_ms - last_checkpoint_ms_)));
  line("dirty_keys", keyspace_.dirty_count());
  line("residue_keys", keyspace_.residue_keys().size());
  line("residue_given_up", residue_given_up_);
  // As Redis's clients look for them: a checkpoint is what both mean.
  line("rdb_changes_since_last_save", command::CountChanges(applied()) - changes_at_checkpoint_);
  line("rdb_bgsave_in_progress", pass_ ? 1 : 0);
  line("rdb_last_save_time", static_cast<uint64_t>(last_checkpoint_ms_ / 1000));
  auto seconds = [&](const char* name, int64_t us) {
    out += std::string(name) + ":" + std::to_string(us < 0 ? -1 : us / 1'000'000) + "\r\n";
  };
  seconds("rdb_last_bgsave_time_sec", last_checkpoint_took_us_);
  seconds("rdb_current_bgsave_time_sec", pass_ ? now_.mono_us - last_checkpoint_us_ : -1);
  line("aof_enabled", 1);
  line("aof_rewrite_in_progress", pass_ ? 1 : 0);
  line("aof_rewrite_scheduled", 0);
  line("aof_current_size", log_.end() - log_.begin());
  // A write that fails, of the log or of a checkpoint, ends this process.
  for (const char* name : {"rdb_last_bgsave_status", "aof_last_bgrewrite_status", "aof_last_write_status"})
    out += std::string(name) + (status_.ok() ? ":ok\r\n" : ":err\r\n");
}

std::string Engine::BusyWith() const {
  if (staged_ != nullptr) return "a state transfer from " + staged_->progress.sender;
  if (keyspace_.merging()) return "merging";
  if (barrier_ > checkpoint_position_) return "the checkpoint after a merge";
  if (owes_claim_) return "a claim";
  if (frame_open_) return "a frame";
  if (!replica_.synced_with_links()) return "announcements";
  return join_requests_.empty() ? "" : "an admission";
}

}  // namespace polyarch::engine
