// Conflict feeds: made, read, acknowledged and deleted under load.
#include <algorithm>

#include "sim/feeds.h"
#include "sim/workload.h"
#include "sim/world.h"

namespace polyarch::sim {

void Workload::UseFeed(Node& node, int client) {
  Draw& draw = world_.draw();
  const std::string group = draw.Percent(70) ? "f" : "g";
  const uint64_t what = draw.Below(100);
  Op op;
  op.id = world_.NextOp();
  op.client = client;
  if (what < 15) {
    op.args = {"CONFLICT",
               "FEED",
               "CREATE",
               group,
               draw.Percent(60) ? "*" : DrawKey().substr(0, 1) + "*",
               "LEADERS"};
    const size_t first = draw.Below(world_.nodes().size());
    for (size_t i = 0; i < world_.nodes().size() && i < 3; ++i) {
      const std::string name = world_.leader_name((first + i) % world_.nodes().size());
      if (std::find(op.args.begin(), op.args.end(), name) == op.args.end()) op.args.push_back(name);
    }
  } else if (what < 18) {
    op.args = {"CONFLICT", "FEED", "DEL", group};
  } else if (what < 60 || feed_ids_.empty()) {
    op.args = {"CONFLICT",
               "FEED",
               "READ",
               group,
               "c" + std::to_string(draw.Below(3)),
               "COUNT",
               std::to_string(draw.Between(1, 5)),
               "AGAIN",
               std::to_string(draw.Scale(1, 20'000))};
    op.done = [this, group](Op&, const resp::Value& reply) {
      for (std::string& id : world_.feeds().NoteRead(group, reply)) {
        if (feed_ids_.size() < 50) feed_ids_.emplace_back(group, std::move(id));
      }
    };
  } else {
    const size_t i = draw.Below(feed_ids_.size());
    const auto [of, id] = feed_ids_[i];
    if (draw.Percent(70)) feed_ids_.erase(feed_ids_.begin() + static_cast<ptrdiff_t>(i));
    world_.feeds().NoteAck(of, id);
    op.args = {"CONFLICT", "FEED", "ACK", of, id};
  }
  KeysOf(op.args, client == kOtherDbClient ? 1 : 0, op.keys, op.whole);
  node.Submit(std::move(op));
}

}  // namespace polyarch::sim
