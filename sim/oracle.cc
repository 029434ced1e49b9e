#include "sim/oracle.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace polyarch::sim {

using crdt::EffectKind;

void Raise(Vector& v, size_t origin, uint64_t sequence) {
  if (origin >= v.size()) v.resize(origin + 1);
  v[origin] = std::max(v[origin], sequence);
}

bool Includes(const Vector& big, const Vector& small) {
  for (size_t o = 0; o < small.size(); ++o) {
    if (small[o] > At(big, o)) return false;
  }
  return true;
}

void Join(Vector& a, const Vector& b) {
  for (size_t o = 0; o < b.size(); ++o) {
    if (b[o] != 0) Raise(a, o, b[o]);
  }
}

void Normalize(Vector& v) {
  while (!v.empty() && v.back() == 0) v.pop_back();
}

bool OracleRegister::live() const {
  return !counters.empty() ||
         std::any_of(versions.begin(), versions.end(), [](const Version& v) { return !v.absent; });
}

bool OracleState::live() const {
  return OracleRegister::live() ||
         std::any_of(elements.begin(), elements.end(), [](const auto& e) { return e.second.live(); });
}

int64_t OracleState::ExpiryTime() const {
  int64_t latest = INT64_MIN;
  for (const Expiry& x : expiries) latest = std::max(latest, x.time_ms);
  for (const Version& v : versions) {
    if (v.never && !v.absent) return crdt::kNever;
  }
  return expiries.empty() ? crdt::kNever : latest;
}

namespace {

std::string DotText(Dot dot) { return std::to_string(dot.origin) + ":" + std::to_string(dot.sequence); }

std::string ElementText(const Place& place, const OracleRegister& element) {
  return " | " + std::to_string(static_cast<int>(place.first)) + "/" + place.second + element.ToString();
}

bool Equal(const OracleRegister& x, const OracleRegister& y) {
  bool same = x.versions == y.versions && x.counters.size() == y.counters.size();
  for (size_t i = 0; same && i < x.counters.size(); ++i) {
    const OracleRegister::Sum& a = x.counters[i];
    const OracleRegister::Sum& b = y.counters[i];
    same = a.origin == b.origin;
    if (a.any_real || b.any_real) {
      long double left = static_cast<long double>(a.integer) + a.real;
      long double right = static_cast<long double>(b.integer) + b.real;
      same = same && std::fabs(left - right) <= 1e-9L * std::max<long double>(1, std::fabs(left));
    } else {
      same = same && a.integer == b.integer;
    }
  }
  return same;
}

}  // namespace

std::string OracleRegister::ToString() const {
  std::string text;
  for (const Version& v : versions) {
    text += " v" + DotText(v.dot) + "@" + std::to_string(v.hlc >> 16) + "." + std::to_string(v.hlc & 0xffff) +
            (v.never ? " never" : "") + (v.absent ? " absent" : "='" + v.value + "'");
  }
  for (const Sum& c : counters) {
    text += " c" + std::to_string(c.origin) + "=" + std::to_string(static_cast<int64_t>(c.integer));
    if (c.any_real) text += "+" + std::to_string(static_cast<double>(c.real));
  }
  return text;
}

std::string OracleState::ToString() const {
  std::string text = OracleRegister::ToString();
  for (const Expiry& x : expiries) {
    text += " x" + DotText(x.dot) + "=" + (x.time_ms == crdt::kNever ? "never" : std::to_string(x.time_ms));
  }
  for (const auto& [place, element] : elements) text += ElementText(place, element);
  return text.empty() ? " nothing" : text;
}

std::string Difference(const OracleState& expected, const OracleState& found) {
  if (!Equal(expected, found) || expected.expiries != found.expiries) {
    return "\n  expected" + expected.ToString() + "\n  found   " + found.ToString();
  }
  static const OracleRegister kNothing;
  auto i = expected.elements.begin();
  auto j = found.elements.begin();
  while (i != expected.elements.end() || j != found.elements.end()) {
    const bool left = i != expected.elements.end() && (j == found.elements.end() || i->first <= j->first);
    const bool right = j != found.elements.end() && (i == expected.elements.end() || j->first <= i->first);
    const OracleRegister& a = left ? i->second : kNothing;
    const OracleRegister& b = right ? j->second : kNothing;
    if (!Equal(a, b)) {
      const Place& place = left ? i->first : j->first;
      return "\n  expected" + ElementText(place, a) + "\n  found   " + ElementText(place, b);
    }
    if (left) ++i;
    if (right) ++j;
  }
  return {};
}

Oracle::History& Oracle::Of(const Key& key) {
  auto [it, added] = index_.try_emplace(key, histories_.size());
  if (added) histories_.emplace_back();
  return histories_[it->second];
}

