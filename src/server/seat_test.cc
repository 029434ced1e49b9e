// Whose directory is it?
#include "server/seat.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
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
  ASSERT_TRUE(ClaimSeat(dir, 1).ok());
  EXPECT_TRUE(IsOwnSeat(dir));
  ASSERT_TRUE(ClaimSeat(dir, 1).ok()) << "again, in the place of the other";
  EXPECT_TRUE(IsOwnSeat(dir));
}

TEST_F(SeatTest, ACopyIsNot) {
  ASSERT_TRUE(ClaimSeat(dir, 1).ok());
  std::filesystem::copy(dir, dir + ".copy");
  EXPECT_FALSE(IsOwnSeat(dir + ".copy"));
  // Nor when it takes the place of the original.
  std::filesystem::remove_all(dir);
  std::filesystem::rename(dir + ".copy", dir);
  EXPECT_FALSE(IsOwnSeat(dir));
}

TEST_F(SeatTest, RightsAreHeldUnderItsNumber) {
  EXPECT_FALSE(HolderOfSeat(dir).has_value());
  ASSERT_TRUE(ClaimSeat(dir, 18446744073709551615U).ok());
  EXPECT_EQ(HolderOfSeat(dir), std::optional<uint64_t>(18446744073709551615U));
  std::filesystem::copy(dir, dir + ".copy");
  EXPECT_FALSE(HolderOfSeat(dir + ".copy").has_value());
  ASSERT_TRUE(ClaimSeat(dir, 5).ok());
  EXPECT_EQ(HolderOfSeat(dir), std::optional<uint64_t>(5));
}

TEST_F(SeatTest, AFileOfBeforeThereWereNumbersHasOne) {
  ASSERT_TRUE(ClaimSeat(dir, 7).ok());
  const std::string path = dir + "/seat";
  std::ifstream in(path);
  std::string place;
  std::getline(in, place);
  in.close();
  std::ofstream(path, std::ios::trunc) << place << "\n";  // where it is
  const auto holder = HolderOfSeat(dir);
  ASSERT_TRUE(holder.has_value());
  EXPECT_EQ(HolderOfSeat(dir), holder) << "the same each time";
  std::ofstream(path, std::ios::trunc) << place << "\nholder x\n";
  EXPECT_FALSE(HolderOfSeat(dir).has_value());
}

TEST_F(SeatTest, AMovedDirectoryIs) {
  ASSERT_TRUE(ClaimSeat(dir, 1).ok());
  std::filesystem::rename(dir, dir + ".copy");
  EXPECT_TRUE(IsOwnSeat(dir + ".copy"));
}

TEST_F(SeatTest, AbandonedItIsNobodys) {
  EXPECT_TRUE(AbandonSeat(dir).ok()) << "there is none";
  ASSERT_TRUE(ClaimSeat(dir, 1).ok());
  ASSERT_TRUE(AbandonSeat(dir).ok());
  EXPECT_FALSE(IsOwnSeat(dir));
  EXPECT_FALSE(AbandonSeat(dir + "/missing").ok());
}

}  // namespace
}  // namespace polyarch::server
