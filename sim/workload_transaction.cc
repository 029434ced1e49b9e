// Transactions of the workload: what they leave is told by sim/transactions.h.
#include "sim/transactions.h"
#include "sim/workload.h"
#include "sim/world.h"

namespace polyarch::sim {

namespace {

// A transfer that returns the sum of both counters; the same that a limit ends behind its first write; a
// string and a field that are set alike.
constexpr std::string_view kTransfer =
    "redis.call('INCRBY', KEYS[1], -ARGV[1]) redis.call('INCRBY', KEYS[2], ARGV[1]) "
    "return redis.call('GET', KEYS[1]) + redis.call('GET', KEYS[2])";
constexpr std::string_view kEndedTransfer =
    "redis.call('INCRBY', KEYS[1], -ARGV[1]) pcall(string.rep, 'x', 1e12) redis.call('INCRBY', KEYS[2], ARGV[1])";
constexpr std::string_view kPair =
    "redis.call('SET', KEYS[1], ARGV[1]) redis.call('HSET', KEYS[2], 'field', ARGV[1]) return 0";

}  // namespace

void Workload::GiveScript(Node& node, int client) {
  Draw& draw = world_.draw();
  auto run = [&](std::string_view script, std::string_view first, std::string_view second, std::string argument) {
    return std::vector<std::string>{"EVAL",           std::string(script), "2", std::string(first),
                                    std::string(second), std::move(argument)};
  };
  std::vector<std::string> args;
  if (draw.Percent(40)) {
    args = run(kPair, kPairString, kPairHash, "t" + std::to_string(next_value_++));
  } else {
    args = run(draw.Percent(20) ? kEndedTransfer : kTransfer, kFromCounter, kToCounter,
               std::to_string(draw.Between(1, 1000)));
  }
  if (draw.Percent(80)) return Give(node, client, std::move(args));
  GiveTransaction(node, client, {args});
}

void Workload::GiveTransaction(Node& node,
                               int client,
                               const std::vector<std::vector<std::string>>& commands) {
  const uint8_t db = client == kOtherDbClient ? 1 : 0;
  std::vector<Key> all;
  bool whole = false;
  auto give = [&](std::vector<std::string> args) {
    Op op;
    op.id = world_.NextOp();
    op.client = client;
    if (args[0] == "EXEC") {
      op.keys = all;
      op.whole = whole;
    }
    op.args = std::move(args);
    node.Submit(std::move(op));
  };
  give({"MULTI"});
  for (const std::vector<std::string>& args : commands) {
    std::vector<Key> keys;
    bool looks_at_all = false;
    KeysOf(args, db, keys, looks_at_all);
    all.insert(all.end(), keys.begin(), keys.end());
    whole |= looks_at_all;
    give(args);
  }
  give({"EXEC"});
}

void Workload::Transact(Node& node, int client) {
  Draw& draw = world_.draw();
  auto text = [](std::string_view view) {
    return std::string(view);
  };
  const unsigned weights[] = {40, 25, 35, 30};
  switch (draw.Weighted(weights)) {
    case 3: return GiveScript(node, client);
    case 0: {
      const std::string amount = std::to_string(draw.Between(1, 1000));
      std::vector<std::vector<std::string>> commands = {
          {"INCRBY", text(kFromCounter), "-" + amount}, {"INCRBY", text(kToCounter), amount}};
      if (draw.Percent(40)) {
        commands.push_back({"GET", text(kFromCounter)});
        commands.push_back({"GET", text(kToCounter)});
      }
      if (draw.Percent(20)) commands.insert(commands.begin() + 1, {"SET", DrawKey(), DrawValue()});
      return GiveTransaction(node, client, commands);
    }
    case 1: {
      const std::string value = "t" + std::to_string(next_value_++);
      std::vector<std::vector<std::string>> commands = {{"SET", text(kPairString), value},
                                                        {"HSET", text(kPairHash), "field", value}};
      if (draw.Percent(30)) commands.push_back({"DEL", DrawKey()});
      if (draw.Percent(10)) commands.insert(commands.begin(), {"DBSIZE"});
      return GiveTransaction(node, client, commands);
    }
    default: {
      std::string& watched = watched_[{&node, client}];
      if (watched.empty()) {
        watched = DrawKey();
        if (watched.empty()) watched = "a";  // empty: none is watched
        Give(node, client, {"WATCH", watched});
        return Give(node, client, {"GET", watched});
      }
      std::vector<std::vector<std::string>> commands = {{"GET", watched}};
      if (draw.Percent(70)) commands.push_back({"SET", watched, DrawValue()});
      watched.clear();
      return GiveTransaction(node, client, commands);
    }
  }
}

}  // namespace polyarch::sim
