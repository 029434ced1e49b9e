// What is observed of commands: times, the slow log, spikes, and what of it is shown.
#include <gtest/gtest.h>

#include "command/command_test_env.h"
#include "command/command_timer.h"
#include "command/info.h"

namespace polyarch::command {
namespace {

// A process whose clock is set by the test.
class ClockedServer : public FakeServer {
 public:
  int64_t MonotonicNanos() override {
    ++looks;
    return now_ns;
  }
  int64_t now_ns = 1'000'000;
  int looks = 0;
};

class ObservationsTest : public testing::Test {
 protected:
  ObservationsTest() {
    client.address = "127.0.0.1:5000";
    client.name = "worker";
  }
  const Row& RowOf(std::string_view name) { return *Table::Instance().FindName(name); }
  CommandStats& Stats(std::string_view name) { return server.observations().Of(RowOf(name)); }
  void Ran(std::vector<std::string_view> args, int64_t nanos, bool last = false, std::string_view reply = "+OK\r\n") {
    server.now_ns += nanos;
    timer.Ran(*Table::Instance().Find(args), args, &client, reply, last);
  }
  ClockedServer server;
  CommandTimer timer{server};
  Client client;
};

TEST_F(ObservationsTest, QuickCommandsAreTimedTogetherOthersForThemselves) {
  timer.Begin();
  for (int i = 0; i < 8; ++i)
    Ran({"GET", "k"}, 100 + i % 2 * 200);
  EXPECT_EQ(server.looks, 2);
  EXPECT_EQ(Stats("get").calls, 8U);
  EXPECT_EQ(Stats("get").nanos, 1600);
  EXPECT_EQ(server.observations().quick_nanos, 200);
  // Those before a long one take what quick ones take.
  Ran({"GET", "k"}, 150);
  Ran({"GET", "k"}, 150);
  Ran({"LRANGE", "k", "0", "-1"}, 5000);
  EXPECT_EQ(server.looks, 3);
  EXPECT_EQ(Stats("get").nanos, 2000);
  EXPECT_EQ(Stats("lrange").nanos, 4900);
  Ran({"GET", "k"}, 250, /*last=*/true);
  EXPECT_EQ(server.looks, 4);
  EXPECT_EQ(Stats("get").nanos, 2250);
  timer.End();
  EXPECT_EQ(server.looks, 4);
  Ran({"GET", "k"}, 100);
  timer.End();
  EXPECT_EQ(Stats("get").nanos, 2350);
  EXPECT_EQ(Stats("get").histogram->total(), 12U);
  // Who asks for short times gets each.
  server.observations().slowlog.micros_min = 100;
  timer.Begin();
  server.looks = 0;
  Ran({"GET", "k"}, 100);
  Ran({"GET", "k"}, 200'000);
  Ran({"SET", "k", "v"}, 100);
  EXPECT_EQ(server.looks, 3);
  ASSERT_EQ(server.observations().slowlog.entries().size(), 1U);
  const Slowlog::Entry& entry = server.observations().slowlog.entries()[0];
  EXPECT_EQ(entry.micros, 200);
  EXPECT_EQ(entry.arguments, (std::vector<std::string>{"GET", "k"}));
  EXPECT_EQ(entry.address, "127.0.0.1:5000");
  EXPECT_EQ(entry.name, "worker");
  // What is large is not quick.
  server.observations().slowlog.micros_min = 10'000;
  server.looks = 0;
  Ran({"SET", "k", std::string(20'000, 'x')}, 100);
  Ran({"GET", "k"}, 100, false, std::string(20'000, 'x'));
  EXPECT_EQ(server.looks, 2);
}

TEST_F(ObservationsTest, SlowlogCutsArguments) {
  std::vector<std::string> words = {"DEL"};
  for (int i = 0; i < 40; ++i)
    words.push_back(std::string(i == 0 ? 200 : 1, 'x'));
  Ran(std::vector<std::string_view>(words.begin(), words.end()), 20'000'000);
  const auto& arguments = server.observations().slowlog.entries()[0].arguments;
  ASSERT_EQ(arguments.size(), 32U);
  EXPECT_EQ(arguments[1], std::string(128, 'x') + "... (72 more bytes)");
  EXPECT_EQ(arguments[31], "... (10 more arguments)");
}

TEST_F(ObservationsTest, SlowlogIsBounded) {
  Slowlog& log = server.observations().slowlog;
  log.SetSize(3);
  for (int i = 0; i < 10; ++i)
    Ran({"KEYS", "*"}, 20'000'000);
  EXPECT_EQ(log.entries().size(), 3U);
  EXPECT_EQ(log.entries()[0].id, 9);
  log.SetSize(1);
  EXPECT_EQ(log.entries().size(), 1U);
  log.micros_min = -1;
  log.Clear();
  Ran({"KEYS", "*"}, 20'000'000);
  // EXEC is not noted, its commands are.
  log.micros_min = 0;
  Ran({"EXEC"}, 20'000'000);
  EXPECT_TRUE(log.entries().empty());
}

TEST_F(ObservationsTest, SecretsAreNotShown) {
  auto shown = [&](std::vector<std::string_view> args) {
    std::string text;
    for (std::string_view word : WithoutSecrets(*Table::Instance().Find(args), args))
      text += (text.empty() ? "" : " ") + std::string(word);
    return text;
  };
  EXPECT_EQ(shown({"AUTH", "secret"}), "AUTH (redacted)");
  EXPECT_EQ(shown({"auth", "user", "secret"}), "auth (redacted) (redacted)");
  EXPECT_EQ(shown({"HELLO", "3", "SETNAME", "x", "AUTH", "user", "secret"}),
            "HELLO 3 SETNAME x AUTH (redacted) (redacted)");
  EXPECT_EQ(shown({"CONFIG", "SET", "save", "", "RequirePass", "secret"}), "CONFIG SET save  RequirePass (redacted)");
  EXPECT_EQ(shown({"SET", "auth", "x"}), "SET auth x");
}

TEST_F(ObservationsTest, SpikesAreNotedOnceASecond) {
  LatencyEvents& book = server.observations().latency;
  book.Note("command", 1, 1000);
  EXPECT_TRUE(book.events().empty());
  book.millis_min = 10;
  for (int64_t i = 0; i < 400; ++i)
    book.Note("command", 1000 + i / 2, 10 + i % 2);
  const LatencyEvents::Event& event = book.events().at("command");
  EXPECT_EQ(event.samples.size(), 160U);
  EXPECT_EQ(event.samples.back().millis, 11);
  EXPECT_EQ(event.millis_max, 11);
  EXPECT_TRUE(book.Reset("command"));
  EXPECT_FALSE(book.Reset("command"));
}

TEST_F(ObservationsTest, HistogramIsThatOfRedis) {
  // Numbers of redis-server 7.0.15: INFO latencystats shows these ends of buckets.
  Histogram histogram;
  for (int64_t nanos : {1000, 2003, 9020, 14'000, 93'100, 144'380, 5'240'000})
    histogram.Add(nanos);
  EXPECT_EQ(histogram.AtPercentile(1), 1003);
  EXPECT_EQ(histogram.AtPercentile(25), 2007);
  EXPECT_EQ(histogram.AtPercentile(40), 9023);
  EXPECT_EQ(histogram.AtPercentile(50), 14'015);
  EXPECT_EQ(histogram.AtPercentile(70), 93'183);
  EXPECT_EQ(histogram.AtPercentile(85), 144'383);
  EXPECT_EQ(histogram.AtPercentile(99.9), 5'242'879);
  std::string text;
  histogram.VisitDoubling([&](int64_t micros, uint64_t count) {
    text += std::to_string(micros) + ":" + std::to_string(count) + " ";
  });
  EXPECT_EQ(text, "1:1 2:2 16:4 132:5 264:6 8454:7 ");
  // Ends of its range.
  Histogram ends;
  ends.Add(-5);
  ends.Add(0);
  ends.Add(INT64_MAX);
  EXPECT_EQ(ends.AtPercentile(50), 1);
  EXPECT_GE(ends.AtPercentile(99.9), Histogram::kNanosMax);
  EXPECT_EQ(ends.total(), 3U);
}

TEST(ObservationsOfCommands, InnerOnesAreCountedAndRefusedOnes) {
  TestNode node;
  auto stats = [&](std::string_view name) -> CommandStats& {
    return node.server.observations().Of(*Table::Instance().FindName(name));
  };
  node.Ask({"MULTI"});
  node.Ask({"SET", "k", "v"});
  node.Ask({"INCR", "k"});
  node.Ask({"GET"});
  node.Ask({"DISCARD"});
  EXPECT_EQ(stats("set").calls, 0U);
  node.Ask({"MULTI"});
  node.Ask({"SET", "k", "v"});
  node.Ask({"INCR", "k"});
  node.Ask({"EVAL", "redis.call('get', KEYS[1]); return redis.call('get', KEYS[1])", "1", "k"});
  node.Ask({"EXEC"});
  EXPECT_EQ(stats("set").calls, 1U);
  EXPECT_EQ(stats("incr").calls, 1U);
  EXPECT_EQ(stats("incr").failed, 1U);
  EXPECT_EQ(stats("eval").calls, 1U);
  EXPECT_EQ(stats("get").calls, 2U);
  EXPECT_EQ(stats("get").histogram->total(), 2U);
  Client& client = *node.server.clients.front();
  node.Ask({"GET"});
  EXPECT_EQ(client.refused->name, "get");
  EXPECT_EQ(client.ran, nullptr);
  node.Ask({"PING"});
  EXPECT_EQ(client.refused, nullptr);
  EXPECT_EQ(client.ran->name, "ping");
  EXPECT_NE(node.Ask({"INFO", "errorstats"}).find("errorstat_ERR:count=1"), std::string::npos);
  EXPECT_NE(node.Ask({"INFO", "commandstats"}).find("cmdstat_incr:calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=1"),
            std::string::npos);
  EXPECT_NE(node.Ask({"INFO", "latencystats"}).find("latency_percentiles_usec_get:p50=0.001,p99=0.001,p99.9=0.001"),
            std::string::npos);
  EXPECT_EQ(node.Ask({"CONFIG", "SET", "latency-tracking-info-percentiles", "0 99.99"}), "+OK");
  EXPECT_NE(node.Ask({"INFO", "latencystats"}).find("latency_percentiles_usec_get:p0=0.001,p99.99=0.001\\r"),
            std::string::npos);
  EXPECT_EQ(node.Ask({"CONFIG", "SET", "latency-tracking-info-percentiles", ""}), "+OK");
  EXPECT_NE(node.Ask({"INFO", "latencystats"}).find("latency_percentiles_usec_get:\\r"), std::string::npos);
  EXPECT_EQ(node.Ask({"INFO"}).find("Commandstats"), std::string::npos);
  EXPECT_EQ(node.Ask({"LATENCY", "HISTOGRAM", "get", "nosuch"}),
            "[\"get\", [\"calls\", 2, \"histogram_usec\", [1, 2]]]");
}

TEST(Rate, IsTheMeanOfTheNewestSamples) {
  Rate rate;
  int64_t now_us = 5'000'000;
  uint64_t total = 1000;
  rate.Reset(total, now_us);
  rate.Sample(total, now_us);  // no time has passed
  EXPECT_EQ(rate.per_second(), 0U);
  auto sample = [&](uint64_t grown, int64_t passed_us) {
    total += grown;
    now_us += passed_us;
    rate.Sample(total, now_us);
  };
  sample(50, Rate::kSampleUs);  // 500 a second
  EXPECT_EQ(rate.per_second(), 500 / Rate::kSamples);
  for (size_t i = 1; i < Rate::kSamples; ++i) sample(50, Rate::kSampleUs);
  EXPECT_EQ(rate.per_second(), 500U);
  // A long tick: what it has done is spread over its time.
  sample(500, 10 * Rate::kSampleUs);
  EXPECT_EQ(rate.per_second(), 500U);
  // Who does nothing shows nothing.
  for (size_t i = 0; i < Rate::kSamples; ++i) sample(0, Rate::kSampleUs);
  EXPECT_EQ(rate.per_second(), 0U);
  sample(1'000'000, Rate::kSampleUs);
  rate.Reset(total, now_us);
  EXPECT_EQ(rate.per_second(), 0U);
}

// What shows INFO without a client: the page of metrics.
TEST(Info, ItsSectionsAreTheSameForAll) {
  TestNode node;
  node.Ask({"GET", "none"});
  node.Ask({"NOSUCH"});
  auto lines = [&](std::string_view section) {
    std::string out;
    AppendInfo(section, {node.cluster, node.server, node.keys}, out);
    return out;
  };
  const std::string stats = lines("stats");
  for (const char* line : {"stats_number:1\n", "expired_keys:0\n", "total_error_replies:", "keyspace_hits:0\n",
                           "keyspace_misses:1\n", "evicted_clients:0\n", "total_eviction_exceeded_time:0\n",
                           "current_eviction_exceeded_time:0\n"}) {
    EXPECT_NE(stats.find(line), std::string::npos) << line << stats;
  }
  for (const char* line : {"number_of_cached_scripts:0\n", "number_of_functions:0\n", "number_of_libraries:0\n"})
    EXPECT_NE(lines("memory").find(line), std::string::npos) << line;
  EXPECT_NE(lines("replication").find("master_repl_offset:"), std::string::npos);
  EXPECT_EQ(lines("nosuch"), "");
}

}  // namespace
}  // namespace polyarch::command
