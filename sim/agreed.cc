#include "sim/agreed.h"

#include <algorithm>
#include <set>
#include <utility>

#include "sim/marks.h"
#include "sim/node.h"
#include "sim/world.h"

namespace polyarch::sim {

namespace {

using Kind = AgreedCall::Kind;
using End = AgreedCall::End;

// What the call makes of a value. False: it was told something else than it would have been.
bool Apply(const AgreedCall& call, bool told, std::optional<std::string>& value, bool& changed) {
  const std::optional<std::string> before = value;
  changed = false;
  // SYNC OUTCOME says that it took effect: then it did.
  const bool must_change = !told && call.outcome == 1;
  switch (call.kind) {
    case Kind::kSwap:
      value = call.argument;
      changed = true;
      return !told || call.reply == before;
    case Kind::kTake:
      value.reset();
      changed = before.has_value();
      if (must_change && !changed) return false;
      return !told || call.reply == before;
    case Kind::kRead:
      return !told || call.reply == before;
    case Kind::kSetNx:
      if (told && call.done == before.has_value()) return false;
      changed = !before.has_value();
      if (changed) value = call.argument;
      return !must_change || changed;
    case Kind::kCompareAndSet:
      // By version: of equal values it may be another one.
      if (told && !call.done) return true;
      // Of one that was not answered nobody knows what it expected.
      if (told && before != call.expected) return false;
      changed = true;
      value = call.argument;
      return true;
    case Kind::kOutcome:
    case Kind::kPolicy:
      break;
  }
  return true;
}

std::optional<std::string> TextOf(const resp::Value& value) {
  if (value.is_null()) return std::nullopt;
  return value.text;
}

bool StartsWith(const std::string& text, std::string_view prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

}  // namespace

std::optional<bool> IsLinearizable(const std::vector<const AgreedCall*>& calls, size_t states_max) {
  struct Item {
    const AgreedCall* call;
    int64_t end_us;
    bool must;
    bool told;
  };
  std::vector<Item> items;
  size_t musts = 0;
  for (const AgreedCall* call : calls) {
    if (call->end == End::kTold) {
      items.push_back({call, call->end_us, true, true});
    } else if (call->kind != Kind::kRead && call->end != End::kWithout && call->outcome != 0) {
      const bool applied = call->outcome == 1;
      items.push_back({call, applied ? call->outcome_us : INT64_MAX, applied, false});
    } else {
      continue;
    }
    musts += items.back().must ? 1 : 0;
  }
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    return a.call->begin_us < b.call->begin_us;
  });
  const size_t n = items.size();
  struct State {
    std::vector<bool> done;
    size_t musts;
    std::optional<std::string> value;
  };
  std::set<std::pair<std::vector<bool>, std::optional<std::string>>> seen;
  std::vector<State> stack{{std::vector<bool>(n), 0, std::nullopt}};
  while (!stack.empty()) {
    State state = std::move(stack.back());
    stack.pop_back();
    if (state.musts == musts) return true;
    if (!seen.emplace(state.done, state.value).second) continue;
    if (seen.size() > states_max) return std::nullopt;
    int64_t first_end_us = INT64_MAX;
    for (size_t i = 0; i < n; ++i) {
      if (!state.done[i] && items[i].must) first_end_us = std::min(first_end_us, items[i].end_us);
    }
    for (size_t i = n; i-- > 0;) {
      const Item& item = items[i];
      if (state.done[i] || item.call->begin_us > first_end_us) continue;
      State next = state;
      bool changed = false;
      if (!Apply(*item.call, item.told, next.value, changed)) continue;
      if (!changed && !item.must) continue;
      next.done[i] = true;
      next.musts += item.must ? 1 : 0;
      stack.push_back(std::move(next));
    }
  }
  return false;
}

void AgreedHistory::Ask(Node& node,
                        AgreedCall call,
                        std::vector<std::vector<std::string>> commands) {
  call.begin_us = world_.now_us();
  const std::string key = call.key;
  world_.Log([&] {
    return "agreed " + std::to_string(calls_.size()) + " " + key + " kind " + std::to_string(static_cast<int>(call.kind)) +
           " is asked at " + node.name() + (call.kind == Kind::kOutcome ? " about " + std::to_string(call.asks) : "");
  });
  calls_.push_back(std::move(call));
  ++open_;
  node.AskAgreed(calls_.size() - 1, key, std::move(commands));
}

