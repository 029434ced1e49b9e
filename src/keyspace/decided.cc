#include "keyspace/decided.h"

#include <algorithm>

#include "base/codec.h"
#include "base/number.h"

namespace polyarch::keyspace {

namespace {

constexpr uint8_t kFormat = 1;

clock::Dot OnlyDot(clock::OriginTable& origins) {
  return {origins.Intern({"decided", 1}), 1};
}

}  // namespace

std::string Encode(const PlainValue& value) {
  std::string out{static_cast<char>(kFormat), static_cast<char>(value.type)};
  if (value.type == crdt::Type::kString) {
    base::PutBytes(out, value.text);
    return out;
  }
  base::PutVarint(out, value.fields.size());
  for (const auto& [name, text] : value.fields) {
    base::PutBytes(out, name);
    base::PutBytes(out, text);
  }
  return out;
}

bool Decode(std::string_view bytes, PlainValue& value) {
  base::Reader in(bytes);
  value = PlainValue{};
  if (in.Fixed8() != kFormat) return false;
  value.type = static_cast<crdt::Type>(in.Fixed8());
  if (value.type == crdt::Type::kString) {
    value.text = in.Bytes();
  } else if (value.type == crdt::Type::kHash) {
    for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
      std::string name(in.Bytes());
      if (!value.fields.empty() && name <= value.fields.back().first) in.Fail();
      if (name.size() > crdt::kElementBytesMax) in.Fail();
      value.fields.emplace_back(std::move(name), in.Bytes());
    }
  } else {
    in.Fail();
  }
  return in.ok() && in.empty();
}

crdt::KeyState StateOf(const PlainValue& value, int64_t expire_ms, clock::Dot dot, clock::Hlc hlc) {
  crdt::KeyState state;
  const crdt::Version version{.dot = dot, .hlc = hlc};
  if (value.type == crdt::Type::kString) {
    state.versions.push_back(version);
    state.versions.back().value = value.text;
  }
  for (const auto& [name, text] : value.fields) {
    crdt::Element element;
    element.type = crdt::Type::kHash;
    element.name = name;
    element.versions.push_back(version);
    element.versions.back().value = text;
    state.elements.push_back(std::move(element));
  }
  if (expire_ms != crdt::kNever) state.expiries.push_back({dot, hlc, expire_ms});
  return state;
}

PlainShown ReadPlain(Keyspace& keys, const KeyRef& ref) {
  PlainShown out;
  const Shown shown = keys.Read(ref);
  if (!shown.exists()) return out;
  out.expire_ms = shown.expire_ms;
  out.kind = PlainShown::Kind::kValue;
  if (shown.kind == Shown::Kind::kValue) {
    char scratch[base::kInt64CharsMax];
    out.value.text = shown.Text(scratch);
    return out;
  }
  if (shown.kind != Shown::Kind::kCollection || shown.type != crdt::Type::kHash) {
    out.kind = PlainShown::Kind::kOther;
    return out;
  }
  out.value.type = crdt::Type::kHash;
  const Collection hash = keys.Open(ref, crdt::Type::kHash);
  std::vector<std::string> names;
  hash.ForEach([&](const ElementView& element) {
    names.emplace_back(element.key());
    return true;
  });
  std::sort(names.begin(), names.end());
  for (std::string& name : names) {
    const ShownValue value = hash.Get(name);
    std::string text(value.value);
    if (value.is_integer) {
      char scratch[base::kInt64CharsMax];
      text.assign(scratch, base::FormatInt64(value.integer, scratch));
    }
    out.value.fields.emplace_back(std::move(name), std::move(text));
  }
  return out;
}

DecidedView::DecidedView(base::SipKey hash_key) : values_(origins_, policies_, hash_key) {}

void DecidedView::Set(uint8_t db,
                      std::string_view key,
                      const std::optional<PlainValue>& value,
                      int64_t expire_ms) {
  const KeyRef ref = values_.Ref(db, key);
  values_.Restore(ref,
                  value ? StateOf(*value, expire_ms, OnlyDot(origins_), {}) : crdt::KeyState{});
  auto it = keys_.find(std::pair(db, key));
  if (it == keys_.end()) {
    keys_.emplace(std::pair(db, std::string(key)), value.has_value());
  } else {
    it->second = value.has_value();
  }
}

void DecidedView::Erase(uint8_t db, std::string_view key) {
  auto it = keys_.find(std::pair(db, key));
  if (it == keys_.end()) return;
  values_.Restore(values_.Ref(db, key), {});
  keys_.erase(it);
}

}  // namespace polyarch::keyspace
