#include "storage/rocks/rocks_store.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <sys/resource.h>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/options.h>
#include <rocksdb/rate_limiter.h>
#include <rocksdb/slice.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/write_batch.h>

#include "base/check.h"
#include "base/remedy.h"

namespace polyarch::storage {

namespace {

// By Family. On disk for ever.
constexpr std::array<const char*, kFamilies> kFamilyNames = {"data",   "expiry", "meta",
                                                          "ledger", "staged", "spool"};

constexpr int kOpenFilesMax = 512;
constexpr int64_t kWriteBytesPerSecondMax = 256 << 20;

// One by one, as std::filesystem::copy does in one go. False if it was cancelled between two, or failed.
bool CopyFiles(const std::string& from, const std::string& to, const std::atomic<bool>* cancelled, std::error_code& error) {
  std::filesystem::create_directory(to, error);
  for (auto it = std::filesystem::directory_iterator(from, error);
       !error && it != std::filesystem::directory_iterator();
       it.increment(error)) {
    if (cancelled != nullptr && cancelled->load()) return false;
    std::filesystem::copy_file(it->path(), std::filesystem::path(to) / it->path().filename(), error);
    if (error) break;
  }
  return !error;
}

base::Status ToStatus(const rocksdb::Status& status, std::string_view what) {
  base::Code code = base::Code::kIo;
  if (status.IsCorruption()) code = base::Code::kCorrupt;
  if (status.IsNoSpace() || status.subcode() == rocksdb::Status::kSpaceLimit)
    code = base::Code::kFull;
  std::string message(what);
  message.append(": ").append(status.ToString());
  std::replace(message.begin(), message.end(), '\n', ' ');
  return {code, std::move(message)};
}

base::Status OpenStatus(const rocksdb::Status& status, const std::string& dir) {
  const std::string text = status.ToString();
  const auto says = [&](std::string_view part) {
    return text.find(part) != std::string::npos;
  };
  if (says("lock ") && says("LOCK")) {
    return {base::Code::kBusy, "the store in " + dir + " is in use by another process: stop that one or give another --dir"};
  }
  if (status.IsNotSupported() || says("Column families not opened")) {
    return {
        base::Code::kIncompatible,
        "the store in " + dir + " was written by a newer version: run that version (" + text + ")"};
  }
  base::Status result = ToStatus(status, "cannot open the store in " + dir);
  if (result.code() != base::Code::kCorrupt) return result;
  return base::Corrupt(result.message() + std::string(base::kDirectoryRemedy));
}

rocksdb::Slice ToSlice(std::string_view v) {
  return {v.data(), v.size()};
}
std::string_view ToView(const rocksdb::Slice& s) {
  return {s.data(), s.size()};
}

rocksdb::CompressionType Compression() {
  for (const rocksdb::CompressionType type : rocksdb::GetSupportedCompressions()) {
    if (type == rocksdb::kLZ4Compression) return type;
  }
  return rocksdb::kNoCompression;
}

// Whatever the store does can wait a little, but not for ever; the thread that answers clients cannot.
// Above the niceness that the process has.
constexpr int kStoreNice = 5;
constexpr int kCompactionNice = 10;

// The calling thread's: on Linux these are priorities of threads. What is refused does not matter.
int Nice() { return ::getpriority(PRIO_PROCESS, 0); }
void SetNice(int nice) { (void)::setpriority(PRIO_PROCESS, 0, nice); }

class NiceListener final : public rocksdb::EventListener {
 public:
  explicit NiceListener(int base) : base_(base) {}
  void OnFlushBegin(rocksdb::DB*, const rocksdb::FlushJobInfo&) override {
    SetNice(base_ + kStoreNice);
  }
  void OnCompactionBegin(rocksdb::DB*, const rocksdb::CompactionJobInfo&) override {
    SetNice(base_ + kCompactionNice);
  }

 private:
  const int base_;
};

rocksdb::ReadOptions VerifiedRead() {
  rocksdb::ReadOptions read;
  read.verify_checksums = true;
  return read;
}

}  // namespace

class RocksStore::Impl {
 public:
  using Prepare = Store::Prepare;
  explicit Impl(Options options) : options_(std::move(options)) {}

