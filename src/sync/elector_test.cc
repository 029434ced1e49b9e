// One elector, without the others: what it keeps, what it refuses, and when its answers leave.
#include "sync/elector.h"

#include <gtest/gtest.h>

#include "base/golden_test_util.h"
#include "sync/agreement.h"
#include "sync/electorate.h"

namespace polyarch::sync {
namespace {

using wire::SyncAsk;
using wire::SyncReply;
using wire::SyncRequest;
using wire::SyncSaid;

clock::Ballot BallotOf(uint64_t counter, const std::string& leader = "eu") {
  return {counter, {leader, 5}};
}

struct FakeHost : Host {
  std::vector<std::string> log;
  std::vector<SyncReply> sent;
  wire::Dependencies applied;
  clock::Ballot shown;

  uint64_t Append(std::string_view record) override {
    log.emplace_back(record);
    return log.size();
  }
  void Send(const std::string&, std::string message) override {
    SyncReply reply;
    ASSERT_TRUE(wire::Decode(message, reply));
    sent.push_back(std::move(reply));
  }
  bool InReach(const std::string&) const override { return true; }
  wire::Dependencies Applied() override { return applied; }
  bool Covers(const wire::Dependencies& deps) const override {
    return std::all_of(deps.begin(), deps.end(), [this](const wire::Dependency& d) {
      return std::any_of(applied.begin(), applied.end(), [&](const wire::Dependency& a) {
        return a.origin == d.origin && a.sequence >= d.sequence;
      });
    });
  }
  RunResult FirstBase(const wire::SyncKey&) override { return {}; }
  RunResult Run(const wire::SyncKey&,
                std::span<const OpId>,
                const wire::Tuple&,
                int64_t,
                const clock::Ballot&) override {
    return {};
  }
  void Chosen(const wire::SyncKey&, const wire::Tuple&, const wire::VoteNumbers&) override {}
  clock::Ballot Shown(const wire::SyncKey&) const override { return shown; }
  void Done(OpId, const Result&) override {}
  void ElectorateKnown(const wire::Electorate&) override {}
};

class ElectorTest : public testing::Test {
 protected:
  ElectorTest() {
    elector.Start();
    EXPECT_TRUE(host.log.empty()) << "who is not asked writes nothing";
    elector.TakeSeat();
    electorate.epoch = 1;
    electorate.now = {{"eu", elector.seat()}};
    elector.Adopt(electorate);
    elector.OnDurable(host.log.size());
  }

  SyncRequest Ask(SyncAsk ask, uint64_t counter, const std::string& key = "k") {
    SyncRequest request;
    request.ask = ask;
    request.proposer = {"us", 9};
    request.round = ++round;
    request.seat = elector.seat();
    request.electorate = electorate;
    request.key = {0, key};
    request.ballot = BallotOf(counter);
    if (ask == SyncAsk::kAccept) {
      request.tuple.version = BallotOf(counter);
      request.tuple.absent = false;
      request.tuple.value = "v" + std::to_string(counter);
    }
    return request;
  }
  // The answer, once all is durable; nothing if there is none.
  std::optional<SyncReply> Answer(const SyncRequest& request) {
    host.sent.clear();
    elector.Handle(request, now_us, 0);
    elector.OnDurable(host.log.size());
    if (host.sent.empty()) return std::nullopt;
    EXPECT_EQ(host.sent.size(), 1U);
    EXPECT_EQ(host.sent[0].round, request.round);
    return host.sent[0];
  }
  SyncSaid Said(const SyncRequest& request) {
    auto answer = Answer(request);
    EXPECT_TRUE(answer.has_value());
    return answer ? answer->said : SyncSaid::kKeys;
  }

