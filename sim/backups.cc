#include "sim/backups.h"

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

Backup::Backup(Node& node) : node_(&node), process_(node.engine().replica().nonce()) {
  if (PLANTED(kBackupCutEarly)) CopyLog(node, *disk_.log);
  node.PinLog(node.engine().checkpoint_position());
  CopyStore();
}

void Backup::CopyStore() {
  copied_from_ = node_->disk().log->end;
  *disk_.store = *node_->disk().store;
}

bool Backup::Cut() {
  if (PLANTED(kBackupCutEarly)) {
    CopyStore();
  } else if (node_->engine().barrier() > copied_from_ && !PLANTED(kBackupBeforeCutOver)) {
    SOMETIMES(kCopiedAgain);
    CopyStore();
    return false;
  } else {
    CopyLog(*node_, *disk_.log);
  }
  node_->UnpinLog();
  SOMETIMES(kBackedUp);
  return true;
}

void Simulation::BackUpBesideWrites(size_t place, Node& node) {
  const uint64_t process = node.engine().replica().nonce();
  if (!backups_under_way_.insert(process).second) return;  // one at a time
  world_.Log([&] { return "backup of " + node.name() + " begins"; });
  CutLater(place, process, Backup(node), node);
}

void Simulation::CutLater(size_t place, uint64_t process, Backup backup, Node& node) {
  world_.scheduler().After(draw_.OneIn(2) ? draw_.Scale(kMs, 5 * kSecond) : draw_.Between(kMs, 5 * kSecond),
                           [this, place, process, backup, &node]() mutable {
                             if (!backup.alive()) {
                               backups_under_way_.erase(process);
                               return;
                             }
                             if (!backup.Cut()) return CutLater(place, process, backup, node);
                             backups_under_way_.erase(process);
                             world_.Log([&] { return "backup of " + node.name() + " ends"; });
                             backups_.emplace_back(place, backup.disk());
                             // What was made beside a transfer is tried at once, mostly.
                             if (back_up_transfers_ && !healing_ && draw_.Percent(70)) {
                               RestoreDisk(node, backup.disk(), draw_.Scale(10 * kMs, kSecond));
                             }
                           });
}

}  // namespace polyarch::sim