  ~Impl() {
    if (thread_.joinable()) {
      {
        std::lock_guard lock(mutex_);
        stopping_ = true;
      }
      work_.notify_one();
      thread_.join();
    }
    for (auto* family : families_)
      (void)db_->DestroyColumnFamilyHandle(family).ok();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  base::Status Open() {
    rocksdb::DBOptions db;
    db.create_if_missing = true;
    db.create_missing_column_families = true;
    db.atomic_flush = true;
    // What is not flushed may be lost anyway; so closing is quick, and like a crash.
    db.avoid_flush_during_shutdown = true;
    // The first failure is final: RocksDB is not to try again behind our back.
    db.max_bgerror_resume_count = 0;
    db.paranoid_checks = true;
    db.verify_sst_unique_id_in_manifest = true;
    // Not db_write_buffer_size, which would bound all families together: with atomic_flush,
    // RocksDB 7.8 at that bound flushes nearly empty memtables again and again (measured: over 20
    // times slower).
    db.max_background_jobs = 2;
    db.listeners.push_back(std::make_shared<NiceListener>(Nice()));
    db.max_open_files = kOpenFilesMax;
    db.bytes_per_sync = 1 << 20;
    // The log's syncs queue behind what is written here at once. RocksDB finds the rate that
    // suffices, below this bound.
    db.rate_limiter.reset(rocksdb::NewGenericRateLimiter(kWriteBytesPerSecondMax,
                                                         /*refill_period_us=*/100'000,
                                                         /*fairness=*/10,
                                                         rocksdb::RateLimiter::Mode::kWritesOnly,
                                                         /*auto_tuned=*/true));
    db.keep_log_file_num = 2;
    db.max_log_file_size = 1 << 20;
    db.info_log_level = rocksdb::WARN_LEVEL;
    db.max_manifest_file_size = 16 << 20;
    db.stats_dump_period_sec = 0;
    db.stats_persist_period_sec = 0;

    rocksdb::BlockBasedTableOptions table;
    table.block_cache = rocksdb::NewLRUCache(options_.block_cache_bytes);
    table.cache_index_and_filter_blocks = true;
    table.pin_l0_filter_and_index_blocks_in_cache = true;
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
    table.format_version = 5;
    table.checksum = rocksdb::kXXH3;
    table.verify_compression = true;

    rocksdb::ColumnFamilyOptions family;
    family.write_buffer_size = options_.write_buffer_bytes;
    family.compression = Compression();
    family.level_compaction_dynamic_level_bytes = true;
    family.force_consistency_checks = true;
    family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));

    // RocksDB insists that its default family is opened; it stays empty.
    std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
    descriptors.emplace_back(rocksdb::kDefaultColumnFamilyName, family);
    for (const char* name : kFamilyNames)
      descriptors.emplace_back(name, family);

    std::error_code ignored;
    std::filesystem::remove_all(LinksDir(), ignored);  // of a copy that a crash ended

    rocksdb::DB* opened = nullptr;
    const rocksdb::Status status =
        rocksdb::DB::Open(db, options_.dir, descriptors, &families_, &opened);
    if (!status.ok()) return OpenStatus(status, options_.dir);
    db_.reset(opened);
    thread_ = std::thread([this] { Run(); });
    return {};
  }

  void Write(Batch batch) {
    if (!batch.empty()) Push(std::move(batch));
  }

  uint64_t Flush() {
    const uint64_t ticket = ++tickets_;
    Push(ticket);
    return ticket;
  }

  uint64_t flushed() const { return flushed_.load(std::memory_order_acquire); }
  size_t pending_bytes() const { return pending_bytes_.load(std::memory_order_relaxed); }
  base::Status status() const {
    std::lock_guard lock(mutex_);
    return status_;
  }

