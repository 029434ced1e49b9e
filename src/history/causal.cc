#include "history/causal.h"

#include <algorithm>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "history/counter_bounds.h"
#include "history/graph.h"

namespace polyarch::history {
namespace {

constexpr uint32_t kNone = UINT32_MAX;
constexpr size_t kConflictEdgesMax = 100'000'000;
constexpr size_t kCycleShown = 8;
constexpr size_t kCyclesMax = 1000;  // each is looked for anew

// An operation with a place in the order.
struct Node {
  uint32_t op = 0;
  // Nodes of one lane follow one another: those of a session, or one write of unknown outcome, which
  // nothing in its session follows.
  uint32_t lane = 0;
  uint32_t at = 0;              // its place in the lane
  uint32_t sources_first = 0;   // in `sources_`: the writes whose values it saw
  uint32_t sources_count = 0;
  uint32_t clock = kNone;       // of a write or delete: what it had seen
  bool reads = false;           // a register; nil if it has no source
  bool reads_nil = false;
  bool writes = false;
  bool deletes = false;
  bool counter = false;
};

// The nodes of one key and lane, in their order.
struct Group {
  uint32_t lane = 0;
  uint32_t begin = 0;
  uint32_t end = 0;
};

// Nodes by key and lane.
class Places {
 public:
  void Add(uint32_t key, uint32_t node) { added_.push_back({key, node}); }
  void Finish(const std::vector<Node>& nodes, size_t keys) {
    std::sort(added_.begin(), added_.end(), [&](const auto& a, const auto& b) {
      if (a.first != b.first) return a.first < b.first;
      const Node& m = nodes[a.second];
      const Node& n = nodes[b.second];
      return m.lane != n.lane ? m.lane < n.lane : m.at < n.at;
    });
    first_.assign(keys + 1, 0);
    uint32_t last_key = kNone;
    for (const auto& [key, node] : added_) {
      const auto place = static_cast<uint32_t>(nodes_.size());
      if (key != last_key || groups_.back().lane != nodes[node].lane) {
        groups_.push_back({nodes[node].lane, place, place});
        ++first_[key + 1];
      }
      last_key = key;
      nodes_.push_back(node);
      ats_.push_back(nodes[node].at);
      ++groups_.back().end;
    }
    for (size_t key = 0; key < keys; ++key) first_[key + 1] += first_[key];
    added_ = {};
  }
  const Group* begin(uint32_t key) const { return groups_.data() + first_[key]; }
  const Group* end(uint32_t key) const { return groups_.data() + first_[key + 1]; }
  // The last node before a place, the first from it on; kNone if there is none.
  uint32_t LastBefore(const Group& group, uint32_t at) const {
    const auto it = std::lower_bound(ats_.begin() + group.begin, ats_.begin() + group.end, at);
    return it == ats_.begin() + group.begin ? kNone : nodes_[static_cast<size_t>(it - ats_.begin()) - 1];
  }
  uint32_t FirstFrom(const Group& group, uint32_t at) const {
    const auto it = std::lower_bound(ats_.begin() + group.begin, ats_.begin() + group.end, at);
    return it == ats_.begin() + group.end ? kNone : nodes_[static_cast<size_t>(it - ats_.begin())];
  }

 private:
  std::vector<std::pair<uint32_t, uint32_t>> added_;
  std::vector<uint32_t> nodes_, ats_;
  std::vector<Group> groups_;
  std::vector<uint32_t> first_;  // by key, in groups_
};

class Checker {
 public:
  Checker(const History& history, const CausalOptions& options)
      : history_(history), ops_(history.operations()), options_(options) {}

  base::Result<Verdict> Run() {
    skip_ = options_.skip;
    skip_.resize(history_.keys().size(), false);
    SortKeys();
    if (base::Status status = FindWriters(); !status.ok()) return status;
    MakeNodes();
    if (WalkInOrder()) {
      for (uint32_t node = ordered_; node < nodes_.size(); ++node) CheckFinal(node);
      if (options_.convergent) CheckConflictOrder();
    }
    return std::move(verdict_);
  }

