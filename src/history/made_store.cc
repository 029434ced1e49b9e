#include "history/made_store.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "base/random.h"
#include "history/history.h"

namespace polyarch::history {
namespace {

using Vector = std::vector<uint32_t>;  // by leader: how many of its changes

bool Covers(const Vector& a, const Vector& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] < b[i]) return false;
  }
  return true;
}

void Join(Vector& a, const Vector& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] = std::max(a[i], b[i]);
}

struct Change {
  uint32_t key = 0;
  uint32_t leader = 0;
  uint32_t sequence = 0;
  uint64_t stamp = 0;
  Vector seen;
  bool value = true;  // or a delete
  uint64_t number = 0;
  int64_t amount = 0;  // not 0: an increment
};

// Who is asked when: the times of the operations of sessions that overlap.
class Clients {
 public:
  Clients(base::Random& random, uint32_t sessions) : random_(random), free_since_(sessions, 0) {}
  // A session that is free at this moment.
  uint32_t Pick() {
    while (true) {
      now_ += 1 + random_.Below(10);
      const auto session = static_cast<uint32_t>(random_.Below(free_since_.size()));
      if (free_since_[session] <= now_) return session;
    }
  }
  // Appends the line of an operation that took effect now; `unknown`: nobody was told.
  void Tell(std::string& out, uint32_t session, uint32_t leader, const std::string& what, const std::string& result) {
    const uint64_t invoked = std::max(free_since_[session], now_ - std::min<uint64_t>(now_, random_.Below(30)));
    const uint64_t completed = std::max(invoked, now_) + random_.Below(30);
    free_since_[session] = completed;
    out += 's' + std::to_string(session) + " l" + std::to_string(leader) + ' ' + std::to_string(invoked) + ' ' +
           (result == "?" ? "-" : std::to_string(completed)) + ' ' + what + " -> " + result + '\n';
  }

 private:
  base::Random& random_;
  std::vector<uint64_t> free_since_;
  uint64_t now_ = 100;
};

class Store {
 public:
  explicit Store(const MadeOptions& options) : options_(options), random_(options.seed), clients_(random_, options.sessions) {
    leaders_.resize(options.leaders);
    for (Leader& leader : leaders_) {
      leader.applied.assign(options.leaders, 0);
      leader.skew = random_.Below(200);
      leader.versions.resize(options.keys);
      leader.replaced.resize(options.keys);
      leader.totals.assign(options.keys, 0);
    }
    sessions_.resize(options.sessions);
    for (Session& session : sessions_) session = {static_cast<uint32_t>(random_.Below(options.leaders)), Vector(options.leaders, 0)};
    for (uint32_t key = 0; key < options.keys; ++key) siblings_.push_back(random_.Percent(options.siblings_percent));
  }

  std::string Run() {
    out_ = std::string(kHeader) + '\n';
    for (uint64_t i = 0; i < options_.operations; ++i) Step();
    if (options_.final_reads) {
      for (uint32_t leader = 0; leader < leaders_.size(); ++leader) DeliverAll(leader);
      for (uint32_t leader = 0; leader < leaders_.size(); ++leader) {
        const uint32_t session = clients_.Pick();
        for (uint32_t key = 0; key < options_.keys; ++key) {
          clients_.Tell(out_, session, leader, "final r" + std::to_string(key), Shown(leader, key));
          clients_.Pick();
          clients_.Tell(out_, session, leader, "final c" + std::to_string(key), Total(leader, key));
        }
      }
    }
    return std::move(out_);
  }

 private:
  struct Leader {
    Vector applied;
    std::vector<std::vector<const Change*>> versions;  // by key, in the order of arrival
    std::vector<const Change*> replaced;               // by key: some version that is not there any more
    std::vector<int64_t> totals;
    std::vector<Change*> log;                          // its own changes
    uint64_t skew = 0;
    uint64_t stamp = 0;
  };
  struct Session {
    uint32_t leader;
    Vector seen;
  };

