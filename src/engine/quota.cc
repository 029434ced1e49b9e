// The log's quota: what may be trimmed, who holds it back, and who is given up. Nothing goes that
// recovery, a transfer under way, or a member that counts may still need.
#include <algorithm>

#include "base/planted.h"
#include "engine/engine.h"

namespace polyarch::engine {

// Where in our log what the member lacks may begin: the last segment before which it has
// everything.
log::Position Engine::HeldFrom(const std::string& member) {
  const clock::VersionVector holds = replica_.Holds(member);
  log::Position from = log_.begin();
  for (const auto& [position, vector] : heads_) {
    if (position <= from) continue;
    if (!holds.Includes(vector)) break;
    from = position;
  }
  return from;
}

void Engine::ReadHeads() {
  heads_.erase(heads_.begin(), heads_.lower_bound(log_.begin()));
  for (const log::SegmentHead& head : log_.Heads()) {
    auto [it, fresh] = heads_.try_emplace(head.position);
    if (fresh) it->second = replica_.ReadHead(head.head);
  }
}

void Engine::TrimLog() {
  ReadHeads();
  held_from_.clear();
  for (const auto& [name, member] : replica_.members()) {
    if (name != options_.leader_id) held_from_[name] = HeldFrom(name);
  }
  if (!may_write() || now_.mono_us < trim_from_us_) return;
  log::Position limit = checkpoint_position_;
  if (PLANTED(kTrimPastCheckpoint)) limit = log_.durable();
  // Until a merge is durable its log is needed from the checkpoint on, and so is what was staged.
  for (const auto& [link, session] : sessions_)
    limit = std::min(limit, session.pin);
  const bool over = log_.end() - log_.begin() > options_.log_quota_bytes;
  log::Position target = limit;
  std::string behind;  // the member furthest behind
  for (const auto& [name, from] : held_from_) {
    const replication::Member& member = replica_.members().at(name);
    if (member.away && !PLANTED(kAwayHoldsBack)) continue;
    if (from < target) {
      target = from;
      behind = name;
    }
  }
  const log::Position before = log_.begin();
  if (target > before) {
    log_.TrimTo(target);
    if (log_.begin() > before) {
      transfers_.trimmed_bytes += log_.begin() - before;
      replica_.NoteTrimmed();
    }
  }
  if (!over || behind.empty()) return;
  if (log_.end() - log_.begin() <= options_.log_quota_bytes) return;
  // It is this member, and neither our own checkpoint nor a transfer, that fills the log.
  auto second = heads_.upper_bound(log_.begin());
  if (second == heads_.end() || second->first > limit || held_from_[behind] >= second->first) return;
  ++transfers_.away_written;
  PutReserved("away/" + behind, "away");
  FinishFrame();
  ReadConfiguration();
  Report(1,
         "leader " + behind + " is further behind than the log's quota: recorded as away; it will "
         "come back through a transfer of the state");
}

}  // namespace polyarch::engine
