// Rows of the store and local records of the log: round trips, damage, and the bytes of format 1.
#include "engine/rows.h"

#include <gtest/gtest.h>

#include "base/golden_test_util.h"
#include "base/hash.h"
#include "base/random.h"
#include "engine/staged.h"

namespace polyarch::engine {
namespace {

crdt::KeyState Everything() {
  crdt::KeyState state;
  state.versions = {{clock::Dot(clock::OriginIndex{0}, 5), clock::Hlc::FromMs(1'700'000'000'000), true, false, "value"},
                    {clock::Dot(clock::OriginIndex{2}, 1), clock::Hlc::FromMs(1'700'000'000'001), false, true, ""}};
  state.counters = {{.origin = clock::OriginIndex{1}, .life = {3, 1}, .at = {9, 0}, .total = crdt::Number::Integer(12),
                     .cleared_at = {4, 0}, .cleared_total = crdt::Number::Integer(2),
                     .cleared_by = clock::Dot(clock::OriginIndex{0}, 4), .hlc = clock::Hlc::FromMs(1'700'000'000'002)},
                    {.origin = clock::OriginIndex{2}, .life = {1, 0}, .at = {1, 0}, .total = {true, 3, -0.5L},
                     .hlc = clock::Hlc::FromMs(1'700'000'000'003)}};
  state.expiries = {{clock::Dot(clock::OriginIndex{1}, 8), clock::Hlc::FromMs(1'700'000'000'004), 1'800'000'000'000},
                    {clock::Dot(clock::OriginIndex{2}, 2), clock::Hlc::FromMs(1'700'000'000'005), crdt::kNever}};
  return state;
}

CheckpointRow Checkpoint() {
  CheckpointRow row{.start = 1000, .identity = {7, "eu", true, 8}, .lease_ms = 9, .nonce = 10, .barrier = 900, .transfer = 11};
  row.floor.Set(clock::OriginIndex{1}, 3);
  row.nonempty.Set(clock::OriginIndex{0}, 5);
  for (uint16_t i = 0; i < 2; ++i) {
    replication::OriginRow& r = row.rows.emplace_back();
    r.last = 5U + i;
    r.chain = 77;
    r.dictionary = wire::Dictionary(clock::OriginIndex{i});
    r.dictionary.Add(clock::OriginIndex{static_cast<uint16_t>(1 - i)});
    r.deps.Set(clock::OriginIndex{static_cast<uint16_t>(1 - i)}, 2);
    r.has_claim = true;
    r.claim.Set(clock::OriginIndex{0}, 1);
    r.waiting.emplace_back(5, r.deps);
    r.clock_ms = 1'700'000'000'000;
  }
  return row;
}

TEST(Rows, CheckpointRow) {
  const std::string bytes = EncodeCheckpoint(Checkpoint());
  CheckpointRow row;
  ASSERT_TRUE(DecodeCheckpoint(bytes, 2, row));
  EXPECT_EQ(EncodeCheckpoint(row), bytes);
  for (size_t size = 0; size < bytes.size(); ++size) {
    CheckpointRow cut;
    EXPECT_FALSE(DecodeCheckpoint(std::string_view(bytes).substr(0, size), 2, cut)) << size;
  }
  CheckpointRow fewer;
  EXPECT_FALSE(DecodeCheckpoint(bytes, 1, fewer)) << "more origins than there are";
}

TEST(Rows, CheckpointRowInAnotherNumbering) {
  // The sender's 0 is our 4, its 1 our 2.
  const std::vector<clock::OriginIndex> map = {clock::OriginIndex{4}, clock::OriginIndex{2}};
  CheckpointRow row = Checkpoint();
  ASSERT_TRUE(Remap(row, map));
  const replication::OriginRow& r = row.rows[0];
  EXPECT_EQ(r.dictionary.At(0), clock::OriginIndex{4});
  EXPECT_EQ(r.dictionary.At(1), clock::OriginIndex{2});
  EXPECT_EQ(r.deps.Get(clock::OriginIndex{2}), 2U);
  EXPECT_EQ(r.claim.Get(clock::OriginIndex{4}), 1U);
  EXPECT_EQ(row.nonempty.Get(clock::OriginIndex{4}), 5U);
  CheckpointRow again = Checkpoint();
  const std::vector<clock::OriginIndex> unknown = {clock::OriginIndex{4}};
  EXPECT_FALSE(Remap(again, unknown));
}

// What vectors have in common is written once, and is the same in any numbering.
TEST(Rows, CheckpointRowOverABase) {
  CheckpointRow row = Checkpoint();
  clock::VersionVector::Base folded = {0, 0, 7, 9, 4};
  row.base = std::make_shared<const clock::VersionVector::Base>(folded);
  row.rows.resize(5, row.rows[0]);
  for (uint16_t i = 2; i < 5; ++i) {
    row.rows[i].dictionary = wire::Dictionary(clock::OriginIndex{i});
    row.rows[i].compact = true;
    row.rows[i].has_claim = false;
    row.rows[i].claim.clear();
    row.rows[i].waiting.clear();
  }
  for (clock::VersionVector* v : {&row.nonempty, &row.rows[0].deps, &row.rows[0].claim, &row.rows[1].waiting[0].second}) {
    for (uint16_t i = 2; i < 5; ++i) v->Set(clock::OriginIndex{i}, folded[i]);
  }
  row.rows[0].claim.Set(clock::OriginIndex{3}, 0);  // the base has more than this
  const std::string bytes = EncodeCheckpoint(row);
  CheckpointRow read;
  ASSERT_TRUE(DecodeCheckpoint(bytes, 5, read));
  EXPECT_EQ(EncodeCheckpoint(read), bytes);
  EXPECT_EQ(read.nonempty, row.nonempty);
  EXPECT_EQ(read.nonempty.entries().size(), 1U) << "what differs from the base";
  EXPECT_EQ(read.rows[0].claim, row.rows[0].claim);
  EXPECT_EQ(read.rows[1].waiting[0].second, row.rows[1].waiting[0].second);
  EXPECT_TRUE(read.rows[4].compact);
  EXPECT_FALSE(read.rows[4].has_claim);
  EXPECT_EQ(read.rows[4].deps.base(), nullptr);
  std::vector<clock::OriginIndex> map;
  for (uint16_t i : {9, 3, 0, 1, 7}) map.push_back(clock::OriginIndex{i});
  ASSERT_TRUE(Remap(read, map));
  EXPECT_EQ(read.rows[0].claim.Get(clock::OriginIndex{0}), 7U);
  EXPECT_EQ(read.rows[0].claim.Get(clock::OriginIndex{1}), 0U);
  EXPECT_EQ(read.rows[0].claim.Get(clock::OriginIndex{7}), 4U);
  EXPECT_EQ(read.rows[0].claim.Get(clock::OriginIndex{9}), 1U);
  EXPECT_EQ(read.nonempty.base(), read.rows[0].claim.base()) << "still over one base";
  for (size_t size = 0; size < bytes.size(); ++size) {
    CheckpointRow cut;
    EXPECT_FALSE(DecodeCheckpoint(std::string_view(bytes).substr(0, size), 5, cut)) << size;
  }
}

TEST(Rows, FoldRecords) {
  const clock::Origin origin{"eu~12ab", 0x0123456789abcdefULL};
  clock::Origin read;
  uint64_t sequence = 0;
  ASSERT_TRUE(ParseFoldedKey(FoldedKey(origin, 17), read, sequence));
  EXPECT_EQ(read, origin);
  EXPECT_EQ(sequence, 17U);
  for (const char* bad : {"folded/", "folded/eu.0123456789abcdef", "folded/eu.0123456789abcdef:", "folded/eu.0123:4",
                          "folded/eu.0123456789abcdef:0", "folded/eu.0123456789abcdef:-3",
                          "folded/eu.0123456789abcdef:281474976710656", "folded/.0123456789abcdef:4"}) {
    EXPECT_FALSE(ParseFoldedKey(bad, read, sequence)) << bad;
  }
}

TEST(Rows, StatesInAnotherNumbering) {
  crdt::KeyState state = Everything();
  const std::vector<clock::OriginIndex> map = {clock::OriginIndex{9}, clock::OriginIndex{0}, clock::OriginIndex{3}};
  ASSERT_TRUE(Remap(state, map));
  ASSERT_EQ(state.versions.size(), 2U);
  EXPECT_EQ(state.versions[0].dot, clock::Dot(clock::OriginIndex{3}, 1)) << "in the order of our dots";
  EXPECT_EQ(state.versions[1].dot, clock::Dot(clock::OriginIndex{9}, 5));
  EXPECT_EQ(state.counters[0].origin, clock::OriginIndex{0});
  EXPECT_EQ(state.counters[0].cleared_by, clock::Dot(clock::OriginIndex{9}, 4));
  EXPECT_EQ(state.counters[1].origin, clock::OriginIndex{3});
  EXPECT_EQ(state.expiries[0].dot, clock::Dot(clock::OriginIndex{0}, 8));
  DataRow again;
  EXPECT_TRUE(DecodeDataRow(EncodeDataRow(5, state), again));
  const std::vector<clock::OriginIndex> unknown = {clock::OriginIndex{0}, clock::kNoOrigin, clock::OriginIndex{2}};
  state = Everything();
  EXPECT_FALSE(Remap(state, unknown));
}

crdt::KeyState WithElement() {
  crdt::KeyState state = Everything();
  crdt::Element element;
  static_cast<crdt::Register&>(element) = state;
  element.type = crdt::Type::kSet;
  element.name = "m";
  state.elements.push_back(element);
  return state;
}

TEST(Rows, KeysOfRows) {
  for (const std::string& key : {std::string(), std::string("k"), std::string("a{tag}b"), std::string(65'535, 'x'),
                                 std::string("\0\xff\0", 3)}) {
    const std::string row_key = DataRowKey(16, key);
    DataRowName read;
    ASSERT_TRUE(ParseDataRowKey(row_key, read));
    EXPECT_EQ(read.db, 16);
    EXPECT_EQ(read.key, key);
    EXPECT_EQ(read.type, crdt::Type::kString);
    EXPECT_EQ(static_cast<uint8_t>(row_key[0]) << 8 | static_cast<uint8_t>(row_key[1]), base::KeySlot(key));
    for (size_t size = 0; size < std::min<size_t>(row_key.size(), 100); ++size) {
      EXPECT_FALSE(ParseDataRowKey(std::string_view(row_key).substr(0, size), read));
    }
    EXPECT_FALSE(ParseDataRowKey(row_key + "x", read)) << "no such type";
    EXPECT_FALSE(ParseDataRowKey(row_key + std::string(1, '\0'), read)) << "no such type";
    for (const std::string& element : {std::string(), std::string("m"), std::string("\0\xff", 2)}) {
      const std::string of = ElementRowKey(16, key, crdt::Type::kSet, element);
      EXPECT_TRUE(of.starts_with(ElementRowPrefix(16, key, crdt::Type::kSet)));
      EXPECT_LT(row_key, of) << "a key's own row comes first";
      ASSERT_TRUE(ParseDataRowKey(of, read));
      EXPECT_EQ(read.key, key);
      EXPECT_EQ(read.type, crdt::Type::kSet);
      EXPECT_EQ(read.element, element);
      EXPECT_EQ(RowKeyOf(read), of);
    }
  }
  std::string bad = DataRowKey(0, "k");
  bad[2] = 17;
  DataRowName read;
  EXPECT_FALSE(ParseDataRowKey(bad, read)) << "no such database";
}

TEST(Rows, ElementRow) {
  const std::string row = EncodeElementRow(42, Everything());
  log::Position position = 0;
  crdt::Register state;
  ASSERT_TRUE(DecodeElementRow(row, position, state));
  EXPECT_EQ(position, 42U);
  EXPECT_EQ(state, static_cast<const crdt::Register&>(Everything()));
  for (size_t size = 0; size < row.size(); ++size)
    EXPECT_FALSE(DecodeElementRow(std::string_view(row).substr(0, size), position, state)) << size;
  EXPECT_FALSE(DecodeElementRow(row + "x", position, state));
  EXPECT_FALSE(DecodeElementRow(EncodeElementRow(42, {}), position, state)) << "it says nothing";
}

TEST(Rows, WhatRowsReflect) {
  RowPositions positions;
  auto reflects = [&](crdt::Type type, std::string_view element, log::Position end) {
    return positions.Reflect(0, "k", type, element, end);
  };
  EXPECT_FALSE(reflects(crdt::Type::kString, "", 1));
  positions.Note({.db = 0, .key = "k"}, 100, 1 << static_cast<int>(crdt::Type::kSet));
  EXPECT_TRUE(reflects(crdt::Type::kString, "", 100));
  EXPECT_FALSE(reflects(crdt::Type::kString, "", 101));
  EXPECT_TRUE(reflects(crdt::Type::kHash, "f", 100)) << "fields are in the key's row";
  EXPECT_FALSE(reflects(crdt::Type::kHash, "f", 101));
  EXPECT_FALSE(reflects(crdt::Type::kSet, "m", 1)) << "members have rows of their own; this one has none";
  positions.Note({.db = 0, .key = "k", .type = crdt::Type::kSet, .element = "m"}, 50, 0);
  EXPECT_TRUE(reflects(crdt::Type::kSet, "m", 50));
  EXPECT_FALSE(reflects(crdt::Type::kSet, "m", 51));
  EXPECT_FALSE(reflects(crdt::Type::kSet, "n", 50));
  EXPECT_FALSE(positions.Reflect(1, "k", crdt::Type::kString, "", 1));
}

TEST(Rows, DataRow) {
  const std::string row = EncodeDataRow(123'456'789, Everything(), 6);
  DataRow data;
  ASSERT_TRUE(DecodeDataRow(row, data));
  EXPECT_EQ(data.position, 123'456'789U);
  EXPECT_EQ(data.state, Everything());
  EXPECT_EQ(data.spilled, 6);
  for (size_t size = 0; size < row.size(); ++size) {
    EXPECT_FALSE(DecodeDataRow(std::string_view(row).substr(0, size), data)) << size;
  }
  EXPECT_FALSE(DecodeDataRow(row + "x", data));
  base::Random random(1);
  for (int i = 0; i < 50'000; ++i) {
    std::string damaged = row;
    for (uint64_t n = 1 + random.Below(4); n > 0; --n) damaged[random.Below(row.size())] = static_cast<char>(random.Next());
    if (!DecodeDataRow(damaged, data)) continue;
    DataRow again;
    ASSERT_TRUE(DecodeDataRow(EncodeDataRow(data.position, data.state, data.spilled), again));
    ASSERT_EQ(again.state, data.state);
  }
}

TEST(Rows, OriginRow) {
  const std::string row = EncodeOriginRow({"eu", 77});
  clock::Origin origin;
  ASSERT_TRUE(DecodeOriginRow(row, origin));
  EXPECT_EQ(origin, (clock::Origin{"eu", 77}));
  for (size_t size = 0; size < row.size(); ++size) EXPECT_FALSE(DecodeOriginRow(row.substr(0, size), origin));
  EXPECT_LT(OriginRowKey(1), OriginRowKey(2));
  EXPECT_LT(OriginRowKey(255), OriginRowKey(256)) << "a scan gives them in the order of their indices";
}

TEST(Rows, LocalRecords) {
  Local local;
  for (const std::string& record : {EncodeLease(99), EncodeIdentity({1, "eu", true, 2}),
                                    EncodeCutOver({3, 4}), EncodeStart(5)}) {
    EXPECT_TRUE(DecodeLocal(record, local));
    for (size_t size = 0; size < record.size(); ++size) {
      EXPECT_FALSE(DecodeLocal(record.substr(0, size), local));
    }
    EXPECT_FALSE(DecodeLocal(record + "x", local));
  }
  EXPECT_FALSE(DecodeLocal("\x05", local)) << "a kind that a later version has";
}

TEST(Rows, VectorsAsText) {
  clock::OriginTable origins;
  clock::VersionVector vv;
  vv.Set(origins.Intern({"eu", 1}), 5);
  vv.Set(origins.Intern({"a.b-c", 2}), 1);
  EXPECT_EQ(ParseVector(vv.ToString(origins), origins), vv);
  const size_t known = origins.size();
  const clock::VersionVector odd = ParseVector(
      "  x eu:3 eu.1:4 eu.0000000000000001: eu.0000000000000001:-5 eu.0000000000000001:9 :1 .0000000000000001:x ", origins);
  EXPECT_EQ(odd.Get(*origins.Find({"eu", 1})), 9U) << "unreadable words are passed over";
  EXPECT_TRUE(ParseVector("us.0000000000000001:3", origins).empty());
  EXPECT_EQ(origins.size(), known);
}

TEST(Golden, RowsAndRecords) {
  DataRow data;
  ASSERT_TRUE(DecodeDataRow(
      base::CheckGolden("row_2_data",
                        "a row: two versions, two counters, two expiries, an element",
                        EncodeDataRow(123'456'789, WithElement(), 1 << static_cast<int>(crdt::Type::kHash))),
      data));
  EXPECT_EQ(data.position, 123'456'789U);
  EXPECT_EQ(data.state, WithElement());
  EXPECT_EQ(data.spilled, 2);
  // What an earlier version wrote.
  ASSERT_TRUE(DecodeDataRow(base::ReadGolden("row_1_data"), data));
  EXPECT_EQ(data.state, Everything());
  EXPECT_EQ(data.spilled, 0);

  DataRowName name;
  const std::string row_key = base::CheckGolden("row_1_key", "the key of the row of user:{42}:name in database 3",
                                                DataRowKey(3, "user:{42}:name"));
  ASSERT_TRUE(ParseDataRowKey(row_key, name));
  EXPECT_EQ(name.db, 3);
  EXPECT_EQ(name.key, "user:{42}:name");
  const std::string element_key = base::CheckGolden("row_2_element_key", "the key of the row of member m of set s in database 3",
                                                    ElementRowKey(3, "s", crdt::Type::kSet, "m"));
  ASSERT_TRUE(ParseDataRowKey(element_key, name));
  EXPECT_EQ(name.element, "m");

  clock::Origin origin;
  ASSERT_TRUE(DecodeOriginRow(base::CheckGolden("row_1_origin", "the row of an origin",
                                                EncodeOriginRow({"eu", 0x0123456789abcdef})), origin));
  EXPECT_EQ(origin, (clock::Origin{"eu", 0x0123456789abcdef}));

  Local local;
  ASSERT_TRUE(DecodeLocal(base::CheckGolden("local_1_lease", "a lease of the clock", EncodeLease(1'700'000'010'000)),
                          local));
  EXPECT_EQ(local.type, LocalRecord::kLease);
  EXPECT_EQ(local.lease_ms, 1'700'000'010'000U);
  ASSERT_TRUE(DecodeLocal(base::CheckGolden("local_1_identity", "who this directory belongs to",
                                            EncodeIdentity({0x1111, "eu~1a2b3c", true, 0x2222})),
                          local));
  EXPECT_EQ(local.type, LocalRecord::kIdentity);
  const Identity& identity = local.identity;
  EXPECT_EQ(identity.cluster, 0x1111U);
  EXPECT_EQ(identity.leader, "eu~1a2b3c");
  EXPECT_TRUE(identity.admitted);
  EXPECT_EQ(identity.join_nonce, 0x2222U);

  ASSERT_TRUE(DecodeLocal(base::CheckGolden("local_1_cut_over", "another leader's state was taken over",
                                            EncodeCutOver({0x3333, 123'456})), local));
  EXPECT_EQ(local.type, LocalRecord::kCutOver);
  EXPECT_EQ(local.cut_over.transfer, 0x3333U);
  EXPECT_EQ(local.cut_over.position, 123'456U);
  ASSERT_TRUE(DecodeLocal(base::CheckGolden("local_1_start", "a process began", EncodeStart(0x4444)), local));
  EXPECT_EQ(local.type, LocalRecord::kStart);
  EXPECT_EQ(local.nonce, 0x4444U);

  StagedProgress progress{.id = 1, .sender = "us", .epoch = 2, .base = 3, .part = wire::StatePart::kLedger,
                          .after = "key", .position = 4, .needed = 5, .stamp = 6, .bytes = 7};
  StagedProgress read;
  ASSERT_TRUE(DecodeProgress(base::CheckGolden("row_1_transfer", "how far a state transfer has come",
                                               EncodeProgress(progress)), read));
  EXPECT_EQ(EncodeProgress(read), EncodeProgress(progress));

  CheckpointRow row = Checkpoint();
  CheckpointRow old;
  ASSERT_TRUE(DecodeCheckpoint(base::ReadGolden("row_2_checkpoint"), 2, old));
  EXPECT_EQ(EncodeCheckpoint(old), EncodeCheckpoint(row)) << "version 2 is read";
  row.base = std::make_shared<const clock::VersionVector::Base>(clock::VersionVector::Base{0, 2});
  row.rows[1].ended = row.rows[1].compact = true;
  row.rows[1].has_claim = false;
  row.rows[1].claim.clear();
  row.rows[1].waiting.clear();
  CheckpointRow again;
  ASSERT_TRUE(DecodeCheckpoint(
      base::CheckGolden("row_3_checkpoint", "a checkpoint of two origins, one of them folded", EncodeCheckpoint(row)),
      2, again));
  EXPECT_EQ(EncodeCheckpoint(again), EncodeCheckpoint(row));
  EXPECT_EQ(again.barrier, row.barrier);
}

}  // namespace
}  // namespace polyarch::engine
