#include "sync/sync_world.h"

#include <algorithm>
#include <unordered_set>

#include "base/check.h"
#include "base/planted.h"
#include "sync/electorate.h"

namespace polyarch::sync {

namespace {

constexpr int64_t kMs = 1000;
constexpr int64_t kForEver = INT64_MAX;

}  // namespace

std::optional<std::string> Do(const Call& call, std::optional<std::string>& value, bool& changed) {
  const std::optional<std::string> before = value;
  changed = false;
  switch (call.kind) {
    case Call::Kind::kSwap:
      value = call.argument;
      changed = true;
      break;
    case Call::Kind::kSetNx:
      if (!value) {
        value = call.argument;
        changed = true;
      }
      break;
    case Call::Kind::kDelete:
      changed = value.has_value();
      value.reset();
      break;
    case Call::Kind::kRead:
      break;
  }
  return before;
}

std::optional<bool> Linearizability::Check(const std::vector<const Call*>& unsorted) const {
  struct Item {
    const Call* call;
    int64_t begin_us;
    int64_t end_us;
    bool must;
    bool known;
  };
  std::vector<Item> items;
  for (const Call* call : unsorted) {
    if (call->end == Call::End::kOk) {
      items.push_back({call, call->begin_us, call->end_us, true, true});
    } else if (call->kind != Call::Kind::kRead && call->run && call->end != Call::End::kNoQuorum) {
      if (call->outcome == WriteOutcome::kNever) continue;
      const bool applied = call->outcome == WriteOutcome::kApplied;
      items.push_back(
          {call, call->begin_us, applied ? call->outcome_us : kForEver, applied, false});
    }
  }
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    return a.begin_us < b.begin_us;
  });
  const size_t n = items.size();
  size_t musts = 0;
  for (const Item& item : items)
    musts += item.must ? 1 : 0;
  struct State {
    std::vector<bool> done;
    size_t musts_done;
    std::optional<std::string> value;
  };
  std::unordered_set<std::string> seen;
  std::vector<State> stack{{std::vector<bool>(n), 0, std::nullopt}};
  while (!stack.empty()) {
    State state = std::move(stack.back());
    stack.pop_back();
    if (state.musts_done == musts) return true;
    std::string rank((n + 7) / 8, '\0');
    for (size_t i = 0; i < n; ++i) {
      if (state.done[i]) rank[i / 8] = static_cast<char>(rank[i / 8] | (1 << (i % 8)));
    }
    rank += state.value.value_or("\x01nothing");
    if (!seen.insert(std::move(rank)).second) continue;
    if (seen.size() > states_max) return std::nullopt;
    int64_t first_end = kForEver;
    for (size_t i = 0; i < n; ++i) {
      if (!state.done[i] && items[i].must) first_end = std::min(first_end, items[i].end_us);
    }
    for (size_t i = n; i-- > 0;) {
      const Item& item = items[i];
      if (state.done[i] || item.begin_us > first_end) continue;
      State next = state;
      bool changed = false;
      const std::optional<std::string> reply = Do(*item.call, next.value, changed);
      if (item.known && reply != item.call->reply) continue;
      // One that was not told took effect, or is left out.
      if (!item.known && !changed) continue;
      next.done[i] = true;
      next.musts_done += item.must ? 1 : 0;
      stack.push_back(std::move(next));
    }
  }
  return false;
}

// ---- a leader

struct World::Node final : Host {
  struct Disk {
    std::vector<std::string> log;  // the record at position i ends at i + 1
    uint64_t start = 0;            // of the checkpoint
    std::map<std::string, std::string> rows;
    std::string meta;
  };

  World& world;
  const size_t index;
  const std::string name;
  bool up = false;
  uint64_t life = 0;
  std::unique_ptr<Agreement> agreement;
  Disk disk;
  uint64_t durable = 0;
  bool syncing = false;
  std::optional<Disk> kept;  // an old copy
  bool lost_votes = false;
  std::vector<uint64_t> applied;
  struct Decided {
    clock::Ballot version;
    std::optional<std::string> value;
    wire::VoteNumbers votes;
    bool Same(const Decided& other) const {
      return version == other.version && value == other.value;
    }
  };
  std::map<std::string, Decided> shown;
  std::map<OpId, std::map<clock::Ballot, std::optional<std::string>>> replies;

