// One simulated machine: a disk that outlives its processes, a wall clock of its own, and at times a
// process: the very Engine of the server over a memory log and a memory store, driven in ticks.
//
// The node does what net/ and server/ do for a real one: collects messages and commands until the
// next tick, holds replies until the log is durable, completes syncs and flushes after a while, ends
// the process when the engine reports a failure. And it watches: each tick, each frame and each reply
// is checked against what the world knows.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "log/memory_log.h"
#include "resp/reply.h"
#include "sim/agreed.h"
#include "sim/caches.h"
#include "sim/history.h"
#include "sim/messages.h"
#include "sim/network.h"
#include "sim/transactions.h"
#include "storage/memory_store.h"

namespace polyarch::sim {

class World;

// A machine's disk: a value; copies are backups and clones.
struct Disk {
  std::shared_ptr<log::MemoryLogDisk> log = std::make_shared<log::MemoryLogDisk>();
  std::shared_ptr<storage::MemoryStoreDisk> store = std::make_shared<storage::MemoryStoreDisk>();

  Disk Copy() const;
};

// One command of a client, on its way.
struct Op {
  uint64_t id = 0;
  int client = 0;                    // of this node
  std::vector<std::string> args;
  std::vector<Key> keys;             // that it reads or writes; empty and `whole`: all of them
  bool whole = false;
  int64_t amount = 0;                // of a tracked counter (a key, or a field of one)
  std::function<void(Op&, const resp::Value&)> done;  // when the reply is released

  // Of one that waits: what number it has among those that have begun to wait at this process, and, of XREAD, the
  // id beyond which it wants entries.
  uint64_t waits_since = 0;
  crdt::StreamId waits_beyond;

  // As it ran.
  uint32_t origin = 0;               // what it wrote: (first, last] of this origin
  uint64_t first = 0;
  uint64_t last = 0;
  log::Position need = 0;            // the reply may leave when this much is durable
  log::Position hold = 0;            // the engine's word on the same
  bool held = false;
  bool needs_tick = false;           // `need` is where this tick ends
  Vector seen;                       // what the reply shows
  resp::Value reply;

