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
  EndSlowSessions();
  if (!may_write()) return;
  // Receivers that come back after a start find what may be kept for them, and no more: this process may be the tenth one.
  if (now_.mono_us < trim_from_us_ && log_.end() - log_.begin() <= LogKeptForStates()) return;
  log::Position limit = checkpoint_position_;
  if (PLANTED(kTrimPastCheckpoint)) limit = log_.durable();
  // Until a merge is durable its log is needed from the checkpoint on, and so is what was staged.
  for (const auto& [link, session] : sessions_)
    limit = std::min(limit, session.pin);
  std::erase_if(kept_pins_, [&](const auto& kept) {
    return now_.mono_us - kept.second.heard_us > options_.state_timeout_us;
  });
  for (const auto& [id, kept] : kept_pins_)
    limit = std::min(limit, kept.pin);
  const bool over = log_.end() - log_.begin() > options_.log_quota_bytes;
  log::Position target = limit;
  bool held = false;
  for (const auto& [name, from] : held_from_) {
    const replication::Member& member = replica_.members().at(name);
    if (member.away && !PLANTED(kAwayHoldsBack)) continue;
    held |= from < target;
    target = std::min(target, from);
  }
  const log::Position before = log_.begin();
  if (target > before) {
    log_.TrimTo(target);
    if (log_.begin() > before) {
      transfers_.trimmed_bytes += log_.begin() - before;
      replica_.NoteTrimmed();
    }
  }
  if (!over || !held) return;
  if (log_.end() - log_.begin() <= options_.log_quota_bytes) return;
  // It is members, and neither our own checkpoint nor a transfer, that fill the log. All that hold back
  // its first segment at once: one after another a log would grow for as long as many have died.
  auto second = heads_.upper_bound(log_.begin());
  if (second == heads_.end() || second->first > limit) return;
  std::vector<std::string> given_up;
  for (const auto& [name, from] : held_from_) {
    if (from < second->first && !replica_.members().at(name).away) given_up.push_back(name);
  }
  RecordAway(given_up, "further behind than the log's quota");
}

void Engine::RecordAway(const std::vector<std::string>& members, const std::string& why) {
  if (members.empty()) return;
  std::string names;
  for (const std::string& name : members) {
    ++transfers_.away_written;
    PutReserved("away/" + name, "away");
    names += (names.empty() ? "" : ", ") + name;
  }
  FinishFrame();
  ReadConfiguration();
  Report(1, why + ": " + names + "; recorded as away, to come back through a transfer of the state");
}

}  // namespace polyarch::engine
