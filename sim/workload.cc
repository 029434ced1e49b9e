#include "sim/workload.h"

#include <algorithm>

#include "base/number.h"
#include "command/table.h"
#include "sim/expectation.h"
#include "sim/marks.h"
#include "sim/recorded.h"
#include "sim/world.h"

namespace polyarch::sim {

namespace {

// From here on collections grow into their big form and back.
constexpr uint64_t kManyElements = 40;

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
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

// ---- drawing

std::string Workload::DrawKey() {
  const auto& keys = profile_.keys;
  // The first ones more often.
  size_t a = world_.draw().Below(keys.size());
  size_t b = world_.draw().Below(keys.size());
  return keys[std::min(a, b)];
}

std::string Workload::DrawValue() {
  if (profile_.merges && world_.draw().Percent(60)) return DrawMergeable();
  const uint64_t n = next_value_++;
  if (profile_.numeric && world_.draw().Percent(80)) return std::to_string(n * 1000);
  std::string value = "v" + std::to_string(n);
  if (world_.draw().OneIn(40)) value.append(world_.draw().Below(3000), 'x');
  // Equal values by different writers are no conflict.
  if (world_.draw().OneIn(25)) value = "same";
  return value;
}

// Of an increment. Huge ones of several leaders leave 64 bits together, and come back.
std::string Workload::DrawAmount() {
  Draw& draw = world_.draw();
  if (!profile_.huge || draw.Percent(40)) return std::to_string(draw.Between(1, 9));
  const int64_t amount = (int64_t{1} << 62) - draw.Between(-5, 5);
  return std::to_string(draw.Percent(65) ? amount : -amount);
}

std::string Workload::DrawElement() {
  // The same names in all types; of few the first ones more often.
  const uint64_t a = world_.draw().Below(profile_.elements);
  if (profile_.elements >= kManyElements) return "e" + std::to_string(a);
  return "e" + std::to_string(std::min(a, world_.draw().Below(profile_.elements)));
}

size_t Workload::DrawCount() {
  Draw& draw = world_.draw();
  if (draw.Percent(75)) return 1;
  if (profile_.elements < kManyElements) return static_cast<size_t>(draw.Between(2, 4));
  return static_cast<size_t>(draw.Between(10, static_cast<int64_t>(profile_.elements)));
}

std::vector<std::string> Workload::DrawHashCommand() {
  Draw& draw = world_.draw();
  const std::string key = DrawKey();
  const unsigned weights[] = {30, 6, 20, 15, 2, 12, 4, 4, 7};
  switch (draw.Weighted(weights)) {
    case 0: {
      std::vector<std::string> args = {"HSET", key};
      for (size_t n = DrawCount(); n > 0; --n) {
        args.push_back(DrawElement());
        args.push_back(DrawValue());
      }
      return args;
    }
    case 1: return {"HSETNX", key, DrawElement(), DrawValue()};
    case 2: {
      std::vector<std::string> args = {"HDEL", key};
      for (size_t n = DrawCount(); n > 0; --n) args.push_back(DrawElement());
      return args;
    }
    case 3: return {"HINCRBY", key, DrawElement(), DrawAmount()};
    case 4:
      if (profile_.huge) return {"HINCRBY", key, DrawElement(), DrawAmount()};
      return {"HINCRBYFLOAT", key, DrawElement(), draw.Percent(50) ? "0.5" : "1.25"};
    case 5: return {"HGET", key, DrawElement()};
    case 6: return {"HEXISTS", key, DrawElement()};
    case 7: return {"HLEN", key};
    default: return {"HGETALL", key};
  }
}

std::vector<std::string> Workload::DrawSetCommand() {
  Draw& draw = world_.draw();
  const std::string key = DrawKey();
  const unsigned weights[] = {30, 20, 8, 4, 6, 8, 3, 7, 10};
  const size_t which = draw.Weighted(weights);
  switch (which) {
    case 0:
    case 1: {
      std::vector<std::string> args = {which == 0 ? "SADD" : "SREM", key};
      for (size_t n = DrawCount(); n > 0; --n) args.push_back(DrawElement());
      return args;
    }
    case 2: return {"SISMEMBER", key, DrawElement()};
    case 3: return {"SCARD", key};
    case 4: return {"SMEMBERS", key};
    case 5: return {"SPOP", key};
    case 6: return {"SPOP", key, std::to_string(DrawCount())};
    case 7: return {"SMOVE", key, DrawKey(), DrawElement()};
    default: {
      const char* kOperations[] = {"SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE"};
      std::vector<std::string> args = {kOperations[draw.Below(3)], key, DrawKey()};
      if (draw.Percent(70)) args.push_back(DrawKey());
      return args;
    }
  }
}

std::vector<std::string> Workload::DrawSortedSetCommand() {
  Draw& draw = world_.draw();
  const std::string key = DrawKey();
  const unsigned weights[] = {30, 20, 20, 8, 4, 10, 8};
  switch (draw.Weighted(weights)) {
    case 0: {
      std::vector<std::string> args = {"ZADD", key};
      for (size_t n = DrawCount(); n > 0; --n) {
        args.push_back(std::to_string(draw.Between(-5, 50)));
        args.push_back(DrawElement());
      }
      return args;
    }
    case 1: {
      std::vector<std::string> args = {"ZREM", key};
      for (size_t n = DrawCount(); n > 0; --n) args.push_back(DrawElement());
      return args;
    }
    case 2: return {"ZINCRBY", key, std::to_string(draw.Between(-3, 9)), DrawElement()};
    case 3: return {"ZSCORE", key, DrawElement()};
    case 4: return {"ZCARD", key};
    case 5: return {"ZRANGE", key, "0", "-1", "WITHSCORES"};
    default: return {"ZPOPMIN", key};
  }
}

// One of the values of a list, for what looks for one.
std::string Workload::ValueIn(Node& node, uint8_t db, const std::string& key) {
  keyspace::Keyspace& keys = node.engine().keys();
  // A look would merge it: some commands are to meet it as it is.
  if (keys.merging() && world_.draw().OneIn(2)) return "none";
  const keyspace::Collection list = keys.Open(keys.Ref(db, key), crdt::Type::kList);
  if (list.size() == 0 || world_.draw().OneIn(10)) return "none";
  return ShowElement(list, list.elements->At(world_.draw().Below(list.size()), list.viewer())->key()).text;
}

std::vector<std::string> Workload::DrawListCommand(Node& node, uint8_t db) {
  Draw& draw = world_.draw();
  const std::string key = DrawKey();
  auto index = [&] { return std::to_string(draw.Between(-3, 4)); };
  auto end = [&] { return draw.Percent(50) ? "LEFT" : "RIGHT"; };
  const unsigned weights[] = {30, 20, 12, 8, 14, 8, 5, 3, 8, 4, 3, 20, 10};
  const size_t which = draw.Weighted(weights);
  switch (which) {
    case 0:
    case 1: {
      std::vector<std::string> args = {which == 0 ? "RPUSH" : "LPUSH", key};
      for (size_t n = DrawCount(); n > 0; --n) args.push_back(DrawValue());
      return args;
    }
    case 2:
    case 3: {
      std::vector<std::string> args = {which == 2 ? "LPOP" : "RPOP", key};
      if (draw.Percent(25)) args.push_back(std::to_string(DrawCount()));
      return args;
    }
    case 4: return {"LINSERT", key, draw.Percent(50) ? "BEFORE" : "AFTER", ValueIn(node, db, key), DrawValue()};
    case 5: return {"LSET", key, index(), DrawValue()};
    case 6: return {"LREM", key, "0", ValueIn(node, db, key)};
    case 7: return {"LTRIM", key, index(), index()};
    case 8: return {"LMOVE", key, draw.Percent(30) ? key : DrawKey(), end(), end()};
    case 9: return {"LINDEX", key, index()};
    case 10: return {"LLEN", key};
    case 11: return DrawWaiting();
    default: return {"LRANGE", key, "0", "-1"};
  }
}

std::vector<std::string> Workload::DrawTrackedCommand(Node& node, uint8_t db) {
  Draw& draw = world_.draw();
  if (draw.Percent(35)) return DrawTrackedStream(node, db);
  if (draw.Percent(40)) {
    if (draw.Percent(25)) return {draw.Percent(60) ? "LPOP" : "RPOP", std::string(kTrackedList)};
    if (draw.Percent(25)) {
      const std::string pivot = ValueIn(node, db, std::string(kTrackedList));
      return {"LINSERT", std::string(kTrackedList), draw.Percent(50) ? "BEFORE" : "AFTER", pivot,
              "l" + std::to_string(next_value_++)};
    }
    std::vector<std::string> args = {draw.Percent(65) ? "RPUSH" : "LPUSH", std::string(kTrackedList)};
    for (size_t n = std::min<size_t>(DrawCount(), 4); n > 0; --n) args.push_back("l" + std::to_string(next_value_++));
    return args;
  }
  if (draw.Percent(40)) {
    return {"HINCRBY", std::string(kTrackedHash), DrawElement(), std::to_string(int64_t{1} << draw.Below(40))};
  }
  if (draw.Percent(25)) {
    std::vector<std::string> args = {"PFADD", std::string(kTrackedSketch)};
    for (size_t n = DrawCount(); n > 0; --n) args.push_back(DrawElement() + "." + std::to_string(draw.Below(50)));
    return args;
  }
  if (draw.Percent(8)) return {"SPOP", std::string(kTrackedSet)};
  std::vector<std::string> args = {draw.Percent(60) ? "SADD" : "SREM", std::string(kTrackedSet)};
  // None twice: a remove is told by what was there before the command.
  const std::string first = DrawElement();
  args.push_back(first);
  if (draw.Percent(20)) args.push_back(first + "+");
  return args;
}

std::vector<std::string> Workload::DrawCollectionCommand(Node& node, uint8_t db) {
  static const bool sorted_sets = [] {
    const std::vector<std::string_view> zcard = {"ZCARD", "k"};
    return command::Table::Instance().Find(zcard) != nullptr;
  }();
  Draw& draw = world_.draw();
  if (!profile_.tracked.empty() && draw.Percent(20)) return DrawTrackedCommand(node, db);
  if (draw.Percent(4)) return {"COPY", DrawKey(), DrawKey() + (draw.Percent(10) ? "2" : ""), "REPLACE"};
  if (draw.Percent(4)) return {"TYPE", DrawKey()};
  const unsigned weights[] = {40, 40, sorted_sets ? 25U : 0U, 40, 40};
  switch (draw.Weighted(weights)) {
    case 0: return DrawHashCommand();
    case 1: return DrawSetCommand();
    case 2: return DrawSortedSetCommand();
    case 3: return DrawListCommand(node, db);
    default: return DrawStreamCommand(node, db);
  }
}

std::vector<std::string> Workload::DrawCommand(Node& node, int client) {
  const WorkloadProfile& p = profile_;
  Draw& draw = world_.draw();
  if (p.collection_percent != 0 && draw.Percent(p.collection_percent)) {
    return DrawCollectionCommand(node, client == kOtherDbClient ? 1 : 0);
  }
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
    case 3: return {"INCRBY", DrawKey(), DrawAmount()};
    case 4:
      if (p.tracked.empty()) return {"GET", DrawKey()};
      return {"INCRBY", draw.Pick(p.tracked), std::to_string(int64_t{1} << draw.Below(40))};
    case 5: return {"INCRBYFLOAT", DrawKey(), draw.Percent(50) ? "0.5" : "1.25"};
    case 6: return {"APPEND", DrawKey(), "a" + std::to_string(next_value_++)};
    case 7: return {draw.OneIn(4) ? "UNLINK" : "DEL", DrawKey()};
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
      std::string pattern = draw.Percent(60) ? DrawKey().substr(0, 1) + "*" : DrawKey();
      // What stands for other keys, too, would be of those that are known exactly.
      if (pattern.empty() || pattern.find_first_of("*[\\") == 0) pattern = "a*";
      // What is known exactly does not depend on any policy.
      if (!p.tracked.empty() && draw.Percent(15)) pattern = std::string(kTrackedPrefix) + "*";
      if (p.handlers && draw.Percent(80)) return DrawHandlerCommand(pattern);
      if (p.merges && draw.Percent(70)) return DrawMergePolicy(pattern);
      // Where a delete may be what is shown, and hide what is there.
      const unsigned kinds[] = {15, p.shown_deletes ? 60U : 20U, 20, 20, p.shown_deletes ? 5U : 20U};
      switch (draw.Weighted(kinds)) {
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
  if (args[0] == "HINCRBY" && args[1] == kTrackedHash) op.amount = *base::ParseInt64(args[3]);
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
      if (!token.field.empty()) op.args.insert(op.args.end(), {"FIELD", token.field});
      KeysOf(op.args, db, op.keys, op.whole);
      op.done = [of_field = !token.field.empty()](Op&, const resp::Value& reply) {
        if (!reply.is_error()) SOMETIMES(kResolved);
        if (!reply.is_error() && of_field) SOMETIMES(kResolvedField);
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
    std::string field;
    if (profile_.collection_percent != 0 && draw.Percent(50)) {
      field = DrawElement();
      op.args.insert(op.args.end(), {"FIELD", field});
    }
    op.done = [this, db, key, field](Op&, const resp::Value& reply) {
      if (reply.items.size() < 2 || reply.items[0].text.empty()) return;
      if (tokens_.size() < 20) tokens_.push_back({db, key, field, reply.items[0].text});
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
      if (id.empty() || tag.empty() || StartsWith(key, kTrackedPrefix) || StartsWith(key, kTransferPrefix) ||
          StartsWith(key, kRecordedPrefix)) {
        return;
      }
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
      if (args.size() > 1 && args[0] != "POLICY" && args[0] != "HANDLER" && args[0] != "POLYARCH" && args[0] != "KEYS" &&
          args[0] != "LINK" && args[0] != "LEADER" && args[0] != "TOPOLOGY" &&
          args[0] != "BLMPOP" && args[0] != "BZMPOP" && args[0] != "XGROUP" && args[0] != "XREAD" && args[0] != "XREADGROUP" &&
          !StartsWith(args[1], kTrackedPrefix)) {
        args[1] = key;
      }
      Give(*node, 0, std::move(args));
    }
    return;
  }
  if (profile_.collection_percent != 0 && draw.Percent(5)) return WaitTogether(std::move(writers));
  Node& node = *draw.Pick(writers);
  const int client = static_cast<int>(draw.Below(static_cast<uint64_t>(node.clients())));
  if (node.ClientBusy(client)) return;
  for (int64_t n = draw.OneIn(5) ? draw.Between(2, 12) : 1; n > 0; --n) {
    if (profile_.feed != 0 && draw.Percent(profile_.feed)) {
      UseFeed(node, client);
    } else if (profile_.conflict != 0 && draw.Percent(profile_.conflict)) {
      Resolve(node, client);
    } else if (profile_.transaction != 0 && draw.Percent(profile_.transaction)) {
      Transact(node, client);
    } else if (profile_.travel != 0 && draw.Percent(profile_.travel)) {
      world_.travellers().Step(node, client);
    } else if (profile_.publish != 0 && draw.Percent(profile_.publish)) {
      node.PublishNews(client);
    } else {
      Give(node, client, DrawCommand(node, client));
    }
  }
}

}  // namespace polyarch::sim
