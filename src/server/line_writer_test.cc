#include "server/line_writer.h"

#include <csignal>
#include <fcntl.h>
#include <string>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>

namespace polyarch::server {
namespace {

class Pipe {
 public:
  // A pipe of one page takes one write at a time.
  explicit Pipe(int bytes = 4096) {
    EXPECT_EQ(::pipe2(ends_, O_CLOEXEC), 0);
    EXPECT_GE(::fcntl(ends_[1], F_SETPIPE_SZ, bytes), bytes);
  }
  ~Pipe() {
    CloseReader();
    ::close(ends_[1]);
  }
  int writer() const { return ends_[1]; }
  void CloseReader() {
    if (ends_[0] >= 0) ::close(ends_[0]);
    ends_[0] = -1;
  }
  // What is there, without waiting for more.
  std::string Read() {
    std::string all;
    char bytes[65536];
    ::fcntl(ends_[0], F_SETFL, O_NONBLOCK);
    for (ssize_t n; (n = ::read(ends_[0], bytes, sizeof bytes)) > 0;) all.append(bytes, static_cast<size_t>(n));
    return all;
  }

 private:
  int ends_[2] = {-1, -1};
};

std::string Line(int i) {
  return "line " + std::to_string(i) + std::string(100, '.') + "\n";
}

TEST(LineWriter, WritesAtOnceWhereThereIsRoom) {
  Pipe pipe(65536);
  LineWriter writer(pipe.writer());
  writer.Write("one\n");
  writer.Write("two\n");
  EXPECT_EQ(pipe.Read(), "one\ntwo\n");
  EXPECT_FALSE(writer.waits());
  EXPECT_TRUE(writer.Finish(0));
}

TEST(LineWriter, APipeThatNobodyReadsHoldsNobody) {
  Pipe pipe;
  LineWriter writer(pipe.writer(), 10'000);
  for (int i = 0; i < 1000; ++i) writer.Write(Line(i));
  EXPECT_TRUE(writer.waits());
  EXPECT_GT(writer.dropped(), 800U);
  EXPECT_EQ(writer.TakeDropped(), 0U) << "there is no room to tell yet";
  EXPECT_FALSE(writer.Finish(1));
  std::string all;
  while (writer.waits()) {
    all += pipe.Read();
    writer.Drain();
  }
  all += pipe.Read();
  // Whole lines, the first ones, in order.
  std::string expected;
  for (int i = 0; i < 1000 - static_cast<int>(writer.dropped()); ++i) expected += Line(i);
  EXPECT_EQ(all, expected);
  EXPECT_EQ(writer.TakeDropped(), writer.dropped());
  EXPECT_EQ(writer.TakeDropped(), 0U);
  writer.Write("after\n");
  EXPECT_EQ(pipe.Read(), "after\n");
}

TEST(LineWriter, ALineLargerThanAllIsCutNowhere) {
  Pipe pipe;
  LineWriter writer(pipe.writer(), 1000);
  const std::string large = std::string(20'000, 'x') + "\n";
  writer.Write(large);
  writer.Write("dropped\n");
  EXPECT_EQ(writer.dropped(), 1U);
  std::string all;
  while (writer.waits()) {
    all += pipe.Read();
    writer.Drain();
  }
  EXPECT_EQ(all + pipe.Read(), large);
}

TEST(LineWriter, FinishWaitsForAReaderThatIsSlow) {
  Pipe pipe;
  LineWriter writer(pipe.writer());
  std::string expected;
  for (int i = 0; i < 200; ++i) {
    writer.Write(Line(i));
    expected += Line(i);
  }
  ASSERT_TRUE(writer.waits());
  std::string all;
  std::thread reader([&] {
    while (all.size() < expected.size()) all += pipe.Read();
  });
  EXPECT_TRUE(writer.Finish(60'000));
  reader.join();
  EXPECT_EQ(all, expected);
}

TEST(LineWriter, WhereNobodyReadsAnyMoreLinesAreLost) {
  std::signal(SIGPIPE, SIG_IGN);
  Pipe pipe;
  LineWriter writer(pipe.writer());
  pipe.CloseReader();
  writer.Write("lost\n");
  EXPECT_FALSE(writer.waits());
  EXPECT_TRUE(writer.Finish(0));
}

}  // namespace
}  // namespace polyarch::server
