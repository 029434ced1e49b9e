// Messages of state transfers: round trips, damage, and their bytes.
#include "wire/state_message.h"

#include <gtest/gtest.h>

#include "base/golden_test_util.h"
#include "base/random.h"

namespace polyarch::wire {
namespace {

std::string_view Payload(const std::string& message) {
  return std::string_view(message).substr(1);
}

StateChunk Rows() {
  StateChunk m{.id = 0x1111, .generation = 3, .part = StatePart::kRows, .after = "after", .last = true, .end = 9000};
  m.first_name = 2;
  m.names = {{"eu", 0x0123456789abcdef}};
  m.rows = {{"key", "row"}, {"other", ""}};
  return m;
}

StateChunk Stream() {
  StateChunk m{.id = 0x1111, .generation = 4, .part = StatePart::kStream, .from = 1000, .to = 1200, .end = 9000};
  m.frames = {{1048, "frame"}, {1096, "another"}};
  return m;
}

StateChunk Digests() {
  StateChunk m{.id = 0x1111, .generation = 2, .part = StatePart::kDigests, .end = 9000};
  m.rows = {{std::string_view("\0\7", 2), "sixteen bytes of"}, {std::string_view("\1\0", 2), ""}};
  return m;
}

StateChunk Piece() {
  StateChunk m{.id = 0x1111, .generation = 3, .part = StatePart::kRows, .after = "after", .end = 9000};
  m.rows = {{"key", "of it"}};
  m.row_bytes = 100;
  m.row_offset = 30;
  m.row_digest = 0x6666;
  return m;
}

template <typename Message>
void Check(const Message& m, const char* name, const char* what) {
  const std::string bytes = base::CheckGolden(name, what, Encode(m));
  Message read;
  ASSERT_TRUE(Decode(Payload(bytes), read)) << name;
  EXPECT_EQ(Encode(read), bytes) << name;
  for (size_t size = 0; size < bytes.size() - 1; ++size) {
    Message cut;
    EXPECT_FALSE(Decode(Payload(bytes).substr(0, size), cut)) << name << " of " << size;
  }
  Message longer;
  EXPECT_FALSE(Decode(std::string(Payload(bytes)) + "x", longer)) << name;
  base::Random random(1);
  for (int i = 0; i < 5000; ++i) {
    std::string damaged = bytes;
    for (uint64_t n = 1 + random.Below(3); n > 0; --n) {
      damaged[1 + random.Below(damaged.size() - 1)] = static_cast<char>(random.Next());
    }
    Message any;
    if (!Decode(Payload(damaged), any)) continue;
    const std::string once = Encode(any);
    Message again;
    ASSERT_TRUE(Decode(Payload(once), again));
    EXPECT_EQ(Encode(again), once);
  }
}

TEST(StateMessage, Golden) {
  Check(Gap{{"eu", 7}, 4711}, "peer_1_gap", "the log holds nothing of eu up to 4711");
  Check(StateRequest{0x1111, 0x2222, 1000, 2000}, "peer_1_state_request", "go on with a state");
  const std::string row = "checkpoint";
  StateOffer offer{.id = 0x1111, .epoch = 0x2222, .base = 1000, .stamp = 0x3333};
  offer.names = {{"eu", 7}, {"us", 8}};
  offer.checkpoint = row;
  Check(offer, "peer_1_state_offer", "a state is offered");
  Check(StateRefusal{0x1111, RefusalReason::kRestart}, "peer_1_state_refusal", "begin anew");
  Check(StatePull{0x1111, 3, StatePart::kLedger, "after", 2000, 1 << 20, 17}, "peer_1_state_pull", "what follows");
  Check(Rows(), "peer_1_state_chunk_rows", "two rows and an origin");
  Check(Piece(), "peer_1_state_chunk_piece", "bytes 30 to 35 of a row of 100");
  StateChunk base = Piece();
  base.part = StatePart::kBase;
  Check(base, "peer_1_state_chunk_base", "bytes 30 to 35 of a checkpoint row of 100");
  Check(Digests(), "peer_1_state_chunk_digests", "slot 7, and slot 256 that must be sent");
  Check(Stream(), "peer_1_state_chunk_stream", "two frames");
  Check(StateEnd{0x1111}, "peer_1_state_end", "no more is needed");
}

TEST(StateMessage, ARequestSaysWhatIsReflected) {
  StateRequest request{0x1111, 0x2222, 1000, 2000};
  const std::string none = Encode(request);
  request.needed = 3000;
  const std::string some = base::CheckGolden("peer_1_state_request_needed",
                                             "go on with a state that reflects more of the log than has come of it",
                                             Encode(request));
  EXPECT_EQ(some.substr(0, none.size()), none);
  StateRequest read;
  ASSERT_TRUE(Decode(Payload(some), read));
  EXPECT_EQ(read.position, 2000U);
  EXPECT_EQ(read.needed, 3000U);
  ASSERT_TRUE(Decode(Payload(none), read));
  EXPECT_EQ(read.needed, 0U);
  EXPECT_FALSE(Decode(Payload(some).substr(0, some.size() - 2), read));
  EXPECT_FALSE(Decode(Payload(some + '\1'), read));
  request.needed = 2000;
  EXPECT_FALSE(Decode(Payload(Encode(request)), read)) << "that is no more";
}

TEST(StateMessage, AnOfferTellsOfTheLedger) {
  StateOffer offer{.id = 0x1111, .epoch = 0x2222, .base = 1000, .stamp = 0x3333};
  offer.names = {{"eu", 7}};
  offer.checkpoint = "checkpoint";
  const std::string none = Encode(offer);
  offer.ledger = {{3, 0x4444}, {1023, 0x5555}};
  const std::string some =
      base::CheckGolden("peer_1_state_offer_ledger", "an offer with digests of the ledger", Encode(offer));
  EXPECT_EQ(some.substr(0, none.size()), none);
  StateOffer read;
  ASSERT_TRUE(Decode(Payload(some), read));
  EXPECT_EQ(read.ledger, offer.ledger);
  ASSERT_TRUE(Decode(Payload(none), read));
  EXPECT_TRUE(read.ledger.empty());
  for (size_t size = none.size() + 1; size < some.size(); ++size) {
    EXPECT_FALSE(Decode(Payload(some.substr(0, size)), read)) << size;
  }
  offer.ledger = {{1024, 1}};
  EXPECT_FALSE(Decode(Payload(Encode(offer)), read)) << "there is no such bucket";
}

TEST(StateMessage, ALedgerPullNamesBuckets) {
  StatePull pull{1, 1, StatePart::kLedger, "", 0, 1, 17};
  pull.skip.assign(kBucketBitsBytes, '\5');
  StatePull read;
  ASSERT_TRUE(Decode(Payload(Encode(pull)), read));
  EXPECT_EQ(read.skip, pull.skip);
  pull.skip.assign(kSlotBitsBytes, '\5');
  EXPECT_FALSE(Decode(Payload(Encode(pull)), read)) << "those are slots";
}

TEST(StateMessage, APullNamesSlots) {
  StatePull pull{1, 1, StatePart::kRows, "", 0, 1, 17};
  const std::string none = Encode(pull);
  pull.skip.assign(kSlotBitsBytes, '\5');
  const std::string some = Encode(pull);
  EXPECT_EQ(some.substr(0, none.size()), none);
  StatePull read;
  ASSERT_TRUE(Decode(Payload(some), read));
  EXPECT_EQ(read.skip, pull.skip);
  ASSERT_TRUE(Decode(Payload(none), read));
  EXPECT_EQ(read.skip, "");
  EXPECT_FALSE(Decode(Payload(some).substr(0, some.size() - 2), read));
  pull.skip.pop_back();
  EXPECT_FALSE(Decode(Payload(Encode(pull)), read));
}

TEST(StateMessage, APullOfTheLogSaysWhatIsStored) {
  StatePull pull{1, 1, StatePart::kStream, "", 5000, 1, 17};
  const std::string none = Encode(pull);
  pull.stored = 4711;
  const std::string some =
      base::CheckGolden("peer_1_state_pull_stored", "the log up to 4711 is on the receiver's disk", Encode(pull));
  EXPECT_EQ(some.substr(0, none.size()), none);
  StatePull read;
  ASSERT_TRUE(Decode(Payload(some), read));
  EXPECT_EQ(read.stored, 4711U);
  ASSERT_TRUE(Decode(Payload(none), read));
  EXPECT_EQ(read.stored, 0U);
  EXPECT_FALSE(Decode(Payload(some).substr(0, some.size() - 2), read));
  EXPECT_FALSE(Decode(Payload(some + '\1'), read));
}

TEST(StateMessage, NoOtherReasonsAreKnown) {
  StateRefusal read;
  EXPECT_TRUE(Decode(Payload(Encode(StateRefusal{1, RefusalReason::kBroken})), read));
  for (const int reason : {0, static_cast<int>(RefusalReason::kBroken) + 1}) {
    EXPECT_FALSE(Decode(Payload(Encode(StateRefusal{1, static_cast<RefusalReason>(reason)})), read));
  }
}

TEST(StateMessage, APullNamesWhatIsHereOfARow) {
  StatePull pull{1, 1, StatePart::kRows, "a", 0, 1, 17};
  const std::string none = Encode(pull);
  pull.row_offset = 300'000;
  pull.row_digest = 0x6666;
  const std::string some =
      base::CheckGolden("peer_1_state_pull_piece", "what follows in the row behind", Encode(pull));
  EXPECT_EQ(some.substr(0, none.size()), none);
  StatePull read;
  ASSERT_TRUE(Decode(Payload(some), read));
  EXPECT_EQ(read.row_offset, pull.row_offset);
  EXPECT_EQ(read.row_digest, pull.row_digest);
  EXPECT_EQ(read.skip, "");
  for (size_t size = none.size() + 1; size < some.size(); ++size) {
    EXPECT_FALSE(Decode(Payload(some).substr(0, size - 1), read)) << size;
  }
  pull.skip.assign(kSlotBitsBytes, '\5');
  ASSERT_TRUE(Decode(Payload(Encode(pull)), read));
  EXPECT_EQ(read.skip, pull.skip);
  EXPECT_EQ(read.row_offset, pull.row_offset);
}

TEST(StateMessage, APieceIsOneOfARow) {
  StateChunk read;
  const auto refused = [&](auto change) {
    StateChunk m = Piece();
    change(m);
    const std::string bytes = Encode(m);
    return !Decode(Payload(bytes), read);
  };
  EXPECT_FALSE(refused([](StateChunk&) {}));
  EXPECT_TRUE(refused([](StateChunk& m) { m.row_bytes = 34; })) << "beyond its end";
  EXPECT_TRUE(refused([](StateChunk& m) { m.row_offset = 101; }));
  EXPECT_TRUE(refused([](StateChunk& m) { m.row_bytes = kRowBytesMax + 1; }));
  EXPECT_TRUE(refused([](StateChunk& m) { m.rows.front().second = ""; }));
  EXPECT_TRUE(refused([](StateChunk& m) { m.rows.emplace_back("other", "row"); }));
  EXPECT_TRUE(refused([](StateChunk& m) { m.rows.clear(); }));
  EXPECT_TRUE(refused([](StateChunk& m) { m.part = StatePart::kDigests; }));
  EXPECT_TRUE(refused([](StateChunk& m) {
    m.part = StatePart::kBase;
    m.row_bytes = m.row_offset = m.row_digest = 0;
  })) << "a checkpoint row comes in pieces, if only one";
  EXPECT_TRUE(refused([](StateChunk& m) { m.last = true; })) << "more of the row follows";
  EXPECT_FALSE(refused([](StateChunk& m) {
    m.row_bytes = 35;
    m.last = true;
  }));
}

TEST(StateMessage, WhatMakesNoSenseIsRefused) {
  StateRequest request;
  EXPECT_FALSE(Decode(Payload(Encode(StateRequest{})), request)) << "a transfer has a number";
  StateChunk chunk = Stream();
  chunk.frames.back().first = 1300;  // beyond its end
  StateChunk read;
  EXPECT_FALSE(Decode(Payload(Encode(chunk)), read));
  StatePull pull;
  // The row of an element has both names in its key.
  const size_t longest = 5 + 65535 + 1 + 65535;
  EXPECT_TRUE(Decode(Payload(Encode(StatePull{1, 1, StatePart::kRows, std::string(longest, 'k'), 0, 1})), pull));
  EXPECT_FALSE(Decode(Payload(Encode(StatePull{1, 1, StatePart::kRows, std::string(150'000, 'k'), 0, 1})), pull));
}

}  // namespace
}  // namespace polyarch::wire
