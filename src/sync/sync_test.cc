// Agreement under the random scheduler (sync_world.h), and what it can find.
#include <chrono>
#include <cstdlib>
#include <iostream>

#include <gtest/gtest.h>

#include "base/planted.h"
#include "sync/electorate.h"
#include "sync/sync_world.h"

namespace polyarch::sync {
namespace {

uint64_t Environment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

struct Totals {
  std::map<std::string, uint64_t> counts;
  uint64_t seeds = 0;
  uint64_t live = 0;
  std::string failure;
};

// Stops at the first violation.
Totals RunSeeds(uint64_t first, uint64_t seeds) {
  Totals totals;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    World world(seed);
    const std::string failure = world.Run();
    ++totals.seeds;
    totals.live += world.stats().live ? 1 : 0;
    for (const auto& [what, count] : world.stats().counts)
      totals.counts[what] += count;
    if (!failure.empty()) {
      totals.failure = "seed " + std::to_string(seed) + ": " + failure;
      break;
    }
  }
  return totals;
}

// A restart between two ballots is rare in time: it is made here. Two records, two lives of an
// elector, one disk.
class Directed : public Host {
 public:
  // What is wrong; empty: nothing.
  std::string Find(base::Bug bug) {
    if (bug == base::Bug::kSyncVolatilePromise) return PromiseIsForgotten();
    if (bug == base::Bug::kSyncSeatReturns) return SeatComesBack();
    if (bug == base::Bug::kSyncBackByNext) return NewOnesGoBack();
    if (bug == base::Bug::kSyncVotesUnchecked) return OldDiskVotes();
    if (bug == base::Bug::kSyncBatchName) return TwoInOneBatch();
    return "";
  }

 private:
  std::string PromiseIsForgotten() {
    base::Random random(1);
    Elector first(*this, "eu", random);
    first.Start();
    first.TakeSeat();
    wire::SyncRequest request;
    request.proposer = {"us", 1};
    request.seat = first.seat();
    request.electorate.epoch = 1;
    request.electorate.now = {{"eu", first.seat()}};
    request.key = {0, "k"};
    request.ballot = {7, {"us", 1}};
    first.Handle(request, 0, 0);
    Elector second(*this, "eu", random);
    for (const std::string& record : log_)
      second.Replay(record);
    second.Start();
    second.SetProven();
    request.ask = wire::SyncAsk::kAccept;
    request.ballot = request.tuple.version = {6, {"asia", 1}};
    second.Handle(request, 0, 0);
    return second.Find({0, "k"})->accepted == request.ballot ? "a promise is forgotten" : "";
  }
  std::string SeatComesBack() {
    base::Random random(1);
    Elector elector(*this, "eu", random);
    elector.Start();
    elector.TakeSeat();
    const uint64_t seat = elector.seat();
    wire::Electorate electorate;
    electorate.epoch = 1;
    electorate.now = {{"eu", seat}, {"us", 2}};
    elector.Adopt(electorate);
    electorate.epoch = 3;
    electorate.now = {{"us", 2}};
    elector.Adopt(electorate);
    return elector.seat() == seat ? "a seat outlives its electorate" : "";
  }
  std::string OldDiskVotes() {
    base::Random random(1);
    Elector first(*this, "eu", random);
    first.Start();
    first.TakeSeat();
    const uint64_t seat = first.seat();
    Elector second(*this, "eu", random);
    second.Replay(log_.front());
    second.Start();
    second.Heard({{seat, first.votes() + 1}});
    second.SetProven();
    return second.seat() == seat ? "a seat outlives the votes that its disk has lost" : "";
  }
  // Two SET NX of one batch: the first one sets, and both are in doubt. Of the second one it is certain that it has
  // written nothing.
  std::string TwoInOneBatch() {
    base::Random random(1);
    Proposer proposer(*this, {"eu", 1}, random, {});
    wire::Electorate electorate;
    electorate.epoch = 1;
    electorate.now = {{"eu", 1}, {"us", 2}, {"asia", 3}};
    proposer.Learn(electorate);
    proposer.SetTime(1, 1);
    // While it is under way the two others wait, and then go together.
    proposer.Submit({0, "k"}, {.id = 1, .deadline_us = 5});
    proposer.Submit({0, "k"}, {.id = 2, .deadline_us = 1000});
    proposer.Submit({0, "k"}, {.id = 3, .deadline_us = 1000});
    proposer.SetTime(10, 1);
    proposer.Tick();
    for (const wire::Seat& seat : electorate.now) {
      wire::SyncReply reply;
      reply.said = wire::SyncSaid::kRow;
      reply.proposer = {"eu", 1};
      reply.round = asked_.round;
      reply.seat = seat;
      if (asked_.ask == wire::SyncAsk::kPrepare) proposer.Handle(reply);
    }
    if (asked_.ask != wire::SyncAsk::kAccept || asked_.tuple.chain.empty()) return "nothing is proposed";
    proposer.SetTime(2000, 1);
    proposer.Tick();
    if (done_[1].verdict != Verdict::kNoQuorum) return "a write that was never proposed is in doubt";
    if (done_[2].verdict != Verdict::kInDoubt || done_[2].name != asked_.tuple.chain.back().name)
      return "the write that is in doubt is not the one that was proposed";
    if (done_[3].verdict != Verdict::kNoQuorum) return "a write that changed nothing is in doubt";
    return "";
  }
  std::string NewOnesGoBack() {
    wire::Electorate joint;
    joint.epoch = 2;
    joint.now = {{"eu", 1}, {"us", 2}, {"asia", 3}};
    joint.next = {{"asia", 3}, {"oz", 4}};
    return IsQuorum(joint, {{"asia", 3}, {"oz", 4}}, /*back=*/true)
               ? "new electors alone end a change"
               : "";
  }

