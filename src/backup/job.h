// One backup of a running leader: a copy of its store and of the log behind it, made by a thread of
// its own while the leader goes on serving.
//
// What makes it consistent. A store never reflects what is not durable in the log, so a copy of the
// store, and the log from that store's checkpoint to any durable end after the copy, recover like a
// directory after a crash. The end is chosen by the leader's thread between two ticks, when it
// knows which VV it has applied there.
//
//   thread   looks at the path, makes PATH.partial
//   leader   makes a checkpoint, so that the log to copy is short; pins the log at its position
//   thread   copies the store
//   leader   notes (end of the log, VV), waits until that is durable; has another leader's state
//   been
//            taken over since the copy was asked for, the store is copied once more: the copy may
//            be older than what the log refers to
//   thread   copies the log up to there, verifies and syncs all, writes the manifest, renames
//
// PATH.partial is never a backup: a directory gets its name when it is whole and on the disk. After
// a failure it is removed; after a crash it stays, and is refused as a target.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "backup/manifest.h"
#include "base/status.h"
#include "storage/rocks/rocks_store.h"

namespace polyarch::backup {

// What can be said of a path without looking at the disk: it is absolute, names one place, and is
// text. The result is without slashes at its end. kInvalid with a line for the user.
base::Result<std::string> CheckPath(std::string_view path);

class Job {
 public:
  struct Options {
    std::string path;            // as from CheckPath
    std::string data_dir;        // the leader's; holds log/
    uint64_t reserve_bytes = 0;  // to be left free there
    Manifest manifest;           // the lines that the leader knows at the start
    std::function<void()> wake;  // the leader's thread should look at wants(); any thread calls it
  };
  // `store` outlives the job. Throws std::system_error when there is no thread to be had.
  Job(Options options, storage::RocksStore& store);
  // Cancels what is not done, and waits for it: at most for one file of the store.
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // For the leader's thread.
  enum class Want { kNothing, kCheckpoint, kCut, kEnd };
  Want wants() const { return wants_.load(std::memory_order_acquire); }
  // Answers kCheckpoint: one has ended, and the log is pinned at its position.
  void HaveCheckpoint(log::Position checkpoint);
  // Answers kCut: this VV is applied at this end of the log, which is durable.
  void HaveCut(log::Position end, std::string vv, int64_t taken_ms);
  // Answers kCut: the log now refers to rows that the copy may lack; copy the store anew and ask
  // again.
  void CopyAgain();
  // It fails for this reason as soon as it can, unless it is whole already. The log need not stay pinned.
  void Cancel(base::Status reason);
  // Once it wants kEnd.
  const base::Result<Manifest>& result() const { return *result_; }

 private:
  void Run();
  base::Result<Manifest> Make();
  base::Status Prepare();
  base::Status CheckSpace(uint64_t bytes) const;
  base::Result<uint64_t> StoreBytes() const;
  base::Status Await(Want want);
  void Answer();
  base::Status AddFiles(const std::string& folder);

  Options options_;
  storage::RocksStore& store_;
  const std::string partial_;
  std::atomic<Want> wants_{Want::kNothing};
  std::atomic<bool> cancelled_{false};
  base::Status reason_ = {base::Code::kBusy, "the leader stops: the backup was given up"};  // of the cancelling; under mutex_
  bool copy_again_ = false;  // written before wants_ is answered
  bool made_partial_ = false;
  bool same_disk_ = false;
  std::optional<base::Result<Manifest>> result_;

  std::mutex mutex_;
  std::condition_variable answered_;
  std::thread thread_;
};

}  // namespace polyarch::backup
