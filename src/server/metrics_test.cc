#include "server/metrics.h"

#include <utility>

#include <gtest/gtest.h>

namespace polyarch::server {
namespace {

TEST(Metrics, NamesUnitsAndHelp) {
  Metrics metrics;
  metrics.AddInfo(
      "leader_id:7\r\nincarnation:1111111111111111\r\nchanges_local:5\r\ncheckpoint_age_ms:"
      "1500\nconnected_slaves:0\r\nno colon\r\n\r\n");
  EXPECT_EQ(
      metrics.Text(),
      "# HELP polyarch_changes_local_total Changes written here since the start.\n"
      "# TYPE polyarch_changes_local_total counter\n"
      "polyarch_changes_local_total 5\n"
      "# HELP polyarch_checkpoint_age_seconds Since the last checkpoint, or since the start.\n"
      "# TYPE polyarch_checkpoint_age_seconds gauge\n"
      "polyarch_checkpoint_age_seconds 1.500\n");
}

TEST(Metrics, AFamilyIsTogetherWithALabelALeader) {
  Metrics metrics;
  metrics.AddInfo(
      "link_us:state=up,lag_ms=20,bytes_in=7\r\nlink_as\"ia~1:state=cut,lag_ms=-1,bytes_in="
      "8\r\nclaim_us:behind=3\r\n");
  const std::string text = metrics.Text();
  EXPECT_NE(text.find("polyarch_link_lag_seconds{peer=\"us\"} 0.020\n"
                      "polyarch_link_lag_seconds{peer=\"as\\\"ia~1\"} -0.001\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("polyarch_link_up{peer=\"us\"} 1\npolyarch_link_up{peer=\"as\\\"ia~1\"} 0\n"),
            std::string::npos);
  EXPECT_NE(text.find("polyarch_link_cut{peer=\"as\\\"ia~1\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("polyarch_unclaimed_changes{leader=\"us\"} 3\n"), std::string::npos);
  size_t types = 0;
  for (size_t at = 0; (at = text.find("# TYPE polyarch_link_up", at)) != std::string::npos; ++at)
    ++types;
  EXPECT_EQ(types, 1u);
}

TEST(Metrics, ALeaderBehindACutLinkIsInReachOverOthers) {
  Metrics metrics;
  metrics.AddInfo(
      "link_us:state=cut,lag_ms=0,hops=2,next=asia\r\nlink_oz:state=cut,lag_ms=0,hops=0,next=\r\nlink_asia:state=up,"
      "lag_ms=0,hops=1,next=asia\r\n");
  const std::string text = metrics.Text();
  EXPECT_NE(text.find("polyarch_link_reachable{peer=\"us\"} 1\npolyarch_link_reachable{peer=\"oz\"} 0\n"
                      "polyarch_link_reachable{peer=\"asia\"} 1\n"),
            std::string::npos)
      << text;
}

TEST(Metrics, WhetherWritesAreRefused) {
  for (const auto& [word, number] : {std::pair("no", "0"), std::pair("diskfull", "1"), std::pair("retired", "1")}) {
    Metrics metrics;
    metrics.AddInfo(std::string("writes_refused:") + word + "\r\n");
    EXPECT_NE(metrics.Text().find("\npolyarch_writes_refused " + std::string(number) + "\n"), std::string::npos) << word;
  }
}

TEST(Metrics, WhatIsNewInInfoHasAMetricToo) {
  Metrics metrics;
  metrics.AddInfo("brand_new:7\r\nthing_us:count=3,word=x\r\ntext:a=b\r\nfloat:1.5\r\n");
  const std::string text = metrics.Text();
  EXPECT_NE(text.find("# TYPE polyarch_brand_new untyped\npolyarch_brand_new 7\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("polyarch_thing_count{leader=\"us\"} 3\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("word"), std::string::npos);
}

// Of each there is a metric, or it is known why not.
TEST(Metrics, KnowsWhatMonitorsOfRedisLookFor) {
  Metrics metrics;
  for (const char* name :
       {"async_loading", "second_repl_offset", "evicted_keys", "evicted_clients", "total_eviction_exceeded_time",
        "current_eviction_exceeded_time", "unexpected_error_replies",
        "rdb_last_bgsave_time_sec", "rdb_current_bgsave_time_sec", "aof_current_size", "used_memory_peak",
        "total_system_memory", "mem_fragmentation_bytes", "instantaneous_ops_per_sec", "keyspace_hits",
        "keyspace_misses", "total_reads_processed", "total_writes_processed", "expired_keys", "total_error_replies",
        "number_of_cached_scripts", "number_of_functions", "number_of_libraries", "maxmemory", "used_memory_overhead"}) {
    metrics.AddInfo(std::string(name) + ":1\r\n");
  }
  const std::string text = metrics.Text();
  EXPECT_EQ(text.find("untyped"), std::string::npos) << text;
  for (const char* sample :
       {"polyarch_checkpoint_last_seconds 1\n", "polyarch_memory_used_peak_bytes 1\n", "polyarch_memory_system_bytes 1\n",
        "polyarch_commands_per_second 1\n", "polyarch_keyspace_hits_total 1\n", "polyarch_keyspace_misses_total 1\n",
        "polyarch_client_reads_total 1\n", "polyarch_client_writes_total 1\n", "polyarch_expired_keys_total 1\n",
        "polyarch_error_replies_total 1\n", "polyarch_evicted_keys_total 1\n", "polyarch_memory_exceeded_seconds_total 0.001\n", "polyarch_memory_limit_bytes 1\n", "polyarch_scripts_compiled 1\n"}) {
    EXPECT_NE(text.find(sample), std::string::npos) << sample << text;
  }
}

}  // namespace
}  // namespace polyarch::server
