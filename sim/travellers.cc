#include "sim/travellers.h"

#include <algorithm>

#include "clock/session_token.h"
#include "sim/checkers.h"
#include "sim/marks.h"
#include "sim/world.h"

namespace polyarch::sim {

namespace {
constexpr size_t kTokensMax = 20;
}  // namespace

void Travellers::Step(Node& node, int client) {
  switch (world_.draw().Below(3)) {
    case 0: return Take(node, client);
    case 1: return tokens_.empty() ? Take(node, client) : Arrive(node, client);
    default: return Wait(node, client);
  }
}

void Travellers::Executed(Node& node, const Op& op) {
  const std::pair client(node.process_name(), op.client);
  // What an error comes with is not the command's: the first write of a process tells of the ended ones.
  if (op.last > op.first && !op.reply.is_error()) wrote_[client] = {op.origin, op.last};
  auto wrote = wrote_.find(client);
  if (op.args[0] == "WAIT" && wrote != wrote_.end()) waited_for_[op.id] = wrote->second;
}

void Travellers::Take(Node& node, int client) {
  Op op;
  op.id = world_.NextOp();
  op.client = client;
  op.args = {"SESSION", "TOKEN"};
  op.done = [this, &node, from = node.name(), seen = world_.checkers().Session(node)](Op&, const resp::Value& reply) {
    if (reply.is_error()) {
      if (reply.text.find("transaction") != std::string::npos) return;
      throw Violation(from + " gives no token: " + reply.ToString());
    }
    const auto token = clock::ParseSessionToken(reply.text);
    if (!token) throw Violation(from + " gives a token that is none: " + reply.text);
    for (const auto& [origin, sequence] : token->entries) {
      if (At(node.DurableNow(), world_.history().Ordinal(origin)) >= sequence) continue;
      throw Violation(from + " gives a token of " + origin.ToString() + ":" + std::to_string(sequence) +
                      ", which is not on its disk");
    }
    if (tokens_.size() >= kTokensMax) tokens_.erase(tokens_.begin());
    tokens_.push_back({reply.text, seen, from});
  };
  node.Submit(std::move(op));
}

void Travellers::Arrive(Node& node, int client) {
  const Token token = tokens_[world_.draw().Below(tokens_.size())];
  Op op;
  op.id = world_.NextOp();
  op.client = client;
  op.args = {"SESSION", "WAIT", token.text, std::to_string(world_.draw().Between(1, 3000))};
  op.done = [this, &node, token](Op& done, const resp::Value& reply) {
    if (reply.is_error()) {
      if (reply.text.rfind("LOST ", 0) == 0) SOMETIMES(kSessionLost);
      if (reply.text.rfind("ERR ", 0) == 0)
        throw Violation(node.name() + " refuses a token of " + token.from + ": " + reply.text);
      return;
    }
    if (reply.text != "OK") return;  // queued
    if (token.from != node.name()) SOMETIMES(kSessionCarried);
    if (done.waits_since != 0) SOMETIMES(kSessionWaited);
    if (Includes(node.applied(), token.seen)) return;
    throw Violation(node.name() + " lets in a client of " + token.from + " that has seen " +
                    world_.history().Text(token.seen) + ", and has " + world_.history().Text(node.applied()));
  };
  node.Submit(std::move(op));
}

void Travellers::Wait(Node& node, int client) {
  Op op;
  op.id = world_.NextOp();
  op.client = client;
  op.args = {"WAIT", std::to_string(world_.draw().Between(1, static_cast<int64_t>(world_.nodes().size()))),
             std::to_string(world_.draw().Between(1, 3000))};
  op.done = [this, &node](Op& done, const resp::Value& reply) {
    auto wrote = waited_for_.find(done.id);
    if (reply.is_error() || wrote == waited_for_.end()) return;
    const Dot dot = wrote->second;
    waited_for_.erase(wrote);
    int64_t holders = 0;
    for (auto& other : world_.nodes()) {
      if (other.get() != &node && At(other->EverDurable(), dot.origin) >= dot.sequence) ++holders;
    }
    if (reply.integer > 0) SOMETIMES(kHeldElsewhere);
    // (A copy that runs under its original's name, until that is noticed, is taken for it.)
    if (reply.integer <= holders || world_.clones()) return;
    throw Violation(node.name() + " says that " + reply.ToString() + " others hold " + world_.history().Name(dot) +
                    ": it is " + std::to_string(holders));
  };
  node.Submit(std::move(op));
}

}  // namespace polyarch::sim
