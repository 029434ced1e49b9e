#include <algorithm>
#include <map>

#include <gtest/gtest.h>

#include "base/codec.h"
#include "base/random.h"
#include "rdb/crc64.h"
#include "rdb/file_reader.h"
#include "rdb/file_writer.h"
#include "rdb/libraries.h"
#include "rdb/put.h"
#include "rdb/stream.h"
#include "rdb/value.h"

namespace polyarch::rdb {
namespace {

#include "rdb/file_test_dump.inc"

constexpr size_t kLimit = 1 << 24;

std::string Bytes(std::string_view hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    out.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  return out;
}

class Source : public FileSource {
 public:
  // `step`: how many bytes come at a time.
  explicit Source(std::string_view bytes, size_t step = SIZE_MAX) : bytes_(bytes), step_(step) {}
  base::Result<size_t> Read(char* into, size_t size) override {
    const size_t part = std::min({size, bytes_.size() - at_, step_});
    bytes_.copy(into, part, at_);
    at_ += part;
    return part;
  }

 private:
  std::string_view bytes_;
  size_t step_;
  size_t at_ = 0;
};

struct Read {
  std::map<std::pair<uint64_t, std::string>, Value> values;
  std::map<std::string, int64_t> expiries;
  std::map<std::string, std::string> aux;
  std::vector<std::string> libraries;
  std::vector<std::string> modules;
  size_t pieces = 0;
  uint64_t oversize = 0;
  size_t largest = 0;
  uint64_t end = 0;
};

// Puts a piece to those before it.
void Join(Value& value, Value&& piece, bool first) {
  if (first) {
    value = std::move(piece);
    return;
  }
  for (std::string& item : piece.items)
    value.items.push_back(std::move(item));
  for (auto& field : piece.fields)
    value.fields.push_back(std::move(field));
  for (auto& member : piece.members)
    value.members.push_back(std::move(member));
  std::vector<StreamValue::Entry> entries = std::move(value.stream.entries);
  entries.insert(entries.end(), piece.stream.entries.begin(), piece.stream.entries.end());
  value.stream = std::move(piece.stream);
  value.stream.entries = std::move(entries);
}

base::Status ReadAll(FileSource& source,
                     ReaderLimits limits,
                     Read& out,
                     bool* malformed = nullptr) {
  FileReader reader(source, limits);
  FileItem item;
  uint64_t database = 0;
  for (;;) {
    if (base::Status s = reader.Next(item); !s.ok()) return s;
    switch (item.kind) {
      case FileItem::Kind::kEnd:
        out.end = reader.position();
        return {};
      case FileItem::Kind::kAux:
        out.aux[item.name] = item.text;
        break;
      case FileItem::Kind::kDatabase:
        database = item.database;
        break;
      case FileItem::Kind::kLibrary:
        out.libraries.push_back(item.text);
        break;
      case FileItem::Kind::kModule:
        out.modules.push_back(item.name);
        break;
      case FileItem::Kind::kValue: {
        ++out.pieces;
        out.largest = std::max(out.largest, item.text.size());
        out.oversize = std::max(out.oversize, item.oversize);
        if (item.expire_ms) out.expiries[item.name] = *item.expire_ms;
        Value value;
        const ReadStatus status = item.first && item.last ? ReadBody(item.text, kLimit, value)
                                                          : ReadPiece(item.text, kLimit, value);
        if (status != ReadStatus::kOk) {
          if (malformed == nullptr) return base::Corrupt("value of " + item.name);
          *malformed = true;
          break;
        }
        Join(out.values[{database, item.name}], std::move(value), item.first);
        break;
      }
    }
  }
}

Read ReadOk(std::string_view bytes, ReaderLimits limits = {}, size_t step = SIZE_MAX) {
  Source source(bytes, step);
  Read read;
  const base::Status status = ReadAll(source, limits, read);
  EXPECT_TRUE(status.ok()) << status.message();
  return read;
}

base::Status StatusOf(std::string_view bytes, ReaderLimits limits = {}) {
  Source source(bytes);
  Read read;
  return ReadAll(source, limits, read);
}

TEST(RdbFile, ReadsWhatRedisSaves) {
  const std::string file = Bytes(kFile);
  const Read read = ReadOk(file);
  EXPECT_EQ(read.end, file.size());
  EXPECT_EQ(read.aux.at("redis-ver"), "7.0.15");
  EXPECT_EQ(read.values.size(), 19U);
  EXPECT_EQ(read.values.at({0, "packed"}).text, std::string(1000, 'a'));
  EXPECT_EQ(read.values.at({0, "long"}).text, "12345678901234");
  EXPECT_EQ(read.expiries, (std::map<std::string, int64_t>{{"later", 4'102'444'800'000}}));
  EXPECT_EQ(read.values.at({0, "list"}).items.size(), 22U);
  EXPECT_EQ(read.values.at({0, "list"}).items[21], "-70000");
  EXPECT_EQ(read.values.at({0, "intset"}).items, (std::vector<std::string>{"-3", "1", "70000"}));
  EXPECT_EQ(read.values.at({0, "set"}).items.size(), 10U);
  EXPECT_EQ(read.values.at({0, "hash"}).fields.size(), 10U);
  EXPECT_EQ(read.values.at({0, "hash listpack"}).fields[1].second, std::string(64, 'x'));
  EXPECT_EQ(read.values.at({0, "zset"}).members.size(), 10U);
  const StreamValue& stream = read.values.at({0, "stream"}).stream;
  EXPECT_EQ(stream.entries.size(), 4U);
  ASSERT_EQ(stream.groups.size(), 1U);
  EXPECT_EQ(stream.groups[0].consumers.size(), 2U);
  EXPECT_EQ(stream.groups[0].pending.size(), 2U);
  EXPECT_EQ(read.values.at({3, "other"}).text, "db3");
  EXPECT_TRUE(read.values.count({3, "hll"}));
  ASSERT_EQ(read.libraries.size(), 1U);
  EXPECT_TRUE(read.libraries[0].starts_with("#!lua name=lib"));
}

TEST(RdbFile, TheSameHoweverItComesAndInWhateverPieces) {
  const std::string file = Bytes(kFile);
  const Read whole = ReadOk(file);
  for (const size_t step : {1, 3, 100})
    EXPECT_EQ(ReadOk(file, {}, step).values, whole.values) << step;
  for (const size_t piece : {1, 50, 100, 300}) {
    ReaderLimits limits;
    limits.piece_bytes = piece;
    const Read pieces = ReadOk(file, limits, 7);
    EXPECT_EQ(pieces.values, whole.values) << piece;
    EXPECT_EQ(pieces.expiries, whole.expiries);
    if (piece == 1) {
      EXPECT_GT(pieces.pieces, whole.pieces + 30);
    }
  }
}

// A source may go on behind the file: what it says then is not read for the file.
TEST(RdbFile, EndsWhereItEnds) {
  const std::string file = Bytes(kFile);
  EXPECT_EQ(ReadOk(file + "*1\r\n$4\r\nPING\r\n").end, file.size());
}

TEST(RdbFile, WhatIsCutOffIsAnError) {
  const std::string file = Bytes(kFile);
  for (size_t size = 0; size < file.size(); ++size) {
    const base::Status status = StatusOf(file.substr(0, size));
    ASSERT_EQ(status.code(), base::Code::kCorrupt) << size;
  }
}

TEST(RdbFile, WhatIsDamagedIsAnError) {
  const std::string file = Bytes(kFile);
  for (size_t i = 0; i < file.size(); ++i) {
    for (const int mask : {1, 0x80, 0xff}) {
      std::string bad = file;
      bad[i] = static_cast<char>(bad[i] ^ mask);
      ASSERT_FALSE(StatusOf(bad).ok()) << i << " " << mask;
    }
  }
}

// A file that was written without a checksum: damage may come out as other values, and as nothing
// worse.
TEST(RdbFile, DamageWithoutAChecksumIsNothingUndefined) {
  std::string file = Bytes(kFile);
  std::fill(file.end() - 8, file.end(), '\0');
  EXPECT_EQ(ReadOk(file).values.size(), 19U);
  base::Random random(1);
  size_t refused = 0;
  constexpr int kRounds = 5000;
  for (int round = 0; round < kRounds; ++round) {
    std::string bad = file;
    for (uint64_t n = 1 + random.Below(3); n > 0; --n)
      bad[random.Below(bad.size())] = static_cast<char>(random.Next());
    if (random.Percent(20)) bad.resize(random.Below(bad.size()));
    ReaderLimits limits;
    limits.piece_bytes = 1 + random.Below(2000);
    Source source(bad, 1 + random.Below(500));
    Read read;
    bool malformed = false;
    if (!ReadAll(source, limits, read, &malformed).ok() || malformed) ++refused;
    ASSERT_LE(read.largest, bad.size() + 100) << "nothing is longer than what is there";
  }
  EXPECT_GT(refused, size_t{kRounds} / 2);
}

std::string OneValue(std::string_view body) {
  FileWriter writer;
  writer.Database(2);
  writer.Key("k", body, std::nullopt);
  writer.End();
  return writer.Take();
}

TEST(RdbFile, WhatIsWrittenIsRead) {
  FileWriter writer;
  writer.Aux("redis-ver", "7.0.15");
  const std::string_view library = "#!lua name=x";
  std::string libraries;
  WriteLibrariesBody({&library, 1}, libraries);
  writer.Libraries(libraries);
  std::map<std::pair<uint64_t, std::string>, Value> wanted;
  std::string file;
  for (const auto& [of, value] : ReadOk(Bytes(kFile)).values) {
    std::string body;
    WriteBody(value, body);
    writer.Database(static_cast<int>(of.first));
    writer.Key(of.second, body, 1000 + static_cast<int64_t>(of.first));
    wanted[of] = value;
    file += writer.Take();
  }
  writer.End();
  file += writer.Take();
  const Read read = ReadOk(file);
  EXPECT_EQ(read.values, wanted);
  EXPECT_EQ(read.expiries.at("other"), 1003);
  EXPECT_EQ(read.libraries, (std::vector<std::string>{std::string(library)}));
  file[20] = static_cast<char>(file[20] ^ 1);
  EXPECT_FALSE(StatusOf(file).ok()) << "its checksum is looked at";
}

TEST(RdbFile, CollectionsAreWrittenElementByElement) {
  FileWriter writer;
  writer.Begin("l", crdt::Type::kList, 2, std::nullopt);
  std::string elements;
  PutElement(elements, "a");
  PutElement(elements, "b");
  writer.Elements(elements);
  writer.Begin("h", crdt::Type::kHash, 1, 77);
  elements.clear();
  PutElement(elements, "f", std::string_view("v"));
  writer.Elements(elements);
  writer.Begin("z", crdt::Type::kSortedSet, 1, std::nullopt);
  elements.clear();
  PutElement(elements, "m", -2.5);
  writer.Elements(elements);
  writer.Begin("s", crdt::Type::kSet, 1, std::nullopt);
  elements.clear();
  PutElement(elements, "x");
  writer.Elements(elements);
  writer.End();
  const Read read = ReadOk(writer.Take());
  EXPECT_EQ(read.values.at({0, "l"}).items, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(read.values.at({0, "h"}).fields[0].second, "v");
  EXPECT_EQ(read.values.at({0, "z"}).members[0].second, -2.5);
  EXPECT_EQ(read.values.at({0, "s"}).type, crdt::Type::kSet);
  EXPECT_EQ(read.expiries, (std::map<std::string, int64_t>{{"h", 77}}));
}

TEST(RdbFile, OlderEncodingsAndOpcodes) {
  const std::string real = Bytes("1b00000013000000040000026162") + Bytes("04f4") +
                           Bytes("02c038ff") + Bytes("04d070110100ff");
  for (const Encoding encoding :
       {Encoding::kHashZiplist, Encoding::kSortedSetZiplist, Encoding::kListZiplist}) {
    std::string body(1, static_cast<char>(encoding));
    PutString(body, real);
    EXPECT_EQ(ReadOk(OneValue(body)).values.size(), 1U);
  }
  std::string zipmap = "\x09";
  PutString(zipmap, Bytes("02016102007879036263640000ff"));
  EXPECT_EQ(ReadOk(OneValue(zipmap)).values.at({2, "k"}).fields[0].second, "xy");
  // A quicklist of ziplists.
  std::string quicklist = "\x0e\x02";
  PutString(quicklist, real);
  PutString(quicklist, real);
  EXPECT_EQ(ReadOk(OneValue(quicklist)).values.at({2, "k"}).items.size(), 8U);
  ReaderLimits limits;
  limits.piece_bytes = 1;
  EXPECT_EQ(ReadOk(OneValue(quicklist), limits).values.at({2, "k"}).items.size(), 8U);
  // Scores as text.
  const Read scores =
      ReadOk(OneValue(Bytes("03020161") + Bytes("03312e35") + Bytes("0162fe")), limits);
  EXPECT_EQ(scores.values.at({2, "k"}).members[0].second, 1.5);
  EXPECT_EQ(scores.pieces, 2U);
  // Version 6, seconds, idle time, frequency, sizes of tables; no checksum before version 5.
  const std::string old = "REDIS0006" + Bytes("fe00") + Bytes("fb0101") + Bytes("fd00f15365") +
                          Bytes("f80a") + Bytes("f903") + Bytes("00016b0176") + Bytes("ff") +
                          std::string(8, '\0');
  EXPECT_EQ(ReadOk(old).expiries.at("k"), int64_t{0x6553f100} * 1000);
  EXPECT_EQ(ReadOk("REDIS0003" + Bytes("00016b0176ff")).values.size(), 1U);
}

// As Redis 5 and 6 wrote streams: without what was deleted and how much a group has read.
TEST(RdbFile, StreamsOfTheFirstForm) {
  std::vector<StreamValue::Entry> entries;
  for (uint64_t i = 1; i <= 250; ++i)
    entries.push_back({{i, 1}, {"f", std::to_string(i)}});
  const std::vector<StreamNode> nodes = WriteStreamNodes(entries);
  ASSERT_EQ(nodes.size(), 3U);
  std::string body = "\x0f";
  PutLength(body, nodes.size());
  for (const StreamNode& node : nodes) {
    PutString(body, StreamIdBytes(node.first));
    PutString(body, node.listpack);
  }
  for (const uint64_t number : {250, 260, 3, 1})  // entries; last id; groups
    PutLength(body, number);
  PutString(body, "group");
  for (const uint64_t number : {7, 1, 1})  // its last id; pending
    PutLength(body, number);
  body += StreamIdBytes({7, 1});
  base::PutFixed64(body, 12345);
  PutLength(body, 2);  // times delivered
  PutLength(body, 1);  // consumers
  PutString(body, "alice");
  base::PutFixed64(body, 12346);
  PutLength(body, 1);
  body += StreamIdBytes({7, 1});
  for (const size_t piece : {size_t{1}, size_t{1} << 20}) {
    ReaderLimits limits;
    limits.piece_bytes = piece;
    const Read read = ReadOk(OneValue(body), limits, 50);
    EXPECT_EQ(read.pieces, piece == 1 ? 4U : 1U);
    const StreamValue& stream = read.values.at({2, "k"}).stream;
    EXPECT_EQ(stream.entries, entries);
    EXPECT_EQ(stream.last, (crdt::StreamId{260, 3}));
    EXPECT_EQ(stream.added, 250U);
    ASSERT_EQ(stream.groups.size(), 1U);
    EXPECT_EQ(stream.groups[0].entries_read, -1);
    EXPECT_EQ(stream.groups[0].pending[0].consumer, "alice");
    EXPECT_EQ(stream.groups[0].pending[0].count, 2U);
  }
}

TEST(RdbFile, RefusesWithACause) {
  const auto text = [](std::string_view bytes) {
    const base::Status status = StatusOf(bytes);
    EXPECT_FALSE(status.ok());
    return status.message();
  };
  EXPECT_NE(text("").find("shorter than its header"), std::string::npos);
  EXPECT_NE(text("hello, world").find("not an RDB file"), std::string::npos);
  EXPECT_NE(text("REDIS0000\xff").find("not an RDB file"), std::string::npos);
  EXPECT_NE(text("REDIS0012\xff").find("RDB version 12 is of a later Redis"), std::string::npos);
  EXPECT_NE(text("REDIS0010" + Bytes("f7")).find("cut off"), std::string::npos);
  EXPECT_NE(text("REDIS0010" + Bytes("f70106")).find("no such part"), std::string::npos);
  EXPECT_NE(text("REDIS0010" + Bytes("07016b")).find("modules are not supported"),
            std::string::npos);
  EXPECT_NE(text("REDIS0010" + Bytes("f6")).find("release candidate"), std::string::npos);
  EXPECT_NE(text("REDIS0010" + Bytes("08016b")).find("no such encoding: 8"), std::string::npos);
  EXPECT_NE(text("REDIS0010" + Bytes("02016b00")).find("without elements"), std::string::npos);
  // Sizes that are not there take no memory.
  EXPECT_NE(text("REDIS0010" + Bytes("00016b80f0000000")).find("cut off"), std::string::npos);
  EXPECT_NE(text("REDIS0010" + Bytes("0081ffffffffffffffff")).find("a string of"),
            std::string::npos);
  EXPECT_NE(text("REDIS0010" + Bytes("00016b81ffffffffffffffff")).find("a string of"),
            std::string::npos);
  EXPECT_NE(text("REDIS0010" + Bytes("04016b81ffffffffffffffff")).find("cut off"),
            std::string::npos);
}

// What a module keeps beside the keys is passed over, whatever its parts are.
TEST(RdbFile, DataOfModulesIsPassedOver) {
  const std::string module = Bytes("f7817edfe29dd7b1d001") + Bytes("0202") + Bytes("0180ffffffff") +
                             Bytes("0301020304") + Bytes("040102030405060708") +
                             Bytes("0503616263") + Bytes("05c07b") + Bytes("00");
  const Read read =
      ReadOk("REDIS0003" + module + Bytes("00016b0176") + module + Bytes("ff"), {}, 1);
  EXPECT_EQ(read.modules, (std::vector<std::string>{"ft_index0", "ft_index0"}));
  EXPECT_EQ(read.values.size(), 1U);
}

TEST(RdbFile, TellsWhetherSomethingFollows) {
  for (const std::string_view behind : {"", "*"}) {
    const std::string bytes = "REDIS0003" + Bytes("ff") + std::string(behind);
    for (const size_t step : {size_t{1}, SIZE_MAX}) {
      Source source(bytes, step);
      FileReader reader(source, {});
      FileItem item;
      ASSERT_TRUE(reader.Next(item).ok());
      auto ended = reader.Ended();
      ASSERT_TRUE(ended.ok());
      EXPECT_EQ(*ended, behind.empty());
    }
  }
}

TEST(RdbFile, LongStringsArePassedOver) {
  ReaderLimits limits;
  limits.string_bytes_max = 100;
  limits.piece_bytes = 50;
  Value value{.type = crdt::Type::kList,
              .items = {"a", std::string(101, 'x'), "b", std::string(100, 'y')}};
  std::string body;
  WriteBody(value, body);
  const Read read = ReadOk(OneValue(body), limits);
  EXPECT_EQ(read.oversize, 101U);
  EXPECT_EQ(read.values.at({2, "k"}).items,
            (std::vector<std::string>{"a", "", "b", std::string(100, 'y')}));
}

TEST(RdbFile, LargeValuesTakeNoMoreThanAPiece) {
  Value value{.type = crdt::Type::kHash};
  for (int i = 0; i < 100'000; ++i)
    value.fields.emplace_back("field:" + std::to_string(i), std::to_string(i));
  std::string body;
  WriteBody(value, body);
  ReaderLimits limits;
  limits.piece_bytes = 64 << 10;
  const Read read = ReadOk(OneValue(body), limits, 1000);
  EXPECT_EQ(read.values.at({2, "k"}), value);
  EXPECT_GT(read.pieces, 50U);
  EXPECT_LT(read.largest, size_t{64} << 10);
}

}  // namespace
}  // namespace polyarch::rdb