  Node(World& w, size_t i) : world(w), index(i), name("n" + std::to_string(i)) {}

  void Start(bool found = false) {
    up = true;
    ++life;
    Agreement::Options options;
    options.leader = name;
    options.seed = world.random_.Next();
    options.proposer.resend_us_least = 40 * kMs;
    options.proposer.pause_us_max = 60 * kMs;
    options.undecided_us = 200 * kMs;
    options.settle_us = 150 * kMs;
    options.seats_us = 80 * kMs;
    options.decide_us = 200 * kMs;
    options.list_us = 120 * kMs;
    options.again_us = 30 * kMs;
    options.prove_us = 60 * kMs;
    agreement = std::make_unique<Agreement>(options, *this);
    agreement->SetTime(world.now_us_, world.now_us_ / kMs);
    Elector& elector = agreement->elector();
    if (!disk.meta.empty()) CHECK(elector.LoadMeta(disk.meta));
    for (const auto& [key, row] : disk.rows)
      CHECK(elector.LoadRow(key, row));
    for (uint64_t i = disk.start; i < disk.log.size(); ++i)
      CHECK(elector.Replay(disk.log[i]));
    durable = disk.log.size();
    agreement->OnDurable(durable);
    if (lost_votes && !PLANTED(kSyncKeepVotes)) elector.NewSeat();
    lost_votes = false;
    agreement->Start(world.now_us_, world.now_us_ / kMs, found);
    for (const auto& [key, what] : shown)
      agreement->Heard(what.votes);
    Ticks(life);
  }

  void Crash() {
    up = false;
    syncing = false;
    agreement.reset();
    // Any part of what was not synced may have reached the disk.
    disk.log.resize(durable + world.random_.Below(disk.log.size() - durable + 1));
    replies.clear();
  }

  void Ticks(uint64_t of) {
    if (!up || life != of) return;
    agreement->SetTime(world.now_us_, world.now_us_ / kMs);
    agreement->Tick();
    world.At(world.now_us_ + 2 * kMs, [this, of] { Ticks(of); });
  }

  // Rows as of later than the position from which the log is read again.
  void Checkpoint() {
    const uint64_t start = disk.log.size();
    world.At(world.now_us_ + static_cast<int64_t>(world.random_.Below(20)) * kMs,
             [this, start, of = life] {
               if (!up || life != of) return;
               std::vector<std::pair<std::string, std::string>> rows;
               bool gone = false;
               std::string meta;
               Elector::Dirty dirty;
               for (bool more = true; more;) {
                 more = agreement->elector().TakeDirty(1, dirty);
                 if (dirty.all_gone) rows.clear();
                 gone = gone || dirty.all_gone;
                 if (!dirty.meta.empty()) meta = dirty.meta;
                 rows.insert(rows.end(), dirty.rows.begin(), dirty.rows.end());
               }
               const uint64_t position = disk.log.size();
               WhenDurable(position, of, [this, start, rows, gone, meta] {
                 if (gone) disk.rows.clear();
                 for (const auto& [key, row] : rows) {
                   if (row.empty()) {
                     disk.rows.erase(key);
                   } else {
                     disk.rows[key] = row;
                   }
                 }
                 if (!meta.empty()) disk.meta = meta;
                 disk.start = start;
               });
             });
  }

  void WhenDurable(uint64_t position, uint64_t of, std::function<void()> then) {
    if (!up || life != of) return;
    if (durable >= position) return then();
    world.At(world.now_us_ + kMs,
             [this, position, of, then = std::move(then)] { WhenDurable(position, of, then); });
  }