  void Apply(uint32_t at, const Change& change) {
    Leader& leader = leaders_[at];
    leader.applied[change.leader] = std::max(leader.applied[change.leader], change.sequence);
    leader.stamp = std::max(leader.stamp, change.stamp);
    if (change.amount != 0) {
      leader.totals[change.key] += change.amount;
      return;
    }
    auto& versions = leader.versions[change.key];
    std::erase_if(versions, [&](const Change* v) {
      if (change.seen[v->leader] < v->sequence) return false;
      leader.replaced[change.key] = v;
      return true;
    });
    if (change.value) versions.push_back(&change);
  }

  // One change from somewhere, if there is one that may come.
  bool Deliver(uint32_t at) {
    Leader& leader = leaders_[at];
    const auto first = static_cast<uint32_t>(random_.Below(leaders_.size()));
    for (uint32_t i = 0; i < leaders_.size(); ++i) {
      const uint32_t from = (first + i) % static_cast<uint32_t>(leaders_.size());
      if (from == at || leader.applied[from] >= leaders_[from].log.size()) continue;
      const Change& change = *leaders_[from].log[leader.applied[from]];
      if (options_.mistake != Mistake::kNoGate) {
        Vector needs = change.seen;
        needs[from] = change.sequence - 1;
        if (!Covers(leader.applied, needs)) continue;
      }
      Apply(at, change);
      return true;
    }
    return false;
  }
  void DeliverAll(uint32_t at) {
    while (Deliver(at)) {
    }
  }

  void Write(uint32_t at, Change change) {
    Leader& leader = leaders_[at];
    change.leader = at;
    change.sequence = static_cast<uint32_t>(leader.log.size()) + 1;
    change.stamp = leader.stamp = std::max(leader.stamp + 1, ++time_ + leader.skew);
    change.seen = leader.applied;
    changes_.push_back(std::make_unique<Change>(std::move(change)));
    leader.log.push_back(changes_.back().get());
    Apply(at, *changes_.back());
  }

  std::string Total(uint32_t at, uint32_t key) const {
    const int64_t total = leaders_[at].totals[key];
    return total == 0 ? "nil" : std::to_string(total);
  }

  std::string Shown(uint32_t at, uint32_t key) {
    const auto& versions = leaders_[at].versions[key];
    if (options_.mistake == Mistake::kResurrect && leaders_[at].replaced[key] != nullptr && random_.Percent(3))
      return "v" + std::to_string(leaders_[at].replaced[key]->number);
    if (versions.empty()) return "nil";
    if (siblings_[key]) {
      std::string all;
      for (const Change* v : versions) all += (all.empty() ? "v" : " v") + std::to_string(v->number);
      return all;
    }
    const Change* shown = versions.back();
    if (options_.mistake != Mistake::kArrivalWins) {
      for (const Change* v : versions) {
        if (std::pair(v->stamp, v->leader) > std::pair(shown->stamp, shown->leader)) shown = v;
      }
    }
    return "v" + std::to_string(shown->number);
  }

