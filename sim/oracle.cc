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

bool OracleState::live() const {
  return !counters.empty() ||
         std::any_of(versions.begin(), versions.end(), [](const Version& v) { return !v.absent; });
}

int64_t OracleState::ExpiryTime() const {
  int64_t latest = INT64_MIN;
  for (const Expiry& x : expiries) latest = std::max(latest, x.time_ms);
  for (const Version& v : versions) {
    if (v.never && !v.absent) return crdt::kNever;
  }
  return expiries.empty() ? crdt::kNever : latest;
}

std::string OracleState::ToString() const {
  std::string text;
  auto name = [](Dot dot) { return std::to_string(dot.origin) + ":" + std::to_string(dot.sequence); };
  for (const Version& v : versions) {
    text += " v" + name(v.dot) + "@" + std::to_string(v.hlc >> 16) + "." + std::to_string(v.hlc & 0xffff) +
            (v.never ? " never" : "") + (v.absent ? " absent" : "='" + v.value + "'");
  }
  for (const Sum& c : counters) {
    text += " c" + std::to_string(c.origin) + "=" + std::to_string(static_cast<int64_t>(c.integer));
    if (c.any_real) text += "+" + std::to_string(static_cast<double>(c.real));
  }
  for (const Expiry& x : expiries) {
    text += " x" + name(x.dot) + "=" + (x.time_ms == crdt::kNever ? "never" : std::to_string(x.time_ms));
  }
  return text.empty() ? " nothing" : text;
}

std::string Difference(const OracleState& expected, const OracleState& found) {
  bool same = expected.versions == found.versions && expected.expiries == found.expiries &&
              expected.counters.size() == found.counters.size();
  for (size_t i = 0; same && i < expected.counters.size(); ++i) {
    const OracleState::Sum& a = expected.counters[i];
    const OracleState::Sum& b = found.counters[i];
    same = a.origin == b.origin;
    if (a.any_real || b.any_real) {
      long double x = static_cast<long double>(a.integer) + a.real;
      long double y = static_cast<long double>(b.integer) + b.real;
      same = same && std::fabs(x - y) <= 1e-9L * std::max<long double>(1, std::fabs(x));
    } else {
      same = same && a.integer == b.integer;
    }
  }
  if (same) return {};
  return "\n  expected" + expected.ToString() + "\n  found   " + found.ToString();
}

Oracle::History& Oracle::Of(const Key& key) {
  auto [it, added] = index_.try_emplace(key, histories_.size());
  if (added) histories_.emplace_back();
  return histories_[it->second];
}

void Oracle::Kill(const OracleChange& change,
                  uint32_t index,
                  const OracleEffect& effect,
                  History& history) {
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
  auto removes = [&](const Item& item) {
    switch (effect.kind) {
      case EffectKind::kPut: return (item.part != Part::kExpiry || wipes) && had_seen(item);
      case EffectKind::kIncrement: return wipes && had_seen(item);
      case EffectKind::kWipe:
      case EffectKind::kFlush:
        return (item.part != Part::kExpiry || (effect.flags & crdt::kKeepExpiry) == 0) && had_seen(item);
      case EffectKind::kExpire: return item.part == Part::kExpiry && had_seen(item);
      case EffectKind::kClean: return item.part != Part::kIncrement && named(item);
      case EffectKind::kResolve:
        if (item.part == Part::kVersion) return named(item);
        if (item.part == Part::kExpiry) return false;
        return std::any_of(effect.clears.begin(), effect.clears.end(), [&](const auto& c) {
          const crdt::At at{item.sequence, item.index};
          return c.origin == item.origin && c.life <= at && at <= c.at;
        });
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
  for (Item& item : history.items) {
    if (removes(item)) note(item.killers);
    if (effect.kind == EffectKind::kExpire && item.part == Part::kVersion && item.never &&
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
    Item item{.part = Part::kVersion,
              .origin = change.origin,
              .sequence = change.sequence,
              .index = i,
              .hlc = change.hlc};
    switch (e.kind) {
      case EffectKind::kPut:
      case EffectKind::kResolve:
        item.never = (e.flags & crdt::kNeverFlag) != 0;
        item.absent = (e.flags & crdt::kAbsent) != 0;
        item.value = e.value;
        history.items.push_back(item);
        if ((e.flags & crdt::kHasExpiry) != 0) {
          item.part = Part::kExpiry;
          item.expire_ms = e.expire_ms;
          history.items.push_back(item);
        }
        break;
      case EffectKind::kIncrement:
        item.part = Part::kIncrement;
        item.increment = e.increment;
        history.items.push_back(item);
        break;
      case EffectKind::kExpire:
        item.part = Part::kExpiry;
        item.expire_ms = e.expire_ms;
        history.items.push_back(item);
        break;
      case EffectKind::kWipe:
      case EffectKind::kClean:
      case EffectKind::kFlush: break;
    }
  }
}

bool Oracle::Alive(const Item& item, const Vector& seen) {
  if (item.sequence > At(seen, item.origin)) return false;
  return std::none_of(item.killers.begin(), item.killers.end(), [&](Dot k) { return Covers(seen, k); });
}

OracleState Oracle::StateOf(const Key& key, const Vector& seen) const {
  OracleState state;
  auto it = index_.find(key);
  if (it == index_.end()) return state;
  for (const Item& item : histories_[it->second].items) {
    if (!Alive(item, seen)) continue;
    const Dot dot{item.origin, item.sequence};
    switch (item.part) {
      case Part::kVersion: {
        bool never = item.never && std::none_of(item.extended.begin(), item.extended.end(),
                                                [&](Dot x) { return Covers(seen, x); });
        state.versions.push_back({dot, item.hlc, never, item.absent, item.value});
        break;
      }
      case Part::kExpiry: state.expiries.push_back({dot, item.expire_ms}); break;
      case Part::kIncrement: {
        auto sum = std::find_if(state.counters.begin(), state.counters.end(),
                                [&](const OracleState::Sum& s) { return s.origin == item.origin; });
        if (sum == state.counters.end()) sum = state.counters.insert(sum, {.origin = item.origin});
        if (item.increment.is_real) {
          sum->real += item.increment.real;
          sum->any_real = true;
        } else {
          sum->integer += item.increment.integer;
        }
        break;
      }
    }
  }
  std::sort(state.versions.begin(), state.versions.end());
  std::sort(state.expiries.begin(), state.expiries.end());
  std::sort(state.counters.begin(), state.counters.end(),
            [](const auto& a, const auto& b) { return a.origin < b.origin; });
  return state;
}

size_t Oracle::CountIncrementOrigins(const Key& key, const Vector& seen) const {
  std::set<uint32_t> origins;
  auto it = index_.find(key);
  if (it == index_.end()) return 0;
  for (const Item& item : histories_[it->second].items) {
    if (item.part == Part::kIncrement && item.sequence <= At(seen, item.origin)) origins.insert(item.origin);
  }
  return origins.size();
}

std::vector<OracleState::Version> Oracle::VersionsOf(const Key& key, const Vector& seen) const {
  std::vector<OracleState::Version> versions;
  auto it = index_.find(key);
  if (it == index_.end()) return versions;
  for (const Item& item : histories_[it->second].items) {
    if (item.part != Part::kVersion || !Alive(item, seen)) continue;
    versions.push_back({{item.origin, item.sequence}, item.hlc, item.never, item.absent, item.value});
  }
  return versions;
}

}  // namespace polyarch::sim
