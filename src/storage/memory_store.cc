#include "storage/memory_store.h"

#include <utility>

#include "base/check.h"

namespace polyarch::storage {

void MemoryStoreDisk::Apply(size_t count) {
  CHECK(count <= unflushed.size());
  for (; count > 0; --count) {
    for (Family family : unflushed.front().cleared())
      rows[static_cast<size_t>(family)].clear();
    for (const auto& [of, prefix] : unflushed.front().cleared_prefixes()) {
      Rows& family = rows[static_cast<size_t>(of)];
      family.erase(family.lower_bound(prefix), family.lower_bound(EndOfPrefix(prefix)));
    }
    for (Batch::Operation& operation : unflushed.front().operations()) {
      Rows& family = rows[static_cast<size_t>(operation.family)];
      if (operation.is_delete) {
        family.erase(operation.key);
      } else {
        family.insert_or_assign(std::move(operation.key), std::move(operation.value));
      }
    }
    unflushed.pop_front();
  }
}

void MemoryStoreDisk::Crash(base::Random& random) {
  Apply(random.Below(unflushed.size() + 1));
  unflushed.clear();
}

MemoryStore::MemoryStore(std::shared_ptr<MemoryStoreDisk> disk) : disk_(std::move(disk)) {
  // A disk copied from a running node has some; they are this store's to flush.
  written_ = disk_->unflushed.size();
  for (const Batch& batch : disk_->unflushed)
    Lay(batch);
}

void MemoryStore::Lay(const Batch& batch) {
  for (Family family : batch.cleared()) {
    Overlay& overlay = overlay_[static_cast<size_t>(family)];
    for (auto& [key, value] : overlay)
      value.reset();
    for (const auto& [key, value] : disk_->rows[static_cast<size_t>(family)])
      overlay[key].reset();
  }
  for (const auto& [family, prefix] : batch.cleared_prefixes()) {
    Overlay& overlay = overlay_[static_cast<size_t>(family)];
    const std::string end = EndOfPrefix(prefix);
    for (auto it = overlay.lower_bound(prefix); it != overlay.end() && it->first < end; ++it)
      it->second.reset();
    const auto& rows = disk_->rows[static_cast<size_t>(family)];
    for (auto it = rows.lower_bound(prefix); it != rows.end() && it->first < end; ++it)
      overlay[it->first].reset();
  }
  for (const Batch::Operation& operation : batch.operations()) {
    auto& value = overlay_[static_cast<size_t>(operation.family)][operation.key];
    if (operation.is_delete) {
      value.reset();
    } else {
      value = operation.value;
    }
  }
}

void MemoryStore::Write(Batch batch) {
  if (!status_.ok() || batch.empty()) return;
  Lay(batch);
  disk_->unflushed.push_back(std::move(batch));
  ++written_;
}

uint64_t MemoryStore::Flush() {
  flushes_.push_back(written_);
  return flushed_ + flushes_.size();
}

void MemoryStore::CompleteFlush() {
  if (flushes_.empty() || !status_.ok()) return;
  if (fail_flushes_) {
    status_ = base::IoError("the flush of the store failed");
    return;
  }
  const uint64_t target = flushes_.front();
  flushes_.pop_front();
  ++flushed_;
  if (target == applied_) return;
  disk_->Apply(target - applied_);
  applied_ = target;
  for (Overlay& overlay : overlay_)
    overlay.clear();
  for (const Batch& batch : disk_->unflushed)
    Lay(batch);
}

base::Status MemoryStore::Scan(
    Family family, const std::function<bool(std::string_view, std::string_view)>& visit) {
  const auto& rows = disk_->rows[static_cast<size_t>(family)];
  const auto& overlay = overlay_[static_cast<size_t>(family)];
  auto row = rows.begin();
  auto over = overlay.begin();
  while (row != rows.end() || over != overlay.end()) {
    if (over == overlay.end() || (row != rows.end() && row->first < over->first)) {
      if (!visit(row->first, row->second)) return {};
      ++row;
      continue;
    }
    if (row != rows.end() && row->first == over->first) ++row;
    if (over->second && !visit(over->first, *over->second)) return {};
    ++over;
  }
  return {};
}

uint64_t MemoryStore::StartRead(Family family,
                                std::string after,
                                size_t bytes_max,
                                Prepare prepare) {
  reads_[next_read_] = {family, std::move(after), bytes_max, std::move(prepare)};
  return next_read_++;
}

std::optional<Slice> MemoryStore::TakeRead(uint64_t ticket) {
  auto it = reads_.find(ticket);
  if (it == reads_.end() || slow_) return std::nullopt;
  const Read read = std::move(it->second);
  reads_.erase(it);
  Slice slice;
  slice.at_end = true;
  size_t bytes = 0;
  bool damaged = false;
  slice.status = Scan(read.family, [&](std::string_view key, std::string_view value) {
    if (!read.after.empty() && key <= read.after) return true;
    if (damaged_ == std::pair(read.family, std::string(key))) {
      damaged = true;
      return false;
    }
    if (!slice.rows.empty() && bytes + key.size() + value.size() > read.bytes_max) {
      slice.at_end = false;
      return false;
    }
    bytes += key.size() + value.size();
    slice.rows.emplace_back(key, value);
    return true;
  });
  if (damaged) slice.status = base::Corrupt("a row is damaged");
  if (!slice.rows.empty()) slice.last_key = slice.rows.back().first;
  if (read.prepare && slice.status.ok()) read.prepare(slice);
  return slice;
}

base::Result<std::string> MemoryStore::Get(Family family, std::string_view key) {
  const auto& overlay = overlay_[static_cast<size_t>(family)];
  if (const auto it = overlay.find(key); it != overlay.end()) {
    if (!it->second) return base::NotFound("no such row");
    return *it->second;
  }
  const auto& rows = disk_->rows[static_cast<size_t>(family)];
  const auto it = rows.find(key);
  if (it == rows.end()) return base::NotFound("no such row");
  return it->second;
}

}  // namespace polyarch::storage