  void Sync() {
    if (syncing) return;
    syncing = true;
    const uint64_t position = disk.log.size();
    world.At(world.now_us_ + 200 + static_cast<int64_t>(world.random_.Below(3000)),
             [this, position, of = life] {
               if (!up || life != of) return;
               syncing = false;
               durable = std::max(durable, position);
               agreement->SetTime(world.now_us_, world.now_us_ / kMs);
               agreement->OnDurable(durable);
               if (disk.log.size() > durable) Sync();
             });
  }

  // ---- Host
  uint64_t Append(std::string_view record) override {
    disk.log.emplace_back(record);
    Sync();
    return disk.log.size();
  }
  void Send(const std::string& leader, std::string message) override {
    world.Transmit(*this, leader, std::move(message));
  }
  bool InReach(const std::string& leader) const override {
    if (!world.reach_known_) return true;
    for (const auto& node : world.nodes_) {
      if (node->name == leader) return node->up && world.Connected(*this, *node);
    }
    return false;
  }
  wire::Dependencies Applied() override {
    wire::Dependencies deps;
    for (size_t i = 0; i < applied.size(); ++i) {
      if (applied[i] > 0) deps.push_back({{"n" + std::to_string(i), 1}, applied[i]});
    }
    return deps;
  }
  bool Covers(const wire::Dependencies& deps) const override {
    return std::all_of(deps.begin(), deps.end(), [this](const wire::Dependency& d) {
      return applied.at(std::stoul(d.origin.leader.substr(1))) >= d.sequence;
    });
  }
  RunResult FirstBase(const wire::SyncKey&) override { return {}; }
  RunResult Run(const wire::SyncKey&,
                std::span<const OpId> ops,
                const wire::Tuple& base,
                int64_t,
                const clock::Ballot& attempt) override {
    if (!Covers(base.deps)) world.Fail("a value was built upon before what it depends on was here");
    std::optional<std::string> value;
    if (!base.absent) value = base.value;
    RunResult result;
    for (OpId op : ops) {
      bool changed = false;
      replies[op][attempt] = Do(*world.by_op_.at(op), value, changed);
      if (!changed) continue;
      result.changed_by.push_back(op);
      world.by_op_.at(op)->run = true;
    }
    result.absent = !value.has_value();
    result.value = value.value_or("");
    result.hlc = clock::Hlc::FromMs(static_cast<uint64_t>(world.now_us_ / kMs));
    return result;
  }
  void Chosen(const wire::SyncKey& key,
              const wire::Tuple& tuple,
              const wire::VoteNumbers& votes) override {
    if (!Covers(tuple.deps)) world.Fail("a value was decided where what it depends on is missing");
    size_t there = 0;
    for (const auto& node : world.nodes_)
      there += node->Covers(tuple.deps) ? 1 : 0;
    if (2 * there <= std::min<size_t>(world.nodes_.size(), agreement->electorate().now.size()))
      world.Fail("a decided value depends on what a majority has not got");
    world.streams_[index].push_back({applied, {{key, tuple}}, votes});
    ++applied[index];
    Show(key, tuple, votes);
  }
  void Show(const wire::SyncKey& key, const wire::Tuple& tuple, const wire::VoteNumbers& votes) {
    if (agreement) agreement->Heard(votes);
    Decided& decided = shown[key.key];
    if (decided.version >= tuple.version) return;
    decided.version = tuple.version;
    decided.value = tuple.absent ? std::nullopt : std::optional(tuple.value);
    decided.votes = votes;
  }
  clock::Ballot Shown(const wire::SyncKey& key) const override {
    auto it = shown.find(key.key);
    return it == shown.end() ? clock::Ballot{} : it->second.version;
  }
  void Done(OpId op, const Result& result) override {
    Call& call = *world.by_op_.at(op);
    if (call.end != Call::End::kOpen) return;
    call.end_us = world.now_us_;
    switch (result.verdict) {
      case Verdict::kDone:
      case Verdict::kOutcome:
        call.end = Call::End::kOk;
        if (call.kind == Call::Kind::kRead) {
          if (result.tuple != nullptr && !result.tuple->absent) call.reply = result.tuple->value;
          if (result.tuple != nullptr && !Covers(result.tuple->deps))
            world.Fail("a value was read where what it depends on is missing");
        } else {
          auto kept_replies = replies.find(op);
          auto reply = kept_replies->second.find(result.attempt);
          if (reply == kept_replies->second.end()) {
            world.Fail("no replies of the try that counts");
          } else {
            call.reply = reply->second;
          }
        }
        break;
      case Verdict::kNoQuorum:
        call.end = Call::End::kNoQuorum;
        break;
      case Verdict::kInDoubt:
        call.end = Call::End::kInDoubt;
        call.name = result.name;
        break;
    }
    replies.erase(op);
    world.Ended(call);
  }
  void ElectorateKnown(const wire::Electorate&) override {}
};

