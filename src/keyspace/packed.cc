#include "keyspace/packed.h"

#include <cstdlib>

#include "base/check.h"
#include "base/codec.h"

namespace polyarch::keyspace {

namespace {

size_t Rounded(size_t bytes) {
  // As much as the allocator would give, and a little room where a copy costs more.
  const size_t grain = bytes < 512 ? 16 : 64;
  return (bytes + 8 + grain - 1) / grain * grain - 8;
}

}  // namespace

Packed::~Packed() {
  std::free(data_);
}

void Packed::Clear() {
  std::free(data_);
  data_ = nullptr;
}

const char* Packed::Find(std::string_view name) const {
  if (data_ == nullptr) return nullptr;
  uint16_t& found = reinterpret_cast<Header*>(data_)->found;
  if (found != 0 && NameOf(data_ + found) == name) return data_ + found;
  // Names of one collection are often alike but for their ends.
  const char last_byte = name.empty() ? '\0' : name.back();
  for (const char *at = begin(), *last = end(); at != last; at = Next(at)) {
    if (NameBytes(at) != name.size()) continue;
    if (at[kHeadBytes - 1 + name.size()] != last_byte && !name.empty()) continue;
    if (NameOf(at) != name) continue;
    found = static_cast<uint16_t>(at - data_);
    return at;
  }
  return nullptr;
}

ValuePart Packed::VersionOf(const char* at) const {
  const Base base = BaseAt(BaseIndex(at));
  const size_t bytes = StampBytes(at);
  if (bytes == 0) return base;
  base::Reader reader({at + kHeadBytes + NameBytes(at) + ValueBytes(at), bytes});
  const int64_t later = reader.SignedVarint();
  const int64_t above = reader.SignedVarint();
  return {clock::Dot(base.dot.origin(), base.dot.sequence() + static_cast<uint64_t>(later)),
          {base.hlc.bits + static_cast<uint64_t>(above)}};
}

void Packed::Reserve(size_t bytes) {
  const size_t capacity = data_ == nullptr ? 0 : header().capacity;
  // Kept while it is not much more than needed.
  if (bytes <= capacity && capacity <= 2 * bytes + 64) return;
  auto* data = static_cast<char*>(std::realloc(data_, Rounded(bytes)));
  CHECK(data != nullptr);
  data_ = data;
  if (capacity == 0)
    header() = {
        .used = sizeof(Header), .capacity = 0, .count = 0, .counters = 0, .origins = 0, .found = 0};
  header().capacity = static_cast<uint16_t>(Rounded(bytes));
}

char* Packed::Resize(size_t offset, size_t old_bytes, size_t new_bytes) {
  const size_t used = data_ == nullptr ? sizeof(Header) : header().used;
  const size_t wanted = used - old_bytes + new_bytes;
  if (new_bytes >= old_bytes) Reserve(wanted);
  char* at = data_ + offset;
  std::memmove(at + new_bytes, at + old_bytes, used - offset - old_bytes);
  header().used = static_cast<uint16_t>(wanted);
  header().found = 0;
  if (new_bytes < old_bytes) Reserve(wanted);
  return data_ + offset;
}

size_t Packed::FreeBase() {
  const size_t origins = data_ == nullptr ? 0 : header().origins;
  if (origins < kOriginsMax) {
    Resize(sizeof(Header) + origins * sizeof(Base), 0, sizeof(Base));
    ++header().origins;
    return origins;
  }
  bool needed[kOriginsMax] = {};
  for (const char *at = begin(), *last = end(); at != last; at = Next(at)) {
    if (!IsCounter(at)) needed[BaseIndex(at)] = true;
  }
  size_t index = 0;
  while (index < kOriginsMax && needed[index])
    ++index;
  return index;
}

bool Packed::MakeStamp(const Plain& plain, Stamp& stamp) {
  if (plain.counter) return true;
  const size_t origins = data_ == nullptr ? 0 : header().origins;
  while (stamp.base < origins && BaseAt(stamp.base).dot.origin() != plain.dot.origin())
    ++stamp.base;
  if (stamp.base == origins) {
    stamp.base = FreeBase();
    if (stamp.base == kOriginsMax) return false;
    const Base base{plain.dot, plain.hlc};
    std::memcpy(data_ + sizeof(Header) + stamp.base * sizeof(Base), &base, sizeof base);
    return true;
  }
  const Base base = BaseAt(stamp.base);
  if (base.dot == plain.dot && base.hlc == plain.hlc) return true;
  const auto later = static_cast<int64_t>(plain.dot.sequence() - base.dot.sequence());
  const auto above = static_cast<int64_t>(plain.hlc.bits - base.hlc.bits);
  char* text = base::EncodeVarint(stamp.text, base::ZigZag(later));
  text = base::EncodeVarint(text, base::ZigZag(above));
  stamp.bytes = static_cast<size_t>(text - stamp.text);
  return stamp.bytes <= kStampBytesMax;
}

void Packed::Write(char* at, size_t name_bytes, const Plain& plain, const Stamp& stamp) {
  at[0] = static_cast<char>(kHeadBytes + name_bytes + plain.value.size() + stamp.bytes);
  at[1] = static_cast<char>(name_bytes | (plain.stored ? kFlag : 0U));
  at[2] = static_cast<char>(stamp.base << 4 | (plain.counter ? kCounter : stamp.bytes));
  char* text = at + kHeadBytes + name_bytes;
  if (!plain.value.empty()) std::memcpy(text, plain.value.data(), plain.value.size());
  std::memcpy(text + plain.value.size(), stamp.text, stamp.bytes);
}

bool Packed::Insert(const char* at, std::string_view name, const Plain& plain) {
  if (!Fits(name, plain, /*in_list=*/true)) return false;
  CHECK(count() < kElementsMax);
  const size_t behind = static_cast<size_t>(at - begin());  // a new base moves the elements
  Stamp stamp;
  if (!MakeStamp(plain, stamp)) return false;
  const size_t offset =
      (data_ == nullptr ? sizeof(Header) : static_cast<size_t>(begin() - data_)) + behind;
  char* place = Resize(offset, 0, kHeadBytes + name.size() + plain.value.size() + stamp.bytes);
  if (!name.empty()) std::memcpy(place + kHeadBytes, name.data(), name.size());
  Write(place, name.size(), plain, stamp);
  header().found = static_cast<uint16_t>(place - data_);
  ++header().count;
  if (plain.counter) ++header().counters;
  return true;
}

bool Packed::Replace(const char* at, const Plain& plain) {
  if (plain.value.size() > kLongValueBytesMax) return false;
  const size_t behind = static_cast<size_t>(at - begin());
  Stamp stamp;
  if (!MakeStamp(plain, stamp)) return false;
  at = begin() + behind;
  if (IsCounter(at)) --header().counters;
  if (plain.counter) ++header().counters;
  const size_t name_bytes = NameBytes(at);
  char* place = Resize(static_cast<size_t>(at - data_),
                       SizeOf(at),
                       kHeadBytes + name_bytes + plain.value.size() + stamp.bytes);
  Write(place, name_bytes, plain, stamp);
  header().found = static_cast<uint16_t>(place - data_);
  return true;
}

void Packed::Erase(const char* at) {
  if (header().count == 1) return Clear();
  if (IsCounter(at)) --header().counters;
  --header().count;
  Resize(static_cast<size_t>(at - data_), SizeOf(at), 0);
}

void Packed::SetStored(const char* at) {
  data_[at - data_ + 1] = static_cast<char>(Byte(at, 1) | kFlag);
}

}  // namespace polyarch::keyspace
