#include "keyspace/entry.h"

#include <cstdlib>

#include "base/check.h"
#include "keyspace/elements.h"

namespace polyarch::keyspace {

namespace {

// An empty view may have no bytes to point at.
void Copy(char* to, std::string_view from) {
  if (!from.empty()) std::memcpy(to, from.data(), from.size());
}

}  // namespace

Entry* Entry::Allocate(Form form, uint8_t db, std::string_view key, size_t value_size) {
  CHECK(key.size() <= UINT16_MAX && value_size <= UINT32_MAX);
  void* memory = std::malloc(kHeaderSize + MetaSize(form) + key.size() + value_size);
  CHECK(memory != nullptr);
  auto* entry = static_cast<Entry*>(memory);
  entry->form_db_ = static_cast<uint8_t>(static_cast<uint8_t>(form) | (db << 3));
  entry->bits_ = 0;
  entry->key_size_ = static_cast<uint16_t>(key.size());
  entry->value_size_ = static_cast<uint32_t>(value_size);
  Copy(entry->Tail() + MetaSize(form), key);
  return entry;
}

Entry* Entry::NewValue(uint8_t db,
                       std::string_view key,
                       clock::Dot dot,
                       clock::Hlc hlc,
                       bool never,
                       std::string_view value) {
  Entry* entry = Allocate(Form::kValue, db, key, value.size());
  entry->value_part() = {dot, hlc};
  entry->set(kNever, never);
  Copy(entry->mutable_value(), value);
  return entry;
}

Entry* Entry::NewValueTtl(uint8_t db,
                          std::string_view key,
                          clock::Dot dot,
                          clock::Hlc hlc,
                          int64_t expire_ms,
                          std::string_view value) {
  Entry* entry = Allocate(Form::kValueTtl, db, key, value.size());
  entry->value_part() = {dot, hlc};
  entry->ttl_part() = {expire_ms};
  Copy(entry->mutable_value(), value);
  return entry;
}

Entry* Entry::NewCounter(uint8_t db, std::string_view key, const CounterPart& counter) {
  Entry* entry = Allocate(Form::kCounter, db, key, 0);
  entry->counter() = counter;
  return entry;
}

Entry* Entry::NewFat(uint8_t db, std::string_view key, crdt::KeyState state) {
  Entry* entry = Allocate(Form::kFat, db, key, 0);
  reinterpret_cast<FatPart*>(entry->Tail())->fat =
      new FatPart::Fat{.state = std::move(state), .elements = {}, .residue_since = {}};
  return entry;
}

void Entry::Free(Entry* entry) {
  if (entry->form() == Form::kFat) delete &entry->fat();
  std::free(entry);
}

int64_t Entry::indexed_expiry() const {
  if (form() == Form::kValueTtl) return ttl_part().expire_ms;
  return form() == Form::kFat ? fat().indexed_expiry : crdt::kNever;
}

crdt::KeyState Entry::State() const {
  crdt::KeyState state;
  switch (form()) {
    case Form::kValueTtl:
      state.expiries.push_back({value_part().dot, value_part().hlc, ttl_part().expire_ms});
      [[fallthrough]];
    case Form::kValue:
      state.versions.push_back({.dot = value_part().dot,
                                .hlc = value_part().hlc,
                                .never = form() == Form::kValue && has(kNever),
                                .absent = false,
                                .value = std::string(value())});
      break;
    case Form::kCounter:
      state.counters.push_back(CounterEntryOf(counter()));
      break;
    case Form::kFat:
      state = fat().state;
      for (const auto& elements : fat().elements)
        elements->AppendTo(state.elements);
      break;
  }
  return state;
}

size_t Entry::memory_bytes() const {
  size_t bytes = kHeaderSize + MetaSize(form()) + key_size_ + value_size_;
  if (form() != Form::kFat) return bytes;
  const crdt::KeyState& state = fat().state;
  bytes += sizeof(FatPart::Fat) + state.counters.capacity() * sizeof(crdt::CounterEntry) +
           state.expiries.capacity() * sizeof(crdt::ExpiryVersion) +
           state.versions.capacity() * sizeof(crdt::Version);
  for (const crdt::Version& v : state.versions)
    bytes += v.value.capacity();
  for (const auto& elements : fat().elements)
    bytes += elements->memory_bytes();
  return bytes;
}

crdt::CounterEntry CounterEntryOf(const CounterPart& counter) {
  return {.origin = counter.life.origin(),
          .life = {counter.life.sequence(), counter.life_index},
          .at = {counter.at_sequence, counter.at_index},
          .total = crdt::Number::Integer(counter.total),
          .hlc = counter.hlc};
}

Entry* MakeEntry(uint8_t db, std::string_view key, crdt::KeyState state) {
  CHECK(state.elements.empty());
  if (state.empty()) return nullptr;
  if (state.counters.empty() && state.versions.size() == 1 && !state.versions[0].absent) {
    const crdt::Version& v = state.versions[0];
    if (state.expiries.empty()) return Entry::NewValue(db, key, v.dot, v.hlc, v.never, v.value);
    if (state.expiries.size() == 1 && !v.never && state.expiries[0].dot == v.dot &&
        state.expiries[0].hlc == v.hlc && state.expiries[0].time_ms != crdt::kNever) {
      return Entry::NewValueTtl(db, key, v.dot, v.hlc, state.expiries[0].time_ms, v.value);
    }
  }
  if (state.versions.empty() && state.expiries.empty() && state.counters.size() == 1) {
    const crdt::CounterEntry& c = state.counters[0];
    if (c.total.FitsInt64() && c.cleared_at == crdt::At{} && !c.cleared_total.is_real &&
        c.cleared_total.integer == 0 && c.cleared_by.bits() == 0) {
      return Entry::NewCounter(db,
                               key,
                               {clock::Dot(c.origin, c.life.sequence),
                                c.hlc,
                                c.at.sequence,
                                static_cast<int64_t>(c.total.integer),
                                c.life.index,
                                c.at.index});
    }
  }
  return Entry::NewFat(db, key, std::move(state));
}

}  // namespace polyarch::keyspace
