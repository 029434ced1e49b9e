#include "sync/elector.h"

#include <gtest/gtest.h>

namespace polyarch::sync {
namespace {

TEST(ElectorRecords, ComeBack) {
  Vote vote{.kind = VoteRecord::kAccept, .number = 7, .key = {3, "k"}};
  vote.row.promised = {9, {"eu", 5}};
  vote.row.accepted = {8, {"eu", 5}};
  vote.row.tuple.version = {2, {"us", 6}};
  vote.row.tuple.chain = {{{1, {"eu", 5}}, {2, {"us", 6}}}};
  vote.row.tuple.deps = {{{"asia", 1}, 17}};
  vote.row.tuple.absent = false;
  vote.row.tuple.value = "v";
  Vote back;
  ASSERT_TRUE(Decode(Encode(vote), back));
  EXPECT_EQ(back.row, vote.row);
  EXPECT_EQ(back.key, vote.key);
  EXPECT_EQ(back.number, 7U);
}

}  // namespace
}  // namespace polyarch::sync
