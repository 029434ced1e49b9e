// Commands of a node's clients: how they come to the engine, and what is looked at around each.
#include <algorithm>

#include "command/table.h"
#include "sim/expectation.h"
#include "sim/marks.h"
#include "sim/node.h"
#include "sim/world.h"

namespace polyarch::sim {

namespace {

// Stands for all keys among those that were written.
const Key kAnyKey{crdt::kAllDatabases, ""};

std::vector<std::string_view> Views(const std::vector<std::string>& args) {
  return {args.begin(), args.end()};
}

}  // namespace

void Node::Submit(Op op) {
  if (!up()) return;
  process_->commands.push_back(std::move(op));
  Wake(world_.now_us() + options_.gather_us);
}

void Node::PublishNews(int client) {
  if (!up()) return;
  Op op;
  op.id = world_.NextOp();
  op.client = client;
  op.args = {"PUBLISH", std::string(kNewsChannel), ""};  // the text follows when it runs
  Submit(std::move(op));
}

bool Node::ClientBusy(int client) const {
  if (!up()) return true;
  const uint64_t id = process_->clients[static_cast<size_t>(client)]->id;
  return process_->suspended.count(id) != 0;
}

uint64_t Node::NewHolder() {
  holder_ = world_.draw().Next() | 1;
  return holder_;
}

bool Node::has_commands() const { return up() && !process_->commands.empty(); }

void Node::AskAgreed(uint64_t call, const std::string& key, std::vector<std::vector<std::string>> commands) {
  AgreedOp op;
  op.call = call;
  op.key = key;
  op.commands = std::move(commands);
  AskApart(std::move(op), kAgreedDb);
}

void Node::AskJob(uint64_t call, std::vector<std::vector<std::string>> commands) {
  AgreedOp op;
  op.call = call;
  op.of = AgreedOp::Of::kJobs;
  op.commands = std::move(commands);
  AskApart(std::move(op), kJobsDb);
}

void Node::AskStock(uint64_t call, std::vector<std::vector<std::string>> commands) {
  AgreedOp op;
  op.call = call;
  op.of = AgreedOp::Of::kStocks;
  op.commands = std::move(commands);
  AskApart(std::move(op), kAgreedDb);
}

void Node::AskApart(AgreedOp op, uint8_t db) {
  op.client = std::make_unique<command::Client>();
  op.client->id = (uint64_t{1} << (40 + static_cast<int>(op.of))) + op.call;
  op.client->authenticated = true;
  op.client->db = db;
  process_->agreed_commands.push_back(std::move(op));
  Wake(world_.now_us() + options_.gather_us);
}

void Node::RunAgreed(AgreedOp op) {
  Process& p = *process_;
  // Who has not heard of it yet writes as ever: what he writes is no part of the history.
  const bool begins = op.replies.empty() && op.client->blocked == command::Client::Blocked::kNot;
  if (begins && !op.key.empty() && !p.engine->agreed_keys().IsAgreed(op.key)) {
    resp::Value refused;
    refused.type = resp::Value::Type::kError;
    refused.text = "TRYAGAIN not in force here";
    op.replies = {std::move(refused)};
    op.commands.clear();
  }
  while (op.replies.size() < op.commands.size()) {
    resp::Buffer out;
    const engine::Outcome outcome = p.engine->Execute(*op.client, Views(op.commands[op.replies.size()]), out, *this);
    ThrowNoted();
    if (outcome == engine::Outcome::kSuspended) {
      const uint64_t id = op.client->id;
      p.agreed_suspended.emplace(id, std::move(op));
      return;
    }
    resp::ReplyReader reader;
    reader.Feed(out.view());
    if (reader.Next() != resp::ReplyReader::State::kValue) throw Violation(label_ + " gives no reply to an agreed command");
    op.replies.push_back(std::move(reader.value()));
    op.held = op.held || outcome == engine::Outcome::kHeld;
  }
  p.engine->ForgetClient(op.client->id);
  p.agreed_executed.push_back(std::move(op));
}

// DISKFULL is what a client hears while there is little room, and only then.
void Node::CheckRefusal(const Op& op, bool wrote) const {
  const bool refused = op.reply.is_error() && op.reply.text.starts_with("DISKFULL ");
  if (refused) SOMETIMES(kRefusedRoom);
  if (refused && !low_room_ && process_->log->status().ok())
    throw Violation(label_ + " refuses " + op.args[0] + " although there is room: " + op.reply.text);
  const command::Row* row = command::Table::Instance().Find(Views(op.args));
  const bool writes = row != nullptr && (row->flags & command::kWrite) != 0;
  if (low_room_ && writes && wrote && !op.reply.is_error())
    throw Violation(label_ + " takes " + op.args[0] + " although there is little room");
}

void Node::Run(Op op) {
  Process& p = *process_;
  command::Client& client = *p.clients[static_cast<size_t>(op.client)];
  if (p.suspended.count(client.id) != 0) return;  // its owner waits
  if (op.args[0] == "PUBLISH") op.args[2] = process_name() + ":" + std::to_string(++p.published);
  const auto args = Views(op.args);
  Expectation expectation(*p.engine, client, args);
  // Its command has run when it was served: what it took was there then.
  const bool answered = client.blocked == command::Client::Blocked::kAnswered;

  const bool queued = client.transaction != nullptr;
  auto own = p.engine->replica().own();
  const uint64_t before = own ? p.engine->applied().Get(*own) : 0;
  resp::Buffer out;
  const engine::Outcome outcome = p.engine->Execute(client, args, out, *this);
  ThrowNoted();
  if (outcome == engine::Outcome::kSuspended) {
    if (!out.empty()) throw Violation("a suspended command has answered");
    const bool checkpoint = op.args.size() > 1 && op.args[1] == "CHECKPOINT";
    checkpoint_started_ |= checkpoint;
    const bool waits = client.blocked == command::Client::Blocked::kWaits;
    if (!checkpoint && !waits) SOMETIMES(kWaitedForMerge);
    if (waits) NoteWaits(op);
    p.suspended.emplace(client.id, std::move(op));
    return;
  }
  resp::ReplyReader reader;
  reader.Feed(out.view());
  if (reader.Next() != resp::ReplyReader::State::kValue) {
    throw Violation(label_ + " gives no reply to " + op.args[0] + ": " + std::string(out.view()));
  }
  op.reply = std::move(reader.value());
  op.held = outcome == engine::Outcome::kHeld || outcome == engine::Outcome::kHeldClose;
  if (op.args[0] == "POLYARCH") checkpoint_started_ = false;

  own = p.engine->replica().own();
  if (own) {
    op.origin = OrdinalOf(*own);
    op.first = before;
    op.last = p.engine->applied().Get(*own);
    if (op.last < op.first) op.first = 0;  // minted anew
  }
  const bool wrote = op.last > op.first;
  op.needs_tick = wrote;
  auto touch = [&](const Key& key) {
    auto it = p.touched.find(key);
    if (it != p.touched.end()) op.need = std::max(op.need, it->second);
    if (p.written.count(key) != 0) op.needs_tick = true;
  };
  for (const Key& key : op.keys) {
    touch(key);
    if (wrote) p.written.insert(key);
  }
  if (op.whole) {
    op.need = std::max(op.need, p.touched_any);
    if (!p.written.empty()) op.needs_tick = true;
    if (wrote) p.written.insert(kAnyKey);
  }
  if (p.written.count(kAnyKey) != 0 && !op.keys.empty()) op.needs_tick = true;
  if (op.refused()) {
    op.need = 0;
    op.needs_tick = false;
  }

  world_.Log([&] {
    std::string text = label_ + " c" + std::to_string(op.client) + ": ";
    for (const std::string& arg : op.args) text += (arg.empty() ? "''" : arg) + " ";
    text += "-> " + op.reply.ToString();
    if (wrote) text += " as " + world_.history().Name({op.origin, op.last});
    return text;
  });
  if (std::string wrong = p.transactions.Note(op, queued, op.reply); !wrong.empty()) {
    throw Violation(label_ + ": " + op.args[0] + " " + wrong + ": " + op.reply.ToString());
  }
  if (queued) {
    // What it does is checked when EXEC has run it, by what it leaves.
  } else if (op.args[0] == "EVAL" && op.reply.is_error()) {
    // It was taken back, or has written nothing: TornTransaction looks. What a process's first frame begins with,
    // the ends of its former origins, stays.
  } else if (!answered) {
    expectation.Check(op.reply, wrote, label_);
    CheckRefusal(op, wrote);
  } else if (!op.reply.is_null() && !op.reply.is_error()) {
    SOMETIMES(kServedWaiter);
    CheckServedInTurn(op);
  }
  world_.Executed(*this, op);
  p.executed.push_back(std::move(op));
}

}  // namespace polyarch::sim
