// Effects that own their bytes, and random ones, for tests and fuzzing of the codecs.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "base/random.h"
#include "wire/change_codec.h"

namespace polyarch::wire {

struct OwnedEffect {
  crdt::Effect effect;
  std::string key;
  std::string element;
  std::string value;
  std::vector<crdt::Clear> clears;
  std::vector<clock::Dot> seen;

  crdt::Effect View() const {
    crdt::Effect e = effect;
    e.key = key;
    e.element = element;
    e.value = value;
    e.clears = clears;
    e.seen = seen;
    return e;
  }
};

inline bool Same(const crdt::Effect& a, const crdt::Effect& b) {
  auto same_clear = [](const crdt::Clear& x, const crdt::Clear& y) {
    return x.origin == y.origin && x.life == y.life && x.at == y.at && x.total == y.total;
  };
  return a.kind == b.kind && a.db == b.db && a.flags == b.flags && a.type == b.type && a.key == b.key && a.element == b.element && a.value == b.value &&
         a.expire_ms == b.expire_ms && a.life == b.life && a.total == b.total && a.increment == b.increment &&
         std::equal(a.clears.begin(), a.clears.end(), b.clears.begin(), b.clears.end(), same_clear) &&
         std::equal(a.seen.begin(), a.seen.end(), b.seen.begin(), b.seen.end());
}

inline uint64_t RandomBits(base::Random& random) { return random.Next() >> random.Below(64); }

inline std::string RandomText(base::Random& random, size_t max) {
  std::string out(random.Below(max + 1), '\0');
  for (char& c : out) c = static_cast<char>(random.Next());
  return out;
}

inline crdt::Number RandomNumber(base::Random& random) {
  auto integer = static_cast<int64_t>(RandomBits(random));
  if (random.Percent(20)) return {true, integer, static_cast<long double>(integer) / 3};
  if (random.Percent(10)) return crdt::Number::Integer(static_cast<__int128>(integer) << random.Below(36));
  return crdt::Number::Integer(integer);
}

// Any effect that the codec can carry; `origins` may be named.
inline OwnedEffect RandomEffect(base::Random& random, const std::vector<clock::OriginIndex>& origins) {
  OwnedEffect out;
  crdt::Effect& e = out.effect;
  auto at = [&] { return crdt::At{RandomBits(random) >> 16, static_cast<uint32_t>(RandomBits(random))}; };
  auto origin = [&] { return origins[random.Below(origins.size())]; };
  auto dots = [&] {
    for (uint64_t n = random.Below(5); n > 0; --n) out.seen.emplace_back(origin(), RandomBits(random) >> 16);
  };
  e.kind = static_cast<crdt::EffectKind>(1 + random.Below(crdt::kEffectKindMax));
  e.db = static_cast<uint8_t>(random.Below(crdt::kReservedDatabase + 1));
  e.flags = static_cast<uint8_t>(random.Below(32)) & static_cast<uint8_t>(~crdt::kHasExpiry);
  out.key = RandomText(random, 40);
  switch (e.kind) {
    case crdt::EffectKind::kPut:
      out.value = RandomText(random, 300);
      if (random.Percent(30)) {
        e.flags |= crdt::kHasExpiry;
        e.expire_ms = static_cast<int64_t>(RandomBits(random));
      }
      break;
    case crdt::EffectKind::kIncrement:
      e.life = at();
      e.total = RandomNumber(random);
      e.increment = RandomNumber(random);
      break;
    case crdt::EffectKind::kExpire: e.expire_ms = static_cast<int64_t>(RandomBits(random)); break;
    case crdt::EffectKind::kResolve:
    case crdt::EffectKind::kClean:
      dots();
      out.value = RandomText(random, 50);
      break;
    case crdt::EffectKind::kFlush:
      out.key.clear();
      if (random.Percent(50)) e.db = crdt::kAllDatabases;
      break;
    case crdt::EffectKind::kWipeRange: out.value = RandomText(random, 30); break;
    case crdt::EffectKind::kWipe: break;
  }
  const bool of_key = e.kind == crdt::EffectKind::kExpire || e.kind == crdt::EffectKind::kFlush;
  if (e.kind == crdt::EffectKind::kWipeRange || (!of_key && random.Percent(40))) {
    e.type = static_cast<crdt::Type>(1 + random.Below(crdt::kTypeMax));
    out.element = RandomText(random, 30);
  }
  if (random.Percent(30)) {
    for (uint64_t n = 1 + random.Below(4); n > 0; --n) {
      out.clears.push_back({origin(), at(), at(), RandomNumber(random)});
    }
  }
  return out;
}

}  // namespace polyarch::wire
