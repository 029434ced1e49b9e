// The laws of a key's replicated state, against the naive model: random histories in random orders,
// and every history of a small scope in every order. POLYARCH_TEST_LONG in the environment widens
// both.
#include <algorithm>
#include <cstdlib>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <set>

#include <gtest/gtest.h>

#include "base/random.h"
#include "crdt/key_state.h"
#include "crdt/naive_model.h"

namespace polyarch::crdt {
namespace {

bool Long() {
  return std::getenv("POLYARCH_TEST_LONG") != nullptr;
}

const std::vector<clock::Origin>& GlobalOrigins() {
  static const std::vector<clock::Origin> origins = {
      {"b", 2}, {"a", 7}, {"c", 1}, {"a", 3}, {"d", 9}, {"b", 1}, {"c", 4}, {"d", 5}};
  return origins;
}

// A token as CONFLICT GET gives it: what its reader saw, and when.
struct Token {
  std::vector<NaiveDot> seen;
  std::vector<NaiveClear> clears;
  NaiveVector at;
};

// A node's own indices of the origins.
struct Numbering {
  explicit Numbering(const std::vector<size_t>& order) : index_of(order.size()), ordinal_of(order) {
    for (size_t ordinal : order)
      index_of[ordinal] = table.Intern(GlobalOrigins()[ordinal]);
  }
  clock::OriginTable table;
  std::vector<clock::OriginIndex> index_of;  // ordinal -> index
  std::vector<size_t> ordinal_of;            // index -> ordinal
};

// One node's copy of the key.
class Replica {
 public:
  explicit Replica(const std::vector<size_t>& order)
      : numbering_(std::make_shared<Numbering>(order)), applied_(order.size()) {}

  const KeyState& state() const { return state_; }
  const NaiveVector& applied() const { return applied_; }
  const clock::OriginTable& table() const { return numbering_->table; }
  clock::OriginIndex Local(size_t ordinal) const { return numbering_->index_of[ordinal]; }
  clock::Dot Local(NaiveDot dot) const { return {Local(dot.origin), dot.sequence}; }
  size_t Ordinal(clock::OriginIndex index) const {
    return numbering_->ordinal_of[clock::IndexOf(index)];
  }
  NaiveDot Global(clock::Dot dot) const { return {Ordinal(dot.origin()), dot.sequence()}; }
  clock::VersionVector Vector(const NaiveVector& v) const {
    clock::VersionVector out;
    for (size_t o = 0; o < v.size(); ++o)
      out.Set(Local(o), v[o]);
    return out;
  }

  void ApplyEffect(const NaiveChange& change, uint32_t i) {
    const NaiveEffect& e = change.effects[i];
    std::vector<Clear> clears;
    for (const NaiveClear& c : e.clears)
      clears.push_back({Local(c.origin), c.life, c.at, c.total});
    std::vector<clock::Dot> dots;
    for (NaiveDot dot : e.seen)
      dots.push_back(Local(dot));
    Effect effect{.kind = e.kind,
                  .flags = e.flags,
                  .type = e.type,
                  .key = "k",
                  .element = e.element,
                  .value = e.value,
                  .expire_ms = e.expire_ms,
                  .life = e.life,
                  .total = e.total,
                  .increment = e.increment,
                  .clears = clears,
                  .seen = dots};
    clock::VersionVector deps = Vector(change.deps);
    Apply(state_, effect, Seen(deps, Local(change.origin), At{change.sequence, i}), change.hlc);
  }
  void MarkApplied(const NaiveChange& change) { applied_[change.origin] = change.sequence; }
  void ApplyChange(const NaiveChange& change) {
    for (uint32_t i = 0; i < change.effects.size(); ++i)
      ApplyEffect(change, i);
    MarkApplied(change);
  }
  bool Ready(const NaiveChange& change) const {
    return change.sequence == applied_[change.origin] + 1 && Includes(applied_, change.deps);
  }

  // The register that writes about `type` and `element` act on.
  const Register& RegisterAt(Type type, const std::string& element) const {
    static const Register kNothing;
    if (type == Type::kString) return state_;
    const Element* found = state_.FindElement(type, element);
    return found == nullptr ? kNothing : *found;
  }
  std::vector<NaiveClear> Clears(const Register& of) const {
    std::vector<NaiveClear> out;
    for (const Clear& c : ClearsOf(of)) {
      out.push_back({Ordinal(c.origin), c.life, c.at, c.total});
    }
    return out;
  }
  std::vector<NaiveClear> Clears() const { return Clears(state_); }
  Token MakeToken() const {
    Token token{.clears = Clears(), .at = applied_};
    for (const Version& v : state_.versions)
      token.seen.push_back(Global(v.dot));
    return token;
  }
  // What a `clean` may name here.
  std::vector<NaiveDot> Dots() const {
    std::vector<NaiveDot> out;
    for (const Version& v : state_.versions)
      out.push_back(Global(v.dot));
    for (const ExpiryVersion& x : state_.expiries)
      out.push_back(Global(x.dot));
    return out;
  }
  std::vector<NaiveDot> Dots(const Register& of) const {
    std::vector<NaiveDot> out;
    for (const Version& v : of.versions)
      out.push_back(Global(v.dot));
    return out;
  }

  // Drops the wholly cleared entries whose origin is known to have seen the clear: one of its
  // changes that was applied here covers it.
  void Purge(const NaiveModel& model) {
    auto purge = [&](Register& of) { std::erase_if(of.counters, [&](const CounterEntry& e) {
      if (e.live() || e.cleared_by.bits() == 0) return false;
      const size_t owner = Ordinal(e.origin);
      const NaiveDot by = Global(e.cleared_by);
      for (const NaiveChange& c : model.changes()) {
        if (c.origin != owner || c.sequence > applied_[owner]) continue;
        if (by.origin == owner ? by.sequence <= c.sequence : by.sequence <= c.deps[by.origin]) {
          return true;
        }
      }
      return false;
    }); };
    purge(state_);
    for (Element& e : state_.elements)
      purge(e);
    std::erase_if(state_.elements, [](const Element& e) { return e.empty(); });
  }

