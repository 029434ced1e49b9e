// Handlers, loaded, replaced and deleted under load, and policies that name them.
#include "sim/expected_handler.h"
#include "sim/workload.h"
#include "sim/world.h"

namespace polyarch::sim {

std::vector<std::string> Workload::DrawHandlerCommand(const std::string& pattern) {
  Draw& draw = world_.draw();
  const std::string name = draw.Percent(60) ? "one" : "two";
  if (draw.Percent(40)) return {"HANDLER", "LOAD", name, DrawHandlerSource(draw, next_value_++)};
  if (draw.Percent(10)) return {"HANDLER", "DEL", name};
  std::vector<std::string> args = {"POLICY", draw.Percent(85) ? "SET" : "DEL", pattern};
  // As with merges: what transactions and counters are known by keeps the policy of its key.
  if (profile_.collection_percent != 0 && !pattern.starts_with(kTrackedPrefix) &&
      draw.Percent(30)) {
    args.insert(args.end(), {"FIELD", DrawElement()});
  }
  if (args[1] == "DEL") return args;
  switch (draw.Below(6)) {
    case 0:
      return args.push_back("lww"), args;
    case 1:
      return args.push_back("siblings"), args;
    default:
      return args.insert(args.end(), {"handler", name}), args;
  }
}

}  // namespace polyarch::sim