  base::Status Scan(Family family,
                    const std::function<bool(std::string_view, std::string_view)>& visit) {
    if (base::Status s = WaitUntilApplied(); !s.ok()) return s;
    rocksdb::ReadOptions read = VerifiedRead();
    read.fill_cache = false;
    read.readahead_size = 1 << 20;
    const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(read, Handle(family)));
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      if (!visit(ToView(it->key()), ToView(it->value()))) break;
    }
    if (!it->status().ok()) return ReadStatus(it->status());
    return {};
  }

  base::Result<std::string> Get(Family family, std::string_view key) {
    if (base::Status s = WaitUntilApplied(); !s.ok()) return s;
    std::string value;
    const rocksdb::Status status = db_->Get(VerifiedRead(), Handle(family), ToSlice(key), &value);
    if (status.IsNotFound()) return base::NotFound("no such row");
    if (!status.ok()) return ReadStatus(status);
    return value;
  }

  base::Status CopyTo(const std::string& dir, const std::atomic<bool>* cancelled) {
    const std::lock_guard one_at_a_time(copy_mutex_);
    std::error_code error;
    if (std::filesystem::exists(dir, error) || error) {
      return base::Invalid("cannot copy the store to " + dir + ": it is there already");
    }
    const std::string links = LinksDir();
    std::filesystem::remove_all(links, error);  // of a copy that a crash ended
    Push(Copy{links});
    {
      std::unique_lock lock(mutex_);
      copied_.wait(lock, [&] { return copy_made_.has_value() || !status_.ok(); });
      if (!copy_made_) return status_;
      const base::Status made = *std::exchange(copy_made_, std::nullopt);
      if (!made.ok()) return made;
    }
    std::filesystem::rename(links, dir, error);
    if (error == std::errc::cross_device_link) {
      error.clear();
      const bool whole = CopyFiles(links, dir, cancelled, error);
      std::error_code ignored;
      std::filesystem::remove_all(links, ignored);
      if (!whole && !error) return base::Status(base::Code::kBusy, "the copy of the store was cancelled");
    }
    if (!error) return {};
    // They would hold what the store has deleted.
    std::error_code left;
    std::filesystem::remove_all(links, left);
    return base::IoError("cannot copy the store to " + dir + ": " + error.message());
  }

  uint64_t StartRead(Family family, std::string after, size_t bytes_max, Prepare prepare) {
    const uint64_t ticket = ++reads_started_;
    Push(Read{ticket, family, std::move(after), bytes_max, std::move(prepare)});
    return ticket;
  }

  void DropRead(uint64_t ticket) {
    std::lock_guard lock(mutex_);
    if (reads_done_.erase(ticket) == 0) reads_dropped_.insert(ticket);
  }

  std::optional<Slice> TakeRead(uint64_t ticket) {
    std::lock_guard lock(mutex_);
    auto it = reads_done_.find(ticket);
    if (it == reads_done_.end()) {
      if (status_.ok()) return std::nullopt;
      Slice failed;
      failed.status = status_;
      return failed;
    }
    Slice slice = std::move(it->second);
    reads_done_.erase(it);
    return slice;
  }

 private:
  struct Read {
    uint64_t ticket = 0;
    Family family = Family::kData;
    std::string after;
    size_t bytes_max = 0;
    Prepare prepare;
  };
  struct Copy {
    std::string dir;
  };
  using Item = std::variant<Batch, uint64_t, Read, Copy>;  // a batch, a flush's ticket, ...

  // A row that cannot be read is never "not found", and whatever RocksDB calls it, it is damaged: a
  // missing or truncated file is an IO error to it.
  base::Status ReadStatus(const rocksdb::Status& status) const {
    return base::Corrupt(ToStatus(status, "cannot read the store in " + options_.dir).message());
  }

  rocksdb::ColumnFamilyHandle* Handle(Family family) const {
    return families_[static_cast<size_t>(family) + 1];
  }

  void Push(Item item) {
    {
      std::lock_guard lock(mutex_);
      if (!status_.ok()) return;
      if (const auto* batch = std::get_if<Batch>(&item)) {
        pending_bytes_.fetch_add(batch->bytes(), std::memory_order_relaxed);
      }
      queue_.push_back(std::move(item));
    }
    work_.notify_one();
  }

  base::Status WaitUntilApplied() {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] { return (queue_.empty() && !busy_) || !status_.ok(); });
    return status_;
  }

  void Run() {
    SetNice(Nice() + kStoreNice);  // a thread begins with its maker's
    std::unique_lock lock(mutex_);
    for (;;) {
      work_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      Item item = std::move(queue_.front());
      queue_.pop_front();
      busy_ = true;
      lock.unlock();
      base::Status status = Serve(std::move(item));
      lock.lock();
      busy_ = false;
      if (!status.ok()) {
        // Nothing may be applied behind a hole.
        status_ = std::move(status);
        queue_.clear();
        pending_bytes_.store(0, std::memory_order_relaxed);
        copied_.notify_all();
      }
      if (queue_.empty()) idle_.notify_all();
      if (options_.on_progress) {
        lock.unlock();
        options_.on_progress();
        lock.lock();
      }
    }
  }

  base::Status Serve(Item item) {
    if (auto* batch = std::get_if<Batch>(&item)) {
      const size_t bytes = batch->bytes();
      base::Status status = Apply(*batch);
      if (status.ok()) pending_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
      return status;
    }
    if (const auto* read = std::get_if<Read>(&item)) {
      {
        std::lock_guard lock(mutex_);
        if (reads_dropped_.erase(read->ticket) != 0) return {};
      }
      Slice slice = ReadSlice(*read);
      if (!slice.rows.empty()) slice.last_key = slice.rows.back().first;
      if (read->prepare && slice.status.ok()) read->prepare(slice);
      std::lock_guard lock(mutex_);
      if (reads_dropped_.erase(read->ticket) == 0) reads_done_[read->ticket] = std::move(slice);
      return {};  // an unreadable row is the reader's concern
    }
    if (const auto* copy = std::get_if<Copy>(&item)) {
      base::Status made = MakeLinks(copy->dir);
      {
        const std::lock_guard lock(mutex_);
        copy_made_ = std::move(made);
      }
      copied_.notify_all();
      return {};  // whether it could be made is the copier's concern
    }
    if (base::Status s = FlushAll(); !s.ok()) return s;
    flushed_.store(std::get<uint64_t>(item), std::memory_order_release);
    return {};
  }

  base::Status FlushAll() {
    rocksdb::FlushOptions flush;
    flush.wait = true;
    flush.allow_write_stall = true;
    const rocksdb::Status status = db_->Flush(flush, families_);
    return status.ok() ? base::Status() : ToStatus(status, "cannot flush the store");
  }

  // On the thread that applies the batches, since nothing may be written meanwhile: RocksDB 7.8 chooses
  // the families to flush before it keeps writers out, so a batch under way would be torn. Hard links
  // beside the store make it short, wherever the copy is to go.
  base::Status MakeLinks(const std::string& dir) {
    if (base::Status s = FlushAll(); !s.ok()) return s;
    rocksdb::Checkpoint* made = nullptr;
    rocksdb::Status status = rocksdb::Checkpoint::Create(db_.get(), &made);
    const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
    constexpr uint64_t kNoFlush = std::numeric_limits<uint64_t>::max();
    if (status.ok()) status = checkpoint->CreateCheckpoint(dir, kNoFlush);
    return status.ok() ? base::Status() : ToStatus(status, "cannot copy the store to " + dir);
  }

  std::string LinksDir() const { return options_.dir + ".copy"; }

  Slice ReadSlice(const Read& read) {
    rocksdb::ReadOptions options = VerifiedRead();
    options.fill_cache = false;
    options.readahead_size = 256 << 10;
    const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options, Handle(read.family)));
    Slice slice;
    size_t bytes = 0;
    if (read.after.empty()) {
      it->SeekToFirst();
    } else {
      it->Seek(read.after);
      if (it->Valid() && ToView(it->key()) == read.after) it->Next();
    }
    for (; it->Valid(); it->Next()) {
      const size_t row = it->key().size() + it->value().size();
      if (!slice.rows.empty() && bytes + row > read.bytes_max) return slice;
      bytes += row;
      slice.rows.emplace_back(ToView(it->key()), ToView(it->value()));
    }
    slice.at_end = true;
    if (!it->status().ok()) slice.status = ReadStatus(it->status());
    return slice;
  }

  base::Status Apply(Batch& batch) {
    std::vector<const Batch::Operation*> operations;
    operations.reserve(batch.operations().size());
    for (const Batch::Operation& operation : batch.operations())
      operations.push_back(&operation);
    // Stable, so that of several operations on one key the last stays the last.
    std::stable_sort(operations.begin(), operations.end(), [](const auto* a, const auto* b) {
      return a->family != b->family ? a->family < b->family : a->key < b->key;
    });
    rocksdb::WriteBatch out(batch.bytes() + operations.size() * 16);
    for (Family family : batch.cleared()) {
      // Beyond every key: keys are at most 64 KiB and a header, and none begins with so many 0xff.
      const std::string end(16, '\xff');
      const rocksdb::Status added = out.DeleteRange(Handle(family), "", end);
      if (!added.ok()) return ToStatus(added, "cannot write to the store");
    }
    for (const auto& [family, prefix] : batch.cleared_prefixes()) {
      const rocksdb::Status added = out.DeleteRange(Handle(family), prefix, EndOfPrefix(prefix));
      if (!added.ok()) return ToStatus(added, "cannot write to the store");
    }
    for (size_t i = 0; i < operations.size(); ++i) {
      const Batch::Operation& operation = *operations[i];
      if (i + 1 < operations.size() && operations[i + 1]->family == operation.family &&
          operations[i + 1]->key == operation.key) {
        continue;
      }
      const rocksdb::Status added =
          operation.is_delete ? out.Delete(Handle(operation.family), operation.key)
                              : out.Put(Handle(operation.family), operation.key, operation.value);
      if (!added.ok()) return ToStatus(added, "cannot write to the store");
    }
    rocksdb::WriteOptions write;
    write.disableWAL = true;
    const rocksdb::Status status = db_->Write(write, &out);
    return status.ok() ? base::Status() : ToStatus(status, "cannot write to the store");
  }

  const Options options_;
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> families_;  // the default one, then by Family

  std::atomic<size_t> pending_bytes_ = 0;
  std::atomic<uint64_t> flushed_ = 0;
  uint64_t tickets_ = 0;  // the caller's
  uint64_t reads_started_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable idle_;
  std::deque<Item> queue_;
  std::map<uint64_t, Slice> reads_done_;
  std::set<uint64_t> reads_dropped_;  // not done yet
  std::mutex copy_mutex_;
  std::condition_variable copied_;
  std::optional<base::Status> copy_made_;
  bool busy_ = false;  // the thread has an item in hand
  bool stopping_ = false;
  base::Status status_;

  std::thread thread_;
};