const std::vector<Oracle::Item>* Oracle::Find(const Key& key, const Place& place) const {
  auto it = index_.find(key);
  if (it == index_.end()) return nullptr;
  const History& history = histories_[it->second];
  auto found = history.find(place);
  return found == history.end() ? nullptr : &found->second;
}

void Oracle::Kill(const OracleChange& change,
                  uint32_t index,
                  const OracleEffect& effect,
                  History& history) {
  if (effect.kind == EffectKind::kWipeRange) {
    for (auto& [place, items] : history) {
      if (place.first == effect.place.first && place.second >= effect.place.second && place.second < effect.value) {
        KillIn(change, index, effect, true, items);
      }
    }
    return;
  }
  if (IsElement(effect.place)) return KillIn(change, index, effect, false, history[effect.place]);
  const bool wipes = effect.kind == EffectKind::kWipe || effect.kind == EffectKind::kFlush ||
                     (effect.flags & crdt::kWipes) != 0;
  for (auto& [place, items] : history) {
    if (!IsElement(place)) {
      KillIn(change, index, effect, false, items);
    } else if (wipes) {
      KillIn(change, index, effect, true, items);
    }
  }
}

// `from_key`: what a wipe of the key does to an element. It takes the versions that its writer had seen;
// increments only go by an effect about the element.
void Oracle::KillIn(const OracleChange& change,
                    uint32_t index,
                    const OracleEffect& effect,
                    bool from_key,
                    std::vector<Item>& items) {
  const Dot by{change.origin, change.sequence};
  const bool wipes = (effect.flags & crdt::kWipes) != 0;
  auto had_seen = [&](const Item& item) {
    if (item.origin == change.origin) {
      return item.sequence < change.sequence || (item.sequence == change.sequence && item.index < index);
    }
    return item.sequence <= At(*change.deps, item.origin);
  };
  auto named = [&](const Item& item) {
    return std::find(effect.seen.begin(), effect.seen.end(), Dot{item.origin, item.sequence}) !=
           effect.seen.end();
  };
  const bool keeps_expiry = (effect.flags & crdt::kKeepExpiry) != 0;
  auto removes = [&](const Item& item) {
    if (from_key) return item.part == Part::kVersion && had_seen(item);
    switch (effect.kind) {
      case EffectKind::kPut:
        return (item.part != Part::kExpiry || (wipes && !keeps_expiry)) && had_seen(item);
      case EffectKind::kIncrement: return wipes && had_seen(item);
      case EffectKind::kWipe:
      case EffectKind::kFlush:
        return (item.part != Part::kExpiry || !keeps_expiry) && had_seen(item);
      case EffectKind::kExpire: return item.part == Part::kExpiry && had_seen(item);
      case EffectKind::kClean: return item.part != Part::kIncrement && named(item);
      case EffectKind::kResolve:
        if (item.part == Part::kVersion) return named(item);
        if (item.part == Part::kExpiry) return false;
        return std::any_of(effect.clears.begin(), effect.clears.end(), [&](const auto& c) {
          const crdt::At at{item.sequence, item.index};
          return c.origin == item.origin && c.life <= at && at <= c.at;
        });
      case EffectKind::kWipeRange: return false;  // of the elements of a key, as a wipe of it
    }
    return false;
  };
  auto note = [&](std::vector<Dot>& dots) {
    for (Dot earlier : dots) {
      bool seen = earlier.origin == by.origin ? earlier.sequence <= by.sequence
                                              : Covers(*change.deps, earlier);
      if (seen) return;
    }
    dots.push_back(by);
  };
  for (Item& item : items) {
    if (removes(item)) note(item.killers);
    if (!from_key && effect.kind == EffectKind::kExpire && item.part == Part::kVersion && item.never &&
        had_seen(item)) {
      note(item.extended);
    }
  }
}

void Oracle::Add(const OracleChange& change) {
  ++changes_;
  for (uint32_t i = 0; i < change.effects.size(); ++i) {
    const OracleEffect& e = change.effects[i];
    if (e.kind == EffectKind::kFlush) {
      for (const auto& [key, place] : index_) {
        if (key.first < crdt::kDatabases && (e.db == crdt::kAllDatabases || e.db == key.first)) {
          Kill(change, i, e, histories_[place]);
        }
      }
      continue;
    }
    History& history = Of({e.db, e.key});
    Kill(change, i, e, history);
    if (e.kind == EffectKind::kWipeRange) continue;
    std::vector<Item>& items = history[e.place];
    const bool of_key = !IsElement(e.place);
    Item item{.part = Part::kVersion,
              .origin = change.origin,
              .sequence = change.sequence,
              .index = i,
              .hlc = change.hlc};
    switch (e.kind) {
      case EffectKind::kPut:
      case EffectKind::kResolve:
        item.never = of_key && (e.flags & crdt::kNeverFlag) != 0;
        item.absent = (e.flags & crdt::kAbsent) != 0;
        item.value = e.value;
        items.push_back(item);
        if (of_key && (e.flags & crdt::kHasExpiry) != 0) {
          item.part = Part::kExpiry;
          item.expire_ms = e.expire_ms;
          items.push_back(item);
        }
        break;
      case EffectKind::kIncrement:
        item.part = Part::kIncrement;
        item.increment = e.increment;
        items.push_back(item);
        break;
      case EffectKind::kExpire:
        item.part = Part::kExpiry;
        item.expire_ms = e.expire_ms;
        items.push_back(item);
        break;
      case EffectKind::kWipe:
      case EffectKind::kClean:
      case EffectKind::kWipeRange:
      case EffectKind::kFlush: break;
    }
  }
}

