// Streams and their groups. Ids are given, never made up: the two servers would not make up the same.
#include "tests/differential/generator.h"

namespace polyarch::differential {

std::string Generator::StreamId() {
  if (Percent(4)) return Of({"-", "+", "x", "", "1-2-3", "-1", "0-0", "18446744073709551615-18446744073709551615", "18446744073709551616"});
  const std::string ms = std::to_string(Below(Percent(80) ? 30 : 3000));
  return Percent(70) ? ms + "-" + std::to_string(Below(4)) : ms;
}

std::string Generator::RangeEnd() {
  if (Percent(30)) return Of({"-", "+"});
  return (Percent(15) ? "(" : "") + StreamId();
}

Words Generator::Trim() {
  return OneOf({{"MAXLEN", Count()}, {"MAXLEN", "=", Count()}, {"MINID", StreamId()}, {"MINID", "=", StreamId()}, {"MAXLEN", "x"},
                {"MAXLEN", "5", "LIMIT", "3"}, {"MAXLEN", "=", "5", "LIMIT", "3"}, {"MAXLEN", "~", "1000000", "LIMIT", "-1"}});
}

Words Generator::Streams() {
  const std::string key = StreamKey();
  // Mostly beyond what is there.
  ++next_id_;
  const std::string next = std::to_string(next_id_ / 4) + "-" + std::to_string(next_id_ % 4);
  const std::string id = Percent(60) ? next : StreamId();
  Words pairs;
  for (int64_t n = Between(1, Percent(90) ? 2 : 30); n > 0; --n) pairs += {Member(), Value()};
  if (Percent(1)) {
    // So many that it is kept as a big one.
    for (int i = 0; i < 150; ++i, ++next_id_)
      next_.push_back({"XADD", key, std::to_string(next_id_ / 4) + "-" + std::to_string(next_id_ % 4), "f", "v"});
    return {"XLEN", key};
  }
  const Words count = OneOf({{}, {}, {"COUNT", Count()}, {"COUNT", "0"}, {"X"}});
  Words add = {"XADD", key};
  if (Percent(10)) add += {"NOMKSTREAM"};
  if (Percent(20)) add += Trim();
  return OneOf({add + Words{id} + pairs, add + Words{id} + pairs, Words{"XADD", key, id} + pairs, Words{"XADD", key, id} + pairs,
                {"XADD", key, id, "f"}, {"XLEN", key}, Words{"XRANGE", key, RangeEnd(), RangeEnd()} + count, Words{"XRANGE", key, "-", "+"} + count,
                Words{"XREVRANGE", key, RangeEnd(), RangeEnd()} + count, Words{"XREVRANGE", key, "+", "-"} + count,
                Words{"XDEL", key} + Many(1, 3, &Generator::StreamId), Words{"XTRIM", key} + Trim(),
                Words{"XREAD"} + (Percent(30) ? Words{"COUNT", Count()} : Words{}) + Words{"STREAMS", key, StreamId()},
                {"XREAD", "STREAMS", key, StreamKey(), StreamId(), StreamId()}, {"XREAD", "STREAMS", key, "$"}, {"XREAD", "STREAMS", key},
                Percent(30) ? Words{"XREAD", "BLOCK", Of({"1", "1", "x", "-1"}), "COUNT", "2", "STREAMS", key, Of({"$", "0", "5"})} : Words{"XLEN", key},
                {"XSETID", key, next}, {"XSETID", key, next, "ENTRIESADDED", Count(), "MAXDELETEDID", StreamId()}, {"XSETID", key, Of({"x", "-"})},
                {"XINFO", "STREAM", key}, Words{"XINFO", "STREAM", key, "FULL"} + OneOf({{}, {"COUNT", Count()}, {"COUNT"}, {"X", "1"}}), {"XINFO", "STREAM", key, "FULL"},
                {"XINFO", "GROUPS", key}, {"XINFO", "CONSUMERS", key, Group()}, {Percent(20) ? "DEL" : "XLEN", key}});
}

Words Generator::StreamGroups() {
  const std::string key = StreamKey();
  const std::string group = Group();
  const std::string consumer = Of({"alice", "bob", "carol"});
  const std::string from = Percent(60) ? Of({"0", "$"}) : StreamId();
  Words read = {"XREADGROUP", "GROUP", group, consumer};
  if (Percent(50)) read += {"COUNT", Percent(95) ? std::to_string(1 + Below(4)) : Count()};
  if (Percent(10)) read += {"NOACK"};
  Words ids = Many(1, 3, &Generator::StreamId);
  if (Percent(20)) ids += {ids.front()};
  std::string after = StreamId();
  if (after.starts_with("18446744073709551615-")) after = "7";
  // Idle times are those that were set here: hours, or none to speak of.
  const std::string idle = Of({"0", "0", "3600000", "-1", "x"});
  Words options;
  if (Percent(30)) options += {"IDLE", Of({"0", "7200000"})};
  if (Percent(20)) options += {"RETRYCOUNT", std::to_string(Below(9))};
  if (Percent(20)) options += {"FORCE"};
  if (Percent(30)) options += {"JUSTID"};
  if (Percent(3)) options += {Of({"X", "TIME", "LASTID"})};
  return OneOf({Words{"XGROUP", "CREATE", key, group, from} + OneOf({{}, {"MKSTREAM"}, {"MKSTREAM"}, {"ENTRIESREAD", Count()}, {"X"}}),
                {"XGROUP", "CREATE", key, group, "0", "MKSTREAM"}, Words{"XGROUP", "SETID", key, group, from} + OneOf({{}, {"ENTRIESREAD", Count()}}),
                {Percent(30) ? "XGROUP" : "XINFO", Percent(50) ? "DESTROY" : "GROUPS", key, group}, {"XGROUP", "CREATECONSUMER", key, group, consumer},
                {"XGROUP", "DELCONSUMER", key, group, consumer}, read + Words{"STREAMS", key, ">"}, read + Words{"STREAMS", key, ">"},
                read + Words{"STREAMS", key, ">"}, read + Words{"STREAMS", key, StreamKey(), ">", ">"}, read + Words{"STREAMS", key, Percent(70) ? "0" : after},
                read + Words{"STREAMS", key, Of({"$", "+"})},
                Percent(30) ? read + Words{"BLOCK", Of({"1", "1", "x", "-1"}), "STREAMS", key, ">"} : Words{"XPENDING", key, group},
                {"XPENDING", key, group, "IDLE", idle, RangeEnd(), RangeEnd(), Count(), consumer},
 Words{"XACK", key, group} + ids, Words{"XACK", key, group} + ids, {"XPENDING", key, group},
                {"XPENDING", key, group, "-", "+", Count()}, {"XPENDING", key, group, RangeEnd(), RangeEnd(), "10", consumer},
                {"XPENDING", key, group, "IDLE", idle, "-", "+", "10"}, Words{"XCLAIM", key, group, consumer, idle} + ids + options,
                Words{"XCLAIM", key, group, consumer, "0"} + ids + options, Words{"XAUTOCLAIM", key, group, consumer, idle, Percent(70) ? "0" : RangeEnd()} +
                    OneOf({{}, {"COUNT", "3"}, {"JUSTID"}, {"COUNT", "0"}, {"X"}}),
                {"XINFO", "GROUPS", key}, {"XINFO", "CONSUMERS", key, group}});
}

}  // namespace polyarch::differential