void AgreedHistory::Step() {
  Draw& draw = world_.draw();
  std::vector<Node*> writers = world_.Writers();
  std::erase_if(writers, [](Node* node) { return !node->may_write(); });
  if (writers.empty() || open_ >= kOpenMax) return;
  Node& node = *draw.Pick(writers);
  if (!policy_) {
    return Ask(
        node, {.kind = Kind::kPolicy}, {{"POLICY", "SET", std::string(kAgreedPattern), "sync"}});
  }
  if (draw.Percent(40)) return;
  if (draw.Percent(25)) {
    // How did one end that is in doubt? At any leader, at any time.
    for (size_t i = 0; i < calls_.size(); ++i) {
      const AgreedCall& call = calls_[i];
      if (call.end != End::kInDoubt || call.outcome || draw.Percent(50)) continue;
      return Ask(node,
                 {.kind = Kind::kOutcome, .key = call.key, .asks = i},
                 {{"SYNC", "OUTCOME", call.key, call.name}});
    }
  }
  const std::string key = "y:" + std::to_string(draw.Below(kKeys));
  if (of_key_[key] >= kCallsMax) return;
  ++of_key_[key];
  const std::string value = "w" + std::to_string(calls_.size());
  AgreedCall call{.key = key, .argument = value};
  const unsigned weights[] = {25, 25, 20, 15, 15};
  call.kind = static_cast<Kind>(draw.Weighted(weights));
  switch (call.kind) {
    case Kind::kSwap:
      if (draw.Percent(30)) {
        return Ask(node,
                   call,
                   {{"EVAL",
                     "local was = redis.call('get', KEYS[1]) redis.call('set', KEYS[1], ARGV[1]) "
                     "return was",
                     "1",
                     key,
                     value}});
      }
      return Ask(node, call, {{"SET", key, value, "GET"}});
    case Kind::kSetNx:
      return Ask(node, call, {{"SET", key, value, "NX"}});
    case Kind::kTake:
      return Ask(node, call, {{"GETDEL", key}});
    case Kind::kRead:
      return Ask(node, call, {{"SYNC", "READ", key}});
    default:
      return Ask(
          node, call, {{"WATCH", key}, {"GET", key}, {"MULTI"}, {"SET", key, value}, {"EXEC"}});
  }
}

void AgreedHistory::Answered(uint64_t id, const std::vector<resp::Value>& replies) {
  AgreedCall& call = calls_.at(id);
  const resp::Value& reply = replies.back();
  --open_;
  call.end_us = world_.now_us();
  world_.Log([&] {
    return "agreed " + std::to_string(id) + " " + call.key + " kind " +
           std::to_string(static_cast<int>(call.kind)) + " " + call.argument + ": " +
           reply.ToString();
  });
  if (reply.is_error()) {
    call.end = End::kWithout;
    if (StartsWith(reply.text, "TIMEOUT in doubt ")) {
      call.name = reply.text.substr(17, reply.text.find(' ', 17) - 17);
      call.end = End::kInDoubt;
      SOMETIMES(kAgreedInDoubt);
      return;
    }
    if (StartsWith(reply.text, "NOQUORUM ")) SOMETIMES(kAgreedNoQuorum);
    for (std::string_view known :
         {"NOQUORUM ", "TRYAGAIN ", "HISTORY ", "RETIRED ", "DISKFULL ", "EXECABORT "}) {
      if (StartsWith(reply.text, known)) return;
    }
    if (call.kind == Kind::kPolicy) return;
    throw Violation("an agreed command is answered " + reply.ToString());
  }
  call.end = End::kTold;
  switch (call.kind) {
    case Kind::kPolicy:
      policy_ = true;
      break;
    case Kind::kOutcome: {
      AgreedCall& about = calls_.at(call.asks);
      if (reply.is_null()) break;
      const int outcome = static_cast<int>(reply.integer);
      if (about.outcome && *about.outcome != outcome)
        throw Violation("SYNC OUTCOME says yes and no of " + about.name);
      if (!about.outcome) {
        about.outcome = outcome;
        about.outcome_us = world_.now_us();
      }
      SOMETIMES(kAgreedSettled);
      break;
    }
    case Kind::kSwap:
    case Kind::kTake:
      call.reply = TextOf(reply);
      break;
    case Kind::kRead:
      call.reply = TextOf(reply.items.at(0));
      break;
    case Kind::kSetNx:
      call.done = !reply.is_null();
      break;
    case Kind::kCompareAndSet:
      call.expected = TextOf(replies.at(1));
      call.done = !reply.is_null();
      if (!call.done) SOMETIMES(kAgreedComparedInVain);
      break;
  }
  if (call.kind != Kind::kPolicy) SOMETIMES(kAgreed);
}

void AgreedHistory::Lost(uint64_t id) {
  AgreedCall& call = calls_.at(id);
  if (call.end != End::kOpen) return;
  --open_;
  call.end = End::kUnknown;
}

AgreedHistory::Totals AgreedHistory::totals() const {
  Totals totals;
  for (const AgreedCall& call : calls_) {
    totals.told += call.end == End::kTold;
    totals.without += call.end == End::kWithout;
    totals.in_doubt += call.end == End::kInDoubt;
    totals.unknown += call.end == End::kUnknown;
    totals.settled += call.outcome.has_value();
  }
  return totals;
}

void AgreedHistory::Check() {
  std::map<std::string, std::vector<const AgreedCall*>> by_key;
  for (const AgreedCall& call : calls_) {
    if (call.kind != Kind::kPolicy && call.kind != Kind::kOutcome)
      by_key[call.key].push_back(&call);
  }
  for (const auto& [key, calls] : by_key) {
    const std::optional<bool> fine = IsLinearizable(calls);
    ++checked_;
    undecided_ += !fine;
    if (fine && !*fine) throw Violation("the history of " + key + " is not linearizable");
  }
}

}  // namespace polyarch::sim