// ---- the world

World::World(uint64_t seed) : random_(seed) {
  static constexpr unsigned kLoss[] = {0, 2, 10};
  const size_t n = 3 + random_.Below(3);
  loss_ = kLoss[random_.Below(3)];
  doubled_ = random_.Percent(50) ? 5 : 0;
  reach_known_ = random_.Percent(30);
  streams_.resize(n);
  for (size_t i = 0; i < n; ++i) {
    nodes_.push_back(std::make_unique<Node>(*this, i));
    nodes_.back()->applied.resize(n);
  }
  const size_t electors = n < 5 || random_.Percent(50) ? 3 : 5;
  for (auto& node : nodes_)
    node->Start();
  wire::Electorate first;
  first.epoch = 1;
  for (size_t i = 0; i < electors; ++i) {
    nodes_[i]->agreement->elector().TakeSeat();
    first.now.push_back({nodes_[i]->name, nodes_[i]->agreement->elector().seat()});
  }
  for (auto& node : nodes_)
    node->agreement->Learn(first);
}

World::~World() = default;

void World::At(int64_t time_us, std::function<void()> what) {
  events_.push({time_us, ++sequence_, std::move(what)});
}

void World::Drain(int64_t until_us) {
  while (!events_.empty() && events_.top().time_us <= until_us && failure_.empty()) {
    std::function<void()> what = events_.top().what;
    now_us_ = events_.top().time_us;
    events_.pop();
    what();
  }
  now_us_ = until_us;
}

void World::Fail(const std::string& what) {
  if (failure_.empty()) failure_ = what + " at " + std::to_string(now_us_ / kMs) + " ms";
}

int64_t World::Delay() {
  if (faults_ && random_.Percent(3)) return static_cast<int64_t>(30 + random_.Below(370)) * kMs;
  int64_t ms = 1;
  while (ms < 60 && random_.Percent(85))
    ++ms;
  return ms * kMs - static_cast<int64_t>(random_.Below(900));
}

bool World::Connected(const Node& a, const Node& b) const {
  return cut_.count({a.index, b.index}) == 0;
}

void World::Transmit(Node& from, const std::string& to, std::string message) {
  Node* target = nullptr;
  for (auto& node : nodes_) {
    if (node->name == to) target = node.get();
  }
  CHECK(target != nullptr);
  const int copies = faults_ && random_.Percent(doubled_) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    if (faults_ && random_.Percent(loss_)) continue;
    At(now_us_ + Delay(), [this, &from, target, message] {
      if (!target->up || !Connected(from, *target)) return;
      target->agreement->SetTime(now_us_, now_us_ / kMs);
      target->agreement->OnMessage(message);
    });
  }
}

