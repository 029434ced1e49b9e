#include "sim/transactions.h"

#include "base/number.h"
#include "sim/marks.h"
#include "sim/node.h"

namespace polyarch::sim {

std::string Transactions::Note(const Op& op, bool queued, const resp::Value& reply) {
  Client& client = clients_[op.client];
  const std::string& name = op.args[0];
  if (!queued) {
    if (name == "EVAL") return JudgeScript(op.args, reply);
    if (name == "WATCH" && !reply.is_error()) {
      client.watched = op.args[1];
      client.value.reset();
    } else if (name == "GET" && op.args[1] == client.watched && !client.value) {
      client.value = reply.ToString();
    } else if (name == "MULTI" || name == "WATCH") {
      client.queue.clear();
    }
    return "";
  }
  if (name != "EXEC") {
    client.queue.push_back(op.args);
    if (reply.is_error() || reply.text == "QUEUED") return "";
    return "is not queued";
  }
  std::string wrong = Judge(client, reply);
  client = {};
  return wrong;
}

std::string Transactions::JudgeScript(const std::vector<std::string>& args, const resp::Value& reply) {
  const bool ends = args[1].find("string.rep") != std::string::npos;
  if (reply.is_error()) {
    const bool ended = reply.text.starts_with("LIMIT ");
    if (ended) SOMETIMES(kScriptEnded);
    // Its writes may be refused.
    return ends == ended || !ended ? "" : "was ended for no reason";
  }
  if (ends) return "went on beyond its limit";
  SOMETIMES(kScript);
  return reply.integer == 0 ? "" : "has seen half a transfer";
}

std::string Transactions::Judge(const Client& client, const resp::Value& reply) {
  if (reply.is_error()) {
    if (reply.text.starts_with("EXECABORT ")) return "";
    // It is taken back with its script.
    const bool script = client.queue.size() == 1 && client.queue[0][0] == "EVAL";
    return script ? JudgeScript(client.queue[0], reply) : "may not answer that";
  }
  if (reply.is_null()) {
    SOMETIMES(kWatchChanged);
    return client.watched.empty() ? "ran nothing although nothing was watched" : "";
  }
  if (reply.items.size() != client.queue.size()) return "gives another count of replies";
  SOMETIMES(kTransaction);
  int64_t sum = 0;
  for (size_t i = 0; i < client.queue.size(); ++i) {
    const std::vector<std::string>& args = client.queue[i];
    const resp::Value& of = reply.items[i];
    if (args[0] == "EVAL") {
      if (std::string wrong = JudgeScript(args, of); !wrong.empty()) return wrong;
    }
    if (args[0] != "GET") continue;
    if (args[1] == kFromCounter || args[1] == kToCounter) {
      sum += base::ParseInt64(of.text).value_or(0);
    } else if (client.value && args[1] == client.watched) {
      SOMETIMES(kWatchHeld);
      if (of.ToString() != *client.value)
        return "ran although what was watched was " + *client.value;
      break;  // what follows is its own doing
    }
  }
  return sum == 0 ? "" : "has seen half a transaction";
}

std::string TornTransaction(engine::Engine& engine) {
  keyspace::Keyspace& keys = engine.keys();
  for (uint8_t db = 0; db < 2; ++db) {
    auto text = [&](const keyspace::Shown& shown) {
      char scratch[base::kInt64CharsMax];
      return std::string(shown.exists() ? shown.Text(scratch) : std::string_view());
    };
    const std::string from = text(keys.Read(keys.Ref(db, kFromCounter)));
    const std::string to = text(keys.Read(keys.Ref(db, kToCounter)));
    if (base::ParseInt64(from).value_or(0) + base::ParseInt64(to).value_or(0) != 0) {
      return "half a transaction: " + from + " and " + to;
    }
    const std::string string = text(keys.Read(keys.Ref(db, kPairString)));
    const keyspace::Collection hash = keys.Open(keys.Ref(db, kPairHash), crdt::Type::kHash);
    const keyspace::ShownValue field = hash.Get("field");
    if (string != std::string(field.text.empty() ? field.value : field.text)) {
      return "half a transaction: '" + string + "' and '" + std::string(field.value) + "'";
    }
  }
  return "";
}

}  // namespace polyarch::sim