 private:
  // What a key is: a register, or a counter.
  void SortKeys() {
    counter_of_.assign(history_.keys().size(), kNone);
    std::vector<bool> written(history_.keys().size(), false);
    for (const Operation& op : ops_) {
      if (op.outcome == Outcome::kFailed || skip_[op.key] || op.reads()) continue;
      if (op.kind != Kind::kIncrement) {
        written[op.key] = true;
      } else if (counter_of_[op.key] == kNone) {
        counter_of_[op.key] = static_cast<uint32_t>(counters_.size());
        counters_.emplace_back();
      }
    }
    for (uint32_t key = 0; key < written.size(); ++key) {
      if (!written[key] || counter_of_[key] == kNone) continue;
      skip_[key] = true;
      verdict_.undecided.push_back("key " + Word(history_.keys()[key]) +
                                   " is incremented and also written: only --linearizable can check it");
    }
  }

  bool Counter(const Operation& op) const { return counter_of_[op.key] != kNone; }
  static bool WritesValue(const Operation& op) {
    return op.kind == Kind::kSet || op.kind == Kind::kCompareAndSet || op.kind == Kind::kSetIfAbsent;
  }
  static uint64_t Written(uint32_t key, uint32_t value) { return uint64_t{key} << 32 | value; }

  base::Status FindWriters() {
    writers_.reserve(ops_.size() / 2);
    for (uint32_t i = 0; i < ops_.size(); ++i) {
      const Operation& op = ops_[i];
      if (skip_[op.key] || !WritesValue(op) || op.outcome == Outcome::kRefused) continue;
      const auto [at, fresh] = writers_.try_emplace(Written(op.key, op.value), i);
      if (fresh || op.outcome == Outcome::kFailed) continue;
      const Operation& other = ops_[at->second];
      if (other.outcome != Outcome::kFailed)
        return base::Invalid("line " + std::to_string(op.line) + ": " + history_.Text(op) + " writes the same value as line " +
                             std::to_string(other.line) + ": the causal check needs values that are written to a key once");
      at->second = i;
    }
    return base::Status::Ok();
  }

  // The write of a value that was seen, or kNone and a violation.
  uint32_t Source(const Operation& op, uint32_t value) {
    const auto at = writers_.find(Written(op.key, value));
    std::string why;
    if (at == writers_.end() || &ops_[at->second] == &op) {
      why = ", which nobody wrote";
    } else if (const Operation& write = ops_[at->second]; write.outcome == Outcome::kFailed) {
      why = ", whose write in line " + std::to_string(write.line) + " failed";
    } else if (write.invoked > op.completed) {
      Add("FutureRead", {op.line, write.line}, Who(op) + " at " + std::to_string(op.completed) + ", and it was written at " +
          std::to_string(write.invoked) + " (line " + std::to_string(write.line) + ")");
      return kNone;
    } else {
      return at->second;
    }
    Add("ThinAirRead", {op.line}, Who(op) + ": " + history_.ValueText(value) + why);
    return kNone;
  }

