// Rounds: how a leader gets a quorum of electors to agree on the next value of a key (CASPaxos,
// Rystsov 2018, as a proposer), with what the paper leaves open: writes have names, so that one is
// never applied twice and its outcome can be told later; a chain of names travels with the value.
//
// One round a key at a time. It takes all commands that wait for the key, in order, as one batch:
// they are run on the value that the quorum holds, and what they make of it is proposed. A write
// takes two round trips; one, if this process wrote the key last and nobody has come in between
// (the quorum promised the next ballot together with the last accept).
//
//   pause -> prepare -> deps -> accept -> done
//             ^  \_________________/ refused: drop the cache, wait, draw a higher ballot
//
// Nothing is kept on disk: ballots belong to a process, and what a process proposed and did not
// finish is finished by the electors (Elector::Undecided).
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "sync/host.h"

namespace polyarch::sync {

enum class OpKind : uint8_t {
  kWrite,    // commands: Host::Run
  kRead,     // the value
  kOutcome,  // how a write ended
  kSettle,   // commits what is there as it is
  kCollect,  // the same with all electors: then the row of an absent value is dropped
  kChange,   // the next electorate, as a function of the present one
};

struct Op {
  OpId id = 0;
  OpKind kind = OpKind::kWrite;
  int64_t deadline_us = 0;
  bool alone = false;  // kWrite: not in one batch with others, it may take long to run
  // kOutcome: of the write that is asked about. kWrite: its own, from when it is first offered to have changed the value.
  clock::Ballot name;
  // kChange: the electorate to decide, or nothing: leave it as it is.
  std::function<std::optional<wire::Electorate>(const wire::Electorate&)> change;
  bool back = false;                        // kChange: a majority of `now` alone
  std::function<void(const Result&)> done;  // instead of Host::Done
};

class Proposer {
 public:
  struct Options {
    int64_t resend_us_least = 20'000;
    int64_t pause_us_max = 1'000'000;
    size_t batch_max = 16;  // each write has its name in the chain, which keeps wire::kChainMax
    size_t cache_max = 10'000;
  };
  struct Counters {
    uint64_t rounds = 0;  // that came to an end with a quorum
    uint64_t fast = 0;    // of them in one round trip
    uint64_t refused = 0;
    uint64_t no_quorum = 0;  // operations
    uint64_t in_doubt = 0;   // operations
    uint64_t quick_reads = 0;
  };

  Proposer(Host& host, clock::Origin self, base::Random& random, Options options)
      : host_(host), self_(std::move(self)), random_(random), options_(options) {}

  void SetTime(int64_t now_us, int64_t wall_ms) {
    now_us_ = now_us;
    wall_ms_ = wall_ms;
  }
  void Rename(const std::string& leader) { self_.leader = leader; }
  // Ballots from here on are another incarnation's. Rounds that were asked for before end with their time.
  void Renew(uint64_t incarnation) {
    self_.incarnation = incarnation;
    cache_.clear();
  }
  void Submit(wire::SyncKey key, Op op);
  // Nobody waits for it any more. True: it is gone. False: it is in a round, which goes on.
  bool Forget(const wire::SyncKey& key, OpId op);
  void Handle(const wire::SyncReply& reply);
  void Tick();
  void Learn(const wire::Electorate& electorate);
  // A version is decided and applied here: an older one in the cache is no base any more.
  void OnDecided(const wire::SyncKey& key, const clock::Ballot& version);
  // Ballots drawn from here on are above it.
  void Heard(const clock::Ballot& ballot) { counter_ = std::max(counter_, ballot.counter); }

  // A ballot above all that this process has heard of; never used for a value.
  clock::Ballot DrawFloor() { return Draw(); }

  const wire::Electorate& electorate() const { return *electorate_; }
  // Could a quorum be reached, as far as is known?
  bool QuorumInReach(bool back = false) const;
  const Counters& counters() const { return counters_; }
  size_t active() const { return rounds_.size(); }
  // Sends a request that belongs to no key's round (kList, kSeat) and hands its answers to `took`
  // until told to stop.
  using Took = std::function<void(const wire::SyncReply&)>;
  uint64_t Ask(Took took);
  void StopAsking(uint64_t round) { asked_.erase(round); }
  wire::SyncRequest Request(wire::SyncAsk ask, uint64_t round) const;
  const clock::Origin& self() const { return self_; }

