// Hashes and sets.
#include "tests/differential/generator.h"

namespace polyarch::differential {

Words Generator::Hashes() {
  const std::string key = HashKey();
  const std::string field = Field();
  Words pairs;
  for (int64_t n = Percent(70) ? 1 : Between(1, Percent(90) ? 6 : 200); n > 0; --n) pairs += {Field(), Value()};
  const std::string real = Of({"f1", "f2"});
  return OneOf({Words{"HSET", key} + pairs, Words{"HSET", key} + pairs, Words{"HMSET", key} + pairs, {"HSET", key, field}, {"HGET", key, field},
                Words{"HMGET", key} + Many(1, 4, &Generator::Field), {"HGETALL", key}, {"HKEYS", key}, {"HVALS", key}, {"HLEN", key},
                {"HEXISTS", key, field}, {"HSTRLEN", key, field}, Words{"HDEL", key} + Many(1, 3, &Generator::Field),
                {"HSETNX", key, field, Value()}, {"HINCRBY", key, field, Int()}, {"HINCRBY", key, Field(), std::to_string(Between(-9, 9))},
                {"HINCRBY", key, field, NumberText()}, {"HINCRBYFLOAT", key, real, Quarter()}, {"HINCRBYFLOAT", key, real, Of({"x", "nan", "inf"})},
                {"HSET", key, real, Quarter()}, {"HSCAN", key, "0", "COUNT", "100000"},
                {"HSCAN", key, "0", "MATCH", Of({"*1", "k*", "[0-4]"}), "COUNT", "100000"},
                {"HSCAN", key, ScanCursor(), Of({"MATCH", "COUNT", "X"}), Of({"0", "x", "*"}), "COUNT", "100000"},
                {"HRANDFIELD", key, Of({"4611686018427387904", "-4611686018427387904", "9223372036854775807"}), "WITHVALUES"},
                {"HRANDFIELD", key}, {"HRANDFIELD", key, "100000"}, {"HRANDFIELD", key, "100000", "WITHVALUES"},
                {"HRANDFIELD", key, std::to_string(Between(-6, 0))}, {"HRANDFIELD", key, Count(), Of({"WITHVALUES", "X"})},
                {Percent(30) ? "DEL" : "HLEN", key}});
}

Words Generator::Sets() {
  const std::string key = SetKey();
  const Words members = Many(1, Percent(80) ? 2 : Percent(80) ? 8 : 200, &Generator::Member);
  if (Percent(5)) {
    // What is popped is each server's choice: how many is compared, and then the set goes.
    next_ = {OneOf({{"SPOP", key}, {"SPOP", key, Count()}}), {"SCARD", key}, {"DEL", key}};
    Words first = std::move(next_.front());
    next_.pop_front();
    return first;
  }
  return OneOf({Words{"SADD", key} + members, Words{"SADD", key} + members, Words{"SADD", key} + members, Words{"SREM", key} + members,
                {"SCARD", key}, {"SISMEMBER", key, Member()}, Words{"SMISMEMBER", key} + members, {"SMEMBERS", key},
                {"SMOVE", key, SetKey(), Member()}, {"SSCAN", key, "0", "COUNT", "100000"},
                {"SSCAN", key, "0", "MATCH", Of({"*1", "m*", "[0-4]"}), "COUNT", "100000"}, {"SPOP", key, "100000"}, {"SPOP", key, "-1"},
                {"SSCAN", key, ScanCursor(), Of({"MATCH", "COUNT", "X"}), Of({"0", "x", "*"}), "COUNT", "100000"},
                {"SRANDMEMBER", key}, {"SRANDMEMBER", key, "100000"}, {"SRANDMEMBER", key, Count()}, {"SRANDMEMBER", key, std::to_string(Between(-9, -1))},
                {Percent(30) ? "DEL" : "SCARD", key}});
}

Words Generator::SetAlgebra() {
  const Words keys = Many(1, 3, &Generator::SetKey);
  const std::string count = std::to_string(keys.size());
  return OneOf({Words{"SINTER"} + keys, Words{"SUNION"} + keys, Words{"SDIFF"} + keys, Words{"SINTERSTORE", SetKey()} + keys,
                Words{"SUNIONSTORE", SetKey()} + keys, Words{"SDIFFSTORE", SetKey()} + keys, Words{"SINTERCARD", count} + keys,
                Words{"SINTERCARD", count} + keys + Words{"LIMIT", Count()}, Words{"SINTERCARD", Count()} + keys});
}

}  // namespace polyarch::differential
