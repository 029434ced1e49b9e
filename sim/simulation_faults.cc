// The faults of a seed: which, how often, and what each does.
#include <algorithm>

#include "sim/marks.h"
#include "sim/simulation.h"

namespace polyarch::sim {

// Where no job may be handed out twice: nobody is out of reach of others for long, no disk goes back, and one leader
// at a time is down. Where none may be lost: what was told is on a disk that stays.
void Simulation::TameForJobs() {
  if (!jobs_) return;
  auto weight = [&](Fault fault) -> unsigned& { return weights_[static_cast<size_t>(fault)]; };
  if (jobs_once_) {
    for (unsigned& w : weights_) w = 0;
    weight(Fault::kKill) = 6;
    weight(Fault::kStop) = 2;
    weight(Fault::kPower) = 6;
    weight(Fault::kClockJump) = 2;
    weight(Fault::kPause) = 6;
    harass_percent_ = 0;
    back_up_transfers_ = false;
    long_absence_ = false;
    Weather& weather = world_.network().weather();
    weather.loss_percent = std::min(weather.loss_percent, 5U);
    weather.slow_percent = 0;
    // Time for owners to go, to be acted for, and to come back.
    safety_us_ = std::max(safety_us_, draw_.Between(15, 30) * kSecond);
    op_every_us_ = draw_.Between(30, 60) * kMs;  // for so long a time
    fault_every_us_ = draw_.Between(1500, 4000) * kMs;
  }
  bool kept = limits_.durability == engine::Durability::kAlways && !back_up_transfers_;
  for (Fault f : {Fault::kWipe, Fault::kRestore, Fault::kClone}) kept = kept && weight(f) == 0;
  world_.jobs().Promise(jobs_once_, kept);
}

void Simulation::DrawFaults() {
  Draw& d = draw_;
  auto set = [&](Fault fault, unsigned chance_percent, unsigned weight) {
    weights_[static_cast<size_t>(fault)] = d.Percent(chance_percent) ? weight : 0;
  };
  set(Fault::kPower, 50, 6);
  set(Fault::kKill, 40, 4);
  set(Fault::kStop, 40, 3);
  set(Fault::kPause, 40, 5);
  set(Fault::kPartition, 60, 10);
  set(Fault::kClog, 30, 5);
  set(Fault::kClockJump, 30, 4);
  set(Fault::kFailSync, 15, 2);
  set(Fault::kFailFlush, 15, 2);
  set(Fault::kFailWrite, 15, 2);
  set(Fault::kWipe, 15, 2);
  set(Fault::kBackup, 25, 4);
  set(Fault::kRestore, 100, 3);
  set(Fault::kClone, 10, 2);
  set(Fault::kJoin, 15, 2);
  set(Fault::kLeap, 20, 2);
  auto force = [&](Fault fault, unsigned weight) { weights_[static_cast<size_t>(fault)] = weight; };
  // By the seed alone, so that the others draw what they drew before.
  if (Mix(seed_ + 7) % 100 < (profile_ == Profile::kAway ? 40 : 20)) force(Fault::kLittleRoom, 5);
  switch (profile_) {
    case Profile::kDisks:
      force(Fault::kBackup, 10);
      force(Fault::kRestore, 10);
      force(Fault::kClone, d.Percent(50) ? 5 : 0);
      force(Fault::kWipe, d.Percent(50) ? 5 : 0);
      break;
    case Profile::kExpiry:
      force(Fault::kClockJump, 6);
      force(Fault::kLeap, 6);
      break;
    case Profile::kCheckpoints:
      force(Fault::kPower, 12);
      force(Fault::kKill, 6);
      break;
    case Profile::kConflicts: force(Fault::kPartition, 25); break;
    case Profile::kOneWriter:
      // What a power cut takes from its author but not from a peer counts as another's.
      for (Fault f : {Fault::kWipe, Fault::kBackup, Fault::kRestore, Fault::kClone, Fault::kPower,
                      Fault::kFailSync, Fault::kFailFlush, Fault::kFailWrite, Fault::kLittleRoom}) {
        force(f, 0);
      }
      break;
    case Profile::kPower: force(Fault::kPower, 20); break;
    case Profile::kAway:
      force(Fault::kPartition, 10);
      force(Fault::kKill, 10);
      force(Fault::kPower, 10);
      force(Fault::kJoin, 3);
      break;
    case Profile::kCounters:
      force(Fault::kPartition, 20);
      force(Fault::kPause, 10);
      break;
    case Profile::kCalm:
      for (unsigned& w : weights_) w = d.Percent(15) ? w : 0;
      break;
    default: break;
  }
  back_up_transfers_ = profile_ != Profile::kOneWriter && d.Percent(profile_ == Profile::kAway ? 70 : 10);
  if (back_up_transfers_) {
    force(Fault::kRestore, 8);
  } else if (weights_[static_cast<size_t>(Fault::kBackup)] == 0) {
    force(Fault::kRestore, 0);
  }
  if (recorded_) {
    // A client of a disk that went back is no session any more.
    for (Fault f : {Fault::kWipe, Fault::kBackup, Fault::kRestore, Fault::kClone}) force(f, 0);
    back_up_transfers_ = false;
  }

  Weather& weather = world_.network().weather();
  weather.delay_min_us = d.Scale(100, 20 * kMs);
  weather.delay_max_us = weather.delay_min_us + d.Scale(100, 100 * kMs);
  if (profile_ == Profile::kCalm) weather.delay_max_us = weather.delay_min_us + 1 * kMs;
  const bool bad = profile_ == Profile::kFlow || d.Percent(40);
  if (bad && profile_ != Profile::kCalm) {
    if (d.Percent(60)) weather.loss_percent = static_cast<unsigned>(d.Scale(1, 30));
    if (d.Percent(60)) weather.duplicate_percent = static_cast<unsigned>(d.Scale(1, 50));
    if (d.Percent(60)) weather.reorder_percent = static_cast<unsigned>(d.Scale(1, 60));
    if (d.Percent(50)) weather.split_percent = static_cast<unsigned>(d.Scale(1, 80));
    if (d.Percent(40)) weather.slow_percent = static_cast<unsigned>(d.Scale(1, 10));
    weather.slow_max_us = std::max(weather.delay_max_us, d.Scale(100 * kMs, 10 * kSecond));
  }

  const int64_t ops = d.Scale(40, 1200);
  op_every_us_ = d.Scale(2 * kMs, 100 * kMs);
  safety_us_ = std::clamp<int64_t>(ops * op_every_us_, 2 * kSecond, 40 * kSecond);
  fault_every_us_ = std::max<int64_t>(100 * kMs, safety_us_ / d.Between(3, 25));
  down_max_us_ = d.Scale(50 * kMs, 10 * kSecond);
  if (profile_ == Profile::kAway) {
    // Long enough for the others to give a leader up.
    safety_us_ = std::max(safety_us_, d.Between(15, 40) * kSecond);
    op_every_us_ = std::min(op_every_us_, 30 * kMs);
    down_max_us_ = d.Between(3, 20) * kSecond;
    // Long enough for their logs to grow far beyond the quota, if it still held anything back.
    long_absence_ = d.Percent(30);
    if (long_absence_) safety_us_ = d.Between(60, 90) * kSecond;
  }
  TameForJobs();
}


Node* Simulation::DrawNode(bool up) {
  std::vector<Node*> found;
  for (auto& node : world_.nodes()) {
    if (node->up() == up) found.push_back(node.get());
  }
  return found.empty() ? nullptr : draw_.Pick(found);
}

size_t Simulation::IndexOf(const Node& node) {
  const auto& nodes = world_.nodes();
  size_t i = 0;
  while (nodes[i].get() != &node) ++i;
  return i;
}

void Simulation::Restart(Node& node, int64_t after_us) {
  world_.scheduler().After(after_us, [this, &node] {
    // It could not write what a start writes: somebody makes room first.
    if (!node.up() && node.no_room()) return Restart(node, kSecond);
    if (!node.up()) node.Start();
  });
}

void Simulation::TakeRoom(Node& node) {
  const uint64_t room = node.DiskBytes() + static_cast<uint64_t>(draw_.Scale(1, 60'000));
  world_.Log([&] { return node.name() + " may grow to " + std::to_string(room) + " bytes"; });
  node.SetRoom(room);
  world_.scheduler().After(draw_.Scale(200 * kMs, 15 * kSecond), [&node] { node.SetRoom(Node::kRoomForAll); });
}

void Simulation::Partition() {
  Network& network = world_.network();
  const int count = static_cast<int>(world_.nodes().size());
  auto place = [&](int i) { return world_.nodes()[static_cast<size_t>(i)]->options().place; };
  auto cut = [&](int a, int b) {
    network.SetBlocked(place(a), place(b), true);
    network.SetBlocked(place(b), place(a), true);
  };
  network.UnblockAll();
  SOMETIMES(kPartition);
  const int one = static_cast<int>(draw_.Below(static_cast<uint64_t>(count)));
  switch (draw_.Below(5)) {
    case 0: {  // two sides
      std::vector<bool> side;
      for (int i = 0; i < count; ++i) side.push_back(draw_.Percent(50));
      for (int a = 0; a < count; ++a) {
        for (int b = 0; b < a; ++b) {
          if (side[static_cast<size_t>(a)] != side[static_cast<size_t>(b)]) cut(a, b);
        }
      }
      break;
    }
    case 1:  // one alone
      for (int a = 0; a < count; ++a) {
        if (a != one) cut(a, one);
      }
      break;
    case 2:  // two sides that meet in one node
      SOMETIMES(kBridge);
      for (int a = 0; a < count; ++a) {
        for (int b = 0; b < a; ++b) {
          if (a != one && b != one && a % 2 != b % 2) cut(a, b);
        }
      }
      break;
    case 3:  // some directions only
      SOMETIMES(kAsymmetric);
      for (int a = 0; a < count; ++a) {
        for (int b = 0; b < count; ++b) {
          if (a != b && draw_.Percent(30)) network.SetBlocked(place(a), place(b), true);
        }
      }
      break;
    default:  // every link for itself
      for (int a = 0; a < count; ++a) {
        for (int b = 0; b < a; ++b) {
          if (draw_.Percent(50)) cut(a, b);
        }
      }
      break;
  }
  const bool flapping = draw_.Percent(20);
  if (flapping) {
    SOMETIMES(kFlapping);
    flap_until_us_ = world_.now_us() + draw_.Scale(100 * kMs, 5 * kSecond);
  }
  world_.scheduler().After(draw_.Scale(50 * kMs, flapping ? 500 * kMs : 8 * kSecond), [this] {
    if (healing_) return;
    world_.network().UnblockAll();
    world_.Log([] { return std::string("network whole again"); });
    if (world_.now_us() < flap_until_us_) {
      world_.scheduler().After(draw_.Scale(50 * kMs, 500 * kMs), [this] {
        if (!healing_) Partition();
      });
    }
  });
  world_.Log([] { return std::string("partition"); });
}

void Simulation::RestoreDisk(Node& target, const Disk& disk, int64_t down_us) {
  SOMETIMES(kRestored);
  world_.Log([&] { return "old disk at " + target.name(); });
  if (target.up()) target.End(EndOfProcess::kKilled);
  target.ReplaceDisk(disk.Copy());
  target.mutable_options().join = Addresses(&target);
  Restart(target, down_us);
}

void Simulation::Join(const std::string& leader) {
  Node& node = world_.AddNode(NodeOptions(next_place_++, leader));
  node.mutable_options().join = Addresses(&node);
  SOMETIMES(kJoined);
  node.Start();
}

// Has another leader all that this one has written, and runs?
bool Simulation::HeardBySomebody(const Node& node) {
  const History& history = world_.history();
  Vector own = history.WithoutClaims(node.applied());
  for (uint32_t o = 0; o < own.size(); ++o) {
    if (history.OriginOf(o).leader != node.options().leader) own[o] = 0;
  }
  const auto& nodes = world_.nodes();
  return std::any_of(nodes.begin(), nodes.end(), [&](const auto& other) {
    return other.get() != &node && other->up() && Includes(other->applied(), own);
  });
}

void Simulation::Inject() {
  Draw& d = draw_;
  auto& nodes = world_.nodes();
  unsigned sum = 0;
  for (unsigned w : weights_) sum += w;
  if (sum == 0) return;
  const auto fault = static_cast<Fault>(d.Weighted(weights_));
  Node* node = DrawNode(true);
  if (node == nullptr) return;
  if (jobs_once_ && std::any_of(nodes.begin(), nodes.end(), [](const auto& n) { return !n->may_write(); })) return;
  int64_t down_us = d.OneIn(8) ? 3600 * kSecond : d.Scale(10 * kMs, down_max_us_);
  // Long enough for others to act for it, and it comes back.
  if (jobs_once_ && d.Percent(40)) down_us = d.Between(6, 9) * kSecond;
  // Nobody acts for it before somebody has what it popped last (docs/design/0029 names this exception).
  if (jobs_once_ && !HeardBySomebody(*node)) down_us = std::min(down_us, 3 * kSecond);
  switch (fault) {
    case Fault::kPower:
      SOMETIMES(kPowerCut);
      world_.Log([&] { return "power cut at " + node->name(); });
      node->End(EndOfProcess::kPower);
      Restart(*node, down_us);
      break;
    case Fault::kKill:
      SOMETIMES(kKilled);
      world_.Log([&] { return "kill " + node->name(); });
      node->End(EndOfProcess::kKilled);
      Restart(*node, down_us);
      break;
    case Fault::kStop:
      SOMETIMES(kStopped);
      world_.Log([&] { return "stop " + node->name(); });
      node->End(EndOfProcess::kStopped);
      Restart(*node, down_us);
      break;
    case Fault::kPause:
      world_.Log([&] { return "pause " + node->name(); });
      // Not so long that it is acted for while it lives.
      node->Pause(world_.now_us() + d.Scale(10 * kMs, jobs_once_ ? 2500 * kMs : 10 * kSecond));
      break;
    case Fault::kPartition: Partition(); break;
    case Fault::kClog: {
      SOMETIMES(kClogged);
      const int a = nodes[d.Below(nodes.size())]->options().place;
      const int b = nodes[d.Below(nodes.size())]->options().place;
      world_.network().Clog(a, b, world_.now_us() + d.Scale(50 * kMs, 5 * kSecond));
      break;
    }
    case Fault::kClockJump: {
      SOMETIMES(kClockJump);
      const int64_t jump_us = d.OneIn(6) ? d.Between(1, 50) * kYear : d.Scale(1 * kMs, 2 * kHour);
      const int64_t offset_us = node->offset_us() + (d.Percent(50) ? jump_us : -jump_us);
      if (std::abs(offset_us) < 50 * kYear) node->SetOffset(offset_us);
      world_.Log([&] { return "clock of " + node->name() + " jumps to " + std::to_string(node->WallMs()); });
      break;
    }
    case Fault::kFailSync:
      world_.Log([&] { return "syncs fail at " + node->name(); });
      node->FailSyncs();
      break;
    case Fault::kFailFlush:
      world_.Log([&] { return "flushes fail at " + node->name(); });
      node->FailFlushes();
      break;
    case Fault::kFailWrite:
      world_.Log([&] { return "writes fail at " + node->name(); });
      node->FailWrites();
      break;
    case Fault::kWipe: {
      Node* other = nodes[anchor_].get();
      if (IsAnchor(*node) || !other->may_write()) break;
      SOMETIMES(kWiped);
      world_.Log([&] { return "empty disk at " + node->name(); });
      node->End(EndOfProcess::kKilled);
      node->ReplaceDisk({});
      node->mutable_options().join = Addresses(node);
      Restart(*node, down_us);
      break;
    }
    case Fault::kBackup:
      if (!node->may_write() || backups_.size() > 6) break;
      if (d.Percent(50)) {
        BackUpBesideWrites(IndexOf(*node), *node);
        break;
      }
      world_.Log([&] { return "backup of " + node->name(); });
      backups_.emplace_back(IndexOf(*node), node->disk().Copy());
      break;
    case Fault::kRestore: {
      if (backups_.empty()) break;
      const auto& [place, disk] = d.Pick(backups_);
      RestoreDisk(*nodes[place], disk, down_us);
      break;
    }
    case Fault::kClone: {
      // The anchor stays where all know it, so that originals and copies can meet there.
      if (nodes.size() >= nodes_max_ || !node->may_write() || node->options().leader == nodes[anchor_]->options().leader) {
        break;
      }
      SOMETIMES(kCloned);
      std::vector<const Disk*> disks = {&node->disk()};
      for (const auto& [place, disk] : backups_) {
        if (place == IndexOf(*node)) disks.push_back(&disk);
      }
      Disk disk = d.Pick(disks)->Copy();
      disk.store->Crash(d.random());
      Node& clone = world_.AddNode(NodeOptions(next_place_++, node->options().leader), std::move(disk));
      // A disk from before the others came knows nobody; the operator's --join does.
      clone.mutable_options().join = Addresses(&clone);
      clone.SetOffset(node->offset_us());
      clone.SetWallMax(*node);
      clone.SetLostData();
      world_.SetClones();
      node->SetLostData();
      world_.Log([&] { return "clone of " + node->name() + " as " + clone.name(); });
      clone.Start();
      break;
    }
    case Fault::kJoin:
      if (nodes.size() >= nodes_max_) break;
      Join("j" + std::to_string(next_place_));
      break;
    case Fault::kLeap: {
      SOMETIMES(kLeap);
      const int64_t leap_us = d.Scale(100 * kMs, d.OneIn(5) ? 400 * kDay : 60 * kSecond);
      world_.Log([&] { return "leap by " + std::to_string(leap_us / kSecond) + " s"; });
      world_.scheduler().Leap(leap_us);
      break;
    }
    case Fault::kLittleRoom: TakeRoom(*node); break;
    case Fault::kCount: break;
  }
}

// A transfer is a small target: whoever takes part in one is hit more often than others.
void Simulation::HarassTransfers() {
  Draw& d = draw_;
  for (auto& node : world_.nodes()) {
    if (!node->up()) continue;
    const std::string sender = node->engine().receiving_from();
    const bool merging = node->engine().merging();
    if (sender.empty() && !merging) continue;
    if (back_up_transfers_ && node->may_write() && backups_.size() <= 6 && d.Percent(5)) {
      BackUpBesideWrites(IndexOf(*node), *node);
    }
    Node* from = sender.empty() ? nullptr : world_.Find(sender);
    if (back_up_transfers_ && from != nullptr && from->up() && from->may_write() && backups_.size() <= 6 && d.Percent(5)) {
      BackUpBesideWrites(IndexOf(*from), *from);
    }
    if (!d.Percent(harass_percent_)) continue;
    if (weights_[static_cast<size_t>(Fault::kLittleRoom)] != 0 && d.Percent(30)) {
      TakeRoom(from != nullptr && from->up() && d.Percent(30) ? *from : *node);
      continue;
    }
    // The sender is set back in the middle of it: what it goes on to send is another log's.
    if (back_up_transfers_ && from != nullptr && from->up() && d.Percent(20)) {
      const auto backup = std::find_if(
          backups_.begin(), backups_.end(), [&](const auto& b) { return b.first == IndexOf(*from); });
      if (backup != backups_.end()) {
        RestoreDisk(*from, backup->second, d.Scale(10 * kMs, 3 * kSecond));
        return;
      }
    }
    Node* target = node.get();
    if (from != nullptr && from->up() && d.Percent(50)) target = from;
    const auto how = static_cast<EndOfProcess>(d.Below(3));
    if (one_writer_ && how == EndOfProcess::kPower) continue;
    if (from != nullptr && d.Percent(25)) {
      world_.network().SetBlocked(from->options().place, node->options().place, true);
      world_.scheduler().After(d.Scale(50 * kMs, 10 * kSecond), [this] {
        world_.network().UnblockAll();
      });
      continue;
    }
    world_.Log([&] { return "harass " + target->name(); });
    target->End(how);
    Restart(*target, d.Scale(10 * kMs, 3 * kSecond));
    return;
  }
}

}  // namespace polyarch::sim