base::Result<std::unique_ptr<RocksStore>> RocksStore::Open(Options options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  if (base::Status s = impl->Open(); !s.ok()) return s;
  return std::unique_ptr<RocksStore>(new RocksStore(std::move(impl)));
}

RocksStore::RocksStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RocksStore::~RocksStore() = default;

void RocksStore::Write(Batch batch) {
  impl_->Write(std::move(batch));
}
uint64_t RocksStore::Flush() {
  return impl_->Flush();
}
uint64_t RocksStore::flushed() const {
  return impl_->flushed();
}
size_t RocksStore::pending_bytes() const {
  return impl_->pending_bytes();
}
base::Status RocksStore::status() const {
  return impl_->status();
}
base::Status RocksStore::Scan(
    Family family, const std::function<bool(std::string_view, std::string_view)>& visit) {
  return impl_->Scan(family, visit);
}
uint64_t RocksStore::StartRead(Family family,
                               std::string after,
                               size_t bytes_max,
                               Prepare prepare) {
  return impl_->StartRead(family, std::move(after), bytes_max, std::move(prepare));
}
void RocksStore::DropRead(uint64_t ticket) {
  impl_->DropRead(ticket);
}
std::optional<Slice> RocksStore::TakeRead(uint64_t ticket) {
  return impl_->TakeRead(ticket);
}
base::Result<std::string> RocksStore::Get(Family family, std::string_view key) {
  return impl_->Get(family, key);
}
base::Status RocksStore::CopyTo(const std::string& dir, const std::atomic<bool>* cancelled) {
  return impl_->CopyTo(dir, cancelled);
}

}  // namespace polyarch::storage
