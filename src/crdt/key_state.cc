#include "crdt/key_state.h"

#include <algorithm>
#include <limits>

#include "base/planted.h"

namespace polyarch::crdt {

namespace {

template <typename T>
void RemoveSeen(std::vector<T>& items, const Seen& seen) {
  std::erase_if(items, [&](const T& item) {
    return seen.Covers(item.dot) || (PLANTED(kDeleteAll) && !std::is_same_v<T, ExpiryVersion>);
  });
}

template <typename T>
void RemoveNamed(std::vector<T>& items, std::span<const clock::Dot> dots) {
  std::erase_if(items, [&](const T& item) {
    return std::find(dots.begin(), dots.end(), item.dot) != dots.end();
  });
}

template <typename T>
void InsertByDot(std::vector<T>& items, T item) {
  auto place = std::lower_bound(
      items.begin(), items.end(), item.dot, [](const T& x, clock::Dot dot) { return x.dot < dot; });
  items.insert(place, std::move(item));
}

CounterEntry* FindCounter(std::vector<CounterEntry>& counters, clock::OriginIndex origin) {
  for (CounterEntry& e : counters) {
    if (e.origin == origin) return &e;
  }
  return nullptr;
}

CounterEntry& CounterOf(std::vector<CounterEntry>& counters, clock::OriginIndex origin) {
  auto place = std::lower_bound(
      counters.begin(), counters.end(), origin, [](const CounterEntry& e, clock::OriginIndex o) {
        return e.origin < o;
      });
  if (place == counters.end() || place->origin != origin) {
    place = counters.insert(place, CounterEntry{.origin = origin});
  }
  return *place;
}

void ApplyClears(Register& state, std::span<const Clear> clears, clock::Dot by) {
  for (const Clear& clear : clears) {
    CounterEntry* e = FindCounter(state.counters, clear.origin);
    if (e == nullptr || e->life != clear.life || clear.at <= e->cleared_at) continue;
    e->cleared_at = clear.at;
    e->cleared_total = clear.total;
    e->cleared_by = by;
    if (PLANTED(kClearAll)) {
      e->cleared_at = e->at;
      e->cleared_total = e->total;
    }
  }
}

void Wipe(KeyState& state, const Effect& effect, const Seen& seen) {
  RemoveSeen(state.versions, seen);
  if (!PLANTED(kWipeSparesElements)) {
    for (Element& e : state.elements)
      RemoveSeen(e.versions, seen);
    std::erase_if(state.elements, [](const Element& e) { return e.empty(); });
  }
  if ((effect.flags & kKeepExpiry) == 0) RemoveSeen(state.expiries, seen);
  if (PLANTED(kExpiryAtOnce) && state.versions.empty()) state.expiries.clear();
}

void WipeRange(KeyState& state, const Effect& effect, const Seen& seen) {
  std::erase_if(state.elements, [&](Element& e) {
    if (e.type != effect.type || !IsInRange(effect, e.name)) return false;
    RemoveSeen(e.versions, seen);
    if (PLANTED(kStreamTrimUnseen)) e.versions.clear();
    return e.empty();
  });
}

// A new version in the place of what its writer had seen, or of what it names.
ApplyResult PutVersion(Register& state, const Effect& effect, const Seen& seen, clock::Hlc hlc) {
  const clock::Dot dot = seen.dot();
  if (effect.kind == EffectKind::kPut) {
    RemoveSeen(state.versions, seen);
  } else if (PLANTED(kResolveAll)) {
    state.versions.clear();
  } else {
    // Of two writes in one change the later one stands, whatever its token says: a version is
    // named by its change.
    RemoveNamed(state.versions, effect.seen);
    RemoveNamed(state.versions, std::span(&dot, 1));
  }
  ApplyClears(state, effect.clears, dot);
  ApplyResult result{.added_version = true, .concurrent = !state.versions.empty()};
  InsertByDot(state.versions,
              Version{.dot = dot,
                      .hlc = hlc,
                      .never = effect.type == Type::kString && (effect.flags & kNeverFlag) != 0,
                      .absent = (effect.flags & kAbsent) != 0,
                      .value = std::string(effect.value)});
  return result;
}

void ApplyIncrement(Register& state, const Effect& effect, const Seen& seen, clock::Hlc hlc) {
  const At at = seen.at();
  bool known = FindCounter(state.counters, seen.origin()) != nullptr;
  CounterEntry& e = CounterOf(state.counters, seen.origin());
  if (PLANTED(kCountTwice) && known && at > e.at) {
    e.life = effect.life;
    e.at = at;
    e.total = Add(e.total, effect.increment).value_or(e.total);
    e.hlc = hlc;
    return;
  }
  if (!known && effect.life != at) {
    // The entry was purged: everything before this increment had been cleared. Up to the place just
    // before it, so that an older clear that comes later does not take the place of what we knew.
    auto before = Subtract(effect.total, effect.increment);
    e.life = effect.life;
    e.at = at;
    e.total = effect.total;
    if (!PLANTED(kPurgeAny) && !PLANTED(kLifeAfterPurge)) {
      e.cleared_at = at.index > 0 ? At{at.sequence, at.index - 1}
                                  : At{at.sequence - 1, std::numeric_limits<uint32_t>::max()};
    }
    e.cleared_total = before.value_or(Number::Integer(0));
    e.hlc = hlc;
  } else if (!known || effect.life > e.life) {
    e = CounterEntry{
        .origin = e.origin, .life = effect.life, .at = at, .total = effect.total, .hlc = hlc};
  } else if (effect.life == e.life && at > e.at) {
    e.at = at;
    e.total = effect.total;
    e.hlc = hlc;
  }
}

template <typename T, typename Both>
std::vector<T> MergeByDot(const std::vector<T>& a,
                          const clock::VersionVector& va,
                          const std::vector<T>& b,
                          const clock::VersionVector& vb,
                          Both both) {
  std::vector<T> out;
  auto i = a.begin();
  auto j = b.begin();
  while (i != a.end() || j != b.end()) {
    if (j == b.end() || (i != a.end() && i->dot < j->dot)) {
      if (!vb.Covers(i->dot)) out.push_back(*i);
      ++i;
    } else if (i == a.end() || j->dot < i->dot) {
      if (!va.Covers(j->dot)) out.push_back(*j);
      ++j;
    } else {
      out.push_back(both(*i, *j));
      ++i;
      ++j;
    }
  }
  return out;
}

CounterEntry MergeCounter(const CounterEntry& x, const CounterEntry& y) {
  if (x.life != y.life) return x.life < y.life ? y : x;
  CounterEntry merged = x.at < y.at ? y : x;
  auto clear_rank = [](const CounterEntry& e) {
    return std::pair(e.cleared_at, e.cleared_by.bits() != 0);
  };
  const CounterEntry& cleared = clear_rank(x) < clear_rank(y) ? y : x;
  merged.cleared_at = cleared.cleared_at;
  merged.cleared_total = cleared.cleared_total;
  merged.cleared_by = cleared.cleared_by;
  return merged;
}

std::vector<CounterEntry> MergeCounters(const std::vector<CounterEntry>& a,
                                        const clock::VersionVector& va,
                                        const std::vector<CounterEntry>& b,
                                        const clock::VersionVector& vb) {
  std::vector<CounterEntry> out;
  auto i = a.begin();
  auto j = b.begin();
  while (i != a.end() || j != b.end()) {
    if (j == b.end() || (i != a.end() && i->origin < j->origin)) {
      if (i->at.sequence > vb.Get(i->origin)) out.push_back(*i);
      ++i;
    } else if (i == a.end() || j->origin < i->origin) {
      if (j->at.sequence > va.Get(j->origin)) out.push_back(*j);
      ++j;
    } else {
      out.push_back(MergeCounter(*i++, *j++));
    }
  }
  return out;
}

void PutAt(std::string& out, At at) {
  base::PutVarint(out, at.sequence);
  base::PutVarint(out, at.index);
}

At ReadAt(base::Reader& in) {
  At at;
  at.sequence = in.Varint();
  uint64_t index = in.Varint();
  if (index > UINT32_MAX || at.sequence >> 48 != 0) in.Fail();
  at.index = static_cast<uint32_t>(index);
  return at;
}

// Saturates: each total is finite, their sum need not be.
long double Finite(long double v) {
  constexpr long double kMax = std::numeric_limits<long double>::max();
  return std::clamp(v, -kMax, kMax);
}

void PutOrigin(std::string& out, const clock::Origin& origin) {
  base::PutBytes(out, origin.leader);
  base::PutFixed64(out, origin.incarnation);
}

// Where the element is, or belongs.
template <typename Elements>
auto PlaceOf(Elements& elements, Type type, std::string_view name) {
  return std::lower_bound(elements.begin(),
                          elements.end(),
                          std::pair(type, name),
                          [](const Element& e, const std::pair<Type, std::string_view>& wanted) {
                            return std::pair(e.type, std::string_view(e.name)) < wanted;
                          });
}

}  // namespace

bool Register::has_live_version() const {
  return std::any_of(versions.begin(), versions.end(), [](const Version& v) { return !v.absent; });
}

bool Register::has_live_counter() const {
  return std::any_of(
      counters.begin(), counters.end(), [](const CounterEntry& e) { return e.live(); });
}

bool KeyState::live() const {
  return Register::live() ||
         std::any_of(elements.begin(), elements.end(), [](const Element& e) { return e.live(); });
}

const Element* KeyState::FindElement(Type type, std::string_view name) const {
  auto place = PlaceOf(elements, type, name);
  return place != elements.end() && place->type == type && place->name == name ? &*place : nullptr;
}

int64_t KeyState::ExpiryTime() const {
  bool any = false;
  int64_t latest = INT64_MIN;
  for (const ExpiryVersion& x : expiries) {
    latest = std::max(latest, x.time_ms);
    any = true;
  }
  for (const Version& v : versions) {
    if (v.never && !v.absent) return kNever;
  }
  return any ? latest : kNever;
}

ApplyResult ApplyToElement(Register& element,
                           const Effect& effect,
                           const Seen& seen,
                           clock::Hlc hlc) {
  switch (effect.kind) {
    case EffectKind::kPut:
    case EffectKind::kResolve:
      return PutVersion(element, effect, seen, hlc);
    case EffectKind::kWipeRange:
      RemoveSeen(element.versions, seen);
      if (PLANTED(kStreamTrimUnseen)) element.versions.clear();
      break;
    case EffectKind::kWipe:
    case EffectKind::kFlush:
      RemoveSeen(element.versions, seen);
      // A key's wipe carries the clears of the key's own register.
      if (effect.type != Type::kString) ApplyClears(element, effect.clears, seen.dot());
      if (PLANTED(kRemoveByName) && effect.type != Type::kString) element.versions.clear();
      if (PLANTED(kWipeClearsUnseen) && effect.type == Type::kString) {
        for (CounterEntry& e : element.counters) {
          e.cleared_at = e.at;
          e.cleared_total = e.total;
          e.cleared_by = seen.dot();
        }
      }
      break;
    case EffectKind::kIncrement:
      ApplyIncrement(element, effect, seen, hlc);
      break;
    case EffectKind::kClean:
      RemoveNamed(element.versions, effect.seen);
      break;
    case EffectKind::kExpire:
      break;
  }
  return {};
}

ApplyResult Apply(KeyState& state, const Effect& effect, const Seen& seen, clock::Hlc hlc) {
  if (effect.kind == EffectKind::kWipeRange) {
    WipeRange(state, effect, seen);
    return {};
  }
  if (effect.type != Type::kString) {
    auto place = PlaceOf(state.elements, effect.type, effect.element);
    if (place == state.elements.end() || place->type != effect.type ||
        place->name != effect.element) {
      Element element;
      element.type = effect.type;
      element.name = effect.element;
      place = state.elements.insert(place, std::move(element));
    }
    const ApplyResult result = ApplyToElement(*place, effect, seen, hlc);
    if (place->empty()) state.elements.erase(place);
    return result;
  }
  ApplyResult result;
  const clock::Dot dot = seen.dot();
  switch (effect.kind) {
    case EffectKind::kPut:
    case EffectKind::kResolve:
      if (effect.kind == EffectKind::kPut && (effect.flags & kWipes) != 0)
        Wipe(state, effect, seen);
      result = PutVersion(state, effect, seen, hlc);
      if ((effect.flags & kHasExpiry) != 0) {
        std::erase_if(state.expiries, [&](const ExpiryVersion& x) { return x.dot == dot; });
        InsertByDot(state.expiries, ExpiryVersion{dot, hlc, effect.expire_ms});
      }
      break;
    case EffectKind::kWipe:
    case EffectKind::kFlush:
      Wipe(state, effect, seen);
      ApplyClears(state, effect.clears, dot);
      break;
    case EffectKind::kIncrement:
      if ((effect.flags & kWipes) != 0) {
        Wipe(state, effect, seen);
        ApplyClears(state, effect.clears, dot);
      }
      ApplyIncrement(state, effect, seen, hlc);
      break;
    case EffectKind::kExpire:
      RemoveSeen(state.expiries, seen);
      InsertByDot(state.expiries, ExpiryVersion{dot, hlc, effect.expire_ms});
      for (Version& v : state.versions) {
        if (v.never && seen.Covers(v.dot) && !PLANTED(kNoExpiryFlag)) v.never = false;
      }
      break;
    case EffectKind::kClean:
      RemoveNamed(state.versions, effect.seen);
      RemoveNamed(state.expiries, effect.seen);
      break;
    case EffectKind::kWipeRange:
      break;
  }
  return result;
}

std::vector<Clear> ClearsOf(const Register& state) {
  std::vector<Clear> clears;
  for (const CounterEntry& e : state.counters) {
    if (e.live()) clears.push_back({e.origin, e.life, e.at, e.total});
  }
  return clears;
}

std::optional<NextIncrement> PrepareIncrement(const Register& state,
                                              clock::OriginIndex origin,
                                              At at,
                                              const Number& increment) {
  for (const CounterEntry& e : state.counters) {
    if (e.origin != origin || (!e.live() && !PLANTED(kLifeAfterPurge))) continue;
    auto total = Add(e.total, increment);
    if (!total) return std::nullopt;
    return NextIncrement{e.life, *total};
  }
  return NextIncrement{at, increment};
}

Register MergeElement(const Register& a,
                      const clock::VersionVector& va,
                      const Register& b,
                      const clock::VersionVector& vb) {
  Register merged;
  merged.versions = MergeByDot(a.versions, va, b.versions, vb, [](Version x, const Version& y) {
    x.never = x.never && y.never;  // only ever cleared
    return x;
  });
  merged.counters = MergeCounters(a.counters, va, b.counters, vb);
  return merged;
}

KeyState Merge(const KeyState& a,
               const clock::VersionVector& va,
               const KeyState& b,
               const clock::VersionVector& vb) {
  KeyState merged;
  static_cast<Register&>(merged) = MergeElement(a, va, b, vb);
  merged.expiries =
      MergeByDot(a.expiries, va, b.expiries, vb, [](const ExpiryVersion& x, const ExpiryVersion&) {
        return x;
      });
  auto rank = [](const Element& e) { return std::pair(e.type, std::string_view(e.name)); };
  static const Element kNothing;
  auto i = a.elements.begin();
  auto j = b.elements.begin();
  while (i != a.elements.end() || j != b.elements.end()) {
    const bool left = i != a.elements.end() && (j == b.elements.end() || rank(*i) <= rank(*j));
    const bool right = j != b.elements.end() && (i == a.elements.end() || rank(*j) <= rank(*i));
    if (!left && PLANTED(kMergeMineOnly)) {
      ++j;
      continue;
    }
    const Element& x = left ? *i : kNothing;
    const Element& y = right ? *j : kNothing;
    Element element;
    static_cast<Register&>(element) = MergeElement(x, va, y, vb);
    if (!element.empty()) {
      element.type = left ? x.type : y.type;
      element.name = left ? x.name : y.name;
      merged.elements.push_back(std::move(element));
    }
    if (left) ++i;
    if (right) ++j;
  }
  return merged;
}

bool TagRank::Less(const TagRank& other, const clock::OriginTable& origins) const {
  if (hlc.bits != other.hlc.bits) return hlc.bits < other.hlc.bits;
  if (origin != other.origin) return origins.Less(origin, other.origin);
  return at < other.at;
}

std::optional<TagRank> NewestTag(const Register& state, const clock::OriginTable& origins) {
  std::optional<TagRank> newest;
  auto consider = [&](const TagRank& rank) {
    if (!newest || newest->Less(rank, origins)) newest = rank;
  };
  for (const Version& v : state.versions) {
    if (!v.absent) consider({v.hlc, v.dot.origin(), {v.dot.sequence(), 0}});
  }
  for (const CounterEntry& e : state.counters) {
    if (e.live()) consider({e.hlc, e.origin, e.at});
  }
  return newest;
}

std::optional<Type> NewestType(const KeyState& state, const clock::OriginTable& origins) {
  std::optional<Type> type;
  std::optional<TagRank> newest;
  auto consider = [&](Type of, const Register& reg) {
    const std::optional<TagRank> rank = NewestTag(reg, origins);
    // Of one rank, which one change may have given to two types, the later type is shown.
    if (!rank || (newest && rank->Less(*newest, origins))) return;
    newest = rank;
    type = of;
  };
  consider(Type::kString, state);
  for (const Element& e : state.elements)
    consider(e.type, e);
  return type;
}

Number CounterSum(const Register& state, const clock::OriginTable& origins) {
  __int128 integer = 0;  // totals are far from 127 bits: thousands of them fit
  bool any_real = false;
  for (const CounterEntry& e : state.counters) {
    // A cleared one adds nothing, and leaders purge it at different times.
    if (!e.live()) continue;
    if (e.total.is_real || e.cleared_total.is_real) any_real = true;
    integer += e.total.integer - e.cleared_total.integer;
  }
  if (any_real) {
    std::vector<const CounterEntry*> ordered;
    for (const CounterEntry& e : state.counters) {
      if (e.live()) ordered.push_back(&e);
    }
    std::sort(ordered.begin(), ordered.end(), [&](const CounterEntry* x, const CounterEntry* y) {
      return origins.Less(x->origin, y->origin);
    });
    long double sum = 0;
    for (const CounterEntry* e : ordered)
      sum = Finite(sum + Finite(e->total.real - e->cleared_total.real));
    return {true, integer, sum};
  }
  return Number::Integer(integer);
}

void EncodeRegister(const Register& state, std::string& out) {
  base::PutVarint(out, state.versions.size());
  for (const Version& v : state.versions) {
    base::PutFixed64(out, v.dot.bits());
    base::PutFixed64(out, v.hlc.bits);
    out.push_back(static_cast<char>((v.never ? 1 : 0) | (v.absent ? 2 : 0)));
    base::PutBytes(out, v.value);
  }
  base::PutVarint(out, state.counters.size());
  for (const CounterEntry& e : state.counters) {
    base::PutVarint(out, clock::IndexOf(e.origin));
    PutAt(out, e.life);
    PutAt(out, e.at);
    PutNumber(out, e.total);
    PutAt(out, e.cleared_at);
    PutNumber(out, e.cleared_total);
    base::PutFixed64(out, e.cleared_by.bits());
    base::PutFixed64(out, e.hlc.bits);
  }
}

void Encode(const KeyState& state, std::string& out) {
  EncodeRegister(state, out);
  base::PutVarint(out, state.expiries.size());
  for (const ExpiryVersion& x : state.expiries) {
    base::PutFixed64(out, x.dot.bits());
    base::PutFixed64(out, x.hlc.bits);
    base::PutVarint(out, base::ZigZag(x.time_ms));
  }
  base::PutVarint(out, state.elements.size());
  for (const Element& e : state.elements) {
    out.push_back(static_cast<char>(e.type));
    base::PutBytes(out, e.name);
    EncodeRegister(e, out);
  }
}

namespace {

// The next dot of a list: names an origin, and lists rise.
clock::Dot ReadRisingDot(base::Reader& in, clock::Dot& last) {
  clock::Dot dot = clock::Dot::FromBits(in.Fixed64());
  if (clock::IndexOf(dot.origin()) >= clock::kOriginsMax || dot <= last) in.Fail();
  return last = dot;
}

}  // namespace

bool DecodeRegister(base::Reader& in, Register& state) {
  state = Register{};
  clock::Dot last;
  for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
    Version v;
    v.dot = ReadRisingDot(in, last);
    v.hlc.bits = in.Fixed64();
    uint8_t flags = in.Fixed8();
    if (flags > 3) in.Fail();
    v.never = (flags & 1) != 0;
    v.absent = (flags & 2) != 0;
    v.value = in.Bytes();
    state.versions.push_back(std::move(v));
  }
  for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
    CounterEntry e;
    uint64_t index = in.Varint();
    if (index >= clock::kOriginsMax) in.Fail();
    e.origin = static_cast<clock::OriginIndex>(index);
    if (!state.counters.empty() && e.origin <= state.counters.back().origin) in.Fail();
    e.life = ReadAt(in);
    e.at = ReadAt(in);
    e.total = ReadNumber(in);
    e.cleared_at = ReadAt(in);
    e.cleared_total = ReadNumber(in);
    e.cleared_by = clock::Dot::FromBits(in.Fixed64());
    e.hlc.bits = in.Fixed64();
    state.counters.push_back(e);
  }
  return in.ok();
}

