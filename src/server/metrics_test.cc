#include "server/metrics.h"

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

}  // namespace
}  // namespace polyarch::server