 private:
  enum class Phase : uint8_t { kIdle, kPause, kPeek, kPrepare, kDeps, kAccept };
  struct Round {
    Phase phase = Phase::kIdle;
    std::vector<Op> batch;
    std::deque<Op> waiting;
    uint64_t number = 0;  // of the phase under way: answers to others are passed over
    std::shared_ptr<const wire::Electorate> electorate;
    clock::Ballot ballot;
    clock::Ballot next;
    std::map<wire::Seat, wire::SyncReply> answers;
    wire::SyncRequest request;  // what is sent, and sent again
    wire::Tuple base;
    clock::Ballot floor;
    int64_t base_now_ms = 0;
    bool fast = false;  // by the cache
    bool peeked = false;
    bool read_only = false;  // kDeps: what was read is the value, nothing is to be proposed
    // Of the batch:
    bool offered = false;  // an accept with what it writes was sent
    clock::Ballot name;   // kChange
    clock::Ballot least;  // of the last names of each try that was offered
    std::set<clock::Ballot> attempts;  // that were offered
    clock::Ballot attempt;             // whose replies count if the proposal is accepted
    WriteOutcome outcome = WriteOutcome::kTooOld;
    wire::Tuple proposal;
    std::optional<wire::Electorate> decided;  // kChange
    int refusals = 0;
    int64_t sent_us = 0;
    int64_t resend_us = 0;
    int64_t until_us = 0;  // kPause
  };
  using Rounds = std::map<wire::SyncKey, Round>;

  clock::Ballot Draw() { return {++counter_, self_}; }
  uint64_t NextNumber() { return ++numbers_; }
  void Begin(const wire::SyncKey& key, Round& round);
  void Fill(Round& round);
  void Attempt(const wire::SyncKey& key, Round& round, bool first);
  void Peek(const wire::SyncKey& key, Round& round);
  void Prepare(const wire::SyncKey& key, Round& round);
  void TakeBase(const wire::SyncKey& key, Round& round);
  void TryPropose(const wire::SyncKey& key, Round& round);
  bool Compose(const wire::SyncKey& key, Round& round);
  bool ComposeWrite(const wire::SyncKey& key, Round& round);
  bool ComposeChange(Round& round);
  wire::Tuple FirstTuple(const wire::SyncKey& key, Round& round);
  void Append(const Round& round, const clock::Ballot& name, wire::Tuple& tuple);
  void SendAccept(const wire::SyncKey& key, Round& round);
  void Accepted(const wire::SyncKey& key, Round& round);
  void Refused(Round& round, const wire::SyncReply& reply);
  void Cast(Round& round, bool all);
  void Finish(const wire::SyncKey& key, Round& round, Verdict verdict, const wire::Tuple* tuple);
  void Tell(const Op& op, const Result& result);
  // True: the batch is gone.
  bool FailUnreachable(const wire::SyncKey& key, Round& round);
  bool Expire(const wire::SyncKey& key, Round& round);
  void TickRound(const wire::SyncKey& key, Round& round);
  bool Reached(const Round& round) const;
  int64_t LowerMedianClock(const Round& round) const;
  // Do the clocks of those who answered differ on whether the value's time is over, and may another
  // one still say?
  bool WaitsForClocks(const Round& round) const;
  // Is there no decided value to begin with?
  bool IsFresh(const wire::SyncKey& key, const Round& round) const;
  // With the votes of those who have answered.
  void Chosen(const wire::SyncKey& key, const Round& round, const wire::Tuple& tuple);

  Host& host_;
  clock::Origin self_;
  base::Random& random_;
  Options options_;
  int64_t now_us_ = 0;
  int64_t wall_ms_ = 0;
  uint64_t counter_ = 0;
  uint64_t numbers_ = 0;
  int64_t trip_us_ = 2'000;  // a round trip, as of late
  std::shared_ptr<const wire::Electorate> electorate_ = std::make_shared<wire::Electorate>();
  Rounds rounds_;
  std::vector<std::pair<wire::SyncKey, uint64_t>> ended_;
  struct Cached {
    wire::Tuple tuple;
    clock::Ballot next;
    uint64_t epoch = 0;
  };
  std::map<wire::SyncKey, Cached> cache_;
  std::map<uint64_t, Took> asked_;
  std::map<uint64_t, wire::SyncKey> by_number_;
  Counters counters_;
};

}  // namespace polyarch::sync
