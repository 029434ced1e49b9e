// One leader without I/O: keyspace, log, replication, conflicts and duties, driven from outside.
// The server and the simulator run this very class.
//
// Driving it. Everything happens in ticks, on one thread:
//
//   BeginTick(clocks)
//     OnLinkUp / OnLinkMessage / OnLinkDown / OnDialFailed    any number, any order
//     Execute(client, arguments, out)                         any number
//   EndTick()
//
// Client commands of one tick make one frame (several beyond 1 MiB); frames from peers are applied
// whole, before or after it, never between two commands. EndTick appends the frame, commits the
// log, forwards, runs what is due (timers, expiry, claims, checkpoint slices) and may ask for a
// sync. Time comes with BeginTick only. Call a tick at least every kTimerMs, also without input.
//
// Replies. Execute says how the reply may leave: see net::Outcome; a held one when the log is
// durable up to hold_position() as of EndTick. Order of replies within a connection is the caller's
// duty.
//
// Failure. A failed log write or sync, or a failed store, ends the write path: status() is not ok
// and the process should end. Nothing is acknowledged after it.
//
// Ownership: the log and the store are the caller's and outlive the engine.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "base/function_ref.h"
#include "base/planted.h"
#include "base/random.h"
#include "base/status.h"
#include "clock/hlc.h"
#include "clock/origin.h"
#include "clock/version_vector.h"
#include "command/context.h"
#include "command/host.h"
#include "command/monitors.h"
#include "command/notify.h"
#include "command/pubsub.h"
#include "command/table.h"
#include "conflict/ledger.h"
#include "conflict/policy.h"
#include "engine/agreed.h"
#include "engine/escrow.h"
#include "engine/eviction.h"
#include "engine/owners.h"
#include "engine/pacer.h"
#include "engine/slot_digest.h"
#include "engine/staged.h"
#include "engine/waiters.h"
#include "keyspace/change.h"
#include "keyspace/keyspace.h"
#include "log/log.h"
#include "replication/replica.h"
#include "storage/store.h"

