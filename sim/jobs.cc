#include "sim/jobs.h"

#include <optional>

#include "keyspace/stream.h"
#include "sim/marks.h"
#include "sim/node.h"
#include "sim/world.h"

namespace polyarch::sim {

namespace {

std::string QueueName(uint64_t n) {
  return "job:" + std::to_string(n);
}
// Jobs lie in a stream, too, for its group "g".
constexpr const char* kStreamName = "job:stream";

}  // namespace

void JobHistory::Ask(Node& node, Call call, std::vector<std::vector<std::string>> commands) {
  world_.Log([&] {
    std::string text = "job call " + std::to_string(calls_.size()) + " at " + node.name() + ":";
    for (const auto& command : commands) {
      for (const std::string& word : command) text += " " + word;
    }
    return text;
  });
  calls_.push_back(std::move(call));
  ++open_;
  node.AskJob(calls_.size() - 1, std::move(commands));
}

// Does everybody know of the policy, and so that a power cut would not take it away again?
bool JobHistory::Known() {
  for (auto& node : world_.nodes()) {
    if (node->up() && !node->engine().policies().IsPopOwner(QueueName(0))) known_since_us_ = -1;
    if (!node->up() && known_since_us_ < 0) return false;
  }
  if (known_since_us_ < 0) known_since_us_ = world_.now_us();
  return world_.now_us() - known_since_us_ >= 1500 * kMs;
}

void JobHistory::AskPop(Node& node, const std::string& queue) {
  Draw& draw = world_.draw();
  const std::string timeout = std::to_string(draw.Between(1, 30) * 0.1);
  const bool front = draw.Percent(50);
  const std::string side = front ? "LEFT" : "RIGHT";
  const std::string two = QueueName(draw.Below(kQueues));
  Call call{.most = 1};
  if (draw.Percent(30)) return AskRead(node, static_cast<uint64_t>(draw.Between(1, 4)));
  switch (draw.Below(10)) {
    case 0:
    case 1: return Ask(node, call, {{front ? "BLPOP" : "BRPOP", queue, two, timeout}});
    case 2: return Ask(node, call, {{front ? "LPOP" : "RPOP", queue}});
    case 3: return Ask(node, {.most = 3}, {{front ? "LPOP" : "RPOP", queue, "3"}});
    case 4: return Ask(node, {.most = 2}, {{"BLMPOP", timeout, "2", queue, two, side, "COUNT", "2"}});
    case 5: return Ask(node, {.most = 2}, {{"LMPOP", "2", queue, two, side, "COUNT", "2"}});
    case 6: return Ask(node, call, {{"BLMOVE", queue, "done", side, "RIGHT", timeout}});
    case 7: return Ask(node, call, {{"EVAL", "return redis.call('lpop', KEYS[1])", "1", queue}});
    case 8: return Ask(node, call, {{"MULTI"}, {front ? "LPOP" : "RPOP", queue}, {"EXEC"}});
    default: return Ask(node, call, {{front ? "BLPOP" : "BRPOP", queue, timeout}});
  }
}

// By a group's consumer, which acknowledges nothing: what is pending is nobody else's.
void JobHistory::AskRead(Node& node, uint64_t count) {
  Draw& draw = world_.draw();
  std::vector<std::string> read = {"XREADGROUP", "GROUP", "g", node.name(), "COUNT", std::to_string(count)};
  if (draw.Percent(60)) read.insert(read.end(), {"BLOCK", std::to_string(draw.Between(100, 3000))});
  if (draw.Percent(50)) read.emplace_back("NOACK");
  read.insert(read.end(), {"STREAMS", kStreamName, ">"});
  if (draw.Percent(15)) return Ask(node, {.most = count}, {{"MULTI"}, std::move(read), {"EXEC"}});
  Ask(node, {.most = count}, {std::move(read)});
}

void JobHistory::Step() {
  Draw& draw = world_.draw();
  if (policy_ && !Known()) return;
  std::vector<Node*> writers = world_.Writers();
  std::erase_if(writers, [](Node* node) { return !node->may_write(); });
  if (writers.empty() || open_ >= kOpenMax || calls_.size() >= kCallsMax) return;
  Node& node = *draw.Pick(writers);
  if (!policy_) {
    return Ask(node,
               {.kind = Kind::kPolicy},
               {{"XGROUP", "CREATE", kStreamName, "g", "0", "MKSTREAM"},
                {"POLICY", "SET", std::string(kJobsPattern), "pop-owner"}});
  }
  if (draw.Percent(40)) return;
  const std::string queue = QueueName(draw.Below(kQueues));
  // Queues grow, and are worked off.
  if (draw.Percent(calls_.size() / 60 % 2 == 0 ? 65 : 25)) {
    Call call{.kind = Kind::kPush};
    if (draw.Percent(30)) {
      const std::string job = "j" + std::to_string(jobs_.size());
      jobs_[job] = {};
      call.jobs.push_back(job);
      return Ask(node, std::move(call), {{"XADD", kStreamName, "*", "job", job}});
    }
    std::vector<std::string> command = {draw.Percent(50) ? "RPUSH" : "LPUSH", queue};
    for (int64_t n = draw.Percent(20) ? draw.Between(2, 12) : 1; n > 0; --n) {
      const std::string job = "j" + std::to_string(jobs_.size());
      jobs_[job] = {};
      call.jobs.push_back(job);
      command.push_back(job);
    }
    return Ask(node, std::move(call), {std::move(command)});
  }
  AskPop(node, queue);
}

void JobHistory::Take(const resp::Value& reply) {
  for (const resp::Value& item : reply.items) Take(item);
  const auto job = jobs_.find(reply.text);
  if (reply.is_error() || job == jobs_.end()) return;
  ++handed_;
  ++job->second.times;
  SOMETIMES(kJobHanded);
  if (job->second.times < 2) return;
  if (once_) throw Violation(reply.text + " is handed to two clients");
  SOMETIMES(kJobTwice);
}

void JobHistory::Answered(uint64_t id, const std::vector<resp::Value>& replies) {
  Call& call = calls_.at(id);
  call.open = false;
  --open_;
  const resp::Value& reply = replies.back();
  world_.Log([&] { return "job call " + std::to_string(id) + ": " + reply.ToString(); });
  if (reply.is_error()) {
    for (std::string_view known : {"TRYAGAIN ", "HISTORY ", "RETIRED ", "DISKFULL ", "EXECABORT ", "NOGROUP "}) {
      if (reply.text.starts_with(known)) return;
    }
    throw Violation("a command on a queue is answered " + reply.ToString());
  }
  switch (call.kind) {
    case Kind::kPolicy: policy_ = true; break;
    case Kind::kPush:
      for (const std::string& job : call.jobs) jobs_.at(job).pushed = true;
      break;
    case Kind::kPop: Take(reply); break;
  }
}

void JobHistory::Lost(uint64_t id) {
  Call& call = calls_.at(id);
  if (!call.open) return;
  call.open = false;
  --open_;
  if (call.kind == Kind::kPop) maybe_taken_ += call.most;
}

void JobHistory::Drain() {
  if (!policy_) return;
  Draw& draw = world_.draw();
  std::vector<Node*> writers;
  for (auto& node : world_.nodes()) {
    if (node->up() && node->may_write()) writers.push_back(node.get());
  }
  if (writers.empty()) return;
  Node& node = *draw.Pick(writers);
  world_.Log([&] { return node.name() + " drains the queues"; });
  // Whatever was asked before comes first.
  const bool answered = world_.RunUntil(15 * kSecond, 50 * kMs, [&] { return open_ == 0; });
  if (!answered) throw Violation("a command on a queue is not answered in a settled cluster");
  auto left = [&] {
    size_t sum = 0;
    keyspace::Keyspace& keys = node.engine().keys();
    for (size_t i = 0; i < kQueues; ++i) {
      const std::string queue = QueueName(i);
      sum += keys.Open(keys.Ref(kJobsDb, queue), crdt::Type::kList).size();
    }
    const keyspace::Stream stream(keys.Open(keys.Ref(kJobsDb, kStreamName), crdt::Type::kStream));
    const auto group = stream.exists() ? stream.FindGroup("g") : std::nullopt;
    if (group) sum += stream.CountUndelivered("g", *group);
    return sum;
  };
  const bool drained = world_.RunUntil(kDrainUs, 20 * kMs, [&] {
    if (!node.up() || left() == 0) return true;
    // One that waits for entries holds up no pop.
    if (open_ == 0) AskRead(node, 20);
    for (size_t i = 0; i < kQueues && open_ <= kQueues; ++i)
      Ask(node, {.most = 20}, {{draw.Percent(50) ? "LPOP" : "RPOP", QueueName(i), "20"}});
    return false;
  });
  if (!drained) throw Violation(std::to_string(left()) + " jobs cannot be popped at " + node.name() + " in a healed cluster");
  if (!world_.RunUntil(15 * kSecond, 50 * kMs, [&] { return open_ == 0; }))
    throw Violation("a command on an empty queue is not answered");
  if (!kept_ || !node.up()) return;
  uint64_t lost = 0;
  std::string which;
  for (const auto& [name, job] : jobs_) {
    if (!job.pushed || job.times > 0) continue;
    ++lost;
    which += " " + name;
  }
  if (lost > maybe_taken_) throw Violation("jobs are lost:" + which);
}

}  // namespace polyarch::sim
