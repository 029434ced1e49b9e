#include "wire/change_codec.h"

#include <algorithm>
#include <optional>

#include "base/check.h"

namespace polyarch::wire {

namespace {

using crdt::At;
using crdt::Effect;
using crdt::EffectKind;

constexpr uint8_t kHasClears = 0x80;  // in the flags byte of a payload
constexpr uint8_t kOfElement = 0x40;  // in the kind byte: version 1, about an element
constexpr uint8_t kOfNext = 0x80;     // version 2, about an element with the name of the last one but for its end
constexpr uint8_t kVersions = 0xc0;
constexpr uint64_t kSeenMax = 1 << 16;

void PutDot(std::string& out, clock::Dot dot, const Dictionary& dictionary) {
  uint64_t place = 0;
  CHECK(dictionary.Find(dot.origin(), place));
  base::PutVarint(out, place);
  base::PutVarint(out, dot.sequence());
}

void PutAt(std::string& out, At at) {
  base::PutVarint(out, at.sequence);
  base::PutVarint(out, at.index);
}

bool ReadAt(base::Reader& in, At& at) {
  at.sequence = in.Varint();
  uint64_t index = in.Varint();
  if (index > UINT32_MAX || at.sequence >> 48 != 0) in.Fail();
  at.index = static_cast<uint32_t>(index);
  return in.ok();
}

void PutClears(std::string& out, const Effect& effect, const Dictionary& dictionary) {
  if (effect.clears.empty()) return;
  base::PutVarint(out, effect.clears.size());
  for (const crdt::Clear& clear : effect.clears) {
    uint64_t place = 0;
    CHECK(dictionary.Find(clear.origin, place));
    base::PutVarint(out, place);
    PutAt(out, clear.life);
    PutAt(out, clear.at);
    crdt::PutNumber(out, clear.total);
  }
}

// kExpire and kFlush are never about an element, kWipeRange always.
bool IsKnown(uint8_t kind) {
  const auto of = static_cast<uint8_t>(kind & ~kVersions);
  if (of == 0 || of > crdt::kEffectKindMax || (kind & kVersions) == kVersions) return false;
  const auto effect_kind = static_cast<EffectKind>(of);
  // Only of elements, and in full.
  if (effect_kind == EffectKind::kWipeRange) return (kind & kVersions) == kOfElement;
  return of == kind ||
         (effect_kind != EffectKind::kExpire && effect_kind != EffectKind::kFlush);
}

}  // namespace

bool Dictionary::Find(clock::OriginIndex origin, uint64_t& place) const {
  if (origin == entries_[0]) {
    place = 0;
    return true;
  }
  const auto it = std::lower_bound(places_.begin(), places_.end(), std::pair(origin, uint32_t{0}));
  if (it == places_.end() || it->first != origin) return false;
  place = it->second;
  return true;
}

uint64_t Dictionary::Add(clock::OriginIndex origin) {
  uint64_t place = 0;
  if (Find(origin, place)) return place;
  entries_.push_back(origin);
  const std::pair entry(origin, static_cast<uint32_t>(entries_.size() - 1));
  places_.insert(std::lower_bound(places_.begin(), places_.end(), entry), entry);
  return entries_.size() - 1;
}

void Dictionary::RemoveLast(size_t count) {
  for (; count > 0; --count) {
    places_.erase(std::lower_bound(places_.begin(), places_.end(), std::pair(entries_.back(), uint32_t{0})));
    entries_.pop_back();
  }
}

namespace {

// How many bytes of the name are the last one's; nothing if the effect is to be written in full.
std::optional<size_t> SharedWith(const LastElement& last, const Effect& effect) {
  // Names of other types have little in common.
  const bool alike = effect.type == crdt::Type::kList || effect.type == crdt::Type::kStream;
  if (!alike || !last.any || last.type != effect.type ||
      last.db != effect.db || last.key != effect.key)
    return std::nullopt;
  const size_t most = std::min(last.name.size(), effect.element.size());
  size_t shared = 0;
  while (shared < most && last.name[shared] == effect.element[shared])
    ++shared;
  return shared;
}

void Remember(LastElement& last, const Effect& effect) {
  last.any = true;
  last.db = effect.db;
  last.type = effect.type;
  last.key = effect.key;
  last.name = effect.element;
}

// A Put or a Wipe in the short form, without clears.
void AppendNext(std::string& out, const Effect& effect, size_t shared) {
  const std::string_view rest = effect.element.substr(shared);
  const size_t size = 1 + base::VarintSize(shared) + base::VarintSize(rest.size()) + rest.size() +
                      effect.value.size();
  out.push_back(static_cast<char>(static_cast<uint8_t>(effect.kind) | kOfNext));
  base::PutVarint(out, size);
  out.push_back(static_cast<char>(effect.flags));
  base::PutVarint(out, shared);
  base::PutBytes(out, rest);
  out.append(effect.value);
}

}  // namespace

void AppendEffect(std::string& out,
                  const Effect& effect,
                  const Dictionary& dictionary,
                  LastElement* last) {
  if (last != nullptr && effect.type != crdt::Type::kString) {
    const std::optional<size_t> shared = SharedWith(*last, effect);
    const bool simple = effect.clears.empty() && (effect.flags & crdt::kHasExpiry) == 0 &&
                        (effect.kind == EffectKind::kPut || effect.kind == EffectKind::kWipe);
    if (shared && simple) {
      AppendNext(out, effect, *shared);
      last->name.replace(*shared, std::string::npos, effect.element.substr(*shared));
      return;
    }
    Remember(*last, effect);
  }
  const auto flags = static_cast<uint8_t>(effect.flags | (effect.clears.empty() ? 0 : kHasClears));
  const bool of_element = effect.type != crdt::Type::kString;
  const auto kind =
      static_cast<uint8_t>(static_cast<uint8_t>(effect.kind) | (of_element ? kOfElement : 0));
  if (effect.kind == EffectKind::kPut && effect.clears.empty()) {
    // The hot one: sizes are known, so it is written in one go.
    const bool ttl = (flags & crdt::kHasExpiry) != 0;
    const uint64_t expiry = base::ZigZag(effect.expire_ms);
    const size_t element_size =
        of_element ? 1 + base::VarintSize(effect.element.size()) + effect.element.size() : 0;
    const size_t size = 2 + base::VarintSize(effect.key.size()) + effect.key.size() + element_size +
                        (ttl ? base::VarintSize(expiry) : 0) + effect.value.size();
    char head[1 + base::kVarintBytesMax + 2 + base::kVarintBytesMax];
    char* p = head;
    *p++ = static_cast<char>(kind);
    p = base::EncodeVarint(p, size);
    *p++ = static_cast<char>(flags);
    *p++ = static_cast<char>(effect.db);
    p = base::EncodeVarint(p, effect.key.size());
    out.append(head, static_cast<size_t>(p - head));
    out.append(effect.key);
    if (of_element) {
      out.push_back(static_cast<char>(effect.type));
      base::PutBytes(out, effect.element);
    }
    if (ttl) base::PutVarint(out, expiry);
    out.append(effect.value);
    return;
  }
  std::string payload;
  payload.push_back(static_cast<char>(flags));
  payload.push_back(static_cast<char>(effect.db));
  if (effect.kind != EffectKind::kFlush) base::PutBytes(payload, effect.key);
  if (of_element) {
    payload.push_back(static_cast<char>(effect.type));
    base::PutBytes(payload, effect.element);
  }
  PutClears(payload, effect, dictionary);
  switch (effect.kind) {
    case EffectKind::kPut:
      if ((flags & crdt::kHasExpiry) != 0) base::PutVarint(payload, base::ZigZag(effect.expire_ms));
      payload.append(effect.value);
      break;
    case EffectKind::kIncrement:
      PutAt(payload, effect.life);
      crdt::PutNumber(payload, effect.total);
      crdt::PutNumber(payload, effect.increment);
      break;
    case EffectKind::kExpire:
      base::PutVarint(payload, base::ZigZag(effect.expire_ms));
      break;
    case EffectKind::kResolve:
    case EffectKind::kClean:
      base::PutVarint(payload, effect.seen.size());
      for (clock::Dot dot : effect.seen)
        PutDot(payload, dot, dictionary);
      payload.append(effect.value);
      break;
    case EffectKind::kWipeRange:
      payload.append(effect.value);
      break;
    case EffectKind::kWipe:
    case EffectKind::kFlush:
      break;
  }
  out.push_back(static_cast<char>(kind));
  base::PutBytes(out, payload);
}

bool BodyReader::NextChange(clock::Hlc& stamp) {
  if (!in_.ok() || in_.empty()) return false;
  uint64_t delta = in_.Varint();
  if (!in_.ok() || stamp_.bits + delta < stamp_.bits) {
    in_.Fail();
    return false;
  }
  stamp_.bits += delta;
  stamp = stamp_;
  index_ = 0;
  return true;
}

bool BodyReader::NextEffect(Effect& effect, uint32_t& index) {
  while (true) {
    uint8_t kind = in_.Fixed8();
    if (!in_.ok() || kind == kChangeEnd) return false;
    std::string_view payload = in_.Bytes();
    if (!in_.ok()) return false;
    index = index_++;
    if (!IsKnown(kind)) {
      ++unknown_;
      continue;
    }
    if (!ParsePayload(kind, payload, effect)) {
      in_.Fail();
      return false;
    }
    return true;
  }
}

bool BodyReader::ReadClears(base::Reader& in) {
  clears_.clear();
  for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
    crdt::Clear clear;
    clear.origin = dictionary_.At(in.Varint());
    if (clear.origin == clock::kNoOrigin) in.Fail();
    ReadAt(in, clear.life);
    ReadAt(in, clear.at);
    clear.total = crdt::ReadNumber(in);
    clears_.push_back(clear);
  }
  return in.ok();
}

