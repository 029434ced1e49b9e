#include "sim/stocks.h"

#include "sim/agreed.h"
#include "sim/marks.h"
#include "sim/node.h"
#include "sim/world.h"

namespace polyarch::sim {

namespace {

const resp::Value* Field(const resp::Value& map, std::string_view name) {
  for (size_t i = 0; i + 1 < map.items.size(); i += 2) {
    if (map.items[i].text == name) return &map.items[i + 1];
  }
  return nullptr;
}

}  // namespace

void StockHistory::Ask(Node& node, Call call, std::vector<std::vector<std::string>> commands) {
  world_.Log([&] {
    std::string text = "stock call " + std::to_string(calls_.size()) + " at " + node.name() + ":";
    for (const auto& command : commands) {
      for (const std::string& word : command) text += " " + word;
    }
    return text;
  });
  call.leader = node.engine().leader_id();
  calls_.push_back(call);
  ++open_;
  node.AskStock(calls_.size() - 1, std::move(commands));
}

void StockHistory::Spend(Node& node, int64_t amount) {
  std::vector<std::string> command = {"ESCROW", "SPEND", std::string(kStockKey), std::to_string(amount)};
  const Call call{.kind = Kind::kSpend, .amount = amount};
  switch (world_.draw().Below(8)) {
    case 0: return Ask(node, call, {{"MULTI"}, std::move(command), {"EXEC"}});
    case 1: return Ask(node, call, {{"EVAL", "return redis.call('ESCROW', 'SPEND', ARGV[1], ARGV[2])", "0", command[2], command[3]}});
    default: return Ask(node, call, {std::move(command)});
  }
}

void StockHistory::Step() {
  Draw& draw = world_.draw();
  std::vector<Node*> writers = world_.Writers();
  std::erase_if(writers, [](Node* node) { return !node->may_write(); });
  if (writers.empty() || open_ >= kOpenMax || calls_.size() >= kCallsMax || draw.Percent(40)) return;
  Node& node = *draw.Pick(writers);
  if (!created_) {
    if (total_ == 0) total_ = draw.Between(5, 300);
    return Ask(node, {.kind = Kind::kCreate}, {{"ESCROW", "CREATE", std::string(kStockKey), std::to_string(total_)}});
  }
  if (draw.Percent(8)) {
    const int64_t amount = draw.Between(1, 30);
    granted_ += amount;
    return Ask(node,
               {.kind = Kind::kGrant, .amount = amount},
               {{"ESCROW", "GRANT", std::string(kStockKey), std::to_string(amount)}});
  }
  Spend(node, draw.Percent(80) ? 1 : draw.Between(2, 20));
}

void StockHistory::Read(const resp::Value& reply) {
  const resp::Value* left = Field(reply, "left");
  const resp::Value* deficit = Field(reply, "deficit");
  const resp::Value* holders = Field(reply, "holders");
  if (left == nullptr || deficit == nullptr || holders == nullptr) throw Violation("ESCROW GET answers " + reply.ToString());
  read_ = true;
  left_ = left->integer;
  // More than anybody was given, or may have been given, is gone for nobody.
  const resp::Value* spent = Field(reply, "spent");
  int64_t most = sold_ + perhaps_;
  for (const Call& call : calls_) {
    if (call.open && call.kind == Kind::kSpend) most += call.amount;
  }
  if (spent == nullptr || spent->integer > most) throw Violation("more is spent than was sold: " + reply.ToString());
  stuck_ = 0;
  for (const resp::Value& holder : holders->items) {
    const std::string& state = holder.items.at(2).text;
    const bool sells = state == "here" || state == "in reach";
    if (!sells || set_back_.count(holder.items.at(0).text) != 0) stuck_ += holder.items.at(1).integer;
  }
  if (deficit->integer != 0) throw Violation("a holder has spent what it did not have: " + reply.ToString());
}

void StockHistory::Answered(uint64_t id, const std::vector<resp::Value>& replies) {
  Call& call = calls_.at(id);
  call.open = false;
  --open_;
  const bool exec = replies.size() == 3 && replies.back().items.size() == 1;
  const resp::Value& reply = exec ? replies.back().items[0] : replies.back();
  world_.Log([&] { return "stock call " + std::to_string(id) + ": " + reply.ToString(); });
  missed_ = reply.is_error() && reply.text.starts_with("ERR there is no stock") ? missed_ + 1 : 0;
  if (reply.is_error()) {
    if (reply.text.starts_with("NORIGHTS ")) SOMETIMES(kStockRefused);
    if (reply.text.starts_with("ERR 'y:stock' exists")) created_ = true;
    // Its directory was copied while it ran (Fault::kClone), or its memory was set back: it sells no more.
    if (reply.text.starts_with("ERR this leader was set back")) {
      SOMETIMES(kStockSetBack);
      set_back_.insert(call.leader);
      return;
    }
    for (std::string_view known : {"NORIGHTS ", "EXECABORT ", "NOQUORUM ", "TRYAGAIN ", "TIMEOUT ", "HISTORY ", "RETIRED ", "DISKFULL ",
                                   "ERR 'y:stock' exists", "ERR there is no stock", "ERR 'y:stock' is not under policy"}) {
      if (reply.text.starts_with(known)) return;
    }
    throw Violation("a command on a stock is answered " + reply.ToString());
  }
  switch (call.kind) {
    case Kind::kCreate: created_ = true; break;
    case Kind::kGrant: break;
    case Kind::kSpend:
      sold_ += call.amount;
      SOMETIMES(kStockSold);
      if (sold_ > total_ + granted_)
        throw Violation("oversold: " + std::to_string(sold_) + " of " + std::to_string(total_ + granted_));
      break;
    case Kind::kGet: Read(reply); break;
  }
}

void StockHistory::Lost(uint64_t id) {
  Call& call = calls_.at(id);
  if (!call.open) return;
  call.open = false;
  --open_;
  if (call.kind == Kind::kSpend) perhaps_ += call.amount;
}

void StockHistory::SellOut() {
  if (!created_) return;
  Draw& draw = world_.draw();
  auto writers = [&] {
    std::vector<Node*> out;
    for (auto& node : world_.nodes()) {
      if (node->up() && node->may_write()) out.push_back(node.get());
    }
    return out;
  };
  world_.Log([] { return std::string("the stock is sold out"); });
  read_ = false;
  const bool out = world_.RunUntil(kSellOutUs, 20 * kMs, [&] {
    if (open_ != 0) return false;
    if (read_ && left_ == stuck_) return true;
    // The only disk that had it was set back to before it was made.
    if (!kept_ && missed_ >= kMissedMax) return true;
    const std::vector<Node*> nodes = writers();
    if (nodes.empty()) return true;
    Node& node = *draw.Pick(nodes);
    if (draw.Percent(30)) {
      Ask(node, {.kind = Kind::kGet}, {{"ESCROW", "GET", std::string(kStockKey)}});
    } else {
      Spend(node, draw.Percent(50) || left_ <= 0 ? 1 : draw.Between(1, left_));
    }
    return false;
  });
  if (!out) {
    throw Violation(std::to_string(left_) + " units are left, " + std::to_string(stuck_) +
                    " of them on disks that are gone, and none is to be had in a healed cluster");
  }
  SOMETIMES(kStockSoldOut);
}

}  // namespace polyarch::sim