namespace polyarch::engine {

using LinkId = uint64_t;

// No more of a state is taken in while so much waits for the store.
inline constexpr size_t kStagedPendingMax = 32 << 20;
// So few changes behind its neighbours a leader is level.
inline constexpr uint64_t kLevelChanges = 10'000;

enum class Durability : uint8_t { kAlways, kEverySecond, kNone };

struct Options {
  std::string leader_id;
  std::string advertise;          // host:peerport that others can dial
  std::vector<std::string> join;  // addresses of members; empty: found a cluster or continue one
  // If it was retired, this leader joins again, as a new member with what it holds.
  bool rejoin = false;
  Durability durability = Durability::kAlways;
  int64_t clock_skew_ms_max = 5000;
  // The directory is a copy, or was put back: the votes in it are not to be gone on with.
  bool new_seat = false;
  // Under which rights are held here (ESCROW): as long as the disk is this one, in this place, and never again elsewhere. 0: none.
  uint64_t holder = 0;
  uint64_t seed = 0;  // from a random device: incarnations, nonces, hash keys, jitter
  size_t frame_bytes_max = 1 << 20;
  uint64_t checkpoint_log_bytes = 1ULL << 30;
  int64_t checkpoint_interval_ms = 300'000;
  // A start that had to read so much log begins a checkpoint at once: the next one shall not read it again, also if
  // this process lives shorter than the interval.
  uint64_t checkpoint_replayed_bytes = 64ULL << 20;
  size_t checkpoint_slice_keys = 2000;
  size_t window_bytes = 4 << 20;  // flow control, an origin
  uint64_t log_quota_bytes = 4ULL << 30;
  // Of what is kept for members that are away, in keys and elements.
  uint64_t residue_quota = 1'000'000;
  // Ended origins are folded without a member that counts and has claimed nothing for so long.
  int64_t fold_patience_us = 60'000'000;
  // State transfers.
  size_t state_chunk_bytes = 256 << 10;
  size_t state_window_bytes = 1 << 20;
  // As a sender, one receiver: between these, by how busy this leader is.
  uint64_t state_bytes_per_second_least = 4 << 20;
  uint64_t state_bytes_per_second = 64 << 20;
  size_t state_near_bytes = 256 << 10;         // so close to the sender's end is level
  int64_t state_timeout_us = 30'000'000;       // of a receiver that asks for nothing
  // Before a sender is asked again that keeps no more of its log, or cannot read its state; and so long a receiver
  // watches whether it comes nearer to its sender's end.
  int64_t state_pause_us = 600'000'000;
  // A transfer is not too slow before, unless there is little room: who joins under load is behind for a while.
  int64_t state_grace_us = 120'000'000;
  // Who would have to read more of the log than this, and much more than the state comes to, is told
  // to take the state.
  uint64_t state_instead_bytes = 256 << 20;
  size_t merge_slice_keys = 2000;
  // Of expired keys removed, of residue looked at (2 or more: a key counts as one, each of its elements, too), of
  // acknowledgements of a feed removed: so much at once. Bounds how long other work waits.
  size_t removal_slice_keys = 500;
  size_t residue_slice = 1'000;
  size_t feed_slice = 1'000;
  // Of who waited: as one connection may have that does not read (net/options.h).
  size_t reply_bytes_max = 256ULL << 20;
  conflict::Ledger::Limits ledger;
};

// What the engine asks of the world.
class Host {
 public:
  virtual ~Host() = default;
  virtual void Send(LinkId link, std::string_view message) = 0;
  virtual size_t Backlog(LinkId link) const = 0;
  virtual void CloseLink(LinkId link) = 0;            // OnLinkDown follows, in this or a later tick
  // Why the peer of this link cannot be that leader (see replication::ReplicaHost); empty: it may be.
  virtual std::string LinkRefusal(LinkId /*link*/, std::string_view /*leader*/) { return {}; }
  virtual void Dial(const std::string& address) = 0;  // OnLinkUp or OnDialFailed follows
  // The suspended command of this client can be run again.
  virtual void Resume(uint64_t client_id) = 0;
  // Bytes for a client, beside its replies. `held`: they leave when the log is durable up to
  // hold_position() as of EndTick, as a held reply does.
  virtual void Push(uint64_t client_id, std::string_view bytes, bool held) = 0;
  // One line for the operator. Severity: 0 info, 1 warning, 2 alarm.
  virtual void Report(int severity, const std::string& line) = 0;
  // A number from outside of the process (see replication::ReplicaHost); 0: there is none.
  virtual uint64_t Entropy() { return 0; }
  // This directory is another leader's copy, and goes on under a name of its own: a number under which it may hold rights
  // (Options::holder), for good; 0: it cannot.
  virtual uint64_t NewHolder() { return 0; }
  // Users have changed (command::Users::just_changed), while the command of client `acting` runs, or 0: what that means
  // for their connections. That client is closed behind its reply (Client::expelled).
  virtual void UsersChanged(uint64_t /*acting*/) {}
};

struct Clocks {
  int64_t wall_ms = 0;
  int64_t mono_us = 0;
  int64_t busy_us = 0;  // how long the tick before this one took, sending included
};

// What waiting clients take goes with the change that brought it, if that has come to no more.
inline constexpr size_t kServeInChangeBytesMax = 1 << 20;

enum class Outcome : uint8_t { kReplied, kHeld, kSuspended, kClose, kHeldClose };

// Told of what happens inside, for tests and the simulator's checkers. All calls come within a
// tick.
class Probe {
 public:
  virtual ~Probe() = default;
  // A frame was appended to this node's log (its own or a peer's) and applied.
  virtual void FrameApplied(const wire::Frame& frame, std::string_view bytes, bool own) = 0;
  // The body of `frame` in this node's terms can be read with this dictionary and these deps.
  virtual void FrameContext(const wire::Dictionary& dictionary,
                            const clock::VersionVector& deps) = 0;
  // Another leader's state was joined with this one's by this record, which ends at `end`: `mine` and
  // `theirs` are what both had applied.
  virtual void CutOver(const CutOverRecord& record,
                       log::Position end,
                       const clock::VersionVector& mine,
                       const clock::VersionVector& theirs) = 0;
};

class Engine final : public command::ClusterHost,
                     private keyspace::ChangeSink,
                     private keyspace::Observer,
                     private replication::ReplicaHost {
 public:
  Engine(Options options, Host& host, log::Log& log, storage::Store& store);
  ~Engine() override;

  static constexpr int64_t kTimerMs = 10;

  // Loads rows, replays the log, founds the cluster or prepares to join. Call once, first. The
  // failure is one line with cause and remedy.
  base::Status Start(const Clocks& now);

  // Where recovery from this store begins: everything before was durable. 0 if nothing is known.
  static log::Position CheckpointPosition(storage::Store& store);
  // Up to where the store reflects the log: everything before was durable, too.
  static log::Position ReflectedPosition(storage::Store& store);

  void BeginTick(const Clocks& now);
  Outcome Execute(command::Client& client,
                  command::Arguments arguments,
                  resp::Buffer& out,
                  command::ServerHost& server);
  // The connection is gone, and with it the command in which it waits. Inside a tick.
  void ForgetClient(uint64_t client) {
    waiters_.Forget(client);
    std::erase(paused_clients_, client);
    agreed_.Forget(client);
    watches_.Forget(client);
    subscriptions_.Forget(client);
    tracking_.Forget(client);
    monitors_.Forget(client);
  }
  void OnLinkUp(LinkId link, const std::string& dialed, const std::string& remote_address);
  void OnLinkMessage(LinkId link, std::string_view message);
  void OnLinkPart(LinkId link) { replica_.OnLinkPart(link); }
  void OnLinkDown(LinkId link);
  void OnDialFailed(const std::string& address);
  void EndTick();
  // Before a clean stop: the next process starts from the last stamp. The caller syncs the log.
  void PrepareStop();

  log::Position hold_position() const { return log_.end(); }
  log::Position durable_position() const { return log_.durable(); }
  const base::Status& status() const { return status_; }
  bool admitted() const { return admitted_; }
  bool may_write() const { return admitted_ && !retired(); }
  // This leader's admission was retired (LEADER RETIRE), as far as it knows.
  bool retired() const { return retired_ || refused_; }
  log::Position checkpoint_position() const { return checkpoint_position_; }
  // Where the last cut-over ends in the log; 0: there was none. The log from there on needs rows that a
  // copy of the store made earlier does not hold.
  log::Position barrier() const { return barrier_; }
  uint64_t cluster_id() const { return cluster_id_; }
  // Little room is left on the disk: client writes are refused, the rest goes on.
  void SetLowSpace(bool low) { low_space_ = low || (PLANTED(kLowSpaceStays) && low_space_); }
  // Prefetch for a batch: which keys the next commands will touch.
  keyspace::Keyspace& keys() { return keyspace_; }
  replication::Replica& replica() { return replica_; }
  // Records written although a member that is away or silent had not claimed the end of the origin.
  uint64_t folds_without_all() const { return folds_without_all_; }
  void SetProbe(Probe* probe) { probe_ = probe; }
  void SetDurability(Durability durability) { options_.durability = durability; }
  Durability durability() const { return options_.durability; }
  int64_t node_time_ms() const { return keyspace_.time_ms(); }
  // Nothing owed, nothing queued, nothing dirty in the replication sense: for "falls silent"
  // checks.
  bool idle() const { return BusyWith().empty(); }
  // What there is to do; empty: nothing.
  std::string BusyWith() const;
  // State transfers, for tests and the simulator.
  struct TransferStats {
    uint64_t completed = 0;  // cut over
    uint64_t resumed = 0;
    uint64_t restarted = 0;  // given up and begun anew, or from another neighbour
    uint64_t served = 0;     // offers made
    uint64_t malformed = 0;
    uint64_t away_written = 0;
    uint64_t present_written = 0;
    uint64_t replayed = 0;  // cut-overs found in the log at the start
    uint64_t trimmed_bytes = 0;
    uint64_t slots_equal = 0;   // found equal, as a receiver: not sent
    uint64_t state_instead = 0; // times that somebody was told to take the state instead of the log
  };
  const TransferStats& transfers() const { return transfers_; }
  size_t serving() const { return sessions_.size(); }
  // Somebody's transfer is under way, or was until a moment ago.
  bool keeps_log_for_states() const { return !sessions_.empty() || !kept_pins_.empty(); }
  // What was removed though members that are away might need it: it was more than the quota.
  uint64_t residue_given_up() const { return residue_given_up_; }
  // Keys and elements that were looked at, each time.
  uint64_t residue_looked_at() const {
    return residue_looked_at_ + (purge_round_ ? purge_round_->looked_at : 0);
  }
  log::Position log_begin() const { return log_.begin(); }
  bool merging() const { return keyspace_.merging(); }
  // The leader whose state is being received; empty: none.
  std::string receiving_from() const {
    return staged_ == nullptr ? std::string() : staged_->progress.sender;
  }
  // Of the row that is coming in pieces.
  size_t received_of_row() const { return incoming_.partial.row.size(); }
  // Which pull is answered now: a higher one says that something is wanted once more.
  uint64_t pull_generation() const { return incoming_.generation; }
  // Of that, what has come.
  uint64_t received_bytes() const { return staged_ == nullptr ? 0 : staged_->progress.bytes; }

  // ---- command::ClusterHost
  const std::string& leader_id() const override { return options_.leader_id; }
  std::vector<command::LeaderInfo> Leaders() override;
  command::TopologyInfo Topology() override;
  base::Result<std::string> ParseTopology(const std::vector<std::string_view>& words) override;
  base::Status CutLink(std::string_view leader) override;
  base::Status HealLink(std::string_view leader) override;
  base::Status DelayLink(std::string_view leader, int64_t delay_ms) override;
  base::Result<std::string> RetireRecord(std::string_view leader) override;
  const conflict::PolicyTable& policies() const override { return policies_; }
  conflict::Ledger& ledger() override { return ledger_; }
  const clock::OriginTable& origins() const override { return origins_; }
  const clock::VersionVector& applied() const override { return replica_.applied(); }
  conflict::Feeds& feeds() override;
  std::string DelivererOf(const conflict::FeedGroup& group) override;
  int64_t mono_us() const override { return now_.mono_us; }
  std::string VersionVectorText() override;
  std::string DigestText() override;
  uint64_t StartCheckpoint() override;
  bool CheckpointDone(uint64_t ticket) const override { return checkpoints_done_ >= ticket; }
  int64_t last_checkpoint_ms() const override { return last_checkpoint_ms_; }
  uint64_t expired_keys() const override { return expired_keys_; }
  uint64_t evicted_keys() const override { return eviction_.evicted(); }
  MemoryExceeded memory_exceeded() const override {
    return {eviction_.exceeded_us() / 1000, eviction_.exceeded_now_us() / 1000};
  }
  bool OutOfMemory() override { return eviction_.OutOfMemory(); }
  // `maxmemory` and what goes with it, from now on.
  void SetMemoryLimit(const command::MemoryLimit& limit) { eviction_.SetLimit(limit); }
  const Eviction& eviction() const { return eviction_; }
  base::Status WriteAllowed() const override;
  // "no", or why clients' writes are refused: "diskfull", "retired", "history", or, if those that take
  // memory are, "oom".
  std::string WritesRefused() const;
  void InfoReplication(std::string& out) override;
  void InfoPersistence(std::string& out) override;
  uint64_t conflicts_detected() const override { return conflicts_detected_; }
  bool Unblock(uint64_t client, bool with_error) override;
  size_t blocked_clients() const override { return waiters_.size() + paused_clients_.size(); }
  // How often a client that waits for elements was looked at.
  uint64_t waiter_turns() const { return waiters_.turns(); }
  // How often a line of them was, to find who is next.
  uint64_t waiter_lines_visited() const { return waiters_.lines_visited(); }
  void Pause(int64_t millis, bool writes_only) override;
  void Unpause() override;
  command::AgreedHost* agreed() override { return &agreed_; }
  command::OwnerHost* owners() override { return &owners_; }
  command::EscrowHost* escrow() override { return &escrow_; }
  Owners& owned() { return owners_; }
  base::Status MayAgree() const override { return agreed_.MayBegin(); }
  base::Status ForceElectors(std::vector<std::string> leaders) override {
    return agreed_.ForceElectors(std::move(leaders));
  }
  AgreedKeys& agreed_keys() { return agreed_; }
  command::Watches& watches() override { return watches_; }
  size_t Holders(uint64_t dot) override;
  command::SessionMark MarkSession() override;
  bool IsDurable(uint64_t position) override;
  command::SessionLack LackOf(const clock::SessionToken& token, bool all) override;
  command::Tracking& tracking() override { return tracking_; }
  command::Monitors& monitors() override { return monitors_; }
  command::Scripts& scripts() override { return scripts_; }
  command::Users& users() override { return users_; }
  void SettleUsers() override;
  size_t& unread_configuration() override { return unread_configuration_; }
  command::Subscriptions& subscriptions() override { return subscriptions_; }
  size_t Publish(bool shard, std::string_view channel, std::string_view message) override;
  void Notify(uint32_t notice, std::string_view event, uint8_t db, std::string_view key) override;
  // Which events of keys are told (command/notify.h); 0: none.
  void SetNotices(uint32_t notices) { notices_ = notices; }
  uint32_t notices() const { return notices_; }
  const std::shared_ptr<size_t>& queued_bytes() override { return queued_bytes_; }

 private:
  struct Session;
  friend class AgreedKeys;
  friend class Owners;
  friend class Escrow;
  friend class Eviction;
  // ---- keyspace::ChangeSink
  Stamp Open() override;
  void Add(const crdt::Effect& effect) override;
  void Close() override;
  void Abandon() override;
  size_t open_bytes() const override { return change_open_ ? body_.size() - change_start_ : 0; }
  // ---- keyspace::Observer
  void KeyModified(const keyspace::KeyRef& ref, keyspace::Cause cause) override;
  void VersionsMet(uint8_t db,
                   std::string_view key,
                   crdt::Type type,
                   std::string_view element,
                   clock::Dot added) override;
  void Merged(uint8_t db,
              std::string_view key,
              const crdt::KeyState& mine,
              const crdt::KeyState& merged) override;
  void MergedRegister(uint8_t db,
                      std::string_view key,
                      crdt::Type type,
                      std::string_view element,
                      const crdt::Register& mine,
                      const crdt::Register& merged);
  // ---- replication::ReplicaHost
  log::Position AppendFrame(std::string_view bytes) override;
  void ApplyFrame(const wire::Frame& frame,
                  std::string_view bytes,
                  const replication::OriginRow& row,
                  clock::OriginIndex origin,
                  const clock::VersionVector& deps) override;
  void Send(LinkId link, std::string_view message) override { host_.Send(link, message); }
  size_t Backlog(LinkId link) const override { return host_.Backlog(link); }
  void CloseLink(LinkId link) override { host_.CloseLink(link); }
  std::string LinkRefusal(LinkId link, std::string_view leader) override { return host_.LinkRefusal(link, leader); }
  void Dial(const std::string& address) override { host_.Dial(address); }
  bool PrefersState(log::Position from) override;
  void Report(int severity, const std::string& line) override { host_.Report(severity, line); }
  void ForkDetected(clock::OriginIndex origin) override;
  void NameClash(const std::string& other_address) override;
  void JoinRequested(const std::string& leader,
                     uint64_t nonce,
                     const std::string& address) override;
  void ClusterKnown(uint64_t cluster_id) override;
  void RefusedAsRetired(const std::string& by, uint64_t join_nonce, bool mutual) override;
  bool StateMessage(LinkId link, uint8_t type, std::string_view payload) override;
  void SyncWanted() override { sync_wanted_ = true; }
  uint64_t Entropy() override { return host_.Entropy(); }
  void Published(bool shard, std::string_view channel, std::string_view message) override {
    arrived_.push_back({shard, std::string(channel), std::string(message)});
  }
  void RoutedHere(std::string_view message) override;
  // ---- messages between clients (publish.cc)
  void DeliverArrived();
  bool notifies() const { return notices_ != 0 && !subscriptions_.empty(); }
  // What another leader's change does to keys, noted before each effect and told when it is done.
  struct Touched {
    bool existed = false;
    bool expired = false;  // removed, being past its time
    std::vector<command::Event> events;
  };
  using TouchedKeys = std::map<std::pair<uint8_t, std::string>, Touched>;
  void NoteTouched(const crdt::Effect& effect, TouchedKeys& keys);
  void TellTouched(TouchedKeys& keys);
  // ---- client-side caching (publish.cc)
  // Sends what clients under MONITOR are to be shown.
  void SettleMonitors() {
    if (!monitors_.unsent()) [[likely]]
      return;
    monitors_.Settle(
        [this](command::Client& to, std::string_view bytes) { host_.Push(to.id, bytes, /*held=*/false); });
  }
  void TrackExpired();  // keys that time hides, or shows again
  void TellTracking(bool end_of_tick);
  void SendPublished();

  // ---- frames of this node
  void BeginFrame();
  void FinishFrame();
  void WriteRecords();  // what this node's next frame must say first (ended origins)
  void WriteEmptyFrame(bool solid);

  // ---- recovery (recovery.cc)
  base::Status LoadRows();
  base::Status ReplayLog();
  base::Status ReplayFrame(const log::Record& record);
  base::Status ReplayLocal(const log::Record& record);
  base::Status CheckIdentity();
  void Found();
  std::string EncodeCheckpointMeta(log::Position start) const;
  bool DecodeCheckpointMeta(std::string_view bytes);
  void AppendIdentity();
  Identity OwnIdentity() const;  // as it is kept: after a start, who this is
  base::Status LoadStaged();
  base::Status ReplayCutOver(const CutOverRecord& record, log::Position end);

  // ---- state transfer, receiving (transfer_in.cc)
  void ReceiveState();
  void AskForState();
  std::vector<replication::StateSource> Sources();
  std::string ChooseAmong(std::vector<replication::StateSource> sources, const std::string& except);
  void DropStaged(const std::string& why);
  void FlushStream();
  bool FallsBehind();
  bool IsNeeded() const;
  // Its state is not asked for before state_pause_us.
  void Avoid(const std::string& leader) { avoided_[leader] = now_.mono_us + options_.state_pause_us; }
  void ClearStaged();
  bool HandleOffer(LinkId link, const wire::StateOffer& offer);
  bool TakeOffer(const wire::StateOffer& offer);  // with its checkpoint row
  bool TakeBasePiece(wire::StateChunk& chunk);
  void HandleRefusal(LinkId link, const wire::StateRefusal& refusal);
  bool HandleChunk(LinkId link, wire::StateChunk& chunk);
  bool FitsPartial(const wire::StateChunk& piece) const;
  bool TakePiece(wire::StateChunk& piece);
  bool TakeChunk(const wire::StateChunk& chunk, storage::Batch& batch);
  bool NoteNames(uint64_t first, const std::vector<clock::Origin>& names);
  void Pull(bool anew);
  void SendPull();
  void KeepSession();
  void ForgetIncoming();
  void PutNewOrigins(storage::Batch& batch);
  void CutOver();
  void JoinStaged(log::Position end);
  void ReportHandlers();
  // ---- open conflicts, for feeds and for who listens (feed.cc)
  void FollowConflicts();
  void RefreshItems(uint8_t db, const std::string& key, bool tell);
  // Once a second: what is due again, and acknowledgements of what has ceased.
  void TendFeeds();
  // The feed's decided conflicts, which it takes from the ledger, while this leader delivers.
  void TendDecided(const conflict::FeedGroup& group);
  // The register in which both stand still, as an open conflict; nothing if it is none any more.
  std::optional<crdt::Register> OpenStill(const conflict::LedgerEntry& entry, clock::Dot lost);
  // Of a feed that has been deleted, or replaced by another one of that name.
  bool AreOfNoFeed(std::string_view acks_key);
  void WritePresent();
  void KeepAddress();
  // ---- state transfer, sending (transfer_out.cc)
  void SendStates();
  bool FillStream(LinkId link, Session& session, wire::StateChunk& chunk);
  bool FillRows(LinkId link, Session& session, wire::StateChunk& chunk, storage::Slice& slice);
  size_t PieceBytes() const;
  static void ResumePieces(Session& session);
  static void MoveBehind(Session& session, const wire::StateChunk& chunk);
  void HandleStateRequest(LinkId link, const wire::StateRequest& request);
  void HandlePull(LinkId link, const wire::StatePull& pull);
  bool ServesState() const;
  bool StagesBefore(LinkId link) const;
  bool CanResume(const wire::StateRequest& request);
  // How far behind its end the log may be kept for receivers.
  log::Position LogKeptForStates() const;
  void EndSlowSessions();
  void EndSessions();
  // ---- which slots differ, on both sides (transfer_slots.cc)
  std::vector<clock::Origin> OriginNames() const;
  void StartSessionRead(Session& session);
  void EndSession(LinkId link);
  void KeepPin(const Session& session);
  bool TakeDigests(const wire::StateChunk& chunk);
  void CompareSlots();
  bool StageEqual();
  // ---- the log's quota (quota.cc)
  void TrimLog();
  log::Position HeldFrom(const std::string& member);
  void ReadHeads();

  // ---- members (membership.cc)
  // Who is a member by the records, and which admissions are retired.
  struct Admissions {
    replication::Member member;
    std::set<std::string> nonces;   // of its admissions
    std::set<std::string> retired;  // of those that a record retires
    std::vector<clock::Dot> records;
    std::pair<clock::Hlc, clock::Origin> retired_at;  // by the newest of them
    bool all_retired() const;
  };
  void ReadMembers(std::map<std::string, Admissions> admissions);
  void SettleRetirements();
  // Is a leader that everybody knows to be retired still handing over what it holds? See kLastWordGapUs.
  bool AwaitsLastWord(const std::string& name, const Admissions& a);
  bool HasClaimed(const std::string& name, const std::vector<clock::Dot>& dots) const;
  bool OwesLastClaim() const;  // this leader, of its own retirement
  void Rejoin();
  void BeginRename();
  void EndRename();
  void AdmitSelf();
  void MendAdmission();
  bool AwaitsAdmission() const;
  bool MustAdmitSelf();

  // ---- clients that wait for elements (blocking.cc)
  void AddWaiter(command::Context& context);
  // CLIENT PAUSE: must this request wait? Then it does.
  bool Pauses(command::Client& client, command::Arguments arguments);
  Outcome TakeAnswer(command::Client& client, resp::Buffer& out);
  // Whoever can be served, in this change; the other one: by a change of its own, and whose time is over.
  bool IsLost(clock::OriginIndex origin, uint64_t sequence) const;  // sessions.cc
  void ServeWaiters(keyspace::Change& change);
  void ServeWaiters();
  bool Poll(uint64_t id, bool over);  // true: it was answered
  // False if it has found nothing, and waits on.
  bool ServeWaiter(uint64_t id,
                   const Waiters::Waiter& waiter,
                   const Waiters::Key& key,
                   keyspace::Change& change);
  void AnswerLate(uint64_t id);  // its time is over
  void Answer(uint64_t id, base::FunctionRef<void(resp::Writer&)> reply, uint64_t wrote = 0);

  // ---- duties (duties.cc)
  void RunDuties();
  // ---- folding of ended origins (folding.cc)
  void ReadEnded();  // the records that changed since the last call
  void NoteFold(std::string_view key, const crdt::KeyState& state);
  // An effect of a change that is known by `dot`, if it is a fold record.
  void NoteFold(const crdt::Effect& effect, clock::Dot dot);
  void FoldEnded();
  // Is this leader the one that writes fold records?
  bool Folds() const;
  void SettleFolds();
  // Is this leader the one that tidies up for all: the first member by name that is here?
  bool IsTidier() const;

  void RemoveExpired();
  // The next part of a key with very many counters.
  void RemoveExpiredPart();
  void NoteRemoved(uint8_t db, const std::string& key);
  void WriteClaim();
  // ---- residue, and who holds it back (residue.cc)
  void BeginPurgeRound();
  void PurgeSlice();
  void EndPurgeRound();
  bool MayPurge(const crdt::CounterEntry& entry);
  // Nobody can need what this change wrote and nothing shows any more, or it is given up.
  bool MayClean(clock::Dot dot, clock::Hlc stamp);
  bool GivesUp(clock::Hlc stamp);
  // Of the round's next key, from its next element on; false: it has looked at `until`, and there are more.
  bool PurgeElements(const keyspace::KeyRef& ref, bool cleaner, size_t until);
  // Expired keys that cannot be removed since some member has not claimed a time past `claimed`: a slice.
  void CountHeldBack(int64_t claimed_ms);
  // When each member was last heard to claim anything.
  void WatchClaims();
  // Members that hold back more than the quota of residue and have long been silent do not count any more.
  void GiveUpSilent(const char* what);
  // Writes that these members are away, and tells the operator why.
  void RecordAway(const std::vector<std::string>& members, const std::string& why);
  // How many changes this node has applied that the member has not claimed.
  uint64_t Unclaimed(const std::string& member) const;
  void ExtendLease();
  void ResumeWaiters(std::vector<uint64_t>& waiters);
  void SyncIfDue();
  void CheckpointSlice();
  void BeginCheckpoint();
  void
  ReadConfiguration();  // members, policies, priorities, ended origins from the reserved keyspace
  void UpdateTime();
  // Registers in which the change that is being applied met versions that its writer had not seen.
  struct Meeting {
    uint8_t db;
    std::string key;
    crdt::Type type;
    std::string element;
    clock::Dot added;
    auto operator<=>(const Meeting& other) const {
      return std::tie(db, key, type, element) <=> std::tie(other.db, other.key, other.type, other.element);
    }
  };
  void NoteMet();
  void NoteMeeting(const Meeting& meeting, const crdt::Register& state);
  // The ledger gets `lost`, unless it is what is shown: under an id that follows from the log's
  // position, or under the ledger's next one.
  void NoteLost(uint8_t db,
                std::string_view key,
                crdt::Type type,
                std::string_view element,
                const conflict::Policy& policy,
                const crdt::Version& shown,
                const crdt::Version& lost,
                bool by_position = true);
  // The policies have changed: what they decide now, and did not decide `before`, goes there, too.
  void NoteDecided(const conflict::PolicyTable& before);
  void AnswerRequests();  // joins, a new name, a new incarnation: between frames only
  void ApplyBody(const wire::Frame& frame,
                 const wire::Dictionary& dictionary,
                 clock::OriginIndex origin,
                 const clock::VersionVector& deps,
                 keyspace::Cause cause);
  bool MustHold(const command::Row& row, command::Arguments arguments, bool wrote);
  std::optional<std::string> Reserved(std::string_view key);
  void PutReserved(std::string_view key, std::string_view value);

  Options options_;
  Host& host_;
  log::Log& log_;
  storage::Store& store_;
  base::Random random_;
  base::Status status_;
  Probe* probe_ = nullptr;

  clock::OriginTable origins_;
  conflict::PolicyTable policies_;
  conflict::Ledger ledger_;
  std::set<std::string> delivers_;  // feeds that this leader delivered when last looked at
  conflict::Feeds feeds_;
  std::set<std::string, std::less<>> feed_acks_;  // sets of acknowledgements that may be there
  // What this leader, which delivers, knows of a feed's decided conflicts.
  struct DecidedFeed {
    uint64_t made = 0;
    std::vector<clock::VersionVector> given;  // of pairs that each of these covers all were given
    uint64_t scanned = 0;                     // of the ledger
    std::map<uint64_t, std::string> waiting;  // entries that are items: ids
    std::map<uint64_t, std::string> open;     // those that may be, whose conflict stands still
    std::set<std::string> ids;                // of both
    uint64_t looked_at = 0;                   // of `open`: the next look begins behind it
    uint64_t target = 0;                      // when all up to this entry are given ...
    std::string target_token;                 // ... so are all pairs that this covers
    bool moved = false;                       // some were, since that was written
  };
  std::map<std::string, DecidedFeed> decided_feeds_;
  int64_t next_feed_sweep_us_ = 0;
  keyspace::Keyspace keyspace_;
  clock::HlcClock hlc_;
  replication::Replica replica_;
  AgreedKeys agreed_;
  Owners owners_{*this};
  Escrow escrow_{*this, options_.holder};
  Eviction eviction_{*this};

  Clocks now_;
  bool in_tick_ = false;
  bool replaying_ = false;
  bool configuration_changed_ = false;
  bool admitted_ = false;
  bool retired_ = false;           // a record says so
  bool refused_ = false;           // a member said so
  bool rejoin_wanted_ = false;
  bool admit_self_wanted_ = false;
  int64_t rejoin_since_us_ = -1;  // since when it asks in vain to join again
  std::map<std::string, Admissions> admissions_;
  std::set<std::pair<std::string, std::string>> settled_;  // retired (leader, nonce) that count no more
  struct Retiring {
    int64_t since_us;     // when it would have been settled first
    int64_t in_reach_us;  // when it was last in reach; -1: not since then
  };
  std::map<std::string, Retiring> retiring_;
  std::set<std::pair<std::string, uint64_t>> estranged_;  // retired here, and refuse this leader: no last word will come
  int64_t last_refusal_alarm_us_ = -1;
  bool founding_ = false;
  log::Position founded_at_ = 0;  // until durable there, a founder keeps its cluster to itself
  std::string rename_after_;  // the address of the process whose name we share
  bool rename_wanted_ = false;
  // The name that this process is about to take: on disk once the log is durable up to `at`.
  struct Renaming {
    std::string leader;
    uint64_t nonce = 0;  // of its admission
    log::Position at = 0;
  };
  std::optional<Renaming> renaming_;
  bool forget_wanted_ = false;
  struct JoinRequest {
    std::string leader;
    uint64_t nonce;
    std::string address;
  };
  std::vector<JoinRequest> join_requests_;
  uint64_t cluster_id_ = 0;
  uint64_t join_nonce_ = 0;
  uint64_t found_lease_ms_ = 0;  // recovery: the newest bound in the log

  // The frame under way.
  bool frame_open_ = false;
  bool change_open_ = false;
  bool checkpoint_wanted_ = false;  // as soon as it may begin
  uint32_t change_effects_ = 0;
  size_t change_start_ = 0;
  wire::Frame frame_;
  std::string body_;
  wire::LastElement last_element_;  // of the body
  std::string encoded_;
  clock::Hlc last_stamp_;
  clock::VersionVector frame_deps_;
  clock::Hlc stamp_before_;

  // Which keys were written by frames that may not be durable yet: by hash, the log position before
  // which a reply that touched the key may not leave.
  static constexpr size_t kFilterSize = 8192;
  std::vector<log::Position> written_at_;
  log::Position any_written_at_ = 0;
  log::Position flushed_at_ = 0;

  // Duties.
  int64_t next_duty_us_ = 0;
  int64_t next_second_us_ = 0;
  int64_t next_slice_us_ = 0;
  int64_t expired_from_ms_ = INT64_MIN;  // where the next slice looks for expired keys
  // The expired key that is removed part by part.
  struct Expiring {
    uint8_t db;
    std::string key;
    int64_t instant_ms;  // when it expired
    keyspace::Keyspace::CounterCursor cursor;
  };
  std::optional<Expiring> expiring_;
  int64_t last_claim_us_ = 0;
  int64_t last_sync_us_ = 0;
  int64_t last_checkpoint_us_ = 0;         // when the last one, or that under way, began; or the start
  int64_t last_checkpoint_took_us_ = -1;   // the last one that ended; -1: none has
  bool owes_claim_ = false;
  std::map<clock::OriginIndex, std::vector<clock::Dot>> ended_;  // and the records that ended it
  std::vector<std::string> ended_keys_;  // of the reserved database: changed, not read yet
  std::map<clock::OriginIndex, int64_t> unfolded_since_us_;  // of ended origins: when one was seen so first
  size_t folds_settled_ = 0;
  uint64_t folds_written_ = 0;
  uint64_t folds_without_all_ = 0;
  bool records_due_ = true;           // look for origins of ours to end before the next frame
  int64_t owes_since_us_ = 0;
  clock::VersionVector nonempty_;  // applied, without trailing empty frames
  int64_t last_claimed_clock_ms_ = -1;
  int64_t last_skew_alarm_us_ = -1;
  int64_t others_clock_ms_ =
      INT64_MIN;  // median of the members' claimed clocks minus the skew bound
  // A round looks at all residue once, a slice at a time. The next one follows when it may purge more:
  // the stable vector has grown, or keys were met that had changed; and after a while in any case.
  struct PurgeRound {
    clock::VersionVector stable;
    clock::VersionVector counting;  // the same of those who count: away members left out
    // Where to go on: a key, and of this an element.
    std::pair<uint8_t, std::string> next;
    crdt::Type next_type = crdt::Type::kString;
    std::string next_element;
    bool met_changed = false;
    size_t looked_at = 0;  // keys and elements
    size_t removed = 0;
    size_t held_back = 0;  // waits for members who count
    // What waits for away members only: when it was written, wall time in ms.
    std::vector<uint64_t> waiting;
    int64_t began_us = 0;
  };
  std::optional<PurgeRound> purge_round_;
  clock::VersionVector purged_stable_;  // of the last round
  bool purge_again_ = false;
  size_t residue_then_ = 0;      // keys, after it
  int64_t purge_ended_us_ = 0;
  int64_t next_purge_us_ = 0;    // no round before
  uint64_t give_up_until_ms_ = 0;  // what waits for away members and is no younger than this goes
  uint64_t residue_given_up_ = 0;
  uint64_t residue_looked_at_ = 0;  // by rounds that have ended
  // Expired keys that are held back: where the slice goes on, and how many were counted.
  int64_t held_from_ms_ = INT64_MIN;
  size_t held_count_ = 0;
  struct Heard {
    int64_t clock_ms = -1;
    int64_t since_us = 0;  // since when it stands there
  };
  std::map<std::string, Heard> heard_;

  // Checkpoints.
  struct Pass {
    log::Position start = 0;
    std::string meta;
    bool walked = false;
    uint64_t flush_ticket = 0;
  };
  std::optional<Pass> pass_;
  std::deque<std::pair<log::Position, storage::Batch>> held_batches_;  // until durable
  int64_t last_checkpoint_ms_ = 0;
  uint64_t checkpoints_started_ = 0;
  uint64_t checkpoints_done_ = 0;
  uint64_t changes_at_checkpoint_ = 0;  // applied, when the last one ended
  bool removes_hidden_ = false;         // the change under way changes nothing of what a key shows
  uint64_t expired_keys_ = 0;           // removed here since the start
  std::string identity_leader_;  // as found on disk
  bool identity_known_ = false;
  log::Position checkpoint_position_ = 0;  // where recovery would begin
  size_t stored_origins_ = 0;
  std::vector<uint64_t> checkpoint_waiters_;                                // client ids
  RowPositions row_positions_;  // while the log is replayed

  // A state on its way in.
  struct Incoming {
    enum class Step : uint8_t { kAsk, kOffered, kPulling, kFlushing } step = Step::kAsk;
    LinkId link = 0;
    uint64_t generation = 0;
    uint64_t granted = 0;
    uint64_t consumed = 0;
    int64_t kept_us = 0;  // when the sender was told that we are still here
    int64_t asked_us = 0;
    int64_t next_ask_us = 0;
    int64_t progress_us = 0;
    size_t unanswered = 0;    // requests to go on during which the link went down
    bool told_later = false;  // nothing else has come yet
    std::vector<clock::OriginIndex> map;  // by the sender's index
    uint64_t flush_ticket = 0;
    log::Position sender_end = 0;
    // Of the sender's log: on this disk up to there, and up to where it will be when the flush is done (0: none is under way).
    log::Position stored = 0;
    log::Position storing = 0;
    uint64_t store_ticket = 0;
    // How far behind the sender's end: the least that was seen since then, and in the time before (UINT64_MAX: none).
    int64_t watched_us = 0;
    log::Position behind = UINT64_MAX;
    log::Position behind_before = UINT64_MAX;
    // kDigests: what the sender's slots hold; then our own rows are compared with it.
    SlotMatcher::Digests digests;
    bool digests_here = false;
    uint64_t own_pass = 0;  // the checkpoint that brings our rows up to date first
    std::shared_ptr<SlotMatcher> matcher;
    uint64_t read_ticket = 0;
    std::string read_after;
    bool read_all = false;
    std::deque<std::pair<std::string, std::string>> equal_rows;  // to be staged
    // The row behind the last one, as far as it is here. As large as it comes: it is to be held whole anyway.
    struct Partial {
      std::string key;
      std::string row;
      uint64_t bytes = 0;  // of the whole row
      uint64_t digest = 0;
    } partial;
    // What was offered, while the checkpoint row that belongs to it is pulled.
    std::optional<wire::StateOffer> offer;
    std::string ledger_skip;  // buckets of the sender's ledger that are here
  };
  std::unique_ptr<Staged> staged_;
  Incoming incoming_;
  uint64_t next_pull_generation_ = 1;
  int64_t next_state_us_ = 0;  // before another transfer is begun
  std::string last_sender_;    // that gave up on us: others first
  std::map<std::string, int64_t> avoided_;  // by leader: not asked before
  log::Position barrier_ = 0;  // where the last cut-over ends in our log
  clock::VersionVector barrier_floor_;
  uint64_t barrier_transfer_ = 0;
  bool staged_rows_ = false;    // the store holds rows of a transfer
  std::vector<uint64_t> merge_waiters_;  // client ids
  Waiters waiters_;
  int64_t paused_until_us_ = -1;  // CLIENT PAUSE; -1: there is none
  bool pauses_all_ = false;       // else what may write
  std::vector<uint64_t> paused_clients_;
  command::Watches watches_;
  command::Tracking tracking_;
  command::Monitors monitors_;
  uint64_t acting_ = 0;  // the client whose command runs; 0: none
  int64_t tracked_until_ms_ = INT64_MIN;  // the time for which all has been told
  command::Scripts scripts_;
  command::Users users_;
  size_t unread_configuration_ = 0;
  command::Subscriptions subscriptions_;
  std::vector<command::Publication> arrived_;    // from other leaders, in this tick
  std::vector<command::Publication> published_;  // for other leaders, in this tick
  uint32_t notices_ = 0;
  std::vector<std::pair<uint8_t, std::string>> merged_keys_;  // that a merge has changed, not told yet
  std::shared_ptr<size_t> queued_bytes_ = std::make_shared<size_t>(0);
  int64_t last_present_us_ = -1;
  int64_t next_address_us_ = 0;   // its record is not corrected before
  int64_t address_pause_us_ = 0;  // after the last correction
  int64_t handlers_reported_us_ = -1;
  std::map<std::string, uint64_t> handler_fallbacks_told_;  // by name and version
  // States on their way out.
  struct Pieces {  // a row that is sent in pieces: the one behind what was sent
    std::string key;
    std::string row;
    uint64_t digest = 0;
    size_t sent = 0;    // bytes
    bool last = false;  // no row follows
  };
  struct Session {
    uint64_t id = 0;
    wire::StatePart part = wire::StatePart::kRows;
    std::string after;  // the last key that was sent
    std::string scan;   // the last key that was read, sent or not
    std::string skip;   // slots, or buckets of the ledger, that are not to be sent
    uint64_t ledger_end = 0;  // what was noted since the offer is sent, whatever its bucket
    log::Position base = 0;
    std::shared_ptr<SlotDigester> digester;
    std::optional<Pieces> pieces;
    uint64_t row_offset = 0;  // what the receiver has of the next row
    uint64_t row_digest = 0;
    log::Position position = 0;
    log::Position pin = 0;  // what of the log it may still need
    uint64_t behind = 0;    // how much that was when it began
    int64_t began_us = 0;
    uint64_t generation = 0;
    uint64_t sent = 0;
    uint64_t credit = 0;
    bool done = false;  // with this part
    uint64_t read_ticket = 0;
    size_t names_sent = 0;
    int64_t heard_us = 0;
    int64_t sent_us = 0;  // when the last chunk was
    int64_t next_send_us = 0;
  };
  std::map<LinkId, Session> sessions_;
  // Of receivers whose link is gone: they come back within a moment and go on. By transfer.
  struct KeptPin {
    log::Position pin = 0;
    uint64_t behind = 0;
    int64_t began_us = 0;
    int64_t heard_us = 0;
  };
  std::map<uint64_t, KeptPin> kept_pins_;
  Pacer pacer_;
  int64_t rows_since_us_ = 0;  // when rows of a pass or a merge were visited last
  std::string checkpoint_meta_;  // the durable checkpoint's row; empty: there is none
  int64_t checkpoint_ended_us_ = -1;
  int64_t last_transfer_sync_us_ = 0;
  // Which process wrote which part of the log: where each began, and its nonce.
  std::vector<std::pair<log::Position, uint64_t>> epochs_;
  int64_t trim_from_us_ = 0;
  std::map<log::Position, clock::VersionVector> heads_;  // what was applied where a segment begins
  std::map<std::string, log::Position> held_from_;  // by member: what it may still need of the log
  TransferStats transfers_;

  uint64_t conflicts_detected_ = 0;
  uint64_t changes_local_ = 0;
  uint64_t changes_remote_ = 0;
  uint64_t skewed_stamps_ = 0;
  log::Position position_ = 0;    // where the frame that is being applied ends
  uint64_t ledger_entries_ = 0;   // noted for it
  std::set<Meeting> met_;         // in the change that is being applied
  log::Position ledger_position_ = 0;  // at the start: all that came before was noted, and is stored or was given up
  // Is the record that is replayed one of those? Rows may be newer than it, or gone: what it met cannot be told.
  bool IsNoted() const { return replaying_ && position_ <= ledger_position_; }
  bool low_space_ = false;
  bool sync_wanted_ = false;
  clock::Dot newest_own_;  // the last change of this process, and of this frame
};

}  // namespace polyarch::engine
