// Commands that wait for elements, and those that bring some to keys that are mostly empty.
#include "sim/marks.h"
#include "sim/workload.h"
#include "sim/world.h"

namespace polyarch::sim {

std::vector<std::string> Workload::DrawWaiting() {
  Draw& draw = world_.draw();
  // Mostly a key that holds nothing but this type.
  const std::string queue = draw.Percent(75) ? "queue" : DrawKey();
  const std::string scores = draw.Percent(75) ? "scores" : DrawKey();
  const std::string timeout = std::to_string(draw.Between(1, 20) * 0.1);
  auto end = [&] { return draw.Percent(50) ? "LEFT" : "RIGHT"; };
  const unsigned weights[] = {40, 25, 25, 12, 10, 20, 10};
  switch (draw.Weighted(weights)) {
    case 0: return {"RPUSH", queue, DrawValue()};
    case 1: return {"ZADD", scores, std::to_string(draw.Between(-5, 9)), DrawElement()};
    case 2: {
      std::vector<std::string> args = {draw.Percent(50) ? "BLPOP" : "BRPOP", queue};
      if (draw.Percent(40)) args.push_back(draw.Percent(50) ? "queue" : DrawKey());
      args.push_back(timeout);
      return args;
    }
    case 3: return {"BLMOVE", queue, draw.Percent(50) ? "queue" : DrawKey(), end(), end(), timeout};
    case 4: return {"BLMPOP", timeout, "1", queue, end()};
    case 5: {
      std::vector<std::string> args = {draw.Percent(60) ? "BZPOPMIN" : "BZPOPMAX", scores};
      if (draw.Percent(30)) args.push_back(DrawKey());
      args.push_back(timeout);
      return args;
    }
    default: return {"BZMPOP", timeout, "1", scores, draw.Percent(50) ? "MIN" : "MAX"};
  }
}

// Some clients of one leader wait for one key; then somebody, there or elsewhere, brings something.
void Workload::WaitTogether(std::vector<Node*> writers) {
  Draw& draw = world_.draw();
  Node& node = *draw.Pick(writers);
  const uint64_t family = draw.Below(3);
  auto waiter = [&]() -> std::vector<std::string> {
    const std::string timeout = std::to_string(draw.Between(1, 20) * 0.5);
    const uint64_t which = draw.Below(3);
    const bool first = draw.Percent(50);
    if (family == 0 && which == 0) return {first ? "BLPOP" : "BRPOP", "queue", timeout};
    if (family == 0 && which == 1) return {"BLMOVE", "queue", first ? "done" : "queue", "LEFT", "RIGHT", timeout};
    if (family == 0) return {"BLMPOP", timeout, "1", "queue", first ? "LEFT" : "RIGHT"};
    if (family == 1 && which == 0) return {"BZMPOP", timeout, "1", "scores", first ? "MIN" : "MAX"};
    if (family == 1) return {first ? "BZPOPMIN" : "BZPOPMAX", "scores", timeout};
    const std::string ms = std::to_string(draw.Between(500, 10'000));
    if (which == 0) return {"XREAD", "BLOCK", ms, "STREAMS", "events", "$"};
    return {"XREADGROUP", "GROUP", "g0", "c" + std::to_string(draw.Below(3)), "BLOCK", ms, "STREAMS", "events", ">"};
  };
  auto bringer = [&]() -> std::vector<std::string> {
    if (family == 0) return {draw.Percent(50) ? "RPUSH" : "LPUSH", "queue", DrawValue()};
    if (family == 1) return {"ZADD", "scores", std::to_string(draw.Between(-5, 9)), DrawElement()};
    return {"XADD", "events", "*", DrawElement(), DrawValue()};
  };
  for (int client = 0; client < node.clients(); ++client) {
    if (client == kOtherDbClient || node.ClientBusy(client) || draw.Percent(20)) continue;
    // One of them may be who brings something.
    if (draw.Percent(25)) {
      Give(node, client, bringer());
      continue;
    }
    SOMETIMES(kWaitTogether);
    Give(node, client, waiter());
  }
  Node& other = *draw.Pick(writers);
  for (int client = 0; client < other.clients(); ++client) {
    if (client != kOtherDbClient && !other.ClientBusy(client) && (&other != &node || draw.Percent(50))) {
      Give(other, client, bringer());
      return;
    }
  }
}

}  // namespace polyarch::sim
