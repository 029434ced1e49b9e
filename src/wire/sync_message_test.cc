#include "wire/sync_message.h"

#include <gtest/gtest.h>

#include "base/golden_test_util.h"
#include "base/random.h"

namespace polyarch::wire {
namespace {

clock::Ballot BallotOf(uint64_t counter, const std::string& leader) {
  return {counter, {leader, 0x1122334455667788}};
}

Electorate ElectorateOf() {
  Electorate e;
  e.epoch = 7;
  e.now = {{"asia", 3}, {"eu", 1}, {"us", 2}};
  e.next = {{"eu", 1}, {"us", 9}};
  e.floor = BallotOf(5, "eu");
  e.rules = "rules";
  return e;
}

Tuple TupleOf() {
  Tuple t;
  t.version = BallotOf(17, "eu");
  t.chain = {{BallotOf(11, "us"), BallotOf(12, "us")}, {BallotOf(16, "eu"), BallotOf(17, "eu")}};
  t.since = BallotOf(9, "asia");
  t.deps = {{{"eu", 4}, 100}, {{"us", 5}, 200}};
  t.hlc = clock::Hlc::FromMs(1'700'000'000'000);
  t.absent = false;
  t.expires_ms = 1'700'000'060'000;
  t.value = "value";
  return t;
}

SyncRequest RequestOf(SyncAsk ask) {
  SyncRequest r;
  r.ask = ask;
  r.proposer = {"eu", 0xabcdef};
  r.round = 12;
  r.seat = 2;
  r.electorate = ElectorateOf();
  r.key = {3, "key"};
  r.ballot = BallotOf(17, "eu");
  r.known = {{1, 99}, {2, 300}};
  if (ask == SyncAsk::kAccept) {
    r.next = BallotOf(18, "eu");
    r.tuple = TupleOf();
  }
  return r;
}

SyncReply ReplyOf(SyncSaid said) {
  SyncReply r;
  r.said = said;
  r.proposer = {"eu", 0xabcdef};
  r.round = 12;
  r.seat = {"us", 2};
  r.vote = 99;
  r.clock_ms = 1'700'000'000'123;
  if (said == SyncSaid::kRefused) {
    r.electorate = ElectorateOf();
    r.promised = BallotOf(20, "us");
  }
  if (said == SyncSaid::kRow) {
    r.accepted = BallotOf(17, "eu");
    r.floor = BallotOf(2, "us");
    r.tuple = TupleOf();
  }
  if (said == SyncSaid::kKeys) {
    r.floor = BallotOf(2, "us");
    r.more = true;
    r.keys = {{0, ""}, {0, "a"}, {15, std::string("\0b", 2)}};
  }
  if (said == SyncSaid::kVotes) {
    r.electorate = ElectorateOf();
    r.known = 301;
  }
  return r;
}

constexpr SyncAsk kAsks[] = {SyncAsk::kPrepare,
                             SyncAsk::kAccept,
                             SyncAsk::kPeek,
                             SyncAsk::kDrop,
                             SyncAsk::kList,
                             SyncAsk::kSeat,
                             SyncAsk::kVotes};
constexpr SyncSaid kSaids[] = {SyncSaid::kRow,
                               SyncSaid::kAccepted,
                               SyncSaid::kRefused,
                               SyncSaid::kKeys,
                               SyncSaid::kSeat,
                               SyncSaid::kDropped,
                               SyncSaid::kVotes};

std::string AllBytes() {
  std::string bytes;
  for (SyncAsk ask : kAsks)
    base::PutBytes(bytes, Encode(RequestOf(ask)));
  for (SyncSaid said : kSaids)
    base::PutBytes(bytes, Encode(ReplyOf(said)));
  return bytes;
}

TEST(SyncMessage, GoldenBytesAreReadForEver) {
  const std::string golden = base::CheckGolden(
      "sync_message_1", "requests and replies of agreement, each with its size", AllBytes());
  base::Reader in(golden);
  for (SyncAsk ask : kAsks) {
    const std::string_view bytes = in.Bytes();
    SyncRequest back;
    EXPECT_EQ(IsSyncRequest(bytes), true);
    ASSERT_TRUE(Decode(bytes, back));
    const SyncRequest wanted = RequestOf(ask);
    EXPECT_EQ(back.ask, wanted.ask);
    EXPECT_EQ(back.proposer, wanted.proposer);
    EXPECT_EQ(back.round, wanted.round);
    EXPECT_EQ(back.seat, wanted.seat);
    EXPECT_EQ(back.electorate, wanted.electorate);
    EXPECT_EQ(back.key, wanted.key);
    EXPECT_EQ(back.ballot, wanted.ballot);
    EXPECT_EQ(back.known, wanted.known);
    EXPECT_EQ(back.next, wanted.next);
    EXPECT_EQ(back.tuple, wanted.tuple);
  }
  for (SyncSaid said : kSaids) {
    const std::string_view bytes = in.Bytes();
    SyncReply back;
    EXPECT_EQ(IsSyncRequest(bytes), false);
    ASSERT_TRUE(Decode(bytes, back));
    const SyncReply wanted = ReplyOf(said);
    EXPECT_EQ(back.said, wanted.said);
    EXPECT_EQ(back.seat, wanted.seat);
    EXPECT_EQ(back.vote, wanted.vote);
    EXPECT_EQ(back.clock_ms, wanted.clock_ms);
    EXPECT_EQ(back.electorate, wanted.electorate);
    EXPECT_EQ(back.promised, wanted.promised);
    EXPECT_EQ(back.accepted, wanted.accepted);
    EXPECT_EQ(back.floor, wanted.floor);
    EXPECT_EQ(back.tuple, wanted.tuple);
    EXPECT_EQ(back.keys, wanted.keys);
    EXPECT_EQ(back.more, wanted.more);
    EXPECT_EQ(back.known, wanted.known);
  }
  EXPECT_TRUE(in.ok() && in.empty());
}

TEST(SyncMessage, WhatIsCutShortIsRefused) {
  for (SyncAsk ask : kAsks) {
    const std::string bytes = Encode(RequestOf(ask));
    SyncRequest back;
    for (size_t n = 0; n < bytes.size(); ++n)
      EXPECT_FALSE(Decode(bytes.substr(0, n), back)) << n;
    EXPECT_FALSE(Decode(bytes + "x", back));
  }
  for (SyncSaid said : kSaids) {
    const std::string bytes = Encode(ReplyOf(said));
    SyncReply back;
    for (size_t n = 0; n < bytes.size(); ++n)
      EXPECT_FALSE(Decode(bytes.substr(0, n), back)) << n;
    EXPECT_FALSE(Decode(bytes + "x", back));
  }
}

TEST(SyncMessage, ForeignBytesDoNoHarm) {
  base::Random random(7);
  const std::string request = Encode(RequestOf(SyncAsk::kAccept));
  const std::string reply = Encode(ReplyOf(SyncSaid::kKeys));
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = i % 2 == 0 ? request : reply;
    for (uint64_t n = random.Below(4); n < 4; ++n)
      bytes[random.Below(bytes.size())] = static_cast<char>(random.Next());
    SyncRequest q;
    SyncReply r;
    if (Decode(bytes, q)) {
      SyncRequest again;
      EXPECT_TRUE(Decode(Encode(q), again));
    }
    if (Decode(bytes, r)) {
      SyncReply again;
      EXPECT_TRUE(Decode(Encode(r), again));
    }
  }
}

TEST(SyncMessage, OfALaterFormatNothingIsRead) {
  std::string bytes = Encode(RequestOf(SyncAsk::kPrepare));
  bytes[0] = static_cast<char>(kSyncFormat + 1);
  SyncRequest back;
  EXPECT_FALSE(Decode(bytes, back));
  EXPECT_EQ(IsSyncRequest(bytes), std::nullopt);
}

}  // namespace
}  // namespace polyarch::wire
