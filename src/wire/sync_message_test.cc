#include "wire/sync_message.h"

#include <gtest/gtest.h>

namespace polyarch::wire {
namespace {

TEST(SyncMessage, TuplesComeBack) {
  Tuple tuple;
  tuple.version = {1, {"eu", 2}};
  tuple.absent = false;
  tuple.value = "v";
  std::string bytes;
  PutTuple(bytes, tuple);
  base::Reader in(bytes);
  EXPECT_EQ(ReadTuple(in), tuple);
  EXPECT_TRUE(in.ok() && in.empty());
}

}  // namespace
}  // namespace polyarch::wire
