#include "engine/pacer.h"

#include <gtest/gtest.h>

namespace polyarch::engine {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// Ticks of a millisecond for so long, of which `busy_us` are work, while the log grows by `bytes`
// each.
void RunTicks(
    Pacer& pacer, int64_t& now_us, int64_t ms, int64_t busy_us, uint64_t& log_end, uint64_t bytes) {
  for (int64_t i = 0; i < ms; ++i) {
    now_us += 1000;
    log_end += bytes;
    pacer.Tick(now_us, busy_us, log_end);
  }
}

TEST(Pacer, SendsLessWhenBusyAndMoreWhenIdle) {
  Pacer pacer(4 * kMiB, 64 * kMiB);
  int64_t now_us = 0;
  uint64_t log_end = 0;
  RunTicks(pacer, now_us, 10'000, 100, log_end, 0);
  EXPECT_EQ(pacer.bytes_per_second(), 64 * kMiB);
  RunTicks(pacer, now_us, 1'000, 600, log_end, 0);  // neither idle nor busy: it stays
  EXPECT_EQ(pacer.bytes_per_second(), 64 * kMiB);
  RunTicks(pacer, now_us, 300, 900, log_end, 0);
  EXPECT_LT(pacer.bytes_per_second(), 32 * kMiB);
  RunTicks(pacer, now_us, 3'000, 900, log_end, 0);
  EXPECT_EQ(pacer.bytes_per_second(), 4 * kMiB);
}

TEST(Pacer, AReceiverDoesNotFallBehindABusySender) {
  Pacer pacer(4 * kMiB, 64 * kMiB);
  int64_t now_us = 0;
  uint64_t log_end = 0;
  RunTicks(pacer, now_us, 10'000, 950, log_end, 10'000);  // 10 MB a second
  EXPECT_GE(pacer.bytes_per_second(), 19'000'000U);
  EXPECT_LE(pacer.bytes_per_second(), 21'000'000U);
  RunTicks(pacer, now_us, 10'000, 950, log_end, 100'000);
  EXPECT_EQ(pacer.bytes_per_second(), 64 * kMiB);
}

TEST(Pacer, OneRateIsKept) {
  Pacer pacer(4 * kMiB, 5'000);
  int64_t now_us = 0;
  uint64_t log_end = 0;
  RunTicks(pacer, now_us, 5'000, 950, log_end, 10);
  EXPECT_EQ(pacer.bytes_per_second(), 5'000U);
}

TEST(Pacer, RowsTakeAPartOfTheTime) {
  EXPECT_EQ(Pacer::Rows(10'900, 10'000, 2000), 0U);  // soon after the last slice
  EXPECT_EQ(Pacer::Rows(11'000, 10'000, 2000), 250U);
  EXPECT_EQ(Pacer::Rows(14'000, 10'000, 2000), 1000U);
  EXPECT_EQ(Pacer::Rows(20'000, 10'000, 2000), 2000U);
  EXPECT_EQ(Pacer::Rows(20'000, 10'000, 3), 3U);
}

}  // namespace
}  // namespace polyarch::engine
