// What must come true when all faults have ended: convergence, silence, nothing left over, N-1 transfers.
#include <algorithm>
#include <set>

#include "sim/marks.h"
#include "sim/simulation.h"

namespace polyarch::sim {

namespace {

constexpr int64_t kRouteAroundUs = 40 * kSecond;  // around the dead and the cut
constexpr int64_t kAbsentUs = 20 * kSecond;
constexpr int64_t kConvergeUs = 60 * kSecond;   // after all faults are gone
// Several may take one another's state in turn, by small chunks.
constexpr int64_t kConvergeEachUs = 20 * kSecond;
constexpr int64_t kWriterUs = 120 * kSecond;  // for somebody to take writes, whoever was retired
constexpr int64_t kSilenceUs = 240 * kSecond;   // and then
constexpr int64_t kQuietUs = 12 * kSecond;      // nothing appended for so long
constexpr int64_t kRoundUs = 20 * kSecond;      // and by small slices a round of purging takes so long

}  // namespace

// Also those of leaders that are no members any more.
void Simulation::EndDrills() {
  for (auto& node : world_.nodes()) {
    if (!node->up()) continue;
    for (const std::string& name : node->engine().replica().drills()) {
      (void)node->engine().HealLink(name);
      (void)node->engine().DelayLink(name, 0);
    }
  }
}

// A chunk of a state is sent a tick. As long as it takes for each of so many to get the largest state there is.
int64_t Simulation::TransfersUs(size_t receivers) {
  size_t most = 0;
  for (auto& node : world_.nodes()) {
    if (node->up()) most = std::max(most, node->engine().keys().memory_bytes());
  }
  // A state is compared, read and sent by chunks, merged by slices of keys, and needs checkpoints of both
  // before it and of the receiver's after it: one chunk or slice a tick.
  const size_t keys = world_.history().oracle().keys().size();
  const size_t ticks = 3 * (most / limits_.state_chunk_bytes + 1) + keys / limits_.merge_slice_keys +
                       3 * keys / limits_.checkpoint_slice_keys;
  return static_cast<int64_t>(receivers * ticks) * timer_us_;
}

// Before a state is asked for again that was given up, or refused, for lack of room.
int64_t Simulation::PauseForRoomUs() const {
  return weights_[static_cast<size_t>(Fault::kLittleRoom)] == 0 ? 0 : limits_.state_pause_us;
}

// What a node says of the others, for people.
std::string Simulation::LeadersOf(Node& node) {
  std::string text = "\n    " + node.name() + (node.may_write() ? "" : " (may not write)") + ":";
  for (const auto& info : node.engine().Leaders()) {
    text += " " + info.id + "=" + info.state + (info.link_cut ? "/cut" : "");
  }
  return text;
}

void Simulation::RouteAround() {
  Network& network = world_.network();
  for (auto& node : world_.nodes()) {
    if (node->up() && node->faulty()) node->End(EndOfProcess::kPower);
    if (node->up() && draw_.Percent(30)) node->End(EndOfProcess::kKilled);
    if (node->up() && !node->may_write()) return;  // it may not even know the members
  }
  EndDrills();
  std::vector<Node*> alive;
  for (auto& node : world_.nodes()) {
    if (!node->up()) continue;
    // Of two with one name only one is a member that others dial; and who knows an old set of members
    // is found by those who know the new one.
    for (Node* other : alive) {
      if (other->engine().leader_id() == node->engine().leader_id()) return;
      if (node->engine().replica().members().count(other->engine().leader_id()) == 0) return;
      if (other->engine().replica().members().count(node->engine().leader_id()) == 0) return;
    }
    alive.push_back(node.get());
  }
  if (alive.size() < 2) return;
  // Who can talk to whom: a tree, and most other pairs.
  std::set<std::pair<size_t, size_t>> kept;
  for (size_t i = 1; i < alive.size(); ++i) kept.emplace(draw_.Below(i), i);
  const unsigned cut_percent = draw_.Percent(50) ? 0 : static_cast<unsigned>(draw_.Between(10, 100));
  for (size_t i = 1; i < alive.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (kept.count({j, i}) != 0 || !draw_.Percent(cut_percent)) continue;
      network.SetBlocked(alive[i]->options().place, alive[j]->options().place, true);
      network.SetBlocked(alive[j]->options().place, alive[i]->options().place, true);
    }
  }
  world_.Log([&] {
    std::string text = "route around: alive are";
    for (Node* node : alive) text += " " + node->name();
    return text + ", " + std::to_string(cut_percent) + " % of the pairs cut";
  });
  const std::vector<uint64_t> boots = [&] {
    std::vector<uint64_t> out;
    for (Node* node : alive) out.push_back(node->boots());
    return out;
  }();
  const uint64_t from = draw_.Below(alive.size());
  Operate(*alive[from], {"SET", "around", std::to_string(draw_.Next())});
  bool ended = false;
  std::string why;
  const int64_t patience_us = kRouteAroundUs + TransfersUs(alive.size()) + PauseForRoomUs();
  const bool done = world_.RunUntil(patience_us, 200 * kMs, [&] {
    EndDrills();  // a command that was on its way may have cut a link
    // Whoever learns now that it was retired is refused: no neighbour any more.
    for (size_t i = 0; i < alive.size(); ++i) {
      ended |= !alive[i]->may_write() || alive[i]->boots() != boots[i];
    }
    if (ended) return true;
    for (Node* node : alive) {
      Vector a = node->applied();
      Vector b = alive[0]->applied();
      Normalize(a);
      Normalize(b);
      if (a == b) continue;
      why = alive[0]->name() + " has " + world_.history().Text(b) + ", " + node->name() + " has " +
            world_.history().Text(a);
      return false;
    }
    return true;
  });
  if (!done) {
    for (Node* node : alive) why += LeadersOf(*node);
    throw Violation("the living do not converge around the dead within " +
                    std::to_string(patience_us / kSecond) + " s: " + why);
  }
  if (!ended && (alive.size() < world_.nodes().size() || cut_percent != 0)) SOMETIMES(kRoutedAround);
  network.UnblockAll();
}

