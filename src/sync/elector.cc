#include "sync/elector.h"

#include <algorithm>

#include "base/planted.h"
#include "sync/electorate.h"

namespace polyarch::sync {

using wire::SyncAsk;
using wire::SyncReply;
using wire::SyncRequest;
using wire::SyncSaid;

// ---- recovery

bool Elector::LoadMeta(std::string_view bytes) {
  VoteMeta meta;
  if (!Decode(bytes, meta)) return false;
  seat_ = meta.seat;
  number_ = meta.number;
  floor_ = meta.floor;
  electorate_ = std::move(meta.electorate);
  return true;
}

bool Elector::LoadRow(std::string_view row_key, std::string_view bytes) {
  wire::SyncKey key;
  VoteRow row;
  if (!ParseVoteRowKey(row_key, key) || !Decode(bytes, row)) return false;
  rows_[std::move(key)] = std::move(row);
  return true;
}

bool Elector::Replay(std::string_view record) {
  Vote vote;
  if (!Decode(record, vote)) return false;
  Apply(vote);
  return true;
}

void Elector::Start() {
  if (PLANTED(kSyncVolatilePromise)) {
    for (auto& [key, row] : rows_)
      row.promised = row.accepted;
  }
  for (const auto& [key, row] : rows_) {
    if (!row.accepted.none() && !Decided(key, row.tuple)) undecided_.try_emplace(key, 0);
  }
}

void Elector::TakeSeat() {
  if (seat_ == 0) NewSeat();
}

void Elector::Rename(const std::string& leader) {
  leader_ = leader;
  if (seat_ != 0) NewSeat();
}

bool Elector::GiveUpShared() {
  const wire::Seat own{leader_, seat_};
  std::set<wire::Seat> others = AllSeats(electorate_);
  if (others.erase(own) == 0 || !IsQuorum(electorate_, others)) return false;
  NewSeat();
  return true;
}

// ---- votes

const VoteRow* Elector::Find(const wire::SyncKey& key) const {
  auto it = rows_.find(key);
  return it == rows_.end() ? nullptr : &it->second;
}

void Elector::Record(Vote vote) {
  vote.number = number_ + 1;
  recorded_ = host_.Append(Encode(vote));
  Apply(vote);
}

void Elector::Apply(const Vote& vote) {
  number_ = std::max(number_, vote.number);
  meta_dirty_ = true;
  switch (vote.kind) {
    case VoteRecord::kPromise:
      rows_[vote.key].promised = vote.row.promised;
      dirty_.insert(vote.key);
      break;
    case VoteRecord::kAccept:
      rows_[vote.key] = vote.row;
      dirty_.insert(vote.key);
      break;
    case VoteRecord::kDrop:
      rows_.erase(vote.key);
      undecided_.erase(vote.key);
      floor_ = std::max(floor_, vote.floor);
      dirty_.insert(vote.key);
      break;
    case VoteRecord::kSeat:
      seat_ = vote.seat;
      rows_.clear();
      undecided_.clear();
      floor_ = {};
      dirty_.clear();
      all_gone_ = true;
      break;
    case VoteRecord::kElectorate:
      electorate_ = vote.electorate;
      floor_ = std::max(floor_, vote.floor);
      break;
  }
}

void Elector::NewSeat() {
  uint64_t seat = 0;
  while (seat == 0)
    seat = random_.Next() ^ host_.Entropy();
  Record({.kind = VoteRecord::kSeat, .seat = seat});
  proven_ = true;
  seat_told_ = false;
  told_epoch_ = 0;
  waiting_.clear();
  held_.clear();
}

// ---- the numbers of votes

void Elector::Heard(const wire::VoteNumbers& numbers) {
  for (const wire::VoteNumber& n : numbers) {
    auto [it, fresh] = heard_.try_emplace(n.seat, n.number);
    if (!fresh) it->second = std::max(it->second, n.number);
  }
  if (heard_.size() <= kHeardMax) return;
  std::erase_if(heard_, [this](const auto& entry) {
    const std::set<wire::Seat> seats = AllSeats(electorate_);
    return entry.first != seat_ && std::none_of(seats.begin(), seats.end(), [&](const auto& seat) {
             return seat.id == entry.first;
           });
  });
}

wire::VoteNumbers Elector::KnownVotes(const wire::Electorate& electorate) const {
  wire::VoteNumbers numbers;
  for (const wire::Seat& seat : AllSeats(electorate)) {
    if (auto it = heard_.find(seat.id); it != heard_.end())
      numbers.push_back({it->first, it->second});
  }
  return numbers;
}

void Elector::SetProven() {
  if (!GiveUpIfLost()) proven_ = true;
}

// True: the seat is a new one.
bool Elector::GiveUpIfLost() {
  auto it = heard_.find(seat_);
  if (it == heard_.end() || it->second <= number_) return false;
  // It is the second line of defence behind the other two.
  if (PLANTED(kSyncVotesUnchecked) || PLANTED(kSyncKeepVotes) || PLANTED(kSyncAnswerEarly))
    return false;
  host_.VotesLost(it->second, number_);
  NewSeat();
  return true;
}

void Elector::AnswerVotes(const SyncRequest& request) {
  Adopt(request.electorate);
  SyncReply reply;
  reply.said = SyncSaid::kVotes;
  reply.electorate = electorate_;
  if (auto it = heard_.find(request.seat); it != heard_.end()) reply.known = it->second;
  Answer(request, std::move(reply));
}

void Elector::Adopt(const wire::Electorate& electorate) {
  if (electorate.epoch <= electorate_.epoch) return;
  const bool was_in = HasSeat(electorate_, {leader_, seat_});
  Record({.kind = VoteRecord::kElectorate,
          .floor = std::max(floor_, electorate.floor),
          .electorate = electorate});
  if (was_in && !HasSeat(electorate, {leader_, seat_}) && !PLANTED(kSyncSeatReturns)) NewSeat();
}

void Elector::Answer(const SyncRequest& request, SyncReply reply) {
  reply.proposer = request.proposer;
  reply.round = request.round;
  reply.seat = {leader_, seat_};
  reply.vote = number_;
  reply.clock_ms = wall_ms_;
  std::string message = wire::Encode(reply);
  if (recorded_ <= durable_ || PLANTED(kSyncAnswerEarly)) {
    host_.Send(request.proposer.leader, std::move(message));
  } else {
    held_.push_back({recorded_, request.proposer.leader, std::move(message)});
  }
}

void Elector::Refuse(const SyncRequest& request, const clock::Ballot& promised, bool epoch) {
  SyncReply reply;
  reply.said = SyncSaid::kRefused;
  reply.promised = promised;
  if (epoch) reply.electorate = electorate_;
  Answer(request, std::move(reply));
}

void Elector::OfferSeat(const SyncRequest& request) {
  TakeSeat();
  if (!HasSeat(request.electorate, {leader_, seat_})) {
    if (seat_told_ && told_epoch_ != request.electorate.epoch && !PLANTED(kSyncSeatReturns))
      NewSeat();
    seat_told_ = true;
    told_epoch_ = request.electorate.epoch;
  }
  SyncReply reply;
  reply.said = SyncSaid::kSeat;
  Answer(request, std::move(reply));
}

void Elector::Handle(const SyncRequest& request, int64_t now_us, int64_t wall_ms) {
  wall_ms_ = wall_ms;
  Heard(request.known);
  GiveUpIfLost();
  if (request.ask == SyncAsk::kVotes) return AnswerVotes(request);
  const bool to_seat = request.ask != SyncAsk::kSeat;
  // Votes are asked of seats: who sits here now may lack what the one who is meant has said.
  if (to_seat && (request.seat != seat_ || !HasSeat(request.electorate, {leader_, seat_}))) return;
  if (request.electorate.epoch < electorate_.epoch && !PLANTED(kSyncEpochUnchecked)) {
    Refuse(request, {}, true);
    return;
  }
  Adopt(request.electorate);
  if (to_seat && (request.seat != seat_ || !(proven_ || PLANTED(kSyncVotesUnchecked)))) return;
  switch (request.ask) {
    case SyncAsk::kSeat:
      OfferSeat(request);
      break;
    case SyncAsk::kPrepare:
      Prepare(request);
      break;
    case SyncAsk::kAccept:
      Accept(request, now_us);
      break;
    case SyncAsk::kPeek:
      AnswerRow(request);
      break;
    case SyncAsk::kDrop:
      Drop(request);
      break;
    case SyncAsk::kList:
      List(request);
      break;
    case SyncAsk::kVotes:
      break;
  }
}

void Elector::AnswerRow(const SyncRequest& request) {
  SyncReply reply;
  reply.said = SyncSaid::kRow;
  reply.floor = floor_;
  if (const VoteRow* row = Find(request.key); row != nullptr && !row->accepted.none()) {
    reply.accepted = row->accepted;
    reply.tuple = row->tuple;
  }
  Answer(request, std::move(reply));
}

void Elector::Prepare(const SyncRequest& request) {
  const VoteRow* row = Find(request.key);
  const clock::Ballot promised = row == nullptr ? floor_ : row->promised;
  // The same promise asked for again, because its answer was lost, is given again: a ballot belongs
  // to one round, and what has been accepted below it has not changed since.
  const bool again = row != nullptr && promised == request.ballot && row->accepted < request.ballot;
  if (!again && request.ballot <= promised) return Refuse(request, promised);
  if (!again) {
    Vote vote{.kind = VoteRecord::kPromise, .key = request.key};
    vote.row.promised = request.ballot;
    Record(std::move(vote));
  }
  AnswerRow(request);
}

void Elector::Accept(const SyncRequest& request, int64_t now_us) {
  const VoteRow* row = Find(request.key);
  const clock::Ballot promised = row == nullptr ? floor_ : row->promised;
  const bool accepted = row != nullptr && row->accepted == request.ballot;
  // A proposer whose memory was set back draws a ballot for another value once more: that is not what was accepted.
  const bool again = accepted && (row->tuple == request.tuple || PLANTED(kSyncNextReused));
  if (accepted && !again) return Refuse(request, promised);
  if (!again) {
    if (request.ballot < promised || (row == nullptr && request.ballot <= floor_))
      return Refuse(request, promised);
    if (!host_.Covers(request.tuple.deps) && !PLANTED(kSyncIgnoreDeps)) {
      if (waiting_.size() < kWaitingMax) waiting_.push_back({request, now_us});
      return;
    }
    Vote vote{.kind = VoteRecord::kAccept, .key = request.key};
    vote.row.accepted = request.ballot;
    vote.row.promised = std::max(request.ballot, request.next);
    vote.row.tuple = request.tuple;
    Record(std::move(vote));
    if (!Decided(request.key, request.tuple)) {
      // Not all electors at once.
      undecided_[request.key] =
          now_us + undecided_us_ +
          static_cast<int64_t>(random_.Below(static_cast<uint64_t>(undecided_us_)));
    }
  }
  SyncReply reply;
  reply.said = SyncSaid::kAccepted;
  Answer(request, std::move(reply));
}

void Elector::Drop(const SyncRequest& request) {
  const VoteRow* row = Find(request.key);
  const bool same =
      row != nullptr && row->promised == request.ballot && row->accepted == request.ballot;
  if (row != nullptr && (same || PLANTED(kSyncDropNewer))) {
    const clock::Ballot floor =
        std::max(floor_, PLANTED(kSyncNoFloor) ? clock::Ballot{} : request.ballot);
    Record({.kind = VoteRecord::kDrop, .key = request.key, .floor = floor});
  }
  SyncReply reply;
  reply.said = SyncSaid::kDropped;
  Answer(request, std::move(reply));
}

void Elector::List(const SyncRequest& request) {
  SyncReply reply;
  reply.said = SyncSaid::kKeys;
  reply.floor = floor_;
  size_t bytes = 0;
  for (auto it = rows_.lower_bound(request.key); it != rows_.end(); ++it) {
    if (it->first.db == wire::kElectorateDb) break;  // the highest database
    if (reply.keys.size() >= kListKeysMax || bytes >= kListBytesMax) {
      reply.more = true;
      break;
    }
    reply.keys.push_back(it->first);
    bytes += it->first.key.size();
  }
  Answer(request, std::move(reply));
}

// ---- time

void Elector::OnDurable(uint64_t position) {
  durable_ = std::max(durable_, position);
  while (!held_.empty() && held_.front().position <= durable_) {
    Held held = std::move(held_.front());
    held_.pop_front();
    host_.Send(held.leader, std::move(held.message));
  }
}

void Elector::Tick(int64_t now_us, int64_t wall_ms) {
  wall_ms_ = wall_ms;
  GiveUpIfLost();
  if (waiting_.empty()) return;
  std::vector<Waiting> waiting = std::move(waiting_);
  waiting_.clear();
  for (Waiting& w : waiting) {
    if (host_.Covers(w.request.tuple.deps)) {
      Handle(w.request, now_us, wall_ms);
    } else if (now_us - w.since_us < kWaitingUs) {
      waiting_.push_back(std::move(w));
    }
  }
}

bool Elector::Decided(const wire::SyncKey& key, const wire::Tuple& tuple) const {
  if (key.db != wire::kElectorateDb) return host_.Shown(key) >= tuple.version;
  base::Reader in(tuple.value);
  return wire::ReadElectorate(in).epoch <= electorate_.epoch;
}

void Elector::OnDecided(const wire::SyncKey& key, const clock::Ballot& version) {
  auto it = undecided_.find(key);
  if (it == undecided_.end()) return;
  const VoteRow* row = Find(key);
  if (row == nullptr || row->tuple.version <= version) undecided_.erase(it);
}

std::vector<wire::SyncKey> Elector::Undecided(int64_t now_us) {
  std::vector<wire::SyncKey> keys;
  for (auto it = undecided_.begin(); it != undecided_.end();) {
    auto& [key, due_us] = *it;
    const VoteRow* row = Find(key);
    if (row == nullptr || Decided(key, row->tuple)) {
      it = undecided_.erase(it);
      continue;
    }
    if (due_us <= now_us) {
      keys.push_back(key);
      due_us = now_us + undecided_us_ +
               static_cast<int64_t>(random_.Below(static_cast<uint64_t>(undecided_us_)));
    }
    ++it;
  }
  return keys;
}

std::vector<wire::SyncKey> Elector::Collectable(int64_t wall_ms, int64_t age_ms, size_t max) const {
  std::vector<wire::SyncKey> keys;
  for (const auto& [key, row] : rows_) {
    if (keys.size() >= max) break;
    if (key.db == wire::kElectorateDb || row.accepted.none() || !row.tuple.absent) continue;
    if (static_cast<int64_t>(row.tuple.hlc.ms()) + age_ms <= wall_ms) keys.push_back(key);
  }
  return keys;
}

bool Elector::TakeDirty(size_t max, Dirty& dirty) {
  dirty = Dirty{};
  dirty.all_gone = all_gone_;
  all_gone_ = false;
  while (!dirty_.empty() && dirty.rows.size() < max) {
    const wire::SyncKey& key = *dirty_.begin();
    const VoteRow* row = Find(key);
    dirty.rows.emplace_back(VoteRowKey(key), row == nullptr ? std::string() : Encode(*row));
    dirty_.erase(dirty_.begin());
  }
  if (meta_dirty_) dirty.meta = Encode(VoteMeta{seat_, number_, floor_, electorate_});
  meta_dirty_ = false;
  return !dirty_.empty();
}

}  // namespace polyarch::sync