  void MakeNodes() {
    // First who was read: a write of unknown outcome took effect if somebody saw its value.
    std::vector<uint32_t> order(ops_.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return ops_[a].session < ops_[b].session; });
    std::vector<bool> seen(ops_.size(), false);
    std::vector<std::pair<uint32_t, uint32_t>> read(ops_.size(), {0, 0});  // in sources_, as operations
    for (uint32_t i = 0; i < ops_.size(); ++i) {
      const Operation& op = ops_[i];
      if (skip_[op.key] || Counter(op) || op.outcome != Outcome::kOk) continue;
      read[i].first = static_cast<uint32_t>(sources_.size());
      const auto see = [&](uint32_t value) {
        const uint32_t source = value == kNil ? kNone : Source(op, value);
        if (source == kNone) return;
        sources_.push_back(source);
        seen[source] = true;
      };
      if (op.kind == Kind::kCompareAndSet) see(op.expected);
      for (uint32_t j = 0; op.reads() && j < op.seen_count; ++j) see(history_.Seen(op)[j]);
      read[i].second = static_cast<uint32_t>(sources_.size()) - read[i].first;
    }
    // Then the nodes, session by session.
    const auto sessions = static_cast<uint32_t>(history_.sessions().size());
    lanes_ = sessions;
    std::vector<uint32_t> lane_size(sessions, 0);
    node_of_.assign(ops_.size(), kNone);
    unknown_delete_.assign(history_.keys().size(), kNever);
    std::vector<uint32_t> finals;
    for (size_t k = 0; k < order.size(); ++k) {
      const uint32_t i = order[k];
      const Operation& op = ops_[i];
      if (skip_[op.key] || op.outcome == Outcome::kFailed || op.outcome == Outcome::kRefused) continue;
      const bool unknown = op.outcome == Outcome::kUnknown;
      if (unknown && op.kind == Kind::kDelete) unknown_delete_[op.key] = std::min(unknown_delete_[op.key], op.invoked);
      if (unknown && op.kind == Kind::kIncrement) counters_[counter_of_[op.key]].Add(op, false, 0, 0);
      if (unknown && !seen[i]) continue;
      if (op.kind == Kind::kFinal) {
        finals.push_back(i);
        continue;
      }
      Node node;
      node.op = i;
      node.lane = op.session;
      const bool last = k + 1 == order.size() || ops_[order[k + 1]].session != op.session;
      node.at = unknown && !last ? 0 : lane_size[op.session]++;
      if (unknown && !last) node.lane = lanes_++;
      Describe(node, op, read[i]);
      if (op.kind == Kind::kIncrement) counters_[counter_of_[op.key]].Add(op, true, node.lane, node.at);
      AddNode(node, op);
    }
    ordered_ = static_cast<uint32_t>(nodes_.size());
    for (uint32_t i : finals) {
      Node node;
      node.op = i;
      Describe(node, ops_[i], read[i]);
      nodes_.push_back(node);
    }
    for (uint32_t& source : sources_) source = node_of_[source];
    writes_.Finish(nodes_, history_.keys().size());
    deletes_.Finish(nodes_, history_.keys().size());
    for (CounterBounds& counter : counters_) counter.Finish();
  }

  void Describe(Node& node, const Operation& op, std::pair<uint32_t, uint32_t> read) const {
    const bool known = op.outcome == Outcome::kOk;
    node.counter = Counter(op);
    node.sources_first = read.first;
    node.sources_count = read.second;
    node.writes = WritesValue(op);
    node.deletes = op.kind == Kind::kDelete;
    node.reads = !node.counter && known && (op.reads() || op.kind == Kind::kCompareAndSet || op.kind == Kind::kSetIfAbsent);
    node.reads_nil = node.reads && ((op.reads() && history_.Seen(op)[0] == kNil) || op.kind == Kind::kSetIfAbsent ||
                                    (op.kind == Kind::kCompareAndSet && op.expected == kNil));
  }

  void AddNode(const Node& node, const Operation& op) {
    const auto number = static_cast<uint32_t>(nodes_.size());
    node_of_[node.op] = number;
    nodes_.push_back(node);
    if (node.writes) writes_.Add(op.key, number);
    if (node.deletes) deletes_.Add(op.key, number);
  }

  // The order

  bool SameSession(uint32_t a, uint32_t b) const {
    return a < ordered_ && b < ordered_ && OpOf(a).session == OpOf(b).session;
  }
  uint32_t Before(uint32_t node) const { return node > 0 && SameSession(node - 1, node) ? node - 1 : kNone; }
  uint32_t After(uint32_t node) const { return SameSession(node, node + 1) ? node + 1 : kNone; }