void Simulation::CountTransfers() {
  auto sum = [&](uint64_t replication::Replica::Counters::* counter) {
    uint64_t total = 0;
    for (auto& node : world_.nodes()) total += node->engine().replica().counters().*counter;
    return total;
  };
  using Counters = replication::Replica::Counters;
  std::vector<Node*> writers = world_.Writers();
  std::string why;
  auto quiet = [&] {
    return world_.RunUntil(kAbsentUs, 100 * kMs, [&] {
      for (auto& node : world_.nodes()) {
        if (world_.now_us() - node->last_append_us() < 4 * kSecond) return false;
      }
      return world_.checkers().Converged(&why);
    });
  };
  // An Unsubscribe that was lost in bad weather is said again with the first frame that comes in vain.
  for (Node* node : writers) Operate(*node, {"SET", "transfer", "first"});
  world_.RunFor(100 * kMs);
  if (!quiet()) throw Violation("no convergence in a settled cluster: " + why);
  const uint64_t sent = sum(&Counters::frames_out);
  const uint64_t duplicates = sum(&Counters::duplicates_dropped);
  const uint64_t beyond_window = sum(&Counters::beyond_window);
  const uint64_t link_states = sum(&Counters::link_states_out);
  const uint64_t made = world_.history().frames();
  for (int64_t n = draw_.Between(3, 12); n > 0; --n) {
    Operate(*draw_.Pick(writers), {"SET", "transfer", std::to_string(draw_.Next())});
    world_.RunFor(draw_.Between(5, 400) * kMs);
  }
  if (!quiet()) throw Violation("no convergence in a settled cluster: " + why);
  const uint64_t frames = world_.history().frames() - made;
  // With a window of a few bytes a frame may find no room, and come again.
  const uint64_t wanted =
      frames * (world_.nodes().size() - 1) + sum(&Counters::beyond_window) - beyond_window;
  const uint64_t transfers = sum(&Counters::frames_out) - sent;
  if (transfers != wanted) {
    throw Violation(std::to_string(frames) + " frames were sent " + std::to_string(transfers) +
                    " times in all instead of " + std::to_string(wanted) + " in a settled cluster (" +
                    world_.nodes()[0]->engine().replica().topology().Shown() + ")");
  }
  if (sum(&Counters::duplicates_dropped) != duplicates) {
    throw Violation("frames came twice in a settled cluster");
  }
  if (sum(&Counters::link_states_out) != link_states) {
    throw Violation("link states are flooded in a settled cluster: " +
                    std::to_string(sum(&Counters::link_states_out) - link_states));
  }
}

