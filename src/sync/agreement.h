// Agreement of a cluster on single keys: one leader's elector, proposer, and the changes of the
// electorate. Sans-IO: messages, the log's durable position and time come in; what goes out goes
// through Host.
//
// What it promises, of each key, while fewer than a majority of seats are lost for good:
//   - the writes that were acknowledged, and those in doubt that took effect, are linearizable;
//   - kNoQuorum: the operation has no effect, and never will;
//   - kInDoubt names a write, and an outcome says truly whether it took effect, or that it is too
//   long ago;
//   - what a decided value depends on is applied where it is shown, and durable at a quorum.
// Answers come as long as a quorum answers; two proposers after one key give way to each other at
// random.
//
// Changing who votes (a joint electorate, as in Raft's membership changes, Ongaro 2014, chapter 4,
// with every register carried over by a round of its own):
//   decide {e+1: now, next} -> list the rows at a joint quorum -> a round on each -> decide {e+2:
//   next}
// Anyone may finish a change that somebody began, and a majority of `now` may give it up.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "sync/elector.h"
#include "sync/host.h"
#include "sync/proposer.h"

namespace polyarch::sync {

class Agreement final : private Host {
 public:
  struct Options {
    std::string leader;
    uint64_t seed = 0;  // incarnation, seats, pauses
    Proposer::Options proposer;
    int64_t undecided_us = Elector::kUndecidedUs;
    int64_t settle_us = 2'000'000;  // how long an elector tries to finish what another one left
    // How long an elector that has begun anew waits for others' word on its votes when a quorum has
    // given it.
    int64_t prove_us = 1'000'000;
    // Of a change: for the seats, for each decision, for the list of rows, and for the round on
    // each row.
    int64_t seats_us = 2'000'000;
    int64_t decide_us = 3'000'000;
    int64_t list_us = 5'000'000;
    int64_t again_us = 200'000;
    int64_t sitting_us = 1'000'000;  // between questions to leaders whose seats are not known
    int64_t sitting_open_us = 10'000'000;  // so long an answer may take: a path may be longer than the time between two
    size_t sweep_window = 32;
  };

  Agreement(Options options, Host& host);

  // ---- recovery (see Elector), then Start once.
  Elector& elector() { return elector_; }
  const Elector& elector() const { return elector_; }
  // `found`: nobody else is there: this leader's seat is the electorate.
  void Start(int64_t now_us, int64_t wall_ms, bool found = false);
  void SetLeader(const std::string& leader);
  void Rename(const std::string& leader);

  // This process was set back to an earlier state of its memory, or runs twice: its votes are given up, if the others can
  // admit others of it (Elector::GiveUpShared), and it draws ballots that no copy draws.
  void SetBack();

  // ---- life
  void SetTime(int64_t now_us, int64_t wall_ms);
  void OnMessage(std::string_view message);
  void OnDurable(uint64_t position);
  // At the end of each tick.
  void Tick();

  void Submit(const wire::SyncKey& key, Op op);
  bool Forget(const wire::SyncKey& key, OpId op);
  // A decided version has been applied here, by whomever it was logged.
  void OnDecided(const wire::SyncKey& key, const clock::Ballot& version);
  // An electorate that was decided, from elsewhere.
  void Learn(const wire::Electorate& electorate);
  // The numbers of votes by which something was decided (Host::Chosen).
  void Heard(const wire::VoteNumbers& numbers) { elector_.Heard(numbers); }

  // ---- who votes
  const wire::Electorate& electorate() const { return proposer_.electorate(); }
  // Of seats: an elector that answers and sits in another one (its directory was replaced) is none of them.
  bool QuorumInReach() const { return proposer_.QuorumInReach(); }
  // Leaders whose seats are gone, as far as is known here.
  std::vector<std::string> GoneElectors() const;
  // So many are gone that the rest is no majority, whoever comes back: only ForceElectors helps.
  bool QuorumIsGone() const;
  // Makes these leaders the electors, each with the seat that it has now; or finishes a change that
  // was begun and left. Nothing happens while one is under way here, or if it is so already.
  void ChangeElectors(std::vector<std::string> leaders);
  // Makes them electors by somebody's word alone, when a majority of the present seats is gone for
  // good: what only those had accepted is lost, and who has not heard of it goes on under the old
  // electorate. All of `leaders` must answer; nothing happens otherwise. Where nobody votes yet (epoch 0) it is the
  // beginning.
  void ForceElectors(std::vector<std::string> leaders);
  // Agrees on what the electorate's rules are, from the next epoch on. Not while electors change.
  void ChangeRules(std::string rules);
  bool changing() const { return change_.step != Change::Step::kIdle; }
  // Is this leader one that has applied what the decision on the present electorate rests on: the one that decided it,
  // or one whose vote it had?
  bool HasDecidedElectorate() const;
  const Proposer::Counters& counters() const { return proposer_.counters(); }
  Proposer& proposer() { return proposer_; }
  size_t malformed() const { return malformed_; }