  // `other`'s state in this replica's numbering.
  KeyState Translate(const Replica& other) const {
    if (numbering_ == other.numbering_) return other.state_;
    KeyState s = other.state_;
    auto dot = [&](clock::Dot d) {
      return d.bits() == 0 ? d : Local(other.Global(d));
    };
    auto by_dot = [](const auto& x, const auto& y) {
      return x.dot < y.dot;
    };
    auto translate = [&](Register& of) {
      for (Version& v : of.versions)
        v.dot = dot(v.dot);
      for (CounterEntry& e : of.counters) {
        e.origin = Local(other.Ordinal(e.origin));
        e.cleared_by = dot(e.cleared_by);
      }
      std::sort(of.versions.begin(), of.versions.end(), by_dot);
      std::sort(of.counters.begin(), of.counters.end(), [](const auto& x, const auto& y) {
        return x.origin < y.origin;
      });
    };
    translate(s);
    for (Element& e : s.elements)
      translate(e);
    for (ExpiryVersion& x : s.expiries)
      x.dot = dot(x.dot);
    std::sort(s.expiries.begin(), s.expiries.end(), by_dot);
    return s;
  }
  void MergeFrom(const Replica& other) {
    state_ = Merge(state_, Vector(applied_), Translate(other), Vector(other.applied_));
    for (size_t o = 0; o < applied_.size(); ++o) {
      applied_[o] = std::max(applied_[o], other.applied_[o]);
    }
  }

  // The state in the model's words.
  NaiveState Projection() const { return Project(state_); }
  NaiveState Project(const KeyState& state) const {
    NaiveState out;
    auto project = [&](Type type, const std::string& name, const Register& of) {
      NaiveState::Register projected;
      for (const Version& v : of.versions) {
        NaiveDot dot = Global(v.dot);
        projected.versions.emplace_back(
            dot.origin, dot.sequence, v.hlc.bits, v.never, v.absent, v.value);
      }
      for (const CounterEntry& e : of.counters) {
        if (!e.live()) continue;
        NaiveState::Sum& sum = projected.counters[Ordinal(e.origin)];
        sum.integer = static_cast<__int128>(e.total.integer) - e.cleared_total.integer;
        sum.real = e.total.real - e.cleared_total.real;
      }
      std::sort(projected.versions.begin(), projected.versions.end());
      if (projected.versions.empty() && projected.counters.empty()) return;
      out.registers.emplace(std::pair(type, name), std::move(projected));
    };
    project(Type::kString, "", state);
    for (const Element& e : state.elements)
      project(e.type, e.name, e);
    for (const ExpiryVersion& x : state.expiries) {
      NaiveDot dot = Global(x.dot);
      out.expiries.emplace_back(dot.origin, dot.sequence, x.time_ms);
    }
    std::sort(out.expiries.begin(), out.expiries.end());
    return out;
  }
  std::string Bytes(bool residue) const { return Canonical(state_, table(), residue); }