// The causal streams: from whoever has more.
void World::Gossip() {
  for (auto& a : nodes_) {
    for (auto& b : nodes_) {
      if (a == b || !a->up || !b->up || !Connected(*a, *b) || !random_.Percent(40)) continue;
      bool more = true;
      while (more) {
        more = false;
        for (size_t o = 0; o < streams_.size(); ++o) {
          if (a->applied[o] <= b->applied[o]) continue;
          const Entry& entry = streams_[o][b->applied[o]];
          bool covered = true;
          for (size_t i = 0; i < entry.deps.size(); ++i)
            covered = covered && b->applied[i] >= entry.deps[i];
          if (!covered) continue;
          ++b->applied[o];
          more = true;
          if (!entry.decided) continue;
          b->Show(entry.decided->first, entry.decided->second, entry.votes);
          b->agreement->SetTime(now_us_, now_us_ / kMs);
          b->agreement->OnDecided(entry.decided->first, entry.decided->second.version);
        }
      }
    }
  }
  for (auto& node : nodes_) {
    if (node->up && random_.Percent(20)) {  // an ordinary write
      streams_[node->index].push_back({node->applied, std::nullopt, {}});
      ++node->applied[node->index];
    }
    if (node->up && random_.Percent(3)) node->Checkpoint();
  }
  At(now_us_ + 8 * kMs, [this] { Gossip(); });
}

// ---- clients

void World::Issue(Node& node, Call::Kind kind, const std::string& key, int64_t deadline_us) {
  auto call = std::make_unique<Call>();
  call->id = ++next_id_;
  call->key = key;
  call->kind = kind;
  call->argument = std::to_string(call->id);
  call->begin_us = now_us_;
  by_op_[call->id] = call.get();
  Op op{.id = call->id,
        .kind = kind == Call::Kind::kRead ? OpKind::kRead : OpKind::kWrite,
        .deadline_us = deadline_us};
  calls_.push_back(std::move(call));
  node.agreement->SetTime(now_us_, now_us_ / kMs);
  node.agreement->Submit({0, key}, std::move(op));
}

void World::Client(Node& node) {
  if (now_us_ > end_us_) return;
  if (node.up) {
    static constexpr Call::Kind kKinds[] = {Call::Kind::kSwap,
                                            Call::Kind::kSwap,
                                            Call::Kind::kSetNx,
                                            Call::Kind::kSetNx,
                                            Call::Kind::kDelete,
                                            Call::Kind::kRead};
    Issue(node, kKinds[random_.Below(6)], random_.Percent(50) ? "k0" : "k1", now_us_ + 150 * kMs);
  }
  At(now_us_ + static_cast<int64_t>(20 + random_.Below(160)) * kMs,
     [this, &node] { Client(node); });
}

void World::Ended(Call& call) {
  Count(call.end == Call::End::kOk         ? "ok"
        : call.end == Call::End::kInDoubt  ? "in doubt"
        : call.end == Call::End::kNoQuorum ? "no quorum"
                                           : "crashed");
  if (call.end != Call::End::kInDoubt) return;
  At(now_us_ + static_cast<int64_t>(random_.Below(60)) * kMs, [this, &call] { AskOutcome(call); });
}

void World::AskOutcome(Call& call) {
  Node& node = *nodes_[random_.Below(nodes_.size())];
  if (!node.up) return;
  Op op{.id = ++next_id_,
        .kind = OpKind::kOutcome,
        .deadline_us = now_us_ + 150 * kMs,
        .name = call.name};
  op.done = [this, &call](const Result& result) {
    if (result.verdict != Verdict::kOutcome) return;
    call.outcome = result.outcome;
    call.outcome_us = now_us_;
    Count(result.outcome == WriteOutcome::kApplied ? "applied"
          : result.outcome == WriteOutcome::kNever ? "never"
                                                   : "too old");
  };
  node.agreement->SetTime(now_us_, now_us_ / kMs);
  node.agreement->Submit({0, call.key}, std::move(op));
}

// ---- faults

// Fewer than a majority may lose their votes before the lost seats have been replaced.
bool World::MayLose(const Node& node) const {
  wire::Electorate newest;
  for (const auto& n : nodes_) {
    if (!n->agreement) continue;
    if (n->agreement->electorate().epoch > newest.epoch) newest = n->agreement->electorate();
  }
  auto fine = [&](const std::vector<wire::Seat>& seats) {
    size_t kept = 0;
    for (const wire::Seat& seat : seats) {
      for (const auto& n : nodes_) {
        if (n->name == seat.leader && n.get() != &node && n->agreement &&
            n->agreement->elector().seat() == seat.id)
          ++kept;
      }
    }
    return 2 * kept > seats.size();
  };
  return newest.epoch != 0 && fine(newest.now) && (newest.next.empty() || fine(newest.next));
}

