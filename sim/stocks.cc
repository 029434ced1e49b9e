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
    if (total_ == 0) {
      total_ = draw.Between(5, 300);
      reclaims_ = draw.OneIn(3);
      deletes_ = draw.OneIn(3);
    }
    return Ask(node, {.kind = Kind::kCreate}, {{"ESCROW", "CREATE", std::string(kStockKey), std::to_string(total_)}});
  }
  if (draw.Percent(8)) {
    const int64_t amount = draw.Between(1, 30);
    granted_ += amount;
    return Ask(node,
               {.kind = Kind::kGrant, .amount = amount},
               {{"ESCROW", "GRANT", std::string(kStockKey), std::to_string(amount)}});
  }
  if (reclaims_ && draw.Percent(5)) return Reclaim(node, world_.leader_name(draw.Below(world_.nodes().size())));
  if (deletes_ && draw.OneIn(150)) {
    ++deleted_;
    return Ask(node, {.kind = Kind::kDelete}, {{"DEL", std::string(kStockKey)}});
  }
  Spend(node, draw.Percent(80) ? 1 : draw.Between(2, 20));
}

void StockHistory::Reclaim(Node& node, const std::string& leader) {
  ++unknown_reclaims_;
  Ask(node, {.kind = Kind::kReclaim}, {{"ESCROW", "RECLAIM", std::string(kStockKey), leader}});
}

int64_t StockHistory::Most() const {
  const int64_t made = total_ * (1 + deleted_) + granted_;
  return made * (1 + unknown_reclaims_) + reclaimed_;
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
  stuck_at_.clear();
  for (const resp::Value& holder : holders->items) {
    const std::string& state = holder.items.at(2).text;
    const bool sells = state == "here" || state == "in reach";
    const bool set_back = set_back_.count(holder.items.at(0).text) != 0;
    if (sells && !set_back) continue;
    stuck_ += holder.items.at(1).integer;
    if (!sells && state != "reclaimed" && holder.items.at(1).integer > 0) stuck_at_.push_back(holder.items.at(0).text);
  }
  if (deficit->integer > (unknown_reclaims_ == 0 ? reclaimed_ : Most()))
    throw Violation("a holder has spent what it did not have: " + reply.ToString());
}

void StockHistory::Answered(uint64_t id, const std::vector<resp::Value>& replies) {
  Call& call = calls_.at(id);
  call.open = false;
  --open_;
  const bool exec = replies.size() == 3 && replies.back().items.size() == 1;
  const resp::Value& reply = exec ? replies.back().items[0] : replies.back();
  world_.Log([&] { return "stock call " + std::to_string(id) + ": " + reply.ToString(); });
  if (reply.is_error()) {
    if (reply.text.starts_with("NORIGHTS ")) SOMETIMES(kStockRefused);
    if (reply.text.starts_with("ERR 'y:stock' exists")) created_ = true;
    // Its directory was copied while it ran (Fault::kClone), or its memory was set back: it sells no more.
    if (reply.text.starts_with("ERR this leader was set back")) {
      SOMETIMES(kStockSetBack);
      set_back_.insert(call.leader);
      Failed(call, reply.text);
      return;
    }
    Failed(call, reply.text);
    for (std::string_view known :
         {"NORIGHTS ", "EXECABORT ", "NOQUORUM ", "TRYAGAIN ", "TIMEOUT ", "HISTORY ", "RETIRED ", "DISKFULL ",
          "ERR 'y:stock' exists", "ERR there is no stock", "ERR 'y:stock' is not under policy", "ERR leader '",
          "ERR that is this leader", "ERR its rights were reclaimed already"}) {
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
      if (sold_ > Most()) throw Violation("oversold: " + std::to_string(sold_) + " of " + std::to_string(Most()));
      break;
    case Kind::kGet: Read(reply); break;
    case Kind::kReclaim:
      SOMETIMES(kStockReclaimed);
      --unknown_reclaims_;
      reclaimed_ += reply.integer;
      break;
    case Kind::kDelete:
      if (reply.integer == 0) {
        --deleted_;
        break;
      }
      SOMETIMES(kStockDeleted);
      created_ = false;
      break;
  }
}

// What is in doubt may have been done.
void StockHistory::Failed(const Call& call, const std::string& error) {
  if (error.starts_with("TIMEOUT ")) return;
  if (call.kind == Kind::kReclaim) --unknown_reclaims_;
  if (call.kind == Kind::kDelete) --deleted_;
  if (!error.starts_with("ERR there is no stock")) return;
  if (call.kind == Kind::kGet) missing_ = true;
  if (deletes_) created_ = false;  // or it is known elsewhere: then the next CREATE says so
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
  read_ = missing_ = false;
  bool reclaimed = false;
  const bool out = world_.RunUntil(kSellOutUs, 20 * kMs, [&] {
    if (open_ != 0) return false;
    const std::vector<Node*> nodes = writers();
    if (missing_ || nodes.empty()) return true;
    Node& node = *draw.Pick(nodes);
    if (read_ && left_ == stuck_) {
      // What is held on disks that are gone can be had, too, if somebody says that they are.
      if (!reclaims_ || reclaimed || stuck_at_.empty()) return true;
      reclaimed = true;
      read_ = false;
      for (const std::string& leader : stuck_at_) Reclaim(node, leader);
      return false;
    }
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
