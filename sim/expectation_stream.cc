// What commands on streams must answer and leave, given what the stream showed. What groups are given is looked at by
// TrackedStreams.
#include <algorithm>

#include "base/number.h"
#include "crdt/stream.h"
#include "sim/expectation.h"
#include "sim/node.h"

namespace polyarch::sim {

namespace {

// By id as text, since the simulator's ids are compared as the stream orders them.
using Entries = std::vector<std::pair<std::string, std::string>>;

std::string IsCount(const resp::Value& reply, size_t expected) {
  const bool same = reply.type == resp::Value::Type::kInteger && reply.integer == static_cast<int64_t>(expected);
  return same ? "" : "instead of " + std::to_string(expected);
}

std::string Joined(const std::vector<resp::Value>& items) {
  std::string text;
  for (const resp::Value& item : items) text += item.text + " ";
  return text;
}

}  // namespace

std::string StreamText(std::string_view name, std::string_view value) {
  std::string text;
  if (!crdt::IsStreamEntry(name)) return text;
  const auto entry = crdt::DecodeStreamEntry(value);
  if (!entry) return "unreadable";
  for (std::string_view field : entry->fields) text.append(field).append(" ");
  return text;
}

Expectation::Verdict Expectation::JudgeStream(const resp::Value& reply) {
  const std::string_view name = args_[0];
  // Names stand in the order of ids.
  Entries entries;
  for (const auto& [element, shown] : Before(1).elements) {
    if (crdt::IsStreamEntry(element)) entries.emplace_back(crdt::ToString(crdt::ReadStreamName(element).id), shown.text);
  }
  auto after = [&]() -> Verdict {
    if (Before(1).clash || HandedOut()) return "";
    Entries found;
    for (const auto& [element, shown] : Look(engine_.keys(), client_.db, args_[1]).elements) {
      if (crdt::IsStreamEntry(element)) found.emplace_back(crdt::ToString(crdt::ReadStreamName(element).id), shown.text);
    }
    return found == entries ? "" : "after which it shows other entries";
  };
  if (name == "XLEN") return IsCount(reply, entries.size());
  if (name == "XRANGE") {
    if (reply.items.size() != entries.size()) return "which are not so many";
    for (size_t i = 0; i < entries.size(); ++i) {
      const auto& items = reply.items[i].items;
      if (items.size() != 2 || items[0].text != entries[i].first || Joined(items[1].items) != entries[i].second)
        return "which is not its content in order";
    }
    return "";
  }
  if (name == "XADD") {
    if (args_[2] == "MAXLEN") {
      // XADD key MAXLEN n * field value
      entries.emplace_back(reply.text, std::string(args_[5]) + " " + std::string(args_[6]) + " ");
      const auto most = static_cast<size_t>(*base::ParseInt64(args_[3]));
      if (entries.size() > most) entries.erase(entries.begin(), entries.end() - static_cast<ptrdiff_t>(most));
    } else {
      if (args_[2] != "*" && reply.text != args_[2]) return "which is another id";
      entries.emplace_back(reply.text, std::string(args_[3]) + " " + std::string(args_[4]) + " ");
    }
    return after();
  }
  if (name == "XDEL") {
    const size_t before = entries.size();
    std::erase_if(entries, [&](const auto& e) { return std::find(args_.begin() + 2, args_.end(), e.first) != args_.end(); });
    Verdict bad = IsCount(reply, before - entries.size());
    return bad.empty() ? after() : bad;
  }
  if (name == "XTRIM") {
    const auto most = static_cast<size_t>(*base::ParseInt64(args_[3]));
    const size_t removed = entries.size() > most ? entries.size() - most : 0;
    entries.erase(entries.begin(), entries.begin() + static_cast<ptrdiff_t>(removed));
    Verdict bad = IsCount(reply, removed);
    return bad.empty() ? after() : bad;
  }
  return "";
}

}  // namespace polyarch::sim