void World::Change(Node& node) {
  std::vector<std::string> want;
  for (const wire::Seat& seat : node.agreement->electorate().now)
    want.push_back(seat.leader);
  if (random_.Percent(60)) {
    std::vector<std::string> out;
    for (const auto& n : nodes_) {
      if (std::find(want.begin(), want.end(), n->name) == want.end()) out.push_back(n->name);
    }
    if (!out.empty() && random_.Percent(50)) {
      want.push_back(out[random_.Below(out.size())]);
    } else if (want.size() > 2) {
      want.erase(want.begin() + static_cast<long>(random_.Below(want.size())));
    }
  }
  node.agreement->SetTime(now_us_, now_us_ / kMs);
  node.agreement->ChangeElectors(want);
  Count("change");
}

// A disk that is an earlier one, and nobody says so: only the numbers of its votes can tell. What
// is promised for that holds if those who have been told of them can be asked; so nothing else
// fails meanwhile, and what is on its way has arrived.
bool World::RollBack(Node& node) {
  if (!node.up || !node.kept || !MayLose(node) || now_us_ - last_loss_us_ < 500 * kMs) return false;
  for (const auto& n : nodes_) {
    if (!n->up || !n->agreement->elector().proven()) return false;
  }
  const uint64_t votes = node.agreement->elector().votes();
  cut_.clear();
  node.Crash();
  node.disk = *node.kept;
  node.kept.reset();
  rolled_back_ = &node;
  Count("rollback");
  At(now_us_ + 500 * kMs, [this, &node, votes] {
    node.Start();
    if (node.agreement->elector().votes() < votes) Count("votes rolled back");
  });
  return true;
}

void World::Nemesis() {
  if (now_us_ > end_us_) return;
  Node& node = *nodes_[random_.Below(nodes_.size())];
  if (rolled_back_ != nullptr) {
    const Elector* elector = rolled_back_->up ? &rolled_back_->agreement->elector() : nullptr;
    if (elector != nullptr &&
        (elector->proven() || PLANTED(kSyncVotesUnchecked) ||
         !HasSeat(elector->electorate(), {rolled_back_->name, elector->seat()})))
      rolled_back_ = nullptr;
    At(now_us_ + 20 * kMs, [this] { Nemesis(); });
    return;
  }
  const uint64_t draw = random_.Below(100);
  if (draw >= 95 && RollBack(node)) {
    At(now_us_ + 20 * kMs, [this] { Nemesis(); });
    return;
  }
  if (draw < 25 && node.up) {
    last_loss_us_ = now_us_;
    const bool lose = random_.Percent(30) && node.kept && MayLose(node);
    node.Crash();
    Count("crash");
    for (auto& call : calls_) {
      // Whoever waited at it gets no answer.
      if (call->end == Call::End::kOpen && call->argument.empty()) continue;
    }
    if (lose) {
      node.disk = *node.kept;
      node.kept.reset();
      node.lost_votes = true;
      Count("restore");
    }
    const int64_t down = random_.Percent(50) ? 2 : static_cast<int64_t>(5 + random_.Below(195));
    At(now_us_ + down * kMs, [&node] {
      if (!node.up) node.Start();
    });
  } else if (draw < 40) {
    Node::Disk copy = node.disk;
    copy.log.resize(node.up ? node.durable : copy.log.size());
    if (copy.start <= copy.log.size()) node.kept = std::move(copy);
  } else if (draw < 60) {
    cut_.clear();
    std::set<size_t> side;
    for (const auto& n : nodes_) {
      if (random_.Percent(50)) side.insert(n->index);
    }
    const bool partial = random_.Percent(20);
    for (const auto& a : nodes_) {
      for (const auto& b : nodes_) {
        if ((side.count(a->index) != 0) == (side.count(b->index) != 0)) continue;
        if (!partial || random_.Percent(50)) cut_.emplace(a->index, b->index);
      }
    }
  } else if (draw < 70) {
    cut_.clear();
  } else if (draw < 95) {
    if (node.up) Change(node);
  }
  At(now_us_ + static_cast<int64_t>(20 + random_.Below(130)) * kMs, [this] { Nemesis(); });
}

