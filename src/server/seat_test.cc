// Whose directory is it?
#include "server/seat.h"

#include <cstdlib>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

namespace polyarch::server {
namespace {

class SeatTest : public testing::Test {
 protected:
  SeatTest() {
    char name[] = "/tmp/polyarch-seat-XXXXXX";
    dir = ::mkdtemp(name);
  }
  ~SeatTest() override {
    std::filesystem::remove_all(dir);
    std::filesystem::remove_all(dir + ".copy");
  }
  std::string dir;
};

TEST_F(SeatTest, IsOwnWhereItWasClaimed) {
  EXPECT_FALSE(IsOwnSeat(dir));
  ASSERT_TRUE(ClaimSeat(dir).ok());
  EXPECT_TRUE(IsOwnSeat(dir));
  ASSERT_TRUE(ClaimSeat(dir).ok()) << "again, in the place of the other";
  EXPECT_TRUE(IsOwnSeat(dir));
}

TEST_F(SeatTest, ACopyIsNot) {
  ASSERT_TRUE(ClaimSeat(dir).ok());
  std::filesystem::copy(dir, dir + ".copy");
  EXPECT_FALSE(IsOwnSeat(dir + ".copy"));
  // Nor when it takes the place of the original.
  std::filesystem::remove_all(dir);
  std::filesystem::rename(dir + ".copy", dir);
  EXPECT_FALSE(IsOwnSeat(dir));
}

TEST_F(SeatTest, AMovedDirectoryIs) {
  ASSERT_TRUE(ClaimSeat(dir).ok());
  std::filesystem::rename(dir, dir + ".copy");
  EXPECT_TRUE(IsOwnSeat(dir + ".copy"));
}

TEST_F(SeatTest, AbandonedItIsNobodys) {
  EXPECT_TRUE(AbandonSeat(dir).ok()) << "there is none";
  ASSERT_TRUE(ClaimSeat(dir).ok());
  ASSERT_TRUE(AbandonSeat(dir).ok());
  EXPECT_FALSE(IsOwnSeat(dir));
  EXPECT_FALSE(AbandonSeat(dir + "/missing").ok());
}

}  // namespace
}  // namespace polyarch::server
