// Rows on disk, brought up to date by checkpoints. There is no write-ahead log here: the log room is
// it. What was written since the last flush may be lost by a crash, but only as a suffix of the order
// of writes, and a batch is kept whole or lost whole, across families. Recovery counts on exactly that.
//
// Used by one thread (the engine's). Write and Flush return at once; an implementation may work on a
// thread of its own. The first failure is final and shows in status().
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace polyarch::storage {

// kStaged and kSpool hold a state transfer on its way in (engine/transfer.h).
enum class Family : uint8_t { kData, kExpiry, kMeta, kLedger, kStaged, kSpool };
inline constexpr size_t kFamilies = 6;

class Batch {
 public:
  struct Operation {
    Family family;
    bool is_delete;
    std::string key;
    std::string value;
  };
  void Put(Family family, std::string key, std::string value) {
    bytes_ += key.size() + value.size();
    operations_.push_back({family, false, std::move(key), std::move(value)});
  }
  void Delete(Family family, std::string key) {
    bytes_ += key.size();
    operations_.push_back({family, true, std::move(key), {}});
  }
  // Removes every row that the family had before this batch; its own Puts stay.
  void Clear(Family family) { cleared_.push_back(family); }
  // The same for the rows whose keys begin with `prefix` (not empty, its last byte not 0xff).
  void ClearPrefix(Family family, std::string prefix) {
    bytes_ += prefix.size();
    cleared_prefixes_.emplace_back(family, std::move(prefix));
  }
  bool empty() const {
    return operations_.empty() && cleared_.empty() && cleared_prefixes_.empty();
  }
  size_t bytes() const { return bytes_; }
  const std::vector<Operation>& operations() const { return operations_; }
  std::vector<Operation>& operations() { return operations_; }
  const std::vector<Family>& cleared() const { return cleared_; }
  const std::vector<std::pair<Family, std::string>>& cleared_prefixes() const {
    return cleared_prefixes_;
  }

 private:
  std::vector<Family> cleared_;
  std::vector<std::pair<Family, std::string>> cleared_prefixes_;
  std::vector<Operation> operations_;
  size_t bytes_ = 0;
};

// The first key behind all that begin with `prefix`, whose last byte is not 0xff.
inline std::string EndOfPrefix(std::string prefix) {
  prefix.back() = static_cast<char>(static_cast<uint8_t>(prefix.back()) + 1);
  return prefix;
}

// A piece of a family, in key order.
struct Slice {
  std::vector<std::pair<std::string, std::string>> rows;
  bool at_end = false;  // no row follows the last one
  std::string last_key; // the last row that was read; `prepare` may have dropped it from `rows`
  base::Status status;  // kCorrupt when a row cannot be read: the rows before it are there
};

class Store {
 public:
  virtual ~Store() = default;

  // Applied after every batch written before it.
  virtual void Write(Batch batch) = 0;
  // Asks that everything written so far survives a crash. Returns a ticket, rising from 1.
  virtual uint64_t Flush() = 0;
  // The highest ticket that has been served.
  virtual uint64_t flushed() const = 0;
  // Bytes written but not yet applied: the caller holds back its checkpoint above a bound.
  virtual size_t pending_bytes() const = 0;
  virtual base::Status status() const = 0;

  // All rows of a family in key order, as of all writes before; until `visit` returns false. Used at
  // start. kCorrupt when a row cannot be read: never silently skipped.
  virtual base::Status Scan(Family family,
                            const std::function<bool(std::string_view, std::string_view)>& visit) = 0;
  // Reads the rows behind `after` (all, if it is empty), about `bytes_max` bytes of them and at least
  // one, as of some moment between the call and TakeRead. Returns at once, with a ticket: the work
  // is done where it does not hold up the caller. So is `prepare`, which may change what was read; it
  // may run beside the caller, and owns or shares what it needs. Not called when reading has failed.
  using Prepare = std::function<void(Slice&)>;
  virtual uint64_t StartRead(Family family,
                             std::string after,
                             size_t bytes_max,
                             Prepare prepare) = 0;
  uint64_t StartRead(Family family, std::string after, size_t bytes_max) {
    return StartRead(family, std::move(after), bytes_max, nullptr);
  }
  // The result, once; nothing as long as it is not there.
  virtual std::optional<Slice> TakeRead(uint64_t ticket) = 0;
  // The result is not wanted any more.
  virtual void DropRead(uint64_t ticket) = 0;
  // kNotFound when there is no such row.
  virtual base::Result<std::string> Get(Family family, std::string_view key) = 0;
};

}  // namespace polyarch::storage
