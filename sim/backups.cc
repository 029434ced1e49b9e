// Backups of running nodes, as backup::Job makes them: the store first; the log later, up to an end
// that is durable then. In between the node goes on writing, and may make checkpoints.
#include "base/planted.h"
#include "sim/marks.h"
#include "sim/simulation.h"

namespace polyarch::sim {

namespace {

// A copy of what is durable. The older part stays: it only lets the restored node serve more.
void CopyLog(Node& node, log::MemoryLogDisk& out) {
  out = *node.disk().log;
  out.end = out.durable = node.engine().durable_position();
  while (!out.records.empty() && out.records.back().end > out.end)
    out.records.pop_back();
  while (out.heads.size() > 1 && out.heads.back().position > out.end)
    out.heads.pop_back();
}

}  // namespace

void Simulation::BackUpBesideWrites(size_t place, Node& node) {
  const uint64_t process = node.engine().replica().nonce();
  if (!backups_under_way_.insert(process).second) return;  // one at a time
  Disk copy;
  if (PLANTED(kBackupCutEarly)) {
    CopyLog(node, *copy.log);
  } else {
    *copy.store = *node.disk().store;
    node.PinLog(node.engine().checkpoint_position());
  }
  world_.Log([&] { return "backup of " + node.name() + " begins"; });
  world_.scheduler().After(draw_.Scale(kMs, 5 * kSecond), [this, place, process, copy, &node] {
    backups_under_way_.erase(process);
    // A process that ends takes its backup along.
    if (!node.up() || node.engine().replica().nonce() != process) return;
    if (PLANTED(kBackupCutEarly)) {
      *copy.store = *node.disk().store;
    } else {
      CopyLog(node, *copy.log);
      node.UnpinLog();
    }
    SOMETIMES(kBackedUp);
    world_.Log([&] { return "backup of " + node.name() + " ends"; });
    backups_.emplace_back(place, copy);
  });
}

}  // namespace polyarch::sim