bool Decode(base::Reader& in, KeyState& state, uint8_t format) {
  state = KeyState{};
  if (!DecodeRegister(in, state)) return false;
  clock::Dot last;
  for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
    ExpiryVersion x;
    x.dot = ReadRisingDot(in, last);
    x.hlc.bits = in.Fixed64();
    x.time_ms = in.SignedVarint();
    state.expiries.push_back(x);
  }
  if (format < 2) return in.ok();
  for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
    Element e;
    const uint8_t type = in.Fixed8();
    if (type == 0 || type > kTypeMax) in.Fail();
    e.type = static_cast<Type>(type);
    e.name = in.Bytes();
    if (!DecodeRegister(in, e)) return false;
    if (e.empty()) in.Fail();
    if (!state.elements.empty()) {
      const Element& before = state.elements.back();
      if (std::pair(e.type, std::string_view(e.name)) <=
          std::pair(before.type, std::string_view(before.name))) {
        in.Fail();
      }
    }
    state.elements.push_back(std::move(e));
  }
  return in.ok();
}

namespace {

void AddRegisterLines(const Register& state,
                      const clock::OriginTable& origins,
                      bool residue,
                      std::vector<std::string>& lines) {
  if (residue || state.has_live_version()) {
    for (const Version& v : state.versions) {
      std::string line = "v";
      PutOrigin(line, origins.Get(v.dot.origin()));
      base::PutVarint(line, v.dot.sequence());
      base::PutFixed64(line, v.hlc.bits);
      line.push_back(static_cast<char>((v.never ? 1 : 0) | (v.absent ? 2 : 0)));
      line += v.value;
      lines.push_back(std::move(line));
    }
  }
  for (const CounterEntry& e : state.counters) {
    if (!e.live()) continue;
    std::string line = "c";
    PutOrigin(line, origins.Get(e.origin));
    auto value = Subtract(e.total, e.cleared_total);
    // Totals may differ where an entry was purged and began anew; what counts is their difference.
    PutNumber(line, value.value_or(Number::Integer(0)));
    lines.push_back(std::move(line));
  }
}

std::string Joined(std::vector<std::string> lines) {
  std::string out;
  std::sort(lines.begin(), lines.end());
  for (const std::string& line : lines)
    base::PutBytes(out, line);
  return out;
}

}  // namespace

std::string CanonicalElement(const Register& element,
                             const clock::OriginTable& origins,
                             bool residue) {
  std::vector<std::string> lines;
  AddRegisterLines(element, origins, residue, lines);
  return Joined(std::move(lines));
}

std::string Canonical(const KeyState& state, const clock::OriginTable& origins, bool residue) {
  std::vector<std::string> lines;
  AddRegisterLines(state, origins, residue, lines);
  if (residue || state.live()) {
    for (const ExpiryVersion& x : state.expiries) {
      std::string line = "x";
      PutOrigin(line, origins.Get(x.dot.origin()));
      base::PutVarint(line, x.dot.sequence());
      base::PutVarint(line, base::ZigZag(x.time_ms));
      lines.push_back(std::move(line));
    }
  }
  for (const Element& e : state.elements) {
    const std::string canonical = CanonicalElement(e, origins, residue);
    if (canonical.empty()) continue;
    std::string line = "e";
    line.push_back(static_cast<char>(e.type));
    base::PutBytes(line, e.name);
    lines.push_back(line + canonical);
  }
  return Joined(std::move(lines));
}

}  // namespace polyarch::crdt