  // Visits each node after all that it follows; checks what it saw against its clock. False if it did not
  // come to the end: there is not enough memory, or nearly everything is in cycles.
  bool WalkInOrder() {
    const size_t rows = history_.sessions().size();
    if (rows * lanes_ * sizeof(uint32_t) > options_.clocks_bytes_max) return NoMemory();
    current_.assign(rows * lanes_, 0);
    latest_.assign(rows, kNone);
    std::vector<Edge> edges;
    std::vector<uint32_t> waits(ordered_, 0);
    for (uint32_t node = 0; node < ordered_; ++node) {
      waits[node] = (Before(node) != kNone ? 1 : 0) + nodes_[node].sources_count;
      for (uint32_t i = 0; i < nodes_[node].sources_count; ++i) edges.push_back({SourceOf(node, i), node});
    }
    const Graph readers(ordered_, edges);
    edges = {};
    std::vector<bool> done(ordered_, false);
    std::vector<uint32_t> ready;
    for (uint32_t node = ordered_; node-- > 0;) {
      if (waits[node] == 0) ready.push_back(node);
    }
    uint32_t visited = 0;
    uint32_t stuck = 0;
    size_t cycles = 0;
    while (visited < ordered_) {
      if (ready.empty()) {
        if (++cycles > kCyclesMax) return false;  // enough has been said
        while (done[stuck]) ++stuck;
        const uint32_t freed = BreakCycle(stuck, done);
        if (--waits[freed] == 0) ready.push_back(freed);
        continue;
      }
      const uint32_t node = ready.back();
      ready.pop_back();
      if (!Visit(node)) return NoMemory();
      done[node] = true;
      ++visited;
      if (const uint32_t after = After(node); after != kNone && --waits[after] == 0) ready.push_back(after);
      for (const uint32_t* reader = readers.begin(node); reader != readers.end(node); ++reader) {
        if (Reads(*reader, node) && --waits[*reader] == 0) ready.push_back(*reader);
      }
    }
    return true;
  }

  bool NoMemory() {
    verdict_.undecided.push_back("the clocks of " + std::to_string(lanes_) + " sessions need more than " +
                                 std::to_string(options_.clocks_bytes_max >> 20) + " MiB (--memory)");
    return false;
  }

  uint32_t SourceOf(uint32_t node, uint32_t i) const { return sources_[nodes_[node].sources_first + i]; }
  bool Reads(uint32_t node, uint32_t source) const {
    for (uint32_t i = 0; i < nodes_[node].sources_count; ++i) {
      if (SourceOf(node, i) == source) return true;
    }
    return false;
  }

  // Nothing can be next: back from any node to what it waits for, until one comes again. Reports the cycle
  // and takes one reading out of it; returns who read.
  uint32_t BreakCycle(uint32_t node, const std::vector<bool>& done) {
    std::vector<uint32_t> path;
    std::unordered_map<uint32_t, size_t> place;
    while (place.try_emplace(node, path.size()).second) {
      path.push_back(node);
      uint32_t next = kNone;
      for (uint32_t i = 0; i < nodes_[node].sources_count && next == kNone; ++i) {
        const uint32_t source = SourceOf(node, i);
        if (source != kNone && !done[source]) next = source;
      }
      if (next == kNone) next = Before(node);
      node = next;
    }
    std::vector<uint32_t> cycle(path.begin() + static_cast<std::ptrdiff_t>(place[node]), path.end());
    uint32_t reader = kNone;
    for (size_t i = 0; i < cycle.size() && reader == kNone; ++i) {
      const uint32_t source = cycle[(i + 1) % cycle.size()];
      if (!Reads(cycle[i], source)) continue;
      reader = cycle[i];
      for (uint32_t j = 0; j < nodes_[reader].sources_count; ++j) {
        uint32_t& slot = sources_[nodes_[reader].sources_first + j];
        if (slot == source) slot = kNone;
      }
    }
    std::reverse(cycle.begin(), cycle.end());
    AddCycle("CyclicCO", cycle, "each comes before the next one, and the last before the first");
    return reader;
  }

  uint32_t* Current(uint32_t session) { return current_.data() + size_t{session} * lanes_; }
  const uint32_t* ClockOf(const Node& node) const {
    return clock_blocks_[node.clock / kClocksPerBlock].get() + size_t{node.clock % kClocksPerBlock} * lanes_;
  }
  // Had `later`, a write or delete, seen `earlier`?
  bool Saw(uint32_t later, uint32_t earlier) const {
    const Node& a = nodes_[later];
    const Node& b = nodes_[earlier];
    if (a.lane == b.lane) return b.at < a.at;
    return a.clock != kNone && ClockOf(a)[b.lane] > b.at;
  }