bool BodyReader::ReadElement(base::Reader& in, Effect& effect) {
  const uint8_t type = in.Fixed8();
  if (type == 0 || type > crdt::kTypeMax) return false;
  effect.type = static_cast<crdt::Type>(type);
  effect.element = in.Bytes();
  last_ = effect;
  return effect.element.size() <= crdt::kElementBytesMax;
}

bool BodyReader::ReadNextName(base::Reader& in, Effect& effect) {
  const uint64_t shared = in.Varint();
  const std::string_view rest = in.Bytes();
  if (!in.ok() || last_.type == crdt::Type::kString || shared > last_.element.size() ||
      shared + rest.size() > crdt::kElementBytesMax)
    return false;
  if (last_.element.data() == name_.data()) {
    name_.resize(shared);
  } else {
    name_.assign(last_.element.substr(0, shared));
  }
  name_.append(rest);
  last_.element = name_;
  effect.db = last_.db;
  effect.type = last_.type;
  effect.key = last_.key;
  effect.element = name_;
  return true;
}

bool BodyReader::ParsePayload(uint8_t kind, std::string_view payload, Effect& effect) {
  base::Reader in(payload);
  effect = Effect{};
  effect.kind = static_cast<EffectKind>(kind & ~kVersions);
  uint8_t flags = in.Fixed8();
  effect.flags = flags & static_cast<uint8_t>(~kHasClears);
  const bool next = (kind & kOfNext) != 0;
  if (next && !ReadNextName(in, effect)) return false;
  if (!next) effect.db = in.Fixed8();
  const bool flush = effect.kind == EffectKind::kFlush;
  if (effect.db > crdt::kReservedDatabase && !(flush && effect.db == crdt::kAllDatabases))
    return false;
  if (!flush && !next) effect.key = in.Bytes();
  if (effect.key.size() > UINT16_MAX) return false;
  if ((kind & kOfElement) != 0 && !ReadElement(in, effect)) return false;
  if ((flags & kHasClears) != 0) {
    if (!ReadClears(in)) return false;
    effect.clears = clears_;
  }
  switch (effect.kind) {
    case EffectKind::kPut:
      if ((flags & crdt::kHasExpiry) != 0) effect.expire_ms = in.SignedVarint();
      effect.value = in.Raw(in.remaining());
      break;
    case EffectKind::kIncrement:
      ReadAt(in, effect.life);
      effect.total = crdt::ReadNumber(in);
      effect.increment = crdt::ReadNumber(in);
      break;
    case EffectKind::kExpire:
      effect.expire_ms = in.SignedVarint();
      break;
    case EffectKind::kResolve:
    case EffectKind::kClean: {
      seen_.clear();
      uint64_t n = in.Varint();
      if (n > kSeenMax) return false;
      for (; n > 0 && in.ok(); --n) {
        clock::OriginIndex origin = dictionary_.At(in.Varint());
        uint64_t sequence = in.Varint();
        if (origin == clock::kNoOrigin || sequence >> 48 != 0) return false;
        seen_.emplace_back(origin, sequence);
      }
      effect.seen = seen_;
      effect.value = in.Raw(in.remaining());
      break;
    }
    case EffectKind::kWipeRange:
      effect.value = in.Raw(in.remaining());
      break;
    case EffectKind::kWipe:
    case EffectKind::kFlush:
      break;
  }
  return in.ok() && in.empty();
}

bool ValidateBody(std::string_view body,
                  clock::Hlc base,
                  uint64_t count,
                  const Dictionary& dictionary) {
  BodyReader reader(body, base, dictionary);
  clock::Hlc stamp;
  Effect effect;
  uint32_t index = 0;
  uint64_t changes = 0;
  while (reader.NextChange(stamp)) {
    ++changes;
    while (reader.NextEffect(effect, index)) {
    }
    if (!reader.ok()) return false;
  }
  return reader.ok() && changes == count;
}

}  // namespace polyarch::wire
