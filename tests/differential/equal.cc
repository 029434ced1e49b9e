#include "tests/differential/equal.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdlib>
#include <map>
#include <set>

namespace polyarch::differential {

namespace {

enum class Order { kOfItems, kOfPairs };

// Replies whose order is nobody's promise. SCAN and its like: the second item of the reply is meant.
const std::map<std::string, Order>& Unordered() {
  static const std::map<std::string, Order> kCommands = {
      {"KEYS", Order::kOfItems},   {"SMEMBERS", Order::kOfItems}, {"SINTER", Order::kOfItems},
      {"SUNION", Order::kOfItems}, {"SDIFF", Order::kOfItems},    {"HKEYS", Order::kOfItems},
      {"HVALS", Order::kOfItems},  {"HGETALL", Order::kOfPairs},  {"SCAN", Order::kOfItems},
      {"SSCAN", Order::kOfItems},  {"HSCAN", Order::kOfPairs},    {"ZSCAN", Order::kOfPairs},
      {"GEORADIUS_RO", Order::kOfItems}, {"GEORADIUSBYMEMBER_RO", Order::kOfItems}, {"GEOSEARCH", Order::kOfItems},
      {"GEORADIUS", Order::kOfItems}, {"GEORADIUSBYMEMBER", Order::kOfItems},
  };
  return kCommands;
}

// How much time may have passed between two answers, in the command's unit.
const std::map<std::string, int64_t>& Times() {
  static const std::map<std::string, int64_t> kCommands = {
      {"TTL", 2}, {"PTTL", 1500}, {"EXPIRETIME", 2}, {"PEXPIRETIME", 1500}};
  return kCommands;
}

const std::set<std::string>& Random() {
  static const std::set<std::string> kCommands = {"SPOP", "SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER", "RANDOMKEY"};
  return kCommands;
}

void Sort(Reply& reply, Order order) {
  const size_t step = order == Order::kOfPairs && reply.is_array() ? 2 : 1;
  std::vector<std::vector<Reply>> groups;
  for (size_t i = 0; i + step <= reply.items.size(); i += step) {
    groups.emplace_back(reply.items.begin() + static_cast<std::ptrdiff_t>(i),
                        reply.items.begin() + static_cast<std::ptrdiff_t>(i + step));
  }
  auto text = [](const std::vector<Reply>& group) {
    std::string out;
    for (const Reply& item : group) out += item.Text();
    return out;
  };
  std::sort(groups.begin(), groups.end(), [&](const auto& a, const auto& b) { return text(a) < text(b); });
  reply.items.clear();
  for (auto& group : groups) {
    for (Reply& item : group) reply.items.push_back(std::move(item));
  }
}

// What is not compared of a stream: how long something has been idle and when it was seen or delivered (of this
// century), how Redis stores it, and a group's lag, which is counted here, where Redis guesses it from what ENTRIESREAD
// has said.
void BlankStream(Reply& reply) {
  static const std::set<std::string> kFields = {"idle", "lag", "seen-time", "radix-tree-keys", "radix-tree-nodes"};
  for (Reply& item : reply.items) {
    if (item.type == ':' && std::atoll(item.text.c_str()) > 1'000'000'000'000) item.text = "?";
  }
  for (size_t i = 0; i + 1 < reply.items.size(); ++i) {
    if (reply.items[i].type == '$' && kFields.count(reply.items[i].text) != 0) reply.items[i + 1] = Reply{'?', {}, {}};
  }
  for (Reply& item : reply.items) BlankStream(item);
}

void BlankIdle(Reply& pending) {
  for (Reply& item : pending.items) {
    if (item.items.size() == 4) item.items[2].text = "?";
  }
}

void Normalise(const Words& command, const std::string& name, Reply& reply) {
  if (name == "XINFO") return BlankStream(reply);
  if (name == "XPENDING" && command.size() > 3) return BlankIdle(reply);
  if (reply.type == '%') {  // as pairs
    Reply pairs{'*', reply.text, std::move(reply.items)};
    Sort(pairs, Order::kOfPairs);
    reply.items = std::move(pairs.items);
    return;
  }
  auto found = Unordered().find(name);
  if (found == Unordered().end()) return;
  const bool scan = name.ends_with("SCAN");
  if (scan && reply.items.size() == 2) {
    Sort(reply.items[1], found->second);
  } else {
    Sort(reply, found->second);
  }
}

// OBJECT ENCODING is told from what the key shows: how it came about is not remembered.
bool Encodings(const Words& command, const Reply& ours, const Reply& theirs) {
  static const std::vector<std::set<std::string>> kOfOneType = {
      {"int", "embstr", "raw"}, {"listpack", "hashtable"}, {"intset", "hashtable"},
      {"listpack", "skiplist"}};
  if (command.size() != 3 || UpperCase(command[0]) != "OBJECT" || ours.type != '$') return false;
  return std::any_of(kOfOneType.begin(), kOfOneType.end(), [&](const std::set<std::string>& names) {
    return names.count(ours.text) != 0 && names.count(theirs.text) != 0;
  });
}

// Redis 7.0 looks at errno after strtod, which an earlier command may have set: it refuses to sort good numbers, then.
bool StaleErrno(const std::string& name, const Reply& ours, const Reply& theirs) {
  return name.starts_with("SORT") && ours.type != '-' && theirs.type == '-' &&
         theirs.text == "ERR One or more scores can't be converted into double";
}

// A leader's sums have no -0.
void DropSigns(Reply& reply) {
  if (reply.text == "-0") reply.text = "0";
  for (Reply& item : reply.items) DropSigns(item);
}

bool SameShape(const Reply& ours, const Reply& theirs) {
  if (ours.type != theirs.type || ours.items.size() != theirs.items.size()) return false;
  return ours.type != '-' || ours.text == theirs.text;
}

}  // namespace

std::string UpperCase(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

bool Equal(const Words& command, const Reply& ours, const Reply& theirs) {
  if (ours.Text() == theirs.Text()) return true;
  const std::string name = UpperCase(command[0]);
  auto time = Times().find(name);
  if (time != Times().end() && ours.type == ':' && theirs.type == ':') {
    const int64_t mine = std::atoll(ours.text.c_str());
    const int64_t other = std::atoll(theirs.text.c_str());
    return mine > 0 && other > 0 && std::llabs(mine - other) <= time->second;
  }
  if (Random().count(name) != 0) return SameShape(ours, theirs);
  Reply a = ours;
  Reply b = theirs;
  DropSigns(a);
  DropSigns(b);
  Normalise(command, name, a);
  Normalise(command, name, b);
  return a.Text() == b.Text() || Encodings(command, ours, theirs) || StaleErrno(name, ours, theirs);
}

}  // namespace polyarch::differential
