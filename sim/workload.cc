#include "sim/workload.h"

#include <algorithm>

#include "base/number.h"
#include "command/table.h"
#include "sim/marks.h"
#include "sim/world.h"

namespace polyarch::sim {

namespace {

constexpr int kOtherDbClient = 2;  // of each node: it has selected database 1

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

// Errors that a client may get; anything else is a bug.
bool AllowedError(std::string_view text) {
  for (std::string_view prefix :
       {"CONFLICT ", "HISTORY ", "NOTYET ", "LIMIT ", "DISKFULL ", "ERR no such key",
        "ERR value is not an integer", "ERR value is not a valid float",
        "ERR increment or decrement would overflow", "ERR increment would produce NaN",
        "ERR decrement would overflow", "ERR no conflict ", "ERR wrong tag: ",
        "ERR no leader ", "ERR source and destination objects are the same", "RETIRED ", "ERR a leader cannot retire itself", "ERR leader ", "ERR no such leader ",
        "ERR a leader has no link ", "ERR unknown topology ", "ERR a ring names ", "ERR a star names ", "ERR link "}) {
    if (StartsWith(text, prefix)) return true;
  }
  return false;
}

}  // namespace

uint8_t TargetDb(const std::vector<std::string_view>& args, uint8_t db) {
  if (args[0] == "MOVE") return static_cast<uint8_t>(*base::ParseInt64(args[2]));
  for (size_t i = 3; args[0] == "COPY" && i + 1 < args.size(); ++i) {
    if (args[i] == "DB") return static_cast<uint8_t>(*base::ParseInt64(args[i + 1]));
  }
  return db;
}

void KeysOf(const std::vector<std::string>& args, uint8_t db, std::vector<Key>& keys, bool& whole) {
  std::vector<std::string_view> views(args.begin(), args.end());
  const command::Row* row = command::Table::Instance().Find(views);
  keys.clear();
  whole = false;
  if (row == nullptr) return;
  whole = (row->flags & command::kWholeKeyspace) != 0;
  std::vector<size_t> indices;
  command::KeyIndices(*row, views, indices);
  for (size_t i : indices) keys.emplace_back(db, args[i]);
  if (args[0] == "MOVE") keys.emplace_back(TargetDb(views, db), args[1]);
  if (args[0] == "COPY") keys[1].first = TargetDb(views, db);
}

// ---- expectations

Expectation::Expectation(engine::Engine& engine,
                         const command::Client& client,
                         const std::vector<std::string_view>& args)
    : args_(args), now_ms_(engine.node_time_ms()) {
  if (args.size() > 1) before_.push_back(Look(engine, client.db, args[1]));
  if (args[0] == "RENAME" || args[0] == "COPY") before_.push_back(Look(engine, TargetDb(args, client.db), args[2]));
  if (args[0] == "MOVE") before_.push_back(Look(engine, TargetDb(args, client.db), args[1]));
  for (size_t i = 3; args[0] == "MSETNX" && i < args.size(); i += 2) before_.push_back(Look(engine, client.db, args[i]));
}

Expectation::Seen Expectation::Look(engine::Engine& engine,
                                    uint8_t db,
                                    std::string_view key) {
  keyspace::Shown shown = engine.keys().Read(engine.keys().Ref(db, key));
  Seen seen;
  seen.exists = shown.exists();
  seen.conflict = shown.kind == keyspace::Shown::Kind::kConflict;
  char scratch[base::kInt64CharsMax];
  if (seen.exists && !seen.conflict) seen.text = shown.Text(scratch);
  seen.expire_ms = shown.expire_ms;
  return seen;
}

std::string Expectation::After(engine::Engine& engine,
                               uint8_t db,
                               std::string_view key,
                               std::optional<std::string> text,
                               std::optional<int64_t> expire_ms) {
  Seen seen = Look(engine, db, key);
  std::string name(key);
  if (!text) return seen.exists ? "but " + name + " still exists" : "";
  if (!seen.exists) return "but " + name + " does not exist";
  if (seen.conflict) return "but " + name + " is in conflict";
  if (seen.text != *text) return "but " + name + " is '" + seen.text + "' instead of '" + *text + "'";
  if (expire_ms && seen.expire_ms != *expire_ms) {
    return "but " + name + " expires at " + std::to_string(seen.expire_ms) + " instead of " +
           std::to_string(*expire_ms);
  }
  return "";
}

std::string Expectation::Judge(engine::Engine& engine,
                               const command::Client& client,
                               const resp::Value& reply) {
  using Type = resp::Value::Type;
  const std::string_view name = args_[0];
  const uint8_t db = client.db;
  if (reply.is_error()) {
    if (!AllowedError(reply.text)) return "which is no error to expect";
    if (StartsWith(reply.text, "CONFLICT ")) {
      SOMETIMES(kConflictRefused);
      if (name == "GET" && !before_[0].conflict) return "but there is no conflict";
    }
    if (StartsWith(reply.text, "NOTYET ")) SOMETIMES(kNotYet);
    if (StartsWith(reply.text, "HISTORY ")) SOMETIMES(kRefusedWrite);
    if (StartsWith(reply.text, "RETIRED ")) SOMETIMES(kRefusedRetired);
    return "";
  }
  auto is_bulk = [&](const std::string& text) { return reply.type == Type::kBulk && reply.text == text; };
  if (name == "SET") {
    int64_t expire = args_.size() > 4 ? now_ms_ + *base::ParseInt64(args_[4]) : crdt::kNever;
    if (args_.size() == 4 && before_[0].exists) expire = before_[0].expire_ms;  // KEEPTTL
    return After(engine, db, args_[1], std::string(args_[2]), expire);
  }
  if (name == "LEADER" && args_[1] == "RETIRE") SOMETIMES(kRetired);
  if (name == "GET" || name == "GETDEL") {
    if (before_[0].exists ? !is_bulk(before_[0].text) : !reply.is_null()) return "which is not what it holds";
    return name == "GETDEL" ? After(engine, db, args_[1], std::nullopt) : "";
  }
  if (name == "GETEX") {
    if (before_[0].exists ? !is_bulk(before_[0].text) : !reply.is_null()) return "which is not what it holds";
    if (!before_[0].exists) return After(engine, db, args_[1], std::nullopt);
    int64_t expire = before_[0].expire_ms;
    if (args_.size() == 3) expire = crdt::kNever;  // PERSIST
    if (args_.size() == 4) expire = now_ms_ + *base::ParseInt64(args_[3]);
    return After(engine, db, args_[1], before_[0].text, expire);
  }
  if (name == "SETNX") {
    if (reply.integer != (before_[0].exists ? 0 : 1)) return "which is wrong";
    return before_[0].exists ? "" : After(engine, db, args_[1], std::string(args_[2]), crdt::kNever);
  }
  if (name == "INCRBY") {
    const int64_t old = before_[0].exists ? base::ParseInt64(before_[0].text).value_or(0) : 0;
    const int64_t sum = old + *base::ParseInt64(args_[2]);
    if (reply.type != Type::kInteger || reply.integer != sum) return "instead of " + std::to_string(sum);
    return After(engine, db, args_[1], std::to_string(sum),
                 before_[0].exists ? before_[0].expire_ms : crdt::kNever);
  }
  if (name == "INCRBYFLOAT") return After(engine, db, args_[1], reply.text);
  if (name == "APPEND") {
    return After(engine, db, args_[1], before_[0].text + std::string(args_[2]),
                 before_[0].exists ? before_[0].expire_ms : crdt::kNever);
  }
  if (name == "DEL" && args_.size() == 2) {
    if (reply.integer != (before_[0].exists ? 1 : 0)) return "which is not how many there were";
    return After(engine, db, args_[1], std::nullopt);
  }
  if (name == "PEXPIRE" || name == "PERSIST") {
    if (reply.integer != 1) return "";
    if (before_[0].conflict) return "";
    const int64_t expire = name == "PERSIST" ? crdt::kNever : now_ms_ + *base::ParseInt64(args_[2]);
    return After(engine, db, args_[1], before_[0].text, expire);
  }
  if (name == "MSET") return JudgePairs(engine, db);
  if (name == "MSETNX") {
    const bool any = std::any_of(before_.begin(), before_.end(), [](const Seen& seen) { return seen.exists; });
    if (reply.integer != (any ? 0 : 1)) return "which is wrong";
    return any ? "" : JudgePairs(engine, db);
  }
  if (name == "RENAME" || name == "COPY" || name == "MOVE") return JudgeCopy(engine, db, reply);
  if (name == "CONFLICT" && args_[1] == "RESTORE") SOMETIMES(kRestoredValue);
  if (name == "FLUSHDB" || name == "FLUSHALL") {
    return engine.keys().Size(client.db) == 0 ? "" : "but some keys still exist";
  }
  return "";
}

std::string Expectation::JudgePairs(engine::Engine& engine, uint8_t db) {
  for (size_t i = 1; i + 1 < args_.size(); i += 2) {
    bool again = std::find(args_.begin() + static_cast<ptrdiff_t>(i) + 2, args_.end(), args_[i]) != args_.end();
    if (again) continue;
    std::string bad = After(engine, db, args_[i], std::string(args_[i + 1]), crdt::kNever);
    if (!bad.empty()) return bad;
  }
  return "";
}

std::string Expectation::JudgeCopy(engine::Engine& engine, uint8_t db, const resp::Value& reply) {
  const bool copy = args_[0] == "COPY";
  const uint8_t target_db = TargetDb(args_, db);
  const std::string_view target = args_[0] == "MOVE" ? args_[1] : args_[2];
  if (args_[0] == "RENAME") {
    if (args_[1] == args_[2]) return "";
  } else {
    const bool replace = copy && std::find(args_.begin() + 3, args_.end(), "REPLACE") != args_.end();
    const bool done = before_[0].exists && (replace || !before_[1].exists);
    if (reply.integer != (done ? 1 : 0)) return "which is wrong";
    if (!done) return "";
  }
  std::string bad = copy ? After(engine, db, args_[1], before_[0].text, before_[0].expire_ms)
                         : After(engine, db, args_[1], std::nullopt);
  return bad.empty() ? After(engine, target_db, target, before_[0].text, before_[0].expire_ms) : bad;
}

void Expectation::Check(engine::Engine& engine,
                        const command::Client& client,
                        const resp::Value& reply,
                        bool wrote,
                        const std::string& node) {
  std::string bad = Judge(engine, client, reply);
  if (bad.empty() && reply.is_error() && wrote) bad = "but it has written";
  if (bad.empty()) return;
  std::string text = node + " answers";
  for (std::string_view arg : args_) text += " " + std::string(arg);
  throw Violation(text + " with " + reply.ToString() + ", " + bad);
}

// ---- drawing

std::string Workload::DrawKey() {
  const auto& keys = profile_.keys;
  // The first ones more often.
  size_t a = world_.draw().Below(keys.size());
  size_t b = world_.draw().Below(keys.size());
  return keys[std::min(a, b)];
}

std::string Workload::DrawValue() {
  const uint64_t n = next_value_++;
  if (profile_.numeric && world_.draw().Percent(80)) return std::to_string(n * 1000);
  std::string value = "v" + std::to_string(n);
  if (world_.draw().OneIn(40)) value.append(world_.draw().Below(3000), 'x');
  // Equal values by different writers are no conflict.
  if (world_.draw().OneIn(25)) value = "same";
  return value;
}

std::vector<std::string> Workload::DrawCommand(Node& node, int client) {
  const WorkloadProfile& p = profile_;
  Draw& draw = world_.draw();
  const unsigned weights[] = {p.set,    p.set_ttl, p.get,    p.incr,   p.tracked_incr, p.incr_float,
                              p.append, p.del,     p.expire, p.persist, p.mset,        p.getdel,
                              p.rename, p.flush,   p.policy, p.checkpoint, p.scan, p.link, p.topology, p.retire,
                              p.copy,   p.move,    p.set_nx, p.mset_nx, p.get_ex,      p.keep_ttl, p.precedence};
  auto ttl = [&] { return std::to_string(draw.Scale(20, p.ttl_max_ms)); };
  const std::string other_db = client == kOtherDbClient ? "0" : "1";
  const size_t kind = draw.Weighted(weights);
  switch (kind) {
    case 0: return {"SET", DrawKey(), DrawValue()};
    case 1: return {"SET", DrawKey(), DrawValue(), "PX", ttl()};
    case 2: return {"GET", draw.Percent(30) && !p.tracked.empty() ? draw.Pick(p.tracked) : DrawKey()};
    case 3: return {"INCRBY", DrawKey(), std::to_string(draw.Between(1, 9))};
    case 4:
      if (p.tracked.empty()) return {"GET", DrawKey()};
      return {"INCRBY", draw.Pick(p.tracked), std::to_string(int64_t{1} << draw.Below(40))};
    case 5: return {"INCRBYFLOAT", DrawKey(), draw.Percent(50) ? "0.5" : "1.25"};
    case 6: return {"APPEND", DrawKey(), "a" + std::to_string(next_value_++)};
    case 7: return {"DEL", DrawKey()};
    case 8: return {"PEXPIRE", DrawKey(), ttl()};
    case 9: return {"PERSIST", DrawKey()};
    case 10:
    case 23: {
      std::vector<std::string> args = {kind == 10 ? "MSET" : "MSETNX"};
      for (int64_t n = draw.Between(1, 3); n > 0; --n) {
        args.push_back(DrawKey());
        args.push_back(DrawValue());
      }
      return args;
    }
    case 11: return {"GETDEL", DrawKey()};
    case 12: return {"RENAME", DrawKey(), DrawKey()};
    case 13:
      if (!p.tracked.empty()) return {"GET", DrawKey()};  // tracked counters are never deleted
      return {draw.Percent(50) ? "FLUSHDB" : "FLUSHALL"};
    case 14: {
      const std::string pattern = draw.Percent(60) ? DrawKey().substr(0, 1) + "*" : DrawKey();
      switch (draw.Below(5)) {
        case 0: return {"POLICY", "SET", pattern, "lww"};
        case 1: return {"POLICY", "SET", pattern, "lww", "DELETES"};
        case 2: return {"POLICY", "SET", pattern, "siblings"};
        case 3: return {"POLICY", "SET", pattern, "priority", world_.leader_name(1), world_.leader_name(0)};
        default: return {"POLICY", "DEL", pattern};
      }
    }
    case 15: return {"POLYARCH", "CHECKPOINT"};
    case 16: return draw.Percent(50) ? std::vector<std::string>{"DBSIZE"} : std::vector<std::string>{"KEYS", "*"};
    case 17: {
      const std::string other = world_.leader_name(draw.Below(world_.nodes().size()));
      if (other == node.options().leader) return {"LEADER", "LIST"};
      SOMETIMES(kLinkCut);
      if (draw.Percent(30)) return {"LINK", "DELAY", other, std::to_string(draw.Scale(1, 2000))};
      return {"LINK", draw.Percent(40) ? "CUT" : "HEAL", other};
    }
    case 18: return DrawTopology();
    case 19: {
      Node& other = *world_.nodes()[draw.Below(world_.nodes().size())];
      if (other.up()) return {"LEADER", "RETIRE", other.engine().leader_id()};
      return {"LEADER", "RETIRE", other.options().leader};
    }
    case 20: {
      std::vector<std::string> args = {"COPY", DrawKey(), DrawKey()};
      if (draw.Percent(50)) args.push_back("REPLACE");
      if (draw.Percent(30)) args.insert(args.end(), {"DB", other_db});
      return args;
    }
    case 21: return {"MOVE", DrawKey(), other_db};
    case 22: return {"SETNX", DrawKey(), DrawValue()};
    case 24: {
      std::vector<std::string> args = {"GETEX", DrawKey()};
      const bool ttls = p.set_ttl + p.expire > 0;
      if (ttls && draw.Percent(50)) {
        args.insert(args.end(), {"PX", ttl()});
      } else if (draw.Percent(50)) {
        args.push_back("PERSIST");
      }
      return args;
    }
    case 25: return {"SET", DrawKey(), DrawValue(), "KEEPTTL"};
    case 26: {
      std::vector<std::string> args = {"LEADER", "PRIORITY", world_.leader_name(draw.Below(world_.nodes().size()))};
      const std::string second = world_.leader_name(draw.Below(world_.nodes().size()));
      if (second != args[2]) args.push_back(second);
      return args;
    }
    default: return {"PING"};
  }
}

std::vector<std::string> Workload::DrawTopology() {
  Draw& draw = world_.draw();
  SOMETIMES(kTopologySet);
  std::vector<std::string> names;
  for (auto& node : world_.nodes()) {
    const std::string& name = node->options().leader;
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  for (size_t i = names.size(); i > 1; --i) std::swap(names[i - 1], names[draw.Below(i)]);
  std::vector<std::string> args = {"TOPOLOGY", "SET"};
  // Sometimes not all are named.
  if (names.size() > 2 && draw.Percent(20)) names.resize(2 + draw.Below(names.size() - 2));
  switch (draw.Below(names.size() < 2 ? 1 : 5)) {
    case 0: args.push_back("mesh"); break;
    case 1:
      args.push_back("ring");
      args.insert(args.end(), names.begin(), names.end());
      break;
    case 2:
      args.push_back("star");
      args.push_back(names[0]);
      break;
    default: {
      // A tree, with or without some more links.
      args.push_back("links");
      std::vector<std::pair<size_t, size_t>> links;
      const bool chain = draw.Percent(30);
      for (size_t i = 1; i < names.size(); ++i) links.emplace_back(chain ? i - 1 : draw.Below(i), i);
      for (uint64_t n = draw.Below(names.size()); n > 0 && draw.Percent(50); --n) {
        const size_t b = 1 + draw.Below(names.size() - 1);
        const size_t a = draw.Below(b);
        if (std::find(links.begin(), links.end(), std::pair(a, b)) == links.end()) links.emplace_back(a, b);
      }
      for (const auto& [a, b] : links) args.push_back(names[a] + "-" + names[b]);
      break;
    }
  }
  return args;
}

void Workload::Give(Node& node, int client, std::vector<std::string> args) {
  Op op;
  op.id = world_.NextOp();
  op.client = client;
  KeysOf(args, client == kOtherDbClient ? 1 : 0, op.keys, op.whole);
  if (args[0] == "INCRBY" && StartsWith(args[1], kTrackedPrefix)) op.amount = *base::ParseInt64(args[2]);
  op.args = std::move(args);
  node.Submit(std::move(op));
}

// CONFLICT GET, then, with its token, RESOLVE: at once, later, or at another leader; or a look into the
// log of decided conflicts and RESTORE.
void Workload::Resolve(Node& node, int client) {
  Draw& draw = world_.draw();
  const uint8_t db = client == kOtherDbClient ? 1 : 0;
  if (!tokens_.empty() && draw.Percent(60)) {
    const size_t i = draw.Below(tokens_.size());
    Token token = tokens_[i];
    if (draw.Percent(50)) tokens_.erase(tokens_.begin() + static_cast<ptrdiff_t>(i));
    if (token.db == db) {
      Op op;
      op.id = world_.NextOp();
      op.client = client;
      op.args = {"CONFLICT", "RESOLVE", token.key, token.token, DrawValue()};
      KeysOf(op.args, db, op.keys, op.whole);
      op.done = [](Op&, const resp::Value& reply) {
        if (!reply.is_error()) SOMETIMES(kResolved);
      };
      node.Submit(std::move(op));
      return;
    }
  }
  Op op;
  op.id = world_.NextOp();
  op.client = client;
  if (draw.Percent(80)) {
    const std::string key = DrawKey();
    op.args = {"CONFLICT", "GET", key};
    op.done = [this, db, key](Op&, const resp::Value& reply) {
      if (reply.items.size() < 2 || reply.items[0].text.empty()) return;
      if (tokens_.size() < 20) tokens_.push_back({db, key, reply.items[0].text});
    };
  } else {
    op.args = {"CONFLICT", "LOG", "COUNT", "3"};
    op.done = [this, &node, client](Op&, const resp::Value& reply) {
      // A map an entry: id, ..., lost: a list of [value, leader, ms, tag].
      if (reply.items.empty() || !world_.draw().Percent(50)) return;
      const resp::Value& entry = reply.items[world_.draw().Below(reply.items.size())];
      std::string id;
      std::string tag;
      std::string key;
      for (size_t i = 0; i + 1 < entry.items.size(); i += 2) {
        const std::string& field = entry.items[i].text;
        const resp::Value& value = entry.items[i + 1];
        if (field == "id") id = value.text.empty() ? std::to_string(value.integer) : value.text;
        if (field == "key") key = value.text;
        if (field == "lost" && !value.items.empty() && value.items[0].items.size() > 3) {
          tag = value.items[0].items[3].text;
        }
      }
      if (id.empty() || tag.empty() || StartsWith(key, kTrackedPrefix)) return;
      if (world_.draw().Percent(50)) Give(node, client, {"CONFLICT", "RESTORE", id, tag});
    };
  }
  KeysOf(op.args, db, op.keys, op.whole);
  node.Submit(std::move(op));
}

void Workload::Step() {
  Draw& draw = world_.draw();
  std::vector<Node*> writers = world_.Writers();
  if (writers.empty()) return;
  if (draw.Percent(profile_.burst_percent) && writers.size() > 1) {
    // The same key at several leaders in one instant.
    SOMETIMES(kSameInstant);
    const std::string key = DrawKey();
    for (Node* node : writers) {
      if (draw.Percent(20)) continue;
      std::vector<std::string> args = DrawCommand(*node, 0);
      if (args.size() > 1 && args[0] != "POLICY" && args[0] != "POLYARCH" && args[0] != "KEYS" &&
          args[0] != "LINK" && args[0] != "LEADER" && args[0] != "TOPOLOGY" &&
          !StartsWith(args[1], kTrackedPrefix)) {
        args[1] = key;
      }
      Give(*node, 0, std::move(args));
    }
    return;
  }
  Node& node = *draw.Pick(writers);
  const int client = static_cast<int>(draw.Below(static_cast<uint64_t>(node.clients())));
  if (node.ClientBusy(client)) return;
  for (int64_t n = draw.OneIn(5) ? draw.Between(2, 12) : 1; n > 0; --n) {
    if (profile_.conflict != 0 && draw.Percent(profile_.conflict)) {
      Resolve(node, client);
    } else {
      Give(node, client, DrawCommand(node, client));
    }
  }
}

}  // namespace polyarch::sim
