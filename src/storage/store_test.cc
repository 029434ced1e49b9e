// What every store must do: one suite for all of them.
#include "storage/store.h"

#include <algorithm>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "storage/memory_store.h"
#include "storage/rocks/rocks_store.h"
#include "storage/store_test_util.h"

namespace polyarch::storage {
namespace {

class MemoryFixture {
 public:
  MemoryFixture() { Reopen(); }
  Store& store() { return *store_; }
  void AwaitFlush(uint64_t ticket) {
    while (store_->flushed() < ticket)
      store_->CompleteFlush();
  }
  // The process ends and starts again.
  void Reopen() {
    store_ = nullptr;
    base::Random random(++seed_);
    disk_->Crash(random);
    store_ = std::make_unique<MemoryStore>(disk_);
  }

 private:
  uint64_t seed_ = 0;
  std::shared_ptr<MemoryStoreDisk> disk_ = std::make_shared<MemoryStoreDisk>();
  std::unique_ptr<MemoryStore> store_;
};

class RocksFixture {
 public:
  RocksFixture() { Reopen(); }
  Store& store() { return *store_; }
  void AwaitFlush(uint64_t ticket) {
    while (store_->flushed() < ticket) {
      ASSERT_TRUE(store_->status().ok()) << store_->status().ToString();
      std::this_thread::yield();
    }
  }
  void Reopen() {
    store_ = nullptr;
    auto store = RocksStore::Open({.dir = dir_.path() + "/rows", .write_buffer_bytes = 1 << 20});
    ASSERT_TRUE(store.ok()) << store.status().ToString();
    store_ = std::move(*store);
  }

