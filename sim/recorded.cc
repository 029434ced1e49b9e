#include "sim/recorded.h"

#include <algorithm>
#include <utility>

#include "history/history.h"
#include "sim/workload.h"
#include "sim/world.h"

namespace polyarch::sim {
namespace {

constexpr size_t kClients = 6;
constexpr uint64_t kRegisters = 4;
constexpr uint64_t kCounters = 2;
constexpr int64_t kPatienceUs = 30 * kSecond;

std::string Register(uint64_t n) { return std::string(kRecordedPrefix) + std::to_string(n); }
std::string Counter(uint64_t n) { return std::string(kRecordedPrefix) + "n" + std::to_string(n); }

}  // namespace

Recorded::Recorded(World& world, uint64_t seed) : world_(world), draw_(seed), clients_(kClients) {
  text_ = std::string(history::kHeader) + "\n";
}

void Recorded::Step() {
  for (Client& client : clients_) {
    if (client.busy && InVain(client)) GiveUp(client);
    if (client.busy || !draw_.Percent(40)) continue;
    if (client.home == nullptr) Begin(client);
    if (client.home->up() && !client.home->ClientBusy(client.home->operator_client())) Act(client);
  }
}

void Recorded::Begin(Client& client) {
  client.session = "c" + std::to_string(&client - clients_.data()) + "." + std::to_string(++sessions_);
  client.home = world_.nodes()[draw_.Below(world_.nodes().size())].get();
}

void Recorded::Act(Client& client) {
  Node& node = *client.home;
  const std::string key = Register(draw_.Below(kRegisters));
  const unsigned weights[] = {35, 25, 4, 10, 12, 14};
  switch (draw_.Weighted(weights)) {
    case 0: return Read(client, node, "get", key);
    case 1: {
      const std::string value = "v" + std::to_string(++values_);
      return Ask(client, node, "set " + key + ' ' + value, {"SET", key, value},
                 [this](Client& c, const resp::Value& reply) { Write(c, reply.is_error() ? "failed" : "ok"); });
    }
    case 2:
      return Ask(client, node, "del " + key, {"DEL", key}, [this](Client& c, const resp::Value& reply) {
        Write(c, reply.is_error() ? "failed" : std::to_string(reply.integer));
      });
    case 3: return Read(client, node, "get", Counter(draw_.Below(kCounters)));
    case 4: {
      const std::string counter = Counter(draw_.Below(kCounters));
      const std::string amount = std::to_string(draw_.Between(1, 9));
      return Ask(client, node, "incr " + counter + ' ' + amount, {"INCRBY", counter, amount},
                 [this](Client& c, const resp::Value& reply) {
                   Write(c, reply.is_error() ? "failed" : std::to_string(reply.integer));
                 });
    }
    default: {
      Node& to = *world_.nodes()[draw_.Below(world_.nodes().size())];
      if (to.up() && &to != &node) Hop(client, to);
    }
  }
}

void Recorded::Read(Client& client, Node& node, const std::string& kind, const std::string& key) {
  Ask(client, node, kind + ' ' + key, {"GET", key}, [this](Client& c, const resp::Value& reply) {
    Write(c, reply.is_error() ? "failed" : reply.is_null() ? "nil" : history::Word(reply.text));
  });
}

void Recorded::Hop(Client& client, Node& to) {
  Ask(client, *client.home, "", {"SESSION", "TOKEN"}, [this, &to](Client& c, const resp::Value& token) {
    if (token.is_error() || !to.up() || to.ClientBusy(to.operator_client())) return;
    const std::string wait_ms = std::to_string(draw_.Scale(1, 3000));
    Ask(c, to, "", {"SESSION", "WAIT", token.text, wait_ms}, [&to](Client& moved, const resp::Value& reply) {
      if (!reply.is_error()) moved.home = &to;
    });
  });
}

void Recorded::Ask(Client& client,
                   Node& node,
                   std::string operation,
                   std::vector<std::string> args,
                   std::function<void(Client&, const resp::Value&)> answered) {
  Op op;
  op.id = world_.NextOp();
  op.client = node.operator_client();
  KeysOf(args, 0, op.keys, op.whole);
  op.args = std::move(args);
  op.done = [&client, number = op.id, answered = std::move(answered)](Op&, const resp::Value& reply) {
    if (!client.busy || client.number != number) return;
    client.busy = false;
    answered(client, reply);
  };
  client.busy = true;
  client.number = op.id;
  client.asked = &node;
  client.boots = node.boots();
  client.invoked_us = world_.now_us();
  client.operation = std::move(operation);
  node.Submit(std::move(op));
}

bool Recorded::InVain(const Client& client) const {
  return !client.asked->up() || client.asked->boots() != client.boots ||
         (!client.asked->paused() && world_.now_us() - client.invoked_us > kPatienceUs);
}

void Recorded::GiveUp(Client& client) {
  client.busy = false;
  if (!client.operation.empty()) Write(client, "?");
  // Some wait for their node to come back, others forget all and begin anew somewhere.
  if (draw_.Percent(50)) client.home = nullptr;
}

void Recorded::Write(Client& client, const std::string& result) {
  text_ += client.session + ' ' + client.asked->name() + ' ' + std::to_string(client.invoked_us) + ' ' +
           (result == "?" ? "-" : std::to_string(world_.now_us())) + ' ' + client.operation + " -> " + result + '\n';
}

void Recorded::Finish() {
  const auto settled = [this] {
    for (Client& client : clients_) {
      if (client.busy && InVain(client)) GiveUp(client);
    }
    return std::none_of(clients_.begin(), clients_.end(), [](const Client& client) { return client.busy; });
  };
  (void)world_.RunUntil(2 * kPatienceUs, 100 * kMs, settled);
  for (auto& node : world_.nodes()) {
    Client& client = clients_[0];
    client.session = "end." + node->name();
    client.home = node.get();
    for (uint64_t n = 0; n < kRegisters + kCounters; ++n) {
      Read(client, *node, "final", n < kRegisters ? Register(n) : Counter(n - kRegisters));
      (void)world_.RunUntil(2 * kPatienceUs, 100 * kMs, settled);
      client.home = node.get();
    }
  }
}

}  // namespace polyarch::sim