 private:
  std::shared_ptr<const Numbering> numbering_;
  KeyState state_;
  NaiveVector applied_;
};

std::vector<size_t> Identity(size_t n) {
  std::vector<size_t> v(n);
  std::iota(v.begin(), v.end(), size_t{0});
  return v;
}

std::vector<size_t> Shuffled(size_t n, base::Random& random) {
  std::vector<size_t> v = Identity(n);
  for (size_t i = n; i > 1; --i)
    std::swap(v[i - 1], v[random.Below(i)]);
  return v;
}

// An origin's sum as one number: which part is fractional depends on when the counter became real.
bool SameSum(const NaiveState::Sum& a, const NaiveState::Sum& b) {
  if (a.real == 0 && b.real == 0) return a.integer == b.integer;
  return static_cast<long double>(a.integer) + a.real ==
         static_cast<long double>(b.integer) + b.real;
}

bool Same(const NaiveState& a, const NaiveState& b) {
  auto same_register = [](const auto& x, const auto& y) {
    return x.first == y.first && x.second.versions == y.second.versions &&
           std::equal(x.second.counters.begin(),
                      x.second.counters.end(),
                      y.second.counters.begin(),
                      y.second.counters.end(),
                      [](const auto& c, const auto& d) {
                        return c.first == d.first && SameSum(c.second, d.second);
                      });
  };
  return a.expiries == b.expiries && std::equal(a.registers.begin(),
                                                a.registers.end(),
                                                b.registers.begin(),
                                                b.registers.end(),
                                                same_register);
}

// Everything but who cleared (of two concurrent clears of one total either may be remembered).
KeyState Normal(KeyState s) {
  auto forget = [](Register& of) {
    for (CounterEntry& e : of.counters) {
      e.cleared_by = clock::Dot(clock::OriginIndex{0}, e.cleared_by.bits() != 0 ? 1 : 0);
    }
  };
  forget(s);
  for (Element& e : s.elements)
    forget(e);
  return s;
}

void CheckInvariants(const KeyState& s) {
  auto sorted = [](const auto& items) {
    for (size_t i = 1; i < items.size(); ++i) {
      if (!(items[i - 1].dot < items[i].dot)) return false;
    }
    return true;
  };
  auto check_register = [&](const Register& of) {
    ASSERT_TRUE(sorted(of.versions));
    for (size_t i = 0; i < of.counters.size(); ++i) {
      const CounterEntry& e = of.counters[i];
      ASSERT_TRUE(i == 0 || of.counters[i - 1].origin < e.origin);
      ASSERT_LE(e.cleared_at, e.at);
      ASSERT_LE(e.life, e.at);
    }
  };
  check_register(s);
  ASSERT_TRUE(sorted(s.expiries));
  for (size_t i = 0; i < s.elements.size(); ++i) {
    const Element& e = s.elements[i];
    ASSERT_FALSE(e.empty());
    check_register(e);
    if (i > 0) {
      const Element& before = s.elements[i - 1];
      ASSERT_LT(std::pair(before.type, before.name), std::pair(e.type, e.name));
    }
  }
}

// The type with the newest live tag, from the model's state; stamps of two origins may be equal.
std::optional<Type> NewestOf(const Replica& replica, const NaiveState& want) {
  std::optional<Type> type;
  std::tuple<uint64_t, clock::Origin, uint64_t> newest;
  for (const auto& [place, of] : want.registers) {
    for (const auto& [origin, sequence, hlc, never, absent, value] : of.versions) {
      const std::tuple<uint64_t, clock::Origin, uint64_t> tag(
          hlc, replica.table().Get(replica.Local(origin)), sequence);
      if (absent || (type && tag < newest)) continue;
      type = place.first;
      newest = tag;
    }
  }
  return type;
}

void CheckViews(const Replica& replica, const NaiveState& want) {
  const KeyState& s = replica.state();
  bool live_key = false;
  bool counters = false;
  for (const auto& [place, of] : want.registers) {
    const bool live_version = std::any_of(
        of.versions.begin(), of.versions.end(), [](const auto& v) { return !std::get<4>(v); });
    const Register& got = replica.RegisterAt(place.first, place.second);
    ASSERT_EQ(got.has_live_version(), live_version);
    ASSERT_EQ(got.has_live_counter(), !of.counters.empty());
    live_key = live_key || live_version || !of.counters.empty();
    counters = counters || !of.counters.empty();
    NaiveState::Sum sum;
    for (const auto& [origin, part] : of.counters) {
      sum.integer += part.integer;
      sum.real += part.real;
    }
    Number shown = CounterSum(got, replica.table());
    if (shown.is_real) {
      ASSERT_EQ(shown.AsReal(), static_cast<long double>(sum.integer) + sum.real);
    } else {
      ASSERT_EQ(sum.real, 0);
      ASSERT_TRUE(shown.integer == sum.integer);
    }
  }
  ASSERT_EQ(s.live(), live_key);
  ASSERT_EQ(replica.Bytes(false).empty(), !s.live());
  if (!counters) {
    ASSERT_EQ(NewestType(s, replica.table()), NewestOf(replica, want));
  }
  int64_t latest = want.expiries.empty() ? kNever : std::numeric_limits<int64_t>::min();
  for (const auto& x : want.expiries)
    latest = std::max(latest, std::get<2>(x));
  if (auto own = want.registers.find({Type::kString, ""}); own != want.registers.end()) {
    for (const auto& v : own->second.versions) {
      if (std::get<3>(v) && !std::get<4>(v)) latest = kNever;
    }
  }
  ASSERT_EQ(s.ExpiryTime(), latest);
}

void CheckAgainst(const NaiveModel& model, const Replica& replica, const char* what) {
  NaiveState want = model.StateAt(replica.applied());
  NaiveState got = replica.Projection();
  ASSERT_TRUE(Same(got, want)) << what << "\n  state" << got.ToString() << "\n  model"
                               << want.ToString() << model.ToString();
  CheckInvariants(replica.state());
  CheckViews(replica, want);
}

// ---- writing, as commands do

enum class Op {
  kPut,
  kPutExpiring,
  kPutKeepingExpiry,
  kPutOverElements,  // the same in the place of another type
  kWipe,
  kWipeExpired,  // the removal of an expired key: expiry versions stay
  kPutAbsent,
  kIncrement,
  kIncrementReal,
  kExpire,
  kPersist,
  kResolve,
  kClean,
  kFlush,
  kElementPut,
  kElementWipe,
  kElementAbsent,
  kElementIncrement,
  kElementClean,
  kElementWipeRange,  // of all names from the element's on, before "g2"
  kCount,
};

struct WriteInput {
  Op op;
  Type type = Type::kHash;  // of the element's operations
  std::string element = "f";
  std::string value = "v";
  Number increment = Number::Integer(1);
  int64_t expire_ms = 1000;
  const Token* token = nullptr;  // kResolve
  std::vector<NaiveDot> clean;   // kClean
  bool never = true;             // kPutKeepingExpiry, kPutOverElements, kResolve
  bool create_wipes = true;      // an increment that creates begins with a wipe
};

// Does this operation replace the whole key?
bool WipesKey(const Replica& replica, const WriteInput& in) {
  switch (in.op) {
    case Op::kPut:
    case Op::kPutExpiring:
    case Op::kPutOverElements:
    case Op::kPutAbsent:
    case Op::kWipe:
    case Op::kWipeExpired:
    case Op::kFlush:
      return true;
    case Op::kIncrement:
    case Op::kIncrementReal:
    case Op::kElementPut:
    case Op::kElementIncrement:
      return !replica.state().live() && in.create_wipes;
    default:
      return false;
  }
}

// The last effect of one write at `replica` as its `at`; nothing if the write fails.
std::optional<NaiveEffect> LastEffect(const Replica& replica,
                                      size_t origin,
                                      At at,
                                      const WriteInput& in) {
  NaiveEffect e;
  const KeyState& state = replica.state();
  const Register& element = replica.RegisterAt(in.type, in.element);
  if (in.op >= Op::kElementPut) {
    e.type = in.type;
    e.element = in.element;
  }
  switch (in.op) {
    case Op::kElementPut:
      e.kind = EffectKind::kPut;
      e.value = in.value;
      e.clears = replica.Clears(element);
      return e;
    case Op::kElementAbsent:
      e.kind = EffectKind::kPut;
      e.flags = kAbsent;
      e.clears = replica.Clears(element);
      return e;
    case Op::kElementWipe:
      e.kind = EffectKind::kWipe;
      e.clears = replica.Clears(element);
      return e;
    case Op::kElementIncrement: {
      e.kind = EffectKind::kIncrement;
      e.increment = in.increment;
      auto next = PrepareIncrement(element, replica.Local(origin), at, in.increment);
      if (!next) return std::nullopt;
      e.life = next->life;
      e.total = next->total;
      return e;
    }
    case Op::kElementWipeRange:
      e.kind = EffectKind::kWipeRange;
      e.value = "g2";
      return e;
    case Op::kElementClean:
      e.kind = EffectKind::kClean;
      e.seen = replica.Dots(element);
      if (e.seen.empty()) return std::nullopt;
      return e;
    case Op::kPut:
    case Op::kPutExpiring:
    case Op::kPutKeepingExpiry:
    case Op::kPutOverElements:
      e.kind = EffectKind::kPut;
      e.value = in.value;
      e.clears = replica.Clears();
      if (in.op == Op::kPut) e.flags = kWipes | kNeverFlag;
      if (in.op == Op::kPutExpiring) e.flags = kWipes | kHasExpiry;
      if (in.op == Op::kPutOverElements) e.flags = kWipes | kKeepExpiry;
      if (in.op >= Op::kPutKeepingExpiry && in.never) e.flags |= kNeverFlag;
      if (in.op == Op::kPutExpiring) e.expire_ms = in.expire_ms;
      return e;
    case Op::kPutAbsent:
      e.kind = EffectKind::kPut;
      e.flags = kWipes | kAbsent;
      e.clears = replica.Clears();
      return e;
    case Op::kWipe:
    case Op::kWipeExpired:
    case Op::kFlush:
      e.kind = in.op == Op::kFlush ? EffectKind::kFlush : EffectKind::kWipe;
      if (in.op == Op::kWipeExpired) e.flags = kKeepExpiry;
      e.clears = replica.Clears();
      return e;
    case Op::kIncrement:
    case Op::kIncrementReal: {
      e.kind = EffectKind::kIncrement;
      e.increment = in.increment;
      if (!state.live() && in.create_wipes) {
        e.flags = kWipes;
        e.clears = replica.Clears();
      }
      auto next = PrepareIncrement(state, replica.Local(origin), at, in.increment);
      if (!next) return std::nullopt;
      e.life = next->life;
      e.total = next->total;
      return e;
    }
    case Op::kExpire:
    case Op::kPersist:
      e.kind = EffectKind::kExpire;
      e.expire_ms = in.op == Op::kPersist ? kNever : in.expire_ms;
      return e;
    case Op::kResolve:
      if (in.token == nullptr || !Includes(replica.applied(), in.token->at)) return std::nullopt;
      e.kind = EffectKind::kResolve;
      e.flags = in.never ? kNeverFlag : 0;
      e.value = in.value;
      e.seen = in.token->seen;
      e.clears = in.token->clears;
      return e;
    case Op::kClean:
      if (in.clean.empty()) return std::nullopt;
      e.kind = EffectKind::kClean;
      e.seen = in.clean;
      return e;
    case Op::kCount:
      break;
  }
  return std::nullopt;
}

// The effects of one write, applied to `replica` one by one, as the change's next ones.
void Write(Replica& replica, NaiveChange& change, const WriteInput& in) {
  auto emit = [&](NaiveEffect effect) {
    change.effects.push_back(std::move(effect));
    replica.ApplyEffect(change, static_cast<uint32_t>(change.effects.size() - 1));
  };
  auto next_at = [&] {
    return At{change.sequence, static_cast<uint32_t>(change.effects.size())};
  };
  const bool wipes = WipesKey(replica, in);
  auto last = LastEffect(replica, change.origin, next_at(), in);
  if (!last) return;
  if (wipes) {
    const std::vector<Element> elements = replica.state().elements;
    for (const Element& e : elements) {
      if (!e.has_live_counter()) continue;
      NaiveEffect effect{.kind = EffectKind::kWipe, .type = e.type, .element = e.name};
      effect.clears = replica.Clears(e);
      emit(std::move(effect));
    }
    if (in.op >= Op::kElementPut) {
      NaiveEffect effect{.kind = EffectKind::kWipe};
      effect.clears = replica.Clears();
      emit(std::move(effect));
    }
    last = LastEffect(replica, change.origin, next_at(), in);
  }
  if (last) emit(std::move(*last));
}

// ---- random histories

class RandomHistory {
 public:
  RandomHistory(uint64_t seed, size_t changes_max) : random_(seed) {
    const size_t leaders = 2 + random_.Below(3);
    origins_ = GlobalOrigins().size();
    big_ = random_.Percent(10);
    real_ = !big_ && random_.Percent(30);
    for (size_t l = 0; l < leaders; ++l) {
      nodes_.emplace_back(Shuffled(origins_, random_));
      current_.push_back(l);
    }
    next_origin_ = leaders;
    stamps_.resize(origins_);
    const size_t changes = 1 + random_.Below(changes_max);
    while (model_.changes().size() < changes)
      Step();
  }

