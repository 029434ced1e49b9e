// Changing who votes.
#include <algorithm>
#include <utility>

#include "base/planted.h"
#include "sync/agreement.h"
#include "sync/electorate.h"

namespace polyarch::sync {

void Agreement::EndChange() {
  if (change_.asked != 0) proposer_.StopAsking(change_.asked);
  change_ = Change{};
}

void Agreement::SubmitChange(
    std::function<std::optional<wire::Electorate>(const wire::Electorate&)> change,
    bool back,
    std::function<void(const Result&)> done) {
  Op op{.kind = OpKind::kChange, .deadline_us = now_us_ + options_.decide_us};
  op.change = std::move(change);
  op.back = back;
  op.done = [this, done = std::move(done)](const Result& result) {
    if (result.verdict == Verdict::kDone) decided_epoch_ = electorate().epoch;
    done(result);
  };
  proposer_.Submit({wire::kElectorateDb, ""}, std::move(op));
}

bool Agreement::HasDecidedElectorate() const {
  const uint64_t epoch = electorate().epoch;
  if (decided_epoch_ == epoch) return true;
  const VoteRow* row = elector_.Find({wire::kElectorateDb, ""});
  if (row == nullptr || row->accepted.none()) return false;
  base::Reader in(row->tuple.value);
  return wire::ReadElectorate(in).epoch == epoch && in.ok();
}

void Agreement::ChangeRules(std::string rules) {
  if (!electorate().next.empty() || electorate().epoch == 0) return;
  const uint64_t epoch = electorate().epoch;
  SubmitChange(
      [epoch, rules = std::move(rules)](
          const wire::Electorate& present) -> std::optional<wire::Electorate> {
        if (present.epoch != epoch || !present.next.empty()) return std::nullopt;
        wire::Electorate next = present;
        ++next.epoch;
        next.rules = rules;
        return next;
      },
      false,
      [](const Result&) {});
  Drain();
}

void Agreement::ChangeElectors(std::vector<std::string> leaders) {
  if (changing() || electorate().epoch == 0) return;
  change_.number = ++changes_;
  change_.want = std::move(leaders);
  change_.at = electorate();
  if (!change_.at.next.empty()) {
    ListRows();
  } else {
    AskSeats();
  }
  Drain();
}

void Agreement::ForceElectors(std::vector<std::string> leaders) {
  EndChange();
  change_.number = ++changes_;
  change_.force = true;
  change_.want = std::move(leaders);
  change_.at = electorate();
  AskSeats();
  Drain();
}

void Agreement::Impose() {
  wire::Electorate imposed;
  // So far on that neither a decision of the old electors nor another imposition has this epoch.
  imposed.epoch = change_.at.epoch + 1000 + random_.Below(1'000'000);
  for (const std::string& leader : change_.want) {
    auto told = change_.seats.find(leader);
    if (told == change_.seats.end()) return EndChange();
    imposed.now.push_back({leader, told->second});
  }
  std::sort(imposed.now.begin(), imposed.now.end());
  imposed.rules = change_.at.rules;
  // What is not known any more was decided below it.
  imposed.floor = proposer_.DrawFloor();
  EndChange();
  proposer_.Learn(imposed);
}

// ---- {e+1: now, next}

void Agreement::AskSeats() {
  change_.step = Change::Step::kSeats;
  change_.until_us = now_us_ + options_.seats_us;
  change_.resend_us = now_us_;
  change_.asked = proposer_.Ask([this](const wire::SyncReply& reply) { TookSeat(reply); });
}

void Agreement::TookSeat(const wire::SyncReply& reply) {
  if (change_.step != Change::Step::kSeats) return;
  if (reply.said == wire::SyncSaid::kRefused && reply.electorate.epoch > change_.at.epoch) {
    const wire::Electorate newer = reply.electorate;
    EndChange();
    proposer_.Learn(newer);
    return;
  }
  if (reply.said == wire::SyncSaid::kSeat) change_.seats[reply.seat.leader] = reply.seat.id;
}

void Agreement::DecideNext() {
  if (change_.force) return Impose();
  std::vector<wire::Seat> next;
  for (const std::string& leader : change_.want) {
    auto told = change_.seats.find(leader);
    auto seated = std::find_if(change_.at.now.begin(),
                               change_.at.now.end(),
                               [&](const wire::Seat& seat) { return seat.leader == leader; });
    if (told != change_.seats.end()) {
      next.push_back({leader, told->second});
    } else if (seated != change_.at.now.end()) {
      next.push_back(*seated);
    }
  }
  std::sort(next.begin(), next.end());
  next.erase(std::unique(next.begin(), next.end()), next.end());
  std::vector<wire::Seat> now = change_.at.now;
  std::sort(now.begin(), now.end());
  if (next.empty() || next == now || next.size() > wire::kElectorsMax / 2) return EndChange();
  proposer_.StopAsking(std::exchange(change_.asked, 0));
  change_.step = Change::Step::kDeciding;
  const uint64_t epoch = change_.at.epoch;
  SubmitChange(
      [epoch, next](const wire::Electorate& present) -> std::optional<wire::Electorate> {
        if (present.epoch != epoch || !present.next.empty()) return std::nullopt;
        wire::Electorate joint = present;
        ++joint.epoch;
        joint.next = next;
        return joint;
      },
      false,
      [this, number = change_.number](const Result& result) {
        if (change_.number != number) return;
        if (result.verdict != Verdict::kDone || electorate().next.empty()) return EndChange();
        change_.at = electorate();
        ListRows();
      });
}

// ---- which registers there are

void Agreement::ListRows() {
  change_.step = Change::Step::kListing;
  change_.until_us = now_us_ + options_.list_us;
  change_.resend_us = now_us_;
  change_.asked = proposer_.Ask([this](const wire::SyncReply& reply) { TookKeys(reply); });
  for (const wire::Seat& seat : AllSeats(change_.at))
    change_.pages[seat] = {};
}

void Agreement::AskPages() {
  wire::SyncRequest request = proposer_.Request(wire::SyncAsk::kList, change_.asked);
  request.electorate = change_.at;
  for (const auto& [seat, from] : change_.pages) {
    if (change_.listed.count(seat) != 0) continue;
    request.seat = seat.id;
    request.key = from;
    Send(seat.leader, wire::Encode(request));
  }
}

void Agreement::TookKeys(const wire::SyncReply& reply) {
  if (change_.step != Change::Step::kListing) return;
  if (reply.said == wire::SyncSaid::kRefused) {
    const wire::Electorate newer = reply.electorate;
    EndChange();
    proposer_.Learn(newer);
    return;
  }
  auto page = change_.pages.find(reply.seat);
  if (reply.said != wire::SyncSaid::kKeys || page == change_.pages.end() ||
      change_.listed.count(reply.seat) != 0)
    return;
  // An answer that came twice is an earlier page.
  if (!reply.keys.empty() && reply.keys.front() < page->second) return;
  change_.keys.insert(reply.keys.begin(), reply.keys.end());
  change_.floor = std::max(change_.floor, reply.floor);
  if (reply.more && !reply.keys.empty()) {
    page->second = reply.keys.back();
    page->second.key.push_back('\0');
    change_.resend_us = now_us_;
    return;
  }
  change_.listed.insert(reply.seat);
  if (!IsQuorum(change_.at, change_.listed)) return;
  proposer_.StopAsking(std::exchange(change_.asked, 0));
  change_.step = Change::Step::kSweeping;
  if (PLANTED(kSyncNoSweep)) change_.keys.clear();
  Sweep();
}

// ---- a round on each: what a majority of `now` has chosen, one of `next` holds, too

void Agreement::Sweep() {
  if (electorate().epoch != change_.at.epoch) return EndChange();
  while (!change_.keys.empty() && change_.in_flight < options_.sweep_window) {
    const wire::SyncKey key = *change_.keys.begin();
    change_.keys.erase(change_.keys.begin());
    // What nobody agrees on any more begins anew when they do again.
    if (!host_.InForce(key, change_.at)) continue;
    ++change_.in_flight;
    Op op{.kind = OpKind::kSettle, .deadline_us = now_us_ + options_.list_us};
    op.done = [this, number = change_.number](const Result& result) {
      if (change_.number != number || change_.step != Change::Step::kSweeping) return;
      --change_.in_flight;
      if (result.verdict != Verdict::kDone) EndChange();
    };
    proposer_.Submit(key, std::move(op));
    if (change_.step != Change::Step::kSweeping) return;
  }
  if (change_.keys.empty() && change_.in_flight == 0) SettleChange();
}

// ---- {e+2: next}

void Agreement::SettleChange() {
  change_.step = Change::Step::kSettling;
  SubmitChange(
      [epoch = change_.at.epoch,
       floor = change_.floor](const wire::Electorate& present) -> std::optional<wire::Electorate> {
        if (present.epoch != epoch || present.next.empty()) return std::nullopt;
        wire::Electorate settled = present;
        ++settled.epoch;
        settled.now = std::move(settled.next);
        settled.next.clear();
        settled.floor = std::max(present.floor, floor);
        return settled;
      },
      false,
      [this, number = change_.number](const Result&) {
        if (change_.number == number) EndChange();
      });
}

// `next` does not answer: a majority of `now` alone may stay as it was. Never one of `next`: who
// was told of the change by nobody would still decide by a majority of `now`.
void Agreement::GiveBack() {
  change_.step = Change::Step::kSettling;
  SubmitChange(
      [epoch =
           change_.at.epoch](const wire::Electorate& present) -> std::optional<wire::Electorate> {
        if (present.epoch != epoch || present.next.empty()) return std::nullopt;
        wire::Electorate settled = present;
        ++settled.epoch;
        if (PLANTED(kSyncBackByNext)) settled.now = settled.next;
        settled.next.clear();
        return settled;
      },
      true,
      [this, number = change_.number](const Result&) {
        if (change_.number == number) EndChange();
      });
}

void Agreement::TickChange() {
  if (!changing()) return;
  if (electorate().epoch != change_.at.epoch && change_.step != Change::Step::kDeciding &&
      change_.step != Change::Step::kSettling) {
    return EndChange();  // somebody else has gone on with it
  }
  switch (change_.step) {
    case Change::Step::kSeats: {
      const bool all =
          std::all_of(change_.want.begin(), change_.want.end(), [&](const std::string& leader) {
            return change_.seats.count(leader) != 0;
          });
      if (all || change_.until_us <= now_us_) return DecideNext();
      if (change_.resend_us > now_us_) return;
      change_.resend_us = now_us_ + options_.again_us;
      wire::SyncRequest request = proposer_.Request(wire::SyncAsk::kSeat, change_.asked);
      request.electorate = change_.at;
      for (const std::string& leader : change_.want) {
        if (change_.seats.count(leader) == 0) Send(leader, wire::Encode(request));
      }
      break;
    }
    case Change::Step::kListing:
      if (change_.until_us <= now_us_) {
        proposer_.StopAsking(std::exchange(change_.asked, 0));
        if (!IsMajority(change_.at.next, change_.listed) || random_.Percent(50)) return GiveBack();
        return EndChange();
      }
      if (change_.resend_us > now_us_) return;
      change_.resend_us = now_us_ + options_.again_us;
      AskPages();
      break;
    case Change::Step::kSweeping:
      Sweep();
      break;
    case Change::Step::kIdle:
    case Change::Step::kDeciding:
    case Change::Step::kSettling:
      break;
  }
}

}  // namespace polyarch::sync
