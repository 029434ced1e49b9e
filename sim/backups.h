// A backup of a running node, as backup::Job makes it: the store first; the log later, up to an end that is durable
// then. In between the node goes on writing, and may make checkpoints or take another leader's state over.
#pragma once

#include "sim/node.h"

namespace polyarch::sim {

class Backup {
 public:
  // Copies the store and pins the log. `node` outlives this.
  explicit Backup(Node& node);
  // The log, up to what is durable now. False: the store had to be copied again; try later. A process that has ended
  // since took its backup along: see alive().
  bool Cut();
  bool alive() const { return node_->up() && node_->engine().replica().nonce() == process_; }
  const Disk& disk() const { return disk_; }

 private:
  void CopyStore();

  Node* node_;
  uint64_t process_;
  log::Position copied_from_ = 0;  // the end of the log when the store was copied
  Disk disk_;
};

}  // namespace polyarch::sim
