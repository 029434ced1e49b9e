#include "history/linearizable.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/number.h"
#include "base/random.h"

namespace polyarch::history {
namespace {

constexpr uint32_t kNone = UINT32_MAX;
constexpr int64_t kAbsent = INT64_MIN;  // the state of a key that is not there; so no number is this one

struct Digest {
  uint64_t low = 0;
  uint64_t high = 0;
  friend bool operator==(const Digest&, const Digest&) = default;
};

// A set of digests that only grows: open addressing, and no digest is 0 (that one would be a free place).
class Seen {
 public:
  bool Insert(Digest digest) {
    if ((count_ + 1) * 10 > places_.size() * 7) Grow();
    return Put(digest);
  }
  size_t count() const { return count_; }

 private:
  bool Put(Digest digest) {
    if (digest == Digest()) digest.low = 1;
    for (size_t i = digest.low & (places_.size() - 1);; i = (i + 1) & (places_.size() - 1)) {
      if (places_[i] == digest) return false;
      if (places_[i] != Digest()) continue;
      places_[i] = digest;
      ++count_;
      return true;
    }
  }
  void Grow() {
    std::vector<Digest> old(std::max<size_t>(64, places_.size() * 2));
    old.swap(places_);
    count_ = 0;
    for (const Digest& digest : old) {
      if (digest != Digest()) Put(digest);
    }
  }
  std::vector<Digest> places_;
  size_t count_ = 0;
};

// One key's operations.
class Key {
 public:
  Key(const History& history, std::vector<const Operation*> ops, uint64_t work_max)
      : history_(history), ops_(std::move(ops)), work_max_(work_max) {}

  base::Status Run(Verdict& verdict) {
    if (base::Status status = Prepare(); !status.ok()) return status;
    switch (Search()) {
      case Answer::kYes: break;
      case Answer::kUndecided:
        verdict.undecided.push_back("key " + Name() + ": no answer after " + std::to_string(work_max_) + " sets of its " +
                                    std::to_string(ops_.size()) + " operations (--work)");
        break;
      case Answer::kNo: Report(verdict); break;
    }
    return base::Status::Ok();
  }

 private:
  enum class Answer { kYes, kNo, kUndecided };

  // The calls and returns in the order of time, as a list out of which operations are taken.
  struct Event {
    uint32_t op = 0;
    bool call = false;
    uint32_t previous = 0;
    uint32_t next = 0;
  };

  std::string Name() const { return Word(history_.keys()[ops_[0]->key]); }

  base::Status Prepare() {
    for (const Operation* op : ops_) numbers_ = numbers_ || op->kind == Kind::kIncrement;
    std::vector<uint32_t> looked_at;
    bool refusals = false;
    for (const Operation* op : ops_) {
      if (op->reads() && op->seen_count > 1)
        return base::Invalid("line " + std::to_string(op->line) + ": several values; a linearizable key shows one");
      if (op->reads()) looked_at.push_back(*history_.Seen(*op));
      if (op->kind == Kind::kCompareAndSet) looked_at.push_back(op->expected);
      refusals = refusals || op->outcome == Outcome::kRefused || op->told || op->kind == Kind::kSetIfAbsent;
      for (uint32_t value : {op->value, op->expected, op->reads() ? *history_.Seen(*op) : kNil}) {
        if (numbers_ && value != kNil && base::ParseInt64(history_.values()[value]).value_or(kAbsent) == kAbsent)
          return base::Invalid("line " + std::to_string(op->line) + ": " + history_.Text(*op) + ": key " + Name() +
                               " is incremented, and this is no number");
      }
    }
    std::sort(looked_at.begin(), looked_at.end());
    // A write of unknown outcome whose value nobody looked at explains nothing, and is left out; else each
    // doubles the work. (Where somebody saw only that the key is there, or not what was expected, it may.)
    std::erase_if(ops_, [&](const Operation* op) {
      return op->outcome == Outcome::kUnknown && !numbers_ && !refusals && op->kind != Kind::kDelete &&
             !std::binary_search(looked_at.begin(), looked_at.end(), op->value);
    });
    return base::Status::Ok();
  }

