// Where each origin comes from: the next hop to its live process, or whoever has more.
#include <algorithm>

#include "base/planted.h"
#include "replication/replica.h"

namespace polyarch::replication {

namespace {

constexpr int64_t kStallUs = 1'000'000;  // nothing comes although the source has more
constexpr int64_t kStallMaxUs = 8'000'000;
// Before a source that has no more is left for one that has: at once, nearly, if it is just one that
// had some; later, if it is the next hop, which will have it.
constexpr int64_t kLeaveBehindUs = 200'000;
constexpr int64_t kLeaveTargetUs = 1'000'000;
constexpr int64_t kRunDryUs = 2'000'000;  // before a source is left that has something on its way; below kDrainUs
constexpr int64_t kOrphanUs = 10'000'000;  // before frames are dropped whose causes nobody in reach has

}  // namespace

Replica::Link* Replica::LinkOfProcess(uint64_t nonce) {
  for (auto& [id, link] : links_) {
    if (link.greeted && !link.deliberate && link.peer.nonce == nonce) return &link;
  }
  return nullptr;
}

void Replica::FindTargets() {
  if (targets_found_ == origins_.size()) return;
  std::vector<clock::OriginIndex> origins;
  if (targets_found_ != 0) {
    for (size_t i = targets_found_; i < origins_.size(); ++i) origins.push_back(static_cast<clock::OriginIndex>(i));
  } else {  // of those alone that live, or did when it was last done
    for (const clock::OriginIndex origin : live_) {
      Stream& stream = StreamOf(origin);
      stream.target = stream.author = 0;
      stream.live = false;
    }
    live_.clear();
    for (const wire::LinkState* state : graph_.Reachable()) {
      const auto origin = origins_.Find({state->process.leader, state->process.incarnation});
      if (origin) origins.push_back(*origin);
    }
    (void)StreamOf(static_cast<clock::OriginIndex>(origins_.size() - 1));
  }
  std::map<uint64_t, LinkId> link_of;  // by the neighbour's nonce
  for (const clock::OriginIndex index : origins) {
    const clock::Origin& origin = origins_.Get(index);
    Stream& stream = StreamOf(index);
    const uint64_t process = graph_.ProcessOf(origin.leader, origin.incarnation);
    if (process == 0) continue;
    stream.live = true;
    live_.push_back(index);
    if (process == nonce_) continue;
    const uint64_t next = graph_.ReachOf(process)->next;
    auto [it, fresh] = link_of.try_emplace(next, 0);
    if (fresh) {
      Link* link = LinkOfProcess(next);
      if (link != nullptr) it->second = link->id;
    }
    stream.target = it->second;
    if (stream.target != 0) flowing_.insert(index);
    if (next == process) stream.author = it->second;
  }
  steps_ += origins.size();
  targets_found_ = origins_.size();
}

Replica::Link* Replica::MostOf(clock::OriginIndex origin, uint64_t more_than, LinkId except) {
  Link* best = nullptr;
  for (auto& [id, link] : links_) {
    ++steps_;
    if (id == except || !link.greeted || link.deliberate || link.have.Get(origin) <= more_than) continue;
    if (!CanServe(link, origin, more_than + 1)) continue;
    if (best == nullptr || link.have.Get(origin) > best->have.Get(origin) ||
        (link.have.Get(origin) == best->have.Get(origin) && link.peer.leader < best->peer.leader)) {
      best = &link;
    }
  }
  return best;
}

void Replica::Route() {
  routes_changed_ = false;
  FindTargets();
  // Nothing is to be done about any other: most origins have ended long ago, and all have all of them.
  std::set<clock::OriginIndex> looked_at = flowing_;
  looked_at.insert(queued_.begin(), queued_.end());
  for (const auto& [id, link] : links_) {
    if (!link.greeted) continue;
    // What both have is compared only where either differs from what is folded, unless folds are being settled.
    const bool alike = link.have.base() == applied_.base() || link.have.base() == nullptr;
    steps_ += alike ? link.have.entries().size() + applied_.entries().size() : link.have.index_end();
    link.have.ForEachAbove(applied_, [&](clock::OriginIndex origin, uint64_t, uint64_t) {
      looked_at.insert(origin);
      return true;
    });
  }
  for (const clock::OriginIndex origin : looked_at) {
    ++steps_;
    if (own_ && *own_ == origin) continue;
    RouteOrigin(origin);
    const Stream& stream = StreamOf(origin);
    if (stream.source == 0 && stream.target == 0) flowing_.erase(origin);
  }
  NoteStarved(looked_at);
}

void Replica::RouteOrigin(clock::OriginIndex origin) {
  Stream& stream = StreamOf(origin);
  if (stream.forked_until_us > now_us_) return;
  InferHave(origin, stream);
  DropOrphans(origin, stream);
  const uint64_t received = stream.next - 1;
  auto find = [this](LinkId id) {
    auto it = links_.find(id);
    return it == links_.end() || !it->second.greeted || it->second.deliberate ? nullptr : &it->second;
  };
  Link* target = find(stream.target);
  if (target != nullptr && !CanServe(*target, origin, stream.next)) target = nullptr;
  Link* current = find(stream.source);
  if (PLANTED(kForgetDeadOrigin) && target == nullptr) return;
  if (current == nullptr) {
    stream.source = 0;
    stream.waiting_us = 0;
    stream.return_at = kNever;
    Link* to = target != nullptr && now_us_ >= stream.avoid_us ? target : MostOf(origin, received, 0);
    if (to != nullptr) SubscribeAt(origin, stream, *to);
    return;
  }
  const bool owes_us_frames = current->have.Get(origin) > received;
  Link* best = owes_us_frames ? nullptr : MostOf(origin, received, current->id);
  if (!owes_us_frames && best == nullptr) {
    stream.waiting_us = 0;
  } else if (stream.waiting_us == 0) {
    stream.waiting_us = now_us_;
  }
  // A part of a large message is progress.
  const int64_t waited_us =
      stream.waiting_us == 0 ? 0 : now_us_ - std::max(stream.waiting_us, current->part_us);
  auto delay = delay_ms_.find(current->peer.leader);
  const int64_t patience_us =
      std::max(kStallUs, stream.backoff_us) + (delay == delay_ms_.end() ? 0 : delay->second * 2000);
  if (owes_us_frames && waited_us > patience_us && stream.queued_bytes < options_.window_bytes) {
    // Lost messages, or a neighbour that is alive and makes no progress.
    stream.backoff_us = std::min(kStallMaxUs, patience_us * 2);
    Link* to = MostOf(origin, received, current->id);
    if (to == nullptr) to = current;
    if (current == target && to != target) stream.avoid_us = now_us_ + stream.backoff_us;
    ++counters_.resubscribed;
    stream.waiting_us = 0;
    SubscribeAt(origin, stream, *to);
    return;
  }
  if (best != nullptr && waited_us > (current == target ? kLeaveTargetUs : kLeaveBehindUs)) {
    // Somebody is ahead of where it should come from; back when that has caught up.
    stream.return_at = best->have.Get(origin);
    stream.waiting_us = 0;
    SubscribeAt(origin, stream, *best);
    return;
  }
  const bool elsewhere = target != nullptr && target != current;
  if (!elsewhere) stream.return_at = kNever;
  // It should come from elsewhere: it moves when that has what had come here when the wish arose, so
  // that nothing stands still meanwhile, and nobody waits for a neighbour that gains on him for ever.
  if (elsewhere && stream.return_at == kNever) stream.return_at = received;
  if (!elsewhere || target->have.Get(origin) < stream.return_at || now_us_ < stream.avoid_us) {
    stream.leaving_us = 0;
    Grant(origin, stream);  // what was withheld
    return;
  }
  // What is on its way would come from there once more: the source gets no more credit until that has come.
  if (stream.leaving_us == 0) stream.leaving_us = now_us_;
  if (!HasRunDry(*current, origin, stream) && now_us_ - stream.leaving_us < kRunDryUs) return;
  stream.return_at = kNever;
  stream.waiting_us = 0;
  SubscribeAt(origin, stream, *target);
}

// A frame may wait for causes that were lost with their author's unsynced tail before anybody had them.
// What is dropped is pulled again from whoever still announces it.
void Replica::DropOrphans(clock::OriginIndex origin, Stream& stream) {
  if (stream.queue.empty() || stream.blocked_on == clock::kNoOrigin) return;
  if (now_us_ - std::max(stream.progress_us, stream.subscribed_us) < kOrphanUs) return;
  for (const auto& [id, link] : links_) {
    if (link.greeted && link.have.Get(stream.blocked_on) >= stream.blocked_at) return;
  }
  counters_.orphans_dropped += stream.queue.size();
  stream.queue.clear();
  stream.queued_bytes = 0;
  stream.queued_before = 0;
  stream.blocked_on = clock::kNoOrigin;
  stream.next = applied_.Get(origin) + 1;
  Unsubscribe(origin, stream);
}

}  // namespace polyarch::replication
