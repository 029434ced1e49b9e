#include "log/syncer.h"

#include <algorithm>
#include <utility>

#include "log/format.h"

namespace polyarch::log {

Syncer::Syncer(Options options)
    : io_(options.io),
      dir_(std::move(options.dir)),
      segment_bytes_(options.segment_bytes),
      on_durable_(std::move(options.on_durable)),
      durable_(options.durable),
      target_(options.durable),
      current_(std::move(options.current)) {
  thread_ = std::thread([this] { Run(); });
}

Syncer::~Syncer() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_one();
  thread_.join();
}

base::Status Syncer::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

void Syncer::Request(Position target) {
  {
    std::lock_guard lock(mutex_);
    if (target <= target_) return;
    target_ = target;
  }
  work_.notify_one();
}

base::Status Syncer::Wait(Position target) {
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return durable() >= target || !status_.ok(); });
  return status_;
}

void Syncer::Fail(base::Status status) {
  std::lock_guard lock(mutex_);
  FailLocked(std::move(status));
}

void Syncer::FailLocked(base::Status status) {
  if (status_.ok()) status_ = std::move(status);
  failed_.store(true, std::memory_order_release);
  done_.notify_all();
}

void Syncer::SetCurrent(std::shared_ptr<File> file) {
  std::lock_guard lock(mutex_);
  rolled_.push_back(std::move(current_));
  current_ = std::move(file);
  directory_dirty_ = true;
}

void Syncer::WantSpare() {
  {
    std::lock_guard lock(mutex_);
    if (!spares_.empty() || spare_wanted_) return;
    spare_wanted_ = true;
  }
  work_.notify_one();
}

std::optional<Spare> Syncer::TakeSpare() {
  std::lock_guard lock(mutex_);
  if (spares_.empty()) return std::nullopt;
  Spare spare = std::move(spares_.back());
  spares_.pop_back();
  return spare;
}

void Syncer::Retire(std::string path, bool usual_size) {
  {
    std::lock_guard lock(mutex_);
    retired_.push_back({std::move(path), usual_size});
  }
  work_.notify_one();
}

void Syncer::Run() {
  std::unique_lock lock(mutex_);
  // Under steady load a sync is always wanted: one other piece of work may come between any two.
  bool synced = false;
  for (;;) {
    work_.wait(lock, [&] {
      if (stopping_) return true;
      return status_.ok() && (target_ > durable() || !retired_.empty() || spare_wanted_);
    });
    if (stopping_) return;
    const bool other_work = spare_wanted_ || !retired_.empty();
    if (target_ > durable() && !(synced && other_work)) {
      ServeSync(lock);
      synced = true;
      continue;
    }
    synced = false;
    if (spare_wanted_) {
      ServeSpare(lock);
    } else {
      ServeRetired(lock);
    }
  }
}

void Syncer::ServeSync(std::unique_lock<std::mutex>& lock) {
  // Under one lock: all bytes below the target are in these files or were synced earlier.
  const Position target = target_;
  std::vector<std::shared_ptr<File>> files = std::move(rolled_);
  rolled_.clear();
  files.push_back(current_);
  const bool directory_dirty = std::exchange(directory_dirty_, false);
  lock.unlock();

  base::Status status;
  for (const auto& file : files) {
    status = file->SyncData();
    if (!status.ok()) break;
  }
  if (status.ok() && directory_dirty) status = io_->SyncDirectory(dir_);
  files.clear();  // a file's last handle closes outside the lock

  lock.lock();
  if (!status.ok()) {
    sync_failed_.store(true, std::memory_order_release);
    FailLocked(std::move(status));
  } else if (status_.ok()) {
    // Not after a failed write, though these bytes are safe: whoever sees durable() grow must not
    // conclude that the log works.
    durable_.store(target, std::memory_order_release);
  }
  done_.notify_all();
  if (on_durable_) {
    lock.unlock();
    on_durable_();
    lock.lock();
  }
}

std::string Syncer::NewSparePath() {
  return dir_ + "/" + SpareName(spare_number_++);
}

void Syncer::ServeSpare(std::unique_lock<std::mutex>& lock) {
  spare_wanted_ = false;
  const std::string path = NewSparePath();
  lock.unlock();
  auto file = io_->Open(path, OpenMode::kCreate);
  bool ready = file.ok();
  if (ready && !(*file)->Allocate(segment_bytes_).ok()) {
    // No space, say. Not a failure yet: the log goes on while its segment lasts, and space may come
    // back; if not, the roll itself fails and says why.
    ready = false;
    (void)io_->Unlink(path).ok();
  }
  lock.lock();
  if (ready) spares_.push_back({path, std::shared_ptr<File>(std::move(*file)), false});
}

void Syncer::ServeRetired(std::unique_lock<std::mutex>& lock) {
  const Retired retired = std::move(retired_.front());
  retired_.erase(retired_.begin());
  const bool keep = retired.usual_size && spares_.size() < kSparesMax;
  const std::string spare_path = keep ? NewSparePath() : "";
  lock.unlock();

  // The directory is synced after each, so that no power cut brings back an older segment without
  // its successor, or an old name for a file that holds a new segment's bytes by then.
  base::Status status = keep ? io_->Rename(retired.path, spare_path) : io_->Unlink(retired.path);
  if (status.ok()) status = io_->SyncDirectory(dir_);
  std::shared_ptr<File> file;
  if (status.ok() && keep) {
    auto opened = io_->Open(spare_path, OpenMode::kWrite);
    if (opened.ok()) {
      file = std::move(*opened);
    } else {
      // A new one will be made when one is wanted.
      (void)io_->Unlink(spare_path).ok();
    }
  }

  lock.lock();
  if (!status.ok()) {
    FailLocked(std::move(status));
    if (on_durable_) {
      lock.unlock();
      on_durable_();
      lock.lock();
    }
    return;
  }
  if (file != nullptr) spares_.push_back({spare_path, std::move(file), true});
}

}  // namespace polyarch::log
