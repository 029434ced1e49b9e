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

// An origin is folded when every member, away ones too, has claimed the record that ended it: then
// none of them will write anything that had not seen what it wrote. For a leader that was retired
// the records that retired it take that place.
void Engine::FoldEnded() {
  if (!IsTidier()) return;
  const clock::VersionVector stable = replica_.Stable();
  std::vector<std::string> keys;
  auto consider = [&](clock::OriginIndex origin, const std::vector<clock::Dot>& records) {
    const uint64_t applied = replica_.applied().Get(origin);
    if (keys.size() >= kFoldsMax || applied == 0 || applied <= replica_.FoldedAt(origin)) return;
    // Ended by another process of its name, it may still live, and claim what we fold: for ever.
    if (replica_.IsLive(origin)) return;
    const bool all = std::all_of(
        records.begin(), records.end(), [&](clock::Dot record) { return stable.Covers(record); });
    // Trailing claims oblige nobody; everything else must have reached all.
    if (!all || records.empty() || nonempty_.Get(origin) > stable.Get(origin)) return;
    keys.push_back(FoldedKey(origins_.Get(origin), applied));
  };
  for (const auto& [origin, records] : ended_) consider(origin, records);
  for (const auto& [name, a] : admissions_) {
    if (!a.all_retired() || replica_.members().count(name) != 0) continue;
    for (size_t i = 0; i < replica_.row_count(); ++i) {
      const auto origin = static_cast<clock::OriginIndex>(i);
      if (origins_.Get(origin).leader == name && ended_.count(origin) == 0) consider(origin, a.records);
    }
  }
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
}

}  // namespace polyarch::engine