  NaiveModel& model() { return model_; }
  std::vector<Replica>& nodes() { return nodes_; }
  base::Random& random() { return random_; }
  size_t origins() const { return origins_; }
  NaiveVector Everything() const {
    NaiveVector all(origins_);
    for (const NaiveChange& c : model_.changes())
      all[c.origin] = c.sequence;
    return all;
  }

 private:
  void Step() {
    const size_t n = random_.Below(nodes_.size());
    const uint64_t draw = random_.Below(100);
    if (draw < 40) {
      Write(n);
    } else if (draw < 90) {
      Deliver(n);
    } else if (draw < 93) {
      nodes_[n].Purge(model_);
    } else if (draw < 95) {
      tokens_.push_back(std::make_unique<Token>(nodes_[n].MakeToken()));
    } else if (draw < 97) {
      Restart(n);
    } else if (draw < 98) {
      saved_.push_back({n, nodes_[n]});
    } else {
      nodes_[n].MergeFrom(nodes_[random_.Below(nodes_.size())]);
    }
  }

  void Deliver(size_t n) {
    size_t budget = 1 + random_.Below(3);
    for (const NaiveChange& c : model_.changes()) {
      if (budget > 0 && nodes_[n].Ready(c) && random_.Percent(70)) {
        nodes_[n].ApplyChange(c);
        --budget;
      }
    }
  }

