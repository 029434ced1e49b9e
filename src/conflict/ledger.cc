#include "conflict/ledger.h"

#include <algorithm>

#include "base/hash.h"

namespace polyarch::conflict {

namespace {

constexpr uint8_t kRowFormat = 2;  // 1 had no elements
// What an entry costs beside its strings: tree node, two index nodes, their strings' headers.
constexpr size_t kEntryOverheadBytes = sizeof(LedgerEntry) + 256;

std::string RowKey(uint64_t id) {
  std::string key(8, '\0');
  for (int i = 7; i >= 0; --i, id >>= 8)
    key[static_cast<size_t>(i)] = static_cast<char>(id & 0xff);
  return key;
}

uint64_t IdOf(std::string_view row_key) {
  uint64_t id = 0;
  for (char c : row_key)
    id = id << 8 | static_cast<uint8_t>(c);
  return id;
}

// The two versions in the order of their tags, whatever their roles.
std::pair<const LedgerVersion*, const LedgerVersion*> Ordered(const LedgerEntry& e) {
  auto tag_less = [](const LedgerVersion& a, const LedgerVersion& b) {
    if (a.origin != b.origin) return a.origin < b.origin;
    return a.sequence < b.sequence;
  };
  return tag_less(e.lost, e.shown) ? std::pair(&e.lost, &e.shown) : std::pair(&e.shown, &e.lost);
}

void PutOrigin(std::string& out, const clock::Origin& origin) {
  base::PutBytes(out, origin.leader);
  base::PutFixed64(out, origin.incarnation);
}

std::string OriginsKey(const LedgerEntry& e) {
  auto [first, second] = Ordered(e);
  std::string out(1, static_cast<char>(e.db));
  base::PutBytes(out, e.key);
  base::PutFixed8(out, static_cast<uint8_t>(e.type));
  base::PutBytes(out, e.element);
  PutOrigin(out, first->origin);
  PutOrigin(out, second->origin);
  return out;
}

std::string PairKey(const LedgerEntry& e) {
  auto [first, second] = Ordered(e);
  std::string out = OriginsKey(e);
  base::PutVarint(out, first->sequence);
  base::PutVarint(out, second->sequence);
  return out;
}

uint64_t PairHash(const LedgerEntry& e) {
  return base::ContentHash64(PairKey(e));
}

size_t BucketOf(uint64_t pair_hash) {
  return pair_hash % Ledger::kBuckets;
}

bool HasBucket(std::string_view bits, size_t bucket) {
  return (static_cast<uint8_t>(bits[bucket / 8]) >> bucket % 8 & 1) != 0;
}

// Several versions of one origin stand beside each other only where a client resolved with an old
// token: none of them supersedes another.
bool CanSupersede(const LedgerEntry& e) {
  return e.shown.origin != e.lost.origin;
}

// Has `a`, of the same two origins, versions at least as new as those of `b`?
bool AtLeastAsNew(const LedgerEntry& a, const LedgerEntry& b) {
  auto [a1, a2] = Ordered(a);
  auto [b1, b2] = Ordered(b);
  return a1->sequence >= b1->sequence && a2->sequence >= b2->sequence;
}

size_t BytesOf(const LedgerEntry& e) {
  return kEntryOverheadBytes + 3 * (e.key.size() + e.element.size()) + e.policy.size() + e.shown.value.size() +
         e.lost.value.size() + 3 * (e.shown.origin.leader.size() + e.lost.origin.leader.size());
}

void PutVersion(std::string& out, const LedgerVersion& v) {
  base::PutFixed8(out, v.absent ? 1 : 0);
  base::PutBytes(out, v.value);
  PutOrigin(out, v.origin);
  base::PutVarint(out, v.sequence);
  base::PutFixed64(out, v.hlc.bits);
}

LedgerVersion ReadVersion(base::Reader& in) {
  LedgerVersion v;
  uint8_t flags = in.Fixed8();
  if (flags > 1) in.Fail();
  v.absent = flags != 0;
  v.value = in.Bytes();
  v.origin.leader = in.Bytes();
  v.origin.incarnation = in.Fixed64();
  v.sequence = in.Varint();
  v.hlc.bits = in.Fixed64();
  return v;
}

std::string EncodeRow(const LedgerEntry& e) {
  std::string out;
  base::PutFixed8(out, kRowFormat);
  base::PutVarint(out, base::ZigZag(e.noted_ms));
  base::PutFixed8(out, e.db);
  base::PutBytes(out, e.key);
  base::PutBytes(out, e.policy);
  PutVersion(out, e.shown);
  PutVersion(out, e.lost);
  base::PutFixed8(out, static_cast<uint8_t>(e.type));
  base::PutBytes(out, e.element);
  return out;
}

}  // namespace

uint64_t Ledger::Note(LedgerEntry entry) {
  if (auto same = by_pair_.find(PairKey(entry)); same != by_pair_.end()) return same->second;
  if (CanSupersede(entry)) {
    if (auto met = by_origins_.find(OriginsKey(entry)); met != by_origins_.end()) {
      const uint64_t old_id = met->second;
      const LedgerEntry& old = entries_.at(old_id);
      if (AtLeastAsNew(old, entry)) return old_id;
      if (AtLeastAsNew(entry, old)) Drop(old_id);
    }
  }
  // Ids go up: the lowest is the oldest, which goes first, and who asks for those behind one misses none.
  const uint64_t id = std::max(entry.id, next_id_);
  next_id_ = id + 1;
  entry.id = id;
  dirty_[id] = true;
  Insert(std::move(entry));
  Enforce();
  return id;
}

const LedgerEntry* Ledger::Find(uint64_t id) const {
  auto it = entries_.find(id);
  return it == entries_.end() ? nullptr : &it->second;
}

void Ledger::Visit(uint64_t after, const std::function<bool(const LedgerEntry&)>& visit) const {
  for (auto it = entries_.upper_bound(after); it != entries_.end(); ++it) {
    if (!visit(it->second)) return;
  }
}

void Ledger::Expire(int64_t now_ms) {
  for (auto it = entries_.begin(); it != entries_.end();) {
    const LedgerEntry& e = (it++)->second;
    // An entry from before the clock was set back must not keep those behind it.
    if (e.noted_ms > now_ms) continue;
    const uint64_t age_ms = static_cast<uint64_t>(now_ms) - static_cast<uint64_t>(e.noted_ms);
    if (age_ms <= static_cast<uint64_t>(limits_.age_ms_max)) return;
    Drop(e.id);
  }
}

Ledger::Dirty Ledger::TakeDirty() {
  Dirty dirty;
  for (const auto& [id, written] : dirty_) {
    if (written) {
      dirty.rows.emplace_back(RowKey(id), EncodeRow(entries_.at(id)));
    } else {
      dirty.deleted.push_back(RowKey(id));
    }
  }
  dirty_.clear();
  if (next_id_stored_ != next_id_) {
    std::string row;
    base::PutFixed8(row, kRowFormat);
    base::PutVarint(row, next_id_);
    dirty.rows.emplace_back(RowKey(0), std::move(row));
    next_id_stored_ = next_id_;
  }
  return dirty;
}

bool Ledger::Load(std::string_view row_key, std::string_view row) {
  if (row_key.size() != 8) return false;
  const uint64_t id = IdOf(row_key);
  base::Reader in(row);
  const uint8_t format = in.Fixed8();
  if (format < 1 || format > kRowFormat) return false;
  if (id == 0) {
    uint64_t next_id = in.Varint();
    if (!in.ok() || !in.empty() || next_id == 0) return false;
    next_id_ = std::max(next_id_, next_id);
    next_id_stored_ = next_id_;
    return true;
  }
  LedgerEntry e;
  if (!Decode(row_key, row, e) || entries_.contains(id)) return false;
  next_id_ = std::max(next_id_, id + 1);
  Insert(std::move(e));
  return true;
}

bool Ledger::Decode(std::string_view row_key, std::string_view row, LedgerEntry& e) {
  if (row_key.size() != 8) return false;
  base::Reader in(row);
  const uint8_t format = in.Fixed8();
  if (format < 1 || format > kRowFormat) return false;
  e.id = IdOf(row_key);
  e.noted_ms = in.SignedVarint();
  e.db = in.Fixed8();
  e.key = in.Bytes();
  e.policy = in.Bytes();
  e.shown = ReadVersion(in);
  e.lost = ReadVersion(in);
  if (format > 1) {
    const uint8_t type = in.Fixed8();
    if (type > crdt::kTypeMax) return false;
    e.type = static_cast<crdt::Type>(type);
    e.element = in.Bytes();
  }
  return in.ok() && in.empty() && e.id != 0 && e.id != UINT64_MAX;
}

Ledger::BucketDigests Ledger::Buckets() const {
  BucketDigests out;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    if (buckets_[i] != 0) out.emplace_back(static_cast<uint16_t>(i), buckets_[i]);
  }
  return out;
}