  bool Visit(uint32_t number) {
    Node& node = nodes_[number];
    const Operation& op = ops_[node.op];
    uint32_t* clock = Current(op.session);
    for (uint32_t i = 0; i < node.sources_count; ++i) {
      const uint32_t source = SourceOf(number, i);
      if (source == kNone) continue;
      const Node& from = nodes_[source];
      if (clock[from.lane] > from.at || from.clock == kNone) continue;
      const uint32_t* other = ClockOf(from);
      for (uint32_t lane = 0; lane < lanes_; ++lane) clock[lane] = std::max(clock[lane], other[lane]);
      clock[from.lane] = std::max(clock[from.lane], from.at + 1);
      latest_[op.session] = kNone;
    }
    if (node.reads) CheckRead(number, clock);
    if (node.lane != op.session) latest_[op.session] = kNone;  // its clock must tell of its own session, too
    if (node.writes || node.deletes) {
      if (latest_[op.session] == kNone && !KeepClock(op.session)) return false;
      node.clock = latest_[op.session];
    }
    if (node.lane == op.session) clock[node.lane] = node.at + 1;
    if (node.counter) CheckCounter(number, [clock](uint32_t lane) { return clock[lane]; });
    return true;
  }

  bool KeepClock(uint32_t session) {
    if (clocks_ % kClocksPerBlock == 0) {
      if ((clock_blocks_.size() + 1) * kClocksPerBlock * lanes_ * sizeof(uint32_t) > options_.clocks_bytes_max) return false;
      clock_blocks_.push_back(std::make_unique<uint32_t[]>(size_t{kClocksPerBlock} * lanes_));
    }
    latest_[session] = clocks_++;
    const uint32_t* clock = Current(session);
    std::copy(clock, clock + lanes_, clock_blocks_.back().get() + size_t{latest_[session] % kClocksPerBlock} * lanes_);
    return true;
  }

  // The patterns

  void CheckRead(uint32_t reader, const uint32_t* clock) {
    const Node& node = nodes_[reader];
    const uint32_t key = ops_[node.op].key;
    const auto until = [clock](uint32_t lane) { return clock == nullptr ? kNone : clock[lane]; };
    if (node.reads_nil) {
      for (const Group* group = writes_.begin(key); group != writes_.end(key); ++group) {
        const uint32_t write = writes_.LastBefore(*group, until(group->lane));
        if (write == kNone || write == reader || MayBeDeleted(write, ops_[node.op])) continue;
        const Operation& w = OpOf(write);
        Add("WriteCOInitRead", {OpOf(reader).line, w.line}, Who(OpOf(reader)) + ", which comes after " + Line(w) +
            ", and no delete can have removed that" + Guarantee(reader, kNone, write));
        return;
      }
      return;
    }
    for (uint32_t i = 0; i < node.sources_count; ++i) {
      const uint32_t source = SourceOf(reader, i);
      if (source == kNone) continue;
      if (!CheckReplaced(reader, source, writes_, key, until) || !CheckReplaced(reader, source, deletes_, key, until)) return;
    }
  }

  // Has the reader seen what replaced the source? Else what it has seen and was not shown lost against it.
  template <typename Until>
  bool CheckReplaced(uint32_t reader, uint32_t source, const Places& places, uint32_t key, const Until& until) {
    const bool loses = options_.convergent && &places == &writes_ && nodes_[reader].sources_count == 1;
    for (const Group* group = places.begin(key); group != places.end(key); ++group) {
      const uint32_t other = places.LastBefore(*group, until(group->lane));
      if (other == kNone || other == source || other == reader) continue;
      if (Saw(other, source)) {
        const Operation& w = OpOf(source);
        const Operation& o = OpOf(other);
        Add("WriteCORead", {OpOf(reader).line, w.line, o.line}, Who(OpOf(reader)) + ": written by line " + std::to_string(w.line) +
            ", which " + Line(o) + " had seen, and the read comes after that" + Guarantee(reader, source, other));
        return false;
      }
      if (loses && !Saw(source, other) && !MayBeDeleted(other, OpOf(reader))) AddConflict(other, source);
    }
    return true;
  }