  // A new process: another origin; sometimes with the disk of some time ago.
  void Restart(size_t n) {
    if (next_origin_ == origins_) return;
    current_[n] = next_origin_++;
    for (const auto& [owner, copy] : saved_) {
      if (owner == n && random_.Percent(50)) {
        nodes_[n] = copy;
        return;
      }
    }
  }

  WriteInput Draw(const Replica& node) {
    WriteInput in{.op = static_cast<Op>(random_.Below(static_cast<uint64_t>(Op::kCount)))};
    in.value = std::string(1, static_cast<char>('a' + random_.Below(3)));
    in.increment = Number::Integer(static_cast<int64_t>(random_.Below(9)) - 4);
    if (big_) in.increment.integer *= std::numeric_limits<int64_t>::max() / 5;
    if (in.op == Op::kIncrementReal && real_) {
      in.increment = Number::Real(static_cast<long double>(random_.Below(9)) / 4 - 1);
    }
    in.expire_ms = static_cast<int64_t>(1000 * random_.Below(4));
    in.never = random_.Percent(50);
    in.type = random_.Percent(80) ? Type::kHash : Type::kSet;
    in.element = random_.Percent(70) ? "f" : "g";
    in.create_wipes = random_.Percent(90);
    if (!tokens_.empty()) in.token = tokens_[random_.Below(tokens_.size())].get();
    if (in.op == Op::kResolve && random_.Percent(40)) {
      // Read in the middle of its own change, perhaps: of use to that change only.
      fresh_ = node.MakeToken();
      in.token = &fresh_;
    }
    for (NaiveDot dot : node.Dots()) {
      if (random_.Percent(40)) in.clean.push_back(dot);
    }
    return in;
  }

  void Write(size_t n) {
    Replica& node = nodes_[n];
    NaiveChange change{
        .origin = current_[n], .sequence = node.applied()[current_[n]] + 1, .deps = node.applied()};
    // Clocks of any kind, but each origin's own stamps rise.
    stamps_[change.origin] += 1 + random_.Below(3);
    change.hlc.bits = stamps_[change.origin];
    const size_t effects = random_.Percent(75) ? 1 : 2 + random_.Below(2);
    for (size_t i = 0; i < effects; ++i) {
      crdt::Write(node, change, Draw(node));
    }
    if (change.effects.empty()) return;
    node.MarkApplied(change);
    model_.Add(change);
    CheckAgainst(model_, node, "after its own write");
  }

