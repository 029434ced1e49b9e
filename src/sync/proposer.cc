#include "sync/proposer.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/planted.h"
#include "sync/electorate.h"

namespace polyarch::sync {

using wire::SyncAsk;
using wire::SyncKey;
using wire::SyncReply;
using wire::SyncRequest;
using wire::SyncSaid;
using wire::Tuple;

namespace {

constexpr int64_t kPauseTripsMax = 8;

bool IsOfBatch(const std::vector<Op>& batch, const clock::Ballot& name) {
  return std::any_of(batch.begin(), batch.end(), [&](const Op& op) { return op.name == name; });
}

}  // namespace

// ---- operations

void Proposer::Submit(SyncKey key, Op op) {
  Round& round = rounds_[key];
  round.waiting.push_back(std::move(op));
  if (round.phase == Phase::kIdle) Begin(key, round);
}

bool Proposer::Forget(const SyncKey& key, OpId op) {
  auto it = rounds_.find(key);
  if (it == rounds_.end()) return false;
  return std::erase_if(it->second.waiting, [&](const Op& o) { return o.id == op; }) != 0;
}

// The next batch: writes in a row together, everything else by itself.
void Proposer::Fill(Round& round) {
  while (!round.waiting.empty() && round.batch.size() < options_.batch_max) {
    auto together = [](const Op& op) {
      return op.kind == OpKind::kWrite && !op.alone;
    };
    if (!round.batch.empty() &&
        !(together(round.waiting.front()) && together(round.batch.back())))
      return;
    round.batch.push_back(std::move(round.waiting.front()));
    round.waiting.pop_front();
  }
}

void Proposer::Begin(const SyncKey& key, Round& round) {
  Fill(round);
  if (round.batch.empty()) return;
  round.refusals = 0;
  round.peeked = false;
  if (!FailUnreachable(key, round)) Attempt(key, round, true);
}

void Proposer::Tell(const Op& op, const Result& result) {
  if (result.verdict == Verdict::kNoQuorum) ++counters_.no_quorum;
  if (result.verdict == Verdict::kInDoubt) ++counters_.in_doubt;
  if (op.done != nullptr) {
    op.done(result);
  } else {
    host_.Done(op.id, result);
  }
}

void Proposer::Finish(const SyncKey& key, Round& round, Verdict verdict, const Tuple* tuple) {
  Result result{.verdict = verdict,
                .attempt = round.attempt,
                .name = round.name,
                .outcome = round.outcome,
                .tuple = tuple};
  std::vector<Op> batch = std::move(round.batch);
  by_number_.erase(round.number);
  std::deque<Op> waiting = std::move(round.waiting);
  round = Round{};
  round.waiting = std::move(waiting);
  // The callees may submit further operations, on this key too: it is begun when they are done.
  round.phase = Phase::kPause;
  round.until_us = now_us_;
  for (const Op& op : batch) {
    Result told = result;
    if (op.kind == OpKind::kWrite) {
      told.name = op.name;
      // Whatever became of the tries: in none of them did it change anything.
      if (verdict == Verdict::kInDoubt && op.name.none()) told.verdict = Verdict::kNoQuorum;
    }
    Tell(op, told);
  }
  Round& again = rounds_.at(key);
  again.phase = Phase::kIdle;
  if (again.waiting.empty()) {
    ended_.emplace_back(key, 0);
  } else {
    Begin(key, again);
  }
}

bool Proposer::QuorumInReach(bool back) const {
  std::set<wire::Seat> there;
  for (const wire::Seat& seat : AllSeats(*electorate_)) {
    if (host_.SeatIsGone(seat)) continue;
    if (seat.leader == self_.leader || host_.InReach(seat.leader)) there.insert(seat);
  }
  return IsQuorum(*electorate_, there, back);
}

// At once, and all who wait, instead of letting them wait for nothing.
bool Proposer::FailUnreachable(const SyncKey& key, Round& round) {
  if (round.offered || QuorumInReach(round.batch.front().back)) return false;
  if (key.db != wire::kElectorateDb) {
    for (Op& op : round.waiting)
      round.batch.push_back(std::move(op));
    round.waiting.clear();
  }
  Finish(key, round, Verdict::kNoQuorum, nullptr);
  return true;
}

// ---- a round

void Proposer::Attempt(const SyncKey& key, Round& round, bool first) {
  if (key.db != wire::kElectorateDb && !host_.InForce(key, *electorate_)) {
    return Finish(key, round, round.offered ? Verdict::kInDoubt : Verdict::kNoQuorum, nullptr);
  }
  if (key.db != wire::kElectorateDb && !host_.HasRulesOf(*electorate_)) {
    round.phase = Phase::kPause;
    round.until_us = now_us_ + options_.resend_us_least;
    return;
  }
  round.electorate = electorate_;
  round.answers.clear();
  round.fast = false;
  round.read_only = false;
  if (!round.offered) Fill(round);
  const Op& op = round.batch.front();
  if (op.kind == OpKind::kRead && !round.peeked) return Peek(key, round);
  std::optional<Cached> cache;
  if (auto cached = cache_.find(key); cached != cache_.end()) {
    cache = std::move(cached->second);
    cache_.erase(cached);
  }
  // A base whose time is past by this clock alone needs the others' word.
  const bool usable = first && cache && cache->epoch == electorate_->epoch &&
                      op.kind != OpKind::kCollect && op.kind != OpKind::kOutcome &&
                      op.kind != OpKind::kChange && cache->tuple.expires_ms > wall_ms_;
  if (!usable) return Prepare(key, round);
  round.fast = true;
  round.ballot = cache->next;
  Heard(round.ballot);
  round.base = std::move(cache->tuple);
  round.base_now_ms = wall_ms_;
  TryPropose(key, round);
}

SyncRequest Proposer::Request(SyncAsk ask, uint64_t round) const {
  SyncRequest request;
  request.ask = ask;
  request.proposer = self_;
  request.round = round;
  request.electorate = *electorate_;
  request.known = host_.KnownVotes(*electorate_);
  return request;
}

// Sends the phase's request to all who have not answered it.
void Proposer::Cast(Round& round, bool all) {
  round.request.known = host_.KnownVotes(*round.electorate);
  for (const wire::Seat& seat : AllSeats(*round.electorate)) {
    if (!all && round.answers.count(seat) != 0) continue;
    round.request.seat = seat.id;
    host_.Send(seat.leader, wire::Encode(round.request));
  }
}

void Proposer::Peek(const SyncKey& key, Round& round) {
  round.phase = Phase::kPeek;
  round.peeked = true;
  by_number_.erase(round.number);
  round.number = NextNumber();
  by_number_[round.number] = key;
  round.request = Request(SyncAsk::kPeek, round.number);
  round.request.electorate = *round.electorate;
  round.request.key = key;
  round.sent_us = now_us_;
  round.resend_us = now_us_ + std::max(options_.resend_us_least, 4 * trip_us_);
  Cast(round, true);
}

void Proposer::Prepare(const SyncKey& key, Round& round) {
  round.phase = Phase::kPrepare;
  round.answers.clear();  // what was answered to a peek promises nothing
  by_number_.erase(round.number);
  round.number = NextNumber();
  by_number_[round.number] = key;
  round.ballot = Draw();
  round.request = Request(SyncAsk::kPrepare, round.number);
  round.request.electorate = *round.electorate;
  round.request.key = key;
  round.request.ballot = round.ballot;
  round.sent_us = now_us_;
  round.resend_us = now_us_ + std::max(options_.resend_us_least, 4 * trip_us_);
  Cast(round, true);
}

bool Proposer::Reached(const Round& round) const {
  std::set<wire::Seat> who;
  for (const auto& [seat, reply] : round.answers)
    who.insert(seat);
  const Op& op = round.batch.front();
  return op.kind == OpKind::kCollect && !PLANTED(kSyncCollectMajority)
             ? IsAll(*round.electorate, who)
             : IsQuorum(*round.electorate, who, op.back);
}

int64_t Proposer::LowerMedianClock(const Round& round) const {
  std::vector<int64_t> clocks;
  for (const auto& [seat, reply] : round.answers)
    clocks.push_back(reply.clock_ms);
  std::sort(clocks.begin(), clocks.end());
  return clocks[(clocks.size() - 1) / 2];
}

bool Proposer::WaitsForClocks(const Round& round) const {
  if (round.phase == Phase::kAccept || round.answers.size() >= AllSeats(*round.electorate).size())
    return false;
  if (now_us_ >= round.sent_us + std::max(options_.resend_us_least, 8 * trip_us_)) return false;
  const SyncReply* newest = nullptr;
  int64_t first = INT64_MAX;
  int64_t last = INT64_MIN;
  for (const auto& [seat, reply] : round.answers) {
    if (newest == nullptr || reply.accepted > newest->accepted) newest = &reply;
    first = std::min(first, reply.clock_ms);
    last = std::max(last, reply.clock_ms);
  }
  return first <= newest->tuple.expires_ms && newest->tuple.expires_ms < last;
}

void Proposer::Handle(const SyncReply& reply) {
  if (reply.proposer.incarnation != self_.incarnation) return;
  if (auto asked = asked_.find(reply.round); asked != asked_.end()) {
    Took took = asked->second;  // it may stop the asking
    took(reply);
    return;
  }
  auto known = by_number_.find(reply.round);
  if (known == by_number_.end()) return;
  const SyncKey key = known->second;
  Round& round = rounds_.at(key);
  if (!HasSeat(*round.electorate, reply.seat)) return;
  if (reply.said == SyncSaid::kRefused) {
    // Of a request that came twice, or late: it has been answered already.
    if (round.answers.count(reply.seat) == 0) Refused(round, reply);
    return;
  }
  const SyncSaid wanted = round.phase == Phase::kAccept ? SyncSaid::kAccepted : SyncSaid::kRow;
  if (reply.said != wanted || round.phase == Phase::kDeps || round.phase == Phase::kPause) return;
  Heard(reply.accepted);
  Heard(reply.floor);
  Heard(reply.tuple.version);
  round.answers[reply.seat] = reply;
  if (!Reached(round) || WaitsForClocks(round)) return;
  trip_us_ = std::clamp<int64_t>((7 * trip_us_ + (now_us_ - round.sent_us)) / 8, 200, 500'000);
  if (round.phase == Phase::kAccept) {
    Accepted(key, round);
  } else {
    TakeBase(key, round);
  }
}

// A quorum has told what it holds.
void Proposer::TakeBase(const SyncKey& key, Round& round) {
  round.base = Tuple{};
  round.floor = {};
  clock::Ballot best;
  bool same = true;
  for (const auto& [seat, reply] : round.answers) {
    round.floor = std::max(round.floor, reply.floor);
    same = same && reply.accepted == round.answers.begin()->second.accepted;
    if (reply.accepted <= best) continue;
    best = reply.accepted;
    round.base = reply.tuple;
  }
  // Whose row was collected had written; up to there nothing is known of any write.
  if (round.base.none()) round.base.since = round.floor;
  if (round.phase == Phase::kPeek) {
    // A quorum that has accepted one ballot has chosen it; one without any row shows that nothing
    // is chosen.
    if (!same && !PLANTED(kSyncReadAny)) return Prepare(key, round);
    if (!round.base.none() && host_.Released(key, round.base.version)) return Prepare(key, round);
    ++counters_.quick_reads;
    round.read_only = true;
    by_number_.erase(round.number);
    round.number = 0;
  }
  round.base_now_ms = LowerMedianClock(round);
  TryPropose(key, round);
}

void Proposer::TryPropose(const SyncKey& key, Round& round) {
  // What the value depends on must be here before it is built upon, or shown.
  if (!host_.Covers(round.base.deps) && !PLANTED(kSyncIgnoreDeps)) {
    round.phase = Phase::kDeps;
    return;
  }
  if (round.read_only) {
    if (!round.base.none()) Chosen(key, round, round.base);
    const Tuple tuple = std::move(round.base);
    Finish(key, round, Verdict::kDone, tuple.none() ? nullptr : &tuple);
    return;
  }
  if (!Compose(key, round)) {
    Finish(key, round, Verdict::kInDoubt, nullptr);
    return;
  }
  SendAccept(key, round);
}

// ---- what is proposed

bool Proposer::IsFresh(const SyncKey& key, const Round& round) const {
  return round.base.none() || host_.Released(key, round.base.version);
}

// Nothing has been decided on this key, or its absence was and has been forgotten, or an ordinary
// write has come since.
Tuple Proposer::FirstTuple(const SyncKey& key, Round& round) {
  Tuple tuple;
  tuple.version = round.ballot;
  tuple.chain = round.base.chain;
  tuple.since = round.base.since;
  if (key.db == wire::kElectorateDb) return tuple;
  RunResult first = host_.FirstBase(key);
  tuple.deps = host_.Applied();
  tuple.hlc = first.hlc;
  tuple.absent = first.absent;
  tuple.expires_ms = first.expires_ms;
  tuple.value = std::move(first.value);
  return tuple;
}

// The name of a write goes to the end of the chain.
void Proposer::Append(const Round& round, const clock::Ballot& name, Tuple& tuple) {
  tuple.chain.push_back({name, round.ballot});
  const size_t keep =
      std::min(wire::kChainMax, PLANTED(kSyncShortChain) ? size_t{1} : wire::kChainMax);
  while (tuple.chain.size() > keep) {
    if (!PLANTED(kSyncShortChain)) tuple.since = std::max(tuple.since, tuple.chain.front().name);
    tuple.chain.erase(tuple.chain.begin());
  }
}

bool Proposer::ComposeWrite(const SyncKey& key, Round& round) {
  const Tuple& base = round.base;
  // Has an earlier try of this batch become the value after all?
  auto hit = std::find_if(base.chain.begin(), base.chain.end(), [&](const wire::Named& write) {
    return round.offered && (PLANTED(kSyncNameByBallot) ? round.attempts.count(write.name) != 0
                                                        : IsOfBatch(round.batch, write.name));
  });
  if (hit != base.chain.end() && !PLANTED(kSyncReapply)) {
    round.attempt = PLANTED(kSyncLastResult) ? *round.attempts.rbegin() : hit->version;
    round.proposal = base;
    return true;
  }
  // It may have, and have been cut off the chain since.
  if (round.offered && round.least <= base.since && !PLANTED(kSyncReapply)) return false;
  std::vector<OpId> ops;
  for (const Op& op : round.batch)
    ops.push_back(op.id);
  const bool fresh = IsFresh(key, round);
  const Tuple first = fresh ? FirstTuple(key, round) : Tuple{};
  const Tuple& from = fresh ? first : base;
  round.attempt = round.ballot;
  RunResult result = host_.Run(key, ops, from, round.base_now_ms, round.attempt);
  round.proposal = from;
  if (result.changed_by.empty()) return true;
  Tuple& tuple = round.proposal;
  // Each write has a name of its own: of two SET NX in one batch one takes effect, and whoever is in doubt about his asks
  // for his.
  clock::Ballot last;
  for (Op& op : round.batch) {
    const auto& by = result.changed_by;
    if (std::find(by.begin(), by.end(), op.id) == by.end() && !PLANTED(kSyncBatchName)) continue;
    if (op.name.none()) op.name = PLANTED(kSyncBatchName) && !last.none() ? last : Draw();
    if (PLANTED(kSyncNameByBallot)) op.name = round.ballot;
    if (op.name != last) Append(round, op.name, tuple);
    last = std::max(last, op.name);
  }
  round.least = round.offered ? std::min(round.least, last) : last;
  tuple.version = round.ballot;
  tuple.deps = host_.Applied();  // which covers the base's
  tuple.hlc = result.hlc;
  tuple.absent = result.absent;
  tuple.expires_ms = result.expires_ms;
  tuple.value = std::move(result.value);
  round.attempts.insert(round.ballot);
  round.offered = true;
  return true;
}

bool Proposer::ComposeChange(Round& round) {
  const Op& op = round.batch.front();
  const Tuple& base = round.base;
  auto hit = std::find_if(base.chain.begin(), base.chain.end(), [&](const wire::Named& write) {
    return round.offered && write.name == round.name;
  });
  if (hit != base.chain.end()) {
    round.proposal = base;
    return true;
  }
  if (round.offered && round.name <= base.since) return false;
  wire::Electorate present = *electorate_;
  if (!base.none()) {
    base::Reader in(base.value);
    present = wire::ReadElectorate(in);
    if (!in.ok()) return false;
    // It was imposed, not decided (Agreement::ForceElectors): what its electors hold is an earlier
    // one.
    if (present.epoch < electorate_->epoch) present = *electorate_;
  }
  round.proposal = base;
  std::optional<wire::Electorate> decided;
  if (op.kind == OpKind::kChange) decided = op.change(present);
  if (!decided) {
    if (base.none()) {
      // The first electorate was never decided: it was founded. Now it is.
      wire::PutElectorate(round.proposal.value, present);
      round.proposal.absent = false;
      round.proposal.version = round.ballot;
      round.proposal.since = round.floor;
    }
    return true;
  }
  if (round.name.none()) round.name = Draw();
  Append(round, round.name, round.proposal);
  round.proposal.version = round.ballot;
  round.proposal.absent = false;
  if (base.none()) round.proposal.since = std::max(round.proposal.since, round.floor);
  round.proposal.value.clear();
  wire::PutElectorate(round.proposal.value, *decided);
  round.offered = true;
  return true;
}

// False: nothing may be proposed, and what was is in doubt.
bool Proposer::Compose(const SyncKey& key, Round& round) {
  const Op& op = round.batch.front();
  if (key.db == wire::kElectorateDb) return ComposeChange(round);
  if (op.kind == OpKind::kWrite) return ComposeWrite(key, round);
  round.proposal = IsFresh(key, round) ? FirstTuple(key, round) : round.base;
  if (op.kind == OpKind::kOutcome) {
    const Tuple& tuple = round.proposal;
    const bool there = std::any_of(tuple.chain.begin(),
                                   tuple.chain.end(),
                                   [&](const wire::Named& write) { return write.name == op.name; });
    round.outcome = there                   ? WriteOutcome::kApplied
                    : op.name > tuple.since ? WriteOutcome::kNever
                                            : WriteOutcome::kTooOld;
  }
  return true;
}

void Proposer::SendAccept(const SyncKey& key, Round& round) {
  round.phase = Phase::kAccept;
  by_number_.erase(round.number);
  round.number = NextNumber();
  by_number_[round.number] = key;
  round.answers.clear();
  const OpKind kind = round.batch.front().kind;
  round.next = {};
  if (key.db != wire::kElectorateDb && kind != OpKind::kCollect && kind != OpKind::kSettle) {
    round.next = PLANTED(kSyncNextReused) ? clock::Ballot{round.ballot.counter + 1, self_} : Draw();
  }
  round.request = Request(SyncAsk::kAccept, round.number);
  round.request.electorate = *round.electorate;
  round.request.key = key;
  round.request.ballot = round.ballot;
  round.request.next = PLANTED(kSyncNoPromise) ? clock::Ballot{} : round.next;
  round.request.tuple = round.proposal;
  round.sent_us = now_us_;
  round.resend_us = now_us_ + std::max(options_.resend_us_least, 4 * trip_us_);
  Cast(round, true);
}

void Proposer::Chosen(const SyncKey& key, const Round& round, const Tuple& tuple) {
  if (host_.Shown(key) >= tuple.version) return;
  // Those of the quorum, and what has been heard of the others.
  host_.Chosen(key, tuple, host_.KnownVotes(*round.electorate));
}

void Proposer::Accepted(const SyncKey& key, Round& round) {
  ++counters_.rounds;
  if (round.fast) ++counters_.fast;
  const OpKind kind = round.batch.front().kind;
  const Tuple tuple = round.proposal;
  if (!round.next.none()) {
    if (PLANTED(kSyncNextReused)) counter_ = std::max(counter_, round.next.counter);
    if (cache_.size() >= options_.cache_max) cache_.erase(cache_.begin());
    cache_[key] = {tuple, round.next, round.electorate->epoch};
  }
  if (key.db == wire::kElectorateDb) {
    base::Reader in(tuple.value);
    Learn(wire::ReadElectorate(in));
  } else {
    Chosen(key, round, tuple);
  }
  if (kind == OpKind::kCollect && tuple.absent) {
    SyncRequest drop = Request(SyncAsk::kDrop, NextNumber());
    drop.electorate = *round.electorate;
    drop.key = key;
    drop.ballot = round.ballot;
    for (const wire::Seat& seat : AllSeats(*round.electorate)) {
      drop.seat = seat.id;
      host_.Send(seat.leader, wire::Encode(drop));
    }
  }
  Finish(key, round, kind == OpKind::kOutcome ? Verdict::kOutcome : Verdict::kDone, &tuple);
}

void Proposer::Refused(Round& round, const SyncReply& reply) {
  ++counters_.refused;
  Heard(reply.promised);
  by_number_.erase(round.number);
  round.number = 0;
  round.phase = Phase::kPause;
  round.read_only = false;
  // At random, so that two who are after one key do not refuse each other for ever.
  const int64_t trips = kPauseTripsMax << std::min(round.refusals++, 10);
  const int64_t most = std::min(trips * trip_us_, options_.pause_us_max);
  round.until_us =
      now_us_ + trip_us_ / 2 + static_cast<int64_t>(random_.Below(static_cast<uint64_t>(most)));
  if (reply.electorate.epoch > electorate_->epoch) {
    round.until_us = now_us_;
    Learn(reply.electorate);
  }
}

// ---- time

void Proposer::Learn(const wire::Electorate& electorate) {
  if (electorate.epoch <= electorate_->epoch) return;
  electorate_ = std::make_shared<const wire::Electorate>(electorate);
  cache_.clear();
  host_.ElectorateKnown(electorate);
}

void Proposer::OnDecided(const SyncKey& key, const clock::Ballot& version) {
  auto cached = cache_.find(key);
  if (cached != cache_.end() && cached->second.tuple.version < version) cache_.erase(cached);
}

// Gives up what is out of time. True if the batch is gone.
bool Proposer::Expire(const SyncKey& key, Round& round) {
  auto late = [this](const Op& op) {
    return op.deadline_us <= now_us_;
  };
  if (round.offered && std::any_of(round.batch.begin(), round.batch.end(), late)) {
    if (PLANTED(kSyncRetryAfterTimeout)) {
      for (Op& op : round.batch) {
        Tell(op, Result{.verdict = Verdict::kInDoubt, .name = op.name});
        op.done = [](const Result&) {
        };
        op.deadline_us = now_us_ + 10'000'000;
      }
      return true;
    }
    // All of it: the batch is one write.
    Finish(
        key, round, PLANTED(kSyncNoQuorumLies) ? Verdict::kNoQuorum : Verdict::kInDoubt, nullptr);
    return true;
  }
  std::vector<Op> gone;
  auto take = [&](auto& ops) {
    for (auto it = ops.begin(); it != ops.end();) {
      if (!late(*it)) {
        ++it;
        continue;
      }
      gone.push_back(std::move(*it));
      it = ops.erase(it);
    }
  };
  take(round.waiting);
  // An accept under way that writes nothing new is for those who are left.
  if (!round.offered) take(round.batch);
  const bool empty = round.batch.empty();
  if (empty) {
    by_number_.erase(round.number);
    round.number = 0;
    round.phase = Phase::kIdle;
  }
  for (const Op& op : gone)
    Tell(op, Result{.verdict = Verdict::kNoQuorum});
  if (!empty) return false;
  Round& again = rounds_.at(key);
  if (again.phase == Phase::kIdle && again.batch.empty()) {
    if (again.waiting.empty()) {
      ended_.emplace_back(key, 0);
    } else {
      Begin(key, again);
    }
  }
  return true;
}

void Proposer::TickRound(const SyncKey& key, Round& round) {
  if (round.phase == Phase::kIdle || Expire(key, round)) return;
  switch (round.phase) {
    case Phase::kIdle:
      break;
    case Phase::kPause:
      if (round.until_us <= now_us_) Attempt(key, round, false);
      break;
    case Phase::kDeps:
      if (host_.Covers(round.base.deps)) TryPropose(key, round);
      break;
    case Phase::kPeek:
    case Phase::kPrepare:
    case Phase::kAccept:
      if (round.phase != Phase::kAccept && Reached(round) && !WaitsForClocks(round)) {
        TakeBase(key, round);
        break;
      }
      if (FailUnreachable(key, round)) break;
      if (round.resend_us <= now_us_) {
        round.resend_us =
            now_us_ + 2 * std::max(options_.resend_us_least, round.resend_us - round.sent_us);
        Cast(round, false);
      }
      break;
  }
}

void Proposer::Tick() {
  // What a round's end calls may end others, or begin them: names, not places.
  std::vector<SyncKey> keys;
  keys.reserve(rounds_.size());
  for (const auto& [key, round] : rounds_)
    keys.push_back(key);
  for (const SyncKey& key : keys) {
    auto it = rounds_.find(key);
    if (it != rounds_.end()) TickRound(key, it->second);
  }
  for (const auto& [key, unused] : ended_) {
    auto it = rounds_.find(key);
    if (it != rounds_.end() && it->second.phase == Phase::kIdle && it->second.batch.empty() &&
        it->second.waiting.empty())
      rounds_.erase(it);
  }
  ended_.clear();
}

uint64_t Proposer::Ask(Took took) {
  const uint64_t round = NextNumber();
  asked_[round] = std::move(took);
  return round;
}

}  // namespace polyarch::sync
