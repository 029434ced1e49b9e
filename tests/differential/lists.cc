// Lists.
#include "tests/differential/generator.h"

namespace polyarch::differential {

Words Generator::Lists() {
  const std::string key = ListKey();
  const Words values = Many(1, Percent(80) ? 2 : Percent(80) ? 8 : 200, &Generator::Member);
  const std::string value = Member();
  return OneOf({Words{"RPUSH", key} + values, Words{"LPUSH", key} + values, Words{"RPUSH", key} + values,
                Words{Of({"RPUSHX", "LPUSHX"}), key} + values, {Of({"LPOP", "RPOP"}), key}, {Of({"LPOP", "RPOP"}), key, Count()},
                {"LLEN", key}, {"LRANGE", key, Index(), Index()}, {"LRANGE", key, "0", "-1"}, {"LINDEX", key, Index()},
                {"LSET", key, Index(), value}, {"LINSERT", key, Of({"BEFORE", "after", "AFTER", "X"}), Member(), value},
                {"LINSERT", key, Of({"BEFORE", "AFTER"}), Member(), value}, {"LREM", key, Of({"0", "1", "-1", "2", "-2", "x"}), value},
                {"LTRIM", key, std::to_string(Below(4)), std::to_string(-1 - Between(0, 3))}, {"LTRIM", key, Index(), Index()},
                Words{"LPOS", key, value} + OneOf({{}, {"RANK", Index()}, {"COUNT", std::to_string(Between(-1, 5))},
                                                   {"COUNT", "0", "RANK", std::to_string(Between(-3, 3))},
                                                   {"MAXLEN", std::to_string(Between(-1, 9))}, {"X"},
                                                   {"RANK", std::to_string(Between(-3, 3)), "COUNT", std::to_string(Between(0, 3)), "MAXLEN", std::to_string(Between(0, 9))}}),
                {"DEL", key}, {"OBJECT", "ENCODING", "l1"}});
}

Words Generator::ListMoves() {
  const Words keys = Many(1, 3, &Generator::ListKey);
  const std::string count = std::to_string(keys.size());
  const std::string end = Of({"LEFT", "RIGHT", "left", "right", "RIGHT", "UP"});
  const Words several = OneOf({{}, {"COUNT", Count()}, {"COUNT", "0"}, {"X"}});
  // A wait takes its time on both sides: seldom.
  if (Percent(3)) {
    return OneOf({{Of({"BLPOP", "BRPOP"}), "l1", ListKey(), Of({"0.001", "x", "-1"})}, {"BLMOVE", ListKey(), ListKey(), "LEFT", end, "0.001"},
                  Words{"BLMPOP", "0.001", count} + keys + Words{end} + several, {"BRPOPLPUSH", ListKey(), ListKey(), "0.001"}});
  }
  return OneOf({{"LMOVE", ListKey(), ListKey(), Of({"LEFT", "RIGHT"}), end}, {"RPOPLPUSH", ListKey(), ListKey()},
                Words{"LMPOP", count} + keys + Words{end} + several, Words{"LMPOP", Count()} + keys + Words{end} + several});
}

}  // namespace polyarch::differential
