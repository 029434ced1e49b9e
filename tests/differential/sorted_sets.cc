// Sorted sets and geo.
#include "tests/differential/generator.h"

namespace polyarch::differential {

Words Generator::SortedSets() {
  const std::string key = SortedKey();
  Words pairs;
  for (int64_t n = Percent(70) ? 1 : Between(1, Percent(90) ? 6 : 150); n > 0; --n) pairs += {Score(), Member()};
  Words options;
  if (Percent(15)) options += {Of({"NX", "XX"})};
  if (Percent(15)) options += {Of({"GT", "LT"})};
  if (Percent(15)) options += {"CH"};
  if (Percent(3)) options += {Of({"NX", "XX", "GT", "BOGUS"})};
  const Words several = OneOf({{}, {"COUNT", Count()}, {"COUNT", "0"}, {"X"}});
  const Words keys = Many(1, 3, &Generator::SortedKey);
  const std::string many = std::to_string(keys.size());
  if (Percent(1)) {
    return OneOf({{Of({"BZPOPMIN", "BZPOPMAX"}), "z1", SortedKey(), Of({"0.001", "x", "-1"})},
                  Words{"BZMPOP", "0.001", many} + keys + Words{Of({"MIN", "MAX"})} + several});
  }
  return OneOf({Words{"ZADD", key} + pairs, Words{"ZADD", key} + options + pairs, Words{"ZADD", key} + pairs,
                Words{"ZADD", key} + options + Words{"INCR", Score(), Member()}, Words{"ZADD", key} + options + Words{"INCR"} + pairs,
                {"ZINCRBY", key, Score(), Member()}, {"ZINCRBY", key, Quarter(), Member()}, Words{"ZREM", key} + Many(1, 3, &Generator::Member),
                {"ZCARD", key}, {"ZSCORE", key, Member()}, Words{"ZMSCORE", key} + Many(1, 3, &Generator::Member),
                {Of({"ZRANK", "ZREVRANK"}), key, Member()}, {"ZCOUNT", key, ScoreEnd(), ScoreEnd()}, {Of({"ZPOPMIN", "ZPOPMAX"}), key},
                {Of({"ZPOPMIN", "ZPOPMAX"}), key, Count()}, Words{"ZMPOP", many} + keys + Words{Of({"MIN", "MAX", "min", "X"})} + several,
                {"ZSCAN", key, "0", "COUNT", "100000"},
                {"ZSCAN", key, ScanCursor(), Of({"MATCH", "COUNT", "X"}), Of({"0", "x", "*"}), "COUNT", "100000"}, {"ZSCAN", key, "0", "MATCH", Of({"*1", "m*"}), "COUNT", "100000"},
                {"ZRANDMEMBER", key}, {"ZRANDMEMBER", key, "100000", "WITHSCORES"}, {"ZRANDMEMBER", key, std::to_string(Between(-9, 9))},
                {"ZREMRANGEBYRANK", key, Index(), Index()}, {"ZREMRANGEBYSCORE", key, ScoreEnd(), ScoreEnd()},
                {Percent(30) ? "DEL" : "ZCARD", key}});
}

Words Generator::SortedRanges() {
  const std::string key = SortedKey();
  const Words scores = OneOf({{}, {"WITHSCORES"}, {"withscores"}, {}, {"X"}});
  const Words limit = OneOf({{}, {}, {"LIMIT", std::to_string(Between(-1, 5)), std::to_string(Between(-2, 9))}, {"LIMIT", "x", "1"}, {"LIMIT", "1"}});
  const Words reverse = Percent(30) ? Words{"REV"} : Words{};
  return OneOf({Words{"ZRANGE", key, Index(), Index()} + scores, Words{"ZRANGE", key, "0", "-1"} + scores, Words{"ZRANGE", key, Index(), Index()} + reverse + scores,
                Words{"ZRANGE", key, ScoreEnd(), ScoreEnd(), "BYSCORE"} + reverse + limit + scores, Words{"ZRANGE", key, Index(), Index()} + limit,
                Words{"ZREVRANGE", key, Index(), Index()} + scores, Words{"ZRANGEBYSCORE", key, ScoreEnd(), ScoreEnd()} + scores + limit,
                Words{"ZREVRANGEBYSCORE", key, ScoreEnd(), ScoreEnd()} + limit + scores,
                Words{"ZRANGESTORE", SortedKey(), key, Index(), Index()} + reverse,
                Words{"ZRANGESTORE", SortedKey(), key, ScoreEnd(), ScoreEnd(), "BYSCORE"} + reverse + limit,
                Words{"ZRANGESTORE", SortedKey(), key, "0", "-1"} + scores});
}

Words Generator::SortedAlgebra() {
  Words keys = Many(1, 3, &Generator::SortedKey);
  if (Percent(20)) keys[0] = SetKey();
  const std::string count = Percent(97) ? std::to_string(keys.size()) : Count();
  Words options;
  if (Percent(30)) {
    options += {"WEIGHTS"};
    for (size_t i = 0; i < keys.size(); ++i) options += {Percent(95) ? Of({"0", "1", "2", "-1", "0.5", "1e1"}) : Of({"x", "inf", "nan"})};
  }
  if (Percent(30)) options += {"AGGREGATE", Percent(95) ? Of({"SUM", "MIN", "MAX", "min"}) : "X"};
  const Words scores = OneOf({{}, {"WITHSCORES"}, {}, {"WITHSCORES"}, {"X"}});
  const std::string name = Of({"ZUNION", "ZINTER"});
  return OneOf({Words{name, count} + keys + options + scores, Words{name + "STORE", SortedKey(), count} + keys + options, Words{"ZDIFF", count} + keys + scores,
                Words{"ZDIFFSTORE", SortedKey(), count} + keys, Words{"ZINTERCARD", count} + keys, Words{"ZINTERCARD", count} + keys + Words{"LIMIT", Count()},
                Words{name + "STORE", SortedKey(), count} + keys});
}

// Of sorted sets in which all scores are 0; only this writes them.
Words Generator::SortedNames() {
  const std::string key = Of({"names1", "names2"});
  Words pairs;
  for (int64_t n = Between(1, Percent(90) ? 4 : 150); n > 0; --n) pairs += {"0", Member()};
  const Words limit = OneOf({{}, {}, {"LIMIT", std::to_string(Between(-1, 5)), std::to_string(Between(-2, 9))}});
  return OneOf({Words{"ZADD", key} + pairs, Words{"ZADD", key} + pairs, Words{"ZRANGEBYLEX", key, NameEnd(), NameEnd()} + limit,
                Words{"ZREVRANGEBYLEX", key, NameEnd(), NameEnd()} + limit, {"ZLEXCOUNT", key, NameEnd(), NameEnd()},
                Words{"ZRANGE", key, NameEnd(), NameEnd(), "BYLEX"} + limit, Words{"ZRANGE", key, NameEnd(), NameEnd(), "BYLEX", "REV"} + limit,
                {"ZRANGE", key, NameEnd(), NameEnd(), "BYLEX", "WITHSCORES"}, {"ZREMRANGEBYLEX", key, NameEnd(), NameEnd()},
                Words{"ZRANGESTORE", SortedKey(), key, NameEnd(), NameEnd(), "BYLEX"} + limit, {Percent(30) ? "DEL" : "ZCARD", key}});
}

Words Generator::Geo() {
  auto degrees = [&](int64_t most) { return std::to_string(Between(-most, most)) + "." + std::to_string(Between(100000, 999999)); };
  auto place = [&]() -> Words {
    if (Percent(3)) return {Of({"181", "x", "-180.5", ""}), "1", Member()};
    return {Percent(50) ? degrees(179) : "13." + std::to_string(Between(100000, 999999)),
            Percent(50) ? degrees(84) : "38." + std::to_string(Between(100000, 999999)), Member()};
  };
  Words places = place();
  for (uint64_t n = Below(4); n > 0; --n) places += place();
  const std::string key = GeoKey();
  return OneOf({Words{"GEOADD", key} + places, Words{"GEOADD", key} + places, Words{"GEOADD", key, Of({"NX", "XX", "CH", "X"})} + places,
                Words{"GEOADD", key, Of({"NX", "XX", "CH"}), Of({"CH", "ch", "XX"})} + places,
                Words{"GEOPOS", key} + Many(1, 3, &Generator::Member), Words{"GEOHASH", key} + Many(1, 3, &Generator::Member),
                Words{"GEODIST", key, Member(), Member()} + OneOf({{}, {"km"}, {"mi"}, {"ft"}, {"m"}, {"x"}}), {"ZREM", key, Member()},
                {"ZSCORE", key, Member()}, {"ZRANGE", key, "0", "-1", "WITHSCORES"}});
}

Words Generator::GeoSearch() {
  const std::string key = GeoKey();
  const std::string unit = Percent(97) ? Of({"km", "km", "mi", "m", "ft"}) : "x";
  const std::string radius = Percent(97) ? std::to_string(Percent(50) ? Below(200) : Below(20'000)) : Of({"-1", "x"});
  const Words from = Percent(50) ? Words{"FROMMEMBER", Member()} : Words{"FROMLONLAT", "13.361389", "38.115556"};
  const Words by = Percent(60) ? Words{"BYRADIUS", radius, unit} : Words{"BYBOX", radius, std::to_string(1 + Below(5000)), unit};
  Words options;
  if (Percent(40)) options += {Of({"ASC", "DESC"})};
  if (Percent(30)) {
    options += {"COUNT", Percent(95) ? std::to_string(1 + Below(9)) : Count()};
    // (Which ones are found first is nobody's promise: so many that it does not matter.)
    if (Percent(20)) options = Words{"COUNT", "100000", "ANY"};
  } else if (Percent(3)) {
    options += {"ANY"};
  }
  Words with;
  for (const char* what : {"WITHCOORD", "WITHDIST", "WITHHASH"}) {
    if (Percent(25)) with += {what};
  }
  if (Percent(3)) with += {"X"};
  return OneOf({Words{"GEOSEARCH", key} + from + by + options + with, Words{"GEOSEARCHSTORE", GeoKey(), key} + from + by + options,
                Words{"GEOSEARCHSTORE", "distances", key} + from + by + options + Words{"STOREDIST"} + with, {"ZCARD", "distances"},
                Words{"GEORADIUS_RO", key, "13.361389", "38.115556", radius, unit} + options + with,
                Words{"GEORADIUS", key, "13.361389", "38.115556", radius, unit} + options + Words{Of({"STORE", "STOREDIST"}), "distances"} + with,
                Words{"GEORADIUS", key, "13.361389", "38.115556", radius, unit} + options + with,
                Words{"GEORADIUSBYMEMBER_RO", key, Member(), radius, unit} + options + with,
                Words{"GEORADIUSBYMEMBER", key, Member(), radius, unit} + options + Words{"STORE", GeoKey()}});
}

}  // namespace polyarch::differential
