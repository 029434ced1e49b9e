// What commands on lists must answer and leave, given what the list showed. Names are not looked
// at: a list is its values in order.
#include <algorithm>

#include "base/number.h"
#include "sim/expectation.h"
#include "sim/node.h"

namespace polyarch::sim {

namespace {

using Values = std::vector<std::string>;
using ReplyType = resp::Value::Type;

std::string IsNumber(const resp::Value& reply, size_t expected) {
  const bool same =
      reply.type == ReplyType::kInteger && reply.integer == static_cast<int64_t>(expected);
  return same ? "" : "instead of " + std::to_string(expected);
}

std::string IsText(const resp::Value& reply, const std::string& expected) {
  return reply.type == ReplyType::kBulk && reply.text == expected ? "" : "instead of " + expected;
}

std::string AreTexts(const resp::Value& reply, const Values& expected) {
  const bool same = std::equal(
      reply.items.begin(),
      reply.items.end(),
      expected.begin(),
      expected.end(),
      [](const resp::Value& item, const std::string& text) { return item.text == text; });
  return same ? "" : "which is not its content in order";
}

// LRANGE's and LTRIM's.
Values Range(const Values& values, std::string_view start_text, std::string_view stop_text) {
  const auto size = static_cast<int64_t>(values.size());
  int64_t start = *base::ParseInt64(start_text);
  int64_t stop = *base::ParseInt64(stop_text);
  if (start < 0) start = std::max<int64_t>(0, start + size);
  if (stop < 0) stop += size;
  stop = std::min(stop, size - 1);
  if (start > stop) return {};
  return {values.begin() + start, values.begin() + stop + 1};
}

}  // namespace

Expectation::Verdict Expectation::AfterList(size_t arg, const Values& values) const {
  const Seen& before = Before(arg);
  if (before.clash || HandedOut()) return "";
  const Seen now = Look(engine_.keys(), client_.db, args_[arg]);
  Values found;
  for (const auto& [name, shown] : now.elements)
    found.push_back(shown.text);
  if (now.exists != !values.empty() || found != values ||
      (now.exists && now.type != crdt::Type::kList)) {
    std::string text = "after which it shows";
    for (const std::string& value : found)
      text += " " + value;
    return text;
  }
  if (now.exists && now.expire_ms != (before.exists ? before.expire_ms : crdt::kNever))
    return "and its expiry is another";
  return "";
}

Expectation::Verdict Expectation::JudgeListPush(const resp::Value& reply, Values values) {
  const bool front = args_[0] == "LPUSH";
  for (size_t i = 2; i < args_.size(); ++i)
    values.insert(front ? values.begin() : values.end(), std::string(args_[i]));
  std::string bad = IsNumber(reply, values.size());
  return bad.empty() ? AfterList(1, values) : bad;
}

Expectation::Verdict Expectation::JudgeListPop(const resp::Value& reply, Values values) {
  const bool front = args_[0] == "LPOP";
  if (values.empty()) return reply.is_null() ? "" : "although there is nothing";
  const bool counted = args_.size() > 2;
  const size_t wanted = counted ? static_cast<size_t>(*base::ParseInt64(args_[2])) : 1;
  Values popped;
  while (!values.empty() && popped.size() < wanted) {
    popped.push_back(front ? values.front() : values.back());
    values.erase(front ? values.begin() : values.end() - 1);
  }
  std::string bad = counted ? AreTexts(reply, popped) : IsText(reply, popped[0]);
  return bad.empty() ? AfterList(1, values) : bad;
}

// Of one that did not wait.
Expectation::Verdict Expectation::JudgeBlockingPop(const resp::Value& reply) {
  for (size_t i = 1; i + 1 < args_.size(); ++i) {
    if (!Before(i).exists) continue;
    Values values;
    for (const auto& [name, shown] : Before(i).elements)
      values.push_back(shown.text);
    const bool front = args_[0] == "BLPOP";
    const Values expected = {std::string(args_[i]), front ? values.front() : values.back()};
    values.erase(front ? values.begin() : values.end() - 1);
    std::string bad = AreTexts(reply, expected);
    return bad.empty() ? AfterList(i, values) : bad;
  }
  return "although there is nothing";
}

Expectation::Verdict Expectation::JudgeListMove(const resp::Value& reply, Values values) {
  if (values.empty()) return reply.is_null() ? "" : "although there is nothing";
  const bool from_front = args_[3] == "LEFT";
  const std::string moved = from_front ? values.front() : values.back();
  values.erase(from_front ? values.begin() : values.end() - 1);
  Values target;
  if (args_[1] == args_[2]) {
    target = values;
  } else {
    for (const auto& [name, shown] : Before(2).elements)
      target.push_back(shown.text);
  }
  target.insert(args_[4] == "LEFT" ? target.begin() : target.end(), moved);
  std::string bad = IsText(reply, moved);
  if (bad.empty() && args_[1] != args_[2]) bad = AfterList(1, values);
  return bad.empty() ? AfterList(2, target) : bad;
}

Expectation::Verdict Expectation::JudgeList(const resp::Value& reply) {
  const std::string_view name = args_[0];
  Values values;
  for (const auto& [position, shown] : Before(1).elements)
    values.push_back(shown.text);
  const auto size = static_cast<int64_t>(values.size());
  if (name == "RPUSH" || name == "LPUSH") return JudgeListPush(reply, std::move(values));
  if (name == "RPOP" || name == "LPOP") return JudgeListPop(reply, std::move(values));
  if (name == "BLPOP" || name == "BRPOP") return JudgeBlockingPop(reply);
  if (name == "LMOVE" || name == "BLMOVE") return JudgeListMove(reply, std::move(values));
  if (name == "LLEN") return IsNumber(reply, values.size());
  if (name == "LRANGE") return AreTexts(reply, Range(values, args_[2], args_[3]));
  if (name == "LTRIM") return AfterList(1, Range(values, args_[2], args_[3]));
  if (name == "LINDEX" || name == "LSET") {
    int64_t index = *base::ParseInt64(args_[2]);
    if (index < 0) index += size;
    const bool inside = index >= 0 && index < size;
    if (name == "LINDEX") {
      if (!inside) return reply.is_null() ? "" : "although there is nothing";
      return IsText(reply, values[static_cast<size_t>(index)]);
    }
    if (!inside) return "although there is no such index";
    values[static_cast<size_t>(index)] = args_[3];
    return AfterList(1, values);
  }
  if (name == "LINSERT") {
    const auto pivot = std::find(values.begin(), values.end(), args_[3]);
    if (values.empty()) return IsNumber(reply, 0);
    if (pivot == values.end()) return reply.integer == -1 ? "" : "although the pivot is not there";
    values.insert(args_[2] == "BEFORE" ? pivot : pivot + 1, std::string(args_[4]));
    std::string bad = IsNumber(reply, values.size());
    return bad.empty() ? AfterList(1, values) : bad;
  }
  if (name == "LREM") {  // all of them
    const auto removed = static_cast<size_t>(std::erase(values, args_[3]));
    std::string bad = IsNumber(reply, removed);
    return bad.empty() ? AfterList(1, values) : bad;
  }
  return "";
}

}  // namespace polyarch::sim
