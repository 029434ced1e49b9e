// What eviction asks of the keyspace: how much memory there is in use, and which keys there are to choose from.
#include <algorithm>

#include "base/random.h"
#include "keyspace/keyspace.h"

namespace polyarch::keyspace {

namespace {

constexpr size_t kIndexNodeBytes = 64;  // of a std::set, with what the allocator adds
constexpr size_t kRoundedUpBytes = 8;   // classes of 16 bytes: half of one, on average

}  // namespace

size_t Keyspace::overhead_bytes() const {
  return own_overhead_bytes() + (merge_ == nullptr ? 0 : merge_->theirs->own_overhead_bytes());
}

size_t Keyspace::compared_overhead_bytes() const {
  const size_t own = own_overhead_bytes();
  return merge_ == nullptr ? own : std::max(own, merge_->theirs->own_overhead_bytes());
}

size_t Keyspace::own_overhead_bytes() const {
  size_t bytes = expiry_index_.size() * kIndexNodeBytes;
  for (const Table& table : tables_)
    bytes += table.memory_bytes() + table.size() * kRoundedUpBytes;
  if (uses_ != nullptr) bytes += uses_->memory_bytes();
  return bytes;
}

size_t Keyspace::stored_keys() const {
  size_t keys = 0;
  for (size_t db = 0; db < crdt::kDatabases; ++db)
    keys += tables_[db].size();
  return keys;
}

void Keyspace::NoteUsesAs(std::optional<Uses::Kind> kind) {
  if (uses_ == nullptr ? !kind : uses_->kind() == kind) return;
  counts_uses_ = false;
  uses_ = kind ? std::make_unique<Uses>(*kind, time_ms_) : nullptr;
}

int64_t Keyspace::IdleMs(const Entry& entry) const {
  bool known = false;
  int64_t idle = 0;
  if (uses_ != nullptr && uses_->kind() == Uses::Kind::kTime) idle = uses_->IdleMs(HashOf(entry), known);
  if (known) return idle;
  // Not used since that is noted: its stamps are older. Of elements the first one speaks for all.
  uint64_t newest = 0;
  auto note = [&](clock::Hlc hlc) { newest = std::max(newest, hlc.ms()); };
  if (entry.form() == Form::kCounter) {
    note(entry.counter().hlc);
  } else if (entry.form() != Form::kFat) {
    note(entry.value_part().hlc);
  } else {
    const crdt::KeyState& own = entry.fat().state();
    for (const crdt::Version& v : own.versions) note(v.hlc);
    for (const crdt::CounterEntry& e : own.counters) note(e.hlc);
    for (const crdt::ExpiryVersion& x : own.expiries) note(x.hlc);
    for (const auto& elements : entry.fat().elements) {
      elements->ForEach([&](const ElementView& element) {
        if (element.form() == Form::kCounter) {
          note(element.counter().hlc);
        } else if (element.form() != Form::kFat) {
          note(element.value_part().hlc);
        } else if (const auto tag = crdt::NewestTag(element.fat_state(), origins_)) {
          note(tag->hlc);
        }
        return false;
      });
    }
  }
  return newest == 0 ? idle : std::max(idle, time_ms_ - static_cast<int64_t>(newest));
}

const Entry* Keyspace::StoredAs(const KeyRef& ref) const {
  Entry** slot = tables_[ref.db].Find(ref.hash, ref.key);
  return slot == nullptr ? nullptr : *slot;
}

const Entry* Keyspace::SampleKey(uint64_t random, base::FunctionRef<bool(const Entry&)> wanted) const {
  size_t all = 0;
  for (size_t db = 0; db < crdt::kDatabases; ++db)
    all += live_[db];
  if (all == 0) return nullptr;
  base::Random draw(random);
  // Each database as often as it has keys.
  uint64_t at = draw.Below(all);
  size_t db = 0;
  while (at >= live_[db]) at -= live_[db++];
  return tables_[db].Sample(draw.Next(), [&](Entry* entry) { return IsShown(*entry) && wanted(*entry); });
}

void Keyspace::VisitVolatile(VolatilePlace& from, base::FunctionRef<bool(const Entry&)> visit) const {
  const std::pair<int64_t, Entry*> first{from.instant_ms, from.entry};
  auto it = expiry_index_.lower_bound(std::max(first, std::pair<int64_t, Entry*>(time_ms_, nullptr)));
  for (; it != expiry_index_.end(); ++it) {
    if (it->second->db() == crdt::kReservedDatabase) continue;
    from = {it->first, it->second};
    if (!visit(*it->second)) return;
  }
  from = {INT64_MAX, nullptr};
}

bool Keyspace::SweepKeys(bool with_expiry, size_t count, base::FunctionRef<void(const Entry&)> visit) {
  if (with_expiry) {
    auto it = expiry_index_.lower_bound(std::max(sweep_from_, std::pair<int64_t, Entry*>(time_ms_, nullptr)));
    for (; it != expiry_index_.end() && count > 0; ++it, --count) {
      if (it->second->db() != crdt::kReservedDatabase) visit(*it->second);
    }
    sweep_from_ = it == expiry_index_.end() ? std::pair<int64_t, Entry*>(INT64_MIN, nullptr) : *it;
    return it == expiry_index_.end();
  }
  while (count > 0) {
    size_t seen = 0;
    sweep_cursor_ = tables_[sweep_db_].Scan(sweep_cursor_, count, [&](Entry* entry) {
      ++seen;
      if (IsShown(*entry)) visit(*entry);
    });
    count -= std::min(count, seen);
    if (sweep_cursor_ != 0) continue;
    if (++sweep_db_ < crdt::kDatabases) continue;
    sweep_db_ = 0;
    return true;
  }
  return false;
}

}  // namespace polyarch::keyspace
