// A store in memory for the simulator and for tests: deterministic, one thread, no time. A flush is
// done when the test says so (CompleteFlush), or fails when it says so.
//
// The disk is a value of its own (MemoryStoreDisk), which outlives the process that used it.
// RocksDB without a write-ahead log loses what is not flushed with its process, so every end of a
// process, a clean one too, is a Crash of the disk before the next MemoryStore opens it. To clone a
// node, to back it up or to bring an old state back, copy the disk.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/random.h"
#include "base/status.h"
#include "storage/store.h"

namespace polyarch::storage {

struct MemoryStoreDisk {
  using Rows = std::map<std::string, std::string, std::less<>>;

  std::array<Rows, kFamilies> rows;  // what is flushed
  std::deque<Batch> unflushed;       // in the order of writing

  // Takes the oldest `count` unflushed batches over into the rows.
  void Apply(size_t count);
  // The process is gone: of what is not flushed a random prefix survives.
  void Crash(base::Random& random);
};

class MemoryStore final : public Store {
 public:
  explicit MemoryStore(std::shared_ptr<MemoryStoreDisk> disk);

  void Write(Batch batch) override;
  uint64_t Flush() override;
  uint64_t flushed() const override { return flushed_; }
  size_t pending_bytes() const override { return 0; }
  base::Status status() const override { return status_; }
  base::Status Scan(Family family,
                    const std::function<bool(std::string_view, std::string_view)>& visit) override;
  // Ready at once: what is read then is as of TakeRead.
  using Store::StartRead;
  uint64_t StartRead(Family family,
                     std::string after,
                     size_t bytes_max,
                     Prepare prepare) override;
  std::optional<Slice> TakeRead(uint64_t ticket) override;
  void DropRead(uint64_t ticket) override { reads_.erase(ticket); }
  base::Result<std::string> Get(Family family, std::string_view key) override;

  // Whether a flush waits for CompleteFlush.
  bool flushing() const { return !flushes_.empty(); }
  // The oldest flush asked for, if any, is done.
  void CompleteFlush();
  // All later flushes fail.
  void FailFlushes() { fail_flushes_ = true; }
  // No read is ready.
  void SetSlow(bool slow) { slow_ = slow; }
  // This row cannot be read by StartRead any more; no key: all can be.
  void Damage(Family family, std::string key) { damaged_ = {family, std::move(key)}; }
  // Reads that were asked for and neither taken nor dropped.
  size_t reads_pending() const { return reads_.size(); }

 private:
  // What the unflushed batches come to, by key; no value: deleted.
  using Overlay = std::map<std::string, std::optional<std::string>, std::less<>>;

  struct Read {
    Family family;
    std::string after;
    size_t bytes_max = 0;
    Prepare prepare;
  };

  void Lay(const Batch& batch);

  const std::shared_ptr<MemoryStoreDisk> disk_;
  std::array<Overlay, kFamilies> overlay_;
  std::map<uint64_t, Read> reads_;
  uint64_t next_read_ = 1;
  uint64_t written_ = 0;          // batches, ever
  uint64_t applied_ = 0;          // of those: taken over into the disk's rows
  std::deque<uint64_t> flushes_;  // those asked for and not done: what was written_ then
  uint64_t flushed_ = 0;
  bool fail_flushes_ = false;
  bool slow_ = false;
  std::pair<Family, std::string> damaged_;
  base::Status status_;
};

}  // namespace polyarch::storage
