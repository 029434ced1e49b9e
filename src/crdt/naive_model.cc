#include "crdt/naive_model.h"

#include <algorithm>

namespace polyarch::crdt {

namespace {

enum class Part { kVersion, kCounter, kExpiry };

struct Tag {
  size_t origin;
  At at;
  Type type;
  std::string_view element;
};

bool CoveredBy(const NaiveVector& v, size_t origin, uint64_t sequence) {
  return origin < v.size() && sequence <= v[origin];
}

// Had the writer of effect `at` of `change` seen the effect `tag`?
bool HadSeen(const NaiveChange& change, At at, const Tag& tag) {
  if (tag.origin == change.origin) return tag.at < at;
  return CoveredBy(change.deps, tag.origin, tag.at.sequence);
}

// Does effect `e` name `tag`? Dots have no index: what comes later in the same change is not meant.
bool Names(const NaiveChange& change, At at, const NaiveEffect& e, const Tag& tag) {
  if (tag.origin == change.origin && tag.at >= at) return false;
  return std::find(e.seen.begin(), e.seen.end(), NaiveDot{tag.origin, tag.at.sequence}) !=
         e.seen.end();
}

// Does this effect remove everything of `part` that its writer had seen?
bool Replaces(const NaiveEffect& e, Part part) {
  const bool wipes = (e.flags & kWipes) != 0;
  const bool keeps_expiry = (e.flags & kKeepExpiry) != 0;
  switch (e.kind) {
    case EffectKind::kPut:
      return part != Part::kExpiry || (wipes && !keeps_expiry);
    case EffectKind::kIncrement:
      return wipes && (part != Part::kExpiry || !keeps_expiry);
    case EffectKind::kWipe:
    case EffectKind::kFlush:
      return part != Part::kExpiry || !keeps_expiry;
    case EffectKind::kExpire:
      return part == Part::kExpiry;
    case EffectKind::kResolve:
    case EffectKind::kClean:
    case EffectKind::kWipeRange:
      return false;
  }
  return false;
}

// Does an effect about a whole key remove what its writer had seen of the key's elements? Of their
// counters it removes nothing: the writer wipes those elements one by one.
bool WipesElements(const NaiveEffect& e) {
  return e.kind == EffectKind::kWipe || e.kind == EffectKind::kFlush || (e.flags & kWipes) != 0;
}

bool Kills(const NaiveChange& change, At at, const NaiveEffect& e, Part part, const Tag& tag) {
  if (e.kind == EffectKind::kWipeRange) {
    return e.type == tag.type && part == Part::kVersion && e.element <= tag.element &&
           tag.element < e.value && HadSeen(change, at, tag);
  }
  if (e.type != tag.type || e.element != tag.element) {
    return e.type == Type::kString && part == Part::kVersion && WipesElements(e) &&
           HadSeen(change, at, tag);
  }
  if (e.kind == EffectKind::kClean) return part != Part::kCounter && Names(change, at, e, tag);
  if (e.kind == EffectKind::kResolve && part == Part::kVersion) {
    // What its token names, and what the same change wrote before.
    bool own = tag.origin == change.origin && tag.at.sequence == at.sequence && tag.at < at;
    return own || Names(change, at, e, tag);
  }
  if (e.kind == EffectKind::kResolve && part == Part::kCounter) {
    return std::any_of(e.clears.begin(), e.clears.end(), [&](const NaiveClear& c) {
      return c.origin == tag.origin && c.life <= tag.at && tag.at <= c.at;
    });
  }
  return Replaces(e, part) && HadSeen(change, at, tag);
}

}  // namespace

bool Includes(const NaiveVector& b, const NaiveVector& a) {
  for (size_t o = 0; o < a.size(); ++o) {
    if (a[o] > 0 && !CoveredBy(b, o, a[o])) return false;
  }
  return true;
}

NaiveState NaiveModel::StateAt(const NaiveVector& seen) const {
  NaiveState state;
  auto visit = [&](auto&& each) {
    for (const NaiveChange& change : changes_) {
      if (!CoveredBy(seen, change.origin, change.sequence)) continue;
      for (uint32_t i = 0; i < change.effects.size(); ++i) {
        each(change, At{change.sequence, i}, change.effects[i]);
      }
    }
  };
  auto killed = [&](Part part, const Tag& tag) {
    bool any = false;
    visit([&](const NaiveChange& change, At at, const NaiveEffect& e) {
      any = any || Kills(change, at, e, part, tag);
    });
    return any;
  };
  auto extended = [&](const Tag& tag) {
    bool any = false;
    visit([&](const NaiveChange& change, At at, const NaiveEffect& e) {
      any = any || (e.kind == EffectKind::kExpire && HadSeen(change, at, tag));
    });
    return any;
  };
  visit([&](const NaiveChange& change, At at, const NaiveEffect& e) {
    const Tag tag{change.origin, at, e.type, e.element};
    const bool of_key = e.type == Type::kString;
    const bool writes = e.kind == EffectKind::kPut || e.kind == EffectKind::kResolve;
    if (writes && !killed(Part::kVersion, tag)) {
      bool never = of_key && (e.flags & kNeverFlag) != 0 && !extended(tag);
      state.registers[{e.type, e.element}].versions.emplace_back(change.origin,
                                                                 change.sequence,
                                                                 change.hlc.bits,
                                                                 never,
                                                                 (e.flags & kAbsent) != 0,
                                                                 e.value);
    }
    if (e.kind == EffectKind::kIncrement && !killed(Part::kCounter, tag)) {
      NaiveState::Sum& sum = state.registers[{e.type, e.element}].counters[change.origin];
      if (e.increment.is_real) {
        sum.real += e.increment.real;
      } else {
        sum.integer += e.increment.integer;
      }
    }
    const bool expires =
        of_key && (e.kind == EffectKind::kExpire || (writes && (e.flags & kHasExpiry) != 0));
    if (expires && !killed(Part::kExpiry, tag)) {
      state.expiries.emplace_back(change.origin, change.sequence, e.expire_ms);
    }
  });
  for (auto& [name, of] : state.registers)
    std::sort(of.versions.begin(), of.versions.end());
  std::sort(state.expiries.begin(), state.expiries.end());
  return state;
}

std::string NaiveModel::ToString() const {
  static constexpr const char* kKinds[] = {
      "?", "put", "wipe", "increment", "expire", "resolve", "clean", "flush", "wipe of a range before"};
  std::string text;
  for (const NaiveChange& c : changes_) {
    text += "\n  " + std::to_string(c.origin) + ":" + std::to_string(c.sequence) + " saw";
    for (uint64_t s : c.deps)
      text += " " + std::to_string(s);
    for (const NaiveEffect& e : c.effects) {
      text += std::string(" | ") + kKinds[static_cast<size_t>(e.kind)];
      text += " flags " + std::to_string(e.flags);
      if (e.type != Type::kString) {
        text += " of " + std::to_string(static_cast<int>(e.type)) + "/" + e.element;
      }
      if (e.kind == EffectKind::kIncrement) {
        text += " " + std::to_string(static_cast<int64_t>(e.increment.integer)) + "+" +
                std::to_string(e.increment.real);
        text += " life " + std::to_string(e.life.sequence) + "." + std::to_string(e.life.index);
      }
      for (const NaiveClear& x : e.clears) {
        text += " clears " + std::to_string(x.origin) + " life " + std::to_string(x.life.sequence) +
                "." + std::to_string(x.life.index) + " to " + std::to_string(x.at.sequence) + "." +
                std::to_string(x.at.index);
      }
      for (NaiveDot dot : e.seen) {
        text += " names " + std::to_string(dot.origin) + ":" + std::to_string(dot.sequence);
      }
    }
  }
  return text;
}

std::string NaiveState::ToString() const {
  std::string text;
  for (const auto& [place, of] : registers) {
    if (place.first != Type::kString) {
      text += " | " + std::to_string(static_cast<int>(place.first)) + "/" + place.second;
    }
    for (const auto& [origin, sequence, hlc, never, absent, value] : of.versions) {
      text += " v" + std::to_string(origin) + ":" + std::to_string(sequence) + "@" +
              std::to_string(hlc) + (never ? " never" : "") +
              (absent ? " absent" : "='" + value + "'");
    }
    for (const auto& [origin, sum] : of.counters) {
      text += " c" + std::to_string(origin) + "=" +
              std::to_string(static_cast<int64_t>(sum.integer)) + "+" + std::to_string(sum.real);
    }
  }
  for (const auto& [origin, sequence, time_ms] : expiries) {
    text += " x" + std::to_string(origin) + ":" + std::to_string(sequence) + "=" +
            (time_ms == kNever ? "never" : std::to_string(time_ms));
  }
  return text.empty() ? " nothing" : text;
}

}  // namespace polyarch::crdt
