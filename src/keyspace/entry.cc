#include "keyspace/entry.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "base/check.h"
#include "keyspace/elements.h"

namespace polyarch::keyspace {

namespace {

// An empty view may have no bytes to point at.
void Copy(char* to, std::string_view from) {
  if (!from.empty()) std::memcpy(to, from.data(), from.size());
}

}  // namespace

const crdt::KeyState FatPart::kNoState;

ElementsByType::ElementsByType() = default;
ElementsByType::~ElementsByType() = default;

void ElementsByType::Add(Pointer elements) {
  if (empty()) {
    one_ = std::move(elements);
    return;
  }
  if (several_ == nullptr) {
    several_ = std::make_unique<std::vector<Pointer>>();
    several_->push_back(std::move(one_));
  }
  const auto place = std::find_if(several_->begin(), several_->end(), [&](const Pointer& other) {
    return elements->type() < other->type();
  });
  several_->insert(place, std::move(elements));
}

void ElementsByType::DropNulls() {
  if (several_ == nullptr) return;
  std::erase(*several_, nullptr);
  if (several_->size() > 1) return;
  if (!several_->empty()) one_ = std::move(several_->front());
  several_.reset();
}

void ElementsByType::clear() {
  one_.reset();
  several_.reset();
}

size_t ElementsByType::memory_bytes() const {
  size_t bytes = several_ == nullptr
                     ? 0
                     : sizeof *several_ + several_->capacity() * sizeof(Pointer);
  for (const Pointer& elements : *this)
    bytes += elements->memory_bytes();
  return bytes;
}

FatPart::FatPart(crdt::KeyState state) {
  if (!state.empty()) mutable_state() = std::move(state);
}

FatPart::Rest& FatPart::NeedRest() {
  if (rest_ == nullptr) rest_ = std::make_unique<Rest>();
  return *rest_;
}

void FatPart::Tidy() {
  if (rest_ != nullptr && rest_->state.empty() && rest_->indexed_expiry == crdt::kNever &&
      rest_->residue_since == nullptr) {
    rest_.reset();
  }
}

size_t FatPart::memory_bytes() const {
  size_t bytes = elements.memory_bytes();
  if (rest_ == nullptr) return bytes;
  const crdt::KeyState& state = rest_->state;
  bytes += sizeof(Rest) + state.counters.capacity() * sizeof(crdt::CounterEntry) +
           state.expiries.capacity() * sizeof(crdt::ExpiryVersion) +
           state.versions.capacity() * sizeof(crdt::Version);
  for (const crdt::Version& v : state.versions)
    bytes += v.value.capacity();
  return bytes;
}

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
  new (entry->Tail()) FatPart(std::move(state));
  return entry;
}

void Entry::Free(Entry* entry) {
  if (entry->form() == Form::kFat) entry->fat().~FatPart();
  std::free(entry);
}

int64_t Entry::indexed_expiry() const {
  if (form() == Form::kValueTtl) return ttl_part().expire_ms;
  return form() == Form::kFat ? fat().indexed_expiry() : crdt::kNever;
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
      state = fat().state();
      for (const auto& elements : fat().elements)
        elements->AppendTo(state.elements);
      break;
  }
  return state;
}

size_t Entry::memory_bytes() const {
  return kHeaderSize + MetaSize(form()) + key_size_ + value_size_ +
         (form() == Form::kFat ? fat().memory_bytes() : 0);
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