// Rows of absent values go.
void World::Collector() {
  if (now_us_ > end_us_) return;
  Node& node = *nodes_[random_.Below(nodes_.size())];
  if (node.up) {
    Op op{.kind = OpKind::kCollect, .deadline_us = now_us_ + 150 * kMs};
    if (!node.agreement->electorate().next.empty()) op.kind = OpKind::kSettle;
    op.done = [this](const Result& result) {
      if (result.verdict == Verdict::kDone && result.tuple->absent) Count("collected");
    };
    node.agreement->SetTime(now_us_, now_us_ / kMs);
    node.agreement->Submit({0, random_.Percent(50) ? "k0" : "k1"}, std::move(op));
  }
  At(now_us_ + static_cast<int64_t>(20 + random_.Below(120)) * kMs, [this] { Collector(); });
}

// ---- a run

std::string World::Run(int64_t span_us) {
  end_us_ = span_us;
  for (auto& node : nodes_) {
    for (int i = 0; i < 2; ++i)
      At(static_cast<int64_t>(random_.Below(50)) * kMs, [this, &node] { Client(*node); });
  }
  At(100 * kMs, [this] { Nemesis(); });
  At(120 * kMs, [this] { Collector(); });
  At(5 * kMs, [this] { Gossip(); });
  Drain(span_us + 700 * kMs);
  faults_ = false;
  cut_.clear();
  for (auto& node : nodes_) {
    if (!node->up) node->Start();
  }
  // Finish a change, replace lost seats.
  for (int i = 0; i < 8; ++i) {
    std::vector<std::string> want;
    for (const wire::Seat& seat : nodes_[0]->agreement->electorate().now)
      want.push_back(seat.leader);
    nodes_[0]->agreement->ChangeElectors(want);
    Drain(now_us_ + 900 * kMs);
  }
  std::vector<Call*> last;
  for (const char* key : {"k0", "k1"}) {
    for (auto& node : nodes_) {
      Issue(*node, Call::Kind::kSwap, key, now_us_ + 600 * kMs);
      last.push_back(calls_.back().get());
      Drain(now_us_ + 700 * kMs);
    }
  }
  if (!failure_.empty()) return failure_;
  stats_.live = std::all_of(
      last.begin(), last.end(), [](const Call* call) { return call->end == Call::End::kOk; });
  for (const auto& node : nodes_) {
    const Proposer::Counters& c = node->agreement->counters();
    stats_.counts["rounds"] += c.rounds;
    stats_.counts["fast"] += c.fast;
    stats_.counts["refused"] += c.refused;
    stats_.counts["quick reads"] += c.quick_reads;
    if (node->agreement->malformed() != 0) return "malformed messages";
  }
  return CheckHistories();
}

std::string World::CheckHistories() {
  for (const char* key : {"k0", "k1"}) {
    std::vector<const Call*> calls;
    for (const auto& call : calls_) {
      if (call->key == key) calls.push_back(call.get());
    }
    const std::optional<bool> fine = Linearizability{}.Check(calls);
    if (!fine) {
      Count("gave up");
    } else if (!*fine) {
      return std::string("not linearizable: ") + key;
    }
    if (!stats_.live) continue;
    for (const auto& node : nodes_) {
      if (!node->shown[key].Same(nodes_[0]->shown[key]))
        return std::string("leaders show different values of ") + key;
    }
  }
  return "";
}

}  // namespace polyarch::sync