// Two leaders that have retired each other while they were cut off do not look for each other any more. The operator
// starts one with the other's address.
void Simulation::LeadEstrangedTogether() {
  auto knows = [](Node& node, Node& other) {
    return node.engine().replica().members().count(other.engine().leader_id()) != 0;
  };
  for (auto& a : world_.nodes()) {
    for (auto& b : world_.nodes()) {
      if (a == b || !a->may_write() || !b->may_write() || knows(*a, *b)) continue;
      // Who has the right address of the one that has retired it hears of that by itself. A clone may have put its own
      // in the place of that.
      const auto& members = b->engine().replica().members();
      const auto known = members.find(a->engine().leader_id());
      if (known != members.end() && known->second.address == a->options().address) continue;
      b->End(EndOfProcess::kStopped);
      b->mutable_options().join = Addresses(b.get());
      b->Start();
    }
  }
}

// Whoever retired whom, and however those records crossed: when all are in reach of each other, somebody takes writes
// without a leader being told to join again.
void Simulation::SomebodyWrites() {
  for (auto& node : world_.nodes()) {
    if (node->up() && node->faulty()) node->End(EndOfProcess::kPower);
    if (!node->up()) node->Start();
  }
  const bool writes = world_.RunUntil(kWriterUs, 200 * kMs, [&] {
    for (auto& node : world_.nodes()) {
      if (!node->up()) continue;
      for (const auto& link : node->engine().replica().Links()) (void)node->engine().HealLink(link.leader);
    }
    return std::any_of(world_.nodes().begin(), world_.nodes().end(), [](const auto& node) {
      return node->up() && node->may_write();
    });
  });
  if (writes) return;
  std::string why;
  for (auto& node : world_.nodes()) {
    if (node->up()) why += LeadersOf(*node);
  }
  throw Violation("nobody takes writes within " + std::to_string(kWriterUs / kSecond) + " s: " + why);
}

void Simulation::Liveness() {
  healing_ = true;
  world_.Log([] { return std::string("all faults end"); });
  Network& network = world_.network();
  network.UnblockAll();
  network.UnclogAll();
  network.weather() = Weather{};
  for (auto& node : world_.nodes()) node->SetRoom(Node::kRoomForAll);
  // What was asked of a paused node (LINK CUT, too) is done before links are healed.
  for (auto& node : world_.nodes()) node->Continue();
  world_.RunFor(200 * kMs);
  if (draw_.Percent(50)) RouteAround();
  network.UnblockAll();
  if (workload_->profile().retire > 0 && !limits_.rejoin && draw_.Percent(50)) SomebodyWrites();
  int64_t ahead_us = INT64_MIN;
  for (auto& node : world_.nodes()) ahead_us = std::max(ahead_us, node->offset_us());
  for (auto& node : world_.nodes()) {
    // Clocks may stay wrong for ever, but then keys that some hold expired and others not stay, too.
    if (ttl_) node->SetOffset(ahead_us);
    node->SetDrift(0);
    node->mutable_options().timer_us = size_.large() ? 100 * kMs : 50 * kMs;
    node->mutable_options().sync_max_us = 5 * kMs;
    if (node->up() && node->faulty()) node->End(EndOfProcess::kPower);
    node->Continue();
    // Whoever was retired, or will learn of it, joins again.
    if (node->up() && !node->options().engine.rejoin && workload_->profile().retire > 0) {
      node->End(EndOfProcess::kStopped);
    }
    node->mutable_options().engine.rejoin = true;
    if (!node->up()) node->Start();
  }
  // Commands that waited at a paused node come first: a LINK CUT among them is a fault, too.
  (void)world_.RunUntil(kSecond, 20 * kMs, [&] {
    return std::none_of(world_.nodes().begin(), world_.nodes().end(), [](const auto& node) {
      return node->has_commands();
    });
  });
  for (auto& node : world_.nodes()) {
    if (!node->up()) node->Start();
  }
  // A command that was on its way may have cut a link after that.
  world_.RunFor(1 * kSecond);
  for (auto& node : world_.nodes()) {
    if (!node->up()) continue;
    std::vector<std::string> others;
    for (const auto& [name, member] : node->engine().replica().members()) others.push_back(name);
    for (const std::string& name : others) {
      (void)node->engine().HealLink(name);
      (void)node->engine().DelayLink(name, 0);
    }
  }
  LeadEstrangedTogether();
  std::string why;
  // A state may have to go from one to the next all the way round a ring, and once more with what was
  // written meanwhile.
  const auto nodes = static_cast<int64_t>(world_.nodes().size());
  const int64_t bound_us =
      kConvergeUs + kConvergeEachUs * nodes + 2 * TransfersUs(world_.nodes().size()) + PauseForRoomUs();
  const bool converged = world_.RunUntil(bound_us, 200 * kMs, [&] {
    EndDrills();
    return world_.checkers().Converged(&why);
  });
  if (!converged) {
    for (auto& node : world_.nodes()) {
      if (!node->up()) continue;
      why += LeadersOf(*node);
    }
  }
  if (!converged) throw Violation("not converged within " + std::to_string(bound_us / kSecond) + " s: " + why);
  world_.checkers().CheckConverged();
  if (jobs_) world_.jobs().Drain();
  if (agreed_) world_.stocks().SellOut();
  RetireTheDead();
  FallSilent();
  const bool disks = profile_ == Profile::kDisks || profile_ == Profile::kCounters;
  if (!one_writer_ && !size_.large() && draw_.Percent(disks ? 60 : 20)) ReturnOfADisk();
  if (one_writer_) world_.checkers().CheckNoConflicts();
  for (auto& node : world_.nodes()) {
    const auto& counters = node->engine().replica().counters();
    if (counters.duplicates_dropped > 0) SOMETIMES(kDuplicate);
    if (counters.resubscribed > 0) SOMETIMES(kResubscribed);
    if (counters.moved > 0) SOMETIMES(kServedByOther);
    if (counters.bypasses > 0) SOMETIMES(kBypass);
    if (counters.drained > 0) SOMETIMES(kDrained);
    if (counters.held_back > 0) SOMETIMES(kFlapDamped);
    for (const auto& link : node->engine().replica().Links()) {
      if (link.hops > 1) SOMETIMES(kRouted);
    }
  }
  switch (world_.nodes()[0]->engine().replica().topology().kind) {
    case replication::Topology::Kind::kMesh: break;
    case replication::Topology::Kind::kRing: SOMETIMES(kRing); break;
    case replication::Topology::Kind::kStar: SOMETIMES(kStar); break;
    case replication::Topology::Kind::kLinks: SOMETIMES(kTree); break;
  }
  CountTransfers();
  CountMessages();
  if (agreed_) world_.agreed().Check();
}

