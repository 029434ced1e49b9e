// Residue: what is kept although nothing shows it, until nobody can need it any more. Members that
// are away may need it for ever; so what waits for them has a quota. docs/design/0018-residue.md.
#include <algorithm>

#include "base/planted.h"
#include "engine/engine.h"

namespace polyarch::engine {

namespace {

constexpr int64_t kPurgeAgainUs = 10'000'000;
// Who has claimed nothing for so long, though others wait for it, may be given up.
constexpr int64_t kSilentUs = 60'000'000;
constexpr int64_t kSilentMs = kSilentUs / 1000;

}  // namespace

void Engine::BeginPurgeRound() {
  const auto& residue = keyspace_.residue_keys();
  if (purge_round_ || residue.empty() || replica_.members().empty()) return;
  if (now_.mono_us < next_purge_us_) return;
  clock::VersionVector stable = replica_.Stable();
  if (!purge_again_ && residue.size() == residue_then_ && stable == purged_stable_ &&
      now_.mono_us - purge_ended_us_ < kPurgeAgainUs) {
    return;
  }
  purge_round_ = PurgeRound{.stable = std::move(stable),
                            .counting = replica_.StableOfCounting(),
                            .next = *residue.begin(),
                            .began_us = now_.mono_us};
}

// Nobody notices that a cleared entry goes once its own origin knows of the clear: its next
// increment begins a new life.
bool Engine::MayPurge(const crdt::CounterEntry& entry) {
  if (entry.live()) return false;
  const replication::OriginRow& row = replica_.Row(entry.origin);
  const bool known =
      entry.cleared_by.bits() != 0 && row.has_claim && row.claim.Covers(entry.cleared_by);
  return known || PLANTED(kPurgeAny);
}

bool Engine::GivesUp(clock::Hlc stamp) {
  if (stamp.ms() <= give_up_until_ms_) {
    ++residue_given_up_;
    return true;
  }
  purge_round_->waiting.push_back(stamp.ms());
  return false;
}

bool Engine::MayClean(clock::Dot dot, clock::Hlc stamp) {
  if (purge_round_->stable.Covers(dot)) return true;
  if (purge_round_->counting.Covers(dot)) return GivesUp(stamp);
  if (static_cast<int64_t>(stamp.ms()) < now_.wall_ms - kSilentMs) ++purge_round_->held_back;
  return false;
}

bool Engine::PurgeElements(const keyspace::KeyRef& ref, bool cleaner, size_t until) {
  if (PLANTED(kElementResidue)) return true;
  struct Found {
    crdt::Type type;
    std::string name;
    std::vector<clock::Dot> dots;
    std::vector<clock::OriginIndex> counters;
  };
  PurgeRound& round = *purge_round_;
  const crdt::Type type = round.next_type;
  const std::string from = round.next_element;
  bool ended = true;
  std::vector<Found> found;
  keyspace_.VisitResidue(
      ref, type, from, [&](crdt::Type of, std::string_view name, const crdt::Register& state) {
        if (round.looked_at >= until) {
          round.next_type = of;
          round.next_element = name;
          ended = false;
          return false;
        }
        ++round.looked_at;
        Found f{of, {}, {}, {}};
        if (!state.has_live_version()) {
          for (const crdt::Version& v : state.versions) {
            if (MayClean(v.dot, v.hlc) && cleaner) f.dots.push_back(v.dot);
          }
        }
        for (const crdt::CounterEntry& e : state.counters) {
          if (MayPurge(e)) f.counters.push_back(e.origin);
        }
        if (f.dots.empty() && f.counters.empty()) return true;
        f.name = name;
        found.push_back(std::move(f));
        return true;
      });
  round.removed += found.size();
  for (const Found& f : found) {
    for (clock::OriginIndex origin : f.counters)
      keyspace_.PurgeElementCounter(ref, f.type, f.name, origin);
    if (f.dots.empty()) continue;
    keyspace::Change change(*this, keyspace_);
    change.CleanElement(ref, f.type, f.name, f.dots);
  }
  return ended;
}

void Engine::PurgeSlice() {
  if (!purge_round_) return;
  const auto& residue = keyspace_.residue_keys();
  PurgeRound& round = *purge_round_;
  const size_t until = round.looked_at + options_.residue_slice;
  const bool cleaner = IsTidier();
  auto now = std::make_shared<const clock::VersionVector>(nonempty_);
  const clock::VersionVector* compared = nullptr;  // many keys share one
  bool by_all = false;
  bool by_counting = false;
  auto begin_at = [&round](std::pair<uint8_t, std::string> key) {
    round.next = std::move(key);
    round.next_type = crdt::Type::kString;
    round.next_element.clear();
  };
  // What is purged leaves the set.
  for (auto it = residue.lower_bound(round.next); it != residue.end();
       it = residue.lower_bound(round.next)) {
    if (round.looked_at >= until) return;
    if (*it != round.next) begin_at(*it);
    ++round.looked_at;
    const std::pair<uint8_t, std::string> key = round.next;
    const keyspace::KeyRef ref = keyspace_.Ref(key.first, key.second);
    if (!PurgeElements(ref, cleaner, until)) return;
    begin_at({key.first, key.second + '\0'});  // the first one behind it
    bool live = false;
    const crdt::KeyState* found = keyspace_.Residue(ref, &live);
    if (found == nullptr) continue;  // no more
    const crdt::KeyState state = *found;
    bool removed = false;
    for (const crdt::CounterEntry& e : state.counters) {
      if (!MayPurge(e)) continue;
      keyspace_.PurgeCounter(ref, e.origin);
      removed = true;
    }
    std::vector<clock::Dot> dots;
    if (!state.has_live_version()) {
      for (const crdt::Version& v : state.versions) {
        if (MayClean(v.dot, v.hlc)) dots.push_back(v.dot);
      }
    }
    if (!live && !state.expiries.empty()) {
      // Stable must be all that was applied here when the key was last touched: a concurrent write
      // that this expiry meets may have been on its way.
      const clock::VersionVector* since = keyspace_.ResidueSince(ref, now);
      if (since == nullptr) round.met_changed = true;
      if (since != nullptr && since != compared) {
        compared = since;
        by_all = round.stable.Includes(*since);
        by_counting = round.counting.Includes(*since);
      }
      clock::Hlc newest;
      for (const crdt::ExpiryVersion& x : state.expiries)
        newest = std::max(newest, x.hlc);
      if (since != nullptr && !by_all && !by_counting &&
          static_cast<int64_t>(newest.ms()) < now_.wall_ms - kSilentMs) {
        ++round.held_back;
      }
      if (since != nullptr && (by_all || (by_counting && GivesUp(newest)))) {
        for (const crdt::ExpiryVersion& x : state.expiries)
          dots.push_back(x.dot);
      }
    }
    if (!dots.empty() && cleaner) {
      removed = true;
      keyspace::Change change(*this, keyspace_);
      change.Clean(ref, dots);
    }
    if (removed) ++round.removed;
  }
  EndPurgeRound();
}

void Engine::EndPurgeRound() {
  const PurgeRound round = std::move(*purge_round_);
  purge_round_.reset();
  purged_stable_ = round.stable;
  purge_again_ = round.met_changed;
  purge_ended_us_ = now_.mono_us;
  residue_looked_at_ += round.looked_at;
  residue_then_ = keyspace_.residue_keys().size();
  give_up_until_ms_ = 0;
  // To look at much that nobody may remove yet must not take a good part of this leader's time.
  // (A round may have been asleep with its machine: its length says nothing then.)
  if (round.removed < round.looked_at / 10)
    next_purge_us_ = now_.mono_us + std::min(2 * (now_.mono_us - round.began_us), kPurgeAgainUs);
  const uint64_t quota = options_.residue_quota;
  if (round.waiting.size() > quota && IsTidier()) {
    // The oldest go. The others may stay for longer: not each further one makes a round.
    std::vector<uint64_t> stamps = round.waiting;
    const auto count = static_cast<ptrdiff_t>(stamps.size() - quota * 3 / 4);
    std::nth_element(stamps.begin(), stamps.begin() + count - 1, stamps.end());
    give_up_until_ms_ = stamps[static_cast<size_t>(count - 1)];
    purge_again_ = true;
  }
  if (round.held_back > quota) GiveUpSilent("more residue waits for it than its quota");
}

// ---- who holds back

void Engine::WatchClaims() {
  std::map<std::string, Heard> heard;
  for (const auto& [name, member] : replica_.members()) {
    auto before = heard_.find(name);
    const int64_t clock_ms = replica_.MemberClock(name);
    const bool same = before != heard_.end() && before->second.clock_ms == clock_ms;
    heard[name] = same ? before->second : Heard{clock_ms, now_.mono_us};
  }
  heard_ = std::move(heard);
}

void Engine::GiveUpSilent(const char* what) {
  std::vector<std::string> silent;
  for (const auto& [name, member] : replica_.members()) {
    auto heard = heard_.find(name);
    if (name == options_.leader_id || member.away || heard == heard_.end()) continue;
    if (now_.mono_us - heard->second.since_us > kSilentUs) silent.push_back(name);
  }
  RecordAway(silent, what);
}

void Engine::CountHeldBack(int64_t claimed_ms) {
  if (held_from_ms_ < claimed_ms) {  // anew
    held_from_ms_ = claimed_ms;
    held_count_ = 0;
  }
  size_t visits = 0;
  int64_t reached = INT64_MIN;
  bool ended = true;
  bool old = true;
  keyspace_.VisitExpired(held_from_ms_, [&](const keyspace::Keyspace::Expired& e) {
    old = e.instant_ms < keyspace_.time_ms() - kSilentMs;
    if (!old) return false;
    if (e.instant_ms != reached && visits >= options_.residue_slice) {
      held_from_ms_ = e.instant_ms;
      ended = false;
      return false;
    }
    ++visits;
    reached = e.instant_ms;
    return true;
  });
  held_count_ += visits;
  const bool over = held_count_ > options_.residue_quota;
  if (ended || over) held_from_ms_ = INT64_MIN;
  if (over) GiveUpSilent("more expired keys wait for it than the quota of residue");
}

}  // namespace polyarch::engine
