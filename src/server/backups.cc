#include "server/backups.h"

#include <system_error>
#include <utility>

#include "backup/manifest.h"
#include "clock/origin.h"
#include "command/version.h"
#include "engine/rows.h"
#include "log/format.h"

namespace polyarch::server {

namespace {

constexpr size_t kResultsMax = 16;

}  // namespace

Backups::Backups(Options options,
                 engine::Engine& engine,
                 log::SegmentedLog& log,
                 storage::RocksStore& store)
    : options_(std::move(options)), engine_(engine), log_(log), store_(store) {}

Backups::~Backups() {
  Stop();
}

void Backups::Stop() {
  job_.reset();
  log_.Unpin();
}

base::Result<uint64_t> Backups::Start(std::string_view path, uint64_t client) {
  auto checked = backup::CheckPath(path);
  if (!checked.ok()) return checked.status();
  if (job_) {
    return base::Status(base::Code::kBusy,
                        "a backup to " + path_ + " is under way: try again when it has ended");
  }
  if (!engine_.admitted()) {
    return base::Status(base::Code::kBusy,
                        "this leader has not been admitted yet, and no more would be one that starts from its backup: back up another leader, or wait");
  }
  path_ = *checked;
  client_ = client;
  checkpoint_ticket_.reset();
  cut_.reset();
  backup::Job::Options job;
  job.path = path_;
  job.data_dir = options_.data_dir;
  job.reserve_bytes = options_.reserve_bytes;
  job.wake = options_.wake;
  job.manifest.polyarch_version = command::kPolyarchVersion;
  job.manifest.leader = engine_.leader_id();
  job.manifest.cluster = clock::Origin{"", engine_.cluster_id()}.ToString().substr(1);
  job.manifest.store_format = engine::kStoreFormat;
  job.manifest.log_format = log::kFormatVersion;
  given_up_ = false;
  try {
    job_ = std::make_unique<backup::Job>(std::move(job), store_);
  } catch (const std::system_error& error) {
    return base::Status(base::Code::kBusy,
                        std::string("no thread is to be had for a backup (") + error.what() + "): raise the limit of processes, or try again");
  }
  options_.report(0, "a backup to " + path_ + " begins");
  return ++ticket_;
}

std::optional<base::Result<command::BackupSummary>> Backups::Take(uint64_t ticket) {
  auto found = results_.find(ticket);
  if (found == results_.end()) return std::nullopt;
  auto result = std::move(found->second);
  results_.erase(found);
  return result;
}

void Backups::AfterTick(int64_t wall_ms, bool low_space) {
  now_ms_ = wall_ms;
  if (!job_) return;
  if (low_space && !given_up_) {
    given_up_ = true;
    job_->Cancel({base::Code::kFull,
                  "the leader's disk is nearly full, and a backup holds its log there: make room, and try again"});
    log_.Unpin();
  }
  if (given_up_ && job_->wants() != backup::Job::Want::kEnd) return;
  switch (job_->wants()) {
    case backup::Job::Want::kNothing:
      return;
    case backup::Job::Want::kCheckpoint:
      // A fresh one: the log to copy, and to replay after a restore, is short.
      if (!checkpoint_ticket_) checkpoint_ticket_ = engine_.StartCheckpoint();
      if (!engine_.CheckpointDone(*checkpoint_ticket_)) return;
      log_.Pin(engine_.checkpoint_position());
      copied_from_ = log_.end();
      return job_->HaveCheckpoint(engine_.checkpoint_position());
    case backup::Job::Want::kCut:
      if (!cut_ && engine_.barrier() > copied_from_) {
        copied_from_ = log_.end();
        return job_->CopyAgain();
      }
      if (!cut_) {
        cut_ = Cut{log_.end(), engine_.VersionVectorText(), wall_ms};
        log_.RequestSync();
      }
      if (log_.durable() < cut_->end) return;
      return job_->HaveCut(cut_->end, std::move(cut_->vv), cut_->taken_ms);
    case backup::Job::Want::kEnd:
      return End();
  }
}

void Backups::End() {
  const base::Result<backup::Manifest>& made = job_->result();
  if (made.ok()) {
    ++done_;
    last_ok_ms_ = now_ms_;
    results_.emplace(
        ticket_,
        command::BackupSummary{path_, made->vv, made->files.size(), made->bytes(), made->taken_ms});
    options_.report(0,
                    "the backup to " + path_ + " is whole: " + std::to_string(made->files.size()) +
                        " files, " + std::to_string(made->bytes()) + " bytes");
  } else {
    ++failed_;
    results_.emplace(ticket_, made.status());
    options_.report(2, "the backup to " + path_ + " failed: " + made.status().message());
  }
  while (results_.size() > kResultsMax)
    results_.erase(results_.begin());
  job_.reset();
  log_.Unpin();
  options_.resume(client_);
}

void Backups::Info(std::string& out) const {
  auto line = [&out](const char* name, uint64_t value) {
    out += std::string(name) + ":" + std::to_string(value) + "\n";
  };
  line("backup_in_progress", job_ ? 1 : 0);
  line("backups_done", done_);
  line("backups_failed", failed_);
  line("backup_last_time", static_cast<uint64_t>(last_ok_ms_ / 1000));
}

}  // namespace polyarch::server
