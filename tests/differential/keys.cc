// Keys of any type, databases, SORT, and what is wrong.
#include "tests/differential/generator.h"

namespace polyarch::differential {

Words Generator::Expiries() {
  const std::string key = Percent(50) ? Key() : AnyKey();
  const std::string unit = Percent(50) ? "000" : "";  // in milliseconds
  const bool at = Percent(50);
  std::string name = (unit.empty() ? "EXPIRE" : "PEXPIRE") + std::string(at ? "AT" : "");
  std::string when = std::to_string((at ? 4'000'000'000 : 5000) + Below(3000)) + unit;
  if (Percent(15)) {
    when = Of({"0", "-1", "x", "4611686018427387904", "-9223372036854775808", "9223372036854775807", "9223372036854775808", "1000000000000000"});
  }
  const Words option = OneOf({{}, {}, {}, {"NX"}, {"XX"}, {"GT"}, {"LT"}, {"nx"}, {"NX", "XX"}, {"GT", "LT"}, {"Z"}});
  return OneOf({Words{name, key, when} + option, {name, key, when}, {"PERSIST", key}, {"TTL", key}, {"PTTL", key},
                {"EXPIRETIME", key}, {"PEXPIRETIME", key}});
}

Words Generator::ManyKeys() {
  const Words keys = Many(1, 4, Percent(50) ? &Generator::Key : &Generator::AnyKey);
  Words flat;
  for (const std::string& key : Many(1, 4, &Generator::Key)) flat += {key, Value()};
  return OneOf({Words{"MGET"} + keys, Words{"MSET"} + flat, Words{"MSETNX"} + flat, Words{"DEL"} + keys, Words{"UNLINK"} + keys,
                Words{"EXISTS"} + keys, Words{"TOUCH"} + keys, Words{"MSET"} + flat + Words{"odd"}, Words{"DEL"} + keys});
}

Words Generator::Keys() {
  return OneOf({{"KEYS", Of({"*", "a*", "?", "[ab]", "*2", "n[1-2]*", "[^a]", "\\a", "x*y", "", "[", "s?"})},
                {"SCAN", "0", "COUNT", "100000"}, {"SCAN", "0", "MATCH", Of({"n*", "h*", "[sz]1"}), "COUNT", "100000"},
                {"SCAN", "0", "TYPE", Of({"string", "list", "hash", "set", "zset", "stream", "nosuch"}), "COUNT", "100000"}, {"SCAN", ScanCursor(), "COUNT", "100000"},
                KeyPlaces(), KeyPlaces(), {"COMMAND", "INFO", Of({"nosuch", "", "nosuch|get"})},
                // Long ones: a star may stand for much.
                {"KEYS", "*" + std::string(1 + Below(100), 'v') + Of({"", "?", "*", "w*", "[^v]", "?*v*v"})},
                {"SCAN", "0", "COUNT", "0"}, {"SCAN", "0", "COUNT", "x"}, {"SCAN", "0", "BOGUS"}, {"DBSIZE"}, {"DBSIZE"},
                {"OBJECT", "ENCODING", AnyKey()}, {"OBJECT", "ENCODING", Key()}, {"OBJECT", "REFCOUNT", "no such"},
                {"TYPE", AnyKey()}, {"EXISTS", AnyKey(), AnyKey()}, {"RANDOMKEY"},
                {"OBJECT", Of({"FREQ", "X"}), AnyKey()}, {"SCAN", "0", "TYPE", "list", "MATCH", "l*", "COUNT", "100000"}});
}

// Where keys are: among words that look like options, and behind counts that may be wrong. (Redis's GETKEYS looks into what
// SORT stores to for another option, its SORT does not.)
Words Generator::KeyPlaces() {
  const std::string count = Percent(80) ? std::to_string(1 + Below(3)) : Of({"0", "-1", "x", "9", "99999999999999999999"});
  Words words = {"COMMAND", "GETKEYS"};
  auto word = [&] { return Of({"store", "STORE", "a", "b", "BY", "get", "store*", "storedist", "1", "streams"}); };
  switch (Below(4)) {
    case 0:
      words += {"SORT", Key()};
      for (uint64_t n = Below(4); n > 0; --n) words += OneOf({{"BY", word()}, {"GET", word()}, {"LIMIT", word(), word()}, {"DESC"}, {"STORE", Of({"a", "b"})}});
      return words;
    case 1:
      words += OneOf({{"GEORADIUS", Key(), word(), word(), "1", "m"}, {"GEORADIUSBYMEMBER", Key(), word(), "1", "m"}});
      return words + OneOf({{}, {"STORE", "a"}, {"STOREDIST", "a"}, {"WITHDIST"}, {"COUNT", "1"}});
    case 2:
      words += OneOf({{Of({"ZUNION", "ZINTER", "ZDIFF", "SINTERCARD", "ZINTERCARD", "ZMPOP", "LMPOP"})}, {"ZUNIONSTORE", word()}, {"EVAL", "x"},
                      {"FCALL", "f"}, {"BLMPOP", "0"}});
      words.push_back(count);
      for (uint64_t n = Between(2, 4); n > 0; --n) words.push_back(Key());
      return words;
    default:
      words += {"XREAD"};
      if (Percent(50)) words += {"COUNT", "1"};
      if (Percent(90)) words += {Of({"STREAMS", "streams"})};
      for (uint64_t n = Between(3, 6); n > 0; --n) words.push_back(Of({"a", "b", "0", "$"}));
      return words;
  }
}

Words Generator::Renames() {
  const std::string from = AnyKey();
  const std::string to = AnyKey();
  return OneOf({{"RENAME", from, to}, {"RENAMENX", from, to}, {"COPY", from, to}, {"COPY", from, to, "REPLACE"},
                {"COPY", from, to, "DB", std::to_string(Below(3))}, {"COPY", from, to, "DB", Of({"16", "-1", "x"})},
                {"COPY", from, to, "X"}, {"MOVE", from, std::to_string(Below(3))}, {"MOVE", from, Of({"16", "x"})},
                {"DEL", from}, {"DEL", to}});
}

Words Generator::Wrong() {
  std::string name = Of({"GET", "SET", "INCR", "INCRBY", "MGET", "MSET", "SETEX", "GETRANGE", "EXPIRE", "TTL", "COPY", "RENAME", "DEL",
                         "APPEND", "LCS", "SCAN", "NOSUCHCOMMAND", "SETRANGE", "KEYS", "ECHO", "SELECT", "OBJECT", "PERSIST", "GETEX",
                         "DBSIZE", "FLUSHDB", "PING", "TYPE", "SETBIT", "BITOP", "PFADD", "SORT", "RESTORE", "HSET", "HGET", "HDEL",
                         "HINCRBY", "HSCAN", "SADD", "SMOVE", "SINTER", "SINTERCARD", "SSCAN", "ZADD", "ZRANGE", "ZINCRBY", "ZUNION",
                         "ZINTERSTORE", "ZRANGESTORE", "ZMPOP", "GEOADD", "GEOSEARCH", "GEODIST", "LPUSH", "LMOVE", "LMPOP", "LPOS",
                         "BLPOP", "BZPOPMIN", "LINSERT", "XADD", "XREAD", "XREADGROUP", "XGROUP", "XCLAIM", "XINFO", ""});
  Words words = {name};
  for (uint64_t n = Below(5); n > 0; --n) {
    std::string key = AnyKey();
    words.push_back(key.find('\0') == std::string::npos ? key : "\r\n");
  }
  if (name == "SELECT" || (name == "FLUSHDB" && words.size() == 1)) words = {name, "x"};
  if (name == "SCAN") words.insert(words.begin() + 1, "y");
  // (A wait would take its time.)
  if (name == "BLPOP" || name == "BZPOPMIN") words.push_back("x");
  return words;
}

Words Generator::Databases() {
  return OneOf({{"SELECT", Of({"0", "0", "0", "1", "2"})}, {"SELECT", Of({"16", "-1", "x", "1099511627776"})}, {"ECHO", Value()},
                {"PING"}, {"PING", Value()}, {"DBSIZE"},
                OneOf({{"FLUSHDB"}, {"DBSIZE"}, {"DBSIZE"}, {"FLUSHALL", "ASYNC"}, {"FLUSHDB", "SYNC"}, {"FLUSHALL", "X"}})});
}

// Of lists, sets and sorted sets, by their values and by keys that hang together with them.
Words Generator::Sort() {
  const std::string key = Percent(50) ? ListKey() : Percent(50) ? SetKey() : Percent(90) ? SortedKey() : GeoKey();
  const std::string weight = std::to_string(Below(12));
  Words words = {Percent(80) ? "SORT" : "SORT_RO", key};
  // (Redis leaves the order open of what has equal weights under BY and ALPHA.)
  if (Percent(40)) {
    words += {"BY", Of({"w_*", "hw*->k", "s*", "nosuch_*", "store*"})};
  } else if (Percent(60)) {
    words += {"ALPHA"};
  }
  if (Percent(40)) words += {Of({"ASC", "DESC", "asc"})};
  if (Percent(40)) words += {"LIMIT", Index(), Count()};
  for (uint64_t n = Below(3); n > 0; --n) words += {"GET", Of({"#", "w_*", "hw*->k", "x*", "store", "STORE*"})};
  if (Percent(3)) words += {"X"};
  if (Percent(15)) {
    // One may refuse where the other does not (equal.cc, StaleErrno): what was stored gives way.
    const std::string to = ListKey();
    words += {"STORE", to};
    next_ = {{"SET", to, "x"}, {"DEL", to}};
    return words;
  }
  return OneOf({words, words, {"SET", "w_" + weight, std::to_string(Between(-20, 20))}, {"HSET", "hw" + weight, "k", std::to_string(Between(-20, 20))}});
}

}  // namespace polyarch::differential
