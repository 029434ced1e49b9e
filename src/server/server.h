// The process: wires the event loop, the engine, the log and the store together. The only room that
// knows everybody; holds no rule of its own about data.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "command/client.h"
#include "command/command_timer.h"
#include "command/host.h"
#include "engine/engine.h"
#include "log/io.h"
#include "log/segmented_log.h"
#include "net/loop.h"
#include "net/service.h"
#include "server/backups.h"
#include "server/config.h"
#include "server/join_watch.h"
#include "storage/rocks/rocks_store.h"

namespace polyarch::server {

class Server final : public net::Service, public engine::Host, public command::ServerHost {
 public:
  explicit Server(Config config);
  ~Server() override;

  // Listens, locks and recovers the directory, founds, continues or joins. One line on failure.
  base::Status Start();
  // Serves until SIGTERM, SIGINT, SHUTDOWN or a failure of the write path. The exit code.
  int Run();
  // From a signal handler.
  void RequestStop();
  // The same: the files of certificates and keys are read again soon, if there is TLS.
  void RequestReload();

  // ---- net::Service
  void TickBegin(const net::Clocks& now) override;
  void TickEnd() override;
  uint64_t hold_position() const override { return engine_->hold_position(); }
  uint64_t durable_position() const override { return engine_->durable_position(); }
  std::unique_ptr<net::Session> OpenClient(net::ClientId id,
                                           std::string address,
                                           std::string local_address) override;
  void ClientIsDead(net::Session& session) override;
  void CloseClient(net::ClientId id, net::Session& session) override;
  net::Outcome Execute(net::ClientId id,
                       net::Session& session,
                       std::span<const std::string_view> arguments,
                       resp::Buffer& out) override;
  void TurnBegin() override { timer_.Begin(); }
  void LastOfTurn() override { last_of_turn_ = true; }
  void TurnEnd() override { timer_.End(); }
  bool IsAuthenticated(const net::Session& session) const override;
  bool Listens(const net::Session& session) const override;
  void OnLinkUp(net::LinkId link, std::string dialed, std::string remote_address) override;
  void OnLinkMessage(net::LinkId link, std::string_view message) override;
  void OnLinkPart(net::LinkId link) override { engine_->OnLinkPart(link); }
  void OnLinkDown(net::LinkId link) override;
  void OnDialFailed(std::string address, std::string reason) override;
  void OnSendRefused(net::LinkId link, std::string reason) override;
  void OnRefused(const std::string& dialed, const std::string& line) override;
  void OnTimer() override;
  std::string OnHttpGet(std::string_view path) override;

 private:
  struct ClientSession final : net::Session {
    command::Client client;
  };

  // ---- engine::Host
  void Send(engine::LinkId link, std::string_view message) override {
    loop_->SendToLink(link, message);
  }
  size_t Backlog(engine::LinkId link) const override { return loop_->LinkBacklog(link); }
  void CloseLink(engine::LinkId link) override { loop_->CloseLink(link); }
  std::string LinkRefusal(engine::LinkId link, std::string_view leader) override { return loop_->LinkRefusal(link, leader); }
  void Dial(const std::string& address) override { loop_->Dial(address); }
  void Resume(uint64_t client_id) override { loop_->Resume(client_id); }
  void Push(uint64_t client_id, std::string_view bytes, bool held) override {
    loop_->PushToClient(client_id, bytes, held);
  }
  void Report(int severity, const std::string& line) override;
  void UsersChanged(uint64_t acting) override;
  uint64_t Entropy() override;
  uint64_t NewHolder() override;

  // ---- command::ServerHost
  void ForEachClient(const std::function<void(command::Client&)>& visit) override;
  bool KillClient(uint64_t id) override;
  size_t ClientOutputBytes(uint64_t id) const override { return loop_->ClientOutputBytes(id); }
  std::vector<std::pair<std::string, std::string>> ConfigGet(std::string_view pattern) override;
  base::Status ConfigSet(std::string_view name, std::string_view value) override;
  base::Status ConfigMayChange(std::string_view name, std::string_view value) override;
  base::Status ConfigSettle(bool keep) override;
  void ConfigResetStat() override;
  uint64_t Secret() override;
  void InfoSection(std::string_view section, std::string& out) override;
  void Shutdown() override { loop_->Stop(); }
  void Sleep(double seconds) override;
  int64_t WallMicros() override;
  int64_t MonotonicMicros() override;
  int64_t MonotonicNanos() override;
  int64_t script_ms_max() const override { return script_ms_max_; }
  void ScriptLog(int level, std::string_view line) override;
  base::Result<uint64_t> StartBackup(std::string_view path, uint64_t client) override {
    return backups_->Start(path, client);
  }
  std::optional<base::Result<command::BackupSummary>> TakeBackup(uint64_t ticket) override {
    return backups_->Take(ticket);
  }

  base::Status LockDirectory();
  // tls.cc
  base::Status LoadTls();  // from the files that config_ names; all or nothing
  base::Status SetTls(std::string_view name, std::string_view value);
  void ReloadIfAsked();
  void SetClientLimits();
  base::Status SetObservation(std::string_view name, std::string_view value);
  base::Status RefuseFixed(std::string_view name, std::string_view value);
  std::string WhatIsSafe(const base::Status& status) const;
  engine::Clocks ReadClocks() const;
  // Kept free on the disk for replication, checkpoints and repairs.
  uint64_t SpaceReserve() const { return config_.log_segment_bytes * 3; }
  void NoteRan(const command::Client& client, command::Arguments arguments, const resp::Buffer& out, size_t before);
  // pages.cc
  void WatchSyncs();
  void WatchTurns(const net::Clocks& now);
  void Measure();
  void ResetRates();
  std::string HealthFailure() const;
  std::string ReadyFailure();
  std::string MetricsPage();

  Config config_;
  std::unique_ptr<log::Io> io_;
  std::unique_ptr<storage::RocksStore> store_;
  std::unique_ptr<log::SegmentedLog> log_;
  std::unique_ptr<net::Loop> loop_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<Backups> backups_;
  std::unique_ptr<JoinWatch> join_watch_;  // until it is admitted
  int lock_fd_ = -1;
  bool failed_ = false;
  bool low_space_ = false;
  int64_t next_space_check_us_ = 0;
  int64_t end_of_turn_us_ = 0;        // how long TickEnd took last
  uint64_t watched_durable_ = 0;      // as of the last tick
  int64_t sync_waits_since_us_ = 0;   // since when that has not grown although it should
  int64_t started_ms_ = 0;
  uint64_t commands_ = 0;
  command::CommandTimer timer_{*this};  // of the turn under way
  bool last_of_turn_ = false;
  uint64_t commands_base_ = 0;
  net::LoopStats stats_base_;  // what INFO's counts are told from
  struct {
    command::Rate commands;
    command::Rate input;  // bytes
    command::Rate output;
    int64_t due_us = 0;
  } rates_;
  uint64_t memory_peak_ = 0;  // of keys and values, as of the end of each tick
  engine::Clocks now_;
  std::map<uint64_t, ClientSession*> clients_;
  int64_t script_ms_max_ = 1000;
  bool tls_changed_ = false;               // CONFIG SET is under way
  bool password_changed_ = false;          // the same
  std::atomic<bool> reload_asked_ = false;
  std::deque<std::pair<int64_t, std::string>> refusals_;  // told of late, and when
  uint64_t refusals_untold_ = 0;
  int64_t script_log_since_us_ = 0;  // lines of scripts in the log are counted from then on
  int script_log_lines_ = 0;
};

}  // namespace polyarch::server
