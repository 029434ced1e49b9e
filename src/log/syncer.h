// The log's second thread: makes what was written durable, and does the slow work on files that the
// engine's thread must not wait for (preparing the next segment's file, retiring trimmed ones).
//
// The engine's thread says what is written (SetCurrent, Request) and reads durable(); that is an
// atomic load. One sync is in flight at a time; a target set meanwhile is served by the next.
// Before durable() passes a position, every file that holds bytes below it was synced, and the
// directory too if a file was made since. The first failure, here or reported by Fail, is final:
// durable() stands still, nothing is tried again.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "log/io.h"
#include "log/log.h"

namespace polyarch::log {

// A file ready to become a segment, of at least the usual size.
struct Spare {
  std::string path;
  std::shared_ptr<File> file;
  bool recycled = false;  // its bytes are not all zeros
};

class Syncer {
 public:
  // No more than this many retired files are kept.
  static constexpr size_t kSparesMax = 2;

  struct Options {
    Io* io = nullptr;
    std::string dir;
    uint64_t segment_bytes = 0;
    Position durable = 0;
    std::shared_ptr<File> current;
    std::function<void()> on_durable;  // after durable() grew, and after a failure
  };
  explicit Syncer(Options options);
  // Finishes what is in flight, no more.
  ~Syncer();
  Syncer(const Syncer&) = delete;
  Syncer& operator=(const Syncer&) = delete;

  Position durable() const { return durable_.load(std::memory_order_acquire); }
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  base::Status status() const;
  // Was it a sync that failed? What the disk holds behind durable() cannot be known then.
  bool sync_failed() const { return sync_failed_.load(std::memory_order_acquire); }

  // All bytes below `target` are written to their files.
  void Request(Position target);
  // Blocks until durable() reaches `target` (requested before) or the log has failed.
  base::Status Wait(Position target);
  void Fail(base::Status status);

  // From now on bytes go to `file`, which was just made or renamed.
  void SetCurrent(std::shared_ptr<File> file);

  // Asks that a spare be ready soon.
  void WantSpare();
  std::optional<Spare> TakeSpare();
  // The segment at `path` is trimmed: becomes a spare, or is unlinked.
  void Retire(std::string path, bool usual_size);

 private:
  struct Retired {
    std::string path;
    bool usual_size;
  };

  void Run();
  // Each is called with the lock held, and lets go of it while it works.
  void ServeSync(std::unique_lock<std::mutex>& lock);
  void ServeRetired(std::unique_lock<std::mutex>& lock);
  void ServeSpare(std::unique_lock<std::mutex>& lock);
  void FailLocked(base::Status status);
  std::string NewSparePath();

  Io* const io_;
  const std::string dir_;
  const uint64_t segment_bytes_;
  const std::function<void()> on_durable_;

  std::atomic<Position> durable_;
  std::atomic<bool> failed_ = false;
  std::atomic<bool> sync_failed_ = false;

  mutable std::mutex mutex_;
  std::condition_variable work_;  // for the thread
  std::condition_variable done_;  // for Wait
  base::Status status_;
  Position target_;
  std::shared_ptr<File> current_;
  std::vector<std::shared_ptr<File>> rolled_;  // written to the end, not yet synced
  bool directory_dirty_ = false;
  bool spare_wanted_ = false;
  std::vector<Spare> spares_;
  std::vector<Retired> retired_;
  uint64_t spare_number_ = 0;  // only the thread's
  bool stopping_ = false;

  std::thread thread_;
};

}  // namespace polyarch::log