 private:
  TempDir dir_;
  std::unique_ptr<RocksStore> store_;
};

template <typename Fixture>
class StoreTest : public ::testing::Test {
 protected:
  Store& store() { return fixture_.store(); }
  Fixture fixture_;
};

using Fixtures = ::testing::Types<MemoryFixture, RocksFixture>;
TYPED_TEST_SUITE(StoreTest, Fixtures);

TYPED_TEST(StoreTest, EmptyAtFirst) {
  EXPECT_EQ(ReadModel(this->store()), Model());
  EXPECT_EQ(this->store().Get(Family::kData, "x").status().code(), base::Code::kNotFound);
  EXPECT_EQ(this->store().flushed(), 0u);
  EXPECT_TRUE(this->store().status().ok());
}

TYPED_TEST(StoreTest, WhatIsWrittenIsReadBeforeAndAfterAFlush) {
  Store& store = this->store();
  for (uint64_t i = 1; i <= 300; ++i) {
    store.Write(WorkloadBatch(i, 100));
    if (i % 100 == 0) this->fixture_.AwaitFlush(store.Flush());
    if (i % 30 == 0) {
      EXPECT_EQ(CheckPrefix(store, 100), i);
    }
  }
  const Model model = WorkloadModel(300, 100);
  for (size_t family = 0; family < kFamilies; ++family) {
    for (uint64_t n = 0; n < 50; ++n) {
      const auto row = model[family].find(WorkloadKey(n));
      const auto found = store.Get(static_cast<Family>(family), WorkloadKey(n));
      ASSERT_EQ(found.ok(), row != model[family].end());
      if (found.ok()) {
        EXPECT_EQ(*found, row->second);
      } else {
        EXPECT_EQ(found.status().code(), base::Code::kNotFound);
      }
    }
  }
  EXPECT_EQ(store.pending_bytes(), 0u);
}

TYPED_TEST(StoreTest, TheLastOperationOnAKeyWinsWithinABatch) {
  Batch batch;
  batch.Put(Family::kData, "b", "1");
  batch.Put(Family::kData, "a", "1");
  batch.Delete(Family::kData, "b");
  batch.Put(Family::kData, "a", "2");
  batch.Delete(Family::kData, "c");
  batch.Put(Family::kData, "c", "3");
  batch.Put(Family::kMeta, "b", "meta");
  this->store().Write(std::move(batch));
  Model expected;
  expected[static_cast<size_t>(Family::kData)] = {{"a", "2"}, {"c", "3"}};
  expected[static_cast<size_t>(Family::kMeta)] = {{"b", "meta"}};
  EXPECT_EQ(ReadModel(this->store()), expected);
}

TYPED_TEST(StoreTest, AnyBytesAreKeysAndValues) {
  Batch batch;
  const std::string zeros(3, '\0');
  const std::string high("\xff\xff", 2);
  batch.Put(Family::kLedger, zeros, high);
  batch.Put(Family::kLedger, high, "");
  batch.Put(Family::kLedger, "", zeros);
  this->store().Write(std::move(batch));
  this->store().Write({});
  EXPECT_EQ(*this->store().Get(Family::kLedger, zeros), high);
  std::vector<std::string> keys;
  ASSERT_TRUE(this->store()
                  .Scan(Family::kLedger,
                        [&](std::string_view key, std::string_view) {
                          keys.emplace_back(key);
                          return keys.size() < 2;
                        })
                  .ok());
  EXPECT_EQ(keys, (std::vector<std::string>{"", zeros}));
}

TYPED_TEST(StoreTest, TicketsRiseFromOne) {
  Store& store = this->store();
  EXPECT_EQ(store.Flush(), 1u);
  EXPECT_EQ(store.Flush(), 2u);
  this->fixture_.AwaitFlush(2);
  EXPECT_EQ(store.flushed(), 2u);
  store.Write(WorkloadBatch(1, 10));
  EXPECT_EQ(store.Flush(), 3u);
  this->fixture_.AwaitFlush(3);
}

TYPED_TEST(StoreTest, ARestartKeepsAPrefixWithAllThatWasFlushed) {
  uint64_t written = 0;
  uint64_t flushed = 0;
  for (int round = 0; round < 10; ++round) {
    for (int n = 0; n < 20; ++n)
      this->store().Write(WorkloadBatch(++written, 50));
    const uint64_t ticket = this->store().Flush();
    const uint64_t at = written;
    for (int n = 0; n < 20; ++n)
      this->store().Write(WorkloadBatch(++written, 50));
    if (round % 2 == 0) {
      this->fixture_.AwaitFlush(ticket);
      flushed = at;
    }
    this->fixture_.Reopen();
    const uint64_t kept = CheckPrefix(this->store(), 50);
    EXPECT_GE(kept, flushed);
    EXPECT_LE(kept, written);
    written = kept;
    flushed = kept;
  }
}

TYPED_TEST(StoreTest, SlicesInKeyOrder) {
  Store& store = this->store();
  auto read = [&](std::string after, size_t bytes_max) {
    const uint64_t ticket = store.StartRead(Family::kData, std::move(after), bytes_max);
    std::optional<Slice> slice;
    while (!(slice = store.TakeRead(ticket)))
      std::this_thread::yield();
    EXPECT_TRUE(slice->status.ok()) << slice->status.ToString();
    return *slice;
  };
  EXPECT_TRUE(read("", 1000).rows.empty());
  EXPECT_TRUE(read("", 1000).at_end);
  Batch batch;
  for (int i = 0; i < 100; ++i) batch.Put(Family::kData, "k" + std::to_string(100 + i), std::string(10, 'v'));
  batch.Put(Family::kMeta, "k000", "another family's");
  store.Write(std::move(batch));
  std::vector<std::string> keys;
  std::string after;
  for (bool more = true; more;) {
    const Slice slice = read(after, 50);
    EXPECT_FALSE(slice.rows.empty());
    EXPECT_LE(slice.rows.size(), 3U);
    for (const auto& [key, value] : slice.rows) keys.push_back(key);
    after = slice.rows.back().first;
    more = !slice.at_end;
  }
  ASSERT_EQ(keys.size(), 100U);
  EXPECT_TRUE(std::is_sorted(keys.begin(), keys.end()));
  EXPECT_EQ(read("k150x", 1).rows.size(), 1U) << "one row at least, however large";
  EXPECT_EQ(read("k150x", 1).rows[0].first, "k151") << "behind a key that is not there";
  const uint64_t dropped = store.StartRead(Family::kData, "", 50);
  store.DropRead(dropped);
  const uint64_t ticket = store.StartRead(Family::kData, "k150", 50, [](Slice& slice) {
    slice.rows.pop_back();
  });
  std::optional<Slice> slice;
  while (!(slice = store.TakeRead(ticket)))
    std::this_thread::yield();
  EXPECT_EQ(slice->rows.back().first, "k152") << "prepared on its way";
  EXPECT_EQ(slice->last_key, "k153") << "what was read, kept or not";
  EXPECT_FALSE(store.TakeRead(dropped));
}

TYPED_TEST(StoreTest, ClearsAFamily) {
  Batch first;
  first.Put(Family::kStaged, "a", "1");
  first.Put(Family::kStaged, std::string("\xff\x01", 2), "2");
  first.Put(Family::kSpool, "a", "stays");
  this->store().Write(std::move(first));
  this->fixture_.AwaitFlush(this->store().Flush());
  Batch second;
  second.Put(Family::kStaged, "b", "unflushed");
  this->store().Write(std::move(second));
  Batch clear;
  clear.Clear(Family::kStaged);
  clear.Put(Family::kStaged, "c", "new");
  EXPECT_FALSE(clear.empty());
  this->store().Write(std::move(clear));
  auto check = [&] {
    EXPECT_FALSE(this->store().Get(Family::kStaged, "a").ok());
    EXPECT_FALSE(this->store().Get(Family::kStaged, "b").ok());
    EXPECT_FALSE(this->store().Get(Family::kStaged, std::string("\xff\x01", 2)).ok());
    EXPECT_EQ(*this->store().Get(Family::kStaged, "c"), "new");
    EXPECT_EQ(*this->store().Get(Family::kSpool, "a"), "stays");
  };
  check();
  this->fixture_.AwaitFlush(this->store().Flush());
  check();
  this->fixture_.Reopen();
  check();
}

}  // namespace
}  // namespace polyarch::storage
