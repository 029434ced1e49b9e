#include "sync/agreement.h"

#include <utility>

#include "sync/electorate.h"

namespace polyarch::sync {

namespace {

clock::Origin ProposerOf(const std::string& leader, base::Random& random) {
  return {leader, random.Next()};
}

}  // namespace

Agreement::Agreement(Options options, Host& host)
    : options_(std::move(options)),
      host_(host),
      random_(options_.seed),
      elector_(*this, options_.leader, random_, options_.undecided_us),
      proposer_(*this, ProposerOf(options_.leader, random_), random_, options_.proposer) {}

void Agreement::Start(int64_t now_us, int64_t wall_ms, bool found) {
  SetTime(now_us, wall_ms);
  elector_.Start();
  if (found && elector_.electorate().epoch == 0) {
    elector_.TakeSeat();
    wire::Electorate first;
    first.epoch = 1;
    first.now = {{options_.leader, elector_.seat()}};
    elector_.Adopt(first);
  }
  proposer_.Learn(elector_.electorate());
  Drain();
}

void Agreement::SetLeader(const std::string& leader) {
  options_.leader = leader;
  proposer_.Rename(leader);
  elector_.SetLeader(leader);
}

void Agreement::Rename(const std::string& leader) {
  options_.leader = leader;
  proposer_.Rename(leader);
  elector_.Rename(leader);
}

void Agreement::SetBack() {
  proposer_.Renew(random_.Next() ^ host_.Entropy());
  elector_.GiveUpShared();
}

void Agreement::SetTime(int64_t now_us, int64_t wall_ms) {
  now_us_ = now_us;
  wall_ms_ = wall_ms;
  proposer_.SetTime(now_us, wall_ms);
}

// ---- messages

void Agreement::Send(const std::string& leader, std::string message) {
  if (leader == options_.leader) {
    to_self_.push_back(std::move(message));
  } else {
    host_.Send(leader, std::move(message));
  }
}

void Agreement::Drain() {
  if (draining_) return;
  draining_ = true;
  while (!to_self_.empty()) {
    const std::string message = std::move(to_self_.front());
    to_self_.pop_front();
    Receive(message);
  }
  draining_ = false;
}

void Agreement::Receive(std::string_view message) {
  const auto request = wire::IsSyncRequest(message);
  if (request && *request) {
    wire::SyncRequest asked;
    if (wire::Decode(message, asked)) {
      proposer_.Heard(asked.ballot);
      proposer_.Heard(asked.next);
      return elector_.Handle(asked, now_us_, wall_ms_);
    }
  } else if (request) {
    wire::SyncReply said;
    if (wire::Decode(message, said)) {
      elector_.Heard({{said.seat.id, said.vote}});
      return proposer_.Handle(said);
    }
  }
  ++malformed_;
}

void Agreement::OnMessage(std::string_view message) {
  Receive(message);
  Drain();
}

void Agreement::OnDurable(uint64_t position) {
  elector_.OnDurable(position);
  Drain();
}

// ---- operations

void Agreement::Submit(const wire::SyncKey& key, Op op) {
  proposer_.Submit(key, std::move(op));
  Drain();
}

bool Agreement::Forget(const wire::SyncKey& key, OpId op) {
  return proposer_.Forget(key, op);
}

void Agreement::Chosen(const wire::SyncKey& key,
                       const wire::Tuple& tuple,
                       const wire::VoteNumbers& votes) {
  host_.Chosen(key, tuple, votes);
  OnDecided(key, tuple.version);
}

void Agreement::OnDecided(const wire::SyncKey& key, const clock::Ballot& version) {
  proposer_.Heard(version);
  proposer_.OnDecided(key, version);
  elector_.OnDecided(key, version);
}

void Agreement::Learn(const wire::Electorate& electorate) {
  proposer_.Learn(electorate);
  Drain();
}

void Agreement::ElectorateKnown(const wire::Electorate& electorate) {
  elector_.Adopt(electorate);
  host_.ElectorateKnown(electorate);
}

// All electors in reach are asked, a majority at least; each one's answer is what it has been told
// by this seat, or of it. Who answers need not have been proven itself.
void Agreement::Prove() {
  const wire::Electorate& electorate = elector_.electorate();
  const wire::Seat own{options_.leader, elector_.seat()};
  if (elector_.proven()) {
    if (proof_.asked != 0) proposer_.StopAsking(proof_.asked);
    proof_ = Proof{};
    return;
  }
  if (electorate.epoch == 0 || !HasSeat(electorate, own)) return;
  std::set<wire::Seat> who = proof_.answered;
  who.insert(own);
  if (proof_.quorum_us < 0 && IsQuorum(electorate, who)) proof_.quorum_us = now_us_;
  const bool done = IsQuorum(electorate, who) &&
                    (IsAll(electorate, who) || now_us_ - proof_.quorum_us >= options_.prove_us);
  if (done && !host_.HasRival()) return elector_.SetProven();
  if (proof_.resend_us > now_us_) return;
  proof_.resend_us = now_us_ + options_.again_us;
  if (proof_.asked == 0) {
    proof_.asked = proposer_.Ask([this, seat = own.id](const wire::SyncReply& reply) {
      if (reply.said != wire::SyncSaid::kVotes) return;
      elector_.Heard({{seat, reply.known}});
      proof_.answered.insert(reply.seat);
      if (reply.electorate.epoch > elector_.electorate().epoch) proposer_.Learn(reply.electorate);
    });
  }
  wire::SyncRequest request = proposer_.Request(wire::SyncAsk::kVotes, proof_.asked);
  request.electorate = electorate;
  request.seat = own.id;
  for (const wire::Seat& seat : AllSeats(electorate)) {
    if (who.count(seat) == 0) Send(seat.leader, wire::Encode(request));
  }
}

bool Agreement::SeatIsGone(const wire::Seat& seat) const {
  if (seat.leader == options_.leader) return seat.id != elector_.seat();
  auto told = sitting_.find(seat.leader);
  return sitting_epoch_ == electorate().epoch && told != sitting_.end() && told->second.seat != seat.id;
}

std::vector<std::string> Agreement::GoneElectors() const {
  std::vector<std::string> names;
  for (const wire::Seat& seat : electorate().now) {
    if (SeatIsGone(seat)) names.push_back(seat.leader);
  }
  return names;
}

bool Agreement::QuorumIsGone() const {
  std::set<wire::Seat> left = AllSeats(electorate());
  std::erase_if(left, [this](const wire::Seat& seat) { return SeatIsGone(seat); });
  return electorate().epoch != 0 && !IsQuorum(electorate(), left);
}

// Each process is asked once; one whose seat is not the electorate's until it is, since the old directory may come back.
// Where nothing is agreed on, that is not asked again: the first policy must find out who is left, and then nobody.
void Agreement::AskWhoSits() {
  if (sitting_epoch_ != electorate().epoch) {
    sitting_epoch_ = electorate().epoch;
    sitting_.clear();
    next_sitting_us_ = 0;
    for (const auto& [asked_us, round] : std::exchange(sitting_asked_, {}))
      proposer_.StopAsking(round);
  }
  if (next_sitting_us_ > now_us_) return;
  for (; !sitting_asked_.empty() && now_us_ - sitting_asked_.front().first >= options_.sitting_open_us; sitting_asked_.pop_front())
    proposer_.StopAsking(sitting_asked_.front().second);
  next_sitting_us_ = now_us_ + options_.sitting_us;
  std::map<std::string, uint64_t> asked;
  for (const wire::Seat& seat : AllSeats(electorate())) {
    const uint64_t process = seat.leader == options_.leader ? 0 : host_.ProcessOf(seat.leader);
    if (process == 0) continue;
    auto told = sitting_.find(seat.leader);
    if (told == sitting_.end() || told->second.process != process || (told->second.seat != seat.id && host_.Agrees()))
      asked[seat.leader] = process;
  }
  if (asked.empty()) return;
  const uint64_t question = ++sitting_questions_;
  const uint64_t round = proposer_.Ask([this, asked, question](const wire::SyncReply& reply) {
    auto who = asked.find(reply.seat.leader);
    if (reply.said != wire::SyncSaid::kVotes || who == asked.end()) return;
    // An answer may have taken longer than that to a later question, and be of an earlier process.
    Sitting& told = sitting_[who->first];
    if (question >= told.question) told = {who->second, reply.seat.id, question};
  });
  sitting_asked_.emplace_back(now_us_, round);
  wire::SyncRequest request = proposer_.Request(wire::SyncAsk::kVotes, round);
  request.seat = elector_.seat();
  for (const auto& [leader, process] : asked)
    Send(leader, wire::Encode(request));
}

void Agreement::Tick() {
  if (elector_.electorate().epoch > electorate().epoch) proposer_.Learn(elector_.electorate());
  elector_.Tick(now_us_, wall_ms_);
  Prove();
  AskWhoSits();
  std::vector<wire::SyncKey> undecided;
  if (now_us_ >= next_undecided_us_) {
    next_undecided_us_ = now_us_ + options_.undecided_us / 20;
    undecided = elector_.Undecided(now_us_);
  }
  for (const wire::SyncKey& key : undecided) {
    // Whoever proposed it may be dead: what was accepted is brought to an end.
    Op op{.kind = OpKind::kSettle, .deadline_us = now_us_ + options_.settle_us};
    op.done = [](const Result&) {
    };
    proposer_.Submit(key, std::move(op));
  }
  proposer_.Tick();
  TickChange();
  Drain();
}

}  // namespace polyarch::sync
