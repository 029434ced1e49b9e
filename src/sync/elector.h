// One who votes: what it has promised and accepted, key by key (CASPaxos, Rystsov 2018, as an
// acceptor).
//
// Whatever it says is on disk before it leaves: an answer waits until the log is durable behind all
// that was recorded before it, whatever the durability of other writes. The log being sequential,
// that covers the frames before it, too: an accepted tuple's deps are durable here.
//
// A vote belongs to a seat (leader, id). A seat's rows and floor live and die with it: whoever may
// have lost rows takes a new seat (NewSeat), and is no elector until the others have admitted it.
//
// Each vote is numbered, and who is told of one keeps its number (Heard). An elector that has begun
// anew votes only when it has been found out that nobody knows of more votes of its seat than its
// disk holds (SetProven; Agreement asks); else that disk is an old one, and the seat is given up.
//
// A key without a row has promised the floor, and accepted nothing.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "sync/host.h"
#include "sync/records.h"

namespace polyarch::sync {

class Elector {
 public:
  Elector(Host& host, std::string leader, base::Random& random, int64_t undecided_us = kUndecidedUs)
      : host_(host), leader_(std::move(leader)), random_(random), undecided_us_(undecided_us) {}

  // ---- recovery: the rows of the store, then the records of the log behind them, in order. False
  // if the bytes cannot be read.
  bool LoadMeta(std::string_view bytes);
  bool LoadRow(std::string_view row_key, std::string_view bytes);
  bool Replay(std::string_view record);
  // After recovery.
  void Start();
  // Draws a seat if there is none: who is never asked for one writes nothing.
  void TakeSeat();
  // Before Start: the name under which this leader goes on.
  void SetLeader(const std::string& leader) { leader_ = leader; }
  // Under another name (a copied directory): no votes come with it.
  void Rename(const std::string& leader);

  // ---- life
  void Handle(const wire::SyncRequest& request, int64_t now_us, int64_t wall_ms);
  // The log is durable up to here.
  void OnDurable(uint64_t position);
  // This leader has applied more: accepts that wait for it may go on. And time passes.
  void Tick(int64_t now_us, int64_t wall_ms);
  // A newer electorate, learned from elsewhere.
  void Adopt(const wire::Electorate& electorate);
  // The version is decided and applied here.
  void OnDecided(const wire::SyncKey& key, const clock::Ballot& version);
  // Gives up the present seat and all that goes with it.
  void NewSeat();
  // Another process votes, or has voted, under the same seat: two quorums that meet in it alone may not have met.
  // If the others are a quorum without it, it is given up (else there are no such two). True: it was.
  bool GiveUpShared();
  // Somebody has been told of votes of these numbers. If there is one of the own seat that is not
  // on the disk, the seat is given up before anything else is said.
  void Heard(const wire::VoteNumbers& numbers);
  wire::VoteNumbers KnownVotes(const wire::Electorate& electorate) const;
  // May it vote? A new seat may; one found on the disk may when this has been called.
  bool proven() const { return proven_; }
  void SetProven();

  uint64_t seat() const { return seat_; }
  const wire::Electorate& electorate() const { return electorate_; }
  const clock::Ballot& floor() const { return floor_; }
  size_t rows() const { return rows_.size(); }
  const VoteRow* Find(const wire::SyncKey& key) const;
  uint64_t votes() const { return number_; }
  // Keys whose accepted tuple has not been seen decided for `undecided_us` or longer; each is told
  // again after as long.
  std::vector<wire::SyncKey> Undecided(int64_t now_us);
  // Keys that have been absent for long: their rows may go (see Proposer, kCollect).
  std::vector<wire::SyncKey> Collectable(int64_t wall_ms, int64_t age_ms, size_t max) const;

  // ---- checkpoints: what has changed since the last call, at most `max` rows, in the order of
  // their keys; an empty row is to be deleted. True: there is more.
  struct Dirty {
    std::vector<std::pair<std::string, std::string>> rows;
    bool all_gone = false;  // every earlier row is to be deleted first
    std::string meta;       // empty: unchanged
  };
  bool TakeDirty(size_t max, Dirty& dirty);

  static constexpr int64_t kUndecidedUs = 2'000'000;
  static constexpr size_t kWaitingMax = 1024;
  static constexpr int64_t kWaitingUs = 5'000'000;
  static constexpr size_t kListKeysMax = 1000;
  static constexpr size_t kHeardMax = 256;
  static constexpr size_t kListBytesMax = 256 << 10;

 private:
  struct Held {
    uint64_t position;
    std::string leader;
    std::string message;
  };
  struct Waiting {
    wire::SyncRequest request;
    int64_t since_us;
  };

  void Record(Vote vote);
  void Answer(const wire::SyncRequest& request, wire::SyncReply reply);
  void Refuse(const wire::SyncRequest& request, const clock::Ballot& promised, bool epoch = false);
  void OfferSeat(const wire::SyncRequest& request);
  void Prepare(const wire::SyncRequest& request);
  void Accept(const wire::SyncRequest& request, int64_t now_us);
  void Drop(const wire::SyncRequest& request);
  void List(const wire::SyncRequest& request);
  void AnswerRow(const wire::SyncRequest& request);
  void AnswerVotes(const wire::SyncRequest& request);
  bool GiveUpIfLost();
  void Apply(const Vote& vote);
  bool Decided(const wire::SyncKey& key, const wire::Tuple& tuple) const;

  Host& host_;
  std::string leader_;
  base::Random& random_;
  int64_t undecided_us_;
  uint64_t seat_ = 0;
  uint64_t number_ = 0;
  clock::Ballot floor_;
  wire::Electorate electorate_;
  std::map<wire::SyncKey, VoteRow> rows_;

  bool proven_ = false;
  std::map<uint64_t, uint64_t> heard_;  // by seat: the highest number of a vote
  // A seat that is in no electorate is told in one epoch only: in a later one it may have been in
  // and out.
  bool seat_told_ = true;
  uint64_t told_epoch_ = 0;
  uint64_t recorded_ = 0;  // the log behind the last record
  uint64_t durable_ = 0;
  int64_t wall_ms_ = 0;
  std::deque<Held> held_;
  std::vector<Waiting> waiting_;
  std::map<wire::SyncKey, int64_t> undecided_;  // when it is to be settled
  std::set<wire::SyncKey> dirty_;
  bool all_gone_ = false;
  bool meta_dirty_ = false;
};

}  // namespace polyarch::sync
