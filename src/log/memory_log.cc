#include "log/memory_log.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/planted.h"
#include "log/format.h"

namespace polyarch::log {

void MemoryLogDisk::Crash(base::Random& random) {
  size_t kept = records.size();
  while (kept > 0 && records[kept - 1].end > durable)
    --kept;
  const size_t durable_count = kept;
  kept += random.Below(records.size() - kept + 1);
  if (PLANTED(kTornTail) && kept > durable_count) {
    // Recovery takes the torn record at the end for a whole one.
    Entry& torn = records[kept - 1];
    const std::string& whole = *torn.payload;
    torn.payload = std::make_shared<const std::string>(whole, 0, random.Below(whole.size() + 1));
    torn.end = torn.position + RecordBytes(torn.payload->size());
  }
  records.resize(kept);
  end = records.empty() ? std::max(begin, durable) : records.back().end;
  durable = std::min(durable, end);
  while (heads.size() > 1 && heads.back().position >= end)
    heads.pop_back();
}

MemoryLog::MemoryLog(std::shared_ptr<MemoryLogDisk> disk, uint64_t segment_bytes)
    : disk_(std::move(disk)),
      segment_bytes_(segment_bytes),
      end_(disk_->end),
      durable_(disk_->end),
      requested_(disk_->end),
      segment_start_(disk_->heads.back().position) {
  disk_->durable = disk_->end;
}

Position MemoryLog::Append(RecordType type, std::string_view payload) {
  const Position end = end_ + RecordBytes(payload.size());
  if (end - segment_start_ > segment_bytes_ && end_ > segment_start_) {
    pending_heads_.push_back({end_, head_provider_ ? head_provider_() : std::string()});
    segment_start_ = end_;
  }
  pending_.push_back({end_, end, type, std::make_shared<const std::string>(payload)});
  end_ = end;
  return end_;
}

base::Status MemoryLog::Commit() {
  if (status_.ok()) status_ = fail_commits_;
  if (!status_.ok()) return status_;
  for (auto& entry : pending_)
    disk_->records.push_back(std::move(entry));
  for (auto& head : pending_heads_)
    disk_->heads.push_back(std::move(head));
  pending_.clear();
  pending_heads_.clear();
  disk_->end = end_;
  return {};
}

void MemoryLog::RequestSync() {
  if (!status_.ok()) return;
  requested_ = disk_->end;
  if (!syncing_) StartSync();
}

void MemoryLog::StartSync() {
  syncing_ = requested_ > durable_;
  sync_target_ = requested_;
}

void MemoryLog::CompleteSync() {
  if (!syncing_ || !status_.ok()) return;
  if (fail_syncs_) {
    syncing_ = false;
    status_ = base::IoError("the sync of the log failed");
    return;
  }
  durable_ = disk_->durable = sync_target_;
  StartSync();
}

void MemoryLog::FailSyncs() {
  fail_syncs_ = true;
  CompleteSync();
}

void MemoryLog::FailCommits(base::Status status) {
  fail_commits_ = std::move(status);
}

base::Result<Position> MemoryLog::Read(Position from,
                                       size_t bytes_max,
                                       const std::function<bool(const Record&)>& visit) {
  if (from < begin()) {
    return base::NotFound("position " + std::to_string(from) + " is not in the log any more");
  }
  if (from > end_) {
    return base::Invalid("position " + std::to_string(from) + " is beyond the end of the log");
  }
  if (from == end_) return from;
  if (from < damaged_before_) return base::Corrupt("the record at " + std::to_string(from) + " fails its checksum");
  const bool committed = from < disk_->end;
  const auto& first = committed ? disk_->records : pending_;
  auto it = std::lower_bound(
      first.begin(), first.end(), from, [](const MemoryLogDisk::Entry& e, Position p) {
        return e.position < p;
      });
  if (it == first.end() || it->position != from) {
    return base::Corrupt("no record of the log starts at position " + std::to_string(from));
  }
  Position position = from;
  bool in_pending = !committed;
  do {
    if (!in_pending && it == disk_->records.end()) {
      it = pending_.begin();
      in_pending = true;
    }
    if (in_pending && it == pending_.end()) break;
    position = it->end;
    if (!visit(Record{it->position, it->end, it->type, *it->payload})) break;
    ++it;
  } while (position - from < bytes_max);
  return position;
}

void MemoryLog::SetHeadProvider(std::function<std::string()> provider) {
  head_provider_ = std::move(provider);
}

std::vector<SegmentHead> MemoryLog::Heads() const {
  std::vector<SegmentHead> heads = disk_->heads;
  heads.insert(heads.end(), pending_heads_.begin(), pending_heads_.end());
  return heads;
}

bool MemoryLog::Holds(Position position) {
  if (position < begin() || position > end_) return false;
  if (position == end_) return true;
  const auto& entries = position < disk_->end ? disk_->records : pending_;
  auto it = std::lower_bound(
      entries.begin(), entries.end(), position, [](const MemoryLogDisk::Entry& e, Position p) {
        return e.position < p;
      });
  return it != entries.end() && it->position == position;
}

void MemoryLog::TrimTo(Position position) {
  position = std::min(position, pinned_);
  auto& heads = disk_->heads;
  while (heads.size() > 1 && heads[1].position <= position && heads[1].position < durable_) {
    heads.erase(heads.begin());
  }
  disk_->begin = heads.front().position;
  while (!disk_->records.empty() && disk_->records.front().position < disk_->begin) {
    disk_->records.pop_front();
  }
}

}  // namespace polyarch::log