 private:
  struct Change {
    enum class Step : uint8_t { kIdle, kSeats, kDeciding, kListing, kSweeping, kSettling };
    Step step = Step::kIdle;
    uint64_t number = 0;  // of the attempt: callbacks of others are passed over
    bool force = false;
    std::vector<std::string> want;
    wire::Electorate at;  // the electorate that is changed
    uint64_t asked = 0;
    int64_t until_us = 0;
    int64_t resend_us = 0;
    std::map<std::string, uint64_t> seats;      // told, by leader
    std::map<wire::Seat, wire::SyncKey> pages;  // what was asked for next
    std::set<wire::Seat> listed;
    std::set<wire::SyncKey> keys;
    clock::Ballot floor;
    size_t in_flight = 0;
  };

  // ---- Host, for the parts
  uint64_t Append(std::string_view record) override { return host_.Append(record); }
  void Send(const std::string& leader, std::string message) override;
  bool InReach(const std::string& leader) const override { return host_.InReach(leader); }
  uint64_t ProcessOf(const std::string& leader) const override { return host_.ProcessOf(leader); }
  bool SeatIsGone(const wire::Seat& seat) const override;
  wire::Dependencies Applied() override { return host_.Applied(); }
  bool Covers(const wire::Dependencies& deps) const override { return host_.Covers(deps); }
  RunResult FirstBase(const wire::SyncKey& key) override { return host_.FirstBase(key); }
  RunResult Run(const wire::SyncKey& key,
                std::span<const OpId> ops,
                const wire::Tuple& base,
                int64_t now_ms,
                const clock::Ballot& attempt) override {
    return host_.Run(key, ops, base, now_ms, attempt);
  }
  void Chosen(const wire::SyncKey& key,
              const wire::Tuple& tuple,
              const wire::VoteNumbers& votes) override;
  clock::Ballot Shown(const wire::SyncKey& key) const override { return host_.Shown(key); }
  bool Released(const wire::SyncKey& key, const clock::Ballot& version) const override {
    return host_.Released(key, version);
  }
  bool InForce(const wire::SyncKey& key, const wire::Electorate& electorate) const override {
    return host_.InForce(key, electorate);
  }
  bool HasRulesOf(const wire::Electorate& electorate) const override { return host_.HasRulesOf(electorate); }
  void Done(OpId op, const Result& result) override { host_.Done(op, result); }
  bool HasRival() const override { return host_.HasRival(); }
  uint64_t Entropy() override { return host_.Entropy(); }
  void VotesLost(uint64_t known, uint64_t number) override { host_.VotesLost(known, number); }
  wire::VoteNumbers KnownVotes(const wire::Electorate& electorate) const override {
    return elector_.KnownVotes(electorate);
  }
  void ElectorateKnown(const wire::Electorate& electorate) override;

  void Receive(std::string_view message);
  // Messages to oneself.
  void Drain();
  // Do the others know of votes that are not on this disk?
  void Prove();
  // In which seats do the other electors sit?
  void AskWhoSits();
  // ---- change.cc
  void EndChange();
  void AskSeats();
  void DecideNext();
  void Impose();
  void ListRows();
  void AskPages();
  void TookSeat(const wire::SyncReply& reply);
  void TookKeys(const wire::SyncReply& reply);
  void Sweep();
  void SettleChange();
  void GiveBack();
  void SubmitChange(std::function<std::optional<wire::Electorate>(const wire::Electorate&)> change,
                    bool back,
                    std::function<void(const Result&)> done);
  void TickChange();

  Options options_;
  Host& host_;
  base::Random random_;
  Elector elector_;
  Proposer proposer_;
  Change change_;
  struct Proof {
    uint64_t asked = 0;
    std::set<wire::Seat> answered;
    int64_t quorum_us = -1;  // since when a quorum has answered
    int64_t resend_us = 0;
  };
  Proof proof_;
  struct Sitting {
    uint64_t process = 0;  // that told it
    uint64_t seat = 0;     // 0: in none
    uint64_t question = 0;  // to which: answers to earlier ones come too late
  };
  std::map<std::string, Sitting> sitting_;  // other leaders, by name
  uint64_t sitting_epoch_ = 0;              // of the electorate for which they were asked: another one asks anew
  std::deque<std::pair<int64_t, uint64_t>> sitting_asked_;  // questions that may be answered yet: when, and their rounds
  uint64_t sitting_questions_ = 0;
  int64_t next_sitting_us_ = 0;
  uint64_t changes_ = 0;
  uint64_t decided_epoch_ = 0;  // the newest electorate that a round of this process decided
  int64_t now_us_ = 0;
  int64_t wall_ms_ = 0;
  std::deque<std::string> to_self_;
  bool draining_ = false;
  int64_t next_undecided_us_ = 0;
  size_t malformed_ = 0;
};

}  // namespace polyarch::sync
