// POLYARCH BACKUP in the process: what the loop's thread does for a backup::Job. One at a time. A
// client that goes away does not end its backup.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "backup/job.h"
#include "base/status.h"
#include "command/host.h"
#include "engine/engine.h"
#include "log/segmented_log.h"
#include "storage/rocks/rocks_store.h"

namespace polyarch::server {

class Backups {
 public:
  struct Options {
    std::string data_dir;
    uint64_t reserve_bytes = 0;            // of disk, to be left free
    std::function<void()> wake;            // a tick soon; from any thread
    std::function<void(uint64_t)> resume;  // a client's suspended command
    std::function<void(int, const std::string&)> report;
  };
  Backups(Options options,
          engine::Engine& engine,
          log::SegmentedLog& log,
          storage::RocksStore& store);
  ~Backups();

  // A ticket. kInvalid for a path that cannot be one, kBusy while another backup is under way.
  base::Result<uint64_t> Start(std::string_view path, uint64_t client);
  // The result, once; nothing while it is under way.
  std::optional<base::Result<command::BackupSummary>> Take(uint64_t ticket);
  // After EndTick: what is applied is in the log.
  // `low_space`: a backup that is under way holds the log on the leader's disk, and is given up.
  void AfterTick(int64_t wall_ms, bool low_space);
  // Gives the one under way up; waits for its thread.
  void Stop();

  void Info(std::string& out) const;

 private:
  void End();

  const Options options_;
  engine::Engine& engine_;
  log::SegmentedLog& log_;
  storage::RocksStore& store_;

  std::unique_ptr<backup::Job> job_;  // while one is under way
  std::string path_;
  uint64_t ticket_ = 0;  // of the latest
  uint64_t client_ = 0;
  std::optional<uint64_t> checkpoint_ticket_;
  log::Position copied_from_ = 0;  // the end of the log when the copy of the store was asked for
  struct Cut {
    log::Position end = 0;
    std::string vv;
    int64_t taken_ms = 0;
  };
  std::optional<Cut> cut_;
  bool given_up_ = false;
  // Of clients that have not come for them yet: the newest few.
  std::map<uint64_t, base::Result<command::BackupSummary>> results_;
  int64_t last_ok_ms_ = 0;
  int64_t now_ms_ = 0;
  uint64_t done_ = 0;
  uint64_t failed_ = 0;
};

}  // namespace polyarch::server
