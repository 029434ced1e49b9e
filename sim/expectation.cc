#include "sim/expectation.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/number.h"
#include "command/table.h"
#include "keyspace/elements.h"
#include "sim/history.h"
#include "sim/marks.h"
#include "sim/workload.h"

namespace polyarch::sim {

namespace {

using crdt::Type;
using ReplyType = resp::Value::Type;

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

// Errors that a client may get; anything else is a bug.
bool AllowedError(std::string_view text) {
  for (std::string_view prefix :
       {"CONFLICT ", "HISTORY ", "NOTYET ", "NORIGHTS ", "LIMIT ", "DISKFULL ", "WRONGTYPE ", "ERR no such key", "ERR index out of range",
        "ERR source and destination objects are the same",
        "ERR value is not an integer", "ERR value is not a valid float", "ERR hash value is not a",
        "ERR increment or decrement would overflow", "ERR increment would produce NaN",
        "ERR decrement would overflow", "ERR no conflict ", "ERR no such field", "ERR members of sets ", "ERR wrong tag: ",
        "ERR no leader ", "RETIRED ", "ERR a leader cannot retire itself", "ERR leader ", "ERR no such leader ",
        "ERR The ID specified in XADD", "ERR The XGROUP subcommand requires", "BUSYGROUP ", "NOGROUP ", "UNBLOCKED ",
        "LOST ", "TIMEOUT ", "ERR this is no token",
        "ELSEWHERE ", "ERR there is no leader ", "ERR there is no handler ", "ERR handler '", "ERR a leader has no link ", "ERR EXEC without MULTI", "ERR unknown topology ", "ERR a ring names ", "ERR a star names ", "ERR link "}) {
    if (StartsWith(text, prefix)) return true;
  }
  return false;
}

std::string TextOf(const keyspace::ShownValue& shown) {
  if (shown.is_integer) return base::FormatInt64(shown.integer);
  return shown.text.empty() ? std::string(shown.value) : shown.text;
}

std::string Whole(double score) { return std::to_string(static_cast<int64_t>(score)); }

// What it was, and so much more. Where several leaders together have left 64 bits, what is shown is the nearest limit, and
// says nothing of the sum: then it is what the reply says.
std::optional<int64_t> SumOf(const std::string& before, int64_t by, const resp::Value& reply) {
  const int64_t old = base::ParseInt64(before).value_or(0);
  int64_t sum = 0;
  if (__builtin_add_overflow(old, by, &sum)) return std::nullopt;
  return old == INT64_MAX || old == INT64_MIN ? reply.integer : sum;
}

std::string IsInteger(const resp::Value& reply, int64_t expected) {
  if (reply.type == ReplyType::kInteger && reply.integer == expected) return "";
  return "instead of " + std::to_string(expected);
}

bool HasConflict(const auto& elements) {
  return std::any_of(elements.begin(), elements.end(), [](const auto& e) { return e.second.conflict; });
}

}  // namespace

ShownElement ShowElement(const keyspace::Collection& collection, std::string_view name) {
  ShownElement shown;
  const auto entry = collection.Find(name);
  if (!entry) return shown;
  shown.there = true;
  if (collection.elements->type() == Type::kSortedSet) {
    shown.text = Whole(collection.Score(*entry));
    return shown;
  }
  const keyspace::ShownValue value = collection.Show(*entry);
  shown.conflict = value.kind == keyspace::ShownValue::Kind::kConflict;
  if (!shown.conflict) shown.text = TextOf(value);
  return shown;
}

Expectation::Expectation(engine::Engine& engine,
                         const command::Client& client,
                         const std::vector<std::string_view>& args)
    : engine_(engine),
      client_(client),
      args_(args),
      now_ms_(engine.node_time_ms()),
      blocked_before_(engine.blocked_clients()) {
  const command::Row* row = command::Table::Instance().Find(args_);
  if (row == nullptr) return;
  writes_ = (row->flags & command::kWrite) != 0;
  std::vector<size_t> indices;
  command::KeyIndices(*row, args_, indices);
  for (size_t i : indices) {
    if (before_.count(args_[i]) == 0) before_.emplace(std::string(args_[i]), LookBefore(client.db, args_[i]));
  }
  if (args_[0] == "RENAME" || args_[0] == "COPY" || args_[0] == "MOVE") {
    target_db_ = TargetDb(args_, client.db);
    target_ = LookBefore(target_db_, Target());
  }
}

// A look would merge the key: the command is to meet it as it is. What it comes to is looked at elsewhere.
Expectation::Seen Expectation::LookBefore(uint8_t db, std::string_view key) const {
  keyspace::Keyspace& keys = engine_.keys();
  if (!keys.merging()) return Look(keys, db, key);
  const std::unique_ptr<keyspace::Keyspace> beside = keys.NewBeside();
  beside->SetTime(keys.time_ms());
  crdt::KeyState state = keys.State(keys.Ref(db, key));
  if (!state.empty()) beside->Load(db, key, std::move(state));
  return Look(*beside, db, key);
}

Expectation::Seen Expectation::Look(keyspace::Keyspace& keys, uint8_t db, std::string_view key) {
  const keyspace::KeyRef ref = keys.Ref(db, key);
  const keyspace::Shown shown = keys.Read(ref);
  Seen seen;
  seen.exists = shown.exists();
  seen.expire_ms = shown.expire_ms;
  if (!seen.exists) return seen;
  seen.conflict = shown.kind == keyspace::Shown::Kind::kConflict;
  if (shown.kind != keyspace::Shown::Kind::kCollection) {
    char scratch[base::kInt64CharsMax];
    if (!seen.conflict) seen.text = shown.Text(scratch);
  } else {
    seen.type = shown.type;
    const keyspace::Collection collection = keys.Open(ref, shown.type);
    collection.ForEach([&](const keyspace::ElementView& entry) {
      ShownElement shown_element = ShowElement(collection, entry.key());
      // A copy tells whose an entry is, and what groups come to.
      if (seen.type == Type::kStream) shown_element.text = StreamText(entry.key(), shown_element.text);
      seen.elements.emplace(std::string(entry.key()), std::move(shown_element));
      return true;
    });
  }
  const crdt::KeyState state = keys.State(ref);
  seen.clash = std::any_of(state.elements.begin(), state.elements.end(),
                           [&](const crdt::Element& e) { return e.live() && e.type != seen.type; }) ||
               (seen.type != Type::kString && state.Register::live());
  return seen;
}

const Expectation::Seen& Expectation::Before(size_t arg) const {
  static const Seen kNothing;
  auto it = before_.find(args_[arg]);
  return it == before_.end() ? kNothing : it->second;
}

// ---- what is there now

Expectation::Verdict Expectation::After(std::string_view key, const Seen& expected) const {
  return AfterIn(client_.db, key, expected);
}

Expectation::Verdict Expectation::AfterIn(uint8_t db, std::string_view key, const Seen& expected) const {
  if (HandedOut()) return "";
  const Seen seen = Look(engine_.keys(), db, key);
  const std::string name(key);
  if (!expected.exists) return seen.exists ? "but " + name + " still exists" : "";
  if (!seen.exists) return "but " + name + " does not exist";
  if (seen.type != expected.type) return "but " + name + " has another type";
  if (seen.conflict != expected.conflict) return "but " + name + (seen.conflict ? " is" : " is not") + " in conflict";
  if (seen.text != expected.text) {
    return "but " + name + " is '" + seen.text + "' instead of '" + expected.text + "'";
  }
  for (const auto& [element, value] : expected.elements) {
    auto it = seen.elements.find(element);
    if (it == seen.elements.end()) return "but " + name + " has no " + element;
    if (!(it->second == value)) {
      return "but " + element + " of " + name + " is '" + it->second.text + "' instead of '" + value.text + "'";
    }
  }
  if (seen.elements.size() != expected.elements.size()) {
    return "but " + name + " has " + std::to_string(seen.elements.size()) + " elements instead of " +
           std::to_string(expected.elements.size());
  }
  if (seen.expire_ms != expected.expire_ms) {
    return "but " + name + " expires at " + std::to_string(seen.expire_ms) + " instead of " +
           std::to_string(expected.expire_ms);
  }
  return "";
}

Expectation::Verdict Expectation::AfterText(std::string_view key, std::string text, int64_t expire_ms) const {
  return After(key, Seen{.exists = true, .text = std::move(text), .elements = {}, .expire_ms = expire_ms});
}

Expectation::Verdict Expectation::AfterGone(std::string_view key) const { return After(key, Seen{}); }

// A delete takes all that this leader held, also what the policy did not show; but for what is hidden by its expiry.
Expectation::Verdict Expectation::AfterDelete(std::string_view key) const {
  const crdt::KeyState state = engine_.keys().State(engine_.keys().Ref(client_.db, key));
  if (state.live() && state.ExpiryTime() >= now_ms_) return "but " + std::string(key) + " still holds what was not shown";
  return AfterGone(key);
}

Expectation::Verdict Expectation::AfterDelete(std::string_view key, std::string_view field) const {
  const crdt::KeyState state = engine_.keys().State(engine_.keys().Ref(client_.db, key));
  const crdt::Element* element = state.FindElement(Type::kHash, field);
  if (element == nullptr || !element->live() || state.ExpiryTime() < now_ms_) return "";
  return "but " + std::string(field) + " of " + std::string(key) + " still holds what was not shown";
}

Expectation::Verdict Expectation::AfterElements(size_t arg, Type type, Elements elements) const {
  const Seen& before = Before(arg);
  if (before.clash) return "";
  if (before.elements.size() > 32 && elements.size() <= 20) SOMETIMES(kFewAgain);
  Seen expected{.exists = !elements.empty(), .type = type, .text = "", .elements = std::move(elements)};
  expected.expire_ms = before.exists ? before.expire_ms : crdt::kNever;
  return After(args_[arg], expected);
}

// ---- types

std::optional<Type> Expectation::WantedType() const {
  const std::string_view name = args_[0];
  for (std::string_view other : {"GET", "INCRBY", "INCRBYFLOAT", "APPEND", "GETDEL", "GETEX"}) {
    if (name == other) return Type::kString;
  }
  if (StartsWith(name, "H")) return Type::kHash;
  if (StartsWith(name, "Z")) return Type::kSortedSet;
  if (StartsWith(name, "X") && name != "XGROUP" && name != "XREAD" && name != "XREADGROUP") return Type::kStream;
  for (std::string_view other :
       {"SADD", "SREM", "SISMEMBER", "SMEMBERS", "SCARD", "SPOP", "SMOVE", "SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"}) {
    if (name == other) return Type::kSet;
  }
  for (std::string_view other : {"RPUSH", "LPUSH", "RPOP", "LPOP", "LLEN", "LRANGE", "LINDEX", "LSET", "LINSERT", "LREM",
                                 "LTRIM", "LMOVE", "BLMOVE", "BLPOP", "BRPOP"}) {
    if (name == other) return Type::kList;
  }
  return std::nullopt;
}

bool Expectation::IsWrongType() const {
  const std::optional<Type> wanted = WantedType();
  if (!wanted) return false;
  auto other = [&](size_t arg) { return Before(arg).exists && Before(arg).type != *wanted; };
  if (args_[0] == "SMOVE" || args_[0] == "LMOVE" || args_[0] == "BLMOVE") return Before(1).exists && (other(1) || other(2));
  if (args_[0] == "BLPOP" || args_[0] == "BRPOP") {
    // The first key that is there decides.
    for (size_t i = 1; i + 1 < args_.size(); ++i) {
      if (Before(i).exists) return other(i);
    }
    return false;
  }
  if (args_[0].size() > 5 && args_[0].substr(args_[0].size() - 5) == "STORE") {
    for (size_t i = 2; i < args_.size(); ++i) {
      if (other(i)) return true;
    }
    return false;
  }
  return other(1);
}

Expectation::Verdict Expectation::JudgeError(const std::string& text) {
  if (!AllowedError(text)) return "which is no error to expect";
  if (StartsWith(text, "NOTYET ")) SOMETIMES(kNotYet);
  if (StartsWith(text, "HISTORY ")) SOMETIMES(kRefusedWrite);
  if (StartsWith(text, "RETIRED ")) SOMETIMES(kRefusedRetired);
  if (StartsWith(text, "WRONGTYPE ")) {
    SOMETIMES(kWrongType);
    if (WantedType() && !IsWrongType()) return "but there is no other type";
  }
  if (StartsWith(text, "ERR index out of range")) {
    const auto size = static_cast<int64_t>(Before(1).elements.size());
    const int64_t index = *base::ParseInt64(args_[2]);
    if (index < size && index >= -size) return "but there is such an index";
  }
  if (StartsWith(text, "CONFLICT ")) {
    SOMETIMES(kConflictRefused);
    const Seen& before = Before(1);
    auto it = args_.size() > 2 ? before.elements.find(args_[2]) : before.elements.end();
    const bool field = it != before.elements.end() && it->second.conflict;
    if (args_[0] == "GET" && !before.conflict) return "but there is no conflict";
    if ((args_[0] == "HGET" || StartsWith(args_[0], "HINCRBY")) && !field) return "but there is no conflict";
    if (args_[0] == "HGETALL" && !HasConflict(before.elements)) return "but there is no conflict";
  }
  return "";
}

// ---- commands

Expectation::Verdict Expectation::Judge(const resp::Value& reply) {
  if (reply.is_error()) return JudgeError(reply.text);
  if (IsWrongType()) return "although it has another type";
  const std::optional<Type> type = WantedType();
  const std::string_view name = args_[0];
  if (StartsWith(name, "S") && name.size() > 5 && name.substr(name.size() - 5) == "STORE") return JudgeStore(reply);
  if (name == "BLMPOP" || StartsWith(name, "BZ")) return JudgeWaiting(reply);
  if (type == Type::kHash) return JudgeHash(reply);
  if (type == Type::kSet) return JudgeSet(reply);
  if (type == Type::kSortedSet) return JudgeSortedSet(reply);
  if (type == Type::kList) return JudgeList(reply);
  if (type == Type::kStream) return JudgeStream(reply);
  if (type == Type::kString || name == "SET" || name == "MSET" || name == "MSETNX" || name == "SETNX") return JudgeString(reply);
  return JudgeKey(reply);
}

Expectation::Verdict Expectation::JudgeString(const resp::Value& reply) {
  const std::string_view name = args_[0];
  if (name == "MSETNX") {
    bool any = false;
    for (size_t i = 1; i < args_.size(); i += 2) any = any || Before(i).exists;
    std::string bad = IsInteger(reply, any ? 0 : 1);
    if (!bad.empty() || any) return bad;
  }
  if (name == "MSET" || name == "MSETNX") {
    for (size_t i = 1; i + 1 < args_.size(); i += 2) {
      bool again = std::find(args_.begin() + static_cast<ptrdiff_t>(i) + 2, args_.end(), args_[i]) != args_.end();
      if (again) continue;
      std::string bad = AfterText(args_[i], std::string(args_[i + 1]), crdt::kNever);
      if (!bad.empty()) return bad;
    }
    return "";
  }
  const Seen& before = Before(1);
  auto is_bulk = [&](const std::string& text) { return reply.type == ReplyType::kBulk && reply.text == text; };
  const int64_t kept = before.exists ? before.expire_ms : crdt::kNever;
  if (name == "SET") {
    int64_t expire = args_.size() > 4 ? now_ms_ + *base::ParseInt64(args_[4]) : crdt::kNever;
    if (args_.size() > 4 && args_[3] == "PXAT") expire = *base::ParseInt64(args_[4]);
    if (expire <= now_ms_) return AfterGone(args_[1]);
    if (args_.size() == 4) expire = kept;  // KEEPTTL
    if (args_.size() == 4 && before.clash) return "";
    return AfterText(args_[1], std::string(args_[2]), expire);
  }
  if (name == "GET" || name == "GETDEL") {
    if (before.exists ? !is_bulk(before.text) : !reply.is_null()) return "which is not what it holds";
    return name == "GETDEL" ? AfterDelete(args_[1]) : "";
  }
  if (name == "SETNX") {
    std::string bad = IsInteger(reply, before.exists ? 0 : 1);
    return !bad.empty() || before.exists ? bad : AfterText(args_[1], std::string(args_[2]), crdt::kNever);
  }
  if (before.clash) return "";
  if (name == "GETEX") {
    if (before.exists ? !is_bulk(before.text) : !reply.is_null()) return "which is not what it holds";
    if (!before.exists) return AfterGone(args_[1]);
    int64_t expire = before.expire_ms;
    if (args_.size() == 3) expire = crdt::kNever;  // PERSIST
    if (args_.size() == 4) expire = now_ms_ + *base::ParseInt64(args_[3]);
    return AfterText(args_[1], before.text, expire);
  }
  if (name == "INCRBY") {
    const std::optional<int64_t> sum = SumOf(before.text, *base::ParseInt64(args_[2]), reply);
    if (!sum) return "although it leaves 64 bits";
    std::string bad = IsInteger(reply, *sum);
    return bad.empty() ? AfterText(args_[1], std::to_string(*sum), kept) : bad;
  }
  if (name == "INCRBYFLOAT") return AfterText(args_[1], reply.text, kept);
  if (name == "APPEND") return AfterText(args_[1], before.text + std::string(args_[2]), kept);
  return "";
}

Expectation::Verdict Expectation::JudgeKey(const resp::Value& reply) {
  const std::string_view name = args_[0];
  if (name == "LEADER" && args_[1] == "RETIRE") SOMETIMES(kRetired);
  if (name == "CONFLICT" && args_[1] == "RESTORE") SOMETIMES(kRestoredValue);
  if (name == "FLUSHDB" || name == "FLUSHALL") {
    return engine_.keys().Size(client_.db) == 0 ? "" : "but some keys still exist";
  }
  if (args_.size() < 2) return "";
  const Seen& before = Before(1);
  if ((name == "DEL" || name == "UNLINK") && args_.size() == 2) {
    std::string bad = IsInteger(reply, before.exists ? 1 : 0);
    return bad.empty() ? AfterDelete(args_[1]) : bad;
  }
  if (name == "TYPE") {
    static constexpr std::string_view kNames[] = {"string", "hash", "set", "zset", "list", "stream"};
    const std::string_view wanted = before.exists ? kNames[static_cast<size_t>(before.type)] : "none";
    return reply.text == wanted ? "" : "which is not its type";
  }
  if (name == "PEXPIRE" || name == "PERSIST") {
    if (reply.integer != 1 || before.conflict) return "";
    Seen expected = before;
    expected.expire_ms = name == "PERSIST" ? crdt::kNever : now_ms_ + *base::ParseInt64(args_[2]);
    return After(args_[1], expected);
  }
  if (name == "RENAME" || name == "COPY" || name == "MOVE") return JudgeCopy(reply);
  return "";
}

std::string_view Expectation::Target() const { return args_[args_[0] == "MOVE" ? 1 : 2]; }

Expectation::Verdict Expectation::JudgeCopy(const resp::Value& reply) {
  const bool copy = args_[0] == "COPY";
  const Seen& before = Before(1);
  if (args_[0] == "RENAME") {
    if (args_[1] == args_[2]) return "";
  } else {
    const bool replace = copy && std::find(args_.begin() + 3, args_.end(), "REPLACE") != args_.end();
    const bool done = before.exists && (replace || !target_.exists);
    std::string bad = IsInteger(reply, done ? 1 : 0);
    if (!bad.empty() || !done) return bad;
  }
  std::string bad = After(args_[1], copy ? before : Seen{});
  return bad.empty() ? AfterIn(target_db_, Target(), before) : bad;
}

Expectation::Verdict Expectation::JudgeHash(const resp::Value& reply) {
  const std::string_view name = args_[0];
  const Seen& before = Before(1);
  Elements fields = before.elements;
  auto field = [&](size_t arg) {
    auto it = before.elements.find(args_[arg]);
    return it == before.elements.end() ? ShownElement{} : it->second;
  };
  if (name == "HSET") {
    for (size_t i = 2; i + 1 < args_.size(); i += 2) {
      fields[std::string(args_[i])] = {.there = true, .conflict = false, .text = std::string(args_[i + 1])};
    }
    std::string bad = IsInteger(reply, static_cast<int64_t>(fields.size() - before.elements.size()));
    return bad.empty() ? AfterElements(1, Type::kHash, std::move(fields)) : bad;
  }
  if (name == "HSETNX") {
    std::string bad = IsInteger(reply, field(2).there ? 0 : 1);
    if (!field(2).there) fields[std::string(args_[2])] = {true, false, std::string(args_[3])};
    return bad.empty() ? AfterElements(1, Type::kHash, std::move(fields)) : bad;
  }
  if (name == "HDEL") {
    for (size_t i = 2; i < args_.size(); ++i) fields.erase(std::string(args_[i]));
    std::string bad = IsInteger(reply, static_cast<int64_t>(before.elements.size() - fields.size()));
    for (size_t i = 2; i < args_.size() && bad.empty(); ++i) bad = AfterDelete(args_[1], args_[i]);
    return bad.empty() ? AfterElements(1, Type::kHash, std::move(fields)) : bad;
  }
  if (name == "HINCRBY" || name == "HINCRBYFLOAT") {
    if (field(2).conflict) return "although the field is in conflict";
    std::string text = reply.text;
    if (name == "HINCRBY") {
      const std::optional<int64_t> sum = SumOf(field(2).text, *base::ParseInt64(args_[3]), reply);
      if (!sum) return "although it leaves 64 bits";
      std::string bad = IsInteger(reply, *sum);
      if (!bad.empty()) return bad;
      text = std::to_string(*sum);
    }
    fields[std::string(args_[2])] = {true, false, text};
    return AfterElements(1, Type::kHash, std::move(fields));
  }
  if (name == "HGET") {
    if (field(2).conflict) return "although the field is in conflict";
    const bool same = field(2).there ? reply.text == field(2).text : reply.is_null();
    return same ? "" : "which is not what it holds";
  }
  if (name == "HEXISTS") return IsInteger(reply, field(2).there ? 1 : 0);
  if (name == "HLEN") return IsInteger(reply, static_cast<int64_t>(fields.size()));
  if (name == "HGETALL") {
    if (HasConflict(fields)) return "although a field is in conflict";
    Elements told;
    for (size_t i = 0; i + 1 < reply.items.size(); i += 2) {
      told[reply.items[i].text] = {true, false, reply.items[i + 1].text};
    }
    return told == fields ? "" : "which is not what it holds";
  }
  return "";
}

Expectation::Verdict Expectation::JudgeSet(const resp::Value& reply) {
  const std::string_view name = args_[0];
  const Seen& before = Before(1);
  Elements members = before.elements;
  const ShownElement kThere{.there = true, .conflict = false, .text = ""};
  auto holds = [&](const Seen& seen, size_t arg) { return seen.elements.count(args_[arg]) != 0; };
  if (name == "SADD" || name == "SREM") {
    for (size_t i = 2; i < args_.size(); ++i) {
      if (name == "SADD") {
        members.emplace(std::string(args_[i]), kThere);
      } else {
        members.erase(std::string(args_[i]));
      }
    }
    const auto less = static_cast<int64_t>(std::min(members.size(), before.elements.size()));
    const auto more = static_cast<int64_t>(std::max(members.size(), before.elements.size()));
    std::string bad = IsInteger(reply, more - less);
    return bad.empty() ? AfterElements(1, Type::kSet, std::move(members)) : bad;
  }
  if (name == "SISMEMBER") return IsInteger(reply, holds(before, 2) ? 1 : 0);
  if (name == "SCARD") return IsInteger(reply, static_cast<int64_t>(members.size()));
  if (name == "SMEMBERS") {
    for (const resp::Value& item : reply.items) {
      if (members.erase(item.text) == 0) return "but " + item.text + " is no member";
    }
    return members.empty() ? "" : "which are not all";
  }
  if (name == "SPOP") {
    std::vector<std::string> popped;
    if (args_.size() == 2 && !reply.is_null()) popped.push_back(reply.text);
    for (const resp::Value& item : reply.items) popped.push_back(item.text);
    size_t wanted = args_.size() == 2 ? 1 : static_cast<size_t>(*base::ParseInt64(args_[2]));
    wanted = std::min(wanted, members.size());
    for (const std::string& member : popped) {
      if (members.erase(member) == 0) return "but " + member + " is no member";
    }
    if (popped.size() != wanted) return "which are not so many";
    return AfterElements(1, Type::kSet, std::move(members));
  }
  if (name == "SMOVE") {
    const bool there = holds(before, 3);
    std::string bad = IsInteger(reply, there ? 1 : 0);
    if (!bad.empty() || !there || args_[1] == args_[2]) return bad;
    members.erase(std::string(args_[3]));
    Elements target = Before(2).elements;
    target.emplace(std::string(args_[3]), kThere);
    bad = AfterElements(1, Type::kSet, std::move(members));
    return bad.empty() ? AfterElements(2, Type::kSet, std::move(target)) : bad;
  }
  return "";
}

Expectation::Verdict Expectation::JudgeStore(const resp::Value& reply) {
  Elements result = Before(2).elements;
  for (size_t i = 3; i < args_.size(); ++i) {
    const Elements& other = Before(i).elements;
    if (args_[0] == "SUNIONSTORE") result.insert(other.begin(), other.end());
    std::erase_if(result, [&](const auto& e) {
      const bool in = other.count(e.first) != 0;
      return args_[0] == "SINTERSTORE" ? !in : args_[0] == "SDIFFSTORE" && in;
    });
  }
  std::string bad = IsInteger(reply, static_cast<int64_t>(result.size()));
  if (!bad.empty()) return bad;
  return After(args_[1], {.exists = !result.empty(), .type = Type::kSet, .text = "", .elements = std::move(result)});
}

Expectation::Verdict Expectation::JudgeSortedSet(const resp::Value& reply) {
  const std::string_view name = args_[0];
  const Seen& before = Before(1);
  Elements members = before.elements;
  if (name == "ZADD") {
    for (size_t i = 2; i + 1 < args_.size(); i += 2) {
      members[std::string(args_[i + 1])] = {true, false, std::string(args_[i])};
    }
    std::string bad = IsInteger(reply, static_cast<int64_t>(members.size() - before.elements.size()));
    return bad.empty() ? AfterElements(1, Type::kSortedSet, std::move(members)) : bad;
  }
  if (name == "ZREM") {
    for (size_t i = 2; i < args_.size(); ++i) members.erase(std::string(args_[i]));
    std::string bad = IsInteger(reply, static_cast<int64_t>(before.elements.size() - members.size()));
    return bad.empty() ? AfterElements(1, Type::kSortedSet, std::move(members)) : bad;
  }
  if (name == "ZINCRBY") {
    auto it = before.elements.find(args_[3]);
    const int64_t old = it == before.elements.end() ? 0 : *base::ParseInt64(it->second.text);
    const std::string sum = std::to_string(old + *base::ParseInt64(args_[2]));
    if (reply.text != sum) return "instead of " + sum;
    members[std::string(args_[3])] = {true, false, sum};
    return AfterElements(1, Type::kSortedSet, std::move(members));
  }
  if (name == "ZSCORE") {
    auto it = members.find(args_[2]);
    const bool same = it == members.end() ? reply.is_null() : reply.text == it->second.text;
    return same ? "" : "which is not its score";
  }
  if (name == "ZCARD") return IsInteger(reply, static_cast<int64_t>(members.size()));
  if (name == "ZRANGE") {  // all of it, WITHSCORES
    std::vector<std::pair<int64_t, std::string>> order;
    for (const auto& [member, shown] : members) order.emplace_back(*base::ParseInt64(shown.text), member);
    std::sort(order.begin(), order.end());
    if (reply.items.size() != 2 * order.size()) return "which is not so many";
    for (size_t i = 0; i < order.size(); ++i) {
      if (reply.items[2 * i].text != order[i].second) return "which is not the order";
      if (reply.items[2 * i + 1].text != std::to_string(order[i].first)) return "which is not the score";
    }
    return "";
  }
  if (name == "ZPOPMIN") {
    if (members.empty()) return reply.items.empty() ? "" : "although there is nothing";
    auto least = std::min_element(members.begin(), members.end(), [](const auto& a, const auto& b) {
      return std::pair(*base::ParseInt64(a.second.text), a.first) < std::pair(*base::ParseInt64(b.second.text), b.first);
    });
    if (reply.items.size() != 2 || reply.items[0].text != least->first) return "instead of " + least->first;
    members.erase(least);
    return AfterElements(1, Type::kSortedSet, std::move(members));
  }
  return "";
}

void Expectation::Check(const resp::Value& reply, bool wrote, const std::string& node) {
  std::string bad = Judge(reply);
  if (bad.empty() && reply.is_error() && wrote) bad = "but it has written";
  if (bad.empty()) return;
  std::string text = node + " answers";
  for (std::string_view arg : args_) text += " " + std::string(arg);
  throw Violation(text + " with " + reply.ToString() + ", " + bad);
}

}  // namespace polyarch::sim