// In a settled cluster each message comes to every leader, once, and is sent N-1 times in all.
void Simulation::CountMessages() {
  auto sum = [&](uint64_t replication::Replica::Counters::* counter) {
    uint64_t total = 0;
    for (auto& node : world_.nodes()) total += node->engine().replica().counters().*counter;
    return total;
  };
  using Counters = replication::Replica::Counters;
  const uint64_t sent = sum(&Counters::publishes_out);
  const uint64_t again = sum(&Counters::publishes_again);
  const size_t nodes = world_.nodes().size();
  uint64_t made = 0;
  for (auto& node : world_.nodes()) {
    for (int64_t n = draw_.Between(1, 3); n > 0; --n, ++made) node->PublishNews(node->operator_client());
  }
  auto all_came = [&] {
    for (auto& from : world_.nodes()) {
      if (from->has_commands()) return false;
      for (auto& to : world_.nodes()) {
        if (to->messages().Last(from->process_name()) != from->published()) return false;
      }
    }
    return true;
  };
  if (!world_.RunUntil(10 * kSecond, 50 * kMs, all_came)) throw Violation("a message is missing in a settled cluster");
  const uint64_t transfers = sum(&Counters::publishes_out) - sent;
  if (transfers != made * (nodes - 1) || sum(&Counters::publishes_again) != again) {
    throw Violation(std::to_string(made) + " messages were sent " + std::to_string(transfers) + " times to " +
                    std::to_string(nodes) + " leaders in a settled cluster");
  }
}