  FakeHost host;
  base::Random random{1};
  Elector elector{host, "eu", random};
  wire::Electorate electorate;
  uint64_t round = 0;
  int64_t now_us = 0;
};

TEST_F(ElectorTest, PromisesOnlyUpwards) {
  EXPECT_EQ(Said(Ask(SyncAsk::kPrepare, 5)), SyncSaid::kRow);
  EXPECT_EQ(Said(Ask(SyncAsk::kPrepare, 4)), SyncSaid::kRefused);
  EXPECT_EQ(Answer(Ask(SyncAsk::kPrepare, 4))->promised, BallotOf(5));
  EXPECT_EQ(Said(Ask(SyncAsk::kAccept, 4)), SyncSaid::kRefused);
  EXPECT_EQ(Said(Ask(SyncAsk::kAccept, 5)), SyncSaid::kAccepted);
  const auto row = Answer(Ask(SyncAsk::kPrepare, 6));
  EXPECT_EQ(row->accepted, BallotOf(5));
  EXPECT_EQ(row->tuple.value, "v5");
  EXPECT_EQ(Said(Ask(SyncAsk::kAccept, 5)), SyncSaid::kAccepted)
      << "it has accepted that: asked again";
  EXPECT_EQ(elector.Find({0, "k"})->promised, BallotOf(6));
}

TEST_F(ElectorTest, AnAcceptPromisesTheNextBallot) {
  SyncRequest accept = Ask(SyncAsk::kAccept, 5);
  accept.next = BallotOf(8);
  EXPECT_EQ(Said(accept), SyncSaid::kAccepted);
  EXPECT_EQ(Said(Ask(SyncAsk::kPrepare, 7)), SyncSaid::kRefused);
  EXPECT_EQ(Said(Ask(SyncAsk::kAccept, 8)), SyncSaid::kAccepted);
}

TEST_F(ElectorTest, AskedAgainItAnswersAgain) {
  EXPECT_EQ(Said(Ask(SyncAsk::kPrepare, 5)), SyncSaid::kRow);
  const size_t records = host.log.size();
  EXPECT_EQ(Said(Ask(SyncAsk::kPrepare, 5)), SyncSaid::kRow);
  EXPECT_EQ(host.log.size(), records);
  EXPECT_EQ(Said(Ask(SyncAsk::kAccept, 5)), SyncSaid::kAccepted);
  EXPECT_EQ(Said(Ask(SyncAsk::kPrepare, 5)), SyncSaid::kRefused);
}

TEST_F(ElectorTest, NothingLeavesBeforeItIsDurable) {
  host.sent.clear();
  elector.Handle(Ask(SyncAsk::kPrepare, 5), 0, 0);
  // A look waits, too: what it would tell is not durable yet.
  elector.Handle(Ask(SyncAsk::kPeek, 0), 0, 0);
  EXPECT_TRUE(host.sent.empty());
  elector.OnDurable(host.log.size() - 1);
  EXPECT_TRUE(host.sent.empty());
  elector.OnDurable(host.log.size());
  EXPECT_EQ(host.sent.size(), 2U);
}

TEST_F(ElectorTest, ABallotIsForOneValue) {
  SyncRequest accept = Ask(SyncAsk::kAccept, 5);
  EXPECT_EQ(Said(accept), SyncSaid::kAccepted);
  accept.tuple.value += "x";
  EXPECT_EQ(Said(accept), SyncSaid::kRefused);
  EXPECT_NE(elector.Find({0, "k"})->tuple, accept.tuple);
}

TEST_F(ElectorTest, AnAcceptWaitsForWhatItDependsOn) {
  SyncRequest accept = Ask(SyncAsk::kAccept, 5);
  accept.tuple.deps = {{{"us", 1}, 7}};
  EXPECT_EQ(Answer(accept), std::nullopt);
  elector.Tick(1, 0);
  EXPECT_EQ(elector.Find({0, "k"}), nullptr);
  host.applied = {{{"us", 1}, 7}};
  host.sent.clear();
  elector.Tick(2, 0);
  elector.OnDurable(host.log.size());
  ASSERT_EQ(host.sent.size(), 1U);
  EXPECT_EQ(host.sent[0].said, SyncSaid::kAccepted);
}

TEST_F(ElectorTest, WhoWaitsTooLongIsForgotten) {
  SyncRequest accept = Ask(SyncAsk::kAccept, 5);
  accept.tuple.deps = {{{"us", 1}, 7}};
  EXPECT_EQ(Answer(accept), std::nullopt);
  elector.Tick(Elector::kWaitingUs, 0);
  host.applied = {{{"us", 1}, 7}};
  elector.Tick(Elector::kWaitingUs + 1, 0);
  EXPECT_EQ(elector.Find({0, "k"}), nullptr);
}

TEST_F(ElectorTest, AnotherSeatIsNotMeant) {
  SyncRequest prepare = Ask(SyncAsk::kPrepare, 5);
  elector.NewSeat();
  EXPECT_EQ(Answer(prepare), std::nullopt);
  prepare.seat = elector.seat();
  EXPECT_EQ(Answer(prepare), std::nullopt) << "the new seat is not in the electorate";
}

TEST_F(ElectorTest, AnOlderElectorateIsToldTheNewer) {
  const wire::Electorate old = electorate;
  electorate.epoch = 2;
  electorate.floor = BallotOf(10);
  EXPECT_EQ(Said(Ask(SyncAsk::kPrepare, 11)), SyncSaid::kRow) << "the newer one is adopted";
  EXPECT_EQ(elector.electorate().epoch, 2U);
  EXPECT_EQ(Said(Ask(SyncAsk::kPrepare, 9, "other")), SyncSaid::kRefused) << "below its floor";
  SyncRequest late = Ask(SyncAsk::kAccept, 12);
  late.electorate = old;
  const auto answer = Answer(late);
  EXPECT_EQ(answer->said, SyncSaid::kRefused);
  EXPECT_EQ(answer->electorate, electorate);
}

TEST_F(ElectorTest, ARowIsDroppedOnlyAsAllHaveIt) {
  EXPECT_EQ(Said(Ask(SyncAsk::kAccept, 5)), SyncSaid::kAccepted);
  EXPECT_EQ(Said(Ask(SyncAsk::kPrepare, 6)), SyncSaid::kRow);
  EXPECT_EQ(Said(Ask(SyncAsk::kDrop, 5)), SyncSaid::kDropped);
  ASSERT_NE(elector.Find({0, "k"}), nullptr) << "somebody has been promised more";
  EXPECT_EQ(Said(Ask(SyncAsk::kAccept, 6)), SyncSaid::kAccepted);
  EXPECT_EQ(Said(Ask(SyncAsk::kDrop, 6)), SyncSaid::kDropped);
  EXPECT_EQ(elector.Find({0, "k"}), nullptr);
  EXPECT_EQ(elector.floor(), BallotOf(6));
  EXPECT_EQ(Said(Ask(SyncAsk::kAccept, 6)), SyncSaid::kRefused) << "a copy of it that comes late";
  EXPECT_EQ(Said(Ask(SyncAsk::kPrepare, 7)), SyncSaid::kRow);
}

TEST_F(ElectorTest, ASeatOutsideIsToldInOneEpochOnly) {
  FakeHost other_host;
  base::Random other_random{2};
  Elector other(other_host, "asia", other_random);
  other.Start();
  SyncRequest ask = Ask(SyncAsk::kSeat, 0);
  ask.seat = 0;
  other.Handle(ask, 0, 0);
  const uint64_t first = other.seat();
  other.Handle(ask, 0, 0);
  EXPECT_EQ(other.seat(), first) << "the same question";
  // In epoch 2 it may have been in, and in 3 out again.
  electorate.epoch = 3;
  SyncRequest later = Ask(SyncAsk::kSeat, 0);
  later.seat = 0;
  other.Handle(later, 0, 0);
  EXPECT_NE(other.seat(), first);
}

TEST_F(ElectorTest, FoundOnADiskItVotesWhenItIsProven) {
  EXPECT_EQ(Said(Ask(SyncAsk::kAccept, 5)), SyncSaid::kAccepted);
  base::Random again_random{3};
  Elector again(host, "eu", again_random);
  for (const std::string& record : host.log)
    ASSERT_TRUE(again.Replay(record));
  again.Start();
  again.OnDurable(host.log.size());
  EXPECT_EQ(again.seat(), elector.seat());
  EXPECT_FALSE(again.proven());
  host.sent.clear();
  for (SyncAsk ask :
       {SyncAsk::kPrepare, SyncAsk::kAccept, SyncAsk::kPeek, SyncAsk::kDrop, SyncAsk::kList})
    again.Handle(Ask(ask, 9), 0, 0);
  EXPECT_TRUE(host.sent.empty()) << "it says nothing before";
  again.Heard({{again.seat(), again.votes()}});
  again.SetProven();
  EXPECT_TRUE(again.proven());
  EXPECT_EQ(again.seat(), elector.seat()) << "nobody knows of more votes than it has";
  again.Handle(Ask(SyncAsk::kPrepare, 9), 0, 0);
  again.OnDurable(host.log.size());
  ASSERT_EQ(host.sent.size(), 1U);
  EXPECT_EQ(host.sent[0].accepted, BallotOf(5));
}

TEST_F(ElectorTest, AnOldDiskIsFoundOutByTheNumbersOfItsVotes) {
  const std::vector<std::string> old = host.log;
  EXPECT_EQ(Said(Ask(SyncAsk::kAccept, 5)), SyncSaid::kAccepted);
  const uint64_t votes = host.sent.back().vote;
  for (int way = 0; way < 3; ++way) {
    SCOPED_TRACE(way);
    base::Random again_random{4};
    Elector again(host, "eu", again_random);
    for (const std::string& record : old)
      ASSERT_TRUE(again.Replay(record));
    again.Start();
    const uint64_t seat = again.seat();
    ASSERT_EQ(seat, elector.seat());
    if (way == 0) {  // asked for before it votes
      again.Heard({{seat, votes}});
      again.SetProven();
    } else if (way == 1) {  // told with a request, after it was thought to be proven
      again.SetProven();
      SyncRequest accept = Ask(SyncAsk::kAccept, 4);
      accept.known = {{seat, votes}};
      again.Handle(accept, 0, 0);
    } else {  // told with what was decided
      again.SetProven();
      again.Heard({{seat, votes}});
      again.Tick(0, 0);
    }
    EXPECT_NE(again.seat(), seat);
    EXPECT_EQ(again.Find({0, "k"}), nullptr);
    EXPECT_TRUE(again.proven()) << "a new seat has no votes to lose";
  }
}

TEST_F(ElectorTest, ItTellsHowManyVotesItKnowsOf) {
  SyncRequest ask = Ask(SyncAsk::kVotes, 0);
  ask.seat = 77;
  auto answer = Answer(ask);
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->said, SyncSaid::kVotes);
  EXPECT_EQ(answer->known, 0U);
  elector.Heard({{77, 5}});
  elector.Heard({{77, 3}});
  EXPECT_EQ(Answer(ask)->known, 5U);
}

TEST_F(ElectorTest, WhoLeavesTheElectorateGivesUpItsSeat) {
  EXPECT_EQ(Said(Ask(SyncAsk::kAccept, 5)), SyncSaid::kAccepted);
  const uint64_t seat = elector.seat();
  electorate.epoch = 2;
  electorate.now = {{"us", 77}};
  elector.Adopt(electorate);
  EXPECT_NE(elector.seat(), seat);
  EXPECT_EQ(elector.rows(), 0U);
}

TEST_F(ElectorTest, ASharedSeatIsGivenUpIfTheOthersCanReplaceIt) {
  const uint64_t seat = elector.seat();
  EXPECT_FALSE(elector.GiveUpShared()) << "nobody could admit another one";
  electorate.epoch = 2;
  electorate.now = {{"eu", seat}, {"us", 7}};
  elector.Adopt(electorate);
  EXPECT_FALSE(elector.GiveUpShared()) << "every quorum has the other one, too";
  electorate.epoch = 3;
  electorate.now = {{"asia", 8}, {"eu", seat}, {"us", 7}};
  elector.Adopt(electorate);
  EXPECT_TRUE(elector.GiveUpShared());
  EXPECT_NE(elector.seat(), seat);
  EXPECT_FALSE(elector.GiveUpShared()) << "the new one is no elector yet";
}

// A cluster that was founded before there was agreement.
TEST(AgreementTest, WhereNobodyVotesItIsBegunByForce) {
  FakeHost host;
  Agreement agreement({.leader = "eu", .seed = 1}, host);
  agreement.Start(0, 0);
  EXPECT_EQ(agreement.electorate().epoch, 0U);
  EXPECT_TRUE(host.log.empty());
  agreement.ForceElectors({"eu"});
  for (int64_t ms = 0; ms < 100; ++ms) {
    agreement.SetTime(ms * 1000, ms);
    agreement.OnDurable(host.log.size());
    agreement.Tick();
  }
  ASSERT_EQ(agreement.electorate().now.size(), 1U);
  EXPECT_EQ(agreement.electorate().now[0], (wire::Seat{"eu", agreement.elector().seat()}));
  EXPECT_GT(agreement.electorate().epoch, 0U);
}

// Leader "us" answers from far away.
struct FarHost : FakeHost {
  std::vector<SyncRequest> asked;
  bool agrees = true;
  uint64_t process = 1;

