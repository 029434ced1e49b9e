// Folding of ended origins: what vectors leave out on their way, and what is kept of the origins.
// docs/design/0012-folding.md.
#include <algorithm>

#include "base/planted.h"
#include "replication/replica.h"

namespace polyarch::replication {

void Replica::AddFold(const clock::Fold& fold) {
  if (!folds_.Add(fold)) return;
  unsettled_.push_back(fold.origin);
  // Neighbours that have the record may have left the origin out of what they told us.
  const clock::Folds::Grown grown{{fold.record.origin(), fold.record.sequence() - 1}};
  for (auto& [id, link] : links_) {
    if (link.have.Covers(fold.record)) routes_changed_ |= folds_.Expand(link.have, grown);
    if (link.have_durable.Covers(fold.record)) (void)folds_.Expand(link.have_durable, grown);
  }
}

std::string Replica::Text(const clock::VersionVector& vector) const {
  return clock::VersionVector::Over(nullptr, Listed(vector)).ToString(origins_);
}

void Replica::SettleFolds() {
  if (unsettled_.empty()) return;
  std::vector<clock::OriginIndex> later;
  for (clock::OriginIndex origin : unsettled_) {
    const size_t i = clock::IndexOf(origin);
    if (i >= rows_.size() || rows_[i].compact || (own_ && *own_ == origin)) continue;
    if (!IsFolded(origin)) {
      // By a record that is not applied here yet, or the origin went on meanwhile.
      if (applied_.Get(origin) == 0 || FoldedAt(origin) == 0) later.push_back(origin);
      continue;
    }
    // Its claims have done their work: every member has claimed more since. A frame beyond the fold
    // would be read with its dictionary and deps.
    // Deps are without the origin's own entry, so they may lack what a record that they cover has folded of it: Compress
    // knows. With it what the origin's own records folded would be left out, which its reader does not infer.
    OriginRow& row = rows_[i];
    row.deps = clock::VersionVector::Over(nullptr, Listed(row.deps));
    row.has_claim = false;
    row.claim.clear();
    row.waiting = {};
    row.compact = true;
    NoteRow(origin);
    if (i < streams_.size() && streams_[i].source != 0 && streams_[i].queue.empty()) {
      Unsubscribe(origin, streams_[i]);
    }
  }
  unsettled_ = std::move(later);
  // What is compared often is kept over one base.
  const OriginRow::Base& base = folds_.base();
  for (clock::VersionVector* vector : {&applied_, &durable_}) vector->Rebase(base);
  for (OriginRow& row : rows_) {
    if (row.compact || row.last == 0) continue;
    row.deps.Rebase(base);
    row.claim.Rebase(base);
    for (auto& [sequence, vector] : row.waiting) vector.Rebase(base);
  }
  for (auto& [name, member] : members_) member.floor.Rebase(base);
  for (auto& [leader, vector] : past_have_) vector.Rebase(base);
  for (auto& [at_us, vector] : samples_) vector.Rebase(base);
  for (auto& [id, link] : links_) {
    for (clock::VersionVector* vector : {&link.have, &link.have_durable, &link.sent_have, &link.sent_durable}) {
      vector->Rebase(base);
    }
  }
}

void Replica::NameInFrame(wire::Frame& frame,
                          const clock::VersionVector& deps,
                          clock::OriginIndex origin) {
  wire::Dictionary& dictionary = Row(*own_).dictionary;
  uint64_t place = 0;
  const uint64_t sequence = deps.Get(origin);
  if (sequence == 0 || dictionary.Find(origin, place)) return;
  dictionary.Add(origin);
  frame.deps_new.emplace_back(origins_.Get(origin), sequence);
}

// A frame at the gate waits for a change that no neighbour may have announced: announcements leave
// out what is folded by a record that we may not have. But whoever has applied the frame has applied
// what it depends on.
void Replica::InferHave(clock::OriginIndex origin, const Stream& stream) {
  if (stream.blocked_on == clock::kNoOrigin || stream.queue.empty()) return;
  for (auto& [id, link] : links_) {
    if (!link.greeted || link.have.Get(origin) < stream.queue.front().last) continue;
    if (link.have.Get(stream.blocked_on) >= stream.blocked_at) continue;
    link.have.Set(stream.blocked_on, stream.blocked_at);
    routes_changed_ = true;
  }
}

}  // namespace polyarch::replication