void Simulation::FallSilent() {
  const int64_t begin_us = world_.now_us();
  const int64_t quiet_us = kQuietUs + (small_slices_ ? kRoundUs : 0);
  std::string why;
  auto quiet = [&] {
    if (world_.now_us() - begin_us < quiet_us) return false;
    if (!world_.checkers().Converged(&why)) return false;
    for (auto& node : world_.nodes()) {
      if (world_.now_us() - node->last_append_us() < quiet_us) {
        why = node->name() + " appends";
        return false;
      }
      // What it lacked may have come as frames by now: the transfer goes on to its end all the same.
      if (!node->engine().idle()) {
        why = node->name() + " is busy with " + node->engine().BusyWith();
        return false;
      }
    }
    return true;
  };
  if (!world_.RunUntil(kSilenceUs, 1 * kSecond, quiet)) {
    throw Violation("no silence within " + std::to_string(kSilenceUs / kSecond) + " s: " + why);
  }
  for (auto& node : world_.nodes()) {
    if (!node->engine().idle()) throw Violation(node->name() + " is silent but not idle: " + node->engine().BusyWith());
  }
  world_.checkers().CheckConverged();
  // Who votes on agreed keys, and is gone, cannot be retired while the others are no majority: residue and folding wait.
  const bool held_back = agreed_ && !DeadMembers().empty();
  if (!held_back) world_.checkers().CheckResidue();
  world_.checkers().CheckPresent();
  if (!held_back) world_.checkers().CheckFolded();
  world_.feeds().Check();
}

void Simulation::ReturnOfADisk() {
  std::vector<size_t> candidates;
  for (size_t i = 0; i < world_.nodes().size(); ++i) {
    Node& node = *world_.nodes()[i];
    if (i != anchor_ && node.engine().replica().own()) candidates.push_back(i);
  }
  if (candidates.empty()) return;
  Node& node = *world_.nodes()[draw_.Pick(candidates)];
  const Disk before = node.disk().Copy();
  for (auto& other : world_.nodes()) {
    if (other.get() == &node) continue;
    world_.network().SetBlocked(node.options().place, other->options().place, true);
    world_.network().SetBlocked(other->options().place, node.options().place, true);
  }
  auto write = [&](Node& at) {
    const std::string key = draw_.Pick(workload_->profile().keys);
    switch (draw_.Below(4)) {
      case 0: Operate(at, {"SET", key, std::to_string(draw_.Below(1000))}); break;
      case 1: Operate(at, {"DEL", key}); break;
      default: Operate(at, {"INCRBY", key, "1"}); break;
    }
    world_.RunFor(draw_.Between(50, 1500) * kMs);
  };
  for (int64_t n = draw_.Between(1, 5); n > 0; --n) write(node);
  world_.RunFor(200 * kMs);
  if (!node.up()) return;
  node.End(EndOfProcess::kStopped);
  Disk unseen = node.disk().Copy();
  world_.Log([&] { return "old disk at " + node.name() + "; its disk is kept"; });
  node.ReplaceDisk(before.Copy());
  node.mutable_options().join = Addresses(&node);
  world_.network().UnblockAll();
  node.Start();
  for (int64_t n = draw_.Between(0, 4); n > 0; --n) write(*draw_.Pick(world_.nodes()));
  FallSilent();
  for (int64_t n = draw_.Between(0, 2); n > 0; --n) write(*draw_.Pick(world_.nodes()));
  unseen.store->Crash(draw_.random());
  Node& copy = world_.AddNode(NodeOptions(next_place_++, node.options().leader), std::move(unseen));
  copy.mutable_options().timer_us = 50 * kMs;
  copy.mutable_options().sync_max_us = 5 * kMs;
  copy.mutable_options().engine.rejoin = true;
  copy.mutable_options().join = Addresses(&copy);
  copy.SetOffset(node.offset_us());
  copy.SetWallMax(node);
  copy.SetLostData();
  world_.SetClones();
  SOMETIMES(kDiskReturned);
  world_.Log([&] { return "the disk that was kept returns as " + copy.name(); });
  copy.Start();
  for (int64_t n = draw_.Between(0, 4); n > 0; --n) write(*draw_.Pick(world_.nodes()));
  FallSilent();
}

void Simulation::Operate(Node& node, std::vector<std::string> args) {
  workload_->Give(node, node.operator_client(), std::move(args));
}

// Members without a process (copies that took another name and whose disk was replaced) would hold purging back for
// ever: the operator retires them.
void Simulation::RetireTheDead() {
  for (const std::string& name : DeadMembers()) {
    SOMETIMES(kRetired);
    Operate(*world_.nodes()[0], {"LEADER", "RETIRE", name});
  }
}

// By what the first node knows.
std::vector<std::string> Simulation::DeadMembers() {
  std::set<std::string> alive;
  for (auto& node : world_.nodes()) alive.insert(node->engine().leader_id());
  std::vector<std::string> dead;
  for (const auto& [name, member] : world_.nodes()[0]->engine().replica().members()) {
    if (alive.count(name) == 0) dead.push_back(name);
  }
  return dead;
}

}  // namespace polyarch::sim
