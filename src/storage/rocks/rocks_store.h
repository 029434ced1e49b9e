// The store on RocksDB: a column family for each Family, no write-ahead log, atomic flushes. A
// thread of its own applies the batches in their order, so that Write and Flush never block the
// caller, and each batch sorted by key, which is what makes RocksDB cheap.
//
// Why a crash keeps a prefix: a batch is one RocksDB write; memtables are switched between writes,
// those of all families together (atomic_flush); a flush enters the manifest as one record.
//
// One thread, except on_progress, which the store's thread calls, and CopyTo.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "storage/store.h"

namespace polyarch::storage {

class RocksStore final : public Store {
 public:
  struct Options {
    std::string dir;  // made if it is missing; its parent exists
    // A family's memtable; the first that is full makes RocksDB flush all.
    size_t write_buffer_bytes = 64 << 20;
    size_t block_cache_bytes = 32 << 20;
    // Called when batches were applied, a flush was served, or the store failed. Must not block,
    // and call nothing of the store but flushed(), pending_bytes() and status().
    std::function<void()> on_progress;
  };

  // One line that says what is wrong: kCorrupt, kBusy (another process has it open), kIncompatible
  // (made by a newer version), kFull or kIo.
  static base::Result<std::unique_ptr<RocksStore>> Open(Options options);
  // Stops without applying what is pending. What is applied but not flushed may or may not survive.
  ~RocksStore() override;
  RocksStore(const RocksStore&) = delete;
  RocksStore& operator=(const RocksStore&) = delete;

  void Write(Batch batch) override;
  uint64_t Flush() override;
  uint64_t flushed() const override;
  size_t pending_bytes() const override;
  base::Status status() const override;
  // Scan and Get wait until what was written before is applied.
  base::Status Scan(Family family,
                    const std::function<bool(std::string_view, std::string_view)>& visit) override;
  using Store::StartRead;
  uint64_t StartRead(Family family,
                     std::string after,
                     size_t bytes_max,
                     Prepare prepare) override;
  std::optional<Slice> TakeRead(uint64_t ticket) override;
  void DropRead(uint64_t ticket) override;
  base::Result<std::string> Get(Family family, std::string_view key) override;

  // Makes a store of its own in `dir`, which does not exist yet, from what is applied at some
  // moment of the call: a prefix of the batches, as after a crash. Files that never change are hard
  // links if `dir` is on the same file system, else copies. Meanwhile there may be a directory
  // DIR.copy beside the store; what a crash leaves of it goes at the next Open. Blocks, for as long as
  // all this takes, or until `cancelled`, which is looked at between two files; the batches wait for a
  // flush. For any thread, beside all other calls; the store
  // must not be closed meanwhile.
  base::Status CopyTo(const std::string& dir, const std::atomic<bool>* cancelled = nullptr);

 private:
  class Impl;  // keeps RocksDB's headers behind this door
  explicit RocksStore(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace polyarch::storage