  uint64_t Append(std::string_view record) override {
    log_.emplace_back(record);
    return log_.size();
  }
  void Send(const std::string&, std::string message) override { (void)wire::Decode(message, asked_); }
  bool InReach(const std::string&) const override { return true; }
  wire::Dependencies Applied() override { return {}; }
  bool Covers(const wire::Dependencies&) const override { return true; }
  RunResult FirstBase(const wire::SyncKey&) override { return {}; }
  RunResult Run(const wire::SyncKey&,
                std::span<const OpId> ops,
                const wire::Tuple&,
                int64_t,
                const clock::Ballot&) override {
    RunResult result;
    result.changed_by = {ops.front()};
    return result;
  }
  void Chosen(const wire::SyncKey&, const wire::Tuple&, const wire::VoteNumbers&) override {}
  clock::Ballot Shown(const wire::SyncKey&) const override { return {}; }
  void Done(OpId op, const Result& result) override { done_[op] = result; }
  void ElectorateKnown(const wire::Electorate&) override {}

  std::vector<std::string> log_;
  wire::SyncRequest asked_;  // the last one
  std::map<OpId, Result> done_;
};

#ifndef POLYARCH_PLANTED

// POLYARCH_SYNC_SEEDS, POLYARCH_SEED: how many, and the first.
TEST(Sync, IsLinearizableWhateverHappens) {
  const Totals totals =
      RunSeeds(Environment("POLYARCH_SEED", 1), Environment("POLYARCH_SYNC_SEEDS", 150));
  EXPECT_EQ(totals.failure, "");
  std::cout << totals.seeds << " seeds, " << totals.live << " live:";
  for (const auto& [what, count] : totals.counts)
    std::cout << " " << what << "=" << count;
  std::cout << "\n";
  // Not a scheduler under which nothing happens.
  auto count = [&](const char* what) {
    return totals.counts.count(what) != 0 ? totals.counts.at(what) : 0;
  };
  for (const char* what : {"ok",
                           "in doubt",
                           "no quorum",
                           "applied",
                           "never",
                           "crash",
                           "restore",
                           "votes rolled back",
                           "change",
                           "collected",
                           "fast",
                           "refused",
                           "quick reads"}) {
    EXPECT_GT(count(what), 0U) << what;
  }
  EXPECT_EQ(count("gave up"), 0U);
  // What does not come back has lost too many seats at once, which the nemesis avoids as well as it
  // can see.
  EXPECT_GE(totals.live * 100, totals.seeds * 95);
}

// What the random scheduler hardly meets.
TEST(Sync, IsRightInCasesMadeByHand) {
  for (int i = static_cast<int>(base::Bug::kSyncVolatilePromise); i <= static_cast<int>(base::Bug::kSyncKeepVotes); ++i)
    EXPECT_EQ(Directed().Find(static_cast<base::Bug>(i)), "") << i;
}

#else

// Which seed finds each; POLYARCH_SYNC_BUG: only that one.
TEST(Sync, FindsWhatIsPlanted) {
  const uint64_t seeds = Environment("POLYARCH_SYNC_SEEDS", 3000);
  const char* only = std::getenv("POLYARCH_SYNC_BUG");
  for (int i = static_cast<int>(base::Bug::kSyncVolatilePromise);
       i <= static_cast<int>(base::Bug::kSyncKeepVotes);
       ++i) {
    const auto bug = static_cast<base::Bug>(i);
    if (only != nullptr && std::string(only) != base::NameOf(bug)) continue;
    base::g_planted_bug = bug;
    const auto begin = std::chrono::steady_clock::now();
    Totals totals;
    totals.failure = Directed().Find(bug);
    if (totals.failure.empty()) totals = RunSeeds(1, seeds);
    base::g_planted_bug = base::Bug::kNone;
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                        std::chrono::steady_clock::now() - begin)
                        .count();
    std::cout << base::NameOf(bug) << " " << (totals.failure.empty() ? "NOT FOUND" : totals.failure)
              << " (" << totals.seeds << " seeds, " << ms << " ms)" << std::endl;
    EXPECT_NE(totals.failure, "") << base::NameOf(bug);
  }
}

#endif

}  // namespace
}  // namespace polyarch::sync
