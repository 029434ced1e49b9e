// Policies `merge`, of keys and of fields, and values that they make something of.
#include "sim/workload.h"
#include "sim/world.h"

namespace polyarch::sim {

std::string Workload::DrawMergeable() {
  Draw& draw = world_.draw();
  if (draw.Percent(35)) {  // a list
    std::string list;
    for (int64_t n = draw.Between(1, 4); n > 0; --n) {
      if (!list.empty()) list += ',';
      list += static_cast<char>('a' + draw.Below(6));
    }
    return list;
  }
  if (draw.Percent(25)) return std::to_string(draw.Below(30)) + (draw.Percent(20) ? ".50" : "");
  std::string object = "{";
  for (int64_t n = draw.Between(0, 3); n > 0; --n) {
    if (object.size() > 1) object += ',';
    object.append("\"k").append(std::to_string(4 - n + static_cast<int64_t>(draw.Below(2)) * 3)).append("\":");
    const std::string number = std::to_string(next_value_++);
    if (draw.Percent(30)) {
      object.append("{\"").append(draw.Percent(50) ? "x" : "y").append("\":").append(number).append("}");
    } else {
      const std::string leaf = next_value_ % 7 == 0 ? "null" : next_value_ % 11 == 0 ? "true" : number;
      object.append(draw.Percent(20) ? "[" + number + "]" : leaf);
    }
  }
  return object + "}";
}

std::vector<std::string> Workload::DrawMergePolicy(const std::string& pattern) {
  Draw& draw = world_.draw();
  std::vector<std::string> args = {"POLICY", draw.Percent(85) ? "SET" : "DEL", pattern};
  // What transactions and counters are known by are fields, too: those keep the policy of their key.
  if (profile_.collection_percent != 0 && !pattern.starts_with(kTrackedPrefix) && draw.Percent(50)) {
    args.insert(args.end(), {"FIELD", DrawElement()});
  }
  if (args[1] == "DEL") return args;
  switch (draw.Below(9)) {
    case 0: return args.push_back("lww"), args;
    case 8: return args.insert(args.end(), {"lww", "DELETES"}), args;
    case 1: return args.push_back("siblings"), args;
    case 2: return args.insert(args.end(), {"merge", "MIN"}), args;
    case 3: return args.insert(args.end(), {"merge", "MAX"}), args;
    case 4: return args.insert(args.end(), {"merge", "UNION"}), args;
    case 5: return args.insert(args.end(), {"merge", "CONCAT"}), args;
    default: return args.insert(args.end(), {"merge", "JSON"}), args;
  }
}

}  // namespace polyarch::sim
