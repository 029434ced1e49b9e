#include "sim/tracked_lists.h"

#include <algorithm>

#include "sim/expectation.h"
#include "sim/marks.h"
#include "sim/node.h"

namespace polyarch::sim {

// Value and name of each, in the order in which the node shows them.
std::vector<std::pair<std::string, std::string>> TrackedLists::Shown(Node& node, const Key& key) {
  keyspace::Keyspace& keys = node.engine().keys();
  const keyspace::Collection list = keys.Open(keys.Ref(key.first, key.second), crdt::Type::kList);
  std::vector<std::pair<std::string, std::string>> shown;
  if (list.size() == 0) return shown;
  list.elements->Walk(
      0,
      false,
      [&](const keyspace::RankedElement& item) {
        shown.emplace_back(ShowElement(list, item.element.key()).text, item.element.key());
        return true;
      },
      list.viewer());
  return shown;
}

void TrackedLists::Note(Node& node, const Op& op) {
  if (op.reply.is_error()) return;
  const Key& key = op.keys[0];
  Values& values = lists_[key];
  const Dot dot{op.origin, op.last};
  if (op.args[0] == "LPOP" || op.args[0] == "RPOP") {
    values[op.reply.text].pops.push_back(dot);
    return;
  }
  if (op.args[0] == "LINSERT") return NoteInsert(node, op);
  const bool front = op.args[0] == "LPUSH";
  Vector seen = node.applied();
  Raise(seen, op.origin, op.last);
  auto shown = Shown(node, key);
  if (front) std::reverse(shown.begin(), shown.end());
  const size_t pushed = op.args.size() - 2;
  for (size_t i = 0; i < pushed && shown.size() >= pushed; ++i) {
    const size_t at = shown.size() - pushed + i;
    Value& value = values[op.args[2 + i]];
    value.pushed = dot;
    value.front = front;
    value.seen = seen;
    value.name = shown[at].second;
    if (at == 0) continue;
    auto before = values.find(shown[at - 1].first);
    if (before != values.end() && before->second.pushed.origin == dot.origin &&
        before->second.front == front)
      value.beside = before->first;
  }
}

void TrackedLists::NoteInsert(Node& node, const Op& op) {
  const Key& key = op.keys[0];
  Values& values = lists_[key];
  Value& value = values[op.args[4]];
  value.pushed = {op.origin, op.last};
  value.front = op.args[2] == "BEFORE";
  value.inserted = true;
  value.seen = node.applied();
  Raise(value.seen, op.origin, op.last);
  for (const auto& [text, name] : Shown(node, key)) {
    if (text == op.args[4]) value.name = name;
  }
  const Value& pivot = values[op.args[3]];
  if (pivot.pushed.origin == value.pushed.origin && pivot.front == value.front)
    value.beside = op.args[3];
}

void TrackedLists::Check(Node& node) const {
  const Vector& applied = node.applied();
  for (const auto& [key, values] : lists_) {
    std::vector<std::string> shown;
    std::string last;
    for (const auto& [text, name] : Shown(node, key)) {
      auto value = values.find(text);
      if (value == values.end() || value->second.name != name ||
          !Covers(applied, value->second.pushed))
        throw Violation(node.name() + " shows " + text + " in list " + key.second +
                        ", which nobody pushed there");
      if (!(last < name))
        throw Violation(node.name() + " shows " + text + " of list " + key.second +
                        " in another order");
      last = name;
      shown.push_back(text);
    }
    size_t count = 0;
    for (const auto& [text, value] : values) {
      const bool popped = std::any_of(
          value.pops.begin(), value.pops.end(), [&](Dot pop) { return Covers(applied, pop); });
      if (value.pops.size() > 1) SOMETIMES(kPoppedTwice);
      if (!Covers(applied, value.pushed) || value.pushed.sequence == 0) continue;
      if (!popped) ++count;
      const bool there = std::find(shown.begin(), shown.end(), text) != shown.end();
      if (there == popped) {
        throw Violation(node.name() + (popped ? " still has " : " has lost ") + text + " of list " +
                        key.second);
      }
    }
    if (shown.size() != count)
      throw Violation(node.name() + " shows a value of list " + key.second + " twice");
    CheckOrder(node, values, shown);
  }
}

void TrackedLists::CheckOrder(const Node& node,
                              const Values& values,
                              const std::vector<std::string>& shown) {
  std::map<std::string, size_t> places;
  for (size_t i = 0; i < shown.size(); ++i)
    places[shown[i]] = i;
  // By who pushed and at which end: the last one met.
  std::map<std::pair<uint32_t, bool>, const Value*> own;
  for (size_t i = 0; i < shown.size(); ++i) {
    const Value& value = values.at(shown[i]);
    const Value*& before = own[{value.pushed.origin, value.front}];
    if (value.inserted) {
      // It may stand anywhere.
    } else if (before != nullptr && before->pushed.sequence != value.pushed.sequence &&
               (before->pushed.sequence < value.pushed.sequence) == value.front) {
      throw Violation(node.name() + " does not show " + shown[i] +
                      " in the order in which its leader pushed");
    }
    if (!value.inserted) before = &value;
    auto beside = places.find(value.beside);
    if (beside == places.end()) continue;
    const Dot first = values.at(value.beside).pushed;
    for (size_t k = std::min(i, beside->second) + 1; k < std::max(i, beside->second); ++k) {
      SOMETIMES(kBetweenARun);
      if (!Covers(values.at(shown[k]).seen, first)) {
        throw Violation(node.name() + " shows " + shown[k] + " inside of the run of " +
                        value.beside + " and " + shown[i]);
      }
    }
  }
}

}  // namespace polyarch::sim