  int64_t State(uint32_t value) const {
    if (value == kNil) return kAbsent;
    return numbers_ ? *base::ParseInt64(history_.values()[value]) : static_cast<int64_t>(value);
  }

  // Can the operation come next? Then what the key holds after it.
  bool Next(const Operation& op, int64_t state, int64_t& after) const {
    const bool unknown = op.outcome == Outcome::kUnknown;
    after = state;
    switch (op.kind) {
      case Kind::kGet:
      case Kind::kFinal: return State(*history_.Seen(op)) == state;
      case Kind::kSet: after = State(op.value); return true;
      case Kind::kDelete: after = kAbsent; return !op.told || op.result == (state == kAbsent ? 0 : 1);
      case Kind::kSetIfAbsent:
      case Kind::kCompareAndSet: {
        const bool met = op.kind == Kind::kSetIfAbsent ? state == kAbsent : state == State(op.expected);
        if (met) after = State(op.value);
        return unknown ? met : met == (op.outcome == Outcome::kOk);
      }
      case Kind::kIncrement: {
        const auto sum = base::CheckedAdd(state == kAbsent ? 0 : state, op.amount);
        if (!sum || *sum == kAbsent) return false;
        after = *sum;
        return !op.told || op.result == after;
      }
    }
    return false;
  }

  void MakeList() {
    struct Moment {
      uint64_t time;
      bool call;
      uint32_t op;
    };
    std::vector<Moment> moments;
    for (uint32_t i = 0; i < ops_.size(); ++i) {
      moments.push_back({ops_[i]->invoked, true, i});
      if (ops_[i]->completed == kNever) continue;
      moments.push_back({ops_[i]->completed, false, i});
      ++to_explain_;
    }
    // Calls first: what is at one moment may have been at once.
    std::stable_sort(moments.begin(), moments.end(),
                     [](const Moment& a, const Moment& b) { return a.time != b.time ? a.time < b.time : a.call > b.call; });
    // Event 0 is the head; the one behind the last is the end.
    events_.assign(1, Event());
    call_of_.assign(ops_.size(), 0);
    return_of_.assign(ops_.size(), kNone);
    for (const Moment& moment : moments) {
      const auto at = static_cast<uint32_t>(events_.size());
      (moment.call ? call_of_ : return_of_)[moment.op] = at;
      events_.push_back({moment.op, moment.call, at - 1, 0});
      events_[at - 1].next = at;
    }
    events_.back().next = kNone;
  }

  void Unlink(uint32_t at) {
    if (at == kNone) return;
    const Event& event = events_[at];
    events_[event.previous].next = event.next;
    if (event.next != kNone) events_[event.next].previous = event.previous;
  }
  void Link(uint32_t at) {
    if (at == kNone) return;
    const Event& event = events_[at];
    events_[event.previous].next = at;
    if (event.next != kNone) events_[event.next].previous = at;
  }