  // Is there a delete that may have seen the write and may have been seen by the read?
  bool MayBeDeleted(uint32_t write, const Operation& read) const {
    if (unknown_delete_[read.key] <= read.completed) return true;
    const Node& node = nodes_[write];
    for (const Group* group = deletes_.begin(read.key); group != deletes_.end(read.key); ++group) {
      uint32_t seen = node.at;
      if (group->lane != node.lane) seen = node.clock == kNone ? 0 : ClockOf(node)[group->lane];
      const uint32_t first = deletes_.FirstFrom(*group, seen);
      if (first != kNone && OpOf(first).invoked <= read.completed) return true;
    }
    return false;
  }

  // Which session guarantee (Terry et al. 1994) the read breaks: it shows `source` (kNone: nil) after `other`.
  std::string Guarantee(uint32_t reader, uint32_t source, uint32_t other) const {
    if (reader >= ordered_) return "";
    if (SameSession(reader, other)) return ": read your writes is broken";
    const auto read_by = [&](uint32_t node, const auto& shows) {
      while ((node = Before(node)) != kNone) {
        if (!nodes_[node].reads || OpOf(node).key != OpOf(reader).key) continue;
        for (uint32_t i = 0; i < nodes_[node].sources_count; ++i) {
          if (SourceOf(node, i) != kNone && shows(SourceOf(node, i))) return true;
        }
      }
      return false;
    };
    if (read_by(reader, [&](uint32_t s) { return s == other || (source != kNone && s != source && Saw(s, source)); }))
      return ": monotonic reads is broken";
    if (source == kNone) return "";
    if (SameSession(source, other)) return ": monotonic writes is broken";
    if (read_by(other, [&](uint32_t s) { return s == source; })) return ": writes follow reads is broken";
    return "";
  }

  template <typename Clock>
  void CheckCounter(uint32_t number, const Clock& clock) {
    const Operation& op = OpOf(number);
    int64_t shown = op.result;
    if (op.kind == Kind::kIncrement && !op.told) return;
    if (op.reads() && (op.seen_count != 1 || !CounterValue(history_, *history_.Seen(op), shown)))
      return Add("CounterInvented", {op.line}, Who(op) + ": no number, of a key that was only incremented");
    const auto range = counters_[counter_of_[op.key]].At(op.completed, clock);
    if (shown < range.low)
      Add("CounterLost", {op.line}, Who(op) + ", but the increments before it make " + Decimal(range.low) + " at least");
    if (shown > range.high)
      Add("CounterInvented", {op.line}, Who(op) + ", but all that was asked for by then makes " + Decimal(range.high) + " at most");
  }

  // A final read was made when everything had come everywhere: all that took effect is before it.
  void CheckFinal(uint32_t number) {
    const Operation& op = OpOf(number);
    if (nodes_[number].counter) {
      CheckCounter(number, [](uint32_t) { return kNone; });
    } else {
      CheckRead(number, nullptr);
    }
    const auto [first, fresh] = final_of_.try_emplace(op.key, number);
    if (fresh) return;
    const auto values = [&](const Operation& o) {
      std::vector<uint32_t> seen(history_.Seen(o), history_.Seen(o) + o.seen_count);
      std::sort(seen.begin(), seen.end());
      return seen;
    };
    const Operation& other = OpOf(first->second);
    if (values(op) != values(other))
      Add("FinalDiffers", {op.line, other.line}, Who(op) + ", and line " + std::to_string(other.line) + ": " + history_.Text(other) +
          " at " + Word(history_.leaders()[other.leader]));
  }

  void AddConflict(uint32_t loser, uint32_t winner) {
    if (conflicts_.size() >= kConflictEdgesMax) {
      SortConflicts();
      if (conflicts_.size() > kConflictEdgesMax / 2) {
        conflicts_full_ = true;
        return;
      }
    }
    if (!conflicts_full_) conflicts_.push_back({loser, winner});
  }