  // Refused before it looked at any key.
  bool refused() const {
    if (!reply.is_error()) return false;
    return reply.text.starts_with("HISTORY ") || reply.text.starts_with("RETIRED ") || reply.text.starts_with("DISKFULL ");
  }
};

enum class EndOfProcess : uint8_t {
  kStopped,  // SIGTERM: all is synced
  kKilled,   // the operating system lives on: all that was committed is there
  kPower,    // what was not synced is torn anywhere
};

class Node final : public engine::Host,
                   public engine::Probe,
                   public command::ServerHost,
                   public Endpoint {
 public:
  struct Options {
    std::string leader;
    std::string address;
    int place = 0;
    std::vector<std::string> join;
    engine::Options engine;            // limits and durability; the rest is set here
    int64_t timer_us = 10 * kMs;
    int64_t gather_us = 0;             // from a wake-up to the tick
    int64_t sync_min_us = 100;
    int64_t sync_max_us = 5 * kMs;
    // A small segment, so that catching up begins at segment heads, too.
    uint64_t segment_bytes = 4 << 10;
    int clients = 3;
  };

  Node(World& world, Options options, Disk disk);
  ~Node() override;

  // ---- life
  void Start();
  void End(EndOfProcess how);
  void Pause(int64_t until_us);
  void Continue();
  bool up() const { return process_ != nullptr; }
  bool paused() const;
  bool may_write() const { return up() && process_->engine->may_write(); }
  // Another disk (an empty one, an old one) in a machine that is down.
  void ReplaceDisk(Disk disk);
  const Disk& disk() const { return disk_; }
  // From now on the log's syncs fail, or the store's flushes.
  void FailSyncs();
  void FailFlushes();
  void FailWrites();
  // Somebody else fills the disk: log and rows may come to so many bytes, until this is said again. Client writes are to be
  // refused from some segments before that on, as server/ does; what goes beyond it fails. kRoomForAll: whatever they like.
  static constexpr uint64_t kRoomForAll = UINT64_MAX;
  void SetRoom(uint64_t bytes);
  uint64_t DiskBytes() const;
  bool no_room() const { return room_bytes_ != kRoomForAll && DiskBytes() > room_bytes_; }
  bool faulty() const { return faulty_; }
  // While somebody copies it: as the server's backups do.
  void PinLog(log::Position position) { process_->log->Pin(position); }
  void UnpinLog() { process_->log->Unpin(); }

  // ---- clocks
  int64_t WallMs() const;
  void SetOffset(int64_t offset_us) { offset_us_ = offset_us; }
  int64_t offset_us() const { return offset_us_; }
  void SetDrift(int64_t ppm);
  // A copy of a disk goes on from the stamps that its original had issued.
  void SetWallMax(const Node& original) { wall_ms_max_ = original.wall_ms_max_; }

  // ---- clients
  // Runs at the next tick, if the process lives until then.
  void Submit(Op op);
  int clients() const { return options_.clients; }
  // One more, whom the workload leaves alone: it never waits, so what it is given is done.
  int operator_client() const { return options_.clients; }
  bool ClientBusy(int client) const;
  // Publishes the next message of this process at its next tick.
  void PublishNews(int client);
  // What its messages begin with, and the number of the last one that it has published.
  std::string process_name() const { return label_ + "." + std::to_string(boots_); }
  uint64_t published() const { return process_->published; }
  const Messages& messages() const { return process_->messages; }
  // What clients of this process were pushed since this was asked last, in their order.
  std::vector<std::string> TakeTold();
  // Commands of a client of its own on a key that leaders agree on (sim/agreed.h); the world's history is told how
  // they end.
  void AskAgreed(uint64_t call, const std::string& key, std::vector<std::vector<std::string>> commands);
  // The same of a queue whose elements have owners (sim/jobs.h).
  void AskJob(uint64_t call, std::vector<std::vector<std::string>> commands);
  // And on a bounded counter (sim/stocks.h).
  void AskStock(uint64_t call, std::vector<std::vector<std::string>> commands);
  // waiting.cc. Between ticks: nobody waits for what is there.
  void CheckWaiters() const;
  void NoteWaits(Op& op);
  // Of one that was served: nobody waits who came before it.
  void CheckServedInTurn(const Op& op) const;
  // Commands were submitted that have not run yet.
  bool has_commands() const;

  // ---- looking in
  engine::Engine& engine() { return *process_->engine; }
  const Options& options() const { return options_; }
  Options& mutable_options() { return options_; }
  const std::string& name() const { return label_; }
  // What this process has applied, as its frames told; and what is durable on its disk.
  const Vector& applied() const { return process_->applied; }
  const Vector& durable() const { return durable_; }
  int64_t last_append_us() const { return last_append_us_; }
  int64_t last_nonempty_us() const { return last_nonempty_us_; }
  uint32_t boots() const { return boots_; }
  bool lost_data() const { return lost_data_; }
  void SetLostData() { lost_data_ = true; }
  Vector DurableNow();
  // What was ever durable on its disk, and on those it had before.
  const Vector& EverDurable() {
    Join(ever_durable_, DurableNow());
    return ever_durable_;
  }
  OracleState StateOf(const crdt::KeyState& state);
  OracleRegister RegisterOf(const crdt::Register& state);
  uint32_t OrdinalOf(clock::OriginIndex index);
  bool in_checkpoint() const { return checkpoint_started_ && up(); }
  // Pairs of concurrent versions that met here: register and origins -> the newest pair.
  struct Met {
    Dot first;
    Dot second;
    int64_t time_us = 0;
  };
  using MetKey = std::tuple<Key, Place, uint32_t, uint32_t>;
  const std::map<MetKey, Met>& met() const { return met_; }
  uint64_t reports(int severity) const { return reports_[static_cast<size_t>(severity)]; }

  // ---- Endpoint
  void LinkUp(LinkId link, const std::string& dialed, const std::string& remote) override;
  void Message(LinkId link, std::shared_ptr<const std::string> bytes) override;
  void Part(LinkId link) override;
  void LinkDown(LinkId link) override;
  void DialFailed(const std::string& address) override;

  // ---- engine::Host
  void Send(engine::LinkId link, std::string_view message) override;
  size_t Backlog(engine::LinkId link) const override;
  void CloseLink(engine::LinkId link) override;
  void Dial(const std::string& address) override;
  uint64_t NewHolder() override;
  void Resume(uint64_t client_id) override;
  void Push(uint64_t client_id, std::string_view bytes, bool held) override;
  void Report(int severity, const std::string& line) override;

  // ---- engine::Probe
  void FrameApplied(const wire::Frame& frame, std::string_view bytes, bool own) override;
  void FrameContext(const wire::Dictionary& dictionary, const clock::VersionVector& deps) override;
  void CutOver(const engine::CutOverRecord& record,
               log::Position end,
               const clock::VersionVector& mine,
               const clock::VersionVector& theirs) override;

  // ---- command::ServerHost: a server with nothing to configure
  void ForEachClient(const std::function<void(command::Client&)>& visit) override;
  bool KillClient(uint64_t) override { return false; }
  size_t ClientOutputBytes(uint64_t) const override { return 0; }
  std::vector<std::pair<std::string, std::string>> ConfigGet(std::string_view) override { return {}; }
  base::Status ConfigSet(std::string_view, std::string_view) override { return {}; }
  void ConfigResetStat() override {}
  uint64_t Secret() override { return 0x0123456789abcdef; }
  void InfoSection(std::string_view, std::string&) override {}
  void Shutdown() override {}
  void Sleep(double) override {}
  int64_t WallMicros() override { return WallMs() * 1000; }

 private:
  struct Input {
    enum class Kind : uint8_t { kUp, kMessage, kPart, kDown, kDialFailed } kind;
    LinkId link = 0;
    std::string text;
    std::string remote;
    std::shared_ptr<const std::string> bytes;
  };
  void AskApart(AgreedOp op, uint8_t db);
  struct Process {
    uint64_t network_id = 0;
    std::unique_ptr<log::MemoryLog> log;
    std::unique_ptr<storage::MemoryStore> store;
    std::unique_ptr<engine::Engine> engine;
    std::deque<Input> inputs;
    std::deque<Op> commands;
    std::deque<AgreedOp> agreed_commands;
    std::map<uint64_t, AgreedOp> agreed_suspended;  // by client id
    std::vector<AgreedOp> agreed_executed;          // in this tick
    std::deque<AgreedOp> agreed_waiting;            // for the disk, in order
    std::vector<std::unique_ptr<command::Client>> clients;
    std::map<uint64_t, Op> suspended;       // by client id
    std::vector<uint64_t> resumed;
    std::vector<Op> executed;               // in this tick
    std::deque<Op> waiting;                 // for the disk, in order
    uint64_t waits = 0;                     // commands that have begun to wait for elements
    std::set<Key> written;                  // by commands of this tick
    std::map<Key, log::Position> touched;   // by the frame that ends there
    log::Position touched_any = 0;
    std::deque<std::tuple<log::Position, uint32_t, uint64_t>> undurable;
    std::deque<std::pair<log::Position, uint64_t>> stamps;  // of own frames, not durable yet
    Vector applied;
    Transactions transactions;
    command::Client listener;  // subscribed to kNewsChannel
    Messages messages;
    std::unique_ptr<Caches> caches;
    std::map<uint64_t, std::vector<std::string>> told;  // what other clients were pushed
    uint64_t published = 0;
    std::vector<uint32_t> ordinals;         // by the process's origin index
    bool sync_pending = false;
    bool flush_pending = false;
    int64_t next_tick_us = -1;
    int frames_in_tick = 0;
  };

  void Wake(int64_t at_us);
  void Tick();
  void Feed(const Input& input);
  void Listen();
  void CheckCaches();
  void LookAtRoom();
  void CheckRefusal(const Op& op, bool wrote) const;
  void Run(Op op);
  void RunAgreed(AgreedOp op);
  void Finish(Op& op);
  void AfterTick();
  void Release();
  void ScheduleDisk();
  engine::Clocks Clocks() const;
  void NoteDurable();
  void NoteFrame(const FrameFacts& facts, uint32_t origin, uint64_t first, bool own);
  void NoteMeetings(const FrameFacts& facts, uint32_t origin, bool own);
  void NoteCutOver(const engine::CutOverRecord& record,
                   log::Position end,
                   const clock::VersionVector& mine,
                   const clock::VersionVector& theirs);
  void NoteMerged(const Key& key, const Place& place, const Vector& before);
  void NoteTransfers();
  void CheckLogSize();
  void CheckStarted();
  void HandleFrame();
  // Throws what was noted within a call of the engine: nothing is thrown through it.
  void ThrowNoted();

  World& world_;
  Options options_;
  Disk disk_;
  // Where this disk was when the votes on it were known to be its own (server/seat.h): a copy is elsewhere.
  std::shared_ptr<const void> seat_place_;
  uint64_t holder_ = 0;  // that goes with it
  log::Position seat_claimed_ = 0;  // once durable up to there, it is
  bool seat_abandoned_ = false;     // a sync has failed
  std::string label_;
  std::unique_ptr<Process> process_;
  uint64_t serial_ = 0;  // of the process: events of an earlier one are void
  uint32_t boots_ = 0;
  int64_t paused_until_us_ = 0;
  int64_t offset_us_ = 0;
  int64_t drift_ppm_ = 0;
  int64_t drift_since_us_ = 0;
  int64_t wall_ms_max_ = 0;
  uint64_t stamp_durable_ = 0;  // the highest own stamp that is on disk
  Vector durable_;
  Vector ever_durable_;
  bool lost_data_ = false;
  bool faulty_ = false;
  uint64_t room_bytes_ = kRoomForAll;
  int64_t next_room_us_ = 0;
  bool low_room_ = false;  // as the engine was told
  bool checkpoint_started_ = false;
  int64_t last_append_us_ = 0;
  int64_t last_nonempty_us_ = 0;
  std::map<MetKey, Met> met_;
  uint64_t reports_[3] = {0, 0, 0};

  // The frame that is being told, until both halves are there.
  std::optional<wire::Frame> frame_;
  std::string frame_bytes_;
  bool frame_own_ = false;
  const wire::Dictionary* dictionary_ = nullptr;
  clock::VersionVector deps_;
  engine::Engine::TransferStats transfers_seen_;
  uint64_t merged_seen_ = 0;
  int64_t oversized_us_ = 0;  // how long the log has been far beyond its quota
  std::deque<std::pair<int64_t, log::Position>> log_ends_;  // of the last seconds
  int64_t sized_at_us_ = 0;
  std::string noted_;  // the first violation found within a call of the engine
};

}  // namespace polyarch::sim