std::string Ledger::EqualBuckets(const BucketDigests& theirs) const {
  std::string bits;
  if (buckets_.empty()) return bits;
  for (const auto& [bucket, digest] : theirs) {
    if (bucket >= kBuckets || buckets_[bucket] != digest) continue;
    bits.resize(kBucketBitsBytes);
    bits[bucket / 8] = static_cast<char>(bits[bucket / 8] | 1 << bucket % 8);
  }
  return bits;
}

bool Ledger::RowIsIn(std::string_view row_key, std::string_view row, std::string_view bits, uint64_t end) {
  LedgerEntry entry;
  if (bits.size() != kBucketBitsBytes || !Decode(row_key, row, entry) || entry.id >= end) return false;
  return HasBucket(bits, BucketOf(PairHash(entry)));
}

void Ledger::Insert(LedgerEntry entry) {
  bytes_ += BytesOf(entry);
  std::string pair = PairKey(entry);
  const uint64_t hash = base::ContentHash64(pair);
  if (buckets_.empty()) buckets_.resize(kBuckets);
  buckets_[BucketOf(hash)] += hash;
  by_pair_[std::move(pair)] = entry.id;
  if (CanSupersede(entry)) {
    // Rows come in any order: the newer pair is the one to compare with.
    uint64_t& newest = by_origins_[OriginsKey(entry)];
    if (newest == 0 || !AtLeastAsNew(entries_.at(newest), entry)) newest = entry.id;
  }
  entries_.emplace(entry.id, std::move(entry));
}

void Ledger::Drop(uint64_t id) {
  auto it = entries_.find(id);
  const LedgerEntry& e = it->second;
  auto forget = [id](auto& index, const std::string& key) {
    auto found = index.find(key);
    if (found != index.end() && found->second == id) index.erase(found);
  };
  const std::string pair = PairKey(e);
  const uint64_t hash = base::ContentHash64(pair);
  buckets_[BucketOf(hash)] -= hash;
  forget(by_pair_, pair);
  if (CanSupersede(e)) forget(by_origins_, OriginsKey(e));
  bytes_ -= BytesOf(e);
  entries_.erase(it);
  // What was never taken has no row to delete.
  auto [place, fresh] = dirty_.try_emplace(id, false);
  if (!fresh) dirty_.erase(place);
}

void Ledger::Enforce() {
  while (entries_.size() > 1 &&
         (entries_.size() > limits_.entries_max || bytes_ > limits_.bytes_max)) {
    Drop(entries_.begin()->first);
  }
}

}  // namespace polyarch::conflict
