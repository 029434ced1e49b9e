#include "log/recovery.h"

#include <algorithm>
#include <filesystem>

#include <gtest/gtest.h>

#include "log/format.h"
#include "log/log_test_util.h"
#include "log/segmented_log.h"

namespace polyarch::log {
namespace {

SegmentedLog::Options Small(const TempDir& dir, Position verify_from = 0) {
  SegmentedLog::Options options;
  options.dir = dir.path();
  options.segment_bytes = 16 << 10;
  options.ring_bytes = 8 << 10;
  options.verify_from = verify_from;
  return options;
}

// Records of a log that was closed cleanly; a sync every `sync_every` records (0: only one at the
// end).
std::vector<Copied> Fill(const TempDir& dir,
                         uint64_t count,
                         uint64_t sync_every,
                         bool sync_at_end = true) {
  auto log = SegmentedLog::Open(Small(dir));
  EXPECT_TRUE(log.ok());
  for (uint64_t i = 0; i < count; ++i) {
    (*log)->Append(RecordType::kFrame, Payload(i));
    if (sync_every > 0 && i % sync_every == 0) {
      EXPECT_TRUE((*log)->Sync().ok());
    }
  }
  EXPECT_TRUE(sync_at_end ? (*log)->Sync().ok() : (*log)->Commit().ok());
  return ReadAll(**log, 0);
}

std::string FirstPath(const TempDir& dir) {
  return dir.path() + "/" + SegmentName(0);
}

TEST(Format, RecordsAndHeadersRoundTrip) {
  std::string buffer(RecordBytes(5), 'x');
  EncodeRecord(buffer.data(), 800, 640, RecordType::kLocal, "hello");
  const auto record = DecodeRecord(buffer, 800);
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(record->payload, "hello");
  EXPECT_EQ(record->durable, 640u);
  EXPECT_EQ(record->bytes, 24u);
  EXPECT_FALSE(DecodeRecord(buffer, 808).has_value());  // the same bytes elsewhere
  EXPECT_FALSE(DecodeRecord(std::string(64, '\0'), 0).has_value());
  for (size_t bit = 0; bit < buffer.size() * 8; ++bit) {
    std::string flipped = buffer;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(DecodeRecord(flipped, 800).has_value()) << bit;
  }
  const std::string header = EncodeSegmentHeader(4096, 512, true, "the head");
  EXPECT_EQ(header.size(), kDataAlignment);
  EXPECT_EQ(DecodeSegmentHeader(header, 4096)->head, "the head");
  EXPECT_TRUE(DecodeSegmentHeader(header, 4096)->recycled);
  EXPECT_EQ(DecodeSegmentHeader(header, 4104).status().code(), base::Code::kCorrupt);
  std::string newer = header;
  newer[8] = 2;
  EXPECT_EQ(DecodeSegmentHeader(newer, 4096).status().code(), base::Code::kIncompatible);
}

// The bytes of format 1 must never change.
TEST(Format, Golden) {
  std::string buffer(RecordBytes(3), '\0');
  EncodeRecord(buffer.data(), 24, 8, RecordType::kFrame, "abc");
  std::string hex;
  for (const char c : buffer) {
    const char* digits = "0123456789abcdef";
    hex += digits[static_cast<uint8_t>(c) >> 4];
    hex += digits[static_cast<uint8_t>(c) & 15];
  }
  EXPECT_EQ(hex, "030000006418aea608000000000000000161626300000000");
  EXPECT_EQ(SegmentName(67108864), "log-00000000000067108864.seg");
  EXPECT_EQ(ParseSegmentName("log-00000000000067108864.seg"), 67108864u);
  EXPECT_FALSE(ParseSegmentName("log-67108864.seg").has_value());
  EXPECT_FALSE(ParseSegmentName("log-.seg").has_value());
  EXPECT_FALSE(ParseSegmentName("LOCK").has_value());
  EXPECT_EQ(ParseSpareName(SpareName(7)), 7u);
}

// The last record torn at each of its bytes, with what was there before (zeros) and with garbage
// behind.
TEST(Recovery, TornTailAtEveryByte) {
  TempDir whole;
  const auto records = Fill(whole, 40, 0);
  const Copied& last = records.back();
  const std::string bytes = ReadFile(FirstPath(whole));
  const uint64_t at = kDataAlignment + last.position;
  const uint64_t size = last.end - last.position;
  TempDir dir;
  for (uint64_t cut = 0; cut < size; ++cut) {
    for (const char filler : {'\0', '\xff'}) {
      dir.CopyFrom(whole);
      PatchFile(FirstPath(dir), at + cut, std::string(size - cut, filler));
      // Where the bytes that are missing happen to equal the filler, the record is whole.
      if (ReadFile(FirstPath(dir)) == bytes) continue;
      auto log = SegmentedLog::Open(Small(dir));
      ASSERT_TRUE(log.ok()) << log.status().ToString();
      ASSERT_EQ((*log)->end(), last.position) << cut;
      EXPECT_EQ((*log)->durable(), last.position);
      EXPECT_LE((*log)->bytes_dropped(), size);
      if (cut > 0 || filler != 0) {
        EXPECT_GT((*log)->bytes_dropped(), 0u);
      }
      EXPECT_EQ(ReadAll(**log, 0), std::vector<Copied>(records.begin(), records.end() - 1));
      (*log)->Append(RecordType::kFrame, "next");
      ASSERT_TRUE((*log)->Sync().ok());
      log = SegmentedLog::Open(Small(dir));
      ASSERT_TRUE(log.ok());
      EXPECT_EQ((*log)->bytes_dropped(), 0u);
      EXPECT_EQ(ReadAll(**log, 0).back().payload, "next");
    }
  }
}

// Unsynced records reach the disk in any order. One behind a hole must not come back to life when
// the log has grown to just where it stands.
TEST(Recovery, RecordsBehindAHoleStayDead) {
  TempDir dir;
  {
    auto log = SegmentedLog::Open(Small(dir));
    ASSERT_TRUE(log.ok());
    (*log)->Append(RecordType::kFrame, "first");
    (*log)->Append(RecordType::kFrame, "hole!");
    (*log)->Append(RecordType::kFrame, "ghost");
    ASSERT_TRUE((*log)->Commit().ok());
  }
  const uint64_t size = RecordBytes(5);
  PatchFile(FirstPath(dir), kDataAlignment + size, std::string(size, '\0'));
  auto log = SegmentedLog::Open(Small(dir));
  ASSERT_TRUE(log.ok());
  EXPECT_EQ((*log)->end(), size);
  EXPECT_EQ((*log)->bytes_dropped(), 2 * size);
  (*log)->Append(RecordType::kFrame, "again");  // as large as what was lost
  ASSERT_TRUE((*log)->Sync().ok());
  log = SegmentedLog::Open(Small(dir));
  ASSERT_TRUE(log.ok());
  ASSERT_EQ(ReadAll(**log, 0).size(), 2u);
  EXPECT_EQ((*log)->end(), 2 * size);
}

// The power may go after a segment's records reached the disk but before its name did: its file is
// still called a spare then, and holds records of positions that are given again.
TEST(Recovery, RecordsInASpareStayDead) {
  TempDir dir;
  std::vector<Copied> kept = Fill(dir, 200, 0, false);
  const auto segments = dir.Files("log-");
  ASSERT_GE(segments.size(), 2u);
  for (size_t i = 2; i < segments.size(); ++i)
    std::filesystem::remove(dir.path() + "/" + segments[i]);
  for (const std::string& name : dir.Files("spare-"))
    std::filesystem::remove(dir.path() + "/" + name);
  std::filesystem::rename(dir.path() + "/" + segments[1], dir.path() + "/" + SpareName(3));
  const Position end = *ParseSegmentName(segments[1]);
  const auto lost =
      std::find_if(kept.begin(), kept.end(), [&](const Copied& r) { return r.position == end; });
  ASSERT_TRUE(lost + 1 < kept.end());
  std::string again(lost->payload.size(), 'a');  // as large as what was lost
  kept.erase(lost, kept.end());

  auto log = SegmentedLog::Open(Small(dir));
  ASSERT_TRUE(log.ok()) << log.status().ToString();
  ASSERT_EQ((*log)->end(), end);
  const Position next = (*log)->Append(RecordType::kFrame, again);
  kept.push_back({end, next, RecordType::kFrame, again});
  ASSERT_TRUE((*log)->Sync().ok());
  log = SegmentedLog::Open(Small(dir));
  ASSERT_TRUE(log.ok()) << log.status().ToString();
  EXPECT_EQ((*log)->end(), next);
  EXPECT_TRUE(ReadAll(**log, 0) == kept);
}

TEST(Recovery, EveryFlippedByteOfAcknowledgedRecordsIsFound) {
  TempDir whole;
  const auto records = Fill(whole, 60, 1);
  // The last two are not proven: the record behind them would do that.
  const Position proven = records[records.size() - 2].position;
  TempDir dir;
  dir.CopyFrom(whole);
  std::string bytes = ReadFile(FirstPath(whole));
  for (uint64_t offset = 0; offset < proven; ++offset) {
    const uint64_t at = kDataAlignment + offset;
    PatchFile(FirstPath(dir), at, std::string(1, static_cast<char>(bytes[at] ^ (1 << offset % 8))));
    auto log = SegmentedLog::Open(Small(dir));
    ASSERT_FALSE(log.ok()) << offset;
    EXPECT_EQ(log.status().code(), base::Code::kCorrupt);
    EXPECT_NE(log.status().message().find("restore the directory"), std::string::npos);
    EXPECT_EQ(log.status().message().find('\n'), std::string::npos);
    PatchFile(FirstPath(dir), at, std::string(1, bytes[at]));
  }
  // Refusing changed nothing.
  auto log = SegmentedLog::Open(Small(dir));
  ASSERT_TRUE(log.ok());
  EXPECT_EQ(ReadAll(**log, 0), records);
}

TEST(Recovery, ProofMayStandInALaterSegment) {
  TempDir whole;
  const auto records = Fill(whole, 600, 5);
  const auto segments = whole.Files("log-");
  ASSERT_GE(segments.size(), 4u);
  TempDir dir;
  for (size_t i = 0; i + 1 < segments.size(); ++i) {
    // Damage in the data, a header gone, the file gone, the file cut short.
    for (int damage = 0; damage < 4; ++damage) {
      dir.CopyFrom(whole);
      const std::string path = dir.path() + "/" + segments[i];
      if (damage == 0) PatchFile(path, kDataAlignment + 3000, "damage");
      if (damage == 1) PatchFile(path, 20, "damage");
      if (damage == 2) std::filesystem::remove(path);
      if (damage == 3) std::filesystem::resize_file(path, 8000);
      auto log = SegmentedLog::Open(Small(dir));
      if (i == 0 && damage == 2) {
        // As if it had been trimmed; what is known to be needed is the caller's knowledge.
        EXPECT_TRUE(log.ok());
        continue;
      }
      ASSERT_FALSE(log.ok()) << i << " " << damage;
      EXPECT_EQ(log.status().code(), base::Code::kCorrupt);
    }
  }
  // The last segment's header alone: its records say that they were durable.
  dir.CopyFrom(whole);
  PatchFile(dir.path() + "/" + segments.back(), 20, "damage");
  EXPECT_EQ(SegmentedLog::Open(Small(dir)).status().code(), base::Code::kCorrupt);
}

TEST(Recovery, UnsyncedSegmentsAreDroppedWhenAnEarlierOneIsTorn) {
  TempDir dir;
  const auto records = Fill(dir, 600, 0, false);
  const auto segments = dir.Files("log-");
  ASSERT_GE(segments.size(), 4u);
  PatchFile(dir.path() + "/" + segments[1], kDataAlignment + 3000, "damage");
  auto log = SegmentedLog::Open(Small(dir));
  ASSERT_TRUE(log.ok()) << log.status().ToString();
  const Position start = *ParseSegmentName(segments[1]);
  EXPECT_GT((*log)->end(), start);
  EXPECT_LE((*log)->end(), start + 3000);
  EXPECT_EQ((*log)->Heads().size(), 2u);
  EXPECT_GT((*log)->bytes_dropped(), 20'000u);
  const auto kept = ReadAll(**log, 0);
  EXPECT_TRUE(std::equal(kept.begin(), kept.end(), records.begin()));
  // The same positions are used again, for other records.
  for (uint64_t i = 0; i < 600; ++i)
    (*log)->Append(RecordType::kFrame, Payload(i + 10'000));
  ASSERT_TRUE((*log)->Sync().ok());
  const auto all = ReadAll(**log, 0);
  log = SegmentedLog::Open(Small(dir));
  ASSERT_TRUE(log.ok());
  EXPECT_EQ(ReadAll(**log, 0), all);
}

TEST(Recovery, VerifyFromSkipsOlderRecordsAndRefusesAShorterLog) {
  TempDir whole;
  const auto records = Fill(whole, 600, 0);
  const auto segments = whole.Files("log-");
  const Position end = records.back().end;
  TempDir dir;
  dir.CopyFrom(whole);
  PatchFile(dir.path() + "/" + segments[0], kDataAlignment + 3000, "damage");
  EXPECT_FALSE(SegmentedLog::Open(Small(dir, *ParseSegmentName(segments[1]))).ok());
  auto log = SegmentedLog::Open(Small(dir, *ParseSegmentName(segments[1]) + 1));
  ASSERT_TRUE(log.ok()) << log.status().ToString();
  EXPECT_EQ((*log)->end(), end);
  log = base::Status(base::Code::kBusy, "");

  // A checkpoint that is ahead of the log proves that the log lost something.
  dir.CopyFrom(whole);
  EXPECT_TRUE(SegmentedLog::Open(Small(dir, end)).ok());
  EXPECT_EQ(SegmentedLog::Open(Small(dir, end + 8)).status().code(), base::Code::kCorrupt);
  dir.CopyFrom(whole);
  PatchFile(dir.path() + "/" + segments.back(), kDataAlignment + 100, "damage");
  EXPECT_EQ(SegmentedLog::Open(Small(dir, end)).status().code(), base::Code::kCorrupt);
  // So does any other position that is known to have been durable; nothing is dropped then.
  dir.CopyFrom(whole);
  PatchFile(dir.path() + "/" + segments.back(), kDataAlignment + 100, "damage");
  auto known = Small(dir, *ParseSegmentName(segments.back()));
  known.durable = end;
  const std::string before = ReadFile(dir.path() + "/" + segments.back());
  EXPECT_EQ(SegmentedLog::Open(known).status().code(), base::Code::kCorrupt);
  EXPECT_TRUE(ReadFile(dir.path() + "/" + segments.back()) == before);
  TempDir empty;
  EXPECT_EQ(SegmentedLog::Open(Small(empty, 8)).status().code(), base::Code::kCorrupt);
}

TEST(Recovery, PowerCutWhileTheFirstSegmentWasMade) {
  for (const size_t size : {0u, 20u, 4096u, 16384u}) {
    TempDir dir;
    std::string header = EncodeSegmentHeader(0, 0, false, "");
    header.resize(std::min<size_t>(size, 30));
    header.resize(size);
    WriteFile(FirstPath(dir), header);
    auto log = SegmentedLog::Open(Small(dir));
    ASSERT_TRUE(log.ok()) << log.status().ToString();
    EXPECT_EQ((*log)->end(), 0u);
  }
  // But not when it holds anything.
  TempDir dir;
  Fill(dir, 1, 0);
  PatchFile(FirstPath(dir), 20, "damage");
  EXPECT_EQ(SegmentedLog::Open(Small(dir)).status().code(), base::Code::kCorrupt);
}

TEST(Recovery, RefusesANewerFormat) {
  TempDir dir;
  Fill(dir, 3, 0);
  PatchFile(FirstPath(dir), 8, std::string("\x02", 1));
  EXPECT_EQ(SegmentedLog::Open(Small(dir)).status().code(), base::Code::kIncompatible);
}

TEST(Recovery, MissingDirectory) {
  SegmentedLog::Options options;
  options.dir = "/nonexistent/log";
  EXPECT_EQ(SegmentedLog::Open(options).status().code(), base::Code::kNotFound);
}

}  // namespace
}  // namespace polyarch::log
