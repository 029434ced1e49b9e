// An Io that can lose power and fail, over real files. It plays the page cache: what was written
// but not yet synced is in its memory only, and reads see it; SyncData moves a file's dirty pages
// into the real file. Names behave alike: creations, renames and unlinks reach the real directory,
// in their order, with SyncDirectory. So the death of the process at any moment *is* a power cut,
// and a real server can run on it.
//
// The worst that hardware may do is in PowerCut: any subset of the unsynced pages survives, each
// whole or torn at a sector or at a byte, and any prefix of the unsynced changes of names. After a
// failed SyncData the pages count as clean, as on ext4, XFS and btrfs: readable, but no later sync
// writes them unless they are written again.
//
// Files that exist when their directory is first touched count as synced. No other process may
// change the directory meanwhile. Thread-safe.
#pragma once

#include <cerrno>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "log/io.h"

namespace polyarch::log {

class FaultyIo final : public Io {
 public:
  struct Options {
    uint64_t seed = 1;
    // The power goes with this operation (counted from 1 over all writes, allocations, syncs,
    // creations, renames and unlinks); 0: never by itself.
    uint64_t cut_at_operation = 0;
    // PowerCut ends the process. Otherwise every later call fails with kIo.
    bool abort_on_cut = false;
  };

  explicit FaultyIo(Options options);
  ~FaultyIo() override;
  FaultyIo(const FaultyIo&) = delete;
  FaultyIo& operator=(const FaultyIo&) = delete;

  // The power goes now.
  void PowerCut();
  // The n-th from now (from 1) SyncData or SyncDirectory fails; 0 switches it off.
  void FailSync(uint64_t n, int error = EIO);
  // The n-th from now WriteAt or Allocate fails; a write fails after a part of its bytes.
  void FailWrite(uint64_t n, int error = ENOSPC);

  // Operations so far, counted as for cut_at_operation.
  uint64_t operations() const;

  base::Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  base::Status Rename(const std::string& from, const std::string& to) override;
  base::Status Unlink(const std::string& path) override;
  base::Status SyncDirectory(const std::string& dir) override;
  base::Result<std::vector<std::string>> List(const std::string& dir) override;

 private:
  struct Inode;
  class Handle;
  // A change of names that is not yet in the real directory: the inode gets the name `to`, or none.
  struct NameChange {
    std::shared_ptr<Inode> inode;
    std::string to;
  };
  struct Failure {
    uint64_t countdown = 0;
    int error = 0;
    bool Due() { return countdown > 0 && --countdown == 0; }
  };

  // All of these with the mutex held.
  base::Status Count();
  base::Status LoadDirectory(const std::string& dir);
  base::Result<std::shared_ptr<Inode>> Find(const std::string& path);
  base::Status ApplyNameChange(const NameChange& change);
  void Cut();

  const Options options_;
  mutable std::mutex mutex_;
  base::Random random_;
  bool dead_ = false;
  uint64_t operations_ = 0;
  uint64_t hidden_names_ = 0;
  Failure sync_failure_;
  Failure write_failure_;
  std::set<std::string> directories_;  // those loaded
  std::map<std::string, std::shared_ptr<Inode>> files_;
  std::map<std::string, std::vector<NameChange>> name_changes_;  // by directory
};

// For a server under test: the power goes at the given operation, and the process with it (0: when
// someone kills the process).
std::unique_ptr<Io> MakePowerCutIo(uint64_t seed, uint64_t cut_at_operation);

}  // namespace polyarch::log