  base::Random random_;
  NaiveModel model_;
  size_t origins_ = 0;
  size_t next_origin_ = 0;
  bool big_ = false;
  bool real_ = false;
  std::vector<Replica> nodes_;
  std::vector<size_t> current_;
  std::vector<uint64_t> stamps_;
  std::vector<std::unique_ptr<Token>> tokens_;
  Token fresh_;
  std::vector<std::pair<size_t, Replica>> saved_;
};

// A fresh replica that applies every change in a random causal order, purging now and then if
// `purges`.
Replica Replay(RandomHistory& history, bool purges, const NaiveVector* until = nullptr) {
  base::Random& random = history.random();
  Replica replica(Shuffled(history.origins(), random));
  std::vector<const NaiveChange*> ready;
  while (true) {
    ready.clear();
    for (const NaiveChange& c : history.model().changes()) {
      if (until != nullptr && (*until)[c.origin] < c.sequence) continue;
      if (replica.Ready(c)) ready.push_back(&c);
    }
    if (ready.empty()) return replica;
    replica.ApplyChange(*ready[random.Below(ready.size())]);
    if (purges && random.Percent(30)) replica.Purge(history.model());
  }
}

// Some causally closed part of the history.
NaiveVector RandomCut(RandomHistory& history) {
  NaiveVector cut(history.origins());
  for (const NaiveChange& c : history.model().changes()) {
    if (c.sequence == cut[c.origin] + 1 && Includes(cut, c.deps) && history.random().Percent(65)) {
      cut[c.origin] = c.sequence;
    }
  }
  return cut;
}

class Laws : public testing::Test {
 protected:
  static constexpr size_t kChangesMax = 14;
  static size_t Histories() { return Long() ? 1'000'000 : 20'000; }
};

TEST_F(Laws, AnyCausalOrderEndsInOneState) {
  for (uint64_t seed = 1; seed <= Histories() && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomHistory history(seed, kChangesMax);
    for (Replica& node : history.nodes()) {
      CheckAgainst(history.model(), node, "a writing node");
    }
    Replica first = Replay(history, false);
    ASSERT_EQ(first.applied(), history.Everything());
    CheckAgainst(history.model(), first, "a replay");
    for (int i = 0; i < 3; ++i) {
      Replica other = Replay(history, i == 2);
      CheckAgainst(history.model(), other, "another replay");
      ASSERT_EQ(first.Bytes(false), other.Bytes(false));
      ASSERT_EQ(first.Bytes(true), other.Bytes(true));
      ASSERT_TRUE(CounterSum(first.state(), first.table()) ==
                  CounterSum(other.state(), other.table()))
          << "whatever is purged";
      if (i != 2) {
        ASSERT_EQ(Normal(first.state()), Normal(first.Translate(other)));
      }
    }
  }
}

TEST_F(Laws, MergeIsApplyingTheUnion) {
  for (uint64_t seed = 1; seed <= Histories() && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomHistory history(seed + (uint64_t{1} << 32), kChangesMax);
    const bool purges = seed % 2 == 0;
    auto part = [&] {
      NaiveVector cut = RandomCut(history);
      return Replay(history, purges, &cut);
    };
    const Replica a = part();
    const Replica b = part();
    const Replica c = part();
    Replica ab = a;
    ab.MergeFrom(b);
    CheckAgainst(history.model(), ab, "a merge");
    const NaiveVector both = ab.applied();
    Replica replayed = Replay(history, false, &both);
    ASSERT_EQ(ab.Bytes(true), replayed.Bytes(true));
    if (!purges) {
      ASSERT_EQ(Normal(ab.state()), Normal(ab.Translate(replayed)));
    }

    Replica ba = b;
    ba.MergeFrom(a);
    ASSERT_EQ(ab.Bytes(true), ba.Bytes(true)) << "commutative";
    Replica twice = ab;
    twice.MergeFrom(b);
    twice.MergeFrom(a);
    twice.MergeFrom(twice);
    ASSERT_EQ(ab.state(), twice.state()) << "idempotent";
    Replica left = ab;
    left.MergeFrom(c);
    Replica right = b;
    right.MergeFrom(c);
    Replica whole = a;
    whole.MergeFrom(right);
    ASSERT_EQ(left.Bytes(true), whole.Bytes(true)) << "associative";
    CheckAgainst(history.model(), left, "a merge of three");

    // And what comes after a merge.
    Replica rest = left;
    for (bool more = true; more;) {
      more = false;
      for (const NaiveChange& change : history.model().changes()) {
        if (!rest.Ready(change)) continue;
        rest.ApplyChange(change);
        more = true;
      }
    }
    ASSERT_EQ(rest.applied(), history.Everything());
    CheckAgainst(history.model(), rest, "the rest after a merge");
  }
}

TEST_F(Laws, RowsComeBack) {
  for (uint64_t seed = 1; seed <= Histories() / 10 && !HasFatalFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomHistory history(seed, kChangesMax);
    const KeyState& state = history.nodes()[0].state();
    std::string row;
    Encode(state, row);
    KeyState back;
    base::Reader in(row);
    ASSERT_TRUE(Decode(in, back));
    ASSERT_TRUE(in.empty());
    ASSERT_EQ(state, back);
    for (size_t cut = 0; cut < row.size(); ++cut) {
      base::Reader torn(std::string_view(row).substr(0, cut));
      ASSERT_FALSE(Decode(torn, back)) << "cut to " << cut << " of " << row.size();
    }
    // Any bytes: an error, or a state that keeps the invariants and comes back.
    for (int i = 0; i < 50; ++i) {
      std::string bytes = row;
      if (bytes.empty()) break;
      for (uint64_t n = 1 + history.random().Below(3); n > 0; --n) {
        bytes[history.random().Below(bytes.size())] = static_cast<char>(history.random().Next());
      }
      base::Reader fuzzed(bytes);
      KeyState read;
      if (!Decode(fuzzed, read)) continue;
      std::string again;
      Encode(read, again);
      base::Reader second(again);
      ASSERT_TRUE(Decode(second, back));
      ASSERT_EQ(read, back);
      for (size_t k = 1; k < read.versions.size(); ++k) {
        ASSERT_LT(read.versions[k - 1].dot, read.versions[k].dot);
      }
    }
  }
}

// The entry of a folded origin was purged: it had been cleared up to (5,0). An increment beyond the fold comes, and
// after it a clear that is older than the purge, from a disk that returns. Whoever had not purged shows the same.
TEST(Counters, AnOlderClearDoesNotUndoWhatAPurgeKnew) {
  constexpr clock::OriginIndex kGone{0};
  constexpr clock::OriginIndex kOther{1};
  const clock::VersionVector deps;
  const clock::Hlc stamp{1};
  auto increment = [&](KeyState& state, uint64_t sequence, int64_t total, int64_t by) {
    const Effect effect{.kind = EffectKind::kIncrement,
                        .key = "k",
                        .life = {1, 0},
                        .total = Number::Integer(total),
                        .increment = Number::Integer(by)};
    Apply(state, effect, Seen(deps, kGone, {sequence, 0}), stamp);
  };
  auto clear = [&](KeyState& state, At at, int64_t total, uint64_t by) {
    const Clear cleared{kGone, {1, 0}, at, Number::Integer(total)};
    Apply(state, {.kind = EffectKind::kWipe, .key = "k", .clears = {&cleared, 1}}, Seen(deps, kOther, {by, 0}), stamp);
  };
  clock::OriginTable origins;
  origins.Intern({"gone", 1});
  origins.Intern({"other", 1});
  KeyState kept;
  increment(kept, 1, 2, 2);
  increment(kept, 5, 7, 5);
  clear(kept, {5, 0}, 7, 1);
  KeyState purged;
  for (KeyState* state : {&kept, &purged}) {
    increment(*state, 6, 17, 10);
    clear(*state, {1, 0}, 2, 2);
    EXPECT_EQ(CounterSum(*state, origins).integer, 10);
    EXPECT_TRUE(state->has_live_counter());
    clear(*state, {6, 0}, 17, 3);
    EXPECT_FALSE(state->has_live_counter());
    increment(*state, 7, 18, 1);
    EXPECT_EQ(CounterSum(*state, origins).integer, 1);
  }
}

TEST(Row, RandomBytesAreNoCrash) {
  base::Random random(99);
  for (int i = 0; i < 100'000; ++i) {
    std::string bytes(random.Below(60), '\0');
    for (char& c : bytes)
      c = static_cast<char>(random.Percent(40) ? random.Below(4) : random.Next());
    base::Reader in(bytes);
    KeyState state;
    static_cast<void>(Decode(in, state));
  }
}

// ---- every history of a small scope, in every order

// Who had seen what: per change its leader and the vector of what its writer had seen. In an order
// that respects causality.
struct Shape {
  struct Change {
    size_t leader;
    NaiveVector deps;
  };
  std::vector<Change> changes;
};

std::vector<Shape> AllShapes(size_t leaders, size_t changes_each) {
  std::vector<Shape> shapes;
  std::set<std::vector<std::pair<size_t, NaiveVector>>> known;
  Shape shape;
  std::vector<NaiveVector> seen(leaders, NaiveVector(leaders));
  auto closed = [&](const NaiveVector& v) {
    std::vector<uint64_t> count(leaders);
    for (const Shape::Change& c : shape.changes) {
      if (++count[c.leader] <= v[c.leader] && !Includes(v, c.deps)) return false;
    }
    for (size_t l = 0; l < leaders; ++l) {
      if (v[l] > count[l]) return false;
    }
    return true;
  };
  auto extend = [&](auto&& self) -> void {
    if (shape.changes.size() == leaders * changes_each) {
      std::vector<std::pair<size_t, NaiveVector>> name;
      for (const Shape::Change& c : shape.changes)
        name.emplace_back(c.leader, c.deps);
      std::sort(name.begin(), name.end());
      if (known.insert(name).second) shapes.push_back(shape);
      return;
    }
    for (size_t l = 0; l < leaders; ++l) {
      if (seen[l][l] == changes_each) continue;
      const NaiveVector before = seen[l];
      size_t combinations = 1;
      for (size_t o = 0; o < leaders; ++o)
        combinations *= changes_each + 1;
      for (size_t i = 0; i < combinations; ++i) {
        NaiveVector v(leaders);
        size_t rest = i;
        for (size_t o = 0; o < leaders; ++o) {
          v[o] = rest % (changes_each + 1);
          rest /= changes_each + 1;
        }
        if (v[l] != before[l] || !Includes(v, before) || !closed(v)) continue;
        shape.changes.push_back({l, v});
        seen[l] = v;
        seen[l][l] = before[l] + 1;
        self(self);
        shape.changes.pop_back();
        seen[l] = before;
      }
    }
  };
  extend(extend);
  return shapes;
}

// All states that any order of one history passes through: one a causally closed set of changes,
// each reached from every predecessor. So all orders are covered without walking each.
class Lattice {
 public:
  Lattice(const Shape& shape, size_t leaders, size_t changes_each, bool purges)
      : shape_(shape), leaders_(leaders), width_(changes_each + 1), purges_(purges) {}

