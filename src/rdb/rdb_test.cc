#include <cmath>
#include <limits>
#include <map>

#include <gtest/gtest.h>

#include "base/codec.h"
#include "base/random.h"
#include "rdb/crc64.h"
#include "rdb/encodings.h"
#include "rdb/lzf.h"
#include "rdb/packed.h"
#include "rdb/value.h"

namespace polyarch::rdb {
namespace {

constexpr size_t kLimit = 1 << 20;

std::string Bytes(std::string_view hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    out.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  return out;
}

Value ReadOk(std::string_view payload) {
  Value value;
  EXPECT_EQ(ReadDump(payload, kLimit, value), ReadStatus::kOk);
  return value;
}

TEST(Rdb, Crc64) {
  EXPECT_EQ(Crc64("123456789"), 0xe9c6d914c4b8d9caU) << "the check value of Jones's CRC";
  EXPECT_EQ(Crc64(""), 0U);
}

// What redis-server 7.0.15 answered to DUMP.
#include "rdb/rdb_test_dumps.inc"

TEST(Rdb, ReadsWhatRedisDumps) {
  for (const auto& [what, hex] : kDumps) {
    SCOPED_TRACE(what);
    const Value value = ReadOk(Bytes(hex));
    // And what is written of it reads the same.
    EXPECT_EQ(ReadOk(WriteDump(value)), value);
    const std::string_view name(what);
    if (name == "int8") {
      EXPECT_EQ(value.text, "-5");
    } else if (name == "int16") {
      EXPECT_EQ(value.text, "-1000");
    } else if (name == "int32") {
      EXPECT_EQ(value.text, "123456789");
    } else if (name == "compressed") {
      EXPECT_EQ(value.text, std::string(1000, 'a'));
    } else if (name == "raw") {
      EXPECT_EQ(value.text, "hello");
    } else if (name == "intset") {
      EXPECT_EQ(value.items, (std::vector<std::string>{"-70000", "-3", "5", "5000000000"}));
    } else if (name == "hash listpack") {
      EXPECT_EQ(value.fields.size(), 5U);
      EXPECT_EQ(value.fields[0], (std::pair<std::string, std::string>("a", "1")));
      EXPECT_EQ(value.fields[1].second, std::string(64, 'x'));
      EXPECT_EQ(value.fields[2].second, "-1234567890123");
      EXPECT_EQ(value.fields[3].second, "4095");
      EXPECT_EQ(value.fields[4].second, "-40000");
    } else if (name == "zset listpack") {
      ASSERT_EQ(value.members.size(), 4U);
      EXPECT_EQ(value.members[1], (std::pair<std::string, double>("b", 1.5)));
      EXPECT_TRUE(std::isinf(value.members[3].second));
    } else if (name == "stream") {
      ASSERT_EQ(value.stream.entries.size(), 3U);
      EXPECT_EQ(value.stream.entries[1].id, (crdt::StreamId{300, 1}));
      EXPECT_EQ(value.stream.entries[1].fields,
                (std::vector<std::string>{"c", "70000", "d", "-5", "e", ""}));
      EXPECT_EQ(value.stream.deleted, (crdt::StreamId{5, 2}));
      EXPECT_EQ(value.stream.added, 4U);
      ASSERT_EQ(value.stream.groups.size(), 2U);
      EXPECT_EQ(value.stream.groups[0].pending[1].consumer, "alice");
      EXPECT_EQ(value.stream.groups[0].pending[2].consumer, "bob");
      EXPECT_EQ(value.stream.groups[1].entries_read, -1);
    } else if (name == "list") {
      EXPECT_EQ(value.items, (std::vector<std::string>{"x", "12", "y"}));
    } else if (name == "set" || name == "hash" || name == "zset") {
      EXPECT_EQ(value.items.size() + value.fields.size() + value.members.size(), 2U);
    }
  }
}

// Any 64 bits may stand for a time; how long ago it was must be a number.
TEST(Rdb, TimesOfStreamsAreNotBefore1970) {
  Value value{.type = crdt::Type::kStream};
  StreamValue::Group& group = value.stream.groups.emplace_back();
  group.name = "g";
  group.consumers.push_back({"c", std::numeric_limits<int64_t>::min()});
  group.pending.push_back({{1, 1}, "c", -1, 1});
  const Value read = ReadOk(WriteDump(value));
  ASSERT_EQ(read.stream.groups.size(), 1U);
  EXPECT_EQ(read.stream.groups[0].consumers[0].seen_ms, 0);
  EXPECT_EQ(read.stream.groups[0].pending[0].delivered_ms, 0);
}

// Of Redis 7.2: small sets as listpacks, streams that tell when a consumer was active last.
TEST(Rdb, ReadsNewerEncodings) {
  std::map<std::string_view, std::string> dumps;
  for (const auto& [what, hex] : kDumps)
    dumps[what] = Bytes(hex);
  std::map<std::string_view, std::string> newer;
  for (const auto& [what, hex] : kDumps72)
    newer[what] = Bytes(hex);
  const Value set = ReadOk(newer["set listpack"]);
  EXPECT_EQ(set.type, crdt::Type::kSet);
  EXPECT_EQ(set.items, (std::vector<std::string>{"a", "12"}));
  EXPECT_EQ(ReadOk(newer["stream 3"]), ReadOk(dumps["stream"])) << "the same in form 2";
  EXPECT_EQ(ReadOk(newer["raw"]).text, "hello");
  // Of whatever comes later nothing is known.
  std::string later = newer["raw"].substr(0, newer["raw"].size() - 10);
  later.append("\x0c\0", 2);
  base::PutFixed64(later, Crc64(later));
  Value value;
  EXPECT_EQ(ReadDump(later, kLimit, value), ReadStatus::kBadSum);
  // Cut off anywhere, and with a member twice.
  const std::string& stream = newer["stream 3"];
  for (size_t size = 0; size < stream.size() - 10; ++size)
    EXPECT_EQ(ReadBody(stream.substr(0, size), kLimit, value), ReadStatus::kMalformed) << size;
  EXPECT_EQ(ReadBody(Bytes("140d0d0000000200816102816102ff"), kLimit, value), ReadStatus::kMalformed);
}

TEST(Rdb, ReadsOlderEncodings) {
  // A ziplist of "ab", 3, -200, 70000, and a hash and a sorted set made of two.
  const std::string ziplist = Bytes("1b000000") + Bytes("13000000") + Bytes("0400") +
                              Bytes("00026162") + Bytes("04f4") + Bytes("02c038ff") +
                              Bytes("04d070110100") + Bytes("ff");
  std::vector<std::string> entries;
  ASSERT_TRUE(ReadZiplist(ziplist, entries));
  EXPECT_EQ(entries, (std::vector<std::string>{"ab", "3", "-200", "70000"}));
  Value value;
  auto packed = [&](Encoding encoding, const std::string& bytes) {
    std::string body(1, static_cast<char>(encoding));
    body.push_back(static_cast<char>(bytes.size()));
    return ReadBody(body + bytes, kLimit, value);
  };
  EXPECT_EQ(packed(Encoding::kHashZiplist, ziplist), ReadStatus::kOk);
  EXPECT_EQ(value.fields[1], (std::pair<std::string, std::string>("-200", "70000")));
  EXPECT_EQ(packed(Encoding::kSortedSetZiplist, ziplist), ReadStatus::kOk);
  EXPECT_EQ(value.members[0], (std::pair<std::string, double>("ab", 3)));
  EXPECT_EQ(packed(Encoding::kListZiplist, ziplist), ReadStatus::kOk);
  EXPECT_EQ(value.items.size(), 4U);
  const std::string zipmap = Bytes("02") + Bytes("0161") +
                             Bytes(
                                 "020078790362636400"
                                 "00ff");
  EXPECT_EQ(packed(Encoding::kHashZipmap, zipmap), ReadStatus::kOk);
  EXPECT_EQ(value.fields,
            (std::vector<std::pair<std::string, std::string>>{{"a", "xy"}, {"bcd", ""}}));
  // Scores as text.
  EXPECT_EQ(ReadBody(Bytes("03"
                           "02"
                           "0161"
                           "03312e35"
                           "0162"
                           "fe"),
                     kLimit,
                     value),
            ReadStatus::kOk);
  EXPECT_EQ(value.members[0].second, 1.5);
  EXPECT_TRUE(std::isinf(value.members[1].second));
}

TEST(Rdb, RefusesWhatIsWrong) {
  Value value{.type = crdt::Type::kString, .text = "hello"};
  const std::string good = WriteDump(value);
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    EXPECT_EQ(ReadDump(bad, kLimit, value), ReadStatus::kBadSum) << i;
    EXPECT_EQ(ReadDump(good.substr(0, i), kLimit, value), ReadStatus::kBadSum) << i;
  }
  auto body = [&](std::string_view hex) {
    return ReadBody(Bytes(hex), kLimit, value);
  };
  EXPECT_EQ(body(""), ReadStatus::kMalformed);
  EXPECT_EQ(body("08"), ReadStatus::kMalformed) << "no such encoding";
  EXPECT_EQ(body("14"), ReadStatus::kMalformed);
  EXPECT_EQ(body("15"), ReadStatus::kMalformed);
  EXPECT_EQ(body("16"), ReadStatus::kMalformed) << "no encoding that is known here";
  EXPECT_EQ(body("0005616263"), ReadStatus::kMalformed) << "cut off";
  EXPECT_EQ(body("00c4"), ReadStatus::kMalformed) << "no such string";
  EXPECT_EQ(body("0200"), ReadStatus::kMalformed) << "an empty set";
  EXPECT_EQ(body("020201610161"), ReadStatus::kMalformed) << "the same member twice";
  EXPECT_EQ(body("0501"
                 "0161"
                 "000000000000f87f"),
            ReadStatus::kMalformed)
      << "NaN";
  EXPECT_EQ(body("0281ffffffffffffffff0161"), ReadStatus::kMalformed);
  EXPECT_EQ(body("0f"), ReadStatus::kMalformed) << "a stream of nothing";
  EXPECT_EQ(body("07"), ReadStatus::kUnsupported);
  EXPECT_EQ(ReadBody(Bytes("000568656c6c6f"), 4, value), ReadStatus::kTooLarge);
}

TEST(Rdb, ACompressedStringCannotClaimMoreThanItMayHold) {
  Value value;
  // Three bytes that stand for 4 GiB.
  EXPECT_NE(ReadBody(Bytes("00c30380ffffffffe00000"), SIZE_MAX, value), ReadStatus::kOk);
  EXPECT_FALSE(LzfUnpack("abc", 100'000));
  EXPECT_FALSE(LzfUnpack("", 1));
}

TEST(Rdb, WhatIsWrittenIsRead) {
  base::Random random(1);
  auto text = [&] {
    static constexpr uint64_t kSizes[] = {3, 60, 70, 20'000};
    return std::string(random.Below(kSizes[random.Below(4)]), static_cast<char>(random.Next()));
  };
  for (int round = 0; round < 300; ++round) {
    Value value{.type = static_cast<crdt::Type>(random.Below(4))};
    if (value.type == crdt::Type::kString) value.text = text();
    for (uint64_t i = 1 + random.Below(40); i > 0 && value.type != crdt::Type::kString; --i) {
      const std::string name = std::to_string(i) + text();
      if (value.type == crdt::Type::kHash) {
        value.fields.emplace_back(name, text());
      } else if (value.type == crdt::Type::kSortedSet) {
        value.members.emplace_back(name, static_cast<double>(random.Next()) / 3);
      } else {
        value.items.push_back(name);
      }
    }
    Value read;
    ASSERT_EQ(ReadDump(WriteDump(value), 4 << 20, read), ReadStatus::kOk);
    ASSERT_EQ(read, value);
  }
}

}  // namespace
}  // namespace polyarch::rdb