  void Send(const std::string& leader, std::string message) override {
    SyncRequest request;
    ASSERT_TRUE(wire::Decode(message, request));
    EXPECT_EQ(leader, "us");
    EXPECT_EQ(request.ask, wire::SyncAsk::kVotes);
    asked.push_back(std::move(request));
  }
  uint64_t ProcessOf(const std::string& leader) const override { return leader == "us" ? process : 0; }
  bool Agrees() const override { return agrees; }
};

class Sitting : public testing::Test {
 protected:
  Sitting() {
    agreement.Start(0, 0);
    wire::Electorate electorate;
    electorate.epoch = 1;
    electorate.now = {{"us", 77}};
    agreement.Learn(electorate);
  }
  void RunUntil(int64_t end_ms) {
    for (; ms <= end_ms; ms += 100) {
      agreement.SetTime(ms * 1000, ms);
      agreement.OnDurable(host.log.size());
      agreement.Tick();
    }
  }
  // "us" sits in this seat, it says to that question.
  void Answer(size_t question, uint64_t seat) {
    SyncReply reply;
    reply.said = wire::SyncSaid::kVotes;
    reply.proposer = host.asked.at(question).proposer;
    reply.round = host.asked.at(question).round;
    reply.seat = {"us", seat};
    agreement.OnMessage(wire::Encode(reply));
  }
  using Names = std::vector<std::string>;
  FarHost host;
  Agreement agreement{{.leader = "eu", .seed = 1}, host};
  int64_t ms = 0;
};

TEST_F(Sitting, AnAnswerMayTakeLongerThanTheTimeBetweenQuestions) {
  RunUntil(5'500);
  ASSERT_EQ(host.asked.size(), 6U) << "one a second while it is not known";
  Answer(1, 99);
  EXPECT_EQ(agreement.GoneElectors(), Names{"us"});
  EXPECT_TRUE(agreement.QuorumIsGone());
  Answer(0, 77);
  EXPECT_EQ(agreement.GoneElectors(), Names{"us"}) << "an earlier answer that comes later";
  Answer(3, 77);
  EXPECT_EQ(agreement.GoneElectors(), Names{}) << "the old directory is back";
  RunUntil(20'000);
  EXPECT_EQ(host.asked.size(), 6U) << "it is known";
}

TEST_F(Sitting, WhereNothingIsAgreedOnEachProcessIsAskedOnce) {
  host.agrees = false;
  RunUntil(2'500);
  ASSERT_EQ(host.asked.size(), 3U) << "no answer has come";
  Answer(0, 99);
  EXPECT_TRUE(agreement.QuorumIsGone());
  RunUntil(20'000);
  EXPECT_EQ(host.asked.size(), 3U);
  host.process = 2;
  RunUntil(21'500);
  EXPECT_GT(host.asked.size(), 3U) << "another process may have another directory";
  Answer(host.asked.size() - 1, 77);
  EXPECT_FALSE(agreement.QuorumIsGone());
}

TEST_F(ElectorTest, ListsInPages) {
  for (int i = 0; i < 2500; ++i)
    Said(Ask(SyncAsk::kAccept, 5, "k" + std::to_string(i)));
  SyncRequest list = Ask(SyncAsk::kList, 0);
  list.key = {};
  std::set<wire::SyncKey> keys;
  for (int page = 0; page < 10; ++page) {
    const auto answer = Answer(list);
    keys.insert(answer->keys.begin(), answer->keys.end());
    if (!answer->more) break;
    list.key = answer->keys.back();
    list.key.key.push_back('\0');
  }
  EXPECT_EQ(keys.size(), 2500U);
}

TEST_F(ElectorTest, TellsWhatNobodyHasFinished) {
  EXPECT_EQ(Said(Ask(SyncAsk::kAccept, 5)), SyncSaid::kAccepted);
  EXPECT_TRUE(elector.Undecided(Elector::kUndecidedUs - 1).empty());
  EXPECT_EQ(elector.Undecided(2 * Elector::kUndecidedUs).size(), 1U);
  EXPECT_TRUE(elector.Undecided(2 * Elector::kUndecidedUs + 1).empty()) << "not again at once";
  elector.OnDecided({0, "k"}, BallotOf(5));
  EXPECT_TRUE(elector.Undecided(20 * Elector::kUndecidedUs).empty());
}

TEST_F(ElectorTest, ComesBackFromRowsAndRecords) {
  Said(Ask(SyncAsk::kAccept, 5, "a"));
  Said(Ask(SyncAsk::kAccept, 5, "gone"));
  const size_t start = host.log.size();  // of the checkpoint; its rows are as of later
  Said(Ask(SyncAsk::kPrepare, 6, "a"));
  Said(Ask(SyncAsk::kDrop, 5, "gone"));
  std::map<std::string, std::string> rows;
  Elector::Dirty dirty;
  std::string meta;
  for (bool more = true; more;) {
    more = elector.TakeDirty(1, dirty);
    if (!dirty.meta.empty()) meta = dirty.meta;
    for (const auto& [key, row] : dirty.rows) {
      if (row.empty()) {
        rows.erase(key);
      } else {
        rows[key] = row;
      }
    }
  }
  Said(Ask(SyncAsk::kAccept, 7, "b"));

  FakeHost again_host;
  base::Random again_random{3};
  Elector again(again_host, "eu", again_random);
  ASSERT_TRUE(again.LoadMeta(meta));
  for (const auto& [key, row] : rows)
    ASSERT_TRUE(again.LoadRow(key, row));
  for (size_t i = start; i < host.log.size(); ++i)
    ASSERT_TRUE(again.Replay(host.log[i]));
  again.Start();
  EXPECT_EQ(again.seat(), elector.seat());
  EXPECT_EQ(again.floor(), elector.floor());
  EXPECT_EQ(again.electorate(), elector.electorate());
  EXPECT_EQ(again.votes(), elector.votes());
  EXPECT_EQ(again.rows(), 2U);
  for (const char* key : {"a", "b"})
    EXPECT_EQ(*again.Find({0, key}), *elector.Find({0, key})) << key;
}

TEST_F(ElectorTest, ANewSeatTakesTheRowsOfTheStoreWithIt) {
  Said(Ask(SyncAsk::kAccept, 5));
  Elector::Dirty before;
  elector.TakeDirty(10, before);
  elector.NewSeat();
  Elector::Dirty after;
  elector.TakeDirty(10, after);
  EXPECT_TRUE(after.all_gone);
  EXPECT_TRUE(after.rows.empty());
}

TEST(VoteRecords, GoldenBytesAreReadForEver) {
  wire::Electorate electorate;
  electorate.epoch = 3;
  electorate.now = {{"eu", 1}, {"us", 2}};
  VoteRow row{.promised = BallotOf(9), .accepted = BallotOf(8)};
  row.tuple.version = BallotOf(2, "us");
  row.tuple.chain = {{BallotOf(1), BallotOf(2, "us")}};
  row.tuple.deps = {{{"asia", 1}, 17}};
  row.tuple.absent = false;
  row.tuple.value = "v";
  const std::vector<Vote> votes = {
      {.kind = VoteRecord::kPromise,
       .number = 1,
       .key = {3, "k"},
       .row = {.promised = BallotOf(9)}},
      {.kind = VoteRecord::kAccept, .number = 2, .key = {3, "k"}, .row = row},
      {.kind = VoteRecord::kDrop, .number = 3, .key = {3, "k"}, .floor = BallotOf(9)},
      {.kind = VoteRecord::kSeat, .number = 4, .seat = 0x1234},
      {.kind = VoteRecord::kElectorate,
       .number = 5,
       .floor = BallotOf(9),
       .electorate = electorate}};
  const VoteMeta meta{.seat = 7, .number = 5, .floor = BallotOf(9), .electorate = electorate};
  std::string bytes;
  for (const Vote& vote : votes)
    base::PutBytes(bytes, Encode(vote));
  base::PutBytes(bytes, Encode(row));
  base::PutBytes(bytes, Encode(meta));
  const std::string golden = base::CheckGolden(
      "votes_1",
      "an elector's local records, a row and what is kept once, each with its size",
      bytes);
  base::Reader in(golden);
  for (const Vote& vote : votes) {
    Vote back;
    ASSERT_TRUE(Decode(in.Bytes(), back));
    EXPECT_EQ(back.kind, vote.kind);
    EXPECT_EQ(back.number, vote.number);
    EXPECT_EQ(back.key, vote.key);
    EXPECT_EQ(back.row, vote.row);
    EXPECT_EQ(back.floor, vote.floor);
    EXPECT_EQ(back.seat, vote.seat);
    EXPECT_EQ(back.electorate, vote.electorate);
  }
  VoteRow row_back;
  ASSERT_TRUE(Decode(in.Bytes(), row_back));
  EXPECT_EQ(row_back, row);
  VoteMeta meta_back;
  ASSERT_TRUE(Decode(in.Bytes(), meta_back));
  EXPECT_EQ(meta_back.seat, meta.seat);
  EXPECT_EQ(meta_back.electorate, meta.electorate);
  EXPECT_TRUE(in.ok() && in.empty());
}

TEST(Electorate, QuorumsOfAChangeMeetThoseOfBothSides) {
  wire::Electorate joint;
  joint.epoch = 2;
  joint.now = {{"a", 1}, {"b", 1}, {"c", 1}};
  joint.next = {{"c", 1}, {"d", 1}, {"e", 1}};
  using Seats = std::set<wire::Seat>;
  EXPECT_FALSE(IsQuorum(joint, Seats{{"a", 1}, {"b", 1}}));
  EXPECT_FALSE(IsQuorum(joint, Seats{{"c", 1}, {"d", 1}, {"e", 1}}));
  EXPECT_TRUE(IsQuorum(joint, Seats{{"a", 1}, {"c", 1}, {"d", 1}}));
  EXPECT_TRUE(IsQuorum(joint, Seats{{"a", 1}, {"b", 1}}, /*back=*/true));
  EXPECT_FALSE(IsQuorum(joint, Seats{{"c", 1}, {"d", 1}, {"e", 1}}, /*back=*/true));
  EXPECT_FALSE(IsQuorum(joint, Seats{{"a", 2}, {"b", 2}, {"c", 1}, {"d", 1}}))
      << "other seats of the same leaders";
  EXPECT_TRUE(IsAll(joint, Seats{{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}, {"e", 1}}));
}

TEST(Ballots, HaveNamesThatAreRead) {
  const clock::Ballot ballot{17, {"eu.x", 0x3f2a9c0d11223344}};
  EXPECT_EQ(ballot.ToString(), "17.eu.x.3f2a9c0d11223344");
  EXPECT_EQ(clock::Ballot::Parse(ballot.ToString()), ballot);
  for (const char* bad : {"",
                          "17",
                          "x.eu.3f2a9c0d11223344",
                          "0.eu.3f2a9c0d11223344",
                          "17.eu",
                          "17..3f2a9c0d11223344"})
    EXPECT_EQ(clock::Ballot::Parse(bad), std::nullopt) << bad;
}

}  // namespace
}  // namespace polyarch::sync
