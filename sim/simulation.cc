#include "sim/simulation.h"

#include <algorithm>
#include <set>

#include "base/hash.h"
#include "history/causal.h"
#include "history/history.h"
#include "sim/marks.h"

namespace polyarch::sim {

namespace {

// Neighbouring seeds must not be neighbours in the generator's one sequence.
uint64_t Mix(uint64_t seed) {
  return base::ContentHash64(std::string_view(reinterpret_cast<const char*>(&seed), sizeof(seed)));
}

constexpr int64_t kRouteAroundUs = 40 * kSecond;  // around the dead and the cut
constexpr int64_t kAbsentUs = 20 * kSecond;
constexpr int64_t kConvergeUs = 60 * kSecond;   // after all faults are gone
// Several may take one another's state in turn, by small chunks.
constexpr int64_t kConvergeEachUs = 20 * kSecond;
constexpr int64_t kWriterUs = 120 * kSecond;  // for somebody to take writes, whoever was retired
constexpr int64_t kSilenceUs = 240 * kSecond;   // and then
constexpr int64_t kQuietUs = 12 * kSecond;      // nothing appended for so long

}  // namespace

Simulation::Simulation(uint64_t seed, Trace& trace, Size size, bool record)
    : seed_(seed), world_(Mix(seed), trace), trace_(trace), draw_(world_.draw()), size_(size) {
  profile_ = static_cast<Profile>(seed % static_cast<uint64_t>(Profile::kCount));
  if (profile_ == Profile::kAway || profile_ == Profile::kExpiry) limits_.residue_quota = Mix(~seed) % 4;
  jobs_ = seed % 5 == 1 && profile_ != Profile::kOneWriter && !size_.large() && !record;
  jobs_once_ = jobs_ && seed / 5 % 2 == 0;
  if (record) recorded_ = std::make_unique<Recorded>(world_, Mix(seed + 1));
}

// ---- drawing

Node::Options Simulation::NodeOptions(int place, const std::string& leader) {
  Node::Options options;
  options.leader = leader;
  options.place = place;
  options.address = "10.0.0." + std::to_string(place + 1) + ":8400";
  options.engine = limits_;
  options.timer_us = timer_us_;
  options.gather_us = gather_us_;
  options.sync_max_us = sync_max_us_;
  options.segment_bytes = segment_bytes_;
  return options;
}

std::vector<std::string> Simulation::Addresses(const Node* except) {
  std::vector<std::string> out;
  for (auto& node : world_.nodes()) {
    if (node.get() != except) out.push_back(node->options().address);
  }
  return out;
}

void Simulation::DrawCluster() {
  Draw& d = draw_;
  const unsigned durability_weights[] = {60, 30, 10};
  limits_.durability = static_cast<engine::Durability>(d.Weighted(durability_weights));
  limits_.rejoin = d.Percent(50);
  limits_.ledger.age_ms_max = 400LL * 365 * 24 * 3600 * 1000;  // clocks jump by years
  if (profile_ == Profile::kPower) {
    limits_.durability = d.Percent(70) ? engine::Durability::kEverySecond : engine::Durability::kNone;
  }
  if (recorded_ || jobs_once_) limits_.durability = engine::Durability::kAlways;
  const bool tiny = profile_ == Profile::kFlow || d.Percent(25);
  limits_.frame_bytes_max = d.Percent(tiny ? 60 : 10) ? static_cast<size_t>(d.Scale(1, 200)) : 1 << 20;
  limits_.window_bytes = d.Percent(tiny ? 70 : 10) ? static_cast<size_t>(d.Scale(1, 4000)) : 4 << 20;
  const bool slices = profile_ == Profile::kCheckpoints || d.Percent(40);
  limits_.checkpoint_slice_keys = static_cast<size_t>(slices ? d.Between(1, 3) : 2000);
  limits_.checkpoint_log_bytes = static_cast<uint64_t>(slices ? d.Scale(1, 20'000) : d.Scale(10'000, 1 << 30));
  limits_.checkpoint_interval_ms = d.Scale(500, 300'000);
  limits_.checkpoint_replayed_bytes = limits_.checkpoint_log_bytes / 16;
  uint64_t quota = 0;
  if (profile_ == Profile::kAway || d.Percent(20)) {
    quota = static_cast<uint64_t>(d.Scale(2'000, profile_ == Profile::kAway ? 20'000 : 200'000));
  }
  if (d.Percent(70)) limits_.fold_patience_us = d.Scale(1, 60) * kSecond;
  limits_.state_chunk_bytes = static_cast<size_t>(d.Scale(800, 100'000));  // one a tick
  limits_.state_pause_us = d.Scale(1, 30) * kSecond;
  limits_.state_grace_us = 0;  // logs are to stay small
  limits_.state_window_bytes = limits_.state_chunk_bytes * static_cast<size_t>(d.Between(1, 8));
  limits_.state_near_bytes = static_cast<size_t>(d.Scale(1, 100'000));
  limits_.state_timeout_us = d.Between(1, 6) * kSecond;
  // One chunk must not take as long as it takes to be given up.
  const auto chunks_per_second = static_cast<uint64_t>(5'000'000 / limits_.state_timeout_us + 1);
  limits_.state_bytes_per_second =
      std::max<uint64_t>(limits_.state_chunk_bytes * chunks_per_second, static_cast<uint64_t>(d.Scale(40'000, 10'000'000)));
  if (d.Percent(25)) limits_.state_instead_bytes = static_cast<uint64_t>(d.Scale(300, 50'000));
  harass_percent_ = d.Percent(60) ? static_cast<unsigned>(d.Between(1, 20)) : 0;
  limits_.merge_slice_keys = static_cast<size_t>(d.Percent(60) ? 1 : d.Between(1, 100));
  timer_us_ = d.Pick(std::vector<int64_t>{10, 20, 20, 50, 50}) * kMs;
  if (size_.large()) timer_us_ = 100 * kMs;
  gather_us_ = d.Percent(40) ? 0 : d.Scale(10, 2000);
  sync_max_us_ = d.Percent(70) ? 5 * kMs : d.Scale(5 * kMs, 2 * kSecond);

  const unsigned count_weights[] = {22, 36, 16, 12, 7, 7};
  size_t count = 2 + d.Weighted(count_weights);
  if (size_.most != 0) {
    count = static_cast<size_t>(d.Between(static_cast<int64_t>(size_.least), static_cast<int64_t>(size_.most)));
  }
  if (quota != 0) {
    // What many members say of each other (claims, away, present), while one takes a state in tiny steps, must not by
    // itself exceed it.
    limits_.log_quota_bytes = std::max<uint64_t>(quota * (size_.large() ? 20 : 1), 1500 * (count + 2));
    segment_bytes_ = std::max<uint64_t>(200, limits_.log_quota_bytes / 16);
    limits_.checkpoint_log_bytes = std::min(limits_.checkpoint_log_bytes, limits_.log_quota_bytes / 4);
  }
  const bool clocks = profile_ == Profile::kExpiry ? d.Percent(70) : d.Percent(40);
  for (size_t i = 0; i < count; ++i) {
    Node& node = world_.AddNode(NodeOptions(next_place_++, "n" + std::to_string(i)));
    if (clocks) {
      const unsigned kinds[] = {40, 25, 15, 10, 10};
      int64_t offset_us = 0;
      switch (d.Weighted(kinds)) {
        case 0: break;
        case 1: offset_us = d.Scale(1, 3000) * kMs; break;
        case 2: offset_us = d.Scale(5, 100) * kSecond; break;
        case 3: offset_us = d.Scale(1, 400) * kDay; break;
        default: offset_us = d.Between(1, 50) * kYear; break;
      }
      node.SetOffset(d.Percent(50) ? offset_us : -offset_us);
      if (d.Percent(20)) node.SetDrift(d.Between(-500, 500));
    }
  }
  nodes_max_ = std::max<size_t>(9, count + 2);
  anchor_ = d.Below(count);
  auto& nodes = world_.nodes();
  // The first one founds the cluster; the others join it, some only later.
  for (size_t i = 1; i < count; ++i) {
    std::vector<std::string>& join = nodes[i]->mutable_options().join;
    join = {nodes[0]->options().address};
    // Those that are members by then all admit it.
    for (size_t k = 1; k < i && i % 2 == 0; ++k) join.push_back(nodes[k]->options().address);
  }
  nodes[0]->Start();
  for (size_t i = 1; i < count; ++i) {
    Restart(*nodes[i], d.Percent(80) ? d.Between(0, 50) * kMs : d.Between(0, 5000) * kMs);
  }
}

WorkloadProfile Simulation::DrawWorkload() {
  Draw& d = draw_;
  WorkloadProfile p;
  const std::vector<std::string> names = {"a", "b", "s:1", "p:1", "c", "s:2", "d", "e", "f", "g"};
  const size_t count = static_cast<size_t>(d.Between(1, d.Percent(60) ? 4 : 10));
  p.keys.assign(names.begin(), names.begin() + static_cast<ptrdiff_t>(count));
  for (int64_t n = d.Between(0, 2); n > 0; --n) p.tracked.push_back("n:" + std::to_string(n));
  auto scale = [&](unsigned& weight) {
    if (d.Percent(25)) weight *= 3;
    if (d.Percent(25)) weight = 0;
  };
  for (unsigned* w : {&p.set_ttl, &p.incr, &p.append, &p.del, &p.expire, &p.mset, &p.rename, &p.flush, &p.conflict,
                      &p.policy, &p.checkpoint, &p.incr_float, &p.getdel, &p.copy, &p.move, &p.set_nx, &p.mset_nx,
                      &p.get_ex, &p.keep_ttl}) {
    scale(*w);
  }
  p.link = d.Percent(15) ? 3 : 0;
  p.topology = d.Percent(30) ? 2 : 0;
  p.retire = d.Percent(15) ? 2 : 0;
  p.precedence = d.Percent(15) ? 2 : 0;
  p.numeric = d.Percent(40);
  p.ttl_max_ms = d.Scale(100, 10'000);
  p.burst_percent = d.Percent(50) ? 10 : 0;
  if (d.Percent(50)) p.publish = static_cast<unsigned>(d.Between(2, 15));
  if (d.Percent(40)) p.travel = static_cast<unsigned>(d.Between(3, 25));
  if (d.Percent(60)) p.transaction = static_cast<unsigned>(d.Between(3, 25));
  if (d.Percent(75)) p.collection_percent = static_cast<unsigned>(d.Between(10, 80));
  // Packed ones, and collections in their big form.
  p.elements = d.Percent(15) ? (d.OneIn(2) ? 60 : 220) : static_cast<uint64_t>(d.Between(1, 8));
  switch (profile_) {
    case Profile::kExpiry:
      p.set_ttl = 20;
      p.expire = 15;
      p.persist = 5;
      p.del = 5;
      p.keys.resize(std::min<size_t>(p.keys.size(), 4));
      p.numeric = true;
      p.ttl_max_ms = d.Scale(100, 3000);
      break;
    case Profile::kCheckpoints: p.checkpoint = 12; break;
    case Profile::kConflicts:
      p.conflict = 15;
      p.policy = 4;
      p.del = 12;
      p.burst_percent = 20;
      break;
    case Profile::kOneWriter:
      p.conflict = 0;
      p.burst_percent = 0;
      break;
    case Profile::kCounters:
      p.keys = {"a"};
      if (d.Percent(40)) p.keys.push_back("b");
      p.set = 4;
      p.incr = 40;
      p.del = 25;
      p.append = p.rename = p.mset = 0;
      p.copy = p.move = p.set_nx = p.mset_nx = p.get_ex = p.keep_ttl = 0;
      p.set_ttl = p.expire = d.Percent(30) ? 4 : 0;
      p.persist = 0;
      p.numeric = true;
      p.policy = 0;
      p.incr_float = d.Percent(20) ? 4 : 0;
      break;
    case Profile::kCalm:
      p.burst_percent = 60;
      p.incr = 5;
      break;
    default: break;
  }
  // By the seed alone, so that the others draw what they drew before there were merges.
  agreed_ = profile_ != Profile::kOneWriter && seed_ % 6 == 4;
  if (agreed_) p.flush = 0;  // it is refused while there is such a key
  if (jobs_) p.flush = 0;    // it would take jobs
  if (jobs_once_) p.link = p.topology = p.retire = p.precedence = 0;
  p.merges = p.policy != 0 && seed_ % 7 == 3;
  if (p.policy != 0 && seed_ % 5 == 2) p.feed = 12;
  p.handlers = p.policy != 0 && seed_ % 7 == 5;
  if (p.merges || p.handlers) p.policy = std::max(p.policy, 3U);
  // What is recorded has no conflicts to resolve, and nobody takes its keys away.
  if (recorded_) {
    p.policy = p.feed = p.flush = p.retire = 0;
    p.merges = p.handlers = false;
  }
  ttl_ = p.set_ttl + p.expire > 0;
  return p;
}

// Where no job may be handed out twice: nobody is out of reach of others for long, no disk goes back, and one leader
// at a time is down. Where none may be lost: what was told is on a disk that stays.
void Simulation::TameForJobs() {
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
  if (jobs_) world_.jobs().Promise(jobs_once_, kept);
  world_.stocks().Promise(kept);
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
                      Fault::kFailSync, Fault::kFailFlush, Fault::kFailWrite}) {
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

// ---- faults

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
  world_.scheduler().After(after_us, [&node] {
    if (!node.up()) node.Start();
  });
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
    case Fault::kCount: break;
  }
}

// ---- phases

void Simulation::Run() {
  DrawCluster();
  DrawFaults();
  workload_ = std::make_unique<Workload>(world_, DrawWorkload());
  one_writer_ = profile_ == Profile::kOneWriter && !recorded_;
  if (one_writer_) {
    world_.SetWriters({draw_.Pick(world_.nodes()).get()});
  }
  world_.SetPoliciesChange(workload_->profile().policy != 0);
  world_.SetCheckEvery(static_cast<uint64_t>(size_.large() ? draw_.Scale(1000, 20'000) : draw_.Scale(10, 200)));
  world_.on_failed = [this](Node& node) { Restart(node, draw_.Scale(10 * kMs, down_max_us_)); };
  Safety();
  Liveness();
  if (!recorded_) return;
  recorded_->Finish();
  // Clocks may be years apart: which of two concurrent writes is shown follows no one order then.
  auto parsed = history::History::Parse(recorded_->text());
  if (!parsed.ok()) throw Violation("the history cannot be read: " + parsed.status().message());
  auto verdict = history::CheckCausal(*parsed);
  if (!verdict.ok()) throw Violation("the history cannot be checked: " + verdict.status().message());
  if (verdict->count > 0) {
    const history::Violation& first = verdict->violations.front();
    throw Violation("history: line " + std::to_string(first.lines.front()) + ": " + first.rule + ": " + first.text);
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

void Simulation::Safety() {
  // Most clusters form in peace; some are born in the storm.
  if (draw_.Percent(80)) {
    world_.RunUntil(10 * kSecond, 50 * kMs, [this] { return world_.checkers().Converged(); });
  }
  if (draw_.Percent(75)) {
    std::vector<Node*> writers = world_.Writers();
    if (!writers.empty()) Operate(*draw_.Pick(writers), workload_->DrawTopology());
  }
  if (long_absence_) {
    // Nobody starts it again before its time: with its process goes the word of all who would.
    Node* node = DrawNode(true);
    if (node != nullptr) {
      world_.Log([&] { return node->name() + " stays away"; });
      node->End(EndOfProcess::kStopped);
      Restart(*node, safety_us_);
    }
  }
  int64_t end_us = world_.now_us() + safety_us_;
  int64_t next_fault_us = world_.now_us() + fault_every_us_;
  while (world_.now_us() < end_us) {
    world_.RunFor(draw_.Between(op_every_us_ / 2, op_every_us_ * 3 / 2));
    workload_->Step();
    if (recorded_) recorded_->Step();
    if (agreed_) {
      world_.agreed().Step();
      if (seed_ / 6 % 2 == 0) world_.stocks().Step();
    }
    if (jobs_) world_.jobs().Step();
    if (harass_percent_ != 0 || back_up_transfers_) HarassTransfers();
    if (world_.now_us() >= next_fault_us) {
      next_fault_us = world_.now_us() + draw_.Between(1, 2 * fault_every_us_);
      const int64_t before_us = world_.now_us();
      Inject();
      end_us += world_.now_us() - before_us;  // a leap is no time to work in
      if (draw_.OneIn(10)) world_.checkers().CheckAll();
    }
  }
  world_.checkers().CheckAll();
}

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
  const int64_t patience_us = kRouteAroundUs + TransfersUs(alive.size());
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
  const int64_t bound_us = kConvergeUs + kConvergeEachUs * nodes + 2 * TransfersUs(world_.nodes().size());
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
  std::string why;
  auto quiet = [&] {
    if (world_.now_us() - begin_us < kQuietUs) return false;
    if (!world_.checkers().Converged(&why)) return false;
    for (auto& node : world_.nodes()) {
      if (world_.now_us() - node->last_append_us() < kQuietUs) {
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

SeedResult RunSeed(uint64_t seed, Trace& trace, Size size, bool record) {
  SeedResult result;
  Simulation simulation(seed, trace, size, record);
  try {
    simulation.Run();
    result.passed = true;
  } catch (const Violation& violation) {
    result.reason = violation.what();
  }
  result.history = simulation.history();
  World& world = simulation.world();
  result.fingerprint = world.Fingerprint();
  result.acknowledged = world.checkers().acknowledged();
  result.frames = world.history().frames();
  result.events = world.scheduler().events();
  result.simulated_us = world.now_us();
  result.agreed_checked = world.agreed().checked();
  result.agreed_undecided = world.agreed().undecided();
  return result;
}

}  // namespace polyarch::sim
