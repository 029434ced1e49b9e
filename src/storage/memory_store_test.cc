#include "storage/memory_store.h"

#include <set>

#include <gtest/gtest.h>

#include "storage/store_test_util.h"

namespace polyarch::storage {
namespace {

TEST(MemoryStore, FlushesAreServedInOrderWhenToldSo) {
  auto disk = std::make_shared<MemoryStoreDisk>();
  MemoryStore store(disk);
  store.Write(WorkloadBatch(1, 10));
  EXPECT_EQ(store.Flush(), 1u);
  store.Write(WorkloadBatch(2, 10));
  EXPECT_EQ(store.Flush(), 2u);
  store.Write(WorkloadBatch(3, 10));
  EXPECT_EQ(store.flushed(), 0u);
  store.CompleteFlush();
  EXPECT_EQ(store.flushed(), 1u);
  EXPECT_EQ(disk->unflushed.size(), 2u);
  EXPECT_EQ(CheckPrefix(store, 10), 3u);
  EXPECT_TRUE(store.flushing());
  store.CompleteFlush();
  EXPECT_FALSE(store.flushing());
  store.CompleteFlush();
  EXPECT_EQ(store.flushed(), 2u);
  EXPECT_EQ(disk->unflushed.size(), 1u);
}

TEST(MemoryStore, CrashKeepsAnyPrefixOfTheUnflushed) {
  std::set<uint64_t> kept;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    auto disk = std::make_shared<MemoryStoreDisk>();
    {
      MemoryStore store(disk);
      for (uint64_t i = 1; i <= 5; ++i)
        store.Write(WorkloadBatch(i, 10));
      store.Flush();
      for (uint64_t i = 6; i <= 12; ++i)
        store.Write(WorkloadBatch(i, 10));
      store.CompleteFlush();
    }
    MemoryStoreDisk copy = *disk;
    base::Random random(seed);
    disk->Crash(random);
    MemoryStore after(disk);
    kept.insert(CheckPrefix(after, 10));
    // The copy is a disk of its own, unflushed batches and all.
    MemoryStore twin(std::make_shared<MemoryStoreDisk>(std::move(copy)));
    EXPECT_EQ(CheckPrefix(twin, 10), 12u);
    twin.Flush();
    twin.CompleteFlush();
    EXPECT_EQ(CheckPrefix(twin, 10), 12u);
  }
  EXPECT_EQ(*kept.begin(), 5u);
  EXPECT_EQ(kept.size(), 8u);
}

TEST(MemoryStore, TheFirstFailureIsFinal) {
  auto disk = std::make_shared<MemoryStoreDisk>();
  MemoryStore store(disk);
  store.Write(WorkloadBatch(1, 10));
  store.FailFlushes();
  store.Flush();
  store.CompleteFlush();
  EXPECT_EQ(store.status().code(), base::Code::kIo);
  EXPECT_EQ(store.flushed(), 0u);
  store.Write(WorkloadBatch(2, 10));
  EXPECT_EQ(disk->unflushed.size(), 1u);
}

}  // namespace
}  // namespace polyarch::storage
