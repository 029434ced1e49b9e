// What a node tells of its engine to the world: states in the oracle's terms, frames and cut-overs as they are applied.
#include <algorithm>

#include "crdt/stream.h"
#include "sim/checkers.h"
#include "sim/marks.h"
#include "sim/node.h"
#include "sim/world.h"

namespace polyarch::sim {

namespace {

// An HLC may run ahead of every wall clock it was given by the skew bound, and by a lease or so a start.
constexpr int64_t kStampSlackMs = 30'000;

}  // namespace

uint32_t Node::OrdinalOf(clock::OriginIndex index) {
  Process& p = *process_;
  const size_t i = clock::IndexOf(index);
  while (p.ordinals.size() <= i) {
    auto next = static_cast<clock::OriginIndex>(p.ordinals.size());
    p.ordinals.push_back(world_.history().Ordinal(p.engine->origins().Get(next)));
  }
  return p.ordinals[i];
}

OracleRegister Node::RegisterOf(const crdt::Register& state) {
  OracleRegister out;
  for (const crdt::Version& v : state.versions) {
    out.versions.push_back(
        {{OrdinalOf(v.dot.origin()), v.dot.sequence()}, v.hlc.bits, v.never, v.absent, v.value});
  }
  for (const crdt::CounterEntry& e : state.counters) {
    if (!e.live()) continue;
    OracleRegister::Sum sum{.origin = OrdinalOf(e.origin)};
    if (e.total.is_real || e.cleared_total.is_real) {
      sum.any_real = true;
      sum.real = e.total.AsReal() - e.cleared_total.AsReal();
    } else {
      sum.integer = static_cast<__int128>(e.total.integer) - e.cleared_total.integer;
    }
    out.counters.push_back(sum);
  }
  std::sort(out.versions.begin(), out.versions.end());
  std::sort(out.counters.begin(), out.counters.end(),
            [](const auto& a, const auto& b) { return a.origin < b.origin; });
  return out;
}

OracleState Node::StateOf(const crdt::KeyState& state) {
  OracleState out;
  static_cast<OracleRegister&>(out) = RegisterOf(state);
  for (const crdt::ExpiryVersion& x : state.expiries) {
    out.expiries.push_back({{OrdinalOf(x.dot.origin()), x.dot.sequence()}, x.time_ms});
  }
  std::sort(out.expiries.begin(), out.expiries.end());
  for (const crdt::Element& e : state.elements) {
    OracleRegister element = RegisterOf(e);
    if (!element.empty()) out.elements.emplace(Place{e.type, e.name}, std::move(element));
  }
  return out;
}

void Node::FrameContext(const wire::Dictionary& dictionary, const clock::VersionVector& deps) {
  dictionary_ = &dictionary;
  deps_ = deps;
  try {
    HandleFrame();
  } catch (const Violation& violation) {
    if (noted_.empty()) noted_ = violation.what();
  }
}

void Node::FrameApplied(const wire::Frame& frame, std::string_view bytes, bool own) {
  frame_ = frame;
  frame_bytes_ = bytes;
  frame_own_ = own;
  try {
    HandleFrame();
  } catch (const Violation& violation) {
    if (noted_.empty()) noted_ = violation.what();
  }
}

void Node::CutOver(const engine::CutOverRecord& record,
                   log::Position end,
                   const clock::VersionVector& mine,
                   const clock::VersionVector& theirs) {
  try {
    NoteCutOver(record, end, mine, theirs);
  } catch (const Violation& violation) {
    if (noted_.empty()) noted_ = violation.what();
  }
}

void Node::NoteCutOver(const engine::CutOverRecord& record,
                       log::Position end,
                       const clock::VersionVector& mine,
                       const clock::VersionVector& theirs) {
  Process& p = *process_;
  History& history = world_.history();
  const Vector before = history.Convert(mine, p.engine->origins());
  const Vector state = history.Convert(theirs, p.engine->origins());
  Vector applied = p.applied;
  Normalize(applied);
  if (applied != before) throw Violation(label_ + " cuts over from another vector than it has");
  SOMETIMES(kStateTransfer);
  if (applied.empty()) SOMETIMES(kJoinedByState);
  if (!Includes(state, before)) SOMETIMES(kMergedOwn);
  world_.Log([&] {
    return label_ + " cuts over: " + history.Text(before) + " and " + history.Text(state);
  });
  history.NoteCutOver(record, state);
  Join(p.applied, state);
  for (size_t o = 0; o < state.size(); ++o) {
    if (state[o] > At(before, o)) p.undurable.emplace_back(end, static_cast<uint32_t>(o), state[o]);
  }
  for (const auto& [key, index] : history.oracle().keys()) {
    p.touched[key] = end;
    // Of changing policies nobody knows which one a key meets.
    if (key.first == crdt::kReservedDatabase || world_.policies_change()) continue;
    for (const Place& place : history.oracle().PlacesOf(key)) NoteMerged(key, place, before);
  }
  p.touched_any = end;
  last_append_us_ = last_nonempty_us_ = world_.now_us();
}

void Node::NoteMerged(const Key& key, const Place& place, const Vector& before) {
  if (!crdt::MayConflict(place.first, place.second)) return;
  const Oracle& oracle = world_.history().oracle();
  const std::vector<OracleState::Version> versions = oracle.VersionsOf(key, place, process_->applied);
  if (versions.size() < 2 || AreSketches(versions)) return;
  const OracleState::Version* winner = world_.Winner(*this, key, place, versions);
  if (winner == nullptr) return;
  const std::vector<OracleState::Version> had = oracle.VersionsOf(key, place, before);
  auto was_here = [&](const OracleState::Version& v) {
    return std::any_of(had.begin(), had.end(), [&](const auto& h) { return h.dot == v.dot; });
  };
  for (const auto& v : versions) {
    if (v.dot == winner->dot || v.dot.origin == winner->dot.origin) continue;
    if (was_here(v) && was_here(*winner)) continue;
    if (v.absent == winner->absent && v.value == winner->value) continue;
    SOMETIMES(kMetInMerge);
    const auto [low, high] = std::minmax(winner->dot, v.dot);
    met_[{key, place, low.origin, high.origin}] = {low, high, world_.now_us()};
  }
}

void Node::ThrowNoted() {
  if (!noted_.empty()) throw Violation(noted_);
}

void Node::HandleFrame() {
  if (!frame_ || dictionary_ == nullptr) return;
  const wire::Frame frame = *frame_;
  frame_.reset();
  History& history = world_.history();
  const wire::Dictionary& dictionary = *dictionary_;
  dictionary_ = nullptr;
  const clock::OriginTable& table = process_->engine->origins();
  const FrameFacts& facts = frame_own_ ? history.AddOwn(frame, frame_bytes_, dictionary, deps_, table)
                                       : history.CheckForeign(frame, frame_bytes_, deps_, table);
  const uint32_t origin = history.Ordinal(frame.origin);
  world_.Log([&] {
    std::string text = label_ + (frame_own_ ? " writes " : " applies ") +
                       history.Name({origin, frame.first}) + ".." + std::to_string(frame.last());
    if (facts.empty) text += frame.solid ? " (a solid claim)" : " (a claim)";
    for (const Key& key : facts.keys) text += " " + std::to_string(key.first) + "/" + key.second;
    return text + " after " + history.Text(facts.deps);
  });
  if (frame_own_) {
    // A stamp far ahead of all clocks that this node was given came from somebody else's bad clock.
    const int64_t slack_ms = options_.engine.clock_skew_ms_max + kStampSlackMs * (boots_ + 1);
    if (frame.base.bits <= stamp_durable_) {
      throw Violation(label_ + " stamps " + history.Name({origin, frame.first}) +
                      " no later than what it had stamped before");
    }
    process_->stamps.emplace_back(process_->log->end(), facts.hlc_last);
    const auto stamp_ms = static_cast<int64_t>(facts.hlc_last >> 16);
    if (stamp_ms > wall_ms_max_ + slack_ms) {
      throw Violation(label_ + " stamps " + history.Name({origin, frame.last()}) + " " +
                      std::to_string(stamp_ms - wall_ms_max_) + " ms ahead of its own clock");
    }
  }
  NoteFrame(facts, origin, frame.first, frame_own_);
  // A look would merge what waits for it.
  if (process_->engine->merging()) return;
  if (std::string torn = TornTransaction(*process_->engine); !torn.empty()) {
    throw Violation(label_ + " shows, after " + history.Name({origin, frame.last()}) + ", " + torn);
  }
}

void Node::NoteFrame(const FrameFacts& facts, uint32_t origin, uint64_t first, bool own) {
  Process& p = *process_;
  History& history = world_.history();
  const Dot dot{origin, first};
  if (At(p.applied, origin) + 1 != first) {
    throw Violation(label_ + " applies " + history.Name(dot) + " after " +
                    std::to_string(At(p.applied, origin)));
  }
  if (!Includes(p.applied, facts.deps)) {
    throw Violation("causality: " + label_ + " applies " + history.Name(dot) + " without its causes: has " +
                    history.Text(p.applied) + " needs " + history.Text(facts.deps));
  }
  NoteMeetings(facts, origin, own);
  Raise(p.applied, origin, facts.last);
  const log::Position end = p.log->end();
  p.undurable.emplace_back(end, origin, facts.last);
  for (const Key& key : facts.keys) p.touched[key] = end;
  if (!facts.keys.empty() || !facts.flushed.empty()) p.touched_any = end;
  for (uint8_t db : facts.flushed) {
    for (const auto& [key, place] : history.oracle().keys()) {
      if (db == crdt::kAllDatabases || db == key.first) p.touched[key] = end;
    }
  }
  ++p.frames_in_tick;
  last_append_us_ = world_.now_us();
  if (!facts.empty) last_nonempty_us_ = world_.now_us();
}

void Node::NoteMeetings(const FrameFacts& facts, uint32_t origin, bool own) {
  Process& p = *process_;
  History& history = world_.history();
  for (const FrameFacts::Put& put : facts.puts) {
    if (put.key.first == crdt::kReservedDatabase || (own && !put.resolve)) continue;
    if (!crdt::MayConflict(put.place.first, put.place.second)) continue;
    // What stands beside it: as of all that was applied before, and this frame up to it.
    Vector seen = p.applied;
    Raise(seen, origin, put.sequence);
    std::vector<OracleState::Version> versions = history.oracle().VersionsOf(put.key, put.place, seen);
    if (versions.size() < 2 || AreSketches(versions)) continue;
    const OracleState::Version* added = nullptr;
    for (const auto& v : versions) {
      if (v.dot == Dot{origin, put.sequence}) added = &v;
    }
    if (added == nullptr) continue;  // replaced by the same change
    const OracleState::Version* winner = world_.Winner(*this, put.key, put.place, versions);
    SOMETIMES(kConflict);
    if (IsElement(put.place)) SOMETIMES(kElementConflict);
    if (put.place.first == crdt::Type::kStream) SOMETIMES(kSameStreamId);
    if (versions.size() > 2) SOMETIMES(kThreeSiblings);
    if (winner == nullptr) continue;
    auto note = [&](const OracleState::Version& shown, const OracleState::Version& lost) {
      if (shown.absent == lost.absent && shown.value == lost.value) return;
      // A resolution with an old token stands beside what its own leader wrote later: no loss.
      if (shown.dot.origin == lost.dot.origin) return;
      const auto [low, high] = std::minmax(shown.dot, lost.dot);
      met_[{put.key, put.place, low.origin, high.origin}] = {low, high, world_.now_us()};
      world_.Log([&] {
        return label_ + " meets " + history.Name(low) + " and " + history.Name(high) + " at " + put.key.second;
      });
    };
    for (const auto& v : versions) {
      if (winner == added ? &v != added : &v == added) note(*winner, v);
    }
  }
}

}  // namespace polyarch::sim