  void SortConflicts() {
    std::sort(conflicts_.begin(), conflicts_.end());
    conflicts_.erase(std::unique(conflicts_.begin(), conflicts_.end()), conflicts_.end());
  }

  void CheckConflictOrder() {
    if (conflicts_full_)
      verdict_.undecided.push_back("more than " + std::to_string(kConflictEdgesMax / 2) +
                                   " pairs of concurrent writes: their order was not checked to its end");
    SortConflicts();
    std::vector<Edge> edges = std::move(conflicts_);
    for (uint32_t node = 0; node < ordered_; ++node) {
      // Nothing follows a write of unknown outcome in its session.
      uint32_t before = Before(node);
      while (before != kNone && nodes_[before].lane != OpOf(before).session) before = Before(before);
      if (before != kNone) edges.push_back({before, node});
      for (uint32_t i = 0; i < nodes_[node].sources_count; ++i) {
        if (SourceOf(node, i) != kNone) edges.push_back({SourceOf(node, i), node});
      }
    }
    for (const auto& cycle : FindCycles(Graph(ordered_, edges)))
      AddCycle("CyclicCF", cycle, "each comes before the next one, or lost against it where both were seen, and so the last against the first");
  }

  // Words

  const Operation& OpOf(uint32_t node) const { return ops_[nodes_[node].op]; }
  std::string Who(const Operation& op) const {
    return history_.Text(op) + " by " + Word(history_.sessions()[op.session]) + " at " + Word(history_.leaders()[op.leader]);
  }
  std::string Line(const Operation& op) const { return "line " + std::to_string(op.line) + " (" + history_.Text(op) + ")"; }

  void Add(std::string rule, std::vector<uint32_t> lines, std::string text) {
    verdict_.Add({std::move(rule), std::move(lines), std::move(text)});
  }

  void AddCycle(std::string rule, const std::vector<uint32_t>& cycle, std::string_view why) {
    std::vector<uint32_t> lines;
    std::string text;
    for (size_t i = 0; i < cycle.size(); ++i) {
      lines.push_back(OpOf(cycle[i]).line);
      if (i < kCycleShown) text += (i > 0 ? ", " : "") + Line(OpOf(cycle[i]));
    }
    if (cycle.size() > kCycleShown) text += " and " + std::to_string(cycle.size() - kCycleShown) + " more";
    Add(std::move(rule), std::move(lines), text + ": " + std::string(why));
  }

  static constexpr uint32_t kClocksPerBlock = 1024;

  const History& history_;
  const std::vector<Operation>& ops_;
  const CausalOptions& options_;
  std::vector<bool> skip_;
  Verdict verdict_;
  std::unordered_map<uint64_t, uint32_t> writers_;  // by key and value: the operation
  std::vector<Node> nodes_;           // session by session; then the final reads
  uint32_t ordered_ = 0;              // how many are no final reads
  std::vector<uint32_t> node_of_;     // by operation
  std::vector<uint32_t> sources_;     // nodes; kNone: taken out of a cycle
  uint32_t lanes_ = 0;
  Places writes_, deletes_;
  std::vector<uint64_t> unknown_delete_;  // by key: when the first one was invoked
  std::vector<uint32_t> counter_of_;  // by key
  std::vector<CounterBounds> counters_;
  std::vector<uint32_t> current_;     // a clock for each session: how much of each lane it has seen
  std::vector<uint32_t> latest_;      // by session: its kept clock, if that is still its clock
  std::vector<std::unique_ptr<uint32_t[]>> clock_blocks_;
  uint32_t clocks_ = 0;
  std::vector<Edge> conflicts_;       // loser, winner
  bool conflicts_full_ = false;
  std::unordered_map<uint32_t, uint32_t> final_of_;  // by key: the first final read
};

}  // namespace

base::Result<Verdict> CheckCausal(const History& history, const CausalOptions& options) {
  return Checker(history, options).Run();
}

}  // namespace polyarch::history
