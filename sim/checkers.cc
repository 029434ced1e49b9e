#include "sim/checkers.h"

#include <algorithm>
#include <set>

#include "base/glob.h"
#include "base/number.h"
#include "crdt/hyperloglog.h"
#include "engine/rows.h"
#include "keyspace/elements.h"
#include "sim/expectation.h"
#include "sim/expected_handler.h"
#include "sim/expected_merge.h"
#include "sim/marks.h"
#include "sim/node.h"
#include "sim/workload.h"
#include "sim/world.h"

namespace polyarch::sim {

namespace {

constexpr int64_t kRemovedMs = 10'000;  // so long after their end expired keys are gone

std::string NameOf(const Key& key) { return std::to_string(key.first) + "/" + key.second; }

std::string NameOf(const Key& key, const Place& place) {
  if (!IsElement(place)) return NameOf(key);
  return NameOf(key) + " " + std::to_string(static_cast<int>(place.first)) + "/" + place.second;
}

// The policy that counts for one register.
const conflict::Policy& PolicyAt(const conflict::PolicyTable& policies, const Key& key, const Place& place) {
  if (place.first == crdt::Type::kHash) {
    for (const auto& [pattern, field, policy] : policies.field_entries()) {
      if (field == place.second && (pattern == "*" || base::GlobMatch(pattern, key.second))) return policy;
    }
  }
  return policies.For(key.second);
}

// Under `siblings` and `merge` what stands in no order, or has no value, has no open conflict.
bool MayBeOpen(const Place& place) {
  return place.first == crdt::Type::kString || place.first == crdt::Type::kHash;
}

bool LeavesInt64(__int128 sum) { return sum > INT64_MAX || sum < INT64_MIN; }

// Does the register hold an open conflict: different values, increments that a text hides, or more of them together than
// 64 bits hold? By what stands there, whatever the policy shows.
bool IsOpen(const Place& place, const OracleRegister& state) {
  if (IsElement(place) && (!state.live() || !crdt::MayConflict(place.first, place.second))) return false;
  const OracleRegister::Version* base = nullptr;
  for (const auto& v : state.versions) {
    const auto& first = state.versions[0];
    const bool differs = v.absent != first.absent || (!v.absent && v.value != first.value);
    if (differs && !AreSketches(state.versions)) return true;
    if (!v.absent) base = &v;
  }
  const bool in_order = place.first == crdt::Type::kSortedSet || place.first == crdt::Type::kList ||
                        place.first == crdt::Type::kStream;
  if (in_order || state.counters.empty()) return false;  // scores and increments add up
  __int128 sum = 0;
  if (base != nullptr) {
    const auto integer = base::ParseInt64(base->value);
    if (!integer) return !base::ParseLongDouble(base->value);
    sum = *integer;
  }
  for (const auto& c : state.counters) {
    if (c.any_real) return false;
    sum += c.integer;
  }
  return LeavesInt64(sum);
}

}  // namespace

bool AreSketches(const std::vector<OracleRegister::Version>& versions) {
  return !versions.empty() && std::all_of(versions.begin(), versions.end(), [](const auto& v) {
    return !v.absent && v.value.starts_with("HYLL");
  });
}

// ---- as things happen

void Checkers::Executed(Node& node, Op& op) {
  History& history = world_.history();
  if (op.last > op.first) NoteTracked(node, op);
  // What the reply shows: its own write, or what stands of the keys it read.
  if (op.last > op.first) {
    Raise(op.seen, op.origin, op.last);
  } else if (op.refused()) {
    // Refused before it looked at any key: it shows nothing.
  } else if (world_.draw().OneIn(4)) {
    for (const Key& key : op.keys) {
      const OracleState state = history.oracle().StateOf(key, node.applied());
      for (const auto& v : state.versions) Raise(op.seen, v.dot.origin, v.dot.sequence);
      for (const auto& [place, element] : state.elements) {
        for (const auto& v : element.versions) Raise(op.seen, v.dot.origin, v.dot.sequence);
      }
      for (const auto& x : state.expiries) Raise(op.seen, x.dot.origin, x.dot.sequence);
    }
  }
}

void Checkers::NoteTracked(Node& node, const Op& op) {
  const Dot dot{op.origin, op.last};
  if (op.amount != 0) {
    const Place place = op.args[0] == "HINCRBY" ? Place{crdt::Type::kHash, op.args[2]} : Place{};
    tracked_[{op.keys[0], place}].push_back({dot, op.amount});
  }
  if (op.args[0] == "PFADD" && op.keys[0].second == kTrackedSketch && !op.reply.is_error()) {
    std::vector<std::string> elements(op.args.begin() + 2, op.args.end());
    tracked_sketches_[op.keys[0]].emplace_back(dot, std::move(elements));
  }
  if (!op.keys.empty() && op.keys[0].second == kTrackedList) return tracked_lists_.Note(node, op);
  if (!op.keys.empty() && op.keys[0].second == kTrackedStream) return tracked_streams_.Note(node, op);
  if (op.keys.empty() || op.keys[0].second != kTrackedSet || op.reply.is_error()) return;
  std::map<std::string, Membership>& members = tracked_sets_[op.keys[0]];
  if (op.args[0] == "SADD") {
    for (size_t i = 2; i < op.args.size(); ++i) members[op.args[i]].adds.push_back(dot);
    return;
  }
  Vector seen = node.applied();
  Raise(seen, op.origin, op.last);
  if (op.args[0] == "SREM") {
    for (size_t i = 2; i < op.args.size(); ++i) members[op.args[i]].removes.push_back({dot, seen});
  } else if (op.args[0] == "SPOP") {
    members[op.reply.text].removes.push_back({dot, seen});
  }
}

void Checkers::Released(Node& node, Op& op) {
  if (op.last > op.first && !op.reply.is_error()) {
    Raise(acknowledged_, op.origin, op.last);
    ++acknowledged_count_;
  }
  Join(sessions_[&node], op.seen);
}

void Checkers::DiskChanged(Node& node, bool replaced) {
  const bool always = node.options().engine.durability == engine::Durability::kAlways;
  Vector held;
  for (auto& other : world_.nodes()) {
    // Of the others only what they surely keep.
    Join(held, other->DurableNow());
  }
  const bool excused = !always || replaced;
  for (size_t o = 0; o < acknowledged_.size(); ++o) {
    if (acknowledged_[o] <= At(held, o)) continue;
    if (excused) {
      acknowledged_[o] = At(held, o);
      SOMETIMES(kLostAcknowledged);
    }
  }
  Vector& session = sessions_[&node];
  for (size_t o = 0; o < session.size(); ++o) {
    if (session[o] <= At(node.durable(), o)) continue;
    if (!excused) {
      throw Violation(node.name() + " showed a client " +
                      world_.history().Name({static_cast<uint32_t>(o), session[o]}) +
                      ", and has lost it in a crash");
    }
    session[o] = At(node.durable(), o);
  }
}

// ---- at any moment

void Checkers::CheckNode(Node& node) {
  if (!node.up()) return;
  const size_t waiting = node.engine().replica().causal_waiting();
  if (waiting != 0) SOMETIMES(kGateWaited);
  // A window's worth an origin, and one frame that is always allowed; no frame is below this size.
  constexpr size_t kFrameBytesMin = 40;
  const engine::Options& limits = node.options().engine;
  if (waiting > node.engine().origins().size() * (limits.window_bytes / kFrameBytesMin + 2)) {
    throw Violation(node.name() + " queues " + std::to_string(waiting) + " frames with windows of " +
                    std::to_string(limits.window_bytes) + " bytes");
  }
  CheckState(node);
  CheckStable(node);
  CheckSessions(node);
  CheckTracked(node);
  node.CheckWaiters();
}

void Checkers::CheckLinkStates(Node& node) {
  LinkNumbers& before = link_numbers_[&node];
  if (before.boots != node.boots()) before = {node.boots(), {}};
  const replication::LinkStates& graph = node.engine().replica().graph();
  std::erase_if(before.numbers, [&](const auto& entry) { return graph.Find(entry.first) == nullptr; });
  for (const wire::LinkState* state : graph.Reachable()) {
    uint64_t& number = before.numbers[state->process.nonce];
    if (state->number < number) {
      throw Violation(node.name() + " takes an older word about " + state->process.leader + " for a newer one: " +
                      std::to_string(state->number) + " after " + std::to_string(number));
    }
    number = state->number;
  }
}

void Checkers::CheckAll() {
  for (auto& node : world_.nodes()) CheckNode(*node);
}

void Checkers::CheckSessions(Node& node) {
  auto it = sessions_.find(&node);
  if (it == sessions_.end() || Includes(node.applied(), it->second)) return;
  throw Violation(node.name() + " no longer has what its clients saw there: " +
                  world_.history().Text(it->second) + ", it has " + world_.history().Text(node.applied()));
}

void Checkers::CheckState(Node& node) {
  History& history = world_.history();
  const Oracle& oracle = history.oracle();
  engine::Engine& engine = node.engine();
  Vector vector = history.Convert(engine.applied(), engine.origins());
  Vector told = node.applied();
  Normalize(told);
  if (vector != told) {
    throw Violation(node.name() + " says it has applied " + history.Text(vector) + " but was seen to apply " +
                    history.Text(told));
  }
  std::map<Key, OracleState> found;
  engine.keys().ForEach([&](uint8_t db, std::string_view key, const crdt::KeyState& state) {
    for (const crdt::CounterEntry& e : state.counters) {
      if (e.live() && e.cleared_at.sequence != 0) SOMETIMES(kCounterCleared);
    }
    if (!std::is_sorted(state.elements.begin(), state.elements.end(), [](const auto& a, const auto& b) {
          return std::pair(a.type, std::string_view(a.name)) < std::pair(b.type, std::string_view(b.name));
        })) {
      throw Violation(node.name() + " gives elements without their order at " + std::string(key));
    }
    OracleState as_oracle = node.StateOf(state);
    if (!as_oracle.empty()) found.emplace(Key{db, std::string(key)}, std::move(as_oracle));
  });
  size_t matched = 0;
  for (const auto& [key, place] : oracle.keys()) {
    const OracleState expected = oracle.StateOf(key, vector);
    auto it = found.find(key);
    static const OracleState kNothing;
    if (it != found.end()) ++matched;
    std::string difference = Difference(expected, it == found.end() ? kNothing : it->second);
    if (!difference.empty()) {
      throw Violation(node.name() + " differs from the oracle at " + NameOf(key) + ", having applied " +
                      history.Text(vector) + difference + OthersAt(node, key));
    }
    // Reading would merge, and so end what is to be tested.
    if (key.first < crdt::kDatabases && !engine.merging()) {
      CheckView(node, key, expected);
      CheckOpen(node, key, expected);
    }
  }
  if (matched != found.size()) throw Violation(node.name() + " holds a key that nobody wrote");
  const std::string digest = engine.DigestText();
  auto [it, added] = digests_.try_emplace(vector, digest, node.name());
  if (!added && it->second.first != digest) {
    throw Violation("equal vectors, different digests: " + node.name() + " and " + it->second.second + " at " +
                    history.Text(vector));
  }
}

// What the others hold: where it went wrong first.
std::string Checkers::OthersAt(const Node& node, const Key& key) {
  std::string text;
  for (auto& other : world_.nodes()) {
    if (other.get() == &node || !other->up()) continue;
    engine::Engine& engine = other->engine();
    const OracleState here = other->StateOf(engine.keys().State(engine.keys().Ref(key.first, key.second)));
    const std::string difference = Difference(world_.history().oracle().StateOf(key, other->applied()), here);
    text += "\n  " + other->name() + (engine.merging() ? " (merging)" : "") +
            (difference.empty() ? " is right" : " is wrong, too:" + difference);
  }
  return text;
}

const OracleState::Version* Checkers::Winner(Node& node,
                                             const Key& key,
                                             const Place& place,
                                             const std::vector<OracleState::Version>& versions) {
  const conflict::PolicyTable& policies = node.engine().policies();
  const conflict::Policy& policy = PolicyAt(policies, key, place);
  const bool merges = policy.kind == conflict::PolicyKind::kMerge && MayBeOpen(place);
  const bool extreme = merges && (policy.function == conflict::MergeFunction::kMin ||
                                  policy.function == conflict::MergeFunction::kMax);
  const auto& order = policy.leaders.empty() ? policies.default_order() : policy.leaders;
  if (policy.kind == conflict::PolicyKind::kSiblings && MayBeOpen(place)) {
    for (const auto& v : versions) {
      if (v.absent != versions[0].absent || (!v.absent && v.value != versions[0].value)) return nullptr;
    }
  }
  auto rank = [&](const OracleState::Version& v) {
    const clock::Origin& origin = world_.history().OriginOf(v.dot.origin);
    size_t named = 0;
    if (policy.kind == conflict::PolicyKind::kPriority) {
      while (named < order.size() && order[named] != origin.leader) ++named;
    }
    // Under plain lww an absent never beats a value.
    const bool lww = policy.kind == conflict::PolicyKind::kLww && !policy.deletes;
    const bool plain = lww || policy.kind == conflict::PolicyKind::kMerge ||
                       policy.kind == conflict::PolicyKind::kHandler ||
                       (policy.kind == conflict::PolicyKind::kSiblings && !MayBeOpen(place));
    return std::tuple(!(v.absent && plain), -static_cast<int64_t>(named), v.hlc, origin, v.dot.sequence);
  };
  const OracleState::Version* best = nullptr;
  for (const auto& v : versions) {
    if (best != nullptr && extreme && !best->absent && !v.absent && best->value != v.value) {
      if (LosesTo(policy.function, best->value, v.value)) best = &v;
      continue;
    }
    if (best == nullptr || rank(*best) < rank(v)) best = &v;
  }
  return best;
}

std::optional<std::string> Checkers::MergeOf(Node& node,
                                             const Key& key,
                                             const Place& place,
                                             const OracleRegister& state) {
  const conflict::Policy& policy = PolicyAt(node.engine().policies(), key, place);
  if (policy.kind != conflict::PolicyKind::kMerge || !MayBeOpen(place)) return std::nullopt;
  // Canonical order; of equal bytes the first in it, as old as the latest.
  using Order = std::pair<clock::Origin, uint64_t>;
  std::map<Order, const OracleRegister::Version*> canonical;
  std::map<std::tuple<uint64_t, clock::Origin, uint64_t>, std::string> by_age;
  for (const auto& v : state.versions) {
    if (v.absent) continue;
    const clock::Origin& origin = world_.history().OriginOf(v.dot.origin);
    canonical[{origin, v.dot.sequence}] = &v;
    by_age[{v.hlc, origin, v.dot.sequence}] = v.value;
  }
  std::map<std::string, size_t> ages;
  size_t age = 0;
  for (const auto& [stamp, value] : by_age) ages[value] = ++age;
  std::vector<MergedValue> values;
  std::set<std::string> taken;
  for (const auto& [order, v] : canonical) {
    if (taken.insert(v->value).second) values.push_back({v->value, ages[v->value]});
  }
  if (values.size() < 2) return std::nullopt;
  return ExpectedMerge(policy, std::move(values));
}

std::optional<std::string> Checkers::HandledOf(Node& node,
                                               const Key& key,
                                               const Place& place,
                                               const OracleRegister& state) {
  const conflict::Policy& policy = PolicyAt(node.engine().policies(), key, place);
  if (policy.kind != conflict::PolicyKind::kHandler || !MayBeOpen(place)) return std::nullopt;
  std::map<std::pair<clock::Origin, uint64_t>, HandledVersion> canonical;
  std::set<std::optional<std::string>> distinct;
  for (const auto& v : state.versions) {
    const clock::Origin& origin = world_.history().OriginOf(v.dot.origin);
    HandledVersion& version = canonical[{origin, v.dot.sequence}];
    if (!v.absent) version.value = v.value;
    version.leader = origin.leader;
    version.time_ms = static_cast<uint64_t>(clock::Hlc{v.hlc}.ms());
    distinct.insert(version.value);
  }
  if (distinct.size() < 2) return std::nullopt;
  if (policy.loaded == nullptr) {
    SOMETIMES(kHandlerGone);
    return std::nullopt;
  }
  std::vector<HandledVersion> versions;
  for (auto& [order, version] : canonical) versions.push_back(std::move(version));
  const auto field = IsElement(place) ? std::optional(place.second) : std::nullopt;
  auto handled = ExpectedHandler(policy.loaded->source(), key.second, field, versions);
  if (!handled) SOMETIMES(kHandlerFailed);
  if (handled) SOMETIMES(kHandled);
  if (handled && field) SOMETIMES(kFieldHandled);
  return handled;
}

Checkers::View Checkers::ViewOf(Node& node, const Key& key, const Place& place, const OracleRegister& state) {
  View view;
  if (AreSketches(state.versions)) {
    view.kind = View::Kind::kText;
    view.exact = state.versions.size() < 2;  // their union is looked at by CheckTrackedSketches
    view.text = state.versions[0].value;
    return view;
  }
  const OracleRegister::Version* winner =
      state.versions.empty() ? nullptr : Winner(node, key, place, state.versions);
  if (winner == nullptr && !state.versions.empty()) {
    view.kind = View::Kind::kConflict;
    return view;
  }
  const bool has_base = winner != nullptr && !winner->absent;
  if (has_base && place.first != crdt::Type::kSortedSet) {
    std::optional<std::string> merged = MergeOf(node, key, place, state);
    if (merged) {
      SOMETIMES(kMerged);
      if (IsElement(place)) SOMETIMES(kFieldMerged);
    } else {
      const conflict::Policy& policy = PolicyAt(node.engine().policies(), key, place);
      if (policy.loaded != nullptr && !IsDrawnHandler(policy.loaded->source())) {
        // A story's own: the story tells what it shows.
        view.kind = View::Kind::kText;
        view.exact = false;
        return view;
      }
      merged = HandledOf(node, key, place, state);
    }
    if (merged) {
      OracleRegister as_merged = state;
      as_merged.versions = {*winner};
      as_merged.versions[0].value = std::move(*merged);
      return ViewOf(node, key, place, as_merged);
    }
  }
  if (!has_base && state.counters.empty()) return view;
  view.kind = View::Kind::kText;
  if (place.first == crdt::Type::kSortedSet) {
    // A score: a base of eight bytes, and increments. Those of the workload are whole numbers.
    long double score = has_base ? keyspace::DecodeScore(winner->value) : 0;
    for (const auto& c : state.counters) score += c.real + static_cast<long double>(c.integer);
    view.text = std::to_string(static_cast<int64_t>(score));
    return view;
  }
  if (has_base) view.text = winner->value;
  if (state.counters.empty()) return view;
  __int128 sum = 0;
  if (has_base) {
    auto base = base::ParseInt64(winner->value);
    if (!base) {
      // Either a real number, or a text that hides the increments.
      view.exact = !base::ParseLongDouble(winner->value);
      return view;
    }
    sum = *base;
  }
  for (const auto& c : state.counters) {
    view.exact = view.exact && !c.any_real;
    sum += c.integer;
  }
  if (!view.exact) return view;
  if (LeavesInt64(sum)) SOMETIMES(kSaturated);
  view.text = std::to_string(static_cast<int64_t>(std::clamp<__int128>(sum, INT64_MIN, INT64_MAX)));
  return view;
}

// What a read shows must be what the policy says of the versions that the oracle knows.
void Checkers::CheckView(Node& node, const Key& key, const OracleState& state) {
  engine::Engine& engine = node.engine();
  keyspace::Shown shown = engine.keys().Read(engine.keys().Ref(key.first, key.second));
  char scratch[base::kInt64CharsMax];
  auto wrong = [&](const std::string& expected) {
    const std::string found = !shown.exists() ? "nothing"
                              : shown.kind == keyspace::Shown::Kind::kConflict
                                  ? "a conflict"
                              : shown.kind == keyspace::Shown::Kind::kCollection
                                  ? "elements of type " + std::to_string(static_cast<int>(shown.type))
                                  : "'" + std::string(shown.Text(scratch)) + "'";
    throw Violation(node.name() + " shows " + found + " at " + NameOf(key) + " instead of " + expected +
                    " of" + state.ToString());
  };
  if (!state.live() || state.ExpiryTime() < engine.node_time_ms()) {
    if (state.live()) SOMETIMES(kHiddenKey);
    if (shown.exists()) wrong("nothing");
    return;
  }
  // The types of which something is shown; the one that counts has the newest live tag.
  using Tag = std::tuple<uint64_t, clock::Origin, uint64_t>;
  std::map<crdt::Type, std::map<std::string, View>> views;
  std::map<crdt::Type, Tag> newest;
  auto look = [&](const Place& place, const OracleRegister& reg) {
    View view = ViewOf(node, key, place, reg);
    if (view.kind != View::Kind::kNothing) views[place.first].emplace(place.second, std::move(view));
    for (const auto& v : reg.versions) {
      const Tag tag{v.hlc, world_.history().OriginOf(v.dot.origin), v.dot.sequence};
      if (!v.absent) newest[place.first] = std::max(newest[place.first], tag);
    }
    for (const auto& c : reg.counters) {
      newest[place.first] = std::max(newest[place.first], Tag{c.hlc, world_.history().OriginOf(c.origin), 0});
    }
  };
  look(Place{}, state);
  for (const auto& [place, element] : state.elements) look(place, element);
  if (views.empty()) {
    if (shown.exists()) wrong("nothing");
    return;
  }
  if (views.size() > 1) SOMETIMES(kTypeClash);
  crdt::Type type = views.begin()->first;
  for (const auto& [other, view] : views) {
    if (newest[type] < newest[other]) type = other;
  }
  if (type != crdt::Type::kString) {
    if (shown.kind != keyspace::Shown::Kind::kCollection || shown.type != type) {
      wrong("elements of type " + std::to_string(static_cast<int>(type)));
    }
    CheckElements(node, key, type, views[type], state);
    return;
  }
  const View& view = views[type].begin()->second;
  if (view.kind == View::Kind::kConflict) {
    if (shown.kind != keyspace::Shown::Kind::kConflict) wrong("a conflict");
  } else if (shown.kind != keyspace::Shown::Kind::kValue || (view.exact && shown.Text(scratch) != view.text)) {
    wrong("'" + view.text.substr(0, 40) + "'");
  }
}

// The list of open conflicts holds just the keys that have one.
void Checkers::CheckOpen(Node& node, const Key& key, const OracleState& state) {
  const OracleRegister& own = state;
  bool open = IsOpen(Place{}, own);
  bool several = false;
  std::optional<crdt::Type> live;
  if (own.live()) live = crdt::Type::kString;
  for (const auto& [place, element] : state.elements) {
    if (!element.live()) continue;
    open = open || IsOpen(place, element);
    several = several || (live && *live != place.first);
    live = place.first;
  }
  open = open || several;
  if ((node.engine().keys().open_conflicts().count(key) != 0) == open) return;
  throw Violation(node.name() + (open ? " does not list" : " lists") + " an open conflict at " + NameOf(key) + " of" + state.ToString());
}

void Checkers::CheckElements(Node& node,
                             const Key& key,
                             crdt::Type type,
                             const std::map<std::string, View>& expected,
                             const OracleState& state) {
  constexpr size_t kMany = keyspace::Packed::kElementsMax + 1;
  engine::Engine& engine = node.engine();
  const keyspace::Collection found = engine.keys().Open(engine.keys().Ref(key.first, key.second), type);
  if (found.size() != expected.size()) {
    throw Violation(node.name() + " shows " + std::to_string(found.size()) + " elements at " + NameOf(key) +
                    " instead of " + std::to_string(expected.size()) + " of" + state.ToString());
  }
  if (expected.size() >= kMany) SOMETIMES(kManyElements);
  for (const auto& [name, view] : expected) {
    const ShownElement shown = ShowElement(found, name);
    const bool conflict = view.kind == View::Kind::kConflict;
    const bool same = shown.there && shown.conflict == conflict &&
                      (conflict || !view.exact || shown.text == view.text);
    if (same) continue;
    throw Violation(node.name() + " shows " +
                    (!shown.there ? "nothing" : shown.conflict ? "a conflict" : "'" + shown.text + "'") + " at " +
                    NameOf(key, {type, name}) + " instead of " + (conflict ? "a conflict" : "'" + view.text + "'") +
                    " of" + state.elements.at({type, name}).ToString());
  }
  // A walk finds just these.
  size_t walked = 0;
  found.ForEach([&](const keyspace::ElementView& entry) {
    walked += expected.count(std::string(entry.key()));
    return true;
  });
  if (walked != expected.size()) {
    throw Violation(node.name() + " walks over " + std::to_string(walked) + " elements at " + NameOf(key) +
                    " of " + std::to_string(expected.size()));
  }
}

// "Counters equal the sum of the increments": by what the clients asked for, not by what was written.
void Checkers::CheckTracked(Node& node) {
  engine::Engine& engine = node.engine();
  if (engine.merging()) return;
  for (const auto& [where, increments] : tracked_) {
    const auto& [key, place] = where;
    int64_t sum = 0;
    bool any = false;
    for (const auto& [dot, amount] : increments) {
      if (!Covers(node.applied(), dot)) continue;
      sum += amount;
      any = true;
    }
    const keyspace::KeyRef ref = engine.keys().Ref(key.first, key.second);
    std::string found = "nothing";
    if (IsElement(place)) {
      const ShownElement shown = ShowElement(engine.keys().Open(ref, place.first), place.second);
      if (shown.there) found = shown.text;
    } else {
      keyspace::Shown shown = engine.keys().Read(ref);
      char scratch[base::kInt64CharsMax];
      if (shown.exists()) found = shown.Text(scratch);
    }
    const std::string expected = any ? std::to_string(sum) : "nothing";
    if (found != expected) {
      throw Violation(node.name() + " shows " + found + " at counter " + NameOf(key, place) + " instead of " +
                      expected);
    }
  }
  CheckTrackedSets(node);
  tracked_lists_.Check(node);
  tracked_streams_.Check(node);
  CheckTrackedSketches(node);
}

// A HyperLogLog holds what was added by any change that was applied: as if one had been given it all.
void Checkers::CheckTrackedSketches(Node& node) {
  engine::Engine& engine = node.engine();
  for (const auto& [key, adds] : tracked_sketches_) {
    std::string expected = crdt::NewHll();
    bool any = false;
    for (const auto& [dot, elements] : adds) {
      if (!Covers(node.applied(), dot)) continue;
      any = true;
      for (const std::string& element : elements) crdt::AddToHll(expected, element);
    }
    const keyspace::KeyRef ref = engine.keys().Ref(key.first, key.second);
    const keyspace::Shown shown = engine.keys().Read(ref);
    if (any != (shown.kind == keyspace::Shown::Kind::kValue)) {
      throw Violation(node.name() + (any ? " shows no" : " has invented a") + " value at " + NameOf(key));
    }
    if (!any) continue;
    crdt::HllRegisters wanted;
    crdt::HllRegisters found;
    crdt::ReadHll(expected, wanted);
    if (!crdt::ReadHll(shown.value, found) || found != wanted) {
      throw Violation(node.name() + " does not show the union of what was added to " + NameOf(key) + ": " +
                      std::to_string(crdt::EstimateHll(found)) + " instead of " +
                      std::to_string(crdt::EstimateHll(wanted)));
    }
    const auto& open = engine.keys().open_conflicts();
    if (open.count(key) != 0) throw Violation(node.name() + " lists a conflict at " + NameOf(key));
    if (engine.keys().State(ref).versions.size() > 1) SOMETIMES(kUnited);
  }
}

// A member is there if one of its adds was seen by no remove: by what the clients asked for.
void Checkers::CheckTrackedSets(Node& node) {
  engine::Engine& engine = node.engine();
  const Vector& applied = node.applied();
  for (const auto& [key, members] : tracked_sets_) {
    const keyspace::Collection found =
        engine.keys().Open(engine.keys().Ref(key.first, key.second), crdt::Type::kSet);
    size_t count = 0;
    for (const auto& [name, membership] : members) {
      bool removed = false;
      auto stands = [&](Dot add) {
        if (!Covers(applied, add)) return false;
        for (const auto& [dot, seen] : membership.removes) {
          if (!Covers(applied, dot)) continue;
          if (Covers(seen, add)) return false;
          removed = true;
        }
        return true;
      };
      const bool there = std::any_of(membership.adds.begin(), membership.adds.end(), stands);
      if (there && removed) SOMETIMES(kAddBesideRemove);
      if (there) ++count;
      if (found.Contains(name) != there) {
        throw Violation(node.name() + (there ? " has lost member " : " still has member ") + name + " of " +
                        NameOf(key) + ", having applied " + world_.history().Text(applied));
      }
    }
    if (found.size() != count) throw Violation(node.name() + " has invented a member of " + NameOf(key));
  }
}

// What is stable is on every member's disk.
// What a member has that has not got its admission yet, by what is known at `node`: before it writes anything it gets
// one of them, and it may be any. One that has got it already has what its disk has.
Vector Checkers::AdmittedWith(Node& node, const std::string& leader, const Vector& durable) {
  History& history = world_.history();
  engine::Engine& engine = node.engine();
  const crdt::KeyState state =
      engine.keys().State(engine.keys().Ref(crdt::kReservedDatabase, "member/" + leader));
  Vector least;
  bool any = false;
  for (const crdt::Version& v : state.versions) {
    if (Covers(durable, {history.Ordinal(engine.origins().Get(v.dot.origin())), v.dot.sequence()})) return {};
    const size_t space = v.value.find(' ');
    clock::VersionVector floor;
    if (space != std::string::npos) floor = engine::ParseVector(v.value.substr(space + 1), engine.origins());
    engine.replica().Expand(floor);
    Vector vector = history.Convert(floor, engine.origins());
    if (any) {
      for (size_t o = 0; o < least.size(); ++o) least[o] = std::min(least[o], At(vector, o));
      SOMETIMES(kAdmittedTwice);
    } else {
      least = std::move(vector);
    }
    any = true;
  }
  return least;
}

void Checkers::CheckStable(Node& node) {
  History& history = world_.history();
  replication::Replica& replica = node.engine().replica();
  if (replica.members().empty()) return;
  const Vector stable =
      history.WithoutClaims(history.Convert(replica.Stable(), node.engine().origins()));
  for (auto& other : world_.nodes()) {
    if (other->lost_data()) continue;
    auto member = replica.members().find(other->options().leader);
    if (member == replica.members().end()) continue;
    Vector durable = other->DurableNow();
    // Its admission is its first claim: it writes only once it has that much.
    Join(durable, AdmittedWith(node, member->first, durable));
    if (Includes(durable, stable)) continue;
    throw Violation(node.name() + " takes for stable " + history.Text(stable) + ", but the disk of " +
                    other->name() + " holds " + history.Text(durable));
  }
}

// ---- at the end

bool Checkers::Converged(std::string* why) {
  const Node* first = nullptr;
  Vector vector;
  for (auto& node : world_.nodes()) {
    if (!node->up()) {
      if (why != nullptr) *why = node->name() + " is down";
      return false;
    }
    if (!node->may_write()) {
      if (why != nullptr) *why = node->name() + " is not admitted";
      return false;
    }
    if (node->engine().merging()) {
      if (why != nullptr) *why = node->name() + " has not merged all that it took over";
      return false;
    }
    Vector applied = node->applied();
    Normalize(applied);
    if (first != nullptr && applied != vector) {
      if (why != nullptr) {
        *why = first->name() + " has " + world_.history().Text(vector) + ", " + node->name() + " has " +
               world_.history().Text(applied);
      }
      return false;
    }
    first = node.get();
    vector = applied;
  }
  return true;
}

void Checkers::CheckConverged() {
  CheckAll();
  const Node& node = *world_.nodes()[0];
  for (size_t o = 0; o < acknowledged_.size(); ++o) {
    if (acknowledged_[o] > At(node.applied(), o)) {
      throw Violation("an acknowledged write is lost: " +
                      world_.history().Name({static_cast<uint32_t>(o), acknowledged_[o]}) + ", all have " +
                      world_.history().Text(node.applied()));
    }
  }
  for (auto& n : world_.nodes()) CheckLedger(*n);
}

// What expired before that has done so by the clock of every member that counts: whoever wrote the expiry removes it, any
// other one when that is late. While one of them is down nobody does.
int64_t Checkers::ExpiredForAll(Node& node) {
  int64_t earliest_ms = INT64_MAX;
  std::set<std::string> here;
  for (auto& other : world_.nodes()) {
    if (!other->up()) continue;
    here.insert(other->engine().leader_id());
    earliest_ms = std::min(earliest_ms, other->WallMs());
  }
  for (const auto& [name, member] : node.engine().replica().members()) {
    if (!member.away && here.count(name) == 0) return 0;
  }
  return earliest_ms;
}

void Checkers::CheckResidue() {
  for (auto& node : world_.nodes()) {
    if (!node->up()) continue;
    engine::Engine& engine = node->engine();
    const int64_t expired_before_ms = ExpiredForAll(*node) - kRemovedMs;
    if (engine.replica().causal_waiting() != 0) throw Violation(node->name() + " still has frames at its gate");
    const Oracle& oracle = world_.history().oracle();
    for (const auto& [key, index] : oracle.keys()) {
      const crdt::KeyState state = engine.keys().State(engine.keys().Ref(key.first, key.second));
      for (const Place& place : oracle.PlacesOf(key)) {
        const crdt::Element* element = IsElement(place) ? state.FindElement(place.first, place.second) : nullptr;
        const size_t here = !IsElement(place) ? state.counters.size()
                            : element == nullptr ? 0
                                                 : element->counters.size();
        if (oracle.CountIncrementOrigins(key, place, node->applied()) <= here) continue;
        IsElement(place) ? SOMETIMES(kElementPurged) : SOMETIMES(kCounterPurged);
      }
    }
    // By the keys themselves, not by the index of those with residue: that may be wrong, too.
    engine.keys().ForEach([&](uint8_t db, std::string_view name, const crdt::KeyState& state) {
      if (db == crdt::kReservedDatabase) return;
      const Key key{db, std::string(name)};
      if (!state.live() && !state.expiries.empty()) ThrowResidue(*node, key, {}, state);
      if (state.live() && state.ExpiryTime() < expired_before_ms)
        throw Violation(node->name() + " still holds " + NameOf(key) + ", which has expired");
      CheckNoResidue(*node, key, {}, state);
      for (const crdt::Element& e : state.elements) CheckNoResidue(*node, key, {e.type, e.name}, e);
    });
  }
}

void Checkers::CheckNoResidue(Node& node, const Key& key, const Place& place, const crdt::Register& state) {
  // A cleared entry of a dead origin stays: docs/design/0012.
  auto is_dead = [&](clock::OriginIndex index) {
    const clock::Origin& origin = node.engine().origins().Get(index);
    for (auto& other : world_.nodes()) {
      if (!other->up()) continue;
      auto own = other->engine().replica().own();
      if (own && other->engine().origins().Get(*own) == origin) return false;
    }
    return true;
  };
  const bool left = (!state.has_live_version() && !state.versions.empty()) ||
                    std::any_of(state.counters.begin(), state.counters.end(),
                                [&](const crdt::CounterEntry& e) { return !e.live() && !is_dead(e.origin); });
  if (left) ThrowResidue(node, key, place, state);
}

void Checkers::ThrowResidue(Node& node, const Key& key, const Place& place, const crdt::Register& state) {
  throw Violation("residue is left at " + node.name() + " of " + NameOf(key, place) + ":" +
                  node.RegisterOf(state).ToString() + " with " + std::to_string(state.counters.size()) +
                  " counter entries");
}

void Checkers::CheckFolded() {
  std::set<clock::Origin> living;
  std::set<std::string> names;
  for (auto& node : world_.nodes()) {
    if (!node->up()) throw Violation(node->name() + " is down");
    const std::string& name = node->engine().leader_id();
    if (!names.insert(name).second) throw Violation("two processes, " + node->name() + " is one, are leader " + name);
    if (auto own = node->engine().replica().own()) living.insert(node->engine().origins().Get(*own));
  }
  const std::string vector = world_.nodes()[0]->engine().VersionVectorText();
  for (auto& node : world_.nodes()) {
    engine::Engine& engine = node->engine();
    if (engine.replica().counters().beyond_fold > 0) SOMETIMES(kBeyondFold);
    engine.applied().ForEach([&](clock::OriginIndex index, uint64_t last) {
      const clock::Origin& origin = engine.origins().Get(index);
      if (living.count(origin) == 0 && !engine.replica().IsFolded(index)) {
        throw Violation("at " + node->name() + " " + origin.ToString() + ":" + std::to_string(last) +
                        " has ended and is not folded");
      }
    });
    if (engine.VersionVectorText() != vector) {
      throw Violation("equal vectors, different texts: " + node->name() + " says " + engine.VersionVectorText() +
                      ", " + world_.nodes()[0]->name() + " " + vector);
    }
    if (engine.replica().Listed(engine.applied()).size() > living.size()) {
      throw Violation(node->name() + " lists ended origins: " + vector);
    }
  }
}

void Checkers::CheckPresent() {
  std::set<std::string> here;
  for (auto& node : world_.nodes()) {
    if (node->up()) here.insert(node->engine().leader_id());
  }
  for (auto& node : world_.nodes()) {
    if (!node->up()) continue;
    for (const auto& [name, member] : node->engine().replica().members()) {
      if (member.away && here.count(name) != 0) {
        throw Violation(node->name() + " still takes " + name + " for away");
      }
    }
  }
}

// A version that is listed is one that a reader could have seen: not what a change held in its middle.
void Checkers::CheckListed(Node& node, const conflict::LedgerEntry& e, const conflict::LedgerVersion& listed, Dot dot) {
  const auto stood = world_.history().oracle().FinalOf(Key{e.db, e.key}, Place{e.type, e.element}, dot);
  if (stood && stood->absent == listed.absent && stood->value == listed.value) return;
  throw Violation(node.name() + " lists " + world_.history().Name(dot) + " of " + e.key + " with a value that it " +
                  (stood ? "did not have in the end" : "did not leave there"));
}

void Checkers::CheckLedger(Node& node) {
  History& history = world_.history();
  struct Pair {
    Dot low;
    Dot high;
  };
  std::map<Node::MetKey, std::vector<Pair>> listed;
  const Vector& applied = node.applied();
  node.engine().ledger().Visit(0, [&](const conflict::LedgerEntry& e) {
    SOMETIMES(kLedgerPair);
    const Dot shown{history.Ordinal(e.shown.origin), e.shown.sequence};
    const Dot lost{history.Ordinal(e.lost.origin), e.lost.sequence};
    if (!node.lost_data() && (!Covers(applied, shown) || !Covers(applied, lost))) {
      throw Violation(node.name() + " lists a conflict of versions that it does not know: " + e.key);
    }
    const bool resolved = history.IsResolve(shown) || history.IsResolve(lost);
    if (!resolved && (history.Saw(shown, lost) || history.Saw(lost, shown))) {
      throw Violation("an invented conflict at " + node.name() + ": " + history.Name(shown) + " and " +
                      history.Name(lost) + " of " + e.key);
    }
    CheckListed(node, e, e.shown, shown);
    CheckListed(node, e, e.lost, lost);
    const auto [low, high] = std::minmax(shown, lost);
    listed[{Key{e.db, e.key}, Place{e.type, e.element}, low.origin, high.origin}].push_back({low, high});
    return true;
  });
  for (const auto& [key, pair] : node.met()) {
    auto it = listed.find(key);
    bool found = it != listed.end() && std::any_of(it->second.begin(), it->second.end(), [&](const Pair& p) {
      return p.low.sequence >= pair.first.sequence && p.high.sequence >= pair.second.sequence;
    });
    if (!found) {
      throw Violation(node.name() + " has not listed the conflict of " + history.Name(pair.first) + " and " +
                      history.Name(pair.second) + " at " + NameOf(std::get<0>(key), std::get<1>(key)));
    }
  }
}

void Checkers::CheckNoConflicts() {
  for (auto& node : world_.nodes()) {
    if (!node->up()) continue;
    if (node->engine().conflicts_detected() != 0 || node->engine().ledger().size() != 0) {
      throw Violation("a conflict at " + node->name() + " although one leader alone writes");
    }
  }
}

}  // namespace polyarch::sim