  Answer Search() {
    MakeList();
    base::Random random(0x706f6c79);
    std::vector<Digest> part(ops_.size());
    for (Digest& digest : part) digest = {random.Next(), random.Next()};
    struct Step {
      uint32_t op;
      int64_t state;
    };
    std::vector<Step> steps;
    Seen seen;
    Digest set;
    int64_t state = kAbsent;
    uint32_t at = events_[0].next;
    while (to_explain_ > 0) {
      // Unknown outcomes have no return: while something is to be explained, its return is still ahead.
      const Event& event = events_[at];
      if (event.call) {
        int64_t after = 0;
        if (Next(*ops_[event.op], state, after)) {
          const Digest with{set.low ^ part[event.op].low, set.high ^ part[event.op].high};
          base::Random mix(static_cast<uint64_t>(after));
          if (seen.Insert({with.low ^ mix.Next(), with.high ^ mix.Next()})) {
            if (seen.count() > work_max_) return Answer::kUndecided;
            steps.push_back({event.op, state});
            set = with;
            state = after;
            Unlink(call_of_[event.op]);
            Unlink(return_of_[event.op]);
            if (return_of_[event.op] != kNone) --to_explain_;
            at = events_[0].next;
            continue;
          }
        }
        at = event.next;
        continue;
      }
      // This one was answered, so it must have come by now.
      if (at > stuck_at_) {
        stuck_at_ = at;
        stuck_state_ = state;
      }
      if (steps.empty()) return Answer::kNo;
      const Step step = steps.back();
      steps.pop_back();
      Link(return_of_[step.op]);
      Link(call_of_[step.op]);
      if (return_of_[step.op] != kNone) ++to_explain_;
      set = {set.low ^ part[step.op].low, set.high ^ part[step.op].high};
      state = step.state;
      at = events_[call_of_[step.op]].next;
    }
    return Answer::kYes;
  }

  // Up to the answer that no order got past all is explained; with it, nothing is.
  void Report(Verdict& verdict) const {
    const Operation& op = *ops_[events_[stuck_at_].op];
    Violation violation{"NotLinearizable", {op.line}, ""};
    violation.text = history_.Text(op) + " by " + Word(history_.sessions()[op.session]) + " at " +
                     Word(history_.leaders()[op.leader]) + " (" + std::to_string(op.invoked) + " to " +
                     std::to_string(op.completed) + "): no order explains the answers on this key up to this one; one without it " +
                     "ends with " + StateText(stuck_state_);
    // Who was under way at the same time, or had just been.
    std::string others;
    int shown = 0;
    for (auto it = ops_.rbegin(); it != ops_.rend() && shown < 6; ++it) {
      const Operation& other = **it;
      if (&other == &op || other.invoked > op.completed || (other.completed < op.invoked && shown >= 3)) continue;
      violation.lines.push_back(other.line);
      others += (shown++ > 0 ? ", " : "") + ("line " + std::to_string(other.line)) + " (" + history_.Text(other) + ")";
    }
    if (shown > 0) violation.text += "; beside and before it: " + others;
    verdict.Add(std::move(violation));
  }

  std::string StateText(int64_t state) const {
    if (state == kAbsent) return "nil";
    return numbers_ ? std::to_string(state) : history_.ValueText(static_cast<uint32_t>(state));
  }

  const History& history_;
  std::vector<const Operation*> ops_;  // in the order of invocation
  const uint64_t work_max_;
  bool numbers_ = false;
  std::vector<Event> events_;
  std::vector<uint32_t> call_of_, return_of_;  // by operation: events
  size_t to_explain_ = 0;                      // answered, and not in the order yet
  uint32_t stuck_at_ = 0;                      // the latest return that any order was stopped by
  int64_t stuck_state_ = kAbsent;
};

}  // namespace

base::Result<Verdict> CheckLinearizable(const History& history, const LinearizableOptions& options) {
  std::vector<std::vector<const Operation*>> by_key(history.keys().size());
  for (const Operation& op : history.operations()) {
    if (op.key < options.skip.size() && options.skip[op.key]) continue;
    if (op.outcome == Outcome::kFailed || (op.outcome == Outcome::kUnknown && op.reads())) continue;
    by_key[op.key].push_back(&op);
  }
  Verdict verdict;
  for (auto& ops : by_key) {
    if (ops.empty()) continue;
    std::stable_sort(ops.begin(), ops.end(), [](const Operation* a, const Operation* b) { return a->invoked < b->invoked; });
    if (base::Status status = Key(history, std::move(ops), options.work_max).Run(verdict); !status.ok()) return status;
  }
  return verdict;
}

}  // namespace polyarch::history
