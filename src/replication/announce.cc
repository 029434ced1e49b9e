// Announcements: what neighbours are told of what is applied and durable here, and what they tell.
//
// What a neighbour has is a lower bound that rises; it is never wrong, only old. So it may be told late
// where nobody waits for it. Most of it is of that kind: an origin's frames come to a neighbour along the
// origin's tree, from whoever serves them, and that others have them too matters only if that way fails.
// Urgent are: what the neighbour itself has written (its clients may wait for how many have it); what no
// live process stands behind (whoever lacks it must find somebody who has it); what was never announced
// on this link (the neighbour cannot subscribe to what it does not know). All the rest is said within
// kSpareMaxUs, more often where there is little to say.
#include <algorithm>
#include <utility>

#include "base/planted.h"
#include "replication/replica.h"

namespace polyarch::replication {

namespace {

constexpr int64_t kAnnounceUs = 10'000;
// So much time an announced entry: what announcements may cost is bounded, in a large mesh, too.
constexpr int64_t kUrgentEntryUs = 20;
constexpr int64_t kSpareEntryUs = 1'000;
constexpr int64_t kUrgentMaxUs = 250'000;
// Well below kStarvedUs (gaps.cc) and kLeaveTargetUs (routing.cc), which count on knowing what others have.
constexpr int64_t kSpareMaxUs = 250'000;

}  // namespace

bool Replica::IsSaid(const Link& link, clock::OriginIndex origin) const {
  return applied_.Get(origin) == link.sent_have.Get(origin) && durable_.Get(origin) == link.sent_durable.Get(origin);
}

bool Replica::IsUrgent(const Link& link, clock::OriginIndex origin) const {
  if (link.sent_have.Get(origin) == 0) return true;
  const size_t i = clock::IndexOf(origin);
  // It has come just now: who its process is, is not known yet.
  if (i >= targets_found_ || i >= streams_.size()) return true;
  return streams_[i].author == link.id || !streams_[i].live;
}

void Replica::AnnounceFull(Link& link) {
  wire::Have have;
  have.full = true;
  have.wall_ms = wall_ms_;
  // What fold records that it covers tell of is left out.
  std::set<clock::OriginIndex> told;
  for (const auto& [origin, sequence] : Listed(applied_)) told.insert(origin);
  applied_.ForEachAbove(durable_, [&](clock::OriginIndex origin, uint64_t, uint64_t) {
    told.insert(origin);
    return true;
  });
  for (clock::OriginIndex origin : told) {
    have.entries.push_back({origins_.Get(origin), applied_.Get(origin), durable_.Get(origin)});
  }
  link.sent_have = applied_;
  link.sent_durable = durable_;
  // It has no numbers; and what was said before it may be lost.
  link.sent_name.clear();
  link.unsaid = false;
  have.number = ++link.haves_sent;
  SendTo(link, wire::Encode(have));
}

void Replica::AnnounceNews() {
  auto note = [&](clock::OriginIndex origin, uint64_t, uint64_t) {
    news_.insert(origin);
    return true;
  };
  applied_.ForEachAbove(noted_have_, note);
  durable_.ForEachAbove(noted_durable_, note);
  noted_have_ = applied_;
  noted_durable_ = durable_;
  const bool all = now_us_ >= next_spare_us_;
  int64_t urgent = 0;
  int64_t spare = 0;
  wire::HaveMore have;
  auto consider = [&](Link& link, clock::OriginIndex origin) {
    const uint64_t applied = applied_.Get(origin);
    if (applied == 0 || IsSaid(link, origin)) return;
    const bool is_urgent = IsUrgent(link, origin);
    if (!is_urgent && (!all || PLANTED(kUrgentOnly))) return;
    ++(is_urgent ? urgent : spare);
    const size_t i = clock::IndexOf(origin);
    if (link.sent_name.size() <= i) link.sent_name.resize(i + 1);
    wire::HaveMoreEntry& entry = have.entries.emplace_back();
    entry.origin = i;
    if (!link.sent_name[i]) entry.name = origins_.Get(origin);
    entry.applied = applied;
    entry.durable = std::min(applied, durable_.Get(origin));
    link.sent_name[i] = true;
    link.sent_have.Set(origin, applied);
    link.sent_durable.Set(origin, durable_.Get(origin));
  };
  for (auto& [id, link] : links_) {
    if (!link.greeted) continue;
    if (host_.Backlog(id) >= options_.backlog_bytes_max) {
      link.unsaid = true;
      continue;
    }
    have.entries.clear();
    if (all && std::exchange(link.unsaid, false)) {
      for (size_t i = 0; i < origins_.size(); ++i) consider(link, static_cast<clock::OriginIndex>(i));
    } else {
      for (clock::OriginIndex origin : news_) consider(link, origin);
    }
    if (have.entries.empty()) continue;
    have.number = ++link.haves_sent;
    SendTo(link, wire::Encode(have));
  }
  next_announce_us_ = now_us_ + std::clamp(urgent * kUrgentEntryUs, kAnnounceUs, kUrgentMaxUs);
  if (!all) return;
  news_.clear();
  next_spare_us_ = now_us_ + std::clamp(spare * kSpareEntryUs, kAnnounceUs, kSpareMaxUs);
}

void Replica::NoteHave(
    Link& link, clock::OriginIndex origin, uint64_t applied, uint64_t durable, NewHaves& grown) {
  if (applied > applied_.Get(origin)) NoteSetBack(link, origin);
  if (applied > link.have.Get(origin)) {
    grown.applied.emplace_back(origin, link.have.Get(origin));
    link.have.Set(origin, applied);
    if (applied > applied_.Get(origin) && StreamOf(origin).source == 0) routes_changed_ = true;
  }
  if (durable > link.have_durable.Get(origin)) {
    grown.durable.emplace_back(origin, link.have_durable.Get(origin));
    link.have_durable.Set(origin, durable);
  }
}

// A neighbour holds what this very process has not written: its memory was set back, or it runs twice (a snapshot of a
// machine). What it wrote since then has the names of other changes.
void Replica::NoteSetBack(Link& link, clock::OriginIndex origin) {
  if (own_ != origin) return;
  ++counters_.forks;
  host_.Report(2,
               "leader " + link.peer.leader + " holds changes of this process that it has not written: its machine was "
                   "set back to a snapshot, or copied, while it ran; what it wrote since may be lost. It begins a new "
                   "incarnation");
  host_.ForkDetected(origin);
}

// What a neighbour has may cover fold records: then it has all that they tell of.
void Replica::ExpandHaves(Link& link, NewHaves grown) {
  routes_changed_ |= folds_.Expand(link.have, std::move(grown.applied));
  (void)folds_.Expand(link.have_durable, std::move(grown.durable));
}

void Replica::NoteHaveNumber(Link& link, bool full, uint64_t number) {
  if (full) {
    link.haves_seen = std::max(link.haves_seen, number);
  } else if (number == link.haves_seen + 1) {
    link.haves_seen = number;
  }
}

void Replica::HandleHave(Link& link, const wire::Have& have) {
  // Unsigned: a clock may stand anywhere.
  link.clock_difference_ms =
      static_cast<int64_t>(static_cast<uint64_t>(have.wall_ms) - static_cast<uint64_t>(wall_ms_));
  NewHaves grown;
  for (const wire::HaveEntry& e : have.entries) {
    const clock::OriginIndex origin = InternForeign(e.origin);
    if (origin != clock::kNoOrigin) NoteHave(link, origin, e.applied, e.durable, grown);
  }
  ExpandHaves(link, std::move(grown));
  NoteHaveNumber(link, have.full, have.number);
}

void Replica::HandleHaveMore(Link& link, const wire::HaveMore& have) {
  NewHaves grown;
  for (const wire::HaveMoreEntry& e : have.entries) {
    if (!e.name.leader.empty()) link.names[e.origin] = InternForeign(e.name);
    auto known = link.names.find(e.origin);
    if (known == link.names.end()) {
      link.want_full = true;  // what named it is lost, or still on its way
    } else if (known->second != clock::kNoOrigin) {
      NoteHave(link, known->second, e.applied, e.durable, grown);
    }
  }
  ExpandHaves(link, std::move(grown));
  NoteHaveNumber(link, false, have.number);
}

}  // namespace polyarch::replication
