// Folding of ended origins: who writes the records, when, and what follows from them here.
// docs/design/0012-folding.md.
#include <algorithm>

#include "engine/engine.h"
#include "engine/rows.h"

namespace polyarch::engine {

namespace {

constexpr size_t kFoldsMax = 1'000;  // records in a second

}  // namespace

void Engine::ReadEnded() {
  for (const std::string& key : ended_keys_) {
    auto origin = clock::Origin::Parse(std::string_view(key).substr(kEndedPrefix.size()));
    if (!origin) continue;
    const clock::OriginIndex index = replica_.InternForeign(*origin);
    if (index == clock::kNoOrigin) continue;
    replica_.SetEnded(index);
    // Another process of our name took us for dead. What has ended does not go on.
    if (!replaying_ && replica_.own() && *replica_.own() == index) forget_wanted_ = true;
    std::vector<clock::Dot>& records = ended_[index];
    records.clear();
    for (const crdt::Version& v : keyspace_.State(keyspace_.Ref(crdt::kReservedDatabase, key)).versions) {
      records.push_back(v.dot);
    }
  }
  ended_keys_.clear();
}

void Engine::NoteFold(std::string_view key, const crdt::KeyState& state) {
  clock::Origin origin;
  uint64_t sequence = 0;
  if (!ParseFoldedKey(key, origin, sequence)) return;
  const clock::OriginIndex index = replica_.InternForeign(origin);
  if (index == clock::kNoOrigin) return;
  for (const crdt::Version& v : state.versions) replica_.AddFold({v.dot, index, sequence});
}

void Engine::NoteFold(const crdt::Effect& effect, clock::Dot dot) {
  if (effect.db != crdt::kReservedDatabase || !effect.key.starts_with(kFoldedPrefix)) return;
  crdt::KeyState state;
  state.versions.push_back({.dot = dot});
  NoteFold(effect.key, state);
}

bool Engine::IsTidier() const {
  const auto first =
      std::find_if(replica_.members().begin(), replica_.members().end(), [](const auto& entry) {
        return !entry.second.away;
      });
  return first != replica_.members().end() && first->first == options_.leader_id;
}

// Records of folds are true whoever writes them, and two are harmless: the first one in reach does, though another may
// count that has stopped.
bool Engine::Folds() const {
  for (const auto& [name, member] : replica_.members()) {
    if (name == options_.leader_id) return true;
    if (!member.away && replica_.graph().Reaches(name)) return false;
  }
  return false;
}

// An origin is folded when every member that is here has claimed the record that ended it: then none of them will
// write anything that had not seen what it wrote. For a leader that was retired the records that retired it take that
// place. Whoever is away, or has been silent since, is not waited for: what it writes, and what it knows of the origin
// beyond the fold, is read as ever; and the others' vectors must not grow for as long as it is gone.
void Engine::FoldEnded() {
  if (!Folds()) return;
  std::set<std::string> away;
  std::set<std::string> silent;  // and away
  for (const auto& [name, member] : replica_.members()) {
    auto heard = heard_.find(name);
    const bool stands = heard != heard_.end() && now_.mono_us - heard->second.since_us > options_.fold_patience_us;
    if (member.away) away.insert(name);
    if (member.away || (stands && name != options_.leader_id)) silent.insert(name);
  }
  const clock::VersionVector stable = replica_.StableWithout(away);
  const clock::VersionVector heard_of = silent == away ? stable : replica_.StableWithout(silent);
  std::optional<clock::VersionVector> of_all;
  std::map<std::string, clock::VersionVector> claims;  // of members that are not waited for
  std::vector<std::string> keys;
  std::map<clock::OriginIndex, int64_t> waiting;
  auto consider = [&](clock::OriginIndex origin, const std::vector<clock::Dot>& records) {
    const uint64_t applied = replica_.applied().Get(origin);
    if (applied == 0 || applied <= replica_.FoldedAt(origin)) return;
    // Ended by another process of its name, it may still live, and claim what we fold: for ever.
    if (replica_.IsLive(origin) || records.empty()) return;
    auto before = unfolded_since_us_.find(origin);
    const int64_t since_us = before == unfolded_since_us_.end() ? now_.mono_us : before->second;
    waiting[origin] = since_us;
    if (keys.size() >= kFoldsMax) return;
    auto covered = [&](const clock::VersionVector& by) {
      return std::all_of(records.begin(), records.end(), [&](clock::Dot record) { return by.Covers(record); });
    };
    // Trailing claims oblige nobody; everything else must have reached all.
    auto reached = [&](const clock::VersionVector& by) {
      return covered(by) && nonempty_.Get(origin) <= by.Get(origin);
    };
    if (!reached(stable) && (now_.mono_us - since_us <= options_.fold_patience_us || !reached(heard_of))) return;
    // What it claimed itself is dropped with the fold: its leader must have claimed more.
    const std::string& leader = origins_.Get(origin).leader;
    if (silent.count(leader) != 0) {
      auto [claim, fresh] = claims.try_emplace(leader);
      if (fresh) claim->second = replica_.Claim(leader);
      if (!covered(claim->second)) return;
    }
    if (!silent.empty()) {
      if (!of_all) of_all = replica_.Stable();
      if (!reached(*of_all)) ++folds_without_all_;
    }
    keys.push_back(FoldedKey(origins_.Get(origin), applied));
  };
  for (const auto& [name, of] : replica_.leaders()) {
    const auto a = admissions_.find(name);
    const bool retired =
        a != admissions_.end() && a->second.all_retired() && replica_.members().count(name) == 0;
    for (const clock::OriginIndex origin : of.rows) {
      const auto ended = ended_.find(origin);
      if (ended != ended_.end()) {
        consider(origin, ended->second);
      } else if (retired) {
        consider(origin, a->second.records);
      }
    }
  }
  unfolded_since_us_ = std::move(waiting);
  for (const std::string& key : keys) PutReserved(key, "");
  FinishFrame();
  for (const std::string& key : keys) {
    NoteFold(key, keyspace_.State(keyspace_.Ref(crdt::kReservedDatabase, key)));
    ++folds_written_;
  }
}

void Engine::SettleFolds() {
  replica_.SettleFolds();
  const auto& folds = replica_.folds().all();
  if (folds_settled_ == folds.size()) return;
  // What is folded counts as not empty: whoever has the record has it all, so it obliges nobody.
  for (; folds_settled_ < folds.size(); ++folds_settled_) {
    const clock::Fold& fold = folds[folds_settled_];
    if (replica_.applied().Covers(fold.record)) nonempty_.Raise(fold.origin, fold.sequence);
  }
  nonempty_.Rebase(replica_.folds().base());
  for (auto& [position, vector] : heads_) vector.Rebase(replica_.folds().base());
}

}  // namespace polyarch::engine