  // Writes op[i] as the shape's change i, and checks everything.
  void Run(const std::vector<Op>& ops) {
    model_ = NaiveModel();
    states_.clear();
    size_t count = 1;
    for (size_t l = 0; l < leaders_; ++l)
      count *= width_;
    states_.resize(count);
    const std::vector<size_t> numbering = Identity(leaders_);
    states_[0].emplace(numbering);
    std::vector<Token> tokens(leaders_);
    for (size_t i = 0; i < ops.size(); ++i) {
      const auto& [leader, deps] = shape_.changes[i];
      const Replica* writer = Reach(deps);
      if (writer == nullptr) return;
      NaiveChange change{.origin = leader, .sequence = deps[leader] + 1, .deps = deps};
      change.hlc.bits = i + 1;
      WriteInput in{.op = ops[i]};
      in.value = std::to_string(i);
      in.increment = Number::Integer(int64_t{1} << i);
      in.expire_ms = static_cast<int64_t>(1000 * i);
      in.token = &tokens[leader];  // what this leader saw before its last write
      in.clean = writer->Dots();
      Replica scratch = *writer;
      Write(scratch, change, in);
      if (tokens[leader].at.empty()) tokens[leader].at.resize(leaders_);
      tokens[leader] = writer->MakeToken();
      model_.Add(std::move(change));
    }
    NaiveVector v(leaders_);
    for (size_t i = 0; i < count; ++i) {
      size_t rest = i;
      for (size_t l = 0; l < leaders_; ++l) {
        v[l] = rest % width_;
        rest /= width_;
      }
      if (Closed(v) && Reach(v) == nullptr) return;
    }
    CheckMerges();
  }

 private:
  size_t IndexOf(const NaiveVector& v) const {
    size_t index = 0;
    for (size_t l = leaders_; l-- > 0;)
      index = index * width_ + v[l];
    return index;
  }

  bool Closed(const NaiveVector& v) const {
    for (const NaiveChange& c : model_.changes()) {
      if (c.sequence <= v[c.origin] && !Includes(v, c.deps)) return false;
    }
    return true;
  }