  void Step() {
    for (uint64_t n = random_.Below(3); n > 0; --n) Deliver(static_cast<uint32_t>(random_.Below(leaders_.size())));
    const uint32_t number = clients_.Pick();
    Session& session = sessions_[number];
    if (random_.Percent(options_.hop_percent)) {
      const auto to = static_cast<uint32_t>(random_.Below(leaders_.size()));
      if (options_.mistake != Mistake::kForgetToken && !Covers(leaders_[to].applied, session.seen)) DeliverAll(to);
      if (options_.mistake == Mistake::kForgetToken || Covers(leaders_[to].applied, session.seen)) session.leader = to;
    }
    const uint32_t at = session.leader;
    Leader& leader = leaders_[at];
    const auto key = static_cast<uint32_t>(random_.Below(options_.keys));
    const bool unknown = random_.Percent(options_.unknown_percent);
    const bool happens = !unknown || random_.Percent(50);
    std::string what, result = "ok";
    if (random_.Percent(options_.increment_percent)) {
      what = "c" + std::to_string(key);
      if (random_.Percent(50)) {
        what = "get " + what;
        result = Total(at, key);
      } else {
        const int64_t amount = 1 + static_cast<int64_t>(random_.Below(5));
        const bool lost = options_.mistake == Mistake::kLoseIncrement && random_.Percent(10);
        if (happens && !lost) Write(at, {.key = key, .amount = amount});
        what = "incr " + what + ' ' + std::to_string(amount);
        if (random_.Percent(50) && !lost) result = std::to_string(leader.totals[key]);
      }
    } else if (random_.Percent(options_.read_percent)) {
      what = "get r" + std::to_string(key);
      result = Shown(at, key);
    } else if (random_.Percent(options_.delete_percent)) {
      if (happens) Write(at, {.key = key, .value = false});
      what = "del r" + std::to_string(key);
    } else {
      const uint64_t value = ++values_;
      const bool failed = random_.Percent(1);
      if (happens && !failed) Write(at, {.key = key, .number = value});
      what = "set r" + std::to_string(key) + " v" + std::to_string(value);
      if (failed) result = "failed";
    }
    // What a client was not told of, it has not seen.
    if (!unknown) Join(session.seen, leader.applied);
    clients_.Tell(out_, number, at, what, unknown ? "?" : result);
  }

  const MadeOptions& options_;
  base::Random random_;
  Clients clients_;
  std::vector<Leader> leaders_;
  std::vector<Session> sessions_;
  std::vector<bool> siblings_;
  std::vector<std::unique_ptr<Change>> changes_;
  uint64_t values_ = 0;
  uint64_t time_ = 0;
  std::string out_;
};

}  // namespace

std::string MakeCausalHistory(const MadeOptions& options) { return Store(options).Run(); }

std::string MakeLinearizableHistory(const MadeOptions& options) {
  base::Random random(options.seed);
  Clients clients(random, options.sessions);
  std::string out = std::string(kHeader) + '\n';
  std::vector<std::string> values(options.keys, "nil");
  std::vector<int64_t> counters(options.keys, 0);
  uint64_t written = 0;
  for (uint64_t i = 0; i < options.operations; ++i) {
    const uint32_t session = clients.Pick();
    const auto key = static_cast<uint32_t>(random.Below(options.keys));
    const bool unknown = random.Percent(options.unknown_percent);
    const bool happens = !unknown || random.Percent(50);
    std::string& value = values[key];
    const std::string name = "r" + std::to_string(key);
    std::string what, result = "ok";
    const uint64_t kind = random.Below(100);
    if (kind < options.increment_percent) {
      if (random.Percent(30)) {
        what = "get c" + std::to_string(key);
        result = counters[key] == 0 ? "nil" : std::to_string(counters[key]);
      } else {
        if (happens) ++counters[key];
        what = "incr c" + std::to_string(key) + " 1";
        if (random.Percent(70)) result = std::to_string(counters[key]);
      }
    } else if (random.Percent(options.read_percent)) {
      what = "get " + name;
      result = value;
    } else if (random.Percent(options.delete_percent)) {
      what = "del " + name;
      result = value == "nil" ? "0" : "1";
      if (happens) value = "nil";
    } else {
      const std::string next = "v" + std::to_string(++written);
      if (random.Percent(30)) {
        const std::string expected = random.Percent(60) ? value : "v" + std::to_string(1 + random.Below(written));
        what = "cas " + name + ' ' + expected + ' ' + next;
        result = value == expected ? "ok" : "no";
        if (happens && value == expected) value = next;
      } else if (random.Percent(30)) {
        what = "setnx " + name + ' ' + next;
        result = value == "nil" ? "ok" : "no";
        if (happens && value == "nil") value = next;
      } else {
        what = "set " + name + ' ' + next;
        if (happens) value = next;
      }
    }
    clients.Tell(out, session, static_cast<uint32_t>(random.Below(options.leaders)), what, unknown ? "?" : result);
  }
  return out;
}

}  // namespace polyarch::history
