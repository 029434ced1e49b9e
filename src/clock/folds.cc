#include "clock/folds.h"

#include <algorithm>

#include "base/planted.h"

namespace polyarch::clock {

bool Folds::Add(const Fold& fold) {
  auto& of_origin = by_origin_[fold.origin];
  const std::pair<uint64_t, Dot> fact{fold.sequence, fold.record};
  auto at = std::lower_bound(of_origin.begin(), of_origin.end(), fact);
  if (at != of_origin.end() && *at == fact) return false;
  of_origin.insert(at, fact);
  auto& records = by_record_[fold.record.origin()];
  records.insert(std::upper_bound(records.begin(),
                                  records.end(),
                                  fold.record.sequence(),
                                  [](uint64_t s, const ByRecord& r) { return s < r.record; }),
                 {fold.record.sequence(), fold.origin, fold.sequence});
  all_.push_back(fold);
  ++size_;
  if (highest_.size() <= IndexOf(fold.origin)) highest_.resize(IndexOf(fold.origin) + 1);
  highest_[IndexOf(fold.origin)] = of_origin.back().first;
  base_.reset();
  return true;
}

template <typename Get, typename Raised>
void Folds::Follow(Grown grown, Get get, Raised raised) const {
  while (!grown.empty()) {
    const auto [o, from] = grown.back();
    grown.pop_back();
    auto records = by_record_.find(o);
    if (records == by_record_.end()) continue;
    const uint64_t to = get(o);
    auto it = std::upper_bound(records->second.begin(),
                               records->second.end(),
                               from,
                               [](uint64_t s, const ByRecord& r) { return s < r.record; });
    for (; it != records->second.end() && it->record <= to; ++it) {
      const uint64_t before = get(it->origin);
      if (before >= it->sequence) continue;
      raised(it->origin, it->sequence);
      grown.emplace_back(it->origin, before);
    }
  }
}

bool Folds::Expand(VersionVector& vector, Grown grown) const {
  if (empty()) return false;
  std::map<OriginIndex, uint64_t> added;
  Follow(
      std::move(grown),
      [&](OriginIndex o) {
        auto it = added.find(o);
        return it == added.end() ? vector.Get(o) : it->second;
      },
      [&](OriginIndex o, uint64_t sequence) { added[o] = sequence; });
  if (added.empty()) return false;
  // All at once, since they may be many, and over the base: there they take no room.
  vector.Rebase(base());
  std::vector<VersionVector::Entry> entries;
  auto it = added.begin();
  for (const VersionVector::Entry& entry : vector.entries()) {
    for (; it != added.end() && it->first < entry.first; ++it) entries.push_back(*it);
    if (it == added.end() || it->first != entry.first) entries.push_back(entry);
  }
  entries.insert(entries.end(), it, added.end());
  vector = VersionVector::Over(base(), entries);
  return true;
}

void Folds::Expand(VersionVector& vector) const {
  if (empty()) return;
  Grown grown;
  vector.ForEach([&](OriginIndex o, uint64_t) { grown.emplace_back(o, 0); });
  (void)Expand(vector, std::move(grown));
}

std::vector<VersionVector::Entry> Folds::Compress(const VersionVector& full,
                                                  const OriginTable& origins) const {
  std::vector<VersionVector::Entry> listed;
  std::vector<OriginIndex> left_out;
  std::vector<uint64_t> told(full.index_end());  // what the list implies
  Grown grown;
  full.ForEach([&](OriginIndex o, uint64_t sequence) {
    const uint64_t folded = empty() ? 0 : FoldedAt(o, full);
    if (folded == sequence || (PLANTED(kOmitBeyondFold) && folded != 0)) {
      left_out.push_back(o);
      return;
    }
    listed.emplace_back(o, sequence);
    told[IndexOf(o)] = sequence;
    grown.emplace_back(o, 0);
  });
  auto get = [&](OriginIndex o) { return IndexOf(o) < told.size() ? told[IndexOf(o)] : 0; };
  // A vector that was not expanded may lack what its records lead to.
  auto raised = [&](OriginIndex o, uint64_t sequence) {
    if (IndexOf(o) >= told.size()) told.resize(IndexOf(o) + 1);
    told[IndexOf(o)] = sequence;
  };
  Follow(std::move(grown), get, raised);
  if (PLANTED(kReadBehindEnd) && told[told.size()] == UINT64_MAX) return listed;
  if (PLANTED(kOmitBeyondFold)) return listed;
  // A record may have been written by an origin that is folded by a record which only the first one
  // leads to: then one of them is listed. Which one must not depend on this node's indices.
  std::erase_if(left_out, [&](OriginIndex o) { return told[IndexOf(o)] >= full.Get(o); });
  std::sort(left_out.begin(), left_out.end(), [&](OriginIndex a, OriginIndex b) { return origins.Less(a, b); });
  for (OriginIndex o : left_out) {
    const uint64_t before = told[IndexOf(o)];
    if (before >= full.Get(o)) continue;
    listed.emplace_back(o, full.Get(o));
    told[IndexOf(o)] = full.Get(o);
    Follow({{o, before}}, get, raised);
  }
  std::sort(listed.begin(), listed.end());
  return listed;
}

uint64_t Folds::FoldedAt(OriginIndex origin, const VersionVector& applied) const {
  auto it = by_origin_.find(origin);
  if (it == by_origin_.end()) return 0;
  for (auto fact = it->second.rbegin(); fact != it->second.rend(); ++fact) {
    if (applied.Covers(fact->second)) return fact->first;
  }
  return 0;
}

const std::shared_ptr<const VersionVector::Base>& Folds::base() const {
  if (base_ == nullptr && !highest_.empty()) {
    base_ = std::make_shared<const VersionVector::Base>(highest_);
  }
  return base_;
}

}  // namespace polyarch::clock