  // The state at `v`, from every predecessor; nullptr after a failure.
  const Replica* Reach(const NaiveVector& v) {
    std::optional<Replica>& slot = states_[IndexOf(v)];
    if (slot) return &*slot;
    for (const NaiveChange& c : model_.changes()) {
      if (c.sequence != v[c.origin]) continue;
      NaiveVector before = v;
      --before[c.origin];
      if (!Closed(before)) continue;
      const Replica* from = Reach(before);
      if (from == nullptr) return nullptr;
      Replica next = *from;
      next.ApplyChange(c);
      if (purges_) next.Purge(model_);
      if (!slot) {
        CheckAgainst(model_, next, "a state");
        if (testing::Test::HasFatalFailure()) return nullptr;
        slot = std::move(next);
      } else if (purges_ ? next.Bytes(true) != slot->Bytes(true)
                         : Normal(next.state()) != Normal(slot->state())) {
        ADD_FAILURE() << "two orders, two states\n " << next.Projection().ToString() << "\n "
                      << slot->Projection().ToString();
        return nullptr;
      }
    }
    return &*slot;
  }

  void CheckMerges() {
    for (size_t i = 0; i < states_.size(); ++i) {
      for (size_t j = 0; j < states_.size(); ++j) {
        if (i == j || !states_[i] || !states_[j]) continue;
        const Replica& a = *states_[i];
        const Replica& b = *states_[j];
        if (i < j && (Includes(a.applied(), b.applied()) || Includes(b.applied(), a.applied()))) {
          continue;  // the other order of the pair shows it
        }
        Replica merged = a;
        merged.MergeFrom(b);
        const Replica& want = *states_[IndexOf(merged.applied())];
        const bool equal = purges_ ? merged.Bytes(true) == want.Bytes(true)
                                   : Normal(merged.state()) == Normal(want.state());
        ASSERT_TRUE(equal) << "merge\n " << merged.Projection().ToString() << "\n want\n "
                           << want.Projection().ToString();
      }
    }
  }

  const Shape& shape_;
  size_t leaders_;
  size_t width_;
  bool purges_;
  NaiveModel model_;
  std::vector<std::optional<Replica>> states_;
};

// Every shape, every assignment of ops out of `alphabet`. `stride` looks at each stride-th history
// only.
void Exhaust(size_t leaders, size_t changes_each, const std::vector<Op>& alphabet, size_t stride) {
  const std::vector<Shape> shapes = AllShapes(leaders, changes_each);
  const size_t length = leaders * changes_each;
  size_t combinations = 1;
  for (size_t i = 0; i < length; ++i)
    combinations *= alphabet.size();
  size_t histories = 0;
  std::vector<Op> ops(length);
  for (size_t s = 0; s < shapes.size(); ++s) {
    Lattice plain(shapes[s], leaders, changes_each, false);
    Lattice purging(shapes[s], leaders, changes_each, true);
    for (size_t i = s % stride; i < combinations; i += stride) {
      size_t rest = i;
      for (Op& op : ops) {
        op = alphabet[rest % alphabet.size()];
        rest /= alphabet.size();
      }
      (i % 2 == 0 ? plain : purging).Run(ops);
      ++histories;
      if (testing::Test::HasFailure()) {
        std::string text;
        for (size_t k = 0; k < length; ++k) {
          text += " " + std::to_string(shapes[s].changes[k].leader) + ":" +
                  std::to_string(static_cast<int>(ops[k])) + "[";
          for (uint64_t d : shapes[s].changes[k].deps)
            text += std::to_string(d) + " ";
          text += "]";
        }
        FAIL() << "leader:op[seen]" << text;
      }
    }
  }
  testing::Test::RecordProperty("shapes", static_cast<int>(shapes.size()));
  testing::Test::RecordProperty("histories", static_cast<int>(histories));
  std::printf("%zu shapes, %zu histories\n", shapes.size(), histories);
}

const std::vector<Op> kCounterOps = {Op::kPut, Op::kIncrement, Op::kWipe};
const std::vector<Op> kExpiryOps = {Op::kPut, Op::kExpire, Op::kWipeExpired};
const std::vector<Op> kConflictOps = {Op::kPut, Op::kPutAbsent, Op::kResolve};
const std::vector<Op> kMixedOps = {Op::kIncrement, Op::kResolve, Op::kClean};
const std::vector<Op> kElementOps = {Op::kElementPut, Op::kElementWipe, Op::kWipe};
const std::vector<Op> kElementCounterOps = {Op::kElementPut, Op::kElementIncrement, Op::kWipe};
const std::vector<Op> kElementExpiryOps = {Op::kElementPut, Op::kExpire, Op::kPutOverElements};
const std::vector<Op> kElementRangeOps = {Op::kElementPut, Op::kElementWipeRange, Op::kWipe};
const std::vector<Op> kElementClashOps = {Op::kPut, Op::kElementIncrement, Op::kElementAbsent};

TEST(SmallScope, TwoLeadersThreeWrites) {
  for (const auto& ops : {kCounterOps,
                          kExpiryOps,
                          kConflictOps,
                          kMixedOps,
                          kElementOps,
                          kElementCounterOps,
                          kElementExpiryOps,
                          kElementRangeOps,
                          kElementClashOps}) {
    Exhaust(2, 3, ops, Long() ? 1 : 7);
  }
}

TEST(SmallScope, ThreeLeadersTwoWrites) {
  for (const auto& ops : {kCounterOps,
                          kExpiryOps,
                          kConflictOps,
                          kMixedOps,
                          kElementOps,
                          kElementCounterOps,
                          kElementExpiryOps,
                          kElementRangeOps,
                          kElementClashOps}) {
    Exhaust(3, 2, ops, Long() ? 1 : 211);
  }
}

}  // namespace
}  // namespace polyarch::crdt
