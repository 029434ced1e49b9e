#include "sim/simulation.h"

#include <algorithm>
#include <set>

#include "base/hash.h"
#include "history/causal.h"
#include "history/history.h"
#include "sim/marks.h"

namespace polyarch::sim {

uint64_t Simulation::Mix(uint64_t seed) {
  return base::ContentHash64(std::string_view(reinterpret_cast<const char*>(&seed), sizeof(seed)));
}

Simulation::Simulation(uint64_t seed, Trace& trace, Size size, bool record)
    : seed_(seed), world_(Mix(seed), trace), trace_(trace), draw_(world_.draw()), size_(size) {
  profile_ = static_cast<Profile>(seed % static_cast<uint64_t>(Profile::kCount));
  if (profile_ == Profile::kAway || profile_ == Profile::kExpiry) limits_.residue_quota = Mix(~seed) % 4;
  jobs_ = seed % 5 == 1 && profile_ != Profile::kOneWriter && !size_.large() && !record;
  jobs_once_ = jobs_ && seed / 5 % 2 == 0;
  small_slices_ = !size_.large() && Mix(seed + 11) % 6 == 0;
  if (small_slices_) {
    limits_.removal_slice_keys = 1 + Mix(seed + 13) % 5;
    limits_.residue_slice = 4 + Mix(seed + 17) % 40;
    limits_.feed_slice = 1 + Mix(seed + 19) % 4;
  }
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
  std::vector<std::string> names = {"a", "b", "s:1", "p:1", "c", "s:2", "d", "e", "f", "g"};
  if (!recorded_ && seed_ % 7 != 5 && Mix(seed_ + 23) % 6 == 0)
    names = {"a", "", std::string("b\0\xff\r\n", 5), "*", "[a", std::string(300, 'k'), "s:1", "p:1", "\\", "c"};
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
  p.shown_deletes = p.policy != 0 && Mix(seed_ + 5) % 4 == 0;
  if (p.shown_deletes) {
    p.policy = std::max(p.policy, 4U);
    p.del = std::max(p.del, 10U);
  }
  p.huge = !p.merges && !p.handlers && !recorded_ && Mix(seed_ + 3) % (profile_ == Profile::kCounters ? 3 : 10) == 0;
  if (p.huge) p.incr_float = 0;
  // What is recorded has no conflicts to resolve, and nobody takes its keys away.
  if (recorded_) {
    p.policy = p.feed = p.flush = p.retire = 0;
    p.merges = p.handlers = false;
  }
  ttl_ = p.set_ttl + p.expire > 0;
  return p;
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