bool Oracle::Alive(const Item& item, const Vector& seen) {
  if (item.sequence > At(seen, item.origin)) return false;
  return std::none_of(item.killers.begin(), item.killers.end(), [&](Dot k) { return Covers(seen, k); });
}

// Versions and increments; what is not alive, and expiries, it passes over.
void Oracle::AddTo(OracleRegister& state, const Item& item, const Vector& seen) {
  if (!Alive(item, seen)) return;
  if (item.part == Part::kVersion) {
    bool never = item.never && std::none_of(item.extended.begin(), item.extended.end(),
                                            [&](Dot x) { return Covers(seen, x); });
    state.versions.push_back({{item.origin, item.sequence}, item.hlc, never, item.absent, item.value});
    return;
  }
  if (item.part != Part::kIncrement) return;
  auto sum = std::find_if(state.counters.begin(), state.counters.end(),
                          [&](const OracleRegister::Sum& s) { return s.origin == item.origin; });
  if (sum == state.counters.end()) sum = state.counters.insert(sum, {.origin = item.origin});
  sum->hlc = std::max(sum->hlc, item.hlc);
  if (item.increment.is_real) {
    sum->real += item.increment.real;
    sum->any_real = true;
  } else {
    sum->integer += item.increment.integer;
  }
}

namespace {

void Sort(OracleRegister& state) {
  std::sort(state.versions.begin(), state.versions.end());
  std::sort(state.counters.begin(), state.counters.end(),
            [](const auto& a, const auto& b) { return a.origin < b.origin; });
}

}  // namespace

OracleState Oracle::StateOf(const Key& key, const Vector& seen) const {
  OracleState state;
  auto it = index_.find(key);
  if (it == index_.end()) return state;
  for (const auto& [place, items] : histories_[it->second]) {
    if (IsElement(place)) {
      OracleRegister element;
      for (const Item& item : items) AddTo(element, item, seen);
      if (element.empty()) continue;
      Sort(element);
      state.elements.emplace_hint(state.elements.end(), place, std::move(element));
      continue;
    }
    for (const Item& item : items) {
      if (item.part == Part::kExpiry && Alive(item, seen)) {
        state.expiries.push_back({{item.origin, item.sequence}, item.expire_ms});
      } else {
        AddTo(state, item, seen);
      }
    }
    Sort(state);
    std::sort(state.expiries.begin(), state.expiries.end());
  }
  return state;
}

size_t Oracle::CountIncrementOrigins(const Key& key, const Place& place, const Vector& seen) const {
  std::set<uint32_t> origins;
  const std::vector<Item>* items = Find(key, place);
  if (items == nullptr) return 0;
  for (const Item& item : *items) {
    if (item.part == Part::kIncrement && item.sequence <= At(seen, item.origin)) origins.insert(item.origin);
  }
  return origins.size();
}

std::vector<OracleRegister::Version> Oracle::VersionsOf(const Key& key,
                                                        const Place& place,
                                                        const Vector& seen) const {
  std::vector<OracleRegister::Version> versions;
  const std::vector<Item>* items = Find(key, place);
  if (items == nullptr) return versions;
  for (const Item& item : *items) {
    if (item.part != Part::kVersion || !Alive(item, seen)) continue;
    versions.push_back({{item.origin, item.sequence}, item.hlc, item.never, item.absent, item.value});
  }
  return versions;
}

std::optional<OracleRegister::Version> Oracle::FinalOf(const Key& key, const Place& place, Dot change) const {
  const std::vector<Item>* items = Find(key, place);
  if (items == nullptr) return std::nullopt;
  for (const Item& item : *items) {
    if (item.part != Part::kVersion || item.origin != change.origin || item.sequence != change.sequence) continue;
    if (std::find(item.killers.begin(), item.killers.end(), change) != item.killers.end()) continue;
    return OracleRegister::Version{change, item.hlc, item.never, item.absent, item.value};
  }
  return std::nullopt;
}

std::vector<Place> Oracle::PlacesOf(const Key& key) const {
  std::vector<Place> places;
  auto it = index_.find(key);
  if (it == index_.end()) return places;
  for (const auto& [place, items] : histories_[it->second]) places.push_back(place);
  return places;
}

}  // namespace polyarch::sim
